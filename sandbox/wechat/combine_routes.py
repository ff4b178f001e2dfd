"""The API of combined payments 合单支付."""

from sandbox.store import Tx
from sandbox.wechat import combine, trades
from sandbox.wechat.calls import Answer, Call, Handler, Route, ok
from sandbox.wechat.service import WeChat

PREFIX = "/v3/combine-transactions"
BY_NUMBER = PREFIX + "/out-trade-no/{out_trade_no}"


class CombineRoutes:
    """See the module."""

    def __init__(self, wechat: WeChat) -> None:
        self._wechat = wechat

    def table(self) -> list[Route]:
        """Return every route."""
        creates = [
            ("POST", f"{PREFIX}/{product}", "create", self._creates(product))
            for product in ("native", "jsapi", "app", "h5")
        ]
        return [*creates, ("GET", BY_NUMBER, "query", self.query), ("POST", f"{BY_NUMBER}/close", "close", self.close)]

    def _creates(self, product: str) -> Handler:
        async def create(call: Call) -> Answer:
            ctx = self._wechat.ctx
            now_ms, find = ctx.clock.now_ms(), self._wechat.merchants.find
            order = combine.read_order(product, call.json(), call.merchant, find, now_ms, call.key.key_id)
            row = await self._wechat.create_combined(call.merchant, order)
            return ok(trades.creation_answer(row, ctx.base_url))

        return create

    async def query(self, call: Call) -> Answer:
        """Return a combined order 合单查询订单."""
        mchid, number, now_ms = call.merchant.mchid, call.out_trade_no(), self._wechat.ctx.clock.now_ms()

        def command(tx: Tx) -> dict[str, object]:
            row = combine.get(tx, mchid, number)
            return combine.shown(row, combine.parts_of(tx, row, now_ms))

        return ok(await self._wechat.ctx.store.write(command))

    async def close(self, call: Call) -> Answer:
        """Close all orders of a combined one 合单关闭订单."""
        merchant, number, now_ms = call.merchant, call.out_trade_no(), self._wechat.ctx.clock.now_ms()
        body = call.json()

        def command(tx: Tx) -> None:
            combine.close(tx, combine.get(tx, merchant.mchid, number), body, merchant.appid, now_ms)

        await self._wechat.ctx.store.write(command)
        return Answer(204, b"")
