"""A wait in vain says what was waited for, how long, and what was lacking at the last look."""

import pytest

from kernel.errors import Unavailable
from ops.trials.replay.patience import InVain, again, until


async def test_a_wait_ends_when_nothing_is_lacking() -> None:
    left = ["two eggs", "one egg", ""]

    async def lacking() -> str:
        return left.pop(0)

    await until("the cake is made", lacking)
    assert left == []


async def test_a_wait_in_vain_says_what_is_lacking_still() -> None:
    left = ["two eggs"]

    async def lacking() -> str:
        return left.pop(0) if left else "one egg"

    with pytest.raises(InVain) as told:
        await until("the cake is made", lacking, patience_s=0.1)
    assert str(told.value) == "the cake is made: waited 0.1 s in vain; one egg"


async def test_what_is_being_restarted_is_asked_again_and_in_the_end_told_of() -> None:
    silent = 2

    async def work() -> str:
        nonlocal silent
        if silent:
            silent -= 1
            raise Unavailable("bank_unavailable", "the bank is away")
        return "done"

    assert await again(work) == "done"
    silent = 1000
    with pytest.raises(InVain, match=r"waited 0.1 s in vain; Unavailable: .*the bank is away"):
        await again(work, patience_s=0.1)
