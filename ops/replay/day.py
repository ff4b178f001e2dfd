"""The day as a whole: a merchant is taken on, orders are played, the day is cut off, settled, billed, reconciled."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any, TypeVar

import aiohttp

import ledger
import reconciliation
import splitting
import streams
from gateway.store import open_counts
from kernel.db import AGAIN, LOST, acquire
from kernel.errors import Unavailable
from kernel.ids import reference
from ledger import accounts
from ops import verify
from ops.merchants import add_channel_account, add_merchant, add_platform_payee, link_bank
from ops.replay.faults import Disturber, Planted, Planter
from ops.replay.orders import HOUSE, Invoice, net_minor, suppliers
from ops.replay.trade import Ledger, Trader
from ops.replay.world import PATIENCE_S, World
from ops.wiring import Hub
from reconciliation import Case, Run
from reconciliation.daily import Deposit
from reconciliation.states import State
from splitting.tables import Instruction

T = TypeVar("T")
BANK = "harbour"
FEE_BP = 60


@dataclass(slots=True)
class Stage:
    """Somebody to tell what is happening."""

    begin: Callable[[str, int], None]  # (what, how many steps)
    step: Callable[[], None]


@dataclass(slots=True)
class Day:
    """Everything a replay came to; `summary()` is what goes into the file."""

    invoices: Sequence[Invoice]
    currency: str
    ledger: Ledger
    book: int = 0
    merchant: str = ""
    captured_minor: int = 0
    refunded_minor: int = 0
    fee_minor: int = 0
    shares: list[splitting.store.PayeeTotal] = field(default_factory=list)
    settled_minor: int = 0
    refused_lines: dict[str, int] = field(default_factory=dict)
    dates: list[date] = field(default_factory=list)
    faults_asked: int = 0
    planted: list[Planted] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)  # (reference, kind) of every discrepancy
    explained: int = 0
    disturbances: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    acknowledged: int = 0  # payments and refunds the merchant API told us of
    acknowledged_lost: list[str] = field(default_factory=list)  # what became of some of them that must not be
    charged_twice: list[str] = field(default_factory=list)
    unknown_charges: list[str] = field(default_factory=list)
    invariants: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def refused_minor(self) -> int:
        return sum(invoice.amount_minor for found in self.ledger.refused.values() for invoice in found)

    @property
    def missed(self) -> list[Planted]:
        """Every planted fault that no discrepancy of its own speaks of."""
        left, missed = Counter(self.found), []
        for fault in self.planted:
            if left[fault.reference, fault.expected_kind]:
                left[fault.reference, fault.expected_kind] -= 1
            else:
                missed.append(fault)
        return missed

    @property
    def invented(self) -> list[tuple[str, str]]:
        """Every discrepancy, as (reference, kind), that no planted fault accounts for."""
        expected = Counter((fault.reference, fault.expected_kind) for fault in self.planted)
        return list((Counter(self.found) - expected).elements())

    def hold_against_the_channel(self, trades: Sequence[Mapping[str, Any]]) -> None:
        """Compare what the hub says was paid with the channel's own truth about whom it charged.

        Whoever was charged for an order that did not succeed must have all of it back.
        """
        paid = {payment.reference for payment in self.ledger.payments}
        charges = {trade["out_trade_no"]: trade["charged_count"] for trade in trades}
        returned = {
            trade["out_trade_no"]: sum(one["refund"] for one in trade["refunds"] if one["status"] != "ABNORMAL")
            for trade in trades
        }
        self.charged_twice += [ref for ref, count in charges.items() if count > 1]
        self.unknown_charges += [
            trade["out_trade_no"]
            for trade in trades
            if trade["charged_count"]
            and trade["out_trade_no"] not in paid
            and returned[trade["out_trade_no"]] != trade["total"]
        ]
        self.broken += [f"paid, but nobody was charged: {ref}" for ref in sorted(paid) if not charges.get(ref)]

    def shares_minor(self) -> dict[str, int]:
        """Return what each payee ends with, refunds taken back; the channel's fee is a share like any other."""
        shares = {payee.name: payee.shares_minor - payee.taken_back_minor for payee in self.shares}
        return shares | {"channel fee": self.fee_minor}

    def wrongs(self) -> list[str]:
        """Return every reason why this day is not as it must be; empty for a good day."""
        wrong = []
        net = net_minor(self.invoices)
        if self.captured_minor - self.refunded_minor + self.refused_minor != net:
            wrong.append(
                f"captured {self.captured_minor} − refunded {self.refunded_minor} + refused {self.refused_minor} "
                f"is not the file's {net}"
            )
        if sum(self.shares_minor().values()) != self.captured_minor - self.refunded_minor:
            wrong.append("the shares do not sum to what was captured less what was refunded")
        not_ended = [invoice.number for invoice in self.invoices if invoice.number not in self.ledger.ended]
        if not_ended:
            wrong.append(f"{len(not_ended)} invoices did not end: {', '.join(not_ended[:5])}")
        wrong += [f"missed: {fault.fault} on {fault.reference}" for fault in self.missed]
        wrong += [f"invented: {kind} on {ref}" for ref, kind in self.invented]
        wrong += [f"charged twice: {ref}" for ref in self.charged_twice]
        wrong += [f"charged, unknown to the hub: {ref}" for ref in self.unknown_charges]
        wrong += [f"acknowledged, but {what}" for what in self.acknowledged_lost]
        return wrong + self.broken

    def summary(self) -> dict[str, Any]:
        """Return the figures for machines."""
        how = list(self.ledger.ended.values())
        return {
            "invoices": len(self.invoices),
            "paid": how.count("paid"),
            "refunded": how.count("refunded"),
            "refused": {reason: len(found) for reason, found in sorted(self.ledger.refused.items())},
            "currency": self.currency,
            "captured_minor": self.captured_minor,
            "refunded_minor": self.refunded_minor,
            "refused_minor": self.refused_minor,
            "file_net_minor": net_minor(self.invoices),
            "shares_minor": self.shares_minor(),
            "settled_minor": self.settled_minor,
            "settlement_lines_refused": self.refused_lines,
            "business_dates": [day.isoformat() for day in self.dates],
            "faults_asked": self.faults_asked,
            "faults_planted": len(self.planted),
            "discrepancies_found": len(self.found),
            "discrepancies_missed": len(self.missed),
            "discrepancies_invented": len(self.invented),
            "discrepancies_explained": self.explained,
            "faults": [
                {
                    "fault": fault.fault,
                    "reference": fault.reference,
                    "found_as": " and ".join(kind for ref, kind in self.found if ref == fault.reference) or None,
                }
                for fault in self.planted
            ],
            "disturbances": dict(sorted(self.disturbances.items())),
            "retries": self.retries,
            "charged_twice": len(self.charged_twice),
            "unknown_charges": len(self.unknown_charges),
            "acknowledged": self.acknowledged,
            "acknowledged_lost": len(self.acknowledged_lost),
            "invariants": self.invariants,
            "wrongs": self.wrongs(),
            "book": self.book,
            "seconds": round(self.seconds, 2),
        }


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
    ) -> None:
        self._hub = hub
        self._sandbox_url = sandbox_url
        self._hub_url = hub_url
        self._session = session
        self._stage = stage
        self._bank_turn = bank_turn

    async def play(self, invoices: Sequence[Invoice], *, currency: str, faults: int, seed: int, disturb: bool) -> Day:
        """Return what the day came to. Raises Refused or TimeoutError where it cannot go on."""
        started = time.monotonic()
        outside = World(self._session, self._hub_url, "", self._sandbox_url)
        self._stage.begin("taking a merchant on 开户", 1)
        bank = await outside.control("POST", "/control/bank/customers", {"name": "replay"})
        merchant = await add_merchant(self._hub, "replay", currencies=[currency])
        book = merchant.book
        link = await link_bank(self._hub, book, BANK, bank, name="replay pool", currency=currency)
        wechat = await outside.control(
            "POST",
            "/control/wechat/merchants",
            {"name": "replay", "fee_bp": FEE_BP, "settle_to": link.pool_account},
        )
        mchid = wechat["mchid"]
        await add_channel_account(
            self._hub, book, "main", "wechat", {"base_url": self._sandbox_url, **wechat}, fee_bp=FEE_BP
        )
        world = World(self._session, self._hub_url, merchant.api_key, self._sandbox_url)
        platform = await add_platform_payee(self._hub, book, name="platform", currency=currency, bank=BANK)
        payees = {name: await self._payee(world, name, currency) for name in suppliers(invoices)}
        disturber = Disturber(world, mchid=mchid, on=disturb)
        planter = Planter(world, mchid=mchid, count=faults, seed=seed)
        self._stage.step()

        self._stage.begin("orders 交易", len(invoices))
        trader = Trader(
            world, mchid=mchid, payees=payees, platform=platform.id, currency=currency,
            run_id=f"replay-{book}", seed=seed, disturber=disturber, step=self._stage.step,
        )  # fmt: skip
        day = Day(invoices, currency, await trader.play(invoices), book, merchant.id, faults_asked=faults)
        await self._quiet(book)

        self._stage.begin("cut-off and settlement 日切结算", 4)
        async with self._bank_turn():
            bank_day = await self._end_of_day(day, world, planter, mchid)
        self._stage.begin("statements and reconciliation 对账", 2)
        await self._reconcile(day, world, mchid, bank_day)
        self._stage.step()
        await self._audit(day, world, mchid)
        day.disturbances = dict(await disturber.done())
        day.retries = world.retries
        self._stage.step()
        day.seconds = time.monotonic() - started
        return day

    async def _end_of_day(self, day: Day, world: World, planter: Planter, mchid: str) -> date:
        """Close the channel's day, have its deposit and our settlement booked, close the bank's day, and return it."""
        payments = [(payment.reference, payment.captured_minor) for payment in day.ledger.payments]
        refunds = [(reference(day.book, refund_id), minor) for refund_id, minor, _ in day.ledger.refunds]
        net: Counter[str] = Counter()
        for payment in day.ledger.payments:
            net[payment.business_date] += payment.captured_minor
        for _, minor, refunded_on in day.ledger.refunds:
            net[refunded_on] -= minor
        day.dates = sorted(map(date.fromisoformat, net))
        await planter.on_bill(payments, refunds, net)
        for on in day.dates:
            await world.control("POST", "/control/wechat/close-day", {"mchid": mchid, "date": on.isoformat()})
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

    async def _payee(self, world: World, name: str, currency: str) -> str:
        kind = "merchant" if name == HOUSE else "supplier"
        shown = "the house" if name == HOUSE else f"supplier {name}"
        body = {"name": shown, "kind": kind, "currency": currency, "bank": BANK, "reference": f"payee-{name}"}
        made = await world.hub("POST", "/v1/payees", body)
        return str(made["id"])

    async def _until(self, what: str, done: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `done` returns true."""
        give_up_at, pause = time.monotonic() + PATIENCE_S, 0.05
        while not await _again(done):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"waited {PATIENCE_S:.0f} s in vain: {what}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    async def _quiet(self, book: int) -> None:
        """Wait until nothing is open and every payment has been shared out."""

        async def quiet() -> bool:
            async with acquire(self._hub.pool) as connection:
                open_rows = await open_counts(connection, book)
                waiting = await streams.store.behind(connection, "splitting", 10_000)
            return open_rows == (0, 0) and book not in dict(waiting)

        await self._until("payments or refunds are still open", quiet)

    async def _open_bank_day(self, world: World, after: date | None) -> date:
        """Close the bank's days up to the last business date; return the bank's day after."""
        today = date.fromisoformat((await world.control("GET", "/control/bank"))["date"])
        if after is not None and today <= after:
            await world.control("POST", "/control/bank/close-day", {"date": after.isoformat()})
            today = date.fromisoformat((await world.control("GET", "/control/bank"))["date"])
        return today

    async def _deposits(self, book: int, currency: str, dates: Sequence[date]) -> None:
        """Wait until the worker has read the channel's deposits from the bank and booked them."""
        link = await _again(lambda: self._hub.banks.link(book, BANK))
        client = self._hub.banks.client(link)

        async def booked() -> bool:
            at_bank = (await client.account(link.pool_account)).balance_minor
            async with acquire(self._hub.pool) as connection:
                custody = await ledger.store.find_account(connection, book, accounts.bank(BANK, currency))
            return (custody.balance if custody else 0) == at_bank

        if dates:
            await self._until("the channel's deposit was not booked", booked)

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
        batch = await _again(lambda: self._hub.banks.settle(day.book, BANK, on, day.currency, execution_date=bank_day))

        async def finished() -> bool:
            async with acquire(self._hub.pool) as connection:
                found = await splitting.store.find_settlement(connection, day.book, batch.id)
            return found is not None and found.status == "finished"

        async def lines() -> list[Instruction]:
            async with acquire(self._hub.pool) as connection:
                return await splitting.store.instructions(connection, day.book, batch.id)

        await self._until(f"settlement {batch.id} was not decided by the bank", finished)
        return await _again(lines)

    async def _reconcile(self, day: Day, world: World, mchid: str, bank_day: date) -> None:
        """Prove every date, and the day after each for rows that come late; run twice, which must change nothing."""
        proof = self._hub.daily_proof()
        await _again(lambda: proof.fetch_bank_files(day.book, BANK))
        names = {on: f"WX{mchid}{on:%Y%m%d}" for on in day.dates}
        late = [d + timedelta(days=1) for d in day.dates if d + timedelta(days=1) not in names]
        for on in late:
            await world.control("POST", "/control/wechat/close-day", {"mchid": mchid, "date": on.isoformat()})

        async def channel(on: date) -> Run:
            deposit = Deposit(BANK, names[on], bank_day) if on in names else None
            return await proof.channel(day.book, "main", on, currency=day.currency, deposit=deposit)

        async def bank() -> Run:
            ids = frozenset(names.values())
            return await proof.bank(day.book, BANK, bank_day, currency=day.currency, deposit_ids=ids)

        async def cases() -> list[Case]:
            async with acquire(self._hub.pool) as connection:
                return await reconciliation.discrepancies(
                    connection, day.book, now=self._hub.env.now(), states=list(State), limit=10_000
                )

        for _ in range(2):
            runs = [await _again(partial(channel, on)) for on in [*day.dates, *late]]
            if day.dates:
                runs.append(await _again(bank))
        # The first of a late row's two days is judged again once the second is known, so only the second round counts.
        if any(run.moves for run in runs):
            day.broken.append("reconciling again gave another result")
        for case in await _again(cases):
            if case.state is State.EXPLAINED:
                day.explained += 1
            else:
                day.found.append((case.key.reference, str(case.kind)))

    async def _audit(self, day: Day, world: World, mchid: str) -> None:
        """Hold the hub against the channel's own truth and against its own words, and check every invariant."""
        trades = (await world.control("GET", f"/control/wechat/trades?mchid={mchid}"))["trades"]
        day.hold_against_the_channel(trades)
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

        day.shares, by_rule = await _again(totals)
        day.captured_minor = by_rule.get("payment_captured", 0)
        day.refunded_minor = by_rule.get("refund", 0)
        day.fee_minor = (
            by_rule.get("channel_fee", 0) + by_rule.get("channel_fee_kept", 0) - by_rule.get("channel_fee_returned", 0)
        )
        verdicts = await _again(lambda: verify.verify(self._hub.pool))
        day.invariants = {"checked": len(verdicts), "broken": sum(1 for v in verdicts if v.broken)}
        day.broken += [f"{v.name}: {why}" for v in verdicts for why in v.broken[:3]]


async def _again(work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` comes to, which may be repeated; while database or bank are being restarted, ask again."""
    give_up_at, pause = time.monotonic() + PATIENCE_S, 0.05
    while True:
        try:
            return await work()
        except (Unavailable, *LOST, *AGAIN):
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 1.0)
