"""Days, bills and pay-outs: what the bill says, when it exists, and how it can be wrong."""

import gzip
import hashlib
import json
import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.sandbox_client import Merchant, Reply, Sandbox, eventually, exchange, new_number

TIME_SCALE = 0.0005
Table = list[dict[str, str]]


def fetch(merchant: Merchant, target: str) -> bytes:
    """Ask for a bill, download it, check its hash, return its plain bytes."""
    meta = merchant.call("GET", target)
    assert meta.status == 200, meta.body
    plain = download(merchant, meta).body
    if "tar_type=GZIP" in target:
        plain = gzip.decompress(plain)
    assert meta.json["hash_type"] == "SHA1"
    assert hashlib.sha1(plain).hexdigest() == meta.json["hash_value"]
    return plain


def download(merchant: Merchant, meta: Reply) -> Reply:
    reply = merchant.send("GET", meta.json["download_url"].removeprefix(merchant.base_url))
    assert not [name for name in reply.headers if name.startswith("Wechatpay-")]
    return reply


def read_bill(plain: bytes) -> tuple[Table, dict[str, str]]:
    """Return the rows and the summary of a bill."""
    lines = plain.decode().split("\r\n")
    assert lines.pop() == ""
    header, *rows, summary_header, summary = [line.split(",") for line in lines]
    values = [[cell.removeprefix("`") for cell in row] for row in (*rows, summary)]
    assert all(cell.startswith("`") for row in (*rows, summary) for cell in row)
    assert not any("`" in cell for cell in (*header, *summary_header))
    table = [dict(zip(header, row, strict=True)) for row in values[:-1]]
    return table, dict(zip(summary_header, values[-1], strict=True))


def trade_bill(merchant: Merchant, day: str, bill_type: str = "ALL") -> tuple[Table, dict[str, str]]:
    return read_bill(fetch(merchant, f"/v3/bill/tradebill?bill_date={day}&bill_type={bill_type}"))


def next_day(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


class Day:
    """A merchant's day with one payment of 10.00, one of 2.50, and a refund of 4.00 on the first."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.merchant = sandbox, sandbox.merchant()
        self.big, self.small, self.refund = new_number(), new_number(), new_number("r")
        self.merchant.create(self.big, 1000, description="苹果,梨\n和茶", attach="a,b")
        sandbox.pay(self.merchant, self.big)
        self.small_order = self.merchant.code_order(self.small, 0, 250)
        self.merchant.codepay(self.small_order)
        self.merchant.refund(self.big, self.refund, 400, 1000)
        eventually(lambda: self.merchant.refund_query(self.refund).json["status"] == "SUCCESS")
        self.date = str(sandbox.trade(self.merchant, self.big)["bill_date"])

    def close(self) -> Any:
        return self.sandbox.close_day(self.merchant, self.date)

    def fault(self, name: str, **order: Any) -> Any:
        return self.sandbox.order_fault(name, **{"mchid": self.merchant.mchid, **order})


@pytest.fixture
def day(sandbox: Sandbox) -> Day:
    return Day(sandbox)


def test_the_full_bill_lists_payments_and_refunds_in_its_27_columns(day: Day) -> None:
    day.close()
    rows, summary = trade_bill(day.merchant, day.date)
    big, small, refund = rows
    assert len(big) == 27
    assert big["商户订单号"] == day.big
    assert (big["交易状态"], big["应结订单金额"], big["订单金额"]) == ("SUCCESS", "10.00", "10.00")
    assert (big["微信退款单号"], big["商户退款单号"], big["退款金额"]) == ("0", "0", "0.00")
    assert (big["手续费"], big["费率"], big["特约商户号"]) == ("0.06000", "0.60%", "0")
    assert (big["商品名称"], big["商户数据包"]) == ("苹果\\ 梨\\n和茶", "a\\ b")
    assert big["微信订单号"] == day.merchant.query(day.big).json["transaction_id"]
    assert big["交易时间"].startswith(day.date)
    assert (small["商户订单号"], small["交易类型"], small["手续费"]) == (day.small, "MICROPAY", "0.02000")
    assert (refund["商户订单号"], refund["商户退款单号"]) == (day.big, day.refund)
    assert (refund["交易状态"], refund["退款类型"], refund["退款状态"]) == ("REFUND", "ORIGINAL", "SUCCESS")
    assert (refund["应结订单金额"], refund["退款金额"], refund["申请退款金额"]) == ("0.00", "4.00", "4.00")
    assert refund["手续费"] == "-0.02000"
    assert summary == {
        "总交易单数": "3",
        "应结订单总金额": "12.50",
        "退款总金额": "4.00",
        "充值券退款总金额": "0.00",
        "手续费总金额": "0.06000",
        "订单总金额": "12.50",
        "申请退款总金额": "4.00",
    }


def test_the_partial_bills_leave_out_what_is_not_theirs(day: Day) -> None:
    day.close()
    paid, _ = trade_bill(day.merchant, day.date, "SUCCESS")
    assert [row["商户订单号"] for row in paid] == [day.big, day.small]
    assert len(paid[0]) == 20
    refunded, _ = trade_bill(day.merchant, day.date, "REFUND")
    assert [row["商户退款单号"] for row in refunded] == [day.refund]
    assert refunded[0]["退款成功时间"].startswith(day.date)


def test_a_reversed_payment_is_a_payment_and_a_revoked_row(sandbox: Sandbox, merchant: Merchant) -> None:
    order = merchant.code_order(new_number(), 0, 700)
    merchant.codepay(order)
    merchant.reverse(order["out_trade_no"])
    today = sandbox.trade(merchant, order["out_trade_no"])["bill_date"]
    assert sandbox.close_day(merchant, today)["net"] == 0
    rows, _ = trade_bill(merchant, today)
    assert [(row["交易状态"], row["应结订单金额"], row["退款金额"], row["手续费"]) for row in rows] == [
        ("SUCCESS", "7.00", "0.00", "0.04000"),
        ("REVOKED", "0.00", "7.00", "-0.04000"),
    ]


def test_gzip_is_hashed_uncompressed(day: Day) -> None:
    day.close()
    target = f"/v3/bill/tradebill?bill_date={day.date}"
    assert fetch(day.merchant, f"{target}&tar_type=GZIP") == fetch(day.merchant, target)


def test_the_fund_flow_bill_adds_up_to_the_balance(day: Day) -> None:
    net = day.close()["net"]
    assert net == 1000 - 6 + 250 - 2 - 400 + 2
    rows, summary = read_bill(fetch(day.merchant, f"/v3/bill/fundflowbill?bill_date={day.date}"))
    assert [(row["业务类型"], row["收支类型"], row["收支金额(元)"], row["账户结余(元)"]) for row in rows] == [
        ("交易", "收入", "10.00", "10.00"),
        ("扣除交易手续费", "支出", "0.06", "9.94"),
        ("交易", "收入", "2.50", "12.44"),
        ("扣除交易手续费", "支出", "0.02", "12.42"),
        ("退款", "支出", "4.00", "8.42"),
        ("退还交易手续费", "收入", "0.02", "8.44"),
    ]
    assert list(summary.values()) == ["6", "3", "12.52", "3", "4.08"]


def test_a_bill_exists_from_the_days_end_and_only_if_something_happened(sandbox: Sandbox, day: Day) -> None:
    def code(day_text: str, kind: str = "tradebill") -> str:
        return day.merchant.call("GET", f"/v3/bill/{kind}?bill_date={day_text}").code

    assert code(day.date) == "STATEMENT_CREATING"
    assert code(day.date, "fundflowbill") == "STATEMENT_CREATING"
    day.close()
    sandbox.close_day(day.merchant, next_day(day.date))
    assert code(next_day(day.date)) == "NO_STATEMENT_EXIST"
    yesterday = (date.fromisoformat(day.date) - timedelta(days=1)).isoformat()
    assert code(yesterday) == "NO_STATEMENT_EXIST"
    for wrong in ("2020-01-01", "2099-01-01", "20240101", "2024-13-01"):
        assert code(wrong) == "INVALID_REQUEST"
    for wrong in ("bill_type=ODD", "tar_type=ZIP"):
        assert code(f"{day.date}&{wrong}") == "PARAM_ERROR"
    assert code(f"{day.date}&account_type=FEES", "fundflowbill") == "NO_STATEMENT_EXIST"


def test_a_bill_is_for_its_own_merchant_only(sandbox: Sandbox, day: Day) -> None:
    day.close()
    meta = day.merchant.call("GET", f"/v3/bill/tradebill?bill_date={day.date}")
    stolen = download(sandbox.merchant(), meta)
    assert (stolen.status, stolen.code) == (403, "NO_AUTH")
    unsigned = exchange(
        day.merchant.base_url, "GET", meta.json["download_url"], {"User-Agent": "x", "Accept": "*/*"}, b""
    )
    assert unsigned.status == 401
    unknown = day.merchant.send("GET", "/v3/billdownload/file?token=guess")
    assert (unknown.status, unknown.code) == (404, "RESOURCE_NOT_EXISTS")


def test_what_happens_after_the_day_was_closed_is_in_the_next_days_bill(sandbox: Sandbox, day: Day) -> None:
    day.close()
    late = new_number()
    day.merchant.create(late, 500)
    sandbox.pay(day.merchant, late)
    rows, _ = trade_bill(day.merchant, day.date)
    assert late not in [row["商户订单号"] for row in rows]
    sandbox.close_day(day.merchant, next_day(day.date))
    rows, _ = trade_bill(day.merchant, next_day(day.date))
    assert [row["商户订单号"] for row in rows] == [late]


def test_midnight_in_beijing_closes_the_day_by_itself(own_sandbox: Sandbox) -> None:
    merchant, out_trade_no = own_sandbox.merchant(), new_number()
    merchant.create(out_trade_no, 1000)
    own_sandbox.pay(merchant, out_trade_no)
    today = own_sandbox.trade(merchant, out_trade_no)["bill_date"]
    yesterday = (date.fromisoformat(today) - timedelta(days=1)).isoformat()
    before = (date.fromisoformat(today) - timedelta(days=2)).isoformat()
    own_sandbox.kill()
    with sqlite3.connect(own_sandbox.home / "sandbox" / "sandbox.db") as books:  # the night passes
        books.execute("UPDATE acquirer_trade SET bill_date = ?, paid_ms = paid_ms - 86400000", (yesterday,))
        books.execute("UPDATE acquirer_flow SET bill_date = ?", (yesterday,))
        books.execute("UPDATE acquirer_merchant SET closed_through = ?", (before,))
    own_sandbox.start()
    merchant.base_url = own_sandbox.base_url
    target = f"/v3/bill/tradebill?bill_date={yesterday}"
    eventually(lambda: merchant.call("GET", target).status == 200)
    assert [row["商户订单号"] for row in trade_bill(merchant, yesterday)[0]] == [out_trade_no]


def test_a_day_far_ahead_cannot_be_closed(sandbox: Sandbox, day: Day) -> None:
    body = {"mchid": day.merchant.mchid, "date": "2099-01-01"}
    assert sandbox.control("POST", "/wechat/close-day", body, 409)["code"] == "not_closable"


# --- paying out to the bank ----------------------------------------------------------------------------------------


def open_account(sandbox: Sandbox) -> tuple[str, str]:
    """Return a new pool account at the sandbox bank, and its owner's token."""
    customer = sandbox.control("POST", "/bank/customers", {"name": "Fruit Shop"})
    token = Path(customer["token_file"]).read_text()
    wanted = {"reference": new_number(), "name": "Fruit Shop", "currency": "CNY", "kind": "pool"}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    reply = exchange(sandbox.base_url, "POST", "/bank/accounts", headers, json.dumps(wanted).encode())
    assert reply.status == 201, reply.body
    return str(reply.json["account"]), token


def balance(sandbox: Sandbox, account: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return int(exchange(sandbox.base_url, "GET", f"/bank/accounts/{account}", headers, b"").json["balance_minor"])


def test_a_days_net_reaches_the_bank_account_once_on_the_next_bank_date(sandbox: Sandbox) -> None:
    account, token = open_account(sandbox)
    merchant, out_trade_no = sandbox.merchant(settle_to=account, fee_bp=100), new_number()
    merchant.create(out_trade_no, 10_000)
    sandbox.pay(merchant, out_trade_no)
    today = sandbox.trade(merchant, out_trade_no)["bill_date"]
    closed = sandbox.close_day(merchant, today)
    assert sandbox.close_day(merchant, today) == closed
    assert (closed["net"], closed["settle_to"]) == (9_900, account)
    assert closed["end_to_end_id"] == f"WX{merchant.mchid}{today.replace('-', '')}"
    sandbox.control("POST", "/bank/close-day", {"date": today})
    assert closed["booking_date"] == next_day(today)
    assert balance(sandbox, account, token) == 9_900
    merchant.refund(out_trade_no, new_number("r"), 10_000, 10_000)  # nothing but a refund on the next day
    again = sandbox.close_day(merchant, next_day(today))
    assert again["net"] == -9_900
    sandbox.control("POST", "/bank/close-day", {"date": next_day(today)})
    assert balance(sandbox, account, token) == 0
    rows, _ = read_bill(fetch(merchant, f"/v3/bill/fundflowbill?bill_date={next_day(today)}"))
    assert (rows[0]["业务类型"], rows[0]["收支金额(元)"]) == ("提现", "99.00")


@pytest.mark.parametrize(
    ("fault", "params", "arrives"), [("deposit_missing", {}, 0), ("deposit_short", {"by_minor": 7}, 9_933)]
)
def test_the_bank_may_lose_a_deposit_or_part_of_it(
    sandbox: Sandbox, fault: str, params: dict[str, int], arrives: int
) -> None:
    account, token = open_account(sandbox)
    merchant, order = sandbox.merchant(settle_to=account), new_number()
    merchant.create(order, 10_000)
    sandbox.pay(merchant, order)
    today = sandbox.trade(merchant, order)["bill_date"]
    sandbox.order_fault(fault, rail="bank", mchid=merchant.mchid, date=today, params=params)
    closed = sandbox.close_day(merchant, today)
    assert closed["net"] == 9_940
    bank_date = date.fromisoformat(closed["booking_date"]) - timedelta(days=1)
    sandbox.control("POST", "/bank/close-day", {"date": bank_date.isoformat()})
    assert balance(sandbox, account, token) == arrives


def test_a_settlement_account_must_exist_at_the_bank(sandbox: Sandbox, merchant: Merchant) -> None:
    sandbox.control("POST", "/wechat/merchants", {"settle_to": "0000"}, 404)
    account, _ = open_account(sandbox)
    changed = sandbox.control("PATCH", f"/wechat/merchants/{merchant.mchid}", {"settle_to": account})
    assert changed["settle_to"] == account


# --- faults: they change the bill, never the money -----------------------------------------------------------------


def numbers(rows: Table) -> list[str]:
    """Return what each row is about: the refund's number, or the order's."""
    return [row["商户退款单号"] if row["商户退款单号"] != "0" else row["商户订单号"] for row in rows]


@pytest.mark.parametrize("before", [True, False], ids=["ordered before", "ordered after the day's end"])
def test_a_missing_row_is_missing_each_time_and_leaves_the_money_alone(day: Day, before: bool) -> None:
    if not before:
        day.close()
    fault = day.fault("bill_row_missing", out_trade_no=day.small)
    net = day.close()["net"]
    for _ in range(2):
        rows, summary = trade_bill(day.merchant, day.date)
        assert numbers(rows) == [day.big, day.refund]
        assert summary["总交易单数"] == "2"
    assert net == 844
    assert day.sandbox.trade(day.merchant, day.small)["charged_count"] == 1
    assert fired(day, fault) == 1
    day.sandbox.control("DELETE", f"/faults/{fault['fault_id']}")
    assert len(trade_bill(day.merchant, day.date)[0]) == 3


def fired(day: Day, fault: Any) -> int:
    listed = day.sandbox.control("GET", "/faults")["faults"]
    return next(int(order["fired"]) for order in listed if order["fault_id"] == fault["fault_id"])


def test_an_altered_row_has_another_amount(day: Day) -> None:
    day.fault("bill_row_altered", out_trade_no=day.big, params={"delta_minor": -1})
    day.fault("bill_row_altered", out_refund_no=day.refund, params={"delta_minor": 5})
    day.close()
    big, small, refund = trade_bill(day.merchant, day.date)[0]
    assert (big["应结订单金额"], big["订单金额"], small["订单金额"]) == ("9.99", "9.99", "2.50")
    assert (refund["退款金额"], refund["申请退款金额"]) == ("4.05", "4.05")


def test_a_doubled_row_is_there_twice(day: Day) -> None:
    day.fault("bill_row_doubled", out_refund_no=day.refund)
    day.close()
    assert numbers(trade_bill(day.merchant, day.date)[0]) == [day.big, day.small, day.refund, day.refund]


def test_a_row_may_have_another_status(day: Day) -> None:
    day.fault("bill_row_status", out_trade_no=day.big)
    day.fault("bill_row_status", out_refund_no=day.refund, params={"status": "CHANGE"})
    day.close()
    big, small, refund = trade_bill(day.merchant, day.date)[0]
    assert (big["交易状态"], small["交易状态"], refund["退款状态"]) == ("REVOKED", "SUCCESS", "CHANGE")


def test_a_late_row_is_in_the_next_days_bill_instead(day: Day) -> None:
    day.fault("bill_row_late", out_trade_no=day.big)
    day.close()
    day.sandbox.close_day(day.merchant, next_day(day.date))
    assert numbers(trade_bill(day.merchant, next_day(day.date))[0]) == [day.big]
    assert numbers(trade_bill(day.merchant, day.date)[0]) == [day.small, day.refund]


def test_an_extra_row_is_about_an_order_nobody_made(day: Day) -> None:
    fault = day.fault("bill_row_extra", date=day.date, params={"total_minor": 777})
    day.close()
    rows, _ = trade_bill(day.merchant, day.date)
    strange = [row for row in rows if row["商户订单号"] == fault["params"]["order"]]
    assert [row["订单金额"] for row in strange] == ["7.77"]
    assert len(rows) == 4
    assert day.merchant.query(fault["params"]["order"]).code == "ORDER_NOT_EXIST"
    assert numbers(trade_bill(day.merchant, day.date)[0]) == numbers(rows)


def test_a_truncated_bill_ends_too_early_and_its_hash_does_not_tell(day: Day) -> None:
    day.fault("bill_truncated", date=day.date)
    day.close()
    assert fetch(day.merchant, f"/v3/bill/fundflowbill?bill_date={day.date}").endswith(b"\r\n"), "not what is ordered"
    plain = fetch(day.merchant, f"/v3/bill/tradebill?bill_date={day.date}")
    assert "总交易单数" not in plain.decode(errors="ignore")


def test_a_bill_of_the_wrong_day_is_about_yesterday(day: Day) -> None:
    day.fault("bill_wrong_day", date=day.date)
    day.close()
    yesterday = (date.fromisoformat(day.date) - timedelta(days=1)).isoformat()
    rows, _ = trade_bill(day.merchant, day.date)
    assert {row["交易时间"][:10] for row in rows} == {yesterday}


@pytest.mark.parametrize("bill", ["tradebill", "fundflowbill"])
def test_a_bad_hash_does_not_fit_the_file(day: Day, bill: str) -> None:
    day.fault("bill_bad_hash", date=day.date, bill=bill)
    day.close()
    for kind in ("tradebill", "fundflowbill"):
        meta = day.merchant.call("GET", f"/v3/bill/{kind}?bill_date={day.date}")
        fits = hashlib.sha1(download(day.merchant, meta).body).hexdigest() == meta.json["hash_value"]
        assert fits is (kind != bill)
