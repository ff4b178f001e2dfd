"""A market on a real hub and the simulated rails: a rail shares out what its plan says, its bank pays the rest."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

import splitting
from channels import HttpTransport
from channels.sharing import ReceiverKind
from gateway.api.app import make_app
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.db import acquire
from kernel.env import system_env
from ops.verify import verify
from ops.wiring import Hub, hub
from reconciliation.daily import Deposit
from reconciliation.runs import Run
from splitting.rails.worker import RailWorker
from splitting.tables import ShareOrder
from tests.contract.counterparties import Counterparty
from tests.contract.counterparty_alipay import AlipaySandbox
from tests.contract.counterparty_wechat import WeChatSandbox
from tests.support import a_sandbox

BANK = "harbour"
LINES = [
    {"name": "platform", "basis_points": 60, "travels": "rail"},
    {"name": "farm", "basis_points": 2_000, "travels": "rail"},
    {"name": "clerk", "basis_points": 300, "travels": "rail"},
    {"name": "mill", "basis_points": 4_000},
]


SANDBOXES: dict[str, type[Counterparty]] = {"wechat": WeChatSandbox, "alipay": AlipaySandbox}
METHODS: dict[str, dict[str, str]] = {
    "wechat": {"type": "qr", "channel": "wechat"},
    "alipay": {"type": "page", "channel": "alipay", "return_url": "https://shop.example/back"},
}


@dataclass
class Market:
    """A merchant whose payees are receivers at a rail, but for the mill, which has an account at the bank."""

    hub: Hub
    book: int
    http: aiohttp.ClientSession
    door: str
    rail: Counterparty
    farm: Counterparty  # as the rail knows it
    headers: dict[str, str]
    worker: RailWorker
    payees: dict[str, str] = field(default_factory=dict)
    keys: int = 0

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 0) -> Any:
        self.keys += 1
        headers = self.headers | {"Idempotency-Key": f"key-{self.keys}"}
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status == expect if expect else answer.status < 300, said
            return said

    async def control(self, path: str, **body: Any) -> Any:
        return await self.rail.control("POST", f"/control/{self.rail.RAIL}/{path}", body)

    async def fault(self, fault: str, times: int = 1, params: Any = None, **match: str) -> None:
        match["merchant"] = self.rail.merchant
        body = {"fault": fault, "rail": self.rail.RAIL, "times": times, "match": match, "params": params or {}}
        await self.rail.control("POST", "/control/faults", body)

    def document(self, lines: Any = None, **more: Any) -> dict[str, Any]:
        lines = [{**line, "payee": self.payees[str(line["name"]).partition("-")[0]]} for line in lines or LINES]
        return {"version": 1, "base": "paid", "lines": lines, **more}

    async def order(self, number: str, amount: int = 10_000, lines: Any = None, *, expect: int = 0, **more: Any) -> Any:
        body = {
            "merchant_order_id": number, "amount": amount, "currency": "CNY", "description": "茶叶",
            "method": METHODS[self.rail.RAIL], "split_plan": {"document": self.document(lines)}, **more,
        }  # fmt: skip
        return await self.call("POST", "/v1/payments", body, expect=expect)

    async def paid(self, number: str, amount: int = 10_000, lines: Any = None, **more: Any) -> str:
        """Have an order placed and paid, and its shares posted; return the payment's id."""
        payment = await self.order(number, amount, lines, **more)
        if payment["next_action"]["type"] == "redirect":
            await self.control("pay", code=payment["next_action"]["url"])
        else:
            attempts = (await self.call("GET", f"/v1/payments/{payment['id']}"))["attempts"]
            await self.control("pay", merchant=self.rail.merchant, order=attempts[-1]["reference"])
        await self.becomes(f"/v1/payments/{payment['id']}", "succeeded")
        await self.hub.splitter().once()
        return str(payment["id"])

    async def becomes(self, path: str, status: str) -> Any:
        for _ in range(2_000):
            found = await self.call("GET", path)
            if found["status"] == status:
                return found
            await self.hub.janitor().once()
            await self.hub.env.sleep(0.01)
        raise AssertionError(f"{path} is {found['status']}")

    async def orders(self, payment_id: str) -> list[Any]:
        found: list[Any] = (await self.call("GET", f"/v1/payments/{payment_id}"))["share_orders"]
        return found

    async def driven(self) -> None:
        """Work until rails have decided all that they were told."""
        for _ in range(2_000):
            await self.worker.once()
            async with acquire(self.hub.pool) as connection:
                is_open = await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM share_order WHERE due_at IS NOT NULL) "
                    "OR EXISTS (SELECT FROM share_return WHERE due_at IS NOT NULL) "
                    "OR EXISTS (SELECT FROM rail_receiver WHERE due_at IS NOT NULL)"
                )
            if not is_open:
                return
            await self.hub.env.sleep(0.01)
        raise AssertionError("the rails never decided")

    async def worked_until_sent(self, payment_id: str, count: int) -> None:
        """Work until a payment's share order has been sent so often."""
        for _ in range(2_000):
            await self.worker.once()
            if (await self.stored(payment_id))[0].sent_count >= count:
                return
            await self.hub.env.sleep(0.01)
        raise AssertionError("it was never sent")

    async def hurry(self) -> None:
        """Have what is due in a while be due now: the waits of a hub whose rail is away are no test's to sit out."""
        async with acquire(self.hub.pool) as connection:
            await connection.execute("UPDATE share_order SET sent_at = sent_at - interval '2 minutes'")

    async def stored(self, payment_id: str) -> list[ShareOrder]:
        async with acquire(self.hub.pool) as connection:
            return await splitting.rails_store.orders_of(connection, self.book, payment_id)

    async def owed(self) -> dict[str, int]:
        """Return what each account stands at, by short names."""
        names = {payee: name for name, payee in self.payees.items()}
        found = {}
        for row in (await self.call("GET", "/v1/balances"))["data"]:
            short = row["account"].removesuffix(":CNY").removeprefix("payee:")
            if row["balance"]:
                found[names.get(short, short)] = row["balance"]
        return found

    async def received(self) -> int:
        """Close the farm's day at the rail; return what came to it by then, as the rail has it."""
        closed = await self.control("close-day", merchant=self.farm.merchant, date=today(self).isoformat())
        return int(closed["net"])

    async def assert_books_hold(self) -> None:
        broken = {one.name: one.broken for one in await verify(self.hub.pool) if one.broken}
        assert not broken, broken


@asynccontextmanager
async def a_market(database_url: str, home: Path, at: str = "wechat", **more: Any) -> AsyncIterator[Market]:
    async with (
        a_sandbox(home) as rails,
        HttpTransport(addresses=LOOPBACK) as transport,
        aiohttp.ClientSession() as http,
    ):
        env = system_env(transport)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        door = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with hub(
            database_url=database_url, redis_url=None, home=home, public_url=door, time_scale=0.01, env=env
        ) as objects:
            merchant = await objects.merchants.add("a market", currencies=["CNY"])
            book = merchant.book
            rail, farm = SANDBOXES[at](rails, http), SANDBOXES[at](rails, http)
            custody = await rail.control("POST", "/control/bank/customers", {"name": "a market"})
            link = await objects.merchants.link_bank(book, BANK, custody, name="pool", currency="CNY")
            rail.account = await rail.control(
                "POST", f"/control/{at}/merchants", {"name": "market", "settle_to": link.pool_account, "fee_bp": 60}
            )
            farm.account = await rail.control("POST", f"/control/{at}/merchants", {"name": "farm"})
            await objects.channel_admin.add_by_hand(book, "main", at, rail.settings(), fee_bp=60, **more)
            runner = web.AppRunner(make_app(objects.api()), access_log=None)
            await runner.setup()
            await web.SockSite(runner, bound).start()
            headers = {"Authorization": f"Bearer {merchant.api_key}"}
            market = Market(objects, book, http, door, rail, farm, headers, objects.rail_worker())
            platform = await objects.payees.add_platform(book, name="hub", currency="CNY", bank=BANK)
            market.payees["platform"] = platform.id
            for name, bank in (("farm", {}), ("clerk", {}), ("mill", {"bank": BANK})):
                body = {"name": name, "currency": "CNY", "reference": name, **bank}
                market.payees[name] = (await market.call("POST", "/v1/payees", body))["id"]
            for name, kind, account in (
                ("farm", "merchant", farm.merchant),
                ("platform", "merchant", farm.merchant),
                ("clerk", "person", rail.payer()),
            ):
                await objects.receivers.set(
                    book, market.payees[name], "main", kind=ReceiverKind(kind), account=account,
                    name="farm" if kind == "merchant" else "", by="ada",
                )  # fmt: skip
            await market.driven()
            yield market
            await market.assert_books_hold()
            await runner.cleanup()


def today(market: Market) -> Any:
    return business_date(market.hub.env.now())


async def proved(market: Market) -> Run:
    """Close the day at the rail and at the bank; return what its daily proof finds, the rail's deposit with it."""
    day = today(market)
    await market.control("close-day", merchant=market.rail.merchant, date=day.isoformat())
    await market.rail.control("POST", "/control/bank/close-day", {"date": day.isoformat()})
    proof = market.hub.daily_proof()
    starts = {one[0]: start for start, one in (await market.hub.accounts.deposits(market.book)).items()}
    await proof.fetch_bank_files(market.book, BANK)
    deposit = Deposit([BANK], f"{starts['main']}{day:%Y%m%d}", day + timedelta(days=3))
    return await proof.channel(market.book, "main", day, currency="CNY", deposit=deposit)
