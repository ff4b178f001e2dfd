"""The list of channels, one line each. Adding a rail means one folder and one line here."""

from collections.abc import Mapping

from channels import wechat
from channels.contract import ChannelConfig

CHANNELS: Mapping[str, ChannelConfig] = {
    "wechat": wechat.build,
}
