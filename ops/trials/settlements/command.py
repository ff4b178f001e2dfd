"""`sluice settle trial` as a command: days read or made up, progress while they are played, a page and a summary."""

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import typer

from kernel.errors import SluiceError
from kernel.money import Money
from ops import interrupts
from ops.embedded import CannotStart
from ops.embedded.place import is_locked
from ops.settings import Settings
from ops.trials.replay import generate
from ops.trials.replay.orders import BadOrders, Invoice, read
from ops.trials.replay.patience import PromiseBroken
from ops.trials.replay.world import HubFailed, Refused
from ops.trials.settlements.town import a_town
from ops.trials.settlements.trial import Trial

FIRST = date(2026, 12, 2)  # a Wednesday in a year whose working days are known, with no holiday behind it
MOST = timedelta(days=20)
GENERATED, A_DAY = 2, 40  # days and orders of a day, where no file is given
_EXPECTED = (PromiseBroken, CannotStart, HubFailed, Refused, SluiceError, OSError)


def days_of(files: Sequence[Path]) -> dict[date, list[Invoice]]:
    """Return on which date each file's orders are played.

    Files that are named by dates are as many days apart as those; else each is a day after the one before. Raises
    BadOrders.
    """
    try:
        names = [date.fromisoformat(file.stem) for file in files]
        offsets = [name - min(names) for name in names]
    except ValueError:
        offsets = [timedelta(days=n) for n in range(len(files))]
    if len(set(offsets)) != len(files) or max(offsets) > MOST:
        raise BadOrders(f"each file is a day of its own, and the last at most {MOST.days} days after the first")
    return {FIRST + offset: read(file, "CNY") for offset, file in sorted(zip(offsets, files, strict=True))}


def command(settings: Settings, orders: Sequence[Path], *, seed: int, output: Path | None) -> int:
    """Play, print, write; return 1 where a promise did not hold or it could not go on, 2 for files that are none.

    output: the file of the summary, - to print it alone; None: summary.json in the folder of the trial.
    """
    home = settings.home.absolute() / "settlements"
    if is_locked(home / "postgres" / "lock"):
        typer.echo(f"sluice: another trial runs in {home}", err=True)
        return 1
    shutil.rmtree(home, ignore_errors=True)
    folder = home / "kept"
    folder.mkdir(parents=True)
    if not orders:
        orders = [folder / f"orders-{n + 1}.csv" for n in range(GENERATED)]
        for n, file in enumerate(orders):
            generate.write(file, seed + n, orders=A_DAY, first=700_000 + 1_000 * n)
    try:
        days = days_of(orders)
    except BadOrders as error:
        typer.echo(f"sluice: {error}", err=True)
        return 2
    own = settings.model_copy(update={"home": home, "database_url": None, "redis_url": None})
    try:
        told, wrongs = interrupts.run(_play(own, folder, days, seed))
    except KeyboardInterrupt:
        typer.echo("sluice: stopped before the last day was over", err=True)
        return 130
    summary = {**told, "wrongs": wrongs, "kept": str(folder)}
    text = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    if output == Path("-"):
        typer.echo(text, nl=False)
    else:
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(text, encoding="utf-8")
        typer.echo(page(summary))
    return 1 if wrongs else 0


async def _play(
    settings: Settings, folder: Path, days: Mapping[date, Sequence[Invoice]], seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Play in a town of our own; return the figures and what did not hold."""

    def say(line: str) -> None:
        sys.stderr.write(f"… {line}\n")
        sys.stderr.flush()

    trial: Trial | None = None
    wrongs: list[str] = []
    try:
        async with (
            a_town(settings, folder / "hub.log", lambda hands: hands.move_to(min(days), "09:00")) as town,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session,
        ):
            trial = Trial(town, session, folder, seed=seed, say=say)
            await trial.play(days)
    except _EXPECTED as error:
        wrongs.append(f"it could not be played to its end: {type(error).__name__}: {error}")
    except asyncio.CancelledError:
        raise
    return ({} if trial is None else trial.summary()), [*([] if trial is None else trial.wrongs), *wrongs]


def page(summary: Mapping[str, Any]) -> str:
    """Return the summary for people."""

    def money(minor: int) -> str:
        return Money(minor, "CNY").major()

    rows = [
        f"{'date':10}  {'orders':>6} {'paid':>5} {'captured':>12} {'refunds':>7} {'refunded':>11}  "
        f"{'lines':>5} {'refused':>7} {'settled':>12}  {'came back':>9}  proof"
    ]
    for one in summary.get("days", ()):
        lines = sum(sum(states.values()) for states in one["lines"].values())
        refused = sum(states.get("refused", 0) for states in one["lines"].values())
        killed = "  hub killed and restarted in this settlement" if one["killed"] else ""
        rows.append(
            f"{one['date']}  {one['orders']:>6} {one['paid']:>5} {money(one['captured_minor']):>12} "
            f"{one['refunded']:>7} {money(one['refunded_minor']):>11}  {lines:>5} {refused:>7} "
            f"{money(sum(one['settled_minor'].values())):>12}  {one['returned']:>9}  {one['proof'] or 'none'}{killed}"
        )
    rows.append("files by bank and fate: " + ", ".join(f"{name} {n}" for name, n in summary.get("files", {}).items()))
    rows += [
        f"spoiled: {one['way']:15} {one['file']} → {one['code']}, {one['remedy']}" for one in summary.get("spoiled", ())
    ]
    rows.append(f"{summary.get('seconds', 0)} s; certificates, logs and summary.json are in {summary['kept']}")
    wrongs = summary["wrongs"]
    rows += [f"WRONG: {wrong}" for wrong in wrongs] or ["every promise was kept 全部相符"]
    return "\n".join(rows)
