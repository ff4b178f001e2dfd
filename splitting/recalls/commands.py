"""Asking for payments back 追回, step by step: asked for by two people, given to the bank, answered by it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import orjson

import cases
from channels.banks import RecallVerdict, recalls_payments
from kernel.errors import Conflict, NotFound, Rejected
from kernel.work import BOOKS, Need, Work
from splitting import states
from splitting.recalls import rules
from splitting.recalls.held import moved
from splitting.recalls.objects import recall_payload
from splitting.settlement.instructions import CONTRADICTED, REST, DecideInstruction
from splitting.tables import (
    BANK_LINKS,
    INSTRUCTIONS,
    RECALLS,
    SETTLEMENTS,
    WITHDRAWALS,
    BankLink,
    Instruction,
    Recall,
    Settlement,
    Withdrawal,
)
from splitting.withdrawals.commands import DecideWithdrawal
from splitting.withdrawals.rules import PREFIX
from streams import publish

_LINE = frozenset({states.Instruction.IN_TRANSIT, states.Instruction.PAID})
_AT_BANK = frozenset({states.Batch.SENT, states.Batch.FINISHED})
_WITHDRAWAL = frozenset({states.Withdrawal.SENT, states.Withdrawal.PAID})
_VERDICTS = {
    RecallVerdict.ACCEPTED: states.RecallEvent.ACCEPTED,
    RecallVerdict.REFUSED: states.RecallEvent.REFUSED,
    RecallVerdict.PENDING: states.RecallEvent.PENDING,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is said of a recall when it is asked for."""

    reason: str  # one of RECALL_REASONS
    note: str
    by: str  # a person's name


@dataclass(frozen=True, slots=True)
class RecallLines:
    """Ask the bank for lines of a batch back. Returns their recalls: those under way as they are.

    One that the bank has refused is asked for anew. Raises NotFound (no_such_settlement), Rejected (no_such_line,
    recall_wrong, recall_not_offered), Conflict (recall_not_possible) where the bank has no such line any more, or is
    not known to have it; then nothing is asked for.
    """

    book: int
    settlement_id: str
    lines: Sequence[str]
    asked: Asked

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SETTLEMENTS, (self.book, self.settlement_id)
        for line in self.lines:
            yield INSTRUCTIONS, (self.book, line)
            yield RECALLS, (self.book, line)
        if work.knows(SETTLEMENTS, (self.book, self.settlement_id)):
            batch = work.find(SETTLEMENTS, (self.book, self.settlement_id))
            if batch is not None:
                yield BANK_LINKS, (self.book, batch.bank)

    def apply(self, work: Work) -> Sequence[Recall]:
        rules.check(self.asked.reason, self.asked.note)
        batch = work.find(SETTLEMENTS, (self.book, self.settlement_id))
        if batch is None:
            raise NotFound("no_such_settlement", f"there is no settlement {self.settlement_id[:60]!r}")
        check_offered(work.find(BANK_LINKS, (self.book, batch.bank)), batch.bank)
        found = []
        for ident in self.lines:
            line = work.find(INSTRUCTIONS, (self.book, ident))
            if line is None or line.settlement_id != batch.id:
                raise Rejected("no_such_line", f"{batch.id} has no line {ident[:60]!r}", param="line")
            check_line(line, batch)
            amount = line.amount_minor, line.currency
            found.append(_asked(work, self.book, batch.bank, line.id, amount, self.asked))
        return found


@dataclass(frozen=True, slots=True)
class RecallWithdrawal:
    """Ask the bank for a withdrawal back. Returns its recall. Raises as RecallLines, NotFound (no_such_withdrawal)."""

    book: int
    withdrawal_id: str
    asked: Asked

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield WITHDRAWALS, (self.book, self.withdrawal_id)
        yield RECALLS, (self.book, self.withdrawal_id)
        if work.knows(WITHDRAWALS, (self.book, self.withdrawal_id)):
            row = work.find(WITHDRAWALS, (self.book, self.withdrawal_id))
            if row is not None:
                yield BANK_LINKS, (self.book, row.bank)

    def apply(self, work: Work) -> Recall:
        rules.check(self.asked.reason, self.asked.note)
        row = work.find(WITHDRAWALS, (self.book, self.withdrawal_id))
        if row is None:
            raise NotFound("no_such_withdrawal", f"there is no withdrawal {self.withdrawal_id[:60]!r}")
        check_offered(work.find(BANK_LINKS, (self.book, row.bank)), row.bank)
        check_withdrawal(row)
        return _asked(work, self.book, row.bank, row.id, (row.amount_minor, row.currency), self.asked)


def check_line(line: Instruction, batch: Settlement) -> None:
    """Raise Conflict (recall_not_possible) for a line that its bank has no more, or is not known to have."""
    if line.status not in _LINE or batch.status not in _AT_BANK:
        why = f"{line.id} is {line.status}, and its batch {batch.status}: only what a bank has is recalled"
        raise Conflict("recall_not_possible", why)


def check_withdrawal(row: Withdrawal) -> None:
    """Raise Conflict (recall_not_possible) for a withdrawal that its bank has no more, or is not known to have."""
    if row.status not in _WITHDRAWAL:
        raise Conflict("recall_not_possible", f"{row.id} is {row.status}: only what a bank has is recalled")


def check_offered(link: BankLink | None, bank: str) -> None:
    """Raise Rejected (recall_not_offered) for a bank that takes no recalls."""
    if link is None or not recalls_payments(orjson.loads(link.settings)):
        why = f"{bank} takes no recalls 追回 by its link: ask the bank's people, and decide what they say"
        raise Rejected("recall_not_offered", why)


def _asked(work: Work, book: int, bank: str, about: str, amount: tuple[int, str], asked: Asked) -> Recall:
    there = work.find(RECALLS, (book, about))
    if there is not None and there.status != states.Recall.REFUSED:
        return there
    number = 1 if there is None else there.number + 1
    row = Recall(
        book, about, bank, number, *amount, asked.reason, asked.note, states.Recall.REQUESTED.value, True, None, None,
        asked.by, work.now, work.now,
    )  # fmt: skip
    if there is not None:
        return moved(work, row._replace(status=there.status), states.RecallEvent.ASKED_AGAIN)
    work.put(RECALLS, row)
    publish(work, book, "recall.requested", about, recall_payload(row))
    return row


@dataclass(frozen=True, slots=True)
class GiveRecall:
    """Note what a bank made of the request itself: it has it, or takes no such (code). Returns the recall.

    number: the how-manieth it was; a later one is left as it is. A request that was answered stays answered.
    """

    book: int
    about: str
    number: int
    code: str | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield RECALLS, (self.book, self.about)

    def apply(self, work: Work) -> Recall:
        row = work.get(RECALLS, (self.book, self.about))
        if row.number != self.number or not row.unsent:
            return row
        taken = self.code is None
        row = row._replace(unsent=False, code=row.code if taken else (self.code or "")[:300])
        return moved(work, row, states.RecallEvent.TAKEN if taken else states.RecallEvent.NOT_TAKEN)


@dataclass(frozen=True, slots=True)
class AnswerRecall:
    """Take in a bank's signed answer to a recall. Returns the recall.

    An accepted one ends a payment that is on its way as refused: a line goes back to what is owed, and is held
    (held.py); a withdrawal is the payee's again. Where the payment was paid, nothing is booked: the money comes back as
    a return 退票. A line in doubt stays so. The same answer again changes nothing; one that contradicts an earlier one
    changes nothing but opens a case. number: the how-manieth recall it answers; one before the last was refused, and a
    later word on it says nothing of the last. code: the bank's reason. day: the bank's.
    """

    book: int
    about: str
    number: int
    verdict: RecallVerdict
    code: str | None
    day: date

    @property
    def _ends(self) -> DecideInstruction | DecideWithdrawal:
        if self.about.startswith(PREFIX):
            return DecideWithdrawal(self.book, self.about, False, None, self.day)
        return DecideInstruction(self.book, self.about, False, None, self.day)

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield RECALLS, (self.book, self.about)
        yield from cases.needs(self.book, CONTRADICTED, self.about)
        yield from self._ends.needs(work)

    def apply(self, work: Work) -> Recall:
        row = work.get(RECALLS, (self.book, self.about))
        event = _VERDICTS[self.verdict]
        if self.number < row.number:
            if self.verdict is RecallVerdict.ACCEPTED:
                _contradicted(work, row, f"recall {self.number}, which was refused, is {self.verdict} ({self.code})")
            return row
        if (states.Recall(row.status), event) not in states.RECALL:
            _contradicted(work, row, f"the recall is {self.verdict} ({self.code})")
            return row
        final = self.verdict is not RecallVerdict.PENDING
        if final or row.status in (states.Recall.REQUESTED, states.Recall.SENT, states.Recall.PENDING):
            code = None if self.code is None else self.code[:300]
            row = row._replace(code=code, answered_on=self.day, unsent=False)
        row = moved(work, row, event)
        if self.verdict is RecallVerdict.ACCEPTED and self._on_its_way(work):
            replace(self._ends, reason=f"recalled ({row.reason})").apply(work)
        return row

    def _on_its_way(self, work: Work) -> bool:
        if self.about.startswith(PREFIX):
            return work.get(WITHDRAWALS, (self.book, self.about)).bank_date is None
        return work.get(INSTRUCTIONS, (self.book, self.about)).status == states.Instruction.IN_TRANSIT


def _contradicted(work: Work, row: Recall, said: str) -> None:
    facts: Mapping[str, Any] = {"was": f"the recall is {row.status}", "reason": row.code, "then": said}
    cases.open_case(
        work, row.book, CONTRADICTED, row.about,
        amount_minor=row.amount_minor, currency=row.currency, facts=facts, rest=REST,
    )  # fmt: skip
