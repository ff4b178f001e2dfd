"""RecordRefundOutcome: the one place where what a channel said of a refund moves its money."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import cases
import ledger
from channels.contract import Confirmed, Outcome, Pending, Refused, Unknown
from gateway import states
from gateway.payments import unfinished, unwanted
from gateway.payments.belief import Answers, believed, in_time
from gateway.payments.refund_endings import came_back, failed, succeeded
from gateway.payments.refund_holds import (
    attempt_to_refund,
    not_settled_outside,
    refund_needs,
    reserve,
    reserve_overpaid,
)
from gateway.payments.refund_sums import count
from gateway.payments.schedule import next_refund_query, next_retry
from gateway.tables import ATTEMPTS, PAYMENTS, REFUND_RETURNS, REFUNDS, Attempt, Payment, Refund
from kernel.clock import business_date
from kernel.errors import Broken, Conflict, Rejected
from kernel.money import Money
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts
from ledger.posting import HOLDS

MOST_QUESTIONS_AFTER = 7  # about a number that was under way when another of the refund's turned out to be paid


class CannotBeBorne(Conflict):
    """A channel has paid a refund that had failed, and nothing of its payment is left to bear it: for suspense."""


@dataclass(frozen=True, slots=True)
class RecordRefundOutcome:
    """Record what a channel said about a refund, and move its money accordingly; repeating it changes nothing.

    scale: see schedule.query_wait. retry_count: which of the refund's numbers the channel spoke of. comes_back: the
    rail is one on which a refund that succeeded may come back days after; its no is then that, and else a
    contradiction. answers: what the outcome is the answer to; a refused message ends nothing while another of the same
    number may have reached the channel. in_suspense: nothing bears what the channel has paid, see CannotBeBorne. The
    channel outranks us: what it has paid after a refund had failed is booked, and what it has paid under a second
    number as well, for a person to decide. Returns the refund. Raises NotFound, Broken (amount_differs,
    channel_contradicts_itself), CannotBeBorne.
    """

    book: int
    refund_id: str
    outcome: Outcome
    scale: float
    retry_count: int = 0
    comes_back: bool = False
    answers: Answers = Answers.QUESTION
    in_suspense: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield REFUNDS, (self.book, self.refund_id)
        if work.knows(REFUNDS, (self.book, self.refund_id)):
            refund = work.find(REFUNDS, (self.book, self.refund_id))
            if refund is not None:
                yield REFUND_RETURNS, (self.book, self.refund_id, self.retry_count)
                yield from cases.needs(self.book, unwanted.CAME_BACK, self.refund_id)
                yield from unfinished.refund_needs(refund)
                yield HOLDS, (self.book, f"{refund.posting}:refund")
                yield from refund_needs(work, self.book, refund.payment_id, refund.attempt_number)
                if isinstance(self.outcome, Confirmed):
                    yield ledger.ACCOUNTS, (self.book, accounts.suspense(refund.currency))
                    yield from cases.needs(self.book, "refund_paid_twice", refund.id)

    def apply(self, work: Work) -> Refund:
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        if work.find(REFUND_RETURNS, (self.book, self.refund_id, self.retry_count)) is not None:
            return refund  # this number succeeded and came back; what else is told of it was true before
        of_present = self.retry_count == refund.retry_count
        outcome = in_time(self.outcome, work.now)
        outcome = believed(outcome, self.answers, alone=of_present and refund.sent_count == 1)
        if isinstance(outcome, Confirmed):
            return self._confirmed(work, refund, outcome)
        match outcome:
            case Pending():
                event = states.RefundEvent.PENDING
            case Refused():
                event = states.RefundEvent.REFUSED
            case _:
                event = states.RefundEvent.UNKNOWN
        before = states.RefundStatus(refund.status)
        paid = before is states.RefundStatus.SUCCEEDED and refund.was_paid(self.retry_count)
        if paid and of_present and self.comes_back and isinstance(outcome, Refused):
            return came_back(work, refund, outcome)
        if not of_present or (before is states.RefundStatus.SUCCEEDED and not paid):
            return self._of_unpaid_number(work, refund, outcome)
        if (before, event) not in states.REFUND:
            raise self._contradiction(before, event, refund)
        if before is not states.RefundStatus.PROCESSING:
            return refund
        if isinstance(outcome, Refused):
            payment = work.get(PAYMENTS, (self.book, refund.payment_id))
            attempt = work.get(ATTEMPTS, (self.book, refund.payment_id, refund.attempt_number))
            over = failed(work, payment, attempt, refund, outcome)
            if unwanted.goes_back_by_itself(over, attempt):
                over = over._replace(due_at=next_retry(refund.retry_count, work.now, self.scale))
                work.put(REFUNDS, over)
                unwanted.not_given_back(work, attempt, over, f"{outcome.code} {outcome.message}")
            return over
        never_left = self.answers is Answers.MESSAGE and isinstance(outcome, Unknown) and outcome.not_sent
        noted = refund._replace(
            channel_ref=getattr(outcome, "channel_ref", None) or refund.channel_ref,
            sent_count=max(0, refund.sent_count - never_left),
            due_at=next_refund_query(refund, work.now, self.scale), updated_at=work.now,
        )  # fmt: skip
        work.put(REFUNDS, noted)
        unfinished.see_refund(work, noted, outcome)
        return noted

    def _contradiction(self, before: str, event: str, refund: Refund) -> Broken:
        return Broken(
            "channel_contradicts_itself",
            f"try {self.retry_count} of refund {refund.reference} was {before}, now the channel says {event}",
        )

    def _of_unpaid_number(self, work: Work, refund: Refund, outcome: Outcome) -> Refund:
        """Note what a channel says of a number that is not, or not any more, what the refund waits for."""
        if refund.was_paid(self.retry_count) and isinstance(outcome, Refused):
            raise self._contradiction("succeeded", "refused", refund)
        if (
            refund.status != states.RefundStatus.SUCCEEDED
            or self.retry_count != refund.retry_count
            or refund.due_at is None
        ):
            return refund
        # Another number was paid while this one was under way. Is it paid too? It is asked about for a while.
        done = isinstance(outcome, Refused) or refund.query_count >= MOST_QUESTIONS_AFTER
        due_at = None if done else next_refund_query(refund, work.now, self.scale)
        noted = refund._replace(due_at=due_at, updated_at=work.now)
        work.put(REFUNDS, noted)
        return noted

    def _confirmed(self, work: Work, refund: Refund, said: Confirmed) -> Refund:
        if (said.amount.minor, said.amount.currency) != (refund.amount_minor, refund.currency):
            raise Broken(
                "amount_differs",
                f"refund {refund.reference_of(self.retry_count)} asked for "
                f"{Money(refund.amount_minor, refund.currency)}, the channel says {said.amount}; nothing was booked",
                refund=refund.id,
            )
        if refund.was_paid(self.retry_count):
            return refund
        payment = work.get(PAYMENTS, (self.book, refund.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, refund.payment_id, refund.attempt_number))
        before = states.RefundStatus(refund.status)
        paid = refund._replace(paid_tries=self._noted_in(refund))
        if before is states.RefundStatus.SUCCEEDED or (before is states.RefundStatus.FAILED and self.in_suspense):
            return self._beyond(work, attempt, paid, said)
        assert advance(states.REFUND, before, states.RefundEvent.CONFIRMED) is states.RefundStatus.SUCCEEDED
        if before is states.RefundStatus.PROCESSING:
            # The books follow the day the money was reserved, which is the day the channel lists the refund under.
            return self._succeeded(work, payment, attempt, paid, said, paid.posting, business_date(refund.requested_at))
        return self._after_failing(work, payment, attempt, paid, said)

    def _noted_in(self, refund: Refund) -> int:
        known = refund.paid_tries
        if not known and refund.status == states.RefundStatus.SUCCEEDED:
            known = 1 << refund.retry_count  # it succeeded before this was noted
        return known | 1 << self.retry_count

    def _after_failing(self, work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed) -> Refund:
        """Book what a channel has paid though it had failed: reserved anew, and gone. Raises CannotBeBorne."""
        posting = f"{refund.posting_of(self.retry_count)}:late"
        try:
            not_settled_outside(work, payment, attempt.number)
            if refund.attempt_number == payment.won_attempt:
                attempt_to_refund(work, payment, refund.amount_minor)
                reserved = reserve(work, payment, attempt, posting, refund.amount_minor)
            else:
                reserved = reserve_overpaid(work, payment, attempt, posting)
        except (Rejected, Conflict) as refusal:
            raise CannotBeBorne("cannot_be_borne", str(refusal)) from None
        refund = refund._replace(
            fee_returned_minor=reserved.fee_returned_minor, taken_back=reserved.taken_back,
            coupon_minor=reserved.coupon_minor, failure_code=None, failure_message=None,
        )  # fmt: skip
        count(work, refund, under_way=refund.amount_minor, begun=True)
        payment = work.get(PAYMENTS, (self.book, refund.payment_id))
        return self._succeeded(work, payment, attempt, refund, said, posting, business_date(said.happened_at))

    def _beyond(self, work: Work, attempt: Attempt, refund: Refund, said: Confirmed) -> Refund:
        """Book what a channel has paid and nobody bears, in suspense, and have a person decide."""
        number, currency = refund.reference_of(self.retry_count), refund.currency
        suspense = ledger.open_account(work, self.book, accounts.suspense(currency)).name
        channel, posting = accounts.channel(attempt.channel_account, currency), refund.posting_of(self.retry_count)
        gone = Transfer(f"{posting}:beyond", "refund_beyond", suspense, channel, refund.amount_minor, currency)
        day = business_date(said.happened_at)
        ledger.post_expected(work, self.book, f"{posting}:beyond", [gone], business_date=day, fresh=True)
        refund = refund._replace(updated_at=work.now)
        if self.retry_count == refund.retry_count and refund.status == states.RefundStatus.SUCCEEDED:
            refund = refund._replace(due_at=None)
        work.put(REFUNDS, refund)
        cases.open_case(
            work, self.book, "refund_paid_twice", refund.id, amount_minor=refund.amount_minor, currency=currency,
            facts={
                "payment": refund.payment_id, "refund_is": refund.status, "paid_under": number,
                "channel_account": attempt.channel_account, "channel_ref": said.channel_ref,
            },
        )  # fmt: skip
        return refund

    def _succeeded(
        self, work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed, posting: str, day: date
    ) -> Refund:
        """Book that it was paid; what is under way under a number after that is asked about."""
        ended = succeeded(work, payment, attempt, refund, said, posting, day)
        if refund.status != states.RefundStatus.PROCESSING or self.retry_count == refund.retry_count:
            return ended
        # What is under way under its present number may be paid as well: that one is asked about for a while.
        asking = ended._replace(due_at=next_refund_query(refund, work.now, self.scale), query_count=0)
        work.put(REFUNDS, asking)
        return asking
