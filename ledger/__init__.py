"""The books 账务: append-only, balanced, double-entry. Knows no channel and no merchant contract."""

from ledger import accounts, store
from ledger.commands import ExpireHold, OpenAccounts, Post
from ledger.invariants import INVARIANTS
from ledger.posting import (
    ACCOUNTS,
    Account,
    Group,
    Refusal,
    Result,
    Step,
    Transfer,
    needs,
    open_account,
    post,
    post_expected,
    post_many,
)
from ledger.rules import RULES

__all__ = [
    "ACCOUNTS",
    "INVARIANTS",
    "RULES",
    "Account",
    "ExpireHold",
    "Group",
    "OpenAccounts",
    "Post",
    "Refusal",
    "Result",
    "Step",
    "Transfer",
    "accounts",
    "needs",
    "open_account",
    "post",
    "post_expected",
    "post_many",
    "store",
]
