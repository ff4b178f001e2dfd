"""From a request to a Call: what its record says that it has, each checked for form."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import BaseModel, ValidationError

from gateway.door.auth import Principal
from gateway.door.bodies import read_body
from gateway.door.responses import rejected
from kernel.errors import Rejected
from kernel.masking import without_keys
from kernel.routes import Call, Parameter, Route
from kernel.shapes import name_given_twice

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NOTHING: dict[str, Any] = {}


def read_call(route: Route[Any]) -> Callable[[web.Request, Principal], Awaitable[Call[Any]]]:
    """Return what reads a route's calls: key, path, query, then the body. It raises Rejected for the first fault."""
    needs_key, ident, query, body = route.needs_key, route.ident, route.query, route.body

    async def read(request: web.Request, principal: Principal) -> Call[Any]:
        key = idempotency_key(request.headers) if needs_key else ""
        named = ident.read(request.match_info["id"]) if ident is not None else ""
        given = read_query(request, query) if query is not None else _NOTHING
        model, raw = await read_model(request, body) if body is not None else (None, b"")
        return Call(principal.book, principal.key_id, key=key, ident=named, query=given, body=model, raw=raw)

    return read


def idempotency_key(headers: "CIMultiDictProxy[str]") -> str:
    """Return the required Idempotency-Key. Raises Rejected."""
    keys = headers.getall("Idempotency-Key", ())
    if not keys:
        raise Rejected("idempotency_key_missing", "send an Idempotency-Key: it makes a retry safe")
    if len(keys) > 1:  # whatever stands between may have taken the other for the request's
        raise Rejected("idempotency_key_invalid", "there are two Idempotency-Key headers; send one")
    key = keys[0]
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        words = "an Idempotency-Key has 1 to 255 printable ASCII characters, and no spaces"
        raise Rejected("idempotency_key_invalid", words)
    if without_keys(key) != key:  # it would be kept as it is
        raise Rejected(
            "idempotency_key_invalid",
            "this looks like a secret key; send an Idempotency-Key of your own, such as a UUID",
        )
    return key


def read_query(request: web.Request, known: Sequence[Parameter]) -> dict[str, Any]:
    """Return the query parameters. Raises Rejected for one this route does not know, or given twice or unreadably.

    Readable: printable characters, so that PostgreSQL takes whatever is asked for.
    """
    given: dict[str, str] = {}
    names = [parameter.name for parameter in known]
    for name, value in request.query.items():
        if name not in names:
            short = ascii(name[:40])
            offered = f"{short} is no filter here; these are: {', '.join(names)}"
            raise Rejected("unknown_filter", offered, param=short[1:-1])
        if name in given or not value.isprintable():
            raise Rejected("invalid_request", f"{name} must be given once, in printable characters", param=name)
        given[name] = value
    return {one.name: one.read(given[one.name]) for one in known if one.name in given}


async def read_model(request: web.Request, model: type[BaseModel]) -> tuple[BaseModel, bytes]:
    """Return the body as the model and as it came. Raises Rejected with the field that is wrong."""
    if request.content_type not in ("application/json", "application/octet-stream"):
        raise Rejected("unsupported_media_type", "send the body as application/json")
    raw = await read_body(request) or b"{}"
    try:
        body = model.model_validate_json(raw)
    except ValidationError as error:
        raise rejected(error, model) from None
    twice = name_given_twice(raw)
    if twice is not None:
        raise Rejected("duplicate_field", f"{twice[:40]!r} appears twice; send it once", param=twice[:40])
    return body, raw
