"""What becomes of a recall when its payment is decided, and what is held 冻结 of a recalled line that comes back.

Every word that decides a line goes through `noticed`: a report, a booking, a person, a return. So a recall knows that
it was overtaken, and nothing that two people took for wrong is paid again by itself.
"""

from collections.abc import Iterable

import cases
from kernel.clock import business_date
from kernel.states import advance
from kernel.work import Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import Step
from splitting import states
from splitting.recalls.objects import recall_payload
from splitting.shares.sharing import owed_account
from splitting.tables import RECALLS, Instruction, Payee, Recall
from streams import publish

HELD = "payout_recalled"


def needs(work: Work, book: int, about: str) -> Iterable[Need]:
    """Name the rows that `noticed` and `overtaken` look at, besides those by which the payment is decided."""
    yield RECALLS, (book, about)
    if work.knows(RECALLS, (book, about)) and work.find(RECALLS, (book, about)) is not None:
        yield from cases.needs(book, HELD, about)


def overtaken(work: Work, book: int, about: str, *, paid: bool) -> Recall | None:
    """Note that a payment was decided, whose bank may not have answered its recall; return it, None: it has none.

    One that was not paid, or came back, is asked for no more; of one that was paid the bank still has to answer.
    """
    row = work.find(RECALLS, (book, about))
    if row is None:
        return None
    return moved(work, row._replace(unsent=row.unsent and paid), states.RecallEvent.OVERTAKEN)


def noticed(work: Work, line: Instruction, payee: Payee) -> None:
    """Take in that a line was decided: where it was recalled and its payee is owed again, that is held, and a case."""
    paid = line.status == states.Instruction.PAID
    if overtaken(work, line.book, line.id, paid=paid) is None or paid:
        return
    owed, sub = owed_account(payee), accounts.sub_account(line.payee_id, line.currency)
    open_account(work, line.book, sub)
    rule = rule_of(payee)
    hold = Transfer(hold_id(line), rule, owed, sub, line.amount_minor, line.currency, Step.HOLD)
    day = business_date(work.now)
    post_expected(work, line.book, f"rcl:{hold.id}", [hold], business_date=day, fresh=True)
    cases.open_case(
        work, line.book, HELD, line.id, amount_minor=line.amount_minor, currency=line.currency,
        facts={"settlement": line.settlement_id, "line_is": line.status},
    )  # fmt: skip


def hold_id(line: Instruction) -> str:
    """Return by which entry what is owed again of a line is held: of one that was not paid, or that came back.

    It may be both, one after the other: people may book as paid what was taken for refused, and that may come back.
    """
    return f"{line.id}:{'held' if line.status == states.Instruction.REFUSED else 'back'}"


def rule_of(payee: Payee) -> str:
    return "commission_recall" if payee.kind == "platform" else "recall"


def moved(work: Work, row: Recall, event: states.RecallEvent) -> Recall:
    """Move a recall by an event, keep what else is new of it, and tell of the move, if it is one."""
    before = states.Recall(row.status)
    move = states.RECALL[before, event]
    status = advance(states.RECALL, before, event)
    row = row._replace(status=status.value, updated_at=work.now)
    work.put(RECALLS, row)
    if move.tells is not None:
        publish(work, row.book, move.tells, row.about, recall_payload(row))
    return row
