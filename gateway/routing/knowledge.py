"""What has been learned of one merchant's channel accounts: a fold over what became of attempts. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gateway.routing.breaker import DEFAULT, Thresholds
from gateway.routing.learning import REMEMBER, Memory, Rail
from gateway.routing.verdicts import Verdict


class Seen(NamedTuple):
    """What became of one attempt."""

    account_id: str
    method: str
    currency: str
    amount_minor: int
    verdict: Verdict
    at: float  # seconds since the epoch, when it was known
    latency_ms: float | None = None


class Knowledge:
    """The accounts of one merchant. Folding the same observations in the same order gives the same knowledge."""

    def __init__(self, memory: Memory = REMEMBER, thresholds: Thresholds = DEFAULT) -> None:
        self._memory = memory
        self._thresholds = thresholds
        self._rails: dict[str, Rail] = {}

    def rail(self, account_id: str) -> Rail:
        """Return what is known of an account; of one never seen, nothing."""
        rail = self._rails.get(account_id)
        if rail is None:
            rail = self._rails[account_id] = Rail(self._memory, self._thresholds)
        return rail

    @property
    def rails(self) -> Mapping[str, Rail]:
        """Every account something was asked about, by id."""
        return self._rails

    def see(self, seen: Seen) -> None:
        """Take in what became of one attempt."""
        self.rail(seen.account_id).see(
            seen.method, seen.currency, seen.amount_minor, seen.verdict, seen.at, seen.latency_ms
        )

    def fold(self, observations: Iterable[Seen]) -> None:
        """Take in what became of many, in order."""
        for seen in observations:
            self.see(seen)
