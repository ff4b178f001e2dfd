"""An order whose payment ended unpaid can be paid by another; never are two of one order open or paid."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Pending, Refused
from tests.gateway.front import QR, Front, a_front, an_order, gather

NO = Refused("NOTENOUGH", "the payer has no money")
EXPIRES_S = 7_200


async def ended(front: Front, how: str, **more: Any) -> str:
    """Have the order's payment end unpaid; return its id."""
    front.rail.says(pay=NO if how == "failed" else Pending(QR), query=Pending())
    payment_id: str = (await front.pay(key="first", **more)).body["id"]
    if how == "canceled":
        await front.post(f"/v1/payments/{payment_id}/close")
    elif how == "expired":
        await front.later(EXPIRES_S + 1)
    assert (await front.payment(payment_id))["status"] == how
    front.rail.says(pay=Pending(QR))
    return payment_id


ENDS = pytest.mark.parametrize("how", ["failed", "canceled", "expired"])


@ENDS
@pytest.mark.parametrize("amount", [10_000, 9_000], ids=["as it was", "for less"])
async def test_an_order_that_ended_unpaid_can_be_paid_by_another_payment(
    database_url: str, tmp_path: Path, how: str, amount: int
) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await ended(front, how)
        front.rail.works("pay")
        again = await front.pay(amount=amount)
        assert (again.status, again.body["status"], again.body["merchant_order_id"]) == (201, "succeeded", "order-1")
        assert again.body["id"] != first
        assert len({order.reference for order in front.asked("pay")}) == 2
        listed = (await front.get("/v1/payments?merchant_order_id=order-1")).body["data"]
        assert [payment["id"] for payment in listed] == [again.body["id"], first]
        paid = await front.pay(amount=amount + 1)
        assert (paid.status, paid.code, paid.body["object_id"]) == (409, "duplicate_order", again.body["id"])


@ENDS
async def test_a_key_leads_to_its_own_payment_for_ever(database_url: str, tmp_path: Path, how: str) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await ended(front, how)
        for _ in range(2):
            replay = await front.pay(key="first")
            assert (replay.status, replay.body["id"]) == (200, first)
        second = (await front.pay(key="second")).body["id"]
        for key, payment_id in (("first", first), ("second", second), ("first", first)):
            replay = await front.pay(key=key)
            assert (replay.status, replay.body["id"]) == (200, payment_id)
        other = await front.pay(amount=1, key="first")
        assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_an_order_is_never_open_twice(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await ended(front, "failed")
        answers = await gather(*(front.pay(amount=10_000 + n % 2) for n in range(10)))
        made = {answer.body["id"] for answer in answers if answer.status in (200, 201)}
        assert len(made) == 1
        assert first not in made
        assert {answer.code for answer in answers if answer.status == 409} <= {"duplicate_order", "request_in_progress"}
        listed = (await front.get("/v1/payments?merchant_order_id=order-1")).body["data"]
        assert [payment["status"] for payment in listed] == ["requires_action", "failed"]


async def test_an_order_can_be_taken_as_often_as_it_ends_unpaid(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=NO)
        made = [(await front.pay()).body["id"] for _ in range(4)]
        front.rail.works("pay")
        made.append(await front.paid())
        listed = (await front.get("/v1/payments?merchant_order_id=order-1")).body["data"]
        assert [payment["id"] for payment in listed] == made[::-1]
        assert len(set(made)) == 5
        assert [payment["merchant_order_id"] for payment in listed] == ["order-1"] * 5


@ENDS
@pytest.mark.parametrize("paid", [True, False], ids=["the other is paid", "the other is open"])
async def test_what_comes_late_for_the_first_goes_back_and_the_other_stands(
    database_url: str, tmp_path: Path, how: str, paid: bool
) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await ended(front, how)
        if paid:
            front.rail.works("pay")
        second = (await front.pay()).body["id"]
        late = front.asked("pay")[0].reference
        assert (await front.notice(late, 10_000)).status == 204
        front.rail.works("query")
        await front.later(1)
        was = await front.payment(first)
        assert (was["status"], was["amount_captured"], was["refund_status"]) == (how, 10_000, "full")
        assert len(front.asked("refund")) == 1
        if not paid:
            assert (await front.notice(front.asked("pay")[1].reference, 10_000)).status == 204
        now = await front.payment(second)
        assert (now["status"], now["amount_captured"], now["amount_refunded"]) == ("succeeded", 10_000, 0)
        assert await front.balances() == {"channel:rail:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}


@pytest.mark.parametrize("method", ["qr", "cashier"])
async def test_an_open_order_is_not_taken_again(database_url: str, tmp_path: Path, method: str) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR), query=Pending())
        first = (await front.pay(method={"type": method})).body["id"]
        other = await front.pay(amount=1, method={"type": method})
        assert (other.status, other.code, other.body["object_id"]) == (409, "duplicate_order", first)
        same = await front.pay(method={"type": method})
        assert (same.status, same.body["id"]) == (200, first)


async def test_numbers_that_begin_alike_are_not_listed_together(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=NO)
        numbers = ["a", "a:b", "a*", "a_", "a|b"]
        for number in numbers:
            for _ in range(2):
                await front.post("/v1/payments", an_order(number), key=front.new_key())
        for number in numbers:
            listed = await asyncio.gather(front.get(f"/v1/payments?merchant_order_id={number}"))
            found = [payment["merchant_order_id"] for payment in listed[0].body["data"]]
            assert found == [number] * 2
