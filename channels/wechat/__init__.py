"""WeChat Pay 微信支付 as a channel: see README.md."""

from channels.wechat.adapter import WeChatPay, build
from channels.wechat.combined import Combined

SECRETS = frozenset({"private_key", "apiv3_key", "app_secret"})  # sealed at rest; each may end in _file instead
# An openid: 28 characters that begin with o (every example of pay.weixin.qq.com/doc/v3, and every one seen).
PAYER_ID = r"o[0-9A-Za-z_\-]{27}"

__all__ = ["PAYER_ID", "SECRETS", "Combined", "WeChatPay", "build"]
