"""A day with UnionPay, through the hub's own door: pages, a reservation, money given back, and the day's proof."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from channels import HttpTransport
from gateway.api.app import make_app
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.env import system_env
from ops.wiring import Hub, hub
from tests.support import a_sandbox

HELD = {"capture": "manual"}


@dataclass
class Day:
    """A hub, a merchant with an account at the simulated UnionPay, and that merchant's payers."""

    hub: Hub
    book: int
    http: aiohttp.ClientSession
    door: str
    rail: str
    headers: dict[str, str]
    mer_id: str
    keys: int = 0

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        self.keys += 1
        headers = self.headers | {"Idempotency-Key": f"key-{self.keys}"}
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status < 300, said
            return said

    async def control(self, path: str, **body: Any) -> Any:
        async with self.http.post(f"{self.rail}/control/unionpay/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def fault(self, fault: str, times: int = 1, params: Any = None, **match: str) -> None:
        match["merchant"] = self.mer_id
        body = {"fault": fault, "rail": "unionpay", "times": times, "match": match, "params": params or {}}
        async with self.http.post(f"{self.rail}/control/faults", json=body) as answer:
            assert answer.status < 300, await answer.text()

    async def page(self, number: str, amount: int, **more: Any) -> Any:
        """Ask for a payment by page, and have the payer's browser go there."""
        payment = await self.call(
            "POST",
            "/v1/payments",
            {
                "merchant_order_id": number,
                "amount": amount,
                "currency": "CNY",
                "method": {"type": "page", "return_url": "https://shop.example/thanks"},
                "description": "茶叶",
                **more,
            },
        )
        action = payment["next_action"]
        assert action["type"] == "form"
        async with self.http.post(action["url"], data=action["fields"]) as page:
            assert "<form" in await page.text()
        return payment

    async def pays(self, payment: Any) -> None:
        attempts = (await self.call("GET", f"/v1/payments/{payment['id']}"))["attempts"]
        await self.control("pay", merchant=self.mer_id, order=attempts[-1]["reference"])

    async def becomes(self, path: str, status: str) -> Any:
        async def look() -> Any:
            found = await self.call("GET", path)
            if found["status"] != status:
                await self.hub.janitor().once()
            return found if found["status"] == status else None

        return await until(look)

    async def truth(self) -> dict[str, Any]:
        async with self.http.get(f"{self.rail}/control/unionpay/trades?merchant={self.mer_id}") as answer:
            return {trade["order"]: trade for trade in (await answer.json())["trades"]}


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(10_000):
        if found := await look():
            return found
        await asyncio.sleep(0.02)  # another process has no event to wait for
    raise AssertionError("it never came to that")


@asynccontextmanager
async def a_day(database_url: str, home: Path) -> AsyncIterator[Day]:
    async with a_sandbox(home) as rail, HttpTransport(addresses=LOOPBACK) as transport, aiohttp.ClientSession() as http:
        env = system_env(transport)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        door = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with hub(
            database_url=database_url, redis_url=None, home=home, public_url=door, time_scale=0.01, env=env
        ) as objects:
            merchant = await objects.merchants.add("a shop", currencies=["CNY"])
            async with http.post(f"{rail}/control/unionpay/merchants", json={"fee_bp": 60}) as answer:
                settings = await answer.json()
            await objects.channel_admin.add_by_hand(merchant.book, "up", "unionpay", settings, fee_bp=60)
            runner = web.AppRunner(make_app(objects.api()), access_log=None)
            await runner.setup()
            await web.SockSite(runner, bound).start()
            headers = {"Authorization": f"Bearer {merchant.api_key}"}
            yield Day(objects, merchant.book, http, door, rail, headers, settings["mer_id"])
            await runner.cleanup()


async def test_a_day_with_unionpay_from_the_page_to_the_proof(database_url: str, tmp_path: Path) -> None:
    async with a_day(database_url, tmp_path) as day:
        paid = await day.page("order-1", 10_000)
        await day.pays(paid)
        told = await day.becomes(f"/v1/payments/{paid['id']}", "succeeded")
        assert (told["amount_captured"], told["channel_fee"]) == (10_000, 60)

        reserved = await day.page("order-2", 5_000, capture="manual")
        await day.pays(reserved)
        held = await day.becomes(f"/v1/payments/{reserved['id']}", "requires_capture")
        assert held["amount_capturable"] == 5_000
        captured = await day.call("POST", f"/v1/payments/{reserved['id']}/capture", {"amount": 3_000})
        assert (captured["status"], captured["amount_captured"]) == ("succeeded", 3_000)

        released = await day.page("order-3", 700, capture="manual")
        await day.pays(released)
        await day.becomes(f"/v1/payments/{released['id']}", "requires_capture")
        assert (await day.call("POST", f"/v1/payments/{released['id']}/void"))["status"] == "canceled"

        refunds = [
            await day.call("POST", f"/v1/payments/{payment['id']}/refunds", {"amount": amount})
            for payment, amount in ((paid, 10_000), (reserved, 1_000))
        ]
        for refund in refunds:
            await day.becomes(f"/v1/refunds/{refund['id']}", "succeeded")

        today = business_date(day.hub.env.now())
        await day.control("close-day", merchant=day.mer_id, date=today.isoformat())
        run = await day.hub.daily_proof().channel(day.book, "up", today, currency="CNY")
        assert run.discrepancies == ()
        assert sum(run.matched.values()) == 4, "two payments and two refunds"
        charged = sorted((trade["paid"], trade["charged_count"]) for trade in (await day.truth()).values())
        assert charged == [(0, 0), (3_000, 1), (10_000, 1)]


async def test_a_day_of_lost_messages_ends_as_unionpay_says(database_url: str, tmp_path: Path) -> None:
    """Every notice lost, and the answers too: what a question is answered must be enough for every kind of message."""
    async with a_day(database_url, tmp_path) as day:
        await day.fault("notice_drop", times=1000)
        payments = {}
        for number, more in (("bought", {}), ("undone", {}), ("captured", HELD), ("released", HELD)):
            payment = payments[number] = await day.page(number, 1_000, **more)
            await day.pays(payment)
        for number, payment in payments.items():
            status = "succeeded" if number in ("bought", "undone") else "requires_capture"
            await day.becomes(f"/v1/payments/{payment['id']}", status)

        for op, number, status in (("capture", "captured", "succeeded"), ("void", "released", "canceled")):
            await day.fault("answer_lost", op=op)
            path = f"/v1/payments/{payments[number]['id']}"
            await day.call("POST", f"{path}/{op}")
            await day.becomes(path, status)

        for number, amount in (("bought", 300), ("undone", 1_000), ("captured", 400)):
            await day.fault("answer_lost", op="refund")
            refund = await day.call("POST", f"/v1/payments/{payments[number]['id']}/refunds", {"amount": amount})
            await day.becomes(f"/v1/refunds/{refund['id']}", "succeeded")

        truth = (await day.truth()).values()
        given_back = sorted(refund["amount"] for trade in truth for refund in trade["refunds"])
        assert given_back == [300, 400, 1_000]
        assert sorted((trade["paid"], trade["charged_count"]) for trade in truth) == [(0, 0)] + 3 * [(1_000, 1)]


async def test_an_undo_that_the_payers_bank_refuses_is_asked_for_again_as_a_refund(
    database_url: str, tmp_path: Path
) -> None:
    async with a_day(database_url, tmp_path) as day:
        payment = await day.page("order-1", 1_000)
        await day.pays(payment)
        await day.becomes(f"/v1/payments/{payment['id']}", "succeeded")
        await day.fault("refuse", op="refund", params={"code": "61"})
        refund = await day.call("POST", f"/v1/payments/{payment['id']}/refunds", {})
        assert (refund["status"], refund["failure"]["code"]) == ("failed", "61")
        await day.call("POST", f"/v1/refunds/{refund['id']}/retry")
        await day.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        today = business_date(day.hub.env.now())
        await day.control("close-day", merchant=day.mer_id, date=today.isoformat())
        run = await day.hub.daily_proof().channel(day.book, "up", today, currency="CNY")
        assert run.discrepancies == ()
