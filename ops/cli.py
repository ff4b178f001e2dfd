"""The command line: `sluice …`. Heavy modules are loaded by the command that needs them.

Exit codes: 0 done; 1 the answer is no, or something is wrong; 2 the command was not understood; 3 nothing certain is
known (channel call).
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from channels.terms import Terms
    from ops.settings import Settings
    from ops.wiring import Hub

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sluice 汇闸: an open payment hub. `sluice up` runs it, `sluice replay` plays a trading day through it.",
)
sandbox_app = typer.Typer(no_args_is_help=True, help="The simulated outside world 沙箱: the rails and a bank.")
merchant_app = typer.Typer(no_args_is_help=True, help="Merchants 商户 and their books.")
bank_app = typer.Typer(no_args_is_help=True, help="Banks 银行: a merchant's custody, the platform's own account.")
key_app = typer.Typer(no_args_is_help=True, help="API keys of merchants.")
channel_app = typer.Typer(no_args_is_help=True, help="Channels 渠道 and merchants' accounts with them.")
route_app = typer.Typer(no_args_is_help=True, help="Routing 路由: policies, why an account was chosen, the bench.")
route_policy_app = typer.Typer(no_args_is_help=True, help="Merchants' routing policies, in versions that stay.")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(merchant_app, name="merchant")
app.add_typer(bank_app, name="bank")
app.add_typer(key_app, name="key")
app.add_typer(channel_app, name="channel")
qr_app = typer.Typer(no_args_is_help=True, help="Merchants' payment codes 商户收款码 as EMVCo writes them.")
app.add_typer(qr_app, name="qr")
link_app = typer.Typer(no_args_is_help=True, help="Payment links 付款链接 and standing codes 静态收款码 for payers.")
app.add_typer(link_app, name="link")
app.add_typer(route_app, name="route")
route_app.add_typer(route_policy_app, name="policy")

_ACCOUNT = re.compile(r"[0-9A-Za-z_-]{1,32}", re.ASCII)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Account = Annotated[str, typer.Argument(help="The channel account, see `sluice channel list`.")]
Book = Annotated[int, typer.Option("--book", help="The merchant's book number, see `sluice merchant list`.")]


def main() -> None:
    """Run the command line."""
    app()


def fail(message: str, code: int = 1) -> NoReturn:
    """End with a message on standard error."""
    typer.echo(f"sluice: {message}", err=True)
    raise typer.Exit(code)


def settings() -> "Settings":
    """Return the settings of this process, or end with all that is wrong with them."""
    from ops.settings import SettingsWrong, load

    try:
        return load()
    except SettingsWrong as wrong:
        fail(str(wrong), 2)


def finish(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command's coroutine and end with its exit code; errors for people become one line."""
    from channels.contract import BadBill, BadNotice
    from kernel.errors import SluiceError
    from ops.embedded import CannotStart
    from ops.migrate import MigrationFailed

    try:
        code = asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except SluiceError as error:
        facts = f" ({', '.join(f'{k}={v}' for k, v in error.facts.items())})" if error.facts else ""
        fail(f"{error.message}{facts} [{error.code}]")
    except (CannotStart, MigrationFailed, BadBill, BadNotice) as error:
        fail(str(error))
    except (OSError, json.JSONDecodeError) as error:  # a file named on the command line
        fail(f"{getattr(error, 'filename', None) or 'the file'} cannot be used: {error}", 2)
    raise typer.Exit(code)


@asynccontextmanager
async def a_hub(found: "Settings") -> AsyncIterator["Hub"]:
    """Reach the books of this home: the servers that run, or our own for as long as the command lasts."""
    from ops import embedded
    from ops.migrate import migrate
    from ops.serve import public_url
    from ops.wiring import hub

    async with embedded.servers(found) as servers:
        if servers.own:
            await asyncio.to_thread(migrate, servers.database_url)
        async with hub(
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            home=found.home,
            keys_file=found.channel_keys,
            public_url=public_url(found),
            name="sluice command",
        ) as objects:
            yield objects


def show(result: Any) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2, default=str))


# ---- running -------------------------------------------------------------------------------------------------------


@app.command()
def up(
    workers: Annotated[int | None, typer.Option(help="Gateway processes sharing the port.")] = None,
    sandbox: Annotated[bool, typer.Option(help="Start the simulated outside world too.")] = True,
) -> None:
    """Run the whole hub in the foreground until Ctrl-C: database, streams, gateway, worker, sandbox."""
    from ops.supervisor import Run, supervise

    found = settings()
    if workers is not None:
        os.environ["SLUICE_WORKERS"] = str(workers)
        found = settings()

    def ready(run: Run) -> None:
        typer.echo(f"sluice     | the hub is up: {run.gateway_url} (metrics {run.ops_url}/metrics). Ctrl-C stops it.")

    raise typer.Exit(asyncio.run(supervise(found, hub_processes(found, sandbox=sandbox), on_ready=ready)))


def hub_processes(found: "Settings", *, sandbox: bool = True) -> list[Any]:
    """Return the hub's processes in the order they start."""
    from ops.supervisor import Child

    sluice = [sys.executable, "-m", "ops.cli"]
    children = []
    if sandbox:
        url = f"http://127.0.0.1:{found.sandbox_port}/control/info"
        argv = [*sluice, "sandbox", "run", "--port", str(found.sandbox_port), "--time-scale", str(found.time_scale)]
        children.append(Child("sandbox", argv, ready_url=url))
    children.append(Child("gateway", [*sluice, "gateway"], ready_url=f"http://127.0.0.1:{found.ops_port}/ready"))
    children.append(Child("worker", [*sluice, "worker"]))
    return children


@app.command()
def gateway(workers: Annotated[int | None, typer.Option(help="Processes sharing the port.")] = None) -> None:
    """Serve the merchant API; needs SLUICE_DATABASE_URL or servers started by `sluice up`."""
    from ops import serve

    if workers is not None:
        os.environ["SLUICE_WORKERS"] = str(workers)
    found = settings()
    raise typer.Exit(serve.gateway(found, *_addresses(found)))


@app.command()
def worker() -> None:
    """Do the background work: splitting, asking channels, settlement, the event relay."""
    from ops import serve

    found = settings()
    raise typer.Exit(serve.background(found, *_addresses(found)))


def _addresses(found: "Settings") -> tuple[str, str]:
    """Return where the servers are, for processes that never start any."""
    from ops import embedded

    database = found.database_url.get_secret_value() if found.database_url else embedded.postgres_url(found.home)
    redis = found.redis_url.get_secret_value() if found.redis_url else embedded.valkey_url(found.home)
    if database is None or redis is None:
        fail(
            "no servers have run in this home; start them with `sluice up`, or set SLUICE_DATABASE_URL and "
            "SLUICE_REDIS_URL"
        )
    return database, redis


@app.command()
def migrate(
    accept: Annotated[bool, typer.Option(help="Accept the schema as it is after a change made by hand.")] = False,
) -> None:
    """Bring the database to the schema of this code."""
    from ops import embedded
    from ops.migrate import accept_schema
    from ops.migrate import migrate as apply

    found = settings()

    async def work() -> int:
        async with embedded.servers(found) as servers:
            done = await asyncio.to_thread(apply, servers.database_url)
            if accept:
                await asyncio.to_thread(accept_schema, servers.database_url)
        typer.echo("\n".join(f"applied {name}" for name in done) or "nothing to apply")
        return 0

    finish(work())


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say in one screen what is missing or wrong here; exit code 1 if anything fails."""
    from ops.doctor import examine, render

    raise typer.Exit(render(asyncio.run(examine(settings())), as_json=as_json))


@app.command()
def verify(as_json: Json = False) -> None:
    """Check every invariant of the books; exit code 1 if one is broken."""
    from rich.console import Console
    from rich.table import Table

    from ops import verify as checks

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            verdicts = await checks.verify(hub.pool)
        summary = checks.as_json(verdicts)
        if as_json:
            show(summary)
        else:
            table = Table("", "invariant 不变量", "broken", "what holds", box=None)
            for v in verdicts:
                mark = "[red]✗[/]" if v.broken else "[green]✓[/]"
                table.add_row(mark, v.name, str(len(v.broken)), "\n".join([v.says, *v.broken[:5]]))
            Console().print(table)
        return 1 if summary["broken"] else 0

    finish(work())


# ---- the sandbox ---------------------------------------------------------------------------------------------------


@sandbox_app.command("run")
def sandbox_run(
    port: Annotated[int | None, typer.Option(help="0 takes a free one; default SLUICE_SANDBOX_PORT.")] = None,
    time_scale: Annotated[float, typer.Option(help="Factor on the simulated world's waits.")] = 1.0,
) -> None:
    """Run the simulated outside world in the foreground."""
    from channels.sandbox.main import AlreadyRunning, run

    found = settings()
    try:
        code = run(found.home, found.sandbox_port if port is None else port, time_scale)
    except AlreadyRunning as error:
        fail(str(error))
    raise typer.Exit(code)


@sandbox_app.command("info")
def sandbox_info(as_json: Json = False) -> None:
    """Print every base URL, id, key file and control endpoint, so that any SDK can be pointed at the sandbox."""
    from channels.sandbox.main import NotRunning, info

    try:
        told = info(settings().home)
    except NotRunning as error:
        fail(str(error))
    if as_json:
        show(told)
        return
    typer.echo(f"base URL  {told['base_url']}   running: {'yes' if told['running'] else 'no'}")
    for rail, its in told.items():
        if not isinstance(its, dict) or not isinstance(its.get("merchants"), list):
            continue
        for merchant in its["merchants"]:
            typer.echo(f"{rail} merchant {merchant['merchant']}")
            for name, value in merchant.items():
                if _is_for_eyes(rail, name, value):
                    typer.echo(f"  {name:22} {value}")
    typer.echo("all of it, with control endpoints: sluice sandbox info --json")


def _is_for_eyes(rail: str, name: str, value: object) -> bool:
    """Tell whether one of a simulated merchant's settings is worth a line: short, no secret, not said already."""
    from channels.registry import secrets_of

    short = isinstance(value, int) or (isinstance(value, str) and 0 < len(value) < 200 and "\n" not in value)
    return short and name not in secrets_of(rail) | {"merchant", "base_url"}


# ---- merchants, keys, channel accounts -----------------------------------------------------------------------------


@merchant_app.command("add")
def merchant_add(
    name: Annotated[str, typer.Argument(help="For people.")],
    currency: Annotated[list[str], typer.Option(help="ISO 4217; may be given several times.")] = ["CNY"],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Take a merchant on: open its book and make its first API key, which is shown this once."""
    from ops.merchants import add_merchant

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            made = await add_merchant(hub, name, currencies=currency)
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
    scope: Annotated[list[str], typer.Option(help="May be given several times; default: all.")] = [],  # noqa: B006
    days: Annotated[int | None, typer.Option(help="Days until it expires; default: never.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key; it is shown this once and kept only as a hash."""
    from gateway.auth import SCOPES
    from ops.merchants import add_key

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            expires = hub.env.now() + timedelta(days=days) if days is not None else None
            key_id, key = await add_key(hub, book, scope or list(SCOPES), expires)
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


@channel_app.command("add")
def channel_add(
    book: Book,
    channel: Annotated[str, typer.Argument(help="The rail, e.g. wechat.")],
    credentials: Annotated[
        Path, typer.Option(help="JSON file with ids, base_url and keys, as text or as names of files, read now.")
    ],
    account: Annotated[str, typer.Option(help="Your name for this account.")] = "main",
    terms: Annotated[Path | None, typer.Option(help="JSON file: fees, limits, opening hours; see docs/api.md.")] = None,
    fee_bp: Annotated[int | None, typer.Option(help="Short for terms of one rate: basis points; 60.")] = None,
    position: Annotated[int | None, typer.Option(help="Lower is preferred; default: last.")] = None,
) -> None:
    """Give a merchant an account with a channel; its keys are sealed, and no file is needed afterwards."""
    from channels.terms import flat
    from ops.merchants import add_channel_account

    if terms is not None and fee_bp is not None:
        fail("give either --terms or --fee-bp", 2)
    if not _ACCOUNT.fullmatch(account):
        fail(f"{account!r} is no name for an account: 1 to 32 of 0-9 A-Z a-z _ -", 2)
    agreed = _terms(terms) if terms is not None else flat(60 if fee_bp is None else fee_bp)
    found = settings()

    async def work() -> int:
        facts = _credentials(credentials)
        async with a_hub(found) as hub:
            await add_channel_account(
                hub, book, account, channel, facts, terms=agreed, position=position, folder=credentials.parent
            )
        typer.echo(f"book {book}: {channel} account {account} added")
        return 0

    finish(work())


@channel_app.command("list")
def channel_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's channel accounts in the order they were given."""
    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            shown = [_shown(hub, row) for row in await hub.channel_admin.list(book)]
        if as_json:
            show(shown)
        else:
            for one in shown:
                terms = json.dumps(one["terms"], ensure_ascii=False)
                typer.echo(f"{one['position']:>3} {one['id']:<16} {one['channel']:<10} {one['state']:<9} {terms}")
        return 0

    finish(work())


@channel_app.command("show")
def channel_show(book: Book, account: Account) -> None:
    """Print a channel account: settings, terms, and the names and fingerprints of its secrets, never a secret."""
    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            show(_shown(hub, await hub.channel_admin.get(book, account)))
        return 0

    finish(work())


def _shown(hub: "Hub", row: Any) -> dict[str, Any]:
    from gateway.channel_admin import channel_account_payload

    return channel_account_payload(row, hub.payments.notify_url(row.book, row.id, row.channel))


def _credentials(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        fail(f"{path} does not hold a JSON object", 2)
    return found


def _terms(path: Path) -> "Terms":
    from channels.terms import Terms, TermsWrong

    try:
        return Terms.parse(path.read_bytes())
    except OSError as error:
        fail(f"{path} cannot be used: {error}", 2)
    except TermsWrong as wrong:
        fail(f"{path}: {wrong}", 2)


@channel_app.command("terms")
def channel_terms(
    book: Book,
    account: Account,
    file: Annotated[Path | None, typer.Option(help="JSON file with all of the terms; see docs/api.md.")] = None,
    fee_bp: Annotated[int | None, typer.Option(help="Short for terms of one rate: basis points.")] = None,
    position: Annotated[int | None, typer.Option(help="Lower is preferred.")] = None,
) -> None:
    """Change what an account costs and takes, or its position; every process follows within a second."""
    from channels.terms import flat

    if (file is None) == (fee_bp is None) and (file is not None or position is None):
        fail("give --file, --fee-bp or --position", 2)
    terms = _terms(file) if file is not None else flat(fee_bp) if fee_bp is not None else None
    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            show(_shown(hub, await hub.channel_admin.change(book, account, terms=terms, position=position)))
        return 0

    finish(work())


@channel_app.command("rotate")
def channel_rotate(
    book: Book,
    account: Account,
    credentials: Annotated[Path, typer.Option(help="JSON file with what is new; what is not named stays.")],
    keep_days: Annotated[
        int | None, typer.Option(help="Days for which notices made under the old credentials are believed; 30.")
    ] = None,
) -> None:
    """Put new credentials into use at once; notices made under the old ones are believed for a while."""
    from gateway.channel_admin import KEEP_DAYS

    found = settings()
    days = KEEP_DAYS if keep_days is None else keep_days
    if not 0 <= days <= 365:
        fail("--keep-days is 0 to 365", 2)

    async def work() -> int:
        facts = _credentials(credentials)
        async with a_hub(found) as hub:
            row, _ = await hub.channel_admin.rotate(
                book, account, facts, keep=timedelta(days=days), folder=credentials.parent
            )
            show(_shown(hub, row))
        return 0

    finish(work())


@channel_app.command("state")
def channel_state(
    book: Book,
    account: Account,
    state: Annotated[str, typer.Argument(help="enabled, draining (finishes what is open) or off.")],
) -> None:
    """Enable, drain or switch off a channel account; every process follows within a second."""
    from gateway.channel_admin import STATES

    if state not in STATES:
        fail(f"{state!r} is no state; there are {', '.join(STATES)}", 2)
    _set_state(book, account, state)


@channel_app.command("drain")
def channel_drain(book: Book, account: Account) -> None:
    """Send nothing new to a channel account; what is open on it is finished and refunded there."""
    _set_state(book, account, "draining")


def _set_state(book: int, account: str, state: str) -> NoReturn:
    from ops.merchants import set_channel_state

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            await set_channel_state(hub, book, account, state)
        typer.echo(f"book {book}: {account} is {state}")
        return 0

    finish(work())


@channel_app.command("reseal")
def channel_reseal(
    new_key: Annotated[bool, typer.Option(help="Make a new master key first, and use it from now on.")] = False,
    retire: Annotated[bool, typer.Option(help="Forget master keys afterwards that no account is under.")] = False,
) -> None:
    """Put the credentials of all accounts under the current master key; repeating it finishes what was left.

    Exit code 1 when some account could not be: nothing is retired then.
    """
    from ops.merchants import reseal

    found = settings()

    async def work() -> int:
        def progress(done: int, of: int) -> None:
            if done % 100 == 0 or done == of:
                typer.echo(f"{done} of {of} accounts", err=True)

        async with a_hub(found) as hub:
            came_to = await reseal(hub, new_key=new_key, retire=retire, progress=progress)
        show(came_to)
        return 1 if came_to["failed"] else 0

    finish(work())


@channel_app.command("new")
def channel_new(
    name: Annotated[str, typer.Argument(help="What the rail will be called, e.g. acorn_pay.")],
    root: Annotated[Path, typer.Option(help="The checkout of this hub to write into.")] = Path(),
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


@channel_app.command("call")
def channel_call(
    channel: Annotated[str, typer.Argument(help="The rail, e.g. wechat.")],
    op: Annotated[
        str,
        typer.Argument(
            help="create, query, close, proceed, reverse, capture, void, refund, refund_query, bill; share, …"
        ),
    ],
    base_url: Annotated[str | None, typer.Option(help="Instead of the one in the credentials.")] = None,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set", help="k=v; e.g. reference, amount (minor units), method, channel_ref, date, credentials=FILE."
        ),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Drive one adapter operation against any base URL and print what was concluded and why.

    Exit codes: 0 the answer was verified and the operation did what was asked; 1 the channel said no; 2 asked for
    wrongly, nothing was sent; 3 nothing certain is known. Credentials come from --set credentials=FILE, else from
    SLUICE_HOME/channels/CHANNEL.json, else, for the sandbox of this home, from its default merchant.
    """
    from channels import HttpTransport, probe
    from kernel.env import system_env

    chosen = dict(pair.partition("=")[::2] for pair in sets)
    home = settings().home

    async def work() -> int:
        try:
            if "credentials" not in chosen and not (home / "channels" / f"{channel}.json").exists():
                facts = _sandbox_credentials(home, channel, base_url)
            else:
                facts = probe.settings_for(channel, home=home, sets=chosen, base_url=base_url)
        except probe.Usage as error:
            fail(str(error), probe.USAGE)
        async with HttpTransport() as transport:
            done = await probe.call(channel, op, facts, chosen, system_env(transport))
        if as_json:
            show(done.result)
        else:
            for name, value in done.result.items():
                typer.echo(f"{name:18} {value}")
        return done.exit_code

    finish(work())


def _sandbox_credentials(home: Path, channel: str, base_url: str | None) -> dict[str, Any]:
    """Return the default merchant of the sandbox in this home. Raises probe.Usage."""
    from channels import probe
    from channels.sandbox.main import NotRunning, info

    try:
        told = info(home)
    except NotRunning as error:
        raise probe.Usage(
            f"there are no credentials for {channel}: give --set credentials=FILE.json ({error})"
        ) from None
    if channel not in told:
        raise probe.Usage(f"the sandbox has no {channel}")
    facts = {"base_url": told["base_url"], **told[channel]["merchants"][0]}
    return facts | ({"base_url": base_url} if base_url else {})


# ---- payment codes -------------------------------------------------------------------------------------------------


@link_app.command("add")
def link_add(
    book: Book,
    name: Annotated[str, typer.Argument(help="For the merchant, e.g. 'counter 1'.")],
    description: Annotated[str, typer.Option(help="What payers see.")],
    amount: Annotated[str | None, typer.Option(help="In major units, e.g. 12.30; left out: the payer says.")] = None,
    minimum: Annotated[str | None, typer.Option(help="Least that the payer may say, in major units.")] = None,
    maximum: Annotated[str | None, typer.Option(help="Most that the payer may say, in major units.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    standing: Annotated[bool, typer.Option("--standing", help="A code to print and put up, not a link.")] = False,
    max_uses: Annotated[int | None, typer.Option(min=1, max=100, help="Payments that may be open or paid.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339, e.g. 2026-12-24T18:00:00+08:00.")] = None,
    as_json: Json = False,
) -> None:
    """Make an address from which payers make payments themselves, and print it."""
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
        async with a_hub(found) as hub:
            made = await add(hub, book, new)
        if as_json:
            show(made)
        else:
            typer.echo(f"{made['id']}  {made['url']}")
        return 0

    finish(work())


@link_app.command("list")
def link_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's payment links and standing codes, newest first."""
    from ops.links import listed

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            rows = await listed(hub, book)
        if as_json:
            show({"links": rows})
            return 0
        for row in rows:
            amount = "the payer says" if row["amount"] is None else row["amount"]
            state = "active" if row["active"] else "inactive"
            typer.echo(f"{row['id']}  {state:8}  {amount} {row['currency']}  {row['name']}\n    {row['url']}")
        return 0

    finish(work())


@link_app.command("qr")
def link_qr(
    book: Book,
    link: Annotated[str, typer.Argument(help="Its id, see `sluice link list`.")],
    file: Annotated[Path, typer.Argument(help="Where to write the picture: .svg or .png.")],
    emvco: Annotated[
        str | None, typer.Option(help="As an EMVCo code instead of an address: NAME:CITY:MCC in ASCII.")
    ] = None,
) -> None:
    """Write the QR code of a link or standing code to a file, to print or send."""
    from ops.links import LinkWrong, picture

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            try:
                content = await picture(hub, book, link, file.suffix, emvco)
            except LinkWrong as wrong:
                fail(str(wrong), 2)
        await asyncio.to_thread(file.write_bytes, content)
        typer.echo(str(file))
        return 0

    finish(work())


@qr_app.command("encode")
def qr_encode(
    name: Annotated[str, typer.Option(help="The merchant's, at most 25 characters of ASCII.")],
    city: Annotated[str, typer.Option(help="At most 15 characters of ASCII.")],
    mcc: Annotated[str, typer.Option(help="Merchant category code 商户类别码, four digits.")],
    account: Annotated[
        list[str],
        typer.Option(help="Whom to pay: ID=TEXT for a card scheme (02 to 25), ID.SUB=TEXT for a template (26 to 51)."),
    ],
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    amount: Annotated[
        str | None, typer.Option(help="In major units, e.g. 12.30; left out: the payer types it.")
    ] = None,
    country: Annotated[str, typer.Option(help="ISO 3166, two letters.")] = "CN",
    postcode: Annotated[str | None, typer.Option()] = None,
    dynamic: Annotated[
        bool | None, typer.Option("--dynamic/--static", help="Made for one payment, or for many.")
    ] = None,
    tip: Annotated[str | None, typer.Option(help="asked, fixed:1.50 or percent:3.50.")] = None,
    additional: Annotated[
        list[str], typer.Option(help="NAME=TEXT or ID=TEXT, e.g. reference=A7, store=1; *** asks the payer.")
    ] = [],  # noqa: B006
    local: Annotated[str | None, typer.Option(help="LANGUAGE:NAME[:CITY], e.g. ZH:最佳运输:北京.")] = None,
    as_json: Json = False,
) -> None:
    """Print the text of a payment code, for a QR code."""
    from channels import emvco
    from kernel.money import from_major

    names = {words: number for number, words in emvco.ADDITIONAL_NAMES.items()}
    try:
        code = emvco.PaymentCode(
            name=name,
            city=city,
            currency=currency,
            mcc=mcc,
            accounts=_accounts(account),
            country=country,
            dynamic=dynamic,
            amount=None if amount is None else from_major(amount, currency),
            tip=None if tip is None else _tip(tip, currency),
            postcode=postcode,
            additional={names.get(key, key): value for key, value in map(_pair, additional)},
            local=None if local is None else emvco.Local(*local.split(":", 2)),
        )
        text = emvco.build(code)
    except emvco.BadCode as bad:
        fail(f"{bad.message} [{bad.code}]")
    except (ValueError, KeyError, TypeError) as error:
        fail(f"that makes no payment code: {error}", 2)
    if as_json:
        show({"text": text, "code": emvco.described(code)})
    else:
        typer.echo(text)


@qr_app.command("decode")
def qr_decode(
    text: Annotated[str, typer.Argument(help="What the QR code holds; - reads it from standard input.")],
    as_json: Json = False,
) -> None:
    """Read a payment code strictly and print what it says; exit code 1 with the reason when it is none."""
    from channels import emvco

    try:
        said = emvco.described(emvco.parse(sys.stdin.read().removesuffix("\n") if text == "-" else text))
    except emvco.BadCode as bad:
        if as_json:
            show({"error": bad.code, "message": bad.message})
            raise typer.Exit(1) from None
        fail(f"{bad.message} [{bad.code}]")
    if as_json:
        show(said)
        return
    for field, value in said.items():
        if value not in (None, {}):
            typer.echo(f"{field:12} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def _pair(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not equals:
        raise ValueError(f"{written!r} is not NAME=TEXT")
    return name, value


def _accounts(written: list[str]) -> dict[str, Any]:
    """Return whom to pay, from ID=TEXT and ID.SUB=TEXT."""
    accounts: dict[str, Any] = {}
    for name, value in map(_pair, written):
        number, dot, part = name.partition(".")
        told = accounts.setdefault(number, {}) if dot else accounts
        if not isinstance(told, dict) or (part or number) in told:
            raise ValueError(f"account {name} is given twice")
        told[part or number] = value
    return accounts


def _tip(written: str, currency: str) -> Any:
    from channels.emvco import Tip, TipKind
    from kernel.money import from_major

    kind, _, value = written.partition(":")
    match TipKind(kind):
        case TipKind.FIXED:
            return Tip(TipKind.FIXED, fixed=from_major(value, currency))
        case TipKind.PERCENT:
            return Tip(TipKind.PERCENT, percent_bp=from_major(value, "CNY").minor)  # two decimals, as fen of a yuan
        case TipKind.ASKED:
            return Tip(TipKind.ASKED)


@bank_app.command("link")
def bank_link(
    book: Book,
    bank: Annotated[str, typer.Argument(help="Your name for the bank, 2 to 10 of a-z0-9.")],
    enrolment: Annotated[
        Path, typer.Option(help="JSON file from the bank's enrolment: base_url, token_file, keys, bic.")
    ],
    name: Annotated[str, typer.Option(help="Name of the pool account.")] = "pool",
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Open a merchant's pool account at a bank, into which its channels pay; repeating it finds the same account."""
    from ops.merchants import link_bank

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            link = await link_bank(hub, book, bank, json.loads(enrolment.read_text()), name=name, currency=currency)
        show({"book": book, "bank": bank, "pool_account": link.pool_account})
        return 0

    finish(work())


@bank_app.command("platform")
def bank_platform(
    book: Book,
    bank: Annotated[str, typer.Argument(help="A bank linked before.")],
    name: Annotated[str, typer.Option(help="The platform's name at the bank.")] = "platform",
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Register the platform as the payee of its commission in a book, with an account of its own at the bank."""
    import splitting
    from ops.merchants import add_platform_payee

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            payee = await add_platform_payee(hub, book, name=name, currency=currency, bank=bank)
        show(splitting.payee_payload(payee))
        return 0

    finish(work())


# ---- settlement and reconciliation ---------------------------------------------------------------------------------


@app.command()
def settle(
    book: Book,
    bank: Annotated[str, typer.Option(help="Name of the bank link.")],
    business_date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Make the settlement batch 结算批次 of a business date and send it to the bank; repeating it goes on."""
    import splitting

    found = settings()
    day = _day(business_date)

    async def work() -> int:
        async with a_hub(found) as hub:
            done = await hub.banks.settle(book, bank, day, currency, execution_date=day + timedelta(days=1))
        show(splitting.settlement_payload(done))
        return 0 if done.status != "created" else 1

    finish(work())


@app.command()
def reconcile(
    book: Book,
    business_date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    account: Annotated[str, typer.Option(help="Channel account.")] = "main",
    bank: Annotated[str | None, typer.Option(help="Bank link; also compares the bank's day after.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Compare a business date 账务日期 with the channel's bill and the bank's files; exit code 1 if they differ."""
    from reconciliation import report
    from reconciliation.daily import Deposit

    found = settings()
    day = _day(business_date)

    async def work() -> int:
        async with a_hub(found) as hub:
            proof = hub.daily_proof()
            deposit = None
            if bank is not None:
                await proof.fetch_bank_files(book, bank)
                starts = {a: s for s, a in (await hub.deposits(book)).items()}
                if account in starts:  # a deposit comes the next working day; holidays may put a week between
                    deposit = Deposit(bank, f"{starts[account]}{day:%Y%m%d}", day + timedelta(days=10))
            runs = [await proof.channel(book, account, day, currency=currency, deposit=deposit)]
            if bank is not None:
                ids = {deposit.end_to_end_id} if deposit else set()
                runs.append(await proof.bank(book, bank, day + timedelta(days=1), currency=currency, deposit_ids=ids))
        shown = [report.of_run(run) for run in runs]
        show(shown)
        return 0 if all(run["agrees"] for run in shown) else 1

    finish(work())


@app.command()
def discrepancies(book: Book, as_json: Json = False) -> None:
    """List what hub, channel and bank disagree about 差错, oldest first, with its age; exit code 1 if there is any."""
    import reconciliation
    from kernel.db import acquire
    from reconciliation import report

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub, acquire(hub.pool) as connection:
            cases = await reconciliation.discrepancies(connection, book, now=hub.env.now(), limit=1000)
        if as_json:
            show(report.of_cases(cases))
        else:
            for case in cases:
                typer.echo(
                    f"{case.business_date}  {case.age_days:>3} d  {case.state:<10} {case.kind:<24} "
                    f"{case.key.reference:<34} {case.ours_minor!s:>10} {case.theirs_minor!s:>10} {case.currency}"
                )
            typer.echo(f"{len(cases)} open")
        return 1 if cases else 0

    finish(work())


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a date like 2026-11-24", 2)


# ---- the main job, and the bench -----------------------------------------------------------------------------------


@app.command()
def replay(
    orders: Annotated[Path | None, typer.Option(help="CSV of order lines; left out: a day is generated.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217 code the amounts are taken to be in.")] = "CNY",
    faults: Annotated[int, typer.Option(help="How many record faults to plant for reconciliation to find.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides faults, disturbances and the generated day.")] = 1,
    disturb: Annotated[bool, typer.Option(help="Also lose, repeat, reorder and forge messages.")] = True,
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
            troubles={"cut": cut, "slow": slow, "lossy": lossy},
            json_file=json_file,
        )
    )


@app.command()
def bench(
    seconds: Annotated[float, typer.Option(help="Of load in each stretch; seven stretches a round.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 3,
    as_json: Json = False,
) -> None:
    """Measure what a payment costs beside the least any handler costs, and what the commit lane gains."""
    from ops.bench import command

    raise typer.Exit(command.run(settings(), seconds=seconds, rounds=rounds, as_json=as_json))


# ---- routing -------------------------------------------------------------------------------------------------------


BookFirst = Annotated[int, typer.Argument(metavar="BOOK", help="The merchant's book number.")]
PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="A routing policy as JSON, see docs/routing.md.")]


def route(work: "Callable[[Hub], Coroutine[Any, Any, int]]") -> NoReturn:
    """Run the body of a routing command on a hub and end with its exit code."""
    from channels.routing import PolicyWrong
    from kernel.safe_json import BadJson

    found = settings()

    async def run() -> int:
        async with a_hub(found) as hub:
            try:
                return await work(hub)
            except (PolicyWrong, BadJson) as wrong:
                fail(f"the policy cannot be understood: {wrong}", 2)

    finish(run())


@route_app.command("explain")
def route_explain(
    payment: Annotated[str, typer.Argument(metavar="PAYMENT", help="pay_…")], as_json: Json = False
) -> None:
    """Tell why each attempt of a payment went where it went, from what was kept with it."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.routing import command

        return command.explain_payment(hub, payment, as_json=as_json)

    route(work)


@route_app.command("replay")
def route_replay(
    book: BookFirst,
    policy: Annotated[Path, typer.Option(help="The other policy, a JSON file.")],
    first: Annotated[str, typer.Option("--from", help="YYYY-MM-DD, the first day, Beijing's.")],
    last: Annotated[str, typer.Option("--to", help="YYYY-MM-DD, the last day.")],
    as_json: Json = False,
) -> None:
    """Decide past payments again under another policy: how many move, what they cost, what success would have been."""
    days = _day(first), _day(last)

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.routing import command

        return command.replay_policy(hub, book, policy, *days, as_json=as_json)

    route(work)


@route_policy_app.command("set")
def route_policy_set(
    book: BookFirst, file: PolicyFile, note: Annotated[str, typer.Option(help="Why, for who reads it later.")]
) -> None:
    """Add a version of a merchant's policy; it holds for every process within a second."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.routing import command

        return command.set_policy(hub, book, file, note)

    route(work)


@route_policy_app.command("show")
def route_policy_show(
    book: BookFirst,
    version: Annotated[int | None, typer.Option(help="Which; left out: the one that holds.")] = None,
    as_json: Json = False,
) -> None:
    """Print the policy that holds, or an earlier one, with who set it, when and why."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.routing import command

        return command.show_policy(hub, book, version, as_json=as_json)

    route(work)


@route_policy_app.command("list")
def route_policy_list(book: BookFirst, as_json: Json = False) -> None:
    """List every version of a merchant's policy, newest first."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.routing import command

        return command.list_policies(hub, book, as_json=as_json)

    route(work)


@route_policy_app.command("check")
def route_policy_check(book: BookFirst, file: PolicyFile) -> None:
    """Read a policy without setting it; exit code 1 if it names what the merchant does not have."""

    def work(hub: "Hub") -> Coroutine[Any, Any, int]:
        from ops.routing import command

        return command.check_policy(hub, book, file)

    route(work)


@route_app.command("bench")
def route_bench(
    payments: Annotated[int, typer.Option(min=1000, help="How many; 100000 are a week.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Decides the world: accounts, chances, payments, luck.")] = 1,
    policy: Annotated[Path | None, typer.Option(help="A routing policy for ours; its margin is everybody's.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here; - prints them instead.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with regret over time here.")] = None,
) -> None:
    """Compare routing with fixed orders, round robin, weights, single rails and an oracle in a simulated world.

    Exit code 1 if it loses more than half of what the best fixed order loses against the oracle, or succeeds more than
    2 % less often than the oracle after the first 20,000 payments.
    """
    from channels.routing.policy import PolicyWrong
    from ops.routing import command

    try:
        code = command.bench(payments, seed, policy, json_file, html)
    except PolicyWrong as wrong:
        fail(f"{policy}: {wrong}", 2)
    except OSError as error:
        fail(f"{error.filename} cannot be used: {error}", 2)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
