"""Secrets are found in text by their shape; what only looks a little like one stays readable."""

import pytest

from kernel.masking import masked, masking

KEY = "sk_" + "Zm9vYmFyYmF6cXV4" * 2


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("could not reach postgresql://sluice:hush-hush@10.0.0.1:5432/sluice", "hush-hush"),
        ("could not reach postgresql://sluice:hu%40sh@[::1]/sluice?sslmode=require", "hu%40sh"),
        ("postgresql://sluice:p@ss@host/x is no address", "p@ss"),
        ("redis://:hush-hush@10.0.0.1:6379/0", "hush-hush"),
        ("connect(user='sluice', password='hush hush', timeout=5)", "hush hush"),
        ("connect(user='sluice', password='it\\'s hush', timeout=5)", "hush'"),
        ('{"password": "hush hush", "user": "sluice"}', "hush hush"),
        ('{"why": "{\\"app_secret\\": \\"hush hush\\"}"}', "hush hush"),
        ("PGPASSWORD=hush-hush psql", "hush-hush"),
        ("password: hush-hush", "hush-hush"),
        ("SLUICE_API_KEY = hush-hush", "hush-hush"),
        ("https://api.weixin.qq.com/sns/jscode2session?appid=wx1&secret=0123abcd&js_code=1", "0123abcd"),
        ("https://api.example.com/token?access_token=0123abcd", "0123abcd"),
        ("client_secret=0123abcd&grant_type=x", "0123abcd"),
        ("wechat_api_v3_key: 0123abcd", "0123abcd"),
        ("auth_code=134567890123456789", "134567890123456789"),
        (f"Authorization: Bearer {KEY}", KEY),
        (f"b'GET / HTTP/1.1\\r\\nAuthorization: Bearer {KEY}\\r\\nHost: x'", KEY),
        ("{'Authorization': 'Basic Y2xpZW50OnNlY3JldA=='}", "Y2xpZW50OnNlY3JldA"),
        ("(b'Authorization', b'WECHATPAY2-SHA256-RSA2048 mchid=\"1\",signature=\"x\"')", "WECHATPAY2"),
        ('authorization: WECHATPAY2-SHA256-RSA2048 mchid="1900",nonce_str="x"', "WECHATPAY2"),
        ("Cookie: session=0123abcd; other=1", "0123abcd"),
        ("Bearer eyJhbGciOi.J9-x_y", "eyJhbGciOi"),
        (f"no such key {KEY}", KEY[3:]),
        (f"GET /v1/{KEY}/x", KEY[3:]),
        ("stripe said no to sk_live_0123456789abcdefghij", "0123456789abcdefghij"),
        ("whsec_0123456789abcdefghij", "0123456789abcdefghij"),
        (f"secrets/people/p{KEY[1:]} cannot be read", KEY[3:]),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\ndef\n-----END RSA PRIVATE KEY-----", "MIIabc"),
        ("-----BEGIN PRIVATE KEY-----\\nMIIabc cut off", "MIIabc"),
    ],
)
def test_a_secret_does_not_come_through(text: str, secret: str) -> None:
    shown = masked(text)
    assert secret not in shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "sluice"',
        "serving at http://127.0.0.1:8400/ready",
        "the idempotency key is missing; send an Idempotency-Key",
        "pay_01J8Z0000000000000000000AA was asked about @ 10:31",
        "a secret is not pickled",
        "https://pay.example.com/notify/wechat/1/main?a=b@c",
        "mail to ops@example.com: it is away",
        "task_0123456789abcdefghij ended",
        "basic settings are wrong",
        "primary_key=pay_1, foreign_key=none",
        "pk_test_0123456789abcdefghij and pk_live_0123456789abcdefghij are Stripe's publishable keys",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert masked(text) == text


def test_an_address_keeps_what_helps_to_find_it() -> None:
    assert masked("postgresql://sluice:hush@db:5432/books") == "postgresql://sluice:…@db:5432/books"


def test_known_texts_are_masked_wherever_they_stand_but_short_ones_are_not() -> None:
    mask = masking(["hush-hush-hush", "hush-hush", "", "pw"])
    assert mask("it was xhush-hush-hushx, or hush-hush, or pw") == "it was x…x, or …, or pw"
    assert masking([])("anything") == "anything"
