"""Releasing 放款 what is frozen of shares: when delivery is confirmed, or when its date has come."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from kernel.clock import business_date
from kernel.db import Pool, acquire, tell
from kernel.env import Env
from kernel.errors import NotFound
from kernel.lane import Lanes
from kernel.work import BOOKS, Need, Work
from ledger import Step, post_expected
from splitting.objects import shares_of, split_payload
from splitting.rails import orders
from splitting.rails.compile import BY_RAIL
from splitting.shares import sharing
from splitting.shares.frozen import Frozen, frozen_of, kept, to_be_released
from splitting.shares.store import Due, due_for_release
from splitting.tables import SPLITS, Split
from streams import publish

log = logging.getLogger(__name__)
AT_A_TIME = 500  # payments read, and put, at once
LOOK_EVERY_S = 20.0


@dataclass(frozen=True, slots=True)
class ReleaseShares:
    """Release the parts of a payment's shares whose date has come. Repeating it changes nothing. Returns the split."""

    book: int
    payment_id: str
    today: date

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from sharing.needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> Split | None:
        work.head(self.book)
        split = work.find(SPLITS, (self.book, self.payment_id))
        return split and _release(work, split, self.today, delivered=False)


@dataclass(frozen=True, slots=True)
class ConfirmDelivery:
    """Note that a payment's goods were delivered 确认收货, and release what waits for that. Returns the split.

    What is shared out later is not frozen for it any more. Repeating it changes nothing. Raises NotFound
    (no_such_split).
    """

    book: int
    payment_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from sharing.needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> Split:
        work.head(self.book)
        split = work.find(SPLITS, (self.book, self.payment_id))
        if split is None:
            raise NotFound("no_such_split", f"there is no payment {self.payment_id} that is shared out by a plan")
        if split.delivered_at is None:
            split = split._replace(delivered_at=work.now)
            work.put(SPLITS, split)
            publish(work, self.book, "split.delivered", self.payment_id, split_payload(split))
        return _release(work, split, business_date(work.now), delivered=True)


def _release(work: Work, split: Split, today: date, *, delivered: bool) -> Split:
    """Post what is to be released now: by its date on that date, for a delivery today."""
    parts, shares = frozen_of(split), shares_of(split)
    due = to_be_released(parts, today, delivered=delivered)
    if not due:
        return split
    by_date: dict[str, list[Frozen]] = {}
    for part in due:
        by_date.setdefault(min(part.due_on or today.isoformat(), today.isoformat()), []).append(part)
    for on, of_day in sorted(by_date.items()):
        transfers = [
            sharing.step_of(work, split, shares[part.share], part, Step.POST_HOLD, ":released")
            for part in of_day
            if part.left_minor
        ]
        if transfers:
            posting = f"{transfers[0].id}:{len(transfers)}"
            post_expected(work, split.book, posting, transfers, business_date=date.fromisoformat(on), fresh=True)
        gone = set(of_day)
        parts = [part._replace(released_on=on) if part in gone else part for part in parts]
    split = kept(split, parts)
    work.put(SPLITS, split)
    if split.rail is not None:
        by_rail = [
            (part.share, part.left_minor) for part in due if part.left_minor and shares[part.share].rail == BY_RAIL
        ]
        orders.plan_order(work, split, shares, by_rail, today, sharing.owed_account)
    publish(work, split.book, "split.released", split.payment_id, split_payload(split))
    return split


class Releases:
    """Releases what is frozen, at its time and when merchants say that they have delivered."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env

    async def deliver(self, book: int, payment_id: str) -> Split:
        """Confirm a delivery. Raises NotFound (no_such_split)."""
        split: Split = await self._lanes.put(ConfirmDelivery(book, payment_id))
        return split

    async def run(self) -> None:
        """Release what is due, for as long as the worker runs."""
        while True:
            try:
                await self.once()
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "a round of releases failed; it goes on", error)
            await self._env.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """Release all that is due by today, in Beijing; return of how many payments it was.

        What cannot be released is left for the next round, and what is due behind it is gone on to.
        """
        today, done = business_date(self._env.now()), 0
        after: Due | None = None
        while True:
            async with acquire(self._pool) as connection:
                due = await due_for_release(connection, today, AT_A_TIME, after=after)
            done += sum(await asyncio.gather(*(self._put(one, today) for one in due)))
            if len(due) < AT_A_TIME:
                return done
            after = due[-1]

    async def _put(self, due: Due, today: date) -> bool:
        """Release what is due of one payment; tell whether that went well. One that cannot be does not stop others."""
        try:
            await self._lanes.put(ReleaseShares(due.book, due.payment_id, today))
        except Exception as error:  # whatever it is, it is this payment's alone
            tell(log, "a share could not be released", error, book=due.book, payment=due.payment_id)
            return False
        return True
