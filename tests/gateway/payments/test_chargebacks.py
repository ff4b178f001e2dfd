"""Chargebacks 拒付: each moves its money once, whatever a rail tells of it, how often and in what order."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import cases
from channels.contract import Confirmed, Dispute, DisputeStatus, RefundFee, Refused, Unknown, Unmoved
from gateway.payments.store import find_dispute
from gateway.tables import Chargeback
from kernel.clock import business_date
from kernel.db import acquire
from kernel.money import Money
from ops.cases import decide
from tests.gateway.front import Answer, Front, a_front
from tests.splitting.town import FARM, MILL, PLATFORM, a_town

OPENED, WON, LOST = DisputeStatus.OPENED, DisputeStatus.WON, DisputeStatus.LOST
REF = "dp_1"


def cny(minor: int) -> Money:
    return Money(minor, "CNY")


async def a_dispute(front: Front, payment_id: str, amount: int = 10_000, fee: int = 1_500, **more: Any) -> Dispute:
    """Return a dispute of a payment as its rail has it."""
    attempt = await front.attempt(payment_id)
    now = front.clock.now()
    opened = Dispute(
        REF, attempt.reference, attempt.channel_ref or "", OPENED, cny(amount), cny(fee), "fraudulent", now,
        now + timedelta(days=7),
    )  # fmt: skip
    return replace(opened, **more)


async def told(front: Front, dispute: Dispute | Unmoved | Unknown, ref: str = REF, **more: Any) -> Answer:
    """Have the rail stand so, and tell that something happened to the dispute."""
    front.shop.channel.disputes[ref] = dispute
    return await front.notice(ref, 0, kind="chargeback", **more)


def keeps_fees(front: Front) -> None:
    front.shop.channel.capabilities = replace(front.shop.channel.capabilities, refund_fee=RefundFee.KEPT)


async def stored(front: Front, ref: str = REF) -> Chargeback:
    async with acquire(front.hub.pool) as connection:
        row = await find_dispute(connection, front.book, "rail", ref)
    assert row is not None
    return row


async def open_cases(front: Front) -> list[cases.Case]:
    async with acquire(front.hub.pool) as connection:
        return await cases.store.cases(connection, book=front.book, limit=100)


async def of_chargebacks(front: Front) -> list[str]:
    return await front.events("chargeback.opened", "chargeback.won", "chargeback.lost")


# ---- opened, won, lost -----------------------------------------------------------------------------------------------


async def test_a_chargeback_takes_the_shares_back_and_one_that_is_won_gives_them_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        front = town.front
        keeps_fees(front)
        payment = await town.sell()
        before = await town.standing()
        assert (await told(front, await a_dispute(front, payment))).status == 204
        assert await town.standing() == {"channel:rail": -60 - 1_500, "refund_cost": 60 + 1_500}
        shown = (await front.payment(payment)) | {"split": None}
        assert (shown["amount_charged_back"], shown["status"]) == (10_000, "succeeded")
        front.clock.forward(86_400)
        won = await a_dispute(front, payment, status=WON, ended_at=front.clock.now(), fee_back=cny(1_500))
        won = replace(won, opened_at=front.clock.now() - timedelta(days=1))
        assert (await told(front, won)).status == 204
        assert await town.standing() == before
        assert (await front.payment(payment))["amount_charged_back"] == 0
        assert await of_chargebacks(front) == ["chargeback.opened", "chargeback.won"]
        assert (await front.refund(payment)).status == 201, "what was won can be refunded"


async def test_one_that_is_lost_stays_and_what_payees_had_been_paid_they_owe(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        front = town.front
        keeps_fees(front)
        payment = await town.sell()
        await town.settle(town.today)
        for payee in (PLATFORM, FARM, MILL):
            await town.decide(town.today, payee, paid=True)
        await told(front, await a_dispute(front, payment))
        await told(front, await a_dispute(front, payment, status=LOST))
        owing = {"payee:farm": -3_000, "payee:mill": -6_890, "platform_fee": -50}
        assert owing.items() <= (await town.standing()).items()
        debts = (await front.get("/v1/debts")).body["data"]
        assert {(debt["refund"], debt["chargeback"]) for debt in debts} == {(None, (await stored(front)).id)}
        await town.sell()
        assert not owing.keys() & (await town.standing()).keys(), "the next shares have paid the debts"


async def test_a_part_is_taken_and_refunds_and_chargebacks_never_exceed_the_payment(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        assert (await front.refund(payment, 2_500)).status == 201
        await told(front, await a_dispute(front, payment, 3_000, 0))
        refused = await front.refund(payment, 4_501)
        assert (refused.status, refused.code) == (422, "payment_charged_back")
        assert (refused.body["refundable_minor"], refused.body["charged_back_minor"]) == (4_500, 3_000)
        assert (await front.refund(payment)).body["amount"] == 4_500
        assert (await front.refund(payment)).code == "payment_charged_back"
        assert await front.balances() == {}


async def test_an_inquiry_takes_nothing_and_may_become_a_chargeback(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        dispute = await a_dispute(front, payment)
        before = await front.counts()
        assert (await told(front, Unmoved("warning_needs_response", dispute.reference))).status == 204
        assert (await front.counts(), await of_chargebacks(front)) == (before, [])
        await told(front, dispute)
        assert await of_chargebacks(front) == ["chargeback.opened"]


async def test_a_coupon_of_the_merchants_bears_its_part_of_a_chargeback(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Confirmed("ch-coupon", cny(10_000), front.clock.now(), cny(3_000)))
        payment = await front.paid()
        before = await front.balances()
        half = await a_dispute(front, payment, 5_000, 0)
        await told(front, half)
        assert (await stored(front)).coupon_minor == 1_500
        await told(front, replace(half, status=WON, ended_at=front.clock.now()))
        assert await front.balances() == before
        whole = replace(await a_dispute(front, payment, 10_000, 0), ref="dp_2")
        await told(front, whole, "dp_2")
        assert (await stored(front, "dp_2")).coupon_minor == 3_000
        assert await front.balances() == {}


# ---- told otherwise --------------------------------------------------------------------------------------------------


async def test_the_same_notice_at_the_same_moment_is_booked_once(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        dispute = await a_dispute(front, payment)
        answers = await asyncio.gather(*(told(front, dispute) for _ in range(8)))
        assert {answer.status for answer in answers} == {204}
        assert await of_chargebacks(front) == ["chargeback.opened"]
        won = replace(dispute, status=WON, ended_at=front.clock.now())
        assert {a.status for a in await asyncio.gather(*(told(front, won) for _ in range(8)))} == {204}
        assert await of_chargebacks(front) == ["chargeback.opened", "chargeback.won"]


async def test_one_that_is_heard_of_when_it_is_won_is_booked_both_ways_and_what_comes_late_changes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        before = await front.balances()
        dispute = await a_dispute(front, payment, fee=0)
        await told(front, replace(dispute, status=WON, ended_at=front.clock.now()))
        assert await front.balances() == before
        assert await of_chargebacks(front) == ["chargeback.opened", "chargeback.won"]
        assert (await told(front, dispute)).status == 204
        assert (await stored(front)).status == "won"


async def test_what_cannot_be_booked_as_it_is_told_books_nothing_and_is_a_case_until_it_can(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        dispute = await a_dispute(front, payment)
        before = await front.counts()
        for wrong in (
            replace(dispute, amount=cny(10_001)),
            replace(dispute, amount=Money(1_000, "USD"), fee=Money(100, "USD")),
            replace(dispute, fee=Money(100, "USD")),
            replace(dispute, payment_channel_ref="another"),
            replace(dispute, opened_at=front.clock.now() + timedelta(days=3)),
        ):
            assert (await told(front, wrong)).status == 400
            assert await front.counts() == before
            [case] = await open_cases(front)
            assert case.kind == "chargeback_not_booked"
        assert (await told(front, dispute)).status == 204
        assert await open_cases(front) == []
        for wrong in (
            replace(dispute, amount=cny(9_999)),
            replace(dispute, fee=cny(1)),
            replace(dispute, status=WON, ended_at=front.clock.now(), returned=cny(9_999)),
            replace(dispute, status=WON, ended_at=front.clock.now(), fee_back=cny(1_501)),
        ):
            refused = await told(front, wrong)
            assert (refused.status, refused.said.partition(":")[0]) == (400, "chargeback_not_booked")
            assert ((await stored(front)).status, len(await open_cases(front))) == ("opened", 1)
        await told(front, replace(dispute, status=WON, ended_at=front.clock.now()))
        assert (await told(front, replace(dispute, status=LOST))).status == 400
        assert ((await stored(front)).status, len(await open_cases(front))) == ("won", 1)


async def test_a_dispute_of_nobodys_payment_here_is_acknowledged_and_one_the_rail_does_not_tell_of_is_sent_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "scripted"}) as front:
        payment = await front.paid()
        dispute = await a_dispute(front, payment)
        before = await front.counts()
        assert (await told(front, replace(dispute, reference=None))).status == 204
        assert (await told(front, replace(dispute, reference="SO-10077"))).status == 204
        assert (await told(front, Unknown("no such dispute", not_found=True))).status == 204
        assert (await told(front, Unknown("no answer"))).status == 503
        assert (await told(front, replace(dispute, ref="dp_2"))).status == 503
        # The payment is the account `rail`'s; its notices may come to another's address and say nothing there.
        front.shop.rails["second"].disputes[REF] = dispute
        elsewhere = await front.notice(REF, 0, kind="chargeback", account="second")
        assert elsewhere.status == 400
        assert (await front.counts(), await open_cases(front)) == (before, [])


async def test_an_open_chargeback_is_asked_about_so_that_no_end_is_lost(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        dispute = await a_dispute(front, payment)
        await told(front, dispute)
        front.shop.channel.disputes[REF] = Unknown("no answer")
        assert await front.later(6 * 3_600) == 1
        assert (await stored(front)).status == "opened"
        front.shop.channel.disputes[REF] = replace(dispute, status=LOST)
        assert await front.later(3_600) == 0, "not before it is time again"
        due, asked = await stored(front), len(front.asked("dispute"))
        assert await front.later(6 * 3_600) == 1
        await front.hub.payments.disputing.follow_up(due)
        assert len(front.asked("dispute")) == asked + 1, "a second worker that had seen it due asks nothing"
        assert (await stored(front)).status == "lost"
        assert await front.later(7 * 86_400) == 0


# ---- below the payment -----------------------------------------------------------------------------------------------


async def test_what_refunds_had_given_back_before_is_in_suspense_and_a_person_decides(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        assert (await front.refund(payment, 8_000)).status == 201
        await told(front, await a_dispute(front, payment, 10_000, 0))
        assert await front.balances() == {"channel:rail:CNY": (-8_000, -8_000), "suspense:CNY": (-8_000, -8_000)}
        [case] = await open_cases(front)
        assert (case.kind, case.amount_minor, (await stored(front)).covered_minor) == (
            "chargeback_beyond",
            8_000,
            2_000,
        )
        await told(front, await a_dispute(front, payment, 10_000, 0, status=WON, ended_at=front.clock.now()))
        assert await front.balances() == {"channel:rail:CNY": (1_988, 1_988), "merchant:CNY": (1_988, 1_988)}
        assert await open_cases(front) == []


async def test_a_refund_that_fails_after_the_chargeback_can_bear_it_by_decision(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        front = town.front
        payment = await town.sell()
        front.rail.says(refund=Unknown("no answer"), refund_query=Unknown("no answer"))
        refund = (await front.refund(payment)).body["id"]
        await told(front, await a_dispute(front, payment, fee=0))
        [case] = await open_cases(front)
        assert (case.kind, case.amount_minor) == ("chargeback_beyond", 10_000)
        front.rail.says(refund_query=Refused("charge_disputed", closed=True))
        await front.later(60)
        assert (await front.get(f"/v1/refunds/{refund}")).body["status"] == "failed"
        await decide(front.hub, case.id, "charge", by="Wang Fang", note="its refund has failed")
        assert await town.standing() == {}
        assert (await stored(front)).covered_minor == 10_000
        await told(front, await a_dispute(front, payment, fee=0, status=WON, ended_at=front.clock.now()))
        assert (await town.standing())["payee:farm"] == 3_000


async def test_a_merchant_reads_and_lists_its_chargebacks(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await front.paid()
        day: date = business_date(front.clock.now())
        dispute = await a_dispute(front, payment, 4_000, 0)
        await told(front, dispute)
        row = (await front.get(f"/v1/chargebacks/{(await stored(front)).id}")).body
        assert (row["payment"], row["amount"], row["amount_borne"]) == (payment, 4_000, 4_000)
        assert (row["business_date"], row["ended_date"], row["recorded_by_hand"]) == (day.isoformat(), None, False)
        listed = (await front.get(f"/v1/chargebacks?payment={payment}&status=opened")).body
        assert [one["id"] for one in listed["data"]] == [row["id"]]
        assert (await front.get(f"/v1/chargebacks?starting_after={row['id']}")).body["data"] == []
        assert (await front.get("/v1/chargebacks?status=won")).body["data"] == []
        assert (await front.get("/v1/chargebacks/cbk_" + "0" * 26)).code == "no_such_chargeback"
