"""Refunds 退款: begun, sent, and begun again under a new number.

What becomes of their money is in refund_holds.py, what a channel said of them in record_refund.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cases
import splitting
import streams
from channels.contract import Capabilities
from gateway import states
from gateway.claims import Claims
from gateway.objects import refund_event
from gateway.payments import unwanted
from gateway.payments.refund_holds import (
    NewRefund,
    attempt_to_refund,
    charged_back,
    check_rail,
    first_due,
    left_to_janitor,
    must_be_captured,
    not_settled_outside,
    refund_needs,
    reserve,
    reserve_overpaid,
    start_refund,
    waits_for_shares,
)
from gateway.payments.refund_sums import count
from gateway.payments.schedule import next_retry
from gateway.tables import ATTEMPTS, CLAIMS, MAX_RETRIES, PAYMENTS, REFUNDS, Refund
from kernel.errors import Conflict, Rejected
from kernel.states import advance
from kernel.work import BOOKS, Need, Work

# Why a refund failed that a person had ended: the rail's own words are not like it.
NOT_CARRIED_OUT = "not_carried_out"


def at_channel(refund_id: str) -> Conflict:
    """Return the refusal to end, or send again, what the channel waits to be told about: it may pay that one yet."""
    return Conflict(
        "refund_at_channel",
        f"the channel has the money of {refund_id} and waits to be told, there, where it is to go: tell it; the refund "
        "succeeds once the channel says that it is done",
    )


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """Record a refund and reserve its money; the same request again returns what the first one made.

    amount_minor: None refunds all that is left. can: what the rail that was paid by can do; None where nobody had paid
    yet when that was looked up. Raises what start_refund and check_rail raise, and Conflict.
    """

    book: int
    refund_id: str
    payment_id: str
    amount_minor: int | None
    reason: str
    merchant_refund_id: str | None
    claims: Claims
    can: Capabilities | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self.claims.needs(self.book)
        yield from refund_needs(work, self.book, self.payment_id)
        yield from _earlier_needs(work, self.book, self.claims)

    def apply(self, work: Work) -> tuple[Refund, bool]:
        """Return the refund, and whether an earlier request had made it."""
        work.head(self.book)
        earlier = self.claims.earlier(work, self.book)
        if earlier is not None:
            self.claims.take(work, self.book, earlier)
            return work.get(REFUNDS, (self.book, earlier)), earlier != self.refund_id
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        must_be_captured(payment)
        amount = payment.refundable_minor if self.amount_minor is None else self.amount_minor
        if amount <= 0 and payment.charged_back_minor:
            raise charged_back(payment)
        if amount <= 0:
            raise Rejected(
                "refund_exceeds_captured",
                f"nothing of {payment.id} is left to refund",
                refundable_minor=payment.refundable_minor,
            )
        not_settled_outside(work, payment)
        if self.can is not None and amount <= payment.refundable_minor:
            check_rail(self.can, payment, amount, work.now)
        asked = NewRefund(self.refund_id, amount, self.reason, self.merchant_refund_id)
        refund = start_refund(work, payment, asked, sent_count=1, most=self.can.most_refunds if self.can else None)
        self.claims.take(work, self.book, refund.id)
        return refund, False


def _earlier_needs(work: Work, book: int, claims: Claims) -> Iterable[Need]:
    for key in claims.keys:
        if work.knows(CLAIMS, (book, key)) and (claim := work.find(CLAIMS, (book, key))) is not None:
            yield REFUNDS, (book, claim.object_id)


def again_needs(work: Work, refund: Refund) -> Iterable[Need]:
    """Name the rows that beginning a failed refund again looks at."""
    yield from refund_needs(work, refund.book, refund.payment_id, refund.attempt_number)
    yield from cases.needs(refund.book, unwanted.CAME_BACK, refund.id)


def begin_again(work: Work, refund: Refund, *, sent_count: int = 1, most: int | None = None) -> Refund:
    """Reserve a failed refund's money again, for a try under a new number.

    sent_count, most: see start_refund. Only for a caller who has just asked the rail about the number before, where it
    can be asked, and heard no more than that it was not paid. Raises what start_refund raises, Conflict
    (refund_not_failed).
    """
    if refund.paid_tries:
        raise Conflict(
            "refund_not_failed", f"the channel has paid {refund.id} after it had failed: a person decides",
            status_now=refund.status,
        )  # fmt: skip
    payment = work.get(PAYMENTS, (refund.book, refund.payment_id))
    attempt = work.get(ATTEMPTS, (refund.book, refund.payment_id, refund.attempt_number))
    if refund.retry_count >= MAX_RETRIES:
        raise Rejected("refund_limit", f"{refund.id} has been tried {MAX_RETRIES} times again; create a new refund")
    not_settled_outside(work, payment, attempt.number)
    case = work.find(cases.CASES, (refund.book, cases.case_id(refund.book, unwanted.CAME_BACK, refund.id)))
    if case is not None and case.decision == unwanted.OUTSIDE:
        raise Conflict("refund_settled_outside", f"the money of {refund.id} was returned outside the channel")
    again = refund._replace(
        status=advance(states.REFUND, states.RefundStatus(refund.status), states.RefundEvent.RETRIED).value,
        retry_count=refund.retry_count + 1,
        retried_at=work.now,
        channel_ref=None,
        failure_code=None,
        failure_message=None,
        query_count=0,
        sent_count=sent_count,
        updated_at=work.now,
        due_at=first_due(work, sent_count),
    )
    if refund.attempt_number == payment.won_attempt:
        attempt_to_refund(work, payment, refund.amount_minor, most=most)
        reserved = reserve(work, payment, attempt, again.posting, refund.amount_minor)
    else:
        reserved = reserve_overpaid(work, payment, attempt, again.posting)
    again = again._replace(
        fee_returned_minor=reserved.fee_returned_minor,
        taken_back=reserved.taken_back,
        coupon_minor=reserved.coupon_minor,
    )
    again = left_to_janitor(work, again)
    work.put(REFUNDS, again)
    count(work, again, under_way=again.amount_minor, begun=True)
    streams.publish(work, refund.book, "refund.retried", again.id, refund_event(again))
    return again


@dataclass(frozen=True, slots=True)
class RetryRefund:
    """Start a failed refund again, under a new number at the rail; the money is held again, at today's date.

    The same request again changes nothing more. Returns the refund, and whether an earlier request had restarted it.
    most: see start_refund. Raises what start_refund raises, NotFound, Conflict (refund_not_failed,
    idempotency_key_reused).
    """

    book: int
    refund_id: str
    claims: Claims
    most: int | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self.claims.needs(self.book)
        yield REFUNDS, (self.book, self.refund_id)
        yield BOOKS, (self.book,)
        if work.knows(REFUNDS, (self.book, self.refund_id)):
            refund = work.find(REFUNDS, (self.book, self.refund_id))
            if refund is not None:
                yield from again_needs(work, refund)

    def apply(self, work: Work) -> tuple[Refund, bool]:
        work.head(self.book)
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        if self.claims.earlier(work, self.book) is not None:
            return refund, True
        if refund.status != states.RefundStatus.FAILED:
            raise Conflict(
                "refund_not_failed", f"{refund.id} is {refund.status}; only a failed refund can be tried again",
                status_now=refund.status,
            )  # fmt: skip
        again = begin_again(work, refund, most=self.most)
        self.claims.take(work, self.book, refund.id)
        return again, False


@dataclass(frozen=True, slots=True)
class RetryUnwanted:
    """Begin again, by itself, the failed refund of money that was paid late or twice; once a time it is due.

    most: see start_refund. Returns the refund, or None where another worker was quicker or it is no longer to be begun.
    Raises what start_refund raises: then PutOffRetry.
    """

    book: int
    refund_id: str
    most: int | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield REFUNDS, (self.book, self.refund_id)
        if work.knows(REFUNDS, (self.book, self.refund_id)):
            refund = work.find(REFUNDS, (self.book, self.refund_id))
            if refund is not None:
                yield from again_needs(work, refund)

    def apply(self, work: Work) -> Refund | None:
        work.head(self.book)
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        if refund.status != states.RefundStatus.FAILED or refund.due_at is None or refund.due_at > work.now:
            return None
        return begin_again(work, refund, most=self.most)


@dataclass(frozen=True, slots=True)
class PutOffRetry:
    """Note that a refund that goes back by itself could not be begun again, and when it is tried next.

    scale: see schedule.query_wait.
    """

    book: int
    refund_id: str
    why: str
    scale: float

    def needs(self, work: Work) -> Iterable[Need]:
        yield from RetryUnwanted(self.book, self.refund_id).needs(work)

    def apply(self, work: Work) -> None:
        work.head(self.book)
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        if refund.status != states.RefundStatus.FAILED or refund.due_at is None:
            return
        due_at = next_retry(refund.retry_count + 1, work.now, self.scale)
        work.put(REFUNDS, refund._replace(due_at=due_at, updated_at=work.now))
        attempt = work.get(ATTEMPTS, (self.book, refund.payment_id, refund.attempt_number))
        unwanted.not_given_back(work, attempt, refund, self.why)


@dataclass(frozen=True, slots=True)
class SendRefund:
    """Note that one more message of a refund is about to leave, and return the refund; None where none is to.

    For everybody but whoever recorded it, whose first message is counted there. Nothing leaves yet where its rail is to
    fetch shares back first: then it is due again. retry_count: which of its numbers. scale: shortens waits for a
    sandbox.
    """

    book: int
    refund_id: str
    retry_count: int
    scale: float = 1.0

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        key = (self.book, self.refund_id)
        yield REFUNDS, key
        if work.knows(REFUNDS, key) and (refund := work.find(REFUNDS, key)) is not None:
            yield from splitting.refund_needs(work, self.book, refund.payment_id)

    def apply(self, work: Work) -> Refund | None:
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        if refund.status != states.RefundStatus.PROCESSING or refund.retry_count != self.retry_count:
            return None
        later = None if refund.sent_count else waits_for_shares(work, refund, self.scale)
        if later is not None:
            work.put(REFUNDS, refund._replace(due_at=later))
            return None
        refund = refund._replace(sent_count=refund.sent_count + 1)
        work.put(REFUNDS, refund)
        return refund
