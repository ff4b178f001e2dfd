"""Sharing out many orders under one plan: exactly what tree.share gives each of them, many at a time.

Amounts stand side by side in large numbers (slots.py). What does not fit there is shared out one order after another by
the tree itself: amounts beyond 5 million yuan, orders in which something has to be cut, and plans whose lines ask for
the amount, have bounds on a remainder, or weights or rates that add up to too much.
"""

from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from splitting.plans.slots import BITS, MOST, MOST_WEIGHT, Slots
from splitting.plans.tree import Base, Facts, Line, Plan, ShareKind, share

CHUNK = 2048  # orders at a time: their numbers fit into the processor's own memory


_slots = cache(Slots)


class Orders(NamedTuple):
    """Orders to be shared out: a column each, in minor units."""

    gross: "array[int]"
    fee: "array[int]"
    coupon: "array[int]"


class Columns(NamedTuple):
    """What the lines of a plan keep of each order: a column for each line, each before those under it."""

    lines: Sequence[Line]
    own: "list[array[int]]"
    rest: "array[int]"  # the merchant's own, besides lines without a payee
    one_by_one: int  # how many orders the tree itself shared out


def share_many(plan: Plan, orders: Orders, facts: Facts) -> Columns:
    """Share out orders, cutting where something does not fit, as a payment is when it is shared out.

    facts: of all the orders but for the amount, which is each order's gross.
    """
    lines = list(plan.all_lines())
    count = len(orders.gross)
    fits = _fits(plan.lines, facts)
    room = array("q", [0]) * (count + (-count % CHUNK if fits else 0))  # at once: growing costs more
    columns = Columns(lines, [room[:] for _ in lines], room, 0)
    places: Sequence[int] = _by_slots(plan, orders, facts, columns) if fits else range(count)
    for column in (*columns.own, columns.rest):
        del column[count:]
    for n in places:
        _one(plan, orders, facts, columns, n)
    return columns._replace(one_by_one=len(places))


def _one(plan: Plan, orders: Orders, facts: Facts, columns: Columns, n: int) -> None:
    """Share out one order by the tree."""
    gross = orders.gross[n]
    found = share(plan, gross, orders.fee[n], orders.coupon[n], facts._replace(amount_minor=gross), cut=True)
    kept = {id(one.line): one.own_minor for one in found.lines}
    for line, column in zip(columns.lines, columns.own, strict=True):
        column[n] = kept.get(id(line), 0)
    columns.rest[n] = found.rest_minor


def _fits(lines: Sequence[Line], facts: Facts) -> bool:
    """Tell whether lines can be shared out in slots, whatever the amounts."""
    rates = weights = 0
    for line in lines:
        when = line.when
        if when is not None and (when.from_minor or when.below_minor is not None):
            return False
        if not _fits(line.lines, facts):
            return False
        if _left_out(line, facts):
            continue
        value = line.value_for(facts)
        if line.kind is ShareKind.BASIS_POINTS:
            rates += value
        elif line.kind is ShareKind.REMAINDER:
            weights += value
            if line.minimum or line.cap is not None:
                return False
        if max(line.minimum, line.cap or 0, value if line.kind is ShareKind.AMOUNT else 0) > MOST:
            return False
    return rates <= 10_000 and weights <= MOST_WEIGHT


def _left_out(line: Line, facts: Facts) -> bool:
    """Tell whether it is as if a line were not there. Its conditions do not ask for the amount."""
    return line.when is not None and line.to_others and bool(line.when.unmet(facts, line.payee_id))


class _Level(NamedTuple):
    """The lines under one line, or at the top, with all that does not depend on an order's amount."""

    rates: Sequence[tuple[int, int, int | None]]  # of each: its place among the level's lines, minimum, cap
    weights: Sequence[int]  # of the rates, and of what they leave where they leave something
    fixed: Sequence[tuple[int, int]]  # place, minor units
    floating: Sequence[int]  # places
    float_weights: Sequence[int]
    kept_above: frozenset[int]  # places of lines whose conditions do not hold, and whose part their parent keeps
    under: Mapping[int, "_Level"]  # by place
    columns: Sequence[int]  # of each line, its column
    may_not_fit: bool  # whether its amounts, rates and minimums may be more than there is


def _level(lines: Sequence[Line], facts: Facts, columns: Mapping[int, int], base: Base) -> _Level:
    there = [n for n, line in enumerate(lines) if not _left_out(line, facts)]
    values = [line.value_for(facts) for line in lines]
    rates = [n for n in there if lines[n].kind is ShareKind.BASIS_POINTS]
    weights = [values[n] for n in rates]
    if rates and sum(weights) < 10_000:
        weights.append(10_000 - sum(weights))
    fixed = [(n, values[n]) for n in there if lines[n].kind is ShareKind.AMOUNT]
    floating = [n for n in there if lines[n].kind is ShareKind.REMAINDER]
    unmet = {n for n in there if (when := lines[n].when) is not None and when.unmet(facts, lines[n].payee_id)}
    return _Level(
        rates=[(n, lines[n].minimum, lines[n].cap) for n in rates],
        weights=weights,
        fixed=fixed,
        floating=floating if sum(values[n] for n in floating) else [],
        float_weights=[values[n] for n in floating],
        kept_above=frozenset(unmet),
        under={
            n: _level(lines[n].lines, facts, columns, Base.ARRIVING) for n in there if lines[n].lines and n not in unmet
        },
        columns=[columns[id(line)] for line in lines],
        may_not_fit=bool(fixed) or base is not Base.ARRIVING or any(lines[n].minimum for n in rates),
    )


def _by_slots(plan: Plan, orders: Orders, facts: Facts, columns: Columns) -> Sequence[int]:
    """Share out what fits into slots; return the places of the other orders. The columns have room for whole chunks."""
    left: list[int] = []
    top = _level(plan.lines, facts, {id(line): n for n, line in enumerate(columns.lines)}, plan.base)
    slots = _slots(CHUNK)
    count = len(orders.gross)
    own = [memoryview(column).cast("B") for column in columns.own]
    kept = memoryview(columns.rest).cast("B")
    for begin in range(0, count, CHUNK):
        gross, fee, coupon = (slots.packed(column, begin) for column in orders)
        void = 0
        large = ((gross | fee | coupon) >> BITS) & slots.each((1 << 64 - BITS) - 1)
        if large:  # or below nothing, which no order is
            void = slots.at_least(large, slots.ones)
            keep = slots.where(slots.ones - void)
            gross, fee, coupon = gross & keep, fee & keep, coupon & keep
        lost = fee + coupon
        arriving = (gross | slots.high) - lost
        if arriving & slots.high != slots.high:
            enough = slots.at_least(gross, lost)
            void |= slots.ones - enough
            keep = slots.where(enough)
            gross, coupon, arriving = gross & keep, coupon & keep, arriving & keep
        arriving &= slots.full
        of = arriving if plan.base is Base.ARRIVING else gross if plan.base is Base.GROSS else gross - coupon
        work = _Chunk(slots)
        rest = work.share(top, arriving, of)
        place = slice(8 * begin, 8 * (begin + CHUNK))
        for column, value in work.own.items():
            own[column][place] = value.to_bytes(8 * CHUNK, "little")
        kept[place] = rest.to_bytes(8 * CHUNK, "little")
        void |= work.cut
        if void:
            left.extend(begin + n for n, flag in enumerate(slots.unpacked(void)) if flag and begin + n < count)
    return left


class _Chunk:
    """One chunk of orders in slots."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.own: dict[int, int] = {}  # by column what its line keeps, of lines that get something
        self.cut = 0  # 1 in the slots of orders in which something is more than there is: their other numbers are void

    def share(self, level: _Level, has: int, of: int) -> int:
        """Share out `has` among the lines of a level and those under them; return what they leave."""
        given, rest = self._given(level, has, of)
        for place, got in given.items():
            under = level.under.get(place)
            self.own[level.columns[place]] = got if under is None else self.share(under, got, got)
        return has - sum(given.values()) if rest is None else rest

    def _given(self, level: _Level, has: int, of: int) -> tuple[dict[int, int], int | None]:
        """Return what each line is given, by its place, and what is left where that is known."""
        slots = self._slots
        given: dict[int, int] = {}
        rest: int | None = None
        if level.rates:
            parts = slots.allocated(of, level.weights)
            for (place, minimum, cap), part in zip(level.rates, parts, strict=False):
                given[place] = self._bounded(part, minimum, cap) if minimum or cap is not None else part
            if not any(minimum or cap is not None for _, minimum, cap in level.rates) and of is has:
                rest = parts[-1] if len(parts) > len(level.rates) else 0
        for place, value in level.fixed:
            given[place] = slots.each(value)
        if level.may_not_fit:
            fits = slots.at_least(has, sum(given.values()))
            if fits != slots.ones:
                self.cut |= slots.ones - fits
                keep = slots.where(fits)
                given = {place: part & keep for place, part in given.items()}
                has &= keep
        if level.fixed or level.floating or level.kept_above:
            rest = None
        if level.floating:
            parts = slots.allocated(has - sum(given.values()), level.float_weights)
            given.update(zip(level.floating, parts, strict=True))
        for place in level.kept_above:
            given.pop(place, None)
        return given, rest

    def _bounded(self, part: int, minimum: int, cap: int | None) -> int:
        slots = self._slots
        if minimum:
            low = slots.each(minimum)
            part = low ^ ((part ^ low) & slots.where(slots.at_least(part, low)))
        if cap is not None:
            high = slots.each(cap)
            part = part ^ ((part ^ high) & slots.where(slots.at_least(part, high)))
        return part
