"""Whatever a model can find wrong is told in our words: each kind of error that its fields can raise has some."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from gateway.door.responses import rejected
from gateway.routing.policy import Policy, PolicyIn, PolicyWrong
from kernel.words import WORDS
from ops.openapi import records
from ops.settings import Settings
from splitting.plans.document import SplitTreeIn

BODIES = [route.body for route in records() if route.body is not None]
MODELS: list[type[BaseModel]] = [*BODIES, PolicyIn, Settings, SplitTreeIn]

KNOWN = set(get_args(ErrorType))

# pydantic's kind of schema → the errors that one can raise; a limit adds its own
RAISES: dict[str, tuple[str, ...]] = {
    "model": ("model_type", "model_attributes_type"),
    "model-fields": ("missing", "extra_forbidden", "model_type", "model_attributes_type"),
    "str": ("string_type", "string_unicode"),
    "int": ("int_type", "int_from_float", "int_parsing", "int_parsing_size"),
    "float": ("float_type", "float_parsing", "finite_number"),
    "bool": ("bool_type", "bool_parsing"),
    "literal": ("literal_error",),
    "enum": ("enum",),
    "tagged-union": ("union_tag_invalid", "union_tag_not_found"),
    "tuple": ("tuple_type",),
    "list": ("list_type",),
    "dict": ("dict_type",),
    "datetime": ("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"),
}
LIMITS = {"gt": "greater_than", "ge": "greater_than_equal", "lt": "less_than", "le": "less_than_equal"}
OF_TEXT = {"min_length": "string_too_short", "max_length": "string_too_long", "pattern": "string_pattern_mismatch"}
OF_MANY = {"min_length": "too_short", "max_length": "too_long"}
# They hold others, or raise what our own functions say; is-instance: of paths and secrets, which every text can be.
PLAIN = {
    "any", "chain", "default", "definition-ref", "definitions", "function-after", "function-before", "function-plain",
    "function-wrap", "is-instance", "json-or-python", "lax-or-strict", "model-field", "no-info", "nullable", "union",
    "with-info",
}  # fmt: skip


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value
        for name, part in value.items():
            if name != "metadata":
                yield from _schemas(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _schemas(part)


def raised_by(model: type[BaseModel]) -> set[str]:
    """Return the errors of pydantic's own that a model can raise, after the schemas that it is made of."""
    found: set[str] = set()
    for schema in _schemas(model.__pydantic_core_schema__):
        kind = schema["type"]
        assert kind in RAISES or kind in PLAIN, f"{kind}: which errors can it raise?"
        found.update(RAISES.get(kind, ()))
        limits = LIMITS if kind in ("int", "float") else OF_TEXT if kind == "str" else OF_MANY if kind in RAISES else {}
        found.update(error for name, error in limits.items() if schema.get(name) is not None)
    return found


@pytest.mark.parametrize("model", MODELS)
def test_every_error_that_a_model_can_raise_has_words_of_ours(model: type[BaseModel]) -> None:
    found = raised_by(model)
    assert found, "nothing was found out about it"
    assert found <= KNOWN, "no such error"
    assert sorted(found - WORDS.keys()) == []


def test_the_words_are_of_errors_there_are_and_none_is_the_librarys() -> None:
    assert sorted(WORDS.keys() - KNOWN) == []
    assert not [words for words in WORDS.values() if "Input" in words or "should" in words]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON: it ends too early at line 1, column 0"),
        (b'{"a": 1', "the body is not JSON: it ends too early at line 1, column 7"),
        (b"{1}", "the body is not JSON: something is wrong at line 1, column 2"),
        (b'{"merchant_order_id": "1", "amount": 1, "currency": "CNY", "method": {"type": "qr"}, "description": ""}',
         "description: send at least 1 character"),
        (b'{"merchant_order_id": "1", "amount": 1, "currency": "CNY", "method": {"type": "qr"}, "description": "x", '
         b'"metadata": {' + b",".join(b'"%d": ""' % n for n in range(51)) + b"}}", "metadata: send at most 50 names"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_body_is_said_without_the_librarys_words(body: bytes, said: str) -> None:
    model = next(route.body for route in records() if route.name == "create_payment")
    assert model is not None
    with pytest.raises(ValidationError) as wrong:
        model.model_validate_json(body)
    assert rejected(wrong.value, model).message == said


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"rules": [{"when": {}}]}, "is required"),
        ({"margin": 1}, "there is no such field"),
        ({"margin_bp": -1}, "send 1 or more"),
        ({"rules": [{"when": {}, "then": {"prefer": {}}}]}, "send at least 1 name"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_likewise(policy: Any, said: str) -> None:
    with pytest.raises(PolicyWrong) as wrong:
        Policy.of(policy)
    assert said in str(wrong.value)
