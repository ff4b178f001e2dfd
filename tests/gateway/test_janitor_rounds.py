"""A rail that says nothing keeps its own rows waiting and nobody else's."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Pending
from gateway.janitor import REST_S
from gateway.tables import Attempt, Refund
from tests.gateway.front import Front, a_front

ROUND = 16
BACKLOG = 20


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():  # noqa: ASYNC110 - rows of a database set no event
        await asyncio.sleep(0.01)


async def with_a_backlog(front: Front) -> str:
    """Have many payments wait at the first rail and, last of all, one at the second; return that one's id."""
    front.rail.says(pay=Pending(), query=Pending())
    front.others["second"].says(pay=Pending())
    for n in range(BACKLOG):
        await front.pay(f"order-{n}", method={"type": "qr", "channel": "scripted"})
    late: dict[str, Any] = (await front.pay("late", method={"type": "qr", "channel": "other"})).body
    front.clock.forward(61)
    return str(late["id"])


async def test_a_silent_rail_with_a_backlog_holds_up_no_other_rail(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        payment_id = await with_a_backlog(front)
        silent = front.gate("scripted:")
        working = front.hub.env.spawn("janitor", front.hub.janitor().run(idle_s=0.01))

        async def the_other_is_paid_and_one_round_waits() -> bool:
            is_paid = (await front.stored(payment_id)).status == "succeeded"
            return is_paid and len(front.asked("query")) == ROUND

        await until(the_other_is_paid_and_one_round_waits)
        silent.open.set()

        async def all_are_asked() -> bool:
            return len(front.asked("query")) >= BACKLOG

        await until(all_are_asked)
        working.cancel()
        await asyncio.wait({working})


async def test_a_round_that_goes_wrong_rests_first_and_is_begun_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        await with_a_backlog(front)
        janitor = front.hub.janitor()
        taking = front.hub.payments.take

        async def mistaken(row: Attempt | Refund) -> bool:
            if isinstance(row, Attempt) and row.channel == "scripted":
                raise RuntimeError("a mistake of ours")
            return await taking(row)

        with monkeypatch.context() as patch:
            patch.setattr(front.hub.payments, "take", mistaken)
            before = front.clock.monotonic()
            with pytest.raises(ExceptionGroup, match="scripted"):
                await janitor.once()
            assert front.clock.monotonic() == before + REST_S
        assert await janitor.once() == ROUND
        assert len(front.asked("query")) == ROUND
