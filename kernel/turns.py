"""Turns: work that a process does over and over for many, for each of them one at a time and beside the others.

Whoever is slow keeps only itself waiting. A turn that takes long is told of, with the place it waits at; one that does
not end is cut off, which loses nothing: what is done in turns is idempotent and begun again.
"""

import asyncio
import logging
from collections.abc import Coroutine, Hashable
from contextlib import nullcontext
from types import CodeType
from typing import Any, Generic, TypeVar

from kernel.env import Env

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

TELL_AFTER_S = 60.0
CUT_OFF_AFTER_S = 1800.0  # far more than the longest honest turn: a page of a bank's files, each with many entries


class Turns(Generic[K, T]):
    """Turns by key; `what` they are, for the log."""

    def __init__(self, env: Env, what: str, *, tell_after_s: float = TELL_AFTER_S, limit_s: float = CUT_OFF_AFTER_S):
        self._env = env
        self._what = what
        self._tell_after_s = tell_after_s
        self._limit_s = limit_s
        self._tasks: dict[K, asyncio.Task[T | None]] = {}
        self._since: dict[K, float] = {}  # monotonic; those that nobody has been told of

    def __contains__(self, key: K) -> bool:
        """Tell whether a turn of this one is under way."""
        return key in self._tasks and not self._tasks[key].done()

    @property
    def keys(self) -> list[K]:
        """Whose turns are under way."""
        return [key for key in self._tasks if key in self]

    @property
    def tasks(self) -> "list[asyncio.Task[T | None]]":
        """The turns under way."""
        return [task for task in self._tasks.values() if not task.done()]

    def begin(
        self, key: K, work: Coroutine[Any, Any, T], *, room: asyncio.Semaphore | None = None
    ) -> "asyncio.Task[T | None]":
        """Begin a turn; none of this key may be under way. Its result is None where it was cut off.

        room: what it waits for first, and has for as long as it works. It is not late before it has it.
        """
        if key in self:
            work.close()
            raise RuntimeError(f"{self._what} of {key} is under way")
        task = self._tasks[key] = self._env.spawn(f"{self._what} of {key}", self._turn(key, work, room))
        # Not in a finally of the work: what is cancelled before its first step never comes to that.
        task.add_done_callback(lambda _: self._ended(key, task, work))
        return task

    def of(self, key: K) -> "asyncio.Task[T | None]":
        """Return the turn of this key that is under way."""
        return self._tasks[key]

    def tell_late(self) -> None:
        """Tell of every turn that takes long, once, and where it waits."""
        now = self._env.clock.monotonic()
        for key, since in list(self._since.items()):
            if now - since >= self._tell_after_s and key in self:
                del self._since[key]
                log.warning(
                    "a turn takes long",
                    extra={
                        "what": self._what,
                        "of": str(key),
                        "s": round(now - since),
                        "at": waits_at(self._tasks[key]),
                    },
                )

    async def _turn(self, key: K, work: Coroutine[Any, Any, T], room: asyncio.Semaphore | None) -> T | None:
        async with nullcontext() if room is None else room:
            self._since[key] = self._env.clock.monotonic()
            return await self._work(key, work)

    async def _work(self, key: K, work: Coroutine[Any, Any, T]) -> T | None:
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                return await work
        except TimeoutError as late:
            if not limit.expired():
                raise
            log.error("a turn was cut off", extra={"what": self._what, "of": str(key)}, exc_info=late)
            return None

    def _ended(self, key: K, task: "asyncio.Task[T | None]", work: Coroutine[Any, Any, T]) -> None:
        work.close()
        if self._tasks[key] is task:  # and not the next one already
            del self._tasks[key]
            self._since.pop(key, None)


def waits_at(task: "asyncio.Task[Any]") -> list[str]:
    """Return the functions a task is in the middle of, the innermost last: file:line name."""
    found: list[str] = []
    step: Any = task.get_coro()
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None) or getattr(step, "ag_frame", None)
        if frame is not None:
            code: CodeType = frame.f_code
            found.append(f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name}")
        inner = [getattr(step, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await")]
        step = next((one for one in inner if one is not None), None)
    return found
