"""Turns: one at a time for each, slow ones told of with where they wait, endless ones cut off."""

import asyncio
import logging
from dataclasses import replace

import pytest

from kernel.env import SystemClock, system_env
from kernel.turns import Turns, waits_at


class _LaterClock(SystemClock):
    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def _never() -> None:
    await asyncio.Event().wait()


async def test_each_has_one_turn_at_a_time_and_another_when_it_has_ended() -> None:
    env = system_env()
    turns: Turns[str, int] = Turns(env, "a turn")

    async def seven() -> int:
        return 7

    first = turns.begin("one", seven())
    assert "one" in turns
    with pytest.raises(RuntimeError, match="a turn of one is under way"):
        turns.begin("one", seven())
    other = turns.begin("other", seven())
    assert turns.keys == ["one", "other"]
    assert [await first, await other] == [7, 7]
    assert turns.tasks == []
    assert await turns.begin("one", seven()) == 7
    await env.tasks.aclose()


async def test_one_that_is_cancelled_before_its_first_step_is_not_under_way_for_ever() -> None:
    env = system_env()
    turns: Turns[str, None] = Turns(env, "a turn")
    task = turns.begin("one", _never())
    task.cancel()
    await asyncio.wait([task])
    assert "one" not in turns


async def test_one_that_takes_long_is_told_of_once_with_the_place_where_it_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = _LaterClock()
    env = replace(system_env(), clock=clock)
    turns: Turns[int, None] = Turns(env, "a turn", tell_after_s=60)
    task = turns.begin(17, _never())
    await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING):
        turns.tell_late()
        assert caplog.records == []
        clock.ahead_s = 61
        turns.tell_late()
        turns.tell_late()
    (record,) = caplog.records
    told = record.__dict__
    assert (told["what"], told["of"], told["s"]) == ("a turn", "17", 61)
    assert any("test_turns.py" in place and place.endswith("_never") for place in told["at"])
    assert waits_at(task) == told["at"]
    await env.tasks.aclose()


async def test_one_that_does_not_end_is_cut_off_and_may_be_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    env = system_env()
    turns: Turns[str, None] = Turns(env, "a turn", limit_s=0.01)
    with caplog.at_level(logging.ERROR):
        await turns.begin("one", _never())
    assert [record.message for record in caplog.records] == ["a turn was cut off"]
    assert "one" not in turns


async def test_one_that_waits_for_others_to_make_room_is_neither_late_nor_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def seven() -> int:
        return 7

    env = system_env()
    turns: Turns[str, int] = Turns(env, "a turn", tell_after_s=0, limit_s=0.01)
    room = asyncio.Semaphore(1)
    with caplog.at_level(logging.WARNING):
        async with room:
            task = turns.begin("one", seven(), room=room)
            await asyncio.sleep(0.05)
            turns.tell_late()
            assert "one" in turns
        assert await task == 7
    assert caplog.records == []


async def test_a_time_out_of_the_work_itself_is_its_own() -> None:
    async def times_out() -> None:
        raise TimeoutError("of its own")

    env = system_env()
    turns: Turns[str, None] = Turns(env, "a turn")
    with pytest.raises(TimeoutError, match="of its own"):
        await turns.begin("one", times_out())
