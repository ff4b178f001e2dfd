"""Statements 对账单 of payees, merchants and banks: what was recorded on their accounts, equal to the ledger."""
