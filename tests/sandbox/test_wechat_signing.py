"""Who may speak, how the answer is signed, and what a stranger is told."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.sandbox.sandbox_client import BadSignature, Merchant, Sandbox, exchange, new_number

NATIVE = "/v3/pay/transactions/native"


def test_the_current_platform_certificate_signs_unless_the_request_names_the_public_key(merchant: Merchant) -> None:
    body = merchant.order(new_number())
    by_certificate = merchant.call("POST", NATIVE, body)
    public_key_id = merchant.credentials["public_key_id"]
    by_public_key = merchant.call("POST", NATIVE, body, {"Wechatpay-Serial": public_key_id})
    assert by_certificate.headers["Wechatpay-Serial"] == merchant.credentials["platform_certificates"][-1]["serial_no"]
    assert by_public_key.headers["Wechatpay-Serial"] == public_key_id
    assert by_certificate.headers["Request-ID"] != by_public_key.headers["Request-ID"]


def test_the_empty_answer_of_close_is_signed_over_its_empty_body(merchant: Merchant) -> None:
    out_trade_no = new_number()
    merchant.create(out_trade_no)
    reply = merchant.close(out_trade_no)
    assert (reply.status, reply.body) == (204, b"")


def test_a_refusal_carries_no_signature(merchant: Merchant) -> None:
    reply = merchant.query(new_number())
    assert reply.status == 404
    assert not [name for name in reply.headers if name.startswith("Wechatpay-")]


@pytest.mark.parametrize(
    "forgery",
    [
        {"headers": {"Authorization": ""}},
        {"headers": {"Authorization": "Bearer abc"}},
        {"headers": {"Authorization": 'WECHATPAY2-SHA256-RSA2048 mchid="1"'}},
        {"skew_s": -310},
        {"skew_s": 310},
        {"timestamp": "soon"},
        {"nonce": "n" * 33},
        {"serial_no": "5A" * 20},
        {"mchid": "1800000000"},
        {"key": "another merchant's"},
    ],
    ids=str,
)
def test_a_request_that_is_not_the_merchants_is_refused_and_nothing_happens(
    sandbox: Sandbox, merchant: Merchant, forgery: dict[str, Any]
) -> None:
    if "key" in forgery:
        forgery = {"key": sandbox.merchant().private_key}
    if "skew_s" in forgery:
        forgery = {"timestamp": int(time.time()) + forgery["skew_s"]}
    out_trade_no = new_number()
    reply = merchant.send("POST", NATIVE, merchant.order(out_trade_no), **forgery)
    assert (reply.status, reply.code) == (401, "SIGN_ERROR")
    assert sandbox.trade(merchant, out_trade_no) is None


def test_a_changed_body_or_query_breaks_the_signature(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    raw = json.dumps(merchant.order(out_trade_no, 100)).encode()
    headers = {"Accept": "*/*", "User-Agent": "x", "Authorization": merchant.authorization("POST", NATIVE, raw)}
    reply = exchange(merchant.base_url, "POST", NATIVE, headers, raw.replace(b"100", b"101"))
    assert (reply.status, reply.code) == (401, "SIGN_ERROR")
    assert sandbox.trade(merchant, out_trade_no) is None
    target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid="
    headers = {"Accept": "*/*", "User-Agent": "x", "Authorization": merchant.authorization("GET", target + "1", b"")}
    assert exchange(merchant.base_url, "GET", target + merchant.mchid, headers, b"").status == 401


def test_a_clock_less_than_five_minutes_off_is_accepted(merchant: Merchant) -> None:
    for skew_s in (-280, 280):
        body = merchant.order(new_number())
        assert merchant.send("POST", NATIVE, body, timestamp=int(time.time()) + skew_s).status == 200


def test_the_first_fault_in_the_stated_order_is_the_one_named(merchant: Merchant) -> None:
    stale: dict[str, Any] = {"timestamp": 1, "serial_no": "5A" * 20}
    body = merchant.order(new_number())
    assert "timestamp" in merchant.send("POST", NATIVE, body, **stale).json["message"]
    del stale["timestamp"]
    assert "证书序列号" in merchant.send("POST", NATIVE, body, **stale).json["message"]


def test_a_recorded_request_cannot_be_played_again(merchant: Merchant) -> None:
    raw = json.dumps(merchant.order(new_number())).encode()
    headers = {"Accept": "*/*", "User-Agent": "x", "Authorization": merchant.authorization("POST", NATIVE, raw)}
    assert exchange(merchant.base_url, "POST", NATIVE, headers, raw).status == 200
    again = exchange(merchant.base_url, "POST", NATIVE, headers, raw)
    assert (again.status, again.code) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("header", ["User-Agent", "Accept"])
def test_a_request_without_accept_or_user_agent_is_refused_before_its_signature_is_read(
    merchant: Merchant, header: str
) -> None:
    reply = merchant.send("POST", NATIVE, merchant.order(new_number()), {header: "", "Authorization": "junk"})
    assert (reply.status, reply.code) == (400, "INVALID_REQUEST")


def test_unknown_paths_and_methods_are_answered_with_an_empty_body(merchant: Merchant) -> None:
    for method, target, status in (("GET", "/v3/pay/nowhere", 404), ("DELETE", NATIVE, 405)):
        reply = merchant.send(method, target)
        assert (reply.status, reply.body) == (status, b"")


def test_a_platform_key_that_does_not_exist_is_refused(merchant: Merchant) -> None:
    body = merchant.order(new_number())
    reply = merchant.send("POST", NATIVE, body, {"Wechatpay-Serial": "PUB_KEY_ID_1"})
    assert (reply.status, reply.code) == (400, "PARAM_ERROR")


def test_after_a_rotation_old_and_new_certificates_serve_side_by_side(sandbox: Sandbox, merchant: Merchant) -> None:
    old = merchant.credentials["platform_certificates"][-1]["serial_no"]
    new = sandbox.control("POST", "/wechat/rotate-keys")
    answer = merchant.send("GET", "/v3/certificates")
    assert answer.headers["Wechatpay-Serial"] == new["serial_no"]
    with pytest.raises(BadSignature):  # the new key is not known to this merchant before it has downloaded it
        merchant.verify(answer.headers, answer.body)
    serials = []
    for entry in answer.json["data"]:
        pem = merchant.decrypt(entry["encrypt_certificate"])
        certificate = x509.load_pem_x509_certificate(pem)
        assert f"{certificate.serial_number:040X}" == entry["serial_no"]
        merchant.platform_keys[entry["serial_no"]] = certificate.public_key()
        serials.append(entry["serial_no"])
    assert {old, new["serial_no"]} <= set(serials)
    assert Path(new["file"]).read_bytes() == pem
    assert merchant.verify(answer.headers, answer.body) == new["serial_no"]
    asked = merchant.call("POST", NATIVE, merchant.order(new_number()), {"Wechatpay-Serial": old.lower()})
    assert asked.headers["Wechatpay-Serial"] == old


def test_a_merchant_of_public_key_mode_has_no_certificates_and_is_answered_by_the_public_key(sandbox: Sandbox) -> None:
    modern = sandbox.merchant(public_key_only=True)
    reply = modern.call("GET", "/v3/certificates")
    assert (reply.status, reply.code) == (404, "RESOURCE_NOT_EXISTS")
    created = modern.call("POST", NATIVE, modern.order(new_number()))
    assert created.headers["Wechatpay-Serial"] == modern.credentials["public_key_id"]
