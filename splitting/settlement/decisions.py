"""What a person's decisions about payouts and bookings bring about, each in the batch that records it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import orjson

from cases import Case, Effect
from kernel.errors import Conflict, Rejected
from kernel.work import Need, Work
from ledger.posting import ENTRIES
from splitting import states
from splitting.settlement.deposits import UNCLEAR, UNIDENTIFIED, book_deposit, deposit_needs, unidentified
from splitting.settlement.instructions import IN_DOUBT, DecideInstruction
from splitting.tables import INSTRUCTIONS


@dataclass(frozen=True, slots=True)
class DecidePayout:
    """Book a line that was in doubt as what a person found out at the bank: paid, or not paid and owed again."""

    paid: bool

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from self._command(case).needs(work)

    def apply(self, work: Work, case: Case) -> None:
        line = work.get(INSTRUCTIONS, (case.book, case.about))
        if line.status != states.Instruction.IN_TRANSIT:
            raise Conflict("instruction_decided", f"{line.id} is now {line.status}; nothing was changed")
        self._command(case).apply(work)

    def _command(self, case: Case) -> DecideInstruction:
        reason = None if self.paid else "the bank says that it was not paid"
        return DecideInstruction(case.book, case.about, self.paid, reason)


class BookDeposit:
    """Book what a notice told of and could not be told from another booking: it is one more."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        facts = orjson.loads(case.facts)
        yield from deposit_needs(case.book, facts["bank"], facts["channel_account"], facts["currency"])
        yield ENTRIES, (case.book, case.about)

    def apply(self, work: Work, case: Case) -> None:
        facts = orjson.loads(case.facts)
        told = {name: value for name, value in facts.items() if name not in ("notice", "cannot_be_told_from")}
        day = date.fromisoformat(facts["business_date"])
        book_deposit(work, case.book, case.about, case.about, told, day)


class BookUnidentified:
    """Book what nothing named on the channel account that a person names, as if the notice had."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from unidentified(case).needs(work)

    def apply(self, work: Work, case: Case) -> None:
        if not orjson.loads(case.facts)["at_pool"]:
            raise Rejected(
                "not_the_pool_account",
                "it was booked on another account than the pool account, into which channels pay",
            )
        unidentified(case).apply(work)


EFFECTS: Mapping[tuple[str, str], Effect] = {
    (IN_DOUBT, "paid"): DecidePayout(paid=True),
    (IN_DOUBT, "not_paid"): DecidePayout(paid=False),
    (UNCLEAR, "another"): BookDeposit(),
    (UNIDENTIFIED, "book"): BookUnidentified(),
}
