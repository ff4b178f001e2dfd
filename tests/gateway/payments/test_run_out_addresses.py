"""What a rail shows may end before its order does: then it is shown to nobody, and asked for once more."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Pending, Refused
from kernel.clock import rfc3339
from tests.gateway.cashier.browsers import PHONE
from tests.gateway.front import SILENCE, Front, a_front

H5 = {"type": "h5", "client_ip": "203.0.113.7"}
LASTING_S = 285


def leads_to(front: Front, url: str) -> Pending:
    """What the rail says of an address that is made now."""
    until = front.clock.now() + timedelta(seconds=LASTING_S)
    return Pending({"type": "redirect", "url": url}, usable_until=until)


async def begun(front: Front) -> Any:
    """Return a payment by h5, made with the key k, that shows its first address."""
    front.rail.says(pay=leads_to(front, "https://rail.example/1"), query=Pending())
    return (await front.pay(key="k", method=H5)).body


async def test_the_api_says_until_when_what_it_shows_can_be_used(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await begun(front)
        assert payment["next_action"] == {
            "type": "redirect",
            "url": "https://rail.example/1",
            "channel": "scripted",
            "expires_at": rfc3339(front.clock.now() + timedelta(seconds=LASTING_S)),
        }
        assert payment["next_action"]["expires_at"] < payment["expires_at"]
        front.rail.says(pay=Pending({"type": "qr", "code": "x"}))
        assert "expires_at" not in (await front.pay("order-2")).body["next_action"]


async def test_the_same_request_again_gets_a_fresh_address_for_the_same_order(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await begun(front)
        front.clock.forward(LASTING_S - 1)
        front.rail.says(pay=leads_to(front, "https://rail.example/2"))
        assert (await front.pay(key="k", method=H5)).body == payment, "the first is still good"
        front.clock.forward(1)
        again = await front.pay(key="k", method=H5)
        assert (again.status, again.body["id"]) == (200, payment["id"])
        assert again.body["next_action"]["url"] == "https://rail.example/2"
        assert (await front.payment(payment["id"]))["next_action"] == again.body["next_action"]
        first, second = front.asked("pay")
        assert first == second, "the very order, under the very number"
        assert again.body["attempt_count"] == 1


@pytest.mark.parametrize(
    "said", [SILENCE, Refused("PARAM_ERROR"), Refused("RULE_LIMIT", retriable=True)], ids=lambda said: str(said)[:20]
)
async def test_a_rail_that_gives_no_fresh_address_ends_nothing_and_is_asked_again(
    database_url: str, tmp_path: Path, said: Any
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await begun(front)
        front.clock.forward(LASTING_S)
        front.rail.says(pay=said)
        again = await front.pay(key="k", method=H5)
        assert (again.body["status"], again.body["attempt_count"]) == ("requires_action", 1)
        front.rail.says(pay=leads_to(front, "https://rail.example/2"))
        again = await front.pay(key="k", method=H5)
        assert again.body["next_action"]["url"] == "https://rail.example/2"
        assert len({order.reference for order in front.asked("pay")}) == 1
        await front.notice((await front.attempt(payment["id"])).reference, 10_000)
        assert (await front.payment(payment["id"]))["status"] == "succeeded"


async def test_an_order_that_was_paid_or_has_run_out_itself_is_not_sent_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment = await begun(front)
        front.clock.forward(LASTING_S)
        await front.notice((await front.attempt(payment["id"])).reference, 10_000)
        assert (await front.pay(key="k", method=H5)).body["status"] == "succeeded"
        front.rail.says(pay=leads_to(front, "https://rail.example/2"))
        other = (await front.pay("order-2", key="k2", method=H5, expires_in=300)).body
        front.clock.forward(300)
        assert (await front.pay("order-2", key="k2", method=H5, expires_in=300)).body["id"] == other["id"]
        assert len(front.asked("pay")) == 2


# ---- at the cashier --------------------------------------------------------------------------------------------------


class Visitor:
    """A payer's browser at a cashier's payment, without a script."""

    def __init__(self, front: Front, payment: Any) -> None:
        self.front, self.payment = front, payment
        self.path = "/" + payment["next_action"]["url"].split("/", 3)[3]

    async def look(self, **query: str) -> str:
        headers = {"Accept-Language": "en", "User-Agent": PHONE}
        async with self.front.client.get(self.path, params=query, headers=headers) as answer:
            assert answer.status == 200
            return (await answer.text()).partition("<main")[2].partition("</main>")[0]

    async def choose(self, way: str = "scripted.h5") -> str:
        """Choose a way to pay; return the note that the page then has."""
        headers = {"User-Agent": PHONE}
        async with self.front.client.post(
            self.path, data={"way": way}, headers=headers, allow_redirects=False
        ) as answer:
            assert answer.status == 303
            return answer.headers["Location"].partition("note=")[2]


async def left_for_the_rail(front: Front) -> Visitor:
    front.rail.says(pay=leads_to(front, "https://rail.example/1"), query=Pending())
    visitor = Visitor(front, (await front.pay(method={"type": "cashier"})).body)
    assert await visitor.choose() == ""
    return visitor


async def test_a_payer_who_comes_back_later_is_told_that_the_address_has_run_out_and_gets_another(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        visitor = await left_for_the_rail(front)
        front.clock.forward(LASTING_S - 1)
        assert 'href="https://rail.example/1"' in await visitor.look()
        front.clock.forward(1)
        text = await visitor.look()
        assert "rail.example" not in text
        assert "The link to pay has run out" in text
        assert 'value="scripted.h5"' in text, "which is offered again"
        front.rail.says(pay=leads_to(front, "https://rail.example/2"))
        assert await visitor.choose() == ""
        assert 'href="https://rail.example/2"' in await visitor.look()
        first, second = front.asked("pay")
        assert first == second, "the very order, under the very number"
        assert (await front.payment(visitor.payment["id"]))["attempt_count"] == 1


async def test_whoever_paid_behind_an_address_that_has_run_out_is_not_offered_to_pay_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        visitor = await left_for_the_rail(front)
        front.clock.forward(LASTING_S)
        front.rail.works("query")  # it says: paid
        text = await visitor.look()
        assert ">Paid<" in text
        assert "run out" not in text


async def test_while_the_rail_says_nothing_no_way_to_pay_is_shown(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        visitor = await left_for_the_rail(front)
        front.clock.forward(LASTING_S)
        front.gate()
        text = await visitor.look()
        assert "Checking your payment" in text
        assert "<form" not in text
        assert "choose=1" in text, "where it looks next"


async def test_a_rail_that_gives_no_fresh_address_leaves_the_payer_the_choice(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        visitor = await left_for_the_rail(front)
        front.clock.forward(LASTING_S)
        front.rail.says(pay=Refused("RULE_LIMIT", retriable=True))
        assert await visitor.choose() == ""
        text = await visitor.look()
        assert "The link to pay has run out" in text
        assert 'value="scripted.h5"' in text
        assert len({order.reference for order in front.asked("pay")}) == 1
        assert (await front.payment(visitor.payment["id"]))["attempt_count"] == 1


async def test_a_page_that_is_open_knows_how_long_its_address_lasts(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        visitor = await left_for_the_rail(front)
        front.clock.forward(84.5)
        assert 'data-lasts="201"' in await visitor.look()
        front.rail.says(pay=Pending({"type": "redirect", "url": "https://rail.example/2"}))
        visitor = Visitor(front, (await front.pay("order-2", method={"type": "cashier"})).body)
        await visitor.choose()
        assert "data-lasts" not in await visitor.look()
