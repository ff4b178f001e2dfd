"""Every way in which a rail can do harm, and what keeps it from that.

Answers are given to another question than they answer. That needs no forging: the rail itself signed them just now.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from channels import (
    CHANNELS,
    BadBill,
    BadNotice,
    Channel,
    ChannelClient,
    Confirmed,
    Kind,
    Method,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Unknown,
)
from channels.contract import BillFile, Request, Response
from kernel.addresses import Addresses
from kernel.env import Transport
from kernel.money import Money
from tests.contract.counterparties import SHOWN, Counterparty, Payer
from tests.contract.plays import UNHEARD_OF, Play, closed, not_found, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


def believed_nothing(outcome: Outcome) -> None:
    """Fail unless an answer led to nothing but the next question."""
    assert isinstance(outcome, Unknown), outcome
    assert not outcome.not_found, outcome
    assert outcome.refusal is None, outcome


async def a_stranger(play: Play) -> tuple[Counterparty, Channel]:
    """Return another merchant of the same rail."""
    other = type(play.other)(play.other.base_url, play.other.http)
    await other.open_account()
    if not play.rail.capabilities.per_order_notices:
        await other.register_notices(play.box.url)
    return other, CHANNELS[play.rail.name](other.settings())


# ---- whose answer it is ----------------------------------------------------------------------------------------------


@plays(method=lambda rail: sorted(rail.methods))
async def test_what_is_said_of_another_order_is_not_believed_of_this_one(play: Play, method: Method) -> None:
    """Both are of the same amount, and the answer is the rail's own and fresh."""
    ours, others = play.order(method), await play.paid(method)
    if method in SHOWN:
        ours = await play.begun(ours)
    about_others = await play.answer("query", others)
    assert isinstance(play.reads("query", others, about_others), Confirmed)
    believed_nothing(play.reads("query", ours, about_others))


@plays(method=lambda rail: rail.closes)
async def test_another_orders_closing_closes_nothing_else(play: Play, method: Method) -> None:
    ours, others = [await play.begun(play.order(method)) for _ in range(2)]
    await play.client.close(others)
    believed_nothing(play.reads("query", ours, await play.answer("query", others)))
    if "close" not in play.other.UNNAMED:
        believed_nothing(play.reads("close", ours, await play.answer("close", others)))


@plays(when=lambda rail: Method.BARCODE in rail.methods)
async def test_what_is_said_of_another_payers_code_is_not_believed_of_this_one(play: Play) -> None:
    ours, others = play.order(Method.BARCODE), play.order(Method.BARCODE)
    charged = await play.answer("pay", others)
    assert isinstance(play.reads("pay", others, charged), Confirmed)
    believed_nothing(play.reads("pay", ours, charged))
    await play.client.pay(ours)
    reversed_ = await play.answer("reverse", others)
    assert isinstance(play.reads("reverse", others, reversed_), Refused)
    believed_nothing(play.reads("reverse", ours, reversed_))


@plays(method=lambda rail: rail.holds)
async def test_what_is_said_of_other_reserved_money_is_not_believed_of_this(play: Play, method: Method) -> None:
    ours, others, released = [await play.held(method) for _ in range(3)]
    believed_nothing(play.reads("query", ours, await play.answer("query", others)))
    captured = await play.client.capture(others, others.amount)
    assert isinstance(captured, Confirmed)
    taken = await play.answer("query", replace(others, channel_ref=captured.channel_ref))
    assert not isinstance(play.reads("query", ours, taken), Confirmed)
    await play.client.void(released)
    assert not isinstance(play.reads("query", ours, await play.answer("query", released)), Refused)


@plays()
async def test_what_is_said_of_another_refund_is_not_believed_of_this_one(play: Play) -> None:
    """Of another refund of the same payment and amount, and of the refund of another payment."""
    order, another = await play.paid(), await play.paid()
    done = []
    for paid in (order, another):
        refund, _ = await play.sent_back(play.refund(paid, 100))
        await play.refunded(refund)
        done.append(refund)
    ours = play.refund(order, 100)
    for others in done:
        about_others = await play.answer("refund_query", others)
        assert isinstance(play.reads("refund_query", others, about_others), Confirmed)
        for asked in (ours, replace(ours, channel_ref="0")):
            assert not isinstance(play.reads("refund_query", asked, about_others), Confirmed | Refused | Pending)
    if "refunded" in play.other.UNNAMED:
        return
    mixed = replace(done[0], payment_reference=another.reference, payment_channel_ref=another.channel_ref)
    outcome = play.reads("refund_query", mixed, await play.answer("refund_query", done[0]))
    assert not isinstance(outcome, Confirmed | Refused | Pending), "its number, and another payment"


@plays()
async def test_what_is_said_of_another_refund_when_it_is_asked_for_is_not_believed_of_this_one(play: Play) -> None:
    order, another = await play.paid(), await play.paid()
    others = play.refund(order, 100)
    accepted = await play.answer("refund", others)
    assert isinstance(play.reads("refund", others, accepted), Confirmed | Pending)
    believed_nothing(play.reads("refund", play.refund(another, 100), accepted))
    if "refund" not in play.other.UNNAMED:
        believed_nothing(play.reads("refund", play.refund(order, 100), accepted))


@plays(method=lambda rail: [] if "merchant" in rail.other.UNNAMED else sorted(rail.methods))
async def test_what_is_said_of_another_merchants_order_of_the_same_number_is_not_believed(
    play: Play, method: Method
) -> None:
    """Each merchant has numbers of its own, so two of them may have the same."""
    other, channel = await a_stranger(play)
    theirs = Play(play.rail, ChannelClient(channel, play.env), other, play.env, play.box)
    ours = play.order(method)
    if method is not Method.BARCODE:
        ours = await play.begun(ours)
    same = replace(theirs.order(method), reference=ours.reference, amount=ours.amount, created_at=ours.created_at)
    same, outcome = await theirs.agreed(same)
    assert isinstance(outcome, Confirmed)
    answer = await theirs.answer("query", same)
    believed_nothing(play.reads("query", ours, answer))


@plays(alone=True, when=lambda rail: not {"merchant", "notices"} & set(rail.other.UNNAMED))
async def test_what_names_another_merchant_is_not_believed_under_our_own_keys_either(play: Play) -> None:
    """Keys may be one rail's for all, or shared by accounts: what a message says of itself counts too."""
    other, _ = await a_stranger(play)
    ours = play.other.settings()
    theirs = {name: other.merchant if value == play.other.merchant else value for name, value in ours.items()}
    assert theirs != ours, "the settings do not say which merchant it is"
    twin = CHANNELS[play.rail.name](theirs)
    order = await play.paid()
    answer = await play.answer("query", order)
    assert isinstance(play.reads("query", order, answer), Confirmed)
    believed_nothing(twin.query_outcome(order, answer, now=play.env.now()))
    _, message = await play.notice()
    with pytest.raises(BadNotice):
        twin.notice(message, now=play.env.now())


@plays()
async def test_the_same_figure_in_another_currency_is_never_confirmed(play: Play) -> None:
    order = await play.paid()
    another = "USD" if order.amount.currency != "USD" else "EUR"
    outcome = await play.client.query(replace(order, amount=Money(order.amount.minor, another)))
    assert isinstance(outcome, Unknown)
    refund, _ = await play.sent_back(play.refund(order, 234))
    await play.refunded(refund)
    outcome = await play.client.refund_query(replace(refund, amount=Money(234, another)))
    assert isinstance(outcome, Unknown)


# ---- words nobody knows ----------------------------------------------------------------------------------------------


async def a_word_for_it(play: Play, word: str, op: str, asked: Order | RefundOrder) -> Response:
    """Ask, and return the rail's own answer with this word for every state in it."""
    refund = isinstance(asked, RefundOrder)
    await play.other.says_instead(word, {"pay": "create"}.get(op, op), asked.reference, refund=refund)
    answer = await play.answer(op, asked)
    assert word.encode() in answer.body
    return answer


@plays(method=lambda rail: sorted({rail.main, *rail.at_once}), word=lambda rail: UNHEARD_OF)
async def test_a_payments_state_in_a_word_nobody_knows_is_asked_about_again(
    play: Play, method: Method, word: str
) -> None:
    """Whether it was paid or not: a rail that has gained a word is neither yes nor no."""
    paid = await play.paid(method)
    believed_nothing(play.reads("query", paid, await a_word_for_it(play, word, "query", paid)))
    assert isinstance(await play.client.query(paid), Confirmed)
    if method in SHOWN:
        unpaid = await play.begun(play.order(method))
        believed_nothing(play.reads("query", unpaid, await a_word_for_it(play, word, "query", unpaid)))
        assert isinstance(await play.client.query(unpaid), Pending)


@plays(method=lambda rail: rail.holds, word=lambda rail: UNHEARD_OF)
async def test_reserved_money_in_a_word_nobody_knows_is_asked_about_again(
    play: Play, method: Method, word: str
) -> None:
    order = await play.begun(play.order(method, hold=True)) if method in SHOWN else play.order(method, hold=True)
    if method in SHOWN:
        await play.other.pay(order.reference)
        believed_nothing(play.reads("query", order, await a_word_for_it(play, word, "query", order)))
        order, outcome = await play.carried(order, await play.client.query(order))
    else:
        order, outcome = await play.agreed(order)
    assert isinstance(outcome, Pending)
    assert outcome.authorized == order.amount
    await play.other.says_instead(word, "capture", order.reference)
    believed_nothing(await play.client.capture(order, order.amount))
    await play.other.says_instead(word, "query", order.reference)
    believed_nothing(await play.client.query(order))
    assert isinstance(await play.client.query(order), Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(when=lambda rail: Method.BARCODE in rail.methods, word=lambda rail: UNHEARD_OF)
async def test_a_charge_answered_in_a_word_nobody_knows_is_asked_about(play: Play, word: str) -> None:
    order = play.order(Method.BARCODE)
    await play.other.says_instead(word, "charge", order.reference)
    believed_nothing(play.reads("pay", order, await play.answer("pay", order)))
    assert isinstance(await play.client.query(order), Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(method=lambda rail: rail.two_calls, word=lambda rail: UNHEARD_OF)
async def test_a_second_call_answered_in_a_word_nobody_knows_is_asked_about(
    play: Play, method: Method, word: str
) -> None:
    order = play.order(method)
    believed_nothing(play.reads("pay", order, await a_word_for_it(play, word, "pay", order)))
    await play.other.says_instead(word, "proceed", order.reference)
    order, outcome = await play.agreed(order)
    believed_nothing(outcome)
    order, outcome = await play.carried(order, await play.client.query(order))
    assert isinstance(outcome, Confirmed)
    assert (await play.other.charged(order.reference)).times == 1


@plays(method=lambda rail: [] if "close" in rail.other.UNNAMED else rail.closes, word=lambda rail: UNHEARD_OF)
async def test_a_closing_answered_in_a_word_nobody_knows_is_asked_for_again(
    play: Play, method: Method, word: str
) -> None:
    order = await play.begun(play.order(method))
    believed_nothing(play.reads("close", order, await a_word_for_it(play, word, "close", order)))
    outcome = await play.client.close(order)
    assert isinstance(outcome, Refused)
    assert outcome.closed


@plays(word=lambda rail: UNHEARD_OF)
async def test_a_refunds_state_in_a_word_nobody_knows_is_asked_about_again(play: Play, word: str) -> None:
    order = await play.paid()
    refund = play.refund(order, 234)
    outcome = play.reads("refund", refund, await a_word_for_it(play, word, "refund", refund))
    assert isinstance(outcome, Unknown | Pending), outcome
    refund, outcome = await play.sent_back(refund)
    assert isinstance(outcome, Pending | Confirmed)
    believed_nothing(play.reads("refund_query", refund, await a_word_for_it(play, word, "refund_query", refund)))
    await play.refunded(refund)
    assert (await play.other.charged(order.reference)).refunds == {refund.reference: 234}


# ---- what undoes, and arrives late -----------------------------------------------------------------------------------


async def overtaken(play: Play, op: str, order: Order) -> str:
    """Send what is to undo an order; it is held up on its way. Returns what lets it arrive."""
    held = await play.other.hold_back(op, order.reference)
    believed_nothing(await getattr(play.client, op)(order))
    return held


@plays(when=lambda rail: Method.BARCODE in rail.methods)
async def test_a_reversal_carried_out_after_the_rail_said_paid_is_told_of_when_asked(play: Play) -> None:
    order = play.order(Method.BARCODE, payer=Payer.ASKS)
    assert isinstance(await play.client.pay(order), Pending)
    held = await overtaken(play, "reverse", order)
    await play.other.pay(order.reference)
    assert isinstance(await play.client.query(order), Confirmed)
    await play.other.let_through(held)
    assert sum((await play.other.charged(order.reference)).refunds.values()) == order.amount.minor
    told = await play.client.query(order)
    assert closed(told) or (isinstance(told, Unknown) and told.given_back), told


@plays(method=lambda rail: rail.closes)
async def test_a_closing_carried_out_after_the_payment_gives_nothing_back(play: Play, method: Method) -> None:
    order = await play.begun(play.order(method))
    held = await overtaken(play, "close", order)
    await play.other.pay(order.reference)
    order, paid = await play.carried(order, await play.client.query(order))
    assert isinstance(paid, Confirmed)
    await play.other.let_through(held)
    assert await play.client.query(order) == paid
    charged = await play.other.charged(order.reference)
    assert (charged.times, charged.refunds) == (1, {})


@plays(method=lambda rail: rail.holds)
async def test_a_release_carried_out_after_the_capture_gives_nothing_back(play: Play, method: Method) -> None:
    order = await play.held(method)
    held = await overtaken(play, "void", order)
    captured = await play.client.capture(order, order.amount)
    assert isinstance(captured, Confirmed)
    await play.other.let_through(held)
    order = replace(order, channel_ref=captured.channel_ref)
    assert isinstance(await play.client.query(order), Confirmed)
    charged = await play.other.charged(order.reference)
    assert (charged.times, charged.refunds) == (1, {})


# ---- when an order ends ----------------------------------------------------------------------------------------------


@plays(when=lambda rail: not rail.other.NO_EXPIRY)
async def test_no_order_can_be_paid_after_the_moment_we_said(play: Play) -> None:
    methods = [
        method for method in play.rail.shown if method not in play.rail.capabilities.authorizes
    ] or play.rail.shown
    for seconds in (2, 4, 8, 16, 32):  # a busy machine may need longer to place them
        ends = play.env.now() + timedelta(seconds=seconds)
        placed = [await placed_until(play, method, ends) for method in methods]
        if all(placed) and play.env.now() < ends:
            break
    orders = [order for order in placed if order is not None]
    assert len(orders) == len(methods)
    while play.env.now() <= ends + timedelta(seconds=1):
        await play.env.sleep(0.1)
    for order in orders:
        assert not await play.other.can_pay(order.reference), f"{order.method} was paid after its end"
        assert not isinstance(await play.client.query(order), Confirmed)
        assert (await play.other.charged(order.reference)).times == 0


async def placed_until(play: Play, method: Method, ends: datetime) -> Order | None:
    """Place an order that ends then; None where it had ended before it was placed."""
    order = replace(play.order(method), expires_at=ends)
    outcome = await play.client.pay(order)
    if not isinstance(outcome, Pending):
        return None
    order = replace(order, channel_ref=outcome.channel_ref or order.channel_ref)
    if method in play.rail.known_after_payer:
        await play.other.come(order, outcome)
    return order


# ---- refunds that fail -----------------------------------------------------------------------------------------------


def failed(outcome: Outcome) -> bool:
    """Tell whether a refund is known to have failed, or to wait for a person."""
    if isinstance(outcome, Pending):
        return outcome.next_action is not None and outcome.next_action.get("type") == "operator"
    return isinstance(outcome, Refused)


@plays(alone=True)
async def test_a_refund_that_fails_is_known_to_have_failed(play: Play) -> None:
    order = await play.paid()
    await play.other.refund_fails(order.reference)
    refund, outcome = await play.sent_back(play.refund(order, 234))
    for _ in range(120):
        assert not isinstance(outcome, Confirmed), "the payer has nothing"
        if failed(outcome):
            break
        await play.env.sleep(0.02)
        outcome = await play.client.refund_query(refund)
    assert failed(outcome), outcome
    asked = await play.client.refund_query(refund)
    assert failed(asked) or not_found(asked), "and it stays so"
    if play.other.REFUND_NOTICES and play.other.FAILED_REFUND_NOTICES:
        while True:
            notice = await play.read(await play.box.next())
            if notice is not None and notice.kind is Kind.REFUND and not plain(notice.outcome):
                break
        assert notice.reference == refund.reference
        assert failed(notice.outcome)


def plain(outcome: Outcome) -> bool:
    """Tell whether an outcome says no more than that something is under way."""
    return isinstance(outcome, Pending) and outcome.next_action is None


# ---- bills -----------------------------------------------------------------------------------------------------------


async def days_bill(play: Play) -> tuple[Request, Response, BillFile, Response | None]:
    """Close the day; return the request for its bill, what was answered, what that means, and the file's answer."""
    channel, today = play.client.channel, play.today()
    await play.other.close_day(today)
    asked = channel.bill_request(today)
    answer = await play.answered("bill", asked)
    file = channel.bill_file(asked, answer, now=play.env.now())
    assert file.ready, file.reason
    return asked, answer, file, await play.answered("bill_file", file.download) if file.download else None


def altered(message: Response, places: int = 24) -> Sequence[Response]:
    """Return a message with one letter or digit changed, at several places."""
    body = message.body
    able = [place for place in range(len(body)) if body[place : place + 1].isalnum()]
    chosen = [able[len(able) * part // places] for part in range(places)]
    return [
        replace(message, body=body[:at] + (b"1" if body[at : at + 1] == b"0" else b"0") + body[at + 1 :])
        for at in chosen
    ]


def taken(channel: Channel, asked: Request, answer: Response, now: datetime) -> BillFile | None:
    """Return what an answer to a bill request is read as; None where it is not believed, and asked for again."""
    try:
        file = channel.bill_file(asked, answer, now=now)
    except BadBill:
        return None
    return file if file.ready or file.nothing else None


def content_of(channel: Channel, file: BillFile, answer: Response) -> bytes | None:
    try:
        return channel.bill_content(file, answer)
    except BadBill:
        return None


@plays(alone=True, when=lambda rail: not rail.other.BILL_UNVOUCHED)
async def test_a_bill_altered_on_the_way_is_not_read(play: Play) -> None:
    await play.paid()
    channel, now = play.client.channel, play.env.now()
    asked, answer, file, download = await days_bill(play)
    if download is None:
        read = [taken(channel, asked, wrong, now) for wrong in altered(answer)]
        assert [one for one in read if one not in (None, file)] == []  # a letter may stand where it says nothing
        assert None in read
        return
    right = channel.bill_content(file, download)
    contents = [content_of(channel, file, wrong) for wrong in altered(download)]
    assert [one for one in contents if one not in (None, right)] == []
    assert None in contents
    assert all(taken(channel, asked, wrong, now) in (None, file) for wrong in altered(answer))


@plays(alone=True, when=lambda rail: not rail.other.BILL_UNVOUCHED)
async def test_a_whole_bill_of_other_bytes_is_not_read_in_its_place(play: Play) -> None:
    """What was announced is that file, and no other well-formed one."""
    await play.paid()
    channel = play.client.channel
    _, _, file, download = await days_bill(play)
    if download is None or file.sha1 is None:
        return  # the file came in what is signed, or from an address that alone vouches for it
    content = channel.bill_content(file, download)
    with pytest.raises(BadBill):
        channel.bill_content(file, replace(download, body=content + b"\n"))
    with pytest.raises(BadBill):
        channel.bill_content(replace(file, sha1="0" * 40), download)


@plays(alone=True, when=lambda rail: not rail.other.BILL_OF_NOBODY)
async def test_another_merchants_bill_is_not_read_as_ours(play: Play) -> None:
    other, channel = await a_stranger(play)
    theirs = Play(play.rail, ChannelClient(channel, play.env), other, play.env, play.box)
    await theirs.paid()
    today = play.today()
    await other.close_day(today)
    content = (await theirs.client.bill(today)).content
    assert content is not None
    assert list(channel.bill_lines(content, today))
    with pytest.raises(BadBill):
        list(play.client.channel.bill_lines(content, today))


@plays(alone=True, when=lambda rail: len(rail.capabilities.currencies) > 1)
async def test_a_bill_states_each_currency_in_its_own_smallest_unit(play: Play) -> None:
    orders = [await play.paid(minor=7300, currency=one) for one in sorted(play.rail.capabilities.currencies)]
    today = play.today()
    await play.other.close_day(today)
    bill = await play.client.bill(today)
    assert bill.content is not None, bill.reason
    lines = {line.reference: line for line in await play.client.bill_lines(bill.content, today)}
    assert {reference: line.amount for reference, line in lines.items()} == {
        one.reference: one.amount for one in orders
    }
    for order in orders:
        assert lines[order.reference].fee.minor == (await play.other.charged(order.reference)).fee_minor


@dataclass(frozen=True)
class SmallPages:
    """A way out on which a bill is asked for two lines at a time."""

    way: Transport
    parameter: str

    @property
    def addresses(self) -> Addresses:
        return self.way.addresses

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        url = re.sub(rf"([?&]{self.parameter}=)\d+", r"\g<1>2", request.url)
        return await self.way.send(replace(request, url=url), timeout_s=timeout_s)


@plays(alone=True, when=lambda rail: bool(rail.other.PAGE_SIZE))
async def test_a_bill_of_several_pages_is_read_to_its_end(play: Play) -> None:
    orders = [await play.paid(minor=100 + n) for n in range(5)]
    today = play.today()
    await play.other.close_day(today)
    small = replace(play.env, transport=SmallPages(play.env.transport, play.other.PAGE_SIZE))
    bill = await ChannelClient(play.client.channel, small).bill(today)
    assert bill.content is not None, bill.reason
    lines = await play.client.bill_lines(bill.content, today)
    assert sorted(line.reference for line in lines) == sorted(order.reference for order in orders)
    whole = await play.client.bill(today)
    assert whole.content is not None
    again = await play.client.bill_lines(whole.content, today)
    assert [replace(line, row=0) for line in again] == [replace(line, row=0) for line in lines]


# ---- when a notice was signed ----------------------------------------------------------------------------------------


@plays(alone=True, when=lambda rail: rail.other.WINDOW is not None)
async def test_a_notice_signed_long_ago_is_not_believed(play: Play) -> None:
    await play.paid()
    _, message = await play.notice()
    for off in (timedelta(days=30), timedelta(days=-30)):
        with pytest.raises(BadNotice):
            play.client.channel.notice(message, now=play.env.now() + off)


@plays()
async def test_what_a_rail_goes_without_it_gives_a_reason_for(play: Play) -> None:
    """The suite asks for less where a protocol has less; that is said, and held, and never left out by itself."""
    other = play.other
    reasons = [
        *(other.NO_WINDOW, other.NO_EXPIRY, other.NO_FEE, other.REFUNDS_AT_ONCE),
        *(other.BILL_UNVOUCHED, other.BILL_OF_NOBODY, *other.UNNAMED.values()),
    ]
    assert all(len(reason) > 20 for reason in reasons if reason)
    assert (other.WINDOW is None) == bool(other.NO_WINDOW), "a window, or the reason why there is none"
    assert not other.NO_FEE or (await other.charged((await play.paid()).reference)).fee_minor == 0
    assert not (other.BILL_UNVOUCHED and play.rail.capabilities.signs_answers), "its answers are signed"
