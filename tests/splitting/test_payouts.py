"""Payees are paid by their schedules: nobody twice, nobody not at all, whoever was asleep meanwhile."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from kernel.db import acquire
from kernel.errors import Broken, Conflict, NotFound, Rejected
from splitting import store
from splitting.payees import SuspendPayee
from splitting.settlement.calendar import BankHours
from splitting.settlement.refused import GiveBack
from splitting.tables import Settlement
from tests.splitting.desk import AHEAD, Desk, a_desk
from tests.splitting.town import BANK, FARM, PLATFORM


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(database_url, tmp_path) as desk:
        yield desk


async def test_a_weekend_is_paid_on_monday_and_nothing_is_paid_twice(desk: Desk) -> None:
    desk.at("11-26")  # a Thursday
    await desk.pay(None, "T+1")
    await desk.town.sell()
    assert await desk.run() == {}, "the day is not over"
    desk.at("11-27")
    assert await desk.run() == {"11-26": {"farm": 3_000, "mill": 6_890, "platform": 50}}
    await desk.town.sell()
    for day in ("11-28", "11-29"):
        desk.at(day)
        await desk.town.sell()
        assert await desk.run() == {}
    desk.at("11-30", "00:00")
    assert await desk.run() == {"11-29": {"farm": 9_000, "mill": 20_670, "platform": 150}}
    assert await desk.run() == {}
    assert len(desk.mailbox.sent) == 2


async def test_whoever_differs_is_paid_when_its_own_schedule_says(desk: Desk) -> None:
    desk.at("11-24")  # a Tuesday
    await desk.pay(None, "T+1")
    await desk.pay(FARM, "weekly", 1)
    await desk.pay(PLATFORM, "manual")
    await desk.town.sell()
    desk.at("11-25")
    assert await desk.run() == {"11-24": {"mill": 6_890}}
    desk.at("11-30")
    assert await desk.run() == {"11-29": {"farm": 3_000}}
    assert (await desk.town.standing())["platform_fee"] == 50


async def test_what_was_missed_is_made_up_date_by_date(desk: Desk) -> None:
    desk.at("11-23")
    await desk.pay(None, "T+1")
    for day in ("11-23", "11-24", "11-25"):
        desk.at(day)
        await desk.town.sell()
    desk.at("11-26", "03:00")
    each = {"farm": 3_000, "mill": 6_890, "platform": 50}
    assert await desk.run() == {"11-23": each, "11-24": each, "11-25": each}
    async with acquire(desk.town.front.hub.pool) as connection:
        batches = await store.settlements(connection, desk.town.front.book)
    assert {batch.execution_date for batch in batches} == {date(2026, 11, 26) + AHEAD}, "no bank pays in the past"


async def test_a_batch_that_cannot_be_sent_holds_no_later_one_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.at("11-23")
    await desk.pay(None, "T+1")
    for day in ("11-23", "11-24"):
        desk.at(day)
        await desk.town.sell()
    desk.at("11-25", "03:00")
    send = desk.mailbox.send

    async def raises(settlement: Settlement) -> Settlement:
        if settlement.business_date == date(2026, 11, 23) + AHEAD:
            raise Broken("bad_instruction", "of this batch alone")
        return await send(settlement)

    with monkeypatch.context() as patched:
        patched.setattr(desk.mailbox, "send", raises)
        with pytest.raises(Broken, match="bad_instruction"):
            await desk.run()
        async with acquire(desk.town.front.hub.pool) as connection:
            batches = await store.settlements(connection, desk.town.front.book)
        assert sorted(batch.status for batch in batches) == ["created", "sent"]
    assert len(await desk.run()) == 1, "the first is sent as soon as it can be"


async def test_what_is_too_little_is_carried_over(desk: Desk) -> None:
    desk.at("11-23")
    await desk.pay(None, "threshold", minimum=6_000)
    for day, found in (("11-24", {"mill": 6_890}), ("11-25", {"farm": 6_000, "mill": 6_890})):
        await desk.town.sell()
        desk.at(day)
        (paid,) = (await desk.run()).values()
        assert paid == found
    assert (await desk.town.standing())["platform_fee"] == 100


async def test_a_refund_while_the_batch_is_made_leaves_too_little_and_it_is_carried_over(desk: Desk) -> None:
    """The minimum holds of what is paid, not of what was read."""
    desk.at("11-23")
    await desk.pay(None, "T+1", minimum=3_000)
    payment = await desk.town.sell()
    desk.at("11-24")
    await desk.town.front.refund(payment, 100)
    assert await desk.run() == {"11-23": {"mill": 6_821}}


async def test_what_is_paid_on_its_own_day_has_a_batch_besides_the_dates(desk: Desk) -> None:
    desk.at("11-24", "09:00")
    await desk.pay(None, "D+1")
    await desk.pay(FARM, "T+0")
    await desk.town.sell()
    desk.at("11-24", "15:00")
    assert await desk.run() == {}
    desk.at("11-24", "16:05")
    assert await desk.run() == {"11-24 early": {"farm": 3_000}}
    await desk.town.sell()  # after the batch: it goes with the next
    desk.at("11-25", "00:10")
    assert await desk.run() == {"11-24": {"mill": 13_780, "platform": 100}}
    desk.at("11-25", "16:05")
    assert await desk.run() == {"11-25 early": {"farm": 3_000}}
    await desk.town.front.assert_books_hold()


async def test_a_payee_may_be_moved_from_its_own_day_to_the_next_on_that_very_day(desk: Desk) -> None:
    desk.at("11-24", "16:05")
    await desk.pay(None, "T+0")
    await desk.town.sell()
    assert list(await desk.run()) == ["11-24 early"]
    await desk.pay(None, "T+1")
    await desk.town.sell()
    desk.at("11-25")
    assert await desk.run() == {"11-24": {"farm": 3_000, "mill": 6_890, "platform": 50}}
    await desk.town.front.assert_books_hold()


async def test_a_bank_that_works_every_day_and_late_carries_out_what_it_has_by_then(desk: Desk) -> None:
    desk.at("11-28", "09:00")  # a Saturday
    await desk.payouts.set_bank(
        desk.town.front.book,
        BANK,
        BankHours(time(23, 0), every_day=True),
        release_above_minor=None,
        only_deposited=False,
    )
    await desk.pay(None, "D+1")
    await desk.town.sell()
    desk.at("11-29", "22:59")
    assert list(await desk.run()) == ["11-28"]
    await desk.town.sell()
    desk.at("11-30", "23:01")
    assert list(await desk.run()) == ["11-29"]
    async with acquire(desk.town.front.hub.pool) as connection:
        batches = await store.settlements(connection, desk.town.front.book)
    assert [(batch.execution_date - AHEAD).day for batch in batches] == [1, 29]


async def test_a_large_batch_waits_until_it_is_released(desk: Desk) -> None:
    book = desk.town.front.book
    await desk.payouts.set_bank(book, BANK, BankHours(), release_above_minor=9_939, only_deposited=False)
    desk.at("11-24")
    await desk.pay(None, "T+1")
    await desk.town.sell()
    desk.at("11-25")
    (batch,) = await desk.payouts.settle_due(book, BANK, "CNY")
    assert (batch.status, desk.mailbox.sent) == ("awaiting_release", [])
    async with acquire(desk.town.front.hub.pool) as connection:
        assert [one async for one in store.unsent(connection)] == [], "the worker leaves it alone"
    for _ in range(2):
        released = await desk.payouts.release(book, batch.id)
        assert released.status == "sent"
    assert desk.mailbox.sent == [batch.id]
    told = await desk.town.front.events("settlement.created", "settlement.released", "settlement.sent")
    assert told == ["settlement.created", "settlement.released", "settlement.sent"]
    with pytest.raises(NotFound):
        await desk.payouts.release(book, "stl_none")
    await desk.town.front.assert_books_hold()


async def test_a_batch_that_waits_is_cancelled_and_never_sent_and_its_payees_are_owed_again(desk: Desk) -> None:
    town, book = desk.town, desk.town.front.book
    await desk.payouts.set_bank(book, BANK, BankHours(), release_above_minor=9_939, only_deposited=False)
    desk.at("11-24")
    await desk.pay(None, "T+1")
    await town.sell()
    desk.at("11-25")
    (batch,) = await desk.payouts.settle_due(book, BANK, "CNY")
    await town.put(SuspendPayee(book, FARM, "operator"))
    for _ in range(2):
        assert (await desk.payouts.cancel(book, batch.id)).status == "cancelled"
    assert (await desk.payouts.release(book, batch.id)).status == "cancelled", "it is over"
    async with acquire(town.front.hub.pool) as connection:
        assert [one.id async for one in store.unsent(connection)] == [batch.id], "the worker gives it back"
        lines = await store.instructions(connection, book, batch.id)
    for line in lines:
        assert (await town.put(GiveBack(book, line.id))).reason == "the batch was cancelled"
    await desk.payouts.set_bank(book, BANK, BankHours(), release_above_minor=None, only_deposited=False)
    desk.at("11-26")
    assert await desk.run() == {"11-25": {"mill": 6_890, "platform": 50}}
    (paid,) = desk.mailbox.sent
    with pytest.raises(Conflict):
        await desk.payouts.cancel(book, paid)
    await town.front.assert_books_hold()


async def test_a_schedule_is_of_a_bank_and_a_payee_that_are_there(desk: Desk) -> None:
    for bank, payee, code in (
        ("nowhere", None, "no_such_bank"),
        (BANK, "pye_" + "9" * 26, "no_such_payee"),
    ):
        with pytest.raises(NotFound) as refusal:
            await desk.payouts.set_schedule(
                desk.town.front.book, bank, payee_id=payee, every="T+1", on=None, minimum_minor=0
            )
        assert refusal.value.code == code
    with pytest.raises(Rejected) as wrong:
        await desk.pay(None, "weekly")
    assert wrong.value.code == "schedule_wrong"
    for _ in range(2):
        await desk.pay(FARM, "T+1")
    assert await desk.town.front.events("payout_schedule.set") == ["payout_schedule.set"]


async def test_a_year_that_nobody_knows_stops_what_needs_it_and_says_so(desk: Desk) -> None:
    town = desk.town
    last = datetime(2100, 12, 30, 4, tzinfo=UTC)  # a Thursday
    town.front.clock.forward((last - town.front.clock.now()).total_seconds())
    desk = Desk(town, years=[2100])
    await desk.pay(None, "T+1")
    await town.sell()
    town.front.clock.forward(86_400)
    await town.sell()
    assert len(await desk.run()) == 1
    town.front.clock.forward(12 * 3_600)
    for _ in range(2):
        with pytest.raises(Rejected, match="2101"):
            await desk.payouts.settle_due(town.front.book, BANK, "CNY")
    assert len(desk.mailbox.sent) == 1, "that of the date before, which is due in the year that is known"
