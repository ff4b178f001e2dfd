"""The parts of the cashier that need no browser: who visits, in which language, from where; codes and policies."""

import re
import string
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from channels import Method
from channels.face import Face
from channels.registry import FACES, NAMES
from gateway.cashier.codes import png, svg
from gateway.cashier.details import facts
from gateway.cashier.device import Device, address, device, language
from gateway.cashier.render import HERE, is_web, sources
from gateway.cashier.screens import ways
from gateway.cashier.text import WORDS, Say
from gateway.routing.seam import Choice
from sandbox.wallet.pages import APPS as APPS_OF_THE_SANDBOX
from tests.gateway.cashier.browsers import DESKTOP, IN_ALIPAY, IN_WECHAT, PHONE

APPS = {"wechat": ("MicroMessenger",), "alipay": ("AlipayClient",)}


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (DESKTOP, Device(None, on_phone=False)),
        (PHONE, Device(None, on_phone=True)),
        (IN_WECHAT, Device("wechat", on_phone=True)),
        (IN_ALIPAY, Device("alipay", on_phone=True)),
        (f"{DESKTOP} MicroMessenger/7.0 WindowsWechat(0x63090a13)", Device(None, on_phone=False)),
        ("", Device(None, on_phone=False)),
    ],
)
def test_a_visitor_is_known_by_what_the_browser_says(user_agent: str, expected: Device) -> None:
    assert device(user_agent, APPS) == expected


def test_the_app_of_a_rail_the_merchant_has_not_is_an_ordinary_phone() -> None:
    assert device(IN_WECHAT, {"alipay": ("AlipayClient",)}) == Device(None, on_phone=True)


@pytest.mark.parametrize(
    ("wanted", "accepted", "expected"),
    [
        (None, "", "en"),
        (None, "de-DE", "en"),
        (None, "ja", "en"),
        (None, "ja,fr;q=0.9,*;q=0.5", "en"),
        (None, "*", "en"),
        (None, "nonsense nonsense", "en"),
        (None, "zh", "zh"),
        (None, "ZH-hans-cn", "zh"),
        (None, "zh-Hans;q=0.4", "zh"),
        (None, "de, zh-TW;q=0.2", "zh"),
        (None, "yue-HK, cmn;q=0.9", "zh"),
        (None, "zh;q=0", "en"),
        (None, "zh; q=0.8, en; Q=0.9", "en"),
        (None, "zh;q=0.3, *;q=0.5", "en"),
        (None, "en;q=0, *", "zh"),
        (None, "zh;q=0, *", "en"),
        (None, "zh, en", "zh"),
        (None, "en, zh", "en"),
        (None, "zhuang", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-GB,en;q=0.9,zh;q=0.8", "en"),
        (None, "fr-FR,fr;q=0.9,en;q=0.5,zh;q=0.3", "en"),
        (None, "zh;q=0.1, en;q=0.7", "en"),
        ("en", "zh-CN", "en"),
        ("xx", "en", "en"),
        (None, "en;q=nonsense,,;;,zh;q=0.2", "zh"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_best_accepted(
    wanted: str | None, accepted: str, expected: str
) -> None:
    assert language(wanted, accepted) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("8.8.4.4", ["1.1.1.1"], "8.8.4.4"),  # whoever connects from outside may say anything
        ("127.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("127.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),  # a proxy may add a header of its own behind what came
        ("10.0.0.7", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        (None, [], "127.0.0.1"),
    ],
)
def test_the_payers_address_is_believed_of_a_proxy_of_ours_only(
    peer: str | None, forwarded: list[str], expected: str
) -> None:
    assert address(peer, forwarded) == expected


def test_every_word_is_there_in_both_languages_and_takes_the_same_values() -> None:
    for name, (chinese, english) in WORDS.items():
        assert all((chinese.strip(), english.strip())), name
        assert sorted(part[1] for part in _fields(chinese)) == sorted(part[1] for part in _fields(english)), name


def _fields(text: str) -> list[Any]:
    return [part for part in string.Formatter().parse(text) if part[1] is not None]


def test_amounts_are_written_as_people_read_them() -> None:
    say = Say("en")
    assert [say.money(*one) for one in ((8800, "CNY"), (123_456_789, "CNY"), (1200, "JPY"), (1, "KWD"))] == [
        "¥88.00",
        "¥1,234,567.89",
        "JP¥1,200",
        "KWD 0.001",
    ]


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://gateway.95516.com/x?y=1", True),
        ("http://127.0.0.1:1/", True),
        ("javascript:alert(1)", False),
        ("//evil.example", False),
        ("https://a.example/'onclick='", False),
        ("https://[", False),
    ],
)
def test_a_browser_is_sent_to_addresses_of_the_web_only(url: str, fine: bool) -> None:
    assert is_web(url) is fine


def test_a_form_may_go_to_its_rail_and_the_rails_neighbours() -> None:
    assert sources("https://gateway.95516.com/gateway/api") == "https://gateway.95516.com https://*.95516.com"
    assert sources("https://example.com/pay") == "https://example.com"
    assert sources("http://127.0.0.1:8410/pay") == "http://127.0.0.1:8410"
    assert sources("https://203.0.113.7/pay") == "https://203.0.113.7"


def test_codes_are_pictures_and_too_long_a_text_makes_none() -> None:
    assert svg("https://pay.example.com/pay/x").startswith(b"<svg ")
    assert b"<script" not in svg("<script>alert(1)</script>")
    assert png("https://pay.example.com/s/x").startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no code"):
        svg("x" * 1501)


def test_each_rail_is_offered_once_in_the_merchants_order() -> None:
    def choice(channel: str, position: int) -> Choice:
        return Choice(cast(Any, SimpleNamespace(account=SimpleNamespace(channel=channel, position=position))), 0)

    offered = {
        Method.QR: [choice("alipay", 3), choice("wechat", 1)],
        Method.PAGE: [choice("paypal", 2), choice("alipay", 0)],
    }
    methods = (Method.QR, Method.PAGE, Method.TRANSFER)
    found = ways(Device(None, on_phone=False), methods, offered)
    assert [way.name for way in found] == ["alipay.qr", "wechat.qr", "paypal.page"]
    assert [way.name for way in ways(Device("wechat", on_phone=True), methods, offered)] == ["wechat.qr"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(scheme: str) -> None:
    """WCAG 2.2 AA: 4.5 to one for text, 3 to one for the edge of what is typed into."""
    blocks = re.findall(r":root \{(.*?)\}", (HERE / "static" / "cashier.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", blocks[0 if scheme == "light" else 1]))
    for text, ground in (
        *((text, ground) for text in ("ink", "quiet", "accent") for ground in ("sheet", "ground", "tint")),
        ("on-accent", "accent"),
        ("warn", "warn-tint"),
        ("bad", "sheet"),
    ):
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert _contrast(colours["edge"], colours["sheet"]) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_every_rails_mark_can_be_read(name: str) -> None:
    assert _contrast("#ffffff", FACES[name].colour) >= 4.5


def test_a_mark_too_faint_to_be_read_is_no_face() -> None:
    with pytest.raises(ValueError, match="too faint"):
        Face(("微信支付", "WeChat Pay"), "微", "#1aad19")


def test_letters_and_what_holds_them_are_sized_by_the_readers_letters() -> None:
    assert fixed_sizes((HERE / "static" / "cashier.css").read_text()) == []
    for planted in (".how { font-size: 13px; }", "body { font: 16px/1.5 serif; }", ".way { min-height: 48px; }"):
        assert len(fixed_sizes(planted)) == 1, planted


def fixed_sizes(css: str) -> list[str]:
    """Return where a style names pixels; lines of one, and what is there for screen readers alone, may."""
    return [found for found in re.findall(r"[a-z-]+: [^;{}]*?\b\d*\.?\d+px", css) if not found.endswith(" 1px")]


PAGES = sorted(
    path
    for path in HERE.rglob("*")
    if path.suffix in (".html", ".css", ".js", ".py") and path.name not in ("emvco.py", "links.py")
)


def of_rails(text: str) -> list[str]:
    """Return the names and other words of rails that stand in a text."""
    words = {name for name in NAMES if name != "bank_transfer"} | {"weixin"}
    words |= {name.lower() for face in FACES.values() for name in face.names if name not in ("Card", "Bank transfer")}
    words -= {"银行卡", "银行转账"}  # ordinary words, which say no rail
    return sorted(word for word in words if word in text.lower())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_belongs_to_a_rail_stands_in_its_folder(path: Path) -> None:
    assert of_rails(path.read_text("utf-8")) == []


def test_a_rails_word_in_the_cashiers_own_files_is_noticed() -> None:
    assert of_rails('"wechat": ("微信支付", "WeChat Pay")') == ["wechat", "wechat pay", "微信支付"]
    assert of_rails("if (window.WeixinJSBridge) call();") == ["weixin"]


def test_the_simulated_wallet_calls_every_wallet_as_the_cashier_does() -> None:
    for name, words in APPS_OF_THE_SANDBOX.items():
        chinese, english = FACES[name].names
        assert words == (chinese if chinese == english else f"{chinese} {english}"), name


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_each_value_of_a_transfer_is_there_to_be_copied_as_a_banks_form_takes_it() -> None:
    action = {"account": "62220001", "name": "tea", "bank": "Bank of Tea", "bic": "TEACCNBJ", "amount": "123.45"}
    assert [(label, copied) for label, _, copied in facts({**action, "currency": "CNY"})] == [
        ("account_name", "tea"), ("account", "62220001"), ("bank", "Bank of Tea"), ("bic", "TEACCNBJ"),
        ("amount", "123.45"),
    ]  # fmt: skip
