"""What a refusal costs the gateway, the system's calls left out. No test: it is run by name, with -s.

Eight merchants fill the room and go on asking, on 64 connections, ROUNDS (300) times. Printed: µs of CPU a request, the
lowest decile and the median of the rounds. The connections are real, what they are read from and written to is not.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.api.app import make_app
from gateway.door.admission import HUB
from gateway.door.responses import Prepared
from gateway.door.server import GATE, DoorRunner, Held, Refusal
from kernel.errors import Unavailable
from ops.serve import settle_memory
from tests.gateway.front import a_front

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONNECTIONS, MERCHANTS = 64, 8


class Wire(asyncio.Transport):
    """Counts the answers that are written to it."""

    answers = 0

    def write(self, data: Any) -> None:
        self.answers += bytes(data).count(b"HTTP/1.1 ")

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


def order(path: str, number: int) -> tuple[bytes, bytes]:
    """Return the head and the body of a request as `make overload` sends it."""
    body = (
        f'{{"merchant_order_id":"flood-{number}","amount":12900,"currency":"CNY","method":{{"type":"qr"}},'
        f'"description":"flood order","expires_in":1800}}'
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer key-{number % MERCHANTS}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: flood-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body.encode()


async def test_measure(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        app = make_app(front.hub.api())
        bare, gate = Refusal(Prepared(Unavailable("too_many_requests", "bare")), "bare"), app[GATE]

        async def handler(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(status=429, body=b'{"code":"too_many_requests"}', headers={"Retry-After": "1"})

        def refusing(method: str, path: str, headers: Mapping[str, str]) -> Refusal | Held | None:
            return bare if path == "/door" else gate(method, path, headers)

        app.router.add_post("/handler", handler)
        app[GATE] = refusing
        admission = front.hub.admission
        for number in range(MERCHANTS):
            admission.knows(f"Bearer key-{number}", number + 1)
            for _ in range(HUB.first // MERCHANTS + 1):
                admission.room.take(number + 1)
        runner = DoorRunner(app)
        await runner.setup()
        assert runner.server is not None
        wires = [(runner.server(), Wire()) for _ in range(CONNECTIONS)]
        for connection, wire in wires:
            connection.connection_made(wire)
        await asyncio.sleep(0.01)
        settle_memory()
        ways: dict[str, Callable[[int], list[bytes]]] = {
            "a handler that only answers 429": lambda number: [b"".join(order("/handler", number))],
            "the same answer, from the door": lambda number: [b"".join(order("/door", number))],
            "the hub's refusal": lambda number: [b"".join(order("/v1/payments", number))],
            "the hub's refusal, the body in a piece of its own": lambda number: list(order("/v1/payments", number)),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(int(os.environ.get("ROUNDS", "300"))):
            for name, pieces_of in ways.items():
                requests = [pieces_of(number) for number in range(CONNECTIONS)]
                before = [wire.answers for _, wire in wires]
                began = time.thread_time()
                for (connection, _), pieces in zip(wires, requests, strict=True):
                    for piece in pieces:
                        connection.data_received(piece)
                while any(wire.answers == had for (_, wire), had in zip(wires, before, strict=True)):  # noqa: ASYNC110
                    await asyncio.sleep(0)
                spent[name].append(1e6 * (time.thread_time() - began) / CONNECTIONS)
        for connection, _ in wires:
            connection.connection_lost(None)
        await runner.cleanup()
    for name, each in spent.items():
        print(f"\n{statistics.quantiles(each, n=10)[0]:6.1f} {statistics.median(each):6.1f} µs  {name}", end="")
