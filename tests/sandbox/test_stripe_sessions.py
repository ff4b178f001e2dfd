"""The simulated Stripe's Checkout Sessions, spoken to from the protocol alone: fields, the page, ends, events."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.sandbox_client import Sandbox, exchange
from tests.sandbox.test_stripe_sandbox import Account, error

PATH = "/v1/checkout/sessions"
EXPAND = {"expand[]": "payment_intent.latest_charge.balance_transaction"}
FIELDS: Mapping[str, Any] = {
    "mode": "payment",
    "line_items[0][price_data][currency]": "usd",
    "line_items[0][price_data][unit_amount]": 1234,
    "line_items[0][price_data][product_data][name]": "tea",
    "line_items[0][quantity]": 1,
    "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/cart",
    "metadata[reference]": "o1",
    "payment_intent_data[metadata][reference]": "o1",
}


@pytest.fixture
def account(sandbox: Sandbox) -> Account:
    return Account(sandbox)


def make(account: Account, **fields: Any) -> Any:
    reply = account.call("POST", PATH, {**FIELDS, **fields})
    assert reply.status == 200, reply.body
    return reply.json


def ask(account: Account, made: Any) -> Any:
    return account.call("GET", f"{PATH}/{made['id']}", EXPAND).json


def browse(account: Account, made: Any, choice: str) -> Any:
    """Have the payer's browser open the page and press a button; return what it is answered."""
    page = urlsplit(made["url"])
    assert page.fragment, "a page's address ends in what its server is not sent"
    shown = exchange(account.sandbox.base_url, "GET", page.path, {}, b"")
    assert b"12.34 USD" in shown.body
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return exchange(account.sandbox.base_url, "POST", page.path, form, f"choice={choice}".encode())


def test_a_session_shows_its_page_and_no_intent_before_its_payer_tries(account: Account) -> None:
    made = make(account)
    assert made["id"].startswith("cs_test_")
    told = {name: made[name] for name in ("object", "mode", "status", "payment_status", "amount_total", "currency")}
    assert told == {
        "object": "checkout.session",
        "mode": "payment",
        "status": "open",
        "payment_status": "unpaid",
        "amount_total": 1234,
        "currency": "usd",
    }
    assert (made["payment_intent"], made["metadata"]) == (None, {"reference": "o1"})
    assert made["expires_at"] - made["created"] == 86_400
    assert account.call("GET", "/v1/payment_intents").json["data"] == []


def test_a_payer_who_pays_is_sent_to_the_success_page_and_the_intent_has_the_money(account: Account) -> None:
    made = make(account)
    back = browse(account, made, "pay")
    assert (back.status, back.headers["Location"]) == (303, f"https://shop.example/thanks?session={made['id']}")
    paid = ask(account, made)
    assert (paid["status"], paid["payment_status"], paid["url"]) == ("complete", "paid", None)
    intent = paid["payment_intent"]
    assert (intent["status"], intent["amount_received"], intent["metadata"]) == ("succeeded", 1234, {"reference": "o1"})
    assert intent["latest_charge"]["balance_transaction"]["net"] == 1234 - 66
    by_id = account.call("GET", f"{PATH}/{made['id']}").json["payment_intent"]
    assert by_id == intent["id"]
    refund = account.call("POST", "/v1/refunds", {"payment_intent": by_id, "amount": 234})
    assert refund.json["status"] == "succeeded"


def test_a_declined_card_leaves_the_page_open_for_another(account: Account) -> None:
    made = make(account)
    back = browse(account, made, "decline")
    assert (back.status, back.headers["Location"]) == (303, "https://shop.example/cart")
    left = ask(account, made)
    assert (left["status"], left["payment_status"]) == ("open", "unpaid")
    assert left["payment_intent"]["status"] == "requires_payment_method"
    assert left["payment_intent"]["last_payment_error"]["code"] == "card_declined"
    for step in ("confirm", "cancel"):
        refused = account.call("POST", f"/v1/payment_intents/{left['payment_intent']['id']}/{step}")
        assert error(refused) == (400, "invalid_request_error", "")
    assert browse(account, made, "pay").status == 303
    assert [trade["charged_count"] for trade in account.trades()] == [1]


def test_an_expired_page_takes_no_money_and_is_expired_once(account: Account) -> None:
    made = make(account)
    path = f"{PATH}/{made['id']}/expire"
    gone = account.call("POST", path)
    assert (gone.json["status"], gone.json["url"]) == ("expired", None)
    refused = account.call("POST", path)
    assert error(refused) == (400, "invalid_request_error", "")
    assert "has a status of `expired`" in refused.json["error"]["message"]
    order = {"merchant": account.merchant, "order": "o1"}
    assert account.sandbox.try_control("POST", "/stripe/pay", order).status == 409
    assert [trade["charged_count"] for trade in account.trades()] == [0]


def test_a_page_that_was_paid_cannot_be_expired(account: Account) -> None:
    made = make(account)
    account.payer("pay", "o1")
    refused = account.call("POST", f"{PATH}/{made['id']}/expire")
    assert "has a status of `complete`" in refused.json["error"]["message"]
    assert ask(account, made)["payment_status"] == "paid"


def test_a_page_may_reserve_the_money_and_its_intent_is_captured_or_released(account: Account) -> None:
    for step, status, paid in (("capture", "succeeded", "paid"), ("cancel", "canceled", "unpaid")):
        names = {"metadata[reference]": step, "payment_intent_data[metadata][reference]": step}
        made = make(account, **names, **{"payment_intent_data[capture_method]": "manual"})
        account.payer("pay", step)
        held = ask(account, made)
        assert (held["status"], held["payment_status"]) == ("complete", "unpaid")
        assert held["payment_intent"]["status"] == "requires_capture"
        account.call("POST", f"/v1/payment_intents/{held['payment_intent']['id']}/{step}")
        done = ask(account, made)
        assert (done["status"], done["payment_status"], done["payment_intent"]["status"]) == ("complete", paid, status)


def test_events_tell_of_the_intent_and_of_the_session(account: Account) -> None:
    account.sandbox.control(
        "POST", "/stripe/webhooks", {"merchant": account.merchant, "url": "http://127.0.0.1:9/x"}, 201
    )
    make(account)
    account.payer("decline", "o1")
    account.payer("pay", "o1")
    gone = make(account, **{"metadata[reference]": "o2", "payment_intent_data[metadata][reference]": "o2"})
    account.call("POST", f"{PATH}/{gone['id']}/expire")
    told = account.sandbox.control("GET", f"/stripe/notices?merchant={account.merchant}")["notices"]
    assert [one["event"] for one in told] == ["declined", "paid", "approved", "closed"]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"mode": ""}, "parameter_invalid_empty", "mode"),
        ({"mode": "setup"}, None, "mode"),
        ({"success_url": "javascript:alert(1)"}, "url_invalid", "success_url"),
        ({"line_items[0][price_data][unit_amount]": 49}, "amount_too_small", "unit_amount"),
        ({"line_items[0][price_data][currency]": "xyz"}, None, "currency"),
        ({"line_items[0][quantity]": 2}, None, "line_items[0][quantity]"),
        ({"allow_promotion_codes": "true"}, None, "allow_promotion_codes"),
        ({"adaptive_pricing[enabled]": "true"}, None, "adaptive_pricing[enabled]"),
        ({"payment_method_types[]": "alipay"}, None, "payment_method_types"),
        ({"payment_intent_data[colour]": "red"}, "parameter_unknown", "colour"),
        ({"expires_at": 1}, None, "expires_at"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"expand[]": "customer"}, None, "expand"),
    ],
)
def test_a_wrong_field_is_named(account: Account, fields: dict[str, Any], code: str | None, param: str) -> None:
    reply = account.call("POST", PATH, {**FIELDS, **fields})
    assert reply.status == 400
    said = reply.json["error"]
    assert (said["type"], said.get("code"), said["param"]) == ("invalid_request_error", code, param)
    assert account.trades() == []


def test_what_a_session_needs_is_missed(account: Account) -> None:
    for name in ("mode", "success_url"):
        without = {key: value for key, value in FIELDS.items() if key != name}
        reply = account.call("POST", PATH, without)
        assert error(reply) == (400, "invalid_request_error", "parameter_missing")
        assert reply.json["error"]["param"] == name
    nothing = {key: value for key, value in FIELDS.items() if not key.startswith("line_items")}
    assert account.call("POST", PATH, nothing).json["error"]["param"] == "line_items"


def test_a_key_tells_the_same_session_again_and_a_stranger_finds_none(sandbox: Sandbox) -> None:
    one, two = Account(sandbox), Account(sandbox)
    made = [one.call("POST", PATH, FIELDS, Idempotency_Key="k") for _ in range(2)]
    assert made[0].body == made[1].body
    assert made[1].headers["Idempotent-Replayed"] == "true"
    path = f"{PATH}/{made[0].json['id']}"
    for reply in (two.call("GET", path), two.call("POST", f"{path}/expire"), one.call("GET", f"{PATH}/cs_test_none")):
        assert error(reply) == (404, "invalid_request_error", "resource_missing")
