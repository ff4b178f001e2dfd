"""Reading when payees are paid, and whether the money of a batch is there. Writing goes through the commit lane."""

from kernel.db import Connection
from ledger import accounts
from splitting.tables import PayoutSchedule, Settlement

_SCHEDULE = ", ".join(PayoutSchedule._fields)


async def payout_schedules(connection: Connection, book: int) -> list[PayoutSchedule]:
    """Return every schedule of a book, each bank's default before its payees'."""
    rows = await connection.fetch(
        f"SELECT {_SCHEDULE} FROM payout_schedule WHERE book = $1 ORDER BY bank, payee_id", book
    )
    return [PayoutSchedule(*row) for row in rows]


async def lacking(connection: Connection, settlement: Settlement) -> int:
    """Return how many minor units the pool account lacks for a batch, as the book knows it; 0 where it has them.

    What is at the bank, less what sub-accounts have, is for the batches that were made, oldest first. 0 too where a
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


INVARIANTS = {"refused_batches_are_asked_about": refused_batches_are_asked_about}
