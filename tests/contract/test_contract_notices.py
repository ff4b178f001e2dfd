"""What channels tell us by themselves: believed only when it is theirs, and for us."""

from datetime import timedelta

import pytest

from channels import CHANNELS, BadNotice, Confirmed, Kind, Method, Notice
from kernel.env import Response
from tests.contract.plays import Play, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


def same(told: object, asked: object) -> None:
    """Fail unless a notice and a query say the same; some channels write moments with more digits in one of them."""
    assert isinstance(told, Confirmed)
    assert isinstance(asked, Confirmed)
    assert (told.channel_ref, told.amount) == (asked.channel_ref, asked.amount)
    assert abs(told.happened_at - asked.happened_at) <= timedelta(seconds=2)


@plays(alone=True, method=lambda rail: [one for one in sorted(rail.methods) if one is not Method.BARCODE])
async def test_a_payment_is_told_by_a_notice_that_agrees_with_the_query(play: Play, method: Method) -> None:
    order = await play.paid(method)
    notice, _ = await play.notice()
    assert (notice.kind, notice.reference) == (Kind.PAYMENT, order.reference)
    same(notice.outcome, await play.client.query(order))
    assert notice.notice_id


@plays(alone=True, when=lambda rail: rail.other.REFUND_NOTICES)
async def test_a_refund_is_told_by_a_notice_that_agrees_with_the_query(play: Play) -> None:
    order = await play.paid()
    refund, _ = await play.sent_back(play.refund(order, 234))
    notice, _ = await play.notice(Kind.REFUND)
    assert (notice.kind, notice.reference) == (Kind.REFUND, refund.reference)
    same(notice.outcome, await play.client.refund_query(refund))


@plays(alone=True)
async def test_a_notice_that_was_refused_comes_again_with_the_same_id(play: Play) -> None:
    play.box.refuse_first = 2
    await play.paid()
    first, _ = await play.notice()
    second, _ = await play.notice()
    assert first == second


@plays(alone=True)
async def test_a_notice_sent_twice_reads_the_same_twice(play: Play) -> None:
    order = play.order()
    await play.other.notice_fault("notice_duplicate", order.reference, copies=2)
    await play.agreed(order)
    first, _ = await play.notice()
    second, _ = await play.notice()
    assert first == second


@plays(alone=True)
async def test_a_notice_that_is_late_still_says_what_happened(play: Play) -> None:
    order = play.order()
    await play.other.notice_fault("notice_delay", order.reference, ms=300)
    order, outcome = await play.agreed(order)
    assert not play.box.holds(play.other.TELLS_PAID)
    notice, _ = await play.notice()
    same(notice.outcome, outcome)


@plays(alone=True)
async def test_notices_in_another_order_each_speak_of_their_own_payment(play: Play) -> None:
    first, second = play.order(minor=100), play.order(minor=200)
    await play.other.notice_fault("notice_reordered", first.reference)
    if play.other.TELLS_PAID:  # the payers' consent has notices of its own; let these pass before
        for order in (first, second):
            await play.begun(order)
            await play.other.pay(order.reference)
            assert play.other.TELLS_PAID not in (await play.box.next()).body
    for order in (first, second):
        _, outcome = await play.agreed(order)
        assert isinstance(outcome, Confirmed)
    told = [(await play.notice())[0] for _ in range(2)]
    assert [notice.reference for notice in told] == [second.reference, first.reference]
    assert [notice.outcome.amount.minor for notice in told if isinstance(notice.outcome, Confirmed)] == [200, 100]


@plays(alone=True, fault=lambda rail: rail.notice_faults)
async def test_a_notice_that_is_not_the_channels_is_refused_and_the_right_one_is_read(play: Play, fault: str) -> None:
    order = play.order()
    await play.other.notice_fault(fault, order.reference)
    play.box.refuse_first = 1  # as the hub's door does with the wrong one
    await play.agreed(order)
    right, wrong = await sorted_out(play)
    assert right.reference == order.reference
    assert wrong.code


async def sorted_out(play: Play) -> tuple[Notice, BadNotice]:
    """Take notices until there was one to believe and one to refuse; refused ones are sent again."""
    right: list[Notice] = []
    wrong: list[BadNotice] = []
    while not (right and wrong):
        try:
            right.append((await play.notice())[0])
        except BadNotice as refused:
            wrong.append(refused)
    return right[0], wrong[0]


@plays(alone=True)
async def test_a_notice_of_another_amount_states_it_and_the_hub_can_see(play: Play) -> None:
    order = play.order()
    await play.other.notice_fault("notice_wrong_amount", order.reference)
    await play.agreed(order)
    outcomes = [(await play.notice())[0].outcome for _ in range(2)]
    amounts = [outcome.amount for outcome in outcomes if isinstance(outcome, Confirmed)]
    assert len(amounts) == 2
    assert order.amount in amounts
    assert any(amount != order.amount for amount in amounts)


@plays(alone=True)
async def test_a_notice_for_another_account_is_refused(play: Play) -> None:
    await play.paid()
    _, message = await play.notice()
    other = type(play.other)(play.other.base_url, play.other.http)
    await other.open_account()
    if not play.rail.capabilities.per_order_notices:
        await other.register_notices(play.box.url)
    stranger = CHANNELS[play.rail.name](other.settings())
    with pytest.raises(BadNotice):
        stranger.notice(message, now=play.env.now())


@plays(alone=True)
async def test_a_notice_altered_on_the_way_is_refused(play: Play) -> None:
    await play.paid()
    _, message = await play.notice()
    body = message.body
    letters = [place for place in range(len(body)) if body[place : place + 1].isalnum()]
    for part in range(1, 8):
        place = letters[len(letters) * part // 8]
        wrong = b"1" if body[place : place + 1] == b"0" else b"0"
        altered = Response(message.status, message.headers, body[:place] + wrong + body[place + 1 :])
        with pytest.raises(BadNotice):
            play.client.channel.notice(altered, now=play.env.now())


@plays(alone=True, when=lambda rail: rail.other.WINDOW is not None)
async def test_a_notice_is_read_within_the_channels_window_and_not_after(play: Play) -> None:
    window = play.other.WINDOW
    assert window is not None
    await play.paid()
    told, message = await play.notice()
    almost = play.env.now() + window - timedelta(seconds=20)
    assert play.client.channel.notice(message, now=almost) == told
    for off in (window + timedelta(seconds=1), -window - timedelta(seconds=20)):
        with pytest.raises(BadNotice):
            play.client.channel.notice(message, now=play.env.now() + off)
