"""What a bank, a batch or a book keeps waiting is its own work and nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path

from kernel.db import acquire
from splitting import store
from splitting.banks.worker import BankWorker
from tests.kernel.one_book import book_held, outside
from tests.splitting.play_bank import a_bank, a_town_with_a_bank
from tests.splitting.town import BANK, Town


async def until_sent(town: Town, on: date, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
    """Wait until the batch of a day is at its bank. meanwhile: done between two looks."""
    while (await town.batch(on)).status != "sent":
        await (asyncio.sleep(0.01) if meanwhile is None else meanwhile())


async def once_and_sent(town: Town, bank_worker: BankWorker) -> None:
    """Sell, make today's batch, begin one round, and wait until the batch is at its bank."""
    await town.sell()
    await town.settle(town.today)
    await bank_worker.once()
    await until_sent(town, town.today)


@asynccontextmanager
async def batches(database_url: str, town: Town, number: int, status: str) -> AsyncIterator[None]:
    """Have batches of days long past in the tables while inside; they have no lines, which the books would not like."""
    async with outside(database_url) as connection:
        await connection.execute(
            "INSERT INTO settlement SELECT $1, 'stl_old_' || lpad(n::text, 4, '0'), $2, '2020-01-01'::date + n, "
            "'2020-01-01'::date + n, 'CNY', $3, 0, 0, 0, 0, '2020-01-01'::timestamptz + n * interval '1 day', now() "
            "FROM generate_series(1, $4) AS n",
            town.front.book,
            BANK,
            status,
            number,
        )
        yield
        await connection.execute("DELETE FROM settlement WHERE id LIKE 'stl_old_%'")


async def test_batches_that_nobody_decides_keep_no_new_one_from_being_sent(database_url: str, tmp_path: Path) -> None:
    async with (
        a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker),
        batches(database_url, town, 150, "sent"),
    ):
        await once_and_sent(town, bank_worker)
        assert len(bank.taken) == 1


async def test_unsent_batches_are_found_oldest_first_however_many_there_are(database_url: str, tmp_path: Path) -> None:
    async with (
        a_town_with_a_bank(database_url, tmp_path) as (town, _bank, _settler),
        batches(database_url, town, 25, "created"),
    ):
        await town.sell()
        newest = await town.settle(town.today)
        async with acquire(town.front.hub.pool) as connection:
            found = [one.id async for one in store.unsent(connection, page=7)]
        assert found == [*(f"stl_old_{n:04d}" for n in range(1, 26)), newest.id]


async def test_a_batch_that_never_gets_an_answer_holds_up_neither_later_ones_nor_the_banks_files(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()
        first = await town.settle(town.today)
        bank.drops.add(first.id.replace("_", "-"))
        town.front.clock.forward(86_400)
        await town.sell()
        tomorrow = town.today + timedelta(days=1)
        await town.settle(tomorrow)
        working = town.front.hub.env.spawn("bank_worker", bank_worker.run(idle_s=0.01))
        await until_sent(town, tomorrow)
        working.cancel()
        assert (await town.batch(town.today)).status == "created"
        assert {"camt.054", "pain.002"} <= set(bank.calls)


async def test_a_batch_that_cannot_be_written_holds_up_no_other(database_url: str, tmp_path: Path) -> None:
    async with (
        a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker),
        batches(database_url, town, 1, "created"),  # it has no lines, which no file can say
    ):
        await once_and_sent(town, bank_worker)
        assert len(bank.taken) == 1


async def test_a_bank_that_hangs_keeps_only_its_own_waiting(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, silent, bank_worker):
        await town.sell()
        await town.settle(town.today)
        silent.answering.clear()
        other = await town.front.hub.merchants.add("other", currencies=["CNY"])
        async with a_bank(town, bank="swift", book=other.book) as answering:
            for _ in range(3):
                await bank_worker.once()  # comes back though one bank has not answered
            assert len(silent.taken) == 1, "what is under way is left to its task"
            assert answering.calls.count("pain.002") == 3
            silent.answering.set()
            await until_sent(town, town.today)


async def test_a_locked_book_keeps_only_its_own_merchant_waiting(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()
        await town.settle(town.today)
        other = await town.front.hub.merchants.add("other", currencies=["CNY"])
        async with a_bank(town, bank="swift", book=other.book) as answering, book_held(database_url, town.front.book):
            for _ in range(3):
                await bank_worker.once()
            assert answering.calls.count("pain.002") == 3
            assert len(bank.taken) == 1
            assert (await town.batch(town.today)).status == "created"
        await until_sent(town, town.today, bank_worker.once)
