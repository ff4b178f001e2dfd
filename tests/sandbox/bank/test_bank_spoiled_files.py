"""Files that the bank writes wrong on order: signed like any, listed, and what was meant is given out."""

from datetime import timedelta

import pytest

from sandbox.bank import spoiling
from tests.sandbox.bank.bank_client import Play, read_notice

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("way", sorted(set(spoiling.SPOILS) - {spoiling.OTHER_DAY}))
async def test_a_notice_is_spoiled_once_and_what_was_meant_is_kept(play: Play, way: str) -> None:
    customer, sandbox = play.customer, play.sandbox
    await sandbox.fault(way, {"customer_id": customer.paper["customer_id"], "type": "camt.054"})
    await sandbox.deposit(play.pool, 100, "FIRST")
    await sandbox.deposit(play.pool, 200, "SECOND")
    listed = (await customer.files("camt.054"))[1:]  # the first is what the play begins with
    *spoiled, right = [await customer.download(one) for one in listed]  # each is verified
    assert read_notice(right)[1].end_to_end_id == "SECOND"
    (kept, *more) = (await sandbox.control("GET", f"/bank/spoiled?customer_id={customer.paper['customer_id']}"))[
        "files"
    ]
    assert (kept["file_id"], kept["type"], kept["fault"]) == (listed[0]["file_id"], "camt.054", way)
    assert len(more) == len(spoiled) - 1 == int(way == spoiling.DOUBLED)
    async with sandbox.http.get(f"{sandbox.url}/control/bank/files/{kept['file_id']}/meant") as answer:
        meant = await answer.read()
    assert read_notice(meant)[1].end_to_end_id == "FIRST"
    if way == spoiling.DOUBLED:
        assert spoiled == [meant, meant]
    else:
        assert spoiled != [meant]
    assert await customer.balance(play.pool) == 10_300, "the money is as it was"


async def test_a_statement_of_another_day_is_the_one_before_it(play: Play) -> None:
    today = await play.sandbox.today()
    match = {"customer_id": play.customer.paper["customer_id"], "date": (today + timedelta(days=1)).isoformat()}
    await play.sandbox.fault(spoiling.OTHER_DAY, match)
    for n in range(3):
        await play.sandbox.close_day(today + timedelta(days=n))
    first, second, third = [await play.customer.download(one) for one in await play.customer.files("camt.053")]
    assert first == second
    assert third != second
