"""Whatever is wrong with one case, file, entry or order, those after it are done, and why it was not is kept."""

import logging
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import cases
from channels.banks import read_notice
from kernel.db import acquire
from kernel.errors import Broken
from ops.cases import decide
from reconciliation.timetable import Scope, Step
from splitting import store
from splitting.banks import files as bank_files
from splitting.banks.sending import Sending
from splitting.settlement.debits import ApplyDebit
from splitting.tables import SHARE_ORDERS, BankFile
from tests.channels.banks.bank_files import pain002, report_line
from tests.kernel.one_book import outside
from tests.reconciliation.proof.test_proving import first_day
from tests.reconciliation.test_shared_deposits import Bills, two_over_one
from tests.splitting.play_bank import a_round, a_town_with_a_bank, all_read
from tests.splitting.test_bookings_told_apart import booked, entry, notice
from tests.splitting.test_files_set_aside import decided, waiting
from tests.splitting.test_paid_by_booking import BALANCE, by_booking, debit, hears, named, of_batch
from tests.splitting.test_rails_never_pay_twice import Market
from tests.splitting.town import BANK, FARM, MILL

HINDERED = "hindered_by"


async def test_a_deposit_that_cannot_be_shared_out_holds_no_later_one_up_and_says_why(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_over_one(database_url, tmp_path) as (town, bank, bank_worker, bills):
        read = Bills.parts

        async def raises(self: Bills, book: int, whose: Sequence[str], day: date, currency: str) -> Any:
            if day == date(2026, 11, 23):
                raise KeyError("a line without a sum")
            return await read(self, book, whose, day, currency)

        with monkeypatch.context() as patched:
            patched.setattr(bills, "parts", raises.__get__(bills))
            patched.setattr(bank_worker, "_parts", bills.parts)
            bills.of_day = {date(2026, 11, n): {"rail": 6_000, "second": 4_000} for n in (23, 24)}
            bank.says(
                "camt.054",
                notice(*(entry("100", ref=f"W{day}", end_to_end=f"WX19000000012026112{day}") for day in (3, 4))),
            )
            await all_read(town, bank, bank_worker)
            for _ in range(3):
                await a_round(bank_worker)
            (case,) = await waiting(town)
            facts = orjson.loads(case.facts)
            assert (facts["settled_date"], facts[HINDERED]) == ("2026-11-23", "internal_error (KeyError)")
            told = [one for one in caplog.records if one.levelno == logging.ERROR and "stays open" in one.message]
            assert [vars(one)["case"] for one in told] == [case.id], "once, and by its id"
        monkeypatch.setattr(bank_worker, "_parts", bills.parts)
        await a_round(bank_worker)
        assert await waiting(town) == []


async def test_a_batchs_case_that_cannot_be_looked_at_holds_no_later_one_up(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of, book = await named(report), report.town.front.book
        odd = cases.OpenCase(book, "booking_unidentified", "dep:odd", -1, "CNY", {"bank": BANK, "batch": "stl_odd"})
        await report.town.put(odd)
        await hears(report, of_batch(report.of, "69.40"))
        await report.says(pain002("PART", report_line(of[FARM], "RJCT", "AC04"), of=report.of))
        for _ in range(2):
            await a_round(report.bank_worker)
        assert (await report.town.standing())["sub_account:mill"] == 6_890
        (left,) = await report.cases()
        assert (left.about, orjson.loads(left.facts)[HINDERED]) == ("dep:odd", "internal_error (KeyError)")
        await decide(report.town.front.hub, left.id, "no_deposit", by="Wang", note="nothing of it")
        before = await report.cases(decided=True)
        await report.town.put(cases.NoteHindrance(book, left.kind, left.about, "too late"))
        assert await report.cases(decided=True) == before


async def test_a_line_of_a_batch_that_cannot_be_paid_holds_no_other_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        monkeypatch.setattr("splitting.banks.bookings.TOGETHER", 1)
        async with outside(database_url) as connection:
            await connection.execute("UPDATE instruction SET payee_id = 'pye_no' WHERE id = $1", min(of.values()))
        await hears(report, of_batch(report.of, "99.40"))
        found = {line.id: line.status for line in (await report.town.lines(report.town.today)).values()}
        assert sorted(found.values()) == ["in_transit", "paid", "paid"]
        assert [kind for kind, _ in await report.open_cases()] == ["bank_file_set_aside"]


def stated(message: str, *entries: str, closing: str) -> bytes:
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr>'
        f"<MsgId>{message}</MsgId><CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><Stmt><Id>1</Id><Acct><Id><Othr>"
        f"<Id>poolCNY</Id></Othr></Id></Acct>{BALANCE.format('OPBD', '100.00', 'CRDT')}"
        f"{BALANCE.format('CLBD', closing, 'CRDT')}{''.join(entries)}</Stmt></BkToCstmrStmt></Document>"
    ).encode()


async def test_an_entry_or_a_statement_that_cannot_be_applied_holds_no_other_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of, proof = await named(report), report.town.front.hub.daily_proof()
        apply = ApplyDebit.apply

        def raises(self: ApplyDebit, work: Any) -> Any:
            if self.line_id == of[FARM]:
                raise Broken("a_fault", "of the hub's own")
            return apply(self, work)

        with monkeypatch.context() as patched:
            patched.setattr(ApplyDebit, "apply", raises)
            both = [debit(of[FARM], "30.00"), debit(of[MILL], "68.90")]
            report.bank.says("camt.053", stated("S1", *both, closing="1.10"), stated("S2", closing="100.00"))
            await proof.fetch_statements(report.town.front.book, BANK)
            lines = await report.town.lines(report.town.today)
            assert (lines[FARM].status, lines[MILL].status) == ("in_transit", "paid")
            (case,) = await report.cases()
            assert (case.kind, orjson.loads(case.facts)["code"]) == ("bank_file_set_aside", "a_fault")
        await proof.fetch_statements(report.town.front.book, BANK)
        assert (await report.town.lines(report.town.today))[FARM].status == "paid"
        assert await report.open_cases() == []


async def test_a_statement_on_which_the_reader_fails_holds_no_other_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        hub, book = town.front.hub, town.front.book
        daily = hub.daily_proof()
        keep = daily._keep

        async def raises(link: Any, listed: Any, raw: bytes, **more: Any) -> Any:
            if b"S1" in raw:
                raise RecursionError("of our reader")
            return await keep(link, listed, raw, **more)

        monkeypatch.setattr(daily, "_keep", raises)
        bank.says("camt.053", stated("S1", closing="100.00"), stated("S2", closing="100.00"))
        assert await daily.fetch_statements(book, BANK) == 1
        (case,) = await waiting(town)
        assert (case.about, orjson.loads(case.facts)["why"]) == (f"{BANK}:camt.053-0", "RecursionError")


async def test_a_notice_on_which_the_reader_fails_holds_no_other_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):

        def raises(type: str, content: bytes, **more: Any) -> Any:
            if b"M1" in content:
                raise IndexError("of our reader")
            return read_notice(type, content, **more)

        monkeypatch.setattr(bank_files, "read_notice", raises)
        bank.says("camt.054", notice(entry("70")), notice(entry("80", ref="B"), message="M2"))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {8_000: 1}
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["why"] == "IndexError"


async def test_a_kept_file_that_is_damaged_holds_no_other_up_that_people_have_agreed_to(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        two = [notice(entry(amount, ref=amount), message=f"M{amount}") for amount in ("70", "80")]
        bank.says("camt.054", *(one.replace(b"</GrpHdr>", b"</GrpHdr><Sum/>") + b"<" for one in two))
        await all_read(town, bank, bank_worker)
        damaged = ""
        for case, content in zip(sorted(await waiting(town), key=lambda one: one.about), two, strict=True):
            hub = town.front.hub
            async with acquire(hub.pool) as connection:
                row = await store.find_bank_file(connection, town.front.book, orjson.loads(case.facts)["kept_as"])
            assert row is not None
            given = await hub.banks.files.offer(row, content, "by hand", "Wang")
            await decide(hub, case.id, "replace", by="Wang", note="sent by mail", named=cases.Named("file", given.id))
            damaged = damaged or given.id
        content_of = town.front.hub.banks.files.content

        async def damages(file: BankFile) -> bytes:
            if file.id == damaged:
                raise Broken("bank_file_damaged", "the kept bytes are not those that came")
            return await content_of(file)

        monkeypatch.setattr(town.front.hub.banks.files, "content", damages)
        for _ in range(2):
            await a_round(bank_worker)
        assert await booked(database_url) == {8_000: 1}
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["code"] == "bank_file_damaged"
        assert len(await decided(town)) == 2


async def test_an_order_on_which_we_fail_holds_no_other_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()
        first = await town.settle(town.today)
        town.front.clock.forward(86_400)
        await town.sell()
        second = await town.settle(town.today + timedelta(days=1))
        send = Sending.send

        async def raises(self: Sending, link: Any, settlement: Any) -> Any:
            if settlement.id == first.id:
                raise KeyError("of our own")
            return await send(self, link, settlement)

        monkeypatch.setattr(Sending, "send", raises)
        bank.says("camt.054", notice(entry("70")))
        await all_read(town, bank, bank_worker)
        assert (await town.batch(second.business_date)).status == "sent"
        assert (await town.batch(first.business_date)).status == "created"


async def test_a_share_order_on_which_we_fail_holds_no_other_of_its_account_up() -> None:
    market = Market([])
    done: list[str] = []

    async def share(row: Any) -> None:
        done.append(row.id)
        if row.id == "first":
            raise KeyError("of our own")

    market.worker._share = share  # type: ignore[method-assign]
    market.sell()
    (order,) = market.book._rows[SHARE_ORDERS].values()
    for _ in range(2):
        await market.worker._turn([order._replace(id="first"), order._replace(id="second")])
    assert done == ["first", "second"] * 2
    assert market.worker._told_of.keys() == {(order.book, "first")}


async def test_a_day_that_is_compared_again_in_vain_holds_the_new_day_up_no_more(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first_day(database_url, tmp_path) as days:
        reconcile = days.town.front.hub.timetable()._steps[Step.RECONCILIATION]
        steps, day = reconcile.__self__, days.town.today  # type: ignore[attr-defined]
        compared: list[date] = []

        async def channel(book: int, account: str, on: date, **more: Any) -> None:
            compared.append(on)
            if on < day:
                raise Broken("bill_gone", "the rail gives it no more")

        async def awaited(*_: object) -> Sequence[date]:
            return [day - timedelta(days=n) for n in (2, 1)]

        monkeypatch.setattr(steps, "_awaited", awaited)
        monkeypatch.setattr(steps._daily, "channel", channel)
        await reconcile(Scope(Step.RECONCILIATION, days.town.front.book, "rail"), day)
        assert compared[-1] == day
        assert len(compared) == 3
