"""Faults on requests: what goes wrong before a rail executes, after it did, and in how it signs its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aiohttp import web

from sandbox.acquirer.wire import Signed, Wire
from sandbox.context import SandboxContext
from sandbox.faults import HELD_BACK
from sandbox.words import in_other_words, json_in_other_words

T = TypeVar("T")
MATCH_KEYS = ("merchant", "op", "order", "refund")
BEFORE = ("down", "request_lost", "system_error", "frequency_limited")
AFTER = ("answer_lost", "system_error_after")
SIGNING: Mapping[str, Signed] = {"unsigned_answer": "none", "bad_signature": "wrong"}


class Dropped(Exception):
    """The connection is to be cut without an answer; `Guard.route` does it."""


class Ordered(Exception):
    """The rail is to answer with an error of its own.

    name: system_error (nothing was executed, or it was: the caller cannot tell), frequency_limited, or refuse with the
    rail's own code and message; status: an HTTP status, if the order names one.
    """

    def __init__(self, name: str, code: str = "", message: str = "", status: int = 0) -> None:
        super().__init__(name)
        self.name, self.code, self.message, self.status = name, code, message, status


class Guard:
    """What a rail wraps its handlers in."""

    def __init__(self, ctx: SandboxContext, wire: Wire) -> None:
        self._ctx, self._rail, self._states = ctx, wire.rail, wire.states
        match_keys = (*MATCH_KEYS, *wire.also_matched)
        self._signing: dict[str, Signed] = {**SIGNING, **({"sigtest": "probe"} if wire.probes else {})}
        ctx.faults.declare(wire.rail, (*BEFORE, *AFTER, *self._signing, HELD_BACK), match_keys)
        ctx.faults.declare(wire.rail, ["delay"], match_keys, ms=None)
        ctx.faults.declare(wire.rail, ["answer_status"], match_keys, status=None)
        ctx.faults.declare(wire.rail, ["refuse"], match_keys, code=None, message="refused on order", status=0)

    async def run(self, execute: Callable[[], Awaitable[T]], **facts: object) -> T:
        """Execute a request that has been authenticated, with whatever was ordered for it before and after.

        facts: merchant and op always, order and refund where the request names them. Raises Dropped and Ordered; what
        `execute` raises itself passes, unless its answer is to be lost.
        """
        await self.before(**facts)
        if self._ctx.held_back(self._rail, execute, **facts):
            raise Dropped
        try:
            result = await execute()
        except Exception:
            self.after(**facts)
            raise
        self.after(**facts)
        return result

    async def before(self, **facts: object) -> None:
        """Do what was ordered for before the execution. Raises Dropped, Ordered."""
        take = self._ctx.faults.take
        if delay := take(self._rail, "delay", **facts):
            await asyncio.sleep(delay.params["ms"] / 1000)
        fault = take(self._rail, (*BEFORE, "refuse"), **facts)
        if fault is None:
            return
        if fault.name in ("down", "request_lost"):
            raise Dropped
        if fault.name == "refuse":
            params = fault.params
            raise Ordered("refuse", str(params["code"]), str(params["message"]), int(params["status"]))
        raise Ordered(fault.name)

    def after(self, **facts: object) -> None:
        """Do what was ordered for after the execution. Raises Dropped, Ordered."""
        fault = self._ctx.faults.take(self._rail, AFTER, **facts)
        if fault is not None:
            raise Dropped if fault.name == "answer_lost" else Ordered("system_error")

    def said(self, said: T, **facts: object) -> T:
        """Return an answer, or one in whose states a word stands that was ordered; before it is signed."""
        fault = self._ctx.faults.take(self._rail, "answer_status", **facts)
        return said if fault is None else in_other_words(said, self._states, str(fault.params["status"]))

    def said_json(self, body: bytes, **facts: object) -> bytes:
        """Return the same of an answer that is written already."""
        fault = self._ctx.faults.take(self._rail, "answer_status", **facts)
        return body if fault is None else json_in_other_words(body, self._states, str(fault.params["status"]))

    def signature(self, **facts: object) -> Signed:
        """Return how this answer is to be signed."""
        fault = self._ctx.faults.take(self._rail, self._signing, **facts)
        return "right" if fault is None else self._signing[fault.name]

    def route(
        self,
        app: web.Application,
        method: str,
        path: str,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> None:
        """Add a route whose connection is cut when the handler raises Dropped."""

        async def serve(request: web.Request) -> Any:
            try:
                return await handler(request)
            except Dropped:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)  # goes nowhere: the connection is gone

        app.router.add_route(method, path, serve)
