"""Runs in the environment of PayPal's own server library: does what it is told, and prints what the library made of it.

Sees nothing of the hub. `told` (JSON on standard input) names what to do and the address to do it at.
"""

import json
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.api_exception import ApiException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

WHOLE = {"prefer": "return=representation"}


def client(told: dict[str, Any]) -> PaypalServersdkClient:
    """Return the library's client; it knows two addresses and takes no third, so one of them is written over."""
    Configuration.environments[Environment.SANDBOX][Server.DEFAULT] = told["base_url"]
    credentials = ClientCredentialsAuthCredentials(told["client_id"], told["client_secret"])
    return PaypalServersdkClient(
        environment=Environment.SANDBOX, client_credentials_auth_credentials=credentials, timeout=200
    )


def control(told: dict[str, Any], call: str, **body: Any) -> Any:
    """Be the payer, or the end of the day."""
    raw = json.dumps({"merchant": told["merchant"], **body}).encode()
    request = urllib.request.Request(f"{told['base_url']}/control/paypal/{call}", raw, method="POST")
    with urllib.request.urlopen(request, timeout=200) as answer:
        return json.load(answer)


def order(reference: str, value: str = "12.34", intent: str = "CAPTURE") -> dict[str, Any]:
    return {
        "intent": intent,
        "purchase_units": [
            {
                "custom_id": reference,
                "invoice_id": reference,
                "description": "Tea",
                "amount": {"currency_code": "USD", "value": value},
            }
        ],
        "payment_source": {
            "paypal": {"experience_context": {"return_url": "https://shop.example/x", "user_action": "PAY_NOW"}}
        },
    }


def refusal(call: Any) -> list[Any]:
    """Return status, name and issue of the error that a call ends in."""
    try:
        call()
    except ApiException as error:
        body = json.loads(error.response.text)
        return [error.response_code, body.get("name"), [each["issue"] for each in body.get("details", [])]]
    return []


def life(told: dict[str, Any]) -> dict[str, Any]:
    """Take a merchant through a day: pay, give back, reserve, capture a part, release, be refused, read the report."""
    paypal = client(told)
    orders, payments = paypal.orders, paypal.payments
    made = orders.create_order({"body": order("sdk-1"), "paypal_request_id": "sdk-1", **WHOLE})
    again = orders.create_order({"body": order("sdk-1"), "paypal_request_id": "sdk-1", **WHOLE})
    number = made.body.id
    early = refusal(lambda: orders.capture_order({"id": number}))
    control(told, "pay", order="sdk-1")
    approved = orders.get_order({"id": number}).body
    captured = orders.capture_order({"id": number, "paypal_request_id": "sdk-1-capture", **WHOLE})
    repeated = orders.capture_order({"id": number, "paypal_request_id": "sdk-1-capture", **WHOLE})
    twice = refusal(lambda: orders.capture_order({"id": number}))
    capture = captured.body.purchase_units[0].payments.captures[0]
    shown = payments.get_captured_payment({"capture_id": capture.id}).body
    wish = {"amount": {"currency_code": "USD", "value": "2.34"}, "custom_id": "sdk-1", "invoice_id": "sdk-r1"}
    asked = {"capture_id": capture.id, "paypal_request_id": "sdk-r1", "body": wish, **WHOLE}
    refund = payments.refund_captured_payment(asked)
    refund_again = payments.refund_captured_payment(asked)
    refund_shown = payments.get_refund({"refund_id": refund.body.id}).body
    too_much = refusal(
        lambda: payments.refund_captured_payment(
            {"capture_id": capture.id, "body": {"amount": {"currency_code": "USD", "value": "10.01"}}}
        )
    )
    left = payments.get_captured_payment({"capture_id": capture.id}).body
    return {
        "made": [made.status_code, made.body.status, again.status_code, again.body.id == number],
        "links": [link.rel for link in made.body.links],
        "early": early,
        "approved": [approved.status, approved.purchase_units[0].custom_id],
        "captured": [captured.status_code, captured.body.status, capture.status, capture.amount.value],
        "fee": [
            capture.seller_receivable_breakdown.paypal_fee.value,
            capture.seller_receivable_breakdown.net_amount.value,
        ],
        "repeated": [repeated.status_code, repeated.body.purchase_units[0].payments.captures[0].id == capture.id],
        "twice": twice,
        "shown": [shown.id == capture.id, shown.custom_id, shown.final_capture],
        "refund": [refund.status_code, refund.body.status, refund_again.status_code, refund.body.id],
        "refund_shown": [refund_shown.id == refund.body.id, refund_shown.amount.value, refund_shown.invoice_id],
        "refund_again": refund_again.body.id,
        "too_much": too_much,
        "left": left.status,
        "capture": capture.id,
        "holds": holds(told, orders, payments),
        "errors": errors(told, orders, payments),
    }


def holds(told: dict[str, Any], orders: Any, payments: Any) -> dict[str, Any]:
    """Reserve money twice: capture a part of the one, release the other."""
    numbers = []
    for reference in ("sdk-h1", "sdk-h2"):
        made = orders.create_order({"body": order(reference, "10.00", "AUTHORIZE"), "paypal_request_id": reference})
        control(told, "pay", order=reference)
        done = orders.authorize_order({"id": made.body.id, "paypal_request_id": f"{reference}-a", **WHOLE}).body
        numbers.append(done.purchase_units[0].payments.authorizations[0].id)
    held = payments.get_authorized_payment({"authorization_id": numbers[0]}).body
    part = {"amount": {"currency_code": "USD", "value": "4.00"}, "final_capture": True}
    asked = {"authorization_id": numbers[0], "paypal_request_id": "sdk-h1-c", "body": part, **WHOLE}
    captured = payments.capture_authorized_payment(asked).body
    again = payments.capture_authorized_payment(asked).body
    after = payments.get_authorized_payment({"authorization_id": numbers[0]}).body
    voided = payments.void_payment({"authorization_id": numbers[1]})
    gone = payments.get_authorized_payment({"authorization_id": numbers[1]}).body
    late = refusal(lambda: payments.capture_authorized_payment({"authorization_id": numbers[1]}))
    return {
        "held": [held.status, held.amount.value, held.custom_id],
        "captured": [captured.status, captured.amount.value, captured.id == again.id],
        "after": after.status,
        "voided": [voided.status_code, gone.status],
        "late": late,
    }


def errors(told: dict[str, Any], orders: Any, payments: Any) -> dict[str, Any]:
    """Ask for what cannot be."""
    wrong_units = [{"amount": {"currency_code": "JPY", "value": "1.50"}}]
    stranger = client({**told, "client_secret": "wrong"}).orders
    try:
        stranger.get_order({"id": "X"})
        login = ""
    except Exception as error:  # the library has no one kind of error for it
        login = f"{type(error).__name__}"
    return {
        "no order": refusal(lambda: orders.get_order({"id": "5O190127TN364715T"})),
        "no capture": refusal(lambda: payments.get_captured_payment({"capture_id": "X"})),
        "decimals": refusal(
            lambda: orders.create_order({"body": {"intent": "CAPTURE", "purchase_units": wrong_units}})
        ),
        "login": login,
    }


def report(told: dict[str, Any]) -> dict[str, Any]:
    """Read the report of a Beijing day, two rows a page, with the library."""
    day = datetime.fromisoformat(told["day"]).replace(tzinfo=UTC) - timedelta(hours=8)
    ends = day + timedelta(days=1, seconds=-1)
    asked = {"start_date": f"{day:%Y-%m-%dT%H:%M:%SZ}", "end_date": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "page_size": 2}
    rows, number = [], 1
    while True:
        page = client(told).transaction_search.search_transactions({**asked, "page": number}).body
        rows += [
            [
                info.transaction_event_code,
                info.transaction_amount.value,
                info.fee_amount.value,
                info.transaction_status,
                info.custom_field,
                info.invoice_id,
            ]
            for info in (one.transaction_info for one in page.transaction_details)
        ]
        if number >= page.total_pages:
            return {"rows": rows, "pages": page.total_pages, "account": page.account_number}
        number += 1


def requests(told: dict[str, Any]) -> dict[str, Any]:
    """Send what the hub sends, as the library sends it; whoever listens at the address keeps it."""
    paypal, of = client(told), told["order"]
    body = {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "custom_id": of["reference"],
                "invoice_id": of["reference"],
                "description": of["description"],
                "amount": of["amount"],
            }
        ],
        "payment_source": {
            "paypal": {
                "experience_context": {
                    "shipping_preference": "NO_SHIPPING",
                    "user_action": "PAY_NOW",
                    "return_url": of["return_url"],
                    "cancel_url": of["return_url"],
                }
            }
        },
    }
    part = {"amount": of["part"], "invoice_id": of["reference"], "final_capture": True}
    back = {
        "amount": told["refund"]["amount"],
        "custom_id": of["reference"],
        "invoice_id": told["refund"]["reference"],
        "note_to_payer": told["refund"]["reason"],
    }
    calls = [
        lambda: paypal.orders.create_order({"body": body, "paypal_request_id": of["reference"], **WHOLE}),
        lambda: paypal.orders.get_order({"id": of["order"]}),
        lambda: paypal.orders.capture_order(
            {"id": of["order"], "paypal_request_id": f"{of['reference']}-capture", "body": {}, **WHOLE}
        ),
        lambda: paypal.orders.authorize_order(
            {"id": of["order"], "paypal_request_id": f"{of['reference']}-authorize", "body": {}, **WHOLE}
        ),
        lambda: paypal.payments.capture_authorized_payment(
            {"authorization_id": of["hold"], "paypal_request_id": f"{of['reference']}-settle", "body": part, **WHOLE}
        ),
        lambda: paypal.payments.void_payment({"authorization_id": of["hold"], **WHOLE}),
        lambda: paypal.payments.get_captured_payment({"capture_id": of["capture"]}),
        lambda: paypal.payments.refund_captured_payment(
            {
                "capture_id": of["capture"],
                "paypal_request_id": told["refund"]["reference"],
                "body": back,
                **WHOLE,
            }
        ),
        lambda: paypal.payments.get_refund({"refund_id": told["refund"]["refund"]}),
    ]
    for call in calls:
        call()
    return {"calls": len(calls)}


if __name__ == "__main__":
    do = {"life": life, "report": report, "requests": requests}[sys.argv[1]]
    print(json.dumps(do(json.load(sys.stdin))))
