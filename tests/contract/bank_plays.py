"""What every bank's client must do, played against the simulated bank; a play fails by an assertion."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import aiohttp

from channels.banks import (
    Accepted,
    BadStatement,
    BankClient,
    Batch,
    Fate,
    FileInfo,
    Instruction,
    pain001,
    read_camt053,
    read_camt054,
    read_pain002,
)
from channels.contract import Refused, Unknown
from kernel.money import Money

WAIT_S = 10.0


@dataclass
class Desk:
    """A customer of the simulated bank, by the client that is tried, with a pool account and a payee's."""

    client: BankClient
    control: Callable[..., Awaitable[Any]]  # path, body → answer
    customer_id: str
    pool: str
    payee: str
    today: date
    number: int = 0

    @property
    def by_folder(self) -> bool:
        return self.client.settings.drop_dir is not None

    def batch(self, *amounts: int, message_id: str | None = None) -> Batch:
        """Return an order of so many lines to the payee."""
        self.number += 1
        ident = message_id or f"{self.customer_id[5:13]}-{self.number}"
        lines = [
            Instruction(f"{ident}-{n}", self.payee, "payee", Money(minor, "CNY")) for n, minor in enumerate(amounts)
        ]
        return Batch(ident, self.pool, "pool", self.today, self.client.settings.bic, lines)

    async def plant(self, fault: str, times: int = 1, **match: Any) -> None:
        """Order a fault of this customer's."""
        await self.control(
            "faults", rail="bank", fault=fault, params={}, match={"customer_id": self.customer_id, **match}, times=times
        )

    async def sent(self, xml: bytes) -> Accepted | Refused:
        """Give the bank an order, again and again as the worker does, until it has said yes or no."""
        async with asyncio.timeout(WAIT_S):
            while True:
                said = await self.client.upload(xml)
                if not isinstance(said, Unknown):
                    return said
                await asyncio.sleep(0.05)

    async def next_files(self, type: str, after: str | None, number: int = 1) -> tuple[list[FileInfo], str | None]:
        """Return the files after a cursor once there are so many, and the cursor after them."""
        found: list[FileInfo] = []
        async with asyncio.timeout(WAIT_S):
            while len(found) < number:
                page = await self.client.list_files(type, after, limit=1)
                found += page.files
                after = page.next
                if not page.files:
                    await asyncio.sleep(0.05)
        return found, after


async def refusal(client: BankClient, file: FileInfo) -> BadStatement:
    """Return why a file is not believed. Raises AssertionError where it is."""
    try:
        await client.fetch(file)
    except BadStatement as refused:
        return refused
    raise AssertionError(f"{file.name} is believed")


async def an_order_is_executed_once_however_often_it_is_given(desk: Desk) -> None:
    batch = desk.batch(1_000, 500)
    first = await desk.sent(pain001(batch))
    again = await desk.sent(pain001(batch))
    assert isinstance(first, Accepted), first
    assert first == again, "the same bytes are the same order"
    (report,), after = await desk.next_files("pain.002", None)
    said = read_pain002(await desk.client.fetch(report))
    assert said.original_message_id == batch.message_id
    assert {line.end_to_end_id: line.fate for line in said.lines} == {
        line.end_to_end_id: Fate.EXECUTED for line in batch.instructions
    }
    assert (await desk.client.account(desk.payee)).balance_minor == 1_500
    assert [one.sha256 for one in await desk.client.uploads(batch.message_id)] == [first.sha256]
    await asyncio.sleep(0.3)
    assert (await desk.client.list_files("pain.002", after)).files == (), "nothing was executed a second time"


async def an_order_that_is_not_in_itself_is_refused_and_nothing_of_it_done(desk: Desk) -> None:
    xml = pain001(desk.batch(700)).replace(b"<CtrlSum>7.00<", b"<CtrlSum>8.00<")
    said = await desk.sent(xml)
    assert isinstance(said, Refused), said
    assert said.code == "control_sum_differs"
    assert (await desk.client.account(desk.payee)).balance_minor == 0


async def silence_is_neither_yes_nor_no(desk: Desk) -> None:
    if desk.by_folder:
        xml = pain001(desk.batch(800))
        assert isinstance(await desk.client.upload(xml), Unknown), "there is no receipt yet"
        assert isinstance(await desk.sent(xml), Accepted)
        return
    for fault, done in (("request_lost", False), ("answer_lost", True)):
        batch = desk.batch(800)
        await desk.plant(fault, op="upload", message_id=batch.message_id)
        said = await desk.client.upload(pain001(batch))
        assert isinstance(said, Unknown), (fault, said)
        assert bool(await desk.client.uploads(batch.message_id)) is done
        assert isinstance(await desk.sent(pain001(batch)), Accepted)


async def other_bytes_under_a_number_are_not_what_was_taken(desk: Desk) -> None:
    ident = f"{desk.customer_id[5:13]}-twice"
    first = await desk.sent(pain001(desk.batch(100, message_id=ident)))
    assert isinstance(first, Accepted)
    other = pain001(desk.batch(200, message_id=ident))
    said = await desk.client.upload(other)
    assert not isinstance(said, Accepted) or said.file_id != first.file_id, "it would count as the first"
    (report, *_), _ = await desk.next_files("pain.002", None)
    assert read_pain002(await desk.client.fetch(report)).lines[0].fate is Fate.EXECUTED
    await asyncio.sleep(0.3)
    assert (await desk.client.account(desk.payee)).balance_minor == 100


async def what_the_bank_has_not_signed_is_not_believed_and_shown_all_the_same(desk: Desk) -> None:
    await desk.next_files("camt.054", None)
    await desk.plant("signature_wrong", type="camt.054", times=1)
    await desk.control("bank/deposits", account=desk.pool, amount_minor=70, end_to_end_id=f"{desk.customer_id}-odd")
    (listed, unsigned), _ = await desk.next_files("camt.054", None, 2)
    refused = await refusal(desk.client, unsigned)
    assert refused.code == "signature_forged", refused.code
    assert refused.content, "whoever looks into it sees what came"
    assert read_camt054(await desk.client.fetch(listed))


async def a_file_is_the_one_that_was_listed(desk: Desk) -> None:
    (listed,), _ = await desk.next_files("camt.054", None)
    for wrong in ("0" * 64, "f" * 64):
        assert (await refusal(desk.client, replace(listed, sha256=wrong))).code == "other_file"


async def each_file_comes_once_in_its_order_and_none_is_passed_over(desk: Desk) -> None:
    named = [f"{desk.customer_id}-{n}" for n in range(5)]
    for n, name in enumerate(named, 1):
        await desk.control("bank/deposits", account=desk.pool, amount_minor=n, end_to_end_id=name)
    found, after = await desk.next_files("camt.054", None, 6)
    told = [read_camt054(await desk.client.fetch(one))[0].end_to_end_id for one in found]
    assert told[1:] == named, told
    assert len({one.file_id for one in found}) == 6
    assert (await desk.client.list_files("camt.054", after)).files == ()
    assert (await desk.client.list_files("pain.002", None)).files == (), "of another type"
    whole = await desk.client.list_files("camt.054", None)
    assert [one.file_id for one in whole.files] == [one.file_id for one in found], "and the same from the beginning"


async def a_payout_that_came_back_says_so(desk: Desk) -> None:
    batch = desk.batch(900)
    assert isinstance(await desk.sent(pain001(batch)), Accepted)
    _, after = await desk.next_files("camt.054", None)
    await desk.next_files("pain.002", None)
    ident = batch.instructions[0].end_to_end_id
    await desk.control("bank/returns", account=desk.payee, end_to_end_id=ident, code="AC04")
    (told,), _ = await desk.next_files("camt.054", after)
    (entry,) = read_camt054(await desk.client.fetch(told))
    assert (entry.account, entry.amount, entry.end_to_end_id) == (desk.pool, Money(900, "CNY"), ident)
    assert entry.is_return
    assert entry.return_reason == "AC04"


async def a_statement_ends_with_what_the_account_has(desk: Desk) -> None:
    assert isinstance(await desk.sent(pain001(desk.batch(300))), Accepted)
    await desk.next_files("pain.002", None)
    standing = {one: (await desk.client.account(one)).balance_minor for one in (desk.pool, desk.payee)}
    today = date.fromisoformat((await desk.control("bank", None))["date"])
    await desk.control("bank/close-day", date=(today + timedelta(days=0)).isoformat())
    (listed, *_), _ = await desk.next_files("camt.053", None)
    assert listed.business_date == today
    closing = {one.account: one.closing.minor for one in read_camt053(await desk.client.fetch(listed))}
    assert closing == standing


PLAYS: tuple[Callable[[Desk], Awaitable[None]], ...] = (
    an_order_is_executed_once_however_often_it_is_given,
    an_order_that_is_not_in_itself_is_refused_and_nothing_of_it_done,
    silence_is_neither_yes_nor_no,
    other_bytes_under_a_number_are_not_what_was_taken,
    what_the_bank_has_not_signed_is_not_believed_and_shown_all_the_same,
    a_file_is_the_one_that_was_listed,
    each_file_comes_once_in_its_order_and_none_is_passed_over,
    a_payout_that_came_back_says_so,
    a_statement_ends_with_what_the_account_has,
)
WAYS = ("http", "folder")


async def a_desk(way: str, base_url: str, http: aiohttp.ClientSession, build: Callable[..., BankClient]) -> Desk:
    """Become a customer of the simulated bank, with 100.00 in its pool account."""

    async def control(path: str, *nothing: None, **body: Any) -> Any:
        method = "GET" if nothing else "POST"
        async with http.request(method, f"{base_url}/control/{path}", json=None if nothing else body) as answer:
            assert answer.status < 300, (path, await answer.text())
            return await answer.json()

    given = await control("bank/customers", name="desk", drop=way == "folder")
    client = build(given)
    pool = (await client.open_account("pool", "pool", "CNY", "pool")).account
    payee = (await client.open_account("payee", "payee", "CNY", "sub")).account
    await control("bank/deposits", account=pool, amount_minor=10_000, end_to_end_id=f"{given['customer_id']}-first")
    today = date.fromisoformat((await control("bank", None))["date"])
    return Desk(client, control, given["customer_id"], pool, payee, today)
