"""A rail with secrets of its own, behind a hub's door, and what an attacker with the database could do to its rows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from channels.contract import Channel
from gateway.accounts.ready import ChannelAccounts
from gateway.accounts.terms import Terms, flat
from gateway.tables import ChannelAccount
from kernel.sealing import MasterKey, Secret
from ops.channel_keys import ChannelKeys
from tests.gateway.front import Front, a_front

SECRET, OTHER = "whisper-one-whisper-one", "whisper-two-whisper-two"


@dataclass
class Vault:
    """A hub whose rail `vault` takes a key, remembers what it was built of, and else does as the scripted rail."""

    front: Front
    database_url: str
    built: list[Mapping[str, Any]] = field(default_factory=list)

    def build(self, settings: Mapping[str, Any]) -> Channel:
        if not str(settings["api_secret"]).startswith("whisper"):
            raise ValueError(f"api_secret {settings['api_secret']!r} is no key of this rail")
        self.built.append(dict(settings))
        return self.front.shop.channel

    async def add(self, name: str, secret: str = SECRET, terms: Terms | None = None, **more: Any) -> ChannelAccount:
        settings = {"merchant": f"m-{name}", "base_url": "https://rail.example", "api_secret": secret, **more}
        row, _ = await self.front.hub.channel_admin.add(
            self.front.book, name, "vault", settings, terms=terms or flat(60), folder=Path()
        )
        return row

    def elsewhere(self) -> ChannelAccounts:
        """Return the accounts as another process sees them, which remembers nothing."""
        hub = self.front.hub
        return ChannelAccounts(hub.channels, hub.keys, hub.pool, hub.env)

    async def sql(self, statement: str, *values: Any) -> list[Any]:
        """Do something to the database as its owner."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    async def stored(self) -> str:
        """Return everything the database has of channel accounts, claims and events, as text."""
        found = [await self.sql(f"SELECT t::text FROM {table} t") for table in ("channel_account", "claim", "event")]
        return str(found)


@asynccontextmanager
async def a_vault(database_url: str, home: Path) -> AsyncIterator[Vault]:
    async with a_front(database_url, home) as front:
        vault = Vault(front, database_url)
        front.hub.channels["vault"] = vault.build  # type: ignore[index]
        yield vault


class CountingKeys:
    """Master keys that count how often one is asked for."""

    def __init__(self, keys: ChannelKeys) -> None:
        self._keys = keys
        self.asked = 0

    def current(self) -> MasterKey:
        return self._keys.current()

    def find(self, key_id: str) -> MasterKey | None:
        self.asked += 1
        return self._keys.find(key_id)

    def fingerprint(self, secret: Secret) -> str:
        return self._keys.fingerprint(secret)
