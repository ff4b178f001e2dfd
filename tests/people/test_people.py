"""Persons, their roles and credentials, and the audit log, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from kernel.db import acquire
from kernel.errors import Conflict, NotFound, Rejected, SluiceError
from ops.verify import verify
from people import Act, NewPerson, Role, store
from people.roles import MAY
from tests.support import Shop, a_shop


@pytest_asyncio.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with a_shop(database_url, tmp_path) as found:
        yield found


async def an_operator(shop: Shop, name: str = "ada") -> NewPerson:
    return await shop.hub.people.add_first(name, "pk_first")


async def refusal(work: object) -> str:
    with pytest.raises(SluiceError) as refused:
        await work  # type: ignore[misc]
    return refused.value.code


async def test_the_first_person_is_made_once_however_many_ask_at_the_same_time(shop: Shop) -> None:
    asked = [shop.hub.people.add_first(f"p{n}", f"pk_{n}") for n in range(8)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert len([one for one in done if isinstance(one, NewPerson)]) == 1
    assert {one.code for one in done if isinstance(one, Conflict)} == {"first_person_exists"}


async def test_a_credential_says_who_acts_and_no_digest_of_it_is_the_credential(shop: Shop) -> None:
    await an_operator(shop)
    made = await shop.hub.people.add("bo", Role.CLERK)
    assert (await shop.hub.people.acting(made.credential, Act.CASES)).name == "bo"
    for wrong in ("", "pk_", made.credential[:-1], "sk_" + made.credential[3:]):
        assert await refusal(shop.hub.people.acting(wrong, Act.CASES)) == "person_unknown"
    async with acquire(shop.hub.pool) as connection:
        stored = str(await connection.fetch("SELECT * FROM person"))
    assert made.credential not in stored


async def test_roles_say_what_a_person_may_do(shop: Shop) -> None:
    await an_operator(shop)
    for role in Role:
        book = shop.book if role is Role.STAFF else None
        made = await shop.hub.people.add(f"a-{role}", role, book=book)
        for act in Act:
            asked = shop.hub.people.acting(made.credential, act, book=shop.book)
            if act in MAY[role]:
                assert (await asked).role == role
            else:
                assert await refusal(asked) == "role_forbids"


async def test_a_merchants_staff_act_for_their_merchant_alone(shop: Shop) -> None:
    await an_operator(shop)
    made = await shop.hub.people.add("cy", Role.STAFF, book=shop.book)
    assert (await shop.hub.people.acting(made.credential, Act.LINKS, book=shop.book)).name == "cy"
    for other in (shop.book + 1, None):
        assert await refusal(shop.hub.people.acting(made.credential, Act.LINKS, book=other)) == "role_forbids"
    with pytest.raises(NotFound):
        await shop.hub.people.add("di", Role.STAFF, book=999)
    for role, book in ((Role.STAFF, None), (Role.CLERK, shop.book)):
        with pytest.raises(Rejected, match="nobody else"):
            await shop.hub.people.add("di", role, book=book)


async def test_a_suspended_person_acts_no_more_until_resumed(shop: Shop) -> None:
    await an_operator(shop)
    made = await shop.hub.people.add("bo", Role.CLERK)
    assert await shop.hub.people.set_suspended("bo", suspended=True)
    assert not await shop.hub.people.set_suspended("bo", suspended=True)
    assert await refusal(shop.hub.people.acting(made.credential, Act.CASES)) == "person_suspended"
    assert await shop.hub.people.set_suspended("bo", suspended=False)
    assert (await shop.hub.people.acting(made.credential, Act.CASES)).name == "bo"


async def test_two_operators_who_suspend_each_other_at_once_leave_one(shop: Shop) -> None:
    await an_operator(shop)
    await shop.hub.people.add("bo", Role.OPERATOR)
    done = await asyncio.gather(
        *(shop.hub.people.set_suspended(name, suspended=True) for name in ("ada", "bo")), return_exceptions=True
    )
    assert [one.code for one in done if isinstance(one, SluiceError)] == ["last_operator"]


@pytest.mark.parametrize("name", ["", "Ada", "a b", "1a", "a" * 32, "../x", "a\n"])
async def test_a_name_that_is_none_is_refused(shop: Shop, name: str) -> None:
    assert await refusal(an_operator(shop, name)) == "person_name_wrong"


async def test_a_name_is_given_once(shop: Shop) -> None:
    await an_operator(shop)
    assert await refusal(shop.hub.people.add("ada", Role.CLERK)) == "person_exists"


async def test_an_act_leaves_a_record_before_and_one_after_with_how_it_ended(shop: Shop) -> None:
    audit = shop.hub.audit
    async with audit.recorded("ada", Act.MERCHANTS, "merchant add", "tea\x1f\n", book=3):
        async with acquire(shop.hub.pool) as connection:
            (begun,) = await store.records(connection)
        assert (begun.outcome, begun.begun_seq, begun.about) == ("begun", begun.seq, "tea\\x1f\\n")
    with pytest.raises(Conflict):
        async with audit.recorded("ada", Act.STOP, "key revoke", "key_1"):
            raise Conflict("no_luck", "no luck")
    with pytest.raises(ZeroDivisionError):
        async with audit.recorded(None, Act.STOP, "key revoke", "key_2"):
            raise ZeroDivisionError
    async with acquire(shop.hub.pool) as connection:
        rows = await store.records(connection)
        told = [(row.seq, row.person, row.outcome, row.begun_seq, row.detail) for row in reversed(rows)]
        assert told == [
            (1, "ada", "begun", 1, ""), (2, "ada", "done", 1, ""),
            (3, "ada", "begun", 3, ""), (4, "ada", "refused", 3, "no_luck"),
            (5, None, "begun", 5, ""), (6, None, "failed", 5, "ZeroDivisionError"),
        ]  # fmt: skip
        assert [row.seq for row in await store.records(connection, person="ada", limit=2)] == [4, 3]
        assert [row.seq for row in await store.records(connection, about="key_2")] == [6, 5]
        assert await store.records(connection, since=rows[0].recorded_at + timedelta(seconds=1)) == []


async def test_acts_of_many_at_once_make_one_chain(shop: Shop) -> None:
    async def act(n: int) -> None:
        async with shop.hub.audit.recorded("ada", Act.LINKS, "link add", f"link {n}"):
            await asyncio.sleep(0)

    await asyncio.gather(*(act(n) for n in range(20)))
    async with acquire(shop.hub.pool) as connection:
        assert [row.seq for row in await store.records(connection)] == list(range(40, 0, -1))
        assert await store.audit_chain_holds(connection) == []


async def test_the_audit_log_cannot_be_changed_by_the_hub_nor_by_its_owner(shop: Shop, database_url: str) -> None:
    async with shop.hub.audit.recorded("ada", Act.LINKS, "link add", "tea"):
        pass
    owner = await asyncpg.connect(database_url)
    try:
        async with acquire(shop.hub.pool) as connection:
            for statement in ("UPDATE audit_record SET person = 'bo'", "DELETE FROM audit_record"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
                with pytest.raises(asyncpg.RestrictViolationError):
                    await owner.execute(statement)
    finally:
        await owner.close()


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE audit_record SET person = 'bo' WHERE seq = 1",
        "UPDATE audit_record SET person = NULL WHERE seq = 2",
        "UPDATE audit_record SET recorded_at = recorded_at + interval '1 microsecond' WHERE seq = 3",
        "UPDATE audit_record SET merchant_book = 2 WHERE seq = 3",
        "DELETE FROM audit_record WHERE seq IN (1, 2)",
    ],
)
async def test_verify_finds_a_record_that_was_changed_or_taken_out(shop: Shop, database_url: str, fault: str) -> None:
    for about in ("tea", "rice"):
        async with shop.hub.audit.recorded("ada", Act.LINKS, "link add", about):
            pass
    assert not [one for one in await verify(shop.hub.pool) if one.broken]
    owner = await asyncpg.connect(database_url)
    await owner.execute("ALTER TABLE audit_record DISABLE TRIGGER audit_record_append_only")
    await owner.execute(fault)
    await owner.close()
    assert [one.name for one in await verify(shop.hub.pool) if one.broken] == ["audit_chain_holds"]


@pytest.mark.parametrize(
    "change", ["role = 'operator'", "name = 'ada2'", "digest = sha256('x')", "role = 'staff', merchant_book = 1"]
)
@pytest.mark.parametrize("owner", [False, True])
async def test_who_somebody_is_never_changes(shop: Shop, database_url: str, change: str, owner: bool) -> None:
    await an_operator(shop)
    await shop.hub.people.add("eve", Role.AUDITOR)
    statement = f"UPDATE person SET {change} WHERE name = 'eve'"
    if not owner:
        async with acquire(shop.hub.pool) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        return
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(statement)
    finally:
        await connection.close()
