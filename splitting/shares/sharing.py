"""Keeping by what a payment is shared out, and sharing it out 分账, inside the caller's batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import orjson

from kernel.clock import business_date as clock_date
from kernel.errors import Broken, Conflict, NotFound, Rejected
from kernel.work import Need, Work
from ledger import Group, Step, Transfer, accounts, post_many
from ledger.posting import ACCOUNTS, HOLDS
from splitting import states
from splitting.objects import split_payload
from splitting.plans import asked as plans
from splitting.plans.arithmetic import Share
from splitting.plans.asked import Given, Part, from_json, given_by, rail_lines, share_parts
from splitting.plans.tree import OWN, Facts, Line
from splitting.plans.tree import Shared as SharedOut
from splitting.rails import compile as rails
from splitting.rails import orders
from splitting.rails.limits import RAILS, AtRail
from splitting.shares.frozen import Frozen, divided, frozen_of, kept
from splitting.tables import (
    OWN_PAYEES,
    PAYEES,
    PLAN_VERSIONS,
    RAIL_PAYMENTS,
    RAIL_RECEIVERS,
    SPLIT_PLANS,
    SPLITS,
    Payee,
    Split,
)
from streams import publish


def owed_account(payee: Payee) -> str:
    """Return the ledger account in which a payee's share is owed; the platform's is a fee account."""
    if payee.kind == "platform":
        return accounts.platform_fee(payee.currency, payee.id if payee.fees_apart else "")
    return accounts.payee(payee.id, payee.currency)


def paid_to(split: Split, share: Share) -> str:
    """Return the payee that a share is paid to; OWN where it stays in the merchant's account."""
    return (split.own_payee or OWN) if share.payee_id == OWN else share.payee_id


def plan_needs(
    work: Work, book: int, payment_id: str, currency: str, asked: Sequence[Part], at: AtRail | None = None
) -> Iterable[Need]:
    """Name the rows that `plan` looks at."""
    yield SPLITS, (book, payment_id)
    yield OWN_PAYEES, (book, currency)
    for part in asked:
        if part.plan_id is None:
            continue
        key = (book, part.plan_id)
        yield SPLIT_PLANS, key
        if work.knows(SPLIT_PLANS, key) and (kept := work.find(SPLIT_PLANS, key)) is not None:
            yield PLAN_VERSIONS, (*key, part.version or kept.active or 0)
    known = _known_parts(work, book, asked)
    for payee_id in _payees(known):
        yield PAYEES, (book, payee_id)
    yield from _receiver_needs(book, rail_lines(known), at)


def _receiver_needs(book: int, lines: Sequence[Line], at: AtRail | None) -> Iterable[Need]:
    if at is not None:
        for line in lines:
            yield RAIL_RECEIVERS, (book, line.payee_id, at.account_id)


def plan(
    work: Work,
    book: int,
    payment_id: str,
    gross_minor: int,
    fee_minor: int,
    currency: str,
    asked: Sequence[Part],
    at: AtRail | None = None,
) -> bool:
    """Keep by what a payment is to be shared out; of a plan that the merchant keeps, by which version, for ever.

    So is by which payee the merchant is paid its own of it. at: where it goes first; None: its payer has yet to choose.
    Returns whether its rail is to share it out, so that the order has to be placed for that. Raises NotFound
    (no_such_payee, no_such_split_plan), Conflict (split_plan_not_active), Rejected (currency_differs,
    split_exceeds_payment, rail_cannot_share).
    """
    parts = [_of_a_version(work, book, part, currency) for part in asked]
    for payee_id in _payees(parts):
        payee = work.find(PAYEES, (book, payee_id))
        if payee is None:
            raise NotFound("no_such_payee", f"there is no payee {payee_id}", param="split")
        if payee.currency != currency:
            raise Rejected("currency_differs", f"payee {payee.id} is paid in {payee.currency}", param="split")
    plans.check_size(parts)
    shared = share_parts(parts, gross_minor, fee_minor, 0, _not_known_yet)
    _check_rail(work, book, parts, shared, gross_minor, at)
    text = plans.to_json(parts)
    split = Split(book, payment_id, "planned", currency, text, gross_minor, fee_minor, "[]", None)
    own = work.find(OWN_PAYEES, (book, currency))
    work.put(SPLITS, split if own is None else split._replace(own_payee=own.payee_id))
    return bool(rail_lines(parts))


def _check_rail(
    work: Work, book: int, parts: Sequence[Part], shared: Sequence[SharedOut], gross_minor: int, at: AtRail | None
) -> None:
    """Make sure that the rail can pay what the plan has it pay. Raises Rejected (rail_cannot_share)."""
    if not (lines := rail_lines(parts)):
        return
    today = clock_date(work.now)
    if at is None:
        rails.check_lines(lines, list(RAILS.values()), today)
        return
    wanted = [
        rails.Wanted(one.share.line, one.share.payee_id, one.share.amount_minor)
        for one in given_by(parts, shared)
        if one.by_rail
    ]
    receivers = {line.payee_id: work.find(RAIL_RECEIVERS, (book, line.payee_id, at.account_id)) for line in lines}
    rails.check(lines, wanted, gross_minor, at, receivers, today)


def _of_a_version(work: Work, book: int, part: Part, currency: str) -> Part:
    """Return a part with the version of its plan: the active one, or one that was named and was active once."""
    if part.plan_id is None:
        return part
    kept = work.find(SPLIT_PLANS, (book, part.plan_id))
    if kept is None:
        raise NotFound("no_such_split_plan", f"there is no split plan {part.plan_id}", param="split_plan")
    if kept.currency != currency:
        raise Rejected("currency_differs", f"{kept.id} is a plan of {kept.currency}", param="split_plan")
    number = part.version or kept.active
    row = work.find(PLAN_VERSIONS, (book, kept.id, number)) if number else None
    if row is None or row.status == states.PlanVersion.DRAFT:
        which = "no version" if part.version is None else f"version {part.version}"
        never = "was" if part.version is None else "was never"
        raise Conflict("split_plan_not_active", f"{which} of {kept.id} {never} activated", param="split_plan")
    return part._replace(version=row.version, document=row.written_out)


def check_needs(work: Work, book: int, payment_id: str, at: AtRail | None = None) -> Iterable[Need]:
    """Name the rows that `check` looks at."""
    yield SPLITS, (book, payment_id)
    if work.knows(SPLITS, (book, payment_id)) and (split := work.find(SPLITS, (book, payment_id))) is not None:
        for part in from_json(split.asked):
            if part.plan_id is not None:
                yield PLAN_VERSIONS, (book, part.plan_id, part.version)
        if at is not None and _versions_known(work, split):
            yield from _receiver_needs(book, rail_lines(parts_of(work, split)), at)


def check(work: Work, book: int, payment_id: str, gross_minor: int, fee_minor: int, at: AtRail | None = None) -> None:
    """Make sure that a payment's plan, if it has one, fits what is now to be captured and what that costs.

    at: where it goes, where that is chosen now. Raises Rejected (split_exceeds_payment, rail_cannot_share).
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is not None:
        parts = parts_of(work, split)
        shared = share_parts(parts, gross_minor, fee_minor, 0, _not_known_yet)
        if at is not None:
            _check_rail(work, book, parts, shared, gross_minor, at)


def parts_of(work: Work, split: Split) -> list[Part]:
    """Return by what a payment is shared out, with the documents of plans that are kept."""
    return [
        part if part.plan_id is None else part._replace(document=_document(work, split, part))
        for part in from_json(split.asked)
    ]


def _document(work: Work, split: Split, part: Part) -> str:
    row = work.find(PLAN_VERSIONS, (split.book, part.plan_id, part.version))
    if row is None:
        raise Broken(
            "no_such_split_plan",
            f"{split.payment_id} keeps version {part.version} of {part.plan_id}, which is not there",
        )
    return row.written_out


def _payees(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(payee_id for part in parts for payee_id in part.plan.payees()))


def _known_parts(work: Work, book: int, parts: Sequence[Part]) -> list[Part]:
    """Return the parts whose plans have been looked up so far, with their documents."""
    found = []
    for part in parts:
        if part.plan_id is not None:
            key = (book, part.plan_id)
            kept = work.find(SPLIT_PLANS, key) if work.knows(SPLIT_PLANS, key) else None
            number = part.version or (kept.active if kept is not None else None) or 0
            row = work.find(PLAN_VERSIONS, (*key, number)) if work.knows(PLAN_VERSIONS, (*key, number)) else None
            if row is None:
                continue
            part = part._replace(document=row.written_out)
        found.append(part)
    return found


def _not_known_yet(amount_minor: int, product_line: str | None) -> Facts:
    """Return what is known of a part before it is paid: not how, and volumes count as nothing."""
    return Facts(amount_minor, product_line=product_line)


def needs(work: Work, book: int, payment_id: str) -> Iterable[Need]:
    """Name the rows that sharing out a payment, releasing what is frozen of it, or taking it back, looks at."""
    yield from needs_of_many(work, book, [payment_id])


def needs_of_many(work: Work, book: int, payment_ids: Sequence[str]) -> Iterable[Need]:
    """Name the rows that `needs` names of each of these payments; what many of them share is named once."""
    alike: dict[tuple[str, str, str | None], Split] = {}
    for payment_id in payment_ids:
        yield SPLITS, (book, payment_id)
        if not work.knows(SPLITS, (book, payment_id)):
            continue
        split = work.find(SPLITS, (book, payment_id))
        if split is None:
            continue
        alike.setdefault((split.asked, split.currency, split.own_payee), split)
        for frozen in frozen_of(split):
            if frozen.frozen_minor:
                yield HOLDS, (book, frozen.hold_id(payment_id))
        if _versions_known(work, split):
            yield from orders.needs(work, split, [line.payee_id for line in rail_lines(parts_of(work, split))])
    for split in alike.values():
        yield from _rows_of(work, split)


def _rows_of(work: Work, split: Split) -> Iterable[Need]:
    """Name what payments that are asked to be shared out as this one look at together."""
    book = split.book
    yield ACCOUNTS, (book, accounts.merchant(split.currency))
    for part in from_json(split.asked):
        if part.plan_id is not None:
            yield PLAN_VERSIONS, (book, part.plan_id, part.version)
    if not _versions_known(work, split):
        return
    for payee_id in [*_payees(parts_of(work, split)), *([split.own_payee] if split.own_payee else ())]:
        yield PAYEES, (book, payee_id)
        if work.knows(PAYEES, (book, payee_id)):
            payee = work.get(PAYEES, (book, payee_id))
            yield ACCOUNTS, (book, owed_account(payee))


def _versions_known(work: Work, split: Split) -> bool:
    """Tell whether the documents of the plans that a payment keeps have been looked up."""
    versions = [part for part in from_json(split.asked) if part.plan_id is not None]
    return all(work.knows(PLAN_VERSIONS, (split.book, part.plan_id, part.version)) for part in versions)


class Paid(NamedTuple):
    """What came of a payment that succeeded, in minor units.

    gross_minor, fee_minor: what was captured and what the channel keeps of it, which may be less, or another fee, than
    when the payment was planned. coupon_minor: what the merchant's own coupons paid of it, which does not arrive.
    """

    payment_id: str
    business_date: date  # of the payment
    gross_minor: int
    fee_minor: int
    coupon_minor: int = 0
    method: str | None = None  # how it was paid


def share_out(work: Work, book: int, paid: Paid) -> Split | None:
    """Post a captured payment's shares, once. Returns the split, or None for a payment that has no plan.

    What of them is not to be paid out yet is frozen. Repeating it does nothing. The money is there: where a plan no
    longer fits, its shares are cut, and nothing is refused.
    """
    return share_out_many(work, book, [paid])[0]


def share_out_many(work: Work, book: int, payments: Sequence[Paid]) -> list[Split | None]:
    """Post the shares of captured payments as `share_out` does of one after the other; return their splits."""
    found = {paid.payment_id: work.find(SPLITS, (book, paid.payment_id)) for paid in payments}
    left: dict[str, Paid] = {}
    parts: dict[str, Sequence[Part]] = {}  # by what was asked
    for paid in payments:
        split = found[paid.payment_id]
        if split is not None and split.status != "posted":
            left[paid.payment_id] = paid
            if split.asked not in parts:
                parts[split.asked] = parts_of(work, split)
    runs = [list(left.values())] if left else []
    by_rail = any(split is not None and split.rail is not None for split in found.values())
    if by_rail or any(part.plan.asks_volumes for some in parts.values() for part in some):
        runs = [[paid] for paid in left.values()]  # one after the other: those before may count
    for run in runs:
        for split in _shared(work, book, [(paid, _there(found[paid.payment_id])) for paid in run], parts):
            found[split.payment_id] = split
    return [found[paid.payment_id] for paid in payments]


def _there(split: Split | None) -> Split:
    assert split is not None
    return split


def _shared(
    work: Work, book: int, run: Sequence[tuple[Paid, Split]], parts: Mapping[str, Sequence[Part]]
) -> Iterator[Split]:
    """Post the shares of payments none of which another's change; yield their splits."""
    alike: dict[tuple[str, str, str | None], list[tuple[Paid, Split]]] = {}
    for paid, split in run:
        alike.setdefault((split.asked, split.currency, paid.method), []).append((paid, split))
    given: dict[str, Sequence[Given]] = {}
    for (asked, _, method), some in alike.items():
        facts = _known(work, some[0][1], parts[asked], method)
        amounts = [(paid.gross_minor, paid.fee_minor, paid.coupon_minor) for paid, _ in some]
        for (paid, _), one in zip(some, plans.given_of_many(parts[asked], amounts, facts), strict=True):
            given[paid.payment_id] = one
    ways: dict[str, tuple[str, str]] = {}
    groups: list[Group] = []
    posted: list[tuple[Split, Sequence[Share], date, Sequence[tuple[int, int]]]] = []
    for paid, split in run:
        routed = _routed(work, split, given[paid.payment_id], paid.gross_minor)
        transfers, frozen, by_rail = _transfers(work, split, paid.business_date, routed, ways)
        shares = [one.share for one in routed]
        if transfers:
            groups.append(Group(f"{split.payment_id}:split", transfers, paid.business_date))
        split = split._replace(
            status="posted", gross_minor=paid.gross_minor, fee_minor=paid.fee_minor, coupon_minor=paid.coupon_minor,
            shares=dump(shares), posted_at=work.now,
        )  # fmt: skip
        posted.append((kept(split, frozen) if frozen else split, shares, paid.business_date, by_rail))
    post_many(work, book, groups)
    for split, its_shares, day, for_the_rail in posted:
        work.put(SPLITS, split)
        if split.rail is not None:
            orders.plan_order(work, split, its_shares, for_the_rail, day, owed_account)
        publish(work, book, "split.posted", split.payment_id, split_payload(split, its_shares))
        yield split


def _transfers(
    work: Work, split: Split, business_date: date, given: Sequence[Given], ways: dict[str, tuple[str, str]]
) -> tuple[list[Transfer], list[Frozen], list[tuple[int, int]]]:
    """Return the transfers that a payment's shares take, what of them is frozen, and what the rail is to pay at once.

    ways: rule and account of each payee that was met before; those that are met now are added.
    """
    payment_id, currency, delivered = split.payment_id, split.currency, split.delivered_at is not None
    source = accounts.merchant(currency)
    transfers: list[Transfer] = []
    frozen: list[Frozen] = []
    by_rail: list[tuple[int, int]] = []  # a share's place, minor units
    for n, (share, releases, _) in enumerate(given):
        payee_id = paid_to(split, share)
        if payee_id == OWN or not share.amount_minor:
            continue
        at_once = share.amount_minor
        later: Sequence[Frozen] = ()
        if releases:
            at_once, later = divided(n, at_once, releases, business_date, delivered=delivered)
        way = ways.get(payee_id)
        if way is None:
            payee = work.get(PAYEES, (split.book, payee_id))
            way = ways[payee.id] = "commission" if payee.kind == "platform" else "share", owed_account(payee)
        if at_once:
            if share.rail == rails.BY_RAIL:
                by_rail.append((n, at_once))
            transfers.append(Transfer(f"{payment_id}:share:{n}", way[0], source, way[1], at_once, currency))
        transfers += [step_of(work, split, share, part, Step.HOLD) for part in later]
        frozen += later
    return transfers, frozen, by_rail


def _routed(work: Work, split: Split, given: Sequence[Given], gross_minor: int) -> Sequence[Given]:
    """Return shares with who pays each: those that want the rail go by it where its rules allow, else by bank."""
    wanted = {
        n: rails.Wanted(one.share.line, one.share.payee_id, one.share.amount_minor)
        for n, one in enumerate(given)
        if one.by_rail and one.share.amount_minor
    }
    if not wanted:
        return given
    book, at, receivers = split.book, None, {}
    if split.rail is not None:
        paid = work.get(RAIL_PAYMENTS, (book, split.rail))
        at = AtRail(paid.channel_account, paid.channel, paid.basis_points) if paid.released_on is None else None
        keys = {one.payee_id: (book, one.payee_id, paid.channel_account) for one in wanted.values()}
        receivers = {payee_id: work.find(RAIL_RECEIVERS, key) for payee_id, key in keys.items()}
    payees = [work.get(PAYEES, (book, one.payee_id)) for one in wanted.values()]
    stopped = {
        payee.id: rails.FROZEN if payee.suspended_at is None else rails.SUSPENDED
        for payee in payees
        if payee.is_stopped
    }
    ways = rails.route(wanted, gross_minor, at, receivers, stopped)
    return [one._replace(share=one.share._replace(rail=ways[n])) if n in ways else one for n, one in enumerate(given)]


def _known(work: Work, split: Split, parts: Sequence[Part], method: str | None) -> Callable[[int, str | None], Facts]:
    """Return what is known when a payment is shared out: how it was paid, and its payees' states and volumes.

    A volume is what was ever credited to the account, the merchant's with this payment.
    """
    book, suspended, volumes = split.book, [], {}
    payees = [work.get(PAYEES, (book, payee_id)) for payee_id in _payees(parts)]
    for payee in payees:
        volumes[payee.id] = work.get(ACCOUNTS, (book, owed_account(payee))).credits
        if payee.suspended_at is not None:
            suspended.append(payee.id)
    merchant = work.find(ACCOUNTS, (book, accounts.merchant(split.currency)))
    volumes[OWN] = 0 if merchant is None else merchant.credits

    def facts(amount_minor: int, product_line: str | None) -> Facts:
        return Facts(amount_minor, method, product_line, frozenset(suspended), volumes)

    return facts


def step_of(work: Work, split: Split, share: Share, part: Frozen, step: Step, more: str = "") -> Transfer:
    """Return the transfer that freezes a part of a share, releases it, or gives it free. more: ends its id."""
    payee = work.get(PAYEES, (split.book, share.payee_id))
    rule = "commission" if payee.kind == "platform" else "share"
    hold_id = part.hold_id(split.payment_id)
    return Transfer(
        hold_id + more, rule, accounts.merchant(split.currency), owed_account(payee), part.left_minor, split.currency,
        step, None if step is Step.HOLD else hold_id,
    )  # fmt: skip


def dump(shares: Sequence[Share]) -> str:
    """Return shares as they are stored."""
    return orjson.dumps([list(share if share.rail else share[:-1]) for share in shares]).decode()
