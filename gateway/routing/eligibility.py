"""Which channel accounts may take a payment at all, and why the others may not. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from channels.contract import Capabilities, Method
from gateway.accounts.terms import NOTHING_USED, Terms, Used, WhyNot
from kernel.money import Money
from splitting import shares_out

AUTO = "auto"  # whichever rail is best; anything else names a rail


@dataclass(frozen=True, slots=True)
class Candidate:
    """A channel account of the merchant, as far as routing looks at it."""

    account_id: str
    channel: str
    capabilities: Capabilities
    state: str = "enabled"  # enabled | draining | off
    terms: Terms = field(default_factory=Terms)
    position: int = 0  # as the operator stated it; lower first


_NONE: Mapping[str, str] = {}


class Wanted(NamedTuple):
    """A payment that wants an account."""

    payment_id: str  # what is drawn by lot follows from it
    method: Method
    amount: Money
    now: datetime  # aware
    channel: str = AUTO
    code_prefix: str | None = None  # barcode: how the payer's code begins
    metadata: Mapping[str, str] = _NONE
    region: str | None = None  # of the payer, ISO 3166-1 alpha-2; None: nobody said
    reserve: bool = False  # 预授权: the money is to be reserved first
    tried: frozenset[str] = frozenset()  # accounts this payment has been to
    share_later: bool = False  # 分账: the rail is to share the money out itself


class No(NamedTuple):
    """An account that does not take the payment, and why: a stable code, and words for people."""

    account_id: str
    code: str
    words: str


# Every code of a refusal, with what it means; those of the terms and of the rules stand here too.
REASONS: Mapping[str, str] = {
    "off": "the account is switched off",
    "draining": "the account finishes what is open and takes nothing new",
    "other_channel": "the merchant asked for another rail",
    "tried": "this payment has been there",
    "not_its_code": "the payer's code is another rail's",
    "method_not_offered": "the rail has no such method",
    "currency_not_offered": "the rail takes no such currency",
    "below_rail_minimum": "less than the rail takes",
    "above_rail_maximum": "more than the rail takes",
    "no_reserving": "the rail cannot reserve money by this method",
    "shares_nothing_out": "the rail shares no payment out, and the payment's split plan wants it to",
    "method_not_agreed": "the account's terms leave this method out",
    "currency_not_agreed": "the account's terms leave this currency out",
    "below_minimum": "less than the account takes",
    "above_maximum": "more than the account takes in one payment",
    "day_limit": "the day's limit would be passed",
    "day_count": "the day's number of payments is reached",
    "month_limit": "the month's limit would be passed",
    "region": "the account takes no payers from there",
    "closed": "outside the account's opening hours",
    "maintenance": "the rail has announced that it is closed",
    "rule": "a rule of the merchant's policy leaves it out",
}

Usage = Callable[[str], Used]  # what an account has taken, by its id, in the payment's currency


def nothing_used(account_id: str) -> Used:
    """Return that an account has taken nothing yet."""
    return NOTHING_USED


def sift(
    candidates: Sequence[Candidate], wanted: Wanted, used: Usage = nothing_used
) -> tuple[list[Candidate], list[No]]:
    """Part the accounts that may take the payment from those that may not; both in the order given."""
    able, unable = [], []
    owners = _owners(candidates, wanted)
    for candidate in candidates:
        why = _why_not(candidate, wanted, owners, used)
        if why is None:
            able.append(candidate)
        else:
            unable.append(No(candidate.account_id, why.code, why.words))
    return able, unable


def _owners(candidates: Sequence[Candidate], wanted: Wanted) -> frozenset[str] | None:
    """Return the rails whose payers' codes begin like this one; None where no rail of these claims it."""
    if wanted.code_prefix is None:
        return None
    found = {
        one.channel
        for one in candidates
        if any(wanted.code_prefix.startswith(start) for start in one.capabilities.barcode_prefixes)
    }
    return frozenset(found) or None


def _why_not(one: Candidate, wanted: Wanted, owners: frozenset[str] | None, used: Usage) -> WhyNot | None:
    if one.state != "enabled":
        return WhyNot("draining" if one.state == "draining" else "off", f"the account is {one.state}")
    if wanted.channel not in (AUTO, one.channel):
        return WhyNot("other_channel", f"asked for {wanted.channel}")
    if one.account_id in wanted.tried:
        return WhyNot("tried", REASONS["tried"])
    rail, amount = one.capabilities, wanted.amount
    if wanted.code_prefix is not None:
        # A rail that cannot tell its payers' codes takes any, where the merchant has named it.
        can_tell = bool(rail.barcode_prefixes) or wanted.channel == AUTO
        if owners is not None and one.channel not in owners and can_tell:
            return WhyNot("not_its_code", f"the code is {', '.join(sorted(owners))}'s")
        if owners is None and rail.barcode_prefixes:
            begin = ", ".join(sorted(rail.barcode_prefixes))
            return WhyNot("not_its_code", f"the rail's codes begin otherwise, with {begin}")
    if wanted.method not in rail.methods:
        return WhyNot("method_not_offered", f"the rail has no {wanted.method}")
    if amount.currency not in rail.currencies:
        return WhyNot("currency_not_offered", f"the rail takes no {amount.currency}")
    if amount.minor < rail.minimum_minor:
        return WhyNot("below_rail_minimum", f"the rail takes {Money(rail.minimum_minor, amount.currency)} and more")
    if amount.minor > rail.maximum_minor:
        return WhyNot("above_rail_maximum", f"the rail takes at most {Money(rail.maximum_minor, amount.currency)}")
    if wanted.reserve and wanted.method not in rail.authorizes:
        return WhyNot("no_reserving", f"the rail cannot reserve money by {wanted.method}")
    if wanted.share_later and not shares_out(one.channel, wanted.method):
        return WhyNot("shares_nothing_out", f"{one.channel} shares no payment by {wanted.method} out for this hub")
    return one.terms.why_not(amount, wanted.method, wanted.now, used(one.account_id), region=wanted.region)
