"""Receivers 分账接收方: as whom a rail knows a payee, at one of the merchant's channel accounts.

Nothing is sent when one is set: a worker tells the rail, until it has answered. Only a payee that is registered so gets
shares from the rail.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from channels.contract import Confirmed, Outcome, Refused, Unknown
from channels.sharing import Receiver, ReceiverKind
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound, Rejected
from kernel.lane import Lanes
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from people import Use, approved
from splitting import states
from splitting.rails import store
from splitting.rails.compile import require_rail
from splitting.rails.limits import AtRail
from splitting.rails.objects import rail_receiver_payload
from splitting.rails.record import CLAIMED_FOR, wait
from splitting.states import ReceiverEvent
from splitting.tables import PAYEES, RAIL_RECEIVERS, RailReceiver
from streams import publish

_FACTS = ("channel", "kind", "account", "name", "relation")


class AccountsAtRails(Protocol):
    """Whoever knows a merchant's channel accounts."""

    async def at_rail(self, book: int, account_id: str) -> AtRail:
        """Return an account. Raises NotFound (no_such_channel_account)."""


@dataclass(frozen=True, slots=True)
class SetReceiver:
    """Have a payee be a receiver at a channel account, in place of what it was there; returns the row.

    The same again changes nothing, but where the rail had refused it: then it is told once more. Raises NotFound
    (no_such_payee).
    """

    row: RailReceiver

    @property
    def book(self) -> int:
        return self.row.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.row.payee_id)
        yield RAIL_RECEIVERS, self.row[:3]

    def apply(self, work: Work) -> RailReceiver:
        work.head(self.book)
        if work.find(PAYEES, (self.book, self.row.payee_id)) is None:
            raise NotFound("no_such_payee", f"there is no payee {self.row.payee_id}", param="payee")
        there = work.find(RAIL_RECEIVERS, self.row[:3])
        row = self.row._replace(due_at=work.now, created_at=work.now, updated_at=work.now)
        if there is not None:
            same = all(getattr(there, name) == getattr(row, name) for name in _FACTS)
            if same and there.status != states.Receiver.REFUSED:
                return there
            status = advance(states.RECEIVER, states.Receiver(there.status), ReceiverEvent.SET)
            row = row._replace(status=status.value, created_at=there.created_at)
        work.put(RAIL_RECEIVERS, row)
        publish(work, self.book, "rail_receiver.set", row.payee_id, rail_receiver_payload(row))
        return row


@dataclass(frozen=True, slots=True)
class ClaimReceiver:
    """Note that a rail is about to be told of a receiver; None where another does so, or it is not to be told now."""

    book: int
    payee_id: str
    channel_account: str
    seen: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield RAIL_RECEIVERS, (self.book, self.payee_id, self.channel_account)

    def apply(self, work: Work) -> RailReceiver | None:
        work.head(self.book)
        row = work.get(RAIL_RECEIVERS, (self.book, self.payee_id, self.channel_account))
        if row.due_at is None or row.try_count != self.seen:
            return None
        row = row._replace(try_count=row.try_count + 1, due_at=work.now + CLAIMED_FOR)
        work.put(RAIL_RECEIVERS, row)
        return row


@dataclass(frozen=True, slots=True)
class RecordReceiver:
    """Record what a rail said of a receiver; returns the row. One that was set anew meanwhile is left as it is.

    told: as it was told of.
    """

    told: RailReceiver
    said: Outcome
    scale: float

    @property
    def book(self) -> int:
        return self.told.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield RAIL_RECEIVERS, self.told[:3]

    def apply(self, work: Work) -> RailReceiver:
        work.head(self.book)
        row, said = work.get(RAIL_RECEIVERS, self.told[:3]), self.said
        if row.status != states.Receiver.REGISTERING or any(
            getattr(row, name) != getattr(self.told, name) for name in _FACTS
        ):
            return row
        event = None
        if isinstance(said, Confirmed):
            event = ReceiverEvent.ACCEPTED
            row = row._replace(code=None, message=None)
        elif isinstance(said, Refused):
            event = None if said.retriable else ReceiverEvent.REFUSED
            row = row._replace(code=said.code[:80], message=f"{said.code}: {said.message}"[:500])
        elif isinstance(said, Unknown):
            row = row._replace(message=said.reason[:500])
        if event is None:
            row = row._replace(due_at=work.now + wait(row.try_count, self.scale), updated_at=work.now)
            work.put(RAIL_RECEIVERS, row)
            return row
        status = advance(states.RECEIVER, states.Receiver(row.status), event)
        row = row._replace(status=status.value, due_at=None, updated_at=work.now)
        work.put(RAIL_RECEIVERS, row)
        publish(work, self.book, f"rail_receiver.{status}", row.payee_id, rail_receiver_payload(row))
        return row


class Receivers:
    """Use cases of receivers."""

    def __init__(self, lanes: Lanes, pool: Pool, env: Env, accounts: AccountsAtRails) -> None:
        self._lanes = lanes
        self._pool = pool
        self._env = env
        self._accounts = accounts

    async def set(
        self,
        book: int,
        payee_id: str,
        channel_account: str,
        *,
        kind: ReceiverKind,
        account: str,
        name: str = "",
        relation: str = "",
        by: str,
        use: Use | None = None,
    ) -> RailReceiver:
        """Have a payee be a receiver at a channel account; a worker tells the rail.

        use: of the approval that it takes, if it does. Raises NotFound (no_such_channel_account, no_such_payee),
        Rejected (rail_cannot_share).
        """
        at = await self._accounts.at_rail(book, channel_account)
        limits = require_rail(at.channel)
        if kind not in limits.receiver_kinds:
            kinds = ", ".join(sorted(limits.receiver_kinds))
            raise Rejected("rail_cannot_share", f"{limits.name} knows receivers by {kinds}, not {kind}", param="kind")
        if kind in limits.named and not name:
            raise Rejected(
                "rail_cannot_share",
                f"{limits.name} knows a receiver by {kind} together with its name only",
                param="name",
            )
        now = self._env.now()
        row = RailReceiver(
            book, payee_id, channel_account, at.channel, kind.value, account, name, relation,
            states.Receiver.REGISTERING.value, None, None, 0, now, by, now, now,
        )  # fmt: skip
        done: RailReceiver = await self._lanes.put(approved(SetReceiver(row), use))
        return done

    async def listed(self, book: int, payee_id: str | None = None) -> Sequence[RailReceiver]:
        """Return a merchant's receivers, or one payee's, by payee and channel account; at most ten thousand."""
        async with acquire(self._pool) as connection:
            return await store.receivers(connection, book, payee_id)


def told(row: RailReceiver) -> Receiver:
    """Return a receiver as its rail is told of it."""
    return Receiver(ReceiverKind(row.kind), row.account, row.name, row.relation)
