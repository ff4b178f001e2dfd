"""Refunds by WeChat Pay's rules, and how they are shown. What changes them runs inside one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import coupons
from sandbox.acquirer import Acquirer, Merchant, Refund, Trade
from sandbox.clock import rfc3339
from sandbox.store import Tx
from sandbox.wechat import sharing
from sandbox.wechat.checks import OUT_REFUND_NO, Fields
from sandbox.wechat.errors import ApiError, invalid_request, resource_not_exists, wrong_parameter
from sandbox.wechat.orders import DAY_MS, canonical

MOST_REFUNDS = 50
LATEST_MS = 365 * DAY_MS
INTERVAL_S = 60  # between two refunds of one order
STATES = {"pending": "PROCESSING", "success": "SUCCESS", "failed": "ABNORMAL"}


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """A well-formed refund request. Exactly one of transaction_id and out_trade_no is set."""

    out_refund_no: str
    transaction_id: str | None
    out_trade_no: str | None
    amount: int
    total: int
    reason: str
    notify_url: str | None
    request: str
    key_id: str


def read_refund(body: dict[str, Any], key_id: str) -> RefundOrder:
    """Return the refund request in `body`. Raises the refusal that names its first fault."""
    fields = Fields(body)
    by_id, by_number = fields.has("transaction_id"), fields.has("out_trade_no")
    if not by_id and not by_number:
        raise fields.wrong("transaction_id", "is required unless out_trade_no is given")
    transaction_id = fields.text("transaction_id", 32) if by_id else None
    out_trade_no = fields.text("out_trade_no", 32) if by_number else None
    out_refund_no = fields.text("out_refund_no", 64, OUT_REFUND_NO)
    reason = fields.optional_text("reason", 80)
    notify_url = fields.notify_url() if fields.has("notify_url") else None
    if fields.has("funds_account"):
        fields.choice("funds_account", "AVAILABLE")
    amount = fields.child("amount")
    refund, total = amount.amount("refund"), amount.amount("total")
    amount.choice("currency", "CNY")
    _check_sources(amount, body["amount"], refund)
    return RefundOrder(
        out_refund_no,
        transaction_id,
        out_trade_no,
        refund,
        total,
        reason,
        notify_url,
        canonical(body),
        key_id,
    )


def _check_sources(amount: Fields, values: Mapping[str, Any], refund: int) -> None:
    """Check amount.from: which accounts pay the refund, adding up to it."""
    if not amount.has("from"):
        return
    sources = values["from"]
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise amount.wrong("from", "must be a list of objects")
    parts = [Fields(source, f"/amount/from/{index}") for index, source in enumerate(sources)]
    for part in parts:
        part.choice("account", "AVAILABLE", "UNAVAILABLE")
    if sum(part.amount("amount") for part in parts) != refund:
        raise amount.wrong("from", "must add up to the refund")


def create(tx: Tx, of: Acquirer, merchant: Merchant, order: RefundOrder) -> tuple[Refund, Trade]:
    """Accept a refund and take the money from the merchant; return it with its order.

    The same request again returns the same refund.
    """
    known = of.refunds.find(tx, merchant.merchant, order.out_refund_no)
    if known is not None:
        if known.params != order.request:
            raise invalid_request("商户退款单号重复, 且请求参数与原请求不同")
        return known, of.trades.by_id(tx, known.trade_id)
    trade, now_ms = _paid_trade(tx, of, merchant, order), of.ctx.clock.now_ms()
    if order.total != trade.amount:
        raise invalid_request("原订单金额与支付时不一致")
    if order.amount > trade.amount - trade.refunded:
        raise invalid_request("申请退款金额超过订单可退金额")
    before = of.refunds.of_trade(tx, trade)
    if len(before) >= MOST_REFUNDS:
        raise ApiError(403, "RULE_LIMIT", f"一笔订单最多部分退款{MOST_REFUNDS}次")
    if before and now_ms - before[-1].created_ms < int(INTERVAL_S * of.ctx.time_scale * 1000):
        raise ApiError(429, "FREQUENCY_LIMITED", "同一笔订单的多次退款须间隔1分钟, 请稍后用原参数重试")
    refund, _ = of.refunds.create(
        tx,
        trade,
        order=order.out_refund_no,
        amount=order.amount,
        params=order.request,
        reason=order.reason,
        notify_url=order.notify_url,
        extra={"key_id": order.key_id},
    )
    sharing.unfreeze_for_refund(tx, of, trade, refund)
    return refund, of.trades.by_id(tx, trade.trade_id)


def _paid_trade(tx: Tx, of: Acquirer, merchant: Merchant, order: RefundOrder) -> Trade:
    """Return the order that is to be refunded; it must have both numbers where both are given."""
    if order.transaction_id is not None:
        trade = of.trades.find_by(tx, "charge_ref", order.transaction_id)
    else:
        trade = of.trades.find(tx, merchant.merchant, str(order.out_trade_no))
    if (
        trade is None
        or trade.paid_ms is None
        or trade.merchant != merchant.merchant
        or order.out_trade_no not in (None, trade.order)
    ):
        raise resource_not_exists("订单不存在或未支付")
    if trade.state == "reversed":
        raise invalid_request("订单已撤销, 不能退款")
    if of.ctx.clock.now_ms() - trade.paid_ms > LATEST_MS:
        raise ApiError(403, "TRADE_OVERDUE", "订单已超过可退款的最大期限(支付后一年)")
    return trade


def send_on(tx: Tx, of: Acquirer, mchid: str, refund_id: str, out_refund_no: str) -> tuple[Refund, Trade]:
    """Send an ABNORMAL refund on to another account; return it with its order. Again, meanwhile: the same."""
    refund = of.refunds.find_by_ref(tx, refund_id)
    if refund is None or (refund.merchant, refund.order) != (mchid, out_refund_no):
        raise resource_not_exists("退款单不存在")
    if refund.status == "success":
        raise invalid_request("退款已成功, 不能发起异常退款")
    if refund.status == "failed":
        refund = of.refunds.send_on(tx, refund)
    return refund, of.trades.by_id(tx, refund.trade_id)


def shown(refund: Refund, trade: Trade) -> dict[str, Any]:
    """Return the refund as the refund and refund query APIs show it."""
    total, amount, used, borne = trade.amount, refund.amount, trade.coupons, refund.coupons
    view: dict[str, Any] = {
        "refund_id": refund.refund_ref,
        "out_refund_no": refund.order,
        "transaction_id": trade.charge_ref,
        "out_trade_no": trade.order,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": rfc3339(refund.created_ms),
        "status": STATES[refund.status],
        "funds_account": "UNSETTLED",
        "amount": {
            "total": total,
            "refund": amount,
            "from": [],
            "payer_total": total - coupons.total_of(used),
            "payer_refund": amount - coupons.returned(borne),
            "settlement_total": total - trade.not_paid_out,
            "settlement_refund": refund.taken,
            "discount_refund": coupons.returned(borne),
            "currency": "CNY",
        },
        "promotion_detail": [_promotion(one) for one in borne],
    }
    if refund.success_ms is not None:
        view["success_time"] = rfc3339(refund.success_ms)
    return view


def _promotion(one: coupons.Coupon) -> dict[str, Any]:
    """Return a coupon as a refund shows it (退款申请, 查询单笔退款); its kinds have other names than in an order."""
    return {
        "promotion_id": f"{one['id']:011}",
        "scope": "GLOBAL",
        "type": "DISCOUNT" if one["paid_by"] == "merchant" else "COUPON",
        "amount": one["amount"],
        "refund_amount": one["refund"],
    }


def notified(refund: Refund, trade: Trade) -> dict[str, Any]:
    """Return the plaintext of a refund notice: `refund_status` here, not `status`."""
    plain: dict[str, Any] = {
        "mchid": refund.merchant,
        "out_trade_no": trade.order,
        "transaction_id": trade.charge_ref,
        "out_refund_no": refund.order,
        "refund_id": refund.refund_ref,
        "refund_status": STATES[refund.status],
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": trade.amount,
            "refund": refund.amount,
            "payer_total": trade.amount - coupons.total_of(trade.coupons),
            "payer_refund": refund.amount - coupons.returned(refund.coupons),
        },
    }
    if refund.success_ms is not None:
        plain["success_time"] = rfc3339(refund.success_ms)
    return plain


def require_number(out_refund_no: str) -> str:
    """Return the number in the path if it can be one."""
    if not OUT_REFUND_NO.fullmatch(out_refund_no):
        raise wrong_parameter("out_refund_no", "is malformed", out_refund_no, location="url")
    return out_refund_no
