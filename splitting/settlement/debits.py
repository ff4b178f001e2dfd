"""Debits by which a bank carries out a line or a withdrawal: each is noted with it, and a second one is a case.

What comes back of what was debited twice is nobody's return by itself: it may undo the debit that was too many.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from channels.banks import Entry
from kernel.work import BOOKS, Need, Work
from ledger.posting import ENTRIES
from splitting.settlement.deposits import ApplyDeposit
from splitting.settlement.instructions import DecideInstruction
from splitting.tables import INSTRUCTIONS, Instruction

AGAIN = "debited_again"  # the fact of a debit's case that names the line which another debit had paid
BATCH = "batch"  # the fact of a booking's case that says which batch it books as one, or a part of which
BY_PARTS = "parts"  # instead of a debit's mark, of a line that such parts have paid
_TWICE = "twice"  # among a line's debits, once there was a second
_MOST = 12  # marks kept of one line: notices that tell of a debit without a number again and again


def mark_of(entry: Entry) -> str:
    """Return by what a debit is told from a second one of its line: how it was told of, and which it is.

    Notices and statements tell of the same bookings, and a bank may number those differently in each: only what is told
    of in the same way is compared. One without the bank's number is told only from others of the very same notice, or
    of the statement of the same day.
    """
    how = "notice" if entry.notice else "statement"
    if entry.has_bank_ref:
        return f"{how}:{_short(entry.raw_ref)}"
    return f"{how}.{_short(entry.notice or entry.booked_on.isoformat())}:{_short(entry.booking)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def with_debit(debits: str, mark: str) -> tuple[str, bool]:
    """Return the debits of a line with one more, as they are kept; and whether it is a second one of the line."""
    marks = debits.split()
    if mark in marks:
        return debits, False
    how, _, _ = mark.partition(":")
    if any(one.startswith(f"{how}:") for one in marks):
        return debits if _TWICE in marks else " ".join([*marks, _TWICE]), True
    return " ".join([*marks, mark]) if len(marks) < _MOST else debits, False


def debited_twice(debits: str) -> bool:
    """Tell whether the bank has debited a line, or a withdrawal, a second time."""
    return _TWICE in debits.split()


@dataclass(frozen=True, slots=True)
class ApplyDebit:
    """Note a debit of a line; where it is the bank's word (pays), take it for that. Returns the line.

    booking: the debit, as a deposit of nobody's. mark: as mark_of returns it. The same debit again changes nothing; a
    second one of a line is a case, as the bank may have paid it twice.
    """

    line_id: str
    booking: ApplyDeposit
    mark: str
    pays: bool = True

    @property
    def book(self) -> int:
        return self.booking.book

    @property
    def _paid(self) -> DecideInstruction:
        return DecideInstruction(self.book, self.line_id, True, None, self.booking.business_date, self.mark)

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield ENTRIES, (self.book, f"{self.line_id}:paid")
        yield from self.booking.needs(work)
        yield from self._paid.needs(work)

    def apply(self, work: Work) -> Instruction:
        line = work.get(INSTRUCTIONS, (self.book, self.line_id))
        there = work.find(ENTRIES, (self.book, f"{self.line_id}:paid"))
        known = line.debits
        if not known and there is not None:  # of before debits were kept with their lines: by the booking that paid it
            first = there.posting.removeprefix(f"{self.line_id}@")
            known = first if ":" in first else ""
        debits, second = with_debit(known, self.mark)
        if debits != line.debits:
            work.put(INSTRUCTIONS, line._replace(debits=debits))
        if self.pays and there is None and not second:
            return self._paid.apply(work)
        if second:
            self.booking.apply(work)
        return work.get(INSTRUCTIONS, (self.book, self.line_id))
