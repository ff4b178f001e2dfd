"""Reports: report concentration, float, locality."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Currency, Json, day, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from datetime import datetime

    from reconciliation.reports import Range, Reports

app = typer.Typer(no_args_is_help=True, help="Reports 报表: how payments are spread, and what lies at which bank.")
From = Annotated[str, typer.Option("--from", help="The first day, YYYY-MM-DD, in Beijing.")]
To = Annotated[str, typer.Option("--to", help="The last day, YYYY-MM-DD; it must be over.")]
OneBook = Annotated[int | None, typer.Option("--book", help="Only this merchant's book; default: all together.")]
BAR = 40  # characters


@app.command("concentration")
def report_concentration(
    first: From,
    last: To,
    by: Annotated[str, typer.Option(help="channel (the rail), account or merchant.")] = "channel",
    book: OneBook = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Show how what payers paid, less refunds, is spread 集中度: each one's part, and the HHI of all.

    HHI is the sum of the squared shares: 10000 where one has all. Days are business dates.
    """
    from reconciliation.reports.reading import By

    if by not in list(By):
        fail(f"--by is one of {', '.join(By)}", 2)

    async def told(reports: "Reports", of: "Range", now: "datetime") -> dict[str, Any]:
        found = await reports.concentration(of, By(by), now)
        parts = [
            {"name": one.name, "amount": _major(one.minor, currency), "basis_points": one.basis_points}
            for one in found.parts
        ]
        return {"by": by, "total": _major(found.total_minor, currency), "hhi": found.hhi, "parts": parts}

    def lines(told: dict[str, Any]) -> list[str]:
        bars = [
            f"{one['name']:<16} {_bar(one['basis_points'])} {one['basis_points'] / 100:6.2f} %  {one['amount']}"
            for one in told["parts"]
        ]
        return [*bars, f"{told['total']} {currency} in all; HHI {told['hhi']} of 10000"]

    _report(first, last, book, currency, as_json, told, lines)


@app.command("float")
def report_float(
    first: From,
    last: To,
    rate: Annotated[
        int | None, typer.Option(help="Basis points a year: also show what that would bring; 100 is 1 %.")
    ] = None,
    book: OneBook = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Show what lay in custody at each bank 资金沉淀: the average and the most at a day's end, interest and charges.

    The average is over all days, working or not. A year has 365 days.
    """

    async def told(reports: "Reports", of: "Range", now: "datetime") -> dict[str, Any]:
        return {
            "banks": [
                {
                    "bank": one.bank,
                    "region": one.region,
                    "average": _major(one.figures.average_minor, currency),
                    "most": _major(one.figures.most_minor, currency),
                    "interest": _major(one.figures.interest_minor, currency),
                    "charges": _major(one.figures.charges_minor, currency),
                    "rate_bp": one.figures.rate_bp,
                    "would_bring": None if one.brought_minor is None else _major(one.brought_minor, currency),
                }
                for one in await reports.float_at_banks(of, rate, now)
            ]
        }

    def lines(told: dict[str, Any]) -> list[str]:
        found = []
        for one in told["banks"]:
            where = one["region"] or "region not said"
            paid = "" if one["rate_bp"] is None else f" ({one['rate_bp'] / 100:.2f} % a year)"
            would = "" if one["would_bring"] is None else f"; at {rate} basis points it would be {one['would_bring']}"
            found.append(
                f"{one['bank']:<10} {where}: {one['average']} {currency} on average, {one['most']} at most; "
                f"interest 利息 {one['interest']}{paid}, charges {one['charges']}{would}"
            )
        return found or ["nothing has ever lain at a bank"]

    _report(first, last, book, currency, as_json, told, lines)


@app.command("locality")
def report_locality(
    first: From,
    last: To,
    region: Annotated[str, typer.Option(help="The first digits of the region's code, GB/T 2260: 3707 is Weifang.")],
    book: OneBook = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Show which part of what channels paid in came to banks of a region 本地留存, and which went elsewhere.

    Where a bank is its link says: `region` of the enrolment.
    """
    if not (region.isascii() and region.isdecimal() and 1 <= len(region) <= 6):
        fail("--region is one to six digits", 2)

    async def told(reports: "Reports", of: "Range", now: "datetime") -> dict[str, Any]:
        from reconciliation.reports import concentration, local

        here, elsewhere, unknown = local(await reports.deposited(of, now), await reports.regions(book), region)
        spread = concentration({region: here, "elsewhere": elsewhere, "unknown": unknown})
        parts = {one.name: one.basis_points for one in spread.parts}
        return {
            "region": region,
            "here": _major(here, currency),
            "elsewhere": _major(elsewhere, currency),
            "unknown": _major(unknown, currency),
            "here_bp": parts[region],
            "elsewhere_bp": parts["elsewhere"],
            "unknown_bp": parts["unknown"],
        }

    def lines(told: dict[str, Any]) -> list[str]:
        rows = ((region, "here"), ("elsewhere", "elsewhere"), ("not said", "unknown"))
        return [
            f"{name:<16} {_bar(told[f'{key}_bp'])} {told[f'{key}_bp'] / 100:6.2f} %  {told[key]} {currency}"
            for name, key in rows
        ]

    _report(first, last, book, currency, as_json, told, lines)


def _report(
    first: str,
    last: str,
    book: int | None,
    currency: str,
    as_json: bool,
    read: "Callable[[Reports, Range, datetime], Awaitable[dict[str, Any]]]",
    lines: Callable[[dict[str, Any]], list[str]],
) -> None:
    from reconciliation.reports import Range, Reports

    of, found = Range(day(first), day(last), currency, book), settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            told = await read(Reports(hub.pool), of, hub.env.now())
        if as_json:
            show({"from": str(of.first), "to": str(of.last), "currency": currency, "book": book, **told})
        else:
            for line in lines(told):
                typer.echo(on_screen(line))
        return 0

    finish(work())


def _major(minor: int, currency: str) -> str:
    from kernel.money import Money

    return Money(minor, currency).major()


def _bar(basis_points: int) -> str:
    return ("█" * round(BAR * basis_points / 10_000)).ljust(BAR, "·")
