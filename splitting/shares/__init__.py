"""Shares 份额: sharing a payment out, taking shares back, giving them again."""
