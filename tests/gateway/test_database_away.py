"""The database goes away in the middle of a statement: the caller is told to ask again, not that the hub is broken."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import asyncpg
import pytest

from kernel.cache import REMEMBER_S
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import Answer, Front, a_front


async def cut_off(server: PostgresServer, database_url: str, table: str, work: Awaitable[Answer]) -> Answer:
    """Do `work`, ending its database session while it waits for a row of `table`."""
    owner, admin = await asyncpg.connect(database_url), await asyncpg.connect(server.server.admin_url)
    try:
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {table}")
            asked = asyncio.ensure_future(work)
            ended = 0
            while not ended:
                ended = await admin.fetchval(
                    "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE datname = $1 AND wait_event_type = 'Lock'",
                    database_url.rpartition("/")[2],
                )
            return await asked
    finally:
        await owner.close()
        await admin.close()


@pytest.mark.parametrize("what", ["read", "create", "notice"])
async def test_a_lost_connection_is_no_mistake_of_the_hubs(
    pg_server: PostgresServer, database_url: str, tmp_path: Path, what: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id = await front.paid()
        answer = await cut_off(pg_server, database_url, *interrupted(front, what, payment_id))
        assert (answer.status, answer.code) == (503, "database_unavailable")
        assert answer.body["retriable"] is True
        assert "Retry-After" in answer.headers
        assert (await front.payment(payment_id))["status"] == "succeeded"


def interrupted(front: Front, what: str, payment_id: str) -> tuple[str, Awaitable[Answer]]:
    """Return the table a request reads outside the commit lane, and the request."""
    match what:
        case "read":
            return "payment", front.get(f"/v1/payments/{payment_id}")
        case "create":
            front.clock.forward(REMEMBER_S + 1)
            return "channel_account", front.pay("order-2")
        case _:
            return "payment", front.notice(front.asked("pay")[0].reference, 10_000)
