"""An open-loop load generator: requests leave when they are due, whatever became of those before; callers give up.

It imports nothing of the hub's. Reads a plan from standard input and writes one JSON line a stretch to standard output,
the moment the stretch ends; the connections stay open from one stretch to the next, as merchants' do. See Plan.
    python -m loadtests.flood < plan.json
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from loadtests.answers import first_of

try:
    from uvloop import run
except ImportError:
    from asyncio import run

TICK_S = 0.005
MOST_CONNECTIONS = 3000
MOST_RATE = 5000


@dataclass
class Plan:
    """What to send, and to whom.

    port: of the hub, on this machine. keys: API keys, which take turns. patience_s: after which a caller gives up and
    closes its connection. accepted: a file for the order numbers of the payments that were made. notices: whole
    requests of rails, as text; each is sent once. reads: ids of payments. stretches: name, seconds and, a second:
    payments, refused (to a handler that only refuses), notices, reads.
    """

    port: int
    keys: list[str]
    accepted: str
    stretches: list[dict[str, Any]]
    notices: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    patience_s: float = 2.0


@dataclass
class Kind:
    """One kind of request within one stretch."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those that were done, from when they were due
    done_in: Counter[int] = field(
        default_factory=Counter
    )  # second of the stretch → how many that began in it were done
    sent: int = 0
    unclean: int = 0  # refusals that are no problem document, or do not say when to come again
    first_unclean: str = ""

    def told(self) -> dict[str, Any]:
        ordered = sorted(self.seconds)

        def percentile(share: float) -> float | None:
            return round(1000 * ordered[int(share * (len(ordered) - 1))], 1) if ordered else None

        return {
            "sent": self.sent,
            "statuses": dict(self.statuses),
            "done": len(ordered),
            "done_in": [self.done_in[second] for second in range(max(self.done_in, default=-1) + 1)],
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
            "unclean": self.unclean,
            "first_unclean": self.first_unclean,
        }


class Caller(asyncio.Protocol):
    """One connection. Its answer is heard by whoever sent last, unless they have given up."""

    def __init__(self, idle: list["Caller"], lost: Callable[[], None]) -> None:
        self._idle, self._lost = idle, lost
        self._buffer = b""
        self._hears: Callable[[int, bytes, bytes], None] | None = None
        self.turn = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by conduct

    def send(self, request: bytes, hears: Callable[[int, bytes, bytes], None]) -> int:
        """Send; return the turn, by which to give up."""
        assert self.transport is not None
        self._hears = hears
        self.turn += 1
        self.transport.write(request)
        return self.turn

    def give_up(self, turn: int) -> bool:
        """Leave, if the answer to this turn has not come. Return whether we left."""
        if turn != self.turn or self._hears is None:
            return False
        self._hears = None
        assert self.transport is not None
        self.transport.abort()
        return True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = first_of(self._buffer)
        if answer is None or self._hears is None:
            return
        self._buffer = b""
        hears, self._hears = self._hears, None
        if b"connection: close" not in answer[1]:
            self._idle.append(self)
        hears(*answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        if self in self._idle:
            self._idle.remove(self)
        if self._hears is not None:
            hears, self._hears = self._hears, None
            hears(0, b"", b"")


class Flood:
    """Sends what is due, tick by tick."""

    def __init__(self, plan: Plan, accepted: Any) -> None:
        self._plan = plan
        self._accepted = accepted
        self._run = f"{os.getpid():x}{time.time_ns():x}"
        self._idle: list[Caller] = []
        self._waiting: deque[tuple[float, Caller, int, Kind]] = deque()
        self._opened = 0
        self._number = 0
        self._notices = deque(notice.encode("latin-1") for notice in plan.notices)

    def _request(self, kind: str) -> tuple[bytes, str]:
        """Return the next request of a kind, with its order number where it has one."""
        self._number += 1
        if kind == "notices":
            return (self._notices.popleft(), "") if self._notices else (b"", "")
        key = self._plan.keys[self._number % len(self._plan.keys)]
        if kind == "reads":
            payment = self._plan.reads[self._number % len(self._plan.reads)]
            head = f"GET /v1/payments/{payment} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {self._plan.keys[0]}"
            return f"{head}\r\n\r\n".encode(), ""
        order = f"{self._run}-{self._number}"
        path = "/v1/payments" if kind == "payments" else "/bench/refused"
        body = (
            f'{{"merchant_order_id":"{order}","amount":12900,"currency":"CNY","method":{{"type":"qr"}},'
            f'"description":"flood order","expires_in":1800}}'
        )
        return (
            f"POST {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {order}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode(), order

    async def stretch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Play one stretch; return what happened to what began in it."""
        names = ("payments", "refused", "notices", "reads")
        rates = {name: float(wanted.get(name, 0)) for name in names}
        assert sum(rates.values()) <= MOST_RATE
        kinds = {name: Kind() for name in names}
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        cpu = time.process_time()
        connecting: set[asyncio.Task[None]] = set()
        latest = 0.0
        while (now := time.perf_counter()) < started + wanted["seconds"]:
            for name, rate in rates.items():
                kind = kinds[name]
                while kind.sent < (now - started) * rate:
                    due = started + kind.sent / rate
                    kind.sent += 1
                    latest = max(latest, now - due)
                    request, order = self._request(name)
                    if not request:
                        continue
                    if self._idle:
                        self._send(self._idle.pop(), request, order, kind, due, started)
                    elif self._opened < MOST_CONNECTIONS:
                        work = self._open(request, order, kind, due, started)
                        task = loop.create_task(work)
                        connecting.add(task)
                        task.add_done_callback(connecting.discard)
                    else:
                        kind.statuses["no connection left"] += 1
            self._give_up(now)
            await asyncio.sleep(TICK_S)
        spent = time.process_time() - cpu
        ended = time.perf_counter()
        told = {"name": wanted["name"], "seconds": ended - started, "cpu_s": spent, "behind_ms": round(1000 * latest)}
        return {**told, "kinds": kinds, "connections": self._opened}

    async def settle(self) -> None:
        """Wait until every caller has an answer or has given up."""
        while self._waiting:
            self._give_up(time.perf_counter())
            await asyncio.sleep(TICK_S)

    async def _open(self, request: bytes, order: str, kind: Kind, due: float, started: float) -> None:
        self._opened += 1
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._plan.patience_s):
                _, caller = await loop.create_connection(
                    lambda: Caller(self._idle, self._lost), "127.0.0.1", self._plan.port
                )
        except (OSError, TimeoutError):
            self._opened -= 1
            kind.statuses["no connection"] += 1
            return
        self._send(caller, request, order, kind, due, started)

    def _send(self, caller: Caller, request: bytes, order: str, kind: Kind, due: float, started: float) -> None:
        def hears(status: int, head: bytes, body: bytes) -> None:
            took = time.perf_counter() - due
            kind.statuses[str(status) if status else "cut off"] += 1
            if 200 <= status < 300:
                if order:
                    self._accepted.write(f"{order}\n")
                if took <= self._plan.patience_s:
                    kind.seconds.append(took)
                    kind.done_in[int(due - started)] += 1
            elif status and (b"\r\nretry-after: " not in head or b"application/problem+json" not in head):
                kind.unclean += 1
                kind.first_unclean = kind.first_unclean or (head + b"\n" + body)[:500].decode("latin-1")

        turn = caller.send(request, hears)
        self._waiting.append((due + self._plan.patience_s, caller, turn, kind))

    def _lost(self) -> None:
        self._opened -= 1

    def _give_up(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, caller, turn, kind = self._waiting.popleft()
            if caller.give_up(turn):
                kind.statuses["gave up"] += 1


async def flood(plan: Plan) -> None:
    """Play the plan; a line when a stretch ends, another for all when everybody has been answered."""
    results = []
    with open(plan.accepted, "a") as accepted:  # noqa: ASYNC230 a line is written when its buffer is full
        work = Flood(plan, accepted)
        print(json.dumps({"started": True}), flush=True)
        for wanted in plan.stretches:
            results.append(await work.stretch(wanted))
            print(json.dumps({"ended": wanted["name"]}), flush=True)
        await work.settle()
    for result in results:
        result["kinds"] = {name: kind.told() for name, kind in result["kinds"].items() if kind.sent}
    print(json.dumps({"stretches": results}), flush=True)


def main() -> None:
    """Read the plan and play it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MOST_CONNECTIONS + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MOST_CONNECTIONS + 100), hard))
    run(flood(Plan(**json.load(sys.stdin))))


if __name__ == "__main__":
    main()
