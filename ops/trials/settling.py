"""`sluice settle bench`: what a day's settlement, a balance and a statement cost in books of different age.

One book is made older and older through the hub's own commands, on a PostgreSQL of its own. At each age a few days are
traded and settled, and each is timed. Besides, one batch of very many lines is made, sent to a bank in a process of its
own, and answered by its report (settling_bank.py).
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import ledger
from channels import HttpTransport
from channels.banks import Entry
from channels.banks.iso20022.client import BankClient
from channels.banks.iso20022.settings import BankSettings
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.db import Connection, Pool, connect
from kernel.env import Request, system_env
from kernel.lane import ASIDES, Commit, Lane, Lanes, committing
from kernel.work import BOOKS, Command, Memory, carry_out, new_head
from ledger import OpenAccounts, Post, Transfer, accounts
from ops import embedded, interrupts
from ops.migrate import migrate
from ops.serve import settle_memory
from ops.settings import Settings
from ops.trials import settling_bank
from ops.trials.memory import forget_peak, peak_mb
from ops.verify import INVARIANTS
from splitting import BankLink, CreatePayee, DecideInstruction, LinkBank, MakeSettlement, Payee, states, store
from splitting.banks.files import BankFiles
from splitting.banks.sending import Sending
from splitting.settlement.making import make
from splitting.tables import Instruction, Settlement

BANK, CURRENCY = "bench", "CNY"
BEGUN = datetime(2020, 1, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
CHANNEL, MERCHANT = accounts.channel("rail", CURRENCY), accounts.merchant(CURRENCY)
SHARES = 3  # payees of a payment
A_COMMIT = 250  # payments
ASKED = 15  # times that a balance and a statement are asked for
DAYS = 5  # settled at each age


class World:
    """The book, the day it is in it, and its payees."""

    def __init__(self, connection: Connection, pool: Pool, payees: int, day: int, *, book: int = 1) -> None:
        self._book, self.connection, self._pool, self._payments_a_day = book, connection, pool, day
        self.now, self.payments, self._memory, self.commits = BEGUN, 0, Memory(), list[float]()  # seconds each
        self.payees = [f"pye_{n:08x}{0:018x}" for n in range(payees)]  # told by their first 16 digits

    @property
    def today(self) -> date:
        return business_date(self.now)

    async def do(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """Carry out commands in one commit, as the lane does; raise what one of them was refused with."""
        self.now += timedelta(milliseconds=5)
        began = time.perf_counter()
        async with self.connection.transaction():
            results, work = await carry_out(self.connection, commands, self.now, self._memory)
        self.commits.append(time.perf_counter() - began)
        self._memory.keep(work)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    async def put(self, command: Command[Any], *, alone: bool = False) -> Any:
        """Carry out one command in a commit of its own."""
        return (await self.do([command]))[0]

    async def open(self) -> None:
        await BOOKS.insert(self.connection, [new_head(self._book, self.now)])
        await self.do([OpenAccounts(self._book, [CHANNEL, MERCHANT])])
        for some in _parts(self.payees, A_COMMIT):
            rows = [Payee(self._book, one, one, "supplier", CURRENCY, BANK, "62" + one[4:12], self.now) for one in some]
            await self.do([CreatePayee(row) for row in rows])

    async def trade(self, payments: int) -> None:
        """Take so many payments today, and share each out."""
        for some in _parts(range(self.payments, self.payments + payments), A_COMMIT):
            await self.do([self._payment(number) for number in some])
        self.payments += payments

    def _payment(self, number: int) -> Post:
        shared = [Transfer(f"p{number}", "payment_captured", CHANNEL, MERCHANT, 10_000, CURRENCY)]
        shared.append(Transfer(f"p{number}:fee", "channel_fee", MERCHANT, CHANNEL, 60, CURRENCY))
        for n in range(SHARES):
            payee = self.payees[(number * SHARES + n) % len(self.payees)]
            owed = accounts.payee(payee, CURRENCY)
            shared.append(Transfer(f"p{number}:share:{n}", "share", MERCHANT, owed, 3_000 + n, CURRENCY))
        return Post(self._book, f"p{number}", shared, self.today)

    async def settle(self, day: date) -> float:
        """Settle a date and have the bank pay every line; return the seconds that making the batch took."""
        began = time.perf_counter()
        batch = MakeSettlement(self._book, BANK, day, day + DAY, CURRENCY, [], self.now)
        made = await make(self._pool, self, batch, lambda owed: owed if owed.minor > 0 else None)
        took = time.perf_counter() - began
        assert made is not None
        await self._answer(await store.instructions(self.connection, self._book, made.id), day + DAY)
        return took

    async def _answer(self, lines: Sequence[Instruction], day: date) -> None:
        for some in _parts(lines, A_COMMIT):
            await self.do([DecideInstruction(self._book, line.id, True, None, day) for line in some])

    async def large(self, url: str) -> dict[str, Any]:
        """Trade a day in which every payee has a share; make its batch, send it to a bank, have it answered.

        Return the figures: seconds, and of each step the most memory that this process had in use. What the commits
        took stands beside commits of A_COMMIT payments in the same book: of each kind the middle one, the one that a
        hundredth took longer than, and the longest.
        """
        await self.open()
        self.commits.clear()
        await self.trade(-(-len(self.payees) // SHARES))
        payments, self.commits = self.commits, []
        day = self.today
        await self.next_day()
        batch = MakeSettlement(self._book, BANK, day, day + DAY, CURRENCY, [], self.now)
        forget_peak()
        before_mb, began = peak_mb(), time.perf_counter()
        made = await make(self._pool, self, batch, lambda owed: owed if owed.minor > 0 else None)
        made_s, made_mb = time.perf_counter() - began, peak_mb()
        assert made is not None
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
            given = await self._given_to_a_bank(url, made, Path(folder))
        of_batch = self.commits + given.pop("commits")
        return {
            "lines": made.instruction_count,
            "made_s": round(made_s, 2),
            **given,
            "commits": _spread(of_batch),
            "payments_commits": _spread(payments),
            "longest_commit_ms": _spread(of_batch)["longest_ms"],
            "before_mb": before_mb,
            "made_mb": made_mb,
            "peak_mb": max(made_mb, given["sent_mb"], given["answered_mb"]),
        }

    async def _given_to_a_bank(self, url: str, made: Settlement, folder: Path) -> dict[str, Any]:
        """Send a batch to a bank in another process and apply its report, as the worker does; return the figures."""
        commits = list[float]()
        on_lane = partial(connect, url, name="bench lane", by_key=True)
        async with (
            HttpTransport(addresses=LOOPBACK) as transport,
            a_bank(folder) as settings,
            connect(url, size=4, name="bench") as pool,
            on_lane(size=1) as writing,
            on_lane(size=ASIDES) as aside,
        ):
            env = system_env(transport)
            lanes = Lanes([Lane(_clocked(committing(writing, aside, env), commits), env)])
            bank = BankClient(settings, env)
            link: BankLink = await lanes.put(LinkBank(BankLink(self._book, BANK, "6200000001", "{}", "{}")))
            pool_account = accounts.bank(BANK, CURRENCY)  # the batch waits until its money has been deposited
            paid_in = Transfer("deposit", "channel_deposit", pool_account, CHANNEL, made.total_minor, CURRENCY)
            await lanes.put(OpenAccounts(self._book, [pool_account]))
            await lanes.put(Post(self._book, "deposit", [paid_in], made.business_date))
            forget_peak()
            began = time.perf_counter()
            sent, _ = await Sending(pool, lanes, lambda _: bank).send(link, made)
            sent_s, sent_mb = time.perf_counter() - began, peak_mb()
            assert sent.status == states.Batch.SENT, sent
            forget_peak()
            began = time.perf_counter()
            await BankFiles(pool, lanes, env, lambda _: bank).read_new(link, {}, _nobodys)
            answered_s, answered_mb = time.perf_counter() - began, peak_mb()
            asked = await transport.send(Request("GET", f"{settings.base_url}/used"), timeout_s=10)
            used = json.loads(asked.body)
            await env.tasks.aclose()
        now = await store.find_settlement(self.connection, self._book, made.id)
        assert now is not None
        return {
            "sent_s": round(sent_s, 2),
            "answered_s": round(answered_s, 2),
            "undecided": now.open_count,
            "sent_mb": sent_mb,
            "answered_mb": answered_mb,
            "bank_mb": used["peak_mb"],
            "order_mb": used["order_mb"],
            "report_mb": used["report_mb"],
            "commits": commits,
        }

    async def grow(self, payments: int) -> None:
        """Trade and settle whole days until there are so many payments."""
        while self.payments < payments:
            await self.trade(min(self._payments_a_day, payments - self.payments))
            await self.next_day()
            await self.settle(self.today - DAY)
        await self.connection.execute("ANALYZE")  # as autovacuum does

    async def next_day(self) -> None:
        self.now = datetime.combine(self.today + DAY, BEGUN.time(), UTC)
        for index in ("transfer_lately", "day_sum_lately"):  # as autovacuum does
            await self.connection.execute("SELECT brin_summarize_new_values($1::text::regclass)", index)

    async def measured(self) -> dict[str, Any]:
        """Trade some days; return what settling one took, a balance and a statement of it.

        Of settling, the quickest day: whatever else the machine does only adds to it. Of the others, medians.
        """
        settled, balances, statements = list[float](), list[float](), list[float]()
        for _ in range(DAYS):
            await self.trade(self._payments_a_day)
            day, noon = self.today, self.now
            await self.next_day()
            settled.append(await self.settle(day))
            for n in range(ASKED):
                payee = accounts.payee(self.payees[n * 7 % len(self.payees)], CURRENCY)
                balances.append(await _timed(ledger.store.balance_at(self.connection, self._book, MERCHANT, noon)))
                statements.append(await _timed(ledger.store.statement(self.connection, self._book, payee, day, day)))
        return {
            "payments": self.payments,
            "settle_s": round(min(settled), 4),
            "balance_ms": round(1000 * statistics.median(balances), 2),
            "statement_ms": round(1000 * statistics.median(statements), 2),
        }


async def _nobodys(book: int, entry: Entry) -> str | None:
    return None


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return what commits took, in milliseconds."""
    told = sorted(seconds)
    at = {"median": len(told) // 2, "p99": len(told) * 99 // 100, "longest": len(told) - 1}
    return {"count": len(told), **{f"{name}_ms": round(1000 * told[place], 1) for name, place in at.items()}}


def _clocked(commit: Commit[Command[Any]], took: list[float]) -> Commit[Command[Any]]:
    """Return a lane's commit that notes what each took, in seconds."""

    async def timed(commands: Sequence[Command[Any]], wait: bool) -> Sequence[Any]:
        began = time.perf_counter()
        try:
            return await commit(commands, wait)
        finally:
            took.append(time.perf_counter() - began)

    return timed


@asynccontextmanager
async def a_bank(folder: Path) -> AsyncIterator[BankSettings]:
    """Have a bank in a process of its own; give what it gave its customer."""
    keys = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("bank", "customer")}
    pem = serialization.Encoding.PEM
    private, public = {}, {}
    for name, key in keys.items():
        private[name] = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        public[name] = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    (folder / "bank.pem").write_text(private["bank"])
    (folder / "customer.pub.pem").write_text(public["customer"])
    command = (sys.executable, "-m", settling_bank.__name__, str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield BankSettings(
            base_url=f"http://127.0.0.1:{port}", token="bench", key_id="customer", private_key=private["customer"],
            bank_keys={settling_bank.KEY_ID: public["bank"]}, bic="BENCCNBJXXX", timeout_s=120.0,
        )  # fmt: skip
    finally:
        process.terminate()
        await process.wait()


def _parts(all_: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(all_), size):
        yield all_[start : start + size]


async def _timed(asked: Any) -> float:
    began = time.perf_counter()
    assert await asked is not None
    return time.perf_counter() - began


async def run(
    url: str, *, histories: Sequence[int], payees: int, day: int, lines: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure on an empty database with the hub's schema; return the figures.

    histories: payments in the book, shortest first. day: payments of a day. lines: of the one large batch, which is
    first. `unsound` counts what the invariants find.
    """
    connection = await asyncpg.connect(url)
    try:
        async with connect(url, size=1) as pool:
            large = await World(connection, pool, lines, lines, book=2).large(url)
            say(f"a large batch: {large}")
            world = World(connection, pool, payees, day)
            await world.open()
            ages = await _ages(world, histories, say)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            unsound = sum([len(await check(connection)) for check in INVARIANTS.values()])
            transfers = await connection.fetchval("SELECT count(*) FROM transfer")
    finally:
        await connection.close()
    first, last = ages[0], ages[-1]
    names = ("settle_s", "balance_ms", "statement_ms")
    return {
        "payees": payees,
        "payments_a_day": day,
        "transfers": transfers,
        "ages": ages,
        "large": large,
        "growth": {name: round(last[name] / first[name], 2) for name in names},
        "unsound": unsound,
    }


async def _ages(world: World, histories: Sequence[int], say: Callable[[str], None]) -> list[dict[str, Any]]:
    found = []
    for history in histories:
        await world.grow(history)
        say(f"{history} payments are in the book")
        found.append({"history": history, **await world.measured()})
        say(f"  {found[-1]}")
    return found


def complaints(figures: dict[str, Any]) -> list[str]:
    """Return which promises were not kept: at most 2 s, 50 ms and 200 ms, and at most 1.5 × the youngest book's."""
    last, found = figures["ages"][-1], []
    for name, most in (("settle_s", 2.0), ("balance_ms", 50.0), ("statement_ms", 200.0)):
        if last[name] > most:
            found.append(f"{name} is {last[name]}, more than {most}")
        if figures["growth"][name] > 1.5:
            found.append(f"{name} has grown to {figures['growth'][name]} times its figure in the youngest book")
    if figures["large"]["undecided"]:
        found.append(f"{figures['large']['undecided']} lines of the large batch have not been decided")
    if figures["unsound"]:
        found.append(f"the books are not sound: {figures['unsound']}")
    return found


def page(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    rows = [f"{'payments':>10}  {'a day settled':>14}  {'a balance':>10}  {'a statement':>12}"]
    for age in figures["ages"]:
        rows.append(
            f"{age['history']:>10}  {age['settle_s']:>12.3f} s  {age['balance_ms']:>7.2f} ms  "
            f"{age['statement_ms']:>9.2f} ms"
        )
    grown = "  ".join(f"{name} {times} ×" for name, times in figures["growth"].items())
    rows.append(f"longest ÷ shortest: {grown}  (goal: at most 1.5)")
    big = figures["large"]
    rows.append(
        f"a batch of {big['lines']} lines: made in {big['made_s']} s, sent in {big['sent_s']} s "
        f"({big['order_mb']} MB), answered in {big['answered_s']} s ({big['report_mb']} MB)"
    )
    for name, what in (("commits", "its commits"), ("payments_commits", f"commits of {A_COMMIT} payments")):
        took = big[name]
        rows.append(
            f"{what}: {took['count']}, in the middle {took['median_ms']} ms, one in a hundred "
            f"over {took['p99_ms']} ms, the longest {took['longest_ms']} ms"
        )
    rows.append(
        f"memory in use at most: made {big['made_mb']} MB, sent {big['sent_mb']} MB, answered {big['answered_mb']} MB; "
        f"{big['before_mb']} MB before, {big['bank_mb']} MB at the bank"
    )
    return "\n".join([*rows, *(f"not kept: {one}" for one in complaints(figures))])


def command(settings: Settings, histories: str, *, payees: int, day: int, lines: int, output: Path | None) -> int:
    """Measure on a PostgreSQL of the bench's own, print, write; return 1 where a promise was not kept.

    output: the file of the figures, - to print them; None: settle-bench.json in the home.
    """
    try:
        ages = [int(one) for one in histories.split(",")]
    except ValueError:
        ages = []
    if not ages or ages != sorted(set(ages)) or ages[0] < 1:
        typer.echo(
            f"--histories: write numbers of payments that grow, as 10000,100000; this is {histories[:60]}", err=True
        )
        return 2
    settle_memory()  # as the hub's own processes do
    as_json = output == Path("-")
    said: Callable[[str], None] = (lambda line: None) if as_json else typer.echo
    figures = interrupts.run(
        _on_its_own_server(settings, histories=ages, payees=payees, day=day, lines=lines, say=said)
    )
    target = settings.home / "settle-bench.json" if output is None or as_json else output
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(json.dumps(figures) if as_json else f"{page(figures)}\nwritten to {target}")
    return 1 if complaints(figures) else 0


async def _on_its_own_server(settings: Settings, **asked: Any) -> dict[str, Any]:
    home = settings.home / "bench-servers"
    async with embedded.postgres(home, bin_folder=settings.pg_bin, user=settings.server_user) as postgres:
        return await alone(postgres.admin_socket_url, name=f"sluice_settle_bench_{os.getpid()}", **asked)


async def alone(admin_url: str, *, name: str, **asked: Any) -> dict[str, Any]:
    """Make a database for the bench on a server, measure there, and drop it. name: of the database."""
    url = admin_url.rpartition("/")[0] + f"/{name}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        await asyncio.to_thread(migrate, url)
        return await run(url, **asked)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()
