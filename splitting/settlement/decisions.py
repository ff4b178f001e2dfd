"""What a person's decisions about payouts and bookings bring about, each in the batch that records it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import orjson

import cases
from cases import Case, Effect
from kernel.clock import business_date
from kernel.errors import Conflict, Rejected
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS, ENTRIES
from splitting import states
from splitting.settlement.debits import BATCH
from splitting.settlement.deposits import (
    CHARGE,
    FOR_EVER,
    IN_SUSPENSE,
    INTEREST,
    MOVED,
    RETURNED,
    SUSPEND,
    UNCLEAR,
    UNIDENTIFIED,
    ApplyDeposit,
    Shared,
    book_deposit,
    book_shared,
    deposit_needs,
    shared_needs,
    suspend,
    unidentified,
)
from splitting.settlement.instructions import IN_DOUBT, DecideInstruction
from splitting.settlement.returns import ApplyReturn
from splitting.tables import INSTRUCTIONS, SETTLEMENTS
from splitting.withdrawals.commands import ApplyWithdrawalReturn
from splitting.withdrawals.rules import PREFIX
from streams import publish

_AT_BANK = frozenset({states.Batch.CREATED, states.Batch.REFUSED, states.Batch.SENT})


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
        if "shared_by" in facts:
            yield from shared_needs(case.book, facts["bank"], facts["currency"], case.about)
        yield ENTRIES, (case.book, case.about)

    def apply(self, work: Work, case: Case) -> None:
        facts = orjson.loads(case.facts)
        if (by := facts.get("shared_by")) is not None:
            settled = None if by["settled_date"] is None else date.fromisoformat(by["settled_date"])
            shared = Shared(by["reference"], settled, by["accounts"])
            book_shared(work, unidentified(case), shared, case.about, case.about)
            return
        told = {name: value for name, value in facts.items() if name not in ("notice", "cannot_be_told_from")}
        day = date.fromisoformat(facts["business_date"])
        book_deposit(work, case.book, case.about, case.about, told, day)


class BookUnidentified:
    """Book what nothing named on the channel account that a person names, as if the notice had."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _batch_needs(case)
        yield from unidentified(case).needs(work)

    def apply(self, work: Work, case: Case) -> None:
        _check_at_pool(case)
        _check_no_batchs(work, case)
        unidentified(case).apply(work)


class BookReturn:
    """Book what nothing named as the return 退票 of the line, or the withdrawal, that a person names.

    Out of suspense, if it is there.
    """

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _return(case).needs(work)
        if case.kind == IN_SUSPENSE:
            yield from _suspense_needs(case)

    def apply(self, work: Work, case: Case) -> None:
        back = _return(case)
        if isinstance(back, ApplyReturn):
            _check_at_pool(case)
        back.apply(work)
        if case.kind == IN_SUSPENSE:  # it never came from outside, so it was not custody's to have more of
            _move(work, case, f"{case.about}:cleared", into=False)


class Suspend:
    """Put what nothing named in suspense 挂账, until somebody finds out whose it is: that is a case of its own."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _batch_needs(case)
        yield from _suspense_needs(case)
        yield ENTRIES, (case.book, _suspended(case))
        yield from cases.needs(case.book, IN_SUSPENSE, _suspended(case))

    def apply(self, work: Work, case: Case) -> None:
        _check_at_pool(case)
        _check_no_batchs(work, case)
        _move(work, case, _suspended(case), into=True)
        facts = {**orjson.loads(case.facts), "identified_by": case.id}
        cases.open_case(
            work, case.book, IN_SUSPENSE, _suspended(case),
            amount_minor=case.amount_minor, currency=case.currency, facts=facts, rest=FOR_EVER,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BookBanksOwn:
    """Book what nothing named as the bank's own: interest 结息 that it paid, or a charge 银行收费 that it took."""

    what: str  # interest or charge
    other: Callable[[str, str], str]  # the account beside custody, of a bank and a currency

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        deposit = unidentified(case)
        yield from _batch_needs(case)
        yield BOOKS, (case.book,)
        yield ACCOUNTS, (case.book, _custody(case))
        yield ACCOUNTS, (case.book, self.other(deposit.bank, deposit.currency))

    def apply(self, work: Work, case: Case) -> None:
        role = _role(case)
        if role is None:
            _check_at_pool(case)
        _check_no_batchs(work, case)
        deposit, came = unidentified(case), self.what == "interest"
        if came and deposit.amount_minor < 0:
            raise Rejected("no_interest", "money went: a bank credits interest; what it takes is a charge")
        if not came and deposit.amount_minor > 0:
            raise Rejected("no_charge", "money came: a bank takes a charge; what it credits of its own is interest")
        bank = open_account(work, case.book, _custody(case)).name
        other = open_account(work, case.book, self.other(deposit.bank, deposit.currency)).name
        debit, credit = (bank, other) if came else (other, bank)
        transfer_id = f"{'int' if came else 'chg'}:{case.about}"
        rule = f"{'bank' if role is None else 'account'}_{self.what}"
        transfer = Transfer(transfer_id, rule, debit, credit, abs(deposit.amount_minor), deposit.currency)
        post_expected(work, case.book, transfer_id, [transfer], business_date=deposit.business_date, fresh=True)


class BookMoved:
    """Book what nothing named on an account for one role as moved there from the pool account, or from there to it."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        deposit = unidentified(case)
        yield BOOKS, (case.book,)
        yield ACCOUNTS, (case.book, accounts.bank(deposit.bank, deposit.currency))
        yield ACCOUNTS, (case.book, _custody(case))

    def apply(self, work: Work, case: Case) -> None:
        if _role(case) is None:
            raise Rejected("no_bank_account", "it was booked on no account that is for one role")
        deposit = unidentified(case)
        pool = open_account(work, case.book, accounts.bank(deposit.bank, deposit.currency)).name
        there = open_account(work, case.book, _custody(case)).name
        came = deposit.amount_minor > 0
        rule, debit, credit = ("to_bank_account", there, pool) if came else ("from_bank_account", pool, there)
        amount = abs(deposit.amount_minor)
        transfer = Transfer(f"mov:{case.about}", rule, debit, credit, amount, deposit.currency)
        post_expected(work, case.book, transfer.id, [transfer], business_date=deposit.business_date, fresh=True)


class GoneBack:
    """Take out of suspense what the bank has sent back to whom it came from, or got back for what had gone."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _suspense_needs(case)

    def apply(self, work: Work, case: Case) -> None:
        _move(work, case, f"{case.about}:cleared", into=False)


class OutOfSuspense:
    """Take money out of suspense for the channel account that a person names: it was the channel's."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from _suspense_needs(case)
        deposit = unidentified(case)
        yield from deposit_needs(case.book, deposit.bank, deposit.channel_account, deposit.currency)

    def apply(self, work: Work, case: Case) -> None:
        deposit = unidentified(case)
        assert deposit.channel_account is not None, "the decision names it"
        channel = open_account(work, case.book, accounts.channel(deposit.channel_account, deposit.currency)).name
        suspense = accounts.suspense(deposit.currency)
        came = deposit.amount_minor > 0
        rule = "suspense_to_channel" if came else "channel_to_suspense"
        debit, credit = (suspense, channel) if came else (channel, suspense)
        transfer = Transfer(f"{case.about}:cleared", rule, debit, credit, abs(deposit.amount_minor), deposit.currency)
        post_expected(work, case.book, transfer.id, [transfer], business_date=business_date(work.now), fresh=True)
        publish(work, case.book, "channel.deposited", deposit.channel_account, dict(deposit.payload()))


def _role(case: Case) -> str | None:
    """Return for what the account is on which a case's booking is; None where it is for no role."""
    role: str | None = orjson.loads(case.facts).get("role")
    return role


def _custody(case: Case) -> str:
    """Return the account of the book that has what stands where a case's booking is."""
    deposit, role = unidentified(case), _role(case)
    if role is None:
        return accounts.bank(deposit.bank, deposit.currency)
    return accounts.bank_account(deposit.bank, role, deposit.currency)


def _check_at_pool(case: Case) -> None:
    if not orjson.loads(case.facts)["at_pool"]:
        raise Rejected(
            "not_the_pool_account",
            "it was booked on another account than the pool account, into which channels pay",
        )


def _batch_needs(case: Case) -> Iterable[Need]:
    """Name the batch whose debit a case's booking is, if it is one's."""
    if (batch := orjson.loads(case.facts).get(BATCH)) is not None:
        yield SETTLEMENTS, (case.book, batch)


def _check_no_batchs(work: Work, case: Case) -> None:
    """Raise Rejected where a booking is the debit of a batch that the bank has, and of which lines are in transit.

    Booked as something else, the money would have left the account and be in transit all the same, for ever; or its
    payees would be paid twice.
    """
    ident = orjson.loads(case.facts).get(BATCH)
    batch = None if ident is None else work.find(SETTLEMENTS, (case.book, ident))
    if batch is not None and batch.open_count and batch.status in _AT_BANK:
        raise Rejected(
            "is_a_batchs_debit",
            f"it is a debit of {batch.id}, of which lines are in transit: decide part where the bank booked the batch "
            "as several sums, no_deposit where it set the debit back; or wait until its lines are decided",
        )


def _return(case: Case) -> ApplyReturn | ApplyWithdrawalReturn:
    """Return what books a case's booking as the return of what was named: a line, or a withdrawal."""
    facts = orjson.loads(case.facts)
    named, booking, reason = facts.get(cases.LINE, ""), unidentified(case), facts.get("return_reason")
    if named.startswith(PREFIX):
        booking = replace(booking, known={"account": facts["account"]})
        return ApplyWithdrawalReturn(named, booking, reason, by_person=True)
    return ApplyReturn(named, booking, reason, by_person=True)


def _suspended(case: Case) -> str:
    """Return the id of the transfer that puts a booking in suspense, which is what its case is about."""
    return f"sus:{case.about}"


def _suspense_needs(case: Case) -> Iterable[Need]:
    deposit: ApplyDeposit = unidentified(case)
    yield BOOKS, (case.book,)
    yield ACCOUNTS, (case.book, accounts.bank(deposit.bank, deposit.currency))
    yield ACCOUNTS, (case.book, accounts.suspense(deposit.currency))
    yield ENTRIES, (case.book, f"{case.about}:cleared")


def _move(work: Work, case: Case, transfer_id: str, *, into: bool) -> None:
    """Move a booking's money between custody and suspense; what went out of the account, the other way."""
    deposit = unidentified(case)
    day = deposit.business_date if into else business_date(work.now)
    suspend(work, deposit, transfer_id, transfer_id, into=into, day=day)


EFFECTS: Mapping[tuple[str, str], Effect] = {
    (IN_DOUBT, "paid"): DecidePayout(paid=True),
    (IN_DOUBT, "not_paid"): DecidePayout(paid=False),
    (UNCLEAR, "another"): BookDeposit(),
    (UNIDENTIFIED, "book"): BookUnidentified(),
    (UNIDENTIFIED, RETURNED): BookReturn(),
    (UNIDENTIFIED, SUSPEND): Suspend(),
    (UNIDENTIFIED, INTEREST): BookBanksOwn("interest", accounts.interest),
    (UNIDENTIFIED, CHARGE): BookBanksOwn("charge", accounts.bank_charge),
    (UNIDENTIFIED, MOVED): BookMoved(),
    (IN_SUSPENSE, "book"): OutOfSuspense(),
    (IN_SUSPENSE, RETURNED): BookReturn(),
    (IN_SUSPENSE, "gone_back"): GoneBack(),
}
