"""Bank transfer: what is sent, what is believed, and what a booking means."""

from base64 import b64encode
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from channels import BadBill, BadNotice, Confirmed, Kind, Outcome, Pending, Refused, Unknown
from channels.bank_transfer import BankTransfer, build
from channels.banks.iso20022 import signing
from channels.powers import deposit_prefix
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.bank_transfer.bank_transfer_rail import (
    CREDIT_REF,
    GOLDEN,
    KEYS,
    NOW,
    POOL,
    RETURN_REF,
    VIRTUAL,
    Bank,
    account,
    channel,
    credited,
    notification,
    order,
    public_pem,
    refund_order,
    returned,
    settings,
)

RAIL, BANK = channel(), Bank()
DAY = date(2026, 11, 24)
ASKED = RAIL.bill_request(DAY)
REQUESTS: dict[str, Callable[[BankTransfer], Request | None]] = {
    "request_open": lambda rail: rail.pay_request(order()),
    "request_query": lambda rail: rail.query_request(order()),
    "request_close": lambda rail: rail.close_request(order()),
    "request_return": lambda rail: rail.refund_request(refund_order()),
    "request_return_query": lambda rail: rail.refund_query_request(refund_order()),
    "request_report": lambda rail: rail.bill_request(DAY),
    "request_keys": lambda rail: rail.trusted_keys_request(),
}
PAID = Confirmed(CREDIT_REF, Money(123456, "CNY"), NOW.replace(minute=10, microsecond=500_000))
GIVEN_BACK = Confirmed(RETURN_REF, Money(456, "CNY"), NOW.replace(minute=25))


def as_sent(request: Request) -> str:
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body.decode()}\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_bank_transfer_sends_what_the_golden_file_shows(name: str) -> None:
    request = REQUESTS[name](RAIL)
    assert request is not None
    signed = RAIL.sign(request, now=NOW, nonce="n")
    assert as_sent(signed) == (GOLDEN / f"{name}.txt").read_text()
    if request.body:  # what moves something is signed by the customer, over the very bytes
        keys = {"CUST-1": signing.public_key(public_pem("customer"))}
        assert signing.verify(signed.headers[signing.HEADER], signed.body, keys) == int(NOW.timestamp())


def asked(answer: Response) -> Outcome:
    return RAIL.pay_outcome(order(), answer, now=NOW)


def queried(answer: Response) -> Outcome:
    return RAIL.query_outcome(order(), answer, now=NOW)


def test_an_opened_account_is_shown_to_the_payer() -> None:
    outcome = asked(BANK.says(201, account()))
    assert isinstance(outcome, Pending)
    assert outcome.channel_ref == VIRTUAL
    assert outcome.next_action is not None
    assert outcome.next_action["type"] == "transfer"
    assert (outcome.next_action["account"], outcome.next_action["amount"]) == (VIRTUAL, "1234.56")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (credited(), PAID),
        (account(status="closed"), Refused("CLOSED", "the bank closed the account, nothing had been paid to it", True)),
        (
            account(status="expired"),
            Refused("EXPIRED", "the bank closed the account, nothing had been paid to it", True),
        ),
    ],
)
def test_what_an_account_came_to(said: dict[str, Any], outcome: Outcome) -> None:
    assert queried(BANK.says(200, said)) == outcome
    assert asked(BANK.says(200, said)) == outcome


DOUBTS = {
    "another reference": BANK.says(200, credited() | {"reference": "1-x"}),
    "no credit shown": BANK.says(200, account(status="credited")),
    "no reference of the bank's": BANK.says(200, credited(bank_ref=None)),
    "no moment": BANK.says(200, credited(booked_at="yesterday")),
    "no time zone": BANK.says(200, credited(booked_at="2026-11-24T08:10:00")),
    "an amount with a fraction of a fen": BANK.says(200, credited(amount="1234.567")),
    "an amount that is a number": BANK.says(200, credited(amount=1234.56)),
    "a status nobody knows": BANK.says(200, account(status="resting")),
    "open for another amount": BANK.says(200, account(amount="1.00")),
    "not JSON": BANK.signed(200, b"<html>"),
    "a name twice": BANK.signed(200, b'{"status":"credited","status":"open"}'),
    "unsigned": Response(200, {}, BANK.says(200, credited()).body),
    "signed by a stranger": Bank("stranger").says(200, credited()),
    "signed with an unknown key": Bank("bank_new", "COLL-2").says(200, credited()),
    "signed over other bytes": Response(200, BANK.says(200, account()).headers, BANK.says(200, credited()).body),
    "signed too long ago": BANK.says(200, credited(), at=NOW - timedelta(seconds=301)),
    "signed in the future": BANK.says(200, credited(), at=NOW + timedelta(seconds=301)),
    "a failure, signed": BANK.says(500, credited()),
    "an unsigned refusal": Response(403, {}, b'{"code":"amount_not_allowed"}'),
    "a refusal not on the list": BANK.says(409, {"code": "reference_in_use", "message": "other particulars"}),
}


@pytest.mark.parametrize("what", DOUBTS)
def test_what_cannot_be_believed_leaves_the_payment_open(what: str) -> None:
    for read in (asked, queried):
        outcome = read(DOUBTS[what])
        assert isinstance(outcome, Unknown)
        assert not outcome.not_found
        assert not outcome.not_sent


def test_a_transfer_of_another_amount_is_told_and_not_taken_for_the_payment() -> None:
    outcome = queried(BANK.says(200, credited(amount="1234.57")))
    assert isinstance(outcome, Unknown)
    assert outcome.stated_amount == Money(123457, "CNY")


def test_a_signed_refusal_on_the_list_is_final_and_leaves_the_way_to_another_rail_open() -> None:
    refused = asked(BANK.says(403, {"code": "amount_not_allowed", "message": "more than 5 000 000.00"}))
    assert refused == Refused("amount_not_allowed", "more than 5 000 000.00", retriable=True)


def test_only_a_signed_word_says_that_an_account_is_unknown() -> None:
    unknown = {"code": "no_such_reference", "message": "nothing was opened under it"}
    found = queried(BANK.says(404, unknown))
    assert isinstance(found, Unknown)
    assert found.not_found
    for doubtful in (
        Response(404, {}, b"{}"),
        BANK.says(404, {"code": "no_such_path"}),
        Bank("stranger").says(404, unknown),
    ):
        found = queried(doubtful)
        assert isinstance(found, Unknown)
        assert not found.not_found


def test_a_close_is_believed_when_the_bank_says_closed_and_never_when_it_was_credited() -> None:
    closed = RAIL.close_outcome(order(), BANK.says(200, account(status="closed")), now=NOW)
    assert isinstance(closed, Refused)
    assert closed.closed
    for said in (account(), credited()):
        assert isinstance(RAIL.close_outcome(order(), BANK.says(200, said), now=NOW), Unknown)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (BANK.says(200, returned()), GIVEN_BACK),
        (BANK.says(200, returned(status="processing", bank_ref=None, booked_at=None)), Pending()),
        (
            BANK.says(200, returned(status="failed", booked_at=None)),
            Refused("FAILED", "the payer's bank did not take it; the money stays on the pool account"),
        ),
        (BANK.says(409, {"code": "funds_short", "message": "no"}), Refused("funds_short", "no")),
    ],
)
def test_what_a_return_came_to(answer: Response, outcome: Outcome) -> None:
    assert RAIL.refund_outcome(refund_order(), answer, now=NOW) == outcome


@pytest.mark.parametrize(
    "said",
    [returned(amount="4.57"), returned(reference="1-y"), returned(payment_reference="1-y"), returned(status="?")],
)
def test_a_return_that_is_not_ours_is_not_believed(said: dict[str, Any]) -> None:
    assert isinstance(RAIL.refund_outcome(refund_order(), BANK.says(200, said), now=NOW), Unknown)
    assert isinstance(RAIL.refund_query_outcome(refund_order(), BANK.says(200, said), now=NOW), Unknown)


def test_a_refusal_is_no_answer_to_a_question_about_a_return() -> None:
    answer = BANK.says(409, {"code": "funds_short", "message": "no"})
    assert isinstance(RAIL.refund_query_outcome(refund_order(), answer, now=NOW), Unknown)


# ---- notices and the report ------------------------------------------------------------------------------------------


def test_a_notification_of_money_in_is_the_payment_and_of_money_out_the_refund() -> None:
    paid = RAIL.notice(BANK.signed(200, notification("notice_credit")), now=NOW)
    assert (paid.kind, paid.reference, paid.outcome, paid.notice_id) == (
        Kind.PAYMENT,
        order().reference,
        PAID,
        CREDIT_REF,
    )
    back = RAIL.notice(BANK.signed(200, notification("notice_return")), now=NOW)
    assert (back.kind, back.reference, back.outcome) == (Kind.REFUND, refund_order().reference, GIVEN_BACK)


CREDIT = notification("notice_credit")
STRANGE = {
    "another account": CREDIT.replace(POOL.encode(), b"6200000000000000025"),
    "no creditor reference": CREDIT.replace(
        b"<Strd><CdtrRefInf><Ref>" + order().reference.encode() + b"</Ref></CdtrRefInf></Strd>", b""
    ),
    "no moment": CREDIT.replace(b"<RltdDts><AccptncDtTm>2026-11-24T08:10:00.500Z</AccptncDtTm></RltdDts>", b""),
    "a moment beyond the calendar": CREDIT.replace(b"2026-11-24T08:10:00.500Z", b"9999-12-31T23:00:00Z"),
    "cut short": CREDIT[:-30],
    "a pending booking": CREDIT.replace(b"<Cd>BOOK</Cd>", b"<Cd>PDNG</Cd>"),
    "a DTD": CREDIT.replace(b"<Document", b'<!DOCTYPE d [<!ENTITY a "b">]><Document', 1),
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_signed_notification_that_cannot_be_read_changes_nothing(what: str) -> None:
    assert STRANGE[what] != CREDIT
    with pytest.raises(BadNotice):
        RAIL.notice(BANK.signed(200, STRANGE[what]), now=NOW)


@pytest.mark.parametrize(
    ("what", "about"),
    [
        ("another account", order().reference),
        ("no creditor reference", ""),  # a booking on the pool that no payment is waiting for
        ("no moment", order().reference),
        ("cut short", None),
    ],
)
def test_of_a_verified_notification_that_is_not_believed_it_is_said_whose_it_is(what: str, about: str | None) -> None:
    with pytest.raises(BadNotice) as refused:
        RAIL.notice(BANK.signed(200, STRANGE[what]), now=NOW)
    assert refused.value.about == about


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Response(200, {}, CREDIT), "unsigned"),
        (Bank("stranger").signed(200, CREDIT), "forged"),
        (Bank("bank_new", "COLL-2").signed(200, CREDIT), "unknown_key"),
        (BANK.signed(200, CREDIT, at=NOW - timedelta(seconds=301)), "stale"),
    ],
)
def test_a_notification_without_the_banks_signature_is_refused(message: Response, code: str) -> None:
    with pytest.raises(BadNotice) as refused:
        RAIL.notice(message, now=NOW)
    assert refused.value.code == code


def endorsed_by_bank() -> dict[str, str]:
    """Return the new key as the bank lists it, with the old key's signature under it."""
    pem = public_pem("bank_new")
    signature = signing.private_key((KEYS / "bank.pem").read_text()).sign(
        f"COLL-2\n{pem}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    endorsement = b64encode(signature).decode()
    return {"key_id": "COLL-2", "public_key": pem, "endorsed_by": "COLL-1", "endorsement": endorsement}


def test_a_new_key_is_taken_over_when_an_old_one_vouches_for_it_and_the_old_one_stays() -> None:
    rail, new = channel(), Bank("bank_new", "COLL-2")
    request = rail.trusted_keys_request()
    assert request is not None
    alone = {"keys": [{"key_id": "COLL-2", "public_key": public_pem("bank_new")}]}
    with pytest.raises(BadNotice):
        rail.trust(request, new.says(200, alone), now=NOW)  # nobody vouches for himself
    assert rail.trust(request, new.says(200, {"keys": [endorsed_by_bank()]}), now=NOW) == ["COLL-1", "COLL-2"]
    for bank in (new, BANK):
        assert rail.notice(bank.signed(200, CREDIT), now=NOW).outcome == PAID


def test_the_days_report_is_read_line_by_line() -> None:
    file = RAIL.bill_file(ASKED, BANK.signed(200, notification("bill_day")), now=NOW)
    assert file.content is not None
    payment, refund = RAIL.bill_lines(file.content, DAY)
    assert (payment.kind, payment.reference, payment.channel_ref) == (Kind.PAYMENT, order().reference, CREDIT_REF)
    assert (payment.amount, payment.fee, payment.status) == (Money(123456, "CNY"), Money(0, "CNY"), "success")
    assert (refund.kind, refund.reference, refund.payment_reference) == (
        Kind.REFUND,
        refund_order().reference,
        order().reference,
    )
    assert (refund.amount, refund.channel_ref) == (Money(456, "CNY"), RETURN_REF)


def test_a_report_of_another_day_another_account_or_cut_short_is_refused_whole() -> None:
    report = notification("bill_day")
    damaged = (report.replace(POOL.encode(), b"6200000000000000025"), report[:-40], b"")
    for content, day in [
        (report, DAY - timedelta(days=1)),
        (report, DAY + timedelta(days=1)),
        *((d, DAY) for d in damaged),
    ]:
        with pytest.raises(BadBill):
            RAIL.bill_lines(content, day)
    assert len(list(RAIL.bill_lines(report, DAY + timedelta(days=1), only_late=True))) == 2


def test_a_day_without_business_and_a_day_that_is_not_over_are_told_apart() -> None:
    assert RAIL.bill_file(ASKED, BANK.says(404, {"code": "nothing_collected"}), now=NOW).nothing
    open_yet = RAIL.bill_file(ASKED, BANK.says(409, {"code": "day_not_over", "message": "later"}), now=NOW)
    assert not open_yet.ready
    assert not open_yet.nothing
    unsigned = RAIL.bill_file(ASKED, Response(404, {}, b'{"code":"nothing_collected"}'), now=NOW)
    assert not unsigned.nothing


def test_settings_without_a_key_are_refused_and_secrets_may_be_files() -> None:
    with pytest.raises(ValueError, match="private_key"):
        build(settings(private_key=""))
    given = settings(private_key=None, private_key_file=str(KEYS / "customer.pem"))
    assert build(given).pay_request(order()).body == RAIL.pay_request(order()).body


def test_a_deposit_is_never_expected_from_a_rail_that_pays_into_the_pool_itself() -> None:
    assert deposit_prefix(RAIL) is None


ANSWERS: dict[str, Outcome | str] = {
    "answer_opened": "shown",
    "answer_credited": PAID,
    "answer_closed": Refused("CLOSED", "the bank closed the account, nothing had been paid to it", closed=True),
    "answer_no_such_reference": Unknown("the bank knows no such number", not_found=True),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_the_bank_answered_on_a_day_in_november_is_still_understood(name: str) -> None:
    status, header, body = (GOLDEN / f"{name}.txt").read_text().split("\n", 2)
    answer = Response(int(status), {signing.HEADER.lower(): header}, body.encode())
    outcome = queried(answer)
    if ANSWERS[name] == "shown":
        assert isinstance(outcome, Pending)
        assert outcome.channel_ref == VIRTUAL
    else:
        assert outcome == ANSWERS[name]


def test_a_false_endorsement_is_refused_and_an_unknown_voucher_is_passed_over() -> None:
    rail = channel()
    request = rail.trusted_keys_request()
    assert request is not None
    forged = endorsed_by_bank() | {"endorsement": "AAAA"}
    with pytest.raises(BadNotice):
        rail.trust(request, BANK.says(200, {"keys": [forged]}), now=NOW)
    strange = endorsed_by_bank() | {"endorsed_by": "COLL-9"}
    assert rail.trust(request, BANK.says(200, {"keys": [strange]}), now=NOW) == ["COLL-1"]
