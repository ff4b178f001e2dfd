"""A merchant whose bank takes files by a folder: paid, returned and spoiled, by the hub's own worker."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import cases
import splitting
from kernel.clock import business_date
from kernel.db import acquire
from kernel.env import Env, system_env
from ledger import OpenAccounts, Post, Transfer, accounts
from ops.cases import decide
from ops.verify import verify
from ops.wiring import Hub, hub
from splitting.banks.worker import BankWorker
from splitting.settlement.calendar import BankHours
from splitting.tables import Instruction
from tests.contract.counterparties import Control
from tests.splitting.play_bank import private_pem

pytestmark = pytest.mark.asyncio(loop_scope="session")
BANK = "icbc"


async def until(worker: BankWorker, done: Callable[[], Awaitable[bool]]) -> None:
    """Have the worker go round until something is so."""
    async with asyncio.timeout(20):
        while not await done():
            await worker.once()
            await asyncio.sleep(0.05)


async def lines_of(hub: Hub, book: int) -> list[Instruction]:
    async with acquire(hub.pool) as connection:
        (batch,) = await splitting.store.settlements(connection, book)
        return await splitting.store.instructions(connection, book, batch.id)


async def test_a_batch_goes_out_and_comes_back_by_a_folder(
    database_url: str, tmp_path: Path, env: Env, control: Control
) -> None:
    async with hub(
        database_url=database_url,
        redis_url=None,
        home=tmp_path,
        public_url="http://127.0.0.1:1",
        env=system_env(env.transport),
    ) as objects:
        book = (await objects.merchants.add("tea", currencies=["CNY"])).book
        given = await control("bank/customers", name="tea", drop=True)
        link = await objects.merchants.link_bank(book, BANK, given, name="pool", currency="CNY")
        await objects.payouts.set_bank(book, BANK, BankHours(), release_above_minor=None, only_deposited=False)
        farm = await objects.payees.register(
            book, reference="farm", name="farm", kind="supplier", currency="CNY", bank=BANK
        )
        today = business_date(objects.env.now())
        channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
        owed = accounts.payee(farm.id, "CNY")
        await objects.lanes.put(OpenAccounts(book, [channel, merchant, owed]))
        paid = Transfer("t1", "payment_captured", channel, merchant, 10_000, "CNY")
        await objects.lanes.put(Post(book, "p1", [paid, Transfer("t2", "share", merchant, owed, 9_000, "CNY")], today))
        await control("bank/deposits", account=link.pool_account, amount_minor=10_000, end_to_end_id=f"WHO-{book}-1")

        worker = objects.bank_worker()
        key = {"private_key": private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))}
        await objects.banks.rotate(book, BANK, key, folder=tmp_path)  # not the customer's
        batch = await objects.banks.settle(
            book, BANK, today, "CNY", execution_date=today + timedelta(days=1), not_before=objects.env.now()
        )
        assert batch is not None
        assert batch.status == "created", "the bank has not said that it has it"

        async def is_refused() -> bool:
            async with acquire(objects.pool) as connection:
                return [one.status for one in await splitting.store.settlements(connection, book)] == ["refused"]

        await until(worker, is_refused)
        for same in (True, False):  # a refusal of before is none of what is sent again
            async with acquire(objects.pool) as connection:
                found = await cases.store.cases(connection, book=book, decided=False)
            (case,) = [one for one in found if one.kind == "settlement_refused"]
            if not same:
                await objects.banks.rotate(book, BANK, {"private_key_file": given["private_key_file"]}, folder=tmp_path)
            await decide(objects, case.id, "send_again", by="Wang", note="the key was put right")
            if same:
                await until(worker, is_refused)

        async def is_paid() -> bool:
            return [line.status for line in await lines_of(objects, book)] == ["paid"]

        await until(worker, is_paid)
        assert (await objects.banks.client(link).account(str(farm.bank_account))).balance_minor == 9_000

        (line,) = await lines_of(objects, book)
        await control("bank/returns", account=farm.bank_account, end_to_end_id=line.id, code="AC04")

        async def is_back() -> bool:
            return [one.status for one in await lines_of(objects, book)] == ["returned"]

        await until(worker, is_back)
        assert (await lines_of(objects, book))[0].return_reason == "AC04"

        for fault, code in (("drop_cut", "signature_forged"), ("drop_unsigned", "signature_unsigned")):
            await control(
                "faults", rail="bank", fault=fault, params={}, times=1,
                match={"customer_id": given["customer_id"], "type": "camt.054"},
            )  # fmt: skip
            for n in (1, 2):
                name = f"WHO-{book}-{fault}-{n}"
                await control("bank/deposits", account=link.pool_account, amount_minor=n, end_to_end_id=name)

            async def is_set_aside(code: str = code) -> bool:
                async with acquire(objects.pool) as connection:
                    files = await splitting.store.bank_files(connection, book, fate="quarantined")
                return [file.code for file in files][:1] == [code]

            await until(worker, is_set_aside)

        async def everything_else_is_read() -> bool:
            async with acquire(objects.pool) as connection:
                told = await cases.store.cases(connection, book=book, kind="booking_unidentified")
            return len(told) == 1 + 2

        await until(worker, everything_else_is_read)
        async with acquire(objects.pool) as connection:
            (first,) = [
                one
                for one in await cases.store.cases(connection, book=book, kind="booking_unidentified")
                if one.amount_minor == 10_000
            ]
        await decide(objects, first.id, "suspend", by="Wang", note="nobody knows")
        assert [one.name for one in await verify(objects.pool) if one.broken] == []
