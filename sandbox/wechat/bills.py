"""Trade bills 交易账单 and fund flow bills 资金账单, made from WeChat Pay's own books."""

import asyncio
import gzip
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sandbox import coupons
from sandbox.clock import wall_text
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx
from sandbox.wechat import books
from sandbox.wechat.errors import ApiError, invalid_request, resource_not_exists, wrong_parameter
from sandbox.wechat.merchants import Merchant
from sandbox.wechat.orders import DAY_MS, TRADE_TYPES

KEPT = timedelta(days=93)  # "the last three months"
URL_VALID_MS = 5 * 60 * 1000
LINE_END = "\r\n"
FILE_PATH = "/v3/billdownload/file"

REFUND_COLUMNS = ("微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态")
REFUND_TIMES = ("退款申请时间", "退款成功时间")
ALL_COLUMNS = (
    *("交易时间", "公众账号ID", "商户号", "特约商户号", "设备号", "微信订单号", "商户订单号", "用户标识", "交易类型"),
    *("交易状态", "付款银行", "货币种类", "应结订单金额", "代金券金额"),
    *REFUND_COLUMNS,
    *("商品名称", "商户数据包", "手续费", "费率", "订单金额", "申请退款金额", "费率备注"),
)
SUCCESS_COLUMNS = tuple(c for c in ALL_COLUMNS if c not in (*REFUND_COLUMNS, "申请退款金额"))
REFUNDS_AT = ALL_COLUMNS.index(REFUND_COLUMNS[0])
REFUND_TYPE_COLUMNS = (*ALL_COLUMNS[:REFUNDS_AT], *REFUND_TIMES, *ALL_COLUMNS[REFUNDS_AT:])
COLUMNS = {"ALL": ALL_COLUMNS, "SUCCESS": SUCCESS_COLUMNS, "REFUND": REFUND_TYPE_COLUMNS}
SUMMARY_COLUMNS = (
    *("总交易单数", "应结订单总金额", "退款总金额", "充值券退款总金额", "手续费总金额", "订单总金额"),
    "申请退款总金额",
)
FLOW_COLUMNS = (
    *("记账时间", "微信支付业务单号", "资金流水单号", "业务名称", "业务类型", "收支类型", "收支金额(元)"),
    *("账户结余(元)", "资金变更提交申请人", "备注", "业务凭证号"),
)
FLOW_SUMMARY_COLUMNS = ("资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额")
FLOW_NAMES = {
    books.PAYMENT: "交易",
    books.FEE: "扣除交易手续费",
    books.REFUND: "退款",
    books.FEE_BACK: "退还交易手续费",
    books.SETTLEMENT: "提现",
    books.FREEZE: "分账冻结",
    books.UNFREEZE: "分账解冻",
    books.SHARE_IN: "分账",
    books.SHARE_BACK: "分账回退",
}

ROW_FAULTS = ("bill_row_missing", "bill_row_doubled", "bill_row_late")
FILE_FAULTS = ("bill_truncated", "bill_wrong_day", "bill_bad_hash")


@dataclass(frozen=True, slots=True)
class BillRow:
    """One row of a trade bill. Amounts in fen; fee is negative where it is given back."""

    scope: str  # what the row is about, for faults: the same each time the bill is made
    facts: dict[str, str]
    at_ms: int
    appid: str
    mchid: str
    device_id: str
    transaction_id: str
    out_trade_no: str
    openid: str
    trade_type: str
    state: str
    description: str
    attach: str
    total: int
    fee: int
    fee_bp: int
    refund_id: str = "0"
    out_refund_no: str = "0"
    refund: int = 0
    refund_type: str = ""
    refund_status: str = ""
    refund_success_ms: int | None = None
    coupon: int = 0  # 代金券金额: coupons of either kind
    not_paid_out: int = 0  # 免充值, of the order, or of the refund
    coupon_refund: int = 0  # 充值券退款金额


class Bills:
    """Makes bills of closed days and keeps their files while their URLs are valid."""

    def __init__(self, ctx: SandboxContext) -> None:
        self._ctx = ctx
        row_keys = ("mchid", "out_trade_no", "out_refund_no", "date")
        ctx.faults.declare("wechat", ROW_FAULTS, row_keys)
        ctx.faults.declare("wechat", ["bill_row_altered"], row_keys, delta_minor=None)
        ctx.faults.declare("wechat", ["bill_row_status"], row_keys, status="")
        # The number is what the listing shows, so that a judge can look for it.
        ctx.faults.declare(
            "wechat", ["bill_row_extra"], ("mchid", "date"), total_minor=None, out_trade_no=new_extra_number
        )
        ctx.faults.declare("wechat", FILE_FAULTS, ("mchid", "date", "bill"))

    async def trade_bill(self, merchant: Merchant, day: str, bill_type: str, tar_type: str) -> dict[str, str]:
        """Return hash and URL of a trade bill. Raises what WeChat Pay answers when there is none."""
        _require_choice("bill_type", bill_type, COLUMNS)
        on = self._closed_date(merchant, day)
        return await self._published(merchant, on, "tradebill", tar_type, lambda: self._trades(merchant, on, bill_type))

    async def fund_flow_bill(self, merchant: Merchant, day: str, account_type: str, tar_type: str) -> dict[str, str]:
        """Return hash and URL of a fund flow bill."""
        _require_choice("account_type", account_type, ("BASIC", "OPERATION", "FEES"))
        on = self._closed_date(merchant, day)
        if account_type != "BASIC":  # every fen of a direct merchant is in its basic account
            raise _no_statement()
        return await self._published(merchant, on, "fundflowbill", tar_type, lambda: self._flows(merchant, on))

    def file(self, merchant: Merchant, token: str) -> tuple[bytes, bool]:
        """Return a bill's bytes, and whether they are gzip."""
        row = self._ctx.store.one("SELECT * FROM wechat_bill_file WHERE token = ?", token)
        if row is None:
            raise resource_not_exists("账单文件不存在")
        if row["mchid"] != merchant.mchid:
            raise ApiError(403, "NO_AUTH", "无权下载其他商户的账单")
        if row["expires_ms"] < self._ctx.clock.now_ms():
            raise invalid_request("下载地址已失效, 请重新申请账单")
        return row["content"], bool(row["gzip"])

    def _closed_date(self, merchant: Merchant, text: str) -> date:
        try:
            day = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
        except ValueError:
            day = None
        if day is None:
            raise invalid_request("账单日期格式错误, 应为YYYY-MM-DD")
        row = self._ctx.store.one("SELECT closed_through FROM wechat_merchant WHERE mchid = ?", merchant.mchid)
        assert row is not None
        today = self._ctx.clock.beijing_date()
        if day < today - KEPT:
            raise invalid_request("仅支持下载最近三个月的账单")
        if day.isoformat() <= row["closed_through"]:
            return day
        if day > today:
            raise invalid_request("账单日期不能晚于今天")
        raise ApiError(400, "STATEMENT_CREATING", "账单生成中, 请稍后再试")

    async def _published(
        self, merchant: Merchant, day: date, kind: str, tar_type: str, make: Callable[[], list[str] | None]
    ) -> dict[str, str]:
        """Make the file off the loop, keep it, and return where it is. make: the lines, or nothing if none exist."""
        if tar_type:
            _require_choice("tar_type", tar_type, ("GZIP",))
        return await asyncio.to_thread(self._publish, merchant, day, kind, tar_type == "GZIP", make)

    def _publish(
        self, merchant: Merchant, day: date, kind: str, zipped: bool, make: Callable[[], list[str] | None]
    ) -> dict[str, str]:
        lines = make()
        if not lines:
            raise _no_statement()
        plain = (LINE_END.join(lines) + LINE_END).encode()
        if self._file_fault("bill_truncated", merchant, day, kind):
            plain = plain[: len(plain) * 2 // 3]
        digest = hashlib.sha1(plain, usedforsecurity=False).hexdigest()
        if self._file_fault("bill_bad_hash", merchant, day, kind):
            digest = hashlib.sha1(plain + b" ", usedforsecurity=False).hexdigest()
        content = gzip.compress(plain, mtime=0) if zipped else plain
        token, now_ms = secrets.token_urlsafe(32), self._ctx.clock.now_ms()
        with self._ctx.store.transaction() as tx:
            tx.execute("DELETE FROM wechat_bill_file WHERE expires_ms < ?", now_ms)
            tx.execute(
                "INSERT INTO wechat_bill_file (token, mchid, content, gzip, expires_ms) VALUES (?, ?, ?, ?, ?)",
                *(token, merchant.mchid, content, zipped, now_ms + URL_VALID_MS),
            )
        url = f"{self._ctx.base_url}{FILE_PATH}?token={token}"
        return {"hash_type": "SHA1", "hash_value": digest, "download_url": url}

    def _file_fault(self, name: str, merchant: Merchant, day: date, kind: str) -> bool:
        scope = f"{kind}:{merchant.mchid}:{day}"
        facts = {"mchid": merchant.mchid, "date": day.isoformat(), "bill": kind}
        if kind != "tradebill":  # the fund flow bill is spoiled only where the order names it
            named = [f for f in self._ctx.faults.listed() if f.name == name and f.match.get("bill") == kind]
            if not named:
                return False
        return self._ctx.faults.bind("wechat", name, scope, **facts) is not None

    def _trades(self, merchant: Merchant, day: date, bill_type: str) -> list[str] | None:
        """Return the lines of a trade bill, faults applied, or None if the day has nothing of that type."""
        true_rows = self._rows(merchant, day)
        rows = self._spoiled(merchant, day, true_rows)
        if self._file_fault("bill_wrong_day", merchant, day, "tradebill"):
            rows = self._rows(merchant, day - timedelta(days=1)) or [_a_day_earlier(row) for row in rows]
        wanted = {"ALL": None, "SUCCESS": False, "REFUND": True}[bill_type]
        of_type = [row for row in rows if wanted is None or (row.refund_id != "0") is wanted]
        if not of_type and not any(wanted is None or (row.refund_id != "0") is wanted for row in true_rows):
            return None
        return list(_trade_lines(of_type, COLUMNS[bill_type]))

    def _rows(self, merchant: Merchant, day: date) -> list[BillRow]:
        """Return a day's rows as they truly are: payments, refunds and reversals, oldest first."""
        paid = self._ctx.store.all(
            "SELECT * FROM wechat_trade WHERE mchid = ? AND bill_date = ?", merchant.mchid, day.isoformat()
        )
        returned = self._ctx.store.all(
            "SELECT t.*, r.refund_id, r.out_refund_no, r.amount, r.fee_back, r.created_ms AS returned_ms,"
            " coalesce(r.billed_status, r.status) AS refund_status, r.billed_success_ms, r.coupons AS refund_coupons"
            " FROM wechat_refund r JOIN wechat_trade t USING (trade_id) WHERE r.mchid = ? AND r.bill_date = ?",
            *(merchant.mchid, day.isoformat()),
        )
        rows = [_payment_row(row) for row in paid] + [_refund_row(row) for row in returned]
        return sorted(rows, key=lambda row: (row.at_ms, row.scope))

    def _spoiled(self, merchant: Merchant, day: date, rows: Iterable[BillRow]) -> list[BillRow]:
        """Return the rows as the ordered faults would have them."""
        spoiled: list[BillRow] = []
        for row in self._rows(merchant, day - timedelta(days=1)):
            if self._row_fault("bill_row_late", row, day - timedelta(days=1)):
                spoiled.append(row)
        for row in rows:
            spoiled.extend(self._spoil(row, day))
        spoiled.extend(self._extra_rows(merchant, day))
        return spoiled

    def _spoil(self, row: BillRow, day: date) -> list[BillRow]:
        if self._row_fault("bill_row_missing", row, day) or self._row_fault("bill_row_late", row, day):
            return []
        if fault := self._row_fault("bill_row_altered", row, day):
            delta = int(fault.params["delta_minor"])
            is_refund = row.refund_id != "0"
            row = replace(row, refund=row.refund + delta) if is_refund else replace(row, total=row.total + delta)
        if fault := self._row_fault("bill_row_status", row, day):
            status = str(fault.params["status"])
            is_refund = row.refund_id != "0"
            row = replace(row, refund_status=status or "FAIL") if is_refund else replace(row, state=status or "REVOKED")
        return [row, row] if self._row_fault("bill_row_doubled", row, day) else [row]

    def _row_fault(self, name: str, row: BillRow, day: date) -> Any:
        return self._ctx.faults.bind("wechat", name, row.scope, date=day.isoformat(), **row.facts)

    def _extra_rows(self, merchant: Merchant, day: date) -> list[BillRow]:
        """Return payments nobody made through us, one for each such order."""
        extra: list[BillRow] = []
        for seq in range(1, 1000):
            scope = f"extra:{merchant.mchid}:{day}:{seq}"
            fault = self._ctx.faults.bind("wechat", "bill_row_extra", scope, mchid=merchant.mchid, date=day.isoformat())
            if fault is None:
                break
            extra.append(_extra_row(merchant, day, seq, fault.params["total_minor"], fault.params["out_trade_no"]))
        return extra

    def _flows(self, merchant: Merchant, day: date) -> list[str] | None:
        rows = self._ctx.store.all(
            "SELECT * FROM wechat_flow WHERE mchid = ? AND bill_date = ? ORDER BY seq", merchant.mchid, day.isoformat()
        )
        return list(_flow_lines(rows)) if rows else None


def freeze_refunds(tx: Tx, mchid: str, day: date) -> None:
    """Fix the state in which a closing day's bill shows its refunds; it is not updated later."""
    tx.execute(
        "UPDATE wechat_refund SET billed_status = status, billed_success_ms = success_ms"
        " WHERE mchid = ? AND bill_date = ?",
        *(mchid, day.isoformat()),
    )


def new_extra_number() -> str:
    """Return an order number for a row that belongs to nobody's order."""
    return f"extra{secrets.token_hex(8)}"


def _no_statement() -> ApiError:
    return ApiError(400, "NO_STATEMENT_EXIST", "账单文件不存在, 当日无交易")


def _payment_row(row: Row) -> BillRow:
    facts = {"mchid": row["mchid"], "out_trade_no": row["out_trade_no"]}
    return BillRow(
        scope=f"row:{row['transaction_id']}",
        facts=facts,
        at_ms=row["success_ms"],
        appid=row["appid"],
        mchid=row["mchid"],
        device_id=row["device_id"],
        transaction_id=row["transaction_id"],
        out_trade_no=row["out_trade_no"],
        openid=row["openid"],
        trade_type=TRADE_TYPES[row["product"]],
        state="SUCCESS",
        description=row["description"],
        attach=row["attach"],
        total=row["total"],
        fee=row["fee"],
        fee_bp=row["fee_bp"],
        coupon=coupons.total_of(used := coupons.read(row["coupons"])),
        not_paid_out=coupons.total_of(used, "merchant"),
    )


def _refund_row(row: Row) -> BillRow:
    reversed_by_us = row["out_refund_no"] is None
    facts = {"mchid": row["mchid"], "out_refund_no": row["out_refund_no"] or row["refund_id"]}
    status = {"ABNORMAL": "CHANGE"}.get(row["refund_status"], row["refund_status"])
    borne = coupons.read(row["refund_coupons"])
    return replace(
        _payment_row(row),
        scope=f"row:{row['refund_id']}",
        facts=facts,
        at_ms=row["returned_ms"],
        state="REVOKED" if reversed_by_us else "REFUND",
        total=0,
        fee=-row["fee_back"],
        refund_id=row["refund_id"],
        out_refund_no=row["out_refund_no"] or "0",
        refund=row["amount"],
        refund_type="ORIGINAL",
        refund_status=status,
        refund_success_ms=row["billed_success_ms"],
        coupon=0,
        not_paid_out=coupons.returned(borne, "merchant"),
        coupon_refund=coupons.returned(borne, "rail", "prepaid"),
    )


def _extra_row(merchant: Merchant, day: date, seq: int, total: int, out_trade_no: str) -> BillRow:
    noon_ms = (day - date(1970, 1, 1)).days * DAY_MS + 4 * 3_600_000  # 12:00 in Beijing
    return BillRow(
        scope="",
        facts={},
        at_ms=noon_ms,
        appid=merchant.appid,
        mchid=merchant.mchid,
        device_id="",
        transaction_id=f"4299{merchant.mchid[-4:]}{day:%Y%m%d}{seq:012d}",
        out_trade_no=out_trade_no,
        openid="oSandboxStranger000000000000",
        trade_type="NATIVE",
        state="SUCCESS",
        description="?",
        attach="",
        total=int(total),
        fee=books.fee_of(int(total), merchant.fee_bp),
        fee_bp=merchant.fee_bp,
    )


def _a_day_earlier(row: BillRow) -> BillRow:
    return replace(row, at_ms=row.at_ms - DAY_MS)


def _trade_lines(rows: Sequence[BillRow], columns: Sequence[str]) -> Iterable[str]:
    yield ",".join(columns)
    for row in rows:
        cells = _cells(row)
        yield _line(cells[column] for column in columns)
    yield ",".join(SUMMARY_COLUMNS)
    total, refund, fee, cash_back = (
        sum(getattr(row, name) for row in rows) for name in ("total", "refund", "fee", "coupon_refund")
    )
    settled, taken = sum(_settled(row) for row in rows), sum(_taken(row) for row in rows)
    sums = (yuan(settled), yuan(taken), yuan(cash_back), fee_yuan(fee), yuan(total), yuan(refund))
    yield _line((str(len(rows)), *sums))


def _settled(row: BillRow) -> int:
    """Return 应结订单金额: the order less coupons that are not paid out; 0 on refunds."""
    return row.total - row.not_paid_out if row.refund_id == "0" else 0


def _taken(row: BillRow) -> int:
    """Return 退款金额: what was asked for less what such coupons bear of it; 0 on payments."""
    return row.refund - row.not_paid_out if row.refund_id != "0" else 0


def _cells(row: BillRow) -> dict[str, str]:
    return {
        "交易时间": wall_text(row.at_ms),
        "公众账号ID": row.appid,
        "商户号": row.mchid,
        "特约商户号": "0",
        "设备号": row.device_id,
        "微信订单号": row.transaction_id,
        "商户订单号": row.out_trade_no,
        "用户标识": row.openid,
        "交易类型": row.trade_type,
        "交易状态": row.state,
        "付款银行": "OTHERS",
        "货币种类": "CNY",
        "应结订单金额": yuan(_settled(row)),
        "代金券金额": yuan(row.coupon),
        "微信退款单号": row.refund_id,
        "商户退款单号": row.out_refund_no,
        "退款金额": yuan(_taken(row)),
        "充值券退款金额": yuan(row.coupon_refund),
        "退款类型": row.refund_type,
        "退款状态": row.refund_status,
        "商品名称": escaped(row.description),
        "商户数据包": escaped(row.attach),
        "手续费": fee_yuan(row.fee),
        "费率": f"{row.fee_bp // 100}.{row.fee_bp % 100:02d}%",
        "订单金额": yuan(row.total),
        "申请退款金额": yuan(row.refund),
        "费率备注": "",
        "退款申请时间": wall_text(row.at_ms),
        "退款成功时间": wall_text(row.refund_success_ms) if row.refund_success_ms else "",
    }


def _flow_lines(rows: Sequence[Row]) -> Iterable[str]:
    yield ",".join(FLOW_COLUMNS)
    for row in rows:
        name = FLOW_NAMES[row["kind"]]
        yield _line(
            (
                wall_text(row["at_ms"]),
                row["business_no"],
                f"{row['seq']:026d}",
                name,
                name,
                "收入" if row["amount"] > 0 else "支出",
                yuan(abs(row["amount"])),
                yuan(row["balance"]),
                "system",
                "",
                row["voucher_no"],
            )
        )
    yield ",".join(FLOW_SUMMARY_COLUMNS)
    income = [row["amount"] for row in rows if row["amount"] > 0]
    expense = [-row["amount"] for row in rows if row["amount"] < 0]
    counts = (str(len(rows)), str(len(income)), yuan(sum(income)), str(len(expense)), yuan(sum(expense)))
    yield _line(counts)


def _line(values: Iterable[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def yuan(fen: int) -> str:
    """Return fen as yuan with two decimals."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def fee_yuan(fen: int) -> str:
    """Return fen as yuan with five decimals, as fees are written."""
    return yuan(fen) + "000"


def escaped(text: str) -> str:
    """Return a merchant's text without the characters that would break a row."""
    return text.replace("\r\n", "\n").replace("\n", "\\n").replace("\r", "\\n").replace(",", "\\ ")


def _require_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise wrong_parameter(name, f"must be one of {', '.join(allowed)}", value, location="query")
