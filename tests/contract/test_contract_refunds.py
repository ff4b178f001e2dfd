"""Giving money back on every channel."""

from dataclasses import replace

import pytest

from channels import Confirmed, Method, Pending, Refused, Unknown
from kernel.money import Money
from tests.contract.plays import Play, not_found, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


@plays(method=lambda rail: sorted(rail.methods))
async def test_a_refund_is_accepted_and_then_done(play: Play, method: Method) -> None:
    order = await play.paid(method)
    refund = play.refund(order, 234)
    if not play.rail.capabilities.query_by_resend:
        assert not_found(await play.client.refund_query(refund))
    refund, accepted = await play.sent_back(refund)
    assert isinstance(accepted, Pending | Confirmed)
    done = await play.refunded(refund)
    assert done.amount == refund.amount
    if accepted.channel_ref:
        assert done.channel_ref == accepted.channel_ref
    assert await play.client.refund_query(refund) == done, "and it stays so"
    asked = await play.client.query(order)
    assert isinstance(asked, Confirmed), "a refunded payment was paid"
    assert asked.amount == order.amount


@plays()
async def test_repeating_a_refund_pays_back_once(play: Play) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    outcomes = [await play.client.refund(refund) for _ in range(3)]
    assert all(isinstance(outcome, Pending | Confirmed) for outcome in outcomes), outcomes
    references = {outcome.channel_ref for outcome in outcomes if isinstance(outcome, Pending | Confirmed)}
    assert len(references) == 1
    assert (await play.other.charged(order.reference)).refunds == {refund.reference: 234}


@plays()
async def test_the_same_refund_number_for_another_amount_is_never_a_refusal(play: Play) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    await play.client.refund(refund)
    again = await play.client.refund(replace(refund, amount=Money(235, order.amount.currency)))
    assert isinstance(again, Unknown)
    assert (await play.other.charged(order.reference)).refunds == {refund.reference: 234}


@plays()
async def test_an_amount_other_than_ours_is_never_a_confirmed_refund(play: Play) -> None:
    order = await play.paid()
    refund, _ = await play.sent_back(play.refund(order, 234))
    await play.refunded(refund)
    outcome = await play.client.refund_query(replace(refund, amount=Money(235, order.amount.currency)))
    assert isinstance(outcome, Unknown)


@plays(when=lambda rail: rail.capabilities.partial_refunds)
async def test_several_refunds_give_back_the_whole_and_no_more(play: Play) -> None:
    order = await play.paid(minor=300)
    for minor in (100, 200):
        refund, accepted = await play.sent_back(play.refund(order, minor))
        for _ in range(100):  # some channels want a pause between two refunds of one payment
            if not isinstance(accepted, Unknown):
                break
            await play.env.sleep(0.02)
            refund, accepted = await play.sent_back(refund)
        assert (await play.refunded(refund)).amount == refund.amount
    assert isinstance(await play.client.query(order), Confirmed), "given back in full, it was still paid"
    more = play.refund(order, 1)
    over = await play.client.refund(more)
    if isinstance(over, Unknown):
        assert over.refusal is not None, "a no must end it, once the number is known to be unknown"
        assert not_found(await play.client.refund_query(more))
    else:
        assert isinstance(over, Refused)
    assert sum((await play.other.charged(order.reference)).refunds.values()) == 300


@plays()
async def test_a_payment_given_back_in_full_was_paid_and_is_never_reported_closed(play: Play) -> None:
    order = await play.paid()
    refund, _ = await play.sent_back(play.refund(order, order.amount.minor))
    await play.refunded(refund)
    asked = await play.client.query(order)
    assert isinstance(asked, Confirmed)
    assert asked.amount == order.amount
    assert not isinstance(await play.client.close(order), Refused)


@plays(method=lambda rail: rail.shown)
async def test_what_was_not_paid_is_not_given_back(play: Play, method: Method) -> None:
    order = await play.begun(play.order(method))
    outcome = await play.client.refund(play.refund(order, 234))
    assert isinstance(outcome, Refused | Unknown)
    assert not (await play.other.charged(order.reference)).refunds
