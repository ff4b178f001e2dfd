"""Both public Alipay libraries against our sandbox, and our adapter against both: three readings of one protocol.

What the libraries verify, the sandbox signed; what the adapter signs, the libraries verify; what they would take for a
notice, the adapter takes.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives import serialization

from channels import BadNotice, Confirmed, Kind, Method, Order, RefundOrder, alipay
from channels.alipay import Alipay
from kernel.clock import business_date
from kernel.env import Request, Response
from kernel.money import Money
from tests.sdk.environments import run

HERE = Path(__file__).parent
NOW = datetime.now(UTC)
DAY = business_date(NOW)


def sign_up(base_url: str) -> dict[str, Any]:
    wanted = json.dumps({"certificates": True}).encode()
    with urlopen(HttpRequest(f"{base_url}/control/alipay/merchants", wanted)) as answer:
        return dict(json.load(answer))


def adapter(account: dict[str, Any], *, certified: bool) -> Alipay:
    return alipay.build({name: value for name, value in account.items() if certified or "certificate" not in name})


def every_request(channel: Alipay) -> Iterator[dict[str, str]]:
    """Yield the parameters of each kind of request the adapter signs, and of what payers carry."""

    def parameters(request: Request) -> dict[str, str]:
        signed = channel.sign(request, now=NOW, nonce="")
        return dict(parse_qsl(urlsplit(signed.url).query) + parse_qsl(signed.body.decode()))

    def order(method: Method) -> Order:
        return Order(
            "1-01937a0b5c00aabbccddeeff001120", Money(1234, "CNY"), method, "茶叶 & Tea +1%", "https://hub.example/n?a=1",
            NOW + timedelta(hours=1), NOW, auth_code="280000000000000000", store="till-7", payer="2088102177846880",
            return_url="https://shop.example/b?c=d&e=f",
        )  # fmt: skip

    refund = RefundOrder(
        "1-01937a0b5c00aabbccddeeff00999", order(Method.QR).reference, Money(1234, "CNY"), Money(234, "CNY"), "不合适",
        "", NOW, NOW,
    )  # fmt: skip
    for method in (Method.QR, Method.BARCODE, Method.JSAPI):
        yield parameters(channel.pay_request(order(method)))
    yield parameters(channel.query_request(order(Method.QR)))
    yield parameters(channel.close_request(order(Method.QR)))
    yield parameters(channel.reverse_request(order(Method.BARCODE)))
    yield parameters(channel.refund_request(refund))
    yield parameters(channel.refund_query_request(refund))
    yield parameters(channel.bill_request(DAY))
    for method in (Method.PAGE, Method.H5, Method.APP):
        action = channel.payer_initiated_action(order(method), now=NOW, nonce="").next_action or {}
        yield dict(parse_qsl((action.get("url") or action["order_string"]).rpartition("?")[2]))


@pytest.fixture(scope="module")
def account(sandbox_url: str) -> dict[str, Any]:
    return sign_up(sandbox_url)


def told(account: dict[str, Any], pkcs1: bool = False) -> dict[str, Any]:
    """Return what a library is configured with. pkcs1: the one form of private key that the official one reads."""
    private = Path(account["private_key_file"]).read_bytes()
    key: Any = serialization.load_pem_private_key(private, None)
    form = serialization.PrivateFormat.TraditionalOpenSSL if pkcs1 else serialization.PrivateFormat.PKCS8
    own = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    ours = [*every_request(adapter(account, certified=False)), *every_request(adapter(account, certified=True))]
    files = ("alipay_public_key", "app_certificate", "alipay_certificate", "alipay_root_certificate")
    return {
        "base_url": account["base_url"],
        "app_id": account["app_id"],
        "seller_id": account["seller_id"],
        "private_key": key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode(),
        "app_public_key": own.decode(),
        **{name: Path(account[f"{name}_file"]).read_text() for name in files},
        "auth_codes": ["280000000000000017", "280000000000000027"],
        "day": DAY.isoformat(),
        "ours": ours,
    }


@pytest.fixture(scope="module")
def official(sandbox_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    account = sign_up(sandbox_url)
    return account, run("alipay-official", HERE / "alipay_official_sdk.py", told=told(account, pkcs1=True))


@pytest.fixture(scope="module")
def community(sandbox_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    account = sign_up(sandbox_url)
    return account, run("alipay-community", HERE / "alipay_community_sdk.py", told=told(account))


def check_a_trade(said: dict[str, Any]) -> None:
    """Check what a library was told about the payment of 12.34 of which 2.34 went back."""
    assert said["precreate"]["qr_code"].startswith("https://qr.alipay.com/")
    paid = said["query"]
    assert (paid["trade_status"], paid["total_amount"]) == ("TRADE_SUCCESS", "12.34")
    first, again = said["refunds"]
    assert (first["fund_change"], first["refund_fee"]) == ("Y", "2.34")
    assert (again["fund_change"], again["refund_fee"]) == ("N", "2.34")
    assert (said["refund_query"]["refund_status"], said["refund_query"]["refund_amount"]) == ("REFUND_SUCCESS", "2.34")
    assert (said["barcode"]["code"], said["barcode"]["total_amount"]) == ("10000", "1.00")
    assert (said["cancel"]["retry_flag"], said["cancel"]["action"]) == ("N", "refund")
    assert said["close"]["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert "3.00 CNY" in said["page"]
    assert said["notice_verified"] is True
    assert said["forged_verified"] is False


def check_the_bill(said: dict[str, str], account: dict[str, Any], payments: int) -> None:
    """Check that a library's bill names its files as Alipay does, and that our adapter reads the same text."""
    names = sorted(said)
    assert names == [
        f"{account['seller_id']}0156_{DAY:%Y%m%d}_业务明细(汇总).csv",
        f"{account['seller_id']}0156_{DAY:%Y%m%d}_业务明细.csv",
    ]
    lines = list(
        adapter(account, certified=False).bill_lines("".join(said[name] for name in names[::-1]).encode("gbk"), DAY)
    )
    assert len([line for line in lines if line.kind is Kind.PAYMENT]) == payments
    assert {line.amount.minor for line in lines if line.status == "success" and line.kind is Kind.REFUND} == {234}


def test_the_official_library_does_a_merchants_day(official: tuple[dict[str, Any], dict[str, Any]]) -> None:
    account, said = official
    check_a_trade(said)
    assert said["before"]["sub_code"] == "ACQ.TRADE_NOT_EXIST", "nobody has scanned the code yet"
    assert said["refund_query"]["gmt_refund_pay"]
    assert "refund_status" not in said["no_refund"]
    assert said["gbk"]["qr_code"], "asked and answered in GBK"
    assert "sign verify failed" in said["stranger"], "the library does look at signatures"
    assert said["app"] == 300
    check_the_bill(said["bill"], account, payments=3)


@pytest.mark.parametrize("mode", ["keys", "certificates"])
def test_the_community_library_does_a_merchants_day(
    community: tuple[dict[str, Any], dict[str, Any]], mode: str
) -> None:
    _, said = community
    check_a_trade(said[mode])
    assert said[mode]["bind"]["result_code"] == "SUCCESS"
    (share,) = said[mode]["settle_query"]["royalty_detail_list"]
    assert (share["state"], share["amount"]) == ("SUCCESS", "0.50")


def test_the_community_library_reads_errors_and_bills(community: tuple[dict[str, Any], dict[str, Any]]) -> None:
    account, said = community
    assert said["stranger"] == "AliPayValidationError", "the library does look at signatures"
    assert "isv.invalid-app-id" in said["nobody"]
    check_the_bill(said["trade"], account, payments=4)
    (name,) = [name for name in said["signcustomer"] if "汇总" not in name]
    flow = list(adapter(account, certified=False).fund_lines(said["signcustomer"][name].encode("gbk"), DAY))
    assert sum(line.amount.minor for line in flow) == 2 * (1234 - 7 - 234 + 1 - 50)


@pytest.mark.parametrize("library", ["official", "community"])
def test_what_we_sign_is_right_in_the_eyes_of_the_library(library: str, request: pytest.FixtureRequest) -> None:
    _, said = request.getfixturevalue(library)
    assert len(said["ours_verified"]) == 24
    assert all(said["ours_verified"])
    assert not any(said["ours_altered"])


def test_both_compute_the_same_serials_of_certificates(community: tuple[dict[str, Any], dict[str, Any]]) -> None:
    account, said = community
    ours = next(every_request(adapter(account, certified=True)))
    assert (said["app_cert_sn"], said["root_cert_sn"]) == (ours["app_cert_sn"], ours["alipay_root_cert_sn"])


def test_a_notice_the_libraries_take_is_taken_by_us_and_a_forged_one_by_neither(
    official: tuple[dict[str, Any], dict[str, Any]], community: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    told = [(*official, False), (community[0], community[1]["keys"], False)]
    for account, said, certified in [*told, (community[0], community[1]["certificates"], True)]:
        channel = adapter(account, certified=certified)
        notice = channel.notice(Response(200, {}, said["notice"].encode()), now=NOW)
        assert notice is not None
        assert isinstance(notice.outcome, Confirmed)
        assert notice.outcome.amount == Money(1234, "CNY")
        assert notice.reference == dict(parse_qsl(said["notice"]))["out_trade_no"].replace("_", "-", 1)
        forged = said["notice"].replace("total_amount=12.34", "total_amount=99.99").encode()
        assert forged != said["notice"].encode()
        with pytest.raises(BadNotice):
            channel.notice(Response(200, {}, forged), now=NOW)
