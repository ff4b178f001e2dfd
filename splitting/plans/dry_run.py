"""Trying a split plan out 试算: each line's share, the rule that made it, the way it would travel. Books nothing."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from kernel.answers import Currency, Minor, words
from kernel.clock import business_date
from kernel.db import Pool, acquire
from kernel.errors import NotFound, Rejected
from kernel.money import Money
from ledger import accounts
from ledger.posting import ACCOUNTS
from splitting import states
from splitting.objects import PayeeId
from splitting.plans.asked import Part, check_size, rail_lines, share_parts
from splitting.plans.kept import SplitPlans
from splitting.plans.tree import CONDITIONS, OWN, Facts, LineShare, Release, ShareKind
from splitting.rails.compile import cannot, check_lines, rules_in_words
from splitting.rails.limits import RAILS, AtRail
from splitting.rails.store import receivers
from splitting.shares.sharing import owed_account
from splitting.tables import PAYEES, Payee


class Tried(NamedTuple):
    """A payment that is made up, to try plans out on. Amounts in minor units."""

    parts: Sequence[Part]
    gross_minor: int
    currency: str
    fee_minor: int = 0
    coupon_minor: int = 0
    method: str | None = None


class TriedShareOut(TypedDict):
    """What one line of a plan would be given, and why."""

    part: Annotated[int, Field(description="of the order, counted from 0")]
    line: Annotated[str, Field(description="the line's name; of a list its place, counted from 1")]
    level: Annotated[int, Field(description="1 at the top")]
    payee: Annotated[PayeeId | None, Field(description="null: you")]
    rule: Annotated[str, Field(description="what the line asks for, in words")]
    by_rule_minor: Annotated[Minor, Field(description="what that comes to")]
    struck: Annotated[
        Annotated[str, words(("minimum", "cap", "cut", *sorted(CONDITIONS)))] | None,
        Field(description="what changed that; null: nothing did"),
    ]
    because: Annotated[str, Field(description="the same in words; empty where nothing did")]
    gets_minor: Annotated[Minor, Field(description="with all that the lines under it get")]
    keeps_minor: Annotated[Minor, Field(description="what of it stays with the payee")]
    travels: Annotated[
        str,
        words(("bank_transfer", "rail", "kept", "own")),
        Field(
            description="bank_transfer: by a transfer at the bank of the payee's sub-account, with the settlement; "
            "rail: the rail that the payment is made on pays it out of the payment; "
            "kept: it is owed in the book, and nothing pays it out; own: it stays yours"
        ),
    ]
    bank: Annotated[str | None, Field(description="of the sub-account")]
    rails: Annotated[
        list[str],
        Field(description="of a line that travels by rail: where its payee is a receiver, and the rules there"),
    ]
    release: Annotated[str, Field(description="when its payee can be paid what it keeps, in words")]


class DryRunOut(TypedDict):
    """How a payment would be shared out."""

    object: Literal["split_dry_run"]
    currency: Currency
    amount_minor: Minor
    channel_fee_minor: Minor
    merchant_coupon_minor: Minor
    arriving_minor: Annotated[Minor, Field(description="what is shared out: the shares and your own sum to it")]
    own_minor: Annotated[Minor, Field(description="what stays yours, lines without a payee included")]
    shares: list[TriedShareOut]


async def dry_run(plans: SplitPlans, pool: Pool, book: int, tried: Tried) -> DryRunOut:
    """Share out a payment that is made up, as a real one would be by what its payees are now. Books nothing.

    A version may be a draft. Raises NotFound (no_such_split_plan, no_such_payee), Rejected (currency_differs,
    split_exceeds_payment, rail_cannot_share), PlanWrong.
    """
    parts = []
    for part in tried.parts:
        if part.plan_id is not None:
            plan = await plans.get(book, part.plan_id)
            if plan.currency != tried.currency:
                raise Rejected("currency_differs", f"{plan.id} is a plan of {plan.currency}", param="split_plan")
            row = await plans.version(book, part.plan_id, part.version)
            part = part._replace(document=row.written_out, version=row.version)
        parts.append(part)
    check_size(parts)
    payees = await _payees(pool, book, parts, tried.currency)
    volumes = await _volumes(pool, book, payees, tried.currency)
    volumes[OWN] = volumes.get(OWN, 0) + tried.gross_minor  # a real one is in the merchant's account by then
    suspended = frozenset(payee.id for payee in payees.values() if payee.suspended_at is not None)
    shared = share_parts(
        parts,
        tried.gross_minor,
        tried.fee_minor,
        tried.coupon_minor,
        lambda amount, product_line: Facts(amount, tried.method, product_line, suspended, volumes),
        cut=bool(tried.coupon_minor),
    )
    if lines := rail_lines(parts):
        check_lines(lines, list(RAILS.values()), business_date(plans.now()))
    rails = await _rails(pool, book, [line.payee_id for line in lines])
    shares = [_shown(n, one, tried.currency, payees, rails) for n, part in enumerate(shared) for one in part.lines]
    arriving = tried.gross_minor - tried.fee_minor - tried.coupon_minor
    return {
        "object": "split_dry_run",
        "currency": tried.currency,
        "amount_minor": tried.gross_minor,
        "channel_fee_minor": tried.fee_minor,
        "merchant_coupon_minor": tried.coupon_minor,
        "arriving_minor": arriving,
        "own_minor": arriving - sum(one["keeps_minor"] for one in shares if one["payee"] is not None),
        "shares": shares,
    }


async def _payees(pool: Pool, book: int, parts: Sequence[Part], currency: str) -> dict[str, Payee]:
    """Return the payees that plans name, by id. Raises NotFound (no_such_payee), Rejected (currency_differs)."""
    ids = list(dict.fromkeys(payee_id for part in parts for payee_id in part.plan.payees()))
    if not ids:
        return {}
    async with acquire(pool) as connection:
        found = {row.id: row for row in await PAYEES.load(connection, [(book, payee_id) for payee_id in ids])}
    for payee_id in ids:
        if payee_id not in found:
            raise NotFound("no_such_payee", f"there is no payee {payee_id}", param="split_plan")
        if found[payee_id].currency != currency:
            raise Rejected(
                "currency_differs", f"payee {payee_id} is paid in {found[payee_id].currency}", param="split_plan"
            )
    return found


async def _rails(pool: Pool, book: int, payee_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return in words, for each of these payees, where it is a receiver and what the rail there allows.

    Raises Rejected (rail_cannot_share) for one that is registered nowhere.
    """
    found: dict[str, list[str]] = {}
    async with acquire(pool) as connection:
        for payee_id in payee_ids:
            rows = await receivers(connection, book, payee_id)
            found[payee_id] = [
                f"{row.channel_account} ({row.status}); {rules_in_words(AtRail(row.channel_account, row.channel))}"
                for row in rows
            ]
            if not any(row.status == states.Receiver.REGISTERED for row in rows):
                raise cannot(f"payee {payee_id} is registered as a receiver at no channel account: add it")
    return found


async def _volumes(pool: Pool, book: int, payees: Mapping[str, Payee], currency: str) -> dict[str, int]:
    """Return what was ever credited to each payee's account, and to the merchant's under OWN."""
    names = {owed_account(payee): payee.id for payee in payees.values()} | {accounts.merchant(currency): OWN}
    async with acquire(pool) as connection:
        return {
            names[row.name]: row.credits for row in await ACCOUNTS.load(connection, [(book, name) for name in names])
        }


def _shown(
    part: int, got: LineShare, currency: str, payees: Mapping[str, Payee], rails: Mapping[str, list[str]]
) -> TriedShareOut:
    line = got.line
    payee = payees.get(line.payee_id)
    by_rail = line.by_rail and payee is not None and not payee.is_stopped
    waits = payee is not None and (payee.suspended_at is not None or payee.account_status != states.SubAccount.OPEN)
    bank = None if payee is None or waits else payee.bank
    return {
        "part": part,
        "line": line.name,
        "level": got.depth + 1,
        "payee": line.payee_id or None,
        "rule": rule_of(got, currency),
        "by_rule_minor": got.unbounded_minor,
        "struck": got.why or None,
        "because": because(got, currency, payee),
        "gets_minor": got.got_minor,
        "keeps_minor": got.own_minor,
        "travels": "own" if payee is None else "rail" if by_rail else "kept" if bank is None else "bank_transfer",
        "bank": None if by_rail else bank,
        "rails": rails.get(line.payee_id, []) if by_rail else [],
        "release": released(line.releases) if line.payee_id else "",
    }


def released(releases: Sequence[Release]) -> str:
    """Say when a share can be paid out; empty of what is the merchant's."""
    return "; ".join(_part(one) for one in releases) or "at once"


def _part(release: Release) -> str:
    part = "" if release.basis_points == 10_000 else f"{release.basis_points} basis points "
    if release.on is not None:
        return f"{part}on {release.on}"
    after = f"{release.days} days after the payment"
    if release.on_delivery:
        return f"{part}on delivery" + ("" if release.days is None else f", at the latest {after}")
    return part + (after if release.days else "at once")


def rule_of(got: LineShare, currency: str) -> str:
    """Say what a line asks for, with amounts as people write them."""
    of = "" if got.line.kind is ShareKind.AMOUNT else Money(got.of_minor, currency)
    tier = "" if got.value == got.line.value else " (by the volume so far)"
    match got.line.kind:
        case ShareKind.AMOUNT:
            return f"{Money(got.value, currency)}{tier}"
        case ShareKind.BASIS_POINTS:
            return f"{got.value} basis points of {of}{tier}"
        case _:
            return f"weight {got.value} in what is left of {of}{tier}"


def because(got: LineShare, currency: str, payee: Payee | None = None) -> str:
    """Say what changed what a line's rule comes to; empty where nothing did, and its payee can be paid."""
    line = got.line
    minimum, cap = (Money(minor or 0, currency) for minor in (line.minimum, line.cap))
    said = {
        "": "",
        "minimum": f"raised to its minimum of {minimum}",
        "cap": f"lowered to its cap of {cap}",
        "cut": "cut in proportion: there is less than the lines beside it ask for",
    }.get(got.why)
    if said is None:
        where = "as if it were not there" if line.to_others else "what it would have got stays with the line above"
        said = f"its condition on {got.why} does not hold: {where}"
    if payee is not None and payee.account_status not in (None, states.SubAccount.OPEN):
        waits = f"the payee's account at the bank is {payee.account_status}, and nothing is paid to it for now"
        said = "; ".join(part for part in (said, waits) if part)
    if payee is not None and payee.suspended_at is not None:
        return "; ".join(part for part in (said, "the payee is suspended, and is paid nothing for now") if part)
    return said
