"""The words of WeChat Pay APIv3 and ours: request bodies, transactions, refunds, errors. No signatures, no network."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson

from channels.contract import (
    Confirmed,
    Method,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Response,
    Unknown,
    no_if_unknown,
)
from channels.powers import RefundTarget
from kernel.clock import BEIJING
from kernel.money import MAX_MINOR, Money, is_currency
from kernel.safe_json import BadJson, loads_object, text, whole

MAX_DESCRIPTION, MAX_REASON = 127, 80  # bytes of UTF-8: WeChat Pay counts three for 茶, and refuses what is longer
_PREPAY_ID = re.compile(r"[0-9A-Za-z_\-]{1,64}", re.ASCII)  # it becomes a line of what we sign
# A backtick begins each value in a bill, so one in a product name could split our own bill lines.
_UNWANTED = dict.fromkeys([*range(32), 127, 8232, 8233], " ") | {ord("`"): "'"}


class Doubt(Exception):
    """An answer is readable JSON and yet not believed: a field is missing, of a wrong kind, or not about our order."""

    stated_amount: Money | None = None


class AmountDiffers(Doubt):
    """The channel says that money moved, and names another amount than ours."""

    def __init__(self, stated: Money, ours: Money) -> None:
        super().__init__(f"amount differs: the channel says {stated}, we have {ours}")
        self.stated_amount = stated


# ---- requests --------------------------------------------------------------------------------------------------------


def order_body(order: Order, mchid: str, appid: str) -> bytes:
    """Return the body that creates an order which the payer then pays (Native, JSAPI, H5, APP 下单)."""
    body: dict[str, Any] = {
        "appid": appid,
        "mchid": mchid,
        "description": description(order.description),
        "out_trade_no": order.reference,
        "time_expire": beijing(order.expires_at),
        "notify_url": order.notify_url,
        "amount": {"total": order.amount.minor, "currency": order.amount.currency},
    }
    if order.method is Method.JSAPI:
        body["payer"] = {"openid": order.payer or ""}
    if order.method is Method.H5:
        body["scene_info"] = {"payer_client_ip": order.client_ip or "", "h5_info": {"type": "Wap"}}
    return orjson.dumps(body | settle_info(order.share_later))


def settle_info(share_later: bool) -> dict[str, Any]:
    """Return the part that freezes the money for sharing 分账, empty where it is not to be."""
    return {"settle_info": {"profit_sharing": True}} if share_later else {}


def codepay_body(order: Order, mchid: str, appid: str) -> bytes:
    """Return the body that charges the payer's code (付款码支付). It takes neither notify_url nor time_expire."""
    return orjson.dumps(
        {
            "appid": appid,
            "mchid": mchid,
            "description": description(order.description),
            "out_trade_no": order.reference,
            "payer": {"auth_code": order.auth_code or ""},
            "amount": {"total": order.amount.minor, "currency": order.amount.currency},
            "scene_info": {"store_info": {"out_id": order.store or mchid}},
        }
        | settle_info(order.share_later)
    )


def refund_body(refund: RefundOrder) -> bytes:
    """Return the body that asks for a refund (退款申请)."""
    amount = {
        "refund": refund.amount.minor,
        "total": refund.payment_amount.minor,
        "currency": refund.amount.currency,
    }
    body = {
        "out_trade_no": refund.payment_reference,
        "out_refund_no": refund.reference,
        "reason": plain(refund.reason, MAX_REASON),
        "notify_url": refund.notify_url,
        "amount": amount,
    }
    return orjson.dumps({name: value for name, value in body.items() if value})


def target_body(refund: RefundOrder, target: RefundTarget, seal: Callable[[str], str]) -> bytes:
    """Return the body that says where an abnormal refund goes; card number and name are sealed."""
    body = {"out_refund_no": refund.reference, "type": "USER_BANK_CARD" if target.to_payer else "MERCHANT_BANK_CARD"}
    if target.to_payer:
        body |= {
            "bank_type": target.bank_type,
            "bank_account": seal(target.bank_account),
            "real_name": seal(target.real_name),
        }
    return orjson.dumps(body)


def description(words: str) -> str:
    """Return a product name that WeChat takes."""
    return plain(words, MAX_DESCRIPTION) or "-"


def plain(words: str, most: int) -> str:
    """Return words without control characters and backticks, of at most `most` bytes and of whole characters."""
    return words.translate(_UNWANTED).encode()[:most].decode(errors="ignore").strip()


def beijing(moment: datetime) -> str:
    """Write an aware moment as WeChat does: 2026-11-24T16:30:00+08:00."""
    return moment.astimezone(BEIJING).isoformat(timespec="seconds")


# ---- answers ---------------------------------------------------------------------------------------------------------


def transaction(body: Mapping[str, Any], *, mchid: str, appid: str) -> tuple[str, Outcome]:
    """Return (out_trade_no, outcome) of a transaction as queries and notices show it. Raises Doubt."""
    expect(body, "mchid", mchid)
    expect(body, "appid", appid)
    return text_of(body, "out_trade_no"), state_outcome(body, "total", "payer_total")


def state_outcome(body: Mapping[str, Any], total: str, payer_total: str) -> Outcome:
    """Return what a transaction's trade_state means. Raises Doubt.

    total, payer_total: what the amounts of the order and of the payer's own money are called in `amount`.
    """
    state = text_of(body, "trade_state")
    match state:
        # REFUND 转入退款: some or all of it was given back later, so it was paid.
        case "SUCCESS" | "REFUND":
            amount = amount_of(part_of(body, "amount"), total)
            coupon = merchant_coupon(body, amount, payer_total)
            return Confirmed(reference_of(body, "transaction_id"), amount, moment_of(body, "success_time"), coupon)
        case "NOTPAY" | "USERPAYING":
            return Pending()
        case "CLOSED" | "REVOKED":
            return Refused(state, words_of(body, "trade_state_desc"), closed=True)
        case "PAYERROR":
            return Refused(state, words_of(body, "trade_state_desc"))
        case _:
            raise Doubt(f"trade_state {state[:40]!r} is not known")


def about_order(found: tuple[str, Outcome], order: Order) -> Outcome:
    """Return the outcome if it is about this order and its amount. Raises Doubt."""
    reference, outcome = found
    _same("out_trade_no", reference, order.reference)
    if isinstance(outcome, Confirmed) and outcome.amount != order.amount:
        raise AmountDiffers(outcome.amount, order.amount)
    return outcome


def refund(body: Mapping[str, Any], *, status_name: str) -> tuple[str, str, Outcome]:
    """Return (out_refund_no, out_trade_no, outcome) of a refund. Raises Doubt.

    status_name: `status` in answers, `refund_status` in notices. In a notice the amount names no currency: it is CNY.
    Nor does one say which part of the refund the merchant's own coupons bear. Where the payer gets less than the whole,
    so that a coupon was used, it is Pending: time to ask, and no more.
    """
    reference, payment_reference = text_of(body, "out_refund_no"), text_of(body, "out_trade_no")
    refund_ref = reference_of(body, "refund_id")
    status = text_of(body, status_name)
    match status:
        case "SUCCESS":
            amount = amount_of(part_of(body, "amount"), "refund")
            coupon, at = coupon_of_refund(body, amount), moment_of(body, "success_time")
            if coupon is None and status_name == "refund_status" and a_coupon_was_used(body):
                return reference, payment_reference, Pending(channel_ref=refund_ref)
            return reference, payment_reference, Confirmed(refund_ref, amount, at, coupon)
        case "PROCESSING":
            return reference, payment_reference, Pending(channel_ref=refund_ref)
        case "ABNORMAL":
            # 退款异常: taken from the merchant, not received by the payer; a person decides where it goes
            # (apply-abnormal-refund), and then it becomes SUCCESS. So it is no refusal.
            return reference, payment_reference, Pending({"type": "operator", "code": "ABNORMAL"}, refund_ref)
        case "CLOSED":
            return reference, payment_reference, Refused(status, closed=True)
        case _:
            raise Doubt(f"{status_name} {status[:40]!r} is not known")


def about_refund(found: tuple[str, str, Outcome], order: RefundOrder) -> Outcome:
    """Return the outcome if it is about this refund and its amount. Raises Doubt."""
    reference, payment_reference, outcome = found
    _same("out_refund_no", reference, order.reference)
    _same("out_trade_no", payment_reference, order.payment_reference)
    if isinstance(outcome, Confirmed) and outcome.amount != order.amount:
        raise AmountDiffers(outcome.amount, order.amount)
    return outcome


# ---- coupons 代金券 --------------------------------------------------------------------------------------------------

# 免充值: taken off as the payer pays, so that it is not paid out: 应结订单金额 = 订单金额 − 免充值代金券金额. The
# other kind 充值 was paid in beforehand and is paid out whole, whoever gave it. A transaction and a refund have names
# of their own for the two.
# Sources: pay.weixin.qq.com doc/v2/partner/4011984263 (2024-11-18), docs/merchant/products/cash-coupons/introduction
# (2025-08-20); field names of transactions and refunds: see README.md.
PAID_OUT = {"CASH": True, "NOCASH": False, "COUPON": True, "DISCOUNT": False}
_CONTRIBUTIONS = ("wechatpay_contribute", "merchant_contribute", "other_contribute")


def merchant_coupon(body: Mapping[str, Any], amount: Money, payer_total: str) -> Money | None:
    """Return what coupons of the merchant's own paid of a transaction; None where no coupon is named.

    Raises Doubt where the coupons listed are not the difference between the order and the payer's own money.
    """
    stated = part_of(body, "amount")
    own = _whole_or_none(stated, payer_total)
    if stated.get("payer_currency", amount.currency) != amount.currency:
        own = None  # the payer's money, in another currency: nothing to reckon with
    if own is not None and own > amount.minor:
        raise Doubt(f"the payer is said to have paid {own} of {amount.minor}")
    listed = _promotions(body, amount.currency, "amount")
    if not listed:
        return None
    _adds_up("the coupons", sum(minor for _, minor in listed), None if own is None else amount.minor - own, amount)
    coupon = _not_paid_out(listed)
    settled = _whole_or_none(stated, "settlement_total")
    if coupon is not None and settled is not None:
        _adds_up("the coupons that are not paid out", coupon, amount.minor - settled, amount)
    return None if coupon is None else Money(coupon, amount.currency)


def coupon_of_refund(body: Mapping[str, Any], amount: Money) -> Money | None:
    """Return what coupons of the merchant's own bear of a refund: 申请退款金额 − 退款金额 (settlement_refund).

    None where no coupon was used, and where it does not say, as in notices. Raises Doubt where the parts do not add up.
    """
    stated = part_of(body, "amount")
    own, settled = _whole_or_none(stated, "payer_refund"), _whole_or_none(stated, "settlement_refund")
    discount = _whole_or_none(stated, "discount_refund")
    for name, minor in (("payer_refund", own), ("settlement_refund", settled), ("discount_refund", discount)):
        if minor is not None and minor > amount.minor:
            raise Doubt(f"{name} {minor} is more than the refund of {amount.minor}")
    if own is not None and settled is not None and own > settled:
        raise Doubt(f"the payer gets {own}, and only {settled} is taken from the merchant and from whom coupons are")
    listed = _promotions(body, amount.currency, "refund_amount")
    if listed:
        total = sum(minor for _, minor in listed)
        _adds_up("the coupons given back", total, discount, amount)
        _adds_up("the coupons given back", total, None if own is None else amount.minor - own, amount)
        kept = _not_paid_out(listed)
        if kept is not None:
            _adds_up("the coupons not taken", kept, None if settled is None else amount.minor - settled, amount)
            return Money(kept, amount.currency)
    if not a_coupon_was_used(body):
        return None
    if settled is not None:
        return Money(amount.minor - settled, amount.currency)
    return Money(0, amount.currency) if own == amount.minor else None


def a_coupon_was_used(body: Mapping[str, Any]) -> bool:
    """Tell whether a refund is of a payment that its payer did not pay all of. Raises Doubt."""
    stated = part_of(body, "amount")
    totals = [_whole_or_none(stated, name) for name in ("total", "payer_total", "settlement_total")]
    parts = [_whole_or_none(stated, name) for name in ("refund", "payer_refund", "settlement_refund")]
    return any(len({one for one in figures if one is not None}) > 1 for figures in (totals, parts))


def _promotions(body: Mapping[str, Any], currency: str, field: str) -> list[tuple[str, int]]:
    """Return (type, fen) of each coupon in promotion_detail; field: which of its amounts. Raises Doubt."""
    listed = body.get("promotion_detail") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Doubt("promotion_detail is not a list of objects")
    found = []
    for one in listed:
        minor = _whole_or_none(one, field)
        if minor is None:
            raise Doubt(f"promotion_detail: {field} is missing")
        if one.get("currency", currency) != currency:
            raise Doubt(f"promotion_detail: a coupon in {str(one['currency'])[:10]!r}")
        given = [_whole_or_none(one, name) for name in _CONTRIBUTIONS]
        shares = sum(part for part in given if part is not None)
        # Left out or all 0 where WeChat Pay does not tell who gave it; told, the parts are the coupon.
        if field == "amount" and (shares > minor or (shares and None not in given and shares != minor)):
            raise Doubt(f"promotion_detail: contributions of {shares} to a coupon of {minor}")
        found.append((words_of(one, "type"), minor))
    return found


def _not_paid_out(listed: Sequence[tuple[str, int]]) -> int | None:
    """Return the sum of the coupons that are not paid out; None where there is one of a kind we do not know."""
    if any(minor and kind not in PAID_OUT for kind, minor in listed):
        return None
    return sum(minor for kind, minor in listed if minor and not PAID_OUT[kind])


def _adds_up(what: str, sum_: int, stated: int | None, amount: Money) -> None:
    if stated is not None and sum_ != stated:
        raise Doubt(f"{what} come to {sum_} of {amount.minor}, the amounts say {stated}")


def _whole_or_none(part: Mapping[str, Any], name: str) -> int | None:
    """Return an amount in fen, 0 or more, that may be missing. Raises Doubt."""
    if part.get(name) is None:
        return None
    try:
        minor = whole(part[name])
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None
    if not 0 <= minor <= MAX_MINOR:
        raise Doubt(f"{name} {minor} is not an amount of money")
    return minor


# An h5_url is good for five minutes from when it was made: at most the time of a call before its answer is read.
H5_LIVES = timedelta(minutes=5) - timedelta(seconds=15)


def to_show(method: Method, return_url: str | None, body: Mapping[str, Any], base: str, now: datetime) -> Outcome:
    """Return what an order's answer gives to show; the parameters of JSAPI and APP are not signed yet. Raises Doubt.

    return_url: where an H5 payer goes afterwards. base: where we call; H5 pages are there, or at an https address. now:
    when the answer came.
    """
    match method:
        case Method.QR:
            code = text_of(body, "code_url")
            if not code.startswith("weixin://"):
                raise Doubt("code_url is not a weixin:// address")
            return Pending({"type": "qr", "code": code})
        case Method.H5:
            url = text_of(body, "h5_url")
            if not url.startswith(("https://", f"{base}/")) or not url.isascii() or not url.isprintable():
                raise Doubt("h5_url is not an https address")
            back = f"&redirect_url={quote(return_url, safe='')}" if return_url else ""
            return Pending({"type": "redirect", "url": url + back}, usable_until=now + H5_LIVES)
        case _:
            prepay_id = text_of(body, "prepay_id")
            if not _PREPAY_ID.fullmatch(prepay_id):
                raise Doubt("prepay_id is not one of WeChat Pay's")
            return Pending({"type": method.value, "prepay_id": prepay_id})


def expect(body: Mapping[str, Any], name: str, ours: str) -> None:
    """Raise Doubt unless the field is there and ours."""
    _same(name, text_of(body, name), ours)


# ---- errors ----------------------------------------------------------------------------------------------------------

Says = Callable[[str, str], Outcome]  # (rail's code, its words) → what that means


def final(*, closed: bool = False, retriable: bool = False) -> Says:
    return lambda code, words: Refused(code, words, closed=closed, retriable=retriable)


def not_found(code: str, words: str) -> Outcome:
    return Unknown(f"{code}: {words}", not_found=True)


# The request was never looked at as an order: our credentials or settings are wrong. Nothing was done.
NOT_ADMITTED: dict[str, Says] = {
    "SIGN_ERROR": final(retriable=True),
    "NO_AUTH": final(retriable=True),
    "APPID_MCHID_NOT_MATCH": final(retriable=True),
    "MCH_NOT_EXISTS": final(retriable=True),
}
# The payer is typing a password. Old and new documents spell it differently, with HTTP 202 or 400.
USER_PAYING = ("USERPAYING", "USER_PAYING")
# What each operation may conclude from an error. A code that is not here leaves the outcome unknown.
PAY: Mapping[str, Says] = {
    **NOT_ADMITTED,
    "PARAM_ERROR": final(),
    "ORDER_CLOSED": final(closed=True),
    "RULE_LIMIT": final(retriable=True),
    "NOT_ENOUGH": final(),  # the payer's money is short: only the payer can change that
    "ACCOUNT_ERROR": final(),
    "USER_ACCOUNT_ABNORMAL": final(),
    **{code: lambda code, words: Pending() for code in USER_PAYING},
}
QUERY: Mapping[str, Says] = {"ORDER_NOT_EXIST": not_found, "ORDERNOTEXIST": not_found}
CLOSE: Mapping[str, Says] = {**QUERY, "ORDER_CLOSED": final(closed=True), "ORDERCLOSED": final(closed=True)}
REVERSE: Mapping[str, Says] = CLOSE
REFUND: Mapping[str, Says] = {
    **NOT_ADMITTED,
    "PARAM_ERROR": final(),
    "NOT_ENOUGH": final(retriable=True),  # the merchant tops up and the same number is tried again
    "RESOURCE_NOT_EXISTS": final(),  # no such paid order
    "TRADE_OVERDUE": final(),  # more than 365 days after the payment
    "USER_ACCOUNT_ABNORMAL": final(),
    # More than is left, reversed before, too many of one payment; or the number was used with other parameters.
    **dict.fromkeys(("INVALID_REQUEST", "RULE_LIMIT", "TRADE_ERROR", "REFUND_FEE_MISMATCH"), no_if_unknown),
}
ABNORMAL_REFUND: Mapping[str, Says] = {**NOT_ADMITTED, "PARAM_ERROR": final()}
REFUND_QUERY: Mapping[str, Says] = {"RESOURCE_NOT_EXISTS": not_found}


@dataclass(frozen=True, slots=True)
class RailError:
    """What an answer of 4xx or 5xx says."""

    status: int
    code: str
    words: str


def rail_error(answer: Response) -> RailError:
    """Return the error an answer carries; its code is empty when the body is not WeChat's error format."""
    try:
        body = loads_object(answer.body)
        return RailError(answer.status, text(body["code"])[:64], words_of(body, "message"))
    except (BadJson, KeyError):
        return RailError(answer.status, "", "")


def error_outcome(answer: Response, table: Mapping[str, Says]) -> Outcome:
    """Return what an answer outside 2xx means: only codes of `table` conclude anything, and only under 4xx.

    408 and 429 speak of the transport, not of the order, whatever their body says.
    """
    error = rail_error(answer)
    if 400 <= error.status < 500 and error.status not in (408, 429) and (says := table.get(error.code)):
        return says(error.code, error.words)
    return Unknown(f"HTTP {error.status} {error.code or 'without a code'}: {error.words}".rstrip(": "))


# ---- reading ---------------------------------------------------------------------------------------------------------


def text_of(body: Mapping[str, Any], name: str) -> str:
    try:
        return text(body[name])
    except KeyError:
        raise Doubt(f"{name} is missing") from None
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None


def number_in(body: Mapping[str, Any]) -> str | None:
    """Return our number of the refund or payment that a notice speaks of; None where it names neither."""
    named = [body.get(name) for name in ("out_refund_no", "out_trade_no")]
    return next((number for number in named if isinstance(number, str)), None)


def words_of(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value[:200] if isinstance(value, str) else ""


def part_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = body.get(name)
    if not isinstance(part, dict):
        raise Doubt(f"{name} is missing or is not an object")
    return part


def amount_of(part: Mapping[str, Any], name: str) -> Money:
    try:
        minor = whole(part.get(name))
    except BadJson as error:
        raise Doubt(f"amount.{name}: {error}") from None
    currency = part.get("currency", "CNY")
    if not 0 < minor <= MAX_MINOR or not isinstance(currency, str) or not is_currency(currency):
        raise Doubt(f"amount.{name} {minor} {str(currency)[:10]!r} is not an amount of money")
    return Money(minor, currency)


def reference_of(body: Mapping[str, Any], name: str) -> str:
    value = text_of(body, name)
    if not (0 < len(value) <= 64 and value.isascii() and value.isalnum()):
        raise Doubt(f"{name} {value[:64]!r} is not a number of WeChat Pay")
    return value


def moment_of(body: Mapping[str, Any], name: str) -> datetime:
    value = text_of(body, name)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Doubt(f"{name} {value[:40]!r} is not a time") from None
    if moment.tzinfo is None:
        raise Doubt(f"{name} {value[:40]!r} names no time zone")
    return moment


def _same(name: str, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise Doubt(f"{name} differs: the channel says {theirs[:64]}, we have {ours}")
