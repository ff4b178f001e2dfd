"""State tables of the payment's life: payment 支付单, attempt 支付尝试, refund 退款, chargeback 拒付.

One move a line: (state, event), what it becomes, and the type of the event that is published with it.
"""

from enum import StrEnum

from kernel.states import Move, StateTable


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


# Neither paid nor told to be over.
OPEN_PAYMENT = (PaymentStatus.PROCESSING, PaymentStatus.REQUIRES_ACTION, PaymentStatus.REQUIRES_CAPTURE)
UNPAID = (PaymentStatus.FAILED, PaymentStatus.CANCELED, PaymentStatus.EXPIRED)

P, PE = PaymentStatus, PaymentEvent
PAYMENT = StateTable(
    {
        (P.PROCESSING, PE.ACTION_NEEDED): Move(P.REQUIRES_ACTION, "payment.requires_action"),
        (P.PROCESSING, PE.AUTHORIZED): Move(P.REQUIRES_CAPTURE, "payment.requires_capture"),
        (P.PROCESSING, PE.CAPTURE_REFUSED): Move(P.REQUIRES_CAPTURE, "payment.requires_capture"),
        (P.PROCESSING, PE.CONFIRMED): Move(P.SUCCEEDED, "payment.succeeded"),
        (P.PROCESSING, PE.REFUSED): Move(P.FAILED, "payment.failed"),
        (P.PROCESSING, PE.CLOSED): Move(P.CANCELED, "payment.canceled"),
        (P.PROCESSING, PE.TIMED_OUT): Move(P.EXPIRED, "payment.expired"),
        (P.REQUIRES_ACTION, PE.ACTION_NEEDED): Move(P.REQUIRES_ACTION, "payment.requires_action"),
        (P.REQUIRES_ACTION, PE.AUTHORIZED): Move(P.REQUIRES_CAPTURE, "payment.requires_capture"),
        (P.REQUIRES_ACTION, PE.CONFIRMED): Move(P.SUCCEEDED, "payment.succeeded"),
        (P.REQUIRES_ACTION, PE.REFUSED): Move(P.FAILED, "payment.failed"),
        (P.REQUIRES_ACTION, PE.CLOSED): Move(P.CANCELED, "payment.canceled"),
        (P.REQUIRES_ACTION, PE.TIMED_OUT): Move(P.EXPIRED, "payment.expired"),
        (P.REQUIRES_CAPTURE, PE.AUTHORIZED): Move(P.REQUIRES_CAPTURE),
        (P.REQUIRES_CAPTURE, PE.CAPTURE_REQUESTED): Move(P.PROCESSING, "payment.capturing"),
        (P.REQUIRES_CAPTURE, PE.CONFIRMED): Move(P.SUCCEEDED, "payment.succeeded"),
        (P.REQUIRES_CAPTURE, PE.REFUSED): Move(P.FAILED, "payment.failed"),
        (P.REQUIRES_CAPTURE, PE.CLOSED): Move(P.CANCELED, "payment.canceled"),
    },
    begins={P.PROCESSING: "payment.created", P.REQUIRES_ACTION: "payment.created"},
    path=[(P.PROCESSING, PE.ACTION_NEEDED), (P.REQUIRES_ACTION, PE.CONFIRMED)],
)


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

A, AE = AttemptStatus, AttemptEvent
ATTEMPT = StateTable(
    {
        (A.CREATED, AE.PENDING): Move(A.PENDING),
        (A.CREATED, AE.UNKNOWN): Move(A.UNKNOWN),
        (A.CREATED, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.CREATED, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.CREATED, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.CREATED, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.CREATED, AE.REFUSED): Move(A.REFUSED),
        (A.CREATED, AE.CLOSED): Move(A.CLOSED),
        (A.CREATED, AE.FAILED_OVER): Move(A.FAILED_OVER),
        (A.PENDING, AE.PENDING): Move(A.PENDING),
        (A.PENDING, AE.UNKNOWN): Move(A.PENDING),  # what was once accepted stays accepted
        (A.PENDING, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.PENDING, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.PENDING, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.PENDING, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.PENDING, AE.REFUSED): Move(A.REFUSED),
        (A.PENDING, AE.CLOSED): Move(A.CLOSED),
        (A.PENDING, AE.FAILED_OVER): Move(A.FAILED_OVER),
        (A.UNKNOWN, AE.PENDING): Move(A.PENDING),
        (A.UNKNOWN, AE.UNKNOWN): Move(A.UNKNOWN),
        (A.UNKNOWN, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.UNKNOWN, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.UNKNOWN, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.UNKNOWN, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.UNKNOWN, AE.REFUSED): Move(A.REFUSED),
        (A.UNKNOWN, AE.CLOSED): Move(A.CLOSED),
        (A.UNKNOWN, AE.FAILED_OVER): Move(A.FAILED_OVER),
        (A.AUTHORIZED, AE.PENDING): Move(A.AUTHORIZED),  # what is reserved stays reserved
        (A.AUTHORIZED, AE.UNKNOWN): Move(A.AUTHORIZED),
        (A.AUTHORIZED, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.AUTHORIZED, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.AUTHORIZED, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.AUTHORIZED, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.AUTHORIZED, AE.REFUSED): Move(A.REFUSED),
        (A.AUTHORIZED, AE.CLOSED): Move(A.CLOSED),
        # What comes after the end is stale and changes nothing.
        (A.CONFIRMED, AE.PENDING): Move(A.CONFIRMED),
        (A.CONFIRMED, AE.UNKNOWN): Move(A.CONFIRMED),
        (A.CONFIRMED, AE.AUTHORIZED): Move(A.CONFIRMED),
        # But the channel outranks us: its confirmation, and money it reserves after all, count after any end of ours.
        (A.REFUSED, AE.PENDING): Move(A.REFUSED),
        (A.REFUSED, AE.UNKNOWN): Move(A.REFUSED),
        (A.REFUSED, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.REFUSED, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.REFUSED, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.REFUSED, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.REFUSED, AE.REFUSED): Move(A.REFUSED),
        (A.REFUSED, AE.CLOSED): Move(A.REFUSED),
        (A.CLOSED, AE.PENDING): Move(A.CLOSED),
        (A.CLOSED, AE.UNKNOWN): Move(A.CLOSED),
        (A.CLOSED, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.CLOSED, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.CLOSED, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.CLOSED, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.CLOSED, AE.REFUSED): Move(A.CLOSED),
        (A.CLOSED, AE.CLOSED): Move(A.CLOSED),
        (A.FAILED_OVER, AE.PENDING): Move(A.FAILED_OVER),
        (A.FAILED_OVER, AE.UNKNOWN): Move(A.FAILED_OVER),
        (A.FAILED_OVER, AE.AUTHORIZED): Move(A.AUTHORIZED),
        (A.FAILED_OVER, AE.CONFIRMED): Move(A.CONFIRMED),
        (A.FAILED_OVER, AE.CONFIRMED_LATE): Move(A.LATE, "payment.late"),
        (A.FAILED_OVER, AE.CONFIRMED_AGAIN): Move(A.OVERPAID, "payment.overpaid"),
        (A.FAILED_OVER, AE.REFUSED): Move(A.FAILED_OVER),
        (A.FAILED_OVER, AE.CLOSED): Move(A.FAILED_OVER),
        # What is booked is booked: whatever else comes is stale.
        (A.LATE, AE.PENDING): Move(A.LATE),
        (A.LATE, AE.UNKNOWN): Move(A.LATE),
        (A.LATE, AE.AUTHORIZED): Move(A.LATE),
        (A.LATE, AE.REFUSED): Move(A.LATE),
        (A.LATE, AE.CLOSED): Move(A.LATE),
        (A.OVERPAID, AE.PENDING): Move(A.OVERPAID),
        (A.OVERPAID, AE.UNKNOWN): Move(A.OVERPAID),
        (A.OVERPAID, AE.AUTHORIZED): Move(A.OVERPAID),
        (A.OVERPAID, AE.REFUSED): Move(A.OVERPAID),
        (A.OVERPAID, AE.CLOSED): Move(A.OVERPAID),
    },
    begins={A.CREATED: None},
    path=[(A.CREATED, AE.PENDING), (A.PENDING, AE.CONFIRMED)],
)


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


R, RE = RefundStatus, RefundEvent
REFUND = StateTable(
    {
        (R.PROCESSING, RE.PENDING): Move(R.PROCESSING),
        (R.PROCESSING, RE.UNKNOWN): Move(R.PROCESSING),
        (R.PROCESSING, RE.CONFIRMED): Move(R.SUCCEEDED, "refund.succeeded"),
        (R.PROCESSING, RE.REFUSED): Move(R.FAILED, "refund.failed"),
        (R.SUCCEEDED, RE.PENDING): Move(R.SUCCEEDED),
        (R.SUCCEEDED, RE.UNKNOWN): Move(R.SUCCEEDED),
        (R.SUCCEEDED, RE.CONFIRMED): Move(R.SUCCEEDED),
        (R.SUCCEEDED, RE.RETURNED): Move(R.FAILED, "refund.failed"),
        (R.FAILED, RE.PENDING): Move(R.FAILED),
        (R.FAILED, RE.UNKNOWN): Move(R.FAILED),
        (R.FAILED, RE.CONFIRMED): Move(R.SUCCEEDED, "refund.succeeded"),  # paid after all: the channel outranks us
        (R.FAILED, RE.REFUSED): Move(R.FAILED),
        (R.FAILED, RE.RETRIED): Move(R.PROCESSING, "refund.retried"),
    },
    begins={R.PROCESSING: "refund.created"},
    path=[(R.PROCESSING, RE.CONFIRMED)],
)


class ChargebackStatus(StrEnum):
    OPENED = "opened"  # the channel has taken the money, and the merchant may show evidence
    WON = "won"  # the money is back
    LOST = "lost"  # the payer keeps it


class ChargebackEvent(StrEnum):
    OPENED = "opened"
    WON = "won"
    LOST = "lost"


C, CE = ChargebackStatus, ChargebackEvent
CHARGEBACK = StateTable(
    {
        (C.OPENED, CE.OPENED): Move(C.OPENED),
        (C.OPENED, CE.WON): Move(C.WON, "chargeback.won"),
        (C.OPENED, CE.LOST): Move(C.LOST, "chargeback.lost"),
        (C.LOST, CE.OPENED): Move(C.LOST),  # what was true before
        (C.LOST, CE.LOST): Move(C.LOST),
        (C.LOST, CE.WON): Move(C.WON, "chargeback.won"),  # overturned: the channel has given the money back after all
        (C.WON, CE.OPENED): Move(C.WON),
        (C.WON, CE.WON): Move(C.WON),
    },
    begins={C.OPENED: "chargeback.opened"},
    path=[(C.OPENED, CE.WON)],
)
