"""The words of PayPal's Orders v2 and Payments v2 and ours: request bodies, orders, captures, refunds, errors.

No signatures, no network. Source: the published descriptions of both APIs (paypal-rest-api-specifications, 2024-02).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from channels.contract import Confirmed, Order, Outcome, Pending, RefundOrder, Refused, Response, Unknown
from kernel.clock import BEIJING
from kernel.money import MAX_MINOR, Money, from_major, is_currency, minor_digits
from kernel.safe_json import BadJson, loads_object, text

# PayPal takes no decimals in these, whatever ISO 4217 says of them (TWD and HUF have two there).
WHOLE_ONLY = frozenset({"JPY", "HUF", "TWD"})
MAX_DESCRIPTION = 127
MAX_NOTE = 255

_NUMBER = re.compile(r"[A-Z0-9]{1,36}", re.ASCII)
_UNWANTED = dict.fromkeys([*range(32), 127, 8232, 8233], " ")


class Doubt(Exception):
    """An answer is readable JSON and yet not believed: a field is missing, of a wrong kind, or not about our order."""

    stated_amount: Money | None = None


class AmountDiffers(Doubt):
    """PayPal says that money moved, and names another amount than ours."""

    def __init__(self, stated: Money, ours: Money) -> None:
        super().__init__(f"amount differs: PayPal says {stated}, we have {ours}")
        self.stated_amount = stated


# ---- what the hub stores as channel_ref ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ref:
    """Which of PayPal's three objects a payment is at. Their numbers look alike, so all but captures say their kind.

    Written `order:<order>`, then `auth:<order>:<authorization>`, then the capture's number alone, as the report has it.
    """

    order: str = ""
    authorization: str = ""
    capture: str = ""

    @classmethod
    def parse(cls, stored: str | None) -> "Ref":
        """Read what was stored; nothing known gives an empty Ref. Raises ValueError for what we never wrote."""
        if not stored:
            return cls()
        kind, _, rest = stored.rpartition(":") if stored.startswith("auth:") else stored.partition(":")
        if kind.startswith("auth:"):
            found = cls(order=kind.removeprefix("auth:"), authorization=rest)
        elif kind == "order":
            found = cls(order=rest)
        else:
            found = cls(capture=stored)
        if not all(_NUMBER.fullmatch(part) for part in (found.order, found.authorization, found.capture) if part):
            raise ValueError(f"{stored[:80]!r} is not a reference of PayPal's as we write them")
        return found

    def __str__(self) -> str:
        if self.capture:
            return self.capture
        return f"auth:{self.order}:{self.authorization}" if self.authorization else f"order:{self.order}"


# ---- requests --------------------------------------------------------------------------------------------------------


def order_body(order: Order) -> bytes:
    """Return the body that creates an order for the payer to approve.

    custom_id is our number of the payment in everything about it; invoice_id is our number of the movement.
    """
    experience = {"shipping_preference": "NO_SHIPPING", "user_action": "PAY_NOW"}
    if order.return_url:
        experience |= {"return_url": order.return_url, "cancel_url": order.return_url}
    unit = {
        "custom_id": order.reference,
        "invoice_id": order.reference,
        "description": words(order.description, MAX_DESCRIPTION) or "-",
        "amount": amount(order.amount),
    }
    return orjson.dumps(
        {
            "intent": intent(order),
            "purchase_units": [unit],
            "payment_source": {"paypal": {"experience_context": experience}},
        }
    )


def capture_body(order: Order, part: Money) -> bytes:
    """Return the body that captures reserved money, once; what is not captured is released."""
    return orjson.dumps({"amount": amount(part), "invoice_id": order.reference, "final_capture": True})


def refund_body(refund: RefundOrder) -> bytes:
    """Return the body that gives back a captured payment, all or in part."""
    body = {
        "amount": amount(refund.amount),
        "custom_id": refund.payment_reference,
        "invoice_id": refund.reference,
        "note_to_payer": words(refund.reason, MAX_NOTE),
    }
    return orjson.dumps({name: value for name, value in body.items() if value})


def intent(order: Order) -> str:
    return "AUTHORIZE" if order.authorize_only else "CAPTURE"


def amount(money: Money) -> dict[str, str]:
    """Return an amount as PayPal writes it: decimal text in major units.

    An amount that a currency without decimals at PayPal cannot express goes out as it is, for PayPal to refuse.
    """
    per_major = 10 ** minor_digits(money.currency)
    if money.currency in WHOLE_ONLY and money.minor % per_major == 0:
        return {"currency_code": money.currency, "value": str(money.minor // per_major)}
    return {"currency_code": money.currency, "value": money.major()}


def words(said: str, limit: int) -> str:
    """Return text without control characters, of at most `limit` bytes: PayPal counts more than one for 茶."""
    return said.translate(_UNWANTED).encode()[:limit].decode(errors="ignore").strip()


# ---- answers ---------------------------------------------------------------------------------------------------------


def order_outcome(body: Mapping[str, Any], order: Order, *, merchant_id: str, origin: tuple[str, str]) -> Outcome:
    """Return what an order, as created, shown, captured or authorized, means for our order. Raises Doubt.

    origin: (scheme, host) we call; a page to send the payer to is there, or anywhere by https.
    """
    known = Ref.parse(order.channel_ref)
    number = _number(body, "id")
    if known.order:
        same("id", number, known.order)
    same("intent", _text(body, "intent"), intent(order))
    unit = _only_unit(body, merchant_id)
    for name, ours in (("custom_id", order.reference), ("invoice_id", order.reference)):
        if name in unit:
            same(name, _text(unit, name), ours)
    moved = _moved(unit, order, merchant_id)
    if moved is not None:
        return moved
    same("custom_id", _text(unit, "custom_id"), order.reference)
    asked = _money(_part(unit, "amount"))
    if asked != order.amount:
        raise Doubt(f"the order is for {asked}, ours for {order.amount}")
    held = _held(unit, order, number, merchant_id)
    if held is not None:
        return held
    ref = str(Ref(order=number))
    match status := _text(body, "status"):
        case "CREATED" | "SAVED" | "PAYER_ACTION_REQUIRED":
            return Pending(_page(body, origin), ref)
        case "APPROVED":
            return Pending(channel_ref=ref, proceed=True)
        case "VOIDED":
            return Refused(status, closed=True)
        case _:
            raise Doubt(f"an order that is {status[:40]!r} shows no capture")


def capture_outcome(body: Mapping[str, Any], order: Order, *, merchant_id: str, most: Money | None = None) -> Outcome:
    """Return what a capture means for our order. Raises Doubt.

    most: of a hold, what was reserved: any part of it may have been captured. Otherwise the amount is to be ours.
    """
    reference, outcome = capture(body, merchant_id=merchant_id)
    same("custom_id", reference, order.reference)
    return _as_asked(outcome, order.amount, part_will_do=most is not None)


def capture(body: Mapping[str, Any], *, merchant_id: str) -> tuple[str, Outcome]:
    """Return (our number of the payment, outcome) of a capture as answers and notices show it. Raises Doubt."""
    _payee(body, merchant_id)
    reference, number = _reference(body), _number(body, "id")
    match status := _text(body, "status"):
        # The refunded ones were captured, and given back in part or in full later.
        case "COMPLETED" | "PARTIALLY_REFUNDED" | "REFUNDED":
            return reference, Confirmed(number, _money(_part(body, "amount")), _moment(body, "create_time"))
        case "PENDING":
            return reference, Pending(channel_ref=number)
        case "DECLINED" | "FAILED":
            return reference, Refused(status, _reason(body))
        case _:
            raise Doubt(f"capture status {status[:40]!r} is not known")


def void_outcome(body: Mapping[str, Any], order: Order, *, merchant_id: str) -> Outcome:
    """Return Refused(closed=True) for an authorization of ours that is void. Raises Doubt."""
    _payee(body, merchant_id)
    same("id", _number(body, "id"), Ref.parse(order.channel_ref).authorization)
    same("custom_id", _text(body, "custom_id"), order.reference)
    same("status", _text(body, "status"), "VOIDED")
    return Refused("VOIDED", closed=True)


def refund_outcome(body: Mapping[str, Any], refund_order: RefundOrder) -> Outcome:
    """Return what a refund means for ours. Raises Doubt."""
    reference, payment_reference, outcome = refund(body)
    same("invoice_id", reference, refund_order.reference)
    same("custom_id", payment_reference, refund_order.payment_reference)
    if refund_order.channel_ref:
        same("id", _number(body, "id"), refund_order.channel_ref)
    return _as_asked(outcome, refund_order.amount)


def refund(body: Mapping[str, Any]) -> tuple[str, str, Outcome]:
    """Return (our number of the refund, of the payment, outcome) of a refund as answers and notices show it."""
    reference, payment_reference, number = _text(body, "invoice_id"), _text(body, "custom_id"), _number(body, "id")
    match status := _text(body, "status"):
        case "COMPLETED":
            outcome: Outcome = Confirmed(number, _money(_part(body, "amount")), _moment(body, "create_time"))
        case "PENDING":
            outcome = Pending(channel_ref=number)
        case "CANCELLED" | "FAILED":
            outcome = Refused(status, _reason(body))
        case _:
            raise Doubt(f"refund status {status[:40]!r} is not known")
    return reference, payment_reference, outcome


def approved(body: Mapping[str, Any], *, merchant_id: str) -> tuple[str, Outcome]:
    """Return (our number of the payment, that we may proceed) of an order that the payer has approved. Raises Doubt."""
    same("status", _text(body, "status"), "APPROVED")
    unit = _only_unit(body, merchant_id)
    return _text(unit, "custom_id"), Pending(channel_ref=str(Ref(order=_number(body, "id"))), proceed=True)


def authorized(body: Mapping[str, Any], *, merchant_id: str) -> tuple[str, Outcome]:
    """Return (our number of the payment, what is held) of an authorization as a notice shows it. Raises Doubt."""
    _payee(body, merchant_id)
    same("status", _text(body, "status"), "CREATED")
    order_number = _number(_part(_part(body, "supplementary_data"), "related_ids"), "order_id")
    ref = str(Ref(order=order_number, authorization=_number(body, "id")))
    return _text(body, "custom_id"), Pending(channel_ref=ref, authorized=_money(_part(body, "amount")))


def _moved(unit: Mapping[str, Any], order: Order, merchant_id: str) -> Outcome | None:
    """Return what the captures of an order amount to; None where there are none that decide anything."""
    numbers = {name: unit[name] for name in ("custom_id", "invoice_id") if name in unit}
    outcomes = [
        _as_asked(
            _ours(capture({**numbers, **each}, merchant_id=merchant_id), order),
            order.amount,
            part_will_do=order.authorize_only,
        )
        for each in _payments(unit, "captures")
    ]
    confirmed = [outcome for outcome in outcomes if isinstance(outcome, Confirmed)]
    if len(confirmed) > 1:
        total = Money(sum(outcome.amount.minor for outcome in confirmed), order.amount.currency)
        raise AmountDiffers(total, order.amount)
    deciding: list[Outcome] = [*confirmed, *(outcome for outcome in outcomes if isinstance(outcome, Pending))]
    if deciding:
        return deciding[0]
    # A capture that was declined ends an order; reserved money stays reserved and is told of by its authorization.
    return outcomes[-1] if outcomes and not order.authorize_only else None


def _held(unit: Mapping[str, Any], order: Order, number: str, merchant_id: str) -> Outcome | None:
    """Return what the authorizations of an order amount to, the last one counting; None where there are none."""
    authorizations = _payments(unit, "authorizations")
    if not authorizations:
        return None
    last = authorizations[-1]
    _payee(last, merchant_id)
    ref = str(Ref(order=number, authorization=_number(last, "id")))
    match status := _text(last, "status"):
        case "CREATED":
            held = _money(_part(last, "amount"))
            if held != order.amount:
                raise Doubt(f"{held} is held, and {order.amount} was asked for")
            return Pending(channel_ref=ref, authorized=held)
        case "PENDING":
            return Pending(channel_ref=ref)
        case "DENIED":
            return Refused(status, _reason(last))
        case "VOIDED":
            return Refused(status, closed=True)
        case _:
            raise Doubt(f"an authorization that is {status[:40]!r} shows no capture")


def _reference(body: Mapping[str, Any]) -> str:
    """Return our number of a payment: custom_id and invoice_id are the same, and PayPal may leave one out."""
    named = {_text(body, name) for name in ("custom_id", "invoice_id") if body.get(name) is not None}
    if len(named) != 1:
        raise Doubt(f"custom_id and invoice_id name {len(named)} numbers, not one")
    return named.pop()


def _ours(found: tuple[str, Outcome], order: Order) -> Outcome:
    reference, outcome = found
    same("custom_id", reference, order.reference)
    return outcome


def _as_asked(outcome: Outcome, ours: Money, *, part_will_do: bool = False) -> Outcome:
    if isinstance(outcome, Confirmed) and outcome.amount != ours:
        some = part_will_do and outcome.amount.currency == ours.currency and outcome.amount.minor < ours.minor
        if not some:
            raise AmountDiffers(outcome.amount, ours)
    return outcome


def _page(body: Mapping[str, Any], origin: tuple[str, str]) -> Mapping[str, str] | None:
    """Return where the payer approves the order; None where the answer names no such page any more."""
    for link in _list(body, "links"):
        if link.get("rel") in ("approve", "payer-action"):
            url = _text(link, "href")
            try:
                parts = urlsplit(url)
            except ValueError:
                raise Doubt("the page for the payer has no readable address") from None
            plain = url.isascii() and url.isprintable() and " " not in url
            if not (plain and parts.netloc and (parts.scheme == "https" or parts[:2] == origin)):
                raise Doubt("the page for the payer is neither PayPal's nor by https")
            return {"type": "redirect", "url": url}
    return None


# ---- errors ----------------------------------------------------------------------------------------------------------

Says = Callable[[str, str], Outcome]  # (PayPal's issue, its words) → what that means


def _final(*, closed: bool = False, retriable: bool = False) -> Says:
    return lambda code, said: Refused(code, said, closed=closed, retriable=retriable)


def _not_found(code: str, said: str) -> Outcome:
    return Unknown(f"{code}: {said}", not_found=True)


def _table(says: Says, *issues: str) -> dict[str, Says]:
    return dict.fromkeys(issues, says)


# The request was never looked at as a payment: our credentials or permissions are wrong. Nothing was done.
_NOT_ADMITTED = _table(
    _final(retriable=True),
    *("AUTHENTICATION_FAILURE", "invalid_token", "INVALID_ACCOUNT_STATUS", "NOT_AUTHORIZED", "PERMISSION_DENIED"),
)
_MALFORMED = _table(
    _final(),
    *("MALFORMED_REQUEST_JSON", "MISSING_REQUIRED_PARAMETER", "INVALID_PARAMETER_SYNTAX", "INVALID_PARAMETER_VALUE"),
    *("INVALID_STRING_LENGTH", "INVALID_STRING_MAX_LENGTH", "CANNOT_BE_ZERO_OR_NEGATIVE", "CANNOT_BE_NEGATIVE"),
)
# PayPal takes no such amount or currency; another channel may.
_NOT_THIS_MONEY = _table(
    _final(retriable=True),
    *("DECIMALS_NOT_SUPPORTED", "DECIMAL_PRECISION", "INVALID_CURRENCY_CODE", "CURRENCY_NOT_SUPPORTED"),
    *("MAX_VALUE_EXCEEDED",),
)
# PayPal's own risk, its limits, or the state of this merchant's account there.
_NOT_HERE = _table(
    _final(retriable=True),
    *("PAYEE_ACCOUNT_INVALID", "PAYEE_ACCOUNT_RESTRICTED", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED"),
    *("PAYEE_ACCOUNT_NOT_VERIFIED", "PAYEE_BLOCKED_TRANSACTION", "TRANSACTION_BLOCKED_BY_PAYEE"),
    *("TRANSACTION_REFUSED", "COMPLIANCE_VIOLATION", "TRANSACTION_LIMIT_EXCEEDED"),
    *("TRANSACTION_RECEIVING_LIMIT_EXCEEDED", "DOMESTIC_TRANSACTION_REQUIRED", "AUTH_CAPTURE_NOT_ENABLED"),
)
_THE_PAYER = _table(
    _final(),
    *("INSTRUMENT_DECLINED", "PAYER_ACCOUNT_LOCKED_OR_CLOSED", "PAYER_ACCOUNT_RESTRICTED", "PAYER_CANNOT_PAY"),
    *("MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED",),
)
# What each operation may conclude from an error. A code that is not here leaves the outcome unknown; deliberately so
# ORDER_ALREADY_CAPTURED, ORDER_ALREADY_AUTHORIZED, AUTHORIZATION_ALREADY_CAPTURED, PREVIOUSLY_CAPTURED and
# DUPLICATE_INVOICE_ID (money may have moved: a query tells), ORDER_NOT_APPROVED, PAYER_ACTION_REQUIRED and
# REDIRECT_PAYER_FOR_ALTERNATE_FUNDING (the order is open still: a query says what the payer has to do).
PAY: Mapping[str, Says] = {**_NOT_ADMITTED, **_MALFORMED, **_NOT_THIS_MONEY, **_NOT_HERE, **_THE_PAYER}
QUERY: Mapping[str, Says] = {"RESOURCE_NOT_FOUND": _not_found, "INVALID_RESOURCE_ID": _not_found}
PROCEED: Mapping[str, Says] = {
    **_NOT_HERE,
    **_THE_PAYER,
    "ORDER_EXPIRED": _final(closed=True),
}
CAPTURE: Mapping[str, Says] = {
    **_NOT_HERE,
    **_THE_PAYER,
    "AUTHORIZATION_DENIED": _final(),
    "AUTHORIZATION_EXPIRED": _final(closed=True),
    "AUTHORIZATION_VOIDED": _final(closed=True),
}
VOID: Mapping[str, Says] = {"PREVIOUSLY_VOIDED": _final(closed=True)}
# Not _NOT_ADMITTED: an earlier try whose answer was lost may have been executed before our rights were withdrawn.
REFUND: Mapping[str, Says] = {
    **_MALFORMED,
    **_table(
        _final(),
        *("RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID"),  # no such captured payment
        *("DECIMALS_NOT_SUPPORTED", "DECIMAL_PRECISION", "INVALID_CURRENCY_CODE", "CURRENCY_MISMATCH"),
        *("REFUND_CAPTURE_CURRENCY_MISMATCH", "REFUND_AMOUNT_EXCEEDED", "REFUND_AMOUNT_TOO_LOW"),
        *("CAPTURE_FULLY_REFUNDED", "PENDING_CAPTURE", "REFUND_NOT_ALLOWED", "REFUND_TIME_LIMIT_EXCEEDED"),
        *("REFUND_IS_RESTRICTED", "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK", "TRANSACTION_DISPUTED"),
        *("PARTIAL_REFUND_NOT_ALLOWED", "MAX_NUMBER_OF_REFUNDS_EXCEEDED"),
        *("PAYER_ACCOUNT_LOCKED_OR_CLOSED", "PAYER_ACCOUNT_RESTRICTED"),
    ),
    **_table(
        _final(retriable=True),  # the merchant tops up, or has its account put right
        *("REFUND_FAILED_INSUFFICIENT_FUNDS", "PAYEE_ACCOUNT_RESTRICTED", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED"),
    ),
}
NOTHING: Mapping[str, Says] = {}


@dataclass(frozen=True, slots=True)
class RailError:
    """What an answer of 4xx or 5xx says; issues are the finer codes, of which there may be several."""

    status: int
    name: str
    issues: Sequence[str]
    words: str


def rail_error(answer: Response) -> RailError:
    """Return the error an answer carries, in PayPal's format or OAuth's; its name is empty when it is in neither."""
    try:
        body = loads_object(answer.body)
        name = body["error"] if "error" in body and "name" not in body else body["name"]
        details = [each for each in body.get("details") or [] if isinstance(each, dict)]
        issues = [text(each["issue"])[:64] for each in details if "issue" in each]
        said = next((each["description"] for each in details if isinstance(each.get("description"), str)), None)
        said = said or body.get("message") or body.get("error_description") or ""
        return RailError(answer.status, text(name)[:64], issues, said[:200] if isinstance(said, str) else "")
    except (BadJson, KeyError, TypeError):
        return RailError(answer.status, "", (), "")


def error_outcome(answer: Response, table: Mapping[str, Says]) -> Outcome:
    """Return what an answer outside 2xx means: only codes of `table` conclude anything, and only under 4xx.

    Where an error names several issues all of them must be in the table. 408 and 429 speak of the transport, not of
    the order, whatever their body says; 409 says that an earlier request is still being executed.
    """
    error = rail_error(answer)
    codes = error.issues or (error.name,)
    if 400 <= error.status < 500 and error.status not in (408, 409, 429) and all(code in table for code in codes):
        return table[codes[0]](codes[0], error.words)
    named = ", ".join(code for code in (error.name, *error.issues) if code) or "without a code"
    return Unknown(f"HTTP {error.status} {named}: {error.words}".rstrip(": "))


# ---- reading ---------------------------------------------------------------------------------------------------------


def same(name: str, theirs: str, ours: str) -> None:
    """Raise Doubt unless the two are equal."""
    if theirs != ours:
        raise Doubt(f"{name} differs: PayPal says {theirs[:64]}, we have {ours}")


def money(part: Mapping[str, Any]) -> Money:
    """Return an amount, of either sign; raises ValueError."""
    currency, value = part.get("currency_code"), part.get("value")
    if not isinstance(currency, str) or not is_currency(currency) or not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} {str(currency)[:10]!r} is not an amount of money")
    whole, _, decimals = value.partition(".")
    # Some of PayPal's services write JPY with decimals all the same; noughts change nothing.
    found = from_major(whole if decimals and not decimals.strip("0") else value, currency)
    if abs(found.minor) > MAX_MINOR:
        raise ValueError(f"{value[:40]!r} is not an amount anybody pays")
    return found


def moment(value: str) -> datetime:
    """Return an aware moment, of which a day can be told; raises ValueError."""
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(f"{value[:40]!r} names no time zone")
    try:
        return found.astimezone(BEIJING)
    except OverflowError:
        raise ValueError(f"{value[:40]!r} is beyond the calendar") from None


def _only_unit(body: Mapping[str, Any], merchant_id: str) -> Mapping[str, Any]:
    units = _list(body, "purchase_units")
    if len(units) != 1:
        raise Doubt(f"the order has {len(units)} purchase units; ours have one")
    _payee(units[0], merchant_id)
    return units[0]


def _payee(part: Mapping[str, Any], merchant_id: str) -> None:
    """Raise Doubt where another merchant is named as the one who is paid."""
    payee = part.get("payee")
    if isinstance(payee, dict) and "merchant_id" in payee:
        same("payee.merchant_id", _text(payee, "merchant_id"), merchant_id)


def _payments(unit: Mapping[str, Any], kind: str) -> Sequence[Mapping[str, Any]]:
    payments = unit.get("payments")
    return _list(payments, kind) if isinstance(payments, dict) else ()


def _list(body: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = body.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Doubt(f"{name} is not a list of objects")
    return found


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = body.get(name)
    if not isinstance(part, dict):
        raise Doubt(f"{name} is missing or is not an object")
    return part


def _text(body: Mapping[str, Any], name: str) -> str:
    try:
        return text(body[name])
    except KeyError:
        raise Doubt(f"{name} is missing") from None
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None


def _number(body: Mapping[str, Any], name: str) -> str:
    value = _text(body, name)
    if not _NUMBER.fullmatch(value):
        raise Doubt(f"{name} {value[:64]!r} is not a number of PayPal's")
    return value


def _money(part: Mapping[str, Any]) -> Money:
    try:
        found = money(part)
    except ValueError as error:
        raise Doubt(str(error)) from None
    if found.minor <= 0:
        raise Doubt(f"{found} is not an amount anybody pays")
    return found


def _moment(body: Mapping[str, Any], name: str) -> datetime:
    try:
        return moment(_text(body, name))
    except ValueError as error:
        raise Doubt(f"{name}: {error}") from None


def _reason(body: Mapping[str, Any]) -> str:
    details = body.get("status_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return reason[:64] if isinstance(reason, str) else ""
