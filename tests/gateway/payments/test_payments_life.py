"""The life of a payment through the HTTP door, on a real database, with a rail that says what the test wants."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from channels.contract import Pending, Refused, Unknown
from gateway.api.app import make_app
from gateway.store import due_attempts
from kernel.db import acquire
from tests.support import Shop, a_shop, confirmed


def an_order(number: str = "order-1", amount: int = 10_000, **more: Any) -> dict[str, Any]:
    return {
        "merchant_order_id": number,
        "amount": amount,
        "currency": "CNY",
        "method": {"type": "qr"},
        "description": "tea",
        **more,
    }


async def door(shop: Shop) -> TestClient[Any, Any]:
    client: TestClient[Any, Any] = TestClient(TestServer(make_app(shop.hub.api())))
    await client.start_server()
    return client


async def test_a_payment_confirmed_at_once_is_booked_with_its_fee(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path) as shop:
        client = await door(shop)
        answer = await client.post("/v1/payments", json=an_order(), headers={**shop.headers, "Idempotency-Key": "k1"})
        body = await answer.json()
        assert answer.status == 201, body
        assert (body["status"], body["amount_captured"], body["channel_fee"]) == ("succeeded", 10_000, 60)
        balances = await (await client.get("/v1/balances", headers=shop.headers)).json()
        standing = {row["account"]: row["balance"] for row in balances["data"]}
        assert standing["channel:rail:CNY"] == 9_940
        assert standing["merchant:CNY"] == 9_940
        await client.close()


@pytest.mark.parametrize("outcome", [Unknown("no answer"), Pending()])
async def test_silence_leaves_a_payment_open_and_owned(database_url: str, tmp_path: Path, outcome: Any) -> None:
    async with a_shop(database_url, tmp_path, lambda op, order: outcome) as shop:
        client = await door(shop)
        answer = await client.post("/v1/payments", json=an_order(), headers={**shop.headers, "Idempotency-Key": "k1"})
        assert (await answer.json())["status"] == "processing"
        async with acquire(shop.hub.pool) as connection:
            far = shop.hub.env.now().replace(year=2100)
            assert len(await due_attempts(connection, far, [], [], 10)) == 1
        await client.close()


async def test_an_explicit_refusal_ends_the_payment(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path, lambda op, order: Refused("NOTENOUGH", "no money")) as shop:
        client = await door(shop)
        answer = await client.post("/v1/payments", json=an_order(), headers={**shop.headers, "Idempotency-Key": "k1"})
        body = await answer.json()
        assert (body["status"], body["failure"]["code"]) == ("failed", "NOTENOUGH")
        await client.close()


async def test_a_confirmation_after_the_close_is_booked_and_goes_back(database_url: str, tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "pay": Pending({"type": "qr", "code": "weixin://x"}),
        "close": Refused("CLOSED", "", closed=True),
    }

    def script(op: str, order: Any) -> Any:
        return confirmed(order.reference, order.amount.minor, shop.hub.env.now()) if op not in said else said[op]

    async with a_shop(database_url, tmp_path, script) as shop:
        client = await door(shop)
        answer = await client.post("/v1/payments", json=an_order(), headers={**shop.headers, "Idempotency-Key": "k1"})
        payment = await answer.json()
        assert payment["next_action"] == {"type": "qr", "code": "weixin://x", "channel": "scripted"}
        closed = await client.post(f"/v1/payments/{payment['id']}/close", headers=shop.headers)
        assert (await closed.json())["status"] == "canceled"
        reference = shop.channel.asked[0][1].reference
        notice = {"signature": "good", "kind": "payment", "reference": reference, "amount": 10_000, "id": "n1"}
        url = f"/notify/scripted/{shop.book}/rail"
        for _ in range(3):  # rails repeat themselves
            assert (await client.post(url, json=notice)).status == 204
        await shop.hub.janitor().once()
        payment = await (await client.get(f"/v1/payments/{payment['id']}", headers=shop.headers)).json()
        assert (payment["status"], payment["amount_captured"], payment["amount_refunded"]) == (
            "canceled",
            10_000,
            10_000,
        )
        balances = await (await client.get("/v1/balances", headers=shop.headers)).json()
        assert {row["balance"] for row in balances["data"]} == {0}
        await client.close()
