"""Payouts by schedule: who is paid when, from what amount on, and every period that is due made up, in its turn.

`calendar.py` says what a schedule means. Here it is kept: a bank's default, and what differs for a payee.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple, Protocol

from kernel.clock import business_date
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound, Rejected, SluiceError, Unavailable
from kernel.lane import Lanes
from kernel.work import BOOKS, Need, Work
from people import Use, approved
from splitting import store
from splitting.objects import reserve_payload, schedule_payload
from splitting.settlement.calendar import DAY, BankHours, Calendar, Every, Schedule, payable, periods, schedule
from splitting.settlement.instructions import MakeSettlement, ReleaseSettlement
from splitting.settlement.limits import Reserve, reserve
from splitting.settlement.making import make
from splitting.settlement.refused import CancelSettlement
from splitting.settlement.store import EVERYBODY, payout_reserves, payout_schedules
from splitting.tables import (
    BANK_LINKS,
    PAYEES,
    PAYOUT_BANKS,
    PAYOUT_RESERVES,
    PAYOUT_SCHEDULES,
    BankLink,
    PayoutBank,
    PayoutReserve,
    PayoutSchedule,
    Settlement,
)
from streams import publish

NO_LIMIT = None


@dataclass(frozen=True, slots=True)
class SetSchedule:
    """Note when a payee is paid, or by default every payee at a bank (payee_id EVERYBODY). Returns the row.

    The same again changes nothing. Raises NotFound (no_such_bank, no_such_payee), Rejected (payee_elsewhere).
    """

    book: int
    bank: str
    payee_id: str
    schedule: Schedule

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.bank)
        yield PAYOUT_SCHEDULES, (self.book, self.bank, self.payee_id)
        if self.payee_id != EVERYBODY:
            yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> PayoutSchedule:
        _paid_at(work, self.book, self.bank, self.payee_id)
        there = work.find(PAYOUT_SCHEDULES, (self.book, self.bank, self.payee_id))
        told = (self.schedule.every.value, self.schedule.on, self.schedule.minimum_minor)
        if there is not None and there[3:6] == told:
            return there
        row = PayoutSchedule(self.book, self.bank, self.payee_id, *told, work.now)
        work.put(PAYOUT_SCHEDULES, row)
        publish(work, self.book, "payout_schedule.set", self.payee_id or self.bank, schedule_payload(row))
        return row


@dataclass(frozen=True, slots=True)
class SetReserve:
    """Note what is kept of what a payee is owed, or by default of every payee's at a bank. Returns the row.

    A reserve of nothing keeps nothing, and for a payee nothing of the bank's default either. The same again changes
    nothing. Raises NotFound (no_such_bank, no_such_payee), Rejected (payee_at_another_bank).
    """

    book: int
    bank: str
    payee_id: str
    reserve: Reserve

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.bank)
        yield PAYOUT_RESERVES, (self.book, self.bank, self.payee_id)
        if self.payee_id != EVERYBODY:
            yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> PayoutReserve:
        _paid_at(work, self.book, self.bank, self.payee_id)
        there = work.find(PAYOUT_RESERVES, (self.book, self.bank, self.payee_id))
        if there is not None and there[3:6] == tuple(self.reserve):
            return there
        row = PayoutReserve(self.book, self.bank, self.payee_id, *self.reserve, work.now)
        work.put(PAYOUT_RESERVES, row)
        publish(work, self.book, "payout_reserve.set", self.payee_id or self.bank, reserve_payload(row))
        return row


@dataclass(frozen=True, slots=True)
class SetPayoutBank:
    """Note when a bank carries batches out, and from what amount on a batch takes two people. Returns the row.

    Raises NotFound (no_such_bank).
    """

    book: int
    bank: str
    hours: BankHours
    release_above_minor: int | None
    only_deposited: bool

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.bank)
        yield PAYOUT_BANKS, (self.book, self.bank)

    def apply(self, work: Work) -> PayoutBank:
        _linked(work, self.book, self.bank)
        there = work.find(PAYOUT_BANKS, (self.book, self.bank))
        row = PayoutBank(
            self.book, self.bank, self.hours.cut_off, self.hours.every_day, self.release_above_minor,
            self.only_deposited, None if there is None else there.settled_until,
        )  # fmt: skip
        work.put(PAYOUT_BANKS, row)
        return row


@dataclass(frozen=True, slots=True)
class MarkSettled:
    """Note that every period at a bank that ended by a business date has its batch. A mark never goes back."""

    book: int
    bank: str
    until: date

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYOUT_BANKS, (self.book, self.bank)

    def apply(self, work: Work) -> None:
        there = work.find(PAYOUT_BANKS, (self.book, self.bank))
        row = there or bank_of(self.book, self.bank)
        if row.settled_until is None or row.settled_until < self.until:
            work.put(PAYOUT_BANKS, row._replace(settled_until=self.until))


def _paid_at(work: Work, book: int, bank: str, payee_id: str) -> None:
    """Raise what is wrong with a bank, or with a payee at it (EVERYBODY for none)."""
    _linked(work, book, bank)
    if payee_id == EVERYBODY:
        return
    payee = work.find(PAYEES, (book, payee_id))
    if payee is None:
        raise NotFound("no_such_payee", f"there is no payee {payee_id}", param="payee")
    if payee.bank != bank:
        raise Rejected("payee_at_another_bank", f"{payee.id} is paid at {payee.bank or 'no bank'}", param="payee")


def _linked(work: Work, book: int, bank: str) -> BankLink:
    link = work.find(BANK_LINKS, (book, bank))
    if link is None:
        raise NotFound("no_such_bank", f"this merchant has no custody account at {bank}", param="bank")
    return link


def bank_of(book: int, bank: str) -> PayoutBank:
    """Return what holds of a bank of which nothing was said: linked when no batch waited."""
    return PayoutBank(book, bank, *BankHours(), NO_LIMIT, False, None)


class End(NamedTuple):
    """A business date that ends periods of some schedules, and so has a batch."""

    business_date: date
    early: bool  # T+0: before the date is over
    due: date  # the bank's day
    not_before: datetime
    schedules: frozenset[Schedule]


def ends(
    asked: Iterable[Schedule], hours: BankHours, calendar: Calendar, *, after: date, now: datetime
) -> tuple[list[End], Rejected | None]:
    """Return the business dates after one whose batches may be made now, oldest first.

    Where schedules with several due days end on one date, its batch is carried out on the first of them. Also returns
    the refusal (no_calendar) where something else may be due of which the calendar does not know when.
    """
    found: dict[tuple[date, bool], End] = {}
    unknown = None
    for one in set(asked):
        try:
            for ended in periods(one, hours, calendar, after=after, now=now):
                key = ended.last, one.every is Every.T0
                there = found.get(key)
                due = ended.due if there is None else min(there.due, ended.due)
                with_it = frozenset({one}) if there is None else there.schedules | {one}
                found[key] = End(*key, due, ended.not_before, with_it)
        except Rejected as refusal:
            unknown = refusal
    return [found[key] for key in sorted(found)], unknown


class Sends(Protocol):
    """Whoever can send a batch to its bank."""

    async def link(self, book: int, bank: str) -> BankLink: ...
    async def send(self, settlement: Settlement) -> Settlement: ...


class Payouts:
    """Use cases of schedules."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env, banks: Sends, calendar: Calendar) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._banks = banks
        self._calendar = calendar

    async def set_schedule(
        self, book: int, bank: str, *, payee_id: str | None, every: str, on: int | None, minimum_minor: int
    ) -> PayoutSchedule:
        """Set when a payee is paid, or everybody at the bank (None). Raises what SetSchedule and `schedule` raise."""
        asked = schedule(every, on, minimum_minor)
        row: PayoutSchedule = await self._lanes.put(SetSchedule(book, bank, payee_id or EVERYBODY, asked))
        return row

    async def set_bank(
        self,
        book: int,
        bank: str,
        hours: BankHours,
        *,
        release_above_minor: int | None,
        only_deposited: bool,
        use: Use | None = None,
    ) -> PayoutBank:
        """Set a bank's hours, the limit of one person, and whether a batch waits for the deposits that it needs.

        use: of the approval that it takes, if it does. Raises NotFound (no_such_bank), Conflict (approval_unusable).
        """
        asked = SetPayoutBank(book, bank, hours, release_above_minor, only_deposited)
        row: PayoutBank = await self._lanes.put(approved(asked, use))
        return row

    async def set_reserve(
        self, book: int, bank: str, *, payee_id: str | None, fixed_minor: int, rolling_bp: int, rolling_days: int
    ) -> PayoutReserve:
        """Set what is kept of what a payee is owed, or everybody at the bank (None).

        Raises what SetReserve and `reserve` raise.
        """
        asked = reserve(fixed_minor, rolling_bp, rolling_days)
        row: PayoutReserve = await self._lanes.put(SetReserve(book, bank, payee_id or EVERYBODY, asked))
        return row

    async def reserves(self, book: int) -> list[PayoutReserve]:
        """Return every reserve of a merchant, each bank's default first."""
        async with acquire(self._pool) as connection:
            return await payout_reserves(connection, book)

    async def schedules(self, book: int) -> list[PayoutSchedule]:
        """Return every schedule of a merchant, each bank's default first."""
        async with acquire(self._pool) as connection:
            return await payout_schedules(connection, book)

    async def bank(self, book: int, bank: str) -> PayoutBank:
        """Return a bank's hours and limit, the usual ones where nothing was said. Raises NotFound (no_such_bank)."""
        await self._banks.link(book, bank)
        async with acquire(self._pool) as connection:
            rows = await PAYOUT_BANKS.load(connection, [(book, bank)])
        return rows[0] if rows else bank_of(book, bank)

    async def release(self, book: int, settlement_id: str, *, use: Use | None = None) -> Settlement:
        """Have a batch sent that waits for a second person; the worker sends it where the bank is away now.

        use: of the approval that it takes, if it does. Raises NotFound (no_such_settlement), Conflict
        (approval_unusable).
        """
        released: Settlement = await self._lanes.put(approved(ReleaseSettlement(book, settlement_id), use))
        with suppress(Unavailable):
            return await self._banks.send(released)
        return released

    async def cancel(self, book: int, settlement_id: str, *, use: Use | None = None) -> Settlement:
        """Have a batch that awaits its release never sent, and its payees owed again.

        The bank is asked first whether it has anything of it; where it is away, the worker sees to the rest. use: of
        the approval that it takes, if it does. Raises what CancelSettlement raises.
        """
        cancelled: Settlement = await self._lanes.put(approved(CancelSettlement(book, settlement_id), use))
        with suppress(Unavailable):
            return await self._banks.send(cancelled)
        return cancelled

    async def settle_due(self, book: int, bank: str, currency: str) -> list[Settlement]:
        """Make and send every batch that is due at a bank by schedule, oldest first; return those there are now.

        Periods that were missed come in their turn. Repeating it makes nothing again. Payees without a schedule, or
        paid by hand, are in none. Raises NotFound (no_such_bank), Rejected (no_calendar): then what could be made was.
        """
        terms = await self.bank(book, bank)
        async with acquire(self._pool) as connection:
            rows = [row for row in await payout_schedules(connection, book) if row.bank == bank]
        if not rows:
            return []
        now, hours = self._env.now(), BankHours(terms.cut_off, terms.every_day)
        by_payee = {row.payee_id: schedule(row.every, row.on_day, row.minimum_minor) for row in rows}
        begun = business_date(min(row.set_at for row in rows)) - DAY
        after = begun if terms.settled_until is None else terms.settled_until
        found, unknown = ends(by_payee.values(), hours, self._calendar, after=after, now=now)
        made, wrong = [], list[SluiceError]()
        for end in found:
            settlement = await self._make(book, bank, currency, end, by_payee, hours, now)
            if settlement is None:
                continue
            try:
                made.append(await self._banks.send(settlement))
            except SluiceError as error:  # it is made, and the worker sends it; the later ones are made all the same
                wrong.append(error)
        if wrong:
            raise wrong[0]
        if unknown is not None:  # the mark stays, so that it is made up once it is known
            raise unknown
        await self._lanes.put(MarkSettled(book, bank, business_date(now) - DAY))
        return made

    async def _make(
        self,
        book: int,
        bank: str,
        currency: str,
        end: End,
        by_payee: Mapping[str, Schedule],
        hours: BankHours,
        now: datetime,
    ) -> Settlement | None:
        """Make the batch of a date for those whose period it ends."""

        def to_pay(owed: store.Owed) -> store.Owed | None:
            theirs = by_payee.get(owed.payee_id) or by_payee.get(EVERYBODY)
            if theirs is None or theirs not in end.schedules or not payable(owed.minor, theirs.minimum_minor):
                return None
            return owed._replace(least=max(theirs.minimum_minor, 1))

        execution = hours.executes_on(self._calendar, end.due, now)
        batch = MakeSettlement(book, bank, end.business_date, execution, currency, [], end.not_before, early=end.early)
        return await make(self._pool, self._lanes, batch, to_pay)
