"""The simulated outside world: sandbox run, sandbox info."""

from typing import Annotated

import typer

from ops.cli.shared import Json, fail, settings, show

app = typer.Typer(no_args_is_help=True, help="The sandbox 沙箱: simulated rails and a bank.")


@app.command("run")
def sandbox_run(
    port: Annotated[int | None, typer.Option(help="0 takes a free one; default SLUICE_SANDBOX_PORT.")] = None,
    time_scale: Annotated[float, typer.Option(help="Factor by which the simulated waits are multiplied.")] = 1.0,
) -> None:
    """Run the simulated rails and bank in the foreground."""
    import sqlite3

    from sandbox.main import AlreadyRunning, run

    found = settings()
    try:
        code = run(found.home, found.sandbox_port if port is None else port, time_scale)
    except AlreadyRunning as error:
        fail(str(error))
    except (OSError, sqlite3.OperationalError) as error:  # its port is taken, its disk full
        fail(f"the sandbox cannot work: {error}")
    raise typer.Exit(code)


@app.command("info")
def sandbox_info(as_json: Json = False) -> None:
    """Print every base URL, id, key file and control endpoint, so that any SDK can be pointed at the sandbox."""
    from sandbox.main import NotRunning, info

    try:
        told = info(settings().home)
    except NotRunning as error:
        fail(str(error))
    if as_json:
        show(told)
        return
    typer.echo(f"base URL  {told['base_url']}   running: {'yes' if told['running'] else 'no'}")
    for rail, its in told.items():
        if not isinstance(its, dict) or not isinstance(its.get("merchants"), list):
            continue
        for merchant in its["merchants"]:
            typer.echo(f"{rail} merchant {merchant['merchant']}")
            for name, value in merchant.items():
                if _is_for_eyes(rail, name, value):
                    typer.echo(f"  {name:22} {value}")
    typer.echo("all of it, with control endpoints: sluice sandbox info --json")


def _is_for_eyes(rail: str, name: str, value: object) -> bool:
    """Tell whether one of a simulated merchant's settings is worth a line: short, no secret, not said already."""
    from channels.registry import secrets_of

    short = isinstance(value, int) or (isinstance(value, str) and 0 < len(value) < 200 and "\n" not in value)
    return short and name not in secrets_of(rail) | {"merchant", "base_url"}
