"""Taking merchants on, and their API keys: merchant add, list; key new, revoke."""

from datetime import timedelta
from typing import Annotated

import typer

from ops.cli.shared import Book, Json, a_hub, finish, settings, show

merchant_app = typer.Typer(no_args_is_help=True, help="Merchants 商户 and their books.")
key_app = typer.Typer(no_args_is_help=True, help="API keys of merchants.")

SCOPE = typer.Option(
    help="What the key may do, see docs/api.md; may be given several times. Default: all but channels, with which "
    "accounts and routing are changed."
)


@merchant_app.command("add")
def merchant_add(
    name: Annotated[str, typer.Argument(help="For people.")],
    currency: Annotated[list[str], typer.Option(help="ISO 4217; may be given several times.")] = ["CNY"],  # noqa: B006
    scope: Annotated[list[str], SCOPE] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Take a merchant on: open its book and make its first API key, which is shown this once."""
    from gateway.auth import EVERYDAY
    from ops.merchants import add_merchant

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            made = await add_merchant(hub, name, currencies=currency, scopes=scope or EVERYDAY)
        if as_json:
            show({"book": made.book, "merchant": made.id, "key_id": made.key_id, "api_key": made.api_key})
        else:
            typer.echo(f"book {made.book}  merchant {made.id}\nAPI key (shown once): {made.api_key}")
        return 0

    finish(work())


@merchant_app.command("list")
def merchant_list(as_json: Json = False) -> None:
    """List merchants and their books."""
    from gateway.store import merchants
    from kernel.db import acquire

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub, acquire(hub.pool) as connection:
            rows = await merchants(connection)
        if as_json:
            show([{"book": m.book, "merchant": m.id, "name": m.name} for m in rows])
        else:
            for m in rows:
                typer.echo(f"{m.book:>6}  {m.id}  {m.name}")
        return 0

    finish(work())


@key_app.command("new")
def key_new(
    book: Book,
    scope: Annotated[list[str], SCOPE] = [],  # noqa: B006
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; default: never.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key; it is shown this once and kept only as a hash."""
    from gateway.auth import EVERYDAY
    from ops.merchants import add_key

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            expires = hub.env.now() + timedelta(days=days) if days is not None else None
            key_id, key = await add_key(hub, book, scope or EVERYDAY, expires)
        show({"key_id": key_id, "api_key": key}) if as_json else typer.echo(f"{key_id}: {key}")
        return 0

    finish(work())


@key_app.command("revoke")
def key_revoke(book: Book, key_id: Annotated[str, typer.Argument(help="key_…")]) -> None:
    """Revoke an API key; every process refuses it within a second."""
    from gateway.store import revoke_key
    from kernel.db import acquire

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub, acquire(hub.pool) as connection:
            done = await revoke_key(connection, book, key_id, hub.env.now())
        typer.echo("revoked" if done else "there is no such live key")
        return 0 if done else 1

    finish(work())
