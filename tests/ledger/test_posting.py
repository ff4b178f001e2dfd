"""Posting on a real PostgreSQL equals a serial model of the books, whatever comes together in a batch."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import ledger
from kernel.clock import business_date
from kernel.db import Connection
from kernel.errors import Broken, NotFound
from kernel.work import BOOKS, Work, new_head, perform
from ledger import ExpireHold, OpenAccounts, Post, Refusal, Result, Step, Transfer, post_expected
from tests.kernel.one_book import DAY, NOW, broken, outside, paid, standing
from tests.ledger.serial_books import Line, SerialBook, Sums

CHANNEL, MERCHANT = "channel:rail:CNY", "merchant:CNY"
PAYEES = ["payee:p:CNY", "payee:q:CNY"]
TRANSIT, SUB = "in_transit:bank:CNY", "sub_account:p:CNY"
YEN = ["channel:rail:JPY", "merchant:JPY"]
OPEN = [CHANNEL, MERCHANT, *PAYEES, TRANSIT, SUB, *YEN]

_books = count(1)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with outside(database_url) as connection:
        yield connection


async def new_book(connection: Connection) -> int:
    book = next(_books)
    await BOOKS.insert(connection, [new_head(book, NOW)])
    await done(connection, [OpenAccounts(book, OPEN)], NOW)
    return book


async def done(connection: Connection, commands: Sequence[Any], now: datetime) -> list[Any]:
    async with connection.transaction():
        return await perform(connection, commands, now)


def transfer(line: Line) -> Transfer:
    return Transfer(
        line.id, line.rule, line.debit, line.credit, line.amount, line.currency, Step(line.step), line.hold,
        line.expires_at,
    )  # fmt: skip


def said(result: Any) -> Any:
    """Put what the ledger answered into the model's words."""
    if isinstance(result, Refusal):
        return ("refused", [str(r) for r in result.results])
    if isinstance(result, NotFound):
        return None
    return [str(r) for r in result] if isinstance(result, list) else result


# -- any history -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """One command: a linked group of lines, or the expiry of a hold."""

    where: int  # which of two books
    lines: tuple[Line, ...] = ()
    expire: str | None = None


IDS = [f"t{n}" for n in range(24)]
MOMENTS = [NOW + timedelta(minutes=m) for m in range(6)]
# Both books start with some money everywhere.
START = (
    Line("start0", "payment_captured", CHANNEL, MERCHANT, 200, "CNY"),
    Line("start1", "share", MERCHANT, PAYEES[0], 50, "CNY"),
    Line("start2", "settlement_sent", PAYEES[0], TRANSIT, 20, "CNY"),
)

likely = st.one_of(
    st.builds(lambda amount: ("payment_captured", CHANNEL, MERCHANT, amount), st.integers(1, 60)),
    st.builds(lambda amount: ("refund", MERCHANT, CHANNEL, amount), st.integers(1, 90)),
    st.builds(lambda amount, payee: ("share", MERCHANT, payee, amount), st.integers(1, 60), st.sampled_from(PAYEES)),
    st.builds(lambda amount, p: ("share_taken_back", p, MERCHANT, amount), st.integers(1, 9), st.sampled_from(PAYEES)),
    st.builds(lambda amount, p: ("settlement_sent", p, TRANSIT, amount), st.integers(1, 40), st.sampled_from(PAYEES)),
    st.builds(lambda amount: ("settlement_paid", TRANSIT, SUB, amount), st.integers(1, 30)),
)


def something_wrong(line: Line) -> list[dict[str, Any]]:
    return [
        {"rule": "magic"},
        {"rule": "share" if line.rule != "share" else "refund"},
        {"debit": "merchant:JPY"},
        {"credit": "payee:stranger:CNY"},
        {"credit": line.debit},
        {"currency": "JPY"},
        {"debit": YEN[0], "credit": YEN[1], "rule": "payment_captured"},
        {"debit": CHANNEL, "credit": YEN[1], "rule": "payment_captured"},
        {"amount": 0},
        {"amount": -line.amount},
        {"amount": 10**15},
        {"amount": 10**15 + 1},
        {"hold": "t0"},
        {"step": "post_hold"},
        {"step": "void_hold", "hold": "t1"},
    ]


@st.composite
def new_lines(draw: st.DrawFn) -> Line:
    rule, debit, credit, amount = draw(likely)
    line = Line(draw(st.sampled_from(IDS)), rule, debit, credit, amount, "CNY", draw(st.sampled_from(["post", "hold"])))
    if line.step == "hold":
        line = replace(line, expires_at=draw(st.none() | st.sampled_from(MOMENTS)))
    if draw(st.integers(0, 15)) == 7:
        line = replace(line, **draw(st.sampled_from(something_wrong(line))))
    return line


@st.composite
def histories(draw: st.DrawFn) -> list[list[Ask]]:
    """Batches of commands: new groups, groups repeated with and without a change, holds resolved or left to expire."""
    batches: list[list[Ask]] = []
    asked: list[Ask] = []
    for _ in range(draw(st.integers(2, len(MOMENTS)))):
        batch = []
        for _ in range(draw(st.integers(1, 8))):
            where = draw(st.integers(0, 1))
            holds = [line for past in asked for line in past.lines if line.step == "hold" and past.where == where]
            does = draw(st.sampled_from(["new", "new", "resolve", "resolve", "repeat", "change", "expire"]))
            if does == "expire" and holds:
                ask = Ask(where, expire=draw(st.sampled_from([hold.id for hold in holds] + IDS[:1])))
            elif does in ("repeat", "change") and asked:
                ask = draw(st.sampled_from(asked))
                if does == "change" and ask.lines:
                    ask = replace(ask, lines=(*ask.lines[:-1], replace(ask.lines[-1], amount=ask.lines[-1].amount + 1)))
            elif does == "resolve" and holds:
                hold = draw(st.sampled_from(holds))
                resolving = replace(
                    hold,
                    id=draw(st.sampled_from(IDS)),
                    step=draw(st.sampled_from(["post_hold", "void_hold"])),
                    hold=hold.id,
                    amount=max(hold.amount - draw(st.integers(-1, 3)), 1),
                    expires_at=None,
                )
                ask = Ask(where, (*draw(st.lists(new_lines(), max_size=1)), resolving))
            else:
                ask = Ask(where, tuple(draw(st.lists(new_lines(), min_size=1, max_size=3))))
            batch.append(ask)
            asked.append(ask)
        batches.append(batch)
    return batches


def answer_of(model: SerialBook, ask: Ask, now: datetime) -> Any:
    return model.post(list(ask.lines), now) if ask.expire is None else model.expire(ask.expire, now)


def words(answer: Any) -> list[Any]:
    """Return the results in an answer, to be counted by `pytest --hypothesis-show-statistics`."""
    match answer:
        case ("refused", list(results)):
            return results
        case list(results):
            return results
        case _:
            return [answer]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories())
async def test_a_batch_gives_what_its_commands_give_one_by_one(
    connection: Connection, history: list[list[Ask]]
) -> None:
    books = [await new_book(connection), await new_book(connection)]
    models = [SerialBook({name: Sums() for name in OPEN}) for _ in books]
    history = [[Ask(0, START), Ask(1, START)], *history]
    for now, batch in zip([NOW, *MOMENTS], history, strict=False):
        commands = [
            Post(books[ask.where], "a posting", [transfer(line) for line in ask.lines], DAY)
            if ask.expire is None
            else ExpireHold(books[ask.where], ask.expire)
            for ask in batch
        ]
        results = await done(connection, commands, now)
        wanted = [answer_of(models[ask.where], ask, now) for ask in batch]
        assert [said(result) for result in results] == wanted
        for answer in wanted:
            for word in set(
                answer[1] if isinstance(answer, tuple) else answer if isinstance(answer, list) else [answer]
            ):
                event(str(word))
    for book, model in zip(books, models, strict=True):
        accounts = await standing(connection, book)
        assert {name: Sums(*account[5:9]) for name, account in accounts.items()} == model.accounts
        assert await paid(connection, book) == [ident for ident, _ in model.journal]
        stored = await connection.fetch("SELECT id, state, posted_minor, amount_minor FROM hold WHERE book = $1", book)
        assert {row["id"]: tuple(row)[1:] for row in stored} == {
            ident: (hold.state, hold.posted, hold.amount) for ident, hold in model.holds.items()
        }
    if books[0] % 30 == 1:
        assert await broken(connection) == {}


async def test_the_balance_at_every_moment_is_what_a_replay_up_to_it_gives(connection: Connection) -> None:
    book = await new_book(connection)
    model = SerialBook({name: Sums() for name in OPEN})
    snapshots: list[tuple[datetime, dict[str, int]]] = []
    for n in range(20):
        now = NOW + timedelta(seconds=n + 1)
        groups = [
            [Line(f"c{n}", "payment_captured", CHANNEL, MERCHANT, 100 + n, "CNY")],
            [
                Line(f"s{n}", "share", MERCHANT, PAYEES[n % 2], 30 + n, "CNY"),
                Line(f"h{n}", "refund", MERCHANT, CHANNEL, 10, "CNY", "hold"),
            ],
            [Line(f"r{n}", "refund", MERCHANT, CHANNEL, 7, "CNY", ("post_hold", "void_hold")[n % 2], f"h{n - 1}")],
            [Line(f"t{n}", "settlement_sent", PAYEES[0], TRANSIT, 20 + n, "CNY")],
        ]
        await done(connection, [Post(book, "x", [transfer(line) for line in g], DAY) for g in groups], now)
        for group in groups:
            model.post(group, now)
        snapshots.append((now, {name: model.balance(name) for name in OPEN}))
    assert len({tuple(balances.values()) for _, balances in snapshots}) == 20
    for name in OPEN:
        assert await ledger.store.balance_at(connection, book, name, NOW) == 0
        for now, balances in snapshots:
            for late in (0, 999_999):
                moment = now + timedelta(microseconds=late)
                assert await ledger.store.balance_at(connection, book, name, moment) == balances[name]
    assert await ledger.store.balance_at(connection, book, "payee:stranger:CNY", NOW) is None


# -- each result -------------------------------------------------------------------------------------------------------

LATER = NOW + timedelta(hours=1)
CAPTURE = Transfer("t", "payment_captured", CHANNEL, MERCHANT, 1_000, "CNY")
HOLD = Transfer("h", "refund", MERCHANT, CHANNEL, 100, "CNY", Step.HOLD)
TIMED = HOLD._replace(expires_at=LATER)
POST_IT = HOLD._replace(id="d", step=Step.POST_HOLD, hold_id="h")
VOID_IT = POST_IT._replace(id="v", step=Step.VOID_HOLD)

# what came before; then a group; and what each of its transfers gets
EACH: dict[Result, tuple[list[list[Transfer]], list[Transfer], list[Result]]] = {
    Result.POSTED: ([], [CAPTURE], [Result.POSTED]),
    Result.EXISTS: ([[CAPTURE]], [CAPTURE], [Result.EXISTS]),
    Result.EXISTS_DIFFERENTLY: ([[CAPTURE]], [CAPTURE._replace(amount_minor=999)], [Result.EXISTS_DIFFERENTLY]),
    Result.WOULD_OVERDRAW: ([[CAPTURE]], [HOLD._replace(amount_minor=1_001)], [Result.WOULD_OVERDRAW]),
    Result.NO_SUCH_ACCOUNT: ([], [CAPTURE._replace(debit="channel:other:CNY")], [Result.NO_SUCH_ACCOUNT]),
    Result.CURRENCY_DIFFERS: ([], [CAPTURE._replace(currency="JPY")], [Result.CURRENCY_DIFFERS]),
    Result.SAME_ACCOUNT: ([], [CAPTURE._replace(debit=MERCHANT)], [Result.SAME_ACCOUNT]),
    Result.AMOUNT_NOT_POSITIVE: ([], [CAPTURE._replace(amount_minor=0)], [Result.AMOUNT_NOT_POSITIVE]),
    Result.AMOUNT_TOO_LARGE: ([], [CAPTURE._replace(amount_minor=10**15 + 1)], [Result.AMOUNT_TOO_LARGE]),
    Result.NO_SUCH_RULE: ([], [CAPTURE._replace(rule="magic")], [Result.NO_SUCH_RULE]),
    Result.RULE_DIFFERS: ([], [CAPTURE._replace(credit=PAYEES[0])], [Result.RULE_DIFFERS]),
    Result.NO_SUCH_HOLD: ([[CAPTURE]], [POST_IT], [Result.NO_SUCH_HOLD]),
    Result.HOLD_ALREADY_POSTED: ([[CAPTURE], [HOLD], [POST_IT]], [VOID_IT], [Result.HOLD_ALREADY_POSTED]),
    Result.HOLD_ALREADY_VOIDED: ([[CAPTURE], [HOLD], [VOID_IT]], [POST_IT], [Result.HOLD_ALREADY_VOIDED]),
    Result.HOLD_EXPIRED: ([[CAPTURE], [TIMED._replace(expires_at=NOW)]], [POST_IT], [Result.HOLD_EXPIRED]),
    Result.EXCEEDS_HOLD: ([[CAPTURE], [HOLD]], [POST_IT._replace(amount_minor=101)], [Result.EXCEEDS_HOLD]),
    Result.LINKED_FAILED: (
        [],
        [CAPTURE, HOLD._replace(amount_minor=0), CAPTURE._replace(id="u")],
        [Result.LINKED_FAILED, Result.AMOUNT_NOT_POSITIVE, Result.LINKED_FAILED],
    ),
}


@pytest.mark.parametrize("result", Result)
@pytest.mark.parametrize("together", [True, False])
async def test_every_result_is_reached_within_one_batch_and_over_several(
    connection: Connection, result: Result, together: bool
) -> None:
    before, group, wanted = EACH[result]
    book = await new_book(connection)
    commands = [Post(book, "a posting", transfers, DAY) for transfers in (*before, group)]
    if together:
        *earlier, last = await done(connection, commands, NOW)
    else:
        *earlier, last = [(await done(connection, [command], NOW))[0] for command in commands]
    assert earlier == [[Result.POSTED]] * len(before)
    assert (last.results if isinstance(last, Refusal) else last) == wanted
    assert result in wanted
    assert isinstance(last, Refusal) is (result not in (Result.POSTED, Result.EXISTS))
    assert await broken(connection) == {}
    if isinstance(last, Refusal):
        assert last.cause is next(r for r in wanted if r is not Result.LINKED_FAILED)
        assert await paid(connection, book) == [t.id for transfers in before for t in transfers]


@pytest.mark.parametrize(
    ("debit", "credit", "currency"),
    [(CHANNEL, MERCHANT, "JPY"), (CHANNEL, YEN[1], "CNY"), (YEN[0], MERCHANT, "CNY"), (CHANNEL, YEN[1], "JPY")],
)
async def test_both_accounts_must_be_in_the_currency_of_the_transfer(
    connection: Connection, debit: str, credit: str, currency: str
) -> None:
    book = await new_book(connection)
    crossing = CAPTURE._replace(debit=debit, credit=credit, currency=currency)
    (refused,) = await done(connection, [Post(book, "p", [crossing], DAY)], NOW)
    assert refused.results == [Result.CURRENCY_DIFFERS]


async def test_a_linked_group_is_posted_whole_or_not_at_all(connection: Connection) -> None:
    book = await new_book(connection)
    shares = [Transfer(f"s{n}", "share", MERCHANT, PAYEES[n % 2], 300, "CNY") for n in range(4)]
    captured, refused, fits = await done(
        connection,
        [Post(book, "p", [CAPTURE], DAY), Post(book, "split", shares, DAY), Post(book, "split", shares[:3], DAY)],
        NOW,
    )
    assert captured == [Result.POSTED]
    assert refused.results == [Result.LINKED_FAILED] * 3 + [Result.WOULD_OVERDRAW]
    assert fits == [Result.POSTED] * 3
    assert await paid(connection, book) == ["t", "s0", "s1", "s2"]
    assert (await standing(connection, book))[MERCHANT].available == 100


async def test_a_group_lives_on_what_its_earlier_lines_brought(connection: Connection) -> None:
    book = await new_book(connection)
    share = Transfer("s", "share", MERCHANT, PAYEES[0], 1_000, "CNY")
    (refused,) = await done(connection, [Post(book, "p", [share, CAPTURE], DAY)], NOW)
    assert refused.results == [Result.WOULD_OVERDRAW, Result.LINKED_FAILED]
    assert await done(connection, [Post(book, "p", [CAPTURE, share], DAY)], NOW) == [[Result.POSTED] * 2]


@pytest.mark.parametrize("together", [True, False])
async def test_repeating_a_group_does_nothing_and_says_so(connection: Connection, together: bool) -> None:
    book = await new_book(connection)
    group = [CAPTURE, Transfer("f", "channel_fee", MERCHANT, CHANNEL, 6, "CNY")]
    other = [CAPTURE, group[1]._replace(amount_minor=7)]
    more = [*group, CAPTURE._replace(id="new")]
    commands = [Post(book, "p", g, DAY) for g in (group, group, other, more)]
    if together:
        results = await done(connection, commands, NOW)
    else:
        results = [(await done(connection, [command], NOW))[0] for command in commands]
    assert results[:2] == [[Result.POSTED] * 2, [Result.EXISTS] * 2]
    assert results[2].results == [Result.EXISTS, Result.EXISTS_DIFFERENTLY]
    assert results[3].results == [Result.EXISTS, Result.EXISTS, Result.EXISTS_DIFFERENTLY]
    assert await paid(connection, book) == ["t", "f"]
    assert (await standing(connection, book))[MERCHANT].balance == 994


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "channel_fee_returned"},
        {"debit": "channel:rail:JPY"},
        {"credit": "merchant:JPY"},
        {"amount_minor": 1},
        {"currency": "JPY"},
        {"step": Step.HOLD},
        {"hold_id": "h"},
    ],
)
async def test_an_id_used_for_anything_else_is_refused(connection: Connection, change: dict[str, Any]) -> None:
    book = await new_book(connection)
    commands = [Post(book, "p", [t], DAY) for t in (CAPTURE, CAPTURE._replace(**change))]
    _, second = await done(connection, commands, NOW)
    assert second.results == [Result.EXISTS_DIFFERENTLY]


async def test_an_id_used_twice_in_one_group_is_refused(connection: Connection) -> None:
    book = await new_book(connection)
    for twice in ([CAPTURE, CAPTURE], [CAPTURE, CAPTURE._replace(amount_minor=5)]):
        (refused,) = await done(connection, [Post(book, "p", twice, DAY)], NOW)
        assert refused.results == [Result.LINKED_FAILED, Result.EXISTS_DIFFERENTLY]
    assert await paid(connection, book) == []


# -- holds -------------------------------------------------------------------------------------------------------------


async def test_a_hold_reserves_and_a_partly_posted_one_gives_the_rest_free(connection: Connection) -> None:
    book = await new_book(connection)
    await done(connection, [Post(book, "p", [CAPTURE], DAY), Post(book, "h", [HOLD], DAY)], NOW)
    merchant = (await standing(connection, book))[MERCHANT]
    assert (merchant.balance, merchant.available, merchant.debits_held) == (1_000, 900, 100)
    await done(connection, [Post(book, "d", [POST_IT._replace(amount_minor=30)], DAY)], NOW)
    merchant, channel = [(await standing(connection, book))[name] for name in (MERCHANT, CHANNEL)]
    assert (merchant.balance, merchant.available, merchant.debits_held) == (970, 970, 0)
    assert (channel.balance, channel.credits_held) == (970, 0)
    (again,) = await done(connection, [Post(book, "d", [POST_IT._replace(id="d2", amount_minor=70)], DAY)], NOW)
    assert again.results == [Result.HOLD_ALREADY_POSTED]
    assert await broken(connection) == {}


async def test_a_voided_hold_gives_everything_free(connection: Connection) -> None:
    book = await new_book(connection)
    await done(connection, [Post(book, "p", [t], DAY) for t in (CAPTURE, HOLD, VOID_IT)], NOW)
    merchant = (await standing(connection, book))[MERCHANT]
    assert (merchant.balance, merchant.available) == (1_000, 1_000)


async def test_a_step_that_resolves_nothing_may_not_name_a_hold_and_one_that_does_must(connection: Connection) -> None:
    book = await new_book(connection)
    await done(connection, [Post(book, "p", [t], DAY) for t in (CAPTURE, HOLD)], NOW)
    wrong = [
        CAPTURE._replace(id="w", hold_id="h"),
        HOLD._replace(id="w", hold_id="h"),
        POST_IT._replace(hold_id=None),
        VOID_IT._replace(hold_id=None),
    ]
    results = await done(connection, [Post(book, "p", [t], DAY) for t in wrong], NOW)
    assert [result.results for result in results] == [[Result.NO_SUCH_HOLD]] * 4
    assert await broken(connection) == {}


async def test_a_hold_is_resolved_between_its_own_accounts_only(connection: Connection) -> None:
    book = await new_book(connection)
    share = Transfer("x", "share", MERCHANT, PAYEES[0], 100, "CNY", Step.POST_HOLD, "h")
    *_, refused = await done(connection, [Post(book, "p", [t], DAY) for t in (CAPTURE, HOLD, share)], NOW)
    assert refused.results == [Result.EXCEEDS_HOLD]


@pytest.mark.parametrize("hold_id", ["h", "re_1:refund", "anything at all"])
async def test_a_hold_whose_time_is_up_is_voided_whatever_its_id(connection: Connection, hold_id: str) -> None:
    book = await new_book(connection)
    hold = TIMED._replace(id=hold_id)
    await done(connection, [Post(book, "p", [t], DAY) for t in (CAPTURE, hold)], NOW)
    expire = ExpireHold(book, hold_id)
    early = LATER - timedelta(microseconds=1)
    assert await ledger.store.expired_holds(connection, early, [], 10) == []
    assert await done(connection, [expire], early) == [False]
    assert await ledger.store.expired_holds(connection, LATER, [], 10) == [(book, hold_id)]
    assert await done(connection, [expire, expire], LATER) == [True, False]
    assert await ledger.store.expired_holds(connection, LATER, [], 10) == []
    assert await connection.fetchval("SELECT state FROM hold WHERE book = $1", book) == "expired"
    last = [entry async for entry in _journal(connection, book)][-1]
    assert (last.rule, last.step, last.amount_minor, last.hold_id) == ("refund", "void_hold", 100, hold_id)
    assert last.business_date == business_date(LATER)
    assert (await standing(connection, book))[MERCHANT].available == 1_000
    late = POST_IT._replace(hold_id=hold_id)
    (refused,) = await done(connection, [Post(book, "p", [late], DAY)], LATER)
    assert refused.results == [Result.HOLD_ALREADY_VOIDED]
    assert await broken(connection) == {}


async def test_a_hold_without_a_time_never_runs_out(connection: Connection) -> None:
    book = await new_book(connection)
    await done(connection, [Post(book, "p", [t], DAY) for t in (CAPTURE, HOLD)], NOW)
    far = NOW + timedelta(days=9_999)
    assert await ledger.store.expired_holds(connection, far, [], 10) == []
    assert await done(connection, [ExpireHold(book, "h")], far) == [False]
    (unknown,) = await done(connection, [ExpireHold(book, "nobody's")], far)
    assert isinstance(unknown, NotFound)


async def _journal(connection: Connection, book: int) -> AsyncIterator[Any]:
    async with connection.transaction():
        async for entry in ledger.store.journal(connection, book):
            yield entry


# -- the rest of the face ----------------------------------------------------------------------------------------------


async def test_opening_an_account_again_leaves_it_as_it_is(connection: Connection) -> None:
    book = await new_book(connection)
    await done(connection, [Post(book, "p", [CAPTURE], DAY), OpenAccounts(book, [MERCHANT])], NOW)
    assert (await standing(connection, book))[MERCHANT].balance == 1_000


async def test_a_book_nobody_opened_takes_no_posting(connection: Connection) -> None:
    unopened = 2_000_000_000
    opening, posting = await done(connection, [OpenAccounts(unopened, OPEN), Post(unopened, "p", [CAPTURE], DAY)], NOW)
    assert isinstance(opening, NotFound)
    assert posting.results == [Result.NO_SUCH_ACCOUNT]
    assert await standing(connection, unopened) == {}


async def test_movements_sum_what_each_rule_moved_on_a_business_date(connection: Connection) -> None:
    book = await new_book(connection)
    tomorrow = DAY + timedelta(days=1)
    commands = [
        Post(book, "p", [CAPTURE], DAY),
        Post(book, "p", [CAPTURE._replace(id="t2", amount_minor=500)], DAY),
        Post(book, "p", [CAPTURE._replace(id="t3", amount_minor=7)], tomorrow),
        Post(book, "p", [HOLD], DAY),
        Post(book, "p", [POST_IT._replace(amount_minor=30)], tomorrow),
    ]
    await done(connection, commands, NOW)
    assert await ledger.store.movements(connection, book, DAY, "CNY") == [("payment_captured", 1_500, 2)]
    assert await ledger.store.movements(connection, book, tomorrow, "CNY") == [
        ("payment_captured", 7, 1),
        ("refund", 30, 1),
    ]
    assert await ledger.store.movements(connection, book, DAY, "JPY") == []


@dataclass(frozen=True)
class Sure(Post):
    """A posting that the hub's own rules say must be possible."""

    def apply(self, work: Work) -> list[Result]:
        return post_expected(work, self.book, self.posting, self.transfers, business_date=self.business_date)


async def test_a_posting_the_hub_is_sure_of_is_broken_when_refused(connection: Connection) -> None:
    book = await new_book(connection)
    posted, again, refused = await done(
        connection, [Sure(book, "p", [t], DAY) for t in (CAPTURE, CAPTURE, HOLD._replace(amount_minor=1_001))], NOW
    )
    assert (posted, again) == ([Result.POSTED], [Result.EXISTS])
    assert isinstance(refused, Broken)
    assert refused.facts == {"posting": "p", "results": ["would_overdraw"]}
    assert await paid(connection, book) == ["t"]


async def test_a_moment_before_the_last_record_is_moved_behind_it(connection: Connection) -> None:
    """Two hosts' clocks differ; within a book the order of records and their times must agree all the same."""
    book = await new_book(connection)
    for n, now in enumerate([LATER, NOW, NOW, LATER + timedelta(seconds=1)]):
        await done(connection, [Post(book, "p", [CAPTURE._replace(id=f"t{n}")], DAY)], now)
    times = [entry.recorded_at async for entry in _journal(connection, book)]
    assert times == sorted(set(times))
    assert times[-1] == LATER + timedelta(seconds=1)
