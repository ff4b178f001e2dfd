"""Ctrl-C in a command that ends by itself: what it has begun is cancelled and closed."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as asyncio.run does, also where Ctrl-C was left to the system (ops.cli.main).

    From its first line on Ctrl-C cancels it, and KeyboardInterrupt is raised once it has cleaned up; before and
    afterwards the system ends the process.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        return asyncio.run(work)
    heard = False

    async def listening() -> T:
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        assert this is not None

        def hear() -> None:
            nonlocal heard
            heard = True
            this.cancel()

        loop.add_signal_handler(signal.SIGINT, hear)
        return await work

    try:
        return asyncio.run(listening())
    except asyncio.CancelledError:
        if heard:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
