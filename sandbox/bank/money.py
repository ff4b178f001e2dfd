"""Amounts as ISO 20022 writes them (decimal text and a currency) and as the bank keeps them (whole minor units)."""

from __future__ import annotations

import re
from functools import cache

import iso4217

_AMOUNT = re.compile(r"\+?([0-9]*)(?:\.([0-9]*))?")


class NotAnAmount(ValueError):
    """Say why a text is no amount of its currency."""


@cache
def minor_digits(currency: str) -> int:
    """Return how many decimals ISO 4217 gives a currency (CNY 2, JPY 0, KWD 3).

    Raises NotAnAmount for a code ISO 4217 does not know, or one without minor units (gold, test codes).
    """
    try:
        digits = iso4217.Currency(currency).exponent
    except ValueError:
        raise NotAnAmount(f"{currency!r} is not an ISO 4217 currency") from None
    if digits is None:
        raise NotAnAmount(f"{currency!r} has no minor unit, so it cannot be paid with")
    return int(digits)


def to_minor(text: str, currency: str) -> int:
    """Return an amount's whole minor units.

    More decimals than the currency has are refused even when they are zeros: a sender that writes 1.000 CNY means
    some other unit. Raises NotAnAmount.
    """
    digits = minor_digits(currency)
    found = _AMOUNT.fullmatch(text.strip())
    whole, fraction = (found.group(1), found.group(2) or "") if found else ("", "")
    if not whole and not fraction:
        raise NotAnAmount(f"{text!r} is not an amount: digits with at most one point are expected, no sign")
    if len(fraction) > digits:
        raise NotAnAmount(f"{text!r} has {len(fraction)} decimals, {currency} has {digits}")
    return int((whole or "0") + fraction.ljust(digits, "0"))


def to_text(minor: int, currency: str) -> str:
    """Return the decimal text of a non-negative number of minor units."""
    if minor < 0:
        raise ValueError(f"{minor} is negative: ISO 20022 says the direction in CdtDbtInd")
    digits = minor_digits(currency)
    if digits == 0:
        return str(minor)
    padded = str(minor).rjust(digits + 1, "0")
    return f"{padded[:-digits]}.{padded[-digits:]}"
