"""The hub's objects as the API and the events show them: plain mappings, ready for JSON."""

from typing import Any

import orjson

from gateway import states
from gateway.tables import Attempt, Payment, Refund
from kernel.clock import rfc3339


def payment_payload(payment: Payment) -> dict[str, Any]:
    """Return a payment as everyone outside sees it. Amounts in minor units, times RFC 3339 UTC."""
    if payment.refunded_minor == 0:
        refund_status = "none"
    else:
        refund_status = "full" if payment.refunded_minor == payment.captured_minor else "partial"
    held = payment.status == states.Payment.REQUIRES_CAPTURE
    return {
        "object": "payment",
        "id": payment.id,
        "merchant_order_id": payment.merchant_order_id,
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "status": payment.status,
        "method": payment.method,
        "channel": payment.channel,
        "capture": "manual" if payment.capture_manual else "automatic",
        "description": payment.description,
        "metadata": orjson.Fragment(payment.metadata) if payment.metadata else {},
        "next_action": orjson.Fragment(payment.next_action) if payment.next_action else None,
        "amount_capturable": payment.amount_minor if held else 0,
        "amount_captured": payment.captured_minor,
        "amount_refunded": payment.refunded_minor,
        "amount_refunding": payment.refunding_minor,
        "refund_status": refund_status,
        "channel_fee": payment.fee_minor if payment.captured_minor else 0,
        "merchant_coupon": payment.coupon_minor,
        "amount_arriving": arriving(payment),
        "failure": {"code": payment.failure_code, "message": payment.failure_message} if payment.failure_code else None,
        "attempt_count": payment.attempt_count,
        "won_attempt": payment.won_attempt or None,
        "created_at": rfc3339(payment.created_at),
        "expires_at": rfc3339(payment.expires_at),
        "succeeded_at": rfc3339(payment.succeeded_at) if payment.succeeded_at else None,
        "business_date": payment.business_date.isoformat() if payment.business_date else None,
    }


def arriving(payment: Payment) -> int:
    """Return what the channel pays out for a payment, refunds aside: without its fee and the merchant's own coupons."""
    return payment.captured_minor - payment.coupon_minor - payment.fee_minor if payment.captured_minor else 0


def payment_event(payment: Payment) -> dict[str, Any]:
    """Return what an event tells of a payment: what it is, how it stands, how much; fetch it for the rest.

    Nothing a payer or a merchant wrote is in it but the order's number, so events may travel where payments may not.
    """
    return {
        "object": "payment",
        "id": payment.id,
        "merchant_order_id": payment.merchant_order_id,
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "status": payment.status,
        "channel": payment.channel,
        "amount_captured": payment.captured_minor,
        "channel_fee": payment.fee_minor if payment.captured_minor else 0,
        "merchant_coupon": payment.coupon_minor,
        "amount_arriving": arriving(payment),
        "failure_code": payment.failure_code,
        "business_date": payment.business_date.isoformat() if payment.business_date else None,
    }


def attempt_payload(attempt: Attempt) -> dict[str, Any]:
    """Return one try on one channel as the merchant sees it."""
    return {
        "object": "attempt",
        "number": attempt.number,
        "channel": attempt.channel,
        "channel_account": attempt.channel_account,
        "method": attempt.method,
        "status": attempt.status,
        "amount_held": attempt.held_minor,
        "amount_captured": attempt.captured_minor,
        "channel_fee": attempt.fee_minor if attempt.captured_minor else 0,
        "merchant_coupon": attempt.coupon_minor,
        "reference": attempt.reference,
        "channel_ref": attempt.channel_ref,
        "code": attempt.code,
        "message": attempt.message,
        "created_at": rfc3339(attempt.created_at),
    }


def refund_payload(refund: Refund) -> dict[str, Any]:
    """Return a refund as everyone outside sees it."""
    return {
        "object": "refund",
        "id": refund.id,
        "payment": refund.payment_id,
        "attempt": refund.attempt_number,
        "merchant_refund_id": refund.merchant_refund_id,
        "amount": refund.amount_minor,
        "currency": refund.currency,
        "status": refund.status,
        "channel": refund.channel,
        "reason": refund.reason,
        "channel_fee_returned": refund.fee_returned_minor,
        "merchant_coupon": refund.coupon_minor,
        "channel_ref": refund.channel_ref,
        "retry_count": refund.retry_count,
        "failure": {"code": refund.failure_code, "message": refund.failure_message} if refund.failure_code else None,
        "created_at": rfc3339(refund.created_at),
        "business_date": refund.business_date.isoformat() if refund.business_date else None,
    }


def refund_event(refund: Refund) -> dict[str, Any]:
    """Return what an event tells of a refund; like payment_event, nothing but numbers, states and sums."""
    return {
        "object": "refund",
        "id": refund.id,
        "payment": refund.payment_id,
        "amount": refund.amount_minor,
        "currency": refund.currency,
        "status": refund.status,
        "channel": refund.channel,
        "channel_fee_returned": refund.fee_returned_minor,
        "merchant_coupon": refund.coupon_minor,
        "failure_code": refund.failure_code,
        "business_date": refund.business_date.isoformat() if refund.business_date else None,
    }
