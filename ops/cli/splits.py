"""Split plans 分账方案: split plan add, version, activate, list, show; split frozen, dry-run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel.money import Money
from ops.cli.shared import (
    Book,
    Currency,
    Json,
    acting_person,
    currency_option,
    fail,
    finish,
    json_object,
    looking,
    on_screen,
    settings,
    show,
)

if TYPE_CHECKING:
    from splitting.tables import Attachment, PlanVersion, SplitPlan

app = typer.Typer(no_args_is_help=True, help="Shares 分账: the split plans that merchants keep, and trying them out.")
plan_app = typer.Typer(no_args_is_help=True, help="Merchants' split plans; every version is kept, one is active.")
app.add_typer(plan_app, name="plan")

Id = Annotated[str, typer.Argument(metavar="PLAN", help="spl_…, see `sluice split plan list`.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A split plan as JSON, see docs/split-plans.md.")]

Version = Annotated[
    int | None, typer.Option(min=1, help="Which version of the plan; default: the active one, or the last.")
]


@plan_app.command("add")
def plan_add(
    book: Book,
    file: File,
    name: Annotated[str, typer.Option(help="Its name, which is the merchant's own for it.")],
    currency: Annotated[str, currency_option("In which its payees are paid.")] = "CNY",
    as_json: Json = False,
) -> None:
    """Make a split plan; its first version is a draft until it is activated."""
    document, found = json_object(file), settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "split plan add", name, book=book) as acting:
            await acting.hub.merchants.require(book)
            made = await acting.hub.split_plans.make(
                book, name=name, currency=currency, document=document, maker=acting.name
            )
        _tell(*made, as_json)
        return 0

    finish(work())


@plan_app.command("version")
def plan_version(book: Book, plan: Id, file: File, as_json: Json = False) -> None:
    """Add a version to a split plan, a draft; payments go on with the active one."""
    document, found = json_object(file), settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "split plan version", plan, book=book) as acting:
            made = await acting.hub.split_plans.add(book, plan, document=document, maker=acting.name)
        _tell(*made, as_json)
        return 0

    finish(work())


@plan_app.command("activate")
def plan_activate(
    book: Book,
    plan: Id,
    version: Annotated[int, typer.Argument(min=1, help="Which version.")],
    as_json: Json = False,
) -> None:
    """Have new payments that name a plan shared out by this version; takes two people.

    Payments that are made already keep the version that they have.
    """
    from ops.splits import activate_as

    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "split plan activate", plan, book=book) as acting:
            done = await activate_as(acting, book, plan, version)
        _tell(*done, as_json)
        return 0

    finish(work())


@plan_app.command("list")
def plan_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's split plans."""
    from splitting.objects import plan_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await hub.split_plans.listed(book)
        if as_json:
            show({"split_plans": [plan_payload(row) for row in rows]})
            return 0
        for row in rows:
            active = "none active" if row.active is None else f"version {row.active} active"
            typer.echo(f"{row.id}  {row.currency}  {active}, {row.versions} in all  {on_screen(row.name)}")
        return 0

    finish(work())


@plan_app.command("show")
def plan_show(
    book: Book,
    plan: Id,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Print a version of a split plan with what it inherits, who made it and who agreed."""
    from splitting.objects import plan_version_in_full

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            row = await hub.split_plans.version(book, plan, version)
        told = plan_version_in_full(row)
        if as_json:
            show(told)
            return 0
        for name in ("plan", "version", "status", "hash", "maker", "checker", "made_at", "status_at"):
            typer.echo(f"{name:10} {on_screen(str(told[name] or ''))}")
        show(told["written_out"])
        return 0

    finish(work())


@app.command("frozen")
def split_frozen(book: Book, as_json: Json = False) -> None:
    """List the payments of which shares are frozen 冻结, oldest first, and what releases them; the first thousand."""
    from ops.splits import frozen_in

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await frozen_in(hub, book)
        if as_json:
            show({"splits": rows})
            return 0
        for row in rows:
            for part in row["frozen"]:
                by = [f"on {part['due_on']}"] if part["due_on"] else []
                by += ["on delivery"] if part["on_delivery"] else []
                amount = Money(part["amount_minor"], row["currency"]).major()
                typer.echo(f"{row['payment']}  {part['payee']}  {amount} {row['currency']}  {' or '.join(by)}")
        if not rows:
            typer.echo("no share is frozen")
        return 0

    finish(work())


@app.command("rails")
def split_rails(book: Book, as_json: Json = False) -> None:
    """List the share orders that rails have not decided yet, oldest first; exit 1 if any needs a person.

    That is one which is open for more than a day, and a receiver that its rail refuses or does not register.
    """
    from ops.splits import at_rails

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            told = await at_rails(hub, book)
        if as_json:
            show(told)
        else:
            for order in told["share_orders"]:
                open_parts = [part for part in order["parts"] if part["status"] == "open"]
                minor = sum(part["amount_minor"] for part in open_parts)
                amount = Money(minor, order["currency"]).major()
                said = f"  {on_screen(order['said'])}" if order["said"] else ""
                typer.echo(
                    f"{order['created_at']}  {order['id']}  {order['status']}  {len(open_parts)} open, {amount} "
                    f"{order['currency']}{said}"
                )
            for row in told["receivers"]:
                reason = on_screen(row["reason"] or "")
                typer.echo(f"{row['payee']} at {row['channel_account']} is {row['status']}  {reason}")
            if not (told["share_orders"] or told["receivers"]):
                typer.echo("no share order is open")
        return 1 if told["needs_a_person"] else 0

    finish(work())


@app.command("dry-run")
def dry_run(
    book: Book,
    amount: Annotated[str, typer.Option(help="What would be paid, in major units, e.g. 12.30.")],
    file: Annotated[Path | None, typer.Option("--file", help="A split plan as JSON, see docs/split-plans.md.")] = None,
    plan: Annotated[str | None, typer.Option(help="Or one that the merchant keeps: spl_…")] = None,
    version: Version = None,
    currency: Currency = "CNY",
    fee: Annotated[str, typer.Option(help="What the channel would keep, in major units.")] = "0",
    coupon: Annotated[str, typer.Option(help="What the merchant's own coupons would pay, in major units.")] = "0",
    method: Annotated[str | None, typer.Option(help="How it would be paid, such as qr.")] = None,
    product_line: Annotated[str | None, typer.Option(help="Of the merchant's.")] = None,
    as_json: Json = False,
) -> None:
    """Try a split plan out: each share, the rule that made it, and the way it would travel. Books nothing."""
    from channels.contract import Method
    from kernel.money import from_major
    from ops.splits import tried_out

    if (file is None) == (plan is None):
        fail("give --file or --plan, and not both", 2)
    if method is not None and method not in list(Method):
        fail(f"--method is one of {', '.join(Method)}", 2)
    if plan is None and version is not None:
        fail("--version is of a --plan", 2)
    try:
        moneys = [from_major(text, currency) for text in (amount, fee, coupon)]
    except (ValueError, KeyError) as wrong:
        fail(f"{wrong}" if isinstance(wrong, ValueError) else f"{currency} is not a currency of ISO 4217", 2)
    paid, kept, borne = moneys
    if paid.minor <= 0 or min(kept.minor, borne.minor) < 0 or kept.minor + borne.minor > paid.minor:
        fail("the amount is more than nothing, and not less than fee and coupon together", 2)
    by: dict[str, Any] | str = plan if plan is not None else json_object(file)  # type: ignore[arg-type]
    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            told = await tried_out(
                hub, book, by, amount=paid, fee=kept, coupon=borne, version=version, method=method,
                product_line=product_line,
            )  # fmt: skip
        if as_json:
            show(told)
            return 0

        def said(minor: int) -> str:
            return Money(minor, currency).major()

        typer.echo(f"{said(told['arriving_minor'])} {currency} arrive of {said(told['amount_minor'])}")
        for one in told["shares"]:
            way = f"by transfer at {one['bank']}" if one["bank"] else one["travels"]
            way += f" ({'; or '.join(one['rails'])})" if one["rails"] else ""
            why = f"; {one['because']}" if one["because"] else ""
            typer.echo(
                f"{'  ' * one['level']}{one['line']}: keeps {said(one['keeps_minor'])} of {said(one['gets_minor'])}, "
                f"{way} ({one['rule']}: {said(one['by_rule_minor'])}{why})"
            )
        typer.echo(f"the merchant's own: {said(told['own_minor'])} {currency}")
        return 0

    finish(work())


@app.command("bench")
def bench(
    orders: Annotated[int, typer.Option(min=10_000, help="How many orders.")] = 1_000_000,
    posted: Annotated[int, typer.Option(min=1, help="How many orders' shares are posted, in both ways.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="In how many rounds, in turns.")] = 5,
    as_json: Json = False,
) -> None:
    """Share out many orders at once, and in the obvious way, and compare every order; then post shares in both ways.

    The plan has three levels and ten receivers. Posting is on a PostgreSQL of the bench's own: what has gathered in one
    commit, against one order a transaction. Exit code 1 where one order is unequal, or the two books differ or do not
    hold. Figures are of this machine.
    """
    from ops import interrupts
    from ops.trials import split_bench, split_posting

    told = split_bench.measure(orders, rounds)
    told |= interrupts.run(split_posting.on_its_own_server(settings(), posted, rounds))
    if as_json:
        show(told)
    else:
        for name, value in told.items():
            typer.echo(f"{name:20} {value}")
    raise typer.Exit(1 if told["unequal"] or told["posting_unequal"] or told["posting_unsound"] else 0)


To = Annotated[str, typer.Option(help="merchant, store, product-line or payment-link.")]
Named = Annotated[str, typer.Option("--name", help="The link's id, or the merchant's own name for it.")]


@app.command("attach")
def attach(
    book: Book,
    to: To,
    plan: Annotated[str | None, typer.Argument(metavar="PLAN", help="spl_…; left out with --none.")] = None,
    name: Named = "",
    version: Annotated[int | None, typer.Option(min=1, help="Of the plan; default: whichever is active then.")] = None,
    currency: Annotated[str, currency_option("Of the payments; a plan is of one currency.")] = "CNY",
    none: Annotated[bool, typer.Option("--none", help="Have no plan attached any more.")] = False,
    as_json: Json = False,
) -> None:
    """Have payments that name no plan shared out by this one; takes two people.

    The most specific goes first: a payment link, a product line, a store, the merchant.
    """
    from ops.splits import attach_as
    from splitting.objects import attachment_payload
    from splitting.plans.asked import Scope

    if to.replace("-", "_") not in list(Scope):
        fail(f"--to is one of {', '.join(one.replace('_', '-') for one in Scope)}", 2)
    if (plan is None) != none:
        fail("name a plan, or say --none", 2)
    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "split attach", to, book=book) as acting:
            scope = Scope(to.replace("-", "_"))
            row = await attach_as(acting, book, scope, name, currency, plan, version)
        if as_json:
            show(attachment_payload(row))
        else:
            typer.echo(_attached(row))
        return 0

    finish(work())


@app.command("attachments")
def attachments(book: Book, as_json: Json = False) -> None:
    """List to what a merchant's split plans are attached, the most specific first."""
    from splitting.objects import attachment_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await hub.attachments.listed(book)
        if as_json:
            show({"attachments": [attachment_payload(row) for row in rows]})
            return 0
        for row in rows:
            typer.echo(_attached(row))
        return 0

    finish(work())


def _attached(row: "Attachment") -> str:
    what = row.scope.replace("_", " ") + (f" {on_screen(row.subject)}" if row.subject else "")
    which = "none" if row.plan_id is None else row.plan_id
    version = "" if row.version is None else f" version {row.version}"
    return f"{what} {row.currency}: {which}{version}, by {on_screen(row.attached_by)}"


def _tell(plan: "SplitPlan", row: "PlanVersion", as_json: bool) -> None:
    from splitting.objects import plan_payload, plan_version_payload

    if as_json:
        show({**plan_payload(plan), "version": plan_version_payload(row)})
    else:
        typer.echo(f"{plan.id} {on_screen(plan.name)}: version {row.version} is {row.status}, hash {row.hash.hex()}")
