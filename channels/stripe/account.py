"""How Stripe is talked to: the key, what vouches for a message, and what an answer says of an intent."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from channels.contract import (
    Order,
    Outcome,
    Pending,
    Request,
    Response,
    Unknown,
)
from channels.stripe import messages, signing, statement
from channels.stripe.messages import Doubt, Intent
from kernel.safe_json import BadJson, loads_object

USER_AGENT = "sluice-hub/0.1"
BASE_URL = "https://api.stripe.com"
VERSION = "2026-10-28.endive"  # of the API; pinned, so that answers keep their shape whatever the account is set to
PAST_IT = "payment_intent_unexpected_state"  # the error of an intent that is past what was asked; it shows the intent


class StripeAccount:
    """One Stripe account, with its secret key and the signing secrets of its webhook endpoints."""

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
        self._livemode = "_live_" in secret_key
        self._account = account
        self._return_url = return_url
        base = base_url.rstrip("/")
        self._over = "tls" if base.startswith("https:") else "loopback"
        self._headers: Mapping[str, str] = {
            "Accept": "application/json",
            "Stripe-Version": VERSION,
            "User-Agent": USER_AGENT,
        }
        self._intents_url = f"{base}/v1/payment_intents"
        self._refunds_url = f"{base}/v1/refunds"
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

    def _get(self, url: str) -> Request:
        return Request("GET", url, self._headers)

    def _post(self, url: str, fields: messages.Pairs, *, key: str | None = None) -> Request:
        """key: under which Stripe executes it once. Without one the intent's own state sees to that.

        Stripe replays whatever came of a key, a 500 too, for a day. What has a state to guard it does better without.
        """
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", url, headers | ({"Idempotency-Key": key} if key else {}), messages.form(fields))

    def _page(self, page: statement.Page) -> Request:
        return Request("GET", f"{self._bill_url}?{page.query()}", self._headers)

    def _intent_url(self, order: Order) -> str:
        if order.channel_ref is None:
            raise ValueError(f"{order.reference} has no intent yet: only creating and asking go without one")
        return f"{self._intents_url}/{quote(order.channel_ref, safe='')}"

    def _intent(self, body: Mapping[str, Any]) -> Intent:
        return messages.intent(body, livemode=self._livemode)

    def _about(self, order: Order, body: Mapping[str, Any]) -> Outcome:
        found = self._intent(body)
        return messages.about_order(found, order, found.outcome())

    def _declined(self, order: Order, answer: Response) -> Outcome:
        """Return what a 402 says: it names the intent as it is left, without a card."""
        error = messages.rail_error(answer)
        try:
            if error.type != "card_error":
                raise Doubt("it is no card error")
            left = self._left(order, error)
            if left.status != "requires_payment_method":
                raise Doubt(f"the intent is {left.status[:40]}")
        except Doubt as doubt:
            return Unknown(f"HTTP 402, not believed: {doubt}")
        return messages.declined(error.body)

    def _left(self, order: Order, error: messages.RailError) -> Intent:
        """Return this order's intent as an error shows it. Raises Doubt."""
        shown = error.body.get("payment_intent")
        if not isinstance(shown, dict):
            raise Doubt("the error shows no intent")
        found = self._intent(shown)
        messages.about_order(found, order, Pending())
        return found

    def _past_it(self, answer: Response, read: Callable[[dict[str, Any]], Outcome]) -> Outcome:
        """Return what `read` makes of the intent that an error shows when it is past what was asked."""
        error = messages.rail_error(answer)
        shown = error.body.get("payment_intent")
        if error.code != PAST_IT or not isinstance(shown, dict):
            return messages.unknown(error)
        try:
            return read(shown)
        except Doubt as doubt:
            return Unknown(f"{error.code}: {doubt}", stated_amount=doubt.stated_amount)

    def _outcome(self, answer: Response, errors: messages.Errors, read: Callable[[dict[str, Any]], Outcome]) -> Outcome:
        """Return what an answer means; of errors a list decides."""
        if answer.status != 200:
            return messages.error_outcome(messages.rail_error(answer), errors)
        try:
            return read(loads_object(answer.body))
        except BadJson as doubt:
            return Unknown(f"HTTP {answer.status}, not readable: {doubt}")
        except Doubt as doubt:
            return Unknown(f"HTTP {answer.status}, not believed: {doubt}", stated_amount=doubt.stated_amount)
