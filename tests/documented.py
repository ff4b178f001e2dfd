"""Whether what was answered, and what events carry, is what its model says, and nothing besides."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from ops.openapi import document
from ops.wiring import joined_events

PROBLEM = "application/problem+json"


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


# ---- the OpenAPI document --------------------------------------------------------------------------------------------


@cache
def openapi() -> dict[str, Any]:
    return document()


@cache
def _operations() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    return [
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation)
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation that a request is of; None: of none."""
    plain = path.partition("?")[0]
    return next((found for one, form, found in _operations() if one == method and form.fullmatch(plain)), None)


def answer_faults(method: str, path: str, status: int, headers: Mapping[str, str], raw: bytes) -> list[str]:
    """Return what of an answer of the merchant API is not as the document says. path: as it was sent, `..` resolved.

    What fits no operation is a problem all the same, and one the document names.
    """
    components = openapi()["components"]
    operation = operation_of(method, path)
    name = "no operation" if operation is None else operation["operationId"]
    if operation is None:
        other = any(form.fullmatch(path.partition("?")[0]) for _, form, _ in _operations())
        said = components["responses"]["MethodNotAllowed" if other else "NoSuchRoute"]
        if status != (405 if other else 404):
            return [f"{name} does not answer {status}: {raw[:300]!r}"]
    else:
        said = operation["responses"].get(str(status))
    if said is None:
        return [f"{name} does not answer {status}: {raw[:300]!r}"]
    if "$ref" in said:
        said = components["responses"][said["$ref"].rpartition("/")[2]]
    kind = headers.get("Content-Type", "").partition(";")[0]
    if kind not in said["content"]:
        return [f"{name} does not answer {status} as {kind}"]
    for header in said["headers"]:
        if header not in headers and header not in ("Retry-After", "Idempotency-Replayed"):
            return [f"{name} answers {status} without {header}"]
    if kind == "text/csv":
        return []
    content = said["content"][kind]
    if kind == PROBLEM:
        code, known = orjson.loads(raw)["code"], content["examples"]
        if not any(code == one or (one[-1] == "…" and code.startswith(one[:-1])) for one in known):
            return [f"{name} does not answer {status} {code}"]
    return [f"{name} {fault}" for fault in _faults(orjson.dumps(content["schema"]).decode(), raw)]


def _faults(schema: str, raw: bytes) -> list[str]:
    return [f"{e.json_path}: {e.message[:300]}" for e in _by_document(schema).iter_errors(orjson.loads(raw))]


@cache
def _by_document(schema: str) -> Draft202012Validator:
    wanted = {"$ref": schema} if schema.startswith("#") else orjson.loads(schema)
    components = {"schemas": closed(openapi()["components"]["schemas"])}
    return Draft202012Validator(
        {**wanted, "components": components}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
