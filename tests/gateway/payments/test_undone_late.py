"""Paid, says the rail, after it was told to undo the order: that message may arrive yet, and gives the money back."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

import cases
from channels.contract import Confirmed, Outcome, Pending, Refused, Unknown
from gateway.payments.schedule import UNDO_S, next_after_undo
from gateway.store import still_waiting
from kernel.db import acquire
from kernel.money import Money
from tests.gateway.front import CLOSED, NEVER_ARRIVED, QR, SILENCE, Front, a_front, another_process

PAGE = {"type": "page"}
GIVEN_BACK = Unknown("closed after it was paid", given_back=True)
REVOKED = Refused("REVOKED", closed=True)


async def told_to_undo(front: Front, reverse: Outcome = SILENCE) -> str:
    """Have a payer's code reversed at the merchant's wish, that message's fate unknown; return the payment's id."""
    front.rail.says(pay=Pending(), query=Pending(), reverse=reverse)
    payment_id: str = (await front.scan()).body["id"]
    refused = await front.post(f"/v1/payments/{payment_id}/close")
    assert (refused.status, refused.code) == (409, "not_closed_yet")
    return payment_id


async def paid_all_the_same(front: Front) -> str:
    """Have a payer's code paid after that; return the payment's id."""
    payment_id = await told_to_undo(front)
    assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
    assert (await front.payment(payment_id))["status"] == "succeeded"
    front.rail.works("query")
    return payment_id


async def due_since_s(front: Front, payment_id: str) -> float:
    """Return how long after it was told to undo it the rail is asked about a payment next."""
    attempt = await front.attempt(payment_id)
    assert attempt.due_at is not None
    assert attempt.undo_sent_at is not None
    return (attempt.due_at - attempt.undo_sent_at).total_seconds()


async def waiting(front: Front) -> list[cases.Case]:
    async with acquire(front.hub.pool) as connection:
        return await cases.store.cases(connection, book=front.book)


@pytest.mark.parametrize(("method", "op"), [("barcode", "reverse"), ("qr", "close")])
async def test_what_undoes_an_order_is_noted_before_it_leaves(
    database_url: str, tmp_path: Path, method: str, op: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR), query=Pending())
        payment_id = (await (front.scan() if method == "barcode" else front.pay())).body["id"]
        assert (await front.attempt(payment_id)).undo_sent_at is None
        gate = front.gate()
        closing = asyncio.create_task(front.post(f"/v1/payments/{payment_id}/close"))
        await gate.arrived.wait()
        assert [name for name, _ in front.shop.channel.asked][-1] == op
        assert (await front.attempt(payment_id)).undo_sent_at == front.clock.now()
        gate.open.set()
        assert (await closing).body["status"] == "canceled"


async def test_each_reversal_is_noted_anew(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await told_to_undo(front)
        first = (await front.attempt(payment_id)).undo_sent_at
        await front.later(50)
        assert len(front.asked("reverse")) == 2
        assert (await front.attempt(payment_id)).undo_sent_at == front.clock.now() != first


async def test_a_reversal_that_never_got_its_turn_is_not_sent_once_the_order_is_paid(
    database_url: str, tmp_path: Path
) -> None:
    """The notice is committed while the janitor, which has just heard that nobody paid, is about to reverse."""
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(), query=Pending())
        payment_id = (await front.scan()).body["id"]
        row = await front.attempt(payment_id)
        payment = await front.stored(payment_id)
        assert (await front.notice(row.reference, 10_000)).status == 204
        front.rail.works("query")
        ready = await front.hub.payments._calls.ready(row)
        undone = await front.hub.payments._closing.undo(payment, row, ready)
        assert isinstance(undone.now, Confirmed)
        assert front.asked("reverse") == []
        assert (await front.attempt(payment_id)).undo_sent_at is None


async def test_what_was_paid_all_the_same_is_asked_about_ever_less_often_and_then_left_alone(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await paid_all_the_same(front)
        assert (await front.attempt(payment_id)).due_at == front.clock.now(), "it may have been undone already"
        async with acquire(front.hub.pool) as connection:
            assert await still_waiting(connection, front.book) == [], "nobody waits for it"
        assert await front.later(0) == 1
        passed = 0.0
        for since in UNDO_S:
            assert await front.later(since - passed - 0.1) == 0
            assert await front.later(0.1) == 1
            passed = since
        attempt = await front.attempt(payment_id)
        assert (attempt.status, attempt.due_at, attempt.undo_sent_at) == ("confirmed", None, None)
        assert await waiting(front) == []
        assert await front.events("payment.succeeded", "case.opened") == ["payment.succeeded"]


async def test_what_nobody_told_to_be_undone_is_not_asked_about_once_it_is_paid(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(), query=Pending())
        payment_id = (await front.scan()).body["id"]
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        asked = len(front.asked("query"))
        assert await front.later(100_000) == 0
        assert len(front.asked("query")) == asked
        assert (await front.attempt(payment_id)).due_at is None


@pytest.mark.parametrize("says", [pytest.param(REVOKED, id="reversed"), pytest.param(GIVEN_BACK, id="given back")])
@pytest.mark.parametrize("after_s", [0, 60, UNDO_S[-1]])
async def test_a_success_that_a_reversal_has_taken_back_is_a_case(
    database_url: str, tmp_path: Path, says: Outcome, after_s: int
) -> None:
    """Both answers were lost, the reversal's and whatever told of it; also where only the last question hears of it."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await paid_all_the_same(front)
        while await due_since_s(front, payment_id) < after_s:
            due_at = (await front.attempt(payment_id)).due_at
            assert due_at is not None
            await front.later((due_at - front.clock.now()).total_seconds())
        front.rail.says(query=says)
        for _ in range(30):
            await front.later(3_600)
        (case,) = await waiting(front)
        assert (case.kind, case.about, case.amount_minor) == ("channel_contradicts_itself", f"{payment_id}:1", 10_000)
        assert await front.events("case.opened") == ["case.opened"]
        assert (await front.payment(payment_id))["status"] == "succeeded", "the books wait for a person"
        assert (await front.attempt(payment_id)).due_at is None
        assert await front.later(100_000) == 0


async def test_another_process_goes_on_asking_after_this_one_has_died(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        await paid_all_the_same(front)
        front.rail.says(query=REVOKED)
        front.clock.forward(60)
        await other.hub.janitor().once()
        (case,) = await waiting(front)
        assert case.kind == "channel_contradicts_itself"


async def test_silence_about_what_was_paid_all_the_same_is_no_case_and_ends_like_an_answer(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await paid_all_the_same(front)
        for said in (SILENCE, NEVER_ARRIVED, Pending()):
            front.rail.says(query=said)
            for _ in range(5):
                await front.later(60)
        assert await waiting(front) == []
        await front.later(100_000)
        assert await front.later(100_000) == 0
        assert (await front.payment(payment_id))["status"] == "succeeded"


@pytest.mark.parametrize("part", [None, 4_000])
async def test_what_refunds_of_ours_gave_back_is_no_case(database_url: str, tmp_path: Path, part: int | None) -> None:
    """A rail that says "closed after it was paid" says no more than that; where all of it went back, it is that."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await paid_all_the_same(front)
        assert (await front.refund(payment_id, part)).status == 201
        front.rail.says(query=GIVEN_BACK)
        await front.later(60)
        assert len(await waiting(front)) == (0 if part is None else 1)


async def test_a_refund_that_failed_explains_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await paid_all_the_same(front)
        front.rail.says(refund=Refused("NO"), query=GIVEN_BACK)
        await front.refund(payment_id)
        await front.later(60)
        assert [case.kind for case in await waiting(front)] == ["channel_contradicts_itself"]


async def test_a_question_that_heard_of_the_reversal_while_a_notice_said_paid_opens_the_case(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await told_to_undo(front)
        front.rail.says(query=GIVEN_BACK)
        gate = front.gate()
        front.clock.forward(50)
        asking = asyncio.create_task(front.hub.janitor().once())
        await gate.arrived.wait()
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        gate.open.set()
        await asking
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert [case.kind for case in await waiting(front)] == ["channel_contradicts_itself"]


async def test_a_code_whose_reversal_may_be_under_way_is_not_sent_again(database_url: str, tmp_path: Path) -> None:
    """The till comes once more with the same code: charged now, it would be given back by what was sent before."""
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=SILENCE, reverse=SILENCE)
        payment_id = (await front.scan(key="k")).body["id"]
        front.clock.forward(21)
        assert (await front.post(f"/v1/payments/{payment_id}/close")).status == 409
        front.rail.says(query=NEVER_ARRIVED)
        front.rail.works("pay")
        again = await front.scan(key="k")
        assert (again.status, again.body["status"]) == (200, "processing")
        assert len(front.asked("pay")) == 1
        front.rail.works("query")
        assert (await front.scan(key="k")).body["status"] == "succeeded", "it is asked about, all the same"


async def test_money_captured_after_it_was_told_to_be_released_is_asked_about_too(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        held = Pending(authorized=Money(10_000, "CNY"))
        front.rail.says(pay=held, query=held, void=SILENCE)
        payment_id = (await front.pay(method=PAGE, capture="manual")).body["id"]
        assert (await front.post(f"/v1/payments/{payment_id}/void")).status == 409
        captured = await front.post(f"/v1/payments/{payment_id}/capture", {}, key="c")
        assert captured.body["status"] == "succeeded"
        front.rail.says(query=CLOSED)
        await front.later(60)
        assert [case.kind for case in await waiting(front)] == ["channel_contradicts_itself"]


async def test_what_came_on_top_is_looked_after_by_its_refund_and_not_asked_about(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=NEVER_ARRIVED, reverse=NEVER_ARRIVED)
        payment_id = (await front.scan()).body["id"]
        await front.later(100)
        assert (await front.payment(payment_id))["status"] == "expired"
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        attempt = await front.attempt(payment_id)
        assert (attempt.status, attempt.due_at) == ("late", None)
        await front.later(1)
        assert (await front.payment(payment_id))["refund_status"] == "full"


def test_the_waits_grow_and_end() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    times = []
    at = next_after_undo(now, now, 1.0)
    while at is not None:
        times.append((at - now).total_seconds())
        at = next_after_undo(now, at, 1.0)
    assert times == list(map(float, UNDO_S))
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert 6 * 3600 <= times[-1] <= 24 * 3600
    assert next_after_undo(now, now + timedelta(days=30), 1.0) is None
    assert next_after_undo(now, now, 0.01) == now + timedelta(seconds=UNDO_S[0] * 0.01)
