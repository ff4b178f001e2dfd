"""What people write is taken as they write it, and a refusal says what to send instead."""

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from channels import CHANNELS
from gateway.api.payment_links import MerchantQrIn, PaymentLinkIn
from gateway.api.payments import PaymentIn
from gateway.door import responses
from kernel.errors import Rejected
from kernel.ids import base36
from kernel.shapes import moment
from tests.gateway.front import Front, a_front, an_order

TAKEN = [
    "👩‍💻 lesson", "👨‍👩‍👧‍👦", "❤️‍🔥", "🏴‍☠️", "👩🏽‍🚀", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 tea",
    "می‌خواهم", "خانه‌ها", "क्‍ष", "നന്‍", "两杯龙井茶", "café", "שלום",
]  # fmt: skip
NOT_TAKEN = {
    "pay\u200dpal": "U+200D", "a\u200c\u200cb": "U+200C", "\u200dx": "U+200D", "x\u202ey": "U+202E",
    "x\u200by": "U+200B",
    "ب\u200c\u200cب": "U+200C", "x\U000e0041": "U+E0041", "two\nlines": "line break", "x\u2028y": "line break",
    "x\x00y": "U+0000", "soft\u00adhyphen": "U+00AD", "\ufeffx": "U+FEFF",
}  # fmt: skip

A_LINK: dict[str, Any] = {"name": "counter", "description": "tea", "currency": "CNY"}


def refusal(model: Any, body: dict[str, Any]) -> Rejected:
    with pytest.raises(ValidationError) as wrong:
        model.model_validate_json(orjson.dumps(body))
    return responses.rejected(wrong.value, model)


@pytest.mark.parametrize("words", TAKEN)
def test_words_with_joiners_are_taken(words: str) -> None:
    read = PaymentIn.model_validate_json(orjson.dumps(an_order(description=words, metadata={"k": words})))
    assert read.description == words


@pytest.mark.parametrize("words", NOT_TAKEN)
def test_what_hides_is_refused_by_name(words: str) -> None:
    refused = refusal(PaymentIn, an_order(description=words))
    assert refused.code == "invalid_request"
    assert NOT_TAKEN[words] in refused.message
    assert "send it in one line" in refused.message


def test_metadata_has_lines_and_nothing_hidden() -> None:
    text = "first\nsecond\r\n\tthird"
    read = PaymentIn.model_validate_json(orjson.dumps(an_order(metadata={"note": text})))
    assert read.metadata == {"note": text}
    assert "U+202E" in refusal(PaymentIn, an_order(metadata={"note": "x\n\u202ey"})).message
    assert "line break" in refusal(PaymentIn, an_order(metadata={"a\nb": "x"})).message


async def test_words_with_joiners_go_through_to_a_rail(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        for n, words in enumerate(TAKEN):
            made = await front.pay(f"order-{n}", description=words, metadata={"k": f"{words}\n{words}"})
            assert (made.status, made.body["description"]) == (201, words)
            assert made.body["metadata"] == {"k": f"{words}\n{words}"}
        assert [order.description for order in front.asked("pay")] == TAKEN


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"merchant_order_id": "a b"}, "1 to 64 of the characters"),
        ({"currency": "cny"}, "such as CNY"),
        ({"split": [{"payee": "me", "amount": 1}]}, "POST /v1/payees"),
        ({"method": {"type": "page", "return_url": "ftp://x"}}, "https://"),
        ({"method": {"type": "barcode", "auth_code": "12"}}, "16 to 24 digits"),
        ({"method": {"type": "card", "token": "a b"}}, "the rail's form"),
        ({"method": {"type": "jsapi", "payer": "我"}}, "as the rail gave them"),
        ({"method": {"type": "qr", "payer_region": "de"}}, "such as DE"),
    ],
)
def test_a_refusal_of_a_field_says_what_to_send(change: dict[str, Any], says: str) -> None:
    message = refusal(PaymentIn, an_order(**change)).message
    assert says in message
    assert not set("^$\\") & set(message), "no pattern for people to read"


async def test_the_scheme_of_a_key_has_no_case(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        key = front.shop.headers["Authorization"].split()[1]
        for scheme in ("bearer", "BEARER", "Bearer ", "bEaReR"):
            assert (await front.get("/v1/payments", Authorization=f"{scheme} {key}")).status == 200
        for header in ("Basic", "bearer", "Bearer", f"Bearer{key}", key):
            assert (await front.get("/v1/payments", Authorization=header)).code == "key_missing"


def test_a_body_that_came_too_slowly_may_be_sent_again() -> None:
    answer = responses.problem(Rejected("body_too_slow", "x"), "req_1")
    assert (answer.status, answer.headers["Retry-After"]) == (408, "1")
    assert orjson.loads(answer.body)["retriable"] is True  # type: ignore[arg-type]


# ---- links nobody could pay ------------------------------------------------------------------------------------------

LINK: dict[str, Any] = {"name": "counter", "description": "tea", "currency": "CNY"}


@pytest.mark.parametrize(
    "when",
    [
        1_795_509_000, 1_795_509_000.5, "1795509000", "1795509000000", "2100-06-02", "2100-06-02T08:30:00",
        "2100-W22-1T08:30:00Z", "20990602T083000Z", "tomorrow", "", True,
        ["2100-06-02T08:30:00Z"], "2100-13-02T08:30:00Z",
        "２１００-06-02T08:30:00Z", "2100-06-02T08:30:00Z\n",
    ],
)  # fmt: skip
def test_an_end_is_a_time_with_its_offset(when: Any) -> None:
    refused = refusal(PaymentLinkIn, LINK | {"expires_at": when})
    assert refused.code == "invalid_request"
    assert refused.facts["param"] == "expires_at"


@pytest.mark.parametrize(
    "bounds",
    [
        {"amount": 1250, "maximum": 5}, {"amount": 1250, "minimum": 1251}, {"minimum": 6, "maximum": 5},
        {"amount": 10, "minimum": 20, "maximum": 30},
    ],
)  # fmt: skip
def test_bounds_that_leave_nothing_are_refused(bounds: dict[str, int]) -> None:
    assert refusal(PaymentLinkIn, LINK | bounds).code == "invalid_request"
    if "amount" not in bounds:
        assert refusal(MerchantQrIn, LINK | bounds).code == "invalid_request"


async def add(front: Front, what: str = "payment_links", **more: Any) -> Any:
    return await front.post(f"/v1/{what}", LINK | more, key=front.new_key())


async def test_a_link_that_nobody_could_ever_pay_is_refused_when_it_is_made(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        before = await front.counts()
        for over in (
            "2100-06-01T08:30:00Z",
            "2026-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "2100-06-01T16:29:59+08:00",
        ):
            assert (await add(front, expires_at=over)).code == "expiry_out_of_bounds"
        for far in ("2110-06-03T00:00:00Z", "9999-12-31T23:59:59Z"):
            assert (await add(front, expires_at=far)).code == "expiry_out_of_bounds"
        for what in ("payment_links", "merchant_qrs"):
            refused = await add(front, what, currency="KWD")
            assert (refused.status, refused.code, refused.body["param"]) == (422, "no_channel", "currency")
        most = front.shop.channel.capabilities.maximum_minor
        assert most < 10**12 or (await add(front, amount=10**12)).status == 201
        assert await front.counts() == before or most >= 10**12
        made = await add(front, expires_at="2100-06-01T08:30:01Z", amount=1250)
        assert (made.body["minimum"], made.body["maximum"]) == (None, None), "what is fixed has no bounds"
        assert made.status == 201
        changed = await front.send(
            "PATCH", f"/v1/payment_links/{made.body['id']}", {"expires_at": "2100-06-01T08:00:00Z"}
        )
        assert changed.code == "expiry_out_of_bounds"
        await front.hub.channel_admin.change(front.book, "rail", state="off")
        front.clock.forward(2)
        assert (await add(front)).status == 201, "what is switched off may be switched on again"


@pytest.mark.parametrize("rail", sorted(CHANNELS))
def test_no_rail_takes_a_joiner_out(rail: str) -> None:
    messages = vars(import_module(f"channels.{rail}.messages"))
    clean = (
        next(messages[name] for name in ("description", "subject", "_printable", "words") if name in messages)
        if (
            rail != "stripe"  # which takes out line ends only, where it writes its form
        )
        else (lambda words: words.translate(messages["UNWANTED"]))
    )
    for words in (TAKEN[0], TAKEN[7], TAKEN[9]):
        assert (clean(words, 127) if rail == "paypal" else clean(words)) == words


@pytest.mark.parametrize(
    ("model", "body", "code", "param", "words"),
    [
        (PaymentIn, an_order(amount="12"), "amount_not_integer", "amount", "without quotes"),
        (PaymentIn, an_order(amount=0), "amount_not_positive", "amount", "more than 0"),
        (PaymentIn, an_order(amount=10**12 + 1), "amount_too_large", "amount", "1000000000000 or less"),
        (PaymentIn, an_order(expires_in=10), "invalid_request", "expires_in", "60 or more"),
        (PaymentIn, an_order(description=""), "invalid_request", "description", "at least 1 char"),
        (PaymentIn, an_order(method="qr"), "invalid_request", "method", "{…}"),
        (PaymentIn, an_order(method={"type": "Qr"}), "invalid_request", "method.type", "'qr', 'barcode'"),
        (PaymentIn, an_order(currency=None), "currency_unknown", "currency", "text in quotes"),
        (PaymentIn, an_order(metadata={"n": 1}), "invalid_request", "metadata.n", "text in quotes"),
        (PaymentIn, an_order(metadata={"订单" * 30: "x"}), "invalid_request", "metadata." + "订单" * 30, "at most 40"),
        (PaymentIn, an_order(metadata={"a\nb": "x"}), "invalid_request", "metadata.a\\nb", "line break"),
        (PaymentIn, an_order(metadata={str(n): "" for n in range(51)}), "invalid_request", "metadata", "at most 50"),
        (PaymentLinkIn, A_LINK | {"expires_at": "2027-02-29T00:00:00Z"}, "invalid_request", "expires_at", "such as"),
        (PaymentLinkIn, A_LINK | {"expires_at": "2027-01-01T24:00:00Z"}, "invalid_request", "expires_at", "such as"),
        (PaymentLinkIn, A_LINK | {"minimum": 2, "maximum": 1}, "invalid_request", None, "swap them"),
        (PaymentLinkIn, A_LINK | {"amount": 50, "minimum": 5}, "invalid_request", None, "send either it or the bounds"),
        (PaymentLinkIn, A_LINK | {"amount": 50, "maximum": 99}, "invalid_request", None, "send either"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_send(
    model: Any, body: dict[str, Any], code: str, param: str | None, words: str
) -> None:
    refused = refusal(model, body)
    assert (refused.code, refused.facts.get("param")) == (code, param)
    assert words in refused.message
    assert "Input should" not in refused.message
    assert refused.message.isprintable()


async def test_a_request_with_two_keys_or_a_space_in_one_is_refused(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        before = await front.counts()
        body = orjson.dumps(an_order())
        said = [("Authorization", f"Bearer {front.shop.key}"), ("Content-Type", "application/json")]
        for keys in (("one", "two"), ("one", "one"), ("one two",), ("",)):
            headers = [*said, *(("Idempotency-Key", key) for key in keys)]
            async with front.client.post("/v1/payments", data=body, headers=headers) as answer:
                assert answer.status == 400
                assert (await answer.json())["code"] == "idempotency_key_invalid", keys
        assert await front.counts() == before


async def test_where_no_account_takes_notices_a_problem_says_so(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        for path in (f"scripted/{base36(front.book)}/nobody", f"wechat/{base36(front.book)}/rail", "scripted/zzz/rail"):
            answer = await front.post(f"/notify/{path}", {})
            assert (answer.status, answer.code) == (404, "no_such_route"), path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-29T20:00:00 08:00", "%2B"),
        ("2026-11-29", "RFC 3339"),
        ("2026-11-29 20:00", "RFC 3339"),
        ("2026-W48-7T20:00:00Z", "RFC 3339"),
        ("20261129T200000Z", "RFC 3339"),
        ("1-1", "RFC 3339"),
        ("2026-02-29T00:00:00Z", "no such day"),
        ("2026-11-29T24:00:00Z", "no such day"),
        ("9999-12-31T23:59:59-23:59", "beyond the calendar"),
    ],
)
def test_a_moment_that_is_none_is_refused_in_our_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        moment(text)


@pytest.mark.parametrize(
    "text", ["2026-11-29T20:00:00Z", "2026-11-29t20:00:00z", "2026-11-30 04:00:00.000000000+08:00"]
)
def test_a_moment_is_read_in_each_form_rfc_3339_has(text: str) -> None:
    assert moment(text) == datetime(2026, 11, 29, 20, tzinfo=UTC)
