"""What the gateway's rows must say of the journal, always; `sluice verify` holds them against it."""

from collections.abc import Mapping

from gateway.payments import chargebacks, unwanted
from kernel.db import Connection


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
            OR (a.captured_minor > 0) <> (a.status IN ('confirmed', 'late', 'overpaid'))
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
            OR count(*) FILTER (WHERE a.status = 'overpaid' AND a.number = p.won_attempt) > 0
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
        GROUP BY p.book, p.id, p.captured_minor, p.refunded_minor, p.refunding_minor, p.charged_back_minor
        HAVING p.refunded_minor + p.refunding_minor + p.charged_back_minor > p.captured_minor
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
    """What was made good of a fee for what went back of an attempt follows from how much that is, or is to be."""
    rows = await connection.fetch(
        """
        WITH made_good AS (
            SELECT t.book, split_part(t.id, ':', 1) AS refund_id,
                sum(CASE WHEN t.rule IN ('channel_fee_returned', 'refund_cost', 'refund_cost_borne')
                    THEN t.amount_minor ELSE -t.amount_minor END) AS minor
            FROM transfer t
            WHERE t.rule IN (
                'channel_fee_returned', 'refund_cost', 'refund_cost_borne',
                'channel_fee_kept', 'refund_cost_undone', 'refund_cost_given_back'
            )
            GROUP BY 1, 2
        ), back AS (
            SELECT book, id, payment_id, attempt_number, amount_minor * (status <> 'failed')::int AS minor FROM refund
            UNION ALL
            SELECT book, id, payment_id, attempt_number, covered_minor * (status <> 'won')::int FROM chargeback
        ), given AS (
            SELECT r.book, r.payment_id, r.attempt_number, coalesce(sum(m.minor), 0) AS minor,
                sum(r.minor)::numeric AS live
            FROM back r LEFT JOIN made_good m ON m.book = r.book AND m.refund_id = r.id
            GROUP BY 1, 2, 3
        )
        SELECT g.book, g.payment_id, g.minor FROM given g
        JOIN attempt a ON a.book = g.book AND a.payment_id = g.payment_id AND a.number = g.attempt_number
        -- splitting.plans.arithmetic.fee_returned: in proportion, rounded half up
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
        WHERE a.status IN ('late', 'overpaid') AND (r.whole = 0 OR r.back <> a.captured_minor AND NOT coalesce(
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
            WHEN 'requires_capture' THEN a.status IS DISTINCT FROM 'authorized' OR a.capture_minor <> 0
                OR a.authorized_minor <> p.amount_minor OR p.captured_minor <> 0
            WHEN 'processing' THEN p.won_attempt <> 0 AND (a.status <> 'authorized' OR a.capture_minor = 0)
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
            ELSE status IN ('created', 'pending', 'unknown', 'authorized')
        END
        UNION ALL SELECT r.book, r.id FROM refund r WHERE CASE r.status
            WHEN 'processing' THEN r.due_at IS NULL
            WHEN 'failed' THEN r.due_at IS NOT NULL AND NOT EXISTS ( -- what goes back by itself is begun again
                SELECT FROM attempt a WHERE a.book = r.book AND a.payment_id = r.payment_id
                    AND a.number = r.attempt_number AND a.status IN ('late', 'overpaid')
            )
            -- paid under another number: its present one is asked about for a while
            ELSE r.due_at IS NOT NULL AND (r.paid_tries = 0 OR (r.paid_tries >> r.retry_count) & 1 = 1)
        END
        UNION ALL SELECT book, id FROM chargeback -- a rail that tells of it is asked; else a person records its end
        WHERE (due_at IS NOT NULL) <> (status = 'opened' AND recorded_by IS NULL)
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
    """What payees gave back of a payment is its refunds and chargebacks, less what was never shared of them."""
    rows = await connection.fetch(
        """
        SELECT p.book, p.id, t.taken_back, b.live - b.unshared AS due
        FROM payment p JOIN split s ON s.book = p.book AND s.payment_id = p.id AND s.status = 'posted'
        CROSS JOIN LATERAL (
            SELECT coalesce(sum((x.v ->> 2)::bigint), 0) AS taken_back FROM json_array_elements(s.shares) AS x(v)
        ) t CROSS JOIN LATERAL (
            -- splitting.plans.arithmetic.fee_returned: in proportion, rounded half up
            SELECT live, div(
                2 * (p.fee_minor + p.coupon_minor) * live + p.captured_minor, nullif(2 * p.captured_minor, 0)
            ) AS unshared
            FROM (SELECT (p.refunded_minor + p.refunding_minor + p.charged_back_minor)::numeric AS live) l
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
            UNION ALL
            SELECT c.book, c.id || e.ending, c.coupon_minor, e.rule FROM chargeback c
            JOIN (VALUES (':coupon', 'merchant_coupon_back'), (':won:coupon', 'merchant_coupon')) e (ending, rule)
                ON c.status = 'won' OR e.rule = 'merchant_coupon_back'
            WHERE c.coupon_minor > 0
        ) told FULL JOIN (
            SELECT book, replace(id, ':late:coupon', ':coupon') AS id, sum(amount_minor)::bigint AS amount_minor, rule
            FROM transfer WHERE rule IN ('merchant_coupon', 'merchant_coupon_back') GROUP BY 1, 2, 4
        ) booked USING (book, id, rule)
        WHERE told.coupon_minor IS DISTINCT FROM booked.amount_minor
        UNION ALL
        SELECT p.book, p.id FROM payment p
        LEFT JOIN attempt a ON a.book = p.book AND a.payment_id = p.id AND a.number = p.won_attempt
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(r.coupon_minor), 0) AS returned FROM (
                SELECT book, payment_id, attempt_number, coupon_minor FROM refund WHERE status = 'succeeded'
                UNION ALL
                SELECT book, payment_id, attempt_number, coupon_minor FROM chargeback WHERE status <> 'won'
            ) r WHERE r.book = p.book AND r.payment_id = p.id AND r.attempt_number = p.won_attempt
        ) r ON true
        WHERE p.coupon_minor <> coalesce(a.coupon_minor, 0) OR p.coupon_returned_minor <> r.returned
            OR p.coupon_returned_minor > p.coupon_minor OR p.coupon_minor > p.captured_minor
        """
    )
    return [f"book {r[0]} {r[1]}: its coupon and the journal differ" for r in rows]


async def chargebacks_match_the_journal(connection: Connection) -> list[str]:
    """What a chargeback took, and what came back of it, was booked: what the payment bears, the rest, and its fee.

    A payment's chargebacks that were not won are what it says they have taken. What no payment bears, and was not won,
    somebody has to decide about, or has.
    """
    rows = await connection.fetch(
        """
        WITH booked AS (
            SELECT book, split_part(id, ':', 1) AS id,
                coalesce(sum(amount_minor) FILTER (WHERE rule IN ('chargeback', 'chargeback_charged')), 0) AS borne,
                coalesce(sum(amount_minor) FILTER (WHERE rule = 'chargeback_won'), 0) AS won,
                coalesce(sum(CASE rule WHEN 'chargeback_beyond' THEN amount_minor
                    WHEN 'chargeback_charged' THEN -amount_minor END), 0) AS beyond,
                coalesce(sum(amount_minor) FILTER (WHERE rule = 'chargeback_beyond_back'), 0) AS beyond_back,
                coalesce(sum(amount_minor) FILTER (WHERE rule IN ('chargeback_fee', 'chargeback_fee_borne')), 0)
                    AS fee,
                coalesce(sum(amount_minor) FILTER (WHERE rule IN ('chargeback_fee_back', 'chargeback_fee_repaid')), 0)
                    AS fee_back
            FROM transfer WHERE starts_with(rule, 'chargeback') GROUP BY 1, 2
        )
        SELECT coalesce(c.book, b.book), coalesce(c.id, b.id) FROM chargeback c
        FULL JOIN booked b ON b.book = c.book AND b.id = c.id
        LEFT JOIN case_file f ON f.book = c.book AND f.kind = $1 AND f.about = c.id
        WHERE c.id IS NULL OR b.borne IS DISTINCT FROM c.covered_minor
            OR b.won <> CASE c.status WHEN 'won' THEN c.covered_minor ELSE 0 END
            OR b.beyond <> c.amount_minor - c.covered_minor
            OR b.beyond_back <> CASE c.status WHEN 'won' THEN c.amount_minor - c.covered_minor ELSE 0 END
            OR b.fee <> c.fee_minor OR b.fee_back <> c.fee_back_minor
            OR c.status <> 'won' AND c.covered_minor < c.amount_minor AND f.id IS NULL
        UNION
        SELECT p.book, p.id FROM payment p LEFT JOIN LATERAL (
            SELECT coalesce(sum(c.covered_minor), 0) AS taken FROM chargeback c
            WHERE c.book = p.book AND c.payment_id = p.id AND c.status <> 'won'
        ) c ON true WHERE p.charged_back_minor <> c.taken
        """,
        chargebacks.BEYOND,
    )
    return [f"book {r[0]} {r[1]}: what a chargeback took and the journal differ" for r in rows]


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
    "chargebacks_match_the_journal": chargebacks_match_the_journal,
    "refunds_paid_beyond_are_booked": refunds_paid_beyond_are_booked,
    "unwanted_money_goes_back": unwanted_money_goes_back,
    "reserved_money_is_not_booked": reserved_money_is_not_booked,
    "every_open_row_is_owned": every_open_row_is_owned,
    "succeeded_payments_have_their_event": succeeded_payments_have_their_event,
}
