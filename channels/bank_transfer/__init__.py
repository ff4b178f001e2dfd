"""Bank transfer 银行转账 as a channel: see README.md."""

from channels.bank_transfer.adapter import SECRETS, BankTransfer, build
from channels.face import Face

FACE = Face(("银行转账", "Bank transfer"), "行", called=("bank", "banktransfer", "transfer"))

__all__ = ["FACE", "SECRETS", "BankTransfer", "build"]
