"""Alipay 支付宝 as a channel: see README.md."""

from channels.alipay.adapter import Alipay, build
from channels.face import Face

SECRETS = frozenset({"private_key"})
# A user id: 16 digits from 2088 (alipay.trade.create, buyer_id). Its open ids have no form that is written down.
PAYER_ID = r"2088[0-9]{12}"
FACE = Face(("支付宝", "Alipay"), "支", "#0f6ae6", called=("ali", "zfb", "zhifubao", "支付宝"))

__all__ = ["FACE", "PAYER_ID", "SECRETS", "Alipay", "build"]
