"""Reading a statement out of the ledger: an account's days, entry by entry, between the balances the ledger keeps.

Only days that are over have statements, so a statement never changes. Its cost depends on its own entries.
"""

import calendar
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import date, datetime
from typing import NamedTuple

import ledger
from kernel.clock import business_date
from kernel.db import Connection, Pool, acquire
from kernel.errors import Broken, NotFound, Rejected
from ledger import accounts
from ledger.accounts import AccountKind
from ledger.posting import ACCOUNTS, Account
from splitting import store
from splitting.shares.sharing import owed_account
from splitting.tables import PAYEES

_BOOKINGS = ("dep", "sus")  # how ids of entries begin that are about a booking of the bank


class Period(NamedTuple):
    """Days in Beijing, both included."""

    first: date
    last: date

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


class Section(NamedTuple):
    """One account of a statement; balances in minor units on its normal side."""

    account: Account
    opening_minor: int
    closing_minor: int  # as the ledger keeps it, whatever its entries sum up to


class Statement(NamedTuple):
    """Whose statement, of which days, over which accounts."""

    book: int
    about: str  # an id, or a bank's name
    name: str
    period: Period
    sections: Sequence[Section]


class Line(NamedTuple):
    """An entry as it stands on the statement of one of its two accounts."""

    seq: int
    recorded_at: datetime
    business_date: date
    rule: str
    reference: str  # the id of what it is about: a payment, a refund, a line of a batch, a booking of the bank
    counter: str  # the other account
    debit_minor: int
    credit_minor: int
    balance_minor: int  # after it


def month(text: str) -> Period:
    """Return a month's days. text: YYYY-MM. Raises ValueError."""
    first = date.fromisoformat(f"{text}-01")
    return Period(first, first.replace(day=calendar.monthrange(first.year, first.month)[1]))


class Statements:
    """What statements are read from."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of_payee(self, book: int, payee_id: str, period: Period, now: datetime) -> Statement:
        """Return a payee's statement: what it is owed, and its sub-account. Raises NotFound, Rejected."""
        async with acquire(self._pool) as connection:
            rows = await PAYEES.load(connection, [(book, payee_id)])
            if not rows:
                raise NotFound("no_such_payee", f"there is no payee {payee_id}")
            names = [owed_account(rows[0]), accounts.sub_account(payee_id, rows[0].currency)]
            return await _statement(connection, book, payee_id, rows[0].name, period, now, names)

    async def of_merchant(self, book: int, name: str, period: Period, now: datetime) -> Statement:
        """Return a merchant's statement: its account in each currency, its coupons, fees that refunds cost it."""
        kinds = (AccountKind.MERCHANT, AccountKind.MERCHANT_COUPON, AccountKind.REFUND_COST)
        async with acquire(self._pool) as connection:
            names = await ledger.store.names_beginning(connection, book, [f"{kind}:" for kind in kinds])
            return await _statement(connection, book, str(book), name, period, now, names)

    async def of_bank(self, book: int, bank: str, period: Period, now: datetime) -> Statement:
        """Return what a bank has of a merchant's book: custody, what it was told to pay, its interest and charges.

        Raises NotFound.
        """
        async with acquire(self._pool) as connection:
            if await store.find_bank_link(connection, book, bank) is None:
                raise NotFound("no_such_bank", f"bank {bank} is not linked to book {book}; see `sluice bank list`")
            kinds = (AccountKind.BANK, AccountKind.IN_TRANSIT, AccountKind.INTEREST, AccountKind.BANK_CHARGE)
            begun = [*(f"{kind}:{bank}:" for kind in kinds), f"{AccountKind.BANK_ACCOUNT}:{bank}."]
            names = await ledger.store.names_beginning(connection, book, begun)
            return await _statement(connection, book, bank, bank, period, now, names)

    async def lines(self, statement: Statement, section: Section) -> AsyncGenerator[Line]:
        """Yield a section's lines in order.

        Raises Broken (statement_differs) in the end where they do not lead from the opening to the closing balance.
        """
        account, balance = section.account, section.opening_minor
        async with (
            acquire(self._pool) as connection,
            aclosing(ledger.store.entries(connection, statement.book, account.name, *statement.period)) as entries,
        ):
            async for entry in entries:
                debit, credit = (entry.amount_minor, 0) if entry.debit == account.name else (0, entry.amount_minor)
                balance += debit - credit if account.side == accounts.Side.DEBIT else credit - debit
                yield Line(
                    entry.seq, entry.recorded_at, entry.business_date, entry.rule, _about(entry.id),
                    entry.credit if debit else entry.debit, debit, credit, balance,
                )  # fmt: skip
        if balance != section.closing_minor:
            raise Broken(
                "statement_differs",
                f"the entries of {account.name} lead to {balance} on {statement.period.last}, and the ledger keeps "
                f"{section.closing_minor}: run `sluice verify`",
            )


def _about(entry_id: str) -> str:
    """Return the id of what an entry is about. A booking's has colons of its own, and an entry of it is called so."""
    head = entry_id.partition(":")[0]
    return entry_id if head in _BOOKINGS else head


async def _statement(
    connection: Connection, book: int, about: str, name: str, period: Period, now: datetime, names: Sequence[str]
) -> Statement:
    if business_date(now) <= period.last:
        raise Rejected("period_not_over", f"{period.last} is not over in Beijing: a statement is of days that are")
    sections = []
    for account in await ACCOUNTS.load(connection, [(book, one) for one in names]):
        opening, closing = await ledger.store.balances_around(connection, book, account.name, *period)
        sections.append(Section(account, opening, closing))
    return Statement(book, about, name, period, sorted(sections))
