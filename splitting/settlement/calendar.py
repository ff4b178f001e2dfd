"""When whose money is paid 结算周期: working days and make-up workdays 调休, banks' cut-offs, and schedules. Pure.

A *business date* is paid on its *due day*. The business dates with one due day are a *period*, and the batch of the
period's last date pays all of it. So every business date is paid by exactly one batch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from kernel.clock import BEIJING
from kernel.errors import Rejected

DATA = Path(__file__).with_name("working_days.json")
DAY = timedelta(days=1)
T0_AHEAD = timedelta(minutes=30)  # of the bank's cut-off: what a batch needs to be made, checked and sent


class Calendar:
    """The working days of China, of the years whose official notices are known.

    years: year → its days off from Monday to Friday, its working Saturdays and Sundays, and the notices that say so.
    """

    def __init__(self, years: Mapping[int, "Year"]) -> None:
        self._years = dict(years)
        told = [[str(year), *map(str, sorted(of.off)), "+", *map(str, sorted(of.work))] for year, of in years.items()]
        self.version = hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()[:12]

    @property
    def years(self) -> list[int]:
        return sorted(self._years)

    def is_working_day(self, day: date) -> bool:
        """Tell whether banks work on a day. Raises Rejected (no_calendar) for a year whose notice is not known."""
        year = self._years.get(day.year)
        if year is None:
            raise Rejected(
                "no_calendar",
                f"the working days of {day.year} are not known: the State Council's notice of that year is not in the "
                f"calendar, which has {self.years[0]} to {self.years[-1]}; working days are not guessed",
                year=day.year,
            )
        return day not in year.off and (day.isoweekday() < 6 or day in year.work)

    def working_day_from(self, day: date) -> date:
        """Return the day if it is a working day, or the next one that is. Raises Rejected (no_calendar)."""
        while not self.is_working_day(day):
            day += DAY
        return day


class Year(NamedTuple):
    """What differs in a year from working on Monday to Friday."""

    off: frozenset[date]
    work: frozenset[date]  # make-up workdays 调休
    sources: Sequence[str]


def read_calendar(text: str | bytes) -> Calendar:
    """Read a calendar file: `working_days.json` shows the form.

    Raises ValueError for one that is of another form, that names no source, or whose days are none of their kind.
    """
    told = json.loads(text)
    if not isinstance(told, dict) or (told.get("format"), told.get("country")) != (1, "CN"):
        raise ValueError("this is no calendar of format 1 and country CN")
    years = {}
    for number, year in told["years"].items():
        off, work = (frozenset(_days(int(number), year[name])) for name in ("off", "work"))
        if not year["sources"]:
            raise ValueError(f"{number}: no source is named")
        if wrong := sorted(day for day in off if day.isoweekday() > 5) or sorted(d for d in work if d.isoweekday() < 6):
            raise ValueError(f"{wrong[0]}: days off are from Monday to Friday, make-up workdays Saturdays and Sundays")
        years[int(number)] = Year(off, work, tuple(year["sources"]))
    if not years:
        raise ValueError("it has no year")
    return Calendar(years)


def _days(year: int, told: Sequence[Any]) -> Iterator[date]:
    for one in told:
        yield date.fromisoformat(f"{year}-{one}")


@lru_cache(maxsize=1)
def china() -> Calendar:
    """Return the calendar that comes with the hub."""
    return read_calendar(DATA.read_bytes())


# ---- banks -----------------------------------------------------------------------------------------------------------


class BankHours(NamedTuple):
    """When a bank carries batches out, in Beijing time."""

    cut_off: time = time(16, 30)  # until when it has to have a batch that it is to carry out on the same day
    every_day: bool = False  # else on working days

    def works(self, calendar: Calendar, day: date) -> bool:
        return self.every_day or calendar.is_working_day(day)

    def day_from(self, calendar: Calendar, day: date) -> date:
        """Return the day, or the next one on which the bank works."""
        return day if self.every_day else calendar.working_day_from(day)

    def executes_on(self, calendar: Calendar, due: date, now: datetime) -> date:
        """Return the day on which a batch that is due then is carried out, if the bank is given it now."""
        here = now.astimezone(BEIJING)
        first = here.date() if here.timetz().replace(tzinfo=None) <= self.cut_off else here.date() + DAY
        return self.day_from(calendar, max(due, first))


# ---- schedules -------------------------------------------------------------------------------------------------------


class Every(StrEnum):
    """How often a payee is paid."""

    T0 = "T+0"  # on the business date itself, of what there is at the bank's cut-off
    T1 = "T+1"  # on the next working day
    D1 = "D+1"  # on the next day on which the bank works
    WEEKLY = "weekly"  # on a day of the week, of all before it
    MONTHLY = "monthly"  # on a day of the month, of all before it
    THRESHOLD = "threshold"  # on the next working day, where enough is owed
    MANUAL = "manual"  # when somebody says so


class Schedule(NamedTuple):
    """When a payee is paid, and from what amount on."""

    every: Every
    on: int | None = None  # weekly: 1 (Monday) to 7; monthly: 1 to 31, the last day in a shorter month
    minimum_minor: int = 0  # less than that is carried over; threshold: needed


def schedule(every: str, on: int | None = None, minimum_minor: int = 0) -> Schedule:
    """Return a schedule that means something. Raises Rejected (schedule_wrong)."""

    def wrong(why: str) -> Rejected:
        return Rejected("schedule_wrong", why, param="schedule")

    if every not in list(Every):
        raise wrong(f"{every!r} is no schedule; there are {', '.join(Every)}")
    days = {Every.WEEKLY: 7, Every.MONTHLY: 31}.get(Every(every))
    if days is None and on is not None:
        raise wrong(f"{every} is on no day of the week or month: leave `on` out")
    if days is not None and (on is None or not 1 <= on <= days):
        raise wrong(f"{every} is on a day from 1 to {days}: say which")
    if minimum_minor < 0 or (every == Every.THRESHOLD and minimum_minor == 0):
        raise wrong("an amount from which on a payee is paid is above nothing")
    return Schedule(Every(every), on, minimum_minor)


class Period(NamedTuple):
    """Business dates that one batch pays: that of the last of them."""

    first: date
    last: date
    due: date  # the bank's day on which it is to be carried out
    not_before: datetime  # when the batch may be made


def due_day(schedule: Schedule, hours: BankHours, calendar: Calendar, business_date: date) -> date | None:
    """Return the bank's day on which a business date is to be paid; None: when somebody says so.

    Raises Rejected (no_calendar).
    """
    match schedule.every:
        case Every.MANUAL:
            return None
        case Every.T0:
            day = business_date
        case Every.T1 | Every.THRESHOLD:
            day = calendar.working_day_from(business_date + DAY)
        case Every.D1:
            day = business_date + DAY
        case Every.WEEKLY:
            day = business_date + DAY
            while day.isoweekday() != schedule.on:
                day += DAY
        case Every.MONTHLY:
            day = business_date + DAY
            while not _is_day_of_month(day, schedule.on or 1):
                day += DAY
    return hours.day_from(calendar, day)


def _is_day_of_month(day: date, on: int) -> bool:
    return day.day == on or (day.day < on and (day + DAY).day == 1)


def period(schedule: Schedule, hours: BankHours, calendar: Calendar, business_date: date) -> Period | None:
    """Return the period that a business date ends, None where it ends none. Raises Rejected (no_calendar)."""
    due = due_day(schedule, hours, calendar, business_date)
    if due is None:
        return None
    next_due_at_least = business_date + DAY * (1 if schedule.every is Every.T0 else 2)  # whatever the calendar says
    if due >= next_due_at_least and due_day(schedule, hours, calendar, business_date + DAY) == due:
        return None
    first = business_date
    while due_day(schedule, hours, calendar, first - DAY) == due:
        first -= DAY
    if schedule.every is Every.T0:
        # Its last date is paid before it is over; what comes after the cut-off belongs to the next period.
        return Period(first, business_date, due, datetime.combine(due, hours.cut_off, BEIJING) - T0_AHEAD)
    return Period(first, business_date, due, datetime.combine(business_date + DAY, time(), BEIJING))


def periods(
    schedule: Schedule, hours: BankHours, calendar: Calendar, *, after: date, now: datetime
) -> Iterator[Period]:
    """Yield the periods that ended after a business date and may be paid now, oldest first.

    after: the last business date that is paid. So after an outage each period that was missed comes in its turn.
    Raises Rejected (no_calendar).
    """
    day, today = after + DAY, now.astimezone(BEIJING).date()
    while day < today or (day == today and schedule.every is Every.T0):
        ended = period(schedule, hours, calendar, day)
        if ended is not None and ended.not_before <= now:
            yield ended
        day += DAY


def payable(owed_minor: int, minimum_minor: int) -> int:
    """Return what is paid of what is owed: all of it, or nothing where that is less than the minimum; then it is kept.

    A payee who owes is paid nothing, and its next shares pay its debt first.
    """
    return owed_minor if owed_minor >= max(minimum_minor, 1) else 0
