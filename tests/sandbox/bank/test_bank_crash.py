"""What survives `kill -9`: everything the bank has answered, once."""

import asyncio
import sqlite3
from datetime import date, timedelta
from itertools import chain
from pathlib import Path

import aiohttp

from tests.sandbox.bank.bank_client import Customer, Pay, Sandbox, new_play, order, read_report, running_sandbox

NEVER = 1_000_000.0  # a time scale at which accepted files lie until the process is gone


async def restart(sandbox: Sandbox, time_scale: float) -> None:
    await sandbox.kill()
    sandbox.time_scale = time_scale
    await sandbox.start()


async def test_a_file_accepted_before_a_kill_is_executed_once_after_it(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path, NEVER) as sandbox:
        play = await new_play(sandbox)
        raw = order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)])
        accepted = await play.customer.upload(raw)
        assert accepted.status == 202
        assert await play.customer.files("pain.002") == []
        await restart(sandbox, 0.01)
        customer = sandbox.moved(play.customer)
        assert (await customer.upload(raw)).raw == accepted.raw
        assert (await customer.report(accepted.json)).status == "ACSC"
        await restart(sandbox, 0.01)
        customer = sandbox.moved(play.customer)
        assert await customer.balance(play.payee) == 10_00
        assert len(await customer.files("pain.002")) == 1


async def test_keys_accounts_dates_and_faults_outlive_the_process(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        play = await new_play(sandbox)
        day = await sandbox.today()
        await sandbox.close_day(day)
        await sandbox.fault("refuse_line", {"creditor_account": play.payee})
        await restart(sandbox, 0.01)
        customer = sandbox.moved(play.customer)
        assert await sandbox.today() == day + timedelta(days=1)
        assert await customer.balance(play.pool) == 100_00
        report = await customer.pay(order("M-1", play.pool, [Pay("E-1", "1.00", play.payee)]))
        assert report.lines == [("E-1", "RJCT", "AC04")]
        for listed in await customer.files():
            await customer.download(listed)  # signed by the same bank key


async def upload_until_answered(customer: Customer, sandbox: Sandbox, raw: bytes) -> str:
    """Send a file until the bank answers: the way a client that fears double payment may, under one MsgId."""
    while True:
        try:
            answer = await sandbox.moved(customer).upload(raw)
        except aiohttp.ClientError:
            await asyncio.sleep(0.01)
            continue
        assert answer.status == 202
        return str(answer.json["file_id"])


async def test_no_yuan_is_lost_or_made_when_the_bank_is_killed_again_and_again(tmp_path: Path) -> None:
    files = [[f"E-{number}-{line}" for line in range(20)] for number in range(12)]
    async with running_sandbox(tmp_path, 0.005) as sandbox:
        play = await new_play(sandbox)

        async def send_all() -> list[str]:
            return [
                await upload_until_answered(
                    play.customer,
                    sandbox,
                    order(f"M-{number}", play.pool, [Pay(line, "0.10", play.payee) for line in lines]),
                )
                for number, lines in enumerate(files)
            ]

        sending = asyncio.create_task(send_all())
        for _ in range(5):
            await asyncio.sleep(0.03)
            await restart(sandbox, 0.005)
        sent = await sending
        customer = sandbox.moved(play.customer)
        for number, file_id in enumerate(sent):
            report = await customer.report({"message_id": f"M-{number}", "file_id": file_id})
            assert report.lines == [(line, "ACSC", None) for line in files[number]]
        assert len(await customer.files("pain.002")) == len(files)
        truth = await sandbox.truth(play.payee)
        assert sorted(entry["end_to_end_id"] for entry in truth["entries"]) == sorted(chain(*files))
        assert truth["balance_minor"] == 24_00
        assert (await sandbox.truth(play.pool))["balance_minor"] == 76_00


async def test_days_that_passed_while_the_sandbox_was_off_are_closed_before_anybody_is_served(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        play = await new_play(sandbox)
        today = await sandbox.today()
        await sandbox.kill()
        set_bank_date_back(tmp_path, today - timedelta(days=2), today)
        await sandbox.start()
        assert await sandbox.today() == today
        customer = sandbox.moved(play.customer)
        first, second = [await customer.statements(today - timedelta(days=ago)) for ago in (2, 1)]
        assert (first[play.pool].closing, second[play.pool].opening) == (100_00, 100_00)
        assert len(first[play.pool].bookings) == 1


def set_bank_date_back(home: Path, then: date, now: date) -> None:
    """Make the sandbox look as if it had last run on `then`."""
    with sqlite3.connect(home / "sandbox" / "sandbox.db") as store:
        store.execute("UPDATE bank_state SET value = ? WHERE value = ?", (then.isoformat(), now.isoformat()))
        store.execute("UPDATE bank_account SET opened_date = ?", (then.isoformat(),))
        store.execute("UPDATE bank_entry SET booking_date = ?", (then.isoformat(),))


async def test_a_file_forgotten_to_have_been_executed_still_pays_nothing_twice(tmp_path: Path) -> None:
    """Plant the fault the one-transaction rule prevents, and see the second line of defence hold."""
    async with running_sandbox(tmp_path) as sandbox:
        play = await new_play(sandbox)
        await play.customer.pay(order("M-1", play.pool, [Pay("E-1", "10.00", play.payee)]))
        await sandbox.kill()
        forget_execution(tmp_path)
        await sandbox.start()
        customer = sandbox.moved(play.customer)
        # Files are executed in the order they came, so once this one is reported the forgotten one was tried.
        await customer.pay(order("M-2", play.pool, [Pay("E-2", "1.00", play.payee)]))
        reports = [read_report(await customer.download(listed)) for listed in await customer.files("pain.002")]
        assert [report.lines for report in reports] == [
            [("E-1", "ACSC", None)],
            [("E-1", "RJCT", "AM05")],
            [("E-2", "ACSC", None)],
        ]
        assert await customer.balance(play.payee) == 11_00


def forget_execution(home: Path) -> None:
    with sqlite3.connect(home / "sandbox" / "sandbox.db") as store:
        store.execute("UPDATE bank_upload SET status = 'received'")
