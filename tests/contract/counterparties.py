"""The other side of each channel, running for real, and the few things the contract suite must be able to make it do.

A counterparty here knows the sandbox's control interface and nothing of the adapter under test. A rail adds a class of
its own that says where it differs, in a file counterparty_<rail>.py beside this one; it is found by that name.
"""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from channels import Method, Order, Pending
from kernel.env import Response

HERE = Path(__file__).parent
Control = Callable[..., Awaitable[dict[str, Any]]]  # (path, **body) → what the sandbox's control interface answered


class Payer(StrEnum):
    """How a payer whose code or card is charged takes it."""

    PAYS = "pays"
    ASKS = "asks"  # wants to confirm first
    BROKE = "broke"  # has no money


@dataclass(frozen=True)
class Charged:
    """What the other side itself says happened to one payment."""

    times: int
    minor: int
    fee_minor: int
    refunds: Mapping[str | None, int]  # our number, where it has one → minor units


SHOWN = frozenset({Method.QR, Method.JSAPI, Method.H5, Method.APP, Method.PAGE, Method.TRANSFER})


class RefusedByControl(AssertionError):
    """The sandbox would not do what it was told; mostly a mistake of the test's."""


class Counterparty:
    """One rail's sandbox and one merchant's account on it, by the control API that all rails have alike.

    The attributes say what Capabilities do not: what the rail's protocol has and has not. Nothing of them is a wish to
    leave something out; test_contract_is_played.py holds them against the adapter where that can be done.
    """

    RAIL: str
    PROBES: bool = False  # 探测流量: sends wrong signatures on purpose, to see whether we look
    OPS: Mapping[str, str] = {}  # our name of a call (create charge proceed …) → the sandbox's, where they differ
    BILL_FAULTS: tuple[str, ...] = ("bill_truncated", "bill_wrong_day")
    BILL_WAITS: bool = True  # there is no bill before the day is over
    FUND_BILL: bool = False
    PAID_BY: Mapping[str, str] = {}  # who else pays for a coupon where a rail has none of a kind
    WINDOW: timedelta | None = None  # a notice signed longer ago is refused
    REQUEST_WINDOW: timedelta | None = None  # the rail refuses a request signed longer ago
    LEARNS_KEYS: bool = False  # new keys of the rail are found under way; else they come with new settings
    CLOSES: frozenset[Method] = SHOWN  # beside Capabilities.closes: whose unpaid orders can be closed
    DECLINED_IS_FINAL: frozenset[Method] = frozenset({Method.BARCODE, Method.CARD})
    REFUND_NOTICES: bool = True
    TWO_CALLS: frozenset[Method] = frozenset()  # methods that end with Channel.proceed_request
    TELLS_PAID: bytes = b""  # what stands in every notice that says "paid", where a payment has other notices too
    # What the protocol goes without, each with its reason; plays about it are then played without it, or not at all.
    NO_WINDOW: str = ""  # beside WINDOW: notices carry no time, or none that ends
    NO_EXPIRY: str = ""  # an order has no end at the rail that we could set
    BILL_UNVOUCHED: str = ""  # neither a signature nor a hash vouches for a bill's bytes
    BILL_OF_NOBODY: str = ""  # a bill does not say whose it is
    UNNAMED: Mapping[
        str, str
    ] = {}  # answers that do not name our order (by op), or no merchant ("merchant", "notices")
    PAGE_SIZE: str = ""  # the parameter that says how many lines a page of the bill has, where a bill has pages
    NO_FEE: str = ""  # the rail keeps nothing of what is paid
    REFUNDS_AT_ONCE: str = ""  # a refund is done, or has failed, in the answer that takes it
    FAILED_REFUND_NOTICES: bool = False  # beside REFUND_NOTICES: tells of refunds that failed, too
    SHARES: bool = False  # shares a payment's money out itself, see channels/sharing.py
    SHARES_ONLY_FROZEN: bool = True  # and only of payments made with share_later
    TELLS_FROZEN: bool = False  # how much of a payment is left to be shared out can be asked
    SHARES_COME_BACK_OF: Method | None = None  # a share can be fetched back of payments by this method; None: by any
    SHARES_COME_BACK_FIRST: bool = False  # and before the payment is refunded whole

    def __init__(self, base_url: str, http: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self.http = http
        self.codes = 0
        self.account: dict[str, Any] = {}
        self.neighbour: Counterparty | None = None

    # ---- the merchant ------------------------------------------------------------------------------------------------

    async def open_account(self) -> None:
        self.account = await self.control("POST", f"/control/{self.RAIL}/merchants", {"name": "tea"})

    def settings(self) -> dict[str, Any]:
        return self.account

    async def register_notices(self, url: str) -> None:
        """Register the one address for all notices, at rails where it is not part of each order."""
        self.account |= await self.control(
            "POST", f"/control/{self.RAIL}/webhooks", {"merchant": self.merchant, "url": url}
        )

    def with_stolen_keys(self, stranger: "Counterparty") -> dict[str, Any]:
        """Return our settings with another account's secrets."""
        names = ("private_key", "private_key_file", "secret_key", "client_secret")
        return self.account | {name: stranger.account[name] for name in names if name in self.account}

    def when_keys_change(self) -> dict[str, Any]:
        """Return the settings of an account that learns new keys; some accounts have a key that never changes."""
        return self.account

    @property
    def merchant(self) -> str:
        return str(self.account["merchant"])

    # ---- the payer ---------------------------------------------------------------------------------------------------

    def auth_code(self, payer: Payer) -> str:
        """Return a payer's code for Method.BARCODE."""
        raise NotImplementedError

    def token(self, payer: Payer) -> str:
        """Return a card for Method.CARD."""
        raise NotImplementedError

    def payer(self) -> str:
        """Return who the payer is at the rail, for Method.JSAPI."""
        return "oPayer0000000000000000000001"

    async def come(self, order: Order, shown: Pending) -> None:
        """Have the payer's device go where it was sent, without paying yet."""
        action = shown.next_action or {}
        if action["type"] == "redirect":
            await self._browse("GET", action["url"], None)
        elif action["type"] == "form":
            await self._browse("POST", action["url"], action["fields"])

    async def pay(self, reference: str) -> None:
        await self.control("POST", f"/control/{self.RAIL}/pay", self._named(reference))

    async def give_coupon(self, minor: int, paid_by: str) -> None:
        """Give the next payer a coupon, at rails with capabilities.merchant_coupons. paid_by: merchant prepaid rail."""
        wish = {"merchant": self.merchant, "amount": minor, "paid_by": paid_by}
        await self.control("POST", f"/control/{self.RAIL}/coupons", wish)

    async def dispute(self, reference: str, *, minor: int | None = None, inquiry: bool = False) -> dict[str, Any]:
        """Have a payer dispute an order, at rails that tell of disputes; return what the rail's books have of it."""
        wish = self._named(reference) | {"inquiry": inquiry} | ({} if minor is None else {"amount": minor})
        return await self.control("POST", f"/control/{self.RAIL}/disputes", wish)

    async def take_disputed(self, dispute: str) -> dict[str, Any]:
        """Have an inquiry take its money after all."""
        return await self.control("POST", f"/control/{self.RAIL}/disputes/take", {"dispute": dispute})

    async def end_dispute(self, dispute: str, outcome: str, *, fee_back: bool = False) -> dict[str, Any]:
        """Have a dispute decided. outcome: won or lost, for the merchant."""
        wish = {"dispute": dispute, "outcome": outcome, "fee_back": fee_back}
        return await self.control("POST", f"/control/{self.RAIL}/disputes/end", wish)

    async def decline(self, reference: str) -> None:
        await self.control("POST", f"/control/{self.RAIL}/decline", self._named(reference))

    async def can_pay(self, reference: str) -> bool:
        """Have the payer try to pay; tell whether the rail let them."""
        try:
            await self.pay(reference)
        except RefusedByControl:
            return False
        return True

    # ---- the rail ----------------------------------------------------------------------------------------------------

    async def close_day(self, day: date) -> None:
        named = {"merchant": self.merchant, "date": day.isoformat()}
        await self.control("POST", f"/control/{self.RAIL}/close-day", named)

    async def rotate_keys(self) -> None:
        """Have the rail sign with new keys from now on; take over what the account's settings gain by it."""
        made = await self.control("POST", f"/control/{self.RAIL}/rotate-keys", {"merchant": self.merchant})
        if not self.LEARNS_KEYS:
            self.account |= made

    async def fault(self, fault: str, op: str, reference: str, *, refund: bool = False) -> None:
        """Have one call about one order or refund go wrong."""
        match = {"merchant": self.merchant, "op": self.OPS.get(op, op), "refund" if refund else "order": reference}
        await self._set_fault(fault, match)

    async def hold_back(self, op: str, reference: str) -> str:
        """Have one call about one order held up on its way; return what lets it arrive, see `let_through`."""
        match = {"merchant": self.merchant, "op": self.OPS.get(op, op), "order": reference}
        return str((await self._set_fault("held_back", match))["fault_id"])

    async def let_through(self, held: str) -> None:
        """Have what was held back arrive now."""
        async with self.http.delete(f"{self.base_url}/control/faults/{held}") as answer:
            assert answer.status == 204

    async def says_instead(self, word: str, op: str, reference: str, *, refund: bool = False) -> None:
        """Have the rail's next answer to one call say this word for every state in it, signed as its answers are."""
        match = {"merchant": self.merchant, "op": self.OPS.get(op, op), "refund" if refund else "order": reference}
        await self._set_fault("answer_status", match, {"status": word})

    async def return_fault(self, fault: str, reference: str) -> None:
        """Have one call that fetches a share back go wrong."""
        match = {"merchant": self.merchant, "op": "give_back", self.OPS.get("returns", "share_return"): reference}
        await self._set_fault(fault, match)

    async def share_fault(self, fault: str, op: str, reference: str) -> None:
        """Have one call about one share order go wrong."""
        await self._set_fault(fault, {"merchant": self.merchant, "op": self.OPS.get(op, op), "share": reference})

    async def notice_fault(self, fault: str, reference: str, **params: int) -> None:
        await self._set_fault(fault, {"merchant": self.merchant, "order": reference}, params)

    async def refund_fault(self, fault: str) -> None:
        """Have the account's next refund go wrong."""
        await self._set_fault(fault, {"merchant": self.merchant})

    async def refund_row_fault(self, fault: str, reference: str, **params: int) -> None:
        await self._set_fault(fault, {"merchant": self.merchant, "refund": reference}, params)

    async def refund_fails(self, reference: str) -> None:
        """Have the next refund of an order fail, after it was accepted."""
        await self.notice_fault("refund_failed", reference)

    async def bill_fault(self, fault: str, day: date, **params: int) -> None:
        await self._set_fault(fault, {"merchant": self.merchant, "date": day.isoformat()}, params)

    async def charged(self, reference: str) -> Charged:
        trades = (await self.control("GET", f"/control/{self.RAIL}/trades?merchant={self.merchant}"))["trades"]
        for trade in trades:
            if trade["order"] == reference:
                refunds = {refund["order"]: refund["amount"] for refund in trade["refunds"]}
                return Charged(trade["charged_count"], trade["paid"], trade["fee"], refunds)
        return Charged(0, 0, 0, {})

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        async with self.http.request(method, self.base_url + path, json=body) as answer:
            said = await answer.json()
            if answer.status >= 300:
                raise RefusedByControl(f"{method} {path}: {answer.status} {said}")
            return dict(said)

    async def _set_fault(
        self, name: str, match: Mapping[str, str], params: Mapping[str, int | str] | None = None
    ) -> dict[str, Any]:
        body = {"fault": name, "rail": self.RAIL, "match": match, "times": 1, "params": params or {}}
        return await self.control("POST", "/control/faults", body)

    async def _browse(self, method: str, url: str, fields: Mapping[str, str] | None) -> None:
        async with self.http.request(method, url, data=fields, allow_redirects=False) as page:
            assert page.status < 400, f"{method} {url}: {page.status} {await page.text()}"

    def _named(self, reference: str) -> dict[str, str]:
        return {"merchant": self.merchant, "order": reference}


@asynccontextmanager
async def sandbox(home: Path) -> AsyncIterator[str]:
    """Run the sandbox as a process of its own, in a hurry; yields its base URL."""
    command = [sys.executable, "-m", "sandbox", "--home", str(home), "--port", "0", "--time-scale", "0.002"]
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

    url: str = ""
    accept: Response = field(default_factory=lambda: Response(200, {}, b""))
    refuse: Response = field(default_factory=lambda: Response(503, {}, b""))
    refuse_first: int = 0
    refused: bytes = b""  # only messages in which this stands are refused
    received: "asyncio.Queue[Response]" = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        message = Response(200, headers, await request.read())
        self.received.put_nowait(message)
        answer = self.accept
        if self.refuse_first and self.refused in message.body:
            self.refuse_first -= 1
            answer = self.refuse
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)

    async def next(self) -> Response:
        return await asyncio.wait_for(self.received.get(), 200)

    def holds(self, mark: bytes) -> bool:
        """Tell whether a message in which `mark` stands has come and was not taken."""
        waiting = [self.received.get_nowait() for _ in range(self.received.qsize())]
        for message in waiting:
            self.received.put_nowait(message)
        return any(mark in message.body for message in waiting)


@asynccontextmanager
async def inbox() -> AsyncIterator[Inbox]:
    box = Inbox()
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


def _every_counterparty() -> dict[str, type[Counterparty]]:
    """Return the counterparties by their rail, from the files counterparty_<rail>.py beside this one."""
    for path in sorted(HERE.glob("counterparty_*.py")):
        importlib.import_module(f"tests.contract.{path.stem}")
    return {other.RAIL: other for other in Counterparty.__subclasses__()}


COUNTERPARTIES: Mapping[str, type[Counterparty]] = _every_counterparty()
