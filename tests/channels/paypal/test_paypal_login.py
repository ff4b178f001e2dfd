"""A rail whose calls need a session: PayPal's adapter, the client around it, a scripted PayPal on the other side."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from channels import BadNotice, ChannelClient, Pending, Refused, Unknown, paypal
from channels.client import KEY_REFRESH_S, MOST_KEY_ADDRESSES
from kernel.env import Env, NoAnswer, NotSent, Request, Response
from tests.channels.paypal.paypal_rail import (
    BASE_URL,
    CERT_URL,
    KEYS,
    NEW_CERT_URL,
    NOW,
    ORDER_ID,
    TOKEN,
    Sender,
    answer,
    capture,
    error,
    order,
    session,
    settings,
    shown,
)
from tests.channels.test_client import ScriptedRail
from tests.channels.test_client import client as wechat_client

LOGIN = f"{BASE_URL}/v1/oauth2/token"
Reply = Callable[[Request], Response | Exception | Awaitable[Response]]


def client(reply: Reply) -> tuple[ChannelClient, ScriptedRail, Env]:
    _, rail, env = wechat_client(reply)
    return ChannelClient(paypal.build(settings()), env), rail, env


def logins(rail: ScriptedRail) -> int:
    return sum(request.url == LOGIN for request in rail.sent)


def working(request: Request) -> Response:
    return session() if request.url == LOGIN else answer(201, shown())


async def test_the_first_call_logs_in_and_the_next_ones_do_not() -> None:
    asked, rail, _ = client(working)
    for _ in range(3):
        assert isinstance(await asked.pay(order()), Pending)
    assert logins(rail) == 1
    assert rail.sent[0].headers["Authorization"].startswith("Basic ")
    assert {request.headers["Authorization"] for request in rail.sent[1:]} == {f"Bearer {TOKEN}"}


async def test_calls_that_begin_together_share_one_login() -> None:
    gate = asyncio.Event()

    async def when_told() -> Response:
        await gate.wait()
        return session()

    asked, rail, _ = client(lambda request: when_told() if request.url == LOGIN else working(request))
    calls = [asyncio.create_task(asked.pay(order())) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    assert all(isinstance(outcome, Pending) for outcome in await asyncio.gather(*calls))
    assert logins(rail) == 1


async def test_a_login_that_fails_fails_for_all_who_waited_for_it_and_nothing_of_theirs_is_sent() -> None:
    gate = asyncio.Event()

    async def silence() -> Response:
        await gate.wait()
        raise NoAnswer("reset")

    asked, rail, _ = client(lambda request: silence())
    calls = [asyncio.create_task(asked.pay(order())) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    outcomes = await asyncio.gather(*calls)
    assert all(isinstance(outcome, Unknown) and outcome.not_sent for outcome in outcomes)
    assert [request.url for request in rail.sent] == [LOGIN]


@pytest.mark.parametrize(
    "refusal",
    [
        NotSent("refused"),
        NoAnswer("reset"),
        answer(401, {"error": "invalid_client", "error_description": "Client Authentication failed"}),
        answer(503, b"<html>"),
        answer(200, b"{}"),
        session(token_type="MAC"),
        session(expires_in=0),
        session(expires_in="32400"),
        session(access_token="two words"),
        session(access_token="two\r\nlines"),
    ],
    ids=["not sent", "silence", "refused", "down", "empty", "no bearer", "over already", "text", "space", "line break"],
)
async def test_without_a_session_what_was_to_be_sent_provably_was_not(refusal: Response | Exception) -> None:
    asked, rail, _ = client(lambda _: refusal)
    outcome = await asked.pay(order())
    assert isinstance(outcome, Unknown)
    assert outcome.not_sent
    assert [request.url for request in rail.sent] == [LOGIN]


async def test_a_login_is_tried_again_by_the_next_call() -> None:
    replies: list[Response | Exception] = [NoAnswer("reset"), session()]
    asked, rail, _ = client(lambda request: replies.pop(0) if request.url == LOGIN else working(request))
    assert isinstance(await asked.pay(order()), Unknown)
    assert isinstance(await asked.pay(order()), Pending)
    assert logins(rail) == 2


async def test_a_session_is_renewed_before_it_ends() -> None:
    asked, rail, env = client(working)
    await asked.pay(order())
    env.clock.passed_s = 32400 - 301  # type: ignore[attr-defined]
    await asked.pay(order())
    assert logins(rail) == 1
    env.clock.passed_s = 32400 - 300  # type: ignore[attr-defined]
    await asked.pay(order())
    assert logins(rail) == 2


def test_a_short_session_is_renewed_at_half_its_life_rather_than_at_every_call() -> None:
    channel = paypal.build(settings())
    channel.login(session(expires_in=60), now=NOW)
    assert channel.login_request(now=NOW + timedelta(seconds=29)) is None
    assert channel.login_request(now=NOW + timedelta(seconds=30)) is not None


async def test_a_session_that_paypal_has_ended_is_opened_again_once_and_the_call_repeated() -> None:
    known = {"second"}

    def reply(request: Request) -> Response:
        if request.url == LOGIN:
            return session(access_token="first" if logins(rail) == 1 else "second")
        fresh = request.headers["Authorization"].removeprefix("Bearer ") in known
        return answer(200, shown()) if fresh else answer(401, {"error": "invalid_token"})

    asked, rail, _ = client(reply)
    assert isinstance(await asked.query(order(channel_ref=f"order:{ORDER_ID}")), Pending)
    assert [request.url == LOGIN for request in rail.sent] == [True, False, True, False]


async def test_a_session_that_paypal_never_takes_is_not_opened_for_ever() -> None:
    asked, rail, _ = client(lambda request: session() if request.url == LOGIN else error(401, "AUTHENTICATION_FAILURE"))
    outcome = await asked.pay(order())
    assert isinstance(outcome, Refused)
    assert outcome.retriable, "PayPal looked at no order: another channel may take it"
    assert len(rail.sent) == 4


async def test_answers_about_an_old_session_that_come_late_do_not_end_the_new_one() -> None:
    """Five calls went out in a session that has ended; the first refusal opens a new one for all of them."""
    gates = [asyncio.Event() for _ in range(5)]
    waiting, all_sent = iter(gates), asyncio.Event()

    async def refused_when_told(gate: asyncio.Event) -> Response:
        await gate.wait()
        return answer(401, {"error": "invalid_token"})

    def reply(request: Request) -> Response | Awaitable[Response]:
        if request.url == LOGIN:
            return session(access_token=f"token-{logins(rail)}")
        if request.headers["Authorization"] == "Bearer token-1":
            if len(rail.sent) == 1 + len(gates):
                all_sent.set()
            return refused_when_told(next(waiting))
        return answer(201, shown())

    asked, rail, _ = client(reply)
    calls = [asyncio.create_task(asked.pay(order())) for _ in gates]
    await all_sent.wait()
    for gate, call in zip(gates, calls, strict=True):
        gate.set()
        assert isinstance(await call, Pending)
    assert logins(rail) == 2


async def test_a_caller_that_gives_up_does_not_end_the_login_for_the_others() -> None:
    gate = asyncio.Event()

    async def when_told() -> Response:
        await gate.wait()
        return session()

    asked, rail, _ = client(lambda request: when_told() if request.url == LOGIN else working(request))
    impatient, patient = (asyncio.create_task(asked.pay(order())) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert isinstance(await patient, Pending)
    assert logins(rail) == 1


def test_the_token_is_shown_to_no_host_but_the_one_we_call() -> None:
    channel = paypal.build(settings())
    channel.login(session(), now=NOW)
    for url in ("https://api.paypal.com/v1/notifications/certs/CERT-1", "https://api-m.paypal.com.example/v2/x"):
        request = Request("GET", url)
        assert channel.sign(request, now=NOW, nonce="n") == request
        assert not channel.login_over(request, Response(401, {}, b"{}")), "another host ends no session of ours"


def test_what_is_wrong_with_a_login_is_said_without_the_secret() -> None:
    with pytest.raises(BadNotice) as refused:
        paypal.build(settings()).login(answer(401, {"error": "invalid_client"}), now=NOW)
    assert refused.value.code == "login_refused"
    assert "invalid_client" in refused.value.message
    assert settings()["client_secret"] not in refused.value.message


# ---- keys that have an address each ----------------------------------------------------------------------------------


def certificates(request: Request) -> Response:
    """PayPal, whose certificates can all be had."""
    if request.url == LOGIN:
        return session()
    return Response(200, {}, (KEYS / "notices_new_chain.pem").read_bytes())


def named(url: str) -> Response:
    return Sender("notices_new", url).notice("PAYMENT.CAPTURE.COMPLETED", capture())


async def test_two_certificates_that_begin_to_be_used_together_are_both_fetched() -> None:
    asked, rail, _ = client(certificates)
    for url in (CERT_URL, NEW_CERT_URL):
        assert url in await asked.refresh_keys(named(url))
    assert await asked.refresh_keys(named(CERT_URL)) == (), "not once more within the minute"
    assert [request.url for request in rail.sent if request.url != LOGIN] == [CERT_URL, NEW_CERT_URL]


async def test_invented_addresses_make_us_fetch_a_few_certificates_a_minute_at_most() -> None:
    asked, rail, env = client(certificates)
    for number in range(20):
        await asked.refresh_keys(named(f"https://api.paypal.com/certs/{number}"))
    assert sum(request.url != LOGIN for request in rail.sent) == MOST_KEY_ADDRESSES
    env.clock.passed_s = KEY_REFRESH_S  # type: ignore[attr-defined]
    assert CERT_URL in await asked.refresh_keys(named(CERT_URL))
