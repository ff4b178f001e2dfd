"""The closing page of a replay: a day a person can read at a glance, and check with a pocket calculator."""

from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kernel.money import Money
from ops.replay.day import Day
from ops.replay.orders import net_minor

BAR = 32


def show(day: Day, orders: Path, console: Console) -> None:
    """Print the page."""
    wrongs = day.wrongs()
    verdict = (
        Text("✔ the day adds up to the last cent 分毫不差", style="bold green")
        if not wrongs
        else Text("\n".join(["✘ the day does not add up", *(f"  {why}" for why in wrongs[:12])]), style="bold red")
    )
    title = f"Sluice 汇闸 · {orders.name} · book {day.book} · {', '.join(map(str, day.dates)) or 'no business'}"
    console.print(
        Panel(
            Group(_orders(day), _money(day), _shares(day), _proof(day), verdict),
            title=title,
            subtitle=f"{day.seconds:.1f} s",
            padding=(1, 2),
        )
    )


def _money_text(day: Day, minor: int) -> str:
    return f"{Money(minor, day.currency).major():>14}"


def _orders(day: Day) -> Table:
    how = list(day.ledger.ended.values())
    table = Table.grid(padding=(0, 2))
    table.add_row("[bold]invoices 订单[/]", f"{len(day.invoices):>6}")
    table.add_row("  paid 已支付", f"{how.count('paid'):>6}", "[green]" + _bar(how.count("paid"), len(how)))
    table.add_row(
        "  refunded 已退款", f"{how.count('refunded'):>6}", "[yellow]" + _bar(how.count("refunded"), len(how))
    )
    for reason, found in sorted(day.ledger.refused.items()):
        table.add_row(f"  refused 拒绝: {reason}", f"{len(found):>6}", "[red]" + _bar(len(found), len(how)))
    table.add_row("")
    return table


def _money(day: Day) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(f"[bold]money 资金[/] ({day.currency})")
    table.add_row("  captured 收款", _money_text(day, day.captured_minor))
    table.add_row("− refunded 退款", _money_text(day, day.refunded_minor))
    table.add_row(
        "+ refused 拒绝", _money_text(day, day.refused_minor), "[dim]with its sign: a refused cancellation is negative"
    )
    table.add_row("= the file's net 订单净额", f"[bold]{_money_text(day, net_minor(day.invoices))}[/]")
    table.add_row("")
    return table


def _shares(day: Day) -> Table:
    shares = day.shares_minor()
    largest = max([abs(v) for v in shares.values()], default=1) or 1
    table = Table.grid(padding=(0, 2))
    table.add_row("[bold]shares 分账[/]", "", "", "paid out 已结算")
    paid = {payee.name: payee.paid_minor for payee in day.shares}
    for name, minor in sorted(shares.items(), key=lambda item: -item[1]):
        settled = _money_text(day, paid[name]) if name in paid else "[dim]kept by the channel"
        table.add_row(f"  {name}", _money_text(day, minor), "[cyan]" + _bar(minor, largest, BAR // 2), settled)
    total = sum(shares.values())
    table.add_row(
        "= captured − refunded",
        f"[bold]{_money_text(day, total)}[/]",
        "",
        f"[bold]{_money_text(day, day.settled_minor)}",
    )
    for code, count in day.refused_lines.items():
        table.add_row(
            f"  {count} line(s) refused by the bank: {code}", "", "", "[dim]owed again, paid with the next day"
        )
    table.add_row("")
    return table


def _proof(day: Day) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("[bold]proof 对账[/]")
    table.add_row(
        "  record faults planted → found",
        f"{len(day.planted)} → {len(day.planted) - len(day.missed)}",
        f"missed {len(day.missed)}, invented {len(day.invented)}",
    )
    for kind in sorted(set(day.found.values())):
        table.add_row(f"    {kind}", str(list(day.found.values()).count(kind)))
    spoiled = sum(day.disturbances.values())
    table.add_row("  messages lost, repeated, forged", str(spoiled), "none left a trace" if not day.wrongs() else "")
    table.add_row("  charged twice", str(len(day.charged_twice)))
    table.add_row("  invariants 不变量", f"{day.invariants['checked']}", f"broken {day.invariants['broken']}")
    table.add_row("")
    return table


def _bar(part: int, whole: int, width: int = BAR) -> str:
    return "█" * round(width * max(part, 0) / whole) if whole else ""
