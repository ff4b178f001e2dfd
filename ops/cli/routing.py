"""Routing policies, why an account was chosen, the bench: route …"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ops.cli.shared import (
    Book,
    Json,
    OldJsonFile,
    Output,
    acting,
    cannot_use,
    day,
    fail,
    finish,
    looking,
    settings,
    written_to,
)

if TYPE_CHECKING:
    from ops.wiring import Hub

app = typer.Typer(no_args_is_help=True, help="Routing 路由: policies, why an account was chosen, the bench.")
policy_app = typer.Typer(no_args_is_help=True, help="Merchants' routing policies; every version is kept.")
app.add_typer(policy_app, name="policy")


PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="A routing policy as JSON, see docs/routing.md.")]


def _on_a_hub(
    work: "Callable[[Hub], Coroutine[Any, Any, int]]",
    *,
    may_lack_secrets: bool = False,
    book: int | None = None,
    changes: bool = False,
) -> NoReturn:
    """Run the body of a routing command on a hub and end with its exit code. changes: it sets the book's policy."""
    from gateway.routing import PolicyWrong
    from kernel.safe_json import BadJson

    found = settings()

    async def run() -> int:
        opening = (
            looking(found, may_lack_secrets=may_lack_secrets, at=book)
            if not changes
            else acting(found, "routing", "route policy set", f"book {book}", book=book)
        )
        async with opening as hub:
            try:
                return await work(hub)
            except (PolicyWrong, BadJson) as wrong:
                fail(f"the policy cannot be understood: {wrong}", 2)

    finish(run())


@app.command("explain")
def route_explain(
    payment: Annotated[str, typer.Argument(metavar="PAYMENT", help="pay_…")], as_json: Json = False
) -> None:
    """Explain from the stored decisions why each attempt of a payment went to its account."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.trials.routing import command

        return command.explain_payment(hub, payment, as_json=as_json)

    _on_a_hub(work, may_lack_secrets=True)


@app.command("replay")
def route_replay(
    book: Book,
    policy: Annotated[Path, typer.Option(help="The other policy, a JSON file.")],
    first: Annotated[str, typer.Option("--from", help="YYYY-MM-DD, the first day, Beijing's.")],
    last: Annotated[str, typer.Option("--to", help="YYYY-MM-DD, the last day.")],
    as_json: Json = False,
) -> None:
    """Decide past payments again under another policy: how many move, their fees, the estimated success rate."""
    days = day(first), day(last)

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.trials.routing import command

        return command.replay_policy(hub, book, policy, *days, as_json=as_json)

    _on_a_hub(work, book=book)


@policy_app.command("set")
def route_policy_set(
    book: Book, file: PolicyFile, note: Annotated[str, typer.Option(help="Why; stored with the version.")]
) -> None:
    """Add a version of a merchant's policy; it is in force in every process within a second."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.trials.routing import command

        return command.set_policy(hub, book, file, note)

    _on_a_hub(work, book=book, changes=True)


@policy_app.command("show")
def route_policy_show(
    book: Book,
    version: Annotated[int | None, typer.Option(help="Which version; default: the one in force.")] = None,
    as_json: Json = False,
) -> None:
    """Print the policy in force, or an earlier version, with who set it, when and why."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.trials.routing import command

        return command.show_policy(hub, book, version, as_json=as_json)

    _on_a_hub(work, may_lack_secrets=True, book=book)


@policy_app.command("list")
def route_policy_list(book: Book, as_json: Json = False) -> None:
    """List every version of a merchant's policy, newest first."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.trials.routing import command

        return command.list_policies(hub, book, as_json=as_json)

    _on_a_hub(work, may_lack_secrets=True, book=book)


@policy_app.command("check")
def route_policy_check(book: Book, file: PolicyFile) -> None:
    """Check a policy without setting it; exit code 1 if it names something that the merchant does not have."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.trials.routing import command

        return command.check_policy(hub, book, file)

    _on_a_hub(work, may_lack_secrets=True, book=book)


@app.command("bench")
def route_bench(
    payments: Annotated[int, typer.Option(min=1000, help="How many payments; 100000 are a week.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Decides the world: accounts, chances, payments, luck.")] = 1,
    policy: Annotated[Path | None, typer.Option(help="A routing policy for ours; its margin applies to all.")] = None,
    as_json: Json = False,
    output: Output = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with regret over time here.")] = None,
    old: OldJsonFile = None,
) -> None:
    """Compare routing with fixed orders, round robin, weights, single rails and an oracle in a simulated world.

    Exit code 1 if it loses more than half of what the best fixed order loses against the oracle, or succeeds more than
    2 % less often than the oracle after the first 20,000 payments.
    """
    from gateway.routing.policy import PolicyWrong
    from ops.trials.routing import command

    try:
        code = command.bench(payments, seed, policy, written_to(as_json, output, old), html)
    except PolicyWrong as wrong:
        fail(f"{policy}: {wrong}", 2)
    except OSError as error:
        cannot_use(error.filename, error)
    raise typer.Exit(code)
