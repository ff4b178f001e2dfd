"""Refunds 退款: reserving the money, sending it again under a new number, and what a channel said about it.

Every refund gives back what one attempt captured, on that attempt's own rail. Most are of the attempt that paid the
payment: its payees give back their shares, and the payment's sums count them. What another attempt brought on top
(surplus 多付) was never shared out and goes back whole, by itself, and those sums know nothing of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson

import cases
import ledger
import splitting
import streams
from channels.contract import Capabilities, Confirmed, Outcome, Pending, Refused, Unknown
from gateway import states
from gateway.claims import Claims
from gateway.objects import refund_event
from gateway.payments import unfinished, unwanted
from gateway.payments.belief import Answers, believed, in_time
from gateway.payments.schedule import FIRST_ANSWER, next_refund_query, next_retry
from gateway.tables import (
    ATTEMPTS,
    CLAIMS,
    MAX_RETRIES,
    PAYMENTS,
    REFUND_RETURNS,
    REFUNDS,
    Attempt,
    Payment,
    Refund,
    RefundReturn,
)
from kernel.clock import business_date, rfc3339
from kernel.errors import Broken, Conflict, Rejected
from kernel.money import Money
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Step, Transfer, accounts
from ledger.posting import HOLDS
from splitting.plans.arithmetic import fee_returned

# Why a refund failed that a person had ended: the rail's own words are not like it.
NOT_CARRIED_OUT = "not_carried_out"


def at_channel(refund_id: str) -> Conflict:
    """Return the refusal to end, or send again, what the channel waits to be told about: it may pay that one yet."""
    return Conflict(
        "refund_at_channel",
        f"the channel has the money of {refund_id} and waits to be told, there, where it is to go: tell it; the refund "
        "succeeds once the channel says that it is done",
    )


class CannotBeBorne(Conflict):
    """A channel has paid a refund that had failed, and nothing of its payment is left to bear it: for suspense."""


MAX_REFUNDS = 50  # WeChat Pay takes no more for one payment; the other rails take more


@dataclass(frozen=True, slots=True)
class NewRefund:
    """What is to be given back of a payment."""

    id: str
    amount_minor: int
    reason: str
    merchant_refund_id: str | None


def check_rail(can: Capabilities, payment: Payment, amount_minor: int, now: datetime) -> None:
    """Refuse a refund of the whole captured sum or a part of it that the payment's rail is known not to give.

    Raises Rejected (refund_too_late, partial_refund_not_offered).
    """
    until = (payment.succeeded_at or payment.created_at) + can.refund_within
    if now > until:
        raise Rejected(
            "refund_too_late",
            f"the channel gives money back for {can.refund_within.days} days; {payment.id} was paid before that",
            refundable_until=rfc3339(until),
        )
    if amount_minor != payment.captured_minor and not can.partial_refunds:
        raise Rejected(
            "partial_refund_not_offered",
            f"the channel gives back the whole {payment.captured_minor} minor units of {payment.id} or nothing",
            param="amount",
            captured_minor=payment.captured_minor,
        )


def refund_needs(work: Work, book: int, payment_id: str, number: int | None = None) -> Iterable[Need]:
    """Name the rows that starting a refund looks at.

    number: of the attempt that took the money; None: the one that won, or the last where none has.
    """
    yield BOOKS, (book,)
    yield PAYMENTS, (book, payment_id)
    if not work.knows(PAYMENTS, (book, payment_id)):
        return
    payment = work.find(PAYMENTS, (book, payment_id))
    if payment is None:
        return
    attempt_key = (book, payment_id, number or payment.won_attempt or payment.attempt_count)
    yield ATTEMPTS, attempt_key
    yield ledger.ACCOUNTS, (book, accounts.merchant(payment.currency))
    if work.knows(ATTEMPTS, attempt_key) and (attempt := work.find(ATTEMPTS, attempt_key)) is not None:
        yield ledger.ACCOUNTS, (book, accounts.channel(attempt.channel_account, payment.currency))
        yield from fee_needs(attempt, payment.currency)
        if attempt.coupon_minor:
            yield ledger.ACCOUNTS, (book, accounts.merchant_coupon(payment.currency))
        if unwanted.is_unwanted(attempt):
            yield from unwanted.needs(attempt)
    yield from splitting.needs(work, book, payment_id)


def fee_needs(attempt: Attempt, currency: str) -> Iterable[Need]:
    """Name the row that a fee is booked to which the channel keeps of a refund."""
    if attempt.fee_kept:
        yield ledger.ACCOUNTS, (attempt.book, accounts.refund_cost(currency))


class _Reserved(NamedTuple):
    """What reserving a refund's money came to: what the channel returns of its fee, and what each share gave back.

    coupon_minor: what the merchant's own coupons are expected to bear of it.
    """

    fee_returned_minor: int
    taken_back: str  # JSON
    coupon_minor: int = 0


def start_refund(work: Work, payment: Payment, asked: NewRefund, *, sent_count: int = 0) -> Refund:
    """Reserve the money of a refund of what paid the payment. Nothing has left for the channel yet.

    sent_count: 1 where whoever records it sends it at once, 0 where that is left to the janitor. Raises Rejected
    (refund_exceeds_captured, payment_not_captured, insufficient_balance, refund_limit).
    """
    attempt = _attempt_to_refund(work, payment, asked.amount_minor)
    reserved = _reserve(work, payment, attempt, asked.id, asked.amount_minor)
    return _begin(work, payment, attempt, asked, reserved, sent_count)


def start_overpaid_refund(work: Work, payment: Payment, attempt: Attempt, refund_id: str) -> Refund:
    """Reserve what an attempt captured though another had paid the payment; it goes back whole, and nobody asks."""
    asked = NewRefund(refund_id, attempt.captured_minor, "another attempt had paid it", None)
    reserved = _reserve_overpaid(work, payment, attempt, refund_id)
    return _begin(work, payment, attempt, asked, reserved, 0)


def _first_due(work: Work, sent_count: int) -> datetime:
    """Return when the janitor sees to a refund that is begun now."""
    return work.now + FIRST_ANSWER if sent_count else work.now


def _begin(
    work: Work, payment: Payment, attempt: Attempt, asked: NewRefund, reserved: _Reserved, sent_count: int
) -> Refund:
    refund = Refund(
        payment.book, asked.id, payment.id, attempt.number, asked.merchant_refund_id, asked.amount_minor,
        payment.currency, reserved.fee_returned_minor, reserved.taken_back, asked.reason,
        states.RefundStatus.PROCESSING.value, None, None, None, 0, work.now, work.now, _first_due(work, sent_count),
        None,
        coupon_minor=reserved.coupon_minor, channel=attempt.channel, sent_count=sent_count,
    )  # fmt: skip
    work.put(REFUNDS, refund)
    _count(work, refund, under_way=asked.amount_minor, begun=True)
    streams.publish(work, refund.book, "refund.created", refund.id, refund_event(refund))
    return refund


def _attempt_to_refund(work: Work, payment: Payment, amount_minor: int, *, limited: bool = True) -> Attempt:
    """Return the attempt that took the payment's money. Raises Rejected where so much cannot be given back of it."""
    if payment.captured_minor == 0:
        raise Rejected("payment_not_captured", f"{payment.id} is {payment.status}: there is nothing to give back")
    if amount_minor > payment.refundable_minor:
        raise Rejected(
            "refund_exceeds_captured",
            f"{payment.refundable_minor} minor units of {payment.id} can still be refunded",
            param="amount",
            refundable_minor=payment.refundable_minor,
        )
    if limited and payment.refund_count >= MAX_REFUNDS:
        raise Rejected("refund_limit", f"{payment.id} has had {MAX_REFUNDS} refunds, the most its channel takes")
    return work.get(ATTEMPTS, (payment.book, payment.id, payment.won_attempt))


def _reserve(work: Work, payment: Payment, attempt: Attempt, posting: str, amount_minor: int) -> _Reserved:
    """Take the shares back, have the channel's part of its fee made good, and hold the sum. Raises Rejected."""
    book, day = payment.book, business_date(work.now)
    live = payment.refunded_minor + payment.refunding_minor + amount_minor
    fee_part = _fee_on_last(payment, amount_minor, live)
    splitting.share_out(
        work, book, payment.id, payment.business_date or day, gross_minor=payment.captured_minor,
        fee_minor=payment.fee_minor, coupon_minor=payment.coupon_minor,
    )  # fmt: skip
    shared_part = amount_minor - _unshared_on_last(payment, amount_minor, live)
    parts = splitting.take_back_for_refund(work, book, payment.id, posting, shared_part, day)
    _hold(work, payment, attempt, posting, amount_minor, fee_part, day)
    coupon = payment.coupon_minor - payment.coupon_returned_minor
    if live < payment.captured_minor:
        coupon = min(coupon, _part_on_last(payment.coupon_minor, payment, amount_minor, live))
    return _Reserved(0 if attempt.fee_kept else fee_part, orjson.dumps(parts).decode(), coupon)


def _reserve_overpaid(work: Work, payment: Payment, attempt: Attempt, posting: str) -> _Reserved:
    """Have the whole fee made good and hold the whole sum; no share was ever given of it. Raises Rejected."""
    day = business_date(work.now)
    _hold(work, payment, attempt, posting, attempt.captured_minor, attempt.fee_minor, day)
    return _Reserved(0 if attempt.fee_kept else attempt.fee_minor, "[]", attempt.coupon_minor)


def _hold(
    work: Work, payment: Payment, attempt: Attempt, posting: str, amount_minor: int, fee_minor: int, day: date
) -> None:
    merchant, channel = _between(payment, attempt)
    transfers = []
    if fee_minor:
        transfers.append(_fee_made_good(work, payment, attempt, f"{posting}:fee", fee_minor))
    transfers.append(
        Transfer(f"{posting}:refund", "refund", merchant, channel, amount_minor, payment.currency, Step.HOLD)
    )
    try:
        ledger.post(work, payment.book, posting, transfers, business_date=day, fresh=True)
    except ledger.Refusal as refusal:
        if refusal.cause is not ledger.Result.WOULD_OVERDRAW:
            raise Broken("posting_refused", f"the books refused {posting}: {refusal}") from None
        raise Rejected("insufficient_balance", f"the merchant's balance does not cover refund {posting}") from None


def _fee_made_good(work: Work, payment: Payment, attempt: Attempt, transfer_id: str, minor: int) -> Transfer:
    """Return the transfer by which the merchant account has again what the channel's fee took of it.

    The channel gives it back, or keeps it: then it is a cost, for the payees were paid nothing of it and owe nothing.
    """
    merchant, channel = _between(payment, attempt)
    if not attempt.fee_kept:
        return Transfer(transfer_id, "channel_fee_returned", channel, merchant, minor, payment.currency)
    cost = ledger.open_account(work, payment.book, accounts.refund_cost(payment.currency)).name
    return Transfer(transfer_id, "refund_cost", cost, merchant, minor, payment.currency)


def _fee_stands_again(payment: Payment, attempt: Attempt, transfer_id: str, minor: int) -> Transfer:
    """Return the transfer that undoes `_fee_made_good`, or a part of it, after a refund failed."""
    merchant, channel = _between(payment, attempt)
    if not attempt.fee_kept:
        return Transfer(transfer_id, "channel_fee_kept", merchant, channel, minor, payment.currency)
    cost = accounts.refund_cost(payment.currency)
    return Transfer(transfer_id, "refund_cost_undone", merchant, cost, minor, payment.currency)


def _between(payment: Payment, attempt: Attempt) -> tuple[str, str]:
    """Return the two accounts a refund moves between: the merchant's, and the channel account that took the money."""
    return accounts.merchant(payment.currency), accounts.channel(attempt.channel_account, payment.currency)


def _count(
    work: Work, refund: Refund, *, under_way: int = 0, done: int = 0, begun: bool = False, coupon: int = 0
) -> None:
    """Move a payment's sums of refunds; those of surplus money are not among them."""
    payment = work.get(PAYMENTS, (refund.book, refund.payment_id))
    if refund.attempt_number != payment.won_attempt:
        return
    work.put(
        PAYMENTS,
        payment._replace(
            refunding_minor=payment.refunding_minor + under_way,
            refunded_minor=payment.refunded_minor + done,
            refund_count=payment.refund_count + begun,
            coupon_returned_minor=payment.coupon_returned_minor + coupon,
            updated_at=work.now,
        ),
    )


def _fee_on_last(payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return the channel's part of its fee on the last `amount_minor` of the `live_minor` given back."""
    return _part_on_last(payment.fee_minor, payment, amount_minor, live_minor)


def _unshared_on_last(payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return what was never shared out of the last `amount_minor` given back: the fee's part and the coupon's.

    Their sum is rounded once. Each rounded by itself could together take a share back that is not there.
    """
    return _part_on_last(payment.fee_minor + payment.coupon_minor, payment, amount_minor, live_minor)


def _part_on_last(minor: int, payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return the part of `minor` that is in the last `amount_minor` of the `live_minor` given back.

    A refund's part is fixed neither by itself nor when it begins: whichever refunds stand, what has come back of the
    fee follows from their sum alone, so that refunds that add up to the whole give the whole fee back.
    """
    captured = payment.captured_minor
    return fee_returned(minor, captured, live_minor) - fee_returned(minor, captured, live_minor - amount_minor)


def _coupon_returned(payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed) -> int:
    """Return what the merchant's own coupons bear of a refund that was paid: as the channel says, else in proportion.

    The refund that completes the whole bears what is left. Never more than the coupons that were booked: what a channel
    says beyond those is for the daily proof to show (coupon_differs), since no more was taken off what it owes.
    """
    if refund.attempt_number != payment.won_attempt:
        return attempt.coupon_minor
    left = payment.coupon_minor - payment.coupon_returned_minor
    if said.merchant_coupon is not None:
        return max(0, min(said.merchant_coupon.minor, left))
    whole = payment.refunded_minor + refund.amount_minor == payment.captured_minor
    return left if whole else min(refund.coupon_minor, left)


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
        amount = payment.refundable_minor if self.amount_minor is None else self.amount_minor
        if amount <= 0:
            raise Rejected(
                "refund_exceeds_captured" if payment.captured_minor else "payment_not_captured",
                f"nothing of {payment.id} is left to refund",
                param="amount",
                refundable_minor=payment.refundable_minor,
            )
        _not_settled_outside(work, payment)
        if self.can is not None and amount <= payment.refundable_minor:
            check_rail(self.can, payment, amount, work.now)
        asked = NewRefund(self.refund_id, amount, self.reason, self.merchant_refund_id)
        refund = start_refund(work, payment, asked, sent_count=1)
        self.claims.take(work, self.book, refund.id)
        return refund, False


def _earlier_needs(work: Work, book: int, claims: Claims) -> Iterable[Need]:
    for key in claims.keys:
        if work.knows(CLAIMS, (book, key)) and (claim := work.find(CLAIMS, (book, key))) is not None:
            yield REFUNDS, (book, claim.object_id)


def _not_settled_outside(work: Work, payment: Payment, number: int | None = None) -> None:
    """Raise Conflict where a person has said that this attempt's money, the winner's if None, went back otherwise."""
    if not (number or payment.won_attempt):
        return
    attempt = work.get(ATTEMPTS, (payment.book, payment.id, number or payment.won_attempt))
    if unwanted.is_unwanted(attempt) and unwanted.settled_outside(work, attempt):
        raise Conflict("refund_settled_outside", f"the money of {payment.id} was given back outside the channel")


def again_needs(work: Work, refund: Refund) -> Iterable[Need]:
    """Name the rows that beginning a failed refund again looks at."""
    yield from refund_needs(work, refund.book, refund.payment_id, refund.attempt_number)
    yield from cases.needs(refund.book, unwanted.CAME_BACK, refund.id)


def begin_again(work: Work, refund: Refund, *, sent_count: int = 1) -> Refund:
    """Reserve a failed refund's money again, for a try under a new number.

    sent_count: see start_refund. Only for a caller who has just asked the rail about the number before, where it can be
    asked, and heard no more than that it was not paid. Raises what start_refund raises, Conflict (refund_not_failed).
    """
    if refund.paid_tries:
        raise Conflict(
            "refund_not_failed", f"the channel has paid {refund.id} after it had failed: a person decides",
            status_now=refund.status,
        )  # fmt: skip
    payment = work.get(PAYMENTS, (refund.book, refund.payment_id))
    attempt = work.get(ATTEMPTS, (refund.book, refund.payment_id, refund.attempt_number))
    if refund.retry_count >= MAX_RETRIES:
        raise Rejected("refund_limit", f"{refund.id} has been tried {MAX_RETRIES} times again; make a new refund")
    _not_settled_outside(work, payment, attempt.number)
    case = work.find(cases.CASES, (refund.book, cases.case_id(refund.book, unwanted.CAME_BACK, refund.id)))
    if case is not None and case.decision == unwanted.OUTSIDE:
        raise Conflict("refund_settled_outside", f"the money of {refund.id} was given back outside the channel")
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
        due_at=_first_due(work, sent_count),
    )
    if refund.attempt_number == payment.won_attempt:
        _attempt_to_refund(work, payment, refund.amount_minor)
        reserved = _reserve(work, payment, attempt, again.posting, refund.amount_minor)
    else:
        reserved = _reserve_overpaid(work, payment, attempt, again.posting)
    again = again._replace(
        fee_returned_minor=reserved.fee_returned_minor,
        taken_back=reserved.taken_back,
        coupon_minor=reserved.coupon_minor,
    )
    work.put(REFUNDS, again)
    _count(work, again, under_way=again.amount_minor, begun=True)
    streams.publish(work, refund.book, "refund.retried", again.id, refund_event(again))
    return again


@dataclass(frozen=True, slots=True)
class RetryRefund:
    """Start a failed refund again, under a new number at the rail; the money is held again, at today's date.

    The same request again changes nothing more. Returns the refund, and whether an earlier request had restarted it.
    Raises what start_refund raises, NotFound, Conflict (refund_not_failed, idempotency_key_reused).
    """

    book: int
    refund_id: str
    claims: Claims

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
                "refund_not_failed", f"{refund.id} is {refund.status}: only what failed can be tried again",
                status_now=refund.status,
            )  # fmt: skip
        again = begin_again(work, refund)
        self.claims.take(work, self.book, refund.id)
        return again, False


@dataclass(frozen=True, slots=True)
class RetryUnwanted:
    """Begin again, by itself, the failed refund of money that was paid late or twice; once a time it is due.

    Returns the refund, or None where another worker was quicker or it is no longer to be begun. Raises what
    start_refund raises: then PutOffRetry.
    """

    book: int
    refund_id: str

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
        return begin_again(work, refund)


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

    For everybody but whoever recorded it, whose first message is counted there. retry_count: which of its numbers.
    """

    book: int
    refund_id: str
    retry_count: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield REFUNDS, (self.book, self.refund_id)

    def apply(self, work: Work) -> Refund | None:
        refund = work.get(REFUNDS, (self.book, self.refund_id))
        if refund.status != states.RefundStatus.PROCESSING or refund.retry_count != self.retry_count:
            return None
        refund = refund._replace(sent_count=refund.sent_count + 1)
        work.put(REFUNDS, refund)
        return refund


MOST_QUESTIONS_AFTER = 7  # about a number that was under way when another of the refund's turned out to be paid


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
            return self._came_back(work, refund, outcome)
        if not of_present or (before is states.RefundStatus.SUCCEEDED and not paid):
            return self._of_unpaid_number(work, refund, outcome)
        if (before, event) not in states.REFUND:
            raise self._contradiction(before, event, refund)
        if before is not states.RefundStatus.PROCESSING:
            return refund
        if isinstance(outcome, Refused):
            payment = work.get(PAYMENTS, (self.book, refund.payment_id))
            attempt = work.get(ATTEMPTS, (self.book, refund.payment_id, refund.attempt_number))
            failed = self._failed(work, payment, attempt, refund, outcome)
            if unwanted.goes_back_by_itself(failed, attempt):
                failed = failed._replace(due_at=next_retry(refund.retry_count, work.now, self.scale))
                work.put(REFUNDS, failed)
                unwanted.not_given_back(work, attempt, failed, f"{outcome.code} {outcome.message}")
            return failed
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
            _not_settled_outside(work, payment, attempt.number)
            if refund.attempt_number == payment.won_attempt:
                _attempt_to_refund(work, payment, refund.amount_minor, limited=False)
                reserved = _reserve(work, payment, attempt, posting, refund.amount_minor)
            else:
                reserved = _reserve_overpaid(work, payment, attempt, posting)
        except (Rejected, Conflict) as refusal:
            raise CannotBeBorne("cannot_be_borne", str(refusal)) from None
        refund = refund._replace(
            fee_returned_minor=reserved.fee_returned_minor, taken_back=reserved.taken_back,
            coupon_minor=reserved.coupon_minor, failure_code=None, failure_message=None,
        )  # fmt: skip
        _count(work, refund, under_way=refund.amount_minor, begun=True)
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

    def _held(self, payment: Payment, refund: Refund, attempt: Attempt, step: Step, posting: str) -> Transfer:
        merchant, channel = _between(payment, attempt)
        hold_id = f"{posting}:refund"
        return Transfer(
            f"{hold_id}:{step}", "refund", merchant, channel, refund.amount_minor, refund.currency, step, hold_id
        )

    def _succeeded(
        self, work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed, posting: str, day: date
    ) -> Refund:
        """Post what is held under `posting`, and say so."""
        transfers = [self._held(payment, refund, attempt, Step.POST_HOLD, posting)]
        coupon = _coupon_returned(payment, attempt, refund, said)
        if coupon:
            cost, (_, channel) = accounts.merchant_coupon(refund.currency), _between(payment, attempt)
            transfer_id = f"{refund.posting}:coupon"
            transfers.append(Transfer(transfer_id, "merchant_coupon_back", channel, cost, coupon, refund.currency))
        ledger.post_expected(work, self.book, f"{posting}:done", transfers, business_date=day, fresh=True)
        refund = refund._replace(coupon_minor=coupon)
        _count(work, refund, under_way=-refund.amount_minor, done=refund.amount_minor, coupon=coupon)
        if unwanted.is_unwanted(attempt):
            now = work.get(PAYMENTS, (self.book, payment.id))
            if refund.amount_minor == attempt.captured_minor or now.refunded_minor == attempt.captured_minor:
                unwanted.given_back(work, attempt)
        ended = self._ended(
            work,
            refund,
            states.RefundStatus.SUCCEEDED,
            channel_ref=said.channel_ref,
            business_date=day,
            event="refund.succeeded",
        )
        if refund.status != states.RefundStatus.PROCESSING or self.retry_count == refund.retry_count:
            return ended
        # What is under way under its present number may be paid as well: that one is asked about for a while.
        asking = ended._replace(due_at=next_refund_query(refund, work.now, self.scale), query_count=0)
        work.put(REFUNDS, asking)
        return asking

    def _failed(self, work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Refused) -> Refund:
        day: date = business_date(work.now)
        transfers = [self._held(payment, refund, attempt, Step.VOID_HOLD, refund.posting)]
        of_overpaid = refund.attempt_number != payment.won_attempt
        live = payment.refunded_minor + payment.refunding_minor
        fee_part = attempt.fee_minor if of_overpaid else _fee_on_last(payment, refund.amount_minor, live)
        if fee_part:
            transfers.append(_fee_stands_again(payment, attempt, f"{refund.posting}:fee:again", fee_part))
        posting = f"{refund.posting}:undone"
        ledger.post_expected(work, self.book, posting, transfers, business_date=day, fresh=True)
        if not of_overpaid:
            parts = orjson.loads(refund.taken_back)
            shared_part = refund.amount_minor - _unshared_on_last(payment, refund.amount_minor, live)
            splitting.give_back_after_failed_refund(
                work, self.book, payment.id, refund.posting, parts, shared_part, day
            )
        _count(work, refund, under_way=-refund.amount_minor)
        return self._ended(
            work, refund, states.RefundStatus.FAILED, failure_code=said.code, failure_message=said.message[:500],
            event="refund.failed",
        )  # fmt: skip

    def _ended(self, work: Work, refund: Refund, status: states.RefundStatus, *, event: str, **changes: Any) -> Refund:
        ended = refund._replace(status=status.value, due_at=None, updated_at=work.now, **changes)
        work.put(REFUNDS, ended)
        unfinished.refund_ended(work, ended)
        if status is states.RefundStatus.SUCCEEDED:
            cases.close_case(work, self.book, unwanted.CAME_BACK, ended.id, why="a later try has succeeded")
        streams.publish(work, self.book, event, ended.id, refund_event(ended))
        return ended

    def _came_back(self, work: Work, refund: Refund, said: Refused) -> Refund:
        """Undo a refund that had succeeded 退款退回: the channel has the money again, and owes it to us.

        Everything stands as before the refund: its fee, the coupon's part, the payees' shares. It is begun again only
        by somebody's decision: the payer's bank has just said no to it.
        """
        payment = work.get(PAYMENTS, (self.book, refund.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, refund.payment_id, refund.attempt_number))
        after = advance(states.REFUND, states.RefundStatus.SUCCEEDED, states.RefundEvent.RETURNED)
        merchant, channel = _between(payment, attempt)
        day, of_overpaid = business_date(work.now), refund.attempt_number != payment.won_attempt
        posting = f"{refund.posting}:returned"
        transfers = [Transfer(posting, "refund_returned", channel, merchant, refund.amount_minor, refund.currency)]
        if refund.coupon_minor:
            cost = accounts.merchant_coupon(refund.currency)
            again = f"{posting}:coupon"
            transfers.append(Transfer(again, "merchant_coupon", cost, channel, refund.coupon_minor, refund.currency))
        live = payment.refunded_minor + payment.refunding_minor
        fee_part = attempt.fee_minor if of_overpaid else _fee_on_last(payment, refund.amount_minor, live)
        if fee_part:
            transfers.append(_fee_stands_again(payment, attempt, f"{posting}:fee", fee_part))
        ledger.post_expected(work, self.book, posting, transfers, business_date=day, fresh=True)
        if not of_overpaid:
            parts = orjson.loads(refund.taken_back)
            shared_part = refund.amount_minor - _unshared_on_last(payment, refund.amount_minor, live)
            splitting.give_back_after_failed_refund(work, self.book, payment.id, posting, parts, shared_part, day)
        _count(work, refund, done=-refund.amount_minor, coupon=-refund.coupon_minor)
        work.put(
            REFUND_RETURNS,
            RefundReturn(
                self.book, refund.id, refund.retry_count, refund.amount_minor, refund.fee_returned_minor,
                refund.coupon_minor, refund.business_date or business_date(refund.requested_at), day, said.code,
                refund.channel_ref,
            ),
        )  # fmt: skip
        failed = self._ended(
            work, refund, after, failure_code=said.code, failure_message=said.message[:500], business_date=None,
            paid_tries=refund.paid_tries & ~(1 << refund.retry_count), event="refund.failed",
        )  # fmt: skip
        if unwanted.goes_back_by_itself(failed, attempt):
            unwanted.not_given_back(work, attempt, failed, f"it came back: {said.code} {said.message}")
        else:
            facts = {"payment": refund.payment_id, "reference": refund.reference, "code": said.code}
            cases.open_case(
                work, self.book, unwanted.CAME_BACK, refund.id,
                amount_minor=refund.amount_minor, currency=refund.currency, facts=facts,
            )  # fmt: skip
        return failed
