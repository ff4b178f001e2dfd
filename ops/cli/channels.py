"""Channel accounts, their master keys, and one call to a rail by hand: channel …"""

import json
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ops.cli.shared import (
    Account,
    Book,
    Json,
    acting,
    acting_person,
    cannot_use,
    fail,
    finish,
    json_object,
    looking,
    settings,
    show,
)

if TYPE_CHECKING:
    from gateway.accounts.objects import ChannelAccountOut
    from gateway.accounts.terms import Terms
    from ops.people import Acting
    from ops.wiring import Hub

app = typer.Typer(no_args_is_help=True, help="Channels 渠道 and merchants' accounts with them.")

TERMS = typer.Option("--terms", help="JSON file with all of the terms: fees, limits, opening hours; see docs/api.md.")
FEE_BP = typer.Option(min=0, max=10_000, help="Instead of --terms, a single rate in basis points: 60 is 0.6 %.")
_ACCOUNT = re.compile(r"[0-9A-Za-z_-]{1,32}", re.ASCII)


@app.command("add")
def channel_add(
    book: Book,
    channel: Annotated[str, typer.Argument(help="The rail, e.g. wechat.")],
    credentials: Annotated[
        Path, typer.Option(help="JSON file with ids, base_url and keys, as text or as names of files, read now.")
    ],
    account: Annotated[str, typer.Argument(help="Your name for this account.")] = "main",
    terms: Annotated[Path | None, TERMS] = None,
    fee_bp: Annotated[int | None, FEE_BP] = None,
    position: Annotated[int | None, typer.Option(min=0, help="Lower is preferred; default: last.")] = None,
    as_json: Json = False,
) -> None:
    """Add a channel account to a merchant; its keys are sealed, and the files are not needed afterwards.

    State what the rail charges, by --fee-bp or --terms: the hub does not guess what your contract says.
    """

    if not _ACCOUNT.fullmatch(account):
        fail(f"{account!r} is no name for an account: 1 to 32 of 0-9 A-Z a-z _ -", 2)
    agreed = _agreed(terms, fee_bp)
    if agreed is None:
        fail(
            f"say what {channel} charges you: --fee-bp 60 for 0.6 %, 0 for nothing, or --terms FILE; docs/rails/ has "
            "an example for each rail, your contract the figures",
            2,
        )
    found = settings()

    async def work() -> int:
        facts = json_object(credentials)
        async with acting(found, "channels", "channel add", account, book=book) as hub:
            row = await hub.channel_admin.add_by_hand(
                book, account, channel, facts, terms=agreed, position=position, folder=credentials.parent
            )
            shown = _shown(hub, row)
        if as_json:
            show(shown)
        else:
            typer.echo(f"book {book}: {channel} account {account} added; its notices go to {shown['notify_url']}")
        return 0

    finish(work())


@app.command("list")
def channel_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's channel accounts, by position."""
    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            shown = [_shown(hub, row) for row in await hub.channel_admin.list(book)]
        if as_json:
            show(shown)
        else:
            for one in shown:
                terms = json.dumps(one["terms"], ensure_ascii=False)
                typer.echo(f"{one['position']:>3} {one['id']:<16} {one['channel']:<10} {one['state']:<9} {terms}")
                if not one["usable"]:
                    typer.echo(f"    cannot be used 不可用: {one['problem']}")
        return 0

    finish(work())


@app.command("show")
def channel_show(book: Book, account: Account, as_json: Json = False) -> None:
    """Print a channel account: settings, terms, and the names and fingerprints of its secrets, never a secret.

    It is one JSON object, with --json or without.
    """
    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True, at=book) as hub:
            show(_shown(hub, await hub.channel_admin.get(book, account)))
        return 0

    finish(work())


def _shown(hub: "Hub", row: Any) -> "ChannelAccountOut":
    from gateway.accounts.objects import channel_account_payload

    notify_url = hub.payments.notify_url(row.book, row.id, row.channel)
    return channel_account_payload(row, notify_url, hub.channel_admin.problem(row))


def _agreed(path: Path | None, fee_bp: int | None) -> "Terms | None":
    """Return the terms that were given as a file or as a rate; None where neither was."""
    from gateway.accounts.terms import Terms, TermsWrong, flat

    if path is None:
        return None if fee_bp is None else flat(fee_bp)
    if fee_bp is not None:
        fail("give either --terms or --fee-bp", 2)
    try:
        return Terms.parse(path.read_bytes())
    except OSError as error:
        cannot_use(path, error)
    except TermsWrong as wrong:
        fail(f"{path}: {wrong}", 2)


@app.command("terms")
def channel_terms(
    book: Book,
    account: Account,
    terms: Annotated[Path | None, TERMS] = None,
    fee_bp: Annotated[int | None, FEE_BP] = None,
    position: Annotated[int | None, typer.Option(min=0, help="Lower is preferred.")] = None,
) -> None:
    """Change an account's terms or its position; every process follows within a second."""
    agreed = _agreed(terms, fee_bp)
    if agreed is None and position is None:
        fail("say what to change: --terms, --fee-bp or --position", 2)
    found = settings()

    async def work() -> int:
        async with acting(found, "channels", "channel terms", account, book=book) as hub:
            show(_shown(hub, await hub.channel_admin.change(book, account, terms=agreed, position=position)))
        return 0

    finish(work())


@app.command("rotate")
def channel_rotate(
    book: Book,
    account: Account,
    credentials: Annotated[
        Path, typer.Option(help="JSON file with the new values; values not named stay as they are.")
    ],
    keep_days: Annotated[
        int | None,
        typer.Option(help="Days for which notices made under the old credentials are accepted; default: 30."),
    ] = None,
    unproven: Annotated[
        bool, typer.Option("--unproven", help="Do not test the credentials at the rail first.")
    ] = False,
) -> None:
    """Put new credentials into use; notices made under the old ones are accepted for a while.

    The hub first tests them at the rail, with a query that changes nothing.
    """
    from gateway.accounts.admin import KEEP_DAYS

    found = settings()
    days = KEEP_DAYS if keep_days is None else keep_days
    if not 0 <= days <= 365:
        fail("--keep-days is 0 to 365", 2)

    async def work() -> int:
        facts = json_object(credentials)
        async with acting(found, "channels", "channel rotate", account, book=book) as hub:
            row, _ = await hub.channel_admin.rotate(
                book, account, facts, keep=timedelta(days=days), folder=credentials.parent, prove=not unproven
            )
            show(_shown(hub, row))
        return 0

    finish(work())


@app.command("state")
def channel_state(
    book: Book,
    account: Account,
    state: Annotated[str, typer.Argument(help="enabled, draining (finishes open payments) or off.")],
    as_json: Json = False,
) -> None:
    """Enable, drain or switch off a channel account; every process follows within a second."""
    from gateway.accounts.objects import STATES

    if state not in STATES:
        fail(f"{state!r} is no state; there are {', '.join(STATES)}", 2)
    _set_state(book, account, state, as_json)


@app.command("drain")
def channel_drain(book: Book, account: Account, as_json: Json = False) -> None:
    """Send no new payments to a channel account; open payments are finished there, and refunds are still made."""
    _set_state(book, account, "draining", as_json)


def _set_state(book: int, account: str, state: str, as_json: bool) -> NoReturn:

    found = settings()

    async def work() -> int:
        act, what = "channels" if state == "enabled" else "stop", f"channel state {state}"
        async with acting(found, act, what, account, book=book, may_lack_secrets=True) as hub:
            shown = _shown(hub, await hub.channel_admin.set_state(book, account, state))
        if as_json:
            show(shown)
        else:
            typer.echo(f"book {book}: {account} is {state}")
        return 0

    finish(work())


@app.command("reseal")
def channel_reseal(
    new_key: Annotated[bool, typer.Option(help="Make a new master key first, and use it from now on.")] = False,
    retire: Annotated[bool, typer.Option(help="Afterwards remove master keys that no account uses.")] = False,
) -> None:
    """Seal the credentials of all accounts with the current master key; repeating the command finishes what was left.

    Exit code 1 if some account could not be sealed; then no master key is removed.
    """
    from ops.reseal import reseal

    found = settings()

    async def work() -> int:
        def progress(done: int, of: int) -> None:
            if done % 100 == 0 or done == of:
                typer.echo(f"{done} of {of} accounts", err=True)

        async with acting(found, "channels", "channel reseal", "all accounts") as hub:
            came_to = await reseal(hub, new_key=new_key, retire=retire, progress=progress)
        show(came_to)
        return 1 if came_to["failed"] else 0

    finish(work())


@app.command("new")
def channel_new(
    name: Annotated[str, typer.Argument(help="The new rail's name, e.g. acorn_pay.")],
    root: Annotated[Path, typer.Option(help="The checkout of this repository to write into.")] = Path(),
) -> None:
    """Write the beginning of a new rail into a checkout: its folder, its line, and tests that fail until it is done."""
    from ops.new_rail import CannotBegin, begin

    try:
        written = begin(root, name)
    except CannotBegin as why:
        fail(str(why), 2)
    for path in written:
        typer.echo(path)
    typer.echo(
        f"next: say in channels/{name}/README.md what is believed when, write the adapter and its simulated other "
        f"side, and run `pytest tests/contract -k {name}` until nothing fails",
        err=True,
    )


@app.command("call")
def channel_call(
    channel: Annotated[str, typer.Argument(help="The rail, e.g. wechat.")],
    op: Annotated[
        str,
        typer.Argument(
            help="create, query, close, proceed, reverse, capture, void, refund, refund_query, abnormal_refund, bill; "
            "share, …"
        ),
    ],
    base_url: Annotated[str | None, typer.Option(help="Instead of the one in the credentials.")] = None,
    book: Annotated[
        int | None, typer.Option(help="Use a merchant's channel account: the merchant's book; with --account.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="The merchant's channel account, with --book.")] = None,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set", help="k=v; e.g. reference, amount (minor units), method, channel_ref, date, credentials=FILE."
        ),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Run one operation of an adapter against any base URL, and print what was concluded and why.

    Exit codes: 0 the answer was verified and the operation did what was asked; 1 the channel said no; 2 asked for
    wrongly, nothing was sent; 3 the result is unknown. Credentials are the sealed ones of --book and --account; or
    come from --set credentials=FILE, else from SLUICE_HOME/channels/CHANNEL.json, else, for the sandbox of this home,
    from its default merchant. A call with a merchant's account is an act of an operator, and is recorded. It takes two
    of them unless it only looks (query, refund_query, share_query, give_back_query, bill) at the account's own address.
    """
    from channels import HttpTransport
    from kernel.env import system_env
    from ops.addresses import origin_of, rule, sandbox_of
    from ops.trials import channel_call

    chosen = dict(pair.partition("=")[::2] for pair in sets)
    if (book is None) != (account is None) or (account is not None and "credentials" in chosen):
        fail("give --book together with --account, or --set credentials=FILE", channel_call.USAGE)
    found = settings()
    home = found.home

    async def work() -> int:
        try:
            if book is not None and account is not None:
                what = f"channel call {channel} {op}"
                async with acting_person(found, "rail", what, account, book=book) as begun:
                    facts = await _sealed_credentials(begun, book, account, channel, op, chosen, base_url)
                    code = await made(facts)
                    begun.ending.detail = f"{begun.ending.detail} exit code {code}".strip()
                    return code
            elif "credentials" not in chosen and not (home / "channels" / f"{channel}.json").exists():
                facts = _sandbox_credentials(home, channel, base_url)
            else:
                facts = channel_call.settings_for(channel, home=home, sets=chosen, base_url=base_url)
        except channel_call.Usage as error:
            fail(str(error), channel_call.USAGE)
        return await made(facts)

    async def made(facts: dict[str, Any]) -> int:
        allowed = rule(found, sandbox_of(found))
        if base_url or book is None:  # named by who types the command, and by no merchant
            with suppress(ValueError):
                allowed = allowed.and_also(origin_of(facts.get("base_url")))
        async with HttpTransport(addresses=allowed) as transport:
            done = await channel_call.call(channel, op, facts, chosen, system_env(transport))
        if as_json:
            show(done.result)
        else:
            for name, value in done.result.items():
                typer.echo(f"{name:18} {value}")
        return done.exit_code

    finish(work())


async def _sealed_credentials(
    acting: "Acting", book: int, account: str, channel: str, op: str, sets: dict[str, str], base_url: str | None
) -> dict[str, Any]:
    """Return the credentials of a merchant's account, opened for one call; two people's, unless it only looks.

    Raises channel_call.Usage, and what Acting.second raises.
    """
    from gateway.accounts.credentials import opened
    from kernel.db import transaction
    from kernel.sealing import CannotOpen
    from ops.trials import channel_call
    from people import Act, What, use_up

    hub = acting.hub
    chosen, looks = channel_call.asked(channel, op, sets)
    row = await hub.channel_admin.get(book, account)
    if row.channel != channel:
        raise channel_call.Usage(f"{account} is an account at {row.channel}, not at {channel}")
    try:
        facts = opened(row, hub.keys).current.settings()
    except CannotOpen as why:
        raise channel_call.Usage(f"the credentials of {account} do not open: {why}") from None
    if not looks or base_url:  # elsewhere, whoever answers there reads what some rails take as a password

        def told(name: str, value: str) -> str:
            digest = hub.authenticator.digest(f"argument {name} {value}").hex()[:32]
            return f"…{value[-4:]} ({digest})" if name in channel_call.PRIVATE else value

        arguments = {"channel": channel, "op": op, "base_url": base_url or facts.get("base_url")}
        arguments |= {name: told(name, value) for name, value in chosen.items()}
        use = await acting.second(What(Act.RAIL, "channel call", account, arguments, book))
        async with transaction(hub.pool) as connection:  # before it is sent: what may have been sent is not sent again
            await use_up(connection, use)
    return facts | ({"base_url": base_url} if base_url else {})


def _sandbox_credentials(home: Path, channel: str, base_url: str | None) -> dict[str, Any]:
    """Return the default merchant of the sandbox in this home. Raises channel_call.Usage."""
    from ops.trials import channel_call
    from sandbox.main import NotRunning, info

    try:
        told = info(home)
    except NotRunning as error:
        raise channel_call.Usage(
            f"there are no credentials for {channel}: give --set credentials=FILE.json ({error})"
        ) from None
    if channel not in told:
        raise channel_call.Usage(f"the sandbox has no {channel}")
    facts = {"base_url": told["base_url"], **told[channel]["merchants"][0]}
    return facts | ({"base_url": base_url} if base_url else {})
