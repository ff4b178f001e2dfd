"""Refunds 退款 and their rules. Every function runs inside one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import coupons
from sandbox.clock import rfc3339
from sandbox.store import Row, Tx
from sandbox.wechat import books, sharing
from sandbox.wechat.checks import OUT_REFUND_NO, Fields
from sandbox.wechat.errors import ApiError, invalid_request, resource_not_exists, wrong_parameter
from sandbox.wechat.merchants import Merchant
from sandbox.wechat.orders import DAY_MS, canonical

MOST_REFUNDS = 50
LATEST_MS = 365 * DAY_MS


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
    request: bytes
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


def find(tx: Tx, mchid: str, out_refund_no: str) -> Row | None:
    """Return a refund by the merchant's number."""
    return tx.one("SELECT * FROM wechat_refund WHERE mchid = ? AND out_refund_no = ?", mchid, out_refund_no)


def create(
    tx: Tx, merchant: Merchant, order: RefundOrder, now_ms: int, *, settles_ms: int, interval_ms: int
) -> tuple[Row, Row]:
    """Accept a refund and take the money from the merchant; return it with its order.

    The same request again returns the same refund. settles_ms: when the payer will have the money.
    interval_ms: the least time between two refunds of one order.
    """
    row = find(tx, merchant.mchid, order.out_refund_no)
    if row is not None:
        if row["request"] != order.request:
            raise invalid_request("商户退款单号重复, 且请求参数与原请求不同")
        return row, _trade_of(tx, row)
    trade = _paid_trade(tx, merchant, order, now_ms)
    if order.total != trade["total"]:
        raise invalid_request("原订单金额与支付时不一致")
    if order.amount > trade["total"] - trade["refunded"]:
        raise invalid_request("申请退款金额超过订单可退金额")
    if trade["refund_count"] >= MOST_REFUNDS:
        raise ApiError(403, "RULE_LIMIT", f"一笔订单最多部分退款{MOST_REFUNDS}次")
    if trade["last_refund_ms"] is not None and now_ms - trade["last_refund_ms"] < interval_ms:
        raise ApiError(429, "FREQUENCY_LIMITED", "同一笔订单的多次退款须间隔1分钟, 请稍后用原参数重试")
    tx.execute(
        "UPDATE wechat_trade SET state = 'REFUND', refund_count = refund_count + 1, last_refund_ms = ?"
        " WHERE trade_id = ?",
        *(now_ms, trade["trade_id"]),
    )
    row = _give_back(tx, trade, order.amount, now_ms, order=order, status="PROCESSING", settles_ms=settles_ms)
    return row, trade


def give_back_reversed(tx: Tx, trade: Row, amount: int, now_ms: int) -> None:
    """Return the money of a reversed code payment to the payer at once."""
    _give_back(tx, trade, amount, now_ms, order=None, status="SUCCESS", settles_ms=None)


def _paid_trade(tx: Tx, merchant: Merchant, order: RefundOrder, now_ms: int) -> Row:
    trade = tx.one(
        "SELECT * FROM wechat_trade WHERE mchid = ? AND (? IS NULL OR transaction_id = ?)"
        " AND (? IS NULL OR out_trade_no = ?)",
        *(merchant.mchid, order.transaction_id, order.transaction_id, order.out_trade_no, order.out_trade_no),
    )
    if trade is None or trade["transaction_id"] is None:
        raise resource_not_exists("订单不存在或未支付")
    if trade["state"] == "REVOKED":
        raise invalid_request("订单已撤销, 不能退款")
    if now_ms - trade["success_ms"] > LATEST_MS:
        raise ApiError(403, "TRADE_OVERDUE", "订单已超过可退款的最大期限(支付后一年)")
    return trade


def _give_back(
    tx: Tx, trade: Row, amount: int, now_ms: int, *, order: RefundOrder | None, status: str, settles_ms: int | None
) -> Row:
    """Record a refund and post it: the amount away from the merchant, its part of the fee back to it."""
    paid, fee, before = trade["total"], trade["fee"], trade["refunded"]
    fee_back = books.fee_returned(fee, before + amount, paid) - books.fee_returned(fee, before, paid)
    borne, after = coupons.give_back(coupons.read(trade["coupons"]), paid, before, amount)
    taken = amount - coupons.returned(borne, "merchant")
    day = books.bill_date(tx, trade["mchid"], now_ms)
    last = tx.one("SELECT coalesce(max(seq), 0) AS seq FROM wechat_refund")
    assert last is not None
    stamp = rfc3339(now_ms)[:10].replace("-", "")
    refund_id = f"5030{trade['mchid'][-4:]}{stamp}{last['seq'] + 1:013d}"
    tx.execute(
        "UPDATE wechat_trade SET refunded = refunded + ?, coupons = ? WHERE trade_id = ?",
        *(amount, coupons.dump(after), trade["trade_id"]),
    )
    tx.execute(
        "INSERT INTO wechat_refund (refund_id, mchid, out_refund_no, trade_id, request, amount, fee_back, reason,"
        " notify_url, key_id, status, created_ms, settles_ms, success_ms, bill_date, coupons)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(refund_id, trade["mchid"], order and order.out_refund_no, trade["trade_id"], order and order.request),
        *(amount, fee_back, order.reason if order else "", order and order.notify_url, order and order.key_id),
        *(status, now_ms, settles_ms, now_ms if status == "SUCCESS" else None, day.isoformat()),
        coupons.dump(borne),
    )
    for kind, signed in ((books.REFUND, -taken), (books.FEE_BACK, fee_back)):
        books.post(
            tx,
            mchid=trade["mchid"],
            at_ms=now_ms,
            day=day,
            kind=kind,
            amount=signed,
            business_no=refund_id,
            voucher_no=(order and order.out_refund_no) or trade["out_trade_no"],
        )
    voucher_no = (order and order.out_refund_no) or trade["out_trade_no"]
    sharing.unfreeze_for_refund(tx, trade, taken - fee_back, now_ms, day, voucher_no)
    row = tx.one("SELECT * FROM wechat_refund WHERE refund_id = ?", refund_id)
    assert row is not None
    return row


def settle_abnormal(tx: Tx, mchid: str, refund_id: str, out_refund_no: str, settles_ms: int) -> tuple[Row, Row]:
    """Send an ABNORMAL refund on to another account; return it with its order. Again, meanwhile: the same."""
    row = tx.one("SELECT * FROM wechat_refund WHERE mchid = ? AND refund_id = ?", mchid, refund_id)
    if row is None or row["out_refund_no"] != out_refund_no:
        raise resource_not_exists("退款单不存在")
    if row["status"] == "SUCCESS":
        raise invalid_request("退款已成功, 不能发起异常退款")
    if row["status"] == "ABNORMAL":
        tx.execute(
            "UPDATE wechat_refund SET status = 'PROCESSING', settles_ms = ? WHERE seq = ?", settles_ms, row["seq"]
        )
        row = tx.one("SELECT * FROM wechat_refund WHERE seq = ?", row["seq"])
        assert row is not None
    return row, _trade_of(tx, row)


def settle(tx: Tx, row: Row, now_ms: int, *, status: str) -> Row:
    """End a refund that was PROCESSING: SUCCESS, or ABNORMAL if the payer's card cannot take it."""
    success_ms = now_ms if status == "SUCCESS" else None
    tx.execute(
        "UPDATE wechat_refund SET status = ?, settles_ms = NULL, success_ms = ? WHERE seq = ?",
        *(status, success_ms, row["seq"]),
    )
    fresh = tx.one("SELECT * FROM wechat_refund WHERE seq = ?", row["seq"])
    assert fresh is not None
    return fresh


def _trade_of(tx: Tx, row: Row) -> Row:
    trade = tx.one("SELECT * FROM wechat_trade WHERE trade_id = ?", row["trade_id"])
    assert trade is not None
    return trade


def shown(row: Row, trade: Row) -> dict[str, Any]:
    """Return the refund as the refund and refund query APIs show it."""
    total, amount = trade["total"], row["amount"]
    used, borne = coupons.read(trade["coupons"]), coupons.read(row["coupons"])
    view: dict[str, Any] = {
        "refund_id": row["refund_id"],
        "out_refund_no": row["out_refund_no"],
        "transaction_id": trade["transaction_id"],
        "out_trade_no": trade["out_trade_no"],
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": rfc3339(row["created_ms"]),
        "status": row["status"],
        "funds_account": "UNSETTLED",
        "amount": {
            "total": total,
            "refund": amount,
            "from": [],
            "payer_total": total - coupons.total_of(used),
            "payer_refund": amount - coupons.returned(borne),
            "settlement_total": total - coupons.total_of(used, "merchant"),
            "settlement_refund": amount - coupons.returned(borne, "merchant"),
            "discount_refund": coupons.returned(borne),
            "currency": "CNY",
        },
        "promotion_detail": [_promotion(one) for one in borne],
    }
    if row["success_ms"] is not None:
        view["success_time"] = rfc3339(row["success_ms"])
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


def notified(row: Row, trade: Row) -> dict[str, Any]:
    """Return the plaintext of a refund notice: `refund_status` here, not `status`."""
    used, borne = coupons.read(trade["coupons"]), coupons.read(row["coupons"])
    plain: dict[str, Any] = {
        "mchid": row["mchid"],
        "out_trade_no": trade["out_trade_no"],
        "transaction_id": trade["transaction_id"],
        "out_refund_no": row["out_refund_no"],
        "refund_id": row["refund_id"],
        "refund_status": row["status"],
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": trade["total"],
            "refund": row["amount"],
            "payer_total": trade["total"] - coupons.total_of(used),
            "payer_refund": row["amount"] - coupons.returned(borne),
        },
    }
    if row["success_ms"] is not None:
        plain["success_time"] = rfc3339(row["success_ms"])
    return plain


def require_number(out_refund_no: str) -> str:
    """Return the number in the path if it can be one."""
    if not OUT_REFUND_NO.fullmatch(out_refund_no):
        raise wrong_parameter("out_refund_no", "is malformed", out_refund_no, location="url")
    return out_refund_no
