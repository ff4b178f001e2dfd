"""Posting many groups at once leaves the books as posting them one after the other does, or refuses as that does."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from kernel.errors import Broken
from kernel.work import Work, new_head
from ledger import ACCOUNTS, Group, OpenAccounts, Step, Transfer, post_expected, post_many
from ledger.posting import DAY_SUMS, ENTRIES, HOLDS
from tests.kernel.one_book import NOW

BOOK, DAY = 1, date(2026, 11, 30)
CHANNEL, MERCHANT = "channel:rail:CNY", "merchant:CNY"
PAYEES = ["payee:p:CNY", "payee:q:CNY"]
TRANSIT, SUB = "in_transit:bank:CNY", "sub_account:p:CNY"

ways = st.sampled_from(
    [
        ("share", MERCHANT, PAYEES[0]),
        ("share", MERCHANT, PAYEES[1]),
        ("share", MERCHANT, "payee:nobody:CNY"),
        ("share", PAYEES[0], MERCHANT),  # not what the rule says
        ("settlement_sent", PAYEES[0], TRANSIT),
        ("settlement_paid", TRANSIT, SUB),
        ("payment_captured", CHANNEL, MERCHANT),
        ("no_such_rule", MERCHANT, PAYEES[0]),
    ]
)
usual = st.sampled_from([("share", MERCHANT, payee) for payee in PAYEES])
amounts = st.one_of(st.integers(1, 400), st.sampled_from([0, -1, 10**15, 10**15 + 1]))
lines = st.tuples(usual, st.integers(1, 400), st.just(Step.POST))
odd_lines = st.tuples(ways, amounts, st.sampled_from([Step.POST, Step.POST, Step.HOLD]))
groups = st.lists(st.lists(st.one_of(lines, lines, lines, odd_lines), min_size=1, max_size=3), max_size=6)


class _Book(Work):
    """A book in memory; a row nobody put is none."""

    def find(self, table: Any, key: tuple[Any, ...]) -> Any:
        return self._rows.get(table, {}).get(key)


def written(post: Callable[[Work], None], given_minor: int) -> Any:
    """Return all that a batch would write after this, or what it was refused with."""
    work = _Book(NOW, [new_head(BOOK, NOW - timedelta(seconds=1))])
    OpenAccounts(BOOK, [CHANNEL, MERCHANT, *PAYEES, TRANSIT, SUB]).apply(work)
    given = Transfer("g", "payment_captured", CHANNEL, MERCHANT, given_minor, "CNY")
    post_expected(work, BOOK, "given", [given], business_date=DAY)
    try:
        post(work)
    except Broken as error:
        return str(error)
    return {
        "accounts": {key: pair[1] for key, pair in work._changed[ACCOUNTS].items()},
        "holds": {key: pair[1] for key, pair in work._changed.get(HOLDS, {}).items()},
        "journal": work._added.get(ENTRIES, []),
        "sums": work._sums.get(DAY_SUMS),
        "head": work.head(BOOK),
    }


def one_by_one(work: Work, some: Sequence[Group]) -> None:
    for group in some:
        post_expected(work, BOOK, group.posting, group.transfers, business_date=group.business_date, fresh=True)


@given(drawn=groups, given_minor=st.integers(1, 2_000))
def test_many_groups_are_posted_as_one_after_the_other(
    drawn: list[list[tuple[tuple[str, str, str], int, Step]]], given_minor: int
) -> None:
    some = [
        Group(
            f"b{n}",
            [Transfer(f"t{n}.{m}", *way, amount, "CNY", step) for m, (way, amount, step) in enumerate(lines)],
            DAY + timedelta(days=n % 2),
        )
        for n, lines in enumerate(drawn)
    ]
    together = written(lambda work: post_many(work, BOOK, some), given_minor)
    assert together == written(lambda work: one_by_one(work, some), given_minor)
    event("refused" if isinstance(together, str) else "posted")


def test_an_account_that_is_debited_and_credited_is_looked_at_group_by_group() -> None:
    """By sums there would be enough in transit; on the way there is not."""

    def group(name: str, rule: str, debit: str, credit: str, amount: int) -> Group:
        return Group(name, [Transfer(name, rule, debit, credit, amount, "CNY")], DAY)

    half = group("a", "settlement_sent", PAYEES[0], TRANSIT, 50)
    paid = group("b", "settlement_paid", TRANSIT, SUB, 100)
    rest = group("c", "settlement_sent", PAYEES[0], TRANSIT, 50)
    assert "would_overdraw" in written(lambda work: post_many(work, BOOK, [half, paid, rest]), 100)
    assert isinstance(written(lambda work: post_many(work, BOOK, [half, rest, paid]), 100), dict)


def test_an_id_that_comes_twice_is_refused() -> None:
    twice = Group("a", [Transfer("a", "share", MERCHANT, PAYEES[0], 1, "CNY")] * 2, DAY)
    other = Group("b", [Transfer("b", "share", MERCHANT, PAYEES[0], 1, "CNY")], DAY)
    assert "exists_differently" in written(lambda work: post_many(work, BOOK, [other, twice]), 100)
