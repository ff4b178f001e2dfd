"""Paying on every channel, in every way it offers: tried against its counterparty running as a process of its own."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from channels import CHANNELS, ChannelClient, Confirmed, Method, Pending, Refused, Unknown
from kernel.money import Money
from tests.contract.counterparties import Payer
from tests.contract.plays import Play, closed, not_found, plays, skewed

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACTIONS: Mapping[Method, tuple[str, ...]] = {
    Method.QR: ("qr",),
    Method.JSAPI: ("jsapi",),
    Method.APP: ("app",),
    Method.H5: ("redirect", "form"),
    Method.PAGE: ("redirect", "form"),
    Method.TRANSFER: ("transfer",),
}


# ---- the payer is shown something ------------------------------------------------------------------------------------


@plays(method=lambda rail: rail.shown)
async def test_what_the_payer_is_shown_leads_to_a_payment(play: Play, method: Method) -> None:
    order = play.order(method)
    shown = await play.client.pay(order)
    assert isinstance(shown, Pending)
    assert shown.next_action is not None
    assert shown.next_action["type"] in ACTIONS[method]
    said = dict(shown.next_action)
    posted = said.pop("fields", {})  # of a form: as an object, not as a text that holds one
    assert all(isinstance(value, str) and value for value in said.values())
    assert all(isinstance(value, str) for value in posted.values())
    order = replace(order, channel_ref=shown.channel_ref)
    if method in play.rail.known_after_payer:
        assert not_found(await play.client.query(order)), "the payer has not come yet"
        await play.other.come(order, shown)
    assert isinstance(await play.client.query(order), Pending)
    await play.other.pay(order.reference)
    order, paid = await play.carried(order, await play.client.query(order))
    assert isinstance(paid, Confirmed)
    assert paid.amount == order.amount
    assert abs(paid.happened_at - play.env.now()) < timedelta(minutes=5)
    assert await play.client.query(order) == paid, "and it stays so"


@plays(method=lambda rail: [method for method in rail.shown if method is Method.TRANSFER])
async def test_a_payer_who_transfers_is_told_whose_account_it_is_and_not_what_is_bought(
    play: Play, method: Method
) -> None:
    order = replace(play.order(method), description="两杯龙井茶")
    shown = await play.client.pay(order)
    assert isinstance(shown, Pending)
    assert shown.next_action is not None
    assert shown.next_action["name"] == "tea", "the pool account's holder: payers' banks compare it"
    assert order.description not in shown.next_action.values()


@plays(method=lambda rail: rail.shown)
async def test_a_payer_who_fails_pays_nothing(play: Play, method: Method) -> None:
    order = await play.begun(play.order(method))
    await play.other.decline(order.reference)
    outcome = await play.client.query(order)
    assert isinstance(outcome, Refused if method in play.other.DECLINED_IS_FINAL else Pending)
    assert (await play.other.charged(order.reference)).times == 0


# ---- the payer has agreed before -------------------------------------------------------------------------------------


@plays(method=lambda rail: rail.at_once)
async def test_a_payer_who_has_agreed_is_charged_at_once(play: Play, method: Method) -> None:
    order = play.order(method)
    order, outcome = await play.carried(order, await play.client.pay(order))
    assert isinstance(outcome, Confirmed)
    assert outcome.amount == order.amount
    assert await play.client.query(order) == outcome


@plays(method=lambda rail: rail.at_once)
async def test_a_payer_who_is_asked_first_is_waited_for(play: Play, method: Method) -> None:
    order = play.order(method, payer=Payer.ASKS)
    order, outcome = await play.carried(order, await play.client.pay(order))
    assert isinstance(outcome, Pending)
    assert isinstance(await play.client.query(order), Pending)
    await play.other.pay(order.reference)
    order, outcome = await play.carried(order, await play.client.query(order))
    assert isinstance(outcome, Confirmed)


@plays(method=lambda rail: rail.at_once)
async def test_a_payer_who_is_asked_first_and_refuses_ends_it(play: Play, method: Method) -> None:
    order = play.order(method, payer=Payer.ASKS)
    order, _ = await play.carried(order, await play.client.pay(order))
    await play.other.decline(order.reference)
    assert isinstance(await play.client.query(order), Refused)


@plays(method=lambda rail: rail.at_once)
async def test_a_payer_without_money_is_refused_by_name(play: Play, method: Method) -> None:
    order = play.order(method, payer=Payer.BROKE)
    order, outcome = await play.carried(order, await play.client.pay(order))
    assert isinstance(outcome, Refused)
    assert outcome.code
    assert not outcome.retriable
    assert (await play.other.charged(order.reference)).times == 0


@plays(when=lambda rail: Method.BARCODE in rail.methods, paid=lambda rail: ["paid", "unpaid"])
async def test_a_reversal_undoes_a_payers_code_order_whatever_its_state(play: Play, paid: str) -> None:
    order = play.order(Method.BARCODE, payer=Payer.PAYS if paid == "paid" else Payer.ASKS)
    await play.client.pay(order)
    assert closed(await play.client.reverse(order))
    assert closed(await play.client.query(order))
    charged = await play.other.charged(order.reference)
    assert sum(charged.refunds.values()) == (charged.minor if paid == "paid" else 0)


# ---- one number, one payment -----------------------------------------------------------------------------------------


@plays(method=lambda rail: sorted(rail.methods))
async def test_asking_again_with_the_same_number_charges_once(play: Play, method: Method) -> None:
    order = play.order(method)
    for _ in range(2):
        assert not isinstance(await play.client.pay(order), Refused)
    order, outcome = await play.agreed(order)
    assert isinstance(outcome, Confirmed | Unknown)
    assert not isinstance(await play.client.pay(order), Refused)
    assert isinstance(await play.client.query(order), Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(method=lambda rail: rail.called)
async def test_the_same_number_for_another_amount_is_never_a_refusal(play: Play, method: Method) -> None:
    """The first order of that number may have been paid: only a query can tell."""
    order = await play.paid(method)
    other = replace(order, amount=Money(1, order.amount.currency), channel_ref=None)
    assert isinstance(await play.client.pay(other), Unknown | Pending)
    assert isinstance(await play.client.query(order), Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays()
async def test_an_order_nobody_made_is_not_found_and_not_refused(play: Play) -> None:
    order = play.order()
    outcome = await play.client.query(order)
    if play.rail.capabilities.query_by_resend:
        assert isinstance(outcome, Pending), "asking made it, and nobody was charged"
    else:
        assert not_found(outcome)
    assert (await play.other.charged(order.reference)).times == 0


@plays(method=lambda rail: sorted(rail.methods))
async def test_an_amount_other_than_ours_is_never_confirmed(play: Play, method: Method) -> None:
    order = await play.paid(method)
    outcome = await play.client.query(replace(order, amount=Money(1235, order.amount.currency)))
    assert isinstance(outcome, Unknown)
    assert outcome.stated_amount == order.amount


@plays(currency=lambda rail: sorted(rail.capabilities.currencies))
async def test_every_currency_the_channel_says_it_takes_is_taken(play: Play, currency: str) -> None:
    order = await play.paid(minor=7300, currency=currency)
    asked = await play.client.query(order)
    assert isinstance(asked, Confirmed)
    assert asked.amount == Money(7300, currency)
    assert (await play.other.charged(order.reference)).minor == 7300


# ---- two calls -------------------------------------------------------------------------------------------------------


@plays(method=lambda rail: rail.two_calls)
async def test_no_money_moves_before_the_second_call_and_it_may_be_repeated(play: Play, method: Method) -> None:
    order = play.order(method)
    if method in play.rail.at_once:
        waiting = await play.client.pay(order)
    else:
        order = await play.begun(order)
        await play.other.pay(order.reference)
        waiting = await play.client.query(order)
    assert isinstance(waiting, Pending)
    assert waiting.proceed
    assert waiting.channel_ref
    order = replace(order, channel_ref=waiting.channel_ref)
    assert (await play.other.charged(order.reference)).times == 0
    again = await play.client.query(order)
    assert isinstance(again, Pending)
    assert again.proceed, "whoever finds the payment later knows that the second call is missing"
    first = await play.client.proceed(order)
    assert isinstance(first, Confirmed)
    assert first.amount == order.amount
    second = await play.client.proceed(order)
    assert isinstance(second, Confirmed | Unknown), "a repetition never undoes it"
    order = replace(order, channel_ref=first.channel_ref)
    assert await play.client.query(order) == first
    assert (await play.other.charged(order.reference)).times == 1


# ---- closing ---------------------------------------------------------------------------------------------------------


@plays(method=lambda rail: rail.closes)
async def test_closing_may_be_repeated_and_ends_the_order(play: Play, method: Method) -> None:
    order = await play.begun(play.order(method))
    for _ in range(2):
        assert closed(await play.client.close(order))
    assert closed(await play.client.query(order))
    if method in play.rail.called:
        again = await play.client.pay(replace(order, channel_ref=None))
        assert not isinstance(again, Confirmed)
    assert closed(await play.client.query(order)), "asking for it again does not open it"


@plays(method=lambda rail: sorted(rail.methods))
async def test_an_order_that_was_paid_is_never_reported_closed(play: Play, method: Method) -> None:
    order = await play.paid(method)
    assert isinstance(await play.client.close(order), Unknown)
    assert isinstance(await play.client.query(order), Confirmed)


@plays(when=lambda rail: rail.main in rail.closes and not rail.capabilities.query_by_resend)
async def test_closing_an_order_nobody_made_is_not_found(play: Play) -> None:
    assert not_found(await play.client.close(play.order()))


@plays(when=lambda rail: not rail.capabilities.closes, method=lambda rail: rail.two_calls)
async def test_an_order_its_channel_cannot_close_takes_no_money_without_our_second_call(
    play: Play, method: Method
) -> None:
    order = play.order(method)
    if method in play.rail.at_once:
        await play.client.pay(order)
    else:
        order = await play.begun(order)
        await play.other.pay(order.reference)
    assert not isinstance(await play.client.close(order), Confirmed)
    asked = await play.client.query(order)
    assert closed(asked) or (isinstance(asked, Pending) and asked.proceed)
    assert (await play.other.charged(order.reference)).times == 0


@plays(when=lambda rail: rail.capabilities.expires_only, method=lambda rail: rail.shown)
async def test_an_order_that_ends_by_itself_is_not_closed_before(play: Play, method: Method) -> None:
    order = await play.begun(play.order(method))
    assert isinstance(await play.client.close(order), Unknown)
    await play.other.pay(order.reference)
    _, outcome = await play.carried(order, await play.client.query(order))
    assert isinstance(outcome, Confirmed), "until then its payer may pay"


# ---- nobody there, and nobody we are -------------------------------------------------------------------------------


@plays()
async def test_a_channel_that_is_not_there_was_sent_nothing(play: Play) -> None:
    settings = play.other.settings() | {"base_url": "http://127.0.0.1:9"}
    client = ChannelClient(CHANNELS[play.rail.name](settings), play.env)
    order = play.order()
    outcome = await (
        client.query(order) if order.method in play.rail.capabilities.payer_initiated else client.pay(order)
    )
    assert isinstance(outcome, Unknown)
    assert outcome.not_sent


@plays()
async def test_credentials_that_are_not_ours_are_a_failure_another_channel_may_make_good(play: Play) -> None:
    stranger = type(play.other)(play.other.base_url, play.other.http)
    await stranger.open_account()
    client = ChannelClient(CHANNELS[play.rail.name](play.other.with_stolen_keys(stranger)), play.env)
    order = play.order()
    if order.method in play.rail.capabilities.payer_initiated:
        assert isinstance(await client.query(order), Unknown), "what the payer carries is judged when the payer comes"
    else:
        outcome = await client.pay(order)
        refused = isinstance(outcome, Refused) and outcome.retriable
        assert refused or (isinstance(outcome, Unknown) and outcome.not_sent), outcome
    assert (await play.other.charged(order.reference)).times == 0


@plays(when=lambda rail: rail.other.REQUEST_WINDOW is not None, skew=lambda rail: ["slow", "fast"])
async def test_a_clock_that_is_wrong_gets_nothing_done(play: Play, skew: str) -> None:
    """The rail refuses what was signed too long ago, or too far ahead: it may be a recording."""
    window = play.other.REQUEST_WINDOW
    assert window is not None
    off = window + timedelta(seconds=30)
    env = skewed(play.env, -off if skew == "slow" else off)
    order = play.order()
    assert not isinstance(await ChannelClient(play.client.channel, env).pay(order), Confirmed | Pending)
    assert not_found(await play.client.query(order))
