"""What a payee may withdraw, by its limits, by its account's class and by what it has. Pure."""

import re
from datetime import date
from typing import NamedTuple

from kernel.errors import Conflict, Rejected
from kernel.ids import base36
from kernel.money import MAX_MINOR
from splitting.settlement.limits import AccountClass, room_out
from splitting.tables import WithdrawalLimit, WithdrawalUse

PREFIX = "wdr_"
# A withdrawal's number at the bank: of the order, and of the one line in it; at most 35 characters.
REFERENCE = re.compile(r"\b[0-9a-z]{1,6}-w-[0-9a-f]{26}\b", re.ASCII)


class Limits(NamedTuple):
    """What a payee may withdraw, in minor units; None: no limit."""

    minimum_minor: int = 0
    most_minor: int | None = None  # at once
    day_minor: int | None = None  # a day, in Beijing


NONE = Limits()


def limits(minimum_minor: int, most_minor: int | None, day_minor: int | None) -> Limits:
    """Return limits under which something can be withdrawn. Raises Rejected (withdrawal_limit_wrong)."""
    given = [minimum_minor, *(one for one in (most_minor, day_minor) if one is not None)]
    if not all(0 <= one <= MAX_MINOR for one in given):
        why = "a limit is at least nothing"
    elif any(one is not None and one < minimum_minor for one in (most_minor, day_minor)):
        why = "the least may not be more than the most at once, or a day"
    else:
        return Limits(minimum_minor, most_minor, day_minor)
    raise Rejected("withdrawal_limit_wrong", why, param="limit")


def limits_of(own: WithdrawalLimit | None, default: WithdrawalLimit | None) -> Limits:
    """Return what holds of a payee: its own limits, all of them, go before the bank's default."""
    row = own or default
    return NONE if row is None else Limits(row.minimum_minor, row.most_minor, row.day_minor)


def asked_on(use: WithdrawalUse | None, day: date) -> int:
    """Return what was asked for on a day. A day before the last counts as the last."""
    return 0 if use is None or day > use.day else use.day_minor


def asked_in_year(use: WithdrawalUse | None, day: date) -> int:
    """Return what was asked for in a day's year. A year before the last counts as the last."""
    return 0 if use is None or day.year > use.day.year else use.year_minor


def counted(use: WithdrawalUse | None, book: int, payee_id: str, day: date, minor: int) -> WithdrawalUse:
    """Return the count with an amount that is asked for on a day."""
    last = day if use is None else max(day, use.day)
    return WithdrawalUse(book, payee_id, last, asked_on(use, day) + minor, asked_in_year(use, day) + minor)


def given_back(use: WithdrawalUse, day: date, minor: int) -> WithdrawalUse:
    """Return the count without an amount that was asked for on a day and refused."""
    if day.year == use.day.year:
        use = use._replace(year_minor=max(0, use.year_minor - minor))
    return use._replace(day_minor=max(0, use.day_minor - minor)) if day == use.day else use


def class_room(of: str | None, use: WithdrawalUse | None, day: date, *, bound_at_bank: bool) -> int | None:
    """Return what the class of a payee's account leaves it to send on a day, in minor units; None: no limit."""
    if of is None or bound_at_bank:
        return None
    return room_out(AccountClass(of), asked_on(use, day), asked_in_year(use, day))


def withdrawable(limits: Limits, use: WithdrawalUse | None, day: date, available: int, room: int | None) -> int:
    """Return the most that can be asked for at once, in minor units; 0 where nothing can be. room: see class_room."""
    most = [available] if room is None else [available, room]
    if limits.most_minor is not None:
        most.append(limits.most_minor)
    if limits.day_minor is not None:
        most.append(limits.day_minor - asked_on(use, day))
    return max(0, min(most)) if min(most) >= limits.minimum_minor else 0


def check(limits: Limits, use: WithdrawalUse | None, day: date, available: int, minor: int, room: int | None) -> None:
    """Raise what stands against an amount. room: see class_room.

    Rejected (withdrawal_amount_not_allowed), Conflict (withdrawal_daily_limit, account_class_limit,
    withdrawable_exceeded).
    """
    if minor < limits.minimum_minor or (limits.most_minor is not None and minor > limits.most_minor):
        most = "" if limits.most_minor is None else f" and at most {limits.most_minor}"
        why = f"a withdrawal is of at least {limits.minimum_minor}{most} minor units"
        raise Rejected("withdrawal_amount_not_allowed", why, param="amount")
    if limits.day_minor is not None and minor > (left := max(0, limits.day_minor - asked_on(use, day))):
        why = f"of {limits.day_minor} minor units a day, {left} are left on {day}"
        raise Conflict("withdrawal_daily_limit", why)
    if room is not None and minor > room:
        why = f"of what its account's class 二、三类户 may send a day and a year, {room} minor units are left on {day}"
        raise Conflict("account_class_limit", why)
    if minor > available:
        raise Conflict("withdrawable_exceeded", f"the sub-account has {max(0, available)} minor units to withdraw")


def reference(book: int, withdrawal_id: str) -> str:
    """Return a withdrawal's number at the bank."""
    return f"{base36(book)}-w-{withdrawal_id.removeprefix(PREFIX)}"


def id_of(book: int, text: str) -> str | None:
    """Return which withdrawal of this book a number at the bank is of, None where it is none."""
    if REFERENCE.fullmatch(text) is None or not text.startswith(f"{base36(book)}-w-"):
        return None
    return PREFIX + text.rpartition("-")[2]
