"""Acorn as a channel: see README.md."""

from channels.acorn.adapter import Acorn, build
from channels.face import Face

SECRETS = frozenset({"secret_key"})  # one key a line, the newest first
SETTINGS = frozenset({"secret_key", "merchant", "base_url"})  # all that it reads
ACCOUNT = ("merchant",)  # of which each names the account at the rail
FACE = Face(
    ("橡果支付", "Acorn Pay"),
    "橡",
    "#7a4a1e",
    called=("oak",),
    how={"qr": ("打开橡果，扫一扫", "Scan with the Acorn app")},
)

__all__ = ["ACCOUNT", "FACE", "SECRETS", "SETTINGS", "Acorn", "build"]
