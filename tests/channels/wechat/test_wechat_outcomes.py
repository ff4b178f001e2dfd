"""What each answer of WeChat Pay is taken to mean. The table here and the one in the channel's README are the same."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import channels.wechat
from channels import Confirmed, Method, Outcome, Pending, Refused, Unknown
from channels.wechat import messages
from kernel.env import Response
from kernel.money import Money
from tests.channels.wechat.wechat_rail import GOLDEN, NOW, Rail, channel, order, refund, refund_order, transaction

RAIL, WECHAT = Rail(), channel()
PAID_AT = datetime(2026, 11, 24, 8, 29, 58, tzinfo=UTC)
PAID = Confirmed("4200002511202611249876543210", Money(1234, "CNY"), PAID_AT)
REFUNDED = Confirmed("50302511112026112412345678901", Money(234, "CNY"), PAID_AT.replace(second=59))
OPS = ("pay", "charge", "query", "close", "reverse", "refund", "refund_query")


def outcome(op: str, answer: Response) -> Outcome:
    """Translate an answer; `pay` shows a QR code, `charge` takes the payer's code."""
    if op in ("refund", "refund_query"):
        read = WECHAT.refund_outcome if op == "refund" else WECHAT.refund_query_outcome
        return read(refund_order(), answer, now=NOW)
    asked = order(Method.BARCODE if op in ("charge", "reverse") else Method.QR)
    reads = {
        "pay": WECHAT.pay_outcome,
        "charge": WECHAT.pay_outcome,
        "query": WECHAT.query_outcome,
        "close": WECHAT.close_outcome,
        "reverse": WECHAT.reverse_outcome,
    }
    return reads[op](asked, answer, now=NOW)


def error(status: int, code: str) -> Response:
    """Return an error as WeChat sends it: without a signature."""
    return Response(status, {}, json.dumps({"code": code, "message": "说明"}).encode())


QR = {"code_url": "weixin://wxpay/bizpayurl?pr=p4lpSuKzz"}
UNDONE = {"appid": "wxd678efh567hg6787", "mchid": "1900000109", "out_trade_no": order().reference}
SIGNED: list[tuple[str, str, Response, Outcome]] = [
    ("pay", "a code to show", RAIL.signed(200, QR), Pending({"type": "qr", "code": QR["code_url"]})),
    ("charge", "paid at once", RAIL.signed(200, transaction()), PAID),
    ("charge", "payer types (202)", RAIL.signed(202, {"code": "USERPAYING", "message": "需要输密"}), Pending()),
    ("charge", "payer types (200)", RAIL.signed(200, transaction("USERPAYING")), Pending()),
    ("query", "paid", RAIL.signed(200, transaction()), PAID),
    ("query", "paid and refunded since", RAIL.signed(200, transaction("REFUND")), PAID),
    ("query", "not paid", RAIL.signed(200, transaction("NOTPAY")), Pending()),
    ("query", "payer types", RAIL.signed(200, transaction("USERPAYING")), Pending()),
    ("query", "closed", RAIL.signed(200, transaction("CLOSED")), Refused("CLOSED", "支付成功", closed=True)),
    ("query", "reversed", RAIL.signed(200, transaction("REVOKED")), Refused("REVOKED", "支付成功", closed=True)),
    ("query", "failed", RAIL.signed(200, transaction("PAYERROR")), Refused("PAYERROR", "支付成功")),
    ("close", "closed", RAIL.signed(204), Refused("CLOSED", closed=True)),
    ("reverse", "undone", RAIL.signed(200, UNDONE), Refused("REVERSED", closed=True)),
    ("refund", "accepted", RAIL.signed(200, refund("PROCESSING")), Pending(channel_ref=REFUNDED.channel_ref)),
    ("refund", "done", RAIL.signed(200, refund()), REFUNDED),
    ("refund_query", "done", RAIL.signed(200, refund()), REFUNDED),
    ("refund_query", "failed", RAIL.signed(200, refund("CLOSED")), Refused("CLOSED", closed=True)),
    (
        "refund_query",
        "taken from the merchant, not received by the payer",
        RAIL.signed(200, refund("ABNORMAL")),
        Pending({"type": "operator", "code": "ABNORMAL"}, REFUNDED.channel_ref),
    ),
]


@pytest.mark.parametrize(("op", "what", "answer", "meaning"), SIGNED, ids=[f"{row[0]}: {row[1]}" for row in SIGNED])
def test_a_verified_answer_means_what_the_table_says(op: str, what: str, answer: Response, meaning: Outcome) -> None:
    assert outcome(op, answer) == meaning


@pytest.mark.parametrize(("op", "what", "answer", "meaning"), SIGNED, ids=[f"{row[0]}: {row[1]}" for row in SIGNED])
def test_the_same_answer_without_its_signature_means_nothing(
    op: str, what: str, answer: Response, meaning: Outcome
) -> None:
    unsigned = Response(answer.status, {}, answer.body)
    assert isinstance(outcome(op, unsigned), Unknown)


FINAL, RETRIABLE, CLOSED = (
    Refused("", "说明"),
    Refused("", "说明", retriable=True),
    Refused("", "说明", closed=True),
)
NOT_FOUND = Unknown("", not_found=True)
# Every error that concludes anything. What is not here is Unknown, see the next test.
ERRORS: dict[tuple[str, int, str], Outcome] = {
    **{
        (op, status, code): RETRIABLE
        for op in ("pay", "charge", "refund")
        for status, code in (
            (401, "SIGN_ERROR"),
            (403, "NO_AUTH"),
            (400, "APPID_MCHID_NOT_MATCH"),
            (400, "MCH_NOT_EXISTS"),
        )
    },
    **{(op, 400, "PARAM_ERROR"): FINAL for op in ("pay", "charge", "refund")},
    **{(op, 400, "ORDER_CLOSED"): CLOSED for op in ("pay", "charge", "close", "reverse")},
    **{(op, 400, "ORDERCLOSED"): CLOSED for op in ("close", "reverse")},
    **{(op, 403, "RULE_LIMIT"): RETRIABLE for op in ("pay", "charge")},
    **{
        (op, 403, code): FINAL
        for op in ("pay", "charge")
        for code in ("NOT_ENOUGH", "ACCOUNT_ERROR", "USER_ACCOUNT_ABNORMAL")
    },
    **{(op, 400, code): Pending() for op in ("pay", "charge") for code in ("USERPAYING", "USER_PAYING")},
    **{
        (op, 404, code): NOT_FOUND
        for op in ("query", "close", "reverse")
        for code in ("ORDER_NOT_EXIST", "ORDERNOTEXIST")
    },
    ("refund", 403, "NOT_ENOUGH"): RETRIABLE,
    ("refund", 404, "RESOURCE_NOT_EXISTS"): FINAL,
    ("refund", 400, "TRADE_OVERDUE"): FINAL,
    ("refund", 403, "USER_ACCOUNT_ABNORMAL"): FINAL,
    ("refund_query", 404, "RESOURCE_NOT_EXISTS"): NOT_FOUND,
}
CODES = sorted(
    {code for _, _, code in ERRORS}
    | {"INVALID_REQUEST", "OUT_TRADE_NO_USED", "TRADE_ERROR", "ORDER_PAID", "REFUND_FEE_MISMATCH", "BANK_ERROR"}
    | {"FREQUENCY_LIMITED", "RATELIMIT_EXCEEDED", "SYSTEM_ERROR", "SERVICE_UNAVAILABLE", "NO_STATEMENT_EXIST", "NEW"}
)


def without_words(found: Outcome) -> Outcome:
    match found:
        case Refused():
            return replace(found, code="")
        case Unknown():
            return replace(found, reason="", refusal=None)
        case _:
            return found


@pytest.mark.parametrize("op", OPS)
def test_an_error_concludes_what_the_list_says_and_nothing_else_does(op: str) -> None:
    """Each code on each operation under each status: 7 × 27 × 8 answers."""
    listed = {(of, code): meaning for (of, _, code), meaning in ERRORS.items()}
    for code in CODES:
        for status in (400, 401, 403, 404, 429, 500, 502, 503):
            meaning = listed.get((op, code), Unknown("")) if status < 429 else Unknown("")
            found = outcome(op, error(status, code))
            assert without_words(found) == meaning, f"{op} {status} {code}"
            if isinstance(found, Refused):
                assert found.code == code


def test_a_refund_refused_in_words_that_may_mean_a_used_number_is_refused_if_the_number_is_unknown() -> None:
    doubtful = {"INVALID_REQUEST", "RULE_LIMIT", "TRADE_ERROR", "REFUND_FEE_MISMATCH"}
    for code in CODES:
        for op, status in (("refund", 400), ("refund", 429), ("refund", 500), ("refund_query", 400), ("pay", 400)):
            found = outcome(op, error(status, code))
            refusal = found.refusal if isinstance(found, Unknown) else None
            wanted = code in doubtful and (op, status) == ("refund", 400)
            assert (refusal is not None and refusal.code == code) is wanted, f"{op} {status} {code}"


def test_the_readme_lists_exactly_the_refusals_of_the_code() -> None:
    readme = (Path(channels.wechat.__file__).parent / "README.md").read_text()
    table = readme.partition("## Final refusals")[2].partition("##")[0]
    documented = {
        (op, code)
        for ops, codes in re.findall(r"^\| ([a-z_, ]+) \| ([^|]+) \|", table, flags=re.MULTILINE)
        for op in ops.split(", ")
        for code in re.findall(r"`([A-Z_]+)`", codes)
    }
    tables = {"pay": messages.PAY, "close": messages.CLOSE, "reverse": messages.REVERSE, "refund": messages.REFUND}
    coded = {
        (op, code)
        for op, table in tables.items()
        for code, says in table.items()
        if isinstance(says(code, ""), Refused)
    }
    assert documented == coded


DOUBTFUL: list[tuple[str, str, dict[str, Any]]] = [
    ("query", "amount differs", transaction(amount={"total": 1233, "currency": "CNY"})),
    ("query", "currency differs", transaction(amount={"total": 1234, "currency": "USD"})),
    ("query", "another merchant's", transaction(mchid="1900000110")),
    ("query", "another app's", transaction(appid="wx0000000000000000")),
    ("query", "another order's", transaction(out_trade_no="1-01937a0b5c00aabbccddeeff00113")),
    ("query", "amount as text", transaction(amount={"total": "1234", "currency": "CNY"})),
    ("query", "amount with a point", transaction(amount={"total": 1234.0, "currency": "CNY"})),
    ("query", "amount true", transaction(amount={"total": True, "currency": "CNY"})),
    ("query", "amount negative", transaction(amount={"total": -1234, "currency": "CNY"})),
    ("query", "amount beyond money", transaction(amount={"total": 10**30, "currency": "CNY"})),
    ("query", "no amount", transaction(amount=None)),
    ("query", "no number of WeChat's", transaction(transaction_id="")),
    ("query", "a new state", transaction("FROZEN")),
    ("query", "no state", transaction(trade_state=None)),
    ("query", "a time without a zone", transaction(success_time="2026-11-24T16:29:58")),
    ("query", "no time", transaction(success_time="yesterday")),
    ("charge", "amount differs", transaction(amount={"total": 1, "currency": "CNY"})),
    ("charge", "nothing said", {}),
    ("charge", "another code", {"code": "SOMETHING_NEW", "message": ""}),
    ("pay", "no code to show", {}),
    ("pay", "a code that leads elsewhere", {"code_url": "https://evil.example"}),
    ("reverse", "another order's", UNDONE | {"out_trade_no": "another"}),
    ("reverse", "nothing said", {}),
    ("close", "a body where none belongs", {"a": 1}),
    ("refund", "amount differs", refund(amount={"refund": 235, "total": 1234, "currency": "CNY"})),
    ("refund", "another refund's", refund(out_refund_no="another")),
    ("refund", "another payment's", refund(out_trade_no="another")),
    ("refund_query", "a new status", refund("HALF")),
    ("refund_query", "no number of WeChat's", refund(refund_id="../x")),
]


@pytest.mark.parametrize(("op", "what", "body"), DOUBTFUL, ids=[f"{row[0]}: {row[1]}" for row in DOUBTFUL])
def test_a_signed_answer_that_is_not_about_our_order_is_unknown(op: str, what: str, body: dict[str, Any]) -> None:
    found = outcome(op, RAIL.signed(200, body))
    assert isinstance(found, Unknown)
    assert not found.not_found
    assert not found.not_sent


def test_another_amount_is_named_so_that_a_case_can_be_opened() -> None:
    found = outcome("query", RAIL.signed(200, transaction(amount={"total": 1, "currency": "CNY"})))
    assert isinstance(found, Unknown)
    assert found.stated_amount == Money(1, "CNY")


def test_fields_we_do_not_know_do_no_harm() -> None:
    assert outcome("query", RAIL.signed(200, transaction(new_field={"deep": [1.5, None]}))) == PAID


@pytest.mark.parametrize(
    "body",
    [
        b'{"code_url":"weixin://a","code_url":"weixin://b"}',
        b'{"code_url":"weixin://a","x":NaN}',
        b'{"code_url":"weixin://a","x":1e999}',
        b'{"code_url":"weixin://a\\ud800"}',
        b'{"code_url":"weixin://a\\u0000"}',
        b'\xef\xbb\xbf{"code_url":"weixin://a"}',
        b'{"code_url":"weixin://\xff"}',
        b'["weixin://a"]',
        b"[" * 100_000,
        b'{"x":' + b"1" * 5000 + b"}",
        b"",
    ],
    ids=["twice", "nan", "huge", "surrogate", "nul", "mark", "latin", "list", "deep", "digits", "empty"],
)
def test_json_with_more_than_one_reading_is_not_read(body: bytes) -> None:
    assert isinstance(outcome("pay", RAIL.signed(200, body)), Unknown)


def test_an_error_with_a_wrong_signature_concludes_nothing() -> None:
    forged = Rail("stranger").signed(400, {"code": "PARAM_ERROR", "message": ""})
    assert isinstance(outcome("pay", forged), Unknown)
    right = RAIL.signed(400, {"code": "PARAM_ERROR", "message": ""})
    assert outcome("pay", right) == Refused("PARAM_ERROR")


def test_a_redirect_is_no_answer_even_if_it_is_signed() -> None:
    assert isinstance(outcome("close", RAIL.signed(302)), Unknown)


@given(
    st.binary(max_size=300), st.sampled_from([200, 202, 204, 301, 400, 404, 500]), st.sampled_from(OPS), st.booleans()
)
def test_no_answer_whatever_makes_the_adapter_stumble(body: bytes, status: int, op: str, signed: bool) -> None:
    answer = RAIL.signed(status, body) if signed else Response(status, {}, body)
    assert isinstance(outcome(op, answer), Confirmed | Pending | Refused | Unknown)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({*transaction(), *refund(), *UNDONE, "code", "code_url"})


@given(st.sampled_from(OPS), st.sampled_from(FIELDS), json_values)
def test_no_signed_field_of_any_kind_makes_the_adapter_stumble_or_confirm_more(op: str, name: str, value: Any) -> None:
    body: dict[str, Any] = refund() if op.startswith("refund") else transaction()
    found = outcome(op, RAIL.signed(200, body | {name: value}))
    assert isinstance(found, Confirmed | Pending | Refused | Unknown)
    if isinstance(found, Confirmed):
        assert found.amount in (PAID.amount, REFUNDED.amount)


# ---- golden bytes ----------------------------------------------------------------------------------------------------

GOLDEN_ANSWERS: dict[str, tuple[str, Outcome]] = {
    "answer_native_code_to_show": ("pay", Pending({"type": "qr", "code": QR["code_url"]})),
    "answer_codepay_paid_at_once": ("charge", PAID),
    "answer_codepay_payer_types_password": ("charge", Pending()),
    "answer_query_paid": ("query", PAID),
    "answer_query_partly_refunded_is_paid": ("query", PAID),
    "answer_query_not_paid_yet": ("query", Pending()),
    "answer_query_closed": ("query", Refused("CLOSED", "订单已关闭", closed=True)),
    "answer_query_unknown_order_unsigned": ("query", Unknown("ORDER_NOT_EXIST: 订单不存在", not_found=True)),
    "answer_close_empty_and_signed": ("close", Refused("CLOSED", closed=True)),
    "answer_reverse_done": ("reverse", Refused("REVERSED", closed=True)),
    "answer_refund_accepted": ("refund", Pending(channel_ref=REFUNDED.channel_ref)),
    "answer_refund_query_done": ("refund_query", REFUNDED),
    "answer_refund_query_not_accepted_unsigned": (
        "refund_query",
        Unknown("RESOURCE_NOT_EXISTS: 退款单不存在", not_found=True),
    ),
}


def received(name: str) -> Response:
    """Return a stored answer or notice: status line, headers, blank line, body without a final newline."""
    head, _, body = (GOLDEN / f"{name}.txt").read_bytes().partition(b"\n\n")
    status, *headers = head.decode().split("\n")
    return Response(int(status), dict(line.split(": ", 1) for line in headers if line), body)


@pytest.mark.parametrize("name", GOLDEN_ANSWERS)
def test_stored_answers_keep_their_meaning(name: str) -> None:
    op, meaning = GOLDEN_ANSWERS[name]
    assert outcome(op, received(name)) == meaning
