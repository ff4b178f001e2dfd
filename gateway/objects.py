"""Payments, attempts and refunds as the API, the events and the command line show them."""

from typing import Annotated, Any, Literal, NotRequired

import orjson
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from gateway import states
from gateway.tables import Attempt, Chargeback, Payment, Refund
from kernel.answers import ChargebackId, Currency, Day, FailureOut, Minor, PaymentId, RefundId, Time, words
from kernel.clock import rfc3339
from streams.catalogue import EventType

METHODS = ("qr", "barcode", "jsapi", "h5", "app", "page", "card", "transfer", "cashier")


@with_config(ConfigDict(extra="allow"))
class NextActionOut(TypedDict):
    """What the payer has to do; what else is in it is the rail's and told on the rail's page in docs/rails/."""

    type: str
    channel: NotRequired[Annotated[str, Field(description="whose wallet it is for")]]
    code: NotRequired[Annotated[str, Field(description="qr: the text to show as a QR code")]]
    url: NotRequired[Annotated[str, Field(description="redirect, form, cashier: where the browser goes")]]
    expires_at: NotRequired[
        Annotated[Time, Field(description="where it can be used for less long than the payment: until then")]
    ]


class PaymentOut(TypedDict):
    """A payment 支付单."""

    object: Literal["payment"]
    id: PaymentId
    merchant_order_id: Annotated[str, Field(description="yours")]
    amount: Minor
    currency: Currency
    status: Annotated[str, words(states.PaymentStatus), Field(description="every move is in docs/states.md")]
    method: Annotated[str, words(METHODS), Field(description="the `type` of the method it was made with")]
    channel: Annotated[str | None, Field(description="the rail of the attempt that has its money, else of the last")]
    capture: Annotated[str, words(("automatic", "manual"))]
    description: str
    metadata: dict[str, str]
    next_action: NextActionOut | None
    amount_capturable: Annotated[Minor, Field(description="while it is requires_capture, else 0")]
    amount_captured: Annotated[
        Minor,
        Field(description="not 0 on one that is not `succeeded`: it was paid after its end and goes back by itself"),
    ]
    amount_refunded: Minor
    amount_refunding: Annotated[Minor, Field(description="on its way back")]
    amount_charged_back: Annotated[
        Minor,
        Field(description="what chargebacks that are open or lost have taken of it: `GET /v1/chargebacks?payment=`"),
    ]
    refund_status: Annotated[str, words(("none", "partial", "full")), Field(description="of what was captured")]
    channel_fee: Annotated[Minor, Field(description="what the channel keeps, once captured")]
    merchant_coupon: Annotated[Minor, Field(description="of amount_captured, what the merchant's own coupons paid")]
    amount_arriving: Annotated[
        Minor,
        Field(description="what the channel pays out, refunds aside: captured less merchant_coupon less channel_fee"),
    ]
    failure: FailureOut | None
    attempt_count: int
    won_attempt: Annotated[int | None, Field(description="the number of the attempt that has its money")]
    created_at: Time
    expires_at: Time
    succeeded_at: Annotated[Time | None, Field(description="by the channel's clock")]
    business_date: Annotated[Day | None, Field(description="of the capture 账务日期")]


class AttemptOut(TypedDict):
    """One try of a payment on one channel account 支付尝试."""

    object: Literal["attempt"]
    number: int
    channel: str
    channel_account: str
    method: str
    status: Annotated[str, words(states.AttemptStatus)]
    amount_authorized: Minor
    amount_captured: Minor
    channel_fee: Minor
    merchant_coupon: Minor
    reference: Annotated[str, Field(description="our number at the channel")]
    channel_ref: Annotated[str | None, Field(description="the channel's number")]
    code: Annotated[str | None, Field(description="the channel's own, where it said no or nothing")]
    message: str | None
    created_at: Time


class RefundOut(TypedDict):
    """A refund 退款 of a payment, in full or in part."""

    object: Literal["refund"]
    id: RefundId
    payment: PaymentId
    attempt: Annotated[int, Field(description="the number of the attempt whose money goes back")]
    merchant_refund_id: str | None
    amount: Minor
    currency: Currency
    status: Annotated[
        str, words(states.RefundStatus), Field(description="one that succeeded by a card may fail days later")
    ]
    channel: Annotated[str | None, Field(description="the rail it goes back by")]
    reason: str
    channel_fee_returned: Annotated[Minor, Field(description="what the channel gives back of its fee")]
    merchant_coupon: Annotated[Minor, Field(description="of amount, what the merchant's own coupons bear")]
    channel_ref: Annotated[str | None, Field(description="the channel's number")]
    retry_count: Annotated[int, Field(description="how often it was started again")]
    failure: FailureOut | None
    created_at: Time
    business_date: Annotated[
        Day | None, Field(description="once it has succeeded: the date on which it was asked for, or started again")
    ]


class ChargebackOut(TypedDict):
    """A chargeback 拒付: money of a payment that its channel took back for the payer."""

    object: Literal["chargeback"]
    id: ChargebackId
    payment: PaymentId
    attempt: Annotated[int, Field(description="the number of the attempt whose money it is")]
    amount: Annotated[Minor, Field(description="what the channel took; it may be less than the payment")]
    currency: Currency
    amount_borne: Annotated[
        Minor, Field(description="of amount, what the payment bears; the rest had gone back to the payer before")
    ]
    status: Annotated[str, words(states.ChargebackStatus)]
    channel: str
    channel_account: str
    channel_ref: Annotated[str, Field(description="the channel's number of it")]
    reason: Annotated[str, Field(description="the channel's own code")]
    chargeback_fee: Annotated[Minor, Field(description="what the channel keeps for it; no payee bears it")]
    chargeback_fee_returned: Annotated[Minor, Field(description="of that, what it gave back when it was won")]
    channel_fee_returned: Annotated[Minor, Field(description="of the payment's fee, what the channel gives back")]
    merchant_coupon: Annotated[Minor, Field(description="of amount_borne, what the merchant's own coupons bear")]
    evidence_due_at: Annotated[Time | None, Field(description="until when the channel takes evidence")]
    recorded_by_hand: Annotated[bool, Field(description="the operator recorded it: the channel tells of none")]
    created_at: Time
    business_date: Annotated[Day, Field(description="on which the channel took the money")]
    ended_date: Annotated[Day | None, Field(description="on which it was won or lost")]


class PaymentShort(TypedDict):
    """What an event tells of a payment."""

    object: Literal["payment"]
    id: PaymentId
    merchant_order_id: str
    amount: Minor
    currency: Currency
    status: Annotated[str, words(states.PaymentStatus)]
    channel: str | None
    amount_captured: Minor
    channel_fee: Minor
    merchant_coupon: Minor
    amount_arriving: Minor
    failure_code: str | None
    business_date: Day | None
    paid_by: Annotated[str | None, Field(description="how it was paid; only of payment.succeeded and payment.late")]


class PaymentSurplus(PaymentShort):
    """What an event tells of a payment that was paid once more."""

    attempt: Annotated[int, Field(description="the number of the attempt that was paid too")]


class RefundShort(TypedDict):
    """What an event tells of a refund."""

    object: Literal["refund"]
    id: RefundId
    payment: PaymentId
    amount: Minor
    currency: Currency
    status: Annotated[str, words(states.RefundStatus)]
    channel: str | None
    channel_fee_returned: Minor
    merchant_coupon: Minor
    failure_code: str | None
    business_date: Day | None


class ChargebackShort(TypedDict):
    """What an event tells of a chargeback."""

    object: Literal["chargeback"]
    id: ChargebackId
    payment: PaymentId
    amount: Minor
    currency: Currency
    amount_borne: Minor
    status: Annotated[str, words(states.ChargebackStatus)]
    channel: str
    reason: str
    chargeback_fee: Minor
    chargeback_fee_returned: Minor
    evidence_due_at: Time | None
    business_date: Day
    ended_date: Day | None


EVENTS = {
    "payment.created": EventType("a payment was accepted and is about to go to a channel", PaymentShort),
    "payment.requires_action": EventType("the payer has something to do, see next_action", PaymentShort),
    "payment.requires_capture": EventType("the payer's money is reserved: capture it or void it", PaymentShort),
    "payment.capturing": EventType("the reserved money is asked to be captured, all or a part", PaymentShort),
    "payment.succeeded": EventType("the money was captured", PaymentShort, ("splitting",)),
    "payment.failed": EventType("the channel refused it, finally", PaymentShort),
    "payment.canceled": EventType("closed before anyone paid", PaymentShort),
    "payment.expired": EventType("nobody paid in time", PaymentShort),
    "payment.late": EventType(
        "paid after it had been closed; the money was booked and goes back by itself", PaymentShort
    ),
    "payment.overpaid": EventType(
        "another attempt was paid too; the money was booked and goes back by itself", PaymentSurplus
    ),
    "refund.created": EventType("a refund was accepted and its money reserved", RefundShort),
    "refund.succeeded": EventType("the payer has the money back", RefundShort),
    "refund.failed": EventType(
        "the channel refused it, or it came back after it had succeeded; the money is where it was", RefundShort
    ),
    "chargeback.opened": EventType(
        "the channel took money of a payment back for the payer; the payees gave their shares back", ChargebackShort
    ),
    "chargeback.won": EventType(
        "the channel gave that money back; the payees have their shares again", ChargebackShort
    ),
    "chargeback.lost": EventType("the payer keeps that money", ChargebackShort),
    "refund.retried": EventType("a failed refund was started again, under a new number at the channel", RefundShort),
}


def kept(text: str) -> Any:
    """Return JSON as it is kept, to be put into an answer as it stands."""
    return orjson.Fragment(text)


def _failure(code: str | None, message: str | None) -> FailureOut | None:
    return {"code": code, "message": message} if code else None


def payment_payload(payment: Payment) -> PaymentOut:
    """Return a payment as everyone outside sees it. Amounts in minor units, times RFC 3339 UTC."""
    if payment.refunded_minor == 0:
        refund_status = "none"
    else:
        refund_status = "full" if payment.refunded_minor == payment.captured_minor else "partial"
    held = payment.status == states.PaymentStatus.REQUIRES_CAPTURE
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
        "metadata": kept(payment.metadata) if payment.metadata else {},
        "next_action": kept(payment.next_action) if payment.next_action else None,
        "amount_capturable": payment.amount_minor if held else 0,
        "amount_captured": payment.captured_minor,
        "amount_refunded": payment.refunded_minor,
        "amount_refunding": payment.refunding_minor,
        "amount_charged_back": payment.charged_back_minor,
        "refund_status": refund_status,
        "channel_fee": payment.fee_minor if payment.captured_minor else 0,
        "merchant_coupon": payment.coupon_minor,
        "amount_arriving": arriving(payment),
        "failure": _failure(payment.failure_code, payment.failure_message),
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


def payment_event(payment: Payment, paid_by: str | None = None) -> PaymentShort:
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
        "paid_by": paid_by,
    }


def attempt_payload(attempt: Attempt) -> AttemptOut:
    """Return one try on one channel as the merchant sees it."""
    return {
        "object": "attempt",
        "number": attempt.number,
        "channel": attempt.channel,
        "channel_account": attempt.channel_account,
        "method": attempt.method,
        "status": attempt.status,
        "amount_authorized": attempt.authorized_minor,
        "amount_captured": attempt.captured_minor,
        "channel_fee": attempt.fee_minor if attempt.captured_minor else 0,
        "merchant_coupon": attempt.coupon_minor,
        "reference": attempt.reference,
        "channel_ref": attempt.channel_ref,
        "code": attempt.code,
        "message": attempt.message,
        "created_at": rfc3339(attempt.created_at),
    }


def refund_payload(refund: Refund) -> RefundOut:
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
        "failure": _failure(refund.failure_code, refund.failure_message),
        "created_at": rfc3339(refund.created_at),
        "business_date": refund.business_date.isoformat() if refund.business_date else None,
    }


def refund_event(refund: Refund) -> RefundShort:
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


def chargeback_payload(row: Chargeback) -> ChargebackOut:
    """Return a chargeback as everyone outside sees it."""
    return {
        "object": "chargeback",
        "id": row.id,
        "payment": row.payment_id,
        "attempt": row.attempt_number,
        "amount": row.amount_minor,
        "currency": row.currency,
        "amount_borne": row.covered_minor,
        "status": row.status,
        "channel": row.channel,
        "channel_account": row.channel_account,
        "channel_ref": row.channel_ref,
        "reason": row.reason,
        "chargeback_fee": row.fee_minor,
        "chargeback_fee_returned": row.fee_back_minor,
        "channel_fee_returned": row.fee_returned_minor,
        "merchant_coupon": row.coupon_minor,
        "evidence_due_at": rfc3339(row.evidence_due_at) if row.evidence_due_at else None,
        "recorded_by_hand": row.recorded_by is not None,
        "created_at": rfc3339(row.created_at),
        "business_date": row.business_date.isoformat(),
        "ended_date": row.ended_date.isoformat() if row.ended_date else None,
    }


def chargeback_event(row: Chargeback) -> ChargebackShort:
    """Return what an event tells of a chargeback; like payment_event, nothing but numbers, states and sums."""
    return {
        "object": "chargeback",
        "id": row.id,
        "payment": row.payment_id,
        "amount": row.amount_minor,
        "currency": row.currency,
        "amount_borne": row.covered_minor,
        "status": row.status,
        "channel": row.channel,
        "reason": row.reason,
        "chargeback_fee": row.fee_minor,
        "chargeback_fee_returned": row.fee_back_minor,
        "evidence_due_at": rfc3339(row.evidence_due_at) if row.evidence_due_at else None,
        "business_date": row.business_date.isoformat(),
        "ended_date": row.ended_date.isoformat() if row.ended_date else None,
    }
