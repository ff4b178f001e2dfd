"""A merchant whose bank answers over a direct link: paid, refused and returned, by the hub's own worker."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import cases
import splitting
from channels.banks.cmb import CmbClient
from kernel.clock import business_date
from kernel.db import acquire
from kernel.env import Env, system_env
from kernel.errors import Rejected
from ledger import OpenAccounts, Post, Transfer, accounts
from ops.verify import verify
from ops.wiring import Hub, hub
from reconciliation.matching.verdicts import Area
from reconciliation.sources.statements import statements_of
from splitting.settlement.calendar import BankHours
from splitting.tables import BankFile, Instruction
from tests.contract.counterparties import Control

pytestmark = pytest.mark.asyncio(loop_scope="session")
BANK = "cmb"


async def lines_of(hub: Hub, book: int) -> dict[str, Instruction]:
    async with acquire(hub.pool) as connection:
        (batch,) = await splitting.store.settlements(connection, book)
        return {line.name: line for line in await splitting.store.instructions(connection, book, batch.id)}


async def files_of(hub: Hub, book: int) -> list[BankFile]:
    async with acquire(hub.pool) as connection:
        return await splitting.store.bank_files(connection, book)


async def test_a_batch_is_given_asked_for_and_comes_back_over_a_link(
    database_url: str, tmp_path: Path, env: Env, control: Control
) -> None:
    async with hub(
        database_url=database_url, redis_url=None, home=tmp_path, public_url="http://127.0.0.1:1",
        env=system_env(env.transport),
    ) as objects:  # fmt: skip
        today = business_date(objects.env.now())
        await control("cmb/date", date=today.isoformat())
        book = (await objects.merchants.add("tea", currencies=["CNY"])).book
        given = await control("cmb/customers", name="杭州茶铺有限公司")
        for wrong, code in (
            ({"account_holder": "another"}, "bank_other_holder"),
            ({"account": "755900000000000"}, "bank_no_such_account"),
            ({"symmetric_key": "short"}, "bank_settings_wrong"),
            ({"profile": "icbc"}, "bank_settings_wrong"),
        ):
            with pytest.raises(Rejected) as refused:
                await objects.merchants.link_bank(book, BANK, given | wrong, name="pool", currency="CNY")
            assert refused.value.code == code
        link = await objects.merchants.link_bank(book, BANK, given, name="pool", currency="CNY")
        await objects.payouts.set_bank(book, BANK, BankHours(), release_above_minor=None, only_deposited=False)
        assert link.pool_account == given["account"]
        assert given["symmetric_key"] not in link.settings

        payees = {}
        for name in ("farm", "mill"):
            with pytest.raises(Rejected, match="own account"):
                await objects.payees.register(
                    book, reference=name, name=name, kind="supplier", currency="CNY", bank=BANK
                )
            account = (await control("cmb/accounts", name="farm"))["account"]  # the mill's is in another's name
            payees[name] = await objects.payees.register(
                book, reference=name, name=name, kind="supplier", currency="CNY", bank=BANK, account=account
            )
        channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
        owed = {name: accounts.payee(payee.id, "CNY") for name, payee in payees.items()}
        await objects.lanes.put(OpenAccounts(book, [channel, merchant, *owed.values()]))
        shares = [Transfer(f"s{name}", "share", merchant, to, 4_000, "CNY") for name, to in owed.items()]
        paid = Transfer("t1", "payment_captured", channel, merchant, 10_000, "CNY")
        await objects.lanes.put(Post(book, "p1", [paid, *shares], today))
        await control("cmb/deposits", account=link.pool_account, amount_minor=10_000, end_to_end_id=f"WHO-{book}")

        def quick() -> None:
            client = objects.banks.client(link)
            assert isinstance(client, CmbClient)
            client.most_wait_s = 0.1

        quick()
        await control(
            "faults", rail="cmb", fault="answer_lost", params={}, times=1,
            match={"uid": given["uid"], "funcode": "BB1PAYBH"},
        )  # fmt: skip
        batch = await objects.banks.settle(
            book, BANK, today, "CNY", execution_date=today + timedelta(days=1), not_before=objects.env.now()
        )
        assert batch is not None
        assert batch.status == "created", "its answer was lost"
        worker = objects.bank_worker()

        async def until(done: Callable[[dict[str, Instruction]], bool]) -> None:
            async with asyncio.timeout(30):
                while not done(await lines_of(objects, book)):
                    await worker.once()
                    await asyncio.sleep(0.05)

        await until(lambda lines: [lines[name].status for name in payees] == ["paid", "refused"])
        lines = await lines_of(objects, book)
        assert lines["mill"].reason == "F"
        assert (await objects.banks.client(link).account(link.pool_account)).balance_minor == 6_000, "it was given once"

        await control("cmb/returns", end_to_end_id=lines["farm"].id, code="AC04")
        await until(lambda lines: lines["farm"].status == "returned")
        assert (await lines_of(objects, book))["farm"].return_reason == "AC04"

        async def standing() -> set[str]:
            async with acquire(objects.pool) as connection:
                return {one.kind for one in await cases.store.cases(connection, book=book, decided=False)}

        assert await standing() == {"booking_unidentified"}, "the deposit alone, which no channel names"
        kept = await files_of(objects, book)
        assert {file.fate for file in kept} == {"applied"}
        assert set(Counter(file.type for file in kept)) == {"cmb.batch", "cmb.bookings"}
        assert (await objects.banks.files.content(kept[0])).startswith(b'{"about":')

        objects.banks._clients.clear()  # as after a restart: what was answered is known by the cursor
        quick()
        for _ in range(3):
            await worker.once()
            await asyncio.sleep(0.2)
        assert len(await files_of(objects, book)) == len(kept)

        await control("cmb/close-day", date=today.isoformat())
        client = objects.banks.client(link)
        asked = [(await client.list_files("cmb.day")).files[-1] for _ in range(2)]
        assert asked[0].file_id == asked[1].file_id, "two ask of one day at a time, and each is answered on its own"
        assert [hashlib.sha256(await client.fetch(one)).hexdigest() for one in asked] == [one.sha256 for one in asked]
        proof = objects.daily_proof()
        assert await proof.fetch_bank_files(book, BANK) >= len(kept)
        await proof.fetch_bank_files(book, BANK)
        assert {"cmb.day"} < {file.type for file in await files_of(objects, book)}
        run = await proof.bank(book, BANK, today, currency="CNY", deposit_ids={f"WHO-{book}"})
        differs = [found.key.reference for found in run.discrepancies if found.key.area is Area.BALANCE]
        assert differs == [f"{link.pool_account}@{today}"], "payees' own accounts are in no statement"
        assert [one for one in await verify(objects.pool) if one.broken] == []


async def test_a_day_whose_bookings_do_not_lead_to_its_balance_is_asked_for_until_they_do(
    database_url: str, tmp_path: Path, env: Env, control: Control
) -> None:
    async with hub(
        database_url=database_url, redis_url=None, home=tmp_path, public_url="http://127.0.0.1:1",
        env=system_env(env.transport),
    ) as objects:  # fmt: skip
        today = business_date(objects.env.now())
        yesterday = today - timedelta(days=1)
        book = (await objects.merchants.add("tea", currencies=["CNY"])).book
        given = await control("cmb/customers", name="杭州茶铺有限公司")
        link = await objects.merchants.link_bank(book, BANK, given, name="pool", currency="CNY")
        await control("cmb/date", date=yesterday.isoformat())
        for minor in (100, 200):
            await control("cmb/deposits", account=link.pool_account, amount_minor=minor, end_to_end_id=f"D{minor}")
        await control("cmb/date", date=today.isoformat())
        match = {"account": link.pool_account, "day": f"{yesterday:%Y%m%d}"}
        await control("faults", rail="cmb", fault="statement_entry_missing", params={}, times=1, match=match)
        proof = objects.daily_proof()

        async def gap() -> int:
            async with acquire(objects.pool) as connection:
                (told,) = await statements_of(connection, book, f"bank:{BANK}", yesterday)
            return told.gap.minor

        assert await proof.fetch_statements(book, BANK) > 0
        assert await gap() == 100
        assert await proof.fetch_statements(book, BANK) == 1, "of that day alone there is something new"
        assert await gap() == 0
        assert await proof.fetch_statements(book, BANK) == 0
        assert {file.fate for file in await files_of(objects, book)} == {"applied"}

        # The bank books something more on that day, and balances and bookings agree as they did before.
        await control("cmb/date", date=yesterday.isoformat())
        await control("cmb/deposits", account=link.pool_account, amount_minor=50, end_to_end_id="D50")
        await control("cmb/date", date=today.isoformat())
        assert await proof.fetch_statements(book, BANK) == 0
        assert await objects.proving().fetch(yesterday) == []
        async with acquire(objects.pool) as connection:
            (told,) = await statements_of(connection, book, f"bank:{BANK}", yesterday)
        assert (told.closing.minor, told.gap.minor) == (350, 0)
        assert await proof.fetch_statements(book, BANK, yesterday) == 0, "it says the same again"
