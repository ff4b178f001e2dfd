"""One batch for each bank, date and currency: what is owed is paid once, what a bank refuses is owed again."""

import asyncio
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitting
from kernel.db import acquire
from kernel.errors import Broken, NotFound
from splitting import ApplyDeposit, DecideInstruction, MarkSent, Payee
from splitting.settlement.ids import INSTRUCTION_ID
from splitting.settlement.instructions import instruction_id, settlement_id
from splitting.store import Owed
from tests.splitting.in_memory import Ledger
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town, a_town


async def test_a_days_batch_pays_everyone_what_the_day_owes_them(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.sell()
        batch = await town.settle(town.today)
        assert (batch.status, batch.total_minor, batch.instruction_count) == ("created", 19_880, 3)
        lines = await town.lines(town.today)
        amounts = {payee: line.amount_minor for payee, line in lines.items()}
        assert amounts == {PLATFORM: 100, FARM: 6_000, MILL: 13_780}
        assert await town.standing() == {"channel:rail": 19_880, "in_transit:citybank": 19_880}
        shown = (await town.front.get(f"/v1/settlements/{batch.id}")).body
        assert (shown["total_minor"], len(shown["instructions"])) == (19_880, 3)
        assert {line["account"] for line in shown["instructions"]} == {"…0000", "…1111", "…2222"}
        assert [row["id"] for row in (await town.front.get("/v1/settlements")).body["data"]] == [batch.id]


async def test_a_date_is_settled_once_however_often_it_is_asked_for(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        owed = await town.read(town.today)
        first = await town.settle(town.today)
        await town.sell()  # belongs to the day, comes after its batch
        again = await asyncio.gather(*(town.settle(town.today, owed) for _ in range(10)))
        assert set(again) == {first}
        assert (await town.settle(town.today)).total_minor == first.total_minor
        assert await town.front.events("settlement.created") == ["settlement.created"]
        tomorrow = await town.settle(town.today + timedelta(days=1))
        assert tomorrow.total_minor == first.total_minor, "what came late goes with the next date"


async def test_ten_who_settle_a_date_at_once_make_one_batch(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        owed = await town.read(town.today)
        made = await asyncio.gather(*(town.settle(town.today, owed) for _ in range(10)))
        assert len(set(made)) == 1
        assert (await town.standing())["in_transit:citybank"] == 9_940


async def test_a_refund_after_the_cut_off_is_never_paid_out(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        payment_id = await town.sell()
        town.front.clock.forward(86_400)
        await town.front.refund(payment_id, 1_000)
        assert (await town.owed(town.today))[FARM] == 2_700, "the day itself owed 30.00 of it"
        await town.settle(town.today)
        assert (await town.lines(town.today))[FARM].amount_minor == 2_700
        assert (await town.standing())["in_transit:citybank"] == 8_946


async def test_what_was_sold_after_the_cut_off_waits_for_its_own_date(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        town.front.clock.forward(86_400)
        await town.sell()
        await town.settle(town.today)
        assert (await town.lines(town.today))[FARM].amount_minor == 3_000
        assert (await town.owed(town.today + timedelta(days=1)))[FARM] == 3_000


async def test_a_payee_who_was_paid_and_then_refunded_owes_it_from_the_next_sale(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        payment_id = await town.sell()
        await town.settle(town.today)
        for payee in (PLATFORM, FARM, MILL):
            await town.decide(town.today, payee, paid=True)
        town.front.clock.forward(86_400)
        await town.front.refund(payment_id, 5_000)
        tomorrow = town.today + timedelta(days=1)
        assert (await town.standing())["payee:farm"] == -1_500
        assert await town.asked(tomorrow) is None, "there is nothing to pay, and no batch"
        town.front.clock.forward(86_400)
        await town.sell()
        await town.settle(town.today + timedelta(days=2))
        assert (await town.lines(town.today + timedelta(days=2)))[FARM].amount_minor == 1_500


async def test_a_paid_line_reaches_the_sub_account_once_and_the_last_one_ends_the_batch(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        await town.put(MarkSent(town.front.book, town.id(town.today)))
        for _ in range(3):  # banks repeat their reports
            line = await town.decide(town.today, FARM, paid=True)
            assert (line.status, line.bank_date) == ("paid", town.today + timedelta(days=1))
        batch = await town.batch(town.today)
        assert (batch.status, batch.open_count, batch.paid_minor) == ("sent", 2, 3_000)
        await town.decide(town.today, MILL, paid=True)
        await town.decide(town.today, PLATFORM, paid=True)
        batch = await town.batch(town.today)
        assert (batch.status, batch.open_count, batch.paid_minor) == ("finished", 0, 9_940)
        assert await town.standing() == {
            "channel:rail": 9_940,
            "sub_account:farm": 3_000,
            "sub_account:mill": 6_890,
            "sub_account:platform": 50,
        }
        told = await town.front.events("settlement.line_paid", "settlement.finished")
        assert told == ["settlement.line_paid"] * 3 + ["settlement.finished"]
        async with acquire(town.front.hub.pool) as connection:
            totals = await splitting.store.payee_totals(connection, town.front.book, "CNY")
        assert {total.payee_id: total.paid_minor for total in totals} == {PLATFORM: 50, FARM: 3_000, MILL: 6_890}


async def test_two_lines_decided_at_once_are_both_counted(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        await asyncio.gather(
            *(town.decide(town.today, p, paid=p != MILL) for p in (FARM, MILL, PLATFORM) for _ in "12")
        )
        batch = await town.batch(town.today)
        assert (batch.status, batch.open_count, batch.paid_minor) == ("finished", 0, 3_050)


async def test_a_refused_line_is_owed_again_and_paid_with_the_next_date(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        for _ in range(2):
            line = await town.decide(town.today, FARM, paid=False)
            assert (line.status, line.reason) == ("refused", "AC04")
        for _ in range(2):
            assert (await town.decide(town.today, PLATFORM, paid=False)).status == "refused"
        await town.decide(town.today, MILL, paid=True)
        batch = await town.batch(town.today)
        assert (batch.status, batch.paid_minor, batch.total_minor) == ("finished", 6_890, 9_940)
        assert await town.standing() == {
            "channel:rail": 9_940,
            "payee:farm": 3_000,
            "platform_fee": 50,
            "sub_account:mill": 6_890,
        }
        tomorrow = town.today + timedelta(days=1)
        await town.settle(tomorrow)
        lines = await town.lines(tomorrow)
        assert {payee: line.amount_minor for payee, line in lines.items()} == {FARM: 3_000, PLATFORM: 50}
        await town.decide(tomorrow, FARM, paid=True)
        assert (await town.standing())["sub_account:farm"] == 3_000


@pytest.mark.parametrize("first", [True, False])
async def test_a_bank_that_contradicts_itself_changes_nothing(database_url: str, tmp_path: Path, first: bool) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        await town.decide(town.today, FARM, paid=first)
        before = await town.standing(), await town.batch(town.today)
        line = await town.decide(town.today, FARM, paid=not first)
        assert line.status == ("paid" if first else "refused")
        assert (await town.standing(), await town.batch(town.today)) == before
        assert await town.front.events("case.opened") == ["case.opened"]


async def test_a_batch_whose_acceptance_was_lost_is_finished_by_its_lines(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        for payee in (FARM, MILL, PLATFORM):
            await town.decide(town.today, payee, paid=True)
        assert (await town.batch(town.today)).status == "finished"
        assert (await town.put(MarkSent(town.front.book, town.id(town.today)))).status == "finished"
        assert await town.front.events("settlement.sent") == []


async def test_a_batch_is_sent_once_in_the_telling(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        for _ in range(3):
            assert (await town.put(MarkSent(town.front.book, town.id(town.today)))).status == "sent"
        assert await town.front.events("settlement.sent") == ["settlement.sent"]


async def test_what_is_not_there_is_neither_sent_nor_decided(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        with pytest.raises(NotFound) as refusal:
            await town.put(MarkSent(town.front.book, "stl_none"))
        assert refusal.value.code == "no_such_settlement"
        with pytest.raises(NotFound) as refusal:
            await town.put(DecideInstruction(town.front.book, "none", True, None, town.today))
        assert refusal.value.code == "no_such_instruction"


async def test_a_payee_of_another_bank_is_never_in_the_batch(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        elsewhere = Payee(
            town.front.book, "pye_" + "3" * 26, "x", "supplier", "CNY", "other", "62", town.front.clock.now()
        )
        await town.put(splitting.CreatePayee(elsewhere))
        before = await town.front.counts()
        with pytest.raises(Broken) as refusal:
            await town.settle(town.today, [Owed(FARM, 10, 0), Owed(elsewhere.id, 10, 0)])
        assert refusal.value.code == "payee_elsewhere"
        assert await town.front.counts() == before


# ---- what channels pay in --------------------------------------------------------------------------------------------


def deposit(town: Town, amount: int, ref: str, account: str = "rail") -> ApplyDeposit:
    return ApplyDeposit(town.front.book, BANK, account, "CNY", amount, ref, town.today)


async def test_a_deposit_is_booked_once_for_each_reference_of_the_bank(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        booked = await asyncio.gather(*(town.put(deposit(town, 9_940, "E1")) for _ in range(20)))
        assert sorted(booked) == [False] * 19 + [True]
        standing = await town.standing()
        assert standing["bank:citybank"] == 9_940
        assert "channel:rail" not in standing
        assert await town.put(deposit(town, 5, "E2")) is True
        assert (await town.standing())["bank:citybank"] == 9_945
        assert await town.front.events("channel.deposited") == ["channel.deposited"] * 2


async def test_a_day_with_more_refunds_than_sales_takes_from_the_bank(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        payment_id = await town.sell()
        await town.put(deposit(town, 9_940, "E1"))
        await town.front.refund(payment_id, 4_000)
        assert (await town.standing())["channel:rail"] == -3_976
        assert await town.put(deposit(town, -3_976, "E2")) is True
        assert await town.put(deposit(town, -3_976, "E2")) is False
        standing = await town.standing()
        assert standing["bank:citybank"] == 5_964
        assert "channel:rail" not in standing


async def test_one_reference_with_two_amounts_is_for_a_person_and_zero_is_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.put(deposit(town, 100, "E1"))
        before = await town.standing()
        for amount in (101, -100, 0):
            for _ in range(2):
                assert await town.put(deposit(town, amount, "E1")) is False
        assert await town.standing() == before
        assert await town.front.events("case.opened") == ["case.opened"] * 2


async def test_a_deposit_before_anything_was_captured_is_booked(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        assert await town.put(deposit(town, 100, "E1")) is True
        assert await town.standing() == {"bank:citybank": 100, "channel:rail": -100}


async def test_at_the_end_of_the_circle_the_bank_holds_what_the_sub_accounts_show(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        for amount in (10_000, 333, 1):
            await town.sell(amount)
        channel = (await town.standing())["channel:rail"]
        await town.put(deposit(town, channel, "E1"))
        await town.settle(town.today)
        for payee in await town.lines(town.today):
            await town.decide(town.today, payee, paid=True)
        standing = await town.standing()
        held = standing.pop("bank:citybank")
        assert held == sum(standing.values()) == channel
        assert all(name.startswith("sub_account:") for name in standing)


# ---- ids -------------------------------------------------------------------------------------------------------------


@given(
    book=st.integers(1, 36**4 - 1),
    day=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    bank=st.from_regex(r"\A[a-z0-9]{2,10}\Z"),
    payees=st.lists(st.from_regex(r"\Apye_[0-9a-f]{26}\Z"), min_size=2, max_size=2, unique_by=lambda p: p[:19]),
)
def test_ids_fit_the_banks_fields_and_are_not_shared(book: int, day: date, bank: str, payees: list[str]) -> None:
    batch = settlement_id(book, bank, day, "CNY")
    assert len(batch) <= 35
    lines = [instruction_id(batch, payee) for payee in payees]
    assert len(set(lines)) == 2
    assert all(len(line) <= 30 and INSTRUCTION_ID.fullmatch(line) for line in lines)
    assert settlement_id(book, bank, day + timedelta(days=1), "CNY") != batch
    assert settlement_id(book + 1, bank, day, "CNY") != batch


# ---- months in memory ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5_000),  # shares of the day
            st.integers(0, 5_000),  # taken back later that day
            st.lists(st.sampled_from(["paid", "refused", "silent"]), min_size=2, max_size=2),
        ),
        max_size=12,
    )
)
def test_over_any_run_of_days_nothing_is_paid_twice_and_nothing_is_lost(days: list[Any]) -> None:
    town = Ledger([FARM, MILL], BANK)
    for shares, back, fates in days:
        town.share(shares)
        town.settle()
        town.take_back(back)
        town.decide(fates)
        town.assert_nothing_is_lost()
    for _ in range(2):
        town.settle()
        town.decide(["paid", "paid"])
        town.assert_nothing_is_lost()
    assert not town.open_lines
    assert all(owed <= 0 for owed in town.owed_now().values()), "in the end everyone is paid, or owes"
