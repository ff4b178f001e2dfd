"""Business dates 账务日期 and the cut-off 日切."""

from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")  # no daylight saving since 1991


def business_date(happened_at: datetime, *, cut_off_minutes: int = 0, zone: timezone = BEIJING) -> date:
    """Return the day a fact belongs to by the other side's clock.

    happened_at: aware. cut_off_minutes: minutes after midnight, in `zone`, at which the day turns (WeChat's bills turn
    at midnight, Beijing). Set once when the fact is recorded and stored; never derived later from "now".
    """
    return (happened_at.astimezone(zone) - timedelta(minutes=cut_off_minutes)).date()


@lru_cache(maxsize=8192)  # a payment's moments are written again in each of its events and answers
def rfc3339(moment: datetime) -> str:
    """Write an aware moment as UTC with milliseconds: 2026-11-24T08:30:00.123Z."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"
