"""The page behind h5_url 手机网页支付: what a phone's browser shows where WeChat itself would open."""

from html import escape
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.acquirer import Acquirer, CoreError, Trade
from sandbox.acquirer.page import major, show
from sandbox.control import ControlError
from sandbox.store import Row
from sandbox.wechat import combine, trades

PATH = "/cgi-bin/mmpayweb-bin/checkmweb"
LIVES_MS = 5 * 60 * 1000  # h5_url; however fast the simulated world runs, the time is a person's


class Pages:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(PATH, self.ask)
        app.router.add_post(PATH, self.answer)

    async def ask(self, request: web.Request) -> web.Response:
        """Show amount and buttons, to a visitor who names a page: WeChat Pay looks whether its domain is registered.

        An address that was made five minutes ago shows none of it.
        """
        row, parts = self._order(request)
        if "Referer" not in request.headers:
            return show("沙箱 微信支付", "<p>商家参数格式有误，请联系商家解决</p><p>no Referer</p>", status=400)
        made_ms = request.query.get("package", "")
        if not made_ms.isdecimal() or self._of.ctx.clock.now_ms() - int(made_ms) >= LIVES_MS:
            return show("沙箱 微信支付", "<p>支付请求已失效，请重新发起支付</p><p>h5_url: 5 min</p>", status=400)
        mchid, number = (
            (parts[0].merchant, parts[0].order) if row is None else (row["mchid"], row["combine_out_trade_no"])
        )
        state, total = trades.state_of(parts[0]), sum(part.amount for part in parts)
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
        row, parts = self._order(request)
        if (await request.post()).get("choice") == "pay":
            try:
                if row is None:
                    await self._of.pay(parts[0], None)
                else:
                    await self._of.write(lambda tx: combine.pay(tx, self._of, row, None))
            except CoreError as error:
                return show("沙箱 微信支付", f"<p>{escape(str(error))}</p>", status=409)
        back = request.query.get("redirect_url", "")
        if urlsplit(back).scheme in ("http", "https"):
            raise web.HTTPSeeOther(back)
        return await self.ask(request)

    def _order(self, request: web.Request) -> tuple[Row | None, list[Trade]]:
        """Return the order of a prepay id, or a combined one with its orders."""
        store, token = self._of.ctx.store, request.query.get("prepay_id", "").removeprefix("wx")
        trade = self._of.trades.find_by(store, "token", token)
        if trade is not None and trade.product == "h5" and not trade.extra["combined"]:
            return None, [trade]
        row = combine.find_by_token(store, token)
        if row is not None and row["product"] == "h5":
            return row, combine.parts_of(store, self._of, row)
        raise ControlError(404, "no_such_order", "no order has this prepay id")
