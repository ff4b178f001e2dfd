"""Whole numbers side by side in one large number: what Python does to the one, it does to thousands at the speed of C.

A slot is 64 bits. What stands in a slot between two operations is below 2**63, so the top bit is free: it takes a
borrow, and says which of two numbers is the larger. No operation carries anything from one slot into the next that is
not taken out again. Exact, without a float.
"""

from array import array
from collections.abc import Sequence
from functools import cache, lru_cache
from math import gcd
from operator import itemgetter

from kernel.money import allocate

BITS = 29  # of what `divided` and `allocated` take in a slot: then what it is multiplied by is one digit of Python's
MOST = 2**BITS - 1
MOST_WEIGHT = 2**15 - 1  # to what the weights of `allocated` may sum, and by what `divided` divides
_FIELDS = 4  # of 16 bits in a slot


class Slots:
    """Operations on so many slots, two or more. What is no single number by its name is one large number."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ones = ((1 << 64 * count) - 1) // ((1 << 64) - 1)
        self.high = self.ones << 63
        self.full = self.high - self.ones  # 2**63 - 1 in each
        self._each: dict[int, int] = {}

    def each(self, number: int) -> int:
        """Return a number, below 2**64, in every slot."""
        found = self._each.get(number)
        if found is None:
            found = self._each[number] = self.ones * number
        return found

    def packed(self, values: "memoryview[int] | array[int]", begin: int) -> int:
        """Return the values from a place on, zeros where there are no more."""
        return int.from_bytes(memoryview(values)[begin : begin + self.count].tobytes(), "little")

    def unpacked(self, slots: int) -> "array[int]":
        """Return the values of all slots."""
        found = array("q")
        found.frombytes(slots.to_bytes(8 * self.count, "little"))
        return found

    def at_least(self, a: int, b: int) -> int:
        """Return 1 in each slot in which a ≥ b, else 0."""
        return (((a | self.high) - b) & self.high) >> 63

    def where(self, flags: int) -> int:
        """Return 2**63 - 1 in each slot whose flag is 1, else 0: what to take something with."""
        return (flags << 63) - flags

    def divided(self, a: int, by: int) -> tuple[int, int]:
        """Return quotient and remainder in each slot, of a ≤ MOST. by: one number, from 1 to MOST_WEIGHT."""
        if by == 1:
            return a, 0
        times, shift = _reciprocal(by, BITS)
        quotient = (a * times >> shift) & self.each((1 << 64 - shift) - 1)
        return quotient, a - quotient * by

    def allocated(self, a: int, weights: Sequence[int]) -> list[int]:
        """Return kernel.money.allocate in each slot, of a ≤ MOST. weights: numbers that sum to 1 to MOST_WEIGHT.

        As often as all the weights go into an amount, each part has its weight. So only what is over has to be shared
        out, and of that there are no more different amounts than the weights sum to: each is shared out once, by
        kernel.money itself, and looked up.
        """
        if len(weights) == 1:
            return [a]
        weights = _reduced(tuple(weights))
        whole = sum(weights)
        times, over = self.divided(a, whole)
        if len(weights) == 2:
            first = times * weights[0] + self._half_up(over, weights[0], whole)
            return [first, a - first]
        raw = over.to_bytes(8 * self.count, "little")
        looked_up = itemgetter(*(raw[::8] if whole <= 256 else array("q", raw)))
        parts: list[int] = []
        left = a
        for begin, table in enumerate(_tables(weights)):
            together = int.from_bytes(b"".join(looked_up(table)), "little")
            for n, weight in enumerate(weights[_FIELDS * begin : _FIELDS * (begin + 1)]):
                if len(parts) == len(weights) - 1:
                    break
                parts.append(times * weight + ((together >> 16 * n if n else together) & self.each(0xFFFF)))
                left -= parts[-1]
        return [*parts, left]

    def _half_up(self, over: int, weight: int, whole: int) -> int:
        """Return over × weight ÷ whole, rounded half up: of two parts, an odd unit is the first's where it is half."""
        times, shift = _reciprocal(2 * whole, (2 * whole * whole).bit_length())
        return ((over * (2 * weight) + self.each(whole)) * times >> shift) & self.each((1 << 64 - shift) - 1)


@lru_cache(maxsize=1024)
def _reduced(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Return weights without what divides all of them: the parts are the same, and less is looked up."""
    by = gcd(*weights)
    return tuple(weight // by for weight in weights)


@lru_cache(maxsize=256)
def _tables(weights: tuple[int, ...]) -> Sequence[Sequence[bytes]]:
    """Return, for each four of the parts, their parts of 0, of 1 … of all but one of what the weights sum to.

    Each is 64 bits, 16 for a part.
    """
    shared = [allocate(minor, weights) for minor in range(sum(weights))]
    return [
        [
            sum(part << 16 * n for n, part in enumerate(one[begin : begin + _FIELDS])).to_bytes(8, "little")
            for one in shared
        ]
        for begin in range(0, len(weights) - 1, _FIELDS)
    ]


@cache
def _reciprocal(by: int, bits: int) -> tuple[int, int]:
    """Return (times, shift), so that a × times >> shift is a ÷ by, rounded down, for every a below 2**bits.

    times × by is more than 2**shift, by at most `by`; so the product is too large by less than a ÷ 2**bits ÷ by.
    """
    shift = bits + by.bit_length()
    return (1 << shift) // by + 1, shift
