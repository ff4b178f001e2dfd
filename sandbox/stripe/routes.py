"""The API's front door: the key, the faults, the idempotency keys, the shape of answers. Handlers only translate."""

import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from sandbox.acquirer import Acquirer, Merchant, Ordered, Refund, Trade, Webhook
from sandbox.acquirer.guard import MATCH_KEYS
from sandbox.store import Tx
from sandbox.stripe import intents, objects
from sandbox.stripe.balance import Balance
from sandbox.stripe.errors import ApiError, no_such, wrong
from sandbox.stripe.forms import Fields, parse
from sandbox.stripe.intents import Declined, Intents

KEYS_LAST_S = 86_400
MAX_KEY = 255
LIST = ("limit", "starting_after", "ending_before", "expand")
EXPANDS = {
    "latest_charge": objects.Expand(charge=True),
    "latest_charge.balance_transaction": objects.Expand(charge=True, transaction=True),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. replayed: it is the answer to an earlier request under the same key."""

    status: int
    body: bytes
    replayed: bool = False
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request about what its path names."""

    merchant: Merchant
    fields: Fields
    text: str  # method, path and fields, the same for the same request
    key: str | None
    path: str
    facts: Mapping[str, object]
    trade: Trade | None = None
    refund: Refund | None = None
    hook: Webhook | None = None


Execute = Callable[[Tx, Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. op: what faults call it; known: the fields it takes."""

    method: str
    path: str
    op: str
    execute: Execute
    known: Sequence[str]


def ok(body: Any, **headers: str) -> Answer:
    """Return a 200 answer."""
    return Answer(200, orjson.dumps(body), headers=headers)


class Routes:
    """The route table and what surrounds every handler."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer
        self._intents = Intents(acquirer)
        self._balance = Balance(acquirer)
        acquirer.ctx.faults.declare(acquirer.wire.rail, ["system_error_kept"], MATCH_KEYS)

    def add_to(self, app: web.Application) -> None:
        """Add every route."""
        intent, refunds, hooks = "/v1/payment_intents", "/v1/refunds", "/v1/webhook_endpoints"
        ranges = (*LIST, "created", "type", "currency", "source", "payout")
        hook = ("url", "enabled_events", "api_version", "description", "metadata", "connect", "expand")
        table = [
            Route("POST", intent, "create", self.create, intents.CREATE),
            Route("GET", intent, "query", self.list_intents, (*LIST, "created", "customer")),
            Route("GET", intent + "/{intent}", "query", self.show, ("expand", "client_secret")),
            Route("POST", intent + "/{intent}/confirm", "proceed", self.confirm, intents.CONFIRM),
            Route("POST", intent + "/{intent}/capture", "capture", self.capture, intents.CAPTURE),
            Route("POST", intent + "/{intent}/cancel", "close", self.cancel, intents.CANCEL),
            Route("POST", refunds, "refund", self.make_refund, intents.REFUND),
            Route("GET", refunds, "refund_query", self.list_refunds, (*LIST, "payment_intent", "charge", "created")),
            Route("GET", refunds + "/{refund}", "refund_query", self.show_refund, ("expand",)),
            Route("GET", "/v1/balance_transactions", "bill", self.list_transactions, ranges),
            Route("POST", hooks, "webhook", self.make_hook, hook),
            Route("GET", hooks, "webhook", self.list_hooks, LIST),
            Route("GET", hooks + "/{hook}", "webhook", self.show_hook, ("expand",)),
            Route("DELETE", hooks + "/{hook}", "webhook", self.remove_hook, ()),
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
        merchant = self._who(request.headers.get("Authorization", ""))
        body = (await request.read()).decode("utf-8", "replace") if request.method == "POST" else request.query_string
        fields = Fields(parse(body))
        fields.only(route.known)
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise ApiError(400, f"Idempotency-Key must be 1 to {MAX_KEY} characters", kind="idempotency_error")
        op, facts = route.op, {"merchant": merchant.merchant}
        trade = refund = hook = None
        if "intent" in request.match_info:
            trade = self._trade(merchant, request.match_info["intent"], "intent")
        elif route.op == "refund":
            trade = self._paid(merchant, fields)
        elif "refund" in request.match_info:
            refund = self._refund(merchant, request.match_info["refund"])
            trade = self._of.trades.by_id(self._of.ctx.store, refund.trade_id)
        elif "hook" in request.match_info:
            hook = self._hook(merchant, request.match_info["hook"])
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
        return Call(merchant, fields, text, key, request.path, facts | {"op": op}, trade, refund, hook)

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

    # ---- who and what ------------------------------------------------------------------------------------------------

    def _who(self, authorization: str) -> Merchant:
        scheme, _, key = authorization.partition(" ")
        if scheme == "Basic":
            try:
                key = b64decode(key, validate=True).decode().partition(":")[0]
            except ValueError:
                key = ""
        if scheme not in ("Bearer", "Basic") or not key:
            raise ApiError(401, "You did not provide an API key.")
        for merchant in self._of.merchants.all():
            if secrets.compare_digest(merchant.extra["secret_key"].encode(), key.encode()):
                return merchant
        raise ApiError(401, f"Invalid API Key provided: {key[:8]}****{key[-4:]}")

    def _trade(self, merchant: Merchant, number: str, param: str, status: int = 404) -> Trade:
        trade = self._of.trades.find_by(self._of.ctx.store, "trade_ref", unquote(number))
        if trade is None or trade.merchant != merchant.merchant:
            raise no_such("payment_intent", number[:100], param, status)
        return trade

    def _paid(self, merchant: Merchant, fields: Fields) -> Trade:
        """Return the intent that a refund is of, by its id or its charge's."""
        intent, charge = fields.text("payment_intent"), fields.text("charge")
        if charge is not None:
            intent = intent or "pi_" + charge.removeprefix("ch_")
        if intent is None:
            raise ApiError(
                400,
                "One of the following params should be provided for this request: payment_intent or charge.",
                code="parameter_missing",
                param="charge",
            )
        return self._trade(merchant, intent, "payment_intent" if charge is None else "charge", 404)

    def _refund(self, merchant: Merchant, number: str) -> Refund:
        refund = self._of.refunds.find_by_ref(self._of.ctx.store, unquote(number))
        if refund is None or refund.merchant != merchant.merchant:
            raise no_such("refund", number[:100], "id")
        return refund

    def _hook(self, merchant: Merchant, number: str) -> Webhook:
        for hook in self._of.merchants.webhooks(self._of.ctx.store, merchant.merchant):
            if hook.webhook_id == number:
                return hook
        raise no_such("webhook endpoint", number[:100], "webhook_endpoint")

    def _shown(self, call: Call, trade: Trade) -> Answer:
        expand = objects.NOTHING
        for path in call.fields.texts("expand"):
            if path not in EXPANDS:
                raise wrong("expand", f"This property cannot be expanded ({path[:100]}).")
            more = EXPANDS[path]
            expand = objects.Expand(expand.charge or more.charge, expand.transaction or more.transaction)
        return ok(objects.intent(trade, self._of.page_url(trade), expand))

    # ---- handlers ----------------------------------------------------------------------------------------------------

    def create(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents."""
        return self._shown(call, self._intents.create(tx, call.merchant, call.fields))

    def show(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/payment_intents/{intent}."""
        return self._shown(call, _of(call))

    def confirm(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents/{intent}/confirm."""
        return self._shown(call, self._intents.confirm(tx, _of(call), call.fields))

    def capture(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents/{intent}/capture."""
        return self._shown(call, self._intents.capture(tx, _of(call), call.fields))

    def cancel(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/payment_intents/{intent}/cancel."""
        return self._shown(call, self._intents.cancel(tx, _of(call), call.fields))

    def list_intents(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/payment_intents, newest first."""
        trades = self._of.trades.of_merchant(tx, call.merchant.merchant)
        return self._listed(call, [objects.intent(trade, self._of.page_url(trade)) for trade in reversed(trades)])

    def make_refund(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/refunds."""
        trade = _of(call)
        return ok(objects.refund(self._intents.refund(tx, trade, call.fields), trade))

    def show_refund(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/refunds/{refund}."""
        assert call.refund is not None
        return ok(objects.refund(call.refund, _of(call)))

    def list_refunds(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/refunds, newest first: of one intent, or of all."""
        if call.fields.text("payment_intent") or call.fields.text("charge"):
            trades = [self._paid(call.merchant, call.fields)]
        else:
            trades = self._of.trades.of_merchant(tx, call.merchant.merchant)
        found = [(refund, trade) for trade in trades for refund in self._of.refunds.of_trade(tx, trade)]
        found.sort(key=lambda pair: -pair[0].refund_id)
        return self._listed(call, [objects.refund(refund, trade) for refund, trade in found])

    def list_transactions(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/balance_transactions, newest first.

        The Date of the answer is the account's books': after their day was closed by hand it is the next one there.
        """
        expands = call.fields.texts("expand")
        if strange := [path for path in expands if path != "data.source"]:
            raise wrong("expand", f"This property cannot be expanded ({strange[0][:100]}).")
        created = Fields(call.fields.values["created"]) if isinstance(call.fields.values.get("created"), dict) else None
        since = before = None
        if created is not None:
            created.only(("gt", "gte", "lt", "lte"))
            after, up_to = created.whole("gt"), created.whole("lte")
            since = created.whole("gte") if after is None else after + 1
            before = created.whole("lt") if up_to is None else up_to + 1
        rows = self._balance.newest_first(call.merchant, since, before, source=bool(expands))
        kind = call.fields.text("type")
        currency = call.fields.text("currency")
        rows = [row for row in rows if kind in (None, row["type"]) and currency in (None, row["currency"])]
        page = self._listed(call, rows)
        body, day = page.body, self._balance.the_day(since, before)
        if day is not None:
            body = self._of.bills.cut(call.merchant, day, body)
        return Answer(
            200, body, headers={"Date": format_datetime(self._balance.now(call.merchant).astimezone(UTC), usegmt=True)}
        )

    def make_hook(self, tx: Tx, call: Call) -> Answer:
        """POST /v1/webhook_endpoints; the secret is told this once."""
        url, events = call.fields.required("url"), call.fields.texts("enabled_events")
        if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise wrong("url", "Invalid URL: webhook endpoints must be https, or on this machine", "url_invalid")
        if not events:
            raise wrong("enabled_events", "Missing required param: enabled_events.", "parameter_missing")
        values = {
            "enabled_events": events,
            "api_version": call.fields.text("api_version"),
            "description": call.fields.text("description"),
        }
        return ok(objects.webhook(self._of.merchants.add_webhook(tx, call.merchant, url, values), secret=True))

    def show_hook(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/webhook_endpoints/{hook}."""
        assert call.hook is not None
        return ok(objects.webhook(call.hook))

    def list_hooks(self, tx: Tx, call: Call) -> Answer:
        """GET /v1/webhook_endpoints, newest first."""
        hooks = self._of.merchants.webhooks(tx, call.merchant.merchant)
        return self._listed(call, [objects.webhook(hook) for hook in reversed(hooks)])

    def remove_hook(self, tx: Tx, call: Call) -> Answer:
        """DELETE /v1/webhook_endpoints/{hook}."""
        assert call.hook is not None
        self._of.merchants.remove_webhook(tx, call.merchant.merchant, call.hook.webhook_id)
        return ok({"id": call.hook.webhook_id, "object": "webhook_endpoint", "deleted": True})

    def _listed(self, call: Call, rows: list[dict[str, Any]]) -> Answer:
        """Return the page of `rows` that is asked for."""
        fields = call.fields
        limit = fields.whole("limit")
        limit = 10 if limit is None else limit
        if not 1 <= limit <= 100:
            raise wrong("limit", "This value must be between 1 and 100.", "parameter_invalid_integer")
        after, before = fields.text("starting_after"), fields.text("ending_before")
        ids = [row["id"] for row in rows]
        for name, number in (("starting_after", after), ("ending_before", before)):
            if number is not None and number not in ids:
                raise no_such("object", number[:100], name, 400)
        if after is not None:
            rows = rows[len(ids) - ids[::-1].index(after) :]
        if before is not None:
            rows = rows[: ids.index(before)][-limit:]
        return ok(objects.listed(call.path, rows[:limit], len(rows) > limit))


_BROKEN = orjson.dumps(
    {
        "error": {
            "message": "Sorry! We've encountered an error on our side, ordered from the sandbox.",
            "type": "api_error",
        }
    }
)


def _of(call: Call) -> Trade:
    assert call.trade is not None
    return call.trade
