"""Approvals 审批: what takes two people is asked for by one, agreed to by another, and then done once.

An approval is of one thing: the command with every argument, as canonical JSON, and its SHA-256. Whoever asked repeats
the command; what is carried out then is held against that hash, in the commit that uses the approval up.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Generic, NamedTuple, TypeVar

from kernel.db import Connection, Pool, acquire, transaction
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.states import advance
from kernel.work import Command, Need, Work
from people import states, store
from people.roles import Act, Role, require_check
from people.tables import APPROVALS, Approval, Person

LASTS = timedelta(hours=24)  # from the asking on; what is not used by then is asked for anew
_T = TypeVar("_T")


class What(NamedTuple):
    """What somebody wants to do: a command with every argument that decides what it does.

    act: the kind of act, by which roles say who may agree. arguments: JSON values; no secret stands here, a keyed
    digest does. about: the object's id or name. book: the merchant's it is about.
    """

    act: Act
    command: str
    about: str
    arguments: Mapping[str, Any]
    book: int | None = None

    @property
    def text(self) -> str:
        """Return it as canonical JSON: keys sorted, no spaces."""
        told = {**self._asdict(), "act": self.act.value, "arguments": dict(self.arguments)}
        return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> bytes:
        """Return the SHA-256 of that text."""
        return sha256(self.text.encode()).digest()


class Use(NamedTuple):
    """The one use that is about to be made of an approval: by whom, for what."""

    approval_id: str
    what_hash: bytes
    maker: str
    use_id: str  # made for this attempt, so that its own commit may be repeated


@dataclass(frozen=True, slots=True)
class Approved(Generic[_T]):
    """A command of the commit lane that uses an approval up in its own batch; refused together with it.

    Raises Conflict (approval_unusable), and what the command raises. Returns what the command returns.
    """

    command: Command[_T]
    use: Use

    @property
    def book(self) -> int:
        return self.command.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield APPROVALS, (self.use.approval_id,)
        yield from self.command.needs(work)

    def apply(self, work: Work) -> _T:
        found = work.find(APPROVALS, (self.use.approval_id,))
        if found is None or (found.what_hash, found.maker) != (self.use.what_hash, self.use.maker):
            raise unusable(self.use.approval_id, "it is for something else")
        if found.status == states.Approval.USED and found.use_id == self.use.use_id:
            return self.command.apply(work)  # the answer to the commit was lost, and this is the same attempt
        if found.status != states.Approval.APPROVED:
            raise unusable(found.id, f"it is {found.status}")
        done = self.command.apply(work)
        used = advance(states.APPROVAL, states.Approval(found.status), states.ApprovalEvent.USE)
        work.put(APPROVALS, found._replace(status=used.value, use_id=self.use.use_id, status_at=work.now))
        return done


def approved(command: Command[_T], use: Use | None) -> Command[_T]:
    """Return a command that uses an approval, or the command itself where it takes one person alone."""
    return command if use is None else Approved(command, use)


async def use_up(connection: Connection, use: Use | None) -> None:
    """Use an approval up in the caller's transaction, where it is no batch of the lane; nothing where there is none.

    Raises Conflict (approval_unusable).
    """
    if use is None:
        return
    found = await store.find_approval(connection, use.approval_id)
    if found is None or (found.what_hash, found.maker) != (use.what_hash, use.maker):
        raise unusable(use.approval_id, "it is for something else")
    if not await store.set_used(connection, use.approval_id, use.use_id):
        raise unusable(found.id, f"it is {found.status}")


class Approvals:
    """Use cases of approvals."""

    def __init__(self, pool: Pool, env: Env) -> None:
        self._pool = pool
        self._env = env

    async def ready(self, maker: str, what: What) -> Use:
        """Return the use of an approval that somebody else has agreed to; else ask for it.

        Raises Conflict (approval_asked): nothing was done, and another person is to be asked.
        """
        async with transaction(self._pool) as connection:
            await store.run_out(connection)
            new = self._env.ids.new("apr")
            asked = await store.ask_approval(
                connection, new, what.act.value, what.text, what.about, what.book, maker, int(LASTS.total_seconds())
            )
            found = await store.open_approval(connection, what.hash, maker)
        if found is None:  # used, or withdrawn, in the moment between
            raise Conflict("approval_moved", "another command has used or ended this approval just now; see the list")
        if found.status == states.Approval.APPROVED:
            return Use(found.id, found.what_hash, maker, self._env.ids.new("use"))
        raise Conflict(
            "approval_asked",
            f"this takes two people, and nothing was done{'' if asked else ' yet'}: have another person look at "
            f"`sluice approval show {found.id}` and say `sluice approval approve {found.id}`, then repeat this "
            f"command before {found.expires_at:%Y-%m-%d %H:%M} UTC",
            approval=found.id,
        )

    async def get(self, approval_id: str) -> Approval:
        """Return an approval as it stands now. Raises NotFound (no_such_approval)."""
        async with acquire(self._pool) as connection:
            return await _get(connection, approval_id)

    async def check(self, approval_id: str, checker: Person, *, agrees: bool, note: str = "") -> Approval:
        """Agree to what another person has asked for, or refuse it; return it as it stands then.

        Whoever may check it refuses it also after somebody has agreed, until it is used. Raises NotFound
        (no_such_approval), Rejected (role_forbids, approval_is_ones_own), Conflict (approval_over, approval_unusable).
        """
        event = states.ApprovalEvent.APPROVE if agrees else states.ApprovalEvent.REFUSE
        async with transaction(self._pool) as connection:
            found = await _get(connection, approval_id)
            if [json.loads(found.what).get(one) for one in ("act", "about", "book")] != [
                found.act,
                found.about,
                found.merchant_book,
            ]:
                raise unusable(found.id, "it does not say what it is for")
            require_check(checker.name, Role(checker.role), Act(found.act))
            if found.maker == checker.name:
                raise Rejected("approval_is_ones_own", f"{checker.name} has asked for it, and another person is to say")
            return await _move(connection, found, event, checker.name, note)

    async def withdraw(self, approval_id: str, person: Person) -> Approval:
        """Take back what one has asked for; return it as it stands then.

        Raises NotFound (no_such_approval), Rejected (approval_is_anothers), Conflict (approval_over).
        """
        async with transaction(self._pool) as connection:
            found = await _get(connection, approval_id)
            if found.maker != person.name:
                raise Rejected("approval_is_anothers", f"{found.maker} has asked for it; you may refuse it")
            return await _move(connection, found, states.ApprovalEvent.WITHDRAW, None, found.note)


def unusable(approval_id: str, why: str) -> Conflict:
    """Return the refusal of an act whose approval is not for it, or not any more."""
    return Conflict("approval_unusable", f"{approval_id} does not allow this: {why}; nothing was done")


async def _get(connection: Connection, approval_id: str) -> Approval:
    found = await store.find_approval(connection, approval_id)
    if found is None:
        raise NotFound("no_such_approval", f"there is no approval {approval_id}; see `sluice approval list --all`")
    return found


async def _move(
    connection: Connection, found: Approval, event: states.ApprovalEvent, checker: str | None, note: str
) -> Approval:
    status = states.Approval(found.status)
    if (status, event) not in states.APPROVAL:
        raise Conflict("approval_over", f"{found.id} is {found.status}: there is nothing more to say to it")
    becomes = advance(states.APPROVAL, status, event)
    if not await store.set_checked(connection, found.id, found.status, becomes.value, checker, note):
        raise Conflict("approval_over", f"somebody else was first with {found.id}; see `sluice approval show`")
    return await _get(connection, found.id)
