"""What we send to Stripe, byte for byte, against tests/golden/stripe; and that settings in doubt make no channel."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from channels import stripe
from channels.stripe import Stripe
from kernel.env import Request
from kernel.money import Money
from tests.channels.stripe.stripe_rail import (
    BASE_URL,
    GOLDEN,
    INTENT,
    NOW,
    REFUND,
    SECRET_KEY,
    channel,
    order,
    refund_order,
    settings,
)

DAY = date(2026, 11, 24)
NEW = order(channel_ref=None)
REQUESTS: dict[str, Callable[[Stripe], Request]] = {
    "request_create": lambda rail: rail.pay_request(NEW),
    "request_create_hold": lambda rail: rail.pay_request(order(channel_ref=None, authorize_only=True)),
    "request_confirm": lambda rail: rail.proceed_request(order()),
    "request_query": lambda rail: rail.query_request(order()),
    "request_cancel": lambda rail: rail.close_request(order()),
    "request_capture_part": lambda rail: rail.capture_request(order(authorize_only=True), Money(1000, "USD")),
    "request_refund": lambda rail: rail.refund_request(refund_order()),
    "request_refund_query": lambda rail: rail.refund_query_request(refund_order(channel_ref=REFUND)),
    "request_refund_query_without_its_id": lambda rail: rail.refund_query_request(refund_order()),
    "request_bill": lambda rail: rail.bill_request(DAY),
}


def as_sent(request: Request) -> str:
    """Show a request as it goes over the wire, for people to read."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body.decode()}\n"


def fields(request: Request) -> dict[str, str]:
    found = parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=bool(request.body))
    assert len(dict(found)) == len(found), "no field stands twice"
    return dict(found)


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    rail = channel()
    signed = rail.sign(REQUESTS[name](rail), now=NOW, nonce="unused")
    assert as_sent(signed) == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", REQUESTS)
def test_signing_adds_our_key_and_nothing_else(name: str) -> None:
    rail = channel()
    request = REQUESTS[name](rail)
    signed = rail.sign(request, now=NOW, nonce="unused")
    assert signed.headers == {**request.headers, "Authorization": f"Bearer {SECRET_KEY}"}
    assert (signed.method, signed.url, signed.body) == (request.method, request.url, request.body)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_version_of_the_api_is_pinned_and_no_key_stands_in_an_address(name: str) -> None:
    rail = channel()
    signed = rail.sign(REQUESTS[name](rail), now=NOW, nonce="unused")
    assert signed.headers["Stripe-Version"] == "2026-10-28.endive"
    assert SECRET_KEY not in signed.url
    assert SECRET_KEY not in signed.body.decode()
    assert signed.url.isascii()
    assert not set(signed.url) & set(' "<>[]{}')


def test_creating_moves_no_money_and_is_known_by_our_number() -> None:
    request = channel().pay_request(NEW)
    sent = fields(request)
    assert "confirm" not in sent
    assert request.headers["Idempotency-Key"] == sent["metadata[reference]"] == NEW.reference
    assert sent["payment_method"] == NEW.token


def test_confirming_has_a_key_of_its_own_and_says_where_the_payer_comes_back_to() -> None:
    request = channel().proceed_request(order())
    assert request.url == f"{BASE_URL}/v1/payment_intents/{INTENT}/confirm"
    assert request.headers["Idempotency-Key"] == f"{order().reference}:confirm"
    assert fields(request)["return_url"] == "https://shop.example/back?order=7"


def test_where_the_order_names_no_way_back_the_account_does() -> None:
    nowhere = order(return_url=None)
    assert "return_url" not in fields(channel().proceed_request(nowhere))
    rail = channel(return_url="https://shop.example/")
    assert fields(rail.proceed_request(nowhere))["return_url"] == "https://shop.example/"


def test_what_the_intents_state_guards_has_no_key_that_would_replay_an_old_error() -> None:
    rail = channel()
    for request in (rail.close_request(order()), rail.void_request(order()), REQUESTS["request_capture_part"](rail)):
        assert "Idempotency-Key" not in request.headers


def test_asking_for_an_order_without_its_id_is_making_it_again_to_the_byte() -> None:
    rail = channel()
    assert rail.query_request(NEW) == rail.pay_request(NEW) == rail.close_request(NEW)
    assert rail.pay_request(order()) == rail.query_request(order()), "and once the id is known, nothing is made"


def test_a_second_call_for_an_order_without_its_id_is_a_mistake_of_ours() -> None:
    rail = channel()
    for ask in (
        lambda: rail.proceed_request(NEW),
        lambda: rail.capture_request(NEW, NEW.amount),
        lambda: rail.void_request(NEW),
        lambda: rail.refund_request(refund_order(payment_channel_ref=None)),
        lambda: rail.refund_query_request(refund_order(payment_channel_ref=None)),
    ):
        with pytest.raises(ValueError, match="intent"):
            ask()


@pytest.mark.parametrize(
    ("money", "amount", "currency"),
    [
        (Money(500, "JPY"), "500", "jpy"),
        (Money(500, "USD"), "500", "usd"),
        (Money(1, "CNY"), "1", "cny"),
        (Money(99_999_999, "HKD"), "99999999", "hkd"),
    ],
)
def test_amounts_are_minor_units_also_of_currencies_without_any(money: Money, amount: str, currency: str) -> None:
    sent = fields(channel().pay_request(order(channel_ref=None, amount=money)))
    assert (sent["amount"], sent["currency"]) == (amount, currency)


def test_text_of_the_merchants_cannot_become_another_field() -> None:
    sent = fields(
        channel().pay_request(order(channel_ref=None, description="a&confirm=true\r\nb=c[d]\x00" + "长" * 600))
    )
    assert "confirm" not in sent
    assert sent["description"].startswith("a&confirm=true  b=c[d] 长")
    assert len(sent["description"]) == 500
    assert "description" not in fields(channel().pay_request(order(channel_ref=None, description=" \n")))


def test_an_id_with_letters_that_mean_something_in_an_address_stays_one_id() -> None:
    request = channel().query_request(order(channel_ref="pi/../b?c=d"))
    assert urlsplit(request.url).path == "/v1/payment_intents/pi%2F..%2Fb%3Fc%3Dd"


def test_a_bill_is_of_a_day_in_beijing_wherever_the_hub_runs() -> None:
    asked = parse_qs(urlsplit(channel().bill_request(DAY).url).query)
    assert asked["created[gte]"] == ["1795449600"]  # 2026-11-23T16:00:00Z
    assert asked["created[lt]"] == ["1795536000"]
    assert asked["limit"] == ["100"]


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"secret_key": ""}, "neither secret_key nor secret_key_file"),
        *(
            ({"secret_key": wrong}, "not a secret key of Stripe's")
            for wrong in (
                "whatever",
                "sk_test_a b\nc",
                "pk_test_x",
                "sk_live_ab c",
                "sk_test_",
                "xk_test_a",
                "sk_prod_a",
            )
        ),
        ({"webhook_secrets": ["sk_test_a"]}, "not a list of signing secrets"),
        ({"base_url": "http://api.stripe.com"}, "must be https"),
        ({"base_url": "http://127.0.0.1.evil.example"}, "must be https"),
        ({"base_url": "http://localhost@evil.example"}, "without a user"),
        ({"base_url": "https://api.stripe.com/v1"}, "scheme and host alone"),
        ({"base_url": "ftp://api.stripe.com"}, "scheme and host alone"),
        ({"webhook_secrets": [7]}, "webhook_secrets"),
        ({"webhook_secrets": ["whsec_a b\u00e9"]}, "webhook_secrets"),
    ],
)
def test_settings_in_doubt_make_no_channel_and_the_complaint_shows_no_secret(
    changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        channel(**changes)
    for name in ("secret_key", "webhook_secrets"):
        for value in str(settings(**changes)[name]).split():
            assert len(value) < 4 or value.strip("[]'") not in str(refused.value)


def test_every_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET_KEY}\n")
    (tmp_path / "hooks").write_text("whsec_one\nwhsec_two\n")
    from_files = stripe.build(
        {"secret_key_file": str(tmp_path / "key"), "webhook_secrets_file": str(tmp_path / "hooks"), "unheard_of": 1}
    )
    inline = stripe.build({"secret_key": SECRET_KEY, "webhook_secrets": ["whsec_one", "whsec_two"]})
    as_lines = stripe.build({"secret_key": SECRET_KEY, "webhook_secrets": "whsec_one\n\nwhsec_two"})
    for rail in (from_files, inline, as_lines):
        signed = rail.sign(Request("GET", BASE_URL), now=NOW, nonce="")
        assert signed.headers["Authorization"] == f"Bearer {SECRET_KEY}"
        assert rail._secrets.ids() == inline._secrets.ids()
    assert {"secret_key", "webhook_secrets"} == stripe.SECRETS


def test_the_payouts_are_known_by_the_account_where_it_is_given() -> None:
    assert channel().deposit_prefix() == "STacct1Golden"
    assert channel(account=None).deposit_prefix() is None


@pytest.mark.parametrize("host", ["127.0.0.1:8480", "localhost", "[::1]:8480"])
def test_a_sandbox_on_this_machine_may_do_without_tls(host: str) -> None:
    assert channel(base_url=f"http://{host}").query_request(order()).url.startswith(f"http://{host}/v1/")
