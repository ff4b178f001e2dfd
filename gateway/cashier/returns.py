"""Asking a rail what became of an attempt when its payer comes back: the rail's notice may be slower than the payer.

A page that is opened on a payer's return shows no way to pay before that question is answered: whoever has just paid
must not be asked for the money again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.door.admission import away
from gateway.payments.payments import Payments
from gateway.states import OPEN_ATTEMPT
from gateway.tables import Attempt
from kernel.env import Env
from kernel.errors import SluiceError

EVERY = timedelta(seconds=3)  # between two questions about one attempt
PATIENCE = timedelta(seconds=30)  # how long a page waits for an answer; from then on it says that it does not know
HERE_S = 1.0  # how long a request waits for the answer, so that most payers never see a page that waits
MOST = 10_000  # attempts remembered

Key = tuple[int, str, int]


@dataclass(slots=True)
class _Asking:
    """What one process asks about an attempt."""

    wanted: datetime  # an answer counts that was asked for at this moment or later
    task: "asyncio.Task[None] | None" = None
    begun: datetime | None = None  # the last question
    answered: datetime | None = None  # when the last question that was answered began

    def knows(self, since: datetime) -> bool:
        return self.answered is not None and self.answered >= since


class Returns:
    """The questions of one process about attempts whose payers came back."""

    def __init__(self, payments: Payments, env: Env) -> None:
        self._payments = payments
        self._env = env
        self._asking: dict[Key, _Asking] = {}

    def since(self, query: Mapping[str, str]) -> datetime | None:
        """Return from when on an answer counts for a page with this query; None where it needs none.

        A payer's return (`back`) counts from now. The choices again (`choose`) may follow a question just asked. A page
        that waits says by `asked` since when, in milliseconds.
        """
        if "back" not in query and "choose" not in query:
            return None
        now = self._env.now()
        asked = query.get("asked", "")
        if asked.isascii() and asked.isdigit() and len(asked) < 15:
            return min(now, datetime.fromtimestamp(int(asked) / 1000, UTC))
        return now if "back" in query else now - EVERY

    def is_over(self, since: datetime) -> bool:
        """Tell whether a page has waited long enough."""
        return self._env.now() - since > PATIENCE

    async def known(self, tries: Sequence[Attempt], since: datetime) -> bool:
        """Return whether each open attempt's rail has answered a question put at `since` or later; ask where not.

        Waits a moment for the answers.
        """
        asking = [self._ask(one, since) for one in tries if one.status in OPEN_ATTEMPT]
        running = {one.task for one in asking if one is not None and one.task is not None and not one.knows(since)}
        if running:
            with away():
                await asyncio.wait(running, timeout=HERE_S)
        return all(one is not None and one.knows(since) for one in asking)

    def _ask(self, attempt: Attempt, since: datetime) -> _Asking | None:
        """Return what is asked about an attempt; None while too much is asked to begin with another."""
        key = (attempt.book, attempt.payment_id, attempt.number)
        one = self._asking.get(key)
        if one is None:
            if len(self._asking) >= MOST:
                self._forget()
            if len(self._asking) >= MOST:
                return None
            one = self._asking[key] = _Asking(since)
        one.wanted = max(one.wanted, since)
        if not one.knows(since) and (one.task is None or one.task.done()):
            one.task = self._env.spawn("ask after a payer's return", self._work(one, attempt))
        return one

    async def _work(self, one: _Asking, attempt: Attempt) -> None:
        """Ask until there is an answer that counts, never more often than each `EVERY`."""
        while not (one.knows(one.wanted) or self.is_over(one.wanted)):
            if one.begun is not None and (wait := one.begun + EVERY - self._env.now()) > timedelta():
                await self._env.sleep(wait.total_seconds())
            begun = one.begun = self._env.now()
            try:
                said = await self._payments.learn(attempt)
            except SluiceError:
                continue  # the janitor asks too, and says what is wrong
            if said:
                one.answered = begun

    def _forget(self) -> None:
        past = self._env.now() - EVERY
        self._asking = {
            key: one
            for key, one in self._asking.items()
            if (one.task is not None and not one.task.done()) or (one.begun is not None and one.begun > past)
        }
