"""State tables of the payment's life: payment 支付单, attempt 支付尝试, refund 退款."""

from enum import StrEnum


class PaymentStatus(StrEnum):
    PROCESSING = "processing"  # a channel has it, or is about to
    REQUIRES_ACTION = "requires_action"  # the payer has something to do, see next_action
    REQUIRES_CAPTURE = "requires_capture"  # 预授权: the payer's money is reserved; capture it or void it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class PaymentEvent(StrEnum):
    ACTION_NEEDED = "action_needed"
    AUTHORIZED = "authorized"
    CAPTURE_REQUESTED = "capture_requested"
    CAPTURE_REFUSED = "capture_refused"  # the channel said no; the money is still reserved
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"
    TIMED_OUT = "timed_out"


_WAITING = (PaymentStatus.PROCESSING, PaymentStatus.REQUIRES_ACTION)
OPEN_PAYMENT = (*_WAITING, PaymentStatus.REQUIRES_CAPTURE)  # neither paid nor told to be over
UNPAID = (PaymentStatus.FAILED, PaymentStatus.CANCELED, PaymentStatus.EXPIRED)

PAYMENT = {
    **{(state, PaymentEvent.ACTION_NEEDED): PaymentStatus.REQUIRES_ACTION for state in _WAITING},
    **{(state, PaymentEvent.AUTHORIZED): PaymentStatus.REQUIRES_CAPTURE for state in OPEN_PAYMENT},
    (PaymentStatus.REQUIRES_CAPTURE, PaymentEvent.CAPTURE_REQUESTED): PaymentStatus.PROCESSING,
    (PaymentStatus.PROCESSING, PaymentEvent.CAPTURE_REFUSED): PaymentStatus.REQUIRES_CAPTURE,
    **{(state, PaymentEvent.CONFIRMED): PaymentStatus.SUCCEEDED for state in OPEN_PAYMENT},
    **{(state, PaymentEvent.REFUSED): PaymentStatus.FAILED for state in OPEN_PAYMENT},
    **{(state, PaymentEvent.CLOSED): PaymentStatus.CANCELED for state in OPEN_PAYMENT},
    **{(state, PaymentEvent.TIMED_OUT): PaymentStatus.EXPIRED for state in _WAITING},
}


class AttemptStatus(StrEnum):
    CREATED = "created"  # committed before the first byte left for the channel
    PENDING = "pending"
    UNKNOWN = "unknown"  # no answer, or none to trust: query, never send again under another number
    AUTHORIZED = "authorized"  # 预授权: the channel reserves the payer's money
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"
    FAILED_OVER = "failed_over"  # 换路: this channel provably did nothing, so another was asked
    LATE = "late"  # 迟到: confirmed after the payment had ended; the channel outranks us, so it is booked and refunded
    OVERPAID = "overpaid"  # 多付: confirmed though another attempt has paid; booked and refunded likewise


class AttemptEvent(StrEnum):
    PENDING = "pending"
    UNKNOWN = "unknown"
    AUTHORIZED = "authorized"
    CONFIRMED = "confirmed"  # and nothing else has paid the payment, which is still open
    CONFIRMED_LATE = "confirmed_late"  # the payment had ended unpaid
    CONFIRMED_AGAIN = "confirmed_again"  # another attempt has paid it
    REFUSED = "refused"
    CLOSED = "closed"
    FAILED_OVER = "failed_over"


OPEN_ATTEMPT = (AttemptStatus.CREATED, AttemptStatus.PENDING, AttemptStatus.UNKNOWN, AttemptStatus.AUTHORIZED)
PAID_ATTEMPT = (AttemptStatus.CONFIRMED, AttemptStatus.LATE, AttemptStatus.OVERPAID)
_OVER = (AttemptStatus.REFUSED, AttemptStatus.CLOSED, AttemptStatus.FAILED_OVER)
_STALE = (AttemptEvent.PENDING, AttemptEvent.UNKNOWN)

ATTEMPT = {
    **{
        (state, AttemptEvent.PENDING): AttemptStatus.PENDING
        for state in (AttemptStatus.CREATED, AttemptStatus.PENDING, AttemptStatus.UNKNOWN)
    },
    (AttemptStatus.CREATED, AttemptEvent.UNKNOWN): AttemptStatus.UNKNOWN,
    (AttemptStatus.PENDING, AttemptEvent.UNKNOWN): AttemptStatus.PENDING,  # what was once accepted stays accepted
    (AttemptStatus.UNKNOWN, AttemptEvent.UNKNOWN): AttemptStatus.UNKNOWN,
    **{(state, AttemptEvent.AUTHORIZED): AttemptStatus.AUTHORIZED for state in OPEN_ATTEMPT},
    **{
        (AttemptStatus.AUTHORIZED, event): AttemptStatus.AUTHORIZED for event in _STALE
    },  # and what is reserved, reserved
    **{(state, AttemptEvent.REFUSED): AttemptStatus.REFUSED for state in OPEN_ATTEMPT},
    **{(state, AttemptEvent.CLOSED): AttemptStatus.CLOSED for state in OPEN_ATTEMPT},
    **{
        (state, AttemptEvent.FAILED_OVER): AttemptStatus.FAILED_OVER
        for state in (AttemptStatus.CREATED, AttemptStatus.PENDING, AttemptStatus.UNKNOWN)
    },
    # The channel outranks us: its confirmation, and money it reserves after all, count after any end of ours.
    **{(state, AttemptEvent.CONFIRMED): AttemptStatus.CONFIRMED for state in (*OPEN_ATTEMPT, *_OVER)},
    **{(state, AttemptEvent.CONFIRMED_LATE): AttemptStatus.LATE for state in (*OPEN_ATTEMPT, *_OVER)},
    **{(state, AttemptEvent.CONFIRMED_AGAIN): AttemptStatus.OVERPAID for state in (*OPEN_ATTEMPT, *_OVER)},
    **{(state, AttemptEvent.AUTHORIZED): AttemptStatus.AUTHORIZED for state in _OVER},
    # What else comes after the end is stale and changes nothing.
    **{(state, event): state for state in (*_OVER, *PAID_ATTEMPT) for event in _STALE},
    **{(state, event): state for state in _OVER for event in (AttemptEvent.REFUSED, AttemptEvent.CLOSED)},
    **{(state, AttemptEvent.AUTHORIZED): state for state in PAID_ATTEMPT},
    **{
        (state, event): state
        for state in (AttemptStatus.LATE, AttemptStatus.OVERPAID)
        for event in (AttemptEvent.REFUSED, AttemptEvent.CLOSED)
    },
}


class RefundStatus(StrEnum):
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
    (RefundStatus.PROCESSING, RefundEvent.PENDING): RefundStatus.PROCESSING,
    (RefundStatus.PROCESSING, RefundEvent.UNKNOWN): RefundStatus.PROCESSING,
    (RefundStatus.PROCESSING, RefundEvent.CONFIRMED): RefundStatus.SUCCEEDED,
    (RefundStatus.PROCESSING, RefundEvent.REFUSED): RefundStatus.FAILED,
    (RefundStatus.SUCCEEDED, RefundEvent.CONFIRMED): RefundStatus.SUCCEEDED,
    (RefundStatus.SUCCEEDED, RefundEvent.PENDING): RefundStatus.SUCCEEDED,
    (RefundStatus.SUCCEEDED, RefundEvent.UNKNOWN): RefundStatus.SUCCEEDED,
    (RefundStatus.FAILED, RefundEvent.CONFIRMED): RefundStatus.SUCCEEDED,  # paid after all: the channel outranks us
    (RefundStatus.FAILED, RefundEvent.REFUSED): RefundStatus.FAILED,
    (RefundStatus.FAILED, RefundEvent.PENDING): RefundStatus.FAILED,
    (RefundStatus.FAILED, RefundEvent.UNKNOWN): RefundStatus.FAILED,
    (RefundStatus.SUCCEEDED, RefundEvent.RETURNED): RefundStatus.FAILED,
    (RefundStatus.FAILED, RefundEvent.RETRIED): RefundStatus.PROCESSING,
}
