"""The janitor: owns whatever is open. Every row that has not ended has a time at which the channel is asked again.

Each rail has rounds of its own, one at a time: a rail that does not answer keeps only its own rows waiting.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import ledger
from gateway import states
from gateway.payments.payments import Payments
from gateway.payments.store import due_chargebacks
from gateway.store import due_attempts, due_payments, due_refunds, forget_claims
from gateway.tables import CASHIER, Attempt, Chargeback, Payment, Refund
from kernel.db import AGAIN, LOST, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import SluiceError
from kernel.lane import MAX_SKEW, Lanes
from kernel.turns import Turns
from kernel.work import clock_off

log = logging.getLogger(__name__)

KEEP_KEYS = timedelta(days=8)  # an idempotency key is promised to be known for seven days
SWEEP_EVERY_S = 3600.0
LOCKED_FOR_S = 10.0
REST_S = 0.5  # a round that went wrong keeps its rail waiting

Row = Attempt | Refund | Payment | Chargeback


class Janitor:
    """Asks channels about whatever is open, and ends what has run out. Any number may run."""

    def __init__(
        self,
        payments: Payments,
        pool: Pool,
        lanes: Lanes,
        env: Env,
        *,
        at_once: int = 16,
        max_skew: timedelta | None = MAX_SKEW,
    ) -> None:
        """at_once: rows in a round. max_skew: see kernel.lane.committing."""
        self._payments = payments
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._at_once = at_once
        self._max_skew = max_skew
        self._swept_at: float | None = None  # monotonic
        self._locked: dict[int, float] = {}  # books something else holds, and when to try them again (monotonic)
        self._rounds: Turns[str, None] = Turns(
            env, "the janitor's round"
        )  # by rail; the cashier's payments have one too

    async def sweep(self) -> int:
        """Forget idempotency keys whose time is over, once an hour; return how many.

        A host whose clock is off forgets none: one that is far ahead would forget all of them.
        """
        begun = self._env.clock.monotonic()
        if self._swept_at is not None and begun - self._swept_at < SWEEP_EVERY_S:
            return 0
        forgotten = 0
        while True:
            async with acquire(self._pool) as connection:
                now = self._env.now()
                if await clock_off(connection, now, self._max_skew) is not None:
                    return forgotten
                some = await forget_claims(connection, now - KEEP_KEYS, 5000)
            forgotten += some
            if some < 5000:
                self._swept_at = begun
                return forgotten

    async def once(self) -> int:
        """Deal with what is due now; return how many rows that was."""
        begun = await self._begin()
        for task in self._rounds.tasks:
            await task
        return begun + await self._void_holds()

    async def _begin(self) -> int:
        """Begin a round for each rail that has something due and none under way; return how many rows they have."""
        now, busy = self._env.now(), self._rounds.keys
        unlocked = self._env.clock.monotonic()
        self._locked = {book: until for book, until in self._locked.items() if until > unlocked}
        locked = list(self._locked)
        rows: dict[str, list[Row]] = {}
        async with acquire(self._pool) as connection:
            for attempt in await due_attempts(connection, now, busy, locked, self._at_once):
                rows.setdefault(attempt.channel, []).append(attempt)
            for refund, channel in await due_refunds(connection, now, busy, locked, self._at_once):
                rows.setdefault(channel, []).append(refund)
            for chargeback in await due_chargebacks(connection, now, busy, locked, self._at_once):
                rows.setdefault(chargeback.channel, []).append(chargeback)
            if CASHIER not in busy:
                for payment in await due_payments(connection, now, locked, self._at_once):
                    rows.setdefault(CASHIER, []).append(payment)
        for rail, of_rail in rows.items():
            self._rounds.begin(rail, self._round(rail, of_rail))
        return sum(map(len, rows.values()))

    async def _round(self, rail: str, rows: Sequence[Row]) -> None:
        found = await asyncio.gather(*[self._follow_up(row) for row in rows], return_exceptions=True)
        if errors := [error for error in found if isinstance(error, Exception)]:
            await self._env.sleep(REST_S)  # what was due still is
            passing = [error for error in errors if isinstance(error, (*LOST, *AGAIN))]
            for error in passing[:1]:  # the others say the same
                tell(log, "the janitor's round was cut short; it goes on", error, channel=rail)
            if mistakes := [error for error in errors if error not in passing]:
                raise ExceptionGroup(f"the janitor's round of {rail} went wrong", mistakes)

    async def _void_holds(self) -> int:
        """Void holds of the book whose time has run out; return how many there were."""
        async with acquire(self._pool) as connection:
            holds = await ledger.store.expired_holds(connection, self._env.now(), list(self._locked), self._at_once)
        for book, hold_id in holds:
            if book in self._locked:
                continue
            try:
                await self._lanes.put(ledger.ExpireHold(book, hold_id))
            except SluiceError as error:
                self._note_locked(book, error)
                tell(log, "a hold could not be voided; it stays due", error, object=hold_id)
        return len(holds)

    async def _follow_up(self, row: Row) -> None:
        try:
            if isinstance(row, Payment):
                await self._payments.end_if_run_out(row)
                return
            if isinstance(row, Chargeback):
                await self._payments.disputing.follow_up(row)
                return
            if isinstance(row, Refund) and row.status == states.RefundStatus.FAILED:
                await self._payments.retry_unwanted(row)
                return
            claimed_at = await self._payments.take(row)
            if claimed_at is None:
                return
            if isinstance(row, Attempt):
                await self._payments.follow_up(row, claimed_at)
            elif row.sent_count == 0:
                await self._payments.send_refund_once_more(row)  # nobody has, provably
            else:
                await self._payments.follow_up_refund(row)
        except SluiceError as error:
            self._note_locked(row.book, error)
            name = row.payment_id if isinstance(row, Attempt) else row.id
            tell(log, "could not be asked about now; it stays due", error, object=name)
            if isinstance(row, (Attempt, Refund)):
                with suppress(SluiceError):  # where the hub itself is what is away, the next round notes it
                    await self._payments.note_unfinished(row)

    def _note_locked(self, book: int, error: SluiceError) -> None:
        """Have a locked book's rows make room for others for a while."""
        if error.code == "book_locked":
            self._locked[book] = self._env.clock.monotonic() + LOCKED_FOR_S

    async def run(self, *, idle_s: float = 0.5) -> None:
        """Work until cancelled."""
        while True:
            self._rounds.tell_late()
            try:
                done = await self._begin() + await self._void_holds()
                await self.sweep()
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "a round of the janitor failed; it goes on", error)
                done = 0
            if not done:
                await self._pause(idle_s)

    async def _pause(self, idle_s: float) -> None:
        """Wait for the first round that ends, or so long."""
        if rounds := self._rounds.tasks:
            await asyncio.wait(rounds, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
        else:
            await self._env.sleep(idle_s)
