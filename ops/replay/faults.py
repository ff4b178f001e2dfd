"""What goes wrong on purpose.

Record faults change what the channel's bill or the bank's statement says; reconciliation must find each, and nothing
else. Disturbances lose, repeat, reorder and forge messages while the day is played; they must leave no trace at all.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.replay.world import World


@dataclass(frozen=True, slots=True)
class Planted:
    """One record fault, and the discrepancy reconciliation must report for it."""

    fault: str
    reference: str
    expected_kind: str


# fault at the sandbox → the kind of discrepancy it must lead to
ROW_FAULTS = {
    "bill_row_missing": "missing_at_channel",
    "bill_row_altered": "amount_differs",
    "bill_row_doubled": "duplicate",
    "bill_row_status": "status_differs",
    "bill_row_late": "late",
}
ENTRY_FAULTS = {
    "statement_entry_missing": "payout_missing_at_bank",
    "statement_entry_altered": "payout_amount_differs",
    "statement_entry_doubled": "payout_duplicate",
}


SHORT_BY_MINOR = 17  # what the bank keeps back of the channel's deposit


class Planter:
    """Plants record faults, each on a reference of its own; where a day has too few, fewer than were asked for."""

    def __init__(self, world: World, *, mchid: str, count: int, seed: int) -> None:
        self._world = world
        self._mchid = mchid
        self._rng = random.Random(f"faults {seed}")
        self._count = count
        self.planted: list[Planted] = []

    async def on_bill(
        self,
        payments: Sequence[tuple[str, int]],
        refunds: Sequence[tuple[str, int]],
        net_minor_by_date: Mapping[str, int],
    ) -> None:
        """Plant on the channel's bill and its deposit.

        payments, refunds: (reference, minor units) of each.
        net_minor_by_date: what was captured less what was refunded, by business date.
        Of N faults up to a tenth go to the bank's statement later, one to the deposit, a tenth are payments nobody made
        through us, the rest fall on rows, one a row at most.
        """
        targets = [("out_trade_no", *payment) for payment in sorted(payments)]
        targets += [("out_refund_no", *refund) for refund in sorted(refunds)]
        self._rng.shuffle(targets)
        dates = sorted(net_minor_by_date)
        extra = self._count // 10 if dates else 0
        # A deposit much smaller than what is kept back would not come at all, which is another fault.
        paid_out = [date for date in dates if net_minor_by_date[date] > 10 * SHORT_BY_MINOR]
        deposit = 1 if self._count >= 5 and paid_out else 0
        rows = min(self._count - self.for_statement - extra - deposit, len(targets))
        names = list(ROW_FAULTS)
        for number, (field, reference, minor) in enumerate(targets[: max(rows, 0)]):
            fault = names[number % len(names)]
            params = {}
            if fault == "bill_row_altered":  # to another amount, but still to one
                params["delta_minor"] = self._rng.choice([delta for delta in (-7, -1, 3, 100) if minor + delta > 0])
            await self._order(fault, "wechat", {"mchid": self._mchid, field: reference}, params)
            self.planted.append(Planted(fault, reference, ROW_FAULTS[fault]))
        for _ in range(extra):
            match = {"mchid": self._mchid, "date": self._rng.choice(dates)}
            told = await self._order("bill_row_extra", "wechat", match, {"total_minor": self._rng.randint(100, 9999)})
            self.planted.append(Planted("bill_row_extra", told["params"]["out_trade_no"], "missing_at_hub"))
        if deposit:
            day = self._rng.choice(paid_out)
            match = {"mchid": self._mchid, "date": day}
            await self._order("deposit_short", "bank", match, {"by_minor": SHORT_BY_MINOR})
            reference = f"WX{self._mchid}{day.replace('-', '')}"
            self.planted.append(Planted("deposit_short", reference, "deposit_differs"))

    @property
    def for_statement(self) -> int:
        """How many faults are kept for the bank's statement."""
        return min(self._count // 10, len(ENTRY_FAULTS))

    async def on_statement(self, paid_lines: Sequence[tuple[str, str]]) -> None:
        """Plant on the bank's statement, on the payees' side of lines the bank has paid: (end-to-end id, account)."""
        lines = sorted(paid_lines)
        self._rng.shuffle(lines)
        for (fault, kind), (line, account) in zip(
            list(ENTRY_FAULTS.items())[: self.for_statement], lines, strict=False
        ):
            params = {"delta_minor": 11} if fault.endswith("altered") else {}
            await self._order(fault, "bank", {"end_to_end_id": line, "account": account}, params)
            self.planted.append(Planted(fault, line, kind))

    async def _order(self, fault: str, rail: str, match: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        body = {"fault": fault, "rail": rail, "match": match, "times": 1, "params": params}
        return await self._world.control("POST", "/control/faults", body)


class Disturber:
    """Spoils messages while the day is played, the same ones for the same seed as far as concurrency allows."""

    def __init__(self, world: World, *, mchid: str, on: bool) -> None:
        self._world = world
        self._mchid = mchid
        self._on = on
        self._ordered: set[str] = set()

    async def before_create(self, *, barcode: bool, rng: random.Random) -> None:
        """Perhaps spoil a request that is about to be sent."""
        op = "codepay" if barcode else "create"
        await self._perhaps(
            rng, 0.10, ["answer_lost", "request_lost", "system_error_after", "bad_signature", "delay"], {"op": op}
        )

    async def before_pay(self, reference: str, rng: random.Random) -> None:
        """Perhaps spoil the notice that the payment is about to cause."""
        faults = [
            "notice_drop", "notice_duplicate", "notice_forged", "notice_wrong_amount", "notice_sigtest",
            "notice_unsigned", "notice_delay",
        ]  # fmt: skip
        await self._perhaps(rng, 0.15, faults, {"out_trade_no": reference})

    async def before_refund(self, rng: random.Random) -> None:
        """Perhaps spoil a refund's request."""
        await self._perhaps(rng, 0.15, ["answer_lost", "request_lost", "system_error_after"], {"op": "refund"})

    async def _perhaps(self, rng: random.Random, chance: float, faults: Sequence[str], match: dict[str, str]) -> None:
        if not self._on or rng.random() >= chance:
            return
        fault = rng.choice(list(faults))
        params: dict[str, Any] = {}
        if fault in ("delay", "notice_delay"):
            params = {"ms": 300}
        elif fault == "notice_duplicate":
            params = {"copies": 3}
        body = {
            "fault": fault,
            "rail": "wechat",
            "match": {"mchid": self._mchid, **match},
            "times": 1,
            "params": params,
        }
        told = await self._world.control("POST", "/control/faults", body)
        self._ordered.add(told["fault_id"])

    async def done(self) -> Counter[str]:
        """Return how often each disturbance was really carried out; what was ordered for nothing is not counted."""
        if not self._ordered:
            return Counter()
        listed = await self._world.control("GET", "/control/faults")
        fired: Counter[str] = Counter()
        for fault in listed["faults"]:
            if fault["fault_id"] in self._ordered and fault["fired"]:
                fired[fault["fault"]] += fault["fired"]
        return fired
