"""Withdrawals 提现: a payee's money, from its sub-account to its own account at another bank."""
