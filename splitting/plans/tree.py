"""Split plans as trees 分账树: lines share out an amount, and the lines under a line share out what that one got. Pure.

Everything is in whole minor units, and the shares of a payment sum to what there is to share, whatever the plan. Odd
units go to the largest remainders, the earlier line first.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

from kernel.errors import Rejected
from kernel.money import allocate, proportion, share_bp

OWN = ""  # stands for the merchant itself where a plan leaves something over; it stays in the merchant account


class ShareKind(StrEnum):
    AMOUNT = "amount"  # a fixed amount, minor units
    BASIS_POINTS = "basis_points"  # of what the parent got; at the top of what the plan's base says; see share_rates
    REMAINDER = "remainder"  # what fixed amounts and rates leave, by weight


class Base(StrEnum):
    """What the rates at the top of a plan are of. What is shared out is always what arrives."""

    ARRIVING = "arriving"  # what was paid, less the channel's fee and the merchant's own coupons
    PAID = "paid"  # what was paid less the merchant's own coupons; the fee is borne by what the rates leave
    GROSS = "gross"  # all that was paid; fee and coupons are borne by what the rates leave


class Facts(NamedTuple):
    """What conditions and tiers look at. What is not known, no condition on it holds."""

    amount_minor: int  # of the payment, or of the part of it that the plan is for
    method: str | None = None
    product_line: str | None = None
    suspended: frozenset[str] = frozenset()  # ids of payees
    volumes: Mapping[str, int] = {}  # payee's id, or OWN for the merchant → minor units so far; none: 0


CONDITIONS = frozenset(("method", "amount", "product_line", "payee"))  # what When.unmet may name


class When(NamedTuple):
    """The conditions of a line; all that are given must hold."""

    methods: frozenset[str] | None = None
    from_minor: int = 0  # included
    below_minor: int | None = None  # not included
    product_lines: frozenset[str] | None = None
    payee: str | None = None  # active | suspended

    def unmet(self, facts: Facts, payee_id: str) -> str:
        """Return the name of the first condition that does not hold, empty where all do."""
        if self.methods is not None and facts.method not in self.methods:
            return "method"
        amount = facts.amount_minor
        if amount < self.from_minor or (self.below_minor is not None and amount >= self.below_minor):
            return "amount"
        if self.product_lines is not None and facts.product_line not in self.product_lines:
            return "product_line"
        if self.payee is not None and (payee_id in facts.suspended) != (self.payee == "suspended"):
            return "payee"
        return ""


class Tier(NamedTuple):
    """From which volume on a line has another value."""

    from_minor: int  # included
    value: int


class Release(NamedTuple):
    """When a part of a share can be paid out 放款. What is not due when it is shared out is frozen until then."""

    basis_points: int  # of the share; those of all its parts are 10,000 together
    days: int | None = 0  # after the payment's business date; of a delivery: at the latest; None: never by itself
    on: date | None = None  # a date, in place of days
    on_delivery: bool = False  # once delivery is confirmed

    def due(self, paid_on: date) -> date | None:
        """Return the date from which on it is released by itself; None: only delivery does."""
        if self.on is not None:
            return self.on
        return None if self.days is None else paid_on + timedelta(days=self.days)


class Line(NamedTuple):
    """A line of a plan: what somebody gets of what the line above got.

    What the lines under it leave is its payee's; where it has none, the merchant's own.
    """

    name: str
    payee_id: str  # OWN: the merchant itself
    kind: ShareKind
    value: int  # minor units, basis points, or weight
    minimum: int = 0  # minor units; of rates and remainders
    cap: int | None = None  # likewise
    tiers: Sequence[Tier] = ()  # by volume, rising
    volume_of: str = OWN  # whose volume chooses the tier
    when: When | None = None
    to_others: bool = False  # where a condition does not hold: as if the line were not there; else the parent keeps it
    lines: "Sequence[Line]" = ()
    releases: Sequence[Release] = ()  # of what it keeps, in order; none: all of it at once
    by_rail: bool = False  # the payment's rail is to pay what it keeps; else its payee's bank

    def value_for(self, facts: Facts) -> int:
        """Return the value of the highest tier that the volume has reached."""
        value = self.value
        if self.tiers:
            volume = facts.volumes.get(self.volume_of, 0)
            for tier in self.tiers:
                if volume < tier.from_minor:
                    break
                value = tier.value
        return value


class Policy(StrEnum):
    """Whose shares a refund takes back first; the others' follow where those are used up, in proportion."""

    RATIO = "ratio"  # everybody's, in proportion to what is left of each
    PLATFORM_FIRST = "platform_first"
    LAST_IN_FIRST_OUT = "last_in_first_out"  # the merchant's own, then line by line from the last to the first
    PAYER_FIRST = "payer_first"  # those of one line


class TakingBack(NamedTuple):
    """How a plan has refunds take back."""

    policy: Policy = Policy.RATIO
    payer: str = OWN  # the name of the line that bears refunds first; OWN: the merchant


class Plan(NamedTuple):
    """A plan: its lines at the top, what their rates are of, and how refunds take back."""

    base: Base
    lines: Sequence[Line]
    taking_back: TakingBack = TakingBack()

    def all_lines(self) -> Iterator[Line]:
        """Yield every line, each before those under it."""
        return walk(self.lines)

    def rail_lines(self) -> list[Line]:
        """Return the lines that want the rail to pay, in order."""
        return [line for line in self.all_lines() if line.by_rail]

    @property
    def asks_volumes(self) -> bool:
        """Whether a value of it depends on what was shared out before."""
        return any(line.tiers for line in self.all_lines())

    def payees(self) -> list[str]:
        """Return the ids of the payees that it names, each once, in order."""
        return list(dict.fromkeys(line.payee_id for line in self.all_lines() if line.payee_id != OWN))


def walk(lines: Sequence[Line]) -> Iterator[Line]:
    for line in lines:
        yield line
        yield from walk(line.lines)


class LineShare(NamedTuple):
    """What became of one line. Amounts in minor units."""

    line: Line
    depth: int  # 0 at the top
    of_minor: int  # what its parent had to share; at the top what rates are of
    value: int  # minor units, basis points or weight: after its tier
    unbounded_minor: int  # what kind and value come to before minimum, cap, cut and condition
    got_minor: int  # what it was given, with all that is under it
    own_minor: int  # what of that stays with its payee
    why: str  # what struck: "", minimum, cap, cut, or the condition that did not hold: method, amount, …


class Shared(NamedTuple):
    """A payment, or a part of one, shared out."""

    lines: list[
        LineShare
    ]  # of every line, each before those under it; not of lines under one whose conditions do not hold
    rest_minor: int  # what the lines at the top leave: the merchant's own


class _TooMuch(Exception):
    """The lines under one want more than there is."""

    def __init__(self, above: str, by_minor: int, has_minor: int) -> None:
        super().__init__()
        self.above, self.by_minor, self.has_minor = above, by_minor, has_minor


def share(plan: Plan, gross_minor: int, fee_minor: int, coupon_minor: int, facts: Facts, *, cut: bool) -> Shared:
    """Share out what arrives of a payment: gross less fee and coupon. What the lines keep and the rest sum to it.

    gross_minor: what was paid; fee_minor: what the channel keeps of it; coupon_minor: what the merchant's own coupons
    paid of it, which never arrives. cut: where fixed amounts, rates and minimums under one line are more than it has,
    each is cut in its proportion; else that raises Rejected (split_exceeds_payment), naming the line.
    """
    paid = gross_minor - coupon_minor
    arriving = paid - fee_minor
    of = {Base.ARRIVING: max(arriving, 0), Base.PAID: paid, Base.GROSS: gross_minor}[plan.base]
    found: list[LineShare] = []
    try:
        rest = _share_among(plan.lines, arriving, of, facts, cut, "", 0, found)
    except _TooMuch as too_much:
        by, has = too_much.by_minor, too_much.has_minor
        raise Rejected(
            "split_exceeds_payment",
            f"the lines under {too_much.above!r} add up to {by} minor units more than the {has} that it gets"
            if too_much.above
            else f"the shares and the channel's fee add up to {by} minor units more than the payment",
            param="split",
            gross_minor=gross_minor,
            fee_minor=fee_minor,
        ) from None
    return Shared(found, rest)


def _share_among(
    lines: Sequence[Line], has: int, of: int, facts: Facts, cut: bool, above: str, depth: int, found: list[LineShare]
) -> int:
    """Share out `has` among lines and what is under them; append each one's share, and return what they leave."""
    given, unbounded, values, whys = _level(lines, has, of, facts, cut, above)
    for n, line in enumerate(lines):
        got = given[n]
        at = len(found)
        found.append(LineShare(line, depth, of, values[n], unbounded[n], got, got, whys[n]))
        if line.lines and whys[n] not in CONDITIONS:
            own = _share_among(line.lines, got, got, facts, cut, line.name, depth + 1, found)
            found[at] = found[at]._replace(own_minor=own)
    return max(has, 0) - sum(given)


def _level(
    lines: Sequence[Line], has: int, of: int, facts: Facts, cut: bool, above: str
) -> tuple[list[int], list[int], list[int], list[str]]:
    """Return of each line what it is given, what it would be without bounds, its value, and what struck."""
    values: list[int] = []
    unmet: list[tuple[int, str]] = []
    given, whys = [0] * len(lines), [""] * len(lines)
    rates: list[int] = []
    floating: list[int] = []
    for n, line in enumerate(lines):
        value = line.value_for(facts) if line.tiers else line.value
        values.append(value)
        if line.when is not None and (why := line.when.unmet(facts, line.payee_id)):
            unmet.append((n, why))
            if line.to_others:
                continue
        if line.kind is ShareKind.BASIS_POINTS:
            rates.append(n)
        elif line.kind is ShareKind.REMAINDER:
            floating.append(n)
        else:
            given[n] = value
    if rates:
        for n, part in zip(rates, share_rates(of, [values[n] for n in rates]), strict=True):
            given[n] = part
    unbounded = given.copy()
    for n in rates:
        given[n], whys[n] = _bounded(given[n], lines[n])
    for n in floating:
        given[n] = lines[n].minimum
    over = sum(given) - has
    if over > 0:
        if not cut:
            raise _TooMuch(above, over, has)
        whole, given = given, allocate(max(has, 0), given)
        whys = ["cut" if less < all_of_it else why for less, all_of_it, why in zip(given, whole, whys, strict=True)]
    elif floating:
        left = sum([lines[n].minimum for n in floating]) - over
        free = by_weight(left, [values[n] for n in floating])
        parts = free
        if any(lines[n].minimum or lines[n].cap is not None for n in floating):
            parts = fill(left, [Float(values[n], lines[n].minimum, lines[n].cap) for n in floating])
        for n, part, unbound in zip(floating, parts, free, strict=True):
            given[n], unbounded[n] = part, unbound
            if part != unbound and part in (lines[n].minimum, lines[n].cap):
                whys[n] = "minimum" if part > unbound else "cap"
    for n, why in unmet:  # what it would have got stays with the parent
        given[n], whys[n] = 0, why
    return given, unbounded, values, whys


def _bounded(minor: int, line: Line) -> tuple[int, str]:
    if minor < line.minimum:
        return line.minimum, "minimum"
    if line.cap is not None and minor > line.cap:
        return line.cap, "cap"
    return minor, ""


class Float(NamedTuple):
    """What takes a part of what is left: its weight and its bounds, in minor units."""

    weight: int
    minimum: int = 0
    cap: int | None = None


def by_weight(minor: int, weights: Sequence[int]) -> list[int]:
    """Return the parts of `minor` by weight; nothing where there is no weight."""
    return allocate(minor, weights) if any(weights) else [0] * len(weights)


def fill(minor: int, floats: Sequence[Float]) -> list[int]:
    """Return each one's part of `minor` by weight, none under its minimum, none over its cap.

    There is one level for all, at which each has its weight times that, or its bound where that is passed: what a cap
    cuts off goes to the others, what a minimum takes comes from them. What nobody may take is left. The minimums sum to
    no more than `minor`.
    """
    parts, free = [0] * len(floats), list(range(len(floats)))
    if all(one.cap is None and not one.minimum for one in floats):
        return by_weight(minor, [one.weight for one in floats])
    while free:
        whole = sum(floats[n].weight for n in free)
        if not whole:
            for n in free:
                parts[n] = floats[n].minimum
            break
        # Exact: what a line would get is minor × weight ÷ whole, so both sides are multiplied by the whole.
        low = {n: d for n in free if (d := floats[n].minimum * whole - minor * floats[n].weight) > 0}
        high = {
            n: d
            for n in free
            if (cap := floats[n].cap) is not None and (d := minor * floats[n].weight - cap * whole) > 0
        }
        if not low and not high:
            for n, part in zip(free, allocate(minor, [floats[n].weight for n in free]), strict=True):
                parts[n] = part
            break
        short, long = sum(low.values()), sum(high.values())
        if short >= long:  # so the level only falls from here, and who is under its minimum stays there
            for n in low:
                parts[n] = floats[n].minimum
        if long >= short:
            for n in high:
                parts[n] = floats[n].cap or 0
        settled = set(low if short >= long else ()) | set(high if long >= short else ())
        minor -= sum(parts[n] for n in settled)
        free = [n for n in free if n not in settled]
    return parts


def share_rates(minor: int, basis_points: Sequence[int]) -> list[int]:
    """Return what each of some rates is of `minor` ≥ 0: they are parts of one whole, as is what they leave of it.

    Odd units go to the largest remainders, the earlier one first. So rates that add up to 10,000 take exactly all, and
    those that add up to less never take more; one rate alone is rounded half up.
    """
    whole = sum(basis_points)
    if whole <= 10_000:
        if len(basis_points) == 1:
            return [proportion(minor, whole, 10_000)]
        return allocate(minor, [*basis_points, 10_000 - whole])[:-1]
    return allocate(share_bp(minor, whole), basis_points)
