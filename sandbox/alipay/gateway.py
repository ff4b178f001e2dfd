"""The one address of Alipay's OpenAPI: who asks, what goes wrong on order, and the signed answer."""

import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sandbox.acquirer import Acquirer, Merchant, Ordered, Signed, Trade, page
from sandbox.alipay.bills import Bills
from sandbox.alipay.calls import Call
from sandbox.alipay.errors import ApiError, failed, invalid
from sandbox.alipay.refunding import Refunding
from sandbox.alipay.royalties import Royalties
from sandbox.alipay.signing import made_by, signed_text
from sandbox.alipay.trading import PAGES, Trading
from sandbox.alipay.wire import AlipayWire
from sandbox.alipay.words import moment_ms

CHARSETS = {"utf-8": "utf-8", "gbk": "gbk", "gb2312": "gbk", "gb18030": "gb18030"}
CERTIFICATE = "alipay.open.app.alipaycert.download"
_METHOD = re.compile(r"[a-z.]{1,128}", re.ASCII)
Handler = Callable[[Call], Awaitable[dict[str, Any]]]


class Unsigned(ApiError):
    """A refusal of somebody Alipay does not know; it cannot sign for them."""


class Gateway:
    """See the module."""

    def __init__(
        self,
        acquirer: Acquirer,
        wire: AlipayWire,
        trading: Trading,
        refunding: Refunding,
        royalties: Royalties,
        bills: Bills,
    ) -> None:
        self._of, self._wire, self._trading, self._bills = acquirer, wire, trading, bills
        self._keys: dict[str, RSAPublicKey] = {}
        # method → the name faults match it by, and who carries it out
        self._methods: dict[str, tuple[str, Handler]] = {
            "alipay.trade.precreate": ("create", trading.precreate),
            "alipay.trade.pay": ("create", trading.pay),
            "alipay.trade.create": ("create", trading.create),
            "alipay.trade.query": ("query", trading.query),
            "alipay.trade.close": ("close", trading.close),
            "alipay.trade.cancel": ("reverse", trading.cancel),
            "alipay.trade.refund": ("refund", refunding.refund),
            "alipay.trade.fastpay.refund.query": ("refund_query", refunding.refund_query),
            "alipay.trade.royalty.relation.bind": ("bind", royalties.bind),
            "alipay.trade.royalty.relation.unbind": ("unbind", royalties.unbind),
            "alipay.trade.royalty.relation.batchquery": ("bound", royalties.bound),
            "alipay.trade.order.settle": ("share", royalties.settle),
            "alipay.trade.order.settle.query": ("share_query", royalties.settle_query),
            "alipay.data.dataservice.bill.downloadurl.query": ("bill", bills.address),
            CERTIFICATE: ("certificate", self._certificate),
        }

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        for method in ("GET", "POST"):
            self._of.guard.route(app, method, "/gateway.do", self.serve)
        app.router.add_get("/downloadBillFile.resource", self.file)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a call, or show a payer the page of an order."""
        params, charset = _merged(request.raw_path, await request.read())
        method = params.get("method", "")
        node = f"{method.replace('.', '_')}_response" if _METHOD.fullmatch(method) else "error_response"
        signed: Signed = "right"
        try:
            call = self._call(params, charset)
            if method in PAGES:
                return await self._page(call)
            said, signed = await self._carried_out(call)
        except Unsigned as refusal:
            body = f'{{"error_response":{_written(refusal.answer())}}}'
            return web.Response(body=body.encode(charset), content_type="text/html", charset=charset)
        except ApiError as refusal:
            if method in PAGES:
                return page.show("沙箱 alipay", f"<p>{refusal.sub_code}</p><p>{refusal.sub_msg}</p>", 400)
            said = refusal.answer()
        return await self._answer(node, said, charset, self._knows_certificates(params), signed)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Hand out a bill's zip to whoever has its address."""
        content = self._bills.file(request.query.get("fileId", ""))
        if content is None:
            return web.Response(status=404, text="文件不存在或已过期")
        return web.Response(body=content, content_type="application/zip")

    async def comes(self, merchant: str | None, order: str | None, code: str | None) -> Trade | None:
        """Make the order that a payer comes with: a scanned code, or what a page or an app was given, signed."""
        if code is None or "sign=" not in code:
            try:
                return await self._trading.scanned(merchant, order, code)
            except ApiError:
                return None
        params, charset = _merged(code if "?" in code else f"?{code}", b"")
        try:
            call = self._call(params, charset)
            return await self._trading.open_page(call) if call.method in PAGES else None
        except ApiError:
            return None

    # ---- who asks ----------------------------------------------------------------------------------------------------

    def _call(self, params: Mapping[str, str], charset: str) -> Call:
        """Return an authenticated call. Raises ApiError."""
        app_id, method = params.get("app_id", ""), params.get("method", "")
        if not app_id:
            raise Unsigned("40001", "isv.missing-app-id", "缺少AppID参数")
        merchant = next((one for one in self._of.merchants.all() if one.extra["app_id"] == app_id), None)
        if merchant is None:
            raise Unsigned("40002", "isv.invalid-app-id", "无效的AppID参数")
        for name, sub_code in (
            ("method", "isv.missing-method"),
            ("sign", "isv.missing-signature"),
            ("sign_type", "isv.missing-signature-type"),
            ("timestamp", "isv.missing-timestamp"),
            ("version", "isv.missing-version"),
        ):
            if not params.get(name):
                raise ApiError("40001", sub_code, f"缺少{name}参数")
        if method not in self._methods and method not in PAGES:
            raise ApiError("40002", "isv.invalid-method", "不存在的方法名")
        if params["sign_type"] != "RSA2":
            raise ApiError("40002", "isv.invalid-signature-type", "无效的签名类型")
        if params.get("charset", "utf-8").lower() not in CHARSETS:
            raise ApiError("40002", "isv.invalid-charset", "字符集错误")
        if moment_ms(params["timestamp"]) is None:
            raise ApiError("40002", "isv.invalid-timestamp", "非法的时间戳参数")
        message = signed_text(params, "sign").encode(charset)
        if not made_by(self._key_of(merchant), params["sign"], message) or not self._right_certificates(
            merchant, params
        ):
            raise ApiError("40002", "isv.invalid-signature", "验签出错，请确认charset参数、密钥或证书是否正确")
        return Call(merchant, method, _content(params.get("biz_content", "")), params, charset)

    def _key_of(self, merchant: Merchant) -> RSAPublicKey:
        if merchant.merchant not in self._keys:
            key: Any = serialization.load_pem_public_key(str(merchant.extra["public_key"]).encode())
            self._keys[merchant.merchant] = key
        return self._keys[merchant.merchant]

    def _right_certificates(self, merchant: Merchant, params: Mapping[str, str]) -> bool:
        """Tell whether a request names the merchant's certificate and Alipay's root, or none at all."""
        named = params.get("app_cert_sn"), params.get("alipay_root_cert_sn")
        if named == (None, None):
            return True
        return "app_cert_sn" in merchant.extra and named == (merchant.extra["app_cert_sn"], self._wire.keys.root_sn)

    def _knows_certificates(self, params: Mapping[str, str]) -> bool:
        """Tell whether a request names a certificate Alipay has issued; the answer names Alipay's then."""
        sn = params.get("app_cert_sn")
        return sn is not None and any(one.extra.get("app_cert_sn") == sn for one in self._of.merchants.all())

    # ---- what is answered --------------------------------------------------------------------------------------------

    async def _carried_out(self, call: Call) -> tuple[dict[str, Any], Signed]:
        """Carry out a call, with what was ordered to go wrong; return the answer and how to sign it. Raises Dropped."""
        op, handler = self._methods[call.method]
        if op == "refund" and call.content.get("refund_royalty_parameters"):
            op = "give_back"
        facts = self._facts(call, op)

        async def execute() -> dict[str, Any]:
            return {"code": "10000", "msg": "Success"} | await handler(call)

        try:
            said = await self._of.guard.run(execute, **facts)
        except ApiError as refusal:
            said = refusal.answer()
        except Ordered as ordered:
            said = _as_ordered(ordered).answer()
        return self._of.guard.said(said, **facts), self._of.guard.signature(**facts)

    def _facts(self, call: Call, op: str) -> dict[str, object]:
        """Return what faults may match a call by: the merchant's numbers, also where Alipay's is given."""
        facts: dict[str, object] = {"merchant": call.merchant.merchant, "op": op}
        order = call.content.get("out_trade_no")
        if order is None and call.content.get("trade_no"):
            trade = self._of.trades.find_by(self._of.ctx.store, "trade_ref", str(call.content["trade_no"]))
            order = trade and trade.order
        facts |= {"order": order} if order else {}
        request_no = call.content.get("out_request_no")
        kind = _NUMBERS.get(op)
        return facts | ({kind: request_no} if request_no and kind else {})

    async def _page(self, call: Call) -> web.StreamResponse:
        """Make the order a payer's browser came with and send it to the page that asks."""
        await self._of.guard.before(**self._facts(call, "create"))
        trade = await self._trading.open_page(call)
        raise web.HTTPFound(self._of.page_url(trade))

    async def _answer(
        self, node: str, said: dict[str, Any], charset: str, certified: bool, signed: Signed
    ) -> web.Response:
        """Return the answer: the object, in certificate mode the certificate's number, the signature."""
        content = _written(said)
        signature, sn = await self._wire.keys.sign(content.encode(charset), certified=certified, signed=signed)
        certificate = f',"alipay_cert_sn":"{sn}"' if sn else ""
        signature = f',"sign":"{signature}"' if signature else ""
        body = f'{{"{node}":{content}{certificate}{signature}}}'
        return web.Response(body=body.encode(charset), content_type="text/html", charset=charset)

    async def _certificate(self, call: Call) -> dict[str, Any]:
        """Hand out one of Alipay's certificates by its serial sn."""
        pem = self._wire.keys.certificate(str(call.content.get("alipay_cert_sn", "")))
        if pem is None:
            raise ApiError("40002", "isv.invalid-parameter", "无效的参数: alipay_cert_sn")
        return {"alipay_cert_content": b64encode(pem).decode()}


# Which of the merchant's numbers faults match a call by.
_NUMBERS = {
    "refund": "refund",
    "refund_query": "refund",
    "give_back": "refund",
    "share": "share",
    "share_query": "share",
}


def _as_ordered(ordered: Ordered) -> ApiError:
    """Return the error that the control API ordered."""
    if ordered.name == "refuse":
        return failed(ordered.code, ordered.message)
    if ordered.name == "frequency_limited":
        return ApiError("40005", "isv.app-call-limited", "调用频次超限")
    return failed("ACQ.SYSTEM_ERROR", "系统错误")


def _merged(target: str, body: bytes) -> tuple[dict[str, str], str]:
    """Return what query and body say as one, and the charset both are read in; the query wins.

    target: as it stands in the request's first line; some clients write the whole address there.
    """
    query = urlsplit(target).query
    named = dict(parse_qsl(query)).get("charset") or dict(parse_qsl(body.decode("latin-1"))).get("charset") or "utf-8"
    charset = CHARSETS.get(named.lower(), "utf-8")
    in_body = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding=charset, errors="replace")
    in_query = parse_qsl(query, keep_blank_values=True, encoding=charset, errors="replace")
    return dict([*in_body, *in_query]), charset


def _content(written: str) -> dict[str, Any]:
    """Return the business content. Raises INVALID_PARAMETER unless it is a JSON object."""
    try:
        content = json.loads(written or "{}", parse_float=Decimal)
    except ValueError:
        raise invalid("biz_content") from None
    if not isinstance(content, dict):
        raise invalid("biz_content")
    return content


def _written(said: Mapping[str, Any]) -> str:
    r"""Return an object as Alipay writes it: no blanks, each slash escaped."""
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
