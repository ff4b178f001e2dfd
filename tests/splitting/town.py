"""A shop whose payees have sub-accounts at one bank, for the tests of settlement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import splitting
from kernel.db import acquire
from kernel.work import Command
from splitting import CreatePayee, DecideInstruction, MakeSettlement, Payee
from splitting.settlement.instructions import settlement_id
from splitting.shares.own import SetOwnPayee
from splitting.store import Owed
from splitting.tables import Instruction, OwnPayee, Settlement
from tests.gateway.front import Front, a_front

BANK = "citybank"
PLATFORM = "pye_" + "0" * 26
DAY = timedelta(days=1)
FARM, MILL, SHOP = "pye_" + "1" * 26, "pye_" + "2" * 26, "pye_" + "3" * 26
KILN = "pye_" + "4" * 26


@dataclass
class Town:
    """A shop whose payees, the platform among them, have sub-accounts at one bank."""

    front: Front
    today: date
    made: int = 0

    async def put(self, command: Command[Any]) -> Any:
        return await self.front.hub.lanes.put(command)

    async def sell(self, amount: int = 10_000) -> str:
        """Sell something: 0.5 % to the platform, 30 % to the farm, the rest to the mill; the channel keeps 0.6 %."""
        plan = [
            {"payee": PLATFORM, "basis_points": 50},
            {"payee": FARM, "basis_points": 3_000},
            {"payee": MILL, "remainder": 1},
        ]
        self.made += 1
        payment_id = await self.front.paid(f"order-{self.made}", amount, split=plan)
        await self.front.share_out()
        return payment_id

    async def pay_own(self, *, payee: str | None = SHOP) -> None:
        """Have the shop, a payee with a sub-account of its own, be paid what is its own; or None for nobody."""
        book, now = self.front.book, self.front.clock.now()
        await self.put(CreatePayee(Payee(book, SHOP, "shop", "merchant", "CNY", BANK, "6200" + SHOP[-12:], now)))
        await self.put(SetOwnPayee(OwnPayee(book, "CNY", payee, "ada", now)))
        self.front.clock.forward(1)  # what is set is believed for a second

    async def read(self, day: date) -> list[Owed]:
        """Read what is owed up to a date, as whoever settles it does."""
        async with acquire(self.front.hub.pool) as connection:
            return await splitting.store.owed_until(connection, self.front.book, BANK, "CNY", day)

    async def owed(self, day: date) -> dict[str, int]:
        return {one.payee_id: one.minor for one in await self.read(day) if one.minor > 0}

    async def asked(self, day: date, read: list[Owed] | None = None) -> Settlement | None:
        """Have a date settled, whatever the hour; read: what was read of it before."""
        owed = await self.read(day) if read is None else read
        book, now = self.front.book, self.front.clock.now()
        made: Settlement | None = await self.put(MakeSettlement(book, BANK, day, day + DAY, "CNY", owed, now))
        return made

    async def settle(self, day: date, read: list[Owed] | None = None) -> Settlement:
        """Have a date settled for which something is to be paid."""
        settlement = await self.asked(day, read)
        assert settlement is not None
        return settlement

    async def lines(self, day: date) -> dict[str, Instruction]:
        async with acquire(self.front.hub.pool) as connection:
            found = await splitting.store.instructions(connection, self.front.book, self.id(day))
        return {line.payee_id: line for line in found}

    async def batch(self, day: date) -> Settlement:
        async with acquire(self.front.hub.pool) as connection:
            found = await splitting.store.find_settlement(connection, self.front.book, self.id(day))
        assert found is not None
        return found

    def id(self, day: date) -> str:
        return settlement_id(self.front.book, BANK, day, "CNY")

    async def decide(self, day: date, payee: str, *, paid: bool, on: date | None = None) -> Instruction:
        line = (await self.lines(day))[payee]
        command = DecideInstruction(self.front.book, line.id, paid, None if paid else "AC04", on or day + DAY)
        decided: Instruction = await self.put(command)
        return decided

    async def standing(self) -> dict[str, int]:
        """Return each account's balance under a short name, those at nothing left out."""
        names = {FARM: "farm", MILL: "mill", SHOP: "shop", PLATFORM: "platform"}
        found = {}
        for account, (balance, _) in (await self.front.balances()).items():
            short = account.removesuffix(":CNY")
            for payee, name in names.items():
                short = short.replace(payee, name)
            if balance:
                found[short] = balance
        return found


async def bind(front: Front, payee: str) -> None:
    """Have a payee withdraw to its own account at another bank."""
    own = {"account": "9558801001", "bank_bic": "ICBKCNBJXXX", "bank_name": "工商银行"}
    answer = await front.send("PUT", f"/v1/payees/{payee}/account", own)
    assert answer.status == 200, answer


@asynccontextmanager
async def a_town(database_url: str, home: Path, **more: Any) -> AsyncIterator[Town]:
    """Open the town. more: see a_front."""
    async with a_front(database_url, home, **more) as front:
        for payee, name, kind in (
            (PLATFORM, "hub", "platform"),
            (FARM, "farm", "supplier"),
            (MILL, "mill", "supplier"),
        ):
            account = "6200" + payee[-12:]
            registered = Payee(front.book, payee, name, kind, "CNY", BANK, account, front.clock.now())
            await front.hub.lanes.put(splitting.CreatePayee(registered))
        today = (front.clock.now() + timedelta(hours=8)).date()
        yield Town(front, today)
