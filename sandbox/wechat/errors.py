"""Refusals in WeChat Pay's words."""

from typing import Any


class ApiError(Exception):
    """An answer other than 2xx: HTTP status, stable code, message for people, and where the fault is."""

    def __init__(self, status: int, code: str, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.detail = status, code, message, detail

    def as_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            body["detail"] = self.detail
        return body


def wrong_parameter(field: str, issue: str, value: object = None, *, location: str = "body") -> ApiError:
    """Say which parameter breaks which rule. field: a JSON pointer in the body, a name in url or query."""
    detail = {"field": field, "location": location, "value": value, "issue": issue}
    return ApiError(400, "PARAM_ERROR", f"参数错误: {field} {issue}", detail)


def invalid_request(message: str) -> ApiError:
    """Say that the request is well formed but not possible."""
    return ApiError(400, "INVALID_REQUEST", message)


def sign_error(message: str) -> ApiError:
    """Say why the request's signature was not accepted."""
    return ApiError(401, "SIGN_ERROR", message)


def order_not_exist() -> ApiError:
    """Say that the merchant has no such order."""
    return ApiError(404, "ORDER_NOT_EXIST", "订单不存在")


def resource_not_exists(message: str) -> ApiError:
    """Say that what is asked for, or its parent, is not there."""
    return ApiError(404, "RESOURCE_NOT_EXISTS", message)


def order_closed() -> ApiError:
    """Say that the order is closed and stays so."""
    return ApiError(400, "ORDER_CLOSED", "订单已关闭")
