"""Ways to pay: what each needs, what an attempt keeps of it, and that the same order can be sent again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from channels.contract import Method, Order, Outcome, Pending, Refused
from gateway.accounts.terms import Terms
from gateway.api.methods import MethodIn
from gateway.payments.orders import KEPT
from kernel.db import acquire
from tests.gateway.front import CODE, NEVER_ARRIVED, QR, SILENCE, Front, a_front

METHOD: TypeAdapter[Any] = TypeAdapter(MethodIn)
RETURN_URL = "https://shop.example/thanks?order=1"
GOOD: list[dict[str, str]] = [
    {"type": "qr"},
    {"type": "barcode", "auth_code": CODE},
    {"type": "jsapi", "payer": "payer-1", "channel": "scripted"},
    {"type": "h5", "client_ip": "203.0.113.7", "return_url": RETURN_URL},
    {"type": "h5", "client_ip": "2001:db8::1"},
    {"type": "app", "channel": "scripted"},
    {"type": "page", "return_url": RETURN_URL},
    {"type": "page"},
    {"type": "card", "token": "tok_visa-1", "return_url": RETURN_URL},
    {"type": "transfer"},
    {"type": "cashier", "return_url": RETURN_URL},
    {"type": "qr", "payer_region": "DE"},
]


@pytest.mark.parametrize("method", GOOD, ids=lambda method: "-".join(method))
def test_each_way_to_pay_takes_what_belongs_to_it(method: dict[str, str]) -> None:
    read = METHOD.validate_python(method)
    kept = orjson.loads(read.details() or "{}")
    assert kept == {name: value for name, value in method.items() if name in KEPT}
    assert CODE not in (read.details() or "")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"type": "barcode"}, "auth_code\n  Field required"),
    ({"type": "jsapi"}, "payer\n  Field required"),
    ({"type": "h5"}, "client_ip\n  Field required"),
    ({"type": "card"}, "token\n  Field required"),
    ({"type": "qr", "auth_code": CODE}, "auth_code\n  Extra inputs are not permitted"),
    ({"type": "qr", "payer": "me"}, "payer\n  Extra inputs are not permitted"),
    ({"type": "app", "return_url": RETURN_URL}, "return_url\n  Extra inputs are not permitted"),
    ({"type": "page", "token": "t"}, "token\n  Extra inputs are not permitted"),
    ({"type": "page", "client_ip": "10.0.0.1"}, "client_ip\n  Extra inputs are not permitted"),
    ({"type": "cashier", "payer": "me"}, "payer\n  Extra inputs are not permitted"),
    ({"type": "transfer", "token": "t"}, "token\n  Extra inputs are not permitted"),
    ({"type": "h5", "client_ip": "203.0.113.256"}, "no IPv4 or IPv6 address"),
    ({"type": "h5", "client_ip": "shop.example"}, "no IPv4 or IPv6 address"),
    ({"type": "jsapi", "payer": "two words"}, "visible ASCII"),
    ({"type": "jsapi", "payer": ""}, "visible ASCII"),
    ({"type": "jsapi", "payer": "o" * 129}, "visible ASCII"),
    ({"type": "card", "token": "4111 1111"}, "send the token"),
    ({"type": "page", "return_url": "javascript:alert(1)"}, "https://"),
    ({"type": "page", "return_url": "https://user:word@shop.example/"}, "without a user"),
    ({"type": "page", "return_url": "https://shop.example\\@evil.example/"}, "neither spaces"),
    ({"type": "page", "return_url": "https://shop.example:port/"}, "cannot be read"),
    ({"type": "page", "return_url": "https://[::1/"}, "cannot be read"),
    ({"type": "page", "return_url": "https:///thanks"}, "names no host"),
    ({"type": "page", "return_url": "https://shop.example/a b"}, "as %XX"),
    ({"type": "page", "return_url": "https://shop.example/" + "a" * 500}, "at most 512"),
    ({"type": "qr", "payer_region": "Germany"}, "two capital letters"),
    ({"type": "bitcoin"}, "expected tags"),
    ({"channel": "wechat"}, "discriminator 'type'"),
    ({"type": "barcode", "auth_code": "9" * 18}, "the till has scanned"),
]


@pytest.mark.parametrize(("method", "why"), BAD)
def test_what_does_not_belong_together_is_refused(method: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        METHOD.validate_python(method)
    assert why in str(refusal.value)


async def paying(front: Front, method: dict[str, str], **says: Outcome) -> tuple[str, Order]:
    """Ask for a payment; return its id and the order the rail was sent."""
    front.rail.says(**says)
    payment = (await front.pay(method=method)).body
    return payment["id"], front.asked("pay")[-1]


@pytest.mark.parametrize(
    "method", [m for m in GOOD if m["type"] not in ("transfer", "cashier", "barcode")], ids=lambda m: "-".join(m)
)
async def test_an_order_whose_answer_was_lost_is_sent_again_to_the_letter(
    database_url: str, tmp_path: Path, method: dict[str, str]
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, first = await paying(front, method, pay=SILENCE, query=NEVER_ARRIVED)
        assert first.method == Method(method["type"])
        # where the payer of a page comes back to, if the merchant names nothing
        ours = front.hub.payments.page_url(front.book, payment_id)
        back = method.get("return_url", ours if method["type"] in ("page", "card") else None)
        assert first.return_url == back
        for name in ("payer", "token", "client_ip"):
            assert getattr(first, name) == method.get(name)
        front.rail.works("pay")
        assert await front.later(5) == 1
        assert front.asked("pay")[-1] == first
        assert (await front.payment(payment_id))["attempts"][0]["method"] == method["type"]


async def test_a_payers_code_is_in_no_table(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.scan()
        front.rail.says(pay=SILENCE, query=SILENCE)
        await front.scan("order-2")
        async with acquire(front.hub.pool) as connection:
            tables = await connection.fetch("SELECT table_name AS t FROM information_schema.tables "
                                            "WHERE table_schema = 'public'")  # fmt: skip
            for table in tables:
                rows = await connection.fetch(f"SELECT x::text AS row FROM {table['t']} x")
                assert not any(CODE in row["row"] for row in rows), table["t"]
        front.rail.works("query")
        await front.later(30)


async def test_where_the_payer_is_may_decide_which_account_takes_it(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.hub.channel_admin.change(front.book, "rail", terms=Terms.parse('{"regions":["CN"]}'))
        front.clock.forward(2)
        refused = await front.pay(method={"type": "qr", "payer_region": "DE"})
        assert (refused.status, refused.code) == (422, "no_channel")
        assert (await front.pay("order-2", method={"type": "qr", "payer_region": "CN"})).status == 201


# ---- what begins in the payer's own browser --------------------------------------------------------------------------


async def test_an_order_the_rail_hears_of_when_the_payer_comes_is_shown_once_and_waited_for(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, payer_initiated=frozenset({Method.PAGE}))
        shown = []

        def payer_initiated_action(order: Order, *, now: Any, nonce: str) -> Pending:
            shown.append(order.reference)
            return Pending({"type": "redirect", "url": f"https://rail.example/{nonce}"})

        rail.payer_initiated_action = payer_initiated_action  # type: ignore[method-assign]
        front.rail.says(query=NEVER_ARRIVED)
        payment = (await front.pay(method={"type": "page"})).body
        assert payment["status"] == "requires_action"
        for _ in range(3):
            assert await front.later(60) == 1
        assert (await front.payment(payment["id"]))["next_action"] == payment["next_action"]
        assert len(shown) == 1, "the payer keeps the page that is open"
        assert await front.events("payment.requires_action") == ["payment.requires_action"]
        front.rail.says(close=NEVER_ARRIVED)
        await front.later(7_200 - 180)
        waiting = (await front.payment(payment["id"]))["status"]
        assert waiting == "requires_action", "what the payer began in the last second may be on its way"
        await front.later(299)
        assert (await front.payment(payment["id"]))["status"] == waiting
        await front.later(1_800)
        assert (await front.payment(payment["id"]))["status"] == "expired"


async def test_a_code_the_rail_knows_only_once_it_is_scanned_is_shown_once_and_waited_for(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, known_after_payer=frozenset({Method.QR}))
        sent_again = Refused("SENT_AGAIN", "it was answered with a code, so it had arrived")
        front.rail.says(pay=[Pending(QR), sent_again], query=NEVER_ARRIVED, close=NEVER_ARRIVED)
        payment = (await front.pay()).body
        for _ in range(3):
            assert await front.later(60) == 1
        assert (await front.payment(payment["id"]))["status"] == "requires_action", "it is not sent again"
        await front.later(7_200 - 180)
        assert (await front.payment(payment["id"]))["status"] == "requires_action", "it may have been scanned just now"
        await front.later(1_800)
        assert (await front.payment(payment["id"]))["status"] == "expired"


async def test_a_page_the_payer_brings_after_all_is_paid_though_the_rail_did_not_know_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        rail = front.shop.channel
        rail.capabilities = replace(rail.capabilities, expires_only=True)
        front.rail.says(pay=Pending(QR), query=NEVER_ARRIVED, close=NEVER_ARRIVED)
        payment = (await front.pay()).body
        await front.later(7_200)
        assert (await front.payment(payment["id"]))["status"] == "requires_action"
        front.rail.works("query")
        await front.later(1_800)
        assert (await front.payment(payment["id"]))["status"] == "succeeded"


async def test_a_card_that_was_accepted_is_not_sent_again_for_want_of_something_to_show(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        await paying(front, {"type": "card", "token": "tok_1"}, pay=Pending(), query=Pending())
        for _ in range(3):
            await front.later(60)
        assert len(front.asked("pay")) == 1
