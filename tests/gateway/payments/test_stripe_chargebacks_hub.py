"""Chargebacks of Stripe's through the hub's own door: events come over HTTP, and the day agrees with Stripe's books."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from channels import HttpTransport
from channels.contract import RefundFee
from gateway.accounts.terms import FeeSchedule, Terms
from gateway.api.app import make_app
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.env import system_env
from kernel.ids import base36
from ops.verify import verify
from ops.wiring import Hub, hub
from tests.contract.counterparty_stripe import StripeSandbox
from tests.gateway.front import DoorServer, shared_out
from tests.support import a_sandbox

FARM = "farm"


@dataclass
class Day:
    """A hub in this process, the simulated Stripe in another, and a shop with an account there."""

    hub: Hub
    book: int
    http: aiohttp.ClientSession
    door: str
    key: str
    stripe: StripeSandbox
    asked: int = 0

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self.asked += 1
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": f"key-{self.asked}"}
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        status, said = await self.send(method, path, body)
        assert status < 300, said
        return said

    async def sold(self, number: str, payee: str) -> tuple[str, str]:
        """Sell something by card, a third of it the payee's; return the payment's id and its number at Stripe."""
        payment = await self.call("POST", "/v1/payments", {
            "merchant_order_id": number, "amount": 10_000, "currency": "CNY", "description": "tea",
            "method": {"type": "card", "token": "pm_card_visa"}, "split": [{"payee": payee, "basis_points": 3_000}],
        })  # fmt: skip
        paid = await self.becomes(f"/v1/payments/{payment['id']}", "succeeded")
        await shared_out(self.hub)
        return paid["id"], paid["attempts"][0]["reference"]

    async def becomes(self, path: str, status: str) -> Any:
        async def look() -> Any:
            found = await self.call("GET", path)
            return found if found["status"] == status else None

        return await until(look)

    async def chargeback(self, payment: str, status: str) -> Any:
        """Return the payment's chargeback once Stripe's own events have brought it there."""

        async def look() -> Any:
            found = (await self.call("GET", f"/v1/chargebacks?payment={payment}"))["data"]
            return found[0] if found and found[0]["status"] == status else None

        return await until(look)

    async def standing(self) -> dict[str, int]:
        rows = (await self.call("GET", "/v1/balances"))["data"]
        return {row["account"]: row["balance"] for row in rows if row["balance"]}

    async def acknowledged(self) -> list[str]:
        """Return the types of the dispute's events once Stripe has each acknowledged."""

        async def look() -> Any:
            told = await self.stripe.control("GET", f"/control/stripe/notices?merchant={self.stripe.merchant}")
            found = [one for one in told["notices"] if one["event"] == "disputed"]
            return found if found and all(one["state"] == "acknowledged" for one in found) else None

        return [one["event"] for one in await until(look)]


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(5_000):
        if found := await look():
            return found
        await asyncio.sleep(0.02)  # another process has no event to wait for
    raise AssertionError("it never came to that")


@asynccontextmanager
async def a_day(database_url: str, home: Path) -> AsyncIterator[Day]:
    port = unused_port()
    door = f"http://127.0.0.1:{port}"
    async with (
        a_sandbox(home) as rails,
        HttpTransport(addresses=LOOPBACK) as transport,
        aiohttp.ClientSession() as http,
        hub(
            database_url=database_url, redis_url=None, home=home, public_url=door, time_scale=0.01,
            env=system_env(transport),
        ) as objects,
    ):  # fmt: skip
        stripe = StripeSandbox(rails, http)
        await stripe.open_account()
        merchant = await objects.merchants.add("a tea house", currencies=["CNY"])
        await stripe.register_notices(f"{door}/notify/stripe/{base36(merchant.book)}/cards")
        terms = Terms(fees=FeeSchedule(290, 30, refund_fee=RefundFee.KEPT))
        await objects.channel_admin.add_by_hand(merchant.book, "cards", "stripe", stripe.settings(), terms=terms)
        async with DoorServer(make_app(objects.api()), port=port):
            yield Day(objects, merchant.book, http, door, merchant.api_key, stripe)
        broken = {verdict.name: verdict.broken for verdict in await verify(objects.pool) if verdict.broken}
        assert not broken, broken


@pytest.mark.parametrize("fault", [None, "notice_duplicate", "notice_forged", "notice_reordered"])
async def test_a_dispute_of_stripes_goes_through_the_hub_and_is_in_the_days_proof(
    database_url: str, tmp_path: Path, fault: str | None
) -> None:
    async with a_day(database_url, tmp_path) as day:
        farm = (await day.call("POST", "/v1/payees", {"name": FARM, "currency": "CNY", "reference": FARM}))["id"]
        won, reference = await day.sold("order-1", farm)
        lost, other = await day.sold("order-2", farm)
        before = await day.standing()
        if fault is not None:
            for one in (reference, other):
                await day.stripe.notice_fault(fault, one)
        first = await day.stripe.dispute(reference)
        row = await day.chargeback(won, "opened")
        assert (row["amount"], row["chargeback_fee"], row["channel_ref"]) == (10_000, 1_500, first["dispute"])
        status, refused = await day.send("POST", f"/v1/payments/{won}/refunds", {})
        assert (status, refused["code"]) == (422, "payment_charged_back")
        assert (await day.standing())[f"payee:{farm}:CNY"] == before[f"payee:{farm}:CNY"] // 2
        second = await day.stripe.dispute(other, minor=4_000)
        await day.chargeback(lost, "opened")
        await day.stripe.end_dispute(first["dispute"], "won", fee_back=True)
        await day.stripe.end_dispute(second["dispute"], "lost")
        await day.chargeback(won, "won")
        assert (await day.chargeback(lost, "lost"))["ended_date"] is not None
        assert len(await day.acknowledged()) == 2 + 2 + 2 + 1
        events = (await day.call("GET", "/v1/events?limit=100"))["data"]
        told = sorted(one["type"] for one in events if one["type"].startswith("chargeback."))
        assert told == ["chargeback.lost", "chargeback.opened", "chargeback.opened", "chargeback.won"]
        today = business_date(day.hub.env.now())
        await day.stripe.close_day(today)
        run = await day.hub.daily_proof().channel(day.book, "cards", today, currency="CNY")
        assert [(one.kind, one.key.reference, one.verdict.detail) for one in run.discrepancies] == []
        assert sum(run.matched.values()) == 2 + 2 + 1
