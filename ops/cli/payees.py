"""Payees 收款方 as the operator sees them: payee list, debts, balance, bind, limit, limits, class, own, owns, suspend,
resume, freeze, unfreeze."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Book, Json, acting_person, currency_option, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from splitting.objects import OwnPayeeOut, SubAccountOut

app = typer.Typer(no_args_is_help=True, help="Payees 收款方: who is owed shares, and suspending what is paid to them.")
Id = Annotated[str, typer.Argument(metavar="PAYEE", help="pye_…, see `sluice payee list`.")]


@app.command("list")
def payee_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's payees: where they are paid, how that account stands, what they are owed, who is suspended."""
    from ops.payees import listed

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await listed(hub, book)
        if as_json:
            show({"payees": rows})
            return 0
        for row in rows:
            where = _where(row["sub_account"])
            since = "" if row["suspended_at"] is None else f"  suspended by {row['suspended_by']} {row['suspended_at']}"
            owed = row["owed"]
            has = f"owes 欠款 {owed[1:]}" if owed.startswith("-") else f"owed {owed}"
            typer.echo(f"{row['id']}  {on_screen(row['name'])}  {where}  {has} {row['currency']}{since}")
        if not rows:
            typer.echo("no payee")
        return 0

    finish(work())


def _where(account: "SubAccountOut | None") -> str:
    if account is None:
        return "kept in the book"
    reason = "" if account["reason"] is None else f" ({on_screen(account['reason'])})"
    since = "" if account["frozen_at"] is None else f" by {account['frozen_by']} {account['frozen_at']}"
    status = "" if account["status"] == "open" else f", account {account['status']}{since}{reason}"
    return f"at {account['bank']}{status}"


@app.command("debts")
def payee_debts(
    book: Book,
    payee: Annotated[str | None, typer.Option(help="Only this payee's.")] = None,
    recovered: Annotated[bool, typer.Option("--recovered", help="Also those that were paid back.")] = False,
    as_json: Json = False,
) -> None:
    """List what payees owe since refunds and chargebacks 欠款, newest first: their next shares pay the oldest first."""
    from ops.payees import debts_of

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await debts_of(hub, book, payee, recovered=recovered)
        if as_json:
            show({"debts": rows})
            return 0
        for row in rows:
            typer.echo(
                f"{row['id']}  {row['payee']}  owes {row['left']} of {row['amount']} {row['currency']}  "
                f"{row['refund'] or row['chargeback']} of {row['payment']}  {row['created_at']}"
            )
        if not rows:
            typer.echo("nothing is owed 无欠款")
        return 0

    finish(work())


@app.command("receiver")
def payee_receiver(
    book: Book,
    payee: Id,
    channel_account: Annotated[str, typer.Argument(help="At which, see `sluice channel list`.")],
    account: Annotated[str, typer.Option(help="The rail's number of the merchant, or id of the person.")],
    kind: Annotated[
        str, typer.Option(help="By what the rail knows it: merchant, person, or login (Alipay).")
    ] = "merchant",
    name: Annotated[str, typer.Option(help="Its full name, which the rail compares.")] = "",
    relation: Annotated[str, typer.Option(help="What it is to the merchant, in the rail's own words.")] = "",
    as_json: Json = False,
) -> None:
    """Have a payee be a receiver at a rail 分账接收方, in place of what it was there; takes two people.

    The same again has a rail that refused it told once more.
    """
    from channels.sharing import ReceiverKind
    from ops.payees import set_receiver_as
    from splitting.rails.objects import rail_receiver_payload

    if kind not in list(ReceiverKind):
        fail(f"--kind is one of {', '.join(ReceiverKind)}", 2)
    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee receiver", payee, book=book) as acting:
            row = await set_receiver_as(
                acting, book, payee, channel_account, kind=kind, account=account, name=name, relation=relation
            )
        if as_json:
            show(rail_receiver_payload(row))
        else:
            typer.echo(f"{row.payee_id} at {row.channel_account}: {row.status}")
        return 0

    finish(work())


@app.command("receivers")
def payee_receivers(
    book: Book,
    payee: Annotated[str | None, typer.Option(help="Only this payee's.")] = None,
    as_json: Json = False,
) -> None:
    """List as whom rails know a merchant's payees, and what they said of those that they have not registered."""
    from splitting.rails.objects import rail_receiver_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = [rail_receiver_payload(row) for row in await hub.receivers.listed(book, payee)]
        if as_json:
            show({"receivers": rows})
            return 0
        for row in rows:
            reason = f"  {on_screen(row['reason'])}" if row["reason"] else ""
            typer.echo(
                f"{row['payee']}  {row['channel_account']}  {row['kind']} {row['account']}  {row['status']}{reason}"
            )
        return 0

    finish(work())


@app.command("suspend")
def payee_suspend(book: Book, payee: Id, as_json: Json = False) -> None:
    """Have nothing paid out to a payee; its shares are booked and owed as ever, and refunds take them back.

    What a batch has instructed already goes on. Its merchant cannot lift it.
    """
    found = settings()

    async def work() -> int:
        async with acting_person(found, "stop", "payee suspend", payee, book=book, may_lack_secrets=True) as acting:
            row = await acting.hub.payees.suspend(book, payee, by="operator")
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("resume")
def payee_resume(book: Book, payee: Id, as_json: Json = False) -> None:
    """Have a payee paid again, with all that was kept back, from the next batch on; takes two people."""
    from ops.payees import resume_as

    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee resume", payee, book=book) as acting:
            row = await resume_as(acting, book, payee)
        _tell(row, as_json)
        return 0

    finish(work())


Why = Annotated[str, typer.Option("--note", help="Why, for whoever has to agree; merchants never see it.")]


@app.command("freeze")
def payee_freeze(book: Book, payee: Id, note: Why, as_json: Json = False) -> None:
    """Freeze a payee's account 冻结: nothing is paid to it or withdrawn from it; takes two people.

    Its shares are booked and owed as ever. What its bank has been told already goes on.
    """
    from ops.payees import freeze_as

    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee freeze", payee, book=book) as acting:
            row = await freeze_as(acting, book, payee, note)
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("unfreeze")
def payee_unfreeze(book: Book, payee: Id, note: Why, as_json: Json = False) -> None:
    """Have a payee's account paid and withdrawn from again, whoever froze it; takes two people."""
    from ops.payees import unfreeze_as

    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee unfreeze", payee, book=book) as acting:
            row = await unfreeze_as(acting, book, payee, note)
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("class")
def payee_class(
    book: Book,
    payee: Id,
    of: Annotated[str, typer.Option("--class", help="II, III, or none where it has no limits.")],
    as_json: Json = False,
) -> None:
    """Note of which class a payee's account is 二、三类户: no batch exceeds its limits. Takes two people."""
    from ops.payees import set_class_as
    from splitting.settlement.limits import LIMITS

    if of not in (*LIMITS, "none"):
        fail(f"--class is one of {', '.join(LIMITS)}, none", 2)
    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee class", payee, book=book) as begun:
            row = await set_class_as(begun, book, payee, None if of == "none" else of)
        _tell(row, as_json)
        return 0

    finish(work())


@app.command("balance")
def payee_balance(book: Book, payee: Id, as_json: Json = False) -> None:
    """Show what a payee is owed, has at the bank, and can withdraw 可提现."""
    from kernel.money import Money

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            has = await hub.withdrawals.balance(book, payee)
        if as_json:
            show(has)
            return 0
        for word, what in (
            ("owed", "owed 应付"), ("reserved", "of that, kept back 保证金"), ("in_transit", "in transit 在途"),
            ("sub_account", "in the sub-account 子账户"), ("withdrawing", "of that, being withdrawn 提现中"),
            ("withdrawable", "can be withdrawn 可提现"),
        ):  # fmt: skip
            minor: int = has[f"{word}_minor"]  # type: ignore[literal-required]
            typer.echo(f"{what}: {Money(minor, has['currency']).major()} {has['currency']}")
        return 0

    finish(work())


@app.command("bind")
def payee_bind(
    book: Book,
    payee: Id,
    account: Annotated[str, typer.Option(help="The number of the payee's own account.")],
    bic: Annotated[str, typer.Option(help="The BIC of the bank that has it; another than pays the payee.")],
    bank_name: Annotated[str, typer.Option(help="That bank's name.")],
    bound_at_bank: Annotated[
        bool,
        typer.Option("--bound-at-bank", help="The bank that pays it has it bound too: its class limits nothing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bind a payee's own account at another bank 绑定账户, for withdrawals asked for from then on. Takes two people.

    Its holder must be the payee, by the same name: the bank is told so.
    """
    from ops.payees import bind_as
    from splitting.withdrawals.objects import payee_account_payload

    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee bind", payee, book=book) as begun:
            row = payee_account_payload(await bind_as(begun, book, payee, account, bic, bank_name, bound_at_bank))
        if as_json:
            show(row)
        else:
            typer.echo(
                on_screen(f"{row['payee']} withdraws to {row['account']} at {row['bank_name']} {row['bank_bic']}")
            )
        return 0

    finish(work())


@app.command("limit")
def payee_limit(
    book: Book,
    bank: Annotated[str, typer.Argument(help="Your name for the bank, see `sluice bank list`.")],
    payee: Annotated[str | None, typer.Option(help="Only this payee; default: every payee that has no own.")] = None,
    minimum: Annotated[str, typer.Option(help="The least of one withdrawal; in major units.")] = "0",
    most: Annotated[str | None, typer.Option(help="The most of one; default: no limit.")] = None,
    day: Annotated[str | None, typer.Option(help="The most a day, in Beijing; default: no limit.")] = None,
    currency: Annotated[str, currency_option("Of these amounts.")] = "CNY",
    as_json: Json = False,
) -> None:
    """Set what payees at a bank may withdraw 提现限额. A payee's own limits go before the bank's. Takes two people."""
    from ops.payees import limit_as
    from ops.payouts import minor_of
    from splitting.withdrawals.objects import withdrawal_limit_payload
    from splitting.withdrawals.rules import Limits

    found = settings()

    async def work() -> int:
        limits = Limits(
            minor_of(minimum, currency),
            None if most is None else minor_of(most, currency),
            None if day is None else minor_of(day, currency),
        )
        async with acting_person(found, "merchants", "payee limit", payee or bank, book=book) as begun:
            row = await limit_as(begun, book, bank, payee, limits)
        if as_json:
            show(withdrawal_limit_payload(row))
        else:
            typer.echo(_limit(row))
        return 0

    finish(work())


@app.command("limits")
def payee_limits(book: Book, as_json: Json = False) -> None:
    """List what payees may withdraw: each bank's default, then what differs."""
    from splitting.withdrawals.objects import withdrawal_limit_payload

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await hub.withdrawals.limits(book)
        if as_json:
            show({"limits": [withdrawal_limit_payload(row) for row in rows]})
        else:
            typer.echo("\n".join(map(_limit, rows)) or "no limits are set")
        return 0

    finish(work())


@app.command("own")
def payee_own(
    book: Book,
    payee: Annotated[str | None, typer.Argument(metavar="PAYEE", help="pye_…, of kind merchant.")] = None,
    currency: Annotated[str, currency_option("Of the payments.")] = "CNY",
    none: Annotated[bool, typer.Option("--none", help="Have it paid by none any more.")] = False,
    as_json: Json = False,
) -> None:
    """Set by which payee a merchant is paid what is its own 商户本金: remainders of plans, and payments without a plan.

    Takes two people. Payments made from then on are paid out so; earlier ones keep what was set when they were made.
    """
    from ops.payees import pay_own_as
    from splitting.objects import own_payee_payload

    if (payee is None) != none:
        fail("name the payee, or --none", 2)
    found = settings()

    async def work() -> int:
        async with acting_person(found, "merchants", "payee own", currency, book=book) as acting:
            row = own_payee_payload(await pay_own_as(acting, book, currency, payee))
        if as_json:
            show(row)
        else:
            typer.echo(_own(row))
        return 0

    finish(work())


@app.command("owns")
def payee_owns(book: Book, as_json: Json = False) -> None:
    """List by which payees a merchant is paid what is its own of payments, by currency."""
    from ops.payees import own_payees_of

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await own_payees_of(hub, book)
        if as_json:
            show({"own_payees": rows})
            return 0
        for row in rows:
            typer.echo(_own(row))
        if not rows:
            typer.echo("what is the merchant's own stays in its account: no payee is set")
        return 0

    finish(work())


def _limit(row: Any) -> str:
    who = row.payee_id or "everybody else"
    at_once, a_day = ("no limit" if one is None else f"{one}" for one in (row.most_minor, row.day_minor))
    return on_screen(
        f"{row.bank:<10} {who}: at least {row.minimum_minor}, at once {at_once}, a day {a_day}; in minor units"
    )


def _own(row: "OwnPayeeOut") -> str:
    by = f"paid to {row['payee']}" if row["payee"] else "paid to nobody: it stays in the merchant's account"
    return f"what is the merchant's own in {row['currency']} is {by}, as {on_screen(row['set_by'])} set it"


def _tell(row: Any, as_json: bool) -> None:
    from splitting import payee_payload

    if as_json:
        show(payee_payload(row))
    else:
        since = "is paid" if row.frozen_at is None else f"is frozen since {row.frozen_at:%Y-%m-%d %H:%M} UTC"
        if row.suspended_at is not None:
            since = f"is suspended since {row.suspended_at:%Y-%m-%d %H:%M} UTC"
        limits = "" if row.account_class is None else f", account of class {row.account_class}"
        typer.echo(f"{row.id} {on_screen(row.name)} {since}{limits}")
