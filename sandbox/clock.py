"""The sandbox's clock: the machine's, or as far from it as a file says. Signatures are checked against it."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has kept one zone without summer time since 1991, so a fixed offset is exact."""

_file: Path | None = None


def follow(file: Path | None) -> None:
    """Be off from now on by as many seconds as the file holds, which is read at each look; None: not at all.

    So a play of many days has its hub and its sandbox at one moment, and moves both.
    """
    global _file  # a process has one clock
    _file = file


def seconds() -> float:
    """Return the current moment in seconds since 1970."""
    off = 0.0
    if _file is not None:
        off = float(_file.read_text() or 0)
    return time.time() + off


def now() -> datetime:
    """Return the current moment, aware, in UTC."""
    return datetime.fromtimestamp(seconds(), UTC)


class Clock:
    """What time it is here and in Beijing, where every rail of this sandbox keeps its days."""

    def now_utc(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        return now()

    def beijing_date(self, at: datetime | None = None) -> date:
        """Return the calendar date in Beijing at `at` (aware), or now."""
        return (at or self.now_utc()).astimezone(BEIJING).date()

    def now_ms(self) -> int:
        """Return the current moment in milliseconds since 1970."""
        return int(seconds() * 1000)


def date_of(ms: int) -> date:
    """Return the Beijing date of a moment in milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, BEIJING).date()


def rfc3339(ms: int) -> str:
    """Return a moment as Chinese rails write it: Beijing time, whole seconds, with the offset."""
    return datetime.fromtimestamp(ms // 1000, BEIJING).isoformat()


def wall_text(ms: int) -> str:
    """Return a moment as bills write it: Beijing time, `YYYY-MM-DD HH:MM:SS`."""
    return datetime.fromtimestamp(ms // 1000, BEIJING).strftime("%Y-%m-%d %H:%M:%S")
