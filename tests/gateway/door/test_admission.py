"""Who is let in when more comes than can be done: first by itself in time that is counted, then at the hub's door."""

import asyncio
import heapq
import random
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from channels.contract import Pending
from gateway.door.admission import (
    HUB,
    PATIENCE_S,
    RAIL,
    Admission,
    CallerLeft,
    Habits,
    Outward,
    Rank,
    Room,
    Ticket,
    TurnedAway,
    _current,
    away,
    go_on,
)
from gateway.door.auth import EVERYDAY
from kernel.env import system_env
from kernel.errors import Unavailable
from kernel.ids import base36
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import QR, Answer, Front, HandClock, a_front, gather
from tests.support import Shop

SHOP, LOUD = 1, 2  # books

# ---- in time that is counted -----------------------------------------------------------------------------------------


@dataclass
class Till:
    """A server that does one thing after the other, each for as long; callers come at a rate whatever it does.

    It is left alone with the room to try: who comes, and for whom, is drawn by lot with a seed.
    """

    room: Room
    clock: HandClock
    work_s: float
    free_at: float = 0.0
    served: Counter[int] = field(default_factory=Counter)  # within a second of their coming
    late: Counter[int] = field(default_factory=Counter)
    turned_away: Counter[int] = field(default_factory=Counter)
    _ends: list[tuple[float, float, int]] = field(default_factory=list)

    def open_for(self, seconds: float, rates: dict[int, float], lot: random.Random) -> None:
        """Let callers come, so many of each a second; and forget who came before."""
        for counts in (self.served, self.late, self.turned_away):
            counts.clear()
        until = self.clock.monotonic() + seconds
        coming = [(self.clock.monotonic() + lot.expovariate(rate), who) for who, rate in rates.items()]
        heapq.heapify(coming)
        while coming[0][0] < until:
            at, who = heapq.heappop(coming)
            heapq.heappush(coming, (at + lot.expovariate(rates[who]), who))
            self._end_until(at)
            self.clock.forward(at - self.clock.monotonic())
            if self.room.verdict(who).name != "COME_IN":
                self.turned_away[who] += 1
                continue
            self.room.take(who)
            self.free_at = max(self.free_at, at) + self.work_s
            heapq.heappush(self._ends, (self.free_at, at, who))

    def _end_until(self, moment: float) -> None:
        while self._ends and self._ends[0][0] <= moment:
            ended, began, who = heapq.heappop(self._ends)
            self.clock.forward(ended - self.clock.monotonic())
            self.room.give_back(who)
            self.room.took(began, ended - began)
            (self.served if ended - began <= 1 else self.late)[who] += 1


def a_room(habits: Habits) -> tuple[Room, HandClock]:
    env, clock = system_env(), HandClock()
    env.clock = clock
    return Room(env, habits), clock


def a_till(work_s: float = 0.01, habits: Habits = HUB) -> Till:
    room, clock = a_room(habits)
    return Till(room, clock, work_s, free_at=clock.monotonic())


@pytest.mark.parametrize("times", [1.5, 3, 10, 30])
@pytest.mark.parametrize("work_s", [0.002, 0.005, 0.02])
def test_as_much_is_done_in_time_however_much_comes(times: float, work_s: float) -> None:
    till, lot = a_till(work_s), random.Random(7)
    till.open_for(5, {SHOP: times / work_s}, lot)
    till.open_for(20, {SHOP: times / work_s}, lot)
    assert till.served[SHOP] >= 0.95 * 20 / work_s
    assert till.late[SHOP] == 0


def test_a_hub_that_takes_everything_serves_nobody_in_time() -> None:
    """What the limit is for: the same with a limit that nothing reaches."""
    till, lot = a_till(habits=Habits(10**9, 10**9, 10**9, 0.02, 0.15, 0.1)), random.Random(7)
    till.open_for(5, {SHOP: 300}, lot)
    till.open_for(20, {SHOP: 300}, lot)
    assert till.served[SHOP] == 0


def test_after_a_crowd_nobody_is_turned_away_or_late() -> None:
    till, lot = a_till(), random.Random(7)
    till.open_for(60, {SHOP: 1000}, lot)
    till.open_for(2, {SHOP: 50}, lot)
    till.open_for(20, {SHOP: 50}, lot)
    assert till.turned_away[SHOP] == till.late[SHOP] == 0
    assert till.served[SHOP] > 900


def test_one_who_comes_ten_times_as_often_takes_nothing_from_the_others() -> None:
    till, lot = a_till(), random.Random(7)
    quiet = dict.fromkeys(range(10, 16), 8.0)
    till.open_for(30, {**quiet, LOUD: 800.0}, lot)
    for shop in quiet:
        assert till.turned_away[shop] <= 0.05 * till.served[shop], shop
        assert till.late[shop] == 0
    assert till.served[LOUD] >= 0.8 * 30 * (100 - 48)
    assert till.turned_away[LOUD] > 20_000


def test_a_rail_slow_by_nature_is_not_taken_for_a_crowded_one() -> None:
    """It takes two seconds whoever else is there: fewer at once would not make it faster."""
    room, clock = a_room(RAIL)
    for _ in range(400):
        for _ in range(200):
            if room.verdict(SHOP).name == "COME_IN":
                room.take(SHOP)
        began = clock.monotonic()
        clock.forward(2)
        for _ in range(room.under_way):
            room.give_back(SHOP)
            room.took(began, 2)
    assert room.limit == RAIL.most


def test_the_limit_stays_within_its_bounds() -> None:
    room, clock = a_room(Habits(4, 8, 20, 0.01, 0.1, 0.05))
    seen = set()
    for seconds in [0.001] * 200 + [9.0] * 200 + [0.001] * 200:
        for _ in range(30):
            if room.verdict(SHOP).name == "COME_IN":
                room.take(SHOP)
        began = clock.monotonic()
        clock.forward(max(seconds, 0.2))
        for _ in range(room.under_way):
            room.give_back(SHOP)
            room.took(began, seconds)
        seen.add(round(room.limit, 2))
    assert (min(seen), max(seen)) == (4, 20)
    assert room.under_way == 0


@pytest.fixture(autouse=True)
def nobody_before_or_after() -> Iterator[None]:
    """Keep the tickets of a test out of the context that the next one begins with."""
    token = _current.set(None)
    yield
    _current.reset(token)


# ---- places ----------------------------------------------------------------------------------------------------------


class Line:
    """A caller's connection, until it is cut."""

    cut = False

    def is_closing(self) -> bool:
        return self.cut


def an_admission(limit: int) -> Admission:
    env = system_env()
    env.clock, env.rng = HandClock(), random.Random(7)
    return Admission(env, Habits(limit, limit, limit, 1.0, 1.0, 1.0))


def come(admission: Admission, rank: Rank, key: str | None = None) -> Ticket | str:
    try:
        return admission.enter(rank, admission.caller(key), Line())
    except TurnedAway as error:
        return error.code


def test_payments_give_way_to_questions_and_questions_to_notices() -> None:
    admission = an_admission(10)

    def let_in(rank: Rank) -> list[Ticket]:
        return [ticket for _ in range(30) if isinstance(ticket := come(admission, rank), Ticket)]

    payments, questions, notices = let_in(Rank.CREATE), let_in(Rank.QUERY), let_in(Rank.NOTICE)
    assert [len(payments), len(questions), len(notices)] == [10, 10, 10]
    for ticket in payments:
        ticket.leave()
    assert let_in(Rank.CREATE) == let_in(Rank.QUERY) == [], "what comes first takes all there is"
    for ticket in notices[3:]:
        ticket.leave()
    assert let_in(Rank.CREATE) == let_in(Rank.QUERY) == []
    for ticket in questions[2:]:
        ticket.leave()
    assert len(let_in(Rank.CREATE)) == 5


def test_who_has_a_share_under_way_is_told_that_it_is_his_and_others_are_let_in() -> None:
    admission = an_admission(10)
    for key, book in (("loud", 1), ("quiet", 2), ("third", 3)):
        admission.knows(key, book)
    held = [come(admission, Rank.CREATE, "loud") for _ in range(10)]
    assert come(admission, Rank.CREATE, "loud") == "busy", "alone, nobody has more than a share"
    assert isinstance(come(admission, Rank.CREATE, "quiet"), Ticket)
    assert come(admission, Rank.CREATE, "loud") == "too_many_requests"
    assert [isinstance(come(admission, Rank.CREATE, "quiet"), Ticket) for _ in range(5)] == [True] * 4 + [False]
    assert isinstance(come(admission, Rank.CREATE, "third"), Ticket)
    for ticket in held:
        assert isinstance(ticket, Ticket)
        ticket.leave()
    assert isinstance(come(admission, Rank.CREATE, "loud"), Ticket)


def test_invented_keys_are_one_stranger_together() -> None:
    admission = an_admission(10)
    admission.knows("known", 1)
    for _ in range(5):
        assert isinstance(come(admission, Rank.CREATE, "known"), Ticket)
    let_in = sum(isinstance(come(admission, Rank.CREATE, f"invented {n}"), Ticket) for n in range(100))
    assert let_in == 5
    assert isinstance(come(admission, Rank.CREATE, "known"), str)


def test_a_full_room_is_never_filled_beyond_twice_its_limit() -> None:
    admission = an_admission(10)
    for book in range(1, 1001):
        admission.knows(f"key {book}", book)
        come(admission, Rank.CREATE, f"key {book}")
        come(admission, Rank.CREATE, f"key {book}")
    assert admission.room.under_way <= 20


def test_whoever_waits_for_others_takes_no_place_and_comes_back_to_his_own() -> None:
    admission = an_admission(1)
    first = come(admission, Rank.CREATE)
    assert isinstance(first, Ticket)
    assert come(admission, Rank.CREATE) == "busy"
    with away(), away():  # as when two are asked at once
        second = come(admission, Rank.CREATE)
        assert isinstance(second, Ticket)
        assert admission.room.under_way == 1
    assert admission.room.under_way == 2
    second.leave()
    first.leave()
    with away():  # what goes on after its request has ended
        assert admission.room.under_way == 0
    assert admission.room.under_way == 0


def test_time_spent_away_is_not_the_hubs() -> None:
    admission = an_admission(4)
    clock = admission._env.clock
    assert isinstance(clock, HandClock)
    ticket = come(admission, Rank.CREATE)
    assert isinstance(ticket, Ticket)
    with away():
        clock.forward(15)
    ticket.go_on()
    clock.forward(PATIENCE_S + 0.1)
    with pytest.raises(TurnedAway):
        ticket.go_on()
    ticket.leave()
    assert admission.room.usual_s <= 1.2


def test_what_goes_on_after_its_request_is_not_held_to_its_time_or_its_caller() -> None:
    admission = an_admission(4)
    line = Line()
    ticket = admission.enter(Rank.CREATE, SHOP, line)
    go_on()
    line.cut = True
    with pytest.raises(CallerLeft):
        go_on()
    ticket.leave()
    go_on()


# ---- at the hub's door -----------------------------------------------------------------------------------------------

session = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def front(pg_server: PostgresServer, database_url: str, tmp_path: object) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as opened:  # type: ignore[arg-type]
        opened.rail.says(pay=Pending(QR))
        yield opened


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 a counter has no event
            await asyncio.sleep(0.01)


def narrow(front: Front, limit: int) -> None:
    """Give the hub so few places, and no way to find more."""
    front.hub.admission.room = Room(front.hub.env, Habits(limit, limit, limit, 1.0, 1.0, 1.0))


async def another_merchant(front: Front) -> Front:
    other = await front.hub.merchants.add("another shop", currencies=["CNY"])
    await front.hub.channel_admin.add_by_hand(other.book, "rail", "scripted", {}, fee_bp=60)
    return Front(Shop(front.hub, other.book, other.api_key, front.shop.channel), front.client, front.rail)


def assert_turned_away(answer: Answer, *codes: str) -> None:
    assert answer.code in codes, answer
    assert answer.status == {"too_many_requests": 429}.get(answer.code, 503)
    assert 1 <= int(answer.headers["Retry-After"]) <= 3
    assert answer.body["retriable"] is True


@session
async def test_what_is_too_much_is_turned_away_and_what_is_let_in_is_done_once(front: Front) -> None:
    narrow(front, 4)
    answers = await gather(*(front.pay(f"order-{n}", key=f"key-{n}") for n in range(60)))
    accepted = [answer for answer in answers if answer.status == 201]
    assert 1 <= len(accepted) < 60
    for answer in answers:
        if answer.status != 201:
            assert_turned_away(answer, "busy")
    listed = (await front.get("/v1/payments?limit=100")).body["data"]
    assert sorted(one["id"] for one in listed) == sorted(answer.body["id"] for answer in accepted)
    again = [await front.pay(f"order-{n}", key=f"key-{n}") for n in range(60)]
    assert Counter(answer.status for answer in again) == {201: 60 - len(accepted), 200: len(accepted)}
    assert front.hub.admission.room.under_way == 0


@session
async def test_a_full_hub_still_takes_notices_and_answers_questions(front: Front) -> None:
    payment = (await front.pay("known")).body
    reference = (await front.attempt(payment["id"])).reference
    narrow(front, 2)
    for _ in range(2):
        front.hub.admission.room.take(front.book)
    assert_turned_away(await front.pay("too-many"), "busy")
    assert (await front.get(f"/v1/payments/{payment['id']}")).status == 200
    assert (await front.notice(reference, 10_000)).status == 204
    assert (await front.payment(payment["id"]))["status"] == "succeeded"


@session
async def test_one_merchant_who_fills_the_hub_is_told_so_and_another_is_served(front: Front) -> None:
    other = await another_merchant(front)
    await gather(front.get("/v1/payments"), other.get("/v1/payments"))  # known from now on
    narrow(front, 4)
    for _ in range(5):
        front.hub.admission.room.take(front.book)
    assert (await other.pay("theirs")).status == 201
    front.hub.admission.room.take(other.book)
    assert_turned_away(await front.pay("ours"), "too_many_requests")
    assert (await other.pay("theirs-too")).status in (201, 429)


@session
async def test_a_rail_that_hangs_fills_its_own_room_and_nobody_elses(front: Front) -> None:
    await front.get("/v1/payments")
    narrow(front, 4)
    front.hub.rails._habits = Habits(6, 6, 6, 1.0, 1.0, 1.0)
    gate = front.gate("scripted")
    front.hub.env.transport = Outward(gate)  # the gate stands where the rail would, outside
    hanging = []
    for n in range(6):
        hanging.append(asyncio.create_task(front.pay(f"hangs-{n}", method={"type": "qr", "channel": "scripted"})))
        await until(
            lambda so_far=n: (
                front.hub.rails.room("scripted").under_way > so_far and not front.hub.admission.room.under_way
            )
        )
    async with asyncio.timeout(20):  # let in, it would hang like the others
        turned = await front.pay("one-more", method={"type": "qr", "channel": "scripted"})
    assert_turned_away(turned, "channel_busy")
    elsewhere = await front.pay("elsewhere", method={"type": "qr", "channel": "other"})
    wherever = await front.pay("wherever")
    assert (elsewhere.status, wherever.status) == (201, 201)
    assert [len(front.asked("pay", account)) for account in ("rail", "second")] == [6, 2]
    gate.open.set()
    assert [answer.status for answer in await asyncio.gather(*hanging)] == [201] * 6
    assert front.hub.rails.room("scripted").under_way == 0


async def half_sent(front: Front, path: str, kind: str = "application/json") -> tuple[StreamReader, StreamWriter]:
    """Send a request all but its body, and return once the hub has begun to wait for that."""
    reader, writer = await asyncio.open_connection(*front.address)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: hub\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
        f"Idempotency-Key: half\r\nAuthorization: Bearer {front.shop.key}\r\n\r\n".encode()
    )
    assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@session
@pytest.mark.parametrize("path", ["/notify/scripted/{book}/rail", "/v1/payment_links", "/pay/{token}"])
async def test_who_has_yet_to_send_the_rest_takes_nobodys_place(
    front: Front, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.door.bodies.BODY_WAIT_S", 600)
    page = (await front.pay("page", method={"type": "cashier"})).body["next_action"]["url"]
    path = path.format(book=base36(front.book), token=page.rpartition("/")[2])
    narrow(front, 2)
    kind = "application/x-www-form-urlencoded" if path.startswith("/pay/") else "application/json"
    half = [await half_sent(front, path, kind) for _ in range(5)]
    await until(lambda: not front.hub.admission.room.under_way)
    assert (await front.pay("served")).status == 201
    for _, writer in half:
        writer.transport.abort()
    await until(lambda: not front.hub.admission.room.under_way)


@session
async def test_who_sends_the_rest_to_a_hub_that_is_full_is_turned_away(front: Front) -> None:
    await front.get("/v1/payments")
    narrow(front, 2)
    before = await front.counts()
    reader, writer = await half_sent(front, "/v1/payment_links")
    for _ in range(2):
        front.hub.admission.room.take(front.book, Rank.QUERY)
    writer.write(b"{}")
    assert b" 503 " in await reader.readline()
    writer.close()
    assert front.hub.admission.room.under_way == 2
    assert await front.counts() == before


def counted(front: Front, status: int) -> float:
    labels = {"route": "create_payment", "status": str(status)}
    return front.hub.registry.get_sample_value("sluice_http_requests_total", labels) or 0


async def held_up(front: Front) -> tuple[asyncio.StreamWriter, list[object]]:
    """Send an order with a fresh key while the database has no connection left to look the key up."""
    _, key = await front.hub.merchants.add_key(front.book, EVERYDAY, None)
    held = [await front.hub.pool.acquire() for _ in range(front.hub.pool.get_max_size())]
    body = b'{"merchant_order_id":"held","amount":1,"currency":"CNY","method":{"type":"qr"},"description":"tea"}'
    _, writer = await asyncio.open_connection(*front.address)
    writer.write(
        b"POST /v1/payments HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nIdempotency-Key: held\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
    )
    await until(lambda: front.hub.admission.room.under_way > 0)
    return writer, list(held)


@session
@pytest.mark.parametrize(("leaves", "status"), [(True, 499), (False, 503)])
async def test_what_is_not_wanted_any_more_or_comes_too_late_is_not_begun(
    front: Front, leaves: bool, status: int
) -> None:
    before = await front.counts()
    writer, held = await held_up(front)
    if leaves:
        writer.transport.abort()
        await asyncio.sleep(0.1)
    else:
        front.clock.forward(PATIENCE_S + 0.5)
    for connection in held:
        await front.hub.pool.release(connection)  # type: ignore[arg-type]
    await until(lambda: counted(front, status) > 0)
    writer.close()
    assert await front.counts() == before
    assert counted(front, 201) == 0


def test_a_refusal_is_of_the_family_that_may_be_asked_again() -> None:
    assert issubclass(TurnedAway, Unavailable)
