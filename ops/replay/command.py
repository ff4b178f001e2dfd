"""`sluice replay` as a command: a hub to play through, progress while it plays, a page at the end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from kernel.errors import SluiceError
from kernel.money import is_currency
from ops.embedded import CannotStart, servers
from ops.embedded.child import describe_exit, end, spawn
from ops.replay import generate, page
from ops.replay.day import Day, Player, Stage
from ops.replay.orders import BadOrders, Invoice, read
from ops.replay.world import Refused
from ops.serve import public_url
from ops.settings import Settings
from ops.supervisor import Run, find_run
from ops.wiring import hub

START_WITHIN_S = 60.0
FAST = 0.02  # factor on the simulated world's waits when we start it ourselves


def run(
    settings: Settings,
    orders: Path | None,
    *,
    currency: str,
    faults: int,
    seed: int,
    disturb: bool,
    json_file: Path | None,
) -> int:
    """Play the file, show the page, write the summary; return 0 for a good day, 1 otherwise, 2 for a bad file."""
    quiet = str(json_file) == "-"
    console = Console(stderr=True)
    if orders is None:
        orders = settings.home / "demo" / f"orders-{seed}.csv"
        generate.write(orders, seed)
    if not is_currency(currency):
        typer.echo(f"sluice: {currency!r} is not an ISO 4217 currency", err=True)
        return 2
    try:
        invoices = read(orders, currency)
        day = asyncio.run(_play(settings, invoices, currency, faults, seed, disturb, console))
    except BadOrders as error:
        typer.echo(f"sluice: {error}", err=True)
        return 2
    except (CannotStart, Refused, TimeoutError, SluiceError) as error:
        typer.echo(f"sluice: the day could not be played to its end: {error}", err=True)
        return 1
    summary = day.summary()
    text = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
    if quiet:
        typer.echo(text, nl=False)
    else:
        page.show(day, orders, Console())
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(text, encoding="utf-8")
            typer.echo(f"written to {json_file}")
    return 1 if summary["wrongs"] else 0


async def _play(
    settings: Settings, invoices: list[Invoice], currency: str, faults: int, seed: int, disturb: bool, console: Console
) -> Day:
    with _stage(console) as stage:
        stage.begin("starting the hub 启动", 1)
        async with _running(settings, console) as found, servers(found.settings) as addresses:
            stage.step()
            async with (
                hub(
                    database_url=addresses.database_url,
                    redis_url=addresses.redis_url,
                    home=settings.home,
                    public_url=public_url(found.settings),
                    name="sluice replay",
                ) as objects,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session,
            ):
                player = Player(
                    objects,
                    sandbox_url=found.run.sandbox_url,
                    hub_url=found.run.gateway_url,
                    session=session,
                    stage=stage,
                )
                return await player.play(invoices, currency=currency, faults=faults, seed=seed, disturb=disturb)


class _Found:
    """A running hub and the settings it runs with."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self.run = run
        self.settings = settings


@asynccontextmanager
async def _running(settings: Settings, console: Console) -> AsyncIterator[_Found]:
    """Use the hub that runs in this home, or start one for as long as the replay lasts."""
    run = find_run(settings.home)
    if run is not None:
        yield _Found(run, settings)
        return
    ports = dict(zip(("gateway_port", "ops_port", "sandbox_port"), _free_ports(3), strict=True))
    ours = settings.model_copy(update={**ports, "time_scale": min(settings.time_scale, FAST)})
    environment = os.environ | {
        "SLUICE_HOME": str(settings.home),
        "SLUICE_TIME_SCALE": str(ours.time_scale),
        "SLUICE_LOG_FORMAT": "json",
        **{f"SLUICE_{name.upper()}": str(port) for name, port in ports.items()},
    }
    log = settings.home / "demo" / "hub.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = spawn(
            [sys.executable, "-m", "ops.cli", "up"], env=environment, cwd=Path.cwd(), stdout=out, stderr=out
        )
        try:
            yield _Found(await _came_up(settings.home, process, log), ours)
        finally:
            await end(process, (signal.SIGTERM, 30.0))


async def _came_up(home: Path, process: subprocess.Popen[bytes], log: Path) -> Run:
    """Wait until the hub we started is ready. Raises CannotStart with what it said last."""
    give_up_at = time.monotonic() + START_WITHIN_S
    while time.monotonic() < give_up_at:
        run = find_run(home)
        if run is not None:
            return run
        if process.poll() is not None:
            break
        await asyncio.sleep(0.05)
    said = await asyncio.to_thread(_last_lines, log)
    how = describe_exit(process.returncode) if process.returncode is not None else f"{START_WITHIN_S:.0f} s of silence"
    raise CannotStart(f"the hub did not start ({how}); it said last:\n{said}\nall of it is in {log}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _free_ports(count: int) -> list[int]:
    """Return ports nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def _stage(console: Console) -> Iterator[Stage]:
    """Show what is happening: a bar on a terminal, a line a stage elsewhere."""
    if not console.is_terminal:
        yield Stage(lambda what, steps: _line(sys.stderr, what), lambda: None)
        return
    columns = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        current: list[TaskID] = []

        def begin(what: str, steps: int) -> None:
            current.append(progress.add_task(what, total=steps))

        yield Stage(begin, lambda: progress.advance(current[-1]))


def _line(out: IO[str], what: str) -> None:
    out.write(f"… {what}\n")
    out.flush()
