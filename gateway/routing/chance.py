"""Chance that can be had again: numbers that follow from a payment's id and from nothing else.

Weights and exploration are drawn here, so that a decision can be repeated later from what is stored.
"""

from hashlib import blake2b


def draw(payment_id: str, purpose: str) -> float:
    """Return a number in [0, 1), spread evenly over payments and independent between purposes."""
    digest = blake2b(f"{payment_id}\n{purpose}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)
