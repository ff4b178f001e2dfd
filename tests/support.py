"""What several test packages share: a hub on a real database, and a channel that answers as the test tells it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from channels.contract import (
    BadBill,
    BadNotice,
    BillFile,
    BillLine,
    Capabilities,
    Confirmed,
    Dispute,
    Kind,
    Method,
    Notice,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Request,
    Response,
    Unknown,
    Unmoved,
)
from channels.registry import NAMES
from channels.sharing import Receiver, ReceiverKind, Shared, ShareOrder, ShareReturn
from gateway.routing import Policy
from kernel.addresses import PUBLIC, Addresses
from kernel.db import STATEMENT_S
from kernel.env import Env, system_env
from kernel.money import Money
from ops.wiring import Hub, LaneShape, hub

Script = Callable[[str, Any], Outcome]

# Which account a payment goes to follows from its terms and its past alone: nothing is tried out by lot.
NO_TRYING = Policy(explore_bp=0)


@dataclass
class ScriptedChannel:
    """A rail in the same process whose answers are decided by a function of (operation, order)."""

    script: Script
    asked: list[tuple[str, Any]] = field(default_factory=list)
    name: str = "scripted"
    capabilities: Capabilities = Capabilities(  # noqa: RUF009  (it is frozen)
        methods=frozenset(Method) - {Method.TRANSFER},
        currencies=frozenset({"CNY", "GBP", "JPY"}),
        authorizes=frozenset({Method.PAGE, Method.CARD}),
        partial_capture=True,
    )
    # What it says of disputes, by its number of them; a dispute that is not here it does not know.
    disputes: dict[str, Dispute | Unmoved | Unknown] = field(default_factory=dict)
    bill: list[BillLine] | None = None  # of every day; None: the rail says that there was no business

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        return request

    def _request(self, op: str, order: Any) -> Request:
        self.asked.append((op, order))
        return Request("POST", f"{self.name}:{op}")

    def _outcome(self, op: str, order: Any) -> Outcome:
        return self.script(op, order)

    def pay_request(self, order: Order) -> Request:
        return self._request("pay", order)

    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("pay", order)

    def query_request(self, order: Order) -> Request:
        return self._request("query", order)

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("query", order)

    def close_request(self, order: Order) -> Request:
        return self._request("close", order)

    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("close", order)

    def reverse_request(self, order: Order) -> Request:
        return self._request("reverse", order)

    def reverse_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("reverse", order)

    def proceed_request(self, order: Order) -> Request:
        return self._request("proceed", order)

    def proceed_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("proceed", order)

    def capture_request(self, order: Order, amount: Money) -> Request:
        return self._request("capture", replace(order, amount=amount))

    def capture_outcome(self, order: Order, amount: Money, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("capture", replace(order, amount=amount))

    def void_request(self, order: Order) -> Request:
        return self._request("void", order)

    def void_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("void", order)

    def refund_request(self, refund: RefundOrder) -> Request:
        return self._request("refund", refund)

    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("refund", refund)

    def refund_query_request(self, refund: RefundOrder) -> Request:
        return self._request("refund_query", refund)

    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("refund_query", refund)

    def dispute_request(self, ref: str) -> Request:
        return self._request("dispute", ref)

    def dispute_outcome(self, ref: str, answer: Response, *, now: datetime) -> Dispute | Unmoved | Unknown:
        return self.disputes.get(ref, Unknown("there is no such dispute", not_found=True))

    # ---- sharing out -------------------------------------------------------------------------------------------------

    receiver_kinds = frozenset({ReceiverKind.MERCHANT, ReceiverKind.PERSON})

    def bind_request(self, receiver: Receiver, reference: str) -> Request:
        return self._request("bind", receiver)

    def bind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("bind", receiver)

    def unbind_request(self, receiver: Receiver, reference: str) -> Request:
        return self._request("unbind", receiver)

    def unbind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("unbind", receiver)

    def share_request(self, order: ShareOrder) -> Request:
        return self._request("share", order)

    def share_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        return shared_alike(order, self._outcome("share", order))

    def share_query_request(self, order: ShareOrder) -> Request:
        return self._request("share_query", order)

    def share_query_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        return shared_alike(order, self._outcome("share_query", order))

    def release_request(self, order: ShareOrder) -> Request:
        return self._request("release", order)

    def release_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("release", order)

    def give_back_request(self, order: ShareReturn) -> Request:
        return self._request("give_back", order)

    def give_back_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("give_back", order)

    def give_back_query_request(self, order: ShareReturn) -> Request:
        return self._request("give_back_query", order)

    def give_back_query_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("give_back_query", order)

    def frozen_request(self, order: ShareOrder) -> Request:
        return self._request("frozen", order)

    def frozen_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        return self._outcome("frozen", order)

    # ---- notices and bills -------------------------------------------------------------------------------------------

    def notice(self, message: Response, *, now: datetime) -> Notice:
        try:
            said = orjson.loads(message.body)
        except ValueError:
            raise BadNotice("malformed", "not JSON") from None
        if not isinstance(said, dict) or said.get("signature") != "good":
            raise BadNotice("bad_signature", "not signed by the scripted rail")
        if "doubt" in said:  # the number it is about; none: it names none where it should
            raise BadNotice("not_ours", "signed, and not understood", about=said["doubt"])
        outcome = confirmed(said["reference"], said["amount"], now)
        return Notice(Kind(said["kind"]), said["reference"], outcome, said["id"])

    def notice_accepted(self) -> Response:
        return Response(204, {}, b"")

    def notice_refused(self, why: str, *, again: bool = False) -> Response:
        return Response(503 if again else 400, {}, orjson.dumps({"code": "FAIL", "message": why}))

    def verified_by(self, answer: Response, *, now: datetime) -> str:
        return "scripted"

    def bill_request(self, day: date) -> Request:
        return self._request("bill", day)

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        if self.bill is not None:
            return BillFile(ready=True, content=repr(self.bill).encode())
        return BillFile(ready=False, nothing=True)

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        raise BadBill("nothing", "this rail has no bills")

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        return self.bill or ()


class HereTransport:
    """A way out that leads nowhere: the scripted rail answers without a network."""

    def __init__(self, addresses: Addresses = PUBLIC) -> None:
        self.addresses = addresses

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        return Response(200, {}, b"")


def shared_alike(order: ShareOrder, said: Outcome) -> Shared:
    """Return a share order's outcome where each of its shares has the same: paid, or with `closed` closed."""
    if isinstance(said, Confirmed):
        return Shared(said, tuple(Confirmed(said.channel_ref, one.amount, said.happened_at) for one in order.shares))
    if isinstance(said, Refused) and said.closed:
        return Shared(said, tuple(said for _ in order.shares))
    return Shared(said)


def confirmed(reference: str, minor: int, now: datetime, currency: str = "CNY") -> Confirmed:
    return Confirmed(f"ch-{reference}", Money(minor, currency), now)


@dataclass
class Shop:
    """A hub with one merchant on the scripted rail."""

    hub: Hub
    book: int
    key: str
    channel: ScriptedChannel
    rails: dict[str, ScriptedChannel] = field(default_factory=dict)  # by channel account, `channel` among them

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}


def pays_at_once(env: Env) -> Script:
    """Return a script under which every order is paid and every refund succeeds, at once."""

    def script(op: str, order: Any) -> Outcome:
        if op in ("pay", "query", "refund", "refund_query"):
            return Confirmed(f"ch-{order.reference}", order.amount, env.now())
        return Pending()

    return script


def a_registry(rails: Mapping[str, ScriptedChannel]) -> dict[str, Any]:
    """Return two rails, and the names of the real ones, whose accounts are these by the id in their settings."""

    def build(settings: Mapping[str, Any]) -> ScriptedChannel:
        return rails[settings.get("account", "rail")]

    return dict.fromkeys(("scripted", "other", *NAMES, *(rail.name for rail in rails.values())), build)


@asynccontextmanager
async def a_shop(
    database_url: str,
    home: Path,
    script: Script | None = None,
    *,
    fee_bp: int = 60,
    lane: LaneShape | None = None,
    more: Mapping[str, tuple[str, Script, int]] | None = None,
    statement_s: float = STATEMENT_S,
    max_skew: timedelta | None = None,
) -> AsyncIterator[Shop]:
    """Open a hub on a fresh database, with one merchant whose channel account `rail` is on the scripted rail.

    more: further accounts, asked after it: id → (rail: its name, its script, fee in basis points). max_skew: see hub;
    None where the test gives the time by hand.
    """
    env = system_env(HereTransport())
    env.executor = None
    rails = {"rail": ScriptedChannel(script or pays_at_once(env))}
    for account, (name, its_script, _) in (more or {}).items():
        rails[account] = ScriptedChannel(its_script, name=name)
    rail = rails["rail"]
    registry = a_registry(rails)
    async with hub(
        database_url=database_url,
        redis_url=None,
        home=home,
        public_url="http://127.0.0.1:1",
        env=env,
        channels=registry,
        lane=lane,
        max_skew=max_skew,
        statement_s=statement_s,
    ) as objects:
        objects.router.default = NO_TRYING
        merchant = await objects.merchants.add("a shop", currencies=["CNY"])
        await objects.channel_admin.add_by_hand(merchant.book, "rail", "scripted", {}, fee_bp=fee_bp)
        for account, (name, _, its_fee_bp) in (more or {}).items():
            await objects.channel_admin.add_by_hand(
                merchant.book, account, name, {"account": account}, fee_bp=its_fee_bp
            )
        yield Shop(objects, merchant.book, merchant.api_key, rail, rails)


@asynccontextmanager
async def a_sandbox(home: Path) -> AsyncIterator[str]:
    """Run the simulated rails in a process of their own, a hundred times faster than time; yield their address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "--home", str(home), "--port", "0", "--time-scale", "0.01"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().split()[-1]
    finally:
        process.terminate()
        await process.wait()
