"""A batch of many lines is made in portions: a draft until all are in, resumed by whoever comes, and never twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kernel.db import acquire
from kernel.work import Command
from splitting import BankLink, CreatePayee, LinkBank, MakeSettlement, Payee, store
from splitting.settlement.calendar import BankHours
from splitting.settlement.instructions import ReleaseSettlement
from splitting.settlement.making import make
from splitting.settlement.payouts import SetPayoutBank
from splitting.tables import Settlement
from tests.splitting.town import BANK, Town, a_town

COUNT = 23


class Stopped(Exception):
    """The process is killed before this portion."""


class Lanes:
    """Puts commands until it is told to stop, and counts them."""

    def __init__(self, town: Town, stops_before: int | None = None) -> None:
        self.town, self.stops_before, self.sizes = town, stops_before, list[int]()

    async def put(self, command: Command[Any], *, alone: bool = False) -> Any:
        if self.stops_before == len(self.sizes):
            raise Stopped
        assert isinstance(command, MakeSettlement)
        self.sizes.append(len(command.owed))
        return await self.town.front.hub.lanes.put(command, alone=alone)


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A town with 23 payees, all but the fifth and the last of whom are owed something."""
    async with a_town(database_url, tmp_path) as town:
        book, now = town.front.book, town.front.clock.now()
        await town.put(LinkBank(BankLink(book, BANK, "6200-pool", "{}", "{}")))
        for n in range(COUNT):
            one = f"pye_{n + 16:06x}{0:020x}"
            await town.put(CreatePayee(Payee(book, one, one, "supplier", "CNY", BANK, "62" + one[-12:], now)))
            if n not in (4, COUNT - 1):
                plan = [{"payee": one, "amount": 100 + n}]
                await town.front.paid(f"order-{n}", 1_000, split=plan)
        await town.front.share_out()
        yield town


EXPECTED = {f"pye_{n + 16:06x}{0:020x}": 100 + n for n in range(COUNT) if n not in (4, COUNT - 1)}


def batch(town: Town) -> MakeSettlement:
    day = town.today
    return MakeSettlement(town.front.book, BANK, day, day + timedelta(days=1), "CNY", [], town.front.clock.now())


def everybody(owed: store.Owed) -> store.Owed | None:
    return owed if owed.minor > 0 else None


async def made(town: Town, lanes: Lanes, portion: int = 5) -> Settlement | None:
    return await make(town.front.hub.pool, lanes, batch(town), everybody, portion=portion)


async def lines(town: Town) -> dict[str, int]:
    return {payee: line.amount_minor for payee, line in (await town.lines(town.today)).items()}


async def unsent(town: Town) -> list[Settlement]:
    async with acquire(town.front.hub.pool) as connection:
        return [one async for one in store.unsent(connection)]


@pytest.mark.parametrize("portion", [1, 5, 6, 22, 25, 26, 27, 250])
async def test_portions_of_any_size_make_the_same_batch(town: Town, portion: int) -> None:
    lanes = Lanes(town)
    settlement = await made(town, lanes, portion)
    assert settlement is not None
    assert (settlement.status, settlement.instruction_count) == ("created", len(EXPECTED))
    assert await lines(town) == EXPECTED
    assert max(lanes.sizes) <= portion
    assert await town.front.events("settlement.created") == ["settlement.created"]
    assert (await town.standing())["in_transit:citybank"] == sum(EXPECTED.values()) == settlement.total_minor
    await town.front.assert_books_hold()


@pytest.mark.parametrize("portions", range(6))
async def test_a_batch_whose_making_was_killed_is_a_draft_that_nobody_sends_and_goes_on(
    town: Town, portions: int
) -> None:
    with pytest.raises(Stopped):
        await made(town, Lanes(town, stops_before=portions))
    so_far = await lines(town)
    assert await unsent(town) == []
    if so_far:
        assert (await town.batch(town.today)).status == "draft"
        assert await town.front.events("settlement.created") == []
    await town.front.assert_books_hold()
    again = Lanes(town)
    settlement = await made(town, again)
    assert settlement is not None
    assert (settlement.status, settlement.drafted_to) == ("created", None)
    assert await lines(town) == EXPECTED
    assert so_far.items() <= EXPECTED.items()
    assert await made(town, Lanes(town)) == settlement, "again changes nothing"
    await town.front.assert_books_hold()


async def test_several_who_make_it_at_once_make_it_once(town: Town) -> None:
    found = await asyncio.gather(*(made(town, Lanes(town), portion) for portion in (3, 3, 4, 5, 7)))
    assert {one.id for one in found if one is not None} == {town.id(town.today)}
    settlement = await town.batch(town.today)
    assert settlement.status == "created"
    assert await lines(town) == EXPECTED
    await town.front.assert_books_hold()


async def test_a_portion_that_is_not_the_next_one_changes_nothing(town: Town) -> None:
    with pytest.raises(Stopped):
        await made(town, Lanes(town, stops_before=2))
    draft = await town.batch(town.today)
    payee = next(iter(EXPECTED))
    for after, upto in (("", "pye_2"), ("pye_zzz", None)):
        part = replace(batch(town), owed=[store.Owed(payee, 100, 0)], after=after, upto=upto)
        assert await town.put(part) == draft


async def test_the_limit_of_one_person_is_of_the_whole_batch_and_a_draft_is_not_released(town: Town) -> None:
    book = town.front.book
    await town.put(SetPayoutBank(book, BANK, BankHours(), sum(EXPECTED.values()) - 1, False))
    with pytest.raises(Stopped):
        await made(town, Lanes(town, stops_before=3))
    with pytest.raises(Exception, match="draft"):
        await town.put(ReleaseSettlement(book, town.id(town.today)))
    settlement = await made(town, Lanes(town))
    assert settlement is not None
    assert settlement.status == "awaiting_release"
    assert (await town.put(ReleaseSettlement(book, settlement.id))).status == "created"
    assert [one.id for one in await unsent(town)] == [settlement.id]


async def test_nobody_owed_anything_is_no_batch(town: Town) -> None:
    assert await make(town.front.hub.pool, Lanes(town), batch(town), lambda owed: None, portion=5) is None
    async with acquire(town.front.hub.pool) as connection:
        assert await store.find_settlement(connection, town.front.book, town.id(town.today)) is None
