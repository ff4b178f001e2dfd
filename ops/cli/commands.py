"""Which module has which command of `sluice …`. Each loads what is heavy only when it runs."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ops.cli import (
    approvals,
    banks,
    cases,
    channels,
    chargebacks,
    codes,
    links,
    merchants,
    payees,
    payouts,
    people,
    proofs,
    reports,
    routing,
    running,
    sandbox,
    settlements,
    splits,
    statements,
    timetable,
    trials,
    withdrawals,
)
from ops.cli.shared import as_person, fail


class Words(TyperGroup):
    """All commands: they take words of text alone, for neither the database nor the audit log keeps any others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for word in args:
            try:
                word.encode()
            except UnicodeEncodeError:
                fail(f"{ascii(word)[:60]} is no text in UTF-8; nothing was done", 2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A command of two words may begin with one that is a command, too: `settle` and `settle bench`."""
        if " ".join(args[:2]) in self.commands:
            args = [" ".join(args[:2]), *args[2:]]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Words,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sluice 汇闸: an open payment hub. `sluice up` runs it, `sluice replay` plays a trading day through it.",
)


@app.callback()
def everything(
    as_: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME|FILE", help="Act as another person; before the command. See `person add`."),
    ] = None,
) -> None:
    """Take what stands before every command."""
    as_person.set(as_)


for command in (
    running.up,
    running.gateway,
    running.worker,
    running.migrate,
    running.doctor,
    running.verify,
    banks.settle,
    banks.reconcile,
    banks.discrepancies,
    proofs.proof,
    timetable.timetable,
    trials.replay,
    trials.bench,
):
    app.command()(command)
app.command("settle bench")(trials.settle_bench)
app.command("settle trial")(trials.settle_trial)
app.command("timetable run")(timetable.timetable_run)
app.command("timetable forget")(timetable.timetable_forget)
app.command("proof list")(proofs.proof_list)
app.command("proof show")(proofs.proof_show)
app.command("proof key")(proofs.proof_key)
app.command("proof rotate")(proofs.proof_rotate)
app.command("proof verify")(proofs.proof_verify)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(people.app, name="person")
app.add_typer(approvals.app, name="approval")
app.add_typer(people.audit_app, name="audit")
app.add_typer(merchants.merchant_app, name="merchant")
app.add_typer(merchants.key_app, name="key")
app.add_typer(channels.app, name="channel")
app.add_typer(banks.app, name="bank")
app.add_typer(settlements.app, name="settlement")
app.add_typer(statements.app, name="statement")
app.add_typer(reports.app, name="report")
app.add_typer(payees.app, name="payee")
app.add_typer(splits.app, name="split")
app.add_typer(payouts.app, name="payout")
app.add_typer(withdrawals.app, name="withdrawal")
app.add_typer(cases.app, name="case")
app.add_typer(chargebacks.app, name="chargeback")
app.add_typer(links.app, name="link")
app.add_typer(codes.app, name="qr")
app.add_typer(routing.app, name="route")
