"""Playing the orders: every invoice ends as exactly one of paid, refunded, refused with its reason."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ops.trials.replay.faults import Disturber
from ops.trials.replay.orders import Invoice
from ops.trials.replay.patience import Patience, PromiseBroken
from ops.trials.replay.rails import CARD, Payers
from ops.trials.replay.trouble import Trouble
from ops.trials.replay.world import Refused, World

AT_ONCE = 12  # customers buying at the same time
COMMISSION_BP = 300
MOST_REFUNDS = 50  # of one payment; the hub and WeChat Pay take no more
IN_DOUBT_S = 5.0  # after so long an order is told nothing more that is wrong
TILL_ASKS_AGAIN_S = 3.0  # how long a till looks at an undecided sale before it sends the payer's code again
RESERVED = 0.4  # of the card payments: reserved first, captured afterwards
PINNED = {"page": 0.6}  # the rail is named: on a page payers click the sign they know …
PINNED_ELSE = 0.1  # … and elsewhere a merchant has his preference now and then
RUNG_UP_AGAIN = ("-again", "-once-more")  # what a sale's second and third number end with
UNREACHABLE = ("channel_unreachable",)  # the hub's word for a request that never left
OPEN = ("processing", "requires_action", "requires_capture")


@dataclass(slots=True)
class Paid:
    """A payment a customer made, and what of it cancellations have not used yet."""

    payment_id: str
    reference: str
    account: str  # the channel account that captured it
    captured_minor: int
    left_minor: int
    fee_minor: int
    business_date: str
    refund_count: int = 0
    coupon_minor: int = 0  # what the merchant's own coupon paid of it


@dataclass(frozen=True, slots=True)
class Refunded:
    """A refund that succeeded."""

    refund_id: str
    account: str
    minor: int
    business_date: str


@dataclass(frozen=True, slots=True)
class Order:
    """How one order went, for the picture of the day."""

    invoice: str
    at_minute: int  # of its day, by the file's clock
    method: str
    channel: str  # auto, or the rail the merchant named
    accounts: Sequence[str]  # one an attempt, in order
    outcome: str  # paid, or the reason of refusal
    phase: str  # before | during | after the cut
    other_wallet: bool = False  # the payer's first wallet could not be reached


@dataclass(slots=True)
class Ledger:
    """What became of every invoice."""

    ended: dict[str, str] = field(default_factory=dict)  # invoice → paid | refunded | reason of refusal
    refused: dict[str, list[Invoice]] = field(default_factory=dict)  # reason → invoices
    payments: list[Paid] = field(default_factory=list)
    refunds: list[Refunded] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    rung_up_again: int = 0  # sales at the till whose payment came to nothing and was asked for once more

    def end(self, invoice: Invoice, how: str) -> None:
        """Note how an invoice ended. Raises PromiseBroken for a second ending, a mistake of this program's."""
        if invoice.number in self.ended:
            raise PromiseBroken(f"invoice {invoice.number} ended twice: {self.ended[invoice.number]}, {how}")
        self.ended[invoice.number] = how

    def refuse(self, invoice: Invoice, reason: str) -> None:
        self.end(invoice, reason)
        self.refused.setdefault(reason, []).append(invoice)


class Trader:
    """Plays one file's invoices for one merchant."""

    def __init__(
        self,
        world: World,
        *,
        payers: Payers,
        payees: Mapping[str, str],
        platform: str,
        currency: str,
        run_id: str,
        seed: int,
        disturber: Disturber,
        trouble: Trouble,
        step: Callable[[], None],
    ) -> None:
        self._world = world
        self._payers = payers
        self._payees = payees
        self._platform = platform
        self._currency = currency
        self._run_id = run_id
        self._seed = seed
        self._disturber = disturber
        self._trouble = trouble
        self._step = step
        self.ledger = Ledger()

    async def play(self, invoices: Sequence[Invoice]) -> Ledger:
        """Play them all: each customer's in their order, customers side by side."""
        queues: dict[str, list[Invoice]] = {}
        for invoice in invoices:
            queues.setdefault(invoice.customer or f"nobody {invoice.number}", []).append(invoice)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one_customer(queue: list[Invoice]) -> None:
            paid: list[Paid] = []
            for invoice in queue:
                await self._trouble.its_time(invoice)
                async with gate:
                    if invoice.is_cancellation:
                        await self._cancel(invoice, paid)
                    else:
                        await self._order(invoice, paid)
                self._trouble.ended(invoice)
                self._step()

        tasks = [asyncio.create_task(one_customer(queue)) for queue in queues.values()]
        try:
            for task in asyncio.as_completed(tasks):
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.ledger

    # ---- an order ----------------------------------------------------------------------------------------------------

    async def _order(self, invoice: Invoice, paid: list[Paid]) -> None:
        rng = random.Random(f"{self._seed}/{invoice.number}")
        method = self._payers.method(rng)
        channel = self._payers.pinned(method, rng) if rng.random() < PINNED.get(method, PINNED_ELSE) else "auto"
        phase = self._trouble.phase
        try:
            payment, other_wallet = await self._bought(invoice, method, channel, rng)
        except Refused as refusal:
            self.ledger.orders.append(Order(invoice.number, _minute(invoice), method, channel, (), refusal.code, phase))
            self.ledger.refuse(invoice, refusal.code)
            return
        tried = [attempt["channel_account"] for attempt in payment["attempts"]]
        failure = payment.get("failure") or {}
        how = "paid" if payment["status"] == "succeeded" else failure.get("code") or payment["status"]
        self.ledger.orders.append(
            Order(invoice.number, _minute(invoice), method, channel, tried, how, phase, other_wallet)
        )
        if how != "paid":
            self.ledger.refuse(invoice, how)
            return
        won = payment["attempts"][payment["won_attempt"] - 1]
        captured, fee = payment["amount_captured"], payment["channel_fee"]
        made = Paid(
            payment["id"], won["reference"], won["channel_account"], captured, captured, fee,
            payment["business_date"], coupon_minor=payment["merchant_coupon"],
        )  # fmt: skip
        paid.append(made)
        self.ledger.payments.append(made)
        self.ledger.end(invoice, "paid")

    async def _bought(
        self, invoice: Invoice, method: str, channel: str, rng: random.Random
    ) -> tuple[dict[str, Any], bool]:
        """Return the payment as it ended, and whether a till had to ask for another wallet. Raises Refused."""
        if method == "barcode":
            return await self._at_the_till(invoice, rng)
        how = {"type": method, "channel": channel} | ({"token": CARD} if method == "card" else {})
        reserved = method == "card" and rng.random() < RESERVED
        await self._before_create(method, rng)
        return await self._followed(invoice, self._body(invoice, how, reserved=reserved), rng), False

    async def _at_the_till(self, invoice: Invoice, rng: random.Random) -> tuple[dict[str, Any], bool]:
        """Sell for the code on a payer's phone; a sale that came to nothing is rung up again, with a new code.

        A payer has half a minute or so, and a hub that is being restarted may take longer.
        """
        wallet: str | None = None  # how the codes begin of the one that could not be reached
        code = self._payers.code(invoice.number, rng)
        await self._before_create("barcode", rng)
        payment = await self._followed(invoice, self._body(invoice, {"type": "barcode", "auth_code": code}), rng)
        for again in RUNG_UP_AGAIN:
            if payment["status"] == "succeeded":
                break
            self.ledger.rung_up_again += 1
            if (payment.get("failure") or {}).get("code") in UNREACHABLE:
                # Nothing left for that wallet's rail, and the till knows it: the payer takes out the phone's other one.
                wallet = code[:2]
            code = self._payers.code(f"{invoice.number}{again}", rng, not_of=wallet)
            body = self._body(invoice, {"type": "barcode", "auth_code": code}, again=again)
            payment = await self._followed(invoice, body, rng)
        return payment, wallet is not None

    async def _before_create(self, method: str, rng: random.Random) -> None:
        await self._trouble.may_lose_an_answer()
        await self._disturber.before_create(method, rng=rng)

    def _body(
        self, invoice: Invoice, method: Mapping[str, Any], *, reserved: bool = False, again: str = ""
    ) -> dict[str, Any]:
        return {
            "merchant_order_id": f"{invoice.number}{again}",
            "amount": invoice.amount_minor,
            "currency": self._currency,
            "method": dict(method),
            "description": f"order {invoice.number}",
            "metadata": {"customer": invoice.customer or "none"},
            **self._sharing(invoice),
        } | ({"capture": "manual"} if reserved else {})

    async def _create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        # An invoice's number may hold anything; a header may not.
        key = f"{self._run_id}-{quote(str(body['merchant_order_id']), safe='')}"
        return await self._world.hub("POST", "/v1/payments", body, key=key)

    async def _followed(self, invoice: Invoice, body: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """Order, be the payer wherever one is asked for something, and wait for the hub to know. Raises Refused.

        The hub never keeps a payer's code, so it is the till that sends it again, with the same key, while nothing is
        known. Reserved money is captured as soon as it is reserved.
        """
        made = await self._create(body)
        asks = str(body["method"].get("auth_code", "")).endswith("8")
        acted: set[int] = set()  # attempts at which the payer has done his part
        offered: set[int] = set()  # and for which a coupon was looked for
        patience = Patience(f"payment {made['id']} ends", self._world.patience_s, pause_s=0.02)
        asked_at = time.monotonic()
        async with _Doubt(self._disturber) as doubt:
            while True:
                payment = await self._world.hub("GET", f"/v1/payments/{made['id']}")
                if payment["status"] not in OPEN:
                    return payment
                attempt = payment["attempts"][-1]
                if payment["status"] == "requires_capture":
                    key = f"{self._run_id}-{quote(invoice.number, safe='')}-capture"
                    await self._world.hub("POST", f"/v1/payments/{made['id']}/capture", {}, key=key)
                elif payment["status"] == "requires_action" and attempt["number"] not in acted:
                    await self._disturber.before_pay(attempt, rng)
                    luck = random.Random(f"coupon {self._seed}/{invoice.number}/{attempt['number']}")
                    if attempt["number"] not in offered:
                        offered.add(attempt["number"])
                        await self._payers.take_coupon(attempt, body["amount"], luck)
                    if await self._payers.pay(attempt, payment["next_action"]):
                        acted.add(attempt["number"])
                elif asks and attempt["status"] != "created":
                    await self._payers.pay(attempt, None)
                undecided = body["method"]["type"] == "barcode" and attempt["status"] in ("created", "unknown")
                if undecided and time.monotonic() - asked_at > TILL_ASKS_AGAIN_S:
                    await self._create(body)
                    asked_at = time.monotonic()
                if payment["status"] != "requires_action":
                    await doubt.about(attempt["channel_account"])
                await patience.wait(_how_it_stands(payment))

    def _sharing(self, invoice: Invoice) -> dict[str, Any]:
        """Share an order: the platform's commission, then the suppliers by what their lines come to."""
        if invoice.amount_minor <= 0:
            return {"split": []}
        shares: list[dict[str, Any]] = [{"payee": self._platform, "basis_points": COMMISSION_BP}]
        shares += [{"payee": self._payees[name], "remainder": weight} for name, weight in invoice.by_supplier.items()]
        return {"split": shares}

    # ---- a cancellation ----------------------------------------------------------------------------------------------

    async def _cancel(self, invoice: Invoice, paid: list[Paid]) -> None:
        """Refund the customer's latest payments that still cover it, in part where need be."""
        wanted = -invoice.amount_minor
        if wanted <= 0:
            self.ledger.refuse(invoice, "cancels_nothing")
            return
        if not invoice.customer:
            self.ledger.refuse(invoice, "no_customer")
            return
        open_ones = [payment for payment in paid if payment.left_minor and payment.refund_count < MOST_REFUNDS]
        if sum(payment.left_minor for payment in open_ones) < wanted:
            self.ledger.refuse(invoice, "more_than_was_paid" if paid else "nobody_paid_for_it")
            return
        for number, payment in enumerate(reversed(open_ones)):
            part = min(wanted, payment.left_minor)
            if not part:
                break
            await self._refund(invoice, number, payment, part)
            payment.left_minor -= part
            payment.refund_count += 1
            wanted -= part
        self.ledger.end(invoice, "refunded")

    async def _refund(self, invoice: Invoice, number: int, payment: Paid, part: int) -> None:
        rng = random.Random(f"{self._seed}/{invoice.number}/{number}")
        await self._disturber.before_refund(payment.account, rng)
        name = quote(invoice.number, safe="")
        body = {"amount": part, "reason": f"cancellation {name}"[:80]}
        refund = await self._world.hub(
            "POST", f"/v1/payments/{payment.payment_id}/refunds", body, key=f"{self._run_id}-{name}-{number}"
        )
        patience = Patience(f"refund {refund['id']} ends", self._world.patience_s, pause_s=0.02)
        about = f"{part} minor units of {payment.payment_id} on {payment.account}"
        async with _Doubt(self._disturber) as doubt:
            while refund["status"] == "processing":
                await doubt.about(payment.account)
                await patience.wait(f"{about} are still {refund['status']}")
                refund = await self._world.hub("GET", f"/v1/refunds/{refund['id']}")
        if refund["status"] != "succeeded":
            raise PromiseBroken(
                f"refund {refund['id']} of {part} minor units succeeds: it is {refund['status']}, {refund['failure']}"
            )
        self.ledger.refunds.append(Refunded(refund["id"], payment.account, part, refund["business_date"]))


def _minute(invoice: Invoice) -> int:
    return invoice.at.hour * 60 + invoice.at.minute


class _Doubt:
    """Has an order's account spared once the order has been in doubt for long, until it has ended."""

    def __init__(self, disturber: Disturber) -> None:
        self._disturber = disturber
        self._long_at = time.monotonic() + IN_DOUBT_S
        self._spared: set[str] = set()
        self._sparing = AsyncExitStack()

    async def __aenter__(self) -> "_Doubt":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sparing.aclose()

    async def about(self, account: str) -> None:
        """The order is undecided at this account."""
        if account not in self._spared and time.monotonic() > self._long_at:
            self._spared.add(account)
            await self._sparing.enter_async_context(self._disturber.sparing(account))


def _how_it_stands(payment: Mapping[str, Any]) -> str:
    """Say where a payment that has not ended is: the last attempt, and what its rail said."""
    where = ""
    if payment["attempts"]:
        last = payment["attempts"][-1]
        said = " ".join(str(last[name]) for name in ("code", "message") if last.get(name))
        where = f": attempt {last['number']} on {last['channel_account']} is {last['status']}" + (
            f", {said}" if said else ""
        )
    return f"it is still {payment['status']}{where}"
