"""PayPal as a channel: see README.md."""

from channels.face import Face
from channels.paypal.adapter import SECRETS, PayPal, build

FACE = Face(("PayPal", "PayPal"), "P", "#1f3f8f", called=("pp", "pay_pal"))

__all__ = ["FACE", "SECRETS", "PayPal", "build"]
