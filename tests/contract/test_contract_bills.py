"""The day's bill says what the counterparty did: amounts, fees, both kinds."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from channels import BadBill, BillLine, Confirmed, Kind, Method
from channels.contract import RefundFee
from kernel.money import Money
from tests.contract.counterparties import Charged
from tests.contract.plays import Play, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def days_lines(play: Play) -> list[BillLine]:
    """Close the day and return its bill."""
    today = play.today()
    await play.other.close_day(today)
    bill = await play.client.bill(today)
    assert bill.content is not None, bill.reason
    return await play.client.bill_lines(bill.content, today)


def fees_given_back(charged: Charged, refunds: Sequence[int]) -> list[int]:
    """Return the fee that each refund gives back: its part of the running total, halves up."""
    back, before = [], 0
    for refund in refunds:
        total = [
            (2 * charged.fee_minor * part + charged.minor) // (2 * charged.minor) for part in (before, before + refund)
        ]
        back.append(total[1] - total[0])
        before += refund
    return back


@plays(alone=True)
async def test_a_days_bill_says_what_the_counterparty_says(play: Play) -> None:
    orders = [await play.paid(minor=minor) for minor in (1234, 100, 99_999_99)]
    refund, _ = await play.sent_back(play.refund(orders[0], 234))
    await play.refunded(refund)
    if play.other.BILL_WAITS:
        assert (await play.client.bill(play.today())).content is None
    lines = await days_lines(play)
    payments = {line.reference: line for line in lines if line.kind is Kind.PAYMENT}
    assert payments.keys() == {order.reference for order in orders}
    for order in orders:
        charged, line = await play.other.charged(order.reference), payments[order.reference]
        assert line.amount == order.amount == Money(charged.minor, order.amount.currency)
        assert (line.fee.minor, line.status) == (charged.fee_minor, "success")
        asked = await play.client.query(order)
        assert isinstance(asked, Confirmed)
        assert line.channel_ref == asked.channel_ref
        assert abs(line.happened_at - asked.happened_at) <= timedelta(seconds=5)
    (given_back,) = [line for line in lines if line.kind is Kind.REFUND]
    assert (given_back.reference, given_back.payment_reference) == (refund.reference, orders[0].reference)
    assert given_back.amount == refund.amount
    (fee_back,) = fees_given_back(await play.other.charged(orders[0].reference), [234])
    assert given_back.fee.minor == (0 if play.rail.capabilities.refund_fee is RefundFee.KEPT else -fee_back)


@plays(alone=True, when=lambda rail: len(rail.methods) > 1)
async def test_every_way_to_pay_is_in_the_bill(play: Play) -> None:
    orders = [await play.paid(method) for method in sorted(play.rail.methods)]
    lines = await days_lines(play)
    assert {line.reference for line in lines} == {order.reference for order in orders}
    assert all(line.amount.minor == 1234 for line in lines)


@plays(alone=True, method=lambda rail: rail.holds)
async def test_what_was_captured_is_in_the_bill_and_what_was_only_held_is_not(play: Play, method: Method) -> None:
    taken, released = await play.held(method, minor=1000), await play.held(method, minor=500)
    part = 400 if play.rail.capabilities.partial_capture else 1000
    captured = await play.client.capture(taken, Money(part, taken.amount.currency))
    assert isinstance(captured, Confirmed)
    await play.client.void(released)
    (line,) = await days_lines(play)
    assert (line.kind, line.reference, line.amount.minor) == (Kind.PAYMENT, taken.reference, part)
    assert line.channel_ref == captured.channel_ref


@plays(alone=True, when=lambda rail: rail.other.FUND_BILL)
async def test_a_days_fund_flow_adds_up_to_its_bill(play: Play) -> None:
    order = await play.paid(minor=100_000)
    refund, _ = await play.sent_back(play.refund(order, 5_000))
    await play.refunded(refund)
    lines = await days_lines(play)
    flow = await play.client.fund_bill(play.today())
    assert flow.content is not None
    entries = await play.client.fund_lines(flow.content, play.today())
    signed = [line.amount.minor if line.kind is Kind.PAYMENT else -line.amount.minor for line in lines]
    assert sum(entry.amount.minor for entry in entries) == sum(signed) - sum(line.fee.minor for line in lines)


@plays(alone=True, when=lambda rail: Method.BARCODE in rail.methods)
async def test_a_reversed_payment_and_its_reversal_are_both_in_the_bill(play: Play) -> None:
    order = play.order(Method.BARCODE)
    await play.client.pay(order)
    await play.client.reverse(order)
    lines = await days_lines(play)
    assert [(line.payment_reference, line.kind) for line in lines] == [
        (order.reference, Kind.PAYMENT),
        (order.reference, Kind.REFUND),
    ]
    assert lines[1].status == "reversed"


@plays(alone=True)
async def test_a_day_without_business_has_no_lines(play: Play) -> None:
    today = play.today()
    await play.other.close_day(today)
    for day in (today - timedelta(days=1), today):
        bill = await play.client.bill(day)
        assert bill.nothing or (bill.content is not None and not await play.client.bill_lines(bill.content, day))


@plays(alone=True, fault=lambda rail: rail.other.BILL_FAULTS)
async def test_a_bill_that_is_not_right_is_refused_as_a_whole(play: Play, fault: str) -> None:
    for _ in range(3):
        await play.paid()
    today = play.today()
    await play.other.bill_fault(fault, today)
    await play.other.close_day(today)
    with pytest.raises(BadBill):
        await play.client.bill_lines((await play.client.bill(today)).content or b"", today)


@plays(alone=True)
async def test_another_days_bill_is_not_read_as_todays(play: Play) -> None:
    await play.paid()
    today = play.today()
    await play.other.close_day(today)
    content = (await play.client.bill(today)).content
    assert content is not None
    with pytest.raises(BadBill):
        await play.client.bill_lines(content, today - timedelta(days=7))


@plays(alone=True)
async def test_every_fault_of_a_row_shows_in_the_bill_and_nowhere_else(play: Play) -> None:
    orders = [await play.paid(minor=minor) for minor in (1000, 2000, 3000)]
    missing, altered, doubled = orders
    await play.other.notice_fault("bill_row_missing", missing.reference)
    await play.other.notice_fault("bill_row_altered", altered.reference, delta_minor=7)
    await play.other.notice_fault("bill_row_doubled", doubled.reference)
    lines = await days_lines(play)
    assert sorted((line.reference, line.amount.minor) for line in lines) == sorted(
        [(altered.reference, 2007), (doubled.reference, 3000), (doubled.reference, 3000)]
    )
    for order in orders:
        asked = await play.client.query(order)
        assert isinstance(asked, Confirmed)
        assert asked.amount == order.amount


@plays(alone=True)
async def test_a_payment_nobody_made_and_one_of_another_state_show_in_the_bill(play: Play) -> None:
    plain, odd = await play.paid(minor=1000), await play.paid(minor=2000)
    await play.other.notice_fault("bill_row_status", odd.reference)
    await play.other.bill_fault("bill_row_extra", play.today(), total_minor=4321)
    lines = {line.reference: line for line in await days_lines(play)}
    (stranger,) = lines.keys() - {plain.reference, odd.reference}
    assert (lines[stranger].kind, lines[stranger].amount.minor) == (Kind.PAYMENT, 4321)
    assert lines[plain.reference].status == "success"
    assert lines[odd.reference].status != "success"


@plays(alone=True)
async def test_a_refund_of_another_state_shows_in_the_bill(play: Play) -> None:
    """The day's play plants this on any refund: left out of the bill it would be taken for a missing one."""
    plain, odd = [play.refund(await play.paid(minor=1000), 1000) for _ in range(2)]
    await play.other.refund_row_fault("bill_row_status", odd.reference)
    for refund in (plain, odd):
        await play.refunded((await play.sent_back(refund))[0])
    lines = {line.reference: line for line in await days_lines(play) if line.kind is Kind.REFUND}
    assert lines.keys() == {plain.reference, odd.reference}
    assert lines[plain.reference].status == "success"
    assert lines[odd.reference].status != "success"
