"""Bad requests over every route and header: no 5xx but the intended ones, and every refusal a problem document.

`make badrequests` sends 100,000; here a few thousand, always the same ones. The seed and the first requests that were
answered wrongly are printed and written to SLUICE_BAD_REQUESTS_JSON where that is set.
"""

import asyncio
import importlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from channels import CHANNELS, BadNotice, Channel
from kernel.env import Response
from tests.fuzz.bad_requests import NASTY, RAW_BODIES, Generator, Got, Known, Sent, complaint, spoil
from tests.gateway.api.test_problems_page import CODES
from tests.gateway.front import Front, a_front

COUNT = int(os.environ.get("SLUICE_BAD_REQUESTS", "3000"))
SEED = int(os.environ.get("SLUICE_BAD_REQUESTS_SEED", "20261129"))
SHOWN = 20  # offending requests that are kept
AT_ONCE = 12
MORE_S = 0.3  # how long to wait for the answer to bytes that may promise more than they bring
ANSWER_S = 60.0  # only to end what hangs


def routes_of(front: Front) -> list[tuple[str, str]]:
    """Return (method, path) of every route the application has."""
    app = front.client.app
    assert app is not None
    return sorted({(route.method, resource.canonical) for resource in app.router.resources() for route in resource})


async def known_of(front: Front) -> Known:
    """Make one thing of each kind, so that requests find something."""
    link = {"name": "counter", "description": "tea", "currency": "CNY"}
    paid = await front.paid("known")
    refund, payee = await front.refund(paid, 10), await front.payee("farm")
    made = await front.post("/v1/payment_links", link, key="link")
    cashier = await front.pay("cashier", method={"type": "cashier"})
    pages = [made.body["url"], cashier.body["next_action"]["url"]]
    ids = {"pay": paid, "re": refund.body["id"], "lnk": made.body["id"], "pye": payee}
    key = front.shop.headers["Authorization"].split()[1]
    return Known(key, ids, ["/" + url.split("/", 3)[3] for url in pages])


async def answer_to(front: Front, sent: Sent) -> Got | None:
    """Send bytes on a connection of their own; return the first answer, None where the connection ended without one."""
    reader, writer = await asyncio.open_connection(*front.address)
    try:
        writer.write(sent.wire)
        return await asyncio.wait_for(_read(reader, sent), MORE_S if sent.may_wait else ANSWER_S)
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    except TimeoutError:
        if sent.may_wait:
            return None
        raise
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, sent: Sent) -> Got:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if status >= 200:
            break
    length = 0 if sent.head_only or status in (204, 304) else int(headers.get("content-length", 0))
    return Got(status, headers, await reader.readexactly(length))


async def play(front: Front, count: int, seed: int) -> dict[str, Any]:
    """Send so many; return what was answered, by status and code, and what was wrong."""
    known = await known_of(front)
    generator = Generator(seed, routes_of(front), known)
    statuses: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    offending: list[dict[str, Any]] = []
    left = count

    async def sender() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            sent = generator.next()
            wrong: str | None = None
            try:
                got = await answer_to(front, sent)
            except (TimeoutError, ValueError) as error:
                got, wrong = None, f"no answer that can be read: {error!r}"
            statuses[str(got.status) if got is not None else "none"] += 1
            reached[sent.route] += 1
            if got is None and wrong is None and not sent.may_wait:
                wrong = "the connection ended without an answer"
            if got is not None:
                wrong = complaint(sent, got, CODES, known.key)
                if got.headers.get("content-type") == "application/problem+json" and got.body:
                    codes[str(json.loads(got.body).get("code"))] += 1
            if wrong is not None:
                offending.append(
                    {
                        "why": wrong,
                        "route": sent.route,
                        "sent": repr(sent.wire[:600]).replace(known.key, "sk_…"),
                        "got": repr(got)[:600],
                    }
                )

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return {
        "seed": seed, "count": count, "statuses": dict(sorted(statuses.items())), "codes": dict(codes.most_common()),
        "wrong": len(offending), "offending": offending[:SHOWN], "reached": dict(reached),
    }  # fmt: skip


async def test_every_bad_request_is_answered_with_a_problem_and_none_breaks_anything(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_front(database_url, tmp_path) as front:  # which then holds the books against every invariant
        found = await play(front, COUNT, SEED)
        routes = routes_of(front)
        assert (await front.get("/v1/payments")).status == 200, "and the hub goes on serving"
    told = json.dumps({name: value for name, value in found.items() if name != "reached"}, indent=1, ensure_ascii=False)
    if "SLUICE_BAD_REQUESTS_JSON" in os.environ:
        await asyncio.to_thread(Path(os.environ["SLUICE_BAD_REQUESTS_JSON"]).write_text, told)
        with capsys.disabled():
            print(told)
    assert not found["wrong"], told
    assert sum(found["statuses"].values()) == COUNT
    # What was sent was bad in many ways, and reached every route there is.
    assert len(found["codes"]) >= 25, told
    missed = [f"{method} {path}" for method, path in routes if method not in ("*", "HEAD")
              and f"{method} {path}" not in found["reached"]]  # fmt: skip
    assert not missed


def test_requests_follow_from_the_seed() -> None:
    def made(seed: int) -> list[Sent]:
        known = Known("sk_x", {"pay": "pay_1", "re": "re_1", "lnk": "lnk_1", "pye": "pye_1"}, ["/pay/x"])
        generator = Generator(seed, [("GET", "/v1/payments/{id}"), ("POST", "/v1/payments")], known)
        return [generator.next() for _ in range(200)]

    assert made(1) == made(1)
    assert made(1) != made(2)


# ---- notices: every rail reads strangers' bytes ----------------------------------------------------------------------


def built(name: str) -> Channel:
    """Return a rail as its own tests build it."""
    return CHANNELS[name](importlib.import_module(f"tests.channels.{name}.{name}_rail").settings())


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_no_strangers_notice_is_believed_by_a_rail_or_breaks_it(name: str) -> None:
    rail, rng = built(name), random.Random(SEED)
    names = [
        "wechatpay-signature",
        "wechatpay-timestamp",
        "wechatpay-nonce",
        "wechatpay-serial",
        "stripe-signature",
        "bank-signature",
        "paypal-transmission-sig",
        "paypal-transmission-id",
        "paypal-transmission-time",
        "paypal-cert-url",
        "paypal-auth-algo",
    ]
    forms = [b"sign=x&sign_type=RSA2", b"signature=x&signMethod=01&respCode=00", b"a=%ff", b"a=1&a=2", b"&&="]
    for _ in range(400):
        headers = {one: rng.choice(NASTY) for one in rng.sample(names, rng.randrange(len(names)))}
        if rng.random() < 0.5:
            body: Any = {
                "id": "x",
                "resource": {"ciphertext": "x"},
                "event_type": "x",
                "type": "x",
                "data": {"object": {}},
            }
            spoil(rng, body)
            raw = json.dumps(body).encode("utf-8", "surrogatepass")
        else:
            raw = rng.choice([*RAW_BODIES, *forms])
        with pytest.raises(BadNotice):
            rail.notice(Response(200, headers, raw), now=datetime(2026, 11, 24, 8, 30, tzinfo=UTC))


SENT = Sent("GET /v1/payments", b"", "/v1/payments")
PROBLEM = {
    "type": "t",
    "title": "t",
    "status": 404,
    "code": "no_such_route",
    "detail": "d",
    "retriable": False,
    "request_id": "r",
}


def problem(**changes: Any) -> Got:
    body = {**PROBLEM, **changes}
    return Got(404, {"content-type": "application/problem+json"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good._replace(status=500),
        lambda good: good._replace(status=503),
        lambda good: good._replace(status=429),
        lambda good: good._replace(headers={"content-type": "text/plain"}),
        lambda good: good._replace(headers={}),
        lambda good: good._replace(body=b"404: Not Found"),
        lambda good: good._replace(body=good.body + b" sk_secret"),
        lambda good: good._replace(headers={**good.headers, "x": "sk_secret"}),
        lambda _: problem(code="made_up"),
        lambda _: problem(detail=""),
        lambda _: problem(request_id=None),
        lambda _: problem(status=400),
        lambda _: problem(retriable="no"),
        lambda _: problem(detail="String should match pattern '^a$'"),
    ],
)
def test_a_wrong_answer_is_noticed(change: Callable[[Got], Got]) -> None:
    good = problem()
    assert complaint(SENT, good, CODES, "sk_secret") is None
    assert complaint(SENT, change(good), CODES, "sk_secret") is not None
