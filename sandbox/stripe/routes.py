"""The API's front door: the key, the faults, the idempotency keys, the shape of answers."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from sandbox.acquirer import Acquirer, Ordered, Trade
from sandbox.acquirer.guard import MATCH_KEYS
from sandbox.store import Tx
from sandbox.stripe import intents, objects, sessions
from sandbox.stripe.calls import Answer, Call, Execute, Route
from sandbox.stripe.errors import ApiError
from sandbox.stripe.forms import Fields, parse
from sandbox.stripe.handlers import LIST, Handlers
from sandbox.stripe.intents import Declined, Intents
from sandbox.stripe.naming import Naming
from sandbox.stripe.sessions import Sessions

KEYS_LAST_S = 86_400
MAX_KEY = 255


class Routes:
    """The route table and what surrounds every handler."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer
        self._intents = Intents(acquirer)
        self._naming = Naming(acquirer)
        self._handlers = Handlers(acquirer, self._naming, self._intents, Sessions(acquirer, self._intents))
        acquirer.ctx.faults.declare(acquirer.wire.rail, ["system_error_kept"], MATCH_KEYS)

    def add_to(self, app: web.Application) -> None:
        """Add every route."""
        do = self._handlers
        intent, refunds, hooks = "/v1/payment_intents", "/v1/refunds", "/v1/webhook_endpoints"
        session = "/v1/checkout/sessions"
        ranges = (*LIST, "created", "type", "currency", "source", "payout")
        hook = ("url", "enabled_events", "api_version", "description", "metadata", "connect", "expand")
        table = [
            Route("POST", intent, "create", do.create, intents.CREATE),
            Route("GET", intent, "query", do.list_intents, (*LIST, "created", "customer")),
            Route("GET", intent + "/{intent}", "query", do.show, ("expand", "client_secret")),
            Route("POST", intent + "/{intent}/confirm", "proceed", do.confirm, intents.CONFIRM),
            Route("POST", intent + "/{intent}/capture", "capture", do.capture, intents.CAPTURE),
            Route("POST", intent + "/{intent}/cancel", "close", do.cancel, intents.CANCEL),
            Route("POST", session, "create", do.create_session, sessions.CREATE),
            Route("GET", session + "/{session}", "query", do.show_session, ("expand",)),
            Route("POST", session + "/{session}/expire", "close", do.expire_session, ("expand",)),
            Route("POST", refunds, "refund", do.make_refund, intents.REFUND),
            Route("GET", refunds, "refund_query", do.list_refunds, (*LIST, "payment_intent", "charge", "created")),
            Route("GET", refunds + "/{refund}", "refund_query", do.show_refund, ("expand",)),
            Route("GET", "/v1/disputes/{dispute}", "dispute", do.show_dispute, ("expand",)),
            Route("GET", "/v1/balance_transactions", "bill", do.list_transactions, ranges),
            Route("POST", hooks, "webhook", do.make_hook, hook),
            Route("GET", hooks, "webhook", do.list_hooks, LIST),
            Route("GET", hooks + "/{hook}", "webhook", do.show_hook, ("expand",)),
            Route("DELETE", hooks + "/{hook}", "webhook", do.remove_hook, ()),
        ]
        for route in table:
            self._of.guard.route(app, route.method, route.path, self._door(route))

    # ---- around every handler ----------------------------------------------------------------------------------------

    def _door(self, route: Route) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
            try:
                answer = await self._answer(route, request, key)
            except ApiError as error:
                answer = Answer(error.status, orjson.dumps(error.as_json()))
            headers = {
                "Request-Id": f"req_{secrets.token_hex(7)}",
                "Stripe-Version": request.headers.get("Stripe-Version", objects.API_VERSION),
                "Stripe-Should-Retry": "true" if answer.status in (409, 500) else "false",
                **(answer.headers or {}),
            }
            if key:
                headers |= {"Idempotency-Key": key, "Original-Request": headers["Request-Id"]}
            if answer.replayed:
                headers["Idempotent-Replayed"] = "true"
            return web.Response(
                status=answer.status, body=answer.body, content_type="application/json", headers=headers
            )

        return serve

    async def _answer(self, route: Route, request: web.Request, key: str | None) -> Answer:
        call = await self._read(route, request, key)

        async def execute() -> Answer:
            return await self._of.write(lambda tx: self._once(tx, call, route.execute))

        try:
            answer = await self._of.guard.run(execute, **call.facts)
            return replace(answer, body=self._of.guard.said_json(answer.body, **call.facts))
        except Ordered as fault:
            return await self._spoiled(fault, call)

    async def _read(self, route: Route, request: web.Request, key: str | None) -> Call:
        """Return the call: whose it is, and about what. Raises ApiError."""
        merchant = self._naming.who(request.headers.get("Authorization", ""))
        body = (await request.read()).decode("utf-8", "replace") if request.method == "POST" else request.query_string
        fields = Fields(parse(body))
        fields.only(route.known)
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise ApiError(400, f"Idempotency-Key must be 1 to {MAX_KEY} characters", kind="idempotency_error")
        op, facts = route.op, {"merchant": merchant.merchant}
        trade = refund = hook = dispute = None
        if "intent" in request.match_info:
            trade = self._naming.trade(merchant, request.match_info["intent"], "intent")
        elif "session" in request.match_info:
            trade = self._naming.session(merchant, request.match_info["session"])
        elif route.op == "refund":
            trade = self._naming.paid(merchant, fields)
        elif "refund" in request.match_info:
            refund = self._naming.refund(merchant, request.match_info["refund"])
            trade = self._of.trades.by_id(self._of.ctx.store, refund.trade_id)
        elif "dispute" in request.match_info:
            dispute = self._naming.dispute(merchant, request.match_info["dispute"])
            trade = self._of.trades.by_id(self._of.ctx.store, dispute.trade_id)
        elif "hook" in request.match_info:
            hook = self._naming.hook(merchant, request.match_info["hook"])
        if op == "close" and trade is not None and trade.hold_ref is not None:
            op = "void"
        notes = fields.table("metadata") if "metadata" in route.known else {}
        if trade is not None:
            facts["order"] = trade.order
        elif "reference" in notes:
            facts["order"] = notes["reference"]
        if refund is not None:
            facts["refund"] = refund.order or ""
        elif op == "refund" and "reference" in notes:
            facts["refund"] = notes["reference"]
        text = f"{request.method} {request.path} {orjson.dumps(fields.values, option=orjson.OPT_SORT_KEYS).decode()}"
        return Call(merchant, fields, text, key, request.path, facts | {"op": op}, trade, refund, hook, dispute)

    def _once(self, tx: Tx, call: Call, execute: Execute) -> Answer:
        """Execute a request, or tell again what came of its key. Raises ApiError for what is not kept under a key."""
        now_ms = self._of.ctx.clock.now_ms()
        if call.key is None:
            return self._executed(tx, call, execute)
        since = now_ms - int(KEYS_LAST_S * self._of.ctx.time_scale * 1000)
        tx.execute("DELETE FROM stripe_key WHERE merchant = ? AND created_ms < ?", call.merchant.merchant, since)
        sql = "SELECT * FROM stripe_key WHERE merchant = ? AND key = ?"
        old = tx.one(sql, call.merchant.merchant, call.key)
        if old is not None:
            if old["request"] != call.text:
                raise ApiError(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first used with."
                    f" Try using a key other than '{call.key}' if you meant to execute a different request.",
                    kind="idempotency_error",
                )
            return Answer(old["status"], old["body"], replayed=True)
        answer = self._executed(tx, call, execute)
        tx.execute(
            "INSERT INTO stripe_key (merchant, key, request, status, body, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
            *(call.merchant.merchant, call.key, call.text, answer.status, answer.body, now_ms),
        )
        return answer

    def _executed(self, tx: Tx, call: Call, execute: Execute) -> Answer:
        if self._of.ctx.faults.take(self._of.wire.rail, "system_error_kept", **call.facts):
            return Answer(500, _BROKEN)
        if call.trade is not None:  # as it is now, under the lock
            call = replace(call, trade=self._of.trades.by_id(tx, call.trade.trade_id))
        try:
            return execute(tx, call)
        except Declined as declined:
            return self._declined(declined.trade, declined.error)
        except ApiError as error:
            if not error.kept:
                raise
            return Answer(error.status, orjson.dumps(error.as_json()))

    async def _spoiled(self, fault: Ordered, call: Call) -> Answer:
        """Return the error that was ordered. A refused confirmation is a card declined, with all that this changes."""
        if fault.name == "system_error":
            return Answer(500, _BROKEN)
        if fault.name == "frequency_limited":
            raise ApiError(429, "Too many requests hit the API too quickly.", code="rate_limit")
        trade = call.trade
        if call.facts["op"] != "proceed" or trade is None or fault.status:
            raise ApiError(fault.status or 400, fault.message, code=fault.code)

        def decline(tx: Tx, call: Call) -> Answer:
            return self._declined(*self._intents.decline(tx, trade, "card_declined", fault.code, fault.message))

        return await self._of.write(lambda tx: self._once(tx, call, decline))

    def _declined(self, trade: Trade, error: Mapping[str, Any]) -> Answer:
        shown = objects.intent(trade, self._of.page_url(trade))
        more = {"charge": objects.charge_id(trade.trade_ref), "payment_intent": shown}
        return Answer(402, orjson.dumps({"error": {**error, **more}}))


_BROKEN = orjson.dumps(
    {
        "error": {
            "message": "Sorry! We've encountered an error on our side, ordered from the sandbox.",
            "type": "api_error",
        }
    }
)
