"""`sluice replay` as a command: a hub to play through, progress while it plays, a page at the end."""

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from kernel.addresses import LOOPBACK
from kernel.money import is_currency
from ops import interrupts
from ops.addresses import open_to
from ops.embedded import CannotStart, servers
from ops.embedded.child import describe_exit, end, spawn
from ops.embedded.place import is_free, is_locked, open_home
from ops.settings import Settings
from ops.supervisor import Run, find_run
from ops.trials.replay import generate
from ops.trials.replay.day import Day, Stage
from ops.trials.replay.ending import Ending
from ops.trials.replay.kept import Kept, open_folder
from ops.trials.replay.orders import BadOrders, Invoice, read
from ops.trials.replay.patience import PATIENCE_S
from ops.trials.replay.player import Player
from ops.trials.replay.rails import CAST
from ops.trials.replay.trouble import Plan
from ops.trials.replay.turn import turn
from ops.wiring import hub

START_WITHIN_S = 180.0  # seconds; a machine with other things to do took more than one minute
TRIES = 3  # to start a hub whose ports are taken by others meanwhile
FAST = 0.02  # factor on the simulated world's waits when we start it ourselves
OTHERS_TAKE_S = 600.0  # how long other replays of the same home may keep us waiting


def run(
    settings: Settings,
    orders: Path | None,
    *,
    currency: str,
    faults: int,
    seed: int,
    disturb: bool,
    coupons: bool = False,
    troubles: Mapping[str, str],
    json_file: Path | None,
    patience_s: float = PATIENCE_S,
) -> int:
    """Play the file, show the page, write the summary, and keep both with the logs.

    troubles: which rail is cut, slow, lossy; "none" for no rail. patience_s: how long any one thing is waited for.
    Returns 0 for a good day, 1 for one that is not or could not be played, 2 for what was asked wrongly, 130 and 143
    after Ctrl-C and SIGTERM.
    """
    quiet = str(json_file) == "-"
    if not is_currency(currency):
        return _fail(f"{currency!r} is not an ISO 4217 currency, such as CNY", 2)
    if faults < 0:
        return _fail(f"--faults {faults}: as many faults as none are the fewest", 2)
    if patience_s <= 0:
        return _fail(f"--patience {patience_s:g}: some seconds must be waited", 2)
    rails = {part.channel for part in CAST}
    for what, rail in troubles.items():
        if rail not in rails | {"none"}:
            return _fail(f"--{what} {rail}: the day is played over {', '.join(sorted(rails))}; or none", 2)
    plan = Plan(**{what: None if rail == "none" else rail for what, rail in troubles.items()})
    try:
        home = open_home(settings.home)
        if orders is None:
            orders = home / "demo" / f"orders-{seed}.csv"
            orders.parent.mkdir(parents=True, exist_ok=True)
            generate.write(orders, seed)
        invoices = read(orders, currency)
        if json_file is not None and not quiet and (why := _cannot_be_written(json_file)):
            return _fail(f"--output {json_file} cannot be written: {why}", 2)
        kept = open_folder(home, now=datetime.now(UTC), pid=os.getpid())
    except BadOrders as error:
        return _fail(str(error), 2)
    except (CannotStart, OSError) as error:
        return _fail(f"the day could not be played to its end: {error}", 1)
    _log_to(kept.replay_log)
    ending, stage = Ending(kept, json_file), None

    async def play() -> Day:
        nonlocal stage
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        with _stage(Console(stderr=True)) as stage:  # from here on a terminal is as it was only once this has ended
            return await _play(
                settings, invoices, currency, faults, seed, disturb, coupons, plan, stage, kept, patience_s
            )

    try:
        day = interrupts.run(play())
    except KeyboardInterrupt:
        return _fail(ending.stopped("stopped before the day was over"), 130)
    except asyncio.CancelledError:
        return _fail(ending.stopped("told to stop before the day was over"), 143)
    except Exception as error:  # whatever it was: it is told in the last lines, and kept with the logs
        return _fail(ending.broken_off(error, stage), 1)
    said = ending.over(day, orders)
    return _fail(said, 1) if said else 0


def _fail(message: str, code: int) -> int:
    typer.echo(f"sluice: {message}", err=True)
    return code


def _log_to(path: Path) -> None:
    """Keep what the libraries have to say while servers are restarted out of the progress and the page."""
    logging.basicConfig(
        filename=path,
        filemode="w",
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.getLogger("ops.trials.replay").setLevel(logging.INFO)  # when which stage began


def _cannot_be_written(path: Path) -> str | None:
    """Return why the summary could not be written, now and not after the whole day; None where it can."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        return error.strerror
    return None


async def _play(
    settings: Settings,
    invoices: list[Invoice],
    currency: str,
    faults: int,
    seed: int,
    disturb: bool,
    coupons: bool,
    plan: Plan,
    stage: Stage,
    kept: Kept,
    patience_s: float,
) -> Day:
    stage.begin("starting the hub 启动", 1)
    async with _running(settings, kept.hub_log) as found, servers(settings) as addresses:
        stage.step()
        async with (
            hub(
                database_url=addresses.database_url,
                redis_url=addresses.redis_url,
                home=settings.home,
                keys_file=settings.channel_keys,
                public_url=settings.public_url or found.gateway_url,
                addresses=LOOPBACK,  # of this process, which plays; the hub calls what it is told in each case
                name="sluice replay",
            ) as objects,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session,
        ):
            player = Player(
                objects,
                sandbox_url=found.sandbox_url,
                hub_url=found.gateway_url,
                session=session,
                stage=stage,
                bank_turn=lambda: turn(settings.home / "demo" / "bank.lock", patience_s=OTHERS_TAKE_S),
                open_to=lambda port: open_to(settings.home, port),
                patience_s=patience_s,
            )
            return await player.play(
                invoices, currency=currency, faults=faults, seed=seed, disturb=disturb, plan=plan, coupons=coupons
            )


@asynccontextmanager
async def _running(settings: Settings, log: Path) -> AsyncIterator[Run]:
    """Use the hub that runs in this home, or start one for as long as the replay, and others that join it, last.

    log: what one of our own says.
    """
    users = settings.home / "demo" / "users.lock"
    async with AsyncExitStack() as staying:
        await staying.enter_async_context(turn(users, patience_s=OTHERS_TAKE_S, shared=True))
        run = find_run(settings.home)
        if run is not None:
            yield _with_sandbox(run)
            return
        async with _started(settings, log) as run:
            yield _with_sandbox(run)
            # Not in a finally: who is told to stop does so at once, and takes the hub along.
            await staying.aclose()
            await staying.enter_async_context(turn(users, patience_s=OTHERS_TAKE_S))


def _with_sandbox(run: Run) -> Run:
    if not any(child.name == "sandbox" for child in run.children):
        raise CannotStart("the hub of this home runs without its sandbox; a day is played against that")
    return run


@asynccontextmanager
async def _started(settings: Settings, log: Path) -> AsyncIterator[Run]:
    """Run a hub of our own on free ports, its outside world hurried. Raises CannotStart.

    Seconds pass before it listens: ports that somebody else has taken by then are chosen anew.
    """
    environment = os.environ | {
        "SLUICE_HOME": str(settings.home),
        "SLUICE_TIME_SCALE": str(min(settings.time_scale, FAST)),
        "SLUICE_LOG_FORMAT": "json",
    }
    names = ("SLUICE_GATEWAY_PORT", "SLUICE_OPS_PORT", "SLUICE_SANDBOX_PORT")
    for tries_left in reversed(range(TRIES)):
        ports = free_ports(len(names))
        environment |= dict(zip(names, map(str, ports), strict=True))
        before = _stamp(settings.home)
        with log.open("ab") as out:
            process = spawn(
                [sys.executable, "-m", "ops.cli", "up"], env=environment, cwd=Path.cwd(), stdout=out, stderr=out
            )
        try:
            try:
                run = await _came_up(settings.home, process, before, log)
            except CannotStart:
                if not tries_left or all(map(is_free, ports)):
                    raise
                continue
            yield run
            return
        finally:
            await end(process, (signal.SIGTERM, 30.0))


async def _came_up(home: Path, process: subprocess.Popen[bytes], before: int, log: Path) -> Run:
    """Wait until the hub of the home is ready: the one we started or, should another have been faster, that one.

    before: `_stamp` of the home when ours was started. Raises CannotStart with what ours said last.
    """
    give_up_at = time.monotonic() + START_WITHIN_S
    while time.monotonic() < give_up_at:
        ended = process.poll() is not None
        # Not sooner: looking whether a lock is held takes it for a moment, and ours would find it taken.
        if (ended or _stamp(home) != before) and (run := find_run(home)) is not None:
            return run
        if ended and not is_locked(home / "supervisor.lock"):
            break
        await asyncio.sleep(0.05)
    said = await asyncio.to_thread(_last_lines, log)
    how = describe_exit(process.returncode) if process.returncode is not None else f"{START_WITHIN_S:.0f} s of silence"
    raise CannotStart(f"the hub did not start ({how}); it said last:\n{said}\nall of it is in {log}")


def _stamp(home: Path) -> int:
    """Return when a hub of this home last told where it is; 0 where none ever has."""
    try:
        return (home / "run.json").stat().st_mtime_ns
    except OSError:
        return 0


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on just now, of those that Linux gives to no outgoing connection meanwhile."""
    drawn = random.sample(range(15_000, 30_000), 200)
    return [port for port in drawn if is_free(port)][:count]


@contextmanager
def _stage(console: Console) -> Iterator[Stage]:
    """Show what is happening: a bar on a terminal, a line a stage elsewhere."""
    if not console.is_terminal:
        yield Stage(lambda what, steps: _line(sys.stderr, what), lambda: None)
        return
    columns = (
        TextColumn("{task.description}", table_column=Column(min_width=34)),
        BarColumn(bar_width=20),
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
