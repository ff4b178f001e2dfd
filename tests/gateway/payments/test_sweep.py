"""Idempotency keys are known for a week and then forgotten; what an order's number was used for never is."""

from pathlib import Path

import asyncpg

from tests.gateway.front import a_front, an_order

DAY_S = 86_400


async def test_a_key_is_known_for_a_week_and_an_order_number_for_ever(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        first = await front.post("/v1/payments", an_order("order-1"), key="key-1")
        assert first.status == 201
        janitor = front.shop.hub.janitor()
        front.rail.clock.forward(7 * DAY_S)
        assert await janitor.sweep() == 0
        again = await front.post("/v1/payments", an_order("order-1"), key="key-1")
        assert (again.status, again.body["id"]) == (200, first.body["id"])
        front.rail.clock.forward(1.5 * DAY_S)
        assert await janitor.sweep() == 1
        other = await front.post("/v1/payments", an_order("order-2"), key="key-1")
        assert other.status == 201
        repeated = await front.post("/v1/payments", an_order("order-1", 999), key="key-9")
        assert repeated.code == "duplicate_order"


async def test_sweeping_goes_by_the_hour(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.post("/v1/payments", an_order("order-1"), key="key-1")
        janitor = front.shop.hub.janitor()
        assert await janitor.sweep() == 0
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE claim SET created_at = created_at - interval '9 days'")
        await connection.close()
        assert await janitor.sweep() == 0  # it has just looked
        front.rail.clock.forward(3601)
        assert await janitor.sweep() == 1
