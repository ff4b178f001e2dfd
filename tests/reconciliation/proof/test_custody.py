"""The proof's arithmetic: what differs is what is at one side only, whatever days, orders and amounts; and no more."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from channels.banks import AccountStatement, Entry
from kernel.money import Money
from reconciliation.proof.custody import Base, Custody, Given, Moved, Proved, prove
from reconciliation.proof.items import At, Item, one_sided

DAY_1 = date(2026, 11, 24)
SHOP = Custody(1, "citybank", "CNY", "pool", {"pye_a": "sub-a", "pye_b": "sub-b"})
LINE = "1-261124-" + "0" * 22
items = st.builds(
    Item,
    st.sampled_from(At),
    st.sampled_from(["pool", "sub-a"]),
    st.integers(-3, 3),
    st.sampled_from([DAY_1, DAY_1 + timedelta(days=1)]),
    st.sampled_from(["x", "y", "x:cleared"]),
    st.sampled_from([None, f"{LINE}1", f"{LINE}2"]),
    st.sampled_from([None, "stl-1-20261124-citybank-CNY"]),
)


def effects(found: list[Item]) -> Counter[str]:
    total: Counter[str] = Counter()
    for item in found:
        total[item.account] += item.effect
    return Counter({account: minor for account, minor in total.items() if minor})


@given(st.lists(items))
def test_what_meets_leaves_the_difference_as_it_was(found: list[Item]) -> None:
    left = one_sided(found)
    assert effects(left) == effects(found)
    assert one_sided(left) == left
    assert one_sided(reversed(found)) == left


@given(st.lists(items), st.integers(0, 20))
def test_two_days_in_turn_come_to_what_they_come_to_at_once(found: list[Item], cut: int) -> None:
    assert effects(one_sided([*one_sided(found[:cut]), *found[cut:]])) == effects(one_sided(found))


def test_a_line_never_meets_another_line_of_the_same_amount() -> None:
    ours = Item(At.HUB, "pool", -100, DAY_1, f"{LINE}1:paid", f"{LINE}1")
    theirs = Item(At.BANK, "pool", -100, DAY_1, "B1", f"{LINE}2")
    assert one_sided([ours, theirs]) == [theirs, ours]
    assert one_sided([ours, replace(theirs, line=f"{LINE}1")]) == []


def test_a_batch_that_the_bank_books_as_one_meets_its_lines() -> None:
    batch = "stl-1-20261124-citybank-CNY"
    lines = [Item(At.HUB, "pool", -n, DAY_1, f"{LINE}{n}:paid", f"{LINE}{n}", batch) for n in (1, 2, 3)]
    whole = Item(At.BANK, "pool", -6, DAY_1, "B1", None, batch)
    assert one_sided([*lines, whole]) == []
    assert len(one_sided([*lines[1:], whole])) == 3, "they do not come to it"


# A booking as it truly was: account, amount, and on which of two days each side has it (2: on neither).
booked = st.tuples(st.sampled_from(["pool", "sub-a", "sub-b"]), st.integers(-500, 500), *[st.integers(0, 2)] * 2)


def proved_in_turn(bookings: list[tuple[str, int, int, int]], *, off: int = 0) -> list[Proved]:
    """Prove two days, the second from what the first left. off: by what the pool closes too high at last."""
    found: list[Proved] = []
    standing = dict.fromkeys(SHOP.accounts, 0)
    ours = dict.fromkeys(SHOP.accounts, 0)
    base: Base | None = None
    for number in range(2):
        day = DAY_1 + timedelta(days=number)
        sheets, moved = [], []
        for account in SHOP.accounts:
            entries = [
                Entry(account, f"B{n}", None, Money(minor, "CNY"), day)
                for n, (on, minor, theirs, _) in enumerate(bookings)
                if on == account and minor and theirs == number
            ]
            opening = standing[account]
            standing[account] += sum(entry.amount.minor for entry in entries)
            closing = standing[account] + (off if account == "pool" and number == 1 else 0)
            one = AccountStatement("M", "S", account, day, Money(opening, "CNY"), Money(closing, "CNY"), tuple(entries))
            sheets.append(one)
        for n, (on, minor, _, hubs) in enumerate(bookings):
            if hubs == number and minor:
                payee = {"sub-a": "pye_a", "sub-b": "pye_b"}.get(on)
                moved.append(Moved(f"t{n}", day, minor, payee, minor if payee else 0))
                ours[on] += minor
        mirrors = {"pye_a": ours["sub-a"], "pye_b": ours["sub-b"]}
        one_day = prove(Given(day, SHOP, base, sheets, moved, sum(ours.values()), mirrors))
        found.append(one_day)
        base = Base(day, 0, one_day.items)
    return found


@given(st.lists(booked))
def test_every_difference_is_explained_by_bookings_at_one_side(bookings: list[tuple[str, int, int, int]]) -> None:
    for one in proved_in_turn(bookings):
        assert one.holds, one.unexplained
        for account in SHOP.accounts:
            left = sum(item.effect for item in one.items if item.account == account)
            assert one.theirs[account] - one.ours[account] == left
    both = [(account, minor, day, day) for account, minor, day, _ in bookings]
    assert [one.items for one in proved_in_turn(both)] == [[], []]


@given(st.lists(booked), st.integers(1, 500))
def test_what_no_booking_explains_is_named_with_its_account(
    bookings: list[tuple[str, int, int, int]], off: int
) -> None:
    _, last = proved_in_turn(bookings, off=off)
    assert not last.holds
    assert [(left.what, left.account, left.minor) for left in last.unexplained] == [("statement_gap", "pool", off)]


def test_a_day_without_a_statement_is_left_open_and_the_next_goes_on_from_before_it() -> None:
    carried = Item(At.BANK, "pool", 5, DAY_1, "B0")
    base = Base(DAY_1, 7, [carried])
    day = DAY_1 + timedelta(days=1)
    without = prove(Given(day, SHOP, base, [], [], 0, {}))
    assert [left.what for left in without.unexplained] == ["statement_missing"]
    assert (without.as_of, without.items, without.statement_of) == (DAY_1, [carried], None)
    shut = prove(Given(day, SHOP, base, [], [Moved("t1", day, 5, None, 0)], 5, {}, bank_works=False))
    assert (shut.holds, shut.items, shut.as_of) == (True, [], day), "what the bank had, the hub has by now"


def test_what_payees_have_in_accounts_of_their_own_is_no_custody() -> None:
    link = replace(SHOP, opens_accounts=False)
    line = f"{LINE}1"
    entries = (
        Entry("pool", "B1", None, Money(100, "CNY"), DAY_1),
        Entry("pool", "B2", line, Money(-30, "CNY"), DAY_1),
        Entry("pool", "B3", line, Money(30, "CNY"), DAY_1, return_reason="AC04"),
    )

    def proved(*booked: Entry, moved: list[Moved], paid: int) -> Proved:
        closing = Money(sum(entry.amount.minor for entry in booked), "CNY")
        sheet = AccountStatement("M", "S", "pool", DAY_1, Money(0, "CNY"), closing, booked)
        return prove(Given(DAY_1, link, None, [sheet], moved, 100, {"pye_a": paid, "pye_b": 0}))

    came = Moved("dep", DAY_1, 100, None, 0)
    sent = Moved(f"{line}:paid", DAY_1, 0, "pye_a", 30)
    back = Moved(f"{line}:returned", DAY_1, 0, "pye_a", -30)
    for booked, moved, paid, pool in (
        (entries[:1], [came], 0, 100),
        (entries[:2], [came, sent], 30, 70),
        (entries, [came, sent, back], 0, 100),
    ):
        one = proved(*booked, moved=moved, paid=paid)
        assert (one.unexplained, one.items, one.ours, one.theirs) == ([], [], {"pool": pool}, {"pool": pool})
    late = proved(*entries[:1], moved=[came, sent], paid=30)
    assert (late.holds, [(item.account, item.effect) for item in late.items]) == (True, [("pool", 30)])
