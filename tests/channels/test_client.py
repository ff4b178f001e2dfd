"""The client, with WeChat's adapter on one side and a scripted rail on the other: what silence and new keys lead to."""

import asyncio
import hashlib
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from channels import Capabilities, ChannelClient, Method, Order, Outcome, Pending, Unknown
from channels.client import KEY_REFRESH_S, MOST_QUESTIONS, TIMEOUTS_S
from kernel.addresses import PUBLIC
from kernel.env import Env, NoAnswer, NotSent, Request, Response, Tasks, system_env
from kernel.ids import Ids
from tests.channels.wechat.test_wechat_outcomes import PAID
from tests.channels.wechat.wechat_rail import (
    NEW_SERIAL,
    NOW,
    OLD_SERIAL,
    Rail,
    certificates,
    channel,
    order,
    refund_order,
    transaction,
)

OLD, NEW = Rail(), Rail("platform_new", NEW_SERIAL)
Reply = Callable[[Request], Response | Exception | Awaitable[Response]]
BOTH_KEYS = certificates(("platform_old", OLD_SERIAL), ("platform_new", NEW_SERIAL))


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self):  # type: ignore[no-untyped-def]
        return NOW + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return self.passed_s


class ScriptedRail:
    """A transport whose other side is a function of the request; keeps what was sent."""

    addresses = PUBLIC

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.sent: list[Request] = []
        self.timeouts: list[float] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.sent.append(request)
        self.timeouts.append(timeout_s)
        reply = self._reply(request)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Response) else await reply

    def paths(self) -> Sequence[str]:
        return [request.url.split("/", 3)[3].split("?")[0] for request in self.sent]


def client(
    reply: Callable[[Request], Response | Exception | Awaitable[Response]],
) -> tuple[ChannelClient, ScriptedRail, Env]:
    rail = ScriptedRail(reply)
    rng = random.Random(7)
    env = Env(
        clock=HandClock(),
        rng=rng,
        ids=Ids(lambda: 0, rng.getrandbits),
        secrets=rng.randbytes,
        transport=rail,
        tasks=Tasks(),
        sleep=asyncio.sleep,
        executor=None,
    )
    return ChannelClient(channel(), env), rail, env


@pytest.mark.parametrize("op", ["pay", "query", "close", "reverse", "refund", "refund_query"])
async def test_silence_is_unknown_and_only_what_never_left_is_said_to_be_so(op: str) -> None:
    subject = refund_order() if op.startswith("refund") else order()
    for failure, not_sent in ((NoAnswer("reset"), False), (NotSent("refused"), True)):
        asked, rail, _ = client(lambda _, failure=failure: failure)  # type: ignore[misc]
        outcome = await getattr(asked, op)(subject)
        assert isinstance(outcome, Unknown)
        assert (outcome.not_sent, outcome.not_found) == (not_sent, False)
        assert len(rail.sent) == 1, "nothing is ever sent twice by itself"
        assert rail.timeouts == [TIMEOUTS_S[op]]
        assert not rail.sent[0].for_file, "a rail's answer about a payment is never long"


async def test_each_request_is_signed_with_a_nonce_of_its_own() -> None:
    asked, rail, _ = client(lambda _: OLD.signed(200, transaction()))
    await asked.query(order())
    await asked.query(order())
    first, second = (request.headers["Authorization"] for request in rail.sent)
    assert first.startswith("WECHATPAY2-SHA256-RSA2048 ")
    assert first != second


class Around:
    """The adapter, but for what a class around it has itself. Powers are asked for by type, so all stands on it."""

    def __init__(self) -> None:
        self.inner = channel()
        for name in dir(self.inner):
            if not name.startswith("_") and not hasattr(type(self), name):
                setattr(self, name, getattr(self.inner, name))


async def test_signing_happens_beside_the_event_loop() -> None:
    """With a pool in the Env the signature is made on one of its threads."""
    made_on: list[str] = []

    class Watched(Around):
        def sign(self, request: Request, **rest: object) -> Request:
            made_on.append(threading.current_thread().name)
            return self.inner.sign(request, **rest)  # type: ignore[arg-type]

    rail = ScriptedRail(lambda _: NoAnswer("x"))
    await ChannelClient(Watched(), system_env(rail)).query(order())  # type: ignore[arg-type]
    assert made_on[0].startswith("offload")


class BegunByThePayer(Around):
    """The adapter, on a rail whose pages the payer's browser opens with what we signed."""

    capabilities = Capabilities(
        methods=frozenset({Method.PAGE, Method.QR}),
        currencies=frozenset({"CNY"}),
        payer_initiated=frozenset({Method.PAGE}),
    )

    def payer_initiated_action(self, order: Order, *, now: datetime, nonce: str) -> Pending:
        return Pending({"type": "redirect", "url": f"https://pay.example/{order.reference}?n={len(nonce)}&t={now:%Y}"})


async def test_what_the_payer_begins_is_signed_here_and_nothing_is_sent() -> None:
    _, rail, env = client(lambda _: NoAnswer("x"))
    asked = ChannelClient(BegunByThePayer(), env)  # type: ignore[arg-type]
    page = replace(order(), method=Method.PAGE)
    expected = Pending({"type": "redirect", "url": f"https://pay.example/{page.reference}?n=32&t={NOW:%Y}"})
    assert await asked.pay(page) == expected
    assert await asked.pay(page) == expected, "asking again is harmless"
    assert rail.sent == []
    assert isinstance(await asked.pay(replace(order(), method=Method.QR)), Unknown), "the others are placed by a call"
    assert len(rail.sent) == 1


class AskedInTwoSteps(Around):
    """The adapter, on a rail where what became of an order takes several questions."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self.left = questions

    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        self.left -= 1
        if self.left > 0:
            return Unknown("and?", follow_up=Request("GET", f"https://api.mch.weixin.qq.com/more/{self.left}"))
        return self.inner.query_outcome(order, answer, now=now)


async def test_an_answer_that_needs_another_beside_it_has_that_asked_for() -> None:
    _, rail, env = client(lambda _: OLD.signed(200, transaction()))
    assert await ChannelClient(AskedInTwoSteps(3), env).query(order()) == PAID  # type: ignore[arg-type]
    assert rail.paths()[1:] == ["more/2", "more/1"]
    assert {"Authorization" in request.headers for request in rail.sent} == {True}


async def test_questions_end_and_a_lost_one_leaves_the_first_as_sent() -> None:
    _, rail, env = client(lambda _: OLD.signed(200, transaction()))
    endless = await ChannelClient(AskedInTwoSteps(99), env).query(order())  # type: ignore[arg-type]
    assert endless == Unknown("and?")
    assert len(rail.sent) == MOST_QUESTIONS
    _, _, env = client(lambda request: NotSent("gone") if "more" in request.url else OLD.signed(200, transaction()))
    assert await ChannelClient(AskedInTwoSteps(2), env).query(order()) == Unknown("not sent: gone")  # type: ignore[arg-type]


async def test_what_the_payers_app_checks_is_signed_beside_the_event_loop_once_the_rail_has_answered() -> None:
    asked, rail, env = client(lambda request: OLD.signed(200, {"prepay_id": "wx2014"}))
    made_on: list[str] = []
    signed_action = asked.channel.signed_action

    def watched(placed: Order, shown: Pending, *, now: datetime, nonce: str) -> Pending:
        made_on.append(threading.current_thread().name)
        return signed_action(placed, shown, now=now, nonce=nonce)

    asked.channel.signed_action = watched  # type: ignore[method-assign]
    with ThreadPoolExecutor(1, thread_name_prefix="offload") as pool:
        beside = ChannelClient(asked.channel, replace(env, executor=pool))
        outcome = await beside.pay(order(Method.JSAPI, payer="oAlice"))
    assert isinstance(outcome, Pending)
    call = outcome.next_action or {}
    assert (call["type"], call["package"], len(call["nonceStr"])) == ("jsapi", "prepay_id=wx2014", 32)
    assert made_on[0].startswith("offload")
    assert len(rail.sent) == 1


async def test_an_order_that_failed_has_nothing_to_be_signed() -> None:
    asked, _, _ = client(lambda request: NoAnswer("silence"))
    assert isinstance(await asked.pay(order(Method.JSAPI, payer="oAlice")), Unknown)


def rotating(request: Request) -> Response:
    """A rail that has begun to sign with its new certificate."""
    return NEW.signed(200, BOTH_KEYS if request.url.endswith("/certificates") else transaction())


async def test_an_answer_signed_with_a_new_key_has_the_keys_fetched_and_is_then_read() -> None:
    asked, rail, _ = client(rotating)
    assert await asked.query(order()) == PAID
    assert rail.paths()[1:] == ["v3/certificates"]
    assert await asked.query(order()) == PAID
    assert len(rail.sent) == 3, "the key is known from now on"


async def test_answers_that_arrive_together_share_one_fetch_of_keys() -> None:
    gate, all_asked, queried = asyncio.Event(), asyncio.Event(), 0

    async def certificates_when_told() -> Response:
        await gate.wait()
        return NEW.signed(200, BOTH_KEYS)

    def reply(request: Request) -> Response | Awaitable[Response]:
        nonlocal queried
        if request.url.endswith("/certificates"):
            return certificates_when_told()
        queried += 1
        if queried == 20:
            all_asked.set()
        return NEW.signed(200, transaction())

    asked, rail, _ = client(reply)
    queries = [asyncio.create_task(asked.query(order())) for _ in range(20)]
    await all_asked.wait()
    gate.set()
    assert await asyncio.gather(*queries) == [PAID] * 20
    assert rail.paths().count("v3/certificates") == 1


async def test_a_caller_that_gives_up_does_not_end_the_fetch_for_the_others() -> None:
    gate = asyncio.Event()

    async def certificates_when_told() -> Response:
        await gate.wait()
        return NEW.signed(200, BOTH_KEYS)

    asked, _, _ = client(lambda request: certificates_when_told())
    impatient, patient = (asyncio.create_task(asked.refresh_keys()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    gate.set()
    assert NEW_SERIAL in await patient


async def test_invented_key_ids_make_us_fetch_keys_once_a_minute_at_most() -> None:
    stranger = Rail("stranger", "77")

    def reply(request: Request) -> Response:
        if request.url.endswith("/certificates"):
            return OLD.signed(200, certificates(("platform_old", OLD_SERIAL)))
        return stranger.signed(200, transaction())

    asked, rail, env = client(reply)
    for _ in range(5):
        assert isinstance(await asked.query(order()), Unknown)
    assert rail.paths().count("v3/certificates") == 1
    env.clock.passed_s = KEY_REFRESH_S  # type: ignore[attr-defined]
    # The rail's later answers are signed at NOW, which is within the window still.
    await asked.query(order())
    assert rail.paths().count("v3/certificates") == 2


@pytest.mark.parametrize(
    "keys",
    [NoAnswer("reset"), NotSent("refused"), Response(404, {}, b"{}"), Rail("stranger").signed(200, BOTH_KEYS)],
    ids=["silence", "not sent", "error", "forged"],
)
async def test_keys_that_cannot_be_had_leave_the_answer_unknown(keys: Response | Exception) -> None:
    asked, _, _ = client(
        lambda request: keys if request.url.endswith("/certificates") else NEW.signed(200, transaction())
    )
    assert isinstance(await asked.query(order()), Unknown)
    assert await asked.refresh_keys() == ()


async def test_a_wrong_signature_of_a_known_key_fetches_nothing() -> None:
    asked, rail, _ = client(lambda _: Rail("stranger").signed(200, transaction()))
    assert isinstance(await asked.query(order()), Unknown)
    assert len(rail.sent) == 1


async def test_an_account_with_a_public_key_alone_never_asks_for_certificates() -> None:
    asked, rail, env = client(lambda _: NEW.signed(200, transaction()))
    asked = ChannelClient(channel(platform_certificates=[]), env)
    assert isinstance(await asked.query(order()), Unknown)
    assert rail.paths().count("v3/certificates") == 0


async def test_a_bill_that_is_not_there_yet_says_why() -> None:
    day = date(2026, 11, 23)
    for reply, reason in (
        (NoAnswer("reset"), "NoAnswer"),
        (Response(400, {}, b'{"code":"STATEMENT_CREATING","message":""}'), "STATEMENT_CREATING"),
        (Response(200, {}, b"{}"), "not believed"),
    ):
        asked, _, _ = client(lambda _, reply=reply: reply)  # type: ignore[misc]
        bill = await asked.bill(day)
        assert bill.content is None
        assert not bill.nothing
        assert reason in bill.reason
    asked, _, _ = client(lambda _: Response(400, {}, b'{"code":"NO_STATEMENT_EXIST","message":""}'))
    assert (await asked.bill(day)).nothing


async def test_a_bill_named_in_an_answer_with_a_new_key_is_fetched() -> None:
    content = b"anything; its hash vouches for it"
    meta = {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(content).hexdigest(),
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=x",
    }

    def reply(request: Request) -> Response:
        if "billdownload" in request.url:
            return Response(200, {}, content)
        return NEW.signed(200, BOTH_KEYS if request.url.endswith("/certificates") else meta)

    asked, rail, _ = client(reply)
    assert (await asked.bill(date(2026, 11, 23))).content == content
    assert [request.for_file for request in rail.sent] == ["bill" in request.url for request in rail.sent]
    assert rail.sent[-1].headers["Authorization"], "the file's address wants a signed request too"


async def test_a_code_to_show_comes_through() -> None:
    asked, _, _ = client(lambda _: OLD.signed(200, {"code_url": "weixin://wxpay/bizpayurl?pr=1"}))
    assert await asked.pay(replace(order(), reference="1-abc")) == Pending(
        {"type": "qr", "code": "weixin://wxpay/bizpayurl?pr=1"}
    )
