"""From results and errors to HTTP: one table of statuses, problem details for every error (RFC 9457)."""

from typing import Any

import orjson
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from pydantic import BaseModel, ValidationError

from gateway.door.auth import Forbidden, Unauthorized
from gateway.door.fields import amounts, chosen_by_type, currencies
from kernel import cards
from kernel.errors import Broken, Conflict, NotFound, Rejected, SluiceError, Unavailable
from kernel.masking import without_keys
from kernel.words import in_words, not_json

PROBLEM_BASE = "https://sluice.invalid/problems/"  # names, not addresses: docs/problems.md has each

# error family → status; the first that fits
STATUSES: list[tuple[type[SluiceError], int]] = [
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unavailable, 503),
    (Broken, 500),
    (Rejected, 422),
]
# codes whose status differs from their family's
STATUS_OF_CODE = {
    "malformed_json": 400,
    "duplicate_field": 400,
    "body_not_object": 400,
    "invalid_request": 400,
    "unknown_filter": 400,
    "invalid_cursor": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "malformed_request": 400,
    "body_too_slow": 408,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "unsupported_content_encoding": 415,
    "expectation_unknown": 417,
    "too_many_requests": 429,
    "caller_left": 499,  # nginx's number: nobody hears it, but logs and figures shall not call it ours
    "method_not_allowed": 405,
    "no_such_route": 404,
    "idempotency_key_reused": 422,
    # A channel told us something that cannot be; the money is safe and nothing is wrong with the call.
    "amount_differs": 409,
    "charged_twice": 409,
    "coupon_exceeds_payment": 409,
    "channel_contradicts_itself": 409,
}


# Refusals of the caller's that the same request, unchanged, may not meet again.
_RETRIABLE = frozenset({"request_in_progress", "attempt_undecided", "not_closed_yet", "body_too_slow"})


def status_of(error: SluiceError) -> int:
    """Return the HTTP status of an error."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next((status for family, status in STATUSES if isinstance(error, family)), 500)


def json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")


def shown(text: str) -> str:
    """Return text for an answer: what it quotes of a request may be a card's number or a key in the wrong place."""
    return without_keys(cards.masked(text))


def problem(error: SluiceError, request_id: str) -> web.Response:
    """Return problem details for an error."""
    status = status_of(error)
    retriable = isinstance(error, Unavailable) or error.code in _RETRIABLE
    body: dict[str, Any] = {
        "type": PROBLEM_BASE + error.code,
        "title": error.code.replace("_", " "),
        "status": status,
        "code": error.code,
        "detail": shown(error.message),
        "retriable": retriable,
        "request_id": request_id,
        **{k: shown(v) if isinstance(v, str) else v for k, v in error.facts.items() if k not in ("status", "type")},
    }
    headers = {"Retry-After": str(getattr(error, "retry_after_s", 1))} if retriable else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 405:
        headers["Allow"] = ", ".join(error.facts["allowed"])
    return web.Response(
        body=orjson.dumps(body, default=str), status=status, headers=headers, content_type="application/problem+json"
    )


_ID_GOES_HERE = "id-goes-here"


class Prepared:
    """Problem details rendered once, but for the request's id: of an error that thousands are told in a second."""

    def __init__(self, error: SluiceError) -> None:
        made = problem(error, _ID_GOES_HERE)
        assert isinstance(made.body, bytes)
        self.status = made.status
        self._headers = dict(made.headers)
        self._body = made.body.split(_ID_GOES_HERE.encode())
        lines = [f"HTTP/1.1 {made.status} {made.reason}", *(f"{name}: {value}" for name, value in made.headers.items())]
        self._head = "\r\n".join(lines).encode()

    def response(self, request_id: str) -> web.Response:
        """Return it as an answer of aiohttp's. request_id: as is, it may hold nothing that JSON escapes."""
        body = request_id.encode().join(self._body)
        return web.Response(body=body, status=self.status, headers={**self._headers, "X-Request-Id": request_id})

    def written(self, request_id: str) -> bytes:
        """Return the same as it goes over a connection that stays open."""
        ident, date = request_id.encode(), rfc822_formatted_time().encode()
        body = ident.join(self._body)
        head = b"%b\r\nX-Request-Id: %b\r\nContent-Length: %d\r\nDate: %b\r\n\r\n"
        return head % (self._head, ident, len(body), date) + body


# pydantic's error type → our code, by the field it concerns
_AMOUNT_CODES = {
    "int_type": "amount_not_integer",
    "int_from_float": "amount_not_integer",
    "int_parsing": "amount_not_integer",
    "int_parsing_size": "amount_too_large",
    "greater_than": "amount_not_positive",
    "greater_than_equal": "amount_not_positive",
    "less_than_equal": "amount_too_large",
    "missing": "amount_missing",
}


def rejected(error: ValidationError, model: type[BaseModel]) -> Rejected:
    """Return the refusal that tells the caller which field is wrong and how. model: what was to be read."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind, place = first["type"], list(first["loc"])
    if place and place[0] in chosen_by_type(model):
        del place[1:2]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        place.append(first["ctx"]["discriminator"].strip("'"))
    if kind == "card_number":
        place.append(first["ctx"]["field"])
    # pydantic marks what is wrong with a name, and not with what stands under it; of the caller's it is not.
    # Names in metadata and unknown fields are the caller's own and may be as long as the body.
    path = ".".join(_one_line(str(part)[:64]) for part in place if part != "[key]")
    if kind == "json_invalid":
        return Rejected("malformed_json", f"the body is not JSON: {not_json(first)}")
    if kind in ("model_type", "dict_type", "model_attributes_type") and not path:
        return Rejected("body_not_object", "the body must be a JSON object")
    if kind == "card_number":
        return Rejected(
            "card_number_refused",
            f"{path}: {first['msg']}; send the token that the rail's own form made of the card",
            param=path,
        )
    if kind == "extra_forbidden":
        return Rejected("unknown_field", f"{path}: this request has no such field", param=path)
    said = in_words(first)
    message = f"{path or 'body'}: {said}"
    leaf = None if not place or place[0] == "metadata" else place[-1]  # its names are the caller's
    if leaf in amounts(model):
        return Rejected(_AMOUNT_CODES.get(kind, "amount_not_integer"), message, param=path)
    if leaf in currencies(model):
        return Rejected("currency_unknown" if kind != "missing" else "currency_missing", message, param=path)
    if kind in ("missing", "union_tag_not_found"):
        return Rejected("field_missing", f"{path} is required", param=path)
    return Rejected("invalid_request", message, **({"param": path} if path else {}))


def _one_line(name: str) -> str:
    """Return a name of the caller's as it is shown among our words."""
    return name if name.isprintable() else ascii(name)[1:-1]


def fragment(text: str) -> orjson.Fragment:
    """Return JSON text to be put into an answer as it stands."""
    return orjson.Fragment(text)
