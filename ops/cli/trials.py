"""Playing a trading day, and measuring: replay, bench."""

from pathlib import Path
from typing import Annotated

import typer

from ops.cli.shared import Json, OldJsonFile, Output, currency_option, settings, written_to


def replay(
    orders: Annotated[Path | None, typer.Option(help="CSV of order lines; default: a generated day.")] = None,
    currency: Annotated[str, currency_option("ISO 4217 code of the amounts.")] = "CNY",
    faults: Annotated[int, typer.Option(help="How many faults to plant in records, for reconciliation to find.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides faults, disturbances and the generated day.")] = 1,
    disturb: Annotated[bool, typer.Option(help="Also lose, repeat, reorder and forge messages.")] = True,
    coupons: Annotated[
        bool, typer.Option(help="Give some payers coupons, of the merchant's own and of their wallet's.")
    ] = False,
    cut: Annotated[str, typer.Option(help="Rail that cannot be reached from noon to one o'clock, or none.")] = "alipay",
    slow: Annotated[str, typer.Option(help="Rail that is slow all day, or none.")] = "paypal",
    lossy: Annotated[str, typer.Option(help="Rail that loses answers to new orders, or none.")] = "wechat",
    as_json: Json = False,
    output: Output = None,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for any one thing before the day is abandoned.")
    ] = 240.0,
    old: OldJsonFile = None,
) -> None:
    """Play a trading day over every rail: orders, payments, refunds, shares, settlement, reconciliation.

    Starts the hub if none runs in this home. The logs, the summary and the reason
    of a failure stay in SLUICE_HOME/demo/runs: a folder a run, the last ten.

    Exit codes:
    0: every promise of the page was kept.
    1: one was not, or the day could not be played to its end. The last lines say
    which, with the figures, and where the logs are.
    2: the command was not understood; nothing was started.
    130, 143: stopped by Ctrl-C, by SIGTERM.
    """
    from ops.trials.replay import command

    raise typer.Exit(
        command.run(
            settings(),
            orders,
            currency=currency,
            faults=faults,
            seed=seed,
            disturb=disturb,
            coupons=coupons,
            troubles={"cut": cut, "slow": slow, "lossy": lossy},
            json_file=written_to(as_json, output, old),
            patience_s=patience,
        )
    )


def bench(
    seconds: Annotated[float, typer.Option(help="Of load in each stretch; seven stretches a round.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 3,
    as_json: Json = False,
    output: Output = None,
    old: OldJsonFile = None,
) -> None:
    """Measure what a payment costs compared with the cheapest handler, and what the commit lane gains."""
    from ops.trials.bench import command

    raise typer.Exit(command.run(settings(), seconds=seconds, rounds=rounds, output=written_to(as_json, output, old)))


def settle_bench(
    histories: Annotated[str, typer.Option(help="Payments in the book at which is measured.")] = "10000,100000,300000",
    payees: Annotated[int, typer.Option(min=3, help="Who are paid.")] = 300,
    day: Annotated[int, typer.Option(min=1, help="Payments of a day.")] = 10_000,
    lines: Annotated[int, typer.Option(min=1, help="Of the one large batch.")] = 100_000,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Measure what a day's settlement, a balance at a moment and a payee's statement cost in books of different age.

    One very large batch is made besides, sent to a bank in a process of its own, and answered.

    Exit code 1 if the longest book costs more than 1.5 times the shortest, or more than 2 s, 50 ms and 200 ms.
    """
    from ops.trials import settling

    raise typer.Exit(
        settling.command(
            settings(), histories, payees=payees, day=day, lines=lines, output=written_to(as_json, output, None)
        )
    )


def settle_trial(
    orders: Annotated[
        list[Path], typer.Option(help="CSV of order lines, a day each; may be given several times. Default: made up.")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Decides refunds, refusals, returns, spoiled files and the kill.")] = 1,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Play days of orders, shared out at four levels and paid by two banks that make mistakes, in a home of its own.

    30 stores, 6 agents; 20 % refunded, 3 % of the lines refused, 1 % sent back later, files of the bank spoiled in six
    ways, the hub killed in the middle of a settlement. Each date is settled and proved by the timetable, and every line
    is held against sums that are made apart from the hub. Exit code 1 if a promise was not kept.
    """
    from ops.trials.settlements import command

    raise typer.Exit(command.command(settings(), orders, seed=seed, output=written_to(as_json, output, None)))
