"""The seams: background work that is named, owned, reported when it fails, and ended when its owner ends."""

import asyncio
import logging

import pytest

from kernel.env import NoTransport, NotSent, Request, Tasks, system_env


async def test_background_work_that_fails_is_told_and_not_silently_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ZeroDivisionError("a mistake")

    tasks = Tasks()
    with caplog.at_level(logging.ERROR):
        failed = tasks.spawn("the one that fails", fails())
        await asyncio.wait([failed])
    (record,) = caplog.records
    assert record.__dict__["task"] == "the one that fails"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    await tasks.aclose()


async def test_closing_ends_all_that_runs_and_waits_for_it() -> None:
    async def tidies() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            tidied.append(True)

    tidied: list[bool] = []
    tasks = Tasks()
    for _ in range(3):
        tasks.spawn("tidies", tidies())
    await asyncio.sleep(0)
    await tasks.aclose()
    assert len(tidied) == 3


async def test_closing_ends_also_what_has_lost_its_cancellation() -> None:
    async def loses_it() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append(True)
        await asyncio.Event().wait()

    lost: list[bool] = []
    tasks = Tasks()
    task = tasks.spawn("loses it", loses_it())
    await asyncio.sleep(0)
    await tasks.aclose(patience_s=0.01)
    assert lost == [True]
    assert task.cancelled()


@pytest.mark.parametrize(
    "end",
    [asyncio.CancelledError(), ZeroDivisionError("a mistake"), None],
    ids=["a leaked cancellation", "error", "end"],
)
async def test_work_that_is_kept_up_is_begun_again_whatever_ends_it(
    end: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    begun = 0
    again = asyncio.Event()

    async def ends_once() -> None:
        nonlocal begun
        begun += 1
        if begun == 2:
            again.set()
            await asyncio.Event().wait()
        if end is not None:
            raise end

    tasks = Tasks()
    with caplog.at_level(logging.ERROR):
        tasks.keep("the one kept up", ends_once, pause_s=0)
        await again.wait()
    (record,) = caplog.records
    assert record.__dict__["task"] == "the one kept up"
    await tasks.aclose()
    assert begun == 2


async def test_a_process_without_a_way_out_sends_nothing() -> None:
    with pytest.raises(NotSent, match="no way out"):
        await NoTransport().send(Request("POST", "https://example.com/pay"), timeout_s=1)


async def test_work_is_offloaded_or_done_here_with_the_same_result() -> None:
    env = system_env()
    assert await env.offload(sum, [1, 2, 3]) == 6
    env.executor = None
    assert await env.offload(sum, [1, 2, 3]) == 6
