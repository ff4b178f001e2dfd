"""After silence: a message may have reached its rail, so what the rail says to a repetition of it decides nothing."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from channels.contract import Outcome, Pending, Refused, Unknown
from gateway.claims import Claims
from gateway.payments.attempts import Chosen
from gateway.payments.create import CreatePayment, NewPayment
from gateway.payments.schedule import FIRST_ANSWER_S, NOT_RECEIVED_AFTER
from kernel.clock import BEIJING
from tests.gateway.front import CLOSED, NEVER_ARRIVED, QR, SILENCE, Front, a_front, an_order, another_process
from tests.support import confirmed

TWO = {"second": "other"}
BUSY = Refused("SYSTEM_BUSY", "over the rail's own limit", retriable=True)
NO = Refused("NOTENOUGH", "the payer has no money")
NOT_SENT = Unknown("no connection", not_sent=True)
REFUSALS = pytest.mark.parametrize("refusal", [BUSY, NO, CLOSED], ids=["another may", "never", "closed"])


async def paid_once_by_the_first(front: Front, payment_id: str) -> None:
    """Let the first message be carried out after all: the order is paid, once, and nothing went elsewhere."""
    assert front.asked("pay", "second") == []
    assert len({order.reference for order in front.asked("pay")}) == 1
    assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
    payment = await front.payment(payment_id)
    assert (payment["status"], payment["amount_captured"], payment["attempt_count"]) == ("succeeded", 10_000, 1)
    assert await front.events("payment.failed", "payment.canceled", "payment.expired") == []


@REFUSALS
async def test_a_code_that_may_have_arrived_is_not_tried_elsewhere_when_its_repetition_is_refused(
    database_url: str, tmp_path: Path, refusal: Refused
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=[SILENCE, refusal], query=NEVER_ARRIVED, reverse=NEVER_ARRIVED)
        payment = (await front.scan()).body
        assert payment["status"] == "processing", "the till is not told to take another wallet"
        await front.later(5)
        await paid_once_by_the_first(front, payment["id"])


@REFUSALS
async def test_a_till_that_takes_up_a_code_is_not_told_no_by_the_repetition(
    database_url: str, tmp_path: Path, refusal: Refused
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=[SILENCE, refusal], query=SILENCE)
        payment = (await front.scan(key="k")).body
        front.rail.says(query=NEVER_ARRIVED)
        again = (await front.scan(key="k")).body
        assert (again["id"], again["status"]) == (payment["id"], "processing")
        assert len(front.asked("pay")) >= 2
        await paid_once_by_the_first(front, payment["id"])


@REFUSALS
async def test_what_a_dead_process_may_have_sent_is_not_ended_by_the_refusal_of_a_repetition(
    database_url: str, tmp_path: Path, refusal: Refused
) -> None:
    """Killed between the commit and the answer: nothing tells whether the message had left, so it may have."""
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await recorded(front, "barcode")
        front.rail.says(pay=refusal, query=NEVER_ARRIVED, reverse=NEVER_ARRIVED)
        front.clock.forward(FIRST_ANSWER_S + 1)
        again = (await front.scan(key="k")).body
        assert (again["id"], again["status"]) == (payment_id, "processing")
        await paid_once_by_the_first(front, payment_id)


@REFUSALS
@pytest.mark.parametrize("method", ["qr", "h5", "app"])
async def test_an_order_the_janitor_repeats_is_not_ended_by_a_refusal_of_that(
    database_url: str, tmp_path: Path, refusal: Refused, method: str
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await recorded(front, method)
        front.rail.says(pay=refusal, query=NEVER_ARRIVED, close=NEVER_ARRIVED)
        await front.later(FIRST_ANSWER_S + 1)
        assert len(front.asked("pay")) == 1
        assert (await front.payment(payment_id))["status"] == "processing"
        await front.later(100)
        await paid_once_by_the_first(front, payment_id)


async def test_an_order_whose_repetition_is_refused_ends_once_its_rail_confirms_that_it_is_closed(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=[SILENCE, BUSY], query=NEVER_ARRIVED, close=CLOSED)
        payment_id = (await front.pay()).body["id"]
        await front.later(5)
        assert len(front.asked("close")) == 1
        assert (await front.payment(payment_id))["status"] == "canceled"
        assert front.asked("pay", "second") == []


async def test_a_first_message_that_never_left_is_no_silence(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=[NOT_SENT])
        front.others["second"].says(pay=[NOT_SENT, NO])
        payment = (await front.scan()).body
        assert (payment["status"], payment["failure"]["code"]) == ("failed", "NOTENOUGH")


@pytest.mark.parametrize("refusal", [BUSY, NO])
async def test_a_no_to_a_question_ends_what_silence_left_open(
    database_url: str, tmp_path: Path, refusal: Refused
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=refusal)
        payment = (await front.scan()).body
        assert (payment["status"], payment["failure"]["code"]) == ("failed", refusal.code)


async def test_an_answer_that_comes_after_another_process_took_the_code_up_decides_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """A process held up for half a minute: another has meanwhile served the till, and its message is unanswered."""
    async with (
        a_front(database_url, tmp_path, accounts=TWO) as front,
        another_process(front, database_url, tmp_path) as other,
    ):
        slow = front.gate()
        first = asyncio.create_task(front.scan(key="k"))
        await slow.arrived.wait()
        front.clock.forward(FIRST_ANSWER_S + 1)
        front.rail.says(pay=[SILENCE, BUSY], query=NEVER_ARRIVED)
        taken_up = (await other.scan(key="k")).body
        assert taken_up["status"] == "processing"
        slow.open.set()
        assert (await first).body["status"] == "processing"
        await paid_once_by_the_first(front, taken_up["id"])


@pytest.mark.parametrize("reversal", [SILENCE, NOT_SENT, Unknown("HTTP 500")])
async def test_a_code_is_not_called_never_received_before_its_rail_has_answered_the_reversal(
    database_url: str, tmp_path: Path, reversal: Outcome
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=NEVER_ARRIVED, reverse=reversal)
        payment_id = (await front.scan()).body["id"]
        await front.later(NOT_RECEIVED_AFTER.total_seconds())
        await front.later(60)
        assert len(front.asked("reverse")) == 2
        assert (await front.payment(payment_id))["status"] == "processing"
        front.rail.says(reverse=NEVER_ARRIVED)
        await front.later(60)
        assert (await front.payment(payment_id))["status"] == "expired"


async def test_an_order_is_not_called_never_received_before_its_rail_has_answered_the_closing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=NEVER_ARRIVED, close=SILENCE)
        payment_id = (await front.pay()).body["id"]
        await front.later(7_300)
        assert (await front.payment(payment_id))["status"] == "processing"
        front.rail.says(close=NEVER_ARRIVED)
        await front.later(7_300)
        assert (await front.payment(payment_id))["status"] == "expired"


# ---- the second call, and reserved money -----------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [BUSY, NO])
async def test_a_second_call_whose_answer_was_lost_is_not_ended_by_the_refusal_of_its_repetition(
    database_url: str, tmp_path: Path, refusal: Refused
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        approved = Pending(channel_ref="order-at-the-rail", proceed=True)
        front.rail.says(pay=approved, query=approved, proceed=[SILENCE, refusal])
        payment_id = (await front.pay(method={"type": "card", "token": "tok_1"})).body["id"]
        await front.later(5)
        assert len(front.asked("proceed")) == 2
        assert (await front.payment(payment_id))["status"] == "processing"
        await paid_once_by_the_first(front, payment_id)


async def test_a_first_second_call_that_is_refused_ends_it(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(channel_ref="order-at-the-rail", proceed=True), proceed=NO)
        payment = (await front.pay(method={"type": "card", "token": "tok_1"})).body
        assert (payment["status"], payment["failure"]["code"]) == ("failed", "NOTENOUGH")


@pytest.mark.parametrize("refusal", [BUSY, NO, Refused("AUTHORIZATION_EXPIRED", closed=True)])
async def test_a_capture_whose_answer_was_lost_is_not_ended_by_the_refusal_of_its_repetition(
    database_url: str, tmp_path: Path, refusal: Refused
) -> None:
    """The rail still shows the money as reserved; so it would while the first message is on its way there."""
    async with a_front(database_url, tmp_path) as front:

        def held(op: str, order: Any) -> Outcome:
            return (
                front.rail(op, order)
                if op in front.rail.answers
                else Pending(channel_ref="hold", authorized=order.amount)
            )

        front.shop.channel.script = held
        front.rail.says(capture=[SILENCE, refusal])
        body = an_order(method={"type": "card", "token": "tok_1"}, capture="manual")
        payment_id = (await front.post("/v1/payments", body, key="p")).body["id"]
        await front.post(f"/v1/payments/{payment_id}/capture", {"amount": 6_000}, key="c")
        await front.later(5)
        assert len(front.asked("capture")) == 2
        assert (await front.payment(payment_id))["status"] == "processing"
        assert (await front.notice(front.asked("pay")[0].reference, 6_000)).status == 204
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"]) == ("succeeded", 6_000)


async def recorded(front: Front, method: str) -> str:
    """Record a payment as `front.scan(key="k")` does, and send nothing."""
    body = an_order(method={"type": "barcode", "auth_code": "130000000000000001"})
    digest = hashlib.sha256(orjson.dumps(body)).digest()
    new = NewPayment("order-1", 10_000, "CNY", method, "tea", None, [], timedelta(hours=2))
    payment_id = front.hub.env.ids.new("pay")
    claims = Claims(("i:k", "o:order-1"), digest)
    chosen = Chosen("rail", "scripted", 60, None)
    await front.hub.lanes.put(CreatePayment(front.book, payment_id, new, claims, chosen))
    return payment_id


NEVER = pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=UTC),  # what a program writes that was given none
        datetime(1, 1, 1, tzinfo=BEIJING),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2100, 6, 2, 8, 40, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
    ids=str,
)


@NEVER
async def test_a_payment_said_to_be_of_a_time_that_cannot_be_is_asked_about_again(
    database_url: str, tmp_path: Path, moment: datetime
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR), query=confirmed("", 10_000, moment))
        payment_id = (await front.pay()).body["id"]
        await front.later(30)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"]) == ("requires_action", 0)
        assert "cannot be" in payment["attempts"][0]["message"]
        front.rail.works("query")
        await front.later(600)
        assert (await front.payment(payment_id))["status"] == "succeeded"


@NEVER
async def test_a_refund_said_to_be_of_a_time_that_cannot_be_is_asked_about_again(
    database_url: str, tmp_path: Path, moment: datetime
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(refund=confirmed("", 10_000, moment), refund_query=confirmed("", 10_000, moment))
        refund = (await front.refund(await front.paid())).body
        assert refund["status"] == "processing"
        await front.later(600)
        front.rail.works("refund_query")
        await front.later(6_000)
        assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "succeeded"
