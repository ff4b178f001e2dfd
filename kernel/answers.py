"""What answers, events and commands show: the parts that their models share.

Such a model is a TypedDict: mypy holds whoever makes one to it, pydantic reads its schema for the OpenAPI document, and
it costs nothing where it is made. docs/decisions/0034-what-an-answer-looks-like.md has the reasons.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from kernel.ids import BODY_LENGTH
from kernel.shapes import INT64
from kernel.shapes import Currency as Currency


def id_schema(prefix: str) -> dict[str, Any]:
    """Return the JSON Schema of the ids of one kind."""
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{{BODY_LENGTH}}}$"}


def words(values: Iterable[str]) -> WithJsonSchema:
    """Return the mark of a text that is one of some words, such as the states of a state table."""
    return WithJsonSchema({"type": "string", "enum": [str(value) for value in values]})


Minor = Annotated[int, Field(description="whole minor units", json_schema_extra=INT64)]
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
PaymentId = Annotated[str, WithJsonSchema(id_schema("pay"))]
ChargebackId = Annotated[str, WithJsonSchema(id_schema("cbk"))]
RefundId = Annotated[str, WithJsonSchema(id_schema("re"))]
Object = dict[str, Any]


T = TypeVar("T")


class ListOut(TypedDict, Generic[T]):
    """One page of a list."""

    object: Literal["list"]
    data: list[T]
    has_more: Annotated[bool, Field(description="whether there is another page")]


class FailureOut(TypedDict):
    """Why it failed, in the rail's own words."""

    code: str
    message: str | None
