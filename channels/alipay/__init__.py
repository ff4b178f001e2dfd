"""Alipay 支付宝 as a channel: see README.md."""

from channels.alipay.adapter import Alipay, build

SECRETS = frozenset({"private_key"})

__all__ = ["SECRETS", "Alipay", "build"]
