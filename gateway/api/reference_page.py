"""The page for people that the OpenAPI document is shown as: /docs on a gateway.

It is made of the document and the table of problems alone, so it says nothing that they do not. One page without a
script and without a file besides: it can be saved, printed and searched.
"""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gateway.door.openapi import PLAIN, examples_of
from gateway.door.problems import PROBLEMS_BY_SUBJECT

_HERE = Path(__file__).parent / "templates"
_REF = "#/components/schemas/"
_LONG = 60  # characters of a pattern that say nothing to people any more
_FORMATS = {"date-time": "time, RFC 3339", "date": "date", "uri": "address", "ipv4": "IPv4", "ipv6": "IPv6"}

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A field, or, where it has no type, what the fields under it go with."""

    name: str
    depth: int
    kind: Markup
    needed: bool
    says: Markup


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    scope: str
    parameters: Sequence[Row]
    body: Sequence[Row] | None  # None: none is read
    answers: Sequence[tuple[str, str, Markup]]  # status, when, what
    problems: Sequence[tuple[str, Sequence[str]]]  # status, codes that not every operation may give
    examples: Sequence["Shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """An example: what is sent, and what is answered."""

    name: str  # for people
    curl: str
    status: int  # 0: no answer is known
    answer: str


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    text = _Text(document)
    operations = text.operations()
    style = (_HERE / "reference.css").read_text("utf-8")
    return (
        Environment(
            loader=FileSystemLoader(_HERE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        .get_template("reference.html")
        .render(
            info=document["info"],
            about=marked(document["info"]["description"]),
            key=marked(document["components"]["securitySchemes"]["key"]["description"]),
            groups=[
                (tag, [one for one in operations if text.tag_of[one.id] == tag["name"]]) for tag in document["tags"]
            ],
            common=text.common,
            objects=text.objects(),
            subjects=[
                (subject, [(p, marked(p.happened), marked(p.todo)) for p in rows])
                for subject, rows in PROBLEMS_BY_SUBJECT.items()
            ],
            style=Markup(style),
        )
    )


def style_source() -> str:
    """Return what a policy has to allow so that the page has its style."""
    digest = hashlib.sha256((_HERE / "reference.css").read_bytes()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def marked(markdown: str) -> Markup:
    """Return what the document's texts have of Markdown as HTML: paragraphs, lists, code; of links the words."""
    parts = []
    for block in markdown.strip().split("\n\n"):
        lines = block.split("\n")
        if all(line.startswith("- ") for line in lines):
            items = Markup("").join(Markup("<li>{}</li>").format(_inline(line[2:])) for line in lines)
            parts.append(Markup("<ul>{}</ul>").format(items))
        else:
            parts.append(Markup("<p>{}</p>").format(_inline(" ".join(lines))))
    if len(parts) == 1 and parts[0].startswith("<p>"):
        return parts[0][3:-4]
    return Markup("").join(parts)


def _inline(text: str) -> Markup:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces)
    )


class _Text:
    """What a document says, in words."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._schemas: Mapping[str, Schema] = document["components"]["schemas"]
        found = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        self._found = found
        self.tag_of = {operation["operationId"]: operation["tags"][0] for _, _, operation in found}
        codes = [{code for _, these in self._codes(operation) for code in these} for _, _, operation in found]
        everywhere = set.intersection(*codes) if codes else set()
        self.common = [p.code for rows in PROBLEMS_BY_SUBJECT.values() for p in rows if p.code in everywhere]

    # ---- operations --------------------------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        return [self._operation(method, path, operation) for method, path, operation in self._found]

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Operation:
        parameters = [self._resolved(one) for one in operation["parameters"]]
        media = operation.get("requestBody", {}).get("content", {}).get("application/json")
        special = [
            (status, [code for code in codes if code not in self.common]) for status, codes in self._codes(operation)
        ]
        return Operation(
            operation["operationId"],
            method,
            path,
            operation["summary"],
            operation["security"][0]["key"][0],
            [Row(one["name"], 0, self.kind(one["schema"]), one["required"], marked(_where(one))) for one in parameters],
            list(self._rows(media["schema"])) if media is not None else None,
            [
                (status, one["description"], self._answered(one["content"]))
                for status, one in operation["responses"].items()
                if status.startswith("2")
            ],
            [(status, codes) for status, codes in special if codes],
            list(self._examples(method, path, operation)),
        )

    def _examples(self, method: str, path: str, operation: Mapping[str, Any]) -> Iterator[Shown]:
        parameters = [self._resolved(one) for one in operation["parameters"]]
        media = operation.get("requestBody", {}).get("content", {}).get("application/json")
        status, answers = next(
            (
                (int(status), examples)
                for status, answer in operation["responses"].items()
                for media_type, content in answer.get("content", {}).items()
                if media_type != "application/problem+json" and (examples := examples_of(content))
            ),
            (0, {PLAIN: None}),
        )
        for name, answer in answers.items():
            shown = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2)
            title = "Example" if name == PLAIN else f"Example {name.replace('_', ' ')}"
            yield Shown(title, curl(method, path, parameters, media, name), status, shown)

    def _resolved(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in one:
            place: Any = self._document
            for part in one["$ref"].removeprefix("#/").split("/"):
                place = place[part]
            one = place
        return one

    def _codes(self, operation: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield the statuses of an operation's problems, each with its codes."""
        for status, answer in operation["responses"].items():
            content = self._resolved(answer)["content"]
            if "application/problem+json" in content:
                yield status, list(content["application/problem+json"]["examples"])

    def _answered(self, content: Mapping[str, Any]) -> Markup:
        (media, one), *_ = content.items()
        return Markup("CSV") if media == "text/csv" else self.kind(one["schema"])

    # ---- fields ------------------------------------------------------------------------------------------------------

    def _rows(self, schema: Schema, depth: int = 0, above: frozenset[str] = frozenset()) -> Iterator[Row]:
        """Yield the fields of an object, each followed by those of what it holds, but of its own kind.

        above: references to what it stands in.
        """
        above |= {schema["$ref"]} if "$ref" in schema else set()
        schema = self._resolved(schema)
        needed = schema.get("required", ())
        for name, one in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in needed):
            if "discriminator" in one:
                yield Row(name, depth, Markup("object, depends on <code>type</code>"), name in needed, self._says(one))
                yield from self._variants(one, depth + 1)
                continue
            yield Row(name, depth, self.kind(one), name in needed, self._says(one))
            held = one.get("items", next((each for each in one.get("anyOf", ()) if "$ref" in each), one))
            if "$ref" in held and held["$ref"] not in above and "properties" in self._resolved(held):
                yield from self._rows(held, depth + 1, above)

    def _variants(self, schema: Schema, depth: int) -> Iterator[Row]:
        """Yield what the first variant has, then of each what it has otherwise or besides."""
        variants = [self._resolved(one) for one in schema["oneOf"]]
        by = schema["discriminator"]["propertyName"]
        usual = {name: one for name, one in variants[0]["properties"].items() if name != by}
        yield from self._rows({"properties": usual}, depth)
        for variant in variants:
            value = variant["properties"][by]["const"]
            yield Row(f"{by}: {value}", depth, Markup(""), False, marked(variant.get("description", "")))
            own = {name: one for name, one in variant["properties"].items() if name != by and usual.get(name) != one}
            yield from self._rows({"properties": own, "required": variant["required"]}, depth + 1)

    def objects(self) -> Sequence[tuple[str, Markup, Sequence[Row], Markup]]:
        """Return what answers are made of: name, what it is, its fields, or its kind where it has none."""
        found = []
        for name, schema in self._schemas.items():
            if name.endswith(("In", "Change")):
                continue  # stands where it is sent
            rows = [
                Row(field, 0, self.kind(one), field in schema.get("required", ()), self._says(one))
                for field, one in schema.get("properties", {}).items()
            ]
            kind = Markup("") if rows else self.kind(schema)
            found.append((name, marked(schema.get("description", "")), rows, kind))
        return found

    def _says(self, schema: Schema) -> Markup:
        says = schema.get("description", "")
        if "default" in schema and schema["default"] not in ([], None):
            says = f"{says}; " if says else ""
            says += f"default `{json.dumps(schema['default'])}`"
        return marked(says)

    # ---- kinds -------------------------------------------------------------------------------------------------------

    def kind(self, schema: Schema) -> Markup:
        """Return what a value may be, in a few words."""
        if "$ref" in schema:
            return self._named(schema["$ref"].removeprefix(_REF))
        if "anyOf" in schema:
            return Markup(" or ").join(self.kind(one) for one in schema["anyOf"])
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            return Markup(" | ").join(Markup("<code>{}</code>").format(value) for value in values)
        match schema.get("type"):
            case "integer":
                return Markup("integer{}").format(_bounds(schema))
            case "string":
                return _text_kind(schema)
            case "array":
                most = f", {schema['maxItems']} at most" if "maxItems" in schema else ""
                return Markup("list of {}{}").format(self.kind(schema["items"]), most)
            case "object":
                more = schema.get("additionalProperties")
                if isinstance(more, dict) and more:
                    return Markup("object of {}").format(self.kind(more))
                return Markup("object")
            case None:
                return Markup("any")
            case other:
                return escape(other)

    def _named(self, name: str) -> Markup:
        if name.endswith(("In", "Change")):
            return Markup("object")
        return Markup('<a href="#object-{}">{}</a>').format(name, name)


def _where(parameter: Mapping[str, Any]) -> str:
    where = {"path": "in the path", "query": "query", "header": "header"}[parameter["in"]]
    return f"{where}: {parameter['description']}"


def _bounds(schema: Schema) -> str:
    least = schema.get("minimum", schema["exclusiveMinimum"] + 1 if "exclusiveMinimum" in schema else None)
    most = schema.get("maximum")
    if least is None and most is None:
        return ""
    return f", {'' if least is None else least} to {'' if most is None else most:,}" if most else f", {least} or more"


def _text_kind(schema: Schema) -> Markup:
    words = _FORMATS.get(schema.get("format", ""), "text")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if most is not None:
        words += f", {least} to {most} characters" if least else f", {most} characters at most"
    pattern = schema.get("pattern", "")
    if pattern and len(pattern) <= _LONG:
        return Markup("{} <code>{}</code>").format(words, pattern)
    return escape(words)


def curl(
    method: str,
    path: str,
    parameters: Sequence[Mapping[str, Any]],
    media: Mapping[str, Any] | None,
    example: str = PLAIN,
) -> str:
    """Return an example of an operation's request as a command for a shell, with the hub and the key as variables."""
    query = []
    lines = []
    for one in parameters:
        given = examples_of(one)
        if one["in"] == "path":
            path = path.replace("{" + one["name"] + "}", given.get(PLAIN, "{" + one["name"] + "}"))
        elif one["in"] == "query" and given:
            query.append((one["name"], given[PLAIN]))
        elif one["in"] == "header":
            lines.append(f"-H {shlex.quote(one['name'] + ': ' + given.get(example, '…'))}")
    address = path + (f"?{urlencode(query, safe=':,')}" if query else "")
    first = f'curl {"" if method == "GET" else f"-X {method} "}"$HUB{address}"'
    lines = [first, '-H "Authorization: Bearer $KEY"', *lines]
    if media is not None and example in examples_of(media):
        body = json.dumps(examples_of(media)[example], ensure_ascii=False, indent=2)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)
