"""Stripe as a channel: cards by PaymentIntents; see README.md."""

from channels.stripe.adapter import Stripe, build

SECRETS = frozenset(
    {"secret_key", "webhook_secrets"}
)  # settings that are sealed at rest; each may end in _file instead

__all__ = ["SECRETS", "Stripe", "build"]
