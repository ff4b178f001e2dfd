"""Who types commands: the home's own credential, or another person's, and what is recorded of what they do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from kernel.errors import Conflict, Rejected, SluiceError
from ops.secrets_file import NoPepper, secret_file, write_private
from ops.settings import Settings
from ops.wiring import Hub
from people import Act
from people.credentials import new_credential

OWN, OTHERS = "person", "people"  # among the secrets of a home: its own credential, and a folder of others'
FIRST = "operator"  # the name of the first person of a home with servers of its own


@asynccontextmanager
async def acting(
    hub: Hub, settings: Settings, act: Act, what: str, about: str, *, book: int | None = None
) -> AsyncIterator[None]:
    """Do what is inside as the person whom the settings name, and record it.

    Raises what People.acting raises, and Rejected (person_unnamed); that is recorded too.
    """
    try:
        person = await who_acts(hub, settings, act, book=book)
    except SluiceError as error:
        await hub.audit.refused(error.facts.get("person"), act, what, about, book=book, code=error.code)
        raise
    async with hub.audit.recorded(person, act, what, about, book=book):
        yield


async def who_acts(hub: Hub, settings: Settings, act: Act, *, book: int | None = None) -> str | None:
    """Return the name of who acts; None where nobody need be named.

    That is so in a database of one's own until its first person is added; and for what only stops something where the
    key of credentials is lost, so that nobody's could be looked up. A home with servers of its own gets its first
    person here.
    """
    if isinstance(hub.authenticator, NoPepper) and act is Act.STOP:
        return None
    credential = credential_of(settings)
    if await hub.people.nobody_yet():
        if settings.database_url is not None:
            return None
        credential = own_credential(hub, settings.home)
        with suppress(Conflict):  # another command of this home was first, with the same credential
            await hub.people.add_first(FIRST, credential)
    return (await hub.people.acting(credential, act, book=book)).name


def credential_of(settings: Settings) -> str | None:
    """Return the credential that the settings name, else this home's own; None where it has none.

    Raises Rejected (person_unnamed) where one is named and cannot be read.
    """
    path = settings.home / "secrets" / OWN
    if settings.person is not None:
        named = settings.person
        path = Path(named).expanduser() if "/" in named else settings.home / "secrets" / OTHERS / named
    elif not path.exists():
        return None
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("person_unnamed", f"{path} cannot be read as a credential: {error}") from error


def own_credential(hub: Hub, home: Path) -> str:
    """Return the credential of this home, made on first use; readable by its owner alone."""
    hub.authenticator.digest("")  # not where the key of credentials is lost: raises CannotStart
    return secret_file(home, OWN, lambda _: new_credential(hub.env.secrets).encode()).decode()


def keep(home: Path, name: str, credential: str) -> Path:
    """Keep a person's credential in this home, for `--as NAME`; return where."""
    folder = home / "secrets" / OTHERS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    write_private(path, credential.encode())
    return path
