"""Every decision that a case offers leads where its words say, and what they say may be done next can be done.

A rail may go on saying what it said when the case was opened: the way on must not wait for it to change its mind.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import cases
from channels.contract import Kind, Notice, Outcome, Pending, Refused, Unknown
from gateway.payments import unfinished
from gateway.payments.schedule import RETRY_S
from gateway.payments.unwanted import CAME_BACK, KEPT, NOT_GIVEN_BACK, OUTSIDE, RETRY
from kernel.db import acquire
from kernel.errors import Conflict
from ops.cases import decide
from tests.gateway.front import NEVER_ARRIVED, SILENCE, Front, a_front
from tests.gateway.payments import test_chargebacks as chargebacks
from tests.gateway.payments.test_holds import capture, reserve, undecided, void
from tests.gateway.payments.test_unwanted_money import held_in_vain, paid_late, paid_twice, stuck
from tests.splitting import test_bank_accounts as accounts
from tests.splitting import test_bank_files_kept as kept_files
from tests.splitting import test_bookings_told_apart as bookings
from tests.splitting import test_files_set_aside as files
from tests.splitting import test_paid_by_booking as by_booking
from tests.splitting import test_payouts_in_doubt as payouts
from tests.splitting import test_recalls as recalls
from tests.splitting import test_refused_batches as refused
from tests.splitting import test_returns as returns
from tests.splitting import test_withdrawals as withdrawals

TOLD = {"by": "Wang Fang", "note": "the rail's own page says so"}
ABNORMAL = Pending({"type": "operator", "code": "ABNORMAL"}, "ch")
# What a rail may say, for ever, of a refund that it has not carried out; none of it is an end.
STILL: dict[str, Outcome] = {
    "it knows no such number": NEVER_ARRIVED,
    "it says nothing": SILENCE,
    "it says what nobody understands": Unknown("respCode 99"),
    "it calls it under way": Pending(channel_ref="ch"),
}

pytestmark = pytest.mark.asyncio(loop_scope="session")
still = pytest.mark.parametrize("still", STILL.values(), ids=STILL)


@pytest_asyncio.fixture(loop_scope="session")
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as found:
        yield found


async def waiting(front: Front) -> list[cases.Case]:
    async with acquire(front.hub.pool) as connection:
        return await cases.store.cases(connection, book=front.book)


async def the_case(front: Front, kind: str) -> cases.Case:
    [found] = await waiting(front)
    assert found.kind == kind
    return found


async def decided(front: Front, kind: str, decision: str) -> None:
    await decide(front.hub, (await the_case(front, kind)).id, decision, **TOLD)


async def again(front: Front, refund_id: str) -> Any:
    return await front.post(f"/v1/refunds/{refund_id}/retry", key=front.new_key())


async def refund_of(front: Front, refund_id: str) -> Any:
    return (await front.get(f"/v1/refunds/{refund_id}")).body


# ---- refunds ---------------------------------------------------------------------------------------------------------


async def unfinished_refund(front: Front, says: Outcome, amount: int | None = 4_000) -> tuple[str, str]:
    """Have a rail leave a refund open until it is a case; return the payment's id and its own."""
    payment_id = await front.paid()
    front.rail.says(refund=says if isinstance(says, Pending) else SILENCE, refund_query=says)
    refund = (await front.refund(payment_id, amount)).body
    await front.later(8 * 86_400)
    return payment_id, refund["id"]


@still
@pytest.mark.parametrize("way", ["retried", "asked for anew"])
@pytest.mark.parametrize("amount", [4_000, None], ids=["a part", "all"])
async def test_a_refund_that_was_not_carried_out_is_asked_for_anew_whatever_the_rail_goes_on_saying(
    front: Front, still: Outcome, way: str, amount: int | None
) -> None:
    payment_id, refund_id = await unfinished_refund(front, still, amount)
    await decided(front, unfinished.REFUND, "not_carried_out")
    assert (await refund_of(front, refund_id))["status"] == "failed"
    front.rail.works("refund")
    sent = len(front.asked("refund"))
    done = await again(front, refund_id) if way == "retried" else await front.refund(payment_id, amount)
    assert (done.status, done.body["status"]) == (200 if way == "retried" else 201, "succeeded"), done
    first, *_, last = (order.reference for order in front.asked("refund"))
    assert (len(front.asked("refund")), first != last) == (sent + 1, True)
    assert (await front.payment(payment_id))["amount_refunded"] == (amount or 10_000)
    assert await waiting(front) == []


@pytest.mark.parametrize("decision", ["carried_out", "not_carried_out"])
async def test_what_the_rail_says_meanwhile_of_a_refund_comes_before_what_a_person_decides(
    front: Front, decision: str
) -> None:
    payment_id, refund_id = await unfinished_refund(front, SILENCE)
    case = await the_case(front, unfinished.REFUND)
    front.rail.works("refund_query")  # it was carried out all the same
    with pytest.raises(Conflict, match="case_decided"):
        await decide(front.hub, case.id, decision, **TOLD)
    assert (await refund_of(front, refund_id))["status"] == "succeeded"
    assert (await again(front, refund_id)).code == "refund_not_failed"
    assert (await front.payment(payment_id))["amount_refunded"] == 4_000
    assert (await waiting(front), len({order.reference for order in front.asked("refund")})) == ([], 1)


async def test_a_refund_that_only_sending_it_would_tell_of_is_ended_without_sending_it(front: Front) -> None:
    able = front.shop.channel.capabilities
    front.shop.channel.capabilities = replace(able, query_by_resend=True)
    payment_id, refund_id = await unfinished_refund(front, Unknown("HTTP 403"))
    sent = len(front.asked("refund_query"))
    await decided(front, unfinished.REFUND, "not_carried_out")
    assert len(front.asked("refund_query")) == sent, "the question is the message itself"
    front.rail.works("refund")
    assert (await again(front, refund_id)).body["status"] == "succeeded"
    assert (await front.payment(payment_id))["amount_refunded"] == 4_000


async def test_a_rail_that_has_a_refunds_money_pays_it_once_it_was_told_where_and_nobody_sends_it_again(
    front: Front,
) -> None:
    payment_id, refund_id = await unfinished_refund(front, ABNORMAL)
    case = await the_case(front, unfinished.REFUND)
    for silent in (False, True):
        if silent:
            front.rail.says(refund_query=SILENCE)
            await front.later(86_400)
        with pytest.raises(Conflict, match="refund_at_channel"):
            await decide(front.hub, case.id, "not_carried_out", **TOLD)
        assert [one.status for one in await waiting(front)] == ["open"], "nothing was decided"
        assert (await refund_of(front, refund_id))["status"] == "processing"
    await decide(front.hub, case.id, "sent_on", **TOLD)
    await front.later(86_400)
    assert await waiting(front) == [], "silence is no news"
    front.rail.works("refund_query")
    await front.later(3_600)
    assert (await refund_of(front, refund_id))["status"] == "succeeded"
    assert (await front.payment(payment_id))["amount_refunded"] == 4_000
    assert (len(front.asked("refund")), await waiting(front)) == (1, [])


@pytest.mark.parametrize("decision", ["sent_on", "wait"])
async def test_what_is_left_to_a_rail_that_has_the_money_can_still_be_decided(front: Front, decision: str) -> None:
    payment_id, refund_id = await unfinished_refund(front, ABNORMAL)
    case = await the_case(front, unfinished.REFUND)
    await decide(front.hub, case.id, decision, **TOLD)
    await front.later(4 * 86_400)
    assert (await the_case(front, unfinished.REFUND)).opened_count == 2, "it is so still"
    await decide(front.hub, case.id, "carried_out", **TOLD)
    assert (await refund_of(front, refund_id))["status"] == "succeeded"
    assert (await front.payment(payment_id))["amount_refunded"] == 4_000


async def test_a_refund_that_was_ended_while_the_rail_was_silent_is_not_sent_again_once_the_rail_has_its_money(
    front: Front,
) -> None:
    """The merchant is told what to do, and that works: the money is booked when the rail has paid it."""
    payment_id, refund_id = await unfinished_refund(front, SILENCE)
    await decided(front, unfinished.REFUND, "not_carried_out")
    front.rail.says(refund_query=ABNORMAL)
    refused = await again(front, refund_id)
    assert (refused.status, refused.code, refused.body["retriable"]) == (409, "refund_at_channel", False)
    front.rail.works("refund_query")
    assert (await again(front, refund_id)).code == "refund_not_failed"
    assert (await refund_of(front, refund_id))["status"] == "succeeded"
    assert (await front.payment(payment_id))["amount_refunded"] == 4_000
    assert len({order.reference for order in front.asked("refund")}) == 1


@still
@pytest.mark.parametrize("unwanted", [paid_twice, paid_late])
async def test_unwanted_money_whose_refund_was_not_carried_out_goes_back_by_itself_whatever_the_rail_says(
    front: Front, still: Outcome, unwanted: Any
) -> None:
    front.rail.says(refund=still if isinstance(still, Pending) else SILENCE, refund_query=still)
    payment_id = await unwanted(front)
    for wait_s in (0, 8 * 86_400):
        await front.later(wait_s)
    await decided(front, unfinished.REFUND, "not_carried_out")
    front.rail.works("refund")
    await front.later(RETRY_S[0] + 1)
    (refund,) = (await front.get(f"/v1/refunds?payment={payment_id}")).body["data"]
    assert (refund["status"], refund["retry_count"], await waiting(front)) == ("succeeded", 1, [])


async def not_given_back(front: Front) -> Any:
    """Have unwanted money come, and the rail refuse to give it back; return the refund."""
    front.rail.says(refund=Refused("NOT_ENOUGH", "the account is empty"))
    payment_id = await paid_late(front)
    await front.later(1)
    front.rail.works("refund")
    return (await front.get(f"/v1/refunds?payment={payment_id}")).body["data"][0]


async def came_back(front: Front) -> Any:
    """Have a refund succeed and come back; return the refund."""
    rail = front.shop.channel
    rail.capabilities = replace(rail.capabilities, refunds_come_back=True)
    refund = (await front.refund(await front.paid(), 4_000)).body
    no = Notice(Kind.REFUND, front.asked("refund")[0].reference, Refused("closed_account", closed=True), "n-1")
    await front.hub.payments.apply_notice(front.book, "rail", no)
    front.rail.refused.add(no.reference)
    return refund


FAILED = {NOT_GIVEN_BACK: not_given_back, CAME_BACK: came_back}


@pytest.mark.parametrize("decision", [RETRY, OUTSIDE, KEPT])
@pytest.mark.parametrize("kind", FAILED)
async def test_a_refund_that_failed_is_sent_again_or_never_as_a_person_decides(
    front: Front, kind: str, decision: str
) -> None:
    refund = await FAILED[kind](front)
    await decided(front, kind, decision)
    await front.later(40 * 86_400)
    assert len(front.asked("refund")) == (2 if decision == RETRY else 1)
    retried = await again(front, refund["id"])
    if decision == KEPT:
        assert retried.body["status"] == "succeeded", "the merchant may think better of it"
    else:
        assert retried.code == ("refund_not_failed" if decision == RETRY else "refund_settled_outside")
    assert (await refund_of(front, refund["id"]))["status"] == ("failed" if decision == OUTSIDE else "succeeded")
    assert await waiting(front) == []


# ---- orders, and what is reserved ------------------------------------------------------------------------------------


async def order_again(front: Front, number: str) -> None:
    """Have the order paid by another payment, as it may be once the one before is over."""
    for op in ("pay", "query"):
        front.rail.answers.pop(op, None)
    await front.paid(number)


@pytest.mark.parametrize("way", ["ordered again", "paid late"])
async def test_an_order_that_ended_unpaid_may_be_paid_by_another_and_what_comes_late_goes_back(
    front: Front, way: str
) -> None:
    payment_id = await stuck(front)
    late = front.asked("pay")[0].reference
    await decided(front, unfinished.ATTEMPT, "ended_unpaid")
    assert (await front.payment(payment_id))["status"] in ("canceled", "expired")
    if way == "ordered again":
        await order_again(front, "order-1")
    assert (await front.notice(late, 10_000)).status == 204
    await front.later(1)
    (refund,) = (await front.get(f"/v1/refunds?payment={payment_id}")).body["data"]
    assert (refund["status"], refund["amount"], await waiting(front)) == ("succeeded", 10_000, [])


async def test_a_payers_code_that_was_not_reversed_ends_and_the_order_is_paid_by_another(front: Front) -> None:
    front.rail.says(pay=SILENCE, query=SILENCE, reverse=SILENCE)
    payment_id = (await front.scan()).body["id"]
    await front.later(2 * 86_400)
    await decided(front, unfinished.ATTEMPT, "ended_unpaid")
    assert (await front.payment(payment_id))["status"] in ("canceled", "expired", "failed")
    await order_again(front, "order-1")
    assert (await front.later(86_400), await waiting(front)) == (0, [])


async def capture_undecided(front: Front) -> str:
    """Have a capture stay undecided until it is a case; return the payment's id."""
    payment_id = await undecided(front)
    for _ in range(8):
        await front.later(86_400)
    return payment_id


@pytest.mark.parametrize("way", ["captured", "voided"])
async def test_what_was_not_captured_is_captured_anew_or_voided_at_a_moment_of_its_own(front: Front, way: str) -> None:
    """UnionPay takes no message of another day: the moment of the capture that was none would be refused for ever."""
    payment_id = await capture_undecided(front)
    (stale,) = {order.ending_at for order in front.asked("capture")}
    await decided(front, unfinished.CAPTURE, "not_captured")
    front.rail.works("capture")
    done = await (capture(front, payment_id, 4_000) if way == "captured" else void(front, payment_id))
    assert done.body["status"] == ("succeeded" if way == "captured" else "canceled")
    sent = front.asked("capture" if way == "captured" else "void")[-1].ending_at
    assert (sent - stale).days >= 3
    assert (await front.payment(payment_id))["amount_captured"] == (4_000 if way == "captured" else 0)
    assert await waiting(front) == []


async def test_after_a_capture_that_its_rail_refused_the_next_has_a_moment_of_its_own(front: Front) -> None:
    payment_id = await reserve(front)
    front.rail.says(capture=Refused("MAX_CAPTURE", "not so much"))
    assert (await capture(front, payment_id)).code == "capture_refused"
    front.rail.works("capture")
    await front.later(86_400)
    assert (await capture(front, payment_id, 4_000)).body["amount_captured"] == 4_000
    first, second = (order.ending_at for order in front.asked("capture"))
    assert (second - first).days == 1


@pytest.mark.parametrize("kind", [unfinished.CAPTURE, unfinished.HOLD])
async def test_what_a_person_says_is_released_is_over_and_its_order_may_be_paid_by_another(
    front: Front, kind: str
) -> None:
    capturing = kind == unfinished.CAPTURE
    payment_id = await (capture_undecided(front) if capturing else held_in_vain(front))
    for _ in range(0 if capturing else 3):
        await front.later(3_601)
    await decided(front, kind, "released")
    assert (await front.payment(payment_id))["status"] == "canceled"
    assert await front.later(86_400) == 0, "nothing is sent any more"
    await order_again(front, "order-1" if capturing else "held")
    assert await waiting(front) == []


WAITING = {
    unfinished.REFUND: lambda front: unfinished_refund(front, SILENCE),
    unfinished.ATTEMPT: stuck,
    unfinished.HOLD: held_in_vain,
    unfinished.CAPTURE: capture_undecided,
}


@pytest.mark.parametrize("kind", WAITING)
async def test_what_is_left_waiting_is_asked_about_and_a_case_again(front: Front, kind: str) -> None:
    await WAITING[kind](front)
    for _ in range(3):
        await front.later(86_400)
    case = await the_case(front, kind)
    await decide(front.hub, case.id, "wait", **TOLD)
    asked = len(front.shop.channel.asked)
    for _ in range(4):
        await front.later(86_400)
    assert len(front.shop.channel.asked) > asked
    assert (await the_case(front, kind)).opened_count == 2


# ---- what is only said -----------------------------------------------------------------------------------------------

ONLY_SAID = {
    (kind, decision)
    for kind, one in cases.KINDS.items()
    for decision in one.decisions
    if decision in ("looked_into", "recovered", "borne")
}


@pytest.mark.parametrize(("kind", "decision"), sorted(ONLY_SAID))
async def test_what_was_put_right_elsewhere_is_no_case_any_more_and_moves_nothing(
    front: Front, kind: str, decision: str
) -> None:
    await front.paid()
    before = await front.balances()
    await front.hub.lanes.put(cases.OpenCase(front.book, kind, "what it is about", 100, "CNY", {}))
    await decided(front, kind, decision)
    assert (await waiting(front), await front.balances(), await front.later(86_400)) == ([], before, 0)


# ---- the whole -------------------------------------------------------------------------------------------------------

# Which test walks each; those of banks have files of their own, which bring the bank along.
WALKED: dict[tuple[str, str], object] = {
    **{(kind, "wait"): test_what_is_left_waiting_is_asked_about_and_a_case_again for kind in WAITING},
    **{(kind, how): test_a_refund_that_failed_is_sent_again_or_never_as_a_person_decides
       for kind in FAILED for how in (RETRY, OUTSIDE, KEPT)},
    **dict.fromkeys(ONLY_SAID, test_what_was_put_right_elsewhere_is_no_case_any_more_and_moves_nothing),
    (unfinished.REFUND, "not_carried_out"):
        test_a_refund_that_was_not_carried_out_is_asked_for_anew_whatever_the_rail_goes_on_saying,
    (unfinished.REFUND, "carried_out"): test_what_is_left_to_a_rail_that_has_the_money_can_still_be_decided,
    (unfinished.REFUND, "sent_on"):
        test_a_rail_that_has_a_refunds_money_pays_it_once_it_was_told_where_and_nobody_sends_it_again,
    (unfinished.ATTEMPT, "ended_unpaid"):
        test_an_order_that_ended_unpaid_may_be_paid_by_another_and_what_comes_late_goes_back,
    (unfinished.HOLD, "released"): test_what_a_person_says_is_released_is_over_and_its_order_may_be_paid_by_another,
    (unfinished.CAPTURE, "released"): test_what_a_person_says_is_released_is_over_and_its_order_may_be_paid_by_another,
    (unfinished.CAPTURE, "not_captured"):
        test_what_was_not_captured_is_captured_anew_or_voided_at_a_moment_of_its_own,
    ("settlement_refused", "send_again"):
        refused.test_a_refused_batch_is_sent_no_more_and_is_sent_again_when_two_people_say_so,
    ("settlement_refused", "cancel"): refused.test_a_cancelled_batch_is_owed_again_and_paid_with_the_next,
    ("payout_in_doubt", "paid"): payouts.test_a_person_decides_what_is_in_doubt,
    ("payout_in_doubt", "not_paid"): payouts.test_what_was_not_paid_is_paid_with_the_next_payouts,
    ("payout_in_doubt", "wait"): payouts.test_what_was_left_to_a_bank_that_says_no_more_can_still_be_decided,
    **{("payout_recalled", how):
       recalls.test_a_bank_that_paid_what_it_had_given_up_is_a_case_and_people_book_it_as_paid
       for how in ("paid", "release")},
    ("booking_unclear", "another"): bookings.test_what_cannot_be_told_from_a_booking_is_for_a_person,
    ("booking_unclear", "same"): bookings.test_what_cannot_be_told_from_a_booking_is_for_a_person,
    ("booking_unidentified", "book"): files.test_a_booking_that_nobody_can_name_is_for_a_person_and_booked_at_most_once,
    ("booking_unidentified", "no_deposit"):
        files.test_a_booking_that_nobody_can_name_is_for_a_person_and_booked_at_most_once,
    ("booking_unidentified", "returned"): returns.test_people_say_which_line_came_back_where_the_bank_does_not,
    ("booking_unidentified", "suspend"): returns.test_money_of_nobodys_is_in_suspense_once_until_people_say_whose,
    **{("booking_unidentified", how):
       files.test_what_a_bank_pays_or_takes_for_itself_is_booked_once_and_never_the_wrong_way
       for how in ("interest", "charge")},
    ("booking_unidentified", "part"): by_booking.test_a_batch_that_is_booked_as_several_sums_is_paid_as_people_say,
    ("booking_unidentified", "moved"):
        accounts.test_what_the_bank_pays_and_takes_on_its_accounts_is_booked_once_and_all_else_is_a_case,
    ("chargeback_beyond", "charge"): chargebacks.test_a_refund_that_fails_after_the_chargeback_can_bear_it_by_decision,
    **{("withdrawal_in_doubt", how): withdrawals.test_what_was_stopped_goes_on_as_people_say
       for how in ("paid", "send_again", "wait")},
    ("withdrawal_in_doubt", "not_paid"):
        withdrawals.test_a_no_that_nobody_signed_gives_nothing_free_and_two_people_end_it,
    **{("money_in_suspense", how): returns.test_money_of_nobodys_is_in_suspense_once_until_people_say_whose
       for how in ("book", "gone_back")},
    ("money_in_suspense", "returned"):
        returns.test_a_return_that_was_put_in_suspense_is_booked_as_one_once_people_know_its_line,
    ("bank_file_set_aside", "discard"): files.test_a_file_that_is_discarded_is_not_asked_for_again,
    ("bank_file_set_aside", "release"):
        kept_files.test_a_report_that_says_what_is_not_so_of_its_batch_decides_nothing_and_may_be_released,
    ("bank_file_set_aside", "replace"):
        kept_files.test_a_file_given_by_hand_is_applied_in_place_of_another_once_people_have_agreed,
}  # fmt: skip


async def test_every_decision_of_every_kind_is_walked_to_its_end() -> None:
    offered = {(kind, decision) for kind, one in cases.KINDS.items() for decision in one.decisions}
    assert offered == set(WALKED)
