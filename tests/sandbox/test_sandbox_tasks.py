"""Background work of the sandbox ends when it is told to, whatever became of the telling."""

import asyncio

from sandbox import context
from sandbox.context import Tasks


async def test_work_that_lost_a_cancellation_is_cancelled_again() -> None:
    """As a wait whose event came at the same moment does, before Python 3.12."""
    tasks, deaf = Tasks(), 2

    async def work() -> None:
        nonlocal deaf
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                deaf -= 1
                if deaf < 0:
                    raise

    task = tasks.spawn("deaf", work())
    await asyncio.sleep(0)
    patience = context.ENDS_WITHIN_S
    context.ENDS_WITHIN_S = 0.01
    try:
        await tasks.stop()
    finally:
        context.ENDS_WITHIN_S = patience
    assert task.cancelled()
