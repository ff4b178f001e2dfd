"""A page of Stripe's (Checkout Sessions): what is sent, what each answer and event means, and doubt."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import BadNotice, Confirmed, Kind, Notice, Order, Outcome, Pending, Refused, Unknown
from channels.stripe import Stripe
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.stripe.stripe_rail import (
    GOLDEN,
    INTENT,
    NOW,
    PAGE_URL,
    PAID_AT,
    SESSION,
    answer,
    channel,
    error,
    intent,
    notice,
    order,
    page_intent,
    page_order,
    refund_order,
    session,
)
from tests.channels.stripe.test_stripe_outcomes import FIELDS, REPLAYED, json_values, received
from tests.channels.stripe.test_stripe_requests import as_sent, fields

STRIPE = channel()
NEW = page_order(channel_ref=None)
PAID_BY_INTENT = page_order(channel_ref=INTENT, authorize_only=True)
OPEN = Pending({"type": "redirect", "url": PAGE_URL}, SESSION)
PAID = Confirmed(INTENT, Money(1234, "USD"), PAID_AT)
HELD = Pending(channel_ref=INTENT, authorized=Money(1234, "USD"))
EXPIRED = Refused("expired", "the page has expired", closed=True)
TOO_LATE = error(400, None, message='Only Checkout Sessions with a status in ["open"] can be expired.')

# ---- what is sent ----------------------------------------------------------------------------------------------------

REQUESTS: dict[str, Callable[[Stripe], Request]] = {
    "request_page": lambda rail: rail.pay_request(NEW),
    "request_page_query": lambda rail: rail.query_request(page_order()),
    "request_page_expire": lambda rail: rail.close_request(page_order()),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    rail = channel()
    signed = rail.sign(REQUESTS[name](rail), now=NOW, nonce="unused")
    assert as_sent(signed) == (GOLDEN / f"{name}.txt").read_text()


def test_a_page_asks_for_our_amount_and_nothing_else_may_change_it() -> None:
    sent = fields(STRIPE.pay_request(NEW))
    item = "line_items[0]"
    assert sent[f"{item}[price_data][unit_amount]"] == "1234"
    assert sent[f"{item}[price_data][currency]"] == "usd"
    assert sent[f"{item}[quantity]"] == "1"
    off = ("adaptive_pricing[enabled]", "automatic_tax[enabled]", "allow_promotion_codes")
    assert {sent[name] for name in off} == {"false"}


def test_a_page_and_its_intent_are_known_by_our_number_and_its_intent_as_a_pages() -> None:
    request = STRIPE.pay_request(NEW)
    sent = fields(request)
    numbers = ("client_reference_id", "metadata[reference]", "payment_intent_data[metadata][reference]")
    assert {request.headers["Idempotency-Key"], *(sent[name] for name in numbers)} == {NEW.reference}
    assert sent["payment_intent_data[metadata][paid_by]"] == "page"
    assert "token" not in str(sent)
    held = fields(STRIPE.pay_request(replace(NEW, authorize_only=True)))
    methods = [one["payment_intent_data[capture_method]"] for one in (sent, held)]
    assert methods == ["automatic", "manual"]


def test_what_is_bought_is_named_and_where_nothing_is_our_number() -> None:
    long = fields(STRIPE.pay_request(replace(NEW, description="茶&mode=setup\r\n" + "长" * 600)))
    name = "line_items[0][price_data][product_data][name]"
    assert (long["mode"], len(long[name])) == ("payment", 500)
    assert long[name] == long["payment_intent_data[description]"]
    nothing = fields(STRIPE.pay_request(replace(NEW, description=" ")))
    assert nothing[name] == NEW.reference
    assert "payment_intent_data[description]" not in nothing


def test_a_payer_comes_back_paid_or_not() -> None:
    sent = fields(STRIPE.pay_request(NEW))
    assert sent["success_url"] == sent["cancel_url"] == NEW.return_url
    nowhere = replace(NEW, return_url=None)
    rail = channel(return_url="https://shop.example/")
    assert fields(rail.pay_request(nowhere))["success_url"] == "https://shop.example/"


def test_without_its_id_a_page_is_made_again_to_the_byte() -> None:
    assert STRIPE.query_request(NEW) == STRIPE.pay_request(NEW) == STRIPE.close_request(NEW)
    assert STRIPE.pay_request(page_order()) == STRIPE.query_request(page_order())


def test_once_an_intent_has_the_money_the_order_goes_by_that() -> None:
    url = f"https://api.stripe.com/v1/payment_intents/{INTENT}"
    assert STRIPE.query_request(PAID_BY_INTENT).url.startswith(f"{url}?")
    assert STRIPE.capture_request(PAID_BY_INTENT, Money(1000, "USD")).url == f"{url}/capture"
    assert STRIPE.void_request(PAID_BY_INTENT).url == STRIPE.close_request(PAID_BY_INTENT).url == f"{url}/cancel"
    assert b"payment_intent=pi_" in STRIPE.refund_request(refund_order()).body


# ---- answers ---------------------------------------------------------------------------------------------------------


def outcome(op: str, said: Response, about: Order | None = None) -> Outcome:
    """Translate an answer. op: pay, find and lose without the session's id; query and close with it."""
    about = about or (NEW if op in ("pay", "find", "lose") else page_order())
    reads = {"pay": STRIPE.pay_outcome, "find": STRIPE.query_outcome, "lose": STRIPE.close_outcome}
    reads |= {"query": STRIPE.query_outcome, "close": STRIPE.close_outcome}
    return reads[op](about, said, now=NOW)


LEFT = page_intent("requires_payment_method")
HOLD = page_order(authorize_only=True)
ANSWERS: list[tuple[str, str, Response, Outcome]] = [
    ("pay", "made", answer(session()), OPEN),
    ("find", "made just now", answer(session()), OPEN),
    ("query", "nobody has tried", answer(session()), OPEN),
    ("query", "a card was declined", answer(session("open", LEFT)), OPEN),
    ("query", "the payer proves who they are there", answer(session("open", page_intent("requires_action"))), OPEN),
    ("query", "paid", answer(session("complete", page_intent())), PAID),
    ("query", "paid, and the page not ended yet", answer(session("open", page_intent())), PAID),
    ("query", "paid just before it expired", answer(session("expired", page_intent())), PAID),
    ("query", "under way", answer(session("complete", page_intent("processing"))), Pending(channel_ref=SESSION)),
    ("query", "expired", answer(session("expired")), EXPIRED),
    ("query", "expired after a declined card", answer(session("expired", LEFT)), EXPIRED),
    ("query", "expired, its intent canceled", answer(session("expired", page_intent("canceled"))), EXPIRED),
    ("close", "expired now", answer(session("expired")), EXPIRED),
]


@pytest.mark.parametrize(("op", "what", "said", "meaning"), ANSWERS, ids=[f"{row[0]}: {row[1]}" for row in ANSWERS])
def test_an_answer_means_what_the_table_says(op: str, what: str, said: Response, meaning: Outcome) -> None:
    assert outcome(op, said) == meaning


def test_reserved_money_goes_by_the_intent_and_what_is_released_is_closed() -> None:
    assert outcome("query", answer(session("complete", page_intent("requires_capture"))), HOLD) == HELD
    released = outcome("query", answer(session("complete", page_intent("canceled"))), HOLD)
    assert isinstance(released, Refused)
    assert released.closed
    part = answer(session("complete", page_intent(amount_received=1000)))
    assert outcome("query", part, HOLD) == replace(PAID, amount=Money(1000, "USD"))


def test_an_old_answer_told_again_has_the_page_asked_for() -> None:
    for op in ("pay", "find"):
        found = outcome(op, answer(session(), **REPLAYED))
        assert isinstance(found, Unknown)
        assert found.follow_up == STRIPE.query_request(page_order())
    assert outcome("pay", answer(session("complete", page_intent()))) == PAID, "what comes of asking is read likewise"


@pytest.mark.parametrize("replayed", [False, True], ids=["fresh", "replayed"])
def test_a_close_before_the_id_is_known_learns_it_and_then_expires_the_page(replayed: bool) -> None:
    found = outcome("lose", answer(session(), **(REPLAYED if replayed else {})))
    assert isinstance(found, Unknown)
    assert found.follow_up == STRIPE.close_request(page_order())
    assert outcome("lose", answer(session("expired"))) == EXPIRED


def test_a_page_that_is_not_expired_now_is_asked_for() -> None:
    found = outcome("close", TOO_LATE)
    assert isinstance(found, Unknown)
    assert found.follow_up == STRIPE.query_request(page_order())
    assert outcome("close", answer(session("expired"))) == EXPIRED, "it had expired before"


@pytest.mark.parametrize("status", ["succeeded", "processing", "requires_capture"])
def test_a_page_that_was_paid_is_never_reported_closed(status: str) -> None:
    for about in (page_order(), HOLD):
        assert isinstance(outcome("close", answer(session("complete", page_intent(status))), about), Unknown)


def test_of_errors_the_lists_decide_as_for_any_order() -> None:
    assert outcome("pay", error(400, "amount_too_small")) == Refused("amount_too_small", "words", retriable=True)
    assert outcome("pay", error(400, "parameter_missing")) == Refused("parameter_missing", "words")
    for op in ("query", "close"):
        gone = outcome(op, error(404, "resource_missing"))
        assert isinstance(gone, Unknown)
        assert gone.not_found
    for op in ("pay", "find", "lose", "query", "close"):
        for status in (402, 409, 424, 429, 500, 503):
            assert isinstance(outcome(op, error(status, "amount_too_small")), Unknown), f"{op} {status}"
    assert isinstance(outcome("find", error(400, "amount_too_small")), Unknown), "the first message may have arrived"


DOUBTFUL: list[tuple[str, dict[str, Any]]] = [
    ("another amount", session(amount_total=1233)),
    ("another currency", session(currency="eur")),
    ("another session", session(id="cs_test_another")),
    ("not a session's id", session(id="pi_1")),
    ("another order", session(metadata={"reference": "another"})),
    ("nobody's order", session(metadata={})),
    ("another mode", session(mode="setup")),
    ("live money", session(livemode=True)),
    ("another object", session(object="payment_intent")),
    ("a new status", session("frozen")),
    ("a new payment status", session(payment_status="no_payment_required")),
    ("open and paid, by nobody knows what", session(payment_status="paid")),
    ("open without an address", session(url=None)),
    ("a script for an address", session(url="javascript:alert(1)")),
    ("an address without TLS", session(url="http://evil.example/")),
    ("expired and paid", session("expired", payment_status="paid")),
    ("complete, and the intent not shown", session("complete", INTENT, payment_status="paid")),
    ("complete, and left without a card", session("complete", LEFT)),
    ("expired while the payer proves who they are", session("expired", page_intent("requires_action"))),
    ("another order's intent", session("complete", page_intent(metadata={"reference": "another"}))),
    ("an intent of another amount", session("open", page_intent("requires_payment_method", amount=1))),
    ("an intent of live money", session("complete", page_intent(livemode=True))),
    ("another amount is reserved", session("complete", page_intent("requires_capture", amount_capturable=1))),
]


@pytest.mark.parametrize(("what", "body"), DOUBTFUL, ids=[row[0] for row in DOUBTFUL])
def test_an_answer_that_is_not_about_our_page_is_unknown(what: str, body: dict[str, Any]) -> None:
    for op in ("query", "close"):
        found = outcome(op, answer(body))
        assert isinstance(found, Unknown)
        assert (found.not_found, found.not_sent) == (False, False)


def test_another_amount_that_moved_is_named_so_that_a_case_can_be_opened() -> None:
    for paid in (page_intent(amount_received=1), page_intent(amount=1, amount_received=1)):
        found = outcome("query", answer(session("complete", paid)))
        assert isinstance(found, Unknown)
        assert found.stated_amount == Money(1, "USD")


@given(st.sampled_from(("pay", "find", "lose", "query", "close")), st.sampled_from([*session(), *FIELDS]), json_values)
def test_no_field_of_any_kind_makes_the_adapter_stumble_or_confirm_more(op: str, name: str, value: Any) -> None:
    for body in (
        session("complete", page_intent()) | {name: value},
        session("complete", page_intent() | {name: value}),
        session() | {name: value},
    ):
        found = outcome(op, answer(json.dumps(body).encode()))
        assert isinstance(found, Confirmed | Pending | Refused | Unknown)
        if isinstance(found, Confirmed):
            assert found.amount == PAID.amount


# ---- events ----------------------------------------------------------------------------------------------------------

EVENT_ID = "evt_3QGolden0000000001"


def told(kind: str, about: dict[str, Any]) -> Notice | None:
    return STRIPE.notice(notice(kind, about), now=NOW)


def test_of_a_pages_intent_only_what_holds_is_believed() -> None:
    for kind, about, meaning in (
        ("succeeded", page_intent(), PAID),
        ("amount_capturable_updated", page_intent("requires_capture"), HELD),
        ("canceled", page_intent("canceled"), Refused("canceled", closed=True)),
    ):
        assert told(f"payment_intent.{kind}", about) == Notice(Kind.PAYMENT, NEW.reference, meaning, EVENT_ID)
    declined = intent("requires_payment_method", last_payment_error={"decline_code": "lost_card"})
    for kind, status in (("payment_failed", "requires_payment_method"), ("requires_action", "requires_action")):
        about = declined | {"status": status, "next_action": {"type": "use_stripe_sdk"}}
        assert told(f"payment_intent.{kind}", about) is not None, "of a card that we confirmed ourselves it is news"
        assert told(f"payment_intent.{kind}", about | {"metadata": page_intent()["metadata"]}) is None
    assert told("payment_intent.processing", page_intent("processing")) is None


def test_a_page_that_has_expired_is_closed_and_one_that_is_complete_says_nothing_new() -> None:
    assert told("checkout.session.expired", session("expired")) == Notice(
        Kind.PAYMENT, NEW.reference, EXPIRED, EVENT_ID
    )
    assert told("checkout.session.completed", session("complete", INTENT, payment_status="paid")) is None
    assert told("checkout.session.expired", session("expired", metadata={})) is None, "not made by us"


@pytest.mark.parametrize(
    "about", [session(), session("complete"), session("expired", payment_status="paid"), session("expired", id="pi_1")]
)
def test_an_event_that_contradicts_itself_closes_nothing(about: dict[str, Any]) -> None:
    with pytest.raises(BadNotice) as refused:
        told("checkout.session.expired", about)
    assert (refused.value.code, refused.value.about) == ("not_ours", NEW.reference)


# ---- golden bytes ----------------------------------------------------------------------------------------------------

GOLDEN_ANSWERS: dict[str, tuple[str, Outcome]] = {
    "answer_page_open": ("pay", OPEN),
    "answer_page_paid": ("query", PAID),
    "answer_page_card_declined": ("query", OPEN),
    "answer_page_expired": ("close", EXPIRED),
}


@pytest.mark.parametrize("name", GOLDEN_ANSWERS)
def test_stored_answers_keep_their_meaning(name: str) -> None:
    op, meaning = GOLDEN_ANSWERS[name]
    assert outcome(op, received(name)) == meaning


def test_stored_events_keep_their_meaning() -> None:
    for name, meaning in (("notice_page_paid", PAID), ("notice_page_expired", EXPIRED)):
        assert STRIPE.notice(received(name), now=NOW) == Notice(Kind.PAYMENT, order().reference, meaning, EVENT_ID)
    assert STRIPE.notice(received("notice_page_card_declined"), now=NOW) is None
