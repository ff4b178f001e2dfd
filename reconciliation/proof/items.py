"""Bookings at one side only 未达账项: what a bank has booked and the hub has not, and the other way round. Pure.

They are what a closing balance and the hub's mirror of it may differ by, and they are carried from day to day until the
other side has them too.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any


class At(StrEnum):
    """The side that has a booking."""

    BANK = "bank"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class Item:
    """One booking on one account at the bank, as one side has it."""

    at: At
    account: str
    minor: int  # signed: money in is positive
    day: date  # by the books of that side
    id: str  # the bank's number of it; the transfer of the hub's
    line: str | None = None  # the line of a settlement that it names
    batch: str | None = None  # the batch 批次 that it is of, or that it books as one

    @property
    def effect(self) -> int:
        """What the bank's balance has more than the hub's by it."""
        return self.minor if self.at is At.BANK else -self.minor

    def as_json(self) -> dict[str, Any]:
        told = {
            "at": self.at.value, "account": self.account, "minor": self.minor, "day": self.day.isoformat(),
            "id": self.id, "line": self.line, "batch": self.batch,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> "Item":
        """Read what `as_json` wrote, whatever else stands there."""
        return cls(
            At(told["at"]), told["account"], told["minor"], date.fromisoformat(told["day"]), told["id"],
            told.get("line"), told.get("batch"),
        )  # fmt: skip


def one_sided(items: Iterable[Item]) -> list[Item]:
    """Return what is left when each booking of one side has met one of the other, in order of day.

    Two meet on one account with one amount: first where both name one line, then where a bank books a batch as one and
    the hub line by line, then on one day, then on any. What names a line meets nothing that names another. Two of one
    side that undo one another by one id or line are gone, too. What is left has the effect of all that came in.
    """
    accounts: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.minor:
            accounts[item.account].append(item)
    left: list[Item] = []
    for found in accounts.values():
        left += _left(sorted(found, key=_order))
    return sorted(left, key=_order)


def _order(item: Item) -> tuple[Any, ...]:
    return item.day, item.account, item.at, item.id, item.minor, item.line or "", item.batch or ""


def _left(items: Sequence[Item]) -> Sequence[Item]:
    """Let bookings of one account meet until none does any more."""
    while True:
        left = _met(items, lambda item: None if item.line is None else (item.line, item.minor))
        left = _met_batches(left)
        left = _met(left, lambda item: (item.day, item.minor))
        left = _undone(_met(left, lambda item: item.minor))
        if len(left) == len(items):
            return left
        items = left


def _met(items: Sequence[Item], key: Callable[[Item], Hashable | None]) -> list[Item]:
    """Leave out pairs, one of each side, that have one key; the earlier first. None has no key."""
    waiting: defaultdict[Hashable, dict[At, list[int]]] = defaultdict(lambda: {At.BANK: [], At.HUB: []})
    for number, item in enumerate(items):
        if (found := key(item)) is not None:
            waiting[found][item.at].append(number)
    gone: set[int] = set()
    for sides in waiting.values():
        theirs = list(sides[At.BANK])
        for ours in sides[At.HUB]:
            other = next((one for one in theirs if _may_meet(items[ours], items[one])), None)
            if other is not None:
                theirs.remove(other)
                gone |= {ours, other}
    return [item for number, item in enumerate(items) if number not in gone]


def _may_meet(ours: Item, theirs: Item) -> bool:
    return theirs.line is None or ours.line == theirs.line


def _met_batches(items: Sequence[Item]) -> list[Item]:
    """Leave out each booking of a whole batch, and the lines that it is of, where they come to it."""
    gone: set[int] = set()
    for number, whole in enumerate(items):
        if whole.at is not At.BANK or whole.batch is None or whole.line is not None:
            continue
        lines = [
            n
            for n, item in enumerate(items)
            if n not in gone
            and item.at is At.HUB
            and item.batch == whole.batch
            and (item.minor > 0) == (whole.minor > 0)
        ]
        if lines and sum(items[n].minor for n in lines) == whole.minor:
            gone |= {number, *lines}
    return [item for number, item in enumerate(items) if number not in gone]


def _undone(items: Sequence[Item]) -> list[Item]:
    """Leave out pairs of one side that undo one another: of one line, or one of which is named after the other."""
    waiting: defaultdict[tuple[At, str, int], list[int]] = defaultdict(list)
    gone: set[int] = set()
    for number, item in enumerate(items):
        name = item.line or item.id.removesuffix(":cleared")
        opposite = waiting[item.at, name, -item.minor]
        if opposite:
            gone |= {number, opposite.pop(0)}
        else:
            waiting[item.at, name, item.minor].append(number)
    return [item for number, item in enumerate(items) if number not in gone]
