"""The hash chain 哈希链 of a book: each record's hash covers the record before it, so none can change unnoticed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

GENESIS = b"\x00" * 32
PARTED = "\x1f"


@dataclass
class Walk:
    """A walk along the chains of all books: from where each was last found unbroken, to where it ends now.

    since: book → (number, hash) of a record up to which the chain is known to hold. Whoever walks notes what was read.
    last: book → id of the last record walked, for a chain whose records are found by id.
    """

    since: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)
    rows: int = 0
    ends: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    last: dict[int, str] = field(default_factory=dict)

    def start(self, book: int) -> tuple[int, bytes]:
        """Return the number and hash after which a book's chain is to be walked."""
        return self.since.get(book, (0, GENESIS))


def link(previous: bytes, *fields: str | int) -> bytes:
    """Return the hash of one record: SHA-256 over the previous hash and the record's fields.

    Fields are parted by a control character that none of them may hold, so no byte can move to its neighbour unseen.
    Raises ValueError for a field that holds it.
    """
    return linked(
        previous, PARTED.join([field if isinstance(field, str) else str(field) for field in fields]), len(fields)
    )


def linked(previous: bytes, text: str, fields: int) -> bytes:
    """Return the same of a record whose fields are joined already: for those that are written thousands of times.

    text: the fields, PARTED between them. fields: how many. Raises ValueError as `link` does.
    """
    if text.count(PARTED) != fields - 1:
        raise ValueError("a chained field holds the separator U+001F")
    return sha256(previous + text.encode()).digest()


def follows(stored: bytes, previous: bytes, *fields: str | int) -> bool:
    """Tell whether `stored` is the hash of a record with these fields; fields that cannot be chained have none."""
    try:
        return stored == link(previous, *fields)
    except ValueError:
        return False


def first_broken(rows: Iterable[tuple[int, bytes, tuple[str | int, ...]]]) -> int | None:
    """Return the number of the first record that does not follow from the one before, or None.

    rows: (number counted from 1, stored hash, fields) in order of number.
    """
    previous, expected = GENESIS, 1
    for number, stored, fields in rows:
        if number != expected or not follows(stored, previous, *fields):
            return expected
        previous = stored
        expected += 1
    return None
