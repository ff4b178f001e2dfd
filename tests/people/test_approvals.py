"""Approvals on a real database: what one person asks for and another agrees to is done once, and nothing else is."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from kernel.db import acquire, transaction
from kernel.errors import Conflict, SluiceError
from kernel.work import BOOKS, Need, Work
from people import Act, Person, Role, Use, What, approved, store, use_up
from people.roles import CHECKS
from people.tables import APPROVALS
from tests.support import Shop, a_shop

WHAT = What(Act.CASES, "case decide", "cas_1", {"decision": "keep", "amount_minor": 70}, 1)


@pytest_asyncio.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with a_shop(database_url, tmp_path) as found:
        await found.hub.people.add_first("ada", "pk_first")
        for name, role in (("bo", Role.CLERK), ("cy", Role.OPERATOR), ("eve", Role.AUDITOR)):
            await found.hub.people.add(name, role)
        yield found


async def person(shop: Shop, name: str) -> Person:
    return await shop.hub.people.get(name)


async def refusal(work: object) -> str:
    with pytest.raises(SluiceError) as refused:
        await work  # type: ignore[misc]
    return refused.value.code


async def asked(shop: Shop, what: What = WHAT, maker: str = "ada") -> str:
    """Ask for an approval and return its id."""
    with pytest.raises(Conflict) as refused:
        await shop.hub.approvals.ready(maker, what)
    assert refused.value.code == "approval_asked"
    return str(refused.value.facts["approval"])


async def agreed(shop: Shop, what: What = WHAT, maker: str = "ada", checker: str = "bo") -> Use:
    """Ask for an approval, have another agree, and return the use of it."""
    ident = await asked(shop, what, maker)
    await shop.hub.approvals.check(ident, await person(shop, checker), agrees=True)
    return await shop.hub.approvals.ready(maker, what)


async def used(shop: Shop, use: Use) -> None:
    async with transaction(shop.hub.pool) as connection:
        await use_up(connection, use)


@dataclass(frozen=True, slots=True)
class Act1:
    """A command of the lane that notes that it was done; `then`: what it refuses with."""

    book: int
    done: list[str]
    then: SluiceError | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)

    def apply(self, work: Work) -> str:
        if self.then is not None:
            raise self.then
        self.done.append("done")
        return "done"


async def status(shop: Shop, ident: str) -> str:
    return (await shop.hub.approvals.get(ident)).status


async def force(url: str, statement: str) -> None:
    """Carry out a statement as the owner of the tables, past the guards of the hub's code but not the database's."""
    owner = await asyncpg.connect(url)
    try:
        await owner.execute(statement)
    finally:
        await owner.close()


async def ran_out(url: str) -> None:
    """Have every approval's time be over, by the database's clock."""
    await force(url, "ALTER TABLE approval DISABLE TRIGGER approval_moves")
    await force(url, "UPDATE approval SET made_at = now() - interval '2 days', expires_at = now() - interval '1 day'")
    await force(url, "ALTER TABLE approval ENABLE TRIGGER approval_moves")


async def test_what_one_asks_for_and_another_agrees_to_is_done_once(shop: Shop) -> None:
    ident, done = await asked(shop), list[str]()
    assert await asked(shop) == ident, "asking again asks for nothing new"
    row = await shop.hub.approvals.check(ident, await person(shop, "bo"), agrees=True, note="seen")
    assert (row.status, row.maker, row.checker, row.note) == ("approved", "ada", "bo", "seen")
    assert row.what_hash == hashlib.sha256(row.what.encode()).digest()
    use = await shop.hub.approvals.ready("ada", WHAT)
    assert await shop.hub.lanes.put(approved(Act1(shop.book, done), use)) == "done"
    assert await status(shop, ident) == "used"
    again = use._replace(use_id="use_2")
    assert await refusal(shop.hub.lanes.put(approved(Act1(shop.book, done), again))) == "approval_unusable"
    assert await refusal(used(shop, again)) == "approval_unusable"
    assert done == ["done"]
    assert await asked(shop) != ident


async def test_two_uses_in_one_batch_are_one(shop: Shop) -> None:
    use, done = await agreed(shop), list[str]()
    tried = [shop.hub.lanes.put(approved(Act1(shop.book, done), use._replace(use_id=f"use_{n}"))) for n in range(8)]
    came = await asyncio.gather(*tried, return_exceptions=True)
    assert done == ["done"]
    assert [one.code for one in came if isinstance(one, SluiceError)] == ["approval_unusable"] * 7


async def test_two_uses_in_two_transactions_are_one(shop: Shop) -> None:
    use = await agreed(shop)
    came = await asyncio.gather(
        *(used(shop, use._replace(use_id=f"use_{n}")) for n in range(4)), return_exceptions=True
    )
    assert [one.code for one in came if isinstance(one, SluiceError)] == ["approval_unusable"] * 3


async def test_a_commit_whose_answer_was_lost_is_carried_out_again_under_the_same_use(shop: Shop) -> None:
    use, done = await agreed(shop), list[str]()
    for _ in range(2):
        assert await shop.hub.lanes.put(approved(Act1(shop.book, done), use)) == "done"


async def test_what_is_refused_leaves_its_approval_to_be_used(shop: Shop) -> None:
    use = await agreed(shop)
    no = Conflict("no_luck", "no luck")
    assert await refusal(shop.hub.lanes.put(approved(Act1(shop.book, [], no), use))) == "no_luck"

    async def broken_off() -> None:
        async with transaction(shop.hub.pool) as connection:
            await use_up(connection, use)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken_off()
    assert await status(shop, use.approval_id) == "approved"


@pytest.mark.parametrize(
    "other",
    [
        WHAT._replace(arguments={"decision": "retry", "amount_minor": 70}),
        WHAT._replace(arguments={"decision": "keep", "amount_minor": 71}),
        WHAT._replace(about="cas_2"),
        WHAT._replace(book=2),
        WHAT._replace(command="case forget"),
        WHAT._replace(act=Act.CHANNELS),
    ],
)
async def test_an_approval_of_one_thing_allows_no_other(shop: Shop, other: What) -> None:
    use, done = await agreed(shop), list[str]()
    await asked(shop, other)
    bent = use._replace(what_hash=other.hash)
    assert await refusal(shop.hub.lanes.put(approved(Act1(shop.book, done), bent))) == "approval_unusable"
    assert await refusal(used(shop, bent)) == "approval_unusable"
    assert await refusal(used(shop, use._replace(maker="cy"))) == "approval_unusable"
    assert done == []
    await used(shop, use)


async def test_nobody_agrees_to_what_they_asked_for(shop: Shop, database_url: str) -> None:
    ident = await asked(shop)
    checked = shop.hub.approvals.check(ident, await person(shop, "ada"), agrees=True)
    assert await refusal(checked) == "approval_is_ones_own"
    with pytest.raises(asyncpg.CheckViolationError, match="approval_by_two"):
        await force(database_url, "UPDATE approval SET status = 'approved', checker = 'ada'")
    with pytest.raises(asyncpg.RestrictViolationError, match="who may check"):
        await force(database_url, "UPDATE approval SET status = 'approved'")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approval SET status = 'used', use_id = 'use_1', checker = 'bo'",  # nobody has agreed
        "UPDATE approval SET maker = 'cy'",
        "UPDATE approval SET what = '{}', what_hash = sha256('{}')",
        "UPDATE approval SET expires_at = expires_at + interval '1 day'",
        "UPDATE approval SET status = 'expired'",  # before its time
        "INSERT INTO approval SELECT 'apr_2', act, what, what_hash, about, merchant_book, 'approved', 'cy', 'bo', "
        "now(), expires_at, now(), '', NULL FROM approval",
    ],
)
async def test_the_database_refuses_what_is_no_move(shop: Shop, database_url: str, statement: str) -> None:
    await asked(shop)
    with pytest.raises(asyncpg.RestrictViolationError):
        await force(database_url, statement)


async def test_the_database_holds_what_is_asked_for_against_its_hash(shop: Shop, database_url: str) -> None:
    await asked(shop)
    with pytest.raises(asyncpg.CheckViolationError, match="approval_of_one_thing"):
        await force(
            database_url,
            "INSERT INTO approval SELECT 'apr_2', act, '{}', what_hash, about, merchant_book, 'asked', 'cy', NULL, "
            "now(), expires_at, now(), '', NULL FROM approval",
        )


@pytest.mark.parametrize(
    ("checker", "act"),
    [("ghost", Act.CASES), ("eve", Act.CASES), ("bo", Act.PEOPLE), ("cy", Act.CASES)],  # nobody, no, not that, not now
)
@pytest.mark.parametrize("said", ["approved", "refused"])
async def test_the_database_hears_only_whoever_may_check_it(
    shop: Shop, database_url: str, checker: str, act: Act, said: str
) -> None:
    await asked(shop, WHAT._replace(act=act))
    await force(database_url, "UPDATE person SET status = 'suspended' WHERE name = 'cy'")
    with pytest.raises(asyncpg.RestrictViolationError, match="who may check"):
        async with acquire(shop.hub.pool) as connection:
            await connection.execute(f"UPDATE approval SET status = '{said}', checker = '{checker}'")


async def test_only_who_may_act_asks(shop: Shop) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="nobody active"):
        await shop.hub.approvals.ready("ghost", WHAT)


async def test_the_database_and_the_code_have_one_table_of_who_may_check(shop: Shop) -> None:
    async with acquire(shop.hub.pool) as connection:
        for role in Role:
            for act in Act:
                may = await connection.fetchval("SELECT may_check($1, $2)", role.value, act.value)
                assert may is (act in CHECKS[role]), (role, act)


async def test_a_word_that_nobody_is_recorded_to_have_given_is_found(shop: Shop) -> None:
    """The hub's role can write that a clerk has agreed; that is a lie which `sluice verify` tells."""
    ident = await asked(shop)
    async with acquire(shop.hub.pool) as connection:
        assert await store.approvals_are_recorded(connection) == []
        await connection.execute("UPDATE approval SET status = 'approved', checker = 'bo'")
        (said,) = await store.approvals_are_recorded(connection)
        assert ident in said
        assert "bo" in said
    recorded = shop.hub.audit.recorded("bo", Act.APPROVALS, "approval approve", ident)
    async with recorded, acquire(shop.hub.pool) as connection:
        assert await store.approvals_are_recorded(connection) == [], "it is being recorded"
    async with acquire(shop.hub.pool) as connection:
        assert await store.approvals_are_recorded(connection) == []
        await store.set_used(connection, ident, "use_1")
        (said,) = await store.approvals_are_recorded(connection)
        assert "ada" in said
    with pytest.raises(Conflict):
        async with shop.hub.audit.recorded("ada", Act.CASES, "case decide keep", "cas_1", book=1):
            raise Conflict("no_luck", "no luck")
    async with shop.hub.audit.recorded("ada", Act.CASES, "case decide keep", "cas_1", book=1):
        pass
    async with acquire(shop.hub.pool) as connection:
        (said,) = await store.approvals_are_recorded(connection)
        assert "ada" in said, "these acts used no approval"
    async with shop.hub.audit.recorded("ada", Act.CASES, "case decide keep", "cas_1", book=1) as ending:
        ending.detail = ident
    async with acquire(shop.hub.pool) as connection:
        assert await store.approvals_are_recorded(connection) == []


async def test_a_refused_attempt_to_agree_is_no_word(shop: Shop) -> None:
    ident = await asked(shop)
    with pytest.raises(Conflict):
        async with shop.hub.audit.recorded("bo", Act.APPROVALS, "approval approve", ident):
            raise Conflict("no_luck", "no luck")
    async with acquire(shop.hub.pool) as connection:
        await connection.execute("UPDATE approval SET status = 'approved', checker = 'bo'")
        assert len(await store.approvals_are_recorded(connection)) == 1


@pytest.mark.parametrize(
    ("guard", "changed"),
    [
        ("approval_lasts_a_day", {"expires_at": "now() + interval '25 hours'"}),
        ("approval_lasts_a_day", {"expires_at": "now()"}),
        ("approval_says_what_it_is", {"act": "'people'"}),
        ("approval_says_what_it_is", {"about": "'cas_2'"}),
        ("approval_says_what_it_is", {"merchant_book": "2"}),
        ("approval_says_what_it_is", {"merchant_book": "NULL"}),
        ("approval_says_what_it_is", {"what": "'{}'", "what_hash": "sha256('{}')"}),
    ],
)
async def test_the_database_holds_the_columns_against_what_is_asked_for_and_the_day(
    shop: Shop, guard: str, changed: dict[str, str]
) -> None:
    await asked(shop)
    async with acquire(shop.hub.pool) as connection:
        names = ["act", "what", "what_hash", "about", "merchant_book", "expires_at"]
        taken = ", ".join(changed.get(name, name) for name in names)
        with pytest.raises(asyncpg.CheckViolationError, match=guard):
            await connection.execute(
                f"INSERT INTO approval (id, status, maker, made_at, status_at, note, {', '.join(names)}) "
                f"SELECT 'apr_2', 'asked', 'cy', now(), now(), '', {taken} FROM approval"
            )


async def test_a_checker_is_heard_on_what_is_shown_to_them_alone(shop: Shop, database_url: str) -> None:
    ident = await asked(shop, WHAT._replace(act=Act.PEOPLE))
    await force(database_url, "ALTER TABLE approval DISABLE TRIGGER approval_moves")
    await force(database_url, "ALTER TABLE approval DROP CONSTRAINT IF EXISTS approval_says_what_it_is")
    await force(database_url, "UPDATE approval SET act = 'cases'")
    checked = shop.hub.approvals.check(ident, await person(shop, "bo"), agrees=True)
    assert await refusal(checked) == "approval_unusable"


async def test_any_checker_takes_an_agreement_back(shop: Shop) -> None:
    use = await agreed(shop)
    eve, ada = await person(shop, "eve"), await person(shop, "ada")
    assert await refusal(shop.hub.approvals.check(use.approval_id, eve, agrees=False)) == "role_forbids"
    assert await refusal(shop.hub.approvals.check(use.approval_id, ada, agrees=False)) == "approval_is_ones_own"
    row = await shop.hub.approvals.check(use.approval_id, await person(shop, "cy"), agrees=False, note="a forgery")
    assert (row.status, row.checker, row.note) == ("refused", "cy", "a forgery")
    assert await refusal(used(shop, use)) == "approval_unusable"


@pytest.mark.parametrize("name", ["ada", "bo"])
async def test_a_suspension_ends_what_one_asked_for_or_agreed_to(shop: Shop, name: str) -> None:
    use, done = await agreed(shop), list[str]()
    waiting = await asked(shop, WHAT._replace(about="cas_2"), maker="ada")
    others = await agreed(shop, WHAT, maker="cy", checker="bo" if name == "ada" else "ada")
    await shop.hub.people.set_suspended(name, suspended=True)
    assert await refusal(used(shop, use)) == "approval_unusable"
    await shop.hub.people.set_suspended(name, suspended=False)
    assert await refusal(shop.hub.lanes.put(approved(Act1(shop.book, done), use))) == "approval_unusable"
    assert done == []
    assert await status(shop, use.approval_id) == "withdrawn"
    assert await status(shop, waiting) == ("withdrawn" if name == "ada" else "asked")
    await used(shop, others)


@pytest.mark.parametrize("name", ["ada", "bo"])
async def test_the_database_uses_no_word_of_a_suspended_person(shop: Shop, database_url: str, name: str) -> None:
    await agreed(shop)
    await force(database_url, f"UPDATE person SET status = 'suspended' WHERE name = '{name}'")
    with pytest.raises(asyncpg.RestrictViolationError):
        async with acquire(shop.hub.pool) as connection:
            await connection.execute("UPDATE approval SET status = 'used', use_id = 'use_1'")


async def test_an_approval_runs_out_by_the_databases_clock(shop: Shop, database_url: str) -> None:
    waiting = await asked(shop, WHAT._replace(about="cas_2"))
    use, done = await agreed(shop), list[str]()
    await ran_out(database_url)
    assert await refusal(shop.hub.lanes.put(approved(Act1(shop.book, done), use))) == "approval_unusable"
    assert await refusal(used(shop, use)) == "approval_unusable"
    assert done == []
    late = shop.hub.approvals.check(waiting, await person(shop, "bo"), agrees=True)
    assert await refusal(late) == "approval_over"
    with pytest.raises(asyncpg.RestrictViolationError):
        await force(database_url, "UPDATE approval SET status = 'used', use_id = 'use_1' WHERE status = 'approved'")
    assert [await status(shop, one) for one in (waiting, use.approval_id)] == ["expired"] * 2
    async with acquire(shop.hub.pool) as connection:
        assert await store.approvals(connection) == []
    fresh = await asked(shop)
    assert fresh != use.approval_id
    assert await status(shop, fresh) == "asked"


async def test_of_two_checkers_at_once_one_is_heard(shop: Shop) -> None:
    for n in range(5):
        ident = await asked(shop, WHAT._replace(about=f"cas_{n}"))
        bo, cy = await person(shop, "bo"), await person(shop, "cy")
        came = await asyncio.gather(
            shop.hub.approvals.check(ident, bo, agrees=True),
            shop.hub.approvals.check(ident, cy, agrees=True),
            return_exceptions=True,
        )
        assert [one.code for one in came if isinstance(one, SluiceError)] == ["approval_over"]
        row = await shop.hub.approvals.get(ident)
        assert (row.status, row.checker) in {("approved", "bo"), ("approved", "cy")}


async def test_roles_say_who_may_agree_to_what(shop: Shop) -> None:
    staff = await shop.hub.people.add("di", Role.STAFF, book=shop.book)
    people = {Role.OPERATOR: "cy", Role.CLERK: "bo", Role.AUDITOR: "eve", Role.STAFF: staff.person.name}
    for act in (Act.CASES, Act.PEOPLE):
        for role, name in people.items():
            ident = await asked(shop, WHAT._replace(act=act, about=f"{act} {name}"))
            checked = shop.hub.approvals.check(ident, await person(shop, name), agrees=True)
            if act in CHECKS[role]:
                assert (await checked).checker == name
            else:
                assert await refusal(checked) == "role_forbids"


async def test_what_is_refused_or_withdrawn_is_over_and_may_be_asked_for_anew(shop: Shop) -> None:
    refused = await asked(shop)
    row = await shop.hub.approvals.check(refused, await person(shop, "bo"), agrees=False, note="not ours")
    assert (row.status, row.note) == ("refused", "not ours")
    for late in (
        shop.hub.approvals.check(refused, await person(shop, "cy"), agrees=True),
        shop.hub.approvals.withdraw(refused, await person(shop, "ada")),
    ):
        assert await refusal(late) == "approval_over"
    use = await agreed(shop)
    assert use.approval_id != refused
    assert await refusal(shop.hub.approvals.withdraw(use.approval_id, await person(shop, "bo"))) == (
        "approval_is_anothers"
    )
    await shop.hub.approvals.withdraw(use.approval_id, await person(shop, "ada"))
    assert await refusal(used(shop, use)) == "approval_unusable"
    assert await refusal(shop.hub.approvals.get("apr_0")) == "no_such_approval"


async def test_the_hubs_role_deletes_no_approval(shop: Shop) -> None:
    await asked(shop)
    async with acquire(shop.hub.pool) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM approval")


async def test_an_approval_read_by_the_lane_is_as_the_database_has_it(shop: Shop) -> None:
    use = await agreed(shop)
    async with acquire(shop.hub.pool) as connection:
        (row,) = await APPROVALS.load(connection, [(use.approval_id,)])
        assert row == await store.find_approval(connection, use.approval_id)
        assert row.expires_at - row.made_at == timedelta(hours=24)
