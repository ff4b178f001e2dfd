"""Checkout Sessions: pages on which payers type a card. Every function runs inside the caller's transaction."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sandbox.acquirer import Acquirer, Merchant, Trade
from sandbox.store import Tx
from sandbox.stripe import objects
from sandbox.stripe.errors import ApiError, missing, wrong
from sandbox.stripe.forms import Fields
from sandbox.stripe.intents import Intents, amount_of, notes_of

LASTS_MS = 86_400_000
SHORTEST_MS, LONGEST_MS = 1_800_000, 86_400_000
CREATE = (
    *("mode", "line_items", "success_url", "cancel_url", "client_reference_id", "metadata", "expires_at", "expand"),
    *("payment_method_types", "payment_intent_data", "adaptive_pricing", "automatic_tax", "allow_promotion_codes"),
    *("locale", "submit_type", "customer_email", "ui_mode", "currency", "customer_creation"),
)
INTENT_DATA = ("capture_method", "description", "metadata", "receipt_email", "transfer_group")


class Sessions:
    """See the module."""

    def __init__(self, acquirer: Acquirer, intents: Intents) -> None:
        self._of = acquirer
        self._intents = intents

    def create(self, tx: Tx, merchant: Merchant, fields: Fields) -> Trade:
        """Make a page for one item at one price. Raises ApiError."""
        if fields.required("mode") != "payment":
            raise wrong("mode", "Invalid mode: must be payment here")
        if fields.text("ui_mode") not in (None, "hosted_page"):
            raise wrong("ui_mode", "Invalid ui_mode: must be hosted_page here")
        types = fields.texts("payment_method_types")
        if types and types != ["card"]:
            raise wrong("payment_method_types", f"The payment method type {types[0][:40]!r} is invalid.")
        for name in ("adaptive_pricing", "automatic_tax"):
            if _below(fields, name).flag("enabled"):
                raise wrong(f"{name}[enabled]", f"{name} is not imitated here")
        if fields.flag("allow_promotion_codes"):
            raise wrong("allow_promotion_codes", "promotion codes are not imitated here")
        success, cancel = _address(fields, "success_url"), _address(fields, "cancel_url")
        if success is None:
            raise missing("success_url")
        amount, currency = self._price(fields)
        data = _below(fields, "payment_intent_data")
        data.only(INTENT_DATA)
        notes = notes_of(fields)
        now_ms = self._of.ctx.clock.now_ms()
        expires_at = fields.whole("expires_at")
        expires_ms = now_ms + LASTS_MS if expires_at is None else expires_at * 1000
        if expires_at is not None and not SHORTEST_MS <= expires_ms - now_ms <= LONGEST_MS:
            raise wrong("expires_at", "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.")
        capture = data.choice("capture_method", ("automatic", "automatic_async", "manual"), "automatic_async")
        intent_notes = notes_of(data)
        trade, _ = self._of.trades.create(
            tx,
            merchant,
            order=self._intents.unused(tx, merchant, intent_notes.get("reference") or notes.get("reference")),
            amount=amount,
            currency=currency.upper(),
            product="checkout",
            params=json.dumps(fields.values, sort_keys=True),
            expires_ms=expires_ms,
            extra={
                "status": "requires_payment_method",
                "payment_method": None,
                "capture_method": capture,
                "description": data.text("description"),
                "metadata": intent_notes,
                "transfer_group": data.text("transfer_group"),
                "session": {
                    "metadata": notes,
                    "client_reference_id": fields.text("client_reference_id"),
                    "success_url": success,
                    "cancel_url": cancel,
                    "expires_at": objects.seconds(expires_ms),
                    "tried": False,
                },
            },
            hold=capture == "manual",
        )
        return trade

    def expire(self, tx: Tx, trade: Trade) -> Trade:
        """End a page that is open. Raises ApiError."""
        status = objects.session_status(trade)
        if status != "open":
            raise ApiError(
                400,
                'Only Checkout Sessions with a status in ["open"] can be expired.'
                f" This Checkout Session has a status of `{status}`.",
                kept=True,
            )
        return self._of.trades.close(tx, trade)

    def _price(self, fields: Fields) -> tuple[int, str]:
        items = fields.values.get("line_items")
        if not isinstance(items, list) or not items:
            raise missing("line_items")
        if len(items) != 1 or not isinstance(items[0], dict):
            raise wrong("line_items", "one item is imitated here")
        item = Fields(items[0])
        item.only(("price_data", "quantity"))
        price = _below(item, "price_data")
        price.only(("currency", "unit_amount", "product_data"))
        _below(price, "product_data").required("name")
        if item.whole("quantity") != 1:
            raise wrong("line_items[0][quantity]", "a quantity of 1 is imitated here")
        return amount_of(price.whole("unit_amount"), price.required("currency").lower(), "unit_amount")


def _below(fields: Fields, name: str) -> Fields:
    value = fields.values.get(name, {})
    if not isinstance(value, Mapping):
        raise wrong(name, f"Invalid object: {name}")
    return Fields(value)


def _address(fields: Fields, name: str) -> str | None:
    value = fields.text(name)
    if value is not None:
        parts: Any = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise wrong(name, f"Not a valid URL: {name}", "url_invalid")
    return value
