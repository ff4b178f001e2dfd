"""A refund that succeeded and comes back days later is undone in the books and is a person's; it may be sent again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

import cases
from channels import Notice
from channels.contract import BillLine, Kind, Outcome, Pending, Refused
from gateway.payments.unwanted import CAME_BACK, NOT_GIVEN_BACK
from kernel.clock import business_date
from kernel.db import acquire
from kernel.errors import Broken, Conflict
from kernel.money import Money
from ops.cases import decide
from reconciliation.matching.match import net_of
from reconciliation.matching.verdicts import DiscrepancyKind as Difference
from reconciliation.sources.movements import movements_of
from tests.gateway.front import QR, Front, a_front
from tests.support import confirmed

pytestmark = pytest.mark.asyncio(loop_scope="session")
NO = Refused("expired_or_canceled_card", closed=True)
TOLD = {"by": "Wang Fang", "note": "asked the payer"}


@pytest_asyncio.fixture(loop_scope="session")
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as found:
        rail = found.shop.channel
        rail.capabilities = replace(rail.capabilities, refunds_come_back=True)
        yield found


async def told(front: Front, reference: str, outcome: Outcome = NO) -> None:
    """Have the rail tell of a refund, verified."""
    await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.REFUND, reference, outcome, "n"))


async def waiting(front: Front) -> list[cases.Case]:
    async with acquire(front.hub.pool) as connection:
        return await cases.store.cases(connection, book=front.book)


async def shared(front: Front) -> tuple[str, str]:
    farm, mill = await front.payee("farm"), await front.payee("mill")
    plan = [{"payee": farm, "basis_points": 3_000}, {"payee": mill, "remainder": 1}]
    payment_id = await front.paid(amount=10_000, split=plan)
    await front.share_out()
    return payment_id, farm


@pytest.fixture(params=[False, True], ids=["fee given back", "fee kept"])
def fee_kept(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def a_shared_payment(front: Front, fee_kept: bool) -> str:
    if fee_kept:
        from channels.contract import RefundFee

        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, refund_fee=RefundFee.KEPT)
    return (await shared(front))[0]


@pytest.mark.parametrize("amount", [None, 3_333])
async def test_what_came_back_stands_in_the_books_as_before_the_refund(
    front: Front, fee_kept: bool, amount: int | None
) -> None:
    payment_id = await a_shared_payment(front, fee_kept)
    before = await front.balances(), (await front.payment(payment_id))["split"]
    refund = (await front.refund(payment_id, amount)).body
    assert refund["status"] == "succeeded"
    front.clock.forward(3 * 86_400)
    await told(front, front.asked("refund")[0].reference)
    now = (await front.get(f"/v1/refunds/{refund['id']}")).body
    assert (now["status"], now["failure"]["code"]) == ("failed", "expired_or_canceled_card")
    payment = await front.payment(payment_id)
    assert (payment["amount_refunded"], payment["amount_refunding"], payment["refund_status"]) == (0, 0, "none")
    assert (await front.balances(), payment["split"]) == before
    assert (await front.events())[-2:] == ["refund.failed", "case.opened"]
    [case] = await waiting(front)
    assert (case.kind, case.about, case.amount_minor) == (CAME_BACK, refund["id"], amount or 10_000)
    assert await front.later(40 * 86_400) == 0, "nobody sends it to the same card again by himself"


async def test_one_of_two_refunds_comes_back_and_the_other_stands(front: Front, fee_kept: bool) -> None:
    payment_id = await a_shared_payment(front, fee_kept)
    first, second = (await front.refund(payment_id, 3_333)).body, (await front.refund(payment_id, 3_334)).body
    await told(front, front.asked("refund")[0].reference)
    assert (await front.payment(payment_id))["amount_refunded"] == 3_334
    assert (await front.get(f"/v1/refunds/{second['id']}")).body["status"] == "succeeded"
    await front.assert_books_hold()
    rest = await front.refund(payment_id)
    assert rest.body["amount"] == 6_666
    await told(front, front.asked("refund")[2].reference)
    retried = await front.post(f"/v1/refunds/{first['id']}/retry", key=front.new_key())
    assert retried.body["status"] == "succeeded"


@pytest.mark.parametrize("stale", ["said again", "its success told late", "pending"])
async def test_what_else_is_told_of_a_number_that_came_back_changes_nothing(front: Front, stale: str) -> None:
    payment_id = await front.paid()
    await front.refund(payment_id, 500)
    reference = front.asked("refund")[0].reference
    await told(front, reference)
    said: dict[str, Outcome] = {
        "said again": NO,
        "its success told late": confirmed(reference, 500, front.clock.now()),
        "pending": Pending(),
    }
    before = await front.counts(), await front.payment(payment_id), await front.balances()
    for _ in range(2):
        await told(front, reference, said[stale])
    assert (await front.counts(), await front.payment(payment_id), await front.balances()) == before
    assert len(await waiting(front)) == 1


async def test_it_may_be_sent_again_and_come_back_again(front: Front) -> None:
    payment_id = await front.paid()
    refund = (await front.refund(payment_id)).body
    for tried in (1, 2, 3):
        await told(front, front.asked("refund")[-1].reference)
        await front.assert_books_hold()
        answer = await front.post(f"/v1/refunds/{refund['id']}/retry", key=front.new_key())
        assert (answer.body["status"], answer.body["retry_count"]) == ("succeeded", tried)
        assert await waiting(front) == [], "the payer has it now"
    assert len({order.reference for order in front.asked("refund")}) == 4
    before = await front.balances()
    for order in front.asked("refund")[:3]:
        await told(front, order.reference, NO)
        await told(front, order.reference, confirmed(order.reference, 10_000, front.clock.now()))
    assert await front.balances() == before == {}
    assert await front.events("case.opened", "case.decided") == ["case.opened", "case.decided"] * 3


async def test_a_person_may_have_it_sent_again(front: Front) -> None:
    refund = (await front.refund(await front.paid(), 500)).body
    await told(front, front.asked("refund")[0].reference)
    [case] = await waiting(front)
    await decide(front.hub, case.id, "retry", **TOLD)
    assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "processing"
    await front.later(1)
    assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "succeeded"
    assert front.asked("refund")[-1].reference.endswith("a")


async def test_what_went_back_otherwise_is_not_sent_again(front: Front) -> None:
    refund = (await front.refund(await front.paid(), 500)).body
    await told(front, front.asked("refund")[0].reference)
    [case] = await waiting(front)
    await decide(front.hub, case.id, "settled_outside", **TOLD)
    retried = await front.post(f"/v1/refunds/{refund['id']}/retry", key=front.new_key())
    assert (retried.status, retried.code) == (409, "refund_settled_outside")


async def test_a_decision_to_send_again_what_the_merchant_has_sent_already_is_refused(front: Front) -> None:
    refund = (await front.refund(await front.paid(), 500)).body
    await told(front, front.asked("refund")[0].reference)
    [case] = await waiting(front)
    front.rail.says(refund=Pending(channel_ref="ch"))
    await front.post(f"/v1/refunds/{refund['id']}/retry", key=front.new_key())
    with pytest.raises(Conflict, match="refund_not_failed"):
        await decide(front.hub, case.id, "retry", **TOLD)


async def test_money_paid_late_whose_refund_came_back_waits_for_a_person(front: Front) -> None:
    front.rail.says(pay=Pending(QR))
    payment_id = (await front.pay()).body["id"]
    await front.post(f"/v1/payments/{payment_id}/close")
    await front.notice(front.asked("pay")[0].reference, 10_000)
    await front.later(1)
    assert await front.balances() == {}
    await told(front, front.asked("refund")[0].reference)
    [case] = await waiting(front)
    assert (case.kind, case.about) == (NOT_GIVEN_BACK, f"{payment_id}:1")
    await front.assert_books_hold()
    assert await front.later(40 * 86_400) == 0
    await decide(front.hub, case.id, "retry", **TOLD)
    await front.later(1)
    assert await front.balances() == {}


async def test_on_a_rail_that_is_not_known_to_do_it_a_no_after_a_yes_is_a_contradiction(front: Front) -> None:
    rail = front.shop.channel
    rail.capabilities = replace(rail.capabilities, refunds_come_back=False)
    await front.refund(await front.paid(), 500)
    before = await front.balances()
    with pytest.raises(Broken, match="channel_contradicts_itself"):
        await told(front, front.asked("refund")[0].reference)
    assert await front.balances() == before
    assert [case.kind for case in await waiting(front)] == ["channel_contradicts_itself"]


async def test_a_no_before_its_yes_was_heard_is_an_ordinary_failure(front: Front) -> None:
    front.rail.says(refund=Pending(channel_ref="ch"))
    refund = (await front.refund(await front.paid(), 500)).body
    await told(front, front.asked("refund")[0].reference)
    assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "failed"
    assert await waiting(front) == []


# ---- the daily proof -------------------------------------------------------------------------------------------------


def line(front: Front, kind: Kind, reference: str, status: str, day: date, *, fee: int = 0) -> BillLine:
    at = front.clock.now().replace(year=day.year, month=day.month, day=day.day, hour=4)
    paid = front.asked("pay")[0].reference
    amount = Money(10_000 if kind is Kind.PAYMENT else 500, "CNY")
    return BillLine(kind, reference, paid, f"ch-{reference}", amount, Money(fee, "CNY"), status, at, 1)


async def assert_nets_agree(front: Front, day: date, bill: list[BillLine]) -> None:
    """Fail unless a day's business is worth to us what it is by the bill."""
    ready = await front.hub.accounts.get(front.book, "rail")
    async with acquire(front.hub.pool) as connection:
        ours = await movements_of(connection, front.book, ready, day, bill)
    net = net_of(day, ours, bill, "CNY")
    assert net.ours == net.bill


@pytest.mark.parametrize("retried", [False, True], ids=["left", "sent again"])
@pytest.mark.parametrize("read", ["success", "returned"], ids=["read before it came back", "read after"])
async def test_the_bill_rows_of_a_refund_that_came_back_agree_on_both_days(
    front: Front, read: str, retried: bool
) -> None:
    refund = (await front.refund(await front.paid(), 500)).body
    order, first = front.asked("pay")[0].reference, business_date(front.clock.now())
    number = front.asked("refund")[0].reference
    front.clock.forward(3 * 86_400)
    second = first + timedelta(days=3)
    await told(front, number)
    lines = [
        line(front, Kind.REFUND, number, read, first, fee=-3),
        line(front, Kind.PAYMENT, order, "success", first, fee=60),
    ]
    back = [line(front, Kind.RETURN, number, "success", second, fee=3)]
    if retried:
        await front.post(f"/v1/refunds/{refund['id']}/retry", key=front.new_key())
        again = front.asked("refund")[-1].reference
        back.append(line(front, Kind.REFUND, again, "success", second, fee=-3))
    proof = front.hub.daily_proof()
    for _ in range(2):
        for day, bill in ((first, lines), (second, back)):
            front.shop.channel.bill = bill
            run = await proof.channel(front.book, "rail", day, currency="CNY")
            assert [(one.kind, one.key.reference) for one in run.discrepancies] == []
            await assert_nets_agree(front, day, bill)


async def test_a_return_that_we_were_not_told_of_is_found(front: Front) -> None:
    await front.refund(await front.paid(), 500)
    number, today = front.asked("refund")[0].reference, business_date(front.clock.now())
    front.shop.channel.bill = [
        line(front, Kind.PAYMENT, front.asked("pay")[0].reference, "success", today, fee=60),
        line(front, Kind.REFUND, number, "returned", today, fee=-3),
        line(front, Kind.RETURN, number, "success", today, fee=3),
    ]
    run = await front.hub.daily_proof().channel(front.book, "rail", today, currency="CNY")
    assert {(one.kind, one.key.item) for one in run.discrepancies} == {
        (Difference.STATUS_DIFFERS, "refund"),
        (Difference.MISSING_AT_HUB, "return"),
    }


async def test_a_refund_that_never_succeeded_and_moved_money_at_the_rail_is_no_difference(front: Front) -> None:
    front.rail.says(refund=Pending(channel_ref="ch"))
    await front.refund(await front.paid(), 500)
    number, today = front.asked("refund")[0].reference, business_date(front.clock.now())
    await told(front, number)
    front.shop.channel.bill = [
        line(front, Kind.PAYMENT, front.asked("pay")[0].reference, "success", today, fee=60),
        line(front, Kind.REFUND, number, "returned", today, fee=-3),
        line(front, Kind.RETURN, number, "success", today, fee=3),
    ]
    run = await front.hub.daily_proof().channel(front.book, "rail", today, currency="CNY")
    assert run.discrepancies == ()
    await assert_nets_agree(front, today, front.shop.channel.bill)
