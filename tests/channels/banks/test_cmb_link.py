"""China Merchants Bank's direct link: its signatures by the standard's own example, and what its words mean."""

import base64
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from gmssl_pyx import sm2_key_generate
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.banks import BadStatement, Fate, Instruction, Order, disagreement, other_payment_than_sent
from channels.banks.cmb import envelope, messages, sm
from kernel.errors import Rejected
from kernel.money import Money
from sandbox.cmb import sm as other_side

# GB/T 32918.5-2017, annex A.2: a key, its point, and the signature of these bytes under this name.
PRIVATE = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
POINT = bytes.fromhex(
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
PAIR = sm.KeyPair(PRIVATE, POINT)
OTHER = sm.KeyPair(*reversed(sm2_key_generate()))
SIGNATURE = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
NAME, TEXT = b"1234567812345678", b"message digest"
SM4_KEY, WHO = b"0123456789abcdef", envelope.identity("U123456789")
LINE = Instruction("1-261124-0123456789abcdef", "755915680110101", "张三小吃店", Money(1_250, "CNY"), "settlement")
MADE_AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
ORDER = Order("stl-1-20261124-cmb-CNY", "755900000000001", "茶铺", date(2026, 11, 25), [LINE], MADE_AT)


def text_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


def point_of(key: bytes) -> str:
    return text_of(b"\x04" + key)


def test_the_signature_of_the_standard_is_good() -> None:
    assert sm.verify(TEXT, SIGNATURE, POINT, NAME)


@settings(max_examples=20, deadline=None)  # the other side's arithmetic is plain, and slow
@given(message=st.binary(max_size=300), name=st.binary(min_size=1, max_size=16))
def test_both_sides_read_each_others_signatures(message: bytes, name: bytes) -> None:
    number, point = (
        int.from_bytes(PRIVATE, "big"),
        (int.from_bytes(POINT[:32], "big"), int.from_bytes(POINT[32:], "big")),
    )
    assert other_side.is_signed(message, sm.sign(message, PAIR, name), point, name)
    assert sm.verify(message, other_side.sign(message, number, name), POINT, name)


def test_a_signature_fits_its_bytes_its_key_and_its_name_alone() -> None:
    for spoiled in (
        (TEXT + b" ", SIGNATURE, POINT, NAME),
        (TEXT, SIGNATURE, POINT, NAME[:-1]),
        (TEXT, SIGNATURE, OTHER.public, NAME),
        (TEXT, SIGNATURE[:-1], POINT, NAME),
        (TEXT, bytes(64), POINT, NAME),
        (TEXT, b"\xff" * 64, POINT, NAME),
        *((TEXT, SIGNATURE[:n] + bytes([SIGNATURE[n] ^ 1]) + SIGNATURE[n + 1 :], POINT, NAME) for n in (0, 31, 32, 63)),
    ):
        assert not sm.verify(*spoiled)


@pytest.mark.parametrize("told", ["", "AAAA", text_of(b"\x04" + bytes(64)), "not base64", text_of(b"\x05" + POINT)])
def test_what_is_no_key_is_refused(told: str) -> None:
    with pytest.raises(ValueError, match="bank_public_key"):
        sm.public_key(told)
    with pytest.raises(ValueError, match="private_key"):
        sm.key_pair(told, point_of(POINT))
    with pytest.raises(ValueError, match=r"^public_key"):
        sm.key_pair(text_of(PRIVATE), told)


def test_a_private_key_is_taken_with_its_own_public_key_alone() -> None:
    assert sm.key_pair(text_of(PRIVATE), point_of(POINT)) == PAIR
    with pytest.raises(ValueError, match="not the one of private_key"):
        sm.key_pair(text_of(PRIVATE), point_of(OTHER.public))
    order = "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"
    for private in (bytes(32), bytes.fromhex(order), b"\xff" * 32):
        with pytest.raises(ValueError, match="private_key is no SM2 key"):
            sm.key_pair(text_of(private), point_of(POINT))


@settings(max_examples=20, deadline=None)
@given(st.recursive(st.text(max_size=9) | st.booleans() | st.none(), lambda more: st.dictionaries(st.text(), more)))
def test_what_is_sealed_is_opened_as_it_was(body: Any) -> None:
    travels = envelope.sealed({"head": {}, "body": body}, "20261124090000", PAIR, SM4_KEY, WHO)
    text = sm.decrypt(base64.b64decode(travels), SM4_KEY, WHO).decode().replace('{"request":', '{"response":', 1)
    resigned = envelope.canonical({**json.loads(text), "signature": {"sigdat": envelope.UNSIGNED, "sigtim": "1"}})
    signature = base64.b64encode(sm.sign(resigned.encode(), PAIR, WHO)).decode()
    answer = base64.b64encode(sm.encrypt(resigned.replace(envelope.UNSIGNED, signature).encode(), SM4_KEY, WHO))
    _, response = envelope.opened(answer, POINT, SM4_KEY, WHO)
    assert response["body"] == body
    with pytest.raises(BadStatement, match="signature"):
        envelope.opened(answer, OTHER.public, SM4_KEY, WHO)
    with pytest.raises(BadStatement, match="not encrypted"):
        envelope.opened(answer, POINT, SM4_KEY[::-1], WHO)


def test_numbers_are_signed_as_they_were_written_and_no_name_stands_twice() -> None:
    assert envelope.canonical(envelope.parsed('{"b":1.10,"a":[100000000000000000001,"é"]}')) == (
        '{"a":[100000000000000000001,"é"],"b":1.10}'
    )
    with pytest.raises(BadStatement):
        envelope.parsed('{"a":1,"a":2}')


# ---- what is said of a batch -----------------------------------------------------------------------------------------


def answered(funcode: str, **body: Any) -> str:
    return json.dumps({"response": {"head": {"funcode": funcode, "resultcode": "SUC0000", "rspid": "r"}, "body": body}})


def report(*lines: dict[str, str], number: str = ORDER.message_id, **batch: str) -> bytes:
    row = {"bthNbr": number, "reqSts": "FIN", "rtnFlg": "S", "dtlNum": "1", "dtlAmt": "12.50", **batch}
    other = {**row, "bthNbr": "stl-1-20261123-cmb-CNY", "dtlAmt": "99.00"}
    batches, found = answered("BB1QRYBT", bb1qrybtz1=[other, row]), answered("BB1QRYBD", bb1qrybdz1=list(lines))
    return messages.file_of(ORDER.message_id, [batches, found])


def line(status: str, flag: str = "", **more: str) -> dict[str, str]:
    return {
        "yurRef": LINE.end_to_end_id, "reqSts": status, "rtnFlg": flag, "trsAmt": "12.50 ", "errTxt": "",
        "crtAcc": LINE.creditor_account, "dbtAcc": ORDER.debtor_account, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "flag", "words", "fate"),
    [
        ("FIN", "S", "", Fate.EXECUTED),
        ("FIN", "B", "退票", Fate.EXECUTED),  # it was paid; the booking brings it back
        ("FIN", "F", "收方账号已销户", Fate.REFUSED),
        ("FIN", "F", "业务参考号重复", Fate.IN_DOUBT),  # the bank has it already
        ("FIN", "D", "", Fate.REFUSED),
        ("FIN", "U", "", Fate.IN_DOUBT),
        ("FIN", "", "", Fate.PENDING),
        ("FIN", "X", "", Fate.PENDING),
        ("WRF", "", "", Fate.IN_DOUBT),
        ("BNK", "", "", Fate.PENDING),
        ("BNK", "F", "", Fate.PENDING),  # the flag means nothing before the end
        ("NTE", "S", "", Fate.PENDING),
    ],
)
def test_only_clear_words_end_a_line(status: str, flag: str, words: str, fate: Fate) -> None:
    said = messages.read_report(report(line(status, flag, errTxt=words))).fate_of(LINE.end_to_end_id)
    assert said is not None
    assert said.fate is fate


def test_a_report_is_held_against_what_was_sent() -> None:
    sent = {LINE.end_to_end_id: (LINE.amount, LINE.creditor_account)}
    good = messages.read_report(report(line("FIN", "S")))
    assert disagreement(good, sent) is None
    assert other_payment_than_sent(good, sent, ORDER.debtor_account) is None
    for wrong in (report(line("FIN", "S"), dtlAmt="12.51"), report(line("FIN", "S"), dtlNum="2")):
        assert disagreement(messages.read_report(wrong), sent) is not None
    for more in ({"trsAmt": "12.51"}, {"crtAcc": "1"}, {"dbtAcc": "1"}):
        assert other_payment_than_sent(
            messages.read_report(report(line("FIN", "S", **more))), sent, ORDER.debtor_account
        )


def test_a_batch_that_failed_as_a_whole_refuses_its_lines() -> None:
    failed = messages.read_report(report(rtnFlg="F", errTxt="余额不足"))
    said = failed.fate_of(LINE.end_to_end_id)
    assert said is not None
    assert (said.fate, said.reasons[0].text) == (Fate.REFUSED, "余额不足")
    assert messages.read_report(report()).fate_of(LINE.end_to_end_id) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"about":"a","answers":[]}', b'{"about":"a","answers":["{}"]}']
)
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    for read in (messages.read_report, messages.read_notice, messages.read_statements):
        with pytest.raises(BadStatement):
            read(content)


# ---- orders ----------------------------------------------------------------------------------------------------------


def test_a_long_order_goes_in_parts_that_are_each_told_by_their_number() -> None:
    lines = [Instruction(f"1-261124-{n:016x}", "7559", "张三", Money(1, "CNY")) for n in range(2_001)]
    order = Order(ORDER.message_id, "7559", "茶铺", date(2026, 11, 25), lines, MADE_AT)
    found = messages.parts(order)
    assert [len(some) for _, some in found] == [1_000, 1_000, 1]
    assert [number for number, _ in found] == [ORDER.message_id, f"{ORDER.message_id}p2", f"{ORDER.message_id}p3"]
    assert {messages.message_of(number) for number, _ in found} == {ORDER.message_id}
    assert [one for _, some in found for one in some] == lines


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_to_end_id": "x" * 31},
        {"end_to_end_id": "号"},
        {"creditor_name": "茶" * 32},
        {"creditor_account": "7 5"},
        {"amount": Money(1, "USD")},
        {"amount": Money(0, "CNY")},
    ],
)
def test_what_the_link_cannot_carry_is_not_sent(wrong: dict[str, Any]) -> None:
    told = {name: getattr(LINE, name) for name in LINE.__slots__} | wrong
    with pytest.raises(Rejected, match=r"bank|pay|paid"):
        messages.parts(Order(ORDER.message_id, "7559", "茶铺", date(2026, 11, 25), [Instruction(**told)], MADE_AT))


def test_an_amount_travels_as_it_is() -> None:
    (row,) = messages.payment(ORDER, "n", [LINE], "00001")["bb1paybhx1"]
    assert (row["trsAmt"], row["yurRef"], row["crtNam"], row["rcvChk"]) == (
        "12.50",
        LINE.end_to_end_id,
        "张三小吃店",
        "1",
    )


# ---- bookings --------------------------------------------------------------------------------------------------------


def booking(**more: str) -> dict[str, str]:
    return {
        "transDate": "20261124", "transSequenceIdn": "C1", "loanCode": "D", "transAmount": "-12.50",
        "currencyNbr": "10", "remarkTextClt": "x", "yurRef": LINE.end_to_end_id, "reversalFlag": "N", **more,
    }  # fmt: skip


def notice(*rows: dict[str, str], returned: list[dict[str, str]] | None = None) -> bytes:
    texts = [answered("trsQryByBreakPoint", TRANSQUERYBYBREAKPOINT_Z2=list(rows))]
    return messages.file_of("7559", [*texts, answered("BB1PAYQB", bb1payqbz1=returned or [])])


@pytest.mark.parametrize("name", ["WX190000010920261202", "STacct1Sandbox00000000220261202", "A" * 35])
def test_a_deposit_is_known_by_its_text_as_long_as_whoever_pays_in_may_write_it(name: str) -> None:
    deposit = booking(loanCode="C", transAmount="12.50", yurRef="", remarkTextClt=name)
    (told,) = messages.read_notice(notice(deposit))
    assert told.end_to_end_id == name
    (stranger,) = messages.read_notice(notice({**deposit, "remarkTextClt": name[:5] + " from a friend"}))
    assert stranger.end_to_end_id is None


def test_a_credit_is_a_return_where_the_bank_says_so() -> None:
    back = booking(loanCode="C", transAmount="12.50")
    told = [{"yurRef": LINE.end_to_end_id, "trsAmt": "12.50", "rtnCod": "AC04"}]
    (plain,), (returned,) = messages.read_notice(notice(back)), messages.read_notice(notice(back, returned=told))
    assert (plain.is_return, returned.is_return, returned.return_reason) == (False, True, "AC04")
    (other,) = messages.read_notice(notice(back, returned=[{**told[0], "trsAmt": "12.49"}]))
    assert not other.is_return


def test_equal_bookings_are_two_and_one_that_is_odd_is_no_others_concern() -> None:
    odd: list[BadStatement] = []
    wrong = ({"transAmount": "1.234"}, {"transSequenceIdn": ""}, {"loanCode": "X"}, {"currencyNbr": "32"},
             {"transDate": "2026"})  # fmt: skip
    rows = [booking(), booking(transSequenceIdn="C2"), *(booking(**one) for one in wrong)]
    found = messages.read_notice(notice(*rows), odd=odd)
    assert len({one.booking for one in found}) == len(found) == 2
    assert len(odd) == 5
    with pytest.raises(BadStatement):
        messages.read_notice(notice(*rows))


def test_what_the_bank_says_oddly_of_one_return_is_no_others_concern() -> None:
    odd: list[BadStatement] = []
    back = booking(loanCode="C", transAmount="12.50")
    told = [
        {"yurRef": "other", "trsAmt": "12.501"},
        {"yurRef": LINE.end_to_end_id, "trsAmt": "12.50", "rtnCod": "AC04"},
    ]
    (found,) = messages.read_notice(notice(back, returned=told), odd=odd)
    assert (found.return_reason, [str(one) for one in odd]) == (
        "AC04",
        ["what came back of other: '12.501' is not an amount in CNY"],
    )


def test_what_the_bank_writes_is_text_of_some_length() -> None:
    """It stands in rows and cases, and on screens; JSON can say what neither can have."""
    (found,) = messages.read_notice(notice(booking(yurRef="", remarkTextClt="\x00\x1b[2J\ud800" + "x" * 9_999)))
    assert (found.remittance[:6], len(found.remittance)) == ("\ufffd\ufffd[2J\ufffd", messages.MOST_VALUE)
    said = {"head": {"resultcode": "E\x00", "resultmsg": "\ud800" + "y" * 9_999}}
    assert messages.refusal(said) == ("E\ufffd", "\ufffd" + "y" * 299)


def test_a_booking_that_cannot_be_read_is_missing_in_its_day() -> None:
    balances = [{"accnbr": "7559", "trsdat": f"2026112{n}", "balamt": "100.00"} for n in (3, 4)]
    texts = [
        answered("NTQABINF", ntqabinfz=balances),
        answered("trsQryByBreakPoint", TRANSQUERYBYBREAKPOINT_Z2=[booking(), booking(transAmount="12.501")]),
    ]
    odd: list[BadStatement] = []
    (day,) = messages.read_statements(messages.file_of("7559", texts), allow_gap=True, odd=odd)
    assert (len(day.entries), day.gap.minor, [one.code for one in odd]) == (1, 1_250, ["bad_amount"])


def test_a_day_leads_from_one_balance_to_the_next() -> None:
    def day(opening: str, closing: str, *rows: dict[str, str]) -> bytes:
        balances = [{"accnbr": "7559", "trsdat": "20261123", "balamt": opening},
                    {"accnbr": "7559", "trsdat": "20261124", "balamt": closing}]  # fmt: skip
        texts = [
            answered("NTQABINF", ntqabinfz=balances),
            answered("trsQryByBreakPoint", TRANSQUERYBYBREAKPOINT_Z2=rows),
        ]
        return messages.file_of("7559", texts)

    (statement,) = messages.read_statements(day("100.00", "87.50", booking()))
    assert (statement.business_date, statement.closing, statement.gap.minor) == (
        date(2026, 11, 24),
        Money(8_750, "CNY"),
        0,
    )
    with pytest.raises(BadStatement, match="missing"):
        messages.read_statements(day("100.00", "87.51", booking()))
    assert messages.read_statements(day("100.00", "87.51", booking()), allow_gap=True)[0].gap == Money(1, "CNY")
    with pytest.raises(BadStatement, match="2026-11-25"):
        messages.read_statements(day("100.00", "87.50", booking(transDate="20261125")))
