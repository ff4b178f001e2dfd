"""Runs in the environment of Stripe's own library: does what it is told, and prints what the library made of it.

Sees nothing of the hub. `told` (JSON on standard input) names what to do and the address to do it at.
"""

import json
import sys
from typing import Any

import stripe


def client(told: dict[str, Any]) -> Any:
    return stripe.StripeClient(
        told["secret_key"], base_addresses={"api": told["base_url"]}, max_network_retries=told.get("retries", 0)
    )


def life(told: dict[str, Any]) -> dict[str, Any]:
    """Take a merchant through a day: charge, hold and capture, give back, be declined, read lists."""
    v1 = client(told).v1
    card = {"amount": 1234, "currency": "usd", "payment_method": "pm_card_visa", "payment_method_types": ["card"]}
    key = {"idempotency_key": "sdk-1"}
    made = v1.payment_intents.create({**card, "metadata": {"reference": "sdk-1"}}, key)
    again = v1.payment_intents.create({**card, "metadata": {"reference": "sdk-1"}}, key)
    paid = v1.payment_intents.confirm(made.id, {"expand": ["latest_charge.balance_transaction"]})
    asked = v1.payment_intents.retrieve(made.id, {"expand": ["latest_charge"]})
    held = v1.payment_intents.create({**card, "capture_method": "manual", "confirm": True})
    captured = v1.payment_intents.capture(held.id, {"amount_to_capture": 1000})
    dropped = v1.payment_intents.cancel(v1.payment_intents.create(card).id, {"cancellation_reason": "abandoned"})
    refund = v1.refunds.create({"payment_intent": made.id, "amount": 234, "metadata": {"reference": "sdk-r1"}})
    proof = v1.payment_intents.create(
        {**card, "payment_method": "pm_card_authenticationRequired", "confirm": True, "return_url": "https://shop/x"}
    )
    for number in range(12):
        v1.payment_intents.create({**card, "confirm": True, "metadata": {"reference": f"many-{number}"}})
    transactions = v1.balance_transactions.list({"limit": 5, "expand": ["data.source"]}).auto_paging_iter()
    return {
        "made": [made.status, made.id == again.id, made.metadata["reference"]],
        "paid": [paid.status, paid.amount_received, paid.latest_charge.balance_transaction.fee],
        "asked": [asked.status, asked.latest_charge.payment_intent == made.id],
        "held": [held.status, held.amount_capturable],
        "captured": [captured.status, captured.amount_received],
        "dropped": [dropped.status, dropped.cancellation_reason],
        "refund": [refund.status, refund.amount, v1.refunds.retrieve(refund.id).metadata["reference"]],
        "refunds": [one.id == refund.id for one in v1.refunds.list({"payment_intent": made.id}).data],
        "proof": [proof.status, proof.next_action.type, proof.next_action.redirect_to_url.return_url],
        "transactions": [[one.type, one.amount, one.net + one.fee, one.source.object] for one in transactions],
        "errors": [refused(v1, card), other_fields(v1, card), nobody(told), past_it(v1, made.id)],
    }


def pages(told: dict[str, Any]) -> dict[str, Any]:
    """Make pages, have one expired, and expire it again."""
    sessions = client(told).v1.checkout.sessions
    made = sessions.create(page(1234, "usd", "tea", "sdk-page", "https://shop/x", "automatic"))
    asked = sessions.retrieve(made.id, {"expand": ["payment_intent.latest_charge.balance_transaction"]})
    gone = sessions.expire(made.id)
    try:
        sessions.expire(made.id)
    except stripe.InvalidRequestError as error:
        again = error.http_status
    return {
        "made": [
            made.object,
            made.status,
            made.payment_status,
            made.mode,
            made.amount_total,
            made.metadata["reference"],
        ],
        "url": made.url,
        "asked": [asked.id == made.id, asked.payment_intent, asked.client_reference_id],
        "gone": [gone.status, gone.url],
        "again": again,
    }


def page(amount: int, currency: str, name: str, reference: str, back: str, capture: str) -> dict[str, Any]:
    return {
        "mode": "payment",
        "payment_method_types": ["card"],
        "line_items": [
            {
                "price_data": {"currency": currency, "unit_amount": amount, "product_data": {"name": name}},
                "quantity": 1,
            }
        ],
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False},
        "allow_promotion_codes": False,
        "success_url": back,
        "cancel_url": back,
        "client_reference_id": reference,
        "metadata": {"reference": reference},
        "payment_intent_data": {
            "capture_method": capture,
            "description": name,
            "metadata": {"reference": reference, "paid_by": "page"},
        },
    }


def refused(v1: Any, card: dict[str, Any]) -> list[Any]:
    try:
        v1.payment_intents.create(
            {**card, "payment_method": "pm_card_chargeDeclinedInsufficientFunds", "confirm": True}
        )
    except stripe.CardError as error:
        left = error.json_body["error"]["payment_intent"]
        return [error.http_status, error.code, error.error.decline_code, left["status"]]
    return []


def other_fields(v1: Any, card: dict[str, Any]) -> list[Any]:
    try:
        v1.payment_intents.create({**card, "amount": 1}, {"idempotency_key": "sdk-1"})
    except stripe.IdempotencyError as error:
        return [error.http_status]
    return []


def nobody(told: dict[str, Any]) -> list[Any]:
    try:
        client({**told, "secret_key": "sk_test_nobody"}).v1.payment_intents.list()
    except stripe.AuthenticationError as error:
        return [error.http_status]
    return []


def past_it(v1: Any, paid: str) -> list[Any]:
    try:
        v1.payment_intents.cancel(paid)
    except stripe.InvalidRequestError as error:
        return [error.http_status, error.code, error.json_body["error"]["payment_intent"]["id"] == paid]
    return []


def hook(told: dict[str, Any]) -> dict[str, Any]:
    """Register an endpoint, and pay something it is to hear of."""
    v1 = client(told).v1
    made = v1.webhook_endpoints.create({"url": told["url"], "enabled_events": told["events"]})
    paid = v1.payment_intents.create(
        {
            "amount": 1234,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "payment_method_types": ["card"],
            "confirm": True,
            "metadata": {"reference": "sdk-hook"},
        }
    )
    return {"secret": made.secret, "endpoint": made.id, "intent": paid.id}


def verify(told: dict[str, Any]) -> list[Any]:
    """Say of each message whether the library believes it, and what event it is."""
    found: list[Any] = []
    for message in told["messages"]:
        body = bytes.fromhex(message["body"])
        try:
            event = stripe.Webhook.construct_event(body, message["header"], message["secret"])
        except (stripe.SignatureVerificationError, ValueError) as doubt:
            found.append([False, type(doubt).__name__])
        else:
            found.append([True, event.type])
    return found


def requests(told: dict[str, Any]) -> dict[str, Any]:
    """Send what the hub sends, as the library sends it; whoever listens at the address keeps it."""
    v1 = client(told).v1
    expand = {"expand": ["latest_charge.balance_transaction"]}
    order, refund = told["order"], told["refund"]
    fields = {
        "amount": order["amount"],
        "currency": order["currency"],
        "payment_method_types": ["card"],
        "payment_method": order["token"],
        "capture_method": "automatic",
        "description": order["description"],
        "metadata": {"reference": order["reference"]},
    }
    back = {
        "payment_intent": order["intent"],
        "amount": refund["amount"],
        "metadata": {
            "reference": refund["reference"],
            "payment_reference": order["reference"],
            "reason": refund["reason"],
        },
    }
    day = {"created": {"gte": told["day"], "lt": told["day"] + 86_400}, "limit": 100, "expand": ["data.source"]}
    v1.payment_intents.create(fields, {"idempotency_key": order["reference"]})
    key = {"idempotency_key": f"{order['reference']}:confirm"}
    v1.payment_intents.confirm(order["intent"], {**expand, "return_url": order["return_url"]}, key)
    v1.payment_intents.retrieve(order["intent"], expand)
    v1.payment_intents.capture(order["intent"], {**expand, "amount_to_capture": 1000})
    v1.payment_intents.cancel(order["intent"])
    v1.refunds.create(back, {"idempotency_key": refund["reference"]})
    v1.refunds.retrieve(refund["id"])
    v1.refunds.list({"payment_intent": order["intent"], "limit": 100})
    v1.balance_transactions.list(day)
    wanted = page(
        order["amount"], order["currency"], order["description"], order["reference"], order["return_url"], "automatic"
    )
    v1.checkout.sessions.create(wanted, {"idempotency_key": order["reference"]})
    v1.checkout.sessions.retrieve("cs_1", {"expand": ["payment_intent.latest_charge.balance_transaction"]})
    v1.checkout.sessions.expire("cs_1")
    return {"version": stripe.api_version}


if __name__ == "__main__":
    do = {"life": life, "pages": pages, "hook": hook, "verify": verify, "requests": requests}[sys.argv[1]]
    print(json.dumps(do(json.load(sys.stdin))))
