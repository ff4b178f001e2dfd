"""Withdrawals at the simulated bank, a process of its own: answers that are lost, a hub that stops, money once."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from channels import HttpTransport
from channels.banks import Accepted
from gateway.payments.bank_credits import BankCredits
from kernel.addresses import LOOPBACK
from kernel.db import acquire
from kernel.sealing import Secret
from ops.verify import verify
from splitting import Payee
from splitting.banks.worker import BankWorker
from splitting.tables import Withdrawal
from splitting.withdrawals.rules import reference
from splitting.withdrawals.sending import WithdrawalSending, order_of
from splitting.withdrawals.store import find
from tests.splitting.play_bank import OneWire, a_round
from tests.splitting.test_files_set_aside import waiting
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town, a_town, bind
from tests.support import a_sandbox


class Yard:
    """A town whose payee has 100.00 in a sub-account at the simulated bank, and withdraws to another bank."""

    def __init__(self, town: Town, bank_worker: BankWorker, control: Callable[..., Awaitable[Any]]) -> None:
        self.town, self.bank_worker, self.control = town, bank_worker, control
        self.payee: Payee

    async def open(self, *, identity_tokens: bool) -> None:
        hub, book = self.town.front.hub, self.town.front.book
        asked = {"name": "a shop", "identity_tokens": identity_tokens}
        custody = await self.control("/bank/customers", asked)
        self.customer: str = custody["customer_id"]
        link = await hub.merchants.link_bank(book, BANK, custody, name="pool", currency="CNY")
        await self.control(
            "/bank/deposits", {"account": link.pool_account, "amount_minor": 9_940, "end_to_end_id": "WX20261124"}
        )
        identity = None
        if identity_tokens:
            given = await self.control("/bank/identity-tokens", {"customer_id": self.customer, "name": "绿野农场"})
            identity = Secret(given["identity_token"])
        self.payee = await hub.payees.register(
            book, reference="farm-1", name="绿野农场", kind="supplier", currency="CNY", bank=BANK, identity=identity
        )
        await bind(self.town.front, self.payee.id)
        await self.town.front.paid("order-1", 10_000, split=[{"payee": self.payee.id, "remainder": 1}])
        await self.town.front.share_out()
        await hub.banks.settle(
            book, BANK, self.town.today, "CNY", execution_date=self.town.today + timedelta(days=1),
            not_before=self.town.front.clock.now(),
        )  # fmt: skip
        await self.until(lambda: self.has("sub_account_minor", 9_940))

    async def has(self, what: str, minor: int) -> bool:
        said = await self.town.front.hub.withdrawals.balance(self.town.front.book, self.payee.id)
        return said[what] == minor  # type: ignore[literal-required, no-any-return]

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Have rounds done until something is so; each is a minute later, for what waits."""
        for _ in range(400):
            await a_round(self.bank_worker)
            if await is_so():
                return
            self.town.front.clock.forward(60)
        raise AssertionError("it never came to that")

    async def ask(self, minor: int, number: str) -> Withdrawal:
        hub, book = self.town.front.hub, self.town.front.book
        return await hub.withdrawals.ask(
            book, self.payee.id, number=number, amount_minor=minor, currency="CNY", by="key_1"
        )

    async def now(self, row: Withdrawal) -> Withdrawal:
        async with acquire(self.town.front.hub.pool) as connection:
            found = await find(connection, row.book, row.id)
        assert found is not None
        return found

    async def becomes(self, row: Withdrawal, status: str) -> None:
        async def is_so() -> bool:
            return (await self.now(row)).status == status

        await self.until(is_so)

    async def debits(self, row: Withdrawal) -> list[int]:
        """Return what the bank took from the sub-account under a withdrawal's number, and gave back."""
        truth = await self.control(f"/bank/accounts/{self.payee.bank_account}/entries", None)
        number = reference(row.book, row.id)
        return [one["amount_minor"] for one in truth["entries"] if one["end_to_end_id"] == number]

    async def fault(self, name: str, match: Mapping[str, str], **params: Any) -> None:
        await self.control(
            "/faults", {"fault": name, "rail": "bank", "match": dict(match), "times": 1, "params": params}
        )


@asynccontextmanager
async def a_yard(database_url: str, home: Path, *, identity_tokens: bool = False) -> AsyncIterator[Yard]:
    async with (
        a_sandbox(home / "bank") as at,
        a_town(database_url, home) as town,
        HttpTransport(addresses=LOOPBACK) as transport,
        aiohttp.ClientSession() as http,
    ):
        hub, env = town.front.hub, town.front.hub.env
        env.transport = OneWire(env.transport, transport)

        async def control(path: str, body: Any) -> Any:
            method = "GET" if body is None else "POST"
            async with http.request(method, f"{at}/control{path}", json=body) as answer:
                assert answer.status < 300, await answer.text()
                return await answer.json()

        async def deposits(_: int) -> Mapping[str, Sequence[str]]:
            return {"WX": ["rail"]}

        worker = BankWorker(hub.banks, hub.pool, env, deposits, BankCredits(hub.payments, hub.pool).collected)
        yard = Yard(town, worker, control)
        await yard.open(identity_tokens=identity_tokens)
        yield yard
        assert [one for one in await verify(hub.pool) if one.broken] == []
        assert await waiting(town) == []
        await env.tasks.aclose()


async def test_paid_refused_and_returned_days_later_and_the_days_agree(database_url: str, tmp_path: Path) -> None:
    async with a_yard(database_url, tmp_path) as yard:
        hub, book = yard.town.front.hub, yard.town.front.book
        kept, back, refused = [await yard.ask(minor, f"w-{minor}") for minor in (2_000, 1_000, 500)]
        await yard.fault("refuse_line", {"end_to_end_id": reference(book, refused.id)}, code="AC04")
        for row, status in ((kept, "paid"), (back, "paid"), (refused, "refused")):
            await yard.becomes(row, status)
        assert [await yard.debits(row) for row in (kept, back, refused)] == [[-2_000], [-1_000], []]
        day = (await yard.now(kept)).bank_date
        assert day is not None
        await yard.control("/bank/close-day", {"date": day.isoformat()})
        number = reference(book, back.id)
        await yard.control("/bank/returns", {"account": back.account, "end_to_end_id": number, "code": "AC06"})
        await yard.becomes(back, "returned")
        now = await yard.now(back)
        assert (now.reason, now.returned_on) == ("AC06", day + timedelta(days=1))
        assert await yard.has("withdrawable_minor", 9_940 - 2_000)
        await yard.control("/bank/close-day", {"date": (day + timedelta(days=1)).isoformat()})
        assert await differences(yard, day) == await differences(yard, day + timedelta(days=1)) == []
        balance = await hub.banks.client(await hub.banks.link(book, BANK)).account(yard.payee.bank_account or "")
        assert balance.balance_minor == 9_940 - 2_000


async def differences(yard: Yard, day: date) -> list[str]:
    """Compare a day; the town's own payees have no accounts at this bank, and so no statements."""
    proof, book = yard.town.front.hub.daily_proof(), yard.town.front.book
    await proof.fetch_bank_files(book, BANK)
    run = await proof.bank(book, BANK, day, currency="CNY", deposit_ids={"WX20261124"})
    unknown = {f"6200{payee[-12:]}@{day}" for payee in (FARM, MILL, PLATFORM)}
    return [f"{one.kind} {one.key.reference}" for one in run.discrepancies if one.key.reference not in unknown]


@pytest.mark.parametrize("fault", ["request_lost", "answer_lost"])
async def test_what_is_lost_on_the_way_is_sent_again_and_paid_once(
    database_url: str, tmp_path: Path, fault: str
) -> None:
    async with a_yard(database_url, tmp_path) as yard:
        row = await yard.ask(2_000, "w-1")
        await yard.fault(fault, {"op": "upload", "message_id": reference(row.book, row.id)})
        await yard.becomes(row, "paid")
        assert await yard.debits(row) == [-2_000]


async def test_a_hub_that_stops_between_sending_and_noting_pays_once(database_url: str, tmp_path: Path) -> None:
    class Stops:
        async def put(self, command: Any) -> Any:
            raise KeyboardInterrupt

    async with a_yard(database_url, tmp_path) as yard:
        hub = yard.town.front.hub
        row = await yard.ask(2_000, "w-1")
        link = await hub.banks.link(row.book, BANK)
        with pytest.raises(KeyboardInterrupt):
            await WithdrawalSending(Stops(), hub.banks.client).send(link, row)
        assert (await yard.now(row)).status == "requested", "nothing was noted"
        await yard.becomes(row, "paid")
        assert isinstance(await hub.banks.client(link).submit(order_of(await yard.now(row))), Accepted)
        await a_round(yard.bank_worker)
        assert await yard.debits(row) == [-2_000]
