"""Following the timetable: one worker leads, each step goes on date after date, and one that fails holds up no other.

A step that failed is tried again after growing waits, for the same date: what was missed is made up in its order.
Everything that a step does may be repeated, so it may also be run by hand at any time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import NamedTuple

from kernel.clock import business_date
from kernel.db import Connection, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import NotFound, SluiceError
from kernel.masking import masked
from kernel.turns import Turns
from reconciliation.timetable import store
from reconciliation.timetable.plan import DAY, Row, Scope, Step, due, late_s, wait

log = logging.getLogger(__name__)

EVERY_S = 15.0  # between rounds
SLOW_S = 1.0  # a round waits so long for what it began
AT_ONCE = 8  # steps under way

Work = Callable[[Scope, date], Awaitable[None]]
Scopes = Callable[[], Awaitable[Sequence[Scope]]]


class Ran(NamedTuple):
    """What a step that was run came to."""

    scope: Scope
    day: date
    code: str | None  # None: it was done
    why: str | None


class Timetable:
    """The steps of each business date, done by themselves or by hand."""

    def __init__(self, pool: Pool, env: Env, scopes: Scopes, steps: Mapping[Step, Work]) -> None:
        """scopes: for whom there is something to do at present. steps: how each is done; raises where it was not."""
        self._pool = pool
        self._env = env
        self._scopes = scopes
        self._steps = steps
        self._turns: Turns[Scope, bool] = Turns(env, "a step of the timetable")
        self._room = asyncio.Semaphore(AT_ONCE)

    async def rows(self) -> list[Row]:
        """Return how far each step has come for whom there is something to do, in the order of the day."""
        wanted = {*await self._scopes()}
        async with acquire(self._pool) as connection:
            rows = [row for row in await store.rows(connection) if row.scope in wanted]
        order = list(Step)
        return sorted(rows, key=lambda row: (order.index(row.scope.step), row.book, row.subject))

    async def run_by_hand(self, step: Step, day: date, *, book: int | None = None) -> list[Ran]:
        """Do a step of a date for everybody, or one merchant; return what it came to for each.

        Where it is the date whose turn it is, the timetable goes on after it. Raises NotFound (nothing_to_do).
        """
        scopes = [one for one in await self._scopes() if one.step is step and book in (None, one.book)]
        if not scopes:
            raise NotFound("nothing_to_do", f"there is nobody for whom {step} could be done; see `sluice timetable`")
        await self._begin(scopes)
        async with acquire(self._pool) as connection:
            tries = {row.scope: row.tries for row in await store.rows(connection)}
        return [await self._do(scope, day, tries.get(scope, 0)) for scope in scopes]

    # ---- by itself ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the timetable until cancelled, whenever no other worker does."""
        while True:
            try:
                async with self._leading() as connection:
                    while connection is not None:
                        await connection.fetchval("SELECT 1")  # whoever has lost its session leads no more
                        self._turns.tell_late()
                        if not await self.once():
                            await self._env.sleep(EVERY_S)
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "a round of the timetable failed; it goes on", error)
            await self._env.sleep(EVERY_S)

    @asynccontextmanager
    async def _leading(self) -> "AsyncIterator[Connection | None]":
        """Lead while inside; None where another does."""
        async with acquire(self._pool) as connection:
            if not await store.lead(connection):
                yield None
                return
            try:
                yield connection
            finally:
                await store.lead_no_more(connection)

    @property
    def busy(self) -> bool:
        """Whether something of a round is still under way."""
        return bool(self._turns.keys)

    async def once(self) -> int:
        """Begin what is due and not under way; return how many steps were done by now."""
        await self._begin(await self._scopes())
        begun = [
            self._turns.begin(row.scope, self._tried(row), room=self._room)
            for row in due(await self.rows(), self._env.now())
            if row.scope not in self._turns
        ]
        if not begun:
            return 0
        finished, _ = await asyncio.wait(begun, timeout=SLOW_S)
        return sum(bool(task.result()) for task in finished)

    async def _begin(self, scopes: Sequence[Scope]) -> None:
        """Take on whoever is new: from today's date on, which is over tomorrow."""
        async with acquire(self._pool) as connection:
            known = {row.scope for row in await store.rows(connection)}
            new = [scope for scope in scopes if scope not in known]
            if new:
                await store.begin(connection, new, business_date(self._env.now()) - DAY)

    async def _tried(self, row: Row) -> bool:
        return (await self._do(row.scope, row.next_date, row.tries)).code is None

    async def _do(self, scope: Scope, day: date, tries: int) -> Ran:
        """Do a step of a date and note what became of it. tries: how often it was tried in vain before."""
        code = why = None
        try:
            await self._steps[scope.step](scope, day)
        except SluiceError as error:
            code, why = error.code, error.message
        except Exception as error:  # part of the worker loop
            code, why = "internal_error", type(error).__name__
            tell(log, "a step of the timetable failed", error, step=scope.step.value, book=scope.book)
        now = self._env.now()
        async with acquire(self._pool) as connection:
            if code is None or why is None:
                await store.done(connection, scope, day, now)
            else:
                why = masked(why)[:500]
                retry_at = now + wait(tries + 1)
                await store.failed(connection, scope, day, now, tries=tries + 1, retry_at=retry_at, code=code, why=why)
                if tries in (0, 4):  # once at first, and once when it does not pass
                    facts = {"step": scope.step.value, "book": scope.book, "of": scope.subject, "date": str(day)}
                    log.warning("a step of a business date failed; it is tried again", extra={**facts, "why": why})
        return Ran(scope, day, code, why)


def latest(rows: Sequence[Row], now: datetime) -> dict[Step, float]:
    """Return for how many seconds each step has been due, of whoever has waited longest."""
    return {step: max((late_s(row, now) for row in rows if row.scope.step is step), default=0.0) for step in Step}
