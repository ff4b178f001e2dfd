"""The day's troubles: at noon one rail cannot be reached for an hour, one is slow all day, one loses its answers."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time as clock_time

from ops.trials.replay.orders import Invoice
from ops.trials.replay.rails import Cable, RailAccount
from ops.trials.replay.world import World

NOON, ONE = clock_time(12), clock_time(13)
SLOW_BY_MS = 400
LOSES = 0.25  # how often an order begins with the next answer doomed, where none waits to be lost
ALL_DAY = 100_000  # times
IN_FLIGHT = 6  # orders still under way when the cable is cut
STUCK_S = 3.0  # without any order ending, for so long, the hour is over
PHASES = ("before", "during", "after")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rails are in trouble; None: none is."""

    cut: str | None
    slow: str | None
    lossy: str | None


class Trouble:
    """Keeps the file's clock as far as it matters, and makes the trouble.

    The day has three parts: before noon, the hour, and after. A part begins when all but a few orders of the one before
    have ended, so some are in flight when the cable is cut, and some are stuck when it is mended.
    """

    def __init__(
        self,
        world: World,
        plan: Plan,
        accounts: Sequence[RailAccount],
        cables: Sequence[Cable],
        invoices: Sequence[Invoice],
        *,
        seed: int,
        spares: Callable[[RailAccount], bool] = lambda account: False,
    ) -> None:
        """spares: tells at which account no request is to be spoiled just now."""
        self._spares = spares
        self._world, self._plan, self._accounts, self._cables = world, plan, accounts, cables
        self._rng = random.Random(f"trouble {seed}")
        self._left = dict.fromkeys(PHASES, 0)
        for invoice in invoices:
            self._left[self._part(invoice)] += 1
        self._news = asyncio.Event()
        self._begun = {phase: asyncio.Event() for phase in PHASES}
        self._losing: str | None = None
        self._silenced: list[str] = []  # faults that keep the cut rail's notices from us
        self.phase = PHASES[0]

    def _part(self, invoice: Invoice) -> str:
        if self._plan.cut is None:
            return "before"
        at = invoice.at.timetz().replace(tzinfo=None)
        return "before" if at < NOON else "during" if at < ONE else "after"

    async def run(self) -> None:
        """Make the day's trouble, part by part; cancel it when the day is over."""
        self._begun["before"].set()
        if self._plan.slow is not None:
            for account in self._of(self._plan.slow):
                await self._order(account, "delay", {"op": "create"}, {"ms": SLOW_BY_MS}, ALL_DAY)
        if self._plan.cut is None:
            return
        await self._nearly("before")
        self.phase = "during"
        for account in self._of(self._plan.cut):
            self._silenced.append(await self._order(account, "notice_drop", {}, {}, ALL_DAY))
        for cable in self._cables:
            await cable.cut()
        self._begun["during"].set()
        await self._nearly("during")
        for cable in self._cables:
            await cable.mend()
        for fault in self._silenced:
            await self._world.forget_fault(fault)
        self.phase = "after"
        self._begun["after"].set()

    async def its_time(self, invoice: Invoice) -> None:
        """Wait until the part of the day has begun in which the invoice falls."""
        await self._begun[self._part(invoice)].wait()

    def ended(self, invoice: Invoice) -> None:
        """Take note that an invoice has ended."""
        self._left[self._part(invoice)] -= 1
        self._news.set()

    async def may_lose_an_answer(self) -> None:
        """Perhaps have the lossy rail execute an order soon and say nothing; one such fault waits at a time."""
        if self._plan.lossy is None or not (able := self._of(self._plan.lossy)):
            return
        if self._rng.random() >= LOSES or await self._still_waits():
            return
        account = self._rng.choice(able)
        if self._spares(account):
            return
        self._losing = await self._order(account, "answer_lost", {"op": "create"}, {}, 1)

    async def _still_waits(self) -> bool:
        """Tell whether the last such fault has not been carried out: they must not pile up and meet one order all."""
        if self._losing is None:
            return False
        return any(one["fault_id"] == self._losing and not one["fired"] for one in await self._world.faults())

    async def _nearly(self, phase: str) -> None:
        """Wait until all but a few orders of a part have ended, or none has for a while."""
        while self._left[phase] > IN_FLIGHT:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), STUCK_S)
            except TimeoutError:
                return

    def _of(self, channel: str) -> list[RailAccount]:
        return [account for account in self._accounts if account.channel == channel]

    async def _order(
        self, account: RailAccount, fault: str, match: dict[str, str], params: dict[str, int], times: int
    ) -> str:
        match = {"merchant": account.merchant, **match}
        told = await self._world.order_fault(account.channel, fault, match, params, times=times)
        return str(told["fault_id"])
