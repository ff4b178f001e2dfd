"""Whether what was answered, and what events carry, is what its model says, and nothing besides.

    python -m tests.documented FILE

lists the problems that the document names and that no test was answered. FILE has what tests were answered, which they
write where SLUICE_PROBLEMS_SEEN names a file: `make unseen` does both.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator, ValidationError
from pydantic import TypeAdapter

from ops.openapi import document, records
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
    return [_told(error) for error in _validator(model).iter_errors(value)]


@cache
def _validator(model: Any) -> Draft202012Validator:
    schema = TypeAdapter(model).json_schema(mode="serialization")
    return Draft202012Validator(closed(schema), validate_formats=True)


def _told(error: ValidationError) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"${path}: {error.message[:300]}"


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
    """Return the operation that a request is of; None: of none. A path in words is no other path's id."""
    plain = path.partition("?")[0]
    item = openapi()["paths"].get(plain)
    if item is not None:
        found: dict[str, Any] | None = item.get(method.lower())
        return found
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
        if not any(_is(code, one) for one in known):
            return [f"{name} does not answer {status} {code}"]
        if seen := os.environ.get("SLUICE_PROBLEMS_SEEN"):
            with Path(seen).open("a", encoding="ascii") as file:
                file.write(f"{name} {code}\n")
    return [f"{name} {fault}" for fault in _faults(orjson.dumps(content["schema"]).decode(), raw)]


def _is(code: str, documented: str) -> bool:
    return code == documented or (documented[-1] == "…" and code.startswith(documented[:-1]))


def unseen(seen: Iterable[str]) -> list[str]:
    """Return what no test was answered. seen: "operation code" a line.

    Of what a handler refuses, each operation is asked for; what the door refuses for all counts wherever it was seen.
    """
    pairs = {(line.split()[0], line.split()[1]) for line in seen}
    codes = {code for _, code in pairs}
    found = [
        f"{route.name} {problem}"
        for route in records()
        for problem in route.problems
        if not any(name == route.name and _is(code, problem) for name, code in pairs)
    ]
    own = {problem for route in records() for problem in route.problems}
    named = {code for answer in _problem_answers() for code in answer["examples"]} - own
    return found + [f"any operation {one}" for one in sorted(named) if not any(_is(code, one) for code in codes)]


def _problem_answers() -> list[dict[str, Any]]:
    components = openapi()["components"]["responses"]
    answers = [answer for _, _, operation in _operations() for answer in operation["responses"].values()]
    whole = [components[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in answers]
    return [one["content"][PROBLEM] for one in whole if PROBLEM in one["content"]]


def _faults(schema: str, raw: bytes) -> list[str]:
    return [_told(error) for error in _by_document(schema).iter_errors(orjson.loads(raw))]


@cache
def _by_document(schema: str) -> Draft202012Validator:
    wanted = {"$ref": schema} if schema.startswith("#") else orjson.loads(schema)
    components = {"schemas": closed(openapi()["components"]["schemas"])}
    return Draft202012Validator({**wanted, "components": components}, validate_formats=True)


if __name__ == "__main__":
    print("\n".join(unseen(Path(sys.argv[1]).read_text("ascii").splitlines())))
