"""A bank that is away for a night costs the log two lines, and is found again when it is back."""

import logging
from typing import Any, cast

import pytest

from kernel.env import system_env
from kernel.errors import Rejected, Unavailable
from splitting.banks.worker import BankWorker
from tests.gateway.front import HandClock


async def test_a_bank_that_is_away_is_asked_less_and_less_often_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    env, clock = system_env(cast(Any, None)), HandClock()
    env.clock = clock
    bank_worker = BankWorker(cast(Any, None), cast(Any, None), env, cast(Any, None), cast(Any, None))
    away, asked, others = True, list[int](), 0

    async def ask(second: int) -> str:
        asked.append(second)
        if away:
            raise Unavailable("bank_unreachable", "the bank did not answer", retry_after_s=5)
        return "files"

    async def ask_another() -> None:
        nonlocal others
        others += 1

    with caplog.at_level(logging.INFO):
        for second in range(100):
            assert await bank_worker.tend("harbour", 1, ask(second)) is None
            await bank_worker.tend("harbour", 2, ask_another())
            clock.forward(1)
        assert asked == [0, 2, 6, 14, 30, 60, 90]
        assert others == 100
        away = False
        for second in range(100, 140):
            found = await bank_worker.tend("harbour", 1, ask(second))
            assert found == (None if second < 120 else "files")
            clock.forward(1)
    assert [record.message for record in caplog.records] == [
        "a bank is away; asking again later",
        "a bank answers again",
    ]


@pytest.mark.parametrize("error", [Rejected("bank_http_401", "the bank said no"), RuntimeError("a mistake of ours")])
async def test_whatever_goes_wrong_is_tried_less_and_less_often_and_told_of_when_it_is_something_else(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    env, clock = system_env(cast(Any, None)), HandClock()
    env.clock = clock
    bank_worker = BankWorker(cast(Any, None), cast(Any, None), env, cast(Any, None), cast(Any, None))
    asked = list[int]()

    async def ask(second: int) -> None:
        asked.append(second)
        raise error if second < 60 else RuntimeError("another mistake")

    with caplog.at_level(logging.ERROR):
        for second in range(100):
            assert await bank_worker.tend("harbour", 1, ask(second)) is None
            clock.forward(1)
    assert asked == [0, 2, 6, 14, 30, 60, 90]
    assert len(caplog.records) == 2
