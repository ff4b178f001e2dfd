"""Whatever channels say of whichever attempt, in any order and how often: one attempt pays, the rest goes back."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import states
from ledger import accounts
from tests.gateway.payments.life import KEEPS_ITS_FEE, MOVES, Life

wallets = st.integers(0, 3)
moves = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 200)), min_size=4, max_size=40)


@settings(max_examples=300, deadline=None)
@given(cashier=st.booleans(), manual=st.booleans(), split=st.booleans(), wallets=wallets, script=moves)
def test_one_attempt_pays_and_the_rest_goes_back(
    cashier: bool, manual: bool, split: bool, wallets: int, script: list[tuple[str, int]]
) -> None:
    life = Life(cashier=cashier, manual=manual, split=split, wallets=wallets)
    for what, n in script:
        life.step(what, n)
        life.assert_exact()
    life.settle_all_that_goes_back()
    life.assert_exact()
    surplus = [one for one in life.attempts if one.status == "overpaid"]
    for one in surplus:
        back = [r for r in life.refunds if r.attempt_number == one.number and r.status == "succeeded"]
        assert sum(r.amount_minor for r in back) == one.captured_minor
    if life.payment.status not in ("succeeded",) and life.payment.refundable_minor == 0:
        left = life.book.balances
        kept = left.pop("refund_cost:CNY", 0)
        assert left == ({accounts.channel(KEEPS_ITS_FEE, "CNY"): -kept} if kept else {}), (
            "nothing is kept of a payment nobody was told of"
        )


def test_the_moves_reach_every_state() -> None:
    """Without this the property above might say nothing."""
    seen: set[str] = set()
    chance = random.Random(7)
    for _ in range(150):
        life = Life(
            cashier=chance.random() < 0.5, manual=chance.random() < 0.3, split=True, wallets=chance.randint(0, 3)
        )
        for _ in range(30):
            life.step(chance.choice(MOVES), chance.randint(0, 200))
            seen.update(f"attempt {one.status}" for one in life.attempts)
            seen.update("doubted" for one in life.attempts if one.status == "confirmed" and one.undo_sent_at)
            seen.add(f"payment {life.payment.status}")
            seen.update(f"refund {one.status} {min(one.retry_count, 2)}" for one in life.refunds)
    wanted: set[Any] = {f"attempt {state}" for state in states.AttemptStatus} | {
        f"payment {state}" for state in states.PaymentStatus
    }
    wanted |= {"doubted", "refund succeeded 0", "refund failed 0", "refund succeeded 1", "refund failed 1"}
    assert wanted <= seen, wanted - seen
