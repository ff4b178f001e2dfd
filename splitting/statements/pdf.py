"""A statement on paper: PDF/A, typeset by Typst (extra `pdf`), with the characters that it uses inside the file.

Typst reads what the statement says as data and never as markup. It needs a font with Chinese characters, which the
machine has to have: none is small enough to come with the hub.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kernel.errors import Rejected
from ledger.accounts import NATURE, Side, kind_of
from splitting.statements.reading import Line, Section, Statement
from splitting.statements.table import COLUMNS, Written, facts, major

LONGEST = 20_000  # lines: Typst has the whole document in memory, and nobody reads more on paper
TEMPLATE = Path(__file__).with_name("statement.typ")
# In this order. Sans serif, with the simplified characters.
FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Microsoft YaHei",
)  # fmt: skip


@contextmanager
def a_pdf(path: Path, statement: Statement) -> Iterator["Pdf"]:
    """Yield a writer; when all is written, typeset it.

    Raises Rejected (pdf_not_installed, no_chinese_font) before anything is read, and too_many_lines.
    """
    try:
        import typst
    except ImportError:
        why = "a PDF needs the package typst, the hub's extra `pdf`: install it, or take .csv or .xlsx"
        raise Rejected("pdf_not_installed", why) from None
    font = next((one for one in FONTS if one in set(typst.Fonts().families())), None)
    if font is None:
        why = "this machine has no font with Chinese characters: install one, as fonts-wqy-microhei or fonts-noto-cjk"
        raise Rejected("no_chinese_font", why)
    writer = Pdf(statement, font)
    yield writer
    with TemporaryDirectory() as folder:
        document = Path(folder) / "statement.typ"
        document.write_bytes(TEMPLATE.read_bytes())
        document.with_suffix(".json").write_text(json.dumps(writer.told), "utf-8")
        typst.compile(document, output=path, format="pdf", root=Path(folder), pdf_standards=["a-2b"])


class Pdf:
    """What the document shows: the sums of all accounts first, then each with its lines."""

    def __init__(self, statement: Statement, font: str) -> None:
        self._left, last = LONGEST, statement.period.last
        self._rows: list[list[str]] = []
        self.told: dict[str, Any] = {
            "font": font,
            "title": statement.name,
            "last": {"year": last.year, "month": last.month, "day": last.day},
            "facts": [
                ["id 编号", statement.about],
                ["days, Beijing 期间", str(statement.period)],
                ["book 账簿", str(statement.book)],
            ],
            "columns": [f"{name} {chinese}" for name, chinese in COLUMNS[2:]],
            "sections": [],
        }

    def begin(self, section: Section) -> None:
        self._rows = []

    def line(self, section: Section, line: Line) -> None:
        self._left -= 1
        if self._left < 0:
            why = f"a statement of more than {LONGEST} lines is no paper: take .csv or .xlsx, or fewer days"
            raise Rejected("too_many_lines", why)
        currency = section.account.currency
        moved = [major(minor, currency) if minor else "" for minor in (line.debit_minor, line.credit_minor)]
        self._rows.append([*facts(section, line)[2:], *moved, major(line.balance_minor, currency)])

    def end(self, written: Written) -> None:
        account = written.section.account
        amounts = (
            written.section.opening_minor, written.debits_minor, written.credits_minor, written.section.closing_minor,
        )  # fmt: skip
        self.told["sections"].append({
            "account": account.name,
            "kind": NATURE[kind_of(account.name)].chinese,
            "side": "借 debit" if account.side == Side.DEBIT else "贷 credit",
            "currency": account.currency,
            "amounts": [major(minor, account.currency) for minor in amounts],
            "lines": written.line_count,
            "rows": self._rows,
        })  # fmt: skip
