"""Playing the orders: every invoice ends as exactly one of paid, refunded, refused with its reason."""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.replay.faults import Disturber
from ops.replay.orders import Invoice
from ops.replay.world import PATIENCE_S, Refused, World

AT_ONCE = 12  # customers buying at the same time
COMMISSION_BP = 300


@dataclass(slots=True)
class Paid:
    """A payment a customer made, and what of it cancellations have not used yet."""

    payment_id: str
    reference: str
    left_minor: int
    business_date: str


@dataclass(slots=True)
class Ledger:
    """What became of every invoice."""

    ended: dict[str, str] = field(default_factory=dict)  # invoice → paid | refunded | reason of refusal
    refused: dict[str, list[Invoice]] = field(default_factory=dict)  # reason → invoices
    payments: list[Paid] = field(default_factory=list)
    refunds: list[tuple[str, str]] = field(default_factory=list)  # (reference, business date)

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
        try:
            for task in asyncio.as_completed(tasks):
                await task
        finally:
            for task in tasks:
                task.cancel()
        return self.ledger

    # ---- an order ----------------------------------------------------------------------------------------------------

    async def _order(self, invoice: Invoice, paid: list[Paid]) -> None:
        rng = random.Random(f"{self._seed}/{invoice.number}")
        barcode = rng.random() < 0.3
        method = {"type": "barcode", "auth_code": self._auth_code(invoice, rng)} if barcode else {"type": "qr"}
        await self._disturber.before_create(barcode=barcode, rng=rng)
        body = {
            "merchant_order_id": invoice.number,
            "amount": invoice.amount_minor,
            "currency": self._currency,
            "method": method,
            "description": f"order {invoice.number}",
            "split": self._split(invoice),
            "metadata": {"customer": invoice.customer or "none"},
        }
        try:
            payment = await self._world.hub("POST", "/v1/payments", body, key=f"{self._run_id}-{invoice.number}")
        except Refused as refusal:
            self.ledger.refuse(invoice, refusal.code)
            return
        payment = await self._until_paid(payment, rng, barcode=barcode)
        if payment["status"] != "succeeded":
            failure = payment.get("failure") or {}
            self.ledger.refuse(invoice, failure.get("code") or payment["status"])
            return
        reference = payment["attempts"][0]["reference"]
        made = Paid(payment["id"], reference, payment["amount_captured"], payment["business_date"])
        paid.append(made)
        self.ledger.payments.append(made)
        self.ledger.end(invoice, "paid")

    async def _until_paid(self, payment: dict[str, Any], rng: random.Random, *, barcode: bool) -> dict[str, Any]:
        """Be the payer, then wait for the hub to know; both may take a while when messages are lost."""
        give_up_at, offered, pause = time.monotonic() + PATIENCE_S, False, 0.02
        while True:
            payment = await self._world.hub("GET", f"/v1/payments/{payment['id']}")
            if payment["status"] not in ("processing", "requires_action"):
                return payment
            payable = payment["status"] == "requires_action" or (
                barcode and payment["attempts"][0]["status"] == "pending"
            )
            if payable and not offered:
                reference = payment["attempts"][0]["reference"]
                await self._disturber.before_pay(reference, rng)
                try:
                    await self._world.control(
                        "POST", "/control/wechat/pay", {"mchid": self._mchid, "out_trade_no": reference}
                    )
                    offered = True
                except Refused as refusal:  # a code that was charged already, though the hub has not heard yet
                    if refusal.status != 409:
                        raise
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"payment {payment['id']} is still {payment['status']}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

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
        if sum(payment.left_minor for payment in paid) < wanted:
            self.ledger.refuse(invoice, "more_than_was_paid" if paid else "nobody_paid_for_it")
            return
        for number, payment in enumerate(reversed(paid)):
            part = min(wanted, payment.left_minor)
            if part:
                await self._refund(invoice, number, payment, part)
                payment.left_minor -= part
                wanted -= part
        self.ledger.end(invoice, "refunded")

    async def _refund(self, invoice: Invoice, number: int, payment: Paid, part: int) -> None:
        rng = random.Random(f"{self._seed}/{invoice.number}/{number}")
        await self._disturber.before_refund(rng)
        body = {"amount": part, "reason": f"cancellation {invoice.number}"}
        key = f"{self._run_id}-{invoice.number}-{number}"
        refund = await self._world.hub("POST", f"/v1/payments/{payment.payment_id}/refunds", body, key=key)
        give_up_at, pause = time.monotonic() + PATIENCE_S, 0.02
        while refund["status"] == "processing":
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"refund {refund['id']} is still processing")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
            refund = await self._world.hub("GET", f"/v1/refunds/{refund['id']}")
        if refund["status"] != "succeeded":
            raise AssertionError(f"the sandbox refused refund {refund['id']}: {refund['failure']}")
        self.ledger.refunds.append((refund["id"], refund["business_date"]))
