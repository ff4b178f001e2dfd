"""Routing 路由 plugged into payments: the accounts, the policy and what has been learned, brought to one decision.

The decision itself is pure (gateway/routing). What has been learned lives in this process's memory, a book at a time,
and is a fold over attempts: those in the database when a book is first routed, those of this process as their answers
come, and those of other processes every FOLLOW_S while payments come, read by one indexed statement beside the payment
path. Whatever is lost with a process is in the next one's fold.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from channels import Method
from gateway import states
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.accounts.terms import NOTHING_USED, Used
from gateway.routing import (
    NO_POLICY,
    Candidate,
    Health,
    Knowledge,
    Policy,
    Seen,
    Verdict,
    Wanted,
    decide,
    next_json,
    to_json,
    verdict_of,
)
from gateway.routing.seam import AUTO, Choice, RoutingRequest, no_channel
from gateway.routing.store import Tried, current_policy, tried_last, tried_since
from gateway.tables import attempt_reference
from kernel.cache import Cache
from kernel.db import AGAIN, LOST, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import SluiceError

log = logging.getLogger(__name__)

FOLLOW_S = 1.5
STALE_S = 15.0  # a process that has been idle for so long first reads what the others have learned
WAIT_S = 2.0  # and waits so long for it
HISTORY = 4_000  # attempts from which a book's knowledge is built when it is first routed
HISTORY_FOR = timedelta(days=7)
# A call to a rail ends sooner than this: an attempt without an answer after it has none to wait for.
UNANSWERED_FOR = timedelta(seconds=30)
SLACK = timedelta(seconds=5)  # between a row's time and its commit, and between the clocks of processes
AT_ONCE = 20_000  # attempts read in one round
_NOTHING = Knowledge()


# What a row says of its rail; a created one is still waiting, and says nothing.
VERDICTS = {
    states.AttemptStatus.PENDING.value: Verdict.WORKED,
    states.AttemptStatus.AUTHORIZED.value: Verdict.WORKED,
    states.AttemptStatus.CONFIRMED.value: Verdict.WORKED,
    states.AttemptStatus.LATE.value: Verdict.WORKED,
    states.AttemptStatus.OVERPAID.value: Verdict.WORKED,
    states.AttemptStatus.UNKNOWN.value: Verdict.FAILED,
    states.AttemptStatus.FAILED_OVER.value: Verdict.FAILED,
    states.AttemptStatus.REFUSED.value: Verdict.NEUTRAL,
    states.AttemptStatus.CLOSED.value: Verdict.NEUTRAL,
}


class _Standing(NamedTuple):
    """What a book's decisions are made of, while its accounts and policy are the same."""

    ready: Sequence[Ready]
    candidates: Sequence[Candidate]
    of_account: dict[str, Ready]
    counted: frozenset[str]  # accounts whose terms ask for what they have taken
    policy: Policy

    def is_as_rails_are(self) -> bool:
        """Tell whether each rail still can what was written down of it: a rail may find out while it runs."""
        return all(
            one.capabilities is ready.client.channel.capabilities
            for one, ready in zip(self.candidates, self.ready, strict=True)
        )


class Router:
    """Chooses accounts for payments by docs/routing.md, and learns from what became of them."""

    def __init__(self, accounts: ChannelAccounts, pool: Pool, env: Env, *, default: Policy = NO_POLICY) -> None:
        """default: the policy of merchants who have set none."""
        self.default = default
        self._accounts = accounts
        self._pool = pool
        self._env = env
        self._standings: dict[int, _Standing] = {}
        self._policies = Cache(self._policy, env)
        self._known: dict[int, Knowledge] = {}
        self._counted: dict[str, datetime] = {}  # references of attempts that are in the knowledge → when
        self._read_until: datetime | None = None  # attempts made before this have all been counted
        self._loads = Cache(self._load, env)
        self._followed_at = 0.0  # monotonic: when the other processes' attempts were read last

    async def choose(self, ask: RoutingRequest) -> Sequence[Choice]:
        """Return the accounts that take this payment, first choice first; never none. Raises Rejected (no_channel)."""
        standing = await self._standing(ask.book)
        known = _NOTHING
        if len(standing.candidates) > 1:
            known = self._known.get(ask.book) or await self._loads.get(ask.book)
            await self._follow()
        wanted = Wanted(
            ask.payment_id, ask.method, ask.amount, ask.now, ask.channel, ask.auth_code_prefix, ask.metadata or {},
            ask.payer_region, ask.capture_manual, ask.exclude, ask.share_later,
        )  # fmt: skip
        used = partial(self._used, standing, ask)
        decision = decide(standing.candidates, wanted, known, policy=standing.policy, used=used)
        if not decision.ranked:
            await self._accounts.require_open(ask.book, None if ask.channel == AUTO else ask.channel)
            raise no_channel(ask, decision.refused)
        if decision.probe:
            known.rail(decision.ranked[0].account_id).breaker.probing(ask.now.timestamp())
        return [
            Choice(standing.of_account[one.account_id], one.fee_minor, to_json(decision) if n == 1 else next_json(n))
            for n, one in enumerate(decision.ranked, 1)
        ]

    def observe(
        self,
        account_id: str,
        book: int,
        method: Method,
        currency: str,
        amount_minor: int,
        outcome_kind: str,
        latency_s: float,
        op: str,
        reference: str | None = None,
    ) -> None:
        """Learn from one call to a rail. Only what paying says counts; asking, closing and giving back do not.

        reference: of the attempt, by which it is counted once, whoever reports it.
        """
        known = self._known.get(book)
        if known is None:
            return
        verdict, now = verdict_of(outcome_kind), self._env.now()
        if op == "pay":
            if reference is not None and self._counted.setdefault(reference, now) is not now:
                return  # the same order sent again
        elif op != "proceed" or verdict is not Verdict.FAILED:
            return
        self._see(
            known, book, Seen(account_id, method, currency, amount_minor, verdict, now.timestamp(), latency_s * 1000)
        )

    def knowledge(self, book: int) -> Knowledge | None:
        """Return what this process has learned of a book's accounts, None where it has not routed any."""
        return self._known.get(book)

    # ---- what decisions are made of ----------------------------------------------------------------------------------

    async def _standing(self, book: int) -> _Standing:
        ready = await self._accounts.of_book(book)
        policy = await self._policies.get(book)
        known = self._standings.get(book)
        if known is not None and known.ready is ready and known.policy is policy and known.is_as_rails_are():
            return known
        candidates = [
            Candidate(
                one.account.id,
                one.account.channel,
                one.client.channel.capabilities,
                one.account.state,
                one.terms,
                position,
            )
            for position, one in enumerate(ready)
        ]
        made = _Standing(
            ready,
            candidates,
            {one.account.id: one for one in ready},
            frozenset(one.account.id for one in ready if one.terms.needs_usage),
            policy,
        )
        if ready:
            self._standings[book] = made
        return made

    async def _policy(self, book: int) -> Policy:
        async with acquire(self._pool) as connection:
            row = await current_policy(connection, book)
        if row is None:
            return self.default
        known = self._standings.get(book)
        if known is not None and known.policy.version == row.version:
            return known.policy
        return Policy.parse(row.policy, row.version)

    def _used(self, standing: _Standing, ask: RoutingRequest, account_id: str) -> Used:
        if account_id not in standing.counted:
            return NOTHING_USED
        return self._accounts.used(ask.book, account_id, ask.amount.currency, ask.now)

    # ---- learning ----------------------------------------------------------------------------------------------------

    async def _load(self, book: int) -> Knowledge:
        """Build a book's knowledge from its last attempts, and follow it from now on."""
        now = self._env.now()
        async with acquire(self._pool) as connection:
            rows = await tried_last(connection, book, now - HISTORY_FOR, HISTORY)
        known = self._known.get(book)
        if known is not None:  # loaded meanwhile, and it has learned since
            return known
        known = Knowledge()
        self._fold(known, book, rows)
        again = now - UNANSWERED_FOR - SLACK
        self._read_until = again if self._read_until is None else min(self._read_until, again)
        self._known[book] = known
        self._followed_at = self._env.clock.monotonic()
        return known

    async def _follow(self) -> None:
        """See to it that what other processes have learned is read, without waiting where it was read a moment ago."""
        now = self._env.clock.monotonic()
        idle_s = now - self._followed_at
        if idle_s < FOLLOW_S:
            return
        self._followed_at = now
        reading = self._env.spawn("routing follows", self._caught_up())
        if idle_s >= STALE_S:
            await asyncio.wait({reading}, timeout=WAIT_S)

    async def _caught_up(self) -> None:
        try:
            await self.catch_up()
        except (*LOST, *AGAIN, SluiceError) as error:
            tell(log, "routing could not follow the other processes; it tries again", error)

    async def catch_up(self) -> None:
        """Take in attempts that were answered since the last time and not counted here."""
        if self._read_until is None:
            return
        now, since = self._env.now(), self._read_until
        async with acquire(self._pool) as connection:
            rows = await tried_since(connection, list(self._known), since, AT_ONCE)
        by_book: dict[int, list[Tried]] = {}
        for row in rows:
            by_book.setdefault(row.book, []).append(row)
        for book, of_book in by_book.items():
            self._fold(self._known[book], book, of_book)
        waiting = (
            r.created_at
            for r in rows
            if r.status == states.AttemptStatus.CREATED and r.created_at > now - UNANSWERED_FOR
        )
        reached = rows[-1].created_at if len(rows) == AT_ONCE else now
        self._read_until = max(since, min([reached - SLACK, *waiting]) - timedelta(microseconds=1))
        self._forget(min(self._read_until, now - UNANSWERED_FOR - SLACK) - SLACK)

    def _fold(self, known: Knowledge, book: int, rows: Iterable[Tried]) -> None:
        for row in rows:
            verdict = VERDICTS.get(row.status)
            if verdict is None:
                continue
            name = attempt_reference(row.book, row.payment_id, row.number)
            if name in self._counted:
                continue
            self._counted[name] = row.created_at
            at = row.created_at.timestamp() + (row.latency_ms or 0) / 1000
            self._see(
                known,
                book,
                Seen(row.account_id, row.method, row.currency, row.amount_minor, verdict, at, row.latency_ms),
            )

    def _see(self, known: Knowledge, book: int, seen: Seen) -> None:
        breaker = known.rail(seen.account_id).breaker
        before = breaker.health(seen.at)
        known.see(seen)
        after = breaker.health(seen.at)
        if before is not after:
            tell = log.warning if after is Health.OPEN else log.info
            tell(
                "a channel account's health changed",
                extra={"book": book, "account": seen.account_id, "from": before.value, "to": after.value},
            )

    def _forget(self, before: datetime) -> None:
        """Forget which attempts were counted, as far as none of them can be read again."""
        if len(self._counted) > 10_000:
            self._counted = {name: at for name, at in self._counted.items() if at > before}
