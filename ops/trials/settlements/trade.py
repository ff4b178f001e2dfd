"""A day's orders, and what of them is given back; the witness is told of each."""

import random
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from ops.trials.replay.faults import Disturber
from ops.trials.replay.orders import Invoice
from ops.trials.replay.rails import Payers, RailAccount
from ops.trials.replay.trade import Ledger, Paid, Trader
from ops.trials.replay.trouble import Plan, Trouble
from ops.trials.replay.world import World
from ops.trials.settlements.cast import parts_of, policy_of
from ops.trials.settlements.witness import Witness

REFUNDED = 0.20  # of the orders
IN_PART = 0.5  # of those
FEES_KEPT = ("stripe", "paypal")  # rails that keep their fee of what is given back


class DayTrader(Trader):
    """Plays a day's orders, each shared out by the plan that is attached to its store of the merchant's."""

    def __init__(
        self,
        world: World,
        accounts: Sequence[RailAccount],
        invoices: Sequence[Invoice],
        witness: Witness,
        *,
        run_id: str,
        seed: int,
        step: Callable[[], None],
    ) -> None:
        self._disturb = Disturber(world, accounts, on=False)
        self._no_trouble = Trouble(
            world, Plan(cut=None, slow=None, lossy=None), accounts, [], invoices, seed=seed, spares=lambda _: False
        )
        super().__init__(
            world, payers=Payers(world, accounts, run_id=run_id), payees={}, platform="", currency="CNY",
            run_id=run_id, seed=seed, disturber=self._disturb, trouble=self._no_trouble, step=step,
        )  # fmt: skip
        self._channels = {account.name: account.channel for account in accounts}
        self._invoices = invoices
        self._watching = witness
        self._sold: dict[str, Invoice] = {}  # payment → its order
        self.given_back_minor = 0

    async def day(self) -> Ledger:
        """Play the orders and cancellations of the file, then give back more, until so much was refunded."""
        await self._no_trouble.run()
        await self.play(self._invoices)
        untouched = sorted((one for one in self.ledger.payments if not one.refund_count), key=lambda p: p.reference)
        untouched = sorted(untouched, key=lambda p: self._sold[p.payment_id].number)
        rng = random.Random(f"refunds {self._seed}/{self._run_id}")
        rng.shuffle(untouched)
        wanted = round(REFUNDED * len(self.ledger.payments)) - sum(1 for p in self.ledger.payments if p.refund_count)
        for payment in untouched[: max(wanted, 0)]:
            of = self._sold[payment.payment_id]
            back = Invoice(f"R{of.number}", of.customer, of.at, -of.amount_minor, {})
            parts = [payment.captured_minor]
            if rng.random() < IN_PART and payment.captured_minor > 2:
                first = rng.randint(1, payment.captured_minor - 1)
                # Some of it, or all of it in two parts.
                parts = [first, payment.captured_minor - first] if rng.random() < IN_PART else [first]
            for number, part in enumerate(parts):
                await self._refund(back, number, payment, part)
                payment.left_minor -= part
                payment.refund_count += 1
        return self.ledger

    def _sharing(self, invoice: Invoice) -> dict[str, Any]:
        """Name the stores of an order's parts, and by the merchant's own store the plan: none is named itself."""
        parts = parts_of(invoice, self._seed)
        if not parts:
            return {}
        lines = [{"amount": minor, "product_line": store} for store, minor in parts]
        return {"lines": lines, "store": policy_of(invoice, self._seed)}

    async def _order(self, invoice: Invoice, paid: list[Paid]) -> None:
        before = len(paid)
        await super()._order(invoice, paid)
        for made in paid[before:]:
            self._sold[made.payment_id] = invoice
            self._watching.sold(
                made.payment_id, made.account, made.captured_minor, made.fee_minor, parts_of(invoice, self._seed),
                policy_of(invoice, self._seed), date.fromisoformat(made.business_date),
            )  # fmt: skip

    async def _refund(self, invoice: Invoice, number: int, payment: Paid, part: int) -> None:
        await super()._refund(invoice, number, payment, part)
        refund = self.ledger.refunds[-1]
        on = date.fromisoformat(refund.business_date)
        kept = self._channels[payment.account] in FEES_KEPT
        self._watching.gave_back(payment.payment_id, payment.account, part, on, fee_kept=kept)
        self.given_back_minor += part
