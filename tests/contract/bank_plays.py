"""What every bank's client must do, played against the simulated banks; a play fails by an assertion."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from channels.banks import (
    Accepted,
    BadStatement,
    Bank,
    Entry,
    Fate,
    FileInfo,
    Instruction,
    Kind,
    Order,
    RecallRequest,
    RecallsPayments,
    RecallVerdict,
    StatusReport,
    TellsUploads,
    read_notice,
    read_report,
    read_resolution,
    read_statements,
    recalls_payments,
)
from channels.banks.cmb import CmbClient
from channels.banks.iso20022 import BankClient, DropClient, batch_of, pain001
from channels.contract import Refused, Unknown
from kernel.clock import BEIJING, business_date
from kernel.errors import Unavailable
from kernel.money import Money

WAIT_S = 10.0
PAYEE = "张三小吃店"


@dataclass
class Desk:
    """A customer of a simulated bank, by the client that is tried, with a pool account and a payee's."""

    client: Bank
    control: Callable[..., Awaitable[Any]]  # path, body → answer
    bank: str  # under which the sandbox has it: bank | cmb
    customer_id: str
    pool: str
    payee: str
    today: date
    number: int = 0

    def order(self, *amounts: int, message_id: str | None = None) -> Order:
        """Return an order of so many lines to the payee."""
        self.number += 1
        ident = message_id or f"{self.customer_id[-9:]}-{self.number}"
        lines = [Instruction(f"{ident}-{n}", self.payee, PAYEE, Money(minor, "CNY")) for n, minor in enumerate(amounts)]
        return Order(ident, self.pool, "desk", self.today, lines, datetime(2026, 11, 24, 9, tzinfo=BEIJING))

    async def plant(self, fault: str, times: int = 1, **match: Any) -> None:
        """Order a fault of this customer's."""
        whose = {"customer_id" if self.bank == "bank" else "uid": self.customer_id}
        await self.control("faults", rail=self.bank, fault=fault, params={}, match={**whose, **match}, times=times)

    async def pays_in(self, minor: int, name: str) -> None:
        await self.control(f"{self.bank}/deposits", account=self.pool, amount_minor=minor, end_to_end_id=name)

    async def holds(self, account: str) -> int:
        """Return what the bank itself knows that an account has."""
        path = f"bank/accounts/{account}/entries" if self.bank == "bank" else f"cmb/accounts/{account}"
        found: int = (await self.control(path, None))["balance_minor"]
        return found

    async def sent(self, order: Order) -> Accepted | Refused:
        """Give the bank an order, again and again as the worker does, until it has said yes or no."""
        async with asyncio.timeout(WAIT_S):
            while True:
                said = await self.client.submit(order)
                if not isinstance(said, Unknown):
                    return said
                await asyncio.sleep(0.05)

    async def decided(self, order: Order) -> tuple[StatusReport, str | None]:
        """Return the bank's report once it decides each line of an order, and the cursor after it."""
        after: str | None = None
        type = self.client.types[Kind.REPORT]
        async with asyncio.timeout(WAIT_S):
            while True:
                page = await self.client.list_files(type, after, under_way=[order.message_id])
                for file in page.files:
                    report = read_report(type, await self.client.fetch(file))
                    fates = [report.fate_of(line.end_to_end_id) for line in order.instructions]
                    if all(one is not None and one.fate is not Fate.PENDING for one in fates):
                        return report, page.next
                after = page.next
                await asyncio.sleep(0.05)

    async def told(self, after: str | None, number: int = 1) -> tuple[list[tuple[FileInfo, Entry]], str | None]:
        """Return the bookings after a cursor once there are so many, and the cursor after them."""
        found: list[tuple[FileInfo, Entry]] = []
        type = self.client.types[Kind.NOTICE]
        async with asyncio.timeout(WAIT_S):
            while len(found) < number:
                page = await self.client.list_files(type, after, limit=1)
                for file in page.files:
                    found += [(file, entry) for entry in read_notice(type, await self.client.fetch(file))]
                after = page.next
                if not page.files:
                    await asyncio.sleep(0.05)
        return found, after


async def refusal(client: Bank, file: FileInfo) -> BadStatement:
    """Return why a file is not believed. Raises AssertionError where it is."""
    try:
        await client.fetch(file)
    except BadStatement as refused:
        return refused
    raise AssertionError(f"{file.name} is believed")


async def an_order_is_carried_out_once_however_often_it_is_given(desk: Desk) -> None:
    order = desk.order(1_000, 500)
    first, again = await desk.sent(order), await desk.sent(order)
    assert isinstance(first, Accepted), first
    assert isinstance(again, Accepted), again
    assert (first.file_id, first.message_id) == (again.file_id, again.message_id), "it is the same order"
    report, after = await desk.decided(order)
    assert report.original_message_id == order.message_id
    assert {line.end_to_end_id: line.fate for line in report.lines} == {
        line.end_to_end_id: Fate.EXECUTED for line in order.instructions
    }
    assert await desk.holds(desk.payee) == 1_500
    assert isinstance(desk.client, TellsUploads)
    assert len(await desk.client.uploads(order.message_id)) == 1
    assert isinstance(await desk.sent(order), Accepted)
    await asyncio.sleep(0.3)
    page = await desk.client.list_files(desk.client.types[Kind.REPORT], after, under_way=[order.message_id])
    assert (page.files, await desk.holds(desk.payee)) == ((), 1_500), "nothing was carried out a second time"


async def an_order_that_the_bank_cannot_take_is_refused_and_nothing_of_it_done(desk: Desk) -> None:
    order = desk.order(700)
    if isinstance(desk.client, BankClient):
        xml = pain001(batch_of(order, desk.client.settings.bic)).replace(b"<CtrlSum>7.00<", b"<CtrlSum>8.00<")
        said: Any = await desk.client.upload(xml)
        while isinstance(said, Unknown):
            said = await desk.client.upload(xml)
    else:
        said = await desk.sent(replace(order, debtor_account=desk.payee))  # which is not the customer's
    assert isinstance(said, Refused), said
    assert said.code in ("control_sum_differs", "FBE0001")
    assert isinstance(desk.client, TellsUploads)
    assert (await desk.client.uploads(order.message_id), await desk.holds(desk.payee)) == ((), 0)


async def silence_is_neither_yes_nor_no(desk: Desk) -> None:
    if isinstance(desk.client, DropClient):
        order = desk.order(800)
        assert isinstance(await desk.client.submit(order), Unknown), "there is no receipt yet"
        assert isinstance(await desk.sent(order), Accepted)
        return
    assert isinstance(desk.client, TellsUploads)
    for fault, done in (("request_lost", False), ("answer_lost", True)):
        order = desk.order(800)
        asked = {"op": "upload", "message_id": order.message_id} if desk.bank == "bank" else {"funcode": "BB1PAYBH"}
        await desk.plant(fault, **asked)
        said = await desk.client.submit(order)
        assert isinstance(said, Unknown), (fault, said)
        assert bool(await desk.client.uploads(order.message_id)) is done
        assert isinstance(await desk.sent(order), Accepted)
        report, _ = await desk.decided(order)
        assert {line.fate for line in report.lines} == {Fate.EXECUTED}, "it was given once"
    assert await desk.holds(desk.payee) == 1_600


async def another_order_under_a_number_is_not_what_was_taken(desk: Desk) -> None:
    ident = f"{desk.customer_id[-9:]}-twice"
    first = await desk.sent(desk.order(100, message_id=ident))
    assert isinstance(first, Accepted)
    said = await desk.client.submit(desk.order(200, message_id=ident))
    assert not isinstance(said, Accepted) or (said.file_id and said.file_id != first.file_id), "it would count as it"
    report, _ = await desk.decided(desk.order(100, message_id=ident))
    assert report.lines[0].fate is Fate.EXECUTED
    await asyncio.sleep(0.3)
    assert await desk.holds(desk.payee) == 100


async def what_the_bank_has_not_signed_is_not_believed(desk: Desk) -> None:
    _, after = await desk.told(None)
    if isinstance(desk.client, CmbClient):
        for fault in ("signature_wrong", "other_answer"):
            for funcode in ("NTQADINF", "BB1PAYBH"):
                await desk.plant(fault, funcode=funcode)
            with pytest.raises(Unavailable, match=r"signature|another question"):
                await desk.client.account(desk.pool)
            assert isinstance(await desk.client.submit(desk.order(100)), Unknown)
        return
    await desk.plant("signature_wrong", type="camt.054", times=1)
    await desk.pays_in(70, f"{desk.customer_id}-odd")
    async with asyncio.timeout(WAIT_S):
        while not (page := await desk.client.list_files("camt.054", after)).files:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    refused = await refusal(desk.client, page.files[0])
    assert refused.code == "signature_forged", refused.code
    assert refused.content, "whoever looks into it sees what came"


async def a_file_is_the_one_that_was_listed(desk: Desk) -> None:
    ((listed, _),), _ = await desk.told(None)
    for wrong in ("0" * 64, "f" * 64):
        assert (await refusal(desk.client, replace(listed, sha256=wrong))).code == "other_file"


async def each_booking_comes_once_in_its_order_and_none_is_passed_over(desk: Desk) -> None:
    named = [f"{desk.customer_id}-{n}" for n in range(5)]
    _, cursor = await desk.told(None)
    found = []
    for n, name in enumerate(named, 1):
        await desk.pays_in(n, name)
        if n in (1, 5):
            more, cursor = await desk.told(cursor, 1 if n == 1 else 4)
            found += more
    assert [entry.end_to_end_id for _, entry in found] == named
    assert len({entry.booking for _, entry in found}) == 5
    assert (await desk.client.list_files(desk.client.types[Kind.NOTICE], cursor)).files == ()
    assert (await desk.client.list_files(desk.client.types[Kind.REPORT], None)).files == (), "of another type"
    await asyncio.sleep(0.3)
    again, _ = await desk.told(None, 6)
    assert [entry.booking for _, entry in again][1:] == [entry.booking for _, entry in found], "the same ones"
    assert [entry.notice for _, entry in again][1:] == [entry.notice for _, entry in found]


async def a_payout_that_came_back_says_so(desk: Desk) -> None:
    order = desk.order(900)
    assert isinstance(await desk.sent(order), Accepted)
    await desk.decided(order)
    before, after = await desk.told(None, 1 if desk.bank == "bank" else 2)  # the deposit; and the payout itself
    ident = order.instructions[0].end_to_end_id
    await desk.control(f"{desk.bank}/returns", account=desk.payee, end_to_end_id=ident, code="AC04")
    ((_, entry),), _ = await desk.told(after)
    assert (entry.account, entry.amount, entry.end_to_end_id) == (desk.pool, Money(900, "CNY"), ident)
    assert (entry.is_return, entry.return_reason) == (True, "AC04")
    assert not any(one.is_return for _, one in before)


async def a_statement_ends_with_what_the_account_has(desk: Desk) -> None:
    day = date.fromisoformat((await desk.control(desk.bank, None))["date"])
    order = desk.order(300)
    assert isinstance(await desk.sent(order), Accepted)
    await desk.decided(order)
    standing = {one: await desk.holds(one) for one in (desk.pool, desk.payee)}
    await desk.control(f"{desk.bank}/close-day", date=day.isoformat())
    type = desk.client.types[Kind.STATEMENT]
    async with asyncio.timeout(WAIT_S):
        while not (page := await desk.client.list_files(type, None)).files:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    listed = next(file for file in page.files if file.business_date == day)
    found = read_statements(type, await desk.client.fetch(listed))
    closing = {one.account: one.closing.minor for one in found}
    assert closing == {account: standing[account] for account in closing}
    assert desk.pool in closing
    assert any(entry.end_to_end_id == f"{order.message_id}-0" for one in found for entry in one.entries)


async def a_report_that_is_not_final_decides_nothing_and_the_booking_names_the_line(desk: Desk) -> None:
    day = date.fromisoformat((await desk.control(desk.bank, None))["date"])
    for status in ("ACTC", "ACCP", "ACSP") if desk.bank == "bank" else ():
        whose = {"customer_id": desk.customer_id}
        await desk.control(
            "faults", rail="bank", fault="report_ends_at", params={"status": status}, match=whose, times=1
        )
        order = desk.order(700, 40)
        assert isinstance(await desk.sent(order), Accepted)
        async with asyncio.timeout(WAIT_S):
            while (report := await _reported(desk, order)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert {report.fate_of(one.end_to_end_id).fate for one in order.instructions} == {Fate.PENDING}  # type: ignore[union-attr]
    if desk.bank != "bank":
        return
    await desk.control("bank/close-day", date=day.isoformat())
    type = desk.client.types[Kind.STATEMENT]
    async with asyncio.timeout(WAIT_S):
        while not (page := await desk.client.list_files(type, None)).files:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    listed = next(file for file in page.files if file.business_date == day)
    booked = [one for each in read_statements(type, await desk.client.fetch(listed)) for one in each.entries]
    debits = [one for one in booked if one.account == desk.pool and one.amount.minor < 0]
    last = {line.end_to_end_id: -line.amount.minor for line in order.instructions}
    assert last == {one.end_to_end_id: one.amount.minor for one in debits if one.end_to_end_id in last}
    assert not any(one.is_return for one in debits)


async def a_recall_is_looked_into_once_and_answered_and_what_it_accepts_comes_back(desk: Desk) -> None:
    if not isinstance(desk.client, RecallsPayments):
        assert not recalls_payments({"profile": "cmb"}), "the settings say so, too"
        return
    order = desk.order(900, 80, 7)
    whose = {"customer_id": desk.customer_id}
    lines = [one.end_to_end_id for one in order.instructions]
    faults: tuple[tuple[str, dict[str, str]], ...] = (
        ("line_waits", {"end_to_end_id": lines[0]}),
        ("recall_agreed", {**whose, "end_to_end_id": lines[1]}),
    )
    for fault, match in faults:
        await desk.control("faults", rail="bank", fault=fault, params={}, match=match, times=1)
    assert isinstance(await desk.sent(order), Accepted)
    async with asyncio.timeout(WAIT_S):
        while await _reported(desk, order) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    asked = [
        RecallRequest(
            f"r1-{one.end_to_end_id}", order.message_id, one.end_to_end_id, one.amount, order.execution_date, "desk",
            "DUPL", "", order.created_at,
        )
        for one in order.instructions
    ]  # fmt: skip
    if not isinstance(desk.client, DropClient):
        await desk.plant("answer_lost", op="upload", message_id=asked[1].id)
        assert isinstance(await desk.client.recall(asked[1]), Unknown)
    for request in asked:
        for _ in range(2):
            said: Any = Unknown("")
            async with asyncio.timeout(WAIT_S):
                while isinstance(said, Unknown):
                    said = await desk.client.recall(request)
                    await asyncio.sleep(0.05)
            assert isinstance(said, Accepted), said
            assert said.message_id == request.id
    type, found = desk.client.types[Kind.RESOLUTION], {}
    async with asyncio.timeout(WAIT_S):
        while len(found) < len(asked):
            page = await desk.client.list_files(type, None)
            told = [read_resolution(type, await desk.client.fetch(file)) for file in page.files]
            found = {one.end_to_end_id: (one.recall_id, one.verdict, one.amount) for one in told}
            await asyncio.sleep(0.05)
    assert len(page.files) == len(asked), "each was looked into once"
    verdicts = (RecallVerdict.ACCEPTED, RecallVerdict.ACCEPTED, RecallVerdict.REFUSED)
    assert found == {
        one.end_to_end_id: (one.id, verdict, one.amount) for one, verdict in zip(asked, verdicts, strict=True)
    }
    assert await desk.holds(desk.payee) == 7
    assert await desk.holds(desk.pool) == 10_000 - 7


async def _reported(desk: Desk, order: Order) -> StatusReport | None:
    """Return the bank's report on an order, if it has written one."""
    type = desk.client.types[Kind.REPORT]
    page = await desk.client.list_files(type, None, under_way=[order.message_id])
    found = [read_report(type, await desk.client.fetch(file)) for file in page.files]
    return next((one for one in found if one.original_message_id == order.message_id), None)


PLAYS: tuple[Callable[[Desk], Awaitable[None]], ...] = (
    an_order_is_carried_out_once_however_often_it_is_given,
    an_order_that_the_bank_cannot_take_is_refused_and_nothing_of_it_done,
    silence_is_neither_yes_nor_no,
    another_order_under_a_number_is_not_what_was_taken,
    what_the_bank_has_not_signed_is_not_believed,
    a_file_is_the_one_that_was_listed,
    each_booking_comes_once_in_its_order_and_none_is_passed_over,
    a_payout_that_came_back_says_so,
    a_statement_ends_with_what_the_account_has,
    a_report_that_is_not_final_decides_nothing_and_the_booking_names_the_line,
    a_recall_is_looked_into_once_and_answered_and_what_it_accepts_comes_back,
)
WAYS = ("http", "folder", "cmb")


async def a_desk(way: str, base_url: str, http: aiohttp.ClientSession, build: Callable[..., Bank]) -> Desk:
    """Become a customer of a simulated bank, with 100.00 in its pool account."""

    async def control(path: str, *nothing: None, **body: Any) -> Any:
        method = "GET" if nothing else "POST"
        async with http.request(method, f"{base_url}/control/{path}", json=None if nothing else body) as answer:
            assert answer.status < 300, (path, await answer.text())
            return await answer.json()

    bank = "cmb" if way == "cmb" else "bank"
    given = await control(f"{bank}/customers", name="desk", **({} if way == "cmb" else {"drop": way == "folder"}))
    client = build(given)
    pool = await client.pool_account("pool", "pool", "CNY")
    if isinstance(client, CmbClient):
        client.most_wait_s = 0.1
        payee = (await control("cmb/accounts", name=PAYEE))["account"]
        yesterday = business_date(datetime.now(BEIJING)) - timedelta(days=1)  # it states days that are over alone
        await control("cmb/date", date=yesterday.isoformat())
    else:
        assert isinstance(client, BankClient)
        payee = (await client.open_account("payee", PAYEE, "CNY", "sub")).account
    today = date.fromisoformat((await control(bank, None))["date"])
    desk = Desk(client, control, bank, given.get("customer_id") or given["uid"], pool, payee, today)
    await desk.pays_in(10_000, f"{desk.customer_id}-first")
    return desk
