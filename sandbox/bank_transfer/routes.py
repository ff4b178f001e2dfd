"""The collection service's doors `/collect`: translate, call, translate. Every answer is signed, refusals too."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from typing import Any

from aiohttp import web

from sandbox.acquirer import Acquirer
from sandbox.acquirer.bills import BillRow
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.guard import Dropped, Ordered
from sandbox.acquirer.models import Merchant, Refund, Trade
from sandbox.acquirer.wire import Signed
from sandbox.bank import Bank, Refused, reports, signing
from sandbox.bank.bookings import IDENTITY
from sandbox.bank.money import NotAnAmount, to_minor, to_text
from sandbox.bank_transfer.wire import PAYER_ACCOUNT, PAYER_NAME, CollectionWire, entry_of
from sandbox.clock import rfc3339

CURRENCIES = ("CNY", "USD", "EUR", "GBP", "HKD", "JPY")
LARGEST_MINOR = 500_000_000_00
Answer = tuple[int, bytes, str]
_JSON = "application/json"
_REFUSALS: Mapping[str, tuple[int, str]] = {
    "order_unknown": (404, "no_such_reference"),
    "refund_unknown": (404, "no_such_reference"),
    "order_conflict": (409, "reference_in_use"),
    "refund_conflict": (409, "reference_in_use"),
    "refund_exceeds": (409, "exceeds_credit"),
    "order_paid": (409, "credited"),
}


class No(Exception):
    """A refusal; nothing was done."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Routes:
    """See the module."""

    def __init__(self, acquirer: Acquirer, wire: CollectionWire, bank: Bank) -> None:
        self._of, self._wire, self._bank = acquirer, wire, bank

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        accounts = "/collect/virtual-accounts"
        for method, path, op, handler in (
            ("POST", accounts, "create", self._open),
            ("GET", f"{accounts}/{{reference}}", "query", self._show),
            ("POST", f"{accounts}/{{reference}}/close", "close", self._close),
            ("POST", "/collect/returns", "refund", self._return),
            ("GET", "/collect/returns/{reference}", "refund_query", self._show_return),
            ("GET", "/collect/collections", "bill", self._report),
            ("GET", "/collect/keys", "keys", self._keys),
        ):
            self._of.guard.route(app, method, path, self._served(op, handler))

    def _served(
        self, op: str, handler: Callable[[web.Request, Merchant, dict[str, Any]], Awaitable[Answer]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return the handler with everything around it: who asks, ordered faults, refusals, the signature."""

        async def serve(request: web.Request) -> web.StreamResponse:
            merchant, body = None, {}
            facts: dict[str, object] = {"op": op}
            try:
                merchant = self._authenticated(request)
                body = await self._signed_body(request, merchant)
                facts |= {"merchant": merchant.merchant, **_named(op, request, body)}
                known, said = merchant, body
                status, answer, kind = await self._of.guard.run(lambda: handler(request, known, said), **facts)
            except Dropped:
                raise
            except No as no:
                status, answer, kind = no.status, _refusal(no.code, no.message), _JSON
            except CoreError as error:
                status, code = _REFUSALS.get(error.code, (409, error.code))
                answer, kind = _refusal(code, error.message), _JSON
            except Ordered as ordered:
                status, answer, kind = _ordered(ordered)
            if merchant is not None and kind == _JSON:
                answer = self._of.guard.said_json(answer, **facts)
            signed: Signed = self._of.guard.signature(**facts) if merchant is not None else "right"
            return web.Response(status=status, body=answer, headers=await self._wire.headers(answer, kind, signed))

        return serve

    def _authenticated(self, request: web.Request) -> Merchant:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        for merchant in self._of.merchants.all():
            if scheme.lower() == "bearer" and merchant.extra["token_sha256"] == digest:
                return merchant
        raise No(401, "not_authenticated", "Authorization must be `Bearer <token>` with a customer's token")

    async def _signed_body(self, request: web.Request, merchant: Merchant) -> dict[str, Any]:
        raw = await request.read()
        if request.method == "GET":
            return {}
        try:
            signature = signing.parse_header(request.headers.get(signing.HEADER))
            if signature.key_id != merchant.extra["key_id"]:
                raise signing.NotSigned(f"keyid {signature.key_id} is not the customer's key")
            if abs(self._of.ctx.clock.now_ms() / 1000 - int(signature.created)) > 300:
                raise signing.NotSigned("it was made more than five minutes from now")
            signing.verify(signature, merchant.extra["public_key"], raw)
        except signing.NotSigned as why:
            raise No(401, "signature_not_valid", str(why)) from None
        try:
            body = json.loads(raw)
        except ValueError:
            raise No(400, "not_json", "the body must be a JSON object") from None
        if not isinstance(body, dict):
            raise No(400, "not_json", "the body must be a JSON object")
        return body

    # ---- virtual accounts --------------------------------------------------------------------------------------------

    async def _open(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        _is_for(body, "open")
        reference, currency = _text(body, "reference", 35), _text(body, "currency", 3)
        if currency not in CURRENCIES:
            raise No(403, "currency_not_offered", f"{currency} is not collected; {', '.join(CURRENCIES)} are")
        amount = _amount(body, currency)
        pool = self._bank.find_account(_text(body, "pool", 34))
        if pool is None or pool.number != merchant.settle_to or pool.status != "open" or pool.currency != currency:
            raise No(403, "pool_closed", f"there is no open pool account of yours in {currency} under that number")
        expires_at = _moment(body, "expires_at")
        trade, is_new = await self._of.write(
            lambda tx: self._of.trades.create(
                tx,
                merchant,
                order=reference,
                amount=amount,
                currency=currency,
                product="virtual_account",
                params=json.dumps([amount, currency, pool.number, body.get("purpose"), body.get("expires_at")]),
                expires_ms=int(expires_at.timestamp() * 1000),
                notify_url=_text(body, "notify_url", 2000),
                extra={"pool": pool.number, "purpose": _text(body, "purpose", 70)},
            )
        )
        return _said(self._shown(trade), 201 if is_new else 200)

    async def _show(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        trade = self._of.trades.get(self._of.ctx.store, merchant.merchant, request.match_info["reference"])
        return _said(self._shown(trade))

    async def _close(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        _is_for(body, "close")
        reference = request.match_info["reference"]
        if body.get("reference") != reference:
            raise No(400, "bad_field", "the body names another reference than the path")

        def command(tx: Any) -> Trade:
            return self._of.trades.close(tx, self._of.trades.get(tx, merchant.merchant, reference))

        return _said(self._shown(await self._of.write(command)))

    def _shown(self, trade: Trade) -> dict[str, Any]:
        status = {"open": "open", "closed": "expired" if trade.closed_by == "expired" else "closed"}.get(
            trade.state, "credited"
        )
        credit = None
        if status == "credited":
            assert trade.paid_ms is not None
            credit = {
                "bank_ref": trade.charge_ref,
                "amount": to_text(trade.paid, trade.currency),
                "currency": trade.currency,
                "booked_at": rfc3339(trade.paid_ms),
            }
        return {
            "reference": trade.order,
            "account": trade.trade_ref,
            "name": self._wire.pool_account(str(trade.extra["pool"]), trade.currency).name,
            "bank_name": IDENTITY.name,
            "bic": IDENTITY.bic,
            "amount": to_text(trade.amount, trade.currency),
            "currency": trade.currency,
            "status": status,
            "credit": credit,
        }

    # ---- returns -----------------------------------------------------------------------------------------------------

    async def _return(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        _is_for(body, "return")
        reference, currency = _text(body, "reference", 35), _text(body, "currency", 3)
        amount, payment = _amount(body, currency), _text(body, "payment_reference", 35)

        def command(tx: Any) -> tuple[Refund, Trade]:
            trade = self._of.trades.get(tx, merchant.merchant, payment)
            refund, is_new = self._of.refunds.create(
                tx,
                trade,
                order=reference,
                amount=amount,
                params=json.dumps([payment, amount, currency]),
                reason=str(body.get("reason", ""))[:70],
                notify_url=_text(body, "notify_url", 2000),
            )
            if is_new and refund.status != "failed":
                self._bank.deposits.send_back(
                    tx,
                    pool=str(trade.extra["pool"]),
                    bank_ref=refund.refund_ref,
                    amount_minor=amount,
                    reference=trade.order,
                    end_to_end_id=reference,
                    payer_name=trade.payer or PAYER_NAME,
                    payer=PAYER_ACCOUNT,
                )
            return refund, trade

        try:
            return _said(_returned(*await self._of.write(command)))
        except Refused as refused:
            raise No(refused.status, refused.code, refused.message) from None

    async def _show_return(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        store = self._of.ctx.store
        refund = self._of.refunds.find(store, merchant.merchant, request.match_info["reference"])
        if refund is None:
            raise No(404, "no_such_reference", "nothing was returned under that number")
        return _said(_returned(refund, self._of.trades.by_id(store, refund.trade_id)))

    # ---- the day, and keys -------------------------------------------------------------------------------------------

    async def _report(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        try:
            day = date.fromisoformat(request.query.get("date", ""))
        except ValueError:
            raise No(400, "bad_field", "date must be YYYY-MM-DD") from None
        if self._of.days.closed_through(merchant.merchant) < day:
            raise No(409, "day_not_over", f"{day} is not over; its report exists afterwards")
        # A return that failed was never booked, so there is nothing in the report to say so.
        rows = [row for row in self._of.bills.rows(merchant, day) if row.kind == "payment" or row.status != "failed"]
        if not rows:
            raise No(404, "nothing_collected", f"nothing was collected on {day}")
        pool = merchant.settle_to or ""
        account = self._wire.pool_account(pool, rows[0].currency)
        message_id = f"CR-{merchant.merchant}-{day:%Y%m%d}"
        entries = [entry_of(_row(row, pool)) for row in rows]
        content = reports.collection_report(IDENTITY, message_id, self._of.ctx.clock.now_utc(), account, entries)
        return 200, self._of.bills.cut(merchant, day, content), "application/xml"

    async def _keys(self, request: web.Request, merchant: Merchant, body: dict[str, Any]) -> Answer:
        return _said({"keys": await asyncio.to_thread(self._wire.listed_keys)})


def _row(row: BillRow, pool: str) -> dict[str, Any]:
    return {
        "pool": pool,
        "virtual_account": row.trade_ref,
        "order": row.order,
        "returned": row.refund,
        "ref": row.ref,
        "amount": row.amount if row.kind == "payment" else -row.amount,
        "currency": row.currency or "CNY",
        "at_ms": row.at_ms,
        "payer": row.payer or PAYER_NAME,
        "reversed": row.status != "success",
    }


def _returned(refund: Refund, trade: Trade) -> dict[str, Any]:
    return {
        "reference": refund.order,
        "payment_reference": trade.order,
        "amount": to_text(refund.amount, trade.currency),
        "currency": trade.currency,
        "status": {"success": "booked", "failed": "failed"}.get(refund.status, "processing"),
        "bank_ref": refund.refund_ref,
        "booked_at": refund.success_ms and rfc3339(refund.success_ms),
    }


def _named(op: str, request: web.Request, body: Mapping[str, Any]) -> dict[str, str]:
    """Return what faults are matched by: the payment's number as `order`, a return's as `refund`."""
    reference = str(request.match_info.get("reference") or body.get("reference") or "")
    if op == "refund":
        return {"refund": reference, "order": str(body.get("payment_reference", ""))}
    return {"refund": reference} if op == "refund_query" else {"order": reference}


def _ordered(ordered: Ordered) -> Answer:
    if ordered.name == "refuse":
        return ordered.status or 403, _refusal(ordered.code, ordered.message), _JSON
    if ordered.name == "frequency_limited":
        return 429, _refusal("slow_down", "too many requests"), _JSON
    return 500, _refusal("internal_error", "something went wrong"), _JSON


def _said(body: Mapping[str, Any], status: int = 200) -> Answer:
    return status, json.dumps(body, ensure_ascii=False).encode(), _JSON


def _refusal(code: str, message: str) -> bytes:
    return json.dumps({"code": code, "message": message}, ensure_ascii=False).encode()


def _is_for(body: Mapping[str, Any], op: str) -> None:
    """Refuse a body signed for something else: the signature does not cover the path."""
    if body.get("op") != op:
        raise No(400, "bad_field", f"op must be {op}")


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise No(400, "bad_field", f"{name} must be a text of 1 to {longest} characters")
    return value


def _amount(body: Mapping[str, Any], currency: str) -> int:
    try:
        amount = to_minor(_text(body, "amount", 20), currency)
    except NotAnAmount as why:
        raise No(400, "bad_field", str(why)) from None
    if not 0 < amount <= LARGEST_MINOR:
        raise No(403, "amount_not_allowed", f"1 to {LARGEST_MINOR} minor units can be collected at once")
    return amount


def _moment(body: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(body, name, 40))
    except ValueError:
        raise No(400, "bad_field", f"{name} must be a moment") from None
    if moment.tzinfo is None:
        raise No(400, "bad_field", f"{name} must say its time zone")
    return moment
