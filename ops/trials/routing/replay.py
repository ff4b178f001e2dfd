"""What another policy would have done with payments of the past: decided again with what was known then.

The attempts of the time are gone through in their order, and each payment is decided once more with the fold of the
attempts whose answers had come by then. Terms and accounts are today's; whom a payer's code belonged to is taken from
the decision that was kept. Each side has volumes of its own, so that tiers and quotas are what they would have been.

What is exact: how many payments move, and fees by schedule for what was paid. What is not known: whether a payment that
moves would have succeeded. It is estimated by what had been learned of both accounts by then, and the estimate says on
how many observations it rests.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from heapq import heappop, heappush
from typing import Any, NamedTuple

from channels.contract import Method
from gateway.accounts.terms import NOTHING_USED, Used
from gateway.routing import PPM, Candidate, Decision, Knowledge, Policy, Seen, Verdict, Wanted, decide
from kernel.clock import business_date
from kernel.money import Money

THIN = 20  # an estimate that rests on fewer observations says little


class Past(NamedTuple):
    """One attempt as it was."""

    payment_id: str
    number: int
    account_id: str
    channel_asked: str
    method: Method
    amount: Money
    metadata: Mapping[str, str]
    region: str | None
    reserve: bool
    created_at: datetime
    latency_ms: int | None
    verdict: Verdict | None  # None: never answered
    paid_by: str | None  # of a payment's first attempt: the account whose money the payment has in the end
    fee_minor: int  # that was charged
    decision: Mapping[str, Any] | None


@dataclass(slots=True)
class Volumes:
    """What accounts have taken, by day and month, on one side of the comparison."""

    month: dict[tuple[str, str, date], int] = field(default_factory=lambda: defaultdict(int))
    day: dict[tuple[str, str, date], tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))

    def used(self, account_id: str, currency: str, now: datetime) -> Used:
        day = business_date(now)
        minor, count = self.day.get((account_id, currency, day), (0, 0))
        month = self.month.get((account_id, currency, day.replace(day=1)), 0)
        return Used(minor, count, month) if month or count else NOTHING_USED

    def took(self, account_id: str, amount: Money, now: datetime) -> None:
        day = business_date(now)
        minor, count = self.day[account_id, amount.currency, day]
        self.day[account_id, amount.currency, day] = (minor + amount.minor, count + 1)
        self.month[account_id, amount.currency, day.replace(day=1)] += amount.minor


@dataclass(slots=True)
class Difference:
    """What came of a replay."""

    payments: int = 0
    moved: int = 0  # would have gone to another account first
    refused: int = 0  # would have found no account
    moved_to: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))  # (from, to) → how many
    paid: int = 0
    fees_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by currency, as it was
    other_fees_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # under the other policy
    charged_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # recorded with the attempts
    estimated: int = 0  # moved payments whose success is estimated
    thin: int = 0  # of them, to accounts with fewer than THIN observations
    success_ppm: int = 0  # sum over them: chance at the other account less chance at the one it had
    weights: list[int] = field(default_factory=list)  # observations behind each estimate

    def as_json(self) -> dict[str, Any]:
        """Return it for machines; fees in minor units, success as expected payments more or less."""
        return {
            "payments": self.payments,
            "moved": self.moved,
            "refused": self.refused,
            "moved_to": [{"from": a, "to": b, "payments": n} for (a, b), n in sorted(self.moved_to.items())],
            "fees": {
                currency: {
                    "as_it_was": self.fees_minor[currency],
                    "other": self.other_fees_minor[currency],
                    "difference": self.other_fees_minor[currency] - self.fees_minor[currency],
                    "charged": self.charged_minor[currency],
                }
                for currency in sorted(self.fees_minor)
            },
            "paid": self.paid,
            "success": {
                "expected_payments_more": round(self.success_ppm / PPM, 3),
                "estimated": self.estimated,
                "median_observations": sorted(self.weights)[len(self.weights) // 2] if self.weights else None,
                "thin": self.thin,
                "basis": "what had been learned of both accounts before each payment; what stays, stays as it was",
            },
        }


def compare(
    candidates: Sequence[Candidate],
    past: Iterable[Past],
    other: Policy,
    *,
    since: datetime,
    volumes: Volumes | None = None,
) -> Difference:
    """Return what another policy would have changed for the payments made since a moment.

    past: attempts in the order in which they were made, those from before `since` to learn from. volumes: what accounts
    had taken this month before the first of them.
    """
    known, found = Knowledge(), Difference()
    was, would = volumes or Volumes(), Volumes()
    would.month.update(was.month)
    would.day.update(was.day)
    answers: list[tuple[float, int, Seen]] = []
    for number, one in enumerate(past):
        now = one.created_at.timestamp()
        while answers and answers[0][0] <= now:
            known.see(heappop(answers)[2])
        if one.created_at >= since and one.number == 1:
            _compare(candidates, one, known, other, was, would, found)
        if one.verdict is not None:
            at = now + (one.latency_ms or 0) / 1000
            seen = Seen(
                one.account_id, one.method, one.amount.currency, one.amount.minor, one.verdict, at, one.latency_ms
            )
            heappush(answers, (at, number, seen))
        if one.created_at < since and one.paid_by is not None:
            was.took(one.paid_by, one.amount, one.created_at)
            would.took(one.paid_by, one.amount, one.created_at)
    return found


def _compare(
    candidates: Sequence[Candidate],
    one: Past,
    known: Knowledge,
    other: Policy,
    was: Volumes,
    would: Volumes,
    found: Difference,
) -> None:
    currency = one.amount.currency
    decision = decide(
        _as_then(candidates, one),
        Wanted(
            one.payment_id, one.method, one.amount, one.created_at, one.channel_asked, None, one.metadata, one.region,
            one.reserve,
        ),
        known,
        policy=other,
        used=lambda account_id: would.used(account_id, currency, one.created_at),
    )  # fmt: skip
    found.payments += 1
    to = decision.ranked[0].account_id if decision.ranked else None
    if to is not None and decision.probe:
        known.rail(to).breaker.probing(one.created_at.timestamp())
    if to is None:
        found.refused += 1
    elif to != one.account_id:
        found.moved += 1
        found.moved_to[one.account_id, to] += 1
        _estimate(one, decision, known, found)
    if one.paid_by is None:
        return
    # One that stays goes the way it went, also where it failed over; one that moves is taken to be paid where it goes.
    payer_to = one.paid_by if to == one.account_id else to
    found.paid += 1
    found.charged_minor[currency] += one.fee_minor
    found.fees_minor[currency] += _fee(candidates, one.paid_by, one, was)
    was.took(one.paid_by, one.amount, one.created_at)
    if payer_to is not None:
        found.other_fees_minor[currency] += _fee(candidates, payer_to, one, would)
        would.took(payer_to, one.amount, one.created_at)


def _fee(candidates: Sequence[Candidate], account_id: str, one: Past, volumes: Volumes) -> int:
    fees = next(c.terms.fees for c in candidates if c.account_id == account_id)
    month = volumes.used(account_id, one.amount.currency, one.created_at).month_minor
    return fees.fee_minor(one.amount.minor, month)


def _estimate(one: Past, decision: Decision, known: Knowledge, found: Difference) -> None:
    now = one.created_at.timestamp()
    there = known.rail(decision.ranked[0].account_id).chances(one.method, one.amount.currency, one.amount.minor, now)
    here = known.rail(one.account_id).chances(one.method, one.amount.currency, one.amount.minor, now)
    found.estimated += 1
    found.success_ppm += round((there.p - here.p) * PPM)
    found.weights.append(round(there.own))
    found.thin += there.own < THIN


def _as_then(candidates: Sequence[Candidate], one: Past) -> list[Candidate]:
    """Return the accounts as far as the decision that was kept tells what is not theirs to know any more."""
    no = (one.decision or {}).get("no", {})
    return [c for c in candidates if no.get(c.account_id) not in ("not_its_code", "off", "draining")]
