"""The bank's doors: the file gateway `/bank` for customers, `/control/bank` for whoever runs the play."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from aiohttp import web

from sandbox.bank import signing, store
from sandbox.bank.bookings import IDENTITY
from sandbox.bank.cancellations import read_upload
from sandbox.bank.days import ClosedDay
from sandbox.bank.errors import FileRefused, Refused
from sandbox.bank.rules import Account
from sandbox.bank.schema import MAX_BYTES
from sandbox.bank.service import Bank
from sandbox.bank.store import Customer, OutFile, Upload
from sandbox.context import SandboxContext

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FILE_TYPES = ("pain.002", "camt.029", "camt.054", "camt.053", "pain.001")
_XML_TYPES = ("application/xml", "text/xml")


def install(app: web.Application, ctx: SandboxContext) -> Bank:
    """Put the bank's routes and background work into the sandbox's application."""
    bank = Bank(ctx)
    doors = _Doors(bank, ctx)
    app.router.add_routes(
        [
            web.post("/bank/accounts", _answering(doors.open_account)),
            web.get("/bank/accounts", _answering(doors.list_accounts)),
            web.get("/bank/accounts/{account}", _answering(doors.show_account)),
            web.post("/bank/files", _answering(doors.upload)),
            web.get("/bank/files", _answering(doors.list_files)),
            web.get("/bank/files/{file_id}", _answering(doors.download)),
            web.get("/control/bank", _answering(doors.show_bank)),
            web.post("/control/bank/customers", _answering(doors.enrol)),
            web.post("/control/bank/identity-tokens", _answering(doors.issue_token)),
            web.post("/control/bank/openings", _answering(doors.decide_opening)),
            web.post("/control/bank/close-day", _answering(doors.close_day)),
            web.post("/control/bank/deposits", _answering(doors.deposit)),
            web.post("/control/bank/returns", _answering(doors.return_line)),
            web.post("/control/bank/recalls", _answering(doors.decide_recall)),
            web.post("/control/bank/waiting", _answering(doors.carry_out)),
            web.post("/control/bank/accounts/{account}/close", _answering(doors.close_account)),
            web.get("/control/bank/accounts/{account}/entries", _answering(doors.show_entries)),
            web.get("/control/bank/spoiled", _answering(doors.list_spoiled)),
            web.get("/control/bank/files/{file_id}/meant", _answering(doors.give_meant)),
        ]
    )
    ctx.info["bank"] = {
        "base_url": f"{ctx.base_url}/bank",
        "bic": IDENTITY.bic,
        "bank_name": IDENTITY.name,
        "bank_key_id": bank.signing_key.key_id,
        "bank_public_key_file": str(bank.public_key_file.absolute()),
    }

    async def start(_: web.Application) -> None:
        await bank.days.catch_up()  # before anybody is served, so that nobody sees yesterday's date
        ctx.spawn("bank: execute orders", bank.orders.process_uploads())
        ctx.spawn("bank: follow the calendar", bank.days.follow_the_calendar())
        ctx.spawn("bank: serve folders", bank.drops.serve())

    app.on_startup.append(start)
    return bank


class _Doors:
    """Handlers: translate, call, translate."""

    def __init__(self, bank: Bank, ctx: SandboxContext) -> None:
        self._bank = bank
        self._ctx = ctx

    # --- the file gateway ------------------------------------------------------------------------------------------

    async def open_account(self, request: web.Request) -> web.StreamResponse:
        customer = self._customer(request)
        body = await _json(request)
        kind = _text(body, "kind", 4)
        if kind not in ("pool", "sub"):
            raise Refused(400, "bad_field", f"kind must be pool or sub, not {kind!r}")
        account, is_new = await self._bank.open_account(
            customer,
            reference=_text(body, "reference", 64),
            name=_text(body, "name", 70),
            currency=_text(body, "currency", 3),
            kind=kind,
            identity_token=None if body.get("identity_token") is None else _text(body, "identity_token", 512),
        )
        if self._ctx.faults.take("bank", "opening_answer_lost", customer_id=customer.customer_id, name=account.name):
            return _hang_up(request)
        return web.json_response(_account_json(account), status=201 if is_new else 200)

    async def list_accounts(self, request: web.Request) -> web.StreamResponse:
        customer = self._customer(request)
        after, limit = _page(request)
        rows = await asyncio.to_thread(store.list_accounts, self._ctx.store, customer.customer_id, after, limit)
        cursor = rows[-1][0] if rows else after
        return web.json_response({"accounts": [_account_json(account) for _, account in rows], "next": str(cursor)})

    async def show_account(self, request: web.Request) -> web.StreamResponse:
        customer = self._customer(request)
        account = self._bank.find_account(request.match_info["account"])
        if account is None or account.customer_id != customer.customer_id:
            raise Refused(404, "account_not_found", f"you have no account {request.match_info['account']}")
        return web.json_response(_account_json(account))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        customer = self._customer(request)
        if request.content_type not in _XML_TYPES:
            raise Refused(415, "not_xml", f"Content-Type must be application/xml, not {request.content_type}")
        raw = await _body(request)
        _check_signature(request, customer, raw)
        order = await asyncio.to_thread(read_upload, raw)
        facts = {"op": "upload", "customer_id": customer.customer_id, "message_id": order.message_id}
        if self._ctx.faults.take("bank", "request_lost", **facts):
            return _hang_up(request)
        upload = await self._bank.orders.accept(customer, order, raw)
        if self._ctx.faults.take("bank", "answer_lost", **facts):
            return _hang_up(request)
        receipt = {
            "file_id": upload.file_id,
            "message_id": upload.message_id,
            "sha256": upload.sha256,
            "received_at": upload.received_at,
        }
        return await self._signed(json.dumps(receipt, ensure_ascii=False).encode(), "application/json", 202)

    async def list_files(self, request: web.Request) -> web.StreamResponse:
        customer = self._customer(request)
        after, limit = _page(request)
        kind = request.query.get("type")
        if kind is not None and kind not in _FILE_TYPES:
            raise Refused(400, "bad_field", f"type must be one of {', '.join(_FILE_TYPES)}, not {kind!r}")
        customer_id, message_id = customer.customer_id, request.query.get("message_id")
        files: list[dict[str, Any]]
        if kind == "pain.001":
            uploads = await asyncio.to_thread(
                store.list_uploads, self._ctx.store, customer_id, message_id, after, limit
            )
            files = [_upload_json(upload, status) for _, status, upload in uploads]
            cursors = [cursor for cursor, _, _ in uploads]
        else:
            made = await asyncio.to_thread(
                store.list_files, self._ctx.store, customer_id, kind, message_id, after, limit
            )
            files = [_file_json(file) for file in made]
            cursors = [file.cursor for file in made]
        return web.json_response({"files": files, "next": str(cursors[-1] if cursors else after)})

    async def download(self, request: web.Request) -> web.StreamResponse:
        customer = self._customer(request)
        file_id = request.match_info["file_id"]
        raw = await asyncio.to_thread(store.find_file_raw, self._ctx.store, customer.customer_id, file_id)
        if raw is None:
            raise Refused(404, "file_not_found", f"you have no file {file_id}")
        kind = await asyncio.to_thread(store.find_file_type, self._ctx.store, file_id)
        if self._ctx.faults.take("bank", "signature_wrong", customer_id=customer.customer_id, type=kind):
            other = await self._signed(raw + b" ", "application/xml", 200)
            return web.Response(
                body=raw, content_type="application/xml", headers={signing.HEADER: other.headers[signing.HEADER]}
            )
        return await self._signed(raw, "application/xml", 200)

    # --- control -----------------------------------------------------------------------------------------------------

    async def show_bank(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({**self._ctx.info["bank"], "date": self._bank.business_date.isoformat()})

    async def enrol(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        name = _text(body, "name", 140)
        enrolment = await self._bank.enrol(name)
        if body.get("identity_tokens") is True:
            await self._bank.ask_identity(enrolment.customer.customer_id)
        folder = {}
        if body.get("drop") is True:
            folder = {"drop_dir": str(self._bank.drops.make(enrolment.customer.customer_id).absolute())}
        return web.json_response(
            {
                **folder,
                "customer_id": enrolment.customer.customer_id,
                "account_holder": name,
                "token_file": str(enrolment.token_file.absolute()),
                "private_key_file": str(enrolment.private_key_file.absolute()),
                "key_id": enrolment.customer.key_id,
                **self._ctx.info["bank"],
            },
            status=201,
        )

    async def issue_token(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        valid_s = body.get("valid_s", 600)
        if type(valid_s) is not int or not 0 <= valid_s <= 86_400:
            raise Refused(400, "bad_field", "valid_s must be seconds, at most a day")
        token = await self._bank.issue_token(_text(body, "customer_id", 40), _text(body, "name", 70), valid_s)
        return web.json_response({"identity_token": token}, status=201)

    async def decide_opening(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        refuse = None if body.get("refuse") is None else _text(body, "refuse", 40)
        return web.json_response(
            _account_json(
                await self._bank.decide_opening(_text(body, "customer_id", 40), _text(body, "reference", 64), refuse)
            )
        )

    async def close_day(self, request: web.Request) -> web.StreamResponse:
        closed: ClosedDay = await self._bank.days.close_day(_date(await _json(request), "date"))
        return web.json_response(
            {
                "date": closed.closed_date.isoformat(),
                "bank_date": closed.bank_date.isoformat(),
                "statement_files": closed.statement_files,
                "already_closed": closed.already_closed,
            }
        )

    async def deposit(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        amount_minor = body.get("amount_minor")
        if type(amount_minor) is not int or not 0 < abs(amount_minor) < 10**15:
            raise Refused(400, "bad_field", "amount_minor must be a whole number of minor units, not zero")
        account = _text(body, "account", 34)
        await self._bank.deposits.deposit(
            account=account,
            amount_minor=amount_minor,
            end_to_end_id=_text(body, "end_to_end_id", 35),
            remittance=_text(body, "remittance", 140, default="DEPOSIT"),
            payer_name=_text(body, "payer_name", 140, default="A payer elsewhere"),
        )
        return self._entries_answer(account)

    async def return_line(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        account = await self._bank.orders.return_line(
            _text(body, "account", 34), _text(body, "end_to_end_id", 35), _text(body, "code", 4, default="AC04")
        )
        return self._entries_answer(account)

    async def decide_recall(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        if type(body.get("agrees")) is not bool:
            raise Refused(400, "bad_field", "agrees must be true or false")
        status = await self._bank.orders.recalls.decide(
            _text(body, "recall_id", 35), agrees=body["agrees"], code=_text(body, "code", 4, default="CUST")
        )
        return web.json_response({"recall_id": body["recall_id"], "status": status})

    async def carry_out(self, request: web.Request) -> web.StreamResponse:
        ident = _text(await _json(request), "end_to_end_id", 35)
        await self._bank.orders.carry_out(ident)
        return web.json_response({"end_to_end_id": ident})

    async def close_account(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(_account_json(await self._bank.close_account(request.match_info["account"])))

    async def show_entries(self, request: web.Request) -> web.StreamResponse:
        return self._entries_answer(request.match_info["account"])

    async def list_spoiled(self, request: web.Request) -> web.StreamResponse:
        rows = store.spoiled_files(self._ctx.store, request.query.get("customer_id", ""))
        names = ("file_id", "type", "fault")
        return web.json_response({"files": [dict(zip(names, row, strict=True)) for row in rows]})

    async def give_meant(self, request: web.Request) -> web.StreamResponse:
        meant = store.find_meant(self._ctx.store, request.match_info["file_id"])
        if meant is None:
            raise Refused(404, "file_not_found", "no file with this id was spoiled")
        return web.Response(body=meant, content_type="application/xml")

    def _entries_answer(self, number: str) -> web.Response:
        account = self._bank.find_account(number)
        if account is None:
            raise Refused(404, "account_not_found", f"there is no account {number} at this bank")
        entries = [
            {
                "entry_ref": entry.entry_ref,
                "bank_ref": entry.bank_ref,
                "amount_minor": entry.amount_minor if entry.is_credit else -entry.amount_minor,
                "booking_date": entry.booking_date.isoformat(),
                "booked_at": booked_at,
                "end_to_end_id": entry.end_to_end_id,
                "message_id": entry.message_id,
                "remittance": entry.remittance,
                "other_account": entry.other_account,
                "other_name": entry.other_name,
                "return_reason": entry.return_reason,
            }
            for entry, booked_at in store.entries_of_account(self._ctx.store, number)
        ]
        deposits = [
            {
                "end_to_end_id": deposit.end_to_end_id,
                "announced_minor": deposit.announced_minor,
                "booked_minor": booked_minor,
                "due_date": deposit.due_date.isoformat(),
                "status": status,
                "mchid": deposit.mchid,
            }
            for deposit, status, booked_minor in store.deposits_of_account(self._ctx.store, number)
        ]
        bank_date = self._bank.business_date.isoformat()
        return web.json_response(
            {**_account_json(account), "bank_date": bank_date, "entries": entries, "deposits": deposits}
        )

    # --- shared ------------------------------------------------------------------------------------------------------

    def _customer(self, request: web.Request) -> Customer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        customer = self._bank.authenticate(token.strip()) if scheme.lower() == "bearer" and token else None
        if customer is None:
            raise Refused(401, "not_authenticated", "Authorization must be `Bearer <token>` with a customer's token")
        return customer

    async def _signed(self, body: bytes, content_type: str, status: int) -> web.Response:
        now = self._ctx.clock.now_utc()
        signature = await asyncio.to_thread(self._bank.signing_key.sign, body, now)
        headers = {signing.HEADER: signature}
        return web.Response(body=body, status=status, content_type=content_type, headers=headers)


def _answering(handler: Handler) -> Handler:
    """Return a handler that says a refusal as JSON with its status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            return web.json_response({"code": refused.code, "message": refused.message}, status=refused.status)

    return answer


def _check_signature(request: web.Request, customer: Customer, raw: bytes) -> None:
    try:
        signature = signing.parse_header(request.headers.get(signing.HEADER))
        if signature.key_id != customer.key_id:
            raise signing.NotSigned(f"keyid {signature.key_id} is not the customer's key, {customer.key_id}")
        signing.verify(signature, customer.public_key, raw)
    except signing.NotSigned as reason:
        raise Refused(401, "signature_not_valid", str(reason)) from None


async def _body(request: web.Request) -> bytes:
    """Return the body, but stop reading as soon as it is longer than a file may be."""
    too_large = Refused(413, "file_too_large", f"files have at most {MAX_BYTES} bytes")
    if (request.content_length or 0) > MAX_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise too_large
    if not body:
        raise FileRefused("not_xml", "the body is empty")
    return bytes(body)


def _hang_up(request: web.Request) -> web.Response:
    """Drop the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise Refused(400, "not_json", "the body must be a JSON object") from None
    if not isinstance(body, dict):
        raise Refused(400, "not_json", "the body must be a JSON object")
    return body


def _text(body: dict[str, Any], name: str, longest: int, *, default: str | None = None) -> str:
    """Return a text field fit for an XML message: 1 to `longest` characters, none of them a control character."""
    value = body.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise Refused(400, "bad_field", f"{name} must be a text of 1 to {longest} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in value):
        raise Refused(400, "bad_field", f"{name} holds a character that cannot stand in a bank message")
    return value


def _date(body: dict[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(_text(body, name, 10))
    except ValueError:
        raise Refused(400, "bad_field", f"{name} must be a date like 2010-12-01") from None


def _page(request: web.Request) -> tuple[int, int]:
    """Return `after` (a cursor handed out before, or nothing for the beginning) and `limit` (1 to 100)."""
    after, limit = request.query.get("after") or "0", request.query.get("limit") or "100"
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise Refused(400, "bad_field", f"after must be a cursor from an earlier answer, not {after!r}")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:6]) <= 100:
        raise Refused(400, "bad_field", f"limit must be 1 to 100, not {limit!r}")
    return int(after), int(limit)


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "account": account.number,
        "name": account.name,
        "currency": account.currency,
        "kind": account.kind,
        "status": account.status,
        "balance_minor": account.balance_minor,
        **({} if account.reason is None else {"reason": account.reason}),
    }


def _file_json(file: OutFile) -> dict[str, Any]:
    answered = {"original_message_id": file.original_message_id, "original_file_id": file.original_file_id}
    return {
        "file_id": file.file_id,
        "type": file.type,
        "name": file.name,
        "business_date": file.business_date,
        "created_at": file.created_at,
        "sha256": file.sha256,
        **{name: value for name, value in answered.items() if value is not None},
    }


def _upload_json(upload: Upload, status: str) -> dict[str, Any]:
    return {
        "file_id": upload.file_id,
        "type": "pain.001",
        "message_id": upload.message_id,
        "sha256": upload.sha256,
        "received_at": upload.received_at,
        "status": status,
    }
