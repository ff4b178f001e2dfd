"""The ledger's reading side: balances, the journal, what is due. Writing goes through the commit lane (posting.py)."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from kernel.clock import BEIJING, business_date
from kernel.db import Connection
from ledger.accounts import Side
from ledger.posting import ACCOUNTS, Account, Entry

_ENTRY = ", ".join(Entry._fields)
_MOVED = "coalesce(sum(CASE WHEN debit = $2 THEN amount_minor ELSE -amount_minor END), 0)::bigint"


async def balances(
    connection: Connection, book: int, *, after: str | None = None, limit: int | None = None
) -> list[Account]:
    """Return the accounts of the book as they stand now, in order of name; those after a name; None: every one."""
    rows = await connection.fetch(
        "SELECT book, name, currency, side, may_overdraw, debits, credits, debits_held, credits_held, moved_on "
        "FROM account WHERE book = $1 AND name > $2 ORDER BY name LIMIT $3",
        book,
        after or "",
        limit,
    )
    return [Account(*row) for row in rows]


async def find_account(connection: Connection, book: int, name: str) -> Account | None:
    """Return one account, or None."""
    rows = await ACCOUNTS.load(connection, [(book, name)])
    return rows[0] if rows else None


async def balance_at(connection: Connection, book: int, account: str, moment: datetime) -> int | None:
    """Return the account's balance in minor units on its normal side after all that was recorded up to `moment`.

    None when there is no such account. Costs what was recorded on that day, however old the book is.
    """
    day = business_date(moment)
    kept = await _kept(connection, book, account, day - timedelta(days=1))
    if kept is None:
        return None
    if kept.moved_on is None or kept.moved_on < day:
        return kept.balance_now
    of_day = await connection.fetchval(
        f"SELECT {_MOVED} FROM transfer WHERE book = $1 AND (debit = $2 OR credit = $2) "
        "AND recorded_at >= $3 AND recorded_at <= $4 AND step IN ('post', 'post_hold')",
        book,
        account,
        _begins(day),
        moment,
    )
    return kept.on_its_side(kept.moved_until + of_day)


class AccountStatement(NamedTuple):
    """What was recorded on an account from one day to another; balances in minor units on its normal side."""

    opening_minor: int
    entries: Sequence[Entry]  # in order; what was only held is not among them
    closing_minor: int


async def statement(
    connection: Connection, book: int, account: str, first: date, last: date
) -> AccountStatement | None:
    """Return what was recorded on an account from day `first` to `last`, in Beijing; None when there is none.

    A statement of days that are over never changes: what is posted later for their business dates is in a later one.
    Costs what was recorded on those days, however old the book is.
    """
    kept = await _kept(connection, book, account, first - timedelta(days=1))
    if kept is None:
        return None
    if kept.moved_on is None or kept.moved_on < first:
        return AccountStatement(kept.balance_now, [], kept.balance_now)
    found = [entry async for entry in entries(connection, book, account, first, last)]
    moved = sum(entry.amount_minor if entry.debit == account else -entry.amount_minor for entry in found)
    opening = kept.moved_until
    return AccountStatement(kept.on_its_side(opening), found, kept.on_its_side(opening + moved))


async def balances_around(connection: Connection, book: int, account: str, first: date, last: date) -> tuple[int, int]:
    """Return what the ledger keeps of an account before day `first` and at the end of `last`, in Beijing.

    In minor units on its normal side; 0 for an account that is not there. Reads no entries.
    """
    around = []
    for day in (first - timedelta(days=1), last):
        kept = await _kept(connection, book, account, day)
        if kept is None:
            around.append(0)
        elif kept.moved_on is None or kept.moved_on <= day:
            around.append(kept.balance_now)
        else:
            around.append(kept.on_its_side(kept.moved_until))
    return around[0], around[1]


async def entries(connection: Connection, book: int, account: str, first: date, last: date) -> AsyncGenerator[Entry]:
    """Yield an account's entries, recorded from day `first` to `last` in Beijing, in order, in bounded memory.

    What was only held is not among them.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(
            f"SELECT {_ENTRY} FROM transfer WHERE book = $1 AND (debit = $2 OR credit = $2) AND recorded_at >= $3 "
            "AND recorded_at < $4 AND step IN ('post', 'post_hold') ORDER BY seq",
            book,
            account,
            _begins(first),
            _begins(last + timedelta(days=1)),
            prefetch=1_000,
        ):
            yield Entry(*row)


async def names_beginning(connection: Connection, book: int, beginnings: Sequence[str]) -> list[str]:
    """Return the names of a book's accounts that begin with one of these, in order."""
    rows = await connection.fetch(
        "SELECT name FROM account WHERE book = $1 "
        "AND EXISTS (SELECT FROM unnest($2::text[]) AS b(begins) WHERE starts_with(name, begins)) ORDER BY name",
        book,
        beginnings,
    )
    return [row[0] for row in rows]


class _Kept(NamedTuple):
    side: str
    moved_on: date | None
    moved: int  # debits less credits, now
    moved_until: int  # the same up to the end of the day that was asked for, unless it has not moved since

    @property
    def balance_now(self) -> int:
        return self.on_its_side(self.moved)

    def on_its_side(self, debits_less_credits: int) -> int:
        return debits_less_credits if self.side == Side.DEBIT else -debits_less_credits


async def _kept(connection: Connection, book: int, account: str, day: date) -> _Kept | None:
    """Return what is kept of an account's sums, those at the end of a day among them; None when there is none."""
    row = await connection.fetchrow(
        "SELECT a.side, a.moved_on, a.debits - a.credits, coalesce(("
        "SELECT e.debits - e.credits FROM day_end e WHERE e.book = $1 AND e.account = $2 AND e.day <= $3 "
        "ORDER BY e.day DESC LIMIT 1), 0) FROM account a WHERE a.book = $1 AND a.name = $2",
        book,
        account,
        day,
    )
    return None if row is None else _Kept(*row)


def _begins(day: date) -> datetime:
    """Return the moment at which a day begins in Beijing."""
    return datetime.combine(day, time(), BEIJING)


class Movement(NamedTuple):
    """What one rule moved on one business date."""

    rule: str
    amount_minor: int
    transfer_count: int


async def movements(connection: Connection, book: int, day: date, currency: str) -> list[Movement]:
    """Return what each rule moved on a business date, in order of rule."""
    rows = await connection.fetch(
        """
        SELECT rule, sum(amount_minor)::bigint, count(*)
        FROM transfer
        WHERE book = $1 AND business_date = $2 AND currency = $3 AND step IN ('post', 'post_hold')
        GROUP BY rule ORDER BY rule
        """,
        book,
        day,
        currency,
    )
    return [Movement(*row) for row in rows]


async def rule_totals(connection: Connection, book: int, currency: str) -> dict[str, int]:
    """Return what each posting rule has moved in all, in minor units; reads the book's journal."""
    rows = await connection.fetch(
        "SELECT rule, sum(amount_minor)::bigint FROM transfer "
        "WHERE book = $1 AND currency = $2 AND step IN ('post', 'post_hold') GROUP BY rule",
        book,
        currency,
    )
    return {row[0]: row[1] for row in rows}


async def journal(connection: Connection, book: int, after: int = 0) -> AsyncIterator[Entry]:
    """Yield the book's entries from number after + 1, in order. Needs a transaction; reads in pieces of a thousand."""
    async for row in connection.cursor(
        f"SELECT {_ENTRY} FROM transfer WHERE book = $1 AND seq > $2 ORDER BY seq",
        book,
        after,
        prefetch=1000,
    ):
        yield Entry(*row)


async def expired_holds(
    connection: Connection, now: datetime, locked: Sequence[int], limit: int
) -> Sequence[tuple[int, str]]:
    """Return (book, id) of holds whose time is up, the longest first; none of locked books."""
    rows = await connection.fetch(
        "SELECT book, id FROM hold WHERE state = 'held' AND expires_at <= $1 AND book <> ALL($2::int[]) "
        "ORDER BY expires_at LIMIT $3",
        now,
        locked,
        limit,
    )
    return [(row[0], row[1]) for row in rows]
