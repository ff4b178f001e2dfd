"""Translators to the outside 渠道: they keep nothing and know no ledger. channels/contract.py says what each offers.

The names are loaded when first used: the sandbox lives in this package too, and must run without any of the hub's code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from channels.client import Bill, ChannelClient, SharingClient
    from channels.contract import (
        BadBill,
        BadNotice,
        BillFile,
        BillLine,
        Capabilities,
        Channel,
        ChannelConfig,
        Confirmed,
        FundLine,
        Kind,
        Method,
        Notice,
        Order,
        Outcome,
        Pending,
        Rail,
        RefundOrder,
        Refused,
        Unknown,
    )
    from channels.http import HttpTransport
    from channels.registry import CHANNELS, capabilities_of

__all__ = [
    "CHANNELS",
    "BadBill",
    "BadNotice",
    "Bill",
    "BillFile",
    "BillLine",
    "Capabilities",
    "Channel",
    "ChannelClient",
    "ChannelConfig",
    "Confirmed",
    "FundLine",
    "HttpTransport",
    "Kind",
    "Method",
    "Notice",
    "Order",
    "Outcome",
    "Pending",
    "Rail",
    "RefundOrder",
    "Refused",
    "SharingClient",
    "Unknown",
    "capabilities_of",
]

_ELSEWHERE = {
    "Bill": "client",
    "ChannelClient": "client",
    "SharingClient": "client",
    "HttpTransport": "http",
    "CHANNELS": "registry",
    "capabilities_of": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"channels.{_ELSEWHERE.get(name, 'contract')}"), name)
