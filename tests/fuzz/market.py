"""A hub with two merchants on the scripted rail, each with something of every kind, and an operator who keeps it open.

What a payment meets follows from its amount: see `Fate`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import splitting
from channels.contract import Dispute, DisputeStatus, Outcome, Pending, Refused
from gateway.payments.chargebacks import RecordChargeback
from gateway.tables import ATTEMPTS
from kernel.db import acquire
from kernel.money import Money
from splitting import BankLink, LinkBank, MakeSettlement, Payee
from splitting.rails.limits import RAILS
from splitting.store import Owed
from tests.fuzz.api_steering import BANK
from tests.gateway.front import Front, Rail, a_front, an_order

NORTH, SOUTH = "north", "south"
FEW = 4
TICK_S = 0.3  # of the machine's time, and of the hub's


class Fate(Rail):
    """A rail on which an amount's last digit decides: 7 is refused, 8 waits for the payer, all else is paid at once."""

    def _answer(self, op: str, order: Any) -> Outcome:
        amount = getattr(order, "amount", None)
        if op in ("pay", "query") and amount is not None:
            if getattr(order, "authorize_only", False):
                return Pending(channel_ref=f"auth-{order.reference}", authorized=amount)
            if amount.minor % 10 == 7:
                return Refused("NOT_ENOUGH", "the payer has not enough")
            if amount.minor % 10 == 8:
                return Pending(next_action={"type": "qr", "code": "weixin://pay"})
        if op == "refund" and amount is not None and amount.minor % 10 == 6:
            return Refused("NO_BALANCE", "the merchant's account is empty")
        return super()._answer(op, order)


PLAN = {"version": 1, "lines": [{"name": "house", "basis_points": 100}]}


@dataclass
class Market:
    """The hub, and who is on it."""

    front: Front
    books: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        host, port = self.front.address
        return f"http://{host}:{port}"

    async def keep_open(self) -> None:
        """Let time pass, and give each merchant back what it cannot do without: its account and its routing policy."""
        hub = self.front.hub
        while True:
            await asyncio.sleep(TICK_S)
            for book in self.books.values():
                account = await hub.channel_admin.get(book, "rail")
                if account.state != "enabled":
                    await hub.channel_admin.set_state(book, "rail", "enabled")
                for plan in await hub.split_plans.listed(book, limit=FEW):
                    if plan.active is None and plan.versions < FEW:  # a version that a key of the tester's may activate
                        await hub.split_plans.add(book, plan.id, document=PLAN, maker="ada")
                for payee in await self._suspended(book):
                    await hub.payees.resume(book, payee, by="operator")
                policy = await hub.routing_policies.current(book)
                if policy is not None and policy.policy not in ("{}", ""):
                    await hub.routing_policies.set(book, {}, note="as it was")
            await self.front.later(TICK_S)
            await self.front.share_out()

    async def _suspended(self, book: int) -> list[str]:
        """Return the payees at the bank that the tester has suspended: who has money there is to withdraw some."""
        async with acquire(self.front.hub.pool) as connection:
            found = await splitting.store.payees(connection, book)
        return [payee.id for payee in found if payee.suspended_at is not None and payee.bank == BANK]


async def _stock(front: Front, book: int, key: str, number: str) -> None:
    """Give a merchant what no request makes: a bank, a payee there, a sale that is shared out, and a settlement of it.

    And a few payments and refunds in each state that few requests lead to.
    """
    await front.hub.lanes.put(LinkBank(BankLink(book, BANK, f"60{number * 10}", "{}", "{}")))
    payee = f"pye_{number * 26}"
    registered = Payee(book, payee, "farm", "supplier", "CNY", BANK, f"62{number * 10}", front.clock.now())
    await front.hub.lanes.put(splitting.CreatePayee(registered))

    async def post(path: str, body: Any, wanted: str) -> str:
        answer = await front.post(path, body, key=front.new_key(), Authorization=f"Bearer {key}")
        assert (answer.status, answer.body["status"]) == (201, wanted), answer
        return str(answer.body["id"])

    split = [{"payee": payee, "basis_points": 3_000}]
    await post("/v1/payments", an_order("stock", 10_000, split=split), "succeeded")
    page = {"type": "page", "return_url": "https://shop.example/thanks"}
    for count in range(FEW):
        await post("/v1/payments", an_order(f"waits-{count}", 1_008), "requires_action")
        await post("/v1/payments", an_order(f"held-{count}", 1_000, method=page, capture="manual"), "requires_capture")
        # Each failed refund is of a payment of its own, all of which the rail refuses to refund at once: else one full
        # refund would leave nothing that a retry of any could be of.
        sold = await post("/v1/payments", an_order(f"sold-{count}", 1_006), "succeeded")
        await post(f"/v1/payments/{sold}/refunds", {"amount": 16}, "failed")
    await front.share_out()
    today = (front.clock.now() + timedelta(hours=8)).date()
    owed = [Owed(payee, 1_000, 0)]
    made = MakeSettlement(book, BANK, today, today + timedelta(days=1), "CNY", owed, front.clock.now())
    await front.hub.lanes.put(made)
    async with acquire(front.hub.pool) as connection:
        (line,) = await splitting.store.instructions(connection, book, made.id)
    await front.hub.lanes.put(splitting.DecideInstruction(book, line.id, True, None, today))
    own = {"account": "9558801001", "bank_bic": "ICBKCNBJXXX", "bank_name": "icbc"}
    await front.hub.withdrawals.bind(book, payee, **own, by="ada")
    await front.hub.withdrawals.ask(book, payee, number="stock", amount_minor=100, currency="CNY", by="ada")
    sold = await post("/v1/payments", an_order("disputed", 1_000), "succeeded")
    async with acquire(front.hub.pool) as connection:
        (attempt,) = await ATTEMPTS.load(connection, [(book, sold, 1)])
    yuan, now = Money(100, "CNY"), front.clock.now()
    dispute = Dispute(
        f"dp-{number}", None, str(attempt.channel_ref), DisputeStatus.OPENED, yuan, Money(0, "CNY"), "fraud", now
    )
    await front.hub.lanes.put(RecordChargeback(book, sold, 1, "rail", dispute))


@asynccontextmanager
async def a_market(database_url: str, home: Path) -> AsyncIterator[Market]:
    """Open the market; when the test has done what it wanted, every invariant of both books must hold."""
    shares = patch.dict(RAILS, scripted=RAILS["wechat"])  # type: ignore[arg-type]  # as if this rail shared out
    async with a_front(database_url, home, rail=Fate()) as front:
        south = await front.hub.merchants.add("the other shop", currencies=["CNY"])
        await front.hub.channel_admin.add_by_hand(south.book, "rail", "scripted", {}, fee_bp=60)
        keys: Mapping[str, str] = {NORTH: front.shop.key, SOUTH: south.api_key}
        market = Market(front, {NORTH: front.book, SOUTH: south.book}, dict(keys))
        for number, name in enumerate((NORTH, SOUTH)):
            book = market.books[name]
            await front.hub.channel_admin.add_by_hand(book, f"{name}-2", "scripted", {"account": "rail"}, fee_bp=60)
            await _stock(front, book, market.keys[name], str(number))
        keeping = asyncio.create_task(market.keep_open())
        try:
            with shares:
                yield market
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
