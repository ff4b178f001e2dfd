"""Whether what was answered, and what events carry, is what its model says, and nothing besides."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from ops.wiring import joined_events


def closed(schema: Any) -> Any:
    """Return a JSON Schema in which an object has no members but those it names, unless it says what others are."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def faults(model: Any, value: Any) -> list[str]:
    """Return what of a JSON value is not as the model says."""
    return [f"{error.json_path}: {error.message[:300]}" for error in _validator(model).iter_errors(value)]


@cache
def _validator(model: Any) -> Draft202012Validator:
    schema = TypeAdapter(model).json_schema(mode="serialization")
    return Draft202012Validator(closed(schema), format_checker=Draft202012Validator.FORMAT_CHECKER)


def event_faults(event: Any) -> list[str]:
    """Return what of an event, as GET /v1/events shows it, is not as its type's model says."""
    found = joined_events().get(event["type"])
    if found is None:
        return [f"there is no event {event['type']}"]
    return [f"{event['type']} {fault}" for fault in faults(found.payload, event["data"])]
