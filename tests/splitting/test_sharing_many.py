"""Many payments are shared out at once as one after the other is, and nothing is posted twice."""

from collections.abc import Sequence
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from kernel.work import Work
from ledger import Transfer, accounts, post_expected
from ledger.posting import DAY_SUMS, ENTRIES
from splitting.plans.arithmetic import SplitLine
from splitting.plans.asked import MANY, Part
from splitting.plans.tree import ShareKind
from splitting.shares import sharing
from splitting.shares.sharing import Paid
from splitting.tables import OWN_PAYEES, SPLITS, OwnPayee
from streams import EVENTS
from tests.splitting.in_memory import BOOK, DAY, NOW, Book

HUB, CHAIN, SHOP = (f"pye_{n:026x}" for n in (1, 2, 3))
BP, REST = ShareKind.BASIS_POINTS, ShareKind.REMAINDER

TREE = [
    {"name": "platform", "payee": HUB, "basis_points": 60},
    {"name": "chain", "payee": CHAIN, "basis_points": 9_000, "lines": [
        {"name": "shop", "payee": SHOP, "basis_points": 7_777},
    ]},
    {"name": "by-card", "payee": HUB, "basis_points": 70, "when": {"method": ["card"]}},
]  # fmt: skip
FROZEN = [{"name": "shop", "payee": SHOP, "basis_points": 5_000, "release": [{"days": 7}]}]
TIERS = [{"name": "shop", "payee": SHOP, "basis_points": 100, "volume_of": "payee", "tiers": [
    {"from": 500, "value": 3_000},
]}]  # fmt: skip


def document(lines: Sequence[Any]) -> Part:
    return Part(document=orjson.dumps({"version": 1, "lines": lines}).decode())


PARTS = {
    "tree": [document(TREE)],
    "list": [Part(split=[SplitLine(SHOP, BP, 3_000), SplitLine(HUB, BP, 0), SplitLine(CHAIN, REST, 1)])],
    "frozen": [document(FROZEN)],
    "tiers": [document(TIERS)],
    "two parts": [document(TREE)._replace(amount_minor=300), document(TREE)._replace(amount_minor=700)],
}


def shop(asked: Sequence[str], gross: Sequence[int]) -> tuple[Book, list[Paid]]:
    """Return a book in which payments have succeeded, each planned as one of PARTS, and what came of each."""
    book, paid = Book(), []
    book.payee(HUB, kind="platform")
    for payee in (CHAIN, SHOP):
        book.payee(payee)
    if len(gross) % 2:  # the merchant is a payee of its own
        book.put(OWN_PAYEES, OwnPayee(BOOK, "CNY", CHAIN, "ada", NOW))
    channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
    for n, (name, minor) in enumerate(zip(asked, gross, strict=True)):
        one = Paid(f"pay_{n:026}", DAY, minor, minor // 150, minor // 9 if n % 5 == 0 else 0, ["card", None][n % 2])
        sharing.plan(book, BOOK, one.payment_id, minor, one.fee_minor, "CNY", PARTS[name])
        got = Transfer(one.payment_id, "payment_captured", channel, merchant, minor, "CNY")
        post_expected(book, BOOK, one.payment_id, [got], business_date=DAY)
        paid.append(one)
    return book, paid


def written(work: Work) -> Any:
    return (
        {key: pair[1] for key, pair in work._changed[SPLITS].items()}, work._added.get(ENTRIES), work._added[EVENTS],
        work._sums[DAY_SUMS], work.head(BOOK),
    )  # fmt: skip


few = st.lists(st.tuples(st.sampled_from(sorted(PARTS)), st.integers(1, 5_000)), min_size=1, max_size=12)


@given(drawn=few)
def test_payments_of_any_plans_are_shared_out_together_as_one_by_one(drawn: list[tuple[str, int]]) -> None:
    assert_the_same([name for name, _ in drawn], [minor for _, minor in drawn])


def test_so_many_that_they_are_shared_out_in_bulk_are_shared_out_the_same() -> None:
    gross = [n * n % 4_999 + 1 for n in range(5 * MANY)]
    for name in PARTS:
        assert_the_same([name] * len(gross), gross)
        assert_the_same([name] * (MANY + 1), gross[: MANY + 1])
    assert_the_same([["tree", "list", "frozen"][n % 3] for n in range(len(gross))], gross)


def assert_the_same(asked: Sequence[str], gross: Sequence[int]) -> None:
    together, paid = shop(asked, gross)
    splits = sharing.share_out_many(together, BOOK, paid)
    alone, _ = shop(asked, gross)
    assert splits == [sharing.share_out(alone, BOOK, one) for one in paid]
    assert written(together) == written(alone)
    before = written(together)
    assert sharing.share_out_many(together, BOOK, [*paid, *paid[:2]]) == [*splits, *splits[:2]]
    assert written(together) == before


def test_a_payment_that_comes_twice_in_a_batch_is_shared_out_once() -> None:
    book, paid = shop(["tree", "tree"], [1_000, 900])
    first, second, again = sharing.share_out_many(book, BOOK, [*paid, paid[0]])
    assert first == again
    assert len(book._added[EVENTS]) == 2 + 3  # of the payees too
    assert sharing.share_out_many(book, BOOK, [Paid("pay_without_a_plan", DAY, 5, 0)]) == [None]
    assert second is not None
