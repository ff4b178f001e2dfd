"""The ledger's reading side: balances, the journal, what is due. Writing goes through the commit lane (posting.py)."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

from kernel.db import Connection
from ledger.accounts import Side
from ledger.posting import ACCOUNTS, Account, Entry


async def balances(connection: Connection, book: int) -> list[Account]:
    """Return every account of the book as it stands now, in order of name."""
    rows = await connection.fetch(
        "SELECT book, name, currency, side, may_overdraw, debits, credits, debits_held, credits_held "
        "FROM account WHERE book = $1 ORDER BY name",
        book,
    )
    return [Account(*row) for row in rows]


async def find_account(connection: Connection, book: int, name: str) -> Account | None:
    """Return one account, or None."""
    rows = await ACCOUNTS.load(connection, [(book, name)])
    return rows[0] if rows else None


async def balance_at(connection: Connection, book: int, account: str, moment: datetime) -> int | None:
    """Return the account's balance in minor units on its normal side after all that was recorded up to `moment`.

    None when there is no such account. Reads the book's journal, so it costs what the book has done, not a key look-up.
    """
    row = await connection.fetchrow(
        """
        SELECT a.side,
               coalesce(sum(t.amount_minor) FILTER (WHERE t.debit = a.name), 0)::bigint AS debits,
               coalesce(sum(t.amount_minor) FILTER (WHERE t.credit = a.name), 0)::bigint AS credits
        FROM account a
        LEFT JOIN transfer t ON t.book = a.book AND t.recorded_at <= $3 AND t.step IN ('post', 'post_hold')
                            AND (t.debit = a.name OR t.credit = a.name)
        WHERE a.book = $1 AND a.name = $2
        GROUP BY a.side
        """,
        book,
        account,
        moment,
    )
    if row is None:
        return None
    difference: int = row["debits"] - row["credits"]
    return difference if row["side"] == Side.DEBIT else -difference


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
        "SELECT book, id, seq, posting, rule, step, debit, credit, amount_minor, currency, hold_id, business_date, "
        "recorded_at, hash FROM transfer WHERE book = $1 AND seq > $2 ORDER BY seq",
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
