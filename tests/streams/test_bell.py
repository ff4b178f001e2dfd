"""The bell wakes waiting workers early. Nothing depends on it: its server may be missing, lost or back at any time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as redis

from kernel.env import system_env
from ops import embedded
from streams import Bell
from streams.bell import CHANNEL
from tests.kernel.cable import cable
from tests.kernel.frozen import frozen
from tests.streams.listening import Hall, Listener, a_hall, running, set_up

NEVER_S = 3_600.0  # longer than any test may take


@asynccontextmanager
async def a_bell(url: str | None) -> AsyncIterator[Bell]:
    """A bell whose pauses are short."""
    env = system_env()

    async def short(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    env.sleep = short
    bell = Bell(url, env)
    try:
        yield bell
    finally:
        await env.tasks.aclose()
        await bell.aclose()


async def heard(server: Any, count: int = 1) -> None:
    """Return when just that many listen."""
    while (await server.pubsub_numsub(CHANNEL))[0][1] != count:  # noqa: ASYNC110 - another connection gets there
        await asyncio.sleep(0.005)


async def handled_up_to(hall: Hall, seq: int) -> None:
    while (await hall.positions()).get(1) != seq:  # noqa: ASYNC110 - the consumer gets there
        await asyncio.sleep(0.005)


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[Any]:
    client = redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_a_ring_in_one_process_ends_the_wait_in_another(redis_url: str, server: Any) -> None:
    async with a_bell(redis_url) as here, a_bell(redis_url) as there, running(there.listen()):
        await heard(server)
        waiting = asyncio.create_task(there.wait(NEVER_S))
        here.ring()
        await waiting


async def test_rings_that_come_close_together_are_one_message(redis_url: str, server: Any) -> None:
    async with a_bell(redis_url) as bell, server.pubsub() as listener:
        await listener.subscribe(CHANNEL)
        await heard(server)
        for _ in range(100):
            bell.ring()
        await asyncio.gather(*bell._env.tasks._running)
        await server.publish(CHANNEL, b"the end")
        said: list[bytes] = []
        while b"the end" not in said:
            message = await listener.get_message(ignore_subscribe_messages=True, timeout=1)
            said += [message["data"]] if message else []
        assert said == [b"1", b"the end"]


async def test_a_frozen_server_has_one_message_on_its_way_to_it_and_keeps_nobody_waiting(
    redis_server: embedded.Valkey, redis_url: str, server: Any
) -> None:
    async with a_bell(redis_url) as here, a_bell(redis_url) as there, running(there.listen()):
        await heard(server)
        with frozen(redis_server):
            for _ in range(20):
                here.ring()
                await asyncio.sleep(0.02)
                assert len(here._env.tasks._running) == 1
            await there.wait(0.01)
        waiting = asyncio.create_task(there.wait(NEVER_S))
        here.ring()
        await waiting


async def test_a_wait_ends_by_itself_without_any_ring(redis_url: str) -> None:
    for url in (None, redis_url, "redis://127.0.0.1:1"):
        async with a_bell(url) as bell:
            bell.ring()
            await bell.wait(0.01)


async def test_a_listener_that_was_cut_off_listens_again(redis_url: str, server: Any) -> None:
    async with cable(redis_url) as wire, a_bell(wire.url) as bell, running(bell.listen()):
        await heard(server)
        wire.unplug()
        waiting = asyncio.create_task(bell.wait(NEVER_S))
        await heard(server, 0)
        wire.plug()
        # The library, which reconnects by itself, may listen for a moment and break off again: not every ring is heard.
        while not waiting.done():
            await server.publish(CHANNEL, b"1")
            await asyncio.sleep(0.005)


async def test_events_are_handled_although_every_ring_is_lost(database_url: str) -> None:
    await set_up(database_url, [1])
    async with a_hall(database_url) as hall, a_bell("redis://127.0.0.1:1") as bell, running(bell.listen()):
        async with running(hall.consumer(Listener()).run(bell, idle_s=0.01)):
            for n in range(5):
                await hall.tell(1, f"s{n}")
                bell.ring()
                await handled_up_to(hall, n + 1)
        assert await hall.handled() == {1: [1, 2, 3, 4, 5]}


async def test_a_ring_wakes_a_consumer_that_would_rest_for_hours(
    database_url: str, redis_url: str, server: Any
) -> None:
    await set_up(database_url, [1])
    async with a_hall(database_url) as hall, a_bell(redis_url) as bell, running(bell.listen()):
        await heard(server)
        async with running(hall.consumer(Listener()).run(bell, idle_s=NEVER_S)):
            for n in range(3):
                await hall.tell(1, f"s{n}")
                bell.ring()
                await handled_up_to(hall, n + 1)
