"""The sums that reports are made of, out of the sums that the ledger keeps by day; no entry is read."""

from datetime import date
from typing import NamedTuple

from kernel.db import Connection


class Captured(NamedTuple):
    """What a channel account took in on some business dates, less refunds, in minor units."""

    book: int
    account: str
    channel: str | None  # the rail; None for an account that is not there any more
    minor: int


async def captured(connection: Connection, book: int | None, currency: str, first: date, last: date) -> list[Captured]:
    """Return what each channel account took in, of one book or of all. Costs the dates and the accounts."""
    rows = await connection.fetch(
        """
        SELECT d.book, split_part(d.account, ':', 2) AS id, c.channel, sum(d.debits - d.credits)::bigint
        FROM day_sum d LEFT JOIN channel_account c ON c.book = d.book AND c.id = split_part(d.account, ':', 2)
        WHERE ($1::int IS NULL OR d.book = $1) AND d.account LIKE 'channel:%:' || $2
            AND d.business_date BETWEEN $3 AND $4 AND d.rule IN ('payment_captured', 'refund', 'refund_returned')
        GROUP BY 1, 2, 3 ORDER BY 1, 2
        """,
        book,
        currency,
        first,
        last,
    )
    return [Captured(*row) for row in rows]


class Lay(NamedTuple):
    """What lay at a bank at the end of a day, in minor units."""

    bank: str
    day: date
    minor: int


async def lay(connection: Connection, book: int | None, currency: str, first: date, last: date) -> list[Lay]:
    """Return what was in custody at each bank at the end of each day, of one book or of all together.

    The days are over. Costs the days and the books.
    """
    rows = await connection.fetch(
        """
        SELECT split_part(split_part(a.name, ':', 2), '.', 1), d.day::date, sum(
            CASE WHEN a.moved_on <= d.day THEN a.debits - a.credits ELSE coalesce(e.minor, 0) END
        )::bigint
        FROM account a CROSS JOIN generate_series($3::date, $4::date, interval '1 day') AS d(day)
        LEFT JOIN LATERAL (
            SELECT debits - credits AS minor FROM day_end
            WHERE book = a.book AND account = a.name AND day <= d.day ORDER BY day DESC LIMIT 1
        ) e ON true
        WHERE ($1::int IS NULL OR a.book = $1)
            AND a.name LIKE ANY (ARRAY['bank:%:' || $2, 'bank_account:%:' || $2])
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
        book,
        currency,
        first,
        last,
    )
    return [Lay(*row) for row in rows]


class Bank(NamedTuple):
    """What came to a bank from channels, what it paid in interest and what it took, in minor units."""

    bank: str
    deposited_minor: int
    interest_minor: int
    charges_minor: int


async def banks(connection: Connection, book: int | None, currency: str, first: date, last: date) -> list[Bank]:
    """Return what came to each bank on some business dates, of one book or of all together.

    Deposited is what was booked from channels at once: not what was in suspense 挂账 first (cleared).
    """
    rows = await connection.fetch(
        """
        SELECT split_part(split_part(account, ':', 2), '.', 1),
            coalesce(sum(debits - credits) FILTER (WHERE rule IN ('channel_deposit', 'channel_withdrawal')), 0)::bigint,
            coalesce(sum(debits) FILTER (WHERE rule IN ('bank_interest', 'account_interest')), 0)::bigint,
            coalesce(sum(credits) FILTER (WHERE rule IN ('bank_charge', 'account_charge')), 0)::bigint
        FROM day_sum WHERE ($1::int IS NULL OR book = $1)
            AND account LIKE ANY (ARRAY['bank:%:' || $2, 'bank_account:%:' || $2])
            AND business_date BETWEEN $3 AND $4 GROUP BY 1 ORDER BY 1
        """,
        book,
        currency,
        first,
        last,
    )
    return [Bank(*row) for row in rows]


async def cleared(connection: Connection, book: int | None, currency: str, first: date, last: date) -> dict[str, int]:
    """Return what channels paid in at each bank that was in suspense 挂账 before anybody knew that it was theirs.

    So is each deposit of several channel accounts, until the rail's bill has shared it out. By the business dates on
    which it left suspense for a channel; what a channel took out counts against it. Costs the cases of suspense.
    """
    rows = await connection.fetch(
        """
        SELECT c.facts ->> 'bank', sum(
            CASE t.rule WHEN 'suspense_to_channel' THEN t.amount_minor ELSE -t.amount_minor END
        )::bigint
        FROM case_file c CROSS JOIN LATERAL (
            SELECT concat('shr:', c.facts ->> 'reference', ':', c.currency, ':', p.key) AS id,
                c.about || ':shared' AS posting FROM json_each_text(c.facts -> 'shared') p
            UNION ALL SELECT c.about || ':cleared', c.about || ':cleared'
        ) s JOIN transfer t ON t.book = c.book AND t.id = s.id AND t.posting = s.posting
        WHERE ($1::int IS NULL OR c.book = $1) AND c.kind = 'money_in_suspense' AND c.currency = $2
            AND t.business_date BETWEEN $3 AND $4 AND t.rule IN ('suspense_to_channel', 'channel_to_suspense')
        GROUP BY 1 ORDER BY 1
        """,
        book,
        currency,
        first,
        last,
    )
    return dict(rows)
