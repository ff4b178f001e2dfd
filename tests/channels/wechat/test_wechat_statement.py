"""Bills: what is read from a good one, and that a damaged one is refused as a whole."""

import gzip
import hashlib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels import BadBill, BillFile, BillLine, FundLine, Kind
from channels.wechat import adapter, statement
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.wechat.wechat_rail import GOLDEN, MCHID, NOW, Rail, channel

WECHAT, RAIL = channel(), Rail()
DAY = date(2026, 11, 23)
HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


@dataclass(frozen=True)
class Row:
    """One transaction of a bill, written as the documents describe it."""

    number: int
    fen: int = 1234
    state: str = "SUCCESS"
    fee: str = "0.07000"
    status: str = ""
    at: str = "2026-11-23 10:00:00"
    merchant: str = MCHID
    product: str = "茶叶"
    refund: str = "1-refund{number}"
    coupon: int = 0  # 免充值: of `fen`, what is not paid out, or not taken from the merchant

    def values(self) -> list[str]:
        yuan, gives_back = str(Decimal(self.fen) / 100), self.state != "SUCCESS"
        paid, back = ("0.00", f"{Decimal(yuan):.2f}") if gives_back else (f"{Decimal(yuan):.2f}", "0.00")
        refund_ref = f"5030{self.number:024d}" if gives_back else "0"
        refund = self.refund.format(number=self.number) if gives_back else "0"
        payment = [self.at, "wx1", self.merchant, "0", "", f"4200{self.number:024d}", f"1-pay{self.number}", "oUser"]
        paid_out = f"{Decimal(self.fen - self.coupon) / 100:.2f}"
        settled, taken = ("0.00", paid_out) if gives_back else (paid_out, "0.00")
        money = [settled, "0.00", refund_ref, refund, taken, "0.00", "ORIGINAL" if gives_back else "", self.status]
        tail = [self.product, "", self.fee, "0.60%", paid, back, ""]
        return [*payment, "NATIVE", self.state, "OTHERS", "CNY", *money, *tail]


def bill(rows: Sequence[Row], *, end: str = "\r\n", header: str = HEADER, totals: Sequence[str] | None = None) -> bytes:
    """Return a trade bill of these rows, with the totals they make."""
    values = [row.values() for row in rows]

    def total(column: int) -> Decimal:
        return sum((Decimal(row[column]) for row in values), Decimal(0))

    made = [str(len(rows)), *(f"{total(c):.2f}" for c in (12, 16, 17)), f"{total(22):.5f}"]
    made += [f"{total(c):.2f}" for c in (24, 25)]
    lines = [header, *("`" + ",`".join(row) for row in values), TOTALS, "`" + ",`".join(totals or made)]
    return "".join(line + end for line in lines).encode()


def read(content: bytes, day: date = DAY) -> list[BillLine]:
    return list(WECHAT.bill_lines(content, day))


def refusal(content: bytes, day: date = DAY) -> str:
    with pytest.raises(BadBill) as refused:
        WECHAT.bill_lines(content, day)  # refused when asked for, before any line
    return refused.value.code


ROWS = [
    Row(1),
    Row(2, fen=50, fee="0.00000"),
    Row(1, fen=234, state="REFUND", status="SUCCESS", fee="-0.01000", at="2026-11-23 12:00:01"),
    Row(3, fen=100, state="REFUND", status="PROCESSING", fee="0.00000", at="2026-11-23 23:59:59"),
]
GOOD = bill(ROWS)


def test_what_coupons_of_the_merchants_bear_is_the_order_less_what_is_settled() -> None:
    """应结订单金额 9.00 of 订单金额 10.00, 退款金额 3.60 of 申请退款金额 4.00; a reversal gives all of it back."""
    rows = [
        Row(1, fen=1000, coupon=100, fee="0.05000"),
        Row(1, fen=400, coupon=40, state="REFUND", status="SUCCESS", fee="-0.02000", at="2026-11-23 12:00:01"),
        Row(2, fen=1000, coupon=100, fee="0.05000"),
        Row(2, fen=1000, coupon=100, state="REVOKED", status="SUCCESS", fee="-0.05000", refund="0"),
        Row(3, fen=1000),
    ]
    lines = read(bill(rows))
    assert [(line.amount.minor, line.coupon_minor, line.fee.minor) for line in lines] == [
        (1000, 100, 5),
        (400, -40, -2),
        (1000, 100, 5),
        (1000, -100, -5),
        (1000, 0, 7),
    ]


@pytest.mark.parametrize("coupon", [-1, 1001])
def test_a_bill_that_settles_more_than_was_ordered_or_less_than_nothing_is_damaged(coupon: int) -> None:
    assert refusal(bill([Row(1, fen=1000, coupon=coupon)])) == "damaged"
    assert refusal(bill([Row(1, fen=1000, coupon=coupon, state="REFUND", status="SUCCESS")])) == "damaged"


# ---- good bills ------------------------------------------------------------------------------------------------------


def test_a_bill_is_read_by_the_names_of_its_columns() -> None:
    lines = read(GOOD)
    assert lines[0] == BillLine(
        kind=Kind.PAYMENT,
        reference="1-pay1",
        payment_reference="1-pay1",
        channel_ref="4200000000000000000000000001",
        amount=Money(1234, "CNY"),
        fee=Money(7, "CNY"),
        status="success",
        happened_at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC),
        row=2,
    )
    assert lines[2] == BillLine(
        kind=Kind.REFUND,
        reference="1-refund1",
        payment_reference="1-pay1",
        channel_ref="5030000000000000000000000001",
        amount=Money(234, "CNY"),
        fee=Money(-1, "CNY"),
        status="success",
        happened_at=datetime(2026, 11, 23, 4, 0, 1, tzinfo=UTC),
        row=4,
    )
    assert [(line.kind, line.status) for line in lines] == [
        (Kind.PAYMENT, "success"),
        (Kind.PAYMENT, "success"),
        (Kind.REFUND, "success"),
        (Kind.REFUND, "processing"),
    ]


def shuffled(content: bytes, extra: str | None = None) -> bytes:
    """Return the bill with its columns in reverse order, and maybe one more."""
    lines = content.decode().split("\r\n")

    def turn(line: str) -> str:
        if line.startswith("`"):
            return "`" + ",`".join([*reversed(line[1:].split(",`")), *([extra] if extra is not None else [])])
        return ",".join([*reversed(line.split(",")), *(["新列"] if extra is not None else [])])

    return "\r\n".join(turn(line) if line else line for line in lines).encode()


SAME: dict[str, bytes] = {
    "LF": bill(ROWS, end="\n"),
    "a mark at the start": b"\xef\xbb\xbf" + GOOD,
    "no end of line at the end": GOOD.removesuffix(b"\r\n"),
    "empty lines at the end": GOOD + b"\r\n\r\n",
    "columns in another order": shuffled(GOOD),
    "one more column": shuffled(GOOD, "something new"),
    "a comma in a product": bill([Row(1, product="a,b\\,c"), *ROWS[1:]]),
    "escapes in a product": bill([Row(1, product="a\\ b\\nc"), *ROWS[1:]]),
    "a backtick in a product": bill([Row(1, product="a`b"), *ROWS[1:]]),
}


@pytest.mark.parametrize("how", SAME)
def test_the_same_bill_written_another_way_reads_the_same(how: str) -> None:
    assert read(SAME[how]) == read(GOOD)


def test_a_day_without_business_has_no_lines() -> None:
    assert read(bill([])) == []


@pytest.mark.parametrize(
    ("state", "status", "kind", "meaning"),
    [
        ("REFUND", "SUCCESS", Kind.REFUND, "success"),
        ("REFUND", "PROCESSING", Kind.REFUND, "processing"),
        ("REFUND", "FAIL", Kind.REFUND, "failed"),
        ("REFUND", "CHANGE", Kind.REFUND, "failed"),
        ("REFUND", "SOMETHING_NEW", Kind.REFUND, "unknown"),
        ("REVOKED", "SUCCESS", Kind.REFUND, "reversed"),
        ("SOMETHING_NEW", "", Kind.REFUND, "unknown"),
    ],
)
def test_each_state_has_a_meaning_and_new_ones_are_unknown(state: str, status: str, kind: Kind, meaning: str) -> None:
    (line,) = read(bill([Row(1, state=state, status=status)]))
    assert (line.kind, line.status) == (kind, meaning)


def test_a_reversal_goes_by_the_payments_number() -> None:
    (line,) = read(bill([Row(1, state="REVOKED", status="SUCCESS", refund="0")]))
    assert (line.reference, line.payment_reference, line.channel_ref) == ("1-pay1", "1-pay1", f"5030{1:024d}")


@pytest.mark.parametrize(("fee", "fen"), [("0.00500", 1), ("0.00499", 0), ("-0.00500", -1), ("1.2", None), ("0.06", 6)])
def test_fees_are_rounded_to_fen_as_they_are_charged(fee: str, fen: int | None) -> None:
    content = bill([Row(1, fee=fee)])
    if fen is None:
        assert refusal(content) == "damaged"
    else:
        assert read(content)[0].fee.minor == fen


def test_a_row_of_the_last_second_that_came_a_day_late_keeps_its_own_time() -> None:
    lines = read(bill([Row(1, at="2026-11-22 23:59:59"), Row(2)]))
    assert lines[0].happened_at == datetime(2026, 11, 22, 15, 59, 59, tzinfo=UTC)


amounts = st.integers(1, 10**11)
rows = st.builds(
    Row,
    number=st.integers(0, 10**9),
    fen=amounts,
    state=st.sampled_from(["SUCCESS", "REFUND"]),
    status=st.sampled_from(["SUCCESS", "PROCESSING"]),
    fee=st.integers(-(10**6), 10**6).map(lambda units: f"{Decimal(units) / 100_000:.5f}"),
    at=st.integers(0, 86399).map(lambda s: f"2026-11-23 {s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}"),
    product=st.text(st.characters(exclude_characters="\r\n`", exclude_categories=["Cs"]), max_size=20),
)


@given(st.lists(rows, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_every_row_comes_out_once_and_in_order(some: list[Row], end: str) -> None:
    lines = read(bill(some, end=end))
    assert [(line.payment_reference, line.amount.minor, line.kind) for line in lines] == [
        (f"1-pay{row.number}", row.fen, Kind.PAYMENT if row.state == "SUCCESS" else Kind.REFUND) for row in some
    ]


# ---- damaged bills ---------------------------------------------------------------------------------------------------


def replaced(old: str, new: str) -> bytes:
    assert old in GOOD.decode()
    return GOOD.decode().replace(old, new, 1).encode()


def without_line(number: int) -> bytes:
    lines = GOOD.split(b"\r\n")
    return b"\r\n".join(lines[: number - 1] + lines[number:])


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not_a_bill"),
    "an error in place of a file": (b'{"code":"NO_AUTH","message":""}', "not_a_bill"),
    "no header": (without_line(1), "not_a_bill"),
    "a row lost": (without_line(3), "totals_differ"),
    "no totals": (b"\r\n".join(GOOD.split(b"\r\n")[:5]) + b"\r\n", "truncated"),
    "the names of the totals alone": (b"\r\n".join(GOOD.split(b"\r\n")[:6]) + b"\r\n", "truncated"),
    "totals twice": (GOOD + b"\r\n".join(GOOD.split(b"\r\n")[5:]), "damaged"),
    "the bill twice": (GOOD + GOOD, "damaged"),
    "a row after the totals": (GOOD + GOOD.split(b"\r\n")[1], "damaged"),
    "a row twice": (replaced("\r\n`", "\r\n" + GOOD.decode().split("\r\n")[1] + "\r\n`"), "totals_differ"),
    "an empty line inside": (replaced("\r\n`", "\r\n\r\n`"), "not_a_bill"),
    "a column without a name": (replaced("手续费,费率", "费率"), "not_a_bill"),
    "a column twice": (replaced("手续费,费率", "手续费,手续费"), "not_a_bill"),
    "a value too many": (replaced("`SUCCESS", "`SUCCESS,`"), "damaged"),
    "a value too few": (replaced(",`OTHERS", ""), "damaged"),
    "an amount altered": (replaced("`12.34", "`12.35"), "totals_differ"),
    "a total altered": (replaced("`12.84,", "`12.85,"), "totals_differ"),
    "the count altered": (replaced("`4,`", "`5,`"), "totals_differ"),
    "an amount in words": (replaced("`12.34", "`twelve"), "damaged"),
    "an amount in another script": (replaced("`12.34", "`１２.34"), "damaged"),
    "an amount as a formula": (replaced("`12.34", "`1e3"), "damaged"),
    "an amount finer than a fen": (replaced("`12.34,`0.00,`\r\n", "`12.34500,`0.00,`\r\n"), "damaged"),
    "a negative payment": (bill([Row(1, fen=-100)]), "damaged"),
    "an amount of astronomic size": (replaced("`12.34", "`" + "9" * 5000 + ".34"), "damaged"),
    "another merchant": (bill([Row(1), Row(2, merchant="1900000110")]), "other_merchant"),
    "another day": (bill([Row(1, at="2026-11-21 10:00:00"), Row(2)]), "other_day"),
    "the next day": (bill([Row(1, at="2026-11-24 00:00:00"), Row(2)]), "other_day"),
    "all of the day before": (bill([Row(1, at="2026-11-22 10:00:00")]), "other_day"),
    "a time that is none": (bill([Row(1, at="2026-11-23 25:00:00")]), "damaged"),
    "a time with a zone": (bill([Row(1, at="2026-11-23 10:00:00+00:00")]), "damaged"),
    "a currency that is none": (replaced("`CNY", "`元"), "damaged"),
    "no number of ours": (replaced("`1-pay1,", "`,"), "damaged"),
    "GBK": (GOOD.decode().encode("gbk"), "not_utf8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not_utf8"),
    "a mark in the middle": (replaced("\r\n`", "\r\n\ufeff`"), "not_a_bill"),
    "not unpacked": (gzip.compress(GOOD), "not_utf8"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_bill_is_refused_as_a_whole(how: str) -> None:
    content, code = DAMAGED[how]
    assert refusal(content) == code


@given(st.integers(0, len(GOOD) - len("\r\n") - 1))
def test_a_bill_cut_anywhere_is_refused(length: int) -> None:
    refusal(GOOD[:length])


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=1))
@settings(max_examples=400)
def test_a_byte_changed_anywhere_never_changes_the_money(place: int, byte: bytes) -> None:
    """It is refused, or it was in a column nobody adds up."""
    try:
        lines = read(GOOD[:place] + byte + GOOD[place + 1 :])
    except BadBill:
        return
    assert [(line.amount, line.fee) for line in lines] == [(line.amount, line.fee) for line in read(GOOD)]


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused_and_do_no_harm(content: bytes) -> None:
    refusal(content)


def test_a_huge_bill_is_read_without_being_kept() -> None:
    """10,000 transactions; the lines are given out one by one."""
    sample = Row(1).values()
    line = ("`" + ",`".join(sample) + "\r\n").encode()
    totals = "`10000,`123400.00,`0.00,`0.00,`700.00000,`123400.00,`0.00\r\n"
    content = f"{HEADER}\r\n".encode() + line * 10_000 + f"{TOTALS}\r\n{totals}".encode()
    tracemalloc.start()
    lines = WECHAT.bill_lines(content, DAY)
    assert isinstance(lines, Iterator)
    assert sum(line.amount.minor for line in lines) == 12_340_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < len(content) / 2


# ---- fund flow -------------------------------------------------------------------------------------------------------

FUND_HEADER = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)
FUND = "\r\n".join(
    [
        FUND_HEADER,
        "`2026-11-23 10:00:00,`4200001,`1000001,`交易,`交易,`收入,`12.34,`12.34,`system,`,`1-pay1",
        "`2026-11-23 10:00:00,`4200001,`1000002,`扣除交易手续费,`扣除交易手续费,`支出,`0.07,`12.27,`system,`,`1-pay1",
        "`2026-11-23 12:00:00,`5030001,`1000003,`退款,`退款,`支出,`2.34,`9.93,`1900000109,`缺货 退款2.34元,`1-refund1",
        "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额",
        "`3,`1,`12.34,`2,`2.41",
        "",
    ]
)


def test_a_fund_flow_bill_is_read_with_signs() -> None:
    lines = list(WECHAT.fund_lines(FUND.encode(), DAY))
    assert lines[1] == FundLine(
        channel_ref="4200001",
        entry_ref="1000002",
        business_type="扣除交易手续费",
        amount=Money(-7, "CNY"),
        balance=Money(1227, "CNY"),
        happened_at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC),
        row=3,
    )
    assert sum(line.amount.minor for line in lines) == lines[-1].balance.minor == 993


def test_older_fund_flow_bills_with_wide_parentheses_are_read_too() -> None:
    wide = FUND.replace("(元)", "（元）")
    assert list(WECHAT.fund_lines(wide.encode(), DAY)) == list(WECHAT.fund_lines(FUND.encode(), DAY))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("`收入", "`进", "damaged"),
        ("`12.34,`12.34", "`12.33,`12.34", "totals_differ"),
        ("`0.07", "`-0.07", "damaged"),
        ("`0.07", "`0.07100", "damaged"),
        ("`3,`1,`12.34,`2,`2.41", "`4,`1,`12.34,`2,`2.41", "totals_differ"),
        ("`3,`1,`12.34,`2,`2.41", "`3,`2,`12.34,`1,`2.41", "totals_differ"),
        ("`3,`1,`12.34,`2,`2.41", "`3,`1,`12.34,`2,`2.4", "damaged"),
        ("`3,`1,`12.34,`2,`2.41", "`三,`1,`12.34,`2,`2.41", "damaged"),
        ("`2026-11-23 12", "`2026-11-24 12", "other_day"),
        ("收入笔数,", "", "not_a_bill"),
    ],
)
def test_a_damaged_fund_flow_bill_is_refused(old: str, new: str, code: str) -> None:
    with pytest.raises(BadBill) as refused:
        WECHAT.fund_lines(FUND.replace(old, new, 1).encode(), DAY)
    assert refused.value.code == code


# ---- the file --------------------------------------------------------------------------------------------------------


ASKED = Request("GET", "https://api.mch.weixin.qq.com/v3/bill/tradebill?bill_date=2026-11-23")


def meta(**changes: str) -> dict[str, str]:
    return {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(GOOD).hexdigest(),
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=6XIv5TUPto7pByrTQKhd6kwvyKLG2uY2",
    } | changes


def named(sha1: str = hashlib.sha1(GOOD).hexdigest()) -> BillFile:
    return BillFile(ready=True, download=None, sha1=sha1)


def test_a_file_is_found_where_the_verified_answer_says() -> None:
    file = WECHAT.bill_file(ASKED, RAIL.signed(200, meta()), now=NOW)
    assert file.ready
    assert file.download is not None
    assert (file.download.method, file.download.url) == ("GET", meta()["download_url"])
    assert file.sha1 == meta()["hash_value"]


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, {}, RAIL.signed(200, meta()).body),
        Rail("stranger").signed(200, meta()),
        RAIL.signed(200, meta(hash_type="MD5")),
        RAIL.signed(200, meta(hash_value="short")),
        RAIL.signed(200, {"hash_type": "SHA1"}),
        RAIL.signed(200, meta(download_url="https://evil.example/file")),
        RAIL.signed(200, meta(download_url="http://api.mch.weixin.qq.com/file")),
        RAIL.signed(200, meta(download_url="https://api.mch.weixin.qq.com@evil.example/file")),
        RAIL.signed(200, meta(download_url="https://api.mch.weixin.qq.com:444/file")),
        RAIL.signed(200, meta(download_url="https://api.mch.weixin.qq.com/file\r\nX: y")),
        RAIL.signed(200, meta(download_url="file:///etc/passwd")),
        RAIL.signed(200, meta(download_url="https://[::1")),
        Response(403, {}, b'{"code":"NO_AUTH","message":""}'),
        Response(500, {}, b""),
    ],
)
def test_an_answer_in_doubt_names_no_file_and_says_why(answer: Response) -> None:
    file = WECHAT.bill_file(ASKED, answer, now=NOW)
    assert (file.ready, file.download, file.nothing) == (False, None, False)
    assert file.reason


@pytest.mark.parametrize(
    "raw",
    [GOOD, gzip.compress(GOOD), gzip.compress(GOOD[:500]) + gzip.compress(GOOD[500:])],
    ids=["plain", "gzip", "gzip in two parts"],
)
def test_a_file_is_unpacked_and_compared_with_its_hash(raw: bytes) -> None:
    assert WECHAT.bill_content(named(), Response(200, {}, raw)) == GOOD


PACKED = gzip.compress(GOOD)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Response(200, {}, GOOD + b"\n"), "hash_differs"),
        (Response(200, {}, gzip.compress(GOOD[:-1])), "hash_differs"),
        (Response(200, {}, PACKED[:-1]), "truncated"),
        (Response(200, {}, PACKED[:100]), "truncated"),
        (Response(200, {}, PACKED + b"more"), "damaged"),
        (Response(200, {}, PACKED[:50] + b"\xff\xff" + PACKED[52:]), "damaged"),
        (Response(404, {}, GOOD), "not_delivered"),
    ],
)
def test_a_file_that_is_not_the_one_announced_is_refused(answer: Response, code: str) -> None:
    with pytest.raises(BadBill) as refused:
        WECHAT.bill_content(named(), answer)
    assert refused.value.code == code


def test_a_file_that_explodes_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MAX_BILL_BYTES", 1 << 20)
    for bomb in (gzip.compress(bytes(50 << 20)), gzip.compress(bytes(600 << 10)) * 2):
        tracemalloc.start()
        with pytest.raises(BadBill) as refused:
            WECHAT.bill_content(named(), Response(200, {}, bomb))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert refused.value.code == "too_large"
        assert peak_bytes < 4 << 20


# ---- golden ----------------------------------------------------------------------------------------------------------

GOLDEN_BILLS: dict[str, Callable[[bytes], int]] = {
    "bill_trade_payments_refund_reversal.csv": lambda raw: len(read(raw)),
    "bill_fund_flow.csv": lambda raw: len(list(WECHAT.fund_lines(raw, DAY))),
}


@pytest.mark.parametrize("name", GOLDEN_BILLS)
def test_stored_bills_are_read(name: str) -> None:
    raw = (GOLDEN / name).read_bytes()
    assert GOLDEN_BILLS[name](raw) == raw.decode().count("\r\n`") - 1


def test_every_column_that_is_summed_has_its_total() -> None:
    assert len(statement.TRADE_TOTALS) - 1 == len(statement.TRADE_COLUMNS) - statement._SUMMED == 6


def test_the_day_before_is_the_only_other_day_let_through() -> None:
    for days in range(-3, 4):
        at = f"{DAY + timedelta(days=days)} 10:00:00"
        content = bill([Row(1, at=at), Row(2)])
        if days in (-1, 0):
            assert len(read(content)) == 2
        else:
            assert refusal(content) == "other_day"
