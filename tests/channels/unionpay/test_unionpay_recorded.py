"""Messages that UnionPay's test environment sent in 2018 and 2024, with its own signature, under its own root.

They come from the tests of two public clients (zhangv's of 2018, yansongda/pay of 2024), the root and the intermediate
from a port of UnionPay's kit (playniuniu/python-unionpay). Other messages of these tests we have made; these UnionPay
has made.
"""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from channels.contract import BadNotice
from channels.unionpay import messages
from channels.unionpay.signing import PRODUCTION_NAME, TEST_NAME, Trust, certificate
from kernel.clock import BEIJING
from kernel.money import Money
from tests.channels.unionpay.test_unionpay_outcomes import received
from tests.channels.unionpay.unionpay_rail import KEYS

THEN = datetime(2024, 1, 5, 9, 0, 0, tzinfo=UTC)
EARLIER = datetime(2018, 6, 14, 9, 0, 0, tzinfo=UTC)
UNPAID, NONE = "recorded_query_of_unpaid_order", "recorded_query_of_unknown_order"
KINDS = {
    "recorded_query_of_payment": messages.CONSUME,
    "recorded_refund_taken": messages.REFUND,
    "recorded_undo_taken": messages.UNDO,
}


def trust(*names: str) -> Trust:
    root, middle = (certificate((KEYS / f"recorded_{name}.pem").read_text()) for name in ("root", "middle"))
    return Trust(root, middle, names or (PRODUCTION_NAME, TEST_NAME))


@pytest.mark.parametrize("name", KINDS)
def test_unionpays_own_signature_holds_and_its_message_is_of_the_kind_we_expect(name: str) -> None:
    fields = messages.fields_of(received(name))
    assert trust().verify(fields, now=THEN) == "69678957876"
    messages.expect(fields, respCode="00", merId="777290058167151", **KINDS[name])
    assert messages.answers_a_question(fields) == ("query" in name)
    assert messages.amount(fields) == Money(1, "CNY")
    assert len(messages.query_id(fields)) == 21


@pytest.mark.parametrize("name", KINDS)
def test_unionpays_test_environment_signs_under_the_companys_name_too(name: str) -> None:
    fields = messages.fields_of(received(name))
    assert trust(PRODUCTION_NAME).verify(fields, now=THEN)
    with pytest.raises(BadNotice):
        trust(TEST_NAME).verify(fields, now=THEN)
    with pytest.raises(BadNotice):
        trust().verify(fields | {"txnAmt": "2"}, now=THEN)


@pytest.mark.parametrize("name", [UNPAID, NONE])
def test_the_test_environment_has_signed_under_its_other_name_too(name: str) -> None:
    fields = messages.fields_of(received(name))
    assert trust().verify(fields, now=EARLIER) == trust(TEST_NAME).verify(fields, now=EARLIER) == "69026276696"
    for wrong in (lambda: trust(PRODUCTION_NAME).verify(fields, now=EARLIER), lambda: trust().verify(fields, now=THEN)):
        with pytest.raises(BadNotice, match="certificate"):
            wrong()


def test_an_order_nobody_has_paid_yet_is_found_with_its_own_type_and_is_undecided() -> None:
    fields = messages.fields_of(received(UNPAID))
    messages.expect(fields, respCode="00", origRespCode="05", txnAmt="1", settleAmt="0", **messages.CONSUME)
    assert messages.answers_a_question(fields)
    assert fields["origRespCode"] in messages.UNDECIDED
    assert {"queryId", "currencyCode", "traceTime"}.isdisjoint(fields)


def test_a_number_unionpay_does_not_know_is_answered_34_with_the_questions_type() -> None:
    fields = messages.fields_of(received(NONE))
    messages.expect(fields, respCode=messages.NOT_FOUND, **messages.QUESTION)
    assert messages.answers_a_question(fields)
    assert "origRespCode" not in fields


def test_a_weak_signature_is_taken_only_under_an_intermediate_that_has_one_itself() -> None:
    """UnionPay's test chain is signed with SHA-1; under a chain of today, such a certificate is nobody's."""
    recorded = certificate((KEYS / "recorded_middle.pem").read_text())
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.CertificateBuilder().issuer_name(subject).serial_number(1)
    made = made.not_valid_before(THEN - timedelta(days=1)).not_valid_after(THEN + timedelta(days=1))
    root = made.subject_name(subject).public_key(key.public_key()).sign(key, hashes.SHA256())
    middle = made.subject_name(recorded.subject).public_key(recorded.public_key()).sign(key, hashes.SHA256())
    fields = messages.fields_of(received("recorded_query_of_payment"))
    with pytest.raises(BadNotice, match="not issued by the intermediate"):
        Trust(root, middle, (PRODUCTION_NAME,)).verify(fields, now=THEN)
    stranger = certificate((KEYS / "middle_certificate.pem").read_text())
    with pytest.raises(ValueError, match="not issued by root_cert"):
        Trust(certificate((KEYS / "recorded_root.pem").read_text()), stranger, (PRODUCTION_NAME,))
    with pytest.raises(ValueError, match="not issued by root_cert"):
        Trust(recorded, recorded, (PRODUCTION_NAME,))


def test_a_recorded_answer_says_when_the_money_moved() -> None:
    fields = messages.fields_of(received("recorded_query_of_payment"))
    sent = messages.moment(fields, "txnTime")
    assert messages.happened_at(fields, sent=sent) == datetime(2024, 1, 5, 14, 50, 46, tzinfo=BEIJING)
    assert fields["bizType"] == "000000", "the question's product; the payment's was 000201"
