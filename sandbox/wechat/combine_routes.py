"""The API of combined payments 合单支付."""

from sandbox.acquirer import Acquirer
from sandbox.store import Tx
from sandbox.wechat import combine, trades
from sandbox.wechat.calls import Answer, Call, Handler, Route, ok

PREFIX = "/v3/combine-transactions"
BY_NUMBER = PREFIX + "/out-trade-no/{out_trade_no}"


class CombineRoutes:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def table(self) -> list[Route]:
        """Return every route."""
        creates = [
            ("POST", f"{PREFIX}/{product}", "create", self._creates(product))
            for product in ("native", "jsapi", "app", "h5")
        ]
        return [*creates, ("GET", BY_NUMBER, "query", self.query), ("POST", f"{BY_NUMBER}/close", "close", self.close)]

    def _creates(self, product: str) -> Handler:
        async def create(call: Call) -> Answer:
            ctx = self._of.ctx
            now_ms, find = ctx.clock.now_ms(), self._of.merchants.find
            order = combine.read_order(product, call.json(), call.merchant, find, now_ms, call.key.key_id)
            row = await self._of.write(lambda tx: combine.create(tx, self._of, call.merchant, order))
            return ok(trades.creation_answer(product, row["token"], ctx.base_url, now_ms))

        return create

    async def query(self, call: Call) -> Answer:
        """Return a combined order 合单查询订单."""
        number = call.out_trade_no()
        return ok(await self._of.write(lambda tx: combine.query(tx, self._of, call.mchid, number)))

    async def close(self, call: Call) -> Answer:
        """Close all orders of a combined one 合单关闭订单."""
        number, body = call.out_trade_no(), call.json()

        def command(tx: Tx) -> None:
            combine.close(tx, self._of, combine.get(tx, call.mchid, number), body, call.appid)

        await self._of.write(command)
        return Answer(204, b"")
