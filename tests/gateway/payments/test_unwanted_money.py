"""Money that goes back by itself and is refused is somebody's until it has gone, or a person has said otherwise."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import cases
from channels.contract import Pending, Refused, Unknown
from gateway.payments import unfinished
from gateway.payments.schedule import RETRY_S
from gateway.payments.unwanted import CAME_BACK, KEPT, NOT_GIVEN_BACK, OUTSIDE
from gateway.store import find_refund
from gateway.tables import MAX_RETRIES
from kernel.db import acquire
from kernel.errors import Conflict
from kernel.money import Money
from ops.cases import EFFECTS, decide
from tests.gateway.front import NEVER_ARRIVED, QR, SILENCE, Front, a_front, another_process

NO = Refused("NOT_ENOUGH", "the account is empty")
TOLD = {"by": "Wang Fang", "note": "agreed with the payer"}


@pytest_asyncio.fixture(loop_scope="session")
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as found:
        yield found


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def paid_twice(front: Front) -> str:
    front.rail.says(pay=Refused("SYSTEM_BUSY", retriable=True))
    payment_id = await front.paid("twice")
    assert (await front.notice(front.asked("pay")[-1].reference, 10_000)).status == 204
    front.rail.works("pay")
    return payment_id


async def paid_late(front: Front) -> str:
    farm = await front.payee("farm")
    front.rail.says(pay=Pending(QR))
    payment_id: str = (await front.pay("late", split=[{"payee": farm, "basis_points": 3_000}])).body["id"]
    await front.post(f"/v1/payments/{payment_id}/close")
    assert (await front.notice(front.asked("pay")[-1].reference, 10_000)).status == 204
    front.rail.works("pay")
    return payment_id


@pytest.fixture(params=[paid_twice, paid_late], ids=["paid twice", "paid late"])
def unwanted(request: pytest.FixtureRequest) -> Any:
    return request.param


async def waiting(front: Front) -> list[cases.Case]:
    async with acquire(front.hub.pool) as connection:
        return await cases.store.cases(connection, book=front.book)


async def the_case(front: Front) -> cases.Case:
    [found] = await waiting(front)
    return found


async def refused(front: Front, unwanted: Any) -> str:
    """Have unwanted money come, and the rail refuse to give it back; return the payment's id."""
    front.rail.says(refund=NO)
    payment_id: str = await unwanted(front)
    await front.later(1)
    return payment_id


async def the_refund(front: Front, payment_id: str) -> Any:
    """Return the refund that goes back by itself: the first."""
    return (await front.get(f"/v1/refunds?payment={payment_id}")).body["data"][-1]


async def test_it_is_a_case_from_the_first_refusal_on(front: Front, unwanted: Any) -> None:
    payment_id = await refused(front, unwanted)
    case = await the_case(front)
    assert (case.kind, case.about, case.amount_minor, case.currency) == (
        NOT_GIVEN_BACK, f"{payment_id}:1", 10_000, "CNY",
    )  # fmt: skip
    assert "NOT_ENOUGH" in case.facts
    assert await front.events("case.opened", "refund.failed") == ["refund.failed", "case.opened"]


async def test_it_is_tried_again_on_a_growing_schedule_and_stays_a_case_when_that_ends(
    front: Front, unwanted: Any
) -> None:
    await refused(front, unwanted)
    for tried, wait in enumerate(RETRY_S, 1):
        await front.later(wait - 1)
        assert len(front.asked("refund")) == tried, "not before its time"
        await front.later(2)
        assert len(front.asked("refund")) == tried + 1
        await front.assert_books_hold()
    assert list(RETRY_S) == sorted(RETRY_S)
    assert sum(RETRY_S) > 7 * 86_400
    assert len(RETRY_S) < MAX_RETRIES, "a person has numbers left"
    assert await front.later(30 * 86_400) == 0
    case = await the_case(front)
    assert (case.opened_count, f'"tries":{len(RETRY_S) + 1}' in case.facts) == (1, True)
    assert len({order.reference for order in front.asked("refund")}) == len(RETRY_S) + 1


async def test_a_later_try_that_succeeds_closes_the_case(front: Front, unwanted: Any) -> None:
    payment_id = await refused(front, unwanted)
    front.rail.works("refund")
    await front.later(RETRY_S[0] + 1)
    assert (await the_refund(front, payment_id))["status"] == "succeeded"
    assert await waiting(front) == []
    assert await front.events("case.opened", "case.decided") == ["case.opened", "case.decided"]
    assert await front.later(30 * 86_400) == 0
    assert await front.later(30 * 86_400) == 0
    assert len(front.asked("refund")) == 2


async def test_a_person_may_have_it_sent_at_once(front: Front, unwanted: Any) -> None:
    payment_id = await refused(front, unwanted)
    for _ in RETRY_S:
        await front.later(86_400)
    before, case = len(front.asked("refund")), await the_case(front)
    await decide(front.hub, case.id, "retry", **TOLD)
    await front.assert_books_hold()
    await front.later(1)
    assert len(front.asked("refund")) == before + 1
    again = await the_case(front)
    assert (again.id, again.opened_count) == (case.id, 2), "it was refused again, so it waits again"
    front.rail.works("refund")
    await decide(front.hub, case.id, "retry", **TOLD)
    await front.later(1)
    assert (await the_refund(front, payment_id))["status"] == "succeeded"
    assert await waiting(front) == []


@pytest.mark.parametrize("decision", ["keep", "settled_outside"])
async def test_what_a_person_has_ended_is_not_tried_again(front: Front, unwanted: Any, decision: str) -> None:
    payment_id = await refused(front, unwanted)
    await decide(front.hub, (await the_case(front)).id, decision, **TOLD)
    front.rail.works("refund")
    assert await front.later(40 * 86_400) == 0
    assert (await the_refund(front, payment_id))["status"] == "failed"
    assert len(front.asked("refund")) == 1
    await front.assert_books_hold()


async def test_what_went_back_outside_the_rail_does_not_go_back_again(front: Front, unwanted: Any) -> None:
    payment_id = await refused(front, unwanted)
    await decide(front.hub, (await the_case(front)).id, "settled_outside", **TOLD)
    front.rail.works("refund")
    refund = await the_refund(front, payment_id)
    retried = await front.post(f"/v1/refunds/{refund['id']}/retry", key=front.new_key())
    assert (retried.status, retried.code) == (409, "refund_settled_outside")
    if unwanted is paid_late:  # of what was paid twice the merchant's refunds are another attempt's
        anew = await front.refund(payment_id)
        assert (anew.status, anew.code) == (409, "refund_settled_outside")
    assert len(front.asked("refund")) == 1


async def test_what_the_merchant_keeps_may_still_be_given_back(front: Front, unwanted: Any) -> None:
    payment_id = await refused(front, unwanted)
    await decide(front.hub, (await the_case(front)).id, "keep", **TOLD)
    front.rail.works("refund")
    refund = await the_refund(front, payment_id)
    retried = await front.post(f"/v1/refunds/{refund['id']}/retry", key=front.new_key())
    assert retried.body["status"] == "succeeded"


@pytest.mark.parametrize("decision", ["keep", "settled_outside", "retry"])
async def test_nothing_is_decided_while_the_rail_has_the_refund(front: Front, unwanted: Any, decision: str) -> None:
    payment_id = await refused(front, unwanted)
    front.rail.says(refund=SILENCE)
    await front.later(RETRY_S[0] + 1)
    case = await the_case(front)
    with pytest.raises(Conflict, match="refund_under_way"):
        await decide(front.hub, case.id, decision, **TOLD)
    assert await the_case(front) == case
    front.rail.works("refund")
    await front.later(3_600)
    assert (await the_refund(front, payment_id))["status"] == "succeeded"
    assert await waiting(front) == []


async def test_a_try_waits_until_the_rail_says_what_became_of_the_one_before(front: Front, unwanted: Any) -> None:
    """Refused, says the answer to the only message; what a rail then says of that number is still asked first."""
    payment_id = await refused(front, unwanted)
    front.rail.says(refund_query=SILENCE)
    await front.later(RETRY_S[0] + 1)
    assert len(front.asked("refund")) == 1
    await front.assert_books_hold()
    front.rail.refused.clear()  # it had been carried out
    front.rail.works("refund_query", "refund")
    await front.later(RETRY_S[1] + 1)
    assert len(front.asked("refund")) == 1
    assert (await the_refund(front, payment_id))["status"] == "succeeded"
    assert await waiting(front) == []
    assert await front.later(30 * 86_400) == 0


async def test_a_merchants_own_refund_of_what_came_late_ends_it(front: Front) -> None:
    payment_id = await refused(front, paid_late)
    front.rail.works("refund")
    await front.refund(payment_id, 4_000)
    assert len(await waiting(front)) == 1, "a part is not the whole"
    await front.assert_books_hold()
    await front.later(RETRY_S[0] + 1)
    assert len(front.asked("refund")) == 2, "the whole does not go back again when a part has"
    case = await the_case(front)
    assert ("refund_exceeds_captured" in case.facts, case.opened_count) == (True, 1)
    await front.refund(payment_id)
    assert await waiting(front) == []
    assert await front.later(40 * 86_400) == 0
    assert [order.amount.minor for order in front.asked("refund")] == [10_000, 4_000, 6_000]
    assert await front.balances() == {}


async def test_two_workers_begin_one_try(front: Front, database_url: str, tmp_path: Path, unwanted: Any) -> None:
    payment_id = await refused(front, unwanted)
    front.rail.works("refund")
    async with another_process(front, database_url, tmp_path) as other:
        front.clock.forward(RETRY_S[0] + 1)
        async with acquire(front.hub.pool) as connection:
            refund = await find_refund(connection, front.book, (await the_refund(front, payment_id))["id"])
        assert refund is not None
        for hub in (front.hub, other.hub):
            await hub.payments.retry_unwanted(refund)
    assert (await the_refund(front, payment_id))["retry_count"] == 1
    assert len(front.asked("refund")) == 2


async def test_a_process_that_dies_after_it_began_a_try_leaves_it_to_the_next(
    front: Front, database_url: str, tmp_path: Path, unwanted: Any
) -> None:
    payment_id = await refused(front, unwanted)
    front.rail.works("refund")
    async with another_process(front, database_url, tmp_path) as other:

        async def dying(*_: Any, **__: Any) -> Any:
            raise RuntimeError("kill -9")

        front.hub.payments._refunding.send_refund = dying  # type: ignore[assignment,method-assign]
        front.rail.says(refund_query=NEVER_ARRIVED)
        with pytest.raises(ExceptionGroup):
            await front.later(RETRY_S[0] + 1)
        assert await other.later(21) == 1
        assert (await the_refund(other, payment_id))["status"] == "succeeded"
        assert [order.reference[-1] for order in front.asked("refund")][1:] == ["a"]
        assert await waiting(front) == []


async def test_a_merchants_own_refund_that_fails_is_the_merchants(front: Front) -> None:
    front.rail.says(refund=NO)
    payment_id = await front.paid()
    assert (await front.refund(payment_id)).body["status"] == "failed"
    assert await front.later(40 * 86_400) == 0
    assert await waiting(front) == []


async def test_every_effect_is_of_a_decision_there_is_and_what_must_do_something_has_one() -> None:
    offered = {(kind, decision) for kind, one in cases.KINDS.items() for decision in one.decisions}
    assert set(EFFECTS) <= offered
    only_said = {"wait", "sent_on", "looked_into", "recovered", "borne", "same", "no_deposit", "discard", "part"}
    of_came_back = {(CAME_BACK, OUTSIDE), (CAME_BACK, KEPT)}  # nothing is under way that would have to be stopped
    assert {decision for _, decision in offered - set(EFFECTS) - of_came_back} <= only_said


# ---- what does not end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says",
    [Pending({"type": "operator", "code": "ABNORMAL"}, "ch"), Pending(channel_ref="ch"), SILENCE],
    ids=["the rail asks for a person", "days of waiting", "days of silence"],
)
async def test_a_refund_that_its_rail_does_not_finish_is_a_case_until_it_does(front: Front, says: Any) -> None:
    payment_id = await front.paid()
    front.rail.says(refund=says, refund_query=says)
    refund = (await front.refund(payment_id)).body
    asks_at_once = isinstance(says, Pending) and says.next_action is not None
    assert len(await waiting(front)) == int(asks_at_once)
    await front.later(3 * 86_400)
    assert len(await waiting(front)) == int(asks_at_once)
    await front.later(5 * 86_400)
    case = await the_case(front)
    assert (case.kind, case.about) == ("refund_unfinished", refund["id"])
    await decide(front.hub, case.id, "wait", **TOLD)
    await front.later(86_400)
    assert await waiting(front) == [], "it was said to wait"
    await front.later(3 * 86_400)
    assert (await the_case(front)).opened_count == 2
    front.rail.works("refund_query", "refund")
    await front.later(3_600)
    assert (await front.get(f"/v1/refunds/{refund['id']}")).body["status"] == "succeeded"
    assert await waiting(front) == []


async def unfinished_refund(front: Front, amount: int | None = None) -> tuple[str, str]:
    """Have a refund's answer be lost and its repetitions refused for a week; return the payment's id and its own."""
    farm = await front.payee("farm")
    payment_id = await front.paid("unfinished", split=[{"payee": farm, "basis_points": 3_000}])
    await front.share_out()
    front.rail.says(refund=[SILENCE, NO], refund_query=NEVER_ARRIVED)
    refund_id: str = (await front.refund(payment_id, amount)).body["id"]
    await front.later(8 * 86_400)
    return payment_id, refund_id


@pytest.mark.parametrize("amount", [None, 4_001], ids=["all", "a part"])
async def test_a_refund_that_was_not_carried_out_gives_its_money_and_shares_back_by_a_persons_word(
    front: Front, amount: int | None
) -> None:
    payment_id, refund_id = await unfinished_refund(front, amount)
    case = await the_case(front)
    assert (case.kind, case.about) == (unfinished.REFUND, refund_id)
    held = await front.balances()
    await decide(front.hub, case.id, "not_carried_out", **TOLD)
    refund = (await front.get(f"/v1/refunds/{refund_id}")).body
    assert (refund["status"], refund["failure"]["code"]) == ("failed", "not_carried_out")
    assert (await front.payment(payment_id))["amount_refunded"] == 0
    stands = await front.balances()
    assert stands != held
    assert {name.split(":")[0]: both for name, both in stands.items()} == {
        "channel": (9_940, 9_940), "merchant": (6_940, 6_940), "payee": (3_000, 3_000),
    }  # fmt: skip
    assert await front.events("refund.failed") == ["refund.failed"]
    assert await front.later(86_400) == 0, "a merchant's refund is not begun again by itself"
    front.rail.works("refund", "refund_query")
    front.rail.refused.add(front.asked("refund")[0].reference)
    again = await front.post(f"/v1/refunds/{refund_id}/retry", key=front.new_key())
    assert (again.status, again.body["status"]) == (200, "succeeded")
    assert await waiting(front) == []


async def test_a_refund_that_was_carried_out_is_booked_by_a_persons_word(front: Front) -> None:
    payment_id, refund_id = await unfinished_refund(front)
    case = await the_case(front)
    await decide(front.hub, case.id, "carried_out", **TOLD)
    refund = (await front.get(f"/v1/refunds/{refund_id}")).body
    assert refund["status"] == "succeeded"
    assert (await front.payment(payment_id))["amount_refunded"] == 10_000
    assert await front.balances() == {}
    assert (await front.notice(front.asked("refund")[0].reference, 10_000, kind="refund")).status == 204, "it is known"
    assert await front.later(86_400) == 0
    assert await waiting(front) == []
    assert await front.events("refund.succeeded", "refund.failed") == ["refund.succeeded"]


async def test_a_refund_that_a_person_had_ended_and_the_rail_pays_after_all_is_booked(front: Front) -> None:
    payment_id, refund_id = await unfinished_refund(front)
    await decide(front.hub, (await the_case(front)).id, "not_carried_out", **TOLD)
    assert (await front.notice(front.asked("refund")[0].reference, 10_000, kind="refund")).status == 204
    assert (await front.get(f"/v1/refunds/{refund_id}")).body["status"] == "succeeded"
    assert (await front.payment(payment_id))["amount_refunded"] == 10_000
    assert await front.balances() == {}


@pytest.mark.parametrize("decision", ["carried_out", "not_carried_out"])
async def test_a_refund_that_has_ended_is_not_ended_by_a_person(front: Front, decision: str) -> None:
    """The case is closed with the refund; one that another process still shows decides nothing."""
    _, refund_id = await unfinished_refund(front)
    case = await the_case(front)
    await front.notice(front.asked("refund")[0].reference, 10_000, kind="refund")
    with pytest.raises(Conflict) as refused:
        await decide(front.hub, case.id, decision, **TOLD)
    assert refused.value.code == "case_decided"
    assert (await front.get(f"/v1/refunds/{refund_id}")).body["status"] == "succeeded"


@pytest.mark.parametrize("decision", ["carried_out", "not_carried_out"])
async def test_a_refund_of_unwanted_money_that_does_not_end_is_ended_by_a_person(front: Front, decision: str) -> None:
    """What was not carried out goes on going back by itself, under a new number, once the rail knows nothing of it."""
    front.rail.says(refund=[SILENCE, NO], refund_query=NEVER_ARRIVED)
    await paid_twice(front)
    for wait_s in (0, 60, 8 * 86_400):
        await front.later(wait_s)
    case = await the_case(front)
    assert case.kind == unfinished.REFUND
    await decide(front.hub, case.id, decision, **TOLD)
    front.rail.works("refund")
    await front.later(RETRY_S[0] + 1)
    numbers = {order.reference for order in front.asked("refund")}
    assert len(numbers) == (1 if decision == "carried_out" else 2)
    assert await waiting(front) == []
    balances = await front.balances()
    assert set(balances) == {"channel:second:CNY", "merchant:CNY"}


async def held_in_vain(front: Front) -> str:
    """Have money reserved for a payment that was canceled before the rail said so."""
    front.rail.says(pay=SILENCE, query=SILENCE)
    payment_id: str = (await front.pay("held", method={"type": "page"}, capture="manual")).body["id"]
    front.clock.forward(21)
    front.rail.says(query=[SILENCE])
    assert (await front.post(f"/v1/payments/{payment_id}/close")).body["status"] == "canceled"
    front.rail.says(query=Pending(authorized=Money(10_000, "CNY")), void=Unknown("not now"))
    attempt = await front.attempt(payment_id)
    ready = await front.hub.accounts.get(front.book, "rail")
    said = Pending(authorized=Money(10_000, "CNY"), channel_ref="ch")
    await front.hub.payments._recording.put_outcome(await front.stored(payment_id), attempt, ready, said)
    return payment_id


async def test_a_hold_in_vain_that_is_not_released_is_tried_on_and_becomes_a_case(front: Front) -> None:
    payment_id = await held_in_vain(front)
    for tries in (1, 2):
        await front.later(3_601)
        assert len(front.asked("void")) == tries
        assert await waiting(front) == []
    await front.later(3_601)
    case = await the_case(front)
    assert (case.kind, case.about) == ("hold_not_released", f"{payment_id}:1")
    await front.later(3_601)
    assert len(front.asked("void")) == 4
    front.rail.works("void")
    await front.later(3_601)
    assert (await front.attempt(payment_id)).status == "closed"
    assert await waiting(front) == []


async def test_a_person_may_say_that_a_hold_is_released(front: Front) -> None:
    payment_id = await held_in_vain(front)
    for _ in range(3):
        await front.later(3_601)
    await decide(front.hub, (await the_case(front)).id, "released", **TOLD)
    attempt = await front.attempt(payment_id)
    assert (attempt.status, attempt.due_at) == ("closed", None)
    assert "Wang Fang" in (attempt.message or "")
    assert await front.later(86_400) == 0


async def stuck(front: Front) -> str:
    front.rail.says(pay=Pending(QR), query=SILENCE, close=SILENCE)
    payment_id: str = (await front.pay()).body["id"]
    await front.later(3 * 3_600)
    assert await waiting(front) == []
    await front.later(86_400)
    return payment_id


async def test_an_order_still_open_a_day_after_its_time_is_a_case_until_it_ends(front: Front) -> None:
    payment_id = await stuck(front)
    case = await the_case(front)
    assert (case.kind, case.about) == ("attempt_unfinished", f"{payment_id}:1")
    front.rail.works("query")
    await front.later(3_600)
    assert (await front.payment(payment_id))["status"] == "succeeded"
    assert await waiting(front) == []


async def test_a_person_may_end_an_order_and_what_comes_all_the_same_goes_back(front: Front) -> None:
    payment_id = await stuck(front)
    await decide(front.hub, (await the_case(front)).id, "ended_unpaid", **TOLD)
    assert (await front.payment(payment_id))["status"] in ("canceled", "expired")
    assert await front.later(86_400) == 0
    assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
    await front.later(1)
    assert (await the_refund(front, payment_id))["status"] == "succeeded"
    assert await waiting(front) == []


async def test_an_order_whose_account_no_longer_opens_is_a_case_too(front: Front) -> None:
    front.rail.says(pay=Pending(QR), query=Pending())
    payment_id = (await front.pay()).body["id"]

    async def closed(*_: Any) -> Any:
        raise Conflict("channel_account_closed", "its credentials do not open")

    front.hub.payments._calls.ready = closed  # type: ignore[method-assign]
    await front.later(3 * 3_600)
    assert await waiting(front) == []
    await front.later(86_400)
    assert (await the_case(front)).about == f"{payment_id}:1"


# ---- what cannot be --------------------------------------------------------------------------------------------------


async def test_what_a_rail_says_that_cannot_be_is_a_case_once(front: Front) -> None:
    payment_id = await front.paid()
    reference = front.asked("pay")[0].reference
    for _ in range(2):
        assert (await front.notice(reference, 9_999)).status >= 400
    case = await the_case(front)
    assert (case.kind, case.about, case.opened_count) == ("amount_differs", f"{payment_id}:1", 1)
    await decide(front.hub, case.id, "looked_into", **TOLD)
    await front.notice(reference, 9_999)
    assert await waiting(front) == [], "the very same again is no news"
    await front.notice(reference, 9_998)
    assert (await the_case(front)).opened_count == 2, "another amount is"


async def test_a_refund_of_which_a_rail_says_another_amount_is_a_case(front: Front) -> None:
    front.rail.says(refund=Pending(channel_ref="ch"))
    refund = (await front.refund(await front.paid(), 500)).body
    assert (await front.notice(front.asked("refund")[0].reference, 499, kind="refund")).status >= 400
    case = await the_case(front)
    assert (case.kind, case.about, case.amount_minor) == ("amount_differs", refund["id"], 500)
