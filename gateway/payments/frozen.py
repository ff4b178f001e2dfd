"""Money that a rail keeps frozen until it is shared out there 分账: noted with the capture."""

import splitting
from channels.contract import Confirmed
from gateway import states
from gateway.tables import Attempt, Payment
from kernel.work import Work


def note_frozen(
    work: Work, payment: Payment, attempt: Attempt, outcome: Confirmed, share_basis_points: int | None
) -> None:
    """Note that the rail keeps frozen what arrives of an attempt, captured just now.

    share_basis_points: the most of it that the rail shares out, where the account's terms say so.
    """
    assert attempt.channel_ref is not None
    assert attempt.business_date is not None
    arrived = attempt.captured_minor - attempt.fee_minor - attempt.coupon_minor
    paid = splitting.RailPayment(
        payment.book, f"{payment.id}:{attempt.number}", payment.id, attempt.channel_account, attempt.channel,
        attempt.reference, attempt.channel_ref, payment.currency, arrived, attempt.business_date, outcome.happened_at,
        share_basis_points, ask_at=splitting.ask_from(attempt.channel, outcome.happened_at),
    )  # fmt: skip
    # What was paid on top is not shared out: it goes back whole.
    splitting.frozen_at_rail(work, paid, is_the_payments=attempt.status != states.AttemptStatus.OVERPAID)
