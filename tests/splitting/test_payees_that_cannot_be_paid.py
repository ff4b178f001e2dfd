"""A payee that no file can name is refused when it is registered, and keeps nobody else from being paid."""

from pathlib import Path
from typing import Any

import pytest

from kernel.errors import Rejected
from splitting.settlement.instructions import instruction_id
from tests.kernel.one_book import outside
from tests.splitting.play_bank import a_town_with_a_bank
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town

NAMES = ["x" * 141, "bell\x07", "\ufffe"]
NUMBERS = ["1" * 35, "6200/0001", "6200 0001", "6200_0001", "６２００", "DE89\n"]


@pytest.mark.parametrize("number", NUMBERS)
async def test_an_account_number_that_no_file_can_say_is_refused_when_it_is_registered(
    database_url: str, tmp_path: Path, number: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        bank.number = number
        asked = {"name": "mill", "currency": "CNY", "reference": "mill", "bank": BANK}
        answer = await town.front.post("/v1/payees", asked)
        assert (answer.status, answer.code) == (422, "payee_cannot_be_paid")
        assert "account number" in answer.body["detail"]
        kept = await town.front.post("/v1/payees", {**asked, "bank": None})
        assert kept.status == 201, "shares that are kept need no account"


async def test_a_name_that_no_file_can_say_opens_no_account(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        for name in [" ", *NAMES]:
            with pytest.raises(Rejected) as no:
                await town.front.hub.payees.register(
                    town.front.book, reference="mill", name=name, kind="supplier", currency="CNY", bank=BANK
                )
            assert no.value.code == "payee_cannot_be_paid"
        assert bank.opened == []


async def test_other_facts_of_a_payee_are_refused_before_a_bank_opens_an_account_for_them(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        asked = {"name": "mill", "currency": "CNY", "reference": "mill"}
        kept = await town.front.post("/v1/payees", asked)
        for other in ({"bank": BANK}, {"name": "windmill", "bank": BANK}):
            answer = await town.front.post("/v1/payees", {**asked, **other})
            assert (answer.status, answer.code, answer.body["object_id"]) == (409, "payee_exists", kept.body["id"])
        assert bank.opened == []


async def registered_before(database_url: str, town: Town, column: str, value: str, *payees: str) -> None:
    """Give payees a name or account number as it could be registered before that was looked at."""
    async with outside(database_url) as connection:
        await connection.execute(
            f"UPDATE payee SET {column} = $1 WHERE book = $2 AND id = ANY($3::text[])", value, town.front.book, payees
        )


@pytest.mark.parametrize(
    ("column", "value"), [("bank_account", number) for number in NUMBERS] + [("name", name) for name in [" ", *NAMES]]
)
async def test_one_payee_that_no_file_can_say_is_refused_and_the_others_are_paid(
    database_url: str, tmp_path: Path, column: str, value: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await registered_before(database_url, town, column, value, FARM)
        await town.sell()
        await town.settle(town.today)  # by a hub that did not look
        while (await town.batch(town.today)).status == "created":
            await bank_worker.once()
        (sent,) = bank.taken
        for payee, is_there in ((FARM, False), (MILL, True), (PLATFORM, True)):
            assert (instruction_id(town.id(town.today), payee).encode() in sent) is is_there
        assert b"<NbOfTxs>2</NbOfTxs><CtrlSum>69.40</CtrlSum>" in sent
        line = (await town.lines(town.today))[FARM]
        assert (line.status, "must be 1 to" in (line.reason or "")) == ("refused", True)
        assert await town.standing() == {"channel:rail": 9_940, "in_transit:citybank": 6_940, "payee:farm": 3_000}
        assert await town.front.events("settlement.line_refused", "settlement.sent") == [
            "settlement.line_refused",
            "settlement.sent",
        ]


async def test_a_line_that_no_file_can_say_is_refused_on_the_day_it_is_recorded(
    database_url: str, tmp_path: Path
) -> None:
    """The bank_worker's clock is a day ahead when it looks, and right again when that is committed."""
    async with a_town_with_a_bank(database_url, tmp_path) as (town, _, bank_worker):
        await registered_before(database_url, town, "name", "bell\x07", FARM)
        await town.sell()
        await town.settle(town.today)
        put, ahead_s = town.front.hub.lanes.put, 86_400

        async def right_again(command: Any, **more: Any) -> Any:
            town.front.clock.forward(-ahead_s)
            try:
                return await put(command, **more)
            finally:
                town.front.clock.forward(ahead_s)

        town.front.hub.lanes.put = right_again  # type: ignore[method-assign]
        town.front.clock.forward(ahead_s)
        while (await town.batch(town.today)).status == "created":
            await bank_worker.once()
        town.front.hub.lanes.put = put  # type: ignore[method-assign]
        line = (await town.lines(town.today))[FARM]
        assert (line.status, line.bank_date) == ("refused", town.today)


async def test_an_answer_that_was_lost_is_followed_by_the_same_bytes(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await registered_before(database_url, town, "bank_account", "6200/0001", FARM)
        await town.sell()
        await town.settle(town.today)
        bank.drops.add(town.id(town.today).replace("_", "-"))
        while len(bank.taken) < 2:
            await bank_worker.once()
            town.front.clock.forward(300)  # it is left alone for a while, five minutes at most
        bank.drops.clear()
        while (await town.batch(town.today)).status == "created":
            await bank_worker.once()
            town.front.clock.forward(300)
        assert len(set(bank.taken)) == 1


async def test_a_batch_of_which_nothing_can_be_said_ends_without_the_bank(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await registered_before(database_url, town, "bank_account", "6200/0001", FARM, MILL, PLATFORM)
        await town.sell()
        await town.settle(town.today)
        while (await town.batch(town.today)).status != "finished":
            await bank_worker.once()
        assert bank.taken == []
        assert await town.standing() == {
            "channel:rail": 9_940,
            "payee:farm": 3_000,
            "payee:mill": 6_890,
            "platform_fee": 50,
        }
