"""The settlement bank, hub side: instructions out, reports and statements in; over HTTP, or by a folder of files."""

from channels.banks.client import Accepted, BankAccount, BankClient, BankSettings, FileInfo, FilePage, read_settings
from channels.banks.contract import Bank, OpensAccounts, TellsUploads
from channels.banks.iso20022 import (
    PAIN_001,
    PAIN_001_OLD,
    AccountStatement,
    BadStatement,
    Batch,
    Entry,
    Fate,
    Instruction,
    LineStatus,
    StatusReport,
    disagreement,
    pain001,
    read_camt053,
    read_camt054,
    read_pain002,
    unsayable,
)
from channels.banks.profiles import a_bank

__all__ = [
    "PAIN_001",
    "PAIN_001_OLD",
    "Accepted",
    "AccountStatement",
    "BadStatement",
    "Bank",
    "BankAccount",
    "BankClient",
    "BankSettings",
    "Batch",
    "Entry",
    "Fate",
    "FileInfo",
    "FilePage",
    "Instruction",
    "LineStatus",
    "OpensAccounts",
    "StatusReport",
    "TellsUploads",
    "a_bank",
    "disagreement",
    "pain001",
    "read_camt053",
    "read_camt054",
    "read_pain002",
    "read_settings",
    "unsayable",
]
