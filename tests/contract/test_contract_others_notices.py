"""Signed notices under our number about what others made at the same account: they move none of our payments.

Whoever shares a Stripe account can write our number into the metadata of a session or an intent of their own, and
Stripe signs what it tells about that as it signs everything. The order's own session or intent decides.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from channels import Method
from gateway.tables import Payment
from ops.wiring import Hub
from tests.channels.stripe import stripe_rail
from tests.contract.counterparties import Payer
from tests.contract.plays import Play, RailFacts, plays
from tests.contract.tills import MINOR, Till, a_till, waiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

THEIRS = "pi_3QNotOurs0000000001"
DECLINED = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline", "message": "no"}


def is_stripe(rail: RailFacts) -> bool:
    return rail.name == "stripe"


async def a_stripe_till(play: Play, objects: Hub) -> Till:
    await play.other.register_notices("http://127.0.0.1:9/")
    return await a_till(play, objects)


async def left_open(till: Till) -> Payment:
    """Make a payment on Stripe's page whose payer has not come yet."""
    paid, other = till.play.other.pay, till.play.other

    async def nobody(reference: str) -> None:
        return None

    other.pay = nobody  # type: ignore[method-assign]
    try:
        return await till.pay(Method.PAGE)
    finally:
        other.pay = paid  # type: ignore[method-assign]


async def told(till: Till, kind: str, about: dict[str, Any]) -> int:
    """Have the hub told, rightly signed, of an event about this; return the status of its answer."""
    (secret, *_) = till.play.other.account["webhook_secrets"]
    now = datetime.now(UTC)
    raw = stripe_rail.notice(kind, about, secret=secret, created=int(now.timestamp())).body
    message = stripe_rail.signed(raw, secret, at=now)
    return (await till.hub.notices.receive("stripe", till.book, "main", message)).status


async def theirs(till: Till, payment: Payment, status: str, **changes: Any) -> dict[str, Any]:
    """Return an intent of somebody else's under our number, and of our amount."""
    reference = (await till.attempt(payment)).reference
    sums = {"amount": MINOR, "currency": payment.currency.lower()}
    sums |= {"amount_received": MINOR} if status == "succeeded" else {}
    sums |= {"amount_capturable": MINOR} if status == "requires_capture" else {}
    named = {"id": THEIRS, "metadata": {"reference": reference}}
    return stripe_rail.intent(status, **(named | sums | changes))


async def expired(till: Till, payment: Payment) -> dict[str, Any]:
    reference = (await till.attempt(payment)).reference
    strange: dict[str, Any] = {"id": "cs_test_notours", "amount_total": 1, "currency": "jpy"}
    return stripe_rail.session("expired", metadata={"reference": reference}, **strange)


async def as_it_was(till: Till, payment: Payment, status: str, attempt_status: str) -> None:
    attempt = await till.attempt(payment)
    assert ((await till.payment(payment.id)).status, attempt.status) == (status, attempt_status)
    assert attempt.channel_ref != THEIRS
    await till.assert_books_hold()


@plays(alone=True, when=is_stripe, method=lambda rail: [Method.CARD, Method.PAGE])
async def test_anothers_page_that_expired_ends_no_payment_whose_money_is_held(
    play: Play, rail_hub: Hub, method: Method
) -> None:
    till = await a_stripe_till(play, rail_hub)
    payment = await till.pay(method, manual=True)
    await till.until("requires_capture", lambda: till.payment(payment.id))
    assert await told(till, "checkout.session.expired", await expired(till, payment)) == 200
    await as_it_was(till, payment, "requires_capture", "authorized")
    assert await waiting(till) == []


@plays(alone=True, when=is_stripe)
async def test_anothers_page_that_expired_ends_no_page_that_can_be_paid(play: Play, rail_hub: Hub) -> None:
    till = await a_stripe_till(play, rail_hub)
    payment = await left_open(till)
    assert await told(till, "checkout.session.expired", await expired(till, payment)) == 200
    await as_it_was(till, payment, "requires_action", "pending")
    await play.other.pay((await till.attempt(payment)).reference)
    await till.until("succeeded", lambda: till.payment(payment.id))


@plays(alone=True, when=is_stripe)
async def test_a_page_of_ours_that_expired_ends_its_payment_at_once(play: Play, rail_hub: Hub) -> None:
    till = await a_stripe_till(play, rail_hub)
    payment = await left_open(till)
    attempt = await till.attempt(payment)
    order = till.hub.payments._orders.order(payment, attempt)
    await play.client.close(order)
    about = stripe_rail.session("expired", id=attempt.channel_ref, metadata={"reference": attempt.reference})
    assert await told(till, "checkout.session.expired", about) == 200
    await as_it_was(till, payment, "canceled", "closed")


@plays(alone=True, when=is_stripe, change=lambda rail: ["payment_failed", "canceled", "processing", "succeeded"])
async def test_anothers_intent_decides_nothing_about_a_page_that_can_be_paid(
    play: Play, rail_hub: Hub, change: str
) -> None:
    till = await a_stripe_till(play, rail_hub)
    payment = await left_open(till)
    status = {"payment_failed": "requires_payment_method"}.get(change, change)
    about = await theirs(till, payment, status, last_payment_error=DECLINED)
    assert await told(till, f"payment_intent.{change}", about) == 200
    await as_it_was(till, payment, "requires_action", "pending")
    await play.other.pay((await till.attempt(payment)).reference)
    await till.until("succeeded", lambda: till.payment(payment.id))


@plays(alone=True, when=is_stripe, change=lambda rail: ["succeeded", "amount_capturable_updated", "canceled"])
async def test_anothers_intent_decides_nothing_about_a_card(play: Play, rail_hub: Hub, change: str) -> None:
    """The payer of ours is still proving who they are."""
    till = await a_stripe_till(play, rail_hub)
    payment = await till.pay(Method.CARD, payer=Payer.ASKS)
    status = {"amount_capturable_updated": "requires_capture"}.get(change, change)
    assert await told(till, f"payment_intent.{change}", await theirs(till, payment, status)) == 200
    await as_it_was(till, payment, "requires_action", "pending")


@plays(alone=True, when=is_stripe)
async def test_money_reserved_for_a_payment_that_is_captured_at_once_is_a_contradiction(
    play: Play, rail_hub: Hub
) -> None:
    till = await a_stripe_till(play, rail_hub)
    payment = await till.pay(Method.CARD, payer=Payer.ASKS)
    ours = (await till.attempt(payment)).channel_ref
    about = await theirs(till, payment, "requires_capture", id=ours)
    assert await told(till, "payment_intent.amount_capturable_updated", about) == 400
    await as_it_was(till, payment, "requires_action", "pending")
    assert [case.kind for case in await waiting(till)] == ["channel_contradicts_itself"]


@plays(alone=True, when=is_stripe)
async def test_a_notice_that_cannot_be_held_against_the_rail_is_to_come_again(play: Play, rail_hub: Hub) -> None:
    till = await a_stripe_till(play, rail_hub)
    payment = await left_open(till)
    await play.other.fault("system_error", "query", (await till.attempt(payment)).reference)
    assert await told(till, "payment_intent.succeeded", await theirs(till, payment, "succeeded")) == 503
    await as_it_was(till, payment, "requires_action", "pending")
