"""The closing page of a replay: a day a person can read at a glance, and check with a pocket calculator."""

from collections import Counter
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kernel.money import Money
from ops.trials.replay.day import Day
from ops.trials.replay.faults import SHORT_BY_MINOR
from ops.trials.replay.orders import net_minor
from ops.trials.replay.trouble import SLOW_BY_MS

BAR = 24
SHADES = " ░▒▓█"
WIDEST = 100  # columns; wider than this the eye loses the line

# The bank's reasons (ISO 20022 external status reason codes) in words.
REASONS = {
    "AC01": "no such account",
    "AC04": "the account is closed",
    "AM01": "an amount of zero",
    "AM03": "another currency than the account's",
    "AM04": "not enough money in the pool",
    "AM05": "sent twice",
}


def show(day: Day, orders: Path, console: Console) -> None:
    """Print the page."""
    title = f"Sluice 汇闸 · {escape(orders.name)} · book {day.book} · {', '.join(map(str, day.dates)) or 'no business'}"
    parts: list[RenderableType] = [
        _orders(day),
        "",
        *_money(day),
        "",
        *_rails(day),
        "",
        *_shares(day),
        "",
        *_proof(day),
        "",
        _verdict(day),
    ]
    width = min(console.width, WIDEST)
    console.print(Panel(Group(*parts), title=title, subtitle=f"{day.seconds:.1f} s", padding=(1, 2), width=width))


def _verdict(day: Day) -> Text:
    wrongs = day.wrongs()
    if not wrongs:
        return Text("✔ the day adds up to the last cent 分毫不差", style="bold green")
    more = [f"  and {len(wrongs) - 12} more, see --json"] if len(wrongs) > 12 else []
    return Text("\n".join(["✘ the day does not add up", *(f"  {why}" for why in wrongs[:12]), *more]), style="bold red")


def _table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    return table


def _orders(day: Day) -> Table:
    how = Counter(day.ledger.ended.values())
    table = _table()
    table.add_row("[bold]invoices 订单[/]", str(len(day.invoices)))
    table.add_row("  paid 已支付", str(how["paid"]), "[green]" + _bar(how["paid"], how.total()))
    table.add_row("  refunded 已退款", str(how["refunded"]), "[yellow]" + _bar(how["refunded"], how.total()))
    for reason, found in sorted(day.ledger.refused.items()):
        table.add_row(f"  refused 拒绝: {escape(reason)}", str(len(found)), "[red]" + _bar(len(found), how.total()))
    return table


def _money(day: Day) -> list[RenderableType]:
    table = _table()
    table.add_row(f"[bold]money 资金[/] ({day.currency})")
    table.add_row("  captured 收款", _amount(day, day.captured_minor))
    table.add_row("− refunded 退款", _amount(day, day.refunded_minor))
    table.add_row("+ refused 拒绝", _amount(day, day.refused_minor))
    table.add_row("= the file's net 订单净额", f"[bold]{_amount(day, net_minor(day.invoices))}[/]")
    if day.refused_minor >= 0:
        return [table]
    return [table, _note("A refused cancellation counts below zero, so what was refused may do so too.")]


def _rails(day: Day) -> list[RenderableType]:
    """Show what each account took, what it cost, and the hours of the day with the hour of the cut."""
    rows = day.rails()
    table = _table()
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("[bold]rails 渠道[/]", "paid", "", "money", "per 10,000", "left")
    most = max((row["paid"] for row in rows), default=0)
    for row in rows:
        moved = str(row["failed_over"]) if row["failed_over"] else ""
        cost = f"{row['cost_per_10k']:.2f}"
        bar = "[blue]" + _bar(row["paid"], most, BAR // 4)
        table.add_row(f"  {row['account']}", str(row["paid"]), bar, _amount(day, row["captured_minor"]), cost, moved)
    captured, fee = sum(row["captured_minor"] for row in rows), sum(row["fee_minor"] for row in rows)
    total = f"[bold]{fee * 10_000 / captured if captured else 0:.2f}[/]"
    table.add_row("= all of them", str(sum(r["paid"] for r in rows)), "", _amount(day, captured), total, "")
    return [table, *_hours(day), *(_note(text) for text in _about_trouble(day))]


def _hours(day: Day) -> list[RenderableType]:
    """Draw each account's paid orders by the file's half-hours, darker for more; the hour of the cut is marked."""
    slots: dict[str, Counter[int]] = {account.name: Counter() for account in day.accounts}
    for order in day.ledger.orders:
        if order.outcome == "paid":
            slots[order.accounts[-1]][order.at_minute // 30] += 1
    used = [slot for found in slots.values() for slot in found]
    if not used:
        return []
    first, last = min(used), max(used)
    most = max(count for found in slots.values() for count in found.values())
    table = Table.grid(padding=(0, 2))
    cut = range(24, 26) if day.plan.cut else range(0)
    table.add_row("", Text("".join("▼" if slot in cut else " " for slot in range(first, last + 1)), style="red"))
    for account in day.accounts:
        line = Text()
        for slot in range(first, last + 1):
            count = slots[account.name][slot]
            shade = SHADES[0 if not count else 1 + (len(SHADES) - 2) * count // most]
            hit = slot in cut and account.channel == day.plan.cut
            line.append("·" if hit and not count else shade, style="red" if hit else "blue")
        table.add_row(f"  {account.name}", line)
    hours = f"{first // 2:02}:{'30' if first % 2 else '00'} to {(last + 1) // 2:02}:{'00' if last % 2 else '30'}"
    table.add_row("", Text(hours, style="dim"))
    return [table]


def _about_trouble(day: Day) -> list[str]:
    """Say in words what was in trouble, and what became of the orders of that hour."""
    notes = []
    cut = day.cut()
    if cut is not None:
        notes.append(
            f"{cut['rail']} could not be reached from noon to one (▼). Of {cut['orders_during']} orders then, "
            f"{cut['routed_away']} it would have taken went another way ({cut['other_wallet']} from another wallet), "
            f"{cut['waited']} waited for it, {cut['failed_because_of_cut']} failed because of it: "
            f"{cut['failed_share']:.2%} of the day's."
        )
    if day.plan.slow:
        notes.append(f"{day.plan.slow} took {SLOW_BY_MS} ms longer to answer all day.")
    if day.plan.lossy:
        notes.append(f"{day.plan.lossy} lost answers to new orders now and then.")
    return notes


OF_NO_PAYEE = {
    "channel fee": "kept by the channel",
    "refund cost": "borne by the merchant",
    "merchant coupon": "borne by the merchant",
    "coupon rounding": "the merchant's",
}


def _shares(day: Day) -> list[RenderableType]:
    shares = day.shares_minor()
    largest = max(shares.values(), default=0)
    table = _table()
    table.add_column(justify="right", no_wrap=True)
    table.add_row("[bold]shares 分账[/]", "", "", "paid out 已结算")
    paid = {payee.name: payee.paid_minor for payee in day.shares}
    for name, minor in sorted(shares.items(), key=lambda item: -item[1]):
        settled = _amount(day, paid[name]) if name in paid else f"[dim]{OF_NO_PAYEE[name]}"
        table.add_row(f"  {name}", _amount(day, minor), "[cyan]" + _bar(minor, largest, BAR // 2), settled)
    total, settled = _amount(day, sum(shares.values())), _amount(day, day.settled_minor)
    table.add_row("= captured − refunded", f"[bold]{total}[/]", "", f"[bold]{settled}[/]")
    return [table, *(_note(text) for text in _about_lines(day))]


def _about_lines(day: Day) -> list[str]:
    """Say in words which lines the bank refused and why, and what becomes of them."""
    notes = []
    for code, count in sorted(day.refused_lines.items()):
        lines = "1 line" if count == 1 else f"{count} lines"
        why = REASONS.get(code, "its own reason")
        notes.append(f"The bank refused {lines}: {code}, {why}. The money is owed again and goes with the next batch.")
    if "AM04" in day.refused_lines and any(fault.fault == "deposit_short" for fault in day.planted):
        short = Money(SHORT_BY_MINOR, day.currency)
        notes.append(f"That is a planted fault's doing: the channel's deposit came {short} short.")
    return notes


def _proof(day: Day) -> list[RenderableType]:
    table = _table()
    table.add_row("[bold]proof 对账[/]")
    planted, missed = len(day.planted), len(day.missed)
    table.add_row("  record faults planted", str(planted))
    table.add_row("  found", str(planted - missed), f"missed {missed}, invented {len(day.invented)}")
    for kind, count in sorted(Counter(kind for _, kind in day.found).items()):
        table.add_row(f"    {kind}", str(count))
    spoiled = sum(day.disturbances.values())
    table.add_row("  messages spoiled", str(spoiled), "none left a trace" if spoiled and not day.wrongs() else "")
    table.add_row("  charged twice", str(len(day.charged_twice)))
    told, lost = day.acknowledged, len(day.acknowledged_lost)
    table.add_row("  acknowledged", str(told), f"lost or taken back {lost}")
    table.add_row("  invariants 不变量", str(day.invariants["checked"]), f"broken {day.invariants['broken']}")
    if planted == day.faults_asked:
        return [table]
    return [table, _note(f"{day.faults_asked} faults were asked for; the day has room for {planted}, one a record.")]


def _note(text: str) -> RenderableType:
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))


def _amount(day: Day, minor: int) -> str:
    whole, point, decimals = Money(minor, day.currency).major().partition(".")
    sign, digits = whole[: -len(whole.lstrip("-"))], whole.lstrip("-")
    return f"{sign}{int(digits):,}{point}{decimals}"


def _bar(part: int, whole: int, width: int = BAR) -> str:
    """Return a bar as long as the part is of the whole; something is never drawn as nothing."""
    if part <= 0 or whole <= 0:
        return ""
    return "█" * max(1, round(width * part / whole))
