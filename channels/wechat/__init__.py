"""WeChat Pay 微信支付 as a channel: see README.md."""

from channels.wechat.adapter import WeChatPay, build
from channels.wechat.combined import Combined

SECRETS = frozenset({"private_key", "apiv3_key", "app_secret"})  # sealed at rest; each may end in _file instead

__all__ = ["SECRETS", "Combined", "WeChatPay", "build"]
