"""A day played: a merchant is taken on, orders are played, the day is cut off, settled, billed, reconciled."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, nullcontext
from datetime import date, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

import ledger
import reconciliation
import splitting
from channels import capabilities_of
from channels.powers import deposit_prefix
from kernel.clock import business_date
from kernel.db import acquire
from kernel.ids import reference
from ledger import accounts
from ops import verify
from ops.trials.replay import lacking
from ops.trials.replay.day import Day, Stage
from ops.trials.replay.faults import Disturber, Planter, Row
from ops.trials.replay.orders import HOUSE, Invoice, suppliers
from ops.trials.replay.patience import PATIENCE_S, again, until
from ops.trials.replay.rails import CAST, PAID_OUT_IN, Cable, Part, Payers, RailAccount, sign_up, trades
from ops.trials.replay.trade import Trader
from ops.trials.replay.trouble import Plan, Trouble
from ops.trials.replay.world import World
from ops.wiring import Hub
from reconciliation import Case, Run
from reconciliation.daily import Deposit
from reconciliation.states import State
from splitting.settlement.calendar import BankHours
from splitting.tables import Instruction

T = TypeVar("T")
BANK = "harbour"


class Player:
    """Plays one file through a running hub and sandbox.

    bank_turn: entered for as long as the bank's day is ours; replays that share a bank take turns there.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        sandbox_url: str,
        hub_url: str,
        session: aiohttp.ClientSession,
        stage: Stage,
        bank_turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        open_to: Callable[[int], AbstractContextManager[None]] = lambda port: nullcontext(),
        patience_s: float = PATIENCE_S,
    ) -> None:
        """open_to: has the hub call a port of this machine meanwhile, where a cable ends.

        patience_s: how long any one thing is waited for.
        """
        self._hub = hub
        self._patience_s = patience_s
        self._again = partial(again, patience_s=patience_s)
        self._until = partial(until, patience_s=patience_s)
        self._sandbox_url = sandbox_url
        self._hub_url = hub_url
        self._session = session
        self._stage = stage
        self._bank_turn = bank_turn
        self._open_to = open_to

    async def play(
        self,
        invoices: Sequence[Invoice],
        *,
        currency: str,
        faults: int,
        seed: int,
        disturb: bool,
        plan: Plan,
        cast: Sequence[Part] = CAST,
        coupons: bool = False,
    ) -> Day:
        """Return what the day came to. Raises Refused, HubFailed or PromiseBroken where it cannot go on.

        coupons: some payers have coupons, of the merchant's or of their wallet's, where a rail has them.
        """
        started = time.monotonic()
        outside = World(self._session, self._hub_url, "", self._sandbox_url, patience_s=self._patience_s)
        self._stage.begin("taking a merchant on 开户", 1)
        bank = await outside.control("POST", "/control/bank/customers", {"name": "replay"})
        merchant = await self._hub.merchants.add("replay", currencies=[currency])
        book = self._stage.book = merchant.book
        link = await self._hub.merchants.link_bank(book, BANK, bank, name="replay pool", currency=currency)
        # A planted fault has a deposit come short; the bank is to refuse a line then, so no batch waits for it.
        await self._hub.payouts.set_bank(book, BANK, BankHours(), release_above_minor=None, only_deposited=False)
        world = World(self._session, self._hub_url, merchant.api_key, self._sandbox_url, patience_s=self._patience_s)
        platform = await self._hub.payees.add_platform(book, name="platform", currency=currency, bank=BANK)
        async with _Cables(self._sandbox_url, self._open_to) as cables:
            accounts = [
                await self._account(world, part, book, link.pool_account, cables if part.channel == plan.cut else None)
                for part in cast
                if part.channel in self._hub.channels
            ]
            accounts = accounts if currency == PAID_OUT_IN else []
            payees = {name: await self._payee(world, name, currency) for name in suppliers(invoices)}
            run_id = f"replay-{book}"
            disturber = Disturber(world, accounts, on=disturb)
            planter = Planter(world, accounts, count=faults, seed=seed)
            trouble = Trouble(world, plan, accounts, cables.all, invoices, seed=seed, spares=disturber.spares)
            self._stage.step()

            self._stage.begin("orders 交易", len(invoices))
            trader = Trader(
                world, payers=Payers(world, accounts, run_id=run_id, coupons=coupons), payees=payees,
                platform=platform.id, currency=currency, run_id=run_id, seed=seed, disturber=disturber, trouble=trouble,
                step=self._stage.step,
            )  # fmt: skip
            traded = await _together(trader.play(invoices), trouble.run())
            day = Day(invoices, currency, traded, plan, accounts, book, merchant.id, faults_asked=faults)
            await self._until(
                "every payment and refund ends and is shared out", lambda: lacking.endings(self._hub.pool, book)
            )
            for account in accounts:
                if account.settings["base_url"] != account.direct_url:
                    # The rail says in its bill's answer where the file is, and the hub fetches it from there alone.
                    await self._hub.channel_admin.rotate(book, account.name, {"base_url": account.direct_url})

            self._stage.begin("cut-off and settlement 日切结算", 4)
            async with self._bank_turn():
                bank_day = await self._end_of_day(day, world, planter)
            self._stage.begin("statements and reconciliation 对账", 2)
            await self._reconcile(day, world, bank_day)
            self._stage.step()
            await self._audit(day, world)
        await self._hub.banks.end(book, BANK)  # a hub that runs on in this home has nothing to ask there
        day.disturbances = dict(await disturber.done())
        day.retries = world.retries
        self._stage.step()
        day.seconds = time.monotonic() - started
        return day

    async def _account(self, world: World, part: Part, book: int, pool: str, cables: "_Cables | None") -> RailAccount:
        """Become a rail's merchant, and have the hub call it, over a cable that can be cut where `cables` is given."""
        rail = self._hub.channels[part.channel]
        webhooks = not capabilities_of(rail).per_order_notices
        settings = await sign_up(world, part, pool=pool, hub_url=self._hub_url, book=book, webhooks=webhooks)
        base_url = str(settings["base_url"])
        if cables is not None:
            settings["base_url"] = base_url.replace(self._sandbox_url, await cables.lay())
        await self._hub.channel_admin.add_by_hand(book, part.account, part.channel, settings, fee_bp=part.fee_bp)
        channel = rail(settings)
        methods = frozenset(str(method) for method in channel.capabilities.methods)
        return RailAccount(
            part, str(settings["merchant"]), methods, deposit_prefix(channel), settings, base_url,
            channel.capabilities.merchant_coupons,
        )  # fmt: skip

    async def _end_of_day(self, day: Day, world: World, planter: Planter) -> date:
        """Close the rails' day, have deposits and our settlement booked, close the bank's day, and return it."""
        accounts = {account.name: account for account in day.accounts}
        rows = [Row(accounts[p.account], "order", p.reference, p.captured_minor) for p in day.ledger.payments]
        rows += [
            Row(accounts[r.account], "refund", reference(day.book, r.refund_id), r.minor) for r in day.ledger.refunds
        ]
        net: Counter[tuple[str, str]] = Counter()
        for payment in day.ledger.payments:
            arrives = payment.captured_minor - payment.coupon_minor - payment.fee_minor
            net[payment.account, payment.business_date] += arrives
        for refund in day.ledger.refunds:
            net[refund.account, refund.business_date] -= refund.minor
        day.dates = sorted({date.fromisoformat(on) for _, on in net})
        await planter.on_bills(rows, net, today=business_date(self._hub.env.now()).isoformat())
        for on in day.dates:
            await self._close_rails(day, world, on)
        bank_day = await self._open_bank_day(world, after=max(day.dates, default=None))
        self._stage.step()
        await self._deposits(day.book, day.currency, day.dates)
        self._stage.step()
        paid_lines = await self._settle(day, bank_day)
        self._stage.step()
        await planter.on_statement(paid_lines)
        await world.control("POST", "/control/bank/close-day", {"date": bank_day.isoformat()})
        day.planted = planter.planted
        self._stage.step()
        return bank_day

    async def _close_rails(self, day: Day, world: World, on: date) -> None:
        for account in day.accounts:
            named = {"merchant": account.merchant, "date": on.isoformat()}
            await world.control("POST", f"/control/{account.channel}/close-day", named)

    async def _payee(self, world: World, name: str, currency: str) -> str:
        kind = "merchant" if name == HOUSE else "supplier"
        shown = "the house" if name == HOUSE else f"supplier {name}"
        body = {"name": shown, "kind": kind, "currency": currency, "bank": BANK, "reference": f"payee-{name}"}
        made = await world.hub("POST", "/v1/payees", body)
        return str(made["id"])

    async def _open_bank_day(self, world: World, after: date | None) -> date:
        """Close the bank's days up to the last business date; return the bank's day after."""
        today = date.fromisoformat((await world.control("GET", "/control/bank"))["date"])
        if after is not None and today <= after:
            await world.control("POST", "/control/bank/close-day", {"date": after.isoformat()})
            today = date.fromisoformat((await world.control("GET", "/control/bank"))["date"])
        return today

    async def _deposits(self, book: int, currency: str, dates: Sequence[date]) -> None:
        """Wait until the worker has read the channel's deposits from the bank and booked them."""
        link = await self._again(lambda: self._hub.banks.link(book, BANK))
        client = self._hub.banks.client(link)

        if dates:
            await self._until(
                "every deposit of the channels at the bank is booked",
                lambda: lacking.deposits(self._hub.pool, client, link, currency),
            )

    async def _settle(self, day: Day, bank_day: date) -> list[tuple[str, str]]:
        """Have the bank pay every date's shares; return (end-to-end id, account) of the lines it paid."""
        paid: list[tuple[str, str]] = []
        for on in day.dates:
            lines = await self._settle_one(day, on, bank_day)
            for line in lines:
                if line.status == "paid":
                    paid.append((line.id, line.account))
                    day.settled_minor += line.amount_minor
                else:
                    code = line.reason or "?"
                    day.refused_lines[code] = day.refused_lines.get(code, 0) + 1
        return paid

    async def _settle_one(self, day: Day, on: date, bank_day: date) -> list[Instruction]:
        """Have a business date's batch made and sent, wait for the bank's word on it, and return its lines."""
        over = self._hub.env.now()  # the rails' day and the bank's are over, whatever the hour
        batch = await self._again(
            lambda: self._hub.banks.settle(day.book, BANK, on, day.currency, execution_date=bank_day, not_before=over)
        )
        if batch is None:
            return []
        made = batch.id

        async def lines() -> list[Instruction]:
            async with acquire(self._hub.pool) as connection:
                return await splitting.store.instructions(connection, day.book, made)

        await self._until(
            f"the bank decides settlement {made}",
            lambda: lacking.decisions(self._hub.pool, day.book, made, bank_day),
        )
        return await self._again(lines)

    async def _reconcile(self, day: Day, world: World, bank_day: date) -> None:
        """Prove every date, and the day after each for rows that come late; run twice, which must change nothing."""
        proof = self._hub.daily_proof()
        await self._again(lambda: proof.fetch_bank_files(day.book, BANK))
        late = [d + timedelta(days=1) for d in day.dates if d + timedelta(days=1) not in day.dates]
        for on in late:
            await self._close_rails(day, world, on)
        names = {
            (account.name, on): name for account in day.accounts for on in day.dates if (name := account.deposit(on))
        }

        async def channel(account: RailAccount, on: date) -> Run:
            name = names.get((account.name, on))
            deposit = Deposit([BANK], name, bank_day) if name else None
            return await proof.channel(day.book, account.name, on, currency=day.currency, deposit=deposit)

        async def bank() -> Run:
            ids = frozenset(names.values())
            return await proof.bank(day.book, BANK, bank_day, currency=day.currency, deposit_ids=ids)

        async def cases() -> list[Case]:
            async with acquire(self._hub.pool) as connection:
                return await reconciliation.discrepancies(
                    connection, day.book, now=self._hub.env.now(), states=list(State), limit=10_000
                )

        for _ in range(2):
            runs = [
                await self._again(partial(channel, account, on))
                for account in day.accounts
                for on in [*day.dates, *late]
            ]
            if day.dates:
                runs.append(await self._again(bank))
        # The first of a late row's two days is judged again once the second is known, so only the second round counts.
        if any(run.moves for run in runs):
            moved = ", ".join(
                f"{run.counterparty} of {run.business_date}: {len(run.moves)}" for run in runs if run.moves
            )
            day.broken.append(f"reconciling again gave another result; discrepancies moved: {moved}")
        for case in await self._again(cases):
            if case.state is State.EXPLAINED:
                day.explained += 1
            else:
                day.found.append((case.key.reference, str(case.kind)))

    async def _balance(self, day: Day, name: str) -> int:
        async with acquire(self._hub.pool) as connection:
            found = await ledger.store.find_account(connection, day.book, name)
        return 0 if found is None else found.balance

    async def _audit(self, day: Day, world: World) -> None:
        """Hold the hub against the rails' own truth and against its own words, and check every invariant."""
        for account in day.accounts:
            day.hold_against(account, await trades(world, account))
        listed = [found async for found in world.listed("/v1/payments")]
        listed += [found async for found in world.listed("/v1/refunds")]
        day.acknowledged = len(world.witness.told)
        day.acknowledged_lost = world.witness.judge(listed)

        async def totals() -> tuple[list[splitting.store.PayeeTotal], Mapping[str, int]]:
            async with acquire(self._hub.pool) as connection:
                return (
                    await splitting.store.payee_totals(connection, day.book, day.currency),
                    await ledger.store.rule_totals(connection, day.book, day.currency),
                )

        day.shares, by_rule = await self._again(totals)
        day.captured_minor = by_rule.get("payment_captured", 0)
        day.refunded_minor = by_rule.get("refund", 0)
        day.fee_minor = (
            by_rule.get("channel_fee", 0) + by_rule.get("channel_fee_kept", 0) - by_rule.get("channel_fee_returned", 0)
        )
        day.coupon_minor = by_rule.get("merchant_coupon", 0) - by_rule.get("merchant_coupon_back", 0)
        # The merchant account keeps what stands in the account of coupons (docs/decisions/0019).
        own = await self._again(lambda: self._balance(day, accounts.merchant(day.currency)))
        day.coupon_rounding_minor = own - day.coupon_minor if day.coupon_minor else 0
        day.refund_cost_minor = by_rule.get("refund_cost", 0) - by_rule.get("refund_cost_undone", 0)
        verdicts = await self._again(lambda: verify.verify(self._hub.pool))
        day.invariants = {"checked": len(verdicts), "broken": sum(1 for v in verdicts if v.broken)}
        day.broken += [f"{v.name}: {why}" for v in verdicts for why in v.broken[:3]]


async def _together(trading: Coroutine[Any, Any, T], trouble: Coroutine[Any, Any, None]) -> T:
    """Wait for both; when one fails the other is stopped, and the failure is the caller's."""
    first, second = asyncio.create_task(trading), asyncio.create_task(trouble)
    try:
        await asyncio.wait([first, second], return_when=asyncio.FIRST_EXCEPTION)
        if second.done():
            second.result()
        return await first
    finally:
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


class _Cables:
    """The cables of one play, taken up again when it is over."""

    def __init__(self, sandbox_url: str, open_to: Callable[[int], AbstractContextManager[None]]) -> None:
        self._to = urlsplit(sandbox_url)
        self._open_to = open_to
        self._opened = ExitStack()
        self.all: list[Cable] = []

    async def __aenter__(self) -> "_Cables":
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._opened:
            for cable in self.all:
                await cable.take_up()

    async def lay(self) -> str:
        """Return the address of a new cable to the sandbox."""
        cable = Cable(self._to.hostname or "127.0.0.1", self._to.port or 80)
        self.all.append(cable)
        address = await cable.lay()
        self._opened.enter_context(self._open_to(urlsplit(address).port or 80))
        return address
