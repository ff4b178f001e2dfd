"""UnionPay 银联 ACP 5.1.0 全渠道: payment pages, in-app payments, reservations, refunds, notices, settlement files.

Every method is pure; see channels/contract.py for what each promises and README.md for what is believed when.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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
    RefundOrder,
    Refused,
    Request,
    Response,
    Unknown,
)
from channels.settings import called_address, needed, secret
from channels.unionpay import messages, signing, statement
from channels.unionpay.account import OTHER, Fields, UnionPayAccount, posted
from channels.unionpay.messages import CAPTURE, DONE, NOT_FOUND, PAYMENT, TAKEN, UNDECIDED, VOID, AmountDiffers, Doubt
from kernel.clock import BEIJING
from kernel.money import Money

# An order that nobody has paid ends at its payTimeout. What was begun in the last second may take this much longer.
LAPSE = timedelta(minutes=5)
# One that was begun and never numbered may be answered "accepted" for ever. In the end the settlement file decides
# (请以对账文件为准), and by then that of its day is out, on whichever side of 23:00 it would have been paid.
DECIDED_BY_FILE = timedelta(hours=36)
# The business day turns at 23:00 Beijing; an undo 撤销 must reach UnionPay on the day of its payment.
UNDO_UNTIL = timedelta(hours=22, minutes=30)
# The settlement file of a day exists from about 09:00 of the next; from then on "no such file" means no business.
FILE_AFTER = timedelta(days=1, hours=10)

_CAPABILITIES = Capabilities(
    methods=frozenset({Method.PAGE, Method.H5, Method.APP}),
    currencies=frozenset({"CNY"}),
    maximum_minor=999_999_999_999,
    refund_within=timedelta(days=330),
    authorizes=frozenset({Method.PAGE, Method.H5, Method.APP}),
    partial_capture=True,
    payer_initiated=frozenset({Method.PAGE, Method.H5}),
    expires_only=True,
    browsers=("UnionPay",),
    in_browser=(Method.H5,),
)


class UnionPay(UnionPayAccount):
    """What the hub asks of one merchant's account and hears about it."""

    name = "unionpay"
    capabilities = _CAPABILITIES

    # ---- payments ----------------------------------------------------------------------------------------------------

    def payer_initiated_action(self, order: Order, *, now: datetime, nonce: str) -> Pending:
        """Return the signed form that the payer's browser posts to UnionPay, for the page on which the payer pays."""
        signed = self._signer.sign(self._order_fields(order))
        return Pending({"type": "form", "url": self._front_url, "fields": signed})

    def pay_request(self, order: Order) -> Request:
        """Return the request for the number (tn) with which the merchant's app opens UnionPay's."""
        return posted(self._app_url, self._order_fields(order))

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the tn to open, refused, or unknown."""

        def read(fields: Fields) -> Outcome:
            kind = messages.RESERVE if order.authorize_only else messages.CONSUME
            self._expect_about(fields, messages.order_id(order.reference), order.created_at, kind)
            if fields["respCode"] != "00":
                return _said(fields, messages.PAY)
            tn = fields.get("tn", "")
            if not tn.isascii() or not tn.isalnum():
                raise Doubt(f"tn {tn[:40]!r} is not one")
            return Pending({"type": "app", "tn": tn})

        return self._outcome(answer, now, read)

    def query_request(self, order: Order) -> Request:
        """Return the request that asks for the order by our number and time (交易状态查询).

        Once UnionPay has numbered a reservation, what can have become of it has numbers of its own, which are asked for
        instead, one after the other.
        """
        if order.authorize_only and order.channel_ref is not None:
            return self._question(messages.order_id(order.reference, CAPTURE), _ended_at(order))
        return self._question(messages.order_id(order.reference), order.created_at)

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the order's state; one UnionPay does not know may still be paid until it expires, see README.md."""

        def read(fields: Fields) -> Outcome:
            number, sent = fields.get("orderId", ""), _ended_at(order)
            if number == messages.order_id(order.reference):
                self._expect_found(
                    fields, number, order.created_at, messages.RESERVE if order.authorize_only else messages.CONSUME
                )
                return _about_payment(order, fields, now)
            if order.authorize_only and number == messages.order_id(order.reference, CAPTURE):
                self._expect_found(fields, number, sent, messages.COMPLETE)
                return self._about_capture(order, fields)
            if order.authorize_only and number == messages.order_id(order.reference, VOID):
                self._expect_found(fields, number, sent, messages.RELEASE)
                return _about_void(order, fields)
            raise Doubt(f"orderId differs: the channel says {str(number)[:64]}")

        return self._outcome(answer, now, read)

    def close_request(self, order: Order) -> Request:
        """Return a query: UnionPay closes no order, it lets it lapse."""
        return self.query_request(order)

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) once the order has lapsed unpaid, Unknown before."""
        found = self.query_outcome(order, answer, now=now)
        if isinstance(found, Unknown) or (isinstance(found, Refused) and found.closed):
            return found
        return Unknown("an order ends unpaid at its expiry and not before")

    # ---- reserved money ----------------------------------------------------------------------------------------------

    def capture_request(self, order: Order, amount: Money) -> Request:
        """Return the request that completes a reservation (预授权完成); its number is the order's with a C."""
        return self._follow_up(
            messages.COMPLETE,
            messages.order_id(order.reference, CAPTURE),
            _ended_at(order),
            amount,
            order.notify_url,
            {"origQryId": order.channel_ref or "", "reqReserved": messages.order_id(order.reference)},
        )

    def capture_outcome(self, order: Order, amount: Money, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed once UnionPay has done it; what it has only taken is asked about at once."""
        number, sent = messages.order_id(order.reference, CAPTURE), _ended_at(order)

        def read(fields: Fields) -> Outcome:
            if messages.answers_a_question(fields):
                self._expect_found(fields, number, sent, messages.COMPLETE)
                return _done(fields, amount, sent)
            return self._taken(fields, number, sent, messages.COMPLETE)

        return self._outcome(answer, now, read)

    def void_request(self, order: Order) -> Request:
        """Return the request that releases a reservation (预授权撤销); its number is the order's with a V."""
        return self._follow_up(
            messages.RELEASE,
            messages.order_id(order.reference, VOID),
            _ended_at(order),
            order.amount,
            order.notify_url,
            {"origQryId": order.channel_ref or "", "reqReserved": messages.order_id(order.reference)},
        )

    def void_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) once UnionPay has done it, Unknown whatever else it says."""
        number, sent = messages.order_id(order.reference, VOID), _ended_at(order)

        def read(fields: Fields) -> Outcome:
            if not messages.answers_a_question(fields):
                taken = self._taken(fields, number, sent, messages.RELEASE)
                return taken if isinstance(taken, Unknown) else Unknown(f"not released: {taken}")
            self._expect_found(fields, number, sent, messages.RELEASE)
            state, code, words = _state(fields)
            return Refused("VOIDED", "released", closed=True) if state == "done" else messages.unknown(code, words)

        return self._outcome(answer, now, read)

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request for a refund (退货), or for an undo (消费撤销) of a whole payment on its own day."""
        original = {"origQryId": refund.payment_channel_ref or ""}
        if not refund.payment_channel_ref:
            original = {
                "origOrderId": messages.order_id(refund.payment_reference),
                "origTxnTime": messages.beijing(refund.payment_created_at),
            }
        return self._follow_up(
            _kind_of(refund),
            messages.order_id(refund.reference),
            refund.created_at,
            refund.amount,
            refund.notify_url,
            # The settlement file shows this beside the refund, and nothing else that says of which payment it is.
            original | {"reqReserved": messages.order_id(refund.payment_reference)},
        )

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return Pending once UnionPay has taken it: done is what a query or a notice says."""
        number, sent = messages.order_id(refund.reference), refund.created_at

        def read(fields: Fields) -> Outcome:
            if messages.answers_a_question(fields):
                self._expect_found(fields, number, sent, _kind_of(refund))
                return _done(fields, refund.amount, sent)
            taken = self._taken(fields, number, sent, _kind_of(refund))
            if isinstance(taken, Unknown) and fields["respCode"] in TAKEN:
                return Pending(channel_ref=messages.query_id(fields) if fields.get("queryId") else None)
            return taken

        return self._outcome(answer, now, read)

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request that asks for a refund by our number and time."""
        return self._question(messages.order_id(refund.reference), refund.created_at)

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state; Unknown(not_found=True) when UnionPay has taken none of that number."""
        number, sent = messages.order_id(refund.reference), refund.created_at

        def read(fields: Fields) -> Outcome:
            self._expect_found(fields, number, sent, _kind_of(refund))
            return _done(fields, refund.amount, sent, not_found=True)

        return self._outcome(answer, now, read)

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice:
        """Verify the fields, then read them. Raises BadNotice.

        The amount is the one UnionPay states; the hub compares it with the order it knows.
        """
        try:
            fields = messages.fields_of(message)
            self._trust.verify(fields, now=now)
        except Doubt as doubt:
            raise BadNotice("not_ours", f"the notice is not believed: {doubt}") from None
        about = messages.reference(fields["orderId"]) if fields.get("orderId") else None
        try:
            self._expect(fields)
            return self._noticed(fields)
        except Doubt as doubt:
            raise BadNotice("not_ours", f"the notice is not believed: {doubt}", about=about) from None
        except BadNotice as refused:
            raise BadNotice(refused.code, refused.message, about=about) from None

    def _noticed(self, fields: Fields) -> Notice:
        number, kind = fields.get("orderId", ""), fields.get("txnType", "")
        if fields.get("respCode") not in DONE:
            raise BadNotice("unknown_event", f"respCode {fields.get('respCode', '')[:10]!r} is not notified of")
        ours = messages.reference(number)
        if ours == number:
            raise BadNotice("not_ours", f"{number[:40]!r} is not a number of ours")
        amount, ref = messages.amount(fields), messages.query_id(fields)
        done = Confirmed(ref, amount, messages.happened_at(fields, sent=messages.moment(fields, "txnTime")))
        outcomes: Mapping[str, tuple[Kind, str, Outcome]] = {
            "01": (Kind.PAYMENT, PAYMENT, done),
            "02": (Kind.PAYMENT, PAYMENT, Pending(channel_ref=ref, authorized=amount)),
            "03": (Kind.PAYMENT, CAPTURE, done),
            "04": (Kind.REFUND, PAYMENT, done),
            "31": (Kind.REFUND, PAYMENT, done),
            "32": (Kind.PAYMENT, VOID, Refused("VOIDED", "released", closed=True)),
        }
        if kind not in outcomes:
            raise BadNotice("unknown_event", f"txnType {kind[:10]!r} is not a kind of notice we know")
        of, what, outcome = outcomes[kind]
        if number != messages.order_id(ours, what):
            raise BadNotice("not_ours", f"{number!r} is not a number that we give to txnType {kind}")
        return Notice(of, ours, outcome, f"{kind}:{ref}")

    def notice_accepted(self) -> Response:
        """Return "received, do not send again"."""
        return Response(200, {"content-type": "text/plain"}, b"ok")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no; UnionPay sends again after 1, 2, 4 and 5 minutes whatever else is said. `why` is shown to it."""
        return Response(503 if again else 400, {"content-type": "text/plain"}, why[:200].encode())

    # ---- bills -------------------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for the day's settlement file; the answer holds it."""
        return posted(
            self._file_url,
            self._common(OTHER) | {"txnType": "76", "txnSubType": "01", "settleDate": f"{day:%m%d}", "fileType": "00"},
        )

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return the file that the answer holds, or why there is none, for now or for good. Raises BadBill."""
        settle_date = dict(parse_qsl(asked.body.decode()))["settleDate"]
        try:
            fields = self._read(answer, now)
            self._expect(fields, txnType="76", txnSubType="01", settleDate=settle_date)
            code, words = fields["respCode"], fields.get("respMsg", "")[:200]
            if code == messages.NO_FILE and now >= _latest(settle_date, now) + FILE_AFTER:
                return BillFile(ready=False, nothing=True)
        except (BadNotice, Doubt) as error:
            return BillFile(ready=False, reason=f"the answer is not believed: {error}")
        if code != "00":
            return BillFile(ready=False, reason=f"{code}: {words}")
        return BillFile(ready=True, content=statement.inflated(fields.get("fileContent", "")))

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Raise BadBill: the answer to the request itself holds the file."""
        raise BadBill("not_delivered", "UnionPay's files are in the answer, at no address")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterator[BillLine]:
        """Return the lines of the day's settlement file; the whole file is checked first. Raises BadBill."""
        return statement.lines(content, day=day, mer_id=self.mer_id, only_late=only_late)

    def deposit_prefix(self) -> str | None:
        """Return how UnionPay's transfers to our bank are numbered: by the merchant, then the day."""
        return f"UP{self.mer_id}"

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _taken(self, fields: Fields, number: str, sent: datetime, kind: Fields) -> Outcome:
        """Return what UnionPay said to a message about a transaction: Unknown with the next question, or refused.

        A number it knows already (12) was sent before; what that led to is the same question.
        """
        self._expect_about(fields, number, sent, kind)
        code, words = fields["respCode"], fields.get("respMsg", "")[:200]
        if code in TAKEN or code == messages.DUPLICATE:
            return Unknown(f"respCode {code}: {words}", follow_up=self._question(number, sent))
        return _said(fields, messages.FOLLOW_UP)

    def _about_capture(self, order: Order, fields: Fields) -> Outcome:
        """Return that the reservation was completed; else ask whether it was released."""
        state, code, words = _state(fields)
        if state == "done":
            captured = messages.amount(fields)
            if captured.minor > order.amount.minor:
                raise AmountDiffers(captured, order.amount)
            moved_at = messages.happened_at(fields, sent=_ended_at(order))
            return Confirmed(messages.query_id(fields), captured, moved_at)
        if state == "undecided":
            return Pending()
        if state == "unclear":
            return messages.unknown(code, words)
        ask = self._question(messages.order_id(order.reference, VOID), _ended_at(order))
        return Unknown(f"not captured, {code}: {words}", follow_up=ask)


def _about_payment(order: Order, fields: Fields, now: datetime) -> Outcome:
    """Return what a query says of a payment or a reservation."""
    state, code, words = _state(fields)
    lapsed = now >= order.expires_at + LAPSE
    if state == "done":
        if not order.authorize_only:
            return _moved(fields, order.amount, order.created_at)
        held = messages.amount(fields)
        if held != order.amount:
            raise Doubt(f"amount differs: the channel says that {held} is reserved, we asked for {order.amount}")
        return Pending(channel_ref=messages.query_id(fields), authorized=held)
    if state == "undecided":
        if now >= order.expires_at + DECIDED_BY_FILE and not fields.get("queryId"):
            return Refused(code, words or "it was never paid", closed=True)
        return Pending()
    if state == "not_found" and not lapsed:
        # After the expiry nothing new begins, but what was begun may still end well, so it is not "never arrived".
        return Unknown(f"{code}: {words}", not_found=now < order.expires_at)
    if state == "not_found" or (state == "failed" and lapsed):
        return Refused(code, words or "it has lapsed unpaid", closed=True)
    if state == "failed":
        return Pending()  # the payer's card was refused; until it expires the payer may take another
    return messages.unknown(code, words)


def _about_void(order: Order, fields: Fields) -> Outcome:
    """Return that the reservation was released, or that it still stands: it was neither completed nor released."""
    state, code, words = _state(fields)
    if state == "done":
        return Refused("VOIDED", "released", closed=True)
    if state in ("not_found", "failed"):
        return Pending(channel_ref=order.channel_ref, authorized=order.amount)
    return messages.unknown(code, words)


def _state(fields: Fields) -> tuple[str, str, str]:
    """Return what a query's answer says of the transaction: done, undecided, failed, not_found, or unclear; and why.

    Unclear is an answer about the query itself, or a code that is on no list.
    """
    code, words = fields["respCode"], fields.get("respMsg", "")[:200]
    if code == NOT_FOUND:
        return "not_found", code, words
    if code != "00":
        return "unclear", code, words
    code, words = fields.get("origRespCode", ""), fields.get("origRespMsg", "")[:200]
    if code in DONE:
        return "done", code, words
    if code in UNDECIDED:
        return "undecided", code, words
    return ("failed" if code in messages.FOLLOW_UP else "unclear"), code, words


def _done(fields: Fields, ours: Money, sent: datetime, *, not_found: bool = False) -> Outcome:
    """Return what a query says of a refund or a completion. not_found: whether it may say that there is none."""
    state, code, words = _state(fields)
    if state == "done":
        return _moved(fields, ours, sent)
    if state == "undecided":
        if "txnAmt" in fields and messages.amount(fields) != ours:
            raise Doubt(f"amount differs: the channel is at work on {messages.amount(fields)}, we asked for {ours}")
        return Pending(channel_ref=messages.query_id(fields) if fields.get("queryId") else None)
    if state == "not_found":
        return Unknown(f"{code}: {words}", not_found=not_found)
    says = messages.FOLLOW_UP.get(code) if state == "failed" else None
    return says(code, words) if says else messages.unknown(code, words)


def _moved(fields: Fields, ours: Money, sent: datetime) -> Confirmed:
    """Return what moved, if it is what we asked for. Raises Doubt."""
    moved = messages.amount(fields)
    if moved != ours:
        raise AmountDiffers(moved, ours)
    return Confirmed(messages.query_id(fields), moved, messages.happened_at(fields, sent=sent))


def _said(fields: Fields, table: Mapping[str, messages.Says]) -> Outcome:
    """Return what a respCode other than 00 means: only codes of `table` conclude anything."""
    code, words = fields["respCode"], fields.get("respMsg", "")[:200]
    says = table.get(code)
    return says(code, words) if says else messages.unknown(code, words)


def _ended_at(order: Order) -> datetime:
    """Return the txnTime of what completes or releases a reservation.

    UnionPay wants the time at which a message is sent (必须取当前时间), and knows it by that time for ever after.
    """
    return order.ending_at or order.created_at


def _kind_of(refund: RefundOrder) -> Fields:
    return messages.UNDO if _undoes(refund) else messages.REFUND


def _undoes(refund: RefundOrder) -> bool:
    """Tell whether a refund can be an undo: all of a payment that was not reserved first, on its business day.

    One that has failed is no undo when it is asked for again: some banks take no undo, and all take a refund.

    The payment was made after payment_created_at and before created_at, so if both are of one day it is too.
    """
    if refund.payment_authorized is not False or refund.amount != refund.payment_amount or refund.retry_count:
        return False
    made, asked = refund.payment_created_at.astimezone(BEIJING), refund.created_at.astimezone(BEIJING)
    midnight = asked.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight <= made and asked - midnight <= UNDO_UNTIL


def _latest(settle_date: str, now: datetime) -> datetime:
    """Return the midnight, Beijing, that began the latest day written MMDD."""
    today = now.astimezone(BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(366 * 4 + 1):
        if f"{today - timedelta(days=back):%m%d}" == settle_date:
            return today - timedelta(days=back)
    raise Doubt(f"settleDate {settle_date!r} is no day")


def _sign_names(given: object, base_url: str) -> tuple[str, ...]:
    """Return the names under which UnionPay may sign: those that were given, else those of the environment.

    Its own clients take the company's name alone in production, and the second name too in the test environment.
    """
    if not given:
        production = urlsplit(base_url).hostname == signing.PRODUCTION_HOST
        return (signing.PRODUCTION_NAME,) if production else (signing.PRODUCTION_NAME, signing.TEST_NAME)
    names = [name.strip() for name in (given if isinstance(given, list) else [given]) if isinstance(name, str)]
    if len(names) != (len(given) if isinstance(given, list) else 1) or not all(names):
        raise ValueError("sign_cert_name must be a name, or a list of names")
    return tuple(names)


def build(settings: Mapping[str, Any]) -> UnionPay:
    """Return the channel of these settings; reads key files once. Raises ValueError or KeyError.

    settings: mer_id, cert_id (decimal serial number of the merchant's certificate), private_key, root_cert,
    middle_cert, base_url, and optionally file_url and sign_cert_name (one name, or a list). Each key and certificate
    may be given as a file instead: private_key_file, …
    """
    mer_id, base_url = needed(settings, "mer_id"), called_address(settings)
    file_url = called_address(settings, "file_url", default="https://filedownload.95516.com/", path=True)
    if not mer_id.isascii() or not mer_id.isalnum():
        raise ValueError("mer_id is not letters and digits alone")
    cert_id = needed(settings, "cert_id")
    if not cert_id.isascii() or not cert_id.isdigit():
        raise ValueError("cert_id must be the certificate's serial number in decimal digits")
    return UnionPay(
        mer_id=mer_id,
        base_url=base_url,
        file_url=file_url,
        signer=signing.Signer(cert_id, signing.private_key(secret(settings, "private_key"))),
        trust=signing.Trust(
            signing.certificate(secret(settings, "root_cert")),
            signing.certificate(secret(settings, "middle_cert")),
            _sign_names(settings.get("sign_cert_name"), base_url),
        ),
    )
