"""Money: whole minor units and an ISO 4217 currency. Never a float."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache

from iso4217 import Currency

MAX_MINOR = 10**15  # a thousand times the largest payment any rail takes; sums of nine thousand such fit a bigint


class CurrencyDiffers(ValueError):
    """Two amounts of different currencies met."""


@cache
def minor_digits(currency: str) -> int:
    """Return how many decimals the currency has (CNY 2, JPY 0, KWD 3). Raises KeyError for an unknown code."""
    try:
        digits = Currency(currency).exponent
    except ValueError:
        raise KeyError(currency) from None
    if digits is None:  # XXX, XAU ...: not money anyone is paid in
        raise KeyError(currency)
    return int(digits)


def is_currency(code: str) -> bool:
    """Tell whether `code` is an upper-case ISO 4217 code that has minor units."""
    try:
        minor_digits(code)
    except KeyError:
        return False
    return True


CURRENCIES: Sequence[str] = tuple(sorted(one.code for one in Currency if is_currency(one.code)))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (分, cents) of one currency; may be negative in differences."""

    minor: int
    currency: str

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same(other), self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same(other)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyDiffers(f"{self.currency} met {other.currency}")
        return other.minor

    def major(self) -> str:
        """Return the amount in major units as text with the currency's decimals: 1234 CNY → '12.34'."""
        digits = minor_digits(self.currency)
        return str(Decimal(self.minor).scaleb(-digits)) if digits else str(self.minor)

    def __str__(self) -> str:
        """For people. What a rail calls a currency and is none is said as it came."""
        amount = self.major() if is_currency(self.currency) else f"{self.minor} minor units of"
        return f"{amount} {self.currency}"


def from_major(text: str, currency: str) -> Money:
    """Read plain decimal text such as '12.34'; raises ValueError unless it is exact in the currency's minor units."""
    digits = minor_digits(currency)
    whole, point, decimals = text.removeprefix("-").partition(".")
    plain = whole.isascii() and whole.isdigit() and len(whole) <= 15
    if not plain or (point and not (decimals.isascii() and decimals.isdigit())) or len(decimals) > digits:
        raise ValueError(f"{text[:40]!r} is not an amount in {currency} with at most {digits} decimals")
    minor = int(whole) * 10**digits + int(decimals.ljust(digits, "0") or "0")
    return Money(-minor if text.startswith("-") else minor, currency)


def share_bp(minor: int, basis_points: int) -> int:
    """Return `basis_points` (万分之一) of `minor`, rounded half up: 10000 bp is the whole."""
    return int((Decimal(minor) * basis_points / 10_000).to_integral_value(ROUND_HALF_UP))


def proportion(minor: int, part: int, whole: int) -> int:
    """Return minor × part ÷ whole, rounded half up; minor, part ≥ 0 and whole > 0."""
    return (2 * minor * part + whole) // (2 * whole)


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` ≥ 0 minor units by `weights` ≥ 0, exactly.

    Odd units go to the largest remainders, the earlier one first where they are equal (largest-remainder method).
    Raises ValueError when no weight is positive and there is something to split.
    """
    whole = sum(weights)
    if whole == 0:
        if total:
            raise ValueError("nothing to split by: every weight is zero")
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
