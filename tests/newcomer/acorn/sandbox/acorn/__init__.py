"""Acorn simulated: written from its documents, if it had any, and not from the adapter."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, PayingBank
from sandbox.acquirer.bills import BillRow
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.guard import Dropped, Ordered
from sandbox.acquirer.models import Event, Merchant, Refund, Trade
from sandbox.acquirer.wire import NoticeJob, NumberKind, Sending, Signed, Wire
from sandbox.clock import rfc3339
from sandbox.context import SandboxContext

__all__ = ["install"]

Answer = tuple[int, bytes]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, _pool: keys.Pool) -> None:
    """Put Acorn's routes and background work into the sandbox's application."""
    wire = AcornWire(ctx)
    acquirer = wire.acquirer = Acquirer(ctx, wire, bank)
    Routes(acquirer, wire).add_to(app)
    await acquirer.install(app)


class No(Exception):
    """A refusal; nothing was done."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class AcornWire(Wire):
    """How Acorn signs, numbers and tells."""

    rail = "acorn"
    mark = "AC"
    payer_name = "Acorn Payments"
    states = (("state",),)
    schedule_s: Sequence[float] = (15, 30, 60, 300, 900, 3600)
    acquirer: Acquirer

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx

    def merchant_id(self, seq: int) -> str:
        return f"{seq:010}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        return {"keys": [secrets.token_hex(32)]}

    def described(self, merchant: Merchant) -> dict[str, Any]:
        return {"secret_key": "\n".join(merchant.extra["keys"])}

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        assert merchant is not None, "every merchant has keys of its own"
        changed = [secrets.token_hex(32), *merchant.extra["keys"]]
        return self.described(await self.acquirer.merchants.note(merchant.merchant, keys=changed))

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        return f"AC{kind[0].upper()}{merchant}{seq:08}"

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        if event == "paid":
            return {"kind": "payment", **shown(trade)}
        if event == "refunded" and refund is not None:
            return {"kind": "refund", **shown_refund(refund, trade)}
        return None

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return {**content, "amount": content["amount"] + 1}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        body = json.dumps({"id": notice.notice_id, **notice.content}).encode()
        return Sending(self.headers(merchant, body, signed), body)

    def headers(self, merchant: Merchant, body: bytes, signed: Signed) -> dict[str, str]:
        """Return the headers of a message of ours, signed now."""
        if signed == "none":
            return {}
        at = str(self._ctx.clock.now_ms() // 1000)
        key = merchant.extra["keys"][0] if signed == "right" else "nobody's"
        return {"Acorn-Time": at, "Acorn-Sign": mac(key, f"{at}\n".encode() + body)}


class Routes:
    """Acorn's HTTP interface."""

    def __init__(self, acquirer: Acquirer, wire: AcornWire) -> None:
        self._of, self._wire = acquirer, wire

    def add_to(self, app: web.Application) -> None:
        for method, path, op, handler in (
            ("POST", "/acorn/orders", "create", self._create),
            ("GET", "/acorn/orders/{order}", "query", self._show),
            ("POST", "/acorn/orders/{order}/close", "close", self._close),
            ("POST", "/acorn/refunds", "refund", self._refund),
            ("GET", "/acorn/refunds/{refund}", "refund_query", self._show_refund),
            ("GET", "/acorn/bills/{date}", "bill", self._bill),
        ):
            self._of.guard.route(app, method, path, self._served(op, handler))

    def _served(
        self, op: str, handler: Callable[[web.Request, Merchant, dict[str, Any]], Awaitable[Answer]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            try:
                merchant = self._caller(request, raw)
            except No as no:
                return web.Response(status=no.status, body=refusal(no.code))
            body = json.loads(raw) if raw else {}
            named = {name: str(value) for name in ("order", "refund") if (value := body.get(name))}
            facts: dict[str, object] = {"op": op, "merchant": merchant.merchant, **named, **request.match_info}
            facts.pop("date", None)
            try:
                status, answer = await self._of.guard.run(lambda: handler(request, merchant, body), **facts)
            except Dropped:
                raise
            except No as no:
                status, answer = no.status, refusal(no.code)
            except CoreError as error:
                status, answer = 404 if error.code.endswith("unknown") else 409, refusal(error.code)
            except Ordered as ordered:
                status, answer = 429 if ordered.name == "frequency_limited" else 500, refusal(ordered.name)
            answer = self._of.guard.said_json(answer, **facts)
            signed = self._of.guard.signature(**facts)
            return web.Response(status=status, body=answer, headers=self._wire.headers(merchant, answer, signed))

        return serve

    def _caller(self, request: web.Request, raw: bytes) -> Merchant:
        merchant = self._of.merchants.find(request.headers.get("Acorn-Merchant", ""))
        at, signature = request.headers.get("Acorn-Time", ""), request.headers.get("Acorn-Sign", "")
        message = f"{request.method}\n{request.path_qs}\n{at}\n".encode() + raw
        known = merchant.extra["keys"] if merchant is not None else []
        if merchant is None or not any(hmac.compare_digest(mac(key, message), signature) for key in known):
            raise No(401, "signature")
        if abs(self._of.ctx.clock.now_ms() / 1000 - int(at)) > 300:
            raise No(401, "stale")
        return merchant

    async def _create(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        expires = datetime.fromisoformat(body["expires"])
        trade, _ = await self._of.write(
            lambda tx: self._of.trades.create(
                tx,
                merchant,
                order=body["order"],
                amount=body["amount"],
                currency=body["currency"],
                product="qr",
                params=json.dumps([body["amount"], body["currency"]]),
                expires_ms=int(expires.timestamp() * 1000),
                notify_url=body["notify"],
            )
        )
        return said(shown(trade))

    async def _show(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        return said(shown(self._of.trades.get(self._of.ctx.store, merchant.merchant, request.match_info["order"])))

    async def _close(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        order = request.match_info["order"]
        trade = await self._of.write(
            lambda tx: self._of.trades.close(tx, self._of.trades.get(tx, merchant.merchant, order))
        )
        return said(shown(trade))

    async def _refund(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        def command(tx: Any) -> tuple[Refund, Trade]:
            trade = self._of.trades.get(tx, merchant.merchant, body["order"])
            refund, _ = self._of.refunds.create(
                tx,
                trade,
                order=body["refund"],
                amount=body["amount"],
                params=str(body["amount"]),
                notify_url=body["notify"],
            )
            return refund, trade

        return said(shown_refund(*await self._of.write(command)))

    async def _show_refund(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        refund = self._of.refunds.find(self._of.ctx.store, merchant.merchant, request.match_info["refund"])
        if refund is None:
            raise No(404, "refund_unknown")
        return said(shown_refund(refund, self._of.trades.by_id(self._of.ctx.store, refund.trade_id)))

    async def _bill(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        day = date.fromisoformat(request.match_info["date"])
        if self._of.days.closed_through(merchant.merchant) < day:
            raise No(409, "not_ready")
        rows = self._of.bills.rows(merchant, day)
        if not rows:
            raise No(404, "nothing")
        of = self._of.bills.day_shown(merchant, day)
        lines = [f"acorn,{merchant.merchant},{of}", *map(bill_row, rows), f"end,{len(rows)}"]
        return 200, self._of.bills.cut(merchant, day, "\n".join(lines).encode())


def mac(key: str, message: bytes) -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


def said(body: Mapping[str, Any]) -> Answer:
    return 200, json.dumps(body).encode()


def refusal(code: str) -> bytes:
    return json.dumps({"code": code, "message": code.replace("_", " ")}).encode()


def shown(trade: Trade) -> dict[str, Any]:
    state = trade.state if trade.state in ("open", "closed") else "paid"
    body = {"merchant": trade.merchant, "order": trade.order, "state": state, "code": f"acorn://pay/{trade.token}"}
    if state == "paid" and trade.paid_ms is not None:
        body |= {"number": trade.charge_ref or "", "at": rfc3339(trade.paid_ms)}
    return {**body, "amount": trade.paid if state == "paid" else trade.amount, "currency": trade.currency}


def shown_refund(refund: Refund, trade: Trade) -> dict[str, Any]:
    return {
        "merchant": refund.merchant,
        "refund": refund.order,
        "order": trade.order,
        "amount": refund.amount,
        "currency": trade.currency,
        "number": refund.refund_ref,
        "state": refund.status,
        "at": rfc3339(refund.success_ms) if refund.success_ms else None,
    }


def bill_row(row: BillRow) -> str:
    values = (row.kind, row.order, row.refund or "", row.ref, row.amount, row.currency, row.fee, row.status)
    return ",".join([*map(str, values), rfc3339(row.at_ms)])
