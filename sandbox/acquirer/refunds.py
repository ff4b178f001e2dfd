"""Refunds 退款 and reversals 撤销. Every method runs inside the caller's transaction."""

import json
from collections.abc import Mapping
from typing import Any

from sandbox import coupons
from sandbox.acquirer import books
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.merchants import Merchants
from sandbox.acquirer.models import Reader, Refund, Trade, read_refund
from sandbox.acquirer.notices import Notices
from sandbox.acquirer.trades import Trades
from sandbox.acquirer.wire import Wire
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx

MATCH_KEYS = ("merchant", "order", "refund")


class Refunds:
    """See the module."""

    def __init__(self, ctx: SandboxContext, wire: Wire, merchants: Merchants, trades: Trades, notices: Notices) -> None:
        self._ctx, self._wire, self._merchants, self._trades, self._notices = ctx, wire, merchants, trades, notices
        self._failing = wire.refund_waits or "refund_failed"
        ctx.faults.declare(wire.rail, [self._failing], MATCH_KEYS)
        if wire.refund_returns_after_s is not None:
            ctx.faults.declare(wire.rail, ["refund_comes_back"], MATCH_KEYS)

    def find(self, reader: Reader, merchant: str, order: str) -> Refund | None:
        """Return a refund by the merchant's number."""
        sql = "SELECT * FROM acquirer_refund WHERE rail = ? AND merchant = ? AND refund_no = ?"
        return _read(reader.one(sql, self._wire.rail, merchant, order))

    def find_by_ref(self, reader: Reader, refund_ref: str) -> Refund | None:
        """Return a refund by the rail's number."""
        sql = "SELECT * FROM acquirer_refund WHERE rail = ? AND refund_ref = ?"
        return _read(reader.one(sql, self._wire.rail, refund_ref))

    def of_trade(self, reader: Reader, trade: Trade) -> list[Refund]:
        """Return the refunds of an order, oldest first."""
        sql = "SELECT * FROM acquirer_refund WHERE trade_id = ? ORDER BY refund_id"
        return [read_refund(row) for row in reader.all(sql, trade.trade_id)]

    def create(
        self,
        tx: Tx,
        trade: Trade,
        *,
        order: str,
        amount: int,
        params: str,
        reason: str = "",
        notify_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> tuple[Refund, bool]:
        """Accept a refund and take the money from the merchant; return it, and whether it is new.

        The same params again return the same refund; others raise refund_conflict. It is done after the rail's
        `refund_takes_s`, or at once where that is 0. Raises order_open, order_closed, order_reversed, refund_exceeds.
        """
        old = self.find(tx, trade.merchant, order)
        if old is not None:
            if (old.params, old.trade_id) != (params, trade.trade_id):
                raise CoreError("refund_conflict", f"refund {order} exists with other parameters", refund=old)
            return old, False
        if trade.state != "paid":
            raise CoreError(f"order_{trade.state}", f"order {trade.order} is {trade.state}, not paid", trade=trade)
        if not 0 < amount <= trade.paid - trade.refunded:
            left = trade.paid - trade.refunded
            raise CoreError("refund_exceeds", f"{left} of order {trade.order} can still be refunded", trade=trade)
        refund = self._give_back(
            tx, trade, amount, order=order, params=params, reason=reason, notify_url=notify_url, extra=extra or {}
        )
        return (self._end(tx, refund) if self._wire.refund_takes_s == 0 else refund), True

    def reverse(self, tx: Tx, trade: Trade) -> Trade:
        """Undo an order whatever its state: close it, release what is held, or give back what was paid. Again: nothing.

        Raises refund_exceeds for a paid order of which a part went back already.
        """
        if trade.state in ("closed", "reversed"):
            return trade
        if trade.state == "held":
            return self._trades.void(tx, trade)
        if trade.state == "open":
            return self._trades.close(tx, trade)
        if trade.refunded:
            raise CoreError("refund_exceeds", f"a part of order {trade.order} was refunded", trade=trade)
        refund = self._give_back(tx, trade, trade.paid, order=None, params="", reason="", notify_url=None, extra={})
        self._finish(tx, refund, "success")
        reversed_trade = self._trades.mark_reversed(tx, self._trades.by_id(tx, trade.trade_id))
        self._trades.tell(tx, "reversed", reversed_trade)
        return reversed_trade

    def send_on(self, tx: Tx, refund: Refund) -> Refund:
        """Send a failed refund whose money waits (Wire.refund_waits) on its way again."""
        return self._set(tx, refund.refund_id, status="pending", settles_ms=self._settles_ms())

    def end_due(self, tx: Tx) -> None:
        """End every refund whose time has come."""
        sql = "SELECT * FROM acquirer_refund WHERE rail = ? AND settles_ms <= ? ORDER BY settles_ms, refund_id"
        for row in tx.all(sql, self._wire.rail, self._ctx.clock.now_ms()):
            self._end(tx, read_refund(row))
        sql = (
            "SELECT r.* FROM acquirer_return b JOIN acquirer_refund r USING (refund_id)"
            " WHERE b.rail = ? AND b.due_ms <= ? ORDER BY b.due_ms, b.refund_id"
        )
        for row in tx.all(sql, self._wire.rail, self._ctx.clock.now_ms()):
            self._come_back(tx, read_refund(row))

    def _end(self, tx: Tx, refund: Refund) -> Refund:
        """End a pending refund: the payer has the money, or cannot have it, and the merchant has it, or it waits."""
        trade = self._trades.by_id(tx, refund.trade_id)
        facts = {"merchant": refund.merchant, "order": trade.order, "refund": refund.order or ""}
        failed = self._ctx.faults.take(self._wire.rail, self._failing, **facts) is not None
        ended = self._finish(tx, refund, "failed" if failed else "success")
        if failed and self._wire.refund_waits is None:
            trade = self._trades.add_refunded(tx, trade, -refund.amount)
            if borne := refund.extra.get("coupons"):
                trade = self._trades.note(tx, trade, coupons=coupons.undo(trade.coupons, borne))
            self._post(tx, trade, refund, ((books.REFUND_FAILED, refund.taken - refund.fee_back),))
        self._notices.tell(tx, "refund_failed" if failed else "refunded", trade, ended)
        if not failed:
            self._may_come_back(tx, trade, ended, facts)
        return ended

    def _may_come_back(self, tx: Tx, trade: Trade, refund: Refund, facts: Mapping[str, str]) -> None:
        """Note that a refund is to come back, where the card or a fault says so."""
        after_s = self._wire.refund_returns_after_s
        if after_s is None or not (
            self._wire.refund_returns(trade) or self._ctx.faults.take(self._wire.rail, "refund_comes_back", **facts)
        ):
            return
        due_ms = self._ctx.clock.now_ms() + int(after_s * self._ctx.time_scale * 1000)
        sql = "INSERT INTO acquirer_return (rail, refund_id, merchant, due_ms) VALUES (?, ?, ?, ?)"
        tx.execute(sql, self._wire.rail, refund.refund_id, refund.merchant, due_ms)

    def _come_back(self, tx: Tx, refund: Refund) -> None:
        """Let a refund that was done fail after all: the merchant has its money again, by an entry of its own."""
        trade = self._trades.by_id(tx, refund.trade_id)
        now_ms = self._ctx.clock.now_ms()
        day = books.bill_date(tx, self._wire.rail, trade.merchant, now_ms)
        sql = "UPDATE acquirer_return SET due_ms = NULL, at_ms = ?, bill_date = ? WHERE refund_id = ?"
        tx.execute(sql, now_ms, day.isoformat(), refund.refund_id)
        failed = self._finish(tx, refund, "failed")
        trade = self._trades.add_refunded(tx, trade, -refund.amount)
        self._post(tx, trade, refund, ((books.REFUND_FAILED, refund.amount - refund.fee_back),))
        self._notices.tell(tx, "refund_failed", trade, failed)

    def _give_back(
        self,
        tx: Tx,
        trade: Trade,
        amount: int,
        *,
        order: str | None,
        params: str,
        reason: str,
        notify_url: str | None,
        extra: Mapping[str, Any],
    ) -> Refund:
        """Record a refund and post it: the amount away from the merchant, its part of the fee back to it."""
        now_ms = self._ctx.clock.now_ms()
        fee_back = self._fee_back(trade, amount)
        borne, after = coupons.give_back(trade.coupons, trade.paid, trade.refunded, amount)
        if borne:
            extra = {**extra, "coupons": borne}
            trade = self._trades.note(tx, trade, coupons=after)
        day = books.bill_date(tx, self._wire.rail, trade.merchant, now_ms)
        row = tx.one(
            "INSERT INTO acquirer_refund (rail, merchant, refund_no, trade_id, params, amount, fee_back, reason,"
            " notify_url, extra, status, refund_ref, created_ms, settles_ms, bill_date)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', '', ?, ?, ?) RETURNING refund_id",
            *(self._wire.rail, trade.merchant, order, trade.trade_id, params, amount, fee_back, reason, notify_url),
            *(json.dumps(extra, ensure_ascii=False, sort_keys=True), now_ms, self._settles_ms(), day.isoformat()),
        )
        assert row is not None
        self._trades.add_refunded(tx, trade, amount)
        refund = self._set(
            tx,
            row["refund_id"],
            refund_ref=self._wire.number("refund", trade.merchant, row["refund_id"], now_ms),
        )
        self._post(tx, trade, refund, ((books.REFUND, -refund.taken), (books.FEE_BACK, fee_back)))
        return refund

    def _settles_ms(self) -> int:
        return self._ctx.clock.now_ms() + int(self._wire.refund_takes_s * self._ctx.time_scale * 1000)

    def _fee_back(self, trade: Trade, amount: int) -> int:
        """Return how much of its fee the rail gives back with a refund of `amount`."""
        merchant = self._merchants.get(trade.merchant)
        if (merchant.refund_fee or self._wire.refund_fee) == "kept":
            return 0
        before, after = trade.refunded, trade.refunded + amount
        return books.fee_returned(trade.fee, after, trade.paid) - books.fee_returned(trade.fee, before, trade.paid)

    def _post(self, tx: Tx, trade: Trade, refund: Refund, entries: tuple[tuple[str, int], ...]) -> None:
        now_ms = self._ctx.clock.now_ms()
        day = books.bill_date(tx, self._wire.rail, trade.merchant, now_ms)
        for kind, amount in entries:
            books.post(
                tx,
                self._wire.rail,
                merchant=trade.merchant,
                currency=trade.currency,
                at_ms=now_ms,
                day=day,
                kind=kind,
                amount=amount,
                trade_id=trade.trade_id,
                refund_id=refund.refund_id,
            )

    def _finish(self, tx: Tx, refund: Refund, status: str) -> Refund:
        success_ms = self._ctx.clock.now_ms() if status == "success" else None
        return self._set(tx, refund.refund_id, status=status, settles_ms=None, success_ms=success_ms)

    def _set(self, tx: Tx, refund_id: int, **columns: Any) -> Refund:
        names = ", ".join(f"{name} = ?" for name in columns)
        tx.execute(f"UPDATE acquirer_refund SET {names} WHERE refund_id = ?", *columns.values(), refund_id)
        row = tx.one("SELECT * FROM acquirer_refund WHERE refund_id = ?", refund_id)
        assert row is not None
        return read_refund(row)


def _read(row: Row | None) -> Refund | None:
    return None if row is None else read_refund(row)
