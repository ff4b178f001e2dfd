"""Payouts 结算 by schedule: payout set, list, reserve, reserves, bank, run, release, cancel, recall, recalls."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from ops.cli.shared import (
    Book,
    Currency,
    Json,
    RecallNote,
    RecallReason,
    acting,
    acting_person,
    fail,
    finish,
    looking,
    on_screen,
    settings,
    show,
)

app = typer.Typer(no_args_is_help=True, help="Payouts 结算周期: who is paid when, and releasing large batches.")
_NOT_SENT = ("created", "awaiting_release", "refused")
Bank = Annotated[str, typer.Argument(help="Name of the bank link.")]


@app.command("set")
def payout_set(
    book: Book,
    bank: Bank,
    every: Annotated[str, typer.Option(help="T+0, T+1, D+1, weekly, monthly, threshold or manual.")],
    on: Annotated[int | None, typer.Option(help="weekly: 1 (Monday) to 7; monthly: 1 to 31.")] = None,
    minimum: Annotated[str, typer.Option(help="What is less is carried over; in major units.")] = "0",
    payee: Annotated[str | None, typer.Option(help="Only this payee; default: every payee at the bank.")] = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Set when payees at a bank are paid; batches made before go on."""
    from ops.payouts import minor_of
    from splitting.objects import schedule_payload

    found = settings()

    async def work() -> int:
        async with acting(found, "channels", "payout set", f"{bank} {payee or ''}".strip(), book=book) as hub:
            least = minor_of(minimum, currency)
            row = await hub.payouts.set_schedule(book, bank, payee_id=payee, every=every, on=on, minimum_minor=least)
        if as_json:
            show(schedule_payload(row))
        else:
            typer.echo(_said(row))
        return 0

    finish(work())


@app.command("list")
def payout_list(book: Book, as_json: Json = False) -> None:
    """List when payees are paid: each bank's default, then what differs."""
    from splitting.objects import schedule_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await hub.payouts.schedules(book)
        if as_json:
            show({"schedules": [schedule_payload(row) for row in rows]})
        else:
            typer.echo("\n".join(map(_said, rows)) or "nobody is paid by schedule; `sluice settle` pays by hand")
        return 0

    finish(work())


@app.command("reserve")
def payout_reserve(
    book: Book,
    bank: Bank,
    fixed: Annotated[str, typer.Option(help="So much is always kept; in major units.")] = "0",
    rolling: Annotated[int, typer.Option(help="Basis points of what a business date brought; 100 is 1 %.")] = 0,
    days: Annotated[int, typer.Option(help="For so many days that is kept, the date itself among them.")] = 0,
    payee: Annotated[str | None, typer.Option(help="Only this payee; default: every payee at the bank.")] = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Set what batches keep back of what payees at a bank are owed 保证金; nothing given: nothing is kept.

    What is kept stays owed. The platform's commission is in no bank's default.
    """
    from ops.payouts import minor_of
    from splitting.objects import reserve_payload

    found = settings()

    async def work() -> int:
        async with acting(found, "channels", "payout reserve", f"{bank} {payee or ''}".strip(), book=book) as hub:
            row = await hub.payouts.set_reserve(
                book, bank, payee_id=payee, fixed_minor=minor_of(fixed, currency), rolling_bp=rolling, rolling_days=days
            )
        if as_json:
            show(reserve_payload(row))
        else:
            typer.echo(_kept(row))
        return 0

    finish(work())


@app.command("reserves")
def payout_reserves(book: Book, as_json: Json = False) -> None:
    """List what batches keep back of what payees are owed: each bank's default, then what differs."""
    from splitting.objects import reserve_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await hub.payouts.reserves(book)
        if as_json:
            show({"reserves": [reserve_payload(row) for row in rows]})
        else:
            typer.echo("\n".join(map(_kept, rows)) or "nothing is kept back")
        return 0

    finish(work())


@app.command("bank")
def payout_bank(
    book: Book,
    bank: Bank,
    cut_off: Annotated[
        str | None, typer.Option(help="HH:MM in Beijing: until when a batch is carried out on the same day.")
    ] = None,
    every_day: Annotated[
        bool | None, typer.Option("--every-day/--working-days", help="Days on which the bank carries batches out.")
    ] = None,
    release_above: Annotated[
        str | None, typer.Option(help="A batch over more waits for a second person; in major units, or `none`.")
    ] = None,
    only_deposited: Annotated[
        bool | None,
        typer.Option("--only-deposited/--before-deposits", help="Whether a batch waits until the pool has its money."),
    ] = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Show when a bank carries batches out and what takes two people there, or change it, which takes two people."""
    from ops.payouts import as_told, set_bank_as

    found = settings()

    async def work() -> int:
        if not any(given is not None for given in (cut_off, every_day, release_above, only_deposited)):
            async with looking(found, book, may_lack_secrets=True) as hub:
                row = await hub.payouts.bank(book, bank)
        else:
            async with acting_person(found, "channels", "payout bank", bank, book=book) as begun:
                row = await set_bank_as(
                    begun, book, bank, cut_off=cut_off, every_day=every_day, release_above=release_above,
                    only_deposited=only_deposited, currency=currency,
                )  # fmt: skip
        told = as_told(row, currency)
        if as_json:
            show(told)
        else:
            days = "every day" if row.every_day else "on working days"
            limit = "" if row.release_above_minor is None else f"; over {told['release_above']} takes two people"
            waits = "; a batch waits for the deposits that it needs" if row.only_deposited else ""
            typer.echo(f"{row.bank} carries out {days} what it has by {row.cut_off:%H:%M} 截止{limit}{waits}")
        return 0

    finish(work())


@app.command("run")
def payout_run(
    book: Book,
    bank: Annotated[str, typer.Option(help="Name of the bank link.")],
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Make and send every batch that is due by schedule, periods that were missed first; repeating it continues.

    Batches that were made before and are not with the bank are shown too. Exit code 1 while there is one.
    """
    import splitting
    from kernel.db import acquire
    from ops.cli.settlements import batch_json, batch_line

    found = settings()

    async def work() -> int:
        async with acting(found, "closing", "payout run", f"{bank} {currency}", book=book) as hub:
            made = list(await hub.payouts.settle_due(book, bank, currency))
            async with acquire(hub.pool) as connection:  # what was made before and is not with the bank is not done
                made += [
                    one
                    for one in await splitting.store.settlements(connection, book, 1_000)
                    if (one.bank, one.currency) == (bank, currency)
                    and one.status in _NOT_SENT
                    and one.id not in {new.id for new in made}
                ]
            lacking = {one.id: await hub.banks.lacking(one) for one in made if one.status == "created"}
        if as_json:
            show({"settlements": [batch_json(one, lacking.get(one.id, 0)) for one in made]})
        else:
            for one in made:
                typer.echo(batch_line(one, lacking.get(one.id, 0)))
            if not made:
                typer.echo("nothing is due 无到期结算")
        return 1 if any(one.status in _NOT_SENT for one in made) else 0

    finish(work())


@app.command("release")
def payout_release(
    book: Book,
    settlement: Annotated[str, typer.Argument(metavar="SETTLEMENT", help="stl_…")],
    as_json: Json = False,
) -> None:
    """Have a batch sent that waits for release 放行; takes two people."""
    from ops.payouts import release_as

    _decide(book, settlement, as_json, "payout release", release_as)


@app.command("cancel")
def payout_cancel(
    book: Book,
    settlement: Annotated[str, typer.Argument(metavar="SETTLEMENT", help="stl_…")],
    as_json: Json = False,
) -> None:
    """Have a batch that waits for release never sent 撤销: its payees are owed again; takes two people."""
    from ops.payouts import cancel_as

    _decide(book, settlement, as_json, "payout cancel", cancel_as)


@app.command("recall")
def payout_recall(
    book: Book,
    settlement: Annotated[str, typer.Argument(metavar="SETTLEMENT", help="stl_…, see `sluice settlement list`.")],
    reason: RecallReason,
    line: Annotated[
        str | None,
        typer.Option(help="This line alone, also where it was paid; default: every line that is in transit."),
    ] = None,
    note: RecallNote = "",
    as_json: Json = False,
) -> None:
    """Ask the bank to take back a line of a batch that it has, or all that are in transit 追回; takes two people.

    What comes back is owed to its payee again, and held until two people decide (`sluice case list --kind
    payout_recalled`). Exit code 1 where the bank takes no recalls, or has no such line; then nothing is asked.
    """
    from ops.cli.settlements import recall_line
    from ops.recalls import recall_lines_as
    from splitting.recalls.objects import recall_payload

    found = settings()

    async def work() -> int:
        async with acting_person(found, "closing", "payout recall", settlement, book=book) as begun:
            rows = await recall_lines_as(begun, book, settlement, line=line, reason=reason, note=note)
        if as_json:
            show({"recalls": [recall_payload(row) for row in rows]})
        else:
            typer.echo("\n".join(map(recall_line, rows)))
        return 0

    finish(work())


@app.command("recalls")
def payout_recalls(
    book: Book,
    status: Annotated[
        str | None,
        typer.Option(help="Only those that are: requested, sent, pending, accepted, refused, overtaken."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    as_json: Json = False,
) -> None:
    """List what banks are asked to take back 追回, of batches and withdrawals, and their answers; newest first."""
    from kernel.db import acquire
    from ops.cli.settlements import recall_line
    from splitting.recalls.objects import recall_payload
    from splitting.recalls.store import recalls
    from splitting.states import Recall as Status

    if status is not None and status not in list(Status):
        fail(f"--status is one of {', '.join(Status)}", 2)
    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await recalls(connection, book, status=status, limit=limit)
        if as_json:
            show({"recalls": [recall_payload(row) for row in rows]})
        else:
            typer.echo("\n".join(map(recall_line, rows)) or "no recall")
        return 0

    finish(work())


def _decide(book: int, settlement: str, as_json: bool, command: str, decide: Callable[..., Awaitable[Any]]) -> None:
    """Have two people decide about a batch, and say what became of it."""
    from ops.cli.settlements import batch_json, waits

    found = settings()

    async def work() -> int:
        async with acting_person(found, "closing", command, settlement, book=book) as begun:
            row = await decide(begun, book, settlement)
            lacks = await begun.hub.banks.lacking(row) if row.status == "created" else 0
        if as_json:
            show(batch_json(row, lacks))
        else:
            typer.echo(f"{row.id} is {row.status}{waits(row, lacks)}")
        return 0

    finish(work())


def _who(row: Any) -> str:
    from splitting.settlement.store import EVERYBODY

    return "everybody else" if row.payee_id == EVERYBODY else str(row.payee_id)


def _kept(row: Any) -> str:
    rolling = f"{row.rolling_bp / 100:g} % of each date for {row.rolling_days} days" if row.rolling_bp else ""
    fixed = f"{row.fixed_minor} minor units" if row.fixed_minor else ""
    return on_screen(f"{row.bank:<10} {_who(row)}: {' and '.join(filter(None, (fixed, rolling))) or 'nothing'} kept")


def _said(row: Any) -> str:
    who = _who(row)
    where = "" if row.on_day is None else f" on day {row.on_day}"
    least = f", from {row.minimum_minor} minor units on" if row.minimum_minor else ""
    return on_screen(f"{row.bank:<10} {who}: {row.every}{where}{least}")
