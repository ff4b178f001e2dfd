"""Reading withdrawals, accounts bound and limits. Writing goes through the commit lane."""

from collections.abc import AsyncIterator
from datetime import date, datetime

from kernel.db import Connection
from splitting.tables import WITHDRAWALS, PayeeAccount, Withdrawal, WithdrawalLimit

_WITHDRAWAL = ", ".join(Withdrawal._fields)
_LIMIT = ", ".join(WithdrawalLimit._fields)


async def find(connection: Connection, book: int, withdrawal_id: str) -> Withdrawal | None:
    rows = await WITHDRAWALS.load(connection, [(book, withdrawal_id)])
    return rows[0] if rows else None


async def withdrawals(
    connection: Connection,
    book: int,
    *,
    payee_id: str | None = None,
    status: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Withdrawal]:
    """Return the book's withdrawals, newest first; those after withdrawal `before` in that order."""
    rows = await connection.fetch(
        f"SELECT {_WITHDRAWAL} FROM withdrawal WHERE book = $1 AND ($2::text IS NULL OR payee_id = $2) "
        "AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR (created_at, id) < "
        "(SELECT created_at, id FROM withdrawal WHERE book = $1 AND id = $4)) "
        "ORDER BY created_at DESC, id DESC LIMIT $5",
        book,
        payee_id,
        status,
        before,
        limit,
    )
    return [Withdrawal(*row) for row in rows]


async def unsent(connection: Connection, *, page: int = 500) -> AsyncIterator[Withdrawal]:
    """Yield each withdrawal to be sent, of every book, oldest first; `page` rows a statement.

    Those from accounts that are frozen wait; what the bank has heard of one all the same, its files say.
    """
    last: tuple[datetime, int, str] | None = None
    while True:
        rows = await connection.fetch(
            f"SELECT {_WITHDRAWAL} FROM withdrawal w WHERE status = 'requested' AND NOT EXISTS ("
            "SELECT FROM payee p WHERE p.book = w.book AND p.id = w.payee_id AND p.account_status = 'frozen') "
            "AND ($1::timestamptz IS NULL OR (created_at, book, id) > ($1, $2, $3)) "
            "ORDER BY created_at, book, id LIMIT $4",
            *(last or (None, 0, "")),
            page,
        )
        for row in rows:
            yield Withdrawal(*row)
        if len(rows) < page:
            return
        last = rows[-1]["created_at"], rows[-1]["book"], rows[-1]["id"]


async def of_day(connection: Connection, book: int, bank: str, day: date, also: list[str]) -> list[Withdrawal]:
    """Return the withdrawals at a bank that were decided or came back on its day, and those of these ids."""
    rows = await connection.fetch(
        f"SELECT {_WITHDRAWAL} FROM withdrawal WHERE book = $1 AND bank = $2 AND (bank_date = $3 OR returned_on = $3) "
        f"UNION SELECT {_WITHDRAWAL} FROM withdrawal WHERE book = $1 AND bank = $2 AND id = ANY($4::text[]) "
        "ORDER BY id",
        book,
        bank,
        day,
        also,
    )
    return [Withdrawal(*row) for row in rows]


async def bound_account(connection: Connection, book: int, payee_id: str) -> PayeeAccount | None:
    row = await connection.fetchrow(
        f"SELECT {', '.join(PayeeAccount._fields)} FROM payee_account WHERE book = $1 AND payee_id = $2", book, payee_id
    )
    return None if row is None else PayeeAccount(*row)


async def limits(connection: Connection, book: int) -> list[WithdrawalLimit]:
    """Return every limit of a book, each bank's default before its payees'."""
    rows = await connection.fetch(
        f"SELECT {_LIMIT} FROM withdrawal_limit WHERE book = $1 ORDER BY bank, payee_id", book
    )
    return [WithdrawalLimit(*row) for row in rows]


async def in_transit(connection: Connection, book: int, payee_id: str) -> int:
    """Return what banks were told to pay a payee and have not decided, in minor units."""
    found: int = await connection.fetchval(
        "SELECT coalesce(sum(amount_minor), 0)::bigint FROM instruction "
        "WHERE book = $1 AND payee_id = $2 AND status = 'in_transit'",
        book,
        payee_id,
    )
    return found


async def withdrawals_match_the_journal(connection: Connection) -> list[str]:
    """A withdrawal was held once, and paid, given free or come back as its state says, and not otherwise."""
    rows = await connection.fetch(
        """
        WITH told AS (
            SELECT book, split_part(id, ':', 1) AS id,
                sum(amount_minor) FILTER (WHERE rule = 'withdrawal' AND step = 'hold') AS held,
                sum(amount_minor) FILTER (WHERE rule = 'withdrawal' AND step = 'post_hold') AS paid,
                sum(amount_minor) FILTER (WHERE rule = 'withdrawal' AND step = 'void_hold') AS refused,
                sum(amount_minor) FILTER (WHERE rule = 'withdrawal_returned') AS returned,
                bool_or(rule = 'withdrawal' AND step = 'post') AS otherwise
            FROM transfer WHERE rule IN ('withdrawal', 'withdrawal_returned') GROUP BY 1, 2
        )
        SELECT coalesce(w.book, t.book), coalesce(w.id, t.id), w.status, t.held, t.paid, t.refused, t.returned
        FROM withdrawal w FULL JOIN told t ON t.book = w.book AND t.id = w.id
        WHERE w.id IS NULL OR t.otherwise OR coalesce(t.held, 0) <> w.amount_minor
            OR coalesce(t.paid, 0) <> CASE WHEN w.status IN ('paid', 'returned') THEN w.amount_minor ELSE 0 END
            OR coalesce(t.refused, 0) <> CASE w.status WHEN 'refused' THEN w.amount_minor ELSE 0 END
            OR coalesce(t.returned, 0) <> CASE w.status WHEN 'returned' THEN w.amount_minor ELSE 0 END
        """
    )
    return [
        f"book {r[0]} {r[1]}: is {r[2]}, the journal has {r[3] or 0} held, {r[4] or 0} paid, {r[5] or 0} given free, "
        f"{r[6] or 0} returned"
        for r in rows
    ]


async def stopped_withdrawals_are_asked_about(connection: Connection) -> list[str]:
    """Every withdrawal that is sent no more, and is not decided, has a case that asks what becomes of it."""
    rows = await connection.fetch(
        """
        SELECT w.book, w.id FROM withdrawal w WHERE w.status = 'stopped' AND NOT EXISTS (
            SELECT FROM case_file c WHERE c.book = w.book AND c.kind = 'withdrawal_in_doubt' AND c.about = w.id
                AND (c.status = 'open' OR c.decision = 'wait')
        )
        """
    )
    return [f"book {r[0]} {r[1]}: the bank took no order for it, and nobody is asked about it" for r in rows]


async def withdrawals_are_counted(connection: Connection) -> list[str]:
    """What counts against a payee's limits is what it asked for on that day and in its year, less what was refused."""
    rows = await connection.fetch(
        """
        WITH asked AS (
            SELECT u.book, u.payee_id, u.day_minor, u.year_minor,
                coalesce(sum(w.amount_minor) FILTER (WHERE w.execution_date = u.day), 0)::bigint AS day_asked,
                coalesce(sum(w.amount_minor), 0)::bigint AS year_asked
            FROM withdrawal_use u
            LEFT JOIN withdrawal w ON w.book = u.book AND w.payee_id = u.payee_id AND w.status <> 'refused'
                AND date_trunc('year', w.execution_date) = date_trunc('year', u.day)
            GROUP BY u.book, u.payee_id, u.day_minor, u.year_minor
        )
        SELECT * FROM asked WHERE day_minor <> day_asked OR year_minor <> year_asked
        """
    )
    return [
        f"book {r[0]} {r[1]}: {r[2]} counts for the day and {r[3]} for its year, and {r[4]} and {r[5]} were asked for"
        for r in rows
    ]


INVARIANTS = {
    "withdrawals_match_the_journal": withdrawals_match_the_journal,
    "stopped_withdrawals_are_asked_about": stopped_withdrawals_are_asked_about,
    "withdrawals_are_counted": withdrawals_are_counted,
}
