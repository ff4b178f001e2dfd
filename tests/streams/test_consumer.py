"""Events are gapless and in order, and a consumer handles each exactly once in effect, whatever else happens."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from kernel.db import Connection
from kernel.errors import Broken, Conflict, Rejected, Unavailable
from streams import Bell, Consumer, Event, events_after
from streams.consumer import GATHER_S, PAGE
from streams.store import pass_over
from tests.kernel.cable import Cut, cable
from tests.kernel.one_book import Pay, a_lane, book_held, broken, gathered, open_book, outside, told, until
from tests.streams.listening import Hall, Listener, Tell, a_hall, open_books, running, set_up, told_at_once

ONE, TWO, THREE = 1, 2, 3


@pytest.fixture
async def url(database_url: str) -> str:
    await set_up(database_url, [ONE, TWO, THREE])
    return database_url


@pytest.fixture
async def hall(url: str) -> AsyncIterator[Hall]:
    async with a_hall(url) as hall:
        yield hall


# -- events ------------------------------------------------------------------------------------------------------------


async def test_events_are_numbered_without_a_gap_although_commands_refuse_and_two_lanes_write(
    database_url: str,
) -> None:
    book = 7
    async with outside(database_url) as connection:
        await open_book(connection, book)
    commands = [Pay(book, f"p{n}", then=Rejected("no", "no") if n % 4 == 0 else None) for n in range(80)]
    async with a_lane(database_url, max_batch=7) as one, a_lane(database_url, max_batch=7) as other:
        await asyncio.gather(gathered(one, commands[::2]), gathered(other, commands[1::2]))
    async with outside(database_url) as connection:
        events = await events_after(connection, book, 0, 1_000)
        assert [event.seq for event in events] == list(range(1, 61))
        assert sorted(event.subject for event in events) == sorted(f"p{n}" for n in range(80) if n % 4)
        assert [event.recorded_at for event in events] == sorted(event.recorded_at for event in events)
        assert len({event.id for event in events}) == 60
        assert {orjson.loads(event.payload)["amount"] for event in events} == {100}
        assert await broken(connection) == {}


async def test_events_are_read_in_pieces_and_by_type(hall: Hall) -> None:
    for n in range(10):
        await hall.tell(ONE, f"s{n}", type_=("payment.succeeded", "payment.failed")[n % 2])
    await hall.tell(TWO, "another book's")
    async with outside(hall.url) as connection:
        assert [e.subject for e in await events_after(connection, ONE, 3, 4)] == ["s3", "s4", "s5", "s6"]
        failed = await events_after(connection, ONE, 0, 3, ["payment.failed"])
        assert [(e.seq, e.type) for e in failed] == [(n, "payment.failed") for n in (2, 4, 6)]
        assert await events_after(connection, ONE, 10, 100) == []
        assert await events_after(connection, 404, 0, 100) == []


# -- exactly once ------------------------------------------------------------------------------------------------------


async def test_each_event_is_handled_once_in_order_and_the_position_is_written_with_it(hall: Hall) -> None:
    consumer = hall.consumer(Listener())
    await hall.tell(ONE, "a", "b", "c")
    await hall.tell(TWO, "d")
    assert await consumer.once() == 2
    assert await consumer.once() == 0
    await hall.tell(ONE, "e")
    assert await consumer.once() == 1
    assert await hall.handled() == {ONE: [1, 2, 3, 4], TWO: [1]}
    assert await hall.positions() == {ONE: 4, TWO: 1}


async def test_a_consumer_passes_over_what_it_does_not_want(hall: Hall) -> None:
    listener = Listener()
    consumer = hall.consumer(listener)
    await hall.tell(ONE, "a", type_="payment.failed")
    await hall.tell(ONE, "b")
    await hall.tell(ONE, "c", type_="refund.created")
    await hall.tell(TWO, "d", type_="refund.created")
    await consumer.once()
    assert await hall.handled() == {ONE: [2]}
    assert await hall.positions() == {ONE: 3, TWO: 1}
    assert listener.met == [(ONE, 2)]


async def test_consumers_of_different_names_do_not_know_of_each_other(hall: Hall) -> None:
    await hall.tell(ONE, "a", "b")
    await hall.consumer(Listener("first")).once()
    await hall.tell(ONE, "c")
    await hall.consumer(Listener("second")).once()
    assert await hall.handled("first") == {ONE: [1, 2]}
    assert await hall.handled("second") == {ONE: [1, 2, 3]}


async def test_more_events_than_one_round_takes_are_all_handled(hall: Hall) -> None:
    await hall.tell(ONE, *[f"s{n}" for n in range(1_203)])
    consumer = hall.consumer(Listener())
    rounds = 0
    while await consumer.once():
        rounds += 1
    assert rounds == 3
    assert await hall.handled() == {ONE: list(range(1, 1_204))}


async def test_two_consumers_at_once_handle_each_event_once_in_effect(url: str) -> None:
    """Two processes with the same consumer, while events keep coming."""
    async with a_hall(url) as here, a_hall(url) as there:
        listeners = Listener(), Listener()
        consumers = here.consumer(listeners[0]), there.consumer(listeners[1])

        async def telling() -> None:
            for n in range(40):
                await asyncio.gather(*[here.tell(book, f"s{n}") for book in (ONE, TWO, THREE)])

        async def handling(which: int) -> None:
            while not done.is_set():
                await consumers[which].once()

        done = asyncio.Event()
        working = [asyncio.create_task(handling(which)) for which in (0, 1)]
        await telling()
        done.set()
        await asyncio.gather(*working)
        while await consumers[0].once():
            pass
        assert await here.handled() == {book: list(range(1, 41)) for book in (ONE, TWO, THREE)}
        assert all(listener.met for listener in listeners)
        async with outside(url) as connection:
            assert await broken(connection) == {}


async def test_two_consumers_that_read_the_same_events_do_not_both_handle_them(url: str) -> None:
    async with a_hall(url) as here, a_hall(url) as there:
        await here.tell(ONE, "a", "b", "c")
        listeners = Listener(), Listener()
        async with outside(url) as holder:
            holding = holder.transaction()
            await holding.start()
            await holder.execute("SELECT 1 FROM book WHERE book = $1 FOR UPDATE", ONE)
            rounds = [
                asyncio.create_task(hall.consumer(listener).once())
                for hall, listener in zip((here, there), listeners, strict=True)
            ]
            await until(lambda: all(hall.lanes.all[0].books_aside for hall in (here, there)))
            await holding.rollback()  # both have read position 0, and both have asked to move it
        assert sorted(await asyncio.gather(*rounds)) == [0, 1]
        assert await here.handled() == {ONE: [1, 2, 3]}
        assert sorted(len(listener.met) for listener in listeners) == [0, 3]


@pytest.mark.parametrize("cut", [Cut.BEFORE_IT_ARRIVES, Cut.AFTER_IT_IS_DONE])
async def test_a_lost_commit_neither_loses_nor_doubles_an_effect(url: str, cut: Cut) -> None:
    async with cable(url) as wire, a_hall(wire.url) as hall:
        consumer = hall.consumer(Listener())
        await hall.tell(ONE, "a", "b", "c")
        wire.cuts.append(cut)
        await consumer.once()
        assert wire.cut_count == 1
        assert await hall.handled() == {ONE: [1, 2, 3]}
        assert await hall.positions() == {ONE: 3}
        assert await consumer.once() == 0


async def test_a_book_that_something_else_holds_keeps_no_other_book_waiting(url: str) -> None:
    async with a_hall(url, lock_patience_s=600) as hall:
        consumer = hall.consumer(Listener())
        for book in (ONE, TWO, THREE):
            await hall.tell(book, "a")
        async with book_held(url, ONE):
            assert await consumer.once() == 2
            assert await hall.handled() == {TWO: [1], THREE: [1]}
            await hall.tell(THREE, "b")
            assert await consumer.once() == 1
        await until(lambda: not hall.lanes.all[0].books_aside)
        while await consumer.once():
            pass
        assert await hall.handled() == {ONE: [1], TWO: [1], THREE: [1, 2]}


# -- events that concern nobody ----------------------------------------------------------------------------------------


async def wide(connection: Connection, book: int, events: Sequence[Event]) -> Sequence[Event]:
    """Tell that only subjects of more than one letter may have an effect."""
    return [event for event in events if len(event.subject) > 1]


async def test_what_concerns_nobody_is_passed_over_though_the_book_is_held(hall: Hall) -> None:
    consumer = hall.consumer(Listener(), concerning=wide)
    for book in (ONE, TWO, THREE):
        await hall.tell(book, "first")
    await consumer.once()
    await hall.tell(ONE, "a", "b")
    await hall.tell(TWO, "c", type_="refund.created")
    await hall.tell(THREE, "effective")
    async with book_held(hall.url, ONE, TWO, THREE):
        assert await consumer.once() == 2
        assert await hall.positions() == {ONE: 3, TWO: 2, THREE: 1}
    while (await hall.positions())[THREE] == 1:
        await consumer.once()
    assert await hall.handled() == {ONE: [1], TWO: [1], THREE: [1, 2]}


async def test_a_consumer_that_is_elsewhere_by_now_is_not_moved_past_events(hall: Hall) -> None:
    await hall.tell(ONE, *"abcdef")
    await hall.consumer(Listener()).once()
    async with outside(hall.url) as connection:
        for position in (0, 3, 7):
            assert not await pass_over(connection, ONE, "listener", position, 5)
        assert not await pass_over(connection, TWO, "listener", 6, 7)
        assert await hall.positions() == {ONE: 6}
        assert await pass_over(connection, ONE, "listener", 6, 7)
        assert await hall.positions() == {ONE: 7}


async def test_two_consumers_at_once_pass_over_nothing_that_has_an_effect(url: str) -> None:
    rng = random.Random(20261130)
    subjects = [["x", "wide"][rng.random() < 0.3] for _ in range(120)]
    async with a_hall(url) as here, a_hall(url) as there:
        consumers = [hall.consumer(Listener(), concerning=wide) for hall in (here, there)]

        async def telling() -> None:
            for subject in subjects:
                await here.tell(ONE, subject)

        async def handling(consumer: Consumer) -> None:
            while not done.is_set():
                await consumer.once()

        done = asyncio.Event()
        working = [asyncio.create_task(handling(consumer)) for consumer in consumers]
        await telling()
        done.set()
        await asyncio.gather(*working)
        while await consumers[0].once():
            pass
        assert await here.handled() == {ONE: [n for n, subject in enumerate(subjects, 1) if subject == "wide"]}
        assert await here.positions() == {ONE: 120}


# -- events nobody can handle ------------------------------------------------------------------------------------------

MISTAKES = [
    Rejected("cannot", "it cannot be"), Conflict("exists", "it is there"), Broken("broken", "an invariant"),
    KeyError("a mistake"), ValueError(),
]  # fmt: skip


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: type(mistake).__name__)
async def test_an_event_that_cannot_be_handled_stops_its_own_book_only(
    hall: Hall, mistake: Exception, early: bool
) -> None:
    listener = Listener()
    failing = listener.fails_early if early else listener.fails
    failing["poison"] = mistake
    consumer = hall.consumer(listener)
    await hall.tell(ONE, "a", "b", "c", "poison", "d")
    await hall.tell(TWO, "e", "poison too")
    await hall.tell(THREE, "f")
    while await consumer.once():
        pass
    assert await hall.handled() == {ONE: [1, 2, 3], TWO: [1, 2], THREE: [1]}
    assert await hall.positions() == {ONE: 3, TWO: 2, THREE: 1}
    await hall.tell(ONE, "g")
    await hall.tell(TWO, "h")
    assert await consumer.once() == 1
    assert await hall.handled() == {ONE: [1, 2, 3], TWO: [1, 2, 3], THREE: [1]}
    failing.clear()  # someone has mended it
    await consumer.once()
    assert await hall.handled() == {ONE: [1, 2, 3, 4, 5, 6], TWO: [1, 2, 3], THREE: [1]}


async def test_books_that_are_stuck_do_not_keep_the_consumer_busy(hall: Hall) -> None:
    """A round that moved nothing says so; otherwise `run` would go round and round without a rest."""
    listener = Listener(fails={"poison": KeyError("a mistake")})
    await hall.tell(ONE, "poison")
    assert await hall.consumer(listener).once() == 0


async def test_any_number_of_stuck_books_leaves_the_others_alone(url: str) -> None:
    stuck, well = range(10, 215), 999
    async with outside(url) as connection:
        await open_books(connection, [*stuck, well])
        await told_at_once(connection, [*(Tell(book, ["poison"]) for book in stuck), Tell(well, ["a"])])
    async with a_hall(url) as hall:
        consumer = hall.consumer(Listener(fails={"poison": Rejected("cannot", "it cannot be")}))
        for _ in range(2):
            await consumer.once()
        assert await hall.handled() == {well: [1]}


# -- the loop ----------------------------------------------------------------------------------------------------------


async def test_the_loop_goes_on_after_the_database_was_away_and_needs_no_bell(url: str) -> None:
    async with cable(url) as wire, a_hall(wire.url, patience_s=0.05) as hall, a_hall(url) as elsewhere:
        listener = Listener()
        async with running(hall.consumer(listener).run(Bell(None, hall.env), idle_s=0.01)):
            await elsewhere.tell(ONE, "a")
            await until(lambda: len(listener.met) == 1)
            wire.unplug()
            await elsewhere.tell(ONE, "b")
            with pytest.raises(Unavailable):
                await hall.tell(ONE, "not told")
            wire.plug()
            while await elsewhere.handled() != {ONE: [1, 2]}:  # noqa: ASYNC110 - the other process gets there
                await asyncio.sleep(0.005)
    async with outside(url) as connection:
        assert await told(connection, ONE) == ["a", "b"]


async def test_the_loop_lets_events_gather_while_they_keep_coming_and_not_while_some_are_left(url: str) -> None:
    async with a_hall(url) as hall:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await asyncio.sleep(0.01)

        hall.env.sleep = sleep
        listener = Listener()
        await hall.tell(ONE, *[f"s{n}" for n in range(2 * PAGE + 3)])
        async with running(hall.consumer(listener).run(Bell(None, hall.env), idle_s=0.01)):
            await until(lambda: len(listener.met) == 2 * PAGE + 3 and slept)
            await hall.tell(ONE, "one more")
            await until(lambda: len(listener.met) == 2 * PAGE + 4 and len(slept) > 1)
        assert slept == [GATHER_S, GATHER_S]
