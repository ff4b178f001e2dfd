"""The database is stopped and does not die: whoever asks is soon told to ask again, and nothing is done twice."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from kernel.db import SILENCE_S, acquire, connect, transaction
from kernel.env import SystemClock
from ops import doctor, serve
from ops.health import Health
from ops.migrate import MigrationFailed, migrate
from ops.settings import Settings
from ops.wiring import LaneShape
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import Answer, Front, a_front, an_order
from tests.kernel.frozen import frozen

LONG_S = 25.0  # what nobody may be kept waiting, on the slowest machine


@pytest_asyncio.fixture
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path, statement_s=0.5, lane=LaneShape(patience_s=3, statement_s=0.5)) as found:
        yield found


async def soon(*work: Awaitable[Answer]) -> list[Answer]:
    async with asyncio.timeout(LONG_S):
        return list(await asyncio.gather(*work))


async def test_nobody_is_kept_waiting_by_a_frozen_database_and_nothing_is_done_twice(
    pg_server: PostgresServer, front: Front
) -> None:
    payment_id = await front.paid("before")
    page = (await front.pay("page", method={"type": "cashier"})).body["next_action"]["url"]
    page = "/pay/" + page.rpartition("/")[2]
    orders = [an_order(f"order-{n}") for n in range(20)]
    async with asyncio.TaskGroup() as others:
        with frozen(pg_server.server):
            # What is under way when it stops, and what comes after: more than there are connections for.
            waits = [
                *(front.post("/v1/payments", order, key=f"frozen-{n}") for n, order in enumerate(orders)),
                *(front.get(f"/v1/payments/{payment_id}") for _ in range(20)),
                front.get("/v1/payments"),
                front.get("/v1/balances"),
                front.refund(payment_id, 100, key="refund"),
                front.get(page, Authorization=None),
                front.notice(front.asked("pay")[0].reference, 10_000),  # in the rail's own words
            ]
            ready = others.create_task(front.hub.checks().health())
            answers = await soon(*waits)
            assert {answer.status for answer in answers} == {503}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers[:-1])
            assert "database" in (await ready).wrong
    # It goes on. Some of what was asked may have been done after all: who asks again with the same key finds out.
    again = await soon(*(front.post("/v1/payments", order, key=f"frozen-{n}") for n, order in enumerate(orders)))
    assert {(answer.status, answer.body["status"]) for answer in again} == {(201, "succeeded")}
    assert len({order.reference for order in front.asked("pay")}) == len(front.asked("pay")) == 1 + len(orders)
    assert (await front.refund(payment_id, 100, key="refund")).status == 201
    assert (await front.payment(payment_id))["amount_refunded"] == 100
    assert (await front.get(page, Authorization=None)).status == 200
    assert "database" not in (await front.hub.checks().health()).wrong


async def test_readiness_looks_once_for_all_who_ask_while_the_database_is_frozen(
    pg_server: PostgresServer, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.health.LOOK_S", 0.2)  # as in a hub, less than a statement may take
    front.hub.env.clock = SystemClock()
    checks, looks = front.hub.checks(), 0
    look = checks._look

    async def counted() -> Health:
        nonlocal looks
        looks += 1
        return await look()

    checks._look = counted  # type: ignore[method-assign]
    await asyncio.gather(*(front.get("/v1/payments") for _ in range(20)))  # so that a connection is there
    with frozen(pg_server.server):
        async with asyncio.timeout(LONG_S):
            found = await asyncio.gather(*(checks.health() for _ in range(20)))
    assert {one.wrong["database"] for one in found} == {"no answer in time"}
    assert looks == 1


def test_a_gateway_answers_within_ten_seconds_whatever_the_database_does() -> None:
    """What keeps a caller waiting is one of these: what it waited for before has come."""
    lane = LaneShape()
    for_a_connection = inspect.signature(acquire).parameters["timeout_s"].default
    assert for_a_connection + serve.ANSWER_S + SILENCE_S <= 10
    assert lane.patience_s <= 10
    assert lane.statement_s + SILENCE_S < lane.patience_s, "a line that is dead is replaced before they give up"


async def test_a_transaction_in_which_nothing_came_back_is_left_and_not_rolled_back_in_words(
    pg_server: PostgresServer, database_url: str
) -> None:
    async with connect(database_url, size=1, statement_s=0.2) as pool:
        async with acquire(pool) as connection:
            before = connection.get_server_pid()

        async def stay(stack: ExitStack) -> None:
            async with transaction(pool) as connection:
                stack.enter_context(frozen(pg_server.server))
                await connection.execute("SELECT 1")

        with ExitStack() as stack, pytest.raises(TimeoutError) as silence:
            await stay(stack)
        assert not isinstance(silence.value.__context__, TimeoutError), "its ROLLBACK was waited for"
        async with acquire(pool) as connection:
            assert connection.get_server_pid() != before


async def test_a_reason_without_words_is_told_all_the_same(
    pg_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ops.migrate._WAIT_S", 0.2)
    monkeypatch.setattr("ops.doctor._TIMEOUT_S", 0.2)
    settings = Settings(home=tmp_path, database_url=SecretStr(database_url))
    with frozen(pg_server.server):
        with pytest.raises(MigrationFailed, match="cannot be reached: no answer in time"):
            await asyncio.to_thread(migrate, database_url)
        finding, *_ = await doctor._database(settings, None)
    assert finding.seen.endswith("cannot be reached: no answer in time")
