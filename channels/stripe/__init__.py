"""Stripe as a channel: cards by PaymentIntents; see README.md."""

from channels.face import Face
from channels.stripe.adapter import Stripe, build

SECRETS = frozenset(
    {"secret_key", "webhook_secrets"}
)  # settings that are sealed at rest; each may end in _file instead
FACE = Face(("银行卡", "Card"), called=("card",))

__all__ = ["FACE", "SECRETS", "Stripe", "build"]
