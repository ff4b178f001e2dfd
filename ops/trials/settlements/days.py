"""A day of the trial and the night after it: orders, what goes wrong, settlement, and the proof."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations
from typing import Any

from ops.trials.replay.orders import Invoice
from ops.trials.replay.patience import PromiseBroken
from ops.trials.replay.rails import RailAccount
from ops.trials.settlements import spoils
from ops.trials.settlements.cast import CMB, ISO
from ops.trials.settlements.opening import Opening
from ops.trials.settlements.scene import Returning, Told
from ops.trials.settlements.town import HUB
from ops.trials.settlements.trade import DayTrader

REFUSED, RETURNED = 0.03, 0.01  # of the lines
DAYS_LATER = 2  # a line comes back
ASKED_EVERY_S = 310.0  # a bank that writes no files is asked about bookings at least so often
DAY = timedelta(days=1)


class Days(Opening):
    """See the module."""

    # ---- a day -------------------------------------------------------------------------------------------------------

    async def _trade(self, told: Told, invoices: Sequence[Invoice]) -> None:
        self._town.hands.move_to(told.on, "12:00")
        self._say(f"{told.on}: {len(invoices)} orders 交易")
        trader = DayTrader(
            self.world, self.accounts, invoices, self.witness, run_id=f"trial-{told.on}", seed=self._seed,
            step=lambda: None,
        )  # fmt: skip
        ledger = await trader.day()
        told.orders, told.paid = len(invoices), len(ledger.payments)
        told.refused = {reason: len(found) for reason, found in sorted(ledger.refused.items())}
        told.captured_minor = sum(one.captured_minor for one in ledger.payments)
        told.refunded = sum(1 for one in ledger.payments if one.refund_count)
        told.refunded_minor = trader.given_back_minor

    async def _send_back(self, on: date) -> None:
        """Have the banks send lines back 退票 whose day has come."""
        coming = self._returning.pop(on, [])
        if coming:
            self._town.hands.move_to(on, "11:30")
        for one in coming:
            body = {"end_to_end_id": one.line, "code": "AC04"}
            if one.bank == ISO:
                await self.world.control("POST", "/control/bank/returns", {**body, "account": one.payee.account})
            else:
                await self.world.control("POST", "/control/cmb/returns", body)
            self._banks[one.bank].moved[on] -= one.minor
            self.witness.sent[one.payee.name] -= one.minor
            self.told[on].returned += 1
        if coming:
            self._town.hands.forward(ASKED_EVERY_S)
        for one in coming:

            async def lacking(one: Returning = one) -> str:
                line = await self._line(one.settlement, one.line)
                return "" if line["status"] == "returned" else f"{one.line} is {line['status']}"

            await self._until(f"{one.bank}'s return of {one.line} is booked", lacking)

    async def _order_wrongs(self, on: date, night: date, *, cmb: bool) -> None:
        """Have the banks refuse lines of the coming date, and the second one say a wrong amount."""
        for bank in self._banks.values():
            if not bank.works(night):
                continue
            due = self.witness.due([one.name for one in self._of(bank)], on)
            self._refuse[bank.name] += round(1000 * REFUSED * len(due))
            who = self._rng.sample(sorted(due), min(len(due), (self._refuse[bank.name] + 500) // 1000))
            self._refuse[bank.name] -= 1000 * len(who)
            for one in (one for one in self._of(bank) if one.name in who):
                rail, key = ("bank", "creditor_account") if bank.name == ISO else ("cmb", "account")
                await self.world.order_fault(rail, "refuse_line", {key: one.account})
                self._to_refuse.add(one.name)
            if cmb and bank.name == CMB and (able := sorted(set(due) - set(who))):
                told = next(one for one in self._of(bank) if one.name == able[0])
                wrong = await self.world.order_fault("cmb", "other_amount", {"account": told.account})
                self._cmb_fault = wrong["fault_id"]

    async def _order_spoils(self, wanted: Sequence[spoils.Spoil]) -> None:
        customer = self._banks[ISO].enrolment["customer_id"]
        for one in wanted:
            match = {"customer_id": customer, "type": one.type, "date": one.on.isoformat()}
            await self.world.order_fault("bank", one.way, match)

    async def _choose_banks(self, on: date) -> None:
        """Say into which bank each rail is to pay the day's net, so that both have enough for those paid there.

        Raises PromiseBroken where that cannot be.
        """
        room = {
            bank.name: sum(bank.deposits.values()) - sum(bank.moved.values())
            - sum(self.witness.due([one.name for one in self._of(bank)], on).values())
            for bank in self._banks.values()
        }  # fmt: skip
        nets = {one.name: self.witness.into[one.name, on] for one in self.accounts}
        free = [one for one in self.accounts if one.mark is not None]
        rest = sum(nets[one.name] for one in self.accounts)

        def left(chosen: Sequence[RailAccount]) -> int:
            at_cmb = sum(nets[one.name] for one in chosen)
            return min(room[CMB] + at_cmb, room[ISO] + rest - at_cmb)

        subsets = [some for size in range(len(free) + 1) for some in combinations(free, size)]
        best = max(subsets, key=left)
        if left(best) < 0:
            raise PromiseBroken(f"what the rails pay in for {on} cannot be enough at both banks: {nets}, {room}")
        for account in free:
            at_cmb = account in best
            self._pays_into[account.name] = CMB if at_cmb else ISO
            path = f"/control/{account.channel}/merchants/{account.merchant}"
            await self.world.control("PATCH", path, {"settle_to": None if at_cmb else self._banks[ISO].pool})

    # ---- a night -----------------------------------------------------------------------------------------------------

    async def _pay_in(self, on: date, night: date) -> None:
        """Let midnight pass; the rails pay the day's net into the banks."""
        self._town.hands.move_to(night, "00:01")
        for account in self.accounts:
            named = {"merchant": account.merchant, "date": on.isoformat()}
            await self.world.control("POST", f"/control/{account.channel}/close-day", named)

        async def lacking() -> str:
            shown = (await self.world.control("GET", "/control/bank"))["date"]
            return "" if shown == night.isoformat() else f"the bank's date is {shown}"

        await self._until(f"the bank's date is {night}", lacking)
        for account in self.accounts:
            minor = self.witness.into[account.name, on]
            bank = self._banks[self._pays_into[account.name]]
            if minor and (name := account.deposit(on)) is not None:
                bank.deposits[night] += minor
                if bank.name == CMB:
                    body = {"account": bank.pool, "amount_minor": minor, "end_to_end_id": name}
                    await self.world.control("POST", "/control/cmb/deposits", body)
            elif minor:  # transfers are in the pool account since they were made
                bank.deposits[on] += minor
        await self._files_read()

    async def _settle(self, told: Told, night: date, *, kill: bool) -> None:
        """Have the timetable pay the date, and hold every line against the witness."""
        expected = {
            bank.name: self.witness.due([one.name for one in self._of(bank)], told.on)
            for bank in self._banks.values()
            if bank.works(night)
        }
        self._say(f"{night}: settlement of {sum(map(len, expected.values()))} payees 结算")
        self._town.hands.move_to(night, "00:10:05")
        if kill and any(expected.values()):
            await self._kill(told)
        found: dict[str, Any] = {}

        async def lacking() -> str:
            listed = (await self.world.hub("GET", "/v1/settlements?limit=20"))["data"]
            mine = {one["bank"]: one for one in listed if one["business_date"] == told.on.isoformat()}
            found.update(mine)
            missing = [
                f"{bank}: {mine[bank]['status'] if bank in mine else 'no batch'}"
                for bank, due in expected.items()
                if due and (bank not in mine or mine[bank]["status"] != "finished")
            ]
            if missing:
                await self._handle_files()
            return ", ".join(missing)

        await self._until(f"the batches of {told.on} are decided", lacking)
        for bank, due in expected.items():
            if bank in found or due:
                await self._hold_against(told, night, bank, found[bank]["id"], due)

    async def _kill(self, told: Told) -> None:
        """Kill the hub in the middle of the settlement, at a moment that the seed says, and start it again."""

        async def lacking() -> str:
            listed = (await self.world.hub("GET", "/v1/settlements?limit=4"))["data"]
            return "" if any(one["business_date"] == told.on.isoformat() for one in listed) else "no batch"

        await self._until("a batch is begun", lacking, pause_s=0.02)
        await asyncio.sleep(self._rng.random() * 0.4)
        self._say(f"{told.on}: kill -9 of {' and '.join(HUB)}")
        self._town.kill(*HUB)
        await self._town.start(*HUB)
        told.killed = True

    async def _hold_against(self, told: Told, night: date, bank: str, settlement: str, due: Mapping[str, int]) -> None:
        """Compare a batch with what the witness says, line by line, and note what became of each line."""
        shown = await self.world.hub("GET", f"/v1/settlements/{settlement}")
        lines = {self._payee[one["payee"]].name: one for one in shown["instructions"]}
        amounts = {who: line["amount_minor"] for who, line in lines.items()}
        if amounts != due:
            odd = {who: (amounts.get(who, 0), due.get(who, 0)) for who in {*amounts, *due}}
            odd = {who: both for who, both in odd.items() if both[0] != both[1]}
            self.wrongs.append(f"{bank} pays {told.on} otherwise than the witness says: {odd}")
        told.lines[bank] = dict(Counter(line["status"] for line in lines.values()))
        told.settled_minor[bank] = 0
        for who, line in sorted(lines.items()):
            refused = who in self._to_refuse
            self._to_refuse.discard(who)
            if line["status"] != ("refused" if refused else "paid"):
                self.wrongs.append(f"{bank}: {who}'s line of {told.on} is {line['status']}")
            if line["status"] != "paid":
                continue
            minor = line["amount_minor"]
            self.witness.sent[who] += minor
            self._banks[bank].moved[night] += minor
            told.settled_minor[bank] += minor
            self._return += RETURNED
            if self._return >= 1:
                self._return -= 1
                payee = self._payee[line["payee"]]
                back = Returning(line["id"], settlement, payee, bank, minor)
                self._returning.setdefault(night + (DAYS_LATER - 1) * DAY, []).append(back)

    async def _prove(self, told: Told, night: date) -> None:
        """Let the timetable prove the date, verify its certificate, and see that a flipped byte is found."""
        self._town.hands.move_to(night, "11:00:05")
        desk = self._town.desk

        async def lacking() -> str:
            rows = (await desk.type("timetable", "--json", code=None)).told["rows"]
            behind = [row for row in rows if row["done_until"] < told.on.isoformat()]
            if any(row["failed"] for row in behind):
                if await self._handle_files():
                    await self._again(told.on)
                self._town.hands.forward(60)  # it is tried again after a while
            return "; ".join(f"{row['step']} of {row['of']}: {row['failed'] or 'not done yet'}" for row in behind)

        await self._until(f"the timetable has done {told.on}", lacking, pause_s=1.0)
        if await self._handle_files():  # of a day on which the bank does not work: no step waited for it
            await self._again(told.on)
        file, key = self._folder / f"proof-{told.on}.json", self._folder / "proof.pem"
        await desk.type("proof", "show", str(told.on), "--output", str(file), code=None)
        await desk.type("proof", "key", "--output", str(key))
        said = await desk.type("proof", "verify", str(file), "--public-key", str(key), "--json", code=None)
        told.certificate = file.name
        if said.code or not said.told["good"]:
            told.proof = "does not hold"
            self.wrongs.append(f"the proof of {told.on} does not hold or does not verify: {said.out[:2000]}")
            return
        told.proof = "holds"
        self._hold_certificate(told.on, said.told["certificate"])
        content = bytearray(file.read_bytes())
        content[self._rng.randrange(len(content))] ^= 1 << self._rng.randrange(8)
        flipped = file.with_suffix(".flipped.json")
        flipped.write_bytes(content)
        if not (await desk.type("proof", "verify", str(flipped), "--public-key", str(key), code=None)).code:
            self.wrongs.append(f"a certificate of {told.on} with one bit flipped verifies")

    async def _again(self, on: date) -> None:
        """Do the date's steps again, as the clerk's page says, once a statement of it was replaced."""
        await self._town.desk.type("proof", "--date", str(on), code=None)
        await self._town.desk.type("timetable", "run", "bank_reconciliation", "--date", str(on), code=None)

    def _hold_certificate(self, on: date, told: Mapping[str, Any]) -> None:
        """Compare what a certificate says of custody with the witness."""
        if told["date"] != on.isoformat():
            self.wrongs.append(f"the certificate of {on} is of {told['date']}")
        custody = {one["bank"]: one for book in told["books"] for one in book["custody"]}
        for bank in self._banks.values():
            paid_in = sum(minor for day, minor in bank.deposits.items() if day <= on)
            moved = sum(minor for day, minor in bank.moved.items() if day <= on)
            pool, subs = paid_in - moved, moved if bank.name == ISO else 0
            if bank.name not in custody:
                if pool or subs:
                    self.wrongs.append(f"the certificate of {on} has nothing of {bank.name}")
                continue
            hub, theirs = custody[bank.name]["hub"], custody[bank.name]["bank_statement"] or {}
            for what, minor in (("pool_minor", pool), ("sub_accounts_minor", subs)):
                for whose, figures in (("hub", hub), ("bank", theirs)):
                    if figures.get(what, minor) != minor:
                        self.wrongs.append(
                            f"certificate of {on}: {what} at {bank.name} is {figures[what]} by the {whose}, "
                            f"{minor} by the witness"
                        )
