"""What a payment was asked to be shared by: one plan for all of it, or one for each part of the order. Pure.

It is kept with the payment as JSON: a list of [payee, kind, value] where it is one list of lines, as it always was,
else an object with `parts`.
"""

from array import array
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple

import orjson

from kernel.money import allocate
from splitting.plans.arithmetic import Share, SplitLine, flat
from splitting.plans.bulk import Orders, share_many
from splitting.plans.document import MOST_LINES, PlanWrong, read
from splitting.plans.tree import OWN, Facts, Line, Plan, Policy, Release, Shared, ShareKind, TakingBack, share

MANY = 64  # payments of one plan that are shared out in bulk: a whole chunk costs what fifty cost one by one


class Scope(StrEnum):
    """What a plan may be attached to, the most specific first."""

    PAYMENT_LINK = "payment_link"
    PRODUCT_LINE = "product_line"
    STORE = "store"
    MERCHANT = "merchant"


class Part(NamedTuple):
    """A part of a payment, and by what it is shared out: lines, a document, or a plan that is kept.

    None of them: it is the merchant's.
    """

    amount_minor: int | None = None  # None: it is the whole payment
    product_line: str | None = None
    split: Sequence[SplitLine] = ()
    document: str | None = None  # a plan, written out, as JSON; of one that is kept, once it has been looked up
    plan_id: str | None = None  # of one that is kept
    version: int | None = None  # of it; None: the active one, until the payment is made
    attached_to: str | None = None  # what of the payment's it was attached to; None: the payment says it itself

    @property
    def plan(self) -> Plan:
        """Return the plan by which it is shared. One that is kept has been looked up."""
        return flat(self.split) if self.document is None else plan_of(self.document)

    @property
    def taking_back(self) -> TakingBack:
        """Return how refunds take its shares back. A plan that is kept has been looked up."""
        return TakingBack() if self.document is None else plan_of(self.document).taking_back


@lru_cache(maxsize=512)
def plan_of(document: str) -> Plan:
    """Return a plan from its JSON, which was checked when it was kept."""
    return read(orjson.loads(document))


def to_json(parts: Sequence[Part]) -> str:
    """Return parts as they are kept."""
    if is_a_list(parts) and parts[0].amount_minor is None:
        return orjson.dumps([list(line) for line in parts[0].split]).decode()
    return orjson.dumps({"parts": [_kept(part) for part in parts]}).decode()


def _kept(part: Part) -> dict[str, Any]:
    kept: dict[str, Any] = {"amount": part.amount_minor, "product_line": part.product_line}
    if part.split:
        kept["split"] = [list(line) for line in part.split]
    if part.plan_id is not None:
        kept |= {"plan": part.plan_id, "version": part.version}
        if part.attached_to is not None:
            kept["attached_to"] = part.attached_to
    elif part.document is not None:
        kept["document"] = orjson.Fragment(part.document)
    return kept


def is_a_list(parts: Sequence[Part]) -> bool:
    """Tell whether it is one list of lines for all of the payment."""
    return len(parts) == 1 and parts[0].document is None and parts[0].plan_id is None


@lru_cache(maxsize=512)
def from_json(text: str) -> Sequence[Part]:
    """Return parts from what is kept."""
    kept = orjson.loads(text)
    if isinstance(kept, list):
        return [Part(split=_lines(kept))]
    return [
        Part(
            one["amount"],
            one["product_line"],
            _lines(one.get("split", ())),
            orjson.dumps(one["document"]).decode() if "document" in one else None,
            one.get("plan"),
            one.get("version"),
            one.get("attached_to"),
        )
        for one in kept["parts"]
    ]


def _lines(kept: Sequence[Any]) -> list[SplitLine]:
    return [SplitLine(payee_id, ShareKind(kind), value) for payee_id, kind, value in kept]


def share_parts(
    parts: Sequence[Part],
    gross_minor: int,
    fee_minor: int,
    coupon_minor: int,
    facts: Callable[[int, str | None], Facts],
    *,
    cut: bool = False,
) -> list[Shared]:
    """Share out a payment by its parts; what they are given and leave sums to what arrives of it.

    gross_minor, fee_minor, coupon_minor: of the payment. Of each a part has what its amount is of all: the odd units by
    largest remainder, so also where less was captured than was planned. facts: from a part's amount and product line.
    cut: as share() takes it. Raises Rejected (split_exceeds_payment).
    """
    found = []
    for part, amount, fee, coupon in in_proportion(parts, gross_minor, fee_minor, coupon_minor):
        found.append(share(part.plan, amount, fee, coupon, facts(amount, part.product_line), cut=cut))
    return found


def in_proportion(
    parts: Sequence[Part], gross_minor: int, fee_minor: int, coupon_minor: int
) -> list[tuple[Part, int, int, int]]:
    """Return parts with what each has of the payment's gross, fee and coupon: never more fee and coupon than gross."""
    if len(parts) == 1:
        return [(parts[0], gross_minor, fee_minor, coupon_minor)]
    amounts = allocate(gross_minor, [part.amount_minor or 0 for part in parts])
    arriving = allocate(max(gross_minor - fee_minor - coupon_minor, 0), amounts)
    lost = [amount - comes for amount, comes in zip(amounts, arriving, strict=True)]
    fees = allocate(fee_minor, lost) if any(lost) else lost
    return [(part, amount, fee, less - fee) for part, amount, less, fee in zip(parts, amounts, lost, fees, strict=True)]


def rail_lines(parts: Sequence[Part]) -> list[Line]:
    """Return the lines that want the payment's rail to pay them. Plans that are kept have been looked up."""
    return [line for part in parts if part.document is not None for line in part.plan.rail_lines()]


def check_size(parts: Sequence[Part]) -> None:
    """Raise PlanWrong where the plans of one payment have more lines together than one plan may have."""
    if sum(1 for part in parts for _ in part.plan.all_lines()) > MOST_LINES:
        raise PlanWrong("lines", f"the plans of one payment have at most {MOST_LINES} lines together")


class Given(NamedTuple):
    """A share of a payment, and when it can be paid out."""

    share: Share
    releases: Sequence[Release] = ()  # none: at once
    by_rail: bool = False  # its line wants the rail to pay it


def given_by(parts: Sequence[Part], shared: Sequence[Shared]) -> list[Given]:
    """Return the shares of a payment in the order of its lines, the merchant's own in the end.

    A list of lines has one share for each, also of nothing. Of a tree, lines that keep nothing have none. The merchant
    has one share; of each part one where refunds take the parts' shares back in different ways.
    """
    given, own = [], [0] * len(parts)
    every, apart = is_a_list(parts), taken_back_apart(parts)
    for n, one in enumerate(shared):
        at = n if apart else 0
        own[at] += one.rest_minor
        for got in one.lines:
            if got.line.payee_id == OWN:
                own[at] += got.own_minor
            elif got.own_minor or every:
                share = Share(got.line.payee_id, got.own_minor, 0, "" if every else got.line.name, at)
                given.append(Given(share, got.line.releases, got.line.by_rail))
    return [*given, *(Given(Share(OWN, minor, part=at)) for at, minor in enumerate(own) if minor)]


def given_of_many(
    parts: Sequence[Part], payments: Sequence[tuple[int, int, int]], facts: Callable[[int, str | None], Facts]
) -> list[list[Given]]:
    """Return what given_by returns of each of some payments with these parts, cutting where something does not fit.

    payments: of each its gross, fee and coupon. facts: as share_parts takes them, alike of all but for the amount.
    """
    if len(payments) < MANY or len(parts) > 1:
        return [given_by(parts, share_parts(parts, *one, facts, cut=True)) for one in payments]
    (part,), every = parts, is_a_list(parts)
    orders = Orders(*(array("q", column) for column in zip(*payments, strict=True)))
    columns = share_many(part.plan, orders, facts(0, part.product_line))
    given: list[list[Given]] = [[] for _ in payments]
    own: Sequence[int] = columns.rest
    for line, kept in zip(columns.lines, columns.own, strict=True):
        if line.payee_id == OWN:
            own = list(map(add, own, kept))
            continue
        name = "" if every else line.name
        for shares, minor in zip(given, kept, strict=True):
            if minor or every:
                shares.append(Given(Share(line.payee_id, minor, 0, name), line.releases, line.by_rail))
    for shares, minor in zip(given, own, strict=True):
        if minor:
            shares.append(Given(Share(OWN, minor)))
    return given


def taken_back_apart(parts: Sequence[Part]) -> bool:
    """Tell whether refunds take each part's shares back by themselves: where not all are taken in proportion."""
    return len(parts) > 1 and any(part.taking_back.policy is not Policy.RATIO for part in parts)
