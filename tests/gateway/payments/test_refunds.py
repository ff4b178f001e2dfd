"""Giving back: never more than was captured, shares and fee in step, and whatever fails stands as before."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from channels import Notice
from channels.contract import Kind, Pending, Refused, Unknown
from gateway.accounts.terms import Terms, flat
from gateway.claims import Claims
from gateway.payments.refunds import CreateRefund
from gateway.payments.schedule import FIRST_ANSWER_S
from kernel.errors import Broken
from tests.gateway.front import NEVER_ARRIVED, SILENCE, Front, a_front, gather

NO = Refused("NOT_ENOUGH", "the payer's account is closed")


async def shared(front: Front, amount: int = 10_000, *, posted: bool = True) -> tuple[str, str, str]:
    """Have a payment succeed and be shared out: 30 % to the farm, the rest to the mill. Return payment, farm, mill."""
    farm, mill = await front.payee("farm"), await front.payee("mill")
    plan = [{"payee": farm, "basis_points": 3_000}, {"payee": mill, "remainder": 1}]
    payment_id = await front.paid(amount=amount, split=plan)
    if posted:
        await front.share_out()
    return payment_id, farm, mill


async def refund_of(front: Front, refund_id: str) -> Any:
    answer = await front.get(f"/v1/refunds/{refund_id}")
    assert answer.status == 200
    return answer.body


async def test_a_fee_the_channel_keeps_comes_out_of_no_share_and_stands_as_a_cost(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        kept = Terms.of({"fees": {"basis_points": 60, "refund_fee": "kept"}})
        await front.hub.channel_admin.change(front.book, "rail", terms=kept)
        payment_id, farm, mill = await shared(front)
        await front.hub.channel_admin.change(front.book, "rail", terms=flat(60))  # too late for this payment
        part = await front.refund(payment_id, 1_000)
        assert (part.status, part.body["channel_fee_returned"]) == (201, 0)
        assert await front.balances() == {
            "channel:rail:CNY": (8_940, 8_940),
            f"payee:{farm}:CNY": (2_700, 2_700),
            f"payee:{mill}:CNY": (6_246, 6_246),
            "refund_cost:CNY": (6, 6),
        }
        front.rail.says(refund=NO)
        failed = await front.refund(payment_id)
        assert failed.body["status"] == "failed"
        assert (await front.balances())["refund_cost:CNY"] == (6, 6), "what did not go back has cost nothing"
        front.rail.works("refund")
        await front.refund(payment_id)
        assert await front.balances() == {"channel:rail:CNY": (-60, -60), "refund_cost:CNY": (60, 60)}


async def test_a_refund_takes_shares_and_fee_back_and_a_full_one_leaves_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, farm, mill = await shared(front)
        assert await front.balances() == {
            "channel:rail:CNY": (9_940, 9_940),
            f"payee:{farm}:CNY": (3_000, 3_000),
            f"payee:{mill}:CNY": (6_940, 6_940),
        }
        part = await front.refund(payment_id, 1_000)
        assert (part.status, part.body["status"], part.body["channel_fee_returned"]) == (201, "succeeded", 6)
        payment = await front.payment(payment_id)
        assert (payment["refund_status"], payment["amount_refunded"]) == ("partial", 1_000)
        assert await front.balances() == {
            "channel:rail:CNY": (8_946, 8_946),
            f"payee:{farm}:CNY": (2_700, 2_700),
            f"payee:{mill}:CNY": (6_246, 6_246),
        }
        rest = await front.refund(payment_id)
        assert rest.body["amount"] == 9_000
        payment = await front.payment(payment_id)
        assert (payment["refund_status"], payment["amount_refunded"], payment["status"]) == (
            "full",
            10_000,
            "succeeded",
        )
        assert await front.balances() == {}
        assert [share["taken_back_minor"] for share in payment["split"]["shares"]] == [3_000, 6_940]
        again = await front.refund(payment_id)
        assert (again.status, again.code, again.body["refundable_minor"]) == (422, "refund_exceeds_captured", 0)


async def test_a_refund_of_a_payment_not_yet_shared_out_shares_it_out_first(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, farm, mill = await shared(front, posted=False)
        assert (await front.payment(payment_id))["split"]["status"] == "planned"
        await front.refund(payment_id, 1_000)
        after = await front.balances()
        assert (after[f"payee:{farm}:CNY"][0], after[f"payee:{mill}:CNY"][0]) == (2_700, 6_246)
        await front.share_out()
        assert await front.balances() == after, "the event comes to what has been done"
        assert await front.events("split.posted") == ["split.posted"]


@pytest.mark.parametrize("posted", [True, False])
@pytest.mark.parametrize("amount", [None, 3_333])
async def test_a_refund_that_fails_leaves_everything_as_it_was(
    database_url: str, tmp_path: Path, amount: int | None, posted: bool
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _, _ = await shared(front, posted=posted)
        await front.refund(payment_id, 777)
        before, split = await front.balances(), (await front.payment(payment_id))["split"]
        front.rail.says(refund=NO)
        refund = (await front.refund(payment_id, amount)).body
        assert (refund["status"], refund["failure"]) == (
            "failed",
            {"code": "NOT_ENOUGH", "message": "the payer's account is closed"},
        )
        assert await front.balances() == before
        payment = await front.payment(payment_id)
        assert (payment["amount_refunded"], payment["amount_refunding"]) == (777, 0)
        assert payment["split"] == split
        assert await front.later(100_000) == 0
        front.rail.works("refund")
        await front.refund(payment_id)
        assert await front.balances() == {}


async def test_an_accepted_refund_reserves_its_money_and_the_notice_ends_it(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=Pending(channel_ref="ch-re-1"))
        refund = (await front.refund(payment_id, 4_000)).body
        assert (refund["status"], refund["channel_ref"]) == ("processing", "ch-re-1")
        assert await front.balances() == {"channel:rail:CNY": (9_964, 5_964), "merchant:CNY": (9_964, 5_964)}
        payment = await front.payment(payment_id)
        assert (payment["amount_refunding"], payment["refund_status"]) == (4_000, "none")
        reference = front.asked("refund")[0].reference
        answers = await gather(*(front.notice(reference, 4_000, kind="refund") for _ in range(20)))
        assert {answer.status for answer in answers} == {204}
        assert (await refund_of(front, refund["id"]))["status"] == "succeeded"
        assert await front.balances() == {"channel:rail:CNY": (5_964, 5_964), "merchant:CNY": (5_964, 5_964)}
        assert await front.events("refund.succeeded") == ["refund.succeeded"]


@pytest.mark.parametrize("end", ["succeeded", "failed"])
async def test_an_accepted_refund_nobody_tells_of_is_asked_about(database_url: str, tmp_path: Path, end: str) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        before = await front.balances()
        front.rail.says(refund=Pending(channel_ref="ch-re-1"), refund_query=Pending())
        refund = (await front.refund(payment_id)).body
        for wait_s in (5, 30, 60):
            assert await front.later(wait_s) == 1
        if end == "failed":
            front.rail.says(refund_query=NO)
        else:
            front.rail.works("refund_query")
        await front.later(300)
        assert (await refund_of(front, refund["id"]))["status"] == end
        assert len(front.asked("refund")) == 1
        assert await front.balances() == (before if end == "failed" else {})


@pytest.mark.parametrize("answer", [SILENCE, Unknown("not sent", not_sent=True)])
async def test_a_refund_whose_answer_was_lost_is_sent_again_under_its_number(
    database_url: str, tmp_path: Path, answer: Unknown
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=answer, refund_query=NEVER_ARRIVED)
        refund = (await front.refund(payment_id)).body
        assert refund["status"] == "processing"
        front.rail.works("refund")
        await front.later(5)
        assert (await refund_of(front, refund["id"]))["status"] == "succeeded"
        first, second = front.asked("refund")
        assert first == second
        assert await front.balances() == {}


async def test_a_refund_the_rail_forgot_is_sent_again_under_its_number(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=Pending(channel_ref="ch-re-1"), refund_query=NEVER_ARRIVED)
        refund = (await front.refund(payment_id)).body
        front.rail.works("refund")
        await front.later(5)
        assert (await refund_of(front, refund["id"]))["status"] == "succeeded"
        assert len({order.reference for order in front.asked("refund")}) == 1


async def test_a_process_that_dies_before_it_sends_leaves_a_refund_the_janitor_sends(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = front.hub.env.ids.new("re")
        await front.hub.lanes.put(
            CreateRefund(front.book, refund_id, payment_id, None, "requested", None, Claims(("i:k",), b"h"))
        )
        front.rail.says(refund_query=NEVER_ARRIVED)
        assert await front.later(FIRST_ANSWER_S) == 1
        assert (await refund_of(front, refund_id))["status"] == "succeeded"
        assert len(front.asked("refund")) == 1


@pytest.mark.parametrize("known", [True, False], ids=["executed", "never arrived"])
async def test_a_refund_left_alone_for_a_day_is_asked_about_before_it_is_sent_again(
    database_url: str, tmp_path: Path, known: bool
) -> None:
    """Its process died after sending, and no other ran: a rail may have forgotten the number, though not the refund."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = front.hub.env.ids.new("re")
        await front.hub.lanes.put(
            CreateRefund(front.book, refund_id, payment_id, None, "requested", None, Claims(("i:k",), b"h"))
        )
        if not known:
            front.rail.says(refund_query=NEVER_ARRIVED)
        assert await front.later(24 * 3600) == 1
        assert (await refund_of(front, refund_id))["status"] == "succeeded"
        assert [op for op, _ in front.shop.channel.asked if op.startswith("refund")] == (
            ["refund_query"] if known else ["refund_query", "refund"]
        )


async def test_thirty_refunds_at_once_never_give_back_more_than_was_captured(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _, _ = await shared(front)
        answers = await gather(*(front.refund(payment_id, 1_100) for _ in range(30)))
        assert [answer.status for answer in answers].count(201) == 9
        assert {answer.code for answer in answers if answer.status != 201} == {"refund_exceeds_captured"}
        payment = await front.payment(payment_id)
        assert (payment["amount_refunded"], payment["amount_refunding"]) == (9_900, 0)
        assert (await front.refund(payment_id)).body["amount"] == 100
        assert await front.balances() == {}


async def test_refunds_under_way_count_against_the_capture(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=SILENCE)
        await front.refund(payment_id, 9_000)
        second = await front.refund(payment_id, 1_001)
        assert (second.code, second.body["refundable_minor"]) == ("refund_exceeds_captured", 1_000)


async def test_a_refund_failing_between_others_leaves_the_last_one_possible(database_url: str, tmp_path: Path) -> None:
    """The fee comes back in proportion, rounded; taking one refund out of the middle must not leave a unit astray."""
    async with a_front(database_url, tmp_path) as front:
        payment_id, _, _ = await shared(front, 99)  # the channel keeps 1 of it
        before = await front.balances()
        front.rail.says(refund=Pending(channel_ref="ch"), refund_query=NO)
        await front.refund(payment_id, 49)  # gives back nothing of the fee; the next gives it all
        front.rail.works("refund")
        assert (await front.refund(payment_id, 1)).body["channel_fee_returned"] == 1
        await front.later(5)
        after = await front.balances()
        assert after["channel:rail:CNY"][0] == before["channel:rail:CNY"][0] - 1, "of 1 in 99 no fee comes back"
        rest = await front.refund(payment_id)
        assert (rest.status, rest.body["amount"]) == (201, 98)
        assert await front.balances() == {}


async def test_a_payment_takes_as_many_refunds_as_its_rail_and_no_more(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.shop.channel.capabilities = replace(front.shop.channel.capabilities, most_refunds=50)
        payment_id = await front.paid()
        answers = await gather(*(front.refund(payment_id, 1) for _ in range(51)))
        assert [answer.status for answer in answers].count(201) == 50
        assert [answer.code for answer in answers if answer.status != 201] == ["refund_limit"]
        failed = await front.paid("another")
        front.rail.says(refund=Refused("NO"), refund_query=Refused("NO"))
        refund_id = (await front.refund(failed, 1)).body["id"]
        front.shop.channel.capabilities = replace(front.shop.channel.capabilities, most_refunds=1)
        assert (await front.post(f"/v1/refunds/{refund_id}/retry", {}, key="again")).code == "refund_limit"


async def test_a_rail_that_limits_no_refunds_takes_any_number(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        assert front.shop.channel.capabilities.most_refunds is None
        payment_id = await front.paid()
        answers = await gather(*(front.refund(payment_id, 1) for _ in range(55)))
        assert {answer.status for answer in answers} == {201}


async def test_a_rail_that_takes_back_the_end_of_a_refund_changes_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        await front.refund(payment_id, 500)
        reference = front.asked("refund")[0].reference
        before = await front.counts(), await front.payment(payment_id), await front.balances()
        with pytest.raises(Broken) as refusal:
            await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.REFUND, reference, NO, "n"))
        assert refusal.value.code == "channel_contradicts_itself"
        assert (await front.counts(), await front.payment(payment_id), await front.balances()) == before
        for stale in (Pending(), SILENCE):
            await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.REFUND, reference, stale, "n"))
        assert (await front.counts(), await front.payment(payment_id), await front.balances()) == before


async def test_refunds_of_one_payment_are_listed_newest_first(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        tea, rice = await front.paid("tea"), await front.paid("rice")
        made = [(await front.refund(payment_id, 1)).body["id"] for payment_id in (tea, rice, tea)]
        listed = (await front.get(f"/v1/refunds?payment={tea}")).body["data"]
        assert [refund["id"] for refund in listed] == [made[2], made[0]]
        page = (await front.get("/v1/refunds?limit=1")).body
        assert (page["data"][0]["id"], page["has_more"]) == (made[2], True)
        rest = (await front.get(f"/v1/refunds?starting_after={made[2]}")).body
        assert [refund["id"] for refund in rest["data"]] == [made[1], made[0]]


async def test_a_late_refund_that_fails_keeps_the_payers_money_in_the_books(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending({"type": "qr", "code": "x"}))
        payment_id = (await front.pay()).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close")
        await front.notice(front.asked("pay")[0].reference, 10_000)
        front.rail.says(refund=NO)
        await asyncio.gather(front.later(1))
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"], payment["refund_status"]) == ("canceled", 10_000, "none")
        assert await front.balances() == {"channel:rail:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}
        front.rail.works("refund")
        assert (await front.refund(payment_id)).status == 201
        assert await front.balances() == {}


# ---- what the rail does not do ---------------------------------------------------------------------------------------


async def test_a_refund_after_the_rails_time_is_refused_at_the_door_and_one_on_its_last_moment_is_not(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, refund_within=timedelta(days=3))
        payment_id = await front.paid()
        front.clock.forward(3 * 86_400)
        first = await front.refund(payment_id, 4_000, key="in-time")
        assert first.status == 201
        front.clock.forward(1)
        before = await front.counts()
        late = await front.refund(payment_id, 1_000)
        assert (late.status, late.code) == (422, "refund_too_late")
        assert late.body["refundable_until"] == "2100-06-04T08:30:00.000Z"
        assert (await front.counts(), len(front.asked("refund"))) == (before, 1)
        again = await front.refund(payment_id, 4_000, key="in-time")
        assert (again.status, again.body["id"]) == (200, first.body["id"]), "a repetition finds what was made"


async def test_a_rail_without_partial_refunds_is_asked_for_the_whole_or_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, partial_refunds=False)
        payment_id = await front.paid()
        before = await front.counts()
        part = await front.refund(payment_id, 9_999)
        assert (part.status, part.code, part.body["captured_minor"]) == (422, "partial_refund_not_offered", 10_000)
        more = await front.refund(payment_id, 10_001)
        assert (more.status, more.code) == (422, "refund_exceeds_captured")
        assert (await front.counts(), front.asked("refund")) == (before, [])
        assert (await front.refund(payment_id)).body["status"] == "succeeded"


async def test_the_rail_that_took_the_money_decides_what_it_gives_back(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        rail = front.shop.rails["second"]
        rail.capabilities = replace(rail.capabilities, partial_refunds=False)
        payment_id = await front.paid()
        assert (await front.attempt(payment_id)).channel_account == "rail"
        assert (await front.refund(payment_id, 1_000)).status == 201
