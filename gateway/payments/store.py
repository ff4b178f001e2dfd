"""Reading chargebacks. Writing goes through the commit lane."""

from collections.abc import Sequence
from datetime import date, datetime

from gateway.tables import CHARGEBACKS, Attempt, Chargeback, chargeback_id
from kernel.db import Connection

_CHARGEBACK = ", ".join(Chargeback._fields)


async def find_chargeback(connection: Connection, book: int, ident: str) -> Chargeback | None:
    rows = await CHARGEBACKS.load(connection, [(book, ident)])
    return rows[0] if rows else None


async def find_dispute(connection: Connection, book: int, account: str, channel_ref: str) -> Chargeback | None:
    """Return the chargeback that a channel account's rail knows by this number."""
    return await find_chargeback(connection, book, chargeback_id(book, account, channel_ref))


async def chargebacks(
    connection: Connection,
    book: int,
    *,
    payment_id: str | None = None,
    status: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[Chargeback]:
    """Return chargebacks, the last recorded first; of one payment, or in one state, where given.

    before: only those after this one in that order.
    """
    rows = await connection.fetch(
        f"SELECT {_CHARGEBACK} FROM chargeback WHERE book = $1 AND ($2::text IS NULL OR payment_id = $2) "
        "AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR (created_at, id) < "
        "(SELECT created_at, id FROM chargeback WHERE book = $1 AND id = $4)) "
        "ORDER BY created_at DESC, id DESC LIMIT $5",
        book,
        payment_id,
        status,
        before,
        limit,
    )
    return [Chargeback(*row) for row in rows]


async def due_chargebacks(
    connection: Connection, now: datetime, busy: Sequence[str], locked: Sequence[int], limit: int
) -> list[Chargeback]:
    """Return open chargebacks whose time to ask has come, as due_attempts does."""
    rows = await connection.fetch(
        f"SELECT {_CHARGEBACK} FROM chargeback WHERE due_at <= $1 AND channel <> ALL($2::text[]) "
        "AND book <> ALL($3::int[]) ORDER BY due_at LIMIT $4",
        now,
        busy,
        locked,
        limit,
    )
    return [Chargeback(*row) for row in rows]


async def charged_back_on(
    connection: Connection, book: int, account: str, day: date
) -> list[tuple[Chargeback, Attempt]]:
    """Return the chargebacks of a channel account that were opened, or won, on a business date."""
    rows = await connection.fetch(
        f"SELECT {', '.join('c.' + f for f in Chargeback._fields)}, {', '.join('a.' + f for f in Attempt._fields)} "
        "FROM chargeback c "
        "JOIN attempt a ON a.book = c.book AND a.payment_id = c.payment_id AND a.number = c.attempt_number "
        "WHERE c.book = $1 AND c.channel_account = $2 AND (c.business_date = $3 OR c.ended_date = $3) ORDER BY c.id",
        book,
        account,
        day,
    )
    width = len(Chargeback._fields)
    return [(Chargeback(*row[:width]), Attempt(*row[width:])) for row in map(tuple, rows)]
