"""Whose a request is, and what it names."""

import secrets
from base64 import b64decode
from urllib.parse import unquote

from sandbox.acquirer import Acquirer, Dispute, Merchant, Refund, Trade, Webhook
from sandbox.stripe import objects
from sandbox.stripe.errors import ApiError, no_such
from sandbox.stripe.forms import Fields


class Naming:
    """Finds merchants, intents, sessions, refunds and webhook endpoints by what requests call them. Raises ApiError."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def who(self, authorization: str) -> Merchant:
        """Return whose key it is. Raises ApiError."""
        scheme, _, key = authorization.partition(" ")
        if scheme == "Basic":
            try:
                key = b64decode(key, validate=True).decode().partition(":")[0]
            except ValueError:
                key = ""
        if scheme not in ("Bearer", "Basic") or not key:
            raise ApiError(401, "You did not provide an API key.")
        for merchant in self._of.merchants.all():
            if secrets.compare_digest(merchant.extra["secret_key"].encode(), key.encode()):
                return merchant
        raise ApiError(401, f"Invalid API Key provided: {key[:8]}****{key[-4:]}")

    def trade(self, merchant: Merchant, number: str, param: str, status: int = 404) -> Trade:
        trade = self._of.trades.find_by(self._of.ctx.store, "trade_ref", unquote(number))
        if trade is None or trade.merchant != merchant.merchant or not objects.has_intent(trade):
            raise no_such("payment_intent", number[:100], param, status)
        return trade

    def session(self, merchant: Merchant, number: str) -> Trade:
        """Return the order that a Checkout Session is of."""
        trade = self._of.trades.find_by(self._of.ctx.store, "token", unquote(number).removeprefix("cs_test_a1"))
        if trade is None or trade.merchant != merchant.merchant or not objects.is_session(trade):
            raise no_such("checkout.session", number[:100], "session")
        return trade

    def paid(self, merchant: Merchant, fields: Fields) -> Trade:
        """Return the intent that a refund is of, by its id or its charge's."""
        intent, charge = fields.text("payment_intent"), fields.text("charge")
        if charge is not None:
            intent = intent or "pi_" + charge.removeprefix("ch_")
        if intent is None:
            raise ApiError(
                400,
                "One of the following params should be provided for this request: payment_intent or charge.",
                code="parameter_missing",
                param="charge",
            )
        return self.trade(merchant, intent, "payment_intent" if charge is None else "charge", 404)

    def refund(self, merchant: Merchant, number: str) -> Refund:
        refund = self._of.refunds.find_by_ref(self._of.ctx.store, unquote(number))
        if refund is None or refund.merchant != merchant.merchant:
            raise no_such("refund", number[:100], "id")
        return refund

    def dispute(self, merchant: Merchant, number: str) -> Dispute:
        found = self._of.disputes.find_by_ref(self._of.ctx.store, unquote(number))
        if found is None or found.merchant != merchant.merchant:
            raise no_such("dispute", number[:100], "dispute")
        return found

    def hook(self, merchant: Merchant, number: str) -> Webhook:
        for hook in self._of.merchants.webhooks(self._of.ctx.store, merchant.merchant):
            if hook.webhook_id == number:
                return hook
        raise no_such("webhook endpoint", number[:100], "webhook_endpoint")
