"""Banks that take and write files of ISO 20022: orders out, status reports and statements in.

What cannot be read refuses the file (BadStatement), or only the part concerned for whoever asks for the others.
"""

from channels.banks.iso20022.camt import read_camt052, read_camt053, read_camt054
from channels.banks.iso20022.camt029 import read_camt029
from channels.banks.iso20022.camt055 import camt055
from channels.banks.iso20022.client import BankClient
from channels.banks.iso20022.drop import DropClient
from channels.banks.iso20022.pain001 import PAIN_001, PAIN_001_OLD, Batch, batch_of, pain001, unsayable
from channels.banks.iso20022.pain002 import read_pain002
from channels.banks.iso20022.settings import BankSettings, form, read_settings

__all__ = [
    "PAIN_001",
    "PAIN_001_OLD",
    "BankClient",
    "BankSettings",
    "Batch",
    "DropClient",
    "batch_of",
    "camt055",
    "form",
    "pain001",
    "read_camt029",
    "read_camt052",
    "read_camt053",
    "read_camt054",
    "read_pain002",
    "read_settings",
    "unsayable",
]
