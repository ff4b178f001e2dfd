"""Disputes 拒付: payers who have their bank take a payment back. Every method runs inside the caller's transaction.

A dispute that takes its money takes it at once, with the rail's fee for it, and gives it back when the merchant wins.
An inquiry takes none, and may become a dispute that does.
"""

from dataclasses import dataclass

from sandbox.acquirer import books
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.merchants import Merchants
from sandbox.acquirer.models import Reader, Trade
from sandbox.acquirer.notices import Notices
from sandbox.acquirer.trades import Trades
from sandbox.acquirer.wire import DisputeTold, Wire
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx

EVIDENCE_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute, as the books have it; the columns are explained in schema.sql."""

    dispute_id: int
    merchant: str
    trade_id: int
    dispute_ref: str
    amount: int
    fee: int
    fee_back: int
    reason: str
    status: str
    created_ms: int
    taken_ms: int | None
    due_ms: int
    ended_ms: int | None


class Disputes:
    """See the module."""

    def __init__(self, ctx: SandboxContext, wire: Wire, merchants: Merchants, trades: Trades, notices: Notices) -> None:
        self._ctx, self._wire, self._merchants, self._trades, self._notices = ctx, wire, merchants, trades, notices

    def find_by_ref(self, reader: Reader, dispute_ref: str) -> Dispute | None:
        """Return a dispute by the rail's number."""
        sql = "SELECT * FROM acquirer_dispute WHERE rail = ? AND dispute_ref = ?"
        return _read(reader.one(sql, self._wire.rail, dispute_ref))

    def of_trade(self, reader: Reader, trade: Trade) -> list[Dispute]:
        """Return the disputes of an order, oldest first."""
        sql = "SELECT * FROM acquirer_dispute WHERE trade_id = ? ORDER BY dispute_id"
        return [found for row in reader.all(sql, trade.trade_id) if (found := _read(row)) is not None]

    def holds(self, reader: Reader, trade: Trade) -> bool:
        """Tell whether a dispute has an order's money."""
        return any(one.status in ("open", "lost") for one in self.of_trade(reader, trade))

    def open(self, tx: Tx, trade: Trade, amount: int, reason: str, *, inquiry: bool) -> Dispute:
        """Have the payer dispute so much of an order. Raises CoreError (order_…, dispute_exceeds)."""
        if trade.state != "paid":
            raise CoreError(f"order_{trade.state}", f"order {trade.order} is {trade.state}, not paid", trade=trade)
        if not 0 < amount <= trade.paid:
            raise CoreError("dispute_exceeds", f"order {trade.order} was paid {trade.paid}", trade=trade)
        now_ms = self._ctx.clock.now_ms()
        row = tx.one(
            "INSERT INTO acquirer_dispute (rail, merchant, trade_id, dispute_ref, amount, fee, fee_back, reason,"
            " status, created_ms, due_ms) VALUES (?, ?, ?, '', ?, ?, 0, ?, 'inquiry', ?, ?) RETURNING dispute_id",
            *(self._wire.rail, trade.merchant, trade.trade_id, amount, self._wire.dispute_fee, reason, now_ms),
            now_ms + EVIDENCE_MS,
        )
        assert row is not None
        ref = self._wire.number("dispute", trade.merchant, row["dispute_id"], now_ms)
        tx.execute("UPDATE acquirer_dispute SET dispute_ref = ? WHERE dispute_id = ?", ref, row["dispute_id"])
        dispute = self._by_id(tx, row["dispute_id"])
        if inquiry:
            self._tell(tx, "created", trade, dispute)
            return dispute
        return self.take(tx, dispute, "created")

    def take(self, tx: Tx, dispute: Dispute, told: DisputeTold = "taken") -> Dispute:
        """Take a dispute's money. Raises CoreError (dispute_ended)."""
        self._must_be(dispute, "inquiry")
        now_ms, trade = self._ctx.clock.now_ms(), self._trades.by_id(tx, dispute.trade_id)
        day = books.bill_date(tx, self._wire.rail, trade.merchant, now_ms)
        tx.execute(
            "UPDATE acquirer_dispute SET status = 'open', taken_ms = ?, bill_date = ? WHERE dispute_id = ?",
            *(now_ms, day.isoformat(), dispute.dispute_id),
        )
        self._post(tx, trade, now_ms, ((books.DISPUTE, -dispute.amount), (books.DISPUTE_FEE, -dispute.fee)))
        dispute = self._by_id(tx, dispute.dispute_id)
        self._tell(tx, told, trade, dispute)
        return dispute

    def end(self, tx: Tx, dispute: Dispute, *, won: bool, fee_back: bool) -> Dispute:
        """Decide a dispute. Won: the merchant has its money again, and the fee where the rail is so. Raises CoreError.

        A lost one may be overturned: then it is won.
        """
        self._must_be(dispute, "open", *(("lost",) if won else ()))
        now_ms, trade = self._ctx.clock.now_ms(), self._trades.by_id(tx, dispute.trade_id)
        day = books.bill_date(tx, self._wire.rail, trade.merchant, now_ms)
        back = dispute.fee if won and fee_back else 0
        tx.execute(
            "UPDATE acquirer_dispute SET status = ?, ended_ms = ?, fee_back = ?, back_date = ? WHERE dispute_id = ?",
            *("won" if won else "lost", now_ms, back, day.isoformat() if won else None, dispute.dispute_id),
        )
        if won:
            self._post(tx, trade, now_ms, ((books.DISPUTE_WON, dispute.amount), (books.DISPUTE_FEE, back)))
        dispute = self._by_id(tx, dispute.dispute_id)
        self._tell(tx, "won" if won else "lost", trade, dispute)
        return dispute

    def _must_be(self, dispute: Dispute, *statuses: str) -> None:
        if dispute.status not in statuses:
            raise CoreError("dispute_ended", f"dispute {dispute.dispute_ref} is {dispute.status}")

    def _by_id(self, tx: Tx, dispute_id: int) -> Dispute:
        found = _read(tx.one("SELECT * FROM acquirer_dispute WHERE dispute_id = ?", dispute_id))
        assert found is not None
        return found

    def _post(self, tx: Tx, trade: Trade, now_ms: int, moves: tuple[tuple[str, int], ...]) -> None:
        day = books.bill_date(tx, self._wire.rail, trade.merchant, now_ms)
        for kind, amount in moves:
            books.post(
                tx, self._wire.rail, merchant=trade.merchant, currency=trade.currency, at_ms=now_ms, day=day,
                kind=kind, amount=amount, trade_id=trade.trade_id,
            )  # fmt: skip

    def _tell(self, tx: Tx, told: DisputeTold, trade: Trade, dispute: Dispute) -> None:
        """Write what the rail tells of it, to every address that asked for that."""
        merchant, now_ms = self._merchants.get(trade.merchant), self._ctx.clock.now_ms()
        for content in self._wire.dispute_contents(told, trade, dispute, now_ms):
            for hook in self._merchants.webhooks(tx, trade.merchant):
                if self._wire.wants(hook, content):
                    self._notices.write(
                        tx, "disputed", merchant, content, url=hook.url, order=trade.order,
                        refund=dispute.dispute_ref, webhook_id=hook.webhook_id,
                    )  # fmt: skip


def _read(row: Row | None) -> Dispute | None:
    return None if row is None else Dispute(*(row[name] for name in Dispute.__slots__))
