"""What channel accounts have taken, read from the journal."""

from datetime import date, datetime
from typing import NamedTuple

from kernel.db import Connection


class Captured(NamedTuple):
    """Captures of one channel account and business date."""

    ledger_account: str  # channel:<account>:<currency>
    business_date: date
    captured_minor: int
    captured_count: int


async def last_event_before(connection: Connection, book: int, moment: datetime, last: int) -> int:
    """Return the number of the last event recorded before a moment, at most `last`; 0 where there is none.

    Events are numbered without a gap in the order of their time, so a few look-ups by number find it.
    """
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        at: datetime | None = await connection.fetchval(
            "SELECT recorded_at FROM event WHERE book = $1 AND seq = $2", book, middle
        )
        if at is not None and at < moment:
            low = middle
        else:
            high = middle - 1
    return low


async def captured_between(connection: Connection, book: int, after: int, until: int) -> list[Captured]:
    """Return what was captured in events numbered from after + 1 to `until`, as the journal has it.

    An event and the entries of the same commit bear the same time, so every capture is counted with one event.
    """
    rows = await connection.fetch(
        """
        SELECT t.debit, t.business_date, sum(t.amount_minor)::bigint, count(*)::int
        FROM event e JOIN transfer t
          ON t.book = e.book AND t.id > e.subject || ':' AND t.id < e.subject || ';'
         AND t.rule = 'payment_captured' AND t.recorded_at = e.recorded_at
        WHERE e.book = $1 AND e.seq > $2 AND e.seq <= $3
          AND e.type IN ('payment.succeeded', 'payment.late', 'payment.overpaid', 'payment.overpaid') -- as before 0022
        GROUP BY t.debit, t.business_date
        """,
        book,
        after,
        until,
    )
    return [Captured(*row) for row in rows]
