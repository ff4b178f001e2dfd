"""What every format of a statement shows: the columns, a line's facts, and the sums of an account."""

from typing import NamedTuple

from kernel.clock import BEIJING
from kernel.money import Money
from ledger.rules import RULES
from splitting.statements.reading import Line, Section

COLUMNS = (
    ("account", "账户"),
    ("currency", "币种"),
    ("number", "序号"),
    ("recorded_at", "记账时间"),
    ("business_date", "业务日期"),
    ("what", "事项"),
    ("reference", "凭证对象"),
    ("counter_account", "对方账户"),
    ("debit", "借"),
    ("credit", "贷"),
    ("balance", "余额"),
)


class Written(NamedTuple):
    """What was written of one account, in minor units."""

    section: Section
    line_count: int
    debits_minor: int
    credits_minor: int


def what(rule: str) -> str:
    """Return a rule as a statement names it: in Chinese where there is a word, and as the book does."""
    word, colon, _ = RULES[rule].meaning.partition(": ")
    return f"{word} {rule}" if colon and not word.isascii() else rule


def facts(section: Section, line: Line) -> list[str]:
    return [
        section.account.name,
        section.account.currency,
        str(line.seq),
        line.recorded_at.astimezone(BEIJING).isoformat(sep=" ", timespec="seconds"),
        str(line.business_date),
        what(line.rule),
        line.reference,
        line.counter,
    ]


def major(minor: int, currency: str) -> str:
    return Money(minor, currency).major()
