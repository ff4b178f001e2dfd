"""Orders by WeChat Pay's rules, and how they are shown. What changes them runs inside one transaction.

States: NOTPAY → SUCCESS | CLOSED; codepay: USERPAYING → SUCCESS | PAYERROR, any → REVOKED; SUCCESS → REFUND with the
first refund. They are read from the core's: open, paid, closed, reversed.
"""

import re
from typing import Any

from sandbox import coupons
from sandbox.acquirer import Acquirer, CoreError, Merchant, Trade
from sandbox.acquirer.models import Reader
from sandbox.clock import rfc3339
from sandbox.store import Tx
from sandbox.wechat import sharing
from sandbox.wechat.errors import ApiError, invalid_request, order_closed, order_not_exist
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
PATIENCE_S = 60  # how long a payer is asked for the password
LEAST_PATIENCE_S = 5  # however fast the simulated world runs, a test must get its answer to the prompt in
ASKS_FIRST, HAS_NO_MONEY = "8", "9"  # the last digit of a payer's code
_TOKEN = re.compile(r"(?:.*[?&](?:pr|prepay_id)=)?(?:wx)?([0-9a-f]{34})(?:&.*)?", re.DOTALL)


# ---- what the merchant does ------------------------------------------------------------------------------------------


def create(tx: Tx, of: Acquirer, merchant: Merchant, order: Order) -> Trade:
    """Record an order for the payer to pay, or return the same one if the request is a repetition."""
    known = of.trades.find(tx, merchant.merchant, order.out_trade_no)
    if known is not None and state_of(known) == "CLOSED":
        raise order_closed()  # whatever is asked now: what is closed stays so
    trade, _ = made(tx, of, merchant, order)
    if trade.state != "open":
        raise invalid_request("该订单已支付")
    return trade


def codepay(tx: Tx, of: Acquirer, merchant: Merchant, order: Order) -> Trade:
    """Charge the payer whose payment code was scanned; return the order as it stands then.

    The code's last digit decides: 0-7 pays, 8 is asked for a password, 9 has no money.
    A repetition of the same request changes nothing.
    """
    trade, is_new = made(tx, of, merchant, order)
    if not is_new:
        return trade
    code = str(order.auth_code)
    if tx.execute("INSERT OR IGNORE INTO wechat_auth_code (code) VALUES (?)", code) == 0:
        raise invalid_request("付款码已使用过, 请让用户刷新付款码")
    if code.endswith(ASKS_FIRST):
        return trade
    if code.endswith(HAS_NO_MONEY):
        return of.trades.decline(tx, trade, final=True, refusal="NOT_ENOUGH")
    return charge(tx, of, trade, None)


def made(tx: Tx, of: Acquirer, merchant: Merchant, order: Order, *, combined: bool = False) -> tuple[Trade, bool]:
    """Record an order; return it, and whether it is new. Raises OUT_TRADE_NO_USED."""
    now_ms, expires_ms = of.ctx.clock.now_ms(), order.expires_ms
    if of.trades.find(tx, merchant.merchant, order.out_trade_no) is None:
        require_open(order, now_ms)
    if order.auth_code is not None and order.auth_code.endswith(ASKS_FIRST):
        expires_ms = now_ms + int(max(PATIENCE_S * of.ctx.time_scale, LEAST_PATIENCE_S) * 1000)
    extra = {
        "appid": merchant.extra["appid"],
        "description": order.description,
        "attach": order.attach,
        "device_id": order.device_id,
        "key_id": order.key_id,
        "openid": order.openid,
        "shared": order.shared,
        "combined": combined,
    }
    try:
        return of.trades.create(
            tx,
            merchant,
            order=order.out_trade_no,
            amount=order.total,
            currency="CNY",
            product=order.product,
            params=order.request,
            expires_ms=expires_ms,
            notify_url=order.notify_url,
            extra=extra,
        )
    except CoreError as error:
        raise ApiError(403, "OUT_TRADE_NO_USED", "商户订单号重复, 且请求参数与原请求不同") from error


def close(tx: Tx, of: Acquirer, trade: Trade) -> None:
    """Close an unpaid order 关单; closing it again does nothing."""
    if trade.product == "codepay":
        raise invalid_request("付款码支付订单请调用撤销接口")
    try:
        of.trades.close(tx, trade)
    except CoreError as error:
        raise invalid_request("订单已支付, 不能关闭") from error


def reverse(tx: Tx, of: Acquirer, trade: Trade) -> None:
    """Reverse 撤销 a code payment, giving back what was paid; reversing again does nothing.

    Only for payments of the last seven days and without refunds.
    """
    if trade.product != "codepay":
        raise invalid_request("仅付款码支付订单可撤销")
    if trade.refunded and trade.state == "paid":
        raise invalid_request("订单已发生退款, 不能撤销")
    if trade.state == "paid" and of.ctx.clock.now_ms() - (trade.paid_ms or 0) > REVERSIBLE_MS:
        raise ApiError(403, "TRADE_OVERDUE", "订单已超过可撤销的期限")
    was_paid, trade = trade.state == "paid", of.refunds.reverse(tx, trade)
    if was_paid:
        (refund,) = of.refunds.of_trade(tx, trade)
        sharing.unfreeze_for_refund(tx, of, trade, refund)
    of.trades.note(tx, trade, revoked=True)


# ---- the payer -------------------------------------------------------------------------------------------------------


def charge(tx: Tx, of: Acquirer, trade: Trade, payer: str | None) -> Trade:
    """Take the payer's money, and freeze it if the order asked for sharing. Raises CoreError."""
    payer = trade.extra["openid"] or payer or default_payer(trade.extra["appid"])
    charged = of.trades.charge(tx, trade, payer)
    sharing.freeze(tx, of, charged)
    return charged


def default_payer(appid: str) -> str:
    """Return the openid of who pays when nobody says who does."""
    return f"oPayer{appid[2:]:0<22}"


def token_in(code: str) -> str | None:
    """Return the token in what a payer sees, a code_url, prepay_id or h5_url; None if there is none."""
    match = _TOKEN.fullmatch(code)
    return match and match[1]


# ---- how it is shown -------------------------------------------------------------------------------------------------


def get(reader: Reader, of: Acquirer, mchid: str, out_trade_no: str) -> Trade:
    """Return a single order by the merchant's number. Raises ORDER_NOT_EXIST."""
    return require_single(of.trades.find(reader, mchid, out_trade_no), mchid)


def require_single(trade: Trade | None, mchid: str) -> Trade:
    """Return an order that is this merchant's and no part of a combined one. Raises ORDER_NOT_EXIST."""
    if trade is None or trade.merchant != mchid or trade.extra["combined"]:
        raise order_not_exist()
    return trade


def state_of(trade: Trade) -> str:
    """Return an order's trade_state."""
    by_code = trade.product == "codepay"
    if trade.extra.get("revoked"):
        return "REVOKED"
    if trade.state == "paid":
        return "REFUND" if trade.refunded else "SUCCESS"
    if trade.state == "open":
        return "USERPAYING" if by_code else "NOTPAY"
    return "PAYERROR" if by_code else "CLOSED"


def codepay_answer(trade: Trade) -> dict[str, Any]:
    """Return what codepay answers for an order in this state; raises its refusals, 202 USERPAYING among them."""
    match state_of(trade):
        case "USERPAYING":
            raise ApiError(202, "USERPAYING", DESCRIPTIONS["USERPAYING"])
        case "PAYERROR":
            refusal = trade.refusal or "TRADE_ERROR"
            raise ApiError(403, refusal, REFUSALS[refusal])
        case "REVOKED":
            raise order_closed()
        case _:
            return shown(trade)


def creation_answer(product: str, token: str, base_url: str, now_ms: int) -> dict[str, Any]:
    """Return what create answers for this product; the address of h5 is another each time."""
    match product:
        case "native":
            return {"code_url": CODE_URL + token}
        case "h5":
            return {"h5_url": f"{base_url}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{token}&package={now_ms}"}
        case _:
            return {"prepay_id": f"wx{token}"}


def shown(trade: Trade) -> dict[str, Any]:
    """Return the order as the query API and payment notices show it."""
    state = state_of(trade)
    view: dict[str, Any] = {
        "appid": trade.extra["appid"],
        "mchid": trade.merchant,
        "out_trade_no": trade.order,
        "trade_type": TRADE_TYPES[trade.product],
        "trade_state": state,
        "trade_state_desc": DESCRIPTIONS[state],
        "attach": trade.extra["attach"],
    }
    if trade.paid_ms is None:
        del view["trade_type"]
        return view
    view |= {
        "transaction_id": trade.charge_ref,
        "bank_type": "OTHERS",
        "success_time": rfc3339(trade.paid_ms),
        "payer": {"openid": trade.payer},
        "amount": {
            "total": trade.amount,
            "payer_total": trade.amount - coupons.total_of(trade.coupons),
            "currency": "CNY",
            "payer_currency": "CNY",
        },
        "promotion_detail": [promotion(one) for one in trade.coupons],
    }
    if trade.extra["device_id"]:
        view["scene_info"] = {"device_id": trade.extra["device_id"]}
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
