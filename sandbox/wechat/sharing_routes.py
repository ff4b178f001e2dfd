"""The API of profit sharing 分账."""

import base64

from sandbox.acquirer import Acquirer
from sandbox.wechat import sharing
from sandbox.wechat.calls import OAEP, Answer, Call, Route, ok
from sandbox.wechat.checks import Fields
from sandbox.wechat.errors import ApiError
from sandbox.wechat.orders import canonical

PREFIX = "/v3/profitsharing"


class SharingRoutes:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    def table(self) -> list[Route]:
        """Return every route."""
        return [
            ("POST", f"{PREFIX}/receivers/add", "bind", self.add_receiver),
            ("POST", f"{PREFIX}/receivers/delete", "unbind", self.remove_receiver),
            ("POST", f"{PREFIX}/orders", "share", self.share),
            ("POST", f"{PREFIX}/orders/unfreeze", "release", self.release),
            ("GET", PREFIX + "/orders/{out_order_no}", "share_query", self.query),
            ("POST", f"{PREFIX}/return-orders", "give_back", self.give_back),
            ("GET", PREFIX + "/return-orders/{out_return_no}", "give_back_query", self.return_query),
            ("GET", PREFIX + "/transactions/{transaction_id}/amounts", "unsplit", self.unsplit),
        ]

    async def add_receiver(self, call: Call) -> Answer:
        """Add a receiver 添加分账接收方; its name is decrypted here, and encrypted for the merchant in the answer."""
        fields, mchid = Fields(call.json()), call.mchid
        _require_appid(fields, call)
        kind, account = fields.choice("type", *sharing.TYPES), fields.text("account", 64)
        relation = fields.choice("relation_type", *sharing.RELATIONS)
        if relation == "CUSTOM":
            fields.text("custom_relation", 30)  # ten characters 字
        name = call.unsealed("name", fields.text("name", 1024)) if fields.has("name") else ""
        if kind == "MERCHANT_ID" and not name:
            raise fields.wrong("name", "is required for MERCHANT_ID")
        await self._of.write(lambda tx: sharing.add_receiver(tx, self._of, mchid, kind, account, name, relation))
        view = {"type": kind, "account": account, "relation_type": relation}
        if name:
            view["name"] = base64.b64encode(call.public_key.encrypt(name.encode(), OAEP)).decode()
        return ok(view)

    async def remove_receiver(self, call: Call) -> Answer:
        """Remove a receiver 删除分账接收方."""
        fields, mchid = Fields(call.json()), call.mchid
        _require_appid(fields, call)
        kind, account = fields.choice("type", *sharing.TYPES), fields.text("account", 64)
        await self._of.write(lambda tx: sharing.remove_receiver(tx, mchid, kind, account))
        return ok({"type": kind, "account": account})

    async def share(self, call: Call) -> Answer:
        """Share out 请求分账."""
        body = call.json()
        order = sharing.read_order(body, call.appid, canonical(body))
        return ok(await self._of.write(lambda tx: sharing.share(tx, self._of, call.mchid, order)))

    async def release(self, call: Call) -> Answer:
        """Release the rest 解冻剩余资金."""
        body = call.json()
        order = sharing.read_release(body, canonical(body))
        return ok(await self._of.write(lambda tx: sharing.share(tx, self._of, call.mchid, order)))

    async def query(self, call: Call) -> Answer:
        """Return a share order 查询分账结果."""
        number, transaction_id = call.path["out_order_no"], call.query("transaction_id")
        return ok(await self._of.write(lambda tx: sharing.query(tx, self._of, call.mchid, number, transaction_id)))

    async def give_back(self, call: Call) -> Answer:
        """Fetch a share back 请求分账回退."""
        body = call.json()
        order = sharing.read_return(body, canonical(body))
        return ok(await self._of.write(lambda tx: sharing.give_back(tx, self._of, call.mchid, order)))

    async def return_query(self, call: Call) -> Answer:
        """Return what became of that 查询分账回退结果."""
        number, order = call.path["out_return_no"], call.query("out_order_no")
        return ok(await self._of.write(lambda tx: sharing.return_query(tx, call.mchid, number, order)))

    async def unsplit(self, call: Call) -> Answer:
        """Return how much can still be shared 查询剩余待分金额."""
        number = call.path["transaction_id"]
        amount = await self._of.write(lambda tx: sharing.unsplit(tx, self._of, call.mchid, number))
        return ok({"transaction_id": number, "unsplit_amount": amount})


def _require_appid(fields: Fields, call: Call) -> None:
    if fields.text("appid", 32) != call.appid:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
