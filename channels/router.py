"""Which channel account may take a payment, in which order. Pure: what the rails can do, and what is switched on.

Cost, limits and health come later; until they do, the order is the one the operator stated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from channels.contract import Capabilities, Method
from channels.terms import OPEN, Terms
from kernel.money import Money


@dataclass(frozen=True, slots=True)
class Candidate:
    """A channel account of the merchant, as far as routing looks at it."""

    account_id: str
    capabilities: Capabilities
    enabled: bool = True
    position: int = 0  # as the operator stated it; lower first
    terms: Terms = OPEN


def rank(candidates: Iterable[Candidate], *, method: Method, amount: Money) -> Sequence[Candidate]:
    """Return the accounts that can take this payment, first choice first; empty when none can.

    Accounts with the same position keep the order in which they were given.
    """
    able = [c for c in candidates if c.enabled and can(c.capabilities, method, amount)]
    if len(able) > 1:
        able.sort(key=lambda candidate: candidate.position)
    return able


def can(capabilities: Capabilities, method: Method, amount: Money) -> bool:
    """Tell whether a rail takes such a payment at all."""
    return (
        method in capabilities.methods
        and amount.currency in capabilities.currencies
        and capabilities.minimum_minor <= amount.minor <= capabilities.maximum_minor
    )
