"""A world in which to compare routing policies: ten channel accounts, payments, and the truth, all from one seed.

Nothing here knows how routing decides. Accounts differ in methods, limits, hours, fees (tiers, free quotas, minimum,
fixed part, cap) and in how often payments succeed, by method and amount. A dearer rail is a little better on the whole.
The chances wander; an account fails for an hour now and then and comes back slowly; one of its methods limps. Luck is
one number for each payment and account, drawn beforehand, so that every policy meets the same.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp, log, sqrt

from channels.contract import Capabilities, Method
from gateway.accounts.terms import FeeSchedule, Limits, Terms, Tier
from gateway.routing.eligibility import Candidate
from gateway.routing.learning import BUCKETS, bucket
from kernel.money import Money

ACCOUNTS = 10
METHODS = (Method.QR, Method.BARCODE, Method.JSAPI, Method.CARD)
METHOD_WEIGHTS = (40, 30, 20, 10)
MEAN_GAP_S = 6.0  # a hundred thousand payments are a week
STEP_S = 300.0  # the truth stands still for so long
BEGINS = datetime(2026, 11, 2, 16, 0, tzinfo=UTC)  # a Monday's Beijing midnight
MEDIAN_MINOR, SPREAD = 8_000, 1.3
MEAN_MINOR = MEDIAN_MINOR * exp(SPREAD**2 / 2)
PAYERS_REFUSE = 0.03  # of payments, whatever the rail
SILENCE_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class Sale:
    """One payment of the world."""

    id: str
    at: datetime
    method: Method
    amount: Money
    step: int
    kind: int  # of the truth: method and bucket
    payer_refuses: bool
    luck: Sequence[float]  # by account
    pace: Sequence[float]  # by account: factor on its latency


class World:
    """Accounts, their truth over time, and a stream of payments."""

    def __init__(self, seed: int, payments: int) -> None:
        self.seed = seed
        chance = random.Random(f"routing world {seed}")
        self.accounts = _accounts(chance, payments)
        self.latency_ms = [chance.lognormvariate(log(250), 0.5) for _ in self.accounts]
        self.sales = list(_sales(chance, payments))
        steps = self.sales[-1].step + 1
        self.truth = [_truth(chance, account, steps) for account in self.accounts]  # [account][step][kind]

    def chance(self, account: int, sale: Sale) -> float:
        """Return the true chance that the rail does its part."""
        return self.truth[account][sale.step][sale.kind]


def _accounts(chance: random.Random, payments: int) -> list[Candidate]:
    """Return the accounts; volumes in their terms are parts of what this many payments bring."""
    volume = payments * MEAN_MINOR
    daily = 86_400 / MEAN_GAP_S * MEAN_MINOR
    offered: list[set[Method]] = [{m for m in METHODS if chance.random() < 0.8} for _ in range(ACCOUNTS)]
    for method in METHODS:  # each has a choice
        while sum(method in has for has in offered) < 5:
            chance.choice(offered).add(method)
    made = []
    for number, methods in enumerate(offered):
        rate = chance.randint(25, 75)
        match number:
            case 0 | 1:
                tiers = (
                    Tier(round(volume * chance.uniform(0.05, 0.15)), max(rate - 6, 0)),
                    Tier(round(volume * chance.uniform(0.2, 0.4)), max(rate - 12, 0)),
                )
                fees = FeeSchedule(rate, tiers=tiers)
            case 2 | 3:
                fees = FeeSchedule(rate, free_quota_minor=round(volume * chance.uniform(0.01, 0.05)))
            case 4:
                fees = FeeSchedule(rate, minimum_minor=chance.randint(10, 30))
            case 5:
                fees = FeeSchedule(max(rate - 10, 10), fixed_minor=chance.randint(5, 20))
            case 6:
                fees = FeeSchedule(rate, cap_minor=chance.randint(1_000, 5_000))
            case _:
                fees = FeeSchedule(rate)
        limits, windows = Limits(), tuple[str, ...]()
        if number in (1, 7):
            limits = Limits(maximum_minor=chance.randint(50_000, 200_000))
        elif number == 5:
            limits = Limits(day_minor=round(daily * chance.uniform(0.05, 0.2)))
        elif number == 8:
            windows = ("mon-sun 06:00-02:00",)
        capabilities = Capabilities(frozenset(methods), frozenset({"CNY"}))
        terms = Terms(fees=fees, limits=limits, windows=windows)
        made.append(Candidate(f"account-{number}", f"rail{number}", capabilities, "enabled", terms, number))
    chance.shuffle(made)
    return [
        Candidate(one.account_id, one.channel, one.capabilities, one.state, one.terms, position)
        for position, one in enumerate(made)
    ]


def _sales(chance: random.Random, payments: int) -> "list[Sale]":
    seconds = 0.0
    sales = []
    for number in range(payments):
        hour = (seconds / 3600) % 24
        busy = 0.25 if hour < 7 else 1.6 if 11 <= hour < 14 or 18 <= hour < 22 else 1.0
        seconds += chance.expovariate(busy * 1.075 / MEAN_GAP_S)
        minor = min(max(round(chance.lognormvariate(log(MEDIAN_MINOR), SPREAD)), 100), 2_000_000)
        method = chance.choices(METHODS, METHOD_WEIGHTS)[0]
        sales.append(
            Sale(
                f"pay_{number:026x}",
                BEGINS + timedelta(seconds=seconds),
                method,
                Money(minor, "CNY"),
                int(seconds // STEP_S),
                METHODS.index(method) * (len(BUCKETS) + 1) + bucket(minor),
                chance.random() < PAYERS_REFUSE,
                tuple(chance.random() for _ in range(ACCOUNTS)),
                tuple(chance.lognormvariate(0, 0.3) for _ in range(ACCOUNTS)),
            )
        )
    return sales


class _Drift:
    """A number that wanders and is drawn back to zero (Ornstein-Uhlenbeck)."""

    def __init__(self, chance: random.Random, spread: float, hours: float) -> None:
        self._chance, self._spread = chance, spread
        self._keep = exp(-STEP_S / (hours * 3600))
        self.value = chance.gauss(0, spread)

    def step(self) -> float:
        self.value = self.value * self._keep + self._chance.gauss(0, self._spread * sqrt(1 - self._keep**2))
        return self.value


def _incidents(
    chance: random.Random, steps: int, every_h: float, worst: tuple[float, float], back_min: float
) -> list[float]:
    """Return a factor on the chance of success for each step: 1, but for failures and the time of coming back."""
    factor = [1.0] * steps
    at = chance.expovariate(1 / (every_h * 3600))
    while at < steps * STEP_S:
        lasts = min(chance.lognormvariate(log(1800), 0.8), 6 * 3600)
        level, back = chance.uniform(*worst), chance.uniform(0, back_min * 60)
        for step in range(int(at // STEP_S), min(steps, int((at + lasts + back) // STEP_S) + 1)):
            over = step * STEP_S - at - lasts
            now = level if over <= 0 else level + (1 - level) * min(1.0, over / max(back, 1.0))
            factor[step] = min(factor[step], now)
        at += lasts + back + chance.expovariate(1 / (every_h * 3600))
    return factor


def _truth(chance: random.Random, account: Candidate, steps: int) -> list[list[float]]:
    rate = account.terms.fees.basis_points
    base = chance.gauss(2.4 + 0.02 * (rate - 50), 0.5)
    kinds = len(BUCKETS) + 1
    by_method = [chance.gauss(0, 0.4) for _ in METHODS]
    by_kind = [chance.gauss(0, 0.3) for _ in range(len(METHODS) * kinds)]
    drift = _Drift(chance, 0.3, 36)
    drift_method = [_Drift(chance, 0.3, 24) for _ in METHODS]
    drift_kind = [_Drift(chance, 0.2, 24) for _ in by_kind]
    down = _incidents(chance, steps, 40, (0.0, 0.4), 60)
    limping = [_incidents(chance, steps, 60, (0.2, 0.7), 30) for _ in METHODS]
    truth = []
    for step in range(steps):
        whole = base + drift.step()
        methods = [by_method[m] + drift_method[m].step() for m in range(len(METHODS))]
        truth.append(
            [
                down[step]
                * limping[k // kinds][step]
                / (1 + exp(-(whole + methods[k // kinds] + by_kind[k] + drift_kind[k].step())))
                for k in range(len(by_kind))
            ]
        )
    return truth
