"""A route as a record: what a package hands over so that merchants can call it.

The door (`gateway/door/`) wraps every record in the same way, and `ops/wiring.py` joins the records of all packages.
So a handler knows nothing of HTTP: it gets a Call that is checked for form, and returns a Reply.
docs/decisions/0033-a-route-is-a-record.md has the reasons.
"""

import csv
import io
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from kernel.answers import id_schema
from kernel.errors import NotFound, Rejected
from kernel.ids import BODY_LENGTH, is_id
from kernel.money import CURRENCIES
from kernel.shapes import moment

B = TypeVar("B")
JSON, CSV = "application/json", "text/csv"

_DIGITS = 15  # of an amount to compare with
_SHOWN = 64  # characters of what a caller sent, in an answer


class Call(Generic[B]):
    """One request of a caller who proved who it is and may ask this; everything in it has the form it should have."""

    __slots__ = ("body", "book", "by", "ident", "key", "query", "raw")

    def __init__(
        self, book: int, by: str, *, key: str, ident: str, query: Mapping[str, Any], body: B, raw: bytes
    ) -> None:
        """by: the id of the caller's API key. key: the Idempotency-Key, empty where the route needs none.

        ident: what stands in the path. query: by name, only what was given. raw: the body as it came.
        """
        self.book = book
        self.by = by
        self.key = key
        self.ident = ident
        self.query = query
        self.body = body
        self.raw = raw

    @property
    def limit(self) -> int:
        """How many to list."""
        limit: int = self.query.get("limit", USUAL_LIMIT)
        return limit

    @property
    def after(self) -> str | None:
        """The id after which a list goes on, None to start."""
        return self.query.get("starting_after")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers."""

    body: Any  # as the record's answer says; where that is no JSON, an AsyncIterator of bytes
    status: int = 200
    replayed: bool = False  # an earlier request with the same Idempotency-Key did it


def made(body: Any, *, replayed: bool = False) -> Reply:
    """Answer for an object that this request made, or that an earlier one with the same key had made."""
    return Reply(body, 200, True) if replayed else Reply(body, 201)


def listed(data: Sequence[Any], limit: int) -> Reply:
    """Answer one page of a list. data: as many as `limit`, and one more where there is one."""
    return Reply({"object": "list", "data": data[:limit], "has_more": len(data) > limit})


def as_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as RFC 4180 writes them, in UTF-8; None is an empty cell."""
    page = io.StringIO()
    csv.writer(page).writerows(rows)
    return page.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, or what stands in a path."""

    name: str
    says: str  # for people
    read: Callable[[str], Any]  # raises Rejected or NotFound for what cannot be one
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})  # JSON Schema
    problems: Sequence[str] = ()  # codes of what `read` raises
    of: str = ""  # the kind of object it is the id of, as that object's `object` says


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[B]):
    """One route of the merchant API. Its name, in figures and logs too, is its handler's."""

    method: str
    path: str  # with {id} where `ident` stands
    scope: str  # what a key needs to ask this
    handler: Callable[[Call[B]], Awaitable[Reply]]
    says: str  # for people, in a line
    answer: Any  # the model of what it answers
    body: type[B] | None = None  # None: whatever is sent is not read
    ident: Parameter | None = None
    query: Sequence[Parameter] | None = None  # None: not looked at
    needs_key: bool = False  # an Idempotency-Key
    makes: bool = False  # answers 201
    gives_way: bool = False  # first to be turned away in a crowd: it begins something new
    media: str = JSON  # of what it answers; what is no JSON is sent as it is made
    file: str = ""  # what it is called where it is saved
    problems: Sequence[str] = ()  # codes its handler may raise; others follow from the fields above

    @property
    def name(self) -> str:
        name: str = self.handler.__name__
        return name

    def __post_init__(self) -> None:
        if self.body is not None and not issubclass(self.body, BaseModel):
            raise TypeError(f"{self.method} {self.path}: a body is a pydantic model")
        if ("{id}" in self.path) != (self.ident is not None):
            raise TypeError(f"{self.method} {self.path}: what is {{id}}?")


# ---- parameters that several routes have -----------------------------------------------------------------------------

USUAL_LIMIT = 20


def names(text: str, prefix: str) -> bool:
    """Tell whether `text` could be the id of one of our objects of this kind, and nothing more than that."""
    return is_id(text, prefix) and len(text) == len(prefix) + 1 + BODY_LENGTH


def an_id(prefix: str, what: str, kind: str = "") -> Parameter:
    """Return the path's {id} of a kind of object of ours. what: for people. kind: as the object's `object` says."""

    def read(text: str) -> str:
        if not names(text, prefix):
            raise NotFound("no_such_object", f"{text[:_SHOWN]!r} is not an id of this kind")
        return text

    return Parameter("id", f"the id of {what}", read, id_schema(prefix), ("no_such_object",), kind)


def a_name(pattern: str, what: str, missing: Callable[[str], NotFound], kind: str = "") -> Parameter:
    """Return the path's {id} of what is named otherwise. missing: the refusal of what cannot be one."""
    form = re.compile(pattern, re.ASCII)

    def read(text: str) -> str:
        if not form.fullmatch(text):
            raise missing(text[:_SHOWN])
        return text

    schema = {"type": "string", "pattern": f"^{pattern}$"}
    return Parameter("id", f"the name of {what}", read, schema, (missing("").code,), kind)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100 and len(text) <= 3):
        raise Rejected("invalid_request", "limit must be a number from 1 to 100", param="limit")
    return int(text)


LIMIT = Parameter(
    "limit",
    "how many",
    _limit,
    {"type": "integer", "minimum": 1, "maximum": 100, "default": USUAL_LIMIT},
    ("invalid_request",),
)


# Of lists that were whole before they had pages: whoever does not ask for a page gets what there is.
LIMIT_OR_ALL = Parameter(
    "limit", "how many; left out: all", _limit, {"type": "integer", "minimum": 1, "maximum": 100}, ("invalid_request",)
)


def not_from_a_list() -> Rejected:
    return Rejected(
        "invalid_cursor", "starting_after must be the id of the last object that you have", param="starting_after"
    )


def starting_after(prefix: str) -> Parameter:
    """Return the parameter by which a list of our objects goes on."""

    def read(text: str) -> str:
        if not names(text, prefix):
            raise not_from_a_list()
        return text

    return Parameter("starting_after", "the id of the last one you have", read, id_schema(prefix), ("invalid_cursor",))


def text(name: str, says: str, form: str, words: str, code: str = "invalid_request") -> Parameter:
    """Return a query parameter that is a text of a form. form: a pattern. words: what to send, for people."""
    wanted = re.compile(form, re.ASCII)

    def read(text: str) -> str:
        if not wanted.fullmatch(text):
            raise Rejected(code, f"{name}: send {words}", param=name)
        return text

    return Parameter(name, says, read, {"type": "string", "pattern": f"^{form}$"}, (code,))


def only_of(kind: str, prefix: str) -> Parameter:
    """Return the query parameter by which a list is of one object of ours alone; the handler says no_such_ its kind."""

    def read(text: str) -> str:
        if not names(text, prefix):
            raise Rejected("invalid_request", f"{kind} must be the id of a {kind}: {prefix}_…", param=kind)
        return text

    problems = ("invalid_request", f"no_such_{kind}")
    return Parameter(kind, f"only of this {kind}", read, id_schema(prefix), problems, kind)


def currency(name: str, says: str) -> Parameter:
    """Return a query parameter that is a currency."""

    def read(text: str) -> str:
        if text not in CURRENCIES:
            raise Rejected("currency_unknown", f"{name}: send an ISO 4217 code, such as CNY", param=name)
        return text

    return Parameter(name, says, read, {"$ref": "#/components/schemas/Currency"}, ("currency_unknown",))


def one_of(name: str, says: str, values: Sequence[str]) -> Parameter:
    """Return a query parameter that is one of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise Rejected("invalid_request", f"{name} must be one of {', '.join(values)}", param=name)
        return text

    return Parameter(
        name, says, read, {"type": "string", "enum": [str(value) for value in values]}, ("invalid_request",)
    )


def at(name: str, says: str) -> Parameter:
    """Return a query parameter that is a moment, read as RFC 3339 into UTC."""

    def read(text: str) -> datetime:
        try:
            return moment(text)
        except ValueError as error:
            raise Rejected("invalid_request", f"{name}: {error}", param=name) from None

    return Parameter(name, says, read, {"type": "string", "format": "date-time"}, ("invalid_request",))


def minor_units(name: str, says: str) -> Parameter:
    """Return a query parameter that is an amount in whole minor units, nothing or more."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise Rejected(
                "invalid_request", f"{name} must be an amount in whole minor units, such as 1250", param=name
            )
        return int(text)

    return Parameter(
        name, says, read, {"type": "integer", "minimum": 0, "maximum": 10**_DIGITS - 1}, ("invalid_request",)
    )
