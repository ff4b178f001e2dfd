"""Stripe's disputes: what is taken and given back is read off the balance; what is not understood says nothing."""

from typing import Any

import pytest

from channels import BadNotice, Kind, Unknown
from channels.contract import Dispute, DisputeStatus, Unmoved
from channels.stripe.disputes import EVENTS
from kernel.money import Money
from tests.channels.stripe.stripe_rail import INTENT, NOW, answer, channel, intent, notice, order

STRIPE = channel()
REF = "dp_1Golden00000000000001"
TAKEN, ENDED, DUE = 1_764_000_000, 1_764_600_000, 1_765_000_000


def moved(amount: int, fee: int, created: int, **more: Any) -> dict[str, Any]:
    """Return a balance transaction of a dispute, as the public fixtures of several systems have it."""
    return {
        "id": f"txn_{created}", "object": "balance_transaction", "amount": amount, "created": created,
        "currency": "usd", "exchange_rate": None, "fee": fee, "net": amount - fee, "source": REF, "type": "adjustment",
        "reporting_category": "dispute" if amount < 0 else "dispute_reversal", **more,
    }  # fmt: skip


def dispute(status: str = "needs_response", *transactions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": REF, "object": "dispute", "amount": 1234, "balance_transactions": list(transactions), "charge": "ch_1",
        "created": TAKEN, "currency": "usd", "evidence_details": {"due_by": DUE, "has_evidence": False},
        "is_charge_refundable": False, "livemode": False, "metadata": {}, "payment_intent": intent(),
        "reason": "fraudulent", "status": status, **more,
    }  # fmt: skip


OUT, BACK = moved(-1234, 1500, TAKEN), moved(1234, -1500, ENDED)


def read(body: dict[str, Any], status: int = 200) -> Dispute | Unmoved | Unknown:
    return STRIPE.dispute_outcome(REF, answer(body, status), now=NOW)


def test_a_dispute_is_what_it_took_and_its_fee() -> None:
    found = read(dispute("needs_response", OUT))
    assert isinstance(found, Dispute)
    assert (found.ref, found.reference, found.payment_channel_ref) == (REF, order().reference, INTENT)
    assert (found.status, found.amount, found.fee) == (DisputeStatus.OPENED, Money(1234, "USD"), Money(1500, "USD"))
    assert (int(found.opened_at.timestamp()), found.ended_at, found.reason) == (TAKEN, None, "fraudulent")
    assert found.evidence_due_at is not None
    assert int(found.evidence_due_at.timestamp()) == DUE


@pytest.mark.parametrize(
    ("status", "transactions", "stands", "fee_back"),
    [
        ("under_review", (OUT,), DisputeStatus.OPENED, 0),
        ("won", (OUT,), DisputeStatus.OPENED, 0),  # the money is not back yet
        ("won", (OUT, BACK), DisputeStatus.WON, 1500),
        ("won", (OUT, moved(1234, 0, ENDED)), DisputeStatus.WON, 0),
        ("lost", (OUT,), DisputeStatus.LOST, 0),
        ("lost", (OUT, BACK), DisputeStatus.WON, 1500),  # the balance is what counts
    ],
)
def test_money_on_the_balance_says_how_a_dispute_stands(
    status: str, transactions: tuple[dict[str, Any], ...], stands: DisputeStatus, fee_back: int
) -> None:
    found = read(dispute(status, *transactions))
    assert isinstance(found, Dispute)
    assert (found.status, found.fee_back) == (stands, Money(fee_back, "USD"))


def test_what_comes_back_in_part_is_told_as_that() -> None:
    found = read(dispute("won", OUT, moved(1000, 0, ENDED)))
    assert isinstance(found, Dispute)
    assert (found.amount, found.returned) == (Money(1234, "USD"), Money(1000, "USD"))


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed", "prevented"])
def test_an_inquiry_has_moved_nothing(status: str) -> None:
    assert read(dispute(status)) == Unmoved(status, order().reference)


def test_a_dispute_that_was_taken_in_another_currency_says_so() -> None:
    found = read(dispute("needs_response", moved(-1100, 2000, TAKEN, currency="eur")))
    assert isinstance(found, Dispute)
    assert found.amount == Money(1100, "EUR")


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "dp_another"},
        {"object": "charge"},
        {"livemode": True},
        {"status": "brand_new"},
        {"payment_intent": "pi_not_shown"},
        {"balance_transactions": None},
        {"balance_transactions": [{"object": "balance_transaction", "amount": "1"}]},
        {"balance_transactions": [OUT, moved(-1, 0, TAKEN, currency="eur")]},
        {"balance_transactions": [moved(-1234, -1, TAKEN)]},
        {"balance_transactions": [OUT, moved(1234, 1, ENDED)]},
        {"balance_transactions": [moved(-1234, 0, 0)]},
        {"reason": None},
    ],
)
def test_what_is_not_understood_is_unknown(wrong: dict[str, Any]) -> None:
    assert isinstance(read(dispute("needs_response", OUT) | wrong), Unknown)


def test_a_dispute_of_anothers_charge_names_no_payment_here() -> None:
    for paid in (None, intent(metadata={})):
        found = read(dispute("needs_response", OUT, payment_intent=paid))
        assert isinstance(found, Dispute)
        assert found.reference is None


def test_what_stripe_has_not_is_not_found_and_any_other_error_is_not() -> None:
    error = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "no such dispute"}}
    missing, down = read(error, 404), read(error, 500)
    assert isinstance(missing, Unknown)
    assert isinstance(down, Unknown)
    assert (missing.not_found, down.not_found) == (True, False)


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_an_event_names_a_dispute_and_decides_nothing(kind: str) -> None:
    told = STRIPE.notice(notice(kind, dispute("won", OUT, BACK, payment_intent=INTENT)), now=NOW)
    assert told is not None
    assert (told.kind, told.reference) == (Kind.CHARGEBACK, REF)
    assert isinstance(told.outcome, Unknown)


@pytest.mark.parametrize("about", [{"object": "dispute"}, {"object": "charge", "id": REF}, dispute(id="xx_1")])
def test_an_event_that_names_none_is_about_nothing_of_ours(about: dict[str, Any]) -> None:
    with pytest.raises(BadNotice) as refused:
        STRIPE.notice(notice("charge.dispute.created", about), now=NOW)
    assert refused.value.about == ""


def test_the_question_has_the_intent_shown() -> None:
    request = STRIPE.dispute_request(REF)
    assert (request.method, request.url.partition("/v1/")[2]) == ("GET", f"disputes/{REF}?expand%5B%5D=payment_intent")
