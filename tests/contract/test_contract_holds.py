"""Reserving money first 预授权, on channels that can: held, then captured in full or in part, or released."""

from dataclasses import replace

import pytest

from channels import Confirmed, Method, Pending, Refused, Unknown
from kernel.money import Money
from tests.contract.plays import Play, closed, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


@plays(method=lambda rail: rail.holds)
async def test_a_hold_moves_no_money_until_it_is_captured(play: Play, method: Method) -> None:
    order = await play.held(method)
    assert (await play.other.charged(order.reference)).times == 0
    asked = await play.client.query(order)
    assert isinstance(asked, Pending)
    assert asked.authorized == order.amount
    captured = await play.client.capture(order, order.amount)
    assert isinstance(captured, Confirmed)
    assert captured.amount == order.amount
    order = replace(order, channel_ref=captured.channel_ref)
    assert await play.client.query(order) == captured
    charged = await play.other.charged(order.reference)
    assert (charged.times, charged.minor) == (1, order.amount.minor)


@plays(method=lambda rail: rail.holds if rail.capabilities.partial_capture else [])
async def test_less_than_was_held_can_be_captured_and_the_rest_is_released(play: Play, method: Method) -> None:
    order = await play.held(method, minor=1000)
    captured = await play.client.capture(order, Money(400, order.amount.currency))
    assert isinstance(captured, Confirmed)
    assert captured.amount.minor == 400
    asked = await play.client.query(replace(order, channel_ref=captured.channel_ref, amount=captured.amount))
    assert isinstance(asked, Confirmed)
    assert asked.amount.minor == 400
    assert (await play.other.charged(order.reference)).times == 1
    again = await play.client.capture(order, Money(600, order.amount.currency))
    assert not isinstance(again, Confirmed), "the rest is gone"


@plays(method=lambda rail: rail.holds)
async def test_repeating_a_capture_takes_the_money_once(play: Play, method: Method) -> None:
    order = await play.held(method)
    for _ in range(3):
        outcome = await play.client.capture(order, order.amount)
        assert isinstance(outcome, Confirmed | Unknown), "it is never said to have failed"
    assert isinstance(await play.client.query(order), Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(method=lambda rail: rail.holds)
async def test_a_released_hold_is_closed_and_cannot_be_captured(play: Play, method: Method) -> None:
    order = await play.held(method)
    for _ in range(2):
        assert closed(await play.client.void(order))
    assert closed(await play.client.query(order))
    assert isinstance(await play.client.capture(order, order.amount), Refused | Unknown)
    assert (await play.other.charged(order.reference)).times == 0


@plays(method=lambda rail: rail.holds)
async def test_money_that_was_captured_is_never_reported_released(play: Play, method: Method) -> None:
    order = await play.held(method)
    captured = await play.client.capture(order, order.amount)
    assert isinstance(captured, Confirmed)
    assert isinstance(await play.client.void(order), Unknown)
    order = replace(order, channel_ref=captured.channel_ref)
    assert isinstance(await play.client.query(order), Confirmed)


@plays(method=lambda rail: rail.holds)
async def test_captured_money_can_be_given_back(play: Play, method: Method) -> None:
    order = await play.held(method)
    captured = await play.client.capture(order, order.amount)
    assert isinstance(captured, Confirmed)
    refund, _ = await play.sent_back(play.refund(replace(order, channel_ref=captured.channel_ref), 34))
    assert (await play.refunded(refund)).amount.minor == 34
