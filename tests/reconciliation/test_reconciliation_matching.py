"""Matching, one day and many: nothing lost, nothing invented, the same whatever the order."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.banks import Entry
from channels.contract import BillLine
from channels.contract import Kind as Item
from kernel.money import Money
from reconciliation import (
    Area,
    Discrepancy,
    DiscrepancyKind,
    Key,
    Matched,
    MatchResult,
    Mirror,
    Movement,
    Payouts,
    PayoutStatus,
    State,
    Statements,
    match_balances,
    match_channel,
    match_deposit,
    match_payouts,
    net_of,
)
from reconciliation.matching.match import Effects, Known, Net, effects_of, standing
from tests.reconciliation.books import (
    BANK,
    DAY,
    NEXT,
    POOL,
    SUB,
    World,
    bookings,
    cny,
    deposit_entry,
    deposits,
    line_of,
    paid,
    payout,
    refunded,
    statement,
    statuses,
    truth,
)

assert BANK


def the(outcomes: list[MatchResult]) -> MatchResult:
    (only,) = outcomes
    return only


def kind_of(movement: Movement, *lines: BillLine) -> tuple[DiscrepancyKind, int | None] | None:
    found = the(list(match_channel(DAY, [movement], lines)))
    return (found.kind, found.verdict.difference_minor) if isinstance(found, Discrepancy) else None


# ---- one day, channel ------------------------------------------------------------------------------------------------


def test_each_kind_of_difference_is_told_apart() -> None:
    ours = paid("p")
    good = line_of(ours)
    assert kind_of(ours, good) is None
    assert kind_of(ours) == (DiscrepancyKind.MISSING_AT_CHANNEL, -10_000)
    assert kind_of(ours, replace(good, amount=cny(9_999))) == (DiscrepancyKind.AMOUNT_DIFFERS, -1)
    assert kind_of(ours, replace(good, amount=Money(10_000, "USD"))) == (DiscrepancyKind.AMOUNT_DIFFERS, None)
    assert kind_of(ours, replace(good, fee=cny(61))) == (DiscrepancyKind.FEE_DIFFERS, 1)
    assert kind_of(ours, replace(good, coupon_minor=100)) == (DiscrepancyKind.COUPON_DIFFERS, 100)
    assert kind_of(ours, replace(good, coupon_minor=100, fee=cny(54))) == (DiscrepancyKind.COUPON_DIFFERS, 100)
    assert kind_of(replace(ours, coupon_minor=100), replace(good, coupon_minor=100)) is None
    assert kind_of(replace(ours, coupon_minor=100), good) == (DiscrepancyKind.COUPON_DIFFERS, -100)
    assert kind_of(ours, replace(good, status="failed")) == (DiscrepancyKind.STATUS_DIFFERS, -10_000)
    assert kind_of(ours, replace(good, status="unknown")) == (DiscrepancyKind.STATUS_DIFFERS, -10_000)
    assert kind_of(ours, good, good) == (DiscrepancyKind.DUPLICATE, 10_000)
    assert kind_of(replace(ours, business_date=DAY - timedelta(1)), good) == (DiscrepancyKind.LATE, 0)
    surplus = the(list(match_channel(DAY, [], [good])))
    assert isinstance(surplus, Discrepancy)
    assert (surplus.kind, surplus.verdict.difference_minor) == (DiscrepancyKind.MISSING_AT_HUB, 10_000)


def test_a_payment_they_call_paid_and_we_do_not_is_worth_its_amount() -> None:
    assert kind_of(paid("p", status="processing"), line_of(paid("p"))) == (DiscrepancyKind.STATUS_DIFFERS, 10_000)
    assert kind_of(paid("p", status="failed"), line_of(paid("p"))) == (DiscrepancyKind.STATUS_DIFFERS, 10_000)


def test_a_payment_that_was_never_paid_is_in_no_bill() -> None:
    assert kind_of(paid("p", status="failed")) is None
    assert kind_of(paid("p", status="processing")) is None
    assert kind_of(paid("p", status="reversed")) is None


def test_a_bill_lists_a_refund_when_it_is_accepted_and_never_updates_it() -> None:
    done = refunded("r", "p")
    assert kind_of(done, line_of(done, status="processing")) is None
    assert kind_of(replace(done, status="processing")) == (DiscrepancyKind.MISSING_AT_CHANNEL, -1_000)


def test_a_payment_and_its_reversal_are_one_story() -> None:
    ours = paid("p", status="reversed", fee=0)
    lines = line_of(ours, status="success", fee=cny(60)), line_of(ours, status="reversed", fee=cny(-60))
    assert kind_of(ours, *lines) is None
    assert kind_of(paid("p"), *lines) == (DiscrepancyKind.STATUS_DIFFERS, -10_000)


def test_a_payment_that_was_reversed_is_none_of_ours_and_worth_nothing() -> None:
    ours, theirs = paid("p", status="failed", fee=0), paid("p")
    took = line_of(theirs)
    gave = replace(took, kind=Item.REFUND, status="reversed", fee=cny(-theirs.fee_minor))
    assert kind_of(ours, took, gave) is None
    assert kind_of(theirs, took, gave) == (DiscrepancyKind.STATUS_DIFFERS, -10_000)
    net = net_of(DAY, [ours], [took, gave], "CNY")
    assert (net.ours, net.bill) == (cny(0), cny(0))


def test_a_payment_and_a_refund_may_share_a_number_and_stay_two_things() -> None:
    payment, refund = paid("x"), refunded("x", "x")
    outcomes = list(match_channel(DAY, [payment, refund], [line_of(payment), line_of(refund)]))
    assert [outcome.key.item for outcome in outcomes] == ["payment", "refund"]
    assert all(isinstance(outcome, Matched) for outcome in outcomes)


def test_a_movement_given_twice_is_our_mistake_and_not_the_channels() -> None:
    with pytest.raises(ValueError, match="twice"):
        list(match_channel(DAY, [paid("p"), paid("p")], []))


references = st.integers(0, 12).map(lambda number: f"p{number}")
movements = st.builds(
    paid,
    references,
    st.integers(1, 5),
    fee=st.integers(0, 2),
    status=st.sampled_from(["success", "processing", "failed", "reversed"]),
)
lines = st.builds(
    line_of,
    movements,
    status=st.sampled_from(["success", "processing", "failed", "reversed", "unknown"]),
)
our_book = st.lists(movements, max_size=12, unique_by=lambda movement: movement.reference)
their_book = st.lists(lines, max_size=14)


@given(our_book, their_book)
def test_every_reference_of_either_book_comes_out_exactly_once(ours: list[Movement], theirs: list[BillLine]) -> None:
    out = [(outcome.key.item, outcome.key.reference) for outcome in match_channel(DAY, ours, theirs)]
    assert sorted(out) == sorted({(one.kind, one.reference) for one in [*ours, *theirs]})


@given(our_book, their_book, st.randoms(use_true_random=False))
def test_the_order_of_the_books_does_not_matter(ours: list[Movement], theirs: list[BillLine], chance: object) -> None:
    def found(some: list[Movement], others: list[BillLine]) -> dict[Key, MatchResult]:
        return {outcome.key: outcome for outcome in match_channel(DAY, some, others)}

    kinds = {key: o.verdict for key, o in found(ours, theirs).items() if isinstance(o, Discrepancy)}
    chance.shuffle(ours)  # type: ignore[attr-defined]
    again = {key: o.verdict for key, o in found(ours, theirs).items() if isinstance(o, Discrepancy)}
    assert kinds == again


@given(
    st.dictionaries(references, st.integers(1, 3), max_size=10),
    st.dictionaries(references, st.integers(1, 3), max_size=10),
)
def test_seen_from_the_other_side_a_shortage_is_a_surplus_and_differences_change_sign(
    ours: dict[str, int], theirs: dict[str, int]
) -> None:
    def differences(us: dict[str, int], them: dict[str, int]) -> dict[str, tuple[DiscrepancyKind, int | None]]:
        outcomes = match_channel(
            DAY,
            [paid(reference, minor) for reference, minor in us.items()],
            [line_of(paid(reference, minor)) for reference, minor in them.items()],
        )
        return {o.key.reference: (o.kind, o.verdict.difference_minor) for o in outcomes if isinstance(o, Discrepancy)}

    mirror = {
        DiscrepancyKind.MISSING_AT_CHANNEL: DiscrepancyKind.MISSING_AT_HUB,
        DiscrepancyKind.MISSING_AT_HUB: DiscrepancyKind.MISSING_AT_CHANNEL,
        DiscrepancyKind.AMOUNT_DIFFERS: DiscrepancyKind.AMOUNT_DIFFERS,
    }
    seen_by_us = differences(ours, theirs)
    seen_by_them = differences(theirs, ours)
    assert {ref: (mirror[kind], -(diff or 0)) for ref, (kind, diff) in seen_by_us.items()} == seen_by_them


@given(our_book, their_book)
def test_the_differences_are_exactly_what_parts_the_two_totals(ours: list[Movement], theirs: list[BillLine]) -> None:
    money = {"success"}
    mine = [replace(m, status="success") for m in ours]
    them = [replace(line, status="success", fee=Money(0, "CNY")) for line in theirs]
    mine = [replace(m, fee_minor=0) for m in mine]
    outcomes = list(match_channel(DAY, mine, them))
    parted = sum(o.verdict.difference_minor or 0 for o in outcomes if isinstance(o, Discrepancy))
    total = sum(line.amount.minor for line in them if line.status in money) - sum(m.amount.minor for m in mine)
    assert parted == total


# ---- many days, any order --------------------------------------------------------------------------------------------

DAYS = [DAY + timedelta(n) for n in range(3)]


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Movement], list[tuple[int, list[BillLine]]]]:
    """Draw our book, and a history of runs: (day, the bill as it was that time); later runs restate earlier bills."""
    ours = {m.reference: m for m in draw(st.lists(some_payment, max_size=5, unique_by=lambda m: m.reference))}
    their_line = st.builds(
        lambda reference, minor: line_of(paid(reference, minor)),
        st.sampled_from([*ours, "stranger"]),
        st.sampled_from([10_000, 10_000, 10_000, 7]),
    )
    runs = draw(st.lists(st.tuples(st.integers(0, 2), st.lists(their_line, max_size=4)), min_size=1, max_size=6))
    return ours, runs


some_payment = st.builds(paid, references, day=st.sampled_from(DAYS))


@given(histories())
def test_whatever_order_days_are_run_and_restated_in_the_differences_are_those_of_the_last_bills(
    history: tuple[dict[str, Movement], list[tuple[int, list[BillLine]]]],
) -> None:
    ours, runs = history
    known: dict[Key, Known] = {}
    bills: dict[object, list[BillLine]] = {}
    for number, bill in [*runs, runs[-1]]:
        day = DAYS[number]
        given_to_run = [
            m for m in ours.values() if m.business_date == day or m.reference in {line.reference for line in bill}
        ]
        outcomes = list(match_channel(day, given_to_run, bill, known, set(bills)))
        bills[day] = bill
        for outcome in outcomes:
            settled = isinstance(outcome, Matched) or outcome.kind is DiscrepancyKind.LATE
            row = standing(outcome, known.get(outcome.key), State.RESOLVED if settled else State.OPEN)
            if row is not None:
                known[outcome.key] = row
        expected = truth(World(ours, bills))  # type: ignore[arg-type]
        open_now = {k.reference: str(row.verdict.kind) for k, row in known.items() if row.state is State.OPEN}
        assert open_now == {ref: kind for ref, kind in expected.items() if kind != "late"}
        late = {ref for ref, kind in expected.items() if kind == "late"}
        assert all(known[Key(Area.CHANNEL, Item.PAYMENT, ref)].verdict.kind is DiscrepancyKind.LATE for ref in late)


def test_a_row_missing_one_day_and_billed_the_next_is_one_late_discrepancy() -> None:
    ours = paid("p")
    short = the(list(match_channel(DAY, [ours], [])))
    assert isinstance(short, Discrepancy)
    row = standing(short, None, State.OPEN)
    assert row is not None
    found = the(list(match_channel(NEXT, [ours], [line_of(ours)], {short.key: row}, {DAY})))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.key, found.home) == (DiscrepancyKind.LATE, short.key, DAY)


def test_a_row_billed_on_two_days_is_a_duplicate_though_each_bill_has_it_once() -> None:
    ours = paid("p")
    assert isinstance(the(list(match_channel(DAY, [ours], [line_of(ours)]))), Matched)
    found = the(list(match_channel(NEXT, [ours], [line_of(ours)], {}, {DAY})))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.verdict.difference_minor) == (DiscrepancyKind.DUPLICATE, 10_000)


# ---- deposits --------------------------------------------------------------------------------------------------------


def deposit_of(ours: list[Movement], bill: list[BillLine], *entries: Entry) -> MatchResult:
    return the(list(match_deposit(DAY, net_of(DAY, ours, bill, "CNY"), deposits(*entries))))


OURS = [paid("a"), paid("b", 5_000, fee=30), refunded("r", "a"), paid("c", status="failed"), paid("d", day=NEXT)]
BILL = [line_of(movement) for movement in OURS[:3]]
NET = 10_000 - 60 + 5_000 - 30 - 1_000 + 6
IDENT = "WX190000000120261124"


def test_a_chargeback_recorded_by_hand_that_the_channel_has_not_taken_is_not_explained_by_its_bill() -> None:
    """Its bills list no chargebacks: what it pays out shows whether it took the money."""
    back = replace(paid("CB1", 4_000, fee=1_500), kind=Item.CHARGEBACK, payment_reference="a", unbilled=True)
    ours = [*OURS, back]
    assert net_of(DAY, ours, BILL, "CNY").unlisted_minor == -5_500
    assert isinstance(deposit_of(ours, BILL, deposit_entry(IDENT, NET - 5_500)), Matched), "it took it"
    kept = deposit_of(ours, BILL, deposit_entry(IDENT, NET))
    assert isinstance(kept, Discrepancy)
    assert (kept.kind, kept.verdict.difference_minor) == (DiscrepancyKind.DEPOSIT_DIFFERS, 5_500)
    assert not kept.verdict.explained, "nothing in the bill says why"
    assert "has not taken 55.00 CNY of chargebacks" in kept.verdict.detail
    short = deposit_of(ours, BILL[:-1], deposit_entry(IDENT, NET + 994 - 5_500))
    assert isinstance(short, Discrepancy)
    assert short.verdict.explained, "the bill lacks the refund"


def test_the_net_of_a_day_is_payments_less_refunds_less_fees() -> None:
    net = net_of(DAY, OURS, BILL, "CNY")
    assert (net.ours, net.bill) == (cny(NET), cny(NET))


def test_what_coupons_of_the_merchants_bear_is_no_part_of_the_net_nor_of_the_deposit() -> None:
    """Of an order of 100.00 with 10.00 off, 90.00 less the fee arrive; 9.00 of a refund of 10.00 are taken."""
    ours = [replace(paid("a"), coupon_minor=1_000), replace(refunded("r", "a"), coupon_minor=-100)]
    bill = [replace(line_of(ours[0]), coupon_minor=1_000), replace(line_of(ours[1]), coupon_minor=-100)]
    net = 10_000 - 1_000 - 60 - (1_000 - 100) + 6
    assert net_of(DAY, ours, bill, "CNY") == Net(cny(net), cny(net))
    assert isinstance(deposit_of(ours, bill, deposit_entry(IDENT, net)), Matched)
    untold = [replace(one, coupon_minor=0) for one in ours]
    found = deposit_of(untold, bill, deposit_entry(IDENT, net))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.verdict.difference_minor) == (DiscrepancyKind.DEPOSIT_DIFFERS, -900)
    assert found.verdict.explained, "the bill's own discrepancies, coupon_differs, are the difference"


def test_a_reversal_of_a_payment_with_a_coupon_leaves_nothing_of_it() -> None:
    ours = paid("p", status="failed")
    took = replace(line_of(paid("p")), coupon_minor=1_000)
    gave = replace(took, kind=Item.REFUND, status="reversed", fee=cny(-60), coupon_minor=-1_000)
    assert kind_of(replace(ours, fee_minor=0), took, gave) is None
    assert net_of(DAY, [ours], [took, gave], "CNY").bill == cny(0)


def test_the_deposit_of_a_day_agrees_when_it_is_the_net_to_the_last_cent() -> None:
    assert isinstance(deposit_of(OURS, BILL, deposit_entry(IDENT, NET)), Matched)


def test_two_bookings_that_look_alike_are_two_deposits() -> None:
    entry = deposit_entry(IDENT, NET)
    found = deposit_of(OURS, BILL, entry, replace(entry))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.verdict.difference_minor) == (DiscrepancyKind.DEPOSIT_DUPLICATE, NET)


@pytest.mark.parametrize(
    ("entries", "kind", "difference", "explained"),
    [
        ((), DiscrepancyKind.DEPOSIT_MISSING, -NET, False),
        ((deposit_entry("WX190000000120261123", NET),), DiscrepancyKind.DEPOSIT_MISSING, -NET, False),
        ((deposit_entry(IDENT, NET - 1),), DiscrepancyKind.DEPOSIT_DIFFERS, -1, False),
        ((deposit_entry(IDENT, NET), deposit_entry(IDENT, NET, "R-2")), DiscrepancyKind.DEPOSIT_DUPLICATE, NET, False),
    ],
)
def test_a_deposit_that_is_not_the_net_is_a_discrepancy(
    entries: tuple[Entry, ...], kind: DiscrepancyKind, difference: int, explained: bool
) -> None:
    found = deposit_of(OURS, BILL, *entries)
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.verdict.difference_minor, found.verdict.explained) == (kind, difference, explained)


def test_a_deposit_that_follows_the_bill_is_explained_by_the_bills_discrepancies() -> None:
    found = deposit_of(OURS, BILL[1:], deposit_entry(IDENT, NET - 9_940))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.verdict.explained) == (DiscrepancyKind.DEPOSIT_DIFFERS, True)


def test_a_false_bill_line_worries_nobody_about_a_deposit_that_is_right() -> None:
    assert isinstance(deposit_of(OURS, [*BILL, line_of(paid("stranger"))], deposit_entry(IDENT, NET)), Matched)


def test_a_day_of_more_refunds_than_payments_is_debited() -> None:
    refund = refunded("r", "before", 500, fee=-3)
    assert isinstance(deposit_of([refund], [line_of(refund)], deposit_entry(IDENT, -497)), Matched)


def test_a_day_without_business_owes_nothing() -> None:
    assert isinstance(deposit_of([], []), Matched)


# ---- payouts ---------------------------------------------------------------------------------------------------------


def payouts_of(
    instructions: list[object], entries: list[Entry], *reports: object, day: object = DAY, **more: object
) -> list[MatchResult]:
    accounts = sorted({POOL, SUB} | {entry.account for entry in entries})
    sheets = [statement(account, entries, day=day) for account in accounts]  # type: ignore[arg-type]
    return list(match_payouts(day, Payouts(instructions, reports, **more), sheets))  # type: ignore[arg-type]


def payout_kind(found: list[MatchResult]) -> tuple[DiscrepancyKind, int | None] | None:
    only = the(found)
    return (only.kind, only.verdict.difference_minor) if isinstance(only, Discrepancy) else None


def test_an_instruction_paid_reported_and_booked_on_both_accounts_agrees() -> None:
    assert payout_kind(payouts_of([payout("i")], list(bookings("i")), statuses(("i", "ACSC")))) is None


def test_an_instruction_refused_on_both_sides_agrees() -> None:
    refused = payout("i", status=PayoutStatus.REFUSED)
    assert payout_kind(payouts_of([refused], [], statuses(("i", "RJCT")))) is None
    assert payout_kind(payouts_of([refused], [])) is None


def test_each_kind_of_payout_difference_is_told_apart() -> None:
    ours, out, into = payout("i"), *bookings("i")
    transit, refused = payout("i", status=PayoutStatus.IN_TRANSIT), payout("i", status=PayoutStatus.REFUSED)
    missing, differs = DiscrepancyKind.PAYOUT_MISSING_AT_BANK, DiscrepancyKind.PAYOUT_STATUS_DIFFERS
    executed, rejected = statuses(("i", "ACSC")), statuses(("i", "RJCT"))
    cases = [
        (payouts_of([ours], []), (missing, -5_000)),
        (payouts_of([ours], [], executed), (missing, -5_000)),
        (payouts_of([ours], [out]), (missing, -5_000)),
        (payouts_of([ours], [into]), (missing, -5_000)),
        (payouts_of([transit], []), (missing, -5_000)),
        (payouts_of([transit], [], statuses(("i", "PDNG"))), (missing, -5_000)),
        (payouts_of([ours], [*bookings("i", 5_001)]), (DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS, 1)),
        (
            payouts_of([ours], [out, *bookings("i")[1:], *bookings("i", tag="again")]),
            (DiscrepancyKind.PAYOUT_DUPLICATE, 5_000),
        ),
        (payouts_of([ours], [out, out, into]), (DiscrepancyKind.PAYOUT_DUPLICATE, 5_000)),
        (payouts_of([], [out, into]), (DiscrepancyKind.PAYOUT_UNKNOWN_AT_HUB, 5_000)),
        (payouts_of([], [], executed), (DiscrepancyKind.PAYOUT_UNKNOWN_AT_HUB, 0)),
        (payouts_of([], [Entry(POOL, "R", "who?", cny(7), DAY)]), (DiscrepancyKind.ENTRY_UNKNOWN_AT_HUB, 7)),
        (payouts_of([], [Entry(POOL, "R", None, cny(7), DAY)]), (DiscrepancyKind.ENTRY_UNKNOWN_AT_HUB, 7)),
        (payouts_of([transit], [out, into], executed), (differs, 5_000)),
        (payouts_of([refused], [out, into], executed), (differs, 5_000)),
        (payouts_of([ours], [], rejected), (differs, -5_000)),
        (payouts_of([transit], [], rejected), (differs, 0)),
        (payouts_of([ours], [out, into], rejected), (differs, -5_000)),
        (payouts_of([ours], [out, into], executed, rejected), (differs, -5_000)),
    ]
    assert [payout_kind(found) for found, _ in cases] == [expected for _, expected in cases]


def test_a_payout_that_came_back_is_returned_and_not_paid() -> None:
    out, into = bookings("i")
    back = [replace(out, amount=cny(5_000), entry_ref="back-1"), replace(into, amount=cny(-5_000), entry_ref="back-2")]
    found = payouts_of([payout("i")], [out, into, *back])
    assert payout_kind(found) == (DiscrepancyKind.PAYOUT_STATUS_DIFFERS, -5_000)
    returned = payout("i", status=PayoutStatus.RETURNED)
    assert payout_kind(payouts_of([returned], [out, into, *back])) is None


def test_a_payout_that_came_back_on_a_later_day_agrees_on_both_days_however_often_they_are_run() -> None:
    out, into = bookings("i")
    back = [
        replace(one, amount=cny(-one.amount.minor), booked_on=NEXT, entry_ref=f"back-{one.entry_ref}")
        for one in (out, into)
    ]
    returned = replace(payout("i", status=PayoutStatus.RETURNED), returned_on=NEXT)

    def run(day: object, entries: list[Entry], ours: object, done: set[object]) -> object:
        sheets = [statement(account, entries, day=day) for account in (POOL, SUB)]  # type: ignore[arg-type]
        return the(list(match_payouts(day, Payouts([ours]), sheets, {}, done)))  # type: ignore[arg-type, list-item]

    assert isinstance(run(DAY, [out, into], payout("i"), set()), Matched)
    for done in ({DAY}, {DAY, NEXT}, {NEXT}, set()):
        assert isinstance(run(NEXT, back, returned, set(done)), Matched), done
        assert isinstance(run(DAY, [out, into], returned, set(done)), Matched), done
    half = run(NEXT, back[:1], returned, {DAY})
    assert isinstance(half, Matched | Discrepancy)
    lost = run(NEXT, back, replace(returned, status=PayoutStatus.PAID, returned_on=None), {DAY})
    assert isinstance(lost, Discrepancy), "the bank took it back, and our book has it as paid"


def _as_one(minor: int, *refs: str) -> Entry:
    return Entry(POOL, "B-1", None, cny(-minor), DAY, batch_refs=refs)


def test_a_batch_that_the_bank_books_as_one_counts_for_its_lines() -> None:
    lines = [payout("i", 5_000), payout("j", 900), payout("k", 70, status=PayoutStatus.REFUSED)]
    into = [bookings("i")[1], bookings("j", 900)[1]]
    reports = statuses(("i", "ACSC"), ("j", "ACSC"), ("k", "RJCT"))
    for refs in (("BAT-1",), ("M", "BAT-1")):
        found = payouts_of(lines, [_as_one(5_900, *refs), *into], reports)
        assert all(isinstance(one, Matched) for one in found), found
        assert len(found) == 3
    for wrong in (_as_one(5_901, "BAT-1"), _as_one(5_900, "BAT-2"), _as_one(5_900)):
        kinds = sorted(one.kind for one in payouts_of(lines, [wrong, *into], reports) if isinstance(one, Discrepancy))
        assert sorted(map(str, kinds)) == [
            "payout_missing_at_bank",
            "payout_missing_at_bank",
            "payout_unknown_at_hub",
        ], wrong


def test_a_payee_at_another_bank_is_seen_on_the_pool_account_alone() -> None:
    abroad = replace(payout("i"), same_bank=False)
    assert payout_kind(payouts_of([abroad], [bookings("i")[0]])) is None


def test_a_batch_refused_as_a_whole_is_a_refusal_of_each_line() -> None:
    report = replace(statuses(group="RJCT"), group_reason="AC01")
    assert payout_kind(payouts_of([payout("i")], [], report)) == (DiscrepancyKind.PAYOUT_STATUS_DIFFERS, -5_000)


def test_a_channels_deposit_on_the_pool_account_is_no_stranger() -> None:
    found = payouts_of([], [deposit_entry(IDENT, NET, day=DAY)], deposit_ids={IDENT})
    assert isinstance(the(found), Matched)


def test_an_instruction_booked_the_next_day_is_late_and_not_missing() -> None:
    ours = payout("i")
    short = the(payouts_of([ours], []))
    assert isinstance(short, Discrepancy)
    row = standing(short, None, State.OPEN)
    assert row is not None
    entries = list(bookings("i", day=NEXT))
    sheets = [statement(account, entries, day=NEXT) for account in (POOL, SUB)]
    found = the(list(match_payouts(NEXT, Payouts([ours]), sheets, {short.key: row}, {DAY})))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.home) == (DiscrepancyKind.LATE, DAY)


def test_an_instruction_booked_again_another_day_is_a_duplicate() -> None:
    entries = list(bookings("i", day=NEXT))
    sheets = [statement(account, entries, day=NEXT) for account in (POOL, SUB)]
    found = the(list(match_payouts(NEXT, Payouts([payout("i")]), sheets, {}, {DAY})))
    assert isinstance(found, Discrepancy)
    assert (found.kind, found.verdict.difference_minor) == (DiscrepancyKind.PAYOUT_DUPLICATE, 5_000)


idents = st.integers(0, 8).map(lambda number: f"i{number}")


@given(
    st.lists(
        st.builds(payout, idents, st.integers(1, 3), st.sampled_from(PayoutStatus)), unique_by=lambda p: p.end_to_end_id
    ),
    st.lists(
        st.builds(
            lambda ident, minor, account, n: Entry(account, f"R{n}", ident, cny(minor), DAY),
            st.one_of(st.none(), idents),
            st.integers(-3, 3).filter(bool),
            st.sampled_from([POOL, SUB]),
            st.integers(0, 10_000),
        ),
        unique_by=lambda entry: entry.entry_ref,
    ),
)
def test_every_instruction_and_every_booking_comes_out_exactly_once(ours: list[object], entries: list[Entry]) -> None:
    out = [outcome.key.reference for outcome in payouts_of(ours, entries)]
    expected = {p.end_to_end_id for p in ours} | {e.end_to_end_id or e.entry_ref for e in entries}  # type: ignore[attr-defined]
    assert sorted(out) == sorted(expected)


# ---- balances --------------------------------------------------------------------------------------------------------


def bank_day(
    instructions: list[object],
    entries: list[Entry],
    mirrors: dict[str, int],
    closings: dict[str, int] | None = None,
    known: dict[Key, Known] | None = None,
    opening: dict[str, int] | None = None,
) -> list[MatchResult]:
    """Run a bank's whole day; the pool opens with 1000.00."""
    opened = opening or {POOL: 100_000, SUB: 0}
    sheets = [
        statement(account, entries, opening=opened[account], closing=(closings or {}).get(account))
        for account in (POOL, SUB)
    ]
    found = list(match_payouts(DAY, Payouts(instructions), sheets, known or {}))  # type: ignore[arg-type]
    balances = Statements(sheets, [Mirror(account, cny(minor)) for account, minor in mirrors.items()])
    effects = effects_of(DAY, found, known or {})
    return [*found, *match_balances(DAY, balances, effects, {})]


def kinds(outcomes: list[MatchResult]) -> dict[str, tuple[DiscrepancyKind, int | None, bool]]:
    return {
        f"{o.key.item} {o.key.reference.partition('@')[0]}": (
            o.kind,
            o.verdict.difference_minor,
            o.verdict.explained,
        )
        for o in outcomes
        if isinstance(o, Discrepancy)
    }


def test_a_day_on_which_book_and_bank_agree_shows_no_difference() -> None:
    assert kinds(bank_day([payout("i")], list(bookings("i")), {POOL: 95_000, SUB: 5_000})) == {}


def test_a_balance_that_no_payout_explains_is_a_discrepancy_of_its_own() -> None:
    found = kinds(bank_day([payout("i")], list(bookings("i")), {POOL: 95_000, SUB: 5_007}))
    assert found == {f"balance {SUB}": (DiscrepancyKind.BALANCE_DIFFERS, -7, False)}


def test_a_payout_the_bank_never_booked_explains_both_balances() -> None:
    found = kinds(bank_day([payout("i")], [], {POOL: 95_000, SUB: 5_000}))
    assert found == {"payout i": (DiscrepancyKind.PAYOUT_MISSING_AT_BANK, -5_000, False)}


def test_a_payout_booked_twice_explains_both_balances() -> None:
    twice = [*bookings("i"), *bookings("i", tag="again")]
    found = kinds(bank_day([payout("i")], twice, {POOL: 95_000, SUB: 5_000}))
    assert found == {"payout i": (DiscrepancyKind.PAYOUT_DUPLICATE, 5_000, False)}


def test_a_line_left_out_of_a_statement_is_named_and_the_gap_it_leaves_explained() -> None:
    out, _ = bookings("i")
    found = kinds(bank_day([payout("i")], [out], {POOL: 95_000, SUB: 5_000}, {SUB: 5_000}))
    assert found == {
        "payout i": (DiscrepancyKind.PAYOUT_MISSING_AT_BANK, -5_000, False),
        f"gap {SUB}": (DiscrepancyKind.STATEMENT_GAP, 5_000, True),
    }


def test_an_altered_or_doubled_line_leaves_an_explained_gap_too() -> None:
    out, into = bookings("i")
    altered = kinds(
        bank_day([payout("i")], [out, replace(into, amount=cny(5_001))], {POOL: 95_000, SUB: 5_000}, {SUB: 5_000})
    )
    assert altered == {
        "payout i": (DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS, 1, False),
        f"gap {SUB}": (DiscrepancyKind.STATEMENT_GAP, -1, True),
    }
    doubled = kinds(bank_day([payout("i")], [out, into, into], {POOL: 95_000, SUB: 5_000}, {SUB: 5_000}))
    assert doubled == {
        "payout i": (DiscrepancyKind.PAYOUT_DUPLICATE, 5_000, False),
        f"gap {SUB}": (DiscrepancyKind.STATEMENT_GAP, -5_000, True),
    }


def test_a_gap_nobody_can_name_a_line_for_stays_open() -> None:
    found = kinds(bank_day([payout("i")], list(bookings("i")), {POOL: 95_000, SUB: 5_000}, {POOL: 95_000, SUB: 5_003}))
    assert found == {
        f"balance {SUB}": (DiscrepancyKind.BALANCE_DIFFERS, 3, False),
        f"gap {SUB}": (DiscrepancyKind.STATEMENT_GAP, 3, False),
    }


def test_a_payout_missing_for_days_goes_on_explaining_the_balance() -> None:
    yesterday = DAY - timedelta(1)
    old = payout("old", day=yesterday)
    short = the(list(match_payouts(yesterday, Payouts([old]), [statement(POOL, [], day=yesterday)])))
    row = standing(short, None, State.OPEN)
    assert row is not None
    entries = list(bookings("i"))
    found = bank_day([payout("i")], entries, {POOL: 90_000, SUB: 10_000}, None, {short.key: row})
    assert kinds(found) == {}


def test_an_account_we_have_no_mirror_of_is_told_once_it_holds_money() -> None:
    found = kinds(bank_day([payout("i")], list(bookings("i")), {POOL: 95_000}))
    assert found == {f"balance {SUB}": (DiscrepancyKind.BALANCE_DIFFERS, 5_000, False)}


def test_an_account_the_bank_sends_no_statement_of_is_missed() -> None:
    found = kinds(bank_day([payout("i")], list(bookings("i")), {POOL: 95_000, SUB: 5_000, "6200-other": 0}))
    assert found == {"balance 6200-other": (DiscrepancyKind.STATEMENT_MISSING, None, False)}


def test_a_day_opens_where_the_day_before_closed() -> None:
    sheets = Statements([statement(SUB, [], opening=5)], [Mirror(SUB, cny(5))])
    found = list(match_balances(DAY, sheets, Effects({}, {}), {SUB: cny(4)}))
    assert kinds(found) == {f"opening {SUB}": (DiscrepancyKind.OPENING_DIFFERS, 1, False)}


def test_a_statement_of_another_day_is_not_read_as_this_days() -> None:
    sheets = Statements([statement(SUB, [], day=NEXT)], [])
    with pytest.raises(ValueError, match=str(NEXT)):
        list(match_balances(DAY, sheets, Effects({}, {}), {}))
