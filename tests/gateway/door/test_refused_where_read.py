"""What the gate refuses is answered from where it was read: told as any refusal is, and nothing else is changed by it.

The answers are read from the wire, byte by byte, since that is how they are written.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

import gateway.door.server
from gateway.door.admission import Habits, Room
from gateway.door.responses import Prepared, problem
from gateway.door.server import GATE, OTHERWISE, UNREADABLE, DoorRunner, Held, Refusal
from kernel.errors import Unavailable
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import Front, a_front, an_order

pytestmark = pytest.mark.asyncio(loop_scope="session")
LONG = 25  # seconds after which a test gives up; nothing here takes so many
FULL = Unavailable("busy", "the port is full", retry_after_s=3)


class Told(NamedTuple):
    """One answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def until(holds: Callable[[], bool], seconds: float = LONG) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 nothing tells of it
            await asyncio.sleep(0.001)


async def told(reader: asyncio.StreamReader) -> Told:
    """Read exactly one answer."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONG)).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
    body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), LONG)
    return Told(int(head[0].split(" ")[1]), headers, body)


def request(path: str, body: bytes = b"", *, more: str = "", version: str = "1.1") -> bytes:
    head = f"POST {path} HTTP/{version}\r\nHost: hub\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


# ---- a port with a gate, and nothing behind it -----------------------------------------------------------------------


class Port:
    """Refuses /no, lets in /yes with a place held, has no say in the rest; every handler says what body it read."""

    def __init__(self, error: Unavailable) -> None:
        self.address = ("", 0)
        self.asked: list[str] = []
        self.held = 0
        self.by_aiohttp = 0  # refusals that went the long way
        port = self

        class Counted(Prepared):
            def response(self, request_id: str) -> web.Response:
                port.by_aiohttp += 1
                return super().response(request_id)

        self._refusal = Counted(error)
        self.server: Any = None

    def has_been_asked(self, times: int) -> bool:
        return len(self.asked) >= times

    def give_back(self) -> None:
        self.held -= 1

    def gate(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | Held | None:
        self.asked.append(path)
        if path == "/no":
            return Refusal(self._refusal, headers.get("X-Request-Id", "made-here"))
        if path == "/yes":
            self.held += 1
            return self
        return None

    async def handle(self, request: web.Request) -> web.Response:
        assert self.held == 0, "what was held is given back before the handler begins"
        return web.Response(body=await request.read())


@asynccontextmanager
async def a_port(error: Unavailable = FULL) -> AsyncIterator[Port]:
    port, app = Port(error), web.Application()

    async def otherwise(_: web.Request) -> web.StreamResponse:
        return problem(FULL, "otherwise")

    def unreadable(_: web.BaseRequest, error: BaseException | None, status: int) -> web.Response:
        return problem(FULL, "unreadable")

    app.router.add_post("/{anything}", port.handle)
    app[GATE], app[OTHERWISE], app[UNREADABLE] = port.gate, otherwise, unreadable
    runner = DoorRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port.address, port.server = runner.addresses[0], runner.server
    try:
        yield port
    finally:
        await runner.cleanup()
    assert port.held == 0


def assert_refused(answer: Told, request_id: str = "made-here") -> None:
    expected = problem(FULL, request_id)
    assert (answer.status, answer.body) == (expected.status, expected.body)
    wanted = {**expected.headers, "X-Request-Id": request_id, "Content-Length": str(len(answer.body))}
    seen = {name: value for name, value in answer.headers.items() if name not in ("date", "server", "connection")}
    assert seen == {name.lower(): value for name, value in wanted.items()}
    assert answer.headers["date"].endswith(" GMT")


async def test_one_connection_is_refused_and_served_in_turn() -> None:
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for number in range(4):
            for body in (b"", b"GET /yes HTTP/1.1\r\nHost: hub\r\n\r\n", b"a" * 200_000):
                writer.write(request("/no", body, more=f"X-Request-Id: request-{number}\r\n"))
                assert_refused(await told(reader), f"request-{number}")
                writer.write(request("/yes", b"tea"))
                assert (await told(reader)).body == b"tea"
        writer.close()
        assert port.asked == ["/no", "/yes"] * 12, "the gate is asked once of each, and of nothing in a body"


async def test_what_is_whole_is_refused_without_a_task_of_its_own_from_the_first() -> None:
    async with a_port() as port:
        for number in range(3):
            reader, writer = await asyncio.open_connection(*port.address)
            for _ in range(40):
                writer.write(request("/no", b"tea"))
                assert_refused(await told(reader))
            assert port.by_aiohttp == 3 * number
            writer.write(3 * request("/no", b"tea"))  # what was refused before is not among those that wait
            for _ in range(3):
                assert_refused(await told(reader))
            writer.close()


@pytest.mark.parametrize("cut", [1, 20, 60, 75, 100])
async def test_a_request_in_pieces_is_refused_once_and_its_body_is_taken_for_nothing(cut: int) -> None:
    smuggled = request("/yes", b"smuggled")
    whole = request("/no", smuggled)
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for _ in range(3):
            writer.write(whole[:cut])
            await asyncio.sleep(0.02)
            writer.write(whole[cut:])
            assert_refused(await told(reader))
            writer.write(request("/yes", b"next"))
            assert (await told(reader)).body == b"next"
        writer.close()
        assert port.asked == ["/no", "/yes"] * 3


async def test_a_body_too_long_for_one_piece_is_read_to_its_end() -> None:
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for _ in range(2):
            writer.write(request("/no", b"a" * 1_000_000))
            assert_refused(await told(reader))
            writer.write(request("/yes", b"next"))
            assert (await told(reader)).body == b"next"
        writer.close()


async def test_a_body_in_chunks_is_refused_and_taken_for_nothing() -> None:
    chunked = b"POST /no HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"
    smuggled = b"POST /yes HTTP/1.1\r\nHost: hub\r\n\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(smuggled), smuggled), b"0\r\n\r\n"]
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for pieces in ([chunked, *chunks], [chunked + chunks[0], chunks[1]], [chunked + b"".join(chunks)]):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)
            assert_refused(await told(reader))
        writer.write(request("/yes", b"next"))
        assert (await told(reader)).body == b"next"
        writer.close()
        assert Counter(port.asked) == {"/no": 3, "/yes": 1}


@pytest.mark.parametrize("first", [False, True])
async def test_what_comes_together_is_answered_in_order(first: bool) -> None:
    paths = ["/no", "/yes", "/no", "/no", "/yes", "/other", "/no"]
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        if not first:
            writer.write(request("/yes"))
            await told(reader)
        writer.write(
            b"".join(
                request(path, str(number).encode(), more=f"X-Request-Id: request-{number}\r\n")
                for number, path in enumerate(paths)
            )
        )
        for number, path in enumerate(paths):
            answer = await told(reader)
            if path == "/no":
                assert_refused(answer, f"request-{number}")
            else:
                assert answer.body == str(number).encode()
        writer.close()


async def test_what_comes_while_another_is_being_answered_waits_for_its_turn() -> None:
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        slow = request("/other", b"slow")
        writer.write(slow[:-1])
        await asyncio.sleep(0.02)
        writer.write(slow[-1:] + request("/no"))
        assert (await told(reader)).body == b"slow"
        assert_refused(await told(reader))
        writer.close()


@pytest.mark.parametrize(("more", "version"), [("Connection: close\r\n", "1.1"), ("", "1.0")])
@pytest.mark.parametrize("before", [0, 1])
async def test_who_wants_no_further_answer_is_refused_and_let_go(more: str, version: str, before: int) -> None:
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for _ in range(before):
            writer.write(request("/no"))
            assert_refused(await told(reader))
        writer.write(request("/no", more=more, version=version))
        assert_refused(await told(reader))
        assert await asyncio.wait_for(reader.read(), LONG) == b""
        writer.close()


async def test_one_of_an_older_version_is_told_that_the_connection_stays_open() -> None:
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for _ in range(3):
            writer.write(request("/no", more="Connection: keep-alive\r\n", version="1.0"))
            answer = await told(reader)
            assert_refused(answer)
            assert answer.headers["connection"] == "keep-alive"
        writer.close()


async def test_who_asks_whether_to_go_on_is_told_no() -> None:
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        writer.write(request("/no", b"body", more="Expect: 100-continue\r\n")[:-4])
        assert_refused(await told(reader))
        writer.write(b"body" + request("/yes", b"next"))
        assert (await told(reader)).body == b"next"
        writer.close()


async def test_a_connection_in_use_is_not_closed_as_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.door.server, "IDLE_S", 0.5)
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for _ in range(12):
            writer.write(request("/no"))
            assert_refused(await told(reader))
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(reader.read(), LONG) == b""
        writer.close()
        assert port.by_aiohttp == 0


async def test_half_a_head_after_a_refusal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.door.server, "HEAD_WAIT_S", 0.3)
    async with a_port() as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for waits in (0.4, 0.0):  # until the first one's timer is over, and not so long
            writer.write(request("/no")[:9])
            await asyncio.sleep(0.02)
            writer.write(request("/no")[9:])
            assert_refused(await told(reader))
            await asyncio.sleep(waits)
        writer.write(request("/no")[:9])
        assert await asyncio.wait_for(reader.read(), LONG) == b""
        writer.close()


async def test_who_reads_no_answer_fills_no_memory() -> None:
    long = Unavailable("busy", "full " * 4_000)
    size = len(Prepared(long).written("made-here"))
    async with a_port(long) as port:
        asking = socket.socket()
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        asking.setblocking(False)
        await asyncio.get_running_loop().sock_connect(asking, port.address)
        await until(lambda: bool(port.server.connections))
        (connection,) = port.server.connections
        transport = connection.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        _, high = transport.get_write_buffer_limits()
        for number in range(20):
            asking.send(request("/no"))
            with suppress(TimeoutError):
                await until(partial(port.has_been_asked, number + 1), 0.05)
        assert high < transport.get_write_buffer_size() <= high + 2 * size, "it was held up, and at once"
        asking.close()


@pytest.mark.parametrize("cut", [False, True])
async def test_nothing_is_held_for_who_has_left(cut: bool) -> None:
    async with a_port() as port:
        for _ in range(20):
            _, writer = await asyncio.open_connection(*port.address)
            whole = request("/yes", b"tea")
            writer.write(whole[:-1] if cut else whole)
            await asyncio.sleep(0)
            writer.transport.abort()
        await asyncio.sleep(0.1)
        assert port.held == 0


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None: ...
    def close(self) -> None: ...


async def test_a_request_that_is_there_before_anybody_waits_for_one_is_refused_at_once() -> None:
    async with a_port() as port:
        connection, wire = port.server(), Wire()
        connection.connection_made(wire)
        connection.data_received(request("/no", b"tea"))
        assert wire.written.startswith(b"HTTP/1.1 503 ")
        connection.data_received(request("/other", b"tea"))
        await until(lambda: wire.written.endswith(b"\r\n\r\ntea"))
        connection.connection_lost(None)
        assert port.by_aiohttp == 0


async def test_nothing_is_held_for_a_request_that_no_handler_comes_to() -> None:
    async with a_port() as port:
        connection = port.server()
        connection.connection_made(Wire())
        await asyncio.sleep(0.01)
        connection.data_received(request("/yes", b"tea"))
        assert port.held == 1
        connection._task_handler.cancel()  # as when the port is closed
        await asyncio.sleep(0.01)
        connection.connection_lost(None)
        assert port.held == 0


async def test_both_ways_to_give_a_prepared_answer_say_the_same() -> None:
    prepared, expected = Prepared(FULL), problem(FULL, "req_1")
    made = prepared.response("req_1")
    assert (made.status, made.body) == (expected.status, expected.body)
    assert dict(made.headers) == {**expected.headers, "X-Request-Id": "req_1"}
    await made.prepare(make_mocked_request("POST", "/"))
    reader = asyncio.StreamReader()
    reader.feed_data(prepared.written("req_1"))
    answer = await told(reader)
    assert answer.body == made.body
    assert answer.headers == {name.lower(): value for name, value in made.headers.items() if name != "Server"}


# ---- the hub's -------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def front(pg_server: PostgresServer, database_url: str, tmp_path: object) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path) as opened:  # type: ignore[arg-type]
        yield opened


def narrow(front: Front, limit: int) -> Room:
    front.hub.admission.room = Room(front.hub.env, Habits(limit, limit, limit, 1.0, 1.0, 1.0))
    return front.hub.admission.room


def order(front: Front, number: int, more: str = "") -> bytes:
    body = orjson.dumps(an_order(f"order-{number}"))
    more += (
        f"Authorization: Bearer {front.shop.key}\r\nContent-Type: application/json\r\nIdempotency-Key: k{number}\r\n"
    )
    return request("/v1/payments", body, more=more)


def figure(front: Front, name: str, **labels: str) -> float:
    return front.hub.registry.get_sample_value(name, labels) or 0


async def test_a_refusal_has_an_id_to_quote_and_is_counted_but_not_timed(front: Front) -> None:
    narrow(front, 1).take(front.book)
    await front.get("/v1/payments")
    reader, writer = await asyncio.open_connection(*front.address)
    ids = set()
    for number, given in enumerate([None, "mine-and-to-quote", "<short", "sk_live_0123456789abcdef0123"]):
        writer.write(order(front, number, f"X-Request-Id: {given}\r\n" if given else ""))
        answer = await told(reader)
        document = orjson.loads(answer.body)
        assert (answer.status, document["code"], document["status"]) == (503, "busy", 503)
        assert answer.headers["x-request-id"] == document["request_id"]
        assert (document["request_id"] == given) is (number == 1)
        assert answer.headers["retry-after"] in ("1", "2", "3")
        ids.add(document["request_id"])
    writer.close()
    assert len(ids) == 4
    assert figure(front, "sluice_http_requests_total", route="create_payment", status="503") == 4
    assert figure(front, "sluice_http_request_seconds_count", route="create_payment") == 0


async def test_those_behind_one_who_is_let_in_are_refused_where_they_are_read(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read before its handler has begun: were its place not held, all would come as far as a handler."""
    await front.get("/v1/payments")
    room = narrow(front, 2)
    entered = 0
    enter = front.hub.admission.enter

    def counted(*given: object) -> object:
        nonlocal entered
        entered += 1
        return enter(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(front.hub.admission, "enter", counted)
    callers = [await asyncio.open_connection(*front.address) for _ in range(40)]
    for reader, writer in callers:  # so that each has been used, and waits
        writer.write(b"GET /v1/payments HTTP/1.1\r\nHost: hub\r\n\r\n")
        await told(reader)
    entered = 0
    for number, (_, writer) in enumerate(callers):
        writer.write(order(front, number))
    statuses = Counter([(await told(reader)).status for reader, _ in callers])
    assert statuses[201] >= 2
    assert set(statuses) <= {201, 503, 429}
    assert entered == statuses[201], statuses
    assert room.under_way == 0
    for _, writer in callers:
        writer.close()
