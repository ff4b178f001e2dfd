"""The list of channels, one line each. Adding a rail means one folder and one line here.

A rail's package has `build`, which makes a Channel of its settings, and `SECRETS`, the names of its secret settings.
tests/channels/test_registry.py holds every rail listed here against the contract, method by method.
"""

from collections.abc import Mapping
from importlib import import_module

from channels.contract import ChannelConfig

NAMES = (
    "alipay",
    "bank_transfer",
    "paypal",
    "stripe",
    "unionpay",
    "wechat",
)

CHANNELS: Mapping[str, ChannelConfig] = {name: import_module(f"channels.{name}").build for name in NAMES}


def secrets_of(name: str) -> frozenset[str]:
    """Return the names of a rail's secret settings, from its package; none for a rail that is not listed here."""
    if name not in CHANNELS:
        return frozenset()
    found: frozenset[str] = import_module(f"channels.{name}").SECRETS
    return found
