"""PayPal through the hub's own door: the payer approves, the hub makes the second call, and the day is proven."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from channels import HttpTransport
from gateway.api.app import make_app
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.env import system_env
from kernel.ids import base36
from ops.wiring import Hub, hub


@pytest.fixture(scope="module")
def rail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulated PayPal; each test has a merchant of its own there."""
    home = str(tmp_path_factory.mktemp("sandbox"))
    command = [sys.executable, "-m", "sandbox", "--home", home, "--port", "0", "--time-scale", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@dataclass
class Day:
    """A hub, a merchant with an account at the simulated PayPal, and that merchant's payers."""

    hub: Hub
    book: int
    http: aiohttp.ClientSession
    door: str
    rail: str
    headers: dict[str, str]
    merchant: str
    keys: int = 0

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self.keys += 1
        headers = self.headers | {"Idempotency-Key": f"key-{self.keys}"}
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        status, said = await self.send(method, path, body)
        assert status < 300, said
        return said

    async def control(self, path: str, **body: Any) -> Any:
        async with self.http.post(f"{self.rail}/control/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def fault(self, name: str, reference: str, op: str, *, times: int = 1, **params: Any) -> None:
        match = {"merchant": self.merchant, "order": reference, "op": op}
        await self.control("faults", fault=name, rail="paypal", match=match, times=times, params=params)

    async def page(self, number: str, amount: int, currency: str = "CNY", **more: Any) -> Any:
        """Ask for a payment by page."""
        payment = await self.call(
            "POST",
            "/v1/payments",
            {
                "merchant_order_id": number,
                "amount": amount,
                "currency": currency,
                "method": {"type": "page", "return_url": "https://shop.example/thanks"},
                "description": "茶叶",
                **more,
            },
        )
        assert payment["next_action"]["type"] == "redirect"
        return payment

    async def reference(self, payment: Any) -> str:
        """Return the number by which PayPal knows a payment."""
        return str((await self.call("GET", f"/v1/payments/{payment['id']}"))["attempts"][-1]["reference"])

    async def approves(self, payment: Any) -> None:
        """Be the payer, on PayPal's page."""
        url = payment["next_action"]["url"]
        async with self.http.get(url) as page:
            assert "<form" in await page.text()
        async with self.http.post(url, data={"choice": "pay"}, allow_redirects=False) as back:
            assert back.headers["Location"].startswith("https://shop.example/thanks?token=")

    async def becomes(self, path: str, status: str) -> Any:
        async def look() -> Any:
            found = await self.call("GET", path)
            return found if found["status"] == status else None

        return await until(look)

    async def trade(self, payment: Any) -> Any:
        wanted = await self.reference(payment)
        async with self.http.get(f"{self.rail}/control/paypal/trades?merchant={self.merchant}") as answer:
            return next(trade for trade in (await answer.json())["trades"] if trade["order"] == wanted)


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(10_000):
        if found := await look():
            return found
        await asyncio.sleep(0.02)  # another process has no event to wait for
    raise AssertionError("it never came to that")


@asynccontextmanager
async def a_day(database_url: str, home: Path, rail: str) -> AsyncIterator[Day]:
    async with HttpTransport(addresses=LOOPBACK) as transport, aiohttp.ClientSession() as http:
        env = system_env(transport)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        door = f"http://127.0.0.1:{bound.getsockname()[1]}"
        opened = hub(database_url=database_url, redis_url=None, home=home, public_url=door, env=env, time_scale=0.01)
        async with opened as objects:
            merchant = await objects.merchants.add("a shop", currencies=["CNY", "USD"])
            async with http.post(f"{rail}/control/paypal/merchants", json={"fee_bp": 440}) as answer:
                settings = await answer.json()
            url = f"{door}/notify/paypal/{base36(merchant.book)}/pp"
            hook = {"merchant": settings["merchant"], "url": url}
            async with http.post(f"{rail}/control/paypal/webhooks", json=hook) as answer:
                settings |= await answer.json()
            await objects.channel_admin.add_by_hand(merchant.book, "pp", "paypal", settings, fee_bp=440)
            runner = web.AppRunner(make_app(objects.api()), access_log=None)
            await runner.setup()
            await web.SockSite(runner, bound).start()
            headers = {"Authorization": f"Bearer {merchant.api_key}"}
            yield Day(objects, merchant.book, http, door, rail, headers, settings["merchant"])
            await runner.cleanup()


async def test_a_day_with_paypal_from_the_page_to_the_proof(database_url: str, tmp_path: Path, rail: str) -> None:
    """No one asks PayPal anything here: its notices lead to each next step."""
    async with a_day(database_url, tmp_path, rail) as day:
        paid = await day.page("order-1", 10_000)
        await day.approves(paid)
        told = await day.becomes(f"/v1/payments/{paid['id']}", "succeeded")
        assert (told["amount_captured"], told["channel_fee"]) == (10_000, 440)

        reserved = await day.page("order-2", 5_000, capture="manual")
        await day.approves(reserved)
        held = await day.becomes(f"/v1/payments/{reserved['id']}", "requires_capture")
        assert held["amount_capturable"] == 5_000
        captured = await day.call("POST", f"/v1/payments/{reserved['id']}/capture", {"amount": 3_000})
        assert (captured["status"], captured["amount_captured"]) == ("succeeded", 3_000)

        released = await day.page("order-3", 700, capture="manual")
        await day.approves(released)
        await day.becomes(f"/v1/payments/{released['id']}", "requires_capture")
        assert (await day.call("POST", f"/v1/payments/{released['id']}/void"))["status"] == "canceled"

        for payment, amount in ((paid, 2_500), (paid, 7_500), (reserved, 1_000)):
            refund = await day.call("POST", f"/v1/payments/{payment['id']}/refunds", {"amount": amount})
            await day.becomes(f"/v1/refunds/{refund['id']}", "succeeded")

        today = business_date(day.hub.env.now())
        await day.control("paypal/close-day", merchant=day.merchant, date=today.isoformat())
        run = await day.hub.daily_proof().channel(day.book, "pp", today, currency="CNY")
        assert run.discrepancies == ()
        assert sum(run.matched.values()) == 5, "two payments and three refunds"
        assert [(await day.trade(payment))["charged_count"] for payment in (paid, reserved, released)] == [1, 1, 0]


async def test_without_notices_and_with_answers_lost_the_janitor_brings_it_to_the_same_end(
    database_url: str, tmp_path: Path, rail: str
) -> None:
    async with a_day(database_url, tmp_path, rail) as day:
        payment = await day.page("order-1", 10_000)
        reference = await day.reference(payment)
        for op in ("approved", "paid"):
            await day.fault("notice_drop", reference, op, times=100)
        await day.fault("answer_lost", reference, "proceed")
        await day.approves(payment)
        janitor = day.hub.janitor()

        async def paid() -> bool:
            await janitor.once()
            return (await day.call("GET", f"/v1/payments/{payment['id']}"))["status"] == "succeeded"

        await until(paid)
        assert (await day.trade(payment))["charged_count"] == 1


async def test_a_payer_whose_card_is_declined_has_paid_nothing(database_url: str, tmp_path: Path, rail: str) -> None:
    async with a_day(database_url, tmp_path, rail) as day:
        payment = await day.page("order-1", 10_000, "USD")
        await day.fault("refuse", await day.reference(payment), "proceed", code="INSTRUMENT_DECLINED")
        await day.approves(payment)
        failed = await day.becomes(f"/v1/payments/{payment['id']}", "failed")
        assert failed["failure"]["code"] == "INSTRUMENT_DECLINED"
        assert (await day.trade(payment))["charged_count"] == 0


async def test_who_approves_what_the_merchant_has_closed_is_not_charged(
    database_url: str, tmp_path: Path, rail: str
) -> None:
    """PayPal cannot close an order. It takes no money either unless we capture, and what has ended is not captured."""
    async with a_day(database_url, tmp_path, rail) as day:
        payment, other = await day.page("order-1", 10_000), await day.page("order-2", 100)
        assert (await day.call("POST", f"/v1/payments/{payment['id']}/close"))["status"] == "canceled"
        await day.approves(payment)
        await day.approves(other)
        await day.becomes(f"/v1/payments/{other['id']}", "succeeded")

        async def told() -> bool:
            url = f"{day.rail}/control/paypal/notices?merchant={day.merchant}"
            async with day.http.get(url) as answer:
                states = [notice["state"] for notice in (await answer.json())["notices"]]
            return len(states) == 3 and set(states) == {"acknowledged"}

        await until(told)
        assert (await day.call("GET", f"/v1/payments/{payment['id']}"))["status"] == "canceled"
        assert (await day.trade(payment))["charged_count"] == 0


async def test_what_is_approved_at_the_last_moment_is_paid_rather_than_closed(
    database_url: str, tmp_path: Path, rail: str
) -> None:
    async with a_day(database_url, tmp_path, rail) as day:
        payment = await day.page("order-1", 10_000)
        await day.fault("notice_drop", await day.reference(payment), "approved", times=100)
        await day.approves(payment)
        status, said = await day.send("POST", f"/v1/payments/{payment['id']}/close")
        assert (status, said["code"]) == (409, "payment_ended")
        assert (await day.call("GET", f"/v1/payments/{payment['id']}"))["status"] == "succeeded"
        assert (await day.trade(payment))["charged_count"] == 1
