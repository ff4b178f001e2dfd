"""What a person's decisions about cases of the gateway's do, in the batch that records them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import orjson

import cases
from channels.contract import Confirmed, Outcome, Refused
from gateway import states
from gateway.payments import chargebacks, unfinished, unwanted
from gateway.payments.captures import CaptureRefused
from gateway.payments.record_outcome import RecordOutcome, attempts_needs
from gateway.payments.record_refund import RecordRefundOutcome
from gateway.payments.refunds import NOT_CARRIED_OUT, again_needs, at_channel, begin_again
from gateway.tables import ATTEMPTS, REFUNDS, overpaid_refund_id
from kernel.errors import Conflict
from kernel.money import Money
from kernel.work import BOOKS, Need, Work

AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class DecideUnwanted:
    """Have the refund of unwanted money that failed begun again at once, or never by itself any more."""

    retry: bool

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield REFUNDS, (case.book, overpaid_refund_id(*_attempt_of(case)))

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (refund_under_way): what is being sent may succeed, so nothing is decided meanwhile."""
        refund = work.get(REFUNDS, (case.book, overpaid_refund_id(*_attempt_of(case))))
        if refund.status == states.RefundStatus.PROCESSING:
            raise Conflict(
                "refund_under_way", f"{refund.id} is with the channel now; decide when the channel has answered"
            )
        work.put(REFUNDS, refund._replace(due_at=work.now if self.retry else None, updated_at=work.now))


class EndUnpaid:
    """End an order that its rail is said, elsewhere, to have ended; money that comes all the same goes back."""

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield from self._put_outcome(case).needs(work)

    def apply(self, work: Work, case: cases.Case) -> None:
        self._put_outcome(case).apply(work)

    def _put_outcome(self, case: cases.Case) -> RecordOutcome:
        payment_id, number = _attempt_of(case)
        said = Refused("ended_by_person", f"{case.decided_by}: {case.note}", closed=True)
        return RecordOutcome(case.book, payment_id, number, said, AT_ONCE, overpaid_refund_id(payment_id, number))


class SendAgain:
    """Begin a refund again that had come back; the worker sends it under a new number."""

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield REFUNDS, (case.book, case.about)
        if work.knows(REFUNDS, (case.book, case.about)):
            yield from again_needs(work, work.get(REFUNDS, (case.book, case.about)))

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (refund_not_failed), and what begin_again raises."""
        refund = work.get(REFUNDS, (case.book, case.about))
        if refund.status != states.RefundStatus.FAILED:
            raise Conflict("refund_not_failed", f"{refund.id} is {refund.status}", status_now=refund.status)
        begin_again(work, refund, sent_count=0)


class NotCaptured:
    """Have money whose capture was undecided be reserved again; the worker looks at it at once."""

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        payment_id, number = _attempt_of(case)
        yield BOOKS, (case.book,)
        yield ATTEMPTS, (case.book, payment_id, number)
        yield from attempts_needs(work, case.book, payment_id)

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (payment_ended): the channel has said meanwhile what became of it."""
        payment_id, number = _attempt_of(case)
        fee = work.get(ATTEMPTS, (case.book, payment_id, number)).fee_minor
        said = f"{case.decided_by}: {case.note}"
        refused = CaptureRefused(case.book, payment_id, number, "not_captured", said, fee, AT_ONCE, by_person=True)
        payment = refused.apply(work)
        if payment.status != states.PaymentStatus.REQUIRES_CAPTURE:
            raise Conflict("payment_ended", f"{payment.id} is now {payment.status}", status_now=payment.status)


@dataclass(frozen=True, slots=True)
class EndRefund:
    """End a refund as its rail is said, elsewhere, to have: the payer has the money, or nothing was carried out.

    What the rail itself says afterwards is still heard: a payment of a refund that was ended here as not carried out is
    booked when it comes, and a no to one that was ended as carried out is a contradiction, for a person.
    """

    carried_out: bool

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield REFUNDS, (case.book, case.about)
        if work.knows(REFUNDS, (case.book, case.about)):
            yield from self._put_outcome(work, case).needs(work)

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (refund_ended) for a refund that is not under way any more, and Conflict (refund_at_channel).

        A rail that waits to be told where the money is to go has taken it from the merchant, and pays that number yet.
        """
        refund = work.get(REFUNDS, (case.book, case.about))
        if refund.status != states.RefundStatus.PROCESSING:
            raise Conflict("refund_ended", f"{refund.id} is now {refund.status}", status_now=refund.status)
        if not self.carried_out and orjson.loads(case.facts).get(unfinished.AT_RAIL):
            raise at_channel(refund.id)
        self._put_outcome(work, case).apply(work)

    def _put_outcome(self, work: Work, case: cases.Case) -> RecordRefundOutcome:
        refund = work.get(REFUNDS, (case.book, case.about))
        said: Outcome = Refused(NOT_CARRIED_OUT, f"{case.decided_by}: {case.note}")
        if self.carried_out:
            paid = Money(refund.amount_minor, refund.currency)
            said = Confirmed(refund.channel_ref or case.id, paid, work.now)
        return RecordRefundOutcome(case.book, refund.id, said, 1.0, refund.retry_count)


def _attempt_of(case: cases.Case) -> tuple[str, int]:
    payment_id, _, number = case.about.partition(":")
    return payment_id, int(number)


EFFECTS: dict[tuple[str, str], cases.Effect] = {
    (unwanted.NOT_GIVEN_BACK, "retry"): DecideUnwanted(retry=True),
    (unwanted.NOT_GIVEN_BACK, unwanted.OUTSIDE): DecideUnwanted(retry=False),
    (unwanted.NOT_GIVEN_BACK, unwanted.KEPT): DecideUnwanted(retry=False),
    (unwanted.CAME_BACK, "retry"): SendAgain(),
    (chargebacks.BEYOND, chargebacks.CHARGE): chargebacks.ChargePayment(),
    (unfinished.REFUND, "carried_out"): EndRefund(carried_out=True),
    (unfinished.REFUND, NOT_CARRIED_OUT): EndRefund(carried_out=False),
    (unfinished.HOLD, "released"): EndUnpaid(),
    (unfinished.CAPTURE, "not_captured"): NotCaptured(),
    (unfinished.CAPTURE, "released"): EndUnpaid(),
    (unfinished.ATTEMPT, "ended_unpaid"): EndUnpaid(),
}
