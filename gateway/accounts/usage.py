"""How much a channel account has taken today and this month: what tiers, quotas and limits go by.

Counted from the books, not on the payment path: a process reads which captures the event journal has gained since it
looked last, at most once a second and only for merchants whose terms ask for it. So what is told is a second old, and
lacks what is on its way just then: a limit may be overrun by what one second takes, never by more. The first question
in a process reads the month so far, about 8 µs a capture; those after it read what is new.
"""

from collections import defaultdict
from datetime import date, datetime, timedelta

from gateway.accounts.store import Captured, captured_between, last_event_before
from gateway.accounts.terms import NOTHING_USED, Used, month_of
from kernel.clock import BEIJING, business_date
from kernel.db import Connection
from ledger import accounts
from streams.store import last_event

# A capture is of the channel's day; the hub may have recorded it shortly before midnight by its own clock.
_SLACK = timedelta(hours=1)
_STEP = 50_000  # events read in one statement


class _OfBook:
    """What one merchant's accounts have captured since the month began."""

    def __init__(self, since: date) -> None:
        self.since = since
        self.seq = -1  # of the last event read; below 0: none yet
        self.days: dict[tuple[str, date], tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.months: dict[tuple[str, date], int] = defaultdict(int)

    def take(self, found: Captured) -> None:
        minor, count = self.days[found.ledger_account, found.business_date]
        self.days[found.ledger_account, found.business_date] = (
            minor + found.captured_minor,
            count + found.captured_count,
        )
        self.months[found.ledger_account, found.business_date.replace(day=1)] += found.captured_minor


class Usage:
    """What the channel accounts of every merchant of this process have captured."""

    def __init__(self) -> None:
        self._of_book: dict[int, _OfBook] = {}

    def used(self, book: int, account: str, currency: str, now: datetime) -> Used:
        """Return what an account has taken by Beijing's day and month; nothing before the first `refresh`."""
        known = self._of_book.get(book)
        if known is None:
            return NOTHING_USED
        name = accounts.channel(account, currency)
        minor, count = known.days.get((name, business_date(now)), (0, 0))
        return Used(minor, count, known.months.get((name, month_of(now)), 0))

    async def refresh(self, connection: Connection, book: int, now: datetime) -> None:
        """Read what the book has captured since the last time; the first time, since the month began."""
        month, known = month_of(now), self._of_book.get(book)
        if known is None or known.since != month:
            known = self._of_book[book] = _OfBook(month)
        last = await last_event(connection, book)
        if known.seq < 0:
            begins = datetime(month.year, month.month, 1, tzinfo=BEIJING) - _SLACK
            first = await last_event_before(connection, book, begins, last)
            known.seq = max(known.seq, first)
        while (after := known.seq) < last:
            until = min(last, after + _STEP)
            found = await captured_between(connection, book, after, until)
            if known.seq != after:
                continue  # somebody else in this process asked at the same time, and has counted these
            known.seq = until
            for captured in found:
                known.take(captured)
