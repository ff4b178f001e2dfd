"""Where a payer's browser comes back to: a page of ours that shows how it went, unless the merchant names another."""

import asyncio
from html import escape, unescape
from pathlib import Path
from typing import Any, cast

import pytest

from channels.contract import Pending
from gateway.cashier import returns
from gateway.cashier.returns import EVERY, PATIENCE
from gateway.payments.attempts import NewAttempt
from gateway.tables import Attempt
from kernel.env import system_env
from tests.gateway.front import SILENCE, Front, HandClock, a_front

CARD = {"type": "card", "token": "pm_1"}
ASKED_TO_CONFIRM = Pending({"type": "redirect", "url": "https://bank.example/3ds"})


async def look(front: Front, url: str) -> str:
    async with front.client.get("/" + url.split("/", 3)[3], headers={"Accept-Language": "en"}) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_a_card_that_must_be_confirmed_comes_back_to_a_page_of_ours(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=ASKED_TO_CONFIRM, query=Pending())
        payment_id = (await front.pay(method=CARD)).body["id"]
        back = front.asked("pay")[0].return_url
        assert back == front.hub.payments.page_url(front.book, payment_id)
        text = await look(front, back)
        assert "do not pay twice" in text
        assert "<form" not in text, "there is nothing to choose"
        await front.notice((await front.attempt(payment_id)).reference, 10_000)
        assert '<h1 class="middle">Paid</h1>' in await look(front, back)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ("Paid at", "2100-06-01 16:30, Beijing time (UTC+8)")),
        ("zh", ("付款时间", "北京时间 2100-06-01 16:30")),
    ],
)
async def test_a_receipt_names_the_clock_by_which_it_tells_the_time(
    database_url: str, tmp_path: Path, language: str, said: tuple[str, str]
) -> None:
    async with a_front(database_url, tmp_path) as front:
        page = front.hub.payments.page_url(front.book, await front.paid())
        text = await look(front, f"{page}?lang={language}")
    label, time = said
    at = f'<time datetime="2100-06-01T08:30:00.000Z">{time}</time>'
    assert f"<dt>{label}</dt><dd>{at}</dd>" in text


async def test_the_merchants_own_page_comes_first(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=ASKED_TO_CONFIRM)
        await front.pay(method={**CARD, "return_url": "https://shop.example/thanks"})
        await front.pay("order-2", method={"type": "page", "return_url": "https://shop.example/thanks"})
        assert [order.return_url for order in front.asked("pay")] == ["https://shop.example/thanks"] * 2


async def test_a_payer_of_a_rails_page_comes_back_to_ours_where_the_merchant_names_none(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=ASKED_TO_CONFIRM)
        payment_id = (await front.pay(method={"type": "page"})).body["id"]
        (asked,) = front.asked("pay")
        assert asked.return_url == front.hub.payments.page_url(front.book, payment_id)
        assert "do not pay twice" in await look(front, asked.return_url)


@pytest.mark.parametrize(("method", "ours"), [("page", True), ("h5", True), ("qr", False)])
async def test_what_a_cashiers_payer_chooses_comes_back_to_the_cashier(
    database_url: str, tmp_path: Path, method: str, ours: bool
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=SILENCE)
        payment_id = (await front.pay(method={"type": "cashier"})).body["id"]
        await front.hub.payments.attempt(front.book, payment_id, NewAttempt(method))
        page = front.hub.payments.page_url(front.book, payment_id)
        assert front.asked("pay")[0].return_url == (page if ours else None)


async def test_a_payment_that_was_paid_too_late_says_that_it_goes_back(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=ASKED_TO_CONFIRM)
        payment_id = (await front.pay(method=CARD)).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close")
        await front.notice((await front.attempt(payment_id)).reference, 10_000)
        assert "Your money is on its way back" in await look(front, front.asked("pay")[0].return_url)


async def test_a_page_is_kept_by_nobody_and_tells_its_address_to_nobody(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        url = (await front.pay(method={"type": "cashier"})).body["next_action"]["url"]
        path = "/" + url.split("/", 3)[3]
        for place in (path, f"{path}/page.svg", f"{path}/state?seen=x", "/pay/nothing"):
            async with front.client.get(place) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
            assert told["cache-control"] == "no-store", place
            assert told["referrer-policy"] == "no-referrer"
            assert told["x-content-type-options"] == "nosniff"
        async with front.client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
        assert policy == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )


async def test_a_payer_who_cannot_pay_is_told_so_and_nothing_is_begun(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = (await front.pay(method={"type": "cashier"})).body
        path = "/" + payment["next_action"]["url"].split("/", 3)[3]
        for way, note in (("scripted.transfer", "unavailable"), ("nobody.qr", "unavailable")):
            async with front.client.post(path, data={"way": way}, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"].partition("note=")[2]) == (303, note)
        for wrong in ("scripted.barcode", "scripted.card", "scripted", ".qr"):
            async with front.client.post(path, data={"way": wrong}, allow_redirects=False) as answer:
                assert answer.status == 400, wrong
        assert (await front.payment(payment["id"]))["attempt_count"] == 0


LEAVES = Pending({"type": "redirect", "url": "https://rail.example/pay"})


async def at_the_rail(front: Front) -> tuple[str, str]:
    """Have a payer leave for a rail's page; return (payment_id, where the rail sends the payer back to)."""
    front.rail.says(pay=LEAVES, query=Pending())
    payment_id = (await front.pay(method={"type": "cashier"})).body["id"]
    page = front.hub.payments.page_url(front.book, payment_id)
    path = "/" + page.split("/", 3)[3]
    async with front.client.post(path, data={"way": "scripted.page"}, allow_redirects=False) as answer:
        assert answer.status == 303
    return payment_id, f"{page}?lang=en&back="


def next_look(text: str) -> str:
    """Return where a page that waits for its rail's answer looks next."""
    return "http://hub" + unescape(text.partition('data-again="')[2].partition('"')[0])


async def test_whoever_cancels_at_the_rail_and_then_pays_there_is_told_so_on_coming_back(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, back = await at_the_rail(front)
        assert "Pay ¥100.00" in await look(front, back), "the payer canceled, and may pay again"
        front.clock.forward(5)
        front.rail.works("query")  # paid there, and no notice came
        assert '<h1 class="middle">Paid</h1>' in await look(front, back)


async def test_a_payer_who_comes_back_is_shown_no_way_to_pay_until_the_rail_has_answered(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, back = await at_the_rail(front)
        gate = front.gate()
        text = await look(front, back)
        for shown in (text, await look(front, next_look(text)), await look(front, back.replace("back=", "choose=1"))):
            assert "Checking your payment" in shown
            assert "Pay ¥100.00" not in shown
            assert "<form" not in shown, "no choices either"
            assert f'content="2;url={escape(next_look(shown).removeprefix("http://hub"))}"' in shown, "without scripts"
        assert len(front.asked("query")) == 1, "all of them wait for one question"
        assert "Pay ¥100.00" in await look(front, back.removesuffix("&back=")), (
            "who did not come back, waits for nothing"
        )
        front.rail.works("query")
        gate.open.set()
        assert '<h1 class="middle">Paid</h1>' in await look(front, next_look(text))
        assert (await front.payment(payment_id))["status"] == "succeeded"


async def test_coming_back_again_and_again_asks_the_rail_once_each_few_seconds(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, back = await at_the_rail(front)
        began = front.clock.now()
        for _ in range(20):
            await look(front, back)
        # The clock moves where the hub sleeps, so each question more has cost three seconds of it.
        assert len(front.asked("query")) - 1 <= (front.clock.now() - began) / EVERY
        asked = len(front.asked("query"))
        await look(front, back.replace("back=", "choose=1"))
        assert len(front.asked("query")) == asked, "the choices after a return cost no question"


async def test_a_rail_that_says_nothing_is_waited_for_half_a_minute_and_then_said_to_say_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, back = await at_the_rail(front)
        front.rail.says(query=SILENCE)
        front.hub.env.sleep = asyncio.sleep  # the clock moves by hand alone
        text = await look(front, back)
        assert "Checking your payment" in text
        front.clock.forward(PATIENCE.total_seconds() + 1)
        text = await look(front, next_look(text))
        assert "We do not know yet whether your last try was paid" in text
        assert "data-again" not in text


async def test_what_a_page_says_of_since_when_it_waits_is_no_way_around_the_question(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, back = await at_the_rail(front)
        front.rail.works("query")
        for asked in ("99999999999999", "-1", "x", "", "9" * 40, "²"):
            assert '<h1 class="middle">Paid</h1>' in await look(front, f"{back}&asked={asked}")


async def test_an_attempt_that_the_payer_left_is_asked_about_too(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        payment_id, back = await at_the_rail(front)
        front.others["second"].says(pay=LEAVES, query=Pending())
        front.rail.says(close=SILENCE, reverse=SILENCE)
        await front.hub.payments.attempt(front.book, payment_id, NewAttempt("page"), channel="other")
        assert [one["status"] for one in (await front.payment(payment_id))["attempts"]] == ["pending", "pending"]
        front.rail.works("query")  # paid where the payer no longer is
        assert '<h1 class="middle">Paid</h1>' in await look(front, back)


async def test_the_memory_of_returns_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returns, "MOST", 3)
    env = system_env()
    clock = HandClock()
    env.clock = clock
    asked = []

    class Payments:
        async def learn(self, attempt: Attempt) -> bool:
            asked.append(attempt.number)
            return True

    memory = returns.Returns(cast(Any, Payments()), env)

    def attempt(number: int) -> Attempt:
        now = clock.now()
        return Attempt(1, "p", number, "a", "x", 0, "page", None, None, "pending", now, now, None)

    for number in range(1, 10):
        known = await memory.known([attempt(number)], clock.now())
        assert known is (number <= 3), "so much is asked just now that nothing more is begun"
    assert asked == [1, 2, 3]
    clock.forward(EVERY.total_seconds())
    assert await memory.known([attempt(9)], clock.now())
