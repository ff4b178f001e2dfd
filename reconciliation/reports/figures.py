"""The arithmetic of reports. Pure, in whole minor units and basis points."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kernel.money import allocate


class Part(NamedTuple):
    """One of several that have a sum together."""

    name: str
    minor: int
    basis_points: int  # of the sum; of all parts they sum to 10000, or to 0 where there is nothing


class Concentration(NamedTuple):
    """How a sum is spread. The largest part first."""

    parts: Sequence[Part]
    total_minor: int
    hhi: int  # Herfindahl-Hirschman index: the squares of the shares, 10000 where one has all; 0 where there is nothing


def concentration(minor: Mapping[str, int]) -> Concentration:
    """Return how a sum is spread. What came to less than nothing counts as nothing."""
    some = sorted(((name, max(0, one)) for name, one in minor.items()), key=lambda one: (-one[1], one[0]))
    total = sum(one for _, one in some)
    points = allocate(10_000, [one for _, one in some]) if total else [0] * len(some)
    parts = [Part(name, one, of_it) for (name, one), of_it in zip(some, points, strict=True)]
    return Concentration(parts, total, sum(one * one for _, one in some) * 10_000 // total**2 if total else 0)


class Floating(NamedTuple):
    """What lay at a bank over some days."""

    average_minor: int  # of the ends of all days, rounded half up
    most_minor: int
    interest_minor: int  # that the bank paid
    charges_minor: int  # that it took
    rate_bp: int | None  # a year, of 365 days, what the interest comes to; None where nothing lay there


def floating(ends: Sequence[int], interest_minor: int, charges_minor: int) -> Floating:
    """Return what lay at a bank. ends: what was there at the end of each day."""
    total, days = sum(ends), len(ends)
    average = _half_up(total, days) if days else 0
    rate = _half_up(interest_minor * 365 * 10_000, total) if total > 0 else None  # total: the average times the days
    return Floating(average, max(ends, default=0), interest_minor, charges_minor, rate)


def brought(ends: Sequence[int], rate_bp: int) -> int:
    """Return what a rate a year, of 365 days, brings on the ends of days, in minor units, rounded half up."""
    return _half_up(sum(ends) * rate_bp, 365 * 10_000)


def local(minor: Mapping[str, int], regions: Mapping[str, str | None], region: str) -> tuple[int, int, int]:
    """Return what came to banks of a region, to banks elsewhere, and to banks of which nobody said where they are.

    minor: bank → what came. regions: bank → its region, as digits of GB/T 2260; one begins with those it lies in.
    """
    here = elsewhere = unknown = 0
    for bank, one in minor.items():
        where = regions.get(bank)
        if where is None:
            unknown += one
        elif where.startswith(region):
            here += one
        else:
            elsewhere += one
    return here, elsewhere, unknown


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
