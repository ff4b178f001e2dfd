"""What a body's model is made of, as far as refusals depend on it: which fields are amounts, which are currencies."""

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kernel.shapes import IS_AMOUNT, Currency


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield a model, and those of what is in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for argument in get_args(annotation):
        yield from models(argument)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation, and what it is made of and marked with, but not what is in a model."""
    yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def is_amount(field: FieldInfo) -> bool:
    return IS_AMOUNT in field.metadata or any(part is IS_AMOUNT for part in _parts(field.annotation))


def is_currency(field: FieldInfo) -> bool:
    return any(part is Currency for part in _parts(field.annotation))


@cache
def amounts(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the fields that are amounts, rates or weights, of a model and of what is in it."""
    return frozenset(name for one in models(model) for name, field in one.model_fields.items() if is_amount(field))


@cache
def currencies(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the fields that are currencies, of a model and of what is in it."""
    return frozenset(name for one in models(model) for name, field in one.model_fields.items() if is_currency(field))


@cache
def chosen_by_type(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields that are one of several models; pydantic puts into a place under them which one it is."""
    return frozenset(name for name, field in model.model_fields.items() if field.discriminator is not None)
