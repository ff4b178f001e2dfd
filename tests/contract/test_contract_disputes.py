"""Disputes on every rail that tells of them: what one took, what came back of it, and the hub's whole life of one."""

import pytest

import ledger
from channels import Kind, Order
from channels.contract import Dispute, DisputeStatus, RefundFee, Unknown, Unmoved
from gateway.accounts.terms import FeeSchedule, Terms
from gateway.payments.store import find_dispute
from gateway.tables import Chargeback
from kernel.db import acquire
from ops.wiring import Hub
from reconciliation import DiscrepancyKind
from tests.contract.plays import Play, RailFacts, plays
from tests.contract.tills import MINOR, Till, a_till

pytestmark = pytest.mark.asyncio(loop_scope="session")


def tells(rail: RailFacts) -> bool:
    return rail.tells_disputes


async def told_of(play: Play, ref: str) -> str:
    """Return the id of the next notice that names this dispute. Others before it may name others."""
    while True:
        notice = await play.read(await play.box.next())
        if notice is not None and notice.kind is Kind.CHARGEBACK and notice.reference == ref:
            assert isinstance(notice.outcome, Unknown), "a notice of a dispute decides nothing"
            return notice.notice_id


def checked(found: Dispute | Unmoved | Unknown, order: Order, status: DisputeStatus, minor: int) -> Dispute:
    assert isinstance(found, Dispute), found
    assert (found.status, found.amount.minor, found.amount.currency) == (status, minor, order.amount.currency)
    assert found.reference == order.reference
    assert found.payment_channel_ref == order.channel_ref
    return found


@plays(when=tells, alone=True, ends=lambda rail: [DisputeStatus.WON, DisputeStatus.LOST])
async def test_a_dispute_is_told_of_as_what_it_took_and_gave_back(play: Play, ends: DisputeStatus) -> None:
    order = await play.paid()
    made = await play.other.dispute(order.reference, minor=500)
    ref, fee = made["dispute"], made["fee"]
    assert await told_of(play, ref)
    opened = checked(await play.client.dispute(ref), order, DisputeStatus.OPENED, 500)
    assert (opened.ref, opened.fee.minor, opened.reason) == (ref, fee, made["reason"])
    assert opened.ended_at is None
    await play.other.end_dispute(ref, ends.value, fee_back=True)
    assert await told_of(play, ref)
    ended = checked(await play.client.dispute(ref), order, ends, 500)
    assert (ended.fee, ended.opened_at) == (opened.fee, opened.opened_at)
    if ends is DisputeStatus.WON:
        assert ended.returned in (None, ended.amount)
        assert ended.fee_back is not None
        assert (ended.fee_back.minor, ended.ended_at is not None) == (fee, True)


@plays(when=tells, alone=True)
async def test_an_inquiry_has_taken_nothing_until_it_does(play: Play) -> None:
    order = await play.paid()
    ref = (await play.other.dispute(order.reference, inquiry=True))["dispute"]
    found = await play.client.dispute(ref)
    assert isinstance(found, Unmoved), found
    assert found.reference in (None, order.reference)
    await play.other.take_disputed(ref)
    checked(await play.client.dispute(ref), order, DisputeStatus.OPENED, order.amount.minor)


@plays(when=tells)
async def test_what_is_said_of_another_dispute_is_not_believed(play: Play) -> None:
    refs = [(await play.other.dispute((await play.paid()).reference))["dispute"] for _ in range(2)]
    rail = play.client.channel
    for ref in refs:
        assert isinstance(await play.client.dispute(ref), Dispute)
    answer = await play.answered("dispute", rail.dispute_request(refs[0]))  # type: ignore[attr-defined]
    found = rail.dispute_outcome(refs[1], answer, now=play.env.now())  # type: ignore[attr-defined]
    assert isinstance(found, Unknown), found
    assert not found.not_found


@plays(when=tells)
async def test_a_dispute_there_is_none_of_is_not_found(play: Play) -> None:
    ref = (await play.other.dispute((await play.paid()).reference))["dispute"]
    found = await play.client.dispute(f"{ref[:-4]}9999")  # the next number may be another play's
    assert isinstance(found, Unknown), found
    assert found.not_found


@plays(when=tells, alone=True)
async def test_a_days_bill_has_what_disputes_took_and_gave_back(play: Play) -> None:
    order = await play.paid()
    made = await play.other.dispute(order.reference, minor=500)
    await play.other.end_dispute(made["dispute"], "won")
    lost = await play.other.dispute(order.reference, minor=300)
    await play.other.end_dispute(lost["dispute"], "lost")
    await play.other.close_day(play.today())
    bill = await play.client.bill(play.today())
    assert bill.content is not None, bill.reason
    lines = await play.client.bill_lines(bill.content, play.today())
    found = [(line.kind, line.reference, line.amount.minor, line.fee.minor, line.status) for line in lines]
    others = [one for one in found if one[0] is not Kind.PAYMENT]
    assert len(found) - len(others) == 1
    assert sorted(others) == sorted([
        (Kind.CHARGEBACK, made["dispute"], 500, made["fee"], "success"),
        (Kind.CHARGEBACK_WON, made["dispute"], 500, 0, "success"),
        (Kind.CHARGEBACK, lost["dispute"], 300, lost["fee"], "success"),
    ])  # fmt: skip


# ---- through the hub -------------------------------------------------------------------------------------------------


async def heard(play: Play, hub: Hub, till: Till, ref: str, status: str) -> Chargeback:
    """Apply what the rail tells until the hub has this dispute so."""
    ready = await hub.accounts.get(till.book, "main")
    while True:
        async with acquire(hub.pool) as connection:
            row = await find_dispute(connection, till.book, "main", ref)
        if row is not None and row.status == status:
            return row
        notice = ready.client.channel.notice(await play.box.next(), now=play.env.now())
        if notice is not None:
            await hub.payments.apply_notice(till.book, "main", notice)


@plays(when=tells, alone=True)
async def test_a_day_with_chargebacks_agrees_with_bill_and_deposit_to_the_cent(play: Play, rail_hub: Hub) -> None:
    wish = {"name": "tea", "fee_bp": 290, "fixed_fee_minor": 30}
    play.other.account = await play.other.control("POST", f"/control/{play.rail.name}/merchants", wish)
    await play.other.register_notices(play.box.url)
    till = await a_till(play, rail_hub, Terms(fees=FeeSchedule(290, 30, refund_fee=RefundFee.KEPT)))
    paid = []
    for _ in range(3):
        payment = await till.pay(play.rail.main)
        await till.until("succeeded", lambda payment=payment: till.payment(payment.id))  # type: ignore[misc]
        paid.append((await till.payment(payment.id), (await till.attempt(payment)).reference))
    await till.give_back(paid[0][0], 234)
    won = (await play.other.dispute(paid[0][1], minor=1_000))["dispute"]
    lost = (await play.other.dispute(paid[1][1]))["dispute"]
    left = (await play.other.dispute(paid[2][1], minor=34))["dispute"]
    for ref in (won, lost, left):
        assert (await heard(play, rail_hub, till, ref, "opened")).covered_minor
    await play.other.end_dispute(won, "won", fee_back=True)
    await play.other.end_dispute(lost, "lost")
    assert (await heard(play, rail_hub, till, won, "won")).fee_back_minor >= 0
    await heard(play, rail_hub, till, lost, "lost")
    taken = [(await till.payment(payment.id)).charged_back_minor for payment, _ in paid]
    assert taken == [0, MINOR, 34]
    await till.assert_books_hold()
    closed = await play.other.control(
        "POST", f"/control/{play.rail.name}/close-day", {"merchant": play.other.merchant, "date": str(play.today())}
    )
    async with acquire(rail_hub.pool) as connection:
        standing = {one.name: one.balance for one in await ledger.store.balances(connection, till.book)}
    if play.currency == "CNY":
        assert standing[f"channel:main:{play.currency}"] == closed["net"], "what we say is due is what is paid out"
    run = await rail_hub.daily_proof().channel(till.book, "main", play.today(), currency=play.currency)
    assert [(one.kind, one.key.reference, one.verdict.detail) for one in run.discrepancies] == []
    assert sum(run.matched.values()) == 3 + 1 + 3 + 1


@plays(when=tells, alone=True)
async def test_a_chargeback_whose_notice_was_lost_is_named_by_the_day_and_can_be_asked_about(
    play: Play, rail_hub: Hub
) -> None:
    wish = {"name": "tea", "fee_bp": 60, "fixed_fee_minor": 0}
    play.other.account = await play.other.control("POST", f"/control/{play.rail.name}/merchants", wish)
    till = await a_till(play, rail_hub)
    payment = await till.pay(play.rail.main)
    await till.until("succeeded", lambda: till.payment(payment.id))
    ref = (await play.other.dispute((await till.attempt(payment)).reference))["dispute"]
    await play.other.close_day(play.today())
    daily = rail_hub.daily_proof()
    run = await daily.channel(till.book, "main", play.today(), currency=play.currency)
    found = [(one.kind, one.key.item, one.key.reference) for one in run.discrepancies]
    assert found == [(DiscrepancyKind.MISSING_AT_HUB, "chargeback", ref)]
    row = await rail_hub.payments.disputing.look_at(till.book, "main", ref)
    assert row is not None
    run = await daily.channel(till.book, "main", play.today(), currency=play.currency)
    assert [(one.kind, one.key.reference, one.verdict.detail) for one in run.discrepancies] == []
