"""A home from before WeChat Pay was on the shared core: merchants, orders, refunds and notices go on as they stood."""

import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from sandbox import keys
from tests.sandbox.sandbox_client import REPOSITORY, Merchant, Sandbox, eventually, new_number
from tests.sandbox.test_wechat_bills import fetch, read_bill

BEFORE = (Path(__file__).parent / "wechat_store_of_before.sql").read_text()
WRITTEN_MS, WRITTEN = 1796012278344, "2026-11-30"  # when that store was
PAID, BEIJING = "4200000120261130000000000001", timezone(timedelta(hours=8))
NEIGHBOUR = (  # what other rails had in the core's books has kept its numbers
    "INSERT INTO acquirer_trade (rail, trade_id, merchant, order_no, product, params, amount, currency, fee_bp,"
    " fixed_fee_minor, hold, token, extra, state, created_ms, trade_ref) VALUES ('alipay', 3, '2088', 'theirs', 'pay',"
    " '', 5, 'CNY', 55, 0, 0, 'token', '{}', 'closed', 0, 'trade')"
)


def today() -> str:
    return datetime.now(BEIJING).date().isoformat()


def yesterday() -> str:
    return (datetime.now(BEIJING).date() - timedelta(days=1)).isoformat()


@pytest.fixture(scope="module")
def old_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    home, shift_ms = tmp_path_factory.mktemp("home"), int(time.time() * 1000) - WRITTEN_MS
    books = re.sub(r"\b1796\d{9}\b", lambda found: str(int(found[0]) + shift_ms), BEFORE)
    books = books.replace(f"'{WRITTEN}'", f"'{today()}'").replace("'2026-11-29'", f"'{yesterday()}'")
    for number in ("1", "2"):
        key, mchid = keys.new_key(), f"190000000{number}"
        certificate = keys.new_certificate(key, mchid, starts_at=datetime.now(UTC) - timedelta(hours=1))
        folder = home / "sandbox" / "wechat" / mchid
        keys.write_file(folder / "apiclient_key.pem", keys.private_pem(key))
        keys.write_file(folder / "apiv3_key.txt", b"k" * 31 + number.encode())
        books = books.replace(f"@CERTIFICATE{number}@", keys.certificate_pem(certificate).decode())
        books = books.replace(f"@SERIAL{number}@", keys.serial_of(certificate))
    with sqlite3.connect(home / "sandbox" / "sandbox.db") as store:
        store.executescript((REPOSITORY / "sandbox" / "acquirer" / "schema.sql").read_text())
        store.execute("ALTER TABLE acquirer_flow DROP COLUMN extra")  # which it had not
        store.execute(NEIGHBOUR)
        store.executescript(books)
    store.close()
    running = Sandbox(home, 0.01)
    yield running
    assert running.stop() == 0, (home / "sandbox.log").read_text()


@pytest.fixture
def merchant(old_home: Sandbox) -> Merchant:
    return Merchant(old_home.base_url, old_home.control("GET", "/wechat/merchants")["merchants"][0])


def test_merchants_keep_their_numbers_and_keys_and_a_new_one_comes_after_them(
    old_home: Sandbox, merchant: Merchant
) -> None:
    assert (merchant.mchid, merchant.appid) == ("1900000001", "wx0000000000000001")
    assert Path(merchant.credentials["app_secret_file"]).is_file()
    assert merchant.query("order-open").status == 200, "its signature is known"
    assert old_home.merchant().mchid == "1900000003"


def test_orders_stand_as_they_stood(old_home: Sandbox, merchant: Merchant) -> None:
    states = {
        number: merchant.query(number).json["trade_state"]
        for number in ("order-paid", "order-open", "order-coup", "code-paid", "code-broke")
    }
    assert states == {
        "order-paid": "REFUND",
        "order-open": "NOTPAY",
        "order-coup": "REFUND",
        "code-paid": "REVOKED",
        "code-broke": "PAYERROR",
    }
    paid = merchant.query("order-paid").json
    assert (paid["transaction_id"], paid["attach"]) == (PAID, "a")
    assert merchant.query("order-coup").json["amount"]["payer_total"] == 900
    (code,) = re.findall(r"'order-open'.*?'([0-9a-f]{34})'", BEFORE)
    assert merchant.create("order-open", 500).endswith(code), "the same order again is the same"
    used = merchant.code_order(new_number(), 1)
    used["payer"]["auth_code"] = "130000000000000001"
    assert merchant.codepay(used).code == "INVALID_REQUEST"
    truths = {one["order"]: one for one in old_home.control("GET", f"/wechat/trades?mchid={merchant.mchid}")["trades"]}
    assert {truths[number]["charged_count"] for number in ("order-paid", "order-coup", "code-paid")} == {1}


def test_refunds_shares_combined_orders_and_notices_go_on(old_home: Sandbox, merchant: Merchant) -> None:
    assert merchant.refund_query("refund-1").json["amount"]["payer_refund"] == 360
    stuck = merchant.refund_query("refund-2").json
    assert stuck["status"] == "ABNORMAL"
    target = f"/v3/refund/domestic/refunds/{stuck['refund_id']}/apply-abnormal-refund"
    assert merchant.call("POST", target, {"out_refund_no": "refund-2", "type": "MERCHANT_BANK_CARD"}).status == 200
    eventually(lambda: merchant.refund_query("refund-2").json["status"] == "SUCCESS")
    share = f"/v3/profitsharing/orders/share-1?transaction_id={PAID}"
    eventually(lambda: merchant.call("GET", share).json["state"] == "FINISHED")
    left = merchant.call("GET", f"/v3/profitsharing/transactions/{PAID}/amounts").json
    assert left["unsplit_amount"] == 994 - 99, "the receiver was not added, so its part is frozen again"
    old_home.pay(merchant, "combined")
    view = merchant.call("GET", "/v3/combine-transactions/out-trade-no/combined").json
    assert [part["trade_state"] for part in view["sub_orders"]] == ["SUCCESS", "SUCCESS"]
    first, *_ = old_home.notices(merchant)
    assert (first["order"], first["event"]) == ("order-paid", "paid")
    eventually(lambda: len(old_home.notices(merchant)[0]["attempts"]) >= 2)


def test_the_fund_flow_goes_on_from_the_balance_it_had(old_home: Sandbox, merchant: Merchant) -> None:
    old_home.close_day(merchant, today())
    rows, _ = read_bill(fetch(merchant, f"/v3/bill/fundflowbill?bill_date={today()}"))
    shown = [[row[name] for name in ("业务类型", "账户结余(元)", "微信支付业务单号", "业务凭证号")] for row in rows]
    assert shown[0] == ["交易", "10.00", PAID, "order-paid"]
    assert shown[10] == ["退还交易手续费", "5.37", "50300001202611300000000000002", "refund-1"]
    assert shown[13] == ["分账解冻", "5.37", PAID, "refund-2"]


def test_it_is_done_once(old_home: Sandbox, merchant: Merchant) -> None:
    old_home.stop()
    old_home.start()
    merchant.base_url = old_home.base_url
    assert merchant.query("order-paid").json["transaction_id"] == PAID
    with sqlite3.connect(old_home.home / "sandbox" / "sandbox.db") as store:
        assert store.execute("SELECT count(*) FROM acquirer_trade WHERE order_no = 'order-paid'").fetchone() == (1,)
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []
    store.close()
