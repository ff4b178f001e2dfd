"""What each answer of Alipay is taken to mean. The tables here and the ones in the channel's README are the same."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import channels.alipay
from channels import Confirmed, Method, Outcome, Pending, Refused, Unknown
from channels.alipay import messages, sharing
from kernel.env import Response
from kernel.money import Money
from tests.channels.alipay.alipay_rail import (
    GOLDEN,
    NOW,
    NUMBER,
    TRADE_NO,
    Rail,
    as_alipay_writes,
    channel,
    charged,
    ok,
    order,
    refund_found,
    refund_order,
    refunded,
    refused,
    trade,
)

RAIL, STRANGER, ALIPAY = Rail(), Rail("stranger"), channel()
PAID = Confirmed(TRADE_NO, Money(1234, "CNY"), datetime(2026, 11, 24, 8, 29, 58, tzinfo=UTC))
REFUNDED = Confirmed(TRADE_NO, Money(234, "CNY"), datetime(2026, 11, 24, 10, 0, 1, tzinfo=UTC))
# Our name of a call → Alipay's method, and the way to pay of the order it is about.
OPS: Mapping[str, tuple[str, Method]] = {
    "precreate": ("alipay.trade.precreate", Method.QR),
    "charge": ("alipay.trade.pay", Method.BARCODE),
    "create": ("alipay.trade.create", Method.JSAPI),
    "query": ("alipay.trade.query", Method.QR),
    "query barcode": ("alipay.trade.query", Method.BARCODE),
    "close": ("alipay.trade.close", Method.QR),
    "reverse": ("alipay.trade.cancel", Method.BARCODE),
    "refund": ("alipay.trade.refund", Method.QR),
    "refund_query": ("alipay.trade.fastpay.refund.query", Method.QR),
}
PAYS = ("precreate", "charge", "create")


def outcome(op: str, answer: Response) -> Outcome:
    if op.startswith("refund"):
        read = ALIPAY.refund_outcome if op == "refund" else ALIPAY.refund_query_outcome
        return read(refund_order(), answer, now=NOW)
    reads = {"query": ALIPAY.query_outcome, "close": ALIPAY.close_outcome, "reverse": ALIPAY.reverse_outcome}
    return reads.get(op.split()[0], ALIPAY.pay_outcome)(order(OPS[op][1]), answer, now=NOW)


def said(op: str, fields: Mapping[str, Any] | bytes, **how: Any) -> Outcome:
    return outcome(op, RAIL.answer(OPS[op][0], fields, **how))


def unsigned(answer: Response) -> Response:
    return Response(answer.status, answer.headers, re.sub(rb',"sign":"[^"]*"}$', b"}", answer.body))


CODE = "https://qr.alipay.com/bax03431ljhokirwl38f00a7"
ALL_BACK = {"trade_status": "TRADE_CLOSED", "send_pay_date": "2026-11-24 16:29:58", "buyer_pay_amount": "12.34"}
SIGNED: list[tuple[str, str, dict[str, Any], Outcome]] = [
    ("precreate", "a code to show", ok(out_trade_no=NUMBER, qr_code=CODE), Pending({"type": "qr", "code": CODE})),
    ("charge", "paid at once", charged(), PAID),
    ("charge", "the payer is asked", {"code": "10003", "msg": "order success pay inprocess"}, Pending()),
    (
        "create",
        "a trade to pay in the wallet",
        ok(out_trade_no=NUMBER, trade_no=TRADE_NO),
        Pending({"type": "jsapi", "trade_no": TRADE_NO}, TRADE_NO),
    ),
    ("query", "paid", trade(), PAID),
    ("query", "paid, too old to refund", trade("TRADE_FINISHED"), PAID),
    ("query", "not paid", trade("WAIT_BUYER_PAY"), Pending(channel_ref=TRADE_NO)),
    ("query", "closed unpaid", trade("TRADE_CLOSED"), Refused("TRADE_CLOSED", closed=True)),
    ("query", "refunded in full, as recorded", trade("TRADE_CLOSED", send_pay_date="2026-11-24 16:29:58"), PAID),
    ("query", "paid, given back in full", trade(**ALL_BACK), PAID),
    ("query", "reversed", trade(**ALL_BACK, ext_infos='{"action":"cancel"}'), Refused("REVERSED", closed=True)),
    ("query barcode", "paid", trade(), PAID),
    ("query barcode", "reversed", trade(**ALL_BACK, ext_infos='{"action":"cancel"}'), Refused("REVERSED", closed=True)),
    ("query barcode", "closed unpaid", trade("TRADE_CLOSED"), Refused("TRADE_CLOSED", closed=True)),
    ("close", "closed", ok(out_trade_no=NUMBER, trade_no=TRADE_NO), Refused("CLOSED", closed=True)),
    ("reverse", "closed", ok(out_trade_no=NUMBER, retry_flag="N", action="close"), Refused("REVERSED", closed=True)),
    (
        "reverse",
        "given back",
        ok(out_trade_no=NUMBER, retry_flag="N", action="refund"),
        Refused("REVERSED", closed=True),
    ),
    ("reverse", "was never there", ok(out_trade_no=NUMBER, retry_flag="N"), Refused("REVERSED", closed=True)),
    ("refund", "the first of its trade", refunded(), REFUNDED),
    ("refund", "one of several", refunded(refund_fee="5.00"), Pending(channel_ref=TRADE_NO)),
    ("refund", "nothing moved just now", refunded(fund_change="N"), Pending(channel_ref=TRADE_NO)),
    ("refund_query", "done", refund_found(), REFUNDED),
    ("refund_query", "under way", refund_found(refund_status="REFUND_PROCESSING"), Pending(channel_ref=TRADE_NO)),
]
IDS = [f"{row[0]}: {row[1]}" for row in SIGNED]


@pytest.mark.parametrize(("op", "what", "fields", "meaning"), SIGNED, ids=IDS)
def test_a_verified_answer_means_what_the_table_says(
    op: str, what: str, fields: dict[str, Any], meaning: Outcome
) -> None:
    assert said(op, fields) == meaning


@pytest.mark.parametrize(("op", "what", "fields", "meaning"), SIGNED, ids=IDS)
def test_the_same_answer_unsigned_or_signed_by_another_means_nothing(
    op: str, what: str, fields: dict[str, Any], meaning: Outcome
) -> None:
    answer = RAIL.answer(OPS[op][0], fields)
    bare = unsigned(answer)
    assert b'"sign"' not in bare.body
    for doubtful in (bare, STRANGER.answer(OPS[op][0], fields), Response(500, {}, answer.body)):
        found = outcome(op, doubtful)
        assert isinstance(found, Unknown)
        assert not found.not_found


@pytest.mark.parametrize(("op", "what", "fields", "meaning"), SIGNED, ids=IDS)
def test_an_answer_to_another_question_is_no_answer(
    op: str, what: str, fields: dict[str, Any], meaning: Outcome
) -> None:
    assert isinstance(said(op, fields, node="alipay_user_info_share_response"), Unknown)
    assert isinstance(said(op, fields, node="error_response"), Unknown), "an error does not say that it went well"


def test_a_refund_alipay_has_not_carried_out_may_be_sent_again() -> None:
    found = said("refund_query", ok())
    assert isinstance(found, Unknown)
    assert found.not_found


@pytest.mark.parametrize("lacking", [(), ("out_request_no",), ("refund_amount",)])
def test_an_answer_that_names_a_refund_and_no_status_says_neither(lacking: tuple[str, ...]) -> None:
    # The page of alipay.trade.fastpay.refund.query: only REFUND_SUCCESS is success, without a status the same number
    # may be sent again. But answers recorded in 2016 to 2020 name a refund that was done, without a status.
    of_2019 = {key: value for key, value in refund_found().items() if key not in ("refund_status", *lacking)}
    found = said("refund_query", of_2019)
    assert isinstance(found, Unknown)
    assert not found.not_found, "a refusal of the same number sent again would end a refund that went out"


def test_a_reversal_alipay_wants_once_more_is_not_done() -> None:
    found = said("reverse", ok(out_trade_no=NUMBER, retry_flag="Y", action="refund"))
    assert isinstance(found, Unknown)
    assert not found.not_found


# ---- closed, refunded, reversed --------------------------------------------------------------------------------------


def test_what_was_paid_by_code_and_is_closed_may_be_refunded_or_reversed_and_is_called_neither() -> None:
    for ext_infos in (None, "", "{}", '{"action":"refund"}', "cancel", '["cancel"]'):
        found = said("query barcode", trade(**ALL_BACK, ext_infos=ext_infos))
        assert isinstance(found, Unknown)
        assert not found.not_found


@pytest.mark.parametrize("op", ["query", "query barcode"])
@pytest.mark.parametrize(
    "moved",
    [{"buyer_pay_amount": "12.34"}, {"receipt_amount": "0.01"}, {"fund_bill_list": [{"amount": "12.34"}]}],
    ids=lambda moved: next(iter(moved)),
)
def test_a_closed_trade_that_moved_money_without_saying_when_is_not_called_closed(
    op: str, moved: dict[str, Any]
) -> None:
    assert isinstance(said(op, trade("TRADE_CLOSED", **moved)), Unknown)


# ---- errors ----------------------------------------------------------------------------------------------------------

FINAL, RETRIABLE, NOT_FOUND = Refused("", "说明"), Refused("", "说明", retriable=True), Unknown("", not_found=True)
GATEWAY = (
    "isv.invalid-app-id",
    "isv.missing-app-id",
    "isv.invalid-signature",
    "isv.invalid-signature-type",
    "isv.missing-signature",
    "isv.missing-signature-type",
    "isv.missing-signature-key",
    "isv.missing-signature-config",
    "isv.insufficient-isv-permissions",
    "isv.insufficient-user-permissions",
)
RAILS_NO = (
    "ACQ.ACCESS_FORBIDDEN",
    "ACQ.PARTNER_ERROR",
    "ACQ.SELLER_BEEN_BLOCKED",
    "ACQ.TOTAL_FEE_EXCEED",
    "ACQ.PRODUCT_AMOUNT_LIMIT_ERROR",
    "ACQ.BEYOND_PAY_RESTRICTION",
    "ACQ.BEYOND_PER_RECEIPT_RESTRICTION",
    "ACQ.EXIST_FORBIDDEN_WORD",
    "ACQ.PAYMENT_REQUEST_HAS_RISK",
)
PAYERS_NO = (
    "ACQ.INVALID_PARAMETER",
    "ACQ.PAYMENT_AUTH_CODE_INVALID",
    "ACQ.BUYER_BALANCE_NOT_ENOUGH",
    "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH",
    "ACQ.ERROR_BALANCE_PAYMENT_DISABLE",
    "ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE",
    "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR",
    "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR",
    "ACQ.BUYER_ENABLE_STATUS_FORBID",
    "ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT",
    "ACQ.BUYER_SELLER_EQUAL",
    "ACQ.USER_FACE_PAYMENT_SWITCH_OFF",
    "ACQ.PULL_MOBILE_CASHIER_FAIL",
    "ACQ.PAYMENT_FAIL",
)
# Every business error that concludes anything. What is not here is Unknown, see the next tests.
ERRORS: dict[tuple[str, str], Outcome] = {
    **{(op, code): RETRIABLE for op in PAYS for code in RAILS_NO},
    **{(op, code): FINAL for op in PAYS for code in PAYERS_NO},
    **{(op, "ACQ.TRADE_NOT_EXIST"): NOT_FOUND for op in ("query", "query barcode", "close", "reverse", "refund_query")},
    **{("refund", code): RETRIABLE for code in ("ACQ.SELLER_BALANCE_NOT_ENOUGH", "ACQ.REASON_TRADE_BEEN_FREEZEN")},
    **{
        ("refund", code): FINAL
        for code in (
            "ACQ.INVALID_PARAMETER",
            "ACQ.TRADE_NOT_EXIST",
            "ACQ.TRADE_STATUS_ERROR",
            "ACQ.TRADE_HAS_FINISHED",
            "ACQ.REASON_TRADE_REFUND_FEE_ERR",
            "ACQ.TRADE_NOT_ALLOW_REFUND",
            "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
        )
    },
}
CODES = sorted(
    {code for _, code in ERRORS}
    | {"ACQ.SYSTEM_ERROR", "ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE", "ACQ.CONTEXT_INCONSISTENT"}
    | {"ACQ.DISCORDANT_REPEAT_REQUEST", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "ACQ.TRADE_BUYER_NOT_MATCH", "ACQ.NEW", ""}
    | {"isp.unknow-error", "aop.unknow-error", "isv.app-call-limited", *GATEWAY}
)


def without_words(found: Outcome) -> Outcome:
    match found:
        case Refused():
            return replace(found, code="")
        case Unknown():
            return replace(found, reason="", follow_up=None, refusal=None)
        case _:
            return found


@pytest.mark.parametrize("op", OPS)
def test_an_error_concludes_what_the_list_says_and_nothing_else_does(op: str) -> None:
    """Each sub_code under each code, signed and not: a business error counts under 40004 and signed only."""
    admits = op in (*PAYS, "refund")
    for sub_code in CODES:
        for code in ("20000", "20001", "40001", "40002", "40003", "40004", "40005", "40006", "1"):
            answer = RAIL.answer(OPS[op][0], refused(sub_code, code))
            let_in = not (admits and sub_code in GATEWAY and code in ("40001", "40002", "40006"))
            listed = ERRORS.get((op, sub_code), Unknown("")) if code == "40004" else Unknown("")
            assert without_words(outcome(op, answer)) == (listed if let_in else RETRIABLE), f"{op} {code} {sub_code}"
            assert without_words(outcome(op, unsigned(answer))) == (Unknown("") if let_in else RETRIABLE)
            found = outcome(op, answer)
            if isinstance(found, Refused):
                assert found.code == sub_code


def test_a_refund_of_a_closed_trade_is_refused_if_its_number_is_unknown() -> None:
    for code in CODES:
        answer = RAIL.answer("alipay.trade.refund", refused(code))
        for message, counts in ((answer, True), (unsigned(answer), False)):
            found = outcome("refund", message)
            refusal = found.refusal if isinstance(found, Unknown) else None
            wanted = counts and code in ("ACQ.TRADE_HAS_CLOSE", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")
            assert (refusal is not None and refusal.code == code) is wanted, code


def test_a_request_that_was_not_let_in_may_be_answered_by_an_error_without_a_name() -> None:
    """error_response, unsigned: Alipay cannot sign for an application it does not know."""
    body = (
        b'{"error_response":{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-app-id","sub_msg":"x"}}'
    )
    assert outcome("charge", Response(200, {}, body)) == Refused("isv.invalid-app-id", "x", retriable=True)
    assert isinstance(outcome("query", Response(200, {}, body)), Unknown), "it says nothing of the order"


def test_an_error_with_a_wrong_signature_concludes_nothing() -> None:
    for fields in (refused("ACQ.INVALID_PARAMETER"), refused("isv.invalid-signature", "40002")):
        assert isinstance(outcome("charge", STRANGER.answer("alipay.trade.pay", fields)), Unknown)
        assert isinstance(said("charge", fields), Refused)


# What is asked next, of the query, because the error alone does not say what became of the order.
THEN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PAYS, ("ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE")),
    "close": (
        "ACQ.TRADE_STATUS_ERROR",
        "ACQ.REASON_TRADE_STATUS_INVALID",
        "ACQ.REASON_ILLEGAL_STATUS",
        "ACQ.TRADE_HAS_CLOSE",
    ),
}


@pytest.mark.parametrize("op", OPS)
def test_an_order_that_has_ended_is_asked_about_at_once(op: str) -> None:
    for sub_code in sorted({*CODES, *THEN["close"]}):
        answer = RAIL.answer(OPS[op][0], refused(sub_code))
        found = outcome(op, answer)
        wanted = ALIPAY.query_request(order()) if sub_code in THEN.get(op, ()) else None
        assert (found.follow_up if isinstance(found, Unknown) else None) == wanted, f"{op} {sub_code}"
        for doubtful in (unsigned(answer), STRANGER.answer(OPS[op][0], refused(sub_code))):
            found = outcome(op, doubtful)
            assert not isinstance(found, Unknown) or found.follow_up is None


def test_a_payment_tried_again_after_it_ended_is_what_the_query_says() -> None:
    """The client reads the answer to the next question likewise."""

    def told(op: str, fields: dict[str, Any]) -> Outcome:
        return outcome(op, RAIL.answer("alipay.trade.query", fields))

    for op in PAYS:
        assert told(op, trade()) == PAID
        assert told(op, trade("TRADE_CLOSED")) == Refused("TRADE_CLOSED", closed=True)
    assert told("precreate", trade(**ALL_BACK)) == PAID, "given back in full, it was paid"
    assert isinstance(told("charge", trade(total_amount="0.01")), Unknown)


def test_a_closing_refused_because_of_the_state_is_done_only_if_the_query_says_closed() -> None:
    def told(fields: dict[str, Any], rail: Rail = RAIL) -> Outcome:
        return outcome("close", rail.answer("alipay.trade.query", fields))

    assert told(trade("TRADE_CLOSED")) == Refused("TRADE_CLOSED", closed=True)
    for fields in (trade(), trade(**ALL_BACK), trade("WAIT_BUYER_PAY"), refused("ACQ.SYSTEM_ERROR")):
        found = told(fields)
        assert isinstance(found, Unknown)
        assert found.follow_up is None
    assert isinstance(told(trade("TRADE_CLOSED"), STRANGER), Unknown)


def readme_table(title: str) -> set[tuple[str, str]]:
    readme = (Path(channels.alipay.__file__).parent / "README.md").read_text()
    table = readme.partition(f"## {title}")[2].partition("\n## ")[0]
    return {
        (op, code)
        for ops, codes in re.findall(r"^\| ([a-z_, ]+) \| ([^|]+) \|", table, flags=re.MULTILINE)
        for op in ops.split(", ")
        for code in re.findall(r"`([A-Za-z_.-]+)`", codes)
    }


def test_the_readme_lists_exactly_the_refusals_of_the_code() -> None:
    tables = {
        "pay": messages.PAY, "refund": messages.REFUND, "bind": sharing.BINDING, "share": sharing.SHARE,
        "give_back": sharing.RETURN,
    }  # fmt: skip
    coded = {
        (op, code)
        for op, table in tables.items()
        for code, says in (*table.items(), *messages.NOT_ADMITTED.items())
        if isinstance(says(code, ""), Refused)
    }
    assert readme_table("Final refusals") == coded


# ---- doubt -----------------------------------------------------------------------------------------------------------

DOUBTFUL: list[tuple[str, str, Mapping[str, Any]]] = [
    ("query", "amount differs", trade(total_amount="12.33")),
    ("query", "amount with three decimals", trade(total_amount="12.340")),
    ("query", "amount as a number", trade(total_amount=12.34)),
    ("query", "amount negative", trade(total_amount="-12.34")),
    ("query", "amount zero", trade(total_amount="0.00")),
    ("query", "amount with other digits", trade(total_amount="１２.34")),
    ("query", "amount with an exponent", trade(total_amount="1.234e1")),
    ("query", "no amount", trade(total_amount=None)),
    ("query", "another currency", trade(trans_currency="USD")),
    ("query", "another order's", trade(out_trade_no="1_01937a0b5c00aabbccddeeff001121")),
    ("query", "our number with a dash", trade(out_trade_no=order().reference)),
    ("query", "no number of Alipay's", trade(trade_no="../x")),
    ("query", "a new state", trade("TRADE_PENDING")),
    ("query", "no state", trade(trade_status=None)),
    ("query", "no time", trade(send_pay_date=None)),
    ("query", "a time in another form", trade(send_pay_date="2026-11-24T16:29:58+08:00")),
    ("query", "no day", trade(send_pay_date="2026-02-30 16:29:58")),
    ("query", "the time of a program that has none", trade(send_pay_date="0001-01-01 00:00:00")),
    ("query", "no code", {"msg": "Success"}),
    ("query", "code as a number", trade(code=10000)),
    ("charge", "amount differs", charged(total_amount="0.01")),
    ("charge", "another order's", charged(out_trade_no="another")),
    ("charge", "nothing said", ok()),
    ("precreate", "no code to show", ok(out_trade_no=NUMBER)),
    ("precreate", "a code that is no address", ok(out_trade_no=NUMBER, qr_code="javascript:alert(1)")),
    ("precreate", "a code that breaks lines", ok(out_trade_no=NUMBER, qr_code="https://qr.alipay.com/a\nb")),
    ("precreate", "another order's", ok(out_trade_no="another", qr_code=CODE)),
    ("create", "no trade", ok(out_trade_no=NUMBER)),
    ("close", "another order's", ok(out_trade_no="another")),
    ("reverse", "another order's", ok(out_trade_no="another", retry_flag="N")),
    ("reverse", "no flag", ok(out_trade_no=NUMBER)),
    ("refund", "less than asked", refunded(refund_fee="2.33")),
    ("refund", "another payment's", refunded(out_trade_no="another")),
    ("refund", "does not say whether money moved", refunded(fund_change=None)),
    ("refund_query", "amount differs", refund_found(refund_amount="2.35")),
    ("refund_query", "another refund's", refund_found(out_request_no="another")),
    ("refund_query", "another payment's", refund_found(out_trade_no="another")),
    ("refund_query", "a new status", refund_found(refund_status="REFUND_FAIL")),
    ("refund_query", "no time", refund_found(gmt_refund_pay=None)),
]


@pytest.mark.parametrize(("op", "what", "fields"), DOUBTFUL, ids=[f"{row[0]}: {row[1]}" for row in DOUBTFUL])
def test_a_signed_answer_that_is_not_about_our_order_is_unknown(op: str, what: str, fields: dict[str, Any]) -> None:
    found = said(op, fields)
    assert isinstance(found, Unknown)
    assert not found.not_found
    assert not found.not_sent


def test_another_amount_is_named_so_that_a_case_can_be_opened() -> None:
    for op, fields in (("query", trade(total_amount="0.01")), ("charge", charged(total_amount="0.01"))):
        found = said(op, fields)
        assert isinstance(found, Unknown)
        assert found.stated_amount == Money(1, "CNY")


def test_fields_we_do_not_know_do_no_harm() -> None:
    assert said("query", trade(new_field={"deep": [1.5, None]}, sign="not the signature")) == PAID


# ---- exactly what was signed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        lambda fields: json.dumps(fields).encode(),
        lambda fields: json.dumps(fields, ensure_ascii=False, indent=2).encode(),
        lambda fields: json.dumps(fields, ensure_ascii=False, separators=(" ,", " : ")).encode(),
        as_alipay_writes,
    ],
    ids=["escaped", "indented", "blanks", "slashes"],
)
def test_the_signature_is_over_the_letters_that_came_however_they_are_written(written: Any) -> None:
    fields = trade(subject='a"}{,"sign":"x"', note="茶/叶\\", nested={"a": [{"b": "}"}]})
    assert said("query", written(fields)) == PAID


def test_each_letter_of_an_answer_counts() -> None:
    answer = RAIL.answer("alipay.trade.query", trade())
    start, end = answer.body.index(b':{"') + 1, answer.body.index(b',"sign":')
    for place in range(start, end):
        letter = answer.body[place]
        other = letter ^ 1 if letter < 128 else letter ^ 2
        body = answer.body[:place] + bytes([other]) + answer.body[place + 1 :]
        found = outcome("query", Response(200, {}, body))
        assert isinstance(found, Unknown), body[place - 5 : place + 5]
        assert not found.not_found


def test_an_object_hidden_beside_the_signed_one_is_not_read() -> None:
    right = RAIL.answer("alipay.trade.query", trade("WAIT_BUYER_PAY")).body
    paid = as_alipay_writes(trade())
    node = b'"alipay_trade_query_response":'
    for body in (
        b"{" + node + paid + b"," + right[1:],
        right[:-1] + b"," + node + paid + b"}",
        b'{"alipay_trade_pay_response":' + paid + b"," + right[1:],
        right + right,
        b"[" + right + b"]",
    ):
        assert isinstance(outcome("query", Response(200, {}, body)), Unknown)


@pytest.mark.parametrize(
    "body",
    [
        b'{"qr_code":"https://a","qr_code":"https://b","code":"10000","out_trade_no":"%s"}' % NUMBER.encode(),
        b'{"code":"10000","x":NaN}',
        b'{"code":"10000","x":"\\ud800"}',
        b'{"code":"10000","x":"\\u0000"}',
        b'{"code":"10000","x":"\xff"}',
        b'["10000"]',
        b'"10000"',
        b"[" * 100_000,
        b'{"x":' + b"1" * 5000 + b"}",
        b"",
    ],
    ids=["twice", "nan", "surrogate", "nul", "latin", "list", "text", "deep", "digits", "empty"],
)
def test_json_with_more_than_one_reading_is_not_read(body: bytes) -> None:
    assert isinstance(said("precreate", body), Unknown)


def test_a_gbk_page_of_a_proxy_is_no_answer() -> None:
    assert isinstance(outcome("query", Response(200, {}, "<html>系统繁忙</html>".encode("gbk"))), Unknown)


@given(st.binary(max_size=300), st.sampled_from([200, 204, 302, 400, 500]), st.sampled_from(sorted(OPS)), st.booleans())
def test_no_answer_whatever_makes_the_adapter_stumble(body: bytes, status: int, op: str, signed: bool) -> None:
    answer = RAIL.answer(OPS[op][0], body, status=status) if signed else Response(status, {}, body)
    assert isinstance(outcome(op, answer), Confirmed | Pending | Refused | Unknown)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({*trade(), *charged(), *refunded(), *refund_found(), "qr_code", "retry_flag", "ext_infos", "sub_code"})


@given(st.sampled_from(sorted(OPS)), st.sampled_from(FIELDS), json_values)
def test_no_signed_field_of_any_kind_makes_the_adapter_stumble_or_confirm_more(op: str, name: str, value: Any) -> None:
    usual = {"charge": charged, "refund": refunded, "refund_query": refund_found}.get(op, trade)
    found = said(op, usual() | {name: value})
    assert isinstance(found, Confirmed | Pending | Refused | Unknown)
    if isinstance(found, Confirmed):
        assert found.amount in (PAID.amount, REFUNDED.amount)


# ---- golden bytes ----------------------------------------------------------------------------------------------------

GOLDEN_ANSWERS: dict[str, tuple[str, Outcome]] = {
    "answer_precreate_code_to_show": ("precreate", Pending({"type": "qr", "code": CODE})),
    "answer_pay_paid_at_once": ("charge", PAID),
    "answer_pay_payer_is_asked": ("charge", Pending()),
    "answer_pay_payer_has_no_money": ("charge", Refused("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足")),
    "answer_create_trade_to_pay": ("create", Pending({"type": "jsapi", "trade_no": TRADE_NO}, TRADE_NO)),
    "answer_query_paid": ("query", PAID),
    "answer_query_not_paid_yet": ("query", Pending(channel_ref=TRADE_NO)),
    "answer_query_closed_unpaid": ("query", Refused("TRADE_CLOSED", closed=True)),
    "answer_query_closed_after_full_refund_is_paid": ("query", PAID),
    "answer_query_reversed": ("query barcode", Refused("REVERSED", closed=True)),
    "answer_query_unknown_order": ("query", Unknown("ACQ.TRADE_NOT_EXIST: 交易不存在", not_found=True)),
    "answer_close_done": ("close", Refused("CLOSED", closed=True)),
    "answer_cancel_done": ("reverse", Refused("REVERSED", closed=True)),
    "answer_refund_done": ("refund", REFUNDED),
    "answer_refund_repeated": ("refund", Pending(channel_ref=TRADE_NO)),
    "answer_refund_query_done": ("refund_query", REFUNDED),
    "answer_refund_query_not_carried_out": (
        "refund_query",
        Unknown("Alipay has no refund of this number", not_found=True),
    ),
    "answer_unknown_application_unsigned": (
        "charge",
        Refused("isv.invalid-app-id", "无效的AppID参数", retriable=True),
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
