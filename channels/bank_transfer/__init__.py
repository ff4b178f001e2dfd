"""Bank transfer 银行转账 as a channel: see README.md."""

from channels.bank_transfer.adapter import SECRETS, BankTransfer, build
from channels.face import Face

SETTINGS = frozenset(
    {"base_url", "pool", "currency", "token", "key_id", "private_key", "bank_key_id", "bank_public_key"}
)  # all that it reads
ACCOUNT = ("pool",)  # of which each names the account at the rail
FACE = Face(("银行转账", "Bank transfer"), "行", called=("bank", "banktransfer", "transfer"))

__all__ = ["ACCOUNT", "FACE", "SECRETS", "SETTINGS", "BankTransfer", "build"]
