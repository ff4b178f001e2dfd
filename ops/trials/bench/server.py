"""The processes of a bench: a bare handler, the hub's whole path, that on real rails; and the worker beside them.

python -m ops.trials.bench.server hello --port 0
python -m ops.trials.bench.server hub --port 0 --setup FILE [--max-batch 1 --writers 16]
python -m ops.trials.bench.server rails --port 0 --setup FILE
python -m ops.trials.bench.server worker --setup FILE
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

from channels import CHANNELS as RAILS
from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    Channel,
    Confirmed,
    Method,
    Notice,
    Order,
    Outcome,
    RefundOrder,
    Request,
    Response,
    Unknown,
)
from gateway.api.app import make_app
from gateway.door.admission import HUB, RAIL, Habits
from gateway.door.server import DoorRunner
from kernel.addresses import LOOPBACK, PUBLIC
from kernel.env import Env, SystemClock, system_env
from ops.logs import AccessLog
from ops.serve import settle_memory
from ops.wiring import LaneShape, hub, worker

_REQUEST = Request("POST", "instant:")
_ANSWER = Response(200, {}, b"")
_CLOCK = SystemClock()


class InstantRail:
    """A channel in this process that confirms every order at once; what is measured is the hub, not a rail."""

    name = "instant"
    capabilities = Capabilities(methods=frozenset({Method.QR}), currencies=frozenset({"CNY"}))

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        return request

    def pay_request(self, order: Order) -> Request:
        return _REQUEST

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return Confirmed(order.reference, order.amount, now)

    query_request = close_request = pay_request
    query_outcome = pay_outcome

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return Unknown("this rail closes nothing")

    def refund_request(self, refund: RefundOrder) -> Request:
        return _REQUEST

    refund_query_request = refund_request

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        return Confirmed(refund.reference, refund.amount, now)

    refund_query_outcome = refund_outcome

    def notice(self, message: Response, *, now: datetime) -> Notice:
        raise BadNotice("unknown", "this rail sends no notices")

    def notice_accepted(self) -> Response:
        return _ANSWER

    def notice_refused(self, why: str, *, again: bool = False) -> Response:
        return _ANSWER

    def verified_by(self, answer: Response, *, now: datetime) -> str:
        return "instant"

    def bill_request(self, day: date) -> Request:
        return _REQUEST

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        return BillFile(ready=False, nothing=True)

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        raise BadBill("nothing", "this rail has no bills")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        return ()


CHANNELS: Mapping[str, Callable[[Mapping[str, Any]], Channel]] = {"instant": lambda settings: InstantRail()}


class NowhereTransport:
    """The instant rail has no network."""

    addresses = PUBLIC

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        return _ANSWER


async def hello(port: int) -> None:
    """Serve a handler that only reads the body and answers JSON: the floor of this HTTP stack."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(
            body=orjson.dumps({"object": "payment", "received": len(body)}), content_type="application/json"
        )

    app = web.Application()
    app.add_routes([web.post("/v1/payments", handle)])
    await _serve(web.AppRunner(app, access_log=None, auto_decompress=False), port)


def _nowhere() -> Env:
    """Return an Env for the instant rail."""
    env = system_env(NowhereTransport())
    env.executor = None
    return env


# What the closed loop keeps under way is let in, however long it takes: a payment is to be measured, not a refusal. The
# limit would stay below the loop's connections, since they are more than a rail's room ever holds.
_ALL_LET_IN = Habits(least=1024, first=1024, most=1024, usual_s=15.0, most_usual_s=15.0, slack_s=15.0)


async def the_hub(port: int, setup: Mapping[str, Any], lane: LaneShape, *, instant: bool) -> None:
    """Serve the hub's merchant API as `sluice gateway` does. instant: on the instant rail; else on all there are.

    Beside it stand the lane's figures, and a handler that only refuses: what a refusal costs at the least.
    """
    async with hub(
        database_url=setup["database_url"],
        redis_url=setup["redis_url"],
        home=Path(setup["home"]),
        public_url=setup.get("public_url", "http://127.0.0.1:1"),
        env=_nowhere() if instant else None,
        channels=CHANNELS if instant else RAILS,
        addresses=LOOPBACK,  # where the bench's sandbox is
        lane=lane,
        name="bench",
        habits=(_ALL_LET_IN, _ALL_LET_IN) if instant else (HUB, RAIL),
    ) as objects:
        with AccessLog(
            objects.env, os.open(setup["access_log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        ) as access:
            app = make_app(objects.api(access.write))

            async def figures(_: web.Request) -> web.Response:
                found = objects.lanes.all[0].figures
                return web.json_response({"batches": found.batches, "commands": found.commands, "sizes": found.sizes})

            async def refused(request: web.Request) -> web.Response:
                await request.read()
                return web.Response(
                    status=429,
                    body=b'{"code":"too_many_requests"}',
                    headers={"Retry-After": "1"},
                    content_type="application/problem+json",
                )

            app.router.add_post("/bench/refused", refused)
            app.router._resources.insert(0, app.router.add_get("/bench/figures", figures).resource)  # type: ignore[arg-type]
            settle_memory()
            await _serve(DoorRunner(app), port)


async def _serve(runner: web.AppRunner, port: int) -> None:
    await runner.setup()
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        await web.SockSite(runner, listening, backlog=1024).start()  # as the gateway's own
        await _until_told(port=listening.getsockname()[1])
    await runner.cleanup()


async def the_worker(setup: Mapping[str, Any]) -> None:
    """Do the background work as `sluice worker` does, on the instant rail."""
    async with (
        hub(
            database_url=setup["database_url"],
            redis_url=setup["redis_url"],
            home=Path(setup["home"]),
            public_url="http://127.0.0.1:1",
            env=_nowhere(),
            channels=CHANNELS,
            name="bench worker",
        ) as objects,
        worker(objects, setup["redis_url"]),
    ):
        settle_memory()
        await _until_told()


async def _until_told(**facts: int) -> None:
    """Say that we are ready, and with what, and return when whoever started us closes our input, or dies."""
    print(json.dumps({**facts, "pid": os.getpid()}), flush=True)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["hello", "hub", "rails", "worker"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--setup")
    parser.add_argument("--max-batch", type=int, default=512)
    parser.add_argument("--writers", type=int, default=1)
    given = parser.parse_args()
    if given.which == "hello":
        uvloop.run(hello(given.port))
    else:
        setup = json.loads(Path(given.setup).read_text())
        if given.which == "worker":
            uvloop.run(the_worker(setup))
            return
        shape = LaneShape(max_batch=given.max_batch, writers=given.writers)
        uvloop.run(the_hub(given.port, setup, shape, instant=given.which == "hub"))


if __name__ == "__main__":
    main()
