"""`sluice chargeback`: what people record of chargebacks 拒付 that no rail tells of; each takes two people."""

from collections.abc import Sequence
from datetime import date

from channels.contract import Dispute, DisputeStatus
from gateway.objects import ChargebackOut, chargeback_payload
from gateway.payments.chargebacks import RecordChargeback, ended_as, noon
from gateway.payments.store import chargebacks
from gateway.store import find_attempt, find_payment
from gateway.tables import Chargeback
from kernel.db import acquire
from kernel.errors import NotFound, Rejected
from kernel.money import Money, from_major
from ops.people import Acting
from ops.wiring import Hub
from people import Act, What


async def listed(hub: Hub, book: int, *, payment_id: str | None, status: str | None) -> Sequence[ChargebackOut]:
    """Return a merchant's chargebacks as the API shows them, newest first; at most ten thousand."""
    async with acquire(hub.pool) as connection:
        rows = await chargebacks(connection, book, payment_id=payment_id, status=status, limit=10_000)
    return [chargeback_payload(row) for row in rows]


async def open_as(
    acting: Acting,
    book: int,
    payment_id: str,
    *,
    ref: str,
    amount: str,
    fee: str,
    reason: str,
    evidence: str,
    day: date,
    evidence_due: date | None,
) -> Chargeback:
    """Record that a rail took money of a payment back, as the person who acts, with another's approval.

    amount, fee: in major units of the payment's currency. Raises NotFound (no_such_payment), Rejected
    (payment_not_captured, invalid_request), Broken (chargeback_not_booked), and what Acting.second raises.
    """
    async with acquire(acting.hub.pool) as connection:
        payment = await find_payment(connection, book, payment_id)
        number = payment.won_attempt if payment is not None else 0
        attempt = await find_attempt(connection, book, payment_id, number)
    if payment is None:
        raise NotFound("no_such_payment", f"there is no payment {payment_id[:60]!r}")
    if attempt is None or not payment.captured_minor:
        raise Rejected("payment_not_captured", f"{payment.id} is {payment.status}: there is nothing to take of it")
    taken, kept = money_of(amount, payment.currency), money_of(fee, payment.currency)
    if taken.minor <= 0:
        raise Rejected("invalid_request", "a chargeback takes something")
    due = None if evidence_due is None else noon(evidence_due)
    told = Dispute(
        ref, None, attempt.channel_ref or "", DisputeStatus.OPENED, taken, kept, reason, noon(day), evidence_due_at=due
    )
    arguments = {
        "ref": ref, "amount_minor": taken.minor, "fee_minor": kept.minor, "currency": payment.currency,
        "reason": reason, "evidence": evidence, "day": day.isoformat(),
    }  # fmt: skip
    use = await acting.second(What(Act.CASES, "chargeback open", payment_id, arguments, book))
    command = RecordChargeback(
        book, payment_id, attempt.number, attempt.channel_account, told, by=acting.name, evidence=evidence
    )
    return await acting.hub.payments.disputing.record(command, use)


async def end_as(
    acting: Acting, book: int, ident: str, *, won: bool, evidence: str, day: date, fee_back: str = "0"
) -> Chargeback:
    """Record how a chargeback ended, as the person who acts, with another's approval; one that has so is as it is.

    Raises NotFound (no_such_chargeback), Rejected (invalid_request), Broken (chargeback_not_booked), and what
    Acting.second raises.
    """
    disputing = acting.hub.payments.disputing
    row = await disputing.find(book, ident)
    status = DisputeStatus.WON if won else DisputeStatus.LOST
    if row.status == status:
        return row
    if day < row.business_date:
        raise Rejected("invalid_request", f"{ident} was opened on {row.business_date}, after {day}")
    back = money_of(fee_back, row.currency)
    arguments = {"evidence": evidence, "day": day.isoformat(), "fee_back_minor": back.minor, "status": row.status}
    use = await acting.second(What(Act.CASES, f"chargeback {status}", ident, arguments, book))
    told = ended_as(row, status, day, back.minor)
    command = RecordChargeback(
        book, row.payment_id, row.attempt_number, row.channel_account, told, by=acting.name, evidence=evidence
    )
    return await disputing.record(command, use)


def money_of(text: str, currency: str) -> Money:
    """Read an amount in major units, at least nothing. Raises Rejected (invalid_request)."""
    try:
        return from_major(text, currency)
    except ValueError as error:
        raise Rejected("invalid_request", str(error)) from None
