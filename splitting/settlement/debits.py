"""Debits by which a bank says that it paid a line, where its booking is its word: a second one of a line is a case."""

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


def mark_of(entry: Entry) -> str:
    """Return by what a debit is told from a second one of its line; '' where the bank gives it no number.

    Notices and statements tell of the same bookings, and a bank may number those differently in each: only what is told
    of in the same way is compared.
    """
    if not entry.has_bank_ref:
        return ""
    return f"{'notice' if entry.notice else 'statement'}:{hashlib.sha256(entry.raw_ref.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class ApplyDebit:
    """Take a debit for the bank's word that it paid a line. Returns the line.

    booking: the debit, as a deposit of nobody's. mark: as mark_of returns it. The same debit again changes nothing; a
    second one of a line that another debit has paid is a case, as the bank may have paid it twice.
    """

    line_id: str
    booking: ApplyDeposit
    mark: str

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
        there = work.find(ENTRIES, (self.book, f"{self.line_id}:paid"))
        if there is None:
            return self._paid.apply(work)
        first = there.posting.removeprefix(f"{self.line_id}@")  # the line's id alone where a report had paid it
        told, _, _ = self.mark.partition(":")
        if told and first.startswith(f"{told}:") and first != self.mark:
            self.booking.apply(work)
        return work.get(INSTRUCTIONS, (self.book, self.line_id))
