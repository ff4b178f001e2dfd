"""Combined payments 合单支付: one payer, several orders of one or several merchants, all paid or none.

Every function runs inside one transaction. Each order is an ordinary trade of its merchant, with its own fee, refunds
and row in the bill; it is created, paid, closed and asked about through the combined order only.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox import coupons
from sandbox.clock import rfc3339
from sandbox.store import Row, Tx
from sandbox.wechat import trades
from sandbox.wechat.checks import OUT_TRADE_NO, Fields
from sandbox.wechat.errors import ApiError, invalid_request, order_closed, order_not_exist
from sandbox.wechat.merchants import Merchant
from sandbox.wechat.orders import LONGEST_MS, TRADE_TYPES, Order, canonical, require_open

MOST_ORDERS = 50


class Reader(Protocol):
    """The store, or a transaction."""

    def one(self, sql: str, *params: Any) -> Row | None: ...


FindMerchant = Callable[[str], Merchant | None]


@dataclass(frozen=True, slots=True)
class CombinedOrder:
    """A well-formed combined order. parts: each order with the merchant who is paid by it."""

    number: str
    product: str
    notify_url: str
    openid: str | None
    parts: Sequence[tuple[Merchant, Order]]
    request: bytes
    key_id: str


def read_order(
    product: str, body: dict[str, Any], merchant: Merchant, find_merchant: FindMerchant, now_ms: int, key_id: str
) -> CombinedOrder:
    """Return the combined order in `body`. Raises the refusal that names its first fault."""
    fields = Fields(body)
    if fields.text("combine_mchid", 32) != merchant.mchid:
        raise fields.wrong("combine_mchid", "must be the mchid of the Authorization header")
    if fields.text("combine_appid", 32) != merchant.appid:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
    number = fields.text("combine_out_trade_no", 32, OUT_TRADE_NO)
    expires_ms = now_ms + LONGEST_MS
    if fields.has("time_expire"):
        expires_ms = min(expires_ms, int(fields.moment("time_expire").timestamp() * 1000))
    if product == "h5":
        scene = fields.child("scene_info")
        scene.text("payer_client_ip", 45)
        scene.child("h5_info").choice("type", "Wap", "iOS", "Android")
    openid = fields.child("combine_payer_info").text("openid", 128) if product == "jsapi" else None
    listed = body.get("sub_orders")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_ORDERS:
        raise fields.wrong("sub_orders", f"must be a list of 1 to {MOST_ORDERS}")
    parts = [_part(index, one, product, find_merchant, expires_ms, openid) for index, one in enumerate(listed)]
    return CombinedOrder(number, product, fields.notify_url(), openid, parts, canonical(body), key_id)


def _part(
    index: int, one: object, product: str, find_merchant: FindMerchant, expires_ms: int, openid: str | None
) -> tuple[Merchant, Order]:
    pointer = f"/sub_orders/{index}"
    if not isinstance(one, dict):
        raise Fields({}, pointer).wrong("", "must be an object")
    fields = Fields(one, pointer)
    merchant = find_merchant(fields.text("mchid", 32))
    if merchant is None:
        raise ApiError(400, "MCH_NOT_EXISTS", f"商户号不存在: {pointer}/mchid")
    amount = fields.child("amount")
    amount.choice("currency", "CNY")
    order = Order(
        product=product,
        out_trade_no=fields.text("out_trade_no", 32, OUT_TRADE_NO),
        description=fields.text("description", 127),
        attach=fields.text("attach", 128),
        device_id="",
        notify_url=None,
        total=amount.amount("total_amount"),
        openid=openid,
        auth_code=None,
        expires_ms=expires_ms,
        request=canonical(one),
    )
    return merchant, order


def create(tx: Tx, merchant: Merchant, order: CombinedOrder, now_ms: int) -> Row:
    """Record the orders for the payer to pay, or return the same if the request is a repetition."""
    row = find(tx, merchant.mchid, order.number)
    if row is None:
        for sub_merchant, part in order.parts:
            require_open(part, now_ms)
            if trades.find(tx, sub_merchant.mchid, part.out_trade_no):
                raise _used()
        return _insert(tx, merchant, order, now_ms)
    states = {trade["state"] for trade in parts_of(tx, row, now_ms)}
    if states == {"CLOSED"}:
        raise order_closed()
    if row["request"] != order.request or row["product"] != order.product:
        raise _used()
    if states != {"NOTPAY"}:
        raise invalid_request("该合单订单已支付")
    return row


def find(tx: Tx, mchid: str, number: str) -> Row | None:
    """Return a combined order by the number of who started it."""
    return tx.one("SELECT * FROM wechat_combine WHERE mchid = ? AND combine_out_trade_no = ?", mchid, number)


def get(tx: Tx, mchid: str, number: str) -> Row:
    """Return the same. Raises ORDER_NOT_EXIST."""
    row = find(tx, mchid, number)
    if row is None:
        raise order_not_exist()
    return row


def parts_of(tx: Tx, row: Row, now_ms: int) -> list[Row]:
    """Return its orders, their expiry applied."""
    listed = tx.all(
        "SELECT t.* FROM wechat_combine_part p JOIN wechat_trade t USING (trade_id) WHERE p.combine_id = ?"
        " ORDER BY p.position",
        row["combine_id"],
    )
    return [trades.expire(tx, trade, now_ms) for trade in listed]


def is_part(tx: Reader, trade: Row) -> bool:
    """Tell whether an order belongs to a combined one."""
    return tx.one("SELECT 1 FROM wechat_combine_part WHERE trade_id = ?", trade["trade_id"]) is not None


def pay(tx: Tx, row: Row, openid: str, now_ms: int) -> None:
    """Let the payer pay all of them. Raises NotPayable, and then none is paid."""
    for trade in parts_of(tx, row, now_ms):
        trades.pay(tx, trade, openid, now_ms)
    tx.execute("UPDATE wechat_combine SET openid = coalesce(openid, ?) WHERE combine_id = ?", openid, row["combine_id"])


def close(tx: Tx, row: Row, body: dict[str, Any], appid: str, now_ms: int) -> None:
    """Close all of them; again: nothing. The request must name each."""
    fields = Fields(body)
    if fields.text("combine_appid", 32) != appid:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
    listed = body.get("sub_orders")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise fields.wrong("sub_orders", "must be a list of objects")
    parts = parts_of(tx, row, now_ms)
    named = {(one.get("mchid"), one.get("out_trade_no")) for one in listed}
    if named != {(trade["mchid"], trade["out_trade_no"]) for trade in parts}:
        raise fields.wrong("sub_orders", "must be all orders of the combined one")
    for trade in parts:
        trades.close(tx, trade)


def shown(row: Row, parts: Sequence[Row]) -> dict[str, Any]:
    """Return the combined order as the query API and its notice show it."""
    view: dict[str, Any] = {
        "combine_appid": row["appid"],
        "combine_mchid": row["mchid"],
        "combine_out_trade_no": row["combine_out_trade_no"],
        "sub_orders": [_shown_part(trade) for trade in parts],
    }
    if all(trade["transaction_id"] for trade in parts):
        view["combine_payer_info"] = {"openid": row["openid"]}
    return view


def _shown_part(trade: Row) -> dict[str, Any]:
    total = trade["total"]
    view: dict[str, Any] = {
        "mchid": trade["mchid"],
        "out_trade_no": trade["out_trade_no"],
        "attach": trade["attach"],
        "trade_state": trade["state"],
        "amount": {"total_amount": total, "currency": "CNY"},
    }
    if trade["transaction_id"] is None:
        return view
    used = coupons.read(trade["coupons"])
    paid = total - coupons.total_of(used)
    return view | {
        "trade_type": TRADE_TYPES[trade["product"]],
        "bank_type": "OTHERS",
        "transaction_id": trade["transaction_id"],
        "success_time": rfc3339(trade["success_ms"]),
        "amount": {"total_amount": total, "currency": "CNY", "payer_amount": paid, "payer_currency": "CNY"},
        **({"promotion_detail": [trades.promotion(one) for one in used]} if used else {}),
    }


def _insert(tx: Tx, merchant: Merchant, order: CombinedOrder, now_ms: int) -> Row:
    tx.execute(
        "INSERT INTO wechat_combine (mchid, appid, combine_out_trade_no, product, request, notify_url, key_id, token,"
        " openid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(merchant.mchid, merchant.appid, order.number, order.product, order.request, order.notify_url),
        *(order.key_id, secrets.token_hex(17), order.openid),
    )
    row = get(tx, merchant.mchid, order.number)
    for position, (sub_merchant, part) in enumerate(order.parts):
        trade = trades.insert(tx, sub_merchant, part, "NOTPAY", now_ms)
        tx.execute(
            "INSERT INTO wechat_combine_part (trade_id, combine_id, position) VALUES (?, ?, ?)",
            *(trade["trade_id"], row["combine_id"], position),
        )
    return row


def _used() -> ApiError:
    return ApiError(403, "OUT_TRADE_NO_USED", "商户订单号重复")
