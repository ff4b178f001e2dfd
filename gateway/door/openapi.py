"""The OpenAPI document, made from the records of the routes: docs/openapi.json, and what a gateway serves.

Nothing in it is written a second time: models, parameters, scopes and problems come from the records
(docs/decisions/0033-a-route-is-a-record.md, 0034). The examples are a recorded story, in examples.json (0037).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter

from gateway.door.auth import SCOPES
from gateway.door.fields import is_amount, is_currency, models
from gateway.door.problems import PROBLEMS, Problem
from gateway.door.responses import PROBLEM_BASE
from kernel.routes import JSON, Parameter, Route

EXAMPLES = Path(__file__).with_name("examples.json")  # recorded: `make examples`
PLAIN = "plain"  # the example that has no name of its own
_REF = "#/components/schemas/"

# ---- which problems follow from a record's fields --------------------------------------------------------------------

_ALWAYS = (
    "malformed_request", "key_missing", "key_unknown", "key_revoked", "key_suspended", "key_expired", "scope_missing",
    "expectation_unknown", "too_many_requests", "internal_error", "busy", "database_unavailable", "shutting_down",
    "too_many_connections",
)  # fmt: skip
_CHANGING = ("posting_refused", "book_locked", "clock_differs")  # whatever goes through the commit lane
_KEYED = ("idempotency_key_missing", "idempotency_key_invalid", "idempotency_key_reused")
_BODY = (
    "malformed_json", "body_not_object", "duplicate_field", "unknown_field", "invalid_request", "body_too_large",
    "body_too_slow", "unsupported_media_type", "unsupported_content_encoding",
)  # fmt: skip
_AMOUNTS = ("amount_not_integer", "amount_not_positive", "amount_too_large")
_QUERY = ("unknown_filter", "invalid_request")
_OF_NO_ROUTE = {"NoSuchRoute": "no_such_route", "MethodNotAllowed": "method_not_allowed"}


def problems_of(route: Route[Any]) -> list[Problem]:
    """Return every problem a route may give, in the order of docs/problems.md. Raises KeyError for a code it lacks."""
    codes = {*_ALWAYS, *route.problems}
    if route.method != "GET":
        codes.update(_CHANGING)
    if route.needs_key:
        codes.update(_KEYED)
    if route.query is not None:
        codes.update(_QUERY)
    for parameter in _parameters(route):
        codes.update(parameter.problems)
    if route.body is not None:
        codes.update(_BODY)
        for model in models(route.body):
            for name, field in model.model_fields.items():
                kind = "amount" if is_amount(field) else "currency" if is_currency(field) else ""
                codes.update(_AMOUNTS if kind == "amount" else ("currency_unknown",) if kind == "currency" else ())
                if field.is_required():
                    codes.add(f"{kind}_missing" if kind == name else "field_missing")
    found = [PROBLEMS[code] for code in codes]
    order = list(PROBLEMS)
    return sorted(found, key=lambda problem: order.index(problem.code))


def _parameters(route: Route[Any]) -> Sequence[Parameter]:
    return [*([route.ident] if route.ident is not None else ()), *(route.query or ())]


# ---- the document ----------------------------------------------------------------------------------------------------

_DESCRIPTION = """\
The merchant API of the Sluice 汇闸 payment hub. The page `/docs` of a hub shows this document with every problem code.
More is in the hub's repository: `docs/api.md` (how each payment method is shown to the payer), `docs/problems.md`.

If no answer arrives, send the same bytes again with the same `Idempotency-Key`: the request is carried out once, and
you are answered with the object as it is now. The same key with another body is refused. A hub remembers a key for at
least seven days. Each new operation needs a new key, as each of the examples has one.

A payment's `status` is one of these; only the first three may still change:

- `processing`: the channel has the order, or is about to.
- `requires_action`: the payer has to do what `next_action` says.
- `requires_capture`: the payer's money is reserved; capture it or void it.
- `succeeded`: the payer has paid.
- `failed`: the channel refused it.
- `canceled`: it was closed or voided before it was paid.
- `expired`: its time ran out before it was paid.

A late payment of one that has ended is refunded automatically. A refund is `processing`, then `succeeded` or `failed`;
a failed one can be tried again. A chargeback is `opened` when the channel has taken the money back for the payer, then
`won` or `lost`. Read an object, or its events, to learn that it has changed.

Amounts are whole minor units: 12.34 CNY is `1234`, 500 JPY is `500`. Write integers as integers: JSON Schema accepts
`10.0` and `1e1`, the hub refuses them. It also refuses a field that is given twice, unknown fields and unknown filters.
An answer may have members that are not named here, and a problem may have a code that is not named here. Text may hold
neither control characters nor marks that hide it or reverse its direction.

Pages for payers (`/pay/`, `/l/`, `/s/`) and the address for rails' notices (`/notify/`) are not part of this document.
"""
_TAGS = {
    "payments": "Payments 支付单",
    "refunds": "Refunds 退款",
    "chargebacks": "Chargebacks 拒付",
    "payment_links": "Payment links 付款链接",
    "merchant_qrs": "Standing codes 静态收款码",
    "payees": "Payees 收款方",
    "own_payees": "By which payee you are paid your own 商户本金",
    "split_plans": "Split plans 分账方案",
    "split_attachments": "What split plans are attached to",
    "payout_reserves": "What is kept of payouts 保证金",
    "rail_receivers": "Receivers at rails 分账接收方",
    "payout_schedules": "Payout schedules 结算周期",
    "withdrawals": "Withdrawals 提现",
    "debts": "What payees owe 欠款",
    "balances": "Balances 余额",
    "settlements": "Settlements 结算",
    "events": "Events 事件",
    "channel_accounts": "Channel accounts 渠道账户",
    "routing_policy": "Routing policy 路由策略",
}
_REQUEST_ID = {
    "description": "names the request in the hub's log: yours, where you sent one",
    "schema": {"type": "string"},
}
_RETRY_AFTER = {"description": "in how many seconds to ask again", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
_REPLAYED = {
    "description": "an earlier request with the same key did it; the answer is the object as it is now",
    "schema": {"type": "string", "const": "true"},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "your own; a new one for each new operation, the same one to repeat a request",
    "schema": {
        "type": "string",
        "pattern": "^[!-~]{1,255}$",
        "not": {
            "pattern": "(?:^|[^0-9A-Za-z])(?:(?:sk|rk|whsec)_|pk_(?!live_|test_))[0-9A-Za-z_-]{16,}",
            "description": "a secret key or credential is refused here",
        },
    },
}


def document(routes: Sequence[Route[Any]]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these routes."""
    schemas, answers = _Schemas(routes), _Problems(routes)
    examples = json.loads(EXAMPLES.read_text("utf-8")) if EXAMPLES.exists() else {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, routes, schemas, answers)
        if told := {
            name.partition(".")[2]: step for name, step in examples.items() if name.split(".")[0] == route.name
        }:
            _add_examples(operation, told, route)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Sluice 汇闸 merchant API",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, "Problem": _problem_schema()},
            "examples": {_example_name(problem): _example(problem) for problem in PROBLEMS.values()},
            "headers": {"X-Request-Id": _REQUEST_ID, "Retry-After": _RETRY_AFTER, "Idempotency-Replayed": _REPLAYED},
            "responses": {
                **answers.components,
                **{name: _answer_of_problems([PROBLEMS[code]]) for name, code in _OF_NO_ROUTE.items()},
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"An API key, `sk_…`. It has scopes; there are: {', '.join(SCOPES)}.",
                }
            },
        },
    }


def _operation(
    route: Route[Any],
    routes: Sequence[Route[Any]],
    schemas: "_Schemas",
    answers: "_Problems",
) -> dict[str, Any]:
    parameters = [_parameter(one, "path" if one is route.ident else "query") for one in _parameters(route)]
    if route.needs_key:
        parameters.append(dict(_KEY))
    found: dict[str, Any] = {
        "operationId": route.name,
        "tags": [next(part for part in re.split(r"[/.]", route.path)[::-1] if part in _TAGS)],
        "summary": route.says,
        "description": f"Needs the scope `{route.scope}`.",
        "security": [{"key": [route.scope]}],
        "parameters": parameters,
    }
    if route.body is not None:
        content = {"schema": schemas.body(route)}
        required = any(field.is_required() for field in route.body.model_fields.values())
        found["requestBody"] = {"required": required, "content": {"application/json": content}}
    found["responses"] = {**_successes(route, routes, schemas), **answers.of(route)}
    return found


def _add_examples(operation: dict[str, Any], told: Mapping[str, Mapping[str, Any]], route: Route[Any]) -> None:
    """Put into an operation what was once sent and answered. told: by name, the first without one."""
    first = told[""]
    address = urlsplit(first["path"])
    given = dict(parse_qsl(address.query))
    if route.ident is not None:
        given["id"] = address.path.split("/")[route.path.split("/").index("{id}")]
    for parameter in operation["parameters"]:
        if (name := parameter["name"]) in given:
            is_number = parameter["schema"].get("type") == "integer"
            parameter["example"] = int(given[name]) if is_number else given[name]
        elif name == _KEY["name"]:
            _put(parameter, told, "idempotency_key")
    if "body" in first and route.body is not None:
        _put(operation["requestBody"]["content"]["application/json"], told, "body")
    _put(operation["responses"][str(first["status"])]["content"][route.media], told, "answer")


def _put(place: dict[str, Any], told: Mapping[str, Mapping[str, Any]], member: str) -> None:
    """Put a member of every example into a place of the document: it has one, or several by name."""
    if len(told) == 1:
        place["example"] = told[""][member]
    else:
        place["examples"] = {
            name or PLAIN: {"summary": (name or PLAIN).replace("_", " "), "value": step[member]}
            for name, step in told.items()
        }


def examples_of(place: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the examples at a place of the document, by name; one alone is `plain`."""
    if "example" in place:
        return {PLAIN: place["example"]}
    return {name: one["value"] for name, one in place.get("examples", {}).items()}


def _parameter(parameter: Parameter, where: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": where,
        "required": where == "path",
        "description": parameter.says,
        "schema": dict(parameter.schema),
    }


def _successes(route: Route[Any], routes: Sequence[Route[Any]], schemas: "_Schemas") -> dict[str, Any]:
    statuses = {"200": "It is done."} if not route.makes else {"201": "It is made."}
    if route.makes and route.needs_key:
        statuses["200"] = "It was made by an earlier request with the same key, or for the same number."
    found: dict[str, Any] = {}
    for status, says in statuses.items():
        headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
        if status == "200" and route.needs_key:
            headers["Idempotency-Replayed"] = {"$ref": "#/components/headers/Idempotency-Replayed"}
        content = {"schema": schemas.answer(route)}
        found[status] = {"description": says, "headers": headers, "content": {route.media: content}}
        if links := _links(schemas.answered(route), routes):
            found[status]["links"] = links
    return found


def _links(answered: Mapping[str, str], routes: Sequence[Route[Any]]) -> dict[str, Any]:
    """Return where the ids of an answer lead. answered: kind of object → where in the body its id is."""
    return {
        route.name + ("" if one is route.ident else f"_by_{one.name}"): {
            "operationId": route.name,
            "parameters": {one.name: f"$response.body#{answered[one.of]}"},
        }
        for route in routes
        for one in _parameters(route)
        if one.of in answered
    }


class _Problems:
    """The answers that are problems; what several operations answer alike stands in the document once."""

    def __init__(self, routes: Iterable[Route[Any]]) -> None:
        self._by_status = {route.name: _by_status(route) for route in routes}
        counts = Counter(tuple(p) for found in self._by_status.values() for p in found.values())
        self._names: dict[tuple[Problem, ...], str] = {}
        numbers: Counter[int] = Counter()
        for problems, count in counts.items():
            if count > 1:
                status = problems[0].status
                numbers[status] += 1
                self._names[problems] = f"Problems{status}" + (f"_{numbers[status]}" if numbers[status] > 1 else "")
        self.components = {name: _answer_of_problems(problems) for problems, name in self._names.items()}

    def of(self, route: Route[Any]) -> dict[str, Any]:
        """Return a route's answers that are problems, by status."""
        found: dict[str, Any] = {}
        for status, problems in sorted(self._by_status[route.name].items()):
            name = self._names.get(tuple(problems))
            found[str(status)] = (
                _answer_of_problems(problems) if name is None else {"$ref": f"#/components/responses/{name}"}
            )
        return found


def _by_status(route: Route[Any]) -> dict[int, list[Problem]]:
    found: dict[int, list[Problem]] = {}
    for problem in problems_of(route):
        found.setdefault(problem.status, []).append(problem)
    return found


def _answer_of_problems(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return an answer that is one of some problems. Its schema is the one of all: which codes come, the examples say.

    A schema a status, each with its own list of codes, would be another class each in what generators make of it.
    """
    headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if any(problem.again for problem in problems):
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    return {
        "description": "\n".join(f"- `{problem.code}`: {_plain(problem.happened)}" for problem in problems),
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": {"$ref": f"{_REF}Problem"},
                "examples": {
                    problem.code: {"$ref": f"#/components/examples/{_example_name(problem)}"} for problem in problems
                },
            }
        },
    }


def _example_name(problem: Problem) -> str:
    return problem.code.removesuffix("…").removesuffix("_")


def _example(problem: Problem) -> dict[str, Any]:
    code = problem.code.replace("…", "refused")
    return {
        "value": {
            "type": PROBLEM_BASE + code,
            "title": code.replace("_", " "),
            "status": problem.status,
            "code": code,
            "detail": _plain(problem.happened),
            "retriable": problem.again,
            "request_id": "req_01a20f79d4b10cde84d2410b82",
        }
    }


def _plain(markdown: str) -> str:
    """Return a text without its links, which lead from docs/ alone."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)


def _problem_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Problem details (RFC 9457); further members are facts of the code. See docs/problems.md.",
        "required": ["type", "title", "status", "code", "detail", "retriable", "request_id"],
        "properties": {
            "type": {"type": "string", "description": "a name, not an address"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {
                "type": "string",
                "description": "stable; branch on it. Each answer names those it can have; others may be added",
            },
            "detail": {"type": "string", "description": "for people"},
            "retriable": {"type": "boolean", "description": "the same request may succeed later"},
            "request_id": {"type": "string", "description": "what to quote to the operator"},
            "param": {"type": "string", "description": "the field, filter or header that is wrong"},
        },
        "additionalProperties": True,
    }


class _Schemas:
    """The JSON Schemas of all bodies and answers, under the names they have in the document."""

    def __init__(self, routes: Iterable[Route[Any]]) -> None:
        inputs: list[tuple[Any, Any, TypeAdapter[Any]]] = []
        for route in routes:
            inputs.append((("answer", route.name), "serialization", TypeAdapter(route.answer)))
            if route.body is not None:
                inputs.append((("body", route.name), "validation", TypeAdapter(route.body)))
        found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF + "{model}")
        self._of: dict[Any, dict[str, Any]] = {key: _tidy(schema) for (key, _), schema in found.items()}
        models = {_name(name): _tidy(schema) for name, schema in definitions["$defs"].items()}
        self.components = dict(sorted(models.items()))

    def body(self, route: Route[Any]) -> dict[str, Any]:
        return self._of["body", route.name]

    def answer(self, route: Route[Any]) -> dict[str, Any]:
        return self._of["answer", route.name]

    def answered(self, route: Route[Any]) -> dict[str, str]:
        """Return the kinds of object whose ids an answer holds, and where: of a list, the first one's."""
        found: dict[str, str] = {}
        if route.media != JSON:
            return {}
        for schema in self.answer(route).get("anyOf", [self.answer(route)]):
            members = self._members(schema)
            place = ""
            if "data" in members:
                members, place = self._members(members["data"]["items"]), "/data/0"
            if "id" in members:
                found[members["object"]["const"]] = f"{place}/id"
            if "payment" in members:
                found["payment"] = f"{place}/payment"
        return found

    def _members(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        members: dict[str, Any] = self.components[schema["$ref"].removeprefix(_REF)]["properties"]
        return members


def _name(model: str) -> str:
    """Return a model's name in the document: PaymentOut is Payment there, ListOut[PaymentOut] is PaymentList."""
    listed = re.fullmatch(r"ListOut_(\w+?)_", model)
    return f"{listed[1].removesuffix('Out')}List" if listed else model.removesuffix("Out")


def _tidy(schema: Any, *, named: bool = False) -> Any:
    """Return a schema as the document has it: without the titles that pydantic makes of names. named: of members."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if not named and key in ("title", "$defs") and not (key == "title" and isinstance(value, dict)):
            continue
        if not named and key == "default" and value is None:  # left out is left out
            continue
        if key == "$ref" and isinstance(value, str):
            value = _REF + _name(value.removeprefix(_REF))
        found[key] = _tidy(value, named=key in ("properties", "patternProperties") and not named)
    if not named and len(found.get("patternProperties", ())) == 1:  # generators of code read the other way to say it
        [(pattern, value)] = found.pop("patternProperties").items()
        found["propertyNames"] = {"type": "string", **found.get("propertyNames", {}), "pattern": pattern}
        found["additionalProperties"] = value
    return found
