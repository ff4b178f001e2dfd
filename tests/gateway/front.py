"""A hub seen from its front door: HTTP requests, a rail that says what the test wants, a clock the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiohttp.test_utils import TestClient, TestServer

from channels.contract import Outcome, Refused, Request, Response, Unknown
from gateway.api.app import make_app
from gateway.door.server import DoorRunner
from gateway.store import find_attempt, find_payment
from gateway.tables import Attempt, Payment
from kernel.addresses import PUBLIC
from kernel.db import acquire
from kernel.env import Env, system_env
from kernel.ids import base36
from ops.verified import Mark
from ops.verify import verify_since
from ops.wiring import Hub, hub
from tests.documented import answer_faults, event_faults
from tests.support import NO_TRYING, HereTransport, Shop, a_registry, a_shop, confirmed

QR = {"type": "qr", "code": "weixin://pay"}
CODE = "130000000000000001"  # what a till scans from the payer's phone
SILENCE = Unknown("no answer")
NEVER_ARRIVED = Unknown("the rail knows no such number", not_found=True)
CLOSED = Refused("CLOSED", closed=True)


class HandClock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        # Later than the machine's clock, by which the shop was opened: a book's time never goes back.
        self._now = datetime(2100, 6, 1, 8, 30, tzinfo=UTC)
        self._seconds = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._seconds

    def forward(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._seconds += seconds

    async def sleep(self, seconds: float) -> None:
        """Let others go on; meanwhile this much time passes."""
        self.forward(seconds)
        await asyncio.sleep(0)


@dataclass
class Rail:
    """A script that gives, for each operation, the answer the test put there last.

    An operation nobody put anything for goes well: what is asked for is paid, given back or closed. A refund that was
    refused is one the rail does not know when it is asked.
    """

    answers: dict[str, Outcome | list[Outcome]] = field(default_factory=dict)
    clock: HandClock = field(default_factory=HandClock)
    refused: set[str] = field(default_factory=set)  # numbers of refunds

    def __call__(self, op: str, order: Any) -> Outcome:
        said = self._answer(op, order)
        if op == "refund":
            (self.refused.add if isinstance(said, Refused) else self.refused.discard)(order.reference)
        return said

    def _answer(self, op: str, order: Any) -> Outcome:
        if op in self.answers:
            found = self.answers[op]
            if isinstance(found, list):
                return found.pop(0) if len(found) > 1 else found[0]
            return found
        if op in ("close", "reverse", "void"):
            return CLOSED
        if op in ("bind", "unbind", "release", "share", "share_query"):
            number = order.account if op in ("bind", "unbind") else order.reference
            return confirmed(number, 0, self.clock.now())
        if op == "refund_query" and order.reference in self.refused:
            return NEVER_ARRIVED
        return confirmed(order.reference, order.amount.minor, self.clock.now(), order.amount.currency)

    def says(self, **answers: Outcome | list[Outcome]) -> None:
        """Put answers there; of a list the first is given first, and the last from then on."""
        self.answers.update(answers)

    def works(self, *ops: str) -> None:
        """Forget what was put there for these operations: they go well again."""
        for op in ops:
            del self.answers[op]


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: Any  # the JSON, or None

    @property
    def code(self) -> str:
        """The problem's code. Fails for an answer that is none."""
        assert self.headers["Content-Type"] == "application/problem+json", (self.status, self.body)
        code: str = self.body["code"]
        return code

    @property
    def said(self) -> str:
        """What a notice was refused with."""
        message: str = self.body["message"]
        return message


class Gate:
    """A way out whose messages, to one rail or to all, wait until the test lets them through."""

    addresses = PUBLIC

    def __init__(self, rail: str = "") -> None:
        self.rail = rail
        self.arrived = asyncio.Event()
        self.open = asyncio.Event()

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        if request.url.startswith(self.rail):
            self.arrived.set()
            await self.open.wait()
        return Response(200, {}, b"")


class RememberedMark:
    """How far the books were found to hold, for as long as a test lasts."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self._mark: Mark | None = None

    def load(self) -> tuple[Mark | None, str]:
        return self._mark, ""

    def save(self, mark: Mark) -> None:
        self._mark = mark


class DoorServer(TestServer):
    """Serves as the gateway does: an answer does not end with its caller."""

    async def _make_runner(self, **more: Any) -> DoorRunner:
        return DoorRunner(self.app, **{**more, "handler_cancellation": False})


class Front:
    """One merchant's door to a hub, with everything behind it at hand."""

    def __init__(
        self, shop: Shop, client: "TestClient[Any, Any]", rail: Rail, others: Mapping[str, Rail] | None = None
    ) -> None:
        """others: the scripts of further channel accounts, by their ids."""
        self.others = dict(others or {})
        self.shop = shop
        self.hub = shop.hub
        self.book = shop.book
        self.rail = rail
        self.clock = rail.clock
        self.client = client
        self._keys = 0
        self._marks = RememberedMark(self.hub.env)

    @property
    def address(self) -> tuple[str, int]:
        return self.client.host, self.client.port or 0

    # ---- HTTP --------------------------------------------------------------------------------------------------------

    async def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str | None
    ) -> Answer:
        """Send a request as the merchant. body: bytes as they are, anything else as JSON.

        headers: names with _ for -, None takes a usual one away.
        """
        sent: dict[str, str | None] = {**self.shop.headers, "Idempotency-Key": key}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        # Without this the client would name a type of its own where the test names none.
        skip = ["Content-Type"] if sent.get("Content-Type") is None else []
        async with self.client.request(
            method,
            path,
            data=data,
            headers={name: value for name, value in sent.items() if value is not None},
            skip_auto_headers=skip,
        ) as response:
            raw = await response.read()
            if path.startswith("/v1/") and method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                found = answer_faults(method, response.url.raw_path, response.status, response.headers, raw)
                assert not found, (method, path, found)
            is_json = raw[:1] in (b"{", b"[")
            return Answer(response.status, response.headers, orjson.loads(raw) if is_json else None)

    async def post(self, path: str, body: Any = None, *, key: str | None = None, **headers: str | None) -> Answer:
        return await self.send("POST", path, body, key=key, **headers)

    async def get(self, path: str, **headers: str | None) -> Answer:
        return await self.send("GET", path, **headers)

    def new_key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"

    def gate(self, rail: str = "") -> Gate:
        """Make what goes to the rail of this name, or to any, wait at a gate from now on."""
        gate = Gate(rail)
        self.hub.env.transport = gate
        return gate

    # ---- what tests do often -----------------------------------------------------------------------------------------

    async def pay(
        self, number: str = "order-1", amount: int = 10_000, *, key: str | None = None, **more: Any
    ) -> Answer:
        """Ask for a payment by QR code."""
        return await self.post("/v1/payments", an_order(number, amount, **more), key=key or self.new_key())

    async def scan(self, number: str = "order-1", amount: int = 10_000, *, key: str | None = None) -> Answer:
        """Ask for a payment by the code the till has scanned from the payer's phone."""
        return await self.pay(number, amount, key=key, method={"type": "barcode", "auth_code": CODE})

    async def paid(self, number: str = "order-1", amount: int = 10_000, **more: Any) -> str:
        """Have a payment succeed at once and return its id."""
        answer = await self.pay(number, amount, **more)
        assert (answer.status, answer.body["status"]) == (201, "succeeded"), answer
        payment_id: str = answer.body["id"]
        return payment_id

    async def payment(self, payment_id: str) -> Any:
        """Return a payment as it stands."""
        answer = await self.get(f"/v1/payments/{payment_id}")
        assert answer.status == 200, answer
        return answer.body

    async def refund(
        self, payment_id: str, amount: int | None = None, *, key: str | None = None, **more: Any
    ) -> Answer:
        body = {**({} if amount is None else {"amount": amount}), **more}
        return await self.post(f"/v1/payments/{payment_id}/refunds", body, key=key or self.new_key())

    async def payee(self, reference: str, currency: str = "CNY") -> str:
        """Register a payee without a bank account and return its id."""
        answer = await self.post("/v1/payees", {"name": reference, "currency": currency, "reference": reference})
        assert answer.status == 201, answer
        payee_id: str = answer.body["id"]
        return payee_id

    async def notice(
        self,
        reference: str,
        amount: int,
        *,
        kind: str = "payment",
        account: str = "rail",
        rail: str = "scripted",
        **more: Any,
    ) -> Answer:
        """Have the rail tell of a payment or refund, signed."""
        said = {"signature": "good", "kind": kind, "reference": reference, "amount": amount, "id": "n-1", **more}
        return await self.post(f"/notify/{rail}/{base36(self.book)}/{account}", said, Authorization=None)

    async def stored(self, payment_id: str) -> Payment:
        async with acquire(self.hub.pool) as connection:
            found = await find_payment(connection, self.book, payment_id)
        assert found is not None
        return found

    async def attempt(self, payment_id: str, number: int = 1) -> Attempt:
        async with acquire(self.hub.pool) as connection:
            found = await find_attempt(connection, self.book, payment_id, number)
        assert found is not None
        return found

    async def balances(self) -> dict[str, tuple[int, int]]:
        """Return (balance, available) of every account that has either."""
        rows = (await self.get("/v1/balances")).body["data"]
        return {r["account"]: (r["balance"], r["available"]) for r in rows if r["balance"] or r["available"]}

    async def events(self, *types: str) -> list[str]:
        """Return the types of the book's events, in order; only of these types where given."""
        data = (await self.get("/v1/events?limit=100")).body["data"]
        return [event["type"] for event in data if not types or event["type"] in types]

    async def later(self, seconds: float) -> int:
        """Let time pass and the janitor look once; return how many rows were due."""
        self.clock.forward(seconds)
        return await self.hub.janitor().once()

    async def share_out(self) -> None:
        """Let splitting hear what has happened."""
        await shared_out(self.hub)

    def asked(self, op: str, account: str = "rail") -> list[Any]:
        """Return what a channel account's rail was asked by this operation, in order."""
        rail = self.shop.rails[account] if account != "rail" else self.shop.channel
        return [order for name, order in rail.asked if name == op]

    def asked_in_all(self, account: str = "rail") -> list[str]:
        """Return the operations a channel account's rail was asked for, in order."""
        return [name for name, _ in self.shop.rails[account].asked]

    async def counts(self) -> tuple[int, ...]:
        """Return how many rows each table has in which a request can leave a trace, but for what is told of cases."""
        tables = ("payment", "attempt", "refund", "claim", "split", "payee", "event", "transfer", "hold", "account")
        no_case = " WHERE type NOT LIKE 'case.%'"
        async with acquire(self.hub.pool) as connection:
            row = await connection.fetchrow(
                "SELECT " + ", ".join(f"(SELECT count(*) FROM {t}{no_case * (t == 'event')})" for t in tables)
            )
        assert row is not None
        return tuple(row)

    async def assert_books_hold(self) -> None:
        """Fail unless every invariant of the books, the events, the splits and the payments holds.

        Where that was asked before, a daily run must find the same of what has happened since.
        """
        for everything in (False, True) if self._marks.load()[0] is not None else (True,):
            verdicts, _ = await verify_since(self.hub.pool, self._marks, everything=everything, again=0)
            broken = {verdict.name: verdict.broken for verdict in verdicts if verdict.broken}
            assert not broken, broken
        await self.assert_events_are_as_their_models_say()

    async def assert_events_are_as_their_models_say(self) -> None:
        """Fail where an event of any book carries something else than the catalogue says."""
        async with acquire(self.hub.pool) as connection:
            rows = await connection.fetch("SELECT DISTINCT ON (type, payload::text) type, payload FROM event")
        told = [{"type": row[0], "data": orjson.loads(row[1])} for row in rows]
        assert not (found := [fault for event in told for fault in event_faults(event)]), found


async def shared_out(hub: Hub) -> None:
    """Let splitting hear what has happened: all of it, however long that takes."""
    splitter = hub.splitter()
    await splitter.once()
    while splitter.busy:  # noqa: ASYNC110 - a book that takes longer than a round waits sets no event
        await asyncio.sleep(0.01)


def an_order(number: str = "order-1", amount: Any = 10_000, **more: Any) -> dict[str, Any]:
    """Return the body of a payment by QR code."""
    return {
        "merchant_order_id": number,
        "amount": amount,
        "currency": "CNY",
        "method": {"type": "qr"},
        "description": "tea",
        **more,
    }


@asynccontextmanager
async def a_front(
    database_url: str,
    home: Path,
    *,
    accounts: Mapping[str, str] | None = None,
    fee_bp: int = 60,
    fees_bp: Mapping[str, int] | None = None,
    clock: HandClock | None = None,
    rail: Rail | None = None,
    **more: Any,
) -> AsyncIterator[Front]:
    """Open a shop's door; when the test has done what it wanted, every invariant must hold.

    accounts: further channel accounts, id → the rail's name, each with a script of its own in `others`.
    fees_bp: of those whose rate is not fee_bp. rail: the script of the account `rail`.
    """
    rail, rates = rail or Rail(clock=clock or HandClock()), fees_bp or {}
    others = {account: Rail(clock=rail.clock) for account in accounts or {}}
    shaped = {
        account: (name, others[account], rates.get(account, fee_bp)) for account, name in (accounts or {}).items()
    }
    async with a_shop(database_url, home, rail, fee_bp=fee_bp, more=shaped, **more) as shop:
        shop.hub.env.clock, shop.hub.env.sleep = rail.clock, rail.clock.sleep
        async with TestClient(DoorServer(make_app(shop.hub.api()))) as client:
            front = Front(shop, client, rail, others)
            yield front
            await front.assert_books_hold()


@asynccontextmanager
async def another_process(front: Front, database_url: str, home: Path) -> AsyncIterator[Front]:
    """Open a second process of the same hub: the same database, merchant, rail and clock, nothing else shared."""
    env = system_env(HereTransport())
    env.executor, env.clock, env.sleep = None, front.clock, front.clock.sleep
    registry = a_registry(front.shop.rails)
    async with (
        hub(
            database_url=database_url,
            redis_url=None,
            home=home,
            public_url="http://127.0.0.1:1",
            env=env,
            channels=registry,
            max_skew=None,
        ) as objects,
        TestClient(DoorServer(make_app(objects.api()))) as client,
    ):
        objects.router.default = NO_TRYING
        shop = Shop(objects, front.book, front.shop.key, front.shop.channel, front.shop.rails)
        yield Front(shop, client, front.rail, front.others)


async def gather(*work: Awaitable[Answer]) -> list[Answer]:
    """Send all of these at once and return what each was answered."""
    return list(await asyncio.gather(*work))
