"""Combined payments 合单支付: one payer, several orders of one or several merchants, all paid or none.

What changes them runs inside one transaction. Each order is an ordinary trade of its merchant, with its own fee,
refunds and row in the bill; it is created, paid, closed and asked about through the combined order only.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox import coupons
from sandbox.acquirer import Acquirer, Merchant, Trade
from sandbox.acquirer.models import Reader
from sandbox.clock import rfc3339
from sandbox.store import Row, Tx
from sandbox.wechat import trades
from sandbox.wechat.checks import OUT_TRADE_NO, Fields
from sandbox.wechat.errors import ApiError, invalid_request, order_closed, order_not_exist
from sandbox.wechat.orders import LONGEST_MS, TRADE_TYPES, Order, canonical, is_shared
from sandbox.wechat.wire import paid_content

MOST_ORDERS = 50
FindMerchant = Callable[[str], Merchant | None]


@dataclass(frozen=True, slots=True)
class CombinedOrder:
    """A well-formed combined order. parts: each order with the merchant who is paid by it."""

    number: str
    product: str
    notify_url: str
    parts: Sequence[tuple[Merchant, Order]]
    request: str
    key_id: str


def read_order(
    product: str, body: dict[str, Any], merchant: Merchant, find_merchant: FindMerchant, now_ms: int, key_id: str
) -> CombinedOrder:
    """Return the combined order in `body`. Raises the refusal that names its first fault."""
    fields = Fields(body)
    if fields.text("combine_mchid", 32) != merchant.merchant:
        raise fields.wrong("combine_mchid", "must be the mchid of the Authorization header")
    if fields.text("combine_appid", 32) != merchant.extra["appid"]:
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
    return CombinedOrder(number, product, fields.notify_url(), parts, canonical(body), key_id)


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
        shared=is_shared(one),
    )
    return merchant, order


def create(tx: Tx, of: Acquirer, merchant: Merchant, order: CombinedOrder) -> Row:
    """Record the orders for the payer to pay, or return the same if the request is a repetition."""
    row = find(tx, merchant.merchant, order.number)
    if row is None:
        return _insert(tx, of, merchant, order)
    states = {trades.state_of(trade) for trade in parts_of(tx, of, row)}
    if states == {"CLOSED"}:
        raise order_closed()
    if row["request"] != order.request or row["product"] != order.product:
        raise _used()
    if states != {"NOTPAY"}:
        raise invalid_request("该合单订单已支付")
    return row


def find(reader: Reader, mchid: str, number: str) -> Row | None:
    """Return a combined order by the number of who started it."""
    return reader.one("SELECT * FROM wechat_combine WHERE mchid = ? AND combine_out_trade_no = ?", mchid, number)


def find_by_token(reader: Reader, token: str) -> Row | None:
    """Return the combined order with this token in its code or prepay id."""
    return reader.one("SELECT * FROM wechat_combine WHERE token = ?", token)


def get(reader: Reader, mchid: str, number: str) -> Row:
    """Return a combined order. Raises ORDER_NOT_EXIST."""
    row = find(reader, mchid, number)
    if row is None:
        raise order_not_exist()
    return row


def parts_of(reader: Reader, of: Acquirer, row: Row) -> list[Trade]:
    """Return its orders."""
    listed = reader.all(
        "SELECT trade_id FROM wechat_combine_part WHERE combine_id = ? ORDER BY position", row["combine_id"]
    )
    return [of.trades.by_id(reader, part["trade_id"]) for part in listed]


def pay(tx: Tx, of: Acquirer, row: Row, payer: str | None) -> dict[str, Any]:
    """Let the payer pay all of them, and notify who started it. Raises CoreError, and then none is paid."""
    payer = payer or trades.default_payer(row["appid"])
    paid = [trades.charge(tx, of, trade, payer) for trade in parts_of(tx, of, row)]
    tx.execute("UPDATE wechat_combine SET openid = ? WHERE combine_id = ?", paid[0].payer, row["combine_id"])
    view = query(tx, of, row["mchid"], row["combine_out_trade_no"])
    number, content = row["combine_out_trade_no"], paid_content(view, row["key_id"])
    of.notices.write(tx, "paid", of.merchants.get(row["mchid"]), content, url=row["notify_url"], order=number)
    return view


def close(tx: Tx, of: Acquirer, row: Row, body: dict[str, Any], appid: str) -> None:
    """Close all of them; again: nothing. The request must name each."""
    fields = Fields(body)
    if fields.text("combine_appid", 32) != appid:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
    listed = body.get("sub_orders")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise fields.wrong("sub_orders", "must be a list of objects")
    parts = parts_of(tx, of, row)
    named = {(one.get("mchid"), one.get("out_trade_no")) for one in listed}
    if named != {(trade.merchant, trade.order) for trade in parts}:
        raise fields.wrong("sub_orders", "must be all orders of the combined one")
    for trade in parts:
        trades.close(tx, of, trade)


def query(reader: Reader, of: Acquirer, mchid: str, number: str) -> dict[str, Any]:
    """Return the combined order as the query API and its notice show it. Raises ORDER_NOT_EXIST."""
    row = get(reader, mchid, number)
    parts = parts_of(reader, of, row)
    view: dict[str, Any] = {
        "combine_appid": row["appid"],
        "combine_mchid": row["mchid"],
        "combine_out_trade_no": row["combine_out_trade_no"],
        "sub_orders": [_shown_part(trade) for trade in parts],
    }
    if all(trade.charge_ref for trade in parts):
        view["combine_payer_info"] = {"openid": row["openid"]}
    return view


def _shown_part(trade: Trade) -> dict[str, Any]:
    view: dict[str, Any] = {
        "mchid": trade.merchant,
        "out_trade_no": trade.order,
        "attach": trade.extra["attach"],
        "trade_state": trades.state_of(trade),
        "amount": {"total_amount": trade.amount, "currency": "CNY"},
    }
    if trade.paid_ms is None:
        return view
    used = trade.coupons
    paid = trade.amount - coupons.total_of(used)
    return view | {
        "trade_type": TRADE_TYPES[trade.product],
        "bank_type": "OTHERS",
        "transaction_id": trade.charge_ref,
        "success_time": rfc3339(trade.paid_ms),
        "amount": {"total_amount": trade.amount, "currency": "CNY", "payer_amount": paid, "payer_currency": "CNY"},
        **({"promotion_detail": [trades.promotion(one) for one in used]} if used else {}),
    }


def _insert(tx: Tx, of: Acquirer, merchant: Merchant, order: CombinedOrder) -> Row:
    tx.execute(
        "INSERT INTO wechat_combine (mchid, appid, combine_out_trade_no, product, request, notify_url, key_id, token)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(merchant.merchant, merchant.extra["appid"], order.number, order.product, order.request, order.notify_url),
        *(order.key_id, secrets.token_hex(17)),
    )
    row = get(tx, merchant.merchant, order.number)
    for position, (sub_merchant, part) in enumerate(order.parts):
        trade, is_new = trades.made(tx, of, sub_merchant, part, combined=True)
        if not is_new:
            raise _used()
        tx.execute(
            "INSERT INTO wechat_combine_part (trade_id, combine_id, position) VALUES (?, ?, ?)",
            *(trade.trade_id, row["combine_id"], position),
        )
    return row


def _used() -> ApiError:
    return ApiError(403, "OUT_TRADE_NO_USED", "商户订单号重复")
