"""Whatever comes through the front door gets a problem code of its own and changes nothing; it is never a 500."""

import asyncio
import gzip
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio

from channels.contract import Pending
from gateway.door.bodies import MAX_BODY
from gateway.store import revoke_key
from kernel.db import acquire
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import QR, Answer, Front, a_front, an_order
from tests.support import Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOBODY = "pay_" + "0" * 26


@dataclass
class Door:
    """One shop for every row of the tables, with something of each kind in it."""

    front: Front
    paid: str  # a payment of 10 000 that succeeded
    open: str  # one that waits for its payer
    refund: str
    payee: str
    stranger: Front  # another merchant of the same hub
    strangers_payment: str
    strangers_refund: str
    strangers_payee: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(pg_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    await pg_server.admin.execute("CREATE DATABASE sluice_bad_input OWNER sluice TEMPLATE sluice_template")
    async with a_front(pg_server.url("sluice_bad_input"), tmp_path_factory.mktemp("home")) as front:
        other = await front.hub.merchants.add("another shop", currencies=["CNY"])
        await front.hub.channel_admin.add_by_hand(other.book, "rail", "scripted", {}, fee_bp=60)
        theirs = Front(Shop(front.hub, other.book, other.api_key, front.shop.channel), front.client, front.rail)
        paid, strangers_payment = await front.paid("paid"), await theirs.paid("theirs")
        refund, strangers_refund = await front.refund(paid, 10), await theirs.refund(strangers_payment, 10)
        payee, strangers_payee = await front.payee("farm"), await theirs.payee("mill")
        await front.pay("known", key="known")
        front.rail.says(pay=Pending(QR))
        waiting = await front.pay("open")
        yield Door(
            front, paid, waiting.body["id"], refund.body["id"], payee,
            theirs, strangers_payment, strangers_refund.body["id"], strangers_payee,
        )  # fmt: skip
    await pg_server.admin.execute("DROP DATABASE sluice_bad_input WITH (FORCE)")


@dataclass
class Bad:
    """A request that is wrong. `{paid}` and its kin in path and body stand for what the door knows."""

    code: str
    status: int
    body: Any = None
    path: str = "/v1/payments"
    method: str = "POST"
    param: str | None = None
    key: str | None = "…"  # stands for one of its own
    headers: dict[str, str | None] = field(default_factory=dict)


def order(**changes: Any) -> dict[str, Any]:
    return {**an_order("bad-{number}"), **changes}


def raw(field_name: str, value: str) -> bytes:
    """Return an order's JSON with one value written literally."""
    return orjson.dumps(order(**{field_name: "MARK"})).replace(b'"MARK"', value.encode())


def amount(value: str, code: str) -> Bad:
    return Bad(code, 422, raw("amount", value), param="amount")


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in order().items() if k != name}


def shares(*lines: dict[str, Any]) -> dict[str, Any]:
    return order(split=list(lines))


FORM = {
    "not_json": Bad("malformed_json", 400, b"merchant_order_id=1"),
    "half_json": Bad("malformed_json", 400, b'{"amount": 1'),
    "json_with_something_after_it": Bad("malformed_json", 400, orjson.dumps(order()) + b"x"),
    "byte_order_mark": Bad("malformed_json", 400, b"\xef\xbb\xbf" + orjson.dumps(order())),
    "utf_16": Bad("malformed_json", 400, '{"amount": 1}'.encode("utf-16")),
    "bytes_that_are_no_utf_8": Bad("malformed_json", 400, b'{"description": "\xff"}'),
    "lone_surrogate": Bad("malformed_json", 400, raw("description", r'"\ud800"')),
    "lone_surrogate_in_a_name": Bad("malformed_json", 400, b'{"\\udfff": 1}'),
    "unescaped_control_character": Bad("malformed_json", 400, raw("description", '"a\x01b"')),
    "hundred_thousand_brackets": Bad("malformed_json", 400, b"[" * 100_000),
    "hundred_thousand_objects": Bad("malformed_json", 400, b'{"a":' * 40_000),
    "deep_where_metadata_should_be": Bad("malformed_json", 400, raw("metadata", "[" * 50_000 + "]" * 50_000)),
    "five_thousand_digits": Bad("malformed_json", 400, raw("amount", "9" * 5_000)),
    "list": Bad("body_not_object", 400, b"[]"),
    "null": Bad("body_not_object", 400, b"null"),
    "text": Bad("body_not_object", 400, b'"order"'),
    "number": Bad("body_not_object", 400, b"1"),
    "nan": Bad("body_not_object", 400, b"NaN"),
    "nothing": Bad("field_missing", 422, b"", param="merchant_order_id"),
    "empty_object": Bad("field_missing", 422, {}, param="merchant_order_id"),
    "too_large": Bad("body_too_large", 413, b'"' + b"a" * MAX_BODY + b'"'),
    "gzip": Bad(
        "unsupported_content_encoding", 415, gzip.compress(orjson.dumps(order())), headers={"Content_Encoding": "gzip"}
    ),
    "gzip_bomb": Bad(
        "unsupported_content_encoding", 415, gzip.compress(b" " * 20_000_000), headers={"Content_Encoding": "gzip"}
    ),
    "form": Bad(
        "unsupported_media_type", 415, b"amount=1", headers={"Content_Type": "application/x-www-form-urlencoded"}
    ),
    "text_plain": Bad("unsupported_media_type", 415, order(), headers={"Content_Type": "text/plain"}),
    "multipart": Bad("unsupported_media_type", 415, b"-", headers={"Content_Type": "multipart/form-data; boundary=x"}),
    "xml": Bad("unsupported_media_type", 415, b"<a/>", headers={"Content_Type": "application/xml"}),
    "name_twice": Bad("duplicate_field", 400, orjson.dumps(order())[:-1] + b',"amount":1}', param="amount"),
    "name_twice_escaped": Bad(
        "duplicate_field", 400, orjson.dumps(order())[:-1] + rb',"\u0061mount":1}', param="amount"
    ),
    "name_twice_inside": Bad(
        "duplicate_field", 400, raw("method", '{"type":"qr","channel":"auto","channel":"wechat"}'), param="channel"
    ),
    "name_twice_in_metadata": Bad("duplicate_field", 400, raw("metadata", '{"a":"1","a":"2"}'), param="a"),
    "refund_name_twice": Bad(
        "duplicate_field", 400, b'{"amount":1,"amount":2}', "/v1/payments/{paid}/refunds", param="amount"
    ),
}  # fmt: skip

VALUES = {
    "amount_zero": amount("0", "amount_not_positive"),
    "amount_negative": amount("-1", "amount_not_positive"),
    "amount_minus_zero": amount("-0", "amount_not_positive"),
    "amount_float": amount("10.0", "amount_not_integer"),
    "amount_exponent": amount("1e2", "amount_not_integer"),
    "amount_enormous_exponent": amount("1e300000", "amount_not_integer"),
    "amount_text": amount('"10"', "amount_not_integer"),
    "amount_text_with_underscore": amount('"1_000"', "amount_not_integer"),
    "amount_text_of_wide_digits": amount('"１２"', "amount_not_integer"),
    "amount_true": amount("true", "amount_not_integer"),
    "amount_null": amount("null", "amount_not_integer"),
    "amount_list": amount("[1]", "amount_not_integer"),
    "amount_object": amount('{"value":1}', "amount_not_integer"),
    "amount_nan": amount("NaN", "amount_not_integer"),
    "amount_infinity": amount("Infinity", "amount_not_integer"),
    "amount_minus_infinity": amount("-Infinity", "amount_not_integer"),
    "amount_of_10_to_the_13": amount("1" + "0" * 13, "amount_too_large"),
    "amount_one_beyond": amount(str(10**12 + 1), "amount_too_large"),
    "amount_of_10_to_the_30": amount("1" + "0" * 30, "amount_too_large"),
    "amount_negative_overflow": amount("-1" + "0" * 30, "amount_not_positive"),
    "amount_missing": Bad("amount_missing", 422, without("amount"), param="amount"),
    "currency_missing": Bad("currency_missing", 422, without("currency"), param="currency"),
    "currency_unknown": Bad("currency_unknown", 422, order(currency="XQX"), param="currency"),
    "currency_lower_case": Bad("currency_unknown", 422, order(currency="cny"), param="currency"),
    "currency_without_minor_units": Bad("currency_unknown", 422, order(currency="XAU"), param="currency"),
    "currency_padded": Bad("currency_unknown", 422, order(currency="CNY "), param="currency"),
    "currency_number": Bad("currency_unknown", 422, order(currency=156), param="currency"),
    "currency_no_rail_takes": Bad("no_channel", 422, order(currency="KWD"), param="method"),
    "channel_without_account": Bad("no_channel", 422, order(method={"type": "qr", "channel": "other"}), param="method"),
    "channel_not_there": Bad(
        "no_such_channel", 422, order(method={"type": "qr", "channel": "wxpay"}), param="method.channel"
    ),
    "channel_of_an_app": Bad("channel_needed", 422, order(method={"type": "app"}), param="method.channel"),
    "payer_of_another_channel": Bad(
        "payer_of_another_channel",
        422,
        order(method={"type": "jsapi", "payer": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "channel": "scripted"}),
        param="method.payer",
    ),
    "method_unknown": Bad("invalid_request", 400, order(method={"type": "cheque"}), param="method.type"),
    "method_text": Bad("invalid_request", 400, order(method="qr"), param="method"),
    "method_missing": Bad("field_missing", 422, without("method"), param="method"),
    "method_without_a_type": Bad("field_missing", 422, order(method={}), param="method.type"),
    "barcode_without_code": Bad("field_missing", 422, order(method={"type": "barcode"}), param="method.auth_code"),
    "code_without_barcode": Bad(
        "unknown_field", 422, order(method={"type": "qr", "auth_code": "1" * 18}), param="method.auth_code"
    ),
    "code_of_no_wallet": Bad(
        "invalid_request", 400, order(method={"type": "barcode", "auth_code": "9" * 18}), param="method.auth_code"
    ),
    "code_of_wide_digits": Bad(
        "invalid_request", 400, order(method={"type": "barcode", "auth_code": "１" * 18}), param="method.auth_code"
    ),
    "order_number_empty": Bad("invalid_request", 400, order(merchant_order_id=""), param="merchant_order_id"),
    "order_number_long": Bad("invalid_request", 400, order(merchant_order_id="a" * 65), param="merchant_order_id"),
    "order_number_path": Bad("invalid_request", 400, order(merchant_order_id="..\\x"), param="merchant_order_id"),
    "order_number_sql": Bad("invalid_request", 400, order(merchant_order_id="1' OR '1'='1"), param="merchant_order_id"),
    "order_number_line": Bad("invalid_request", 400, order(merchant_order_id="a\n"), param="merchant_order_id"),
    "order_number_number": Bad("invalid_request", 400, order(merchant_order_id=1), param="merchant_order_id"),
    "description_empty": Bad("invalid_request", 400, order(description=""), param="description"),
    "description_long": Bad("invalid_request", 400, order(description="茶" * 128), param="description"),
    "description_huge": Bad("invalid_request", 400, order(description="a" * 100_000), param="description"),
    **{
        f"description_with_{name}": Bad("invalid_request", 400, order(description=f"te{mark}a"), param="description")
        for name, mark in {
            "nul": "\0", "line_feed": "\n", "return": "\r", "escape": "\x1b", "delete": "\x7f", "next_line": "\x85",
            "terminal_command": "\x9b", "soft_hyphen": "\xad", "arabic_letter_mark": "\u061c",
            "zero_width_space": "\u200b", "right_to_left_mark": "\u200f", "line_separator": "\u2028",
            "right_to_left_override": "\u202e", "word_joiner": "\u2060", "isolate": "\u2066",
            "byte_order_mark": "\ufeff", "language_tag": "\U000e0041",
        }.items()
    },
    "metadata_list": Bad("invalid_request", 400, order(metadata=["a"]), param="metadata"),
    "metadata_number": Bad("invalid_request", 400, order(metadata={"till": 7}), param="metadata.till"),
    "metadata_nested": Bad("invalid_request", 400, order(metadata={"till": {"n": "7"}}), param="metadata.till"),
    "metadata_amount_is_not_the_amount": Bad(
        "invalid_request", 400, order(metadata={"amount": 7}), param="metadata.amount"
    ),
    "metadata_currency_is_not_the_currency": Bad(
        "invalid_request", 400, order(metadata={"currency": 7}), param="metadata.currency"
    ),
    "metadata_nul": Bad("invalid_request", 400, order(metadata={"a": "\0"}), param="metadata.a"),
    "metadata_value_right_to_left": Bad("invalid_request", 400, order(metadata={"a": "\u202e"}), param="metadata.a"),
    "metadata_name_right_to_left": Bad("invalid_request", 400, order(metadata={"\u202ea": "b"})),
    "metadata_name_long": Bad("invalid_request", 400, order(metadata={"a" * 41: "b"})),
    "metadata_name_huge": Bad("invalid_request", 400, order(metadata={"a" * 100_000: "b"})),
    "metadata_value_long": Bad("invalid_request", 400, order(metadata={"a": "b" * 501}), param="metadata.a"),
    "metadata_of_51": Bad("invalid_request", 400, order(metadata={str(n): "" for n in range(51)}), param="metadata"),
    "expires_soon": Bad("invalid_request", 400, order(expires_in=59), param="expires_in"),
    "expires_late": Bad("invalid_request", 400, order(expires_in=7201), param="expires_in"),
    "expires_text": Bad("invalid_request", 400, order(expires_in="600"), param="expires_in"),
    **{
        f"mass_assignment_of_{name}": Bad("unknown_field", 422, order(**{name: value}), param=name)
        for name, value in {
            "status": "succeeded", "book": 1, "merchant_id": "mer_1", "id": NOBODY, "fee_minor": 0, "is_admin": True,
            "amount_captured": 10_000, "business_date": "2026-11-24", "__class__": "x", "constructor": {},
        }.items()
    },
    "unknown_field_inside": Bad("unknown_field", 422, order(method={"type": "qr", "fee_bp": 0}), param="method.fee_bp"),
    "unknown_field_inside_named_amount": Bad(
        "unknown_field", 422, order(method={"type": "qr", "amount": 0}), param="method.amount"
    ),
    "unknown_field_inside_named_currency": Bad(
        "unknown_field", 422, order(method={"type": "qr", "currency": "CNY"}), param="method.currency"
    ),
    "unknown_field_of_100_kb": Bad("unknown_field", 422, order(**{"x" * 100_000: 1})),
    "split_beyond_the_payment": Bad(
        "split_exceeds_payment", 422, shares({"payee": "{payee}", "amount": 10_001}), param="split"
    ),
    "split_leaves_nothing_for_the_fee": Bad(
        "split_exceeds_payment", 422, shares({"payee": "{payee}", "basis_points": 10_000}), param="split"
    ),
    "split_to_an_unknown_payee": Bad(
        "no_such_payee", 404, shares({"payee": "pye_" + "0" * 26, "amount": 1}), param="split"
    ),
    "split_to_another_merchants_payee": Bad(
        "no_such_payee", 404, shares({"payee": "{strangers_payee}", "amount": 1}), param="split"
    ),
    "split_in_another_currency": Bad(
        "currency_differs", 422, order(currency="GBP", split=[{"payee": "{payee}", "amount": 1}]), param="split"
    ),
    "split_payee_twice": Bad(
        "invalid_request", 400, shares({"payee": "{payee}", "amount": 1}, {"payee": "{payee}", "remainder": 1}),
        param="split",
    ),
    "split_share_without_measure": Bad("invalid_request", 400, shares({"payee": "{payee}"}), param="split.0"),
    "split_share_with_two": Bad(
        "invalid_request", 400, shares({"payee": "{payee}", "amount": 1, "remainder": 1}), param="split.0"
    ),
    "split_share_negative": Bad(
        "amount_not_positive", 422, shares({"payee": "{payee}", "amount": -1}), param="split.0.amount"
    ),
    "split_share_float": Bad(
        "amount_not_integer", 422, shares({"payee": "{payee}", "basis_points": 1.5}), param="split.0.basis_points"
    ),
    "split_share_beyond_the_whole": Bad(
        "amount_too_large", 422, shares({"payee": "{payee}", "basis_points": 10_001}), param="split.0.basis_points"
    ),
    "split_payee_misnamed": Bad("invalid_request", 400, shares({"payee": "farm", "amount": 1}), param="split.0.payee"),
    "split_of_51": Bad(
        "invalid_request", 400, shares(*({"payee": f"pye_{n:026x}", "amount": 1} for n in range(51))), param="split"
    ),
    "refund_beyond_the_capture": Bad(
        "refund_exceeds_captured", 422, {"amount": 9_991}, "/v1/payments/{paid}/refunds", param="amount"
    ),
    "refund_of_an_unpaid_payment": Bad("payment_not_captured", 422, {"amount": 1}, "/v1/payments/{open}/refunds"),
    "refund_of_all_of_an_unpaid_payment": Bad("payment_not_captured", 422, {}, "/v1/payments/{open}/refunds"),
    "refund_of_nothing": Bad(
        "amount_not_positive", 422, {"amount": 0}, "/v1/payments/{paid}/refunds", param="amount"
    ),
    "refund_of_null": Bad("amount_not_integer", 422, {"amount": None}, "/v1/payments/{paid}/refunds", param="amount"),
    "capture_of_null": Bad("amount_not_integer", 422, {"amount": None}, "/v1/payments/{open}/capture", param="amount"),
    "link_of_null": Bad(
        "amount_not_integer", 422, {"name": "n", "description": "d", "currency": "CNY", "amount": None},
        "/v1/payment_links", param="amount",
    ),
    "refund_of_a_float": Bad(
        "amount_not_integer", 422, {"amount": 1.0}, "/v1/payments/{paid}/refunds", param="amount"
    ),
    "refund_with_a_currency": Bad(
        "unknown_field", 422, {"amount": 1, "currency": "CNY"}, "/v1/payments/{paid}/refunds", param="currency"
    ),
    "refund_for_a_reason_with_nul": Bad(
        "invalid_request", 400, {"reason": "\0"}, "/v1/payments/{paid}/refunds", param="reason"
    ),
    "payee_platform": Bad(
        "invalid_request", 400, {"name": "me", "kind": "platform", "currency": "CNY", "reference": "me"}, "/v1/payees",
        param="kind",
    ),
    "payee_at_an_unknown_bank": Bad(
        "no_such_bank", 404, {"name": "me", "bank": "icbc", "currency": "CNY", "reference": "me"}, "/v1/payees"
    ),
    "payee_with_other_facts": Bad(
        "payee_exists", 409, {"name": "other", "currency": "CNY", "reference": "farm"}, "/v1/payees"
    ),
    "schedule_at_an_unknown_bank": Bad(
        "no_such_bank", 404, {"bank": "icbc", "every": "T+1"}, "/v1/payout_schedules", param="bank"
    ),
    "schedule_of_no_kind": Bad(
        "invalid_request", 400, {"bank": "icbc", "every": "T+2"}, "/v1/payout_schedules", param="every"
    ),
    "schedule_without_its_day": Bad(
        "schedule_wrong", 422, {"bank": "icbc", "every": "weekly"}, "/v1/payout_schedules", param="schedule"
    ),
    "payee_sets_its_account": Bad(
        "unknown_field", 422, {"name": "me", "currency": "CNY", "reference": "me", "bank_account": "62"}, "/v1/payees",
        param="bank_account",
    ),
}  # fmt: skip

KEYS = {
    "no_key": Bad("idempotency_key_missing", 400, order(), key=None),
    "empty_key": Bad("idempotency_key_invalid", 400, order(), key=""),
    "key_of_256": Bad("idempotency_key_invalid", 400, order(), key="k" * 256),
    "key_with_space": Bad("idempotency_key_invalid", 400, order(), key="a b"),
    "key_in_chinese": Bad("idempotency_key_invalid", 400, order(), key="订单"),
    "refund_without_key": Bad("idempotency_key_missing", 400, {}, "/v1/payments/{paid}/refunds", key=None),
    "key_of_another_body": Bad("idempotency_key_reused", 422, order(), key="known"),
    "key_of_a_payment_for_a_refund": Bad("idempotency_key_reused", 422, {}, "/v1/payments/{paid}/refunds", key="known"),
    "order_number_of_another_body": Bad("duplicate_order", 409, an_order("known", 1)),
}

GET: dict[str, Any] = {"method": "GET", "key": None}
PLACES = {
    "another_merchants_payment": Bad("no_such_payment", 404, path="/v1/payments/{strangers_payment}", **GET),
    "another_merchants_refund": Bad("no_such_refund", 404, path="/v1/refunds/{strangers_refund}", **GET),
    "close_another_merchants_payment": Bad("no_such_payment", 404, path="/v1/payments/{strangers_payment}/close"),
    "refund_another_merchants_payment": Bad("no_such_payment", 404, {}, "/v1/payments/{strangers_payment}/refunds"),
    "payment_nobody_made": Bad("no_such_payment", 404, path=f"/v1/payments/{NOBODY}", **GET),
    "refund_of_a_payment_nobody_made": Bad("no_such_payment", 404, {"amount": 1}, f"/v1/payments/{NOBODY}/refunds"),
    "close_a_payment_nobody_made": Bad("no_such_payment", 404, path=f"/v1/payments/{NOBODY}/close"),
    "capture_of_a_payment_nobody_made": Bad("no_such_payment", 404, {}, f"/v1/payments/{NOBODY}/capture"),
    "void_of_a_payment_nobody_made": Bad("no_such_payment", 404, path=f"/v1/payments/{NOBODY}/void"),
    "retry_of_a_refund_nobody_made": Bad("no_such_refund", 404, {}, f"/v1/refunds/re_{'0' * 26}/retry"),
    "capture_of_a_paid_payment": Bad("payment_not_authorized", 409, {}, "/v1/payments/{paid}/capture"),
    **{
        f"{method.lower()}_of_a_{kind}_nobody_made": Bad(
            "no_such_link", 404, {"name": "x"} if method == "PATCH" else None,
            f"/v1/{kind}s/lnk_{'0' * 26}", method=method, key=None,
        )
        for method in ("GET", "PATCH")
        for kind in ("payment_link", "merchant_qr")
    },
    **{
        f"{kind}_in_another_currency": Bad(
            "currency_differs", 422,
            {"name": "n", "description": "d", "currency": "GBP", "split": [{"payee": "{payee}", "amount": 1}]},
            f"/v1/{kind}s", param="split",
        )
        for kind in ("payment_link", "merchant_qr")
    },
    "merchant_qr_for_an_unknown_payee": Bad(
        "no_such_payee", 404,
        {"name": "n", "description": "d", "currency": "CNY", "split": [{"payee": "pye_" + "0" * 26, "amount": 1}]},
        "/v1/merchant_qrs", param="split",
    ),
    "close_a_paid_payment": Bad("payment_ended", 409, path="/v1/payments/{paid}/close"),
    "refund_nobody_made": Bad("no_such_refund", 404, path="/v1/refunds/re_" + "0" * 26, **GET),
    "id_of_another_kind": Bad("no_such_object", 404, path="/v1/payments/{refund}", **GET),
    "id_that_is_none": Bad("no_such_object", 404, path="/v1/payments/1", **GET),
    "id_with_a_line_feed": Bad("no_such_object", 404, path="/v1/payments/{paid}%0A", **GET),
    "id_with_nul": Bad("no_such_object", 404, path="/v1/refunds/%00", **GET),
    "id_traversal": Bad("no_such_object", 404, path="/v1/payments/..%2F..%2Fetc", **GET),
    "id_of_5000_characters": Bad("no_such_object", 404, path="/v1/payments/" + "a" * 5_000, **GET),
    "settlement_nobody_made": Bad("no_such_settlement", 404, path="/v1/settlements/stl_1_20261124_icbc_CNY", **GET),
    "settlement_with_nul": Bad("no_such_settlement", 404, path="/v1/settlements/%00", **GET),
    "settlement_with_half_a_character": Bad("no_such_settlement", 404, path="/v1/settlements/%ED%A0%80", **GET),
    "account_nobody_opened": Bad(
        "no_such_account", 404, path="/v1/balances?account=x&at=2026-11-24T08:30:00Z", **GET
    ),
    "filter_of_no_currency": Bad("currency_unknown", 422, path="/v1/payments?currency=cny", param="currency", **GET),
    "filter_of_no_rails_name": Bad("invalid_request", 400, path="/v1/payments?channel=WeChat", param="channel", **GET),
    "filter_of_no_order_number": Bad(
        "invalid_request", 400, path="/v1/payments?merchant_order_id=a%20b", param="merchant_order_id", **GET
    ),
    "filter_of_a_rail_nobody_has": Bad(
        "no_such_channel", 422, path="/v1/payments?channel=wechatpay", param="channel", **GET
    ),
    "export_of_a_rail_nobody_has": Bad(
        "no_such_channel", 422, path="/v1/payments.csv?channel=wechatpay", param="channel", **GET
    ),
    "filter_of_a_payment_nobody_made": Bad(
        "no_such_payment", 404, path="/v1/refunds?payment=pay_" + "0" * 26, **GET
    ),
    "balance_of_an_account_nobody_opened": Bad(
        "no_such_account", 404, path="/v1/balances?account=nope", param="account", **GET
    ),
    "payee_nobody_made": Bad("no_such_payee", 404, path="/v1/payees/pye_" + "0" * 26, **GET),
    "another_merchants_payee": Bad("no_such_payee", 404, path="/v1/payees/{strangers_payee}", **GET),
    "cursor_of_events_beyond_the_last": Bad(
        "invalid_cursor", 400, path="/v1/events?after=999999999", param="after", **GET
    ),
    **{
        f"cursor_of_{name}_nobody_made": Bad(
            "invalid_cursor", 400, path=f"/v1/{name}?starting_after={prefix}_" + "f" * 26, param="starting_after",
            **GET,
        )
        for name, prefix in {
            "payments": "pay", "refunds": "re", "payees": "pye", "payment_links": "lnk", "merchant_qrs": "lnk",
        }.items()
    },
    "filter_unknown": Bad("unknown_filter", 400, path="/v1/payments?colour=red", param="colour", **GET),
    "filter_unknown_refunds": Bad("unknown_filter", 400, path="/v1/refunds?status=x", param="status", **GET),
    "filter_unknown_payees": Bad("unknown_filter", 400, path="/v1/payees?a=b", param="a", **GET),
    "filter_unknown_balances": Bad("unknown_filter", 400, path="/v1/balances?a=b", param="a", **GET),
    "cursor_balances": Bad("invalid_cursor", 400, path="/v1/balances?starting_after=no", param="starting_after", **GET),
    "filter_unknown_settlements": Bad("unknown_filter", 400, path="/v1/settlements?a=b", param="a", **GET),
    "filter_unknown_events": Bad("unknown_filter", 400, path="/v1/events?a=b", param="a", **GET),
    "filter_named_with_nul": Bad("unknown_filter", 400, path="/v1/payments?%00=1", **GET),
    "filter_named_with_half_a_character": Bad("unknown_filter", 400, path="/v1/payments?%ED%A0%80=1", **GET),
    "filter_twice": Bad("invalid_request", 400, path="/v1/payments?limit=1&limit=100", param="limit", **GET),
    "filter_status_unknown": Bad("invalid_request", 400, path="/v1/payments?status=paid", param="status", **GET),
    **{
        f"filter_with_nul_{name}": Bad("invalid_request", 400, path=path + "%00", param=name.split("_of_")[0], **GET)
        for name, path in {
            "merchant_order_id": "/v1/payments?merchant_order_id=", "status": "/v1/payments?status=",
            "payment": "/v1/refunds?payment=", "account": "/v1/balances?account=", "type": "/v1/events?type=",
            "account_of_a_moment": "/v1/balances?at=2026-11-24T08:30:00Z&account=",
        }.items()
    },
    "filter_payment_is_none": Bad("invalid_request", 400, path="/v1/refunds?payment=1", param="payment", **GET),
    "limit_zero": Bad("invalid_request", 400, path="/v1/payments?limit=0", param="limit", **GET),
    "limit_101": Bad("invalid_request", 400, path="/v1/payments?limit=101", param="limit", **GET),
    "limit_negative": Bad("invalid_request", 400, path="/v1/refunds?limit=-1", param="limit", **GET),
    "limit_empty": Bad("invalid_request", 400, path="/v1/payees?limit=", param="limit", **GET),
    "limit_of_wide_digits": Bad("invalid_request", 400, path="/v1/events?limit=%EF%BC%91", param="limit", **GET),
    "limit_superscript": Bad("invalid_request", 400, path="/v1/events?limit=%C2%B2", param="limit", **GET),
    "limit_of_5000_digits": Bad("invalid_request", 400, path="/v1/events?limit=" + "9" * 5_000, param="limit", **GET),
    "cursor_of_payments": Bad(
        "invalid_cursor", 400, path="/v1/payments?starting_after=1", param="starting_after", **GET
    ),
    "cursor_of_payments_with_nul": Bad(
        "invalid_request", 400, path="/v1/payments?starting_after=%00", param="starting_after", **GET
    ),
    "cursor_of_refunds": Bad("invalid_cursor", 400, path="/v1/refunds?starting_after=1", param="starting_after", **GET),
    "cursor_of_refunds_with_nul": Bad(
        "invalid_request", 400, path="/v1/refunds?starting_after=%00", param="starting_after", **GET
    ),
    "cursor_of_payees": Bad("invalid_cursor", 400, path="/v1/payees?starting_after=1", param="starting_after", **GET),
    "cursor_of_payees_with_nul": Bad(
        "invalid_request", 400, path="/v1/payees?starting_after=%00", param="starting_after", **GET
    ),
    "cursor_of_settlements": Bad(
        "invalid_cursor", 400, path="/v1/settlements?starting_after=1", param="starting_after", **GET
    ),
    "cursor_of_a_settlement_nobody_made": Bad(
        "invalid_cursor", 400, path="/v1/settlements?starting_after=stl_1_20261124_icbc_CNY", param="starting_after",
        **GET,
    ),
    "filter_type_unknown": Bad("invalid_request", 400, path="/v1/events?type=payment.paid", param="type", **GET),
    "filter_type_half_unknown": Bad(
        "invalid_request", 400, path="/v1/events?type=payment.succeeded,", param="type", **GET
    ),
    "cursor_of_events": Bad("invalid_cursor", 400, path="/v1/events?after=evt_1", param="after", **GET),
    "cursor_of_events_negative": Bad("invalid_cursor", 400, path="/v1/events?after=-1", param="after", **GET),
    "cursor_of_events_beyond_a_bigint": Bad(
        "invalid_cursor", 400, path="/v1/events?after=" + "9" * 19, param="after", **GET
    ),
    "moment_without_account": Bad(
        "field_missing", 422, path="/v1/balances?at=2026-11-24T08:30:00Z", param="account", **GET
    ),
    "moment_without_offset": Bad(
        "invalid_request", 400, path="/v1/balances?account=merchant:CNY&at=2026-11-24T08:30:00", param="at", **GET
    ),
    "moment_that_is_none": Bad(
        "invalid_request", 400, path="/v1/balances?account=merchant:CNY&at=yesterday", param="at", **GET
    ),
    "moment_before_time": Bad(
        "invalid_request", 400, path="/v1/balances?account=merchant:CNY&at=0001-01-01T00:00:00%2B23:59", param="at",
        **GET,
    ),
    "moment_after_time": Bad(
        "invalid_request", 400, path="/v1/balances?account=merchant:CNY&at=9999-12-31T23:59:59-23:59", param="at", **GET
    ),
    "path_unknown": Bad("no_such_route", 404, path="/v2/payments", **GET),
    "path_of_the_version": Bad("no_such_route", 404, path="/v1/", **GET),
    "path_with_a_slash_more": Bad("no_such_route", 404, path="/v1/payments/", **GET),
    "path_in_capitals": Bad("no_such_route", 404, path="/V1/payments", **GET),
    "path_with_nul": Bad("no_such_route", 404, path="/%00", **GET),
    "notices_of_no_account": Bad("no_such_route", 404, b"{}", "/notify/scripted/-/rail", key=None),
    "notices_of_a_book_beyond_counting": Bad("no_such_route", 404, b"{}", "/notify/scripted/zzzzzz/rail", key=None),
    "notice_too_large": Bad("body_too_large", 413, b"a" * (MAX_BODY + 1), "/notify/scripted/{book}/rail", key=None),
    "notice_gzip": Bad(
        "unsupported_content_encoding", 415, gzip.compress(b"{}"), "/notify/scripted/{book}/rail", key=None,
        headers={"Content_Encoding": "gzip"},
    ),
    **{
        f"method_{method.lower()}{path.replace('/', '_')}": Bad(
            "method_not_allowed", 405, path=path, method=method, key=None
        )
        for method, path in [
            ("DELETE", "/v1/payments/{paid}"), ("PUT", "/v1/payments/{paid}"), ("PATCH", "/v1/payments"),
            ("GET", "/v1/payments/{paid}/close"), ("POST", "/v1/balances"), ("OPTIONS", "/v1/payments"),
            ("GET", "/notify/scripted/1/rail"), ("GET", "/v1/split_plans/dry_run"), ("PUT", "/v1/split_plans/dry_run"),
        ]
    },
}  # fmt: skip


EVERY = {**FORM, **VALUES, **KEYS, **PLACES}


@pytest.mark.parametrize("bad", EVERY.values(), ids=EVERY)
async def test_a_wrong_request_has_its_code_and_changes_nothing(
    door: Door, bad: Bad, caplog: pytest.LogCaptureFixture
) -> None:
    known = {"{" + name + "}": value for name, value in vars(door).items() if isinstance(value, str)}
    known |= {"{book}": str(door.front.book), "{number}": door.front.new_key()}

    def filled(text: str) -> str:
        for name, value in known.items():
            text = text.replace(name, value)
        return text

    body = bad.body
    if isinstance(body, dict):
        body = filled(orjson.dumps(body).decode()).encode()
    elif body is not None:
        body = body.replace(b"{number}", known["{number}"].encode())
    before, key = await door.front.counts(), door.front.new_key() if bad.key == "…" else bad.key
    answer = await door.front.send(bad.method, filled(bad.path), body, key=key, **bad.headers)
    assert_problem(answer, bad.status, bad.code)
    assert bad.param is None or answer.body["param"] == bad.param
    assert await door.front.counts() == before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def assert_problem(answer: Answer, status: int, code: str) -> None:
    """Fail unless the answer is RFC 9457 problem details with this status and code, small and with an id to quote."""
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.body) >= {"type", "title", "status", "code", "detail", "retriable", "request_id"}
    assert answer.body["type"].endswith(f"/problems/{code}")
    assert answer.body["status"] == status
    assert answer.body["detail"]
    assert answer.body["retriable"] is False
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]
    assert int(answer.headers["Content-Length"]) < 2_000, "what was sent is not sent back"


async def test_a_wrong_method_is_told_the_right_ones(door: Door) -> None:
    answer = await door.front.send("DELETE", "/v1/payments")
    assert answer.headers["Allow"] == "GET, POST"


async def test_a_name_that_holds_words_of_json_is_not_taken_for_two(door: Door) -> None:
    answer = await door.front.pay("quotes", metadata={'"a":': '"a":1,"a":2', "a": "b"})
    assert answer.status == 201, answer


# ---- who calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "key_missing"),
        ("", "key_missing"),
        ("Basic c2s6eA==", "key_missing"),
        ("Bearer ", "key_missing"),
        ("Bearer sk_" + "A" * 43, "key_unknown"),
        ("Bearer {key}x", "key_unknown"),
        ("Bearer 秘密", "key_unknown"),
        ("Bearer sk_" + "A" * 5_000, "key_unknown"),
        ("Bearer {key}' OR '1'='1", "key_unknown"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/payments/{}"), ("POST", "/v1/payments")])
async def test_nobody_comes_in_without_a_key_of_ours(
    door: Door, authorization: str | None, code: str, method: str, path: str
) -> None:
    text = None if authorization is None else authorization.replace("{key}", door.front.shop.key)
    answer = await door.front.send(method, path.format(door.paid), b"{", key="k", Authorization=text)
    assert_problem(answer, 401, code)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert door.front.shop.key not in str(answer.body)


async def test_a_key_opens_only_what_its_scopes_name(door: Door) -> None:
    front = door.front
    routes = {
        ("POST", "/v1/payments"): "payments:write",
        ("GET", "/v1/payments"): "payments:read",
        ("GET", "/v1/payments.csv"): "payments:read",
        ("GET", f"/v1/payments/{door.paid}"): "payments:read",
        ("POST", f"/v1/payments/{door.paid}/close"): "payments:write",
        ("POST", f"/v1/payments/{door.paid}/capture"): "payments:write",
        ("POST", f"/v1/payments/{door.paid}/void"): "payments:write",
        ("POST", f"/v1/payments/{door.paid}/refunds"): "refunds:write",
        ("GET", "/v1/refunds"): "payments:read",
        ("GET", f"/v1/refunds/{door.refund}"): "payments:read",
        ("POST", f"/v1/refunds/{door.refund}/retry"): "refunds:write",
        ("POST", "/v1/payees"): "payees:write",
        ("GET", "/v1/payees"): "payments:read",
        ("GET", f"/v1/payees/pye_{'0' * 26}"): "payments:read",
        ("POST", f"/v1/payees/pye_{'0' * 26}/suspend"): "payees:write",
        ("POST", f"/v1/payees/pye_{'0' * 26}/resume"): "payees:write",
        ("POST", "/v1/split_plans"): "payees:write",
        ("GET", "/v1/split_plans"): "payments:read",
        ("POST", "/v1/split_plans/dry_run"): "payments:read",
        ("GET", f"/v1/split_plans/spl_{'0' * 26}"): "payments:read",
        ("POST", f"/v1/split_plans/spl_{'0' * 26}/versions"): "payees:write",
        ("POST", f"/v1/split_plans/spl_{'0' * 26}/activate"): "channels",
        ("GET", "/v1/own_payees"): "payments:read",
        ("PUT", "/v1/own_payees"): "channels",
        ("GET", "/v1/split_attachments"): "payments:read",
        ("PUT", "/v1/split_attachments"): "channels",
        ("GET", "/v1/rail_receivers"): "payments:read",
        ("PUT", "/v1/rail_receivers"): "channels",
        ("POST", "/v1/payout_schedules"): "payees:write",
        ("GET", "/v1/payout_schedules"): "payments:read",
        ("POST", "/v1/payout_reserves"): "payees:write",
        ("GET", "/v1/payout_reserves"): "payments:read",
        ("GET", "/v1/chargebacks"): "payments:read",
        ("GET", "/v1/chargebacks/*"): "payments:read",
        ("PUT", f"/v1/payees/pye_{'0' * 26}/account"): "channels",
        ("GET", f"/v1/payees/pye_{'0' * 26}/account"): "payments:read",
        ("GET", f"/v1/payees/pye_{'0' * 26}/balance"): "payments:read",
        ("POST", f"/v1/payees/pye_{'0' * 26}/withdrawals"): "payees:write",
        ("GET", "/v1/withdrawals"): "payments:read",
        ("GET", f"/v1/withdrawals/wdr_{'0' * 26}"): "payments:read",
        ("GET", "/v1/debts"): "payments:read",
        ("POST", f"/v1/payments/{door.paid}/confirm_delivery"): "payments:write",
        ("GET", "/v1/balances"): "balances:read",
        ("GET", "/v1/settlements"): "balances:read",
        ("GET", "/v1/settlements/stl_1"): "balances:read",
        ("GET", "/v1/events"): "events:read",
        ("POST", "/v1/channel_accounts"): "channels",
        ("GET", "/v1/channel_accounts"): "channels",
        ("GET", "/v1/channel_accounts/rail"): "channels",
        ("PATCH", "/v1/channel_accounts/rail"): "channels",
        ("POST", "/v1/channel_accounts/rail/rotate"): "channels",
        ("POST", "/v1/channel_accounts/rail/drain"): "channels",
        **{
            (method, f"/v1/{what}{one}"): f"payments:{scope}"
            for what in ("payment_links", "merchant_qrs")
            for method, one, scope in (
                ("POST", "", "write"),
                ("GET", "", "read"),
                ("GET", "/lnk_1", "read"),
                ("PATCH", "/lnk_1", "write"),
            )
        },
        ("GET", "/v1/routing_policy"): "channels",
        ("PUT", "/v1/routing_policy"): "channels",
    }
    offered = {
        (route.method, (route.resource.canonical if route.resource else "").replace("{id}", "*"))
        for route in front.client.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/v1/") and route.method != "*"
    }
    assert {
        (method, re.sub(r"/((pay|pye|re|stl|lnk|spl|wdr)_[0-9a-f]+|rail(?=/|$))", "/*", path))
        for method, path in routes
    } == offered
    for scope in sorted(set(routes.values())):
        _, key = await front.hub.merchants.add_key(front.book, [scope], None)
        for (method, path), needed in routes.items():
            answer = await front.send(method, path, b"{", key="k", Authorization=f"Bearer {key}")
            if needed == scope:
                assert answer.status not in (401, 403, 500), (scope, method, path, answer)
            else:
                assert_problem(answer, 403, "scope_missing")
                assert answer.body["scope"] == needed


async def test_an_expired_key_opens_nothing_even_while_it_is_remembered(door: Door) -> None:
    front = door.front
    _, key = await front.hub.merchants.add_key(front.book, ["payments:read"], timedelta(seconds=0.5))
    assert (await front.get("/v1/payments", Authorization=f"Bearer {key}")).status == 200
    front.clock.forward(0.6)
    assert_problem(await front.get("/v1/payments", Authorization=f"Bearer {key}"), 401, "key_expired")


async def test_a_revoked_key_dies_within_a_second(door: Door) -> None:
    front = door.front
    key_id, key = await front.hub.merchants.add_key(front.book, ["payments:read"], None)
    assert (await front.get("/v1/payments", Authorization=f"Bearer {key}")).status == 200
    async with acquire(front.hub.pool) as connection:
        assert not await revoke_key(connection, door.stranger.book, key_id, front.clock.now()), "not theirs to revoke"
        assert await revoke_key(connection, front.book, key_id, front.clock.now())
    front.clock.forward(1.01)
    assert_problem(await front.get("/v1/payments", Authorization=f"Bearer {key}"), 401, "key_revoked")


async def test_another_merchants_object_looks_like_none_at_all(door: Door) -> None:
    def seen(answer: Answer, ident: str) -> Any:
        facts = {name: value for name, value in answer.body.items() if name != "request_id"}
        return answer.status, orjson.dumps(facts).decode().replace(ident, "…")

    for path in ("/v1/payments/{}", "/v1/refunds/{}"):
        theirs = door.strangers_payment if "payments" in path else door.strangers_refund
        nobodys = theirs[:-26] + "0" * 26
        assert seen(await door.front.get(path.format(theirs)), theirs) == seen(
            await door.front.get(path.format(nobodys)), nobodys
        )
    for path, body in (("/v1/payments/{}/close", None), ("/v1/payments/{}/refunds", {"amount": 1})):
        found = await door.front.post(path.format(door.strangers_payment), body, key="k-theirs")
        missed = await door.front.post(path.format(NOBODY), body, key="k-theirs")
        assert seen(found, door.strangers_payment) == seen(missed, NOBODY)
    for path in ("/v1/refunds?payment={}", "/v1/payments?starting_after={}"):
        found = await door.front.get(path.format(door.strangers_payment))
        missed = await door.front.get(path.format(NOBODY))
        assert found.status in (400, 404)
        assert seen(found, door.strangers_payment) == seen(missed, NOBODY)
    assert (await door.front.get("/v1/payments?merchant_order_id=theirs")).body["data"] == []
    ours = {row["id"] for row in (await door.front.get("/v1/payments?limit=100")).body["data"]}
    assert ours >= {door.paid, door.open}
    assert door.strangers_payment not in ours


async def test_two_merchants_may_use_the_same_numbers(door: Door) -> None:
    mine = await door.front.pay("same", key="same")
    theirs = await door.stranger.pay("same", key="same")
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.body["id"] != theirs.body["id"]


POST = b"POST /v1/payments"
MALFORMED = b"malformed_request"

# ---- bytes no client library would send ------------------------------------------------------------------------------


async def spoken(door: Door, *pieces: bytes) -> bytes:
    """Return the first line and the rest of what is answered to these bytes, sent one after another."""
    reader, writer = await asyncio.open_connection(*door.front.address)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    answer = await asyncio.wait_for(reader.read(), 100)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("line", "header", "body", "status", "code"),
    [
        (POST, b"Idempotency-Key: \xff\r\n", b"{}", 400, b"idempotency_key_invalid"),
        (POST, b"X-Request-Id: " + b"\xff" * 8 + b"\r\n", b"{}", 400, b"idempotency_key_missing"),
        (POST, b"X-Request-Id: " + b"a" * 65 + b"\r\n", b"{}", 400, b"idempotency_key_missing"),
        (POST, b"Content-Type: \xff/\xff\r\nIdempotency-Key: k\r\n", b"{}", 415, b"unsupported_media_type"),
        (b"GET /v1/payments?\xff=1", b"", b"", 400, MALFORMED),
        (b"GET /v1/payments/\xff", b"", b"", 400, MALFORMED),
        (b"GET /v1/payments", b"Authorization: Bearer sk_of_another\r\n", b"", 401, b"key_missing"),
        (b"GET v1", b"", b"", 400, MALFORMED),
        (b"GET http://[::1/", b"", b"", 400, MALFORMED),
        (b"GET /" + b"a" * 9_000, b"", b"", 400, MALFORMED),
        (b"BREW /v1/payments", b"", b"", 400, MALFORMED),
        (b"OPTIONS *", b"", b"", 404, b"no_such_route"),
        (b"CONNECT hub:80", b"", b"", 404, b"no_such_route"),
        (b"GET /%0A", b"", b"", 404, b"no_such_route"),
        (b"GET /v1/payments%0d%0a", b"", b"", 404, b"no_such_route"),
        (b"GET /pay/%0A", b"", b"", 404, None),
        (POST, b"Transfer-Encoding: chunked\r\n", b"{}", 400, MALFORMED),
        (POST, b"X: a\x00b\r\n", b"{}", 400, MALFORMED),
        (POST, b"X: " + b"a" * 9_000 + b"\r\n", b"{}", 400, MALFORMED),
        (POST, b"Content-Length: -1\r\n", b"", 400, MALFORMED),
        (POST, b"Expect: \xc3\xa9\r\n", b"{}", 417, b"expectation_unknown"),
        (POST, b"Expect: \xff\r\n", b"{}", 417, b"expectation_unknown"),
        (POST, b"Expect: 100-continue, tea\r\n", b"{}", 417, b"expectation_unknown"),
        (b"GET /v2", b"Expect: tea\r\n", b"", 417, b"expectation_unknown"),
        (b"GET /%0A", b"Expect: \xe9\r\n", b"", 417, b"expectation_unknown"),
    ],
)  # fmt: skip
async def test_bytes_that_are_hardly_http_are_refused_too(
    door: Door, line: bytes, header: bytes, body: bytes, status: int, code: bytes | None
) -> None:
    """Where there is no code, it is a payer's page that says so."""
    usual = b"Host: hub\r\nConnection: close\r\nAuthorization: Bearer %b\r\n" % door.front.shop.key.encode()
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    answer = await spoken(door, line + b" HTTP/1.1\r\n" + usual + header + length + b"\r\n" + body)
    assert answer.split(b" ", 2)[1] == str(status).encode(), answer
    assert code is None or (b"application/problem+json" in answer and b'"code":"%b"' % code in answer)
    assert b"\xff" not in answer


@pytest.mark.parametrize("last", [b"zz\r\n", b"", b"2\r\n{"])
async def test_a_body_that_does_not_go_on_is_not_waited_for(
    door: Door, last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.door.bodies.BODY_WAIT_S", 0.5)  # all pieces are there sooner
    head = (
        b"POST /v1/payments HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nIdempotency-Key: slow\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer %b\r\n\r\n"
    ) % door.front.shop.key.encode()
    reader, writer = await asyncio.open_connection(*door.front.address)
    for piece in (head, b"2\r\n{ \r\n", last):
        writer.write(piece)
        await asyncio.sleep(0.02)
    answer = await asyncio.wait_for(reader.readuntil(b'"code":"body_too_slow"'), 100)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate,chunked", b"x, chunked", b"identity, chunked"])
@pytest.mark.parametrize("path", [b"/v1/payments", b"/notify/scripted/1/rail"])
async def test_a_body_coded_otherwise_than_in_chunks_is_refused_unread(door: Door, coding: bytes, path: bytes) -> None:
    head = (
        b"POST %b HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nIdempotency-Key: %b\r\nTransfer-Encoding: %b\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n\r\n"
    ) % (path, coding.replace(b", ", b"-"), coding, door.front.shop.key.encode())
    before, whole = await door.front.counts(), orjson.dumps(order())
    answer = await spoken(door, head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole))
    assert answer.split(b" ", 2)[1] == b"415", answer
    assert b"unsupported_content_encoding" in answer, answer
    assert await door.front.counts() == before


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" chunked "])
async def test_a_body_in_chunks_is_taken(door: Door, coding: bytes) -> None:
    head = (
        b"POST /v1/payments HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nIdempotency-Key: %b\r\nTransfer-Encoding: %b"
        b"\r\nContent-Type: application/json\r\nAuthorization: Bearer %b\r\n\r\n"
    ) % (coding.replace(b" ", b"-"), coding, door.front.shop.key.encode())
    whole = orjson.dumps(order(merchant_order_id=f"in-{coding.decode().strip()}-{len(coding)}"))
    answer = await spoken(door, head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole))
    assert answer.split(b" ", 2)[1] == b"201", answer


async def test_a_connection_lost_in_the_middle_of_a_body_leaves_nothing(door: Door) -> None:
    before = await door.front.counts()
    whole = orjson.dumps(order())
    head = (
        b"POST /v1/payments HTTP/1.1\r\nHost: hub\r\nIdempotency-Key: lost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nAuthorization: Bearer %b\r\n\r\n"
    ) % (len(whole), door.front.shop.key.encode())
    _, writer = await asyncio.open_connection(*door.front.address)
    writer.write(head + whole[:-1])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.05)
    assert await door.front.counts() == before


# ---- what nobody can think of beforehand -----------------------------------------------------------------------------


async def test_lists_walk_through_everything_once(door: Door) -> None:
    for n in range(3):
        await door.front.pay(f"walk-{n}")
        await door.front.payee(f"walk-{n}")
    for path, cursor in (("/v1/payments", "id"), ("/v1/payees", "id"), ("/v1/events", "seq")):
        name = "after" if cursor == "seq" else "starting_after"
        everything = (await door.front.get(f"{path}?limit=100")).body["data"]
        seen: list[Any] = []
        while True:
            page = await door.front.get(f"{path}?limit=2" + (f"&{name}={seen[-1][cursor]}" if seen else ""))
            seen += page.body["data"]
            if not page.body["has_more"]:
                break
        assert seen == everything, path
        assert len(seen) >= 3


async def test_an_answer_names_the_request_as_the_caller_did(door: Door) -> None:
    answer = await door.front.get("/v1/payments?colour=red", X_Request_Id="till-7-000001")
    assert answer.body["request_id"] == answer.headers["X-Request-Id"] == "till-7-000001"
