"""Addresses from which payers pay by themselves: link add, list, suspend, resume, qr."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ops.cli.shared import Book, Currency, Json, acting, fail, finish, looking, settings, show

app = typer.Typer(no_args_is_help=True, help="Payment links 付款链接 and standing codes 静态收款码 for payers.")


@app.command("add")
def link_add(
    book: Book,
    name: Annotated[str, typer.Argument(help="For the merchant, e.g. 'counter 1'.")],
    description: Annotated[str, typer.Option(help="What payers see.")],
    amount: Annotated[str | None, typer.Option(help="In major units, e.g. 12.30; default: the payer types it.")] = None,
    minimum: Annotated[str | None, typer.Option(help="Least amount that the payer may type, in major units.")] = None,
    maximum: Annotated[str | None, typer.Option(help="Largest amount that the payer may type, in major units.")] = None,
    currency: Currency = "CNY",
    standing: Annotated[
        bool, typer.Option("--standing", help="Make a standing code, to print and put up, instead of a link.")
    ] = False,
    max_uses: Annotated[int | None, typer.Option(min=1, max=100, help="How many payments may be open or paid.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339, e.g. 2026-12-24T18:00:00+08:00.")] = None,
    as_json: Json = False,
) -> None:
    """Make a payment link or a standing code, and print its address."""
    from ops.links import LinkWrong, add, wanted

    try:
        new = wanted(
            name=name,
            description=description,
            amount=amount,
            minimum=minimum,
            maximum=maximum,
            currency=currency,
            standing=standing,
            max_uses=max_uses,
            expires_at=expires_at,
        )
    except LinkWrong as wrong:
        fail(str(wrong), 2)
    found = settings()

    async def work() -> int:
        async with acting(found, "links", "link add", new.name, book=book) as hub:
            made = await add(hub, book, new)
        if as_json:
            show(made)
        else:
            typer.echo(f"{made['id']}  {made['url']}")
        return 0

    finish(work())


@app.command("list")
def link_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's payment links and standing codes, newest first."""
    from ops.links import listed

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await listed(hub, book)
        if as_json:
            show({"links": rows})
            return 0
        for row in rows:
            amount = "the payer says" if row["amount"] is None else row["amount"]
            state = "active" if row["active"] else "inactive"
            state = state if row["suspended_at"] is None else "suspended"
            typer.echo(f"{row['id']}  {state:9}  {amount} {row['currency']}  {row['name']}\n    {row['url']}")
        return 0

    finish(work())


Link = Annotated[str, typer.Argument(help="Its id, see `sluice link list`.")]


@app.command("suspend")
def link_suspend(book: Book, link: Link) -> None:
    """Have no payment made with a link or standing code, whatever its merchant says; its page tells payers.

    Payments that were made with it go on to their end.
    """
    _set_suspended(book, link, suspended=True)


@app.command("resume")
def link_resume(book: Book, link: Link) -> None:
    """Let payments be made with a suspended link or standing code again, if its merchant has it active."""
    _set_suspended(book, link, suspended=False)


def _set_suspended(book: int, link: str, *, suspended: bool) -> None:
    found = settings()

    async def work() -> int:
        act, what = ("stop", "link suspend") if suspended else ("merchants", "link resume")
        async with acting(found, act, what, link, book=book) as hub:
            changed = await hub.links().set_suspended(book, link, suspended=suspended)
        typer.echo(f"{link} is {'suspended' if suspended else 'not suspended'}{'' if changed else ', as before'}")
        return 0

    finish(work())


@app.command("qr")
def link_qr(
    book: Book,
    link: Link,
    file: Annotated[Path, typer.Argument(help="Where to write the picture: .svg or .png.")],
    emvco: Annotated[
        str | None, typer.Option(help="As an EMVCo code instead of an address: NAME:CITY:MCC in ASCII.")
    ] = None,
) -> None:
    """Write the QR code of a link or standing code to a file, to print or send."""
    from ops.links import LinkWrong, picture

    found = settings()

    async def work() -> int:
        async with looking(found, at=book) as hub:
            try:
                content = await picture(hub, book, link, file.suffix, emvco)
            except LinkWrong as wrong:
                fail(str(wrong), 2)
        await asyncio.to_thread(file.write_bytes, content)
        typer.echo(str(file))
        return 0

    finish(work())
