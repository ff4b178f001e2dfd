"""A town with a bank, whose payees are paid by schedule, for the tests of payouts."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from kernel.clock import BEIJING
from kernel.db import acquire
from kernel.errors import NotFound
from splitting import BankLink, LinkBank, MarkSent, store
from splitting.settlement.calendar import read_calendar
from splitting.settlement.payouts import Payouts
from splitting.tables import Settlement
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town, a_town


class Mailbox:
    """Takes what is sent to the bank."""

    def __init__(self, town: Town) -> None:
        self.town, self.sent = town, list[str]()

    async def link(self, book: int, bank: str) -> BankLink:
        async with acquire(self.town.front.hub.pool) as connection:
            link = await store.find_bank_link(connection, book, bank)
        if link is None:
            raise NotFound("no_such_bank", f"no {bank}")
        return link

    async def send(self, settlement: Settlement) -> Settlement:
        if settlement.status != "created":
            return settlement
        self.sent.append(settlement.id)
        sent: Settlement = await self.town.put(MarkSent(settlement.book, settlement.id))
        return sent


AHEAD = timedelta(weeks=3_850)  # of the days told here: the clock of the tests is later than the machine's
NO_HOLIDAY = {"sources": ["a test"], "off": [], "work": []}


class Desk:
    """A town with a bank, whose payees are paid by schedule. Days are told as those of the end of 2026."""

    def __init__(self, town: Town, years: Sequence[int] = (2100, 2101)) -> None:
        hub = town.front.hub
        self.town, self.mailbox = town, Mailbox(town)
        told = {"format": 1, "country": "CN", "years": {str(year): NO_HOLIDAY for year in years}}
        self.payouts = Payouts(hub.pool, hub.lanes, hub.env, self.mailbox, read_calendar(json.dumps(told)))

    async def pay(self, payee: str | None, every: str, on: int | None = None, minimum: int = 0) -> None:
        await self.payouts.set_schedule(
            self.town.front.book, BANK, payee_id=payee, every=every, on=on, minimum_minor=minimum
        )

    async def keep(
        self, payee: str | None, *, fixed_minor: int = 0, rolling_bp: int = 0, rolling_days: int = 0
    ) -> None:
        await self.payouts.set_reserve(
            self.town.front.book, BANK, payee_id=payee, fixed_minor=fixed_minor, rolling_bp=rolling_bp,
            rolling_days=rolling_days,
        )  # fmt: skip

    async def run(self) -> dict[str, dict[str, int]]:
        """Do what is due; return each new batch's business date with whom it pays how much."""
        names = {FARM: "farm", MILL: "mill", PLATFORM: "platform"}
        before = set(self.mailbox.sent)
        made = await self.payouts.settle_due(self.town.front.book, BANK, "CNY")
        found = {}
        for batch in made:
            async with acquire(self.town.front.hub.pool) as connection:
                lines = await store.instructions(connection, batch.book, batch.id)
            if batch.id not in before:
                key = f"{batch.business_date - AHEAD:%m-%d}" + (" early" if batch.id.endswith("_T0") else "")
                found[key] = {names[line.payee_id]: line.amount_minor for line in lines}
        return found

    def at(self, day: str, hour: str = "12:00") -> None:
        """Let it be that time in Beijing."""
        wanted = datetime.combine(date.fromisoformat(f"2026-{day}") + AHEAD, time.fromisoformat(hour), BEIJING)
        ahead = wanted.astimezone(UTC) - self.town.front.clock.now()
        assert ahead >= timedelta(0)
        self.town.front.clock.forward(ahead.total_seconds())


@asynccontextmanager
async def a_desk(database_url: str, home: Path) -> AsyncIterator[Desk]:
    """Open the town with its bank."""
    async with a_town(database_url, home) as town:
        await town.put(LinkBank(BankLink(town.front.book, BANK, "6200-pool", "{}", "{}")))
        yield Desk(town)
