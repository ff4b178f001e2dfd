"""`sluice approval …`, and what takes two people, in the words they type."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import pytest_asyncio
from pydantic import SecretStr
from typer.testing import Result

import cases
from kernel.errors import Conflict, Rejected
from kernel.work import perform
from ops.cases import decide_as, get_case
from ops.people import acting, add_as, on_trial, own_credential
from ops.settings import Settings
from people import Act, Role
from tests.cases.test_cases import REFUND
from tests.support import Shop, a_shop

Sluice = Callable[..., Result]
KEEP = ("--decision", "keep", "--note", "the payer agreed")


async def found(database_url: str, kind: str = "refund_came_back") -> str:
    """Have the hub find that a refund came back, and return the case's id."""
    connection = await asyncpg.connect(database_url)
    came_back = cases.OpenCase(1, kind, REFUND, 70, "CNY", {"code": "ACCOUNT_CLOSED"})
    async with connection.transaction():
        [opened] = await perform(connection, [came_back], datetime.now(UTC))
    await connection.close()
    assert isinstance(opened, cases.Case)
    return opened.id


@pytest.fixture
def home(two_operators: Sluice) -> Sluice:
    """A home with ada, an operator, whose credential is the home's, cy, another, and bo, a clerk."""
    return two_operators


def approvals(home: Sluice, *words: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(home("approval", "list", *words, "--json").stdout)["approvals"]
    return told


def acts(home: Sluice) -> list[tuple[str, str, str, str]]:
    """Return how the last acts ended: person, command, outcome and detail, the latest first."""
    rows = json.loads(home("audit", "list", "--json").stdout)
    return [(r["person"], r["what"], r["outcome"], r["detail"]) for r in rows if r["outcome"] != "begun"]


def test_a_case_is_decided_by_two_people(home: Sluice, database_url: str) -> None:
    case = asyncio.run(found(database_url))
    assert "(takes two people)" in home("case", "show", case).output
    said = home("case", "decide", case, *KEEP, code=1).output
    (row,) = approvals(home)
    assert "approval_asked" in said
    assert f"sluice approval approve {row['id']}" in said
    assert case in home("case", "list", code=1).output, "nothing was done"
    shown = home("approval", "show", row["id"]).output
    assert all(one in shown for one in ("keep", "the payer agreed", f"sluice case show {case}", row["what_hash"], "70"))
    assert "approval_is_ones_own" in home("approval", "approve", row["id"], code=1).output
    assert "approval_asked" in home("case", "decide", case, *KEEP, code=1).output, "asked for, and not agreed to yet"
    agreed = home("--as", "bo", "approval", "approve", row["id"], "--note", "seen").output
    assert "is approved by bo" in agreed
    assert "ada repeats the command" in agreed
    assert acts(home)[0] == ("bo", "approval approve", "done", row["what_hash"])
    other = ("--decision", "retry", "--note", "the payer agreed")
    assert "approval_asked" in home("case", "decide", case, *other, code=1).output, "it was for another decision"
    assert "keep, by ada" in home("case", "decide", case, *KEEP).output
    assert acts(home)[0] == ("ada", "case decide keep", "done", row["id"])
    home("case", "list")
    assert home("case", "decide", case, *KEEP).output, "the same again changes nothing, and takes nobody"
    shown = home("case", "show", case).output
    assert "decided_by          ada" in shown
    home("verify")
    assert f"approved_by         bo ({row['id']})" in shown
    (again,) = approvals(home)
    assert again["what"]["arguments"]["decision"] == "retry"
    assert "case_decided" in home("case", "decide", case, *other, code=1).output
    assert "withdrawn" in home("approval", "withdraw", again["id"]).output
    assert "nothing waits" in home("approval", "list").output
    assert [one["status"] for one in approvals(home, "--all", "--about", case)] == ["withdrawn", "used"]


def test_what_cannot_be_carried_out_leaves_its_approval_to_be_used(home: Sluice, database_url: str) -> None:
    case = asyncio.run(found(database_url))
    retry = ("case", "decide", case, "--decision", "retry", "--note", "another card")
    home(*retry, code=1)
    (row,) = approvals(home)
    home("--as", "bo", "approval", "approve", row["id"])
    assert "no_such_refund" in home(*retry, code=1).output
    assert approvals(home)[0]["status"] == "approved"
    assert acts(home)[0] == ("ada", "case decide retry", "refused", "no_such_refund")


def test_what_leaves_a_matter_as_it_is_takes_one_person(home: Sluice, database_url: str) -> None:
    case = asyncio.run(found(database_url, "refund_unfinished"))
    home("case", "decide", case, "--decision", "wait", "--note", "the bank looks into it")
    assert approvals(home, "--all", "--about", case) == []


def test_a_no_is_said_with_its_reason_and_may_be_followed_by_another_asking(home: Sluice, database_url: str) -> None:
    case = asyncio.run(found(database_url))
    home("case", "decide", case, *KEEP, code=1)
    (row,) = approvals(home)
    assert "is refused by bo" in home("--as", "bo", "approval", "refuse", row["id"], "--note", "ask the payer").output
    assert "ask the payer" in home("approval", "show", row["id"]).output
    assert "approval_over" in home("--as", "bo", "approval", "approve", row["id"], code=1).output
    assert "approval_asked" in home("case", "decide", case, *KEEP, code=1).output
    assert approvals(home)[0]["id"] != row["id"]
    assert "no_such_approval" in home("approval", "show", "apr_0", code=1).output


def test_a_case_that_was_opened_anew_is_not_the_one_that_was_agreed_to(home: Sluice, database_url: str) -> None:
    case = asyncio.run(found(database_url))
    home("case", "decide", case, *KEEP, code=1)
    home("--as", "bo", "approval", "approve", approvals(home)[0]["id"])

    async def dearer() -> None:
        owner = await asyncpg.connect(database_url)
        await owner.execute("UPDATE case_file SET amount_minor = 7000")
        await owner.close()

    asyncio.run(dearer())
    assert "approval_asked" in home("case", "decide", case, *KEEP, code=1).output
    assert {one["what"]["arguments"]["amount_minor"] for one in approvals(home)} == {70, 7000}


def test_with_nobody_to_agree_it_is_refused_with_what_to_do(tea_house: Sluice, database_url: str) -> None:
    case = asyncio.run(found(database_url))
    said = tea_house("case", "decide", case, *KEEP, code=1).output
    assert "second_person_missing" in said
    assert "sluice person add NAME --role ROLE" in said
    tea_house("person", "add", "eve", "--role", "auditor")
    assert "second_person_missing" in tea_house("case", "decide", case, *KEEP, code=1).output
    tea_house("person", "add", "bo", "--role", "operator", "--keep")
    assert "approval_asked" in tea_house("case", "decide", case, *KEEP, code=1).output
    tea_house("person", "suspend", "bo")
    assert "second_person_missing" in tea_house("case", "decide", case, *KEEP, code=1).output


def test_the_first_operator_takes_an_operator_on_alone_and_no_clerk_to_agree_with_her(tea_house: Sluice) -> None:
    said = tea_house("person", "add", "bo", "--role", "clerk", code=1).output
    assert "second_person_missing" in said
    assert "operator" in said
    tea_house("person", "add", "eve", "--role", "auditor")  # who may agree to nothing
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    for role in ("operator", "clerk"):
        assert "approval_asked" in tea_house("person", "add", "bo", "--role", role, code=1).output


def test_from_the_second_operator_on_two_take_people_on(home: Sluice) -> None:
    said = home("person", "add", "di", "--role", "operator", code=1).output
    assert "approval_asked" in said
    (row,) = approvals(home)
    assert "role_forbids" in home("--as", "bo", "approval", "approve", row["id"], code=1).output
    home("--as", "cy", "approval", "approve", row["id"])
    assert "approval_asked" in home("person", "add", "di", "--role", "clerk", code=1).output
    assert "credential" in home("person", "add", "di", "--role", "operator").output
    assert "person_exists" in home("person", "add", "di", "--role", "operator", code=1).output
    home("person", "add", "eve", "--role", "auditor")  # who may agree to nothing


def test_whoever_suspends_the_other_operators_takes_nobody_on_alone(home: Sluice) -> None:
    home("person", "suspend", "cy")
    for role in ("clerk", "operator"):
        assert "second_person_missing" in home("person", "add", "di", "--role", role, code=1).output
    home("person", "resume", "cy")  # whom two took on, or who was the first
    assert "approval_asked" in home("person", "add", "di", "--role", "clerk", code=1).output


async def an_account(shop: Shop, base_url: object) -> None:
    row = await shop.hub.channel_admin.get(shop.book, "rail")
    settings = {**orjson.loads(row.settings), "base_url": base_url}
    async with shop.hub.pool.acquire() as connection:
        await connection.execute(
            "UPDATE channel_account SET settings = $1 WHERE book = $2", orjson.dumps(settings).decode(), shop.book
        )


async def decide_alone(shop: Shop, settings: Settings, case: str) -> None:
    async with acting(shop.hub, settings, Act.CASES, "case decide", case) as begun:
        await decide_as(begun, case, "keep", note="why")


@pytest_asyncio.fixture
async def trial(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Shop, Settings]]:
    """A hub on servers of its own, whose rail is on this machine and has never been elsewhere."""
    async with a_shop(database_url, tmp_path) as shop:
        owner = await asyncpg.connect(database_url)
        await owner.execute("DELETE FROM address_used")
        await owner.close()
        await an_account(shop, "http://127.0.0.1:8410/wechat")
        yield shop, Settings(home=tmp_path)


async def test_a_home_on_trial_has_one_person_who_decides_alone(
    trial: tuple[Shop, Settings], database_url: str, tmp_path: Path
) -> None:
    shop, own = trial
    case = await found(database_url)
    for url in ("http://localhost:1", "http://[::1]:8410"):
        await an_account(shop, url)
        assert await on_trial(shop.hub, own)
        assert not await on_trial(shop.hub, Settings(home=tmp_path, database_url=SecretStr(database_url)))
    await decide_alone(shop, own, case)
    assert (await get_case(shop.hub, case)).decided_by == "operator"
    assert own_credential(shop.hub, tmp_path)


@pytest.mark.parametrize(
    "real", ["https://api.mch.weixin.qq.com", "http://127.0.0.1.example.com", "http://[::1", None, 7]
)
async def test_a_rail_that_was_elsewhere_once_has_somebodys_money(
    trial: tuple[Shop, Settings], database_url: str, real: object
) -> None:
    shop, own = trial
    case = await found(database_url)
    await an_account(shop, real)
    for address in (real, "http://127.0.0.1:8410/wechat"):
        await an_account(shop, address)
        assert not await on_trial(shop.hub, own)
        with pytest.raises(Rejected, match="takes two people"):
            await decide_alone(shop, own, case)


@pytest.mark.parametrize("role", [Role.CLERK, Role.OPERATOR])
async def test_whoever_had_a_second_person_is_not_on_trial_again_by_suspending_them(
    trial: tuple[Shop, Settings], database_url: str, role: Role
) -> None:
    shop, own = trial
    case = await found(database_url)
    async with acting(shop.hub, own, Act.PEOPLE, "person add", "bo") as begun:
        await add_as(begun, "bo", role)
    with pytest.raises(Conflict, match="takes two people"):
        await decide_alone(shop, own, case)
    await shop.hub.people.set_suspended("bo", suspended=True)
    with pytest.raises(Rejected, match="takes two people"):
        await decide_alone(shop, own, case)
    with pytest.raises(Rejected, match="takes two people"):
        async with acting(shop.hub, own, Act.PEOPLE, "person add", "di") as begun:
            await add_as(begun, "di", Role.CLERK)
