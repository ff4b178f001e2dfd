"""Matching 对账匹配: two books in, matches and discrepancies out. Pure."""
