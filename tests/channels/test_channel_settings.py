"""Secrets of channel accounts: inline or in a file."""

from pathlib import Path

import pytest

from channels import CHANNELS, wechat
from channels.settings import absorb, secret, without_secret_looking
from tests.channels.wechat.wechat_rail import KEYS, NOW, Rail, settings, transaction

OPTIONAL = {"app_secret"}  # only payments in pages inside WeChat need it


def test_a_secret_is_given_inline_or_as_a_file_and_inline_wins(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from the file")
    assert secret({"key_file": str(tmp_path / "key")}, "key") == "from the file"
    assert secret({"key": "inline", "key_file": str(tmp_path / "key")}, "key") == "inline"
    assert secret({"key": None, "key_file": str(tmp_path / "key")}, "key") == "from the file"


@pytest.mark.parametrize(
    "settings",
    [{}, {"key": ""}, {"key": 7}, {"key_file": 7}, {"key_file": "/nowhere/at/all"}, {"key_file": "/"}, {"other": "x"}],
    ids=str,
)
def test_a_missing_secret_is_named(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="key"):
        secret(settings, "key")


def test_a_file_that_is_not_text_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xffsecret")
    with pytest.raises(ValueError, match="key_file") as refused:
        secret({"key_file": str(tmp_path / "key")}, "key")
    assert "secret" not in str(refused.value)


def test_wechats_keys_may_all_stand_in_the_settings_themselves() -> None:
    stored = settings()
    inline = {name: value for name, value in stored.items() if not name.endswith("_file")}
    for name in ("private_key", "apiv3_key", "public_key"):
        inline[name] = Path(stored[f"{name}_file"]).read_text()
    inline["platform_certificates"] = [
        {"serial_no": entry["serial_no"], "certificate": Path(entry["file"]).read_text()}
        for entry in stored["platform_certificates"]
    ]
    assert str(KEYS) not in str(inline)
    channel = wechat.build(inline)
    assert channel.notice(Rail().notice("TRANSACTION.SUCCESS", transaction()), now=NOW)


def test_the_names_of_wechats_secrets_are_those_that_build_needs() -> None:
    for name in wechat.SECRETS - OPTIONAL:
        incomplete = settings()
        del incomplete[f"{name}_file"]
        with pytest.raises(ValueError, match=name):
            wechat.build(incomplete)


@pytest.mark.parametrize("name", ["mchid", "appid", "serial_no", "base_url"])
@pytest.mark.parametrize("value", [None, "", " "], ids=repr)
def test_a_missing_or_empty_setting_is_named(name: str, value: str | None) -> None:
    with pytest.raises(ValueError, match=f"^{name} is not given$"):
        wechat.build(settings() | {name: value})


# ---- settings that are to be stored ----------------------------------------------------------------------------------


def test_absorbed_settings_name_no_file_and_make_the_same_channel() -> None:
    stored = settings()
    public, hidden = absorb(stored, wechat.SECRETS, folder=Path())
    assert hidden.keys() == wechat.SECRETS - OPTIONAL
    assert str(KEYS) not in str(public)
    assert "_file" not in str(public)
    assert "PRIVATE" not in str(public)
    assert public["platform_certificates"][0]["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    channel = wechat.build(public | hidden)
    assert channel.notice(Rail().notice("TRANSACTION.SUCCESS", transaction()), now=NOW)


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("text")
    assert absorb({"key_file": "key.pem"}, {"key"}, folder=tmp_path) == ({}, {"key": "text"})
    assert absorb({"public_file": "key.pem"}, set(), folder=tmp_path) == ({"public": "text"}, {})
    assert absorb({"key": "inline", "key_file": "nowhere"}, {"key"}, folder=tmp_path) == ({}, {"key": "inline"})


@pytest.mark.parametrize(
    "given",
    [
        {"client_secret": "x"},
        {"webhook_secret": "x"},
        {"api_key": "x"},
        {"apiv3_key": "x"},
        {"merchant_password": "x"},
        {"access_token": "x"},
        {"spare": "-----BEGIN RSA PRIVATE KEY-----\nx"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_is_named_like_a_secret_or_is_one_is_sealed_though_the_rail_does_not_say_so(given: dict[str, str]) -> None:
    assert absorb(given, set(), folder=None) == ({}, given)


def test_a_list_under_a_name_like_a_secrets_is_sealed_as_well() -> None:
    assert absorb({"webhooks_secrets": ["a", "b"]}, set(), folder=None) == ({}, {"webhooks_secrets": "a\nb"})


def test_what_an_account_of_before_holds_under_a_name_like_a_secrets_is_not_shown() -> None:
    held = {"mchid": "1", "webhooks_secrets": ["whsec_a"], "api_key": 7, "token": None, "public_key": "x"}
    shown = {"mchid": "1", "webhooks_secrets": "…", "api_key": "…", "token": None, "public_key": "x"}
    assert without_secret_looking(held) == shown


def test_what_is_public_stays_readable() -> None:
    given = {
        "mchid": "1",
        "public_key": "x",
        "public_key_id": "y",
        "base_url": "https://x",
        "gone": None,
    }
    assert absorb(given, {"private_key"}, folder=None) == (given, {})


@pytest.mark.parametrize(
    "given",
    [
        {"key": 7},
        {"api_key": 7},
        {"token_ttl_s": 60},
        {"api_secrets": [{"deep": "x"}]},
        {"list": [{"api_secret": "x"}]},
        {"list": {"more": {"password": ["x"]}}},
        {"key_file": "/nowhere/at/all"},
        {"list": [{"file": "/nowhere/at/all"}]},
        {"list": [{"spare": "-----BEGIN PRIVATE KEY-----"}]},
    ],
    ids=str,
)
def test_what_cannot_be_absorbed_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"key|file|list|secret|token"):
        absorb(given, {"key"}, folder=Path())


@pytest.mark.parametrize(
    "given", [{"key_file": "x"}, {"list": [{"file": "x"}]}, {"other_file": "/etc/passwd"}], ids=str
)
def test_from_outside_no_file_can_be_named(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no file can be named from outside"):
        absorb(given, {"key"}, folder=None)


def test_several_secrets_of_one_name_are_sealed_as_lines_and_stay_what_they_were() -> None:
    public, hidden = absorb({"webhook_secrets": ["whsec_old", "whsec_new"]}, {"webhook_secrets"}, folder=None)
    assert (public, hidden) == ({}, {"webhook_secrets": "whsec_old\nwhsec_new"})
    with pytest.raises(ValueError, match="list of texts"):
        absorb({"webhook_secrets": ["whsec_old", 7]}, {"webhook_secrets"}, folder=None)


def test_what_is_called_a_key_is_sealed_unless_it_is_called_public() -> None:
    given = {"api_v3_key": "a", "sign_key": "b", "bank_public_key": "c", "publishable_key": "d", "key_id": "e"}
    public, hidden = absorb(given, frozenset(), folder=None)
    assert sorted(hidden) == ["api_v3_key", "sign_key"]
    assert sorted(public) == ["bank_public_key", "key_id", "publishable_key"]


WHISPER = "whisper-whisper"


@pytest.mark.parametrize(
    ("rail", "settings"),
    [
        ("alipay", {"app_id": "1", "seller_id": WHISPER, "base_url": "https://rail.example", "private_key": WHISPER}),
        ("unionpay", {"mer_id": f"{WHISPER}", "base_url": "https://rail.example"}),
        ("wechat", {"public_key_id": WHISPER, "public_key": WHISPER}),
        *((rail, {"base_url": f"https://user:{WHISPER}@rail.example", "app_id": "1", "seller_id": "2", "mer_id": "3",
                  "bank_key_id": "4", "bank_public_key": "5", "secret_key": "sk_test_x"})
          for rail in ("alipay", "unionpay", "paypal", "stripe", "bank_transfer")),
    ],
)  # fmt: skip
def test_what_a_rail_says_of_its_settings_quotes_none_of_them(rail: str, settings: dict[str, str]) -> None:
    """A secret may stand in the wrong place, and what rails say is answered and logged."""
    with pytest.raises(ValueError, match=r"\w") as refused:
        CHANNELS[rail](settings)
    assert WHISPER not in str(refused.value)
