"""A case as its events and the command line show it."""

from typing import Any

import orjson

from cases.tables import Case
from kernel.clock import rfc3339


def case_payload(case: Case) -> dict[str, Any]:
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
