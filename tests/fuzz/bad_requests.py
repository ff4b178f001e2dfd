"""Bad requests without end, from a seed: over every route there is, and over what is hardly HTTP.

The routes are asked of the application itself, so a new one is covered without a line here. A request is a good one to
which something is done: to its method, path, query, headers, body, or to its very bytes. Some stay good by chance; what
counts is the answer, which `complaint` judges.
"""

# ruff: noqa: E501  (rows of inputs, which nobody reads one by one)

import copy
import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PAGES = ("/pay/", "/l/", "/s/", "/cashier/")  # for payers: what goes wrong there is a page too
INTENDED = (502, 503, 504)  # of ours, and only with Retry-After
_HEX26 = "0123456789abcdef0123456789"


class Sent(NamedTuple):
    """One request as it goes onto the wire."""

    route: str  # "METHOD /path/{id}" of the route it was made for
    wire: bytes
    path: str
    head_only: bool = False  # HEAD: an answer without a body
    may_wait: bool = False  # its bytes may promise more than they bring; then the server rightly waits


class Known(NamedTuple):
    """What exists at the hub that is asked: so that some requests get further than the first look-up."""

    key: str
    ids: Mapping[str, str]  # by prefix: pay re lnk pye, an id that is there
    paths: Sequence[str]  # of pages that are there


# Texts that have broken readers of some kind.
NASTY: Sequence[str] = (
    "", " ", "\x00", "a\x00b", "\r\nX-Injected: 1", "\n", "\t", "\ud800", "\udfff\ud800", "\ufeff", "\u202e", "\u200b", "é", "你好",
    "👩‍💻", "1٢3", "１２", "NaN", "Infinity", "1e400", "-0", "0x10", "1_000", "true", "null", "undefined", "[]", "{}", "../../etc/passwd",
    "..%2f..%2f", "%00", "%0a", "%ff", "%", "%zz", "' OR 1=1 --", "'; DROP TABLE payment; --", "${jndi:ldap://x/a}", "{{7*7}}",
    "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "*)(uid=*", "\\", '"', "`id`", "$(id)", "a" * 5000, "9" * 400, "-" * 64,
    "4242424242424242", "pay_" + "g" * 26, "pay_" + _HEX26, "auto", "Bearer", "http://127.0.0.1/", "http://[::1/", "file:///etc/passwd",
    "2100-01-01T00:00:00Z", "2100-13-01", "9999999999999", "1795509000", "a,b", "\U000e0041", "ﬀ", "I\u0307", "\u0130",
)  # fmt: skip
VALUES: Sequence[Any] = (
    *NASTY, None, True, False, 0, -1, 1, 10**12, 10**12 + 1, 2**31, 2**63, 2**64, 10**30, 0.1, 10.0, -0.0, 1e300, [], {}, [[]], [None],
    {"": ""}, {"a": {"b": [1, {"c": None}]}}, ["x"] * 300, {"k" * 50: "v"}, {str(n): "v" for n in range(60)}, [1, "a", None, {}],
)  # fmt: skip
RAW_BODIES: Sequence[bytes] = (
    b"", b"null", b"[]", b"{", b"}", b"{}", b"nul", b'"text"', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\xff\xff", b'{"a":NaN}', b'{"a":1e400}',
    b'{"a":1,"a":2}', b'{"amount":1,"amount":2}', b"[" * 100_000, b'{"a":' * 20_000, b'{"amount":' + b"9" * 5_000 + b"}", b'{"a":"\\ud800"}',
    b'{"a":"\\u0000"}', b'{"a":"\xc3\x28"}', b"{'a':1}", b'{"a":1,}', b'{"a" 1}', b"a=b&c=d", b"way=wechat.qr", b"<?xml version='1.0'?><!DOCTYPE a>",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--", b" " * 1_000, b"0" * 70_000,
    b'{"a":"' + b"x" * 300_000 + b'"}',
)  # fmt: skip
_METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "BREW",
    "G\x00T",
    "",
)
_RAW: Sequence[bytes] = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n", b"\x00" * 64,
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET http://[::1/ HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
    b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
    b"GET / HTTP/1.1\r\n: b\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"GET /%0A HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT hub:80 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3_000 + b"\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
)  # fmt: skip


def body_for(route: str, known: Known) -> Any:
    """Return a body with which a route would do something, or {} where it needs none."""
    payee = known.ids["pye"]
    method = {"type": "qr", "channel": "auto", "payer_region": "CN"}
    order = {"merchant_order_id": "fuzz", "amount": 100, "currency": "CNY", "method": method, "description": "tea"}
    more = {
        "expires_in": 600,
        "split": [{"payee": payee, "amount": 10}],
        "metadata": {"k": "v"},
        "capture": "automatic",
    }
    tree = {"version": 1, "lines": [{"name": "farm", "payee": payee, "basis_points": 10, "when": {"method": ["qr"]}}]}
    link = {"name": "counter", "description": "tea", "currency": "CNY", "minimum": 1, "maximum": 100}
    account = {"id": "fuzz", "channel": "scripted", "credentials": {"account": "rail"}, "terms": {}, "position": 3}
    bodies: Mapping[str, Any] = {
        "POST /v1/payments": {**order, **more},
        "POST /v1/payments/{id}/refunds": {"amount": 1, "reason": "x", "merchant_refund_id": "fuzz"},
        "POST /v1/payments/{id}/capture": {"amount": 1},
        "POST /v1/payment_links": {**link, "expires_at": "2100-06-02T08:30:00Z", "max_uses": 3},
        "POST /v1/merchant_qrs": link,
        "PATCH /v1/payment_links/{id}": {"active": True, "name": "x", "max_uses": 2},
        "PATCH /v1/merchant_qrs/{id}": {"active": True, "name": "x"},
        "POST /v1/payees": {"name": "farm", "kind": "supplier", "currency": "CNY", "reference": "fuzz"},
        "PUT /v1/payees/{id}/account": {"account": "62", "bank_bic": "ICBKCNBJ", "bank_name": "icbc"},
        "POST /v1/payees/{id}/withdrawals": {"amount": 1, "currency": "CNY", "reference": "fuzz"},
        "PUT /v1/own_payees": {"currency": "CNY", "payee": None},
        "PUT /v1/split_attachments": {"to": "store", "subject": "x", "currency": "CNY", "plan": None},
        "POST /v1/split_plans": {"name": "tea", "currency": "CNY", "document": tree},
        "POST /v1/split_plans/{id}/versions": {"version": 1, "document": tree},
        "POST /v1/split_plans/{id}/activate": {"version": 1, "hash": "0" * 64},
        "POST /v1/split_plans/dry_run": {"amount": 100, "currency": "CNY", "split_plan": {"document": tree}},
        "POST /v1/channel_accounts": account,
        "PATCH /v1/channel_accounts/{id}": {"version": 99, "terms": {"fees": {"basis_points": 60}}},
        "POST /v1/channel_accounts/{id}/rotate": {"credentials": {"account": "rail"}, "keep_days": 1},
        "PUT /v1/routing_policy": {"version": 99, "policy": {}, "note": "x"},
    }
    return bodies.get(route, {})


class Generator:
    """Makes requests, one after another, all from the seed."""

    def __init__(self, seed: int, routes: Sequence[tuple[str, str]], known: Known) -> None:
        """routes: (method, path with {names}); `*` is any method."""
        self._rng = random.Random(seed)
        self._routes = routes
        self._known = known
        self._count = 0

    def next(self) -> Sent:
        """Return the next one. Routes take turns, so that none is left out however few there are."""
        rng, self._count = self._rng, self._count + 1
        if rng.random() < 0.03:
            return Sent("raw", rng.choice(_RAW), "", may_wait=True)
        method, canonical = self._routes[self._count % len(self._routes)]
        method = rng.choice(_METHODS) if method == "*" or rng.random() < 0.08 else method
        route = f"{method} {canonical}"
        path = self._path(canonical)
        target = path + self._query()
        headers, body = (
            self._headers(),
            self._body(route) if method in ("POST", "PUT", "PATCH") or rng.random() < 0.1 else b"",
        )
        if rng.random() < 0.01:
            headers.append(("Transfer-Encoding", rng.choice(["chunked", "gzip, chunked", "identity", "\x0bchunked"])))
        elif body or rng.random() < 0.5:
            length = len(body) if rng.random() < 0.985 else rng.choice([0, len(body) + 1, -1, "x", 10**20])
            headers.append(("Content-Length", str(length)))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        wire = b"\r\n".join(_bytes(line) for line in lines) + b"\r\n\r\n" + body
        mangled = rng.random() < 0.05
        if mangled:
            wire = self._mangled(wire)
        framed = ("Content-Length", str(len(body))) in headers or not body
        return Sent(f"{method} {canonical}", wire, path, method == "HEAD", mangled or not framed or _smuggles(headers))

    # ---- the parts -----------------------------------------------------------------------------------------------

    def _path(self, canonical: str) -> str:
        rng = self._rng
        path = re.sub(r"\{([a-z]+)(:[^}]*)?\}", lambda name: self._segment(canonical, name[1]), canonical)
        roll = rng.random()
        if roll < 0.03:
            path = rng.choice(
                [
                    path + "/",
                    "/" + path,
                    path.replace("/", "//", 1),
                    path + "/../x",
                    path.upper(),
                    path + "?",
                    path + "#a",
                ]
            )
        elif roll < 0.05:
            place = rng.randrange(len(path) + 1)
            path = (
                path[:place]
                + rng.choice(["%00", "%0A", "%2e%2e%2f", "%ff", "%", ";", "\\", "é", "*", "%C0%AF"])
                + path[place:]
            )
        elif roll < 0.06:
            path = rng.choice(["*", "", "http://hub" + path, "//evil.example" + path, "/" + "a" * 9_000])
        return path

    def _segment(self, canonical: str, name: str) -> str:
        rng, ids = self._rng, self._known.ids
        if rng.random() < 0.6:
            if name == "id":
                for part, prefix in (
                    ("payments", "pay"),
                    ("refunds/", "re"),
                    ("links", "lnk"),
                    ("qrs", "lnk"),
                    ("channel_accounts", ""),
                ):
                    if part in canonical:
                        return ids[prefix] if prefix else "rail"
            if name == "token":
                return rng.choice(self._known.paths).rsplit("/", 1)[1]
            return {"channel": "scripted", "book": "1", "account": "rail", "kind": "svg", "anything": "v1"}.get(
                name, "x"
            )
        if rng.random() < 0.5:
            return rng.choice(list(ids.values()))[: rng.choice([3, 29, 30, 31])] + rng.choice(["", "x", "%20", "0"])
        return _quoted(rng.choice(NASTY))

    def _query(self) -> str:
        rng = self._rng
        if rng.random() < 0.7:
            return ""
        names = ["limit", "starting_after", "status", "merchant_order_id", "payment", "after", "type", "at", "account", "lang", "seen", "note",
                 "code", "state", "back", "choose", "x", "", "%00", "limit"]  # fmt: skip
        pairs = [f"{rng.choice(names)}={_quoted(rng.choice(NASTY))}" for _ in range(rng.randint(1, 3))]
        return "?" + rng.choice(["&", "&", "&", ";", "&&"]).join(pairs)

    def _headers(self) -> list[tuple[str, str]]:
        rng, key = self._rng, self._known.key
        roll = rng.random()
        headers = [("Host", "hub")] if rng.random() < 0.97 else []
        if roll < 0.8:
            headers.append(("Authorization", f"{rng.choice(['Bearer', 'bearer', 'BEARER'])} {key}"))
        elif roll < 0.95:
            headers.append(
                (
                    "Authorization",
                    rng.choice([key, "Basic eDp5", f"Bearer{key}", f"Bearer {key[:-1]}", f"Bearer  {key} x", *NASTY]),
                )
            )
        if rng.random() < 0.85:
            mostly = f"k-{rng.randrange(10**9)}"
            headers.append(("Idempotency-Key", mostly if rng.random() < 0.9 else rng.choice(NASTY)))
        if rng.random() < 0.9:
            odd = [
                "text/plain",
                "application/json; charset=utf-7",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                *NASTY,
            ]
            headers.append(("Content-Type", "application/json" if rng.random() < 0.85 else rng.choice(odd)))
        for name, often in (("Content-Encoding", 0.02), ("Expect", 0.02), ("X-Request-Id", 0.1), ("Accept-Language", 0.05), ("Cookie", 0.05),
                            ("X-Forwarded-For", 0.05), ("Range", 0.02), ("If-None-Match", 0.02), ("Upgrade", 0.01), ("Connection", 0.03),
                            ("User-Agent", 0.1), ("Accept-Encoding", 0.02), ("Origin", 0.02)):  # fmt: skip
            if rng.random() < often:
                headers.append((name, rng.choice(NASTY)))
        if rng.random() < 0.02:
            headers.append((rng.choice(["X", "", "X Y", "X\x00", "é", "Host", "Content-Length"]), rng.choice(NASTY)))
        return headers

    def _body(self, route: str) -> bytes:
        rng = self._rng
        if rng.random() < 0.12:
            return rng.choice(RAW_BODIES)
        body = json.loads(json.dumps(body_for(route, self._known)))
        if isinstance(body.get("method"), dict) and rng.random() < 0.5:
            kind = rng.choice(["qr", "barcode", "jsapi", "h5", "app", "page", "card", "transfer", "cashier"])
            body["method"] = {
                "type": kind,
                "auth_code": "130000000000000001",
                "payer": "o",
                "token": "t",
                "client_ip": "::1",
            }
            keep = {"barcode": "auth_code", "jsapi": "payer", "card": "token", "h5": "client_ip"}.get(kind)
            body["method"] = {k: v for k, v in body["method"].items() if k in ("type", keep)}
        if "merchant_order_id" in body and rng.random() < 0.9:
            body["merchant_order_id"] = f"fuzz-{rng.randrange(10**9)}"
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            spoil(rng, body)
        text = json.dumps(body, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.02:
            text = text[: rng.randrange(len(text) + 1)]
        return text.encode("utf-8", "surrogatepass")

    def _mangled(self, wire: bytes) -> bytes:
        rng, found = self._rng, bytearray(wire)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(found)) if found else 0
            match rng.randrange(4):
                case 0 if found:
                    found[place] = rng.randrange(256)
                case 1:
                    found[place:place] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
                case 2:
                    del found[place : place + rng.randint(1, 8)]
                case _:
                    del found[place:]
        return bytes(found)


def spoil(rng: random.Random, body: Any) -> None:
    """Do something to one place of a body, however deep."""
    place = body
    while True:
        inner = [
            one
            for one in (place.values() if isinstance(place, dict) else place)
            if isinstance(one, dict | list) and one
        ]
        if not inner or rng.random() < 0.5:
            break
        place = rng.choice(inner)
    if isinstance(place, list):
        place[rng.randrange(len(place))] = _value(rng)
    elif place and rng.random() < 0.25:
        del place[rng.choice(list(place))]
    elif place and rng.random() < 0.85:
        place[rng.choice(list(place))] = _value(rng)
    else:
        place[rng.choice(["merchant_id", "status", "fee", "is_admin", "id", "created_at", *NASTY])] = _value(rng)


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(VALUES))  # what is put into one body must not be changed by the next


def _smuggles(headers: Sequence[tuple[str, str]]) -> bool:
    """Tell whether headers may make a server wait for a body that is not sent whole, or for a 100 it is asked for."""
    names = [name.lower() for name, _ in headers]
    return "transfer-encoding" in names or names.count("content-length") > 1 or any("\n" in v for _, v in headers)


def _quoted(text: str) -> str:
    return "".join(
        c if c.isascii() and c.isprintable() and c not in " #?/" else "".join(f"%{b:02X}" for b in _bytes(c))
        for c in text
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# ---- what is answered ------------------------------------------------------------------------------------------------


class Got(NamedTuple):
    """An answer as it came off the wire."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def complaint(sent: Sent, got: Got, codes: Mapping[str, Any], secret: str) -> str | None:
    """Return what is wrong with an answer, None where nothing is. codes: those of docs/problems.md."""
    if secret.encode() in got.body or any(secret in value for value in got.headers.values()):
        return "the answer holds the caller's key"
    if got.status < 400:
        return None
    if got.status >= 500 and got.status not in INTENDED:
        return f"status {got.status}"
    if got.status in (*INTENDED, 429) and "retry-after" not in got.headers:
        return f"status {got.status} without Retry-After"
    kind = got.headers.get("content-type", "")
    path = sent.path.removeprefix("http://hub")
    if path.startswith(PAGES) and kind.startswith("text/html"):
        return None
    if path.startswith("/notify/") and not kind.startswith("application/problem+json"):
        return None if got.status < 500 else f"status {got.status} to a notice"  # in the rail's own dialect
    if kind != "application/problem+json":
        return f"status {got.status} of type {kind!r}"
    return None if sent.head_only else _no_problem(got, codes)


def _no_problem(got: Got, codes: Mapping[str, Any]) -> str | None:
    try:
        said = json.loads(got.body)
    except ValueError:
        return "the problem is no JSON"
    if not isinstance(said, dict) or said.get("status") != got.status:
        return "the problem states another status"
    if said.get("code") not in codes:
        return f"the code {said.get('code')!r} is not in the documents"
    for name in ("detail", "request_id", "title", "type"):
        if not isinstance(said.get(name), str) or not said[name]:
            return f"the problem has no {name}"
    if not isinstance(said.get("retriable"), bool):
        return "the problem does not say whether to try again"
    return "the detail is a pattern" if "pattern '" in said["detail"] else None
