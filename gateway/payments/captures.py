"""Capturing reserved money 预授权完成: what was asked is recorded before the channel hears of it.

Nothing is booked when money is reserved: it stays the payer's, and nobody owes it to the merchant, until the channel
confirms the capture. Then RecordOutcome books what was captured, with its fee, and splitting shares out that,
and no more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import splitting
from gateway import states
from gateway.claims import Claims
from gateway.payments.record_outcome import Recorded, attempts_needs, moved
from gateway.payments.schedule import FIRST_ANSWER, next_query
from gateway.tables import ATTEMPTS, PAYMENTS, Attempt, Payment
from kernel.errors import Conflict, Rejected
from kernel.states import advance
from kernel.work import Need, Work


@dataclass(frozen=True, slots=True)
class StartCapture:
    """Record that a payment's reserved money is to be captured, all or a part of it, once.

    amount_minor: at most what is reserved; the channel releases the rest. fee_minor: what the channel keeps of it.
    in_part: whether it captures less than all. Returns Recorded, and whether an earlier request had asked for it.
    Raises NotFound, Conflict (payment_not_authorized, capture_under_way, idempotency_key_reused), Rejected
    (capture_exceeds_hold, partial_capture_unsupported, split_exceeds_payment).
    """

    book: int
    payment_id: str
    amount_minor: int
    fee_minor: int
    claims: Claims
    in_part: bool = True

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self.claims.needs(self.book)
        yield from attempts_needs(work, self.book, self.payment_id)
        yield from splitting.check_needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> tuple[Recorded, bool]:
        work.head(self.book)
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        if self.claims.earlier(work, self.book) is not None:
            won = payment.won_attempt or payment.attempt_count
            return Recorded(payment, work.get(ATTEMPTS, (self.book, payment.id, won))), True
        attempt = authorized_attempt(work, payment)
        if self.amount_minor > attempt.authorized_minor:
            raise Rejected(
                "capture_exceeds_hold", f"{attempt.authorized_minor} minor units of {payment.id} are reserved",
                param="amount", authorized_minor=attempt.authorized_minor,
            )  # fmt: skip
        if self.amount_minor < attempt.authorized_minor and not self.in_part:
            raise Rejected(
                "partial_capture_unsupported", f"{attempt.channel} captures the whole of what it reserved or nothing",
                param="amount", authorized_minor=attempt.authorized_minor,
            )  # fmt: skip
        splitting.check(work, self.book, payment.id, self.amount_minor, self.fee_minor)
        attempt = attempt._replace(
            capture_minor=self.amount_minor, fee_minor=self.fee_minor, code=None, message=None, updated_at=work.now,
            due_at=work.now + FIRST_ANSWER, query_count=0, ending_at=attempt.ending_at or work.now,
        )  # fmt: skip
        work.put(ATTEMPTS, attempt)
        status = advance(states.PAYMENT, states.PaymentStatus(payment.status), states.PaymentEvent.CAPTURE_REQUESTED)
        payment = payment._replace(status=status.value, fee_minor=self.fee_minor, updated_at=work.now)
        self.claims.take(work, self.book, payment.id)
        return Recorded(moved(work, payment, "payment.capturing"), attempt), False


def authorized_attempt(work: Work, payment: Payment) -> Attempt:
    """Return the attempt whose money is reserved for a payment and not asked to be captured. Raises Conflict."""
    attempt = work.find(ATTEMPTS, (payment.book, payment.id, payment.won_attempt)) if payment.won_attempt else None
    if attempt is not None and attempt.status == states.AttemptStatus.AUTHORIZED and attempt.capture_minor:
        raise Conflict(
            "capture_under_way", f"{attempt.capture_minor} minor units of {payment.id} are already being captured",
            status_now=payment.status,
        )  # fmt: skip
    if attempt is None or payment.status != states.PaymentStatus.REQUIRES_CAPTURE:
        raise not_authorized(payment)
    return attempt


def not_authorized(payment: Payment) -> Conflict:
    """Return the refusal to capture or void a payment of which no money is reserved."""
    return Conflict(
        "payment_not_authorized",
        f"{payment.id} is {payment.status}: no money is reserved",
        status_now=payment.status,
    )


@dataclass(frozen=True, slots=True)
class StartUndo:
    """Note that a channel is about to be told to close, reverse or release an attempt. Returns the attempt.

    One that has ended meanwhile is returned as it stands, and its channel is not to be told. releases: it is reserved
    money, of which a rail may know the message by the moment of the first (UnionPay's txnTime), so every later one
    about it names the same.
    """

    book: int
    payment_id: str
    number: int
    releases: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield from attempts_needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> Attempt:
        work.head(self.book)
        attempt = work.get(ATTEMPTS, (self.book, self.payment_id, self.number))
        if attempt.status not in states.OPEN_ATTEMPT:
            return attempt
        ending_at = attempt.ending_at or work.now if self.releases else attempt.ending_at
        attempt = attempt._replace(undo_sent_at=work.now, ending_at=ending_at, updated_at=work.now)
        work.put(ATTEMPTS, attempt)
        return attempt


@dataclass(frozen=True, slots=True)
class CaptureRefused:
    """Note that the channel refused a capture and still has the money reserved, to be captured otherwise or voided.

    Not where the capture was sent before: then its first message may yet be carried out, and only the same is sent
    again, until the channel says what became of the money, or a person does (by_person). fee_minor: what the channel
    would keep of the whole. wait: see RecordOutcome. Returns the payment.
    """

    book: int
    payment_id: str
    number: int
    code: str
    message: str
    fee_minor: int
    wait: timedelta
    by_person: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield from attempts_needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> Payment:
        work.head(self.book)
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, self.payment_id, self.number))
        may = self.by_person or attempt.query_count == 0
        move = (states.PaymentStatus(payment.status), states.PaymentEvent.CAPTURE_REFUSED)
        its_own = payment.won_attempt == self.number and attempt.status == states.AttemptStatus.AUTHORIZED
        if not (its_own and attempt.capture_minor and may and move in states.PAYMENT):
            return payment
        # What is sent next has a moment of its own: a rail may take no message of another day.
        work.put(
            ATTEMPTS,
            attempt._replace(
                capture_minor=0, fee_minor=self.fee_minor, code=self.code, message=self.message[:500],
                updated_at=work.now, due_at=next_query(payment, self.wait, work.now), ending_at=None,
            ),
        )  # fmt: skip
        payment = payment._replace(
            status=advance(states.PAYMENT, *move).value, fee_minor=self.fee_minor, updated_at=work.now
        )
        return moved(work, payment, "payment.requires_capture")
