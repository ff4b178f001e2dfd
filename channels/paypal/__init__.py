"""PayPal as a channel: see README.md."""

from channels.face import Face
from channels.paypal.adapter import SECRETS, PayPal, build

SETTINGS = frozenset(
    {"client_id", "client_secret", "merchant_id", "base_url", "webhook_id", "webhook_root_cert"}
)  # all that it reads
ACCOUNT = ("merchant_id",)  # of which each names the account at the rail
FACE = Face(("PayPal", "PayPal"), "P", "#1f3f8f", called=("pp", "pay_pal"))

__all__ = ["ACCOUNT", "FACE", "SECRETS", "SETTINGS", "PayPal", "build"]
