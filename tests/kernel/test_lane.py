"""The commit lane on a real PostgreSQL: who shares a commit, who gets which answer, and what a fault may not do."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

import ledger
from kernel.db import LOST, acquire, connect, transaction
from kernel.env import Env, SystemClock, system_env
from kernel.errors import NotFound, Rejected, Unavailable
from kernel.lane import ASIDES, MAX_SKEW, Lane, Lanes
from kernel.work import BOOKS, Command, Need, Work, lock_books, perform
from ledger import Transfer, accounts
from tests.conftest import TestServer
from tests.kernel.cable import Cable, Cut, cable
from tests.kernel.one_book import (
    MERCHANT,
    NOW,
    Pay,
    a_lane,
    behind_another,
    book_held,
    broken,
    commit_held,
    gathered,
    hurried,
    open_book,
    outside,
    paid,
    standing,
    superuser,
    told,
    under_way,
    until,
    waiting_for_a_lock,
)

BOOK = 7


@pytest.fixture
async def book_url(database_url: str) -> str:
    """A database in which BOOK is open."""
    async with outside(database_url) as connection:
        await open_book(connection, BOOK)
    return database_url


async def assert_exactly(database_url: str, ids: Iterable[str], *, in_any_order: bool = False) -> None:
    """Check that these payments, of 100 each, and nothing else are in the book, each once, and that the book holds."""
    wanted = list(ids)
    async with outside(database_url) as connection:
        found = await paid(connection, BOOK)
        assert (sorted(found), found)[not in_any_order] == (sorted(wanted), wanted)[not in_any_order]
        assert await told(connection, BOOK) == found
        assert (await standing(connection, BOOK))[MERCHANT].balance == 100 * len(wanted)
        assert await broken(connection) == {}


def pays(count: int, prefix: str = "p") -> list[Pay]:
    return [Pay(BOOK, f"{prefix}{n}") for n in range(count)]


# -- sharing a commit --------------------------------------------------------------------------------------------------


async def test_each_caller_gets_the_result_of_its_own_command(book_url: str) -> None:
    commands = [Pay(BOOK, f"p{n}", then=Rejected("unwanted", f"number {n}") if n % 3 == 1 else None) for n in range(30)]
    async with a_lane(book_url) as lane:
        results = await gathered(lane, commands)
        assert lane.figures.batches == 1
    for n, result in enumerate(results):
        if n % 3 == 1:
            assert isinstance(result, Rejected)
            assert result.message == f"number {n}"
        else:
            assert result == f"p{n} done"
    await assert_exactly(book_url, [f"p{n}" for n in range(30) if n % 3 != 1])


async def test_an_idle_lane_commits_at_once_and_never_waits_for_company(book_url: str) -> None:
    env = system_env()

    async def no_sleep(seconds: float) -> None:
        raise AssertionError(f"the lane waited {seconds} s")

    env.sleep = no_sleep
    async with a_lane(book_url, env=env) as lane:
        for command in pays(3):
            await lane.put(command)
        assert lane.figures.sizes == {1: 3}


async def test_a_busy_lane_takes_all_that_gathered_meanwhile_into_the_next_commit(book_url: str) -> None:
    async with a_lane(book_url) as lane:
        results = await behind_another(lane, Pay(BOOK, "first"), pays(20))
        assert (lane.figures.batches, lane.figures.commands, lane.figures.largest) == (2, 21, 20)
        assert lane.figures.sizes == {1: 1, 32: 1}
    assert results == ["first done", *(f"p{n} done" for n in range(20))]
    await assert_exactly(book_url, ["first", *(f"p{n}" for n in range(20))])


async def test_what_callers_put_on_their_answer_shares_the_next_commit_with_what_gathered(book_url: str) -> None:
    """A payment is two commits: its second would else wait for the commit of what gathered behind its first."""

    async def twice(lane: Lane[Command[Any]], n: int) -> None:
        await lane.put(Pay(BOOK, f"first {n}"))
        await lane.put(Pay(BOOK, f"second {n}"))

    async with a_lane(book_url) as lane:
        async with commit_held(lane):
            pairs = [asyncio.create_task(twice(lane, n)) for n in range(10)]
            await until(lambda: lane._writing and not lane.waiting)
            single = [asyncio.create_task(lane.put(command)) for command in pays(5)]
            await until(lambda: lane.waiting == 5)
        await asyncio.gather(*pairs, *single)
        assert (lane.figures.batches, lane.figures.largest) == (2, 15)


async def test_a_commit_is_never_larger_than_the_lane_allows(book_url: str) -> None:
    async with a_lane(book_url, max_batch=8) as lane:
        await gathered(lane, pays(20))
        assert (lane.figures.batches, lane.figures.largest) == (3, 8)
    await assert_exactly(book_url, [f"p{n}" for n in range(20)])


async def test_no_caller_is_answered_before_the_commit(book_url: str) -> None:
    async with a_lane(book_url) as lane, outside(book_url) as observer:
        putting = [asyncio.create_task(lane.put(command)) for command in pays(50)]
        seen: list[tuple[int, int]] = []
        for first in asyncio.as_completed(putting):
            await first
            answered = sum(task.done() for task in putting)
            seen.append((answered, len(await paid(observer, BOOK))))
        assert all(durable >= answered for answered, durable in seen), seen


async def test_a_full_lane_refuses_before_anything_is_done(book_url: str) -> None:
    async with a_lane(book_url, max_waiting=3) as lane:
        async with commit_held(lane):
            writing = await under_way(lane, Pay(BOOK, "writing"))
            waiting = [asyncio.create_task(lane.put(command)) for command in pays(3)]
            await until(lambda: lane.waiting == 3)
            with pytest.raises(Unavailable) as refusal:
                await lane.put(Pay(BOOK, "one too many"))
            assert (refusal.value.code, lane.figures.refused_full) == ("busy", 1)
        assert list(await asyncio.gather(writing, *waiting)) == ["writing done", "p0 done", "p1 done", "p2 done"]
        assert await lane.put(Pay(BOOK, "afterwards")) == "afterwards done"
    await assert_exactly(book_url, ["writing", "p0", "p1", "p2", "afterwards"])


async def test_lanes_send_each_book_to_its_own_node(database_url: str) -> None:
    async with outside(database_url) as connection:
        for book in (1, 2, 3):
            await open_book(connection, book)
    async with a_lane(database_url) as even, a_lane(database_url) as odd:
        lanes = Lanes([even, odd], lambda book: book % 2)
        await asyncio.gather(*[lanes.put(Pay(book, f"p{book}")) for book in (1, 2, 3)])
        assert [lane.figures.commands for lane in lanes.all] == [1, 2]


# -- neighbours --------------------------------------------------------------------------------------------------------


async def test_a_caller_that_goes_away_leaves_its_command_and_its_neighbours_alone(book_url: str) -> None:
    async with a_lane(book_url) as lane:
        async with commit_held(lane):
            writing = await under_way(lane, Pay(BOOK, "writing"))
            before, gone, after = (asyncio.create_task(lane.put(Pay(BOOK, n))) for n in ("before", "gone", "after"))
            await until(lambda: lane.waiting == 3)
            gone.cancel()
            writing.cancel()  # one whose commit is already on its way
            await asyncio.wait([gone, writing])
        assert list(await asyncio.gather(before, after)) == ["before done", "after done"]
        assert gone.cancelled()
        assert writing.cancelled()
        assert await lane.put(Pay(BOOK, "gone")) == "was done before"
    await assert_exactly(book_url, ["writing", "before", "gone", "after"])


async def test_a_refused_command_leaves_no_trace_among_its_neighbours(book_url: str) -> None:
    refused = [
        Pay(BOOK, "r1", then=Rejected("unwanted", "after it had changed rows and told an event")),
        Pay(BOOK, "r2", amount_minor=0),
        Pay(404, "r3"),
        Pay(BOOK, "r4", then=ZeroDivisionError("a mistake in a command")),
    ]
    good = pays(4)
    mixed = [command for pair in zip(good, refused, strict=True) for command in pair]
    async with a_lane(book_url) as lane:
        results = await behind_another(lane, Pay(BOOK, "first"), mixed)
        assert (lane.figures.batches, lane.figures.split) == (2, 0)
    assert results[1::2] == [f"p{n} done" for n in range(4)]
    assert [type(result) for result in results[2::2]] == [
        Rejected,
        type(results[4]),
        type(results[6]),
        ZeroDivisionError,
    ]
    assert all(isinstance(result, Exception) for result in results[2::2])
    await assert_exactly(book_url, ["first", "p0", "p1", "p2", "p3"])


POISONS = {
    "a NUL character": (Pay(BOOK, "poison", note="a\0b"), asyncpg.CharacterNotInRepertoireError),
    "an id that is taken": (Pay(BOOK, "taken", fresh=True), asyncpg.UniqueViolationError),
    "more than a bigint holds": (Pay(8, "poison"), Exception),
    "text that is not Unicode": (Pay(BOOK, "poison", note="\ud800"), UnicodeEncodeError),
}


@pytest.mark.parametrize("place", [0, 4, 8])
@pytest.mark.parametrize("poison", POISONS)
async def test_an_item_that_poisons_the_batch_is_found_and_its_neighbours_commit(
    book_url: str, pg_server: TestServer, poison: str, place: int
) -> None:
    async with superuser(pg_server, book_url) as connection:
        await open_book(connection, 8)
        await connection.execute(f"UPDATE account SET credits = {2**63 - 50}, debits = {2**63 - 50} WHERE book = 8")
    command, error = POISONS[poison]
    batch = pays(8)
    batch.insert(place, command)
    async with a_lane(book_url) as lane:
        first, *results = await behind_another(lane, Pay(BOOK, "taken"), batch)
        assert lane.figures.largest == 9
        assert lane.figures.looked_up_again == 0
    assert first == "taken done"
    assert isinstance(results.pop(place), error)
    assert results == [f"p{n} done" for n in range(8)]
    async with outside(book_url) as connection:
        assert await paid(connection, BOOK) == ["taken", *(f"p{n}" for n in range(8))]
        assert await told(connection, BOOK) == await paid(connection, BOOK)
        assert await paid(connection, 8) == []


@dataclass(frozen=True, slots=True)
class Stops:
    """A command with the one mistake a future cannot carry."""

    book: int

    def needs(self, work: Work) -> Iterable[Need]:
        return ()

    def apply(self, work: Work) -> Any:
        return next(iter(()))


async def test_a_command_that_ends_with_stop_iteration_takes_nobody_down(book_url: str) -> None:
    async with a_lane(book_url) as lane:
        one, stopped, two = await gathered(lane, [Pay(BOOK, "p0"), Stops(BOOK), Pay(BOOK, "p1")])
        assert (one, two) == ("p0 done", "p1 done")
        assert isinstance(stopped, Exception)
        assert await lane.put(Pay(BOOK, "p2")) == "p2 done"
    await assert_exactly(book_url, ["p0", "p1", "p2"])


@dataclass(frozen=True, slots=True)
class Forgets:
    """A command that looks at a row it did not name."""

    book: int
    asked_before: bool = False  # whether the looking is done in `needs`

    def needs(self, work: Work) -> Iterable[Need]:
        if self.asked_before:
            work.head(self.book + 1)
        return ()

    def apply(self, work: Work) -> Any:
        return work.head(self.book + 1)


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_command_with_a_mistake_in_its_needs_fails_alone(book_url: str, asked_before: bool) -> None:
    async with a_lane(book_url) as lane:
        one, wrong, two = await gathered(lane, [Pay(BOOK, "p0"), Forgets(BOOK, asked_before), Pay(BOOK, "p1")])
    assert (one, two) == ("p0 done", "p1 done")
    assert type(wrong).__name__ == "NotLoaded"
    await assert_exactly(book_url, ["p0", "p1"])


async def test_a_book_nobody_opened_is_not_found(book_url: str) -> None:
    async with a_lane(book_url) as lane:

        class Look(Forgets):
            def needs(self, work: Work) -> Iterable[Need]:
                return ()

            def apply(self, work: Work) -> Any:
                return work.head(self.book)

        with pytest.raises(NotFound):
            await lane.put(Look(404))


async def test_a_lane_that_is_stopped_before_it_began_lets_nobody_hang(book_url: str) -> None:
    env = system_env()
    async with a_lane(book_url, env=env) as lane:
        putting = asyncio.create_task(lane.put(Pay(BOOK, "p0")))
        await asyncio.sleep(0)  # it is put, and its writer has not taken a step
        await env.tasks.aclose()
        with pytest.raises(Unavailable, match="shutting_down"):
            await putting
        assert await lane.put(Pay(BOOK, "afterwards")) == "afterwards done"
    await assert_exactly(book_url, ["afterwards"])


async def test_a_lane_that_is_stopped_lets_nobody_hang(book_url: str) -> None:
    env = system_env()
    async with a_lane(book_url, env=env) as lane:
        async with commit_held(lane):
            writing = await under_way(lane, Pay(BOOK, "writing"))
            waiting = [asyncio.create_task(lane.put(command)) for command in pays(3)]
            await until(lambda: lane.waiting == 3)
            await env.tasks.aclose()
            results = await asyncio.gather(writing, *waiting, return_exceptions=True)
        assert [getattr(result, "code", result) for result in results] == ["shutting_down"] * 4
        assert lane.waiting == 0
        assert await lane.put(Pay(BOOK, "afterwards")) == "afterwards done"
    await assert_exactly(book_url, ["afterwards"])


# -- the database goes away --------------------------------------------------------------------------------------------


async def warm(lane: Any, wire: Cable) -> None:
    """Have the lane connected and its statements prepared."""
    await lane.put(Pay(BOOK, "warm"))
    assert wire.cut_count == 0


@pytest.mark.parametrize("cut", [Cut.BEFORE_IT_ARRIVES, Cut.AFTER_IT_IS_DONE])
async def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_doubled(book_url: str, cut: Cut) -> None:
    async with cable(book_url) as wire, a_lane(wire.url) as lane:
        await warm(lane, wire)
        wire.cuts.append(cut)
        results = await gathered(lane, [*pays(3), Pay(BOOK, "r", then=Rejected("unwanted", "")), *pays(2, "q")])
        assert (wire.cut_count, lane.figures.looked_up_again, lane.figures.split) == (1, 1, 0)
    assert isinstance(results.pop(3), Rejected)
    names = ["p0", "p1", "p2", "q0", "q1"]
    happened = cut is Cut.AFTER_IT_IS_DONE
    assert results == (["was done before"] * 5 if happened else [f"{name} done" for name in names])
    await assert_exactly(book_url, ["warm", *names])


async def test_a_commit_that_fails_again_and_again_is_still_done_once(book_url: str) -> None:
    async with cable(book_url) as wire, a_lane(wire.url) as lane:
        await warm(lane, wire)
        wire.cuts.extend([Cut.BEFORE_IT_ARRIVES, Cut.AFTER_IT_IS_DONE, Cut.BEFORE_IT_ARRIVES, Cut.AFTER_IT_IS_DONE])
        await gathered(lane, pays(5))
        assert wire.cut_count == 4
    await assert_exactly(book_url, ["warm", *(f"p{n}" for n in range(5))])


async def test_a_commit_still_under_way_is_waited_for_before_it_is_looked_up(book_url: str) -> None:
    async with cable(book_url) as wire, a_lane(wire.url) as lane, outside(book_url) as observer:
        await warm(lane, wire)
        wire.cuts.append(Cut.IT_ARRIVES_LATE)
        putting = asyncio.create_task(gathered(lane, pays(5)))
        await waiting_for_a_lock(observer)
        assert await paid(observer, BOOK) == ["warm"]
        wire.late.set()
        assert await putting == ["was done before"] * 5
    await assert_exactly(book_url, ["warm", *(f"p{n}" for n in range(5))])


async def test_a_database_away_for_too_long_is_unavailable_and_later_works_again(book_url: str) -> None:
    async with cable(book_url) as wire, a_lane(wire.url, env=hurried()) as lane:
        await warm(lane, wire)
        wire.unplug()
        results = await gathered(lane, pays(3))
        assert [getattr(result, "code", result) for result in results] == ["database_unavailable"] * 3
        assert all(isinstance(result, Unavailable) for result in results)
        assert lane.figures.looked_up_again > 0
        wire.plug()
        assert await gathered(lane, pays(3)) == ["p0 done", "p1 done", "p2 done"]
    await assert_exactly(book_url, ["warm", "p0", "p1", "p2"])


async def test_a_database_away_for_less_than_the_patience_is_not_noticed(book_url: str) -> None:
    async with cable(book_url) as wire, a_lane(wire.url, patience_s=60) as lane:
        await warm(lane, wire)
        wire.unplug()
        putting = asyncio.create_task(gathered(lane, pays(3)))
        await until(lambda: lane.figures.looked_up_again >= 2)
        wire.plug()
        assert await putting == ["p0 done", "p1 done", "p2 done"]
    await assert_exactly(book_url, ["warm", "p0", "p1", "p2"])


async def test_a_backend_terminated_in_the_middle_of_a_transaction_is_not_noticed(book_url: str) -> None:
    async with a_lane(book_url) as lane:
        await lane.put(Pay(BOOK, "warm"))
        async with book_held(book_url, BOOK) as holder:
            putting = asyncio.create_task(gathered(lane, pays(5)))
            ended = 0
            while not ended:  # all backends of the lane, one of which waits for the book inside its transaction
                ended = await holder.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FILTER (WHERE wait_event_type = 'Lock') "
                    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lane under test'"
                )
            await until(lambda: lane.figures.looked_up_again)
        assert await putting == [f"p{n} done" for n in range(5)]
    await assert_exactly(book_url, ["warm", *(f"p{n}" for n in range(5))])


async def test_a_deadlock_is_tried_again(book_url: str) -> None:
    async with a_lane(book_url) as lane:
        commit, tried = lane._commit, 0

        async def ended_by_the_server_once(commands: Sequence[Command[Any]], wait: bool) -> Sequence[Any]:
            nonlocal tried
            tried += 1
            if tried == 1:
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            return await commit(commands, wait)

        lane._commit = ended_by_the_server_once
        assert await gathered(lane, pays(3)) == ["p0 done", "p1 done", "p2 done"]
        assert (tried, lane.figures.looked_up_again, lane.figures.split) == (2, 1, 0)
    await assert_exactly(book_url, ["p0", "p1", "p2"])


async def test_a_statement_an_operator_cancels_is_tried_again(book_url: str) -> None:
    async with a_lane(book_url) as lane:
        async with book_held(book_url, BOOK) as holder:
            putting = asyncio.create_task(gathered(lane, pays(5)))
            await waiting_for_a_lock(holder)
            await holder.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'lane under test'"
            )
        assert await putting == [f"p{n} done" for n in range(5)]
        assert lane.figures.split == 0
    await assert_exactly(book_url, [f"p{n}" for n in range(5)])


async def test_a_standby_that_cannot_write_yet_is_unavailable_and_later_works(
    book_url: str, pg_server: TestServer
) -> None:
    database = book_url.rpartition("/")[2]
    async with superuser(pg_server, book_url) as connection:
        await connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        async with a_lane(book_url, env=hurried()) as lane:
            results = await gathered(lane, pays(3))
            assert [getattr(result, "code", result) for result in results] == ["database_unavailable"] * 3
        await connection.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    async with a_lane(book_url) as lane:
        await gathered(lane, pays(3))
    await assert_exactly(book_url, ["p0", "p1", "p2"])


async def test_a_server_with_no_connection_left_is_unavailable_and_later_works(
    book_url: str, pg_server: TestServer
) -> None:
    database = book_url.rpartition("/")[2]
    async with (
        superuser(pg_server, book_url) as connection,
        a_lane(book_url, env=hurried()) as lane,
        connect(book_url, size=2) as reading,
    ):
        await lane.put(Pay(BOOK, "warm"))
        await connection.execute(f"ALTER DATABASE {database} CONNECTION LIMIT 0")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lane under test' "
            "AND datname = current_database()"
        )
        results = await gathered(lane, pays(3))
        assert [getattr(result, "code", result) for result in results] == ["database_unavailable"] * 3
        async with acquire(reading):  # the one that it has
            with pytest.raises(Unavailable):
                async with acquire(reading):
                    pass
        await connection.execute(f"ALTER DATABASE {database} CONNECTION LIMIT -1")
        assert await gathered(lane, pays(3)) == ["p0 done", "p1 done", "p2 done"]
    await assert_exactly(book_url, ["warm", "p0", "p1", "p2"])


async def test_a_pool_whose_connections_are_all_busy_is_unavailable(book_url: str) -> None:
    async with connect(book_url, size=1) as pool, acquire(pool):
        with pytest.raises(Unavailable):
            async with acquire(pool, timeout_s=0.05):
                pass


async def test_a_caller_cancelled_inside_a_transaction_leaves_at_once_and_the_pool_clean(book_url: str) -> None:
    """Its connection is in doubt and is never used again; the server has fallen silent, so nobody may wait for it."""
    async with cable(book_url) as wire, connect(wire.url, size=1) as pool:

        async def stay() -> None:
            async with transaction(pool) as connection:
                in_doubt.append(connection.get_server_pid())
                await connection.execute("INSERT INTO position VALUES ($1, 'left behind', 1)", BOOK)
                wire.passing = silence
                await connection.execute("SELECT 1")

        async def silence(sent: bytes) -> None:
            silent.set()
            await asyncio.Event().wait()

        silent, in_doubt = asyncio.Event(), list[int]()
        staying = asyncio.create_task(stay())
        await silent.wait()
        staying.cancel()
        await asyncio.wait([staying])
        assert staying.cancelled()
        wire.passing = None
        async with acquire(pool) as connection:
            assert not connection.is_in_transaction()
            assert in_doubt
            assert connection.get_server_pid() not in in_doubt
            assert await connection.fetchval("SELECT count(*) FROM position") == 0


async def test_a_lane_stopped_while_the_server_is_silent_lets_nobody_hang(book_url: str) -> None:
    env = system_env()
    async with cable(book_url) as wire, a_lane(wire.url, env=env) as lane:
        await warm(lane, wire)

        async def silence(sent: bytes) -> None:
            silent.set()
            await asyncio.Event().wait()

        silent = asyncio.Event()
        wire.passing = silence
        putting = asyncio.create_task(gathered(lane, pays(3)))
        await silent.wait()
        await env.tasks.aclose()
        assert [getattr(result, "code", result) for result in await putting] == ["shutting_down"] * 3
    await assert_exactly(book_url, ["warm"])


# -- two processes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [1, 3])
async def test_two_lanes_on_one_book_give_the_result_of_some_serial_order(book_url: str, writers: int) -> None:
    """Commands overlap (a repeated one may meet either lane), and a shared limit must not be passed by both."""
    rng = random.Random(20261124)
    names = [f"p{n}" for n in range(120)]
    async with (
        a_lane(book_url, max_batch=9, writers=writers) as one,
        a_lane(book_url, max_batch=9, writers=writers) as other,
    ):
        asked = [(lane, Pay(BOOK, name)) for name in names for lane in rng.choices([one, other], k=rng.randint(1, 2))]
        rng.shuffle(asked)
        results = await asyncio.gather(*[lane.put(command) for lane, command in asked])
        assert one.figures.batches > 3
        assert other.figures.batches > 3
        assert one.figures.split + other.figures.split == 0
    done = [command.id for (_, command), result in zip(asked, results, strict=True) if result != "was done before"]
    assert sorted(done) == sorted(names)
    await assert_exactly(book_url, names, in_any_order=True)


async def test_two_lanes_whose_wires_are_cut_again_and_again_still_do_everything_once(book_url: str) -> None:
    rng = random.Random(20261124)
    names = [f"p{n}" for n in range(120)]
    async with (
        cable(book_url) as wire,
        cable(book_url) as other_wire,
        a_lane(wire.url, max_batch=9, patience_s=60) as one,
        a_lane(other_wire.url, max_batch=9, patience_s=60) as other,
    ):
        for each in (wire, other_wire):
            each.cuts.extend(rng.choices([Cut.BEFORE_IT_ARRIVES, Cut.AFTER_IT_IS_DONE], k=6))
        asked = [(lane, Pay(BOOK, name)) for name in names for lane in rng.choices([one, other], k=rng.randint(1, 2))]
        rng.shuffle(asked)
        await asyncio.gather(*[lane.put(command) for lane, command in asked])
        assert (wire.cut_count, other_wire.cut_count) == (6, 6)
    await assert_exactly(book_url, names, in_any_order=True)


async def test_books_are_locked_from_the_lowest_up_so_that_two_batches_never_wait_for_each_other(
    database_url: str,
) -> None:
    books = list(range(1, 9))
    async with outside(database_url) as watcher, outside(database_url) as batch:
        for book in books:
            await open_book(watcher, book)
        pid = await batch.fetchval("SELECT pg_backend_pid()")
        async with batch.transaction():
            async with book_held(database_url, 4):
                locking = asyncio.create_task(lock_books(batch, reversed(books)))
                await waiting_for_a_lock(watcher, pid=pid)
                free = await watcher.fetch("SELECT book FROM book ORDER BY book FOR UPDATE SKIP LOCKED")
                assert [row[0] for row in free] == [5, 6, 7, 8]
            assert [head.book for head in (await locking).heads] == books


# -- a book that something else holds ----------------------------------------------------------------------------------


@pytest.fixture
async def street(database_url: str) -> str:
    """A database with eight open books."""
    async with outside(database_url) as connection:
        for book in range(1, 9):
            await open_book(connection, book)
    return database_url


def one_each(name: str, *books: int) -> list[Pay]:
    return [Pay(book, name) for book in books or range(1, 9)]


async def test_a_locked_book_keeps_only_its_own_commands_waiting(street: str) -> None:
    async with a_lane(street) as lane:
        async with book_held(street, 4):
            putting = [asyncio.create_task(lane.put(command)) for command in one_each("p")]
            done, waiting = await settled_but(putting, 1)
            assert {task.result() for task in done} == {"p done"}
            later = asyncio.create_task(lane.put(Pay(4, "later")))
            assert await gathered(lane, one_each("q", 1, 2, 3, 5)) == ["q done"] * 4
            assert (lane.figures.set_aside, lane.books_aside, lane.waiting) == (1, 1, 2)
        assert await asyncio.gather(*waiting, later) == ["p done", "later done"]
        await until(lambda: not lane.books_aside)
        assert await lane.put(Pay(4, "afterwards")) == "afterwards done"
        assert lane.figures.set_aside == 1, "a book that is free again is no longer set aside"


async def test_a_batch_of_one_book_waits_a_moment_for_whoever_is_about_to_commit(street: str) -> None:
    async with a_lane(street, shared_lock_ms=60_000) as lane, outside(street) as observer:
        async with book_held(street, 1):
            putting = asyncio.create_task(gathered(lane, [Pay(1, "a0"), Pay(1, "a1")]))
            await waiting_for_a_lock(observer)
        assert await putting == ["a0 done", "a1 done"]
        assert (lane.figures.set_aside, lane.figures.batches) == (0, 1)


async def test_a_batch_of_two_books_does_not_wait_a_moment_for_one_of_them(street: str) -> None:
    async with a_lane(street, shared_lock_ms=60_000) as lane:
        async with book_held(street, 1):
            held, free = (asyncio.create_task(lane.put(pay)) for pay in one_each("a", 1, 2))
            assert await free == "a done"
            assert (lane.figures.set_aside, held.done()) == (1, False)
        assert await held == "a done"


async def settled_but(tasks: "Sequence[asyncio.Task[Any]]", left: int) -> tuple[set[Any], set[Any]]:
    """Return the tasks that are done and those that are not, once only so many are left."""
    await until(lambda: sum(not task.done() for task in tasks) <= left)
    return {task for task in tasks if task.done()}, {task for task in tasks if not task.done()}


async def test_more_locked_books_than_can_be_waited_for_at_once_keep_no_other_waiting(street: str) -> None:
    held = range(1, ASIDES + 3)
    async with a_lane(street, lock_patience_s=60) as lane:
        async with book_held(street, *held):
            waiting = [asyncio.create_task(lane.put(command)) for command in one_each("p", *held)]
            await until(lambda: lane.figures.set_aside == len(held))
            for name in ("a", "b", "c"):
                assert await gathered(lane, one_each(name, 7, 8)) == [f"{name} done"] * 2
        assert await asyncio.gather(*waiting) == ["p done"] * len(held)


async def test_who_waits_too_long_for_a_book_is_told_so_and_nothing_was_done(street: str) -> None:
    async with a_lane(street, lock_patience_s=0) as lane:
        async with book_held(street, 4):
            first, second, free = await gathered(lane, [Pay(4, "p"), Pay(4, "q"), Pay(5, "p")])
            assert free == "p done"
            assert [type(one) for one in (first, second)] == [Unavailable, Unavailable]
            assert (first.code, second.code, first.retry_after_s) == ("book_locked", "book_locked", 1)
            assert lane.figures.locked_out == 2
        assert await gathered(lane, [Pay(4, "p"), Pay(4, "q")]) == ["p done", "q done"], "neither was done before"


LOCKS = {
    "a row of the book": "SELECT 1 FROM account WHERE book = 4 FOR UPDATE",
    "a row that does not exist yet": "INSERT INTO event SELECT 4, 3, 'payment.succeeded', 's', '{}', now(), sha256('')",
}


@pytest.mark.parametrize("lock", LOCKS)
async def test_a_row_that_something_else_holds_keeps_only_its_book_waiting(street: str, lock: str) -> None:
    """Nobody knows whose row a batch stumbled over: each of its books finds out by itself."""
    async with a_lane(street, lock_patience_s=60) as lane, outside(street) as holder:
        assert await gathered(lane, [Pay(4, "one"), Pay(4, "two")]) == ["one done", "two done"]
        holding = holder.transaction()
        await holding.start()
        await holder.execute(LOCKS[lock])
        putting = [asyncio.create_task(lane.put(command)) for command in one_each("p")]
        done, waiting = await settled_but(putting, 1)
        assert {task.result() for task in done} == {"p done"}
        assert await gathered(lane, one_each("q", 1, 2, 3, 5)) == ["q done"] * 4
        await holding.rollback()
        assert await asyncio.gather(*waiting) == ["p done"]


OTHER = accounts.channel("other", "CNY")


@dataclass(frozen=True, slots=True)
class PayByOther(Pay):
    """A payment by a channel that no other command here needs."""

    @property
    def _transfers(self) -> list[Transfer]:
        return [Transfer(self.id, "payment_captured", OTHER, MERCHANT, self.amount_minor, "CNY")]


@asynccontextmanager
async def other_held(database_url: str, book: int) -> AsyncIterator[None]:
    """Hold the one row that PayByOther needs and Pay does not, as somebody's own transaction would."""
    async with outside(database_url) as opening:
        await perform(opening, [ledger.OpenAccounts(book, [OTHER])], NOW)
    async with outside(database_url) as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM account WHERE book = $1 AND name LIKE 'channel:other%' FOR UPDATE", book)
        yield


async def test_a_row_that_one_command_needs_keeps_only_that_command_waiting(street: str) -> None:
    async with a_lane(street, lock_patience_s=60) as lane:
        async with other_held(street, 4):
            stuck = [asyncio.create_task(lane.put(PayByOther(4, f"stuck{n}"))) for n in range(2)]
            for name in ("a", "b", "c"):
                names = [f"{name}{n}" for n in range(5)]
                assert await gathered(lane, [Pay(4, one) for one in names]) == [f"{one} done" for one in names]
            assert not any(task.done() for task in stuck)
            assert lane.waiting == 2
        assert await asyncio.gather(*stuck) == ["stuck0 done", "stuck1 done"]
        await until(lambda: not lane.books_aside)


async def test_a_command_that_is_stuck_for_too_long_is_told_so_while_the_others_go_on(street: str) -> None:
    async with a_lane(street, lock_patience_s=2) as lane:
        async with other_held(street, 4):
            stuck = asyncio.create_task(lane.put(PayByOther(4, "stuck")))
            others = 0
            while not stuck.done():
                assert await lane.put(Pay(4, f"p{others}")) == f"p{others} done"
                others += 1
            assert isinstance(refused := stuck.exception(), Unavailable)
            assert (refused.code, lane.figures.locked_out) == ("book_locked", 1)
        assert await lane.put(PayByOther(4, "stuck")) == "stuck done", "it was not done before"


async def test_a_command_put_alone_has_a_transaction_of_its_own(street: str) -> None:
    async with a_lane(street) as lane:
        alone = asyncio.create_task(lane.put(Pay(4, "large"), alone=True))
        others = [asyncio.create_task(lane.put(command)) for command in one_each("p", 1, 2, 3)]
        assert await alone == "large done"
        assert await asyncio.gather(*others) == ["p done"] * 3
        assert lane.figures.sizes == {1: 1, 4: 1}


async def test_a_book_set_aside_fills_up_by_itself(street: str) -> None:
    async with a_lane(street, max_batch=2, max_waiting=24, lock_patience_s=60) as lane:
        async with book_held(street, 4):
            waiting = [asyncio.create_task(lane.put(Pay(4, "p0")))]
            await until(lambda: lane.figures.set_aside)
            waiting += [asyncio.create_task(lane.put(Pay(4, f"p{n}"))) for n in (1, 2)]
            await until(lambda: lane.waiting == 3)
            with pytest.raises(Unavailable, match="busy"):
                await lane.put(Pay(4, "one too many"))
            assert await lane.put(Pay(5, "p")) == "p done"
        assert await asyncio.gather(*waiting) == ["p0 done", "p1 done", "p2 done"]


async def test_a_lane_that_is_stopped_lets_nobody_wait_for_a_book(street: str) -> None:
    env = system_env()
    async with a_lane(street, env=env) as lane:
        async with book_held(street, 4):
            waiting = [asyncio.create_task(lane.put(Pay(4, f"p{n}"))) for n in range(3)]
            await until(lambda: lane.figures.set_aside == 3)
            await env.tasks.aclose()
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [getattr(result, "code", result) for result in results] == ["shutting_down"] * 3
        assert (lane.waiting, lane.books_aside) == (0, 0)
        assert await lane.put(Pay(4, "p0")) == "p0 done"


async def test_a_lane_that_is_stopped_before_it_began_with_a_book_lets_nobody_wait_for_it(street: str) -> None:
    env = system_env()
    async with a_lane(street, env=env) as lane, asyncio.timeout(60):
        waiting = asyncio.create_task(lane.put(Pay(4, "p"), alone=True))
        await asyncio.sleep(0)  # put has begun, and what it began has not
        assert lane.books_aside == 1
        await env.tasks.aclose()
        with pytest.raises(Unavailable) as refused:
            await waiting
        assert (refused.value.code, lane.waiting, lane.books_aside) == ("shutting_down", 0, 0)
        assert await lane.put(Pay(4, "p")) == "p done"


# -- clocks ------------------------------------------------------------------------------------------------------------


class Off(SystemClock):
    """A machine's clock that is so much ahead, or behind."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return super().now() + self.by


def off_by(seconds: float) -> Env:
    env = system_env()
    env.clock = Off(timedelta(seconds=seconds))
    return env


@pytest.mark.parametrize("seconds", [7200, -7200, 6, -6, 86400 * 400])
async def test_a_host_whose_clock_is_off_writes_nothing(book_url: str, seconds: int) -> None:
    async with a_lane(book_url, env=off_by(seconds), max_skew=MAX_SKEW) as lane, a_lane(book_url) as right:
        refused = await gathered(lane, pays(2))
        assert [getattr(one, "code", one) for one in refused] == ["clock_differs"] * 2
        assert all(isinstance(one, Unavailable) for one in refused)
        assert await gathered(right, pays(2)) == ["p0 done", "p1 done"], "neither was done before"
    async with outside(book_url) as connection:
        assert await connection.fetchval("SELECT max(recorded_at) <= clock_timestamp() FROM book")


@pytest.mark.parametrize("seconds", [3, -3])
async def test_clocks_that_differ_a_little_write_in_order(book_url: str, seconds: int) -> None:
    async with a_lane(book_url, env=off_by(seconds), max_skew=MAX_SKEW) as one, a_lane(book_url) as other:
        for n in range(3):
            assert await (one, other, one)[n].put(Pay(BOOK, f"p{n}")) == f"p{n} done"
    await assert_exactly(book_url, ["p0", "p1", "p2"])


async def test_a_book_whose_time_is_ahead_draws_no_other_with_it_and_decides_by_the_true_time(street: str) -> None:
    async with outside(street) as connection, a_lane(street, max_skew=MAX_SKEW) as lane:
        await connection.execute("UPDATE book SET recorded_at = clock_timestamp() + interval '2 hours' WHERE book = 4")
        moments = await gathered(lane, [Moment(book) for book in (3, 4, 5)])
        assert len(set(moments)) == 1, "one batch is decided at one moment"
        assert abs(moments[0] - datetime.now(UTC)) < timedelta(hours=1)
        assert await gathered(lane, one_each("p", 3, 4, 5)) == ["p done"] * 3
        ahead = await connection.fetch(
            "SELECT book FROM book WHERE recorded_at > clock_timestamp() + interval '1 hour'"
        )
        assert [row[0] for row in ahead] == [4]
        assert await broken(connection) == {}


@dataclass(frozen=True, slots=True)
class Moment:
    """Tell the moment at which a batch is decided."""

    book: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)

    def apply(self, work: Work) -> datetime:
        return work.now


def test_what_may_hide_a_commit_is_told_apart_from_what_a_command_did_wrong() -> None:
    """A client-side mistake must not be mistaken for a lost connection: the whole batch would wait for its patience."""
    assert not issubclass(asyncpg.DataError, LOST)
    assert issubclass(asyncpg.ConnectionDoesNotExistError, LOST)
