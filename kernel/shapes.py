"""Forms that callers send in, and that the models of all bodies share: text, amounts, currencies, times.

Amounts are whole minor units, strictly: 10.0, "10" and true are refused. Unknown fields are refused too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function
from typing_extensions import TypeAliasType

from kernel.addresses import SHOWN_PATTERN, check_shown
from kernel.money import CURRENCIES, is_currency

MAX_AMOUNT = 10**12  # minor units; no rail takes more in one payment
# Neither control characters nor marks that break lines, change direction or hide: what is shown is what was sent.
_HIDES = (
    r"\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb" "\U000e0000-\U000e007f"
)
_UNSEEN = re.compile(rf"[\x00-\x1f{_HIDES}]")
# What hides nothing: a joiner behind what it joins, as Persian, Hindi and joined emoji have it (UAX #31, 2.3.1;
# UTS #51, 1.4.9), and the flags of England and its like, spelt in tags (UTS #51, annex C).
# Behind ASCII a joiner joins nothing.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f"
_JOINS = re.compile(rf"(?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d]|{_FLAG}")
_LINES = str.maketrans("", "", "\n\r\t")


def _shown_pattern(besides: str = "") -> str:
    """Return the same as a pattern, without look-behind, which not every reader of a document has."""
    return rf"^(?:[{besides} -~]|(?:{_FLAG}|[^\x00-\x7f{_HIDES}])[\u200c\u200d]?)*$"


_SHOWN, _SHOWN_IN_LINES = _shown_pattern(), _shown_pattern(r"\n\r\t")


def shown(text: str, *, lines: bool = False) -> str:
    """Refuse characters that a reader would not see, by name and place. lines: it may have several."""
    if text.isascii() and text.isprintable():
        return text
    found = _UNSEEN.search(_JOINS.sub("x", text))
    if found is None:
        return text
    what = "a line break" if found[0] in "\n\r\u2028\u2029" else f"U+{ord(found[0]):04X}, which is not shown"
    form = "it" if lines else "it in one line,"
    raise ValueError(f"it holds {what}; send {form} without control characters and marks that hide or turn text")


def shown_in_lines(text: str) -> str:
    shown(text.translate(_LINES), lines=True)
    return text


@dataclass(frozen=True, slots=True)
class Visible:
    """That a reader sees every character of a text. lines: it may have several."""

    lines: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(shown_in_lines if self.lines else shown, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": _SHOWN_IN_LINES if self.lines else _SHOWN}


@dataclass(frozen=True, slots=True)
class FormOf:
    """That a value, read by something else, has the form of a type: for the document."""

    type: Any

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return a reference to the type's own schema, under its name."""
        found: Any = TypeAdapter(self.type).core_schema
        outer = found if found["type"] == "definitions" else {"type": "definitions", "schema": found, "definitions": []}
        name = f"{self.type.__module__}.{self.type.__name__}:{id(self.type)}"
        return handler({**outer, "schema": {"ref": name, **outer["schema"]}})


@dataclass(frozen=True, slots=True)
class Said:
    """What the document says besides of a form that a function checks: it may be narrower than that, never wider."""

    schema: Mapping[str, Any] = field(hash=False)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), **self.schema}


@dataclass(frozen=True, slots=True)
class Form:
    """That a text is of a form. words: what to send, for people."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        wanted = re.compile(self.pattern, re.ASCII)

        def check(text: str) -> str:
            if not wanted.fullmatch(text):
                raise ValueError(f"send {self.words}")
            return text

        return no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


def _known_currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError(f"{code} is not an ISO 4217 currency")
    return code


Text = Annotated[str, StringConstraints(min_length=1, max_length=127), Visible()]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40), Visible()]
MetadataValue = Annotated[str, StringConstraints(max_length=500), Visible(lines=True)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)]
INT64 = {"format": "int64"}  # for readers of the document whose integers have a size
IS_AMOUNT = object()  # marks what is counted in whole units; refusals of it have codes of their own (`amount_…`)
Amount = Annotated[
    int,
    Field(gt=0, le=MAX_AMOUNT, strict=True, description="whole minor units, e.g. 分", json_schema_extra=INT64),
    IS_AMOUNT,
]


def _not_null(value: Any) -> Any:
    """Refuse null where leaving it out means all, or whatever the payer says: who computed it meant neither."""
    if value is None:
        raise ValueError("send a whole number, or leave it out")
    return value


GivenAmount = Annotated[
    Amount | None,
    BeforeValidator(_not_null),
    WithJsonSchema({"type": "integer", **INT64, "minimum": 1, "maximum": MAX_AMOUNT}),
]
Currency = TypeAliasType(
    "Currency",
    Annotated[
        str,
        Form(r"[A-Z]{3}", "a currency of ISO 4217 in capital letters, such as CNY"),
        AfterValidator(_known_currency),
        WithJsonSchema({"type": "string", "enum": list(CURRENCIES), "description": "ISO 4217, with minor units"}),
    ],
)
ORDER_ID = (r"[0-9A-Za-z_\-|*.:/]{1,64}", "1 to 64 of the characters 0-9 A-Z a-z _ - | * . : /")
OrderId = Annotated[str, Form(*ORDER_ID)]
PayeeId = Annotated[str, Form(r"pye_[0-9a-f]{26}", "the id of a payee, as POST /v1/payees answers it")]


class Body(BaseModel):
    """Strict in form: no unknown fields, no coercion of numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


def _leads_a_browser(address: str) -> str:
    check_shown(address)
    return address


Address = Annotated[
    str,
    StringConstraints(max_length=512),
    Form(
        r"https?://[!#-;=?-~]+", "an address that begins with https:// or http://, in ASCII; anything else in it as %XX"
    ),
    AfterValidator(_leads_a_browser),
    Said({"pattern": SHOWN_PATTERN}),
]
MerchantsName = Annotated[str, StringConstraints(min_length=1, max_length=80), Visible()]

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


_LOST_PLUS = re.compile(r"[0-9] [0-9]{2}:[0-9]{2}$", re.ASCII)  # a + in a query that was not escaped is read as a space


def _rfc3339(value: Any) -> Any:
    """Refuse numbers, and texts of another form: what seconds or milliseconds of which epoch, a reader would guess."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("send a time with its offset as RFC 3339 writes it, such as 2026-11-24T08:30:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_rfc3339)]


def metadata_text(metadata: dict[str, str] | None) -> str | None:
    """Return metadata as the JSON it is stored as; None for none."""
    return orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS).decode() if metadata else None


def moment(text: str) -> datetime:
    """Read an RFC 3339 moment with its offset and return it in UTC. Raises ValueError."""
    if not _RFC3339.fullmatch(text):
        lost = " In an address the + of an offset is written %2B." if _LOST_PLUS.search(text) else ""
        raise ValueError(f"send a time with its offset as RFC 3339 writes it, such as 2026-11-24T08:30:00Z.{lost}")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        raise ValueError("there is no such day or time; send one such as 2026-11-24T08:30:00Z") from None
    except OverflowError:
        raise ValueError("that is beyond the calendar") from None


class _GivenTwice(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise _GivenTwice(name)
        names.add(name)


_NAMES = json.JSONDecoder(object_pairs_hook=_once)


def name_given_twice(raw: bytes) -> str | None:
    """Return a name that stands twice in one object of this JSON, None where none does.

    raw: JSON that a model has accepted. Its reader keeps the last of two and says nothing; another reader keeps the
    first, and then two systems have seen two orders. Costs 2 to 5 µs on a payment's body.
    """
    try:
        _NAMES.decode(raw.decode())
    except _GivenTwice as twice:
        return str(twice)
    return None
