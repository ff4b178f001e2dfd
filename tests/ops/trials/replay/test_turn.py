"""Turns: two replays that share a bank never have its day at the same time."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from ops.trials.replay.turn import turn


async def test_whoever_comes_second_waits_until_the_first_is_done(tmp_path: Path) -> None:
    order: list[str] = []
    inside = asyncio.Event()

    async def first() -> None:
        async with turn(tmp_path / "lock", patience_s=60):
            order.append("first in")
            inside.set()
            await asyncio.sleep(0.2)
            order.append("first out")

    async def second() -> None:
        await inside.wait()
        async with turn(tmp_path / "lock", patience_s=60):
            order.append("second in")

    await asyncio.gather(first(), second())
    assert order == ["first in", "first out", "second in"]


async def test_those_who_share_go_in_together_and_keep_a_loner_out(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    async with turn(lock, patience_s=60, shared=True), turn(lock, patience_s=60, shared=True):
        with pytest.raises(TimeoutError, match="held by another replay"):
            async with turn(lock, patience_s=0.1):
                pass
    async with turn(lock, patience_s=60):
        pass


async def test_a_killed_holder_gives_the_turn_back(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holding = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom ops.trials.replay.turn import turn\n"
        "async def main():\n    async with turn(Path(sys.argv[1]), patience_s=60):\n"
        "        print('in', flush=True)\n        await asyncio.sleep(600)\nasyncio.run(main())"
    )
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", holding, str(lock), stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"in\n"
    with pytest.raises(TimeoutError):
        async with turn(lock, patience_s=0.1):
            pass
    holder.kill()
    await holder.wait()
    async with turn(lock, patience_s=60):
        pass
