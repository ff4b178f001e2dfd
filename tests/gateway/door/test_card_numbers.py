"""A card number sent to the hub is refused in a way to pay, kept nowhere, and shown in no answer and no log."""

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import TypeAdapter, ValidationError

from gateway.api.app import make_app
from gateway.api.methods import MethodIn
from kernel.cards import luhn
from kernel.db import acquire
from ops.logs import configure
from tests.gateway.front import Front, a_front, an_order

METHOD: TypeAdapter[Any] = TypeAdapter(MethodIn)
CARD = "4242424242424242"
WRITTEN = [
    CARD,
    "5555 5555 5555 4444",
    "3782-822463-10005",
    "４２４２４２４２４２４２４２４２",
    f"tok_{CARD}",
    "tok_4242-4242-4242-4242_x",
    "000000000000",
    f"{CARD}1229",
]
FIELDS: list[dict[str, Any]] = [
    {"type": "card", "token": "{card}"},
    {"type": "jsapi", "payer": "{card}", "channel": "scripted"},
    {"type": "barcode", "auth_code": "{card}"},
    {"type": "qr", "token": "{card}"},  # where it does not belong either
]


def filled(method: dict[str, Any], card: str) -> dict[str, Any]:
    return {name: value.replace("{card}", card) for name, value in method.items()}


async def tables_with(front: Front, *texts: str) -> list[str]:
    """Return which tables hold one of these texts in any column."""
    async with acquire(front.hub.pool) as connection:
        tables = await connection.fetch(
            "SELECT table_name AS t FROM information_schema.tables WHERE table_schema = 'public'"
        )
        found = []
        for table in tables:
            rows = await connection.fetch(f"SELECT x::text AS row FROM {table['t']} x")
            found += [table["t"] for row in rows if any(text in row["row"] for text in texts)]
    return found


async def test_a_card_number_in_a_way_to_pay_is_refused_before_anything_is_kept(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_front(database_url, tmp_path) as front:
        before = await front.counts()
        for method in FIELDS:
            for card in WRITTEN:
                answer = await front.pay(method=filled(method, card))
                assert (answer.status, answer.code) == (422, "card_number_refused"), (method, card)
                assert answer.body["param"] == next(f"method.{name}" for name in method if "{card}" in method[name])
                assert card not in orjson.dumps(answer.body).decode()
        assert (await front.pay(method={"type": "card", "token": int(CARD)})).code == "card_number_refused"
        assert await front.counts() == before
        assert front.asked_in_all() == []
        assert await tables_with(front, *(card for card in WRITTEN if card.strip("0"))) == []
    assert not [record for record in caplog.records if CARD in record.getMessage()]


async def test_in_free_text_and_numbers_it_is_taken_and_never_repeated_by_a_refusal(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        made = await front.pay(CARD, description=f"gift card {CARD}", metadata={CARD: CARD}, key=CARD)
        assert (made.status, made.body["merchant_order_id"]) == (201, CARD)
        refund = await front.refund(made.body["id"], 10, reason=CARD, merchant_refund_id=CARD)
        assert refund.status == 201
        asked = await front.get("/v1/balances", X_Request_Id=CARD)
        assert CARD not in asked.headers["X-Request-Id"]
        refused = [
            await front.pay("another", key=CARD),
            await front.pay(CARD, description="another"),
            await front.post("/v1/payments", an_order("third") | {CARD: 1}, key="third"),
            await front.pay("fourth", method={"type": CARD}),
            await front.pay("fifth", method={"type": "qr", "channel": CARD}),
            await front.pay("sixth", currency=CARD),
            await front.get(f"/v1/payments/{CARD}"),
            await front.get(f"/v1/{CARD}"),
            await front.get(f"/v1/payments?{CARD}=1"),
            await front.get(f"/v1/payments?status={CARD}"),
            await front.get("/v1/payments", Authorization=f"Bearer {CARD}"),
            await front.post("/v1/payments", f'{{"merchant_order_id":"{CARD}" {CARD}'.encode(), key="x"),
        ]
        for answer in refused:
            assert 400 <= answer.status < 500
            assert CARD not in orjson.dumps(answer.body).decode(), answer.body


async def test_an_access_log_shows_no_card_number(database_url: str, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    async with (
        a_front(database_url, tmp_path) as front,
        TestClient(TestServer(make_app(front.hub.api(lines.append)))) as client,
    ):
        door = Front(front.shop, client, front.rail)
        await door.send("GET", f"/v1/{CARD}?{CARD}={CARD}", X_Request_Id=CARD, User_Agent=CARD)
        await door.send("POST", "/v1/payments", {"merchant_order_id": CARD}, key=CARD)
    assert len(lines) == 2
    assert CARD not in orjson.dumps(lines).decode()


def codes(prefix: str, length: int) -> list[str]:
    """Return one code of this form with a right check digit and nine without."""
    body = prefix + "0123456789012345678901234"[: length - len(prefix) - 1]
    return [f"{body}{digit}" for digit in range(10)]


@pytest.mark.parametrize(
    "code",
    [
        code
        for prefixes, lengths in (
            (("10", "11", "12", "13", "14", "15"), (18,)),
            (("25", "26", "27", "28", "29", "30"), range(16, 25)),
            (("62",), (19,)),
        )
        for prefix in prefixes
        for length in lengths
        for code in codes(prefix, length)
        if luhn(code)
    ],
)
def test_a_wallets_code_is_taken_though_it_ends_in_a_check_digit(code: str) -> None:
    assert METHOD.validate_python({"type": "barcode", "auth_code": code}).auth_code == code


def test_an_alipay_users_number_is_taken_though_it_ends_in_a_check_digit() -> None:
    number = next(number for number in codes("2088", 16) if luhn(number))
    method = {"type": "jsapi", "payer": number, "channel": "alipay"}
    assert METHOD.validate_python(method).payer == number
    with pytest.raises(ValidationError, match="card number"):
        METHOD.validate_python(method | {"payer": f"x{number}"})


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_log_line_shows_a_card_number(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure("INFO", form)
        log = logging.getLogger("gateway.test")
        log.info("paid with %s", CARD, extra={"description": "card 4242 4242 4242 4242", "order": {"id": CARD}})
        try:
            raise ValueError(f"no such card: {CARD}")
        except ValueError:
            log.exception("a handler failed")
        root.handlers[0].flush()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    said = capfd.readouterr().err
    assert "paid with" in said
    assert "no such card" in said
    assert "4242424242" not in said.replace(" ", "")
    assert said.count("…4242") + said.count("\\u20264242") >= 4
