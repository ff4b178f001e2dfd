"""What people decide of a recalled line that is owed again, and held: to pay it, or that the bank paid it after all."""

from collections.abc import Iterable, Mapping

import cases
from cases import Case, Effect
from kernel.clock import business_date
from kernel.errors import Conflict
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, post_expected
from ledger.posting import ACCOUNTS, HOLDS, Step
from splitting import states
from splitting.objects import instruction_payload
from splitting.recalls.held import HELD, hold_id, rule_of
from splitting.settlement import limits
from splitting.settlement.instructions import CONTRADICTED, find_use, use_needs
from splitting.shares.sharing import owed_account
from splitting.tables import ACCOUNT_USES, INSTRUCTIONS, PAYEES, SETTLEMENTS, Instruction, Payee
from streams import publish


class Release:
    """Hold a recalled line's money no more: its payee is paid it with the next batch."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _needs(work, case)

    def apply(self, work: Work, case: Case) -> None:
        _end(work, case, Step.VOID_HOLD)


class PaidAfterAll:
    """Book a recalled line as paid that was taken for refused: the bank has paid it, and says so.

    Raises Conflict (recalled_money_moved) where it was paid before and came back, or a refund has taken back from its
    payee what was held.
    """

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _needs(work, case)
        yield from cases.needs(case.book, CONTRADICTED, case.about)
        line = work.get(INSTRUCTIONS, (case.book, case.about)) if _knows(work, case) else None
        if line is not None:
            yield SETTLEMENTS, (case.book, line.settlement_id)

    def apply(self, work: Work, case: Case) -> None:
        line = work.get(INSTRUCTIONS, (case.book, case.about))
        payee = work.get(PAYEES, (case.book, line.payee_id))
        if line.status != states.Instruction.REFUSED:
            why = f"{line.id} is {line.status}: it was paid once, and came back; nothing was changed"
            raise Conflict("recalled_money_moved", why)
        if work.get(ACCOUNTS, (case.book, owed_account(payee))).balance < line.amount_minor:
            why = f"a refund has taken back what was held of {line.id}; release it, and have the bank get it back"
            raise Conflict("recalled_money_moved", why)
        _end(work, case, Step.POST_HOLD)
        status = advance(states.INSTRUCTION, states.Instruction.REFUSED, states.InstructionEvent.PAID_AFTER_ALL)
        line = line._replace(status=status.value, reason=None, bank_date=business_date(work.now), decided_at=work.now)
        work.put(INSTRUCTIONS, line)
        settlement = work.get(SETTLEMENTS, (case.book, line.settlement_id))
        paid = settlement.paid_minor + line.amount_minor
        work.put(SETTLEMENTS, settlement._replace(paid_minor=paid, updated_at=work.now))
        if payee.account_class is not None:
            day = settlement.execution_date
            use = limits.sent(find_use(work, payee), case.book, payee.id, day, line.amount_minor)
            work.put(ACCOUNT_USES, limits.arrived(use, line.amount_minor))
        publish(work, case.book, "settlement.line_paid", line.id, instruction_payload(line))
        cases.close_case(work, case.book, CONTRADICTED, line.id, why="people have booked it as paid")


def _knows(work: Work, case: Case) -> bool:
    return work.knows(INSTRUCTIONS, (case.book, case.about))


def _needs(work: Work, case: Case) -> Iterable[Need]:
    yield BOOKS, (case.book,)
    yield INSTRUCTIONS, (case.book, case.about)
    if not _knows(work, case):
        return
    line = work.get(INSTRUCTIONS, (case.book, case.about))
    yield HOLDS, (case.book, hold_id(line))
    yield PAYEES, (case.book, line.payee_id)
    yield ACCOUNTS, (case.book, accounts.sub_account(line.payee_id, line.currency))
    if work.knows(PAYEES, (case.book, line.payee_id)):
        payee = work.get(PAYEES, (case.book, line.payee_id))
        yield ACCOUNTS, (case.book, owed_account(payee))
        yield from use_needs(payee)


def _end(work: Work, case: Case, step: Step) -> None:
    """Post or void what is held of a line."""
    line: Instruction = work.get(INSTRUCTIONS, (case.book, case.about))
    payee: Payee = work.get(PAYEES, (case.book, line.payee_id))
    sub = accounts.sub_account(line.payee_id, line.currency)
    held = hold_id(line)
    ident = f"{line.id}:paid" if step is Step.POST_HOLD else f"{held}:released"
    transfer = Transfer(ident, rule_of(payee), owed_account(payee), sub, line.amount_minor, line.currency, step, held)
    day = business_date(work.now)
    post_expected(work, case.book, f"rcl:{ident}", [transfer], business_date=day, fresh=True)


EFFECTS: Mapping[tuple[str, str], Effect] = {
    (HELD, "release"): Release(),
    (HELD, "paid"): PaidAfterAll(),
}
