"""Who acts and what they did: person add, list, suspend, resume; audit list."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.cli.shared import Json, a_hub, acting, acting_person, fail, finish, looking, settings, show

app = typer.Typer(
    no_args_is_help=True,
    help="Who may act, with a name, a role and a credential. A home with servers of its own makes its first operator "
    "and keeps the credential in secrets/person; with a database of your own, `person add NAME --first` does. From "
    "then on every command that changes something needs a credential: `sluice --as NAME|FILE …` names another's.",
)
audit_app = typer.Typer(
    no_args_is_help=True, help="The audit log 审计日志: who did what, about what, when, and how it ended."
)
Name = Annotated[str, typer.Argument(help="The person's name: a-z, then a-z 0-9 _ -.")]


@app.command("add")
def person_add(
    name: Name,
    role: Annotated[str, typer.Option(help="operator, clerk, auditor, or staff of a merchant.")] = "clerk",
    book: Annotated[int | None, typer.Option("--book", help="For merchant staff: the merchant's book.")] = None,
    first: Annotated[
        bool, typer.Option("--first", help="The first person of a database of your own: an operator. Works once.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the credential in this home too, so that `--as NAME` finds it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a person; the credential is shown only this once, and stored as a keyed digest.

    The first person's credential is kept in this home, and commands here use it. As soon as there are two operators,
    adding somebody who may approve (operator, clerk) takes two of them: see `sluice approval list`.
    """
    from people import Role

    if role not in set(Role):
        fail(f"{role} is no role; there are {', '.join(Role)}", 2)
    found = settings()
    kept: list[Path] = []

    async def work() -> int:
        from ops import people
        from people import Act

        if first:
            async with a_hub(found) as hub, hub.audit.recorded(None, Act.PEOPLE, "person add --first", name):
                made = await people.add_first_here(hub, found.home, name)
            kept.append(found.home / "secrets" / people.OWN)
        else:
            async with acting_person(found, "people", f"person add --role {role}", name) as begun:
                made = await people.add_as(begun, name, Role(role), book=book)
            if keep:
                kept.append(people.keep(found.home, name, made.credential))
        if as_json:
            show({**_shown(made.person), "credential": made.credential})
        else:
            typer.echo(f"{made.person.name}  {made.person.role}\ncredential (shown once): {made.credential}")
            for path in kept:
                typer.echo(f"kept in {path}")
        return 0

    finish(work())


@app.command("list")
def person_list(as_json: Json = False) -> None:
    """List persons, by name. A credential is known to its holder alone."""
    from kernel.db import acquire
    from people import store

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await store.persons(connection)
        if as_json:
            show([_shown(row) for row in rows])
        for row in [] if as_json else rows:
            of = "" if row.merchant_book is None else f"  of book {row.merchant_book}"
            since = f"suspended {row.status_at:%Y-%m-%d %H:%M}" if row.status == "suspended" else row.status
            typer.echo(f"{row.name:20}  {row.role:8}  {since}{of}")
        return 0

    finish(work())


@app.command("suspend")
def person_suspend(name: Name) -> None:
    """Suspend a person: their next command is refused; the last active operator cannot be suspended."""
    _set_suspended(name, suspended=True)


@app.command("resume")
def person_resume(name: Name) -> None:
    """Let a suspended person act again, with the same credential."""
    _set_suspended(name, suspended=False)


def _set_suspended(name: str, *, suspended: bool) -> None:
    found = settings()

    async def work() -> int:
        what = "person suspend" if suspended else "person resume"
        async with acting(found, "people", what, name) as hub:
            changed = await hub.people.set_suspended(name, suspended=suspended)
        state = "is suspended" if suspended else "may act"
        typer.echo(f"{name} {state}{'' if changed else ', as before'}")
        return 0

    finish(work())


@audit_app.command("list")
def audit_list(
    person: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    about: Annotated[str | None, typer.Option(help="Only about this object, as the list shows it.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this time on: 2026-11-24, or with a time; UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many records.")] = 1000,
    as_json: Json = False,
) -> None:
    """List what people did by command, the latest first: one record when an act begins, one when it has ended.

    An act without an end was cut off: look up whether it was done. `sluice verify` checks the chain of the records.
    """
    from kernel.db import acquire
    from people import store

    found, begin = settings(), None if since is None else _moment(since)

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await store.records(connection, person=person, about=about, since=begin, limit=limit)
        if as_json:
            show(
                [{**row._asdict(), "recorded_at": row.recorded_at.isoformat(), "hash": row.hash.hex()} for row in rows]
            )
        for row in [] if as_json else rows:
            of = "" if row.merchant_book is None else f"  (book {row.merchant_book})"
            end = "" if row.outcome == "begun" else f" {row.begun_seq}"
            typer.echo(
                f"{row.seq:>6}  {row.recorded_at:%Y-%m-%d %H:%M:%S}  {row.person or 'nobody named'}  {row.what}  "
                f"{row.about}{of}  {row.outcome}{end}  {row.detail}".rstrip()
            )
        return 0

    finish(work())


def _moment(text: str) -> datetime:
    """Return a moment typed by hand, in UTC unless it says otherwise; ends where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no moment like 2026-11-24 or 2026-11-24T09:30", 2)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _shown(person: Any) -> dict[str, Any]:
    """Return a person for machines."""
    at = {name: getattr(person, name).isoformat(timespec="seconds") for name in ("added_at", "status_at")}
    return {**person._asdict(), **at}
