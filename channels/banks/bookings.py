"""What a bank tells of bookings on our accounts, in no bank's form."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from kernel.money import Money

_NO_SIGN = re.compile(r"[\s-]+")
_HIDDEN = re.compile(r"[^0-9A-Z]|X{3}")  # what stands for figures that a bank does not show


@dataclass(frozen=True, slots=True)
class Entry:
    """One booking on one of our accounts at the bank, as a statement or a credit notification shows it."""

    account: str
    entry_ref: str  # the bank's number of the booking, the same in camt.054 and camt.053; "#2": it has a second one
    end_to_end_id: str | None  # ours, where the booking comes from an instruction or the payer named one
    amount: Money  # signed: money in is positive
    booked_on: date
    counterparty_account: str | None = None
    counterparty_name: str | None = None
    remittance: str = ""
    reversal: bool = False
    return_reason: str | None = None  # 退票: the code with which a payout came back
    creditor_ref: str | None = None  # CdtrRefInf/Ref: what the payment is for, in the words of whom it is paid to
    creditor_account: str | None = None  # money in: the number the payer used, where it is not the account's own
    accepted_at: datetime | None = None  # AccptncDtTm: the moment, where the bank says more than the day
    statement_ref: str | None = None  # NtryRef: unique within its statement or notification at most
    has_bank_ref: bool = True  # entry_ref is an AcctSvcrRef; else it is the NtryRef
    notice: str = ""  # camt.054: which notification it stands in; camt.052: of which account and day it is
    nth: int = 1  # which of the entries under that notice that cannot be told from it
    raw_ref: str = ""  # entry_ref as the bank wrote it
    coded_return: bool = False  # its transaction code is that of a return
    batch_refs: tuple[str, ...] = ()  # MsgId and PmtInfId of the batch that it books as one; none of what names a line

    @property
    def is_return(self) -> bool:
        """Whether the bank says that money came back by it: a reason, a code, or that it undoes another booking."""
        return self.return_reason is not None or self.coded_return or self.reversal

    def names_another_than(self, account: str) -> bool:
        """Whether the bank says that the other side is not this account.

        It may say nothing, hide a part of the number, or write it with the bank's before it: that is no other account.
        """
        told, ours = (_NO_SIGN.sub("", one).upper() for one in (self.counterparty_account or "", account))
        return not _HIDDEN.search(told) and not told.endswith(ours) and not ours.endswith(told)

    @property
    def booking_ref(self) -> str:
        """The bank's number of the booking that no other day's has: an NtryRef may be "1" every day."""
        return self.entry_ref if self.has_bank_ref else f"{self.entry_ref}@{self.booked_on.isoformat()}"

    @property
    def alike(self) -> tuple[str, ...]:
        """What the entries of one booking have in common in a notification and in the statement of its day.

        Two bookings may have it in common. The NtryRef is no part of it: it need not be the same in both.
        """
        told = (self.account, self.raw_ref if self.has_bank_ref else "", self.booked_on.isoformat())
        way = "out" if self.amount.minor < 0 else "in"
        return (
            *told, self.amount.currency, way, str(self.reversal), self.end_to_end_id or "", self.creditor_ref or "",
        )  # fmt: skip

    @property
    def booking(self) -> str:
        """A short name of the booking: entries of different bookings have different ones, as far as they tell.

        Two alike in one notification have two, the same notification read again gives the same ones. Another
        notification with the same name tells of the same booking again, or of a second one that looks like it.
        """
        parts = (*alike(self), str(self.nth))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:26]


def alike(entry: Entry) -> tuple[str, ...]:
    """Return by what a booking is told from others, wherever it is told of. The amount is not: it may be corrected."""
    told = entry.creditor_ref is not None and entry.has_bank_ref  # a payment's own transfers are told by the bank's ref
    return (
        entry.account,
        entry.raw_ref,
        "" if told else entry.statement_ref or "",
        entry.booked_on.isoformat(),
        entry.amount.currency,
        "out" if entry.amount.minor < 0 else "in",
        str(entry.reversal),
        entry.end_to_end_id or "",
        entry.creditor_ref or "",
    )


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """One account's booked day. gap is zero unless the reader was asked to let it pass."""

    message_id: str
    statement_id: str
    account: str
    business_date: date
    opening: Money
    closing: Money
    entries: tuple[Entry, ...]
    page: int = 1  # which file of the day's statements this stood in; a bank with many accounts sends several
    last_page: bool = True
    part: int = 1  # which page of this account's own statement it is, where that is longer than one
    last_part: bool = True

    @property
    def gap(self) -> Money:
        """What the entries lack to lead from the opening to the closing balance."""
        booked = sum(entry.amount.minor for entry in self.entries)
        return Money(self.closing.minor - self.opening.minor - booked, self.closing.currency)


def joined(statements: Iterable[AccountStatement]) -> list[AccountStatement]:
    """Return one statement each account, currency and day, by account; of two that say the same, the later one given.

    Pages of one come together. One of which a page is missing is left out; one whose pages do not follow from each
    other has a gap.
    """
    found: dict[tuple[str, str, date], dict[int, AccountStatement]] = {}
    for one in statements:
        pages = found.setdefault((one.account, one.closing.currency, one.business_date), {})
        if one.last_part:
            for number in [number for number in pages if number >= one.part]:
                del pages[number]
        pages[one.part] = one
    whole = []
    for key in sorted(found):
        pages = found[key]
        parts = [pages[number] for number in sorted(pages)]
        if sorted(pages) == list(range(1, len(pages) + 1)) and parts[-1].last_part:
            entries = tuple(entry for part in parts for entry in part.entries)
            whole.append(replace(parts[0], closing=parts[-1].closing, entries=entries, last_part=True))
    return whole
