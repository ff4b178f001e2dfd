"""A closed-loop load generator that costs little: keep-alive connections, hand-written HTTP, one JSON line at the end.

It imports nothing of the hub's. Locust (loadtests/locustfile.py) plays scenarios; this finds ceilings.
    python -m loadtests.wire --port 8400 --connections 256 --seconds 5 --keys keys.json
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import cast

from loadtests.answers import first_of
from loadtests.prepare import is_loopback

try:
    from uvloop import run
except ImportError:
    from asyncio import run


class Connection(asyncio.Protocol):
    """One caller: sends a request, waits for its answer, sends the next."""

    def __init__(self, load: "Load", number: int) -> None:
        self._load = load
        self._number = number
        self._sent = 0
        self._started = 0.0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by conduct
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = first_of(self._buffer)
        if answer is None:
            return
        status, _, body = answer
        self._load.answered(status, time.perf_counter() - self._started, body)
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.ended()

    def _next(self) -> None:
        assert self._transport is not None
        if self._load.over:
            self._transport.close()
            return
        self._sent += 1
        self._started = time.perf_counter()
        self._transport.write(self._load.request(self._number, self._sent))


class Load:
    """What all connections share: what to send, until when, and what came back."""

    def __init__(self, run_id: str, keys: list[str], path: str) -> None:
        self._run_id = run_id
        self._keys = keys
        self._path = path
        self.over = False
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.first_problem = ""
        self._open = 0
        self.all_closed = asyncio.Event()

    def opened(self) -> None:
        self._open += 1

    def ended(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.all_closed.set()

    def answered(self, status: int, seconds: float, body: bytes) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(seconds)
        if status >= 400 and not self.first_problem:
            self.first_problem = body[:300].decode(errors="replace")

    def request(self, connection: int, count: int) -> bytes:
        """Return the bytes of one payment request; its numbers are never used twice."""
        number = f"{self._run_id}-{connection}-{count}"
        body = (
            f'{{"merchant_order_id":"{number}","amount":12900,"currency":"CNY","method":{{"type":"qr"}},'
            f'"description":"bench order","expires_in":1800,"metadata":{{"till":"7","clerk":"a17"}}}}'
        )
        key = self._keys[connection % len(self._keys)]
        return (
            f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nIdempotency-Key: {number}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


async def load(host: str, port: int, connections: int, seconds: float, keys: list[str], path: str) -> dict[str, object]:
    """Drive the server for `seconds` and return what happened."""
    loop = asyncio.get_running_loop()
    work = Load(f"{os.getpid():x}{time.time_ns():x}", keys, path)
    started = time.perf_counter()
    for number in range(connections):
        work.opened()
        await loop.create_connection(lambda n=number: Connection(work, n), host, port)  # type: ignore[misc]
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    done = len(work.latencies)
    work.over = True
    try:
        await asyncio.wait_for(work.all_closed.wait(), 30)
    except TimeoutError:
        print("some connections never got their last answer", file=sys.stderr)
    ordered = sorted(work.latencies)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "requests": len(ordered),
        "rps": round(done / took, 1),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 3) if ordered else None,
        "p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 3) if ordered else None,
        "statuses": work.statuses,
        "first_problem": work.first_problem,
        "client_cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
    }


def main() -> None:
    """Parse the arguments, run, print one JSON line."""
    parser = argparse.ArgumentParser(description="Drive POST requests at a server on this machine and print figures.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback only")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/payments")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections, at most 1024")
    parser.add_argument("--seconds", type=float, default=5, help="at most 120")
    parser.add_argument("--keys", help="JSON file with a list of API keys; connections take turns")
    given = parser.parse_args()
    if not is_loopback(f"http://{given.host}") or given.connections > 1024 or given.seconds > 120:
        parser.error("loopback only, at most 1024 connections and 120 seconds")
    keys = json.loads(Path(given.keys).read_text()) if given.keys else ["none"]
    print(json.dumps(run(load(given.host, given.port, given.connections, given.seconds, keys, given.path))))


if __name__ == "__main__":
    main()
