"""What a handler is given and what it returns: an authenticated request, an answer to be signed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sandbox.acquirer import Merchant
from sandbox.wechat.certificates import PlatformKey
from sandbox.wechat.checks import OUT_TRADE_NO
from sandbox.wechat.errors import wrong_parameter
from sandbox.wechat.signing import strict_base64

OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request. public_key: the merchant's; key: the platform key its answer is to be signed with."""

    merchant: Merchant
    public_key: RSAPublicKey
    key: PlatformKey
    request: web.Request
    raw: bytes
    path: dict[str, str] = field(default_factory=dict)

    @property
    def mchid(self) -> str:
        """The merchant's number."""
        return self.merchant.merchant

    @property
    def appid(self) -> str:
        """The merchant's appid."""
        return str(self.merchant.extra["appid"])

    def json(self) -> dict[str, Any]:
        """Return the body. Raises PARAM_ERROR if it is not a JSON object."""
        try:
            body = orjson.loads(self.raw)
        except orjson.JSONDecodeError as error:
            raise wrong_parameter("", "the body is not JSON") from error
        if not isinstance(body, dict):
            raise wrong_parameter("", "the body must be a JSON object")
        return body

    def out_trade_no(self) -> str:
        """Return the order number in the path. Raises PARAM_ERROR if it cannot be one."""
        number = self.path["out_trade_no"]
        if not OUT_TRADE_NO.fullmatch(number):
            raise wrong_parameter("out_trade_no", "is malformed", number, location="url")
        return number

    def query(self, name: str, default: str | None = None) -> str:
        """Return a query parameter. Raises PARAM_ERROR if it is missing."""
        value = self.request.query.get(name, default)
        if value is None or value == "":
            raise wrong_parameter(name, "is required", location="query")
        return value

    def unsealed(self, name: str, sealed: str) -> str:
        """Return an encrypted field as it was written. Raises PARAM_ERROR if it is not for the key the header names."""
        if not self.request.headers.get("Wechatpay-Serial"):
            raise wrong_parameter("Wechatpay-Serial", "must name the key of the encrypted fields", location="header")
        try:
            return self.key.key.decrypt(strict_base64(sealed), OAEP).decode()
        except ValueError as error:
            raise wrong_parameter(f"/{name}", "cannot be decrypted with the key that Wechatpay-Serial names") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers: JSON, which is signed, or a file of this content type, which is not."""

    status: int
    body: bytes
    file_type: str | None = None


Handler = Callable[[Call], Awaitable[Answer]]
Route = tuple[str, str, str, Handler]  # method, path, what faults call it, handler


def ok(body: Any) -> Answer:
    """Return a 200 answer."""
    return Answer(200, orjson.dumps(body))
