"""What comes back from a bank: whether it has an order, and the files in which it tells of orders and bookings.

A bank that answers questions and writes no files has its answers kept as files likewise.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Kind(StrEnum):
    """What a bank's file tells of."""

    REPORT = "report"  # what became of an order: answers.StatusReport
    NOTICE = "notice"  # bookings, as they are made: bookings.Entry
    RESOLUTION = "resolution"  # what becomes of a recall 追回: answers.RecallAnswer
    STATEMENT = "statement"  # every booking of a closed day, between two balances: bookings.AccountStatement


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bank has the order, said so under its signature, and will report on it.

    refused: lines that it did not take, each with its code and words, where it took the others; nothing was done of
    them.
    """

    file_id: str
    message_id: str
    sha256: str
    received_at: str
    refused: tuple[tuple[str, str], ...] = ()  # end-to-end id, reason


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account at the bank, as the bank shows it."""

    account: str
    name: str
    currency: str
    kind: str  # pool | sub
    status: str  # open | pending (its opening is being looked at) | refused (it was not opened) | blocked | closed
    balance_minor: int
    reason: str | None = None  # of one that was not opened: the bank's code


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file the bank has for us."""

    file_id: str
    type: str  # a form and a message of it, see reading.KINDS: pain.002, camt.054, camt.053, cmb.batch …
    name: str
    business_date: date
    created_at: str
    sha256: str
    original_message_id: str | None = None  # of a report: our message id it answers
    original_file_id: str | None = None  # of a report: Accepted.file_id of the order it answers; this one decides
    odd: bool = (
        False  # it is listed without what it could be fetched and known by; `name` is what the list says instead
    )


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some of the bank's files, oldest first. `next` goes into the following call; None: nothing was there yet."""

    files: tuple[FileInfo, ...]
    next: str | None
