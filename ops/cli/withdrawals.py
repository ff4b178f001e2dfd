"""Withdrawals 提现 as the operator sees them: withdrawal list, show, recall."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.shared import (
    Book,
    Json,
    RecallNote,
    RecallReason,
    acting_person,
    fail,
    finish,
    looking,
    on_screen,
    settings,
    show,
)

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
    """Show a withdrawal, by which number the bank knows it, and its recall 追回."""
    from kernel.db import acquire
    from kernel.errors import NotFound
    from ops.cli.settlements import recall_line
    from splitting.recalls.objects import recall_payload
    from splitting.recalls.store import find as find_recall
    from splitting.withdrawals.objects import withdrawal_payload
    from splitting.withdrawals.rules import reference
    from splitting.withdrawals.store import find

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            row = await find(connection, book, withdrawal)
            recalled = await find_recall(connection, book, withdrawal)
        if row is None:
            raise NotFound("no_such_withdrawal", f"there is no withdrawal {withdrawal!r}")
        number = reference(book, row.id)
        if as_json:
            recall = None if recalled is None else recall_payload(recalled)
            show({**withdrawal_payload(row), "number_at_bank": number, "recall": recall})
        else:
            typer.echo(_said(row))
            typer.echo(on_screen(f"  to {row.name}, …{row.account[-4:]} at {row.bank_name} {row.bank_bic}"))
            typer.echo(on_screen(f"  your number {row.reference}, at {row.bank} {number}"))
            if recalled is not None:
                typer.echo(f"  {recall_line(recalled)}")
        return 0

    finish(work())


@app.command("recall")
def withdrawal_recall(
    book: Book,
    withdrawal: Annotated[str, typer.Argument(metavar="WITHDRAWAL", help="wdr_…, see `sluice withdrawal list`.")],
    reason: RecallReason,
    note: RecallNote = "",
    as_json: Json = False,
) -> None:
    """Ask the bank to take back a withdrawal that it was sent 追回; takes two people.

    Exit code 1 where the bank takes no recalls, or has no such withdrawal under way; then nothing is asked.
    """
    from ops.cli.settlements import recall_line
    from ops.recalls import recall_withdrawal_as
    from splitting.recalls.objects import recall_payload

    found = settings()

    async def work() -> int:
        async with acting_person(found, "closing", "withdrawal recall", withdrawal, book=book) as begun:
            row = await recall_withdrawal_as(begun, book, withdrawal, reason=reason, note=note)
        if as_json:
            show(recall_payload(row))
        else:
            typer.echo(recall_line(row))
        return 0

    finish(work())


def _said(row: "Withdrawal") -> str:
    from kernel.money import Money

    why = f" ({row.reason})" if row.reason else ""
    asked = "; see `sluice case list --kind withdrawal_in_doubt`" if row.status == "stopped" else ""
    amount = Money(row.amount_minor, row.currency).major()
    return on_screen(f"{row.id}  {row.payee_id}  {amount} {row.currency}  {row.status}{why}{asked}")
