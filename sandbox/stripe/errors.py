"""Refusals in Stripe's words."""

from typing import Any

DOCS = "https://stripe.com/docs/error-codes/"


class ApiError(Exception):
    """An error answer. kept: it is the outcome of an execution, so an Idempotency-Key tells it again."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        kept: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.kept = status, code, kept
        said: dict[str, Any] = {"message": message, "type": kind}
        if code is not None:
            said |= {"code": code, "doc_url": DOCS + code.replace("_", "-")}
        if param is not None:
            said["param"] = param
        self.error = said | more

    def as_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        return {"error": self.error}


def missing(param: str) -> ApiError:
    """Say that a field is not there."""
    return ApiError(400, f"Missing required param: {param}.", code="parameter_missing", param=param)


def no_such(kind: str, named: str, param: str, status: int = 404) -> ApiError:
    """Say that there is no such object. status: 404 where the path names it, 400 where a field does."""
    return ApiError(status, f"No such {kind}: '{named}'", code="resource_missing", param=param)


def wrong(param: str, message: str, code: str | None = None) -> ApiError:
    """Say what is wrong with a field."""
    return ApiError(400, message, code=code, param=param)
