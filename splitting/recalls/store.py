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
        SELECT coalesce(r.book, h.book), coalesce(r.about, h.about), 'what is held and its case differ'
        FROM (
            SELECT r.book, r.about, i.amount_minor, i.status FROM recall r
            JOIN instruction i ON i.book = r.book AND i.id = r.about
        ) r FULL JOIN (
            SELECT h.book, split_part(h.id, ':', 1) AS about, bool_or(h.state = 'held') AS held,
                bool_or(h.state = 'posted') AS posted, bool_or(h.id LIKE '%:held') AS of_refused,
                bool_or(h.id LIKE '%:back') AS of_returned, min(h.amount_minor) AS least, max(h.amount_minor) AS most
            FROM hold h
            JOIN transfer t ON t.book = h.book AND t.id = h.id AND t.rule IN ('recall', 'commission_recall')
            GROUP BY 1, 2
        ) h ON h.book = r.book AND h.about = r.about
        LEFT JOIN case_file c ON c.book = r.book AND c.kind = 'payout_recalled' AND c.about = r.about
        WHERE r.about IS NULL OR coalesce(h.held, false) <> (coalesce(c.status, '') = 'open')
            OR (r.status = 'refused' AND h.of_refused IS NOT TRUE)
            OR (r.status = 'returned' AND h.of_returned IS NOT TRUE)
            OR (h.held AND r.status NOT IN ('refused', 'returned'))
            OR (h.posted AND r.status NOT IN ('paid', 'returned'))
            OR h.least <> r.amount_minor OR h.most <> r.amount_minor
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
