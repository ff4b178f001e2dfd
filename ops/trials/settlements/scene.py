"""What every part of a trial knows, and waits with."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp

from ops.trials.replay.patience import Patience
from ops.trials.replay.rails import CAST, RailAccount
from ops.trials.replay.world import World
from ops.trials.settlements.cast import ISO, PLATFORM, Payee, payees
from ops.trials.settlements.town import Town
from ops.trials.settlements.witness import Witness

PATIENCE_S = 120.0


@dataclass(slots=True)
class Told:
    """What a date came to; amounts in minor units."""

    on: date
    orders: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # orders, by the hub's or the rail's reason
    paid: int = 0
    captured_minor: int = 0
    refunded: int = 0
    refunded_minor: int = 0
    lines: dict[str, dict[str, int]] = field(default_factory=dict)  # of the batches that pay it: bank → status → lines
    settled_minor: dict[str, int] = field(default_factory=dict)
    returned: int = 0
    killed: bool = False
    proof: str = ""
    certificate: str = ""


@dataclass(slots=True)
class Bank:
    """A bank of the play, as its customer and as the play see it."""

    name: str
    enrolment: Mapping[str, Any]
    pool: str = ""
    works_every_day: bool = False
    deposits: Counter[date] = field(default_factory=Counter)  # by the bank's date
    moved: Counter[date] = field(default_factory=Counter)  # into payees' accounts, less what came back

    def works(self, on: date) -> bool:
        return self.works_every_day or on.isoweekday() < 6


@dataclass(slots=True)
class Returning:
    """A line that was paid and is to come back."""

    line: str
    settlement: str
    payee: Payee
    bank: str
    minor: int


class Scene:
    """What every part of a trial knows. `wrongs`: every promise that did not hold, in words."""

    def __init__(
        self, town: Town, session: aiohttp.ClientSession, folder: Path, *, seed: int, say: Callable[[str], None]
    ) -> None:
        """folder: where certificates and files that the bank sends by mail are put."""
        self._town, self._session, self._folder, self._seed, self._say = town, session, folder, seed, say
        self._rng = random.Random(f"trial {seed}")
        self.witness = Witness()
        self.people = payees()
        self._platform = Payee(PLATFORM, ISO)
        self.told: dict[date, Told] = {}
        self.wrongs: list[str] = []
        self.files: Counter[str] = Counter()  # by bank and fate
        self.spoiled: list[dict[str, str]] = []
        self._refuse, self._return = Counter[str](), 0.6
        self._returning: dict[date, list[Returning]] = {}
        self._to_refuse: set[str] = set()
        self._handled: set[str] = set()
        self._book = 0
        self._banks: dict[str, Bank] = {}
        self._payee: dict[str, Payee] = {}
        self._cmb_fault = ""
        self.accounts: list[RailAccount] = []
        self.world: World
        self._pays_into: dict[str, str] = {one.account: ISO for one in CAST}
        self.seconds = 0.0

    def _due(self, on: date) -> dict[str, int]:
        """Return what is to be paid when a date is over, whoever's."""
        return self.witness.due([one.name for one in [*self.people, self._platform]], on)

    def _of(self, bank: Bank) -> list[Payee]:
        return [one for one in [*self.people, self._platform] if one.bank == bank.name]

    async def _line(self, settlement: str, line: str) -> dict[str, Any]:
        shown = await self.world.hub("GET", f"/v1/settlements/{settlement}")
        return next(one for one in shown["instructions"] if one["id"] == line)

    async def _until(self, what: str, lacking: Callable[[], Awaitable[str]], *, pause_s: float = 0.1) -> None:
        patience = Patience(what, PATIENCE_S, pause_s=pause_s)
        while missing := await lacking():
            await patience.wait(missing)
