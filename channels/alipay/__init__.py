"""Alipay 支付宝 as a channel: see README.md."""

from channels.alipay.adapter import Alipay, build
from channels.face import Face

SECRETS = frozenset({"private_key"})
# A user id: 16 digits from 2088 (alipay.trade.create, buyer_id). Its open ids have no form that is written down.
PAYER_ID = r"2088[0-9]{12}"
# A payer's code: 16 to 24 digits from 25 to 30 (opendocs.alipay.com/open/194/106039, alipay.trade.pay).
PAYER_CODE = r"(?:2[5-9]|30)[0-9]{14,22}"
SETTINGS = frozenset(
    {
        "app_id",
        "seller_id",
        "base_url",
        "private_key",
        "alipay_public_key",
        "app_certificate",
        "alipay_certificate",
        "alipay_root_certificate",
        "mini_app_id",
    }
)  # all that it reads
ACCOUNT = ("seller_id",)  # of which each names the account at the rail
FACE = Face(("支付宝", "Alipay"), "支", "#0f6ae6", called=("ali", "zfb", "zhifubao", "支付宝"))

__all__ = ["ACCOUNT", "FACE", "PAYER_CODE", "PAYER_ID", "SECRETS", "SETTINGS", "Alipay", "build"]
