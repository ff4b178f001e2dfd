"""Batches for banks: settlement list, show."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.shared import Book, Json, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from splitting.tables import Instruction, Settlement

app = typer.Typer(no_args_is_help=True, help="Settlement 结算: the batches for banks, and what became of each line.")


@app.command("list")
def settlement_list(
    book: Book,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    as_json: Json = False,
) -> None:
    """List a merchant's batches, newest business date first: what was to be paid, was paid, came back and is open."""
    import splitting
    from kernel.db import acquire

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            batches = await splitting.store.settlements(connection, book, limit)
        if as_json:
            show({"settlements": [splitting.settlement_payload(batch) for batch in batches]})
        else:
            for batch in batches:
                typer.echo(_batch(batch))
            typer.echo(f"{len(batches)} shown" if batches else "no settlement")
        return 0

    finish(work())


@app.command("show")
def settlement_show(
    book: Book,
    settlement: Annotated[str, typer.Argument(metavar="SETTLEMENT", help="stl_…, see `sluice settlement list`.")],
    status: Annotated[
        str | None, typer.Option(help="Only lines that are: in_transit, paid, refused, returned.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a batch with its lines: payee, amount, status, and why the bank refused one or sent it back."""
    import splitting
    from kernel.db import acquire
    from kernel.errors import NotFound

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            batch = await splitting.store.find_settlement(connection, book, settlement)
            if batch is None:
                raise NotFound("no_such_settlement", f"there is no settlement {settlement!r}")
            lines = await splitting.store.instructions(connection, book, settlement)
        wanted = [line for line in lines if status in (None, line.status)]
        if as_json:
            told = [{**splitting.instruction_payload(line), "name": line.name} for line in wanted]
            show({**splitting.settlement_payload(batch), "instructions": told})
        else:
            typer.echo(_batch(batch))
            for line in wanted:
                typer.echo(f"  {_line(line)}")
        return 0

    finish(work())


def _batch(batch: "Settlement") -> str:
    from kernel.money import Money

    total, paid, back = (
        Money(minor, batch.currency).major() for minor in (batch.total_minor, batch.paid_minor, batch.returned_minor)
    )
    refused = "; see `sluice case list --kind settlement_refused`" if batch.status == "refused" else ""
    came_back = f", came back 退票 {back}" if batch.returned_minor else ""
    return (
        f"{batch.id}: {batch.status}, {batch.instruction_count} instructions 结算指令 over {total} {batch.currency}, "
        f"paid 已出款 {paid}{came_back}, {batch.open_count} not answered yet 待银行回执{refused}"
    )


def _line(line: "Instruction") -> str:
    from kernel.money import Money

    reason = line.reason if line.returned_on is None else line.return_reason
    day = line.bank_date if line.returned_on is None else line.returned_on
    why = f"  {on_screen(reason)}" if reason else ""
    amount = Money(line.amount_minor, line.currency)
    return (
        f"{line.id}  {line.payee_id}  …{line.account[-4:]}  {amount}  {line.status} {day}{why}  {on_screen(line.name)}"
    )
