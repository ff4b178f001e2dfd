"""Taking merchants on, and their API keys: merchant …, key …"""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from ops.cli.shared import Book, Json, acting, currency_option, finish, looking, settings, show

merchant_app = typer.Typer(no_args_is_help=True, help="Merchants 商户 and their books.")
key_app = typer.Typer(no_args_is_help=True, help="API keys of merchants.")

SCOPE = typer.Option(
    help="What the key may do, see docs/api.md; may be given several times. Default: all but channels, with which "
    "accounts and routing are changed."
)


@merchant_app.command("add")
def merchant_add(
    name: Annotated[str, typer.Argument(help="For people.")],
    currency: Annotated[list[str], currency_option("ISO 4217; may be given several times.")] = ["CNY"],  # noqa: B006
    scope: Annotated[list[str], SCOPE] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Add a merchant: open its book and make its first API key, which is shown only this once."""
    from gateway.door.auth import EVERYDAY

    found = settings()

    async def work() -> int:
        async with acting(found, "merchants", "merchant add", name) as hub:
            made = await hub.merchants.add(name, currencies=currency, scopes=scope or EVERYDAY)
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
        async with looking(found, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows = await merchants(connection)
        if as_json:
            show(
                [
                    {"book": m.book, "merchant": m.id, "name": m.name, "suspended_at": _moment(m.suspended_at)}
                    for m in rows
                ]
            )
        else:
            for m in rows:
                typer.echo(f"{m.book:>6}  {m.id}  {m.name}{'  suspended' if m.suspended_at else ''}")
        return 0

    finish(work())


@merchant_app.command("suspend")
def merchant_suspend(book: Book) -> None:
    """Stop a merchant from beginning payments: over the API, by links and codes, and at the cashier.

    Open payments go on to their end, refunds are made and shares settled. Every process follows within a second.
    """
    _set_suspended(book, suspended=True)


@merchant_app.command("resume")
def merchant_resume(book: Book) -> None:
    """Let a suspended merchant take payments again."""
    _set_suspended(book, suspended=False)


def _set_suspended(book: int, *, suspended: bool) -> None:

    found = settings()

    async def work() -> int:
        act, what = ("stop", "merchant suspend") if suspended else ("merchants", "merchant resume")
        async with acting(found, act, what, f"book {book}", book=book, may_lack_secrets=True) as hub:
            changed = await hub.merchants.set_suspended(book, suspended=suspended)
        state = "is suspended" if suspended else "takes payments"
        typer.echo(f"book {book} {state}{'' if changed else ', as before'}")
        return 0

    finish(work())


@key_app.command("list")
def key_list(
    book: Annotated[int | None, typer.Option("--book", help="Only this merchant's.")] = None, as_json: Json = False
) -> None:
    """List API keys: their merchant, scopes, creation and expiry. Only its holder knows a key itself."""
    from gateway.store import keys_of
    from kernel.db import acquire

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            rows, now = await keys_of(connection, book), hub.env.now()
        if as_json:
            show([{**row._asdict(), **{k: _moment(getattr(row, k)) for k in _MOMENTS}} for row in rows])
        for row in [] if as_json else rows:
            over = f"revoked {_moment(row.revoked_at)}" if row.revoked_at else ""
            if not over and row.suspended_at is not None:
                over = f"suspended {_moment(row.suspended_at)}"
            if not over and row.expires_at is not None:
                over = f"{'expired' if row.expires_at <= now else 'until'} {_moment(row.expires_at)}"
            typer.echo(
                f"{row.book:>6}  {row.merchant_id}  {row.id}  {_moment(row.created_at)}  {over or 'in force'}  "
                f"{' '.join(row.scopes)}"
            )
        return 0

    finish(work())


_MOMENTS = ("created_at", "expires_at", "revoked_at", "suspended_at")


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None


@key_app.command("new")
def key_new(
    book: Book,
    scope: Annotated[list[str], SCOPE] = [],  # noqa: B006
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; default: never.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key; it is shown only this once and stored as a hash."""
    from gateway.door.auth import EVERYDAY

    found = settings()

    async def work() -> int:
        async with acting(found, "merchants", "key new", f"book {book}", book=book) as hub:
            expires_in = timedelta(days=days) if days is not None else None
            key_id, key = await hub.merchants.add_key(book, scope or EVERYDAY, expires_in)
        show({"key_id": key_id, "api_key": key}) if as_json else typer.echo(f"{key_id}: {key}")
        return 0

    finish(work())


@key_app.command("revoke")
def key_revoke(book: Book, key_id: Annotated[str, typer.Argument(help="key_…")]) -> None:
    """Revoke an API key; every process refuses it within a second."""
    found = settings()

    async def work() -> int:
        async with acting(found, "stop", "key revoke", key_id, book=book, may_lack_secrets=True) as hub:
            await hub.merchants.revoke_key(book, key_id)
        typer.echo("revoked")
        return 0

    finish(work())


@key_app.command("suspend")
def key_suspend(book: Book, key_id: Annotated[str, typer.Argument(help="key_…")]) -> None:
    """Suspend an API key: every process refuses it within a second, until it is resumed. What it began continues.

    A merchant without a valid key takes no payments by links and codes either.
    """
    _set_key_suspended(book, key_id, suspended=True)


@key_app.command("resume")
def key_resume(book: Book, key_id: Annotated[str, typer.Argument(help="key_…")]) -> None:
    """Accept a suspended API key again, within a second."""
    _set_key_suspended(book, key_id, suspended=False)


def _set_key_suspended(book: int, key_id: str, *, suspended: bool) -> None:
    found = settings()

    async def work() -> int:
        act, what = ("stop", "key suspend") if suspended else ("merchants", "key resume")
        async with acting(found, act, what, key_id, book=book, may_lack_secrets=True) as hub:
            changed = await hub.merchants.set_key_suspended(book, key_id, suspended=suspended)
        typer.echo(f"{key_id} {'is suspended' if suspended else 'is in force'}{'' if changed else ', as before'}")
        return 0

    finish(work())
