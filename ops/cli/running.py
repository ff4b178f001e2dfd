"""Running the hub and looking after its home: up, gateway, worker, migrate, doctor, verify."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Json, a_hub, fail, finish, settings, show

if TYPE_CHECKING:
    from ops.settings import Settings
    from ops.verify import Walked


def up(
    workers: Annotated[int | None, typer.Option(help="Gateway processes sharing the port.")] = None,
    sandbox: Annotated[bool, typer.Option(help="Start the simulated rails and bank too.")] = True,
) -> None:
    """Run the whole hub in the foreground until Ctrl-C: database, streams, gateway, worker, sandbox."""
    from ops.settings import variable
    from ops.supervisor import Run, supervise

    found = settings()
    if workers is not None:
        os.environ["SLUICE_WORKERS"] = str(workers)
        found = settings()

    def ready(run: Run) -> str:
        return f"the hub is up: {run.gateway_url} (metrics {run.ops_url}/metrics). Ctrl-C stops it."

    ports = {
        variable("gateway_port"): (found.gateway_host, found.gateway_port),
        variable("ops_port"): ("127.0.0.1", found.ops_port),
        **({variable("sandbox_port"): ("127.0.0.1", found.sandbox_port)} if sandbox else {}),
    }
    processes = hub_processes(found, sandbox=sandbox)
    raise typer.Exit(asyncio.run(supervise(found, processes, on_ready=ready, ports=ports)))


def hub_processes(found: "Settings", *, sandbox: bool = True) -> list[Any]:
    """Return the hub's processes in the order they start."""
    from ops.addresses import with_sandbox
    from ops.settings import variable
    from ops.supervisor import Child

    sluice = [sys.executable, "-m", "ops.cli"]
    children = []
    if sandbox:
        url = f"http://127.0.0.1:{found.sandbox_port}/control/info"
        argv = [*sluice, "sandbox", "run", "--port", str(found.sandbox_port), "--time-scale", str(found.time_scale)]
        children.append(Child("sandbox", argv, ready_url=url))
    # The simulated world is all of this machine that may be called, and only where it is started.
    env = {variable("allow_addresses"): with_sandbox(found)} if sandbox else {}
    ready = f"http://127.0.0.1:{found.ops_port}/ready"
    children.append(Child("gateway", [*sluice, "gateway"], env, ready_url=ready))
    children.append(Child("worker", [*sluice, "worker"], env))
    return children


def gateway(workers: Annotated[int | None, typer.Option(help="Processes sharing the port.")] = None) -> None:
    """Serve the merchant API; needs SLUICE_DATABASE_URL or servers started by `sluice up`."""
    from ops import serve

    if workers is not None:
        os.environ["SLUICE_WORKERS"] = str(workers)
    found = settings()
    raise typer.Exit(serve.gateway(found, *_addresses(found)))


def worker() -> None:
    """Do the background work: sharing out, querying channels, settlement, the event relay."""
    from ops import serve

    found = settings()
    raise typer.Exit(serve.background(found, *_addresses(found)))


def _addresses(found: "Settings") -> tuple[str, str]:
    """Return where the servers are, for processes that never start any."""
    from ops import embedded

    database = found.database_url.get_secret_value() if found.database_url else embedded.postgres_socket_url(found.home)
    redis = found.redis_url.get_secret_value() if found.redis_url else embedded.valkey_url(found.home)
    if database is None or redis is None:
        fail(
            "no servers have run in this home; start them with `sluice up`, or set SLUICE_DATABASE_URL and "
            "SLUICE_REDIS_URL"
        )
    return database, redis


def migrate(
    accept: Annotated[bool, typer.Option(help="Accept the present schema, after a change made by hand.")] = False,
) -> None:
    """Migrate the database to the schema of this code. The database's owner runs it; it needs no person."""
    from ops import embedded, people
    from ops.migrate import accept_schema
    from ops.migrate import migrate as apply

    found = settings()

    async def work() -> int:
        async with embedded.servers(found) as servers:
            done = await asyncio.to_thread(apply, servers.database_url)
            if accept:
                await asyncio.to_thread(accept_schema, servers.database_url)
            if done or accept:
                async with a_hub(found, may_lack_secrets=True) as hub:
                    who = await people.name_of(hub, found)
                    await people.record_migrations(hub.audit, who, "migrate", done)
                    await people.record_migrations(hub.audit, who, "migrate --accept", ["the schema as it is"] * accept)
        typer.echo("\n".join(f"applied {name}" for name in done) or "nothing to apply")
        return 0

    finish(work())


def doctor(as_json: Json = False) -> None:
    """Check this installation and show on one screen what is missing or wrong; exit code 1 if anything fails."""
    from ops import interrupts
    from ops.doctor import examine, render

    raise typer.Exit(render(interrupts.run(examine(settings())), as_json=as_json))


def verify(
    everything: Annotated[bool, typer.Option("--all", help="Check everything, also what was verified before.")] = False,
    again: Annotated[
        int | None,
        typer.Option(
            min=0, help="How many older payments to check as well, in turn; default: as many as have changed."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every invariant of the books; exit code 1 if one is broken.

    It checks what has changed since the last check that found nothing broken, and some older payments in turn. How far
    it got is kept in this home, protected by a key. Only --all finds an old record that somebody changed by hand.
    """
    from rich.console import Console
    from rich.table import Table

    from ops import verify as checks

    found = settings()

    async def work() -> int:
        async with a_hub(found, may_lack_secrets=True) as hub, hub.patient() as pool:
            marks = checks.Marks(found.home, hub.env)
            verdicts, walked = await checks.verify_since(pool, marks, everything=everything, again=again)
        summary = checks.as_json(verdicts, walked)
        if as_json:
            show(summary)
        else:
            table = Table("", "invariant 不变量", "broken", "what holds", box=None)
            for v in verdicts:
                mark = "[red]✗[/]" if v.broken else "[green]✓[/]"
                table.add_row(mark, v.name, str(len(v.broken)), "\n".join([v.says, *v.broken[:5]]))
            Console().print(table)
            for one in walked:
                typer.echo(_said(one))
            typer.echo(f"{summary['checked']} checked, {summary['broken']} broken")
        return 1 if summary["broken"] else 0

    finish(work())


def _said(one: "Walked") -> str:
    """Write for people how many were looked at and how many not."""
    if one.chain == "payments":
        turn = f", {one.again} of them old ones in turn" if one.again else ""
        text = f"payments: {one.rows} looked at with all that belongs to them{turn}"
        if one.before:
            text += f"; {one.before} not, last all on {one.since}: a row changed by hand since is found by --all"
    else:
        text = f"{one.chain}: {one.rows} walked"
        if one.since:
            text += f", {one.before} verified on {one.since} not again"
    return text + (f" ({one.why_all})" if one.why_all else "")
