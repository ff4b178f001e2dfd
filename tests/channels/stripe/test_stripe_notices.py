"""Who is believed: the signature of Stripe's webhooks, several secrets at once, and what events say."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import BadNotice, Kind, Notice, Order, Outcome, Pending, Refused, Unknown
from channels.stripe import disputes, signing
from channels.stripe.adapter import EVENTS
from kernel.env import Response
from kernel.money import Money
from tests.channels.stripe.stripe_rail import (
    ACCOUNT,
    INTENT,
    NOW,
    OLD_SECRET,
    REFUND,
    WEBHOOK_SECRET,
    answer,
    channel,
    declined,
    event,
    intent,
    notice,
    order,
    page_order,
    refund,
    refund_order,
    signature,
    signed,
)
from tests.channels.stripe.test_stripe_outcomes import CLOSED, HELD, PAID, PROVES, REFUNDED, SECURE, received

STRIPE = channel()
PAID_NOTICE = notice("payment_intent.succeeded", intent())
SECONDS = int(NOW.timestamp())
EVENT_ID = "evt_3QGolden0000000001"


def refusal(message: Response, **at: Any) -> str:
    """Return the code with which a notice is refused; fails when it is believed."""
    with pytest.raises(BadNotice) as refused:
        STRIPE.notice(message, now=at.get("now", NOW))
    return refused.value.code


def under(header: str | None, body: bytes = PAID_NOTICE.body) -> Response:
    return Response(200, {} if header is None else {"stripe-signature": header}, body)


# ---- what events say -------------------------------------------------------------------------------------------------

STORED: list[tuple[str, Kind, str, Outcome]] = [
    ("notice_payment_paid", Kind.PAYMENT, order().reference, PAID),
    ("notice_while_the_secret_is_rolled", Kind.PAYMENT, order().reference, PAID),
    ("notice_payment_held", Kind.PAYMENT, order().reference, HELD),
    ("notice_payment_canceled", Kind.PAYMENT, order().reference, Refused("canceled", "automatic", closed=True)),
    (
        "notice_payment_declined",
        Kind.PAYMENT,
        order().reference,
        Refused("generic_decline", "Your card was declined."),
    ),
    (
        "notice_page_expired",
        Kind.PAYMENT,
        order().reference,
        Refused("expired", "the page has expired", closed=True),
    ),
    ("notice_refund_done", Kind.REFUND, refund_order().reference, REFUNDED),
    ("notice_refund_failed", Kind.REFUND, refund_order().reference, Refused("lost_or_stolen_card", closed=True)),
]


@pytest.mark.parametrize(("name", "kind", "reference", "outcome"), STORED, ids=[row[0] for row in STORED])
def test_stored_notices_keep_their_meaning(name: str, kind: Kind, reference: str, outcome: Outcome) -> None:
    assert STRIPE.notice(received(name), now=NOW) == Notice(kind, reference, outcome, EVENT_ID)


def test_a_stored_notice_of_no_concern_is_verified_and_passed_over() -> None:
    stored = received("notice_of_no_concern")
    assert STRIPE.notice(stored, now=NOW) is None
    assert refusal(Response(200, stored.headers, stored.body + b" ")) == "bad_signature"


MORE: list[tuple[str, dict[str, Any], Outcome]] = [
    ("payment_intent.processing", intent("processing"), Pending(channel_ref=INTENT)),
    (
        "payment_intent.requires_action",
        intent("requires_action", next_action=PROVES),
        Pending({"type": "redirect", "url": SECURE}, INTENT),
    ),
    ("payment_intent.canceled", intent("canceled"), CLOSED),
    ("refund.updated", refund("pending"), Pending(channel_ref=REFUND)),
    ("charge.refund.updated", refund(), REFUNDED),
]


@pytest.mark.parametrize(("kind", "about", "outcome"), MORE, ids=[row[0] for row in MORE])
def test_an_event_says_what_its_object_says(kind: str, about: dict[str, Any], outcome: Outcome) -> None:
    told = STRIPE.notice(notice(kind, about), now=NOW)
    assert told is not None
    assert told.outcome == outcome


def test_every_type_that_is_used_has_an_example_here() -> None:
    seen = {kind for kind, _, _ in MORE} | {json.loads(received(name).body)["type"] for name, *_ in STORED}
    assert seen == EVENTS - disputes.EVENTS, "of disputes test_stripe_disputes.py has examples"


def test_a_notice_states_the_amount_and_the_hub_compares_it() -> None:
    """The adapter keeps no orders, so it cannot; the amount it returns is Stripe's."""
    told = STRIPE.notice(notice("payment_intent.succeeded", intent(amount=1, amount_received=1)), now=NOW)
    assert told is not None
    assert told.outcome == PAID.__class__(INTENT, Money(1, "USD"), PAID.happened_at)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("payment_intent.succeeded", intent(metadata={})),
        ("refund.created", refund(metadata={})),
        ("charge.succeeded", {"object": "charge"}),
        ("payment_intent.created", {"object": "payment_intent"}),
        ("invented.next_year", {}),
        ("payment_intent.payment_failed", declined(decline_code="brand_new")["error"]["payment_intent"]),
    ],
    ids=["not our intent", "not our refund", "charge", "created", "new type", "unknown reason"],
)
def test_what_we_did_not_make_or_do_not_use_is_passed_over(kind: str, about: dict[str, Any]) -> None:
    assert STRIPE.notice(notice(kind, about), now=NOW) is None


CONTRADICTIONS: list[tuple[str, Response, str]] = [
    ("live money", notice("payment_intent.succeeded", intent(), livemode=True), "not_ours"),
    ("a live intent in a test event", notice("payment_intent.succeeded", intent(livemode=True)), "not_ours"),
    ("another account", notice("payment_intent.succeeded", intent(), account="acct_another"), "not_ours"),
    ("another account, unused type", notice("charge.succeeded", {}, account="acct_another"), "not_ours"),
    ("a refund called a payment", notice("payment_intent.succeeded", refund()), "not_ours"),
    ("a payment called a refund", notice("refund.created", intent()), "not_ours"),
    ("amount is text", notice("payment_intent.succeeded", intent(amount_received="1")), "not_ours"),
    ("a new status", notice("payment_intent.succeeded", intent("frozen")), "not_ours"),
    ("no time", notice("payment_intent.succeeded", intent(), created=None), "not_ours"),
    ("not JSON", signed(b"<xml/>"), "malformed"),
    ("empty", signed(b""), "malformed"),
    ("a name twice", signed(b'{"id":"a","id":"b"}'), "malformed"),
    ("no event", signed(json.dumps(intent()).encode()), "malformed"),
    ("another object", notice("payment_intent.succeeded", intent(), object="charge"), "malformed"),
    ("data is a list", notice("payment_intent.succeeded", intent(), data=[]), "malformed"),
    ("data holds a list", notice("payment_intent.succeeded", intent(), data={"object": []}), "malformed"),
    ("id is a number", notice("payment_intent.succeeded", intent(), id=7), "malformed"),
]


@pytest.mark.parametrize(("what", "message", "code"), CONTRADICTIONS, ids=[row[0] for row in CONTRADICTIONS])
def test_a_signed_notice_that_contradicts_itself_or_us_is_refused(what: str, message: Response, code: str) -> None:
    assert refusal(message) == code


ANOTHERS = {"metadata": {"reference": "SO-10077"}}


@pytest.mark.parametrize(
    "message",
    [
        notice("payment_intent.succeeded", intent(**ANOTHERS, currency="not money")),
        notice("payment_intent.succeeded", intent("frozen", **ANOTHERS)),
        notice("payment_intent.succeeded", intent(**ANOTHERS, amount_received="1")),
        notice("payment_intent.succeeded", intent(**ANOTHERS), livemode=True),
        notice("payment_intent.succeeded", intent(**ANOTHERS), account="acct_another"),
        notice("refund.created", refund(**ANOTHERS, status="brand_new")),
    ],
)
def test_of_a_verified_event_that_is_not_believed_it_is_said_whose_it_is(message: Response) -> None:
    with pytest.raises(BadNotice) as refused:
        STRIPE.notice(message, now=NOW)
    assert refused.value.about == "SO-10077"


@pytest.mark.parametrize("changes", [{"metadata": None}, {"metadata": []}, {"currency": None, "metadata": {}}])
def test_an_event_about_what_carries_no_number_is_passed_over_whatever_else_it_says(changes: dict[str, Any]) -> None:
    for kind, about in (("payment_intent.succeeded", intent(**changes)), ("refund.failed", refund(**changes))):
        assert STRIPE.notice(notice(kind, about), now=NOW) is None


def test_of_a_forged_event_nothing_is_said() -> None:
    with pytest.raises(BadNotice) as refused:
        STRIPE.notice(under(f"t={SECONDS},v1={'0' * 64}"), now=NOW)
    assert refused.value.about is None


PROVING = Pending({"type": "redirect", "url": SECURE}, INTENT)
NO = Refused("canceled", closed=True)


@pytest.mark.parametrize("told", [PAID, HELD, PROVING, Pending(channel_ref=INTENT)])
def test_what_an_event_says_of_the_intent_by_which_the_order_goes_counts(told: Outcome) -> None:
    assert STRIPE.weighed(order(), told) == told
    assert STRIPE.weighed(page_order(channel_ref=INTENT), told) == told


@pytest.mark.parametrize(
    ("about", "told"),
    [
        *((order(), one) for one in (NO, Refused("generic_decline"), Pending())),
        *((order(channel_ref="pi_3QAnother"), one) for one in (PAID, HELD, PROVING)),
        *((order(channel_ref=None), one) for one in (PAID, HELD, PROVING, NO)),
        *((page_order(), one) for one in (PAID, HELD, PROVING, NO)),
        *((page_order(channel_ref=None), one) for one in (PAID, NO)),
    ],
)
def test_every_other_event_only_has_the_hub_ask(about: Order, told: Outcome) -> None:
    assert isinstance(STRIPE.weighed(about, told), Unknown)


def test_an_event_that_names_our_own_account_is_ours() -> None:
    assert STRIPE.notice(notice("payment_intent.succeeded", intent(), account=ACCOUNT), now=NOW) is not None


# ---- signatures ------------------------------------------------------------------------------------------------------


def test_each_byte_of_a_notice_is_signed() -> None:
    body = PAID_NOTICE.body
    for place in range(len(body)):
        altered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert refusal(Response(200, PAID_NOTICE.headers, altered)) == "bad_signature"


def test_each_character_of_the_header_counts() -> None:
    header = f"t={SECONDS},v1={signature(PAID_NOTICE.body)}"
    for place in range(len(header)):
        altered = header[:place] + ("1" if header[place] != "1" else "2") + header[place + 1 :]
        assert refusal(under(altered)) in ("bad_signature", "stale"), altered


@pytest.mark.parametrize("altered", [b" %b", b"%b ", b"%b\n", b"\xef\xbb\xbf%b"])
def test_blanks_around_the_body_are_part_of_what_is_signed(altered: bytes) -> None:
    assert refusal(Response(200, PAID_NOTICE.headers, altered % PAID_NOTICE.body)) == "bad_signature"


def test_moving_letters_between_time_and_body_does_not_help_a_forger() -> None:
    """What is signed stays the same, what is read does not."""
    right = signature(b"1." + PAID_NOTICE.body)
    assert refusal(under(f"t={SECONDS}.1,v1={right}")) == "bad_signature"


GOOD, WRONG = signature(PAID_NOTICE.body), "0" * 64
HEADERS: list[tuple[str, str | None, str | None]] = [
    ("plain", f"t={SECONDS},v1={GOOD}", None),
    ("a short one beside", f"t={SECONDS},v1=ab,v1={GOOD}", None),
    ("blanks after commas", f"t={SECONDS}, v1={GOOD}", "bad_signature"),
    ("order does not matter", f"v1={GOOD},t={SECONDS}", None),
    ("another scheme beside", f"t={SECONDS},v0={WRONG},v1={GOOD},v2=anything", None),
    ("a wrong one first", f"t={SECONDS},v1={WRONG},v1={GOOD}", None),
    ("a wrong one last", f"t={SECONDS},v1={GOOD},v1={WRONG}", None),
    ("none", None, "unsigned"),
    ("empty", "", "unsigned"),
    ("wrong", f"t={SECONDS},v1={WRONG}", "bad_signature"),
    ("the right one under v0", f"t={SECONDS},v0={GOOD}", "bad_signature"),
    ("no time", f"v1={GOOD}", "bad_signature"),
    ("two times", f"t={SECONDS},t={SECONDS},v1={GOOD}", "bad_signature"),
    ("no signature", f"t={SECONDS}", "bad_signature"),
    ("an empty signature", f"t={SECONDS},v1=", "bad_signature"),
    ("shorter", f"t={SECONDS},v1={GOOD[:-1]}", "bad_signature"),
    ("capitals", f"t={SECONDS},v1={GOOD.upper()}", "bad_signature"),
    ("not ASCII", f"t={SECONDS},v1={'é' * 64}", "bad_signature"),
    ("digits of another script", f"t={'１' * 10},v1={GOOD}", "bad_signature"),
    ("time with zeros", f"t=0{SECONDS},v1={GOOD}", "bad_signature"),
    ("time with a point", f"t={SECONDS}.0,v1={GOOD}", "bad_signature"),
    ("time below nothing", f"t=-{SECONDS},v1={GOOD}", "bad_signature"),
    ("a thousand wrong ones", f"t={SECONDS}," + ",".join([f"v1={WRONG}"] * 1000), "bad_signature"),
    ("commas", ",,,", "bad_signature"),
]


@pytest.mark.parametrize(("what", "header", "code"), HEADERS, ids=[row[0] for row in HEADERS])
def test_a_header_is_read_as_the_table_says(what: str, header: str | None, code: str | None) -> None:
    message = under(header)
    if code is not None:
        assert refusal(message) == code
    else:
        told = STRIPE.notice(message, now=NOW)
        assert told is not None
        assert told.outcome == PAID


@given(st.text(max_size=200))
def test_no_header_whatever_makes_the_check_stumble(header: str) -> None:
    assert refusal(under(header)) in ("unsigned", "bad_signature", "stale")


@pytest.mark.parametrize("seconds", [301, -301, 3600, -86400])
def test_a_notice_signed_more_than_five_minutes_from_now_is_stale(seconds: int) -> None:
    assert refusal(PAID_NOTICE, now=NOW + timedelta(seconds=seconds)) == "stale"


@pytest.mark.parametrize("seconds", [300, -300, 0])
def test_a_notice_signed_within_five_minutes_is_read(seconds: int) -> None:
    assert STRIPE.notice(PAID_NOTICE, now=NOW + timedelta(seconds=seconds)) is not None


# ---- which secret ----------------------------------------------------------------------------------------------------


def test_while_a_secret_is_rolled_both_are_good_and_each_is_named() -> None:
    both = channel(webhook_secrets=[OLD_SECRET, WEBHOOK_SECRET])
    old = notice("payment_intent.succeeded", intent(), secret=OLD_SECRET)
    for message, secret in ((old, OLD_SECRET), (PAID_NOTICE, WEBHOOK_SECRET)):
        assert both.notice(message, now=NOW) is not None
        assert both.verified_by(message, now=NOW) == signing.secret_id(secret)
        assert secret not in both.verified_by(message, now=NOW)
    assert refusal(old) == "bad_signature"


def test_without_a_secret_no_notice_is_believed() -> None:
    with pytest.raises(BadNotice):
        channel(webhook_secrets=None).notice(PAID_NOTICE, now=NOW)
    empty = signed(PAID_NOTICE.body, "")
    with pytest.raises(BadNotice):
        channel(webhook_secrets=[]).notice(empty, now=NOW)


def test_an_answer_is_vouched_for_by_its_connection_and_that_is_what_is_said() -> None:
    assert STRIPE.verified_by(answer(intent()), now=NOW) == "tls"
    assert channel(base_url="http://127.0.0.1:8480").verified_by(answer(intent()), now=NOW) == "loopback"
    with pytest.raises(BadNotice):
        STRIPE.verified_by(under(f"t={SECONDS},v1={WRONG}"), now=NOW)


def test_an_answer_is_never_a_notice() -> None:
    """Answers are unsigned, so whoever could have one read as a notice would need no signature."""
    assert refusal(answer(event("payment_intent.succeeded", intent()))) == "unsigned"
    assert isinstance(STRIPE.query_outcome(order(), PAID_NOTICE, now=NOW), Unknown)


# ---- what we answer --------------------------------------------------------------------------------------------------


def test_accepting_says_no_more_than_it_must_and_refusing_asks_for_another_try() -> None:
    assert STRIPE.notice_accepted() == Response(200, {}, b"")
    assert (STRIPE.notice_refused("not now", again=True).status, STRIPE.notice_refused("no", again=False).status) == (
        503,
        400,
    )
    assert len(STRIPE.notice_refused("é" * 1000, again=True).body) == 400
