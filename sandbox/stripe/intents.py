"""PaymentIntents and refunds: what each call does. Every function runs inside the caller's transaction."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from sandbox.acquirer import Acquirer, CoreError, Merchant, Refund, Trade
from sandbox.store import Tx
from sandbox.stripe import objects
from sandbox.stripe.cards import CARDS, Card
from sandbox.stripe.errors import ApiError, missing, no_such, wrong
from sandbox.stripe.forms import Fields
from sandbox.stripe.payers import HOLDS_FOR_MS, fail

CURRENCIES = ("cny", "usd", "eur", "gbp", "jpy", "hkd")
# Minor units; of CNY none is published.
SMALLEST = {"usd": 50, "eur": 50, "gbp": 30, "hkd": 400, "jpy": 50, "cny": 1}
LARGEST = 99_999_999
CREATE = (
    *("amount", "currency", "payment_method", "payment_method_types", "automatic_payment_methods", "capture_method"),
    *("confirm", "confirmation_method", "description", "metadata", "return_url", "transfer_group", "expand"),
    *("statement_descriptor", "statement_descriptor_suffix", "receipt_email", "off_session", "setup_future_usage"),
)
CONFIRM = ("payment_method", "return_url", "off_session", "receipt_email", "expand")
CAPTURE = ("amount_to_capture", "final_capture", "statement_descriptor", "metadata", "expand")
CANCEL = ("cancellation_reason", "expand")
REFUND = ("payment_intent", "charge", "amount", "reason", "metadata", "expand")
CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing")
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


class Declined(Exception):
    """The card said no. It is an outcome: what it changed stays."""

    def __init__(self, trade: Trade, error: Mapping[str, Any]) -> None:
        super().__init__(str(error["message"]))
        self.trade, self.error = trade, error


class Intents:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def create(self, tx: Tx, merchant: Merchant, fields: Fields) -> Trade:
        """Make an intent, and confirm it at once if asked to. Raises ApiError."""
        amount, currency = amount_of(fields.whole("amount"), fields.required("currency").lower(), "amount")
        method = fields.text("payment_method")
        if method is not None:
            _card(method)
        types = fields.texts("payment_method_types")
        if types and types != ["card"]:
            raise wrong("payment_method_types", f"The payment method type {types[0][:40]!r} is invalid.")
        notes = notes_of(fields)
        extra = {
            "status": "requires_confirmation" if method else "requires_payment_method",
            "payment_method": method,
            "capture_method": fields.choice(
                "capture_method", ("automatic", "automatic_async", "manual"), "automatic_async"
            ),
            "description": fields.text("description"),
            "metadata": notes,
            "return_url": fields.text("return_url"),
            "transfer_group": fields.text("transfer_group"),
        }
        trade, _ = self._of.trades.create(
            tx,
            merchant,
            order=self.unused(tx, merchant, notes.get("reference")),
            amount=amount,
            currency=currency.upper(),
            product="card",
            params=json.dumps(fields.values, sort_keys=True),
            extra=extra,
            hold=extra["capture_method"] == "manual",
        )
        return self.confirm(tx, trade, Fields({})) if fields.flag("confirm") else trade

    def confirm(self, tx: Tx, trade: Trade, fields: Fields) -> Trade:
        """Ask the card for the money. Raises ApiError, Declined."""
        self._not_of_a_page(trade, "confirm")
        status = objects.status_of(trade)
        if status not in CONFIRMABLE:
            raise self.past_it(trade, f"You cannot confirm this PaymentIntent because it has a status of {status}.")
        method = fields.text("payment_method") or trade.extra.get("payment_method")
        if method is None:
            raise self.past_it(
                trade,
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
            )
        card = _card(method)
        return_url = fields.text("return_url") or trade.extra.get("return_url")
        trade = self._of.trades.note(tx, trade, payment_method=method, return_url=return_url)
        if card.code is not None:
            raise Declined(*self.decline(tx, trade, card.code, card.decline_code, card.message))
        if card.proof:
            return self._of.trades.note(tx, trade, status="requires_action")
        payer = f"{card.brand} {card.last4}"
        if trade.hold:
            return self._of.trades.hold(tx, trade, payer, expires_ms=self._of.ctx.clock.now_ms() + HOLDS_FOR_MS)
        return self._of.trades.charge(tx, trade, payer)

    def decline(
        self, tx: Tx, trade: Trade, code: str, decline_code: str | None, message: str
    ) -> tuple[Trade, dict[str, Any]]:
        """Have the card say no; return the intent as it is left, and the error."""
        error: dict[str, Any] = {"code": code, "message": message, "type": "card_error"}
        if decline_code is not None:
            error["decline_code"] = decline_code
        return fail(tx, self._of, trade, error), error

    def capture(self, tx: Tx, trade: Trade, fields: Fields) -> Trade:
        """Take reserved money, all or a part; the rest is released. Raises ApiError."""
        status = objects.status_of(trade)
        if status != "requires_capture":
            raise self.past_it(trade, f"This PaymentIntent could not be captured because it has a status of {status}.")
        try:
            return self._of.trades.capture(tx, trade, fields.whole("amount_to_capture"))
        except CoreError as error:
            raise wrong("amount_to_capture", error.message, "amount_too_large") from error

    def cancel(self, tx: Tx, trade: Trade, fields: Fields) -> Trade:
        """End an intent that took no money, and release what it reserved. Raises ApiError."""
        status = objects.status_of(trade)
        self._not_of_a_page(trade, "cancel")
        if status not in CANCELABLE:
            raise self.past_it(
                trade,
                f"You cannot cancel this PaymentIntent because it has a status of {status}. Only a PaymentIntent with"
                f" one of the following statuses may be canceled: {', '.join(CANCELABLE)}.",
            )
        reasons = ("duplicate", "fraudulent", "requested_by_customer", "abandoned", "")
        reason = fields.choice("cancellation_reason", reasons, "")
        at = objects.seconds(self._of.ctx.clock.now_ms())
        trade = self._of.trades.note(tx, trade, canceled_at=at, cancellation_reason=reason or None)
        return self._of.trades.void(tx, trade) if trade.state == "held" else self._of.trades.close(tx, trade)

    def refund(self, tx: Tx, trade: Trade, fields: Fields) -> Refund:
        """Give money back. Raises ApiError."""
        left = trade.paid - trade.refunded
        if trade.state != "paid":
            raise wrong(
                "payment_intent",
                f"This PaymentIntent ({trade.trade_ref}) does not have a successful charge to refund.",
            )
        charge = objects.charge_id(trade.trade_ref)
        if self._of.disputes.holds(tx, trade):
            raise ApiError(400, f"Charge {charge} has been charged back.", code="charge_disputed", kept=True)
        if left == 0:
            raise ApiError(
                400, f"Charge {charge} has already been refunded.", code="charge_already_refunded", kept=True
            )
        wanted = fields.whole("amount")
        amount = left if wanted is None else wanted
        if amount < 1:
            raise wrong("amount", "Invalid positive integer", "parameter_invalid_integer")
        if amount > left:
            raise wrong("amount", f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
        reason = fields.choice("reason", ("duplicate", "fraudulent", "requested_by_customer", ""), "")
        notes = notes_of(fields)
        refund, _ = self._of.refunds.create(
            tx,
            trade,
            order=self._unused_refund(tx, trade.merchant, notes.get("reference")),
            amount=amount,
            params=json.dumps(fields.values, sort_keys=True),
            extra={"metadata": notes, "reason": reason or None},
        )
        return refund

    def past_it(self, trade: Trade, message: str) -> ApiError:
        """Return the error of an intent that is past what was asked; it shows the intent."""
        shown = objects.intent(trade, self._of.page_url(trade))
        code = "payment_intent_unexpected_state"
        return ApiError(400, message, code=code, kept=True, payment_intent=shown)

    @staticmethod
    def _not_of_a_page(trade: Trade, step: str) -> None:
        """Raise for the intent of a page that is open, which the page alone confirms, and ends."""
        if objects.is_session(trade) and objects.session_status(trade) == "open":
            raise ApiError(400, f"You cannot {step} the PaymentIntent of a Checkout Session.", kept=True)

    def unused(self, tx: Tx, merchant: Merchant, wanted: str | None) -> str:
        """Return the number an intent goes by in the books: ours from its metadata, as long as no other has it.

        To Stripe metadata means nothing: a second intent with the same reference is a second intent. It shows in the
        listing of trades under a number of its own, so that whoever looks for payers charged twice finds it.
        """
        number = wanted or f"none-{secrets.token_hex(8)}"
        return f"{number}~{secrets.token_hex(4)}" if self._of.trades.find(tx, merchant.merchant, number) else number

    def _unused_refund(self, tx: Tx, merchant: str, wanted: str | None) -> str:
        number = wanted or f"none-{secrets.token_hex(8)}"
        return f"{number}~{secrets.token_hex(4)}" if self._of.refunds.find(tx, merchant, number) else number


def amount_of(amount: int | None, currency: str, name: str) -> tuple[int, str]:
    """Return an amount that Stripe takes, and its currency. Raises ApiError."""
    if amount is None:
        raise missing(name)
    if currency not in CURRENCIES:
        raise wrong("currency", f"Invalid currency: {currency[:10]}. Stripe currently supports {', '.join(CURRENCIES)}")
    if amount < 1:
        raise wrong(name, "This value must be greater than or equal to 1.", "parameter_invalid_integer")
    if amount < SMALLEST[currency]:
        raise wrong(name, f"Amount must be at least {SMALLEST[currency]} {currency}", "amount_too_small")
    if amount > LARGEST:
        raise wrong(name, "Amount must be no more than 99999999", "amount_too_large")
    return amount, currency


def _card(method: str) -> Card:
    card = CARDS.get(method)
    if card is None:
        raise no_such("PaymentMethod", method[:100], "payment_method", 400)
    return card


def notes_of(fields: Fields) -> dict[str, str]:
    """Return metadata. Raises ApiError."""
    notes = fields.table("metadata")
    if len(notes) > 50 or any(len(name) > 40 or len(value) > 500 for name, value in notes.items()):
        raise wrong("metadata", "Metadata has at most 50 keys of 40 characters and values of 500")
    return {name: value for name, value in notes.items() if value}
