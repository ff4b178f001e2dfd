"""Waiting: how long for, and what is said when it was in vain."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kernel.db import AGAIN, LOST
from kernel.errors import Unavailable

T = TypeVar("T")
# A channel may want a minute between two refunds of one order, and the janitor asks at its leisure.
PATIENCE_S = 240.0


class PromiseBroken(Exception):
    """Something the day promises does not hold, and it cannot go on; the message names it and says what there is."""


class InVain(PromiseBroken, TimeoutError):
    """What was waited for did not come; the message says what is lacking still."""


class Patience:
    """Waits between two looks at something, longer each time, and gives up in the end."""

    def __init__(self, what: str, seconds: float = PATIENCE_S, *, pause_s: float = 0.05) -> None:
        """what: as it should be, "payment pay_1 ends". pause_s: the first wait."""
        self._what = what
        self._seconds = seconds
        self._give_up_at = time.monotonic() + seconds
        self._pause = pause_s

    async def wait(self, lacking: str) -> None:
        """Wait a little. lacking: what was seen at the last look. Raises InVain when it has been too long."""
        if time.monotonic() > self._give_up_at:
            raise InVain(f"{self._what}: waited {self._seconds:g} s in vain; {lacking}")
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 1.5, 0.5)


async def until(what: str, lacking: Callable[[], Awaitable[str]], *, patience_s: float = PATIENCE_S) -> None:
    """Wait until nothing is lacking. Raises InVain.

    lacking: returns what is, with figures, and "" when nothing; may be repeated.
    """
    patience = Patience(what, patience_s)
    while missing := await again(lacking, patience_s=patience_s):
        await patience.wait(missing)


async def again(work: Callable[[], Awaitable[T]], *, patience_s: float = PATIENCE_S) -> T:
    """Return what `work` comes to, which may be repeated; while database or bank are being restarted, ask again.

    Raises InVain.
    """
    patience = Patience("database and bank answer", patience_s)
    while True:
        try:
            return await work()
        except (Unavailable, *LOST, *AGAIN) as error:
            await patience.wait(f"{type(error).__name__}: {error}")
