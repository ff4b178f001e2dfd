"""Reading the gateway's rows. Writing goes through the commit lane."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from gateway import unwanted
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


class KeyFacts(NamedTuple):
    """What may be told of an API key: never the key."""

    id: str
    book: int
    merchant_id: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Standing(NamedTuple):
    """Whether a merchant is suspended, and whether it has a key that is in force."""

    suspended_at: datetime | None
    has_live_key: bool


async def find_key(connection: Connection, digest: bytes) -> Key | None:
    """Return the key with this hash, whatever its state, or None."""
    row = await connection.fetchrow(
        "SELECT k.id, k.book, m.id, k.scopes, k.expires_at, k.revoked_at "
        "FROM api_key k JOIN merchant m ON m.book = k.book WHERE k.hash = $1",
        digest,
    )
    return Key(row[0], row[1], row[2], frozenset(row[3]), row[4], row[5]) if row else None


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


async def keys_of(connection: Connection, book: int | None) -> list[KeyFacts]:
    """Return what may be told of the API keys of a merchant, or of all, oldest first."""
    rows = await connection.fetch(
        "SELECT k.id, k.book, m.id, k.scopes, k.created_at, k.expires_at, k.revoked_at "
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


class Captured(NamedTuple):
    """Captures of one channel account and business date."""

    ledger_account: str  # channel:<account>:<currency>
    business_date: date
    captured_minor: int
    captured_count: int


async def last_event(connection: Connection, book: int) -> int:
    """Return the number of the book's last event; 0 where there is none."""
    found: int | None = await connection.fetchval("SELECT event_seq FROM book WHERE book = $1", book)
    return found or 0


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
          AND e.type IN ('payment.succeeded', 'payment.late', 'payment.surplus')
        GROUP BY t.debit, t.business_date
        """,
        book,
        after,
        until,
    )
    return [Captured(*row) for row in rows]


async def forget_claims(connection: Connection, before: datetime, limit: int) -> int:
    """Forget up to `limit` idempotency keys used before a moment; return how many. Order numbers are kept for ever."""
    done = await connection.execute(
        "DELETE FROM claim WHERE ctid IN (SELECT ctid FROM claim WHERE key LIKE 'i:%' AND created_at < $1 LIMIT $2)",
        before,
        limit,
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


async def payments(
    connection: Connection,
    book: int,
    *,
    before: str | None,
    limit: int,
    status: str | None = None,
    merchant_order_id: str | None = None,
) -> list[Payment]:
    """Return payments newest first, those older than `before`; the ids sort by time."""
    rows = await connection.fetch(
        f"SELECT {_PAYMENT} FROM payment WHERE book = $1 AND ($2::text IS NULL OR id < $2) "
        "AND ($3::text IS NULL OR status = $3) "
        "AND ($4::text IS NULL OR id IN (SELECT object_id FROM claim WHERE book = $1 "
        "AND (key = 'o:' || $4 OR (key > 'e:' || $4 || ' ' AND key < 'e:' || $4 || '!')))) "
        "ORDER BY id DESC LIMIT $5",
        book,
        before,
        status,
        merchant_order_id,
        limit,
    )
    return [Payment(*row) for row in rows]


async def find_refund(connection: Connection, book: int, refund_id: str) -> Refund | None:
    rows = await REFUNDS.load(connection, [(book, refund_id)])
    return rows[0] if rows else None


async def refunds(
    connection: Connection, book: int, *, payment_id: str | None, before: str | None, limit: int
) -> list[Refund]:
    """Return refunds newest first, of one payment where given."""
    rows = await connection.fetch(
        f"SELECT {_REFUND} FROM refund WHERE book = $1 AND ($2::text IS NULL OR payment_id = $2) "
        "AND ($3::text IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        book,
        payment_id,
        before,
        limit,
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
               concat('asked ', r.asked_count, ', sent ', r.sent_count, ', retried ', r.retry_count, ', ref ',
                      coalesce(r.channel_ref, 'none')),
               EXISTS (SELECT FROM case_file c WHERE c.book = r.book AND c.about = r.id AND c.status = 'open')
        FROM refund r JOIN attempt a ON a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number
        WHERE r.book = $1 AND r.status = 'processing'
        ORDER BY since
        """,
        book,
    )
    return [Waiting(*row) for row in rows]


async def captures_match_the_journal(connection: Connection) -> list[str]:
    """Every attempt that was paid has exactly one capture posting of its amount, and no other has one."""
    rows = await connection.fetch(
        """
        SELECT a.book, a.payment_id || ':' || a.number AS id, a.captured_minor,
               coalesce(sum(t.amount_minor), 0)::bigint AS booked
        FROM attempt a
        LEFT JOIN transfer t ON t.book = a.book AND t.id = a.payment_id || ':' || a.number || ':captured'
        GROUP BY a.book, a.payment_id, a.number, a.captured_minor, a.status
        HAVING coalesce(sum(t.amount_minor), 0) <> a.captured_minor OR count(t.id) > 1
            OR (a.captured_minor > 0) <> (a.status IN ('confirmed', 'late', 'surplus'))
        UNION ALL
        SELECT t.book, t.id, 0, t.amount_minor FROM transfer t
        WHERE t.rule = 'payment_captured' AND starts_with(t.posting, 'pay_') AND NOT EXISTS (
            SELECT FROM attempt a WHERE a.book = t.book AND a.payment_id = split_part(t.id, ':', 1)
                AND t.id = a.payment_id || ':' || a.number || ':captured'
        )
        """
    )
    return [f"book {r[0]} {r[1]}: captured {r[2]}, booked {r[3]}" for r in rows]


async def a_payment_is_paid_once(connection: Connection) -> list[str]:
    """A payment's captured money is its winner's, and whatever other attempts captured is surplus."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id, p.captured_minor,
            coalesce(sum(a.captured_minor) FILTER (WHERE a.number = p.won_attempt), 0)
        FROM payment p LEFT JOIN attempt a ON a.book = p.book AND a.payment_id = p.id
        GROUP BY p.book, p.id, p.captured_minor, p.won_attempt, p.status, p.attempt_count
        HAVING p.captured_minor <> coalesce(sum(a.captured_minor) FILTER (WHERE a.number = p.won_attempt), 0)
            OR count(*) FILTER (WHERE a.status IN ('confirmed', 'late')) <> (p.captured_minor > 0)::int
            OR coalesce(bool_or(a.status = 'confirmed'), false) <> (p.status = 'succeeded')
            OR count(*) FILTER (WHERE a.status = 'surplus' AND a.number = p.won_attempt) > 0
            OR count(a.number) <> p.attempt_count
        """
    )
    return [f"book {r[0]} {r[1]}: captured {r[2]}, its winner {r[3]}, or it has no winner, or two" for r in rows]


async def refunds_never_exceed_captures(connection: Connection) -> list[str]:
    """Refunds, open ones counted, never exceed their attempt's capture; a payment's sums are right."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id FROM payment p
        LEFT JOIN refund r ON r.book = p.book AND r.payment_id = p.id AND r.attempt_number = p.won_attempt
        GROUP BY p.book, p.id, p.captured_minor, p.refunded_minor, p.refunding_minor
        HAVING p.refunded_minor + p.refunding_minor > p.captured_minor
            OR coalesce(sum(r.amount_minor) FILTER (WHERE r.status = 'succeeded'), 0) <> p.refunded_minor
            OR coalesce(sum(r.amount_minor) FILTER (WHERE r.status = 'processing'), 0) <> p.refunding_minor
        UNION
        SELECT r.book, r.payment_id FROM refund r
        LEFT JOIN attempt a ON a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number
        WHERE r.status <> 'failed' GROUP BY r.book, r.payment_id, r.attempt_number, a.captured_minor
        HAVING sum(r.amount_minor) > coalesce(a.captured_minor, 0)
        """
    )
    return [f"book {r[0]} {r[1]}: its refunds and its totals differ" for r in rows]


async def refunds_paid_beyond_are_booked(connection: Connection) -> list[str]:
    """Each number a channel paid a refund under is booked: the first as the refund, the others in suspense."""
    rows = await connection.fetch(
        """
        SELECT r.book, r.id FROM refund r
        LEFT JOIN transfer t ON t.book = r.book AND t.rule = 'refund_beyond'
            AND t.id IN (SELECT r.id || CASE n WHEN 0 THEN '' ELSE ':' || n END || ':beyond'
                FROM generate_series(0, r.retry_count) n)
        GROUP BY r.book, r.id, r.paid_tries, r.status, r.amount_minor
        HAVING count(t.id) <> greatest(bit_count(r.paid_tries::bit(32)) - (r.status = 'succeeded')::int, 0)
            OR bool_or(t.amount_minor <> r.amount_minor)
        """
    )
    return [f"book {r[0]} {r[1]}: paid under more or fewer numbers than are booked" for r in rows]


async def fees_match_the_journal(connection: Connection) -> list[str]:
    """What a channel kept of a paid attempt was booked with its capture; of no other attempt was anything kept."""
    rows = await connection.fetch(
        """
        SELECT a.book, a.payment_id || ':' || a.number, t.amount_minor FROM attempt a
        LEFT JOIN transfer t ON t.book = a.book AND t.id = a.payment_id || ':' || a.number || ':fee'
        WHERE coalesce(t.amount_minor, 0) <> CASE WHEN a.captured_minor > 0 THEN a.fee_minor ELSE 0 END
        UNION ALL
        SELECT p.book, p.id, p.fee_minor FROM payment p
        JOIN attempt a ON a.book = p.book AND a.payment_id = p.id AND a.number = p.won_attempt
        WHERE p.captured_minor > 0 AND p.fee_minor <> a.fee_minor
        """
    )
    return [f"book {r[0]} {r[1]}: its fee and the {r[2]} booked differ" for r in rows]


async def refunds_match_the_journal(connection: Connection) -> list[str]:
    """A refund under way holds its money, one that succeeded has paid it out, one that failed has done neither.

    Of every number it has had: what was held is under way only for the present one, and what went out under any of
    them and did not come back is what has succeeded.
    """
    rows = await connection.fetch(
        """
        WITH told AS (
            SELECT book, split_part(id, ':', 1) AS refund_id,
                coalesce(sum(amount_minor) FILTER (WHERE state = 'held'), 0) AS held,
                coalesce(sum(posted_minor), 0) AS gone
            FROM hold WHERE starts_with(id, 're_') GROUP BY 1, 2
        ), back AS (
            SELECT book, split_part(id, ':', 1) AS refund_id, sum(amount_minor) AS back
            FROM transfer WHERE rule = 'refund_returned' GROUP BY 1, 2
        ), noted AS (
            SELECT book, refund_id, sum(amount_minor) AS back FROM refund_return GROUP BY 1, 2
        )
        SELECT coalesce(r.book, t.book, b.book), coalesce(r.id, t.refund_id, b.refund_id), r.status,
            t.held, t.gone, b.back
        FROM refund r FULL JOIN told t ON t.book = r.book AND t.refund_id = r.id
        FULL JOIN back b ON b.book = coalesce(r.book, t.book) AND b.refund_id = coalesce(r.id, t.refund_id)
        LEFT JOIN noted n ON n.book = r.book AND n.refund_id = r.id
        WHERE r.id IS NULL
            OR coalesce(t.held, 0) <> CASE r.status WHEN 'processing' THEN r.amount_minor ELSE 0 END
            OR coalesce(t.gone, 0) - coalesce(b.back, 0)
                <> CASE r.status WHEN 'succeeded' THEN r.amount_minor ELSE 0 END
            OR coalesce(b.back, 0) <> coalesce(n.back, 0)
        """
    )
    return [
        f"book {r[0]} {r[1]}: is {r[2]}, the journal holds {r[3] or 0}, paid {r[4] or 0} and had {r[5] or 0} back"
        for r in rows
    ]


async def refunded_fees_match_the_journal(connection: Connection) -> list[str]:
    """What was made good of a fee for an attempt's refunds follows from what of it has been given back, or is to be."""
    rows = await connection.fetch(
        """
        WITH made_good AS (
            SELECT t.book, split_part(t.id, ':', 1) AS refund_id,
                sum(CASE WHEN t.rule IN ('channel_fee_returned', 'refund_cost') THEN t.amount_minor
                    ELSE -t.amount_minor END) AS minor
            FROM transfer t
            WHERE t.rule IN ('channel_fee_returned', 'refund_cost', 'channel_fee_kept', 'refund_cost_undone')
            GROUP BY 1, 2
        ), given AS (
            SELECT r.book, r.payment_id, r.attempt_number, coalesce(sum(m.minor), 0) AS minor,
                coalesce(sum(r.amount_minor) FILTER (WHERE r.status <> 'failed'), 0)::numeric AS live
            FROM refund r LEFT JOIN made_good m ON m.book = r.book AND m.refund_id = r.id
            GROUP BY 1, 2, 3
        )
        SELECT g.book, g.payment_id, g.minor FROM given g
        JOIN attempt a ON a.book = g.book AND a.payment_id = g.payment_id AND a.number = g.attempt_number
        -- splitting.plan.fee_returned: in proportion, rounded half up
        WHERE g.minor <> div(2 * a.fee_minor * g.live + a.captured_minor, 2 * a.captured_minor::numeric)
        """
    )
    return [f"book {r[0]} {r[1]}: {r[2]} of its fee was made good, its refunds make it another sum" for r in rows]


async def unwanted_money_goes_back(connection: Connection) -> list[str]:
    """What was paid late or on top has gone back or is on its way, whole; or its refund failed and it is a case."""
    rows = await connection.fetch(
        """
        SELECT a.book, a.payment_id || ':' || a.number FROM attempt a
        LEFT JOIN case_file c ON c.book = a.book AND c.kind = $1 AND c.about = a.payment_id || ':' || a.number
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(r.amount_minor) FILTER (WHERE r.status <> 'failed'), 0) AS back,
                count(*) FILTER (WHERE r.amount_minor = a.captured_minor) AS whole,
                coalesce(bool_or(r.status = 'failed' AND r.due_at IS NOT NULL), false) AS tried_again
            FROM refund r WHERE r.book = a.book AND r.payment_id = a.payment_id AND r.attempt_number = a.number
        ) r
        WHERE a.status IN ('late', 'surplus') AND (r.whole = 0 OR r.back <> a.captured_minor AND NOT coalesce(
            c.status = 'open' OR c.decision = ANY($2::text[]) OR c.decision = $3 AND r.tried_again, false
        ))
        """,
        unwanted.NOT_GIVEN_BACK,
        [unwanted.OUTSIDE, unwanted.KEPT],
        unwanted.RETRY,
    )
    return [f"book {r[0]} {r[1]}: its money is not on its way back, and nobody has to decide about it" for r in rows]


async def reserved_money_is_not_booked(connection: Connection) -> list[str]:
    """A payment that requires capture has its winner's hold of its amount, and neither has captured."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id FROM payment p
        LEFT JOIN attempt a ON a.book = p.book AND a.payment_id = p.id AND a.number = p.won_attempt
        WHERE CASE p.status
            WHEN 'requires_capture' THEN a.status IS DISTINCT FROM 'held' OR a.capture_minor <> 0
                OR a.held_minor <> p.amount_minor OR p.captured_minor <> 0
            WHEN 'processing' THEN p.won_attempt <> 0 AND (a.status <> 'held' OR a.capture_minor = 0)
            WHEN 'requires_action' THEN p.won_attempt <> 0
            WHEN 'succeeded' THEN false
            ELSE p.won_attempt <> 0 AND p.captured_minor = 0 -- it ended, and what was reserved was not let go of
        END
        """
    )
    return [f"book {r[0]} {r[1]}: its status and what is reserved for it differ" for r in rows]


async def every_open_row_is_owned(connection: Connection) -> list[str]:
    """Whatever waits for a channel or payer has a time at which the janitor looks; what has ended none."""
    rows = await connection.fetch(
        """
        SELECT book, payment_id AS id FROM attempt
        WHERE (due_at IS NOT NULL) <> CASE status
            WHEN 'confirmed' THEN undo_sent_at IS NOT NULL -- what may undo it is under way
            ELSE status IN ('created', 'pending', 'unknown', 'held')
        END
        UNION ALL SELECT r.book, r.id FROM refund r WHERE CASE r.status
            WHEN 'processing' THEN r.due_at IS NULL
            WHEN 'failed' THEN r.due_at IS NOT NULL AND NOT EXISTS ( -- what goes back by itself is begun again
                SELECT FROM attempt a WHERE a.book = r.book AND a.payment_id = r.payment_id
                    AND a.number = r.attempt_number AND a.status IN ('late', 'surplus')
            )
            -- paid under another number: its present one is asked about for a while
            ELSE r.due_at IS NOT NULL AND (r.paid_tries = 0 OR (r.paid_tries >> r.retry_count) & 1 = 1)
        END
        UNION ALL SELECT p.book, p.id FROM payment p
        WHERE p.status IN ('processing', 'requires_action', 'requires_capture') AND p.due_at IS NULL AND NOT EXISTS (
            SELECT FROM attempt a WHERE a.book = p.book AND a.payment_id = p.id AND a.due_at IS NOT NULL
        )
        UNION ALL SELECT book, id FROM payment
        WHERE due_at IS NOT NULL AND status NOT IN ('processing', 'requires_action', 'requires_capture')
        """
    )
    return [f"book {r[0]} {r[1]}: open without an owner, or ended with one" for r in rows]


async def succeeded_payments_have_their_event(
    connection: Connection, since: Mapping[int, int] | None = None
) -> list[str]:
    """Every payment that succeeded told so exactly once.

    since: book → number of a transfer, where only events told after it are looked at: then a payment captured before
    has told before, and tells no more. The success of a payment and its capture are of one commit.
    """
    rows = await connection.fetch(
        """
        WITH told_before AS (
            SELECT t.book, t.id FROM unnest($1::int[], $2::bigint[]) AS m (book, seq)
            JOIN transfer t ON t.book = m.book AND t.seq <= m.seq WHERE t.rule = 'payment_captured'
        )
        SELECT p.book, p.id FROM payment p
        LEFT JOIN event e ON e.book = p.book AND e.subject = p.id AND e.type = 'payment.succeeded'
        LEFT JOIN told_before b ON b.book = p.book AND b.id = p.id || ':' || p.won_attempt || ':captured'
        GROUP BY p.book, p.id, p.status, b.id HAVING count(e.seq) <> (p.status = 'succeeded' AND b.id IS NULL)::int
        """,
        list(since or {}),
        list((since or {}).values()),
    )
    return [f"book {r[0]} {r[1]}: its success and its events differ" for r in rows]


async def open_payments(connection: Connection) -> list[tuple[int, str]]:
    """Return (book, id) of every payment of which something waits: for a channel, for its payer, for a refund."""
    rows = await connection.fetch(
        "SELECT book, payment_id FROM attempt WHERE due_at IS NOT NULL "
        "UNION SELECT book, payment_id FROM refund WHERE due_at IS NOT NULL "
        "UNION SELECT book, id FROM payment WHERE due_at IS NOT NULL"
    )
    return [(row[0], row[1]) for row in rows]


async def shares_follow_the_refunds(connection: Connection) -> list[str]:
    """What payees gave back of a payment is its refunds, open ones counted, less what was never shared of them."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id, t.taken_back, b.live - b.unshared AS due
        FROM payment p JOIN split s ON s.book = p.book AND s.payment_id = p.id AND s.status = 'posted'
        CROSS JOIN LATERAL (
            SELECT coalesce(sum((x.v ->> 2)::bigint), 0) AS taken_back FROM json_array_elements(s.shares) AS x(v)
        ) t CROSS JOIN LATERAL (
            -- splitting.plan.fee_returned: in proportion, rounded half up
            SELECT live, div(
                2 * (p.fee_minor + p.coupon_minor) * live + p.captured_minor, nullif(2 * p.captured_minor, 0)
            ) AS unshared
            FROM (SELECT (p.refunded_minor + p.refunding_minor)::numeric AS live) l
        ) b WHERE t.taken_back IS DISTINCT FROM b.live - b.unshared
        """
    )
    return [f"book {r[0]} {r[1]}: {r[2]} taken back, its refunds make it {r[3]}" for r in rows]


async def shares_never_exceed_what_arrives(connection: Connection) -> list[str]:
    """What was shared out of a payment is at most what its channel pays out for it: without fee and coupons."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id, t.shared, p.captured_minor - p.coupon_minor - p.fee_minor AS arrives
        FROM payment p JOIN split s ON s.book = p.book AND s.payment_id = p.id AND s.status = 'posted'
        CROSS JOIN LATERAL (
            SELECT coalesce(sum((x.v ->> 1)::bigint), 0) AS shared FROM json_array_elements(s.shares) AS x(v)
        ) t WHERE t.shared > greatest(p.captured_minor - p.coupon_minor - p.fee_minor, 0)
        """
    )
    return [f"book {r[0]} {r[1]}: {r[2]} shared out, {r[3]} arrives" for r in rows]


async def coupons_match_the_journal(connection: Connection) -> list[str]:
    """What the merchant's own coupons paid of each attempt, and bear of each refund, is what was booked of them.

    A payment's coupon is its winner's, and its refunds never give back more of it.
    """
    rows = await connection.fetch(
        """
        SELECT book, id FROM (
            SELECT book, payment_id || ':' || number || ':coupon' AS id, coupon_minor, 'merchant_coupon' AS rule
            FROM attempt WHERE coupon_minor > 0
            UNION ALL
            SELECT r.book, r.id || CASE WHEN r.retry_count > 0 THEN ':' || r.retry_count ELSE '' END || e.ending,
                r.coupon_minor, e.rule
            FROM (
                SELECT book, id, retry_count, coupon_minor, false AS came_back FROM refund WHERE status = 'succeeded'
                UNION ALL SELECT book, refund_id, retry_count, coupon_minor, true FROM refund_return
            ) r JOIN (
                VALUES (':coupon', 'merchant_coupon_back'), (':returned:coupon', 'merchant_coupon')
            ) e (ending, rule) ON r.came_back OR e.rule = 'merchant_coupon_back'
            WHERE r.coupon_minor > 0
        ) told FULL JOIN (
            SELECT book, id, amount_minor, rule FROM transfer
            WHERE rule IN ('merchant_coupon', 'merchant_coupon_back')
        ) booked USING (book, id, rule)
        WHERE told.coupon_minor IS DISTINCT FROM booked.amount_minor
        UNION ALL
        SELECT p.book, p.id FROM payment p
        LEFT JOIN attempt a ON a.book = p.book AND a.payment_id = p.id AND a.number = p.won_attempt
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(r.coupon_minor), 0) AS returned FROM refund r
            WHERE r.book = p.book AND r.payment_id = p.id AND r.attempt_number = p.won_attempt
                AND r.status = 'succeeded'
        ) r ON true
        WHERE p.coupon_minor <> coalesce(a.coupon_minor, 0) OR p.coupon_returned_minor <> r.returned
            OR p.coupon_returned_minor > p.coupon_minor OR p.coupon_minor > p.captured_minor
        """
    )
    return [f"book {r[0]} {r[1]}: its coupon and the journal differ" for r in rows]


INVARIANTS = {
    "captures_match_the_journal": captures_match_the_journal,
    "a_payment_is_paid_once": a_payment_is_paid_once,
    "fees_match_the_journal": fees_match_the_journal,
    "refunds_match_the_journal": refunds_match_the_journal,
    "refunded_fees_match_the_journal": refunded_fees_match_the_journal,
    "refunds_never_exceed_captures": refunds_never_exceed_captures,
    "shares_follow_the_refunds": shares_follow_the_refunds,
    "shares_never_exceed_what_arrives": shares_never_exceed_what_arrives,
    "coupons_match_the_journal": coupons_match_the_journal,
    "refunds_paid_beyond_are_booked": refunds_paid_beyond_are_booked,
    "unwanted_money_goes_back": unwanted_money_goes_back,
    "reserved_money_is_not_booked": reserved_money_is_not_booked,
    "every_open_row_is_owned": every_open_row_is_owned,
    "succeeded_payments_have_their_event": succeeded_payments_have_their_event,
}
