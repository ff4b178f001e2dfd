"""Routing policies against one another in one world, and against an oracle that knows the truth.

Every policy meets the same payments, the same truth and the same luck, decides with what it has seen so far and keeps
its own volumes, which its fees and limits follow. A payment is tried once: failing over is left out for all alike.

regret: what the oracle's choices were worth in expectation, less what the policy's were, in basis points of the amount
wanted, over all payments. Worth in expectation is the true chance × (worth of a sale − fee), as docs/routing.md has it.
The oracle takes the best account by the truth, payment by payment; it plans no volumes ahead, so a policy may beat it
by reaching a tier.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gateway.accounts.terms import NOTHING_USED, Used
from gateway.routing.decision import decide
from gateway.routing.eligibility import Candidate, Wanted, sift
from gateway.routing.knowledge import Knowledge, Seen
from gateway.routing.policy import NO_POLICY, Policy
from gateway.routing.verdicts import Verdict
from kernel.clock import business_date
from ops.trials.routing.world import SILENCE_MS, Sale, World

WARM_UP = 20_000
CHART_POINTS = 200


@dataclass(frozen=True, slots=True)
class Scene:
    """A world with what every policy needs of it, worked out once."""

    world: World
    policy: Policy  # ours; its margin is the worth of a sale for all
    days: Sequence[date]  # of each payment, Beijing's
    open_to: Sequence[Sequence[int]]  # of each payment: the accounts that can take it, but for limits on volume
    worth: Sequence[int]  # of each payment, when it succeeds, in ten-thousandths of a minor unit


def scene(world: World, policy: Policy = NO_POLICY) -> Scene:
    """Look at a world from a policy's side."""
    position = {one.account_id: n for n, one in enumerate(world.accounts)}
    open_to, worth = [], []
    for sale in world.sales:
        able, _ = sift(world.accounts, _wanted(sale))
        open_to.append(tuple(position[one.account_id] for one in able))
        dearest = max((one.terms.fees.fee_minor(sale.amount.minor) for one in world.accounts), default=0)
        worth.append(max(sale.amount.minor * policy.margin_bp, (dearest + 1) * 10_000))
    return Scene(world, policy, [business_date(sale.at) for sale in world.sales], open_to, worth)


def _wanted(sale: Sale) -> Wanted:
    return Wanted(sale.id, sale.method, sale.amount, sale.at)


class Volumes:
    """What a policy's accounts have taken, by day and month."""

    def __init__(self, accounts: Sequence[Candidate]) -> None:
        self._day: date | None = None
        self.used = [NOTHING_USED] * len(accounts)

    def turn_to(self, day: date) -> None:
        if day == self._day:
            return
        another_month = self._day is not None and day.month != self._day.month
        self.used = [Used(0, 0, 0 if another_month else used.month_minor) for used in self.used]
        self._day = day

    def took(self, account: int, minor: int) -> None:
        day, count, month = self.used[account]
        self.used[account] = Used(day + minor, count + 1, month + minor)


Pick = Callable[[int, Sale, Sequence[int], Sequence[Used]], int]  # (number, payment, who can, volumes) → account
Hear = Callable[[Sale, int, Verdict, float], None]  # (payment, account, verdict, latency in ms)


@dataclass(frozen=True, slots=True)
class Choosing:
    """A policy of the bench: picks an account among those that can, and hears what became of it."""

    pick: Pick
    hear: Hear | None = None


@dataclass(slots=True)
class Score:
    """How a policy did."""

    payments: int = 0
    succeeded: int = 0
    later_payments: int = 0  # after the first WARM_UP
    later_succeeded: int = 0
    wanted_minor: int = 0
    taken_minor: int = 0
    fees_minor: int = 0
    value: float = 0.0  # expected by the truth, in minor units
    not_taken: int = 0  # payments that no account could take
    values: list[float] = field(default_factory=list)  # `value` at each point of the chart

    @property
    def success_rate(self) -> float:
        return self.succeeded / self.payments

    @property
    def later_success_rate(self) -> float | None:
        return self.later_succeeded / self.later_payments if self.later_payments else None

    @property
    def cost_per_10k(self) -> float:
        """Return what 10,000 yuan taken cost in fees, in yuan."""
        return self.fees_minor * 10_000 / self.taken_minor if self.taken_minor else 0.0


def play(scene: Scene, choosing: Choosing, only: int | None = None) -> Score:
    """Have a policy choose for every payment of a scene. only: the one account there is; the rest is not sold."""
    world, score, volumes = scene.world, Score(), Volumes(scene.world.accounts)
    limited = {a for a, one in enumerate(world.accounts) if one.terms.limits.day_minor is not None}
    every = max(1, len(world.sales) // CHART_POINTS)
    for number, sale in enumerate(world.sales):
        volumes.turn_to(scene.days[number])
        minor, able = sale.amount.minor, scene.open_to[number]
        if not limited.isdisjoint(able):
            able = [a for a in able if a not in limited or not _full(world.accounts[a], sale, volumes.used[a])]
        if only is not None:
            able = [only] if only in able else []
        later = number >= WARM_UP
        score.payments += 1
        score.later_payments += later
        score.wanted_minor += minor
        if able:
            chosen = choosing.pick(number, sale, able, volumes.used)
            chance = world.chance(chosen, sale)
            fee = world.accounts[chosen].terms.fees.fee_minor(minor, volumes.used[chosen].month_minor)
            score.value += chance * (scene.worth[number] / 10_000 - fee)
            rail_works = sale.luck[chosen] < chance
            if rail_works and not sale.payer_refuses:
                score.succeeded += 1
                score.later_succeeded += later
                score.taken_minor += minor
                score.fees_minor += fee
                volumes.took(chosen, minor)
            if choosing.hear is not None:
                verdict = Verdict.NEUTRAL if sale.payer_refuses and rail_works else Verdict.WORKED
                silent = not rail_works and sale.pace[chosen] > 1
                latency = SILENCE_MS if silent else world.latency_ms[chosen] * sale.pace[chosen]
                choosing.hear(sale, chosen, verdict if rail_works else Verdict.FAILED, latency)
        else:
            score.not_taken += 1
        if (number + 1) % every == 0:
            score.values.append(score.value)
    return score


def _full(account: Candidate, sale: Sale, used: Used) -> bool:
    return account.terms.why_not(sale.amount, sale.method, sale.at, used) is not None


# ---- the policies ----------------------------------------------------------------------------------------------------


def ours(scene: Scene, knowledge: Knowledge | None = None) -> Choosing:
    """Return the hub's own: the very function that decides there, learning from what it hears when it hears it."""
    known = knowledge or Knowledge()
    accounts = scene.world.accounts
    position = {one.account_id: n for n, one in enumerate(accounts)}
    under_way: list[tuple[float, int, Seen]] = []  # answers that are still to come, soonest first

    def pick(number: int, sale: Sale, able: Sequence[int], used: Sequence[Used]) -> int:
        now = sale.at.timestamp()
        while under_way and under_way[0][0] <= now:
            known.see(heapq.heappop(under_way)[2])
        decision = decide(
            accounts, _wanted(sale), known, policy=scene.policy, used=lambda account_id: used[position[account_id]]
        )
        first = decision.ranked[0]
        if decision.probe:
            known.rail(first.account_id).breaker.probing(now)
        return position[first.account_id]

    def hear(sale: Sale, account: int, verdict: Verdict, latency_ms: float) -> None:
        at = sale.at.timestamp() + latency_ms / 1000
        seen = Seen(accounts[account].account_id, sale.method, "CNY", sale.amount.minor, verdict, at, latency_ms)
        heapq.heappush(under_way, (at, len(under_way), seen))

    return Choosing(pick, hear)


def oracle(scene: Scene) -> Choosing:
    """Return the best by the truth."""
    world = scene.world
    fees = [one.terms.fees for one in world.accounts]

    def pick(number: int, sale: Sale, able: Sequence[int], used: Sequence[Used]) -> int:
        worth, minor = scene.worth[number], sale.amount.minor
        return max(
            able,
            key=lambda a: world.chance(a, sale) * (worth - 10_000 * fees[a].fee_minor(minor, used[a].month_minor)),
        )

    return Choosing(pick)


def priority(order: Sequence[int]) -> Choosing:
    """Return a fixed order: always the first that can."""
    rank = {account: place for place, account in enumerate(order)}
    return Choosing(lambda number, sale, able, used: min(able, key=rank.__getitem__))


def round_robin(accounts: int) -> Choosing:
    """Return each in its turn."""
    turn = 0

    def pick(number: int, sale: Sale, able: Sequence[int], used: Sequence[Used]) -> int:
        nonlocal turn
        turn += 1
        return next(a for n in range(accounts) if (a := (turn + n) % accounts) in able)

    return Choosing(pick)


def weighted(scene: Scene) -> Choosing:
    """Return a split by weights, as an operator would state it from the price list: the cheaper, the more."""
    rates = [one.terms.fees.basis_points for one in scene.world.accounts]
    weights = [max(1, 100 - rate) for rate in rates]

    def pick(number: int, sale: Sale, able: Sequence[int], used: Sequence[Used]) -> int:
        at = (number * 0.6180339887498949) % 1.0 * sum(weights[a] for a in able)
        for account in able:
            if at < weights[account]:
                return account
            at -= weights[account]
        return able[-1]

    return Choosing(pick)


def best_order(scene: Scene, places: int = 4) -> tuple[Sequence[int], Score]:
    """Return the fixed order that is worth most in hindsight, and how it does.

    Found place by place: each account left is tried there, the rest behind it as they were, and a gain is kept. Who
    stands fifth or later hardly ever gets a payment.
    """
    order = list(range(len(scene.world.accounts)))
    best = play(scene, priority(order))
    for place in range(min(places, len(order) - 1)):
        found = order
        for account in order[place + 1 :]:
            rest = [a for a in order if a != account]
            tried = [*rest[:place], account, *rest[place:]]
            score = play(scene, priority(tried))
            if score.value > best.value:
                best, found = score, tried
        order = found
    return order, best


# ---- all of them -----------------------------------------------------------------------------------------------------

ORACLE, OURS, BEST_STATIC = "oracle", "ours", "static_best"


@dataclass(frozen=True, slots=True)
class Result:
    """What a bench found."""

    payments: int
    seed: int
    scores: Mapping[str, Score]
    best_order: Sequence[str]  # the accounts of BEST_STATIC, first choice first

    def regret_minor(self, name: str) -> float:
        """Return what a policy's choices were worth less than the oracle's, in minor units."""
        return self.scores[ORACLE].value - self.scores[name].value

    def regret_bp(self, name: str) -> float:
        """Return the same in basis points of the amount wanted."""
        return self.regret_minor(name) * 10_000 / self.scores[name].wanted_minor

    def missed(self) -> list[str]:
        """Return which goals ours has missed, in words."""
        wrong = []
        if not self.regret_bp(OURS) * 2 <= self.regret_bp(BEST_STATIC):
            wrong.append(
                f"regret {self.regret_bp(OURS):.2f} bp is more than half of the best fixed order's "
                f"{self.regret_bp(BEST_STATIC):.2f} bp"
            )
        mine, its = self.scores[OURS].later_success_rate, self.scores[ORACLE].later_success_rate
        if mine is not None and its is not None and mine < 0.98 * its:
            wrong.append(f"after {WARM_UP} payments {mine:.2%} succeed, more than 2 % below the oracle's {its:.2%}")
        return wrong

    def as_json(self) -> dict[str, Any]:
        """Return the result for machines: rates as fractions, money in yuan and minor units as the names say."""
        return {
            "payments": self.payments,
            "seed": self.seed,
            "warm_up": WARM_UP,
            "best_order": list(self.best_order),
            "missed": self.missed(),
            "policies": {
                name: {
                    "success_rate": round(score.success_rate, 6),
                    "success_rate_after_warm_up": None if (r := score.later_success_rate) is None else round(r, 6),
                    "cost_per_10k": round(score.cost_per_10k, 4),
                    "regret": round(self.regret_bp(name), 4),
                    "regret_minor_per_payment": round(self.regret_minor(name) / score.payments, 4),
                    "not_taken": score.not_taken,
                }
                for name, score in self.scores.items()
            },
        }


def run(payments: int, seed: int, policy: Policy = NO_POLICY, *, places: int = 4, singles: bool = True) -> Result:
    """Play every policy in one world. payments: at least 1000. places: see best_order. singles: single rails too."""
    world = World(seed, payments)
    stage, count = scene(world, policy), len(world.accounts)
    names = [one.account_id for one in world.accounts]
    scores = {ORACLE: play(stage, oracle(stage)), OURS: play(stage, ours(stage))}
    order, scores[BEST_STATIC] = best_order(stage, places)
    scores["static_as_stated"] = play(stage, priority(range(count)))
    scores["weighted"] = play(stage, weighted(stage))
    scores["round_robin"] = play(stage, round_robin(count))
    for account in range(count if singles else 0):
        scores[f"only {names[account]}"] = play(stage, priority([account]), only=account)
    return Result(payments, seed, scores, [names[a] for a in order])
