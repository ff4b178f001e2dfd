"""The daily proof knows every attempt: what was paid twice, captured in part, and given back at the second try."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from channels.contract import BillLine, Kind, Pending, Refused
from kernel.clock import business_date
from kernel.money import Money
from tests.gateway.front import Front, a_front

BUSY = Refused("SYSTEM_BUSY", retriable=True)


def line(front: Front, row: int, kind: Kind, order: Any, minor: int, fee: int, status: str = "success") -> BillLine:
    payment = order.payment_reference if kind is Kind.REFUND else order.reference
    return BillLine(
        kind, order.reference, payment, f"ch-{order.reference}", Money(minor, "CNY"), Money(fee, "CNY"), status,
        front.clock.now(), row,
    )  # fmt: skip


@pytest.fixture
def day() -> date:
    return date(2100, 6, 1)


async def test_a_bill_of_attempts_that_won_lost_and_went_back_agrees_with_the_books(
    database_url: str, tmp_path: Path, day: date
) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        assert business_date(front.clock.now()) == day
        front.rail.says(pay=BUSY)
        await front.paid("twice")
        twice = front.asked("pay")[0]
        await front.notice(twice.reference, 10_000)
        front.rail.says(refund=Refused("NOT_ENOUGH"))
        await front.later(1)
        refund = (await front.get("/v1/refunds")).body["data"][0]
        front.rail.works("refund")
        await front.post(f"/v1/refunds/{refund['id']}/retry", key="r")
        front.rail.says(pay=Pending(authorized=Money(10_000, "CNY")))
        held = (await front.pay("part", method={"type": "page", "channel": "scripted"}, capture="manual")).body["id"]
        part = front.asked("pay")[-1]
        await front.post(f"/v1/payments/{held}/capture", {"amount": 4_000}, key="c")
        failed, again = front.asked("refund")
        lines = [
            line(front, 1, Kind.PAYMENT, twice, 10_000, 60),
            line(front, 2, Kind.REFUND, failed, 10_000, -60, "failed"),
            line(front, 3, Kind.REFUND, again, 10_000, -60),
            line(front, 4, Kind.PAYMENT, part, 4_000, 24),
        ]
        front.shop.rails["rail"].bill = lines
        front.shop.rails["second"].bill = [line(front, 1, Kind.PAYMENT, front.asked("pay", "second")[0], 10_000, 60)]
        proof = front.hub.daily_proof()
        for account, matched in (("rail", 4), ("second", 1)):
            run = await proof.channel(front.book, account, day, currency="CNY")
            assert run.discrepancies == ()
            assert sum(run.matched.values()) == matched

        front.shop.rails["rail"].bill = lines[:2] + lines[3:]  # what went back at the second try is not on the bill
        run = await proof.channel(front.book, "rail", day, currency="CNY")
        assert [found.key.reference for found in run.discrepancies] == [again.reference]
