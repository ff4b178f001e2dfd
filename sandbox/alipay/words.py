"""Reading and writing what stands in Alipay's business content: amounts in yuan, times of Beijing, numbers."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.acquirer import Trade
from sandbox.alipay.errors import invalid
from sandbox.clock import BEIJING

NUMBER = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
MOST_FEN = 100_000_000_00
DEFAULT_LIFE_MS = 15 * 86_400_000
CODE_LIFE_MS = 2 * 3_600_000
_LIFE = re.compile(r"([1-9][0-9]{0,6})([mhd])", re.ASCII)
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def yuan(fen: int) -> str:
    """Write an amount as Alipay does."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02}"


def fund_channel(coupon: Mapping[str, Any]) -> str:
    """Return what a fund_bill_list calls a coupon: 商户优惠券 of the merchant's own, else 支付宝红包."""
    return "MDISCOUNT" if coupon["paid_by"] == "merchant" else "COUPON"


def fen(content: Mapping[str, Any], name: str) -> int:
    """Return an amount of the content in fen; text or a JSON number. Raises INVALID_PARAMETER."""
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise invalid(name)
    try:
        amount = Decimal(value) * 100
        whole = int(amount)
    except (InvalidOperation, ValueError, OverflowError):
        raise invalid(name) from None
    if whole != amount or not 0 < whole <= MOST_FEN:
        raise invalid(name)
    return whole


def number(content: Mapping[str, Any], name: str) -> str:
    """Return one of the merchant's numbers. Raises INVALID_PARAMETER."""
    value = content.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise invalid(name)
    return value


def words(content: Mapping[str, Any], name: str, most: int) -> str:
    """Return a text that must be there. Raises INVALID_PARAMETER."""
    value = content.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise invalid(name)
    return value


def objects(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects; empty if absent. Raises INVALID_PARAMETER."""
    value = content.get(name) or []
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise invalid(name)
    return value


def moment_ms(written: str) -> int | None:
    """Return a time of Beijing in milliseconds since 1970; None when it is none."""
    try:
        moment = datetime.strptime(written, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)
    except ValueError:
        return None
    return int(moment.timestamp() * 1000)


def end_of_order(content: Mapping[str, Any], now_ms: int) -> int:
    """Return when an order ends that nobody pays. Raises INVALID_PARAMETER for an end that is over."""
    absolute, relative = content.get("time_expire"), content.get("timeout_express")
    if absolute:
        end = moment_ms(str(absolute))
    elif relative == "1c":  # the end of the day
        day = datetime.fromtimestamp(now_ms / 1000, BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
        end = int((day + timedelta(days=1)).timestamp() * 1000)
    else:
        end = now_ms + lasting(content, "timeout_express", DEFAULT_LIFE_MS)
    if end is None or end <= now_ms:
        raise invalid("time_expire")
    return end


def lasting(content: Mapping[str, Any], name: str, default_ms: int) -> int:
    """Return a duration such as 90m. Raises INVALID_PARAMETER."""
    if not content.get(name):
        return default_ms
    match = _LIFE.fullmatch(str(content[name]))
    if match is None:
        raise invalid(name)
    return int(match[1]) * _UNIT_MS[match[2]]


def state_of(trade: Trade) -> str:
    """Return Alipay's word for a trade's state."""
    match trade.state:
        case "open":
            return "WAIT_BUYER_PAY"
        case "paid" if trade.refunded < trade.paid:
            return "TRADE_SUCCESS"
        case _:
            return "TRADE_CLOSED"
