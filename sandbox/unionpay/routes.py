"""UnionPay's doors: the payer's page, the app's number, messages about transactions, queries, settlement files."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, CoreError, Merchant, Ordered, Refund, Signed, Trade, page
from sandbox.clock import BEIJING, date_of
from sandbox.store import Tx
from sandbox.unionpay import files, signing
from sandbox.unionpay.certificates import SigningKeys
from sandbox.unionpay.wire import money, shown, void_ref

GATEWAY = "/gateway/api"
LONGEST_DESCRIPTION = 32  # bytes
# A message must name the time at which it is sent. How far off it may be is not published; a day is surely too much.
FARTHEST_MS = 24 * 3_600_000
ECHOED = ("version", "encoding", "signMethod", "bizType", "accessType", "merId", "orderId", "txnTime", "txnType",
          "txnSubType", "reqReserved", "settleDate")  # fmt: skip
WORDS = {
    "00": "成功", "05": "交易已受理，请稍后查询交易结果", "10": "报文格式错误", "11": "验证签名失败", "12": "重复交易",
    "13": "报文交易要素缺失", "31": "商户状态不正确", "32": "无此交易权限", "34": "查无此交易",
    "35": "原交易不存在或状态不正确", "36": "与原交易信息不符", "37": "已超过最大查询次数或操作过于频繁",
    "60": "交易失败，详情请咨询您的发卡行", "64": "余额不足", "98": "文件不存在", "99": "通用错误",
}  # fmt: skip
ORDERED = {"system_error": "99", "frequency_limited": "37"}
OF_CORE = {"order_conflict": "12", "refund_conflict": "12", "refund_exceeds": "36", "capture_exceeds": "36"}


class Refused(Exception):
    """UnionPay answers with this respCode; nothing was done."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Call:
    """A message whose signature is right."""

    merchant: Merchant
    fields: Mapping[str, str]

    def text(self, name: str, pattern: str = ".+") -> str:
        """Return a field. Raises Refused where it is missing or malformed."""
        value = self.fields.get(name, "")
        if not value:
            raise Refused("13", f"{name} is missing")
        if not re.fullmatch(pattern, value, re.ASCII | re.DOTALL):
            raise Refused("10", f"{name} is malformed")
        return value

    def numbers(self) -> dict[str, str]:
        """Return what the merchant calls this transaction. Raises Refused."""
        return {
            "orderId": self.text("orderId", "[0-9A-Za-z]{8,40}"),
            "txnTime": self.moment(),
            "txnType": self.fields["txnType"],
            "txnSubType": self.fields["txnSubType"],
            "bizType": self.fields["bizType"],
            "reqReserved": self.fields.get("reqReserved", ""),
        }

    def moment(self) -> str:
        """Return txnTime. Raises Refused where it is no time of Beijing's."""
        text = self.text("txnTime", "[0-9]{14}")
        _ms_of("txnTime", text)
        return text

    @property
    def order(self) -> str:
        """What the books call the order."""
        return shown(self.fields.get("orderId", ""))

    def amount(self) -> int:
        """Return txnAmt. Raises Refused."""
        amount = int(self.text("txnAmt", "[0-9]{1,12}"))
        if amount == 0:
            raise Refused("10", "txnAmt is zero")
        return amount


Execute = Callable[[Call], Awaitable[dict[str, str]]]


class Routes:
    """See the module."""

    def __init__(self, acquirer: Acquirer, signing_keys: SigningKeys) -> None:
        self._of, self._keys = acquirer, signing_keys
        self._store = acquirer.ctx.store

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        table: list[tuple[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            (f"{GATEWAY}/frontTransReq.do", self.front),
            (f"{GATEWAY}/appTransReq.do", self._answered(lambda call: "create", self.app)),
            (f"{GATEWAY}/backTransReq.do", self._answered(_op_of, self.back)),
            (f"{GATEWAY}/queryTrans.do", self._answered(self._question, self.query)),
            ("/unionpay/filedownload", self._answered(lambda call: "bill", self.file)),
        ]
        for path, handler in table:
            self._of.guard.route(app, "POST", path, handler)

    # ---- the front ---------------------------------------------------------------------------------------------------

    async def front(self, request: web.Request) -> web.StreamResponse:
        """Take the form that the payer's browser carries, and show the page on which the payer pays."""
        try:
            call = self._authenticated(_form(await request.read()))
            call.text("frontUrl", "https?://.+")
            facts = self._facts(call, "create")
            trade = await self._of.guard.run(lambda: self._create(call), **facts)
        except (Refused, Ordered, CoreError) as refusal:
            code, words = _refusal(refusal)
            return page.show("沙箱 unionpay", f"<p>respCode {code}</p><p>{words}</p>", 200)
        return page.ask("unionpay", trade, f"/sandbox/unionpay/pay/{trade.token}")

    async def app(self, call: Call) -> dict[str, str]:
        """Take an order from the merchant's server; the tn opens UnionPay in the payer's phone."""
        trade = await self._create(call)
        if trade.state != "open":
            raise Refused("12")
        return {"tn": trade.trade_ref}

    async def _create(self, call: Call) -> Trade:
        if call.fields["txnType"] not in ("01", "02") or call.fields["txnSubType"] != "01":
            raise Refused("32")
        numbers, amount = call.numbers(), call.amount()
        self._require_current(call)
        if call.text("currencyCode") != "156":
            raise Refused("10", "currencyCode must be 156")
        back_url, channel = call.text("backUrl", "https?://.+"), call.text("channelType", "0[78]")
        if call.fields["bizType"] != "000201":
            raise Refused("32")
        if len(call.fields.get("orderDesc", "").encode()) > LONGEST_DESCRIPTION:
            raise Refused("10", "orderDesc is longer than 32 bytes")
        timeout = call.fields.get("payTimeout", "")
        expires_ms = _ms_of("payTimeout", timeout) if timeout else None
        now_ms = self._of.ctx.clock.now_ms()
        sent = {name: value for name, value in call.fields.items() if name not in ("signature", "certId")}

        def command(tx: Tx) -> Trade:
            trade = self._of.trades.find(tx, call.merchant.merchant, call.order)
            if trade is None:
                if expires_ms is not None and expires_ms <= now_ms:
                    raise Refused("10", "payTimeout has passed")
                self._require_fresh(tx, call)
            trade, _ = self._of.trades.create(
                tx,
                call.merchant,
                order=call.order,
                amount=amount,
                currency="CNY",
                product=channel,
                params=json.dumps(sent, sort_keys=True),
                expires_ms=expires_ms,
                notify_url=back_url,
                extra={**numbers, "frontUrl": call.fields.get("frontUrl", "")},
                hold=call.fields["txnType"] == "02",
            )
            return trade

        return await self._of.write(command)

    # ---- about transactions ------------------------------------------------------------------------------------------

    async def back(self, call: Call) -> dict[str, str]:
        """Refund, undo, complete, release. Taken is not done: what came of it, a query or a notice says."""
        kind, numbers, amount = call.fields["txnType"], call.numbers(), call.amount()
        self._require_current(call)
        call.text("channelType", "0[78]")
        if call.fields["txnSubType"] != "00" or call.fields["bizType"] != "000201":
            raise Refused("32")

        def command(tx: Tx) -> dict[str, str]:
            self._require_fresh(tx, call)
            trade = self._original(tx, call, "hold_ref" if kind in ("03", "32") else "charge_ref")
            if kind in ("03", "32"):
                return self._end_hold(tx, call, trade, numbers, amount)
            return self._refund(tx, call, trade, numbers, amount)

        return await self._of.write(command)

    def _end_hold(self, tx: Tx, call: Call, trade: Trade, numbers: dict[str, str], amount: int) -> dict[str, str]:
        now_ms, trades = self._of.ctx.clock.now_ms(), self._of.trades
        try:
            if numbers["txnType"] == "03":
                done = trades.capture(tx, trades.note(tx, trade, capture=numbers), amount)
                ref = str(done.charge_ref)
            else:
                if amount != trade.amount:
                    raise Refused("36")
                if trade.state != "held":
                    raise Refused("35")
                done = trades.void(tx, trades.note(tx, trade, void=numbers))
                ref = void_ref(done)
        except CoreError as refusal:
            raise Refused(OF_CORE.get(refusal.code, "35")) from refusal
        tx.execute(
            "INSERT INTO unionpay_follow_up (merchant, order_id, txn_time, txn_type, trade_id, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(call.merchant.merchant, numbers["orderId"], numbers["txnTime"], numbers["txnType"], done.trade_id),
            now_ms,
        )
        return {"queryId": ref, **_asked_of(call)}

    def _refund(self, tx: Tx, call: Call, trade: Trade, numbers: dict[str, str], amount: int) -> dict[str, str]:
        kind = numbers["txnType"]
        if kind in ("31", "33"):  # 撤销: all of it, on its own day; a completion's is 33
            today = date_of(self._of.ctx.clock.now_ms())
            if trade.paid_ms is None or date_of(trade.paid_ms) != today or (trade.hold_ref is None) != (kind == "31"):
                raise Refused("35")
            if amount != trade.paid or trade.refunded:
                raise Refused("36")
        try:
            refund, _ = self._of.refunds.create(
                tx,
                trade,
                order=call.order,
                amount=amount,
                params=json.dumps(numbers, sort_keys=True),
                notify_url=call.text("backUrl", "https?://.+"),
                extra=numbers,
            )
        except CoreError as refusal:
            raise Refused(OF_CORE.get(refusal.code, "35")) from refusal
        return {"queryId": refund.refund_ref, **_asked_of(call)}

    def _original(self, tx: Tx, call: Call, column: str) -> Trade:
        """Return the transaction a message is about, by UnionPay's number of it, or the merchant's."""
        if query_id := call.fields.get("origQryId"):
            trade = self._of.trades.find_by(tx, column, query_id)
        else:
            trade = self._of.trades.find(tx, call.merchant.merchant, shown(call.text("origOrderId")))
            if trade is not None and trade.extra["txnTime"] != call.text("origTxnTime"):
                trade = None
        if trade is None or trade.merchant != call.merchant.merchant:
            raise Refused("35")
        return trade

    def _require_current(self, call: Call) -> None:
        """Raise 10 where txnTime is not about now."""
        if abs(_ms_of("txnTime", call.moment()) - self._of.ctx.clock.now_ms()) > FARTHEST_MS:
            raise Refused("10", "txnTime无效")

    def _require_fresh(self, tx: Tx, call: Call) -> None:
        """Raise 12 for a number that another transaction has already, even the very same one."""
        merchant, order = call.merchant.merchant, call.order
        sql = "SELECT 1 FROM unionpay_follow_up WHERE merchant = ? AND order_id = ?"
        known = tx.one(sql, merchant, call.fields["orderId"])
        own = self._of.trades.find(tx, merchant, order)
        if known or self._of.refunds.find(tx, merchant, order):
            raise Refused("12")
        if own is not None and own.extra["orderId"] == call.fields["orderId"]:
            raise Refused("12")

    # ---- queries -----------------------------------------------------------------------------------------------------

    def _question(self, call: Call) -> str:
        known = self._of.refunds.find(self._store, call.merchant.merchant, call.order)
        return "query" if known is None else "refund_query"

    async def query(self, call: Call) -> dict[str, str]:
        """Return what became of a transaction, by the merchant's number and time of it.

        What is found is answered with the type it has itself, not with the question's 00.
        """
        merchant, numbers = call.merchant.merchant, call.numbers()
        sql = "SELECT * FROM unionpay_follow_up WHERE merchant = ? AND order_id = ? AND txn_time = ?"
        follow_up = self._store.one(sql, merchant, numbers["orderId"], numbers["txnTime"])
        if follow_up is not None:
            trade = self._of.trades.by_id(self._store, follow_up["trade_id"])
            if follow_up["txn_type"] == "03":
                ended = trade.extra["capture"]
                return _found(ended, "00", trade.paid, str(trade.charge_ref), follow_up["at_ms"])
            return _found(trade.extra["void"], "00", trade.amount, void_ref(trade), follow_up["at_ms"])
        named = trade_or_refund(self._of, merchant, call.order)
        if named is None or any(named.extra[name] != numbers[name] for name in ("orderId", "txnTime")):
            raise Refused("34")
        return _about_refund(named) if isinstance(named, Refund) else _about_trade(named)

    async def file(self, call: Call) -> dict[str, str]:
        """Return the settlement file of a closed day."""
        if call.fields["txnType"] != "76" or call.text("fileType") != "00":
            raise Refused("32")
        day = self._day(call)
        if day is None or day > self._of.days.closed_through(call.merchant.merchant):
            raise Refused("98")
        name, content = files.settlement(self._of.bills, call.merchant, day)
        return {"fileName": name, "fileContent": content}

    def _day(self, call: Call) -> date | None:
        """Return the latest day written MMDD that may have been closed."""
        text, newest = call.text("settleDate", "[0-9]{4}"), self._of.days.closed_through(call.merchant.merchant)
        latest = max(newest, self._of.ctx.clock.beijing_date())
        for year in (latest.year, latest.year - 1):
            try:
                day = date(year, int(text[:2]), int(text[2:]))
            except ValueError:
                continue
            if day <= latest:
                return day
        return None

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _answered(
        self, op_of: Callable[[Call], str], execute: Execute
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            fields = _form(await request.read())
            sign: Signed = "right"
            try:
                call = self._authenticated(fields)
                facts = self._facts(call, op_of(call))
                answer = await self._of.guard.run(lambda: execute(call), **facts)
                sign = self._of.guard.signature(**facts)
            except (Refused, Ordered, CoreError) as refusal:
                code, words = _refusal(refusal)
                return await self._answer(fields, {"respCode": code, "respMsg": words}, "right")
            said = {"respCode": "00", "respMsg": WORDS["00"], **answer}
            return await self._answer(fields, self._of.guard.said(said, **facts), sign)

        return handle

    async def _answer(self, asked: Mapping[str, str], said: Mapping[str, str], sign: Signed) -> web.Response:
        """Return the answer: pairs that are not URL-encoded, with UnionPay's certificate and signature."""
        fields = {name: asked[name] for name in ECHOED if asked.get(name)} | dict(said)
        if sign != "none":
            key = self._keys.key if sign == "right" else await self._keys.strangers_key()
            fields = await self._keys.signed(fields, key)
        body = "&".join(f"{name}={value}" for name, value in fields.items())
        return web.Response(text=body, content_type="text/html", charset="UTF-8")

    def _authenticated(self, fields: Mapping[str, str]) -> Call:
        merchant = self._of.merchants.find(fields.get("merId", ""))
        if merchant is None:
            raise Refused("31")
        for name in ("version", "encoding", "signMethod", "txnType", "txnSubType", "bizType", "accessType", "certId"):
            if not fields.get(name):
                raise Refused("13", f"{name} is missing")
        if fields["version"] != "5.1.0" or fields["signMethod"] != "01" or fields["encoding"].upper() != "UTF-8":
            raise Refused("10", "only version 5.1.0, signMethod 01, UTF-8")
        if fields["accessType"] != "0" or not re.fullmatch("[0-9]{6}", fields["bizType"], re.ASCII):
            raise Refused("10", "accessType must be 0 and bizType six digits")
        _, key = keys.read_certificate(merchant.extra["certificate"].encode())
        if fields["certId"] != merchant.extra["cert_id"] or not signing.is_signed(fields, key):
            raise Refused("11")
        return Call(merchant, fields)

    def _facts(self, call: Call, op: str) -> dict[str, object]:
        """Return what a fault can be matched by."""
        facts: dict[str, object] = {"merchant": call.merchant.merchant, "op": op}
        if call.fields.get("orderId"):
            facts["refund" if op.startswith("refund") else "order"] = call.order
        if op == "bill":
            facts.pop("order", None)
        return facts


def trade_or_refund(acquirer: Acquirer, merchant: str, order: str) -> Trade | Refund | None:
    """Return what the merchant calls so."""
    store = acquirer.ctx.store
    return acquirer.trades.find(store, merchant, order) or acquirer.refunds.find(store, merchant, order)


def _kind(extra: Mapping[str, Any]) -> dict[str, str]:
    """Return what a query's answer repeats of the message that began a transaction."""
    names = ("txnType", "txnSubType", "reqReserved")
    return {name: str(extra[name]) for name in names if extra.get(name)}


def _about_trade(trade: Trade) -> dict[str, str]:
    if trade.hold_ref is not None:
        return _found(trade.extra, "00", trade.amount, trade.hold_ref, trade.held_ms or 0)
    if trade.charge_ref is not None:
        return _found(trade.extra, "00", trade.paid, trade.charge_ref, trade.paid_ms or 0)
    if trade.state != "open":
        raise Refused("34")  # it lapsed unpaid
    code = trade.refusal or "05"
    unpaid = {"origRespCode": code, "origRespMsg": WORDS[code], "txnAmt": str(trade.amount), "settleAmt": "0"}
    return _kind(trade.extra) | unpaid


def _about_refund(refund: Refund) -> dict[str, str]:
    code = {"pending": "05", "success": "00", "failed": "60"}[refund.status]
    return _found(refund.extra, code, refund.amount, refund.refund_ref, refund.success_ms or refund.created_ms)


def _found(extra: Mapping[str, Any], code: str, amount: int, query_id: str, at_ms: int) -> dict[str, str]:
    """Return what a query's answer says of a transaction. extra: the message that began it."""
    said = {"origRespCode": code, "origRespMsg": WORDS[code]}
    return {**_kind(extra), **said, **money(extra, amount, query_id, at_ms)}


def _asked_of(call: Call) -> dict[str, str]:
    """Return what an answer repeats of a message about a transaction."""
    return {name: call.fields[name] for name in ("origQryId", "txnAmt") if call.fields.get(name)}


def _op_of(call: Call) -> str:
    return {"03": "capture", "32": "void", "04": "refund", "31": "refund", "33": "refund"}.get(
        call.fields["txnType"], "back"
    )


def _refusal(refusal: Refused | Ordered | CoreError) -> tuple[str, str]:
    """Return respCode and respMsg."""
    if isinstance(refusal, Refused):
        code, detail = refusal.code, refusal.message
    elif isinstance(refusal, Ordered):
        code, detail = refusal.code or ORDERED[refusal.name], refusal.message
    else:
        code, detail = OF_CORE.get(refusal.code, "99"), ""
    words = WORDS.get(code, "")
    return code, f"{words}[{detail}]" if detail else words


def _form(raw: bytes) -> dict[str, str]:
    return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))


def _ms_of(name: str, text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=BEIJING).timestamp() * 1000)
    except ValueError as error:
        raise Refused("10", f"{name} is malformed") from error
