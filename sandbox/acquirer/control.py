"""The control API every rail has: sign up merchants, be the payer, end the day, tell the truth."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox import coupons
from sandbox.acquirer.days import NotClosable
from sandbox.acquirer.disputes import Dispute
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.models import Merchant, Trade
from sandbox.bank import Refused
from sandbox.clock import rfc3339
from sandbox.control import Body, ControlError, reply
from sandbox.store import Tx

if TYPE_CHECKING:
    from sandbox.acquirer.core import Acquirer


class AcquirerControl:
    """See the module."""

    def __init__(self, acquirer: "Acquirer") -> None:
        self._of = acquirer

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        prefix = f"/control/{self._of.wire.rail}"
        app.router.add_post(f"{prefix}/merchants", self.create_merchant)
        app.router.add_get(f"{prefix}/merchants", self.list_merchants)
        app.router.add_patch(f"{prefix}/merchants/{{merchant}}", self.change_merchant)
        app.router.add_post(f"{prefix}/rotate-keys", self.rotate_keys)
        app.router.add_post(f"{prefix}/scan", self.scan)
        app.router.add_post(f"{prefix}/pay", self.pay)
        if self._of.wire.has_coupons:
            app.router.add_post(f"{prefix}/coupons", self.give_coupon)
        if self._of.wire.has_disputes:
            app.router.add_post(f"{prefix}/disputes", self.dispute)
            app.router.add_post(f"{prefix}/disputes/take", self.take_disputed)
            app.router.add_post(f"{prefix}/disputes/end", self.end_dispute)
        app.router.add_post(f"{prefix}/decline", self.decline)
        app.router.add_post(f"{prefix}/close-day", self.close_day)
        app.router.add_get(f"{prefix}/trades", self.trades)
        app.router.add_get(f"{prefix}/notices", self.notices)
        if self._of.wire.has_webhooks:
            app.router.add_post(f"{prefix}/webhooks", self.add_webhook)

    def described(self, merchant: Merchant) -> dict[str, Any]:
        """Return everything the merchant must configure."""
        return {
            "merchant": merchant.merchant,
            "name": merchant.name,
            "fee_bp": merchant.fee_bp,
            "fixed_fee_minor": merchant.fixed_fee_minor,
            "refund_fee": merchant.refund_fee or self._of.wire.refund_fee,
            "settle_to": merchant.settle_to,
            "base_url": self._of.ctx.base_url,
            **self._of.wire.described(merchant),
        }

    async def create_merchant(self, request: web.Request) -> web.Response:
        """Sign up a merchant."""
        wire = self._of.wire
        body = await self._body(request, {"name", "fee_bp", "fixed_fee_minor", "refund_fee", "settle_to", *wire.wishes})
        fee_bp, fixed = body.whole("fee_bp", wire.fee_bp), body.whole("fixed_fee_minor", wire.fixed_fee_minor)
        if not 0 <= fee_bp <= 1000 or not 0 <= fixed <= 10_000:
            raise ControlError(400, "bad_field", "fee_bp must be 0 to 1000 and fixed_fee_minor 0 to 10000")
        refund_fee = body.optional_text("refund_fee")
        if refund_fee not in (None, "returned", "kept"):
            raise ControlError(400, "bad_field", "refund_fee must be returned or kept")
        merchant = await self._of.merchants.create(
            name=body.optional_text("name") or "sandbox merchant",
            fee_bp=fee_bp,
            fixed_fee_minor=fixed,
            refund_fee=refund_fee,
            settle_to=self._account(body),
            wishes=body.only(wire.wishes),
        )
        return reply(self.described(merchant), 201)

    async def list_merchants(self, request: web.Request) -> web.Response:
        """Return every merchant."""
        return reply({"merchants": [self.described(merchant) for merchant in self._of.merchants.all()]})

    async def change_merchant(self, request: web.Request) -> web.Response:
        """Change where a merchant's days are paid out to; null: nowhere."""
        merchant = self._merchant(request.match_info["merchant"])
        body = await self._body(request, {"settle_to"})
        return reply(self.described(await self._of.merchants.settle_to(merchant.merchant, self._account(body))))

    async def _body(self, request: web.Request, known: set[str]) -> Body:
        return await Body.of(request, known, self._of.wire.words)

    def _account(self, body: Body) -> str | None:
        account = body.optional_text("settle_to")
        if account is not None and not self._of.days.bank_has(account):
            raise ControlError(404, "no_such_account", f"the sandbox bank has no account {account}; open it first")
        return account

    async def rotate_keys(self, request: web.Request) -> web.Response:
        """Bring new keys into use."""
        body = await self._body(request, {"merchant"})
        number = body.optional_text("merchant")
        try:
            made = await self._of.wire.rotate_keys(None if number is None else self._merchant(number))
        except NotImplementedError as error:
            raise ControlError(404, "no_keys_to_rotate", str(error)) from error
        return reply(made, 201)

    async def scan(self, request: web.Request) -> web.Response:
        """Be the payer: come and look, and decide later. Answer the order and the address of the payer's page."""
        trade = await self._order(await self._body(request, {"merchant", "order", "code"}))
        return reply({**self._shown(trade), "page": self._of.page_url(trade)})

    async def pay(self, request: web.Request) -> web.Response:
        """Be the payer: say yes."""
        body = await self._body(request, {"merchant", "order", "code", "payer"})
        trade = await self._order(body)
        return await self._acted(self._of.pay(trade, body.optional_text("payer")))

    async def give_coupon(self, request: web.Request) -> web.Response:
        """Give a merchant's payers a coupon, for one order or for the next it fits."""
        body = await self._body(request, {"merchant", "order", "amount", "paid_by"})
        merchant, order = self._merchant(body.text("merchant")), body.optional_text("order")
        number = None if order is None else self._of.wire.spelled(order)
        return await coupons.give(self._of.ctx, self._of.wire.rail, merchant.merchant, body, number)

    async def decline(self, request: web.Request) -> web.Response:
        """Be the payer: say no."""
        body = await self._body(request, {"merchant", "order", "code"})
        return await self._acted(self._of.decline(await self._order(body)))

    async def dispute(self, request: web.Request) -> web.Response:
        """Be the payer: dispute a payment, all or a part. `inquiry`: the bank asks first, and takes nothing yet."""
        body = await self._body(request, {"merchant", "order", "code", "amount", "reason", "inquiry"})
        trade, reason = await self._order(body), body.optional_text("reason") or self._of.wire.dispute_reason
        amount, inquiry = body.whole("amount", trade.paid), body.flag("inquiry")

        def opened(tx: Tx) -> Dispute:
            return self._of.disputes.open(
                tx, self._of.trades.by_id(tx, trade.trade_id), amount, reason, inquiry=inquiry
            )

        return await self._disputed(opened)

    async def take_disputed(self, request: web.Request) -> web.Response:
        """Be the payer's bank: have an inquiry take its money after all."""
        ref = (await self._body(request, {"dispute"})).text("dispute")
        return await self._disputed(lambda tx: self._of.disputes.take(tx, self._dispute(tx, ref)))

    async def end_dispute(self, request: web.Request) -> web.Response:
        """Be the payer's bank: decide a dispute. `fee_back`: the rail gives its fee back to a merchant who wins."""
        body = await self._body(request, {"dispute", "outcome", "fee_back"})
        ref, outcome, fee_back = body.text("dispute"), body.text("outcome"), body.flag("fee_back")
        if outcome not in ("won", "lost"):
            raise ControlError(400, "bad_field", "outcome must be won or lost")
        won = outcome == "won"
        return await self._disputed(
            lambda tx: self._of.disputes.end(tx, self._dispute(tx, ref), won=won, fee_back=fee_back)
        )

    def _dispute(self, tx: Tx, ref: str) -> Dispute:
        found = self._of.disputes.find_by_ref(tx, ref)
        if found is None:
            raise ControlError(404, "no_such_dispute", f"there is no dispute {ref}")
        return found

    async def _disputed(self, command: Callable[[Tx], Dispute]) -> web.Response:
        try:
            found = await self._of.write(command)
        except CoreError as error:
            raise ControlError(409, error.code, error.message) from error
        return reply(_told(found))

    async def _acted(self, action: Any) -> web.Response:
        try:
            trade = await action
        except CoreError as error:
            raise ControlError(409, error.code, error.message) from error
        return reply(self._shown(trade))

    async def _order(self, body: Body) -> Trade:
        code, merchant, order = body.optional_text("code"), None, None
        if code is None:
            merchant, order = self._merchant(body.text("merchant")).merchant, self._of.wire.spelled(body.text("order"))
            trade = self._of.trades.find(self._of.ctx.store, merchant, order)
        else:
            token = self._of.wire.token_in(code)
            trade = self._of.trades.find_by(self._of.ctx.store, "token", token)
            trade = trade or self._of.trades.find_by(self._of.ctx.store, "trade_ref", token)
        trade = trade or await self._of.wire.payer_comes(self._of, merchant, order, code)
        if trade is None:
            raise ControlError(404, "no_such_order", f"no order is known as {code or order}")
        return trade

    def _merchant(self, number: str) -> Merchant:
        merchant = self._of.merchants.find(number)
        if merchant is None:
            raise ControlError(404, "no_such_merchant", f"there is no merchant {number}")
        return merchant

    def _asked(self, request: web.Request) -> Merchant:
        """Return the merchant that a query names, in the rail's word for it or in every rail's."""
        words = ("merchant", *(own for own, word in self._of.wire.words.items() if word == "merchant"))
        return self._merchant(next((request.query[word] for word in words if word in request.query), ""))

    async def close_day(self, request: web.Request) -> web.Response:
        """End a merchant's day."""
        body = await self._body(request, {"merchant", "date"})
        merchant = self._merchant(body.text("merchant"))
        try:
            day = date.fromisoformat(body.text("date"))
        except ValueError as error:
            raise ControlError(400, "bad_field", "date must be YYYY-MM-DD") from error
        try:
            return reply(self._of.days.close(merchant, day))
        except NotClosable as error:
            raise ControlError(409, "not_closable", str(error)) from error
        except Refused as error:
            raise ControlError(409, "bank_refused", f"nothing was closed: the bank says {error.message}") from error

    async def trades(self, request: web.Request) -> web.Response:
        """Return a merchant's orders as they truly are, with how often each payer was charged."""
        merchant = self._asked(request)
        trades = self._of.trades.of_merchant(self._of.ctx.store, merchant.merchant)
        return reply({"trades": [self._shown(trade) for trade in trades]})

    def _shown(self, trade: Trade) -> dict[str, Any]:
        store, told, disputes = self._of.ctx.store, self._of.wire.told, self._of.wire.has_disputes
        return {
            "order": told(trade.order),
            "state": trade.state,
            "closed_by": trade.closed_by,
            "product": trade.product,
            "amount": trade.amount,
            "currency": trade.currency,
            "paid": trade.paid,
            "charged_count": self._of.trades.charged_count(store, trade),
            "fee": trade.fee,
            "merchant_coupon": trade.not_paid_out,
            "channel_ref": trade.channel_ref,
            "paid_at": trade.paid_ms and rfc3339(trade.paid_ms),
            "bill_date": trade.bill_date,
            "refunds": [
                {
                    "order": refund.order and told(refund.order),
                    "amount": refund.amount,
                    "status": refund.status,
                    "ref": refund.refund_ref,
                }
                for refund in self._of.refunds.of_trade(store, trade)
            ],
            **({"disputes": [_told(one) for one in self._of.disputes.of_trade(store, trade)]} if disputes else {}),
            **self._of.wire.told_trade(trade),
        }

    async def notices(self, request: web.Request) -> web.Response:
        """Return a merchant's notices and how each attempt was answered."""
        merchant = self._asked(request)
        return reply({"notices": self._of.notices.listed(merchant.merchant)})

    async def add_webhook(self, request: web.Request) -> web.Response:
        """Register an address for a merchant's notices; answer what its settings must gain."""
        body = await self._body(request, {"merchant", "url"})
        merchant, url = self._merchant(body.text("merchant")), body.text("url")
        hook = await self._of.write(lambda tx: self._of.merchants.add_webhook(tx, merchant, url, {}))
        return reply({"webhook_id": hook.webhook_id, **self._of.wire.webhook_settings(hook)}, 201)


def _told(dispute: Dispute) -> dict[str, Any]:
    """Return a dispute as the control API tells of it."""
    return {
        "dispute": dispute.dispute_ref,
        "amount": dispute.amount,
        "fee": dispute.fee,
        "fee_back": dispute.fee_back,
        "reason": dispute.reason,
        "status": dispute.status,
    }
