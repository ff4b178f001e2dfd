"""Stripe's words and ours: forms, intents, refunds, errors. No keys, no network.

Amounts are whole minor units on both sides, for currencies without decimals too (500 JPY is 500); Stripe writes
currencies in lower case.
Source: docs.stripe.com API reference and "decline codes" (2025); see README.md.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from channels.contract import Confirmed, Order, Outcome, Pending, RefundOrder, Refused, Response, Unknown, no_if_unknown
from kernel.money import MAX_MINOR, Money, is_currency
from kernel.safe_json import BadJson, loads_object, text, whole

# The moment at which the money moved stands in the balance transaction of the charge, both behind ids unless asked for.
EXPAND = ("expand[]", "latest_charge.balance_transaction")
MAX_DESCRIPTION = 500
REFERENCE, PAYMENT_REFERENCE = "reference", "payment_reference"  # our numbers, in Stripe's metadata

UNWANTED = dict.fromkeys([*range(32), 127, 8232, 8233], " ")
_ID = re.compile(r"[a-z]{2,8}_[A-Za-z0-9_]{1,80}", re.ASCII)
_WORD = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
Pairs = Iterable[tuple[str, str]]


class Doubt(Exception):
    """An answer is readable JSON and yet not believed: a field is missing, of a wrong kind, or not about our order."""

    stated_amount: Money | None = None


class AmountDiffers(Doubt):
    """Stripe says that money moved, and names another amount than ours."""

    def __init__(self, stated: Money, ours: Money) -> None:
        super().__init__(f"amount differs: the channel says {stated}, we have {ours}")
        self.stated_amount = stated


# ---- requests --------------------------------------------------------------------------------------------------------


def create_form(order: Order) -> Pairs:
    """Return the fields that make an intent. It is not confirmed, so no money moves; repeating it makes no second one.

    payment_method_types is named so that the intent takes what its token is, and nothing the account has switched on.
    """
    yield "amount", str(order.amount.minor)
    yield "currency", order.amount.currency.lower()
    yield "payment_method_types[]", "card"
    if order.token:
        yield "payment_method", order.token
    yield "capture_method", "manual" if order.authorize_only else "automatic"
    if words := order.description.translate(UNWANTED)[:MAX_DESCRIPTION].strip():
        yield "description", words
    yield f"metadata[{REFERENCE}]", order.reference


def refund_form(refund: RefundOrder, payment_intent: str) -> Pairs:
    """Return the fields that ask for a refund. Stripe's `reason` is one of three of its own words; ours is metadata."""
    yield "payment_intent", payment_intent
    yield "amount", str(refund.amount.minor)
    yield f"metadata[{REFERENCE}]", refund.reference
    yield f"metadata[{PAYMENT_REFERENCE}]", refund.payment_reference
    if words := refund.reason.translate(UNWANTED)[:MAX_DESCRIPTION].strip():
        yield "metadata[reason]", words


def form(pairs: Pairs) -> bytes:
    """Write a form body; brackets of names stay as they are, for people who read it."""
    return "&".join(f"{quote_plus(name, safe='[]')}={quote_plus(value)}" for name, value in pairs).encode()


def query(pairs: Pairs) -> str:
    """Write the query of an address, where brackets may not stand as they are."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)


# ---- intents ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent, as far as the hub cares."""

    id: str
    reference: str | None  # ours; None: not made by us
    status: str
    amount: Money
    body: Mapping[str, Any]

    def outcome(self, *, happened_at: datetime | None = None) -> Outcome:
        """Return what its status says. Raises Doubt for a word we do not know.

        happened_at: when the money moved, where the intent itself is not expanded to say so.
        """
        match self.status:
            case "succeeded":
                at = _moved_at(self.body) or happened_at
                if at is None:
                    raise Doubt("the intent does not say when the money moved")
                return Confirmed(self.id, self._part("amount_received"), at)
            case "requires_capture":
                return Pending(channel_ref=self.id, authorized=self._part("amount_capturable"))
            case "requires_confirmation":
                return Pending(channel_ref=self.id, proceed=True)
            case "requires_action":
                return Pending(_next_action(self.body), self.id)
            case "processing":
                return Pending(channel_ref=self.id)
            case "requires_payment_method":
                return self._failed()
            case "canceled":
                return Refused("canceled", _words(self.body, "cancellation_reason"), closed=True)
            case status:
                raise Doubt(f"status {status[:40]!r} is not known")

    def _part(self, name: str) -> Money:
        return money(self.body.get(name), self.amount.currency, name)

    def _failed(self) -> Outcome:
        """Return what became of an intent that wants another card: it had one when we made it, so that one failed."""
        error = self.body.get("last_payment_error")
        if not isinstance(error, dict):
            return Pending(channel_ref=self.id)
        return declined(error)


def intent(body: Mapping[str, Any], *, livemode: bool) -> Intent:
    """Return the intent that an answer or notice shows. Raises Doubt."""
    expect(body, "object", "payment_intent")
    same_mode(body, livemode)
    return Intent(
        id=identifier(body, "id", "pi"),
        reference=metadata(body, REFERENCE),
        status=required(body, "status"),
        amount=money(body.get("amount"), required(body, "currency").upper(), "amount"),
        body=body,
    )


def about_order(found: Intent, order: Order, outcome: Outcome) -> Outcome:
    """Return the outcome if the intent is this order's and its amount is. Raises Doubt.

    Of reserved money less may have been captured than was reserved: the hub compares that with what it asked for.
    """
    same("metadata.reference", found.reference or "", order.reference)
    if order.channel_ref is not None:
        same("id", found.id, order.channel_ref)
    ours = found.amount == order.amount
    if isinstance(outcome, Confirmed):
        part = ours and order.authorize_only and outcome.amount < order.amount
        if outcome.amount != order.amount and not part:
            raise AmountDiffers(outcome.amount, order.amount)
    elif not ours:
        raise Doubt(f"amount differs: the intent is of {found.amount}, we have {order.amount}")
    if isinstance(outcome, Pending) and outcome.authorized not in (None, order.amount):
        raise Doubt(f"amount differs: {outcome.authorized} is reserved, we have {order.amount}")
    return outcome


def _moved_at(body: Mapping[str, Any]) -> datetime | None:
    """Return when the balance changed; else when the card was charged; None where the intent shows neither."""
    charge = body.get("latest_charge")
    if not isinstance(charge, dict):
        return None
    transaction = charge.get("balance_transaction")
    return moment(transaction if isinstance(transaction, dict) else charge, "created")


def _next_action(body: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return where the payer proves who they are (3-D Secure); None where only Stripe's own script can take them.

    The address is shown to the payer, so it must be one a browser may be sent to.
    """
    action = body.get("next_action")
    if not isinstance(action, dict):
        raise Doubt("next_action is missing")
    if action.get("type") != "redirect_to_url":
        return None
    to = action.get("redirect_to_url")
    url = to.get("url") if isinstance(to, dict) else None
    if not isinstance(url, str) or not may_show(url):
        raise Doubt("the address the payer is sent to is none")
    return {"type": "redirect", "url": url}


def may_show(url: str) -> bool:
    """Tell whether an address is one that a browser may be sent to."""
    try:
        scheme, host, *_ = urlsplit(url)
    except ValueError:
        return False
    return (scheme == "https" or (scheme == "http" and is_loopback(host))) and url.isascii() and url.isprintable()


def is_loopback(netloc: str) -> bool:
    """Tell whether host[:port] is this machine itself, which is where sandboxes live."""
    host = netloc.rpartition("@")[2]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return host in ("127.0.0.1", "localhost", "::1")


# ---- refunds ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refunded:
    """A refund, as far as the hub cares."""

    id: str
    reference: str | None  # ours; None: not made by us
    payment_intent: str | None
    amount: Money
    outcome: Outcome


def refund(body: Mapping[str, Any]) -> Refunded:
    """Return the refund that an answer or notice shows; it does not say its livemode. Raises Doubt."""
    expect(body, "object", "refund")
    found = identifier(body, "id", "re", "pyr")
    amount = money(body.get("amount"), required(body, "currency").upper(), "amount")
    status = required(body, "status")
    outcome: Outcome
    match status:
        case "succeeded":
            outcome = Confirmed(found, amount, moment(body, "created"))
        case "pending":
            outcome = Pending(channel_ref=found)
        case "requires_action":
            # The payer has to say where the money goes; until then it is with Stripe, and a person should know.
            outcome = Pending({"type": "operator", "code": status}, found)
        case "failed" | "canceled":
            outcome = Refused(_word(body, "failure_reason") or status, closed=True)
        case _:
            raise Doubt(f"status {status[:40]!r} is not known")
    paid = body.get("payment_intent")
    return Refunded(found, metadata(body, REFERENCE), paid if isinstance(paid, str) else None, amount, outcome)


def about_refund(found: Refunded, order: RefundOrder) -> Outcome:
    """Return the outcome if it is about this refund and its amount. Raises Doubt."""
    same("metadata.reference", found.reference or "", order.reference)
    same("payment_intent", found.payment_intent or "", order.payment_channel_ref or "")
    if order.channel_ref is not None:
        same("id", found.id, order.channel_ref)
    if found.amount != order.amount:
        if isinstance(found.outcome, Confirmed):
            raise AmountDiffers(found.amount, order.amount)
        raise Doubt(f"amount differs: the refund is of {found.amount}, we have {order.amount}")
    return found.outcome


# ---- errors ----------------------------------------------------------------------------------------------------------

Says = Callable[[str, str], Outcome]  # (Stripe's code, its words) → what that means


def _final(*, retriable: bool = False) -> Says:
    return lambda code, words: Refused(code, words, retriable=retriable)


def _not_found(code: str, words: str) -> Outcome:
    return Unknown(f"{code}: {words}", not_found=True)


# Why a card was declined. Each is final for the attempt: the intent lets go of the card, and we never confirm it again.
# A later try with the same card may do better where the issuer, or the way to it, was at fault.
DECLINES: Mapping[str, Says] = {
    **dict.fromkeys(
        (
            "approve_with_id",
            "authentication_not_handled",
            "authentication_required",
            "call_issuer",
            "card_not_supported",
            "card_velocity_exceeded",
            "currency_not_supported",
            "do_not_honor",
            "do_not_try_again",
            "duplicate_transaction",
            "expired_card",
            "fraudulent",
            "generic_decline",
            "incorrect_address",
            "incorrect_cvc",
            "incorrect_number",
            "incorrect_pin",
            "incorrect_zip",
            "insufficient_funds",
            "invalid_account",
            "invalid_amount",
            "invalid_cvc",
            "invalid_expiry_month",
            "invalid_expiry_year",
            "invalid_number",
            "invalid_pin",
            "lost_card",
            "merchant_blacklist",
            "new_account_information_available",
            "no_action_taken",
            "not_permitted",
            "payment_intent_authentication_failure",
            "pickup_card",
            "pin_try_exceeded",
            "restricted_card",
            "revocation_of_all_authorizations",
            "revocation_of_authorization",
            "security_violation",
            "service_not_allowed",
            "stolen_card",
            "stop_payment_order",
            "testmode_decline",
            "transaction_not_allowed",
            "withdrawal_count_limit_exceeded",
        ),
        _final(),
    ),
    **dict.fromkeys(
        (
            "card_decline_rate_limit_exceeded",
            "issuer_not_available",
            "processing_error",
            "reenter_transaction",
            "try_again_later",
        ),
        _final(retriable=True),
    ),
}
# What each operation may conclude from an error, by (HTTP status, code). What is not here leaves the outcome unknown.
# An error without a code goes by the field it complains of, or by its type.
Errors = Mapping[tuple[int, str], Says]
# Making an intent moves no money, so whatever says that none was made is final.
PAY: Errors = {
    (401, "invalid_request_error"): _final(retriable=True),  # not our key: never looked at
    (401, "api_key_expired"): _final(retriable=True),
    (403, "invalid_request_error"): _final(retriable=True),  # a key without that right
    **{
        (400, code): _final()
        for code in (
            "parameter_invalid_empty",
            "parameter_invalid_integer",
            "parameter_invalid_string_blank",
            "parameter_missing",
            "parameter_unknown",
            "resource_missing",  # no such card token in this account
        )
    },
    (400, "amount_too_large"): _final(retriable=True),  # Stripe's own bounds
    (400, "amount_too_small"): _final(retriable=True),
}
QUERY: Errors = {(404, "resource_missing"): _not_found}
CLOSE: Errors = QUERY
# Money that was never taken was never given back under this number either.
# What gave the last of it back may have been this very refund.
# What a dispute holds is given back by no refund, whatever its number.
REFUND: Errors = {
    (400, "payment_intent"): _final(),
    (400, "charge_already_refunded"): no_if_unknown,
    (400, "charge_disputed"): _final(),
}
REFUND_QUERY: Errors = {(404, "resource_missing"): _not_found}
NOTHING: Errors = {}


@dataclass(frozen=True, slots=True)
class RailError:
    """What an answer of 4xx or 5xx says."""

    status: int
    type: str
    code: str  # Stripe's code; else the field it complains of, else the type
    words: str
    body: Mapping[str, Any]


def rail_error(answer: Response) -> RailError:
    """Return the error an answer carries; empty where the body is not Stripe's error format."""
    try:
        body = loads_object(answer.body)["error"]
        if not isinstance(body, dict):
            raise BadJson("error is not an object")
        kind = text(body["type"])[:64]
    except (BadJson, KeyError):
        return RailError(answer.status, "", "", "", {})
    code = _word(body, "code") or _word(body, "param") or kind
    return RailError(answer.status, kind, code, _words(body, "message"), body)


def error_outcome(error: RailError, table: Errors) -> Outcome:
    """Return what an answer outside 2xx means: only what `table` lists concludes anything.

    A key used twice with other fields (idempotency_error) is no entry of any table: the first use may have succeeded.
    """
    if error.type == "invalid_request_error" and (says := table.get((error.status, error.code))):
        return says(error.code, error.words)
    return unknown(error)


def unknown(error: RailError) -> Unknown:
    """Return doubt that says what came."""
    return Unknown(f"HTTP {error.status} {error.code or 'without a code'}: {error.words}".rstrip(": "))


def declined(error: Mapping[str, Any]) -> Outcome:
    """Return what a card error, or the last error of an intent, means; Unknown where it is on no list.

    decline_code is the finer word; a failed 3-D Secure has a code alone.
    """
    code = _word(error, "decline_code") or _word(error, "code")
    says = DECLINES.get(code)
    words = _words(error, "message")
    return says(code, words) if says else Unknown(f"declined for a reason not known: {code or 'none given'}: {words}")


# ---- reading ---------------------------------------------------------------------------------------------------------


def money(minor: object, currency: str, name: str) -> Money:
    """Return an amount of money, above nothing. Raises Doubt."""
    try:
        units = whole(minor)
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None
    if not 0 < units <= MAX_MINOR or not is_currency(currency):
        raise Doubt(f"{name} {units} {currency[:10]!r} is not an amount of money")
    return Money(units, currency)


def moment(body: Mapping[str, Any], name: str) -> datetime:
    """Return a time that Stripe writes as seconds since 1970. Raises Doubt."""
    try:
        seconds = whole(body.get(name))
        if not 0 < seconds < 1 << 33:
            raise BadJson(f"{seconds} is not a time")
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None
    return datetime.fromtimestamp(seconds, UTC)


def identifier(body: Mapping[str, Any], name: str, *prefixes: str) -> str:
    """Return one of Stripe's ids, of the kind its prefix says. Raises Doubt."""
    value = required(body, name)
    if not _ID.fullmatch(value) or value.partition("_")[0] not in prefixes:
        raise Doubt(f"{name} {value[:64]!r} is not an id of Stripe's that begins with {' or '.join(prefixes)}")
    return value


def metadata(body: Mapping[str, Any], name: str) -> str | None:
    """Return what we noted in an object of Stripe's; None where we did not, or not as text. Raises Doubt."""
    notes = body.get("metadata")
    if not isinstance(notes, dict):
        raise Doubt("metadata is missing")
    value = notes.get(name)
    return value if isinstance(value, str) and value else None


def reference(body: Mapping[str, Any]) -> str | None:
    """Return our number of what an event is about; None where it has none, as what was not made by us."""
    return metadata(body, REFERENCE) if isinstance(body.get("metadata"), dict) else None


def expect(body: Mapping[str, Any], name: str, ours: str) -> None:
    """Raise Doubt unless the field is there and ours."""
    same(name, required(body, name), ours)


def same_mode(body: Mapping[str, Any], livemode: bool) -> None:
    """Raise Doubt unless an object is of the mode of our key: play money must not pass for money, nor the other way."""
    if body.get("livemode") is not livemode:
        raise Doubt(f"livemode differs: that of our key is {livemode}")


def required(body: Mapping[str, Any], name: str) -> str:
    """Return a text that must be there. Raises Doubt."""
    try:
        return text(body[name])
    except KeyError:
        raise Doubt(f"{name} is missing") from None
    except BadJson as error:
        raise Doubt(f"{name}: {error}") from None


def _words(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value[:200] if isinstance(value, str) else ""


def _word(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def same(name: str, theirs: str, ours: str) -> None:
    """Raise Doubt unless what the channel says is what we have."""
    if theirs != ours:
        raise Doubt(f"{name} differs: the channel says {theirs[:64]!r}, we have {ours!r}")
