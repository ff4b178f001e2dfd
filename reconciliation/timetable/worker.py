"""Following the timetable: one worker leads, each step goes on date after date, and one that fails holds up no other.

A step that failed is tried again after growing waits, for the same date, until the next date is due. Then it goes on
without that date, which is named as missed and tried again each hour: one bill that cannot be read holds up no other.
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
from reconciliation.timetable.plan import DAY, Missed, Row, Scope, Step, again, due, due_at, late_s, wait

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

    async def missed(self) -> list[Missed]:
        """Return the dates that steps have gone on without, oldest first, for whom there is something to do."""
        wanted = {*await self._scopes()}
        async with acquire(self._pool) as connection:
            return [one for one in await store.missed(connection) if one.scope in wanted]

    async def forget(self, step: Step, day: date, *, book: int | None = None) -> list[Scope]:
        """Try a date that was missed no more, for everybody or one merchant; return for whom it was missed.

        Raises NotFound (nothing_missed).
        """
        scopes = [
            one.scope
            for one in await self.missed()
            if (one.scope.step, one.day) == (step, day) and book in (None, one.book)
        ]
        if not scopes:
            raise NotFound("nothing_missed", f"{step} has missed no {day}; see `sluice timetable`")
        async with acquire(self._pool) as connection:
            for scope in scopes:
                await store.miss_no_more(connection, scope, day)
        return scopes

    async def run_by_hand(self, step: Step, day: date, *, book: int | None = None) -> list[Ran]:
        """Do a step of a date for everybody, or one merchant; return what it came to for each.

        Where it is the date whose turn it is, the timetable goes on after it. Raises NotFound (nothing_to_do).
        """
        scopes = [one for one in await self._scopes() if one.step is step and book in (None, one.book)]
        if not scopes:
            raise NotFound("nothing_to_do", f"there is nobody for whom {step} could be done; see `sluice timetable`")
        await self._begin(scopes)
        async with acquire(self._pool) as connection:
            rows = {row.scope: row for row in await store.rows(connection)}
        missed = {(one.scope, one.day) for one in await self.missed()}
        return [
            await self._do(scope, day, rows[scope].tries, rows[scope].next_date == day, (scope, day) in missed)
            for scope in scopes
        ]

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
        begun += [
            self._turns.begin(one.scope, self._tried_again(one), room=self._room)
            for one in again(await self.missed(), self._env.now())
            if one.scope not in self._turns
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
        return (await self._do(row.scope, row.next_date, row.tries, True, False)).code is None

    async def _tried_again(self, one: Missed) -> bool:
        return (await self._do(one.scope, one.day, 0, False, True)).code is None

    async def _do(self, scope: Scope, day: date, tries: int, turn: bool, missed: bool) -> Ran:
        """Do a step of a date and note what became of it.

        tries: how often it was tried in vain before. turn: whether it is this date's turn. missed: whether the step has
        gone on without it.
        """
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
                await store.miss_no_more(connection, scope, day)
                return Ran(scope, day, None, None)
            why = masked(why)[:500]
            facts = {"step": scope.step.value, "book": scope.book, "of": scope.subject, "date": str(day)}
            if missed or (turn and due_at(scope, day + DAY) <= now):
                await store.miss(connection, Missed(*_plain(scope), day, now, code, why))
                if not missed:
                    log.warning("a step goes on without a business date", extra={**facts, "why": why})
            elif turn:
                retry_at = now + wait(tries + 1)
                await store.failed(connection, scope, day, now, tries=tries + 1, retry_at=retry_at, code=code, why=why)
                if tries in (0, 4):  # once at first, and once when it does not pass
                    log.warning("a step of a business date failed; it is tried again", extra={**facts, "why": why})
        return Ran(scope, day, code, why)


def _plain(scope: Scope) -> tuple[int, str, str]:
    return scope.book, scope.step.value, scope.subject


def latest(rows: Sequence[Row], missed: Sequence[Missed], now: datetime) -> dict[Step, float]:
    """Return for how many seconds each step has been due, of whoever has waited longest; dates it missed count."""
    waits = [(row.scope.step, late_s(row, now)) for row in rows]
    waits += [(one.scope.step, (now - due_at(one.scope, one.day)).total_seconds()) for one in missed]
    return {step: max((seconds for of, seconds in waits if of is step), default=0.0) for step in Step}
