"""The list of balance transactions, made from the rows of days' bills."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from sandbox.acquirer import Acquirer, BillRow, Merchant
from sandbox.clock import BEIJING, date_of
from sandbox.stripe import objects

ONE_DAY = timedelta(days=1)


class Balance:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def newest_first(
        self, merchant: Merchant, since: int | None, before: int | None, *, source: bool
    ) -> list[dict[str, Any]]:
        """Return the transactions booked in [since, before), seconds since 1970; None: from the first, to the last."""
        found = [
            row
            for day in self._days(merchant, since, before)
            for row in self._of.bills.rows(merchant, day)
            if (since is None or since <= _booked(row, day)) and (before is None or _booked(row, day) < before)
        ]
        return [objects.row_transaction(row, source=source) for row in reversed(found)]

    def the_day(self, since: int | None, before: int | None) -> date | None:
        """Return the Beijing day that a range is, to the second; None where it is none."""
        if since is None or before != since + 86_400 or _start(date_of(since * 1000)) != since:
            return None
        return date_of(since * 1000)

    def now(self, merchant: Merchant) -> datetime:
        """Return what time it is in this account's books: a day that was closed by hand is over there."""
        open_since = self._of.days.closed_through(merchant.merchant) + ONE_DAY
        return max(self._of.ctx.clock.now_utc(), datetime.combine(open_since, time(), BEIJING))

    def _days(self, merchant: Merchant, since: int | None, before: int | None) -> Iterator[date]:
        last = max(self._of.ctx.clock.beijing_date(), self._of.days.closed_through(merchant.merchant) + ONE_DAY)
        store = self._of.ctx.store
        first_row = store.one(
            "SELECT min(bill_date) AS day FROM acquirer_flow WHERE rail = 'stripe' AND merchant = ?", merchant.merchant
        )
        first = last if first_row is None or first_row["day"] is None else date.fromisoformat(first_row["day"])
        if since is not None:
            first = date_of(since * 1000)
        if before is not None:
            last = min(last, date_of((before - 1) * 1000))
        while first <= last:
            yield first
            first += ONE_DAY


def _booked(row: BillRow, day: date) -> int:
    """Return when a row counts: when it happened, or at the start of its bill's day where that was another day.

    That is so after a day was closed by hand before its end: what follows belongs to the next.
    """
    at = objects.seconds(row.at_ms)
    return at if date_of(row.at_ms) == day else _start(day)


def _start(day: date) -> int:
    return int(datetime.combine(day, time(), BEIJING).timestamp())
