"""The network and the channel misbehave: what is not known is Unknown, and asking settles it."""

import pytest

from channels import Confirmed, Method, Pending, Unknown
from tests.contract.plays import NOTHING_DONE, Play, closed, not_found, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


def in_doubt(outcome: object) -> None:
    """Fail unless an outcome says that it is not known what happened."""
    assert isinstance(outcome, Unknown), outcome
    assert (outcome.not_sent, outcome.not_found) == (False, False), outcome


@plays(when=lambda rail: Method.BARCODE in rail.methods, fault=lambda rail: rail.faults)
async def test_a_charge_in_doubt_is_unknown_and_a_query_settles_it(play: Play, fault: str) -> None:
    order = play.order(Method.BARCODE)
    await play.other.fault(fault, "charge", order.reference)
    in_doubt(await play.client.pay(order))
    settled = await play.client.query(order)
    if fault in NOTHING_DONE:
        assert not_found(settled)
        assert isinstance(await play.client.pay(order), Confirmed), "the same number is free to be used"
    else:
        assert isinstance(settled, Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(method=lambda rail: [one for one in rail.called if one is not Method.BARCODE], fault=lambda rail: rail.faults)
async def test_an_order_in_doubt_is_had_by_asking_again_with_the_same_number(
    play: Play, method: Method, fault: str
) -> None:
    order = play.order(method)
    await play.other.fault(fault, "create", order.reference)
    in_doubt(await play.client.pay(order))
    order, outcome = await play.agreed(order)
    assert isinstance(outcome, Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(fault=lambda rail: rail.faults)
async def test_a_question_in_doubt_is_unknown_and_may_be_asked_again(play: Play, fault: str) -> None:
    order = await play.paid()
    await play.other.fault(fault, "query", order.reference)
    in_doubt(await play.client.query(order))
    assert isinstance(await play.client.query(order), Confirmed)


@plays(when=lambda rail: rail.main in rail.closes, fault=lambda rail: rail.faults)
async def test_a_closing_in_doubt_is_unknown_and_may_be_repeated(play: Play, fault: str) -> None:
    order = await play.begun(play.order())
    await play.other.fault(fault, "close", order.reference)
    in_doubt(await play.client.close(order))
    asked = await play.client.query(order)
    assert isinstance(asked, Pending) if fault in NOTHING_DONE else closed(asked)
    assert closed(await play.client.close(order))


@plays(method=lambda rail: rail.two_calls, fault=lambda rail: rail.faults)
async def test_a_second_call_in_doubt_is_asked_about_and_charges_once(play: Play, method: Method, fault: str) -> None:
    order = play.order(method)
    await play.other.fault(fault, "proceed", order.reference)
    order, outcome = await play.agreed(order)
    in_doubt(outcome)
    settled = await play.client.query(order)
    if fault in NOTHING_DONE:
        assert isinstance(settled, Pending)
        assert settled.proceed
    else:
        assert isinstance(settled, Confirmed)
    order, settled = await play.carried(order, settled)
    assert isinstance(settled, Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(when=lambda rail: Method.BARCODE in rail.methods, fault=lambda rail: rail.faults)
async def test_a_reversal_in_doubt_is_repeated_until_it_answers(play: Play, fault: str) -> None:
    order = play.order(Method.BARCODE)
    await play.client.pay(order)
    await play.other.fault(fault, "reverse", order.reference)
    in_doubt(await play.client.reverse(order))
    assert closed(await play.client.reverse(order))
    assert sum((await play.other.charged(order.reference)).refunds.values()) == order.amount.minor


@plays(fault=lambda rail: rail.faults)
async def test_a_refund_in_doubt_is_asked_for_and_repeated_and_paid_back_once(play: Play, fault: str) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    await play.other.fault(fault, "refund", refund.reference, refund=True)
    in_doubt(await play.client.refund(refund))
    known = await play.client.refund_query(refund)
    if fault in NOTHING_DONE:
        repeated = play.rail.capabilities.query_by_resend and isinstance(known, Pending | Confirmed)
        assert repeated or not_found(known)
    else:
        assert isinstance(known, Pending | Confirmed)
    assert isinstance(await play.client.refund(refund), Pending | Confirmed)
    assert (await play.other.charged(order.reference)).refunds == {refund.reference: 234}


@plays(fault=lambda rail: rail.faults)
async def test_a_question_about_a_refund_in_doubt_is_unknown(play: Play, fault: str) -> None:
    order = await play.paid()
    refund, _ = await play.sent_back(play.refund(order, 234))
    await play.other.fault(fault, "refund_query", refund.reference, refund=True)
    in_doubt(await play.client.refund_query(refund))
    await play.refunded(refund)


@plays(method=lambda rail: rail.holds, fault=lambda rail: rail.faults)
async def test_a_capture_in_doubt_is_asked_about_and_takes_the_money_once(
    play: Play, method: Method, fault: str
) -> None:
    order = await play.held(method)
    await play.other.fault(fault, "capture", order.reference)
    in_doubt(await play.client.capture(order, order.amount))
    known = await play.client.query(order)
    assert isinstance(known, Pending if fault in NOTHING_DONE else Confirmed), known
    captured = await play.client.capture(order, order.amount) if fault in NOTHING_DONE else known
    assert isinstance(captured, Confirmed)
    assert captured.amount == order.amount
    assert (await play.other.charged(order.reference)).times == 1


@plays(method=lambda rail: rail.holds, fault=lambda rail: rail.faults)
async def test_a_release_in_doubt_is_repeated_until_it_answers(play: Play, method: Method, fault: str) -> None:
    order = await play.held(method)
    await play.other.fault(fault, "void", order.reference)
    in_doubt(await play.client.void(order))
    assert not isinstance(await play.client.query(order), Confirmed)
    assert closed(await play.client.void(order))
    assert (await play.other.charged(order.reference)).times == 0
