"""PayPal's side of the wire for tests, written from the public documents and not from our adapter."""

import json
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from channels import Method, Order, RefundOrder, paypal
from channels.paypal import PayPal
from kernel.env import Request, Response
from kernel.money import Money

GOLDEN = Path(__file__).parents[2] / "golden" / "paypal"
KEYS = GOLDEN / "keys"
BASE_URL = "https://api-m.paypal.com"
MERCHANT_ID, WEBHOOK_ID = "7SXQWERTY2345", "1JE4291016473214C"
ORDER_ID, AUTH_ID, CAPTURE_ID, REFUND_ID = (
    "5O190127TN364715T",
    "0VF52814937998046",
    "3C679366HH908993F",
    "1JU08902781691411",
)
CERT_URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-aecacc47"
NEW_CERT_URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-new"
NOW = datetime(2026, 11, 24, 8, 30, 0, tzinfo=UTC)
PAID_AT = datetime(2026, 11, 24, 8, 29, 58, tzinfo=UTC)
TOKEN = "A21AAFEpH4PsADK7qSS7pSRsgzfENtu-Q1ysgEDVDESseMHBYXVJYE8ovjj68elIDy8nF26AwPhfXTIeWAZHSLIsQkSYz9ifg"


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "client_id": "AZDxjDScFpQtjWTOUtWKbyN_bDt4OgqaF4eYXlewfBP4-8aqX3PiV8e1GWU6",
        "client_secret": "EOs-2sdUEvUnzUwIBNBzGNTTsyVo3dVsjfs7fzJ",
        "merchant_id": MERCHANT_ID,
        "base_url": BASE_URL,
        "webhook_id": WEBHOOK_ID,
        "webhook_root_cert_file": str(KEYS / "root_certificate.pem"),
    } | changes


def channel(**changes: Any) -> PayPal:
    """An account whose adapter has a session and knows the certificate that signs notices."""
    made = paypal.build(settings(**changes))
    made.login(session(), now=NOW)
    request = Request("GET", CERT_URL)
    made.trust(request, Response(200, {}, (KEYS / "notices_old_chain.pem").read_bytes()), now=NOW)
    return made


def session(**changes: Any) -> Response:
    """What /v1/oauth2/token answers."""
    body = {
        "scope": "https://uri.paypal.com/services/payments/payment https://uri.paypal.com/services/reporting/search/read",
        "access_token": TOKEN,
        "token_type": "Bearer",
        "app_id": "APP-80W284485P519543T",
        "expires_in": 32400,
        "nonce": "2026-11-24T08:00:00Z5mpYQp2TL9d",
    }
    return answer(200, body | changes)


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff00112",
        "amount": Money(1234, "USD"),
        "method": Method.PAGE,
        "description": "茶叶 Tea",
        "notify_url": "https://hub.example/notify/paypal/1/acc",
        "expires_at": datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC),
        "created_at": datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC),
        "return_url": "https://shop.example/thanks?order=7",
    }
    return Order(**(fields | changes))


def refund_order(**changes: Any) -> RefundOrder:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff0099",
        "payment_reference": order().reference,
        "payment_amount": Money(1234, "USD"),
        "amount": Money(234, "USD"),
        "reason": "不合适",
        "notify_url": "https://hub.example/notify/paypal/1/acc",
        "created_at": datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
        "payment_created_at": order().created_at,
        "payment_channel_ref": CAPTURE_ID,
    }
    return RefundOrder(**(fields | changes))


# ---- what PayPal answers ---------------------------------------------------------------------------------------------


def answer(status: int, body: Any) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return Response(status, {"content-type": "application/json", "paypal-debug-id": "f12a4b"}, raw)


def error(status: int, name: str, *issues: str) -> Response:
    details = [{"issue": issue, "description": "said"} for issue in issues]
    body = {"name": name, "message": "said", "debug_id": "90957fca61718", "details": details}
    return answer(status, body)


def usd(value: str) -> dict[str, str]:
    return {"currency_code": "USD", "value": value}


def capture(status: str = "COMPLETED", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": CAPTURE_ID,
        "status": status,
        "amount": usd("12.34"),
        "final_capture": True,
        "custom_id": order().reference,
        "invoice_id": order().reference,
        "seller_protection": {"status": "NOT_ELIGIBLE"},
        "create_time": "2026-11-24T08:29:58Z",
        "update_time": "2026-11-24T08:29:58Z",
        "links": [],
    }
    if status == "PENDING":
        body["status_details"] = {"reason": "ECHECK"}
    else:
        fee = {"gross_amount": usd("12.34"), "paypal_fee": usd("0.07"), "net_amount": usd("12.27")}
        body["seller_receivable_breakdown"] = fee
    return body | changes


def authorization(status: str = "CREATED", **changes: Any) -> dict[str, Any]:
    return {
        "id": AUTH_ID,
        "status": status,
        "amount": usd("12.34"),
        "custom_id": order().reference,
        "invoice_id": order().reference,
        "expiration_time": "2026-12-23T08:29:58Z",
        "create_time": "2026-11-24T08:29:58Z",
        "update_time": "2026-11-24T08:29:58Z",
        "links": [],
    } | changes


def shown(status: str = "PAYER_ACTION_REQUIRED", *, unit: dict[str, Any] | None = None, **changes: Any) -> Any:
    """An order as creation, query, capture and authorization show it."""
    links = [{"href": f"{BASE_URL}/v2/checkout/orders/{ORDER_ID}", "rel": "self", "method": "GET"}]
    if status in ("PAYER_ACTION_REQUIRED", "CREATED"):
        rel = "approve" if status == "CREATED" else "payer-action"
        links.append({"href": f"https://www.paypal.com/checkoutnow?token={ORDER_ID}", "rel": rel, "method": "GET"})
    purchase_unit = {
        "reference_id": "default",
        "amount": usd("12.34"),
        "payee": {"email_address": "tea@shop.example", "merchant_id": MERCHANT_ID},
        "description": "茶叶 Tea",
        "custom_id": order().reference,
        "invoice_id": order().reference,
    } | (unit or {})
    return {
        "id": ORDER_ID,
        "intent": "CAPTURE",
        "status": status,
        "purchase_units": [purchase_unit],
        "create_time": "2026-11-24T08:00:01Z",
        "links": links,
    } | changes


def completed(*captures: dict[str, Any], **changes: Any) -> Any:
    """An order that was captured."""
    return shown("COMPLETED", unit={"payments": {"captures": list(captures or (capture(),))}}, **changes)


def held(*authorizations: dict[str, Any], captures: tuple[dict[str, Any], ...] = ()) -> Any:
    """An order whose money was reserved."""
    payments = {"authorizations": list(authorizations or (authorization(),)), "captures": list(captures)}
    return shown("COMPLETED", unit={"payments": payments}, intent="AUTHORIZE")


def refund(status: str = "COMPLETED", **changes: Any) -> dict[str, Any]:
    return {
        "id": REFUND_ID,
        "status": status,
        "amount": usd("2.34"),
        "custom_id": order().reference,
        "invoice_id": refund_order().reference,
        "note_to_payer": "不合适",
        "create_time": "2026-11-24T08:29:58Z",
        "update_time": "2026-11-24T08:29:58Z",
        "links": [{"href": f"{BASE_URL}/v2/payments/captures/{CAPTURE_ID}", "rel": "up", "method": "GET"}],
    } | changes


@dataclass
class Sender:
    """One of PayPal's certificates for notices, and what it would send."""

    key_name: str = "notices_old"
    cert_url: str = CERT_URL
    key: Any = field(init=False)

    def __post_init__(self) -> None:
        self.key = serialization.load_pem_private_key((KEYS / f"{self.key_name}.pem").read_bytes(), None)

    def notice(
        self,
        event: str,
        resource: Any,
        *,
        at: str = "2026-11-24T08:29:59Z",
        webhook_id: str = WEBHOOK_ID,
        swap: dict[str, str] | None = None,
        **changes: Any,
    ) -> Response:
        body = {
            "id": "WH-8TJ94466AK0404331-8VR08457L76408149",
            "event_version": "1.0",
            "create_time": "2026-11-24T08:29:58.123Z",
            "resource_type": "capture",
            "event_type": event,
            "summary": "said",
            "resource": resource,
        } | changes
        raw = json.dumps(body, ensure_ascii=False).encode()
        transmission_id = "69cd13f0-d67a-11e5-baa3-778b53f4ae55"
        text = f"{transmission_id}|{at}|{webhook_id}|{zlib.crc32(raw)}".encode()
        signature = b64encode(self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
        headers = {
            "paypal-transmission-id": transmission_id,
            "paypal-transmission-time": at,
            "paypal-transmission-sig": signature,
            "paypal-cert-url": self.cert_url,
            "paypal-auth-algo": "SHA256withRSA",
        }
        return Response(200, headers | (swap or {}), raw)
