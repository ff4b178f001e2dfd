"""ISO 20022 files: settlement instructions out, status reports and statements in. Pure: bytes and dataclasses only.

Everything that comes in is read whole or refused whole (BadStatement); nothing is imported from half a file.
"""

from channels.banks.iso20022.camt import AccountStatement, Entry, read_camt053, read_camt054
from channels.banks.iso20022.pain001 import PAIN_001, PAIN_001_OLD, Batch, Instruction, pain001, unsayable
from channels.banks.iso20022.pain002 import (
    Fate,
    LineStatus,
    StatusReport,
    disagreement,
    other_payment_than_sent,
    read_pain002,
)
from channels.banks.iso20022.xml import BadStatement

__all__ = [
    "PAIN_001",
    "PAIN_001_OLD",
    "AccountStatement",
    "BadStatement",
    "Batch",
    "Entry",
    "Fate",
    "Instruction",
    "LineStatus",
    "StatusReport",
    "disagreement",
    "other_payment_than_sent",
    "pain001",
    "read_camt053",
    "read_camt054",
    "read_pain002",
    "unsayable",
]
