"""Alipay's bills: what is read from a good one, and that a damaged one is refused as a whole."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels import BadBill, BillFile, BillLine, FundLine, Kind
from channels.alipay import statement
from kernel.env import Response
from kernel.money import Money
from tests.channels.alipay.alipay_rail import GOLDEN, SELLER_ID, channel

ALIPAY = channel()
DAY = date(2026, 11, 23)
HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
DASHES = "-" * 41


@dataclass(frozen=True)
class Row:
    """One movement of a bill, written as real files show it."""

    number: int
    amount: str = "12.34"
    kind: str = "交易"
    fee: str = "-0.07"
    discount: str = "0.00"
    at: str = "2026-11-23 10:00:00"
    product: str = "茶叶"
    request: str = ""

    def line(self) -> str:
        received = f"{Decimal(self.amount) - Decimal(self.discount):.2f}"
        numbers = [f"20261123220014468800{self.number:08d}\t", f"1_pay{self.number}\t", f"{self.kind}\t"]
        where = ["\t", "\t", "\t", "till-7\t", "**叶(159****5620)\t"]
        money = [self.amount, received, "0.00", "0.00", "0.00", self.discount, "0.00", "", "0.00\t", "0.00"]
        tail = [f"{self.request}\t", self.fee, "0.00", "备注"]
        return ",".join([*numbers, self.product, "2026-11-23 09:59:50", self.at, *where, *money, *tail])


def total(rows: Sequence[Row], kind: str) -> tuple[int, str, str]:
    of = [row for row in rows if row.kind == kind]
    discount = sum((Decimal(row.discount) for row in of), Decimal(0))
    return len(of), f"{sum((Decimal(row.amount) for row in of), Decimal(0)) - discount:.2f}", f"{discount:.2f}"


def chinese(day: date) -> str:
    return f"{day:%Y}年{day:%m}月{day:%d}日"


def head(title: str, section: str, day: date, seller: str) -> list[str]:
    span = f"#起始日期：[{chinese(day)} 00:00:00]   终止日期：[{chinese(day + timedelta(days=1))} 00:00:00]"
    return [title, f"#账号：[{seller}0156]", span, f"#{DASHES}{section}{'-' * 40}"]


def details(
    rows: Sequence[Row], *, day: date = DAY, seller: str = SELLER_ID, header: str = HEADER, end: str = "\r\n"
) -> bytes:
    """Return the text of details with the totals its rows make."""
    paid, back = total(rows, "交易"), total(rows, "退款")
    lines = [*head("#支付宝业务明细查询", "业务明细列表", day, seller), header, *(row.line() for row in rows)]
    lines += [
        f"#{DASHES}业务明细列表结束{'-' * 36}",
        f"#交易合计：{paid[0]}笔，商家实收共{paid[1]}元，商家优惠共{paid[2]}元",
        f"#退款合计：{back[0]}笔，商家实收退款共{back[1]}元，商家优惠退款共{back[2]}元",
        f"#导出时间：[{chinese(day + timedelta(days=1))} 05:46:49]",
    ]
    return "".join(line + end for line in lines).encode("gbk")


def sums(rows: Sequence[Row], **wrong: str) -> bytes:
    """Return the text of sums that goes with it."""
    fees = f"{sum((Decimal(row.fee) for row in rows), Decimal(0)):.2f}"
    ordered = f"{sum((Decimal(row.amount) for row in rows), Decimal(0)):.2f}"
    received = f"{Decimal(total(rows, '交易')[1]) + Decimal(total(rows, '退款')[1]):.2f}"
    found = {
        "trades": str(total(rows, "交易")[0]),
        "refunds": str(total(rows, "退款")[0]),
        "ordered": ordered,
        "received": received,
        "fees": fees,
    } | wrong
    values = f"{found['trades']},{found['refunds']},{found['ordered']},{found['received']},0.00,0.00,{found['fees']}"
    lines = head("#支付宝业务汇总查询", "业务汇总列表", DAY, SELLER_ID)
    lines += [
        "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,服务费（元）",
        f"合计\t,\t,{values}",
        f"#{'-' * 40}业务汇总列表结束{'-' * 37}",
        "#导出时间：[2026年11月24日 05:46:49]",
    ]
    return "".join(line + "\r\n" for line in lines).encode("gbk")


def zipped(*texts: bytes, name: str = "业务明细") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for number, text in enumerate(texts):
            bundle.writestr(f"{SELLER_ID}0156_20261123_{name}{number}.csv", text)
    return packed.getvalue()


def read(content: bytes, day: date = DAY) -> list[BillLine]:
    return list(ALIPAY.bill_lines(content, day))


def refusal(content: bytes, day: date = DAY, of: Callable[[bytes, date], object] = ALIPAY.bill_lines) -> str:
    with pytest.raises(BadBill) as refused:
        of(content, day)  # refused when asked for, before any line
    return refused.value.code


ROWS = [
    Row(1),
    Row(2, amount="0.50", fee="0.00", discount="0.10"),
    Row(1, amount="-2.34", kind="退款", fee="0.01", at="2026-11-23 12:00:01", request="1_refund1"),
    Row(3, amount="-1.00", kind="退款", fee="0.00", at="2026-11-23 23:59:59", request="1_pay3"),
]
GOOD = details(ROWS)

# ---- good bills ------------------------------------------------------------------------------------------------------


def test_a_bill_is_read_by_the_names_of_its_columns() -> None:
    lines = read(GOOD)
    assert lines[0] == BillLine(
        kind=Kind.PAYMENT,
        reference="1-pay1",
        payment_reference="1-pay1",
        channel_ref="2026112322001446880000000001",
        amount=Money(1234, "CNY"),
        fee=Money(7, "CNY"),
        status="success",
        happened_at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC),
        row=6,
    )
    assert lines[2] == BillLine(
        kind=Kind.REFUND,
        reference="1-refund1",
        payment_reference="1-pay1",
        channel_ref="2026112322001446880000000001",
        amount=Money(234, "CNY"),
        fee=Money(-1, "CNY"),
        status="success",
        happened_at=datetime(2026, 11, 23, 4, 0, 1, tzinfo=UTC),
        row=8,
    )


def test_money_given_back_under_the_payments_own_number_was_a_reversal() -> None:
    for request in ("1_pay3", ""):
        (line,) = read(details([replace(ROWS[3], request=request)]))
        assert (line.kind, line.reference, line.status) == (Kind.REFUND, "1-pay3", "reversed")


def test_a_business_we_do_not_know_is_shown_as_such_and_not_counted() -> None:
    odd = Row(9, kind="退分润", amount="-0.10", fee="0.00")
    lines = read(details([*ROWS, odd]))
    assert (lines[-1].kind, lines[-1].status) == (Kind.REFUND, "unknown")
    assert read(details([*ROWS, replace(odd, amount="0.10")]))[-1].kind is Kind.PAYMENT


def shuffled(content: bytes) -> bytes:
    """Return the bill with its columns in reverse order, and one more."""

    def turn(line: str) -> str:
        return line if line.startswith("#") or not line else ",".join([*reversed(line.split(",")), "新"])

    return "\r\n".join(turn(line) for line in content.decode("gbk").split("\r\n")).encode("gbk")


SAME: dict[str, bytes] = {
    "LF": details(ROWS, end="\n"),
    "no end of line at the end": GOOD.removesuffix(b"\r\n"),
    "columns in another order": shuffled(GOOD),
    "without tabs": GOOD.replace(b"\t", b""),
    "blanks for tabs": GOOD.replace(b"\t", b" "),
    "other brackets in the names": details(ROWS, header=HEADER.replace("（", "(").replace("）", ")")),
    "commas in a product": details([replace(ROWS[0], product="a,b,,c"), *ROWS[1:]]),
    "a letter GBK writes in two bytes": details([replace(ROWS[0], product="镕"), *ROWS[1:]]),
    "with its sums": GOOD + sums(ROWS),
    "the sums first": statement.unzipped(zipped(sums(ROWS), GOOD)),
    "sums in a form we do not know": GOOD + "#支付宝业务汇总查询\r\n#账号：新\r\n".encode("gbk"),
}


@pytest.mark.parametrize("how", SAME)
def test_the_same_bill_written_another_way_reads_the_same(how: str) -> None:
    assert read(SAME[how]) == read(GOOD)


def test_a_bill_without_rows_is_a_bill() -> None:
    assert read(details([])) == []
    assert read(details([]) + sums([])) == []


def test_a_row_of_the_day_before_that_came_late_keeps_its_time() -> None:
    lines = read(details([Row(1, at="2026-11-22 23:59:59"), Row(2)]))
    assert lines[0].happened_at == datetime(2026, 11, 22, 15, 59, 59, tzinfo=UTC)


# ---- bad bills -------------------------------------------------------------------------------------------------------

TEXT = GOOD.decode("gbk")
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "a page of HTML": (b"<html></html>\n" * 9, "not_a_bill"),
    "another merchant's": (details(ROWS, seller="2088101568342361"), "other_merchant"),
    "another day's": (details(ROWS, day=DAY - timedelta(days=1)), "other_day"),
    "the next day's": (details(ROWS, day=DAY + timedelta(days=1)), "other_day"),
    "a month's": (TEXT.replace("2026年11月24日 00", "2026年12月01日 00").encode("gbk"), "other_day"),
    "not midnight": (TEXT.replace("23日 00:00:00", "23日 00:00:01").encode("gbk"), "not_a_bill"),
    "no account": (TEXT.replace("#账号", "#帐户").encode("gbk"), "not_a_bill"),
    "UTF-8": (TEXT.encode(), "not_gbk"),
    "not text": (GOOD.replace("茶叶".encode("gbk"), b"\xff\xff", 1), "not_gbk"),
    "a row of another day": (details([Row(1, at="2026-11-21 10:00:00")]), "other_day"),
    "a row of the next day": (details([Row(1, at="2026-11-24 00:00:00")]), "other_day"),
    "no time": (details([Row(1, at="")]), "damaged"),
    "half a fen": (GOOD.replace(b"12.34", b"12.345"), "damaged"),
    "an exponent": (GOOD.replace(b",12.34,12.34,", b",1e1,12.34,", 1), "damaged"),
    "no amount": (GOOD.replace(b",12.34,12.34,", b",,12.34,", 1), "damaged"),
    "no number": (GOOD.replace(b"1_pay1\t", b"\t", 1), "damaged"),
    "a payment of less than nothing": (details([Row(1, amount="-12.34")]), "damaged"),
    "a refund of more than nothing": (details([Row(1, kind="退款", request="1_r")]), "damaged"),
    "a name too few": (TEXT.replace(",备注\r\n20", "\r\n20", 1).encode("gbk"), "damaged"),
    "a value too few": (TEXT.replace("till-7\t,", "", 1).encode("gbk"), "damaged"),
    "a value too many": (TEXT.replace("till-7\t,", "till-7\t,,", 1).encode("gbk"), "damaged"),
    "a column twice": (details(ROWS, header=HEADER.replace("备注", "商户订单号")), "not_a_bill"),
    "no totals": (TEXT.partition("#交易合计")[0].encode("gbk"), "truncated"),
    "no total of refunds": (
        "\r\n".join(line for line in TEXT.split("\r\n") if "退款合计" not in line).encode("gbk"),
        "truncated",
    ),
    "one payment fewer": (TEXT.replace("交易合计：2笔", "交易合计：3笔").encode("gbk"), "totals_differ"),
    "another sum": (TEXT.replace("实收共12.74元", "实收共12.75元").encode("gbk"), "totals_differ"),
    "another sum of refunds": (TEXT.replace("退款共-3.34元", "退款共-3.35元").encode("gbk"), "totals_differ"),
    "another sum of discounts": (TEXT.replace("商家优惠共0.10元", "商家优惠共0.11元").encode("gbk"), "totals_differ"),
    "a row after the totals": (GOOD + Row(7).line().encode("gbk") + b"\r\n", "damaged"),
    "other counts in the sums": (GOOD + sums(ROWS, trades="3"), "totals_differ"),
    "other fees in the sums": (GOOD + sums(ROWS, fees="-0.07"), "totals_differ"),
    "another amount in the sums": (GOOD + sums(ROWS, ordered="9.99"), "totals_differ"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bill_that_is_not_right_is_refused_as_a_whole(what: str) -> None:
    content, code = BAD[what]
    assert refusal(content) == code


def test_a_bill_cut_anywhere_but_behind_its_totals_is_refused() -> None:
    lines = GOOD.split(b"\r\n")
    totals = next(number for number, line in enumerate(lines) if line.startswith("#退款合计".encode("gbk")))
    for end in range(totals):
        refusal(b"\r\n".join(lines[:end]))
    assert read(b"\r\n".join(lines[: totals + 1])) == read(GOOD)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
@settings(max_examples=300)
def test_a_changed_byte_never_changes_an_amount_unseen(place: int, byte: int) -> None:
    content = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    try:
        lines = read(content)
    except BadBill:
        return
    assert [line.amount for line in lines] == [line.amount for line in read(GOOD)]


# ---- the zip ---------------------------------------------------------------------------------------------------------


def unzip(raw: bytes, status: int = 200) -> bytes:
    return ALIPAY.bill_content(BillFile(ready=True), Response(status, {}, raw))


def test_both_texts_of_the_zip_are_kept_details_first() -> None:
    assert unzip(zipped(sums(ROWS), GOOD)) == GOOD + sums(ROWS)
    assert read(unzip(zipped(GOOD, sums(ROWS)))) == read(GOOD)


def code_of(raw: bytes, status: int = 200) -> str:
    with pytest.raises(BadBill) as refused:
        unzip(raw, status)
    return refused.value.code


def test_what_is_no_whole_zip_is_refused() -> None:
    whole = zipped(GOOD, sums(ROWS))
    assert code_of(whole, 404) == "not_delivered"
    for raw in (b"", b"<html>", whole[:-1], whole[: len(whole) // 2], GOOD):
        assert code_of(raw) == "damaged"
    middle = whole.index(b".csv") + 40
    assert code_of(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]) == "damaged"
    assert code_of(zipped(*[b"a"] * (statement.MAX_FILES + 1))) == "damaged"


def test_a_zip_that_unfolds_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "MAX_BYTES", 100_000)
    assert code_of(zipped(b"0" * 100_001)) == "too_large"
    assert code_of(zipped(b"0" * 60_000, b"0" * 60_000)) == "too_large"
    assert len(unzip(zipped(b"0" * 99_999))) == 100_000


# ---- account flow ----------------------------------------------------------------------------------------------------

FUND_HEADER = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,"
    "交易渠道,业务类型,备注"
)
OF_TRADE = "2026112322001446880000000001\t,1_pay1\t"
FUND_ROWS = [
    f"54632446537371\t,{OF_TRADE},茶叶\t,2026-11-23 10:00:00,**叶(159)\t,12.34,0.00,112.34,支付宝,在线支付,",
    f"54632446537372\t,{OF_TRADE},服务费\t,2026-11-23 10:00:00,\t,0.00,-0.07,112.27,支付宝,收费,",
    f"54632446537373\t,{OF_TRADE},茶叶\t,2026-11-23 12:00:01,\t,0.00,2.34,109.93,支付宝,退款,",
]


def flow(rows: Sequence[str] = FUND_ROWS, *, expenses: str = "2笔，共2.41元", incomes: str = "1笔，共12.34元") -> bytes:
    lines = head("#支付宝账务明细查询", "账务明细列表", DAY, SELLER_ID)
    lines += [FUND_HEADER, *rows, f"#{'-' * 40}账务明细列表结束{'-' * 37}"]
    lines += [f"#支出合计：{expenses}", f"#收入合计：{incomes}", "#导出时间：[2026年11月24日 12:51:06]"]
    return "".join(line + "\r\n" for line in lines).encode("gbk")


def test_an_account_flow_is_read_with_the_signs_of_its_columns() -> None:
    lines = list(ALIPAY.fund_lines(flow(), DAY))
    assert lines[1] == FundLine(
        channel_ref="2026112322001446880000000001",
        entry_ref="54632446537372",
        business_type="收费",
        amount=Money(-7, "CNY"),
        balance=Money(11227, "CNY"),
        happened_at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC),
        row=7,
    )
    assert [line.amount.minor for line in lines] == [1234, -7, -234]
    assert list(ALIPAY.fund_lines(flow([], expenses="0笔，共0.00元", incomes="0笔，共0.00元"), DAY)) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (flow(expenses="3笔，共2.41元"), "totals_differ"),
        (flow(expenses="2笔，共2.40元"), "totals_differ"),
        (flow(incomes="1笔，共12.35元"), "totals_differ"),
        (flow().partition("#收入合计".encode("gbk"))[0], "truncated"),
        (flow([FUND_ROWS[0].replace("12.34,0.00", "12.34,0.01")]), "damaged"),
        (flow([FUND_ROWS[0].replace("12.34,0.00", "-12.34,0.00")]), "damaged"),
        (flow([FUND_ROWS[0].replace("2026-11-23", "2026-11-20")]), "other_day"),
        (GOOD, "not_a_bill"),
    ],
)
def test_an_account_flow_that_is_not_right_is_refused_as_a_whole(content: bytes, code: str) -> None:
    assert refusal(content, of=ALIPAY.fund_lines) == code


# ---- golden bytes ----------------------------------------------------------------------------------------------------


def test_the_stored_bill_keeps_its_meaning() -> None:
    content = unzip((GOLDEN / "bill_payments_refund_reversal.zip").read_bytes())
    assert content == GOOD + sums(ROWS)
    lines = read(content)
    assert [(line.kind, line.reference, line.amount.minor, line.fee.minor, line.status) for line in lines] == [
        (Kind.PAYMENT, "1-pay1", 1234, 7, "success"),
        (Kind.PAYMENT, "1-pay2", 50, 0, "success"),
        (Kind.REFUND, "1-refund1", 234, -1, "success"),
        (Kind.REFUND, "1-pay3", 100, 0, "reversed"),
    ]


def test_the_stored_account_flow_keeps_its_meaning() -> None:
    content = unzip((GOLDEN / "bill_account_flow.zip").read_bytes())
    assert content == flow()
    assert sum(line.amount.minor for line in ALIPAY.fund_lines(content, DAY)) == 1234 - 7 - 234
