"""What every command needs: the settings, a hub for as long as the command lasts, how a command ends."""

import asyncio
import errno
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from ops.people import Acting
    from ops.settings import Settings
    from ops.wiring import Hub


NOTHING_KNOWN = 3  # the exit code where the database does not answer: neither yes nor no

as_person: ContextVar[str | None] = ContextVar("as_person", default=None)  # whom `sluice --as` names

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Output = Annotated[Path | None, typer.Option("--output", help="Write the same JSON object into this file.")]
OldJsonFile = Annotated[Path | None, typer.Argument(hidden=True)]  # `--json FILE`, which meant what --output means now
Account = Annotated[str, typer.Argument(help="The channel account, see `sluice channel list`.")]
Book = Annotated[int, typer.Option("--book", help="The merchant's book number, see `sluice merchant list`.")]


def _iso(given: str | list[str]) -> str | list[str]:
    """End with what is wrong with a currency on the command line; a misspelt one must not look like one without money.

    given: one, or a list where it may be given several times.
    """
    from kernel.money import is_currency

    for code in [given] if isinstance(given, str) else given:
        if not is_currency(code):
            fail(f"--currency {code[:20]!r} is not in ISO 4217: write CNY for yuan 人民币, in capital letters", 2)
    return given


def currency_option(help: str = "ISO 4217.") -> Any:
    """Return the option --currency of every command that has one, which takes what ISO 4217 has and nothing else."""
    return typer.Option("--currency", help=help, callback=_iso)


Currency = Annotated[str, currency_option()]


def _recall_reason(given: str) -> str:
    """End with what is wrong with a reason of a recall."""
    from channels.banks import RECALL_REASONS

    if given not in RECALL_REASONS:
        known = ", ".join(f"{code} ({says})" for code, says in RECALL_REASONS.items())
        fail(f"--reason {given[:10]!r} is none of {known}", 2)
    return given


RecallReason = Annotated[
    str,
    typer.Option(
        "--reason",
        callback=_recall_reason,
        help="ISO 20022's code: AC03 wrong account, AM09 wrong amount, CUST asked for by the customer, DUPL duplicate, "
        "FRAD fraud, TECH technical fault, UPAY not due.",
    ),
]
RecallNote = Annotated[str, typer.Option("--note", help="For the bank's people, at most 105 characters.")]


def fail(message: str, code: int = 1) -> NoReturn:
    """End with a message on standard error."""
    from ops.logs import fit_to_be_read

    typer.echo(f"sluice: {fit_to_be_read(message)}", err=True)
    raise typer.Exit(code)


def written_to(as_json: bool, output: Path | None, old: Path | None) -> Path | None:
    """Return where figures go: a file, `-` for the screen, or None where nobody wants them as JSON.

    old: what stands after the options: `--json FILE` and `--json -`, as they were before there was --output.
    """
    if old is not None and (not as_json or output is not None):
        fail(f"{old} is one argument too many", 2)
    if output is not None and as_json:
        fail("--json prints and --output writes: take one of them", 2)
    return output or old or (Path("-") if as_json else None)


def on_screen(text: str) -> str:
    """Return what somebody else wrote so that it only shows: no line of its own, no commands to the terminal."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def fact(name: str, value: object, width: int) -> str:
    """Return a fact for people: yes or no, a dash for nothing, one key a line; width: of the names' column."""
    if isinstance(value, Mapping) and value:
        return "\n".join(fact(f"{name}.{key}", one, width) for key, one in value.items())
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        return "\n".join(fact(f"{name}.{n}", one, width) for n, one in enumerate(value, 1))
    return f"  {on_screen(name):{width}} {on_screen(_for_people(value))}"


def _for_people(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_for_people, value)) or "–"
    return "–" if value is None or value == "" or isinstance(value, Mapping) else str(value)


def settings() -> "Settings":
    """Return the settings of this process, or end with all that is wrong with them."""
    from ops.settings import SettingsWrong, load

    try:
        found = load()
        return found if (named := as_person.get()) is None else found.model_copy(update={"person": named})
    except SettingsWrong as wrong:
        fail(str(wrong), 2)


@asynccontextmanager
async def acting(
    found: "Settings", act: str, what: str, about: str, *, book: int | None = None, may_lack_secrets: bool = False
) -> AsyncIterator["Hub"]:
    """Reach the books of this home as the person who acts, for a command that changes something; it is recorded.

    act: one of people.roles.Act. what: the command. about: the id or name of what it is about, never a secret.
    book: the merchant's it is about. Raises what ops.people.acting raises.
    """
    async with acting_person(found, act, what, about, book=book, may_lack_secrets=may_lack_secrets) as begun:
        yield begun.hub


@asynccontextmanager
async def acting_person(
    found: "Settings", act: str, what: str, about: str, *, book: int | None = None, may_lack_secrets: bool = False
) -> AsyncIterator["Acting"]:
    """Do the same for a command that has to know who acts: one that takes two people, or keeps the name."""
    from ops import people
    from people import Act

    async with (
        a_hub(found, may_lack_secrets=may_lack_secrets) as hub,
        people.acting(hub, found, Act(act), what, about, book=book) as begun,
    ):
        yield begun


def finish(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command's coroutine and end with its exit code; errors for people become one line."""
    from asyncpg.exceptions import (
        DataError,
        InterfaceError,
        InternalClientError,
        PostgresError,
        UndefinedColumnError,
        UndefinedTableError,
    )

    from channels.contract import BadBill, BadNotice
    from kernel.db import LOST
    from kernel.errors import SluiceError
    from kernel.outage import said
    from ops import interrupts
    from ops.embedded import CannotStart
    from ops.migrate import MigrationFailed
    from ops.trouble import DatabaseUnusable

    try:
        code = interrupts.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except SluiceError as error:
        facts = f" ({', '.join(f'{k}={v}' for k, v in error.facts.items())})" if error.facts else ""
        fail(f"{error.message}{facts} [{error.code}]", NOTHING_KNOWN if error.code == "database_unavailable" else 1)
    except (UndefinedColumnError, UndefinedTableError) as error:  # the hub runs on, and the code has been renewed
        fail(f"the database has not this code's schema ({error}): start the hub anew, or run `sluice migrate`")
    except DatabaseUnusable as error:
        fail(f"{error}; nothing was looked at", NOTHING_KNOWN)
    except (CannotStart, MigrationFailed, BadBill, BadNotice) as error:
        fail(str(error))
    except json.JSONDecodeError as error:  # a file named on the command line
        fail(f"the file cannot be used: {error}", 2)
    except (OSError, PostgresError, InterfaceError, InternalClientError) as error:
        if getattr(error, "filename", None) is not None:  # a file named on the command line, or one of the home
            cannot_use(getattr(error, "filename", None), error)
        if isinstance(error, DataError) and "out of int" in str(error):
            fail("a number on the command line is larger than any there can be", 2)
        lost = isinstance(error, LOST) and getattr(error, "errno", None) != errno.ENOSPC
        why = "the database, or another server, was lost on the way" if lost else "this was not carried out"
        fail(f"{why}: {said(error)}; see what was done before you repeat it", NOTHING_KNOWN if lost else 1)
    raise typer.Exit(code)


@asynccontextmanager
async def looking(
    found: "Settings", book: int | None = None, *, may_lack_secrets: bool = False, at: int | None = None
) -> AsyncIterator["Hub"]:
    """Reach the books of this home for a command that shows data: with a database of one's own, a person's.

    book: one that must be there. at: the same for a command that says itself where it is not. It is not recorded.
    Raises what ops.people.who_looks raises, and NotFound (no_such_book).
    """
    from ops import people

    async with a_hub(found, may_lack_secrets=may_lack_secrets) as hub:
        await people.who_looks(hub, found, book=book if at is None else at)
        if book is not None:
            await hub.merchants.require(book)
        yield hub


@asynccontextmanager
async def a_hub(found: "Settings", *, may_lack_secrets: bool = False) -> AsyncIterator["Hub"]:
    """Reach the books of this home: the servers that run, or our own for as long as the command lasts.

    For commands that look after the hub itself; those that change something say `acting`, those that show data
    `looking`. may_lack_secrets: for commands that look, or stop something, and so must run where a secret is lost.
    """
    from asyncpg.exceptions import UndefinedColumnError, UndefinedTableError

    from ops import embedded, logs
    from ops.addresses import rule, sandbox_of
    from ops.migrate import migrate
    from ops.people import name_of, record_migrations
    from ops.serve import passwords, public_url
    from ops.trouble import CANNOT_CONNECT, unusable
    from ops.wiring import hub

    if not logging.getLogger().handlers:  # what is wrong is said with whose and why; what is well is not said
        logs.configure("WARNING", found.log_format)
    async with embedded.servers(found) as servers:
        applied = await asyncio.to_thread(migrate, servers.database_url) if servers.own else []
        logs.hide(passwords(servers.database_url, servers.redis_url))
        async with AsyncExitStack() as stack:
            opening = hub(
                database_url=servers.database_url,
                redis_url=servers.redis_url,
                home=found.home,
                keys_file=found.channel_keys,
                public_url=public_url(found),
                addresses=rule(found, sandbox_of(found)),  # who types commands may enter it before it is started
                name="sluice command",
                may_lack_secrets=may_lack_secrets,
            )
            try:
                objects = await stack.enter_async_context(opening)
            except (UndefinedColumnError, UndefinedTableError):  # reached, and of another schema than this code's
                raise
            except CANNOT_CONNECT as error:
                if getattr(error, "filename", None) is not None:  # a file of the home, and no address
                    raise
                raise unusable(error, servers.database_url) from None
            await record_migrations(objects.audit, await name_of(objects, found), "migrate (home opened)", applied)
            yield objects


def show(result: Any) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2, default=str))


def cannot_use(path: object, error: Exception) -> NoReturn:
    """End with what is wrong with a file that was named."""
    why = isinstance(error, OSError) and error.strerror
    fail(f"{path} cannot be used: {why or error}", 2)


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file named on the command line holds, or end with what is wrong with it."""
    try:
        found = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_once)  # Windows begins a file with a mark
    except UnicodeDecodeError:
        fail(f"{path} cannot be used: it is not UTF-8; save it anew as UTF-8", 2)
    except (OSError, ValueError) as error:
        cannot_use(path, error)
    if not isinstance(found, dict):
        fail(f"{path} does not hold a JSON object", 2)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with each field once: of two of a name nobody knows which is meant. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} appears twice in one object; write it once")
    return found


def day(text: str) -> date:
    """Read a date of the command line; the hub has none before 2000 or after 2199."""
    try:
        on = date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a date like 2026-11-24", 2)
    if not 2000 <= on.year < 2200:
        fail(f"{text!r} is no date of this hub's: give one from 2000 to 2199", 2)
    return on
