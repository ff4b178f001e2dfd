"""Profit sharing 分账 in the simulated WeChat Pay: what is frozen, who gets it, what is paid out."""

import base64
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.sandbox.sandbox_client import Merchant, Reply, Sandbox, eventually, new_number

ORDERS = "/v3/profitsharing/orders"
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


def today() -> str:
    return datetime.now(timezone(timedelta(hours=8))).date().isoformat()


@pytest.fixture
def supplier(sandbox: Sandbox) -> Merchant:
    return sandbox.merchant(name="supplier")


def add(merchant: Merchant, account: str, name: str, *, sealed: str | None = None, serial: str | None = None) -> Reply:
    key_id = str(merchant.credentials["public_key_id"])
    secret = sealed or base64.b64encode(merchant.platform_keys[key_id].encrypt(name.encode(), OAEP)).decode()
    body = {"appid": merchant.appid, "type": "MERCHANT_ID", "account": account, "relation_type": "SUPPLIER"}
    headers = {"Wechatpay-Serial": key_id if serial is None else serial}
    return merchant.call("POST", "/v3/profitsharing/receivers/add", body | {"name": secret}, headers)


def paid(sandbox: Sandbox, merchant: Merchant, total: int = 10_000, **other: Any) -> str:
    """Pay an order that is to be shared; return its transaction_id."""
    number = new_number()
    merchant.create(number, total, **({"settle_info": {"profit_sharing": True}} | other))
    return str(sandbox.pay(merchant, number)["transaction_id"])


def share(merchant: Merchant, transaction_id: str, *parts: tuple[str, int], **other: Any) -> tuple[str, Reply]:
    number = new_number("s")
    body: dict[str, Any] = {
        "appid": merchant.appid,
        "transaction_id": transaction_id,
        "out_order_no": number,
        "receivers": [
            {"type": "MERCHANT_ID", "account": account, "amount": amount, "description": "x"}
            for account, amount in parts
        ],
        "unfreeze_unsplit": False,
    }
    return number, merchant.call("POST", ORDERS, body | other)


def finished(merchant: Merchant, number: str, transaction_id: str) -> Any:
    def look() -> Any:
        view = merchant.call("GET", f"{ORDERS}/{number}?transaction_id={transaction_id}").json
        return view if view["state"] == "FINISHED" else None

    return eventually(look)


def unsplit(merchant: Merchant, transaction_id: str) -> int:
    return int(merchant.call("GET", f"/v3/profitsharing/transactions/{transaction_id}/amounts").json["unsplit_amount"])


def test_what_is_frozen_is_not_paid_out_until_it_is_released(
    sandbox: Sandbox, merchant: Merchant, supplier: Merchant
) -> None:
    transaction_id = paid(sandbox, merchant)
    assert unsplit(merchant, transaction_id) == 9940, "the fee has gone off"
    assert add(merchant, supplier.mchid, "supplier").status == 200
    number, reply = share(merchant, transaction_id, (supplier.mchid, 3000))
    assert (reply.status, reply.json["state"]) == (200, "PROCESSING")
    view = finished(merchant, number, transaction_id)
    assert [(line["result"], line["amount"]) for line in view["receivers"]] == [("SUCCESS", 3000)]
    assert unsplit(merchant, transaction_id) == 6940
    release = new_number("s")
    body = {"transaction_id": transaction_id, "out_order_no": release, "description": "done"}
    assert merchant.call("POST", f"{ORDERS}/unfreeze", body).status == 200
    (rest,) = finished(merchant, release, transaction_id)["receivers"]
    assert (rest["account"], rest["amount"], rest["result"]) == (merchant.mchid, 6940, "SUCCESS")
    assert sandbox.close_day(merchant, today())["net"] == 6940
    assert sandbox.close_day(supplier, today())["net"] == 3000


def test_a_day_that_ends_with_money_frozen_pays_out_without_it(sandbox: Sandbox, merchant: Merchant) -> None:
    paid(sandbox, merchant)
    number = new_number()
    merchant.create(number, 1000)
    sandbox.pay(merchant, number)
    assert sandbox.close_day(merchant, today())["net"] == 994


def test_releasing_with_the_share_gives_the_rest_in_one_go(
    sandbox: Sandbox, merchant: Merchant, supplier: Merchant
) -> None:
    transaction_id = paid(sandbox, merchant)
    add(merchant, supplier.mchid, "supplier")
    number, _ = share(merchant, transaction_id, (supplier.mchid, 40), unfreeze_unsplit=True)
    assert unsplit(merchant, transaction_id) == 0
    lines = finished(merchant, number, transaction_id)["receivers"]
    assert [(line["account"], line["amount"]) for line in lines] == [(supplier.mchid, 40), (merchant.mchid, 9900)]
    _, again = share(merchant, transaction_id, (supplier.mchid, 1))
    assert (again.status, again.code) == (403, "NOT_ENOUGH")


@pytest.mark.parametrize("release", [False, True])
def test_a_part_that_does_not_arrive_is_frozen_again_or_released_with_the_rest(
    sandbox: Sandbox, merchant: Merchant, supplier: Merchant, release: bool
) -> None:
    transaction_id = paid(sandbox, merchant)
    number, _ = share(merchant, transaction_id, (supplier.mchid, 3000), unfreeze_unsplit=release)
    line = finished(merchant, number, transaction_id)["receivers"][0]
    assert (line["result"], line["fail_reason"]) == ("CLOSED", "NO_RELATION")
    assert unsplit(merchant, transaction_id) == (0 if release else 9940)
    assert sandbox.close_day(merchant, today())["net"] == (9940 if release else 0)
    assert sandbox.close_day(supplier, today())["net"] == 0


def test_a_part_fails_on_order(sandbox: Sandbox, merchant: Merchant, supplier: Merchant) -> None:
    transaction_id = paid(sandbox, merchant)
    add(merchant, supplier.mchid, "supplier")
    sandbox.order_fault("share_closed", mchid=merchant.mchid, account=supplier.mchid)
    number, _ = share(merchant, transaction_id, (supplier.mchid, 3000))
    (line,) = finished(merchant, number, transaction_id)["receivers"]
    assert line["fail_reason"] == "ACCOUNT_ABNORMAL"
    number, _ = share(merchant, transaction_id, (supplier.mchid, 3000))
    assert finished(merchant, number, transaction_id)["receivers"][0]["result"] == "SUCCESS"


def test_a_share_comes_back_once_and_only_as_far_as_it_went(
    sandbox: Sandbox, merchant: Merchant, supplier: Merchant
) -> None:
    transaction_id = paid(sandbox, merchant)
    add(merchant, supplier.mchid, "supplier")
    number, _ = share(merchant, transaction_id, (supplier.mchid, 3000), unfreeze_unsplit=True)
    finished(merchant, number, transaction_id)

    def back(amount: int, **other: Any) -> tuple[str, Reply]:
        body = {"out_order_no": number, "out_return_no": new_number("b"), "return_mchid": supplier.mchid}
        body |= {"amount": amount, "description": "x"} | other  # type: ignore[operator]
        return body["out_return_no"], merchant.call("POST", "/v3/profitsharing/return-orders", body)

    def result(returned: str) -> Any:
        target = f"/v3/profitsharing/return-orders/{returned}?out_order_no={number}"
        view = merchant.call("GET", target).json
        return view if view["result"] != "PROCESSING" else None

    sandbox.order_fault("share_return_failed", mchid=merchant.mchid)
    failed, reply = back(2000)
    assert reply.json["result"] == "PROCESSING"
    view = eventually(lambda: result(failed))
    assert (view["result"], view["fail_reason"]) == ("FAILED", "BALANCE_NOT_ENOUGH")
    done, reply = back(2000)
    assert back(2000, out_return_no=done)[1].json["return_id"] == reply.json["return_id"]
    assert eventually(lambda: result(done))["result"] == "SUCCESS"
    assert back(1001)[1].code == "NOT_ENOUGH"
    assert back(2001, out_return_no=done)[1].code == "INVALID_REQUEST"
    assert back(1, return_mchid=merchant.mchid)[1].code == "INVALID_REQUEST"
    assert sandbox.close_day(merchant, today())["net"] == 9940 - 3000 + 2000
    assert sandbox.close_day(supplier, today())["net"] == 1000


def test_a_refund_comes_out_of_what_is_frozen_first(sandbox: Sandbox, merchant: Merchant) -> None:
    number = new_number()
    merchant.create(number, 10_000, settle_info={"profit_sharing": True})
    transaction_id = sandbox.pay(merchant, number)["transaction_id"]
    assert merchant.refund(number, new_number("r"), 4000, 10_000).status == 200
    assert unsplit(merchant, transaction_id) == 9940 - (4000 - 24)
    assert sandbox.close_day(merchant, today())["net"] == 0


def test_what_was_not_frozen_or_not_paid_cannot_be_shared(sandbox: Sandbox, merchant: Merchant) -> None:
    plain = paid(sandbox, merchant, settle_info=None)
    assert share(merchant, plain, ("1900000001", 1))[1].code == "NOT_SHARE_ORDER"
    assert share(merchant, "4200000000000000000000000000", ("1900000001", 1))[1].code == "RESOURCE_NOT_EXISTS"
    transaction_id = paid(sandbox, merchant)
    assert share(merchant, transaction_id, ("1900000001", 9941))[1].code == "NOT_ENOUGH"
    number, reply = share(merchant, transaction_id, ("1900000001", 1))
    again = share(merchant, transaction_id, ("1900000001", 1), out_order_no=number)[1]
    assert again.json["order_id"] == reply.json["order_id"]
    assert share(merchant, transaction_id, ("1900000001", 2), out_order_no=number)[1].code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("/receivers", {"receivers": []}),
        ("/receivers", {"receivers": None}),
        ("/receivers/0/", {"receivers": [7]}),
        ("/receivers/0/amount", {"receivers": [{"type": "MERCHANT_ID", "account": "1", "amount": 0}]}),
        ("/receivers/0/type", {"receivers": [{"type": "BANK", "account": "1", "amount": 1}]}),
        ("/out_order_no", {"out_order_no": "a share"}),
        ("/unfreeze_unsplit", {"unfreeze_unsplit": None}),
        ("/unfreeze_unsplit", {"unfreeze_unsplit": "true"}),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named(sandbox: Sandbox, merchant: Merchant, field: str, change: dict[str, Any]) -> None:
    _, reply = share(merchant, "4200", ("1900000001", 1), **change)
    assert (reply.code, reply.json["detail"]["field"]) == ("PARAM_ERROR", field)


def test_a_receivers_name_is_encrypted_both_ways_and_must_be_its_own(
    sandbox: Sandbox, merchant: Merchant, supplier: Merchant
) -> None:
    added = add(merchant, supplier.mchid, "supplier").json
    assert merchant.private_key.decrypt(base64.b64decode(added["name"]), OAEP) == b"supplier"
    assert add(merchant, supplier.mchid, "somebody else").code == "PARAM_ERROR"
    assert add(merchant, supplier.mchid, "supplier", serial="").code == "PARAM_ERROR"
    assert add(merchant, supplier.mchid, "supplier", sealed="c3VwcGxpZXI=").code == "PARAM_ERROR"
    certificate = merchant.credentials["platform_certificates"][0]["serial_no"]
    assert add(merchant, supplier.mchid, "supplier", serial=certificate).code == "PARAM_ERROR", "the other key's"
