"""What has been learned of one channel account: how often it succeeds, how fast it answers, how it stands now. Pure.

The chance of success is `usual × now`:

usual   how often such payments succeed there in the long run: worked and failed, counted for each (method, currency,
        amount bucket), each method and the account, older ones fading. Where little is known of the bucket, the method
        speaks for it; where little is known of the method, the account; where nothing is known, PRIOR.
now     the account's present condition, at most 1: what succeeded lately over what usually would have. It falls within
        a handful of failures, for all amounts at once, and is forgotten within the hour, so that a rail that was down
        is not remembered as a bad one.
"""

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import NamedTuple

from gateway.routing.breaker import DEFAULT, Breaker, Health, Thresholds
from gateway.routing.verdicts import Verdict

# Minor units from which the next bucket begins: below 50, 500 and 5000 yuan, and all the rest.
BUCKETS = (5_000, 50_000, 500_000)


def bucket(minor: int) -> int:
    """Return the number of the amount's bucket, 0 to 3."""
    return (minor >= BUCKETS[0]) + (minor >= BUCKETS[1]) + (minor >= BUCKETS[2])


@dataclass(frozen=True, slots=True)
class Memory:
    """How fast is learned and forgotten."""

    half_life_count: float = 400.0  # usual: so many later observations halve the weight of one
    half_life_s: float = 12 * 3600.0  # and so does so much time
    now_half_life_count: float = 25.0
    now_half_life_s: float = 600.0
    prior: float = 0.92  # of an account nobody has tried
    prior_weight: float = 10.0  # in observations
    account_weight: float = 40.0  # what the account's rate counts in its method's
    method_weight: float = 60.0  # what the method's rate counts in its bucket's
    now_weight: float = 3.0  # what "as usual" counts in the present condition
    now_grace: float = 1.5  # deviations below so many standard deviations are chance
    outage_weight: float = 0.1  # what an observation made in bad condition counts for what is usual
    bad: float = 0.7  # a present condition below this is bad


REMEMBER = Memory()


class Chances(NamedTuple):
    """What is expected of one payment at one account."""

    p: float  # chance of success, 0 to 1
    usual: float
    now: float
    weight: float  # how many observations p rests on, faded and borrowed ones by what they count
    own: float  # how many of them are of just such payments
    latency_ms: int | None

    @property
    def deviation(self) -> float:
        """Return the standard deviation of p."""
        return sqrt(self.p * (1 - self.p) / (self.weight + 1))


class _Count:
    """Worked and failed, older ones fading by their number and by time."""

    __slots__ = ("at", "failed", "worked")

    def __init__(self) -> None:
        self.worked = self.failed = self.at = 0.0


class _Now:
    """What succeeded lately, and what usually would have: sum and variance."""

    __slots__ = ("at", "expected", "variance", "worked")

    def __init__(self) -> None:
        self.worked = self.expected = self.variance = self.at = 0.0


class Rail:
    """What is known of one channel account. Observations come in the order of their times, or nearly so."""

    __slots__ = ("_counts", "_fade", "_fade_now", "_latency", "_nows", "_rate", "_rate_now", "breaker", "memory")

    def __init__(self, memory: Memory = REMEMBER, thresholds: Thresholds = DEFAULT) -> None:
        self.memory = memory
        self.breaker = Breaker(thresholds)
        self._counts: dict[str, _Count] = {"": _Count()}  # "" the account, "qr" a method, "qr CNY 2" a bucket
        self._nows: dict[str, _Now] = {"": _Now()}
        self._latency: dict[str, float] = {}
        self._fade = exp(-log(2) / memory.half_life_count)
        self._fade_now = exp(-log(2) / memory.now_half_life_count)
        self._rate = log(2) / memory.half_life_s
        self._rate_now = log(2) / memory.now_half_life_s

    def chances(self, method: str, currency: str, amount_minor: int, now: float) -> Chances:
        """Return what is expected of such a payment. now: seconds since the epoch."""
        usual, weight, own = self._usual(method, f"{method} {currency} {bucket(amount_minor)}", now)
        condition = self._condition(method, now)
        latency = self._latency.get(method)
        return Chances(usual * condition, usual, condition, weight, own, None if latency is None else round(latency))

    def see(
        self, method: str, currency: str, amount_minor: int, verdict: Verdict, at: float, latency_ms: float | None
    ) -> None:
        """Take in how the account did with one attempt. at: seconds since the epoch."""
        before = self.breaker.health(at)
        self.breaker.see(verdict, at)
        after = self.breaker.health(at)
        if after is Health.SLOW_START and before is not after:
            self._nows = {"": _Now()}  # it is back: what it did while it was away says nothing any more
        if verdict is Verdict.NEUTRAL:
            return
        worked = 1.0 if verdict is Verdict.WORKED else 0.0
        if worked and latency_ms is not None:
            known = self._latency.get(method)
            self._latency[method] = latency_ms if known is None else known + (latency_ms - known) / 20
        leaf = f"{method} {currency} {bucket(amount_minor)}"
        usual, _, _ = self._usual(method, leaf, at)
        for name in ("", method):
            self._see_now(name, worked, usual, at)
        away = after is not Health.CLOSED or self._condition(method, at) < self.memory.bad
        weight = self.memory.outage_weight if away else 1.0
        for name in ("", method, leaf):
            self._count(name, worked * weight, (1 - worked) * weight, at)

    # ---- usual -------------------------------------------------------------------------------------------------------

    def _usual(self, method: str, leaf: str, now: float) -> tuple[float, float, float]:
        """Return (chance, observations it rests on, those of just such payments)."""
        memory = self.memory
        p, weight, seen = memory.prior, memory.prior_weight, 0.0
        for name, borrowed in (
            ("", memory.prior_weight),
            (method, memory.account_weight),
            (leaf, memory.method_weight),
        ):
            trusted = min(borrowed, weight)
            count = self._counts.get(name)
            if count is None:
                weight, seen = trusted, 0.0
                continue
            faded = exp(-self._rate * (now - count.at)) if now > count.at else 1.0
            worked, seen = count.worked * faded, (count.worked + count.failed) * faded
            p = (worked + trusted * p) / (seen + trusted)
            weight = seen + trusted
        return p, weight, seen

    def _count(self, name: str, worked: float, failed: float, at: float) -> None:
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = _Count()
        fade = self._fade ** (worked + failed)
        if at > count.at:
            fade *= exp(-self._rate * (at - count.at))
            count.at = at
        count.worked = count.worked * fade + worked
        count.failed = count.failed * fade + failed

    # ---- now ---------------------------------------------------------------------------------------------------------

    def _condition(self, method: str, now: float) -> float:
        """Return the present condition of a method: the account's, corrected by what the method itself did lately."""
        memory = self.memory
        condition = 1.0
        for name in ("", method):
            lately = self._nows.get(name)
            if lately is None:
                continue
            faded = exp(-self._rate_now * (now - lately.at)) if now > lately.at else 1.0
            grace = memory.now_grace * sqrt(lately.variance * faded)
            done = lately.worked * faded + grace + memory.now_weight * condition
            condition = min(1.0, done / (lately.expected * faded + memory.now_weight))
        return condition

    def _see_now(self, name: str, worked: float, usual: float, at: float) -> None:
        lately = self._nows.get(name)
        if lately is None:
            lately = self._nows[name] = _Now()
        fade = self._fade_now
        if at > lately.at:
            fade *= exp(-self._rate_now * (at - lately.at))
            lately.at = at
        lately.worked = lately.worked * fade + worked
        lately.expected = lately.expected * fade + usual
        lately.variance = lately.variance * fade + usual * (1 - usual)
