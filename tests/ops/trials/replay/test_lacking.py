"""What a day still lacks is said with its figures, and nothing is said when nothing is missing."""

from pathlib import Path

from channels import Pending
from gateway.store import beat
from kernel.db import acquire
from ops.trials.replay import lacking
from splitting.settlement.instructions import MoveCursor
from tests.splitting.play_bank import a_town_with_a_bank, send_todays
from tests.splitting.town import BANK, FARM, MILL, PLATFORM


async def test_payments_that_wait_and_events_that_are_not_shared_out(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, _, _):
        pool, book = town.front.hub.pool, town.front.book
        await town.front.paid("paid")
        said = await lacking.endings(pool, book)
        assert said.startswith(f"book {book} is shared out up to event 0 of ")
        assert said.endswith("; no worker was ever heard of")
        async with acquire(pool) as connection:
            await beat(connection, "worker-1", "worker")
        assert "a worker was last heard of " in await lacking.endings(pool, book)
        await town.front.share_out()
        assert await lacking.endings(pool, book) == ""
        town.front.rail.says(pay=Pending(None))
        asked = [(await town.front.pay(f"open-{n}")).body["id"] for n in range(lacking.SHOWN + 2)]
        await town.front.share_out()
        said = await lacking.endings(pool, book)
        assert said.startswith(f"{len(asked)} wait for their channel: attempt {asked[0]}:1 on rail is pending, ")
        assert said.endswith(" and 2 more")


async def test_a_deposit_that_is_not_booked(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        banks, book = town.front.hub.banks, town.front.book
        link = await banks.link(book, BANK)
        bank.holds_minor = 1_234
        said = await lacking.deposits(town.front.hub.pool, banks.client(link), link, "CNY")
        assert f"the bank holds 12.34 CNY in its account poolCNY, book {book} has 0.00 CNY in bank:{BANK}:CNY" in said
        assert "no file of the bank's has been read" in said
        bank.holds_minor = 0
        assert await lacking.deposits(town.front.hub.pool, banks.client(link), link, "CNY") == ""


async def test_a_batch_that_its_bank_has_not_decided(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, _, _):
        message_id = await send_todays(town)
        await town.put(MoveCursor(town.front.book, BANK, '{"pain.002": "7", "camt.054": "3"}'))
        pool, book, batch = town.front.hub.pool, town.front.book, message_id.replace("-", "_")
        await town.decide(town.today, FARM, paid=True)
        said = await lacking.decisions(pool, book, batch, town.today)
        assert f"the batch of book {book}, 99.40 CNY, for the bank's day {town.today} is sent" in said
        assert "2 of its 3 lines are in transit: " in said
        assert "the bank's files were read up to camt.054 3, pain.002 7" in said
        for payee in (MILL, PLATFORM):
            await town.decide(town.today, payee, paid=True)
        assert await lacking.decisions(pool, book, batch, town.today) == ""
        assert await lacking.decisions(pool, book, "stl_none", town.today) == f"book {book} has no batch stl_none"
