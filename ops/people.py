"""Who types commands: the home's own credential, or another person's, and what is recorded of what they do."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from kernel.db import acquire
from kernel.errors import Conflict, Rejected, SluiceError
from ops.secrets_file import NoPepper, secret_file, write_private
from ops.settings import Settings
from ops.wiring import Hub
from people import Act, Audit, NewPerson, Person, Role, Use, What, store
from people.audit import Ending
from people.credentials import new_credential
from people.people import unnamed
from people.roles import CHECKS, checkers

OWN, OTHERS = "person", "people"  # among the secrets of a home: its own credential, and a folder of others'
FIRST = "operator"  # the name of the first person of a home with servers of its own


@dataclass(frozen=True, slots=True)
class Acting:
    """An act that has begun: who acts (None: nobody is named), and what its last record is to say besides."""

    hub: Hub
    settings: Settings
    person: Person | None
    ending: Ending

    @property
    def somebody(self) -> Person:
        """Return who acts. Raises Rejected (person_unnamed) where nobody is named."""
        if self.person is None:
            raise unnamed()
        return self.person

    @property
    def name(self) -> str:
        """Return the name of who acts. Raises Rejected (person_unnamed) where nobody is named."""
        return self.somebody.name

    async def second(self, what: What) -> Use | None:
        """Return the use of another person's approval of this; None where the act takes one person alone.

        Raises Conflict (approval_asked) where nobody has agreed yet: it is asked for now. Raises Rejected
        (second_person_missing) where there is nobody who could.
        """
        if not await _takes_two(self.hub, self.settings, self.name, what.act):
            return None
        use = await self.hub.approvals.ready(self.name, what)
        self.ending.detail = use.approval_id
        return use


@asynccontextmanager
async def acting(
    hub: Hub, settings: Settings, act: Act, what: str, about: str, *, book: int | None = None
) -> AsyncIterator[Acting]:
    """Do what is inside as the person whom the settings name, and record it.

    Raises what People.acting raises, and Rejected (person_unnamed); that is recorded too.
    """
    try:
        person = await who_acts(hub, settings, act, book=book)
    except SluiceError as error:
        await hub.audit.refused(error.facts.get("person"), act, what, about, book=book, code=error.code)
        raise
    name = None if person is None else person.name
    async with hub.audit.recorded(name, act, what, about, book=book) as ending:
        yield Acting(hub, settings, person, ending)


async def _takes_two(hub: Hub, settings: Settings, name: str, act: Act) -> bool:
    """Tell whether an act of this kind takes a second person. Raises Rejected (second_person_missing).

    It does wherever there is somebody who may agree. Where there is nobody, it is refused; but a home on trial has one
    person. It is on trial no more once there has been another who may agree to anything: nobody comes to be alone by
    suspending the others.
    """
    if await hub.people.another_checks(name, act):
        return True
    if not await hub.people.another_checks(name, active=False) and await on_trial(hub, settings):
        return False
    raise Rejected(
        "second_person_missing",
        f"this takes two people, and nobody but {name} could agree to it ({' or '.join(checkers(act))}); an operator "
        "adds or resumes one: `sluice person add NAME --role ROLE`",
    )


async def on_trial(hub: Hub, settings: Settings) -> bool:
    """Tell whether no money here is anybody's: servers of its own, rails and banks only ever on this machine.

    An account that was once elsewhere counts: its money is where it was, whatever address it has been given since.
    """
    if settings.database_url is not None:
        return False
    async with acquire(hub.pool) as connection:
        return all(_on_this_machine(one) for one in await store.addresses_used(connection))


def _on_this_machine(address: str) -> bool:
    host = None
    try:
        host = urlsplit(address).hostname
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def who_acts(hub: Hub, settings: Settings, act: Act, *, book: int | None = None) -> Person | None:
    """Return who acts; None where nobody need be named.

    That is so for what only stops something where the key of credentials is lost, so that nobody's could be looked up.
    A home with servers of its own gets its first person here; in a database of one's own somebody has to be added
    first. Raises Rejected (first_person_missing), and what People.acting raises.
    """
    if isinstance(hub.authenticator, NoPepper) and act is Act.STOP:
        return None
    credential = credential_of(settings)
    if await hub.people.nobody_yet():
        if settings.database_url is not None:
            raise nobody_yet()
        credential = own_credential(hub, settings.home)
        with suppress(Conflict):  # another command of this home was first, with the same credential
            await hub.people.add_first(FIRST, credential)
    return await hub.people.acting(credential, act, book=book)


async def who_looks(hub: Hub, settings: Settings, *, book: int | None = None) -> Person | None:
    """Return who looks at data; None where nobody need be named.

    That is so in a home with servers of its own, unless somebody is named: whoever can read the home can read all of
    it; and where the key of credentials is lost, for then there are commands to look with or none. Raises Rejected
    (first_person_missing), and what People.looking raises.
    """
    if isinstance(hub.authenticator, NoPepper) or (settings.database_url is None and settings.person is None):
        return None
    credential = credential_of(settings)
    if credential is None and await hub.people.nobody_yet():
        raise nobody_yet()
    return await hub.people.looking(credential, book=book)


def nobody_yet() -> Rejected:
    """Return the refusal of what a person does, in a database in which there is none."""
    return Rejected(
        "first_person_missing",
        "there is nobody in this database yet: `sluice person add NAME --first` adds its first operator, and keeps the "
        "credential in this home",
    )


async def name_of(hub: Hub, settings: Settings) -> str | None:
    """Return whose credential the settings name, for a record of what needs nobody's; None where it is nobody's."""
    if isinstance(hub.authenticator, NoPepper):
        return None
    with suppress(SluiceError):
        return (await hub.people.looking(credential_of(settings))).name
    return None


async def record_migrations(audit: Audit, person: str | None, what: str, applied: Sequence[str]) -> None:
    """Leave a record of migrations that were applied; nothing where there were none.

    It is written afterwards, because the first of them makes the log, and needs no person, because they are the act of
    the database's owner. what: the command.
    """
    if applied:
        about = applied[0] if len(applied) == 1 else f"{applied[0]} to {applied[-1]}"
        async with audit.recorded(person, Act.SCHEMA, what, about):
            pass


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
    except FileNotFoundError as error:
        kept = "kept in this home: `sluice person add --keep` keeps one" if path.parent.name == OTHERS else "there"
        raise Rejected("person_unnamed", f"no credential of {path.name} is {kept}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("person_unnamed", f"{path} cannot be read as a credential: {error}") from error


def own_credential(hub: Hub, home: Path) -> str:
    """Return the credential of this home, made on first use; readable by its owner alone."""
    hub.authenticator.digest("")  # not where the key of credentials is lost: raises CannotStart
    return secret_file(home, OWN, lambda _: new_credential(hub.env.secrets).encode()).decode()


async def add_first_here(hub: Hub, home: Path, name: str) -> NewPerson:
    """Add the first person of a database of one's own, whose credential this home keeps.

    Raises what People.add_first raises; then no credential that is nobody's is left.
    """
    path = home / "secrets" / OWN
    had = path.exists()
    credential = own_credential(hub, home)
    try:
        return await hub.people.add_first(name, credential)
    except SluiceError:
        try:
            await hub.people.looking(credential)  # another command of this home was first, with the same
        except Rejected:
            if not had:
                path.unlink()
        raise


async def add_as(acting: Acting, name: str, role: Role, *, book: int | None = None) -> NewPerson:
    """Add a person as the one who acts; whoever may agree to anything of others' is added by two.

    The first operator adds the second alone, and nobody else who may agree: from then on, every act has two people.
    Raises what People.add and Acting.second raise.
    """
    people, use = acting.hub.people, None
    await people.check_new(name, role, book=book)
    second = role is Role.OPERATOR and not await people.another_checks(acting.name, Act.PEOPLE, active=False)
    if CHECKS[role] and not second:
        use = await acting.second(What(Act.PEOPLE, "person add", name, {"role": role.value}))
    return await people.add(name, role, book=book, use=use)


def keep(home: Path, name: str, credential: str) -> Path:
    """Keep a person's credential in this home, for `--as NAME`; return where."""
    folder = home / "secrets" / OTHERS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    write_private(path, credential.encode())
    return path
