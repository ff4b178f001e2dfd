"""Pages that wait for news of their payments: many pages, one question to the database twice a second."""

import asyncio
import logging
from typing import NamedTuple

from gateway.store import Mark, payment_marks
from kernel.db import AGAIN, LOST, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import Unavailable

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
MOST_WAITING = 2_000  # pages, of the 4096 connections there are: half stay for others. one more asks now and then


class _Waiting(NamedTuple):
    seen: str
    answer: "asyncio.Future[str | None]"


class Updates:
    """The pages of this process that wait. What they wait for is written by any process."""

    def __init__(self, pool: Pool, env: Env) -> None:
        self._pool = pool
        self._env = env
        self._waiting: dict[tuple[int, str], list[_Waiting]] = {}
        self._count = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def news(self, book: int, payment_id: str, seen: str, timeout_s: float) -> str | None:
        """Return the payment's mark as soon as it is not `seen` any more; None when the time is over before that."""
        if self._closed or self._count >= MOST_WAITING:
            return None
        one = _Waiting(seen, asyncio.get_running_loop().create_future())
        self._waiting.setdefault((book, payment_id), []).append(one)
        self._count += 1
        if self._looking is None or self._looking.done():
            self._looking = self._env.spawn("look after open pages", self._look())
        try:
            async with asyncio.timeout(timeout_s):
                return await one.answer
        except TimeoutError:
            return None
        finally:
            self._forget((book, payment_id), one)

    def close(self) -> None:
        """Let every page go: the process is about to end, and they come back to another."""
        self._closed = True
        for those in self._waiting.values():
            for one in those:
                if not one.answer.done():
                    one.answer.set_result(None)

    def _forget(self, key: tuple[int, str], one: _Waiting) -> None:
        self._count -= 1
        those = self._waiting[key]
        those.remove(one)
        if not those:
            del self._waiting[key]

    async def _look(self) -> None:
        """Tell the pages what is new, for as long as there are any."""
        while self._waiting and not self._closed:
            try:
                async with acquire(self._pool) as connection:
                    marks = await payment_marks(connection, list(self._waiting))
            except (*AGAIN, *LOST, Unavailable) as error:
                tell(log, "open pages wait", error)
            else:
                for mark in marks:
                    self._tell(mark)
            await self._env.sleep(LOOK_EVERY_S)

    def _tell(self, mark: Mark) -> None:
        for one in self._waiting.get((mark.book, mark.payment_id), ()):
            if one.seen != mark.text and not one.answer.done():
                one.answer.set_result(mark.text)
