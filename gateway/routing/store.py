"""Reading what routing goes by: a merchant's policies, and what became of attempts. Policies are only ever added."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from kernel.db import Connection
from kernel.work import Table


class PolicyRow(NamedTuple):
    """One version of a merchant's routing policy."""

    book: int
    version: int
    policy: str  # JSON
    note: str
    set_by: str  # an API key's id, or "operator"
    set_at: datetime


ROUTING_POLICIES: Table[PolicyRow] = Table("routing_policy", PolicyRow, "int int json text text timestamptz", keys=2)


class Tried(NamedTuple):
    """An attempt as routing learns from it."""

    book: int
    payment_id: str
    number: int
    account_id: str
    method: str
    currency: str
    amount_minor: int
    status: str
    created_at: datetime
    latency_ms: int | None


class PastRow(NamedTuple):
    """An attempt as it was, with what routing looks at in its payment."""

    payment_id: str
    number: int
    account_id: str
    channel: str
    method: str
    currency: str
    amount_minor: int
    metadata: str | None
    details: str | None
    capture_manual: bool
    created_at: datetime
    latency_ms: int | None
    status: str
    paid_by: str | None  # of a first attempt: the account that the payment was paid at in the end
    fee_minor: int  # of the payment, as it was charged
    decision: str | None


_POLICY = ", ".join(PolicyRow._fields)
_COLUMNS = (
    "a.book, a.payment_id, a.number, a.channel_account, a.method, p.currency, p.amount_minor, a.status, a.created_at, "
    "a.latency_ms"
)
# The book is kept from being looked for by index: the key begins with it, and a busy book's history is long.
TRIED_SINCE = (
    f"SELECT {_COLUMNS} FROM attempt a JOIN payment p ON p.book = a.book AND p.id = a.payment_id "
    "WHERE a.created_at > $1 AND a.book + 0 = ANY($2::int[]) ORDER BY a.created_at LIMIT $3"
)


async def current_policy(connection: Connection, book: int) -> PolicyRow | None:
    """Return the version of a merchant's policy that holds, None where none was ever set."""
    row = await connection.fetchrow(
        f"SELECT {_POLICY} FROM routing_policy WHERE book = $1 ORDER BY version DESC LIMIT 1", book
    )
    return PolicyRow(*row) if row else None


async def find_policy(connection: Connection, book: int, version: int) -> PolicyRow | None:
    """Return one version of a merchant's policy."""
    row = await connection.fetchrow(
        f"SELECT {_POLICY} FROM routing_policy WHERE book = $1 AND version = $2", book, version
    )
    return PolicyRow(*row) if row else None


async def policies(connection: Connection, book: int) -> list[PolicyRow]:
    """Return every version of a merchant's policy, newest first."""
    rows = await connection.fetch(
        f"SELECT {_POLICY} FROM routing_policy WHERE book = $1 ORDER BY version DESC LIMIT 1000", book
    )
    return [PolicyRow(*row) for row in rows]


async def tried_last(connection: Connection, book: int, since: datetime, limit: int) -> list[Tried]:
    """Return the attempts made since a moment among a book's newest, oldest first; looks at no more than `limit`."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM "
        "(SELECT * FROM attempt WHERE book = $1 ORDER BY payment_id DESC, number DESC LIMIT $3) a "
        "JOIN payment p ON p.book = a.book AND p.id = a.payment_id WHERE a.created_at > $2 ORDER BY a.created_at",
        book,
        since,
        limit,
    )
    return [Tried(*row) for row in rows]


async def tried_since(connection: Connection, books: Sequence[int], since: datetime, limit: int) -> list[Tried]:
    """Return the attempts of some books made since a moment, oldest first; found by the index on their times."""
    return [Tried(*row) for row in await connection.fetch(TRIED_SINCE, since, list(books), limit)]


async def past_attempts(connection: Connection, book: int, since: datetime, until: datetime) -> list[PastRow]:
    """Return every attempt of a book made in some time, oldest first."""
    rows = await connection.fetch(
        "SELECT a.payment_id, a.number, a.channel_account, a.channel, a.method, p.currency, p.amount_minor, "
        "p.metadata, a.details, p.capture_manual, a.created_at, a.latency_ms, a.status, "
        "CASE WHEN a.number = 1 AND p.captured_minor > 0 THEN w.channel_account END, p.fee_minor, a.decision "
        "FROM attempt a JOIN payment p ON p.book = a.book AND p.id = a.payment_id "
        "LEFT JOIN attempt w ON w.book = p.book AND w.payment_id = p.id AND w.number = p.won_attempt "
        "WHERE a.book = $1 AND a.created_at >= $2 AND a.created_at < $3 ORDER BY a.created_at, a.payment_id, a.number",
        book,
        since,
        until,
    )
    return [PastRow(*row) for row in rows]


async def book_of_payment(connection: Connection, payment_id: str) -> int | None:
    """Return the book that a payment is in, None where there is no such payment."""
    book: int | None = await connection.fetchval(
        "SELECT p.book FROM merchant m JOIN payment p ON p.book = m.book WHERE p.id = $1", payment_id
    )
    return book
