"""From the bank's own files to discrepancies: the sandbox bank as a process, its faults, a real PostgreSQL."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

import reconciliation
from channels.banks import Accepted, AccountStatement, Fate, Instruction
from channels.banks.iso20022 import BankClient, Batch, pain001, read_pain002, read_settings
from channels.contract import Unknown
from channels.http import HttpTransport
from kernel.addresses import LOOPBACK
from kernel.db import Connection
from kernel.env import Env, Request, system_env
from kernel.money import Money
from reconciliation import (
    Deposits,
    DiscrepancyKind,
    Mirror,
    Payout,
    Payouts,
    PayoutStatus,
    Run,
    State,
    Statements,
    discrepancies,
    entries_on,
    keep_bank_file,
    reconcile,
    reports_on,
    statements_of,
)

REPOSITORY = Path(reconciliation.__file__).parents[1]
SCHEMA = Path(reconciliation.__file__).with_name("schema.sql").read_text(encoding="utf-8")
BANK = "bank:SBXBCNBJXXX"
WX = "WX190000000120261124"


@dataclass
class Rig:
    """A customer of the sandbox bank with a pool account that holds money and some payees."""

    base_url: str
    env: Env
    client: BankClient
    conn: Connection
    pool: str
    subs: list[str]
    day: date

    async def control(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.env.transport.send(
            Request("POST", f"{self.base_url}/control{path}", {"Content-Type": "application/json"}, orjson.dumps(body)),
            timeout_s=20,
        )
        assert answer.status < 300, answer.body
        return orjson.loads(answer.body)

    async def fault(self, name: str, match: dict[str, str], **params: Any) -> None:
        await self.control("/faults", {"fault": name, "rail": "bank", "match": match, "times": 1, "params": params})

    def batch(self, message_id: str, amounts: list[int]) -> Batch:
        lines = [
            Instruction(f"{message_id}-{n}", self.subs[n], f"收款方 {n} & Co", Money(minor, "CNY"), "share of the day")
            for n, minor in enumerate(amounts)
        ]
        return Batch(message_id, self.pool, "测试商户 <a>", self.day, self.client.settings.bic, lines)

    async def pay(self, batch: Batch) -> dict[str, Fate]:
        """Have a batch executed and return the fate of each line."""
        accepted = await self.client.upload(pain001(batch))
        assert isinstance(accepted, Accepted), accepted
        reports = await until(lambda: self.reports(batch.message_id))
        return {line.end_to_end_id: line.fate for line in reports[0].lines}

    async def reports(self, message_id: str) -> list[Any]:
        page = await self.client.list_files("pain.002", message_id=message_id)
        return [read_pain002(await self.client.fetch(file)) for file in page.files]

    async def collect(self) -> None:
        """Fetch everything the bank has and keep it; twice, as a restarted worker would."""
        for kind in ("pain.002", "camt.054", "camt.053"):
            for file in (await self.client.list_files(kind)).files:
                raw = await self.client.fetch(file)
                for fresh in (True, False):
                    kept = await keep_bank_file(
                        self.conn, book=1, counterparty=BANK, listed=file, raw=raw, now=self.env.now()
                    )
                    assert (kept.refused, kept.fresh) == (None, fresh)

    async def run(self, payouts: list[Payout], mirrors: dict[str, int]) -> Run:
        return await reconcile(
            self.conn,
            book=1,
            counterparty=BANK,
            business_date=self.day,
            payouts=Payouts(payouts, await reports_on(self.conn, 1, BANK, self.day), frozenset({WX})),
            statements=Statements(
                await statements_of(self.conn, 1, BANK, self.day),
                [Mirror(account, Money(minor, "CNY")) for account, minor in mirrors.items()],
            ),
            now=self.env.now(),
        )

    def payout(self, batch: Batch, number: int, status: PayoutStatus = PayoutStatus.PAID) -> Payout:
        line = batch.instructions[number]
        return Payout(
            line.end_to_end_id, batch.message_id, self.pool, line.creditor_account, line.amount, status, self.day
        )


async def until(ask: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """Ask until there is something."""
    while not (found := await ask()):  # noqa: ASYNC110 - another process has no event to wait for
        await asyncio.sleep(0.02)
    return found


@pytest.fixture
async def rig(tmp_path: Path, database_url: str) -> AsyncIterator[Rig]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "--home", str(tmp_path), "--port", "0", "--time-scale", "0.01"),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    base_url = (await process.stdout.readline()).decode().split()[-1]
    conn = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    await conn.execute("CREATE SCHEMA alone; SET search_path = alone")
    await conn.execute(SCHEMA)
    try:
        async with HttpTransport(addresses=LOOPBACK) as transport:
            env = system_env(transport)
            unnamed: Any = None
            rig = Rig(base_url, env, unnamed, conn, "", [], date.min)
            rig.client = BankClient(read_settings(await rig.control("/bank/customers", {"name": "测试商户"})), env)
            rig.pool = (await rig.client.open_account("pool", "备付金", "CNY", "pool")).account
            rig.subs = [
                (await rig.client.open_account(f"sub-{n}", f"收款方 {n}", "CNY", "sub")).account for n in range(5)
            ]
            deposit = {"account": rig.pool, "amount_minor": 100_000, "end_to_end_id": WX}
            await rig.control("/bank/deposits", deposit)
            (notice,) = (await rig.client.list_files("camt.054")).files
            rig.day = notice.business_date
            yield rig
    finally:
        await conn.close()
        process.terminate()
        await process.wait()


async def test_a_day_of_deposits_and_payouts_agrees_to_the_last_cent(rig: Rig) -> None:
    batch = rig.batch("B1", [10_000, 1, 333])
    assert await rig.pay(batch) == {f"B1-{n}": Fate.EXECUTED for n in range(3)}
    await rig.control("/bank/close-day", {"date": rig.day.isoformat()})
    await rig.collect()
    mirrors = dict.fromkeys(rig.subs, 0) | {rig.pool: 100_000 - 10_334}
    mirrors |= {rig.subs[0]: 10_000, rig.subs[1]: 1, rig.subs[2]: 333}
    run = await rig.run([rig.payout(batch, n) for n in range(3)], mirrors)
    assert run.discrepancies == ()
    assert sum(run.matched.values()) == 3 + 1 + 6 * 2
    sheets: list[AccountStatement] = await statements_of(rig.conn, 1, BANK, rig.day)
    assert {sheet.account: sheet.closing.minor for sheet in sheets} == mirrors
    deposit = Deposits(WX, await entries_on(rig.conn, 1, BANK, [rig.day]))
    day = rig.day - timedelta(days=1)
    channel = await reconcile(
        rig.conn,
        book=1,
        counterparty="wechat:1900000001",
        business_date=day,
        movements=[],
        bill=[],
        deposits=deposit,
        now=datetime.now(UTC),
    )
    assert channel.received_minor == 100_000


async def test_an_order_that_the_bank_books_as_one_agrees_line_by_line(rig: Rig) -> None:
    await rig.fault("statement_batched", {"account": rig.pool})
    batch = rig.batch("B1", [10_000, 1, 333])
    assert await rig.pay(batch) == {f"B1-{n}": Fate.EXECUTED for n in range(3)}
    await rig.control("/bank/close-day", {"date": rig.day.isoformat()})
    await rig.collect()
    (pool,) = [one for one in await statements_of(rig.conn, 1, BANK, rig.day) if one.account == rig.pool]
    (whole,) = [entry for entry in pool.entries if entry.amount.minor < 0]
    assert (whole.amount.minor, whole.end_to_end_id, batch.message_id in whole.batch_refs) == (-10_334, None, True)
    mirrors = dict.fromkeys(rig.subs, 0) | {rig.pool: 100_000 - 10_334}
    mirrors |= {rig.subs[0]: 10_000, rig.subs[1]: 1, rig.subs[2]: 333}
    run = await rig.run([rig.payout(batch, n) for n in range(3)], mirrors)
    assert run.discrepancies == ()


async def test_every_fault_of_the_bank_is_found_and_none_is_invented(rig: Rig) -> None:
    await rig.fault("refuse_line", {"end_to_end_id": "B1-0"}, code="AC04")
    await rig.fault("statement_entry_missing", {"end_to_end_id": "B1-1", "account": rig.subs[1]})
    await rig.fault("statement_entry_altered", {"end_to_end_id": "B1-2", "account": rig.subs[2]}, delta_minor=7)
    await rig.fault("statement_entry_doubled", {"end_to_end_id": "B1-3", "account": rig.pool})
    batch = rig.batch("B1", [1_000, 2_000, 3_000, 4_000, 5_000])
    fates = await rig.pay(batch)
    assert fates.pop("B1-0") is Fate.REFUSED
    assert set(fates.values()) == {Fate.EXECUTED}
    await rig.control("/bank/close-day", {"date": rig.day.isoformat()})
    await rig.collect()
    mirrors = {account: 1_000 * (n + 1) for n, account in enumerate(rig.subs)} | {rig.pool: 100_000 - 14_000}
    mirrors[rig.subs[0]] = 0
    ours = [rig.payout(batch, n) for n in range(5)]
    ours[0] = rig.payout(batch, 0, PayoutStatus.REFUSED)
    run = await rig.run(ours, mirrors)
    assert {(one.key.reference, one.kind, one.verdict.difference_minor) for one in run.discrepancies} == {
        ("B1-1", DiscrepancyKind.PAYOUT_MISSING_AT_BANK, -2_000),
        (f"{rig.subs[1]}@{rig.day}", DiscrepancyKind.STATEMENT_GAP, 2_000),
        ("B1-2", DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS, 7),
        (f"{rig.subs[2]}@{rig.day}", DiscrepancyKind.STATEMENT_GAP, -7),
        ("B1-3", DiscrepancyKind.PAYOUT_DUPLICATE, 4_000),
        (f"{rig.pool}@{rig.day}", DiscrepancyKind.STATEMENT_GAP, 4_000),
    }
    cases = await discrepancies(rig.conn, 1, now=rig.env.now())
    assert {case.state for case in cases if case.kind is DiscrepancyKind.STATEMENT_GAP} == {State.EXPLAINED}
    assert {case.state for case in cases if case.kind is not DiscrepancyKind.STATEMENT_GAP} == {State.OPEN}
    again = await rig.run(ours, mirrors)
    assert (again.moves, again.digest) == ((), run.digest)


async def test_an_instruction_the_hub_never_gave_and_one_it_books_wrongly_are_told(rig: Rig) -> None:
    batch = rig.batch("B1", [1_000, 2_000])
    await rig.pay(batch)
    await rig.control("/bank/close-day", {"date": rig.day.isoformat()})
    await rig.collect()
    mirrors = dict.fromkeys(rig.subs, 0) | {rig.pool: 100_000 - 1_001, rig.subs[0]: 1_001}
    wrong = replace(rig.payout(batch, 0), amount=Money(1_001, "CNY"))
    run = await rig.run([wrong], mirrors)
    assert {(one.key.reference, one.kind) for one in run.discrepancies} == {
        ("B1-0", DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS),
        ("B1-1", DiscrepancyKind.PAYOUT_UNKNOWN_AT_HUB),
    }


async def test_a_payout_that_comes_back_is_told(rig: Rig) -> None:
    batch = rig.batch("B1", [1_000])
    await rig.pay(batch)
    await rig.control("/bank/returns", {"account": rig.subs[0], "end_to_end_id": "B1-0", "code": "AC04"})
    await rig.control("/bank/close-day", {"date": rig.day.isoformat()})
    await rig.collect()
    mirrors = dict.fromkeys(rig.subs, 0) | {rig.pool: 99_000, rig.subs[0]: 1_000}
    run = await rig.run([rig.payout(batch, 0)], mirrors)
    assert [(one.kind, one.verdict.difference_minor) for one in run.discrepancies] == [
        (DiscrepancyKind.PAYOUT_STATUS_DIFFERS, -1_000)
    ]


async def test_a_lost_answer_and_a_repeat_pay_once(rig: Rig) -> None:
    await rig.fault("answer_lost", {"op": "upload"})
    batch = rig.batch("B1", [1_000])
    assert isinstance(await rig.client.upload(pain001(batch)), Unknown)
    (known,) = await rig.client.uploads("B1")
    assert known.sha256 == hashlib.sha256(pain001(batch)).hexdigest()
    assert await rig.pay(batch) == {"B1-0": Fate.EXECUTED}
    assert (await rig.client.account(rig.subs[0])).balance_minor == 1_000


async def test_a_lost_request_left_nothing_at_the_bank(rig: Rig) -> None:
    await rig.fault("request_lost", {"op": "upload"})
    assert isinstance(await rig.client.upload(pain001(rig.batch("B1", [1_000]))), Unknown)
    assert await rig.client.uploads("B1") == ()


async def test_other_bytes_under_the_same_message_id_pay_nothing_and_undo_nothing(rig: Rig) -> None:
    batch = rig.batch("B1", [1_000])
    await rig.pay(batch)
    other = await rig.client.upload(pain001(rig.batch("B1", [2_000])))
    assert isinstance(other, Accepted)

    async def second() -> list[Any]:
        return (await rig.reports("B1"))[1:]

    (refusal,) = await until(second)
    assert (refusal.group_status, refusal.group_reason) == ("RJCT", "AM05")
    assert refusal.fate_of("B1-0").fate is Fate.IN_DOUBT
    assert (await rig.client.account(rig.subs[0])).balance_minor == 1_000


async def test_what_the_bank_calls_a_duplicate_after_paying_it_is_in_doubt(rig: Rig) -> None:
    await rig.fault("say_refused", {"end_to_end_id": "B1-0"}, codes="NARR DU05")
    assert await rig.pay(rig.batch("B1", [1_000, 2_000])) == {"B1-0": Fate.IN_DOUBT, "B1-1": Fate.EXECUTED}
    await rig.fault("say_refused", {"end_to_end_id": "B2-0"}, codes="AM05")
    await rig.fault("report_by_payment", {"message_id": "B2"})
    assert await rig.pay(rig.batch("B2", [1_000])) == {}
    (report,) = await rig.reports("B2")
    assert (report.group_status, report.fate_of("B2-0").fate) == ("ACCP", Fate.IN_DOUBT)
    assert (await rig.client.account(rig.subs[0])).balance_minor == 2_000
