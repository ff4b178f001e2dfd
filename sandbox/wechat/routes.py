"""The API's front door: authentication, faults, signed answers. Handlers only translate."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from sandbox.faults import HELD_BACK, Fault
from sandbox.wechat import refunds, trades
from sandbox.wechat.bills import Bills
from sandbox.wechat.calls import Answer, Call, Handler, Route, ok
from sandbox.wechat.certificates import PlatformKey
from sandbox.wechat.checks import Fields
from sandbox.wechat.combine_routes import CombineRoutes
from sandbox.wechat.errors import ApiError, invalid_request, sign_error, wrong_parameter
from sandbox.wechat.merchants import Merchant
from sandbox.wechat.orders import read_order, require_merchant
from sandbox.wechat.service import WeChat
from sandbox.wechat.sharing_routes import SharingRoutes
from sandbox.wechat.signing import Nonces, as_probe, check_clock, check_signature, read_authorization, signed_headers
from sandbox.words import json_in_other_words

JSON = "application/json; charset=utf-8"
EXECUTED_NOT = ("down", "request_lost", "system_error", "frequency_limited")
EXECUTED = ("answer_lost", "system_error_after", "unsigned_answer", "bad_signature", "sigtest")
STATES = (("trade_state", "status"),)
NUMBERS = ("out_trade_no", "out_refund_no", "out_order_no", "out_return_no")
MATCH_KEYS = ("mchid", "op", *NUMBERS)
CREATE = "/v3/pay/transactions"
REFUNDS = "/v3/refund/domestic/refunds"
BY_NUMBER = CREATE + "/out-trade-no/{out_trade_no}"


class Dropped(Exception):
    """The connection is to be cut without an answer."""


class Routes:
    """The route table and what surrounds every handler."""

    def __init__(self, wechat: WeChat, bills: Bills) -> None:
        self._wechat, self._bills, self._nonces = wechat, bills, Nonces()
        faults = wechat.ctx.faults
        faults.declare("wechat", (*EXECUTED_NOT, *EXECUTED, HELD_BACK), MATCH_KEYS)
        faults.declare("wechat", ["delay"], MATCH_KEYS, ms=None)
        faults.declare("wechat", ["answer_status"], MATCH_KEYS, status=None)
        faults.declare("wechat", ["refuse"], MATCH_KEYS, status=403, code=None, message="refused on order")

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
            *SharingRoutes(self._wechat).table(),
            *CombineRoutes(self._wechat).table(),
        ]
        for product in ("native", "jsapi", "app", "h5"):
            table.append(("POST", f"{CREATE}/{product}", "create", self._creates(product)))
        for method, path, op, handler in table:
            app.router.add_route(method, path, self._served(op, handler))

    def _served(self, op: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                return await self._serve(request, op, handler)
            except ApiError as refusal:
                return _unsigned(refusal)
            except Dropped:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)  # goes nowhere: the connection is gone

        return serve

    async def _serve(self, request: web.Request, op: str, handler: Handler) -> web.StreamResponse:
        raw = await request.read()
        merchant = self._authenticated(request, raw)
        key = self._wechat.platform.asked_for(merchant, request.headers.get("Wechatpay-Serial"))
        call = Call(merchant, key, request, raw, dict(request.match_info))
        facts = _facts(call, op)

        def wanted(*names: str) -> Fault | None:
            return self._wechat.ctx.faults.take("wechat", names, **facts)

        if delay := wanted("delay"):
            await asyncio.sleep(delay.params["ms"] / 1000)
        if fault := wanted(*EXECUTED_NOT, "refuse"):
            raise _not_executed(fault)
        if self._wechat.ctx.held_back("wechat", lambda: handler(call), **facts):
            raise Dropped
        try:
            answer = await handler(call)
        except ApiError as refusal:
            if fault := wanted("answer_lost", "system_error_after"):
                raise _executed(fault) from refusal
            if refusal.status < 300:  # 202: in progress, and signed like every 2xx
                return await self._signed(Answer(refusal.status, orjson.dumps(refusal.as_json())), key, wanted)
            raise
        if fault := wanted("answer_lost", "system_error_after"):
            raise _executed(fault)
        if answer.file_type is not None:
            return web.Response(status=answer.status, body=answer.body, content_type=answer.file_type)
        if fault := wanted("answer_status"):
            answer = replace(answer, body=json_in_other_words(answer.body, STATES, str(fault.params["status"])))
        return await self._signed(answer, key, wanted)

    def _authenticated(self, request: web.Request, raw: bytes) -> Merchant:
        """Return who signed the request. Checks in WeChat Pay's order, so that the first fault is the one named."""
        if not all(request.headers.get(name, "").strip() for name in ("Accept", "User-Agent")):
            raise invalid_request("Http头缺少Accept或User-Agent")
        auth = read_authorization(request.headers.get("Authorization"))
        check_clock(auth.timestamp)
        merchant = self._wechat.merchants.find(auth.mchid)
        if merchant is None or merchant.serial_no != auth.serial_no:
            raise sign_error("商户证书序列号有误, 请使用该商户号签名所用的证书序列号")
        check_signature(merchant.public_key, auth, request.method, request.raw_path, raw)
        self._nonces.use(auth.mchid, auth.nonce)
        return merchant

    async def _signed(
        self, answer: Answer, key: PlatformKey, wanted: Callable[..., Fault | None]
    ) -> web.StreamResponse:
        headers = {"Request-ID": uuid.uuid4().hex.upper()}
        fault = wanted("unsigned_answer", "bad_signature", "sigtest")
        if fault is None or fault.name != "unsigned_answer":
            wrong = fault is not None and fault.name == "bad_signature"
            signer = await self._wechat.pool.strangers_key() if wrong else key.key
            signature = await signed_headers(self._wechat.pool, key.key_id, signer, answer.body)
            headers |= as_probe(signature) if fault is not None and fault.name == "sigtest" else signature
        if answer.status == 204:
            return web.Response(status=204, headers=headers)
        return web.Response(status=answer.status, body=answer.body, headers={**headers, "Content-Type": JSON})

    def _creates(self, product: str) -> Handler:
        async def create(call: Call) -> Answer:
            now_ms = self._wechat.ctx.clock.now_ms()
            order = read_order(product, call.json(), call.merchant, now_ms, call.key.key_id)
            row = await self._wechat.create(call.merchant, order)
            return ok(trades.creation_answer(row, self._wechat.ctx.base_url))

        return create

    async def codepay(self, call: Call) -> Answer:
        """Charge a payment code 付款码."""
        now_ms = self._wechat.ctx.clock.now_ms()
        order = read_order("codepay", call.json(), call.merchant, now_ms, call.key.key_id)
        return ok(trades.codepay_answer(await self._wechat.codepay(call.merchant, order)))

    async def query_by_number(self, call: Call) -> Answer:
        """Return an order by the merchant's number."""
        _require_own_mchid(call)
        return ok(self._wechat.query(call.merchant, "out_trade_no", call.out_trade_no()))

    async def query_by_id(self, call: Call) -> Answer:
        """Return an order by WeChat Pay's number."""
        _require_own_mchid(call)
        return ok(self._wechat.query(call.merchant, "transaction_id", call.path["transaction_id"]))

    async def close(self, call: Call) -> Answer:
        """Close an unpaid order."""
        require_merchant(Fields(call.json()), call.merchant)
        await self._wechat.close(call.merchant, call.out_trade_no())
        return Answer(204, b"")

    async def reverse(self, call: Call) -> Answer:
        """Reverse a code payment."""
        fields = Fields(call.json())
        require_merchant(fields, call.merchant)
        if fields.text("appid", 32) != call.merchant.appid:
            raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
        out_trade_no = call.out_trade_no()
        await self._wechat.reverse(call.merchant, out_trade_no)
        return ok({"appid": call.merchant.appid, "mchid": call.merchant.mchid, "out_trade_no": out_trade_no})

    async def refund(self, call: Call) -> Answer:
        """Accept a refund."""
        return ok(await self._wechat.refund(call.merchant, refunds.read_refund(call.json(), call.key.key_id)))

    async def refund_query(self, call: Call) -> Answer:
        """Return a refund."""
        return ok(self._wechat.refund_query(call.merchant, refunds.require_number(call.path["out_refund_no"])))

    async def abnormal_refund(self, call: Call) -> Answer:
        """Say where the money of an ABNORMAL refund goes 发起异常退款."""
        fields = Fields(call.json())
        number = fields.text("out_refund_no", 64)
        if fields.choice("type", "USER_BANK_CARD", "MERCHANT_BANK_CARD") == "USER_BANK_CARD":
            fields.text("bank_type", 16)
            for name in ("bank_account", "real_name"):
                if not call.unsealed(name, fields.text(name, 1024)):
                    raise fields.wrong(name, "must not be empty")
        return ok(await self._wechat.abnormal_refund(call.merchant, call.path["refund_id"], number))

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
        return ok(self._wechat.platform.download(call.merchant))


def _require_own_mchid(call: Call) -> None:
    mchid = call.query("mchid")
    if mchid != call.merchant.mchid:
        raise wrong_parameter("mchid", "must be the mchid of the Authorization header", mchid, location="query")


def _facts(call: Call, op: str) -> dict[str, object]:
    """Return what a fault can be matched by."""
    facts: dict[str, object] = {"mchid": call.merchant.mchid, "op": op}
    sources: list[dict[str, Any]] = [call.path]
    if call.raw.startswith(b"{"):
        with suppress(ApiError):  # the handler will say so
            sources.append(call.json())
    for source in sources:
        for key in NUMBERS:
            if isinstance(source.get(key), str):
                facts[key] = source[key]
    return facts


def _not_executed(fault: Fault) -> Exception:
    match fault.name:
        case "request_lost" | "down":
            return Dropped()
        case "frequency_limited":
            return ApiError(429, "FREQUENCY_LIMITED", "频率超限, 请稍后重试")
        case "refuse":
            return ApiError(int(fault.params["status"]), str(fault.params["code"]), str(fault.params["message"]))
        case _:
            return ApiError(500, "SYSTEM_ERROR", "系统异常, 请用相同参数重新调用")


def _executed(fault: Fault) -> Exception:
    return Dropped() if fault.name == "answer_lost" else _not_executed(fault)


def _unsigned(refusal: ApiError) -> web.Response:
    headers = {"Request-ID": uuid.uuid4().hex.upper(), "Content-Type": JSON}
    return web.Response(status=refusal.status, body=orjson.dumps(refusal.as_json()), headers=headers)


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
