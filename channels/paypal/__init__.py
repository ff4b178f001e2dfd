"""PayPal as a channel: see README.md."""

from channels.face import Face
from channels.paypal.adapter import SECRETS, PayPal, build

SETTINGS = frozenset(
    {"client_id", "client_secret", "merchant_id", "base_url", "webhook_id", "webhook_root_cert"}
)  # all that it reads
FACE = Face(("PayPal", "PayPal"), "P", "#1f3f8f", called=("pp", "pay_pal"))

__all__ = ["FACE", "SECRETS", "SETTINGS", "PayPal", "build"]
