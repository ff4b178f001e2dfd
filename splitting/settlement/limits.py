"""What is not paid out yet: a payee's reserve, and what its account at the bank may not take or send. Pure.

Both only delay: what a batch leaves is owed, and the next one pays it.

A reserve 保证金 is fixed, rolling, or both. A rolling one is a part of what each date brought, for so many days from
that date on. It is worked out from the sums of the dates, so a date that is settled late keeps what it would have kept
in time.

An account of class II or III 二、三类户 takes so much a day and a year from an account that it is not bound to, which a
pool account is, and sends as much, counted apart, to accounts that it is not bound to; between it and the account that
its bank has bound to it 绑定账户 no limit holds. One of class III never has more than so much. The bank enforces that.
The hub counts as well, so that it sends no order that the bank has to refuse. Sources, all of 中国人民银行:
银发〔2015〕392号 made the classes; 银发〔2016〕302号 has the limits of both, in and out; 银发〔2018〕16号 lowered those
of class III to 2,000 and 50,000 yuan and raised what it may have to 2,000 yuan.
"""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from kernel.errors import Rejected
from splitting.tables import AccountUse

LONGEST = 366  # days that a rolling reserve keeps anything


class AccountClass(StrEnum):
    """Classes of accounts that have limits. A company's, or a person's of class I, has none."""

    II = "II"
    III = "III"


class Limits(NamedTuple):
    """What an account may take, and apart from that send, in minor units of yuan."""

    day_minor: int
    year_minor: int
    balance_minor: int | None  # the most that it may have; None: no limit


LIMITS = {
    AccountClass.II: Limits(10_000_00, 200_000_00, None),
    AccountClass.III: Limits(2_000_00, 50_000_00, 2_000_00),
}


class Reserve(NamedTuple):
    """What is kept of what a payee is owed."""

    fixed_minor: int = 0
    rolling_bp: int = 0  # of what a date brought
    rolling_days: int = 0  # for which it is kept: the date itself and those after it


def reserve(fixed_minor: int, rolling_bp: int, rolling_days: int) -> Reserve:
    """Return a reserve that means something. Raises Rejected (reserve_wrong)."""
    if fixed_minor < 0 or not 0 <= rolling_bp <= 10_000 or not 0 <= rolling_days <= LONGEST:
        why = f"a reserve is at least nothing, at most 10000 basis points, and kept for at most {LONGEST} days"
    elif (rolling_bp == 0) != (rolling_days == 0):
        why = "a rolling reserve is so many basis points for so many days: give both, or neither"
    else:
        return Reserve(fixed_minor, rolling_bp, rolling_days)
    raise Rejected("reserve_wrong", why, param="reserve")


def kept(reserve: Reserve, earned: Iterable[int]) -> int:
    """Return what is kept of what a payee is owed, in minor units. earned: by each date that is still kept of."""
    return reserve.fixed_minor + sum(-(-minor * reserve.rolling_bp // 10_000) for minor in earned if minor > 0)


def room(of: AccountClass, use: AccountUse | None, day: date, has_minor: int) -> int:
    """Return what an account may still take on a day, in minor units.

    use: what was sent to it; None: nothing yet. has_minor: what it has, as the book knows it.
    """
    limits = LIMITS[of]
    today, this_year, on_its_way = (0, 0, 0) if use is None else used(use, day)
    left = [limits.day_minor - today, limits.year_minor - this_year]
    if limits.balance_minor is not None:
        left.append(limits.balance_minor - has_minor - on_its_way)
    return max(0, min(left))


def room_out(of: AccountClass, today: int, this_year: int) -> int:
    """Return what an account may still send to accounts that it is not bound to, after what it sent, in minor units."""
    limits = LIMITS[of]
    return max(0, min(limits.day_minor - today, limits.year_minor - this_year))


def used(use: AccountUse, day: date) -> tuple[int, int, int]:
    """Return what was sent for a day and its year, and what is on its way. A day before the last counts as the last."""
    day = max(day, use.day)
    return (
        use.day_minor if day == use.day else 0,
        use.year_minor if day.year == use.day.year else 0,
        use.open_minor,
    )


def sent(use: AccountUse | None, book: int, payee_id: str, day: date, minor: int) -> AccountUse:
    """Return the count with an amount that is sent for a day."""
    if use is None:
        return AccountUse(book, payee_id, day, minor, minor, minor)
    today, this_year, on_its_way = used(use, day)
    return AccountUse(book, payee_id, max(day, use.day), today + minor, this_year + minor, on_its_way + minor)


def arrived(use: AccountUse, minor: int) -> AccountUse:
    """Return the count after an amount on its way has reached the account."""
    return use._replace(open_minor=max(0, use.open_minor - minor))


def came_back(use: AccountUse, day: date, minor: int, *, on_its_way: bool) -> AccountUse:
    """Return the count without an amount that was sent for a day, and did not stay. on_its_way: it never arrived."""
    if on_its_way:
        use = arrived(use, minor)
    if day.year == use.day.year:
        use = use._replace(year_minor=max(0, use.year_minor - minor))
    if day == use.day:
        use = use._replace(day_minor=max(0, use.day_minor - minor))
    return use
