"""A payee withdraws what its sub-account has, once, within its limits; the bank's signed word alone decides."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cases import Named
from channels.banks.iso20022 import pain001
from channels.banks.iso20022.pain001 import batch_of
from kernel.db import acquire
from kernel.errors import Conflict, NotFound, Rejected
from ops.cases import decide
from ops.verify import INVARIANTS, verify
from splitting import ApplyDeposit, BankLink, CreatePayee, LinkBank, Payee
from splitting.banks.worker import BankWorker
from splitting.payees import SetAccountClass
from splitting.settlement.calendar import BankHours
from splitting.settlement.payouts import SetPayoutBank
from splitting.tables import PAYEE_ACCOUNTS, Withdrawal
from splitting.withdrawals.commands import (
    DecideWithdrawal,
    MarkWithdrawalSent,
    SendWithdrawalAgain,
    StopWithdrawal,
)
from splitting.withdrawals.rules import reference
from splitting.withdrawals.sending import order_of
from splitting.withdrawals.store import find
from tests.channels.banks.bank_files import camt054, entry, pain002, report_line
from tests.conftest import TestServer as PostgresServer
from tests.splitting.play_bank import PlayBank, a_round, a_town_with_a_bank, all_read, send_todays
from tests.splitting.test_files_set_aside import read_from_the_beginning, waiting
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town, bind

NEXT = "2026-11-25"
RTRN = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"


class Desk:
    """A town whose bank has paid every payee: 30.00 to the farm, 68.90 to the mill, 0.50 to the platform."""

    def __init__(self, town: Town, bank: PlayBank, bank_worker: BankWorker) -> None:
        self.town, self.bank, self.bank_worker = town, bank, bank_worker

    async def ask(self, payee: str, minor: int, number: str = "w-1") -> Withdrawal:
        withdrawals, book = self.town.front.hub.withdrawals, self.town.front.book
        return await withdrawals.ask(book, payee, number=number, amount_minor=minor, currency="CNY", by="key_1")

    async def now(self, row: Withdrawal) -> Withdrawal:
        async with acquire(self.town.front.hub.pool) as connection:
            found = await find(connection, row.book, row.id)
        assert found is not None
        return found

    async def reports(self, row: Withdrawal, status: str, *reasons: str) -> None:
        number = reference(row.book, row.id)
        self.bank.says("pain.002", pain002(status, report_line(number, status, *reasons), of=number))
        await all_read(self.town, self.bank, self.bank_worker)

    async def books(self, row: Withdrawal, amount: str, *, credit: bool, more: str = "", ref: str = "R1") -> None:
        said = entry(ref, amount, credit=credit, end_to_end_id=reference(row.book, row.id), extra=more, day=NEXT)
        said = said.replace(">62001<", f">{row.account}<")  # the other side
        self.bank.says("camt.054", camt054(row.sub_account, said).replace(b">M2<", f">{ref}<".encode()))
        await all_read(self.town, self.bank, self.bank_worker)

    async def limits(self, payee: str | None, **limits: int | None) -> None:
        given: dict[str, Any] = {"minimum_minor": 0, "most_minor": None, "day_minor": None, **limits}
        await self.town.front.hub.withdrawals.set_limits(self.town.front.book, BANK, payee, **given)

    async def has(self, payee: str) -> dict[str, int]:
        said = (await self.town.front.get(f"/v1/payees/{payee}/balance")).body
        return {name.removesuffix("_minor"): said[name] for name in said if name.endswith("_minor")}

    async def told(self, of: str = "withdrawal.") -> list[str]:
        found = (await self.town.front.get("/v1/events?limit=100")).body["data"]
        return [event["type"] for event in found if event["type"].startswith(of)]

    async def unbroken(self) -> None:
        assert [one for one in await verify(self.town.front.hub.pool) if one.broken] == []


@asynccontextmanager
async def a_desk(database_url: str, home: Path, *bound: str) -> AsyncIterator[Desk]:
    async with a_town_with_a_bank(database_url, home) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = await town.lines(town.today)
        bank.says("pain.002", pain002("ACSC", *(report_line(line.id, "ACSC") for line in lines.values()), of=of))
        await all_read(town, bank, bank_worker)
        bank.taken.clear()
        for payee in bound or (FARM,):
            await bind(town.front, payee)
        desk = Desk(town, bank, bank_worker)
        yield desk
        await desk.unbroken()


async def test_what_was_asked_for_is_sent_as_one_order_out_of_the_sub_account_and_paid(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        row = await desk.ask(FARM, 2_000)
        assert await desk.has(FARM) == {
            "owed": 0, "reserved": 0, "in_transit": 0,
            "sub_account": 3_000, "withdrawing": 2_000, "withdrawable": 1_000,
        }  # fmt: skip
        await a_round(desk.bank_worker)
        (order,) = desk.bank.taken
        text = order.decode()
        number = reference(row.book, row.id)
        assert text.count(number) == 3, "MsgId, PmtInfId and EndToEndId"
        assert re.findall(r"<Id><Othr><Id>(.*?)</Id>", text) == ["6200" + FARM[-12:], "9558801001"]
        assert re.findall(r"<BICFI>(.*?)</BICFI>", text) == ["SBXBCNBJXXX", "ICBKCNBJXXX"]
        assert re.findall(r"<Nm>(.*?)</Nm>", text) == ["farm"] * 3, "the holder of both accounts"
        assert '<InstdAmt Ccy="CNY">20.00</InstdAmt>' in text
        await a_round(desk.bank_worker)
        assert len(desk.bank.taken) == 1, "what the bank has is not sent again"
        await desk.reports(row, "ACSP")
        assert (await desk.now(row)).status == "sent", "a word that is not final decides nothing"
        for _ in range(2):
            await desk.reports(row, "ACSC")
        now = await desk.now(row)
        assert (now.status, now.bank_date) == ("paid", date(2026, 11, 24))
        await desk.books(row, "20.00", credit=False)
        assert await waiting(desk.town) == []
        assert (await desk.town.standing())["sub_account:farm"] == 1_000
        assert (await desk.town.standing())["bank:citybank"] == -2_000
        assert await desk.told() == ["withdrawal.requested", "withdrawal.sent", "withdrawal.paid"]
        assert await desk.has(FARM) == {
            "owed": 0, "reserved": 0, "in_transit": 0, "sub_account": 1_000, "withdrawing": 0, "withdrawable": 1_000,
        }  # fmt: skip


async def test_a_refused_one_can_be_asked_for_again_and_counts_against_no_limit(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.limits(None, day_minor=3_000)
        row = await desk.ask(FARM, 3_000)
        await a_round(desk.bank_worker)
        for _ in range(2):
            await desk.reports(row, "RJCT", "AC04")
        assert ((await desk.now(row)).status, (await desk.now(row)).reason) == ("refused", "AC04")
        assert (await desk.has(FARM))["withdrawable"] == 3_000
        again = await desk.ask(FARM, 3_000, "w-2")
        await a_round(desk.bank_worker)
        assert (await desk.now(again)).status == "sent"
        # The bank says that it paid the first after all: nothing is booked, and people are asked.
        await desk.reports(row, "ACSC")
        assert [case.kind for case in await waiting(desk.town)] == ["bank_contradicts_itself"]
        assert (await desk.now(row)).status == "refused"


async def test_a_return_is_booked_once_and_one_before_its_report_says_that_it_was_paid(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        first, second = await desk.ask(FARM, 1_000), await desk.ask(FARM, 500, "w-2")
        await a_round(desk.bank_worker)
        await desk.reports(first, "ACSC")
        await desk.books(first, "10.00", credit=True, more=RTRN, ref="R1")
        await desk.books(second, "5.00", credit=True, more=RTRN, ref="R2")
        for _ in range(2):
            now = [await desk.now(row) for row in (first, second)]
            assert [(row.status, row.reason, row.returned_on) for row in now] == [
                ("returned", "AC04", date(2026, 11, 25))
            ] * 2
            assert ((await desk.town.standing())["sub_account:farm"], await waiting(desk.town)) == (3_000, [])
            await read_from_the_beginning(database_url, desk.town, desk.bank, desk.bank_worker)
        for status in ("ACSC", "RJCT"):
            await desk.reports(second, status)
        assert [case.kind for case in await waiting(desk.town)] == []
        await desk.books(first, "10.00", credit=True, more=RTRN, ref="R3")
        assert [case.kind for case in await waiting(desk.town)] == ["booking_unidentified"], "it came back once"
        assert (await desk.town.standing())["sub_account:farm"] == 3_000


@pytest.mark.parametrize("paid_by", ["booking", "report"])
async def test_a_withdrawal_that_was_debited_twice_and_set_back_once_is_not_there_again(
    paid_by: str, database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        hub = desk.town.front.hub
        await hub.banks.rotate(desk.town.front.book, BANK, {"paid_by": paid_by}, folder=tmp_path)
        row = await desk.ask(FARM, 1_000)
        await a_round(desk.bank_worker)
        for ref in ("D1", "D1", "D2"):
            assert await waiting(desk.town) == []
            await desk.books(row, "10.00", credit=False, ref=ref)
        await desk.reports(row, "ACSC")
        (again,) = await waiting(desk.town)
        assert (again.amount_minor, f'"debited_again":"{row.id}"' in again.facts) == (-1_000, True)
        await desk.books(row, "10.00", credit=True, more=RTRN, ref="R1")
        assert ((await desk.now(row)).status, (await desk.has(FARM))["sub_account"]) == ("paid", 2_000)
        for case in await waiting(desk.town):
            await decide(hub, case.id, "no_deposit", by="Wang", note="the one undoes the other")
        await desk.books(row, "10.00", credit=True, more=RTRN, ref="R2")
        (back,) = await waiting(desk.town)
        for ident, code in (("wdr_0", "no_such_line"), (row.id, "")):
            named = Named("line", ident)
            if code:
                with pytest.raises(Rejected, match=code):
                    await decide(hub, back.id, "returned", by="Wang", note="the bank says so", named=named)
            else:
                await decide(hub, back.id, "returned", by="Wang", note="the bank says so", named=named)
        assert ((await desk.now(row)).status, (await desk.has(FARM))["sub_account"]) == ("returned", 3_000)
        assert await waiting(desk.town) == []


@pytest.mark.parametrize("what", ["another amount", "another account", "money in", "another account of the payees"])
async def test_a_booking_that_names_a_withdrawal_and_is_not_as_it_was_ordered_is_a_case(
    database_url: str, tmp_path: Path, what: str
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        row = await desk.ask(FARM, 1_000)
        await a_round(desk.bank_worker)
        await desk.reports(row, "ACSC")
        match what:
            case "another amount":
                await desk.books(row, "10.01", credit=False)
            case "another account":
                await desk.books(row._replace(sub_account="poolCNY"), "10.00", credit=False)
            case "another account of the payees":
                await desk.books(row._replace(sub_account="6200" + MILL[-12:]), "10.00", credit=True, more=RTRN)
            case _:
                await desk.books(row, "10.00", credit=True)
        assert [case.kind for case in await waiting(desk.town)] == ["booking_unidentified"]
        assert (await desk.now(row)).status == "paid"
        assert (await desk.town.standing())["sub_account:farm"] == 2_000


WRONG = {
    "count_differs": (b"</OrgnlMsgNmId>", b"</OrgnlMsgNmId><OrgnlNbOfTxs>2</OrgnlNbOfTxs>"),
    "sum_differs": (b"</OrgnlMsgNmId>", b"</OrgnlMsgNmId><OrgnlCtrlSum>10.01</OrgnlCtrlSum>"),
    "amount_differs": (
        b"</TxSts>",
        b'</TxSts><OrgnlTxRef><Amt><InstdAmt Ccy="CNY">10.01</InstdAmt></Amt></OrgnlTxRef>',
    ),
    "account_differs": (
        b"</TxSts>",
        b"</TxSts><OrgnlTxRef><DbtrAcct><Id><Othr><Id>poolCNY</Id></Othr></Id></DbtrAcct></OrgnlTxRef>",
    ),
    "other_line": (b"</OrgnlEndToEndId>", b"x</OrgnlEndToEndId>"),
}


@pytest.mark.parametrize("code", WRONG)
async def test_a_report_decides_nothing_that_says_otherwise_of_its_order_than_is_so(
    database_url: str, tmp_path: Path, code: str
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        row = await desk.ask(FARM, 1_000)
        await a_round(desk.bank_worker)
        number = reference(row.book, row.id)
        said = pain002("ACSC", report_line(number, "ACSC"), of=number).replace(*WRONG[code], 1)
        assert said != pain002("ACSC", report_line(number, "ACSC"), of=number)
        desk.bank.says("pain.002", said)
        await all_read(desk.town, desk.bank, desk.bank_worker)
        (case,) = await waiting(desk.town)
        assert (case.kind, code in case.facts) == ("bank_file_set_aside", True), case.facts
        assert (await desk.now(row)).status == "sent"


async def test_the_same_number_is_one_withdrawal_and_another_amount_under_it_is_refused(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path, FARM, MILL) as desk:
        row = await desk.ask(FARM, 1_000)
        assert await desk.ask(FARM, 1_000) == row
        for payee, minor in ((FARM, 999), (MILL, 1_000)):
            with pytest.raises(Conflict, match="withdrawal_exists"):
                await desk.ask(payee, minor)
        assert (await desk.has(FARM))["withdrawing"] == 1_000
        await desk.town.front.hub.payees.suspend(row.book, FARM, by="merchant")
        assert await desk.ask(FARM, 1_000) == row, "it was asked for"


async def test_nobody_withdraws_more_than_is_there_or_than_the_limits_allow(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.limits(None, minimum_minor=100, most_minor=1_500, day_minor=2_500)
        for minor in (99, 1_501):
            with pytest.raises(Rejected, match="withdrawal_amount_not_allowed"):
                await desk.ask(FARM, minor)
        await desk.ask(FARM, 1_500)
        assert (await desk.has(FARM))["withdrawable"] == 1_000
        with pytest.raises(Conflict, match="withdrawal_daily_limit"):
            await desk.ask(FARM, 1_001, "w-2")
        await desk.ask(FARM, 1_000, "w-2")
        assert (await desk.has(FARM))["withdrawable"] == 0
        with pytest.raises(Conflict, match="withdrawal_daily_limit"):
            await desk.ask(FARM, 100, "w-3")
        desk.town.front.clock.forward(timedelta(days=1).total_seconds())
        with pytest.raises(Conflict, match="withdrawable_exceeded"):
            await desk.ask(FARM, 501, "w-3")
        await desk.limits(FARM)  # its own: no limits
        assert (await desk.has(FARM))["withdrawable"] == 500
        await desk.ask(FARM, 500, "w-3")
        with pytest.raises(Conflict, match="withdrawable_exceeded"):
            await desk.ask(FARM, 1, "w-4")


async def test_who_may_not_withdraw_is_told_why(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        town, book, now = desk.town, desk.town.front.book, desk.town.front.clock.now()
        with pytest.raises(Rejected, match="no_bound_account"):
            await desk.ask(MILL, 100)
        with pytest.raises(NotFound, match="no_such_payee"):
            await desk.ask("pye_" + "f" * 26, 100)
        kept, own = "pye_" + "4" * 26, "pye_" + "5" * 26
        await town.put(CreatePayee(Payee(book, kept, "kept", "supplier", "CNY", None, None, now)))
        await town.put(LinkBank(BankLink(book, "cmb", "755", '{"profile": "cmb"}', "{}")))
        await town.put(CreatePayee(Payee(book, own, "own", "supplier", "CNY", "cmb", "62", now)))
        for payee in (kept, own):
            with pytest.raises(Rejected, match="withdrawals_not_offered"):
                await desk.ask(payee, 100)
            answer = await town.front.send(
                "PUT", f"/v1/payees/{payee}/account", {"account": "1", "bank_bic": "ICBKCNBJ", "bank_name": "icbc"}
            )
            assert (answer.status, answer.body["code"]) == (422, "withdrawals_not_offered")
            assert (await desk.has(payee))["withdrawable"] == 0
        await town.front.hub.payees.suspend(book, FARM, by="merchant")
        with pytest.raises(Conflict, match="payee_suspended"):
            await desk.ask(FARM, 100)
        assert (await desk.has(FARM))["withdrawable"] == 0


async def test_the_class_of_an_account_limits_what_goes_out_of_it_but_not_to_the_account_its_bank_has_bound(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        town = desk.town
        tomorrow = town.today + timedelta(days=1)
        town.front.clock.forward(86_400)
        await town.sell(1_000_000)  # the farm's 30 % are 3,000.00
        await town.settle(tomorrow)
        await town.decide(tomorrow, FARM, paid=True)
        await town.put(SetAccountClass(town.front.book, FARM, "III"))
        first = await desk.ask(FARM, 150_000)
        assert (await desk.has(FARM))["withdrawable"] == 50_000
        with pytest.raises(Conflict, match="account_class_limit"):
            await desk.ask(FARM, 50_001, "w-2")
        await a_round(desk.bank_worker)
        await desk.reports(first, "RJCT", "AC04")
        assert (await desk.has(FARM))["withdrawable"] == 200_000, "what was refused was not sent"
        own = {"account": "9558801001", "bank_bic": "ICBKCNBJXXX", "bank_name": "工商银行", "bound_at_bank": True}
        assert (await town.front.send("PUT", f"/v1/payees/{FARM}/account", own)).body["bound_at_bank"] is True
        assert (await desk.has(FARM))["withdrawable"] == 303_000
        assert (await desk.ask(FARM, 303_000, "w-3")).status == "requested"


async def test_a_change_of_the_account_holds_for_what_is_asked_for_from_then_on(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        front = desk.town.front
        before = await desk.ask(FARM, 1_000)
        own = {"account": "77", "bank_bic": "BKCHCNBJ", "bank_name": "中国银行"}
        for _ in range(2):
            answer = await front.send("PUT", f"/v1/payees/{FARM}/account", own)
            assert (answer.status, answer.body["account"]) == (200, "…77")
        after = await desk.ask(FARM, 1_000, "w-2")
        assert [row.account for row in (await desk.now(before), await desk.now(after))] == ["9558801001", "77"]
        assert await desk.told("payee_account.") == ["payee_account.set"] * 2
        async with acquire(front.hub.pool) as connection:
            (row,) = await PAYEE_ACCOUNTS.load(connection, [(front.book, FARM)])
        assert row.set_by.startswith("key_")
        for wrong, code in (
            ({"bank_bic": "SBXBCNBJ"}, (422, "bound_account_wrong")),
            ({"bank_bic": "icbk"}, (400, "invalid_request")),
            ({"account": ""}, (400, "invalid_request")),
            ({"bank_name": "b" * 71}, (400, "invalid_request")),
        ):
            answer = await front.send("PUT", f"/v1/payees/{FARM}/account", {**own, **wrong})
            assert (answer.status, answer.body["code"]) == code, answer


async def test_a_silent_bank_is_sent_the_same_bytes_and_the_other_withdrawals_go_on(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path, FARM, MILL) as desk:
        stuck, other = await desk.ask(FARM, 1_000), await desk.ask(MILL, 1_000, "w-2")
        desk.bank.drops.add(reference(stuck.book, stuck.id))
        for _ in range(4):
            await a_round(desk.bank_worker)
        assert (await desk.now(stuck)).status == "requested"
        assert (await desk.now(other)).status == "sent"
        desk.bank.drops.clear()
        desk.town.front.clock.forward(600)
        await a_round(desk.bank_worker)
        assert (await desk.now(stuck)).status == "sent"
        assert len({body for body in desk.bank.taken if stuck.id[4:].encode() in body}) == 1
        assert len([body for body in desk.bank.taken if stuck.id[4:].encode() in body]) == 2
        again = await desk.now(stuck)
        assert pain001(batch_of(order_of(again), "SBXBCNBJXXX")) in desk.bank.taken


async def test_a_no_that_nobody_signed_gives_nothing_free_and_two_people_end_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        desk.bank.refuses = 400, "account_blocked"
        row = await desk.ask(FARM, 1_000)
        for _ in range(2):
            desk.town.front.clock.forward(600)
            await a_round(desk.bank_worker)
        assert len(desk.bank.taken) == 1
        assert (await desk.now(row)).status == "stopped"
        (case,) = await waiting(desk.town)
        assert (case.kind, "account_blocked" in case.facts) == ("withdrawal_in_doubt", True)
        assert (await desk.has(FARM))["withdrawing"] == 1_000
        await decide(desk.town.front.hub, case.id, "not_paid", by="Wang Fang", note="the bank has nothing of it")
        assert (await desk.now(row)).status == "refused"
        assert (await desk.has(FARM))["withdrawable"] == 3_000
        # The bank takes an order that was on its way all the while: people are told.
        await desk.town.put(MarkWithdrawalSent(row.book, row.id))
        assert [case.kind for case in await waiting(desk.town)] == ["bank_contradicts_itself"]


@pytest.mark.parametrize(("how", "status"), [("paid", "paid"), ("send_again", "sent"), ("wait", "stopped")])
async def test_what_was_stopped_goes_on_as_people_say(database_url: str, tmp_path: Path, how: str, status: str) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        desk.bank.refuses = 400, "account_blocked"
        row = await desk.ask(FARM, 3_000)
        await a_round(desk.bank_worker)
        (case,) = await waiting(desk.town)
        desk.bank.refuses = None
        await decide(desk.town.front.hub, case.id, how, by="Wang Fang", note="the bank says so")
        desk.town.front.clock.forward(600)
        await a_round(desk.bank_worker)
        assert (await desk.now(row)).status == status
        assert (await desk.has(FARM))["withdrawable"] == 0, "it went, or it is held"
        assert await waiting(desk.town) == []
        await desk.unbroken()


async def test_a_no_to_what_the_bank_may_have_stops_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        row = await desk.ask(FARM, 1_000)
        number = reference(row.book, row.id)
        desk.bank.refuses = 409, "unheard_of"  # no refusal: what was sent is not known
        await a_round(desk.bank_worker)
        assert (await desk.now(row)).status == "requested"
        desk.bank.refuses = 400, "message_id_used"
        desk.bank.has[number] = {
            "file_id": "f1", "message_id": number, "sha256": "0" * 64, "received_at": "2026-11-24T10:00:00.000Z",
        }  # fmt: skip
        desk.town.front.clock.forward(600)
        await a_round(desk.bank_worker)
        assert ((await desk.now(row)).status, await waiting(desk.town)) == ("requested", [])
        await desk.reports(row, "ACSC")
        assert (await desk.now(row)).status == "paid", "its acceptance was lost, its work was not"


async def test_what_is_in_doubt_stays_held_until_people_or_the_bank_decide(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        first, second = await desk.ask(FARM, 1_000), await desk.ask(FARM, 500, "w-2")
        await a_round(desk.bank_worker)
        await desk.reports(first, "RJCT", "DU04")
        await desk.reports(first, "RJCT", "AC04")
        assert (await desk.now(first)).status == "sent", "the two words may be of two sendings"
        await desk.reports(second, "RJCT", "AM05")
        await desk.reports(second, "ACSC")
        assert (await desk.now(second)).status == "paid"
        (case,) = await waiting(desk.town)
        assert (case.about, "refused_besides" in case.facts) == (first.id, True)
        with pytest.raises(Conflict, match="withdrawal_moved"):
            await decide(desk.town.front.hub, case.id, "send_again", by="Wang Fang", note="x")
        await decide(desk.town.front.hub, case.id, "not_paid", by="Wang Fang", note="it did not leave")
        assert (await desk.now(first)).status == "refused"
        for command in (SendWithdrawalAgain(first.book, first.id), DecideWithdrawal(first.book, first.id, True, None)):
            if isinstance(command, SendWithdrawalAgain):
                with pytest.raises(Conflict, match="withdrawal_moved"):
                    await desk.town.put(command)
            else:
                await desk.town.put(command)
        await desk.town.put(StopWithdrawal(first.book, first.id, "c", "m"))
        assert (await desk.now(first)).status == "refused"


async def test_the_platform_withdraws_its_commission_and_what_it_never_had_is_found(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with a_desk(database_url, tmp_path, PLATFORM) as desk:
        row = await desk.ask(PLATFORM, 50)
        await a_round(desk.bank_worker)
        await desk.reports(row, "ACSC")
        await desk.books(row, "0.50", credit=True, more=RTRN)
        assert (await desk.now(row)).status == "returned"
        await desk.unbroken()
        connection = await asyncpg.connect(
            pg_server.server.admin_url.rpartition("/")[0] + "/" + database_url.rpartition("/")[2]
        )
        try:
            await connection.execute("SET session_replication_role = replica")
            planting = connection.transaction()
            await planting.start()
            await connection.execute("UPDATE transfer SET amount_minor = 51 WHERE rule = 'withdrawal_returned'")
            assert await INVARIANTS["platform_holds_fees_alone"](connection)
            await planting.rollback()
            for check, plants in PLANTS.items():
                for plant in plants:
                    planting = connection.transaction()
                    await planting.start()
                    await connection.execute(plant)
                    assert await INVARIANTS[check](connection), plant
                    await planting.rollback()
        finally:
            await connection.close()


PLANTS = {
    "withdrawals_match_the_journal": [
        "UPDATE withdrawal SET status = 'paid', returned_on = NULL",
        "UPDATE withdrawal SET status = 'refused', returned_on = NULL",
        "UPDATE withdrawal SET status = 'sent', returned_on = NULL, bank_date = NULL",
        "UPDATE withdrawal SET amount_minor = 49",
        "DELETE FROM withdrawal",
        "DELETE FROM transfer WHERE rule = 'withdrawal_returned'",
        "DELETE FROM transfer WHERE rule = 'withdrawal' AND step = 'hold'",
        "DELETE FROM transfer WHERE rule = 'withdrawal' AND step = 'post_hold'",
    ],
    "stopped_withdrawals_are_asked_about": [
        "UPDATE withdrawal SET status = 'stopped', returned_on = NULL, bank_date = NULL",
    ],
    "withdrawals_are_counted": [
        "UPDATE withdrawal_use SET day_minor = 49",
        "UPDATE withdrawal_use SET year_minor = 51",
        "UPDATE withdrawal SET status = 'refused', returned_on = NULL",
    ],
}


async def test_what_payees_withdrew_is_not_what_a_batch_waits_for(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        town = desk.town
        await town.put(SetPayoutBank(town.front.book, BANK, BankHours(), None, True))
        assert await town.put(ApplyDeposit(town.front.book, BANK, "rail", "CNY", 9_940, "E1", town.today))
        row = await desk.ask(FARM, 2_000)
        await a_round(desk.bank_worker)
        await desk.reports(row, "ACSC")
        await town.sell()
        batch = await town.settle(town.today + timedelta(days=1))
        lacks = town.front.hub.banks.lacking
        assert await lacks(batch) == batch.total_minor, "the pool has what it was paid, less what it paid"
        await desk.books(row, "20.00", credit=True, more=RTRN)
        assert await lacks(batch) == batch.total_minor
