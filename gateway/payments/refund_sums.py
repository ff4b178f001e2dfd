"""What a payment's refunds add up to, and the part of the fee and of the coupon that is in each."""

from channels.contract import Confirmed
from gateway.tables import PAYMENTS, Attempt, Payment, Refund
from kernel.work import Work
from splitting.plans.arithmetic import fee_returned


def count(
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


def fee_on_last(payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return the channel's part of its fee on the last `amount_minor` of the `live_minor` given back."""
    return part_on_last(payment.fee_minor, payment, amount_minor, live_minor)


def unshared_on_last(payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return what was never shared out of the last `amount_minor` given back: the fee's part and the coupon's.

    Their sum is rounded once. Each rounded by itself could together take a share back that is not there.
    """
    return part_on_last(payment.fee_minor + payment.coupon_minor, payment, amount_minor, live_minor)


def part_on_last(minor: int, payment: Payment, amount_minor: int, live_minor: int) -> int:
    """Return the part of `minor` that is in the last `amount_minor` of the `live_minor` given back.

    A refund's part is fixed neither by itself nor when it begins: whichever refunds stand, what has come back of the
    fee follows from their sum alone, so that refunds that add up to the whole give the whole fee back.
    """
    captured = payment.captured_minor
    return fee_returned(minor, captured, live_minor) - fee_returned(minor, captured, live_minor - amount_minor)


def coupon_returned(payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed) -> int:
    """Return what the merchant's own coupons bear of a refund that was paid: as the channel says, else in proportion.

    The refund that completes the whole bears what is left. Never more than the coupons that were booked: what a channel
    says beyond those is for the daily proof to show (coupon_differs), since no more was taken off what it owes.
    """
    if refund.attempt_number != payment.won_attempt:
        return attempt.coupon_minor
    left = payment.coupon_minor - payment.coupon_returned_minor
    if said.merchant_coupon is not None:
        return max(0, min(said.merchant_coupon.minor, left))
    whole = payment.refunded_minor + payment.charged_back_minor + refund.amount_minor == payment.captured_minor
    return left if whole else min(refund.coupon_minor, left)
