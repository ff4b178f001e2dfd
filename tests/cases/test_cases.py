"""A case on a real database: opened once, decided once, opened again, never lost and never invented."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest
import pytest_asyncio

import cases
from cases.catalogue import GONE, PROVISIONAL
from kernel.db import Connection
from kernel.errors import Conflict, NotFound, Rejected
from kernel.work import BOOKS, Need, Work, perform
from tests.conftest import TestServer as PostgresServer
from tests.kernel.one_book import NOW, open_book, superuser

pytestmark = pytest.mark.asyncio(loop_scope="session")
KIND = "refund_unfinished"
REFUND = "re_" + "0" * 25 + "1"


@dataclass(frozen=True, slots=True)
class Find:
    """Find that a refund cannot be given back, or, gone, that it has been after all."""

    book: int = 1
    about: str = REFUND
    amount_minor: int = 70
    code: str = "NOT_ENOUGH"
    gone: bool = False
    then: Exception | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield from cases.needs(self.book, KIND, self.about)

    def apply(self, work: Work) -> Any:
        if self.gone:
            return cases.close_case(work, self.book, KIND, self.about, why="a later try succeeded")
        found = cases.open_case(
            work, self.book, KIND, self.about, amount_minor=self.amount_minor, currency="CNY", facts={"code": self.code}
        )
        if self.then is not None:
            raise self.then
        return found


@dataclass
class Doing:
    """An effect that notes what it did, or refuses."""

    done: list[str]
    refuses: bool = False

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)

    def apply(self, work: Work, case: cases.Case) -> None:
        if self.refuses:
            raise Rejected("insufficient_balance", "there is nothing to do it with")
        work.head(case.book)
        self.done.append(case.about)


@pytest_asyncio.fixture(loop_scope="session")
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    found = await asyncpg.connect(database_url)
    await open_book(found, 1)
    await open_book(found, 2)
    yield found
    assert await cases.store.cases_match_their_events(found) == []
    found.terminate()


def decide(decision: str = "wait", effects: Any = None, **more: Any) -> cases.DecideCase:
    given = {"book": 1, "case_id": cases.case_id(1, KIND, REFUND), "by": "Wang", "note": "agreed by telephone", **more}
    return cases.DecideCase(decision=decision, effects=effects or {}, **given)


async def put(connection: Connection, *commands: Any, later: int = 0) -> list[Any]:
    async with connection.transaction():
        return await perform(connection, commands, NOW + timedelta(hours=later))


async def told(connection: Connection) -> list[tuple[str, Any]]:
    rows = await connection.fetch("SELECT type, payload FROM event WHERE type LIKE 'case.%' ORDER BY book, seq")
    return [(row[0], orjson.loads(row[1])) for row in rows]


async def test_the_same_fact_found_again_opens_nothing_and_brings_the_facts_up_to_date(connection: Any) -> None:
    first, same, other = await put(connection, Find(), Find(), Find(code="LIMIT"))
    assert first.id.startswith("cas_")
    assert same == first
    assert (other.id, other.opened_at, orjson.loads(other.facts)) == (first.id, first.opened_at, {"code": "LIMIT"})
    assert [type_ for type_, _ in await told(connection)] == ["case.opened"]
    assert [case.facts for case in await cases.store.cases(connection)] == [other.facts]


async def test_objects_books_and_what_a_refused_command_found_are_kept_apart(connection: Any) -> None:
    await put(connection, Find(), Find(about="re_other"), Find(book=2))
    refused = await put(connection, Find(about="re_third", then=Conflict("no", "it is otherwise")))
    assert isinstance(refused[0], Conflict)
    assert len({case.id for case in await cases.store.cases(connection)}) == 3
    assert [case.about for case in await cases.store.cases(connection, book=2)] == [REFUND]
    assert [(one.kind, one.number) for one in await cases.store.waiting(connection)] == [(KIND, 3)]


async def test_a_decision_is_kept_with_who_and_why_and_told(connection: Any) -> None:
    await put(connection, Find())
    decided, again = await put(connection, decide(), decide(), later=1)
    assert (decided.status, decided.decision, decided.decided_by, decided.note) == (
        "decided", "wait", "Wang", "agreed by telephone",
    )  # fmt: skip
    assert again == decided
    assert await cases.store.cases(connection) == []
    assert await cases.store.cases(connection, decided=True) == [decided]
    assert await cases.store.waiting(connection) == []
    opened, closed = await told(connection)
    assert (opened[0], opened[1]["status"], opened[1]["amount_minor"]) == ("case.opened", "open", 70)
    assert closed == ("case.decided", cases.case_payload(decided))


async def test_a_fact_found_again_after_its_decision_waits_for_a_new_one(connection: Any) -> None:
    await put(connection, Find())
    await put(connection, decide(), later=1)
    [reopened] = await put(connection, Find(), later=2)
    assert (reopened.status, reopened.opened_count, reopened.decision, reopened.note) == ("open", 2, None, None)
    assert reopened.opened_at == NOW + timedelta(hours=2)
    await put(connection, decide("sent_on", note="to another card"), later=3)
    assert [type_ for type_, _ in await told(connection)] == ["case.opened", "case.decided"] * 2


async def test_what_is_gone_by_itself_is_closed_in_the_hubs_name(connection: Any) -> None:
    never, _, closed, repeated = await put(connection, Find(gone=True), Find(), Find(gone=True), Find(gone=True))
    assert never is None
    assert (closed.decision, closed.decided_by, closed.note) == (GONE, "sluice", "a later try succeeded")
    assert repeated == closed
    assert [type_ for type_, _ in await told(connection)] == ["case.opened", "case.decided"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"decision": "forget"}, "no_such_decision"),
        ({"decision": GONE}, "no_such_decision"),
        ({"by": "  "}, "case_decider_missing"),
        ({"note": ""}, "case_note_missing"),
        ({"case_id": "cas_" + "0" * 26}, "no_such_case"),
    ],
)
async def test_what_decides_nothing_leaves_the_case_open(connection: Any, wrong: dict[str, str], code: str) -> None:
    await put(connection, Find())
    [refused] = await put(connection, decide(**wrong))
    assert isinstance(refused, NotFound | Rejected)
    assert refused.code == code
    assert [case.status for case in await cases.store.cases(connection)] == ["open"]


async def test_a_case_is_not_decided_twice(connection: Any) -> None:
    await put(connection, Find())
    done = decide("carried_out")
    _, same, other, elsewhere = await put(connection, done, done, decide("wait"), decide("carried_out", by="Li"))
    assert same.decision == "carried_out"
    assert (other.code, elsewhere.code) == ("case_decided", "case_decided")
    assert [case.decision for case in await cases.store.cases(connection, decided=True)] == ["carried_out"]


@pytest.mark.parametrize("first", sorted(PROVISIONAL))
async def test_whoever_said_to_wait_may_decide_as_soon_as_more_is_known(connection: Any, first: str) -> None:
    """The matter is as it was, and what it is about may never be seen again to open the case anew."""
    await put(connection, Find())
    does = Doing([])
    effects = {(KIND, "carried_out"): does}
    await put(connection, decide(first), later=1)
    refused, decided, late = await put(
        connection, decide("forget"), decide("carried_out", effects, by="Li"), decide(first), later=2
    )
    assert (refused.code, late.code) == ("no_such_decision", "case_decided")
    assert (decided.decision, decided.decided_by, decided.decided_at) == ("carried_out", "Li", NOW + timedelta(hours=2))
    assert does.done == [REFUND]
    assert [type_ for type_, _ in await told(connection)] == ["case.opened", "case.decided", "case.decided"]


async def test_what_ends_by_itself_while_a_person_waits_is_not_decided_afterwards(connection: Any) -> None:
    await put(connection, Find())
    await put(connection, decide("wait"), later=1)
    closed, refused = await put(connection, Find(gone=True), decide("carried_out"), later=2)
    assert (closed.decision, closed.decided_by) == (GONE, "sluice")
    assert refused.code == "case_decided"


async def test_a_decision_and_what_it_brings_about_are_one(connection: Any) -> None:
    await put(connection, Find())
    does = Doing([])
    refuses = {(KIND, "wait"): Doing([], refuses=True)}
    [refused] = await put(connection, decide(effects=refuses))
    assert refused.code == "insufficient_balance"
    assert [case.status for case in await cases.store.cases(connection)] == ["open"]
    await put(connection, decide(effects={(KIND, "wait"): does}), decide(effects={(KIND, "wait"): does}))
    assert does.done == [REFUND]


async def test_a_kind_nobody_has_listed_is_a_mistake_of_ours(connection: Any) -> None:
    work = Work(NOW)
    with pytest.raises(ValueError, match=r"cases/catalogue\.py"):
        cases.open_case(work, 1, "tea", REFUND)


@pytest.mark.parametrize(
    "plant",
    [
        "UPDATE case_file SET status = 'open'",
        "UPDATE case_file SET opened_count = 3",
        "DELETE FROM case_file",
        "DELETE FROM event WHERE type = 'case.decided'",
    ],
)
async def test_a_case_changed_by_hand_is_found(pg_server: PostgresServer, database_url: str, plant: str) -> None:
    async with superuser(pg_server, database_url) as connection:
        await open_book(connection, 1)
        await put(connection, Find())
        await put(connection, decide())
        assert await cases.store.cases_match_their_events(connection) == []
        await connection.execute(plant)
        assert len(await cases.store.cases_match_their_events(connection)) == 1
