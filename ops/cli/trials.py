"""Playing a trading day, and measuring: replay, bench."""

from pathlib import Path
from typing import Annotated

import typer

from ops.cli.shared import Json, settings


def replay(
    orders: Annotated[Path | None, typer.Option(help="CSV of order lines; left out: a day is generated.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217 code the amounts are taken to be in.")] = "CNY",
    faults: Annotated[int, typer.Option(help="How many record faults to plant for reconciliation to find.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides faults, disturbances and the generated day.")] = 1,
    disturb: Annotated[bool, typer.Option(help="Also lose, repeat, reorder and forge messages.")] = True,
    coupons: Annotated[
        bool, typer.Option(help="Give some payers coupons, of the merchant's own and of their wallet's.")
    ] = False,
    cut: Annotated[
        str, typer.Option(help="Rail that cannot be reached from noon to one; none for no such hour.")
    ] = "alipay",
    slow: Annotated[str, typer.Option(help="Rail that takes its time all day, or none.")] = "paypal",
    lossy: Annotated[str, typer.Option(help="Rail that loses answers to new orders, or none.")] = "wechat",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the summary here; - prints it instead.")
    ] = None,
) -> None:
    """Play a trading day over every rail: orders, payments, refunds, shares, settlement, reconciliation.

    Starts whatever of the hub does not run in this home already. Exit code 1 if the money does not add up, a fault was
    missed, or a difference was invented.
    """
    from ops.replay import command

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
            json_file=json_file,
        )
    )


def bench(
    seconds: Annotated[float, typer.Option(help="Of load in each stretch; seven stretches a round.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 3,
    as_json: Json = False,
) -> None:
    """Measure what a payment costs beside the least any handler costs, and what the commit lane gains."""
    from ops.bench import command

    raise typer.Exit(command.run(settings(), seconds=seconds, rounds=rounds, as_json=as_json))
