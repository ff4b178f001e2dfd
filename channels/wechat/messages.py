"""The words of WeChat Pay APIv3 and ours: request bodies, transactions, refunds, errors. No signatures, no network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from channels.contract import Confirmed, Order, Outcome, Pending, RefundOrder, Refused, Response, Unknown
from kernel.clock import BEIJING
from kernel.money import MAX_MINOR, Money, is_currency
from kernel.safe_json import BadJson, loads_object, text, whole

MAX_DESCRIPTION = 127
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


def native_body(order: Order, mchid: str, appid: str) -> bytes:
    """Return the body that asks for a QR code (Native 下单)."""
    return orjson.dumps(
        {
            "appid": appid,
            "mchid": mchid,
            "description": description(order.description),
            "out_trade_no": order.reference,
            "time_expire": beijing(order.expires_at),
            "notify_url": order.notify_url,
            "amount": {"total": order.amount.minor, "currency": order.amount.currency},
        }
    )


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
        "reason": refund.reason.translate(_UNWANTED)[:80],
        "notify_url": refund.notify_url,
        "amount": amount,
    }
    return orjson.dumps({name: value for name, value in body.items() if value})


def description(words: str) -> str:
    """Return a product name that WeChat takes: control characters and backticks replaced, at most 127 characters."""
    return words.translate(_UNWANTED)[:MAX_DESCRIPTION].strip() or "-"


def beijing(moment: datetime) -> str:
    """Write an aware moment as WeChat does: 2026-11-24T16:30:00+08:00."""
    return moment.astimezone(BEIJING).isoformat(timespec="seconds")


# ---- answers ---------------------------------------------------------------------------------------------------------


def transaction(body: Mapping[str, Any], *, mchid: str, appid: str) -> tuple[str, Outcome]:
    """Return (out_trade_no, outcome) of a transaction as queries and notices show it. Raises Doubt."""
    expect(body, "mchid", mchid)
    expect(body, "appid", appid)
    reference = _text(body, "out_trade_no")
    state = _text(body, "trade_state")
    match state:
        # REFUND 转入退款: some or all of it was given back later, so it was paid.
        case "SUCCESS" | "REFUND":
            amount = _amount(_part(body, "amount"), "total")
            return reference, Confirmed(_reference(body, "transaction_id"), amount, _moment(body, "success_time"))
        case "NOTPAY" | "USERPAYING":
            return reference, Pending()
        case "CLOSED" | "REVOKED":
            return reference, Refused(state, _words(body, "trade_state_desc"), closed=True)
        case "PAYERROR":
            return reference, Refused(state, _words(body, "trade_state_desc"))
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
    """
    reference, payment_reference = _text(body, "out_refund_no"), _text(body, "out_trade_no")
    refund_ref = _reference(body, "refund_id")
    status = _text(body, status_name)
    match status:
        case "SUCCESS":
            amount = _amount(_part(body, "amount"), "refund")
            return reference, payment_reference, Confirmed(refund_ref, amount, _moment(body, "success_time"))
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


def code_url(body: Mapping[str, Any]) -> Outcome:
    """Return the QR code of a native order. Raises Doubt."""
    code = _text(body, "code_url")
    if not code.startswith("weixin://"):
        raise Doubt("code_url is not a weixin:// address")
    return Pending({"type": "qr", "code": code})


def expect(body: Mapping[str, Any], name: str, ours: str) -> None:
    """Raise Doubt unless the field is there and ours."""
    _same(name, _text(body, name), ours)


# ---- errors ----------------------------------------------------------------------------------------------------------

Says = Callable[[str, str], Outcome]  # (rail's code, its words) → what that means


def _final(*, closed: bool = False, retriable: bool = False) -> Says:
    return lambda code, words: Refused(code, words, closed=closed, retriable=retriable)


def _not_found(code: str, words: str) -> Outcome:
    return Unknown(f"{code}: {words}", not_found=True)


# The request was never looked at as an order: our credentials or settings are wrong. Nothing was done.
_NOT_ADMITTED: dict[str, Says] = {
    "SIGN_ERROR": _final(retriable=True),
    "NO_AUTH": _final(retriable=True),
    "APPID_MCHID_NOT_MATCH": _final(retriable=True),
    "MCH_NOT_EXISTS": _final(retriable=True),
}
# The payer is typing a password. Old and new documents spell it differently, with HTTP 202 or 400.
USER_PAYING = ("USERPAYING", "USER_PAYING")
# What each operation may conclude from an error. A code that is not here leaves the outcome unknown.
PAY: Mapping[str, Says] = {
    **_NOT_ADMITTED,
    "PARAM_ERROR": _final(),
    "ORDER_CLOSED": _final(closed=True),
    "RULE_LIMIT": _final(retriable=True),
    "NOT_ENOUGH": _final(),  # the payer's money is short: only the payer can change that
    "ACCOUNT_ERROR": _final(),
    "USER_ACCOUNT_ABNORMAL": _final(),
    **{code: lambda code, words: Pending() for code in USER_PAYING},
}
QUERY: Mapping[str, Says] = {"ORDER_NOT_EXIST": _not_found, "ORDERNOTEXIST": _not_found}
CLOSE: Mapping[str, Says] = {**QUERY, "ORDER_CLOSED": _final(closed=True), "ORDERCLOSED": _final(closed=True)}
REVERSE: Mapping[str, Says] = CLOSE
REFUND: Mapping[str, Says] = {
    **_NOT_ADMITTED,
    "PARAM_ERROR": _final(),
    "NOT_ENOUGH": _final(retriable=True),  # the merchant tops up and the same number is tried again
    "RESOURCE_NOT_EXISTS": _final(),  # no such paid order
    "TRADE_OVERDUE": _final(),  # more than 365 days after the payment
    "USER_ACCOUNT_ABNORMAL": _final(),
}
REFUND_QUERY: Mapping[str, Says] = {"RESOURCE_NOT_EXISTS": _not_found}


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
        return RailError(answer.status, text(body["code"])[:64], _words(body, "message"))
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


def _text(body: Mapping[str, Any], name: str) -> str:
    try:
        return text(body[name])
    except KeyError:
        raise Doubt(f"{name} is missing") from None
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None


def _words(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value[:200] if isinstance(value, str) else ""


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = body.get(name)
    if not isinstance(part, dict):
        raise Doubt(f"{name} is missing or is not an object")
    return part


def _amount(part: Mapping[str, Any], name: str) -> Money:
    try:
        minor = whole(part.get(name))
    except BadJson as error:
        raise Doubt(f"amount.{name}: {error}") from None
    currency = part.get("currency", "CNY")
    if not 0 < minor <= MAX_MINOR or not isinstance(currency, str) or not is_currency(currency):
        raise Doubt(f"amount.{name} {minor} {str(currency)[:10]!r} is not an amount of money")
    return Money(minor, currency)


def _reference(body: Mapping[str, Any], name: str) -> str:
    value = _text(body, name)
    if not (0 < len(value) <= 64 and value.isascii() and value.isalnum()):
        raise Doubt(f"{name} {value[:64]!r} is not a number of WeChat Pay")
    return value


def _moment(body: Mapping[str, Any], name: str) -> datetime:
    value = _text(body, name)
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
