"""What PayPal does when it is asked: sessions, orders, captures, authorizations, refunds.

What changes anything is done once for each PayPal-Request-Id.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.acquirer import Acquirer, CoreError, Merchant, Trade
from sandbox.paypal import errors
from sandbox.paypal.errors import ApiError, OAuthError
from sandbox.paypal.money import BadAmount, minor_of
from sandbox.paypal.wire import LAPSES_MS, PayPalWire
from sandbox.store import Tx

SESSION_S = 32_400
KEPT_MS = {"create": 6 * 3_600_000, "proceed": 6 * 3_600_000, "capture": 45 * 86_400_000, "refund": 45 * 86_400_000}
SCOPE = (
    "https://uri.paypal.com/services/payments/payment https://uri.paypal.com/services/payments/refund"
    " https://uri.paypal.com/services/reporting/search/read https://uri.paypal.com/services/applications/webhooks"
)


@dataclass(frozen=True, slots=True)
class Done:
    """An object, whole, and whether this request made it (a repeated one is answered 200, the first one 201)."""

    body: dict[str, Any]
    new: bool = False


class PayPal:
    """See the module. Methods raise ApiError for what PayPal refuses."""

    def __init__(self, acquirer: Acquirer, wire: PayPalWire) -> None:
        self.acquirer, self._wire = acquirer, wire

    # ---- sessions ----------------------------------------------------------------------------------------------------

    def client(self, client_id: str, client_secret: str) -> Merchant:
        """Return whose application these credentials are. Raises OAuthError."""
        for merchant in self.acquirer.merchants.all():
            if merchant.extra["client_id"] == client_id:
                if secrets.compare_digest(merchant.extra["client_secret"], client_secret):
                    return merchant
                break
        raise OAuthError(401, "invalid_client", "Client Authentication failed")

    async def log_in(self, merchant: Merchant) -> dict[str, Any]:
        """Open a session."""
        token, now_ms = f"A21AA{secrets.token_urlsafe(60)}", self.acquirer.ctx.clock.now_ms()

        def write(tx: Tx) -> None:
            tx.execute("DELETE FROM paypal_token WHERE expires_ms <= ?", now_ms)
            sql = "INSERT INTO paypal_token (token, merchant, expires_ms) VALUES (?, ?, ?)"
            tx.execute(sql, token, merchant.merchant, now_ms + SESSION_S * 1000)

        await self.acquirer.write(write)
        return {
            "scope": SCOPE,
            "access_token": token,
            "token_type": "Bearer",
            "app_id": "APP-80W284485P519543T",
            "expires_in": SESSION_S,
            "nonce": secrets.token_urlsafe(24),
        }

    def whose(self, authorization: str | None) -> Merchant:
        """Return whose session a request is in. Raises ApiError or OAuthError."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401)
        row = self.acquirer.ctx.store.one("SELECT merchant, expires_ms FROM paypal_token WHERE token = ?", token)
        if row is None or row["expires_ms"] <= self.acquirer.ctx.clock.now_ms():
            raise OAuthError(401, "invalid_token", "The token passed in was not found in the system")
        return self.acquirer.merchants.get(row["merchant"])

    # ---- orders ------------------------------------------------------------------------------------------------------

    async def create(self, merchant: Merchant, body: Mapping[str, Any], request_id: str | None) -> Done:
        """Create an order for the payer to approve."""
        asked = _Asked(body)
        trades = self.acquirer.trades

        def make(tx: Tx) -> str:
            now_ms = self.acquirer.ctx.clock.now_ms()
            trade, _ = trades.create(
                tx,
                merchant,
                order=self._free_number(tx, merchant, asked.custom_id or asked.invoice_id),
                amount=asked.amount,
                currency=asked.currency,
                product="paypal",
                params="",
                expires_ms=now_ms + LAPSES_MS,
                extra=asked.extra,
                hold=asked.hold,
            )
            return trade.trade_ref

        number, new = await self._once(merchant, "create", request_id, make)
        return Done(self.show_order(merchant, number), new)

    def show_order(self, merchant: Merchant, number: str) -> dict[str, Any]:
        """Return an order. An order that has lapsed is there no more."""
        trade = self.order_of(merchant, number)
        refunds = self.acquirer.refunds.of_trade(self.acquirer.ctx.store, trade)
        return self._wire.views.order(merchant, trade, refunds, self.acquirer.page_url(trade))

    def order_of(self, merchant: Merchant, number: str) -> Trade:
        """Return the trade behind an order's number. Raises 404."""
        trade = self._found(merchant, "trade_ref", number)
        if trade.state == "closed" and trade.hold_ref is None:
            raise errors.not_found()
        return trade

    async def proceed(self, merchant: Merchant, number: str, step: str, request_id: str | None) -> Done:
        """Capture, or authorize, what the payer has approved."""
        trades = self.acquirer.trades

        def make(tx: Tx) -> str:
            trade = trades.by_id(tx, self.order_of(merchant, number).trade_id)
            if (step == "authorize") is not trade.hold:
                raise ApiError(422, "ACTION_DOES_NOT_MATCH_INTENT")
            if trade.state != "open":
                already = "ORDER_ALREADY_AUTHORIZED" if trade.hold else "ORDER_ALREADY_CAPTURED"
                raise ApiError(422, already)
            if not trade.extra.get("approved"):
                raise ApiError(422, "ORDER_NOT_APPROVED", "Payer has not yet approved the Order for payment.")
            if trade.hold:
                until_ms = self._wire.held_until_ms(self.acquirer.ctx.clock.now_ms())
                return trades.hold(tx, trade, None, expires_ms=until_ms).trade_ref
            self._refuse_repeated_invoice(tx, trade)
            return trades.charge(tx, trade, None).trade_ref

        made, new = await self._once(merchant, "proceed", request_id, make)
        return Done(self.show_order(merchant, made), new)

    # ---- authorizations ----------------------------------------------------------------------------------------------

    def show_authorization(self, merchant: Merchant, number: str) -> dict[str, Any]:
        """Return an authorization."""
        return self._wire.views.authorization(merchant, self._found(merchant, "hold_ref", number))

    async def capture(self, merchant: Merchant, number: str, body: Mapping[str, Any], request_id: str | None) -> Done:
        """Capture reserved money, all or a part; the rest is released, whatever final_capture says."""

        def make(tx: Tx) -> str:
            trade = self.acquirer.trades.by_id(tx, self._found(merchant, "hold_ref", number).trade_id)
            if trade.state == "closed":
                raise ApiError(422, "AUTHORIZATION_EXPIRED" if trade.closed_by == "expired" else "AUTHORIZATION_VOIDED")
            if trade.state != "held":
                raise ApiError(422, "AUTHORIZATION_ALREADY_CAPTURED")
            amount = _amount(body, trade, "AUTH_CAPTURE_CURRENCY_MISMATCH")
            self._refuse_repeated_invoice(tx, trade)
            taken = self.acquirer.trades.capture(tx, trade, amount)
            assert taken.charge_ref is not None
            return taken.charge_ref

        made, new = await self._once(merchant, "capture", request_id, make)
        return Done(self.show_capture(merchant, made), new)

    async def void(self, merchant: Merchant, number: str) -> dict[str, Any]:
        """Release reserved money."""

        def make(tx: Tx) -> Trade:
            trade = self.acquirer.trades.by_id(tx, self._found(merchant, "hold_ref", number).trade_id)
            if trade.state == "closed":
                raise ApiError(422, "PREVIOUSLY_VOIDED")
            if trade.state != "held":
                raise ApiError(422, "PREVIOUSLY_CAPTURED")
            return self.acquirer.trades.void(tx, trade)

        return self._wire.views.authorization(merchant, await self.acquirer.write(make))

    # ---- captures and refunds ----------------------------------------------------------------------------------------

    def show_capture(self, merchant: Merchant, number: str) -> dict[str, Any]:
        """Return a capture."""
        return self._wire.views.capture(merchant, self._found(merchant, "charge_ref", number))

    async def refund(self, merchant: Merchant, number: str, body: Mapping[str, Any], request_id: str | None) -> Done:
        """Give back a capture, all that is left of it or a part."""

        def make(tx: Tx) -> str:
            trade = self.acquirer.trades.by_id(tx, self._found(merchant, "charge_ref", number).trade_id)
            left = trade.paid - trade.refunded
            if left == 0:
                raise ApiError(422, "CAPTURE_FULLY_REFUNDED", "The capture has already been fully refunded")
            amount = _amount(body, trade, "REFUND_CAPTURE_CURRENCY_MISMATCH")
            invoice_id = _words(body, "invoice_id", 127)
            refund, _ = self.acquirer.refunds.create(
                tx,
                trade,
                order=self._free_refund_number(tx, merchant, invoice_id),
                amount=left if amount is None else amount,
                params="",
                reason=_words(body, "note_to_payer", 255),
                extra={
                    "custom_id": _words(body, "custom_id", 127) or trade.extra["custom_id"],
                    "invoice_id": invoice_id,
                },
            )
            return refund.refund_ref

        made, new = await self._once(merchant, "refund", request_id, make)
        return Done(self.show_refund(merchant, made), new)

    def show_refund(self, merchant: Merchant, number: str) -> dict[str, Any]:
        """Return a refund."""
        store = self.acquirer.ctx.store
        refund = self.acquirer.refunds.find_by_ref(store, number)
        if refund is None or refund.merchant != merchant.merchant:
            raise errors.not_found()
        return self._wire.views.refund(self.acquirer.trades.by_id(store, refund.trade_id), refund)

    # ---- shared ------------------------------------------------------------------------------------------------------

    async def _once(
        self, merchant: Merchant, op: str, request_id: str | None, make: Callable[[Tx], str]
    ) -> tuple[str, bool]:
        """Do it, unless a request of that id has; return the number of what came of it, and whether it is new.

        PayPal publishes no error for an id that is used again with another body: it answers what came of the first.
        """
        now_ms = self.acquirer.ctx.clock.now_ms()

        def command(tx: Tx) -> tuple[str, bool]:
            if request_id is not None:
                row = tx.one(
                    "SELECT object FROM paypal_request WHERE merchant = ? AND op = ? AND request_id = ?"
                    " AND created_ms > ?",
                    *(merchant.merchant, op, request_id, now_ms - KEPT_MS[op]),
                )
                if row is not None:
                    return str(row["object"]), False
            made = make(tx)
            if request_id is not None:
                tx.execute(
                    "INSERT OR REPLACE INTO paypal_request (merchant, op, request_id, object, created_ms)"
                    " VALUES (?, ?, ?, ?, ?)",
                    *(merchant.merchant, op, request_id, made, now_ms),
                )
            return made, True

        try:
            return await self.acquirer.write(command)
        except CoreError as refusal:
            raise errors.of_core(refusal) from refusal

    def _found(self, merchant: Merchant, column: str, number: str) -> Trade:
        trade = self.acquirer.trades.find_by(self.acquirer.ctx.store, column, number)
        if trade is None or trade.merchant != merchant.merchant:
            raise errors.not_found()
        return trade

    def _free_number(self, tx: Tx, merchant: Merchant, wanted: str) -> str:
        """Return the number under which the books keep an order: the merchant's, unless an earlier order has it.

        PayPal lets any number of orders carry one custom_id; the later ones are kept as `number#2`, `number#3`, …
        """
        wanted = wanted or f"unnamed-{secrets.token_hex(8)}"
        found, copy = wanted, 1
        while self.acquirer.trades.find(tx, merchant.merchant, found) is not None:
            copy += 1
            found = f"{wanted}#{copy}"
        return found

    def _free_refund_number(self, tx: Tx, merchant: Merchant, wanted: str) -> str:
        wanted = wanted or f"unnamed-{secrets.token_hex(8)}"
        if self.acquirer.refunds.find(tx, merchant.merchant, wanted) is not None:
            raise ApiError(422, "DUPLICATE_INVOICE_ID", "Invoice ID was previously used to refund a capture.")
        return wanted

    def _refuse_repeated_invoice(self, tx: Tx, trade: Trade) -> None:
        """Refuse a second payment of one invoice, as accounts do that are set so."""
        row = tx.one(
            "SELECT 1 FROM acquirer_trade WHERE rail = 'paypal' AND merchant = ? AND trade_id != ? AND paid > 0"
            " AND json_extract(extra, '$.invoice_id') = ?",
            *(trade.merchant, trade.trade_id, trade.extra["invoice_id"] or None),
        )
        if row is not None:
            raise ApiError(422, "DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected.")


class _Asked:
    """The body of a new order, read. Raises ApiError."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        intent = body.get("intent")
        if intent not in ("CAPTURE", "AUTHORIZE"):
            raise ApiError(400, "INVALID_PARAMETER_VALUE" if intent else "MISSING_REQUIRED_PARAMETER", field="/intent")
        self.hold = intent == "AUTHORIZE"
        units = body.get("purchase_units")
        if not isinstance(units, list) or not units or not all(isinstance(unit, dict) for unit in units):
            raise ApiError(400, "MISSING_REQUIRED_PARAMETER", field="/purchase_units")
        if len(units) > 1:
            raise ApiError(422, "NOT_SUPPORTED", "the sandbox knows orders of one purchase unit")
        unit = units[0]
        amount = unit.get("amount")
        if not isinstance(amount, dict):
            raise ApiError(400, "MISSING_REQUIRED_PARAMETER", field="/purchase_units/@0/amount")
        self.amount, self.currency = _minor(amount), str(amount["currency_code"])
        self.custom_id, self.invoice_id = _words(unit, "custom_id", 127), _words(unit, "invoice_id", 127)
        source = body.get("payment_source")
        wallet = source.get("paypal") if isinstance(source, dict) else None
        context = body.get("application_context") or {}
        if isinstance(wallet, dict):
            context = wallet.get("experience_context") or {}
        if not isinstance(context, dict):
            raise ApiError(400, "INVALID_PARAMETER_SYNTAX", field="/application_context")
        self.extra = {
            "custom_id": self.custom_id,
            "invoice_id": self.invoice_id,
            "reference_id": _words(unit, "reference_id", 256) or "default",
            "description": _words(unit, "description", 127),
            "wallet": isinstance(wallet, dict),
            "return_url": _words(context, "return_url", 2048),
            "cancel_url": _words(context, "cancel_url", 2048),
        }


def _words(body: Mapping[str, Any], name: str, limit: int) -> str:
    """Return an optional text."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, "INVALID_PARAMETER_SYNTAX", field=f"/{name}")
    if not 1 <= len(value) <= limit:
        raise ApiError(400, "INVALID_STRING_LENGTH", field=f"/{name}")
    return value


def _amount(body: Mapping[str, Any], trade: Trade, mismatch: str) -> int | None:
    """Return the amount of a capture or refund; None for all there is."""
    amount = body.get("amount")
    if amount is None:
        return None
    if not isinstance(amount, dict):
        raise ApiError(400, "INVALID_PARAMETER_SYNTAX", field="/amount")
    minor = _minor(amount)
    if amount["currency_code"] != trade.currency:
        raise ApiError(422, mismatch)
    return minor


def _minor(amount: Mapping[str, Any]) -> int:
    for name in ("currency_code", "value"):
        if name not in amount:
            raise ApiError(400, "MISSING_REQUIRED_PARAMETER", field=f"/amount/{name}")
    try:
        return minor_of(amount["value"], amount["currency_code"])
    except BadAmount as error:
        status = 400 if error.issue == "INVALID_PARAMETER_SYNTAX" else 422
        raise ApiError(status, error.issue, field="/amount/value") from error
