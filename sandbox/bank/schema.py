"""Reading XML from strangers: no DTD, bounded size and depth, and conformity with the message's schema.

ISO publishes an XSD for each message. pyiso20022 carries the same rules as dataclasses (order, occurrence, facets),
and `check` enforces them, so no XSD processor is needed. The rules enforced: element order and cardinality, exactly one
branch of each choice, known attributes only, lengths, patterns, code lists, digits, and well-formed dates and numbers.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden
from defusedxml.ElementTree import XMLParser
from xsdata.models.datatype import XmlDate, XmlDateTime, XmlPeriod, XmlTime

from sandbox.bank.errors import FileRefused

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 100
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_MANY = 1 << 62


class NotConform(FileRefused):
    """Say where a document departs from its schema."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__("not_schema_conform", f"{path}: {why}")


class _ShallowTreeBuilder(TreeBuilder):
    """Build a tree, but refuse to go deeper than MAX_DEPTH."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: Any, attrs: dict[Any, Any]) -> Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FileRefused("too_deep", f"the document nests deeper than {MAX_DEPTH} elements")
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag)


def parse_xml(raw: bytes) -> Element:
    """Return the root of a document that declares no DTD, is at most MAX_BYTES long and MAX_DEPTH deep.

    Raises FileRefused with a readable reason.
    """
    if len(raw) > MAX_BYTES:
        raise FileRefused("file_too_large", f"the file has {len(raw)} bytes, the limit is {MAX_BYTES}")
    parser = XMLParser(target=_ShallowTreeBuilder(), forbid_dtd=True)
    try:
        parser.feed(raw)
        root: Element = parser.close()
    except (DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden):
        raise FileRefused("dtd_forbidden", "the file declares a DTD or entities; bank files must not") from None
    except (ParseError, ValueError, LookupError) as reason:
        raise FileRefused("not_xml", f"the file is not well-formed XML: {reason}") from None
    return root


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the schema says about one child element, one attribute, or the text of an element."""

    name: str
    kind: type[Any]  # a message dataclass, an Enum, or str, Decimal, bool, XmlDate, XmlDateTime …
    least: int
    most: int
    facets: types.MappingProxyType[str, Any]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the schema says about one complex type."""

    children: tuple[_Rule, ...]
    attributes: dict[str, _Rule]
    text: _Rule | None
    is_choice: bool
    is_open: bool  # supplementary data: anything goes


def check(root: Element, document: type[Any]) -> None:
    """Raise NotConform unless `root` is a document of the message whose pyiso20022 `Document` class is given.

    A document in another namespace is refused as `wrong_namespace`.
    """
    namespace: str = document.Meta.namespace
    if root.tag != f"{{{namespace}}}Document":
        raise FileRefused("wrong_namespace", f"the root element is {root.tag}, expected {{{namespace}}}Document")
    _check_element(root, document, f"{{{namespace}}}", "Document")


def _check_element(element: Element, kind: type[Any], prefix: str, path: str) -> None:
    shape = _shape(kind)
    if shape.is_open:
        return
    _check_attributes(element, shape, path)
    if shape.text is not None:
        if len(element):
            raise NotConform(path, "holds elements where text is expected")
        _check_text(element.text or "", shape.text, path)
        return
    if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        raise NotConform(path, "holds text between its elements")
    _check_children(element, shape, prefix, path)


def _check_children(element: Element, shape: _Shape, prefix: str, path: str) -> None:
    places = {rule.name: place for place, rule in enumerate(shape.children)}
    place = 0
    counts = [0] * len(shape.children)
    for child in element:
        name = child.tag.removeprefix(prefix)
        if name == child.tag or name not in places:
            raise NotConform(path, f"{name} is unknown here")
        if places[name] < place:
            raise NotConform(path, f"{name} is out of order, {shape.children[place].name} stands before it")
        for skipped in range(place, places[name]):
            _check_occurrence(shape.children[skipped], counts[skipped], path)
        place = places[name]
        counts[place] += 1
        if counts[place] > shape.children[place].most:
            raise NotConform(path, f"{name} occurs more than {shape.children[place].most} time(s)")
        _check_value(child, shape.children[place], prefix, f"{path}/{name}")
    for rule, count in zip(shape.children, counts, strict=True):
        _check_occurrence(rule, count, path)
    if shape.is_choice and sum(count > 0 for count in counts) != 1:
        raise NotConform(path, f"needs exactly one of {', '.join(places)}")


def _check_occurrence(rule: _Rule, count: int, path: str) -> None:
    if count < rule.least:
        raise NotConform(path, f"{rule.name} is missing")


def _check_value(child: Element, rule: _Rule, prefix: str, path: str) -> None:
    if dataclasses.is_dataclass(rule.kind):
        _check_element(child, rule.kind, prefix, path)
        return
    if len(child):
        raise NotConform(path, "holds elements where text is expected")
    if any(not name.startswith(_XSI) for name in child.attrib):
        raise NotConform(path, f"attribute {next(iter(child.attrib))} is unknown")
    _check_text(child.text or "", rule, path)


def _check_attributes(element: Element, shape: _Shape, path: str) -> None:
    for name, value in element.attrib.items():
        if name.startswith(_XSI):
            continue
        if name not in shape.attributes:
            raise NotConform(path, f"attribute {name} is unknown")
        _check_text(value, shape.attributes[name], f"{path}/@{name}")
    for name, rule in shape.attributes.items():
        if rule.least and name not in element.attrib:
            raise NotConform(path, f"attribute {name} is missing")


def _check_text(text: str, rule: _Rule, path: str) -> None:
    kind, facets = rule.kind, rule.facets
    if kind is Decimal:
        _check_decimal(text.strip(), facets, path)
    elif kind is bool:
        if text.strip() not in ("true", "false", "1", "0"):
            raise NotConform(path, f"{text!r} is neither true nor false")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if text not in {member.value for member in kind}:
            raise NotConform(path, f"{text!r} is not in the code list")
    elif kind in (XmlDate, XmlDateTime, XmlTime, XmlPeriod):
        try:
            kind.from_string(text.strip()) if kind is not XmlPeriod else XmlPeriod(text.strip())
        except ValueError:
            raise NotConform(path, f"{text!r} is not a valid {kind.__name__.removeprefix('Xml')}") from None
    else:
        length = len(text)
        if length < facets.get("min_length", 0) or length > facets.get("max_length", _MANY):
            raise NotConform(
                path,
                f"has {length} characters, {facets.get('min_length', 0)} to {facets.get('max_length')} are allowed",
            )
        if "pattern" in facets and not re.fullmatch(facets["pattern"], text):
            raise NotConform(path, f"{text!r} does not have the form {facets['pattern']}")


def _check_decimal(text: str, facets: typing.Mapping[str, Any], path: str) -> None:
    if len(text) > 64 or not _DECIMAL.fullmatch(text):
        raise NotConform(path, f"{text[:64]!r} is not a decimal number")
    number = Decimal(text)
    if "min_inclusive" in facets and number < facets["min_inclusive"]:
        raise NotConform(path, f"{text} is less than {facets['min_inclusive']}")
    # Facets speak of the value, so zeros at either end do not count.
    whole, _, fraction = text.lstrip("+-").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if len(fraction) > facets.get("fraction_digits", _MANY):
        raise NotConform(path, f"{text} has more than {facets['fraction_digits']} decimals")
    if len(whole) + len(fraction) > facets.get("total_digits", _MANY):
        raise NotConform(path, f"{text} has more than {facets['total_digits']} digits")


_shapes: dict[type[Any], _Shape] = {}


def _shape(kind: type[Any]) -> _Shape:
    """Return what the schema says about a complex type, worked out once."""
    if kind not in _shapes:
        _shapes[kind] = _read_shape(kind)
    return _shapes[kind]


def _read_shape(kind: type[Any]) -> _Shape:
    hints = typing.get_type_hints(kind)
    children: list[_Rule] = []
    attributes: dict[str, _Rule] = {}
    text: _Rule | None = None
    is_open = False
    for field in dataclasses.fields(kind):
        place = field.metadata.get("type", "Text")
        rule = _rule(field, hints[field.name])
        if place == "Element":
            children.append(rule)
        elif place == "Attribute":
            attributes[rule.name] = rule
        elif place == "Wildcard":
            is_open = True
        else:
            text = rule
    return _Shape(tuple(children), attributes, text, kind.__name__.endswith("Choice"), is_open)


def _rule(field: dataclasses.Field[Any], hint: Any) -> _Rule:
    facets = types.MappingProxyType(dict(field.metadata))
    name = facets.get("name", field.name)
    if typing.get_origin(hint) is list:
        (kind,) = typing.get_args(hint)
        return _Rule(name, kind, facets.get("min_occurs", 0), facets.get("max_occurs", _MANY), facets)
    options = [option for option in typing.get_args(hint) if option is not type(None)] or [hint]
    return _Rule(name, options[0], 1 if facets.get("required") else 0, 1, facets)
