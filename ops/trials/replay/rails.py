"""The rails a day is played over: a merchant's accounts at the simulated counterparties, and how payers pay there."""

import asyncio
import hashlib
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from kernel.ids import base36
from ops.trials.replay.world import Refused, World

PAID_OUT_IN = "CNY"  # the one currency in which the simulated rails pay into the simulated bank
CARD = "pm_card_visa"  # a card that is charged without a question


@dataclass(frozen=True, slots=True)
class Part:
    """One account in the play: which rail, under which name, at what price, and how payers' codes begin there."""

    channel: str
    account: str
    fee_bp: int
    code_prefix: str = ""


# A rail joins the play with one line here; `methods` of its adapter say what it can take.
CAST = (
    Part("wechat", "wechat", 60, "13"),
    Part("wechat", "wechat-second", 54, "13"),
    Part("alipay", "alipay", 55, "28"),
    Part("unionpay", "unionpay", 50),
    Part("stripe", "stripe", 290),
    Part("paypal", "paypal", 340),
    Part("bank_transfer", "bank-transfer", 0),
)
COUPONS: Mapping[str, int] = {"": 80, "merchant": 12, "rail": 8}  # who pays for a payer's coupon, of a hundred
FROM_MINOR = 200  # what costs less is paid without one; each takes off a tenth
# How payers like to pay, of a hundred; what no account of the play takes is left out.
LIKED: Mapping[str, int] = {"qr": 46, "barcode": 26, "page": 12, "card": 10, "transfer": 6}


@dataclass(slots=True)
class RailAccount:
    """An account of the play as it stands: known to the rail as `merchant`."""

    part: Part
    merchant: str
    methods: frozenset[str]
    mark: str | None  # how its deposits at the bank are named; None: its money is there already
    settings: dict[str, Any] = field(default_factory=dict)
    direct_url: str = ""  # the rail's own address, where settings name a cable's
    coupons: bool = False  # payers may have coupons there

    @property
    def name(self) -> str:
        return self.part.account

    @property
    def channel(self) -> str:
        return self.part.channel

    def deposit(self, on: date) -> str | None:
        """Return the end-to-end id of what the rail pays into the bank for a day."""
        return None if self.mark is None else f"{self.mark}{on:%Y%m%d}"


async def sign_up(world: World, part: Part, *, pool: str, hub_url: str, book: int, webhooks: bool) -> dict[str, Any]:
    """Become a merchant of a rail; return the settings of the channel account."""
    path = f"/control/{part.channel}"
    wish = {"name": "replay", "fee_bp": part.fee_bp, "fixed_fee_minor": 0, "settle_to": pool}
    settings = await world.control("POST", f"{path}/merchants", wish)
    if webhooks:
        url = f"{hub_url}/notify/{part.channel}/{base36(book)}/{part.account}"
        settings |= await world.control("POST", f"{path}/webhooks", {"merchant": settings["merchant"], "url": url})
    return settings


class Payers:
    """Everybody who pays: goes where he was sent, and says yes there."""

    def __init__(self, world: World, accounts: Sequence[RailAccount], *, run_id: str, coupons: bool = False) -> None:
        self._world = world
        self._coupons = coupons
        self._accounts = {account.name: account for account in accounts}
        self._run_id = run_id

    def method(self, rng: random.Random) -> str:
        """Return how a payer likes to pay."""
        can = {method for account in self._accounts.values() for method in account.methods}
        liked = {method: weight for method, weight in LIKED.items() if method in can}
        return rng.choices(list(liked), list(liked.values()))[0] if liked else "qr"

    def pinned(self, method: str, rng: random.Random) -> str:
        """Return a rail that takes the method, as a merchant with a preference would name it."""
        return rng.choice(sorted({a.channel for a in self._accounts.values() if method in a.methods}) or ["auto"])

    def code(self, number: str, rng: random.Random, *, not_of: str | None = None) -> str:
        """Return a code from a payer's phone; the sandbox charges most at once and asks some for a password.

        not_of: the start of the codes of a wallet that does not work just now.
        """
        starts = sorted(
            {a.part.code_prefix for a in self._accounts.values() if a.part.code_prefix and "barcode" in a.methods}
        )
        working = [start for start in starts if start != not_of] or starts
        digits = int(hashlib.sha256(f"{self._run_id}/{number}/{not_of}".encode()).hexdigest(), 16) % 10**15
        return f"{rng.choice(working)}{digits:015d}{8 if rng.random() < 0.2 else rng.randint(0, 7)}"

    async def take_coupon(self, attempt: Mapping[str, Any], minor: int, rng: random.Random) -> None:
        """Perhaps find a coupon for an order, of the merchant's or of the rail's, where the rail has any."""
        account = self._accounts[attempt["channel_account"]]
        paid_by = rng.choices(list(COUPONS), list(COUPONS.values()))[0]
        if self._coupons and account.coupons and paid_by and minor >= FROM_MINOR:
            wish = {"merchant": account.merchant, "order": attempt["reference"], "paid_by": paid_by}
            await self._world.control("POST", f"/control/{account.channel}/coupons", wish | {"amount": minor // 10})

    async def pay(self, attempt: Mapping[str, Any], action: Mapping[str, Any] | None) -> bool:
        """Pay an order; one that was paid already, has run out, or has not come through, stays as it is.

        False when the payer could not get to the rail's page, and will try again.
        """
        account = self._accounts[attempt["channel_account"]]
        if action is not None and action["type"] in ("form", "redirect"):
            form = action["fields"] if action["type"] == "form" else None
            if not await self._world.browse(action["url"], form):
                return False
        named = {"merchant": account.merchant, "order": attempt["reference"]}
        try:
            await self._world.control("POST", f"/control/{account.channel}/pay", named)
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise
        return True


async def trades(world: World, account: RailAccount) -> list[dict[str, Any]]:
    """Return a rail's own truth about an account's orders."""
    found = await world.control("GET", f"/control/{account.channel}/trades?merchant={account.merchant}")
    return list(found["trades"])


class Cable:
    """The line to one rail, which can be cut: a relay on this machine between the hub and the sandbox.

    While it is cut nothing can connect and what was connected is gone, as when a digger has met the fibre.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._kept: socket.socket | None = None  # holds the port while the cable is cut: nobody listens, nobody gets it
        self._port = 0

    async def lay(self) -> str:
        """Start relaying; return the address to use in place of the sandbox's."""
        await self.mend()
        return f"http://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        """Let messages through again, at the same address."""
        if self._server is None:
            self._give_up_the_port()
            self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Drop every connection and take no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._kept = socket.socket()
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.bind(("127.0.0.1", self._port))
        for writer in list(self._open):
            writer.transport.abort()

    async def take_up(self) -> None:
        """Cut it for good."""
        await self.cut()
        self._give_up_the_port()

    def _give_up_the_port(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        except asyncio.CancelledError:
            pass  # the play is over; asyncio tells of a cancelled connection as of a mistake
        finally:
            self._open -= {writer, back}
            for end in (writer, back):
                end.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
    except (ConnectionError, OSError):
        sink.transport.abort()
