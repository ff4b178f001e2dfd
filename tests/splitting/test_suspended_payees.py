"""A suspended payee is owed its shares as ever and paid nothing, until it is resumed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from kernel.errors import Conflict, NotFound
from kernel.work import perform
from ops.payees import kept_back, listed
from ops.verify import verify
from people import Role, What
from people.roles import Act
from splitting import MakeSettlement
from splitting.payees import MERCHANT, OPERATOR, ResumePayee, SuspendPayee
from tests.splitting.town import BANK, FARM, MILL, Town, a_town


@pytest_asyncio.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with a_town(database_url, tmp_path) as found:
        yield found


async def unbroken(town: Town) -> None:
    assert [one for one in await verify(town.front.hub.pool) if one.broken] == []


async def events(town: Town) -> list[str]:
    told = (await town.front.get("/v1/events?limit=100")).body["data"]
    return [one["type"] for one in told if one["type"].startswith("payee.") and one["type"] != "payee.created"]


async def test_its_shares_are_booked_and_no_batch_has_a_line_for_it(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    await town.sell()
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    await town.sell()
    owed = await town.owed(town.today)
    assert owed[FARM] == 6_000, "30 % of two payments, one of them made since"
    await town.settle(town.today)
    assert FARM not in await town.lines(town.today)
    assert MILL in await town.lines(town.today)
    assert (await town.standing())["payee:farm"] == 6_000
    (line,) = await kept_back(hub, book, BANK, "CNY")
    assert "60.00 CNY are not paid out" in line
    assert FARM in line
    (row,) = [one for one in await listed(hub, book) if one["id"] == FARM]
    assert (row["owed"], row["suspended_by"]) == ("60.00", "operator")
    await unbroken(town)


async def test_when_it_is_resumed_the_next_batch_pays_all_that_was_kept_back(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    await town.sell()
    await town.settle(town.today)
    await hub.payees.resume(book, FARM, by=OPERATOR)
    next_day = town.today + timedelta(days=1)
    await town.settle(next_day)
    assert (await town.lines(next_day))[FARM].amount_minor == 3_000
    assert "payee:farm" not in await town.standing()
    assert await kept_back(hub, book, BANK, "CNY") == []
    assert await events(town) == ["payee.suspended", "payee.resumed"]
    await unbroken(town)


async def test_a_line_that_was_made_before_goes_on(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    await town.sell()
    await town.settle(town.today)
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    assert (await town.decide(town.today, FARM, paid=True)).status == "paid"
    await unbroken(town)


async def test_a_line_the_bank_refuses_is_owed_and_kept_back(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    await town.sell()
    await town.settle(town.today)
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    await town.decide(town.today, FARM, paid=False)
    next_day = town.today + timedelta(days=1)
    assert await town.asked(next_day) is None
    assert FARM not in await town.lines(next_day)
    assert (await town.standing())["payee:farm"] == 3_000
    await unbroken(town)


async def test_a_refund_takes_its_part_back(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    payment = await town.sell()
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    made = await town.front.post(f"/v1/payments/{payment}/refunds", {"merchant_refund_id": "r-1"}, key="r-1")
    assert made.status == 201, made.body
    assert "payee:farm" not in await town.standing()
    await unbroken(town)


async def test_the_word_counts_in_the_very_commit_before_the_batch(town: Town) -> None:
    """Both in one transaction: the batch was computed before the payee was suspended, and still has no line for it."""
    await town.sell()
    owed = await town.read(town.today)
    book, day = town.front.book, town.today
    batch = MakeSettlement(book, BANK, day, day + timedelta(days=1), "CNY", owed, town.front.clock.now())
    async with town.front.hub.pool.acquire() as connection, connection.transaction():
        await perform(connection, [SuspendPayee(book, FARM, OPERATOR), batch], town.front.clock.now())
    assert FARM not in await town.lines(day)
    await unbroken(town)


async def test_a_merchant_suspends_and_resumes_its_own_and_lifts_nothing_of_the_operators(town: Town) -> None:
    front, path = town.front, f"/v1/payees/{FARM}"
    suspended = await front.post(f"{path}/suspend", {})
    assert (suspended.status, suspended.body["suspended_by"]) == (200, "merchant")
    assert (await front.post(f"{path}/suspend", {})).body == suspended.body
    assert (await front.post(f"{path}/resume", {})).body["suspended_at"] is None
    await front.post(f"{path}/suspend", {})
    taken = await front.hub.payees.suspend(front.book, FARM, by=OPERATOR)
    assert taken.suspended_by == "operator", "the operator's word goes over the merchant's"
    assert (await front.post(f"{path}/suspend", {})).body["suspended_by"] == "operator"
    refused = await front.post(f"{path}/resume", {})
    assert (refused.status, refused.body["code"]) == (409, "payee_suspended_by_operator")
    assert (await front.hub.payees.resume(front.book, FARM, by=OPERATOR)).suspended_by is None
    assert (await front.get(path)).body["suspended_at"] is None
    missing = await front.post("/v1/payees/pye_" + "9" * 26 + "/suspend", {})
    assert (missing.status, missing.body["code"]) == (404, "no_such_object")


async def test_registering_a_suspended_payee_again_finds_it_suspended(town: Town) -> None:
    front = town.front
    body = {"name": "dairy", "currency": "CNY", "reference": "d-1"}
    made = (await front.post("/v1/payees", body)).body
    await front.hub.payees.suspend(front.book, made["id"], by=MERCHANT)
    again = await front.post("/v1/payees", body)
    assert (again.status, again.body["suspended_by"]) == (201, "merchant")


async def test_resuming_uses_its_approval_up_in_the_same_commit(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    await hub.people.add_first("ada", "pk_first")
    bo = (await hub.people.add("bo", Role.OPERATOR)).person
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    what = What(Act.MERCHANTS, "payee resume", FARM, {}, book)
    with pytest.raises(Conflict) as asked:
        await hub.approvals.ready("ada", what)
    ident = asked.value.facts["approval"]
    async with hub.audit.recorded("bo", Act.APPROVALS, "approval approve", ident):
        await hub.approvals.check(ident, bo, agrees=True)
    use = await hub.approvals.ready("ada", what)
    async with hub.audit.recorded("ada", Act.MERCHANTS, "payee resume", FARM, book=book) as ending:
        assert (await hub.payees.resume(book, FARM, by=OPERATOR, use=use)).suspended_at is None
        ending.detail = ident
    await hub.payees.suspend(book, FARM, by=OPERATOR)
    with pytest.raises(Conflict, match="it is used"):
        await hub.payees.resume(book, FARM, by=OPERATOR, use=use._replace(use_id="use_2"))


async def test_a_payee_of_another_book_is_none(town: Town) -> None:
    other = await town.front.hub.merchants.add("rice", currencies=["CNY"])
    for command in (SuspendPayee(other.book, FARM, OPERATOR), ResumePayee(other.book, FARM, OPERATOR)):
        with pytest.raises(NotFound):
            await town.put(command)


async def test_how_many_are_suspended_is_a_figure(town: Town) -> None:
    hub = town.front.hub

    async def figure() -> float | None:
        await hub.checks().measure()
        return hub.registry.get_sample_value("sluice_payees_suspended")

    assert await figure() == 0
    await hub.payees.suspend(town.front.book, FARM, by=OPERATOR)
    assert await figure() == 1
