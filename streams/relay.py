"""The relay 转发: events from the database to Redis Streams, at least once and in order for each book.

The stream is a copy for fast readers; it can be lost and is filled again from the database.
"""

import logging
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError, WatchError

from kernel.db import Pool, acquire, tell
from kernel.env import Env
from streams.bell import SERVER, Bell
from streams.outbox import Event
from streams.store import events_after, heads

log = logging.getLogger(__name__)
PAGE = 1000  # events of a book in a round
GATHER_S = 0.1  # while events keep coming, a round is begun so long after the last: each asks after every book
KEEP = 100_000  # events kept in a book's stream; older ones are read from the events API


def stream_name(book: int) -> str:
    """Return the stream of a book; the braces keep it on one node of a cluster."""
    return f"sluice:events:{{{book}}}"


def _fields(event: Event) -> dict[Any, Any]:
    return {"id": event.id, "type": event.type, "subject": event.subject, "data": event.payload}


class Relay:
    """Copies events. Where it stands is read from the stream itself, so a lost stream is filled again by itself.

    The entry id is the event's number in the book, so a repeated copy is refused by the server and order is kept.
    """

    def __init__(self, url: str, pool: Pool, env: Env) -> None:
        self._redis = redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)
        self._pool = pool
        self._env = env
        self._at: dict[int, int] = {}
        self._more = False  # there is a book of which the last round has left something

    async def once(self) -> int:
        """Copy what is missing, up to PAGE events a book; return how many were copied."""
        copied, self._more = 0, False
        async with acquire(self._pool) as connection:
            latest = await heads(connection)
        for book, seq in latest:
            if seq == self._at.get(book):
                continue
            copied += await self._copy(book)
        return copied

    async def _copy(self, book: int) -> int:
        """Copy a piece of a book's events, all or nothing, and only onto the stream as it was when we looked.

        So whatever is in a stream is the beginning of the book, even when the server is emptied at any moment.
        """
        name = stream_name(book)
        async with self._redis.pipeline() as pipe:
            await pipe.watch(name)
            last: Any = await pipe.xrevrange(name, count=1)
            position = int(last[0][0].partition(b"-")[0]) if last else 0
            async with acquire(self._pool) as connection:
                events = await events_after(connection, book, position, PAGE)
            if not events:
                self._at[book] = position
                return 0
            pipe.multi()  # type: ignore[no-untyped-call]
            for event in events:
                pipe.xadd(name, _fields(event), id=f"{event.seq}-1", maxlen=KEEP, approximate=True)
            try:
                await pipe.execute()
            except WatchError:
                log.info("the stream moved while copying; it is looked at again", extra={"book": book})
                return 0
        self._more = self._more or len(events) == PAGE
        return len(events)

    async def run(self, bell: Bell, *, idle_s: float = 1.0) -> None:
        """Copy until cancelled. Every half minute all streams are looked at again, in case one was lost."""
        checked = self._env.clock.monotonic()
        while True:
            try:
                copied = await self.once()
                SERVER.back()
            except (RedisError, OSError) as error:
                SERVER.away(error)
                self._at.clear()
                copied = 0
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "the relay's round failed; it goes on", error)
                copied = 0
            if self._env.clock.monotonic() - checked > 30:
                self._at.clear()
                checked = self._env.clock.monotonic()
            if not copied:
                await bell.wait(idle_s)
            elif not self._more:
                await self._env.sleep(GATHER_S)

    async def aclose(self) -> None:
        await self._redis.aclose()
