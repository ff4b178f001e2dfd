"""Use cases of persons: who may act, and taking people on."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from kernel.db import Connection, Pool, acquire, transaction
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.states import advance
from people import states, store
from people.approval import Use, use_up
from people.credentials import is_credential, new_credential
from people.roles import CHECKS, Act, Role, checkers, require
from people.tables import Person

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Somebody just added. `credential` is shown this once."""

    person: Person
    credential: str


class People:
    """Knows who acts."""

    def __init__(self, pool: Pool, env: Env, digest: Callable[[str], bytes]) -> None:
        """digest: what is stored in place of a credential; keyed, with a key that is not in the database."""
        self._pool = pool
        self._env = env
        self._digest = digest

    async def nobody_yet(self) -> bool:
        """Tell whether nobody has been added to this database."""
        async with acquire(self._pool) as connection:
            return not await store.some_person(connection)

    async def another_checks(self, name: str, act: Act | None = None, *, active: bool = True) -> bool:
        """Tell whether there is anybody but this person who may agree to such an act; None: to any.

        active: who is not suspended; else also who is.
        """
        able = [role for role in Role if CHECKS[role]] if act is None else checkers(act)
        async with acquire(self._pool) as connection:
            return await store.others(connection, able, name, active=active)

    async def acting(self, credential: str | None, act: Act, *, book: int | None = None) -> Person:
        """Return who acts with this credential, looked up anew each time, so that a suspension holds at once.

        book: the merchant's that the act is about. Raises Rejected (person_unnamed, person_unknown, role_forbids),
        Conflict (person_suspended).
        """
        found = await self._holder(credential)
        require(found.name, Role(found.role), act)
        _check_book(found, book)
        return found

    async def looking(self, credential: str | None, *, book: int | None = None) -> Person:
        """Return who looks with this credential: every role may, merchants' staff at their merchant's book alone.

        Raises what acting raises.
        """
        found = await self._holder(credential)
        _check_book(found, book)
        return found

    async def _holder(self, credential: str | None) -> Person:
        if credential is None:
            raise unnamed()
        found = None
        if is_credential(credential):
            async with acquire(self._pool) as connection:
                found = await store.find_by_digest(connection, self._digest(credential))
        if found is None:
            raise Rejected("person_unknown", "this credential belongs to nobody; was a character lost in copying?")
        if found.status != states.Person.ACTIVE:
            raise Conflict(
                "person_suspended", f"{found.name} is suspended; `sluice person resume` ends that", person=found.name
            )
        return found

    async def add_first(self, name: str, credential: str) -> NewPerson:
        """Add the first person, an operator, with this credential.

        Raises Rejected (person_name_wrong), Conflict (first_person_exists).
        """
        _check_name(name)
        async with transaction(self._pool) as connection:
            await store.lock_people(connection)
            if await store.some_person(connection):
                raise Conflict("first_person_exists", "there are persons already; ask an operator to add others")
            return await self._add(connection, name, Role.OPERATOR, None, credential)

    async def add(self, name: str, role: Role, *, book: int | None = None, use: Use | None = None) -> NewPerson:
        """Add a person. book: of a merchant's staff, their merchant's. use: of the approval that it takes, if it does.

        Raises what check_new raises, and Conflict (approval_unusable).
        """
        async with transaction(self._pool) as connection:
            await store.lock_people(connection)
            await _check_new(connection, name, role, book)
            await use_up(connection, use)
            return await self._add(connection, name, role, book, new_credential(self._env.secrets))

    async def check_new(self, name: str, role: Role, *, book: int | None = None) -> None:
        """See whether somebody could be added so, before anybody is asked about it.

        Raises Rejected (person_name_wrong, staff_book_wrong), NotFound (no_such_book), Conflict (person_exists).
        """
        async with acquire(self._pool) as connection:
            await _check_new(connection, name, role, book)

    async def get(self, name: str) -> Person:
        """Return a person by name. Raises NotFound (no_such_person)."""
        async with acquire(self._pool) as connection:
            return await _get(connection, name)

    async def set_suspended(self, name: str, *, suspended: bool) -> bool:
        """Suspend a person or resume it; return whether that changed anything.

        A suspension withdraws what they asked for or agreed to.
        Raises NotFound (no_such_person), Conflict (last_operator).
        """
        async with transaction(self._pool) as connection:
            await store.lock_people(connection)
            person = await _get(connection, name)
            event = states.PersonEvent.SUSPEND if suspended else states.PersonEvent.RESUME
            becomes = advance(states.PERSON, states.Person(person.status), event)
            if (
                suspended
                and person.role == Role.OPERATOR
                and not await store.other_active(connection, Role.OPERATOR, name)
            ):
                raise Conflict(
                    "last_operator", f"{name} is the last active operator; without one, nobody could resume anybody"
                )
            if becomes == person.status:
                return False
            await store.set_status(connection, name, becomes.value, self._env.now())
            if suspended:
                await store.end_approvals_of(connection, name)
            return True

    async def _add(self, connection: Connection, name: str, role: Role, book: int | None, credential: str) -> NewPerson:
        now = self._env.now()
        person = Person(self._env.ids.new("per"), name, role.value, book, states.Person.ACTIVE.value, now, now)
        await store.add_person(connection, person, self._digest(credential))
        return NewPerson(person, credential)


def unnamed() -> Rejected:
    """Return the refusal of an act of nobody's."""
    return Rejected("person_unnamed", "say who acts: `sluice --as NAME …` or `--as FILE`, or SLUICE_PERSON")


def _check_book(person: Person, book: int | None) -> None:
    """Keep merchants' staff to their merchant's book. Raises Rejected (role_forbids)."""
    if person.merchant_book is not None and person.merchant_book != book:
        raise Rejected("role_forbids", f"{person.name} acts only for book {person.merchant_book}", person=person.name)


async def _get(connection: Connection, name: str) -> Person:
    person = await store.find_by_name(connection, name)
    if person is None:
        raise NotFound("no_such_person", f"there is no person {name}; see `sluice person list`")
    return person


async def _check_new(connection: Connection, name: str, role: Role, book: int | None) -> None:
    _check_name(name)
    if (role is Role.STAFF) != (book is not None):
        raise Rejected("staff_book_wrong", "merchant staff need a merchant's book, and nobody else may have one")
    if book is not None and not await store.is_book(connection, book):
        raise NotFound("no_such_book", f"there is no book {book}; see `sluice merchant list`")
    if await store.find_by_name(connection, name) is not None:
        raise Conflict("person_exists", f"there is, or was, a person {name}; a name is never given twice")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Rejected(
            "person_name_wrong",
            f"{name[:40]!r} cannot be a person's name: begin with a-z, then use a-z 0-9 _ -, at most 31",
        )
