"""Cache answers: one look-up for all who ask at a time, none believed too long, none shared that failed."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kernel.cache import MOST, REMEMBER_S, Cache
from kernel.env import Env, system_env


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at


class Registry:
    """What is looked up: each look-up waits to be let through, and answers how many there had been before it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting: list[asyncio.Future[None]] = []

    async def look_up(self, key: str) -> int:
        self.asked.append(key)
        number = len(self.asked)
        gate = asyncio.get_running_loop().create_future()
        self.waiting.append(gate)
        await gate
        return number

    def let_through(self) -> None:
        self.waiting.pop(0).set_result(None)

    def fail(self, error: Exception) -> None:
        self.waiting.pop(0).set_exception(error)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def env(clock: HandClock) -> Env:
    return replace(system_env(), clock=clock)


async def asking(answers: Cache[str, int], key: str = "a") -> "asyncio.Task[int]":
    task = asyncio.ensure_future(answers.get(key))
    await asyncio.sleep(0)
    return task


async def test_all_who_ask_at_once_wait_for_one_look_up_and_it_is_believed_for_its_time(
    env: Env, clock: HandClock
) -> None:
    registry = Registry()
    answers: Cache[str, int] = Cache(registry.look_up, env)
    together = [await asking(answers) for _ in range(20)]
    another = await asking(answers, "b")
    registry.let_through()
    registry.let_through()
    assert await asyncio.gather(*together) == [1] * 20
    assert (await another, registry.asked) == (2, ["a", "b"])
    clock.at += REMEMBER_S / 2
    assert await answers.get("a") == 1
    clock.at += REMEMBER_S / 2  # counted from the question, not from the answer
    again = await asking(answers)
    registry.let_through()
    assert await again == 3


async def test_what_a_look_up_raises_reaches_all_who_wait_and_nobody_after_them(env: Env) -> None:
    registry = Registry()
    answers: Cache[str, int] = Cache(registry.look_up, env)
    together = [await asking(answers) for _ in range(3)]
    registry.fail(LookupError("no such key"))
    assert [str(e) for e in await asyncio.gather(*together, return_exceptions=True)] == ["no such key"] * 3
    later = await asking(answers)
    registry.let_through()
    assert await later == 2


async def test_a_caller_who_leaves_takes_nobody_along(env: Env) -> None:
    registry = Registry()
    answers: Cache[str, int] = Cache(registry.look_up, env)
    first, second, third = [await asking(answers) for _ in range(3)]
    second.cancel()  # one who only waits
    first.cancel()  # and the one who looks it up
    for _ in range(4):
        await asyncio.sleep(0)
    registry.waiting[-1].set_result(None)
    assert await third == 2
    assert first.cancelled()
    assert second.cancelled()


async def test_an_answer_older_than_it_may_be_is_not_waited_for(env: Env, clock: HandClock) -> None:
    registry = Registry()
    answers: Cache[str, int] = Cache(registry.look_up, env)
    slow = await asking(answers)
    clock.at += REMEMBER_S
    late = await asking(answers)
    registry.let_through()
    assert await slow == 1
    registry.let_through()
    assert await late == 2
    assert await answers.get("a") == 2


async def test_what_is_forgotten_is_looked_up_anew_even_while_it_is_on_its_way(env: Env) -> None:
    registry = Registry()
    answers: Cache[str, int] = Cache(registry.look_up, env)
    before = await asking(answers)
    answers.forget("a")
    after = await asking(answers)
    registry.let_through()
    assert await before == 1
    registry.let_through()
    assert await after == 2
    assert await answers.get("a") == 2


async def test_the_memory_does_not_grow_without_end(env: Env) -> None:
    async def look_up(key: int) -> int:
        return key

    answers: Cache[int, int] = Cache(look_up, env)
    for key in range(MOST + 5):
        assert await answers.get(key) == key
    assert 0 < len(answers) <= MOST
