"""The bell 门铃: tells waiting workers that there are new events. It may be lost at any time; nothing depends on it."""

import asyncio
import contextlib
import logging

import redis.asyncio as redis
from redis.exceptions import RedisError

from kernel.env import Env
from kernel.outage import Outage

log = logging.getLogger(__name__)
SERVER = Outage("the stream server", log, level=logging.WARNING)  # what only it knows waits in the database meanwhile
CHANNEL = "sluice:bell"


class Bell:
    """Rings through Redis or Valkey's publish/subscribe; without a server it only sleeps."""

    def __init__(self, url: str | None, env: Env) -> None:
        self._env = env
        self._redis = (
            None
            if url is None
            else redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0, retry_on_timeout=False)
        )
        self._rung = asyncio.Event()
        self._news = self._ringing = False

    def ring(self) -> None:
        """Announce news without waiting; calls that come close together, or while one is on its way, are one message.

        So a server that takes connections and says nothing costs one of them, however much there is to announce.
        """
        self._news = True
        if self._redis is not None and not self._ringing:
            self._ringing = True
            self._env.spawn("bell", self._ring())

    async def _ring(self) -> None:
        assert self._redis is not None
        try:
            while self._news:
                await self._env.sleep(0.005)
                self._news = False
                with contextlib.suppress(RedisError, OSError):
                    await self._redis.publish(CHANNEL, b"1")
        finally:
            self._ringing = False

    async def listen(self) -> None:
        """Hear the bell until cancelled; come back after every loss of the server."""
        while self._redis is not None:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    SERVER.back()
                    while True:
                        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=0.5)
                        if message is not None:
                            self._rung.set()
            except (RedisError, OSError) as error:  # whoever waits for the bell polls meanwhile
                SERVER.away(error)
                await self._env.sleep(1.0)

    async def wait(self, timeout_s: float) -> None:
        """Return when the bell rings or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        self._rung.clear()

    async def aclose(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
