"""The proof of a business date 日终证明: proof, proof list, show, key, rotate, verify."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Json, acting, acting_person, cannot_use, day, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from reconciliation.proof import Certificate

File = Annotated[Path | None, typer.Option("--output", help="Write the certificate into this file.")]


def proof(
    date: Annotated[str, typer.Option("--date", help="The business date, YYYY-MM-DD; it must be over.")],
    output: File = None,
    as_json: Json = False,
) -> None:
    """Prove a business date and sign its certificate: custody at each bank against the bank's statement.

    The sub-accounts, the control accounts and the bank's closing balances must agree. What differs is explained line by
    line: in transit, deposits under way, suspense, bookings at one side only. What has no explanation is named, and the
    certificate says that the proof does not hold. Repeating it gives the same certificate; if something is otherwise
    by then, a further one that names the one it replaces. Exit code 0 if the proof holds, else 1.
    """
    found = settings()
    on = day(date)

    async def work() -> int:
        async with acting(found, "closing", "proof", str(on)) as hub:
            proving = hub.proving()
            for trouble in await proving.fetch(day=on):
                typer.echo(f"sluice: {on_screen(trouble)}", err=True)
            made = await proving.prove(on)
        return _shown(made, output, as_json)

    finish(work())


def proof_list(
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 31, as_json: Json = False
) -> None:
    """List certificates, the newest business date first; exit code 1 if the newest of a date does not hold."""
    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            certificates = await hub.proving().newest(limit)
        if as_json:
            show({"certificates": [_facts(one) for one in certificates]})
        else:
            for one in certificates:
                holds = "holds 平" if one.holds else "DOES NOT HOLD 不平"
                typer.echo(f"{one.business_date} number {one.number}: {holds}  {one.sha256}")
            typer.echo(f"{len(certificates)} shown" if certificates else "no certificate")
        newest = {one.business_date: one for one in reversed(certificates)}
        return int(not all(one.holds for one in newest.values()))

    finish(work())


def proof_show(
    date: Annotated[str, typer.Argument(metavar="DATE", help="The business date, YYYY-MM-DD.")],
    number: Annotated[int | None, typer.Option(min=1, help="Which of the date's; left out: the newest.")] = None,
    output: File = None,
    as_json: Json = False,
) -> None:
    """Show a date's certificate, or give it out; exit code 0 if it says that the proof holds, else 1."""
    found = settings()
    on = day(date)

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            certificate = await hub.proving().find(on, number)
        return _shown(certificate, output, as_json)

    finish(work())


def proof_key(
    key: Annotated[str | None, typer.Option(help="pfk_…, as a certificate names it; left out: the newest.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write it there; left out: to the screen.")] = None,
) -> None:
    """Give out the public key that certificates are verified with, in PEM."""
    from reconciliation.proof import public_pem

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            pem = public_pem(await hub.certificate_keys.public(key))
        if output is None:
            typer.echo(pem, nl=False)
        else:
            output.write_text(pem)
        return 0

    finish(work())


def proof_rotate(as_json: Json = False) -> None:
    """Have certificates from now on signed with a new key; takes two people.

    For a key that somebody may have got hold of, or that no longer opens because the master keys are lost. Certificates
    that were signed before stay good, with the public key that each names. Whoever verifies needs the new public key,
    by a way that he trusts: `sluice proof key`.
    """
    from ops.proofs import rotate_as

    found = settings()

    async def work() -> int:
        async with acting_person(found, "channels", "proof rotate", "certificates") as begun:
            before, made = await rotate_as(begun)
        if as_json:
            show({"key": made, "replaces": before})
        else:
            instead = "" if before is None else f", and no more with {before}"
            typer.echo(f"certificates are signed with {made} from now on{instead}; `sluice proof key` gives it out")
        return 0

    finish(work())


def proof_verify(
    file: Annotated[Path, typer.Argument(help="A certificate, as `sluice proof` wrote it.")],
    public_key: Annotated[Path, typer.Option(help="The hub's public key in PEM, see `sluice proof key`.")],
    as_json: Json = False,
) -> None:
    """Verify a certificate with the public key alone: no hub and no database is needed.

    Exit code 0 if exactly this file was signed with the key, its sums add up, and it says that the proof holds; else 1.
    """
    from kernel.errors import Rejected
    from ops.cli.shared import fail
    from reconciliation.proof import read_public_key, text, verified

    try:
        content, pem = file.read_bytes(), public_key.read_bytes()
    except OSError as error:
        cannot_use(error.filename, error)
    try:
        told = verified(content, read_public_key(pem))
        lines = list(text.of_certificate(told))
    except Rejected as error:
        if as_json:
            show({"good": False, "code": error.code, "why": error.message})
            raise typer.Exit(1) from None
        fail(f"{error.message} [{error.code}]")
    except (KeyError, TypeError, ValueError) as error:
        fail(f"it is signed, and lacks what a certificate says ({error!r})")
    if as_json:
        show({"good": True, "holds": told["holds"], "certificate": told})
    else:
        for line in lines:
            typer.echo(on_screen(line))
        typer.echo("the signature is good 签名有效")
    raise typer.Exit(0 if told["holds"] else 1)


def _facts(one: "Certificate") -> dict[str, Any]:
    return {
        "date": one.business_date.isoformat(),
        "number": one.number,
        "sha256": one.sha256,
        "key": one.key_id,
        "holds": one.holds,
    }


def _shown(one: "Certificate", output: Path | None, as_json: bool) -> int:
    """Show a certificate, write it where that is asked for, and return the exit code."""
    from reconciliation.proof import text

    if output is not None:
        output.write_bytes(one.content)
    if as_json:
        show({**_facts(one), **json.loads(one.content)})
    else:
        for line in text.of_certificate(one.told):
            typer.echo(on_screen(line))
    return 0 if one.holds else 1
