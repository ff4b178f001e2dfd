"""Turns: replays that share a home share one sandbox bank, whose day ends for all its customers at once."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def turn(path: Path, *, patience_s: float, shared: bool = False) -> AsyncIterator[None]:
    """Hold the lock kept in `path` while inside, alone unless `shared`; the kernel takes it back should we die.

    Raises TimeoutError when others do not give it back in time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up_at = time.monotonic() + patience_s
    try:
        while True:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"{path} was held by another replay for {patience_s:.0f} s") from None
                await asyncio.sleep(0.05)
        yield
    finally:
        os.close(handle)
