"""Identifiers: a prefix that says what it names, then 26 hexadecimal digits that sort by time."""

import re
from collections.abc import Callable
from functools import lru_cache

BODY_LENGTH = 26
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"[a-z]{2,4}_[0-9a-f]{26}(_[0-9a-z])?", re.ASCII)
_LAST_BOOK = 2**31 - 1  # as the columns hold it


class Ids:
    """Makes identifiers from the clock (48 bits of milliseconds) and chance (56 bits).

    They grow with time, so they fill an index from its right edge, and they cannot be guessed from a neighbour.
    """

    def __init__(self, now_ms: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._now_ms = now_ms
        self._random_bits = random_bits

    def body(self) -> str:
        """Return the 26 digits alone."""
        return f"{self._now_ms():012x}{self._random_bits(56):014x}"

    def new(self, prefix: str) -> str:
        """Return a fresh identifier such as `pay_0193…`; prefix: pay re evt ..., without the underscore."""
        return f"{prefix}_{self.body()}"


def is_id(text: str, prefix: str) -> bool:
    """Tell whether `text` could be one of our identifiers of this kind."""
    return text.startswith(prefix + "_") and _ID.fullmatch(text) is not None


@lru_cache(maxsize=4096)  # few books are busy at a time
def base36(number: int) -> str:
    """Write a non-negative number with digits and lower-case letters."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
        if number == 0:
            return digits


def reference(book: int, ident: str) -> str:
    """Return the number we give a channel for one of our objects: book, dash, the id without its prefix.

    It carries the book so that a notice finds its place without a lookup, and at most 32 characters of [0-9a-z-] for
    books below 36^4 (WeChat's out_trade_no: 6-32 characters).
    """
    return f"{base36(book)}-{ident.split('_', 1)[1].replace('_', '')}"


def parse_reference(text: str, prefix: str) -> tuple[int, str] | None:
    """Return (book, id) of a reference we made, or None for one we did not make.

    A reference of 27 digits after the dash names an attempt: its last character is the attempt's number.
    """
    start, dash, body = text.partition("-")
    if not dash or not start or len(start) > 6 or any(c not in _BASE36 for c in start):
        return None
    book = int(start, 36)
    if book > _LAST_BOOK or base36(book) != start:  # as we write it and no otherwise: one object has one reference
        return None
    ident = f"{prefix}_{body[:BODY_LENGTH]}" + (f"_{body[BODY_LENGTH:]}" if len(body) > BODY_LENGTH else "")
    return (book, ident) if _ID.fullmatch(ident) else None
