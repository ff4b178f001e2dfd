"""Reading what payees owe, and the invariants of it. Writing goes through the commit lane."""

from typing import NamedTuple

from kernel.db import Connection
from splitting.tables import PayeeDebt

_DEBT = ", ".join(PayeeDebt._fields)


class Debt(NamedTuple):
    """A payee's debt as it stands: what of it has not been recovered yet, in minor units."""

    row: PayeeDebt
    left_minor: int


async def debts(
    connection: Connection,
    book: int,
    *,
    payee_id: str | None = None,
    is_open: bool | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Debt]:
    """Return what payees owe or owed, newest first; those after debt `before` in that order.

    The oldest is recovered first, so what an account is below nothing now is of its newest debts. is_open: only those
    of which something is left, or of which nothing is. Costs the debts of the book.
    """
    rows = await connection.fetch(
        f"""
        WITH stood AS (
            SELECT {", ".join("d." + column for column in PayeeDebt._fields)}, greatest(0, least(
                d.amount_minor, a.debits - a.credits - sum(d.amount_minor) OVER newer + d.amount_minor
            ))::bigint AS left_minor
            FROM payee_debt d JOIN account a ON a.book = d.book AND a.name = d.account WHERE d.book = $1
            WINDOW newer AS (PARTITION BY d.account ORDER BY d.seq DESC)
        )
        SELECT {_DEBT}, left_minor FROM stood
        WHERE ($2::text IS NULL OR payee_id = $2) AND ($3::bool IS NULL OR (left_minor > 0) = $3)
            AND ($4::text IS NULL OR seq < (SELECT seq FROM payee_debt WHERE book = $1 AND id = $4))
        ORDER BY seq DESC LIMIT $5
        """,
        book,
        payee_id,
        is_open,
        before,
        limit,
    )
    return [Debt(PayeeDebt(*row[:-1]), row[-1]) for row in rows]


async def find_debt(connection: Connection, book: int, debt_id: str) -> PayeeDebt | None:
    row = await connection.fetchrow(f"SELECT {_DEBT} FROM payee_debt WHERE book = $1 AND id = $2", book, debt_id)
    return PayeeDebt(*row) if row else None


async def debts_match_the_journal(connection: Connection) -> list[str]:
    """Every debt is of a taking back in the journal, of the same account, and is no more than was taken."""
    rows = await connection.fetch(
        """
        SELECT d.book, d.id FROM payee_debt d LEFT JOIN transfer t ON t.book = d.book AND t.id = d.transfer_id
            AND t.rule IN ('share_taken_back', 'commission_taken_back') AND t.step IN ('post', 'post_hold')
        WHERE t.debit IS DISTINCT FROM d.account OR t.seq <> d.seq OR d.amount_minor > t.amount_minor
            OR d.amount_minor < least(t.amount_minor, d.owed_minor)
        """
    )
    return [f"book {r[0]} {r[1]}: the debt and what was taken back differ" for r in rows]


async def debts_cover_what_payees_lack(connection: Connection) -> list[str]:
    """What a payee's account is below nothing, its debts account for: they alone have made it more."""
    rows = await connection.fetch(
        """
        WITH told AS (
            SELECT book, account, amount_minor, owed_minor,
                coalesce(lag(owed_minor) OVER older, 0) AS before,
                seq = max(seq) OVER (PARTITION BY book, account) AS last
            FROM payee_debt WINDOW older AS (PARTITION BY book, account ORDER BY seq)
        )
        SELECT book, account FROM told WHERE owed_minor > before + amount_minor
        UNION
        SELECT a.book, a.name FROM account a LEFT JOIN told t ON t.book = a.book AND t.account = a.name AND t.last
        WHERE (a.name LIKE 'payee:%' OR a.name LIKE 'platform\\_fee:%')
            AND a.debits - a.credits > coalesce(t.owed_minor, 0)
        ORDER BY 1, 2
        """
    )
    return [f"book {r[0]} {r[1]}: it is below nothing by more than its debts say" for r in rows]


INVARIANTS = {
    "debts_match_the_journal": debts_match_the_journal,
    "debts_cover_what_payees_lack": debts_cover_what_payees_lack,
}
