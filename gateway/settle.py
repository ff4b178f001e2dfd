"""Settle: the one place where a payment becomes final.

The channel's answer, its notice, the janitor's query and, where it must, reconciliation and operators all end here:
book locked, state table, ledger, event, one transaction. Called any number of times, in any order, with the same
outcome, the result is the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

import ledger
import splitting
import streams
from channels.contract import Confirmed, Outcome, Pending, Refused
from gateway import states
from gateway.objects import payment_event, refund_event
from gateway.tables import ATTEMPTS, PAYMENTS, REFUNDS, Attempt, Payment, Refund
from kernel.clock import business_date
from kernel.errors import Broken, Conflict, Rejected
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Step, Transfer, accounts
from ledger.posting import HOLDS
from splitting.plan import fee_returned


class EndedMeanwhile(Conflict):
    """The payment ended by another command of the same batch, so what a late confirmation needs was not loaded."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Record what a channel said about one attempt, and move its payment accordingly.

    outcome: signature and merchant already verified by the adapter; the amount is compared here.
    due_at: when to ask the channel again should it still be open. refund_id: the id a refund gets if the outcome turns
    out to be a late confirmation, whose money goes back by itself.
    Returns the payment. Raises NotFound, Broken (amount_differs, charged_twice), EndedMeanwhile: put it again.
    """

    book: int
    payment_id: str
    number: int
    outcome: Outcome
    due_at: datetime | None
    refund_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYMENTS, (self.book, self.payment_id)
        yield ATTEMPTS, (self.book, self.payment_id, self.number)
        if not isinstance(self.outcome, Confirmed):
            return
        payment_key, attempt_key = (self.book, self.payment_id), (self.book, self.payment_id, self.number)
        if not (work.knows(PAYMENTS, payment_key) and work.knows(ATTEMPTS, attempt_key)):
            return
        payment, attempt = work.find(PAYMENTS, payment_key), work.find(ATTEMPTS, attempt_key)
        if attempt is None or payment is None:
            return
        yield ledger.ACCOUNTS, (self.book, accounts.channel(attempt.channel_account, payment.currency))
        yield ledger.ACCOUNTS, (self.book, accounts.merchant(payment.currency))
        if payment.status not in _OPEN:  # a late confirmation goes back at once, so its shares matter now
            yield REFUNDS, (self.book, self.refund_id)
            yield from splitting.needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> Payment:
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, self.payment_id, self.number))
        match self.outcome:
            case Confirmed():
                return self._confirmed(work, payment, attempt, self.outcome)
            case Pending():
                return self._pending(work, payment, attempt, self.outcome)
            case Refused():
                return self._refused(work, payment, attempt, self.outcome)
            case _:
                after = advance(states.ATTEMPT, states.Attempt(attempt.status), states.AttemptEvent.UNKNOWN)
                self._note(work, attempt, after, message=self.outcome.reason[:500])
                return payment

    def _confirmed(self, work: Work, payment: Payment, attempt: Attempt, outcome: Confirmed) -> Payment:
        if (outcome.amount.minor, outcome.amount.currency) != (payment.amount_minor, payment.currency):
            raise Broken(
                "amount_differs",
                f"{attempt.reference} asked for {payment.amount_minor} {payment.currency}, the channel says "
                f"{outcome.amount.minor} {outcome.amount.currency}; nothing was booked",
                payment=payment.id,
            )
        after = advance(states.ATTEMPT, states.Attempt(attempt.status), states.AttemptEvent.CONFIRMED)
        if attempt.status == after:
            if attempt.channel_ref != outcome.channel_ref:
                raise Broken(
                    "charged_twice",
                    f"{attempt.reference} was paid as {attempt.channel_ref} and now as {outcome.channel_ref}",
                    payment=payment.id,
                )
            return payment
        day = business_date(outcome.happened_at)
        fee = payment.fee_minor
        channel = accounts.channel(attempt.channel_account, payment.currency)
        merchant = accounts.merchant(payment.currency)
        base = f"{payment.id}:{attempt.number}"
        transfers = [
            Transfer(f"{base}:captured", "payment_captured", channel, merchant, payment.amount_minor, payment.currency)
        ]
        if fee:
            transfers.append(Transfer(f"{base}:fee", "channel_fee", merchant, channel, fee, payment.currency))
        ledger.post_expected(work, self.book, base, transfers, business_date=day, fresh=True)
        self._note(work, attempt, after, channel_ref=outcome.channel_ref)
        captured = payment._replace(
            captured_minor=payment.amount_minor,
            next_action=None,
            updated_at=work.now,
            succeeded_at=outcome.happened_at,
            business_date=day,
        )
        if after is states.Attempt.CONFIRMED:
            status = advance(states.PAYMENT, states.Payment(payment.status), states.PaymentEvent.CONFIRMED)
            return _moved(work, captured._replace(status=status.value), "payment.succeeded")
        # The merchant was told it would not come; the payer gets it back without anyone asking.
        if not all(work.knows(table, key) for table, key in refund_needs(work, self.book, payment.id)):
            raise EndedMeanwhile("ended_meanwhile", f"{payment.id} ended a moment ago; what came late is settled next")
        _moved(work, captured, "payment.late")
        start_refund(
            work,
            captured,
            RefundAsked(self.refund_id, payment.amount_minor, "paid after the order had been closed", None),
            due_at=work.now,
        )
        return work.get(PAYMENTS, (self.book, payment.id))

    def _pending(self, work: Work, payment: Payment, attempt: Attempt, outcome: Pending) -> Payment:
        after = advance(states.ATTEMPT, states.Attempt(attempt.status), states.AttemptEvent.PENDING)
        self._note(work, attempt, after, channel_ref=outcome.channel_ref)
        if payment.status not in _OPEN:
            return payment
        if outcome.next_action is None:
            return payment
        action = orjson.dumps(outcome.next_action).decode()
        status = advance(states.PAYMENT, states.Payment(payment.status), states.PaymentEvent.ACTION_NEEDED)
        if (status, action) == (payment.status, payment.next_action):
            return payment
        moved = payment._replace(status=status.value, next_action=action, updated_at=work.now)
        return _moved(work, moved, "payment.requires_action")

    def _refused(self, work: Work, payment: Payment, attempt: Attempt, outcome: Refused) -> Payment:
        event = states.AttemptEvent.CLOSED if outcome.closed else states.AttemptEvent.REFUSED
        before = states.Attempt(attempt.status)
        if before is states.Attempt.CONFIRMED:
            raise Broken(
                "channel_contradicts_itself",
                f"{attempt.reference} was paid as {attempt.channel_ref}; now the channel says {outcome.code}",
                payment=payment.id,
            )
        after = advance(states.ATTEMPT, before, event)
        self._note(work, attempt, after, code=outcome.code, message=outcome.message[:500])
        if payment.status not in _OPEN:
            return payment
        if not outcome.closed:
            why = states.PaymentEvent.REFUSED
        elif payment.expires_at <= work.now or outcome is NOT_RECEIVED:
            why = states.PaymentEvent.TIMED_OUT
        else:
            why = states.PaymentEvent.CLOSED
        status = advance(states.PAYMENT, states.Payment(payment.status), why)
        moved = payment._replace(
            status=status.value,
            next_action=None,
            failure_code=outcome.code if status is states.Payment.FAILED else None,
            failure_message=outcome.message[:500] if status is states.Payment.FAILED else None,
            updated_at=work.now,
        )
        return _moved(work, moved, f"payment.{status}")

    def _note(
        self,
        work: Work,
        attempt: Attempt,
        after: states.Attempt,
        *,
        channel_ref: str | None = None,
        code: str | None = None,
        message: str | None = None,
    ) -> None:
        still_open = after in (states.Attempt.CREATED, states.Attempt.PENDING, states.Attempt.UNKNOWN)
        if after == attempt.status and not still_open:
            return
        work.put(
            ATTEMPTS,
            attempt._replace(
                status=after.value,
                channel_ref=channel_ref or attempt.channel_ref,
                code=code,
                message=message,
                updated_at=work.now,
                due_at=self.due_at if still_open else None,
            ),
        )


_OPEN = (states.Payment.PROCESSING, states.Payment.REQUIRES_ACTION)

# Not the channel's word but the end of our patience: an order that can no longer be sent, and never arrived.
# Should the channel confirm it after all, it is late, and goes back.
NOT_RECEIVED = Refused("not_received", "the channel never received it, and its time has run out", closed=True)


def _moved(work: Work, payment: Payment, event: str) -> Payment:
    work.put(PAYMENTS, payment)
    streams.publish(work, payment.book, event, payment.id, payment_event(payment))
    return payment


# ---- refunds 退款 ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RefundAsked:
    """What is to be given back of a payment."""

    id: str
    amount_minor: int
    reason: str
    merchant_refund_id: str | None


def refund_needs(work: Work, book: int, payment_id: str) -> Iterable[Need]:
    """Name the rows that starting a refund of this payment looks at."""
    yield BOOKS, (book,)
    yield PAYMENTS, (book, payment_id)
    if not work.knows(PAYMENTS, (book, payment_id)):
        return
    payment = work.find(PAYMENTS, (book, payment_id))
    if payment is None:
        return
    yield ATTEMPTS, (book, payment_id, payment.attempt_count)
    yield ledger.ACCOUNTS, (book, accounts.merchant(payment.currency))
    if work.knows(ATTEMPTS, (book, payment_id, payment.attempt_count)):
        attempt = work.get(ATTEMPTS, (book, payment_id, payment.attempt_count))
        yield ledger.ACCOUNTS, (book, accounts.channel(attempt.channel_account, payment.currency))
    yield from splitting.needs(work, book, payment_id)


def start_refund(work: Work, payment: Payment, asked: RefundAsked, *, due_at: datetime) -> Refund:
    """Reserve the money of a refund: the shares come back, the channel's part of its fee, and the sum is held.

    Amounts in minor units. Raises Rejected (refund_exceeds_captured, payment_not_captured, insufficient_balance,
    refund_limit). Nothing has left for the channel yet.
    """
    if payment.captured_minor == 0:
        raise Rejected("payment_not_captured", f"{payment.id} is {payment.status}: there is nothing to give back")
    if asked.amount_minor > payment.refundable_minor:
        raise Rejected(
            "refund_exceeds_captured",
            f"{payment.refundable_minor} minor units of {payment.id} can still be refunded",
            param="amount",
            refundable_minor=payment.refundable_minor,
        )
    if payment.refund_count >= MAX_REFUNDS:
        raise Rejected("refund_limit", f"{payment.id} has had {MAX_REFUNDS} refunds, the most its channel takes")
    book, currency = payment.book, payment.currency
    attempt = work.get(ATTEMPTS, (book, payment.id, payment.attempt_count))
    day = business_date(work.now)
    live = payment.refunded_minor + payment.refunding_minor + asked.amount_minor
    returned = _fee_on_last(payment, asked.amount_minor, live)
    merchant, channel = accounts.merchant(currency), accounts.channel(attempt.channel_account, currency)
    splitting.share_out(work, book, payment.id, payment.business_date or day)
    parts = splitting.take_back_for_refund(work, book, payment.id, asked.id, asked.amount_minor - returned, day)
    transfers = []
    if returned:
        transfers.append(Transfer(f"{asked.id}:fee", "channel_fee_returned", channel, merchant, returned, currency))
    transfers.append(
        Transfer(f"{asked.id}:refund", "refund", merchant, channel, asked.amount_minor, currency, Step.HOLD)
    )
    try:
        ledger.post(work, book, asked.id, transfers, business_date=day, fresh=True)
    except ledger.Refusal as refusal:
        if refusal.cause is not ledger.Result.WOULD_OVERDRAW:
            raise Broken("posting_refused", f"the books refused {asked.id}: {refusal}") from None
        raise Rejected("insufficient_balance", f"the merchant's balance does not cover refund {asked.id}") from None
    refund = Refund(
        book, asked.id, payment.id, attempt.number, asked.merchant_refund_id, asked.amount_minor, currency, returned,
        orjson.dumps(parts).decode(), asked.reason, states.Refund.PROCESSING.value, None, None, None, 0,
        work.now, work.now, due_at, None,
    )  # fmt: skip
    work.put(REFUNDS, refund)
    work.put(
        PAYMENTS,
        payment._replace(
            refunding_minor=payment.refunding_minor + asked.amount_minor,
            refund_count=payment.refund_count + 1,
            updated_at=work.now,
        ),
    )
    streams.publish(work, book, "refund.created", refund.id, refund_event(refund))
    return refund


def _fee_on_last(payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return the channel's part of its fee on the last `amount_minor` of the `live_minor` given back.

    A refund's part is fixed neither by itself nor when it begins: whichever refunds stand, what has come back of the
    fee follows from their sum alone, so that refunds that add up to the whole give the whole fee back.
    """
    fee, captured = payment.fee_minor, payment.captured_minor
    return fee_returned(fee, captured, live_minor) - fee_returned(fee, captured, live_minor - amount_minor)


MAX_REFUNDS = 50  # WeChat Pay takes no more for one payment; the other rails take more


@dataclass(frozen=True, slots=True)
class SettleRefund:
    """Record what a channel said about a refund, and move its money accordingly; repeating it changes nothing.

    Returns the refund. Raises NotFound, Broken (amount_differs, channel_contradicts_itself).
    """

    book: int
    refund_id: str
    outcome: Outcome
    due_at: datetime | None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield REFUNDS, (self.book, self.refund_id)
        yield HOLDS, (self.book, f"{self.refund_id}:refund")
        if work.knows(REFUNDS, (self.book, self.refund_id)):
            refund = work.find(REFUNDS, (self.book, self.refund_id))
            if refund is not None:
                yield from refund_needs(work, self.book, refund.payment_id)

    def apply(self, work: Work) -> Refund:
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        match self.outcome:
            case Confirmed():
                event = states.RefundEvent.CONFIRMED
            case Pending():
                event = states.RefundEvent.PENDING
            case Refused():
                event = states.RefundEvent.REFUSED
            case _:
                event = states.RefundEvent.UNKNOWN
        before = states.Refund(refund.status)
        if (before, event) not in states.REFUND:
            raise Broken(
                "channel_contradicts_itself", f"refund {refund.reference} was {before}, now the channel says {event}"
            )
        after = advance(states.REFUND, before, event)
        if before is not states.Refund.PROCESSING:
            return refund
        if after is states.Refund.PROCESSING:
            ref = getattr(self.outcome, "channel_ref", None) or refund.channel_ref
            noted = refund._replace(channel_ref=ref, due_at=self.due_at, updated_at=work.now)
            work.put(REFUNDS, noted)
            return noted
        payment = work.get(PAYMENTS, (self.book, refund.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, refund.payment_id, refund.attempt_number))
        if after is states.Refund.SUCCEEDED and isinstance(self.outcome, Confirmed):
            return self._succeeded(work, payment, attempt, refund, self.outcome)
        assert isinstance(self.outcome, Refused)
        return self._failed(work, payment, attempt, refund, self.outcome)

    def _hold(self, refund: Refund, attempt: Attempt, step: Step) -> Transfer:
        merchant = accounts.merchant(refund.currency)
        channel = accounts.channel(attempt.channel_account, refund.currency)
        hold_id = f"{refund.id}:refund"
        return Transfer(
            f"{hold_id}:{step}", "refund", merchant, channel, refund.amount_minor, refund.currency, step, hold_id
        )

    def _succeeded(self, work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed) -> Refund:
        if (said.amount.minor, said.amount.currency) != (refund.amount_minor, refund.currency):
            raise Broken(
                "amount_differs",
                f"refund {refund.reference} asked for {refund.amount_minor} {refund.currency}, the channel says "
                f"{said.amount.minor} {said.amount.currency}; nothing was booked",
                refund=refund.id,
            )
        # The books follow the day the money was reserved, which is the day the channel lists the refund under.
        day = business_date(refund.created_at)
        hold = self._hold(refund, attempt, Step.POST_HOLD)
        ledger.post_expected(work, self.book, f"{refund.id}:done", [hold], business_date=day, fresh=True)
        work.put(
            PAYMENTS,
            payment._replace(
                refunding_minor=payment.refunding_minor - refund.amount_minor,
                refunded_minor=payment.refunded_minor + refund.amount_minor,
                updated_at=work.now,
            ),
        )
        return self._ended(
            work,
            refund,
            states.Refund.SUCCEEDED,
            channel_ref=said.channel_ref,
            business_date=day,
            event="refund.succeeded",
        )

    def _failed(self, work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Refused) -> Refund:
        day: date = business_date(work.now)
        transfers = [self._hold(refund, attempt, Step.VOID_HOLD)]
        fee_kept = _fee_on_last(payment, refund.amount_minor, payment.refunded_minor + payment.refunding_minor)
        if fee_kept:
            merchant = accounts.merchant(refund.currency)
            channel = accounts.channel(attempt.channel_account, refund.currency)
            transfers.append(
                Transfer(
                    f"{refund.id}:fee:again",
                    "channel_fee_kept",
                    merchant,
                    channel,
                    fee_kept,
                    refund.currency,
                )
            )
        ledger.post_expected(work, self.book, f"{refund.id}:undone", transfers, business_date=day, fresh=True)
        parts = orjson.loads(refund.taken_back)
        splitting.give_back_after_failed_refund(
            work, self.book, payment.id, refund.id, parts, refund.amount_minor - fee_kept, day
        )
        work.put(
            PAYMENTS,
            payment._replace(refunding_minor=payment.refunding_minor - refund.amount_minor, updated_at=work.now),
        )
        return self._ended(
            work, refund, states.Refund.FAILED, failure_code=said.code, failure_message=said.message[:500],
            event="refund.failed",
        )  # fmt: skip

    def _ended(self, work: Work, refund: Refund, status: states.Refund, *, event: str, **changes: Any) -> Refund:
        ended = refund._replace(status=status.value, due_at=None, updated_at=work.now, **changes)
        work.put(REFUNDS, ended)
        streams.publish(work, self.book, event, ended.id, refund_event(ended))
        return ended
