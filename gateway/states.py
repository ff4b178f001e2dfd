"""State tables of the payment's life: payment 支付单, attempt 支付尝试, refund 退款."""

from enum import StrEnum


class Payment(StrEnum):
    PROCESSING = "processing"  # a channel has it, or is about to
    REQUIRES_ACTION = "requires_action"  # the payer has something to do, see next_action
    REQUIRES_CAPTURE = "requires_capture"  # 预授权: the payer's money is reserved; capture it or void it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class PaymentEvent(StrEnum):
    ACTION_NEEDED = "action_needed"
    HELD = "held"
    CAPTURE_ASKED = "capture_asked"
    CAPTURE_REFUSED = "capture_refused"  # the channel said no; the money is still reserved
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"
    TIMED_OUT = "timed_out"


_WAITING = (Payment.PROCESSING, Payment.REQUIRES_ACTION)
OPEN_PAYMENT = (*_WAITING, Payment.REQUIRES_CAPTURE)  # neither paid nor told to be over
UNPAID = (Payment.FAILED, Payment.CANCELED, Payment.EXPIRED)

PAYMENT = {
    **{(state, PaymentEvent.ACTION_NEEDED): Payment.REQUIRES_ACTION for state in _WAITING},
    **{(state, PaymentEvent.HELD): Payment.REQUIRES_CAPTURE for state in OPEN_PAYMENT},
    (Payment.REQUIRES_CAPTURE, PaymentEvent.CAPTURE_ASKED): Payment.PROCESSING,
    (Payment.PROCESSING, PaymentEvent.CAPTURE_REFUSED): Payment.REQUIRES_CAPTURE,
    **{(state, PaymentEvent.CONFIRMED): Payment.SUCCEEDED for state in OPEN_PAYMENT},
    **{(state, PaymentEvent.REFUSED): Payment.FAILED for state in OPEN_PAYMENT},
    **{(state, PaymentEvent.CLOSED): Payment.CANCELED for state in OPEN_PAYMENT},
    **{(state, PaymentEvent.TIMED_OUT): Payment.EXPIRED for state in _WAITING},
}


class Attempt(StrEnum):
    CREATED = "created"  # committed before the first byte left for the channel
    PENDING = "pending"
    UNKNOWN = "unknown"  # no answer, or none to trust: query, never send again under another number
    HELD = "held"  # 预授权: the channel reserves the payer's money
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"
    FAILED_OVER = "failed_over"  # 换路: this channel provably did nothing, so another was asked
    LATE = "late"  # 迟到: confirmed after the payment had ended; the channel outranks us, so it is booked and refunded
    SURPLUS = "surplus"  # 多付: confirmed though another attempt has paid; booked and refunded likewise


class AttemptEvent(StrEnum):
    PENDING = "pending"
    UNKNOWN = "unknown"
    HELD = "held"
    CONFIRMED = "confirmed"  # and nothing else has paid the payment, which is still open
    CONFIRMED_LATE = "confirmed_late"  # the payment had ended unpaid
    CONFIRMED_AGAIN = "confirmed_again"  # another attempt has paid it
    REFUSED = "refused"
    CLOSED = "closed"
    FAILED_OVER = "failed_over"


OPEN_ATTEMPT = (Attempt.CREATED, Attempt.PENDING, Attempt.UNKNOWN, Attempt.HELD)
PAID_ATTEMPT = (Attempt.CONFIRMED, Attempt.LATE, Attempt.SURPLUS)
_OVER = (Attempt.REFUSED, Attempt.CLOSED, Attempt.FAILED_OVER)
_STALE = (AttemptEvent.PENDING, AttemptEvent.UNKNOWN)

ATTEMPT = {
    **{(state, AttemptEvent.PENDING): Attempt.PENDING for state in (Attempt.CREATED, Attempt.PENDING, Attempt.UNKNOWN)},
    (Attempt.CREATED, AttemptEvent.UNKNOWN): Attempt.UNKNOWN,
    (Attempt.PENDING, AttemptEvent.UNKNOWN): Attempt.PENDING,  # what was once accepted stays accepted
    (Attempt.UNKNOWN, AttemptEvent.UNKNOWN): Attempt.UNKNOWN,
    **{(state, AttemptEvent.HELD): Attempt.HELD for state in OPEN_ATTEMPT},
    **{(Attempt.HELD, event): Attempt.HELD for event in _STALE},  # and what is reserved, reserved
    **{(state, AttemptEvent.REFUSED): Attempt.REFUSED for state in OPEN_ATTEMPT},
    **{(state, AttemptEvent.CLOSED): Attempt.CLOSED for state in OPEN_ATTEMPT},
    **{
        (state, AttemptEvent.FAILED_OVER): Attempt.FAILED_OVER
        for state in (Attempt.CREATED, Attempt.PENDING, Attempt.UNKNOWN)
    },
    # The channel outranks us: its confirmation, and money it reserves after all, count after any end of ours.
    **{(state, AttemptEvent.CONFIRMED): Attempt.CONFIRMED for state in (*OPEN_ATTEMPT, *_OVER)},
    **{(state, AttemptEvent.CONFIRMED_LATE): Attempt.LATE for state in (*OPEN_ATTEMPT, *_OVER)},
    **{(state, AttemptEvent.CONFIRMED_AGAIN): Attempt.SURPLUS for state in (*OPEN_ATTEMPT, *_OVER)},
    **{(state, AttemptEvent.HELD): Attempt.HELD for state in _OVER},
    # What else comes after the end is stale and changes nothing.
    **{(state, event): state for state in (*_OVER, *PAID_ATTEMPT) for event in _STALE},
    **{(state, event): state for state in _OVER for event in (AttemptEvent.REFUSED, AttemptEvent.CLOSED)},
    **{(state, AttemptEvent.HELD): state for state in PAID_ATTEMPT},
    **{
        (state, event): state
        for state in (Attempt.LATE, Attempt.SURPLUS)
        for event in (AttemptEvent.REFUSED, AttemptEvent.CLOSED)
    },
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
    RETURNED = "returned"  # 退款退回: the channel says, days after, that the payer's bank would not take it
    RETRIED = "retried"  # somebody asked for it again, under a new number


REFUND = {
    (Refund.PROCESSING, RefundEvent.PENDING): Refund.PROCESSING,
    (Refund.PROCESSING, RefundEvent.UNKNOWN): Refund.PROCESSING,
    (Refund.PROCESSING, RefundEvent.CONFIRMED): Refund.SUCCEEDED,
    (Refund.PROCESSING, RefundEvent.REFUSED): Refund.FAILED,
    (Refund.SUCCEEDED, RefundEvent.CONFIRMED): Refund.SUCCEEDED,
    (Refund.SUCCEEDED, RefundEvent.PENDING): Refund.SUCCEEDED,
    (Refund.SUCCEEDED, RefundEvent.UNKNOWN): Refund.SUCCEEDED,
    (Refund.FAILED, RefundEvent.CONFIRMED): Refund.SUCCEEDED,  # paid after all: the channel outranks us
    (Refund.FAILED, RefundEvent.REFUSED): Refund.FAILED,
    (Refund.FAILED, RefundEvent.PENDING): Refund.FAILED,
    (Refund.FAILED, RefundEvent.UNKNOWN): Refund.FAILED,
    (Refund.SUCCEEDED, RefundEvent.RETURNED): Refund.FAILED,
    (Refund.FAILED, RefundEvent.RETRIED): Refund.PROCESSING,
}
