"""State tables of the payment's life: payment 支付单, attempt 支付尝试, refund 退款."""

from enum import StrEnum


class Payment(StrEnum):
    PROCESSING = "processing"  # a channel has it, or is about to
    REQUIRES_ACTION = "requires_action"  # the payer has something to do, see next_action
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class PaymentEvent(StrEnum):
    ACTION_NEEDED = "action_needed"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"
    TIMED_OUT = "timed_out"


PAYMENT = {
    (Payment.PROCESSING, PaymentEvent.ACTION_NEEDED): Payment.REQUIRES_ACTION,
    (Payment.PROCESSING, PaymentEvent.CONFIRMED): Payment.SUCCEEDED,
    (Payment.PROCESSING, PaymentEvent.REFUSED): Payment.FAILED,
    (Payment.PROCESSING, PaymentEvent.CLOSED): Payment.CANCELED,
    (Payment.PROCESSING, PaymentEvent.TIMED_OUT): Payment.EXPIRED,
    (Payment.REQUIRES_ACTION, PaymentEvent.ACTION_NEEDED): Payment.REQUIRES_ACTION,
    (Payment.REQUIRES_ACTION, PaymentEvent.CONFIRMED): Payment.SUCCEEDED,
    (Payment.REQUIRES_ACTION, PaymentEvent.REFUSED): Payment.FAILED,
    (Payment.REQUIRES_ACTION, PaymentEvent.CLOSED): Payment.CANCELED,
    (Payment.REQUIRES_ACTION, PaymentEvent.TIMED_OUT): Payment.EXPIRED,
}


class Attempt(StrEnum):
    CREATED = "created"  # committed before the first byte left for the channel
    PENDING = "pending"
    UNKNOWN = "unknown"  # no answer, or none to trust: query, never send again under another number
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"
    LATE = "late"  # 迟到: confirmed after it was closed; the channel outranks us, so it is booked and refunded


class AttemptEvent(StrEnum):
    PENDING = "pending"
    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"


_OPEN = (Attempt.CREATED, Attempt.PENDING, Attempt.UNKNOWN)

ATTEMPT = {
    **{(state, AttemptEvent.PENDING): Attempt.PENDING for state in _OPEN},
    (Attempt.CREATED, AttemptEvent.UNKNOWN): Attempt.UNKNOWN,
    (Attempt.PENDING, AttemptEvent.UNKNOWN): Attempt.PENDING,  # what was once accepted stays accepted
    (Attempt.UNKNOWN, AttemptEvent.UNKNOWN): Attempt.UNKNOWN,
    **{(state, AttemptEvent.CONFIRMED): Attempt.CONFIRMED for state in _OPEN},
    **{(state, AttemptEvent.REFUSED): Attempt.REFUSED for state in _OPEN},
    **{(state, AttemptEvent.CLOSED): Attempt.CLOSED for state in _OPEN},
    # What comes after the end: repetitions change nothing, a late confirmation outranks us, the rest is stale.
    (Attempt.CONFIRMED, AttemptEvent.CONFIRMED): Attempt.CONFIRMED,
    (Attempt.CONFIRMED, AttemptEvent.PENDING): Attempt.CONFIRMED,
    (Attempt.CONFIRMED, AttemptEvent.UNKNOWN): Attempt.CONFIRMED,
    (Attempt.LATE, AttemptEvent.CONFIRMED): Attempt.LATE,
    (Attempt.LATE, AttemptEvent.PENDING): Attempt.LATE,
    (Attempt.LATE, AttemptEvent.UNKNOWN): Attempt.LATE,
    (Attempt.LATE, AttemptEvent.CLOSED): Attempt.LATE,
    (Attempt.LATE, AttemptEvent.REFUSED): Attempt.LATE,
    (Attempt.REFUSED, AttemptEvent.CONFIRMED): Attempt.LATE,
    (Attempt.REFUSED, AttemptEvent.REFUSED): Attempt.REFUSED,
    (Attempt.REFUSED, AttemptEvent.CLOSED): Attempt.REFUSED,
    (Attempt.REFUSED, AttemptEvent.PENDING): Attempt.REFUSED,
    (Attempt.REFUSED, AttemptEvent.UNKNOWN): Attempt.REFUSED,
    (Attempt.CLOSED, AttemptEvent.CONFIRMED): Attempt.LATE,
    (Attempt.CLOSED, AttemptEvent.CLOSED): Attempt.CLOSED,
    (Attempt.CLOSED, AttemptEvent.REFUSED): Attempt.CLOSED,
    (Attempt.CLOSED, AttemptEvent.PENDING): Attempt.CLOSED,
    (Attempt.CLOSED, AttemptEvent.UNKNOWN): Attempt.CLOSED,
}


class Refund(StrEnum):
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundEvent(StrEnum):
    PENDING = "pending"
    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REFUSED = "refused"


REFUND = {
    (Refund.PROCESSING, RefundEvent.PENDING): Refund.PROCESSING,
    (Refund.PROCESSING, RefundEvent.UNKNOWN): Refund.PROCESSING,
    (Refund.PROCESSING, RefundEvent.CONFIRMED): Refund.SUCCEEDED,
    (Refund.PROCESSING, RefundEvent.REFUSED): Refund.FAILED,
    (Refund.SUCCEEDED, RefundEvent.CONFIRMED): Refund.SUCCEEDED,
    (Refund.SUCCEEDED, RefundEvent.PENDING): Refund.SUCCEEDED,
    (Refund.SUCCEEDED, RefundEvent.UNKNOWN): Refund.SUCCEEDED,
    (Refund.FAILED, RefundEvent.REFUSED): Refund.FAILED,
    (Refund.FAILED, RefundEvent.PENDING): Refund.FAILED,
    (Refund.FAILED, RefundEvent.UNKNOWN): Refund.FAILED,
}
