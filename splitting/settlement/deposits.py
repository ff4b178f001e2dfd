"""What a bank tells of bookings on a merchant's accounts: a channel's deposit is booked, everything else is a case."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

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
_STAND = frozenset({BOOK_NOTHING, RETURNED, SUSPEND, INTEREST, CHARGE})
FOR_EVER = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class ApplyDeposit:
    """Book what a channel paid into the pool account (or took from it), as the bank's signed notice says.

    channel_account: None where nothing says whose it is: then it is a case, and `known` is for whoever decides it.
    entry_ref: the bank's own reference of the entry. amount_minor: signed; negative when the day's refunds exceeded its
    payments. booking: what the entry is told by from all others, its place among those alike included; None: by its
    reference. notice: where it stands. The same notice read again books nothing more, nor does one about which a person
    has decided. Another that tells of a booking which cannot be told from one that is booked, or the same with another
    amount, is a case and books nothing.
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
    def about(self) -> str:
        """The case of this booking, which is also its transfer's id where a person has it booked as one more."""
        told = hashlib.sha256(f"{self.notice}\n{self.amount_minor}".encode()).hexdigest()[:12]
        return f"{self._id}:{told}"

    def needs(self, work: Work) -> Iterable[Need]:
        if self.amount_minor:
            yield from deposit_needs(self.book, self.bank, self.channel_account, self.currency)
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
        if self.channel_account is None:
            facts = {**self.payload(), **self.known, "booking": self.booking, "notice": self.notice}
            self._open(work, UNIDENTIFIED, facts)
            return False
        cases.close_case(work, self.book, UNIDENTIFIED, self.about, why=f"it is {self.channel_account}'s")
        before = work.find(ENTRIES, (self.book, self._id_of_before))
        if there is None and before is not None and before.business_date == self.business_date:
            there = before
        if there is None:
            book_deposit(work, self.book, self._id, self._posting, self.payload(), self.business_date)
            return True
        like = {"id": there.id, "amount_minor": _signed(there), "business_date": there.business_date.isoformat()}
        self._open(work, UNCLEAR, {**self.payload(), "notice": self.notice, "cannot_be_told_from": like})
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


def _signed(entry: Entry) -> int:
    return entry.amount_minor if entry.rule == "channel_deposit" else -entry.amount_minor
