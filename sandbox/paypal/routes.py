"""PayPal's front door: sessions, faults, errors. Handlers only translate."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from sandbox.acquirer import CoreError, Merchant, Ordered
from sandbox.paypal import errors
from sandbox.paypal.certificates import PATH as CERTIFICATES
from sandbox.paypal.certificates import Certificates
from sandbox.paypal.errors import ApiError, OAuthError
from sandbox.paypal.report import Report
from sandbox.paypal.service import Done, PayPal
from sandbox.paypal.views import Views
from sandbox.paypal.webhooks import Webhooks

ORDERS, PAYMENTS, HOOKS = "/v2/checkout/orders", "/v2/payments", "/v1/notifications/webhooks"
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Routes:
    """See the module."""

    def __init__(
        self, paypal: PayPal, views: Views, report: Report, webhooks: Webhooks, certificates: Certificates
    ) -> None:
        self._paypal, self._views, self._report = paypal, views, report
        self._webhooks, self._certificates = webhooks, certificates
        self._acquirer = paypal.acquirer

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        routes: list[tuple[str, str, Handler]] = [
            ("POST", "/v1/oauth2/token", self.log_in),
            ("POST", ORDERS, self.create),
            ("GET", ORDERS + "/{number}", self.show_order),
            ("POST", ORDERS + "/{number}/{step:capture|authorize}", self.proceed),
            ("GET", PAYMENTS + "/authorizations/{number}", self.show_authorization),
            ("POST", PAYMENTS + "/authorizations/{number}/capture", self.capture),
            ("POST", PAYMENTS + "/authorizations/{number}/void", self.void),
            ("GET", PAYMENTS + "/captures/{number}", self.show_capture),
            ("POST", PAYMENTS + "/captures/{number}/refund", self.refund),
            ("GET", PAYMENTS + "/refunds/{number}", self.show_refund),
            ("GET", "/v1/reporting/transactions", self.report),
            ("POST", HOOKS + "{slash:/?}", self.register),  # PayPal's older library ends it with one
            ("GET", HOOKS + "{slash:/?}", self.list_webhooks),
            ("GET", HOOKS + "/{number}", self.show_webhook),
            ("DELETE", HOOKS + "/{number}", self.remove_webhook),
            ("POST", "/v1/notifications/verify-webhook-signature", self.verify),
            ("GET", CERTIFICATES + "{name}", self.certificate),
        ]
        for method, path, handler in routes:
            self._acquirer.guard.route(app, method, path, _answered(handler))

    # ---- sessions ----------------------------------------------------------------------------------------------------

    async def log_in(self, request: web.Request) -> web.Response:
        """POST /v1/oauth2/token: open a session."""
        merchant = self._paypal.client(*_basic(request.headers.get("Authorization", "")))
        if (await request.post()).get("grant_type") != "client_credentials":
            raise OAuthError(400, "unsupported_grant_type", "unsupported grant_type")
        body = await self._acquirer.guard.run(
            lambda: self._paypal.log_in(merchant), merchant=merchant.merchant, op="login"
        )
        return _json(200, body)

    # ---- orders ------------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """POST /v2/checkout/orders."""
        body = await _body(request)
        units = body.get("purchase_units")
        first = units[0] if isinstance(units, list) and units and isinstance(units[0], dict) else {}

        async def execute(merchant: Merchant) -> web.Response:
            done = await self._paypal.create(merchant, body, _request_id(request))
            return self._shown(request, done)

        return await self._run(request, "create", execute, order=first.get("custom_id"))

    async def show_order(self, request: web.Request) -> web.Response:
        """GET /v2/checkout/orders/{id}."""
        number = request.match_info["number"]

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, self._paypal.show_order(merchant, number))

        return await self._run(request, "query", execute, order=self._order("trade_ref", number))

    async def proceed(self, request: web.Request) -> web.Response:
        """POST /v2/checkout/orders/{id}/capture and …/authorize."""
        number, step = request.match_info["number"], request.match_info["step"]
        await _body(request, may_be_empty=True)

        async def execute(merchant: Merchant) -> web.Response:
            done = await self._paypal.proceed(merchant, number, step, _request_id(request))
            return self._shown(request, done)

        return await self._run(request, "proceed", execute, order=self._order("trade_ref", number))

    # ---- authorizations ----------------------------------------------------------------------------------------------

    async def show_authorization(self, request: web.Request) -> web.Response:
        """GET /v2/payments/authorizations/{id}."""
        number = request.match_info["number"]

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, self._paypal.show_authorization(merchant, number))

        return await self._run(request, "query", execute, order=self._order("hold_ref", number))

    async def capture(self, request: web.Request) -> web.Response:
        """POST /v2/payments/authorizations/{id}/capture."""
        number, body = request.match_info["number"], await _body(request, may_be_empty=True)

        async def execute(merchant: Merchant) -> web.Response:
            done = await self._paypal.capture(merchant, number, body, _request_id(request))
            return self._shown(request, done)

        return await self._run(request, "capture", execute, order=self._order("hold_ref", number))

    async def void(self, request: web.Request) -> web.Response:
        """POST /v2/payments/authorizations/{id}/void: 204, or the authorization where it is asked for."""
        number = request.match_info["number"]

        async def execute(merchant: Merchant) -> web.Response:
            body = await self._paypal.void(merchant, number)
            return _json(200, body) if _whole(request) else web.Response(status=204)

        return await self._run(request, "void", execute, order=self._order("hold_ref", number))

    # ---- captures and refunds ----------------------------------------------------------------------------------------

    async def show_capture(self, request: web.Request) -> web.Response:
        """GET /v2/payments/captures/{id}."""
        number = request.match_info["number"]

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, self._paypal.show_capture(merchant, number))

        return await self._run(request, "query", execute, order=self._order("charge_ref", number))

    async def refund(self, request: web.Request) -> web.Response:
        """POST /v2/payments/captures/{id}/refund."""
        number, body = request.match_info["number"], await _body(request, may_be_empty=True)

        async def execute(merchant: Merchant) -> web.Response:
            done = await self._paypal.refund(merchant, number, body, _request_id(request))
            return self._shown(request, done)

        facts = {"order": self._order("charge_ref", number), "refund": body.get("invoice_id")}
        return await self._run(request, "refund", execute, **facts)

    async def show_refund(self, request: web.Request) -> web.Response:
        """GET /v2/payments/refunds/{id}."""
        number = request.match_info["number"]
        known = self._acquirer.refunds.find_by_ref(self._acquirer.ctx.store, number)

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, self._paypal.show_refund(merchant, number))

        return await self._run(request, "refund_query", execute, refund=known and known.order)

    # ---- report ------------------------------------------------------------------------------------------------------

    async def report(self, request: web.Request) -> web.Response:
        """GET /v1/reporting/transactions."""

        async def execute(merchant: Merchant) -> web.Response:
            page = self._report.page(merchant, dict(request.query))
            return web.Response(status=200, body=page, content_type="application/json")

        return await self._run(request, "bill", execute)

    # ---- webhooks ----------------------------------------------------------------------------------------------------

    async def register(self, request: web.Request) -> web.Response:
        """POST /v1/notifications/webhooks."""
        body = await _body(request)

        async def execute(merchant: Merchant) -> web.Response:
            return _json(201, await self._webhooks.register(merchant, body))

        return await self._run(request, "webhook", execute)

    async def list_webhooks(self, request: web.Request) -> web.Response:
        """GET /v1/notifications/webhooks."""

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, self._webhooks.listed(merchant))

        return await self._run(request, "webhook", execute)

    async def show_webhook(self, request: web.Request) -> web.Response:
        """GET /v1/notifications/webhooks/{id}."""

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, self._webhooks.one(merchant, request.match_info["number"]))

        return await self._run(request, "webhook", execute)

    async def remove_webhook(self, request: web.Request) -> web.Response:
        """DELETE /v1/notifications/webhooks/{id}."""

        async def execute(merchant: Merchant) -> web.Response:
            await self._webhooks.remove(merchant, request.match_info["number"])
            return web.Response(status=204)

        return await self._run(request, "webhook", execute)

    async def verify(self, request: web.Request) -> web.Response:
        """POST /v1/notifications/verify-webhook-signature."""
        raw = await request.read()

        async def execute(merchant: Merchant) -> web.Response:
            return _json(200, dict(self._webhooks.verified(raw)))

        return await self._run(request, "verify", execute)

    async def certificate(self, request: web.Request) -> web.Response:
        """GET /v1/notifications/certs/{name}: for everyone."""
        chain = self._certificates.chain(request.match_info["name"])
        if chain is None:
            raise errors.not_found()
        return web.Response(text=chain, content_type="application/x-pem-file")

    # ---- shared ------------------------------------------------------------------------------------------------------

    async def _run(
        self,
        request: web.Request,
        op: str,
        execute: Callable[[Merchant], Awaitable[web.Response]],
        **facts: object,
    ) -> web.Response:
        """Execute within a session, with whatever was ordered to go wrong."""
        merchant = self._paypal.whose(request.headers.get("Authorization"))
        known = {name: value for name, value in facts.items() if isinstance(value, str)}
        known |= {"merchant": merchant.merchant, "op": op}
        answer = await self._acquirer.guard.run(lambda: execute(merchant), **known)
        if isinstance(answer.body, bytes):
            answer.body = self._acquirer.guard.said_json(answer.body, **known)
        return answer

    def _order(self, column: str, number: str) -> str | None:
        trade = self._acquirer.trades.find_by(self._acquirer.ctx.store, column, number)
        return None if trade is None else trade.order

    def _shown(self, request: web.Request, done: Done) -> web.Response:
        body = done.body if _whole(request) else self._views.minimal(done.body)
        return _json(201 if done.new else 200, body)


def _answered(handler: Handler) -> Handler:
    """Return the handler with errors answered as PayPal answers them."""

    async def serve(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (ApiError, OAuthError) as error:
            answer: ApiError | OAuthError = error
        except CoreError as refusal:
            answer = errors.of_core(refusal)
        except Ordered as ordered:
            answer = errors.of_order(ordered)
        return _json(answer.status, answer.body())

    return serve


def _json(status: int, body: dict[str, Any]) -> web.Response:
    headers = {"Paypal-Debug-Id": str(body.get("debug_id", "f0e1d2c3b4a59"))}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


def _request_id(request: web.Request) -> str | None:
    """Return the PayPal-Request-Id, if there is one."""
    value = request.headers.get("PayPal-Request-Id")
    if value is not None and not 1 <= len(value) <= 108:
        raise ApiError(400, "INVALID_STRING_LENGTH", field="PayPal-Request-Id")
    return value


def _whole(request: web.Request) -> bool:
    return request.headers.get("Prefer", "").replace(" ", "") == "return=representation"


async def _body(request: web.Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    raw = await request.read()
    if not raw and may_be_empty:
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ApiError(400, "MALFORMED_REQUEST_JSON", "The request JSON is not well formed.") from None
    if not isinstance(body, dict):
        raise ApiError(400, "MALFORMED_REQUEST_JSON", "The request JSON is not an object.")
    return body


def _basic(authorization: str) -> tuple[str, str]:
    """Return client id and secret of a Basic header. Raises OAuthError."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        client_id = client_secret = ""
    if scheme.lower() != "basic" or not client_id:
        raise OAuthError(401, "invalid_client", "Client Authentication failed")
    return client_id, client_secret
