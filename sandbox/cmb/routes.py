"""The doors of the simulated direct link: /cmb/cdcserver/api/v2 for users, /control/cmb for whoever runs the play."""

from __future__ import annotations

import asyncio
import secrets
from datetime import date, timedelta
from typing import Any

from aiohttp import web

from sandbox.cmb import link
from sandbox.cmb.service import OK, RAIL, Direct
from sandbox.context import SandboxContext


def install(app: web.Application, ctx: SandboxContext) -> Direct:
    """Put the link's routes and background work into the sandbox's application."""
    bank = Direct(ctx)
    doors = _Doors(bank, ctx)
    app.router.add_routes(
        [
            web.post("/cmb/cdcserver/api/v2", doors.call),
            web.get("/control/cmb", doors.show),
            web.post("/control/cmb/customers", doors.enrol),
            web.post("/control/cmb/accounts", doors.open_account),
            web.post("/control/cmb/accounts/{account}/close", doors.close_account),
            web.get("/control/cmb/accounts/{account}", doors.show_account),
            web.post("/control/cmb/deposits", doors.deposit),
            web.post("/control/cmb/returns", doors.give_back),
            web.post("/control/cmb/date", doors.set_date),
            web.post("/control/cmb/close-day", doors.close_day),
        ]
    )
    ctx.info["cmb"] = {"base_url": f"{ctx.base_url}/cmb/cdcserver/api/v2"}

    async def start(_: web.Application) -> None:
        ctx.spawn("cmb: carry out batches", bank.carry_out())

    app.on_startup.append(start)
    return bank


class _Doors:
    """Handlers: translate, call, translate."""

    def __init__(self, bank: Direct, ctx: SandboxContext) -> None:
        self._bank, self._ctx = bank, ctx

    async def call(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        user, funcode = self._bank.find(str(form.get("UID"))), str(form.get("FUNCODE"))
        facts = {"uid": str(form.get("UID")), "funcode": funcode}
        if self._ctx.faults.take(RAIL, "request_lost", **facts):
            return _hang_up(request)
        now = self._ctx.clock.now_utc() + timedelta(hours=8)
        try:
            if user is None or form.get("ALG") != "SM":
                raise link.Turned("UID or ALG is not known")
            if self._ctx.faults.take(RAIL, "gateway_error", **facts):
                raise link.Turned("busy")
            asked = await asyncio.to_thread(link.opened, str(form.get("DATA")), user, now)
            if asked["head"].get("funcode") != funcode:
                raise link.Turned("FUNCODE is not head's")
        except link.Turned as why:
            return web.Response(text=f"CDCServer:{why}")
        try:
            code, body = await self._bank.answer(user, funcode, asked.get("body") or {})
        except (KeyError, IndexError, TypeError, ValueError) as error:
            code, body = "FBC0002", {"wrong": repr(error)[:100]}
        if self._ctx.faults.take(RAIL, "answer_lost", **facts):
            return _hang_up(request)
        head = {**asked["head"], "rspid": secrets.token_hex(16), "resultcode": code, "bizcode": "",
                "resultmsg": "" if code == OK else "接口不可用"}  # fmt: skip
        if self._ctx.faults.take(RAIL, "other_answer", **facts):
            head["reqid"] = "20000101000000000x"
        spoil = self._ctx.faults.take(RAIL, "signature_wrong", **facts) is not None
        sealed = (({"head": head, "body": body}), user, self._bank.private, now)
        content = await asyncio.to_thread(lambda: link.sealed(*sealed, spoil=spoil))
        return web.Response(body=content, content_type="text/plain")

    # --- control -----------------------------------------------------------------------------------------------------

    async def show(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({**self._ctx.info["cmb"], "date": self._bank.today().isoformat()})

    async def enrol(self, request: web.Request) -> web.StreamResponse:
        given = await self._bank.enrol((await request.json())["name"])
        return web.json_response({**given, **self._ctx.info["cmb"]}, status=201)

    async def open_account(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"account": await self._bank.open_account((await request.json())["name"])}, status=201)

    async def close_account(self, request: web.Request) -> web.StreamResponse:
        await self._bank.close(request.match_info["account"])
        return await self.show_account(request)

    async def show_account(self, request: web.Request) -> web.StreamResponse:
        row = self._bank.account(request.match_info["account"])
        if row is None:
            return web.json_response({"code": "account_not_found", "message": "there is no such account"}, status=404)
        return web.json_response(
            {
                "account": row["number"],
                "name": row["name"],
                "status": row["status"],
                "balance_minor": row["balance_minor"],
            }
        )

    async def deposit(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        await self._bank.deposit(body["account"], body["amount_minor"], body["end_to_end_id"])
        return web.json_response({})

    async def give_back(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        await self._bank.give_back(body["end_to_end_id"], body.get("code", "AC04"))
        return web.json_response({})

    async def set_date(self, request: web.Request) -> web.StreamResponse:
        await self._bank.set_date(date.fromisoformat((await request.json())["date"]))
        return await self.show(request)

    async def close_day(self, request: web.Request) -> web.StreamResponse:
        day = date.fromisoformat((await request.json())["date"])
        if self._bank.today() <= day:
            await self._bank.set_date(day + timedelta(days=1))
        return await self.show(request)


def _hang_up(request: web.Request) -> web.Response:
    """Drop the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere
