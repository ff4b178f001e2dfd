"""What PayPal answers instead of doing what it was asked."""

import secrets
from typing import Any

from sandbox.acquirer import CoreError, Ordered

NAMES = {
    400: ("INVALID_REQUEST", "Request is not well-formed, syntactically incorrect, or violates schema."),
    401: (
        "AUTHENTICATION_FAILURE",
        "Authentication failed due to missing authorization header, or invalid authentication credentials.",
    ),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: ("RESOURCE_CONFLICT", "The server has detected a conflict while processing this request."),
    422: (
        "UNPROCESSABLE_ENTITY",
        "The requested action could not be performed, semantically incorrect, or failed business validation.",
    ),
    429: ("RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
}
# A refusal of the core's → the issue PayPal names, where that does not depend on what was asked.
ISSUES = {
    "order_paid": "ORDER_ALREADY_CAPTURED",
    "order_held": "ORDER_ALREADY_AUTHORIZED",
    "capture_exceeds": "MAX_CAPTURE_AMOUNT_EXCEEDED",
    "capture_conflict": "AUTHORIZATION_ALREADY_CAPTURED",
    "refund_exceeds": "REFUND_AMOUNT_EXCEEDED",
}


class ApiError(Exception):
    """An error answer. issue: the finer code, where there is one."""

    def __init__(self, status: int, issue: str = "", description: str = "", *, field: str = "") -> None:
        super().__init__(f"{status} {issue}")
        self.status, self.issue, self.description, self.field = status, issue, description, field

    def body(self) -> dict[str, Any]:
        """Return it as PayPal writes it."""
        name, message = NAMES.get(self.status, NAMES[422])
        body: dict[str, Any] = {"name": name, "message": message, "debug_id": secrets.token_hex(7), "links": []}
        if self.issue:
            detail = {"issue": self.issue, "description": self.description or self.issue}
            body["details"] = [detail | ({"field": self.field, "location": "body"} if self.field else {})]
        return body


class OAuthError(Exception):
    """An error answer in OAuth's format."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status, self.error, self.description = status, error, description

    def body(self) -> dict[str, Any]:
        """Return it as PayPal writes it."""
        return {"error": self.error, "error_description": self.description}


def not_found() -> ApiError:
    return ApiError(
        404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist. Please check the resource ID and try again."
    )


def of_core(refusal: CoreError) -> ApiError:
    """Return a refusal of the core's as PayPal says it."""
    if refusal.code in ISSUES:
        return ApiError(422, ISSUES[refusal.code])
    return not_found()


def of_order(ordered: Ordered) -> ApiError:
    """Return an error that was ordered as a fault."""
    match ordered.name:
        case "frequency_limited":
            return ApiError(429)
        case "refuse":
            return ApiError(ordered.status or 422, ordered.code, ordered.message)
        case _:
            return ApiError(500)
