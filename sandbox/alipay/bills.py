"""The day's bill 业务明细 and account flow 账务明细, each a zip of two GBK texts; alipay.data.dataservice.bill."""

import io
import json
import secrets
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from sandbox.acquirer import Acquirer, BillRow, Merchant, books
from sandbox.alipay import royalties
from sandbox.alipay.calls import Call
from sandbox.alipay.errors import failed
from sandbox.alipay.words import yuan
from sandbox.clock import wall_text

LIVES_MS = 30_000
COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,"
    "商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
SUM_COLUMNS = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,"
    "卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"
)
FLOW_COLUMNS = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,"
    "业务类型,备注"
)
BUSINESS = {
    books.PAYMENT: "在线支付",
    books.FEE: "收费",
    books.REFUND: "退款",
    books.FEE_BACK: "退费",
    books.REFUND_FAILED: "退款失败",
    books.SETTLEMENT: "提现",
    royalties.FROZEN: "分账冻结",
    royalties.SHARED: "交易分账",
    royalties.RELEASED: "分账解冻",
    royalties.RECEIVED: "分账收入",
    royalties.RETURNED: "退分账",
}


class Bills:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer
        self._addresses: dict[str, tuple[str, str, date, int]] = {}  # token → merchant, kind, day, until when

    async def address(self, call: Call) -> dict[str, Any]:
        """Return where a day's file may be fetched within half a minute."""
        kind, merchant = call.content.get("bill_type"), call.merchant
        try:
            day = date.fromisoformat(str(call.content.get("bill_date")))
        except ValueError:
            raise failed("INVAILID_ARGUMENTS", "入参不合法: bill_date") from None
        if kind not in ("trade", "signcustomer"):
            raise failed("INVAILID_ARGUMENTS", "入参不合法: bill_type")
        if day > self._of.days.closed_through(merchant.merchant):
            raise failed("INVAILID_ARGUMENTS", "账单尚未生成")
        if not self._of.bills.rows(merchant, day) and not self._flow(merchant, day):
            raise failed("isp.bill_not_exist", "账单不存在")
        now_ms = self._of.ctx.clock.now_ms()
        self._addresses = {token: one for token, one in self._addresses.items() if one[3] > now_ms}
        token = secrets.token_hex(16)
        self._addresses[token] = (merchant.merchant, str(kind), day, now_ms + LIVES_MS)
        path = f"/downloadBillFile.resource?bizType={kind}&userId={merchant.merchant}0156&fileType=csv.zip"
        return {"bill_download_url": f"{self._of.ctx.base_url}{path}&bizDates={day:%Y%m%d}&fileId={token}"}

    def file(self, token: str) -> bytes | None:
        """Return the zip an address leads to; None when there is none, or its time is over."""
        number, kind, day, until_ms = self._addresses.get(token, ("", "", date.min, 0))
        if until_ms <= self._of.ctx.clock.now_ms():
            return None
        merchant = self._of.merchants.get(number)
        name = f"{number}0156_{day:%Y%m%d}_"
        if kind == "trade":
            rows = self._of.bills.rows(merchant, day)
            shown = self._of.bills.day_shown(merchant, day)
            whole = self._details(merchant, shown, rows)
            texts = {"业务明细": whole, "业务明细(汇总)": self._sums(merchant, shown, rows)}
        else:
            texts = {
                "账务明细": self._flow_text(merchant, day),
                "账务明细(汇总)": _head("#支付宝账务汇总查询", "账务汇总列表", merchant, day),
            }
        return _zipped(
            {
                f"{name}{title}.csv": "\r\n".join([*lines, ""]).encode("gbk", "replace")
                for title, lines in texts.items()
            },
            lambda content: self._of.bills.cut(merchant, day, content),
        )

    def _details(self, merchant: Merchant, day: date, rows: Sequence[BillRow]) -> list[str]:
        lines = [*_head("#支付宝业务明细查询", "业务明细列表", merchant, day), COLUMNS, *(_row(row) for row in rows)]
        lines.append(f"#{'-' * 41}业务明细列表结束{'-' * 36}")
        for title, kind, sign, what in (("交易", "payment", 1, "商家实收"), ("退款", "refund", -1, "商家实收退款")):
            counted = [row for row in rows if row.kind == kind and _business(row) == title]
            total = yuan(sign * sum(row.amount - row.not_paid_out for row in counted))
            own = yuan(sign * sum(row.not_paid_out for row in counted))
            back = "商家优惠退款" if kind == "refund" else "商家优惠"
            lines.append(f"#{title}合计：{len(counted)}笔，{what}共{total}元，{back}共{own}元")
        return [*lines, self._made_at()]

    def _sums(self, merchant: Merchant, day: date, rows: Sequence[BillRow]) -> list[str]:
        known = [row for row in rows if _business(row) in ("交易", "退款")]
        trades = [row for row in known if row.kind == "payment"]
        total, own, others = (sum(_signed(row, part) for row in known) for part in _PARTS)
        fees = -sum(row.fee for row in known)
        figures = [yuan(total), yuan(total - own), yuan(others), yuan(own), "0.00", yuan(fees), "0.00"]
        figures.append(yuan(total - own + fees))
        line = ",".join(["合计\t", "\t", str(len(trades)), str(len(known) - len(trades)), *figures])
        head = _head("#支付宝业务汇总查询", "业务汇总列表", merchant, day)
        return [*head, SUM_COLUMNS, line, f"#{'-' * 40}业务汇总列表结束{'-' * 37}", self._made_at()]

    def _flow_text(self, merchant: Merchant, day: date) -> list[str]:
        rows = self._flow(merchant, day)
        came = [row["amount"] for row in rows if row["amount"] > 0]
        went = [-row["amount"] for row in rows if row["amount"] < 0]
        lines = [*_head("#支付宝账务明细查询", "账务明细列表", merchant, day), FLOW_COLUMNS]
        start = self._of.ctx.store.one(
            "SELECT coalesce(sum(amount), 0) AS before FROM acquirer_flow"
            " WHERE rail = 'alipay' AND merchant = ? AND bill_date < ?",
            *(merchant.merchant, day.isoformat()),
        )
        assert start is not None
        balance = start["before"]
        for row in rows:
            balance += row["amount"]
            lines.append(_flow_row(row, balance))
        return [
            *lines,
            f"#{'-' * 40}账务明细列表结束{'-' * 37}",
            f"#支出合计：{len(went)}笔，共{yuan(sum(went))}元",
            f"#收入合计：{len(came)}笔，共{yuan(sum(came))}元",
            self._made_at(),
        ]

    def _flow(self, merchant: Merchant, day: date) -> list[Any]:
        return self._of.ctx.store.all(
            "SELECT f.seq, f.kind, f.amount, f.at_ms, t.trade_ref, t.order_no, t.extra FROM acquirer_flow f"
            " LEFT JOIN acquirer_trade t USING (trade_id)"
            " WHERE f.rail = 'alipay' AND f.merchant = ? AND f.bill_date = ? ORDER BY f.seq",
            *(merchant.merchant, day.isoformat()),
        )

    def _made_at(self) -> str:
        now = wall_text(self._of.ctx.clock.now_ms())
        return f"#导出时间：[{now[:4]}年{now[5:7]}月{now[8:10]}日 {now[11:]}]"


def _head(title: str, section: str, merchant: Merchant, day: date) -> list[str]:
    first, after = (f"{one:%Y}年{one:%m}月{one:%d}日 00:00:00" for one in (day, day + timedelta(days=1)))
    account = f"#账号：[{merchant.merchant}0156]"
    return [title, account, f"#起始日期：[{first}]   终止日期：[{after}]", f"#{'-' * 41}{section}{'-' * 40}"]


def _business(row: BillRow) -> str:
    """Return what kind of movement a row is; a row whose status was spoiled is of no kind anybody knows."""
    usual = ("success",) if row.kind == "payment" else ("success", "processing", "reversed")
    return row.status if row.status not in usual else "交易" if row.kind == "payment" else "退款"


def _signed(row: BillRow, part: Callable[[BillRow], int] = lambda row: row.amount) -> int:
    return part(row) if row.kind == "payment" else -part(row)


# What a row is over, what coupons of the merchant's own bear of it (商家优惠), and what others' do (支付宝优惠).
_PARTS: tuple[Callable[[BillRow], int], ...] = (
    lambda row: row.amount,
    lambda row: row.not_paid_out,
    lambda row: row.coupon - row.not_paid_out,
)


def _row(row: BillRow) -> str:
    amount, own, others = (_signed(row, part) for part in _PARTS)
    at = wall_text(row.at_ms)
    request = "" if row.kind == "payment" else str(row.refund_extra.get("request_no", ""))
    values = [
        f"{row.trade_ref}\t",
        f"{row.order}\t",
        f"{_business(row)}\t",
        _plain(row.extra.get("subject", "")),
        at,
        at,
        "\t",
        "\t",
        "\t",
        f"{_plain(row.extra.get('terminal_id', ''))}\t",
        "**宝(159****5620)\t",
        yuan(amount),
        yuan(amount - own),
        "0.00",
        "0.00",
        yuan(others),
        yuan(own),
        "0.00",
        "",
        "0.00\t",
        "0.00",
        f"{request}\t",
        yuan(-row.fee),
        "0.00",
        "",
    ]
    return ",".join(values)


def _flow_row(row: Any, balance: int) -> str:
    came, went = max(row["amount"], 0), min(row["amount"], 0)
    subject = json.loads(row["extra"] or "{}").get("subject", "")
    values = [
        f"{row['seq']:020}\t",
        f"{row['trade_ref'] or ''}\t",
        f"{row['order_no'] or ''}\t",
        f"{_plain(subject)}\t",
    ]
    values += [
        wall_text(row["at_ms"]),
        "\t",
        yuan(came),
        yuan(went),
        yuan(balance),
        "支付宝",
        BUSINESS[row["kind"]],
        "",
    ]
    return ",".join(values)


def _plain(text: Any) -> str:
    """Return a text that breaks neither the line nor the row."""
    return str(text).translate(dict.fromkeys([*range(32), ord(","), ord('"')], " "))


class _RawName(zipfile.ZipInfo):
    """A member whose name is written as GBK, without the mark of UTF-8, as Alipay's are."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits


def _zipped(texts: dict[str, bytes], cut: Callable[[bytes], bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        for place, (name, content) in enumerate(texts.items()):
            member = _RawName(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(member, cut(content) if place == 0 else content)
    return packed.getvalue()
