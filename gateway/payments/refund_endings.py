"""How a refund ends in the books: paid, refused, or paid and come back."""

from datetime import date
from typing import Any

import orjson

import cases
import ledger
import splitting
import streams
from channels.contract import Confirmed, Refused
from gateway import states
from gateway.objects import refund_event
from gateway.payments import unfinished, unwanted
from gateway.payments.refund_holds import between, fee_stands_again
from gateway.payments.refund_sums import count, coupon_returned, fee_on_last, unshared_on_last
from gateway.tables import ATTEMPTS, PAYMENTS, REFUND_RETURNS, REFUNDS, Attempt, Payment, Refund, RefundReturn
from kernel.clock import business_date
from kernel.states import advance
from kernel.work import Work
from ledger import Step, Transfer, accounts


def succeeded(
    work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Confirmed, posting: str, day: date
) -> Refund:
    """Post what is held under `posting`, and say so."""
    transfers = [_held(payment, refund, attempt, Step.POST_HOLD, posting)]
    coupon = coupon_returned(payment, attempt, refund, said)
    if coupon:
        cost, (_, channel) = accounts.merchant_coupon(refund.currency), between(payment, attempt)
        transfer_id = f"{refund.posting}:coupon"
        transfers.append(Transfer(transfer_id, "merchant_coupon_back", channel, cost, coupon, refund.currency))
    ledger.post_expected(work, refund.book, f"{posting}:done", transfers, business_date=day, fresh=True)
    refund = refund._replace(coupon_minor=coupon)
    count(work, refund, under_way=-refund.amount_minor, done=refund.amount_minor, coupon=coupon)
    if unwanted.is_unwanted(attempt):
        now = work.get(PAYMENTS, (refund.book, payment.id))
        if refund.amount_minor == attempt.captured_minor or now.refunded_minor == attempt.captured_minor:
            unwanted.given_back(work, attempt)
    return _ended(
        work,
        refund,
        states.RefundStatus.SUCCEEDED,
        channel_ref=said.channel_ref,
        business_date=day,
        event="refund.succeeded",
    )


def failed(work: Work, payment: Payment, attempt: Attempt, refund: Refund, said: Refused) -> Refund:
    """Void what is held, undo what came with it, and say so."""
    day: date = business_date(work.now)
    transfers = [_held(payment, refund, attempt, Step.VOID_HOLD, refund.posting)]
    of_overpaid = refund.attempt_number != payment.won_attempt
    live = payment.live_minor
    fee_part = attempt.fee_minor if of_overpaid else fee_on_last(payment, refund.amount_minor, live)
    if fee_part:
        transfers.append(fee_stands_again(work, payment, attempt, f"{refund.posting}:fee:again", fee_part))
    posting = f"{refund.posting}:undone"
    ledger.post_expected(work, refund.book, posting, transfers, business_date=day, fresh=True)
    if not of_overpaid:
        parts = orjson.loads(refund.taken_back)
        shared_part = refund.amount_minor - unshared_on_last(payment, refund.amount_minor, live)
        splitting.give_back_after_failed_refund(work, refund.book, payment.id, refund.posting, parts, shared_part, day)
    count(work, refund, under_way=-refund.amount_minor)
    return _ended(
        work, refund, states.RefundStatus.FAILED, failure_code=said.code, failure_message=said.message[:500],
        event="refund.failed",
    )  # fmt: skip


def came_back(work: Work, refund: Refund, said: Refused) -> Refund:
    """Undo a refund that had succeeded 退款退回: the channel has the money again, and owes it to us.

    Everything stands as before the refund: its fee, the coupon's part, the payees' shares. It is begun again only
    by somebody's decision: the payer's bank has just said no to it.
    """
    payment = work.get(PAYMENTS, (refund.book, refund.payment_id))
    attempt = work.get(ATTEMPTS, (refund.book, refund.payment_id, refund.attempt_number))
    after = advance(states.REFUND, states.RefundStatus.SUCCEEDED, states.RefundEvent.RETURNED)
    merchant, channel = between(payment, attempt)
    day, of_overpaid = business_date(work.now), refund.attempt_number != payment.won_attempt
    posting = f"{refund.posting}:returned"
    transfers = [Transfer(posting, "refund_returned", channel, merchant, refund.amount_minor, refund.currency)]
    if refund.coupon_minor:
        cost = accounts.merchant_coupon(refund.currency)
        again = f"{posting}:coupon"
        transfers.append(Transfer(again, "merchant_coupon", cost, channel, refund.coupon_minor, refund.currency))
    live = payment.live_minor
    fee_part = attempt.fee_minor if of_overpaid else fee_on_last(payment, refund.amount_minor, live)
    if fee_part:
        transfers.append(fee_stands_again(work, payment, attempt, f"{posting}:fee", fee_part))
    ledger.post_expected(work, refund.book, posting, transfers, business_date=day, fresh=True)
    if not of_overpaid:
        parts = orjson.loads(refund.taken_back)
        shared_part = refund.amount_minor - unshared_on_last(payment, refund.amount_minor, live)
        splitting.give_back_after_failed_refund(work, refund.book, payment.id, posting, parts, shared_part, day)
    count(work, refund, done=-refund.amount_minor, coupon=-refund.coupon_minor)
    work.put(
        REFUND_RETURNS,
        RefundReturn(
            refund.book, refund.id, refund.retry_count, refund.amount_minor, refund.fee_returned_minor,
            refund.coupon_minor, refund.business_date or business_date(refund.requested_at), day, said.code,
            refund.channel_ref,
        ),
    )  # fmt: skip
    failed_again = _ended(
        work, refund, after, failure_code=said.code, failure_message=said.message[:500], business_date=None,
        paid_tries=refund.paid_tries & ~(1 << refund.retry_count), event="refund.failed",
    )  # fmt: skip
    if unwanted.goes_back_by_itself(failed_again, attempt):
        unwanted.not_given_back(work, attempt, failed_again, f"it came back: {said.code} {said.message}")
    else:
        facts = {"payment": refund.payment_id, "reference": refund.reference, "code": said.code}
        cases.open_case(
            work, refund.book, unwanted.CAME_BACK, refund.id,
            amount_minor=refund.amount_minor, currency=refund.currency, facts=facts,
        )  # fmt: skip
    return failed_again


def _held(payment: Payment, refund: Refund, attempt: Attempt, step: Step, posting: str) -> Transfer:
    merchant, channel = between(payment, attempt)
    hold_id = f"{posting}:refund"
    return Transfer(
        f"{hold_id}:{step}", "refund", merchant, channel, refund.amount_minor, refund.currency, step, hold_id
    )


def _ended(work: Work, refund: Refund, status: states.RefundStatus, *, event: str, **changes: Any) -> Refund:
    ended = refund._replace(status=status.value, due_at=None, updated_at=work.now, **changes)
    work.put(REFUNDS, ended)
    unfinished.refund_ended(work, ended)
    if status is states.RefundStatus.SUCCEEDED:
        cases.close_case(work, refund.book, unwanted.CAME_BACK, ended.id, why="a later try has succeeded")
    streams.publish(work, refund.book, event, ended.id, refund_event(ended))
    return ended
