"""Chargebacks 拒付: chargeback list, show, open, won, lost."""

from typing import Annotated, Any

import typer

from ops.cli.shared import Book, Json, acting_person, day, fact, finish, looking, on_screen, settings, show

app = typer.Typer(
    no_args_is_help=True,
    help="Chargebacks 拒付: what rails took back for payers. Stripe and others tell of them by themselves; what a rail "
    "tells only people is recorded with `open`, `won` and `lost`, which take two people.",
)
Id = Annotated[str, typer.Argument(metavar="CHARGEBACK", help="cbk_…, see `sluice chargeback list`.")]
Evidence = Annotated[str, typer.Option(help="Where the rail's word is kept: a letter, a ticket, a screen shot.")]


@app.command("list")
def chargeback_list(
    book: Book,
    payment: Annotated[str | None, typer.Option(help="Only those of this payment.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those that are opened, won or lost.")] = None,
    as_json: Json = False,
) -> None:
    """List a merchant's chargebacks, newest first."""
    from ops.chargebacks import listed

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await listed(hub, book, payment_id=payment, status=status)
        if as_json:
            show({"chargebacks": rows})
            return 0
        for row in rows:
            typer.echo(_line(row))
        if not rows:
            typer.echo("there are no such chargebacks 无拒付")
        return 0

    finish(work())


@app.command("show")
def chargeback_show(book: Book, chargeback: Id, as_json: Json = False) -> None:
    """Show one chargeback; exit code 1 if there is none."""
    from gateway.objects import chargeback_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            row = await hub.payments.disputing.find(book, chargeback)
        told = {**chargeback_payload(row), "evidence": row.evidence, "recorded_by": row.recorded_by}
        if as_json:
            show(told)
            return 0
        for name, value in told.items():
            if value is not None:
                typer.echo(fact(name, value, 25))
        return 0

    finish(work())


@app.command("open")
def chargeback_open(
    book: Book,
    payment: Annotated[str, typer.Argument(metavar="PAYMENT", help="pay_…, whose money the rail took.")],
    ref: Annotated[str, typer.Option(help="The rail's number of it: it is booked once under that number.")],
    amount: Annotated[str, typer.Option(help="What the rail took, in major units of the payment's currency.")],
    evidence: Evidence,
    date: Annotated[str, typer.Option(help="YYYY-MM-DD: the day on which the rail took it.")],
    reason: Annotated[str, typer.Option(help="The rail's code, or what the payer says, in a word.")] = "complaint",
    fee: Annotated[str, typer.Option(help="What the rail keeps for it, in major units.")] = "0",
    evidence_due: Annotated[str | None, typer.Option(help="YYYY-MM-DD: until when the rail takes evidence.")] = None,
    as_json: Json = False,
) -> None:
    """Record that a rail took money of a payment back for the payer; takes two people.

    The payees give back their shares of it, as for a refund of as much. The same again changes nothing.
    """
    from ops.chargebacks import open_as

    found = settings()
    on, due = day(date), None if evidence_due is None else day(evidence_due)

    async def work() -> int:
        async with acting_person(found, "cases", "chargeback open", payment, book=book) as acting:
            row = await open_as(
                acting, book, payment, ref=ref, amount=amount, fee=fee, reason=reason, evidence=evidence, day=on,
                evidence_due=due,
            )  # fmt: skip
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("won")
def chargeback_won(
    book: Book,
    chargeback: Id,
    evidence: Evidence,
    date: Annotated[str, typer.Option(help="YYYY-MM-DD: the day on which the rail gave the money back.")],
    fee_back: Annotated[str, typer.Option(help="What of its fee the rail gave back, in major units.")] = "0",
    as_json: Json = False,
) -> None:
    """Record that the rail gave the money back: the payees have their shares again; takes two people."""
    from ops.chargebacks import end_as

    found, on = settings(), day(date)

    async def work() -> int:
        async with acting_person(found, "cases", "chargeback won", chargeback, book=book) as acting:
            row = await end_as(acting, book, chargeback, won=True, evidence=evidence, day=on, fee_back=fee_back)
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("lost")
def chargeback_lost(
    book: Book,
    chargeback: Id,
    evidence: Evidence,
    date: Annotated[str, typer.Option(help="YYYY-MM-DD: the day on which that was decided.")],
    as_json: Json = False,
) -> None:
    """Record that the payer keeps the money; takes two people."""
    from ops.chargebacks import end_as

    found, on = settings(), day(date)

    async def work() -> int:
        async with acting_person(found, "cases", "chargeback lost", chargeback, book=book) as acting:
            row = await end_as(acting, book, chargeback, won=False, evidence=evidence, day=on)
        _tell(row, as_json)
        return 0

    finish(work())


def _tell(row: Any, as_json: bool) -> None:
    from gateway.objects import chargeback_payload

    told = chargeback_payload(row)
    if as_json:
        show(told)
    else:
        typer.echo(_line(told))


def _line(told: Any) -> str:
    from kernel.money import Money

    amount, borne = (Money(told[name], told["currency"]) for name in ("amount", "amount_borne"))
    short = "" if amount == borne else f", of which its payment bears {borne}"
    due = (
        f", evidence until {told['evidence_due_at']}" if told["status"] == "opened" and told["evidence_due_at"] else ""
    )
    return on_screen(
        f"{told['id']}  {told['status']:<6}  {told['channel']} {told['channel_ref']}  {amount} of {told['payment']}"
        f"{short}  {told['reason']}  {told['business_date']}{due}"
    )
