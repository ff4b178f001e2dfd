"""Banks that settle: orders out, what became of them and bookings in; each kind of bank in a folder of its own."""

from channels.banks.answers import (
    Fate,
    LineStatus,
    RecallAnswer,
    RecallVerdict,
    StatusReport,
    disagreement,
    other_payment_than_sent,
)
from channels.banks.bookings import AccountStatement, Entry, joined
from channels.banks.contract import (
    IDENTITY_REFUSALS,
    Bank,
    GivesAnew,
    OpensAccounts,
    RecallsPayments,
    TellsUploads,
)
from channels.banks.errors import BadStatement
from channels.banks.files import Accepted, BankAccount, FileInfo, FilePage, Kind
from channels.banks.orders import RECALL_REASONS, Instruction, Order, RecallRequest, is_bic, no_text
from channels.banks.profiles import (
    NAMES,
    SECRETS,
    a_bank,
    form,
    opens_accounts,
    paid_by_booking,
    profile,
    recalls_payments,
    region,
    unsayable,
)
from channels.banks.reading import KINDS, read_notice, read_report, read_resolution, read_statements, types_of

__all__ = [
    "IDENTITY_REFUSALS",
    "KINDS",
    "NAMES",
    "RECALL_REASONS",
    "SECRETS",
    "Accepted",
    "AccountStatement",
    "BadStatement",
    "Bank",
    "BankAccount",
    "Entry",
    "Fate",
    "FileInfo",
    "FilePage",
    "GivesAnew",
    "Instruction",
    "Kind",
    "LineStatus",
    "OpensAccounts",
    "Order",
    "RecallAnswer",
    "RecallRequest",
    "RecallVerdict",
    "RecallsPayments",
    "StatusReport",
    "TellsUploads",
    "a_bank",
    "disagreement",
    "form",
    "is_bic",
    "joined",
    "no_text",
    "opens_accounts",
    "other_payment_than_sent",
    "paid_by_booking",
    "profile",
    "read_notice",
    "read_report",
    "read_resolution",
    "read_statements",
    "recalls_payments",
    "region",
    "types_of",
    "unsayable",
]
