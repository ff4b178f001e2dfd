"""The rows of persons, approvals and the audit log; schema.sql has their meaning."""

from datetime import datetime
from typing import NamedTuple

from kernel.work import Table


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


class Approval(NamedTuple):
    """An approval 审批: what one person asked to do, and what another said to it."""

    id: str
    act: str  # one of people.roles.Act
    what: str  # canonical JSON of people.approval.What
    what_hash: bytes  # SHA-256 of it
    about: str
    merchant_book: int | None
    status: str
    maker: str
    checker: str | None
    made_at: datetime
    expires_at: datetime  # by the database's clock, as every moment here
    status_at: datetime
    note: str
    use_id: str | None


# What has run out reads as expired, whether or not that has been written down: one clock, that of the transaction.
STATUS_NOW = (
    "CASE WHEN t.status IN ('asked', 'approved') AND t.expires_at <= transaction_timestamp() THEN 'expired' "
    "ELSE t.status END"
)


class _Approvals(Table[Approval]):
    """Approvals in a commit of the lane. They are read as they stand now, and not remembered: a row is used once."""

    def __init__(self) -> None:
        kinds = "text text text bytea text int text text text timestamptz timestamptz timestamptz text text"
        super().__init__("approval", Approval, kinds, keys=1)
        self._load_sql = self._load_sql.replace("t.status,", f"{STATUS_NOW},")


APPROVALS = _Approvals()
