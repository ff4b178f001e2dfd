"""Reading recalls 追回. Writing goes through the commit lane."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from kernel.db import Connection
from splitting.tables import RECALLS, Recall

_RECALL = ", ".join(Recall._fields)


async def find(connection: Connection, book: int, about: str) -> Recall | None:
    """Return the recall of a line or a withdrawal."""
    rows = await RECALLS.load(connection, [(book, about)])
    return rows[0] if rows else None


async def of_lines(connection: Connection, book: int, settlement_id: str) -> dict[str, Recall]:
    """Return the recalls of a batch's lines, by line."""
    rows = await connection.fetch(
        f"SELECT {', '.join('r.' + column for column in Recall._fields)} FROM instruction i "
        "JOIN recall r ON r.book = i.book AND r.about = i.id WHERE i.book = $1 AND i.settlement_id = $2",
        book,
        settlement_id,
    )
    return {row.about: row for row in (Recall(*row) for row in rows)}


async def recalls(
    connection: Connection, book: int, *, status: str | None = None, limit: int = 100
) -> Sequence[Recall]:
    """Return a book's recalls, newest first."""
    rows = await connection.fetch(
        f"SELECT {_RECALL} FROM recall WHERE book = $1 AND ($2::text IS NULL OR status = $2) "
        "ORDER BY asked_at DESC, about DESC LIMIT $3",
        book,
        status,
        limit,
    )
    return [Recall(*row) for row in rows]


async def unsent(connection: Connection, *, page: int = 500) -> AsyncIterator[Recall]:
    """Yield each recall to be given to a bank, of every book, oldest first; `page` rows a statement."""
    last: tuple[datetime, int, str] | None = None
    while True:
        rows = await connection.fetch(
            f"SELECT {_RECALL} FROM recall WHERE unsent "
            "AND ($1::timestamptz IS NULL OR (asked_at, book, about) > ($1, $2, $3)) "
            "ORDER BY asked_at, book, about LIMIT $4",
            *(last or (None, 0, "")),
            page,
        )
        for row in rows:
            yield Recall(*row)
        if len(rows) < page:
            return
        last = rows[-1]["asked_at"], rows[-1]["book"], rows[-1]["about"]


async def recalls_agree_with_their_payments(connection: Connection) -> list[str]:
    """What is owed again of a recalled line is held, whole and once, until its case is decided; nothing else is.

    And a payment whose recall the bank has accepted is on its way no more, unless people are asked about it.
    """
    rows = await connection.fetch(
        """
        SELECT r.book, r.about, 'what is held and its case differ' FROM recall r
        JOIN instruction i ON i.book = r.book AND i.id = r.about
        LEFT JOIN hold f ON f.book = r.book AND f.id = r.about || ':held'
        LEFT JOIN hold b ON b.book = r.book AND b.id = r.about || ':back'
        LEFT JOIN case_file c ON c.book = r.book AND c.kind = 'payout_recalled' AND c.about = r.about
        WHERE ('held' IN (coalesce(f.state, ''), coalesce(b.state, ''))) <> (coalesce(c.status, '') = 'open')
            OR (i.status = 'refused' AND f.id IS NULL) OR (i.status = 'returned' AND b.id IS NULL)
            OR (f.state = 'held' AND i.status <> 'refused') OR (b.state = 'held' AND i.status <> 'returned')
            OR (f.state = 'posted' AND i.status NOT IN ('paid', 'returned')) OR b.state = 'posted'
            OR i.amount_minor <> coalesce(f.amount_minor, i.amount_minor)
            OR i.amount_minor <> coalesce(b.amount_minor, i.amount_minor)
        UNION ALL
        SELECT c.book, c.about, 'it is held, and nobody recalled it' FROM case_file c
        WHERE c.kind = 'payout_recalled' AND NOT EXISTS (
            SELECT FROM recall r WHERE r.book = c.book AND r.about = c.about
        )
        UNION ALL
        SELECT r.book, r.about, 'its recall was accepted, it is on its way, and nobody is asked' FROM recall r
        LEFT JOIN instruction i ON i.book = r.book AND i.id = r.about AND i.status = 'in_transit'
        LEFT JOIN withdrawal w ON w.book = r.book AND w.id = r.about AND w.bank_date IS NULL
        WHERE r.status = 'accepted' AND (i.id IS NOT NULL OR w.id IS NOT NULL) AND NOT EXISTS (
            SELECT FROM case_file c WHERE c.book = r.book AND c.about = r.about
                AND c.kind IN ('payout_in_doubt', 'withdrawal_in_doubt') AND (c.status = 'open' OR c.decision = 'wait')
        )
        """
    )
    return [f"book {r[0]} {r[1]}: {r[2]}" for r in rows]


INVARIANTS = {"recalls_agree_with_their_payments": recalls_agree_with_their_payments}
