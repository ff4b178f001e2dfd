"""wechatpayv3 finds the sandbox to be WeChat Pay in both key modes, signs what we sign, believes what we believe."""

import json
import re
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from channels import BadNotice, Confirmed, Method, Notice, Pending, wechat
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.wechat.test_wechat_outcomes import received
from tests.channels.wechat.test_wechat_products import JSAPI, SEALED
from tests.channels.wechat.test_wechat_products import REQUESTS as PRODUCT_REQUESTS
from tests.channels.wechat.test_wechat_requests import NONCE
from tests.channels.wechat.test_wechat_requests import REQUESTS as BASIC_REQUESTS
from tests.channels.wechat.wechat_rail import (
    KEYS,
    MCHID,
    MERCHANT_SERIAL,
    NOW,
    OLD_SERIAL,
    PUBLIC_KEY_ID,
    channel,
    settings,
)
from tests.sdk.environments import run

SCRIPT = Path(__file__).with_name("wechat_sdk.py")
MODES = ("public_key", "certificates")


def library(what: str, **told: Any) -> Any:
    """Have the library do something; see wechat_sdk.py."""
    return run("wechatpayv3", SCRIPT, what, told=told)


def sign_up(sandbox_url: str, **wishes: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{sandbox_url}/control/wechat/merchants", json.dumps(wishes).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=100) as made:
        return dict(json.load(made))


@pytest.fixture(params=MODES)
def account(request: pytest.FixtureRequest, sandbox_url: str) -> dict[str, Any]:
    """A merchant, with the key mode the library is to use and a mark for its numbers."""
    return sign_up(sandbox_url) | {"mode": request.param, "mark": secrets.token_hex(6)}


@pytest.fixture
def supplier(sandbox_url: str) -> str:
    return str(sign_up(sandbox_url, name="supplier")["mchid"])


# ---- the sandbox is WeChat Pay to it ---------------------------------------------------------------------------------


def test_the_library_takes_a_merchant_through_a_day_in_the_sandbox(account: dict[str, Any]) -> None:
    today = datetime.now(timezone(timedelta(hours=8))).date().isoformat()
    assert library("life", **account, date=today) == {
        "native": [200, "weixin"],
        "jsapi": [200, "wx"],
        "h5": [200, True],
        "app": [200, "wx"],
        "query": [200, "SUCCESS", "JSAPI", 1234, "oAlice"],
        "query_by_id": [200, True],
        "close": [204, "CLOSED"],
        "refund": [200, True, 234],
        "refunded": "SUCCESS",
        "too_early": "STATEMENT_CREATING",
        "trade_bill": [200, "SHA1", 4],  # two payments, a refund, the totals
        "fundflow_bill": [200, "SHA1", 7],  # payments and fees, refund and its fee, the totals
        "unknown": [404],
        "keys_fetched": 0 if account["mode"] == "public_key" else 1,
    }


def test_the_library_shares_a_payment_out_in_the_sandbox(account: dict[str, Any], supplier: str) -> None:
    assert library("sharing", **account, supplier=supplier) == {
        "added": [200, "supplier"],
        "shared": [200, 3000],
        "share": "SUCCESS",
        "back": 200,
        "returned": "SUCCESS",
        "back_by_id": 200,
        "unsplit": 6940,
        "released": 200,
        "nothing_left": 0,
        "removed": 200,
    }


def test_the_library_pays_several_orders_in_one_go_in_the_sandbox(account: dict[str, Any], supplier: str) -> None:
    done = library("combined", **account, supplier=supplier)
    assert done == {"made": 200, "paid": [["SUCCESS", 100], ["SUCCESS", 101]]}


# ---- notices ---------------------------------------------------------------------------------------------------------


@dataclass
class Listener:
    """A small HTTP server that keeps what comes and acknowledges it."""

    url: str = ""
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def wait_for(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        for _ in range(10_000):
            if len(self.heard) >= count:
                return self.heard
            time.sleep(0.02)
        raise AssertionError(f"only {len(self.heard)} notices came")


@contextmanager
def listener() -> Iterator[Listener]:
    kept = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.heard.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}/notices"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()


def ours(message: Response, account: dict[str, Any], now: datetime) -> Notice | None:
    """Read a message as the hub does; None for one that is not believed."""
    try:
        return wechat.build(account).notice(message, now=now)
    except BadNotice:
        return None


def as_heard(headers: dict[str, str], body: bytes) -> Response:
    return Response(200, {name.lower(): value for name, value in headers.items()}, body)


def test_a_notice_of_the_sandbox_is_believed_by_the_library_and_by_us_alike(account: dict[str, Any]) -> None:
    today = datetime.now(timezone(timedelta(hours=8))).date().isoformat()
    with listener() as box:
        library("life", **account, date=today, notify_url=box.url)
        heard = box.wait_for(3)[:3]
    theirs = library("callbacks", **account, messages=[{"headers": h, "body": b.hex()} for h, b in heard])
    mine = [ours(as_heard(headers, body), account, datetime.now(UTC)) for headers, body in heard]
    assert sorted(told[0] for told in theirs) == ["REFUND.SUCCESS", "TRANSACTION.SUCCESS", "TRANSACTION.SUCCESS"]
    for told, read in zip(theirs, mine, strict=True):
        assert read is not None
        event, notice_id, resource = told
        assert read.notice_id == notice_id
        is_refund = event.startswith("REFUND")
        assert read.reference == resource["out_refund_no" if is_refund else "out_trade_no"]
        paid = resource["amount"]["refund" if is_refund else "total"]
        number = resource["refund_id" if is_refund else "transaction_id"]
        assert isinstance(read.outcome, Confirmed)
        assert (read.outcome.amount, read.outcome.channel_ref) == (Money(paid, "CNY"), number)


TAMPERED = ("body", "Wechatpay-Signature", "Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Serial")


def test_what_was_tampered_with_is_believed_by_neither(account: dict[str, Any]) -> None:
    today = datetime.now(timezone(timedelta(hours=8))).date().isoformat()
    with listener() as box:
        library("life", **account, date=today, notify_url=box.url)
        headers, body = box.wait_for(1)[0]
    messages = [(headers, body)]
    for what in TAMPERED:
        if what == "body":
            messages.append((headers, body.replace(b'"id":"', b'"id":"0', 1)))
        elif what == "Wechatpay-Serial":
            messages.append((headers | {what: "7" * 40}, body))
        else:
            value = headers[what]
            swapped = value[:10] + ("1" if value[10:11] != "1" else "2") + value[11:] if len(value) > 10 else value
            swapped = str(int(value) + 1) if what == "Wechatpay-Timestamp" else swapped
            messages.append((headers | {what: swapped}, body))
    theirs = library("callbacks", **account, messages=[{"headers": h, "body": b.hex()} for h, b in messages])
    mine = [ours(as_heard(h, b), account, datetime.now(UTC)) for h, b in messages]
    assert [told is not None for told in theirs] == [True] + [False] * len(TAMPERED)
    assert [read is not None for read in mine] == [True] + [False] * len(TAMPERED)


@pytest.mark.parametrize("name", ["notice_payment_paid", "notice_refund_done", "notice_payment_signed_by_public_key"])
def test_our_golden_notices_are_notices_to_the_library(name: str, tmp_path: Path) -> None:
    """Their keys are ours, so the library is told where to find them."""
    message = received(name)
    stored = settings()
    (tmp_path / f"{OLD_SERIAL}.pem").write_text(Path(stored["platform_certificates"][0]["file"]).read_text())
    mode = "public_key" if message.headers["wechatpay-serial"] == PUBLIC_KEY_ID else "certificates"
    facts = stored | {"mode": mode, "platform_certificates": [{"file": str(tmp_path / f"{OLD_SERIAL}.pem")}]}
    (told,) = library("callbacks", **facts, messages=[{"headers": dict(message.headers), "body": message.body.hex()}])
    notice = channel().notice(message, now=NOW)
    assert told[1] == notice.notice_id
    assert notice.reference in (told[2]["out_trade_no"], told[2].get("out_refund_no"))


# ---- what we send is what it sends -----------------------------------------------------------------------------------


def test_every_request_of_ours_is_signed_as_the_library_signs_it() -> None:
    rail = channel()
    requests: dict[str, Request] = {}
    for table in (BASIC_REQUESTS, PRODUCT_REQUESTS, SEALED):
        for name, make in table.items():
            if (request := make(rail)) is not None:
                requests[name] = request
    assert len(requests) >= 30
    prepared = Pending({"type": "jsapi", "prepay_id": "wx2014"})
    call = rail.signed_action(JSAPI, prepared, now=NOW, nonce=NONCE).next_action or {}
    app = rail.call_to_pay(Method.APP, prepared, now=NOW, nonce=NONCE).next_action or {}
    sealed = re.findall(r'"([A-Za-z0-9+/]{342}==)"', "".join(one.body.decode() for one in requests.values()))
    theirs = library(
        "signatures",
        mchid=MCHID,
        serial_no=MERCHANT_SERIAL,
        private_key_file=str(KEYS / "merchant.pem"),
        seconds=int(NOW.timestamp()),
        nonce=NONCE,
        requests=[
            {"method": one.method, "path": "/" + one.url.split("/", 3)[3], "body": one.body.decode()}
            for one in requests.values()
        ],
        calls=[
            [call["appId"], call["timeStamp"], call["nonceStr"], call["package"]],
            [app["appid"], app["timestamp"], app["noncestr"], app["prepayid"]],
        ],
        sealed=[{"ciphertext": one, "key_file": str(KEYS / "platform_public_key.pem")} for one in sealed],
    )
    for (name, request), authorization in zip(requests.items(), theirs["requests"], strict=True):
        signed = rail.sign(request, now=NOW, nonce=NONCE).headers["Authorization"]
        assert parts(signed) == parts(authorization), name
    assert theirs["calls"] == [call["paySign"], app["sign"]]
    assert theirs["opened"] == ["茶叶批发有限公司", "6222020000000000000", "张三"]


def parts(authorization: str) -> dict[str, str]:
    assert authorization.startswith("WECHATPAY2-SHA256-RSA2048 ")
    return dict(re.findall(r'(\w+)="([^"]*)"', authorization))
