"""The API's front door: authentication, faults, signed answers. Handlers only translate."""

import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sandbox import keys
from sandbox.acquirer import Acquirer, Merchant, Ordered
from sandbox.wechat import refunds, trades
from sandbox.wechat.bills import Bills
from sandbox.wechat.calls import Answer, Call, Handler, Route, ok
from sandbox.wechat.certificates import PlatformKeys
from sandbox.wechat.checks import Fields
from sandbox.wechat.combine_routes import CombineRoutes
from sandbox.wechat.errors import ApiError, invalid_request, resource_not_exists, sign_error, wrong_parameter
from sandbox.wechat.orders import read_order, require_merchant
from sandbox.wechat.sharing_routes import SharingRoutes
from sandbox.wechat.signing import Nonces, check_clock, check_signature, read_authorization, signed_headers

JSON = "application/json; charset=utf-8"
NUMBERS = {"out_trade_no": "order", "out_refund_no": "refund", "out_order_no": "share", "out_return_no": "share_return"}
CREATE = "/v3/pay/transactions"
REFUNDS = "/v3/refund/domestic/refunds"
BY_NUMBER = CREATE + "/out-trade-no/{out_trade_no}"


class Routes:
    """The route table and what surrounds every handler."""

    def __init__(self, acquirer: Acquirer, platform: PlatformKeys, pool: keys.Pool, bills: Bills) -> None:
        self._of, self._platform, self._pool, self._bills = acquirer, platform, pool, bills
        self._nonces = Nonces()
        self._public_keys: dict[str, RSAPublicKey] = {}

    def add_to(self, app: web.Application) -> None:
        """Add every route."""
        table: list[Route] = [
            ("POST", CREATE + "/codepay", "codepay", self.codepay),
            ("GET", BY_NUMBER, "query", self.query_by_number),
            ("GET", CREATE + "/id/{transaction_id}", "query", self.query_by_id),
            ("POST", BY_NUMBER + "/close", "close", self.close),
            ("POST", BY_NUMBER + "/reverse", "reverse", self.reverse),
            ("POST", REFUNDS, "refund", self.refund),
            ("GET", REFUNDS + "/{out_refund_no}", "refund_query", self.refund_query),
            ("POST", REFUNDS + "/{refund_id}/apply-abnormal-refund", "abnormal_refund", self.abnormal_refund),
            ("GET", "/v3/bill/tradebill", "bill", self.trade_bill),
            ("GET", "/v3/bill/fundflowbill", "bill", self.fund_flow_bill),
            ("GET", "/v3/billdownload/file", "bill", self.download),
            ("GET", "/v3/certificates", "certificates", self.certificates),
            *SharingRoutes(self._of).table(),
            *CombineRoutes(self._of).table(),
        ]
        for product in ("native", "jsapi", "app", "h5"):
            table.append(("POST", f"{CREATE}/{product}", "create", self._creates(product)))
        for method, path, op, handler in table:
            self._of.guard.route(app, method, path, self._served(op, handler))

    def _served(self, op: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                return await self._serve(request, op, handler)
            except ApiError as refusal:
                headers = {"Request-ID": uuid.uuid4().hex.upper(), "Content-Type": JSON}
                return web.Response(status=refusal.status, body=orjson.dumps(refusal.as_json()), headers=headers)

        return serve

    async def _serve(self, request: web.Request, op: str, handler: Handler) -> web.StreamResponse:
        raw = await request.read()
        merchant, public_key = self._authenticated(request, raw)
        key = self._platform.asked_for(merchant, request.headers.get("Wechatpay-Serial"))
        call = Call(merchant, public_key, key, request, raw, dict(request.match_info))
        guard, facts = self._of.guard, _facts(call, op)
        try:
            answer = await guard.run(lambda: handler(call), **facts)
        except Ordered as ordered:
            raise _as_ordered(ordered) from ordered
        except ApiError as refusal:
            if refusal.status >= 300:
                raise
            answer = Answer(refusal.status, orjson.dumps(refusal.as_json()))  # 202: in progress, signed like every 2xx
        if answer.file_type is not None:
            return web.Response(status=answer.status, body=answer.body, content_type=answer.file_type)
        body, signed = guard.said_json(answer.body, **facts), guard.signature(**facts)
        headers = {"Request-ID": uuid.uuid4().hex.upper()}
        headers |= await signed_headers(self._pool, key.key_id, key.key, body, signed)
        if answer.status == 204:
            return web.Response(status=204, headers=headers)
        return web.Response(status=answer.status, body=body, headers={**headers, "Content-Type": JSON})

    def _authenticated(self, request: web.Request, raw: bytes) -> tuple[Merchant, RSAPublicKey]:
        """Return who signed the request. Checks in WeChat Pay's order, so that the first fault is the one named."""
        if not all(request.headers.get(name, "").strip() for name in ("Accept", "User-Agent")):
            raise invalid_request("Http头缺少Accept或User-Agent")
        auth = read_authorization(request.headers.get("Authorization"))
        check_clock(auth.timestamp)
        merchant = self._of.merchants.find(auth.mchid)
        if merchant is None or merchant.extra["serial_no"] != auth.serial_no:
            raise sign_error("商户证书序列号有误, 请使用该商户号签名所用的证书序列号")
        public_key = self._public_keys.get(auth.mchid)
        if public_key is None:
            _, public_key = keys.read_certificate(merchant.extra["certificate_pem"].encode())
            self._public_keys[auth.mchid] = public_key
        check_signature(public_key, auth, request.method, request.raw_path, raw)
        self._nonces.use(auth.mchid, auth.nonce)
        return merchant, public_key

    def _creates(self, product: str) -> Handler:
        async def create(call: Call) -> Answer:
            now_ms = self._of.ctx.clock.now_ms()
            order = read_order(product, call.json(), call.merchant, now_ms, call.key.key_id)
            trade = await self._of.write(lambda tx: trades.create(tx, self._of, call.merchant, order))
            return ok(trades.creation_answer(product, trade.token, self._of.ctx.base_url, now_ms))

        return create

    async def codepay(self, call: Call) -> Answer:
        """Charge a payment code 付款码."""
        now_ms = self._of.ctx.clock.now_ms()
        order = read_order("codepay", call.json(), call.merchant, now_ms, call.key.key_id)
        trade = await self._of.write(lambda tx: trades.codepay(tx, self._of, call.merchant, order))
        return ok(trades.codepay_answer(trade))

    async def query_by_number(self, call: Call) -> Answer:
        """Return an order by the merchant's number."""
        _require_own_mchid(call)
        return ok(trades.shown(trades.get(self._of.ctx.store, self._of, call.mchid, call.out_trade_no())))

    async def query_by_id(self, call: Call) -> Answer:
        """Return an order by WeChat Pay's number."""
        _require_own_mchid(call)
        trade = self._of.trades.find_by(self._of.ctx.store, "charge_ref", call.path["transaction_id"])
        return ok(trades.shown(trades.require_single(trade, call.mchid)))

    async def close(self, call: Call) -> Answer:
        """Close an unpaid order."""
        require_merchant(Fields(call.json()), call.merchant)
        number = call.out_trade_no()
        await self._of.write(lambda tx: trades.close(tx, self._of, trades.get(tx, self._of, call.mchid, number)))
        return Answer(204, b"")

    async def reverse(self, call: Call) -> Answer:
        """Reverse a code payment."""
        fields = Fields(call.json())
        require_merchant(fields, call.merchant)
        if fields.text("appid", 32) != call.appid:
            raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
        number = call.out_trade_no()
        await self._of.write(lambda tx: trades.reverse(tx, self._of, trades.get(tx, self._of, call.mchid, number)))
        return ok({"appid": call.appid, "mchid": call.mchid, "out_trade_no": number})

    async def refund(self, call: Call) -> Answer:
        """Accept a refund."""
        order = refunds.read_refund(call.json(), call.key.key_id)
        return ok(refunds.shown(*await self._of.write(lambda tx: refunds.create(tx, self._of, call.merchant, order))))

    async def refund_query(self, call: Call) -> Answer:
        """Return a refund."""
        store, number = self._of.ctx.store, refunds.require_number(call.path["out_refund_no"])
        refund = self._of.refunds.find(store, call.mchid, number)
        if refund is None:
            raise resource_not_exists("退款单不存在")
        return ok(refunds.shown(refund, self._of.trades.by_id(store, refund.trade_id)))

    async def abnormal_refund(self, call: Call) -> Answer:
        """Say where the money of an ABNORMAL refund goes 发起异常退款."""
        fields = Fields(call.json())
        number = fields.text("out_refund_no", 64)
        if fields.choice("type", "USER_BANK_CARD", "MERCHANT_BANK_CARD") == "USER_BANK_CARD":
            fields.text("bank_type", 16)
            for name in ("bank_account", "real_name"):
                if not call.unsealed(name, fields.text(name, 1024)):
                    raise fields.wrong(name, "must not be empty")
        refund_id = call.path["refund_id"]
        found = await self._of.write(lambda tx: refunds.send_on(tx, self._of, call.mchid, refund_id, number))
        return ok(refunds.shown(*found))

    async def trade_bill(self, call: Call) -> Answer:
        """Return where the trade bill of a day can be fetched."""
        return ok(
            await self._bills.trade_bill(
                call.merchant,
                call.query("bill_date"),
                call.query("bill_type", "ALL"),
                call.request.query.get("tar_type", ""),
            )
        )

    async def fund_flow_bill(self, call: Call) -> Answer:
        """Return where the fund flow bill of a day can be fetched."""
        return ok(
            await self._bills.fund_flow_bill(
                call.merchant,
                call.query("bill_date"),
                call.query("account_type", "BASIC"),
                call.request.query.get("tar_type", ""),
            )
        )

    async def download(self, call: Call) -> Answer:
        """Return a bill's file, unsigned: the merchant checks its hash."""
        content, zipped = self._bills.file(call.merchant, call.query("token"))
        return Answer(200, content, "application/x-gzip" if zipped else "text/plain")

    async def certificates(self, call: Call) -> Answer:
        """Return the platform certificates, encrypted for the merchant."""
        return ok(self._platform.download(call.merchant))


def _require_own_mchid(call: Call) -> None:
    mchid = call.query("mchid")
    if mchid != call.mchid:
        raise wrong_parameter("mchid", "must be the mchid of the Authorization header", mchid, location="query")


def _facts(call: Call, op: str) -> dict[str, object]:
    """Return what a fault can be matched by."""
    facts: dict[str, object] = {"merchant": call.mchid, "op": op}
    sources: list[dict[str, Any]] = [call.path]
    if call.raw.startswith(b"{"):
        with suppress(ApiError):  # the handler will say so
            sources.append(call.json())
    for source in sources:
        facts |= {word: source[name] for name, word in NUMBERS.items() if isinstance(source.get(name), str)}
    return facts


def _as_ordered(ordered: Ordered) -> ApiError:
    """Return the error that the control API ordered."""
    match ordered.name:
        case "frequency_limited":
            return ApiError(429, "FREQUENCY_LIMITED", "频率超限, 请稍后重试")
        case "refuse":
            return ApiError(ordered.status or 403, ordered.code, ordered.message)
        case _:
            return ApiError(500, "SYSTEM_ERROR", "系统异常, 请用相同参数重新调用")


@web.middleware
async def bare_http_errors(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
    """Answer unknown paths (404) and methods (405) of the API with an empty body, as WeChat Pay does."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if not re.match(r"/v3(/|$)", request.path):
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return web.Response(status=error.status, headers=headers)
