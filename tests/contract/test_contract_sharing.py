"""Sharing a payment's money out at the rail 渠道分账, on channels whose rail does that."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from channels import Confirmed, Method, Order, Outcome, Pending, Refused, SharingClient, Unknown
from channels.sharing import Receiver, ReceiverKind, Share, Shared, ShareOrder, ShareReturn, Sharing
from kernel.money import Money
from tests.contract.counterparties import Counterparty
from tests.contract.plays import NOTHING_DONE, Play, not_found, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Table:
    """A payment that can be shared out, and who may be given a share of it."""

    play: Play
    sharing: SharingClient
    order: Order
    merchant: Receiver
    person: Receiver

    def share(self, *parts: tuple[Receiver, int], release_rest: bool = False) -> ShareOrder:
        return ShareOrder(
            reference=f"1s{self.play.env.ids.body()}",
            payment_reference=self.order.reference,
            payment_channel_ref=self.order.channel_ref or "",
            shares=[Share(receiver, Money(minor, "CNY"), "佣金") for receiver, minor in parts],
            created_at=self.play.env.now(),
            release_rest=release_rest,
            description="分账",
        )

    def back(self, order: ShareOrder, receiver: Receiver, minor: int) -> ShareReturn:
        reference = f"1r{self.play.env.ids.body()}"
        return ShareReturn(reference, order, receiver, Money(minor, "CNY"), "退回佣金", self.play.env.now())

    async def decided(self, order: ShareOrder) -> Shared:
        """Ask until every share is decided."""
        for _ in range(5_000):
            found = await self.sharing.share_query(order)
            if not isinstance(found.whole, Pending):
                return found
            await self.play.env.sleep(0.01)
        raise AssertionError("the shares were never decided")


async def table(play: Play, *, minor: int = 10_000, method: Method | None = None) -> Table:
    """Pay an order that is to be shared, and bind two receivers."""
    sharing = play.client.channel
    assert isinstance(sharing, Sharing)
    client = SharingClient(play.client)
    order, outcome = await play.agreed(replace(play.order(method, minor=minor), share_later=True))
    assert isinstance(outcome, Confirmed), outcome
    other = await neighbour(play.other)
    merchant = Receiver(ReceiverKind.MERCHANT, other.merchant, "tea", "SUPPLIER")
    person = Receiver(ReceiverKind.PERSON, play.other.payer(), "李四", "STAFF")
    for receiver in (merchant, person):
        for _ in range(2):
            bound = await client.bind(receiver, f"1b{play.env.ids.body()}")
            assert isinstance(bound, Confirmed), bound
    return Table(play, client, order, merchant, person)


async def neighbour(other: Counterparty) -> Counterparty:
    """Return another merchant of the rail; one is enough for all plays of an account."""
    if other.neighbour is None:
        other.neighbour = type(other)(other.base_url, other.http)
        await other.neighbour.open_account()
    return other.neighbour


def paid(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.amount.minor for outcome in outcomes if isinstance(outcome, Confirmed)]


@plays(when=lambda rail: rail.other.SHARES)
async def test_a_payment_is_shared_out_and_the_rest_released(play: Play) -> None:
    at = await table(play)
    order = at.share((at.merchant, 1000), (at.person, 500))
    assert not_found((await at.sharing.share_query(order)).whole)
    asked = await at.sharing.share(order)
    assert isinstance(asked.whole, Pending | Confirmed), asked
    done = await at.decided(order)
    assert paid(done.shares) == [1000, 500]
    assert isinstance(done.whole, Confirmed)
    assert done.whole.amount.minor == 1500
    release = at.share()
    released = await at.sharing.release(release)
    if isinstance(released, Pending):
        released = (await at.decided(release)).whole
    assert isinstance(released, Confirmed), released
    more = await at.sharing.share(at.share((at.person, 1)))
    assert isinstance(more.whole, Refused), "what is released can be shared no more"


@plays(when=lambda rail: rail.other.TELLS_FROZEN)
async def test_what_is_frozen_of_a_payment_is_told_until_it_is_released(play: Play) -> None:
    at = await table(play)
    assert at.sharing.tells_frozen
    before = await at.sharing.frozen(at.share())
    assert isinstance(before, Confirmed)
    order = at.share((at.merchant, 1000))
    await at.sharing.share(order)
    await at.decided(order)
    after = await at.sharing.frozen(at.share())
    assert isinstance(after, Confirmed)
    assert after.amount.minor == before.amount.minor - 1000
    release = at.share()
    if isinstance(await at.sharing.release(release), Pending):
        await at.decided(release)
    left = await at.sharing.frozen(at.share())
    assert isinstance(left, Confirmed)
    assert left.amount.minor == 0
    at.order = replace(at.order, channel_ref="4200000000202611240000000000")
    assert isinstance(await at.sharing.frozen(at.share()), Unknown)


@plays(when=lambda rail: rail.other.SHARES)
async def test_repeating_a_share_order_pays_once(play: Play) -> None:
    at = await table(play)
    order = at.share((at.person, 9000))
    for _ in range(3):
        assert not isinstance((await at.sharing.share(order)).whole, Refused | Unknown)
    assert paid((await at.decided(order)).shares) == [9000]
    other = await at.sharing.share(replace(order, shares=at.share((at.person, 1)).shares))
    assert isinstance(other.whole, Unknown), "the same number for something else tells nothing of the first"
    assert paid((await at.decided(order)).shares) == [9000]


@plays(when=lambda rail: rail.other.SHARES)
async def test_more_than_was_paid_is_not_shared_out(play: Play) -> None:
    at = await table(play)
    refused = await at.sharing.share(at.share((at.merchant, 9000), (at.person, 2000)))
    assert isinstance(refused.whole, Refused)
    order = at.share((at.person, 2000))
    await at.sharing.share(order)
    assert paid((await at.decided(order)).shares) == [2000]


@plays(when=lambda rail: rail.other.SHARES and rail.other.SHARES_ONLY_FROZEN)
async def test_a_payment_that_was_not_to_be_shared_cannot_be(play: Play) -> None:
    at = await table(play)
    at.order = await play.paid()
    assert isinstance((await at.sharing.share(at.share((at.person, 1)))).whole, Refused)


@plays(when=lambda rail: rail.other.SHARES)
async def test_a_receiver_who_is_not_bound_gets_nothing_and_the_others_do(play: Play) -> None:
    at = await table(play)
    gone = await at.sharing.unbind(at.person, f"1b{play.env.ids.body()}")
    assert isinstance(gone, Confirmed)
    order = at.share((at.merchant, 1000), (at.person, 500))
    asked = await at.sharing.share(order)
    if isinstance(asked.whole, Refused):  # a rail may refuse such an order as a whole; nobody gets anything then
        assert not_found((await at.sharing.share_query(order)).whole)
        return
    done = await at.decided(order)
    assert paid(done.shares) == [1000]
    assert isinstance(done.shares[1], Refused)
    assert isinstance(done.whole, Confirmed)
    assert done.whole.amount.minor == 1000


@plays(when=lambda rail: rail.other.SHARES)
async def test_a_share_is_fetched_back_once(play: Play) -> None:
    at = await table(play, method=play.other.SHARES_COME_BACK_OF)
    order = at.share((at.merchant, 1000))
    await at.sharing.share(order)
    done = await at.decided(order)
    assert isinstance(done.whole, Confirmed)
    order = replace(order, channel_ref=done.whole.channel_ref)
    back = at.back(order, at.merchant, 400)
    assert not_found(await at.sharing.give_back_query(back))
    for _ in range(2):
        assert isinstance(await at.sharing.give_back(back), Pending | Confirmed)
    outcome = await returned(at, back)
    assert outcome.amount.minor == 400
    too_much = await at.sharing.give_back(at.back(order, at.merchant, 601))
    assert isinstance(too_much, Refused | Unknown)
    assert (await returned(at, back)) == outcome


@plays(when=lambda rail: rail.other.SHARES_COME_BACK_OF is not None)
async def test_of_other_payments_no_share_is_fetched_back_by_name(play: Play) -> None:
    at = await table(play)
    order = at.share((at.merchant, 1000))
    await at.sharing.share(order)
    await at.decided(order)
    back = at.back(order, at.merchant, 400)
    assert isinstance(await at.sharing.give_back(back), Refused)
    assert not_found(await at.sharing.give_back_query(back))


@plays(when=lambda rail: rail.other.SHARES)
async def test_a_share_of_a_payment_that_is_refunded_whole_comes_back_first_or_at_any_time(play: Play) -> None:
    at = await table(play, method=play.other.SHARES_COME_BACK_OF)
    order = at.share((at.merchant, 1000), release_rest=True)
    await at.sharing.share(order)
    done = await at.decided(order)
    assert isinstance(done.whole, Confirmed)
    order = replace(order, channel_ref=done.whole.channel_ref)
    first, after = at.back(order, at.merchant, 400), at.back(order, at.merchant, 600)
    await at.sharing.give_back(first)
    await returned(at, first)
    refund, _ = await play.sent_back(play.refund(at.order, 10_000))
    await play.refunded(refund)
    said = await at.sharing.give_back(after)
    if play.other.SHARES_COME_BACK_FIRST:
        assert isinstance(said, Unknown)
        assert said.refusal is not None, "a closed payment may be closed by what was asked for"
        assert not_found(await at.sharing.give_back_query(after))
    else:
        assert (await returned(at, after)).amount.minor == 600
    assert (await returned(at, first)).amount.minor == 400


@plays(when=lambda rail: rail.other.SHARES, fault=lambda rail: rail.faults)
async def test_a_share_that_comes_back_in_doubt_is_asked_about_and_comes_back_once(play: Play, fault: str) -> None:
    at = await table(play, method=play.other.SHARES_COME_BACK_OF)
    order = at.share((at.merchant, 1000))
    await at.sharing.share(order)
    done = await at.decided(order)
    assert isinstance(done.whole, Confirmed)
    order = replace(order, channel_ref=done.whole.channel_ref)
    back = at.back(order, at.merchant, 600)
    await play.other.return_fault(fault, back.reference)
    assert isinstance(await at.sharing.give_back(back), Unknown)
    known = await at.sharing.give_back_query(back)
    assert not_found(known) if fault in NOTHING_DONE else isinstance(known, Pending | Confirmed)
    assert isinstance(await at.sharing.give_back(back), Pending | Confirmed)
    assert (await returned(at, back)).amount.minor == 600


async def returned(at: Table, back: ShareReturn) -> Confirmed:
    for _ in range(5_000):
        outcome = await at.sharing.give_back_query(back)
        if isinstance(outcome, Confirmed):
            return outcome
        assert isinstance(outcome, Pending), outcome
        await at.play.env.sleep(0.01)
    raise AssertionError("the share never came back")


@plays(when=lambda rail: rail.other.SHARES, fault=lambda rail: rail.faults)
async def test_a_share_order_in_doubt_is_asked_about_and_paid_once(play: Play, fault: str) -> None:
    at = await table(play)
    order = at.share((at.person, 6000))
    await play.other.share_fault(fault, "share", order.reference)
    first = await at.sharing.share(order)
    assert isinstance(first.whole, Unknown), first
    known = (await at.sharing.share_query(order)).whole
    assert not_found(known) if fault in NOTHING_DONE else isinstance(known, Pending | Confirmed)
    await at.sharing.share(order)
    assert paid((await at.decided(order)).shares) == [6000], "twice would be more than was paid"


@plays(when=lambda rail: rail.other.SHARES)
async def test_money_that_is_frozen_for_sharing_can_be_given_back_to_the_payer(play: Play) -> None:
    at = await table(play)
    refund, _ = await play.sent_back(play.refund(at.order, 4000))
    assert (await play.refunded(refund)).amount.minor == 4000
    order = at.share((at.person, 5000))
    await at.sharing.share(order)
    assert paid((await at.decided(order)).shares) == [5000]
    too_much = await at.sharing.share(at.share((at.person, 2000)))
    assert isinstance(too_much.whole, Refused)
