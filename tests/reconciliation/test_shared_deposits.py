"""One account at a rail that several channel accounts are: what it pays in is shared out by its bill, to the unit."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

import cases
from gateway.accounts import admin
from kernel.db import acquire, transaction
from ops.cases import decide
from reconciliation.daily import Deposit
from reconciliation.reports import Range, Reports
from splitting.banks.worker import BankWorker
from splitting.settlement.store import suspense_leaves_with_its_case
from tests.splitting.play_bank import PlayBank, a_bank_read, all_read
from tests.splitting.rails_market import BANK as HARBOUR
from tests.splitting.rails_market import LINES, Market, a_market, today
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.town import Town, a_town

REFERENCE = "WX190000000120261124"


async def test_a_deposit_of_two_channel_accounts_waits_for_the_bill_and_is_shared_by_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "check_unshared", lambda *_: None)  # as hubs of before took such accounts
    async with a_market(database_url, tmp_path) as market:
        hub, book = market.hub, market.book
        await market.paid("1", 10_000, [LINES[3]])
        await hub.channel_admin.add_by_hand(book, "second", "wechat", market.rail.settings(), fee_bp=60)
        await hub.channel_admin.set_state(book, "main", "draining")
        await market.paid("2", 20_000, [LINES[3]])
        day = today(market)
        await market.control("close-day", merchant=market.rail.merchant, date=day.isoformat())
        await market.rail.control("POST", "/control/bank/close-day", {"date": day.isoformat()})
        bank_worker = hub.bank_worker()

        await _rounds(market, bank_worker)
        (waiting,) = await _open(hub.pool)
        assert (waiting.kind, waiting.amount_minor) == ("money_in_suspense", 29_820)
        owed = await market.owed()
        assert (owed["channel:main"], owed["channel:second"], owed["suspense"]) == (9_940, 19_880, 29_820)

        starts = await hub.accounts.deposits(book)
        ((start, accounts),) = starts.items()
        assert accounts == ["main", "second"]
        await hub.daily_proof().fetch_bank_files(book, HARBOUR)
        deposit = Deposit([HARBOUR], f"{start}{day:%Y%m%d}", day + timedelta(days=3), accounts)
        run = await hub.daily_proof().channel(book, "main", day, currency="CNY", deposit=deposit)
        assert run.discrepancies == ()
        await _rounds(market, bank_worker)
        owed = await market.owed()
        assert owed.keys() & {"channel:main", "channel:second", "suspense"} == set()
        assert await _open(hub.pool) == []


async def _rounds(market: Market, bank_worker: BankWorker) -> None:
    for _ in range(3):
        await bank_worker.once()
        while bank_worker.busy:
            await market.hub.env.sleep(0.01)


async def _open(pool: Any) -> list[cases.Case]:
    async with acquire(pool) as connection:
        return await cases.store.cases(connection)


class Bills:
    """What bills say, by day; and how often they were asked."""

    def __init__(self) -> None:
        self.of_day: dict[date, Mapping[str, int]] = {}
        self.asked = 0

    async def parts(self, book: int, accounts: Sequence[str], day: date, currency: str) -> Mapping[str, int] | None:
        assert list(accounts) == ["rail", "second"]
        self.asked += 1
        return self.of_day.get(day)


@asynccontextmanager
async def two_over_one(database_url: str, home: Path) -> AsyncIterator[tuple[Town, PlayBank, BankWorker, Bills]]:
    async with a_town(database_url, home) as town, a_bank_read(town) as (bank, _):
        hub, bills = town.front.hub, Bills()

        async def deposits(_: int) -> Mapping[str, Sequence[str]]:
            return {"WX1900000001": ["rail", "second"]}

        async def collected(*_: object) -> None: ...

        yield town, bank, BankWorker(hub.banks, hub.pool, hub.env, deposits, collected, bills.parts), bills


async def _standing(town: Town) -> dict[str, int]:
    async with acquire(town.front.hub.pool) as connection:
        rows = await connection.fetch(
            "SELECT name, credits - debits AS minor FROM account WHERE name = ANY($1)",
            ["channel:rail:CNY", "channel:second:CNY", "suspense:CNY", "bank:citybank:CNY"],
        )
    return {row[0].split(":")[-2]: row[1] for row in rows if row[1]}


@pytest.mark.parametrize(
    ("paid_in", "parts", "left", "books"),
    [
        ("100", {"rail": 6_000, "second": 4_000}, [], {"rail": 6_000, "second": 4_000}),
        ("100", {"rail": 6_000, "second": 3_999}, [1], {"rail": 6_000, "second": 3_999, "suspense": 1}),
        ("99.99", {"rail": 6_000, "second": 4_000}, [-1], {"rail": 6_000, "second": 4_000, "suspense": -1}),
        ("20", {"rail": -3_000, "second": 5_000}, [], {"rail": -3_000, "second": 5_000}),
        ("100", {"rail": 0, "second": 0}, [10_000], {"suspense": 10_000}),
    ],
)
async def test_sums_are_exact_and_what_no_bill_explains_is_a_case(
    paid_in: str, parts: Mapping[str, int], left: list[int], books: dict[str, int], database_url: str, tmp_path: Path
) -> None:
    async with two_over_one(database_url, tmp_path) as (town, bank, bank_worker, bills):
        bank.says("camt.054", notice(entry(paid_in, end_to_end=REFERENCE)))
        await all_read(town, bank, bank_worker)
        (waiting,) = await _open(town.front.hub.pool)
        assert waiting.amount_minor == sum(parts.values()) + sum(left)
        bills.of_day[date(2026, 11, 24)] = parts
        await all_read(town, bank, bank_worker)
        for _ in range(2):
            await bank_worker.once()
        assert bills.asked <= 6, "a bill that was used is not read again"
        assert [case.amount_minor for case in await _open(town.front.hub.pool)] == left
        async with acquire(town.front.hub.pool) as connection:
            settled = await connection.fetchval("SELECT facts::text FROM case_file")
        found = await _standing(town)
        assert found.pop("citybank") == -waiting.amount_minor
        assert found == books
        async with transaction(town.front.hub.pool) as connection:
            assert await suspense_leaves_with_its_case(connection) == []
            planted = "UPDATE case_file SET facts = jsonb_set(facts::jsonb, '{shared,rail}', '1')::json"
            await connection.execute(planted)
            assert len(await suspense_leaves_with_its_case(connection)) == 1
            await connection.execute("UPDATE case_file SET facts = $1", waiting.facts)
            assert len(await suspense_leaves_with_its_case(connection)) == (1 if books.keys() - {"suspense"} else 0)
            await connection.execute("UPDATE case_file SET facts = $1", settled)
        for case in await _open(town.front.hub.pool):
            rail = cases.Named("account", "rail")
            await decide(town.front.hub, case.id, "book", by="Wang", note="theirs", named=rail)
        assert "suspense" not in await _standing(town)
        assert sum((await _standing(town)).values()) == 0


async def test_what_a_rail_paid_in_is_reported_once_it_has_left_suspense(database_url: str, tmp_path: Path) -> None:
    async with two_over_one(database_url, tmp_path) as (town, bank, bank_worker, bills):
        hub, booked_on = town.front.hub, date(2026, 11, 24)
        reports, of = Reports(hub.pool), Range(booked_on, booked_on, "CNY")
        bank.says(
            "camt.054", notice(entry("100", end_to_end=REFERENCE), entry("20", "7", "Y", end_to_end="a stranger"))
        )
        await all_read(town, bank, bank_worker)
        (stranger,) = [one for one in await _open(hub.pool) if one.kind == "booking_unidentified"]
        await decide(hub, stranger.id, "suspend", by="Wang", note="whose is it?")
        assert await reports.deposited(of, hub.env.now()) == {"citybank": 0}
        bills.of_day[booked_on] = {"rail": 6_000, "second": 3_900}
        await all_read(town, bank, bank_worker)
        for _ in range(2):
            await bank_worker.once()
        assert await reports.deposited(of, hub.env.now()) == {"citybank": 9_900}
        for case in await _open(hub.pool):
            if case.amount_minor == 2_000:
                rail = cases.Named("account", "rail")
                await decide(hub, case.id, "book", by="Wang", note="theirs", named=rail)
        assert await reports.deposited(of, hub.env.now()) == {"citybank": 9_900}
        town.front.clock.forward(86_400)
        since = of._replace(last=town.today)
        assert await reports.deposited(since, hub.env.now()) == {"citybank": 11_900}
        (lay,) = await reports.float_at_banks(since._replace(first=town.today), None, hub.env.now())
        assert lay.figures.most_minor == 12_000, "custody has all of it, whosever it is"


async def test_what_comes_twice_is_shared_once_and_a_reference_without_a_day_is_for_people(
    database_url: str, tmp_path: Path
) -> None:
    async with two_over_one(database_url, tmp_path) as (town, bank, bank_worker, bills):
        bills.of_day[date(2026, 11, 24)] = {"rail": 6_000, "second": 4_000}
        bank.says("camt.054", notice(entry("100", end_to_end=REFERENCE), entry("100", "2", end_to_end=REFERENCE)))
        bank.says("camt.054", notice(entry("100", end_to_end=REFERENCE), message="M2"))
        bank.says("camt.054", notice(entry("5", "9", "Z", end_to_end=f"{REFERENCE}X"), message="M3"))
        await all_read(town, bank, bank_worker)
        for _ in range(2):
            await bank_worker.once()
        found = await _open(town.front.hub.pool)
        assert sorted((case.kind, case.amount_minor) for case in found) == [
            ("booking_unclear", 10_000), ("money_in_suspense", 500), ("money_in_suspense", 10_000),
        ]  # fmt: skip
        books = await _standing(town)
        assert (books["rail"], books["second"], books["suspense"]) == (6_000, 4_000, 10_500)
        (unclear,) = [case for case in found if case.kind == "booking_unclear"]
        await decide(town.front.hub, unclear.id, "another", by="Wang", note="the statement has both")
        for _ in range(2):
            await bank_worker.once()
        assert sorted(case.amount_minor or 0 for case in await _open(town.front.hub.pool)) == [500, 10_000, 10_000]
        assert (await _standing(town))["suspense"] == 20_500
        assert all(not orjson.loads(case.facts)["awaits_bill"] for case in await _open(town.front.hub.pool))


@pytest.mark.parametrize(("paid_in", "out"), [("0.01", False), ("50", False), ("20", True)])
async def test_what_anybody_transfers_under_the_rails_reference_uses_no_bill(
    paid_in: str, out: bool, database_url: str, tmp_path: Path
) -> None:
    async with two_over_one(database_url, tmp_path) as (town, bank, bank_worker, bills):
        bills.of_day[date(2026, 11, 24)] = {"rail": 6_000, "second": 4_000}
        bank.says("camt.054", notice(entry(paid_in, "7", "X", end_to_end=REFERENCE, out=out)))
        await all_read(town, bank, bank_worker)
        for _ in range(2):
            await bank_worker.once()
        (imitated,) = await _open(town.front.hub.pool)
        minor = int(Decimal(paid_in) * 100) * (-1 if out else 1)
        assert (imitated.kind, imitated.amount_minor) == ("money_in_suspense", minor)
        assert orjson.loads(imitated.facts)["lacks_minor"] == 10_000 - minor
        assert (await _standing(town)).keys() == {"citybank", "suspense"}
        assert await town.front.events("channel.deposited") == [], "no channel has paid anything in"
        bank.says("camt.054", notice(entry("100", end_to_end=REFERENCE), message="M2"))
        await all_read(town, bank, bank_worker)
        for _ in range(2):
            await bank_worker.once()
        books = await _standing(town)
        assert (books["rail"], books["second"], books["suspense"]) == (6_000, 4_000, minor)
        assert await _open(town.front.hub.pool) == [imitated]
        async with transaction(town.front.hub.pool) as connection:
            assert await suspense_leaves_with_its_case(connection) == []
