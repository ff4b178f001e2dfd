"""Files from banks: bank files list, show, get, release, replace, discard."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.shared import Book, Json, acting_person, fact, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from ops.people import Acting
    from splitting.tables import BankFile

app = typer.Typer(
    no_args_is_help=True,
    help="Files that banks have sent 银行文件: each is kept as it came, with its SHA-256 and what became of it.",
)
File = Annotated[str, typer.Argument(metavar="FILE", help="The file's id, bkf_…, see `sluice bank files list`.")]
Note = Annotated[str, typer.Option(help="Why, and what the bank said; kept for ever.")]


@app.command("list")
def files_list(
    book: Book,
    bank: Annotated[str | None, typer.Option(help="Only of this bank link.")] = None,
    fate: Annotated[
        str | None, typer.Option(help="Only: received, applied, repeated, quarantined, discarded, offered.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    as_json: Json = False,
) -> None:
    """List a merchant's files from banks, newest first; exit code 1 if one of those shown is quarantined, else 0."""
    import splitting
    from kernel.db import acquire
    from kernel.errors import NotFound
    from splitting.banks import fates
    from splitting.states import FileFate

    found = settings()
    if fate is not None and fate not in list(FileFate):
        fail(f"{fate} is no fate of a file; there are {', '.join(FileFate)}", 2)

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            if bank is not None and await splitting.store.find_bank_link(connection, book, bank) is None:
                raise NotFound("no_such_bank", f"bank {bank} is not linked to book {book}; see `sluice bank list`")
            files = await splitting.store.bank_files(connection, book, bank=bank, fate=fate, limit=limit)
        if as_json:
            show({"files": [fates.payload(file) for file in files]})
        else:
            for file in files:
                typer.echo(_line(file))
            typer.echo(f"{len(files)} shown" if files else "no file")
        return int(any(file.fate == FileFate.QUARANTINED for file in files))

    finish(work())


@app.command("show")
def files_show(file: File, as_json: Json = False) -> None:
    """Show one file: what it is, its hash, what became of it, when and by whom; exit code 1 if there is none."""
    import cases
    from ops.banks import get_file
    from splitting.banks import fates

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            row = await get_file(hub, file)
        told = fates.payload(row)
        if row.fate == "quarantined":
            told["case"] = cases.case_id(row.book, fates.SET_ASIDE, fates.about(row))
        if as_json:
            show(told)
            return 0
        for name, value in told.items():
            if value is not None and name != "object":
                typer.echo(fact(name, value, 14))
        if row.fate == "quarantined":
            typer.echo(f'sluice bank files release|replace|discard {row.id} --note "why"')
        return 0

    finish(work())


@app.command("get")
def files_get(
    file: File,
    output: Annotated[Path | None, typer.Option(help="Write it there; left out: to the standard output.")] = None,
) -> None:
    """Give out a file's bytes, exactly as the bank sent them."""
    from ops.banks import get_file

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            content = await hub.banks.files.content(await get_file(hub, file))
        if output is None:
            typer.get_binary_stream("stdout").write(content)
        else:
            output.write_bytes(content)
        return 0

    finish(work())


@app.command("release")
def files_release(file: File, note: Note, as_json: Json = False) -> None:
    """Apply what is kept of a quarantined file, though its totals or ids are not what they should be.

    Takes two people. What cannot be read, and what the bank has not signed, is not applied by this. Exit code 1 if an
    approval is still needed, or if something of the file still cannot be applied.
    """
    from ops.banks import release_as

    _decide("release", file, as_json, lambda begun: release_as(begun, file, note=note))


@app.command("replace")
def files_replace(
    file: File,
    by: Annotated[Path, typer.Option("--with", help="The file as the bank has sent it another way.")],
    note: Note,
    as_json: Json = False,
) -> None:
    """Apply another file in place of a quarantined one, which is discarded; takes two people.

    The new file is kept at once, under an id of its own, so that the second person can look at it. Exit code 1 if an
    approval is still needed, or if something of the new file cannot be applied: then that is quarantined.
    """
    from ops.banks import replace_as

    _decide("replace", file, as_json, lambda begun: replace_as(begun, file, by, note=note))


@app.command("discard")
def files_discard(file: File, note: Note, as_json: Json = False) -> None:
    """Apply nothing more of a quarantined file, and stop asking the bank for it; takes two people."""
    from ops.banks import discard_as

    _decide("discard", file, as_json, lambda begun: discard_as(begun, file, note=note))


def _decide(word: str, file: str, as_json: bool, act: "Callable[[Acting], Awaitable[BankFile]]") -> None:
    from splitting.banks import fates

    found = settings()

    async def work() -> int:
        async with acting_person(found, "cases", f"bank files {word}", file) as begun:
            row = await act(begun)
        if as_json:
            show(fates.payload(row))
        else:
            typer.echo(_line(row))
        return int(row.fate == "quarantined")

    finish(work())


def _line(file: "BankFile") -> str:
    why = f"  {file.code}: {on_screen(file.why or '')}" if file.fate == "quarantined" else ""
    by = "" if file.fate_by == "sluice" else f" by {on_screen(file.fate_by)}"
    at = f"{file.fate_at:%Y-%m-%d %H:%M} UTC"
    told = f"{file.id}  {file.bank:<10} {file.type:<8} {file.business_date}  {file.fate}{by} {at}"
    return f"{told}  {on_screen(file.name)}{why}"
