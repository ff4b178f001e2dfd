"""The platform as payee at several banks and in several currencies: each owes it, and pays it, its own part."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from kernel.db import acquire
from splitting import BankLink, LinkBank, MakeSettlement, store
from splitting.guard import store as guard
from splitting.payees import Payees, payee_id_of, platform_id_of
from splitting.settlement.limits import reserve
from splitting.settlement.payouts import SetReserve
from splitting.settlement.store import EVERYBODY, less_reserves
from tests.conftest import TestServer
from tests.kernel.one_book import broken, superuser
from tests.splitting.town import BANK, DAY, FARM, PLATFORM, Town, a_town

OTHER = "otherbank"


class AnyBank:
    """Opens whatever account it is asked for."""

    async def link(self, book: int, bank: str) -> BankLink:
        return BankLink(book, bank, f"pool-{bank}", "{}", "")

    async def sub_account(
        self, book: int, bank: str, reference: str, name: str, currency: str, account: str | None
    ) -> str:
        return f"62-{bank}-{reference}"


async def platform_at(town: Town, bank: str, currency: str) -> str:
    """Register the platform at a bank, as `sluice bank platform` does."""
    hub = town.front.hub
    desk = Payees(hub.lanes, AnyBank(), hub.env, hub.pool)
    payee = await desk.add_platform(town.front.book, name="hub", currency=currency, bank=bank)
    return payee.id


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with a_town(database_url, tmp_path) as town:
        yield town


async def test_each_bank_pays_the_platform_what_plans_gave_to_its_account_there(
    town: Town, pg_server: TestServer, database_url: str
) -> None:
    front, book = town.front, town.front.book
    other, dollars = await platform_at(town, OTHER, "CNY"), await platform_at(town, "usbank", "USD")
    assert (other, dollars) == (platform_id_of(book, OTHER, "CNY"), platform_id_of(book, "usbank", "USD"))
    assert await platform_at(town, OTHER, "CNY") == other, "it is registered once"
    assert len({other, dollars, PLATFORM, payee_id_of(book, f"platform/{OTHER}/CNY")}) == 4
    async with acquire(front.hub.pool) as connection:
        rows = {one.id: one.fees_apart for one in await guard.platforms(connection, book)}
    assert rows == {PLATFORM: False, other: True, dollars: False}
    wrong = [{"payee": dollars, "basis_points": 50}, {"payee": FARM, "remainder": 1}]
    answer = await front.pay("dollars", split=wrong)
    assert answer.code == "currency_differs", "a plan names the payee of its payment's currency"

    for payee, points in ((PLATFORM, 50), (other, 100)):
        plan = [{"payee": payee, "basis_points": points}, {"payee": FARM, "remainder": 1}]
        await front.paid(f"order-{points}", split=plan)
    await front.share_out()
    balances = {name: held[0] for name, held in (await front.balances()).items()}
    assert (balances["platform_fee:CNY"], balances[f"platform_fee:{other}:CNY"]) == (50, 100)
    await town.put(LinkBank(BankLink(book, OTHER, "6200-pool", "{}", "{}")))
    await town.put(LinkBank(BankLink(book, BANK, "6200-pool", "{}", "{}")))
    for bank, whose in ((OTHER, EVERYBODY), (BANK, PLATFORM)):
        await town.put(SetReserve(book, bank, whose, reserve(10, 1_000, 2)))
    async with acquire(front.hub.pool) as connection:
        found = {}
        for bank in (BANK, OTHER):
            read = await store.owed_until(connection, book, bank, "CNY", town.today)
            left = await less_reserves(connection, book, bank, "CNY", town.today, read)
            found[bank] = {one.payee_id: (one.minor, one.kept) for one in left}
    assert found[BANK][PLATFORM] == (35, 15), "ten and a tenth of 50"
    assert found[OTHER] == {other: (100, 0)}, "a bank's default is not for the platform"
    made = await town.put(MakeSettlement(book, OTHER, town.today, town.today + DAY, "CNY", left, front.clock.now()))
    assert (made.total_minor, made.instruction_count) == (100, 1)

    async with superuser(pg_server, database_url) as connection:
        assert await broken(connection) == {}
        with pytest.raises(asyncpg.UniqueViolationError):  # both banks would pay what is in the book's fee account
            await connection.execute("UPDATE payee SET fees_apart = false WHERE id = $1", other)
        planting = connection.transaction()
        await planting.start()
        await connection.execute(
            "UPDATE transfer SET credit = 'platform_fee:CNY' WHERE credit = $1", f"platform_fee:{other}:CNY"
        )
        (breach,) = await guard.platform_holds_fees_alone(connection)
        assert "brought 100 CNY to platform_fee:CNY" in breach
        await planting.rollback()
