"""When each step of a business date is due, and of which date it is the turn. Pure."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

from kernel.clock import BEIJING

DAY = timedelta(days=1)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)


class Step(StrEnum):
    """What is done for each business date, in the order of the day."""

    SETTLEMENT_TODAY = "settlement_today"  # T+0: on the date itself, half an hour before the bank's cut-off
    SETTLEMENT = "settlement"  # 结算: the batches that are due by schedule
    STATEMENTS = "statements"  # 取对账单: the bank's statements of the date
    RECONCILIATION = "reconciliation"  # 对账: a channel account's bill against the book
    BANK_RECONCILIATION = "bank_reconciliation"  # 银行对账: the bank's reports and bookings against the book
    PROOF = "proof"  # 日终证明: custody at every bank, certified


class Means(NamedTuple):
    """When a step is due, in Beijing, and what it does."""

    at: time | None  # on the day after its date; None: on the date itself, at the time that its subject names
    says: str


STEPS = {
    Step.SETTLEMENT_TODAY: Means(None, "make and send the batches of payees who are paid T+0"),
    Step.SETTLEMENT: Means(time(0, 10), "make and send the batches that are due by schedule"),
    Step.STATEMENTS: Means(time(6, 0), "fetch the bank's statements of the date"),
    Step.RECONCILIATION: Means(
        time(10, 30), "compare the channel's bill with the book, and its deposits with the bank"
    ),
    Step.BANK_RECONCILIATION: Means(time(10, 40), "compare the bank's reports and bookings with the book"),
    Step.PROOF: Means(time(11, 0), "prove the date, and sign its certificate"),
}


class Scope(NamedTuple):
    """For whom a step is done: a bank or channel account of a book; of the whole hub, book 0 and no subject.

    subject: of settlements, bank and currency (`citybank:CNY`), and of T+0 the time of day (`citybank:CNY@16:00`).
    """

    step: Step
    book: int
    subject: str

    @property
    def name(self) -> str:
        """The subject without a time."""
        return self.subject.partition("@")[0]


class Row(NamedTuple):
    """How far a step has come for one of those."""

    book: int
    step: str
    subject: str
    done_until: date  # the step was done for this business date, and for those before it
    ran_at: datetime | None  # when it was tried last, by itself or by hand
    tries: int  # for the date after that, in vain
    retry_at: datetime | None  # not before then is it tried again by itself
    failed_code: str | None
    failed_why: str | None

    @property
    def scope(self) -> Scope:
        return Scope(Step(self.step), self.book, self.subject)

    @property
    def next_date(self) -> date:
        """The date whose turn it is."""
        return self.done_until + DAY


class Missed(NamedTuple):
    """A date that a step could not be done for; it has gone on without it."""

    book: int
    step: str
    subject: str
    day: date
    tried_at: datetime
    code: str
    why: str

    @property
    def scope(self) -> Scope:
        return Scope(Step(self.step), self.book, self.subject)


def due_at(scope: Scope, day: date) -> datetime:
    """Return when a step is due for a business date."""
    at = STEPS[scope.step].at
    if at is None:
        return datetime.combine(day, time.fromisoformat(scope.subject.partition("@")[2]), BEIJING)
    return datetime.combine(day + DAY, at, BEIJING)


def next_at(row: Row) -> datetime:
    """Return when a step is next tried by itself: when it is due, and not before the wait since it failed is over."""
    at = due_at(row.scope, row.next_date)
    return at if row.retry_at is None else max(at, row.retry_at)


def wait(tries: int) -> timedelta:
    """Return how long a step that failed so many times in a row is left alone."""
    return min(FIRST_WAIT * (1 << min(tries - 1, 10)), LONGEST_WAIT)


def due(rows: Sequence[Row], now: datetime) -> list[Row]:
    """Return the rows whose step is to be tried now, the longest due first, each for its next date alone.

    A proof waits for statements of its date that are being fetched, and not for those that could not be had.
    """
    ready = sorted((row for row in rows if next_at(row) <= now), key=lambda row: (next_at(row), row[:3]))
    coming = [row.next_date for row in ready if row.step == Step.STATEMENTS]
    return [row for row in ready if row.step != Step.PROOF or all(row.next_date < day for day in coming)]


def again(missed: Sequence[Missed], now: datetime) -> list[Missed]:
    """Return the dates that are to be tried again now, one of each scope, the oldest first."""
    found: dict[Scope, Missed] = {}
    for one in sorted(missed, key=lambda one: (one.day, one[:3])):
        if one.tried_at + LONGEST_WAIT <= now:
            found.setdefault(one.scope, one)
    return list(found.values())


def late_s(row: Row, now: datetime) -> float:
    """Return for how many seconds a step has been due; 0 where it is not."""
    return max(0.0, (now - due_at(row.scope, row.next_date)).total_seconds())
