"""Be the payer in a browser: paste what a code holds, say which app you are, see what is asked for, pay or decline.

Everything goes through the control API over HTTP, so the wallet knows no more of a rail than any test does.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.acquirer.page import major, show

APPS: Mapping[str, str] = {
    "wechat": "微信支付 WeChat Pay",
    "alipay": "支付宝 Alipay",
    "unionpay": "银联 UnionPay",
    "paypal": "PayPal",
    "stripe": "银行卡 Card",
    "bank_transfer": "银行转账 Bank transfer",
}
_BEGINS = {
    "weixin://": "wechat",
    "wx": "wechat",
    "https://qr.alipay.com/": "alipay",
    "https://qr.95516.com/": "unionpay",
}
_STATES = {"paid": "已支付 Paid", "held": "已授权 Authorised", "closed": "已关闭 Closed", "reversed": "已撤销 Reversed"}


def app_of(code: str) -> str | None:
    """Return the app whose code this is by how it begins, None where that does not tell."""
    return next((app for begin, app in _BEGINS.items() if code.startswith(begin)), None)


class Wallet:
    """See the module."""

    def __init__(self, base_url: str) -> None:
        self._control = f"{base_url}/control"

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/wallet", self.start)
        app.router.add_post("/wallet", self.scan)
        app.router.add_post("/wallet/answer", self.answer)

    async def start(self, request: web.Request) -> web.Response:
        """Ask what was scanned."""
        return show("沙箱钱包 Wallet", _form(request.query.get("code", "")))

    async def scan(self, request: web.Request) -> web.Response:
        """Show what is asked for."""
        code, app = await _sent(request)
        if app is None:
            if code.startswith(("http://", "https://")):
                return show("沙箱钱包 Wallet", f'<p><a href="{escape(code)}" rel="noreferrer">打开 Open</a></p>')
            return show("沙箱钱包 Wallet", "<p>请选择应用 Choose the app</p>" + _form(code), 422)
        status, said = await self._ask(f"{app}/scan", code)
        if status >= 300:
            return show("沙箱钱包 Wallet", f"<p>{escape(str(said.get('message')))}</p>{_form(code)}", status)
        amount = f"{major(said['amount'], said['currency'])} {said['currency']}"
        head = f'<p class="amount">{escape(amount)}</p><p>{escape(APPS[app])} · {escape(str(said["order"]))}</p>'
        if said["state"] != "open":
            return show("沙箱钱包 Wallet", f"{head}<p>{_STATES.get(said['state'], '未支付 Not paid')}</p>{_form('')}")
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{escape(value)}">'
            for name, value in (("code", code), ("app", app))
        )
        buttons = "".join(
            f'<button name="choice" value="{choice}">{words}</button>'
            for choice, words in (("pay", "支付 Pay"), ("decline", "取消 Cancel"))
        )
        return show("沙箱钱包 Wallet", f'{head}<form method="post" action="/wallet/answer">{hidden}{buttons}</form>')

    async def answer(self, request: web.Request) -> web.Response:
        """Pay or decline."""
        code, app = await _sent(request)
        choice = (await request.post()).get("choice")
        if app is None or choice not in ("pay", "decline"):
            raise web.HTTPBadRequest(text="app and choice are needed")
        status, said = await self._ask(f"{app}/{choice}", code)
        words = str(said.get("message")) if status >= 300 else "已支付 Paid" if choice == "pay" else "已取消 Canceled"
        return show("沙箱钱包 Wallet", f"<p>{escape(words)}</p>{_form('')}", status)

    async def _ask(self, path: str, code: str) -> tuple[int, dict[str, Any]]:
        async with aiohttp.ClientSession() as http, http.post(f"{self._control}/{path}", json={"code": code}) as said:
            return said.status, await said.json()


async def _sent(request: web.Request) -> tuple[str, str | None]:
    """Return what was scanned, and in which app: the one chosen, else the one whose code it is."""
    form = await request.post()
    code, app = str(form.get("code", "")).strip(), str(form.get("app", ""))
    return code, app if app in APPS else app_of(code)


def _form(code: str) -> str:
    options = "".join(f'<option value="{name}">{words}</option>' for name, words in APPS.items())
    return (
        '<form method="post" action="/wallet"><p><label>扫到的内容 What was scanned<br>'
        f'<input name="code" value="{escape(code)}" required size="30"></label></p><p><label>应用 App<br>'
        f'<select name="app"><option value="">自动 By the code</option>{options}</select></label></p>'
        "<button>扫一扫 Scan</button></form>"
    )
