"""The hub's own payments, refunds and chargebacks of a channel account's day, as they are held against its bill."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from channels.contract import BillLine
from channels.contract import Kind as Item
from channels.powers import TellsDisputes
from gateway import states
from gateway.accounts.ready import Ready
from gateway.payments.store import charged_back_on, find_dispute
from gateway.store import came_back, captured_on, find_attempt, find_payment, find_refund, find_return, refunded_on
from gateway.tables import Attempt, Chargeback, Payment, Refund, RefundReturn, attempt_number, refund_number
from kernel.clock import business_date
from kernel.db import Connection
from kernel.ids import parse_reference
from kernel.money import Money
from reconciliation.matching.match import Movement, told_of


async def movements_of(
    connection: Connection, book: int, ready: Ready, day: date, lines: Sequence[BillLine]
) -> list[Movement]:
    """Return ours of the day, and every other one the bill carries, whatever its date and status."""
    account_id, unbilled = ready.account.id, not isinstance(ready.client.channel, TellsDisputes)
    found = [_payment(p, a) for p, a in await captured_on(connection, book, account_id, day)]
    found += [_refund(r, a) for r, a in await refunded_on(connection, book, account_id, day)]
    for back, refund, attempt in await came_back(connection, book, account_id, day):
        found += [one for one in _came_back(back, refund, attempt) if one.business_date == day]
    for row, attempt in await charged_back_on(connection, book, account_id, day):
        both = _chargeback(row, attempt.reference, unbilled=unbilled)
        found += [one for one in both if one.business_date == day]
    have = {(movement.kind, movement.reference) for movement in found}
    for line in lines:
        if (told_of(line), line.reference) in have:
            continue
        other = await _elsewhere(connection, book, account_id, line)
        if other is not None:
            have.add((other.kind, other.reference))
            found.append(other)
    return found


async def _elsewhere(connection: Connection, book: int, account_id: str, line: BillLine) -> Movement | None:
    """Return what a bill's line is to us when it is not of the day; None for what we know nothing of."""
    if line.kind in (Item.CHARGEBACK, Item.CHARGEBACK_WON):
        row = await find_dispute(connection, book, account_id, line.reference)
        both = [] if row is None else _chargeback(row, line.payment_reference)
        return next((one for one in both if one.kind is line.kind), None)
    of_payment = told_of(line) is Item.PAYMENT
    parsed = parse_reference(line.reference, "pay" if of_payment else "re")
    if parsed is None or parsed[0] != book:
        return None
    if of_payment:
        payment_id, number = attempt_number(parsed[1])
        payment = await find_payment(connection, book, payment_id)
        attempt = await find_attempt(connection, book, payment_id, number)
        return _payment(payment, attempt) if payment and attempt else None
    refund_id, tried = refund_number(parsed[1])
    refund = await find_refund(connection, book, refund_id)
    if refund is None or not 0 <= tried <= refund.retry_count:
        return None
    attempt = await find_attempt(connection, book, refund.payment_id, refund.attempt_number)
    if attempt is None:
        return None
    back = await find_return(connection, book, refund_id, tried)
    if back is not None:
        return next(one for one in _came_back(back, refund, attempt) if one.kind is told_of(line))
    found = _refund(refund, attempt)
    if told_of(line) is Item.RETURN:
        if refund.status != states.RefundStatus.FAILED and tried == refund.retry_count:
            return None  # to us it has not come back
        return replace(
            found, kind=Item.RETURN, reference=line.reference, status="failed",
            fee_minor=-found.fee_minor, coupon_minor=-found.coupon_minor,
        )  # fmt: skip
    if tried == refund.paid_as:
        return found
    # Another number of a refund that was tried again: refused there, or paid as well.
    status = "success" if refund.was_paid(tried) else "failed"
    return replace(found, reference=line.reference, status=status)


_STATUS = {
    **dict.fromkeys(("confirmed", "late", "overpaid"), "success"),
    **dict.fromkeys(("refused", "closed", "failed_over"), "failed"),
}


def _payment(payment: Payment, attempt: Attempt) -> Movement:
    return Movement(
        Item.PAYMENT,
        attempt.reference,
        attempt.reference,
        Money(attempt.captured_minor or attempt.capture_minor or payment.amount_minor, payment.currency),
        attempt.fee_minor if attempt.captured_minor else 0,
        _STATUS.get(attempt.status, "processing"),
        attempt.business_date or business_date(payment.created_at),
        attempt.channel_ref,
        attempt.coupon_minor,
    )


def _refund(refund: Refund, attempt: Attempt) -> Movement:
    status = {"succeeded": "success", "failed": "failed"}.get(refund.status, "processing")
    return Movement(
        Item.REFUND,
        refund.reference_of(refund.paid_as),
        attempt.reference,
        Money(refund.amount_minor, refund.currency),
        -refund.fee_returned_minor,
        status,
        refund.business_date or business_date(refund.requested_at),
        refund.channel_ref,
        -refund.coupon_minor,
    )


def _came_back(back: RefundReturn, refund: Refund, attempt: Attempt) -> list[Movement]:
    """Return a refund that came back as the two movements it was: out on its day, in on the day of its return."""
    number = refund._replace(retry_count=back.retry_count).reference
    amount = Money(back.amount_minor, refund.currency)

    def movement(kind: Item, sign: int, status: str, day: date) -> Movement:
        return Movement(
            kind, number, attempt.reference, amount, sign * back.fee_returned_minor, status, day, back.channel_ref,
            sign * back.coupon_minor,
        )  # fmt: skip

    return [
        movement(Item.REFUND, -1, "returned", back.business_date),
        movement(Item.RETURN, 1, "success", back.returned_date),
    ]


def _chargeback(row: Chargeback, payment_reference: str, *, unbilled: bool = False) -> list[Movement]:
    """Return a chargeback as the movements it was: out on its day, and in on the day on which it was won."""
    amount, kept = Money(row.amount_minor, row.currency), row.fee_minor - row.fee_returned_minor

    def movement(kind: Item, fee_minor: int, coupon_minor: int, day: date) -> Movement:
        return Movement(
            kind, row.channel_ref, payment_reference, amount, fee_minor, "success", day, row.channel_ref, coupon_minor,
            unbilled,
        )  # fmt: skip

    found = [movement(Item.CHARGEBACK, kept, -row.coupon_minor, row.business_date)]
    if row.status == states.ChargebackStatus.WON and row.ended_date is not None:
        back = row.fee_returned_minor - row.fee_back_minor
        found.append(movement(Item.CHARGEBACK_WON, back, row.coupon_minor, row.ended_date))
    return found
