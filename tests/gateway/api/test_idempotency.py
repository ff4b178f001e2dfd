"""A request may be sent any number of times: it is done once, and every answer tells of the same thing."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from channels.contract import Pending, Refused
from gateway.payments.schedule import FIRST_ANSWER_S
from tests.gateway.front import QR, SILENCE, a_front, an_order, another_process, gather


async def test_the_same_request_again_shows_the_payment_as_it_is_now(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR))
        first = await front.pay(key="k")
        assert (first.status, first.body["status"]) == (201, "requires_action")
        assert "Idempotency-Replayed" not in first.headers
        reference = front.asked("pay")[0].reference
        await front.notice(reference, 10_000)
        again = await front.pay(key="k")
        assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
        assert (again.body["id"], again.body["status"]) == (first.body["id"], "succeeded")
        assert len(front.asked("pay")) == 1


async def test_while_the_first_request_is_under_way_the_second_is_told_to_wait(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        gate = front.gate()
        first = asyncio.ensure_future(front.pay(key="k"))
        await gate.arrived.wait()
        second = await front.pay(key="k")
        assert (second.status, second.code, second.body["retriable"]) == (409, "request_in_progress", True)
        assert second.headers["Retry-After"] == "1"
        payment_id = (await front.get("/v1/payments")).body["data"][0]["id"]
        closing = await front.post(f"/v1/payments/{payment_id}/close")
        assert (closing.status, closing.code) == (409, "request_in_progress")
        front.clock.forward(FIRST_ANSWER_S + 1)  # however long it takes, this process knows that it still waits
        assert (await front.pay(key="k")).code == "request_in_progress"
        gate.open.set()
        assert (await first).status == 201
        third = await front.pay(key="k")
        assert (third.status, third.body["status"]) == (200, "succeeded")


async def test_another_process_waits_for_the_first_answer_as_long_as_a_call_may_take(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        gate = front.gate()
        first = asyncio.ensure_future(front.pay(key="k"))
        await gate.arrived.wait()
        second = await other.pay(key="k")
        assert (second.status, second.code) == (409, "request_in_progress")
        front.clock.forward(FIRST_ANSWER_S + 1)  # the first process may be dead by now
        third = await other.pay(key="k")
        assert (third.status, third.body["status"]) == (200, "processing")
        gate.open.set()
        assert (await first).body["status"] == "succeeded"
        assert len(front.asked("pay")) == 1


async def test_twenty_identical_requests_at_once_make_one_payment_and_one_call(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        answers = await gather(*(front.pay(key="k") for _ in range(20)))
        made = [answer for answer in answers if answer.status == 201]
        assert len(made) == 1
        for answer in answers:
            if answer.status == 200:
                assert answer.body["id"] == made[0].body["id"]
            elif answer.status != 201:
                assert (answer.status, answer.code) == (409, "request_in_progress")
        assert len(front.asked("pay")) == 1
        assert await front.events("payment.created", "payment.succeeded") == ["payment.created", "payment.succeeded"]


async def test_two_processes_at_once_make_one_payment_and_one_call(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        answers = await gather(*(door.pay(key="k") for _ in range(5) for door in (front, other)))
        assert sorted(answer.status for answer in answers)[-1] in (201, 409)
        assert [answer.status for answer in answers].count(201) == 1
        assert len(front.asked("pay")) == 1


async def test_one_key_with_two_bodies_at_once_is_taken_by_one_of_them(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        answers = await gather(*(front.pay(f"order-{n}", key="k") for n in range(5)))
        assert sorted(answer.status for answer in answers) == [201, 422, 422, 422, 422]
        assert {answer.code for answer in answers if answer.status == 422} == {"idempotency_key_reused"}
        assert len(front.asked("pay")) == 1


async def test_the_same_order_under_another_key_is_the_same_payment(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await front.pay("order-1", key="k1")
        second = await front.pay("order-1", key="k2")
        assert (second.status, second.body["id"]) == (200, first.body["id"])
        assert second.headers["Idempotency-Replayed"] == "true"
        third = await front.pay("order-2", key="k2")
        assert (third.status, third.code) == (422, "idempotency_key_reused")
        assert third.body["object_id"] == first.body["id"]


async def test_a_key_and_an_order_number_of_two_payments_are_not_mixed_up(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        body = an_order("order-1")
        await front.post("/v1/payments", body, key="k1")
        await front.post("/v1/payments", {**body, "merchant_order_id": "order-2"}, key="k2")
        mixed = await front.post("/v1/payments", body, key="k2")
        assert (mixed.status, mixed.code) == (422, "idempotency_key_reused")


async def test_a_refused_request_uses_nothing_up(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payee = await front.payee("farm")
        wrong = await front.pay(key="k", split=[{"payee": payee, "amount": 10_001}])
        assert (wrong.status, wrong.code) == (422, "split_exceeds_payment")
        right = await front.pay(key="k", split=[{"payee": payee, "amount": 1_000}])
        assert right.status == 201


async def test_a_payment_the_rail_refused_is_shown_again_as_refused(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Refused("NOTENOUGH", "no money"))
        await front.pay(key="k")
        again = await front.pay(key="k")
        assert (again.status, again.body["status"], again.body["failure"]["code"]) == (200, "failed", "NOTENOUGH")
        assert len(front.asked("pay")) == 1


@pytest.mark.parametrize("state", ["off", "draining"])
async def test_a_repeated_request_is_answered_though_its_rail_takes_nothing_new(
    database_url: str, tmp_path: Path, state: str
) -> None:
    """Told that no channel takes it, a merchant would believe the order unpaid and sell it again."""
    async with a_front(database_url, tmp_path) as front:
        first = await front.pay(key="k")
        operator = await asyncpg.connect(database_url)
        await operator.execute("UPDATE channel_account SET state = $1", state)
        await operator.close()
        front.clock.forward(2)  # accounts are remembered for a second
        again = await front.pay(key="k")
        assert (again.status, again.body["id"], again.body["status"]) == (200, first.body["id"], "succeeded")
        fresh = await front.pay("order-2")
        assert (fresh.status, fresh.code) == (422, "no_channel")
        reused = await front.pay("order-2", key="k")
        assert (reused.status, reused.code) == (422, "idempotency_key_reused")


async def test_a_refund_asked_for_again_is_made_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        first = await front.refund(payment_id, 100, key="k1", merchant_refund_id="r-1")
        assert (first.status, first.body["status"]) == (201, "succeeded")
        same_key = await front.refund(payment_id, 100, key="k1", merchant_refund_id="r-1")
        same_number = await front.refund(payment_id, 100, key="k2", merchant_refund_id="r-1")
        for again in (same_key, same_number):
            assert (again.status, again.body["id"]) == (200, first.body["id"])
            assert again.headers["Idempotency-Replayed"] == "true"
        other = await front.refund(payment_id, 200, key="k3", merchant_refund_id="r-1")
        assert (other.status, other.code, other.body["object_id"]) == (409, "duplicate_refund", first.body["id"])
        other = await front.refund(payment_id, 200, key="k1")
        assert (other.status, other.code) == (422, "idempotency_key_reused")
        assert (await front.payment(payment_id))["amount_refunded"] == 100
        assert len(front.asked("refund")) == 1


async def test_the_same_refund_of_another_payment_is_another_refund(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        tea, rice = await front.paid("tea"), await front.paid("rice")
        assert (await front.refund(tea, 100, key="k")).status == 201
        mixed_up = await front.refund(rice, 100, key="k")
        assert (mixed_up.status, mixed_up.code) == (422, "idempotency_key_reused")


async def test_twenty_identical_refunds_at_once_are_one_refund(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        answers = await gather(*(front.refund(payment_id, 6_000, key="k") for _ in range(20)))
        assert sorted({answer.status for answer in answers}) == [200, 201]
        assert len({answer.body["id"] for answer in answers}) == 1
        assert (await front.payment(payment_id))["amount_refunded"] == 6_000
        assert len(front.asked("refund")) == 1


async def test_a_repeated_request_does_not_ask_a_silent_rail_again(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE)
        first = await front.pay(key="k")
        again = await front.pay(key="k")
        assert (first.body["status"], again.body["status"], again.status) == ("processing", "processing", 200)
        assert len(front.asked("pay")) == 1


async def test_a_request_the_hub_was_too_busy_for_used_nothing_up(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        lane = front.hub.lanes.all[0]
        lane._max_waiting, room = 0, lane._max_waiting
        busy = await front.pay(key="k")
        assert (busy.status, busy.code, busy.body["retriable"]) == (503, "busy", True)
        assert int(busy.headers["Retry-After"]) >= 1
        lane._max_waiting = room
        assert (await front.pay(key="k")).status == 201
