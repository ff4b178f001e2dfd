"""Translators to the outside 渠道: they keep nothing and know no ledger. channels/contract.py says what each offers."""

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
    "RefundOrder",
    "Refused",
    "SharingClient",
    "Unknown",
    "capabilities_of",
]
