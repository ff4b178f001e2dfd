"""Split plans once more, slowly and as they are described: on the JSON form, in fractions, without the hub's code."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

Doc = Mapping[str, Any]


class DoesNotFit(Exception):
    """The lines under one want more than it has."""


def to_units(quotas: Sequence[Fraction]) -> list[int]:
    """Round quotas that sum to a whole number: the odd units go one by one to the largest remainder, earlier first."""
    parts = [floor(quota) for quota in quotas]
    left = sum(quotas) - sum(parts)
    assert left.denominator == 1
    for _ in range(int(left)):
        best = max(range(len(parts)), key=lambda n: (quotas[n] - parts[n], -n))
        parts[best] += 1
    return parts


def shared(doc: Doc, gross: int, fee: int, coupon: int, facts: Doc, cut: bool) -> dict[str, int]:
    """Return what each line keeps, by name, and under "" what the merchant keeps besides."""
    paid = gross - coupon
    has = paid - fee
    of = {"arriving": has, "paid": paid, "gross": gross}[doc.get("base", "arriving")]
    keeps: dict[str, int] = {}
    keeps[""] = has - sum(among(doc["lines"], has, of, facts, cut, keeps))
    return keeps


def among(lines: Sequence[Doc], has: int, of: int, facts: Doc, cut: bool, keeps: dict[str, int]) -> list[int]:
    """Share out `has` among lines and those under them; return what each was given."""
    met = [all(holds(name, wanted, line, facts) for name, wanted in line.get("when", {}).items()) for line in lines]
    there = [n for n, line in enumerate(lines) if met[n] or line.get("otherwise", "parent") == "parent"]
    claims = dict.fromkeys(range(len(lines)), 0)
    rates = [n for n in there if "basis_points" in lines[n]]
    quotas = [Fraction(of * value_of(lines[n], facts), 10_000) for n in rates]
    if sum(quotas) <= of:
        rounded = to_units([*quotas, of - sum(quotas)])[:-1]
    else:
        whole = floor(sum(quotas) + Fraction(1, 2))
        rounded = to_units([quota * whole / sum(quotas) for quota in quotas])
    for n, minor in zip(rates, rounded, strict=True):
        claims[n] = min(max(minor, lines[n].get("minimum", 0)), lines[n].get("cap", 10**30))
    for n in there:
        if "amount" in lines[n]:
            claims[n] = value_of(lines[n], facts)
        if "remainder" in lines[n]:
            claims[n] = lines[n].get("minimum", 0)
    if sum(claims.values()) > has:
        if not cut:
            raise DoesNotFit
        whole = sum(claims.values())
        given = to_units([Fraction(has * claims[n], whole) for n in claims])
    else:
        given = list(claims.values())
        floating = [n for n in there if "remainder" in lines[n]]
        pool = has - sum(given) + sum(given[n] for n in floating)
        weights = [value_of(lines[n], facts) for n in floating]
        bounds = [(lines[n].get("minimum", 0), lines[n].get("cap", 10**30)) for n in floating]
        for n, minor in zip(floating, poured(pool, weights, bounds), strict=True):
            given[n] = minor
    for n, line in enumerate(lines):
        if not met[n]:
            given[n] = 0
            continue
        under = among(line.get("lines", ()), given[n], given[n], facts, cut, keeps) if line.get("lines") else []
        keeps[line["name"]] = given[n] - sum(under)
    return given


def poured(pool: int, weights: Sequence[int], bounds: Sequence[tuple[int, int]]) -> list[int]:
    """Pour into vessels as wide as their weights, of which none is emptier or fuller than its bounds."""

    def at(level: Fraction) -> list[Fraction]:
        return [
            min(max(level * w, Fraction(low)), Fraction(high)) for w, (low, high) in zip(weights, bounds, strict=True)
        ]

    edges = sorted(
        {Fraction(edge, w) for w, both in zip(weights, bounds, strict=True) if w for edge in both} | {Fraction(0)}
    )
    if not edges or sum(at(edges[-1])) <= pool:
        return [int(minor) for minor in at(edges[-1] if edges else Fraction(0))]
    for below, above in pairwise(edges):
        if sum(at(below)) <= pool <= sum(at(above)):
            rising = [w for w, a, b in zip(weights, at(below), at(above), strict=True) if b > a]
            level = below + (Fraction(pool - sum(at(below)), sum(rising)) if rising else 0)
            parts = at(level)
            free = [
                n
                for n, (w, (low, high)) in enumerate(zip(weights, bounds, strict=True))
                if w and low <= level * w <= high
            ]
            rounded = iter(to_units([parts[n] for n in free]))
            return [next(rounded) if n in free else int(part) for n, part in enumerate(parts)]
    raise AssertionError("the minimums are more than there is")


def value_of(line: Doc, facts: Doc) -> int:
    value: int = next(line[kind] for kind in ("amount", "basis_points", "remainder") if kind in line)
    if line.get("tiers"):
        who = line.get("payee", "") if line["volume_of"] == "payee" else ""
        reached = [tier for tier in line["tiers"] if tier["from"] <= facts["volumes"].get(who, 0)]
        value = reached[-1]["value"] if reached else value
    return value


def holds(name: str, wanted: Any, line: Doc, facts: Doc) -> bool:
    if name == "amount":
        return bool(wanted.get("from", 0) <= facts["amount"] < wanted.get("below", 10**30))
    if name == "payee":
        return (line["payee"] in facts["suspended"]) == (wanted == "suspended")
    return facts[name] in wanted
