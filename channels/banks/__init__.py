"""The settlement bank's file gateway, hub side: instructions out, reports and statements in."""

from channels.banks.client import Accepted, BankAccount, BankClient, BankSettings, FileInfo, FilePage, read_settings
from channels.banks.iso20022 import (
    AccountStatement,
    BadStatement,
    Batch,
    Entry,
    Fate,
    Instruction,
    LineStatus,
    StatusReport,
    pain001,
    read_camt053,
    read_camt054,
    read_pain002,
    unsayable,
)

__all__ = [
    "Accepted",
    "AccountStatement",
    "BadStatement",
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
    "StatusReport",
    "pain001",
    "read_camt053",
    "read_camt054",
    "read_pain002",
    "read_settings",
    "unsayable",
]
