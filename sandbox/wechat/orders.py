"""Reading the bodies of create and codepay requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.acquirer import Merchant
from sandbox.wechat.checks import AUTH_CODE, OUT_TRADE_NO, Fields
from sandbox.wechat.errors import ApiError, invalid_request

TRADE_TYPES = {"native": "NATIVE", "jsapi": "JSAPI", "app": "APP", "h5": "MWEB", "codepay": "MICROPAY"}
DAY_MS = 86_400_000
LONGEST_MS = 7 * DAY_MS  # public documents disagree (7 or 15 days); the stricter one catches more clients


@dataclass(frozen=True, slots=True)
class Order:
    """A well-formed order. request: canonical JSON, equal for equal orders."""

    product: str
    out_trade_no: str
    description: str
    attach: str
    device_id: str
    notify_url: str | None
    total: int
    openid: str | None
    auth_code: str | None
    expires_ms: int
    request: str
    shared: bool  # its money is to be shared out 分账
    key_id: str | None = None


def canonical(body: Any) -> str:
    """Return JSON that is the same for the same content, whatever the order of its fields."""
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()


def read_order(product: str, body: dict[str, Any], merchant: Merchant, now_ms: int, key_id: str) -> Order:
    """Return the order in `body`. Raises the refusal that names its first fault."""
    fields = Fields(body)
    require_merchant(fields, merchant)
    if fields.text("appid", 32) != merchant.extra["appid"]:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
    description = fields.text("description", 127)
    out_trade_no = fields.text("out_trade_no", 32, OUT_TRADE_NO)
    expires_ms = now_ms + LONGEST_MS
    if fields.has("time_expire"):
        expires_ms = int(fields.moment("time_expire").timestamp() * 1000)
        if expires_ms > now_ms + LONGEST_MS + 60_000:
            raise fields.wrong("time_expire", "must be within seven days")
    attach = fields.optional_text("attach", 128)
    fields.optional_text("goods_tag", 32)
    notify_url = None if product == "codepay" else fields.notify_url()
    amount = fields.child("amount")
    total = amount.amount("total")
    if amount.has("currency"):
        amount.choice("currency", "CNY")
    openid = fields.child("payer").text("openid", 128) if product == "jsapi" else None
    auth_code = fields.child("payer").text("auth_code", 32, AUTH_CODE) if product == "codepay" else None
    device_id = _read_scene(product, fields)
    return Order(
        product,
        out_trade_no,
        description,
        attach,
        device_id,
        notify_url,
        total,
        openid,
        auth_code,
        expires_ms,
        canonical(body),
        is_shared(body),
        key_id,
    )


def is_shared(body: Mapping[str, Any]) -> bool:
    """Tell whether an order asks for profit sharing."""
    settle_info = body.get("settle_info")
    return isinstance(settle_info, dict) and settle_info.get("profit_sharing") is True


def require_open(order: Order, now_ms: int) -> None:
    """Refuse a new order whose time is over already."""
    if order.expires_ms <= now_ms:
        raise invalid_request("time_expire已过, 请使用晚于当前时间的交易结束时间")


def require_merchant(fields: Fields, merchant: Merchant) -> None:
    """Refuse a body that speaks for another merchant than the one who signed it."""
    if fields.text("mchid", 32) != merchant.merchant:
        raise fields.wrong("mchid", "must be the mchid of the Authorization header")


def _read_scene(product: str, fields: Fields) -> str:
    """Check scene_info 场景信息 and return its device_id."""
    needs_scene = product in ("h5", "codepay")
    scene = fields.child("scene_info") if needs_scene else fields.optional_child("scene_info")
    if scene is None:
        return ""
    if product == "codepay":
        store = scene.child("store_info")
        if not store.has("id") and not store.has("out_id"):
            raise store.wrong("id", "is required unless out_id is given")
    else:
        scene.text("payer_client_ip", 45)
    if product == "h5":
        scene.child("h5_info").choice("type", "Wap", "iOS", "Android")
    return scene.optional_text("device_id", 32)
