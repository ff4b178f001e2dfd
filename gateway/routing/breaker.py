"""The breaker 熔断器 of one channel account: keeps payments away from a rail that does not answer well. Pure.

    closed ──failures──▶ open ──pause──▶ half_open ──probes work──▶ slow_start ──ramp──▶ closed
                          ▲                 │ a probe fails              │ failures
                          └──── longer ─────┴────────────────────────────┘

Times are seconds since the epoch and are passed in. Nothing here refuses a payment: an open account is asked last.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from gateway.routing.verdicts import Verdict


class Health(StrEnum):
    """How an account stands."""

    CLOSED = "closed"  # healthy: the circuit is closed
    OPEN = "open"  # failing: asked only where there is no other
    HALF_OPEN = "half_open"  # rested: one payment at a time finds out whether it is back
    SLOW_START = "slow_start"  # back: takes a growing part of what it would take


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a breaker opens, and how it closes again."""

    consecutive: int = 5  # failures in a row that open it
    window_count: int = 20  # or: of so many last answers,
    window_s: float = 120.0  # none older than this,
    window_failures: int = 12  # so many failed
    pause_s: float = 15.0  # how long it stays open; doubled each time it opens again before it has closed
    longest_pause_s: float = 480.0
    probe_every_s: float = 2.0  # half-open: at most one payment in this time, in each process
    probes: int = 3  # that must work in a row
    patience_s: float = 600.0  # half-open: after this long without a probe, a payment of any size may be one
    ramp_s: float = 60.0  # slow start: how long until it takes everything again
    ramp_from: float = 0.1  # and with which part it begins
    ramp_failures: int = 3  # slow start: failures in a row that open it again


DEFAULT = Thresholds()


class Breaker:
    """One account's breaker. `see` every answer in the order of their times, then read `health`."""

    __slots__ = ("_bad", "_good", "_last", "_pause_s", "_probed_at", "_since", "_state", "thresholds")

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self.thresholds = thresholds
        self._state = Health.CLOSED
        self._since = 0.0  # when it came into this state
        self._bad = 0  # failures in a row
        self._good = 0  # half-open: probes that worked in a row
        self._last: deque[tuple[float, bool]] = deque(maxlen=thresholds.window_count)
        self._pause_s = thresholds.pause_s
        self._probed_at = float("-inf")

    def health(self, now: float) -> Health:
        """Return how the account stands now."""
        if self._state is Health.CLOSED:  # nearly always
            return Health.CLOSED
        if self._state is Health.OPEN and now >= self._since + self._pause_s:
            self._turn(Health.HALF_OPEN, self._since + self._pause_s)
        elif self._state is Health.SLOW_START and now >= self._since + self.thresholds.ramp_s:
            self._turn(Health.CLOSED, self._since + self.thresholds.ramp_s)
            self._pause_s = self.thresholds.pause_s
        return self._state

    def share(self, now: float) -> float:
        """Return the part of its payments that the account takes while it starts slowly: 0 to 1."""
        begun = (now - self._since) / self.thresholds.ramp_s
        return min(1.0, self.thresholds.ramp_from + (1 - self.thresholds.ramp_from) * max(0.0, begun))

    def may_probe(self, now: float, *, small: bool) -> bool:
        """Tell whether a half-open account may be tried by a payment now. small: few would miss it, by the policy."""
        if now < self._probed_at + self.thresholds.probe_every_s:
            return False
        return small or now >= max(self._since, self._probed_at) + self.thresholds.patience_s

    def probing(self, now: float) -> None:
        """Note that a payment is on its way to try the account."""
        self._probed_at = now

    def see(self, verdict: Verdict, at: float) -> bool:
        """Take an answer in; return whether it opened the breaker."""
        if verdict is Verdict.FAILED:
            return self._failed(at)
        if verdict is Verdict.WORKED:
            self._worked(at)
        else:
            self._bad = 0  # the rail spoke: whatever it said, it is there
        return False

    def _worked(self, at: float) -> None:
        self._bad = 0
        self._last.append((at, True))
        if self.health(at) is Health.HALF_OPEN:
            self._good += 1
            if self._good >= self.thresholds.probes:
                self._turn(Health.SLOW_START, at)

    def _failed(self, at: float) -> bool:
        self._bad += 1
        self._last.append((at, False))
        state, limits = self.health(at), self.thresholds
        if state is Health.OPEN:  # sent before it opened, or for want of another account
            return False
        if state is Health.CLOSED:
            opens = self._bad >= limits.consecutive or self._too_many(at)
        else:
            opens = state is Health.HALF_OPEN or self._bad >= limits.ramp_failures or self._too_many(at)
            if opens:
                self._pause_s = min(2 * self._pause_s, limits.longest_pause_s)
        if opens:
            self._turn(Health.OPEN, at)
        return opens

    def _too_many(self, at: float) -> bool:
        if len(self._last) < self.thresholds.window_count or self._last[0][0] < at - self.thresholds.window_s:
            return False
        return sum(not good for _, good in self._last) >= self.thresholds.window_failures

    def _turn(self, state: Health, at: float) -> None:
        self._state, self._since, self._good, self._bad = state, at, 0, 0
        self._last.clear()
