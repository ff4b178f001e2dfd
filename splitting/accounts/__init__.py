"""Payees' accounts at banks 子账户: opening and freezing them."""
