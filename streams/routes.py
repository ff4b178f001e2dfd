"""Events, as merchants read them."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

import orjson
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from kernel.answers import ListOut, Time, words
from kernel.db import Pool, acquire
from kernel.errors import Rejected
from kernel.routes import LIMIT, Call, Parameter, Reply, Route, listed
from kernel.work import stamp
from streams.catalogue import Catalogue
from streams.store import events_after, last_event


def _after(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Rejected(
            "invalid_cursor", "after must be the seq of the last event that you have, or 0 to begin", param="after"
        )
    return int(text)


class EventOut(TypedDict):
    """Something that happened in the merchant's book."""

    object: Literal["event"]
    id: str
    seq: Annotated[int, Field(description="its place in the book, without a gap")]
    type: str
    subject: Annotated[str, Field(description="the id of the object that moved")]
    created_at: Annotated[Time, Field(description="to the microsecond, as the hash covers it")]
    hash: Annotated[str, Field(description="its place in the book's chain, hexadecimal")]
    data: Any  # as the type's model says


def event_model(catalogue: Catalogue) -> Any:
    """Return the model of an event in which `data` is what its type's model in the catalogue says."""
    types: dict[Any, list[str]] = {}
    for name, event in catalogue.items():
        types.setdefault(event.payload, []).append(name)
    told = "\n".join(
        f"- `{name}`: {event.says} ({_name(event.payload)}, version {event.version})"
        for name, event in catalogue.items()
    )
    by_type: list[Any] = [
        {
            "if": {"properties": {"type": {"enum": names}}},
            "then": {"properties": {"data": {"$ref": f"#/components/schemas/{payload.__name__}"}}},
        }
        for payload, names in types.items()
    ]
    members = {
        **EventOut.__annotations__,
        "type": Annotated[str, words(catalogue), Field(description=told)],
        "data": Union[tuple(types)],  # noqa: UP007 (of as many as there are)
    }
    model = TypedDict("EventOut", members)  # type: ignore[misc]
    model.__doc__ = EventOut.__doc__
    return with_config(ConfigDict(json_schema_extra={"allOf": by_type}))(model)


def _name(payload: Any) -> str:
    name: str = payload.__name__
    return name.removesuffix("Out")


class EventRoutes:
    """The routes of events."""

    def __init__(self, pool: Pool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._catalogue = catalogue

    def routes(self) -> Sequence[Route[Any]]:
        listing: Any = ListOut
        one = f"(?:{'|'.join(map(re.escape, self._catalogue))})"
        return [
            Route(
                method="GET",
                path="/v1/events",
                scope="events:read",
                handler=self.list_events,
                says="Read what happened in your book, in order and without a gap",
                query=(
                    LIMIT,
                    Parameter(
                        "after",
                        "the `seq` of the last event you have, 0 to start",
                        _after,
                        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1, "default": 0},
                        ("invalid_cursor",),
                    ),
                    Parameter(
                        "type",
                        "only of these types, with commas between",
                        self._types,
                        {"type": "string", "pattern": f"^{one}(?:,{one})*$"},
                        ("invalid_request",),
                    ),
                ),
                answer=listing[event_model(self._catalogue)],
            )
        ]

    def _types(self, text: str) -> list[str]:
        types = text.split(",")
        if strange := [one for one in types if one not in self._catalogue]:
            raise Rejected("invalid_request", f"there are no events of type {strange[0][:64]!r}", param="type")
        return types

    async def list_events(self, call: Call[None]) -> Reply:
        """Events in order; `after` is the number of the last one seen, so a reader misses none and repeats none."""
        after = call.query.get("after", 0)
        async with acquire(self._pool) as connection:
            found = await events_after(connection, call.book, after, call.limit + 1, call.query.get("type"))
            if after and not found and after > (last := await last_event(connection, call.book)):
                raise Rejected(
                    "invalid_cursor",
                    f"the last event of this book is {last}; if you have been given later ones, this hub was restored "
                    "without its last minutes: ask your operator before you go on",
                    param="after",
                    last=last,
                )
        data: list[EventOut] = [
            {
                "object": "event",
                "id": event.id,
                "seq": event.seq,
                "type": event.type,
                "subject": event.subject,
                "created_at": stamp(event.recorded_at),  # to the microsecond, as the hash covers it
                "hash": event.hash.hex(),
                "data": orjson.Fragment(event.payload),
            }
            for event in found
        ]
        return listed(data, call.limit)
