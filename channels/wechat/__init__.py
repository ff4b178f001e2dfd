"""WeChat Pay 微信支付 as a channel: see README.md."""

from channels.face import Face
from channels.wechat.adapter import WeChatPay, build
from channels.wechat.combined import Combined

SECRETS = frozenset({"private_key", "apiv3_key", "app_secret"})  # sealed at rest; each may end in _file instead
# An openid: 28 characters that begin with o (every example of pay.weixin.qq.com/doc/v3, and every one seen).
PAYER_ID = r"o[0-9A-Za-z_\-]{27}"
# A payer's code: 18 digits from 10 to 15 (pay.weixin.qq.com/wiki/doc/api/micropay.php, chapter 5_1).
PAYER_CODE = r"1[0-5][0-9]{16}"
SETTINGS = frozenset(
    {
        "mchid",
        "appid",
        "serial_no",
        "private_key",
        "apiv3_key",
        "base_url",
        "platform_certificates",
        "public_key_id",
        "public_key",
        "app_secret",
        "open_url",
        "api_url",
    }
)  # all that it reads
ACCOUNT = ("mchid",)  # of which each names the account at the rail
FACE = Face(
    ("微信支付", "WeChat Pay"),
    "微",
    "#0e850d",
    called=("wxpay", "wechatpay", "wechat_pay", "weixin", "wx", "微信", "微信支付"),
    on_computers=("WindowsWechat", "MacWechat", "UnifiedPCWindowsWechat"),
)

__all__ = ["ACCOUNT", "FACE", "PAYER_CODE", "PAYER_ID", "SECRETS", "SETTINGS", "Combined", "WeChatPay", "build"]
