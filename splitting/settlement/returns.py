"""Payouts that come back 退票: the bank paid a line, and days later its money is in the pool account again."""

from collections.abc import Iterable
from dataclasses import dataclass

import cases
from kernel.errors import Rejected
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, post_expected
from ledger.posting import ACCOUNTS, ENTRIES
from splitting import states
from splitting.objects import instruction_payload
from splitting.recalls import held
from splitting.settlement import limits
from splitting.settlement.debits import debited_twice
from splitting.settlement.deposits import UNIDENTIFIED, ApplyDeposit
from splitting.settlement.instructions import CONTRADICTED, find_use, use_needs
from splitting.shares.sharing import owed_account
from splitting.tables import ACCOUNT_USES, INSTRUCTIONS, PAYEES, SETTLEMENTS, Instruction
from streams import publish


@dataclass(frozen=True, slots=True)
class ApplyReturn:
    """Book a line that came back: its payee is owed it again, its sub-account has it no more. Returns the line.

    booking: how the bank tells of it, as a deposit of nobody's. reason: the bank's code. The same booking again changes
    nothing. A second one for the same line, or one for a line that was not paid, books nothing and is a case.
    unsure: the bank has debited the line twice, so nobody knows which of the two comes back: then it is a case as well.
    by_person: somebody says so, and the bank does not: then such is refused.
    Raises Rejected (line_not_paid, line_amount_differs) where by_person.
    """

    line_id: str
    booking: ApplyDeposit
    reason: str | None
    by_person: bool = False
    unsure: bool = False

    @property
    def book(self) -> int:
        return self.booking.book

    @property
    def _id(self) -> str:
        return f"{self.line_id}:returned"

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from self.booking.needs(work)
        yield ENTRIES, (self.book, self._id)
        yield INSTRUCTIONS, (self.book, self.line_id)
        if not work.knows(INSTRUCTIONS, (self.book, self.line_id)):
            return
        line = work.find(INSTRUCTIONS, (self.book, self.line_id))
        if line is None:
            return
        yield from cases.needs(self.book, CONTRADICTED, line.id)
        yield SETTLEMENTS, (self.book, line.settlement_id)
        yield PAYEES, (self.book, line.payee_id)
        yield ACCOUNTS, (self.book, accounts.sub_account(line.payee_id, line.currency))
        if work.knows(PAYEES, (self.book, line.payee_id)):
            payee = work.get(PAYEES, (self.book, line.payee_id))
            yield ACCOUNTS, (self.book, owed_account(payee))
            yield from use_needs(payee)
        yield from held.needs(work, self.book, line.id)

    def apply(self, work: Work) -> Instruction:
        line = work.find(INSTRUCTIONS, (self.book, self.line_id))
        if line is None:
            raise Rejected("no_such_line", f"there is no line {self.line_id}; see `sluice settlement show`")
        told = f"ret:{self.booking.about}"
        there = work.find(ENTRIES, (self.book, self._id))
        if there is not None and there.posting == told:
            return line
        if self.by_person:
            self._check(line)
        elif self.booking.decided(work):
            return line  # a person has said what it is
        event = states.InstructionEvent.RETURNED
        unsure = self.unsure or (debited_twice(line.debits) and not self.by_person)
        if unsure or there is not None or (states.Instruction(line.status), event) not in states.INSTRUCTION:
            self.booking.apply(work)
            return line
        status = advance(states.INSTRUCTION, states.Instruction(line.status), event)
        payee = work.get(PAYEES, (self.book, line.payee_id))
        rule = "commission_returned" if payee.kind == "platform" else "settlement_returned"
        sub = accounts.sub_account(line.payee_id, line.currency)
        transfer = Transfer(self._id, rule, sub, owed_account(payee), line.amount_minor, line.currency)
        day = self.booking.business_date
        post_expected(work, self.book, told, [transfer], business_date=day, fresh=True)
        line = line._replace(
            status=status.value, returned_at=work.now, returned_on=day, return_reason=(self.reason or "")[:200] or None
        )
        work.put(INSTRUCTIONS, line)
        settlement = work.get(SETTLEMENTS, (self.book, line.settlement_id))
        if (use := find_use(work, payee)) is not None:
            use = limits.came_back(use, settlement.execution_date, line.amount_minor, on_its_way=False)
            work.put(ACCOUNT_USES, use)
        returned = settlement.returned_minor + line.amount_minor
        work.put(SETTLEMENTS, settlement._replace(returned_minor=returned, updated_at=work.now))
        publish(work, self.book, "settlement.line_returned", line.id, instruction_payload(line))
        held.noticed(work, line, payee)
        if not self.by_person:
            why = f"it is {line.id}, which came back"
            cases.close_case(work, self.book, UNIDENTIFIED, self.booking.about, why=why)
        cases.close_case(work, self.book, CONTRADICTED, line.id, why="it was paid and came back")
        return line

    def _check(self, line: Instruction) -> None:
        """Raise Rejected where a booking cannot be the return of this line."""
        if line.status != states.Instruction.PAID:
            raise Rejected("line_not_paid", f"{line.id} is {line.status}: only what was paid comes back")
        if (self.booking.amount_minor, self.booking.currency) != (line.amount_minor, line.currency):
            raise Rejected("line_amount_differs", f"{line.id} is of another amount than what came back")
