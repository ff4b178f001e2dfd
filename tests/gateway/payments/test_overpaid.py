"""What is paid twice is booked twice and goes back once; what failed to go back can be tried again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from channels import Notice
from channels.contract import Confirmed, Kind, Outcome, Pending, Refused
from gateway.tables import MAX_RETRIES, overpaid_refund_id, refund_number
from kernel.errors import Broken
from kernel.ids import parse_reference
from kernel.money import Money
from tests.gateway.front import NEVER_ARRIVED, QR, SILENCE, Answer, Front, a_front, another_process
from tests.support import confirmed

BUSY = Refused("SYSTEM_BUSY", retriable=True)
NO = Refused("NOT_ENOUGH", "the account is empty")
TWO = {"second": "other"}
CAPTURED_BY_SECOND = {"channel:second:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}


async def failed_over(front: Front, number: str = "order-1", **more: Any) -> tuple[str, str]:
    """Have a payment paid on its second account; return its id and the first account's number of it."""
    front.rail.says(pay=BUSY)
    payment_id = await front.paid(number, **more)
    front.rail.works("pay")
    return payment_id, front.asked("pay")[-1].reference


async def retry(front: Front, refund_id: str, *, key: str | None = None) -> Answer:
    return await front.post(f"/v1/refunds/{refund_id}/retry", key=key or front.new_key())


async def refunds(front: Front) -> list[Any]:
    data: list[Any] = (await front.get("/v1/refunds")).body["data"]
    return data


async def test_a_second_confirmation_is_booked_on_its_own_account_and_goes_back(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id, first = await failed_over(front)
        assert (await front.notice(first, 10_000)).status == 204
        payment = await front.payment(payment_id)
        assert [one["status"] for one in payment["attempts"]] == ["overpaid", "confirmed"]
        assert [one["amount_captured"] for one in payment["attempts"]] == [10_000, 10_000]
        assert (payment["status"], payment["won_attempt"], payment["amount_captured"]) == ("succeeded", 2, 10_000)
        assert (payment["amount_refunding"], payment["refund_status"]) == (0, "none"), "it is not the payment's"
        assert await front.later(1) == 1
        refund = (await refunds(front))[0]
        assert (refund["status"], refund["attempt"], refund["amount"]) == ("succeeded", 1, 10_000)
        assert refund["channel_fee_returned"] == 60
        assert [order.payment_reference for order in front.asked("refund")] == [first]
        assert front.asked("refund", "second") == []
        assert await front.balances() == CAPTURED_BY_SECOND
        assert (await front.payment(payment_id))["amount_refunded"] == 0
        assert await front.events("payment.succeeded", "payment.overpaid", "refund.created", "refund.succeeded") == [
            "payment.succeeded", "payment.overpaid", "refund.created", "refund.succeeded",
        ]  # fmt: skip


async def test_a_second_confirmation_told_again_moves_nothing_more(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id, first = await failed_over(front)
        for _ in range(2):
            assert (await front.notice(first, 10_000)).status == 204
        await front.later(1)
        before = await front.counts(), await front.payment(payment_id)
        assert (await front.notice(first, 10_000)).status == 204
        assert (await front.counts(), await front.payment(payment_id)) == before
        twice = Notice(Kind.PAYMENT, first, Confirmed("ch-other", Money(10_000, "CNY"), front.clock.now()), "n")
        with pytest.raises(Broken, match="charged_twice"):
            await front.hub.payments.apply_notice(front.book, "rail", twice)


async def test_both_confirmations_in_one_batch_leave_one_winner(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=Pending(QR), query=Pending())
        payee = await front.payee("farm")
        payment_id = (await front.pay(split=[{"payee": payee, "basis_points": 3_000}])).body["id"]
        told = []
        for number, account in ((1, "rail"), (2, "second")):
            attempt = await front.attempt(payment_id, number)
            said = confirmed(attempt.reference, 10_000, front.clock.now())
            ready = await front.hub.accounts.get(front.book, account)
            told.append(front.hub.payments._recording.put_outcome(await front.stored(payment_id), attempt, ready, said))
        await asyncio.gather(*told)
        payment = await front.payment(payment_id)
        assert sorted(one["status"] for one in payment["attempts"]) == ["confirmed", "overpaid"]
        await front.later(1)
        await front.share_out()
        assert (await front.balances())[f"payee:{payee}:CNY"] == (3_000, 3_000), "shared out once"
        assert sum(len(front.asked("refund", account)) for account in ("rail", "second")) == 1


async def test_a_confirmation_of_a_channel_given_up_wins_while_the_payment_is_open(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=Pending(QR), query=Pending())
        payment_id = (await front.pay()).body["id"]
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["won_attempt"], payment["next_action"]) == ("succeeded", 1, None)
        assert payment["attempts"][1]["status"] == "pending"
        assert await front.later(0.001) == 1, "the other is closed at once"
        assert [len(front.asked("close", "second")), len(front.asked("close"))] == [1, 0]
        assert (await front.payment(payment_id))["attempts"][1]["status"] == "closed"
        assert await refunds(front) == []


async def test_the_other_attempt_turns_out_to_be_paid_when_it_is_to_be_closed(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        second = front.others["second"]
        second.says(pay=Pending(QR), query=Pending())
        payment_id = (await front.pay()).body["id"]
        await front.notice(front.asked("pay")[0].reference, 10_000)
        second.says(close=SILENCE)
        second.works("query")
        await front.later(0.001)
        assert (await front.payment(payment_id))["attempts"][1]["status"] == "overpaid"
        await front.later(1)
        assert [order.payment_reference[-1] for order in front.asked("refund", "second")] == ["2"]
        assert await front.balances() == {"channel:rail:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}


async def test_a_second_late_confirmation_goes_back_like_the_first(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=Pending(QR), query=Pending())
        payee = await front.payee("farm")
        payment_id = (await front.pay(split=[{"payee": payee, "basis_points": 3_000}])).body["id"]
        assert (await front.post(f"/v1/payments/{payment_id}/close")).body["status"] == "canceled"
        references = [one["reference"] for one in (await front.payment(payment_id))["attempts"]]
        assert (await front.notice(references[1], 10_000, account="second", rail="other")).status == 204
        assert (await front.notice(references[0], 10_000)).status == 204
        payment = await front.payment(payment_id)
        assert [one["status"] for one in payment["attempts"]] == ["overpaid", "late"]
        assert (payment["status"], payment["won_attempt"], payment["amount_refunding"]) == ("canceled", 2, 10_000)
        await front.later(1)
        assert await front.balances() == {}
        found = await refunds(front)
        assert {(one["attempt"], one["status"]) for one in found} == {(1, "succeeded"), (2, "succeeded")}
        assert len({one["id"] for one in found}) == 2


async def test_a_merchants_refunds_and_the_surplus_do_not_meet(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id, first = await failed_over(front)
        assert (await front.refund(payment_id, 4_000)).body["status"] == "succeeded"
        await front.notice(first, 10_000)
        assert (await front.refund(payment_id)).body["amount"] == 6_000
        assert (await front.refund(payment_id)).code == "refund_exceeds_captured"
        await front.later(1)
        assert await front.balances() == {}
        assert (await front.payment(payment_id))["refund_status"] == "full"
        assert [order.amount.minor for order in front.asked("refund")] == [10_000]
        assert [order.amount.minor for order in front.asked("refund", "second")] == [4_000, 6_000]


# ---- refunds tried again ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["a merchant's refund", "of what was paid twice", "of what was paid late"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def failed_refund(front: Front, kind: str) -> str:
    """Have a refund of this kind fail, and return its id."""
    front.rail.says(refund=NO)
    farm = await front.payee("farm")
    split = [{"payee": farm, "basis_points": 3_000}]
    if kind.startswith("a merchant"):
        payment_id = await front.paid(split=split)
        await front.share_out()
        await front.refund(payment_id, 3_333)
    elif kind.endswith("twice"):
        payment_id, first = await failed_over(front, split=split)
        await front.share_out()
        await front.notice(first, 10_000)
        await front.later(1)
    else:
        front.rail.says(pay=Pending(QR))
        payment_id = (await front.pay(split=split)).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close")
        await front.notice(front.asked("pay")[-1].reference, 10_000)
        await front.later(1)
        front.rail.works("pay")
    refund = (await refunds(front))[0]
    assert (refund["status"], refund["failure"]["code"]) == ("failed", "NOT_ENOUGH")
    refund_id: str = refund["id"]
    return refund_id


async def test_a_failed_refund_is_tried_again_under_a_new_number(database_url: str, tmp_path: Path, kind: str) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        refund_id = await failed_refund(front, kind)
        await front.assert_books_hold()
        standing = await front.balances()
        front.rail.works("refund")
        answer = await retry(front, refund_id)
        assert (answer.status, answer.body["status"], answer.body["retry_count"]) == (200, "succeeded", 1)
        assert answer.body["failure"] is None
        first, second = front.asked("refund")
        assert (second.reference, second.amount) == (f"{first.reference}a", first.amount)
        assert (first.retry_count, second.retry_count) == (0, 1)
        assert second.payment_reference == first.payment_reference
        after = await front.balances()
        if kind.startswith("a merchant"):
            assert after["channel:rail:CNY"][0] == standing["channel:rail:CNY"][0] - 3_333 + 20
        else:
            assert after == {k: v for k, v in after.items() if "rail" not in k}, "all of it went back"
        assert await front.later(100) == 0


async def test_a_refund_may_fail_again_and_be_tried_again(database_url: str, tmp_path: Path, kind: str) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        refund_id = await failed_refund(front, kind)
        standing = await front.balances()
        for tried in (1, 2, 3):
            answer = await retry(front, refund_id)
            assert (answer.body["status"], answer.body["retry_count"]) == ("failed", tried)
            assert await front.balances() == standing
            await front.assert_books_hold()
        front.rail.works("refund")
        assert (await retry(front, refund_id)).body["status"] == "succeeded"
        letters = [parse_reference(order.reference, "re") for order in front.asked("refund")]
        assert [refund_number(ident)[1] for _, ident in filter(None, letters)] == [0, 1, 2, 3, 4]


async def test_a_retry_repeated_with_its_key_is_one_retry(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        refund_id = await failed_refund(front, "a merchant's refund")
        for _ in range(2):
            answer = await retry(front, refund_id, key="k")
            assert (answer.status, answer.body["retry_count"]) == (200, 1)
        assert answer.headers["Idempotency-Replayed"] == "true"
        other = await front.post("/v1/payments", {}, key="k")
        assert other.status in (400, 422)
        front.rail.works("refund")
        gate = front.gate()
        answers = [asyncio.ensure_future(retry(front, refund_id)) for _ in range(2)]
        await gate.arrived.wait()
        gate.open.set()
        assert sorted(one.status for one in await asyncio.gather(*answers)) == [200, 409]
        refused = await retry(front, refund_id)
        assert (refused.status, refused.code, refused.body["status_now"]) == (409, "refund_not_failed", "succeeded")


async def test_a_retry_finds_less_left_than_it_needs(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        refund_id = await failed_refund(front, "a merchant's refund")
        front.rail.works("refund")
        payment_id = (await refunds(front))[0]["payment"]
        await front.refund(payment_id, 7_000)
        refused = await retry(front, refund_id)
        assert (refused.status, refused.code, refused.body["refundable_minor"]) == (
            422,
            "refund_exceeds_captured",
            3_000,
        )
        assert (await front.get(f"/v1/refunds/{refund_id}")).body["status"] == "failed"


async def test_silence_over_a_retry_is_asked_about_under_the_new_number(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        refund_id = await failed_refund(front, "a merchant's refund")
        front.rail.says(refund=SILENCE, refund_query=NEVER_ARRIVED)
        assert (await retry(front, refund_id)).body["status"] == "processing"
        await front.later(5)
        front.rail.works("refund")
        await front.later(30)
        assert (await front.get(f"/v1/refunds/{refund_id}")).body["status"] == "succeeded"
        numbers = [order.reference[-1] for order in front.asked("refund")]
        assert numbers[1:] == ["a", "a", "a"]
        asked = [order.reference[-1] for order in front.asked("refund_query")]
        assert asked[1:] == ["a", "a"], "about the number before once, before there was another"


@pytest.mark.parametrize("stale", [NO, Pending(), SILENCE])
async def test_what_a_rail_says_of_an_earlier_number_changes_nothing(
    database_url: str, tmp_path: Path, stale: Outcome
) -> None:
    async with a_front(database_url, tmp_path) as front:
        refund_id = await failed_refund(front, "a merchant's refund")
        earlier = front.asked("refund")[0].reference
        front.rail.says(refund=Pending())
        await retry(front, refund_id)
        before = await front.counts(), (await refunds(front))[0]
        await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.REFUND, earlier, stale, "n"))
        assert (await front.counts(), (await refunds(front))[0]) == before


async def test_a_number_that_was_never_given_is_not_applied(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        refund_id = await failed_refund(front, "a merchant's refund")
        earlier = front.asked("refund")[0].reference
        front.rail.works("refund")
        await retry(front, refund_id)
        refused = await front.notice(f"{earlier}b", 3_333, kind="refund")
        assert refused.said.startswith("no_such_refund"), "a number that was never given"
        assert (await front.notice(f"{earlier}1", 3_333, kind="refund")).said.startswith("no_such_reference")


async def test_a_retry_belongs_to_the_day_on_which_it_was_asked_for(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        refund_id = await failed_refund(front, "a merchant's refund")
        front.clock.forward(86_400)
        front.rail.works("refund")
        asked_on = front.clock.now().date()
        assert (await retry(front, refund_id)).body["business_date"] == asked_on.isoformat()


async def test_a_process_that_dies_before_it_sends_a_retry_leaves_it_to_the_janitor(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        refund_id = await failed_refund(front, "a merchant's refund")
        front.rail.works("refund")

        async def dying(*_: Any) -> Any:
            raise RuntimeError("kill -9")

        front.hub.payments._refunding.send_refund = dying  # type: ignore[assignment,method-assign]
        assert (await retry(front, refund_id)).status == 500
        front.rail.says(refund_query=NEVER_ARRIVED)
        assert (await other.get(f"/v1/refunds/{refund_id}")).body["status"] == "processing"
        assert await other.later(20) == 1
        assert (await other.get(f"/v1/refunds/{refund_id}")).body["status"] == "succeeded"


async def test_what_comes_after_the_last_try_is_a_new_refund(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        refund_id = await failed_refund(front, "of what was paid twice")
        for _ in range(MAX_RETRIES):
            assert (await retry(front, refund_id)).body["status"] == "failed"
        refused = await retry(front, refund_id)
        assert (refused.status, refused.code) == (422, "refund_limit")
        assert front.asked("refund")[-1].reference[-1] == "z"
        assert len({order.reference for order in front.asked("refund")}) == MAX_RETRIES + 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("re_" + "1" * 26, ("re_" + "1" * 26, 0)),
        ("re_" + "1" * 26 + "_a", ("re_" + "1" * 26, 1)),
        ("re_" + "1" * 26 + "_z", ("re_" + "1" * 26, 26)),
        ("re_" + "1" * 26 + "_1", ("re_" + "1" * 26, -1)),
    ],
)
def test_a_refunds_number_names_its_try(name: str, found: tuple[str, int]) -> None:
    assert refund_number(name) == found


def test_the_refunds_that_go_back_by_themselves_have_a_number_for_each_attempt() -> None:
    payment_id = "pay_" + "0" * 24 + "ff"
    assert overpaid_refund_id(payment_id, 1) == "re_" + "0" * 24 + "ff"
    assert len({overpaid_refund_id(payment_id, number) for number in range(1, 10)}) == 9
