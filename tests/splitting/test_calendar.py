"""Working days are those of the State Council's notices, and every business date is paid by exactly one batch."""

import itertools
import json
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel.clock import BEIJING
from kernel.errors import Rejected
from splitting.settlement.calendar import (
    DATA,
    BankHours,
    Every,
    Period,
    Schedule,
    china,
    due_day,
    payable,
    period,
    periods,
    read_calendar,
    schedule,
)

DAY = timedelta(days=1)
CHINA = china()
BANK = BankHours()


def on(text: str) -> date:
    return date.fromisoformat(text)


# What the notices say, told once more: holidays from day to day, and the days worked instead.
NOTICES = {
    2024: (
        ["01-01..01-01", "02-10..02-17", "04-04..04-06", "05-01..05-05", "06-10..06-10", "09-15..09-17",
         "10-01..10-07"],
        ["02-04", "02-18", "04-07", "04-28", "05-11", "09-14", "09-29", "10-12"],
    ),
    2025: (
        ["01-01..01-01", "01-28..02-04", "04-04..04-06", "05-01..05-05", "05-31..06-02", "10-01..10-08"],
        ["01-26", "02-08", "04-27", "09-28", "10-11"],
    ),
    2026: (
        ["01-01..01-03", "02-15..02-23", "04-04..04-06", "05-01..05-05", "06-19..06-21", "09-25..09-27",
         "10-01..10-07"],
        ["01-04", "02-14", "02-28", "05-09", "09-20", "10-10"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("year", NOTICES)
def test_a_year_is_as_its_notice_says(year: int) -> None:
    holidays, worked = NOTICES[year]
    off = set[date]()
    for span in holidays:
        first, last = (on(f"{year}-{end}") for end in span.split(".."))
        off |= {first + n * DAY for n in range((last - first).days + 1)}
    instead = {on(f"{year}-{day}") for day in worked}
    day = date(year, 1, 1)
    while day.year == year:
        expected = day in instead or (day.isoweekday() < 6 and day not in off)
        assert CHINA.is_working_day(day) == expected, day
        day += DAY


def test_every_year_has_its_source_and_a_year_without_one_is_refused() -> None:
    told = json.loads(DATA.read_text())["years"]
    assert [int(year) for year in told] == CHINA.years == list(range(2010, 2027))
    for year in told.values():
        assert all(source.startswith("https://www.gov.cn/") for source in year["sources"])
    for unknown in (date(2009, 12, 31), date(2027, 1, 1)):
        with pytest.raises(Rejected) as refusal:
            CHINA.is_working_day(unknown)
        assert (refusal.value.code, refusal.value.facts["year"]) == ("no_calendar", unknown.year)


def test_another_calendar_has_another_version() -> None:
    told = json.loads(DATA.read_text())
    again = read_calendar(json.dumps(told, indent=None))
    assert again.version == CHINA.version
    told["years"]["2026"]["work"].remove("10-10")
    assert read_calendar(json.dumps(told)).version != CHINA.version


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "no calendar of format 1"),
        ({"country": "JP"}, "country CN"),
        ({"years": {}}, "no year"),
        ({"years": {"2027": {"sources": [], "off": [], "work": []}}}, "no source"),
        ({"years": {"2027": {"sources": ["x"], "off": ["01-02"], "work": []}}}, "2027-01-02"),  # a Saturday
        ({"years": {"2027": {"sources": ["x"], "off": [], "work": ["01-04"]}}}, "2027-01-04"),  # a Monday
        ({"years": {"2027": {"sources": ["x"], "off": ["02-30"], "work": []}}}, "day is out of range"),
    ],
)
def test_a_calendar_that_is_none_is_refused(change: dict[str, Any], says: str) -> None:
    told = {"format": 1, "country": "CN", "years": {"2027": {"sources": ["x"], "off": ["01-01"], "work": []}}}
    assert read_calendar(json.dumps(told)).years == [2027]
    with pytest.raises(ValueError, match=says):
        read_calendar(json.dumps(told | change))


# ---- single days -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "where", "business_date", "due"),
    [
        ("T+1", None, "2026-11-24", "2026-11-25"),
        ("T+1", None, "2026-11-27", "2026-11-30"),  # a Friday
        ("T+1", None, "2026-02-13", "2026-02-14"),  # a Friday before a worked Saturday
        ("T+1", None, "2026-02-14", "2026-02-24"),  # the Spring Festival
        ("T+1", None, "2026-09-30", "2026-10-08"),  # the National Day
        ("T+1", None, "2026-10-09", "2026-10-10"),  # a worked Saturday
        ("T+0", None, "2026-11-24", "2026-11-24"),
        ("T+0", None, "2026-11-28", "2026-11-30"),
        ("D+1", None, "2026-11-27", "2026-11-30"),
        ("threshold", None, "2026-11-24", "2026-11-25"),
        ("weekly", 1, "2026-11-24", "2026-11-30"),
        ("weekly", 2, "2026-11-24", "2026-12-01"),
        ("weekly", 7, "2026-11-24", "2026-11-30"),  # a Sunday, so the Monday after
        ("monthly", 1, "2026-11-24", "2026-12-01"),
        ("monthly", 31, "2026-11-24", "2026-11-30"),
        ("monthly", 31, "2026-02-24", "2026-02-28"),  # a worked Saturday
        ("monthly", 30, "2026-02-24", "2026-02-28"),
        ("monthly", 3, "2026-09-30", "2026-10-08"),
    ],
)
def test_a_business_date_is_due_on_a_day_on_which_the_bank_works(
    every: str, where: int | None, business_date: str, due: str
) -> None:
    minimum = 1 if every == "threshold" else 0
    assert due_day(schedule(every, where, minimum), BANK, CHINA, on(business_date)) == on(due)


def test_a_bank_that_works_every_day_pays_on_a_holiday_what_is_not_for_working_days() -> None:
    always = BankHours(every_day=True)
    holiday = on("2026-10-01")
    assert due_day(schedule("D+1"), always, CHINA, holiday) == on("2026-10-02")
    assert due_day(schedule("T+0"), always, CHINA, holiday) == holiday
    assert due_day(schedule("T+1"), always, CHINA, holiday) == on("2026-10-08")


def test_a_weekend_is_paid_with_the_friday_by_the_sundays_batch() -> None:
    friday = on("2026-11-27")
    found = [period(schedule("T+1"), BANK, CHINA, friday + n * DAY) for n in range(3)]
    midnight = datetime(2026, 11, 30, tzinfo=BEIJING)
    assert found == [None, None, Period(friday, on("2026-11-29"), on("2026-11-30"), midnight)]


def test_what_is_paid_on_its_own_day_is_made_before_the_banks_cut_off() -> None:
    found = period(schedule("T+0"), BANK, CHINA, on("2026-11-24"))
    assert found is not None
    assert (found.first, found.due) == (on("2026-11-24"), on("2026-11-24"))
    assert found.not_before == datetime(2026, 11, 24, 16, 0, tzinfo=BEIJING)


def test_what_somebody_says_has_no_period() -> None:
    assert period(schedule("manual"), BANK, CHINA, on("2026-11-24")) is None


@pytest.mark.parametrize(
    ("due", "now", "day"),
    [
        ("2026-11-25", "2026-11-25 00:00", "2026-11-25"),
        ("2026-11-25", "2026-11-25 16:30", "2026-11-25"),
        ("2026-11-25", "2026-11-25 16:31", "2026-11-26"),
        ("2026-11-25", "2026-11-24 23:00", "2026-11-25"),
        ("2026-11-27", "2026-11-27 17:00", "2026-11-30"),
        ("2026-11-20", "2026-11-24 09:00", "2026-11-24"),  # made up late
        ("2026-09-30", "2026-09-30 17:00", "2026-10-08"),
    ],
)
def test_a_batch_that_misses_the_cut_off_is_carried_out_on_the_next_day_of_the_bank(
    due: str, now: str, day: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=BEIJING)
    assert BANK.executes_on(CHINA, on(due), moment) == on(day)


def test_the_last_days_of_the_last_known_year_are_paid_and_no_day_beyond_is_guessed() -> None:
    last = period(schedule("T+1"), BANK, CHINA, on("2026-12-30"))
    assert last is not None
    assert last.due == on("2026-12-31")
    assert period(schedule("T+0"), BANK, CHINA, on("2026-12-31")) is not None
    for every in ("T+1", "D+1"):
        with pytest.raises(Rejected, match="2027"):
            period(schedule(every), BANK, CHINA, on("2026-12-31"))


@pytest.mark.parametrize(
    ("every", "where", "minimum"),
    [
        ("T+2", None, 0), ("t+1", None, 0), ("weekly", None, 0), ("weekly", 0, 0), ("weekly", 8, 0), ("T+1", 3, 0),
        ("monthly", 32, 0), ("monthly", None, 0), ("threshold", None, 0), ("T+1", None, -1),
    ],
)  # fmt: skip
def test_a_schedule_that_means_nothing_is_refused(every: str, where: int | None, minimum: int) -> None:
    with pytest.raises(Rejected) as refusal:
        schedule(every, where, minimum)
    assert refusal.value.code == "schedule_wrong"


# ---- any schedule ----------------------------------------------------------------------------------------------------

SCHEDULES = st.one_of(
    st.sampled_from([Schedule(Every.T0), Schedule(Every.T1), Schedule(Every.D1), Schedule(Every.THRESHOLD, None, 500)]),
    st.integers(1, 7).map(lambda day: Schedule(Every.WEEKLY, day)),
    st.integers(1, 31).map(lambda day: Schedule(Every.MONTHLY, day)),
)
HOURS = st.builds(BankHours, st.times().map(lambda at: time(at.hour, at.minute)), st.booleans())
DATES = st.dates(date(2011, 1, 1), date(2026, 8, 1))


@settings(max_examples=120, deadline=None)
@given(SCHEDULES, HOURS, DATES)
def test_every_business_date_is_paid_by_exactly_one_batch_after_it_is_over(
    asked: Schedule, hours: BankHours, first: date
) -> None:
    days = [first + n * DAY for n in range(100)]
    found = [one for day in days if (one := period(asked, hours, CHINA, day))]
    assume(len(found) > 1)
    for before, after in itertools.pairwise(found):
        assert after.first == before.last + DAY, "neither twice nor not at all"
        assert after.due > before.due
        assert after.not_before > before.not_before
    for one in found:
        assert one.first <= one.last <= one.due
        assert {due_day(asked, hours, CHINA, one.first), due_day(asked, hours, CHINA, one.last)} == {one.due}
        assert hours.works(CHINA, one.due)
        over = datetime.combine(one.last + DAY, time(), BEIJING)
        if asked.every is Every.T0:
            assert one.last == one.due
            assert one.not_before < datetime.combine(one.due, hours.cut_off, BEIJING)
        else:
            assert one.not_before == over
            assert one.due > one.last


@settings(max_examples=60, deadline=None)
@given(SCHEDULES, HOURS, DATES, st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_what_was_missed_is_made_up_period_by_period_whenever_somebody_looks(
    asked: Schedule, hours: BankHours, first: date, gaps: list[int]
) -> None:
    """gaps: hours and days after which somebody looks again; an outage is a long one."""
    after, now, paid = first, datetime.combine(first, time(12), BEIJING), list[Period]()
    for gap in gaps:
        now += timedelta(days=gap // 3, hours=gap)
        for one in periods(asked, hours, CHINA, after=after, now=now):
            paid.append(one)
            after = one.last
    assert paid == list(periods(asked, hours, CHINA, after=first, now=now))
    assert all(one.not_before <= now for one in paid)


@given(st.lists(st.integers(-500, 900), max_size=30), st.integers(0, 2_000))
def test_what_is_below_the_minimum_is_carried_and_never_lost(earned: list[int], minimum: int) -> None:
    owed, paid = 0, list[int]()
    for minor in earned:
        owed += minor
        now = payable(owed, minimum)
        assert now in (0, owed)
        assert now == 0 or now >= max(minimum, 1)
        assert now > 0 or owed < max(minimum, 1)
        owed -= now
        paid.append(now)
    assert sum(paid) + owed == sum(earned)
