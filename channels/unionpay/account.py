"""How UnionPay is talked to: the fields of every message, signatures, and whose an answer is."""

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from channels.contract import (
    BadNotice,
    Method,
    Order,
    Outcome,
    Request,
    Response,
    Unknown,
)
from channels.unionpay import messages, signing
from channels.unionpay.messages import Doubt
from kernel.money import Money

USER_AGENT = "sluice-hub/0.1"
_FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8", "User-Agent": USER_AGENT}
PC, MOBILE = "07", "08"
GATEWAY, OTHER = "000201", "000000"  # bizType
Fields = Mapping[str, str]


class UnionPayAccount:
    """One merchant's account at UnionPay, with its key."""

    def __init__(
        self, *, mer_id: str, base_url: str, file_url: str, signer: signing.Signer, trust: signing.Trust
    ) -> None:
        """base_url: without a path. file_url: where settlement files are asked for."""
        self.mer_id = mer_id
        self._signer, self._trust = signer, trust
        base = base_url.rstrip("/")
        self._front_url = f"{base}/gateway/api/frontTransReq.do"
        self._app_url = f"{base}/gateway/api/appTransReq.do"
        self._back_url = f"{base}/gateway/api/backTransReq.do"
        self._query_url = f"{base}/gateway/api/queryTrans.do"
        self._file_url = file_url

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the form with txnTime, where it has none of its own, certificate number and signature."""
        fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))
        signed = self._signer.sign({"txnTime": messages.beijing(now)} | fields)
        return Request(request.method, request.url, request.headers, urlencode(signed).encode())

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the decimal serial number of UnionPay's certificate that signed the message. Raises BadNotice."""
        try:
            return self._trust.verify(messages.fields_of(message), now=now)
        except Doubt as doubt:
            raise BadNotice("malformed", str(doubt)) from None

    def _common(self, biz_type: str) -> dict[str, str]:
        return {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "bizType": biz_type,
            "accessType": "0",
            "merId": self.mer_id,
        }

    def _order_fields(self, order: Order) -> dict[str, str]:
        """Return the fields of a payment 消费 or of a reservation 预授权, the same each time it is asked for.

        A page must say where it leads back to (前台类交易需上送). Where the merchant says nothing, the payer's browser
        brings the result to our door for notices: UnionPay signs it as it signs those.
        """
        back = "" if order.method is Method.APP else order.notify_url
        return self._common(GATEWAY) | {
            **(messages.RESERVE if order.authorize_only else messages.CONSUME),
            "channelType": PC if order.method is Method.PAGE else MOBILE,
            "orderId": messages.order_id(order.reference),
            "txnTime": messages.beijing(order.created_at),
            "txnAmt": str(order.amount.minor),
            "currencyCode": messages.CNY,
            "orderDesc": messages.description(order.description),
            "payTimeout": messages.beijing(order.expires_at),
            "backUrl": order.notify_url,
            "frontUrl": order.return_url or back,
        }

    def _question(self, number: str, sent: datetime) -> Request:
        fields = {"orderId": number, "txnTime": messages.beijing(sent)}
        return posted(self._query_url, {**self._common(OTHER), **messages.QUESTION, **fields})

    def _follow_up(
        self, kind: Fields, number: str, sent: datetime, amount: Money, notify_url: str, more: Mapping[str, str]
    ) -> Request:
        """Return a request about a transaction that was done."""
        fields = {
            **self._common(GATEWAY),
            **kind,
            "channelType": PC,
            "orderId": number,
            "txnTime": messages.beijing(sent),
            "txnAmt": str(amount.minor),
            "backUrl": notify_url,
            **more,
        }
        return posted(self._back_url, fields)

    def _expect_found(self, fields: Fields, number: str, sent: datetime, kind: Fields) -> None:
        """Raise Doubt unless a query's answer is about this transaction of ours.

        kind: what we sent under that number. What was found is answered with its own type, and what was not found has
        none: then the question's stands there.
        """
        self._expect_about(fields, number, sent, kind if fields["respCode"] == "00" else messages.QUESTION)

    def _expect_about(self, fields: Fields, number: str, sent: datetime, kind: Fields) -> None:
        self._expect(fields, orderId=number, txnTime=messages.beijing(sent), **kind)

    def _expect(self, fields: Fields, **ours: str) -> None:
        messages.expect(fields, merId=self.mer_id, **ours)

    def _read(self, answer: Response, now: datetime) -> dict[str, str]:
        """Return the fields of an answer that UnionPay signed. Raises BadNotice, Doubt."""
        if answer.status != 200:
            raise Doubt(f"HTTP {answer.status}")
        fields = messages.fields_of(answer)
        self._trust.verify(fields, now=now)
        if "respCode" not in fields:
            raise Doubt("respCode is missing")
        return fields

    def _outcome(self, answer: Response, now: datetime, read: Callable[[Fields], Outcome]) -> Outcome:
        """Return what an answer means; one that is not signed by UnionPay, or not about our order, means nothing."""
        try:
            return read(self._read(answer, now))
        except BadNotice as doubt:
            return Unknown(f"the answer cannot be trusted: {doubt.code}: {doubt.message}")
        except Doubt as doubt:
            return Unknown(f"the answer is not believed: {doubt}", stated_amount=doubt.stated_amount)


def posted(url: str, fields: Mapping[str, str]) -> Request:
    body = urlencode({name: value for name, value in fields.items() if value})
    return Request("POST", url, _FORM, body.encode())
