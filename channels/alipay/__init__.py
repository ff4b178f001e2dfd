"""Alipay 支付宝 as a channel: see README.md."""

from channels.alipay.adapter import Alipay, build

SECRETS = frozenset({"private_key"})
# A user id: 16 digits from 2088 (alipay.trade.create, buyer_id). Its open ids have no form that is written down.
PAYER_ID = r"2088[0-9]{12}"

__all__ = ["PAYER_ID", "SECRETS", "Alipay", "build"]
