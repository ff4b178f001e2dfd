"""A rail that says nothing keeps its own rows waiting and nobody else's."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Pending
from gateway.claims import Claims
from gateway.payments.create import NewPayment
from gateway.payments.janitor import REST_S
from gateway.store import find_payment
from gateway.tables import Attempt, Refund
from kernel.db import acquire
from tests.gateway.front import Front, a_front
from tests.kernel.one_book import book_held

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


async def test_a_locked_book_with_a_backlog_holds_up_no_other_book(database_url: str, tmp_path: Path) -> None:
    """Its rows stay due and are the oldest: without making room they would fill every round."""
    async with a_front(database_url, tmp_path) as front:
        other = await front.hub.merchants.add("another shop", currencies=["CNY"])
        await front.hub.channel_admin.add_by_hand(other.book, "rail", "scripted", {}, fee_bp=60)
        front.rail.says(pay=Pending(), query=Pending())
        backlog = [(await front.pay(f"order-{n}")).body["id"] for n in range(BACKLOG)]
        new = NewPayment("late", 100, "CNY", "qr", "tea", None, [], timedelta(hours=1))
        claims = Claims(("i:late", "o:late"), b"0" * 32)
        late, _ = await front.hub.payments.create(other.book, new, claims, channel="auto", auth_code=None)
        front.clock.forward(61)
        front.rail.works("query")
        front.hub.lanes.all[0]._lock_patience_s = 0
        async with book_held(database_url, front.book):
            janitor = front.hub.janitor()
            await janitor.once()
            assert len(front.asked("query")) == 0, "a locked book's rows filled the round"
            await janitor.once()
            async with acquire(front.hub.pool) as connection:
                found = await find_payment(connection, other.book, late.id)
            assert found is not None
            assert found.status == "succeeded"
        front.clock.forward(61)
        while await janitor.once():
            pass
        assert {(await front.stored(payment_id)).status for payment_id in backlog} == {"succeeded"}
