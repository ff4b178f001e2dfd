"""Statements of payees, merchants and banks: what they say is what the ledger has, and each leads to its balance."""

import csv
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from python_calamine import CalamineWorkbook

from kernel.clock import business_date
from kernel.db import acquire
from kernel.errors import Broken, NotFound, Rejected
from kernel.money import Money
from ledger.rules import RULES
from ledger.store import balances_around
from splitting import BankLink, LinkBank
from splitting.settlement.deposits import ApplyDeposit
from splitting.statements import pdf
from splitting.statements.files import write
from splitting.statements.reading import Period, Statement, Statements, month
from splitting.statements.table import Written, what
from tests.splitting.town import BANK, DAY, FARM, PLATFORM, Town, a_town


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A town the day after it sold three times, gave one back in part, and settled: the farm was paid, the mill not."""
    async with a_town(database_url, tmp_path) as town:
        await town.put(LinkBank(BankLink(town.front.book, BANK, "6200-pool", "{}", "{}")))
        for _ in range(2):
            await town.sell()
        await town.front.refund(await town.sell(), 3_000)
        town.front.clock.forward(86_400)
        await town.sell(500)  # of the next day
        await town.settle(town.today)
        await town.decide(town.today, FARM, paid=True)
        town.front.clock.forward(86_400)
        yield town


def statements(town: Town) -> Statements:
    return Statements(town.front.hub.pool)


async def kept(town: Town, statement: Statement, path: Path) -> list[Written]:
    read = statements(town)
    return await write(path, statement, lambda section: read.lines(statement, section))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


async def test_two_days_of_a_payee_follow_on_each_other_and_end_where_the_ledger_does(
    town: Town, tmp_path: Path
) -> None:
    book, now, first = town.front.book, town.front.clock.now(), town.today
    found = []
    for day in (first, first + DAY):
        statement = await statements(town).of_payee(book, FARM, Period(day, day), now)
        await kept(town, statement, tmp_path / f"{day}.csv")
        found.append(rows(tmp_path / f"{day}.csv"))
    owed = f"payee:{FARM}:CNY"
    shown = [
        [(row["what"], row["debit"], row["credit"], row["balance"]) for row in some if row["account"] == owed]
        for some in found
    ]
    share, back, sent = what("share"), what("share_taken_back"), what("settlement_sent")
    opening, closing = "opening balance 期初余额", "closing balance 期末余额"
    assert [[row[0] for row in some] for some in shown] == [
        [opening, share, share, share, back, closing],
        [opening, share, sent, closing],
    ]
    assert shown[0][0][3] == "0.00"
    assert shown[0][-1][3] == shown[1][0][3]
    assert share == "分账 share"
    whole = await statements(town).of_payee(book, FARM, Period(first, first + DAY), now)
    (written, sub) = await kept(town, whole, tmp_path / "whole.csv")
    async with acquire(town.front.hub.pool) as connection:
        assert await balances_around(connection, book, owed, first, first + DAY) == (
            0, written.credits_minor - written.debits_minor,
        )  # fmt: skip
    standing = await town.standing()
    assert written.section.closing_minor == standing["payee:farm"] == 150
    assert sub.section.closing_minor == standing["sub_account:farm"]


async def test_a_workbook_says_the_same_as_the_table_and_a_name_in_it_is_no_formula(town: Town, tmp_path: Path) -> None:
    book, now = town.front.book, town.front.clock.now()
    days = Period(town.today, town.today + DAY)
    statement = (await statements(town).of_payee(book, FARM, days, now))._replace(name='=HYPERLINK("http://x")')
    written = await kept(town, statement, tmp_path / "farm.xlsx")
    await kept(town, statement, tmp_path / "farm.csv")
    book_read = CalamineWorkbook.from_path(tmp_path / "farm.xlsx")
    assert book_read.sheet_names == ["sums 汇总", "1 应付收款方 CNY", "2 子账户 CNY"]
    sums: list[list[Any]] = book_read.get_sheet_by_name("sums 汇总").to_python()
    assert sums[0][1] == '=HYPERLINK("http://x")'
    table = rows(tmp_path / "farm.csv")
    for n, (one, name) in enumerate(zip(written, book_read.sheet_names[1:], strict=True), 6):
        sheet: list[list[Any]] = book_read.get_sheet_by_name(name).to_python()[1:]
        lines = [row for row in table if row["account"] == one.section.account.name][1:-1]
        assert len(sheet) == len(lines) == one.line_count == sums[n][7]
        for cells, row in zip(sheet, lines, strict=True):
            assert [str(cell) for cell in cells[:8]] == list(row.values())[:8]
            assert [f"{cell:.2f}" if cell != "" else "" for cell in cells[8:]] == list(row.values())[8:]
        assert [round(100 * cell) for cell in sums[n][3:7]] == [
            one.section.opening_minor, one.debits_minor, one.credits_minor, one.section.closing_minor,
        ]  # fmt: skip


async def test_every_account_of_the_merchant_and_of_the_bank_is_on_its_statement(town: Town, tmp_path: Path) -> None:
    book, now, days = town.front.book, town.front.clock.now(), Period(town.today, town.today + DAY)
    for statement, wanted in (
        (await statements(town).of_merchant(book, "shop", days, now), {"merchant"}),
        (await statements(town).of_bank(book, BANK, days, now), {"in_transit"}),
        (await statements(town).of_payee(book, PLATFORM, days, now), {"platform_fee"}),
    ):
        written = await kept(town, statement, tmp_path / "one.csv")
        assert wanted <= {one.section.account.name.partition(":")[0] for one in written}
        assert sum(one.line_count for one in written) > 0


async def test_a_bank_s_statement_says_which_booking_a_deposit_is(town: Town, tmp_path: Path) -> None:
    book, day = town.front.book, business_date(town.front.clock.now())
    await town.put(ApplyDeposit(book, BANK, "main", "CNY", 500, "A1", day, "B1", "N1"))
    town.front.clock.forward(86_400)
    statement = await statements(town).of_bank(book, BANK, Period(day, day), town.front.clock.now())
    await kept(town, statement, tmp_path / "bank.csv")
    assert [row["reference"] for row in rows(tmp_path / "bank.csv") if row["number"] and row["debit"]] == [
        f"dep:{BANK}:B1"
    ]


async def test_what_cannot_be_stated_is_refused_and_leaves_no_file(town: Town, tmp_path: Path) -> None:
    read, book, now, day = statements(town), town.front.book, town.front.clock.now(), town.today
    with pytest.raises(Rejected, match="is not over in Beijing"):
        await read.of_payee(book, FARM, Period(day, day + 2 * DAY), now)
    with pytest.raises(NotFound, match="there is no payee"):
        await read.of_payee(book, "pye_" + "9" * 26, Period(day, day), now)
    with pytest.raises(NotFound, match="not linked"):
        await read.of_bank(book, "elsewhere", Period(day, day), now)
    statement = await read.of_payee(book, FARM, Period(day, day), now)
    (tmp_path / "there").mkdir()
    with pytest.raises(Rejected, match=r"none of \.csv, \.xlsx, \.pdf"):
        await kept(town, statement, tmp_path / "there" / "farm.txt")
    first, *more = statement.sections  # as if the ledger kept another balance than its entries lead to
    statement = statement._replace(sections=[first._replace(closing_minor=first.closing_minor + 1), *more])
    for name in ("farm.csv", "farm.xlsx"):
        with pytest.raises(Broken, match="the entries of payee:"):
            await kept(town, statement, tmp_path / "there" / name)
    assert list((tmp_path / "there").iterdir()) == []


def test_a_month_is_all_its_days() -> None:
    assert str(month("2028-02")) == "2028-02-01 to 2028-02-29"
    assert month("2026-12").last - month("2026-12").first == timedelta(days=30)
    with pytest.raises(ValueError, match="month"):
        month("2026-13")


def test_every_rule_has_a_name_on_statements() -> None:
    for rule in RULES:
        assert what(rule).endswith(rule)


async def test_on_paper_it_says_the_same_with_the_characters_inside_the_file(town: Town, tmp_path: Path) -> None:
    book, now, days = town.front.book, town.front.clock.now(), Period(town.today, town.today + DAY)
    name = '绿野农场 #panic("x") $a$ [b] \\ *c*'
    statement = (await statements(town).of_payee(book, FARM, days, now))._replace(name=name)
    written = await kept(town, statement, tmp_path / "farm.pdf")
    await kept(town, statement, tmp_path / "farm.csv")
    document = PdfReader(tmp_path / "farm.pdf")
    text = "".join("".join(page.extract_text() for page in document.pages).split()).replace("\u200b", "")
    assert "".join(name.split()) in text, "what it says is no markup"
    for one in written:
        for minor in (one.section.opening_minor, one.debits_minor, one.credits_minor, one.section.closing_minor):
            assert Money(minor, "CNY").major() in text
    for row in rows(tmp_path / "farm.csv"):
        for cell in row.values():
            if row["reference"]:
                assert "".join(cell.split()) in text
    fonts = [font.get_object() for page in document.pages for font in page["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        (of,) = font["/DescendantFonts"]
        assert {"/FontFile2", "/FontFile3"} & of.get_object()["/FontDescriptor"].get_object().keys()


async def test_what_is_no_paper_and_what_lacks_its_font_is_refused(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, days = town.front.clock.now(), Period(town.today, town.today)
    statement = await statements(town).of_payee(town.front.book, FARM, days, now)
    monkeypatch.setattr(pdf, "LONGEST", 3)
    with pytest.raises(Rejected, match=r"no paper: take \.csv"):
        await kept(town, statement, tmp_path / "farm.pdf")
    monkeypatch.setattr(pdf, "FONTS", ("No Such Font",))
    with pytest.raises(Rejected, match="no font with Chinese characters"):
        await kept(town, statement, tmp_path / "farm.pdf")
    assert [name for name in os.listdir(tmp_path) if name.endswith(".pdf")] == []
