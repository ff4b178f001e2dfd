"""A day with Alipay, through the hub's own door: codes, a page, money given back, lost messages, the proof."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from channels import HttpTransport
from gateway.api.app import make_app
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.env import Clock, system_env
from ops.wiring import Hub, hub
from tests.support import a_sandbox


@dataclass
class Day:
    """A hub, a merchant with an account at the simulated Alipay, and that merchant's payers."""

    hub: Hub
    book: int
    http: aiohttp.ClientSession
    door: str
    rail: str
    headers: dict[str, str]
    seller_id: str
    keys: int = 0

    async def call(self, method: str, path: str, body: Any = None, expect: int = 0) -> Any:
        self.keys += 1
        headers = self.headers | {"Idempotency-Key": f"key-{self.keys}"}
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status == expect if expect else answer.status < 300, said
            return said

    async def control(self, path: str, **body: Any) -> Any:
        async with self.http.post(f"{self.rail}/control/alipay/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def fault(self, fault: str, times: int = 1, **match: str) -> None:
        body = {"fault": fault, "rail": "alipay", "times": times, "match": {"merchant": self.seller_id, **match}}
        async with self.http.post(f"{self.rail}/control/faults", json=body) as answer:
            assert answer.status < 300, await answer.text()

    async def asks(self, number: str, amount: int, **method: str) -> Any:
        """Ask for a payment."""
        wanted = {
            "merchant_order_id": number,
            "amount": amount,
            "currency": "CNY",
            "method": method,
            "description": "茶叶, Tea / 50%",
        }
        return await self.call("POST", "/v1/payments", wanted)

    async def becomes(self, path: str, status: str) -> Any:
        """Look until it has that status, with the janitor asking in between."""

        async def look() -> Any:
            found = await self.call("GET", path)
            if found["status"] != status:
                await self.hub.janitor().once()
            return found if found["status"] == status else None

        return await until(look)

    async def truth(self) -> dict[str, Any]:
        async with self.http.get(f"{self.rail}/control/alipay/trades?merchant={self.seller_id}") as answer:
            return {trade["order"]: trade for trade in (await answer.json())["trades"]}


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(10_000):
        if found := await look():
            return found
        await asyncio.sleep(0.02)  # another process has no event to wait for
    raise AssertionError("it never came to that")


@asynccontextmanager
async def a_day(database_url: str, home: Path, **account: Any) -> AsyncIterator[Day]:
    async with a_sandbox(home) as rail, HttpTransport(addresses=LOOPBACK) as transport, aiohttp.ClientSession() as http:
        env = system_env(transport)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        door = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with hub(
            database_url=database_url,
            redis_url=None,
            home=home,
            public_url=door,
            time_scale=0.01,
            env=env,
            max_skew=None,
        ) as objects:
            merchant = await objects.merchants.add("a shop", currencies=["CNY"])
            async with http.post(f"{rail}/control/alipay/merchants", json={"fee_bp": 60, **account}) as answer:
                settings = await answer.json()
            await objects.channel_admin.add_by_hand(merchant.book, "ali", "alipay", settings, fee_bp=60)
            runner = web.AppRunner(make_app(objects.api()), access_log=None)
            await runner.setup()
            await web.SockSite(runner, bound).start()
            headers = {"Authorization": f"Bearer {merchant.api_key}"}
            yield Day(objects, merchant.book, http, door, rail, headers, settings["seller_id"])
            await runner.cleanup()


async def test_a_day_with_alipay_from_the_code_to_the_proof(database_url: str, tmp_path: Path) -> None:
    async with a_day(database_url, tmp_path) as day:
        shown = await day.asks("order-1", 10_000, type="qr")
        assert shown["next_action"]["type"] == "qr"
        await day.hub.janitor().once()
        assert (await day.call("GET", f"/v1/payments/{shown['id']}"))["next_action"] == shown["next_action"]
        await day.control("pay", code=shown["next_action"]["code"])
        told = await day.becomes(f"/v1/payments/{shown['id']}", "succeeded")
        assert (told["amount_captured"], told["channel_fee"]) == (10_000, 60)

        scanned = await day.asks("order-2", 1_234, type="barcode", auth_code="280000000000000007")
        assert scanned["status"] == "succeeded"

        page = await day.asks("order-3", 5_000, type="page", return_url="https://shop.example/thanks")
        async with day.http.get(page["next_action"]["url"]) as opened:
            assert "50.00 CNY" in await opened.text()
        await day.control("pay", code=page["next_action"]["url"])
        await day.becomes(f"/v1/payments/{page['id']}", "succeeded")

        # Three refunds of one payment: in the notices and answers of the later ones Alipay states the sum of all.
        for amount in (1_000, 2_000, 7_000):
            refund = await day.call("POST", f"/v1/payments/{shown['id']}/refunds", {"amount": amount})
            await day.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        assert (await day.call("GET", f"/v1/payments/{shown['id']}"))["refund_status"] == "full"

        today = business_date(day.hub.env.now())
        await day.control("close-day", merchant=day.seller_id, date=today.isoformat())
        run = await day.hub.daily_proof().channel(day.book, "ali", today, currency="CNY")
        assert run.discrepancies == ()
        assert sum(run.matched.values()) == 6, "three payments and three refunds"
        charged = sorted((trade["paid"], trade["charged_count"]) for trade in (await day.truth()).values())
        assert charged == [(1_234, 1), (5_000, 1), (10_000, 1)]


async def test_a_day_of_lost_messages_ends_as_the_rail_says(database_url: str, tmp_path: Path) -> None:
    """Certificates, a change of them at noon, every notice lost, and answers lost on the way."""
    async with a_day(database_url, tmp_path, certificates=True) as day:
        await day.fault("notice_drop", times=100)
        await day.fault("answer_lost", op="create")
        first = await day.asks("order-1", 700, type="barcode", auth_code="280000000000000017")
        assert (await day.becomes(f"/v1/payments/{first['id']}", "succeeded"))["amount_captured"] == 700

        await day.control("rotate-keys")
        second = await day.asks("order-2", 800, type="qr")
        await day.control("pay", code=second["next_action"]["code"])
        await day.becomes(f"/v1/payments/{second['id']}", "succeeded")
        await day.fault("answer_lost", op="refund")
        refund = await day.call("POST", f"/v1/payments/{second['id']}/refunds", {"amount": 800})
        await day.becomes(f"/v1/refunds/{refund['id']}", "succeeded")

        asked = await day.asks("order-3", 900, type="barcode", auth_code="280000000000000018")
        assert asked["status"] in ("processing", "requires_action")
        closed = await day.call("POST", f"/v1/payments/{asked['id']}/close")
        assert closed["status"] == "canceled"

        unseen = await day.asks("order-4", 1_000, type="qr")
        refused = await day.call("POST", f"/v1/payments/{unseen['id']}/close", expect=409)
        assert refused["code"] == "not_closed_yet", "nobody has scanned the code, so there is nothing to close yet"
        assert refused["expires_at"] == unseen["expires_at"]
        await day.control("scan", code=unseen["next_action"]["code"])
        closed = await day.call("POST", f"/v1/payments/{unseen['id']}/close")
        assert closed["status"] == "canceled"

        today = business_date(day.hub.env.now())
        await day.control("close-day", merchant=day.seller_id, date=today.isoformat())
        run = await day.hub.daily_proof().channel(day.book, "ali", today, currency="CNY")
        assert run.discrepancies == ()
        assert sum(run.matched.values()) == 3
        charged = sorted((trade["paid"], trade["charged_count"]) for trade in (await day.truth()).values())
        assert charged == [(0, 0), (0, 0), (700, 1), (800, 1)]


class Ahead:
    """A clock that is ahead of another."""

    def __init__(self, clock: Clock, ahead: timedelta) -> None:
        self._clock, self._ahead = clock, ahead

    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()


async def test_a_reversal_whose_answer_was_lost_is_asked_for_again_where_a_query_does_not_tell(
    database_url: str, tmp_path: Path
) -> None:
    """Paid and closed, says Alipay: given back by our reversal, or by refunds? Reversing once more tells."""
    async with a_day(database_url, tmp_path, tells_reversals=False) as day:
        await day.fault("notice_drop", times=100)
        asked = await day.asks("order-1", 900, type="barcode", auth_code="280000000000000018")
        (reference,) = await day.truth()
        await day.control("pay", merchant=day.seller_id, order=reference)
        await day.fault("answer_lost", op="reverse")
        refused = await day.call("POST", f"/v1/payments/{asked['id']}/close", expect=409)
        assert refused["code"] == "not_closed_yet"
        day.hub.env.clock = Ahead(day.hub.env.clock, timedelta(minutes=1))
        found = await day.becomes(f"/v1/payments/{asked['id']}", "canceled")
        assert found["amount_captured"] == 0

        today = business_date(day.hub.env.now())
        await day.control("close-day", merchant=day.seller_id, date=today.isoformat())
        run = await day.hub.daily_proof().channel(day.book, "ali", today, currency="CNY")
        assert run.discrepancies == ()
        assert [(one["paid"], one["charged_count"]) for one in (await day.truth()).values()] == [(900, 1)]
