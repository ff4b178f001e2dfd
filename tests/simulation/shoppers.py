"""Merchants whose customers pay, give up, are refunded, over every rail, and who never give up asking the hub."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ops.trials.replay.rails import CARD, Payers, RailAccount
from ops.trials.replay.world import Refused, World

OPEN = ("processing", "requires_action", "requires_capture")
LIKED = {"qr": 30, "barcode": 34, "page": 12, "card": 16, "transfer": 4}
CALM_S = 90.0  # customers follow what they began for so long after the storm
LEAVES = 5  # who wants to leave without paying asks so often to have the order closed, then pays after all
FOLLOWED_S = 45.0  # a refund
RETRIES = 3  # of a failed refund, as the API page says


class TwoDoors(World):
    """A hub with two gateways: each call goes to either, repetitions too."""

    def __init__(
        self, session: aiohttp.ClientSession, doors: Sequence[str], api_key: str, sandbox_url: str, rng: random.Random
    ) -> None:
        super().__init__(session, doors[0], api_key, sandbox_url)
        self._doors = doors
        self._rng = rng

    async def _call(self, method: str, url: str, *rest: Any, **more: Any) -> tuple[int, dict[str, Any]]:
        at = self._rng.choice(self._doors)
        return await super()._call(method, url.replace(self._doors[0], at, 1), *rest, **more)


@dataclass
class Shop:
    """One merchant of the storm."""

    book: int
    world: TwoDoors
    accounts: Sequence[RailAccount]
    payees: Sequence[str]
    rng: random.Random
    calm: asyncio.Event  # the storm is over: begin nothing new
    met: Counter[str] = field(default_factory=Counter)
    _number: int = 0
    _calm_since: float = 0.0

    def _too_late(self) -> bool:
        """Tell whether the storm has been over for so long that what is still open is for the judge."""
        if self.calm.is_set() and not self._calm_since:
            self._calm_since = time.monotonic()
        return self.calm.is_set() and time.monotonic() - self._calm_since > CALM_S

    async def keep_open(self, customers: int) -> None:
        """Serve so many customers at a time until the storm is over."""
        await asyncio.gather(*(self._customers() for _ in range(customers)))

    async def _customers(self) -> None:
        while not self.calm.is_set():
            self._number += 1
            await self._customer(f"o{self._number}", random.Random(self.rng.random()))

    async def _customer(self, number: str, rng: random.Random) -> None:
        payers = Payers(self.world, self.accounts, run_id=f"storm-{self.book}")
        can = {method for account in self.accounts for method in account.methods}
        liked = {method: weight for method, weight in LIKED.items() if method in can}
        method = rng.choices(list(liked), list(liked.values()))[0]
        how: dict[str, Any] = {"type": method, "channel": payers.pinned(method, rng)}
        if method == "barcode":
            how = {"type": method, "auth_code": payers.code(number, rng)}
        elif method == "card":
            how["token"] = CARD
        elif rng.random() < 0.4 and method == "qr":
            how["channel"] = "auto"
        body: dict[str, Any] = {
            "merchant_order_id": number,
            "amount": rng.randint(101, 99_999),
            "currency": "CNY",
            "method": how,
            "description": f"order {number}",
            "split": [{"payee": self.payees[0], "basis_points": 250}, {"payee": self.payees[1], "remainder": 1}],
        }
        if method in ("card", "page") and rng.random() < 0.4:
            body["capture"] = "manual"
        try:
            payment = await self._bought(number, body, payers, rng)
        except Refused as refusal:
            self.met[f"refused: {refusal.code}"] += 1
            return
        self.met[f"payment {payment['status']}"] += 1
        if payment["status"] == "succeeded" and rng.random() < 0.7:
            await self._refunds(number, payment, rng)

    async def _bought(self, number: str, body: dict[str, Any], payers: Payers, rng: random.Random) -> dict[str, Any]:
        """Return the payment as it ended, or as it stands when the storm is over. Raises Refused."""
        key = f"storm-{self.book}-{number}"
        made = await self.world.hub("POST", "/v1/payments", body, key=key)
        path, till = f"/v1/payments/{made['id']}", "auth_code" in body["method"]
        leaves = LEAVES if rng.random() < 0.12 else 0  # without having paid
        asked_at, pause = time.monotonic(), 0.05
        payment = await self.world.hub("GET", path)
        while payment["status"] in OPEN and not self._too_late():
            if self.calm.is_set():
                leaves = 0  # in the end everybody pays: what nobody pays would stay open
            attempt = payment["attempts"][-1]
            with contextlib.suppress(Refused, TimeoutError):
                if payment["status"] == "requires_capture":
                    if rng.random() < 0.2:
                        async with asyncio.timeout(10):
                            await self.world.hub("POST", f"{path}/void")
                    else:
                        await self.world.hub("POST", f"{path}/capture", {}, key=f"{key}-capture")
                elif leaves and payment["status"] == "requires_action":
                    leaves -= 1  # a rail that cannot close an order has the hub say "not yet" until it lapses
                    async with asyncio.timeout(2):
                        await self.world.hub("POST", f"{path}/close")
                elif payment["status"] == "requires_action":  # until it shows: the rail may not have heard of it
                    with contextlib.suppress(Refused):  # a page that was opened before may not open again
                        await payers.pay(attempt, payment["next_action"])
                    await payers.pay(attempt, None)
                elif till and str(body["method"]["auth_code"]).endswith("8") and attempt["status"] != "created":
                    await payers.pay(attempt, None)
                if till and attempt["status"] in ("created", "unknown") and time.monotonic() - asked_at > 2:
                    asked_at = time.monotonic()
                    await self.world.hub("POST", "/v1/payments", body, key=key)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
            payment = await self.world.hub("GET", path)
        return payment

    async def _refunds(self, number: str, payment: dict[str, Any], rng: random.Random) -> None:
        for n in range(rng.randint(1, 2)):
            amount = rng.randint(1, max(1, payment["amount"] // 2))
            key = f"storm-{self.book}-{number}-r{n}"
            try:
                refund = await self.world.hub(
                    "POST", f"/v1/payments/{payment['id']}/refunds", {"amount": amount, "reason": "storm"}, key=key
                )
            except Refused as refusal:
                self.met[f"refund refused: {refusal.code}"] += 1
                return
            await self._refunded(refund, key)

    async def _refunded(self, refund: dict[str, Any], key: str) -> None:
        """Follow a refund to its end, and start it again where it failed, as the API page says.

        What takes long is left to the hub and the judge: a few that wait for a person must not keep everybody waiting.
        """
        again, pause, left_at = 0, 0.05, time.monotonic() + FOLLOWED_S
        while not self._too_late():
            if time.monotonic() > left_at:
                self.met["refund left open"] += 1
                return
            if refund["status"] == "failed":
                self.met["refund failed"] += 1
                if again == RETRIES:
                    return
                again += 1
                try:
                    await self.world.hub("POST", f"/v1/refunds/{refund['id']}/retry", key=f"{key}-again{again}")
                    self.met["refund retried"] += 1
                except Refused as refusal:
                    self.met[f"retry refused: {refusal.code}"] += 1
            elif refund["status"] != "processing":
                self.met[f"refund {refund['status']}"] += 1
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
            refund = await self.world.hub("GET", f"/v1/refunds/{refund['id']}")
