"""Batches for banks: settlement list, show."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Book, Json, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from splitting.tables import Instruction, Recall, Settlement

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
    from splitting.settlement.store import lacking

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            batches = await splitting.store.settlements(connection, book, limit)
            lacks = {batch.id: await lacking(connection, batch) for batch in batches if batch.status == "created"}
        if as_json:
            show({"settlements": [batch_json(batch, lacks.get(batch.id, 0)) for batch in batches]})
        else:
            for batch in batches:
                typer.echo(batch_line(batch, lacks.get(batch.id, 0)))
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
    """Show a batch with its lines: payee, amount, status, why the bank refused one or sent it back, and its recall."""
    import splitting
    from kernel.db import acquire
    from kernel.errors import NotFound
    from splitting.recalls.objects import recall_payload
    from splitting.recalls.store import of_lines
    from splitting.settlement.store import lacking
    from splitting.states import Instruction as LineStatus

    found = settings()
    if status is not None and status not in list(LineStatus):
        fail(f"{status} is no status of a line; there are {', '.join(LineStatus)}", 2)

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            batch = await splitting.store.find_settlement(connection, book, settlement)
            if batch is None:
                raise NotFound("no_such_settlement", f"there is no settlement {settlement!r}")
            lines = await splitting.store.instructions(connection, book, settlement)
            recalled = await of_lines(connection, book, settlement)
            lacks = await lacking(connection, batch) if batch.status == "created" else 0
        wanted = [line for line in lines if status in (None, line.status)]
        if as_json:
            told = [
                {
                    **splitting.instruction_payload(line),
                    "name": line.name,
                    "recall": recall_payload(recalled[line.id]) if line.id in recalled else None,
                }
                for line in wanted
            ]
            show({**batch_json(batch, lacks), "instructions": told})
        else:
            typer.echo(batch_line(batch, lacks))
            for line in wanted:
                typer.echo(f"  {_line(line)}")
                if line.id in recalled:
                    typer.echo(f"    {recall_line(recalled[line.id])}")
        return 0

    finish(work())


def batch_json(batch: "Settlement", lacks: int = 0) -> dict[str, Any]:
    """Return what a machine is told of a batch, in every command the same. lacks: see batch_line."""
    import splitting

    return {**splitting.settlement_payload(batch), "lacks_minor": lacks}


def waits(batch: "Settlement", lacks: int) -> str:
    """Return in words that a batch waits for deposits; empty of one that does not."""
    from kernel.money import Money

    return f"; it waits for deposits 待入账: the pool account lacks {Money(lacks, batch.currency)}" if lacks else ""


def batch_line(batch: "Settlement", lacks: int = 0) -> str:
    """Return what a person is told of a batch, in every command the same. lacks: minor units it waits for."""
    from kernel.money import Money

    total, paid, back = (
        Money(minor, batch.currency).major() for minor in (batch.total_minor, batch.paid_minor, batch.returned_minor)
    )
    what_now = {
        "refused": "; the bank refused it 银行拒收: see `sluice case list --kind settlement_refused`",
        "awaiting_release": f"; it waits for release 待放行: two people say `sluice payout release {batch.id}`",
    }.get(batch.status, "")
    what_now = waits(batch, lacks) or what_now
    came_back = f", came back 退票 {back}" if batch.returned_minor else ""
    return (
        f"{batch.id}: {batch.status}, {batch.instruction_count} instructions 结算指令 over {total} {batch.currency}, "
        f"paid 已出款 {paid}{came_back}, {batch.open_count} not answered yet 待银行回执{what_now}"
    )


def recall_line(row: "Recall") -> str:
    """Return what a person is told of a recall, in every command the same."""
    from kernel.money import Money

    what_now = {
        "requested": "; the bank is not known to have it",
        "sent": "; the bank has it, and has not answered",
        "overtaken": "; its payment was decided before the bank answered it",
    }.get(row.status, "")
    why = f"  {row.code}" if row.code else ""
    day = f" {row.answered_on}" if row.answered_on else ""
    amount = Money(row.amount_minor, row.currency)
    return on_screen(f"recall 追回 of {row.about}  {amount}  {row.reason}  {row.status}{day}{why}{what_now}")


def _line(line: "Instruction") -> str:
    from kernel.money import Money

    reason = line.reason if line.returned_on is None else line.return_reason
    day = line.bank_date if line.returned_on is None else line.returned_on
    why = f"  {on_screen(reason)}" if reason else ""
    amount = Money(line.amount_minor, line.currency)
    return (
        f"{line.id}  {line.payee_id}  …{line.account[-4:]}  {amount}  {line.status} {day}{why}  {on_screen(line.name)}"
    )
