"""Stripe: cards by token or on a page of Stripe's, charged at once or held first, refunds, webhooks, balance.

Every method is pure; see channels/contract.py for what each promises and README.md for what is believed when.
A payment takes two calls. The first makes an intent and moves no money; the hub keeps the intent's id; the second
confirms it. So an answer lost on the way never leaves a charge that nobody can name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    Confirmed,
    Dispute,
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
    Unmoved,
)
from channels.settings import called_address, secret
from channels.stripe import checkout, disputes, messages, signing, statement
from channels.stripe.answers import PAST_IT, Answers, replayed
from channels.stripe.calls import Calls
from channels.stripe.messages import Doubt
from kernel.money import Money
from kernel.safe_json import BadJson, loads_object, text

BASE_URL = "https://api.stripe.com"
# docs.stripe.com/keys: secret and restricted keys; publishable ones are for browsers.
_SECRET_KEY = re.compile(r"(?:sk|rk)_(?:test|live)_[0-9A-Za-z_]+", re.ASCII)
_WEBHOOK_SECRET = re.compile(r"whsec_[0-9A-Za-z_+/=-]+", re.ASCII)
OLD = "the answer is an old one, told again"
REFUND_PAGE = 100  # refunds of one payment that a query looks at

# What each type of event is about. All others are verified and passed over.
INTENT_EVENTS = frozenset(
    f"payment_intent.{change}"
    for change in (
        "succeeded",
        "payment_failed",
        "canceled",
        "amount_capturable_updated",
        "processing",
        "requires_action",
    )
)
REFUND_EVENTS = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"})
EVENTS = INTENT_EVENTS | REFUND_EVENTS | checkout.SESSION_EVENTS | disputes.EVENTS

_CAPABILITIES = Capabilities(
    methods=frozenset({Method.CARD, Method.PAGE}),
    currencies=frozenset({"CNY", "USD", "EUR", "GBP", "JPY", "HKD"}),
    maximum_minor=99_999_999,  # eight digits
    authorizes=frozenset({Method.CARD, Method.PAGE}),
    partial_capture=True,
    per_order_notices=False,
    signs_answers=False,
    refund_fee=RefundFee.KEPT,
    refunds_come_back=True,
    query_by_resend=True,
)


class Stripe:
    """One Stripe account, with its secret key and the signing secrets of its webhook endpoints."""

    name = "stripe"
    capabilities = _CAPABILITIES

    def __init__(
        self,
        *,
        secret_key: str,
        base_url: str = BASE_URL,
        webhook_secrets: tuple[str, ...] = (),
        account: str | None = None,
        return_url: str | None = None,
    ) -> None:
        """base_url: without a path. account: acct_…. return_url: after 3-D Secure, where the order names none."""
        self._signer = signing.Signer(secret_key)
        self._secrets = signing.WebhookSecrets(webhook_secrets)
        self._answers = Answers(livemode="_live_" in secret_key)
        self._account = account
        self._return_url = return_url
        base = base_url.rstrip("/")
        self._over = "tls" if base.startswith("https:") else "loopback"
        self._calls = Calls()
        self._pages = checkout.Pages(base_url=base, calls=self._calls, answers=self._answers, return_url=return_url)
        self._intents_url = f"{base}/v1/payment_intents"
        self._refunds_url = f"{base}/v1/refunds"
        self._disputes = disputes.Disputes(base_url=base, calls=self._calls, livemode=self._answers.livemode)
        self._bill_url = f"{base}/v1/balance_transactions"

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with the secret key. It proves who we are, and nothing about the rest of the request."""
        return self._signer.sign(request)

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return what vouches for a message: of a notice the id of a webhook secret, of an answer the connection.

        That is `tls`, or `loopback` where a sandbox is called; there is no third (see build). Raises BadNotice.
        """
        if "stripe-signature" in message.headers:
            return self._secrets.verify(message, now=now)
        return self._over

    # ---- payments ----------------------------------------------------------------------------------------------------

    def pay_request(self, order: Order) -> Request:
        """Return the request that makes the intent, or the page; once its id is known, the one that asks for it."""
        if checkout.is_session(order):
            return self._pages.query_request(order)
        if order.channel_ref is not None:
            return self.query_request(order)
        return self._calls.post(self._intents_url, messages.create_form(order), key=order.reference)

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Pending(proceed=True) with the intent's id, refused, or unknown.

        A replayed answer shows the intent as it was made, not as it is: of it the id is believed, and asked for. Of a
        page: where to send the payer.
        """
        if checkout.is_session(order) and order.channel_ref is None:
            return self._pages.create_outcome(order, answer, messages.PAY)
        if order.channel_ref is not None:
            return self.query_outcome(order, answer, now=now)
        return self._answers.outcome(answer, messages.PAY, lambda body: self._made(order, body, answer))

    def proceed_request(self, order: Order) -> Request:
        """Return the request that confirms the intent: now the card is charged, or the money held."""
        fields = [messages.EXPAND]
        if return_url := order.return_url or self._return_url:
            fields.append(("return_url", return_url))
        return self._calls.post(f"{self._intent_url(order)}/confirm", fields, key=f"{order.reference}:confirm")

    def proceed_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return what came of it: paid, held, the payer is to prove who they are, declined, or unknown.

        Of a replayed answer only an end is believed: that the money moved, or that the card was declined.
        """
        if answer.status == 402:
            return self._answers.declined(order, answer)

        def read(body: dict[str, Any]) -> Outcome:
            outcome = self._answers.about(order, body)
            if isinstance(outcome, Pending) and replayed(answer):
                return Unknown(OLD, follow_up=self.query_request(order))
            return outcome

        return self._answers.outcome(answer, messages.NOTHING, read)

    def query_request(self, order: Order) -> Request:
        """Return the request for the intent by its id; without one, the request that makes it, under the same key.

        Stripe finds no intent by our number. Making it again is harmless: it is the same one, or one without money.
        """
        if checkout.is_session(order):
            return self._pages.query_request(order)
        if order.channel_ref is None:
            return self.pay_request(order)
        return self._calls.get(f"{self._intent_url(order)}?{messages.query([messages.EXPAND])}")

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return the intent's state; Unknown(not_found=True) when Stripe says that it has none of that id."""
        if checkout.is_session(order):
            return self._pages.query_outcome(order, answer)
        if order.channel_ref is None:
            return self._answers.outcome(answer, messages.NOTHING, lambda body: self._made(order, body, answer))
        return self._answers.outcome(answer, messages.QUERY, lambda body: self._answers.about(order, body))

    def close_request(self, order: Order) -> Request:
        """Return the request that cancels the intent, whatever it waits for; may be repeated.

        Without its id: the request that makes it, so as to learn the id; see close_outcome. A page is expired.
        """
        if checkout.is_session(order):
            return self._pages.close_request(order)
        if order.channel_ref is None:
            return self.pay_request(order)
        return self._calls.post(f"{self._intent_url(order)}/cancel", ())

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the intent is canceled now or was before; else Unknown."""
        if checkout.is_session(order):
            return self._pages.close_outcome(order, answer)

        def read(body: dict[str, Any]) -> Outcome:
            outcome = self._answers.about(order, body)
            if isinstance(outcome, Pending) and outcome.channel_ref and order.channel_ref is None:
                # The answer to making it. Now that the id is known, it can be canceled, whatever it waits for.
                cancel = self.close_request(replace(order, channel_ref=outcome.channel_ref))
                return Unknown("the intent is open", follow_up=cancel)
            if not (isinstance(outcome, Refused) and outcome.closed):
                raise Doubt("it was canceled, and is not")
            return outcome

        return (
            self._answers.past_it(answer, read)
            if answer.status == 400
            else self._answers.outcome(answer, messages.CLOSE, read)
        )

    # ---- reserved money ----------------------------------------------------------------------------------------------

    def capture_request(self, order: Order, amount: Money) -> Request:
        """Return the request that takes reserved money, all or a part; Stripe releases the rest."""
        fields = (messages.EXPAND, ("amount_to_capture", str(amount.minor)))
        return self._calls.post(f"{self._intent_url(order)}/capture", fields)

    def capture_outcome(self, order: Order, amount: Money, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed with the captured amount; Unknown when it is another.

        When it was captured before, the error that says so does not say when, and the intent is asked for.
        """
        if answer.status == 400 and messages.rail_error(answer).code == PAST_IT:
            return Unknown("it is not held any more", follow_up=self.query_request(order))

        def read(body: dict[str, Any]) -> Outcome:
            outcome = self._answers.about(order, body)
            if isinstance(outcome, Confirmed) and outcome.amount != amount:
                raise messages.AmountDiffers(outcome.amount, amount)
            return outcome

        return self._answers.outcome(answer, messages.NOTHING, read)

    def void_request(self, order: Order) -> Request:
        """Return the request that releases reserved money: the intent is canceled."""
        return self._calls.post(f"{self._intent_url(order)}/cancel", ())

    def void_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the money is released; else Unknown."""
        return self.close_outcome(order, answer, now=now)

    # ---- refunds -----------------------------------------------------------------------------------------------------

    def refund_request(self, refund: RefundOrder) -> Request:
        """Return the request for a refund. Its key keeps a repetition from paying twice, for 24 hours at least.

        After that only a query does, which finds our number among the refunds of the payment.
        """
        fields = messages.refund_form(refund, _paid_as(refund))
        return self._calls.post(self._refunds_url, fields, key=refund.reference)

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state. Of a replayed answer only that it was done is believed; else it is asked for."""

        def read(body: dict[str, Any]) -> Outcome:
            found = messages.refund(body)
            outcome = messages.about_refund(found, refund)
            if replayed(answer) and not isinstance(outcome, Confirmed):
                return Unknown(OLD, follow_up=self.refund_query_request(replace(refund, channel_ref=found.id)))
            return outcome

        return self._answers.outcome(answer, messages.REFUND, read)

    def refund_query_request(self, refund: RefundOrder) -> Request:
        """Return the request for the refund by its id; without one, for the refunds of its payment."""
        if refund.channel_ref is not None:
            return self._calls.get(f"{self._refunds_url}/{quote(refund.channel_ref, safe='')}")
        listed = [("payment_intent", _paid_as(refund)), ("limit", str(REFUND_PAGE))]
        return self._calls.get(f"{self._refunds_url}?{messages.query(listed)}")

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state; Unknown(not_found=True) when a whole list of the payment's refunds lacks it."""
        if refund.channel_ref is not None:
            return self._answers.outcome(
                answer, messages.REFUND_QUERY, lambda body: messages.about_refund(messages.refund(body), refund)
            )
        return self._answers.outcome(answer, messages.NOTHING, lambda body: _among(body, refund))

    # ---- notices -----------------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        """Verify the bytes, then read them. Raises BadNotice.

        None: an event of a type we do not use, about something that was not made by us, or about a decline whose reason
        is not known: a query will tell. The amount is the one Stripe states; the hub compares it with the order it has.
        """
        self._secrets.verify(message, now=now)
        event, about = _event(message)
        kind, reference = event["type"], messages.reference(about)
        if event.get("account") not in (None, self._account):
            raise BadNotice("not_ours", "the event is of another account", about=reference or "")
        if kind in disputes.EVENTS:
            return self._disputes.notice(event, about)
        if kind not in EVENTS or reference is None or checkout.passes_over(kind, about):
            return None
        try:
            of, outcome = _said(event, about, livemode=self._answers.livemode)
        except Doubt as error:
            doubt = f"the notice is signed but not believed: {error}"
            raise BadNotice("not_ours", doubt, about=reference) from None
        return None if isinstance(outcome, Unknown) else Notice(of, reference, outcome, event["id"])

    def dispute_request(self, ref: str) -> Request:
        return self._disputes.request(ref)

    def dispute_outcome(self, ref: str, answer: Response, *, now: datetime) -> Dispute | Unmoved | Unknown:
        return self._disputes.outcome(ref, answer)

    def weighed(self, order: Order, told: Outcome) -> Outcome:
        """Return what an event says of this order; Unknown where it decides nothing. See checkout.weighed."""
        return checkout.weighed(order, told)

    def notice_accepted(self) -> Response:
        """Return "received, do not send again"."""
        return Response(200, {}, b"")

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return no: 503 where the same notice may do better later, else 400; Stripe repeats both for three days."""
        return Response(503 if again else 400, {"content-type": "text/plain; charset=utf-8"}, why[:200].encode())

    # ---- bills -------------------------------------------------------------------------------------------------------

    def bill_request(self, day: date) -> Request:
        """Return the request for the first page of the day's balance transactions, Beijing time."""
        return self._page(statement.Page(day))

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return one page of the bill; it is there once Stripe's own clock says that the day is over."""
        if answer.status != 200:
            error = messages.rail_error(answer)
            return BillFile(ready=False, reason=f"HTTP {error.status} {error.code}: {error.words}".rstrip(": "))
        return statement.file(asked.url, answer, self._page)

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Never asked: the pages hold the bill themselves."""
        raise BadBill("no_such_file", "a bill of Stripe's is in its pages")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterator[BillLine]:
        """Return the lines of the day's bill; the whole of it is checked first. Raises BadBill."""
        return statement.lines(content, day=day, only_late=only_late)

    def deposit_prefix(self) -> str | None:
        """Return how the payouts to our bank are numbered, where the account's id is known; without its underscore."""
        return f"ST{self._account.replace('_', '')}" if self._account else None

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _page(self, page: statement.Page) -> Request:
        return self._calls.get(f"{self._bill_url}?{page.query()}")

    def _intent_url(self, order: Order) -> str:
        if order.channel_ref is None:
            raise ValueError(f"{order.reference} has no intent yet: only creating and asking go without one")
        return f"{self._intents_url}/{quote(order.channel_ref, safe='')}"

    def _made(self, order: Order, body: Mapping[str, Any], answer: Response) -> Outcome:
        """Return what an answer to making the intent says."""
        found = self._answers.intent(body)
        if not replayed(answer):
            return messages.about_order(found, order, found.outcome())
        messages.about_order(found, order, Pending())
        return Unknown(OLD, follow_up=self.query_request(replace(order, channel_ref=found.id)))


def _event(message: Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the event in a message, which has an id and a type, and what it is about. Raises BadNotice."""
    try:
        event = loads_object(message.body)
        for name in ("id", "type"):
            text(event[name])
        if event["object"] != "event":
            raise BadJson("it is no event")
        data = event["data"]
        about = data["object"] if isinstance(data, dict) else None
        if not isinstance(about, dict):
            raise BadJson("data.object is not an object")
    except (BadJson, KeyError) as error:
        raise BadNotice("malformed", f"not an event of Stripe's: {error}") from None
    return event, about


def _said(event: Mapping[str, Any], about: Mapping[str, Any], *, livemode: bool) -> tuple[Kind, Outcome]:
    """Return what an event of ours says, and of what. Raises Doubt."""
    messages.same_mode(event, livemode)
    if event["type"] in checkout.SESSION_EVENTS:
        return Kind.PAYMENT, checkout.expired(about, livemode=livemode)
    if event["type"] in REFUND_EVENTS:
        return Kind.REFUND, messages.refund(about).outcome
    intent = messages.intent(about, livemode=livemode)
    return Kind.PAYMENT, intent.outcome(happened_at=messages.moment(event, "created"))


def _paid_as(refund: RefundOrder) -> str:
    if refund.payment_channel_ref is None:
        raise ValueError(f"{refund.reference} names no intent that was paid")
    return refund.payment_channel_ref


def _among(body: Mapping[str, Any], refund: RefundOrder) -> Outcome:
    """Return our refund of a list of the payment's. Raises Doubt; a list that goes on elsewhere proves no absence."""
    messages.expect(body, "object", "list")
    listed, goes_on = body.get("data"), body.get("has_more")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise Doubt("data is not a list of refunds")
    for item in listed:  # others' may be in states we do not know; they are none of our concern
        if messages.metadata(item, messages.REFERENCE) == refund.reference:
            return messages.about_refund(messages.refund(item), refund)
    if goes_on is not False:
        raise Doubt(f"it is not among the last {len(listed)} refunds of the payment, and there are more")
    return Unknown("it is not among the refunds of the payment", not_found=True)


def build(settings: Mapping[str, Any]) -> Stripe:
    """Return the channel of these settings. Raises ValueError that says what is wrong, and shows no secret.

    settings: secret_key; webhook_secrets (a list, or one a line; none before an endpoint is registered); base_url
    (https, or http on loopback); account (acct_…); return_url. Each secret may be given as a file: secret_key_file, ….
    """
    secret_key = secret(settings, "secret_key").strip()
    if not _SECRET_KEY.fullmatch(secret_key):
        # No example of a whole beginning: it would be taken for the secret itself, and masked.
        raise ValueError(
            "secret_key is not a secret key of Stripe's: sk (secret) or rk (restricted), then test or live, then "
            "letters and digits, joined by underscores; pk is a publishable key, which cannot charge anybody"
        )
    base_url = called_address(settings, default=BASE_URL)
    scheme, host, *_ = urlsplit(base_url)
    if scheme == "http" and not messages.is_loopback(host):
        raise ValueError("base_url must be https: answers are unsigned, so the connection alone vouches for them")
    return Stripe(
        secret_key=secret_key,
        base_url=base_url,
        webhook_secrets=_webhook_secrets(settings),
        account=str(settings["account"]) if settings.get("account") else None,
        return_url=str(settings["return_url"]) if settings.get("return_url") else None,
    )


def _webhook_secrets(settings: Mapping[str, Any]) -> tuple[str, ...]:
    given = settings.get("webhook_secrets")
    if not given and not settings.get("webhook_secrets_file"):
        return ()
    listed = given if isinstance(given, list) else secret(settings, "webhook_secrets").split()
    if not all(isinstance(item, str) and _WEBHOOK_SECRET.fullmatch(item) for item in listed):
        raise ValueError("webhook_secrets is not a list of signing secrets: whsec, an underscore, and what follows it")
    return tuple(listed)
