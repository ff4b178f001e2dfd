"""PayPal's own Python libraries: one finds the sandbox to be PayPal and sends what we send, one believes what we do.

The second is the older one. It checks webhooks, which the newer cannot, with a function that pyOpenSSL dropped in 23.3;
so that is pinned beside it.
"""

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels import BadNotice, Confirmed, Method, Order, Pending, RefundOrder, paypal
from kernel.clock import BEIJING
from kernel.env import Request, Response
from kernel.money import Money
from tests.sdk.environments import run
from tests.sdk.test_stripe_sdk import Listener, listener

HERE = Path(__file__).parent
PATIENCE_S = 200


def library(what: str, **told: Any) -> Any:
    """Have the newer library do something; see paypal_sdk.py."""
    return run("paypal", HERE / "paypal_sdk.py", what, told=told)


def webhooks(what: str, **told: Any) -> Any:
    """Have the older library do something; see paypal_webhooks_sdk.py."""
    return run("paypal-webhooks", HERE / "paypal_webhooks_sdk.py", what, told=told)


def control(base_url: str, call: str, **body: Any) -> Any:
    request = urllib.request.Request(f"{base_url}/control/paypal/{call}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=100) as answer:
        return json.load(answer)


@pytest.fixture
def account(sandbox_url: str) -> dict[str, Any]:
    return dict(control(sandbox_url, "merchants", fee_bp=440, fixed_fee_minor=30))


# ---- the sandbox is PayPal to it -------------------------------------------------------------------------------------


def test_the_library_takes_a_merchant_through_a_day_in_the_sandbox(account: dict[str, Any]) -> None:
    done = library("life", **account)
    capture, refund = done.pop("capture"), done["refund"].pop()
    assert refund == done.pop("refund_again")
    assert len(capture) == len(refund) == 17
    assert done == {
        "made": [201, "PAYER_ACTION_REQUIRED", 200, True],
        "links": ["self", "payer-action"],
        "early": [422, "UNPROCESSABLE_ENTITY", ["ORDER_NOT_APPROVED"]],
        "approved": ["APPROVED", "sdk-1"],
        "captured": [201, "COMPLETED", "COMPLETED", "12.34"],
        "fee": ["0.84", "11.50"],
        "repeated": [200, True],
        "twice": [422, "UNPROCESSABLE_ENTITY", ["ORDER_ALREADY_CAPTURED"]],
        "shown": [True, "sdk-1", True],
        "refund": [201, "COMPLETED", 200],
        "refund_shown": [True, "2.34", "sdk-r1"],
        "too_much": [422, "UNPROCESSABLE_ENTITY", ["REFUND_AMOUNT_EXCEEDED"]],
        "left": "PARTIALLY_REFUNDED",
        "holds": {
            "held": ["CREATED", "10.00", "sdk-h1"],
            "captured": ["COMPLETED", "4.00", True],
            "after": "PARTIALLY_CAPTURED",
            "voided": [204, "VOIDED"],
            "late": [422, "UNPROCESSABLE_ENTITY", ["AUTHORIZATION_VOIDED"]],
        },
        "errors": {
            "no order": [404, "RESOURCE_NOT_FOUND", ["INVALID_RESOURCE_ID"]],
            "no capture": [404, "RESOURCE_NOT_FOUND", ["INVALID_RESOURCE_ID"]],
            "decimals": [422, "UNPROCESSABLE_ENTITY", ["DECIMALS_NOT_SUPPORTED"]],
            "login": "AuthValidationException",
        },
    }
    today = datetime.now(UTC).astimezone(BEIJING).date()
    control(account["base_url"], "close-day", merchant=account["merchant"], date=today.isoformat())
    assert library("report", **account, day=today.isoformat()) == {
        "rows": [
            ["T0006", "12.34", "-0.84", "S", "sdk-1", "sdk-1"],
            ["T1107", "-2.34", "0.00", "S", "sdk-1", "sdk-r1"],
            ["T0006", "4.00", "-0.48", "S", "sdk-h1", "sdk-h1"],
        ],
        "pages": 2,
        "account": account["merchant"],
    }


# ---- what we send is what it sends -----------------------------------------------------------------------------------

ORDER_ID, AUTH_ID, CAPTURE_ID, REFUND_ID = "5O190127TN364715T", "0VF52814937998046", "3C679366HH908993F", "1JU0890278"
SESSION = b'{"access_token":"A21AA","token_type":"Bearer","expires_in":32400,"id":"1","status":"COMPLETED"}'


def test_what_we_send_is_what_the_library_sends(account: dict[str, Any]) -> None:
    at = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
    order = Order(
        reference="1-01937a0b5c00aabbccddeeff00112",
        amount=Money(1234, "USD"),
        method=Method.PAGE,
        description="茶叶 Tea",
        notify_url="",
        expires_at=at,
        created_at=at,
        return_url="https://shop.example/thanks?order=7",
        channel_ref=f"order:{ORDER_ID}",
    )
    hold = Order(
        reference=order.reference,
        amount=order.amount,
        method=order.method,
        description=order.description,
        notify_url="",
        expires_at=at,
        created_at=at,
        authorize_only=True,
        channel_ref=f"auth:{ORDER_ID}:{AUTH_ID}",
    )
    refund = RefundOrder(
        reference="1-01937a0b5c00aabbccddeeff0099",
        payment_reference=order.reference,
        payment_amount=order.amount,
        amount=Money(234, "USD"),
        reason="不合适",
        notify_url="",
        created_at=at,
        payment_created_at=at,
        payment_channel_ref=CAPTURE_ID,
        channel_ref=REFUND_ID,
    )
    with listener(SESSION) as door:
        told = {
            "reference": order.reference,
            "description": order.description,
            "amount": {"currency_code": "USD", "value": "12.34"},
            "part": {"currency_code": "USD", "value": "10.00"},
            "return_url": order.return_url,
            "order": ORDER_ID,
            "hold": AUTH_ID,
            "capture": CAPTURE_ID,
        }
        back = {
            "reference": refund.reference,
            "amount": {"currency_code": "USD", "value": "2.34"},
            "reason": "不合适",
            "refund": REFUND_ID,
        }
        library("requests", **account | {"base_url": door.url}, order=told, refund=back)
        rail = paypal.build(account | {"base_url": door.url})
        login = rail.login_request(now=at)
        assert login is not None
        ours = [
            login,
            rail.pay_request(order),
            rail.query_request(order),
            rail.proceed_request(order),
            rail.proceed_request(hold),
            rail.capture_request(hold, Money(1000, "USD")),
            rail.void_request(hold),
            rail.query_request(Order(**_fields(order) | {"channel_ref": CAPTURE_ID})),
            rail.refund_request(refund),
            rail.refund_query_request(refund),
        ]
        assert [_essence(*theirs) for theirs in door.heard] == [
            _essence(one.method, one.url.removeprefix(door.url), _small(one.headers), one.body) for one in ours
        ]


def _fields(order: Order) -> dict[str, Any]:
    return {name: getattr(order, name) for name in Order.__dataclass_fields__}


def _small(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _essence(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
    """Return what of a request tells PayPal what to do."""
    kept = {name: headers.get(name) for name in ("paypal-request-id", "prefer")}
    if method == "GET":
        kept["prefer"] = None  # some of the library's own calls carry it where it means nothing
    form = path.endswith("/token")
    login = headers["authorization"] if form else None
    return method, path, kept, login, body if form else json.loads(body or b"{}")


# ---- webhooks --------------------------------------------------------------------------------------------------------


def heard(door: Listener, mark: bytes) -> Response:
    """Return the first message in which `mark` stands."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        for _, _, headers, body in list(door.heard):
            if mark in body:
                return Response(200, headers, body)
        door.came.wait(0.05)
        door.came.clear()
    raise AssertionError(f"nothing came with {mark!r}")


def test_the_library_registers_an_address_and_believes_what_we_believe(account: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    with listener() as door:
        names = ["CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED"]
        made = webhooks("register", **account, url=f"{door.url}/notices", events=names)
        assert made == {
            "webhook_id": made["webhook_id"],
            "listed": [[made["webhook_id"], f"{door.url}/notices", names]],
        }
        rail = paypal.build(account | {"webhook_id": made["webhook_id"]})
        library("life", **account)
        notice = heard(door, b"PAYMENT.CAPTURE.COMPLETED")
        approval = heard(door, b"CHECKOUT.ORDER.APPROVED")
        certificate = rail.trusted_keys_request(notice)
        assert certificate is not None
        with urllib.request.urlopen(certificate.url, timeout=100) as answer:
            chain = answer.read()
        rail.trust(certificate, Response(200, {}, chain), now=now)
        between = chain.decode().partition("-----END CERTIFICATE-----\n")[2]
        right = [(notice, made["webhook_id"]), (approval, made["webhook_id"])]
        wrong = [
            (notice, "1JE4291016473214C"),
            (Response(200, notice.headers, notice.body.replace(b"12.34", b"12.35")), made["webhook_id"]),
            (Response(200, notice.headers | {"paypal-transmission-id": "another"}, notice.body), made["webhook_id"]),
            (Response(200, approval.headers, notice.body), made["webhook_id"]),
        ]
        messages = [
            {"headers": dict(message.headers), "body": message.body.hex(), "webhook_id": hook}
            for message, hook in right + wrong
        ]
        root = account["webhook_root_cert"]
        assert webhooks("verify", trusted=[root, between], messages=messages) == [
            True,
            True,
            False,
            False,
            False,
            False,
        ]
        assert webhooks("verify", trusted=[_another_root()], messages=messages[:1]) == [False]
        first, second = (rail.notice(message, now=now) for message, _ in right)
        assert first is not None
        assert isinstance(first.outcome, Confirmed)
        assert second is not None
        assert isinstance(second.outcome, Pending)
        assert second.outcome.proceed
        for message, hook in wrong:
            ours = rail if hook == made["webhook_id"] else paypal.build(account | {"webhook_id": hook})
            if ours is not rail:
                ours.trust(Request("GET", certificate.url), Response(200, {}, chain), now=now)
            with pytest.raises(BadNotice):
                ours.notice(message, now=now + timedelta(seconds=1))


def _another_root() -> str:
    return (HERE.parent / "golden" / "paypal" / "keys" / "root_certificate.pem").read_text()
