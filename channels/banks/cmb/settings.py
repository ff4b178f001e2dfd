"""What China Merchants Bank gives a customer of its direct link 云直联 (免前置)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from channels.banks.orders import no_text
from channels.settings import secret

NAMES = frozenset(
    {"profile", "base_url", "uid", "symmetric_key", "private_key", "public_key", "bank_public_key", "account", "branch",
     "mode", "account_holder", "region"}
)  # fmt: skip
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class CmbSettings:
    """See the module. Secrets are left out of its text form."""

    base_url: str  # …/cdcserver/api/v2
    uid: str  # 网银用户号, ten characters
    symmetric_key: str = field(repr=False)  # 对称密钥: the 16 characters of the SM4 key
    private_key: str = field(repr=False)  # 用户私钥: SM2, 32 bytes in base64
    public_key: str  # 用户公钥, which belongs to it: 65 bytes in base64
    bank_public_key: str  # 银行公钥: SM2, 65 bytes in base64
    account: str  # the pool account's number 户口号
    account_holder: str  # 户名
    branch: str = ""  # 分行号, two digits
    mode: str = "00001"  # 业务模式: by which the bank carries out what comes over the link, without anybody's approval
    timeout_s: float = TIMEOUT_S


def read_settings(given: Mapping[str, Any]) -> CmbSettings:
    """Read the settings; the secrets and the key may be files: private_key_file, … Raises ValueError and KeyError."""
    symmetric = secret(given, "symmetric_key").strip()
    if len(symmetric.encode()) != 16:
        raise ValueError("symmetric_key has 16 characters")
    for name in ("uid", "account", "account_holder"):
        if not isinstance(given[name], str) or (why := no_text(name, given[name], 140)):
            raise ValueError(why if isinstance(given[name], str) else f"{name} is a text")
    return CmbSettings(
        base_url=given["base_url"],
        uid=given["uid"],
        symmetric_key=symmetric,
        private_key=secret(given, "private_key"),
        public_key=secret(given, "public_key"),
        bank_public_key=secret(given, "bank_public_key"),
        account=given["account"],
        account_holder=given["account_holder"],
        branch=given.get("branch") or "",
        mode=given.get("mode") or "00001",
    )
