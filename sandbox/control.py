"""The control API: JSON, loopback only, no authentication; for tests, judges and demonstrations."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from sandbox.context import SandboxContext
from sandbox.faults import FaultRefused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlError(Exception):
    """A refusal of the control API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def reply(body: Any, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


@web.middleware
async def control_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a ControlError as JSON."""
    try:
        return await handler(request)
    except ControlError as error:
        return reply({"code": error.code, "message": error.message}, error.status)


class Body:
    """The JSON object of a control request, read field by field."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    @classmethod
    async def of(cls, request: web.Request, known: set[str], words: Mapping[str, str] | None = None) -> "Body":
        """Return the request's body. Raises ControlError for anything but an object with known fields.

        words: what the rail calls a field → what the control API calls it; either may be sent.
        """
        raw = await request.read()
        try:
            values = orjson.loads(raw or b"{}")
        except orjson.JSONDecodeError as error:
            raise ControlError(400, "bad_json", "the body is not JSON") from error
        if not isinstance(values, dict):
            raise ControlError(400, "bad_json", "the body must be a JSON object")
        values = {(words or {}).get(name, name): value for name, value in values.items()}
        if strange := sorted(set(values) - known):
            raise ControlError(400, "unknown_field", f"unknown {strange}; known here: {sorted(known)}")
        return cls(values)

    def text(self, name: str) -> str:
        """Return a required text."""
        value = self.optional_text(name)
        if value is None:
            raise ControlError(400, "missing_field", f"{name} is required")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None."""
        value = self._values.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise ControlError(400, "bad_field", f"{name} must be a non-empty string")
        return value

    def whole(self, name: str, default: int) -> int:
        """Return a whole number."""
        value = self._values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ControlError(400, "bad_field", f"{name} must be a whole number")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false; false if absent."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise ControlError(400, "bad_field", f"{name} must be true or false")
        return value

    def only(self, names: Iterable[str]) -> dict[str, Any]:
        """Return these fields as they came, those that did; whoever asks checks them."""
        return {name: self._values[name] for name in names if name in self._values}

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an object; empty if absent."""
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise ControlError(400, "bad_field", f"{name} must be an object")
        return value


class Control:
    """What concerns every rail: information and faults."""

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/control/info", self.info)
        app.router.add_post("/control/faults", self.order_fault)
        app.router.add_get("/control/faults", self.list_faults)
        app.router.add_delete("/control/faults/{fault_id}", self.cancel_fault)

    async def info(self, request: web.Request) -> web.Response:
        """Return what info.json says."""
        return reply(self._ctx.info)

    async def order_fault(self, request: web.Request) -> web.Response:
        """Record a fault to be committed."""
        body = await Body.of(request, {"fault", "rail", "match", "times", "params"})
        rail, name, match, params = body.text("rail"), body.text("fault"), body.mapping("match"), body.mapping("params")
        try:
            fault = self._ctx.faults.order(rail, name, match, body.whole("times", 1), params)
        except FaultRefused as error:
            raise ControlError(400, "bad_fault", str(error)) from error
        return reply(fault.as_json(), 201)

    async def list_faults(self, request: web.Request) -> web.Response:
        """Return every fault ordered, and how often it was committed."""
        return reply({"faults": [fault.as_json() for fault in self._ctx.faults.listed()]})

    async def cancel_fault(self, request: web.Request) -> web.Response:
        """Forget a fault, once what it held back has been executed."""
        if not await self._ctx.take_back(request.match_info["fault_id"]):
            raise ControlError(404, "no_such_fault", f"there is no fault {request.match_info['fault_id']}")
        return web.Response(status=204)
