"""The simulated PayPal, tried over plain HTTP by a merchant who knows the protocol alone; held to PayPal's schemas."""

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.channels.paypal.paypal_schemas import faults
from tests.sandbox.sandbox_client import Door, NoAnswer, Reply, Sandbox, door, eventually, exchange

ORDERS, PAYMENTS = "/v2/checkout/orders", "/v2/payments"
BEIJING = timezone(timedelta(hours=8))


@dataclass
class Shop:
    """A merchant's server: logs in, sends, reads."""

    sandbox: Sandbox
    settings: dict[str, Any]
    token: str = ""
    checked: list[str] = field(default_factory=list)  # answers that were held to a schema

    @property
    def merchant(self) -> str:
        return str(self.settings["merchant"])

    def log_in(self, secret: str | None = None, form: str = "grant_type=client_credentials") -> Reply:
        known = f"{self.settings['client_id']}:{secret or self.settings['client_secret']}"
        headers = {
            "Authorization": "Basic " + base64.b64encode(known.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return exchange(self.sandbox.base_url, "POST", "/v1/oauth2/token", headers, form.encode())

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        request_id: str | None = None,
        whole: bool = True,
        **headers: str,
    ) -> Reply:
        if not self.token:
            self.token = self.log_in().json["access_token"]
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        sent |= {"PayPal-Request-Id": request_id} if request_id else {}
        sent |= {"Prefer": "return=representation"} if whole else {}
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return exchange(self.sandbox.base_url, method, path, sent | headers, raw)

    def order(self, reference: str, value: str = "12.34", currency: str = "USD", **changes: Any) -> dict[str, Any]:
        unit = {
            "custom_id": reference,
            "invoice_id": reference,
            "description": "茶叶 Tea",
            "amount": {"currency_code": currency, "value": value},
        }
        return {"intent": "CAPTURE", "purchase_units": [unit]} | changes

    def create(self, reference: str, value: str = "12.34", **changes: Any) -> str:
        made = self.send("POST", ORDERS, self.order(reference, value, **changes), request_id=reference)
        assert made.status == 201, made.body
        return str(made.json["id"])

    def approve(self, reference: str) -> Any:
        return self.sandbox.control("POST", "/paypal/pay", {"merchant": self.merchant, "order": reference})

    def paid(self, reference: str, value: str = "12.34") -> str:
        """Return the number of a capture."""
        number = self.create(reference, value)
        self.approve(reference)
        done = self.send("POST", f"{ORDERS}/{number}/capture", {}, request_id=f"{reference}-capture")
        assert done.status == 201, done.body
        return str(done.json["purchase_units"][0]["payments"]["captures"][0]["id"])

    def held(self, reference: str, value: str = "10.00") -> str:
        """Return the number of an authorization."""
        number = self.create(reference, value, intent="AUTHORIZE")
        self.approve(reference)
        done = self.send("POST", f"{ORDERS}/{number}/authorize", {}, request_id=f"{reference}-authorize")
        return str(done.json["purchase_units"][0]["payments"]["authorizations"][0]["id"])

    def truth(self, reference: str) -> Any:
        trades = self.sandbox.control("GET", f"/paypal/trades?merchant={self.merchant}")["trades"]
        return next(trade for trade in trades if trade["order"] == reference)

    def right(self, reply: Reply, api: str, schema: str) -> Any:
        """Return the body of an answer that is as PayPal's schema says."""
        assert faults(api, schema, reply.json) == []
        self.checked.append(schema)
        return reply.json


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    return Shop(sandbox, sandbox.control("POST", "/paypal/merchants", {"fee_bp": 440, "fixed_fee_minor": 30}))


@pytest.fixture(scope="module")
def refused_shop(sandbox: Sandbox) -> Shop:
    """One for all questions that change nothing."""
    return Shop(sandbox, sandbox.control("POST", "/paypal/merchants", {}))


def issues(reply: Reply) -> tuple[int, str, list[str]]:
    return reply.status, reply.json["name"], [detail["issue"] for detail in reply.json.get("details", [])]


# ---- sessions --------------------------------------------------------------------------------------------------------


def test_a_session_is_opened_with_the_right_secret_alone(shop: Shop) -> None:
    opened = shop.log_in()
    assert opened.status == 200
    assert (opened.json["token_type"], opened.json["expires_in"]) == ("Bearer", 32400)
    wrong = shop.log_in("wrong")
    assert (wrong.status, wrong.json["error"]) == (401, "invalid_client")
    assert shop.log_in(form="grant_type=password").status == 400


def test_without_a_session_nothing_is_looked_at(refused_shop: Shop) -> None:
    shop = refused_shop
    strange = shop.send("GET", f"{ORDERS}/X", Authorization="Bearer strange")
    assert (strange.status, strange.json["error"]) == (401, "invalid_token")
    none = shop.send("POST", ORDERS, {"intent": "SALE"}, Authorization="")
    assert issues(none)[:2] == (401, "AUTHENTICATION_FAILURE")
    shop.right(none, "checkout_orders_v2", "error_401")


def test_a_session_outlives_the_process(own_sandbox: Sandbox) -> None:
    shop = Shop(own_sandbox, own_sandbox.control("POST", "/paypal/merchants", {}))
    number = shop.create("o-1")
    own_sandbox.kill()
    own_sandbox.start()
    assert shop.send("GET", f"{ORDERS}/{number}").status == 200


# ---- answers are as the published schemas say ------------------------------------------------------------------------

# What later versions of PayPal's API show, or what its payments API shows and its orders API's schema leaves out.
NEWER = ("/payee is not known", "/supplementary_data is not known")


def as_published(reply: Reply, api: str, schema: str) -> Any:
    found = [fault for fault in faults(api, schema, reply.json) if not any(newer in fault for newer in NEWER)]
    assert found == []
    return reply.json


def test_orders_captures_and_refunds_are_as_the_schemas_say(shop: Shop) -> None:
    wallet = {"payment_source": {"paypal": {"experience_context": {"return_url": "https://shop.example/x"}}}}
    made = shop.send("POST", ORDERS, shop.order("o-1", **wallet), request_id="o-1")
    body = as_published(made, "checkout_orders_v2", "order")
    assert (made.status, body["status"]) == (201, "PAYER_ACTION_REQUIRED")
    assert [link["rel"] for link in body["links"]] == ["self", "payer-action"]
    url = f"{ORDERS}/{body['id']}"
    shop.approve("o-1")
    approved = as_published(shop.send("GET", url), "checkout_orders_v2", "order")
    assert [link["rel"] for link in approved["links"]] == ["self", "capture"]
    done = as_published(shop.send("POST", f"{url}/capture", {}), "checkout_orders_v2", "order")
    (capture,) = done["purchase_units"][0]["payments"]["captures"]
    assert capture["seller_receivable_breakdown"] == {
        "gross_amount": {"currency_code": "USD", "value": "12.34"},
        "paypal_fee": {"currency_code": "USD", "value": "0.84"},
        "net_amount": {"currency_code": "USD", "value": "11.50"},
    }
    shop.right(shop.send("GET", f"{PAYMENTS}/captures/{capture['id']}"), "payments_payment_v2", "capture-2")
    amount = {"currency_code": "USD", "value": "2.34"}
    wish = {"amount": amount, "custom_id": "o-1", "invoice_id": "r-1", "note_to_payer": "不合适"}
    back = shop.right(
        shop.send("POST", f"{PAYMENTS}/captures/{capture['id']}/refund", wish), "payments_payment_v2", "refund"
    )
    shown = shop.send("GET", f"{PAYMENTS}/refunds/{back['id']}")
    assert shop.right(shown, "payments_payment_v2", "refund") == back
    after = as_published(shop.send("GET", url), "checkout_orders_v2", "order")
    assert after["purchase_units"][0]["payments"]["captures"][0]["status"] == "PARTIALLY_REFUNDED"


def test_authorizations_are_as_the_schemas_say(shop: Shop) -> None:
    number = shop.create("o-1", intent="AUTHORIZE")
    shop.approve("o-1")
    done = shop.send("POST", f"{ORDERS}/{number}/authorize", {})
    body = as_published(done, "checkout_orders_v2", "order_authorize_response")
    hold = f"{PAYMENTS}/authorizations/{body['purchase_units'][0]['payments']['authorizations'][0]['id']}"
    held = shop.right(shop.send("GET", hold), "payments_payment_v2", "authorization-2")
    assert held["status"] == "CREATED"
    assert held["supplementary_data"]["related_ids"]["order_id"] == number
    part = {"amount": {"currency_code": "USD", "value": "4.00"}, "final_capture": True}
    shop.right(shop.send("POST", f"{hold}/capture", part), "payments_payment_v2", "capture-2")
    assert shop.send("GET", hold).json["status"] == "PARTIALLY_CAPTURED"


def test_errors_are_as_the_schemas_say(shop: Shop) -> None:
    for reply, schema in (
        (shop.send("POST", ORDERS, {"intent": "SALE"}), "error_400"),
        (shop.send("GET", f"{ORDERS}/X"), "error_404"),
        (shop.send("POST", ORDERS, shop.order("o", "1.50", "JPY")), "error_422"),
    ):
        shop.right(reply, "checkout_orders_v2", schema)


# ---- idempotency -----------------------------------------------------------------------------------------------------


def test_a_request_id_makes_one_of_many_and_tells_the_first_from_the_others(shop: Shop) -> None:
    first, again = (shop.send("POST", ORDERS, shop.order("o-1"), request_id="o-1") for _ in range(2))
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    other = shop.send("POST", ORDERS, shop.order("o-1", "99.00"), request_id="o-1")
    assert other.json["id"] == first.json["id"], "PayPal answers what came of the first"
    url = f"{ORDERS}/{first.json['id']}/capture"
    shop.approve("o-1")
    answers = [shop.send("POST", url, {}, request_id="c-1") for _ in range(3)]
    assert [reply.status for reply in answers] == [201, 200, 200]
    assert shop.truth("o-1")["charged_count"] == 1
    assert issues(shop.send("POST", url, {}, request_id="c-2")) == (
        422,
        "UNPROCESSABLE_ENTITY",
        ["ORDER_ALREADY_CAPTURED"],
    )


def test_without_a_request_id_each_request_is_a_new_one(shop: Shop) -> None:
    numbers = {shop.send("POST", ORDERS, shop.order("o-1")).json["id"] for _ in range(3)}
    assert len(numbers) == 3
    trades = shop.sandbox.control("GET", f"/paypal/trades?merchant={shop.merchant}")["trades"]
    assert [trade["order"] for trade in trades] == ["o-1", "o-1#2", "o-1#3"]


def test_an_invoice_is_paid_once_whatever_number_of_orders_it_has(shop: Shop) -> None:
    first, second = (shop.send("POST", ORDERS, shop.order("o-1")).json["id"] for _ in range(2))
    for reference in ("o-1", "o-1#2"):
        shop.approve(reference)
    assert shop.send("POST", f"{ORDERS}/{first}/capture", {}).status == 201
    assert issues(shop.send("POST", f"{ORDERS}/{second}/capture", {}))[2] == ["DUPLICATE_INVOICE_ID"]


def test_one_merchants_request_ids_and_numbers_are_not_anothers(shop: Shop, sandbox: Sandbox) -> None:
    other = Shop(sandbox, sandbox.control("POST", "/paypal/merchants", {}))
    mine, capture = shop.create("o-1"), shop.paid("o-2")
    assert other.create("o-1") != mine
    for path in (f"{ORDERS}/{mine}", f"{PAYMENTS}/captures/{capture}"):
        assert issues(other.send("GET", path)) == (404, "RESOURCE_NOT_FOUND", ["INVALID_RESOURCE_ID"])


# ---- what is refused -------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"intent": "SALE"}, 400, "INVALID_PARAMETER_VALUE"),
    ({"intent": None}, 400, "MISSING_REQUIRED_PARAMETER"),
    ({"purchase_units": []}, 400, "MISSING_REQUIRED_PARAMETER"),
    ({"purchase_units": [{}]}, 400, "MISSING_REQUIRED_PARAMETER"),
    ({"purchase_units": [{"amount": {"value": "1.00"}}]}, 400, "MISSING_REQUIRED_PARAMETER"),
    ({"purchase_units": [{"amount": {"currency_code": "USD", "value": 1}}]}, 400, "INVALID_PARAMETER_SYNTAX"),
    ({"purchase_units": [{"amount": {"currency_code": "USD", "value": "1,00"}}]}, 400, "INVALID_PARAMETER_SYNTAX"),
    ({"purchase_units": [{"amount": {"currency_code": "XAU", "value": "1.00"}}]}, 422, "INVALID_CURRENCY_CODE"),
    ({"purchase_units": [{"amount": {"currency_code": "USD", "value": "1.001"}}]}, 422, "DECIMAL_PRECISION"),
    ({"purchase_units": [{"amount": {"currency_code": "TWD", "value": "1.50"}}]}, 422, "DECIMALS_NOT_SUPPORTED"),
    ({"purchase_units": [{"amount": {"currency_code": "USD", "value": "0.00"}}]}, 422, "CANNOT_BE_ZERO_OR_NEGATIVE"),
    ({"purchase_units": [{"amount": {"currency_code": "USD", "value": "-1.00"}}]}, 422, "CANNOT_BE_ZERO_OR_NEGATIVE"),
    (
        {"purchase_units": [{"amount": {"currency_code": "USD", "value": "1.00"}, "custom_id": "x" * 128}]},
        400,
        "INVALID_STRING_LENGTH",
    ),
]


@pytest.mark.parametrize(("change", "status", "issue"), REFUSED)
def test_an_order_that_makes_no_sense_is_refused_by_name(
    refused_shop: Shop, change: dict[str, Any], status: int, issue: str
) -> None:
    reply = refused_shop.send("POST", ORDERS, refused_shop.order("o-1") | change)
    assert (reply.status, issues(reply)[2]) == (status, [issue])


def test_what_is_no_json_is_refused(refused_shop: Shop) -> None:
    for raw in (b"{", b"[]", b'"x"'):
        assert issues(refused_shop.send("POST", ORDERS, raw))[2] == ["MALFORMED_REQUEST_JSON"]


def test_an_order_goes_the_way_of_its_intent_and_only_after_approval(shop: Shop) -> None:
    number = shop.create("o-1")
    assert issues(shop.send("POST", f"{ORDERS}/{number}/capture", {}))[2] == ["ORDER_NOT_APPROVED"]
    assert issues(shop.send("POST", f"{ORDERS}/{number}/authorize", {}))[2] == ["ACTION_DOES_NOT_MATCH_INTENT"]
    shop.approve("o-1")
    assert shop.truth("o-1")["charged_count"] == 0, "approving moves nothing"


def test_reserved_money_is_captured_once_or_released_once(shop: Shop) -> None:
    taken, dropped = shop.held("o-1"), shop.held("o-2")
    url = f"{PAYMENTS}/authorizations/{taken}"
    euros = {"amount": {"currency_code": "EUR", "value": "1.00"}}
    assert issues(shop.send("POST", f"{url}/capture", euros))[2] == ["AUTH_CAPTURE_CURRENCY_MISMATCH"]
    much = {"amount": {"currency_code": "USD", "value": "10.01"}}
    assert issues(shop.send("POST", f"{url}/capture", much))[2] == ["MAX_CAPTURE_AMOUNT_EXCEEDED"]
    assert shop.send("POST", f"{url}/capture").status == 201
    assert issues(shop.send("POST", f"{url}/capture"))[2] == ["AUTHORIZATION_ALREADY_CAPTURED"]
    assert issues(shop.send("POST", f"{url}/void"))[2] == ["PREVIOUSLY_CAPTURED"]
    other = f"{PAYMENTS}/authorizations/{dropped}"
    assert shop.send("POST", f"{other}/void", whole=False).status == 204
    assert issues(shop.send("POST", f"{other}/void"))[2] == ["PREVIOUSLY_VOIDED"]
    assert issues(shop.send("POST", f"{other}/capture"))[2] == ["AUTHORIZATION_VOIDED"]
    assert [shop.truth(name)["charged_count"] for name in ("o-1", "o-2")] == [1, 0]


def test_no_more_is_given_back_than_was_paid_and_an_empty_wish_means_the_rest(shop: Shop) -> None:
    url = f"{PAYMENTS}/captures/{shop.paid('o-1', '10.00')}/refund"
    some = {"amount": {"currency_code": "USD", "value": "4.00"}, "invoice_id": "r-1"}
    assert shop.send("POST", url, some).status == 201
    assert issues(shop.send("POST", url, some))[2] == ["DUPLICATE_INVOICE_ID"]
    much = {"amount": {"currency_code": "USD", "value": "6.01"}}
    assert issues(shop.send("POST", url, much))[2] == ["REFUND_AMOUNT_EXCEEDED"]
    euros = {"amount": {"currency_code": "EUR", "value": "1.00"}}
    assert issues(shop.send("POST", url, euros))[2] == ["REFUND_CAPTURE_CURRENCY_MISMATCH"]
    assert shop.send("POST", url).json["amount"]["value"] == "6.00"
    assert issues(shop.send("POST", url))[2] == ["CAPTURE_FULLY_REFUNDED"]
    assert sum(refund["amount"] for refund in shop.truth("o-1")["refunds"]) == 1000


def test_a_minimal_answer_still_says_what_happened_to_the_money(shop: Shop) -> None:
    made = shop.send("POST", ORDERS, shop.order("o-1"), whole=False)
    assert made.json.keys() == {"id", "status", "links"}
    shop.approve("o-1")
    done = shop.send("POST", f"{ORDERS}/{made.json['id']}/capture", {}, whole=False).json
    assert done["purchase_units"][0].keys() == {"reference_id", "payments"}


# ---- faults ----------------------------------------------------------------------------------------------------------


def fault(shop: Shop, name: str, **match: str) -> None:
    params = {"refuse": {"code": "INSTRUMENT_DECLINED"}}.get(name, {})
    shop.sandbox.order_fault(name, rail="paypal", params=params, merchant=shop.merchant, **match)


def test_faults_are_answered_as_paypal_answers(shop: Shop) -> None:
    number = shop.create("o-1")
    shop.approve("o-1")
    url = f"{ORDERS}/{number}/capture"
    fault(shop, "refuse", op="proceed", order="o-1")
    assert issues(shop.send("POST", url, {})) == (422, "UNPROCESSABLE_ENTITY", ["INSTRUMENT_DECLINED"])
    fault(shop, "frequency_limited", op="proceed")
    assert issues(shop.send("POST", url, {}))[:2] == (429, "RATE_LIMIT_REACHED")
    fault(shop, "system_error", op="proceed")
    assert issues(shop.send("POST", url, {}))[:2] == (500, "INTERNAL_SERVER_ERROR")
    assert shop.truth("o-1")["charged_count"] == 0
    fault(shop, "answer_lost", op="proceed")
    with pytest.raises(NoAnswer):
        shop.send("POST", url, {}, request_id="c-1")
    assert shop.send("POST", url, {}, request_id="c-1").status == 200
    assert shop.truth("o-1")["charged_count"] == 1


def test_logging_in_can_fail_too(shop: Shop) -> None:
    fault(shop, "down", op="login")
    with pytest.raises(NoAnswer):
        shop.log_in()
    assert shop.log_in().status == 200


# ---- the payer's page ------------------------------------------------------------------------------------------------


def test_the_payers_page_shows_the_amount_asks_nothing_of_anybody_and_sends_the_payer_back(shop: Shop) -> None:
    context = {"return_url": "https://shop.example/thanks?o=1", "cancel_url": "https://shop.example/cart"}
    made = shop.send("POST", ORDERS, shop.order("o-1", application_context=context), request_id="o-1").json
    (page,) = [link["href"] for link in made["links"] if link["rel"] == "approve"]
    path = urlsplit(page).path
    seen = exchange(shop.sandbox.base_url, "GET", path, {}, b"")
    text = seen.body.decode()
    assert "12.34 USD" in text
    assert "http" not in text, "no request goes anywhere else"
    assert seen.headers["Content-Security-Policy"].startswith("default-src 'none'")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    left = exchange(shop.sandbox.base_url, "POST", path, form, urlencode({"choice": "decline"}).encode())
    assert (left.status, left.headers["Location"]) == (303, f"https://shop.example/cart?token={made['id']}")
    assert shop.send("GET", f"{ORDERS}/{made['id']}").json["status"] == "CREATED"
    done = exchange(shop.sandbox.base_url, "POST", path, form, urlencode({"choice": "pay"}).encode())
    assert done.status == 303
    assert done.headers["Location"].startswith(f"https://shop.example/thanks?o=1&token={made['id']}&PayerID=")
    assert shop.send("GET", f"{ORDERS}/{made['id']}").json["status"] == "APPROVED"
    late = shop.sandbox.try_control("POST", "/paypal/decline", {"merchant": shop.merchant, "order": "o-1"})
    assert (late.status, late.code) == (409, "order_approved")
    assert exchange(shop.sandbox.base_url, "GET", "/sandbox/paypal/pay/nobody", {}, b"").status == 404


# ---- notices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def heard(shop: Shop) -> Iterator[tuple[Door, str]]:
    """A door that is registered through PayPal's own API, and the number of its webhook."""
    with door() as opened:
        wish = {"url": opened.url, "event_types": [{"name": "*"}]}
        made = shop.send("POST", "/v1/notifications/webhooks", wish)
        assert made.status == 201
        yield opened, shop.right(made, "notifications_webhooks_v1", "webhook")["id"]


def test_webhooks_are_registered_listed_and_removed(shop: Shop, heard: tuple[Door, str]) -> None:
    opened, number = heard
    url = "/v1/notifications/webhooks"
    listed = shop.send("GET", url).json["webhooks"]
    assert [(hook["id"], hook["url"]) for hook in listed] == [(number, opened.url)]
    assert shop.send("GET", f"{url}/{number}").json == listed[0]
    wish = {"url": opened.url, "event_types": [{"name": "*"}]}
    assert issues(shop.send("POST", url, wish))[2] == ["WEBHOOK_URL_ALREADY_EXISTS"]
    for wrong in ({"url": "http://shop.example/x"}, {"url": "ftp://x"}, {"event_types": []}, {"event_types": "*"}):
        assert shop.send("POST", url, {"url": "https://a.example"} | wish | wrong).status == 400
    assert shop.send("DELETE", f"{url}/{number}").status == 204
    assert shop.send("DELETE", f"{url}/{number}").status == 404
    assert shop.send("GET", f"{url}/{number}").status == 404


def test_every_step_is_told_signed_and_as_the_schema_says(shop: Shop, heard: tuple[Door, str]) -> None:
    opened, webhook_id = heard
    capture = shop.paid("o-1")
    shop.send("POST", f"{PAYMENTS}/captures/{capture}/refund", {"custom_id": "o-1", "invoice_id": "r-1"})
    shop.send("POST", f"{PAYMENTS}/authorizations/{shop.held('o-2')}/void")
    wanted = {
        "CHECKOUT.ORDER.APPROVED",
        "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.CAPTURE.REFUNDED",
        "PAYMENT.AUTHORIZATION.CREATED",
        "PAYMENT.AUTHORIZATION.VOIDED",
    }
    eventually(lambda: {json.loads(one.body)["event_type"] for one in opened.deliveries} == wanted)
    for one in opened.deliveries:
        event = json.loads(one.body)
        assert faults("notifications_webhooks_v1", "event", event) == []
        headers = {name.lower(): value for name, value in one.headers.items()}
        verified(shop, headers, one.body, webhook_id)
        wish = {
            "auth_algo": headers["paypal-auth-algo"],
            "cert_url": headers["paypal-cert-url"],
            "transmission_id": headers["paypal-transmission-id"],
            "transmission_sig": headers["paypal-transmission-sig"],
            "transmission_time": headers["paypal-transmission-time"],
            "webhook_id": webhook_id,
        }
        assert asked(shop, wish, one.body) == "SUCCESS"
        assert asked(shop, wish, one.body.replace(b"12.34", b"12.35").replace(b"10.00", b"10.01")) == "FAILURE"
        assert asked(shop, wish | {"webhook_id": "1JE4291016473214C"}, one.body) == "FAILURE"
        assert asked(shop, wish | {"cert_url": "https://api.paypal.com/v1/x"}, one.body) == "FAILURE"


def asked(shop: Shop, wish: dict[str, str], event: bytes) -> str:
    """Return what PayPal's own check says; the event goes in as the bytes that came."""
    raw = json.dumps(wish).encode()[:-1] + b', "webhook_event" : ' + event + b"}"
    reply = shop.send("POST", "/v1/notifications/verify-webhook-signature", raw)
    assert faults("notifications_webhooks_v1", "verify_webhook_signature", json.loads(raw)) == []
    return str(
        shop.right(reply, "notifications_webhooks_v1", "verify_webhook_signature_response")["verification_status"]
    )


def verified(shop: Shop, headers: dict[str, str], body: bytes, webhook_id: str) -> None:
    """Check a notice with nothing but the certificate it names and the root the merchant was given."""
    path = headers["paypal-cert-url"].removeprefix(shop.sandbox.base_url)
    pem = exchange(shop.sandbox.base_url, "GET", path, {}, b"").body
    leaf, between = x509.load_pem_x509_certificates(pem)
    root = x509.load_pem_x509_certificate(shop.settings["webhook_root_cert"].encode())
    leaf.verify_directly_issued_by(between)
    between.verify_directly_issued_by(root)
    (name,) = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert str(name.value).endswith(".paypal.com")
    names = ("paypal-transmission-id", "paypal-transmission-time")
    text = "|".join([*(headers[name] for name in names), webhook_id, str(zlib.crc32(body))])
    key: Any = leaf.public_key()
    signature = base64.b64decode(headers["paypal-transmission-sig"])
    key.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_a_notice_is_repeated_until_it_is_acknowledged(shop: Shop) -> None:
    with door(answers=[500, 302, 200]) as opened:
        shop.send("POST", "/v1/notifications/webhooks", {"url": opened.url, "event_types": [{"name": "*"}]})
        shop.create("o-1")
        shop.approve("o-1")
        eventually(lambda: len(opened.deliveries) == 3)
        assert len({one.id for one in opened.deliveries}) == 1
        state = eventually(lambda: notice_states(shop) == ["acknowledged"] and notice_states(shop))
        assert state == ["acknowledged"]


def notice_states(shop: Shop) -> list[str]:
    listed = shop.sandbox.control("GET", f"/paypal/notices?merchant={shop.merchant}")["notices"]
    return [notice["state"] for notice in listed]


def test_a_new_certificate_signs_and_the_old_one_can_still_be_fetched(shop: Shop, heard: tuple[Door, str]) -> None:
    opened, webhook_id = heard
    shop.create("o-1")
    shop.approve("o-1")
    eventually(lambda: len(opened.deliveries) == 1)
    made = shop.sandbox.control("POST", "/paypal/rotate-keys", {})
    shop.create("o-2")
    shop.approve("o-2")
    eventually(lambda: len(opened.deliveries) == 2)
    old, new = ({name.lower(): value for name, value in one.headers.items()} for one in opened.deliveries)
    assert new["paypal-cert-url"] == made["cert_url"] != old["paypal-cert-url"]
    for headers, one in zip((old, new), opened.deliveries, strict=True):
        verified(shop, headers, one.body, webhook_id)


# ---- the report ------------------------------------------------------------------------------------------------------


def today() -> date:
    return datetime.now(UTC).astimezone(BEIJING).date()


def report(shop: Shop, day: date, **asked: Any) -> Reply:
    begins = datetime.combine(day, datetime.min.time(), BEIJING).astimezone(UTC)
    ends = begins + timedelta(days=1, seconds=-1)
    query = {"start_date": f"{begins:%Y-%m-%dT%H:%M:%SZ}", "end_date": f"{ends:%Y-%m-%dT%H:%M:%SZ}"} | asked
    return shop.send("GET", f"/v1/reporting/transactions?{urlencode(query)}")


def test_the_report_says_what_happened_on_closed_days_page_by_page(shop: Shop) -> None:
    for number in range(5):
        shop.paid(f"o-{number}", "10.00")
    day = today()
    early = report(shop, day).json
    assert early["total_items"] == 0
    assert datetime.fromisoformat(early["last_refreshed_datetime"]).astimezone(BEIJING).date() == day
    shop.sandbox.control("POST", "/paypal/close-day", {"merchant": shop.merchant, "date": day.isoformat()})
    pages = [report(shop, day, page_size=2, page=number).json for number in (1, 2, 3)]
    assert [len(page["transaction_details"]) for page in pages] == [2, 2, 1]
    assert {(page["total_items"], page["total_pages"], page["account_number"]) for page in pages} == {
        (5, 3, shop.merchant)
    }
    after = datetime.fromisoformat(pages[0]["last_refreshed_datetime"]).astimezone(BEIJING)
    assert (after.date(), after.hour) == (day + timedelta(days=1), 0)
    infos = [each["transaction_info"] for page in pages for each in page["transaction_details"]]
    assert {info["custom_field"] for info in infos} == {f"o-{number}" for number in range(5)}
    assert {info["fee_amount"]["value"] for info in infos} == {"-0.74"}
    nothing = shop.paid("late", "1.00")
    assert nothing
    assert report(shop, day).json["total_items"] == 5, "what comes after the end of a day is the next day's"


def test_a_part_of_a_day_has_what_happened_then(shop: Shop) -> None:
    shop.paid("o-1")
    day = today()
    shop.sandbox.control("POST", "/paypal/close-day", {"merchant": shop.merchant, "date": day.isoformat()})
    now = datetime.now(UTC)
    around = {
        "start_date": f"{now - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
        "end_date": f"{now + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
    }
    before = around | {"end_date": around["start_date"]}
    assert report(shop, day, **around).json["total_items"] == 1
    assert report(shop, day, **before).json["total_items"] == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"start_date": "today"},
        {"start_date": "2026-01-01"},
        {"end_date": "2026-01-01T00:00:00"},
        {"page": "0"},
        {"page_size": "501"},
        {"page": "x"},
        {"start_date": "2020-01-01T00:00:00Z"},
        {"end_date": "2020-01-01T00:00:00Z"},
    ],
)
def test_a_report_that_is_asked_for_wrongly_is_refused(refused_shop: Shop, asked: dict[str, str]) -> None:
    reply = report(refused_shop, today(), **asked)
    assert (reply.status, reply.json["name"]) == (400, "INVALID_REQUEST")


def test_the_net_of_a_day_is_paid_out_under_paypals_mark(shop: Shop) -> None:
    customer = shop.sandbox.control("POST", "/bank/customers", {"name": "tea"})
    headers = {"Authorization": f"Bearer {Path(customer['token_file']).read_text()}"}
    pool = json.dumps({"reference": "pool", "name": "tea", "currency": "CNY", "kind": "pool"}).encode()
    account = exchange(shop.sandbox.base_url, "POST", "/bank/accounts", headers, pool).json["account"]
    shop.sandbox.control("PATCH", f"/paypal/merchants/{shop.merchant}", {"settle_to": account})
    made = shop.send("POST", ORDERS, shop.order("o-1", "10.00", "CNY")).json
    shop.paid("o-2", "99.00")  # dollars stay with PayPal
    shop.approve("o-1")
    shop.send("POST", f"{ORDERS}/{made['id']}/capture", {})
    day = today()
    closed = shop.sandbox.control("POST", "/paypal/close-day", {"merchant": shop.merchant, "date": day.isoformat()})
    assert (closed["net"], closed["settle_to"]) == (1000 - 74, account)
    assert closed["end_to_end_id"] == f"PP{shop.merchant}{day:%Y%m%d}"
    assert len(closed["end_to_end_id"]) <= 35
