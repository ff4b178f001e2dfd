"""A bank whose files the test writes: real HTTP and real signatures, and nothing that decides anything by itself."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from channels import HttpTransport
from channels.banks.iso20022.signing import HEADER, sign
from channels.contract import Request, Response
from gateway.payments.bank_credits import BankCredits
from kernel.addresses import LOOPBACK, Addresses
from kernel.env import Transport
from splitting.banks.worker import BankWorker
from splitting.settlement.calendar import BankHours
from splitting.settlement.payouts import SetPayoutBank
from tests.splitting.town import BANK, Town, a_town

DAY = "2026-11-24"
HOLDER = "杭州茶铺有限公司"
OUR_KEY, BANK_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def private_pem(key: rsa.RSAPrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


class OneWire:
    """The way out of a hub whose rail is a script, and whose bank is at a real address."""

    def __init__(self, rail: Transport, bank: Transport) -> None:
        self._rail = rail
        self._bank = bank

    @property
    def addresses(self) -> Addresses:
        return self._bank.addresses

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        to = self._bank if request.url.startswith("http://127.0.0.1:") else self._rail
        return await to.send(request, timeout_s=timeout_s)


class PlayBank:
    """Takes orders in, and gives out the files that the test put there, in order.

    silent: callers wait until the test opens it. What a test does to one file by its id (camt.054-0) stands in `forged`
    (signed by somebody else), `gone` (404), `barred` (403) and `broken` (500); to the list of a kind in `unlisted`
    (500). How one is listed stands in `listed`. Lists of a kind in `heedless` and `endless` are whole whatever is asked
    for, and an endless one always has a next page.

    refuses: the answer to every upload, status and code. What it says it has stands in `has`, by message id: with
    `keeps_dropped` what it gave no answer to.
    """

    def __init__(self) -> None:
        self.files: dict[str, list[bytes]] = {}
        self.taken: list[bytes] = []  # uploads as they came, repeats included
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()
        self.drops: set[str] = set()  # message ids of uploads, and names of openings, that get no answer
        self.refuses: tuple[int, str] | None = None
        self.has: dict[str, dict[str, str]] = {}
        self.keeps_dropped = False
        self.calls: list[str] = []
        self.forged: set[str] = set()
        self.gone: set[str] = set()
        self.barred: set[str] = set()
        self.broken: set[str] = set()
        self.listed: dict[str, Any] = {}
        self.heedless: set[str] = set()
        self.endless: set[str] = set()
        self.unlisted: set[str] = set()
        self.opened: list[str] = []  # names of sub-accounts
        self.number = "6200"  # of the next sub-account
        self.tokens: set[str | None] = set()  # identity tokens that opened one, and open no other
        self.says_opened: dict[str, Any] = {}  # what its answer to an opening has in place of what it should
        self.holds_minor = 0  # in every account

    def says(self, kind: str, *contents: bytes) -> None:
        self.files.setdefault(kind, []).extend(contents)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/accounts", self._open)
        app.router.add_get("/accounts/{number}", self._show)
        app.router.add_post("/files", self._upload)
        app.router.add_get("/files", self._list)
        app.router.add_get("/files/{kind}/{number}", self._fetch)
        app.router.add_get("/files/{name}", self._fetch)
        return app

    async def _open(self, request: web.Request) -> web.Response:
        asked = await request.json()
        number = f"pool{asked['currency']}"
        if asked["kind"] == "sub":
            token = asked.pop("identity_token", None)
            if token is not None and token in self.tokens:
                return web.json_response({"code": "identity_token_used", "message": f"{token} was used"}, status=422)
            self.tokens.add(token)
            self.opened.append(asked["name"])
            number = self.number
        if asked["name"] in self.drops:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({**asked, **self._account(number), **self.says_opened}, status=201)

    async def _show(self, request: web.Request) -> web.Response:
        asked = {"name": "pool", "currency": "CNY", "kind": "pool"}
        return web.json_response({**asked, **self._account(request.match_info["number"])})

    def _account(self, number: str) -> dict[str, Any]:
        return {"account": number, "status": "open", "balance_minor": self.holds_minor}

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.taken.append(body)
        await self._answer("upload")
        (message_id,) = re.findall(rb"<(?:GrpHdr><MsgId|Assgnmt><Id)>(.*?)<", body)
        receipt = {
            "file_id": "f1",
            "message_id": message_id.decode(),
            "sha256": hashlib.sha256(body).hexdigest(),
            "received_at": "2026-11-24T10:00:00.000Z",
        }
        if message_id.decode() in self.drops:
            if self.keeps_dropped:
                self.has[message_id.decode()] = receipt
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.refuses is not None:
            status, code = self.refuses
            return web.json_response({"code": code, "message": f"{code}: said the bank"}, status=status)
        return self._signed(json.dumps(receipt).encode(), 202)

    async def _list(self, request: web.Request) -> web.Response:
        kind = request.query["type"]
        await self._answer(kind)
        if kind in self.unlisted:
            return web.Response(status=500)
        if kind == "pain.001" and kind not in self.files:
            found = self.has.get(request.query["message_id"])
            return web.json_response({"files": [] if found is None else [found]})
        asked = int(request.query.get("after", 0))
        heedless = kind in self.heedless | self.endless
        after = 0 if heedless else asked
        files: list[Any] = [
            self.listed.get(f"{kind}-{number}")
            or {
                "file_id": f"{kind}-{number}",
                "type": kind,
                "name": f"{number}.xml",
                "business_date": DAY,
                "created_at": f"{DAY}T00:00:01.000Z",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for number, content in enumerate(self.files.get(kind, []))
        ][after:]
        if not heedless:
            files = files[: int(request.query["limit"])]
        return web.json_response({"files": files, "next": str((asked if kind in self.endless else after) + len(files))})

    async def _fetch(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.calls.append(name)
        for names, status in ((self.gone, 404), (self.barred, 403), (self.broken, 500)):
            if name in names:
                return web.Response(status=status)
        kind, _, number = name.rpartition("-")
        return self._signed(self.files[kind][int(number)], key=OUR_KEY if name in self.forged else BANK_KEY)

    async def _answer(self, call: str) -> None:
        self.calls.append(call)
        self.asked.set()
        await self.answering.wait()

    def _signed(self, body: bytes, status: int = 200, *, key: rsa.RSAPrivateKey = BANK_KEY) -> web.Response:
        header = sign(body, key, key_id="BANK-1", created=1_790_000_000)
        return web.Response(body=body, status=status, headers={HEADER: header})


@asynccontextmanager
async def a_bank(town: Town, *, bank: str = BANK, book: int | None = None) -> AsyncIterator[PlayBank]:
    """Open a bank and have the shop's custody, or another merchant's, there. Its batches wait for nothing."""
    play = PlayBank()
    async with TestServer(play.app()) as server:
        enrolment = {
            "base_url": str(server.make_url("")),
            "token": "the-token",
            "key_id": "US-1",
            "private_key": private_pem(OUR_KEY),
            "bank_key_id": "BANK-1",
            "bank_public_key": public_pem(BANK_KEY),
            "bic": "SBXBCNBJXXX",
            "account_holder": HOLDER,
        }
        where = book or town.front.book
        await town.front.hub.merchants.link_bank(where, bank, enrolment, name="pool", currency="CNY")
        await town.put(SetPayoutBank(where, bank, BankHours(), None, only_deposited=False))
        try:
            yield play
        finally:
            play.answering.set()


@asynccontextmanager
async def a_bank_read(town: Town) -> AsyncIterator[tuple[PlayBank, BankWorker]]:
    """Open the town's bank, and the background half that works through the bank's files."""
    async with HttpTransport(addresses=LOOPBACK) as transport:
        hub, env = town.front.hub, town.front.hub.env
        env.transport = OneWire(env.transport, transport)
        async with a_bank(town) as bank:

            async def deposits(_: int) -> Mapping[str, Sequence[str]]:
                return {"WX": ["rail"]}  # the rail of the tests names no deposits of its own

            collected = BankCredits(hub.payments, hub.pool).collected
            yield bank, BankWorker(hub.banks, hub.pool, env, deposits, collected)
            await env.tasks.aclose()


@asynccontextmanager
async def a_town_with_a_bank(database_url: str, home: Path) -> AsyncIterator[tuple[Town, PlayBank, BankWorker]]:
    """Open the town, its bank, and the background half that works through the bank's files."""
    async with a_town(database_url, home) as town, a_bank_read(town) as (bank, bank_worker):
        yield town, bank, bank_worker


async def send_todays(town: Town) -> str:
    """Sell something and have the bank be given the day's batch; return its message id."""
    await town.sell()
    settlement = await town.front.hub.banks.settle(
        town.front.book, BANK, town.today, "CNY", execution_date=town.today + timedelta(days=1),
        not_before=town.front.clock.now(),
    )  # fmt: skip
    assert settlement is not None
    assert settlement.status == "sent"
    return settlement.id.replace("_", "-")


async def a_round(bank_worker: BankWorker) -> None:
    """Have a round done, all of it."""
    await bank_worker.once()
    while bank_worker.busy:  # noqa: ASYNC110 - a round that takes longer than once() waits sets no event
        await asyncio.sleep(0.01)


async def all_read(town: Town, bank: PlayBank, bank_worker: BankWorker) -> None:
    """Return when everything that the bank wrote has been applied; fail where a file cannot be."""
    wanted = {kind: str(len(files)) for kind, files in bank.files.items() if kind != "camt.053"}  # which proofs read
    for _ in range(30):
        link = await town.front.hub.banks.link(town.front.book, BANK)
        if wanted.items() <= json.loads(link.cursor).items():
            return
        await a_round(bank_worker)
    raise AssertionError(f"the bank's files stand at {link.cursor}, and should at {wanted}")
