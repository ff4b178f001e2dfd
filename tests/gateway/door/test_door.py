"""What a connection may do: leave, say nothing, say half, say what is no HTTP. One plain line is logged, or none."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry

import gateway.door.server
from gateway.api.app import make_ops_app
from gateway.door.server import DoorRunner
from kernel.ids import base36
from ops.health import Health
from tests.conftest import TestServer as PostgresServer
from tests.documented import openapi
from tests.gateway.front import Front, a_front, an_order

pytestmark = pytest.mark.asyncio(loop_scope="session")
LONG = 25  # seconds after which a test gives up; nothing here takes so many


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def front(pg_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    await pg_server.admin.execute("CREATE DATABASE sluice_door OWNER sluice TEMPLATE sluice_template")
    async with a_front(pg_server.url("sluice_door"), tmp_path_factory.mktemp("home")) as opened:
        yield opened
    await pg_server.admin.execute("DROP DATABASE sluice_door WITH (FORCE)")


def counted(front: Front, route: str, status: int) -> float:
    return (
        front.hub.registry.get_sample_value("sluice_http_requests_total", {"route": route, "status": str(status)}) or 0
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not holds():  # noqa: ASYNC110 a counter has no event
            await asyncio.sleep(0.01)


def head(
    front: Front, length: int, path: str = "/v1/payments", kind: str = "application/json", more: str = ""
) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: hub\r\nIdempotency-Key: k-{path}\r\nContent-Type: {kind}\r\n{more}"
        f"Content-Length: {length}\r\nAuthorization: Bearer {front.shop.key}\r\n\r\n"
    ).encode()


# ---- who leaves ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "route"),
    [
        ("/v1/payments", "application/json", "create_payment"),
        ("/v1/payees", "application/json", "create_payee"),
        ("/notify/scripted/{book}/rail", "application/json", "notify"),
        ("/pay/{token}", "application/x-www-form-urlencoded", "cashier_choice"),
    ],
)
@pytest.mark.parametrize("abruptly", [False, True])
async def test_whoever_leaves_within_its_body_is_no_fault_of_ours(
    front: Front, path: str, kind: str, route: str, abruptly: bool, caplog: pytest.LogCaptureFixture
) -> None:
    page = await front.pay(f"page-{route}-{abruptly}", method={"type": "cashier"})
    token = page.body["next_action"]["url"].rpartition("/")[2]
    path = path.format(book=base36(front.book), token=token)
    before, left = await front.counts(), counted(front, route, 499)
    _, writer = await asyncio.open_connection(*front.address)
    writer.write(head(front, 100, path, kind) + b'{"a":')
    await writer.drain()
    await asyncio.sleep(0.05)
    if abruptly:
        writer.transport.abort()
    else:
        writer.close()
    await until(lambda: counted(front, route, 499) == left + 1)
    assert await front.counts() == before
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert counted(front, route, 503) == counted(front, route, 500) == 0


async def test_a_form_in_an_unknown_charset_is_read_or_refused(front: Front) -> None:
    page = await front.pay("charset", method={"type": "cashier"})
    path = "/pay/" + page.body["next_action"]["url"].rpartition("/")[2]
    kind = "application/x-www-form-urlencoded; charset=klingon"
    odd = await front.post(path, b"way=tea", Content_Type=kind)
    broken = await front.post(path, b"way=\xff", Content_Type=kind)
    long = await front.post(path, b"way=" + b"a" * 20_000, Content_Type=kind)
    assert (odd.status, broken.status, long.status) == (400, 400, 400)


async def test_who_asks_whether_to_go_on_is_told_to(front: Front) -> None:
    body = orjson.dumps(an_order("asks first"[:4]))
    reader, writer = await asyncio.open_connection(*front.address)
    writer.write(head(front, len(body), more="Expect: 100-Continue\r\n"))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONG) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await asyncio.wait_for(reader.readline(), LONG)).startswith(b"HTTP/1.1 201 ")
    writer.close()


# ---- what is no request ----------------------------------------------------------------------------------------------

KEY = b"sk_this_is_a_key_and_must_not_be_seen"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /v1/payments HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer " + KEY + b"\x01\r\n\r\n"],
        [b"GET /v1/payments HTTP/1.1\r\nHost: hub\r\nAuthorization Bearer " + KEY + b"\r\n\r\n"],
        [b"Authorization: Bearer " + KEY + b"\r\n\r\n"],
        [b"GET /v1/" + KEY + b"\xff HTTP/1.1\r\nHost: hub\r\n\r\n"],
        [b"GET http://[" + KEY + b"/ HTTP/1.1\r\nHost: hub\r\n\r\n"],
        [b"GET /v1/payments HTTP/1.1\r\nHost: hub\r\nAuthorization: " + KEY * 400 + b"\r\n\r\n"],
        [b"GET /v1/payments HTTP/1.1\r\nHost: hub\r\nExpect: " + KEY + b"\xc3\xa9\r\n\r\n"],
        [b"POST /v1/payments HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n", KEY + b"\r\n"],
        [b"\x16\x03\x01\x02" + KEY],
    ],
)  # fmt: skip
async def test_no_byte_of_what_is_no_request_is_logged_or_answered(
    front: Front, pieces: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection(*front.address)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), LONG)
    writer.close()
    assert answer.split(b" ", 2)[1][:1] == b"4", answer
    assert b"application/problem+json" in answer
    assert KEY not in answer
    kept = "\n".join(f"{record.getMessage()} {record.exc_info} {record.__dict__}" for record in caplog.records)
    assert KEY.decode() not in kept
    assert [record for record in caplog.records if record.exc_info] == []


# ---- who keeps us waiting --------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_port(*, until: asyncio.Event | None = None, **more: Any) -> AsyncIterator[tuple[str, int]]:
    """Open an operator's port: a door with nothing behind it. until: when READY is answered, else at once."""

    async def ready() -> Health:
        if until is not None:
            await until.wait()
        return Health()

    runner = DoorRunner(make_ops_app(ready, CollectorRegistry(), lambda: None), **more)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0]
    await runner.cleanup()


READY = b"GET /ready HTTP/1.1\r\nHost: hub\r\n\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: hub\r\n\r\n"


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(LIVE)
    return await asyncio.wait_for(reader.readuntil(b"}"), LONG)


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("dripping", [False, True])
async def test_half_a_head_is_not_waited_for(before: int, dripping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.door.server, "HEAD_WAIT_S", 0.3)
    async with a_port() as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(before):
            await asked(reader, writer)
        writer.write(LIVE[:-4])

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"\r\nX: y")

        dripper = asyncio.create_task(drip()) if dripping else None
        try:
            assert await asyncio.wait_for(reader.read(), LONG) == b""
        except ConnectionError:
            assert dripping  # what dripped on was answered with a reset
        finally:
            if dripper is not None:
                dripper.cancel()
            writer.close()


@pytest.mark.parametrize("before", [0, 1])
async def test_a_connection_on_which_nothing_comes_is_closed(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.door.server, "IDLE_S", 0.3)
    async with a_port() as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(before):
            await asked(reader, writer)
        assert await asyncio.wait_for(reader.read(), LONG) == b""
        writer.close()


async def test_a_head_that_comes_in_two_pieces_is_answered_and_its_timer_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway.door.server, "HEAD_WAIT_S", 0.2)
    async with a_port() as address:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(3):
            writer.write(LIVE[:9])
            await asyncio.sleep(0.02)
            writer.write(LIVE[9:])
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"}"), LONG)
        await asyncio.sleep(0.4)
        assert b"200 OK" in await asked(reader, writer)
        writer.close()


async def test_who_asks_nothing_gives_way_and_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent from the first, quiet between requests, or half-way through a head: the longest quiet goes first."""
    monkeypatch.setattr(gateway.door.server, "IDLE_S", 10 * LONG)
    monkeypatch.setattr(gateway.door.server, "HEAD_WAIT_S", 10 * LONG)
    async with a_port(most=3) as address:
        between, silent, half = [await asyncio.open_connection(*address) for _ in range(3)]
        assert b"200 OK" in await asked(*between)
        half[1].write(LIVE[:9])
        await asyncio.sleep(0.05)  # for the half head to be there
        newcomers = []
        for gone in (silent, between, half):
            newcomers.append(await asyncio.open_connection(*address))
            assert b"200 OK" in await asked(*newcomers[-1])
            with suppress(ConnectionError):
                assert await asyncio.wait_for(gone[0].read(), LONG) == b""
            gone[1].close()
        for reader, writer in newcomers:
            assert b"200 OK" in await asked(reader, writer)
            writer.close()


async def test_many_who_ask_nothing_keep_nobody_out() -> None:
    async with a_port(most=8) as address:
        crowd = [await asyncio.open_connection(*address) for _ in range(200)]
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(3):
            assert b"200 OK" in await asked(reader, writer)
        for _, one in [*crowd, (reader, writer)]:
            one.close()


async def test_a_connection_too_many_is_told_so_and_those_at_work_go_on() -> None:
    at_work = asyncio.Event()
    async with a_port(most=2, until=at_work) as address:
        kept = [await asyncio.open_connection(*address) for _ in range(2)]
        for _, writer in kept:
            writer.write(READY)
        await asyncio.sleep(0.05)  # for both to be at work
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*address)
            answer = await asyncio.wait_for(reader.read(), LONG)
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1\r\n" in answer
            assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "too_many_connections"
        at_work.set()
        for reader, writer in kept:
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"}}"), LONG)
            assert b"200 OK" in await asked(reader, writer)
        await wait_for_room(address)
        for _, writer in kept:
            writer.close()


async def wait_for_room(address: tuple[str, int]) -> None:
    """Fail unless a connection is taken again before long."""

    async def taken() -> bool:
        reader, writer = await asyncio.open_connection(*address)
        try:
            return b"200 OK" in await asked(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        finally:
            writer.close()

    async with asyncio.timeout(LONG):
        while not await taken():  # noqa: ASYNC110 asked anew each time
            await asyncio.sleep(0.05)


async def test_the_operators_port_answers_with_problems_too() -> None:
    async with a_port() as address:
        for said, status in (
            (b"GET /%0A HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n", b"404"),
            (b"x\r\n\r\n", b"400"),
        ):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(said)
            answer = await asyncio.wait_for(reader.read(), LONG)
            writer.close()
            assert answer.split(b" ")[1] == status
            assert b"application/problem+json" in answer


async def test_every_path_of_the_document_says_which_methods_it_has_and_no_others(front: Front) -> None:
    """/v1/things/dry_run is not left to /v1/things/{id}, which has other methods."""
    methods = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")
    wrong = []
    for path, item in openapi()["paths"].items():
        has = {method.upper() for method in item} & set(methods)
        for method in sorted(set(methods) - has):
            answer = await front.send(method, path.replace("{", "").replace("}", ""))
            allowed = {one.strip() for one in answer.headers.get("Allow", "").split(",")} - {"HEAD"}
            if (answer.status, answer.code, allowed) != (405, "method_not_allowed", has):
                wrong.append((method, path, answer.status, answer.code, allowed))
    assert wrong == []
