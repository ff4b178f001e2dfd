"""Reading when payees are paid, and whether the money of a batch is there. Writing goes through the commit lane."""

from collections.abc import Mapping, Sequence
from datetime import date

from kernel.db import Connection
from ledger import accounts
from splitting.settlement import limits
from splitting.store import OWED_IN, PAID_OUT, Owed
from splitting.tables import PayoutReserve, PayoutSchedule, Settlement

EVERYBODY = ""  # stands for the payee in a bank's default
_RESERVE = ", ".join(PayoutReserve._fields)
_SCHEDULE = ", ".join(PayoutSchedule._fields)


async def payout_schedules(connection: Connection, book: int) -> list[PayoutSchedule]:
    """Return every schedule of a book, each bank's default before its payees'."""
    rows = await connection.fetch(
        f"SELECT {_SCHEDULE} FROM payout_schedule WHERE book = $1 ORDER BY bank, payee_id", book
    )
    return [PayoutSchedule(*row) for row in rows]


async def payout_reserves(connection: Connection, book: int, bank: str | None = None) -> list[PayoutReserve]:
    """Return every reserve of a book, or at one bank, each bank's default before its payees'."""
    rows = await connection.fetch(
        f"SELECT {_RESERVE} FROM payout_reserve WHERE book = $1 AND ($2::text IS NULL OR bank = $2) "
        "ORDER BY bank, payee_id",
        book,
        bank,
    )
    return [PayoutReserve(*row) for row in rows]


async def less_reserves(
    connection: Connection, book: int, bank: str, currency: str, day: date, owed: Sequence[Owed]
) -> list[Owed]:
    """Return what payees are owed without what is kept of it on a business date 保证金.

    The bank's default is for all but the platform. Costs the dates that the reserves keep anything of.
    """
    rows = {row.payee_id: row for row in await payout_reserves(connection, book, bank)}
    if not rows:
        return list(owed)
    of: dict[str, limits.Reserve] = {}
    platform = await _of_the_platform(connection, book, [one.payee_id for one in owed])
    for one in owed:
        row = rows.get(one.payee_id) or (None if one.payee_id in platform else rows.get(EVERYBODY))
        if row is not None:
            of[one.payee_id] = limits.Reserve(row.fixed_minor, row.rolling_bp, row.rolling_days)
    earned = await earned_on(connection, book, currency, day, {payee: one.rolling_days for payee, one in of.items()})
    found = []
    for one in owed:
        kept = 0 if one.payee_id not in of else limits.kept(of[one.payee_id], earned.get(one.payee_id, ()))
        found.append(one._replace(minor=one.minor - kept, kept=kept))
    return found


async def _of_the_platform(connection: Connection, book: int, ids: Sequence[str]) -> set[str]:
    """Return which of some payees are the platform."""
    rows = await connection.fetch(
        "SELECT id FROM payee WHERE book = $1 AND id = ANY($2::text[]) AND kind = 'platform'", book, list(ids)
    )
    return {row[0] for row in rows}


async def earned_on(
    connection: Connection, book: int, currency: str, day: date, days: Mapping[str, int]
) -> dict[str, list[int]]:
    """Return what payees earned on each of the last so many dates up to a day, less what was taken back on it.

    days: payee's id → how many.
    """
    asked = {payee: count for payee, count in days.items() if count}
    rows = await connection.fetch(
        f"""
        WITH p AS (
            SELECT payee.id, a.days, {OWED_IN} AS account FROM payee
            JOIN unnest($2::text[], $3::int[]) AS a (payee_id, days) ON a.payee_id = payee.id
            WHERE book = $1 AND currency = $6
        )
        SELECT p.id, sum(d.credits - d.debits)::bigint FROM p
        CROSS JOIN LATERAL (
            SELECT business_date, credits, debits FROM day_sum WHERE book = $1 AND account = p.account
                AND business_date > $4::date - p.days AND business_date <= $4 AND rule <> ALL($5::text[]) OFFSET 0
        ) d GROUP BY p.id, d.business_date
        """,
        book,
        list(asked),
        list(asked.values()),
        day,
        sorted(PAID_OUT),
        currency,
    )
    found: dict[str, list[int]] = {}
    for payee, minor in rows:
        found.setdefault(payee, []).append(minor)
    return found


async def lacking(connection: Connection, settlement: Settlement) -> int:
    """Return how many minor units the pool account lacks for a batch, as the book knows it; 0 where it has them.

    What is at the bank, less what sub-accounts have, is for the batches that were made, oldest first. Not so what is in
    suspense 挂账, which is nobody's until people decide; but a rail's deposit that awaits its bill is. 0 too where a
    batch need not wait for deposits.
    """
    found: int | None = await connection.fetchval(
        """
        SELECT greatest(0, coalesce((
            SELECT credits - debits FROM account WHERE book = $1 AND name = $5
        ), 0) - coalesce(sum(s.total_minor) FILTER (
            WHERE s.status IN ('draft', 'awaiting_release', 'created', 'refused') AND (s.created_at, s.id) > ($6, $7)
        ), 0) + coalesce(sum(s.paid_minor - s.returned_minor), 0) - coalesce((
            SELECT debits - credits FROM account WHERE book = $1 AND name = $4
        ), 0) - coalesce((
            SELECT sum(credits - debits) FROM day_sum WHERE book = $1 AND account = $4
                AND rule IN ('withdrawal', 'withdrawal_returned')
        ), 0) + coalesce((
            SELECT sum(amount_minor) FROM case_file WHERE book = $1 AND kind = 'money_in_suspense' AND status = 'open'
                AND currency = $3 AND facts ->> 'bank' = $2 AND amount_minor > 0
                AND facts ->> 'awaits_bill' IS DISTINCT FROM 'true'
        ), 0))::bigint
        FROM payout_bank b JOIN settlement s ON s.book = b.book AND s.bank = b.bank AND s.currency = $3
        WHERE b.book = $1 AND b.bank = $2 AND b.only_deposited HAVING count(*) > 0
        """,
        settlement.book,
        settlement.bank,
        settlement.currency,
        accounts.bank(settlement.bank, settlement.currency),
        accounts.in_transit(settlement.bank, settlement.currency),
        settlement.created_at,
        settlement.id,
    )
    return found or 0


async def sent_to(connection: Connection, book: int, bank: str) -> list[str]:
    """Return the ids of a bank's batches that are not decided and that it has, or may have, oldest first."""
    rows = await connection.fetch(
        "SELECT id FROM settlement WHERE book = $1 AND bank = $2 "
        "AND status IN ('created', 'refused', 'cancelled', 'sent') ORDER BY created_at, id",
        book,
        bank,
    )
    return [row[0] for row in rows]


async def refused_batches_are_asked_about(connection: Connection) -> list[str]:
    """Every batch that its bank refused as a whole has a case that asks what becomes of it."""
    rows = await connection.fetch(
        """
        SELECT s.book, s.id FROM settlement s WHERE s.status = 'refused' AND NOT EXISTS (
            SELECT FROM case_file c WHERE c.book = s.book AND c.kind = 'settlement_refused' AND c.about = s.id
                AND c.status = 'open'
        )
        """
    )
    return [f"book {r[0]} {r[1]}: the bank refused the batch, and nobody is asked about it" for r in rows]


async def suspense_is_asked_about(connection: Connection) -> list[str]:
    """Whatever a booking put in suspense has a case that says so."""
    rows = await connection.fetch(
        """
        SELECT t.book, t.id FROM transfer t
        WHERE t.rule IN ('unidentified_in', 'unidentified_out') AND t.id NOT LIKE '%:cleared' AND NOT EXISTS (
            SELECT FROM case_file c WHERE c.book = t.book AND c.kind = 'money_in_suspense' AND c.about = t.id
        )
        """
    )
    return [f"book {r[0]} {r[1]}: it is in suspense, and nobody is asked about it" for r in rows]


async def suspense_leaves_with_its_case(connection: Connection) -> list[str]:
    """What a booking put in suspense is there until its case is decided, and has left it then, once and whole.

    But for what a rail's bill says is whose: that has left it as the case says, and the case is about the rest.
    """
    rows = await connection.fetch(
        """
        SELECT c.book, c.about FROM case_file c
        LEFT JOIN transfer t ON t.book = c.book AND t.id = c.about
        LEFT JOIN transfer x ON x.book = c.book AND x.id = c.about || ':cleared'
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(p.value::bigint), 0) AS minor, coalesce(sum(
                CASE s.rule WHEN 'suspense_to_channel' THEN s.amount_minor ELSE -s.amount_minor END
            ), 0) AS booked
            FROM json_each_text(c.facts -> 'shared') p LEFT JOIN transfer s ON s.book = c.book
                AND s.id = concat('shr:', c.facts ->> 'reference', ':', c.currency, ':', p.key)
                AND s.posting = c.about || ':shared'
        ) p
        WHERE c.kind = 'money_in_suspense' AND (
            CASE t.rule WHEN 'unidentified_in' THEN t.amount_minor ELSE -t.amount_minor END
                IS DISTINCT FROM c.amount_minor + p.booked
            OR p.minor <> p.booked
            OR coalesce(x.amount_minor, 0) <> CASE c.status WHEN 'open' THEN 0 ELSE abs(c.amount_minor) END
        )
        """
    )
    return [f"book {r[0]} {r[1]}: its case and what is in suspense of it differ" for r in rows]


INVARIANTS = {
    "refused_batches_are_asked_about": refused_batches_are_asked_about,
    "suspense_is_asked_about": suspense_is_asked_about,
    "suspense_leaves_with_its_case": suspense_leaves_with_its_case,
}
