"""What goes wrong on purpose.

Record faults change what the channel's bill or the bank's statement says; reconciliation must find each, and nothing
else. Disturbances lose, repeat, reorder and forge messages while the day is played; they must leave no trace at all.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ops.trials.replay.rails import RailAccount
from ops.trials.replay.world import Refused, World


@dataclass(frozen=True, slots=True)
class Planted:
    """One record fault, and the discrepancy reconciliation must report for it."""

    fault: str
    reference: str
    expected_kind: str
    where: str = "bank"  # the channel account, or the bank


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


@dataclass(frozen=True, slots=True)
class Row:
    """One row that a rail's bill will have."""

    account: RailAccount
    field: str  # order | refund: whose number it is
    reference: str
    minor: int


class Planter:
    """Plants record faults, each on a reference of its own; where a day has too few, fewer than were asked for."""

    def __init__(self, world: World, accounts: Sequence[RailAccount], *, count: int, seed: int) -> None:
        self._world = world
        self._accounts = accounts
        self._rng = random.Random(f"faults {seed}")
        self._count = count
        self.planted: list[Planted] = []

    async def on_bills(self, rows: Sequence[Row], net_minor: Mapping[tuple[str, str], int], *, today: str) -> None:
        """Plant on the rails' bills and on a deposit.

        net_minor: what was captured less what was refunded and kept as fees, by (account, business date).
        today: the rails' day; what they pay out for an earlier one is at the bank since midnight.
        Of N faults up to a tenth go to the bank's statement later, one to a deposit, a tenth are payments nobody made
        through us, the rest fall on rows, one a row at most, in turn on every rail that has any.
        """
        in_turn = self._in_turn(rows)
        days = sorted(net_minor)
        extra = self._count // 10 if days else 0
        accounts = {account.name: account for account in self._accounts}
        # A deposit much smaller than what is kept back would not come at all, which is another fault.
        paid_out = [
            (accounts[name], day)
            for name, day in days
            if day == today and accounts[name].mark is not None and net_minor[name, day] > 10 * SHORT_BY_MINOR
        ]
        deposit = 1 if self._count >= 5 and paid_out else 0
        room = max(min(self._count - self.for_statement - extra - deposit, len(in_turn)), 0)
        names = list(ROW_FAULTS)
        for number, row in enumerate(in_turn[:room]):
            fault = names[number % len(names)]
            params = {}
            if fault == "bill_row_altered":  # to another amount, but still to one
                deltas = [delta for delta in (-7, -1, 3, 100) if row.minor + delta > 0]
                params["delta_minor"] = self._rng.choice(deltas)
            match = {"merchant": row.account.merchant, row.field: row.reference}
            await self._world.order_fault(row.account.channel, fault, match, params)
            self.planted.append(Planted(fault, row.reference, ROW_FAULTS[fault], row.account.name))
        for _ in range(extra):
            name, day = self._rng.choice(days)
            account = accounts[name]
            match = {"merchant": account.merchant, "date": day}
            more = {"total_minor": self._rng.randint(100, 9999)}
            told = await self._world.order_fault(account.channel, "bill_row_extra", match, more)
            self.planted.append(Planted("bill_row_extra", told["params"]["order"], "missing_at_hub", name))
        if deposit:
            account, day = self._rng.choice(paid_out)
            match = {"mchid": account.merchant, "date": day}
            await self._world.order_fault("bank", "deposit_short", match, {"by_minor": SHORT_BY_MINOR})
            reference = f"{account.mark}{day.replace('-', '')}"
            self.planted.append(Planted("deposit_short", reference, "deposit_differs", account.name))

    def _in_turn(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows shuffled, but so that every account comes before any comes again."""
        queues: dict[str, list[Row]] = {}
        for row in sorted(rows, key=lambda row: row.reference):
            queues.setdefault(row.account.name, []).append(row)
        for queue in queues.values():
            self._rng.shuffle(queue)
        turns = [(turn, name, row) for name, queue in queues.items() for turn, row in enumerate(queue)]
        return [row for _, _, row in sorted(turns, key=lambda one: one[:2])]

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
            await self._world.order_fault("bank", fault, {"end_to_end_id": line, "account": account}, params)
            self.planted.append(Planted(fault, line, kind))


class Disturber:
    """Spoils messages while the day is played, the same ones for the same seed as far as concurrency allows.

    Which account a payment goes to is routing's to say, so a fault on a request waits at one that takes such payments.
    Repetitions of an order may meet it as well as a new one: `sparing` sees that one order does not meet them all.
    """

    def __init__(self, world: World, accounts: Sequence[RailAccount], *, on: bool) -> None:
        self._world = world
        self._accounts = {account.name: account for account in accounts}
        self._on = on
        self._ordered: set[str] = set()
        self._spared: Counter[str] = Counter()  # by account: orders that have been in doubt for long

    def spares(self, account: RailAccount) -> bool:
        """Tell whether no request is to be spoiled at an account just now."""
        return self._spared[account.name] > 0

    @asynccontextmanager
    async def sparing(self, name: str) -> AsyncIterator[None]:
        """Withdraw whatever waits to spoil a request at an account, whoever ordered it, and order nothing new inside.

        The hub asks about an order in doubt ever more rarely: one that loses message after message is given up on here
        long before there.
        """
        account = self._accounts[name]
        self._spared[name] += 1
        try:
            for fault in await self._world.faults():
                ours = fault["rail"] == account.channel and account.merchant in fault["match"].values()
                if ours and "op" in fault["match"] and fault["times"] == 1 and not fault["fired"]:
                    with suppress(Refused):  # it has just been carried out
                        await self._world.forget_fault(fault["fault_id"])
            yield
        finally:
            self._spared[name] -= 1

    async def before_create(self, method: str, *, rng: random.Random) -> None:
        """Perhaps spoil a request that is about to be sent."""
        able = [account for account in self._accounts.values() if method in account.methods]
        faults = ["answer_lost", "request_lost", "system_error_after", "bad_signature", "delay"]
        if not able:
            return
        account = rng.choice(able)
        op = "codepay" if (method, account.channel) == ("barcode", "wechat") else "create"
        await self._perhaps(rng, 0.10, faults, account, {"op": op})

    async def before_pay(self, attempt: Mapping[str, Any], rng: random.Random) -> None:
        """Perhaps spoil the notice that the payment is about to cause."""
        account = self._accounts[attempt["channel_account"]]
        faults = [
            "notice_drop", "notice_duplicate", "notice_forged", "notice_wrong_amount", "notice_unsigned",
            "notice_delay",
        ]  # fmt: skip
        if account.channel == "wechat":
            faults.append("notice_sigtest")
        await self._perhaps(rng, 0.15, faults, account, {"order": attempt["reference"]})

    async def before_refund(self, name: str, rng: random.Random) -> None:
        """Perhaps spoil a refund's request."""
        faults = ["answer_lost", "request_lost", "system_error_after"]
        await self._perhaps(rng, 0.15, faults, self._accounts[name], {"op": "refund"})

    async def _perhaps(
        self, rng: random.Random, chance: float, faults: Sequence[str], account: RailAccount, match: dict[str, str]
    ) -> None:
        if not self._on or rng.random() >= chance or self.spares(account):
            return
        fault = rng.choice(list(faults))
        params: dict[str, Any] = {}
        if fault in ("delay", "notice_delay"):
            params = {"ms": 300}
        elif fault == "notice_duplicate":
            params = {"copies": 3}
        told = await self._world.order_fault(account.channel, fault, {"merchant": account.merchant, **match}, params)
        self._ordered.add(told["fault_id"])

    async def done(self) -> Counter[str]:
        """Return how often each disturbance was really carried out; what was ordered for nothing is not counted."""
        if not self._ordered:
            return Counter()
        fired: Counter[str] = Counter()
        for fault in await self._world.faults():
            if fault["fault_id"] in self._ordered and fault["fired"]:
                fired[fault["fault"]] += fault["fired"]
        return fired
