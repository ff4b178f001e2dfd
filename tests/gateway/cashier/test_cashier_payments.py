"""Payments whose payer chooses later: no attempt until then, one for each choice, and one that wins."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from channels import Notice
from channels.contract import Kind, Method, Outcome, Pending, Refused, Unknown
from gateway.cashier.tokens import CashierTokens
from gateway.payments.attempts import Begun, NewAttempt
from gateway.payments.schedule import FIRST_ANSWER_S
from gateway.tables import MAX_ATTEMPTS
from kernel.errors import Conflict, Rejected
from kernel.money import Money
from tests.gateway.front import CLOSED, NEVER_ARRIVED, QR, SILENCE, Front, a_front, another_process
from tests.support import confirmed

CASHIER = {"type": "cashier", "return_url": "https://shop.example/thanks"}
TWO = {"second": "other"}
WALLET = NewAttempt("jsapi", '{"payer":"openid-1"}')
PARAMETERS = {"type": "jsapi", "package": "prepay_id=1"}
SHOWN = {**PARAMETERS, "channel": "scripted"}


async def choosing(front: Front, number: str = "order-1", **more: Any) -> str:
    """Have a payment wait at the cashier and return its id."""
    answer = await front.pay(number, **{"method": CASHIER, **more})
    assert (answer.status, answer.body["status"], answer.body["attempt_count"]) == (201, "requires_action", 0), answer
    payment_id: str = answer.body["id"]
    return payment_id


async def choose(
    front: Front, payment_id: str, new: NewAttempt = WALLET, channel: str = "scripted", **says: Outcome
) -> Begun:
    """Have the payer choose; the rails show what there is to do, unless told otherwise."""
    for rail in (front.rail, *front.others.values()):
        rail.says(**{"pay": Pending(PARAMETERS), "query": Pending(), **says})
    return await front.hub.payments.attempt(front.book, payment_id, new, channel=channel)


async def statuses(front: Front, payment_id: str) -> list[str]:
    payment = await front.payment(payment_id)
    return [payment["status"], *(one["status"] for one in payment["attempts"])]


async def test_a_payment_waits_at_the_cashier_without_any_attempt(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        payment = await front.payment(payment_id)
        assert payment["next_action"]["type"] == "cashier"
        base, _, token = payment["next_action"]["url"].rpartition("/pay/")
        assert base == "http://127.0.0.1:1"
        assert front.hub.tokens.read(token) == (front.book, payment_id)
        assert (payment["attempts"], payment["method"], payment["won_attempt"]) == ([], "cashier", None)
        assert front.shop.channel.asked == []
        assert await front.later(100) == 0


async def test_the_payers_choice_makes_the_attempt_and_the_payment_stays_at_the_cashier(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        begun = await choose(front, payment_id)
        assert orjson.loads(begun.attempt.next_action or "") == SHOWN
        assert (begun.attempt.number, begun.attempt.method) == (1, "jsapi")
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["next_action"]["type"]) == ("requires_action", "cashier")
        order = front.asked("pay")[0]
        assert (order.method, order.payer, order.return_url) == (Method.JSAPI, "openid-1", None)
        assert (await front.notice(order.reference, 10_000)).status == 204
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["next_action"], payment["channel_fee"]) == ("succeeded", None, 60)
        assert await front.later(10_000) == 0


async def test_the_same_choice_again_is_the_same_attempt(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        first = await choose(front, payment_id)
        again = await choose(front, payment_id)
        assert (again.attempt.reference, again.attempt.next_action) == (
            first.attempt.reference,
            first.attempt.next_action,
        )
        with pytest.raises(Rejected, match="channel_needed"):
            await choose(front, payment_id, channel="auto")
        assert len(front.asked("pay")) == 1
        somebody_else = await choose(front, payment_id, NewAttempt("jsapi", '{"payer":"openid-2"}'))
        assert somebody_else.attempt.number == 2


async def test_the_same_choice_twice_at_once_is_sent_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        gate = front.gate()
        front.rail.says(pay=Pending(PARAMETERS))
        both = [
            asyncio.ensure_future(front.hub.payments.attempt(front.book, payment_id, WALLET, channel="scripted"))
            for _ in range(2)
        ]
        await gate.arrived.wait()
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)  # the one that is not at the gate
        gate.open.set()
        found = await asyncio.gather(*both, return_exceptions=True)
        assert [one.code for one in found if isinstance(one, Conflict)] == ["request_in_progress"]
        assert len(front.asked("pay")) == 1
        assert (await front.payment(payment_id))["attempt_count"] == 1


async def test_a_choice_whose_answer_was_lost_is_sent_again_under_its_number(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        silent = await choose(front, payment_id, pay=SILENCE)
        assert silent.attempt.next_action is None
        again = await choose(front, payment_id)
        assert orjson.loads(again.attempt.next_action or "") == SHOWN
        first, second = front.asked("pay")
        assert first == second


async def test_a_payer_who_comes_back_has_the_rail_asked_and_nothing_sent(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        await choose(front, payment_id, pay=SILENCE, query=NEVER_ARRIVED)
        await front.hub.payments.follow_up(await front.attempt(payment_id))
        assert (len(front.asked("pay")), len(front.asked("query"))) == (1, 1)
        front.rail.works("query")
        await front.hub.payments.follow_up(await front.attempt(payment_id))
        assert (await front.payment(payment_id))["status"] == "succeeded"


async def test_a_payer_who_changes_wallets_has_the_first_closed(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await choosing(front)
        await choose(front, payment_id)
        begun = await choose(front, payment_id, NewAttempt("h5", '{"client_ip":"10.0.0.1"}'), "other")
        assert (begun.attempt.number, begun.attempt.channel_account) == (2, "second")
        assert front.asked("pay", "second")[0].return_url == "https://shop.example/thanks"
        assert await front.later(0.001) == 1
        assert await statuses(front, payment_id) == ["requires_action", "closed", "pending"]
        assert (len(front.asked("close")), len(front.asked("close", "second"))) == (1, 0)
        await front.notice(begun.attempt.reference, 10_000, account="second", rail="other")
        assert await statuses(front, payment_id) == ["succeeded", "closed", "confirmed"]
        back = await choose_again(front, payment_id)
        assert back.code == "payment_ended"


async def choose_again(front: Front, payment_id: str) -> Conflict:
    with pytest.raises(Conflict) as refusal:
        await choose(front, payment_id)
    return refusal.value


@pytest.mark.parametrize("first_paid", [1, 2])
async def test_whoever_pays_in_both_wallets_gets_the_second_back(
    database_url: str, tmp_path: Path, first_paid: int
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        farm = await front.payee("farm")
        payment_id = await choosing(front, split=[{"payee": farm, "basis_points": 3_000}])
        attempts = {
            1: ("rail", "scripted", (await choose(front, payment_id)).attempt.reference),
            2: ("second", "other", (await choose(front, payment_id, channel="other")).attempt.reference),
        }
        for number in (first_paid, 3 - first_paid):
            account, rail, reference = attempts[number]
            assert (await front.notice(reference, 10_000, account=account, rail=rail)).status == 204
        payment = await front.payment(payment_id)
        assert (payment["won_attempt"], payment["amount_captured"]) == (first_paid, 10_000)
        assert payment["attempts"][2 - first_paid]["status"] == "overpaid"
        await front.later(1)
        await front.share_out()
        loser = attempts[3 - first_paid][0]
        assert [order.amount.minor for order in front.asked("refund", loser)] == [10_000]
        assert (await front.balances())[f"payee:{farm}:CNY"] == (3_000, 3_000)
        assert f"channel:{loser}:CNY" not in await front.balances()


async def test_a_refusal_lets_the_payer_choose_again(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        await choose(front, payment_id, pay=Refused("NOTENOUGH", "no money"))
        assert await statuses(front, payment_id) == ["requires_action", "refused"]
        begun = await choose(front, payment_id)
        assert (begun.attempt.number, begun.attempt.status) == (2, "pending")


async def test_a_choice_is_tried_elsewhere_where_the_first_account_did_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "scripted"}) as front:
        payment_id = await choosing(front)
        front.rail.says(pay=Refused("BUSY", retriable=True))
        front.others["second"].says(pay=Pending(PARAMETERS))
        begun = await front.hub.payments.attempt(front.book, payment_id, WALLET, channel="scripted")
        assert (begun.attempt.number, begun.attempt.channel_account) == (2, "second")
        assert await statuses(front, payment_id) == ["requires_action", "failed_over", "pending"]
        again = await front.hub.payments.attempt(front.book, payment_id, WALLET, channel="scripted")
        assert again.attempt.reference == begun.attempt.reference


async def test_nobody_may_choose_for_ever(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        for n in range(MAX_ATTEMPTS):
            await choose(front, payment_id, NewAttempt("jsapi", f'{{"payer":"openid-{n}"}}'))
        with pytest.raises(Conflict) as refusal:
            await choose(front, payment_id, NewAttempt("jsapi", '{"payer":"another"}'))
        assert refusal.value.code == "too_many_attempts"
        last = NewAttempt("jsapi", f'{{"payer":"openid-{MAX_ATTEMPTS - 1}"}}')
        assert (await choose(front, payment_id, last)).attempt.number == MAX_ATTEMPTS


async def test_a_payment_nobody_chose_anything_for_expires(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front, expires_in=600)
        assert await front.later(599) == 0
        assert await front.later(1.1) == 1
        assert await statuses(front, payment_id) == ["expired"]
        assert (await front.payment(payment_id))["next_action"] is None
        assert await front.events("payment.expired") == ["payment.expired"]
        assert await front.later(100_000) == 0


async def test_a_chosen_order_that_runs_out_is_closed_before_the_payment_expires(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front, expires_in=600)
        await choose(front, payment_id)
        front.rail.says(close=SILENCE)
        for _ in range(5):
            await front.later(300)
            front.clock.forward(FIRST_ANSWER_S)
        assert await statuses(front, payment_id) == ["requires_action", "pending"], "it may still be paid"
        front.rail.works("close")
        await front.later(3_600)
        await front.later(FIRST_ANSWER_S + 1)
        assert await statuses(front, payment_id) == ["expired", "closed"]


async def test_no_choice_is_taken_after_the_time_has_run_out(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front, expires_in=600)
        front.clock.forward(600)
        refusal = await choose_again(front, payment_id)
        assert (refusal.code, refusal.facts["status_now"]) == ("payment_ended", "expired")


async def test_the_merchant_closes_a_payment_at_the_cashier_with_all_its_orders(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        empty = await choosing(front)
        closed = await front.post(f"/v1/payments/{empty}/close")
        assert (closed.status, closed.body["status"]) == (200, "canceled")
        payment_id = await choosing(front, "order-2")
        await choose(front, payment_id)
        await choose(front, payment_id, channel="other")
        front.rail.says(close=SILENCE)
        waiting = await front.post(f"/v1/payments/{payment_id}/close")
        assert (waiting.status, waiting.code) == (409, "not_closed_yet")
        front.rail.works("close")
        assert (await front.post(f"/v1/payments/{payment_id}/close")).body["status"] == "canceled"
        assert await statuses(front, payment_id) == ["canceled", "closed", "closed"]
        assert await front.later(100_000) == 0


async def test_a_payment_that_could_not_be_closed_is_not_looked_at_again_and_again_until_it_runs_out(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front, expires_in=3_600)
        await choose(front, payment_id, close=SILENCE)
        assert (await front.post(f"/v1/payments/{payment_id}/close")).code == "not_closed_yet"
        await front.later(FIRST_ANSWER_S + 1)
        assert await front.later(0.1) == 0, "nothing is due that has just been looked at"
        assert (await front.stored(payment_id)).due_at == (await front.stored(payment_id)).expires_at
        front.rail.works("close")


async def test_the_same_order_again_is_the_same_page(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await front.pay(method=CASHIER, key="k")
        again = await front.pay(method=CASHIER, key="k")
        assert (again.status, again.body) == (200, first.body)
        await choose(front, first.body["id"])
        assert (await front.pay(method=CASHIER, key="k")).body["attempt_count"] == 1


async def test_the_merchants_rail_is_the_payers_only_choice(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await choosing(front, method={"type": "cashier", "channel": "other"})
        begun = await choose(front, payment_id, channel="scripted")
        assert begun.attempt.channel == "other"


async def test_a_cashier_without_any_way_to_pay_is_refused(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        refused = await front.pay(method={"type": "cashier", "channel": "nobody"})
        assert (refused.status, refused.code) == (422, "no_such_channel")
        payment_id = await choosing(front)
        with pytest.raises(Rejected) as refusal:
            await choose(front, payment_id, NewAttempt("transfer"), "auto")
        assert refusal.value.code == "no_channel"
        assert (await front.payment(payment_id))["attempt_count"] == 0


async def test_what_was_made_for_one_way_to_pay_has_nothing_to_choose(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending(QR))
        payment_id = (await front.pay()).body["id"]
        assert (await choose_again(front, payment_id)).code == "payment_has_method"


async def test_fixed_shares_are_checked_against_the_fee_of_what_is_chosen(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, fee_bp=100) as front:
        farm = await front.payee("farm")
        too_much = [{"payee": farm, "amount": 10_001}]
        assert (await front.pay(method=CASHIER, split=too_much)).code == "split_exceeds_payment"
        payment_id = await choosing(front, split=[{"payee": farm, "amount": 9_901}])
        with pytest.raises(Rejected) as refusal:
            await choose(front, payment_id)
        assert refusal.value.code == "split_exceeds_payment"
        assert front.asked("pay") == []


async def test_reserved_money_wins_the_payment_and_other_orders_are_closed(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await choosing(front, capture="manual")
        page, held = NewAttempt("page"), Pending(authorized=Money(10_000, "CNY"))
        await choose(front, payment_id, page)
        await choose(front, payment_id, NewAttempt("card", '{"token":"t"}'), "other", pay=held, query=held)
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["won_attempt"], payment["next_action"]) == ("requires_capture", 2, None)
        front.rail.says(query=held)
        await front.later(0.001)
        assert [one["status"] for one in (await front.payment(payment_id))["attempts"]] == ["closed", "authorized"]
        assert len(front.asked("void")) == 1
        captured = await front.post(f"/v1/payments/{payment_id}/capture", {}, key="k")
        assert captured.body["status"] == "succeeded"
        assert front.asked("capture") == []
        assert len(front.asked("capture", "second")) == 1


async def test_a_choice_made_just_before_the_process_died_is_sent_by_the_janitor(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)

        async def dying(*_: Any) -> Any:
            raise RuntimeError("kill -9")

        front.hub.payments._sending.send = dying  # type: ignore[assignment,method-assign]
        with pytest.raises(RuntimeError):
            await choose(front, payment_id)
        del front.hub.payments._sending.send
        front.rail.says(query=NEVER_ARRIVED)
        assert await front.later(FIRST_ANSWER_S) == 1
        attempt = await front.attempt(payment_id)
        assert orjson.loads(attempt.next_action or "") == SHOWN
        front.rail.says(query=confirmed(attempt.reference, 10_000, front.clock.now()))
        await front.later(30)
        assert (await front.payment(payment_id))["status"] == "succeeded"


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_names_its_payment_and_cannot_be_made_up() -> None:
    tokens, payment_id = CashierTokens(b"k" * 32), "pay_" + "1" * 26
    token = tokens.token(7, payment_id)
    assert tokens.read(token) == (7, payment_id)
    assert CashierTokens(b"j" * 32).read(token) is None, "another hub's"
    name, _, mac = token.rpartition("-")
    assert (name, len(mac)) == ("7-" + "1" * 26, 32)
    for strange in ("", "-", name, f"{name}-", f"{name}-{'0' * 32}", token + "0", token[:-1], token.upper() + "é"):
        assert tokens.read(strange) is None
    other = tokens.token(8, payment_id)
    assert other.rpartition("-")[2] != mac
    assert tokens.read(f"8-{'1' * 26}-{mac}") is None


async def test_every_process_of_a_hub_reads_its_tokens(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as other:
        payment_id = await choosing(front)
        token = front.hub.tokens.token(front.book, payment_id)
        assert other.hub.tokens.read(token) == (front.book, payment_id)


# ---- what may have been charged already ------------------------------------------------------------------------------

CARD = NewAttempt("card", '{"token":"tok-1"}')
PAY_PAGE = NewAttempt("page")
TO_APPROVE, APPROVED = (
    Pending({"type": "redirect", "url": "https://rail.example/a"}, "O-1"),
    Pending(channel_ref="O-1", proceed=True),
)


async def charged_perhaps(front: Front, how: str) -> str:
    """Have a payer choose a way in which our own message moves the money, lose its answer, and return the payment."""
    payment_id = await choosing(front)
    if how == "card":
        await choose(front, payment_id, CARD, pay=SILENCE, query=SILENCE)
    else:
        await choose(front, payment_id, PAY_PAGE, pay=TO_APPROVE, query=TO_APPROVE, proceed=SILENCE)
        reference = front.asked("pay")[0].reference
        await front.hub.payments.apply_notice(front.book, "rail", Notice(Kind.PAYMENT, reference, APPROVED, "n-1"))
    front.clock.forward(FIRST_ANSWER_S + 1)
    return payment_id


async def chooses_other(front: Front, payment_id: str, new: NewAttempt = WALLET) -> Begun | str:
    """Have the payer choose the other rail's wallet; return what was begun, or the code of the refusal."""
    front.others["second"].says(pay=Pending(PARAMETERS), query=Pending())
    try:
        return await front.hub.payments.attempt(front.book, payment_id, new, channel="other")
    except Conflict as refusal:
        return refusal.code


NOT_A_NO = {
    "silence": {"query": SILENCE, "close": SILENCE},
    "never heard of it": {"query": NEVER_ARRIVED, "close": NEVER_ARRIVED},
    "under way, and not closed": {"query": Pending(), "close": SILENCE},
    "no such order to close": {"query": Pending(), "close": NEVER_ARRIVED},
    "unclear": {"query": Unknown("?"), "close": Unknown("it is being paid")},
}


@pytest.mark.parametrize("how", ["card", "second call"])
@pytest.mark.parametrize("says", NOT_A_NO.values(), ids=NOT_A_NO)
async def test_no_other_wallet_is_begun_while_a_message_of_ours_may_have_charged_the_payer(
    database_url: str, tmp_path: Path, how: str, says: dict[str, Outcome]
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await charged_perhaps(front, how)
        front.rail.says(**says, pay=SILENCE)
        for _ in range(2):
            assert await chooses_other(front, payment_id) == "attempt_undecided"
        assert front.asked("pay", "second") == []
        assert (await statuses(front, payment_id))[1:] in (["unknown"], ["pending"])
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204, "it was carried out, late"
        assert await chooses_other(front, payment_id) == "payment_ended"
        payment = await front.payment(payment_id)
        assert (payment["status"], payment["amount_captured"], len(payment["attempts"])) == ("succeeded", 10_000, 1)


@pytest.mark.parametrize("how", ["card", "second call"])
@pytest.mark.parametrize(
    "says",
    [{"query": Refused("DECLINED")}, {"query": SILENCE, "close": CLOSED}, {"query": Pending(), "close": CLOSED}],
    ids=["a no to the question", "closed", "under way, and closed"],
)
async def test_another_wallet_is_begun_once_the_first_channel_has_said_no_or_closed(
    database_url: str, tmp_path: Path, how: str, says: dict[str, Outcome]
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await charged_perhaps(front, how)
        front.rail.says(**says)
        begun = await chooses_other(front, payment_id)
        assert isinstance(begun, Begun)
        assert (begun.attempt.number, begun.attempt.channel_account) == (2, "second")
        first = "closed" if "close" in says else "refused"
        assert await statuses(front, payment_id) == ["requires_action", first, "pending"]


@pytest.mark.parametrize("how", ["card", "second call"])
async def test_a_payer_who_has_paid_after_all_is_told_so_instead_of_paying_again(
    database_url: str, tmp_path: Path, how: str
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await charged_perhaps(front, how)
        front.rail.works("query")
        assert await chooses_other(front, payment_id) == "payment_ended"
        assert front.asked("pay", "second") == []
        assert (await front.payment(payment_id))["status"] == "succeeded"


async def test_another_card_waits_for_the_first_ones_channel(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await charged_perhaps(front, "card")
        front.rail.says(close=SILENCE)
        assert await chooses_other(front, payment_id, NewAttempt("card", '{"token":"tok-2"}')) == "attempt_undecided"
        again = await choose(front, payment_id, CARD, pay=Pending(PARAMETERS))
        assert again.attempt.number == 1, "the same may be tried again, under its number"


async def test_a_choice_waits_for_a_first_message_that_is_still_under_way(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await choosing(front)
        gate = front.gate("scripted:pay")
        card = asyncio.ensure_future(front.hub.payments.attempt(front.book, payment_id, CARD, channel="scripted"))
        await gate.arrived.wait()
        assert await chooses_other(front, payment_id) == "request_in_progress"
        assert front.asked("query") == []
        gate.open.set()
        assert (await card).payment.status == "succeeded"
        assert await chooses_other(front, payment_id) == "payment_ended"


async def test_two_who_choose_at_once_are_both_told_to_wait(database_url: str, tmp_path: Path) -> None:
    async with (
        a_front(database_url, tmp_path, accounts=TWO) as front,
        another_process(front, database_url, tmp_path) as second,
    ):
        payment_id = await charged_perhaps(front, "card")
        front.rail.says(close=SILENCE)
        found = await asyncio.gather(chooses_other(front, payment_id), chooses_other(second, payment_id))
        assert found == ["attempt_undecided", "attempt_undecided"]
        front.rail.says(close=CLOSED)
        found = await asyncio.gather(
            chooses_other(front, payment_id), chooses_other(second, payment_id, NewAttempt("h5"))
        )
        assert sum(isinstance(one, Begun) for one in found) in (1, 2)
        assert (await front.attempt(payment_id)).status == "closed"


async def test_a_refused_repetition_of_the_first_call_ends_nothing_while_the_second_is_undecided(
    database_url: str, tmp_path: Path
) -> None:
    """The payer's money is moved by the second call; the first, made again, is refused for a reason of its own."""
    async with a_front(database_url, tmp_path) as front:
        payment_id = await choosing(front)
        await choose(front, payment_id, CARD, pay=APPROVED, query=APPROVED, proceed=SILENCE)
        front.clock.forward(FIRST_ANSWER_S + 1)
        await choose(front, payment_id, CARD, pay=Refused("RATE_LIMIT", "too many calls"))
        assert await statuses(front, payment_id) == ["requires_action", "pending"]


@pytest.mark.parametrize(("language", "words"), [("zh", "暂勿换其他方式付款"), ("en", "before you pay another way")])
async def test_the_page_tells_the_payer_to_wait_in_both_languages(
    database_url: str, tmp_path: Path, language: str, words: str
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payment_id = await charged_perhaps(front, "second call")
        front.rail.says(query=SILENCE, close=SILENCE)
        path = (await front.payment(payment_id))["next_action"]["url"].removeprefix("http://127.0.0.1:1")
        form = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Language": language}
        async with front.client.post(path, data=b"way=other.page", headers=form, allow_redirects=False) as chosen:
            assert (chosen.status, "note=undecided" in chosen.headers["Location"]) == (303, True)
            where = chosen.headers["Location"]
        async with front.client.get(where, headers={"Accept-Language": language}) as page:
            text = " ".join((await page.text()).split())
        assert words in text
        assert front.asked("pay", "second") == []
