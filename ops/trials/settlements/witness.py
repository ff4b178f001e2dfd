"""What everybody must have been paid, by plain arithmetic over what was bought and given back.

Nothing here is the product's: docs/split-plans.md was read, and this was written. All amounts are minor units.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from ops.trials.settlements.cast import (
    AGENT_BP,
    CLERK_BP,
    CLERK_LEAST,
    CLERK_MOST,
    PLATFORM,
    PLATFORM_BP,
    PLATFORM_CAP,
    STORE_BP,
    SUB_BP,
    agent_of,
    by_largest,
    half_up,
)

OWN = "the merchant"


@dataclass(slots=True)
class Share:
    """What somebody has of a part of a payment, and what of it went back."""

    who: str
    part: int
    minor: int
    back: int = 0

    @property
    def left(self) -> int:
        return self.minor - self.back


@dataclass(slots=True)
class Sale:
    """A payment."""

    captured: int
    fee: int
    policy: str
    shares: list[Share]
    refunded: int = 0


@dataclass(slots=True)
class Witness:
    """Adds up. earned: by who and date. sent: by who, what went to its bank and was neither refused nor returned."""

    sales: dict[str, Sale] = field(default_factory=dict)
    earned: Counter[tuple[str, date]] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    into: Counter[tuple[str, date]] = field(default_factory=Counter)  # by channel account: what the day comes to

    def sold(
        self,
        payment: str,
        account: str,
        captured: int,
        fee: int,
        parts: Sequence[tuple[str, int]],
        policy: str,
        on: date,
    ) -> None:
        """A payment arrived."""
        amounts = by_largest(captured, [minor for _, minor in parts])
        arrived = by_largest(captured - fee, amounts)
        apart = len(parts) > 1 and policy != "ratio"
        shares: list[Share] = []
        own: Counter[int] = Counter()
        for n, ((store, _), minor) in enumerate(zip(parts, arrived, strict=True)):
            at = n if apart else 0
            kept, left = _tree(store, minor)
            shares += [Share(who, at, one) for who, one in kept if one]
            own[at] += left
        shares += [Share(OWN, at, own[at]) for at in sorted(own) if own[at]]
        for share in shares:
            self.earned[share.who, on] += share.minor
        self.sales[payment] = Sale(captured, fee, policy, shares)
        self.into[account, on] += captured - fee

    def gave_back(self, payment: str, account: str, minor: int, on: date, *, fee_kept: bool) -> None:
        """A part of a payment, or all of it, went back to its payer."""
        sale = self.sales[payment]
        fee = half_up(sale.fee, sale.refunded + minor, sale.captured) - half_up(sale.fee, sale.refunded, sale.captured)
        sale.refunded += minor
        self.into[account, on] -= minor - (0 if fee_kept else fee)
        for share, back in zip(sale.shares, _taken(sale, minor - fee), strict=True):
            share.back += back
            self.earned[share.who, on] -= back

    def due(self, people: Sequence[str], until: date) -> dict[str, int]:
        """Return what each is to be paid once a date is over: all that it has earned by then and was not sent."""
        found = {}
        for who in people:
            earned = sum(minor for (one, on), minor in self.earned.items() if one == who and on <= until)
            if earned > self.sent[who]:
                found[who] = earned - self.sent[who]
        return found


def _tree(store: str, arrived: int) -> tuple[list[tuple[str, int]], int]:
    """Return what each keeps of a part that is a store's, from the top, and what is left to the merchant."""
    agent = agent_of(int(store.removeprefix("store-")))
    platform, to_agent, _ = by_largest(arrived, [PLATFORM_BP, AGENT_BP, 10_000 - PLATFORM_BP - AGENT_BP])
    platform = min(platform, PLATFORM_CAP)
    to_sub = half_up(to_agent, SUB_BP, 10_000)
    to_store = half_up(to_sub, STORE_BP, 10_000)
    to_clerk = min(max(half_up(to_store, CLERK_BP, 10_000), CLERK_LEAST), CLERK_MOST, to_store)
    kept = [
        (PLATFORM, platform),
        (f"agent-{agent}", to_agent - to_sub),
        (f"sub-{agent}", to_sub - to_store),
        (store, to_store - to_clerk),
        (f"clerk-{agent}", to_clerk),
    ]
    return kept, arrived - platform - to_agent


def _taken(sale: Sale, minor: int) -> list[int]:
    """Return what each share gives back: part by part, and in each those first whom the policy names."""
    back = [0] * len(sale.shares)
    parts = sorted({share.part for share in sale.shares})
    each = by_largest(minor, [sum(s.left for s in sale.shares if s.part == part) for part in parts])
    for part, owed in zip(parts, each, strict=True):
        mine = [n for n, share in enumerate(sale.shares) if share.part == part]
        if sale.policy == "last_in_first_out":
            groups = [[n] for n in reversed(mine)]
        elif sale.policy == "ratio":
            groups = [mine]
        else:
            ahead = PLATFORM if sale.policy == "platform_first" else OWN
            groups = [
                [n for n in mine if sale.shares[n].who == ahead],
                [n for n in mine if sale.shares[n].who != ahead],
            ]
        for group in groups:
            left = [sale.shares[n].left for n in group]
            taken = min(owed, sum(left))
            owed -= taken
            for n, one in zip(group, by_largest(taken, left), strict=True):
                back[n] = one
    return back
