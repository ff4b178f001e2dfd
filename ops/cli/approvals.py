"""What takes two people 审批: approval list, show, approve, refuse, withdraw."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Json, acting_person, fact, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from people import Approval

app = typer.Typer(
    no_args_is_help=True,
    help="Approvals 审批 of commands that take two people. The command itself requests the approval; another person "
    "checks and approves it here; then the first person repeats the command, and it is carried out, once.",
)
Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id, apr_…, see `sluice approval list`.")]


@app.command("list")
def approval_list(
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended, the latest first.")] = False,
    about: Annotated[str | None, typer.Option(help="Only about this: a case's id, a person's name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 1000,
    as_json: Json = False,
) -> None:
    """List approvals that wait for a second person, or to be used, the longest waiting first."""
    from kernel.db import acquire
    from people import store

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await store.approvals(connection, about=about, over=everything, limit=limit)
        if as_json:
            show({"approvals": [_shown(row) for row in rows]})
            return 0
        for row in rows:
            by = "" if row.checker is None else f" by {row.checker}"
            typer.echo(
                f"{row.id}  {row.status}{by}  {_said(row)}  asked by {row.maker} {row.made_at:%Y-%m-%d %H:%M}"
                + (f"  until {row.expires_at:%Y-%m-%d %H:%M}" if row.status in ("asked", "approved") else "")
            )
        if not rows:
            typer.echo("nothing waits for a second person" if not everything else "nothing has taken two people yet")
        return 0

    finish(work())


@app.command("show")
def approval_show(approval: Id, as_json: Json = False) -> None:
    """Show exactly what was requested, by whom, and its status; exit code 1 if there is no such approval."""
    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            row = await hub.approvals.get(approval)
        told = _shown(row)
        if as_json:
            show(told)
            return 0
        typer.echo(f"{row.id}  {row.status}\n  {_said(row)}")
        for name, value in told["what"]["arguments"].items():
            if value is not None:
                typer.echo(_line(name, value))
        for name in ("maker", "made_at", "expires_at", "checker", "status_at", "note", "what_hash"):
            if told[name]:
                typer.echo(_line(name, told[name]))
        if told["what"]["command"] == "case decide":
            typer.echo(f"the case itself: sluice case show {row.about}")
        if row.status == "asked":
            typer.echo(f"another person than {row.maker}: sluice approval approve {row.id}, or refuse it")
        if row.status == "approved":
            typer.echo(f"{row.maker} repeats the command; it is carried out once")
        return 0

    finish(work())


Why = Annotated[str, typer.Option("--note", help="Why; kept with the approval.")]


@app.command("approve")
def approval_approve(approval: Id, note: Why = "", as_json: Json = False) -> None:
    """Approve what another person has requested. That person then repeats the command, and it is carried out."""
    _check(approval, agrees=True, note=note, as_json=as_json)


@app.command("refuse")
def approval_refuse(approval: Id, note: Why = "", as_json: Json = False) -> None:
    """Refuse what another person has requested."""
    _check(approval, agrees=False, note=note, as_json=as_json)


def _check(approval: str, *, agrees: bool, note: str, as_json: bool) -> None:
    found = settings()

    async def work() -> int:
        what = "approval approve" if agrees else "approval refuse"
        async with acting_person(found, "approvals", what, approval) as acting:
            row = await acting.hub.approvals.check(approval, acting.somebody, agrees=agrees, note=note)
            acting.ending.detail = row.what_hash.hex()
        if as_json:
            show(_shown(row))
        else:
            then = f"; {row.maker} repeats the command now, before {row.expires_at:%Y-%m-%d %H:%M} UTC" * agrees
            typer.echo(f"{row.id} is {row.status} by {row.checker}: {_said(row)}{then}")
        return 0

    finish(work())


@app.command("withdraw")
def approval_withdraw(approval: Id, as_json: Json = False) -> None:
    """Withdraw your own request, whether or not another person has approved it."""
    found = settings()

    async def work() -> int:
        async with acting_person(found, "approvals", "approval withdraw", approval) as acting:
            row = await acting.hub.approvals.withdraw(approval, acting.somebody)
        if as_json:
            show(_shown(row))
        else:
            typer.echo(f"{row.id} is withdrawn: {_said(row)}")
        return 0

    finish(work())


def _said(row: "Approval") -> str:
    """Return in one line what is asked for."""
    what = json.loads(row.what)
    decision = what["arguments"].get("decision")
    decides = f" {decision}" if decision is not None and not what["command"].endswith(f" {decision}") else ""
    of = "" if row.merchant_book is None else f" (book {row.merchant_book})"
    return on_screen(f"{what['command']}{decides} {row.about}{of}")


def _line(name: str, value: Any) -> str:
    return fact(name, value, 13)


def _shown(row: "Approval") -> dict[str, Any]:
    """Return an approval for machines."""
    at = {name: getattr(row, name).isoformat(timespec="seconds") for name in ("made_at", "expires_at", "status_at")}
    told = {**row._asdict(), **at, "what": json.loads(row.what), "what_hash": row.what_hash.hex()}
    del told["use_id"]
    return told
