"""Statements as files: CSV for machines, a workbook for people, both of any length; PDF for paper (pdf.py)."""

import csv
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from xlsxwriter import Workbook

from kernel.errors import Rejected
from kernel.money import minor_digits
from ledger.accounts import NATURE, Side, kind_of
from splitting.statements.pdf import a_pdf
from splitting.statements.reading import Line, Section, Statement
from splitting.statements.table import COLUMNS, Written, facts, major

_SHEET_ROWS = 1_048_576  # what a sheet of a workbook has, by its format
_EXACT = 2**53  # minor units beyond which a workbook's numbers, which are doubles, are no longer exact


Lines = Callable[[Section], AsyncGenerator[Line]]


class Writer(Protocol):
    """A format."""

    def begin(self, section: Section) -> None: ...
    def line(self, section: Section, line: Line) -> None: ...
    def end(self, written: Written) -> None: ...


async def write(path: Path, statement: Statement, lines: Lines) -> list[Written]:
    """Write a statement into a file, .csv, .xlsx or .pdf, and return what each account had. A failure leaves no file.

    Raises Rejected (unknown_format, too_many_lines, pdf_not_installed, no_chinese_font), and what `lines` raises.
    """
    writers: dict[str, Callable[[Path, Statement], AbstractContextManager[Writer]]] = {
        ".csv": _csv, ".xlsx": _workbook, ".pdf": a_pdf,
    }  # fmt: skip
    if path.suffix not in writers:
        raise Rejected(
            "unknown_format", f"{path.name} ends in none of {', '.join(writers)}, which say what it shall be"
        )
    found = []
    with _replacing(path) as new, writers[path.suffix](new, statement) as writer:
        for section in statement.sections:
            writer.begin(section)
            count = debits = credits = 0
            async with aclosing(lines(section)) as some:
                async for line in some:
                    writer.line(section, line)
                    count, debits, credits = count + 1, debits + line.debit_minor, credits + line.credit_minor
            found.append(Written(section, count, debits, credits))
            writer.end(found[-1])
    return found


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside `path`, for this account alone, that takes its place once it is whole."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    new = Path(name)
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


# ---- CSV -------------------------------------------------------------------------------------------------------------


@contextmanager
def _csv(path: Path, statement: Statement) -> Iterator["_Csv"]:
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # without the mark, spreadsheets guess the encoding
        yield _Csv(file, statement)


class _Csv:
    """One table; each account's first row is its opening balance and its last one what it closed at."""

    def __init__(self, file: Any, statement: Statement) -> None:
        self._out = csv.writer(file)
        self._period = statement.period
        self._out.writerow([name for name, _ in COLUMNS])

    def begin(self, section: Section) -> None:
        self._balance(section, "", self._period.first, "opening balance 期初余额", section.opening_minor)

    def line(self, section: Section, line: Line) -> None:
        currency = section.account.currency
        moved = [major(minor, currency) if minor else "" for minor in (line.debit_minor, line.credit_minor)]
        self._out.writerow([*facts(section, line), *moved, major(line.balance_minor, currency)])

    def end(self, written: Written) -> None:
        closing = written.section.closing_minor
        self._balance(written.section, str(written.line_count), self._period.last, "closing balance 期末余额", closing)

    def _balance(self, section: Section, number: str, day: Any, word: str, minor: int) -> None:
        name, currency = section.account.name, section.account.currency
        self._out.writerow([name, currency, number, "", day, word, "", "", "", "", major(minor, currency)])


# ---- a workbook ------------------------------------------------------------------------------------------------------


@contextmanager
def _workbook(path: Path, statement: Statement) -> Iterator["_Workbook"]:
    # Rows go to disk as they come. Text stays text, whatever it begins with: no formula, no address.
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with Workbook(str(path), options) as book:
        writer = _Workbook(book, statement)
        yield writer
        writer.close()


class _Workbook:
    """A sheet of sums, and a sheet for each account."""

    def __init__(self, book: Any, statement: Statement) -> None:
        self._book, self._statement = book, statement
        self._bold = book.add_format({"bold": True})
        self._formats: dict[str, Any] = {}
        self._sums = book.add_worksheet("sums 汇总")
        self._written: list[Written] = []
        self._sheet: Any = None
        self._row = 0

    def begin(self, section: Section) -> None:
        number, kind = len(self._written) + 1, kind_of(section.account.name)
        self._sheet = self._book.add_worksheet(f"{number} {NATURE[kind].chinese} {section.account.currency}"[:31])
        self._sheet.set_column(0, len(COLUMNS) - 1, 18)
        self._sheet.freeze_panes(1, 0)
        for column, (name, chinese) in enumerate(COLUMNS):
            self._sheet.write_string(0, column, f"{name} {chinese}", self._bold)
        self._row = 1

    def line(self, section: Section, line: Line) -> None:
        if self._row >= _SHEET_ROWS:
            raise Rejected("too_many_lines", f"{section.account.name} has more lines than a sheet: take .csv")
        for column, fact in enumerate(facts(section, line)):
            self._sheet.write_string(self._row, column, fact)
        currency = section.account.currency
        for column, minor in ((8, line.debit_minor), (9, line.credit_minor)):
            if minor:
                self._amount(self._sheet, self._row, column, minor, currency)
        self._amount(self._sheet, self._row, 10, line.balance_minor, currency)
        self._row += 1

    def end(self, written: Written) -> None:
        self._written.append(written)

    def close(self) -> None:
        """Write the sums: they are known last."""
        statement, sheet = self._statement, self._sums
        sheet.set_column(0, 0, 44)
        sheet.set_column(1, 7, 18)
        for row, (word, fact) in enumerate((
            ("statement of 对账单", statement.name), ("id 编号", statement.about),
            ("days, Beijing 期间", str(statement.period)), ("book 账簿", str(statement.book)),
        )):  # fmt: skip
            sheet.write_string(row, 0, word, self._bold)
            sheet.write_string(row, 1, fact)
        heads = (
            "account 账户",
            "side 方向",
            "currency 币种",
            "opening 期初",
            "debit 借",
            "credit 贷",
            "closing 期末",
            "lines 笔数",
        )
        for column, head in enumerate(heads):
            sheet.write_string(5, column, head, self._bold)
        for row, one in enumerate(self._written, 6):
            account = one.section.account
            sheet.write_string(row, 0, account.name)
            sheet.write_string(row, 1, "借 debit" if account.side == Side.DEBIT else "贷 credit")
            sheet.write_string(row, 2, account.currency)
            amounts = (one.section.opening_minor, one.debits_minor, one.credits_minor, one.section.closing_minor)
            for column, minor in enumerate(amounts, 3):
                self._amount(sheet, row, column, minor, account.currency)
            sheet.write_number(row, 7, one.line_count)

    def _amount(self, sheet: Any, row: int, column: int, minor: int, currency: str) -> None:
        if abs(minor) >= _EXACT:
            sheet.write_string(row, column, major(minor, currency))
            return
        digits = minor_digits(currency)
        if currency not in self._formats:
            self._formats[currency] = self._book.add_format({"num_format": "#,##0" + "." * bool(digits) + "0" * digits})
        sheet.write_number(row, column, minor / 10**digits, self._formats[currency])
