"""The wallet page: a person plays the payer with nothing but a browser."""

import re
from urllib.parse import urlencode

import pytest

from tests.sandbox.sandbox_client import Merchant, Reply, Sandbox, exchange

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def send(sandbox: Sandbox, path: str, **fields: str) -> Reply:
    return exchange(sandbox.base_url, "POST", path, FORM, urlencode(fields).encode())


@pytest.mark.parametrize(("choice", "state"), [("pay", "SUCCESS"), ("decline", "NOTPAY")])
def test_a_payer_scans_sees_the_amount_and_decides(
    sandbox: Sandbox, merchant: Merchant, choice: str, state: str
) -> None:
    code = merchant.create(f"order-{choice}")
    page = send(sandbox, "/wallet", code=code)
    text = page.body.decode()
    assert page.status == 200
    assert re.search(r"\d+\.\d\d CNY", text)
    assert f"order-{choice}" in text
    assert send(sandbox, "/wallet/answer", code=code, app="wechat", choice=choice).status == 200
    trade = sandbox.trade(merchant, f"order-{choice}")
    assert trade["trade_state"] == state


def test_a_code_of_no_app_is_asked_about_and_an_address_is_opened(sandbox: Sandbox) -> None:
    assert exchange(sandbox.base_url, "GET", "/wallet", {}, b"").status == 200
    assert send(sandbox, "/wallet", code="something").status == 422
    opened = send(sandbox, "/wallet", code="https://pay.example.com/pay/x?a='\"><script>").body.decode()
    assert "<script>" not in opened
    assert 'href="https://pay.example.com/pay/x' in opened
    assert send(sandbox, "/wallet", code="weixin://wxpay/bizpayurl?pr=none").status == 404
    assert send(sandbox, "/wallet/answer", code="weixin://x", app="wechat", choice="steal").status == 400
