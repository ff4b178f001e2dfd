"""The page behind h5_url 手机网页支付: what a phone's browser shows where WeChat itself would open."""

from html import escape
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.acquirer.page import major, show
from sandbox.control import ControlError
from sandbox.store import Row
from sandbox.wechat import trades
from sandbox.wechat.errors import ApiError
from sandbox.wechat.service import WeChat
from sandbox.wechat.trades import NotPayable

PATH = "/cgi-bin/mmpayweb-bin/checkmweb"


class Pages:
    """See the module."""

    def __init__(self, wechat: WeChat) -> None:
        self._wechat = wechat

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(PATH, self.ask)
        app.router.add_post(PATH, self.answer)

    async def ask(self, request: web.Request) -> web.Response:
        """Show amount and buttons."""
        mchid, number, total, state = self._order(request)
        if state != "NOTPAY":
            return show("沙箱 微信支付", f"<p>{escape(state)}</p><p>{escape(number)}</p>")
        return show(
            "沙箱 微信支付",
            f'<p class="amount">{major(total, "CNY")} CNY</p><p>{escape(mchid)} {escape(number)}</p>'
            f'<form method="post" action="{escape(request.path_qs)}">'
            '<button name="choice" value="pay">支付 Pay</button>'
            '<button name="choice" value="decline">取消 Cancel</button></form>',
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pay or not, and go back to where the merchant wants its payer."""
        mchid, number, _, _ = self._order(request)
        merchant = self._wechat.merchants.find(mchid)
        if merchant is None:
            raise ControlError(404, "no_such_merchant", f"there is no merchant {mchid}")
        if (await request.post()).get("choice") == "pay":
            try:
                if self._is_combined(request):
                    await self._wechat.pay_combined(merchant, number, None)
                else:
                    await self._wechat.pay(merchant, number, None)
            except (NotPayable, ApiError) as error:
                return show("沙箱 微信支付", f"<p>{escape(str(error))}</p>", status=409)
        back = request.query.get("redirect_url", "")
        if urlsplit(back).scheme in ("http", "https"):
            raise web.HTTPSeeOther(back)
        return await self.ask(request)

    def _is_combined(self, request: web.Request) -> bool:
        return self._find("wechat_trade", request) is None

    def _order(self, request: web.Request) -> tuple[str, str, int, str]:
        """Return whose order it is, its number, the sum and its state."""
        now_ms = self._wechat.ctx.clock.now_ms()
        if (row := self._find("wechat_trade", request)) is not None:
            return row["mchid"], row["out_trade_no"], row["total"], trades.expired_state(row, now_ms)
        if (row := self._find("wechat_combine", request)) is not None:
            parts = self._wechat.ctx.store.all(
                "SELECT t.* FROM wechat_combine_part p JOIN wechat_trade t USING (trade_id) WHERE p.combine_id = ?",
                row["combine_id"],
            )
            state = trades.expired_state(parts[0], now_ms)
            return row["mchid"], row["combine_out_trade_no"], sum(part["total"] for part in parts), state
        raise ControlError(404, "no_such_order", "no order has this prepay id")

    def _find(self, table: str, request: web.Request) -> Row | None:
        token = request.query.get("prepay_id", "").removeprefix("wx")
        return self._wechat.ctx.store.one(f"SELECT * FROM {table} WHERE token = ? AND product = 'h5'", token)
