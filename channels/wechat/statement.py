"""WeChat Pay's bills 交易账单 and fund-flow bills 资金账单: read whole or not at all.

A bill is a header row, one row a transaction, a header of totals and one row of totals. Values of rows and totals begin
with a backtick; columns are found by their name, because WeChat has added some over the years. Amounts are in yuan.
Source: pay.weixin.qq.com merchant documentation, "download bill" and "trade bill" (2024-12 and 2025-01).
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from io import BytesIO

from channels.contract import BadBill, BillLine, FundLine, Kind
from kernel.clock import BEIJING
from kernel.money import Money, is_currency

TRADE_COLUMNS = (
    "交易时间",
    "商户号",
    "微信订单号",
    "商户订单号",
    "交易状态",
    "货币种类",
    "微信退款单号",
    "商户退款单号",
    "退款状态",
    # The summed columns, in the order of their totals.
    "应结订单金额",
    "退款金额",
    "充值券退款金额",
    "手续费",
    "订单金额",
    "申请退款金额",
)
TRADE_TOTALS = (
    "总交易单数",
    "应结订单总金额",
    "退款总金额",
    "充值券退款总金额",
    "手续费总金额",
    "订单总金额",
    "申请退款总金额",
)
FUND_COLUMNS = (
    "记账时间",
    "微信支付业务单号",
    "资金流水单号",
    "业务类型",
    "收支类型",
    "收支金额(元)",
    "账户结余(元)",
)
FUND_TOTALS = ("资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额")
REFUND_STATUS = {"SUCCESS": "success", "PROCESSING": "processing", "FAIL": "failed", "CHANGE": "failed"}

_SUMMED = len(TRADE_COLUMNS) - (len(TRADE_TOTALS) - 1)
_YUAN = re.compile(r"(-?)([0-9]{1,13})\.([0-9]{2,5})", re.ASCII)  # two decimals; fees have five
_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)
_PER_FEN = 1000  # sums are kept in hundred-thousandths of a yuan, which is as fine as a bill gets
_ABSENT = ("", "0")


def trade_lines(content: bytes, *, day: date, mchid: str, only_late: bool = False) -> Iterator[BillLine]:
    """Return the lines of a trade bill (bill_type ALL). Raises BadBill before the first line when anything is wrong.

    The file is read twice, once to be sure of it and once to give it out, so that it never has to be kept as objects.
    Rows of the day before are let through beside rows of the day: WeChat may book a payment of the last second late
    (the line keeps its own time). A file without any row of the day, but with rows, is another day's, unless the caller
    knows that these rows are no others than the ones that came late (only_late).
    """
    _exhaust(_trade_lines(content, day, mchid, only_late))
    return _trade_lines(content, day, mchid, only_late)


def fund_lines(content: bytes, *, day: date) -> Iterator[FundLine]:
    """Return the lines of a fund-flow bill, under the same rules. It does not name the merchant."""
    _exhaust(_fund_lines(content, day))
    return _fund_lines(content, day)


def _trade_lines(content: bytes, day: date, mchid: str, only_late: bool) -> Iterator[BillLine]:
    sheet = _Sheet(content, TRADE_COLUMNS, TRADE_TOTALS)
    days = _Days(day)
    count, sums, no_part = 0, [0] * (len(TRADE_TOTALS) - 1), 0
    for row, values in sheet.rows():
        at, merchant, pay_ref, payment, state, currency, refund_ref, refund, refund_status = values[:_SUMMED]
        if merchant != mchid:
            raise BadBill("other_merchant", f"line {row} is of merchant {merchant[:32]!r}, not of {mchid}")
        if not is_currency(currency):
            raise BadBill("damaged", f"line {row} has the currency {currency[:10]!r}")
        happened_at = days.moment(at, row)
        units = [_units(value, row) for value in values[_SUMMED:]]
        count += 1
        sums = [total + unit for total, unit in zip(sums, units, strict=True)]
        settled, taken, _, fee, ordered, refunded = units
        is_refund = state == "REFUND" or (state != "SUCCESS" and refund_ref not in _ABSENT)
        kind = Kind.REFUND if is_refund else Kind.PAYMENT
        # A reversal 撤销 gives the money back under a number of WeChat's alone: it goes by the payment's.
        named = is_refund and not (state == "REVOKED" and refund in _ABSENT)
        reference, channel_ref = refund if named else payment, refund_ref if is_refund else pay_ref
        if payment in _ABSENT or reference in _ABSENT or channel_ref in _ABSENT:
            raise BadBill("damaged", f"line {row} lacks the number of its {kind}")
        amount, paid_out = (refunded, taken) if is_refund else (ordered, settled)
        if amount % _PER_FEN or amount < 0:
            raise BadBill("damaged", f"line {row} has an amount that is not in whole fen, or is negative")
        # 免充值代金券: what the merchant's own coupons bear is not paid out, and not taken back on a refund.
        if paid_out % _PER_FEN or not 0 <= paid_out <= amount:
            no_part = no_part or row
        coupon = (amount - paid_out) // _PER_FEN
        yield BillLine(
            kind=kind,
            reference=reference,
            payment_reference=payment,
            channel_ref=channel_ref,
            amount=Money(amount // _PER_FEN, currency),
            fee=Money(_to_fen(fee), currency),
            status=_status(state, refund_status),
            happened_at=happened_at,
            row=row,
            coupon_minor=-coupon if is_refund else coupon,
        )
    if not only_late:
        days.check()
    stated_count, *stated = sheet.totals
    _agree("rows", _number(stated_count), count)
    for name, text, total in zip(TRADE_TOTALS[1:], stated, sums, strict=True):
        _agree(name, _units(text, sheet.last_row), total)
    if no_part:
        raise BadBill("damaged", f"line {no_part}: what is settled of it is not a part of its amount")


def _fund_lines(content: bytes, day: date) -> Iterator[FundLine]:
    sheet = _Sheet(content, FUND_COLUMNS, FUND_TOTALS)
    days = _Days(day)
    counts, sums = {"收入": 0, "支出": 0}, {"收入": 0, "支出": 0}
    for row, (at, channel_ref, entry_ref, business_type, direction, amount, balance) in sheet.rows():
        if direction not in sums:
            raise BadBill("damaged", f"line {row} is neither income nor expense but {direction[:10]!r}")
        happened_at = days.moment(at, row)
        fen = _fen(amount, row)
        if fen < 0:
            raise BadBill("damaged", f"line {row} has a negative amount")
        counts[direction] += 1
        sums[direction] += fen
        yield FundLine(
            channel_ref=channel_ref,
            entry_ref=entry_ref,
            business_type=business_type,
            amount=Money(fen if direction == "收入" else -fen, "CNY"),
            balance=Money(_fen(balance, row), "CNY"),
            happened_at=happened_at,
            row=row,
        )
    days.check()
    entries, incomes, income, expenses, expense = sheet.totals
    _agree("entries", _number(entries), sum(counts.values()))
    _agree("incomes", _number(incomes), counts["收入"])
    _agree("expenses", _number(expenses), counts["支出"])
    _agree("income", _fen(income, sheet.last_row), sums["收入"])
    _agree("expense", _fen(expense, sheet.last_row), sums["支出"])


class _Sheet:
    """One file, cut into rows; the totals are known once all rows were read."""

    def __init__(self, content: bytes, columns: Sequence[str], totals: Sequence[str]) -> None:
        self._content = content
        self._columns = columns
        self._total_names = totals
        self.totals: tuple[str, ...] = ()
        self.last_row = 0

    def rows(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield (line number, values in the order of `columns`). Raises BadBill on anything that is no bill."""
        lines = self._lines()
        places, width = _places(next(lines, (1, ""))[1], self._columns)
        for number, line in lines:
            if not line.startswith("`"):
                break
            values = _values(line, width, number)
            yield number, tuple([values[place] for place in places])
        else:
            raise BadBill("truncated", "the bill ends before its totals")
        places, width = _places(line, self._total_names)
        number, line = next(lines, (0, ""))
        if not line:
            raise BadBill("truncated", "the bill ends before its totals")
        values = _values(line, width, number)
        self.totals, self.last_row = tuple([values[place] for place in places]), number
        for number, line in lines:
            if line:
                raise BadBill("damaged", f"line {number} stands after the totals")

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield (number from 1, line without its end); lines end in LF or CRLF, the first may begin with a mark."""
        for number, raw in enumerate(BytesIO(self._content), 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise BadBill("not_utf8", f"line {number} is not UTF-8 text") from None
            yield number, line.removesuffix("\n").removesuffix("\r")


class _Days:
    """Whose day the rows are of."""

    def __init__(self, day: date) -> None:
        self._day = day
        self._texts = {day.isoformat(): day, (eve := day - timedelta(days=1)).isoformat(): eve}
        self._seen: set[date] = set()

    def moment(self, text: str, row: int) -> datetime:
        """Return the moment, Beijing time, of a row. Raises BadBill when it is not of the day or the day before."""
        of = self._texts.get(text[:10])
        if of is None:
            raise BadBill("other_day", f"line {row} is of {text[:10]!r}, the bill is asked of {self._day}")
        self._seen.add(of)
        try:
            if len(text) != 19:
                raise ValueError
            return datetime.fromisoformat(text).replace(tzinfo=BEIJING)
        except ValueError:
            raise BadBill("damaged", f"line {row} has the time {text[:40]!r}") from None

    def check(self) -> None:
        """Raise BadBill when there were rows, and none of the day."""
        if self._seen and self._day not in self._seen:
            raise BadBill("other_day", f"no row is of {self._day}, all are of the day before")


def _places(header: str, wanted: Sequence[str]) -> tuple[list[int], int]:
    """Return where the wanted columns stand and how many columns there are."""
    names = [name.strip().replace("（", "(").replace("）", ")") for name in header.split(",")]
    missing = [name for name in wanted if names.count(name) != 1]
    if missing:
        raise BadBill("not_a_bill", f"these columns are missing or stand twice: {', '.join(missing)}")
    return [names.index(name) for name in wanted], len(names)


def _values(line: str, width: int, number: int) -> list[str]:
    """Return the values of a row. A comma inside a value does no harm: values are parted by comma and backtick."""
    values = line[1:].split(",`") if line.startswith("`") else []
    if len(values) != width:
        raise BadBill("damaged", f"line {number} has {len(values)} values for {width} columns")
    return values


def _units(text: str, row: int) -> int:
    """Return yuan as hundred-thousandths."""
    units = _parsed(text)
    if units is None:
        raise BadBill("damaged", f"line {row} has the amount {text[:40]!r}")
    return units


@lru_cache(maxsize=4096)
def _parsed(text: str) -> int | None:
    """Return the same, or None. Kept for a while: most amounts of a bill are 0.00, prices repeat."""
    match = _YUAN.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals = match.groups()
    units = int(whole + decimals.ljust(5, "0"))
    return -units if sign else units


def _fen(text: str, row: int) -> int:
    fen, rest = divmod(_units(text, row), _PER_FEN)
    if rest:
        raise BadBill("damaged", f"line {row} has the amount {text[:40]!r}, which is not in whole fen")
    return fen


def _to_fen(units: int) -> int:
    """Return a fee in fen, halves away from zero: the bill shows five decimals, what is taken is whole fen."""
    fen = (abs(units) + _PER_FEN // 2) // _PER_FEN
    return fen if units >= 0 else -fen


def _number(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise BadBill("damaged", f"the totals count {text[:40]!r}")
    return int(text)


def _agree(name: str, stated: int, counted: int) -> None:
    if stated != counted:
        raise BadBill("totals_differ", f"{name}: the totals say {stated}, the rows make {counted}")


def _status(state: str, refund_status: str) -> str:
    match state:
        case "SUCCESS":
            return "success"
        case "REFUND":
            return REFUND_STATUS.get(refund_status, "unknown")
        case "REVOKED":
            return "reversed"
        case _:
            return "unknown"  # the row counts, its meaning is for a person


def _exhaust(lines: Iterator[object]) -> None:
    deque(lines, maxlen=0)
