"""Settlement 结算: one batch for each bank, business date and currency; one instruction for each payee in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import orjson

import cases
from channels.banks import form
from kernel.clock import BEIJING, business_date
from kernel.errors import Broken, Rejected
from kernel.ids import base36
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS
from splitting import states
from splitting.accounts.freezing import frozen_by_bank
from splitting.objects import instruction_payload, settlement_payload
from splitting.recalls import held
from splitting.settlement import limits
from splitting.shares.sharing import owed_account
from splitting.store import Owed
from splitting.tables import (
    ACCOUNT_USES,
    BANK_LINKS,
    INSTRUCTIONS,
    PAYEES,
    PAYOUT_BANKS,
    SETTLEMENTS,
    AccountUse,
    BankLink,
    Instruction,
    Payee,
    Settlement,
)
from streams import publish

IN_DOUBT, CONTRADICTED = "payout_in_doubt", "bank_contradicts_itself"
REFUSED_WHOLE = "settlement_refused"
EARLY = "_T0"  # at the end of the id of a batch that is made before its date is over
REST = timedelta(days=30)  # a file read again says the very same; so long after a decision it opens nothing


def settlement_id(book: int, bank: str, day: date, currency: str, *, early: bool = False) -> str:
    """Return the id of the one batch of a book, bank, business date and currency; also the MsgId at the bank (≤ 35).

    early: of the one that is made before the date is over.
    """
    return f"stl_{base36(book)}_{day:%Y%m%d}_{bank[:10]}_{currency}{EARLY if early else ''}"


def instruction_id(settlement: str, payee_id: str) -> str:
    """Return the number of a payee's line at its bank: unique, and found again from the bank's statement.

    At most 30 characters, which is what the narrowest field of a bank has.
    """
    book_and_day = settlement.removeprefix("stl_").split("_")
    mark = "x" if settlement.endswith(EARLY) else ""  # no payee's id has it
    return f"{book_and_day[0]}-{book_and_day[1][2:]}-{payee_id.removeprefix('pye_')[: 16 - len(mark)]}{mark}"


def written_as(link: BankLink | None) -> int:
    """Return how a new batch is written, by the bank's settings: Order.written_as, the same whenever it is sent."""
    return form({} if link is None else orjson.loads(link.settings))


def holder_of(link: BankLink | None) -> str | None:
    """Return whose pool account it is 户名, as the bank's settings have it; None where they do not say."""
    return None if link is None else orjson.loads(link.settings).get("account_holder")


@dataclass(frozen=True, slots=True)
class MakeSettlement:
    """Make the batch of one bank, business date and currency, and book its amounts in transit 在途.

    owed: what each payee at the bank is owed from business dates up to `business_date`, as `store.owed_until` read it.
    A payee is paid that, less what was taken from it since it was read, or what it has now, whichever is less: a refund
    after the cut-off is never paid out, nor is anything twice where two dates are settled at once. What its account at
    the bank may not take stays owed. A suspended payee has no line. Repeating it returns the batch as it is. Where
    nothing is to be paid there is no batch, and the date may have one later. Raises Rejected (date_not_over) before
    `not_before`.

    A batch of many is made in portions of its payees, in order of id: `after` is the last payee of the portion before,
    `upto` this one's last. Until the portion without `upto` is in, the batch is a draft. A portion that is not the next
    one changes nothing and returns the draft, which has how far it is.
    """

    book: int
    bank: str
    business_date: date
    execution_date: date  # the bank's day on which it is to be carried out
    currency: str
    owed: Sequence[Owed]
    not_before: datetime  # when the date is over for whoever is paid
    after: str = ""
    upto: str | None = None
    early: bool = False  # it pays what there is before the date is over; then the date has another batch besides

    @property
    def id(self) -> str:
        return settlement_id(self.book, self.bank, self.business_date, self.currency, early=self.early)

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SETTLEMENTS, (self.book, self.id)
        yield BANK_LINKS, (self.book, self.bank)
        yield ACCOUNTS, (self.book, accounts.in_transit(self.bank, self.currency))
        yield PAYOUT_BANKS, (self.book, self.bank)
        for owed in self.owed:
            yield PAYEES, (self.book, owed.payee_id)
            if work.knows(PAYEES, (self.book, owed.payee_id)):
                payee = work.get(PAYEES, (self.book, owed.payee_id))
                yield ACCOUNTS, (self.book, owed_account(payee))
                yield from use_needs(payee)

    def apply(self, work: Work) -> Settlement | None:
        there = work.find(SETTLEMENTS, (self.book, self.id))
        if there is not None and not there.instruction_count:
            there = None  # older versions kept batches of nothing
        if there is not None and (there.status != states.Batch.DRAFT or there.drafted_to != self.after):
            return there
        if work.now < self.not_before:
            raise Rejected(
                "date_not_over",
                f"business date {self.business_date} can be settled from "
                f"{self.not_before.astimezone(BEIJING):%Y-%m-%d %H:%M} in Beijing on: what happens until then belongs "
                "to it",
                param="business_date",
            )
        in_transit = accounts.in_transit(self.bank, self.currency)
        transfers, lines = [], []
        for owed in self.owed:
            payee = work.get(PAYEES, (self.book, owed.payee_id))
            if payee.bank == self.bank and payee.account_status != states.SubAccount.OPEN:
                continue  # it stays owed, until the payee has an account that is open
            if payee.bank != self.bank or payee.bank_account is None or payee.currency != self.currency:
                raise Broken("payee_elsewhere", f"{payee.id} has no {self.currency} account at {self.bank}")
            if payee.suspended_at is not None:
                continue  # it stays owed, and is in the next batch after it is resumed
            account = work.get(ACCOUNTS, (self.book, owed_account(payee)))
            recalled = account.debits_held  # is in no batch, of whichever date
            owed_minor = owed.minor - (account.debits - owed.debits) - recalled
            amount = min(owed_minor, account.available - owed.kept)
            amount = min(amount, _room(work, payee, self.execution_date, amount))
            if amount < owed.least:
                continue
            _count_sent(work, payee, self.execution_date, amount)
            line_id = instruction_id(self.id, payee.id)
            rule = "commission_sent" if payee.kind == "platform" else "settlement_sent"
            transfers.append(Transfer(f"{line_id}:sent", rule, account.name, in_transit, amount, self.currency))
            lines.append(_line(self, line_id, payee, payee.bank_account, amount))
        if not lines and there is None:
            return None
        if lines:
            open_account(work, self.book, in_transit)
            post_expected(work, self.book, self.id, transfers, business_date=self.business_date, fresh=True)
        link = work.find(BANK_LINKS, (self.book, self.bank))
        draft = there or Settlement(
            self.book, self.id, self.bank, self.business_date, self.execution_date, self.currency,
            states.Batch.DRAFT.value, 0, 0, 0, 0, work.now, work.now,
            written_as=written_as(link), debtor_name=holder_of(link),
        )  # fmt: skip
        settlement = self._with(work, draft, lines)
        work.put(SETTLEMENTS, settlement)
        for line in lines:  # after their batch, which they point to
            work.put(INSTRUCTIONS, line)
        if settlement.status != states.Batch.DRAFT:
            publish(work, self.book, "settlement.created", self.id, settlement_payload(settlement))
        return settlement

    def _with(self, work: Work, draft: Settlement, lines: Sequence[Instruction]) -> Settlement:
        """Return the batch with this portion's lines; it is a draft no more where no portion is missing."""
        total = draft.total_minor + sum(line.amount_minor for line in lines)
        count = draft.instruction_count + len(lines)
        status = states.Batch.DRAFT
        if self.upto is None:
            bank = work.find(PAYOUT_BANKS, (self.book, self.bank))
            limit = None if bank is None else bank.release_above_minor
            event = states.BatchEvent.MADE if limit is None or total <= limit else states.BatchEvent.MADE_LARGE
            status = advance(states.BATCH, status, event)
        return draft._replace(
            status=status.value, total_minor=total, instruction_count=count, open_count=count, updated_at=work.now,
            drafted_to=self.upto,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReleaseSettlement:
    """Have a batch sent that waits for a second person; one that was released stays as it is. Raises NotFound."""

    book: int
    settlement_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SETTLEMENTS, (self.book, self.settlement_id)

    def apply(self, work: Work) -> Settlement:
        return _moved(work, self.book, self.settlement_id, states.BatchEvent.RELEASED, "settlement.released")


@dataclass(frozen=True, slots=True)
class MarkSent:
    """Note that the bank has the batch; where it had refused it, that is over."""

    book: int
    settlement_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SETTLEMENTS, (self.book, self.settlement_id)
        yield from cases.needs(self.book, REFUSED_WHOLE, self.settlement_id)

    def apply(self, work: Work) -> Settlement:
        cases.close_case(work, self.book, REFUSED_WHOLE, self.settlement_id, why="the bank has the batch")
        return _moved(work, self.book, self.settlement_id, states.BatchEvent.ACCEPTED, "settlement.sent")


def _moved(work: Work, book: int, settlement_id: str, event: states.BatchEvent, told: str) -> Settlement:
    """Move a batch by an event and tell of it; where it is there already, nothing changes."""
    settlement = work.get(SETTLEMENTS, (book, settlement_id))
    status = advance(states.BATCH, states.Batch(settlement.status), event)
    if status != settlement.status:
        settlement = settlement._replace(status=status.value, updated_at=work.now)
        work.put(SETTLEMENTS, settlement)
        publish(work, book, told, settlement_id, settlement_payload(settlement))
    return settlement


@dataclass(frozen=True, slots=True)
class DecideInstruction:
    """Apply what the bank's signed status report (pain.002) says of one line; `paid`, or refused with its reason code.

    At a bank whose booking says that it paid, what its signed booking of the debit says.

    The same report again changes nothing, and one that contradicts what was booked changes nothing but opens a case.
    A refusal of a line that is in doubt only adds to its case. A bank that refuses because the account is blocked
    (AC06) freezes it. Of a line that was recalled 追回, whatever says so, what is owed again is held (recalls/held.py).
    Returns the line. business_date: the bank's; None: it is not the bank that says so, and the day is the one on which
    it is recorded. debit: which booking says so, if one does (debits.py).
    """

    book: int
    instruction_id: str
    paid: bool
    reason: str | None
    business_date: date | None = None
    debit: str = ""

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield INSTRUCTIONS, (self.book, self.instruction_id)
        if not work.knows(INSTRUCTIONS, (self.book, self.instruction_id)):
            return
        line = work.find(INSTRUCTIONS, (self.book, self.instruction_id))
        if line is None:
            return
        yield from cases.needs(self.book, IN_DOUBT, line.id)
        yield from cases.needs(self.book, CONTRADICTED, line.id)
        yield from cases.needs(self.book, REFUSED_WHOLE, line.settlement_id)
        yield SETTLEMENTS, (self.book, line.settlement_id)
        yield PAYEES, (self.book, line.payee_id)
        yield ACCOUNTS, (self.book, accounts.sub_account(line.payee_id, line.currency))
        if work.knows(SETTLEMENTS, (self.book, line.settlement_id)):
            bank = work.get(SETTLEMENTS, (self.book, line.settlement_id)).bank
            yield ACCOUNTS, (self.book, accounts.in_transit(bank, line.currency))
        if work.knows(PAYEES, (self.book, line.payee_id)):
            payee = work.get(PAYEES, (self.book, line.payee_id))
            yield ACCOUNTS, (self.book, owed_account(payee))
            yield from use_needs(payee)
        yield from held.needs(work, self.book, line.id)

    def apply(self, work: Work) -> Instruction:
        line = work.get(INSTRUCTIONS, (self.book, self.instruction_id))
        event = states.InstructionEvent.EXECUTED if self.paid else states.InstructionEvent.REFUSED
        if (states.Instruction(line.status), event) not in states.INSTRUCTION:
            _contradicted(work, line, "paid" if self.paid else f"refused ({self.reason})")
            return line
        status = advance(states.INSTRUCTION, states.Instruction(line.status), event)
        if status == line.status:
            return line
        doubt = work.find(cases.CASES, (self.book, cases.case_id(self.book, IN_DOUBT, line.id)))
        if not self.paid and doubt is not None and doubt.status == cases.states.Case.OPEN:
            # The two words may be of two sendings: which of them was carried out the bank must say.
            facts = {**orjson.loads(doubt.facts), "refused_besides": self.reason}
            _case(work, IN_DOUBT, line, facts)
            return line
        cases.close_case(work, self.book, IN_DOUBT, line.id, why=f"the bank said {status} after all")
        settlement = work.get(SETTLEMENTS, (self.book, line.settlement_id))
        payee = work.get(PAYEES, (self.book, line.payee_id))
        in_transit = accounts.in_transit(settlement.bank, line.currency)
        if self.paid:
            rule, target = "settlement_paid", accounts.sub_account(line.payee_id, line.currency)
            open_account(work, self.book, target)
        else:
            rule = "commission_refused" if payee.kind == "platform" else "settlement_refused"
            target = owed_account(payee)
        transfer = Transfer(f"{line.id}:{status}", rule, in_transit, target, line.amount_minor, line.currency)
        day = self.business_date or business_date(work.now)
        posting = f"{line.id}@{self.debit}" if self.debit else line.id
        post_expected(work, self.book, posting, [transfer], business_date=day, fresh=True)
        if (use := find_use(work, payee)) is not None:
            sent_for, minor = settlement.execution_date, line.amount_minor
            use = limits.arrived(use, minor) if self.paid else limits.came_back(use, sent_for, minor, on_its_way=True)
            work.put(ACCOUNT_USES, use)
        line = line._replace(status=status.value, reason=self.reason, bank_date=day, decided_at=work.now)
        work.put(INSTRUCTIONS, line)
        word = "settlement.line_paid" if self.paid else "settlement.line_refused"
        publish(work, self.book, word, line.id, instruction_payload(line))
        held.noticed(work, line, payee)
        if not self.paid and self.business_date is not None:
            frozen_by_bank(work, payee, self.reason)
        self._count(work, settlement, line)
        return line

    def _count(self, work: Work, settlement: Settlement, line: Instruction) -> None:
        left = settlement.open_count - 1
        settlement = settlement._replace(
            open_count=left,
            paid_minor=settlement.paid_minor + (line.amount_minor if self.paid else 0),
            updated_at=work.now,
        )
        if left == 0:
            done = advance(states.BATCH, states.Batch(settlement.status), states.BatchEvent.LAST_LINE_DECIDED)
            settlement = settlement._replace(status=done.value)
            publish(work, self.book, "settlement.finished", settlement.id, settlement_payload(settlement))
            why = "every line of it has been decided"
            cases.close_case(work, self.book, REFUSED_WHOLE, settlement.id, why=why)
        work.put(SETTLEMENTS, settlement)


@dataclass(frozen=True, slots=True)
class DoubtInstruction:
    """Take in a final word that decides nothing of a line: it may have been paid, so its money stays in transit.

    reasons: as the bank gave them. duplicate: the bank says that it has the line already, which is no contradiction
    where it is paid. A person decides what is in transit, and sees what was decided otherwise. Returns the line.
    """

    book: int
    instruction_id: str
    status: str
    reasons: Sequence[str]
    duplicate: bool

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield INSTRUCTIONS, (self.book, self.instruction_id)
        yield from cases.needs(self.book, IN_DOUBT, self.instruction_id)
        yield from cases.needs(self.book, CONTRADICTED, self.instruction_id)

    def apply(self, work: Work) -> Instruction:
        line = work.get(INSTRUCTIONS, (self.book, self.instruction_id))
        if line.status == states.Instruction.IN_TRANSIT:
            facts = {"status": self.status, "reasons": list(self.reasons), "settlement": line.settlement_id}
            _case(work, IN_DOUBT, line, facts)
        elif line.status == states.Instruction.REFUSED or not self.duplicate:
            _contradicted(work, line, f"{self.status} ({'; '.join(self.reasons)})")
        return line


def use_needs(payee: Payee) -> Iterable[Need]:
    """Name the rows by which the limits of a payee's account are counted; none where it has no limits."""
    if payee.account_class is not None:
        yield ACCOUNT_USES, (payee.book, payee.id)
        yield ACCOUNTS, (payee.book, accounts.sub_account(payee.id, payee.currency))


def find_use(work: Work, payee: Payee) -> AccountUse | None:
    """Return what was sent to a payee's account; None where it has no limits, or nothing was sent yet."""
    return None if payee.account_class is None else work.find(ACCOUNT_USES, (payee.book, payee.id))


def _room(work: Work, payee: Payee, day: date, amount: int) -> int:
    """Return what of an amount the payee's account may take."""
    if payee.account_class is None:
        return amount
    sub_account = work.find(ACCOUNTS, (payee.book, accounts.sub_account(payee.id, payee.currency)))
    has = 0 if sub_account is None else sub_account.balance
    return limits.room(limits.AccountClass(payee.account_class), find_use(work, payee), day, has)


def _count_sent(work: Work, payee: Payee, day: date, amount: int) -> None:
    if payee.account_class is not None:
        work.put(ACCOUNT_USES, limits.sent(find_use(work, payee), payee.book, payee.id, day, amount))


def _contradicted(work: Work, line: Instruction, said: str) -> None:
    _case(work, CONTRADICTED, line, {"was": line.status, "reason": line.reason, "then": said})


def _case(work: Work, kind: str, line: Instruction, facts: Mapping[str, Any]) -> None:
    cases.open_case(
        work, line.book, kind, line.id,
        amount_minor=line.amount_minor, currency=line.currency, facts=facts, rest=REST,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MoveCursor:
    """Remember how far the bank's outgoing files have been read: all before it was applied or is set aside.

    all_read: nothing that the bank had was left unread.
    """

    book: int
    bank: str
    cursor: str
    all_read: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.bank)

    def apply(self, work: Work) -> None:
        link = work.get(BANK_LINKS, (self.book, self.bank))
        read_at = work.now if self.all_read else link.read_at
        work.put(BANK_LINKS, link._replace(cursor=self.cursor, read_at=read_at))


def _line(batch: MakeSettlement, line_id: str, payee: Payee, account: str, amount: int) -> Instruction:
    return Instruction(
        batch.book, line_id, batch.id, payee.id, payee.kind, account, payee.name, amount, payee.currency,
        states.Instruction.IN_TRANSIT.value, None, batch.execution_date, None,
    )  # fmt: skip
