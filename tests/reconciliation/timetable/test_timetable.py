"""A worker that follows the timetable on a real database: by itself, after an outage, beside failures, and by hand."""

import asyncio
from datetime import date, timedelta
from pathlib import Path

import pytest

from gateway.accounts.ready import ChannelAccounts
from kernel.db import acquire
from kernel.errors import NotFound
from reconciliation.daily import DailyProof, Deposit
from reconciliation.proof import Certificate
from reconciliation.timetable import Row, Step, Timetable, latest, store
from splitting.settlement.calendar import BankHours
from tests.reconciliation.proof.test_proving import Days, first_day
from tests.splitting.play_bank import a_bank
from tests.splitting.town import BANK, DAY


async def rounds(timetable: Timetable) -> None:
    """Have rounds done until nothing more is due."""
    for _ in range(40):
        done = await timetable.once()
        while timetable.busy:
            await asyncio.sleep(0.01)
            done = 1
        if not done:
            return
    raise AssertionError("there is always something due")


async def standing(timetable: Timetable) -> dict[Step, Row]:
    return {row.scope.step: row for row in await timetable.rows()}


def quiet_days(days: Days, first: date, number: int) -> None:
    """Have the bank state days on which nothing moves, after the first day's."""
    for n in range(number):
        days.states(
            first + n * DAY, pool=("0.50", "0.50", []), farm=("30.00", "30.00", []), mill=("68.90", "68.90", []),
            platform=("0.00", "0.00", []),
        )  # fmt: skip


async def newest(days: Days) -> list[tuple[date, bool]]:
    found: list[Certificate] = await days.town.front.hub.proving().newest(20)
    return [(one.business_date, one.holds) for one in reversed(found)]


async def test_days_are_done_by_themselves_in_their_order_and_after_an_outage(
    database_url: str, tmp_path: Path
) -> None:
    async with first_day(database_url, tmp_path) as days:
        hub, clock, day = days.town.front.hub, days.town.front.clock, days.town.today
        hours = BankHours(every_day=True)
        await hub.payouts.set_bank(days.town.front.book, BANK, hours, release_above_minor=None, only_deposited=False)
        await hub.payouts.set_schedule(days.town.front.book, BANK, payee_id=None, every="D+1", on=None, minimum_minor=0)
        timetable = hub.timetable()
        await rounds(timetable)  # 16:30 of the first day: it is taken on, and nothing is due
        taken_on = await standing(timetable)
        assert set(taken_on) == set(Step) - {Step.SETTLEMENT_TODAY}
        assert {row.done_until for row in taken_on.values()} == {day - DAY}
        clock.forward(18.75 * 3_600)  # 11:15 of the next day
        await rounds(timetable)
        assert {
            step: (row.done_until, row.tries) for step, row in (await standing(timetable)).items()
        } == dict.fromkeys(taken_on, (day, 0))
        assert await newest(days) == [(day, True)]

        await days.town.sell()

        # Three days without a worker, of which the bank has not stated the second yet.
        quiet_days(days, day + DAY, 1)
        clock.forward(3 * 86_400)
        await rounds(hub.timetable())  # another process
        found = await standing(timetable)
        assert found[Step.STATEMENTS].next_date == day + 3 * DAY, "it goes on without a date when the next one is due"
        assert (found[Step.STATEMENTS].tries, found[Step.STATEMENTS].failed_code) == (1, "statement_missing")
        assert found[Step.RECONCILIATION].done_until == day + 3 * DAY, "the channel is none of the bank's"
        assert found[Step.PROOF].failed_code == "proof_does_not_hold"
        assert await newest(days) == [
            (day, True), (day + DAY, True), (day + 2 * DAY, False), (day + 3 * DAY, False),
        ]  # fmt: skip
        without = {(one.scope.step, one.day, one.code) for one in await timetable.missed()}
        assert without >= {
            (Step.STATEMENTS, day + 2 * DAY, "statement_missing"),
            (Step.PROOF, day + 2 * DAY, "proof_does_not_hold"),
        }
        assert {missed for _, missed, _ in without} == {day + 2 * DAY}
        assert latest(list(found.values()), await timetable.missed(), clock.now())[Step.STATEMENTS] > 86_400
        await rounds(timetable)
        assert (await standing(timetable))[Step.STATEMENTS].tries == 1, "it is left alone for a while"
        quiet_days(days, day + 2 * DAY, 2)
        for _ in range(3):  # dates that were missed are tried again each hour, one after the other
            clock.forward(3_600)
            await rounds(timetable)
        found = await standing(timetable)
        assert {row.done_until for row in found.values()} == {day + 3 * DAY}
        assert {row.tries for row in found.values()} == {0}
        assert await timetable.missed() == []
        assert dict(await newest(days)) == {day + n * DAY: True for n in range(4)}
        assert (await days.town.batch(day + DAY)).status == "sent", "what was sold then was settled when its turn came"
        await days.town.front.assert_books_hold()


async def test_a_step_is_done_by_hand_and_the_timetable_goes_on_after_it(database_url: str, tmp_path: Path) -> None:
    async with first_day(database_url, tmp_path) as days:
        timetable, day = days.town.front.hub.timetable(), days.town.today
        await rounds(timetable)
        days.later()
        (ran,) = await timetable.run_by_hand(Step.STATEMENTS, day)
        assert (ran.code, (await standing(timetable))[Step.STATEMENTS].done_until) == (None, day)
        (again,) = await timetable.run_by_hand(Step.STATEMENTS, day - 9 * DAY)
        assert again.code == "statement_missing"
        row = (await standing(timetable))[Step.STATEMENTS]
        assert (row.done_until, row.tries) == (day, 0), "it was not that date's turn"
        with pytest.raises(NotFound, match="nobody"):
            await timetable.run_by_hand(Step.STATEMENTS, day, book=99)


async def test_a_date_that_can_never_be_done_is_forgotten_by_a_person(database_url: str, tmp_path: Path) -> None:
    async with first_day(database_url, tmp_path) as days:
        timetable, day = days.town.front.hub.timetable(), days.town.today
        await rounds(timetable)
        days.town.front.clock.forward(3 * 86_400)
        await rounds(timetable)
        missed = [one for one in await timetable.missed() if one.scope.step is Step.STATEMENTS]
        assert [one.day for one in missed] == [day + DAY]
        with pytest.raises(NotFound, match="has missed no"):
            await timetable.forget(Step.STATEMENTS, day)
        with pytest.raises(NotFound, match="has missed no"):
            await timetable.forget(Step.STATEMENTS, day + DAY, book=99)
        assert await timetable.forget(Step.STATEMENTS, day + DAY) == [missed[0].scope]
        assert Step.STATEMENTS not in {one.scope.step for one in await timetable.missed()}
        (again,) = await timetable.run_by_hand(Step.STATEMENTS, day + DAY)
        assert again.code == "statement_missing"
        assert Step.STATEMENTS not in {one.scope.step for one in await timetable.missed()}, "a look back misses nothing"


async def test_a_deposit_is_looked_for_at_every_bank_of_a_merchant(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[str, list[str], str]] = []

    async def channel(_: DailyProof, book: int, account: str, day: date, *, currency: str, deposit: Deposit) -> None:
        looked.append((account, sorted(deposit.banks), deposit.end_to_end_id))

    async def deposits(_: ChannelAccounts, book: int) -> dict[str, list[str]]:
        return {"WX": ["rail"]}

    monkeypatch.setattr(DailyProof, "channel", channel)
    monkeypatch.setattr(ChannelAccounts, "deposits", deposits)
    async with first_day(database_url, tmp_path) as days:
        timetable, day = days.town.front.hub.timetable(), days.town.today
        await rounds(timetable)
        for _ in range(2):
            days.later()
            await timetable.run_by_hand(Step.RECONCILIATION, day)
            async with a_bank(days.town, bank="swift"):
                pass
    named = f"WX{day:%Y%m%d}"
    assert looked == [("rail", [BANK], named), ("rail", [BANK, "swift"], named)]


async def test_one_worker_leads_and_another_does_when_it_is_gone(database_url: str, tmp_path: Path) -> None:
    async with first_day(database_url, tmp_path) as days:
        hub = days.town.front.hub
        timetable = hub.timetable()
        async with acquire(hub.pool) as other:
            assert await store.lead(other)
            async with timetable._leading() as connection:
                assert connection is None
            await store.lead_no_more(other)
        async with timetable._leading() as connection:
            assert connection is not None
            async with acquire(hub.pool) as other:
                assert not await store.lead(other)
        async with timetable._leading() as connection:
            assert connection is not None
        leading = asyncio.ensure_future(timetable.run())
        days.later()
        while not [row for row in await timetable.rows() if row.done_until == days.town.today]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        leading.cancel()
        await asyncio.wait([leading], timeout=timedelta(seconds=10).total_seconds())
