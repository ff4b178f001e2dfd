"""Withdrawals 提现 as the operator sees them: withdrawal list, show."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.shared import Book, Json, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from splitting.tables import Withdrawal

app = typer.Typer(no_args_is_help=True, help="Withdrawals 提现: from payees' sub-accounts to their own accounts.")


@app.command("list")
def withdrawal_list(
    book: Book,
    payee: Annotated[str | None, typer.Option(help="Only this payee's.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only those that are: requested, stopped, sent, paid, refused, returned.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    as_json: Json = False,
) -> None:
    """List a merchant's withdrawals, newest first."""
    from kernel.db import acquire
    from splitting.states import Withdrawal as Status
    from splitting.withdrawals.objects import withdrawal_payload
    from splitting.withdrawals.store import withdrawals

    if status is not None and status not in list(Status):
        fail(f"--status is one of {', '.join(Status)}", 2)
    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await withdrawals(connection, book, payee_id=payee, status=status, limit=limit)
        if as_json:
            show({"withdrawals": [withdrawal_payload(row) for row in rows]})
        else:
            for row in rows:
                typer.echo(_said(row))
            typer.echo(f"{len(rows)} shown" if rows else "no withdrawal")
        return 0

    finish(work())


@app.command("show")
def withdrawal_show(
    book: Book,
    withdrawal: Annotated[str, typer.Argument(metavar="WITHDRAWAL", help="wdr_…, see `sluice withdrawal list`.")],
    as_json: Json = False,
) -> None:
    """Show a withdrawal, and by which number the bank knows it."""
    from kernel.db import acquire
    from kernel.errors import NotFound
    from splitting.withdrawals.objects import withdrawal_payload
    from splitting.withdrawals.rules import reference
    from splitting.withdrawals.store import find

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            row = await find(connection, book, withdrawal)
        if row is None:
            raise NotFound("no_such_withdrawal", f"there is no withdrawal {withdrawal!r}")
        number = reference(book, row.id)
        if as_json:
            show({**withdrawal_payload(row), "number_at_bank": number})
        else:
            typer.echo(_said(row))
            typer.echo(on_screen(f"  to {row.name}, …{row.account[-4:]} at {row.bank_name} {row.bank_bic}"))
            typer.echo(on_screen(f"  your number {row.reference}, at {row.bank} {number}"))
        return 0

    finish(work())


def _said(row: "Withdrawal") -> str:
    from kernel.money import Money

    why = f" ({row.reason})" if row.reason else ""
    asked = "; see `sluice case list --kind withdrawal_in_doubt`" if row.status == "stopped" else ""
    amount = Money(row.amount_minor, row.currency).major()
    return on_screen(f"{row.id}  {row.payee_id}  {amount} {row.currency}  {row.status}{why}{asked}")
