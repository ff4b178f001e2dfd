"""The words of Alipay's OpenAPI and ours: business content, trades, refunds, errors. No signatures, no network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from channels.alipay.signing import timestamp
from channels.contract import Confirmed, Method, Order, Outcome, Pending, RefundOrder, Refused, Unknown, no_if_unknown
from kernel.clock import BEIJING
from kernel.money import MAX_MINOR, Money, from_major
from kernel.safe_json import BadJson, loads, loads_object, text

MAX_SUBJECT = 256
MAX_CODE_MINUTES = 15 * 24 * 60  # Alipay keeps a code that was not scanned for 15 days at most
# A comma would split our own lines of the bill, and / = & are refused in a subject.
_UNWANTED = dict.fromkeys([*range(32), 127, 8232, 8233], " ") | str.maketrans('",/=&', "'，／＝＆")


class Doubt(Exception):
    """An answer is readable JSON and yet not believed: a field is missing, of a wrong kind, or not about our order."""

    stated_amount: Money | None = None


class GivenBack(Doubt):
    """Alipay says that the trade was paid and that the payer has the money again, and not by what."""


class AmountDiffers(Doubt):
    """Alipay says that money moved, and names another amount than ours."""

    def __init__(self, stated: Money, ours: Money) -> None:
        super().__init__(f"amount differs: the channel says {stated}, we have {ours}")
        self.stated_amount = stated


# ---- our numbers at Alipay -------------------------------------------------------------------------------------------


def rail_number(reference: str) -> str:
    """Return our number as Alipay takes it: out_trade_no is of letters, digits and underscores, so our dash is one."""
    return reference.replace("-", "_")


def our_number(rails: str) -> str:
    """Return our number for one of Alipay's; the first underscore was our dash. Others' numbers come out as others'."""
    return rails.replace("_", "-", 1)


# ---- requests --------------------------------------------------------------------------------------------------------

# How each way to pay begins: Alipay's method and what it calls the product.
WAYS: Mapping[Method, tuple[str, str]] = {
    Method.QR: ("alipay.trade.precreate", ""),
    Method.BARCODE: ("alipay.trade.pay", "FACE_TO_FACE_PAYMENT"),
    Method.JSAPI: ("alipay.trade.create", ""),
    Method.PAGE: ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    Method.H5: ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    Method.APP: ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
}


def order_content(order: Order, *, mini_app_id: str = "") -> dict[str, Any]:
    """Return the business content that places an order, whatever the way to pay.

    It is the same each time for the same order: sent again, it gives the same order and never a second one.
    mini_app_id: the app in which the payer is (小程序支付), where the merchant pays by the newer JSAPI product.
    """
    content: dict[str, Any] = {
        "out_trade_no": rail_number(order.reference),
        "total_amount": order.amount.major(),
        "subject": subject(order.description),
        "product_code": WAYS[order.method][1],
        "time_expire": timestamp(order.expires_at),
    }
    match order.method:
        case Method.QR:
            minutes = int((order.expires_at - order.created_at).total_seconds()) // 60
            content["qr_code_timeout_express"] = f"{min(max(minutes, 1), MAX_CODE_MINUTES)}m"
        case Method.BARCODE:
            content |= {
                "scene": "bar_code",
                "auth_code": order.auth_code or "",
                "terminal_id": (order.store or "")[:32],
            }
        case Method.JSAPI:
            content |= payer(order.payer or "")
            if mini_app_id:
                content |= {"product_code": "JSAPI_PAY", "op_app_id": mini_app_id}
        case Method.H5:
            content["quit_url"] = order.return_url
        case _:
            pass
    if order.share_later:
        content["extend_params"] = {"royalty_freeze": "true"}
    return {name: value for name, value in content.items() if value}


def refund_content(refund: RefundOrder) -> dict[str, Any]:
    """Return the business content that asks for a refund."""
    content = {
        "out_trade_no": rail_number(refund.payment_reference),
        "out_request_no": rail_number(refund.reference),
        "refund_amount": refund.amount.major(),
        "query_options": TOLD_OF_REFUNDS[1:],
        "refund_reason": refund.reason.translate(_UNWANTED)[:256].strip(),
    }
    return {name: value for name, value in content.items() if value}


def payer(named: str) -> dict[str, str]:
    """Return who pays: an old user id (16 digits from 2088) or an open id."""
    old = len(named) == 16 and named.isascii() and named.isdigit() and named.startswith("2088")
    return {"buyer_id" if old else "buyer_open_id": named}


def subject(words: str) -> str:
    """Return an order's name that Alipay takes, at most 256 characters."""
    return words.translate(_UNWANTED)[:MAX_SUBJECT].strip() or "-"


def written(content: Mapping[str, Any]) -> str:
    """Return business content as the text that is signed and sent."""
    return orjson.dumps(content).decode()


# ---- answers ---------------------------------------------------------------------------------------------------------


def trade(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Return what a trade's state, as queries show it, means for this order. Raises Doubt."""
    _ours(fields, order)
    status = _text(fields, "trade_status")
    match status:
        case "WAIT_BUYER_PAY":
            return Pending(channel_ref=_reference(fields, "trade_no"))
        case "TRADE_SUCCESS" | "TRADE_FINISHED":
            return paid(fields, order, at="send_pay_date")
        case "TRADE_CLOSED":
            return _closed(fields, order)
        case _:
            raise Doubt(f"trade_status {status[:40]!r} is not known")


def _closed(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Tell apart what TRADE_CLOSED may mean: never paid, given back by a reversal, or given back by refunds.

    What was paid and refunded was paid, and is never called closed. A reversal names itself where Alipay shows
    ext_infos; a payer's-code order that was paid and does not may be either, and nobody can tell from here.
    """
    moved = any(_figure(fields, name) for name in ("buyer_pay_amount", "receipt_amount")) or fields.get(
        "fund_bill_list"
    )
    if not fields.get("send_pay_date"):
        if moved:
            raise Doubt("the trade is closed, names no time of payment, and yet money is said to have moved")
        return Refused("TRADE_CLOSED", closed=True)
    if _reversed(fields):
        return Refused("REVERSED", closed=True)
    if order.method is Method.BARCODE:
        raise GivenBack("the trade was paid and is closed: reversed or refunded, the answer does not say which")
    return paid(fields, order, at="send_pay_date")


def _reversed(fields: Mapping[str, Any]) -> bool:
    try:
        return loads_object(text(fields.get("ext_infos") or "{}").encode()).get("action") == "cancel"
    except BadJson:
        return False


def paid(fields: Mapping[str, Any], order: Order, *, at: str) -> Outcome:
    """Return that the order was paid; at: which field holds the time. Raises Doubt."""
    _ours(fields, order)
    amount = _amount(fields, "total_amount")
    if fields.get("trans_currency", "CNY") != "CNY":
        raise Doubt(f"the trade is in {str(fields['trans_currency'])[:10]!r}")
    if amount != order.amount:
        raise AmountDiffers(amount, order.amount)
    return Confirmed(_reference(fields, "trade_no"), amount, _moment(fields, at), merchant_coupon(fields, amount))


def payer_is_asked(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Return that the payer has to confirm first. Raises Doubt when it is about another order."""
    if "out_trade_no" in fields:
        _ours(fields, order)
    return Pending()


def code_to_show(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Return the QR code of a pre-created order. Raises Doubt."""
    _ours(fields, order)
    code = _text(fields, "qr_code")
    if not code.startswith("https://") or not code.isascii() or not code.isprintable():
        raise Doubt("qr_code is not an https address")
    return Pending({"type": "qr", "code": code})


def trade_to_pay(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Return what Alipay's own browser is to be given for the payer to pay. Raises Doubt."""
    _ours(fields, order)
    trade_no = _reference(fields, "trade_no")
    return Pending({"type": "jsapi", "trade_no": trade_no}, trade_no)


def closed(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Return that the order was closed. Raises Doubt."""
    _ours(fields, order)
    return Refused("CLOSED", closed=True)


def undone(fields: Mapping[str, Any], order: Order) -> Outcome:
    """Return that a reversal is done, or, where Alipay asks for it once more, that nothing is known. Raises Doubt."""
    _ours(fields, order)
    if _text(fields, "retry_flag") != "N":
        return Unknown("Alipay asks for the reversal once more")
    return Refused("REVERSED", closed=True)


def refunded(fields: Mapping[str, Any], refund: RefundOrder) -> Outcome:
    """Return what the answer to a refund request means. Raises Doubt.

    refund_fee is all that was given back of this trade so far, not what this request moved: only where the two are
    equal does the answer say what moved. fund_change N: nothing moved by this call, though an earlier one may have.
    """
    same("out_trade_no", _text(fields, "out_trade_no"), rail_number(refund.payment_reference))
    trade_no = _reference(fields, "trade_no")
    if _text(fields, "fund_change") == "Y":
        so_far = _amount(fields, "refund_fee")
        if so_far < refund.amount:
            raise AmountDiffers(so_far, refund.amount)
        if so_far == refund.amount and fields.get("gmt_refund_pay"):
            return Confirmed(trade_no, so_far, _moment(fields, "gmt_refund_pay"), coupon_of_refund(fields, so_far))
    return Pending(channel_ref=trade_no)


def refund_found(fields: Mapping[str, Any], refund: RefundOrder) -> Outcome:
    """Return what a refund query says. Raises Doubt.

    Without refund_status Alipay has not carried out a refund of that number; the same number may be sent again. Where
    the answer names a refund all the same, as answers up to 2020 did of those that were done, neither is believed: a
    refusal of what is sent after "not found" would end a refund that may have gone out.
    """
    if "refund_status" not in fields:
        if "out_request_no" in fields or "refund_amount" in fields:
            raise Doubt("names a refund and no refund_status")
        return Unknown("Alipay has no refund of this number", not_found=True)
    same("out_trade_no", _text(fields, "out_trade_no"), rail_number(refund.payment_reference))
    same("out_request_no", _text(fields, "out_request_no"), rail_number(refund.reference))
    trade_no, status = _reference(fields, "trade_no"), _text(fields, "refund_status")
    if status == "REFUND_PROCESSING":
        return Pending(channel_ref=trade_no)
    if status != "REFUND_SUCCESS":
        raise Doubt(f"refund_status {status[:40]!r} is not known")
    amount = _amount(fields, "refund_amount")
    if amount != refund.amount:
        raise AmountDiffers(amount, refund.amount)
    return Confirmed(trade_no, amount, _moment(fields, "gmt_refund_pay"), coupon_of_refund(fields, amount))


# ---- coupons 商家优惠 ------------------------------------------------------------------------------------------------

# What queries answer only when they are asked for it.
TOLD_OF_TRADES = ["mdiscount_amount", "voucher_detail_list"]
TOLD_OF_REFUNDS = ["gmt_refund_pay", "refund_detail_item_list"]


def merchant_coupon(fields: Mapping[str, Any], amount: Money) -> Money | None:
    """Return what coupons of the merchant's own paid of a trade, total_amount less receipt_amount; None: none is named.

    receipt_amount 实收金额 is what the merchant's account receives, before the fee. Queries of trades paid on a page
    show it, and every other part, as 0.00 (README.md, Coupons): then the discount, or the vouchers, say it. Raises
    Doubt where the parts contradict each other.
    """
    received, discount = _figure(fields, "receipt_amount"), _figure(fields, "mdiscount_amount")
    vouchers = _contributed(fields.get("voucher_detail_list"))
    if min(received, discount) < 0 or max(received, discount) > amount.minor:
        raise Doubt(f"received {received} and discounted {discount} of a trade of {amount.minor}")
    if received:
        coupon = amount.minor - received
        if discount and discount != coupon:
            raise Doubt(f"received {received} of {amount.minor}, and the merchant's discount is {discount}")
    else:
        coupon = discount or vouchers
    if vouchers > coupon:
        raise Doubt(f"vouchers that the merchant gave {vouchers} of, where {coupon} is not received")
    return Money(coupon, amount.currency) if coupon else None


def coupon_of_refund(fields: Mapping[str, Any], amount: Money) -> Money | None:
    """Return what coupons of the merchant's own bear of a refund: what was asked for less send_back_fee.

    send_back_fee 本次商户实际退回金额 is 0.00 where it was not asked for: then the discount given back says it. None:
    none is named. Raises Doubt where the parts contradict each other.
    """
    taken, discount = _figure(fields, "send_back_fee"), _figure(fields, "present_refund_mdiscount_amount")
    if min(taken, discount) < 0 or max(taken, discount) > amount.minor:
        raise Doubt(f"taken {taken} and discounted {discount} of a refund of {amount.minor}")
    if taken and discount and taken + discount != amount.minor:
        raise Doubt(f"taken {taken} of a refund of {amount.minor}, and the merchant's discount is {discount}")
    if taken:
        return Money(amount.minor - taken, amount.currency)
    return Money(discount, amount.currency) if discount else None


def _contributed(listed: Any) -> int:
    """Return what the merchant contributed to a list of vouchers, in fen. Raises Doubt.

    An answer holds the list; a notice has it as text, with names written in another way.
    """
    try:
        vouchers = loads(listed.encode()) if isinstance(listed, str) else listed or []
    except BadJson as error:
        raise Doubt(f"voucher_detail_list: {error}") from None
    if not isinstance(vouchers, list) or not all(isinstance(voucher, dict) for voucher in vouchers):
        raise Doubt("voucher_detail_list is not a list of objects")
    total = 0
    for voucher in vouchers:
        own, others = (
            _figure(voucher, snake if snake in voucher else camel)
            for snake, camel in (
                ("merchant_contribute", "merchantContribute"),
                ("other_contribute", "otherContribute"),
            )
        )
        if min(own, others) < 0 or ("amount" in voucher and own + others > _figure(voucher, "amount")):
            raise Doubt(f"voucher_detail_list: contributions of {own} and {others} to {voucher.get('amount')}")
        total += own
    return total


# ---- notices ---------------------------------------------------------------------------------------------------------


def noticed_trade(fields: Mapping[str, str]) -> Outcome | None:
    """Return what a notice about a payment says. Raises Doubt. The hub compares the amount with the order it knows.

    None: the trade is closed after it was paid, and no refund is named. Refunded elsewhere, or reversed?
    """
    trade_no, status = _reference(fields, "trade_no"), _text(fields, "trade_status")
    match status:
        case "WAIT_BUYER_PAY":
            return Pending(channel_ref=trade_no)
        case "TRADE_SUCCESS" | "TRADE_FINISHED":
            amount, at = _amount(fields, "total_amount"), _moment(fields, "gmt_payment")
            return Confirmed(trade_no, amount, at, merchant_coupon(fields, amount))
        case "TRADE_CLOSED":
            return None if fields.get("gmt_payment") else Refused(status, closed=True)
        case _:
            raise Doubt(f"trade_status {status[:40]!r} is not known")


def is_about_a_refund(fields: Mapping[str, str]) -> bool:
    """Tell whether a notice was sent because of a refund with a number of its own, which is out_biz_no."""
    number = fields.get("out_biz_no")
    return bool(fields.get("gmt_refund")) and bool(number) and number != fields.get("out_trade_no")


def noticed_refund(fields: Mapping[str, str]) -> Outcome:
    """Return what a notice about a refund says: that it is time to ask, and no more.

    Its refund_fee is all that was given back so far; which refund moved how much only a query tells.
    """
    return Pending(channel_ref=_reference(fields, "trade_no"))


# ---- errors ----------------------------------------------------------------------------------------------------------

Says = Callable[[str, str], Outcome]  # (rail's code, its words) → what that means


def final(*, closed: bool = False, retriable: bool = False) -> Says:
    """Return that a code means no."""
    return lambda code, words: Refused(code, words, closed=closed, retriable=retriable)


def not_found(code: str, words: str) -> Outcome:
    """Return that Alipay knows no such number."""
    return Unknown(f"{code}: {words}", not_found=True)


# The gateway never let the request in: our credentials or contract are wrong. Nothing was done. Only here is an answer
# without a signature enough: Alipay cannot sign for an application it does not know.
NOT_ADMITTED: Mapping[str, Says] = {
    code: final(retriable=True)
    for code in (
        "isv.invalid-app-id",
        "isv.missing-app-id",
        "isv.invalid-signature",
        "isv.invalid-signature-type",
        "isv.missing-signature",
        "isv.missing-signature-type",
        "isv.missing-signature-key",
        "isv.missing-signature-config",
        "isv.insufficient-isv-permissions",
        "isv.insufficient-user-permissions",
    )
}
# What each operation may conclude from a signed error 40004. A code that is not here leaves the outcome unknown.
PAY: Mapping[str, Says] = {
    **{
        code: final(retriable=True)
        for code in (
            "ACQ.ACCESS_FORBIDDEN",
            "ACQ.PARTNER_ERROR",
            "ACQ.SELLER_BEEN_BLOCKED",
            "ACQ.TOTAL_FEE_EXCEED",
            "ACQ.PRODUCT_AMOUNT_LIMIT_ERROR",
            "ACQ.BEYOND_PAY_RESTRICTION",
            "ACQ.BEYOND_PER_RECEIPT_RESTRICTION",
            "ACQ.EXIST_FORBIDDEN_WORD",
            "ACQ.PAYMENT_REQUEST_HAS_RISK",
        )
    },
    **{
        code: final()
        for code in (
            "ACQ.INVALID_PARAMETER",
            "ACQ.PAYMENT_AUTH_CODE_INVALID",
            "ACQ.BUYER_BALANCE_NOT_ENOUGH",
            "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH",
            "ACQ.ERROR_BALANCE_PAYMENT_DISABLE",
            "ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE",
            "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR",
            "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR",
            "ACQ.BUYER_ENABLE_STATUS_FORBID",
            "ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT",
            "ACQ.BUYER_SELLER_EQUAL",
            "ACQ.USER_FACE_PAYMENT_SWITCH_OFF",
            "ACQ.PULL_MOBILE_CASHIER_FAIL",
            "ACQ.PAYMENT_FAIL",
        )
    },
}
# The trade under this number has ended, paid or not: a query tells which. What was closed may have been refunded.
ENDED = ("ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE")
# It does not wait for its payer, so it is not closed now: it was paid, or closed before.
NOT_WAITING = (
    "ACQ.TRADE_STATUS_ERROR",
    "ACQ.REASON_TRADE_STATUS_INVALID",
    "ACQ.REASON_ILLEGAL_STATUS",
    "ACQ.TRADE_HAS_CLOSE",
)
QUERY: Mapping[str, Says] = {"ACQ.TRADE_NOT_EXIST": not_found}
CLOSE: Mapping[str, Says] = QUERY
REVERSE: Mapping[str, Says] = QUERY
REFUND: Mapping[str, Says] = {
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": final(retriable=True),  # the merchant tops up and the same number is tried again
    "ACQ.REASON_TRADE_BEEN_FREEZEN": final(retriable=True),
    **{
        code: final()
        for code in (
            "ACQ.INVALID_PARAMETER",
            "ACQ.TRADE_NOT_EXIST",
            "ACQ.TRADE_STATUS_ERROR",
            "ACQ.TRADE_HAS_FINISHED",
            "ACQ.REASON_TRADE_REFUND_FEE_ERR",
            "ACQ.TRADE_NOT_ALLOW_REFUND",
            "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
        )
    },
    # A trade is closed by what gives the last of it back, and that may have been this very refund.
    **dict.fromkeys(("ACQ.TRADE_HAS_CLOSE", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"), no_if_unknown),
}
REFUND_QUERY: Mapping[str, Says] = QUERY
_NO_BILL = "bill_not_exist"  # seen as BILL_NOT_EXIST and isp.bill_not_exist


@dataclass(frozen=True, slots=True)
class Verdict:
    """The head of an answer: whether it went well, and which code says otherwise."""

    code: str
    sub_code: str
    words: str

    @property
    def done(self) -> bool:
        return self.code == "10000"

    @property
    def failed(self) -> bool:
        """Alipay looked at the business and says no, or not so."""
        return self.code == "40004"

    @property
    def payer_is_asked(self) -> bool:
        """The payer has to confirm first (order success pay inprocess)."""
        return self.code == "10003"

    @property
    def no_bill(self) -> bool:
        return self.failed and self.sub_code.lower().rpartition(".")[2] == _NO_BILL


def verdict(fields: Mapping[str, Any]) -> Verdict:
    """Return what the head of an answer says. Raises Doubt."""
    return Verdict(
        _text(fields, "code")[:16],
        _words(fields, "sub_code")[:80],
        _words(fields, "sub_msg") or _words(fields, "msg"),
    )


def error_outcome(found: Verdict, table: Mapping[str, Says], *, admits: bool, signed: bool) -> Outcome:
    """Return what an answer other than 10000 means: only listed codes conclude anything.

    admits: whether a request that was not let in is an answer for this operation: to a payment yes, to a query no.
    """
    if admits and found.code in ("40001", "40002", "40006") and (says := NOT_ADMITTED.get(found.sub_code)):
        return says(found.sub_code, found.words)
    if signed and found.failed and (says := table.get(found.sub_code)):
        return says(found.sub_code, found.words)
    unsigned = "" if signed else ", unsigned"
    return Unknown(f"{found.code} {found.sub_code or 'without a sub_code'}: {found.words}".rstrip(": ") + unsigned)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _ours(fields: Mapping[str, Any], order: Order) -> None:
    same("out_trade_no", _text(fields, "out_trade_no"), rail_number(order.reference))


def _text(fields: Mapping[str, Any], name: str) -> str:
    try:
        return text(fields[name])
    except KeyError:
        raise Doubt(f"{name} is missing") from None
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None


def _words(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value[:200] if isinstance(value, str) else ""


def _amount(fields: Mapping[str, Any], name: str) -> Money:
    value = _text(fields, name)
    try:
        amount = from_major(value, "CNY")
    except ValueError as error:
        raise Doubt(f"{name}: {error}") from None
    if not 0 < amount.minor <= MAX_MINOR:
        raise Doubt(f"{name} {value[:40]!r} is not an amount of money")
    return amount


def _figure(fields: Mapping[str, Any], name: str) -> int:
    """Return an amount that may be missing or zero, in fen. Raises Doubt when it is neither."""
    if name not in fields:
        return 0
    try:
        return from_major(_text(fields, name), "CNY").minor
    except ValueError as error:
        raise Doubt(f"{name}: {error}") from None


def _reference(fields: Mapping[str, Any], name: str) -> str:
    value = _text(fields, name)
    if not (0 < len(value) <= 64 and value.isascii() and value.isalnum()):
        raise Doubt(f"{name} {value[:64]!r} is not a number of Alipay")
    return value


def _moment(fields: Mapping[str, Any], name: str) -> datetime:
    moment = beijing(_text(fields, name))
    if moment is None:
        raise Doubt(f"{name} {str(fields[name])[:40]!r} is not a time")
    return moment


def beijing(written_: str) -> datetime | None:
    """Return the moment of a time as Alipay writes it, Beijing time; None when it is not one."""
    try:
        if len(written_) != 19 or written_[10] != " ":
            return None
        return datetime.fromisoformat(written_).replace(tzinfo=BEIJING).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def same(name: str, theirs: object, ours: str) -> None:
    """Make sure that an answer is about what was asked. Raises Doubt."""
    if theirs != ours:
        raise Doubt(f"{name} differs: the channel says {str(theirs)[:64]}, we have {ours}")
