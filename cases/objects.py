"""A case as its events and the command line show it."""

from typing import Annotated, Literal

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from cases import states
from cases.catalogue import KINDS
from cases.tables import Case
from kernel.answers import Currency, Minor, Object, Time, words
from kernel.clock import rfc3339
from streams.catalogue import EventType


class CaseOut(TypedDict):
    """Something that happened to money about which a person must decide 待人工处理."""

    object: Literal["case"]
    id: str
    kind: Annotated[str, words(KINDS)]
    about: Annotated[str, Field(description="the id of an object; of an attempt the payment's, a colon and its number")]
    amount_minor: Minor | None
    currency: Currency | None
    facts: Object
    status: Annotated[str, words(states.Case)]
    opened_at: Time
    opened_count: int
    decision: str | None
    decided_by: str | None
    decided_at: Time | None
    note: str | None


EVENTS = {
    "case.opened": EventType("something happened to money about which a person must decide", CaseOut),
    "case.decided": EventType("a person has decided it, or it is gone", CaseOut),
}


def case_payload(case: Case) -> CaseOut:
    """Return a case; amount in minor units of its currency, times in RFC 3339."""
    return {
        "object": "case",
        "id": case.id,
        "kind": case.kind,
        "about": case.about,
        "amount_minor": case.amount_minor,
        "currency": case.currency,
        "facts": orjson.loads(case.facts),
        "status": case.status,
        "opened_at": rfc3339(case.opened_at),
        "opened_count": case.opened_count,
        "decision": case.decision,
        "decided_by": case.decided_by,
        "decided_at": None if case.decided_at is None else rfc3339(case.decided_at),
        "note": case.note,
    }
