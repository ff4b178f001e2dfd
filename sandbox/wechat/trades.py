"""Orders and how they become paid, closed or reversed. Every function runs inside one transaction.

States: NOTPAY → SUCCESS | CLOSED; codepay: USERPAYING → SUCCESS | PAYERROR, any → REVOKED; SUCCESS → REFUND with the
first refund. A payment happens in `_charge` and nowhere else, and only from NOTPAY or USERPAYING.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from sandbox import coupons
from sandbox.clock import rfc3339
from sandbox.store import Row, Tx
from sandbox.wechat import books, sharing
from sandbox.wechat.errors import ApiError, invalid_request, order_closed, order_not_exist
from sandbox.wechat.merchants import Merchant
from sandbox.wechat.orders import DAY_MS, TRADE_TYPES, Order, require_open

CODE_URL = "weixin://wxpay/bizpayurl?pr="
DESCRIPTIONS = {
    "SUCCESS": "支付成功",
    "REFUND": "订单发生过退款，退款详情请查询退款单",
    "NOTPAY": "订单未支付",
    "CLOSED": "订单已关闭",
    "REVOKED": "订单已撤销",
    "USERPAYING": "需要用户输入支付密码",
    "PAYERROR": "支付失败(其他原因，如银行返回失败)",
}
REFUSALS = {"NOT_ENOUGH": "用户帐号余额不足，请用户充值或更换支付卡后再支付", "TRADE_ERROR": "交易失败, 用户取消支付"}
REVERSIBLE_MS = 7 * DAY_MS


class NotPayable(Exception):
    """The payer cannot do this to the order as it stands; the message says why."""


@dataclass(frozen=True, slots=True)
class Payer:
    """What the simulated payer 付款人 does by itself. patience_ms: how long a password prompt stays open."""

    openid: str
    patience_ms: int


def find(tx: Tx, mchid: str, out_trade_no: str) -> Row | None:
    """Return an order by the merchant's number."""
    return tx.one("SELECT * FROM wechat_trade WHERE mchid = ? AND out_trade_no = ?", mchid, out_trade_no)


def get(tx: Tx, mchid: str, out_trade_no: str, now_ms: int) -> Row:
    """Return an order, its expiry applied. Raises ORDER_NOT_EXIST."""
    row = find(tx, mchid, out_trade_no)
    if row is None:
        raise order_not_exist()
    return expire(tx, row, now_ms)


def expired_state(row: Row, now_ms: int) -> str:
    """Return the order's state at `now_ms`, whether or not its expiry has been written yet."""
    if row["expires_ms"] is None or row["expires_ms"] > now_ms:
        return str(row["state"])
    state: str = row["state"]
    return {"NOTPAY": "CLOSED", "USERPAYING": "PAYERROR"}.get(state, state)


def expire(tx: Tx, row: Row, now_ms: int) -> Row:
    """Write the expiry of an order whose time is over; return the row as it is then."""
    state = expired_state(row, now_ms)
    if state == row["state"]:
        return row
    return _move(tx, row, state, refusal="TRADE_ERROR" if state == "PAYERROR" else None)


def create(tx: Tx, merchant: Merchant, order: Order, now_ms: int) -> Row:
    """Record an order for the payer to pay, or return the same one if the request is a repetition."""
    row = find(tx, merchant.mchid, order.out_trade_no)
    if row is None:
        require_open(order, now_ms)
        return insert(tx, merchant, order, "NOTPAY", now_ms)
    row = expire(tx, row, now_ms)
    if row["state"] == "CLOSED":
        raise order_closed()  # whatever is asked now: what is closed stays so
    _require_same(row, order)
    if row["state"] != "NOTPAY":
        raise invalid_request("该订单已支付")
    return row


def codepay(tx: Tx, merchant: Merchant, order: Order, payer: Payer, now_ms: int) -> Row:
    """Charge the payer whose payment code was scanned; return the order as it stands then.

    The code's last digit decides: 0-7 pays, 8 is asked for a password, 9 has no money.
    A repetition of the same request changes nothing.
    """
    row = find(tx, merchant.mchid, order.out_trade_no)
    if row is not None:
        row = expire(tx, row, now_ms)
        _require_same(row, order)
        return row
    require_open(order, now_ms)
    assert order.auth_code is not None
    if tx.one("SELECT 1 FROM wechat_trade WHERE auth_code = ?", order.auth_code):
        raise invalid_request("付款码已使用过, 请让用户刷新付款码")
    row = insert(tx, merchant, order, "USERPAYING", now_ms)
    match order.auth_code[-1]:
        case "8":
            expires_ms = now_ms + payer.patience_ms
            tx.execute("UPDATE wechat_trade SET expires_ms = ? WHERE trade_id = ?", expires_ms, row["trade_id"])
            return _again(tx, row)
        case "9":
            return _move(tx, row, "PAYERROR", refusal="NOT_ENOUGH")
        case _:
            return _charge(tx, row, payer.openid, now_ms)


def codepay_answer(row: Row) -> dict[str, Any]:
    """Return what codepay answers for an order in this state; raises its refusals, 202 USERPAYING among them."""
    match row["state"]:
        case "USERPAYING":
            raise ApiError(202, "USERPAYING", DESCRIPTIONS["USERPAYING"])
        case "PAYERROR":
            raise ApiError(403, row["refusal"], REFUSALS[row["refusal"]])
        case "REVOKED" | "CLOSED":
            raise order_closed()
        case _:
            return shown(row, row["state"])


def pay(tx: Tx, row: Row, openid: str, now_ms: int) -> Row:
    """Let the payer pay an open order. Raises NotPayable."""
    row = expire(tx, row, now_ms)
    if row["state"] not in ("NOTPAY", "USERPAYING"):
        raise NotPayable(f"order {row['out_trade_no']} is {row['state']}, not open for payment")
    return _charge(tx, row, row["openid"] or openid, now_ms)


def decline(tx: Tx, row: Row, now_ms: int) -> Row:
    """Let the payer's attempt fail: a code payment ends, any other order stays open. Raises NotPayable."""
    row = expire(tx, row, now_ms)
    match row["state"]:
        case "USERPAYING":
            return _move(tx, row, "PAYERROR", refusal="TRADE_ERROR")
        case "NOTPAY":
            return row
        case state:
            raise NotPayable(f"order {row['out_trade_no']} is {state}, not open for payment")


def close(tx: Tx, row: Row) -> None:
    """Close an unpaid order 关单; closing it again does nothing."""
    if row["product"] == "codepay":
        raise invalid_request("付款码支付订单请调用撤销接口")
    match row["state"]:
        case "NOTPAY":
            _move(tx, row, "CLOSED")
        case "CLOSED":
            pass
        case _:
            raise invalid_request("订单已支付, 不能关闭")


def revoke(tx: Tx, row: Row, now_ms: int) -> int:
    """Reverse 撤销 a code payment; return how much the payer must get back (0 if nothing was paid).

    Reversing again returns 0. Only for payments of the last seven days and without refunds.
    """
    if row["product"] != "codepay":
        raise invalid_request("仅付款码支付订单可撤销")
    match row["state"]:
        case "REVOKED":
            return 0
        case "REFUND":
            raise invalid_request("订单已发生退款, 不能撤销")
        case "SUCCESS":
            if now_ms - row["success_ms"] > REVERSIBLE_MS:
                raise ApiError(403, "TRADE_OVERDUE", "订单已超过可撤销的期限")
            _move(tx, row, "REVOKED")
            return int(row["total"])
        case _:
            _move(tx, row, "REVOKED")
            return 0


def shown(row: Row, state: str) -> dict[str, Any]:
    """Return the order as the query API and payment notices show it."""
    view: dict[str, Any] = {
        "appid": row["appid"],
        "mchid": row["mchid"],
        "out_trade_no": row["out_trade_no"],
        "trade_type": TRADE_TYPES[row["product"]],
        "trade_state": state,
        "trade_state_desc": DESCRIPTIONS[state],
        "attach": row["attach"],
    }
    if row["transaction_id"] is None:
        del view["trade_type"]
        return view
    total, used = row["total"], coupons.read(row["coupons"])
    view |= {
        "transaction_id": row["transaction_id"],
        "bank_type": "OTHERS",
        "success_time": rfc3339(row["success_ms"]),
        "payer": {"openid": row["openid"]},
        "amount": {
            "total": total,
            "payer_total": total - coupons.total_of(used),
            "currency": "CNY",
            "payer_currency": "CNY",
        },
        "promotion_detail": [promotion(one) for one in used],
    }
    if row["device_id"]:
        view["scene_info"] = {"device_id": row["device_id"]}
    return view


def promotion(one: coupons.Coupon) -> dict[str, Any]:
    """Return a coupon as a transaction shows it (查询订单): CASH 充值 or NOCASH 免充值, and who gave it."""
    amount, by = one["amount"], one["paid_by"]
    return {
        "coupon_id": f"{one['id']:011}",
        "name": "沙箱代金券",
        "scope": "GLOBAL",
        "type": "NOCASH" if by == "merchant" else "CASH",
        "amount": amount,
        "stock_id": f"{one['id']:08}",
        "wechatpay_contribute": amount if by == "rail" else 0,
        "merchant_contribute": 0 if by == "rail" else amount,
        "other_contribute": 0,
        "currency": "CNY",
    }


def not_paid_out(row: Row) -> int:
    """Return what the merchant's own coupons 免充值 paid of an order: 订单金额 − 应结订单金额."""
    return coupons.total_of(coupons.read(row["coupons"]), "merchant")


def creation_answer(row: Row, base_url: str) -> dict[str, Any]:
    """Return what create answers for this product."""
    match row["product"]:
        case "native":
            return {"code_url": CODE_URL + row["token"]}
        case "h5":
            return {"h5_url": f"{base_url}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{row['token']}"}
        case _:
            return {"prepay_id": f"wx{row['token']}"}


def insert(tx: Tx, merchant: Merchant, order: Order, state: str, now_ms: int) -> Row:
    """Record a new order."""
    tx.execute(
        "INSERT INTO wechat_trade (mchid, out_trade_no, product, request, appid, description, attach, device_id,"
        " notify_url, total, fee_bp, key_id, token, auth_code, state, created_ms, expires_ms, openid)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(merchant.mchid, order.out_trade_no, order.product, order.request, merchant.appid, order.description),
        *(order.attach, order.device_id, order.notify_url, order.total, merchant.fee_bp, order.key_id),
        *(secrets.token_hex(17), order.auth_code, state, now_ms, order.expires_ms, order.openid),
    )
    row = find(tx, merchant.mchid, order.out_trade_no)
    assert row is not None
    return row


def _require_same(row: Row, order: Order) -> None:
    if row["product"] != order.product or row["request"] != order.request:
        raise ApiError(403, "OUT_TRADE_NO_USED", "商户订单号重复, 且请求参数与原请求不同")


def _charge(tx: Tx, row: Row, openid: str, now_ms: int) -> Row:
    """Take the payer's money: state, numbers, fee and fund flow in one step."""
    day = books.bill_date(tx, row["mchid"], now_ms)
    stamp = rfc3339(now_ms)[:10].replace("-", "")
    transaction_id = f"4200{row['mchid'][-4:]}{stamp}{row['trade_id']:012d}"
    used = coupons.use(tx, "wechat", row["mchid"], row["out_trade_no"], row["total"])
    settled = row["total"] - coupons.total_of(used, "merchant")
    fee = books.fee_of(settled, row["fee_bp"])
    tx.execute(
        "UPDATE wechat_trade SET state = 'SUCCESS', expires_ms = NULL, transaction_id = ?, openid = ?, success_ms = ?,"
        " bill_date = ?, fee = ?, coupons = ? WHERE trade_id = ?",
        *(transaction_id, openid, now_ms, day.isoformat(), fee, coupons.dump(used), row["trade_id"]),
    )
    for kind, amount in ((books.PAYMENT, settled), (books.FEE, -fee)):
        books.post(
            tx,
            mchid=row["mchid"],
            at_ms=now_ms,
            day=day,
            kind=kind,
            amount=amount,
            business_no=transaction_id,
            voucher_no=row["out_trade_no"],
        )
    paid = _again(tx, row)
    sharing.freeze(tx, paid, now_ms, day)
    return paid


def _move(tx: Tx, row: Row, state: str, refusal: str | None = None) -> Row:
    tx.execute(
        "UPDATE wechat_trade SET state = ?, refusal = ?, expires_ms = NULL WHERE trade_id = ?",
        *(state, refusal, row["trade_id"]),
    )
    return _again(tx, row)


def _again(tx: Tx, row: Row) -> Row:
    fresh = tx.one("SELECT * FROM wechat_trade WHERE trade_id = ?", row["trade_id"])
    assert fresh is not None
    return fresh
