"""What each answer of Stripe's means: the golden bytes, the table of statuses, the lists of errors, and doubt."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import channels.stripe
from channels import Confirmed, Outcome, Pending, Refused, Unknown
from channels.stripe import adapter, messages
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.stripe.stripe_rail import (
    GOLDEN,
    INTENT,
    NOW,
    PAID_AT,
    REFUND,
    answer,
    channel,
    declined,
    error,
    intent,
    order,
    refund,
    refund_order,
    transaction,
)

STRIPE = channel()
PAID = Confirmed(INTENT, Money(1234, "USD"), PAID_AT)
REFUNDED = Confirmed(REFUND, Money(234, "USD"), PAID_AT.replace(second=59))
GO_ON = Pending(channel_ref=INTENT, proceed=True)
HELD = Pending(channel_ref=INTENT, authorized=Money(1234, "USD"))
CLOSED = Refused("canceled", closed=True)
SECURE = "https://hooks.stripe.com/redirect/authenticate/src_golden?client_secret=src_client_secret_golden"
PROVES = {"type": "redirect_to_url", "redirect_to_url": {"url": SECURE, "return_url": "https://shop.example/"}}
# Each op as the hub asks it: with the intent's id once it is known, `find` without it.
OPS = ("pay", "find", "proceed", "query", "close", "capture", "void", "refund", "refund_query", "refund_find")
REPLAYED = {"idempotent_replayed": "true"}


def outcome(op: str, said: Response, *, part: int = 1234, **changes: Any) -> Outcome:
    """Translate an answer. part: how much is captured."""
    if op.startswith("refund"):
        asked = refund_order(channel_ref=REFUND if op == "refund_query" else None, **changes)
        read = STRIPE.refund_outcome if op == "refund" else STRIPE.refund_query_outcome
        return read(asked, said, now=NOW)
    new = {"channel_ref": None} if op in ("pay", "find") else {}
    held = {"authorize_only": True} if op in ("capture", "void") else {}
    about = order(**(new | held | changes))
    if op == "capture":
        return STRIPE.capture_outcome(about, Money(part, "USD"), said, now=NOW)
    reads = {
        "pay": STRIPE.pay_outcome,
        "find": STRIPE.query_outcome,
        "proceed": STRIPE.proceed_outcome,
        "query": STRIPE.query_outcome,
        "close": STRIPE.close_outcome,
        "void": STRIPE.void_outcome,
    }
    return reads[op](about, said, now=NOW)


def past_it(status: str, **changes: Any) -> Response:
    """The error of an intent that is already past what was asked; it shows the intent."""
    return error(400, "payment_intent_unexpected_state", payment_intent=intent(status, **changes))


# ---- answers ---------------------------------------------------------------------------------------------------------

ANSWERS: list[tuple[str, str, Response, Outcome]] = [
    ("pay", "made", answer(intent("requires_confirmation")), GO_ON),
    ("find", "made just now", answer(intent("requires_confirmation")), GO_ON),
    ("proceed", "paid", answer(intent()), PAID),
    ("proceed", "paid before", answer(intent(), **REPLAYED), PAID),
    ("proceed", "held", answer(intent("requires_capture")), HELD),
    ("proceed", "processing", answer(intent("processing")), Pending(channel_ref=INTENT)),
    (
        "proceed",
        "the payer proves who they are",
        answer(intent("requires_action", next_action=PROVES)),
        Pending({"type": "redirect", "url": SECURE}, INTENT),
    ),
    (
        "proceed",
        "only Stripe's own script could go on",
        answer(intent("requires_action", next_action={"type": "use_stripe_sdk"})),
        Pending(channel_ref=INTENT),
    ),
    ("proceed", "declined", answer(declined(), 402), Refused("generic_decline", "Your card was declined.")),
    (
        "proceed",
        "declined before",
        answer(declined(), 402, **REPLAYED),
        Refused("generic_decline", "Your card was declined."),
    ),
    ("query", "not confirmed yet", answer(intent("requires_confirmation")), GO_ON),
    ("query", "paid", answer(intent()), PAID),
    ("query", "held", answer(intent("requires_capture")), HELD),
    ("query", "processing", answer(intent("processing")), Pending(channel_ref=INTENT)),
    (
        "query",
        "canceled",
        answer(intent("canceled", cancellation_reason="abandoned")),
        replace(CLOSED, message="abandoned"),
    ),
    (
        "query",
        "declined",
        answer(declined(decline_code="lost_card")["error"]["payment_intent"]),
        Refused("lost_card", "Your card was declined."),
    ),
    ("query", "without a card", answer(intent("requires_payment_method")), Pending(channel_ref=INTENT)),
    ("close", "canceled", answer(intent("canceled")), CLOSED),
    ("close", "canceled before", past_it("canceled"), CLOSED),
    ("void", "released", answer(intent("canceled")), CLOSED),
    ("capture", "captured", answer(intent()), PAID),
    ("refund", "done", answer(refund()), REFUNDED),
    ("refund", "done before", answer(refund(), **REPLAYED), REFUNDED),
    ("refund", "under way", answer(refund("pending")), Pending(channel_ref=REFUND)),
    (
        "refund",
        "failed",
        answer(refund("failed", failure_reason="lost_or_stolen_card")),
        Refused("lost_or_stolen_card", closed=True),
    ),
    ("refund_query", "done", answer(refund()), REFUNDED),
    ("refund_query", "canceled", answer(refund("canceled")), Refused("canceled", closed=True)),
    (
        "refund_query",
        "the payer has to say where to",
        answer(refund("requires_action")),
        Pending({"type": "operator", "code": "requires_action"}, REFUND),
    ),
]
IDS = [f"{row[0]}: {row[1]}" for row in ANSWERS]


@pytest.mark.parametrize(("op", "what", "said", "meaning"), ANSWERS, ids=IDS)
def test_an_answer_means_what_the_table_says(op: str, what: str, said: Response, meaning: Outcome) -> None:
    assert outcome(op, said) == meaning


# ---- answers that need another beside them ---------------------------------------------------------------------------

NEW = order(channel_ref=None)
ASKS: list[tuple[str, str, Response, Request]] = [
    ("pay", "made before", answer(intent("requires_confirmation"), **REPLAYED), STRIPE.query_request(order())),
    ("find", "made before", answer(intent("requires_confirmation"), **REPLAYED), STRIPE.query_request(order())),
    ("proceed", "held before", answer(intent("requires_capture"), **REPLAYED), STRIPE.query_request(order())),
    ("proceed", "under way before", answer(intent("processing"), **REPLAYED), STRIPE.query_request(order())),
    ("capture", "captured before", past_it("succeeded", latest_charge="ch_1"), STRIPE.query_request(order())),
    ("capture", "released before", past_it("canceled"), STRIPE.query_request(order())),
    (
        "refund",
        "failed before",
        answer(refund("failed"), **REPLAYED),
        STRIPE.refund_query_request(refund_order(channel_ref=REFUND)),
    ),
]


@pytest.mark.parametrize(("op", "what", "said", "asks"), ASKS, ids=[f"{row[0]}: {row[1]}" for row in ASKS])
def test_an_answer_that_may_be_an_old_one_has_the_present_asked_for(
    op: str, what: str, said: Response, asks: Request
) -> None:
    found = outcome(op, said)
    assert isinstance(found, Unknown)
    assert (found.follow_up, found.not_found, found.not_sent) == (asks, False, False)


def test_what_comes_of_asking_is_read_as_the_first_answer_would_have_been() -> None:
    assert outcome("pay", answer(intent("requires_confirmation"))) == GO_ON
    assert outcome("pay", answer(intent())) == outcome("find", answer(intent())) == PAID
    assert outcome("proceed", answer(intent("requires_capture"))) == HELD
    assert outcome("capture", answer(intent())) == PAID
    assert outcome("capture", answer(intent("canceled"))) == CLOSED
    assert outcome("refund", answer(refund("failed"))) == Refused("failed", closed=True)


@pytest.mark.parametrize("replayed", [False, True], ids=["fresh", "replayed"])
def test_a_close_before_the_id_is_known_learns_it_and_then_cancels(replayed: bool) -> None:
    made = answer(intent("requires_confirmation"), **(REPLAYED if replayed else {}))
    found = STRIPE.close_outcome(NEW, made, now=NOW)
    assert isinstance(found, Unknown)
    assert found.follow_up == STRIPE.close_request(order())
    assert STRIPE.close_outcome(NEW, answer(intent("canceled")), now=NOW) == CLOSED
    assert isinstance(STRIPE.close_outcome(NEW, past_it("succeeded"), now=NOW), Unknown)


@pytest.mark.parametrize("status", ["succeeded", "processing", "requires_capture"])
@pytest.mark.parametrize("op", ["close", "void"])
def test_what_cannot_be_canceled_is_never_reported_closed(op: str, status: str) -> None:
    assert isinstance(outcome(op, past_it(status)), Unknown)
    assert isinstance(outcome(op, answer(intent(status))), Unknown)


# ---- captures --------------------------------------------------------------------------------------------------------

PART = intent(amount_received=1000)


def test_a_part_that_was_captured_is_confirmed_as_that_part() -> None:
    assert outcome("capture", answer(PART), part=1000) == replace(PAID, amount=Money(1000, "USD"))
    assert outcome("query", answer(PART), authorize_only=True) == replace(PAID, amount=Money(1000, "USD"))


def test_a_capture_of_another_amount_than_asked_is_stated_and_not_confirmed() -> None:
    said = outcome("capture", answer(PART), part=900)
    assert isinstance(said, Unknown)
    assert said.stated_amount == Money(1000, "USD")


def test_less_than_was_ordered_is_confirmed_only_where_it_was_held_first() -> None:
    said = outcome("query", answer(PART))
    assert isinstance(said, Unknown)
    assert said.stated_amount == Money(1000, "USD")


# ---- when the money moved --------------------------------------------------------------------------------------------


def test_the_moment_is_that_of_the_balance_and_without_one_that_of_the_charge() -> None:
    later = intent()
    later["latest_charge"]["balance_transaction"] = transaction(created=int(PAID_AT.timestamp()) + 3600)
    assert outcome("query", answer(later)) == replace(PAID, happened_at=PAID_AT.replace(hour=9))
    later["latest_charge"]["balance_transaction"] = "txn_1"
    assert outcome("query", answer(later)) == PAID
    assert isinstance(outcome("query", answer(intent(latest_charge="ch_1"))), Unknown)


# ---- refunds by our number -------------------------------------------------------------------------------------------


def listed(*refunds: dict[str, Any], has_more: bool = False) -> Response:
    return answer({"object": "list", "data": list(refunds), "has_more": has_more, "url": "/v1/refunds"})


OTHERS = refund(None, id="re_other", metadata={}), refund(id="re_released", metadata={"reference": "another"})


def test_a_refund_is_found_by_our_number_among_those_of_its_payment() -> None:
    assert outcome("refund_find", listed(*OTHERS, refund())) == REFUNDED


def test_a_refund_that_is_in_no_list_was_not_accepted() -> None:
    for said in (listed(), listed(*OTHERS)):
        found = outcome("refund_find", said)
        assert isinstance(found, Unknown)
        assert found.not_found


def test_a_list_that_goes_on_elsewhere_proves_no_absence() -> None:
    found = outcome("refund_find", listed(*OTHERS, has_more=True))
    assert isinstance(found, Unknown)
    assert not found.not_found
    assert outcome("refund_find", listed(*OTHERS, refund(), has_more=True)) == REFUNDED


@pytest.mark.parametrize(
    "body",
    [
        {"object": "list", "data": None, "has_more": False},
        {"object": "list", "data": [7], "has_more": False},
        {"object": "list", "data": []},
        {"object": "list", "data": [], "has_more": 0},
        {"object": "refund", "data": [], "has_more": False},
        {"data": [], "has_more": False},
        {"object": "list", "data": [{"object": "charge"}], "has_more": False},
    ],
)
def test_a_list_in_doubt_proves_no_absence(body: dict[str, Any]) -> None:
    found = outcome("refund_find", answer(body))
    assert isinstance(found, Unknown)
    assert not found.not_found


# ---- errors ----------------------------------------------------------------------------------------------------------

FINAL, RETRIABLE, NOT_FOUND = Refused("", "words"), Refused("", "words", retriable=True), Unknown("", not_found=True)
# Every error that concludes anything, by (op, HTTP status, code). What is not here is Unknown, see the next test.
ERRORS: dict[tuple[str, int, str], Outcome] = {
    ("pay", 401, ""): RETRIABLE,
    ("pay", 401, "api_key_expired"): RETRIABLE,
    ("pay", 403, ""): RETRIABLE,
    ("pay", 400, "amount_too_large"): RETRIABLE,
    ("pay", 400, "amount_too_small"): RETRIABLE,
    ("pay", 400, "parameter_invalid_empty"): FINAL,
    ("pay", 400, "parameter_invalid_integer"): FINAL,
    ("pay", 400, "parameter_invalid_string_blank"): FINAL,
    ("pay", 400, "parameter_missing"): FINAL,
    ("pay", 400, "parameter_unknown"): FINAL,
    ("pay", 400, "resource_missing"): FINAL,
    ("query", 404, "resource_missing"): NOT_FOUND,
    ("close", 404, "resource_missing"): NOT_FOUND,
    ("void", 404, "resource_missing"): NOT_FOUND,
    ("refund", 400, "charge_disputed"): FINAL,
    ("refund_query", 404, "resource_missing"): NOT_FOUND,
}
CODES = sorted(
    {code for _, _, code in ERRORS}
    | {"payment_intent_unexpected_state", "charge_already_refunded", "lock_timeout", "rate_limit"}
    | {"idempotency_key_in_use", "card_declined", "processing_error", "account_invalid", "brand_new"}
)
STATUSES = (400, 401, 402, 403, 404, 409, 424, 429, 500, 502, 503)


def without_words(found: Outcome) -> Outcome:
    match found:
        case Refused():
            return replace(found, code="")
        case Unknown():
            return replace(found, reason="", follow_up=None, refusal=None)
        case _:
            return found


@pytest.mark.parametrize("op", OPS)
def test_an_error_concludes_what_the_list_says_and_nothing_else_does(op: str) -> None:
    """Each code on each operation under each status: 10 × 20 × 11 answers."""
    for code in CODES:
        for status in STATUSES:
            found = outcome(op, error(status, code or None))
            assert without_words(found) == ERRORS.get((op, status, code), Unknown("")), f"{op} {status} {code}"
            assert not isinstance(found, Refused) or found.code == (code or "invalid_request_error")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    "kind", ["idempotency_error", "api_error", "rate_limit_error", "brand_new_error", "card_error"]
)
def test_a_code_counts_only_in_an_error_of_the_type_it_belongs_to(op: str, kind: str) -> None:
    """An idempotency_error above all: whoever used the key first may have succeeded."""
    for code in CODES:
        for status in STATUSES:
            found = outcome(op, error(status, code or None, type=kind))
            assert isinstance(found, Unknown), f"{op} {status} {code}"
            assert (found.not_found, found.refusal) == (False, None)


def test_money_that_was_never_taken_is_not_given_back() -> None:
    """This refusal has no code, so it goes by the field it complains of."""
    assert outcome("refund", error(400, param="payment_intent")) == Refused("payment_intent", "words")
    for said in (error(400, param="amount"), error(404, param="payment_intent"), error(500, param="payment_intent")):
        assert isinstance(outcome("refund", said), Unknown)


def test_what_was_refunded_already_may_have_been_our_refund() -> None:
    doubtful = outcome("refund", error(400, "charge_already_refunded"))
    assert isinstance(doubtful, Unknown)
    assert doubtful.refusal is not None
    assert doubtful.refusal.code == "charge_already_refunded"


# ---- declines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(messages.DECLINES))
def test_a_listed_decline_is_final_in_answer_query_and_notice_alike(code: str) -> None:
    said = declined(decline_code=code)
    final = outcome("proceed", answer(said, 402))
    assert isinstance(final, Refused)
    assert (final.code, final.closed) == (code, False)
    assert outcome("query", answer(said["error"]["payment_intent"])) == final


def test_a_decline_for_a_reason_not_known_is_unknown() -> None:
    for said in (declined(decline_code="brand_new"), declined("brand_new", None), declined("card_declined", None)):
        assert isinstance(outcome("proceed", answer(said, 402)), Unknown)
        assert isinstance(outcome("query", answer(said["error"]["payment_intent"])), Unknown)


def test_only_the_ways_of_the_issuer_are_worth_a_later_try() -> None:
    again = {code for code, says in messages.DECLINES.items() if says(code, "").retriable}  # type: ignore[union-attr]
    assert again == {
        "card_decline_rate_limit_exceeded",
        "issuer_not_available",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_intent": None},
        {"payment_intent": intent()},
        {"payment_intent": intent("requires_action")},
        {"payment_intent": intent("requires_payment_method", id="pi_another")},
        {"payment_intent": intent("requires_payment_method", metadata={"reference": "another"})},
        {"payment_intent": intent("requires_payment_method", amount=1)},
        {"payment_intent": intent("requires_payment_method", livemode=True)},
        {"type": "api_error"},
    ],
)
def test_a_decline_that_is_not_of_our_intent_left_without_a_card_is_unknown(changes: dict[str, Any]) -> None:
    assert isinstance(outcome("proceed", answer(declined(**changes), 402)), Unknown)


def test_a_decline_is_one_under_its_own_status_and_for_the_second_call_alone() -> None:
    for op in OPS:
        for status in STATUSES:
            found = outcome(op, answer(declined(), status))
            assert isinstance(found, Refused) == (op == "proceed" and status == 402), f"{op} {status}"


def test_the_readme_lists_exactly_the_refusals_of_the_code() -> None:
    readme = (Path(channels.stripe.__file__).parent / "README.md").read_text()
    table = readme.partition("## Final refusals")[2].partition("##")[0]
    documented = {
        (op, code)
        for op, codes in re.findall(r"^\| ([a-z_]+) \| ([^|]+) \|", table, flags=re.MULTILINE)
        for code in re.findall(r"`([a-z_]+)`", codes)
    }
    tables = {"pay": messages.PAY, "refund": messages.REFUND}
    coded = {
        (op, code)
        for op, table in tables.items()
        for (_, code), says in table.items()
        if isinstance(says(code, ""), Refused)
    }
    assert documented == coded | {("proceed", code) for code in messages.DECLINES}


# ---- doubt -----------------------------------------------------------------------------------------------------------

DOUBTFUL: list[tuple[str, str, dict[str, Any]]] = [
    ("query", "amount differs", intent(amount=1233, amount_received=1233)),
    ("query", "more was received", intent(amount_received=1235)),
    ("query", "currency differs", intent(currency="eur")),
    ("query", "currency in capitals elsewhere", intent(currency="US")),
    ("query", "another intent's", intent(id="pi_another")),
    ("query", "not an intent's id", intent(id="ch_1")),
    ("query", "an id that leads elsewhere", intent(id="pi_../x")),
    ("query", "another order's", intent(metadata={"reference": "1-01937a0b5c00aabbccddeeff00113"})),
    ("query", "nobody's order", intent(metadata={})),
    ("query", "no metadata", intent(metadata=None)),
    ("query", "live money", intent(livemode=True)),
    ("query", "no mode", intent(livemode=None)),
    ("query", "another object", intent(object="charge")),
    ("query", "amount as text", intent(amount="1234")),
    ("query", "amount with a point", intent(amount=1234.0)),
    ("query", "amount true", intent(amount=True)),
    ("query", "amount negative", intent(amount=-1234)),
    ("query", "amount beyond money", intent(amount=10**30)),
    ("query", "nothing received", intent(amount_received=0)),
    ("query", "a new status", intent("frozen")),
    ("query", "no status", intent(status=None)),
    ("query", "another amount is held", intent("requires_capture", amount_capturable=1)),
    ("proceed", "no next action", intent("requires_action")),
    ("proceed", "a next action without an address", intent("requires_action", next_action={"type": "redirect_to_url"})),
    (
        "proceed",
        "an address that is a script",
        intent("requires_action", next_action=PROVES | {"redirect_to_url": {"url": "javascript:alert(1)"}}),
    ),
    (
        "proceed",
        "an address without TLS",
        intent("requires_action", next_action=PROVES | {"redirect_to_url": {"url": "http://evil.example/"}}),
    ),
    ("pay", "another order's", intent("requires_confirmation", metadata={"reference": "another"})),
    ("pay", "another amount", intent("requires_confirmation", amount=1)),
    ("pay", "nothing said", {}),
    ("refund", "amount differs", refund(amount=235)),
    ("refund", "another refund's", refund(metadata={"reference": "another"})),
    ("refund", "another payment's", refund(payment_intent="pi_another")),
    ("refund", "no payment's", refund(payment_intent=None)),
    ("refund", "another object", refund(object="charge")),
    ("refund_query", "another id", refund(id="re_another")),
    ("refund_query", "a new status", refund("half")),
    ("refund_query", "amount differs while under way", refund("pending", amount=1)),
]


@pytest.mark.parametrize(("op", "what", "body"), DOUBTFUL, ids=[f"{row[0]}: {row[1]}" for row in DOUBTFUL])
@pytest.mark.parametrize("replayed", [False, True], ids=["fresh", "replayed"])
def test_an_answer_that_is_not_about_our_order_is_unknown(
    op: str, what: str, body: dict[str, Any], replayed: bool
) -> None:
    found = outcome(op, answer(body, **(REPLAYED if replayed else {})))
    assert isinstance(found, Unknown)
    assert not found.not_found
    assert not found.not_sent


def test_another_amount_is_named_so_that_a_case_can_be_opened() -> None:
    for body in (intent(amount=1, amount_received=1), intent(amount_received=1)):
        found = outcome("query", answer(body))
        assert isinstance(found, Unknown)
        assert found.stated_amount == Money(1, "USD")
    found = outcome("refund", answer(refund(amount=1)))
    assert isinstance(found, Unknown)
    assert found.stated_amount == Money(1, "USD")


def test_fields_we_do_not_know_do_no_harm() -> None:
    assert outcome("query", answer(intent(new_field={"deep": [1.5, None]}))) == PAID


def test_a_live_key_believes_live_answers_alone() -> None:
    live = channel(secret_key="sk_live_golden")
    assert live.query_outcome(order(), answer(intent(livemode=True)), now=NOW) == PAID
    assert isinstance(live.query_outcome(order(), answer(intent()), now=NOW), Unknown)


@pytest.mark.parametrize("status", [201, 202, 204, 301, 302, 304])
def test_a_status_other_than_200_is_no_yes(status: int) -> None:
    assert isinstance(outcome("query", answer(intent(), status)), Unknown)


@pytest.mark.parametrize(
    "body",
    [b'{"id":"a","id":"b"}', b'{"x":NaN}', b"\xef\xbb\xbf{}", b"[]", b"[" * 100_000, b"<html>", b""],
    ids=["twice", "nan", "mark", "list", "deep", "html", "empty"],
)
@pytest.mark.parametrize("op", OPS)
def test_what_is_not_one_json_object_is_not_read(op: str, body: bytes) -> None:
    for status in (200, 400, 402):
        assert isinstance(outcome(op, answer(body, status)), Unknown)


@given(
    st.binary(max_size=300), st.sampled_from([200, 202, 301, 400, 402, 404, 500]), st.sampled_from(OPS), st.booleans()
)
def test_no_answer_whatever_makes_the_adapter_stumble(body: bytes, status: int, op: str, replayed: bool) -> None:
    said = answer(body, status, **(REPLAYED if replayed else {}))
    assert isinstance(outcome(op, said), Confirmed | Pending | Refused | Unknown)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({*intent(), *refund(), "type", "code", "decline_code", "payment_intent", "data", "has_more"})


@given(st.sampled_from(OPS), st.sampled_from(FIELDS), json_values, st.sampled_from([200, 400, 402]))
def test_no_field_of_any_kind_makes_the_adapter_stumble_or_confirm_more(
    op: str, name: str, value: Any, status: int
) -> None:
    body: dict[str, Any] = refund() if op.startswith("refund") else intent()
    if status != 200:
        body = {"error": declined()["error"] | {"payment_intent": body | {name: value}}}
    found = outcome(op, answer(json.dumps(body if status != 200 else body | {name: value}).encode(), status))
    assert isinstance(found, Confirmed | Pending | Refused | Unknown)
    if isinstance(found, Confirmed):
        assert found.amount in (PAID.amount, REFUNDED.amount)


# ---- golden bytes ----------------------------------------------------------------------------------------------------

GOLDEN_ANSWERS: dict[str, tuple[str, Outcome]] = {
    "answer_create_made": ("pay", GO_ON),
    "answer_create_replayed": ("find", Unknown(adapter.OLD, follow_up=STRIPE.query_request(order()))),
    "answer_confirm_paid": ("proceed", PAID),
    "answer_confirm_held": ("proceed", HELD),
    "answer_confirm_payer_proves_identity": ("proceed", Pending({"type": "redirect", "url": SECURE}, INTENT)),
    "answer_confirm_declined_no_money": ("proceed", Refused("insufficient_funds", "Your card was declined.")),
    "answer_query_paid": ("query", PAID),
    "answer_query_declined": (
        "query",
        Refused("payment_intent_authentication_failure", "The provided PaymentMethod has failed authentication."),
    ),
    "answer_query_canceled": ("query", replace(CLOSED, message="abandoned")),
    "answer_query_unknown_intent": (
        "query",
        Unknown(f"resource_missing: No such payment_intent: '{INTENT}'", not_found=True),
    ),
    "answer_cancel_done": ("close", CLOSED),
    "answer_cancel_was_canceled_before": ("void", CLOSED),
    "answer_refund_done": ("refund", REFUNDED),
    "answer_refund_pending": ("refund_query", Pending(channel_ref=REFUND)),
    "answer_refund_list": ("refund_find", REFUNDED),
    "answer_refund_list_without_ours": (
        "refund_find",
        Unknown("it is not among the refunds of the payment", not_found=True),
    ),
    "answer_wrong_key": (
        "pay",
        Refused("invalid_request_error", "Invalid API Key provided: sk_test_*****den", retriable=True),
    ),
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


def test_a_stored_capture_of_a_part_keeps_its_meaning() -> None:
    assert outcome("capture", received("answer_capture_part"), part=1000) == replace(PAID, amount=Money(1000, "USD"))
