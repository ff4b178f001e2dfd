"""The bank's days: closed on demand or when they have passed in Beijing, each with its statements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial

from sandbox.bank import reports, store
from sandbox.bank.bookings import IDENTITY, RAIL, Bookings, minor_of
from sandbox.bank.deposits import Deposits
from sandbox.bank.errors import Refused
from sandbox.bank.reports import Entry, Statement
from sandbox.bank.rules import Account
from sandbox.context import SandboxContext
from sandbox.store import Tx

STATEMENTS_PER_FILE = 500
MAX_DAYS_AHEAD = 366
_STATEMENT_FAULTS = ("statement_entry_missing", "statement_entry_altered", "statement_entry_doubled")


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """What closing a day came to. already_closed: it had been closed before and nothing was done now."""

    closed_date: date
    bank_date: date
    statement_files: int
    already_closed: bool


class Days:
    """See the module."""

    def __init__(self, ctx: SandboxContext, bookings: Bookings, deposits: Deposits) -> None:
        self._ctx, self._store, self._bookings, self._deposits = ctx, ctx.store, bookings, deposits
        statement_keys = ("end_to_end_id", "account", "date")
        ctx.faults.declare(RAIL, ("statement_entry_missing", "statement_entry_doubled"), statement_keys)
        ctx.faults.declare(RAIL, ("statement_entry_altered",), statement_keys, delta_minor=None)
        ctx.faults.declare(RAIL, ("statement_batched",), ("account", "date"))

    @property
    def business_date(self) -> date:
        """Return the bank's business date: what is booked now carries it."""
        return store.read_date(self._store)

    async def close_day(self, day: date) -> ClosedDay:
        """Close a business day and all open ones before it, make their statements, and move on to the day after.

        A day that is closed already stays as it is. Raises Refused (400) for a day absurdly far ahead.
        """
        if day > self.business_date + timedelta(days=MAX_DAYS_AHEAD):
            raise Refused(
                400, "date_too_far", f"the bank's date is {self.business_date}; {day} is more than a year ahead"
            )
        already_closed = day < self.business_date
        while self.business_date <= day:
            closing = self.business_date
            await self._store.write(partial(self._close, day=closing))

        def count(tx: Tx) -> int:
            return store.count_files(tx, "camt.053", day)

        return ClosedDay(day, self.business_date, await self._store.write(count), already_closed)

    async def follow_the_calendar(self) -> None:
        """Close each day when it has passed in Beijing, for ever."""
        while True:
            await self.catch_up()
            await asyncio.sleep(1.0)  # the calendar is real time, so this is not scaled

    async def catch_up(self) -> None:
        """Close every day that has passed in Beijing."""
        yesterday = self._ctx.clock.beijing_date() - timedelta(days=1)
        while (closing := self.business_date) <= yesterday:
            await self._store.write(partial(self._close, day=closing))

    def _close(self, tx: Tx, day: date) -> None:
        """Make every customer's statements of a day, then open the next one with the deposits that fall on it."""
        if store.read_date(tx) != day:  # somebody else closed it first
            return
        now = self._ctx.clock.now_utc()
        for customer_id in store.customer_ids(tx):
            entries = store.entries_of_day(tx, customer_id, day)
            accounts = store.accounts_of_day(tx, customer_id, day)
            pages = [
                accounts[start : start + STATEMENTS_PER_FILE] for start in range(0, len(accounts), STATEMENTS_PER_FILE)
            ]
            for number, page in enumerate(pages, 1):
                statements = [
                    self._statement(account, opened, day, entries.get(account.number, [])) for account, opened in page
                ]
                message_id = f"C053-{store.next_file_seq(tx):010d}"
                raw = reports.statement_file(
                    IDENTITY, message_id, now, statements, page=number, is_last=number == len(pages)
                )
                self._bookings.file_out(tx, customer_id, "camt.053", message_id, raw, day, now)
        store.set_date(tx, day + timedelta(days=1))
        self._deposits.book_due(tx)

    def _statement(self, account: Account, opened: date, day: date, entries: list[Entry]) -> Statement:
        moved = sum(entry.amount_minor if entry.is_credit else -entry.amount_minor for entry in entries)
        return Statement(
            account=account,
            business_date=day,
            sequence=(day - opened).days + 1,
            opening_minor=account.balance_minor - moved,
            closing_minor=account.balance_minor,
            entries=list(self._spoil(account, self._batched(account, entries, day))),
        )

    def _batched(self, account: Account, entries: list[Entry], day: date) -> list[Entry]:
        """Return a day's entries; by an ordered fault, the debits of each order as one that shows none of its lines."""
        if self._ctx.faults.take(RAIL, "statement_batched", account=account.number, date=day.isoformat()) is None:
            return entries
        shown: dict[tuple[str | None, str | None] | int, Entry] = {}
        for number, entry in enumerate(entries):
            ordered = not entry.is_credit and entry.message_id is not None
            key = (entry.message_id, entry.payment_id) if ordered else number
            if key in shown:
                more = shown[key]
                shown[key] = replace(
                    more, amount_minor=more.amount_minor + entry.amount_minor, batch_of=more.batch_of + 1
                )
            else:
                shown[key] = replace(entry, batch_of=1) if ordered else entry
        return list(shown.values())

    def _spoil(self, account: Account, entries: list[Entry]) -> Iterable[Entry]:
        """Yield the entries as the statement is to show them, which differs from the books only by ordered faults."""
        for entry in entries:
            fault = self._ctx.faults.take(
                RAIL,
                _STATEMENT_FAULTS,
                end_to_end_id=entry.end_to_end_id,
                account=account.number,
                date=entry.booking_date.isoformat(),
            )
            if fault is None:
                yield entry
            elif fault.name == "statement_entry_altered":
                signed = entry.amount_minor + minor_of(fault, "delta_minor")
                yield replace(entry, amount_minor=abs(signed), is_credit=entry.is_credit == (signed >= 0))
            elif fault.name == "statement_entry_doubled":
                yield entry
                yield entry
