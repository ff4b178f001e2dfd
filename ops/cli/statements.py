"""Statements 对账单: statement payee, merchant, bank."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Book, Json, cannot_use, day, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from datetime import datetime

    from ops.wiring import Hub
    from splitting.statements.reading import Period, Statement
    from splitting.statements.table import Written

app = typer.Typer(
    no_args_is_help=True,
    help="Statements 对账单: what was recorded on accounts in a day or a month.",
)
File = Annotated[
    Path, typer.Option("--output", help="Write it there: .csv for machines, .xlsx for people, .pdf for paper.")
]
Date = Annotated[str | None, typer.Option(help="The day, YYYY-MM-DD, in Beijing; it must be over.")]
Month = Annotated[str | None, typer.Option(help="The month, YYYY-MM; it must be over.")]


@app.command("payee")
def statement_payee(
    book: Book,
    payee: Annotated[str, typer.Argument(metavar="PAYEE", help="pye_…, see `sluice payee list`.")],
    output: File,
    date: Date = None,
    month: Month = None,
    as_json: Json = False,
) -> None:
    """Write a payee's statement: what it is owed, and its sub-account at the bank."""
    _write(book, output, date, month, as_json, lambda hub, days, now: hub.statements.of_payee(book, payee, days, now))


@app.command("merchant")
def statement_merchant(book: Book, output: File, date: Date = None, month: Month = None, as_json: Json = False) -> None:
    """Write a merchant's statement: its account in each currency, its coupons, and fees that refunds cost it."""
    from gateway.store import find_merchant
    from kernel.db import acquire

    async def read(hub: "Hub", days: "Period", now: "datetime") -> "Statement":
        async with acquire(hub.pool) as connection:
            merchant = await find_merchant(connection, book)
        return await hub.statements.of_merchant(book, "" if merchant is None else merchant.name, days, now)

    _write(book, output, date, month, as_json, read)


@app.command("bank")
def statement_bank(
    book: Book,
    bank: Annotated[str, typer.Argument(help="The bank, see `sluice bank list`.")],
    output: File,
    date: Date = None,
    month: Month = None,
    as_json: Json = False,
) -> None:
    """Write what a bank has of a merchant's book: custody there, and what it was told to pay."""
    _write(book, output, date, month, as_json, lambda hub, days, now: hub.statements.of_bank(book, bank, days, now))


def _write(
    book: int,
    output: Path,
    date: str | None,
    month: str | None,
    as_json: bool,
    read: "Callable[[Hub, Period, datetime], Awaitable[Statement]]",
) -> None:
    from splitting.statements.files import write

    period, found = _period(date, month), settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            statement = await read(hub, period, hub.env.now())
            try:
                written = await write(output, statement, lambda section: hub.statements.lines(statement, section))
            except OSError as error:
                cannot_use(output, error)
        if as_json:
            first, last = map(str, period)
            show({"of": statement.about, "from": first, "to": last, "accounts": [_facts(one) for one in written]})
            return 0
        for one in written:
            facts = _facts(one)
            typer.echo(
                f"{on_screen(facts['account'])}  {facts['opening']} → {facts['closing']} {facts['currency']}  "
                f"debit 借 {facts['debit']}  credit 贷 {facts['credit']}  {facts['lines']} lines"
            )
        typer.echo(f"{period}: {on_screen(str(output))}" if written else f"{period}: no account has moved yet")
        return 0

    finish(work())


def _period(date: str | None, month: str | None) -> "Period":
    from splitting.statements import reading

    if (date is None) == (month is None):
        fail("give --date or --month", 2)
    if date is not None:
        return reading.Period(day(date), day(date))
    assert month is not None
    try:
        period = reading.month(month)
    except (ValueError, OverflowError):
        fail(f"{month!r} is not a month like 2026-11", 2)
    day(period.first.isoformat())
    return period


def _facts(one: "Written") -> dict[str, Any]:
    from kernel.money import Money

    account = one.section.account

    def major(minor: int) -> str:
        return Money(minor, account.currency).major()

    return {
        "account": account.name,
        "currency": account.currency,
        "opening": major(one.section.opening_minor),
        "debit": major(one.debits_minor),
        "credit": major(one.credits_minor),
        "closing": major(one.section.closing_minor),
        "lines": one.line_count,
    }
