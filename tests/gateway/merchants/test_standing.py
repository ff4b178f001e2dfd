"""A suspended merchant, or one without a key, begins no payment; what was begun is finished."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from channels.contract import Pending
from gateway.store import revoke_key, suspend
from kernel.cache import REMEMBER_S
from kernel.db import acquire
from tests.gateway.front import Front, a_front, an_order

CASHIER = {"type": "cashier"}


@pytest_asyncio.fixture
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path) as found:
        yield found


async def stopped(front: Front, how: str) -> None:
    async with acquire(front.hub.pool) as connection:
        if how == "suspended":
            assert await suspend(connection, front.book, front.clock.now())
        else:
            key_id = await connection.fetchval("SELECT id FROM api_key")
            assert await revoke_key(connection, front.book, key_id, front.clock.now())
    front.clock.forward(REMEMBER_S)


async def a_link(front: Front) -> str:
    body = {"name": "tea", "description": "tea", "amount": 500, "currency": "CNY"}
    made = await front.post("/v1/payment_links", body, key=front.new_key())
    assert made.status == 201, made
    return re.sub(r"^https?://[^/]+", "", made.body["url"])


async def opened(front: Front, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    method = "GET" if form is None else "POST"
    async with front.client.request(method, path, data=form, allow_redirects=False) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("how", ["suspended", "keyless"])
async def test_links_and_cashier_pages_begin_no_payment(front: Front, how: str) -> None:
    path = await a_link(front)
    status, page = await opened(front, path)
    assert status == 200
    submission = re.search(r'name="submission" value="([0-9a-f]{32})"', page)
    assert submission is not None
    cashier = await front.pay("order-1", method=CASHIER)
    assert cashier.status == 201
    at_cashier = re.sub(r"^https?://[^/]+", "", cashier.body["next_action"]["url"])
    assert 'value="scripted.qr"' in (await opened(front, at_cashier))[1]
    await stopped(front, how)
    before = await front.counts()
    assert (await opened(front, path))[0] == 410
    assert (await opened(front, path, {"submission": submission[1]}))[0] == 410
    assert "scripted" not in (await opened(front, at_cashier))[1], "a page offers no way that nobody can go"
    await opened(front, at_cashier, {"way": "scripted.qr"})
    assert await front.counts() == before
    assert not front.asked("pay")
    async with acquire(front.hub.pool) as connection:
        if how == "suspended":
            assert await suspend(connection, front.book, None)
            front.clock.forward(REMEMBER_S)
            assert (await opened(front, path, {"submission": submission[1]}))[0] == 303
            await opened(front, at_cashier, {"way": "scripted.qr"})
            assert len(front.asked("pay")) == 1


async def test_over_the_api_what_was_begun_is_finished_and_nothing_begins(front: Front) -> None:
    paid = await front.paid("order-1")
    front.rail.says(pay=Pending())
    open_one = await front.pay("order-2", key="second")
    await stopped(front, "suspended")
    refused = await front.pay("order-3")
    assert (refused.status, refused.code) == (409, "merchant_suspended")
    assert (await front.pay("order-4", method=CASHIER)).code == "merchant_suspended"
    # The same request again is answered with what it made.
    again = await front.post("/v1/payments", an_order("order-2"), key="second")
    assert (again.status, again.body["id"]) == (200, open_one.body["id"])
    reference = front.asked("pay")[1].reference
    assert (await front.notice(reference, 10_000)).status == 204
    assert (await front.payment(open_one.body["id"]))["status"] == "succeeded"
    assert (await front.refund(paid)).status in (200, 201)
    assert (await front.get("/v1/payments")).status == 200
