"""Bank transfer 银行转账 as a channel: see README.md."""

from channels.bank_transfer.adapter import SECRETS, BankTransfer, build

__all__ = ["SECRETS", "BankTransfer", "build"]
