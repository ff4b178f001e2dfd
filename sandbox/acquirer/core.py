"""One rail's acquirer as one object: the parts, and what joins them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from sandbox import coupons
from sandbox.acquirer import page
from sandbox.acquirer.bills import Bills
from sandbox.acquirer.control import AcquirerControl
from sandbox.acquirer.days import Days, PayingBank
from sandbox.acquirer.disputes import Disputes
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.guard import Guard
from sandbox.acquirer.merchants import Merchants
from sandbox.acquirer.models import Trade
from sandbox.acquirer.notices import Notices
from sandbox.acquirer.refunds import Refunds
from sandbox.acquirer.trades import Trades
from sandbox.acquirer.wire import Wire
from sandbox.context import SandboxContext
from sandbox.store import Tx

T = TypeVar("T")


def make_room(ctx: SandboxContext) -> None:
    """Make the tables of the books that all rails share."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    ctx.store.add_column("acquirer_flow", "extra", "TEXT")
    coupons.install(ctx)


class Acquirer:
    """Everything about a rail's simulated money that is not its wire format."""

    def __init__(
        self,
        ctx: SandboxContext,
        wire: Wire,
        bank: PayingBank,
        control: type[AcquirerControl] = AcquirerControl,
    ) -> None:
        make_room(ctx)
        ctx.faults.also_called(wire.rail, wire.words)
        ctx.faults.spell(wire.rail, ("order", "refund", *wire.also_matched), wire.spelled)
        self.ctx, self.wire = ctx, wire
        self.merchants = Merchants(ctx, wire)
        self.notices = Notices(ctx, wire, self.merchants)
        self.trades = Trades(ctx, wire, self.notices)
        self.refunds = Refunds(ctx, wire, self.merchants, self.trades, self.notices)
        self.disputes = Disputes(ctx, wire, self.merchants, self.trades, self.notices)
        self.bills = Bills(ctx, wire)
        self.days = Days(ctx, wire, self.merchants, bank)
        self.guard = Guard(ctx, wire)
        self.control = control(self)
        self._due = asyncio.Event()

    async def install(self, app: web.Application) -> None:
        """Add control routes, payer's pages and background work; make a default merchant if there is none."""
        wire, ctx = self.wire, self.ctx
        self.control.add_to(app)
        app.router.add_get(f"/sandbox/{wire.rail}/pay/{{token}}", self._ask_payer)
        app.router.add_post(f"/sandbox/{wire.rail}/pay/{{token}}", self._hear_payer)
        if not self.merchants.all():
            await self.merchants.create(
                name="default merchant",
                fee_bp=wire.fee_bp,
                fixed_fee_minor=wire.fixed_fee_minor,
                settle_to=None,
                wishes={},
            )
        merchants = self.merchants.all()
        ctx.info[wire.rail] = {
            "base_url": ctx.base_url,
            "default_merchant": merchants[0].merchant,
            "merchants": [self.control.described(merchant) for merchant in merchants],
        }

        async def start(_: web.Application) -> None:
            ctx.spawn(f"{wire.rail}: send notices", self.notices.run())
            ctx.spawn(f"{wire.rail}: end refunds and orders", self._run_due())
            ctx.spawn(f"{wire.rail}: close days", self.days.run())

        app.on_startup.append(start)

    async def write(self, command: Callable[[Tx], T]) -> T:
        """Run `command` in one transaction; what it makes due is looked after once it is durable."""
        result = await self.ctx.store.write(command)
        self.notices.wake()
        self._due.set()
        return result

    def page_url(self, trade: Trade) -> str:
        """Return the address of the payer's page for an order."""
        return f"{self.ctx.base_url}/sandbox/{self.wire.rail}/pay/{trade.token}"

    async def pay(self, trade: Trade, payer: str | None) -> Trade:
        """Be the payer who says yes. Raises CoreError."""
        return await self.write(lambda tx: self.wire.payer_pays(tx, self, self.trades.by_id(tx, trade.trade_id), payer))

    async def decline(self, trade: Trade) -> Trade:
        """Be the payer who says no. Raises CoreError."""
        return await self.write(lambda tx: self.wire.payer_declines(tx, self, self.trades.by_id(tx, trade.trade_id)))

    async def _ask_payer(self, request: web.Request) -> web.StreamResponse:
        trade = self.trades.find_by(self.ctx.store, "token", request.match_info["token"])
        if trade is None:
            return page.show("404", "<p>no such order</p>", 404)
        return page.ask(self.wire.rail, trade, request.path)

    async def _hear_payer(self, request: web.Request) -> web.StreamResponse:
        trade = self.trades.find_by(self.ctx.store, "token", request.match_info["token"])
        if trade is None:
            return page.show("404", "<p>no such order</p>", 404)
        choice = (await request.post()).get("choice")
        try:
            trade = await (self.pay(trade, None) if choice == "pay" else self.decline(trade))
        except CoreError as refusal:
            trade = refusal.trade or trade
        return self.wire.after_payer(trade) or page.ended(self.wire.rail, trade)

    async def _run_due(self) -> None:
        """End refunds and orders when their time has come, for as long as the sandbox lives."""
        while True:
            self._due.clear()
            wait_s = await self.ctx.store.write(self._end_due)
            self.notices.wake()
            try:
                await asyncio.wait_for(self._due.wait(), wait_s)
            except TimeoutError:
                continue

    def _end_due(self, tx: Tx) -> float | None:
        """End what is due now; return the seconds until the next, None if there is none."""
        self.trades.expire_due(tx)
        self.refunds.end_due(tx)
        others_ms = self.wire.end_due(tx, self)
        row = tx.one(
            "SELECT min(at) AS at FROM (SELECT min(settles_ms) AS at FROM acquirer_refund"
            " WHERE rail = ? AND settles_ms IS NOT NULL UNION ALL SELECT min(expires_ms) FROM acquirer_trade"
            " WHERE rail = ? AND expires_ms IS NOT NULL UNION ALL SELECT min(due_ms) FROM acquirer_return"
            " WHERE rail = ? AND due_ms IS NOT NULL)",
            *(self.wire.rail, self.wire.rail, self.wire.rail),
        )
        assert row is not None
        moments = [at for at in (row["at"], others_ms) if at is not None]
        return max(0.0, (min(moments) - self.ctx.clock.now_ms()) / 1000) if moments else None
