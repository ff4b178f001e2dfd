"""Who visits a page inside WeChat (网页授权 snsapi_base): a silent redirect with a code, and the code's exchange.

A visitor is told apart by a cookie on WeChat's own address, as the real one knows whose app it is.
"""

import hmac
import re
import secrets
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from sandbox.acquirer import Acquirer, Merchant
from sandbox.acquirer.page import show
from sandbox.control import reply
from sandbox.wechat.wire import app_secret

CODE_LIVES_MS = 5 * 60 * 1000
COOKIE = "sandbox_wechat_user"
ASKED = ("appid", "redirect_uri", "response_type", "scope", "state")
_USER = re.compile(r"[0-9a-f]{20}", re.ASCII)


class _Code(NamedTuple):
    appid: str
    openid: str
    ends_ms: int


class Visitors:
    """See the module. Codes live in memory: they are good for five minutes and once."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer
        self._codes: dict[str, _Code] = {}

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/connect/oauth2/authorize", self.authorize)
        app.router.add_get("/sns/oauth2/access_token", self.exchange)

    async def authorize(self, request: web.Request) -> web.Response:
        """Send the visitor back with a code."""
        asked = request.query
        merchant = self._of_appid(asked.get("appid", ""))
        back = urlsplit(asked.get("redirect_uri", ""))
        # The real one takes its parameters in this order alone.
        in_order = tuple(asked)[: len(ASKED)] == ASKED
        if merchant is None or back.scheme not in ("http", "https") or not in_order:
            return show("沙箱 微信", "<p>appid 或 redirect_uri 参数错误</p>", 400)
        if asked.get("response_type") != "code" or asked.get("scope") != "snsapi_base":
            return show("沙箱 微信", "<p>Scope 参数错误或没有 Scope 权限</p>", 400)
        user = request.cookies.get(COOKIE, "")
        user = user if _USER.fullmatch(user) else secrets.token_hex(10)
        code = secrets.token_hex(16)
        now_ms = self._of.ctx.clock.now_ms()
        self._codes = {name: one for name, one in self._codes.items() if one.ends_ms > now_ms}
        appid = str(merchant.extra["appid"])
        self._codes[code] = _Code(appid, f"o{appid[2:9]}{user}", now_ms + CODE_LIVES_MS)
        query = [*parse_qsl(back.query, keep_blank_values=True), ("code", code), ("state", asked.get("state", ""))]
        response = web.Response(
            status=302, headers={"Location": urlunsplit(back._replace(query=urlencode(query), fragment=""))}
        )
        response.set_cookie(COOKIE, user, httponly=True, samesite="Lax")
        return response

    async def exchange(self, request: web.Request) -> web.Response:
        """Answer the openid of a code, once; errors come with status 200, as WeChat's do."""
        asked = request.query
        merchant = self._of_appid(asked.get("appid", ""))
        if merchant is None:
            return _error(40013, "invalid appid")
        secret = app_secret(str(merchant.extra["apiv3_key"]))
        if not hmac.compare_digest(asked.get("secret", "").encode(), secret.encode()):
            return _error(40125, "invalid appsecret")
        if asked.get("grant_type") != "authorization_code":
            return _error(40002, "invalid grant_type")
        code = self._codes.pop(asked.get("code", ""), None)
        if code is None or code.appid != merchant.extra["appid"] or code.ends_ms <= self._of.ctx.clock.now_ms():
            return _error(40029, "invalid code")
        said: dict[str, Any] = {
            "access_token": secrets.token_urlsafe(60),
            "expires_in": 7200,
            "refresh_token": secrets.token_urlsafe(60),
            "openid": code.openid,
            "scope": "snsapi_base",
        }
        return reply(said)

    def _of_appid(self, appid: str) -> Merchant | None:
        return next((one for one in self._of.merchants.all() if one.extra["appid"] == appid), None)


def _error(code: int, words: str) -> web.Response:
    return reply({"errcode": code, "errmsg": words})
