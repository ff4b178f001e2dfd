"""Where a payer's browser comes back to: a page of ours that shows how it went, unless the merchant names another."""

from pathlib import Path

import pytest

from channels.contract import Pending
from gateway.payments.attempts import NewAttempt
from tests.gateway.front import SILENCE, Front, a_front

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
