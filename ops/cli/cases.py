"""What a person must decide 待人工处理: case list, show, decide."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.shared import Json, acting_person, fact, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from datetime import datetime

    from cases import Case

app = typer.Typer(
    no_args_is_help=True,
    help="What the hub cannot decide about money and a person must 待人工处理. `list` has what waits, `show` the facts "
    "and what may be decided, `decide` records a decision and does what it says.",
)
Id = Annotated[str, typer.Argument(metavar="CASE", help="The case's id, cas_…, see `sluice case list`.")]


@app.command("list")
def case_list(
    book: Annotated[int | None, typer.Option(help="Only this merchant's, see `sluice merchant list`.")] = None,
    decided: Annotated[bool, typer.Option("--decided", help="Show decided cases, the latest first.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only cases of this kind, as the list shows it.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 1000,
    as_json: Json = False,
) -> None:
    """List the cases that wait for a decision, the longest waiting first; exit code 1 if there is any, else 0."""
    import cases
    from kernel.db import acquire

    found = settings()
    if kind is not None and kind not in cases.KINDS:
        fail(f"{kind} is no kind of case; there are {', '.join(cases.KINDS)}", 2)

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await cases.store.cases(connection, book=book, kind=kind, decided=decided, limit=limit)
            number = await cases.store.number(connection, book=book, kind=kind, decided=decided)
            now = hub.env.now()
        if as_json:
            show({"cases": [{**cases.case_payload(row), "book": row.book} for row in rows], "number": number})
        else:
            for row in rows:
                typer.echo(_line(row, now))
            waiting = "decided" if decided else "waiting for a decision; `sluice case show CASE` says what may be"
            some = str(number) if number <= limit else f"the first {limit} of {number}"
            typer.echo(f"{some} {waiting}" if rows else "no case waits for a decision")
        return int(bool(rows) and not decided)

    finish(work())


@app.command("show")
def case_show(case: Id, as_json: Json = False) -> None:
    """Show one case: what happened, to which object, facts and possible decisions; exit code 1 if there is none."""
    import cases
    from ops.cases import approval_of, get_case

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            row = await get_case(hub, case)
            approval = await approval_of(hub, row)
        kind = cases.KINDS[row.kind]
        shown = cases.case_payload(row)
        approved_by = None if approval is None else approval.checker
        told = {**shown, "book": row.book, "says": kind.says, "decisions": dict(kind.decisions)}
        told |= {"approved_by": approved_by, "approval": None if approval is None else approval.id}
        if as_json:
            show(told)
            return 0
        typer.echo(f"{row.id}  {row.kind}  {row.status}\n  {kind.says}")
        for name in ("book", "about", "amount", "opened_at", "opened_count"):
            typer.echo(_fact(name, _amount(row) if name == "amount" else told[name]))
        for name, value in shown["facts"].items():
            typer.echo(_fact(name, value))
        for name in ("decision", "decided_by", "decided_at", "note"):
            if told[name] is not None:
                typer.echo(_fact(name, told[name]))
        if approval is not None:
            typer.echo(_fact("approved_by", f"{approved_by} ({approval.id})"))
        if cases.may_be_decided(row):
            typer.echo("may be decided:" if row.status == "open" else "may still be decided otherwise:")
            for name, does in kind.decisions.items():
                typer.echo(f"  {name:18}{does}{' (takes two people)' if cases.takes_two(name) else ''}")
            typer.echo(f'sluice case decide {row.id} --decision … --note "why"')
        return 0

    finish(work())


@app.command("decide")
def case_decide(
    case: Id,
    decision: Annotated[str, typer.Option(help="One of those that `sluice case show CASE` lists.")],
    note: Annotated[str, typer.Option(help="Why, and what was done outside the hub; kept for ever.")],
    account: Annotated[str | None, typer.Option(help="The channel account, for decisions that need one.")] = None,
    line: Annotated[str | None, typer.Option(help="The line of a settlement, for decisions that need one.")] = None,
    file: Annotated[str | None, typer.Option(help="The file given by hand, for decisions that need one.")] = None,
    as_json: Json = False,
) -> None:
    """Decide a case, and carry the decision out; repeating the same decision changes nothing.

    All decisions but `wait` and `sent_on` take two people: the first time, the command requests another person's
    approval and does nothing else; after `sluice approval approve` the same command carries the decision out. Exit code
    1 if an approval is still needed, or if the decision is not possible for this case, cannot be carried out, or
    contradicts an earlier one.
    """
    from cases import Named, case_payload
    from ops.cases import decide_as

    found = settings()
    told = [Named(what, ident) for what, ident in (("account", account), ("line", line), ("file", file)) if ident]
    if len(told) > 1:
        fail("a decision names one thing: --account, --line or --file", 2)
    named = told[0] if told else None

    async def work() -> int:
        async with acting_person(found, "cases", f"case decide {decision}", case) as acting:
            row = await decide_as(acting, case, decision, note=note, named=named)
        if as_json:
            show({**case_payload(row), "book": row.book})
        else:
            typer.echo(f"{row.id} {row.decision}, by {row.decided_by}")
        return 0

    finish(work())


def _fact(name: str, value: object) -> str:
    return fact(name, value, 19)


def _amount(case: "Case") -> str:
    """Return the amount as people say it, 12.34 CNY; empty where the case is of none."""
    from kernel.money import Money

    return "" if case.amount_minor is None or case.currency is None else str(Money(case.amount_minor, case.currency))


def _line(case: "Case", now: "datetime") -> str:
    amount = _amount(case)
    when = case.opened_at if case.decided_at is None else case.decided_at
    age = now - when
    ago = f"{age.days} d" if age.days else f"{age.seconds // 3600} h {age.seconds // 60 % 60} min"
    end = "" if case.decision is None else f"  {case.decision} by {on_screen(case.decided_by or '')}"
    return f"{case.id}  book {case.book}  {ago:>10}  {case.kind}  {on_screen(case.about)}  {amount}{end}"
