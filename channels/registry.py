"""The list of channels, one line each. Adding a rail means one folder and one line here."""

from collections.abc import Mapping
from importlib import import_module

from channels import alipay, bank_transfer, paypal, stripe, unionpay, wechat
from channels.contract import ChannelConfig

CHANNELS: Mapping[str, ChannelConfig] = {
    "alipay": alipay.build,
    "bank_transfer": bank_transfer.build,
    "paypal": paypal.build,
    "stripe": stripe.build,
    "unionpay": unionpay.build,
    "wechat": wechat.build,
}


def secrets_of(name: str) -> frozenset[str]:
    """Return the names of a rail's secret settings, from its package; none for a rail that is not listed here."""
    if name not in CHANNELS:
        return frozenset()
    found: frozenset[str] = import_module(f"channels.{name}").SECRETS
    return found
