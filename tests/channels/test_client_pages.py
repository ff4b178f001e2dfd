"""Bills that come in pages: joined as they came, all of them or none."""

from collections.abc import Callable
from datetime import date, datetime

import pytest

import channels.client
from channels import BillFile, ChannelClient
from kernel.env import NoAnswer, NotSent, Request, Response
from tests.channels.test_client import ScriptedRail, client

DAY = date(2026, 11, 23)


class Paged:
    """A rail whose bill is the text of its answers; `>` at the end of one says that there is another page."""

    name = "paged"

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        return request

    def verified_by(self, message: Response, *, now: datetime) -> str:
        return "nobody"

    def bill_request(self, day: date) -> Request:
        return Request("GET", f"https://rail.example/bill?day={day}&page=1")

    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        if answer.status != 200:
            return BillFile(ready=False, reason=f"HTTP {answer.status}", nothing=answer.status == 404)
        before, _, page = asked.url.partition("&page=")
        more = Request("GET", f"{before}&page={int(page) + 1}") if answer.body.endswith(b">") else None
        return BillFile(ready=True, content=answer.body, more=more)


def paged(reply: Callable[[Request], Response | Exception]) -> tuple[ChannelClient, ScriptedRail]:
    _, rail, env = client(reply)
    return ChannelClient(Paged(), env), rail  # type: ignore[arg-type]  # only what a bill takes


def page_of(request: Request) -> int:
    return int(request.url.partition("&page=")[2])


async def test_pages_are_joined_in_the_order_they_come_and_each_is_asked_for_once() -> None:
    texts = {1: b"one>", 2: b"two>", 3: b"three"}
    asked, rail = paged(lambda request: Response(200, {}, texts[page_of(request)]))
    assert (await asked.bill(DAY)).content == b"one>two>three"
    assert [page_of(request) for request in rail.sent] == [1, 2, 3]
    assert all(f"day={DAY}" in request.url for request in rail.sent), "each page is read knowing what was asked"


async def test_a_bill_of_one_empty_page_is_a_bill_and_not_the_absence_of_one() -> None:
    asked, _ = paged(lambda _: Response(200, {}, b""))
    bill = await asked.bill(DAY)
    assert (bill.content, bill.nothing) == (b"", False)


@pytest.mark.parametrize(
    "second",
    [NoAnswer("reset"), NotSent("refused"), Response(500, {}, b""), Response(404, {}, b"")],
    ids=["silence", "not sent", "error", "not there"],
)
async def test_a_page_that_cannot_be_had_leaves_no_bill_at_all(second: Response | Exception) -> None:
    asked, _ = paged(lambda request: Response(200, {}, b"one>") if page_of(request) == 1 else second)
    bill = await asked.bill(DAY)
    assert bill.content is None
    assert not bill.nothing, "there was business that day: a page of it was seen"
    assert bill.reason


async def test_a_rail_that_never_says_last_page_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels.client, "MAX_BILL_PAGES", 5)
    asked, rail = paged(lambda _: Response(200, {}, b"again>"))
    bill = await asked.bill(DAY)
    assert (bill.content, bill.nothing) == (None, False)
    assert "5 pages" in bill.reason
    assert len(rail.sent) == 6
