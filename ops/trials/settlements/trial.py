"""The trial: days are bought, given back, paid in, settled, sent back, proved; the hub dies in the middle."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from ops.trials.replay.orders import Invoice
from ops.trials.replay.patience import PromiseBroken
from ops.trials.settlements import spoils
from ops.trials.settlements.cast import AGENTS, CMB, ISO, STORES
from ops.trials.settlements.days import DAY, Days
from ops.trials.settlements.scene import Told

AFTERWARDS = 3  # days without orders at least, and until what was refused and came back is paid again
MOST_AFTERWARDS = timedelta(days=10)


class Trial(Days):
    """One trial in a town of its own."""

    # ---- the whole ---------------------------------------------------------------------------------------------------

    async def play(self, days: Mapping[date, Sequence[Invoice]]) -> None:
        """Play all days and those after them. Raises PromiseBroken, Refused, HubFailed where it cannot go on."""
        began = time.monotonic()
        first, last = min(days), max(days)
        await self._open(first)
        dates = [
            first + n * DAY for n in range((last - first).days + 1 + AFTERWARDS)
        ]  # with statements, whatever comes
        nights = [on + DAY for on in days]
        paying = [night for night in nights if self._banks[ISO].works(night)]
        if not paying:
            raise PromiseBroken("the bank works on none of the days after the orders")
        await self._order_spoils(spoils.drawn(dates, nights, paying, self._seed))
        kill_on = self._rng.choice(paying)
        cmb_wrong = self._rng.choice(nights)
        on = first - DAY
        while on < dates[-1] or self._returning or self._due(on):
            on += DAY
            if on > dates[-1] + MOST_AFTERWARDS:
                raise PromiseBroken(f"{MOST_AFTERWARDS.days} days later these are not paid: {self._due(on)}")
            told = self.told[on] = Told(on)
            await self._send_back(on)
            if on in days:
                await self._trade(told, days[on])
            night = on + DAY
            self._town.hands.move_to(on, "23:50")
            await self._order_wrongs(on, night, cmb=night == cmb_wrong)
            await self._choose_banks(on)
            await self._pay_in(on, night)
            await self._settle(told, night, kill=night == kill_on)
            await self._prove(told, night)
        await self._close()
        self.seconds = time.monotonic() - began

    def summary(self) -> dict[str, Any]:
        """Return the figures for machines; amounts in minor units."""
        return {
            "seed": self._seed,
            "stores": STORES,
            "agents": AGENTS,
            "days": [
                {
                    "date": one.on.isoformat(), "orders": one.orders, "paid": one.paid,
                    "refused": one.refused,
                    "captured_minor": one.captured_minor, "refunded": one.refunded,
                    "refunded_minor": one.refunded_minor, "lines": one.lines, "settled_minor": one.settled_minor,
                    "returned": one.returned, "killed": one.killed, "proof": one.proof,
                    "certificate": one.certificate,
                }
                for one in self.told.values()
            ],
            "files": dict(sorted(self.files.items())),
            "spoiled": self.spoiled,
            "seconds": round(self.seconds, 1),
        }  # fmt: skip

    # ---- the end -----------------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        """Hold everything against everything once more: banks' own truth, fates of files, the books themselves."""
        self._say("holding everything against everything 核对")
        balances = {one["name"]: one["balance_minor"] for one in await self._sub_accounts()}
        for one in [*self.people, self._platform]:
            if one.bank == CMB:
                found = (await self.world.control("GET", f"/control/cmb/accounts/{one.account}"))["balance_minor"]
            else:
                found = balances[one.name]
            if found != self.witness.sent[one.name]:
                self.wrongs.append(
                    f"{one.name} has {found} at {one.bank}, {self.witness.sent[one.name]} by the witness"
                )
        files = await self._listed()
        self.files.update(f"{one['bank']} {one['fate']}" for one in files)
        path = f"/control/bank/spoiled?customer_id={self._banks[ISO].enrolment['customer_id']}"
        for one in (await self.world.control("GET", path))["files"]:
            kept = next((file for file in files if file["file_id"] == one["file_id"]), None)
            fate = "not read" if kept is None else kept["fate"]
            if one["fault"] == "file_doubled":
                self.spoiled.append({"file": one["file_id"], "way": one["fault"], "code": fate, "remedy": "none"})
            elif fate == "quarantined" or one["file_id"] not in {
                file["file_id"] for file in files if file["id"] in self._handled
            }:
                self.wrongs.append(f"{one['file_id']} ({one['fault']}) is {fate}, and was never set aside")
        said = await self._town.desk.type("discrepancies", "--book", str(self._book), code=None)
        if said.code:
            self.wrongs.append(f"reconciliation found what nobody had planted: {said.out[:2000]}")
        said = await self._town.desk.type("case", "list", code=None)
        if said.code:
            self.wrongs.append(f"cases are left: {said.out[:2000]}")
        said = await self._town.desk.type("verify", "--all", "--json", code=None)
        if said.code:
            self.wrongs.append(f"invariants do not hold: {said.out[:2000]}")
        ways = Counter(one["way"] for one in self.spoiled)
        for way in spoils.WAYS:
            if not ways[way]:
                self.wrongs.append(f"no file was spoiled by {way}")
