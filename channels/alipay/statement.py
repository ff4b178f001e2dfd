"""Alipay's bills 业务明细 and account flows 账务明细: read whole or not at all.

Each comes as a zip of GBK texts, one of details and one of sums. A text of details begins with the account and the days
it is of, in lines that begin with #; then a header, one line a movement, and totals, again behind #. Columns are found
by name. Ids and words end in a tab, which keeps spreadsheets from rounding them. Amounts are in yuan, two decimals.
Source: real files of 2012, 2019 and 2026 embedded as test data in public repositories; see README.md.
"""

import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from zipfile import BadZipFile, ZipFile

from channels.alipay.messages import beijing, our_number
from channels.contract import BadBill, BillLine, FundLine, Kind
from kernel.clock import BEIJING
from kernel.money import Money

MAX_BYTES = 512 << 20  # uncompressed; some two million transactions of one merchant and day
MAX_FILES = 50
TRADE_COLUMNS = (
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "完成时间",
    "订单金额（元）",
    "商家实收（元）",
    "商家优惠（元）",
    "退款批次号/请求号",
    "服务费（元）",
)
SUM_COLUMNS = ("交易订单总笔数", "退款订单总笔数", "订单金额（元）", "商家实收（元）", "服务费（元）")
FUND_COLUMNS = (
    "账务流水号",
    "业务流水号",
    "发生时间",
    "收入金额（+元）",
    "支出金额（-元）",
    "账户余额（元）",
    "业务类型",
)
_TRADES, _TRADE_SUMS, _FUNDS = "#支付宝业务明细查询", "#支付宝业务汇总查询", "#支付宝账务明细查询"
_DETAILS = {"trade": _TRADES, "fund": _FUNDS}
_YUAN = re.compile(r"(-?)([0-9]{1,13})\.([0-9]{2})", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_ACCOUNT = re.compile(r"#账号：\[([0-9]{16})([0-9]{0,8})\]", re.ASCII)
_SPAN = re.compile(r"#起始日期：\[([^\]]*)\]\s*终止日期：\[([^\]]*)\]")
_TOTAL = re.compile(r"#(交易|退款)合计：([0-9]+)笔，[^0-9-]*共?(-?[0-9.]+)元，[^0-9-]*(-?[0-9.]+)元", re.ASCII)
_FUND_TOTAL = re.compile(r"#(支出|收入)合计：([0-9]+)笔，共(-?[0-9.]+)元", re.ASCII)


# ---- the zip ---------------------------------------------------------------------------------------------------------


def unzipped(raw: bytes) -> bytes:
    """Return the texts of a bill's zip one after the other, details first, as GBK bytes. Raises BadBill.

    The zip's own checksums prove that it came whole; the texts' totals, which the reading compares, that they are.
    """
    room, texts = MAX_BYTES, []
    try:
        with ZipFile(BytesIO(raw)) as bundle:
            members = [member for member in bundle.infolist() if not member.is_dir()]
            if len(members) > MAX_FILES:
                raise BadBill("damaged", f"the zip holds {len(members)} files")
            for member in members:
                with bundle.open(member) as opened:  # reads no more than room, whatever the zip says of its size
                    content = opened.read(room + 1)
                room -= len(content)
                if room < 0:
                    raise BadBill("too_large", f"the bill has more than {MAX_BYTES} bytes")
                texts.append(content if content.endswith(b"\n") else content + b"\n")
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadBill("damaged", f"the file is no zip that can be read: {error}") from None
    texts.sort(key=lambda content: not content.startswith(tuple(mark.encode("gbk") for mark in _DETAILS.values())))
    return b"".join(texts)


# ---- what is inside --------------------------------------------------------------------------------------------------


def trade_lines(content: bytes, *, day: date, seller_id: str) -> Iterator[BillLine]:
    """Return the lines of a day's bill. Raises BadBill before the first line when anything is wrong.

    The file is read twice, once to be sure of it and once to give it out, so that it never has to be kept as objects.
    Rows of the day before are let through: Alipay may book a payment of the last second late; the line keeps its time.
    """
    deque(_trade_lines(content, day, seller_id), maxlen=0)
    return _trade_lines(content, day, seller_id)


def fund_lines(content: bytes, *, day: date, seller_id: str) -> Iterator[FundLine]:
    """Return the lines of a day's account flow, under the same rules."""
    deque(_fund_lines(content, day, seller_id), maxlen=0)
    return _fund_lines(content, day, seller_id)


@dataclass(slots=True)
class _Sum:
    count: int = 0
    received: int = 0  # 商家实收, fen
    discount: int = 0  # 商家优惠, fen


def _trade_lines(content: bytes, day: date, seller_id: str) -> Iterator[BillLine]:
    sheet = _Sheet(content, _TRADES, TRADE_COLUMNS, day, seller_id)
    sums = {"交易": _Sum(), "退款": _Sum()}
    ordered = fees = no_part = 0
    for row, values in sheet.rows():
        trade_no, payment, business, at, total, received, discount, request, fee = values
        if not trade_no or not payment:
            raise BadBill("damaged", f"line {row} lacks a number")
        amount, charged = _fen(total, row), _fen(fee, row)
        is_refund = amount < 0 if business not in sums else business == "退款"
        if business in sums:
            if (amount < 0) is not is_refund:
                raise BadBill("damaged", f"line {row} is a {business} of {total}")
            so_far = sums[business]
            so_far.count += 1
            so_far.received += _fen(received, row)
            so_far.discount += _fen(discount, row)
            ordered += amount
            fees += charged
        # 商家优惠: what the merchant's own coupons bear is not received, and not taken back on a refund.
        coupon = amount - _fen(received, row)
        if not 0 <= (-coupon if is_refund else coupon) <= abs(amount):
            no_part = no_part or row
        # A reversal 撤销 gives the money back under no number of ours: it goes by the payment's.
        own = is_refund and request not in ("", payment)
        yield BillLine(
            kind=Kind.REFUND if is_refund else Kind.PAYMENT,
            reference=our_number(request if own else payment),
            payment_reference=our_number(payment),
            channel_ref=trade_no,
            amount=Money(abs(amount), "CNY"),
            fee=Money(-charged, "CNY"),  # what Alipay keeps is written as what the merchant loses
            status=("success" if own or not is_refund else "reversed") if business in sums else "unknown",
            happened_at=sheet.moment(at, row),
            row=row,
            coupon_minor=coupon,
        )
    _agree_on_totals(sheet.closing, sums)
    _agree_on_sums(content, day, seller_id, sums, ordered, fees)
    if no_part:
        raise BadBill("damaged", f"line {no_part}: what is received of it is not a part of its amount")


def _agree_on_totals(closing: Sequence[str], sums: Mapping[str, _Sum]) -> None:
    stated = {}
    for line in closing:
        if match := _TOTAL.match(line):
            stated[match[1]] = (int(match[2]), _stated(match[3]), _stated(match[4]))
    for business, found in sums.items():
        if business not in stated:
            raise BadBill("truncated", f"the total of {business} is missing")
        for name, told, counted in zip(
            ("rows", "received", "discount"),
            stated[business],
            (found.count, found.received, found.discount),
            strict=True,
        ):
            # Whether a discount that refunds give back is written with its sign is not known: no real file has one.
            if name == "discount" and business == "退款":
                told, counted = abs(told), abs(counted)
            _agree(f"{business}: {name}", told, counted)


def _agree_on_sums(
    content: bytes, day: date, seller_id: str, sums: Mapping[str, _Sum], ordered: int, fees: int
) -> None:
    """Compare with the text of sums, whose totals stand in its line 合计, as far as it is in the form we know.

    That form was seen in parsers only, never in a real file: where it differs, the totals of the details must do.
    """
    start = content.find(_TRADE_SUMS.encode("gbk"))
    if start < 0:
        return
    try:
        sheet = _Sheet(content[start:], _TRADE_SUMS, SUM_COLUMNS, day, seller_id, every=True)
        totals = [values for _, values in sheet.rows() if values[-1].startswith("合计")]
    except BadBill as bad:
        if bad.code not in ("not_a_bill", "damaged"):
            raise
        return
    received = sums["交易"].received + sums["退款"].received
    for *stated, _ in totals:
        counted = (sums["交易"].count, sums["退款"].count, ordered, received, fees)
        for name, told, found in zip(SUM_COLUMNS, stated, counted, strict=True):
            known = int(told) if told.isascii() and told.isdigit() else _parsed(told)
            if known is not None:
                _agree(f"sums: {name}", known, found)


def _fund_lines(content: bytes, day: date, seller_id: str) -> Iterator[FundLine]:
    sheet = _Sheet(content, _FUNDS, FUND_COLUMNS, day, seller_id)
    counts, sums = {"收入": 0, "支出": 0}, {"收入": 0, "支出": 0}
    for row, (entry_ref, channel_ref, at, income, expense, balance, business_type) in sheet.rows():
        # An expense is written with its sign or without; both were seen.
        came, went = _fen(income or "0.00", row), abs(_fen(expense or "0.00", row))
        if came < 0 or (came and went):
            raise BadBill("damaged", f"line {row} is income of {income} and expense of {expense}")
        direction = "支出" if went else "收入"
        counts[direction] += 1
        sums[direction] += came + went
        yield FundLine(
            channel_ref=channel_ref,
            entry_ref=entry_ref,
            business_type=business_type,
            amount=Money(came - went, "CNY"),
            balance=Money(_fen(balance, row), "CNY"),
            happened_at=sheet.moment(at, row),
            row=row,
        )
    stated = {match[1]: match for line in sheet.closing if (match := _FUND_TOTAL.match(line))}
    for direction, count in counts.items():
        if direction not in stated:
            raise BadBill("truncated", f"the total of {direction} is missing")
        _agree(f"{direction}: rows", int(stated[direction][2]), count)
        _agree(f"{direction}: sum", abs(_stated(stated[direction][3])), sums[direction])


# ---- the sheet -------------------------------------------------------------------------------------------------------


class _Sheet:
    """One text: its head is checked when it is opened; what follows its rows is in `closing` once they were read."""

    def __init__(
        self, content: bytes, title: str, columns: Sequence[str], day: date, seller_id: str, *, every: bool = False
    ) -> None:
        """every: add to each row's values all of the row as one text."""
        self._lines = _texts(content)
        self._day = day
        self._dates = {day.isoformat(), (day - timedelta(days=1)).isoformat()}
        self._every = every
        self.closing: list[str] = []
        if self._next()[1] != title:
            raise BadBill("not_a_bill", f"the file does not begin with {title}")
        account = _ACCOUNT.match(self._next()[1])
        if account is None:
            raise BadBill("not_a_bill", "the file does not say whose it is")
        if account[1] != seller_id:
            raise BadBill("other_merchant", f"the bill is of {account[1]}, not of {seller_id}")
        self._check_days(self._next()[1])
        if not self._next()[1].startswith("#---"):
            raise BadBill("not_a_bill", "no list begins where one should")
        header = [_bare(name) for name in self._next()[1].split(",")]
        names = [name.replace("(", "（").replace(")", "）") for name in header]
        missing = [name for name in columns if names.count(name) != 1]
        if missing:
            raise BadBill("not_a_bill", f"these columns are missing or stand twice: {', '.join(missing)}")
        self._names = names
        self._places = [names.index(name) for name in columns]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, values in the order of the columns). Raises BadBill on anything that is no row."""
        for number, line in self._lines:
            if line.startswith("#"):
                self.closing.append(line)
                break
            values = line.split(",")
            if len(values) != len(self._names):
                values = self._realigned(values, number)
            kept = [_bare(values[place]) for place in self._places]
            yield number, [*kept, line] if self._every else kept
        for number, line in self._lines:
            if line.startswith("#支付宝"):
                return  # the next text
            if not line.startswith("#"):
                raise BadBill("damaged", f"line {number} stands after the end of the list")
            self.closing.append(line)

    def moment(self, text: str, row: int) -> datetime:
        """Return the moment of a row. Raises BadBill when it is not of the day or the day before."""
        moment = beijing(text)
        if moment is None:
            raise BadBill("damaged", f"line {row} has the time {text[:40]!r}")
        if text[:10] not in self._dates:
            raise BadBill("other_day", f"line {row} is of {text[:10]!r}, the bill is asked of {self._day}")
        return moment

    def _check_days(self, line: str) -> None:
        span = _SPAN.match(line)
        first = _chinese_date(span[1]) if span else None
        if first is None:
            raise BadBill("not_a_bill", "the file does not say which days it is of")
        after = _chinese_date(span[2]) if span else None
        if first != self._day or after != self._day + timedelta(days=1):
            raise BadBill("other_day", f"the bill is of {first}, asked was {self._day}")

    def _realigned(self, values: list[str], number: int) -> list[str]:
        """Return a row put right whose product name holds commas, by where its two times stand. Raises BadBill."""
        extra = len(values) - len(self._names)
        if extra > 0 and "商品名称" in self._names:
            name = self._names.index("商品名称")
            joined = [*values[:name], ",".join(values[name : name + extra + 1]), *values[name + extra + 1 :]]
            times = [
                place for place, column in enumerate(self._names) if column in ("创建时间", "完成时间", "发生时间")
            ]
            if times and all(_TIME.fullmatch(_bare(joined[place])) for place in times):
                return joined
        raise BadBill("damaged", f"line {number} has {len(values)} values for {len(self._names)} columns")

    def _next(self) -> tuple[int, str]:
        for found in self._lines:
            return found
        raise BadBill("truncated", "the bill ends before its list begins")


def _texts(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end); lines end in LF or CRLF."""
    for number, raw in enumerate(BytesIO(content), 1):
        try:
            yield number, raw.decode("gb18030").rstrip("\r\n")
        except UnicodeDecodeError:
            raise BadBill("not_gbk", f"line {number} is not GBK text") from None


def _bare(value: str) -> str:
    return value.strip(" \t")


def _chinese_date(written: str) -> date | None:
    """Return the day of 2026年11月24日 00:00:00, None for anything else: bills begin and end at midnight."""
    try:
        moment = datetime.strptime(written, "%Y年%m月%d日 %H:%M:%S").replace(tzinfo=BEIJING)
    except ValueError:
        return None
    return moment.date() if moment.time() == datetime.min.time() else None


def _fen(text: str, row: int) -> int:
    fen = _parsed(text)
    if fen is None:
        raise BadBill("damaged", f"line {row} has the amount {text[:40]!r}")
    return fen


def _stated(text: str) -> int:
    fen = _parsed(_bare(text))
    if fen is None:
        raise BadBill("damaged", f"the totals say {text[:40]!r}")
    return fen


@lru_cache(maxsize=4096)  # most amounts of a bill are 0.00, prices repeat
def _parsed(text: str) -> int | None:
    match = _YUAN.fullmatch(text)
    if match is None:
        return None
    fen = int(match[2] + match[3])
    return -fen if match[1] else fen


def _agree(name: str, stated: int, counted: int) -> None:
    if stated != counted:
        raise BadBill("totals_differ", f"{name}: the totals say {stated}, the rows make {counted}")
