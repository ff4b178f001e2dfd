"""Tells what in a message is not as PayPal's published schemas say (tests/golden/paypal/schemas.json).

A reader of the few words of JSON Schema that those use, stricter than JSON Schema in one thing: a name that no schema
lists is a fault, because it would be a name that PayPal does not know.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMAS: Mapping[str, Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "paypal" / "schemas.json").read_text()
)
TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def faults(api: str, name: str, value: Any) -> list[str]:
    """Return what is wrong with a value of schema `name` of `api`, each with its place; nothing when it is right."""
    return list(_faults(api, {"$ref": f"#/{name}"}, value, ""))


def _faults(api: str, schema: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    whole = list(_flat(api, schema))
    known: dict[str, list[Mapping[str, Any]]] = {}
    for part in whole:
        wanted = part.get("type")
        if wanted and not (isinstance(value, TYPES[wanted]) and not (wanted == "integer" and value is True)):
            yield f"{place or '/'} is no {wanted}"
            return
        yield from _plain(part, value, place)
        for name, inner in part.get("properties", {}).items():
            known.setdefault(name, []).append(inner)
        if isinstance(value, list) and "items" in part:
            for number, item in enumerate(value):
                yield from _faults(api, part["items"], item, f"{place}/{number}")
    if isinstance(value, dict):
        free = any(part.get("additionalProperties") for part in whole) or not known
        for name, inner in value.items():
            if name not in known and not free:
                yield f"{place}/{name} is not known to PayPal"
            for part in known.get(name, ()):
                yield from _faults(api, part, inner, f"{place}/{name}")


def _flat(api: str, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all that it refers to for the same value."""
    yield schema
    if "$ref" in schema:
        yield from _flat(api, SCHEMAS[api][schema["$ref"].removeprefix("#/")])
    for part in schema.get("allOf", ()):
        yield from _flat(api, part)


def _plain(schema: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    """Yield what is wrong with a value by itself."""
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place} {value!r} is none of {schema['enum']}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
            yield f"{place} has {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{place} {value!r} does not look like {schema['pattern']}"
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
        yield f"{place} has {len(value)} items"
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{place}/{name} is missing"
