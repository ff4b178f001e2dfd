"""Refunds take back by the plan's policy, exactly; what a payee has been paid already it owes, oldest debt first."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.db import acquire
from kernel.work import BOOKS, Need, Work
from ledger import Step, Transfer, accounts, post_expected
from ledger.posting import HOLDS
from ops.migrate import MIGRATIONS
from ops.payees import debts_of
from ops.verify import verify
from splitting.objects import shares_of
from splitting.plans.arithmetic import Share
from splitting.plans.asked import Part
from splitting.plans.document import PlanWrong, read, resolved
from splitting.plans.tree import OWN, Policy, TakingBack
from splitting.settlement.instructions import MakeSettlement
from splitting.shares import giving_back, sharing
from splitting.shares.frozen import frozen_of
from splitting.shares.own import SetOwnPayee
from splitting.shares.release import ConfirmDelivery, ReleaseShares
from splitting.shares.store import debts
from splitting.shares.takeback import taken_back
from splitting.store import Owed
from splitting.tables import INSTRUCTIONS, PAYEE_DEBTS, SPLITS, OwnPayee, PayeeDebt
from streams import EVENTS
from tests.kernel.one_book import outside
from tests.splitting.in_memory import BOOK, DAY, NOW, Book
from tests.splitting.town import FARM, MILL, PLATFORM, Town, a_town

HUB, SELF = "pye_" + "0" * 26, "pye_" + "d" * 26
PAYEES = ["pye_" + letter * 26 for letter in "abc"]
FEE, SALE = 60, 10_000


# ---- the arithmetic --------------------------------------------------------------------------------------------------


@st.composite
def shared(draw: st.DrawFn) -> tuple[list[Share], list[TakingBack]]:
    """Return a payment's shares, of one part or of several, and how refunds take back those of each part."""
    plans, shares = [], []
    for part in range(draw(st.integers(1, 3))):
        lines = draw(st.lists(st.tuples(st.sampled_from([HUB, *PAYEES]), st.integers(0, 500)), max_size=5))
        policy = draw(st.sampled_from(Policy))
        payer = draw(st.sampled_from([OWN, "0", "1", "gone"])) if policy is Policy.PAYER_FIRST else OWN
        plans.append(TakingBack(policy, payer))
        shares += [Share(payee, minor, 0, str(n), part) for n, (payee, minor) in enumerate(lines)]
        if own := draw(st.integers(0, 500)):
            shares.append(Share(OWN, own, part=part))
    return shares, plans


@given(drawn=shared(), cuts=st.lists(st.integers(1, 400), max_size=12))
def test_refunds_in_any_parts_take_back_exactly_what_was_given_and_who_is_first_first(
    drawn: tuple[list[Share], list[TakingBack]], cuts: list[int]
) -> None:
    shares, plans = drawn
    left = sum(share.amount_minor for share in shares)
    for amount in [*cuts, left]:
        amount = min(amount, left)
        left -= amount
        back = taken_back(shares, amount, plans, {HUB})
        assert sum(back) == amount
        after = [s._replace(taken_back_minor=s.taken_back_minor + b) for s, b in zip(shares, back, strict=True)]
        assert all(0 <= b <= s.left_minor for s, b in zip(shares, back, strict=True))
        for part, plan in enumerate(plans):
            of_part = [n for n, share in enumerate(shares) if share.part == part]
            for n in of_part:
                for other in of_part:
                    if _before(shares, n, other, plan) and back[other]:
                        assert after[n].left_minor == 0, "who is first has given back all before others give back"
        shares = after
        left_over = sum(share.left_minor for share in shares)
        if not left_over:
            break
    back = taken_back(shares, sum(share.left_minor for share in shares), plans, {HUB})
    assert [s.left_minor - b for s, b in zip(shares, back, strict=True)] == [0] * len(shares)
    with pytest.raises(ValueError, match="is more than the"):
        taken_back(shares, sum(share.left_minor for share in shares) + 1, plans, {HUB})


def _before(shares: Sequence[Share], n: int, other: int, plan: TakingBack) -> bool:
    """Tell by the words of the policy whether one share gives back before another does."""
    match plan.policy:
        case Policy.LAST_IN_FIRST_OUT:
            return n > other
        case Policy.PLATFORM_FIRST:
            return shares[n].payee_id == HUB != shares[other].payee_id
        case Policy.PAYER_FIRST if plan.payer == OWN:
            return shares[n].payee_id == OWN != shares[other].payee_id
        case Policy.PAYER_FIRST:
            return shares[n].payee_id != OWN and shares[n].line == plan.payer != shares[other].line
    return False


def a_plan(refunds: Any, **more: Any) -> dict[str, Any]:
    lines = [
        {"name": "hub", "payee": HUB, "basis_points": 200},
        {"name": "store", "payee": PAYEES[0], "basis_points": 5_000},
        {"name": "mine", "amount": 100},
    ]
    return {"version": 1, "lines": lines, "refunds": refunds, **more}


def test_a_plan_says_whose_shares_refunds_take_back_first() -> None:
    def of(refunds: Any) -> TakingBack:
        return read(a_plan(refunds)).taking_back

    assert of(None) == TakingBack()
    assert of({"policy": "payer_first", "payer": "store"}) == TakingBack(Policy.PAYER_FIRST, "store")
    assert of({"policy": "payer_first"}) == of({"policy": "payer_first", "payer": "mine"}), "a line of no payee is you"
    for wrong, said in (
        ({"policy": "payer_first", "payer": "nobody"}, "no line of the plan is named 'nobody'"),
        ({"policy": "ratio", "payer": "store"}, "only payer_first has a payer"),
        ({"policy": "all"}, "refunds.policy"),
        ({}, "refunds.policy"),
    ):
        with pytest.raises(PlanWrong, match=said):
            of(wrong)


def test_a_plan_that_changes_another_inherits_how_refunds_take_back_or_says_it_anew() -> None:
    extended = a_plan({"policy": "payer_first", "payer": "store"})
    changes = {"version": 1, "extends": {"plan": "spl_" + "0" * 26, "version": 1}}
    assert resolved(changes, lambda *_: extended)["refunds"] == extended["refunds"]
    anew = {**changes, "refunds": {"policy": "platform_first"}}
    assert resolved(anew, lambda *_: extended)["refunds"] == {"policy": "platform_first"}
    with pytest.raises(PlanWrong, match="no line of the plan is named 'store'"):
        resolved({**changes, "override": {"store": None}}, lambda *_: extended)


# ---- the books -------------------------------------------------------------------------------------------------------


@dataclass
class Do:
    """A command of the lane that does something with the work."""

    what: Callable[[Work], Any]
    book: int = BOOK

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)

    def apply(self, work: Work) -> Any:
        return self.what(work)


class Shop:
    """A shop in memory whose payees a bank pays: sells, refunds, settles; and what each payee should owe.

    own: the shop is a payee itself, and paid what is its own.
    """

    def __init__(self, *, own: bool = False) -> None:
        self.book, self.day, self.count = Book(), DAY, 0
        self.under_way: list[tuple[str, str, int, list[giving_back.Part]]] = []
        self.besides: dict[str, int] = {}  # account → what it was given by no plan
        self.sold: dict[str, int] = {}  # payment → what of it is not refunded
        self.book.payee(HUB, kind="platform", bank="citybank")
        for payee in PAYEES:
            self.book.payee(payee, bank="citybank")
        self.payees = [HUB, *PAYEES]
        if own:
            self.book.payee(SELF, kind="merchant", bank="citybank")
            self.book.do(SetOwnPayee(OwnPayee(BOOK, "CNY", SELF, "ada", NOW)))
            self.payees.append(SELF)
        self.owed: dict[str, deque[list[Any]]] = {self.account(payee): deque() for payee in self.payees}

    def account(self, payee: str) -> str:
        return accounts.platform_fee("CNY") if payee == HUB else accounts.payee(payee, "CNY")

    def sell(self, document: dict[str, Any]) -> str:
        self.count += 1
        payment = f"pay_{self.count:026}"
        part = Part(document=orjson.dumps(document).decode())

        def sold(work: Work) -> None:
            sharing.plan(work, BOOK, payment, SALE, FEE, "CNY", [part])
            channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
            paid = Transfer(f"{payment}:1:captured", "payment_captured", channel, merchant, SALE - FEE, "CNY")
            post_expected(work, BOOK, payment, [paid], business_date=self.day)
            for _ in range(2):  # an event is told again: it is shared out once
                sharing.share_out(work, BOOK, sharing.Paid(payment, self.day, SALE, FEE))

        self._watched(sold)
        self.sold[payment] = SALE - FEE
        return payment

    def refund(self, payment: str, amount: int) -> None:
        """Begin a refund: its money is held until the channel has decided."""
        amount = min(amount, self.sold[payment])
        if not amount:
            return
        self.count += 1
        refund = f"re_{self.count:026}"
        merchant, channel = accounts.merchant("CNY"), accounts.channel("rail", "CNY")

        def back(work: Work) -> list[giving_back.Part]:
            parts = giving_back.take_back_for_refund(work, BOOK, payment, refund, amount, self.day)
            held = Transfer(f"{refund}:refund", "refund", merchant, channel, amount, "CNY", Step.HOLD)
            post_expected(work, BOOK, refund, [held], business_date=self.day)
            return parts

        self.sold[payment] -= amount
        self.under_way.append((payment, refund, amount, []))
        self.under_way[-1][3].extend(self._watched(back))
        self._left(payment)

    def end(self, place: int, *, fails: bool) -> None:
        """Have the channel decide one of the refunds under way."""
        if not self.under_way:
            return
        payment, refund, amount, parts = self.under_way.pop(place % len(self.under_way))
        merchant, channel = accounts.merchant("CNY"), accounts.channel("rail", "CNY")
        hold, step = f"{refund}:refund", Step.VOID_HOLD if fails else Step.POST_HOLD
        ended = Transfer(f"{hold}:ended", "refund", merchant, channel, amount, "CNY", step, hold)

        def done(work: Work) -> None:
            post_expected(work, BOOK, f"{refund}:ended", [ended], business_date=self.day)
            if fails:
                giving_back.give_back_after_failed_refund(work, BOOK, payment, refund, parts, amount, self.day)

        self.sold[payment] += amount if fails else 0
        self._watched(done)
        self._left(payment)

    def _left(self, payment: str) -> None:
        split = self.book._rows[SPLITS][BOOK, payment]
        assert sum(share.left_minor for share in shares_of(split)) == self.sold[payment]

    def settle(self) -> None:
        rows = {payee: self.book.accounts[self.account(payee)] for payee in self.payees}
        owed = [Owed(payee, row.balance, row.debits) for payee, row in rows.items()]
        made = MakeSettlement(BOOK, "citybank", self.day, self.day + timedelta(days=1), "CNY", owed, NOW)
        assert self.book.do(made) == self.book.do(made)
        self.day += timedelta(days=1)

    def _watched(self, what: Callable[[Work], Any]) -> Any:
        """Have something done, and keep by hand what each account owes: the oldest debt is paid first."""
        before = {name: account.balance for name, account in self.book.accounts.items()}
        seen = len(self.debts())
        done = self.book.do(Do(what))
        new = self.debts()[seen:]
        for account, debts_of_it in self.owed.items():
            moved = self.book.accounts[account].balance - before[account]
            lacks = max(0, -self.book.accounts[account].balance) - max(0, -before[account])
            if moved < 0:
                assert sum(debt.amount_minor for debt in new if debt.account == account) == max(0, lacks)
                debts_of_it.extend([debt.id, debt.amount_minor] for debt in new if debt.account == account)
            else:
                assert not [debt for debt in new if debt.account == account]
                paid = -lacks
                while paid:
                    part = min(paid, debts_of_it[0][1])
                    debts_of_it[0][1] -= part
                    paid -= part
                    if not debts_of_it[0][1]:
                        debts_of_it.popleft()
        self.check()
        return done

    def deliver(self, payment: str) -> None:
        for _ in range(2):
            self._watched(ConfirmDelivery(BOOK, payment).apply)

    def release(self) -> None:
        for payment in self.sold:
            for _ in range(2):
                self._watched(ReleaseShares(BOOK, payment, self.day).apply)

    def debts(self) -> list[PayeeDebt]:
        return list(self.book._added.get(PAYEE_DEBTS, ()))

    def check(self) -> None:
        self.book.assert_it_adds_up()
        can_have = dict.fromkeys(self.owed, 0) | self.besides
        for split in self.book._rows.get(SPLITS, {}).values():
            shares = shares_of(split)
            assert sum(share.amount_minor for share in shares) == SALE - FEE
            assert all(share.left_minor >= 0 for share in shares)
            frozen = [0] * len(shares)
            for part in frozen_of(split):
                assert 0 <= part.taken_minor <= part.given_minor
                assert part.released_on is None or part.released_on <= self.day.isoformat() or split.delivered_at
                frozen[part.share] += part.frozen_minor
            assert split.frozen_minor == sum(frozen)
            assert all(minor <= share.left_minor for minor, share in zip(frozen, shares, strict=True))
            for minor, share in zip(frozen, shares, strict=True):
                if (payee := sharing.paid_to(split, share)) != OWN:
                    can_have[self.account(payee)] += share.left_minor - minor
        for line in self.book._rows.get(INSTRUCTIONS, {}).values():
            can_have[self.account(line.payee_id)] -= line.amount_minor
        for account, minor in can_have.items():
            assert self.book.accounts[account].balance == minor, "what is frozen is nobody's to be paid"
        held = sum(hold.amount_minor for hold in self.book._rows.get(HOLDS, {}).values() if hold.state == "held")
        frozen_now = sum(split.frozen_minor for split in self.book._rows.get(SPLITS, {}).values())
        assert held == frozen_now + sum(amount for _, _, amount, _ in self.under_way)
        for account, left in self.owed.items():
            lacks = max(0, -self.book.accounts[account].balance)
            assert sum(minor for _, minor in left) == lacks
            assert [one for one in left if one[1]] == _newest(self.debts(), account, lacks)


def _newest(rows: Sequence[PayeeDebt], account: str, lacks: int) -> list[list[Any]]:
    """Return what is left of an account's debts, oldest first: what it lacks is of its newest."""
    found: list[list[Any]] = []
    for debt in reversed([row for row in rows if row.account == account]):
        if part := min(debt.amount_minor, lacks):
            found.append([debt.id, part])
            lacks -= part
    return found[::-1]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return a plan of two levels with a policy."""
    policy = draw(st.sampled_from(Policy))
    refunds: dict[str, Any] = {"policy": policy.value}
    if policy is Policy.PAYER_FIRST and draw(st.booleans()):
        refunds["payer"] = draw(st.sampled_from(["agent", "store", "hub"]))
    store = {"name": "store", "payee": PAYEES[1], "basis_points": draw(st.integers(0, 10_000))}
    clerk = {
        "name": "clerk",
        "payee": PAYEES[2],
        "remainder": draw(st.integers(0, 2)),
        "cap": draw(st.integers(0, 900)),
    }
    release = st.sampled_from(
        [
            None,
            [{"when": "delivery"}],
            [{"when": "delivery", "days": 2}],
            [{"when": "date", "date": (DAY + timedelta(days=1)).isoformat()}],
            [{"basis_points": 3_333}, {"basis_points": 3_333, "days": 1}, {"basis_points": 3_334, "when": "delivery"}],
        ]
    )
    store["release"] = draw(release)
    lines = [
        {"name": "hub", "payee": HUB, "basis_points": draw(st.integers(0, 500))},
        {"name": "agent", "payee": PAYEES[0], "basis_points": draw(st.integers(0, 9_400)), "lines": [store, clerk]},
    ]
    base = draw(st.sampled_from(["arriving", "paid"]))
    return {"version": 1, "base": base, "lines": lines, "refunds": refunds, "release": draw(release)}


lives = st.lists(
    st.one_of(
        st.tuples(st.just("sell"), documents()),
        st.tuples(st.just("refund"), st.tuples(st.integers(0, 99), st.integers(1, SALE))),
        st.tuples(st.sampled_from(["succeed", "fail"]), st.integers(0, 99)),
        st.tuples(st.sampled_from(["settle", "release"]), st.none()),
        st.tuples(st.just("deliver"), st.integers(0, 99)),
    ),
    max_size=20,
)


@settings(max_examples=60)
@given(first=documents(), life=lives, own=st.booleans())
def test_after_refunds_of_everything_and_recovery_every_account_is_at_nothing(
    first: dict[str, Any], life: list[tuple[str, Any]], own: bool
) -> None:
    shop = Shop(own=own)
    shop.sell(first)
    for what, how in life:
        if what == "sell":
            shop.sell(how)
        elif what in ("settle", "release"):
            getattr(shop, what)()
        elif what == "deliver":
            shop.deliver(list(shop.sold)[how % len(shop.sold)])
        elif what == "refund":
            shop.refund(list(shop.sold)[how[0] % len(shop.sold)], how[1])
        else:
            shop.end(how, fails=what == "fail")
    for payment in shop.sold:
        shop.refund(payment, SALE)
    while shop.under_way:
        shop.end(0, fails=False)
    splits = [shares_of(split) for split in shop.book._rows[SPLITS].values()]
    assert all(share.left_minor == 0 for shares in splits for share in shares)
    sent = shop.book.balances.get(accounts.in_transit("citybank", "CNY"), 0)
    owing = {payee: -shop.book.balances.get(shop.account(payee), 0) for payee in shop.payees}
    assert sum(owing.values()) == sent, "what the bank was told to pay is owed, and nothing else"
    assert shop.book.balances.get(accounts.merchant("CNY"), 0) == 0
    opened = [event for event in shop.book._added[EVENTS] if event.type == "debt.opened"]
    assert len(opened) == len(shop.debts())
    # The next shares pay exactly what each owes: nothing is left of any debt, and nothing is paid out.
    recover = [
        Transfer(
            f"next:{payee}", "commission" if payee == HUB else "share", accounts.merchant("CNY"), shop.account(payee),
            minor, "CNY",
        )
        for payee, minor in owing.items() if minor
    ]  # fmt: skip
    shop.besides = {shop.account(payee): minor for payee, minor in owing.items()}
    if recover:
        channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
        paid = Transfer("next", "payment_captured", channel, merchant, sent, "CNY")
        shop._watched(lambda work: post_expected(work, BOOK, "next", [paid, *recover], business_date=shop.day))
    shop.settle()
    assert all(shop.book.balances.get(shop.account(payee), 0) == 0 for payee in owing)
    assert not any(shop.owed.values())
    assert shop.book.balances.get(accounts.in_transit("citybank", "CNY"), 0) == sent, "the batch had no line"


def test_what_a_refund_took_while_it_was_frozen_is_paid_at_once_where_it_was_released_before_the_refund_failed() -> (
    None
):
    shop = Shop()
    store = {"name": "store", "payee": PAYEES[0], "basis_points": 5_000}
    payment = shop.sell({"version": 1, "base": "paid", "lines": [store], "release": [{"days": 1}]})
    shop.refund(payment, 994)
    (part,) = frozen_of(shop.book._rows[SPLITS][BOOK, payment])
    assert (part.taken_minor, part.frozen_minor) == (500, 4_500)
    shop.settle()  # nothing can be paid yet; the next day begins
    shop.release()
    assert shop.book.balances[shop.account(PAYEES[0])] == 4_500
    shop.end(0, fails=True)
    assert shop.book.balances[shop.account(PAYEES[0])] == 5_000


# ---- a real database -------------------------------------------------------------------------------------------------


async def test_debts_are_listed_with_what_is_left_of_them_the_oldest_paid_first(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        front, book = town.front, town.front.book
        first, second = await town.sell(), await town.sell()
        await town.settle(town.today)
        for number, payment in enumerate((first, second)):
            await front.refund(payment, 5_000, merchant_refund_id=f"back-{number}")
        listed = (await front.get(f"/v1/debts?payee={FARM}")).body["data"]
        assert [(one["payment"], one["amount_minor"], one["left_minor"]) for one in listed] == [
            (second, 1_500, 1_500),
            (first, 1_500, 1_500),
        ]
        opened = (await front.get("/v1/events?type=debt.opened&limit=100")).body["data"]
        assert {event["data"]["payee"] for event in opened} == {FARM, MILL, PLATFORM}
        assert [event["data"] for event in opened if event["data"]["payee"] == FARM] == listed[::-1]
        await town.sell(6_000)  # of which the farm has 18.00: the oldest debt whole, and 3.00 of the other
        now = {one["payment"]: one for one in (await front.get(f"/v1/debts?payee={FARM}")).body["data"]}
        assert (now[first]["status"], now[first]["recovered_minor"]) == ("recovered", 1_500)
        assert (now[second]["status"], now[second]["left_minor"]) == ("open", 1_200)
        assert [row["left"] for row in await debts_of(front.hub, book, FARM, recovered=False)] == ["12.00"]
        newest = (await front.get("/v1/debts?limit=1")).body
        rest = (await front.get(f"/v1/debts?limit=100&starting_after={newest['data'][0]['id']}")).body
        assert (newest["has_more"], len(rest["data"]), rest["has_more"]) == (True, 5, False)
        only = (await front.get(f"/v1/debts?payee={FARM}&status=recovered")).body["data"]
        assert [one["payment"] for one in only] == [first]
        for asked, status, code in (
            ("payee=pye_" + "9" * 26, 404, "no_such_payee"),
            ("payee=farm", 400, "invalid_request"),
            ("starting_after=dbt_" + "9" * 26, 400, "invalid_cursor"),
        ):
            refused = await front.get(f"/v1/debts?{asked}")
            assert (refused.status, refused.body["code"]) == (status, code)
        whole = (await front.get("/v1/balances")).body
        paged: list[Any] = []
        more, after = True, ""
        while more:
            page = (await front.get(f"/v1/balances?limit=3{after}")).body
            assert len(page["data"]) <= 3
            paged, more = paged + page["data"], page["has_more"]
            after = f"&starting_after={paged[-1]['account']}"
        assert (paged, whole["has_more"]) == (whole["data"], False), "who asks for no page has all, as before"
        assert (await front.get("/v1/balances?" + after[1:])).body["data"] == []
        await unbroken(town)
        await _as_the_migration_finds_them(database_url)


async def test_a_page_of_debts_is_found_by_its_index_and_reads_no_others(database_url: str) -> None:
    plan: list[str] = []

    class Explained:
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        async def fetch(self, statement: str, *given: Any) -> list[Any]:
            plan.extend(row[0] for row in await self.connection.fetch(f"EXPLAIN {statement}", *given))
            return []

    async with outside(database_url) as connection:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
        await debts(cast(Any, Explained(connection)), 1, limit=21)
    told = "\n".join(plan)
    assert "Index Scan Backward using payee_debt_newest" in told, told
    assert "WindowAgg" not in told


async def _as_the_migration_finds_them(database_url: str) -> None:
    """What the migration makes of a journal from before there were rows is what the rows would have been."""
    text = next(MIGRATIONS.glob("0036_*.sql")).read_text("utf-8")
    insert = text[text.index("INSERT INTO payee_debt") : text.index("-- migrate:down")]
    connection = await asyncpg.connect(database_url)
    noted = await connection.fetch("SELECT * FROM payee_debt ORDER BY book, id")
    async with connection.transaction():
        await connection.execute("DELETE FROM payee_debt")
        await connection.execute(insert)
        found = await connection.fetch("SELECT * FROM payee_debt ORDER BY book, id")
    await connection.close()
    assert [PayeeDebt(*row)[:-1] for row in found] == [PayeeDebt(*row)[:-1] for row in noted]
    assert len(found) == 6


async def unbroken(town: Town) -> None:
    assert [one for one in await verify(town.front.hub.pool) if one.broken] == []


async def test_a_refund_is_sent_at_once_whatever_its_payees_have(database_url: str, tmp_path: Path) -> None:
    """Paid out, suspended, in debt already: no payee keeps a refund waiting."""
    async with a_town(database_url, tmp_path) as town:
        payment = await town.sell()
        await town.settle(town.today)
        await town.front.hub.payees.suspend(town.front.book, FARM, by="operator")
        for number in range(2):
            refund = await town.front.refund(payment, 3_000, merchant_refund_id=f"back-{number}")
            assert (refund.status, refund.body["status"]) == (201, "succeeded")
        async with acquire(town.front.hub.pool) as connection:
            found = await debts(connection, town.front.book, payee_id=FARM)
        assert [debt.left_minor for debt in found] == [900, 900]
        await unbroken(town)
