"""Checkout Sessions: a page of Stripe's on which the payer types a card, so that its number never passes us.

A session is made by one call and paid by its payer alone. It makes one PaymentIntent, which bears the money and is what
is captured, released and given back; from then on the order goes by the intent's id. Until then by the session's.
Source: the descriptions of sessions and their parameters in Stripe's Python client 16.1.0, and
docs.stripe.com/api/checkout/sessions; the README beside this says what is believed and what is unproven.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from channels.contract import Confirmed, Method, Order, Outcome, Pending, Refused, Request, Response, Unknown
from channels.stripe import messages
from channels.stripe.answers import Answers, replayed
from channels.stripe.calls import Calls
from channels.stripe.messages import Doubt
from kernel.money import Money

EXPAND = ("expand[]", "payment_intent.latest_charge.balance_transaction")
PAID_BY, ON_PAGE = "paid_by", "page"  # what the intents of sessions have in their metadata, and no others
# Of these intents' events, those that hold whatever else the payer tries on the page: a declined card is no end there.
INTENT_EVENTS = frozenset(
    f"payment_intent.{change}" for change in ("succeeded", "amount_capturable_updated", "canceled")
)
SESSION_EVENTS = frozenset({"checkout.session.expired"})
_SETTLED = ("succeeded", "requires_capture")  # states of an intent that say where the money is
_GONE = (None, "requires_payment_method", "canceled")  # of the intent of a session that has expired: nothing under way


def is_session(order: Order) -> bool:
    """Tell whether an order is a session still: on a page, and no intent has borne its money yet."""
    return order.method is Method.PAGE and not (order.channel_ref or "").startswith("pi_")


def create_form(order: Order, back: str | None) -> messages.Pairs:
    """Return the fields that make a session. back: where its payer comes back to, paid or not.

    It has one price and one card field: nothing of the account's settings (coupons, taxes, prices in the payer's own
    currency) may change what is paid. It ends by itself after a day, which is Stripe's default; the hub ends it before.
    """
    words = order.description.translate(messages.UNWANTED)[: messages.MAX_DESCRIPTION].strip()
    item = "line_items[0]"
    yield "mode", "payment"
    yield "payment_method_types[]", "card"
    yield f"{item}[price_data][currency]", order.amount.currency.lower()
    yield f"{item}[price_data][unit_amount]", str(order.amount.minor)
    yield f"{item}[price_data][product_data][name]", words or order.reference
    yield f"{item}[quantity]", "1"
    yield "adaptive_pricing[enabled]", "false"
    yield "automatic_tax[enabled]", "false"
    yield "allow_promotion_codes", "false"
    if back:
        yield "success_url", back
        yield "cancel_url", back
    yield "client_reference_id", order.reference
    yield f"metadata[{messages.REFERENCE}]", order.reference
    yield "payment_intent_data[capture_method]", "manual" if order.authorize_only else "automatic"
    if words:
        yield "payment_intent_data[description]", words
    yield f"payment_intent_data[metadata][{messages.REFERENCE}]", order.reference
    yield f"payment_intent_data[metadata][{PAID_BY}]", ON_PAGE


@dataclass(frozen=True, slots=True)
class Session:
    """A session, as far as the hub cares."""

    id: str
    reference: str | None  # ours; None: not made by us
    status: str  # open | complete | expired
    unpaid: bool
    amount: Money
    url: str | None  # while it is open
    intent: Mapping[str, Any] | None  # as far as it is shown whole

    def outcome(self, answers: Answers, order: Order) -> Outcome:
        """Return what it says about this order. Raises Doubt.

        What the intent says of the money comes before what the session says of itself: a page that has expired may
        have been paid just before.
        """
        self._of(order)
        intent = None if self.intent is None else answers.intent(self.intent)
        if intent is not None and intent.status in _SETTLED:
            return messages.about_order(intent, replace(order, channel_ref=None), intent.outcome())
        if self.amount != order.amount:
            raise Doubt(f"amount differs: the session is of {self.amount}, we have {order.amount}")
        if intent is not None:
            messages.about_order(intent, replace(order, channel_ref=None), Pending())
        state = intent and intent.status
        match self.status:
            case "open" if self.unpaid and self.url is not None:
                return Pending({"type": "redirect", "url": self.url}, self.id)
            case "expired" if self.unpaid and state in _GONE:
                return Refused("expired", "the page has expired", closed=True)
            case "complete" if state == "canceled":
                return Refused("canceled", "what was reserved is released", closed=True)
            case "complete" if state == "processing":
                return Pending(channel_ref=self.id)
            case status:
                raise Doubt(f"the session is {status[:40]!r}, its intent {state or 'not there'}")

    def _of(self, order: Order) -> None:
        messages.same("metadata.reference", self.reference or "", order.reference)
        if order.channel_ref is not None:
            messages.same("id", self.id, order.channel_ref)


def session(body: Mapping[str, Any], *, livemode: bool) -> Session:
    """Return the session that an answer or notice shows. Raises Doubt."""
    messages.expect(body, "object", "checkout.session")
    messages.expect(body, "mode", "payment")
    messages.same_mode(body, livemode)
    status = messages.required(body, "status")
    if status not in ("open", "complete", "expired"):
        raise Doubt(f"status {status[:40]!r} is not known")
    paid = messages.required(body, "payment_status")
    if paid not in ("paid", "unpaid"):
        raise Doubt(f"payment_status {paid[:40]!r} is not known")
    url, intent = body.get("url"), body.get("payment_intent")
    if url is not None and not (isinstance(url, str) and messages.may_show(url)):
        raise Doubt("the address the payer is sent to is none")
    return Session(
        id=messages.identifier(body, "id", "cs"),
        reference=messages.metadata(body, messages.REFERENCE),
        status=status,
        unpaid=paid == "unpaid",
        amount=messages.money(body.get("amount_total"), messages.required(body, "currency").upper(), "amount_total"),
        url=url,
        intent=intent if isinstance(intent, dict) else None,
    )


def expired(body: Mapping[str, Any], *, livemode: bool) -> Outcome:
    """Return what a notice says of a session that has expired. Raises Doubt for one that has not."""
    found = session(body, livemode=livemode)
    if found.status != "expired" or not found.unpaid:
        raise Doubt(f"the session is {found.status}")
    return Refused("expired", "the page has expired", closed=True)


def passes_over(kind: str, about: Mapping[str, Any]) -> bool:
    """Tell whether an event is about the intent of a session and says nothing that holds."""
    notes = about.get("metadata")
    of_page = isinstance(notes, dict) and notes.get(PAID_BY) == ON_PAGE
    return of_page and kind.startswith("payment_intent.") and kind not in INTENT_EVENTS


def weighed(order: Order, told: Outcome) -> Outcome:
    """Return what an event says, if it is of the intent by which the order goes; else Unknown: ask.

    Whoever shares the account can write our number into metadata, so that alone proves nothing. A no names no intent
    here, and a page goes by none yet: what became of them is asked for by their own id.
    """
    if order.channel_ref is None or is_session(order):
        return Unknown("the order goes by no intent yet")
    if not isinstance(told, Confirmed | Pending):
        return Unknown("the event says no; whether it is of this order's intent is asked for")
    if told.channel_ref != order.channel_ref:
        return Unknown("the event is of an intent by which this order does not go")
    return told


class Pages:
    """Makes sessions, asks for them and ends them, as Channel does with orders."""

    def __init__(self, *, base_url: str, calls: Calls, answers: Answers, return_url: str | None) -> None:
        """return_url: where payers come back to, where the order names none."""
        self._url = f"{base_url}/v1/checkout/sessions"
        self._calls = calls
        self._answers = answers
        self._return_url = return_url

    def create_request(self, order: Order) -> Request:
        """Return the request that makes the session; under its key it is the same one, however often it is sent."""
        form = create_form(order, order.return_url or self._return_url)
        return self._calls.post(self._url, form, key=order.reference)

    def create_outcome(self, order: Order, answer: Response, errors: messages.Errors) -> Outcome:
        """Return the page to send the payer to. A replayed answer shows what was: of it the id is asked for."""

        def read(body: dict[str, Any]) -> Outcome:
            outcome = self._about(order, body)
            if not replayed(answer):
                return outcome
            found = session(body, livemode=self._answers.livemode)
            asked = self.query_request(replace(order, channel_ref=found.id))
            return Unknown("the answer is an old one, told again", follow_up=asked)

        return self._answers.outcome(answer, errors, read)

    def query_request(self, order: Order) -> Request:
        """Return the question for the session by its id; without one, the request that makes it, under the same key."""
        if order.channel_ref is None:
            return self.create_request(order)
        return self._calls.get(f"{self._session_url(order.channel_ref)}?{messages.query([EXPAND])}")

    def query_outcome(self, order: Order, answer: Response) -> Outcome:
        """Return the order's state; Unknown(not_found=True) when Stripe says that it has no session of that id."""
        if order.channel_ref is None:
            return self.create_outcome(order, answer, messages.NOTHING)
        return self._answers.outcome(answer, messages.QUERY, lambda body: self._about(order, body))

    def close_request(self, order: Order) -> Request:
        """Return the request that expires the session; without its id, the one that makes it, to learn the id."""
        if order.channel_ref is None:
            return self.create_request(order)
        return self._calls.post(f"{self._session_url(order.channel_ref)}/expire", ())

    def close_outcome(self, order: Order, answer: Response) -> Outcome:
        """Return Refused(closed=True) when the session has expired, now or before; else Unknown.

        Stripe refuses to expire what has expired or is complete, and does not show it: then it is asked for.
        """
        if answer.status == 400 and order.channel_ref is not None:
            error = messages.rail_error(answer)
            asked = self._calls.get(f"{self._session_url(order.channel_ref)}?{messages.query([EXPAND])}")
            return Unknown(f"not expired now: {error.code}", follow_up=asked if error.type else None)

        def read(body: dict[str, Any]) -> Outcome:
            outcome = self._about(order, body)
            if isinstance(outcome, Pending) and outcome.channel_ref and order.channel_ref is None:
                # The answer to making it. Now that the id is known, it can be ended.
                return Unknown(
                    "it is open", follow_up=self.close_request(replace(order, channel_ref=outcome.channel_ref))
                )
            if not (isinstance(outcome, Refused) and outcome.closed):
                raise Doubt("it was to be expired, and is not")
            return outcome

        return self._answers.outcome(answer, messages.CLOSE, read)

    def _about(self, order: Order, body: Mapping[str, Any]) -> Outcome:
        return session(body, livemode=self._answers.livemode).outcome(self._answers, order)

    def _session_url(self, number: str) -> str:
        return f"{self._url}/{quote(number, safe='')}"
