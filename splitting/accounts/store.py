"""Reading openings of payees' accounts at banks, and the invariant of them. Writing goes through the commit lane."""

from datetime import datetime
from typing import NamedTuple

from kernel.db import Connection
from splitting.tables import ACCOUNT_OPENINGS, AccountOpening


async def openings_under_way(connection: Connection) -> list[AccountOpening]:
    """Return the openings of sub-accounts of which the bank has not said what became, of every book, oldest first."""
    rows = await connection.fetch(
        f"SELECT {', '.join(AccountOpening._fields)} FROM account_opening WHERE ended_at IS NULL "
        "ORDER BY asked_at, book, payee_id"
    )
    return [AccountOpening(*row) for row in rows]


async def openings_at_banks(connection: Connection) -> list[tuple[AccountOpening, str]]:
    """Return the openings under way with the bank of each."""
    rows = await connection.fetch(
        f"SELECT {', '.join('o.' + column for column in AccountOpening._fields)}, p.bank FROM account_opening o "
        "JOIN payee p ON p.book = o.book AND p.id = o.payee_id WHERE o.ended_at IS NULL "
        "ORDER BY o.asked_at, o.book, o.payee_id"
    )
    return [(AccountOpening(*row[:-1]), row[-1]) for row in map(tuple, rows)]


async def last_opening(connection: Connection, book: int, payee_id: str) -> AccountOpening | None:
    """Return a payee's last opening that was not answered at once."""
    rows = await ACCOUNT_OPENINGS.load(connection, [(book, payee_id)])
    return rows[0] if rows else None


async def holder_of(connection: Connection, book: int, bank: str, account: str, *, but: str) -> str | None:
    """Return another payee than this one that has an account at a bank; None where none has it."""
    sql = "SELECT id FROM payee WHERE book = $1 AND bank = $2 AND bank_account = $3 AND id <> $4 ORDER BY id LIMIT 1"
    other: str | None = await connection.fetchval(sql, book, bank, account, but)
    return other


class NotOpen(NamedTuple):
    """Payees' accounts, of all books, that nothing is paid to: how many, and since when the first of them."""

    opening: int
    opening_since: datetime | None
    refused: int
    frozen: int
    frozen_since: datetime | None


async def not_open(connection: Connection) -> NotOpen:
    """Return how many payees' accounts are being opened, were refused, or are frozen."""
    (row,) = await connection.fetch(
        "SELECT (SELECT count(*)::int FROM account_opening WHERE ended_at IS NULL), "
        "(SELECT min(asked_at) FROM account_opening WHERE ended_at IS NULL), "
        "(SELECT count(*)::int FROM payee WHERE account_status = 'refused'), "
        "(SELECT count(*)::int FROM payee WHERE account_status = 'frozen'), "
        "(SELECT min(frozen_at) FROM payee WHERE account_status = 'frozen')"
    )
    return NotOpen(*row)


async def openings_are_asked_about(connection: Connection) -> list[str]:
    """A bank is asked about every account that is being opened, and about no other."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id, coalesce(p.account_status, 'none') FROM payee p LEFT JOIN account_opening o
            ON o.book = p.book AND o.payee_id = p.id AND o.ended_at IS NULL
        WHERE (p.account_status IS NOT DISTINCT FROM 'opening') <> (o.payee_id IS NOT NULL)
        """
    )
    return [f"book {r[0]} {r[1]}: its account is {r[2]}, and its opening says another thing" for r in rows]


INVARIANTS = {"openings_are_asked_about": openings_are_asked_about}
