"""What a bank's report leaves in doubt stays in transit until the bank, or a person who asked it, has decided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from cases import Case
from cases.store import cases
from kernel.db import acquire
from ops.cases import decide
from splitting.banks.worker import BankWorker
from tests.channels.banks.bank_files import pain002, report_block, report_line
from tests.splitting.play_bank import PlayBank, a_town_with_a_bank, all_read, send_todays
from tests.splitting.town import FARM, MILL, PLATFORM, Town

IN_TRANSIT = {"channel:rail": 9_940, "in_transit:citybank": 9_940}
PAID = {"channel:rail": 9_940, "sub_account:farm": 3_000, "sub_account:mill": 6_890, "sub_account:platform": 50}
OWED_AGAIN = {"channel:rail": 9_940, "payee:farm": 3_000, "payee:mill": 6_890, "platform_fee": 50}


@dataclass
class Report:
    """A day's batch at the bank, and the reports that the bank writes about it."""

    town: Town
    bank: PlayBank
    bank_worker: BankWorker
    of: str  # its message id
    lines: list[str]  # its end-to-end ids

    async def says(self, *reports: bytes) -> None:
        self.bank.says("pain.002", *reports)
        await all_read(self.town, self.bank, self.bank_worker)

    async def lines_are(self, status: str, *reasons: str, group: str = "PART") -> None:
        await self.says(pain002(group, *(report_line(line, status, *reasons) for line in self.lines), of=self.of))

    async def payment_is(self, status: str, *reasons: str, group: str | None = "ACCP") -> None:
        await self.says(
            pain002(group, blocks=(report_block(status=status, reasons=reasons, ident=self.of),), of=self.of)
        )

    async def file_is(self, status: str, *reasons: str) -> None:
        await self.says(pain002(status, reason=reasons, of=self.of))

    async def open_cases(self) -> list[tuple[str, str]]:
        return [(one.kind, one.about) for one in await self.cases()]

    async def cases(self, *, decided: bool = False) -> list[Case]:
        async with acquire(self.town.front.hub.pool) as connection:
            return await cases(connection, book=self.town.front.book, decided=decided)

    async def decide(self, decision: str) -> None:
        for case in await self.cases() or await self.cases(decided=True):
            await decide(self.town.front.hub, case.id, decision, by="Wang", note="asked the bank")

    def each(self, kind: str) -> list[tuple[str, str]]:
        return [(kind, line) for line in self.lines]


@asynccontextmanager
async def a_report(database_url: str, home: Path) -> AsyncIterator[Report]:
    async with a_town_with_a_bank(database_url, home) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = [line.id for line in (await town.lines(town.today)).values()]
        yield Report(town, bank, bank_worker, of, sorted(lines))


HAS_IT = [("DU02",), ("DU03",), ("DU04",), ("DU05",), ("AM05",), ("NARR|see below", "AM05"), ("AC04", "DUPL")]


@pytest.mark.parametrize("reasons", HAS_IT)
@pytest.mark.parametrize("level", ["lines", "payment", "file"])
async def test_what_the_bank_has_already_is_not_owed_again_and_a_person_is_asked(
    database_url: str, tmp_path: Path, reasons: tuple[str, ...], level: str
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("ACSP", group="ACSP")
        refuse = {"lines": report.lines_are, "payment": report.payment_is, "file": report.file_is}[level]
        await refuse("RJCT", *reasons)
        assert await report.town.standing() == IN_TRANSIT
        assert sorted(await report.open_cases()) == report.each("payout_in_doubt")
        tomorrow = await report.town.asked(report.town.today + timedelta(days=1))
        assert tomorrow is None, "nothing of it is paid again"
        await report.lines_are("ACSC", group="ACSC")
        assert await report.town.standing() == PAID
        assert await report.open_cases() == []


async def test_a_payment_information_refused_without_its_lines_refuses_them(database_url: str, tmp_path: Path) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.payment_is("RJCT", "AC01", group=None)
        assert await report.town.standing() == OWED_AGAIN
        lines = await report.town.lines(report.town.today)
        assert {(line.status, line.reason) for line in lines.values()} == {("refused", "AC01")}
        assert (await report.town.batch(report.town.today)).status == "finished"
        assert await report.open_cases() == []


async def test_a_payment_information_carried_out_pays_the_lines_it_does_not_name(
    database_url: str, tmp_path: Path
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.payment_is("ACSC")
        assert await report.town.standing() == PAID


@pytest.mark.parametrize("reasons", [("DU04",), ("NARR|was sent before", "AM05")])
async def test_what_is_paid_is_no_less_so_where_the_bank_says_that_it_has_it(
    database_url: str, tmp_path: Path, reasons: tuple[str, ...]
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("ACSC")
        await report.lines_are("RJCT", *reasons)
        assert (await report.town.standing(), await report.open_cases()) == (PAID, [])


@pytest.mark.parametrize("reason", ["AC04", "NARR|no such account"])
async def test_a_refusal_of_what_was_paid_is_a_case_and_stops_nothing(
    database_url: str, tmp_path: Path, reason: str
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("ACSC")
        await report.lines_are("RJCT", reason)
        assert await report.town.standing() == PAID
        assert sorted(await report.open_cases()) == report.each("bank_contradicts_itself")
        await report.decide("looked_into")
        await report.lines_are("RJCT", reason)
        assert await report.open_cases() == [], "the same word again is no news"


@pytest.mark.parametrize(("status", "reasons"), [("ACSC", ()), ("RJCT", ("DU03",))])
async def test_what_was_refused_and_may_be_paid_after_all_is_a_case(
    database_url: str, tmp_path: Path, status: str, reasons: tuple[str, ...]
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("RJCT", "AC04")
        await report.lines_are(status, *reasons)
        assert await report.town.standing() == OWED_AGAIN
        assert sorted(await report.open_cases()) == report.each("bank_contradicts_itself")


async def test_a_refusal_of_what_is_in_doubt_waits_for_the_person_too(database_url: str, tmp_path: Path) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("RJCT", "DU04")
        await report.lines_are("RJCT", "AC04")
        assert await report.town.standing() == IN_TRANSIT
        assert {'"refused_besides":"AC04"' in case.facts for case in await report.cases()} == {True}


@pytest.mark.parametrize(("decision", "standing"), [("paid", PAID), ("not_paid", OWED_AGAIN), ("wait", IN_TRANSIT)])
async def test_a_person_decides_what_is_in_doubt(
    database_url: str, tmp_path: Path, decision: str, standing: dict[str, int]
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("RJCT", "DU04")
        await report.decide(decision)
        assert (await report.town.standing(), await report.open_cases()) == (standing, [])
        done = (await report.town.batch(report.town.today)).status
        assert done == ("sent" if decision == "wait" else "finished")
        await report.lines_are("RJCT", "AC04")
        expected = [] if decision != "paid" else report.each("bank_contradicts_itself")
        assert sorted(await report.open_cases()) == expected
        assert (await report.town.standing())["channel:rail"] == 9_940


@pytest.mark.parametrize(("decision", "standing"), [("paid", PAID), ("not_paid", OWED_AGAIN)])
async def test_what_was_left_to_a_bank_that_says_no_more_can_still_be_decided(
    database_url: str, tmp_path: Path, decision: str, standing: dict[str, int]
) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("RJCT", "DU04")
        await report.decide("wait")
        await report.decide(decision)
        assert (await report.town.standing(), await report.open_cases()) == (standing, [])
        assert (await report.town.batch(report.town.today)).status == "finished"


async def test_lines_of_one_report_have_each_their_own_fate(database_url: str, tmp_path: Path) -> None:
    async with a_report(database_url, tmp_path) as report:
        ids = {payee: line.id for payee, line in (await report.town.lines(report.town.today)).items()}
        lines = (report_line(ids[FARM], "ACSC"), report_line(ids[MILL], "RJCT", "AC04"))
        await report.says(pain002("PART", *lines, report_line(ids[PLATFORM], "RJCT", "NARR", "DU05"), of=report.of))
        assert await report.town.standing() == {
            "channel:rail": 9_940,
            "sub_account:farm": 3_000,
            "payee:mill": 6_890,
            "in_transit:citybank": 50,
        }
        assert await report.open_cases() == [("payout_in_doubt", ids[PLATFORM])]


async def test_what_was_not_paid_is_paid_with_the_next_payouts(database_url: str, tmp_path: Path) -> None:
    async with a_report(database_url, tmp_path) as report:
        await report.lines_are("RJCT", "DU04")
        await report.decide("not_paid")
        tomorrow = await report.town.settle(report.town.today + timedelta(days=1))
        assert tomorrow.total_minor == 9_940
        assert await report.town.standing() == IN_TRANSIT
