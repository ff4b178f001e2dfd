"""What each answer of PayPal is taken to mean. The table here and the one in the channel's README are the same."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import channels.paypal
from channels import Confirmed, Outcome, Pending, Refused, Unknown
from channels.paypal import messages
from kernel.env import Response
from kernel.money import Money
from tests.channels.paypal.paypal_rail import (
    AUTH_ID,
    CAPTURE_ID,
    GOLDEN,
    MERCHANT_ID,
    NOW,
    ORDER_ID,
    PAID_AT,
    REFUND_ID,
    answer,
    authorization,
    capture,
    channel,
    completed,
    error,
    held,
    order,
    refund,
    refund_order,
    shown,
    usd,
)

RAIL = channel()
PAGE = {"type": "redirect", "url": f"https://www.paypal.com/checkoutnow?token={ORDER_ID}"}
CREATED, HELD = f"order:{ORDER_ID}", f"auth:{ORDER_ID}:{AUTH_ID}"
PAID = Confirmed(CAPTURE_ID, Money(1234, "USD"), PAID_AT)
PART = Confirmed(CAPTURE_ID, Money(1000, "USD"), PAID_AT)
REFUNDED = Confirmed(REFUND_ID, Money(234, "USD"), PAID_AT)
PROCEED, ON_HOLD = Pending(channel_ref=CREATED, proceed=True), Pending(channel_ref=HELD, authorized=Money(1234, "USD"))
VOIDED = Refused("VOIDED", closed=True)
OPS = ("pay", "query", "query_capture", "query_hold", "proceed", "authorize", "close", "capture", "void")
REFUND_OPS = ("refund", "refund_again", "refund_query")


def outcome(op: str, got: Response) -> Outcome:
    """Translate an answer."""
    plain, hold = order(channel_ref=CREATED), order(channel_ref=HELD, authorize_only=True)
    match op:
        case "pay":
            return RAIL.pay_outcome(order(), got, now=NOW)
        case "pay_hold":
            return RAIL.pay_outcome(order(authorize_only=True), got, now=NOW)
        case "query_lost":
            return RAIL.query_outcome(order(), got, now=NOW)
        case "query":
            return RAIL.query_outcome(plain, got, now=NOW)
        case "query_capture":
            return RAIL.query_outcome(order(channel_ref=CAPTURE_ID), got, now=NOW)
        case "query_hold":
            return RAIL.query_outcome(hold, got, now=NOW)
        case "proceed":
            return RAIL.proceed_outcome(plain, got, now=NOW)
        case "authorize":
            return RAIL.proceed_outcome(order(channel_ref=CREATED, authorize_only=True), got, now=NOW)
        case "close":
            return RAIL.close_outcome(plain, got, now=NOW)
        case "close_lost":
            return RAIL.close_outcome(order(), got, now=NOW)
        case "close_capture":
            return RAIL.close_outcome(order(channel_ref=CAPTURE_ID), got, now=NOW)
        case "close_hold":
            return RAIL.close_outcome(hold, got, now=NOW)
        case "capture":
            return RAIL.capture_outcome(hold, Money(1000, "USD"), got, now=NOW)
        case "void":
            return RAIL.void_outcome(hold, got, now=NOW)
        case "refund":
            return RAIL.refund_outcome(refund_order(), got, now=NOW)
        case "refund_again":
            return RAIL.refund_query_outcome(refund_order(), got, now=NOW)
        case "refund_query":
            return RAIL.refund_query_outcome(refund_order(channel_ref=REFUND_ID), got, now=NOW)
        case _:
            raise AssertionError(op)


PARTLY = capture(amount=usd("10.00"))


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


ANSWERS: list[tuple[str, str, Any, Outcome]] = [
    ("pay", "to be approved", shown(), Pending(PAGE, CREATED)),
    ("pay", "to be approved, older words", shown("CREATED"), Pending(PAGE, CREATED)),
    ("pay", "sent again after the payer approved", shown("APPROVED"), PROCEED),
    ("pay", "sent again after it was captured", completed(), PAID),
    ("query_lost", "it had arrived", shown(), Pending(PAGE, CREATED)),
    ("query", "to be approved", shown(), Pending(PAGE, CREATED)),
    ("query", "saved", shown("SAVED"), Pending(None, CREATED)),
    ("query", "approved", shown("APPROVED"), PROCEED),
    ("query", "void", shown("VOIDED"), VOIDED),
    ("query", "captured", completed(), PAID),
    ("query", "given back in part since", completed(capture("PARTIALLY_REFUNDED")), PAID),
    ("query", "given back since", completed(capture("REFUNDED")), PAID),
    ("query", "an eCheck is under way", completed(capture("PENDING")), Pending(channel_ref=CAPTURE_ID)),
    ("query", "declined", completed(capture("DECLINED")), Refused("DECLINED")),
    ("query", "failed", completed(capture("FAILED")), Refused("FAILED")),
    ("query", "declined, then captured", completed(capture("DECLINED", id="1AA"), capture()), PAID),
    ("query", "captured, our number said once", completed(without(capture(), "custom_id", "invoice_id")), PAID),
    ("query_capture", "captured", capture(), PAID),
    ("query_capture", "captured, without custom_id", without(capture(), "custom_id"), PAID),
    ("query_capture", "captured, without invoice_id", without(capture(), "invoice_id"), PAID),
    ("capture", "captured, without custom_id", without(PARTLY, "custom_id"), PART),
    ("query_capture", "pending", capture("PENDING"), Pending(channel_ref=CAPTURE_ID)),
    ("query_capture", "declined", capture("DECLINED"), Refused("DECLINED")),
    ("proceed", "captured", completed(), PAID),
    ("proceed", "pending", completed(capture("PENDING")), Pending(channel_ref=CAPTURE_ID)),
    ("authorize", "held", held(), ON_HOLD),
    ("authorize", "under review", held(authorization("PENDING")), Pending(channel_ref=HELD)),
    ("authorize", "denied", held(authorization("DENIED")), Refused("DENIED")),
    ("query_hold", "held", held(), ON_HOLD),
    ("query_hold", "captured in part", held(authorization("PARTIALLY_CAPTURED"), captures=(PARTLY,)), PART),
    ("query_hold", "captured", held(authorization("CAPTURED"), captures=(capture(),)), PAID),
    ("query_hold", "a capture was declined", held(captures=(capture("DECLINED"),)), ON_HOLD),
    ("query_hold", "released", held(authorization("VOIDED")), VOIDED),
    ("capture", "captured", PARTLY, PART),
    ("capture", "pending", PARTLY | {"status": "PENDING"}, Pending(channel_ref=CAPTURE_ID)),
    ("void", "released", authorization("VOIDED"), VOIDED),
    ("refund", "done", refund(), REFUNDED),
    ("refund", "under way", refund("PENDING"), Pending(channel_ref=REFUND_ID)),
    ("refund", "failed", refund("FAILED", status_details={"reason": "ECHECK"}), Refused("FAILED", "ECHECK")),
    ("refund", "cancelled", refund("CANCELLED"), Refused("CANCELLED")),
    ("refund_again", "done", refund(), REFUNDED),
    ("refund_query", "done", refund(), REFUNDED),
]


@pytest.mark.parametrize(("op", "what", "body", "meaning"), ANSWERS, ids=[f"{row[0]}: {row[1]}" for row in ANSWERS])
@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_means_what_the_table_says(op: str, what: str, body: Any, meaning: Outcome, status: int) -> None:
    assert outcome(op, answer(status, body)) == meaning


@pytest.mark.parametrize(("op", "what", "body", "meaning"), ANSWERS, ids=[f"{row[0]}: {row[1]}" for row in ANSWERS])
@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 302])
def test_the_same_words_with_another_status_mean_nothing(
    op: str, what: str, body: Any, meaning: Outcome, status: int
) -> None:
    assert isinstance(outcome(op, answer(status, body)), Unknown)


def test_a_release_may_be_answered_without_a_word() -> None:
    assert outcome("void", Response(204, {}, b"")) == VOIDED
    assert isinstance(outcome("capture", Response(204, {}, b"")), Unknown)


# ---- closing: PayPal closes nothing when asked -----------------------------------------------------------------------

GIVEN_UP = Refused("GIVEN_UP", "PayPal lets it lapse; it is never captured", closed=True)


@pytest.mark.parametrize("op", ["close", "close_lost"])
@pytest.mark.parametrize("status", ["CREATED", "SAVED", "PAYER_ACTION_REQUIRED"])
def test_an_order_nobody_approved_is_given_up_because_only_our_own_capture_could_move_money(
    op: str, status: str
) -> None:
    assert outcome(op, answer(200, shown(status))) == GIVEN_UP


def test_an_order_that_is_approved_may_have_a_capture_of_ours_under_way_so_it_is_asked_about() -> None:
    assert isinstance(outcome("close", answer(200, shown("APPROVED"))), Unknown)
    assert outcome("query", answer(200, shown("APPROVED"))) == PROCEED


@pytest.mark.parametrize(
    ("op", "body"),
    [
        ("close", completed()),
        ("close", completed(capture("PENDING"))),
        ("close", completed(capture("DECLINED"))),
        ("close_capture", capture()),
        ("close_capture", capture("PENDING")),
        ("close_hold", held()),
        ("close_hold", held(authorization("PENDING"))),
        ("close_hold", held(authorization("CAPTURED"), captures=(capture(),))),
    ],
)
def test_what_is_captured_or_held_is_never_reported_closed(op: str, body: Any) -> None:
    found = outcome(op, answer(200, body))
    assert isinstance(found, Unknown)
    assert not found.not_found


def test_what_paypal_itself_calls_void_is_closed() -> None:
    assert outcome("close", answer(200, shown("VOIDED"))) == VOIDED
    assert outcome("close_hold", answer(200, held(authorization("VOIDED")))) == VOIDED


def test_an_order_that_has_lapsed_is_not_found_and_reserved_money_is_never_said_to_be_gone_by_that() -> None:
    for op in ("query", "close"):
        lapsed = outcome(op, error(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID"))
        assert isinstance(lapsed, Unknown)
        assert lapsed.not_found
    for op in ("query_hold", "query_capture", "close_hold", "refund_query", "proceed", "capture", "void"):
        lapsed = outcome(op, error(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID"))
        assert isinstance(lapsed, Unknown)
        assert not lapsed.not_found, op


# ---- what is not believed --------------------------------------------------------------------------------------------

DOUBTFUL: list[tuple[str, str, Any]] = [
    ("query", "another order's number", shown(id="8XX")),
    ("query", "another intent", shown(intent="AUTHORIZE")),
    ("query", "another payment's number", shown(unit={"custom_id": "1-01937a0b5c00aabbccddeeff00113"})),
    ("query", "another invoice", shown(unit={"invoice_id": "7"})),
    ("query", "no number of ours", shown(unit={"custom_id": None})),
    ("query", "another amount", shown(unit={"amount": usd("12.35")})),
    ("query", "another currency", shown(unit={"amount": {"currency_code": "EUR", "value": "12.34"}})),
    ("query", "another merchant", shown(unit={"payee": {"merchant_id": "STRANGER"}})),
    ("query", "a status nobody knows", shown("LOST")),
    ("query", "done without a capture", shown("COMPLETED")),
    ("query", "no unit", shown(purchase_units=[])),
    ("query", "two units", shown(purchase_units=[{}, {}])),
    ("query", "units that are none", shown(purchase_units=["x"])),
    ("query", "a page elsewhere", shown(links=[{"rel": "approve", "href": "javascript:alert(1)"}])),
    ("query", "a page without TLS", shown(links=[{"rel": "approve", "href": "http://www.paypal.com/x"}])),
    ("query", "a page with a line break", shown(links=[{"rel": "approve", "href": "https://a.example/\nx"}])),
    ("query", "a capture of another payment", completed(capture(custom_id="7"))),
    ("query", "a capture without a moment", completed(capture(create_time="yesterday"))),
    ("query", "a moment without a zone", completed(capture(create_time="2026-11-24T08:29:58"))),
    ("query", "a capture nobody knows", completed(capture("ODD"))),
    ("query", "an amount as a number", completed(capture(amount={"currency_code": "USD", "value": 12.34}))),
    ("query", "an amount of nothing", completed(capture(amount=usd("0.00")))),
    ("query", "an amount below nothing", completed(capture(amount=usd("-12.34")))),
    ("query", "a third decimal", completed(capture(amount=usd("12.345")))),
    ("query", "a currency nobody has", completed(capture(amount={"currency_code": "XXX", "value": "12.34"}))),
    ("query", "a number with a slash", completed(capture(id="../x"))),
    ("query_hold", "another amount held", held(authorization(amount=usd("12.00")))),
    ("query_hold", "captured, and no capture", held(authorization("CAPTURED"))),
    ("query_capture", "another payment's", capture(custom_id="7", invoice_id="7")),
    ("query_capture", "two payments'", capture(custom_id="7")),
    ("query_capture", "nobody's", without(capture(), "custom_id", "invoice_id")),
    ("capture", "another merchant's", PARTLY | {"payee": {"merchant_id": "STRANGER"}}),
    ("void", "still held", authorization()),
    ("void", "another hold", authorization("VOIDED", id="9XX")),
    ("refund", "another refund", refund(invoice_id="7")),
    ("refund", "of another payment", refund(custom_id="7")),
    ("refund", "a status nobody knows", refund("ODD")),
    ("refund_query", "another number", refund(id="9XX")),
]


@pytest.mark.parametrize(("op", "what", "body"), DOUBTFUL, ids=[f"{row[0]}: {row[1]}" for row in DOUBTFUL])
def test_what_is_not_about_our_order_is_not_believed(op: str, what: str, body: Any) -> None:
    found = outcome(op, answer(200, body))
    assert isinstance(found, Unknown)
    assert "not believed" in found.reason


@pytest.mark.parametrize(
    ("op", "body", "stated"),
    [
        ("query", completed(capture(amount=usd("12.35"))), 1235),
        ("proceed", completed(capture(amount=usd("12.33"))), 1233),
        ("query", completed(capture(), capture(id="1AA")), 2468),
        ("query_capture", capture(amount=usd("1.00")), 100),
        ("query_hold", held(captures=(capture(amount=usd("12.35")),)), 1235),
        ("capture", capture(), 1234),
        ("refund", refund(amount=usd("2.35")), 235),
    ],
)
def test_money_said_to_have_moved_otherwise_than_asked_is_stated_and_not_believed(
    op: str, body: Any, stated: int
) -> None:
    found = outcome(op, answer(200, body))
    assert isinstance(found, Unknown)
    assert found.stated_amount == Money(stated, "USD")


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b"<html>", b'{"id":"1","id":"2"}', b"\xff", b'{"a":NaN}'])
def test_what_cannot_be_read_is_unknown(raw: bytes) -> None:
    for op in (*OPS, *REFUND_OPS):
        assert isinstance(outcome(op, answer(200, raw)), Unknown)


@given(st.sampled_from([*OPS, *REFUND_OPS]), st.integers(100, 599), st.binary(max_size=200))
def test_no_bytes_whatever_conclude_anything(op: str, status: int, raw: bytes) -> None:
    if not (op == "void" and status == 204):
        found = outcome(op, Response(status, {}, raw))
        assert isinstance(found, Unknown)
        assert not found.not_found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PLACES = ("id", "status", "intent", "purchase_units", "links", "amount", "custom_id", "payee", "details", "name")


@given(st.sampled_from([*OPS, *REFUND_OPS]), st.sampled_from(PLACES), JSON, st.sampled_from([200, 201, 404, 422]))
def test_strange_values_in_known_places_never_raise_and_never_move_money(
    op: str, place: str, value: Any, status: int
) -> None:
    for body in (completed(), capture(), refund(), held()):
        found = outcome(op, answer(status, body | {place: value}))
        if isinstance(found, Confirmed):
            assert found in (PAID, PART, REFUNDED)


# ---- errors ----------------------------------------------------------------------------------------------------------

FINAL, RETRIABLE, CLOSED = Refused("", "said"), Refused("", "said", retriable=True), Refused("", "said", closed=True)
NOT_FOUND = Unknown("", not_found=True)
STATUS = {"AUTHENTICATION_FAILURE": 401, "NOT_AUTHORIZED": 403, "RESOURCE_NOT_FOUND": 404, "INVALID_RESOURCE_ID": 404}
_NOT_ADMITTED = (
    "AUTHENTICATION_FAILURE",
    "invalid_token",
    "INVALID_ACCOUNT_STATUS",
    "NOT_AUTHORIZED",
    "PERMISSION_DENIED",
)
_MALFORMED = (
    *("MALFORMED_REQUEST_JSON", "MISSING_REQUIRED_PARAMETER", "INVALID_PARAMETER_SYNTAX", "INVALID_PARAMETER_VALUE"),
    *("INVALID_STRING_LENGTH", "INVALID_STRING_MAX_LENGTH", "CANNOT_BE_ZERO_OR_NEGATIVE", "CANNOT_BE_NEGATIVE"),
)
_MONEY = (
    *("DECIMALS_NOT_SUPPORTED", "DECIMAL_PRECISION", "INVALID_CURRENCY_CODE", "CURRENCY_NOT_SUPPORTED"),
    "MAX_VALUE_EXCEEDED",
)
_HERE = (
    *("PAYEE_ACCOUNT_INVALID", "PAYEE_ACCOUNT_RESTRICTED", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED"),
    *("PAYEE_ACCOUNT_NOT_VERIFIED", "PAYEE_BLOCKED_TRANSACTION", "TRANSACTION_BLOCKED_BY_PAYEE"),
    *("TRANSACTION_REFUSED", "COMPLIANCE_VIOLATION", "TRANSACTION_LIMIT_EXCEEDED"),
    *("TRANSACTION_RECEIVING_LIMIT_EXCEEDED", "DOMESTIC_TRANSACTION_REQUIRED", "AUTH_CAPTURE_NOT_ENABLED"),
)
_PAYER = (
    *("INSTRUMENT_DECLINED", "PAYER_ACCOUNT_LOCKED_OR_CLOSED", "PAYER_ACCOUNT_RESTRICTED", "PAYER_CANNOT_PAY"),
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED",
)
_REFUND = (
    *("RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID", "DECIMALS_NOT_SUPPORTED", "DECIMAL_PRECISION"),
    *("INVALID_CURRENCY_CODE", "CURRENCY_MISMATCH", "REFUND_CAPTURE_CURRENCY_MISMATCH", "REFUND_AMOUNT_EXCEEDED"),
    *("REFUND_AMOUNT_TOO_LOW", "CAPTURE_FULLY_REFUNDED", "PENDING_CAPTURE", "REFUND_NOT_ALLOWED"),
    *("REFUND_TIME_LIMIT_EXCEEDED", "REFUND_IS_RESTRICTED", "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK"),
    *("TRANSACTION_DISPUTED", "PARTIAL_REFUND_NOT_ALLOWED", "MAX_NUMBER_OF_REFUNDS_EXCEEDED"),
    *("PAYER_ACCOUNT_LOCKED_OR_CLOSED", "PAYER_ACCOUNT_RESTRICTED"),
)
_TOP_UP = ("REFUND_FAILED_INSUFFICIENT_FUNDS", "PAYEE_ACCOUNT_RESTRICTED", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED")
# Every error that concludes anything. What is not here is Unknown, see the next test.
ERRORS: dict[tuple[str, str], Outcome] = {
    # Not of a refund: an earlier try under the same number may have been executed before our rights were withdrawn.
    **{("pay", code): RETRIABLE for code in _NOT_ADMITTED},
    # Nor does a refusal of a refund that is asked about by sending it again conclude anything.
    **{(op, code): FINAL for op in ("pay", "refund") for code in _MALFORMED},
    **{("pay", code): RETRIABLE for code in _MONEY},
    **{(op, code): RETRIABLE for op in ("pay", "proceed", "authorize", "capture") for code in _HERE},
    **{(op, code): FINAL for op in ("pay", "proceed", "authorize", "capture") for code in _PAYER},
    **{(op, "ORDER_EXPIRED"): CLOSED for op in ("proceed", "authorize")},
    ("capture", "AUTHORIZATION_DENIED"): FINAL,
    **{("capture", code): CLOSED for code in ("AUTHORIZATION_EXPIRED", "AUTHORIZATION_VOIDED")},
    ("void", "PREVIOUSLY_VOIDED"): CLOSED,
    **{(op, code): NOT_FOUND for op in ("query", "close") for code in ("RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID")},
    **{("refund", code): FINAL for code in _REFUND},
    **{("refund", code): RETRIABLE for code in _TOP_UP},
}
UNDECIDED = (
    *("ORDER_ALREADY_CAPTURED", "ORDER_ALREADY_AUTHORIZED", "AUTHORIZATION_ALREADY_CAPTURED", "PREVIOUSLY_CAPTURED"),
    *("DUPLICATE_INVOICE_ID", "ORDER_NOT_APPROVED", "PAYER_ACTION_REQUIRED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"),
    *("MAX_CAPTURE_AMOUNT_EXCEEDED", "PREVIOUS_REQUEST_IN_PROGRESS", "INTERNAL_SERVER_ERROR", "NEVER_HEARD_OF"),
)
CODES = sorted({code for _, code in ERRORS} | set(UNDECIDED))


def as_error(code: str, status: int | None = None) -> Response:
    """Return an error as PayPal writes it: the code as an issue, or as the name where it is one of those."""
    status = status or STATUS.get(code, 422)
    if code == "invalid_token":
        return answer(401 if status == 422 else status, {"error": code, "error_description": "said"})
    if code in ("AUTHENTICATION_FAILURE", "NOT_AUTHORIZED", "RESOURCE_NOT_FOUND", "INTERNAL_SERVER_ERROR"):
        return error(status, code)
    return error(status, "UNPROCESSABLE_ENTITY", code)


@pytest.mark.parametrize("op", [*OPS, *REFUND_OPS])
@pytest.mark.parametrize("code", CODES)
def test_an_error_concludes_what_the_table_says_and_nothing_else(op: str, code: str) -> None:
    found = outcome(op, as_error(code))
    meaning = ERRORS.get((op, code))
    match meaning:
        case None:
            assert isinstance(found, Unknown)
            assert not found.not_found
        case Unknown():
            assert isinstance(found, Unknown)
            assert found.not_found
        case Refused():
            assert found == replace(meaning, code=code)
        case _:
            raise AssertionError(meaning)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 200])
def test_an_error_with_a_status_that_speaks_of_something_else_concludes_nothing(status: int) -> None:
    for op, code in ERRORS:
        found = outcome(op, as_error(code, status))
        assert isinstance(found, Unknown)
        assert not found.not_found


def test_an_error_that_names_a_reason_we_do_not_know_beside_one_we_do_concludes_nothing() -> None:
    two = error(422, "UNPROCESSABLE_ENTITY", "INSTRUMENT_DECLINED", "NEVER_HEARD_OF")
    assert isinstance(outcome("proceed", two), Unknown)
    both = error(422, "UNPROCESSABLE_ENTITY", "INSTRUMENT_DECLINED", "PAYER_CANNOT_PAY")
    assert outcome("proceed", both) == Refused("INSTRUMENT_DECLINED", "said")


def test_a_creation_asked_about_by_repeating_it_concludes_what_the_creation_does() -> None:
    assert outcome("query_lost", as_error("PAYEE_ACCOUNT_RESTRICTED")) == replace(
        RETRIABLE, code="PAYEE_ACCOUNT_RESTRICTED"
    )


def test_the_readme_lists_every_code_that_concludes_anything() -> None:
    readme = (Path(str(channels.paypal.__file__)).parent / "README.md").read_text()
    listed = set(re.findall(r"`([A-Z_]{6,}|invalid_token)`", readme[readme.index("## Final refusals") :]))
    assert listed >= {code for (op, code), meaning in ERRORS.items() if isinstance(meaning, Refused)}
    tables = (messages.PAY, messages.PROCEED, messages.CAPTURE, messages.VOID, messages.REFUND)
    assert {code for table in tables for code in table} == {
        code for (op, code), meaning in ERRORS.items() if isinstance(meaning, Refused)
    }


# ---- golden bytes ----------------------------------------------------------------------------------------------------

GOLDEN_ANSWERS: dict[str, tuple[str, Outcome]] = {
    "answer_create_payer_action": ("pay", Pending(PAGE, CREATED)),
    "answer_query_approved": ("query", PROCEED),
    "answer_query_lapsed": ("query", Unknown("INVALID_RESOURCE_ID: said", not_found=True)),
    "answer_proceed_captured": ("proceed", PAID),
    "answer_proceed_held": ("authorize", ON_HOLD),
    "answer_proceed_instrument_declined": ("proceed", Refused("INSTRUMENT_DECLINED", "said")),
    "answer_capture_of_a_part": ("capture", PART),
    "answer_query_capture_pending": ("query_capture", Pending(channel_ref=CAPTURE_ID)),
    "answer_query_capture_partly_refunded": ("query_capture", PAID),
    "answer_void": ("void", VOIDED),
    "answer_refund_done": ("refund", REFUNDED),
    "answer_refund_exceeds": ("refund", Refused("REFUND_AMOUNT_EXCEEDED", "said")),
}


def received(name: str) -> Response:
    """Return a stored answer or notice: status line, headers, blank line, body without a final newline."""
    head, _, body = (GOLDEN / f"{name}.txt").read_bytes().partition(b"\n\n")
    status, *headers = head.decode().split("\n")
    return Response(int(status), dict(line.split(": ", 1) for line in headers if line), body)


@pytest.mark.parametrize("name", GOLDEN_ANSWERS)
def test_stored_answers_keep_their_meaning(name: str) -> None:
    op, meaning = GOLDEN_ANSWERS[name]
    assert outcome(op, received(name)) == meaning


def test_the_merchant_of_an_answer_may_be_left_out_but_not_be_another() -> None:
    body = shown()
    del body["purchase_units"][0]["payee"]
    assert outcome("query", answer(200, body)) == Pending(PAGE, CREATED)
    assert (
        json.loads(received("answer_proceed_captured").body)["purchase_units"][0]["payee"]["merchant_id"] == MERCHANT_ID
    )
