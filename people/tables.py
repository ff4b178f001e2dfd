"""The rows of persons and of the audit log; schema.sql has their meaning."""

from datetime import datetime
from typing import NamedTuple


class Person(NamedTuple):
    """Somebody who acts. The credential itself is known to its holder alone."""

    id: str
    name: str
    role: str
    merchant_book: int | None  # of a merchant's staff: the merchant's book
    status: str
    added_at: datetime
    status_at: datetime  # since when the status holds


class AuditRecord(NamedTuple):
    """One record of the audit log 审计日志: an act that begins, or how it ended."""

    seq: int  # gapless, from 1
    recorded_at: datetime
    person: str | None  # name; None: nobody was named
    act: str  # one of people.roles.Act
    what: str  # the command: `merchant suspend`
    about: str
    merchant_book: int | None
    outcome: str  # begun, done, refused, failed
    begun_seq: int  # the record with which the act began; its own number there
    detail: str  # the code of the refusal, or the exception's name; empty otherwise
    hash: bytes
