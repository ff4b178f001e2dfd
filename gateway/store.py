"""Reading the gateway's rows. Writing goes through the commit lane."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from gateway.tables import (
    ATTEMPTS,
    CASHIER_LINKS,
    PAYMENTS,
    REFUND_RETURNS,
    REFUNDS,
    Attempt,
    CashierLink,
    ChannelAccount,
    Merchant,
    Payment,
    Refund,
    RefundReturn,
)
from kernel.db import Connection

_PAYMENT = ", ".join(Payment._fields)
_REFUND = ", ".join(Refund._fields)
_LINK = ", ".join(CashierLink._fields)
_ATTEMPT = ", ".join(Attempt._fields)
_CHANNEL_ACCOUNT = ", ".join(ChannelAccount._fields)


class Key(NamedTuple):
    """An API key as kept: never the key itself."""

    id: str
    book: int
    merchant_id: str
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    suspended_at: datetime | None


class KeyFacts(NamedTuple):
    """What may be told of an API key: never the key."""

    id: str
    book: int
    merchant_id: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    suspended_at: datetime | None


class Standing(NamedTuple):
    """Whether a merchant is suspended, and whether it has a key that is in force."""

    suspended_at: datetime | None
    has_live_key: bool


async def find_key(connection: Connection, digest: bytes) -> Key | None:
    """Return the key with this hash, whatever its state, or None."""
    row = await connection.fetchrow(
        "SELECT k.id, k.book, m.id, k.scopes, k.expires_at, k.revoked_at, k.suspended_at "
        "FROM api_key k JOIN merchant m ON m.book = k.book WHERE k.hash = $1",
        digest,
    )
    return Key(row[0], row[1], row[2], frozenset(row[3]), row[4], row[5], row[6]) if row else None


async def add_key(
    connection: Connection,
    digest: bytes,
    key_id: str,
    book: int,
    scopes: Sequence[str],
    created_at: datetime,
    expires_at: datetime | None,
) -> None:
    await connection.execute(
        "INSERT INTO api_key (hash, id, book, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        digest,
        key_id,
        book,
        list(scopes),
        created_at,
        expires_at,
    )


async def revoke_key(connection: Connection, book: int, key_id: str, now: datetime) -> bool:
    """Revoke a key; every process refuses it within a second. Returns whether it was live."""
    done = await connection.execute(
        "UPDATE api_key SET revoked_at = $3 WHERE book = $1 AND id = $2 AND revoked_at IS NULL", book, key_id, now
    )
    return bool(done.endswith(" 1"))


async def suspend_key(connection: Connection, book: int, key_id: str, now: datetime | None) -> bool | None:
    """Suspend a key, or resume it where `now` is None; return whether that changed anything, None: no live key."""
    row = await connection.fetchrow(
        "SELECT suspended_at FROM api_key WHERE book = $1 AND id = $2 AND revoked_at IS NULL", book, key_id
    )
    if row is None:
        return None
    done = await connection.execute(
        "UPDATE api_key SET suspended_at = $3 WHERE book = $1 AND id = $2 AND revoked_at IS NULL "
        "AND (suspended_at IS NULL) = ($3::timestamptz IS NOT NULL)",
        book,
        key_id,
        now,
    )
    return bool(done.endswith(" 1"))


async def keys_of(connection: Connection, book: int | None) -> list[KeyFacts]:
    """Return what may be told of the API keys of a merchant, or of all, oldest first."""
    rows = await connection.fetch(
        "SELECT k.id, k.book, m.id, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.suspended_at "
        "FROM api_key k JOIN merchant m ON m.book = k.book "
        "WHERE $1::int IS NULL OR k.book = $1 ORDER BY k.book, k.created_at, k.id",
        book,
    )
    return [KeyFacts(*row) for row in rows]


async def suspend(connection: Connection, book: int, now: datetime | None) -> bool:
    """Suspend a merchant, or resume it where `now` is None; return whether that changed anything."""
    done = await connection.execute(
        "UPDATE merchant SET suspended_at = $2 "
        "WHERE book = $1 AND (suspended_at IS NULL) = ($2::timestamptz IS NOT NULL)",
        book,
        now,
    )
    return bool(done.endswith(" 1"))


async def find_standing(connection: Connection, book: int, now: datetime) -> Standing:
    """Return whether a merchant may begin payments; one that is not there may not."""
    row = await connection.fetchrow(
        "SELECT suspended_at, EXISTS (SELECT 1 FROM api_key k WHERE k.book = m.book AND k.revoked_at IS NULL "
        "AND k.suspended_at IS NULL "
        "AND (k.expires_at IS NULL OR k.expires_at > $2)) FROM merchant m WHERE book = $1",
        book,
        now,
    )
    return Standing(None, has_live_key=False) if row is None else Standing(row[0], row[1])


async def new_book(connection: Connection) -> int:
    """Return the next free book number, under a lock that makes two callers take turns."""
    await connection.execute("SELECT pg_advisory_xact_lock(7210)")
    number: int = await connection.fetchval("SELECT coalesce(max(book), 0) + 1 FROM book")
    return number


async def merchants(connection: Connection) -> list[Merchant]:
    rows = await connection.fetch("SELECT book, id, name, created_at, suspended_at FROM merchant ORDER BY book")
    return [Merchant(*row) for row in rows]


async def find_merchant(connection: Connection, book: int) -> Merchant | None:
    row = await connection.fetchrow(
        "SELECT book, id, name, created_at, suspended_at FROM merchant WHERE book = $1", book
    )
    return Merchant(*row) if row else None


async def beat(connection: Connection, process: str, kind: str) -> None:
    """Say, durably, that a process lives: the cheapest write there is that proves that the database takes writes."""
    await connection.execute(
        "INSERT INTO heartbeat (process, kind, beat_at) VALUES ($1, $2, clock_timestamp()) "
        "ON CONFLICT (process) DO UPDATE SET beat_at = excluded.beat_at",
        process,
        kind,
    )


async def last_beat_s(connection: Connection, kind: str) -> float | None:
    """Return how many seconds ago a process of this kind last said that it lives; None: none ever did."""
    ago: float | None = await connection.fetchval(
        "SELECT extract(epoch FROM clock_timestamp() - max(beat_at))::float8 FROM heartbeat WHERE kind = $1", kind
    )
    return ago


class MadeWithSecrets(NamedTuple):
    """Whether there is any of what is made with a secret that lies outside the database."""

    keys: bool
    links: bool
    credentials: bool


async def made_with_secrets(connection: Connection) -> MadeWithSecrets:
    """Tell what there is that only the secrets it was made with are of use for."""
    row = await connection.fetchrow(
        "SELECT EXISTS (SELECT FROM api_key WHERE revoked_at IS NULL), EXISTS (SELECT FROM cashier_link), "
        "EXISTS (SELECT FROM channel_account WHERE sealed IS NOT NULL)"
    )
    assert row is not None
    return MadeWithSecrets(*row)


async def some_sealed(connection: Connection) -> list[str]:
    """Return the envelopes of the channel accounts that were changed last, up to fifty."""
    rows = await connection.fetch(
        "SELECT sealed FROM channel_account WHERE sealed IS NOT NULL ORDER BY updated_at DESC LIMIT 50"
    )
    return [row[0] for row in rows]


async def overdue_s(connection: Connection, now: datetime) -> dict[str, float]:
    """Return how long ago the oldest open attempt, refund and cashier payment should have been asked about."""
    row = await connection.fetchrow(
        "SELECT (SELECT min(due_at) FROM attempt WHERE due_at IS NOT NULL) AS attempt, "
        "(SELECT min(due_at) FROM refund WHERE due_at IS NOT NULL) AS refund, "
        "(SELECT min(due_at) FROM payment WHERE due_at IS NOT NULL) AS payment"
    )
    assert row is not None
    return {what: max(0.0, (now - due).total_seconds()) if due else 0.0 for what, due in row.items()}


class Mark(NamedTuple):
    """What of a payment a page that shows it must follow."""

    book: int
    payment_id: str
    status: str
    attempt_count: int
    attempt_status: str | None  # of the last one
    shows: bool  # whether that one has something for the payer to do

    @property
    def text(self) -> str:
        """The mark as a page holds it: [0-9a-z_.]; it differs whenever the page should."""
        return f"{self.status}.{self.attempt_count}.{self.attempt_status or 'none'}.{int(self.shows)}"


async def payment_marks(connection: Connection, keys: Sequence[tuple[int, str]]) -> list[Mark]:
    """Return the marks of these payments (book, id), in no order; of those that exist."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id, p.status, p.attempt_count, a.status, a.next_action IS NOT NULL
        FROM unnest($1::int[], $2::text[]) AS k (book, id)
        JOIN payment p ON p.book = k.book AND p.id = k.id
        LEFT JOIN attempt a ON a.book = p.book AND a.payment_id = p.id AND a.number = p.attempt_count
        """,
        [book for book, _ in keys],
        [payment_id for _, payment_id in keys],
    )
    return [Mark(*row) for row in rows]


async def channel_accounts(connection: Connection, book: int) -> list[ChannelAccount]:
    """Return a merchant's channel accounts in the order the operator gave them."""
    rows = await connection.fetch(
        f"SELECT {_CHANNEL_ACCOUNT} FROM channel_account WHERE book = $1 ORDER BY position, created_at, id", book
    )
    return [ChannelAccount(*row) for row in rows]


async def every_channel_account(connection: Connection) -> list[ChannelAccount]:
    """Return all channel accounts of all merchants, by book and id."""
    rows = await connection.fetch(f"SELECT {_CHANNEL_ACCOUNT} FROM channel_account ORDER BY book, id")
    return [ChannelAccount(*row) for row in rows]


async def find_link(connection: Connection, book: int, link_id: str) -> CashierLink | None:
    rows = await CASHIER_LINKS.load(connection, [(book, link_id)])
    return rows[0] if rows else None


async def links(connection: Connection, book: int, kind: str, *, before: str | None, limit: int) -> list[CashierLink]:
    """Return a merchant's links of one kind, newest first. before: the id after which to go on."""
    rows = await connection.fetch(
        f"SELECT {_LINK} FROM cashier_link WHERE book = $1 AND kind = $2 AND ($3::text IS NULL OR id < $3) "
        "ORDER BY id DESC LIMIT $4",
        book,
        kind,
        before,
        limit,
    )
    return [CashierLink(*row) for row in rows]


async def forget_claims(connection: Connection, before: datetime, limit: int) -> int:
    """Forget up to `limit` idempotency keys used before a moment; return how many. Order numbers are kept for ever."""
    old = await connection.fetch(
        "SELECT book, key FROM claim WHERE key LIKE 'i:%' AND created_at < $1 LIMIT $2", before, limit
    )
    done = await connection.execute(
        "DELETE FROM claim c USING unnest($1::int[], $2::text[]) AS k (book, key) "
        "WHERE c.book = k.book AND c.key = k.key AND c.created_at < $3",
        [row[0] for row in old],
        [row[1] for row in old],
        before,
    )
    return int(done.rpartition(" ")[2])


async def find_payment(connection: Connection, book: int, payment_id: str) -> Payment | None:
    rows = await PAYMENTS.load(connection, [(book, payment_id)])
    return rows[0] if rows else None


async def find_attempt(connection: Connection, book: int, payment_id: str, number: int) -> Attempt | None:
    rows = await ATTEMPTS.load(connection, [(book, payment_id, number)])
    return rows[0] if rows else None


async def attempts(connection: Connection, book: int, payment_id: str) -> list[Attempt]:
    rows = await connection.fetch(
        f"SELECT {_ATTEMPT} FROM attempt WHERE book = $1 AND payment_id = $2 ORDER BY number", book, payment_id
    )
    return [Attempt(*row) for row in rows]


class PaymentFilter(NamedTuple):
    """Which payments are wanted; None: any. Amounts in minor units, both ends included; of moments the later is not."""

    status: str | None = None
    method: str | None = None
    channel: str | None = None
    merchant_order_id: str | None = None
    currency: str | None = None
    amount_from: int | None = None
    amount_until: int | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None


ANY_PAYMENT = PaymentFilter()

# An id begins with the moment it was made, by the clock of the host that made it; created_at is the moment of the
# commit. So a day's payments are found by their ids, with so much room at both ends for what the two may differ by.
_IDS_DIFFER = timedelta(hours=1)


def _id_of(moment: datetime | None, room: timedelta) -> str | None:
    """Return what ids of payments made at a moment, or so much beside it, begin with."""
    if moment is None:
        return None
    try:
        ms = (moment + room - _EPOCH) // timedelta(milliseconds=1)
    except OverflowError:
        return None
    return f"pay_{min(max(ms, 0), 16**12 - 1):012x}"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def payments(
    connection: Connection, book: int, *, before: str | None, limit: int, wanted: PaymentFilter = ANY_PAYMENT
) -> list[Payment]:
    """Return payments newest first, those older than `before`; the ids sort by time."""
    rows = await connection.fetch(
        f"SELECT {_PAYMENT} FROM payment WHERE book = $1 "
        "AND id < least(coalesce($2::text, '~'), coalesce($14::text, '~')) AND id >= coalesce($13::text, '') "
        "AND ($3::text IS NULL OR status = $3) "
        "AND ($4::text IS NULL OR id IN (SELECT object_id FROM claim WHERE book = $1 "
        "AND (key = 'o:' || $4 OR (key > 'e:' || $4 || ' ' AND key < 'e:' || $4 || '!')))) "
        "AND ($6::text IS NULL OR method = $6) AND ($7::text IS NULL OR channel = $7) "
        "AND ($8::text IS NULL OR currency = $8) "
        "AND ($9::bigint IS NULL OR amount_minor >= $9) AND ($10::bigint IS NULL OR amount_minor <= $10) "
        "AND ($11::timestamptz IS NULL OR created_at >= $11) AND ($12::timestamptz IS NULL OR created_at < $12) "
        "ORDER BY id DESC LIMIT $5",
        book,
        before,
        wanted.status,
        wanted.merchant_order_id,
        limit,
        wanted.method,
        wanted.channel,
        wanted.currency,
        wanted.amount_from,
        wanted.amount_until,
        wanted.created_from,
        wanted.created_until,
        _id_of(wanted.created_from, -_IDS_DIFFER),
        _id_of(wanted.created_until, _IDS_DIFFER),
    )
    return [Payment(*row) for row in rows]


async def find_refund(connection: Connection, book: int, refund_id: str) -> Refund | None:
    rows = await REFUNDS.load(connection, [(book, refund_id)])
    return rows[0] if rows else None


async def refunds(
    connection: Connection,
    book: int,
    *,
    payment_id: str | None,
    before: str | None,
    limit: int,
    merchant_refund_id: str | None = None,
) -> list[Refund]:
    """Return refunds newest first, of one payment, or under the merchant's own number of it, where given."""
    rows = await connection.fetch(
        f"SELECT {_REFUND} FROM refund WHERE book = $1 AND ($2::text IS NULL OR payment_id = $2) "
        "AND ($3::text IS NULL OR id < $3) AND ($5::text IS NULL OR id IN (SELECT object_id FROM claim "
        "WHERE book = $1 AND key = 'r:' || $5)) ORDER BY id DESC LIMIT $4",
        book,
        payment_id,
        before,
        limit,
        merchant_refund_id,
    )
    return [Refund(*row) for row in rows]


async def due_attempts(
    connection: Connection, now: datetime, busy: Sequence[str], locked: Sequence[int], limit: int
) -> list[Attempt]:
    """Return open attempts whose time to ask has come, the longest waiting first; none of busy rails, locked books."""
    rows = await connection.fetch(
        f"SELECT {_ATTEMPT} FROM attempt WHERE due_at <= $1 AND channel <> ALL($2::text[]) AND book <> ALL($3::int[]) "
        "ORDER BY due_at LIMIT $4",
        now,
        busy,
        locked,
        limit,
    )
    return [Attempt(*row) for row in rows]


async def due_refunds(
    connection: Connection, now: datetime, busy: Sequence[str], locked: Sequence[int], limit: int
) -> list[tuple[Refund, str]]:
    """Return open refunds whose time to ask has come and their rails, as due_attempts does."""
    rows = await connection.fetch(
        f"SELECT {', '.join('r.' + c for c in Refund._fields)}, a.channel FROM refund r "
        "JOIN attempt a ON a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number "
        "WHERE r.due_at <= $1 AND a.channel <> ALL($2::text[]) AND r.book <> ALL($3::int[]) "
        "ORDER BY r.due_at LIMIT $4",
        now,
        busy,
        locked,
        limit,
    )
    return [(Refund(*row[:-1]), row[-1]) for row in map(tuple, rows)]


async def due_payments(connection: Connection, now: datetime, locked: Sequence[int], limit: int) -> list[Payment]:
    """Return payments that wait for their payer's choice and whose time has run out, the longest waiting first."""
    rows = await connection.fetch(
        f"SELECT {_PAYMENT} FROM payment WHERE due_at <= $1 AND book <> ALL($2::int[]) ORDER BY due_at LIMIT $3",
        now,
        locked,
        limit,
    )
    return [Payment(*row) for row in rows]


async def captured_on(connection: Connection, book: int, account: str, day: date) -> list[tuple[Payment, Attempt]]:
    """Return what was captured on a channel account on a business date, as the hub has it."""
    rows = await connection.fetch(
        f"SELECT {', '.join('p.' + c for c in Payment._fields)}, {', '.join('a.' + c for c in Attempt._fields)} "
        "FROM payment p JOIN attempt a ON a.book = p.book AND a.payment_id = p.id "
        "WHERE a.book = $1 AND a.channel_account = $2 AND a.business_date = $3 AND a.captured_minor > 0 "
        "ORDER BY a.payment_id, a.number",
        book,
        account,
        day,
    )
    width = len(Payment._fields)
    return [(Payment(*row[:width]), Attempt(*row[width:])) for row in map(tuple, rows)]


async def accounts_of(
    connection: Connection, book: int, attempts: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], str]:
    """Return on which channel account attempts were made, by (payment_id, number); those that there are."""
    rows = await connection.fetch(
        "SELECT a.payment_id, a.number, a.channel_account FROM unnest($2::text[], $3::int[]) AS n (payment_id, number) "
        "JOIN attempt a ON a.book = $1 AND a.payment_id = n.payment_id AND a.number = n.number",
        book,
        [payment_id for payment_id, _ in attempts],
        [number for _, number in attempts],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def paid_lately(
    connection: Connection, book: int, account: str, since: datetime
) -> tuple[Payment, Attempt] | None:
    """Return the last payment made into a channel account of which nothing went back; None where there is none."""
    row = await connection.fetchrow(
        f"SELECT {', '.join('p.' + c for c in Payment._fields)}, {', '.join('a.' + c for c in Attempt._fields)} "
        "FROM payment p JOIN attempt a ON a.book = p.book AND a.payment_id = p.id "
        "WHERE a.book = $1 AND a.channel_account = $2 AND a.created_at >= $3 AND a.status = 'confirmed' "
        "AND p.refunded_minor = 0 AND p.refunding_minor = 0 ORDER BY a.payment_id DESC LIMIT 1",
        book,
        account,
        since,
    )
    width = len(Payment._fields)
    return None if row is None else (Payment(*tuple(row)[:width]), Attempt(*tuple(row)[width:]))


async def refunded_on(connection: Connection, book: int, account: str, day: date) -> list[tuple[Refund, Attempt]]:
    """Return refunds that belong to a business date on a channel account and did not fail, as the hub has them."""
    rows = await connection.fetch(
        f"SELECT {', '.join('r.' + c for c in Refund._fields)}, {', '.join('a.' + c for c in Attempt._fields)} "
        "FROM refund r "
        "JOIN attempt a ON a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number "
        "WHERE r.book = $1 AND a.channel_account = $2 AND r.status <> 'failed' "
        "AND coalesce(r.business_date, (coalesce(r.retried_at, r.created_at) AT TIME ZONE 'Asia/Shanghai')::date) = $3 "
        "ORDER BY r.id",
        book,
        account,
        day,
    )
    width = len(Refund._fields)
    return [(Refund(*row[:width]), Attempt(*row[width:])) for row in map(tuple, rows)]


async def came_back(
    connection: Connection, book: int, account: str, day: date
) -> list[tuple[RefundReturn, Refund, Attempt]]:
    """Return refunds of a channel account that came back, where they or their returns belong to a business date."""
    rows = await connection.fetch(
        f"SELECT {', '.join('b.' + c for c in RefundReturn._fields)}, {', '.join('r.' + c for c in Refund._fields)}, "
        f"{', '.join('a.' + c for c in Attempt._fields)} "
        "FROM refund_return b JOIN refund r ON r.book = b.book AND r.id = b.refund_id "
        "JOIN attempt a ON a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number "
        "WHERE b.book = $1 AND a.channel_account = $2 AND (b.business_date = $3 OR b.returned_date = $3) "
        "ORDER BY b.refund_id, b.retry_count",
        book,
        account,
        day,
    )
    first, second = len(RefundReturn._fields), len(RefundReturn._fields) + len(Refund._fields)
    return [
        (RefundReturn(*row[:first]), Refund(*row[first:second]), Attempt(*row[second:])) for row in map(tuple, rows)
    ]


async def find_return(connection: Connection, book: int, refund_id: str, retry_count: int) -> RefundReturn | None:
    rows = await REFUND_RETURNS.load(connection, [(book, refund_id, retry_count)])
    return rows[0] if rows else None


class Waiting(NamedTuple):
    """An attempt or a refund that still waits for its channel."""

    what: str  # attempt pay_…:1 | refund re_…
    account: str  # the channel account
    status: str
    since: datetime
    due_at: datetime | None
    said: str  # what the channel said last, and for a refund how often it was asked and sent
    with_a_person: bool  # a case is open about it


async def still_waiting(connection: Connection, book: int) -> list[Waiting]:
    """Return every attempt and refund of the book that waits for its channel, oldest first; what is paid does not."""
    rows = await connection.fetch(
        """
        SELECT 'attempt ' || a.payment_id || ':' || a.number, a.channel_account, a.status, a.created_at AS since,
               a.due_at, concat_ws(' ', a.code, a.message), false
        FROM attempt a WHERE a.book = $1 AND a.due_at IS NOT NULL AND a.status <> 'confirmed'
        UNION ALL
        SELECT 'refund ' || r.id || ' of ' || r.payment_id || ':' || r.attempt_number, a.channel_account, r.status,
               r.created_at, r.due_at,
               concat('asked ', r.query_count, ', sent ', r.sent_count, ', retried ', r.retry_count, ', ref ',
                      coalesce(r.channel_ref, 'none')),
               EXISTS (SELECT FROM case_file c WHERE c.book = r.book AND c.about = r.id AND c.status = 'open')
        FROM refund r JOIN attempt a ON a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number
        WHERE r.book = $1 AND r.status = 'processing'
        ORDER BY since
        """,
        book,
    )
    return [Waiting(*row) for row in rows]
