"""A merchant's channel accounts, ready to be called; read from the database and remembered for a second."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from channels import Candidate, Channel, ChannelClient, Method, rank
from gateway.store import channel_accounts
from gateway.tables import ChannelAccount
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound, Rejected
from kernel.money import Money

REMEMBER_S = 1.0
Build = Callable[[Mapping[str, Any]], Channel]


class Ready(NamedTuple):
    """A channel account and the client that speaks for it."""

    account: ChannelAccount
    client: ChannelClient


class ChannelAccounts:
    """The channel accounts of every merchant this process has served."""

    def __init__(self, registry: Mapping[str, Build], pool: Pool, env: Env) -> None:
        self._registry = registry
        self._pool = pool
        self._env = env
        self._of_book: dict[int, tuple[float, Sequence[Ready], Sequence[Candidate]]] = {}
        self._clients: dict[tuple[int, str], tuple[bytes, ChannelClient]] = {}

    async def of_book(self, book: int) -> Sequence[Ready]:
        """Return the merchant's channel accounts in the order they were added, those switched off included."""
        return (await self._standing(book))[0]

    async def _standing(self, book: int) -> tuple[Sequence[Ready], Sequence[Candidate]]:
        """Return the merchant's channel accounts and what routing looks at, in the same order."""
        known = self._of_book.get(book)
        if known is not None and known[0] > self._env.clock.monotonic():
            return known[1], known[2]
        async with acquire(self._pool) as connection:
            rows = await channel_accounts(connection, book)
        ready = [Ready(row, self._client(row)) for row in rows]
        candidates = [
            Candidate(r.account.id, r.client.channel.capabilities, r.account.state == "enabled", position)
            for position, r in enumerate(ready)
        ]
        if rows:  # anyone may name any book in the path of a notice; those that are not there must not fill the memory
            self._of_book[book] = (self._env.clock.monotonic() + REMEMBER_S, ready, candidates)
        return ready, candidates

    async def get(self, book: int, account_id: str) -> Ready:
        """Return one channel account. Raises NotFound."""
        for ready in await self.of_book(book):
            if ready.account.id == account_id:
                return ready
        raise NotFound("no_such_channel_account", f"there is no channel account {account_id}")

    async def choose(self, book: int, *, channel: str, method: Method, amount: Money) -> Ready:
        """Return the account a new payment goes to. Raises Rejected (no_channel) when none can take it.

        channel: a rail's name, or "auto" for whichever the router puts first.
        """
        accounts, candidates = await self._standing(book)
        if channel != "auto":
            candidates = [c for c in candidates if accounts[c.position].account.channel == channel]
        ranked = rank(candidates, method=method, amount=amount)
        if not ranked:
            wanted = "any channel" if channel == "auto" else channel
            raise Rejected(
                "no_channel", f"no account of yours takes {amount} by {method} over {wanted}", param="method"
            )
        return accounts[ranked[0].position]

    def _client(self, row: ChannelAccount) -> ChannelClient:
        """Return the client of an account, built anew only when its settings changed: keys are dear to load."""
        digest = hashlib.sha256(row.settings.encode()).digest()
        known = self._clients.get((row.book, row.id))
        if known is not None and known[0] == digest:
            return known[1]
        build = self._registry.get(row.channel)
        if build is None:
            raise NotFound("no_such_channel", f"this hub has no channel {row.channel}")
        client = ChannelClient(build(orjson.loads(row.settings)), self._env)
        self._clients[row.book, row.id] = (digest, client)
        return client
