"""Payees 收款方 as the operator sees them: payee list, debts, suspend, resume."""

from typing import Annotated, Any

import typer

from ops.cli.shared import Book, Json, acting_person, finish, looking, on_screen, settings, show

app = typer.Typer(no_args_is_help=True, help="Payees 收款方: who is owed shares, and suspending what is paid to them.")
Id = Annotated[str, typer.Argument(metavar="PAYEE", help="pye_…, see `sluice payee list`.")]


@app.command("list")
def payee_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's payees: where they are paid, what they are owed now, and which are suspended."""
    from ops.payees import listed

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await listed(hub, book)
        if as_json:
            show({"payees": rows})
            return 0
        for row in rows:
            where = "kept in the book" if row["sub_account"] is None else f"at {row['sub_account']['bank']}"
            since = "" if row["suspended_at"] is None else f"  suspended by {row['suspended_by']} {row['suspended_at']}"
            typer.echo(f"{row['id']}  {on_screen(row['name'])}  {where}  owed {row['owed']} {row['currency']}{since}")
        return 0

    finish(work())


@app.command("debts")
def payee_debts(
    book: Book,
    payee: Annotated[str | None, typer.Option(help="Only this payee's.")] = None,
    recovered: Annotated[bool, typer.Option("--recovered", help="Also those that were paid back.")] = False,
    as_json: Json = False,
) -> None:
    """List what payees owe since refunds 欠款, newest first: their next shares pay the oldest first."""
    from ops.payees import debts_of

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await debts_of(hub, book, payee, recovered=recovered)
        if as_json:
            show({"debts": rows})
            return 0
        for row in rows:
            typer.echo(
                f"{row['id']}  {row['payee']}  owes {row['left']} of {row['amount']} {row['currency']}  "
                f"{row['refund']} of {row['payment']}  {row['created_at']}"
            )
        return 0

    finish(work())


@app.command("suspend")
def payee_suspend(book: Book, payee: Id, as_json: Json = False) -> None:
    """Have nothing paid out to a payee; its shares are booked and owed as ever, and refunds take them back.

    What a batch has instructed already goes on. Its merchant cannot lift it.
    """
    found = settings()

    async def work() -> int:
        async with acting_person(found, "stop", "payee suspend", payee, book=book, may_lack_secrets=True) as acting:
            row = await acting.hub.payees.suspend(book, payee, by="operator")
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("resume")
def payee_resume(book: Book, payee: Id, as_json: Json = False) -> None:
    """Have a payee paid again, with all that was kept back, from the next batch on; takes two people."""
    from ops.payees import resume_as

    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee resume", payee, book=book) as acting:
            row = await resume_as(acting, book, payee)
        _tell(row, as_json)
        return 0

    finish(work())


def _tell(row: Any, as_json: bool) -> None:
    from splitting import payee_payload

    if as_json:
        show(payee_payload(row))
    else:
        since = "is paid" if row.suspended_at is None else f"is suspended since {row.suspended_at:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"{row.id} {on_screen(row.name)} {since}")
