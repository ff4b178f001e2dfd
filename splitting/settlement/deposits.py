"""What a bank tells of bookings on a merchant's accounts: a channel's deposit is booked, everything else is a case.

A deposit of several channel accounts that are one account at the rail is booked in suspense 挂账, and shared out
between them by the rail's bill (shared.py).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

import orjson

import cases
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS, ENTRIES, Entry
from splitting.objects import DepositOut
from streams import publish

UNCLEAR, UNIDENTIFIED = "booking_unclear", "booking_unidentified"
IN_SUSPENSE = "money_in_suspense"
# Decisions about an unidentified booking that stand when it is read again, whatever is known of it by then.
BOOK_NOTHING, RETURNED, SUSPEND, INTEREST, CHARGE = "no_deposit", "returned", "suspend", "interest", "charge"
MOVED, PART = "moved", "part"
_STAND = frozenset({BOOK_NOTHING, RETURNED, SUSPEND, INTEREST, CHARGE, MOVED, PART})
FOR_EVER = timedelta(days=36_500)


_DAY = re.compile(r"\d{8}")
AWAITS = "awaits_bill"  # the fact of a case in suspense that is shared out by a bill which is not there yet


class Shared(NamedTuple):
    """Of which channel accounts a deposit is that are one account at the rail."""

    reference: str  # under which the rail paid it in
    day: date | None  # whose bill says what each account's part is; None: the reference names none
    accounts: Sequence[str]  # two or more

    def facts(self) -> dict[str, Any]:
        """Return it as the case of the deposit keeps it, together with what was shared out of it."""
        return {
            "reference": self.reference,
            "settled_date": None if self.day is None else self.day.isoformat(),
            "accounts": list(self.accounts),
            AWAITS: self.day is not None,
            "shared": {},
        }


def day_named(reference: str, mark: str) -> date | None:
    """Return the day that the reference of a deposit names after its mark: yyyymmdd, and nothing else."""
    named = reference.removeprefix(mark)
    if not _DAY.fullmatch(named):
        return None
    try:
        return date.fromisoformat(named)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ApplyDeposit:
    """Book what a channel paid into the pool account (or took from it), as the bank's signed notice says.

    channel_account: None where nothing says whose it is: then it is a case, and `known` is for whoever decides it.
    entry_ref: the bank's own reference of the entry. amount_minor: signed; negative when the day's refunds exceeded its
    payments. booking: what the entry is told by from all others, its place among those alike included; None: by its
    reference. notice: where it stands. The same notice read again books nothing more, nor does one about which a person
    has decided. Another that tells of a booking which cannot be told from one that is booked, or the same with another
    amount, is a case and books nothing. shared: it is of several channel accounts, and channel_account is None.
    """

    book: int
    bank: str
    channel_account: str | None
    currency: str
    amount_minor: int
    entry_ref: str
    business_date: date  # the bank's booking date
    booking: str | None = None
    notice: str = ""
    known: Mapping[str, Any] = field(default_factory=dict)
    shared: Shared | None = None

    @property
    def _id(self) -> str:
        return f"dep:{self.bank}:{self.booking or self.entry_ref}"

    @property
    def _id_of_before(self) -> str:
        """Under which the same entry would stand that was booked when bookings were told by their reference alone."""
        return f"dep:{self.bank}:{self.entry_ref}"

    @property
    def _posting(self) -> str:
        return f"{self._id}@{self.notice}" if self.notice else self._id

    @property
    def number(self) -> str:
        """What the booking is told by from all others."""
        return self._id

    @property
    def about(self) -> str:
        """The case of this booking, which is also its transfer's id where a person has it booked as one more."""
        told = hashlib.sha256(f"{self.notice}\n{self.amount_minor}".encode()).hexdigest()[:12]
        return f"{self._id}:{told}"

    def needs(self, work: Work) -> Iterable[Need]:
        if self.amount_minor:
            yield from deposit_needs(self.book, self.bank, self.channel_account, self.currency)
            if self.shared is not None:
                yield from shared_needs(self.book, self.bank, self.currency, self._id)
            yield ENTRIES, (self.book, self._id)
            yield ENTRIES, (self.book, self._id_of_before)
            yield from cases.needs(self.book, UNCLEAR, self.about)
            yield from cases.needs(self.book, UNIDENTIFIED, self.about)

    def apply(self, work: Work) -> bool:
        """Return whether it was booked now; False when it had been, or when a person must say."""
        if not self.amount_minor:
            return False  # moves nothing
        there = work.find(ENTRIES, (self.book, self._id))
        if there is not None and (there.posting, _signed(there)) == (self._posting, self.amount_minor):
            return False
        if self.decided(work):
            return False
        if self.channel_account is None and self.shared is None:
            facts = {**self.payload(), **self.known, "booking": self.booking, "notice": self.notice}
            self._open(work, UNIDENTIFIED, facts)
            return False
        whose = self.channel_account or " and ".join(self.shared.accounts if self.shared else ())
        cases.close_case(work, self.book, UNIDENTIFIED, self.about, why=f"it is {whose}'s")
        before = work.find(ENTRIES, (self.book, self._id_of_before))
        if there is None and before is not None and before.business_date == self.business_date:
            there = before
        if there is None:
            if self.shared is not None:
                book_shared(work, self, self.shared, self._id, self._posting)
            else:
                book_deposit(work, self.book, self._id, self._posting, self.payload(), self.business_date)
            return True
        like = {"id": there.id, "amount_minor": _signed(there), "business_date": there.business_date.isoformat()}
        told = {**self.payload(), "notice": self.notice, "cannot_be_told_from": like}
        if self.shared is not None:
            told |= {"shared_by": self.shared.facts(), "booking": self.booking}
        self._open(work, UNCLEAR, told)
        return False

    def decided(self, work: Work) -> bool:
        """Tell whether people have said what this booking is, if it is no channel's."""
        case = work.find(cases.CASES, (self.book, cases.case_id(self.book, UNIDENTIFIED, self.about)))
        return case is not None and case.status == cases.states.Case.DECIDED and case.decision in _STAND

    def _open(self, work: Work, kind: str, facts: Mapping[str, Any]) -> None:
        cases.open_case(
            work, self.book, kind, self.about,
            amount_minor=self.amount_minor, currency=self.currency, facts=facts, rest=FOR_EVER,
        )  # fmt: skip

    def payload(self) -> DepositOut:
        """Return a deposit as its event shows it."""
        return {
            "object": "deposit",
            "channel_account": self.channel_account,
            "bank": self.bank,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "entry_ref": self.entry_ref,
            "business_date": self.business_date.isoformat(),
        }


def unidentified(case: cases.Case) -> ApplyDeposit:
    """Return the deposit that a case of an unidentified booking is about, on the channel account it was decided for."""
    facts = orjson.loads(case.facts)
    return ApplyDeposit(
        case.book, facts["bank"], facts.get(cases.ACCOUNT), facts["currency"], facts["amount_minor"],
        facts["entry_ref"], date.fromisoformat(facts["business_date"]), facts["booking"], facts["notice"],
    )  # fmt: skip


def deposit_needs(book: int, bank: str, channel_account: str | None, currency: str) -> Iterable[Need]:
    """Name the rows that `book_deposit` looks at, but for the transfer."""
    yield BOOKS, (book,)
    if channel_account is not None:
        yield ACCOUNTS, (book, accounts.bank(bank, currency))
        yield ACCOUNTS, (book, accounts.channel(channel_account, currency))


def book_deposit(
    work: Work, book: int, transfer_id: str, posting: str, facts: Mapping[str, Any], business_date: date
) -> None:
    """Post a deposit and tell of it. facts: of the event.

    The channel's account is opened where nothing was captured on it yet: what it pays then, it paid too early, or for
    what the hub does not know, and the account stands below zero until the daily proof has found which.
    """
    currency, amount = facts["currency"], facts["amount_minor"]
    bank = open_account(work, book, accounts.bank(facts["bank"], currency)).name
    channel = open_account(work, book, accounts.channel(facts["channel_account"], currency)).name
    if amount > 0:
        transfer = Transfer(transfer_id, "channel_deposit", bank, channel, amount, currency)
    else:
        transfer = Transfer(transfer_id, "channel_withdrawal", channel, bank, -amount, currency)
    post_expected(work, book, posting, [transfer], business_date=business_date)
    publish(work, book, "channel.deposited", facts["channel_account"], dict(facts))


def shared_needs(book: int, bank: str, currency: str, transfer_id: str) -> Iterable[Need]:
    """Name the rows that `book_shared` looks at, but for the transfer."""
    yield BOOKS, (book,)
    yield ACCOUNTS, (book, accounts.bank(bank, currency))
    yield ACCOUNTS, (book, accounts.suspense(currency))
    yield from cases.needs(book, IN_SUSPENSE, transfer_id)


def book_shared(work: Work, deposit: ApplyDeposit, shared: Shared, transfer_id: str, posting: str) -> None:
    """Book a deposit of several channel accounts in suspense 挂账; its case owns it until it is shared out."""
    suspend(work, deposit, transfer_id, posting, into=True, day=deposit.business_date)
    facts = {
        **deposit.payload(), **shared.facts(), "booking": deposit.booking, "notice": deposit.notice, "at_pool": True,
    }  # fmt: skip
    cases.open_case(
        work, deposit.book, IN_SUSPENSE, transfer_id,
        amount_minor=deposit.amount_minor, currency=deposit.currency, facts=facts, rest=FOR_EVER,
    )  # fmt: skip


def suspend(work: Work, deposit: ApplyDeposit, transfer_id: str, posting: str, *, into: bool, day: date) -> None:
    """Move a booking's money between custody and suspense; what went out of the account, the other way."""
    bank = open_account(work, deposit.book, accounts.bank(deposit.bank, deposit.currency)).name
    suspense = open_account(work, deposit.book, accounts.suspense(deposit.currency)).name
    amount = abs(deposit.amount_minor)
    if into is (deposit.amount_minor > 0):
        transfer = Transfer(transfer_id, "unidentified_in", bank, suspense, amount, deposit.currency)
    else:
        transfer = Transfer(transfer_id, "unidentified_out", suspense, bank, amount, deposit.currency)
    post_expected(work, deposit.book, posting, [transfer], business_date=day, fresh=True)


def _signed(entry: Entry) -> int:
    return entry.amount_minor if entry.rule in ("channel_deposit", "unidentified_in") else -entry.amount_minor
