"""Business dates turn at the other side's cut-off, and moments are written one way."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.clock import BEIJING, business_date, rfc3339

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=zones)


@pytest.mark.parametrize(
    ("at", "cut_off_minutes", "day"),
    [
        ("2026-11-24T15:59:59.999999+00:00", 0, date(2026, 11, 24)),
        ("2026-11-24T16:00:00+00:00", 0, date(2026, 11, 25)),  # midnight in Beijing
        ("2026-11-25T00:00:00+08:00", 0, date(2026, 11, 25)),
        ("2026-11-24T23:00:00+08:00", 23 * 60, date(2026, 11, 24)),
        ("2026-11-24T22:59:59+08:00", 23 * 60, date(2026, 11, 23)),
        ("2028-02-29T12:00:00+08:00", 0, date(2028, 2, 29)),
        ("2026-12-31T17:00:00+00:00", 0, date(2027, 1, 1)),
    ],
)
def test_a_day_turns_at_the_cut_off(at: str, cut_off_minutes: int, day: date) -> None:
    assert business_date(datetime.fromisoformat(at), cut_off_minutes=cut_off_minutes) == day


@given(moments, st.integers(0, 1439))
def test_a_business_date_begins_at_its_cut_off_and_lasts_a_day(at: datetime, cut_off_minutes: int) -> None:
    day = business_date(at, cut_off_minutes=cut_off_minutes)
    begins = datetime(day.year, day.month, day.day, tzinfo=BEIJING) + timedelta(minutes=cut_off_minutes)
    assert begins <= at < begins + timedelta(days=1)


@given(moments, zones)
def test_a_moment_is_written_the_same_in_whatever_zone_it_came(at: datetime, zone: timezone) -> None:
    written = rfc3339(at)
    assert rfc3339(at.astimezone(zone)) == written
    read = datetime.fromisoformat(written)
    assert read.tzinfo == UTC
    assert timedelta(0) <= at - read < timedelta(milliseconds=1)
    assert len(written) == len("2026-11-24T08:30:00.123Z")


def test_a_moment_is_written_as_rfc_3339_with_milliseconds() -> None:
    assert rfc3339(datetime(2026, 11, 24, 8, 30, 0, 123_999, tzinfo=UTC)) == "2026-11-24T08:30:00.123Z"
    assert rfc3339(datetime(2026, 11, 24, 16, 30, tzinfo=BEIJING)) == "2026-11-24T08:30:00.000Z"
