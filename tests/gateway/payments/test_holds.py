"""Money that is reserved first 预授权: in no book until it is captured, captured once, or released."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import cases
from channels import Notice
from channels.contract import Confirmed, Kind, Method, Outcome, Pending, Refused
from gateway.accounts.terms import flat
from gateway.payments import unfinished
from gateway.payments.schedule import FIRST_ANSWER_S, HOLD_S
from kernel.db import acquire
from kernel.errors import Broken
from kernel.money import Money
from ops.cases import decide
from tests.gateway.front import CLOSED, NEVER_ARRIVED, QR, SILENCE, Answer, Front, a_front
from tests.support import confirmed

CNY_100 = Money(10_000, "CNY")
HELD = Pending(channel_ref="auth-1", authorized=CNY_100)
PAGE = {"type": "page", "return_url": "https://shop.example/thanks"}
CARD = {"type": "card", "token": "tok_1"}


async def reserve(front: Front, number: str = "order-1", method: dict[str, str] = PAGE, **more: Any) -> str:
    """Have a payment's money reserved and return its id."""
    front.rail.says(pay=HELD, query=HELD)
    answer = await front.pay(number, method=method, capture="manual", **more)
    assert (answer.status, answer.body["status"]) == (201, "requires_capture"), answer
    payment_id: str = answer.body["id"]
    return payment_id


async def capture(front: Front, payment_id: str, amount: int | None = None, *, key: str | None = None) -> Answer:
    body = {} if amount is None else {"amount": amount}
    return await front.post(f"/v1/payments/{payment_id}/capture", body, key=key or front.new_key())


async def void(front: Front, payment_id: str) -> Answer:
    return await front.post(f"/v1/payments/{payment_id}/void")


async def test_reserved_money_is_booked_when_it_is_captured_and_not_before(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        payment = await front.payment(payment_id)
        assert (payment["amount_capturable"], payment["amount_captured"], payment["channel_fee"]) == (10_000, 0, 0)
        assert payment["attempts"][0]["amount_authorized"] == 10_000
        assert await front.balances() == {}
        assert front.asked("pay")[0].authorize_only
        captured = await capture(front, payment_id)
        assert (captured.status, captured.body["status"], captured.body["amount_captured"]) == (
            200,
            "succeeded",
            10_000,
        )
        assert await front.balances() == {"channel:rail:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}
        assert [(order.amount, order.channel_ref) for order in front.asked("capture")] == [(CNY_100, "auth-1")]
        assert [event for event in await front.events() if event.startswith("payment.")] == [
            "payment.created", "payment.requires_capture", "payment.capturing", "payment.succeeded",
        ]  # fmt: skip
        assert await front.later(100_000) == 0


async def test_an_answer_from_before_the_money_was_reserved_does_not_change_what_it_is_captured_by(
    database_url: str, tmp_path: Path
) -> None:
    """Where the same question was asked twice, the slower answer may be the older one."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        before = Notice(Kind.PAYMENT, front.asked("pay")[0].reference, Pending(channel_ref="order-1"), "late")
        await front.hub.payments.apply_notice(front.book, "rail", before)
        assert (await front.payment(payment_id))["status"] == "requires_capture"
        assert (await capture(front, payment_id)).body["status"] == "succeeded"
        assert [order.channel_ref for order in front.asked("capture")] == ["auth-1"]


async def test_a_part_may_be_captured_and_fee_and_shares_follow_it(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm, mill = await front.payee("farm"), await front.payee("mill")
        split = [
            {"payee": farm, "amount": 1_000},
            {"payee": mill, "basis_points": 5_000},
        ]
        payment_id = await reserve(front, split=split)
        captured = (await capture(front, payment_id, 4_000)).body
        assert (captured["status"], captured["amount_captured"], captured["channel_fee"]) == ("succeeded", 4_000, 24)
        assert captured["amount_capturable"] == 0
        await front.share_out()
        payment = await front.payment(payment_id)
        assert [share["amount_minor"] for share in payment["split"]["shares"]] == [1_000, 2_000, 976]
        assert payment["split"]["gross_minor"] == 4_000
        assert await front.balances() == {
            "channel:rail:CNY": (3_976, 3_976),
            f"payee:{farm}:CNY": (1_000, 1_000),
            f"payee:{mill}:CNY": (2_000, 2_000),
            "merchant:CNY": (976, 976),
        }
        assert (await front.refund(payment_id, 4_001)).code == "refund_exceeds_captured"
        assert (await front.refund(payment_id)).body["amount"] == 4_000
        assert [order.payment_amount.minor for order in front.asked("refund")] == [4_000]
        assert (await front.payment(payment_id))["refund_status"] == "full"
        assert await front.balances() == {}


async def test_a_capture_that_cannot_bear_its_fixed_shares_is_refused_and_the_money_stays_reserved(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        farm = await front.payee("farm")
        payment_id = await reserve(front, split=[{"payee": farm, "amount": 5_000}])
        refused = await capture(front, payment_id, 5_029, key="k")
        assert (refused.status, refused.code) == (422, "split_exceeds_payment")
        assert front.asked("capture") == []
        assert (await front.payment(payment_id))["status"] == "requires_capture"
        assert (await capture(front, payment_id, 5_031, key="k")).body["status"] == "succeeded", "the key is unused"
        await front.share_out()
        assert (await front.balances())[f"payee:{farm}:CNY"] == (5_000, 5_000)


@pytest.mark.parametrize("amount", [10_001, 10**12])
async def test_no_more_than_is_reserved_can_be_captured(database_url: str, tmp_path: Path, amount: int) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        refused = await capture(front, payment_id, amount)
        assert (refused.status, refused.code, refused.body["authorized_minor"]) == (422, "capture_exceeds_hold", 10_000)
        assert front.asked("capture") == []


async def test_a_rail_that_captures_all_or_nothing_is_not_asked_for_a_part(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, partial_capture=False)
        payment_id = await reserve(front)
        refused = await capture(front, payment_id, 9_999)
        assert (refused.status, refused.code, refused.body["authorized_minor"]) == (
            422,
            "partial_capture_unsupported",
            10_000,
        )
        assert (await capture(front, payment_id, 10_000)).body["status"] == "succeeded"
        assert (await capture(front, payment_id, 9_999)).code == "payment_not_authorized"
        front.rail.says(pay=Pending(QR))
        unpaid = (await front.pay("unpaid", key="of-the-payment")).body["id"]
        assert (await capture(front, unpaid, 1)).code == "payment_not_authorized"
        assert (await capture(front, unpaid, 1, key="of-the-payment")).code == "idempotency_key_reused"


async def test_manual_capture_goes_where_a_rail_reserves_by_that_way_to_pay(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        refused = await front.pay(capture="manual")
        assert (refused.status, refused.code) == (422, "no_channel")
        other = front.shop.rails["second"]
        other.capabilities = replace(other.capabilities, authorizes=frozenset({Method.QR}))
        front.others["second"].says(pay=HELD, query=HELD)
        payment = (await front.pay(capture="manual")).body
        assert (payment["status"], payment["capture"]) == ("requires_capture", "manual")
        assert front.asked("pay") == []


async def test_a_capture_repeated_with_its_key_is_done_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        first = await capture(front, payment_id, 4_000, key="k")
        again = await capture(front, payment_id, 4_000, key="k")
        assert (again.status, again.body, again.headers["Idempotency-Replayed"]) == (200, first.body, "true")
        assert (await capture(front, payment_id, 5_000, key="k")).code == "idempotency_key_reused"
        assert (await capture(front, payment_id, 4_000)).code == "payment_not_authorized"
        assert len(front.asked("capture")) == 1


async def test_two_captures_at_once_capture_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        gate = front.gate()
        answers = [asyncio.ensure_future(capture(front, payment_id, amount)) for amount in (3_000, 4_000)]
        await gate.arrived.wait()
        done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result().code for one in done] == ["capture_under_way"]
        assert (await void(front, payment_id)).code == "capture_under_way"
        assert (await front.post(f"/v1/payments/{payment_id}/close")).code == "payment_authorized"
        gate.open.set()
        captured = {answer.status for answer in await asyncio.gather(*answers)}
        assert captured == {200, 409}
        assert len(front.asked("capture")) == 1


async def test_silence_over_a_capture_is_asked_about_and_captured_again_under_the_same_number(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=SILENCE)
        answer = await capture(front, payment_id, 4_000)
        assert (answer.status, answer.body["status"], answer.body["amount_capturable"]) == (200, "processing", 0)
        front.rail.works("capture")
        assert await front.later(5) == 1
        assert [order.amount.minor for order in front.asked("capture")] == [4_000, 4_000]
        assert len({order.reference for order in front.asked("capture")}) == 1
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"]) == ("succeeded", 4_000)


async def test_a_capture_whose_answer_was_lost_is_found_and_not_repeated(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=SILENCE)
        await capture(front, payment_id, 4_000)
        front.rail.says(query=Confirmed("cap-1", Money(4_000, "CNY"), front.clock.now()))
        await front.later(5)
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert len(front.asked("capture")) == 1


async def test_a_payer_who_comes_back_while_a_capture_is_undecided_has_it_asked_about_and_not_sent_again(
    database_url: str, tmp_path: Path
) -> None:
    """Nobody would have counted that message, and its refusal would have ended what the first may yet carry out."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=[SILENCE, Refused("BUSY", "one is under way")])
        await capture(front, payment_id, 4_000)
        await front.hub.payments.follow_up(await front.attempt(payment_id))
        assert (await front.payment(payment_id))["status"] == "processing"
        assert (len(front.asked("capture")), len(front.asked("query"))) == (1, 1)


async def test_a_process_that_dies_before_it_captures_leaves_it_to_the_janitor(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)

        async def dying(*_: Any) -> Outcome:
            raise RuntimeError("kill -9")

        front.hub.payments._capturing.captured = dying  # type: ignore[assignment,method-assign]
        assert (await capture(front, payment_id, 4_000)).status == 500
        del front.hub.payments._capturing.captured
        assert (await front.payment(payment_id))["status"] == "processing"
        assert await front.later(FIRST_ANSWER_S) == 1
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"]) == ("succeeded", 4_000)


@pytest.mark.parametrize("end", ["capture", "void"])
async def test_what_ends_a_reservation_is_known_by_when_it_was_first_asked_for(
    database_url: str, tmp_path: Path, end: str
) -> None:
    """UnionPay wants the moment of sending in a message (txnTime), and the same one in every later question."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        await front.later(3 * HOLD_S)
        begun = (await front.attempt(payment_id)).created_at
        front.rail.says(**{end: SILENCE, "query": SILENCE})
        requested_at = front.clock.now()
        await (capture if end == "capture" else void)(front, payment_id)
        front.rail.says(**{end: SILENCE, "query": HELD})
        await front.later(2 * FIRST_ANSWER_S)
        await front.later(2 * HOLD_S)
        if end == "void":
            await void(front, payment_id)
        ends = [order.ending_at for order in front.asked(end)]
        assert len(ends) >= 2
        assert len(set(ends)) == 1
        assert ends[0].replace(microsecond=0) == requested_at, "the book's time, which never stands still"
        assert requested_at - begun >= timedelta(seconds=3 * HOLD_S)
        questions = [order.ending_at for order in front.asked("query")]
        assert questions[0] is None, "nothing had been asked for yet"
        assert questions[-1] == ends[0]


async def test_a_refused_capture_leaves_the_money_reserved_for_another(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=Refused("MAX_CAPTURE", "not so much"))
        refused = await capture(front, payment_id, 4_000, key="k")
        assert (refused.status, refused.code, refused.body["channel_code"]) == (422, "capture_refused", "MAX_CAPTURE")
        assert refused.body["status_now"] == "requires_capture"
        again = await capture(front, payment_id, 4_000, key="k")
        assert (again.status, again.body["status"]) == (200, "requires_capture"), "asked once with this key"
        front.rail.works("capture")
        assert (await capture(front, payment_id)).body["channel_fee"] == 60


async def test_a_refused_capture_of_a_hold_that_has_ended_cancels_the_payment(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=Refused("EXPIRED", "too late"), query=CLOSED)
        answer = await capture(front, payment_id)
        assert (answer.status, answer.body["status"]) == (200, "canceled")


async def test_a_captured_amount_other_than_asked_for_is_not_believed(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=Confirmed("cap-1", CNY_100, front.clock.now()))
        answer = await capture(front, payment_id, 4_000)
        assert (answer.status, answer.code) == (409, "amount_differs")
        assert await front.balances() == {}
        front.rail.works("capture")
        await front.later(FIRST_ANSWER_S)
        assert (await front.payment(payment_id))["amount_captured"] == 4_000


@pytest.mark.parametrize("held", [Money(9_999, "CNY"), Money(10_000, "JPY")])
async def test_a_hold_of_another_amount_is_not_believed(database_url: str, tmp_path: Path, held: Money) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(authorized=held), query=SILENCE)
        answer = await front.pay(method=PAGE, capture="manual")
        assert (answer.status, answer.code) == (409, "amount_differs")
        assert (await front.payment(answer.body["payment"]))["status"] == "processing"


async def test_a_void_releases_the_money_and_may_be_repeated(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        for _ in range(2):
            answer = await void(front, payment_id)
            assert (answer.status, answer.body["status"], answer.body["won_attempt"]) == (200, "canceled", None)
        assert len(front.asked("void")) == 1
        assert (await capture(front, payment_id)).code == "payment_not_authorized"
        assert await front.balances() == {}
        assert await front.later(100_000) == 0


async def test_a_void_that_is_not_answered_is_no_void(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(void=SILENCE)
        answer = await void(front, payment_id)
        assert (answer.status, answer.code, answer.body["retriable"]) == (409, "not_closed_yet", True)
        assert (await front.payment(payment_id))["status"] == "requires_capture"
        front.rail.says(query=CLOSED)
        assert (await void(front, payment_id)).body["status"] == "canceled", "the first had arrived after all"


async def test_a_void_that_finds_the_money_captured_says_so(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(void=Refused("CAPTURED"), query=Confirmed("cap-1", CNY_100, front.clock.now()))
        answer = await void(front, payment_id)
        assert (answer.status, answer.code, answer.body["status_now"]) == (409, "payment_ended", "succeeded")


async def test_what_is_reserved_can_only_be_voided_and_what_is_not_cannot(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        closed = await front.post(f"/v1/payments/{payment_id}/close")
        assert (closed.status, closed.code) == (409, "payment_authorized")
        front.rail.says(pay=Pending(QR))
        waiting = (await front.pay("order-2")).body["id"]
        assert (await void(front, waiting)).code == "payment_not_authorized"
        assert (await capture(front, waiting)).code == "payment_not_authorized"
        for of, amount in ((payment_id, None), (payment_id, 1), (waiting, None)):
            refused = await front.refund(of, amount)
            status = (await front.payment(of))["status"]
            assert (refused.code, refused.body["status_now"]) == ("payment_not_captured", status)
            assert refused.body["detail"] == f"{of} is {status}: there is nothing to refund"
            assert "param" not in refused.body, "no amount would do"
        unchosen = (await front.pay("unchosen", method={"type": "cashier"})).body["id"]
        await front.post(f"/v1/payments/{unchosen}/close")
        refused = await capture(front, unchosen)
        assert (refused.code, refused.body["status_now"]) == ("payment_not_authorized", "canceled")


async def test_a_hold_outlives_the_orders_time_and_ends_at_the_rails_word(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        for _ in range(5):
            assert await front.later(HOLD_S) == 1
            assert (await front.payment(payment_id))["status"] == "requires_capture"
        for silent in (SILENCE, NEVER_ARRIVED):
            front.rail.says(query=silent)
            assert await front.later(HOLD_S) == 1
            assert (await front.payment(payment_id))["status"] == "requires_capture", "silence ends nothing"
        assert {"close", "void", "capture"} & set(front.asked_in_all()) == set()
        front.rail.says(query=CLOSED)
        await front.later(HOLD_S)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["attempts"][0]["status"]) == ("canceled", "closed")


async def test_money_reserved_after_the_payment_was_closed_is_released_at_once(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending({"type": "redirect", "url": "https://rail.example/1"}), query=Pending())
        payment_id = (await front.pay(method=PAGE, capture="manual")).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close")
        notice = Notice(Kind.PAYMENT, front.asked("pay")[0].reference, HELD, "n-1")
        await front.hub.payments.apply_notice(front.book, "rail", notice)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["attempts"][0]["status"]) == ("canceled", "authorized")
        front.rail.says(query=HELD)
        assert await front.later(0.001) == 1
        assert len(front.asked("void")) == 1
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["attempts"][0]["status"]) == ("canceled", "closed")


async def test_a_capture_made_behind_our_back_is_booked(database_url: str, tmp_path: Path) -> None:
    """Somebody captured it in the rail's own console."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert await front.balances() == {"channel:rail:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}


async def test_the_fee_of_a_part_is_what_the_account_costs_now(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        await front.hub.channel_admin.change(front.book, "rail", terms=flat(100))
        front.clock.forward(2)
        assert (await capture(front, payment_id, 5_000)).body["channel_fee"] == 50


async def test_a_rail_that_takes_a_hold_back_after_the_capture_is_not_believed(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        await capture(front, payment_id)
        reference = front.asked("pay")[0].reference
        await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.PAYMENT, reference, HELD, "n-1"))
        assert (await front.payment(payment_id))["status"] == "succeeded"
        with pytest.raises(Broken, match="channel_contradicts_itself"):
            await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.PAYMENT, reference, CLOSED, "n-2"))


# ---- a capture that stays undecided ----------------------------------------------------------------------------------

NO_MORE = Refused("NO_AUTH", "the right was withdrawn")


async def undecided(front: Front, amount: int | None = 6_000) -> str:
    """Have a capture's answer be lost and its repetition refused for good, the money being still reserved."""
    payment_id = await reserve(front)
    front.rail.says(capture=[SILENCE, NO_MORE])
    assert (await capture(front, payment_id, amount)).body["status"] == "processing"
    await front.later(5)
    assert ((await front.payment(payment_id))["status"], len(front.asked("capture"))) == ("processing", 2)
    return payment_id


async def test_what_is_still_reserved_may_be_voided_while_its_capture_is_undecided(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await undecided(front)
        voided = await void(front, payment_id)
        assert (voided.status, voided.body["status"]) == (200, "canceled")
        assert len(front.asked("void")) == 1
        assert (await void(front, payment_id)).status == 200
        assert await front.later(100_000) == 0
        assert (await front.notice(front.asked("pay")[0].reference, 6_000)).status == 204, "captured all the same"
        await front.later(1)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"], payment["refund_status"]) == ("canceled", 6_000, "full")


@pytest.mark.parametrize(
    ("found", "status", "code"),
    [
        (SILENCE, "processing", "capture_under_way"),
        (NEVER_ARRIVED, "processing", "capture_under_way"),
        (Confirmed("cap-1", Money(6_000, "CNY"), datetime(2100, 6, 1, tzinfo=UTC)), "succeeded", "payment_ended"),
        (CLOSED, "canceled", None),
    ],
    ids=["silence", "never heard of it", "captured", "released"],
)
async def test_a_void_beside_an_undecided_capture_follows_what_the_channel_says(
    database_url: str, tmp_path: Path, found: Outcome, status: str, code: str | None
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await undecided(front)
        front.rail.says(query=found)
        answer = await void(front, payment_id)
        assert answer.status == (200 if code is None else 409)
        assert code is None or answer.code == code
        assert (await front.payment(payment_id))["status"] == status
        assert front.asked("void") == []


async def test_a_void_that_comes_too_late_for_the_capture_finds_it_captured(database_url: str, tmp_path: Path) -> None:
    """The capture is carried out between the question and the void: whichever comes first, the other cannot be."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await undecided(front)
        captured = confirmed(front.asked("pay")[0].reference, 6_000, front.clock.now())
        front.rail.says(query=[HELD, captured], void=Refused("ALREADY_CAPTURED"))
        assert (await void(front, payment_id)).code == "payment_ended"
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"]) == ("succeeded", 6_000)


async def test_a_capture_whose_first_answer_may_still_come_is_not_voided(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await reserve(front)
        front.rail.says(capture=SILENCE)
        await capture(front, payment_id)
        assert (await void(front, payment_id)).code == "capture_under_way"
        assert front.asked("query") == []
        front.clock.forward(FIRST_ANSWER_S + 1)
        assert (await void(front, payment_id)).body["status"] == "canceled"


async def test_a_capture_that_stays_undecided_is_a_case_and_a_person_may_say_that_it_was_none(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await undecided(front)
        for _ in range(6):
            await front.later(2_000)
        assert await open_cases(front) == []
        for _ in range(2):
            await front.later(86_400)
        [case] = await open_cases(front)
        assert (case.kind, case.about) == (unfinished.CAPTURE, f"{payment_id}:1")
        await decide(front.hub, case.id, "not_captured", by="Wang Fang", note="the rail's own page says so")
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_capturable"]) == ("requires_capture", 10_000)
        sent = len(front.asked("capture"))
        await front.later(86_400)
        assert len(front.asked("capture")) == sent, "nothing is captured that nobody has asked for"
        front.rail.works("capture")
        captured = await capture(front, payment_id, 4_000)
        assert (captured.body["status"], captured.body["amount_captured"]) == ("succeeded", 4_000)
        assert await open_cases(front) == []


@pytest.mark.parametrize("ends", ["the rail", "a person", "a void"])
async def test_the_case_of_an_undecided_capture_ends_with_it(database_url: str, tmp_path: Path, ends: str) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await undecided(front, None)
        for _ in range(8):
            await front.later(86_400)
        [case] = await open_cases(front)
        if ends == "the rail":
            front.rail.works("query")
            await front.later(86_400)
        elif ends == "a void":
            await void(front, payment_id)
        else:
            await decide(front.hub, case.id, "released", by="Wang Fang", note="the rail's own page says so")
        assert await open_cases(front) == []
        status = (await front.payment(payment_id))["status"]
        assert status == ("succeeded" if ends == "the rail" else "canceled")
        assert await front.later(100_000) == 0


async def open_cases(front: Front) -> list[cases.Case]:
    async with acquire(front.hub.pool) as connection:
        return await cases.store.cases(connection, book=front.book)
