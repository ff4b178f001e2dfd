"""Stripe's objects as its API shows them, made from the acquirer's books. Moments are whole seconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.acquirer import BillRow, Dispute, Refund, Trade, Webhook

API_VERSION = "2026-10-28.endive"
SETTLES_AFTER_S = 2 * 86_400  # T+2
CANCELED = {"expired": "automatic", "merchant": None, "voided": None}


def status_of(trade: Trade) -> str:
    """Return an intent's status."""
    match trade.state:
        case "open":
            return str(trade.extra["status"])
        case "held":
            return "requires_capture"
        case "closed":
            return "canceled"
        case _:
            return "succeeded"


@dataclass(frozen=True, slots=True)
class Expand:
    """Which ids are to be shown as the objects they name."""

    charge: bool = False
    transaction: bool = False


NOTHING = Expand()


def charge_id(intent_id: str) -> str:
    """Return the id of an intent's charge: it has one, from when its card was first asked for money."""
    return "ch_" + intent_id.removeprefix("pi_")


def transaction_id(number: str) -> str:
    """Return the id of what an intent or a refund did to the balance."""
    kind, _, rest = number.partition("_")
    return f"txn_{kind}{rest}"


def failure_id(number: str) -> str:
    """Return the id of what gave a refund that failed back to the balance."""
    return f"{transaction_id(number)}Failure"


def is_session(trade: Trade) -> bool:
    """Tell whether an order is a Checkout Session's."""
    return "session" in trade.extra


def has_intent(trade: Trade) -> bool:
    """Tell whether there is an intent to be seen: a session makes it when its payer tries to pay."""
    return not is_session(trade) or bool(trade.extra["session"]["tried"])


def session_id(trade: Trade) -> str:
    """Return the id of a session; those of test mode begin with cs_test_."""
    return f"cs_test_a1{trade.token}"


def session_status(trade: Trade) -> str:
    """Return a session's status: it is complete once its payer has paid, whatever becomes of the money."""
    if trade.held_ms is not None or trade.paid_ms is not None:
        return "complete"
    return "expired" if trade.state == "closed" else "open"


def session(trade: Trade, page_url: str, expand: Expand | None = None) -> dict[str, Any]:
    """Return a Checkout Session. expand: of its intent; None: it is shown by its id."""
    kept, status = trade.extra["session"], session_status(trade)
    shown: Any = None
    if has_intent(trade):
        shown = trade.trade_ref if expand is None else intent(trade, page_url, expand)
    return {
        "id": session_id(trade),
        "object": "checkout.session",
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": trade.amount,
        "amount_total": trade.amount,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "cancel_url": kept["cancel_url"],
        "client_reference_id": kept["client_reference_id"],
        "created": seconds(trade.created_ms),
        "currency": trade.currency.lower(),
        "customer": None,
        "customer_creation": "if_required",
        "expires_at": kept["expires_at"],
        "livemode": False,
        "metadata": kept["metadata"],
        "mode": "payment",
        "payment_intent": shown,
        "payment_method_types": ["card"],
        "payment_status": "unpaid" if trade.paid_ms is None else "paid",
        "status": status,
        "success_url": kept["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        # Behind the # stands what the page needs and its server is not sent.
        "url": f"{page_url}#fid{trade.token[:12]}%2F" if status == "open" else None,
    }


def intent(trade: Trade, page_url: str, expand: Expand = NOTHING) -> dict[str, Any]:
    """Return a PaymentIntent."""
    extra, status = trade.extra, status_of(trade)
    shown_charge: Any = None
    if trade.held_ms is not None or trade.paid_ms is not None:
        shown_charge = charge(trade, expand) if expand.charge else charge_id(trade.trade_ref)
    action = None
    if status == "requires_action":
        to = {"url": page_url, "return_url": extra["return_url"]}
        sdk = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page_url}}
        action = {"type": "redirect_to_url", "redirect_to_url": to} if extra.get("return_url") else sdk
    reason = extra.get("cancellation_reason") or CANCELED.get(trade.closed_by or "")
    return {
        "id": trade.trade_ref,
        "object": "payment_intent",
        "amount": trade.amount,
        "amount_capturable": trade.amount if status == "requires_capture" else 0,
        "amount_received": trade.paid,
        "application": None,
        "automatic_payment_methods": None,
        "canceled_at": extra.get("canceled_at") if status == "canceled" else None,
        "cancellation_reason": reason if status == "canceled" else None,
        "capture_method": extra["capture_method"],
        "client_secret": f"{trade.trade_ref}_secret_{trade.token}",
        "confirmation_method": "automatic",
        "created": seconds(trade.created_ms),
        "currency": trade.currency.lower(),
        "customer": None,
        "description": extra.get("description"),
        "last_payment_error": extra.get("last_payment_error"),
        "latest_charge": shown_charge,
        "livemode": False,
        "metadata": extra["metadata"],
        "next_action": action,
        "payment_method": extra.get("payment_method"),
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "status": status,
        "transfer_group": extra.get("transfer_group"),
    }


def charge(trade: Trade, expand: Expand = NOTHING) -> dict[str, Any]:
    """Return the charge of an intent whose card was charged, or holds the money."""
    made_ms = trade.held_ms or trade.paid_ms or trade.created_ms
    changed: Any = None
    if trade.paid_ms is not None:
        changed = transaction(trade) if expand.transaction else transaction_id(trade.trade_ref)
    return {
        "id": charge_id(trade.trade_ref),
        "object": "charge",
        "amount": trade.amount,
        "amount_captured": trade.paid,
        "amount_refunded": trade.refunded,
        "balance_transaction": changed,
        "captured": trade.paid_ms is not None,
        "created": seconds(made_ms),
        "currency": trade.currency.lower(),
        "description": trade.extra.get("description"),
        "livemode": False,
        "metadata": trade.extra["metadata"],
        "paid": True,
        "payment_intent": trade.trade_ref,
        "payment_method": trade.extra.get("payment_method"),
        "refunded": trade.paid > 0 and trade.refunded == trade.paid,
        "status": "succeeded",
    }


def transaction(trade: Trade) -> dict[str, Any]:
    """Return what a captured payment did to the balance."""
    assert trade.paid_ms is not None
    return _transaction(
        transaction_id(trade.trade_ref),
        "charge",
        trade.paid,
        trade.fee,
        trade.currency,
        seconds(trade.paid_ms),
        charge_id(trade.trade_ref),
        trade.extra.get("description"),
    )


def row_transaction(row: BillRow, *, source: bool) -> dict[str, Any]:
    """Return a row of a day's bill as a balance transaction. source: shown whole, not by its id."""
    if row.kind in ("dispute", "dispute_won"):
        return _row_disputed(row, source=source)
    paid = row.kind == "payment"
    about = _row_charge(row) if paid else _row_refund(row)
    kind = {"payment": "charge", "refund": "refund", "return": "refund_failure"}[row.kind]
    return _transaction(
        failure_id(row.ref) if row.kind == "return" else transaction_id(row.trade_ref if paid else row.ref),
        kind,
        -row.amount if row.kind == "refund" else row.amount,
        row.fee,
        row.currency,
        seconds(row.at_ms),
        about if source else about["id"],
        row.extra.get("description"),
    )


def _transaction(
    number: str, kind: str, amount: int, fee: int, currency: str, at: int, source: Any, description: Any
) -> dict[str, Any]:
    detail = {"amount": fee, "application": None, "currency": currency.lower(), "type": "stripe_fee"}
    return {
        "id": number,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": at + SETTLES_AFTER_S,
        "created": at,
        "currency": currency.lower(),
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [detail | {"description": "Stripe processing fees"}] if fee else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source,
        "status": "pending",
        "type": kind,
    }


def _row_charge(row: BillRow) -> dict[str, Any]:
    return {
        "id": charge_id(row.trade_ref),
        "object": "charge",
        "amount": row.order_amount,
        "amount_captured": row.amount,
        "created": seconds(row.at_ms),
        "currency": row.currency.lower(),
        "livemode": False,
        "metadata": row.extra.get("metadata", {"reference": row.order}),
        "payment_intent": row.trade_ref,
        "status": _row_status(row),
    }


def _row_refund(row: BillRow) -> dict[str, Any]:
    return {
        "id": row.ref,
        "object": "refund",
        "amount": row.amount,
        "charge": charge_id(row.trade_ref),
        "created": seconds(row.at_ms),
        "currency": row.currency.lower(),
        "metadata": row.refund_extra.get("metadata", {}),
        "payment_intent": row.trade_ref,
        "status": _row_status(row),
    }


def _row_disputed(row: BillRow, *, source: bool) -> dict[str, Any]:
    about = {
        "id": row.ref,
        "object": "dispute",
        "amount": row.amount,
        "charge": charge_id(row.trade_ref),
        "currency": row.currency.lower(),
        "livemode": False,
        "metadata": {},
        "payment_intent": row.trade_ref,
        "reason": row.refund_extra["reason"],
    }
    won = row.kind == "dispute_won"
    shown = about if source else row.ref
    return _adjustment(row.ref, row.trade_ref, row.amount, row.fee, row.currency, seconds(row.at_ms), shown, won=won)


def _adjustment(
    ref: str, intent_id: str, amount: int, fee: int, currency: str, at: int, source: Any, *, won: bool
) -> dict[str, Any]:
    """Return what a dispute did to the balance: it took the money, or gave it back."""
    number = f"{transaction_id(ref)}Reversal" if won else transaction_id(ref)
    words = f"Chargeback {'reversal' if won else 'withdrawal'} for {charge_id(intent_id)}"
    shown = _transaction(number, "adjustment", amount if won else -amount, fee, currency, at, source, words)
    return shown | {"reporting_category": "dispute_reversal" if won else "dispute"}


def dispute(found: Dispute, trade: Trade, page_url: str | None = None) -> dict[str, Any]:
    """Return a dispute. page_url: its intent is shown whole."""
    ref, currency = found.dispute_ref, trade.currency
    moved = []
    if found.taken_ms is not None:
        at = seconds(found.taken_ms)
        moved.append(_adjustment(ref, trade.trade_ref, found.amount, found.fee, currency, at, ref, won=False))
    if found.status == "won" and found.ended_ms is not None:
        at = seconds(found.ended_ms)
        moved.append(_adjustment(ref, trade.trade_ref, found.amount, -found.fee_back, currency, at, ref, won=True))
    status = {"inquiry": "warning_needs_response", "open": "needs_response"}.get(found.status, found.status)
    return {
        "id": ref,
        "object": "dispute",
        "amount": found.amount,
        "balance_transactions": moved,
        "charge": charge_id(trade.trade_ref),
        "created": seconds(found.created_ms),
        "currency": currency.lower(),
        "evidence": {},
        "evidence_details": {
            "due_by": seconds(found.due_ms),
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": found.taken_ms is None,
        "livemode": False,
        "metadata": {},
        "payment_intent": trade.trade_ref if page_url is None else intent(trade, page_url),
        "reason": found.reason,
        "status": status,
    }


def _row_status(row: BillRow) -> str:
    return {"success": "succeeded", "processing": "pending"}.get(row.status, row.status)


def refund(refund: Refund, trade: Trade) -> dict[str, Any]:
    """Return a refund."""
    status = {"success": "succeeded"}.get(refund.status, refund.status)
    shown = {
        "id": refund.refund_ref,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": transaction_id(refund.refund_ref),
        "charge": charge_id(trade.trade_ref),
        "created": seconds(refund.created_ms),
        "currency": trade.currency.lower(),
        "metadata": refund.extra["metadata"],
        "payment_intent": trade.trade_ref,
        "reason": refund.extra.get("reason"),
        "status": status,
    }
    if status != "failed":
        return shown
    failed = {"failure_balance_transaction": failure_id(refund.refund_ref), "failure_reason": "lost_or_stolen_card"}
    return shown | failed


def webhook(hook: Webhook, *, secret: bool = False) -> dict[str, Any]:
    """Return a webhook endpoint. secret: it was just made, and its secret is told this once."""
    shown = {
        "id": hook.webhook_id,
        "object": "webhook_endpoint",
        "api_version": hook.extra["api_version"],
        "application": None,
        "created": seconds(hook.created_ms),
        "description": hook.extra["description"],
        "enabled_events": hook.extra["enabled_events"],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": hook.url,
    }
    return shown | ({"secret": hook.extra["secrets"][-1]["secret"]} if secret else {})


def event(kind: str, about: Mapping[str, Any], number: str, at: int) -> dict[str, Any]:
    """Return an event."""
    return {
        "id": number,
        "object": "event",
        "api_version": API_VERSION,
        "created": at,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def listed(url: str, rows: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """Return a page of a list."""
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def seconds(ms: int) -> int:
    """Return a moment as Stripe writes it."""
    return ms // 1000
