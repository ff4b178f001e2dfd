"""Stripe's own Python library: it finds the sandbox to be Stripe, sends what we send, and believes what we believe."""

import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from hmac import new as hmac
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from channels import BadNotice, Confirmed, Method, Order, RefundOrder, stripe
from channels.stripe.calls import VERSION
from kernel.env import Request, Response
from kernel.money import Money
from tests.sdk.environments import run

SCRIPT = Path(__file__).with_name("stripe_sdk.py")
DAY = date(2026, 11, 24)


def library(what: str, **told: Any) -> Any:
    """Have the library do something; see stripe_sdk.py."""
    return run("stripe", SCRIPT, what, told=told)


@pytest.fixture
def account(sandbox_url: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{sandbox_url}/control/stripe/merchants", b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=100) as made:
        return dict(json.load(made))


@dataclass
class Listener:
    """A small HTTP server that keeps what comes and says the same to everyone."""

    answer: bytes = b"{}"
    url: str = ""
    heard: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listener(answer: bytes = b"{}") -> Iterator[Listener]:
    kept = Listener(answer)

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept.heard.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            kept.came.set()
            self.send_response(200)
            self.send_header("Content-Length", str(len(kept.answer)))
            self.end_headers()
            self.wfile.write(kept.answer)

        do_GET = do_POST = _take

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()


# ---- the sandbox is Stripe to it -------------------------------------------------------------------------------------


def test_the_library_takes_a_merchant_through_a_day_in_the_sandbox(account: dict[str, Any]) -> None:
    done = library("life", **account)
    transactions = done.pop("transactions")
    assert done == {
        "made": ["requires_confirmation", True, "sdk-1"],
        "paid": ["succeeded", 1234, 66],
        "asked": ["succeeded", True],
        "held": ["requires_capture", 1234],
        "captured": ["succeeded", 1000],
        "dropped": ["canceled", "abandoned"],
        "refund": ["succeeded", 234, "sdk-r1"],
        "refunds": [True],
        "proof": ["requires_action", "redirect_to_url", "https://shop/x"],
        "errors": [
            [402, "card_declined", "insufficient_funds", "requires_payment_method"],
            [400],
            [401],
            [400, "payment_intent_unexpected_state", True],
        ],
    }
    many, others = transactions[:12], transactions[12:]
    assert many == [["charge", 1234, 1234, "charge"]] * 12
    assert others == [
        ["refund", -234, -234, "refund"],
        ["charge", 1000, 1000, "charge"],
        ["charge", 1234, 1234, "charge"],
    ]


def test_the_library_makes_a_page_of_the_sandbox_and_ends_it(account: dict[str, Any]) -> None:
    done = library("pages", **account)
    assert done.pop("url").startswith(f"{account['base_url']}/")
    assert done == {
        "made": ["checkout.session", "open", "unpaid", "payment", 1234, "sdk-page"],
        "asked": [True, None, "sdk-page"],
        "gone": ["expired", None],
        "again": 400,
    }


def test_a_notice_of_the_sandbox_is_believed_by_the_library_and_by_us_alike(account: dict[str, Any]) -> None:
    with listener() as box:
        made = library("hook", **account, url=f"{box.url}/notices", events=["payment_intent.succeeded"])
        assert box.came.wait(200)
    ((_, _, headers, body),) = box.heard
    message = {"body": body.hex(), "header": headers["stripe-signature"], "secret": made["secret"]}
    assert library("verify", messages=[message]) == [[True, "payment_intent.succeeded"]]
    rail = stripe.build(account | {"webhook_secrets": [made["secret"]]})
    notice = rail.notice(Response(200, headers, body), now=datetime.now(UTC))
    assert notice is not None
    assert notice.reference == "sdk-hook"
    assert isinstance(notice.outcome, Confirmed)
    assert (notice.outcome.channel_ref, notice.outcome.amount) == (made["intent"], Money(1234, "USD"))


# ---- what we send is what it sends -----------------------------------------------------------------------------------

ORDER = Order(
    reference="1-01937a0b5c00aabbccddeeff00112",
    amount=Money(1234, "USD"),
    method=Method.CARD,
    description="茶叶 Tea & more=100%",
    notify_url="",
    expires_at=datetime(2026, 11, 24, 9, tzinfo=UTC),
    created_at=datetime(2026, 11, 24, 8, tzinfo=UTC),
    token="pm_card_visa",
    return_url="https://shop.example/back?order=7",
    channel_ref="pi_1",
)
REFUND = RefundOrder(
    reference="1-01937a0b5c00aabbccddeeff00999",
    payment_reference=ORDER.reference,
    payment_amount=ORDER.amount,
    amount=Money(234, "USD"),
    reason="不合适",
    notify_url="",
    created_at=ORDER.created_at,
    payment_created_at=ORDER.created_at,
    payment_channel_ref="pi_1",
)
OURS = ("authorization", "stripe-version", "idempotency-key", "content-type")


def as_read(method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
    """Return what Stripe reads of a request; the order of fields and the numbers of a list's places mean nothing."""
    split = urlsplit(target)
    fields = parse_qsl(body.decode() if method == "POST" else split.query, keep_blank_values=True, strict_parsing=False)
    names = sorted((name.replace("[0]", "[]"), value) for name, value in fields)
    told = {name: value for name, value in headers.items() if name in OURS}
    if method == "GET" or not told.get("idempotency-key", "").startswith("1-"):
        told.pop("idempotency-key", None)  # the library makes one up for each POST it may repeat
    if method == "GET":
        told.pop("content-type", None)
    return method, split.path, names, told


def test_our_requests_say_what_the_librarys_say(account: dict[str, Any]) -> None:
    order = {
        "amount": 1234,
        "currency": "usd",
        "token": ORDER.token,
        "description": ORDER.description,
        "reference": ORDER.reference,
        "return_url": ORDER.return_url,
        "intent": "pi_1",
    }
    refund = {"amount": 234, "reference": REFUND.reference, "reason": REFUND.reason, "id": "re_1"}
    answer = b'{"id":"x","object":"list","data":[],"has_more":false}'
    start = int(datetime(2026, 11, 23, 16, tzinfo=UTC).timestamp())
    with listener(answer) as box:
        said = library("requests", base_url=box.url, secret_key="sk_test_ours", order=order, refund=refund, day=start)
    assert said["version"] == VERSION
    rail = stripe.build({"secret_key": "sk_test_ours", "base_url": box.url})
    shown = replaced(ORDER, method=Method.PAGE, token=None, channel_ref="cs_1")
    new, again = replaced(ORDER, channel_ref=None), replaced(REFUND, channel_ref="re_1")
    ours = [
        rail.pay_request(new),
        rail.proceed_request(ORDER),
        rail.query_request(ORDER),
        rail.capture_request(ORDER, Money(1000, "USD")),
        rail.close_request(ORDER),
        rail.refund_request(REFUND),
        rail.refund_query_request(again),
        rail.refund_query_request(REFUND),
        rail.bill_request(DAY),
        rail.pay_request(replaced(shown, channel_ref=None)),
        rail.query_request(shown),
        rail.close_request(shown),
    ]
    for theirs, request in zip(box.heard, ours, strict=True):
        assert as_read(*as_sent(rail.sign(request, now=ORDER.created_at, nonce=""))) == as_read(*theirs)


def as_sent(request: Request) -> tuple[str, str, dict[str, str], bytes]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return request.method, "/" + request.url.split("/", 3)[3], headers, request.body


def replaced(value: Any, **changes: Any) -> Any:
    return type(value)(**{name: getattr(value, name) for name in value.__slots__} | changes)


# ---- we believe what it believes -------------------------------------------------------------------------------------

SECRET = "whsec_" + "5" * 32
BODY = json.dumps(
    {
        "id": "evt_1",
        "object": "event",
        "type": "charge.succeeded",
        "created": 1,
        "livemode": False,
        "data": {"object": {"object": "charge"}},
    }
).encode()


def v1(body: bytes = BODY, *, at: int, secret: str = SECRET) -> str:
    return hmac(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


def vectors(now: int) -> dict[str, tuple[str, bytes, bool]]:
    """By what it shows: a header, a body, and whether it is to be believed."""
    good, wrong = v1(at=now), secrets.token_hex(32)
    plain = f"t={now},v1={good}"
    return {
        "right": (plain, BODY, True),
        "signature first": (f"v1={good},t={now}", BODY, True),
        "a wrong one before": (f"t={now},v1={wrong},v1={good}", BODY, True),
        "a wrong one after": (f"t={now},v1={good},v1={wrong}", BODY, True),
        "a short one beside": (f"t={now},v1=ab,v1={good}", BODY, True),
        "other schemes beside": (f"t={now},v0={wrong},v1={good},v2=x", BODY, True),
        "old, within five minutes": (f"t={now - 240},v1={v1(at=now - 240)}", BODY, True),
        "old, beyond five minutes": (f"t={now - 330},v1={v1(at=now - 330)}", BODY, False),
        "very old": (f"t=1,v1={v1(at=1)}", BODY, False),
        "a byte of the body changed": (plain, BODY.replace(b"evt_1", b"evt_2"), False),
        "a blank before the body": (plain, b" " + BODY, False),
        "a blank after the body": (plain, BODY + b"\n", False),
        "no body": (plain, b"", False),
        "the time changed": (f"t={now + 1},v1={good}", BODY, False),
        "the signature changed": (f"t={now},v1={good[:-1]}{'0' if good[-1] != '0' else '1'}", BODY, False),
        "another secret's": (f"t={now},v1={v1(at=now, secret=SECRET + '5')}", BODY, False),
        "the secret without its prefix": (f"t={now},v1={v1(at=now, secret=SECRET[6:])}", BODY, False),
        "of the body alone": (f"t={now},v1={hmac(SECRET.encode(), BODY, sha256).hexdigest()}", BODY, False),
        "under v0": (f"t={now},v0={good}", BODY, False),
        "in capitals": (f"t={now},v1={good.upper()}", BODY, False),
        "a blank after the comma": (f"t={now}, v1={good}", BODY, False),
        "no time": (f"v1={good}", BODY, False),
        "no signature": (f"t={now}", BODY, False),
        "an empty signature": (f"t={now},v1=", BODY, False),
        "a time that is a word": (f"t=now,v1={good}", BODY, False),
        "empty": ("", BODY, False),
        "nonsense": ("nonsense", BODY, False),
        "not UTF-8": (f"t={now},v1={v1(BODY + b'%c' % 255, at=now)}", BODY + b"\xff", False),
        "not JSON": (f"t={now},v1={v1(b'<xml/>', at=now)}", b"<xml/>", False),
    }


def stricter(now: int) -> dict[str, tuple[str, bytes]]:
    """What the library lets pass and we do not; nobody but the holder of the secret could make any of it."""
    good, ahead, twice = v1(at=now), now + 330, BODY.replace(b'"id"', b'"id": "evt_0", "id"')
    return {
        "from the future": (f"t={ahead},v1={v1(at=ahead)}", BODY),
        "two times": (f"t={now},t={now},v1={good}", BODY),
        "a time with zeros before it": (f"t=00{now},v1={good}", BODY),
        "something after the signature": (f"t={now},v1={good}=x", BODY),
        "a name twice in an object": (f"t={now},v1={v1(twice, at=now)}", twice),
    }


def test_a_notice_is_believed_by_us_exactly_when_it_is_by_the_library() -> None:
    now = int(time.time())
    cases = vectors(now)
    assert believed(cases) == {name: case[2] for name, case in cases.items()}
    messages = [{"header": header, "body": body.hex(), "secret": SECRET} for header, body, _ in cases.values()]
    theirs = {name: said[0] for name, said in zip(cases, library("verify", messages=messages), strict=True)}
    assert theirs == believed(cases)


def test_where_we_differ_from_the_library_we_are_the_stricter() -> None:
    now = int(time.time())
    cases = {name: (header, body, False) for name, (header, body) in stricter(now).items()}
    messages = [{"header": header, "body": body.hex(), "secret": SECRET} for header, body, _ in cases.values()]
    theirs = {name: said[0] for name, said in zip(cases, library("verify", messages=messages), strict=True)}
    assert theirs == dict.fromkeys(cases, True)
    assert believed(cases) == dict.fromkeys(cases, False)


def believed(cases: dict[str, tuple[str, bytes, bool]]) -> dict[str, bool]:
    """Return which messages our adapter believes."""
    rail = stripe.build({"secret_key": "sk_test_ours", "webhook_secrets": [SECRET]})
    found = {}
    for name, (header, body, _) in cases.items():
        try:
            rail.notice(Response(200, {"stripe-signature": header}, body), now=datetime.now(UTC))
        except BadNotice:
            found[name] = False
        else:
            found[name] = True
    return found
