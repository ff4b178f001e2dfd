"""Runs where the client is that a generator made of docs/openapi.json: does a day's business with nothing but it.

`told` (JSON on standard input): place, the folder that has the client, and what loadtests/prepare.py printed.
Prints what it saw.
"""

import json
import sys
import time
from typing import Any

import httpx

told: dict[str, Any] = json.load(sys.stdin)
sys.path.insert(0, told["place"])

from sluice_client import AuthenticatedClient  # noqa: E402  # it is made by the test
from sluice_client.api.events import list_events  # noqa: E402
from sluice_client.api.payments import create_payment, get_payment  # noqa: E402
from sluice_client.api.refunds import create_refund, get_refund  # noqa: E402
from sluice_client.models import PaymentIn, Problem, RefundIn  # noqa: E402

PATIENCE_S = 60.0


def becomes(status: str, look: Any) -> Any:
    """Ask until it has this status."""
    give_up_at = time.monotonic() + PATIENCE_S
    while (found := look()).status.value != status:
        if time.monotonic() > give_up_at:
            raise SystemExit(f"it never became {status}: {found}")
        time.sleep(0.1)
    return found


def main() -> None:
    client = AuthenticatedClient(told["hub_url"], told["api_key"], raise_on_unexpected_status=True)
    order = {
        "merchant_order_id": "generated-1",
        "amount": 1250,
        "currency": "CNY",
        "method": {"type": "qr"},
        "description": "tea",
    }
    made = create_payment.sync_detailed(client=client, body=PaymentIn.from_dict(order), idempotency_key="pay-1")
    payment = made.parsed
    scanned = {"merchant": told["mchid"], "code": payment.next_action.code}
    httpx.post(f"{told['sandbox_url']}/control/wechat/pay", json=scanned, timeout=60).raise_for_status()
    paid = becomes("succeeded", lambda: get_payment.sync(payment.id, client=client))
    refund = create_refund.sync(payment.id, client=client, body=RefundIn(amount=250), idempotency_key="refund-1")
    back = becomes("succeeded", lambda: get_refund.sync(refund.id, client=client))
    after = get_payment.sync(payment.id, client=client)
    events = list_events.sync(client=client, limit=100).data

    wrong = create_payment.sync_detailed(
        client=client, body=PaymentIn.from_dict({**order, "amount": -1}), idempotency_key="pay-2"
    )
    missing = get_payment.sync_detailed(f"pay_{'0' * 26}", client=client)
    stranger = get_payment.sync_detailed(payment.id, client=AuthenticatedClient(told["hub_url"], "sk_nobody"))
    problems = [wrong, missing, stranger]
    print(
        json.dumps(
            {
                "made": [made.status_code, payment.status.value, payment.amount, type(payment).__name__],
                "paid": [paid.status.value, paid.amount_captured, paid.succeeded_at.tzinfo is not None],
                "refunded": [back.status.value, back.amount, back.payment == payment.id, after.amount_refunded],
                "events": [[event.type_.value, type(event.data).__name__] for event in events],
                "problems": [
                    [said.status_code, said.parsed.code, isinstance(said.parsed, Problem)] for said in problems
                ],
                "param": wrong.parsed.param,
            }
        )
    )


main()
