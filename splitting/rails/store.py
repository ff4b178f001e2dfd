"""Reading receivers, share orders and fetchings-back, and their invariants. Writing goes through the lane."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from kernel.db import Connection
from ledger import accounts
from splitting.tables import RailPayment, RailReceiver, ShareOrder, ShareReturn

_RECEIVER = ", ".join(RailReceiver._fields)
_ORDER = ", ".join(ShareOrder._fields)
_PAYMENT = ", ".join(RailPayment._fields)
_RETURN = ", ".join(ShareReturn._fields)


async def receivers(connection: Connection, book: int, payee_id: str | None = None) -> list[RailReceiver]:
    """Return the receivers of a book, or of one payee, by payee and channel account; at most ten thousand."""
    rows = await connection.fetch(
        f"SELECT {_RECEIVER} FROM rail_receiver WHERE book = $1 AND ($2::text IS NULL OR payee_id = $2) "
        "ORDER BY payee_id, channel_account LIMIT 10000",
        book,
        payee_id,
    )
    return [RailReceiver(*row) for row in rows]


async def due_receivers(connection: Connection, now: datetime, busy: Sequence[str], limit: int) -> list[RailReceiver]:
    """Return receivers that rails are to be told of now, the longest due first.

    busy: channel accounts to leave out, each as book/account: two merchants may call theirs alike.
    """
    rows = await connection.fetch(
        f"SELECT {_RECEIVER} FROM rail_receiver "
        "WHERE due_at <= $1 AND book || '/' || channel_account <> ALL($2::text[]) ORDER BY due_at LIMIT $3",
        now,
        busy,
        limit,
    )
    return [RailReceiver(*row) for row in rows]


async def due_orders(connection: Connection, now: datetime, busy: Sequence[str], limit: int) -> list[ShareOrder]:
    """Return share orders to be sent or asked about now, likewise."""
    rows = await connection.fetch(
        f"SELECT {_ORDER} FROM share_order WHERE due_at <= $1 AND book || '/' || channel_account <> ALL($2::text[]) "
        "ORDER BY due_at LIMIT $3",
        now,
        busy,
        limit,
    )
    return [ShareOrder(*row) for row in rows]


class DueReturn(NamedTuple):
    """A fetching-back, and the channel account it is of."""

    row: ShareReturn
    channel_account: str

    @property
    def book(self) -> int:
        return self.row.book


async def due_returns(connection: Connection, now: datetime, busy: Sequence[str], limit: int) -> list[DueReturn]:
    """Return fetchings-back to be sent or asked about now, likewise."""
    rows = await connection.fetch(
        f"SELECT {', '.join('r.' + column for column in ShareReturn._fields)}, o.channel_account "
        "FROM share_return r JOIN share_order o ON o.book = r.book AND o.id = r.order_id "
        "WHERE r.due_at <= $1 AND o.book || '/' || o.channel_account <> ALL($2::text[]) ORDER BY r.due_at LIMIT $3",
        now,
        busy,
        limit,
    )
    return [DueReturn(ShareReturn(*row[:-1]), row[-1]) for row in map(tuple, rows)]


async def due_to_ask(connection: Connection, now: datetime, busy: Sequence[str], limit: int) -> list[RailPayment]:
    """Return payments whose rail is asked now whether it has released them by itself, likewise."""
    rows = await connection.fetch(
        f"SELECT {_PAYMENT} FROM rail_payment WHERE ask_at <= $1 AND book || '/' || channel_account <> ALL($2::text[]) "
        "ORDER BY ask_at LIMIT $3",
        now,
        busy,
        limit,
    )
    return [RailPayment(*row) for row in rows]


async def orders_of(connection: Connection, book: int, payment_id: str) -> list[ShareOrder]:
    """Return a payment's share orders, the first first."""
    rows = await connection.fetch(
        f"SELECT {_ORDER} FROM share_order WHERE book = $1 AND rail_payment = ANY("
        "SELECT id FROM rail_payment WHERE book = $1 AND payment_id = $2) ORDER BY number",
        book,
        payment_id,
    )
    return [ShareOrder(*row) for row in rows]


async def open_orders(connection: Connection, book: int, limit: int) -> list[ShareOrder]:
    """Return a merchant's share orders that have not ended, the oldest first."""
    rows = await connection.fetch(
        f"SELECT {_ORDER} FROM share_order WHERE book = $1 AND due_at IS NOT NULL ORDER BY created_at, id LIMIT $2",
        book,
        limit,
    )
    return [ShareOrder(*row) for row in rows]


async def frozen_at(connection: Connection, book: int, channel_account: str, currency: str, day: date) -> int:
    """Return what a channel account keeps frozen at the end of a business date, in minor units.

    Of each payment what arrived, less what its rail shared out by then and what refunds took by then; nothing once the
    rest is released.
    """
    frozen: int = await connection.fetchval(
        """
        SELECT coalesce(sum(greatest(0, p.arrived_minor
            - coalesce((
                SELECT sum((x.v ->> 5)::bigint) FROM share_order o
                CROSS JOIN LATERAL json_array_elements(o.parts) AS x(v)
                WHERE o.book = p.book AND o.rail_payment = p.id AND x.v ->> 6 = 'paid' AND x.v ->> 9 <= $5
            ), 0)
            - coalesce((
                SELECT sum(r.amount_minor - r.fee_returned_minor - r.coupon_minor) FROM refund r
                WHERE r.book = p.book AND r.payment_id = p.payment_id AND r.status = 'succeeded'
                    AND p.id = r.payment_id || ':' || r.attempt_number AND r.business_date <= $4
            ), 0))), 0)::bigint
        FROM rail_payment p WHERE p.book = $1 AND p.channel_account = $2 AND p.currency = $3 AND p.frozen_on <= $4
            AND (p.released_on IS NULL OR p.released_on > $4)
        """,
        book,
        channel_account,
        currency,
        day,
        day.isoformat(),
    )
    return frozen


async def paid_on(connection: Connection, book: int, channel_account: str, currency: str, day: date) -> int:
    """Return what a channel account shared out on a business date less what it fetched back, in minor units."""
    moved: int = await connection.fetchval(
        """
        SELECT coalesce(sum(CASE rule WHEN 'share_paid_by_rail' THEN credits ELSE -debits END), 0)::bigint
        FROM day_sum WHERE book = $1 AND account = $2 AND business_date = $3
            AND rule IN ('share_paid_by_rail', 'share_fetched_back', 'commission_fetched_back')
        """,
        book,
        accounts.channel(channel_account, currency),
        day,
    )
    return moved


async def withheld_on(connection: Connection, book: int, channel_account: str, currency: str, day: date) -> int:
    """Return what a channel account does not pay into the bank of a business date's net, in minor units.

    It is what it keeps frozen at the end of that date more than the day before, and what it shared out, less what it
    fetched back; below zero where it lets go what it had frozen.
    """
    asked = (connection, book, channel_account, currency)
    frozen = await frozen_at(*asked, day) - await frozen_at(*asked, day - timedelta(days=1))
    return frozen + await paid_on(*asked, day)


async def share_orders_match_the_journal(connection: Connection) -> list[str]:
    """What each part of a share order was sent, paid, closed and fetched back is what the journal moved; once each."""
    rows = await connection.fetch(
        """
        WITH part AS (
            SELECT o.book, o.id || ':' || (x.n - 1) AS id, o.status, (x.v ->> 5)::bigint AS minor, x.v ->> 6 AS state,
                (x.v ->> 7)::bigint AS returned
            FROM share_order o CROSS JOIN LATERAL json_array_elements(o.parts) WITH ORDINALITY AS x(v, n)
        ), told AS (
            SELECT book, substring(id FROM '^.*?:rail:[0-9]+:[0-9]+') AS id,
                sum(amount_minor) FILTER (WHERE rule IN ('share_to_rail', 'commission_to_rail')) AS sent,
                sum(amount_minor) FILTER (WHERE id ~ ':off:') AS called_off,
                sum(amount_minor) FILTER (WHERE rule = 'share_paid_by_rail') AS paid,
                sum(amount_minor) FILTER (WHERE id ~ ':closed$') AS closed,
                sum(amount_minor) FILTER (WHERE rule IN ('share_fetched_back', 'commission_fetched_back')) AS fetched
            FROM transfer WHERE rule IN (
                'share_to_rail', 'commission_to_rail', 'share_paid_by_rail', 'share_off_rail', 'commission_off_rail',
                'share_fetched_back', 'commission_fetched_back'
            ) GROUP BY 1, 2
        ), back AS (
            SELECT book, order_id || ':' || part AS id, sum(amount_minor) AS asked,
                sum(amount_minor) FILTER (WHERE status = 'done') AS done
            FROM share_return GROUP BY 1, 2
        )
        SELECT coalesce(p.book, t.book), coalesce(p.id, t.id) FROM part p
        FULL JOIN told t ON t.book = p.book AND t.id = p.id LEFT JOIN back b ON b.book = p.book AND b.id = p.id
        WHERE p.id IS NULL OR coalesce(t.sent, 0) - coalesce(t.called_off, 0) <> p.minor
            OR coalesce(t.paid, 0) <> CASE p.state WHEN 'paid' THEN p.minor ELSE 0 END
            OR coalesce(t.closed, 0) <> CASE p.state WHEN 'closed' THEN p.minor ELSE 0 END
            OR (p.status IN ('finished', 'refused') AND p.state = 'open' AND p.minor > 0)
            OR coalesce(b.asked, 0) <> p.returned OR p.returned > p.minor
            OR coalesce(t.fetched, 0) <> coalesce(b.done, 0)
            OR (coalesce(b.done, 0) > 0 AND p.state <> 'paid')
        """
    )
    return [f"book {r[0]} {r[1]}: the part of the share order and the journal differ" for r in rows]


async def at_rails_is_what_is_open(connection: Connection) -> list[str]:
    """What is in transit at a channel account is what its share orders have open."""
    rows = await connection.fetch(
        """
        WITH part AS (
            SELECT o.book, 'rail_transit:' || o.channel_account || ':' || o.currency AS account,
                sum((x.v ->> 5)::bigint) FILTER (WHERE x.v ->> 6 = 'open') AS minor
            FROM share_order o CROSS JOIN LATERAL json_array_elements(o.parts) AS x(v) GROUP BY 1, 2
        )
        SELECT coalesce(a.book, p.book), coalesce(a.name, p.account)
        FROM (SELECT * FROM account WHERE name LIKE 'rail\\_transit:%') a
        FULL JOIN part p ON p.book = a.book AND p.account = a.name
        WHERE coalesce(a.credits - a.debits, 0) <> coalesce(p.minor, 0)
        """
    )
    return [f"book {r[0]} {r[1]}: it is not what share orders have open" for r in rows]


async def shares_go_one_way(connection: Connection) -> list[str]:
    """A share's parts in share orders are never more than the share, and only of what the rail is to pay."""
    rows = await connection.fetch(
        """
        WITH part AS (
            SELECT o.book, o.payment_id, (x.v ->> 0)::int AS share, x.v ->> 1 AS payee,
                sum((x.v ->> 5)::bigint) AS minor
            FROM share_order o CROSS JOIN LATERAL json_array_elements(o.parts) AS x(v) GROUP BY 1, 2, 3, 4
        )
        SELECT p.book, p.payment_id, p.share FROM part p
        LEFT JOIN split s ON s.book = p.book AND s.payment_id = p.payment_id
        WHERE s.payment_id IS NULL OR s.shares -> p.share ->> 0 IS DISTINCT FROM p.payee
            OR s.shares -> p.share ->> 5 IS DISTINCT FROM 'rail' OR p.minor > (s.shares -> p.share ->> 1)::bigint
        """
    )
    return [f"book {r[0]} {r[1]}: the rail was to pay more of share {r[2]} than it is" for r in rows]


async def what_is_frozen_at_rails_is_released(connection: Connection) -> list[str]:
    """Of every payment whose shares are posted, its rail releases the rest with some order, or it is frozen here."""
    rows = await connection.fetch(
        """
        SELECT s.book, s.payment_id FROM split s JOIN rail_payment p ON p.book = s.book AND p.id = s.rail
        WHERE s.status = 'posted' AND NOT p.is_last AND NOT EXISTS (
            SELECT FROM json_array_elements(s.frozen) AS f(v)
            WHERE f.v ->> 6 IS NULL AND s.shares -> (f.v ->> 0)::int ->> 5 = 'rail'
        )
        UNION
        SELECT p.book, p.payment_id FROM rail_payment p LEFT JOIN split s ON s.book = p.book AND s.rail = p.id
        LEFT JOIN share_order o ON o.book = p.book AND o.rail_payment = p.id
        GROUP BY p.book, p.id, p.payment_id, p.order_count HAVING count(DISTINCT o.id) <> p.order_count
        """
    )
    return [f"book {r[0]} {r[1]}: what its rail has frozen, nothing releases" for r in rows]


async def open_fetchings_back_are_counted(connection: Connection) -> list[str]:
    """Of every payment as many fetchings-back are open as its refunds wait for."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.payment_id FROM rail_payment p
        LEFT JOIN share_order o ON o.book = p.book AND o.rail_payment = p.id
        LEFT JOIN share_return r ON r.book = o.book AND r.order_id = o.id AND r.status IN ('waiting', 'sent')
        GROUP BY p.book, p.id, p.payment_id, p.returns_open HAVING count(r.id) <> p.returns_open
        """
    )
    return [f"book {r[0]} {r[1]}: its refunds wait for other fetchings-back than are open" for r in rows]


INVARIANTS = {
    "share_orders_match_the_journal": share_orders_match_the_journal,
    "at_rails_is_what_is_open": at_rails_is_what_is_open,
    "shares_go_one_way": shares_go_one_way,
    "open_fetchings_back_are_counted": open_fetchings_back_are_counted,
    "what_is_frozen_at_rails_is_released": what_is_frozen_at_rails_is_released,
}
