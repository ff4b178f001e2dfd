"""A refund's money: what may be given back of a payment, reserved in the books before the channel hears of it.

Every refund gives back what one attempt captured, on that attempt's own rail. Most are of the attempt that paid the
payment: its payees give back their shares, and the payment's sums count them. What another attempt brought on top
(surplus 多付) was never shared out and goes back whole, by itself, and those sums know nothing of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import orjson

import ledger
import splitting
import streams
from channels.contract import Capabilities
from gateway import states
from gateway.objects import refund_event
from gateway.payments import unwanted
from gateway.payments.refund_sums import count, fee_on_last, part_on_last, unshared_on_last
from gateway.payments.schedule import FIRST_ANSWER
from gateway.tables import ATTEMPTS, PAYMENTS, REFUNDS, Attempt, Payment, Refund
from kernel.clock import business_date, rfc3339
from kernel.errors import Broken, Conflict, Rejected
from kernel.work import BOOKS, Need, Work
from ledger import Step, Transfer, accounts


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
            f"the channel makes refunds for {can.refund_within.days} days after a payment; {payment.id} is older",
            refundable_until=rfc3339(until),
        )
    if amount_minor != payment.captured_minor and not can.partial_refunds:
        raise Rejected(
            "partial_refund_not_offered",
            f"the channel refunds the whole {payment.captured_minor} minor units of {payment.id} or nothing",
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


class Reserved(NamedTuple):
    """What reserving a refund's money came to: what the channel returns of its fee, and what each share gave back.

    coupon_minor: what the merchant's own coupons are expected to bear of it.
    """

    fee_returned_minor: int
    taken_back: str  # JSON
    coupon_minor: int = 0


def start_refund(
    work: Work, payment: Payment, asked: NewRefund, *, sent_count: int = 0, most: int | None = None
) -> Refund:
    """Reserve the money of a refund of what paid the payment. Nothing has left for the channel yet.

    sent_count: 1 where whoever records it sends it at once, 0 where that is left to the janitor. most: see
    attempt_to_refund. Raises Rejected (refund_exceeds_captured, payment_not_captured, insufficient_balance,
    refund_limit).
    """
    attempt = attempt_to_refund(work, payment, asked.amount_minor, most=most)
    reserved = reserve(work, payment, attempt, asked.id, asked.amount_minor)
    return _begin(work, payment, attempt, asked, reserved, sent_count)


def start_overpaid_refund(work: Work, payment: Payment, attempt: Attempt, refund_id: str) -> Refund:
    """Reserve what an attempt captured though another had paid the payment; it goes back whole, and nobody asks."""
    asked = NewRefund(refund_id, attempt.captured_minor, "another attempt had paid it", None)
    reserved = reserve_overpaid(work, payment, attempt, refund_id)
    return _begin(work, payment, attempt, asked, reserved, 0)


def waits_for_shares(work: Work, refund: Refund, scale: float = 1.0) -> datetime | None:
    """Return when to look again whether a refund of which nothing has left may be sent; None: it may now.

    scale: shortens waits for a sandbox.
    """
    paid = f"{refund.payment_id}:{refund.attempt_number}"
    return splitting.refund_waits_until(work, refund.book, refund.payment_id, paid, refund.requested_at, scale)


def left_to_janitor(work: Work, refund: Refund) -> Refund:
    """Return a refund so that the janitor sends it, where its rail is to fetch shares back first."""
    if refund.sent_count != 1 or waits_for_shares(work, refund) is None:
        return refund
    return refund._replace(sent_count=0, due_at=work.now)


def first_due(work: Work, sent_count: int) -> datetime:
    """Return when the janitor sees to a refund that is begun now."""
    return work.now + FIRST_ANSWER if sent_count else work.now


def _begin(
    work: Work, payment: Payment, attempt: Attempt, asked: NewRefund, reserved: Reserved, sent_count: int
) -> Refund:
    refund = Refund(
        payment.book, asked.id, payment.id, attempt.number, asked.merchant_refund_id, asked.amount_minor,
        payment.currency, reserved.fee_returned_minor, reserved.taken_back, asked.reason,
        states.RefundStatus.PROCESSING.value, None, None, None, 0, work.now, work.now, first_due(work, sent_count),
        None,
        coupon_minor=reserved.coupon_minor, channel=attempt.channel, sent_count=sent_count,
    )  # fmt: skip
    refund = left_to_janitor(work, refund)
    work.put(REFUNDS, refund)
    count(work, refund, under_way=asked.amount_minor, begun=True)
    streams.publish(work, refund.book, "refund.created", refund.id, refund_event(refund))
    return refund


def charged_back(payment: Payment) -> Rejected:
    """Return the refusal to give back what a chargeback has taken."""
    return Rejected(
        "payment_charged_back",
        f"a chargeback has taken {payment.charged_back_minor} minor units of {payment.id}; {payment.refundable_minor} "
        "can still be refunded",
        refundable_minor=payment.refundable_minor,
        charged_back_minor=payment.charged_back_minor,
    )


def must_be_captured(payment: Payment) -> None:
    """Raise Rejected (payment_not_captured) for a payment that has not been paid."""
    if payment.captured_minor == 0:
        raise Rejected(
            "payment_not_captured",
            f"{payment.id} is {payment.status}: there is nothing to refund",
            status_now=payment.status,
        )


def attempt_to_refund(work: Work, payment: Payment, amount_minor: int, *, most: int | None = None) -> Attempt:
    """Return the attempt that took the payment's money. Raises Rejected where so much cannot be given back of it.

    most: how many refunds of one payment its rail takes, see Capabilities.most_refunds.
    """
    must_be_captured(payment)
    if amount_minor > payment.refundable_minor:
        if payment.charged_back_minor:
            raise charged_back(payment)
        raise Rejected(
            "refund_exceeds_captured",
            f"{payment.refundable_minor} minor units of {payment.id} can still be refunded",
            param="amount",
            refundable_minor=payment.refundable_minor,
        )
    if most is not None and payment.refund_count >= most:
        raise Rejected("refund_limit", f"{payment.id} has had {most} refunds, the most that its channel allows")
    return work.get(ATTEMPTS, (payment.book, payment.id, payment.won_attempt))


def reserve(work: Work, payment: Payment, attempt: Attempt, posting: str, amount_minor: int) -> Reserved:
    """Take the shares back, have the channel's part of its fee made good, and hold the sum. Raises Rejected."""
    day = business_date(work.now)
    fee_part, parts, coupon = taken_from_shares(work, payment, attempt, posting, amount_minor, day)
    _hold(work, payment, attempt, posting, amount_minor, fee_part, day)
    return Reserved(0 if attempt.fee_kept else fee_part, orjson.dumps(parts).decode(), coupon)


def taken_from_shares(
    work: Work, payment: Payment, attempt: Attempt, posting: str, amount_minor: int, day: date
) -> tuple[int, list[int | Sequence[int]], int]:
    """Share the payment out if that is still to be done, and take back what the shares bear of so much of it.

    Returns the channel's fee in it, which is still to be made good; what each share gave back; and what the merchant's
    own coupons are expected to bear. Raises Rejected (refund_exceeds_shares).
    """
    live = payment.live_minor + amount_minor
    fee_part = fee_on_last(payment, amount_minor, live)
    splitting.share_out(
        work, payment.book,
        splitting.Paid(
            payment.id, payment.business_date or day, payment.captured_minor, payment.fee_minor, payment.coupon_minor,
            attempt.method,
        ),
    )  # fmt: skip
    shared_part = amount_minor - unshared_on_last(payment, amount_minor, live)
    parts = splitting.take_back_for_refund(work, payment.book, payment.id, posting, shared_part, day)
    coupon = payment.coupon_minor - payment.coupon_returned_minor
    if live < payment.captured_minor:
        coupon = min(coupon, part_on_last(payment.coupon_minor, payment, amount_minor, live))
    return fee_part, parts, coupon


def reserve_overpaid(work: Work, payment: Payment, attempt: Attempt, posting: str) -> Reserved:
    """Have the whole fee made good and hold the whole sum; no share was ever given of it. Raises Rejected."""
    day = business_date(work.now)
    _hold(work, payment, attempt, posting, attempt.captured_minor, attempt.fee_minor, day)
    return Reserved(0 if attempt.fee_kept else attempt.fee_minor, "[]", attempt.coupon_minor)


def _hold(
    work: Work, payment: Payment, attempt: Attempt, posting: str, amount_minor: int, fee_minor: int, day: date
) -> None:
    merchant, channel = between(payment, attempt)
    transfers = []
    if fee_minor:
        transfers.append(fee_made_good(work, payment, attempt, f"{posting}:fee", fee_minor))
    had = splitting.own_balance(work, payment.book, payment.id)
    transfers.append(
        Transfer(f"{posting}:refund", "refund", merchant, channel, amount_minor, payment.currency, Step.HOLD)
    )
    try:
        ledger.post(work, payment.book, posting, transfers, business_date=day, fresh=True)
    except ledger.Refusal as refusal:
        if refusal.cause is not ledger.Result.WOULD_OVERDRAW:
            raise Broken("posting_refused", f"the books refused {posting}: {refusal}") from None
        raise Rejected("insufficient_balance", f"the merchant's balance does not cover refund {posting}") from None
    splitting.note_cost_borne(work, payment.book, payment.id, posting, transfers, had)


def fee_made_good(work: Work, payment: Payment, attempt: Attempt, transfer_id: str, minor: int) -> Transfer:
    """Return the transfer by which the merchant account has again what the channel's fee took of it.

    The channel gives it back, or keeps it: then it is a cost, for the payees were paid nothing of it and owe nothing.
    The merchant bears it, out of what it is paid itself; where it is paid nothing, the cost stands in the book.
    """
    merchant, channel = between(payment, attempt)
    if not attempt.fee_kept:
        return Transfer(transfer_id, "channel_fee_returned", channel, merchant, minor, payment.currency)
    if (own := splitting.own_account(work, payment.book, payment.id)) is not None:
        return Transfer(transfer_id, "refund_cost_borne", own, merchant, minor, payment.currency)
    cost = ledger.open_account(work, payment.book, accounts.refund_cost(payment.currency)).name
    return Transfer(transfer_id, "refund_cost", cost, merchant, minor, payment.currency)


def fee_stands_again(work: Work, payment: Payment, attempt: Attempt, transfer_id: str, minor: int) -> Transfer:
    """Return the transfer that undoes `fee_made_good`, or a part of it, after a refund failed."""
    merchant, channel = between(payment, attempt)
    if not attempt.fee_kept:
        return Transfer(transfer_id, "channel_fee_kept", merchant, channel, minor, payment.currency)
    if (own := splitting.own_account(work, payment.book, payment.id)) is not None:
        return Transfer(transfer_id, "refund_cost_given_back", merchant, own, minor, payment.currency)
    cost = accounts.refund_cost(payment.currency)
    return Transfer(transfer_id, "refund_cost_undone", merchant, cost, minor, payment.currency)


def between(payment: Payment, attempt: Attempt) -> tuple[str, str]:
    """Return the two accounts a refund moves between: the merchant's, and the channel account that took the money."""
    return accounts.merchant(payment.currency), accounts.channel(attempt.channel_account, payment.currency)


def not_settled_outside(work: Work, payment: Payment, number: int | None = None) -> None:
    """Raise Conflict where a person has said that this attempt's money, the winner's if None, went back otherwise."""
    if not (number or payment.won_attempt):
        return
    attempt = work.get(ATTEMPTS, (payment.book, payment.id, number or payment.won_attempt))
    if unwanted.is_unwanted(attempt) and unwanted.settled_outside(work, attempt):
        raise Conflict("refund_settled_outside", f"the money of {payment.id} was returned outside the channel")
