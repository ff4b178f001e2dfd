"""Withdrawals 提现, step by step: the account bound, limits set, the money held, and what the bank makes of it.

A withdrawal holds its amount on the payee's sub-account, which may not go below nothing: nobody withdraws the same
money twice. Only the bank's signed report moves it, or gives it free.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

import cases
from channels.banks import is_bic, no_text, opens_accounts
from kernel.clock import business_date
from kernel.errors import Conflict, NotFound, Rejected
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS, ENTRIES, HOLDS, Step
from splitting import states
from splitting.payees import check_payable
from splitting.recalls import held
from splitting.settlement.debits import debited_twice, with_debit
from splitting.settlement.deposits import UNIDENTIFIED, ApplyDeposit
from splitting.settlement.instructions import CONTRADICTED, REST, written_as
from splitting.settlement.store import EVERYBODY
from splitting.tables import (
    BANK_LINKS,
    PAYEE_ACCOUNTS,
    PAYEES,
    WITHDRAWAL_LIMITS,
    WITHDRAWAL_USES,
    WITHDRAWALS,
    Payee,
    PayeeAccount,
    Withdrawal,
    WithdrawalLimit,
)
from splitting.withdrawals import rules
from splitting.withdrawals.objects import payee_account_payload, withdrawal_limit_payload, withdrawal_payload
from streams import publish

IN_DOUBT = "withdrawal_in_doubt"
_BANK_NAME = 70  # characters
_OPEN = frozenset({states.Withdrawal.REQUESTED, states.Withdrawal.STOPPED, states.Withdrawal.SENT})


def withdrawal_id(book: int, number: str) -> str:
    """Return a withdrawal's id: it follows from the merchant's own number, so asking twice cannot make two."""
    return rules.PREFIX + hashlib.sha256(f"{book}/withdrawal/{number}".encode()).hexdigest()[:26]


@dataclass(frozen=True, slots=True)
class BindAccount:
    """Note a payee's own account at another bank 绑定账户, for withdrawals asked for from now on. Returns the row.

    The same again changes nothing. Raises NotFound (no_such_payee), Rejected (withdrawals_not_offered,
    bound_account_wrong), Conflict (payee_account_not_open).
    """

    row: PayeeAccount

    @property
    def book(self) -> int:
        return self.row.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEE_ACCOUNTS, (self.book, self.row.payee_id)
        yield from _payee_needs(work, self.book, self.row.payee_id)

    def apply(self, work: Work) -> PayeeAccount:
        payee = _payee(work, self.book, self.row.payee_id)
        bank, _ = _withdraws_at(work, payee)
        if not is_bic(self.row.bank_bic):
            raise Rejected("bound_account_wrong", f"{self.row.bank_bic[:20]!r} is not a BIC", param="bank_bic")
        if why := no_text("the bank's name", self.row.bank_name, _BANK_NAME):
            raise Rejected("bound_account_wrong", why, param="bank_name")
        own = orjson.loads(work.get(BANK_LINKS, (self.book, bank)).settings).get("bic", "")
        if own and own[:8] == self.row.bank_bic[:8]:
            why = f"{self.row.bank_bic} is {bank} itself: the account is to be at another bank"
            raise Rejected("bound_account_wrong", why, param="bank_bic")
        check_payable(bank, payee.name, self.row.account)
        there = work.find(PAYEE_ACCOUNTS, (self.book, payee.id))
        if there is not None and there._replace(set_by=self.row.set_by, set_at=self.row.set_at) == self.row:
            return there
        row = self.row._replace(set_at=work.now)
        work.put(PAYEE_ACCOUNTS, row)
        publish(work, self.book, "payee_account.set", payee.id, payee_account_payload(row))
        return row


@dataclass(frozen=True, slots=True)
class SetWithdrawalLimits:
    """Note what a payee may withdraw 提现限额, or by default every payee at a bank (payee_id EVERYBODY).

    Returns the row. The same again changes nothing. Raises NotFound (no_such_bank, no_such_payee), Rejected
    (payee_at_another_bank).
    """

    book: int
    bank: str
    payee_id: str
    limits: rules.Limits

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield BANK_LINKS, (self.book, self.bank)
        yield WITHDRAWAL_LIMITS, (self.book, self.bank, self.payee_id)
        if self.payee_id != EVERYBODY:
            yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> WithdrawalLimit:
        if work.find(BANK_LINKS, (self.book, self.bank)) is None:
            raise NotFound("no_such_bank", f"this merchant has no custody account at {self.bank}", param="bank")
        if self.payee_id != EVERYBODY:
            payee = _payee(work, self.book, self.payee_id)
            if payee.bank != self.bank:
                why = f"{payee.id} is paid at {payee.bank or 'no bank'}"
                raise Rejected("payee_at_another_bank", why, param="payee")
        there = work.find(WITHDRAWAL_LIMITS, (self.book, self.bank, self.payee_id))
        if there is not None and there[3:6] == tuple(self.limits):
            return there
        row = WithdrawalLimit(self.book, self.bank, self.payee_id, *self.limits, work.now)
        work.put(WITHDRAWAL_LIMITS, row)
        publish(work, self.book, "withdrawal_limit.set", self.payee_id or self.bank, withdrawal_limit_payload(row))
        return row


@dataclass(frozen=True, slots=True)
class AskWithdrawal:
    """Hold an amount of what a payee's sub-account has, to be sent to the payee's own account. Returns the withdrawal.

    number: the merchant's own; the same again returns the same withdrawal. Limits are counted here, in the commit that
    makes it. Raises NotFound (no_such_payee), Rejected (withdrawals_not_offered, no_bound_account, currency_differs,
    withdrawal_amount_not_allowed), Conflict (withdrawal_exists, payee_account_not_open, payee_suspended,
    withdrawal_daily_limit, account_class_limit, withdrawable_exceeded).
    """

    book: int
    payee_id: str
    number: str
    amount_minor: int
    currency: str
    by: str  # an API key's id

    @property
    def id(self) -> str:
        return withdrawal_id(self.book, self.number)

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield WITHDRAWALS, (self.book, self.id)
        yield PAYEE_ACCOUNTS, (self.book, self.payee_id)
        yield WITHDRAWAL_USES, (self.book, self.payee_id)
        yield from _payee_needs(work, self.book, self.payee_id)
        if not work.knows(PAYEES, (self.book, self.payee_id)):
            return
        payee = work.find(PAYEES, (self.book, self.payee_id))
        if payee is None or payee.bank is None:
            return
        for owner in (payee.id, EVERYBODY):
            yield WITHDRAWAL_LIMITS, (self.book, payee.bank, owner)
        yield ACCOUNTS, (self.book, accounts.sub_account(payee.id, payee.currency))
        yield ACCOUNTS, (self.book, accounts.bank(payee.bank, payee.currency))

    def apply(self, work: Work) -> Withdrawal:
        there = work.find(WITHDRAWALS, (self.book, self.id))
        if there is not None:
            if (there.payee_id, there.amount_minor, there.currency) != (
                self.payee_id, self.amount_minor, self.currency,
            ):  # fmt: skip
                why = f"{there.id} was asked for under this number, for another payee or of another amount"
                raise Conflict("withdrawal_exists", why, object_id=there.id)
            return there
        payee = _payee(work, self.book, self.payee_id)
        bank, sub_account = _withdraws_at(work, payee)
        if payee.currency != self.currency:
            raise Rejected("currency_differs", f"{payee.id} is paid in {payee.currency}", param="currency")
        if payee.frozen_at is not None:
            raise Conflict("payee_account_not_open", f"the sub-account of {payee.id} is frozen", param="payee")
        if payee.suspended_at is not None:
            raise Conflict("payee_suspended", f"{payee.id} is suspended: nothing is paid out to it")
        bound = work.find(PAYEE_ACCOUNTS, (self.book, payee.id))
        if bound is None:
            raise Rejected("no_bound_account", f"{payee.id} has no account elsewhere to withdraw to: bind one first")
        day, sub = business_date(work.now), accounts.sub_account(payee.id, payee.currency)
        limits = rules.limits_of(
            work.find(WITHDRAWAL_LIMITS, (self.book, bank, payee.id)),
            work.find(WITHDRAWAL_LIMITS, (self.book, bank, EVERYBODY)),
        )
        use, account = work.find(WITHDRAWAL_USES, (self.book, payee.id)), work.find(ACCOUNTS, (self.book, sub))
        available = 0 if account is None else account.available
        room = rules.class_room(payee.account_class, use, day, bound_at_bank=bound.bound_at_bank)
        rules.check(limits, use, day, available, self.amount_minor, room)
        custody = open_account(work, self.book, accounts.bank(bank, payee.currency)).name
        hold = Transfer(f"{self.id}:asked", "withdrawal", sub, custody, self.amount_minor, self.currency, Step.HOLD)
        post_expected(work, self.book, self.id, [hold], business_date=day, fresh=True)
        work.put(WITHDRAWAL_USES, rules.counted(use, self.book, payee.id, day, self.amount_minor))
        row = Withdrawal(
            self.book, self.id, payee.id, self.number, bank, sub_account, payee.name, bound.account, bound.bank_bic,
            bound.bank_name, self.amount_minor, self.currency, states.Withdrawal.REQUESTED.value, None, day,
            written_as(work.find(BANK_LINKS, (self.book, bank))), self.by, work.now, work.now,
        )  # fmt: skip
        work.put(WITHDRAWALS, row)
        publish(work, self.book, "withdrawal.requested", row.id, withdrawal_payload(row))
        return row


@dataclass(frozen=True, slots=True)
class MarkWithdrawalSent:
    """Note that the bank has the order. If it was refused meanwhile, the bank may pay it all the same: a case."""

    book: int
    withdrawal_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.withdrawal_id)

    def apply(self, work: Work) -> Withdrawal:
        row = work.get(WITHDRAWALS, (self.book, self.withdrawal_id))
        event = states.WithdrawalEvent.ACCEPTED
        if (states.Withdrawal(row.status), event) not in states.WITHDRAWAL:
            _contradicted(work, row, "the bank took the order")
            return row
        return _moved(work, row, event)


@dataclass(frozen=True, slots=True)
class StopWithdrawal:
    """Take in that the bank took no order for a withdrawal: it is sent no more, stays held, and is a case.

    To be put only when the bank, asked, has nothing of it. code, message: the bank's, or the hub's where it cannot
    write the order (by_hub). A withdrawal that the bank has by now, or that was decided, stays as it is. Returns it.
    """

    book: int
    withdrawal_id: str
    code: str
    message: str
    by_hub: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.withdrawal_id)

    def apply(self, work: Work) -> Withdrawal:
        row = work.get(WITHDRAWALS, (self.book, self.withdrawal_id))
        if row.status != states.Withdrawal.REQUESTED:
            return row
        facts = {
            "bank": row.bank,
            "code": self.code[:100],
            "message": self.message[:300],
            "refused_by": "hub" if self.by_hub else "bank",
        }
        cases.open_case(
            work, self.book, IN_DOUBT, row.id, amount_minor=row.amount_minor, currency=row.currency, facts=facts
        )
        return _moved(work, row, states.WithdrawalEvent.STOPPED)


@dataclass(frozen=True, slots=True)
class SendWithdrawalAgain:
    """Have a withdrawal sent again that was stopped: the same order under the same number. Raises Conflict."""

    book: int
    withdrawal_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.withdrawal_id)

    def apply(self, work: Work) -> Withdrawal:
        row = work.get(WITHDRAWALS, (self.book, self.withdrawal_id))
        if row.status != states.Withdrawal.STOPPED:
            raise Conflict("withdrawal_moved", f"{row.id} is {row.status}: the bank has the order; nothing was changed")
        return _moved(work, row, states.WithdrawalEvent.SEND_AGAIN)


@dataclass(frozen=True, slots=True)
class DecideWithdrawal:
    """Apply what the bank's signed report says of a withdrawal; `paid`, or refused with its reason code.

    The same report again changes nothing, and one that contradicts what was booked changes nothing but opens a case.
    A refusal of one that is in doubt only adds to its case. Returns the withdrawal. bank_date: the bank's day; None: it
    is a person who says so, and the day is the one on which it is recorded.
    """

    book: int
    withdrawal_id: str
    paid: bool
    reason: str | None
    bank_date: date | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.withdrawal_id)
        yield from _posting_needs(work, self.book, self.withdrawal_id)

    def apply(self, work: Work) -> Withdrawal:
        row = work.get(WITHDRAWALS, (self.book, self.withdrawal_id))
        event = states.WithdrawalEvent.EXECUTED if self.paid else states.WithdrawalEvent.REFUSED
        if (states.Withdrawal(row.status), event) not in states.WITHDRAWAL:
            _contradicted(work, row, "paid" if self.paid else f"refused ({self.reason})")
            return row
        if row.status not in _OPEN:
            return row
        doubt = work.find(cases.CASES, (self.book, cases.case_id(self.book, IN_DOUBT, row.id)))
        if not self.paid and doubt is not None and doubt.status == cases.states.Case.OPEN:
            _case(work, IN_DOUBT, row, {**orjson.loads(doubt.facts), "refused_besides": self.reason})
            return row
        cases.close_case(work, self.book, IN_DOUBT, row.id, why=f"the bank said {event} after all")
        sub, custody = accounts.sub_account(row.payee_id, row.currency), accounts.bank(row.bank, row.currency)
        word, step = ("paid", Step.POST_HOLD) if self.paid else ("refused", Step.VOID_HOLD)
        transfer = Transfer(
            f"{row.id}:{word}", "withdrawal", sub, custody, row.amount_minor, row.currency, step, f"{row.id}:asked"
        )
        day = self.bank_date or business_date(work.now)
        post_expected(work, self.book, row.id, [transfer], business_date=day, fresh=True)
        if not self.paid:
            use = work.find(WITHDRAWAL_USES, (self.book, row.payee_id))
            assert use is not None, "it was counted when it was made"
            work.put(WITHDRAWAL_USES, rules.given_back(use, row.execution_date, row.amount_minor))
        held.overtaken(work, self.book, row.id, paid=self.paid)
        return _moved(work, row._replace(reason=self.reason, bank_date=day), event)


@dataclass(frozen=True, slots=True)
class DoubtWithdrawal:
    """Take in a final word that decides nothing of a withdrawal: it may have been paid, so its money stays held.

    reasons: as the bank gave them. duplicate: the bank says that it has the order already, which is no contradiction
    where it is paid. Returns the withdrawal.
    """

    book: int
    withdrawal_id: str
    status: str
    reasons: Sequence[str]
    duplicate: bool

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.withdrawal_id)

    def apply(self, work: Work) -> Withdrawal:
        row = work.get(WITHDRAWALS, (self.book, self.withdrawal_id))
        if row.status in _OPEN:
            _case(work, IN_DOUBT, row, {"bank": row.bank, "status": self.status, "reasons": list(self.reasons)})
        elif row.status == states.Withdrawal.REFUSED or not self.duplicate:
            _contradicted(work, row, f"{self.status} ({'; '.join(self.reasons)})")
        return row


@dataclass(frozen=True, slots=True)
class ApplyWithdrawalReturn:
    """Book a withdrawal that came back 退票: its payee's sub-account has it again, once. Returns the withdrawal.

    booking: how the bank tells of it, as a deposit of nobody's. reason: the bank's code. The same booking again changes
    nothing. A second one for the same withdrawal, one for what was not paid, and one for what was debited twice books
    nothing and is a case. by_person: somebody says so, and the bank does not: then only what was debited twice may.
    Raises Rejected (no_such_line, line_not_paid, line_amount_differs, not_its_account) where by_person.
    """

    withdrawal_id: str
    booking: ApplyDeposit
    reason: str | None
    by_person: bool = False

    @property
    def book(self) -> int:
        return self.booking.book

    @property
    def _id(self) -> str:
        return f"{self.withdrawal_id}:returned"

    def needs(self, work: Work) -> Iterable[Need]:
        yield from _needs(self.book, self.withdrawal_id)
        yield from self.booking.needs(work)
        yield ENTRIES, (self.book, self._id)
        yield from _posting_needs(work, self.book, self.withdrawal_id)

    def apply(self, work: Work) -> Withdrawal:
        row = work.find(WITHDRAWALS, (self.book, self.withdrawal_id))
        if row is None:
            raise Rejected("no_such_line", f"there is no withdrawal {self.withdrawal_id}; see `sluice withdrawal list`")
        told = f"ret:{self.booking.about}"
        there = work.find(ENTRIES, (self.book, self._id))
        if there is not None and there.posting == told:
            return row
        if self.by_person:
            self._check(row)
        elif self.booking.decided(work):
            return row
        event = states.WithdrawalEvent.RETURNED
        unsure = debited_twice(row.debits) and not self.by_person
        if unsure or there is not None or (states.Withdrawal(row.status), event) not in states.WITHDRAWAL:
            self.booking.apply(work)
            return row
        sub, custody = accounts.sub_account(row.payee_id, row.currency), accounts.bank(row.bank, row.currency)
        transfer = Transfer(self._id, "withdrawal_returned", custody, sub, row.amount_minor, row.currency)
        day = self.booking.business_date
        post_expected(work, self.book, told, [transfer], business_date=day, fresh=True)
        if not self.by_person:
            why = f"it is {row.id}, which came back"
            cases.close_case(work, self.book, UNIDENTIFIED, self.booking.about, why=why)
        cases.close_case(work, self.book, CONTRADICTED, row.id, why="it was paid and came back")
        held.overtaken(work, self.book, row.id, paid=False)
        return _moved(work, row._replace(reason=(self.reason or "")[:200] or None, returned_on=day), event)

    def _check(self, row: Withdrawal) -> None:
        """Raise Rejected where a booking cannot be the return of this withdrawal."""
        if row.status != states.Withdrawal.PAID:
            raise Rejected("line_not_paid", f"{row.id} is {row.status}: only what was paid comes back")
        if (self.booking.amount_minor, self.booking.currency) != (row.amount_minor, row.currency):
            raise Rejected("line_amount_differs", f"{row.id} is of another amount than what came back")
        if self.booking.known.get("account") != f"…{row.sub_account[-4:]}":
            raise Rejected("not_its_account", f"{row.id} was paid from another account than this came back to")


@dataclass(frozen=True, slots=True)
class NoteWithdrawalDebit:
    """Note a debit by which a bank carried a withdrawal out; a second one of it is a case. Returns the withdrawal.

    booking: the debit, as a deposit of nobody's. mark: as splitting.settlement.debits.mark_of returns it.
    """

    withdrawal_id: str
    booking: ApplyDeposit
    mark: str

    @property
    def book(self) -> int:
        return self.booking.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield WITHDRAWALS, (self.book, self.withdrawal_id)
        yield from self.booking.needs(work)

    def apply(self, work: Work) -> Withdrawal:
        row = work.get(WITHDRAWALS, (self.book, self.withdrawal_id))
        debits, second = with_debit(row.debits, self.mark)
        if debits != row.debits:
            row = row._replace(debits=debits)
            work.put(WITHDRAWALS, row)
        if second:
            self.booking.apply(work)
        return row


def _needs(book: int, withdrawal_id: str) -> Iterable[Need]:
    yield BOOKS, (book,)
    yield WITHDRAWALS, (book, withdrawal_id)
    yield from cases.needs(book, IN_DOUBT, withdrawal_id)
    yield from cases.needs(book, CONTRADICTED, withdrawal_id)


def _posting_needs(work: Work, book: int, withdrawal_id: str) -> Iterable[Need]:
    """Name the rows that what became of a withdrawal is posted to."""
    yield HOLDS, (book, f"{withdrawal_id}:asked")
    yield from held.needs(work, book, withdrawal_id)
    if not work.knows(WITHDRAWALS, (book, withdrawal_id)):
        return
    row = work.find(WITHDRAWALS, (book, withdrawal_id))
    if row is not None:
        yield WITHDRAWAL_USES, (book, row.payee_id)
        yield ACCOUNTS, (book, accounts.sub_account(row.payee_id, row.currency))
        yield ACCOUNTS, (book, accounts.bank(row.bank, row.currency))


def _payee_needs(work: Work, book: int, payee_id: str) -> Iterable[Need]:
    """Name a payee's row and that of the link to its bank."""
    yield PAYEES, (book, payee_id)
    if work.knows(PAYEES, (book, payee_id)):
        payee = work.find(PAYEES, (book, payee_id))
        if payee is not None and payee.bank is not None:
            yield BANK_LINKS, (book, payee.bank)


def _payee(work: Work, book: int, payee_id: str) -> Payee:
    payee = work.find(PAYEES, (book, payee_id))
    if payee is None:
        raise NotFound("no_such_payee", f"there is no payee {payee_id}", param="payee")
    return payee


def _withdraws_at(work: Work, payee: Payee) -> tuple[str, str]:
    """Return at which bank a payee has a sub-account, and its number.

    Raises Rejected (withdrawals_not_offered), Conflict (payee_account_not_open).
    """
    link = None if payee.bank is None else work.find(BANK_LINKS, (payee.book, payee.bank))
    if payee.bank is not None and payee.bank_account is None:
        why = f"the sub-account of {payee.id} is {payee.account_status}"
        raise Conflict("payee_account_not_open", why, param="payee")
    if payee.bank is None or payee.bank_account is None or link is None:
        why = f"{payee.id} has no sub-account at a bank: its shares stay in the book"
    elif not opens_accounts(orjson.loads(link.settings)):
        why = f"{payee.bank} opens no sub-accounts: it pays {payee.id} on its own account already"
    else:
        return payee.bank, payee.bank_account
    raise Rejected("withdrawals_not_offered", why, param="payee")


def _moved(work: Work, row: Withdrawal, event: states.WithdrawalEvent) -> Withdrawal:
    """Move a withdrawal by an event and tell of it; where it is there already, nothing changes."""
    status = advance(states.WITHDRAWAL, states.Withdrawal(row.status), event)
    if status == row.status:
        return row
    told = states.WITHDRAWAL[states.Withdrawal(row.status), event].tells
    row = row._replace(status=status.value, updated_at=work.now)
    work.put(WITHDRAWALS, row)
    if told is not None:
        publish(work, row.book, told, row.id, withdrawal_payload(row))
    return row


def _contradicted(work: Work, row: Withdrawal, said: str) -> None:
    _case(work, CONTRADICTED, row, {"was": row.status, "reason": row.reason, "then": said})


def _case(work: Work, kind: str, row: Withdrawal, facts: Mapping[str, Any]) -> None:
    cases.open_case(
        work, row.book, kind, row.id, amount_minor=row.amount_minor, currency=row.currency, facts=facts, rest=REST
    )
