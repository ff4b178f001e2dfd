"""Amounts as PayPal writes them: decimal text in major units. Minor units are those of ISO 4217, as in the core."""

import re

CURRENCIES = frozenset(
    (
        *("AUD", "BRL", "CAD", "CNY", "CZK", "DKK", "EUR", "HKD", "HUF", "ILS", "JPY", "MXN"),
        *("MYR", "NOK", "NZD", "PHP", "PLN", "GBP", "SGD", "SEK", "CHF", "TWD", "THB", "USD"),
    )
)
WHOLE_ONLY = frozenset(("HUF", "JPY", "TWD"))  # at PayPal
_VALUE = re.compile(r"-?([0-9]+|[0-9]*[.][0-9]+)", re.ASCII)


def digits(currency: str) -> int:
    """Return how many decimals ISO 4217 gives the currency."""
    return 0 if currency == "JPY" else 2


def _per_major(currency: str) -> int:
    return 1 if currency == "JPY" else 100


def text(minor: int, currency: str) -> str:
    """Return the amount as PayPal writes it; a fee that is no whole number of TWD keeps its decimals."""
    per_major = _per_major(currency)
    sign, minor = "-" if minor < 0 else "", abs(minor)
    if per_major == 1 or (currency in WHOLE_ONLY and minor % per_major == 0):
        return f"{sign}{minor // per_major}"
    return f"{sign}{minor // per_major}.{minor % per_major:02d}"


def shown(minor: int, currency: str) -> dict[str, str]:
    """Return the amount as an object of PayPal's."""
    return {"currency_code": currency, "value": text(minor, currency)}


class BadAmount(ValueError):
    """The text is no amount that PayPal takes. issue: PayPal's code."""

    def __init__(self, issue: str) -> None:
        super().__init__(issue)
        self.issue = issue


def minor_of(value: object, currency: object) -> int:
    """Return minor units. Raises BadAmount."""
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise BadAmount("INVALID_CURRENCY_CODE")
    if not isinstance(value, str) or len(value) > 32 or not _VALUE.fullmatch(value):
        raise BadAmount("INVALID_PARAMETER_SYNTAX")
    whole, _, decimals = value.lstrip("-").partition(".")
    if currency in WHOLE_ONLY and decimals.strip("0"):
        raise BadAmount("DECIMALS_NOT_SUPPORTED")
    if len(decimals) > 2:
        raise BadAmount("DECIMAL_PRECISION")
    wanted = digits(currency)
    minor = int(whole or "0") * _per_major(currency) + int(decimals[:wanted].ljust(wanted, "0") or "0")
    if value.startswith("-") or minor == 0:
        raise BadAmount("CANNOT_BE_ZERO_OR_NEGATIVE")
    if minor >= 10**17:
        raise BadAmount("MAX_VALUE_EXCEEDED")
    return minor
