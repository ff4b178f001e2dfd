"""Coupons that the merchant pays for: what the channel pays out is what is shared, and refunds give their part back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels import Notice
from channels.contract import Confirmed, Kind, Pending, Refused
from kernel.money import Money
from tests.gateway.front import QR, Front, a_front


def paid(front: Front, amount: int, coupon: int | None, *, ref: str = "ch-1", currency: str = "CNY") -> Confirmed:
    part = None if coupon is None else Money(coupon, currency)
    return Confirmed(ref, Money(amount, "CNY"), front.clock.now(), part)


async def bought_with_a_coupon(front: Front, amount: int = 1_000, coupon: int | None = 100, **more: Any) -> Any:
    """Have an order paid, a part of it by the merchant's coupon; return farm, mill and the payment."""
    farm, mill = await front.payee("farm"), await front.payee("mill")
    plan = [{"payee": farm, "basis_points": 3_000}, {"payee": mill, "remainder": 1}]
    front.rail.says(pay=paid(front, amount, coupon))
    payment_id = await front.paid(amount=amount, split=plan, **more)
    await front.share_out()
    return farm, mill, await front.payment(payment_id)


async def test_what_arrives_is_what_is_shared_and_the_coupon_stands_as_a_cost(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm, mill, payment = await bought_with_a_coupon(front)
        # The scripted rail's fee is 0.6 %: of the 9.00 that it pays out 0.05, not the 0.06 of the order's 10.00.
        assert (payment["amount"], payment["amount_captured"], payment["refund_status"]) == (1_000, 1_000, "none")
        assert (payment["merchant_coupon"], payment["channel_fee"], payment["amount_arriving"]) == (100, 5, 895)
        assert await front.balances() == {
            "channel:rail:CNY": (895, 895),
            f"payee:{farm}:CNY": (270, 270),
            f"payee:{mill}:CNY": (625, 625),
            "merchant_coupon:CNY": (100, 100),
            "merchant:CNY": (100, 100),
        }
        split = (await front.get(f"/v1/payments/{payment['id']}")).body["split"]
        assert (split["gross_minor"], split["merchant_coupon_minor"], split["channel_fee_minor"]) == (1_000, 100, 5)
        told = (await front.get("/v1/events?type=payment.succeeded")).body["data"][0]["data"]
        assert (told["merchant_coupon"], told["amount_arriving"]) == (100, 895)
        await front.assert_books_hold()


async def test_the_whole_given_back_is_nine_of_cash_and_one_of_coupon(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, _, payment = await bought_with_a_coupon(front)
        front.rail.says(refund=paid(front, 1_000, 100, ref="re-1"))
        refund = await front.refund(payment["id"])
        assert (refund.body["status"], refund.body["amount"], refund.body["merchant_coupon"]) == (
            "succeeded",
            1_000,
            100,
        )
        assert await front.balances() == {}, "nothing is left of it anywhere"
        await front.assert_books_hold()


async def test_parts_given_back_bear_what_the_channel_says_and_the_last_one_what_is_left(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, _, payment = await bought_with_a_coupon(front)
        front.rail.says(refund=paid(front, 333, 34, ref="re-1"))  # its own rounding, not ours
        assert (await front.refund(payment["id"], 333)).body["merchant_coupon"] == 34
        front.rail.says(refund=paid(front, 333, None, ref="re-2"))  # an answer that does not say: in proportion
        assert (await front.refund(payment["id"], 333)).body["merchant_coupon"] == 34
        await front.assert_books_hold()
        front.rail.says(refund=paid(front, 334, 900, ref="re-3"))  # never more than the coupon was
        assert (await front.refund(payment["id"])).body["merchant_coupon"] == 32
        assert await front.balances() == {}
        await front.assert_books_hold()


async def test_a_refund_that_fails_leaves_the_coupon_as_it_was(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm, _, payment = await bought_with_a_coupon(front)
        before = await front.balances()
        front.rail.says(refund=Pending(channel_ref="re-1"))
        under_way = await front.refund(payment["id"], 500)
        assert (under_way.body["status"], under_way.body["merchant_coupon"]) == ("processing", 50), "expected of it"
        assert (await front.balances())[f"payee:{farm}:CNY"] == (135, 135)
        refused = Notice(Kind.REFUND, front.asked("refund")[-1].reference, Refused("NOT_ENOUGH"), "n-1")
        await front.hub.payments.apply_notice(front.book, "rail", refused)
        assert await front.balances() == before
        await front.assert_books_hold()


async def test_a_refund_that_comes_back_days_later_gives_the_coupon_its_cost_again_and_may_be_tried_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, refunds_come_back=True)
        _, _, payment = await bought_with_a_coupon(front)
        before = await front.balances()
        front.rail.says(refund=paid(front, 500, 50, ref="re-1"))
        refund_id = (await front.refund(payment["id"], 500)).body["id"]
        came_back = Notice(Kind.REFUND, front.asked("refund")[-1].reference, Refused("card_expired"), "n-1")
        await front.hub.payments.apply_notice(front.book, "rail", came_back)
        assert await front.balances() == before
        await front.assert_books_hold()
        again = await front.post(f"/v1/refunds/{refund_id}/retry", key=front.new_key())
        assert (again.body["status"], again.body["merchant_coupon"]) == ("succeeded", 50)
        front.rail.says(refund=paid(front, 500, 50, ref="re-2"))
        assert (await front.refund(payment["id"])).body["merchant_coupon"] == 50
        assert await front.balances() == {}
        await front.assert_books_hold()


@pytest.mark.parametrize("coupon", [None, 0])
async def test_coupons_that_the_channel_pays_for_change_nothing(
    database_url: str, tmp_path: Path, coupon: int | None
) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm, mill, payment = await bought_with_a_coupon(front, coupon=coupon)
        assert (payment["merchant_coupon"], payment["channel_fee"], payment["amount_arriving"]) == (0, 6, 994)
        assert await front.balances() == {
            "channel:rail:CNY": (994, 994),
            f"payee:{farm}:CNY": (300, 300),
            f"payee:{mill}:CNY": (694, 694),
        }


async def test_a_plan_that_no_longer_fits_is_cut_to_what_arrives_and_stops_nobody(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm, mill = await front.payee("farm"), await front.payee("mill")
        plan = [{"payee": farm, "amount": 600}, {"payee": mill, "amount": 390}]
        front.rail.says(pay=paid(front, 1_000, 100))
        cut = await front.paid("cut", 1_000, split=plan)
        front.rail.works("pay")
        after = await front.paid("after", 1_000, split=plan)
        await front.share_out()
        for payment_id, shares in ((cut, [542, 353]), (after, [600, 390])):
            split = (await front.get(f"/v1/payments/{payment_id}")).body["split"]
            assert [share["amount_minor"] for share in split["shares"] if share["payee"] in (farm, mill)] == shares
        front.rail.says(refund=paid(front, 1_000, 100, ref="re-1"))
        assert (await front.refund(cut)).body["status"] == "succeeded"
        await front.assert_books_hold()


async def test_paid_late_or_twice_the_coupon_goes_back_with_the_money(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR))
        late = (await front.pay("late", amount=1_000)).body["id"]
        await front.post(f"/v1/payments/{late}/close")
        reference = front.asked("pay")[-1].reference
        front.rail.says(refund=paid(front, 1_000, 100, ref="re-1"))
        told = Notice(Kind.PAYMENT, reference, paid(front, 1_000, 100, ref="ch-late"), "n-1")
        await front.hub.payments.apply_notice(front.book, "rail", told)
        await front.later(1)
        payment = await front.payment(late)
        assert (payment["merchant_coupon"], payment["refund_status"]) == (100, "full")
        assert await front.balances() == {}
        await front.assert_books_hold()


@pytest.mark.parametrize(("coupon", "currency"), [(1_001, "CNY"), (-1, "CNY"), (100, "USD")])
async def test_a_coupon_that_cannot_be_is_not_booked(
    database_url: str, tmp_path: Path, coupon: int, currency: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=paid(front, 1_000, coupon, currency=currency))
        answer = await front.pay(amount=1_000)
        assert (answer.status, answer.code) == (409, "coupon_exceeds_payment")
        assert await front.balances() == {}
