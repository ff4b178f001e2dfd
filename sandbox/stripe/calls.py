"""A request to the API as it is read, and what is answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.acquirer import Dispute, Merchant, Refund, Trade, Webhook
from sandbox.store import Tx
from sandbox.stripe.forms import Fields


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. replayed: it is the answer to an earlier request under the same key."""

    status: int
    body: bytes
    replayed: bool = False
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request about what its path names."""

    merchant: Merchant
    fields: Fields
    text: str  # method, path and fields, the same for the same request
    key: str | None
    path: str
    facts: Mapping[str, object]
    trade: Trade | None = None
    refund: Refund | None = None
    hook: Webhook | None = None
    dispute: Dispute | None = None


Execute = Callable[[Tx, Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. op: what faults call it; known: the fields it takes."""

    method: str
    path: str
    op: str
    execute: Execute
    known: Sequence[str]


def ok(body: Any, **headers: str) -> Answer:
    """Return a 200 answer."""
    return Answer(200, orjson.dumps(body), headers=headers)


def about(call: Call) -> Trade:
    """Return the intent that a call is about."""
    assert call.trade is not None
    return call.trade
