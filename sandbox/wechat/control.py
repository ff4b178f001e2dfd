"""What WeChat Pay's control API has beside every rail's: the payer of a combined order pays all of it or nothing."""

from aiohttp import web

from sandbox.acquirer import CoreError
from sandbox.acquirer.control import AcquirerControl
from sandbox.control import ControlError, reply
from sandbox.store import Row
from sandbox.wechat import combine, trades


class WeChatControl(AcquirerControl):
    """See the module."""

    async def pay(self, request: web.Request) -> web.Response:
        """Be the payer: scan and pay, one order or a combined one."""
        row, payer = await self._combined(request)
        if row is None:
            return await super().pay(request)
        try:
            return reply(await self._of.write(lambda tx: combine.pay(tx, self._of, row, payer)))
        except CoreError as error:
            raise ControlError(409, error.code, error.message) from error

    async def decline(self, request: web.Request) -> web.Response:
        """Be the payer: give up. A combined order stays open."""
        row, _ = await self._combined(request)
        if row is None:
            return await super().decline(request)
        return reply({"combine_out_trade_no": row["combine_out_trade_no"]})

    async def _combined(self, request: web.Request) -> tuple[Row | None, str | None]:
        """Return the combined order that a payer means, if it is one, and who pays."""
        body, store = await self._body(request, {"merchant", "order", "code", "payer"}), self._of.ctx.store
        code, payer = body.optional_text("code"), body.optional_text("payer")
        if code is not None:
            token = trades.token_in(code)
            return None if token is None else combine.find_by_token(store, token), payer
        mchid, number = body.text("merchant"), body.text("order")
        single = self._of.trades.find(store, mchid, number)
        return None if single is not None else combine.find(store, mchid, number), payer
