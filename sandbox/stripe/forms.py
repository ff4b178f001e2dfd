"""Form-encoded fields with brackets in their names, as Stripe reads them: a[b]=c, a[]=c, a[0]=c."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.errors import ApiError, missing, wrong

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def parse(encoded: str) -> dict[str, Any]:
    """Return the fields of a form or query as a tree of objects, lists and texts. Raises ApiError."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded), errors="strict")
    except ValueError as error:
        raise ApiError(400, "Invalid request: the body is not form-encoded.") from error
    tree: dict[str, Any] = {}
    for name, value in pairs:
        _put(tree, name, value)
    return {name: _settled(value) for name, value in tree.items()}


def _put(tree: dict[str, Any], name: str, value: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None:
        raise wrong(name[:100], f"Invalid parameter name: {name[:100]}")
    parts = [match[1], *_PART.findall(match[2])]
    for place, part in enumerate(parts[:-1]):
        if not part:
            raise wrong(name[:100], f"Invalid parameter name: {name[:100]}")
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise wrong("".join(parts[: place + 1]), "Invalid value: a text and an object under one name")
    last = parts[-1] or str(len(tree))  # a[]: the next place
    if last in tree:
        raise wrong(name[:100], f"Received {name[:100]} twice")
    tree[last] = value


def _settled(value: Any) -> Any:
    """Return a tree with what is numbered from 0 made a list."""
    if not isinstance(value, dict):
        return value
    settled = {name: _settled(part) for name, part in value.items()}
    return list(settled.values()) if list(settled) == [str(place) for place in range(len(settled))] else settled


class Fields:
    """The fields of one request."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def only(self, known: Iterable[str]) -> None:
        """Raise parameter_unknown for a field that is none of these."""
        for name in self.values:
            if name not in known:
                raise ApiError(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)

    def text(self, name: str) -> str | None:
        """Return a text; None where it is absent."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong(name, f"Invalid {name}: must be a string", "parameter_invalid_string")
        if not value:
            raise wrong(
                name,
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter.",
                "parameter_invalid_empty",
            )
        return value

    def required(self, name: str) -> str:
        """Return a text. Raises parameter_missing."""
        value = self.text(name)
        if value is None:
            raise missing(name)
        return value

    def whole(self, name: str) -> int | None:
        """Return a whole number; None where it is absent."""
        value = self.text(name)
        if value is None:
            return None
        if not _WHOLE.fullmatch(value):
            raise wrong(name, f"Invalid integer: {value[:40]}", "parameter_invalid_integer")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return true or false; false where it is absent."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise wrong(name, f"Invalid boolean: {value}")
        return value == "true"

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; empty where it is absent."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise wrong(name, f"Invalid array: {name}")
        return list(value)

    def table(self, name: str) -> dict[str, str]:
        """Return an object of texts; empty where it is absent."""
        value = self.values.get(name, {})
        if value in ("", []):
            return {}
        if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
            raise wrong(name, f"Invalid object: {name}")
        return dict(value)

    def choice(self, name: str, choices: Iterable[str], otherwise: str) -> str:
        """Return one of `choices`."""
        value = self.text(name) or otherwise
        if value not in choices:
            raise wrong(name, f"Invalid {name}: must be one of {', '.join(choices)}")
        return value
