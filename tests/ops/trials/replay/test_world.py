"""How a replay asks: silence is asked again with the same key, a refusal is not, and a mistake of the hub's ends it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ops.trials.replay.patience import InVain
from ops.trials.replay.world import HubFailed, Refused, World


@asynccontextmanager
async def hub_that(*answers: Any) -> AsyncIterator[tuple[World, list[str | None]]]:
    """Serve these answers one after the other, the last for ever; yield the world and the keys that were sent."""
    keys: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        keys.append(request.headers.get("Idempotency-Key"))
        status, body = answers[min(len(keys), len(answers)) - 1]
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(body, status=status or 500) if isinstance(body, dict) else web.Response(text=body)

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        yield World(session, url, "sk_test", url), keys


IN_PROGRESS = (409, {"code": "request_in_progress", "retriable": True})
AWAY = (503, {"code": "database_unavailable", "retriable": True})
GOOD = (201, {"object": "payment", "id": "pay_1", "status": "processing"})


@pytest.mark.parametrize("trouble", [(0, {}), (200, "not JSON"), (200, "[1]"), (502, "<html>"), IN_PROGRESS, AWAY])
async def test_trouble_is_asked_about_again_with_the_same_key(trouble: tuple[int, Any]) -> None:
    async with hub_that(trouble, trouble, GOOD) as (world, keys):
        assert (await world.hub("POST", "/v1/payments", {"amount": 1}, key="k"))["id"] == "pay_1"
        assert keys == ["k", "k", "k"]
        assert world.retries == 2
        assert list(world.witness.told) == ["pay_1"]


async def test_a_refusal_is_taken_for_an_answer() -> None:
    async with hub_that((422, {"code": "amount_not_positive", "detail": "0", "retriable": False})) as (world, keys):
        with pytest.raises(Refused, match="amount_not_positive") as refused:
            await world.hub("POST", "/v1/payments", {}, key="k")
        assert refused.value.code == "amount_not_positive"
        assert len(keys) == 1


async def test_a_hub_that_says_it_is_wrong_is_no_refusal() -> None:
    async with hub_that((500, {"code": "internal_error", "detail": "quote req_1", "retriable": False})) as (world, _):
        with pytest.raises(HubFailed, match="quote req_1"):
            await world.hub("POST", "/v1/payments", {}, key="k")


async def test_a_list_is_read_page_after_page() -> None:
    pages = [
        (200, {"object": "list", "data": [{"id": "a"}, {"id": "b"}], "has_more": True}),
        (200, {"object": "list", "data": [{"id": "c"}], "has_more": False}),
    ]
    async with hub_that(*pages) as (world, _):
        assert [found["id"] async for found in world.listed("/v1/payments")] == ["a", "b", "c"]


async def test_silence_is_not_waited_for_for_ever_and_what_was_said_last_is_told() -> None:
    async with hub_that(AWAY) as (world, _):
        world.patience_s = 0.1
        with pytest.raises(InVain, match=r"the hub answers GET /v1/x: waited 0.1 s in vain; .* 503 database_unavail"):
            await world.hub("GET", "/v1/x")
    async with hub_that((0, {})) as (world, _):
        world.patience_s = 0.1
        with pytest.raises(InVain, match=r"the sandbox answers GET /control/x: waited 0.1 s in vain; no answer: Serv"):
            await world.control("GET", "/control/x")
