"""The hash chain 哈希链 of a book: each record's hash covers the record before it, so none can change unnoticed."""

import hashlib
from collections.abc import Iterable

GENESIS = b"\x00" * 32


def link(previous: bytes, *fields: str | int | bytes) -> bytes:
    """Return the hash of one record: SHA-256 over the previous hash and the record's fields.

    Fields are written with their lengths, so that moving a byte from one field to its neighbour changes the hash.
    """
    parts = [previous]
    for value in fields:
        raw = value if isinstance(value, bytes) else str(value).encode()
        parts.append(b"%d:" % len(raw))
        parts.append(raw)
    return hashlib.sha256(b"".join(parts)).digest()


def first_broken(rows: Iterable[tuple[int, bytes, tuple[str | int | bytes, ...]]]) -> int | None:
    """Return the number of the first record that does not follow from the one before, or None.

    rows: (number counted from 1, stored hash, fields) in order of number.
    """
    previous, expected = GENESIS, 1
    for number, stored, fields in rows:
        previous = link(previous, *fields)
        if number != expected or stored != previous:
            return expected
        expected += 1
    return None
