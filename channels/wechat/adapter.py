"""WeChat Pay 微信支付, direct merchant 直连商户: payments of every kind, refunds, bills, notices.

Every method is pure; see channels/contract.py for what each promises and README.md for what is believed when.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    FundLine,
    Kind,
    Method,
    Notice,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Request,
    Response,
)
from channels.powers import RefundTarget
from channels.settings import called_address, needed, secret
from channels.wechat import messages, payers, signing, statement
from channels.wechat.account import USER_AGENT, in_path, origin
from channels.wechat.messages import Doubt
from channels.wechat.payers import Payers
from channels.wechat.sharing import SharesOut
from kernel.safe_json import BadJson, loads_object, text

PAY = "/v3/pay/transactions/"
ORDER = "/v3/pay/transactions/out-trade-no/"
REFUNDS = "/v3/refund/domestic/refunds"
PRODUCTS = {Method.QR: "native", Method.JSAPI: "jsapi", Method.H5: "h5", Method.APP: "app"}
MAX_BILL_BYTES = 512 << 20  # uncompressed; some 1.5 million transactions of one merchant and day
# Hosts that WeChat's bill addresses name besides the one we call; our signature is shown to no other.
FILE_HOSTS = ("api.mch.weixin.qq.com", "api2.mch.weixin.qq.com", "api.wechatpay.cn", "api2.wechatpay.cn")
NOTICE_KINDS = {"TRANSACTION.SUCCESS": "SUCCESS"} | {
    f"REFUND.{status}": status for status in ("SUCCESS", "ABNORMAL", "CLOSED")
}

_FILE = {"Accept": "*/*", "User-Agent": USER_AGENT}
_SHA1 = re.compile(r"[0-9a-fA-F]{40}", re.ASCII)
_CAPABILITIES = Capabilities(
    methods=frozenset({*PRODUCTS, Method.BARCODE}),
    signs_actions=frozenset({Method.JSAPI, Method.APP}),
    currencies=frozenset({"CNY"}),
    barcode_prefixes=frozenset({"10", "11", "12", "13", "14", "15"}),
    browsers=("MicroMessenger",),
    in_browser=(Method.JSAPI,),
    merchant_coupons=True,
    most_refunds=50,
)


class WeChatPay(SharesOut):
    """One direct merchant's account at WeChat Pay; channels/wechat/combined.py pays several orders in one go."""

    name = "wechat"
    capabilities = _CAPABILITIES

    # ---- payments ----------------------------------------------------------------------------------------------------

    def pay_request(self, order: Order) -> Request:
        """Return the request that creates the order, or charges the payer's code."""
        if order.method is Method.BARCODE:
            return self.post(f"{PAY}codepay", messages.codepay_body(order, self.mchid, self.appid))
        return self.post(f"{PAY}{PRODUCTS[order.method]}", messages.order_body(order, self.mchid, self.appid))

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return what came of it: something to show, paid at once, the payer is typing, refused, or unknown."""

        def read(body: dict[str, Any]) -> Outcome:
            if order.method is not Method.BARCODE:
                return messages.to_show(order.method, order.return_url, body, self.base, now)
            if body.get("code") in messages.USER_PAYING:
                return Pending()
            return self._order_outcome(order, body)

        return self.believed(answer, now, messages.PAY, read)

    def signed_action(self, order: Order, shown: Pending, *, now: datetime, nonce: str) -> Pending:
        """Return what the payer's WeChat (调起支付) is called with: the prepay id, signed for this app and moment."""
        return self.call_to_pay(order.method, shown, now=now, nonce=nonce)

    def query_request(self, order: Order) -> Request:
        """Return the request that asks for the order by our number (查询订单)."""
        return self.get(f"{ORDER}{in_path(order.reference)}?mchid={in_path(self.mchid)}")

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the order's state; Unknown(not_found=True) when WeChat says it has no such order."""
        return self.believed(answer, now, messages.QUERY, lambda body: self._order_outcome(order, body))

    def close_request(self, order: Order) -> Request:
        """Return the request that closes an unpaid order (关闭订单); may be repeated."""
        return self.post(f"{ORDER}{in_path(order.reference)}/close", orjson.dumps({"mchid": self.mchid}))

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) on the signed, empty 204; anything doubtful is Unknown."""

        def read(body: dict[str, Any]) -> Outcome:
            if answer.status != 204:
                raise Doubt("a close is answered by an empty 204")
            return Refused("CLOSED", closed=True)

        return self.believed(answer, now, messages.CLOSE, read)

    def reverse_request(self, order: Order) -> Request:
        """Return the request that undoes a payer's-code order (撤销): closed if unpaid, given back if paid."""
        body = orjson.dumps({"appid": self.appid, "mchid": self.mchid})
        return self.post(f"{ORDER}{in_path(order.reference)}/reverse", body)

    def reverse_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when WeChat confirms that the order is undone."""

        def read(body: dict[str, Any]) -> Outcome:
            for name, ours in (("mchid", self.mchid), ("appid", self.appid), ("out_trade_no", order.reference)):
                messages.expect(body, name, ours)
            return Refused("REVERSED", closed=True)

        return self.believed(answer, now, messages.REVERSE, read)

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request for a refund; repeating it with the same number never pays twice."""
        return self.post(REFUNDS, messages.refund_body(refund))

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state; accepted is Pending, not done."""
        return self.believed(answer, now, messages.REFUND, lambda body: _refund_outcome(refund, body))

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request that asks for a refund by our number."""
        return self.get(f"{REFUNDS}/{in_path(refund.reference)}")

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state; Unknown(not_found=True) when WeChat has not accepted one of that number."""
        return self.believed(answer, now, messages.REFUND_QUERY, lambda body: _refund_outcome(refund, body))

    def abnormal_refund_request(self, refund: RefundOrder, target: RefundTarget) -> Request:
        """Return the request that says where an ABNORMAL refund's money is to go (发起异常退款).

        refund.channel_ref is WeChat's number of it. The payer's card and name travel encrypted.
        """
        sealer = self.sealer()
        path = f"{REFUNDS}/{in_path(refund.channel_ref or '')}/apply-abnormal-refund"
        return self.post(path, messages.target_body(refund, target, sealer.seal), sealer.headers)

    def abnormal_refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state after that; it is asked about as before."""
        return self.believed(answer, now, messages.ABNORMAL_REFUND, lambda body: _refund_outcome(refund, body))

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice:
        """Verify the bytes, then open and read them. Raises BadNotice.

        The amount is the one WeChat states; the hub compares it with the order it knows.
        """
        event, notice_id, plaintext = self.opened(message, now=now)
        about: str | None = None
        try:
            content = loads_object(plaintext)
            about = messages.number_in(content)
            if event not in NOTICE_KINDS:
                raise BadNotice("unknown_event", f"{event[:64]!r} is not a kind of notice we know", about=about or "")
            if event == "TRANSACTION.SUCCESS":
                kind, state_name = Kind.PAYMENT, "trade_state"
                reference, outcome = messages.transaction(content, mchid=self.mchid, appid=self.appid)
            else:
                kind, state_name = Kind.REFUND, "refund_status"
                messages.expect(content, "mchid", self.mchid)
                reference, _, outcome = messages.refund(content, status_name=state_name)
            messages.expect(content, state_name, NOTICE_KINDS[event])
        except (BadJson, Doubt) as error:
            raise BadNotice("not_ours", f"the notice is signed but not believed: {error}", about=about) from None
        return Notice(kind, reference, outcome, notice_id)

    def notice_accepted(self) -> Response:
        """Return "received, do not send again"."""
        return Response(204, {}, b"")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no: 503 where the same notice may do better later, else 400; WeChat repeats both on its schedule.

        `why` is shown to WeChat, so it says nothing about us but the code of the problem.
        """
        body = orjson.dumps({"code": "FAIL", "message": why[:200]})
        return Response(503 if again else 400, {"content-type": "application/json"}, body)

    # ---- bills -------------------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for the address of the day's trade bill; it exists after 10:00 of the next day."""
        return self.get(f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL&tar_type=GZIP")

    def fund_bill_request(self, day: date) -> Request:
        """Return the request for the address of the day's fund-flow bill of the basic account."""
        return self.get(f"/v3/bill/fundflowbill?bill_date={day.isoformat()}&account_type=BASIC&tar_type=GZIP")

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return where the bill is, that there was no business, or why it cannot be had yet."""
        try:
            if answer.status >= 400:
                error = messages.rail_error(answer)
                if error.status == 400 and error.code == "NO_STATEMENT_EXIST":
                    return BillFile(ready=False, nothing=True)
                return BillFile(ready=False, reason=f"HTTP {error.status} {error.code}: {error.words}")
            self._keys.verify(answer, now=now)
            body = loads_object(answer.body)
            url, sha1 = text(body["download_url"]), text(body["hash_value"])
            if body["hash_type"] != "SHA1" or not _SHA1.fullmatch(sha1) or not self._may_fetch(url):
                raise BadJson("the hash or the address of the file is not one we use")
        except (BadNotice, BadJson, KeyError) as error:
            return BillFile(ready=False, reason=f"the answer is not believed: {error}")
        return BillFile(ready=True, download=Request("GET", url, _FILE), sha1=sha1.lower())

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Return the file, uncompressed. It is not signed: its hash, in the signed answer before, vouches for it."""
        if answer.status != 200:
            raise BadBill("not_delivered", f"the file's address answered {answer.status}")
        content = _inflate(answer.body)
        found = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if found != file.sha1:
            raise BadBill("hash_differs", f"the file's SHA-1 is {found}, announced was {file.sha1}")
        return content

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterator[BillLine]:
        """Return the lines of the day's trade bill; the whole file is checked first. Raises BadBill."""
        return statement.trade_lines(content, day=day, mchid=self.mchid, only_late=only_late)

    def fund_lines(self, content: bytes, day: date) -> Iterator[FundLine]:
        """Return the lines of the day's fund-flow bill; the whole file is checked first. Raises BadBill."""
        return statement.fund_lines(content, day=day)

    def deposit_prefix(self) -> str | None:
        """Return how WeChat Pay's transfers to our bank are numbered: by the merchant, then the day."""
        return f"WX{self.mchid}"

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _order_outcome(self, order: Order, body: dict[str, Any]) -> Outcome:
        return messages.about_order(messages.transaction(body, mchid=self.mchid, appid=self.appid), order)

    def _may_fetch(self, url: str) -> bool:
        """Tell whether a signed request may go to this address: where we call anyway, or WeChat's own hosts."""
        try:
            scheme, host, path, *_ = urlsplit(url)
        except ValueError:
            return False
        known = (scheme, host) == origin(self.base) or (scheme == "https" and host in FILE_HOSTS)
        return known and path.startswith("/") and url.isascii() and url.isprintable() and not set(url) & set(' #\\"')


def _refund_outcome(refund: RefundOrder, body: dict[str, Any]) -> Outcome:
    return messages.about_refund(messages.refund(body, status_name="status"), refund)


def _inflate(raw: bytes) -> bytes:
    """Return gzip bytes uncompressed, other bytes as they are. Raises BadBill past the limit or on damage."""
    parts: list[bytes] = []
    room = MAX_BILL_BYTES
    while raw.startswith(b"\x1f\x8b"):
        member = zlib.decompressobj(wbits=31)
        try:
            parts.append(member.decompress(raw, room))
        except zlib.error as error:
            raise BadBill("damaged", f"the compressed file is damaged: {error}") from None
        room -= len(parts[-1])
        if room <= 0 or member.unconsumed_tail:
            raise BadBill("too_large", f"the file has more than {MAX_BILL_BYTES} bytes")
        if not member.eof:
            raise BadBill("truncated", "the compressed file ends too early")
        raw = member.unused_data
    if parts and raw:
        raise BadBill("damaged", "something follows the compressed file")
    return b"".join(parts) if parts else raw


def build(settings: Mapping[str, Any]) -> WeChatPay:
    """Return the channel of these settings; reads key files once. Raises ValueError, KeyError or OSError.

    settings: mchid, appid, serial_no, private_key, apiv3_key, base_url, platform_certificates (a list of {serial_no,
    certificate}), and optionally public_key_id with public_key, and app_secret: the AppSecret of the appid, for pages
    that are paid inside WeChat (open_url, api_url: where not WeChat's own). Each key and certificate may be given as a
    file instead: private_key_file, …, and in the list {serial_no, file}.
    """
    certificates = settings.get("platform_certificates") or []
    keys = [signing.platform_key(_certificate(entry), entry["serial_no"]) for entry in certificates]
    public_key_id = settings.get("public_key_id") or None
    if public_key_id:
        keys.append(signing.public_key(secret(settings, "public_key").encode(), public_key_id))
    if not keys:
        raise ValueError("neither platform_certificates nor a public_key_id: no answer could be verified")
    mchid, appid, serial_no = (needed(settings, name) for name in ("mchid", "appid", "serial_no"))
    return WeChatPay(
        mchid=mchid,
        appid=appid,
        base_url=called_address(settings),
        signer=signing.Signer(mchid, serial_no, signing.private_key(secret(settings, "private_key"))),
        apiv3_key=signing.apiv3_key(secret(settings, "apiv3_key")),
        platform_keys=keys,
        public_key_id=public_key_id,
        rotates=bool(certificates),
        payers=_payers(settings, appid),
    )


def _payers(settings: Mapping[str, Any], appid: str) -> Payers:
    given = settings.get("app_secret") or settings.get("app_secret_file")
    open_url = called_address(settings, "open_url", default=payers.OPEN_URL)
    api_url = called_address(settings, "api_url", default=payers.API_URL)
    return Payers(appid, secret(settings, "app_secret").strip() if given else "", open_url, api_url)


def _certificate(entry: Mapping[str, str]) -> bytes:
    return entry["certificate"].encode() if entry.get("certificate") else Path(entry["file"]).read_bytes()
