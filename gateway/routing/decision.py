"""The decision: which account takes a payment, which would be next, and all that led to it. Pure.

What trying an account first is worth, in the payment's currency:

    expected value = chance of success × (worth − fee)
    worth          = the merchant's margin on the sale: margin_bp of the amount

A fee is paid only on success, so it stands inside. Were the fee dearer than the worth (a small sale under a minimum
fee), success would count against an account; so the worth is at least the dearest fee in question and one minor unit.
Money is whole: the chance is taken in millionths, the worth in ten-thousandths of a minor unit, and values are compared
as whole numbers, in steps of 0.2 bp of the amount (TIE). Within a step the faster account is first, then the one the
operator put first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple, Protocol

from gateway.routing.breaker import Breaker, Health
from gateway.routing.chance import draw
from gateway.routing.eligibility import Candidate, No, Usage, Wanted, nothing_used, sift
from gateway.routing.learning import Chances, Rail
from gateway.routing.policy import NO_POLICY, Facts, Policy, RoutingRule

PPM = 1_000_000
UNITS = PPM * 10_000  # of a value, in one minor unit
TIE = UNITS // 50_000  # a step between values, for each minor unit of the amount: 0.2 bp
NO_LATENCY = 10**9  # of an account that has not answered yet: after all that have
_NORMAL = NormalDist()


class Knowledge(Protocol):
    """What has been learned of a merchant's channel accounts."""

    def rail(self, account_id: str) -> Rail:
        """Return what is known of an account; of one never seen, nothing."""


class Ranked(NamedTuple):
    """An account that may take the payment, with what it was judged by."""

    account_id: str
    channel: str
    fee_minor: int  # what it would cost
    p_ppm: int  # chance of success, millionths
    value: int  # expected value, in UNITS of a minor unit
    usual_ppm: int
    weight: int  # observations the chance rests on
    health: Health
    latency_ms: int | None
    aside: str | None = None  # why it stands behind accounts of less value: open | resting | starting
    drawn_ppm: int | None = None  # exploring: the chance it was given for this one payment


class Decision(NamedTuple):
    """Accounts in the order in which they are to be tried, and what led to it."""

    ranked: Sequence[Ranked]
    refused: Sequence[No]
    policy_version: int
    worth: int = 0  # of a success, in ten-thousandths of a minor unit; 0: nothing had to be compared
    rules: Sequence[str] = ()  # names of the rules that had a say, in order
    preferred: str | None = None  # the account a rule's weights drew
    explored: bool = False  # the first is not the best known but worth trying
    probe: bool = False  # the first is tried to find out whether it is back


def decide(
    candidates: Sequence[Candidate],
    wanted: Wanted,
    known: Knowledge,
    *,
    policy: Policy = NO_POLICY,
    used: Usage = nothing_used,
) -> Decision:
    """Return where a payment goes. The same arguments give the same decision, always.

    used: what each account has taken this day and month in the payment's currency.
    A decision whose `probe` is set should be told to the account's breaker (`probing`) once it is acted upon.
    """
    able, refused = sift(candidates, wanted, used)
    rules: list[str] = []
    weighted: RoutingRule | None = None
    if policy.rules:
        able, refused, rules, weighted = _ruled(policy, candidates, able, refused, wanted)
    if len(able) == 1:  # nothing to compare: nothing is computed
        only = able[0]
        fee = only.terms.fees.fee_minor(wanted.amount.minor, used(only.account_id).month_minor)
        alone = Ranked(only.account_id, only.channel, fee, PPM, 0, PPM, 0, Health.CLOSED, None)
        return Decision((alone,), refused, policy.version, rules=rules)
    if not able:
        return Decision((), refused, policy.version, rules=rules)
    return _compared(able, refused, wanted, known, policy, used, rules, weighted)


def _ruled(
    policy: Policy, candidates: Sequence[Candidate], able: list[Candidate], refused: list[No], wanted: Wanted
) -> tuple[list[Candidate], list[No], list[str], RoutingRule | None]:
    """Apply the rules that hold, in order. `pin` and `prefer` end it: whatever stands below has no say any more."""
    facts = Facts(
        wanted.method, wanted.amount.currency, wanted.amount.minor, wanted.now, wanted.region, wanted.metadata
    )
    names = []
    for rule in policy.rules:
        if not rule.holds(facts):
            continue
        names.append(rule.name)
        if rule.action == "prefer":
            return able, refused, names, rule
        words = rule.name
        if rule.action == "pin" and not any(rule.names(one.account_id, one.channel) for one in candidates):
            words = f"{rule.name} pins {str(rule.targets[0])!r}, which you do not have"
        stay: list[Candidate] = []
        for one in able:
            if rule.names(one.account_id, one.channel) == (rule.action != "exclude"):
                stay.append(one)
            else:
                refused.append(No(one.account_id, "rule", words))
        able = stay
        if rule.action == "pin":
            break
    return able, refused, names, None


@dataclass(slots=True)
class _Weighed:
    """A candidate on the scales."""

    candidate: Candidate
    fee_minor: int
    chances: Chances
    health: Health
    p_ppm: int
    aside: str | None
    probe: bool
    value: int = 0
    drawn_ppm: int | None = None
    key: tuple[int, int, int, int] = field(default=(0, 0, 0, 0))


def _compared(
    able: Sequence[Candidate],
    refused: Sequence[No],
    wanted: Wanted,
    known: Knowledge,
    policy: Policy,
    used: Usage,
    rules: Sequence[str],
    weighted: RoutingRule | None,
) -> Decision:
    amount = wanted.amount.minor
    small = policy.small(wanted.amount.currency, amount)
    now = wanted.now.timestamp()
    weighed = [_weigh(one, wanted, known.rail(one.account_id), now, small, used) for one in able]
    worth = max(amount * policy.margin_bp, (max(one.fee_minor for one in weighed) + 1) * 10_000)
    _order(weighed, worth, amount)
    if _one_probe(weighed):
        _order(weighed, worth, amount)
    explored = False
    preferred = None
    if weighted is not None:
        preferred = _by_weight(weighed, weighted, wanted)
    elif policy.explore_bp and small:
        explored = _explore(weighed, wanted, policy, worth)
    first = weighed[0]
    return Decision(
        tuple(
            Ranked(
                one.candidate.account_id,
                one.candidate.channel,
                one.fee_minor,
                one.p_ppm,
                one.value,
                round(one.chances.usual * PPM),
                round(one.chances.weight),
                one.health,
                one.chances.latency_ms,
                one.aside,
                one.drawn_ppm,
            )
            for one in weighed
        ),
        refused,
        policy.version,
        worth,
        rules,
        preferred,
        explored,
        first.probe,
    )


def _weigh(one: Candidate, wanted: Wanted, rail: Rail, now: float, small: bool, used: Usage) -> _Weighed:
    amount = wanted.amount
    fees = one.terms.fees
    month = used(one.account_id).month_minor if fees.tiers or fees.free_quota_minor else 0
    fee = fees.fee_minor(amount.minor, month)
    chances = rail.chances(wanted.method, amount.currency, amount.minor, now)
    health = rail.breaker.health(now)
    p, aside, probe = chances.p, None, False
    if health is not Health.CLOSED:
        aside, probe = _aside(rail.breaker, health, wanted, one.account_id, now, small)
        if probe:
            p = chances.usual  # the question is whether it is back, and if it is, this is what it is worth
    return _Weighed(one, fee, chances, health, round(p * PPM), aside, probe)


def _aside(
    breaker: Breaker, health: Health, wanted: Wanted, account_id: str, now: float, small: bool
) -> tuple[str | None, bool]:
    """Return why an account that is not well stands back from this payment, and whether the payment tries it."""
    if health is Health.OPEN:
        return "open", False
    if health is Health.HALF_OPEN:
        return (None, True) if breaker.may_probe(now, small=small) else ("resting", False)
    return (None if draw(wanted.payment_id, f"start {account_id}") < breaker.share(now) else "starting"), False


def _order(weighed: list[_Weighed], worth: int, amount_minor: int) -> None:
    """Put the accounts in order: those that are well before the others, then by value, latency, the operator's word."""
    step = amount_minor * TIE
    for one in weighed:
        one.value = one.p_ppm * (worth - one.fee_minor * 10_000)
        latency = one.chances.latency_ms
        behind = one.aside is not None
        one.key = (behind, -(one.value // step), latency if latency is not None else NO_LATENCY, one.candidate.position)
    weighed.sort(key=lambda one: one.key)


def _one_probe(weighed: list[_Weighed]) -> bool:
    """Have an account that is only being tried stand first, or stand back: it is no second choice. Tell if one does."""
    behind = [one for one in weighed[1:] if one.probe]
    for one in behind:
        one.probe, one.aside, one.p_ppm = False, "resting", round(one.chances.p * PPM)
    return bool(behind)


def _by_weight(weighed: list[_Weighed], rule: RoutingRule, wanted: Wanted) -> str | None:
    """Put the account first that the rule's weights draw among those it names and which are well; tell which."""
    drawn: list[tuple[_Weighed, int]] = []
    for target, weight in zip(rule.targets, rule.weights, strict=True):
        # Of a rail with several accounts the best stands for it.
        best = next(
            (
                one
                for one in weighed
                if one.aside is None and target.names(one.candidate.account_id, one.candidate.channel)
            ),
            None,
        )
        if best is not None:
            drawn.append((best, weight))
    if not drawn:
        return None
    at = int(draw(wanted.payment_id, f"prefer {rule.name}") * sum(weight for _, weight in drawn))
    for one, weight in drawn:
        if at < weight:
            weighed.remove(one)
            weighed.insert(0, one)
            return one.candidate.account_id
        at -= weight
    raise AssertionError("a draw lies below the sum of the weights")


def _explore(weighed: list[_Weighed], wanted: Wanted, policy: Policy, worth: int) -> bool:
    """On the payments that may be used for it, draw each account's chance from what is believed of it (Thompson 采样).

    Little known or long unseen accounts are drawn far from their mean now and then, and so are tried; well known ones
    are not. Returns whether another account than the best known came first.
    """
    if draw(wanted.payment_id, "explore") * 10_000 >= policy.explore_bp:
        return False
    well = [one for one in weighed if one.aside is None]
    if len(well) < 2 or well[0].probe:
        return False
    best, most = well[0], -1
    for one in well:
        u = draw(wanted.payment_id, f"try {one.candidate.account_id}")
        p = one.p_ppm / PPM + one.chances.deviation * _NORMAL.inv_cdf(min(max(u, 1e-9), 1 - 1e-9))
        one.drawn_ppm = round(min(max(p, 0.0), 1.0) * PPM)
        value = one.drawn_ppm * (worth - one.fee_minor * 10_000)
        if value > most:
            best, most = one, value
    if best is well[0]:
        return False
    weighed.remove(best)
    weighed.insert(0, best)
    return True
