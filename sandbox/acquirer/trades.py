"""Orders and how they become held, paid, closed or reversed. Every method runs inside the caller's transaction.

States: open → held | paid | closed; held → paid | closed (voided); paid → reversed. A payer is charged in `_take_money`
and nowhere else, and only from open or held. A repeated step that has been done changes nothing.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from sandbox import coupons
from sandbox.acquirer import books
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.models import Event, Merchant, Reader, Trade, read_trade
from sandbox.acquirer.notices import Notices
from sandbox.acquirer.wire import Wire
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx

NUMBERS = ("trade_ref", "hold_ref", "charge_ref", "token")


class Trades:
    """See the module."""

    def __init__(self, ctx: SandboxContext, wire: Wire, notices: Notices) -> None:
        self._ctx, self._wire, self._notices = ctx, wire, notices

    # ---- looking -----------------------------------------------------------------------------------------------------

    def find(self, reader: Reader, merchant: str, order: str) -> Trade | None:
        """Return a merchant's order by the merchant's number."""
        sql = "SELECT * FROM acquirer_trade WHERE rail = ? AND merchant = ? AND order_no = ?"
        return self._read(reader.one(sql, self._wire.rail, merchant, order))

    def get(self, reader: Reader, merchant: str, order: str) -> Trade:
        """Return a merchant's order. Raises order_unknown."""
        trade = self.find(reader, merchant, order)
        if trade is None:
            raise CoreError("order_unknown", f"merchant {merchant} has no order {order}")
        return trade

    def find_by(self, reader: Reader, column: str, value: str) -> Trade | None:
        """Return the order with one of the rail's numbers. column: trade_ref, hold_ref, charge_ref or token."""
        if column not in NUMBERS:
            raise ValueError(column)
        sql = f"SELECT * FROM acquirer_trade WHERE rail = ? AND {column} = ?"
        return self._read(reader.one(sql, self._wire.rail, value))

    def by_id(self, reader: Reader, trade_id: int) -> Trade:
        """Return an order that exists."""
        trade = self._read(reader.one("SELECT * FROM acquirer_trade WHERE trade_id = ?", trade_id))
        assert trade is not None
        return trade

    def of_merchant(self, reader: Reader, merchant: str) -> list[Trade]:
        """Return all of a merchant's orders, oldest first."""
        sql = "SELECT * FROM acquirer_trade WHERE rail = ? AND merchant = ? ORDER BY trade_id"
        now_ms = self._ctx.clock.now_ms()
        return [read_trade(row, now_ms) for row in reader.all(sql, self._wire.rail, merchant)]

    def charged_count(self, reader: Reader, trade: Trade) -> int:
        """Return how often the payer was charged, as the fund flow says."""
        sql = "SELECT count(*) AS times FROM acquirer_flow WHERE trade_id = ? AND kind = ?"
        row = reader.one(sql, trade.trade_id, books.PAYMENT)
        assert row is not None
        return int(row["times"])

    # ---- the merchant ------------------------------------------------------------------------------------------------

    def create(
        self,
        tx: Tx,
        merchant: Merchant,
        *,
        order: str,
        amount: int,
        currency: str,
        product: str,
        params: str,
        expires_ms: int | None = None,
        notify_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        hold: bool = False,
    ) -> tuple[Trade, bool]:
        """Record an order for the payer to pay; return it, and whether it is new.

        The same params again return the same order, whatever has become of it; others raise order_conflict. params:
        canonical text of what a repetition must be equal in. hold: the money is to be reserved first.
        """
        old = self.find(tx, merchant.merchant, order)
        if old is not None:
            if (old.product, old.params) != (product, params):
                raise CoreError("order_conflict", f"order {order} exists with other parameters", trade=old)
            return old, False
        now_ms, token = self._ctx.clock.now_ms(), secrets.token_hex(17)
        row = tx.one(
            "INSERT INTO acquirer_trade (rail, merchant, order_no, product, params, amount, currency, fee_bp,"
            " fixed_fee_minor, hold, notify_url, token, extra, state, created_ms, expires_ms, trade_ref)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?) RETURNING trade_id",
            *(self._wire.rail, merchant.merchant, order, product, params, amount, currency, merchant.fee_bp),
            *(merchant.fixed_fee_minor, hold, notify_url, token, _json(extra or {}), now_ms, expires_ms, token),
        )
        assert row is not None
        trade_ref = self._wire.number("trade", merchant.merchant, row["trade_id"], now_ms)
        trade = self._set(tx, row["trade_id"], trade_ref=trade_ref)
        self.tell(tx, "created", trade)
        return trade, True

    def close(self, tx: Tx, trade: Trade) -> Trade:
        """Close an unpaid order 关单; closing it again does nothing. Raises order_paid, order_held, order_reversed."""
        if trade.state == "closed":
            return trade
        if trade.state != "open":
            raise CoreError(f"order_{trade.state}", f"order {trade.order} is {trade.state}", trade=trade)
        return self._close(tx, trade, "merchant", "closed")

    def capture(
        self, tx: Tx, trade: Trade, amount: int | None = None, *, extra: Mapping[str, Any] | None = None
    ) -> Trade:
        """Take reserved money 预授权完成, all of it or `amount`; what is left is released. Once.

        The same amount again returns the same. Raises capture_conflict, capture_exceeds, order_open, order_closed.
        """
        wanted = trade.amount if amount is None else amount
        if trade.state == "paid" and trade.hold_ref is not None:
            if trade.paid == wanted:
                return trade
            raise CoreError("capture_conflict", f"{trade.paid} of order {trade.order} was captured", trade=trade)
        if trade.state != "held":
            raise CoreError(f"order_{trade.state}", f"order {trade.order} is {trade.state}, not held", trade=trade)
        if not 0 < wanted <= trade.amount:
            raise CoreError("capture_exceeds", f"{wanted} is not within the {trade.amount} held", trade=trade)
        return self._take_money(tx, trade, wanted, trade.payer, extra)

    def void(self, tx: Tx, trade: Trade) -> Trade:
        """Release reserved money 预授权撤销; again does nothing. Raises order_open, order_paid, order_reversed."""
        if trade.state == "closed" and trade.hold_ref is not None:
            return trade
        if trade.state != "held":
            raise CoreError(f"order_{trade.state}", f"order {trade.order} is {trade.state}, not held", trade=trade)
        return self._close(tx, trade, "voided", "voided")

    def mark_reversed(self, tx: Tx, trade: Trade) -> Trade:
        """Write that a paid order was undone; `Refunds.reverse` gives the money back."""
        return self._set(tx, trade.trade_id, state="reversed")

    def note(self, tx: Tx, trade: Trade, **extra: Any) -> Trade:
        """Add to the rail's own `extra` of an order."""
        return self._set(tx, trade.trade_id, extra=_json({**trade.extra, **extra}))

    # ---- the payer ---------------------------------------------------------------------------------------------------

    def approve(self, tx: Tx, trade: Trade, payer: str, *, expires_ms: int) -> Trade:
        """Write that the payer agrees to an open order, on rails where the merchant takes the money then.

        Raises like charge.
        """
        self._require_open(trade)
        extra = _json({**trade.extra, "approved": True})
        approved = self._set(tx, trade.trade_id, payer=payer, refusal=None, expires_ms=expires_ms, extra=extra)
        self.tell(tx, "approved", approved)
        return approved

    def charge(self, tx: Tx, trade: Trade, payer: str | None, *, extra: Mapping[str, Any] | None = None) -> Trade:
        """Take the payer's money for an open order. Raises order_paid, order_held, order_closed, order_reversed."""
        self._require_open(trade)
        return self._take_money(tx, trade, trade.amount, payer or trade.payer, extra)

    def hold(
        self,
        tx: Tx,
        trade: Trade,
        payer: str | None,
        *,
        expires_ms: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Trade:
        """Reserve the payer's money for an open order; it lapses at `expires_ms`, if ever. Raises like charge."""
        self._require_open(trade)
        now_ms = self._ctx.clock.now_ms()
        hold_ref = self._wire.number("hold", trade.merchant, trade.trade_id, now_ms)
        held = self._set(
            tx,
            trade.trade_id,
            state="held",
            hold_ref=hold_ref,
            held_ms=now_ms,
            expires_ms=expires_ms,
            payer=payer or trade.payer,
            refusal=None,
            extra=_json({**trade.extra, **(extra or {})}),
        )
        self.tell(tx, "held", held)
        return held

    def decline(self, tx: Tx, trade: Trade, *, final: bool, refusal: str = "declined") -> Trade:
        """Let the payer's try fail; final: the order ends with it. Raises like charge."""
        self._require_open(trade)
        declined = self._set(tx, trade.trade_id, refusal=refusal)
        if final:
            return self._close(tx, declined, "declined", "declined")
        self.tell(tx, "declined", declined)
        return declined

    # ---- time --------------------------------------------------------------------------------------------------------

    def expire_due(self, tx: Tx) -> None:
        """Close every order whose time is over."""
        now_ms = self._ctx.clock.now_ms()
        sql = "SELECT * FROM acquirer_trade WHERE rail = ? AND expires_ms <= ?"
        for row in tx.all(sql, self._wire.rail, now_ms):
            self._close(tx, read_trade(row, 0), "expired", "voided" if row["state"] == "held" else "closed")

    # ---- shared ------------------------------------------------------------------------------------------------------

    def tell(self, tx: Tx, event: Event, trade: Trade) -> None:
        """Write the notices of an event, if the rail sends any for it."""
        self._notices.tell(tx, event, trade, None)

    def add_refunded(self, tx: Tx, trade: Trade, amount: int) -> Trade:
        """Change how much of an order has gone back."""
        return self._set(tx, trade.trade_id, refunded=trade.refunded + amount)

    def _take_money(
        self, tx: Tx, trade: Trade, amount: int, payer: str | None, extra: Mapping[str, Any] | None
    ) -> Trade:
        """Charge the payer: state, numbers, fee and fund flow in one step."""
        now_ms, rail = self._ctx.clock.now_ms(), self._wire.rail
        rates = tx.one("SELECT fee_bp, fixed_fee_minor FROM acquirer_trade WHERE trade_id = ?", trade.trade_id)
        assert rates is not None
        day = books.bill_date(tx, rail, trade.merchant, now_ms)
        used = coupons.use(tx, rail, trade.merchant, trade.order, amount) if self._wire.has_coupons else []
        arrives = amount - coupons.total_of(used, "merchant")
        fee = books.fee_of(arrives, rates["fee_bp"], rates["fixed_fee_minor"])
        charged = self._set(
            tx,
            trade.trade_id,
            state="paid",
            paid=amount,
            fee=fee,
            payer=payer,
            refusal=None,
            expires_ms=None,
            paid_ms=now_ms,
            bill_date=day.isoformat(),
            charge_ref=self._wire.number("charge", trade.merchant, trade.trade_id, now_ms),
            extra=_json({**trade.extra, **(extra or {}), **({"coupons": used} if used else {})}),
        )
        for kind, signed in ((books.PAYMENT, arrives), (books.FEE, -fee)):
            books.post(
                tx,
                rail,
                merchant=trade.merchant,
                currency=trade.currency,
                at_ms=now_ms,
                day=day,
                kind=kind,
                amount=signed,
                trade_id=trade.trade_id,
            )
        self.tell(tx, "paid", charged)
        return charged

    def _close(self, tx: Tx, trade: Trade, closed_by: str, event: Event) -> Trade:
        closed = self._set(tx, trade.trade_id, state="closed", closed_by=closed_by, expires_ms=None)
        self.tell(tx, event, closed)
        return closed

    def _set(self, tx: Tx, trade_id: int, **columns: Any) -> Trade:
        names = ", ".join(f"{name} = ?" for name in columns)
        tx.execute(f"UPDATE acquirer_trade SET {names} WHERE trade_id = ?", *columns.values(), trade_id)
        return self.by_id(tx, trade_id)

    def _require_open(self, trade: Trade) -> None:
        if trade.state != "open":
            raise CoreError(
                f"order_{trade.state}", f"order {trade.order} is {trade.state}, not open for payment", trade=trade
            )

    def _read(self, row: Row | None) -> Trade | None:
        return None if row is None else read_trade(row, self._ctx.clock.now_ms())


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True)
