"""Secrets of channel accounts: inline or in a file."""

from pathlib import Path

import pytest
from wechat_rail import KEYS, NOW, Rail, settings, transaction

from channels import wechat
from channels.settings import secret


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
    for name in wechat.SECRETS:
        incomplete = settings()
        del incomplete[f"{name}_file"]
        with pytest.raises(ValueError, match=name):
            wechat.build(incomplete)
