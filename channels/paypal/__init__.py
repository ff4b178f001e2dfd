"""PayPal as a channel: see README.md."""

from channels.paypal.adapter import SECRETS, PayPal, build

__all__ = ["SECRETS", "PayPal", "build"]
