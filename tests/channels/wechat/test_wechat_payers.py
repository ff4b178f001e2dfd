"""Who visits a page inside WeChat: where the visitor is sent, how the code is exchanged, which answers are believed."""

from urllib.parse import parse_qs, urlsplit

import pytest

from channels.contract import BadNotice, Response
from channels.wechat.payers import Payers

OURS = Payers("wx0123456789abcdef", "s3cret")


def answer(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body)


def test_a_visitor_is_sent_to_wechat_and_asked_nothing() -> None:
    url = OURS.url("https://pay.example.com/pay/t/payer?lang=zh", "abc123")
    assert url is not None
    parts = urlsplit(url)
    assert (parts.netloc, parts.path, parts.fragment) == (
        "open.weixin.qq.com",
        "/connect/oauth2/authorize",
        "wechat_redirect",
    )
    assert parse_qs(parts.query) == {
        "appid": ["wx0123456789abcdef"],
        "redirect_uri": ["https://pay.example.com/pay/t/payer?lang=zh"],
        "response_type": ["code"],
        "scope": ["snsapi_base"],
        "state": ["abc123"],
    }


def test_without_an_app_secret_nobody_is_asked() -> None:
    assert Payers("wx0123456789abcdef").url("https://pay.example.com/", "abc") is None


def test_the_code_is_exchanged_for_the_openid() -> None:
    request = OURS.request("c&d")
    assert request.url.startswith("https://api.weixin.qq.com/sns/oauth2/access_token?")
    assert parse_qs(urlsplit(request.url).query)["code"] == ["c&d"]
    assert OURS.openid(answer(b'{"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "scope": "snsapi_base"}')) == (
        "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
    )


@pytest.mark.parametrize(
    "said",
    [
        answer(b'{"errcode": 40029, "errmsg": "invalid code"}'),
        answer(b'{"openid": ""}'),
        answer(b'{"openid": "o\\n1"}'),
        answer(b'{"openid": 7}'),
        answer(b'{"openid": "o1"}', 500),
        answer(b"<html>"),
        answer(b"[]"),
    ],
)
def test_what_names_no_visitor_is_not_believed(said: Response) -> None:
    with pytest.raises(BadNotice) as refusal:
        OURS.openid(said)
    assert "s3cret" not in str(refusal.value)


def test_the_secret_does_not_show() -> None:
    assert "s3cret" not in repr(OURS)
