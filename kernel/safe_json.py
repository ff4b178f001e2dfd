"""JSON from outside, read strictly: what two readers could understand differently is refused, not guessed at."""

import json
import math
from typing import Any, NoReturn

import orjson

MAX_BYTES = 1 << 20


class BadJson(ValueError):
    """The bytes are not JSON, or not JSON with one meaning."""


def loads(raw: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return what the UTF-8 JSON text says; raises BadJson, and nothing else, on any doubt.

    Refused beyond bad syntax: repeated names in an object, NaN and infinities (also 1e400), a byte-order mark, lone
    surrogates and NUL characters in text, nesting past orjson's limit, whole numbers of thousands of digits.
    Amounts are not this function's matter: read them with `whole`.
    """
    if len(raw) > max_bytes:
        raise BadJson(f"{len(raw)} bytes; at most {max_bytes} are read")
    try:
        orjson.loads(raw)  # a microsecond; refuses NaN, bad UTF-8, lone surrogates, a mark, deep nesting
        value = _STRICT.decode(raw.decode())  # the standard reader is the one that can see a name twice
    except (ValueError, RecursionError) as error:
        raise BadJson(str(error) or type(error).__name__) from None
    if b"\\u0000" in raw and _has_nul(value):
        raise BadJson("a text holds the character NUL")
    return value


def loads_object(raw: bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return what `loads` does, given that it is an object; raises BadJson."""
    value = loads(raw, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise BadJson("not an object")
    return value


def whole(value: object) -> int:
    """Return `value` if it is a whole number written as one: not true, not 1.0, not "1". Raises BadJson."""
    if type(value) is not int:
        raise BadJson(f"{str(value)[:40]!r} is not a whole number")
    return value


def text(value: object) -> str:
    """Return `value` if it is text. Raises BadJson."""
    if not isinstance(value, str):
        raise BadJson(f"{str(value)[:40]!r} is not text")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("a name stands twice in one object")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadJson(f"{digits[:40]} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not JSON")


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(map(_has_nul, value))


_STRICT = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_constant)
