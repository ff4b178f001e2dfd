"""What Alipay says no with: a code, a sub_code, and words."""

from collections.abc import Mapping
from typing import Any

from sandbox.acquirer import CoreError

WORDS = {
    "20000": "Service Currently Unavailable",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
    "40005": "Call Limited",
    "40006": "Insufficient Permissions",
}


class ApiError(Exception):
    """An answer other than 10000. fields: what stands beside the code."""

    def __init__(self, code: str, sub_code: str, sub_msg: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(sub_msg)
        self.code, self.sub_code, self.sub_msg = code, sub_code, sub_msg
        self.fields = dict(fields or {})

    def answer(self) -> dict[str, Any]:
        """Return the object that says so."""
        head = {"code": self.code, "msg": WORDS[self.code], "sub_code": self.sub_code, "sub_msg": self.sub_msg}
        return head | self.fields


def failed(sub_code: str, words: str, **fields: Any) -> ApiError:
    """Return a business failure."""
    return ApiError("40004", sub_code, words, fields)


def invalid(words: str) -> ApiError:
    """Return the failure of a request whose content makes no sense."""
    return failed("ACQ.INVALID_PARAMETER", f"参数有误: {words}")


def not_there() -> ApiError:
    """Return the failure of a question about a trade that does not exist."""
    return failed("ACQ.TRADE_NOT_EXIST", "交易不存在")


# The core's refusals of a request to pay.
PAYING = {
    "order_conflict": ("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
    "order_paid": ("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
    "order_closed": ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
    "order_reversed": ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
}
# Of a request to refund.
REFUNDING = {
    "refund_conflict": ("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
    "refund_exceeds": ("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效"),
    "order_open": ("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
    "order_closed": ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
    "order_reversed": ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
}


def of_core(error: CoreError, words: Mapping[str, tuple[str, str]]) -> ApiError:
    """Return Alipay's word for a refusal of the core; one without a word here is a mistake of the sandbox."""
    return failed(*words[error.code])
