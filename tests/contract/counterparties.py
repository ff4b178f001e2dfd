"""The other side of each channel, running for real, and the few things the contract suite must be able to make it do.

A channel's counterparty here knows the sandbox's control interface and nothing of the adapter under test.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from kernel.env import Response


@dataclass(frozen=True)
class Charged:
    """What the other side itself says happened to one payment."""

    times: int
    minor: int
    fee_minor: int
    refunds: Mapping[str | None, int]  # our number, where it has one → minor units


class WeChatSandbox:
    """The simulated WeChat Pay and one merchant account on it."""

    # A fault of the channel-neutral suite → its name here.
    FAULTS: Mapping[str, str] = {
        "request lost": "request_lost",
        "answer lost": "answer_lost",
        "error before": "system_error",
        "error after": "system_error_after",
        "answer unsigned": "unsigned_answer",
        "answer forged": "bad_signature",
        "probe": "sigtest",
        "too many": "frequency_limited",
    }
    NOTHING_DONE = ("request lost", "error before", "too many")
    OPS: Mapping[str, str] = {"pay": "create", "charge": "codepay"}
    PAYS_AT_ONCE, ASKS_FIRST, HAS_NO_MONEY = "7", "8", "9"

    def __init__(self, base_url: str, http: aiohttp.ClientSession) -> None:
        self._base_url = base_url
        self._http = http
        self._codes = 0
        self.account: dict[str, Any] = {}

    async def open_account(self) -> None:
        self.account = await self.control("POST", "/control/wechat/merchants", {"name": "tea"})

    def settings(self) -> dict[str, Any]:
        return self.account

    def settings_with_certificates_only(self) -> dict[str, Any]:
        return self.account | {"public_key_id": None, "public_key_file": None}

    def auth_code(self, payer: str) -> str:
        self._codes += 1
        return f"13{int(self.account['mchid']) % 10**8:08}{self._codes:07}{payer}"

    async def pay(self, reference: str) -> None:
        await self.control("POST", "/control/wechat/pay", self._named(reference))

    async def decline(self, reference: str) -> None:
        await self.control("POST", "/control/wechat/decline", self._named(reference))

    async def close_day(self, day: date) -> None:
        await self.control("POST", "/control/wechat/close-day", {"mchid": self._mchid, "date": day.isoformat()})

    async def rotate_keys(self) -> str:
        made = await self.control("POST", "/control/wechat/platform-certificates", {})
        return str(made["serial_no"])

    async def fault(self, fault: str, op: str, reference: str, *, refund: bool = False) -> None:
        number = {"out_refund_no" if refund else "out_trade_no": reference}
        match = {"mchid": self._mchid, "op": self.OPS.get(op, op)} | number
        await self._set_fault(self.FAULTS[fault], match)

    async def notice_fault(self, fault: str, reference: str, **params: int) -> None:
        await self._set_fault(fault, {"mchid": self._mchid, "out_trade_no": reference}, params)

    async def bill_fault(self, fault: str, day: date) -> None:
        await self._set_fault(fault, {"mchid": self._mchid, "date": day.isoformat()})

    async def charged(self, reference: str) -> Charged:
        trades = (await self.control("GET", f"/control/wechat/trades?mchid={self._mchid}"))["trades"]
        for trade in trades:
            if trade["out_trade_no"] == reference:
                refunds = {refund["out_refund_no"]: refund["refund"] for refund in trade["refunds"]}
                return Charged(trade["charged_count"], trade["total"], trade["fee"], refunds)
        return Charged(0, 0, 0, {})

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        async with self._http.request(method, self._base_url + path, json=body) as answer:
            said = await answer.json()
            assert answer.status < 300, f"{method} {path}: {answer.status} {said}"
            return dict(said)

    async def _set_fault(self, name: str, match: Mapping[str, str], params: Mapping[str, int] | None = None) -> None:
        body = {"fault": name, "rail": "wechat", "match": match, "times": 1, "params": params or {}}
        await self.control("POST", "/control/faults", body)

    def _named(self, reference: str) -> dict[str, str]:
        return {"mchid": self._mchid, "out_trade_no": reference}

    @property
    def _mchid(self) -> str:
        return str(self.account["mchid"])


COUNTERPARTIES: Mapping[str, type[WeChatSandbox]] = {"wechat": WeChatSandbox}


@asynccontextmanager
async def sandbox(home: Path) -> AsyncIterator[str]:
    """Run the sandbox as a process of its own; yields its base URL."""
    command = [sys.executable, "-m", "channels.sandbox", "--home", str(home), "--port", "0", "--time-scale", "0.01"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("sandbox ready http://"), line
        yield line.split()[2]
    finally:
        process.terminate()
        await process.wait()


@dataclass
class Inbox:
    """A small HTTP server that receives notices, keeps them, and answers what the channel says to answer."""

    accept: Response
    refuse: Response
    url: str = ""
    refuse_first: int = 0
    received: "asyncio.Queue[Response]" = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.put_nowait(Response(200, headers, await request.read()))
        answer = self.accept
        if self.refuse_first:
            self.refuse_first -= 1
            answer = self.refuse
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)

    async def next(self) -> Response:
        return await asyncio.wait_for(self.received.get(), 20)


@asynccontextmanager
async def inbox(accept: Response, refuse: Response) -> AsyncIterator[Inbox]:
    box = Inbox(accept, refuse)
    app = web.Application()
    app.router.add_post("/notices", box.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notices"
    try:
        yield box
    finally:
        await runner.cleanup()
