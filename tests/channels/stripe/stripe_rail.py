"""Stripe's side of the wire for tests, written from the public documents and not from our adapter."""

import hmac
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from channels import Method, Order, RefundOrder, stripe
from channels.stripe import Stripe
from kernel.env import Response
from kernel.money import Money

GOLDEN = Path(__file__).parents[2] / "golden" / "stripe"
SECRET_KEY, WEBHOOK_SECRET, OLD_SECRET = "sk_test_golden", "whsec_golden", "whsec_rolled"
ACCOUNT = "acct_1Golden"
NOW = datetime(2026, 11, 24, 8, 30, 0, tzinfo=UTC)
PAID_AT = datetime(2026, 11, 24, 8, 29, 58, tzinfo=UTC)
BASE_URL = "https://api.stripe.com"
INTENT, CHARGE, REFUND = "pi_3QGolden0000000001", "ch_3QGolden0000000001", "re_3QGolden0000000001"
TRANSACTION = "txn_3QGolden0000000001"


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "secret_key": SECRET_KEY,
        "webhook_secrets": [WEBHOOK_SECRET],
        "base_url": BASE_URL,
        "account": ACCOUNT,
    } | changes


def channel(**changes: Any) -> Stripe:
    return stripe.build(settings(**changes))


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff00112",
        "amount": Money(1234, "USD"),
        "method": Method.CARD,
        "description": "茶叶 Tea & more",
        "notify_url": "https://hub.example/notices/stripe/acc",
        "expires_at": datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC),
        "created_at": datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC),
        "token": "pm_card_visa",
        "return_url": "https://shop.example/back?order=7",
        "channel_ref": INTENT,
    }
    return Order(**(fields | changes))


SESSION = "cs_test_a1Golden0000000001"
PAGE_URL = "https://checkout.stripe.com/c/pay/cs_test_a1Golden0000000001#fidGolden%2F"


def page_order(**changes: Any) -> Order:
    """An order paid on a page of Stripe's, whose session is known."""
    return order(**({"method": Method.PAGE, "token": None, "channel_ref": SESSION} | changes))


def page_intent(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    """An intent that a session made."""
    return intent(status, **({"metadata": {"reference": order().reference, "paid_by": "page"}} | changes))


def session(status: str = "open", paid_by: dict[str, Any] | str | None = None, **changes: Any) -> dict[str, Any]:
    """A Checkout Session as an answer shows it. paid_by: its intent, shown whole or by its id."""
    made = int(PAID_AT.timestamp()) - 60
    paid = isinstance(paid_by, dict) and paid_by["status"] == "succeeded"
    return {
        "id": SESSION,
        "object": "checkout.session",
        "after_expiration": None,
        "allow_promotion_codes": False,
        "amount_subtotal": 1234,
        "amount_total": 1234,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "cancel_url": "https://shop.example/back?order=7",
        "client_reference_id": order().reference,
        "created": made,
        "currency": "usd",
        "customer": None,
        "customer_creation": "if_required",
        "expires_at": made + 86_400,
        "livemode": False,
        "metadata": {"reference": order().reference},
        "mode": "payment",
        "payment_intent": paid_by,
        "payment_method_types": ["card"],
        "payment_status": "paid" if paid else "unpaid",
        "status": status,
        "success_url": "https://shop.example/back?order=7",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": PAGE_URL if status == "open" else None,
    } | changes


def refund_order(**changes: Any) -> RefundOrder:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff00999",
        "payment_reference": order().reference,
        "payment_amount": Money(1234, "USD"),
        "amount": Money(234, "USD"),
        "reason": "不合适",
        "notify_url": "https://hub.example/notices/stripe/acc",
        "created_at": datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
        "payment_created_at": order().created_at,
        "payment_channel_ref": INTENT,
    }
    return RefundOrder(**(fields | changes))


def intent(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    """An intent as an answer shows it, its charge and balance transaction expanded."""
    held, paid = status == "requires_capture", status == "succeeded"
    at = int(PAID_AT.timestamp())
    charge = {
        "id": CHARGE,
        "object": "charge",
        "amount": 1234,
        "amount_captured": 1234 if paid else 0,
        "amount_refunded": 0,
        "balance_transaction": transaction() if paid else None,
        "created": at,
        "currency": "usd",
        "metadata": {"reference": order().reference},
        "payment_intent": INTENT,
        "status": "succeeded",
    }
    return {
        "id": INTENT,
        "object": "payment_intent",
        "amount": 1234,
        "amount_capturable": 1234 if held else 0,
        "amount_received": 1234 if paid else 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "manual" if held else "automatic",
        "client_secret": f"{INTENT}_secret_golden",
        "created": at - 10,
        "currency": "usd",
        "description": "茶叶 Tea & more",
        "last_payment_error": None,
        "latest_charge": charge if held or paid else None,
        "livemode": False,
        "metadata": {"reference": order().reference},
        "next_action": None,
        "payment_method": "pm_1QGolden",
        "payment_method_types": ["card"],
        "status": status,
    } | changes


def transaction(**changes: Any) -> dict[str, Any]:
    return {
        "id": TRANSACTION,
        "object": "balance_transaction",
        "amount": 1234,
        "available_on": int(PAID_AT.timestamp()) + 172_800,
        "created": int(PAID_AT.timestamp()),
        "currency": "usd",
        "description": "茶叶 Tea & more",
        "exchange_rate": None,
        "fee": 66,
        "fee_details": [
            {"amount": 66, "currency": "usd", "description": "Stripe processing fees", "type": "stripe_fee"}
        ],
        "net": 1168,
        "reporting_category": "charge",
        "source": CHARGE,
        "status": "pending",
        "type": "charge",
    } | changes


def refund(status: str | None = "succeeded", **changes: Any) -> dict[str, Any]:
    return {
        "id": REFUND,
        "object": "refund",
        "amount": 234,
        "balance_transaction": "txn_3QGolden0000000002",
        "charge": CHARGE,
        "created": int(PAID_AT.timestamp()) + 1,
        "currency": "usd",
        "metadata": {
            "reference": refund_order().reference,
            "payment_reference": order().reference,
            "reason": "不合适",
        },
        "payment_intent": INTENT,
        "reason": None,
        "status": status,
    } | changes


def declined(
    code: str = "card_declined", decline_code: str | None = "generic_decline", **changes: Any
) -> dict[str, Any]:
    """A card error; it shows the intent, which has let go of the card."""
    said: dict[str, Any] = {"code": code, "message": "Your card was declined.", "type": "card_error"}
    if decline_code is not None:
        said["decline_code"] = decline_code
    left = intent("requires_payment_method", last_payment_error=said, payment_method=None)
    return {"error": said | {"charge": CHARGE, "payment_intent": left} | changes}


def error(status: int, code: str | None = None, **changes: Any) -> Response:
    said = {"type": "invalid_request_error", "message": "words"} | ({"code": code} if code else {}) | changes
    return answer({"error": said}, status)


def answer(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> Response:
    """An answer. It is unsigned: there is nothing else to it."""
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"content-type": "application/json", "request-id": "req_golden"} | named, raw)


def event(kind: str, about: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_3QGolden0000000001",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(PAID_AT.timestamp()),
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    } | changes


def signature(body: bytes, secret: str = WEBHOOK_SECRET, *, at: int = int(NOW.timestamp())) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


def notice(kind: str, about: dict[str, Any], *, secret: str = WEBHOOK_SECRET, **changes: Any) -> Response:
    """A notice, signed as Stripe does. Its intent is not expanded: it names its charge by id."""
    if isinstance(about.get("latest_charge"), dict):
        about = about | {"latest_charge": CHARGE}
    return signed(json.dumps(event(kind, about, **changes), ensure_ascii=False).encode(), secret)


def signed(body: bytes, secret: str = WEBHOOK_SECRET, *, at: datetime = NOW) -> Response:
    seconds = int(at.timestamp())
    header = f"t={seconds},v1={signature(body, secret, at=seconds)},v0={'0' * 64}"
    return Response(200, {"stripe-signature": header, "content-type": "application/json"}, body)
