"""UnionPay 银联 as a channel: see README.md."""

from channels.unionpay.adapter import UnionPay, build

SECRETS = frozenset({"private_key"})  # settings that are sealed at rest; each may end in _file instead

__all__ = ["SECRETS", "UnionPay", "build"]
