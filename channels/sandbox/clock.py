"""The sandbox's clock: the machine's, because signatures are checked against it."""

from datetime import UTC, date, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has kept one zone without summer time since 1991, so a fixed offset is exact."""


class Clock:
    """What time it is here and in Beijing, where every rail of this sandbox keeps its days."""

    def now_utc(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        return datetime.now(UTC)

    def beijing_date(self, at: datetime | None = None) -> date:
        """Return the calendar date in Beijing at `at` (aware), or now."""
        return (at or self.now_utc()).astimezone(BEIJING).date()
