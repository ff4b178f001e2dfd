"""The frozen parts of a payment's shares 冻结: what is not to be paid out yet. Pure, exact to the last unit.

A part is frozen as a hold in the ledger, from the merchant's account to the payee's: the payee is owed it when it is
released, and a refund that comes before takes it from the merchant, who still has it.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import orjson

from kernel.money import allocate
from splitting.plans.tree import Release
from splitting.tables import Split


class Frozen(NamedTuple):
    """A part of a share that was not to be paid out at once. Amounts in minor units, dates in ISO 8601."""

    share: int  # its place in the split's shares
    step: int  # its place among the parts of the share
    given_minor: int
    taken_minor: int  # what refunds took of it while it was frozen
    on_delivery: bool  # confirming delivery releases it
    due_on: str | None  # from this date on it is released by itself; None: it is not
    released_on: str | None = None  # None: it is frozen
    version: int = 0  # counts the holds that it has had

    @property
    def left_minor(self) -> int:
        """What is frozen of it, or was when it was released."""
        return self.given_minor - self.taken_minor

    @property
    def frozen_minor(self) -> int:
        return 0 if self.released_on is not None else self.left_minor

    def hold_id(self, payment_id: str) -> str:
        """Return the id of its hold in the ledger, where it has one."""
        return f"{payment_id}:frozen:{self.share}:{self.step}" + (f".{self.version}" if self.version else "")


def frozen_of(split: Split) -> list[Frozen]:
    """Return the parts of a stored split's shares that are frozen, or were."""
    return [Frozen(*part) for part in orjson.loads(split.frozen)]


def kept(split: Split, parts: Sequence[Frozen]) -> Split:
    """Return the split with these parts, and what follows from them."""
    due = [part.due_on for part in parts if part.released_on is None and part.due_on is not None]
    return split._replace(
        frozen=orjson.dumps([list(part) for part in parts]).decode(),
        frozen_minor=sum(part.frozen_minor for part in parts),
        release_on=date.fromisoformat(min(due)) if due else None,
    )


def divided(
    share: int, amount_minor: int, releases: Sequence[Release], paid_on: date, *, delivered: bool
) -> tuple[int, list[Frozen]]:
    """Return what of a share can be paid out at once, and its parts that are frozen; they sum to it.

    paid_on: the payment's business date. delivered: delivery has been confirmed already.
    """
    if not releases:
        return amount_minor, []
    at_once, parts = 0, []
    amounts = allocate(amount_minor, [release.basis_points for release in releases])
    for step, (release, amount) in enumerate(zip(releases, amounts, strict=True)):
        due = release.due(paid_on)
        if (due is not None and due <= paid_on) or (delivered and release.on_delivery):
            at_once += amount
        elif amount:
            on = None if due is None else due.isoformat()
            parts.append(Frozen(share, step, amount, 0, release.on_delivery, on))
    return at_once, parts


def to_be_released(parts: Iterable[Frozen], today: date, *, delivered: bool) -> list[Frozen]:
    """Return the frozen parts whose date has come, and where delivery is confirmed those that wait for it."""
    return [
        part
        for part in parts
        if part.released_on is None
        and ((delivered and part.on_delivery) or (part.due_on is not None and part.due_on <= today.isoformat()))
    ]


def thawed(parts: Sequence[Frozen], share: int, minor: int) -> tuple[list[Frozen], int]:
    """Return the parts after a refund took up to `minor` from those of one share, and how much it took.

    The part that would be released last gives first.
    """
    after, taken = list(parts), 0
    for n in reversed(range(len(after))):
        part = after[n]
        if part.share == share and (cut := min(part.frozen_minor, minor - taken)):
            after[n] = part._replace(taken_minor=part.taken_minor + cut)
            taken += cut
    return after, taken


def frozen_again(parts: Sequence[Frozen], share: int, minor: int) -> tuple[list[Frozen], int]:
    """Return the parts after up to `minor` were given again to those of one share that are frozen still; how much.

    The part that is released first has it first.
    """
    after, given = list(parts), 0
    for n, part in enumerate(after):
        if part.share == share and part.released_on is None and (more := min(part.taken_minor, minor - given)):
            after[n] = part._replace(taken_minor=part.taken_minor - more)
            given += more
    return after, given
