"""WeChat Pay 微信支付 as a channel: see README.md."""

from channels.wechat.adapter import WeChatPay, build

__all__ = ["WeChatPay", "build"]
