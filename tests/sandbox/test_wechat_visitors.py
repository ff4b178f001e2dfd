"""The simulated WeChat tells a merchant's page who visits it: silently, by a code that is good once."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.sandbox.sandbox_client import Merchant, Sandbox, exchange

BACK = "http://127.0.0.1:9/pay/t/payer?lang=zh"


def authorize(merchant: Merchant, cookie: str = "", **change: str) -> Any:
    asked = {
        "appid": merchant.appid,
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "s1",
        **change,
    }
    headers = {"Cookie": cookie} if cookie else {}
    return exchange(merchant.base_url, "GET", f"/connect/oauth2/authorize?{urlencode(asked)}", headers, b"")


def code_in(answer: Any) -> str:
    assert answer.status == 302
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def trade_in(merchant: Merchant, code: str, **change: str) -> Any:
    secret = Path(merchant.credentials["app_secret_file"]).read_text()
    asked = {"appid": merchant.appid, "secret": secret, "code": code, "grant_type": "authorization_code", **change}
    return exchange(merchant.base_url, "GET", f"/sns/oauth2/access_token?{urlencode(asked)}", {}, b"")


def test_a_visitor_comes_back_with_a_code_that_tells_who_it_is_once(merchant: Merchant) -> None:
    first = authorize(merchant)
    there = urlsplit(first.headers["Location"])
    assert f"{there.scheme}://{there.netloc}{there.path}" == "http://127.0.0.1:9/pay/t/payer"
    assert (parse_qs(there.query)["lang"], parse_qs(there.query)["state"]) == (["zh"], ["s1"])
    said = trade_in(merchant, code_in(first))
    assert said.status == 200
    openid = said.json["openid"]
    assert openid.startswith("o")
    assert trade_in(merchant, code_in(first)).json["errcode"] == 40029, "a code is good once"
    again = authorize(merchant, first.headers["Set-Cookie"].partition(";")[0])
    assert trade_in(merchant, code_in(again)).json["openid"] == openid, "the same browser is the same payer"
    assert trade_in(merchant, code_in(authorize(merchant))).json["openid"] != openid


def test_a_code_is_the_merchants_own_and_needs_its_secret(sandbox: Sandbox, merchant: Merchant) -> None:
    code = code_in(authorize(merchant))
    assert trade_in(merchant, code, secret="wrong").json["errcode"] == 40125
    assert trade_in(merchant, code, appid="wx0").json["errcode"] == 40013
    stranger = sandbox.merchant()
    assert trade_in(stranger, code).json["errcode"] == 40029


def test_a_visitor_is_not_sent_on_by_parameters_out_of_order(merchant: Merchant) -> None:
    asked = {"redirect_uri": BACK, "appid": merchant.appid, "response_type": "code", "scope": "snsapi_base"}
    path = f"/connect/oauth2/authorize?{urlencode({**asked, 'state': 's1'})}"
    assert exchange(merchant.base_url, "GET", path, {}, b"").status == 400


@pytest.mark.parametrize(
    "change",
    [{"appid": "wx0"}, {"redirect_uri": "javascript:alert(1)"}, {"scope": "snsapi_userinfo"}, {"response_type": "x"}],
)
def test_a_visitor_is_not_sent_on_where_the_question_is_wrong(merchant: Merchant, change: dict[str, str]) -> None:
    answer = authorize(merchant, **change)
    assert (answer.status, "Location" in answer.headers) == (400, False)
    assert json.dumps(answer.body.decode())
