"""Alipay 支付宝 (OpenAPI, direct merchant): codes to scan, payers' codes, its browser, pages, apps, refunds, bills.

Every method is pure; see channels/contract.py for what each promises and README.md for what is believed when.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from channels.alipay import messages, signing, statement
from channels.alipay.account import USER_AGENT, gateway_url, if_any
from channels.alipay.messages import Doubt
from channels.alipay.sharing import AlipaySharing
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
    Unknown,
)
from channels.settings import called_address, needed, secret
from kernel.safe_json import BadJson

# Where Alipay keeps bill files. It names them with http too; the file is not signed, so that we ask by https only.
FILE_HOSTS = ("dwbillcenter.alipay.com",)
BILL = "alipay.data.dataservice.bill.downloadurl.query"
QUERY = "alipay.trade.query"

_CAPABILITIES = Capabilities(
    methods=frozenset({Method.QR, Method.BARCODE, Method.JSAPI, Method.PAGE, Method.H5, Method.APP}),
    currencies=frozenset({"CNY"}),
    maximum_minor=100_000_000_00,
    barcode_poll_s=5,
    barcode_give_up_s=30,
    barcode_prefixes=frozenset({"25", "26", "27", "28", "29", "30"}),
    payer_initiated=frozenset({Method.PAGE, Method.H5, Method.APP}),
    known_after_payer=frozenset({Method.QR}),
    browsers=("AlipayClient",),
    in_browser=(Method.H5,),
    merchant_coupons=True,
)


class Alipay(AlipaySharing):
    """What the hub asks of one merchant's application and hears about it."""

    name = "alipay"
    capabilities = _CAPABILITIES

    # ---- payments ----------------------------------------------------------------------------------------------------

    def payer_initiated_action(self, order: Order, *, now: datetime, nonce: str) -> Pending:
        """Return what the payer's browser (an address) or app (an order string) takes to Alipay, signed."""
        method = messages.WAYS[order.method][0]
        parameters = self._common | {"method": method, "biz_content": self._content(order)}
        parameters |= if_any(notify_url=order.notify_url, return_url=order.return_url)
        sentence = self._signer.sentence(parameters, now=now)
        if order.method is Method.APP:
            return Pending({"type": "app", "order_string": sentence})
        return Pending({"type": "redirect", "url": f"{self._gateway_url}?{sentence}"})

    def pay_request(self, order: Order) -> Request:
        """Return the request that places the order: for a code to show, a payer's code, or Alipay's own browser."""
        method = messages.WAYS[order.method][0]
        return self._post(method, self._content(order), notify_url=order.notify_url)

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return what came of it: something to show, paid at once, the payer is asked, refused, or unknown."""

        def read(fields: dict[str, Any]) -> Outcome:
            match order.method:
                case Method.BARCODE if messages.verdict(fields).payer_is_asked:
                    return messages.payer_is_asked(fields, order)
                case Method.BARCODE:
                    return messages.paid(fields, order, at="gmt_payment")
                case Method.JSAPI:
                    return messages.trade_to_pay(fields, order)
                case _:
                    return messages.code_to_show(fields, order)

        if self._answers(QUERY, answer):
            return self.query_outcome(order, answer, now=now)
        method = messages.WAYS[order.method][0]
        ended = dict.fromkeys(messages.ENDED, self.query_request(order))
        return self._outcome(method, answer, now, messages.PAY, read, admits=True, then=ended)

    def query_request(self, order: Order) -> Request:
        """Return the request that asks for the order by our number."""
        return self._about(QUERY, order, query_options=messages.TOLD_OF_TRADES)

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the order's state; Unknown(not_found=True) when Alipay knows no such trade.

        It knows one only from the moment the payer has scanned the code or opened the page.
        """
        return self._outcome(QUERY, answer, now, messages.QUERY, lambda fields: messages.trade(fields, order))

    def close_request(self, order: Order) -> Request:
        """Return the request that closes an unpaid order."""
        return self._about("alipay.trade.close", order)

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when it is closed now, by this call or, as the query then says, before."""
        if self._answers(QUERY, answer):
            asked = self.query_outcome(order, answer, now=now)
            return asked if isinstance(asked, Refused) and asked.closed else Unknown(f"not closed: it is {asked}")
        return self._outcome(
            "alipay.trade.close",
            answer,
            now,
            messages.CLOSE,
            lambda fields: messages.closed(fields, order),
            then=dict.fromkeys(messages.NOT_WAITING, self.query_request(order)),
        )

    def reverse_request(self, order: Order) -> Request:
        """Return the request that undoes an order (撤销): closed if unpaid, given back if paid; may be repeated."""
        return self._about("alipay.trade.cancel", order)

    def reverse_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when Alipay says that the order is undone."""
        return self._outcome(
            "alipay.trade.cancel", answer, now, messages.REVERSE, lambda fields: messages.undone(fields, order)
        )

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request for a refund; repeating it with the same number never pays twice."""
        return self._post("alipay.trade.refund", messages.written(messages.refund_content(refund)))

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed where the answer says what moved by this refund, Pending where a query must tell."""
        return self._outcome(
            "alipay.trade.refund",
            answer,
            now,
            messages.REFUND,
            lambda fields: messages.refunded(fields, refund),
            admits=True,
        )

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request that asks for a refund by our number, and for when it was carried out."""
        content = {
            "out_trade_no": messages.rail_number(refund.payment_reference),
            "out_request_no": messages.rail_number(refund.reference),
            "query_options": messages.TOLD_OF_REFUNDS,
        }
        return self._post("alipay.trade.fastpay.refund.query", messages.written(content))

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state; Unknown(not_found=True) when Alipay has carried out none of that number."""
        return self._outcome(
            "alipay.trade.fastpay.refund.query",
            answer,
            now,
            messages.REFUND_QUERY,
            lambda fields: messages.refund_found(fields, refund),
        )

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        """Verify the bytes, then read them. Raises BadNotice. None: it says nothing that we could act on.

        A payment's amount is the one Alipay states; the hub compares it with the order it knows. A refund's is not
        stated, so that such a notice says no more than that it is time to ask.
        """
        form = signing.form(message.body)
        self._verified_form(form, now)
        fields = form.fields
        of_refund = messages.is_about_a_refund(fields)
        number, notice_id = fields.get("out_biz_no" if of_refund else "out_trade_no"), fields.get("notify_id")
        about = messages.our_number(number) if number else None
        for name, ours in (("app_id", self.app_id), ("seller_id", self.seller_id)):
            if fields.get(name) != ours:
                doubt = f"the notice is signed, but its {name} is {fields.get(name, '')[:32]!r}"
                raise BadNotice("not_ours", doubt, about=about)
        if (event := fields.get("notify_type", "")) != "trade_status_sync":
            raise BadNotice("unknown_event", f"{event[:64]!r} is not a kind of notice we know", about=about or "")
        if about is None or not notice_id:
            raise BadNotice("malformed", "the notice names no order, or has no id", about=about)
        try:
            if of_refund:
                return Notice(Kind.REFUND, about, messages.noticed_refund(fields), notice_id)
            outcome = messages.noticed_trade(fields)
        except Doubt as error:
            raise BadNotice("not_ours", f"the notice is signed but not believed: {error}", about=about) from None
        return None if outcome is None else Notice(Kind.PAYMENT, about, outcome, notice_id)

    def notice_accepted(self) -> Response:
        """Return "received, do not send again": these seven letters and nothing else."""
        return Response(200, {"content-type": "text/plain"}, b"success")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no: anything but `success` is, and Alipay repeats the notice on its schedule whatever it is."""
        return Response(503 if again else 400, {"content-type": "text/plain"}, b"fail")

    # ---- bills -------------------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for the address of the day's bill; it exists after 09:00 of the next day."""
        return self._bill("trade", day)

    def fund_bill_request(self, day: date) -> Request:
        """Return the request for the address of the day's account flow 账务明细."""
        return self._bill("signcustomer", day)

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return where the bill is, that there was no business, or why it cannot be had yet."""
        try:
            fields = self._believed(BILL, answer, now)
            found = messages.verdict(fields)
            if found.no_bill:
                return BillFile(ready=False, nothing=True)
            if not found.done:
                return BillFile(ready=False, reason=f"{found.code} {found.sub_code}: {found.words}")
            url = self._file_url(fields.get("bill_download_url"))
        except (BadNotice, BadJson, Doubt) as error:
            return BillFile(ready=False, reason=f"the answer is not believed: {error}")
        return BillFile(ready=True, download=Request("GET", url, {"Accept": "*/*", "User-Agent": USER_AGENT}))

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Return the texts of the zip. It is not signed: TLS to Alipay's own host vouches for it."""
        if answer.status != 200:
            raise BadBill("not_delivered", f"the file's address answered {answer.status}")
        return statement.unzipped(answer.body)

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterator[BillLine]:
        """Return the lines of the day's bill, which says itself what day it is of; read whole first. Raises BadBill."""
        return statement.trade_lines(content, day=day, seller_id=self.seller_id)

    def fund_lines(self, content: bytes, day: date) -> Iterator[FundLine]:
        """Return the lines of the day's account flow; the whole file is checked first. Raises BadBill."""
        return statement.fund_lines(content, day=day, seller_id=self.seller_id)

    def deposit_prefix(self) -> str | None:
        """Return how Alipay's transfers to our bank are numbered: by the merchant, then the day."""
        return f"AP{self.seller_id}"

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _content(self, order: Order) -> str:
        return messages.written(messages.order_content(order, mini_app_id=self._mini_app_id))

    def _about(self, method: str, order: Order, **more: Any) -> Request:
        return self._post(method, messages.written({"out_trade_no": messages.rail_number(order.reference), **more}))

    def _bill(self, kind: str, day: date) -> Request:
        return self._post(BILL, messages.written({"bill_type": kind, "bill_date": day.isoformat()}))

    def _file_url(self, url: object) -> str:
        """Return where a bill may be fetched: where we call anyway, or at Alipay's own host, by https. Raises Doubt."""
        if not isinstance(url, str) or not url.isascii() or not url.isprintable() or set(url) & set(' #\\"'):
            raise Doubt("the address of the file is not one")
        try:
            scheme, host, path, query, _ = urlsplit(url)
        except ValueError:
            raise Doubt("the address of the file is not one") from None
        if path.startswith("/") and (scheme, host) == self._origin:
            return url
        if path.startswith("/") and scheme in ("http", "https") and host in FILE_HOSTS:
            return f"https://{host}{path}?{query}"
        raise Doubt(f"the file is at {host[:64]!r}, which is not Alipay's")


def build(settings: Mapping[str, Any]) -> Alipay:
    """Return the channel of these settings. Raises ValueError or KeyError.

    settings: app_id, seller_id (the merchant's number, 16 digits from 2088), base_url, private_key; in key mode
    alipay_public_key, in certificate mode app_certificate, alipay_certificate and alipay_root_certificate. Each of the
    five last may be given as NAME_file. Optional: mini_app_id.
    """
    app_id, seller_id, base_url = needed(settings, "app_id"), needed(settings, "seller_id"), called_address(settings)
    if not re.fullmatch(r"2088[0-9]{12}", seller_id, re.ASCII):
        raise ValueError("seller_id is not 16 digits that begin with 2088")
    signer = signing.Signer(signing.private_key(secret(settings, "private_key")), gateway_url(base_url))
    mini_app_id = str(settings.get("mini_app_id") or "")
    if not (settings.get("app_certificate") or settings.get("app_certificate_file")):
        keys = signing.AlipayKeys([signing.public_key(secret(settings, "alipay_public_key"))])
        return Alipay(
            app_id=app_id, seller_id=seller_id, base_url=base_url, signer=signer, keys=keys, mini_app_id=mini_app_id
        )
    ours, known, roots = (
        signing.certificates(secret(settings, name))
        for name in ("app_certificate", "alipay_certificate", "alipay_root_certificate")
    )
    return Alipay(
        app_id=app_id,
        seller_id=seller_id,
        base_url=base_url,
        signer=signer,
        keys=signing.AlipayKeys([signing.certificate_key(known[0])]),
        app_cert_sn=signing.cert_sn(ours[0]),
        roots=roots,
        known=known[0],
        mini_app_id=mini_app_id,
    )
