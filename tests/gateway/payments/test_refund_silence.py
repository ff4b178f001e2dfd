"""Refunds whose answer was lost: asked about, sent again under one number only, and never believed refused for that."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cases
from channels.contract import Outcome, Pending, Refused, Unknown
from gateway.claims import Claims
from gateway.payments.refunds import CreateRefund
from gateway.payments.schedule import FIRST_ANSWER_S
from gateway.store import find_refund
from kernel.db import acquire
from tests.gateway.front import NEVER_ARRIVED, QR, SILENCE, Front, a_front
from tests.support import HereTransport

# What rails say to a repetition for reasons of the repetition's own: a clock that is off, a certificate that was
# changed, a right that was withdrawn, a limit, a number that was used before.
NOS = {
    "wechat_signature": Refused("SIGN_ERROR", "the signature is wrong", retriable=True),
    "wechat_right": Refused("NO_AUTH", "no right to this", retriable=True),
    "wechat_merchant": Refused("MCH_NOT_EXISTS", "no such merchant", retriable=True),
    "wechat_form": Refused("PARAM_ERROR", "a parameter is wrong"),
    "wechat_none": Refused("RESOURCE_NOT_EXISTS", "no such order"),
    "wechat_used": Unknown("INVALID_REQUEST", refusal=Refused("INVALID_REQUEST", "more than is left")),
    "alipay_right": Refused("isv.insufficient-isv-permissions", "no right", retriable=True),
    "alipay_balance": Refused("ACQ.SELLER_BALANCE_NOT_ENOUGH", "too little", retriable=True),
    "paypal_limit": Refused("REFUND_AMOUNT_EXCEEDED", "more than is left"),
    "paypal_gone": Refused("CAPTURE_FULLY_REFUNDED", "all was refunded"),
    "unionpay_time": Refused("39", "outside its hours", retriable=True),
}
REPETITIONS = pytest.mark.parametrize("no", NOS.values(), ids=NOS)
NO = Refused("TRADE_OVERDUE", "more than a year after the payment")


async def refund_of(front: Front, refund_id: str) -> Any:
    return (await front.get(f"/v1/refunds/{refund_id}")).body


async def retry(front: Front, refund_id: str) -> Any:
    return await front.post(f"/v1/refunds/{refund_id}/retry", key=front.new_key())


async def open_cases(front: Front) -> list[tuple[str, str, int | None]]:
    async with acquire(front.hub.pool) as connection:
        found = await cases.store.cases(connection, book=front.book)
    return [(case.kind, case.about, case.amount_minor) for case in found]


@REPETITIONS
async def test_a_refund_whose_answer_was_lost_is_not_ended_by_the_refusal_of_its_repetition(
    database_url: str, tmp_path: Path, no: Outcome
) -> None:
    """The rail has not carried it out yet when it is asked, refuses the repetition, and carries the first one out."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=[SILENCE, no], refund_query=NEVER_ARRIVED)
        refund = (await front.refund(payment_id, 300)).body
        for wait_s in (5, 30, 60, 300):
            await front.later(wait_s)
        assert (await refund_of(front, refund["id"]))["status"] == "processing"
        refused = await retry(front, refund["id"])
        assert (refused.status, refused.code) == (409, "refund_not_failed")
        assert len({order.reference for order in front.asked("refund")}) == 1
        assert (await front.notice(front.asked("refund")[0].reference, 300, kind="refund")).status == 204
        assert (await refund_of(front, refund["id"]))["status"] == "succeeded"
        assert (await front.payment(payment_id))["amount_refunded"] == 300
        assert await front.events("refund.failed") == []


async def test_a_refund_whose_repetitions_the_rail_refuses_is_a_persons_after_an_hour(
    database_url: str, tmp_path: Path
) -> None:
    """The first message was refused and its answer lost: the rail finds nothing and says no each time, for good."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=[SILENCE, *[NOS["alipay_balance"]] * 200], refund_query=NEVER_ARRIVED)
        refund = (await front.refund(payment_id, 300)).body
        for wait_s in (5, 60, 600, 1800):
            await front.later(wait_s)
        assert await open_cases(front) == []
        await front.later(3600)
        await front.later(3600)
        assert await open_cases(front) == [("refund_unfinished", refund["id"], 300)]
        async with acquire(front.hub.pool) as connection:
            (case,) = await cases.store.cases(connection, book=front.book)
        assert "ACQ.SELLER_BALANCE_NOT_ENOUGH: too little" in case.facts
        assert (await refund_of(front, refund["id"]))["status"] == "processing"


async def test_a_refund_whose_answer_was_lost_is_asked_about_before_it_is_sent_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=[SILENCE, NOS["wechat_signature"]])
        refund = (await front.refund(payment_id)).body
        await front.later(5)
        assert (await refund_of(front, refund["id"]))["status"] == "succeeded"
        assert len(front.asked("refund")) == 1


@REPETITIONS
async def test_what_a_dead_process_may_have_sent_is_not_ended_by_the_refusal_of_a_repetition(
    database_url: str, tmp_path: Path, no: Outcome
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = front.hub.env.ids.new("re")
        claims = Claims(("i:k",), b"h")
        await front.hub.lanes.put(CreateRefund(front.book, refund_id, payment_id, 300, "requested", None, claims))
        front.rail.says(refund=no, refund_query=NEVER_ARRIVED)
        await front.later(FIRST_ANSWER_S + 1)
        assert len(front.asked("refund")) == 1
        assert (await refund_of(front, refund_id))["status"] == "processing"
        front.rail.refused.clear()  # it had been carried out
        front.rail.works("refund_query")
        await front.later(60)
        assert (await refund_of(front, refund_id))["status"] == "succeeded"


async def test_an_answer_that_comes_after_the_refund_was_sent_again_decides_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """A process held up until the janitor of another had asked and sent it again, without an answer."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        gate = front.gate()
        first = asyncio.create_task(front.refund(payment_id, 300))
        await gate.arrived.wait()
        front.hub.env.transport = HereTransport()
        front.rail.says(refund=[SILENCE, NO], refund_query=NEVER_ARRIVED)
        await front.later(FIRST_ANSWER_S + 1)
        gate.open.set()
        assert (await first).body["status"] == "processing"


@pytest.mark.parametrize("no", [NO, NOS["wechat_used"]], ids=["plain", "also for a used number"])
async def test_a_no_to_the_only_message_ends_a_refund_at_once(database_url: str, tmp_path: Path, no: Outcome) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        before = await front.balances()
        front.rail.says(refund=no)
        assert (await front.refund(payment_id)).body["status"] == "failed"
        assert await front.balances() == before


async def test_a_message_that_never_left_is_no_silence(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=[Unknown("no connection", not_sent=True), NO])
        refund = (await front.refund(payment_id)).body
        assert refund["status"] == "processing"
        await front.later(5)
        assert front.asked("refund_query") == [], "nothing has left that could be asked about"
        assert (await refund_of(front, refund["id"]))["status"] == "failed"


async def test_a_no_to_a_question_ends_what_silence_left_open(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=SILENCE, refund_query=Refused("CLOSED", closed=True))
        refund = (await front.refund(payment_id)).body
        await front.later(5)
        assert (await refund_of(front, refund["id"]))["status"] == "failed"


async def test_money_that_goes_back_by_itself_is_asked_about_once_its_answer_was_lost(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR), refund=[SILENCE, NO], refund_query=NEVER_ARRIVED)
        payment_id = (await front.pay()).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close")
        await front.notice(front.asked("pay")[0].reference, 10_000)
        for wait_s in (1, 30, 60):
            await front.later(wait_s)
        assert len(front.asked("refund")) == 3
        assert (await front.payment(payment_id))["amount_refunding"] == 10_000
        front.rail.refused.clear()  # it had been carried out
        front.rail.works("refund_query")
        await front.later(600)
        assert (await front.payment(payment_id))["refund_status"] == "full"


# ---- after it had failed ---------------------------------------------------------------------------------------------


async def failed(front: Front, payment_id: str, amount: int | None = None) -> str:
    """Have a refund fail at the rail's word; return its id."""
    front.rail.says(refund=NO, refund_query=NEVER_ARRIVED)
    refund = (await front.refund(payment_id, amount)).body
    assert refund["status"] == "failed"
    front.rail.works("refund")
    refund_id: str = refund["id"]
    return refund_id


@pytest.mark.parametrize("amount", [300, None], ids=["a part", "the whole"])
async def test_a_refund_paid_after_it_had_failed_is_booked(
    database_url: str, tmp_path: Path, amount: int | None
) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm = await front.payee("farm")
        payment_id = await front.paid(split=[{"payee": farm, "remainder": 1}])
        await front.share_out()
        refund_id = await failed(front, payment_id, amount)
        minor = amount or 10_000
        for _ in range(3):
            assert (await front.notice(front.asked("refund")[0].reference, minor, kind="refund")).status == 204
        refund = await refund_of(front, refund_id)
        assert (refund["status"], refund["failure"]) == ("succeeded", None)
        assert (await front.payment(payment_id))["amount_refunded"] == minor
        assert await front.events("refund.failed", "refund.succeeded") == ["refund.failed", "refund.succeeded"]
        if amount is None:
            assert await front.balances() == {}
        assert await open_cases(front) == []
        again = await retry(front, refund_id)
        assert (again.status, again.code) == (409, "refund_not_failed")


async def test_a_retry_asks_first_and_pays_nothing_twice(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = await failed(front, payment_id, 300)
        front.rail.refused.clear()  # it had been carried out
        front.rail.works("refund_query")
        again = await retry(front, refund_id)
        assert (again.status, again.code) == (409, "refund_not_failed")
        assert len(front.asked("refund")) == 1
        assert (await refund_of(front, refund_id))["status"] == "succeeded"
        assert (await front.payment(payment_id))["amount_refunded"] == 300


@pytest.mark.parametrize("said", [SILENCE, Pending(), Unknown("not sent", not_sent=True)])
async def test_a_retry_waits_until_the_rail_says_what_became_of_the_number_before(
    database_url: str, tmp_path: Path, said: Outcome
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = await failed(front, payment_id, 300)
        front.rail.says(refund_query=said)
        again = await retry(front, refund_id)
        assert (again.status, again.code) == (503, "refund_undecided")
        assert len(front.asked("refund")) == 1
        front.rail.says(refund_query=NEVER_ARRIVED)
        assert (await retry(front, refund_id)).body["status"] == "succeeded"
        assert len(front.asked("refund")) == 2


@pytest.mark.parametrize("end", ["succeeds", "is refused", "is never heard of"])
async def test_a_number_paid_while_the_next_is_under_way_is_the_refund_and_the_next_is_watched(
    database_url: str, tmp_path: Path, end: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = await failed(front, payment_id, 300)
        front.rail.says(refund=Pending(channel_ref="second"), refund_query=[NEVER_ARRIVED, Pending()])
        assert (await retry(front, refund_id)).body["status"] == "processing"
        first, second = (order.reference for order in front.asked("refund"))
        await front.notice(first, 300, kind="refund")
        assert (await refund_of(front, refund_id))["status"] == "succeeded"
        await front.later(60)
        if end == "succeeds":
            front.rail.works("refund_query")
        else:
            front.rail.says(refund_query=NO if end == "is refused" else NEVER_ARRIVED)
        for _ in range(12):
            await front.later(3_600)
        assert len(front.asked("refund")) == 2, "it is asked about, and not sent"
        assert (await refund_of(front, refund_id))["status"] == "succeeded"
        assert (await front.payment(payment_id))["amount_refunded"] == 300
        balances = await front.balances()
        if end == "succeeds":
            assert await open_cases(front) == [("refund_paid_twice", refund_id, 300)]
            assert balances["suspense:CNY"][0] == -300
            assert (await front.notice(second, 300, kind="refund")).status == 204
            assert await front.balances() == balances
        else:
            assert await open_cases(front) == []
            assert "suspense:CNY" not in balances


async def test_two_numbers_that_were_both_paid_are_seen(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = await failed(front, payment_id, 300)
        assert (await retry(front, refund_id)).body["status"] == "succeeded"
        first = front.asked("refund")[0].reference
        for _ in range(2):
            assert (await front.notice(first, 300, kind="refund")).status == 204
        assert await open_cases(front) == [("refund_paid_twice", refund_id, 300)]
        balances = await front.balances()
        assert balances["suspense:CNY"] == (-300, -300)
        captured, fee, fee_returned = 10_000, 60, 2
        assert balances["channel:rail:CNY"][0] == captured - fee - 2 * 300 + fee_returned


async def test_a_failed_refund_that_was_paid_when_all_had_gone_back_is_seen_and_not_retried(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        refund_id = await failed(front, payment_id, 300)
        assert (await front.refund(payment_id)).body["status"] == "succeeded"
        for _ in range(2):
            assert (await front.notice(front.asked("refund")[0].reference, 300, kind="refund")).status == 204
        assert (await refund_of(front, refund_id))["status"] == "failed"
        assert await open_cases(front) == [("refund_paid_twice", refund_id, 300)]
        assert await front.balances() == {"channel:rail:CNY": (-300, -300), "suspense:CNY": (-300, -300)}
        assert (await retry(front, refund_id)).code == "refund_not_failed"
        assert len(front.asked("refund")) == 2


async def test_a_confirmation_after_failing_of_another_amount_books_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        await failed(front, payment_id, 300)
        before = await front.balances()
        refused = await front.notice(front.asked("refund")[0].reference, 301, kind="refund")
        assert refused.status in (400, 503)
        assert await front.balances() == before


async def test_a_rail_that_is_asked_by_sending_again_counts_what_is_sent(database_url: str, tmp_path: Path) -> None:
    """Its question is the message itself; a no to it says nothing of the first, and a retry is not preceded by one."""
    async with a_front(database_url, tmp_path) as front:
        front.shop.channel.capabilities = replace(front.shop.channel.capabilities, query_by_resend=True)
        payment_id = await front.paid()
        front.rail.says(refund=SILENCE, refund_query=Unknown("HTTP 403"))
        refund = (await front.refund(payment_id, 300)).body
        await front.later(5)
        row = await stored(front, refund["id"])
        assert (row.status, row.sent_count) == ("processing", 2)
        front.rail.refused.clear()  # it had been carried out
        front.rail.works("refund_query")
        await front.later(60)
        assert (await refund_of(front, refund["id"]))["status"] == "succeeded"
        other = await failed(front, payment_id, 200)
        asked = len(front.asked("refund_query"))
        assert (await retry(front, other)).body["status"] == "succeeded"
        assert len(front.asked("refund_query")) == asked


async def stored(front: Front, refund_id: str) -> Any:
    async with acquire(front.hub.pool) as connection:
        return await find_refund(connection, front.book, refund_id)
