"""PayPal: Orders v2 with the payer's approval on PayPal's page, capture or authorization, refunds, notices, report.

Every method is pure but for the session, which the adapter keeps in memory; see channels/contract.py for what each
promises and README.md for what is believed when.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson

from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    Confirmed,
    Kind,
    Method,
    Notice,
    Order,
    Outcome,
    Pending,
    RefundFee,
    RefundOrder,
    Refused,
    Request,
    Response,
    Unknown,
)
from channels.paypal import messages, signing, statement
from channels.paypal.account import PayPalAccount, origin
from channels.paypal.messages import Doubt, Ref
from channels.settings import called_address, needed, secret
from kernel.money import Money
from kernel.safe_json import BadJson, loads_object, text

SECRETS = frozenset({"client_secret"})  # settings that are sealed at rest; each may end in _file instead
NO_SUCH = "NONE"  # asked for where we know no number of PayPal's; PayPal has nothing of that name

_CAPABILITIES = Capabilities(
    methods=frozenset({Method.PAGE}),
    currencies=frozenset({"CNY", "USD", "EUR", "GBP", "JPY", "HKD", "TWD", "AUD", "CAD", "SGD"}),
    refund_within=timedelta(days=180),
    authorizes=frozenset({Method.PAGE}),
    partial_capture=True,
    per_order_notices=False,
    signs_answers=False,
    closes=False,
    refund_fee=RefundFee.KEPT,
    query_by_resend=True,
)


class PayPal(PayPalAccount):
    """What the hub asks of one merchant's account and hears about it."""

    name = "paypal"
    capabilities = _CAPABILITIES

    # ---- payments ----------------------------------------------------------------------------------------------------

    def pay_request(self, order: Order) -> Request:
        """Return the request that creates the order (for six hours the same one, however often it is asked for)."""
        return self._post(self._orders_url, messages.order_body(order), order.reference)

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the page to send the payer to, or what has become of the order meanwhile."""
        return self._outcome(answer, messages.PAY, lambda body: self._order_outcome(order, body))

    def query_request(self, order: Order) -> Request:
        """Return the request that asks for the order, or its capture; without PayPal's number, the creation again."""
        ref = Ref.parse(order.channel_ref)
        if ref.capture:
            return self._get(f"{self._payments_url}/captures/{ref.capture}")
        return self._get(f"{self._orders_url}/{ref.order}") if ref.order else self.pay_request(order)

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the payment's state; Unknown(not_found=True) when PayPal no longer has an order nobody approved."""
        ref = Ref.parse(order.channel_ref)
        if ref.capture:
            return self._outcome(answer, messages.NOTHING, lambda body: self._capture_outcome(order, body))
        if not ref.order:
            return self.pay_outcome(order, answer, now=now)
        # Where money was reserved, an order that PayPal shows no more says nothing about the money.
        errors = messages.NOTHING if ref.authorization else messages.QUERY
        return self._outcome(answer, errors, lambda body: self._order_outcome(order, body))

    def proof_request(self, order: Order) -> Request:
        """Return the question about an order that never was; by our number PayPal is asked by making one."""
        return self._get(f"{self._orders_url}/{NO_SUCH}")

    def proof_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Unknown(not_found=True) when PayPal has no such order, which it tells nobody it does not know."""
        return self._outcome(answer, messages.QUERY, lambda body: self._order_outcome(order, body))

    def proceed_request(self, order: Order) -> Request:
        """Return the request that captures, or reserves, what the payer has approved; it is executed once."""
        step = "authorize" if order.authorize_only else "capture"
        number = Ref.parse(order.channel_ref).order or NO_SUCH
        return self._post(f"{self._orders_url}/{number}/{step}", b"{}", f"{order.reference}-{step}")

    def proceed_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the capture, or what is held."""
        return self._outcome(answer, messages.PROCEED, lambda body: self._order_outcome(order, body))

    def close_request(self, order: Order) -> Request:
        """Return the question that tells whether the order may be given up: PayPal itself closes nothing."""
        return self.query_request(order)

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) for an order that the payer has not approved.

        Only our own capture moves money, only an approved order can be captured, and the hub captures nothing it has
        ended. An order that is approved may have a capture of ours under way: that one is Unknown, and a query says
        to proceed. README.md has the whole argument.
        """
        found = self.query_outcome(order, answer, now=now)
        match found:
            case Pending(proceed=False, authorized=None, channel_ref=ref) if ref is not None and Ref.parse(ref).order:
                if not Ref.parse(ref).authorization:
                    return Refused("GIVEN_UP", "PayPal lets it lapse; it is never captured", closed=True)
                return Unknown("PayPal is still deciding whether to reserve the money")
            case Refused(closed=True):
                return found
            case Unknown():
                return found
            case _:
                return Unknown("the payer has approved the order, or paid it: ask what became of it")

    def capture_request(self, order: Order, amount: Money) -> Request:
        """Return the request that moves reserved money; the rest is released."""
        number = Ref.parse(order.channel_ref).authorization or NO_SUCH
        url = f"{self._payments_url}/authorizations/{number}/capture"
        return self._post(url, messages.capture_body(order, amount), f"{order.reference}-settle")

    def capture_outcome(self, order: Order, amount: Money, answer: Response, *, now: datetime) -> Outcome:
        """Return what was captured."""

        def read(body: dict[str, Any]) -> Outcome:
            found = self._capture_outcome(order, body)
            if isinstance(found, Confirmed) and found.amount != amount:
                raise messages.AmountDiffers(found.amount, amount)
            return found

        return self._outcome(answer, messages.CAPTURE, read)

    def void_request(self, order: Order) -> Request:
        """Return the request that releases reserved money."""
        number = Ref.parse(order.channel_ref).authorization or NO_SUCH
        return self._post(f"{self._payments_url}/authorizations/{number}/void", b"", None)

    def void_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the money is released."""
        if answer.status == 204:
            return Refused("VOIDED", closed=True)
        return self._outcome(
            answer,
            messages.VOID,
            lambda body: messages.void_outcome(body, order, merchant_id=self.merchant_id),
        )

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request for a refund; for 45 days the same one, however often it is asked for."""
        number = Ref.parse(refund.payment_channel_ref).capture or NO_SUCH
        url = f"{self._payments_url}/captures/{number}/refund"
        return self._post(url, messages.refund_body(refund), refund.reference)

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state."""
        return self._outcome(answer, messages.REFUND, lambda body: messages.refund_outcome(body, refund))

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request that asks for a refund by PayPal's number; without one, the refund again."""
        if refund.channel_ref is None:
            return self.refund_request(refund)
        return self._get(f"{self._payments_url}/refunds/{quote(refund.channel_ref, safe='')}")

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state. That PayPal refuses it when it is sent again says nothing of the first time."""
        return self._outcome(answer, messages.NOTHING, lambda body: messages.refund_outcome(body, refund))

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        """Verify the bytes, then read them. Raises BadNotice.

        None for events that tell the hub nothing it may act on; README.md lists those that do.
        """
        self.verified_by(message, now=now)
        try:
            event = loads_object(message.body)
            kind, notice_id, resource = text(event["event_type"]), text(event["id"]), event["resource"]
            if not isinstance(resource, dict):
                raise BadJson("resource is not an object")
        except (BadJson, KeyError) as error:
            raise BadNotice("malformed", f"not a notice of PayPal: {error}") from None
        read, about = self._NOTICES.get(kind), _number(kind, resource)
        if read is None or about is None:
            return None
        try:
            of, reference, outcome = read(self, resource)
        except Doubt as error:
            raise BadNotice("not_ours", f"the notice is signed but not believed: {error}", about=about) from None
        return Notice(of, reference, outcome, notice_id)

    def _approved(self, resource: Mapping[str, Any]) -> tuple[Kind, str, Outcome]:
        return Kind.PAYMENT, *messages.approved(resource, merchant_id=self.merchant_id)

    def _authorized(self, resource: Mapping[str, Any]) -> tuple[Kind, str, Outcome]:
        return Kind.PAYMENT, *messages.authorized(resource, merchant_id=self.merchant_id)

    def _captured(self, resource: Mapping[str, Any]) -> tuple[Kind, str, Outcome]:
        return Kind.PAYMENT, *messages.capture(resource, merchant_id=self.merchant_id)

    def _refunded(self, resource: Mapping[str, Any]) -> tuple[Kind, str, Outcome]:
        reference, _, outcome = messages.refund(resource)
        return Kind.REFUND, reference, outcome

    _NOTICES: Mapping[str, Callable[["PayPal", Mapping[str, Any]], tuple[Kind, str, Outcome]]] = {
        "CHECKOUT.ORDER.APPROVED": _approved,
        "PAYMENT.AUTHORIZATION.CREATED": _authorized,
        "PAYMENT.CAPTURE.COMPLETED": _captured,
        "PAYMENT.CAPTURE.PENDING": _captured,
        "PAYMENT.CAPTURE.DENIED": _captured,
        "PAYMENT.CAPTURE.DECLINED": _captured,
        "PAYMENT.CAPTURE.REFUNDED": _refunded,
    }

    def notice_accepted(self) -> Response:
        """Return "received, do not send again"."""
        return Response(200, {}, b"")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no: 503 where the same notice may do better later, else 400; PayPal repeats both on its schedule."""
        body = orjson.dumps({"name": "NOT_ACCEPTED", "message": why[:200]})
        return Response(503 if again else 400, {"content-type": "application/json"}, body)

    # ---- bills -------------------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for the first page of the day's transactions, Beijing time."""
        return self._report_page(*statement.period(day), 1)

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return a page and the request for the next one, that there was no business, or why it cannot be had yet."""
        if answer.status != 200:
            error = messages.rail_error(answer)
            named = " ".join((error.name, *error.issues))
            return BillFile(ready=False, reason=f"HTTP {error.status} {named}: {error.words}")
        try:
            page = statement.page(answer.body, self.merchant_id)
        except BadBill as error:
            return BillFile(ready=False, reason=f"the answer is not believed: {error.message}")
        if page.refreshed_at < page.ends_at:
            return BillFile(ready=False, reason=f"PayPal's report knows nothing after {page.refreshed_at} yet")
        if asked.url != self._report_page(page.starts_at, page.ends_at, page.number).url:
            return BillFile(ready=False, reason="the answer is not believed: it is of another day or another page")
        if page.items == 0:
            return BillFile(ready=False, nothing=True)
        more = self._report_page(page.starts_at, page.ends_at, page.number + 1) if page.number < page.pages else None
        content = answer.body.translate(_ONE_LINE) + b"\n"
        return BillFile(ready=True, content=content, more=more)

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Never asked for: PayPal's report comes in the answers themselves."""
        raise BadBill("not_delivered", "PayPal's report is not a file")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterator[BillLine]:
        """Return the lines of the day's report; all of it is checked first. Raises BadBill."""
        return statement.lines(content, day=day, merchant_id=self.merchant_id, only_late=only_late)

    def deposit_prefix(self) -> str | None:
        """Return how the transfers to our bank are numbered: by the merchant, then the day."""
        return f"PP{self.merchant_id}"

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _report_page(self, starts_at: datetime, ends_at: datetime, number: int) -> Request:
        first, last = (at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (starts_at, ends_at))
        query = f"start_date={first}&end_date={last}&fields=transaction_info"
        url = f"{self._base}/v1/reporting/transactions?{query}&page_size={statement.PAGE_SIZE}&page={number}"
        return self._get(url)

    def _order_outcome(self, order: Order, body: dict[str, Any]) -> Outcome:
        return messages.order_outcome(body, order, merchant_id=self.merchant_id, origin=self._origin)

    def _capture_outcome(self, order: Order, body: dict[str, Any]) -> Outcome:
        most = order.amount if order.authorize_only else None
        return messages.capture_outcome(body, order, merchant_id=self.merchant_id, most=most)


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def _number(event: str, resource: Mapping[str, Any]) -> str | None:
    """Return the number that a notice's resource carries where ours would be: its one purchase unit, or itself.

    A payment made by hand at PayPal has none, a refund made by hand at most the payment's. The report will show it.
    """
    units = resource.get("purchase_units")
    about = units[0] if isinstance(units, list) and len(units) == 1 and isinstance(units[0], dict) else resource
    custom, invoice = about.get("custom_id"), about.get("invoice_id")
    if (custom, invoice) == (None, None) or (event == "PAYMENT.CAPTURE.REFUNDED" and custom in (None, invoice)):
        return None
    return next((number for number in (custom, invoice) if isinstance(number, str)), "")


def build(settings: Mapping[str, Any]) -> PayPal:
    """Return the channel of these settings. Raises ValueError or KeyError.

    settings: client_id, client_secret, merchant_id (the account that is paid), base_url, webhook_root_cert (PEM of the
    root, or roots, in which the chain of a notice's certificate must end), and webhook_id once the notices' address is
    registered. client_secret and webhook_root_cert may be given as a file instead: client_secret_file, …
    """
    base_url = called_address(settings)
    return PayPal(
        client_id=needed(settings, "client_id"),
        client_secret=secret(settings, "client_secret").strip(),
        merchant_id=needed(settings, "merchant_id"),
        base_url=base_url,
        webhook_id=str(settings.get("webhook_id") or ""),
        keys=signing.NoticeKeys(origin(base_url.rstrip("/")), secret(settings, "webhook_root_cert").encode()),
    )
