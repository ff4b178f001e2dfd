"""A merchant's side of WeChat Pay v3, written from the protocol alone, and a process that plays the sandbox."""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]
SCHEME = "WECHATPAY2-SHA256-RSA2048"


class Sandbox:
    """The sandbox as a process."""

    def __init__(self, home: Path, time_scale: float, *more: str) -> None:
        self.home, self.time_scale, self.more = home, time_scale, more
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "sandbox", "--home", str(self.home), "--port", "0"]
        command += ["--time-scale", str(self.time_scale), *self.more]
        with (self.home / "sandbox.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("sandbox ready http://127.0.0.1:"), (self.home / "sandbox.log").read_text()
        self.base_url = line.split()[-1]

    def kill(self) -> None:
        """Take the process away as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=200)

    def try_control(self, method: str, path: str, body: Any = None) -> "Reply":
        raw = b"" if body is None else json.dumps(body).encode()
        return exchange(self.base_url, method, f"/control{path}", {}, raw)

    def control(self, method: str, path: str, body: Any = None, expect: int | None = None) -> Any:
        reply = self.try_control(method, path, body)
        assert expect in (None, reply.status), reply.body
        assert expect is not None or reply.status < 300, reply.body
        return json.loads(reply.body) if reply.body else None

    def merchant(self, **wishes: Any) -> "Merchant":
        return Merchant(self.base_url, self.control("POST", "/wechat/merchants", wishes))

    def order_fault(self, name: str, *, rail: str = "wechat", times: int = 1, params: Any = None, **match: str) -> Any:
        order = {"fault": name, "rail": rail, "match": match, "times": times, "params": params or {}}
        return self.control("POST", "/faults", order)

    def pay(self, merchant: "Merchant", out_trade_no: str) -> Any:
        return self.control("POST", "/wechat/pay", {"mchid": merchant.mchid, "out_trade_no": out_trade_no})

    def trade(self, merchant: "Merchant", out_trade_no: str) -> Any:
        """Return the sandbox's own truth about an order, None if it knows none."""
        trades = self.control("GET", f"/wechat/trades?mchid={merchant.mchid}")["trades"]
        return next((trade for trade in trades if trade["out_trade_no"] == out_trade_no), None)

    def notices(self, merchant: "Merchant") -> Any:
        return self.control("GET", f"/wechat/notices?mchid={merchant.mchid}")["notices"]

    def close_day(self, merchant: "Merchant", day: str) -> Any:
        return self.control("POST", "/wechat/close-day", {"mchid": merchant.mchid, "date": day})


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


class NoAnswer(Exception):
    """The connection ended without an answer."""


def exchange(base_url: str, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
    connection = HTTPConnection(base_url.removeprefix("http://"), timeout=300)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body or method == "POST":
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    except (ConnectionError, OSError) as error:
        raise NoAnswer(str(error)) from error
    finally:
        connection.close()


class BadSignature(Exception):
    """An answer or a notice is not WeChat Pay's."""


class Merchant:
    """What a merchant's server does: sign, send, verify, decrypt."""

    def __init__(self, base_url: str, credentials: dict[str, Any]) -> None:
        self.base_url, self.credentials = base_url, credentials
        self.mchid, self.appid = credentials["mchid"], credentials["appid"]
        self.serial_no = credentials["serial_no"]
        pem = Path(credentials["private_key_file"]).read_bytes()
        self.private_key: Any = serialization.load_pem_private_key(pem, None)
        self.apiv3_key = Path(credentials["apiv3_key_file"]).read_bytes()
        self.platform_keys: dict[str, Any] = {}
        for known in credentials["platform_certificates"]:
            certificate = x509.load_pem_x509_certificate(Path(known["file"]).read_bytes())
            self.platform_keys[known["serial_no"]] = certificate.public_key()
        public_key = serialization.load_pem_public_key(Path(credentials["public_key_file"]).read_bytes())
        self.platform_keys[credentials["public_key_id"]] = public_key

    def authorization(self, method: str, target: str, body: bytes, **other: Any) -> str:
        """Return the Authorization header; `other` replaces parts of it after or before signing, see the names."""
        timestamp = str(other.get("timestamp", int(time.time())))
        nonce = other.get("nonce", secrets.token_hex(16))
        text = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = other.get("key", self.private_key).sign(text, padding.PKCS1v15(), hashes.SHA256())
        parts = {
            "mchid": other.get("mchid", self.mchid),
            "nonce_str": nonce,
            "signature": base64.b64encode(signature).decode(),
            "timestamp": timestamp,
            "serial_no": other.get("serial_no", self.serial_no),
        }
        return SCHEME + " " + ",".join(f'{name}="{value}"' for name, value in parts.items())

    def send(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None, **other: Any
    ) -> Reply:
        """Send one signed request and return the answer unverified."""
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        )
        sent = {
            "Accept": "application/json",
            "User-Agent": "sandbox tests",
            "Authorization": self.authorization(method, target, raw, **other),
            **({"Content-Type": "application/json"} if raw else {}),
            **(headers or {}),
        }
        return exchange(self.base_url, method, target, {k: v for k, v in sent.items() if v}, raw)

    def call(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Send one signed request; verify the answer if it is a success."""
        reply = self.send(method, target, body, headers)
        if reply.status < 300:
            self.verify(reply.headers, reply.body)
        return reply

    def verify(self, headers: dict[str, str], body: bytes) -> str:
        """Return which key signed. Raises BadSignature."""
        try:
            serial = headers["Wechatpay-Serial"]
            text = f"{headers['Wechatpay-Timestamp']}\n{headers['Wechatpay-Nonce']}\n".encode() + body + b"\n"
            assert headers["Wechatpay-Signature-Type"] == SCHEME
            assert abs(time.time() - int(headers["Wechatpay-Timestamp"])) < 300
            signature = base64.b64decode(headers["Wechatpay-Signature"], validate=True)
            self.platform_keys[serial].verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except Exception as error:
            raise BadSignature(repr(error)) from error
        return serial

    def decrypt(self, resource: dict[str, str]) -> bytes:
        sealed = base64.b64decode(resource["ciphertext"])
        assert resource["algorithm"] == "AEAD_AES_256_GCM"
        return AESGCM(self.apiv3_key).decrypt(resource["nonce"].encode(), sealed, resource["associated_data"].encode())

    def order(self, out_trade_no: str, total: int = 100, **other: Any) -> dict[str, Any]:
        """Return the body of a native order."""
        return {
            "appid": self.appid,
            "mchid": self.mchid,
            "description": "两斤苹果",
            "out_trade_no": out_trade_no,
            "notify_url": "http://127.0.0.1:9/nobody-listens",
            "amount": {"total": total, "currency": "CNY"},
            **other,
        }

    def code_order(self, out_trade_no: str, last_digit: int, total: int = 100, **other: Any) -> dict[str, Any]:
        """Return the body of a codepay order whose payer behaves as the last digit says."""
        order = self.order(out_trade_no, total)
        del order["notify_url"]
        code = "13" + "".join(secrets.choice("0123456789") for _ in range(15)) + str(last_digit)
        return {**order, "payer": {"auth_code": code}, "scene_info": {"store_info": {"out_id": "1"}}, **other}

    def create(self, out_trade_no: str, total: int = 100, **other: Any) -> str:
        """Create a native order; return its code_url."""
        reply = self.call("POST", "/v3/pay/transactions/native", self.order(out_trade_no, total, **other))
        assert reply.status == 200, reply.body
        return str(reply.json["code_url"])

    def codepay(self, order: dict[str, Any]) -> Reply:
        return self.call("POST", "/v3/pay/transactions/codepay", order)

    def query(self, out_trade_no: str) -> Reply:
        return self.call("GET", f"/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid={self.mchid}")

    def close(self, out_trade_no: str) -> Reply:
        body = {"mchid": self.mchid}
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{out_trade_no}/close", body)

    def reverse(self, out_trade_no: str) -> Reply:
        body = {"appid": self.appid, "mchid": self.mchid}
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{out_trade_no}/reverse", body)

    def refund_body(
        self, out_trade_no: str, out_refund_no: str, refund: int, total: int, **other: Any
    ) -> dict[str, Any]:
        amount = {"refund": refund, "total": total, "currency": "CNY"}
        return {"out_trade_no": out_trade_no, "out_refund_no": out_refund_no, "amount": amount, **other}

    def refund(self, out_trade_no: str, out_refund_no: str, refund: int, total: int, **other: Any) -> Reply:
        body = self.refund_body(out_trade_no, out_refund_no, refund, total, **other)
        return self.call("POST", "/v3/refund/domestic/refunds", body)

    def refund_query(self, out_refund_no: str) -> Reply:
        return self.call("GET", f"/v3/refund/domestic/refunds/{out_refund_no}")


@dataclass
class Delivery:
    """A notice as it reached the merchant."""

    path: str
    headers: dict[str, str]
    body: bytes
    answered: int

    @property
    def id(self) -> str:
        return str(json.loads(self.body)["id"])


@dataclass
class Door:
    """Where a merchant receives notices. answers: statuses to give, the last one for ever; the rule may decide too."""

    answers: list[int] = field(default_factory=lambda: [200])
    rule: Callable[[Delivery], int] | None = None
    deliveries: list[Delivery] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> int:
        delivery = Delivery(path, headers, body, 0)
        status = self.rule(delivery) if self.rule else self.answers[min(len(self.deliveries), len(self.answers) - 1)]
        delivery.answered = status
        self.deliveries.append(delivery)
        return status


@contextmanager
def door(port: int = 0, **how: Any) -> Iterator[Door]:
    """Listen for notices."""
    opened = Door(**how)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                status = opened.answer(self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    opened.url = f"http://127.0.0.1:{server.server_port}/notices"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield opened
    finally:
        server.shutdown()
        server.server_close()


def eventually(look: Callable[[], T], *, within_s: float = 300) -> T:
    """Return what `look` returns as soon as that is truthy; it may take its time."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s; last seen {seen!r}"
        time.sleep(0.02)
    return seen


def new_number(prefix: str = "o") -> str:
    return f"{prefix}{os.urandom(12).hex()}"
