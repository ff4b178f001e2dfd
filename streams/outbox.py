"""Events out of the hub 事件流: published inside the transaction that made them true."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from kernel.chain import linked
from kernel.work import BOOKS, Head, Table, Work, stamp


class Event(NamedTuple):
    """One event as kept. `payload` is the exact JSON text the hash covers."""

    book: int
    seq: int  # 1, 2, 3 … within the book, without a gap
    type: str  # see streams/catalogue.py
    subject: str
    payload: str
    recorded_at: datetime
    hash: bytes

    @property
    def id(self) -> str:
        """Its name outside: the book and the number say it all, so it is not stored."""
        return f"evt_{self.book:x}_{self.seq}"


class Position(NamedTuple):
    """How far a consumer has come in a book."""

    book: int
    consumer: str
    seq: int


EVENTS: Table[Event] = Table("event", Event, "int bigint text text json timestamptz bytea", keys=2)
POSITIONS: Table[Position] = Table("position", Position, "int text bigint", keys=2)


def publish(work: Work, book: int, type_: str, subject: str, payload: Mapping[str, Any]) -> None:
    """Append an event to the book in the batch's own transaction.

    type_: one of the event catalogue. subject: id of the object that moved. payload: as the type's model says; what a
    reader needs, no secrets and no personal data; it is written once, here, and never recomputed.
    """
    head = work.head(book)
    seq, (now, at, _) = head.event_seq + 1, work.recorded(book)
    text = orjson.dumps(payload).decode()
    # The fields as `chained` has them.
    digest = linked(head.event_hash, f"{book}\x1f{seq}\x1f{type_}\x1f{subject}\x1f{text}\x1f{at}", 6)
    work.add(EVENTS, Event(book, seq, type_, subject, text, now, digest))
    work.put(BOOKS, Head(book, head.transfer_seq, head.transfer_hash, seq, digest, now))


def chained(event: Event) -> tuple[str | int, ...]:
    """Return the fields of an event that its hash covers: all but the hash itself."""
    return (event.book, event.seq, event.type, event.subject, event.payload, stamp(event.recorded_at))
