"""Rails that move money only on a second call: the hub makes it once what it needs is committed, and may repeat it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels import Notice
from channels.contract import Kind, Outcome, Pending
from gateway.payments.attempts import NewAttempt
from kernel.money import Money
from tests.gateway.front import CLOSED, SILENCE, Front, a_front
from tests.support import confirmed

PAGE = {"type": "page"}
REDIRECT = {"type": "redirect", "url": "https://rail.example/approve"}
CREATED = Pending(REDIRECT, channel_ref="O-1")
APPROVED = Pending(channel_ref="O-1", proceed=True)


async def waiting(front: Front, **more: Any) -> tuple[str, str]:
    """Have a payment wait for its payer's approval; return its id and its number at the rail."""
    front.rail.says(pay=CREATED, query=Pending(channel_ref="O-1"))
    answer = await front.pay(method=PAGE, **more)
    assert (answer.body["status"], answer.body["next_action"]) == (
        "requires_action",
        {**REDIRECT, "channel": "scripted"},
    )
    return answer.body["id"], front.asked("pay")[-1].reference


async def approved(front: Front, reference: str) -> None:
    """Have the rail tell that the payer has approved."""
    await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.PAYMENT, reference, APPROVED, "n-1"))


async def test_a_rail_that_waits_for_our_second_call_gets_it_when_it_says_so(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        await approved(front, reference)
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert [order.channel_ref for order in front.asked("proceed")] == ["O-1"]


async def test_the_second_call_is_made_on_what_is_committed(database_url: str, tmp_path: Path) -> None:
    """The first answer brings the rail's number; whoever makes the second call, also another process, reads it."""
    async with a_front(database_url, tmp_path) as front:
        stored = []

        def script(op: str, order: Any) -> Outcome:
            if op == "proceed":
                stored.append(order.channel_ref)
                return confirmed(order.reference, order.amount.minor, front.clock.now())
            return APPROVED

        front.shop.channel.script = script
        answer = await front.pay(method=PAGE)
        assert (answer.body["status"], stored) == ("succeeded", ["O-1"])
        assert [op for op, _ in front.shop.channel.asked] == ["pay", "proceed"]


async def test_a_process_that_dies_between_the_two_leaves_the_second_to_the_janitor(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)

        async def dying(*_: Any) -> Any:
            raise RuntimeError("kill -9")

        front.hub.payments._recording._proceed = dying  # type: ignore[assignment,method-assign]
        with pytest.raises(RuntimeError):
            await approved(front, reference)
        del front.hub.payments._recording._proceed
        assert front.asked("proceed") == []
        front.rail.says(query=APPROVED)
        assert await front.later(5) == 1
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert len(front.asked("proceed")) == 1


async def test_silence_over_the_second_call_is_asked_about_and_made_again_where_it_did_not_arrive(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        front.rail.says(proceed=SILENCE)
        await approved(front, reference)
        assert (await front.payment(payment_id))["status"] == "requires_action"
        front.rail.says(query=APPROVED)
        assert await front.later(5) == 1
        front.rail.works("proceed")
        assert await front.later(30) == 1
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert len({order.reference for order in front.asked("proceed")}) == 1


async def test_a_rail_that_still_waits_after_the_second_call_is_asked_later(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        front.rail.says(proceed=APPROVED, query=APPROVED)
        await approved(front, reference)
        assert len(front.asked("proceed")) == 1, "no circle"
        assert (await front.attempt(payment_id)).due_at is not None
        front.rail.works("proceed")
        await front.later(5)
        assert (await front.payment(payment_id))["status"] == "succeeded"


async def test_an_approval_told_again_moves_nothing_more(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        await approved(front, reference)
        before = await front.counts(), await front.payment(payment_id)
        await approved(front, reference)
        assert (await front.counts(), await front.payment(payment_id)) == before
        assert len(front.asked("proceed")) == 1


async def test_an_approval_of_an_order_that_has_ended_is_not_carried_out(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        assert (await front.post(f"/v1/payments/{payment_id}/close")).body["status"] == "canceled"
        await approved(front, reference)
        assert front.asked("proceed") == []
        assert (await front.payment(payment_id))["status"] == "canceled"
        assert await front.later(10) == 0


async def test_an_approval_in_a_wallet_the_payer_has_left_is_given_up_where_the_rail_closes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, closes=False)
        front.rail.says(pay=CREATED, query=APPROVED, close=SILENCE)
        front.others["second"].says(pay=Pending(REDIRECT), query=Pending())
        payment_id = (await front.pay(method={"type": "cashier"})).body["id"]
        for channel in ("scripted", "other"):
            await front.hub.payments.attempt(front.book, payment_id, NewAttempt("page"), channel=channel)
        await front.later(0.001)
        tries = (await front.payment(payment_id))["attempts"]
        assert [(one["status"], one["code"]) for one in tries] == [("closed", "given_up"), ("pending", None)]
        assert front.asked("proceed") == []
        assert (await front.notice(tries[0]["reference"], 10_000)).status == 204, (
            "our second call had arrived after all"
        )
        assert (await front.payment(payment_id))["won_attempt"] == 1


async def test_the_second_call_may_reserve(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front, capture="manual")
        front.rail.says(proceed=Pending(channel_ref="A-1", authorized=Money(10_000, "CNY")))
        await approved(front, reference)
        assert (await front.payment(payment_id))["status"] == "requires_capture"
        answer = await front.post(f"/v1/payments/{payment_id}/capture", {"amount": 1_000}, key="k")
        assert (answer.body["status"], front.asked("capture")[0].channel_ref) == ("succeeded", "A-1")


async def test_an_order_that_ran_out_is_closed_though_approved_at_the_last_moment_unless_the_rail_says_otherwise(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, _ = await waiting(front)
        front.rail.says(query=APPROVED, close=CLOSED)
        await front.later(7_200)
        assert (await front.payment(payment_id))["status"] == "expired"
        assert front.asked("proceed") == []


async def test_a_refunds_own_number_at_the_rail_is_kept_while_it_waits(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(refund=Pending(channel_ref="R-1"), refund_query=Pending())
        payment_id = await front.paid()
        refund_id = (await front.refund(payment_id)).body["id"]
        await front.later(5)
        assert [order.channel_ref for order in front.asked("refund_query")] == ["R-1"]
        assert front.asked("refund_query")[0].payment_channel_ref == f"ch-{front.asked('pay')[0].reference}"
        front.rail.works("refund_query")
        await front.later(30)
        assert (await front.get(f"/v1/refunds/{refund_id}")).body["status"] == "succeeded"
