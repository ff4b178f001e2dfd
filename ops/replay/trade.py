"""Playing the orders: every invoice ends as exactly one of paid, refunded, refused with its reason."""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ops.replay.faults import Disturber
from ops.replay.orders import Invoice
from ops.replay.world import PATIENCE_S, Refused, World

AT_ONCE = 12  # customers buying at the same time
COMMISSION_BP = 300
MOST_REFUNDS = 50  # of one payment; the hub and WeChat Pay take no more
TILL_ASKS_AGAIN_S = 3.0  # how long a till looks at an undecided sale before it sends the payer's code again
PAYERS_LOOK_EVERY_S = 0.2


@dataclass(slots=True)
class Paid:
    """A payment a customer made, and what of it cancellations have not used yet."""

    payment_id: str
    reference: str
    captured_minor: int
    left_minor: int
    business_date: str
    refund_count: int = 0


@dataclass(slots=True)
class Ledger:
    """What became of every invoice."""

    ended: dict[str, str] = field(default_factory=dict)  # invoice → paid | refunded | reason of refusal
    refused: dict[str, list[Invoice]] = field(default_factory=dict)  # reason → invoices
    payments: list[Paid] = field(default_factory=list)
    refunds: list[tuple[str, int, str]] = field(default_factory=list)  # (id, minor units, business date)

    def end(self, invoice: Invoice, how: str) -> None:
        """Note how an invoice ended; a second ending is a mistake of this program's."""
        if invoice.number in self.ended:
            raise AssertionError(f"invoice {invoice.number} ended twice: {self.ended[invoice.number]}, {how}")
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
        mchid: str,
        payees: Mapping[str, str],
        platform: str,
        currency: str,
        run_id: str,
        seed: int,
        disturber: Disturber,
        step: Callable[[], None],
    ) -> None:
        self._world = world
        self._mchid = mchid
        self._payees = payees
        self._platform = platform
        self._currency = currency
        self._run_id = run_id
        self._seed = seed
        self._disturber = disturber
        self._step = step
        self._prompts = 0  # sales under way whose payer will be asked for a password
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
                async with gate:
                    if invoice.is_cancellation:
                        await self._cancel(invoice, paid)
                    else:
                        await self._order(invoice, paid)
                self._step()

        tasks = [asyncio.create_task(one_customer(queue)) for queue in queues.values()]
        payers = asyncio.create_task(self._payers())
        try:
            for task in asyncio.as_completed([*tasks, payers]):
                await task
                if all(task.done() for task in tasks):
                    break
        finally:
            for task in [*tasks, payers]:
                task.cancel()
            await asyncio.gather(*tasks, payers, return_exceptions=True)
        return self.ledger

    async def _payers(self) -> None:
        """Type the password wherever a payer is asked for one: at his own phone, whether or not the hub is well."""
        while True:
            if self._prompts:
                trades = await self._world.control("GET", f"/control/wechat/trades?mchid={self._mchid}")
                for trade in trades["trades"]:
                    if trade["trade_state"] == "USERPAYING":
                        await self._pay(trade["out_trade_no"])
            await asyncio.sleep(PAYERS_LOOK_EVERY_S)

    async def _pay(self, reference: str) -> None:
        """Pay an order; one that was paid already, or has run out, stays as it is."""
        try:
            await self._world.control("POST", "/control/wechat/pay", {"mchid": self._mchid, "out_trade_no": reference})
        except Refused as refusal:
            if refusal.status != 409:
                raise

    # ---- an order ----------------------------------------------------------------------------------------------------

    async def _order(self, invoice: Invoice, paid: list[Paid]) -> None:
        rng = random.Random(f"{self._seed}/{invoice.number}")
        code = self._auth_code(invoice, rng) if rng.random() < 0.3 else None
        await self._disturber.before_create(barcode=code is not None, rng=rng)
        body = {
            "merchant_order_id": invoice.number,
            "amount": invoice.amount_minor,
            "currency": self._currency,
            "method": {"type": "qr"} if code is None else {"type": "barcode", "auth_code": code},
            "description": f"order {invoice.number}",
            "split": self._split(invoice),
            "metadata": {"customer": invoice.customer or "none"},
        }
        asks = code is not None and code.endswith("8")
        self._prompts += asks
        try:
            if code is None:
                payment = await self._scanned(invoice, body, rng)
            else:
                payment = await self._at_the_till(invoice, body)
        except Refused as refusal:
            self.ledger.refuse(invoice, refusal.code)
            return
        finally:
            self._prompts -= asks
        if payment["status"] != "succeeded":
            failure = payment.get("failure") or {}
            self.ledger.refuse(invoice, failure.get("code") or payment["status"])
            return
        reference = payment["attempts"][0]["reference"]
        captured = payment["amount_captured"]
        made = Paid(payment["id"], reference, captured, captured, payment["business_date"])
        paid.append(made)
        self.ledger.payments.append(made)
        self.ledger.end(invoice, "paid")

    async def _create(self, invoice: Invoice, body: Mapping[str, Any]) -> dict[str, Any]:
        # An invoice's number may hold anything; a header may not.
        key = f"{self._run_id}-{quote(invoice.number, safe='')}"
        return await self._world.hub("POST", "/v1/payments", body, key=key)

    async def _scanned(self, invoice: Invoice, body: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """Order with a QR code, be the payer who scans it, and wait for the hub to know. Raises Refused."""
        made = await self._create(invoice, body)
        scanned, patience = False, _Patience(f"payment {made['id']}")
        while True:
            payment = await self._world.hub("GET", f"/v1/payments/{made['id']}")
            if payment["status"] not in ("processing", "requires_action"):
                return payment
            if payment["status"] == "requires_action" and not scanned:
                reference = payment["attempts"][0]["reference"]
                await self._disturber.before_pay(reference, rng)
                await self._pay(reference)
                scanned = True
            await patience.wait(payment["status"])

    async def _at_the_till(self, invoice: Invoice, body: Mapping[str, Any]) -> dict[str, Any]:
        """Have a payer's code charged, and wait for the hub to know. Raises Refused.

        The hub never keeps the code, so it is the till that sends it again, with the same key, while nothing is known.
        """
        made = await self._create(invoice, body)
        patience, asked_at = _Patience(f"payment {made['id']}"), time.monotonic()
        while True:
            payment = await self._world.hub("GET", f"/v1/payments/{made['id']}")
            if payment["status"] not in ("processing", "requires_action"):
                return payment
            undecided = payment["attempts"][0]["status"] in ("created", "unknown")
            if undecided and time.monotonic() - asked_at > TILL_ASKS_AGAIN_S:
                await self._create(invoice, body)
                asked_at = time.monotonic()
            await patience.wait(payment["status"])

    def _split(self, invoice: Invoice) -> list[dict[str, Any]]:
        """Share an order: the platform's commission, then the suppliers by what their lines come to."""
        if invoice.amount_minor <= 0:
            return []
        shares: list[dict[str, Any]] = [{"payee": self._platform, "basis_points": COMMISSION_BP}]
        return shares + [
            {"payee": self._payees[name], "remainder": weight} for name, weight in invoice.by_supplier.items()
        ]

    def _auth_code(self, invoice: Invoice, rng: random.Random) -> str:
        """Return a payer's code; the sandbox charges most at once and asks some for a password."""
        digits = int(hashlib.sha256(f"{self._run_id}/{invoice.number}".encode()).hexdigest(), 16) % 10**15
        return f"13{digits:015d}{8 if rng.random() < 0.2 else rng.randint(0, 7)}"

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
        await self._disturber.before_refund(rng)
        name = quote(invoice.number, safe="")
        body = {"amount": part, "reason": f"cancellation {name}"[:80]}
        refund = await self._world.hub(
            "POST", f"/v1/payments/{payment.payment_id}/refunds", body, key=f"{self._run_id}-{name}-{number}"
        )
        patience = _Patience(f"refund {refund['id']}")
        while refund["status"] == "processing":
            await patience.wait(refund["status"])
            refund = await self._world.hub("GET", f"/v1/refunds/{refund['id']}")
        if refund["status"] != "succeeded":
            raise AssertionError(f"the sandbox refused refund {refund['id']}: {refund['failure']}")
        self.ledger.refunds.append((refund["id"], part, refund["business_date"]))


class _Patience:
    """Waits between two looks at something, longer each time, and gives up in the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._give_up_at = time.monotonic() + PATIENCE_S
        self._pause = 0.02

    async def wait(self, still: str) -> None:
        """Wait a little. Raises TimeoutError when it has been too long."""
        if time.monotonic() > self._give_up_at:
            raise TimeoutError(f"{self._what} is still {still} after {PATIENCE_S:.0f} s")
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 1.5, 0.5)
