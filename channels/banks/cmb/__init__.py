"""China Merchants Bank's direct link 招商银行云直联 (免前置): JSON, signed by SM2 and encrypted by SM4."""

from channels.banks.cmb.client import CmbClient
from channels.banks.cmb.messages import read_notice, read_report, read_statements, unsayable
from channels.banks.cmb.settings import NAMES, CmbSettings, read_settings

__all__ = [
    "NAMES",
    "CmbClient",
    "CmbSettings",
    "read_notice",
    "read_report",
    "read_settings",
    "read_statements",
    "unsayable",
]
