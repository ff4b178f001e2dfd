"""Stripe as a channel: cards, by a token or on a page of Stripe's; see README.md."""

from channels.face import Face
from channels.stripe.adapter import Stripe, build

SECRETS = frozenset(
    {"secret_key", "webhook_secrets"}
)  # settings that are sealed at rest; each may end in _file instead
SETTINGS = frozenset({"secret_key", "webhook_secrets", "base_url", "account", "return_url"})  # all that it reads
ACCOUNT = (
    "account",
    "secret_key",
)  # of which each names the account at the rail
FACE = Face(
    ("银行卡", "Card"),
    "卡",
    "#5b4b8a",
    called=("card",),
    how={"page": ("在 Stripe 的安全页面输入卡号", "On Stripe's secure page")},
)

__all__ = ["ACCOUNT", "FACE", "SECRETS", "SETTINGS", "Stripe", "build"]
