"""What the sandbox's bank tells twice, under shared references, damaged or unsigned, played through a hub."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

import cases
from channels.banks import Entry, Instruction
from channels.banks.iso20022 import Batch, pain001
from kernel.db import acquire
from kernel.env import Env, system_env
from kernel.money import Money
from ops.cases import decide
from ops.wiring import Hub, hub
from reconciliation import entries_on
from reconciliation.daily import bank_counterparty
from tests.contract.test_bank_enrolment import BANK, customer
from tests.kernel.one_book import outside

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCOUNT = "wechat"
DEPOSIT = "WX190000000120261124"


async def of_no_payment(_: int, __: Entry) -> str | None:
    return None


@dataclass
class Till:
    """A merchant whose channel pays into a pool account at the sandbox's bank."""

    hub: Hub
    book: int
    pool: str
    customer_id: str
    http: aiohttp.ClientSession
    base_url: str
    database_url: str

    async def control(self, path: str, **body: Any) -> dict[str, Any]:
        async with self.http.post(f"{self.base_url}/control/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            found: dict[str, Any] = await answer.json()
        return found

    async def fault(self, name: str, **match: str) -> None:
        match = match or {"account": self.pool}
        await self.control("faults", rail="bank", fault=name, match=match, times=1)

    async def pays(self, amount_minor: int, end_to_end_id: str = DEPOSIT) -> None:
        await self.control("bank/deposits", account=self.pool, amount_minor=amount_minor, end_to_end_id=end_to_end_id)

    async def read(self) -> None:
        """Read what the bank has written until nothing is new."""
        link, files = await self.hub.banks.link(self.book, BANK), self.hub.banks.files
        while await files.read_new(link, {"WX": [ACCOUNT]}, of_no_payment):
            link = await self.hub.banks.link(self.book, BANK)

    async def read_again(self) -> None:
        """Ask once more for every file that is set aside."""
        link = await self.hub.banks.link(self.book, BANK)
        for case in await self.waiting():
            if case.kind == "bank_file_set_aside":
                await self.hub.banks.files.read_again(link, case.id, {"WX": [ACCOUNT]}, of_no_payment)

    async def booked(self) -> Counter[int]:
        async with outside(self.database_url) as connection:
            rows = await connection.fetch("SELECT amount_minor FROM transfer WHERE rule = 'channel_deposit'")
        return Counter(row[0] for row in rows)

    async def waiting(self) -> list[cases.Case]:
        async with acquire(self.hub.pool) as connection:
            return await cases.store.cases(connection, book=self.book)

    async def kinds(self) -> list[str]:
        return sorted(one.kind for one in await self.waiting())

    async def proved(self) -> Counter[int]:
        """Close the bank's day, and return what the daily proof sees of it."""
        async with self.http.get(f"{self.base_url}/control/bank") as answer:
            today = date.fromisoformat((await answer.json())["date"])
        await self.control("bank/close-day", date=today.isoformat())
        await self.hub.daily_proof().fetch_bank_files(self.book, BANK)
        async with acquire(self.hub.pool) as connection:
            found = await entries_on(connection, self.book, bank_counterparty(BANK), [today - timedelta(days=1), today])
        return Counter(entry.amount.minor for entry in found)


@pytest_asyncio.fixture(loop_scope="session")
async def till(
    database_url: str, base_url: str, tmp_path: Path, env: Env, http: aiohttp.ClientSession
) -> AsyncIterator[Till]:
    own = system_env(env.transport)
    async with hub(
        database_url=database_url, redis_url=None, home=tmp_path, public_url="http://127.0.0.1:1", env=own
    ) as objects:
        merchant, given = await objects.merchants.add("tea", currencies=["CNY"]), await customer(http, base_url)
        link = await objects.merchants.link_bank(merchant.book, BANK, given, name="pool", currency="CNY")
        yield Till(objects, merchant.book, link.pool_account, given["customer_id"], http, base_url, database_url)


async def test_two_equal_deposits_under_one_reference_are_two(till: Till) -> None:
    await till.fault("deposit_doubled")
    await till.pays(7_000, "WX-before")  # so that there is a reference to share
    for name in ("deposit_doubled", "reference_shared", "reference_shared"):
        await till.fault(name)
    await till.pays(7_000)
    for _ in range(4):
        await till.fault("notice_repeated")
    await till.read()
    assert (await till.booked(), await till.kinds()) == ({7_000: 4}, [])
    assert await till.proved() == {7_000: 4}


async def test_deposits_of_which_only_the_statement_says_that_they_are_two_are_for_a_person(till: Till) -> None:
    await till.pays(100, "WX-before")
    for name in ("deposit_doubled", "reference_shared", "reference_shared"):
        await till.fault(name)
    for _ in range(2):
        await till.fault("notice_numbered_from_one", end_to_end_id=DEPOSIT, account=till.pool)
    await till.pays(7_000)
    await till.read()
    assert (await till.booked(), await till.kinds()) == ({100: 1, 7_000: 1}, ["booking_unclear"])
    assert await till.proved() == {100: 1, 7_000: 2}
    (case,) = await till.waiting()
    await decide(till.hub, case.id, "another", by="Wang", note="the statement has both")
    assert (await till.booked(), await till.kinds()) == ({100: 1, 7_000: 2}, [])


async def test_a_notice_that_is_sent_again_under_another_id_books_nothing_more(till: Till) -> None:
    await till.fault("notice_told_anew")
    await till.pays(7_000)
    await till.read()
    assert (await till.booked(), await till.kinds()) == ({7_000: 1}, ["booking_unclear"])
    assert await till.proved() == {7_000: 1}


async def test_damaged_and_unsigned_files_stop_nothing_and_what_is_right_later_is_applied_then(till: Till) -> None:
    await till.fault("notice_cut")
    await till.pays(100, "WX-cut")
    await till.pays(200, "WX-whole")
    await till.pays(300, "a stranger")
    await till.read()
    assert await till.booked() == {200: 1}
    await till.fault("signature_wrong", customer_id=till.customer_id, type="camt.054")
    await till.pays(400, "WX-unsigned")
    await till.pays(500, "WX-signed")
    await till.read()
    assert await till.booked() == {200: 1, 500: 1}
    assert await till.kinds() == ["bank_file_set_aside", "bank_file_set_aside", "booking_unidentified"]
    await till.read_again()
    assert await till.booked() == {200: 1, 400: 1, 500: 1}
    assert await till.kinds() == ["bank_file_set_aside", "booking_unidentified"]
    assert await till.proved() == {100: 1, 200: 1, 300: 1, 400: 1, 500: 1}  # the statement has the one cut off


async def test_a_report_on_another_systems_batch_is_set_aside(till: Till) -> None:
    await till.pays(10_000)
    client = till.hub.banks.client(await till.hub.banks.link(till.book, BANK))
    payee = (await client.open_account("payee", "payee", "CNY", "sub")).account
    line = Instruction("OTHER-1", payee, "payee", Money(100, "CNY"))
    await client.upload(pain001(Batch("OTHER", till.pool, "tea", date(2026, 11, 24), client.settings.bic, [line])))
    while not (await client.list_files("pain.002")).files:  # noqa: ASYNC110 - another process has no event to wait for
        await asyncio.sleep(0.02)
    await till.read()
    (case,) = await till.waiting()
    assert orjson.loads(case.facts)["code"] == "not_our_batch"


async def test_a_statement_that_is_not_signed_keeps_no_other_from_the_proof(till: Till) -> None:
    await till.pays(7_000)
    await till.fault("signature_wrong", customer_id=till.customer_id, type="camt.053")
    assert await till.proved() == {7_000: 1}
    assert await till.kinds() == ["bank_file_set_aside"]
    assert await till.hub.daily_proof().fetch_bank_files(till.book, BANK) == 1
    assert await till.kinds() == []
