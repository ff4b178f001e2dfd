"""The way to rails that share out: receivers told, share orders sent and asked about, shares fetched back.

Every call is made between two commits: one says that it is about to be made, the other what came of it. An account
whose rail is slow keeps only its own waiting.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from channels.client import ChannelClient, SharingClient
from channels.contract import Outcome, Unknown
from channels.sharing import Receiver, ReceiverKind, Shared
from channels.sharing import ShareReturn as Return
from kernel.db import AGAIN, LOST, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import SluiceError
from kernel.lane import Lanes
from kernel.money import Money
from kernel.turns import Turns
from splitting.rails import store
from splitting.rails.own_release import RecordLeft
from splitting.rails.parts import as_frozen, at_channel, parts_of, reference_of
from splitting.rails.receivers import ClaimReceiver, RecordReceiver, told
from splitting.rails.record import (
    Claimed,
    ClaimedReturn,
    ClaimReturn,
    ClaimSharing,
    RecordReturn,
    RecordSharing,
)
from splitting.rails.store import DueReturn
from splitting.tables import RailPayment, RailReceiver, ShareOrder

log = logging.getLogger(__name__)
AT_A_TIME = 200
LOOK_EVERY_S, LEAST_S = 1.0, 0.1  # the least with a fast clock: a look costs what it costs by any clock
Row = RailReceiver | RailPayment | ShareOrder | DueReturn


class Clients(Protocol):
    """Whoever opens a merchant's channel accounts."""

    async def client(self, book: int, account_id: str) -> ChannelClient:
        """Return a client. Raises NotFound, Unavailable while the account does not open."""


class RailWorker:
    """Drives what rails are to share out to its end. time_scale: shortens waits for a sandbox's fast clock."""

    def __init__(self, clients: Clients, pool: Pool, lanes: Lanes, env: Env, *, time_scale: float = 1.0) -> None:
        self._clients = clients
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._scale = time_scale
        self._turns: Turns[str, None] = Turns(env, "sharing out at rails")
        self._told_of: dict[tuple[int, str], str] = {}  # of which fault, by book and id

    async def run(self) -> None:
        """Work for as long as the worker runs."""
        while True:
            try:
                await self.begin()
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "a round of sharing out at rails failed; it goes on", error)
            await self._env.sleep(max(LOOK_EVERY_S * self._scale, LEAST_S))

    async def begin(self) -> int:
        """Begin a turn of each account of which something is due; return of how many things."""
        now, busy = self._env.now(), self._turns.keys
        async with acquire(self._pool) as connection:
            due: list[Row] = [*await store.due_receivers(connection, now, busy, AT_A_TIME)]
            due += await store.due_orders(connection, now, busy, AT_A_TIME)
            due += await store.due_returns(connection, now, busy, AT_A_TIME)
            due += await store.due_to_ask(connection, now, busy, AT_A_TIME)
        by_account: dict[str, list[Row]] = {}
        for row in due:
            by_account.setdefault(f"{row.book}/{row.channel_account}", []).append(row)
        for account, rows in by_account.items():
            self._turns.begin(account, self._turn(rows))
        return len(due)

    async def once(self) -> int:
        """Do what is due now, and wait for it; return of how many things it was."""
        found = await self.begin()
        for turn in self._turns.tasks:
            await turn
        return found

    async def _turn(self, rows: Sequence[Row]) -> None:
        for row in rows:
            try:
                if isinstance(row, RailReceiver):
                    await self._bind(row)
                elif isinstance(row, ShareOrder):
                    await self._share(row)
                elif isinstance(row, RailPayment):
                    await self._look(row)
                else:
                    await self._fetch(row)
            except SluiceError as error:  # the account does not open, a book is locked: it stays due
                tell(log, "a rail could not be asked now; it stays due", error, account=row.channel_account)
            except (*LOST, *AGAIN):
                raise
            except Exception as error:  # of this row alone: the next is done
                self._tell_fault(row, error)

    def _tell_fault(self, row: Row, error: Exception) -> None:
        """Tell of a row that cannot be worked on, which stays due; once of each fault."""
        of = row.row.id if isinstance(row, DueReturn) else row.payee_id if isinstance(row, RailReceiver) else row.id
        if self._told_of.get((row.book, of)) != repr(error):
            self._told_of[row.book, of] = repr(error)
            facts = {"book": row.book, "of": of, "account": row.channel_account}
            tell(log, "what a rail is to share out cannot be worked on; the others are", error, **facts)

    async def _bind(self, row: RailReceiver) -> None:
        rail = SharingClient(await self._clients.client(row.book, row.channel_account))
        claimed = await self._lanes.put(ClaimReceiver(row.book, row.payee_id, row.channel_account, row.try_count))
        if claimed is None:
            return
        said = await rail.bind(told(claimed), f"{claimed.payee_id[4:]}-{claimed.try_count}")
        await self._lanes.put(RecordReceiver(claimed, said, self._scale))

    async def _look(self, paid: RailPayment) -> None:
        """Ask how much of a payment is frozen, where its rail tells."""
        said: Outcome | None = None
        if paid.released_on is None:
            rail = SharingClient(await self._clients.client(paid.book, paid.channel_account))
            said = await rail.frozen(as_frozen(paid)) if rail.tells_frozen else None
        await self._lanes.put(RecordLeft(paid.book, paid.id, said, self._scale))

    async def _share(self, row: ShareOrder) -> None:
        rail = SharingClient(await self._clients.client(row.book, row.channel_account))
        if row.sent_count:
            asked = await self._claim(row, row.sent_count, send=False)
            if asked is None:
                return
            said = await rail.share_query(at_channel(*asked))
            row = asked.order
            unknown = isinstance(said.whole, Unknown) and said.whole.not_found
            if not unknown or row.code is not None:
                await self._record(row, said, answers_message=False)
                return
        claimed = await self._claim(row, row.sent_count, send=True)
        if claimed is not None:
            await self._record(row, await self._told(rail, claimed), answers_message=True)

    async def _told(self, rail: SharingClient, claimed: Claimed) -> Shared:
        """Send an order; where refunds took all of its shares, only the rest is released."""
        order = at_channel(*claimed)
        if order.shares:
            return await rail.share(order)
        return Shared(await rail.release(order))

    async def _claim(self, row: ShareOrder, seen: int, *, send: bool) -> Claimed | None:
        claimed: Claimed | None = await self._lanes.put(ClaimSharing(row.book, row.id, self._scale, send, seen))
        return claimed

    async def _record(self, row: ShareOrder, said: Shared, *, answers_message: bool) -> None:
        await self._lanes.put(RecordSharing(row.book, row.id, said, answers_message, self._scale))

    async def _fetch(self, due: DueReturn) -> None:
        row = due.row
        rail = SharingClient(await self._clients.client(row.book, due.channel_account))
        if row.sent_count:
            asked = await self._claim_return(due, row.sent_count, send=False)
            if asked is None:
                return
            said = await rail.give_back_query(_return(asked))
            row = asked.row
            if not (isinstance(said, Unknown) and said.not_found) or row.code is not None:
                await self._record_return(due, said, answers_message=False)
                return
        claimed = await self._claim_return(due, row.sent_count, send=True)
        if claimed is not None:
            await self._record_return(due, await rail.give_back(_return(claimed)), answers_message=True)

    async def _claim_return(self, due: DueReturn, seen: int, *, send: bool) -> ClaimedReturn | None:
        row = due.row
        command = ClaimReturn(row.book, row.id, row.order_id, self._scale, send, seen)
        claimed: ClaimedReturn | None = await self._lanes.put(command)
        return claimed

    async def _record_return(self, due: DueReturn, said: Outcome, *, answers_message: bool) -> None:
        row = due.row
        await self._lanes.put(RecordReturn(row.book, row.id, row.order_id, said, answers_message, self._scale))


def _return(claimed: ClaimedReturn) -> Return:
    row, order, paid = claimed
    part = parts_of(order)[row.part]
    return Return(
        reference=f"{reference_of(order)}r{row.number}",
        order=at_channel(order, paid),
        receiver=Receiver(ReceiverKind(part.kind), part.account),
        amount=Money(row.amount_minor, order.currency),
        description=row.cause,
        created_at=row.created_at,
    )
