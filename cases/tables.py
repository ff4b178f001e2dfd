"""The rows of cases as the commit lane knows them; schema.sql has their meaning."""

import hashlib
from datetime import datetime
from typing import NamedTuple

from kernel.ids import BODY_LENGTH
from kernel.work import Table


class Case(NamedTuple):
    """Something about one object that a person must decide."""

    book: int
    id: str
    kind: str  # one of cases.catalogue.KINDS
    about: str  # the object's id: a payment, a refund, an attempt (pay_…:2), a batch, a line, a file
    amount_minor: int | None  # what is at stake, as far as that is a sum
    currency: str | None
    facts: str  # JSON object: what was found, for whoever decides
    status: str
    opened_at: datetime  # when last
    opened_count: int  # how often
    decision: str | None  # the last one
    decided_by: str | None
    decided_at: datetime | None
    note: str | None


CASES: Table[Case] = Table(
    "case_file",
    Case,
    "int text text text bigint text json text timestamptz int text text timestamptz text",
    keys=2,
)


def case_id(book: int, kind: str, about: str) -> str:
    """Return the id of the one case of this kind about this object."""
    digest = hashlib.sha256(f"{book}\n{kind}\n{about}".encode()).hexdigest()
    return f"cas_{digest[:BODY_LENGTH]}"
