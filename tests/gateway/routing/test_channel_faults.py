"""What a rail may do to a payment: say nothing, say it late, say it twice, say it wrong. The money stays right."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels import Notice
from channels.contract import Confirmed, Kind, Method, Outcome, Pending, Refused, Unknown
from gateway.claims import Claims
from gateway.payments.attempts import Chosen
from gateway.payments.create import CreatePayment, NewPayment
from gateway.payments.schedule import FIRST_ANSWER_S, NOT_RECEIVED_AFTER
from gateway.tables import attempt_number
from kernel.errors import Broken
from kernel.money import Money
from tests.gateway.front import CLOSED, NEVER_ARRIVED, QR, SILENCE, Front, a_front, another_process, gather
from tests.support import Shop, confirmed

EXPIRES_S = 7200
CAPTURED = {"channel:rail:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}


async def waiting(front: Front, **more: Any) -> tuple[str, str]:
    """Have a payment wait for its payer; return its id and its number at the rail."""
    front.rail.says(pay=Pending(QR), query=Pending())
    answer = await front.pay(**more)
    assert answer.body["status"] == "requires_action"
    return answer.body["id"], front.asked("pay")[-1].reference


# ---- silence ---------------------------------------------------------------------------------------------------------


async def test_a_payment_whose_answer_was_lost_is_asked_about_and_never_charged_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=SILENCE)
        payment = (await front.pay()).body
        assert payment["status"] == "processing"
        assert await front.later(4.9) == 0, "the rail is given its time"
        for wait_s in (0.1, 30, 60, 180):
            assert await front.later(wait_s) == 1
            assert (await front.payment(payment["id"]))["status"] == "processing"
        front.rail.works("query")
        assert await front.later(300) == 1
        assert (await front.payment(payment["id"]))["status"] == "succeeded"
        assert len(front.asked("pay")) == 1
        assert await front.balances() == CAPTURED
        assert await front.events("payment.succeeded") == ["payment.succeeded"]
        assert await front.later(7_200) == 0, "what has ended has no owner"


async def test_an_order_that_never_arrived_is_sent_again_under_its_number(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Unknown("not sent", not_sent=True), query=NEVER_ARRIVED)
        payment = (await front.pay()).body
        front.rail.works("pay")
        assert await front.later(5) == 1
        first, second = front.asked("pay")
        assert first == second
        assert (await front.payment(payment["id"]))["status"] == "succeeded"
        assert await front.balances() == CAPTURED


async def test_an_unpaid_order_whose_code_was_lost_is_sent_again_for_the_same_code(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=Pending())
        payment = (await front.pay()).body
        front.rail.says(pay=Pending(QR))
        await front.later(5)
        payment = await front.payment(payment["id"])
        assert (payment["status"], payment["next_action"]) == ("requires_action", {**QR, "channel": "scripted"})
        assert len({order.reference for order in front.asked("pay")}) == 1
        await front.later(30)
        assert len(front.asked("pay")) == 2, "with its code shown it is only asked about"


@pytest.mark.parametrize("method", ["qr", "barcode"])
async def test_an_order_that_never_arrives_ends_when_its_time_is_up(
    database_url: str, tmp_path: Path, method: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=NEVER_ARRIVED, close=NEVER_ARRIVED, reverse=NEVER_ARRIVED)
        payment = (await (front.pay() if method == "qr" else front.scan())).body
        for _ in range(20):
            await front.later(600)
        payment = await front.payment(payment["id"])
        assert payment["status"] == "expired"
        assert payment["attempts"][0]["code"] == "not_received"
        asked = len(front.shop.channel.asked)
        assert await front.later(100_000) == 0
        assert len(front.shop.channel.asked) == asked


async def test_an_order_is_never_given_up_while_its_rail_is_silent(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=SILENCE, close=SILENCE)
        payment = (await front.pay()).body
        for _ in range(20):
            assert await front.later(3_600) == 1
        assert (await front.payment(payment["id"]))["status"] == "processing"
        front.rail.works("query")
        await front.later(3_600)
        assert (await front.payment(payment["id"]))["status"] == "succeeded"


async def test_a_process_that_dies_before_it_calls_leaves_a_payment_the_janitor_sends(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        new = NewPayment("order-1", 10_000, "CNY", "qr", "tea", None, [], timedelta(seconds=EXPIRES_S))
        payment_id = front.hub.env.ids.new("pay")
        claims = Claims(("i:k", "o:order-1"), b"hash")
        chosen = Chosen("rail", "scripted", 60, None)
        await front.hub.lanes.put(CreatePayment(front.book, payment_id, new, claims, chosen))
        front.rail.says(query=NEVER_ARRIVED)
        assert await front.later(FIRST_ANSWER_S) == 1
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert len(front.asked("pay")) == 1


async def test_two_janitors_ask_about_a_payment_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=SILENCE)
        await front.pay()
        front.clock.forward(5)
        await asyncio.gather(*(front.hub.janitor().once() for _ in range(4)))
        assert len(front.asked("query")) == 1


async def test_the_janitors_of_two_processes_ask_about_a_payment_once(database_url: str, tmp_path: Path) -> None:
    """The one that made the payment still remembers it as it was when the other has claimed it."""
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        front.rail.says(pay=SILENCE, query=SILENCE)
        payment_id = (await front.pay()).body["id"]
        front.clock.forward(FIRST_ANSWER_S + 1)
        row = await front.attempt(payment_id)
        taken = [await door.hub.payments.take(row) for door in (other, front, other, front)]
        assert taken == [front.clock.now(), None, None, None]
        front.clock.forward(FIRST_ANSWER_S)
        await other.hub.payments.follow_up(row, taken[0])
        front.rail.works("query")
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        refund = await other.refund(payment_id, 100, key="of-the-other")
        assert refund.status == 201
        assert (await front.refund(payment_id)).body["amount"] == 9_900
        assert await other.balances() == {}


# ---- the till --------------------------------------------------------------------------------------------------------


async def test_a_payer_who_is_typing_is_asked_about_and_then_given_up(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(), query=Pending())
        payment = (await front.scan()).body
        assert payment["status"] == "processing"
        for _ in range(8):
            assert await front.later(5) == 1
        assert (len(front.asked("query")), len(front.asked("reverse"))) == (8, 0)
        assert await front.later(5) == 1
        assert len(front.asked("reverse")) == 1
        payment = await front.payment(payment["id"])
        assert payment["status"] == "canceled"
        assert await front.balances() == {}
        assert len(front.asked("pay")) == 1
        assert await front.later(100_000) == 0


async def test_a_payer_who_pays_in_the_last_moment_has_paid(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        answers = iter([Pending()] * 9)  # the ninth finds the deadline over, the reversal fails, the tenth says paid

        def query(op: str, order: Any) -> Outcome:
            return next(answers, None) or confirmed(order.reference, order.amount.minor, front.clock.now())

        front.rail.says(pay=Pending(), reverse=SILENCE)
        front.shop.channel.script = lambda op, order: query(op, order) if op == "query" else front.rail(op, order)
        payment = (await front.scan()).body
        for _ in range(9):
            await front.later(5)
        assert len(front.asked("reverse")) == 1
        assert (await front.payment(payment["id"]))["status"] == "succeeded"
        assert await front.balances() == CAPTURED


async def test_a_code_whose_answer_was_lost_is_asked_about_while_the_payer_waits(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE)
        payment = (await front.scan()).body
        assert payment["status"] == "succeeded"
        assert (len(front.asked("pay")), len(front.asked("query"))) == (1, 1)


async def test_a_code_is_sent_again_only_by_whoever_still_has_it(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=SILENCE)
        payment = (await front.scan(key="k")).body
        assert payment["status"] == "processing"
        front.rail.says(query=NEVER_ARRIVED)
        await front.later(20)
        assert len(front.asked("pay")) == 1, "the janitor has no code to send"
        front.rail.works("pay")
        again = await front.scan(key="k")
        assert (again.status, again.body["status"]) == (200, "succeeded")
        assert len({order.reference for order in front.asked("pay")}) == 1
        assert await front.balances() == CAPTURED


async def test_a_code_confirmed_after_it_was_given_up_goes_back(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE, query=NEVER_ARRIVED, reverse=NEVER_ARRIVED)
        payment = (await front.scan()).body
        await front.later(NOT_RECEIVED_AFTER.total_seconds())
        assert (await front.payment(payment["id"]))["status"] == "expired"
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        await front.later(1)
        payment = await front.payment(payment["id"])
        assert (payment["status"], payment["amount_captured"], payment["refund_status"]) == ("expired", 10_000, "full")
        assert await front.balances() == {}


async def test_a_code_of_which_a_notice_told_while_its_channel_was_asked_is_not_reversed(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(), query=Pending())
        payment_id = (await front.scan()).body["id"]
        slow = front.gate()
        front.clock.forward(50)
        asking = asyncio.create_task(front.hub.janitor().once())
        await slow.arrived.wait()
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        slow.open.set()  # the payer had not confirmed yet, says an answer that was long on its way
        await asking
        assert front.asked("reverse") == []
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert await front.balances() == CAPTURED


async def a_reversed_code(front: Front) -> tuple[str, str]:
    """Have a payer's code reversed while the payer was about to confirm; return the payment's id and its number."""
    front.rail.says(pay=Pending(), query=Pending(), reverse=Refused("REVERSED", closed=True))
    payment_id = (await front.scan()).body["id"]
    assert (await front.post(f"/v1/payments/{payment_id}/close")).body["status"] == "canceled"
    return payment_id, front.asked("pay")[0].reference


@pytest.mark.parametrize(
    "says", [Refused("REVOKED", closed=True), Unknown("closed after it was paid", given_back=True)]
)
async def test_a_notice_of_money_that_a_reversal_has_given_back_books_nothing(
    database_url: str, tmp_path: Path, says: Outcome
) -> None:
    """The payer confirmed in the last moment: paid, and given back by our reversal; then comes the notice of it."""
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await a_reversed_code(front)
        front.rail.says(query=says)
        assert (await front.notice(reference, 10_000)).status == 204
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"], payment["attempts"][0]["status"]) == (
            "canceled", 0, "closed",
        )  # fmt: skip
        assert await front.balances() == {}
        assert await front.events("payment.late", "refund.created") == []
        assert await front.later(100_000) == 0


async def test_money_that_a_reversal_has_not_given_back_is_booked_and_goes_back(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await a_reversed_code(front)
        front.rail.says(query=SILENCE)
        refused = await front.notice(reference, 10_000)
        assert (refused.status, refused.said.partition(":")[0]) == (503, "reversal_unclear"), "it is to be sent again"
        assert await front.balances() == {}
        front.rail.works("query")
        assert (await front.notice(reference, 10_000)).status == 204
        await front.later(1)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"], payment["refund_status"]) == ("canceled", 10_000, "full")
        assert await front.balances() == {}


# ---- expiry and closing ----------------------------------------------------------------------------------------------


async def test_an_order_nobody_paid_is_closed_and_expires(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front, expires_in=600)
        for _ in range(4):
            await front.later(149)
        assert (await front.payment(payment_id))["status"] == "requires_action"
        assert front.asked("close") == []
        assert await front.later(4) == 1, "it is closed when its time is up, not at the schedule's leisure"
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["next_action"]) == ("expired", None)
        assert await front.events("payment.expired") == ["payment.expired"]
        assert len(front.asked("close")) == 1


async def test_an_order_paid_just_before_it_is_closed_for_age_has_succeeded(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front, expires_in=60)
        front.rail.says(query=Pending(), close=Unknown("the rail says it is paid"))
        await front.later(61)
        assert (await front.payment(payment_id))["status"] == "requires_action"
        front.rail.works("query")
        await front.later(60)
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert await front.balances() == CAPTURED


async def test_a_merchant_closes_its_order_twice_without_harm(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front)
        for _ in range(2):
            closed = await front.post(f"/v1/payments/{payment_id}/close")
            assert (closed.status, closed.body["status"]) == (200, "canceled")
        assert len(front.asked("close")) == 1
        assert await front.events("payment.canceled") == ["payment.canceled"]


async def test_closing_what_has_been_paid_meanwhile_tells_so_and_keeps_the_money(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front)
        front.rail.says(close=Unknown("the rail says it is paid"))
        front.rail.works("query")
        answer = await front.post(f"/v1/payments/{payment_id}/close")
        assert (answer.status, answer.code, answer.body["status_now"]) == (409, "payment_ended", "succeeded")
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert await front.balances() == CAPTURED


@pytest.mark.parametrize("said", [SILENCE, NEVER_ARRIVED, Pending()])
async def test_closing_what_the_rail_does_not_close_tells_to_ask_again(
    database_url: str, tmp_path: Path, said: Outcome
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front)
        front.rail.says(close=SILENCE, query=said)
        answer = await front.post(f"/v1/payments/{payment_id}/close")
        assert (answer.status, answer.code, answer.body["retriable"]) == (409, "not_closed_yet", True)
        assert answer.body["status_now"] == "requires_action"
        assert answer.headers["Retry-After"] == "1"
        front.rail.works("close")
        assert (await front.post(f"/v1/payments/{payment_id}/close")).body["status"] == "canceled"


@pytest.mark.parametrize("rail", ["knows no order before its payer", "lets orders expire"])
async def test_closing_what_its_rail_cannot_close_now_tells_when_it_ends(
    database_url: str, tmp_path: Path, rail: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front)
        now = await front.payment(payment_id)
        method = frozenset({Method(now["method"])})
        of_the_rail: dict[str, Any] = {"known_after_payer": method} if "payer" in rail else {"expires_only": True}
        front.shop.channel.capabilities = replace(front.shop.channel.capabilities, **of_the_rail)
        front.rail.says(close=NEVER_ARRIVED, query=NEVER_ARRIVED)
        answer = await front.post(f"/v1/payments/{payment_id}/close")
        assert (answer.status, answer.code, answer.body["retriable"]) == (409, "not_closed_yet", True)
        assert (answer.body["expires_at"], answer.body["status_now"]) == (now["expires_at"], "requires_action")
        left = (datetime.fromisoformat(now["expires_at"]) - front.clock.now()).total_seconds()
        assert left > 60
        assert int(answer.headers["Retry-After"]) == pytest.approx(left, abs=2)
        assert rail.partition(" ")[2].split()[-1] in answer.body["detail"], "and why"


# ---- notices ---------------------------------------------------------------------------------------------------------


async def test_a_notice_before_the_answer_settles_and_the_answer_finds_it_settled(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR))
        gate = front.gate()
        request = asyncio.ensure_future(front.pay())
        await gate.arrived.wait()
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        gate.open.set()
        answer = await request
        assert (answer.status, answer.body["status"], answer.body["next_action"]) == (201, "succeeded", None)
        assert await front.balances() == CAPTURED
        assert await front.events("payment.succeeded", "payment.requires_action") == ["payment.succeeded"]


async def test_fifty_notices_at_once_post_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        answers = await gather(*(front.notice(reference, 10_000, id=f"n-{n}") for n in range(50)))
        assert {answer.status for answer in answers} == {204}
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert await front.balances() == CAPTURED
        assert await front.events("payment.succeeded") == ["payment.succeeded"]


async def test_fifty_late_notices_at_once_give_the_money_back_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        await front.post(f"/v1/payments/{payment_id}/close")
        answers = await gather(*(front.notice(reference, 10_000, id=f"n-{n}") for n in range(50)))
        assert {answer.status for answer in answers} == {204}
        await front.later(1)
        assert len(front.asked("refund")) == 1
        assert (await front.payment(payment_id))["refund_status"] == "full"
        assert await front.balances() == {}
        told = await front.events("payment.late", "payment.succeeded", "refund.succeeded")
        assert told == ["payment.late", "refund.succeeded"]


@pytest.mark.parametrize("end", ["expired", "refused"])
async def test_a_confirmation_after_any_end_is_booked_and_goes_back(
    database_url: str, tmp_path: Path, end: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payee = await front.payee("farm")
        payment_id, reference = await waiting(front, split=[{"payee": payee, "basis_points": 3_000}])
        front.rail.says(query=CLOSED if end == "expired" else Refused("PAYERROR", "no money"))
        await front.later(EXPIRES_S)
        before = (await front.payment(payment_id))["status"]
        assert before == {"expired": "expired", "refused": "failed"}[end]
        await front.notice(reference, 10_000)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_refunding"]) == (before, 10_000)
        await front.later(1)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"], payment["refund_status"]) == (before, 10_000, "full")
        assert await front.balances() == {}


async def test_a_late_confirmation_whose_close_stands_in_the_same_batch_goes_back(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payee = await front.payee("farm")
        payment_id, reference = await waiting(front, split=[{"payee": payee, "basis_points": 3_000}])
        attempt = await front.attempt(payment_id)
        payment = await front.stored(payment_id)
        ready = await front.hub.accounts.get(front.book, "rail")
        said = confirmed(reference, 10_000, front.clock.now())
        batches = front.hub.lanes.all[0].figures.batches
        await asyncio.gather(
            front.hub.payments._recording.put_outcome(payment, attempt, ready, CLOSED),
            front.hub.payments._recording.put_outcome(payment, attempt, ready, said),
        )
        assert front.hub.lanes.all[0].figures.batches <= batches + 2, "the two went into one batch"
        await front.later(1)
        seen = await front.payment(payment_id)
        assert (seen["status"], seen["amount_captured"], seen["refund_status"]) == ("canceled", 10_000, "full")
        assert await front.balances() == {}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signature": "forged"}, "bad_signature"),
        ({"signature": None}, "bad_signature"),
        ({"amount": 9_999}, "amount_differs"),
        ({"amount": 1_000_000}, "amount_differs"),
        ({"reference": "{without attempt}"}, "no_such_reference"),
        ({"reference": "{without attempt}2"}, "no_such_payment"),
        ({"reference": "{strangers}"}, "no_such_reference"),
        ({"kind": "refund"}, "no_such_reference"),
        ({"kind": "refund", "reference": "{without attempt}"}, "no_such_refund"),
        ({"doubt": "{reference}"}, "not_ours"),
        ({"doubt": "{without attempt}"}, "not_ours"),
        ({"doubt": "{without attempt}7"}, "not_ours"),
        ({"doubt": "{strangers}"}, "not_ours"),
        ({"doubt": None}, "not_ours"),
    ],
)
async def test_a_notice_that_cannot_be_believed_changes_nothing(
    database_url: str, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        theirs = await another_merchant(front)
        _, strangers = await waiting(theirs)
        payment_id, reference = await waiting(front)
        before = await front.counts(), await front.payment(payment_id)
        names = {
            "{book}": reference.partition("-")[0],
            "{other}": strangers.partition("-")[0],
            "{reference}": reference,
            "{without attempt}": reference[:-1],
            "{strangers}": strangers,
        }
        said = {"amount": 10_000, "reference": reference, **with_names(changes, names)}
        for _ in range(2):
            answer = await front.notice(**said)
            assert answer.status == 400
            assert answer.said.startswith(f"{code}: ")
            assert (await front.counts(), await front.payment(payment_id)) == before
        assert (await front.notice(reference, 10_000)).status == 204
        assert (await front.payment(payment_id))["status"] == "succeeded"


def with_names(changes: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return the changes with the numbers of this run in them."""
    said = dict(changes)
    for key in said.keys() & {"reference", "doubt"}:
        for name, value in names.items():
            said[key] = said[key].replace(name, value) if said[key] is not None else None
    return said


@pytest.mark.parametrize("account", ["its order names our address", "its address is told of everything"])
@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "SO-10077"},
        {"reference": "nothing of ours"},
        {"reference": ""},
        {"reference": "茶\n\x00-1"},
        {"reference": "{book}-" + "0" * 27},  # as another hub's would be, or one lost with a database
        {"reference": "{book}-" + "0" * 26},
        {"reference": "{other}-" + "0" * 27},
        {"reference": "zzzzz-" + "0" * 27},
        {"reference": "{reference}0"},
        {"reference": "SO-10077", "kind": "refund"},
        {"reference": "{book}-" + "0" * 26, "kind": "refund"},
        {"reference": "{book}-" + "0" * 26 + "a", "kind": "refund"},
        {"doubt": "SO-10077"},
        {"doubt": ""},
        {"doubt": "{book}-" + "0" * 27},
        {"doubt": "{other}-" + "0" * 27},
    ],
)
async def test_a_notice_about_nothing_of_ours_is_acknowledged_counted_and_no_alarm(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], account: str
) -> None:
    """Refused, a rail would repeat it for days, and may switch the address off for what is ours too."""
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, per_order_notices=account == "its order names our address")
        theirs = await another_merchant(front)
        _, strangers = await waiting(theirs)
        payment_id, reference = await waiting(front)
        before = await front.counts(), await front.payment(payment_id)
        books = (one.partition("-")[0] for one in (reference, strangers))
        names = dict(zip(("{book}", "{other}"), books, strict=True)) | {"{reference}": reference}
        caplog.set_level(logging.INFO, logger="gateway.payments.notices")
        for _ in range(2):
            answer = await front.notice(**{"amount": 10_000, "reference": reference, **with_names(changes, names)})
            assert (answer.status, answer.body) == (204, None)
            assert (await front.counts(), await front.payment(payment_id)) == before
        told = [record for record in caplog.records if record.name == "gateway.payments.notices"]
        assert [record.levelname for record in told] == ["INFO", "INFO"]
        assert counted(front, "of_another_system") == 2
        assert (await front.notice(reference, 10_000)).status == 204
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert (counted(front, "of_another_system"), counted(front, "applied")) == (2, 1)


def counted(front: Front, result: str) -> float:
    """Return how many notices of the scripted rail ended so."""
    labels = {"channel": "scripted", "result": result}
    return front.hub.registry.get_sample_value("sluice_notices_total", labels) or 0


async def test_another_merchants_number_told_at_a_registered_address_is_thanked_and_not_applied(
    database_url: str, tmp_path: Path
) -> None:
    """Two merchants of one hub over one account at the rail: each address is told of both."""
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, per_order_notices=False)
        theirs = await another_merchant(front)
        their_payment, strangers = await waiting(theirs)
        assert (await front.notice(strangers, 10_000)).status == 204
        assert (await theirs.payment(their_payment))["status"] == "requires_action"
        assert counted(front, "of_another_account") == 1


async def another_merchant(front: Front) -> Front:
    """Take on another merchant of the same hub, on the same rail."""
    other = await front.hub.merchants.add("another shop", currencies=["CNY"])
    await front.hub.channel_admin.add_by_hand(other.book, "rail", "scripted", {}, fee_bp=60)
    shop = Shop(front.hub, other.book, other.api_key, front.shop.channel)
    return Front(shop, front.client, front.rail)


async def test_a_rail_that_tells_every_registered_address_is_thanked_by_the_wrong_account_which_applies_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """Two accounts over one at the rail, each with its webhook: refused, the rail would repeat it for days."""
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, per_order_notices=False)
        await front.hub.channel_admin.add_by_hand(front.book, "euro", "scripted", {}, fee_bp=60)
        front.clock.forward(2)
        payment_id, reference = await waiting(front)
        assert (await front.notice(reference, 10_000, account="euro")).status == 204
        assert (await front.payment(payment_id))["status"] == "requires_action"
        strange = await front.notice(f"{reference[:-1]}7", 10_000, account="euro")
        assert strange.status == 400, "a number nobody has is still refused"
        assert (await front.notice(reference, 10_000)).status == 204
        assert (await front.payment(payment_id))["status"] == "succeeded"


async def test_a_notice_of_one_account_never_settles_another_accounts_payment(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever holds the keys of a till once used for trials must not be able to call real orders paid."""
    async with a_front(database_url, tmp_path) as front:
        await front.hub.channel_admin.add_by_hand(front.book, "trial", "scripted", {}, fee_bp=60)
        front.clock.forward(2)
        payment_id, reference = await waiting(front)
        refunded = await front.notice(reference, 10_000, account="trial")
        assert (refunded.status, refunded.said.partition(":")[0]) == (400, "no_such_reference")
        assert (await front.payment(payment_id))["status"] == "requires_action"
        front.rail.works("pay", "query")
        front.rail.says(refund=Pending())
        paid = await front.paid("order-2")
        refund = (await front.refund(paid)).body
        number = front.asked("refund")[0].reference
        refused = await front.notice(number, 10_000, kind="refund", account="trial")
        assert (refused.status, refused.said.partition(":")[0]) == (400, "no_such_reference")
        assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "processing"
        assert (await front.notice(number, 10_000, kind="refund")).status == 204
        assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "succeeded"


@pytest.mark.parametrize(
    "path", ["/notify/wechat/{book}/rail", "/notify/scripted/{book}/till", "/notify/scripted/zzzz/rail"]
)
async def test_a_notice_for_an_account_that_is_not_there_finds_nobody(
    database_url: str, tmp_path: Path, path: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        said = {"signature": "good", "kind": "payment", "reference": reference, "amount": 10_000, "id": "n-1"}
        assert (await front.post(path.format(book=front.book), said)).status == 404
        assert (await front.payment(payment_id))["status"] == "requires_action"


@pytest.mark.parametrize(
    ("name", "payment_id", "number"),
    [
        ("pay_" + "1" * 26 + "_1", "pay_" + "1" * 26, 1),
        ("pay_" + "1" * 26 + "_z", "pay_" + "1" * 26, 35),
        ("pay_" + "1" * 26, "pay_" + "1" * 26, 0),
    ],
)
def test_a_number_that_names_no_attempt_names_none(name: str, payment_id: str, number: int) -> None:
    assert attempt_number(name) == (payment_id, number)


async def test_books_that_are_not_there_do_not_fill_the_memory(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.paid()
        for n in range(2_000, 2_050):
            assert (await front.post(f"/notify/scripted/{n}/rail", {})).status == 404
        assert len(front.hub.accounts._of_book) == 1


# ---- rails that contradict us or themselves --------------------------------------------------------------------------


async def test_an_answer_of_another_amount_books_nothing_and_stays_owned(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Confirmed("ch-1", Money(1, "CNY"), front.clock.now()))
        answer = await front.pay(key="k")
        assert (answer.status, answer.code) == (409, "amount_differs")
        payment_id = answer.body["payment"]
        assert (await front.payment(payment_id))["status"] == "processing"
        assert await front.balances() == {}
        front.rail.works("pay")
        assert await front.later(FIRST_ANSWER_S) == 1
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert await front.balances() == CAPTURED


async def test_an_answer_in_another_currency_books_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Confirmed("ch-1", Money(10_000, "JPY"), front.clock.now()))
        answer = await front.pay()
        assert (answer.status, answer.code) == (409, "amount_differs")
        assert await front.balances() == {}


async def test_a_refund_of_another_amount_books_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        front.rail.says(refund=Confirmed("ch-2", Money(9_999, "CNY"), front.clock.now()))
        before = await front.balances()
        answer = await front.refund(payment_id, 10_000)
        assert (answer.status, answer.code) == (409, "amount_differs")
        after = await front.balances()
        assert after["channel:rail:CNY"][1] - before["channel:rail:CNY"][1] == 60 - 10_000, "the sum stays reserved"
        front.rail.works("refund")
        await front.later(FIRST_ANSWER_S)
        assert (await front.payment(payment_id))["refund_status"] == "full"


def second_charge(reference: str, front: Front) -> Outcome:
    return Confirmed("ch-another", Money(10_000, "CNY"), front.clock.now())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (second_charge, "charged_twice"),
        (lambda reference, front: Refused("PAYERROR", "no"), "channel_contradicts_itself"),
        (lambda reference, front: CLOSED, "channel_contradicts_itself"),
    ],
)
async def test_a_rail_that_contradicts_its_confirmation_changes_nothing(
    database_url: str, tmp_path: Path, said: Any, code: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        reference = front.asked("pay")[0].reference
        before = await front.counts(), await front.payment(payment_id), await front.balances()
        notice = Notice(Kind.PAYMENT, reference, said(reference, front), "n-2")
        with pytest.raises(Broken) as refusal:
            await front.hub.payments.apply_notice(front.book, "rail", notice)
        assert refusal.value.code == code
        assert (await front.counts(), await front.payment(payment_id), await front.balances()) == before


@pytest.mark.parametrize("stale", [Pending(), Pending(QR), SILENCE, NEVER_ARRIVED])
async def test_a_stale_answer_after_a_confirmation_changes_nothing(
    database_url: str, tmp_path: Path, stale: Outcome
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        before = await front.counts(), await front.payment(payment_id)
        notice = Notice(Kind.PAYMENT, front.asked("pay")[0].reference, stale, "n-2")
        await front.hub.payments.apply_notice(front.book, "rail", notice)
        assert (await front.counts(), await front.payment(payment_id)) == before


async def test_what_a_rail_once_accepted_stays_accepted_though_it_forgets(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front)
        front.rail.says(query=SILENCE)
        await front.later(5)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["attempts"][0]["status"]) == ("requires_action", "pending")
