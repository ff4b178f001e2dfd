"""Which lines the bank executes: sandbox.bank.rules."""

from dataclasses import replace
from typing import Any

import pytest

from sandbox.bank.instructions import Line
from sandbox.bank.rules import Account, Refusal, Status, group_status, judge
from sandbox.bank.service import account_number

PAYER = Account("6200000000000000018", "cust_payer", "payer", "CNY", "pool", "open", 10_000)
PAYEE = Account("6200000000000000026", "cust_payer", "payee", "CNY", "sub", "open", 0)
LINE = Line(
    payment_id="P-1",
    instruction_id=None,
    end_to_end_id="E-1",
    currency="CNY",
    amount_minor=10_000,
    debtor_account=PAYER.number,
    debtor_bic="SBXBCNBJ",
    debtor_name="payer",
    creditor_account=PAYEE.number,
    creditor_bic=None,
    creditor_name="payee",
    remittance="",
)


def verdict(line: Line = LINE, **given: Any) -> Refusal | None:
    case: dict[str, Any] = {"debtor": PAYER, "creditor": PAYEE, "already_paid": False, **given}
    return judge(line, customer_id="cust_payer", bic="SBXBCNBJXXX", **case)


def test_a_line_that_takes_the_last_cent_is_executed() -> None:
    assert verdict() is None


@pytest.mark.parametrize(
    ("code", "line", "given"),
    [
        ("AM01", replace(LINE, amount_minor=0), {}),
        ("AM03", replace(LINE, currency="EUR"), {}),
        ("AM03", LINE, {"creditor": replace(PAYEE, currency="EUR")}),
        ("AM04", replace(LINE, amount_minor=10_001), {}),
        ("AM04", LINE, {"debtor": replace(PAYER, balance_minor=-1)}),
        ("AM05", LINE, {"already_paid": True}),
        ("AC01", LINE, {"creditor": None}),
        ("AC01", LINE, {"debtor": None}),
        ("AC01", LINE, {"debtor": replace(PAYER, customer_id="cust_stranger")}),
        ("AC04", LINE, {"creditor": replace(PAYEE, status="closed")}),
        ("AC04", LINE, {"debtor": replace(PAYER, status="closed")}),
        ("AG01", LINE, {"debtor": replace(PAYER, kind="sub")}),
        ("AG01", LINE, {"creditor": PAYER}),
        ("RC01", replace(LINE, creditor_bic="DEUTDEFF"), {}),
        ("RC01", replace(LINE, debtor_bic="SBXBCNBJ001"), {}),
    ],
)
def test_each_reason_to_refuse_has_its_iso_code(code: str, line: Line, given: dict[str, Any]) -> None:
    refusal = verdict(line, **given)
    assert refusal is not None
    assert refusal.code == code
    assert refusal.why


SUB = replace(PAYER, kind="sub")
ELSEWHERE = replace(LINE, creditor_bic="ICBKCNBJ", creditor_account="77", creditor_name=PAYER.name)


def test_a_sub_account_pays_its_holder_at_another_bank_and_no_account_here_is_looked_at() -> None:
    for creditor in (None, PAYEE, SUB, replace(PAYEE, status="closed")):
        assert verdict(ELSEWHERE, debtor=SUB, creditor=creditor) is None


@pytest.mark.parametrize(
    ("code", "line", "given"),
    [
        ("BE01", replace(ELSEWHERE, creditor_name="somebody else"), {}),
        ("AC01", replace(ELSEWHERE, creditor_account=None), {}),
        ("AM03", replace(ELSEWHERE, currency="EUR"), {}),
        ("AM04", replace(ELSEWHERE, amount_minor=10_001), {}),
        ("AM05", ELSEWHERE, {"already_paid": True}),
        ("AC04", ELSEWHERE, {"debtor": replace(SUB, status="closed")}),
        ("AG01", replace(ELSEWHERE, creditor_bic="SBXBCNBJ"), {}),
        ("RC01", ELSEWHERE, {"debtor": PAYER}),
    ],
)
def test_what_else_a_sub_account_is_to_pay_is_refused(code: str, line: Line, given: dict[str, Any]) -> None:
    refusal = verdict(line, **{"debtor": SUB, "creditor": None, **given})
    assert refusal is not None
    assert refusal.code == code


def test_somebody_elses_account_is_refused_in_the_words_of_one_that_does_not_exist() -> None:
    assert verdict(debtor=replace(PAYER, customer_id="cust_stranger")) == verdict(debtor=None)


def test_money_may_go_to_another_customer_of_the_bank() -> None:
    assert verdict(creditor=replace(PAYEE, customer_id="cust_other", kind="pool")) is None


@pytest.mark.parametrize(
    ("lines", "group"), [("SS", "ACSC"), ("SR", "PART"), ("RS", "PART"), ("RR", "RJCT"), ("", "RJCT")]
)
def test_a_file_is_settled_partly_settled_or_rejected_as_its_lines_are(lines: str, group: str) -> None:
    assert group_status([Status.SETTLED if line == "S" else Status.REJECTED for line in lines]) == group


def test_account_numbers_have_a_check_digit_and_do_not_repeat() -> None:
    numbers = [account_number(seq) for seq in range(1, 500)]
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        digits = [int(digit) for digit in reversed(number)]
        doubled = [2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[1::2]]
        assert len(number) == 19
        assert (sum(digits[::2]) + sum(doubled)) % 10 == 0
