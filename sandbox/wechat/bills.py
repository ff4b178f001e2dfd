"""Trade bills 交易账单 and fund flow bills 资金账单, made from the core's books."""

import asyncio
import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta

from sandbox.acquirer import Acquirer, BillRow, Merchant, books
from sandbox.acquirer.bills import SPOILED
from sandbox.clock import wall_text
from sandbox.store import Row
from sandbox.wechat import sharing
from sandbox.wechat.errors import ApiError, invalid_request, resource_not_exists, wrong_parameter
from sandbox.wechat.orders import TRADE_TYPES

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
    sharing.FREEZE: "分账冻结",
    sharing.UNFREEZE: "分账解冻",
    sharing.SHARE_IN: "分账",
    sharing.SHARE_BACK: "分账回退",
}

REFUND_STATUS = {"success": "SUCCESS", "processing": "PROCESSING", "failed": "CHANGE", "reversed": "SUCCESS"}


class Bills:
    """Makes bills of closed days and keeps their files while their URLs are valid."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of, self._ctx = acquirer, acquirer.ctx
        self._ctx.faults.declare("wechat", ["bill_bad_hash"], acquirer.bills.file_keys)

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
        if row["mchid"] != merchant.merchant:
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
        today = self._ctx.clock.beijing_date()
        if day < today - KEPT:
            raise invalid_request("仅支持下载最近三个月的账单")
        if day <= self._of.days.closed_through(merchant.merchant):
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
        plain = self._of.bills.cut(merchant, day, (LINE_END.join(lines) + LINE_END).encode(), kind)
        is_bad = self._of.bills.is_spoiled("bill_bad_hash", merchant, day, kind)
        digest = hashlib.sha1(plain + b" " * is_bad, usedforsecurity=False).hexdigest()
        content = gzip.compress(plain, mtime=0) if zipped else plain
        token, now_ms = secrets.token_urlsafe(32), self._ctx.clock.now_ms()
        with self._ctx.store.transaction() as tx:
            tx.execute("DELETE FROM wechat_bill_file WHERE expires_ms < ?", now_ms)
            tx.execute(
                "INSERT INTO wechat_bill_file (token, mchid, content, gzip, expires_ms) VALUES (?, ?, ?, ?, ?)",
                *(token, merchant.merchant, content, zipped, now_ms + URL_VALID_MS),
            )
        url = f"{self._ctx.base_url}{FILE_PATH}?token={token}"
        return {"hash_type": "SHA1", "hash_value": digest, "download_url": url}

    def _trades(self, merchant: Merchant, day: date, bill_type: str) -> list[str] | None:
        """Return the lines of a trade bill, faults applied, or None if the day has nothing of that type."""
        kinds = {"ALL": ("payment", "refund"), "SUCCESS": ("payment",), "REFUND": ("refund",)}[bill_type]
        rows = [row for row in self._of.bills.rows(merchant, day) if row.kind in kinds]
        if not rows and not any(row.kind in kinds for row in self._of.bills.true_rows(merchant, day)):
            return None
        return list(_trade_lines(merchant, rows, COLUMNS[bill_type]))

    def _flows(self, merchant: Merchant, day: date) -> list[str] | None:
        key = (merchant.merchant, day.isoformat())
        rows = self._ctx.store.all(
            "SELECT f.*, t.charge_ref, t.order_no, r.refund_ref, r.refund_no FROM acquirer_flow f"
            " LEFT JOIN acquirer_trade t ON t.trade_id = f.trade_id"
            " LEFT JOIN acquirer_refund r ON r.refund_id = f.refund_id"
            " WHERE f.rail = 'wechat' AND f.merchant = ? AND f.bill_date = ? ORDER BY f.seq",
            *key,
        )
        before = self._ctx.store.one(
            "SELECT coalesce(sum(amount), 0) AS minor FROM acquirer_flow"
            " WHERE rail = 'wechat' AND merchant = ? AND bill_date < ?",
            *key,
        )
        assert before is not None
        return list(_flow_lines(rows, before["minor"])) if rows else None


def _no_statement() -> ApiError:
    return ApiError(400, "NO_STATEMENT_EXIST", "账单文件不存在, 当日无交易")


def _trade_lines(merchant: Merchant, rows: Sequence[BillRow], columns: Sequence[str]) -> Iterable[str]:
    yield ",".join(columns)
    for row in rows:
        cells = _cells(merchant, row)
        yield _line(cells[column] for column in columns)
    yield ",".join(SUMMARY_COLUMNS)
    paid, back = ([row for row in rows if row.kind == kind] for kind in ("payment", "refund"))
    total, settled = sum(row.amount for row in paid), sum(_net(row) for row in paid)
    refund, taken, cash_back = sum(row.amount for row in back), sum(map(_net, back)), sum(map(_cash_coupons, back))
    fee = fee_yuan(sum(row.fee for row in rows))
    yield _line((str(len(rows)), yuan(settled), yuan(taken), yuan(cash_back), fee, yuan(total), yuan(refund)))


def _net(row: BillRow) -> int:
    """Return 应结订单金额, or of a refund 退款金额: the amount less what coupons that are not paid out bear of it."""
    return row.amount - row.not_paid_out


def _cash_coupons(row: BillRow) -> int:
    """Return 充值券退款金额 of a refund: what coupons that are paid out bear of it."""
    return row.coupon - row.not_paid_out


def _cells(merchant: Merchant, row: BillRow) -> dict[str, str]:
    is_refund, zero = row.kind == "refund", yuan(0)
    if is_refund:
        state = "REVOKED" if row.refund is None else "REFUND"
        status = "FAIL" if row.status == SPOILED else REFUND_STATUS.get(row.status, row.status)
    else:
        state, status = {"success": "SUCCESS", SPOILED: "REVOKED"}.get(row.status, row.status), ""
    return {
        "交易时间": wall_text(row.at_ms),
        "公众账号ID": merchant.extra["appid"],
        "商户号": merchant.merchant,
        "特约商户号": "0",
        "设备号": row.extra.get("device_id", ""),
        "微信订单号": row.payment_ref,
        "商户订单号": row.order,
        "用户标识": row.payer,
        "交易类型": TRADE_TYPES.get(row.product, "NATIVE"),
        "交易状态": state,
        "付款银行": "OTHERS",
        "货币种类": "CNY",
        "应结订单金额": zero if is_refund else yuan(_net(row)),
        "代金券金额": zero if is_refund else yuan(row.coupon),
        "微信退款单号": row.ref if is_refund else "0",
        "商户退款单号": row.refund or "0",
        "退款金额": yuan(_net(row)) if is_refund else zero,
        "充值券退款金额": yuan(_cash_coupons(row)) if is_refund else zero,
        "退款类型": "ORIGINAL" if is_refund else "",
        "退款状态": status,
        "商品名称": escaped(row.extra.get("description", "?")),
        "商户数据包": escaped(row.extra.get("attach", "")),
        "手续费": fee_yuan(row.fee),
        "费率": f"{merchant.fee_bp // 100}.{merchant.fee_bp % 100:02d}%",
        "订单金额": zero if is_refund else yuan(row.amount),
        "申请退款金额": yuan(row.amount) if is_refund else zero,
        "费率备注": "",
        "退款申请时间": wall_text(row.at_ms),
        "退款成功时间": wall_text(row.success_ms) if row.success_ms else "",
    }


def _flow_lines(rows: Sequence[Row], balance: int) -> Iterable[str]:
    """Return the lines of a fund flow bill. balance: what the account held before them."""
    yield ",".join(FLOW_COLUMNS)
    for row in rows:
        name, extra = FLOW_NAMES[row["kind"]], json.loads(row["extra"] or "{}")
        paid_out = extra.get("end_to_end_id", "")
        balance += row["amount"]
        yield _line(
            (
                wall_text(row["at_ms"]),
                extra.get("business_no") or row["refund_ref"] or row["charge_ref"] or paid_out,
                f"{row['seq']:026d}",
                name,
                name,
                "收入" if row["amount"] > 0 else "支出",
                yuan(abs(row["amount"])),
                yuan(balance),
                "system",
                "",
                extra.get("voucher_no") or row["refund_no"] or row["order_no"] or paid_out,
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
