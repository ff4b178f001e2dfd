"""Compiling a plan to a rail 编译: which shares the rail pays and which the bank, by the rail's own rules. Pure.

Before the money is there, a line that the rail cannot pay is refused, with the rule (`check`). Once it is there,
nothing is refused: what no longer fits goes by bank, and the share says why (`route`). Either way every share goes by
one of the two, whole.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from kernel.errors import Rejected
from splitting.plans.tree import Line, Release
from splitting.rails.limits import RAILS, AtRail, Limits, shares_out
from splitting.tables import RailReceiver

BY_RAIL = "rail"  # Share.rail of what the rail pays
# Share.rail of what was to go by the rail and goes by bank, and why.
NO_RAIL, SUSPENDED, NOT_REGISTERED = "no_rail", "payee_suspended", "receiver_not_registered"
FROZEN = "account_frozen"
ABOVE_CEILING, TOO_MANY = "above_ceiling", "too_many_receivers"
WHY_NOT = {
    NO_RAIL: "the payment's money was not frozen at a rail that shares it out",
    SUSPENDED: "the payee is suspended",
    FROZEN: "the payee's account at the bank is frozen",
    NOT_REGISTERED: "the rail does not know the payee as a receiver",
    ABOVE_CEILING: "with it the rail would share out more of the payment than it may",
    TOO_MANY: "the rail takes no more receivers in one request",
}


class Wanted(NamedTuple):
    """A share that a line wants the rail to pay."""

    line: str
    payee_id: str
    minor: int


def cannot(why: str, line: str = "") -> Rejected:
    """Return the refusal of a plan that the rail cannot carry out."""
    where = f"line {line!r}: " if line else ""
    return Rejected("rail_cannot_share", f"{where}{why}", param="split_plan", **({"line": line} if line else {}))


def check_lines(lines: Sequence[Line], limits: Sequence[Limits], today: date) -> None:
    """Refuse lines that none of these rails could ever pay, whatever is paid on `today` or later.

    Raises Rejected (rail_cannot_share).
    """
    if not lines:
        return
    if not limits:
        raise cannot("no rail of this hub shares payments out", lines[0].name)
    days = max(one.frozen_days for one in limits)
    most = max(one.requests_a_payment for one in limits)
    names = " or ".join(one.name for one in limits)
    for line in lines:
        for release in line.releases:
            if (why := _too_late(release, days, today)) is not None:
                raise cannot(
                    f"{why}, and {names} keeps a payment's money frozen for {days} days at most and then releases it "
                    "unshared",
                    line.name,
                )
    times = {release for line in lines for release in line.releases} | {Release(10_000)}
    if len(times) + 1 > most:  # and one that releases the rest
        raise cannot(f"its lines are released at {len(times)} times, and {names} shares a payment out {most} times")


def _too_late(release: Release, days: int, today: date) -> str | None:
    if release.on is not None:
        return f"it is released on {release.on}" if release.on >= today + timedelta(days=days) else None
    if release.days is None:
        return "it may wait for delivery for ever"
    return f"it is released up to {release.days} days after the payment" if release.days >= days else None


def require_rail(channel: str, line: str = "", *, method: str | None = None) -> Limits:
    """Return what a rail allows. Raises Rejected (rail_cannot_share) where it shares nothing out for the hub.

    method: how is to be paid what it is asked for; None: not known yet.
    """
    limits = RAILS.get(channel)
    if limits is None:
        have = " and ".join(one.name for one in RAILS.values())
        raise cannot(
            f"{channel} shares no payment out for this hub, and {have} do: name such a channel, or have the line "
            "travel by bank",
            line,
        )
    if not shares_out(channel, method):
        ways = ", ".join(sorted(limits.methods or ()))
        raise cannot(f"{limits.why_not_others}; have it paid by {ways}, or have the line travel by bank", line)
    return limits


def check(
    lines: Sequence[Line],
    wanted: Sequence[Wanted],
    gross_minor: int,
    at: AtRail,
    receivers: Mapping[str, RailReceiver | None],
    today: date,
) -> None:
    """Refuse a payment whose rail cannot pay what its plan has the rail pay, quoting the rule.

    lines: those that want the rail. wanted: their shares, as far as they are known before it is paid. gross_minor: what
    is to be paid. receivers: of the payees, at the account. Raises Rejected (rail_cannot_share).
    """
    if not lines:
        return
    limits = require_rail(at.channel, lines[0].name, method=at.method)
    if at.reserves:
        raise cannot(f"{limits.name} shares out what is captured at once, not what is reserved", lines[0].name)
    check_lines(lines, [limits], today)
    for line in lines:
        row = receivers.get(line.payee_id)
        if row is None:
            raise cannot(f"payee {line.payee_id} is no receiver at channel account {at.account_id}: add it", line.name)
        if row.status != "registered":
            why = f": {row.code} {row.message}" if row.code else ""
            raise cannot(f"payee {line.payee_id} is {row.status} as a receiver at {at.account_id}{why}", line.name)
    accounts = {_account(receivers[one.payee_id]) for one in wanted if one.minor}
    if len(accounts) > limits.receivers_a_request:
        raise cannot(f"{len(accounts)} receivers, and {limits.name} takes {limits.receivers_a_request} in a request")
    whole = sum(one.minor for one in wanted)
    if at.ceiling is not None and whole > (most := _most(gross_minor, at.ceiling)):
        raise cannot(
            f"its shares by rail come to {whole} minor units of {gross_minor}, and {limits.name} shares out at most "
            f"{at.ceiling / 100:g}% of a payment, {most}: agree another ceiling with the rail and put it into the "
            "account's terms, or have lines travel by bank",
            max(wanted, key=lambda one: one.minor).line,
        )


def route(
    wanted: Mapping[int, Wanted],
    gross_minor: int,
    at: AtRail | None,
    receivers: Mapping[str, RailReceiver | None],
    stopped: Mapping[str, str],
) -> dict[int, str]:
    """Return of each share that wants the rail, by its place, whether the rail pays it (BY_RAIL), or why not.

    at: where the money is frozen; None: nowhere. stopped: payees that are paid nothing now, each with why (SUSPENDED,
    FROZEN). In the order of the places; each is whole or not at all.
    """
    limits = None if at is None else at.limits
    found: dict[int, str] = {}
    accounts: set[tuple[str, str]] = set()
    left = gross_minor if at is None or at.ceiling is None else _most(gross_minor, at.ceiling)
    for place, one in sorted(wanted.items()):
        row = receivers.get(one.payee_id)
        if limits is None:
            found[place] = NO_RAIL
        elif one.payee_id in stopped:
            found[place] = stopped[one.payee_id]
        elif row is None or row.status != "registered":
            found[place] = NOT_REGISTERED
        elif one.minor > left:
            found[place] = ABOVE_CEILING
        elif len(accounts | {_account(row)}) > limits.receivers_a_request:
            found[place] = TOO_MANY
        else:
            found[place] = BY_RAIL
            accounts.add(_account(row))
            left -= one.minor
    return found


def _most(gross_minor: int, basis_points: int) -> int:
    """Return the most that may be shared out: rounded down, for one unit more is refused."""
    return gross_minor * basis_points // 10_000


def _account(row: RailReceiver | None) -> tuple[str, str]:
    return ("", "") if row is None else (row.kind, row.account)


def rules_in_words(at: AtRail) -> str:
    """Say what the rail allows, for whoever tries a plan out."""
    limits = at.limits
    if limits is None:
        return f"{at.channel} shares nothing out for this hub"
    part = "" if at.ceiling is None else f"at most {at.ceiling / 100:g}% of a payment, "
    return (
        f"{limits.name}: {part}{limits.receivers_a_request} receivers a request, {limits.requests_a_payment} requests "
        f"a payment, {limits.frozen_days} days from the payment on{_ways(limits)}"
    )


def _ways(limits: Limits) -> str:
    return "" if limits.methods is None else f", of payments by {', '.join(sorted(limits.methods))}"
