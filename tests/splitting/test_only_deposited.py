"""Where a bank's batches wait for deposits, none is sent before the pool account has its money, the oldest first."""

from datetime import timedelta
from pathlib import Path

import cases
from kernel.db import acquire
from ops.cases import decide
from ops.cli.settlements import batch_line
from splitting import ApplyDeposit, BankLink, LinkBank
from splitting.settlement.calendar import BankHours
from splitting.settlement.payouts import SetPayoutBank, bank_of
from tests.splitting.play_bank import a_round, a_town_with_a_bank, all_read
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town

A_DAY = 9_940  # what one sale's batch pays


async def deposit(town: Town, amount: int, ref: str) -> None:
    assert await town.put(ApplyDeposit(town.front.book, BANK, "rail", "CNY", amount, ref, town.today))


async def waits(town: Town, only_deposited: bool) -> None:
    await town.put(SetPayoutBank(town.front.book, BANK, BankHours(), None, only_deposited))


async def test_a_batch_waits_until_its_money_is_there_and_goes_by_itself(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await waits(town, True)
        banks = town.front.hub.banks
        await town.sell()
        batch = await town.settle(town.today)
        assert await banks.lacking(batch) == A_DAY
        assert (await banks.send(batch)).status == "created"
        for amount, lacks in ((A_DAY - 1, 1), (1, 0)):
            await a_round(bank_worker)
            assert bank.taken == []
            await deposit(town, amount, f"E{amount}")
            assert await banks.lacking(batch) == lacks
        await a_round(bank_worker)
        assert len(bank.taken) == 1
        assert (await town.batch(town.today)).status == "sent"
        await town.front.assert_books_hold()


async def test_a_newer_batch_takes_nothing_that_an_older_one_waits_for(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await waits(town, True)
        banks, tomorrow = town.front.hub.banks, town.today + timedelta(days=1)
        await town.sell(20_000)
        older = await town.settle(town.today)
        town.front.clock.forward(86_400)
        await town.sell()
        newer = await town.settle(tomorrow)
        await deposit(town, A_DAY + 100, "E1")  # enough for the newer one alone
        await a_round(bank_worker)
        assert bank.taken == []
        assert (await banks.lacking(older), await banks.lacking(newer)) == (2 * A_DAY - A_DAY - 100, 2 * A_DAY - 100)
        await deposit(town, A_DAY - 100, "E2")
        await a_round(bank_worker)
        assert (len(bank.taken), await banks.lacking(newer)) == (1, A_DAY)
        for payee in (FARM, PLATFORM):
            await town.decide(town.today, payee, paid=True)
        assert await banks.lacking(newer) == A_DAY, "what was paid is the payees'"
        await town.decide(town.today, MILL, paid=False)
        assert await banks.lacking(newer) == 0, "what the bank refused is in the pool"
        await a_round(bank_worker)
        assert len(bank.taken) == 2
        await town.front.assert_books_hold()


async def test_what_is_in_suspense_is_nobodys_to_pay_a_batch_with(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await waits(town, True)
        hub = town.front.hub
        await town.sell()
        batch = await town.settle(town.today)
        bank.says("camt.054", notice(entry("99.40", end_to_end="a stranger's")))
        await all_read(town, bank, bank_worker)
        for decision, account, lacks in (("suspend", None, A_DAY), ("book", "rail", 0)):
            assert await hub.banks.lacking(batch) == A_DAY
            async with acquire(hub.pool) as connection:
                (case,) = await cases.store.cases(connection, book=town.front.book)
            named = None if account is None else cases.Named("account", account)
            await decide(hub, case.id, decision, by="Wang", note="the bank says so", named=named)
            assert await hub.banks.lacking(batch) == lacks
        await a_round(bank_worker)
        assert len(bank.taken) == 1
        await town.front.assert_books_hold()


async def test_a_new_bank_has_batches_wait_and_one_of_before_as_it_was(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        front, books = town.front, (town.front.book, "new")
        await town.put(LinkBank(BankLink(*books, "6200", "{}", "{}")))
        assert (await front.hub.payouts.bank(*books)).only_deposited
        await town.put(SetPayoutBank(*books, BankHours(), None, False))
        await town.put(LinkBank(BankLink(*books, "6200", "{}", "{}")))
        assert not (await front.hub.payouts.bank(*books)).only_deposited, "two people have said so"
        assert not bank_of(*books).only_deposited, "of before, when there was no row"
        await waits(town, True)
        await town.sell()
        batch = await town.settle(town.today)
        await a_round(bank_worker)
        assert bank.taken == []
        assert f"lacks {A_DAY / 100:.2f} CNY" in batch_line(batch, await front.hub.banks.lacking(batch))
        await waits(town, False)  # the way out where the money does not come
        assert await front.hub.banks.lacking(batch) == 0
        await a_round(bank_worker)
        assert len(bank.taken) == 1
