"""The relay copies every event to a real Valkey, in order, once, and fills again whatever was lost there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import redis.asyncio as redis
from redis.exceptions import RedisError

from kernel.env import SystemClock
from streams import Bell, Relay, events_after
from streams.relay import GATHER_S, PAGE, stream_name
from tests.kernel.cable import cable
from tests.kernel.one_book import outside, until
from tests.streams.listening import Hall, a_hall, running, set_up

ONE, TWO = 1, 2


@pytest.fixture
async def hall(database_url: str) -> AsyncIterator[Hall]:
    await set_up(database_url, [ONE, TWO])
    async with a_hall(database_url) as hall:
        yield hall


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[Any]:
    client = redis.from_url(redis_url)
    yield client
    await client.config_set("maxmemory", 0)
    await client.aclose()


@asynccontextmanager
async def a_relay(url: str, hall: Hall) -> AsyncIterator[Relay]:
    relay = Relay(url, hall.pool, hall.env)
    yield relay
    await relay.aclose()


async def copied(server: Any, book: int) -> list[str]:
    """Return the ids of the entries in a book's stream, in its order."""
    return [entry_id.decode() for entry_id, _ in await server.xrange(stream_name(book))]


def ids(count: int) -> list[str]:
    return [f"{n}-1" for n in range(1, count + 1)]


class HandClock(SystemClock):
    """Monotonic time that stands still until it is moved."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


# -- copying -----------------------------------------------------------------------------------------------------------


async def test_every_event_is_copied_with_all_its_fields_in_order_and_once(
    hall: Hall, redis_url: str, server: Any
) -> None:
    await hall.tell(ONE, "a", "b")
    await hall.tell(TWO, "c")
    async with a_relay(redis_url, hall) as relay:
        assert await relay.once() == 3
        assert await relay.once() == 0
        await hall.tell(ONE, "d")
        assert await relay.once() == 1
    async with outside(hall.url) as connection:
        for book in (ONE, TWO):
            events = await events_after(connection, book, 0, 100)
            assert [(key.decode(), fields) for key, fields in await server.xrange(stream_name(book))] == [
                (
                    f"{event.seq}-1",
                    {
                        b"id": event.id.encode(),
                        b"type": event.type.encode(),
                        b"subject": event.subject.encode(),
                        b"data": event.payload.encode(),
                    },
                )
                for event in events
            ]
            assert [orjson.loads(event.payload)["subject"] for event in events] == [e.subject for e in events]


async def test_more_events_than_one_round_takes_are_all_copied(hall: Hall, redis_url: str, server: Any) -> None:
    await hall.tell(ONE, *[f"s{n}" for n in range(1_203)])
    async with a_relay(redis_url, hall) as relay:
        assert [await relay.once() for _ in range(3)] == [1_000, 203, 0]
    assert await copied(server, ONE) == ids(1_203)


async def test_a_relay_started_anew_goes_on_where_the_stream_ends(hall: Hall, redis_url: str, server: Any) -> None:
    await hall.tell(ONE, "a", "b")
    async with a_relay(redis_url, hall) as relay:
        assert await relay.once() == 2
    await hall.tell(ONE, "c")
    async with a_relay(redis_url, hall) as relay:
        assert await relay.once() == 1
    assert await copied(server, ONE) == ids(3)


async def test_two_relays_at_once_copy_each_event_once_and_in_order(hall: Hall, redis_url: str, server: Any) -> None:
    async with a_relay(redis_url, hall) as one, a_relay(redis_url, hall) as other:
        for n in range(30):
            await hall.tell(ONE, f"a{n}", f"b{n}")
            await asyncio.gather(one.once(), other.once())
        while await one.once():
            pass
    assert await copied(server, ONE) == ids(60)


async def test_the_server_itself_refuses_an_event_that_is_there_already(
    hall: Hall, redis_url: str, server: Any
) -> None:
    await hall.tell(ONE, "a", "b")
    async with a_relay(redis_url, hall) as relay:
        await relay.once()
    for repeated in ("1-1", "2-1"):
        with pytest.raises(RedisError, match="equal or smaller"):
            await server.xadd(stream_name(ONE), {"id": "again"}, id=repeated)


# -- losing ------------------------------------------------------------------------------------------------------------


async def test_a_flushed_server_is_filled_again_with_the_next_event(hall: Hall, redis_url: str, server: Any) -> None:
    await hall.tell(ONE, "a", "b")
    async with a_relay(redis_url, hall) as relay:
        await relay.once()
        await server.flushall()
        await hall.tell(ONE, "c")
        assert await relay.once() == 3
    assert await copied(server, ONE) == ids(3)


async def test_a_flushed_server_is_filled_again_within_half_a_minute_without_any_event(
    hall: Hall, redis_url: str, server: Any
) -> None:
    clock = HandClock()
    hall.env.clock = clock
    bell = Bell(None, hall.env)
    await hall.tell(ONE, "a", "b")
    async with a_relay(redis_url, hall) as relay, running(relay.run(bell, idle_s=0.005)):
        await until_copied(server, ids(2))
        await server.flushall()
        clock.seconds += 31
        await until_copied(server, ids(2))


async def test_a_stream_lost_in_the_middle_of_a_copy_is_not_left_without_its_beginning(
    hall: Hall, redis_url: str, server: Any
) -> None:
    flushed: list[list[str]] = []

    async def flush(sent: bytes) -> None:
        """Empty the server when the relay has read where the stream ends and its copy is on the way."""
        if b"XADD" in sent and not flushed:
            flushed.append(await copied(server, ONE))
            await server.flushall()

    async with cable(redis_url) as wire, a_relay(wire.url, hall) as relay:
        await hall.tell(ONE, "a", "b")
        await relay.once()
        await hall.tell(ONE, "c")
        wire.passing = flush
        await relay.once()
        assert flushed == [ids(2)]
        while await relay.once():
            pass
    assert await copied(server, ONE) == ids(3)


async def test_a_server_that_takes_nothing_is_not_asked_without_a_rest(hall: Hall, redis_url: str, server: Any) -> None:
    """A round that copied nothing must not claim that it did, or `run` would go round and round."""
    await hall.tell(ONE, "a", "b")
    async with a_relay(redis_url, hall) as relay:
        await server.config_set("maxmemory", 1)
        with pytest.raises(RedisError):
            await relay.once()
        await server.config_set("maxmemory", 0)
        assert await relay.once() == 2
    assert await copied(server, ONE) == ids(2)


async def test_the_loop_goes_on_after_the_server_was_away_and_needs_no_bell(
    hall: Hall, redis_url: str, server: Any
) -> None:
    bell = Bell(None, hall.env)
    async with cable(redis_url) as wire, a_relay(wire.url, hall) as relay, running(relay.run(bell, idle_s=0.005)):
        await hall.tell(ONE, "a")
        await until_copied(server, ids(1))
        wire.unplug()
        await server.flushall()
        await hall.tell(ONE, "b")
        wire.plug()
        await until_copied(server, ids(2))


async def until_copied(server: Any, wanted: list[str]) -> None:
    while await copied(server, ONE) != wanted:  # noqa: ASYNC110 - the relay gets there
        await asyncio.sleep(0.005)


async def test_the_loop_lets_events_gather_while_they_keep_coming_and_not_while_some_are_left(
    hall: Hall, server: Any, redis_url: str
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0.01)

    hall.env.sleep = sleep
    await hall.tell(ONE, *[f"s{n}" for n in range(2 * PAGE + 3)])
    async with a_relay(redis_url, hall) as relay, running(relay.run(Bell(None, hall.env), idle_s=0.01)):
        await until_copied(server, ids(2 * PAGE + 3))
        await until(lambda: slept)
        assert slept == [GATHER_S]
        await hall.tell(ONE, "one more")
        await until_copied(server, ids(2 * PAGE + 4))
        await until(lambda: len(slept) > 1)
    assert slept == [GATHER_S, GATHER_S]
