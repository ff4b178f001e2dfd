"""The OpenAPI document is valid, says what the door does, and is what a gateway serves."""

import re
from pathlib import Path

import orjson
import pytest
from openapi_spec_validator import validate

from gateway.door.auth import SCOPES
from gateway.door.problems import PROBLEMS
from ops import openapi
from tests.docs.pages import ROOT
from tests.gateway.front import a_front

DOCUMENT = openapi.document()
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"


def test_a_document_that_is_wrong_is_noticed() -> None:
    broken = orjson.loads(orjson.dumps(DOCUMENT))
    del broken["paths"]["/v1/payments/{id}"]["get"]["parameters"]
    with pytest.raises(Exception, match="id"):
        validate(broken)


async def test_a_gateway_serves_the_document_of_the_repository_to_anyone(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        answer = await front.get("/openapi.json", Authorization=None)
        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "application/json")
        assert answer.body == orjson.loads((ROOT / "docs" / "openapi.json").read_bytes())
        assert front.shop.key not in str(answer.body)


def test_every_route_has_one_operation_with_a_name_of_its_own_and_its_scope() -> None:
    routes = {f"{route.method} {route.path}": route for route in openapi.records()}
    assert routes.keys() == {name for name, _ in OPERATIONS}
    assert len({operation["operationId"] for _, operation in OPERATIONS}) == len(OPERATIONS)
    for name, operation in OPERATIONS:
        assert operation["security"] == [{"key": [routes[name].scope]}]
        assert routes[name].scope in SCOPES
        assert ("requestBody" in operation) == (routes[name].body is not None)
        names = {one.get("name") for one in operation["parameters"]}
        assert {one.name for one in routes[name].query or ()} <= names, name


def test_every_operation_belongs_to_a_resource_that_is_described() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, operation in OPERATIONS for tag in operation["tags"]} == described


def test_every_field_that_may_be_sent_is_described() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    bare = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        if name.endswith(("In", "Change"))
        for field, one in schema["properties"].items()
        if "description" not in one and "$ref" not in one and not (name.startswith("Method") and field == "type")
    ]
    assert bare == []


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = set(re.findall(r"#/components/(\w+/[\w.-]+)", orjson.dumps(DOCUMENT).decode()))
    known = {f"{kind}/{name}" for kind, found in DOCUMENT["components"].items() for name in found}
    assert used <= known
    unused = {one for one in known - used if one.partition("/")[0] == "schemas"}
    assert unused == set()


def test_what_moves_money_needs_a_key_and_what_begins_something_may_find_no_room() -> None:
    for name, operation in OPERATIONS:
        keyed = any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
        assert keyed == ("400" in operation["responses"] and "idempotency_key_missing" in codes_of(operation)), name
        assert {"busy", "internal_error", "key_unknown", "scope_missing"} <= codes_of(operation), name


def codes_of(operation: dict[str, object]) -> set[str]:
    """Return the codes of problems that an operation may give."""
    text = orjson.dumps(operation["responses"]).decode()
    for name in re.findall(r"#/components/responses/(\w+)", text):
        text += orjson.dumps(DOCUMENT["components"]["responses"][name]).decode()
    return set(re.findall(r"- `([a-z_]+)`:", text))


def test_the_page_of_problems_and_the_table_have_the_same_codes_with_the_same_status() -> None:
    page = (ROOT / "docs" / "problems.md").read_text("utf-8").partition("\n## In the operator's log only")[0]
    rows = dict(re.findall(r"^\| `([a-z_…]+)` \| (\d{3}) \|", page, re.MULTILINE))
    assert rows == {code: str(problem.status) for code, problem in PROBLEMS.items()}


def test_every_code_of_the_table_stands_in_the_document() -> None:
    text = orjson.dumps(DOCUMENT).decode()
    assert [code for code in PROBLEMS if code.rstrip("…") not in text] == []
