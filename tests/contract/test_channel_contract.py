"""What every channel must do, tried against its counterparty running as a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import aiohttp
import pytest
import pytest_asyncio
from counterparties import COUNTERPARTIES, Inbox, WeChatSandbox, inbox

from channels import (
    CHANNELS,
    BadBill,
    BadNotice,
    ChannelClient,
    Confirmed,
    HttpTransport,
    Kind,
    Method,
    Notice,
    Order,
    Pending,
    RefundOrder,
    Refused,
    Unknown,
)
from kernel.clock import business_date
from kernel.env import Env, Response, system_env
from kernel.money import Money

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Play:
    """One channel, its client, its counterparty, and the merchant's notice address."""

    client: ChannelClient
    other: WeChatSandbox
    env: Env
    box: Inbox

    def order(self, method: Method = Method.QR, *, minor: int = 1234, payer: str = "") -> Order:
        return Order(
            reference=f"1-{self.env.ids.body()}",
            amount=Money(minor, "CNY"),
            method=method,
            description="茶叶, `Tea`\n\\",
            notify_url=self.box.url,
            expires_at=self.env.now() + timedelta(hours=1),
            created_at=self.env.now(),
            auth_code=self.other.auth_code(payer) if payer else None,
            store="till-7" if payer else None,
        )

    def refund(self, order: Order, minor: int) -> RefundOrder:
        return RefundOrder(
            reference=f"1-{self.env.ids.body()}",
            payment_reference=order.reference,
            payment_amount=order.amount,
            amount=Money(minor, "CNY"),
            reason="不合适",
            notify_url=self.box.url,
            created_at=self.env.now(),
            payment_created_at=order.created_at,
        )

    async def paid(self, minor: int = 1234) -> Order:
        order = self.order(minor=minor)
        assert isinstance(await self.client.pay(order), Pending)
        await self.other.pay(order.reference)
        return order

    async def notice(self) -> Notice:
        return self.client.channel.notice(await self.box.next(), now=self.env.now())

    def today(self) -> date:
        return business_date(self.env.now())


@pytest_asyncio.fixture(loop_scope="session", params=sorted(CHANNELS))
async def play(request: pytest.FixtureRequest, base_url: str) -> AsyncIterator[Play]:
    """A fresh account at the channel for each test."""
    name = request.param
    async with aiohttp.ClientSession() as http, HttpTransport() as transport:
        other = COUNTERPARTIES[name](base_url, http)
        await other.open_account()
        channel = CHANNELS[name](other.settings())
        env = system_env(transport)
        async with inbox(channel.notice_accepted(), channel.notice_refused("later", again=True)) as box:
            yield Play(ChannelClient(channel, env), other, env, box)
        await env.tasks.aclose()


async def test_every_channel_has_a_counterparty_to_be_tried_against() -> None:
    assert COUNTERPARTIES.keys() == CHANNELS.keys()


# ---- the payer scans -------------------------------------------------------------------------------------------------


async def test_a_code_is_shown_and_paid(play: Play) -> None:
    order = play.order()
    shown = await play.client.pay(order)
    assert isinstance(shown, Pending)
    assert shown.next_action is not None
    assert shown.next_action["type"] == "qr"
    assert shown.next_action["code"]
    assert isinstance(await play.client.query(order), Pending)
    await play.other.pay(order.reference)
    paid = await play.client.query(order)
    assert isinstance(paid, Confirmed)
    assert paid.amount == order.amount
    assert abs(paid.happened_at - play.env.now()) < timedelta(minutes=5)


async def test_asking_again_with_the_same_number_charges_once(play: Play) -> None:
    order = play.order()
    for _ in range(3):
        assert isinstance(await play.client.pay(order), Pending)
    await play.other.pay(order.reference)
    assert (await play.other.charged(order.reference)).times == 1


async def test_the_same_number_for_another_amount_is_never_a_refusal(play: Play) -> None:
    """The first order of that number may have been paid: only a query can tell."""
    order = await play.paid()
    assert isinstance(await play.client.pay(replace(order, amount=Money(1, "CNY"))), Unknown)
    assert isinstance(await play.client.query(order), Confirmed)


async def test_an_order_nobody_made_is_not_found_and_not_refused(play: Play) -> None:
    outcome = await play.client.query(play.order())
    assert isinstance(outcome, Unknown)
    assert outcome.not_found


async def test_an_amount_other_than_ours_is_never_confirmed(play: Play) -> None:
    order = await play.paid()
    outcome = await play.client.query(replace(order, amount=Money(1235, "CNY")))
    assert isinstance(outcome, Unknown)
    assert outcome.stated_amount == order.amount


async def test_closing_may_be_repeated_and_ends_the_order(play: Play) -> None:
    order = play.order()
    await play.client.pay(order)
    for _ in range(2):
        closed = await play.client.close(order)
        assert isinstance(closed, Refused)
        assert closed.closed
    asked = await play.client.query(order)
    assert isinstance(asked, Refused)
    assert asked.closed
    again = await play.client.pay(order)
    assert isinstance(again, Refused)
    assert again.closed


async def test_an_order_that_was_paid_is_never_reported_closed(play: Play) -> None:
    order = await play.paid()
    assert isinstance(await play.client.close(order), Unknown)
    assert isinstance(await play.client.query(order), Confirmed)


async def test_closing_an_order_nobody_made_is_not_found(play: Play) -> None:
    outcome = await play.client.close(play.order())
    assert isinstance(outcome, Unknown)
    assert outcome.not_found


async def test_a_payer_who_fails_leaves_the_order_open(play: Play) -> None:
    order = play.order()
    await play.client.pay(order)
    await play.other.decline(order.reference)
    assert isinstance(await play.client.query(order), Pending)


# ---- the merchant scans ----------------------------------------------------------------------------------------------


async def test_a_payers_code_is_charged_at_once(play: Play) -> None:
    order = play.order(Method.BARCODE, payer=play.other.PAYS_AT_ONCE)
    outcome = await play.client.pay(order)
    assert isinstance(outcome, Confirmed)
    assert outcome.amount == order.amount
    assert await play.client.query(order) == outcome


async def test_a_payer_who_is_asked_for_a_password_is_waited_for(play: Play) -> None:
    order = play.order(Method.BARCODE, payer=play.other.ASKS_FIRST)
    assert isinstance(await play.client.pay(order), Pending)
    assert isinstance(await play.client.query(order), Pending)
    await play.other.pay(order.reference)
    assert isinstance(await play.client.query(order), Confirmed)


async def test_a_payer_who_refuses_ends_it(play: Play) -> None:
    order = play.order(Method.BARCODE, payer=play.other.ASKS_FIRST)
    await play.client.pay(order)
    await play.other.decline(order.reference)
    assert isinstance(await play.client.query(order), Refused)


async def test_a_payer_without_money_is_refused_by_name(play: Play) -> None:
    outcome = await play.client.pay(play.order(Method.BARCODE, payer=play.other.HAS_NO_MONEY))
    assert isinstance(outcome, Refused)
    assert outcome.code
    assert not outcome.retriable


@pytest.mark.parametrize("paid", [True, False], ids=["paid", "unpaid"])
async def test_a_reversal_undoes_a_payers_code_order_whatever_its_state(play: Play, paid: bool) -> None:
    order = play.order(Method.BARCODE, payer=play.other.PAYS_AT_ONCE if paid else play.other.ASKS_FIRST)
    await play.client.pay(order)
    undone = await play.client.reverse(order)
    assert isinstance(undone, Refused)
    assert undone.closed
    asked = await play.client.query(order)
    assert isinstance(asked, Refused)
    assert asked.closed
    charged = await play.other.charged(order.reference)
    assert sum(charged.refunds.values()) == (charged.minor if paid else 0)


# ---- refunds ---------------------------------------------------------------------------------------------------------


async def refunded(play: Play, refund: RefundOrder) -> Confirmed:
    """Query until the refund is done; a refund takes the channel a moment."""
    for _ in range(200):
        outcome = await play.client.refund_query(refund)
        if isinstance(outcome, Confirmed):
            return outcome
        assert isinstance(outcome, Pending)
        await asyncio.sleep(0.05)
    raise AssertionError("the refund was never done")


async def test_a_refund_is_accepted_and_then_done(play: Play) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    unknown = await play.client.refund_query(refund)
    assert isinstance(unknown, Unknown)
    assert unknown.not_found
    accepted = await play.client.refund(refund)
    assert isinstance(accepted, Pending | Confirmed)
    done = await refunded(play, refund)
    assert done.amount == refund.amount
    assert done.channel_ref == accepted.channel_ref
    assert isinstance(await play.client.query(order), Confirmed), "a refunded payment was paid"


async def test_repeating_a_refund_pays_back_once(play: Play) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    outcomes = [await play.client.refund(refund) for _ in range(3)]
    references = {outcome.channel_ref for outcome in outcomes if isinstance(outcome, Pending | Confirmed)}
    assert len(references) == 1
    assert (await play.other.charged(order.reference)).refunds == {refund.reference: 234}


async def test_the_same_refund_number_for_another_amount_is_never_a_refusal(play: Play) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    await play.client.refund(refund)
    assert isinstance(await play.client.refund(replace(refund, amount=Money(235, "CNY"))), Unknown)


async def test_a_refund_of_what_was_not_paid_is_refused(play: Play) -> None:
    order = play.order()
    await play.client.pay(order)
    outcome = await play.client.refund(play.refund(order, 234))
    assert isinstance(outcome, Refused)


# ---- the network and the channel misbehave ---------------------------------------------------------------------------

FAULTS = sorted(WeChatSandbox.FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_pay_in_doubt_is_unknown_and_a_query_settles_it(play: Play, fault: str) -> None:
    order = play.order(Method.BARCODE, payer=play.other.PAYS_AT_ONCE)
    await play.other.fault(fault, "charge", order.reference)
    outcome = await play.client.pay(order)
    assert isinstance(outcome, Unknown)
    assert (outcome.not_sent, outcome.not_found) == (False, False)
    settled = await play.client.query(order)
    if fault in play.other.NOTHING_DONE:
        assert isinstance(settled, Unknown)
        assert settled.not_found
        assert isinstance(await play.client.pay(order), Confirmed), "the same number is free to be used"
    else:
        assert isinstance(settled, Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_code_in_doubt_is_had_by_asking_again_with_the_same_number(play: Play, fault: str) -> None:
    order = play.order()
    await play.other.fault(fault, "pay", order.reference)
    assert isinstance(await play.client.pay(order), Unknown)
    assert isinstance(await play.client.pay(order), Pending)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("op", ["query", "close"])
async def test_a_question_in_doubt_is_unknown_and_may_be_asked_again(play: Play, op: str, fault: str) -> None:
    order = play.order()
    await play.client.pay(order)
    await play.other.fault(fault, op, order.reference)
    ask = play.client.query if op == "query" else play.client.close
    first = await ask(order)
    assert isinstance(first, Unknown)
    assert not first.not_found
    assert isinstance(await ask(order), Pending if op == "query" else Refused)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_reversal_in_doubt_is_repeated_until_it_answers(play: Play, fault: str) -> None:
    order = play.order(Method.BARCODE, payer=play.other.PAYS_AT_ONCE)
    await play.client.pay(order)
    await play.other.fault(fault, "reverse", order.reference)
    assert isinstance(await play.client.reverse(order), Unknown)
    assert isinstance(await play.client.reverse(order), Refused)
    assert sum((await play.other.charged(order.reference)).refunds.values()) == order.amount.minor


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_refund_in_doubt_is_asked_for_and_repeated_and_paid_back_once(play: Play, fault: str) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    await play.other.fault(fault, "refund", refund.reference, refund=True)
    assert isinstance(await play.client.refund(refund), Unknown)
    known = await play.client.refund_query(refund)
    if fault in play.other.NOTHING_DONE:
        assert isinstance(known, Unknown)
        assert known.not_found
    else:
        assert isinstance(known, Pending | Confirmed)
    assert isinstance(await play.client.refund(refund), Pending | Confirmed)
    assert (await play.other.charged(order.reference)).refunds == {refund.reference: 234}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_refund_query_in_doubt_is_unknown(play: Play, fault: str) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    await play.client.refund(refund)
    await play.other.fault(fault, "refund_query", refund.reference, refund=True)
    outcome = await play.client.refund_query(refund)
    assert isinstance(outcome, Unknown)
    assert not outcome.not_found
    await refunded(play, refund)


async def test_a_channel_that_is_not_there_was_sent_nothing(play: Play) -> None:
    settings = play.other.settings() | {"base_url": "http://127.0.0.1:9"}
    client = ChannelClient(CHANNELS[play.client.channel.name](settings), play.env)
    outcome = await client.pay(play.order())
    assert isinstance(outcome, Unknown)
    assert outcome.not_sent


async def test_credentials_that_are_not_ours_are_a_refusal_another_channel_may_make_good(play: Play) -> None:
    stranger = play.other.settings()["private_key_file"]
    await play.other.open_account()
    settings = play.other.settings() | {"private_key_file": stranger}
    client = ChannelClient(CHANNELS[play.client.channel.name](settings), play.env)
    order = play.order()
    outcome = await client.pay(order)
    assert isinstance(outcome, Refused)
    assert outcome.retriable
    assert (await play.other.charged(order.reference)).minor == 0


# ---- notices ---------------------------------------------------------------------------------------------------------


async def test_a_payment_is_told_by_a_notice_that_agrees_with_the_query(play: Play) -> None:
    order = await play.paid()
    notice = await play.notice()
    assert (notice.kind, notice.reference) == (Kind.PAYMENT, order.reference)
    assert notice.outcome == await play.client.query(order)
    assert notice.notice_id


async def test_a_refund_is_told_by_a_notice_that_agrees_with_the_query(play: Play) -> None:
    order = await play.paid()
    await play.notice()
    refund = play.refund(order, 234)
    await play.client.refund(refund)
    notice = await play.notice()
    assert (notice.kind, notice.reference) == (Kind.REFUND, refund.reference)
    assert notice.outcome == await play.client.refund_query(refund)


async def test_a_notice_that_was_refused_comes_again_with_the_same_id(play: Play) -> None:
    play.box.refuse_first = 2
    await play.paid()
    first, second, third = [await play.notice() for _ in range(3)]
    assert first == second == third


async def test_a_notice_sent_twice_reads_the_same_twice(play: Play) -> None:
    order = play.order()
    await play.client.pay(order)
    await play.other.notice_fault("notice_duplicate", order.reference, copies=2)
    await play.other.pay(order.reference)
    assert await play.notice() == await play.notice()


@pytest.mark.parametrize("fault", ["notice_forged", "notice_sigtest", "notice_unsigned"])
async def test_a_notice_that_is_not_the_channels_is_refused_and_the_right_one_is_read(play: Play, fault: str) -> None:
    order = play.order()
    await play.client.pay(order)
    await play.other.notice_fault(fault, order.reference)
    await play.other.pay(order.reference)
    right, wrong = await sorted_out(play)
    assert right.reference == order.reference
    assert wrong.code in ("bad_signature", "probe", "unsigned", "unknown_key")


async def sorted_out(play: Play) -> tuple[Notice, BadNotice]:
    """Take notices until there was one to believe and one to refuse; refused ones are sent again."""
    play.box.refuse_first = 1
    right: list[Notice] = []
    wrong: list[BadNotice] = []
    while not (right and wrong):
        try:
            right.append(await play.notice())
        except BadNotice as refused:
            wrong.append(refused)
    return right[0], wrong[0]


async def test_a_notice_of_another_amount_states_it_and_the_hub_can_see(play: Play) -> None:
    order = play.order()
    await play.client.pay(order)
    await play.other.notice_fault("notice_wrong_amount", order.reference)
    await play.other.pay(order.reference)
    outcomes = [(await play.notice()).outcome for _ in range(2)]
    amounts = [outcome.amount for outcome in outcomes if isinstance(outcome, Confirmed)]
    assert len(amounts) == 2
    assert order.amount in amounts
    assert any(amount != order.amount for amount in amounts)


async def test_a_notice_for_another_account_is_refused(play: Play) -> None:
    await play.paid()
    message = await play.box.next()
    await play.other.open_account()
    stranger = CHANNELS[play.client.channel.name](play.other.settings())
    with pytest.raises(BadNotice):
        stranger.notice(message, now=play.env.now())


async def test_a_notice_altered_on_the_way_is_refused(play: Play) -> None:
    await play.paid()
    message = await play.box.next()
    altered = Response(message.status, message.headers, message.body.replace(b"SUCCESS", b"SUCCESs", 1))
    assert altered.body != message.body
    with pytest.raises(BadNotice):
        play.client.channel.notice(altered, now=play.env.now())


# ---- bills -----------------------------------------------------------------------------------------------------------


async def test_a_days_bill_says_what_the_counterparty_says(play: Play) -> None:
    orders = [await play.paid(minor) for minor in (1234, 1, 99_999_999)]
    refund = play.refund(orders[0], 234)
    await play.client.refund(refund)
    await refunded(play, refund)
    today = play.today()
    assert (await play.client.bill(today)).content is None
    await play.other.close_day(today)
    bill = await play.client.bill(today)
    assert bill.content is not None
    lines = await play.client.bill_lines(bill.content, today)
    payments = {line.reference: line for line in lines if line.kind is Kind.PAYMENT}
    assert payments.keys() == {order.reference for order in orders}
    for order in orders:
        charged = await play.other.charged(order.reference)
        assert payments[order.reference].amount == order.amount == Money(charged.minor, "CNY")
        assert payments[order.reference].fee.minor == charged.fee_minor
        assert payments[order.reference].status == "success"
        asked = await play.client.query(order)
        assert isinstance(asked, Confirmed)
        assert payments[order.reference].channel_ref == asked.channel_ref
        assert payments[order.reference].happened_at == asked.happened_at
    (given_back,) = [line for line in lines if line.kind is Kind.REFUND]
    assert (given_back.reference, given_back.payment_reference) == (refund.reference, orders[0].reference)
    assert given_back.amount == refund.amount


async def test_a_days_fund_flow_adds_up_to_its_bill(play: Play) -> None:
    order = await play.paid(100_000)
    refund = play.refund(order, 5_000)
    await play.client.refund(refund)
    await refunded(play, refund)
    today = play.today()
    await play.other.close_day(today)
    bill, flow = await play.client.bill(today), await play.client.fund_bill(today)
    assert bill.content is not None
    assert flow.content is not None
    lines = await play.client.bill_lines(bill.content, today)
    entries = await play.client.fund_lines(flow.content, today)
    signed = [line.amount.minor if line.kind is Kind.PAYMENT else -line.amount.minor for line in lines]
    assert sum(entry.amount.minor for entry in entries) == sum(signed) - sum(line.fee.minor for line in lines)


async def test_a_reversed_payment_and_its_reversal_are_both_in_the_bill(play: Play) -> None:
    order = play.order(Method.BARCODE, payer=play.other.PAYS_AT_ONCE)
    await play.client.pay(order)
    await play.client.reverse(order)
    today = play.today()
    await play.other.close_day(today)
    bill = await play.client.bill(today)
    assert bill.content is not None
    lines = await play.client.bill_lines(bill.content, today)
    assert [(line.payment_reference, line.kind) for line in lines] == [
        (order.reference, Kind.PAYMENT),
        (order.reference, Kind.REFUND),
    ]
    assert lines[1].status == "reversed"


async def test_a_day_without_business_is_known_to_be_one(play: Play) -> None:
    assert (await play.client.bill(play.today() - timedelta(days=1))).nothing
    await play.other.close_day(play.today())
    assert (await play.client.bill(play.today())).nothing


@pytest.mark.parametrize("fault", ["bill_truncated", "bill_wrong_day", "bill_bad_hash"])
async def test_a_bill_that_is_not_right_is_refused_as_a_whole(play: Play, fault: str) -> None:
    for _ in range(3):
        await play.paid()
    today = play.today()
    await play.other.bill_fault(fault, today)
    await play.other.close_day(today)
    with pytest.raises(BadBill):
        await play.client.bill_lines((await play.client.bill(today)).content or b"", today)


# ---- keys ------------------------------------------------------------------------------------------------------------


async def test_a_new_key_of_the_channel_is_learned_under_way(play: Play) -> None:
    """The account uses certificates alone, as those that have no public key do."""
    settings = play.other.settings_with_certificates_only()
    client = ChannelClient(CHANNELS[play.client.channel.name](settings), play.env)
    order = play.order()
    assert isinstance(await client.pay(order), Pending)
    await play.other.pay(order.reference)
    new_key = await play.other.rotate_keys()
    assert isinstance(await client.query(order), Confirmed)
    assert new_key in await ChannelClient(client.channel, play.env).refresh_keys()


async def test_a_notice_under_way_while_keys_change_is_read(play: Play) -> None:
    order = await play.paid()
    under_way = await play.box.next()
    await play.other.rotate_keys()
    await play.client.refresh_keys()
    assert play.client.channel.notice(under_way, now=play.env.now()).reference == order.reference
