"""Reading what is frozen of shares and what payees owe, and the invariants of both. Writing goes through the lane."""

from datetime import date
from typing import NamedTuple

from kernel.db import Connection
from splitting.plans.tree import OWN
from splitting.tables import PayeeDebt, Split

_SPLIT = ", ".join(Split._fields)
_DEBT = ", ".join(PayeeDebt._fields)


class Debt(NamedTuple):
    """A payee's debt as it stands: what of it has not been recovered yet, in minor units."""

    row: PayeeDebt
    left_minor: int


async def debts(
    connection: Connection,
    book: int,
    *,
    payee_id: str | None = None,
    is_open: bool | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Debt]:
    """Return what payees owe or owed, newest first; those after debt `before` in that order.

    The oldest is recovered first, so what an account is below nothing now is of its newest debts. is_open: only those
    of which something is left, or of which nothing is. Costs the debts that are listed, those that are passed over,
    and the newer ones of their accounts.
    """
    rows = await connection.fetch(
        f"""
        SELECT {", ".join("d." + column for column in PayeeDebt._fields)}, stood.left_minor
        FROM payee_debt d JOIN account a ON a.book = d.book AND a.name = d.account CROSS JOIN LATERAL (
            SELECT greatest(0, least(
                d.amount_minor, a.debits - a.credits - coalesce(sum(newer.amount_minor), 0)
            ))::bigint AS left_minor
            FROM payee_debt newer WHERE newer.book = $1 AND newer.account = d.account AND newer.seq > d.seq
        ) stood
        WHERE d.book = $1 AND ($2::text IS NULL OR d.payee_id = $2)
            AND ($3::bool IS NULL OR (stood.left_minor > 0) = $3)
            AND ($4::text IS NULL OR d.seq < (SELECT seq FROM payee_debt WHERE book = $1 AND id = $4))
        ORDER BY d.seq DESC LIMIT $5
        """,
        book,
        payee_id,
        is_open,
        before,
        limit,
    )
    return [Debt(PayeeDebt(*row[:-1]), row[-1]) for row in rows]


async def find_debt(connection: Connection, book: int, debt_id: str) -> PayeeDebt | None:
    row = await connection.fetchrow(f"SELECT {_DEBT} FROM payee_debt WHERE book = $1 AND id = $2", book, debt_id)
    return PayeeDebt(*row) if row else None


class Due(NamedTuple):
    """A payment of whose shares something is to be released."""

    release_on: date
    book: int
    payment_id: str


async def due_for_release(connection: Connection, today: date, limit: int, *, after: Due | None = None) -> list[Due]:
    """Return up to `limit` payments of which something is released by `today`, the longest due first; those `after`."""
    rows = await connection.fetch(
        "SELECT release_on, book, payment_id FROM split WHERE release_on <= $1 AND (release_on, book, payment_id) > "
        "($3, $4, $5) ORDER BY release_on, book, payment_id LIMIT $2",
        today,
        limit,
        *(after or Due(date.min, 0, "")),
    )
    return [Due(*row) for row in rows]


async def frozen_splits(connection: Connection, book: int, limit: int) -> list[Split]:
    """Return the payments of a book of which shares are frozen, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_SPLIT} FROM split WHERE book = $1 AND frozen_minor > 0 ORDER BY payment_id LIMIT $2", book, limit
    )
    return [Split(*row) for row in rows]


async def shares_match_the_journal(connection: Connection) -> list[str]:
    """What each share was given, froze and gave back is what the journal moved; of a plan that waits nothing has."""
    rows = await connection.fetch(
        """
        WITH frozen AS (
            SELECT s.book, s.payment_id || ':' || (x.v ->> 0) AS share, sum((x.v ->> 2)::bigint) AS given,
                sum((x.v ->> 3)::bigint) AS taken
            FROM split s CROSS JOIN LATERAL json_array_elements(s.frozen) AS x(v) GROUP BY 1, 2
        ), shared AS (
            SELECT s.book, s.payment_id || ':' || (x.n - 1) AS share, (x.v ->> 1)::bigint AS given,
                (x.v ->> 2)::bigint AS back
            FROM split s CROSS JOIN LATERAL json_array_elements(s.shares) WITH ORDINALITY AS x(v, n)
            WHERE s.status = 'posted' AND (x.v ->> 0 <> $1 OR s.own_payee IS NOT NULL)
        ), given AS (
            SELECT book, replace(id, ':share:', ':') AS share, sum(amount_minor) AS given FROM transfer
            WHERE rule IN ('share', 'commission') AND id LIKE 'pay%:share:%' GROUP BY 1, 2
        ), back AS (
            SELECT t.book, r.payment_id || ':' || substring(t.id FROM '[0-9]+$') AS share,
                sum(CASE WHEN t.rule IN ('share', 'commission') THEN -t.amount_minor ELSE t.amount_minor END) AS back
            FROM transfer t JOIN (
                SELECT book, id, payment_id FROM refund UNION ALL SELECT book, id, payment_id FROM chargeback
            ) r ON r.book = t.book AND r.id = split_part(t.id, ':', 1)
            WHERE t.rule IN ('share', 'commission', 'share_taken_back', 'commission_taken_back')
                AND (t.id LIKE 're%' OR t.id LIKE 'cbk%') GROUP BY 1, 2
        )
        SELECT coalesce(s.book, g.book, b.book, f.book), coalesce(s.share, g.share, b.share, f.share)
        FROM shared s FULL JOIN given g ON g.book = s.book AND g.share = s.share
        FULL JOIN back b ON b.book = coalesce(s.book, g.book) AND b.share = coalesce(s.share, g.share)
        FULL JOIN frozen f ON f.book = coalesce(s.book, g.book, b.book)
            AND f.share = coalesce(s.share, g.share, b.share)
        WHERE coalesce(s.given, 0) <> coalesce(g.given, 0) + coalesce(f.given, 0)
            OR coalesce(s.back, 0) <> coalesce(b.back, 0) + coalesce(f.taken, 0)
        """,
        OWN,
    )
    return [f"book {r[0]} {r[1]}: the share and the journal differ" for r in rows]


async def frozen_shares_are_held(connection: Connection) -> list[str]:
    """What is frozen of a share is held in the ledger, what was released of it was posted once, and nothing else is."""
    rows = await connection.fetch(
        """
        WITH part AS (
            SELECT s.book, s.payment_id, s.payment_id || ':frozen:' || (x.v ->> 0) || ':' || (x.v ->> 1) AS id,
                (x.v ->> 2)::bigint - (x.v ->> 3)::bigint AS minor, x.v ->> 5 AS due_on, x.v ->> 6 AS released_on,
                x.v ->> 7 AS version
            FROM split s CROSS JOIN LATERAL json_array_elements(s.frozen) AS x(v)
        ), held AS (
            SELECT book, split_part(id, '.', 1) AS id, sum(amount_minor) FILTER (WHERE state = 'held') AS held,
                sum(posted_minor) AS posted
            FROM hold WHERE id LIKE 'pay%:frozen:%' GROUP BY 1, 2
        )
        SELECT coalesce(p.book, h.book), coalesce(p.id, h.id) FROM part p
        FULL JOIN held h ON h.book = p.book AND h.id = p.id
        WHERE coalesce(h.held, 0) <> CASE WHEN p.released_on IS NULL THEN coalesce(p.minor, 0) ELSE 0 END
            OR coalesce(h.posted, 0) <> CASE WHEN p.released_on IS NULL THEN 0 ELSE p.minor END
        UNION
        SELECT s.book, s.payment_id FROM split s LEFT JOIN part p ON p.book = s.book AND p.payment_id = s.payment_id
        GROUP BY s.book, s.payment_id, s.frozen_minor, s.release_on
        HAVING s.frozen_minor <> coalesce(sum(p.minor) FILTER (WHERE p.released_on IS NULL), 0)
            OR s.release_on IS DISTINCT FROM (min(p.due_on) FILTER (WHERE p.released_on IS NULL))::date
        """
    )
    return [f"book {r[0]} {r[1]}: what is frozen of it and what is held differ" for r in rows]


async def debts_match_the_journal(connection: Connection) -> list[str]:
    """Every debt is of a taking back in the journal, of the same account, and is no more than was taken."""
    rows = await connection.fetch(
        """
        SELECT d.book, d.id FROM payee_debt d LEFT JOIN transfer t ON t.book = d.book AND t.id = d.transfer_id
            AND t.rule IN ('share_taken_back', 'commission_taken_back', 'refund_cost_borne', 'chargeback_fee_borne')
            AND t.step IN ('post', 'post_hold')
        WHERE t.debit IS DISTINCT FROM d.account OR t.seq <> d.seq OR d.amount_minor > t.amount_minor
            OR d.amount_minor < least(t.amount_minor, d.owed_minor)
        """
    )
    return [f"book {r[0]} {r[1]}: the debt and what was taken back differ" for r in rows]


async def debts_cover_what_payees_lack(connection: Connection) -> list[str]:
    """What a payee's account is below nothing, its debts account for: they alone have made it more."""
    rows = await connection.fetch(
        """
        WITH told AS (
            SELECT book, account, amount_minor, owed_minor,
                coalesce(lag(owed_minor) OVER older, 0) AS before,
                seq = max(seq) OVER (PARTITION BY book, account) AS last
            FROM payee_debt WINDOW older AS (PARTITION BY book, account ORDER BY seq)
        )
        SELECT book, account FROM told WHERE owed_minor > before + amount_minor
        UNION
        SELECT a.book, a.name FROM account a LEFT JOIN told t ON t.book = a.book AND t.account = a.name AND t.last
        WHERE (a.name LIKE 'payee:%' OR a.name LIKE 'platform\\_fee:%')
            AND a.debits - a.credits > coalesce(t.owed_minor, 0)
        ORDER BY 1, 2
        """
    )
    return [f"book {r[0]} {r[1]}: it is below nothing by more than its debts say" for r in rows]


INVARIANTS = {
    "shares_match_the_journal": shares_match_the_journal,
    "frozen_shares_are_held": frozen_shares_are_held,
    "debts_match_the_journal": debts_match_the_journal,
    "debts_cover_what_payees_lack": debts_cover_what_payees_lack,
}
