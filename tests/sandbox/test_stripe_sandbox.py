"""The simulated Stripe, spoken to from the protocol alone: forms, keys, errors, cards, lists, webhooks, days."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from sandbox.stripe.cards import CARDS
from sandbox.stripe.errors import ApiError
from sandbox.stripe.forms import parse
from tests.sandbox.sandbox_client import Reply, Sandbox, eventually, exchange

BEIJING = timedelta(hours=8)


class Account:
    """An account and its secret key."""

    def __init__(self, sandbox: Sandbox, **wishes: Any) -> None:
        self.sandbox = sandbox
        self.settings = sandbox.control("POST", "/stripe/merchants", wishes, 201)
        self.merchant = self.settings["merchant"]

    def call(self, method: str, path: str, fields: Mapping[str, Any] | str = "", **headers: str) -> Reply:
        encoded = fields if isinstance(fields, str) else urlencode(fields)
        sent = {"Authorization": f"Bearer {self.settings['secret_key']}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "POST":
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            return exchange(self.sandbox.base_url, method, path, sent, encoded.encode())
        return exchange(self.sandbox.base_url, method, f"{path}?{encoded}" if encoded else path, sent, b"")

    def create(self, reference: str = "o1", card: str = "pm_card_visa", **fields: Any) -> Any:
        basic = {"amount": 1234, "currency": "usd", "payment_method": card, "metadata[reference]": reference}
        reply = self.call("POST", "/v1/payment_intents", basic | fields)
        assert reply.status in (200, 402), reply.body
        return reply.json

    def paid(self, reference: str = "o1", **fields: Any) -> Any:
        made = self.create(reference, confirm="true", **fields)
        assert made["status"] == "succeeded"
        return made

    def trades(self) -> Any:
        return self.sandbox.control("GET", f"/stripe/trades?merchant={self.merchant}")["trades"]

    def payer(self, does: str, reference: str) -> Any:
        return self.sandbox.control("POST", f"/stripe/{does}", {"merchant": self.merchant, "order": reference})


@pytest.fixture
def account(sandbox: Sandbox) -> Account:
    return Account(sandbox)


def error(reply: Reply) -> tuple[int, str, str]:
    said = reply.json["error"]
    return reply.status, said["type"], said.get("code", "")


# ---- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "tree"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b]=1&a[c][d]=2", {"a": {"b": "1", "c": {"d": "2"}}}),
        ("a%5Bb%5D=1+2%263", {"a": {"b": "1 2&3"}}),
        ("a[]=x&a[]=y", {"a": ["x", "y"]}),
        ("a[0]=x&a[1]=y", {"a": ["x", "y"]}),
        ("a[0][b]=x&a[1][b]=y", {"a": [{"b": "x"}, {"b": "y"}]}),
        ("a[1]=x", {"a": {"1": "x"}}),
    ],
)
def test_nested_names_become_objects_and_lists(encoded: str, tree: dict[str, Any]) -> None:
    assert parse(encoded) == tree


@pytest.mark.parametrize("encoded", ["a=1&a=2", "a[b]=1&a=2", "a=1&a[b]=2", "a[b=1", "[a]=1", "a[][b]=1", "a", "a=%ff"])
def test_forms_with_more_than_one_reading_are_refused(encoded: str) -> None:
    with pytest.raises(ApiError):
        parse(encoded)


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_tells_again_what_came_of_it_and_makes_nothing_new(account: Account) -> None:
    body = "amount=500&currency=jpy&payment_method=pm_card_visa&metadata[reference]=again"
    first = account.call("POST", "/v1/payment_intents", body, Idempotency_Key="k1")
    second = account.call("POST", "/v1/payment_intents", body, Idempotency_Key="k1")
    assert first.body == second.body
    assert (first.status, first.headers.get("Idempotent-Replayed")) == (200, None)
    assert (second.status, second.headers["Idempotent-Replayed"], second.headers["Idempotency-Key"]) == (
        200,
        "true",
        "k1",
    )
    assert len(account.trades()) == 1


def test_a_key_used_with_other_fields_or_for_another_call_is_an_idempotency_error(account: Account) -> None:
    made = account.call("POST", "/v1/payment_intents", "amount=500&currency=usd", Idempotency_Key="k1")
    for path, body in (
        ("/v1/payment_intents", "amount=501&currency=usd"),
        (f"/v1/payment_intents/{made.json['id']}/cancel", ""),
    ):
        assert error(account.call("POST", path, body, Idempotency_Key="k1")) == (400, "idempotency_error", "")
    assert account.call("POST", "/v1/payment_intents", "currency=usd&amount=500", Idempotency_Key="k1").status == 200


def test_two_accounts_may_use_the_same_key(sandbox: Sandbox) -> None:
    body = "amount=500&currency=usd"
    one, two = Account(sandbox), Account(sandbox)
    made = [each.call("POST", "/v1/payment_intents", body, Idempotency_Key="k") for each in (one, two)]
    assert made[0].json["id"] != made[1].json["id"]


def test_a_decline_is_kept_and_what_was_refused_before_executing_is_not(account: Account) -> None:
    broke = account.create("broke", "pm_card_chargeDeclinedInsufficientFunds")
    path = f"/v1/payment_intents/{broke['id']}/confirm"
    first = account.call("POST", path, "", Idempotency_Key="k1")
    again = account.call("POST", path, "", Idempotency_Key="k1")
    assert (first.status, again.status, again.body) == (402, 402, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    wrong = account.call("POST", "/v1/payment_intents", "amount=x&currency=usd", Idempotency_Key="k2")
    assert error(wrong) == (400, "invalid_request_error", "parameter_invalid_integer")
    right = account.call("POST", "/v1/payment_intents", "amount=500&currency=usd", Idempotency_Key="k2")
    assert (right.status, right.headers.get("Idempotent-Replayed")) == (200, None)


def test_an_error_of_the_rail_is_not_kept_unless_that_is_ordered(account: Account) -> None:
    body = "amount=500&currency=usd&metadata[reference]=o1"
    for fault, afterwards in (("system_error", 200), ("system_error_after", 200), ("system_error_kept", 500)):
        account.sandbox.order_fault(fault, rail="stripe", merchant=account.merchant)
        key = {"Idempotency_Key": fault}
        assert error(account.call("POST", "/v1/payment_intents", body, **key)) == (500, "api_error", "")
        assert account.call("POST", "/v1/payment_intents", body, **key).status == afterwards
    assert [trade["order"].partition("~")[0] for trade in account.trades()] == ["o1", "o1"]


# ---- who -------------------------------------------------------------------------------------------------------------


def test_the_secret_key_is_taken_as_bearer_and_as_basic_and_nothing_else_is(account: Account) -> None:
    key = account.settings["secret_key"]
    basic = b64encode(f"{key}:".encode()).decode()
    for scheme, status in (
        (f"Bearer {key}", 200),
        (f"Basic {basic}", 200),
        (f"Bearer {key}x", 401),
        ("Bearer ", 401),
        ("Basic !", 401),
        (f"Digest {key}", 401),
        ("", 401),
    ):
        reply = exchange(account.sandbox.base_url, "GET", "/v1/payment_intents", {"Authorization": scheme}, b"")
        assert reply.status == status, scheme
        assert key not in reply.body.decode()


def test_another_accounts_objects_are_not_there(sandbox: Sandbox) -> None:
    one, two = Account(sandbox), Account(sandbox)
    intent = one.paid()
    refund = one.call("POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": 34}).json
    for path in (f"/v1/payment_intents/{intent['id']}", f"/v1/refunds/{refund['id']}"):
        assert error(two.call("GET", path)) == (404, "invalid_request_error", "resource_missing")
    assert error(two.call("POST", "/v1/refunds", {"payment_intent": intent["id"]}))[0] == 404
    assert two.call("GET", "/v1/balance_transactions").json["data"] == []


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": 500}, "parameter_missing", "currency"),
        ({"amount": 500, "currency": ""}, "parameter_invalid_empty", "currency"),
        ({"amount": "5.00", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 0, "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 49, "currency": "usd"}, "amount_too_small", "amount"),
        ({"amount": 100_000_000, "currency": "usd"}, "amount_too_large", "amount"),
        ({"amount": 500, "currency": "xyz"}, None, "currency"),
        ({"amount": 500, "currency": "usd", "colour": "red"}, "parameter_unknown", "colour"),
        ({"amount": 500, "currency": "usd", "payment_method": "pm_none"}, "resource_missing", "payment_method"),
        ({"amount": 500, "currency": "usd", "capture_method": "later"}, None, "capture_method"),
        ({"amount": 500, "currency": "usd", "expand[]": "customer"}, None, "expand"),
        ({"amount": 500, "currency": "usd", "metadata[a]": "x" * 501}, None, "metadata"),
    ],
)
def test_a_wrong_field_is_named(account: Account, fields: dict[str, Any], code: str | None, param: str) -> None:
    reply = account.call("POST", "/v1/payment_intents", fields)
    assert reply.status == 400
    said = reply.json["error"]
    assert (said["type"], said.get("code"), said["param"]) == ("invalid_request_error", code, param)
    assert account.trades() == []


def test_what_an_intent_is_past_is_said_with_the_intent(account: Account) -> None:
    intent = account.paid()
    for action in ("confirm", "capture", "cancel"):
        reply = account.call("POST", f"/v1/payment_intents/{intent['id']}/{action}")
        assert error(reply) == (400, "invalid_request_error", "payment_intent_unexpected_state")
        assert reply.json["error"]["payment_intent"]["status"] == "succeeded"


# ---- cards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_test_card_does_what_its_table_says(account: Account, name: str) -> None:
    card = CARDS[name]
    made = account.create("o1", name, confirm="true")
    if card.code is not None:
        assert (made["error"]["code"], made["error"]["decline_code"]) == (card.code, card.decline_code)
        left = made["error"]["payment_intent"]
        assert (left["status"], left["payment_method"]) == ("requires_payment_method", None)
        assert left["last_payment_error"]["code"] == card.code
    else:
        assert made["status"] == ("requires_action" if card.proof else "succeeded")
    assert [trade["charged_count"] for trade in account.trades()] == [int(card.code is None and not card.proof)]


def test_the_payers_page_takes_or_refuses_the_money_and_sends_them_back(account: Account) -> None:
    for choice, status, told in (
        ("pay", "succeeded", "succeeded"),
        ("decline", "requires_payment_method", "failed"),
    ):
        made = account.create(choice, "pm_card_authenticationRequired", confirm="true", return_url="https://shop/x?y=1")
        page = made["next_action"]["redirect_to_url"]["url"].removeprefix(account.sandbox.base_url)
        shown = exchange(account.sandbox.base_url, "GET", page, {}, b"")
        assert b"12.34 USD" in shown.body
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        back = exchange(account.sandbox.base_url, "POST", page, form, f"choice={choice}".encode())
        assert back.status == 303
        query = parse_qs(urlsplit(back.headers["Location"]).query)
        assert (query["payment_intent"], query["redirect_status"], query["y"]) == ([made["id"]], [told], ["1"])
        assert account.call("GET", f"/v1/payment_intents/{made['id']}").json["status"] == status


def test_nobody_can_be_the_payer_of_an_intent_that_waits_for_none(account: Account) -> None:
    account.create("waits")
    body = {"merchant": account.merchant, "order": "waits"}
    assert account.sandbox.try_control("POST", "/stripe/pay", body).status == 409
    account.paid("done")
    assert account.sandbox.try_control("POST", "/stripe/decline", body | {"order": "done"}).status == 409


def test_a_second_intent_of_the_same_reference_is_another_one_and_is_seen(account: Account) -> None:
    first, second = account.paid("same"), account.paid("same")
    assert first["id"] != second["id"]
    orders = [trade["order"] for trade in account.trades()]
    assert orders[0] == "same"
    assert orders[1].startswith("same~")


def test_a_refusal_ordered_for_a_confirmation_is_a_decline(account: Account) -> None:
    made = account.create()
    account.sandbox.order_fault(
        "refuse", rail="stripe", params={"code": "do_not_honor"}, merchant=account.merchant, op="proceed"
    )
    reply = account.call("POST", f"/v1/payment_intents/{made['id']}/confirm")
    assert reply.status == 402
    assert reply.json["error"]["decline_code"] == "do_not_honor"
    assert account.call("GET", f"/v1/payment_intents/{made['id']}").json["status"] == "requires_payment_method"


# ---- money back, lists, days -----------------------------------------------------------------------------------------


def test_refunds_never_exceed_what_was_paid(account: Account) -> None:
    intent = account.paid()
    refund = {"payment_intent": intent["id"]}
    assert account.call("POST", "/v1/refunds", refund | {"amount": 1000}).json["status"] == "succeeded"
    over = account.call("POST", "/v1/refunds", refund | {"amount": 235})
    assert over.json["error"]["param"] == "amount"
    assert account.call("POST", "/v1/refunds", refund).json["amount"] == 234
    assert error(account.call("POST", "/v1/refunds", refund))[2] == "charge_already_refunded"
    unpaid = account.create("unpaid")
    refused = account.call("POST", "/v1/refunds", {"payment_intent": unpaid["id"]}).json["error"]
    assert (refused["param"], "code" in refused) == ("payment_intent", False)


def test_lists_are_paged_from_the_newest(account: Account) -> None:
    made = [account.create(f"o{number}")["id"] for number in range(5)]
    newest = made[::-1]
    path = "/v1/payment_intents"

    def page(**fields: Any) -> tuple[list[str], bool]:
        said = account.call("GET", path, fields).json
        return [item["id"] for item in said["data"]], said["has_more"]

    assert page(limit=2) == (newest[:2], True)
    assert page(limit=2, starting_after=newest[1]) == (newest[2:4], True)
    assert page(limit=2, starting_after=newest[3]) == (newest[4:], False)
    assert page(limit=2, ending_before=newest[4])[0] == newest[2:4]
    assert page() == (newest, False)
    for wrong in ({"limit": 0}, {"limit": 101}, {"starting_after": "pi_none"}):
        assert account.call("GET", path, wrong).status == 400


def test_the_balance_says_what_was_charged_kept_and_given_back(account: Account) -> None:
    intent = account.paid()
    account.call("POST", "/v1/refunds", {"payment_intent": intent["id"], "amount": 617, "metadata[reference]": "r1"})
    rows = account.call("GET", "/v1/balance_transactions", {"expand[]": "data.source"}).json["data"]
    assert [(row["type"], row["amount"], row["fee"], row["net"]) for row in rows] == [
        ("refund", -617, 0, -617),
        ("charge", 1234, 66, 1168),
    ]
    assert [row["source"]["metadata"] for row in rows] == [{"reference": "r1"}, {"reference": "o1"}]
    (only,) = account.call("GET", "/v1/balance_transactions", {"type": "refund"}).json["data"]
    assert only["source"] == rows[0]["source"]["id"]


def test_the_books_of_a_day_closed_by_hand_are_of_the_next(account: Account) -> None:
    account.paid("before")
    now = datetime.now(UTC)
    today = (now + BEIJING).date()
    start = int(datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp() - BEIJING.total_seconds())

    def of(day_start: int) -> tuple[list[str], datetime]:
        fields = {"created[gte]": day_start, "created[lt]": day_start + 86_400, "expand[]": "data.source"}
        reply = account.call("GET", "/v1/balance_transactions", fields)
        orders = [row["source"]["metadata"]["reference"] for row in reply.json["data"]]
        return orders, parsedate_to_datetime(reply.headers["Date"])

    orders, at = of(start)
    assert orders == ["before"]
    assert abs((at - now).total_seconds()) < 60
    account.sandbox.control("POST", "/stripe/close-day", {"merchant": account.merchant, "date": today.isoformat()})
    account.paid("after")
    assert of(start)[0] == ["before"]
    assert of(start)[1].timestamp() >= start + 86_400
    assert of(start + 86_400)[0] == ["after"]
    everything = account.call("GET", "/v1/balance_transactions", {"expand[]": "data.source"}).json["data"]
    assert [row["source"]["metadata"]["reference"] for row in everything] == ["after", "before"]


def test_the_net_of_a_day_is_paid_out_under_letters_and_digits_alone(sandbox: Sandbox) -> None:
    customer = sandbox.control("POST", "/bank/customers", {"name": "tea"})
    headers = {
        "Authorization": f"Bearer {Path(customer['token_file']).read_text()}",
        "Content-Type": "application/json",
    }
    pool = {"reference": "pool", "name": "tea", "currency": "CNY", "kind": "pool"}
    opened = exchange(sandbox.base_url, "POST", "/bank/accounts", headers, json.dumps(pool).encode())
    account = Account(sandbox, settle_to=opened.json["account"], fee_bp=100, fixed_fee_minor=5)
    account.paid(currency="cny", amount=10_000)
    account.paid("o2", currency="usd", amount=10_000)
    today = (datetime.now(UTC) + BEIJING).date()
    closed = sandbox.control("POST", "/stripe/close-day", {"merchant": account.merchant, "date": today.isoformat()})
    assert closed["net"] == 10_000 - 105
    assert closed["end_to_end_id"] == f"STacct1Sandbox{account.merchant[-9:]}{today:%Y%m%d}"
    assert len(closed["end_to_end_id"]) <= 35


# ---- webhooks --------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_made_shown_listed_and_removed_and_its_secret_told_once(account: Account) -> None:
    fields = {"url": "https://hub.example/x", "enabled_events[0]": "payment_intent.succeeded", "description": "hub"}
    made = account.call("POST", "/v1/webhook_endpoints", fields).json
    assert re.fullmatch(r"whsec_[0-9a-f]{48}", made["secret"])
    path = f"/v1/webhook_endpoints/{made['id']}"
    shown = account.call("GET", path).json
    assert "secret" not in shown
    assert shown["enabled_events"] == ["payment_intent.succeeded"]
    assert [hook["id"] for hook in account.call("GET", "/v1/webhook_endpoints").json["data"]] == [made["id"]]
    assert account.call("DELETE", path).json == {"id": made["id"], "object": "webhook_endpoint", "deleted": True}
    assert account.call("GET", path).status == 404
    for wrong in ({"url": "http://hub.example/x", "enabled_events[]": "*"}, {"url": "https://hub.example/x"}):
        assert account.call("POST", "/v1/webhook_endpoints", wrong).status == 400


def test_an_endpoint_hears_of_the_types_it_named_and_no_others(account: Account) -> None:
    for events in (["payment_intent.created", "refund.created"], ["*"], ["charge.dispute.created"]):
        fields = "&".join(["url=" + quote("http://127.0.0.1:9/x"), *(f"enabled_events[]={event}" for event in events)])
        assert account.call("POST", "/v1/webhook_endpoints", fields).status == 200
    account.paid()
    notices = account.sandbox.control("GET", f"/stripe/notices?merchant={account.merchant}")["notices"]
    assert sorted(notice["event"] for notice in notices) == ["created", "created", "paid"]


def test_rolled_secrets_are_good_together_for_a_while(account: Account) -> None:
    hook = {"merchant": account.merchant, "url": "http://127.0.0.1:9/x"}
    old = account.sandbox.control("POST", "/stripe/webhooks", hook, 201)["webhook_secrets"]
    rolled = account.sandbox.control("POST", "/stripe/rotate-keys", {"merchant": account.merchant}, 201)
    assert len(rolled["webhook_secrets"]) == 2
    assert rolled["webhook_secrets"][0] == old[0]
    listed = account.sandbox.control("GET", "/stripe/merchants")["merchants"]
    (mine,) = [each for each in listed if each["merchant"] == account.merchant]
    assert mine["webhook_secrets"] == rolled["webhook_secrets"]


# ---- refunds that come back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["the card", "a fault"])
def test_a_refund_that_succeeded_fails_later_and_gives_its_money_back_by_a_transaction_of_its_own(
    account: Account, how: str
) -> None:
    hook = {"merchant": account.merchant, "url": "http://127.0.0.1:9/x"}
    account.sandbox.control("POST", "/stripe/webhooks", hook, 201)
    if how == "a fault":
        match = {"merchant": account.merchant, "refund": "r1"}
        account.sandbox.control(
            "POST", "/faults", {"rail": "stripe", "fault": "refund_comes_back", "match": match}, 201
        )
    intent = account.paid(card="pm_card_refundFail" if how == "the card" else "pm_card_visa")
    asked = {"payment_intent": intent["id"], "amount": 617, "metadata[reference]": "r1"}
    made = account.call("POST", "/v1/refunds", asked).json
    assert (made["status"], "failure_reason" in made) == ("succeeded", False)

    def now() -> Any:
        return account.call("GET", f"/v1/refunds/{made['id']}").json

    eventually(lambda: now()["status"] == "failed")
    rows = account.call("GET", "/v1/balance_transactions", {"expand[]": "data.source"}).json["data"]
    assert [(row["type"], row["amount"], row["fee"], row["net"]) for row in rows] == [
        ("refund_failure", 617, 0, 617),
        ("refund", -617, 0, -617),
        ("charge", 1234, 66, 1168),
    ]
    assert rows[0]["id"] == now()["failure_balance_transaction"]
    assert rows[0]["source"]["metadata"] == {"reference": "r1"}
    notices = account.sandbox.control("GET", f"/stripe/notices?merchant={account.merchant}")["notices"]
    assert [notice["event"] for notice in notices if notice["event"] != "paid"] == ["refunded", "refund_failed"]
    assert account.call("POST", "/v1/refunds", {"payment_intent": intent["id"]}).json["amount"] == 1234, "all is left"
