"""Another account is tried only when the one before provably did nothing, and only while the payer waits."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Method, Outcome, Pending, Refused, Unknown
from gateway.accounts.terms import flat
from gateway.payments.attempts import MAX_FAILOVERS, FailOver, NewAttempt, provably_did_nothing
from gateway.payments.schedule import FIRST_ANSWER_S
from gateway.routing.seam import Choice, RoutingRequest
from kernel.errors import Conflict, Rejected
from kernel.money import Money
from tests.gateway.front import CLOSED, CODE, NEVER_ARRIVED, QR, SILENCE, Front, a_front, another_process
from tests.support import confirmed

BUSY = Refused("SYSTEM_BUSY", "try later", retriable=True)
NOT_SENT = Unknown("not sent: no connection", not_sent=True)
TWO = {"second": "other"}


async def attempts(front: Front, payment_id: str) -> list[tuple[str, str, str | None]]:
    """Return (account, status, code) of each attempt."""
    found = (await front.payment(payment_id))["attempts"]
    return [(one["channel_account"], one["status"], one["code"]) for one in found]


@pytest.mark.parametrize(("said", "code"), [(BUSY, "SYSTEM_BUSY"), (NOT_SENT, "not_sent")])
async def test_a_channel_that_did_nothing_is_followed_by_the_next(
    database_url: str, tmp_path: Path, said: Outcome, code: str
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=said)
        answer = await front.pay()
        assert (answer.status, answer.body["status"]) == (201, "succeeded")
        assert (answer.body["won_attempt"], answer.body["attempt_count"]) == (2, 2)
        payment_id = answer.body["id"]
        assert await attempts(front, payment_id) == [("rail", "failed_over", code), ("second", "confirmed", None)]
        assert await front.balances() == {"channel:second:CNY": (9_940, 9_940), "merchant:CNY": (9_940, 9_940)}
        assert await front.events("payment.succeeded", "payment.failed") == ["payment.succeeded"]
        first, second = front.asked("pay")[0], front.asked("pay", "second")[0]
        assert (first.reference[:-1], first.reference[-1], second.reference[-1]) == (second.reference[:-1], "1", "2")
        assert "/notify/other/" in second.notify_url
        assert await front.later(FIRST_ANSWER_S + 100) == 0, "nothing is open"


@pytest.mark.parametrize(
    "said",
    [
        SILENCE,
        Unknown("a bad signature"),
        NEVER_ARRIVED,
        Pending(),
        Pending(QR),
        Refused("NOTENOUGH", "the payer has no money"),
        CLOSED,
        Refused("CLOSED_BUSY", closed=True, retriable=True),
    ],
)
async def test_silence_and_a_refusal_of_the_payer_are_never_tried_elsewhere(
    database_url: str, tmp_path: Path, said: Outcome
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=said, query=said)
        payment = (await front.pay()).body
        await front.later(5)
        await front.later(100)
        assert front.asked("pay", "second") == []
        assert (await front.payment(payment["id"]))["attempt_count"] == 1
        front.rail.works("query")


async def test_the_last_channel_decides_what_becomes_of_the_payment(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=Refused("LIMIT", "over its limit", retriable=True))
        answer = await front.pay(key="k")
        assert (answer.status, answer.body["status"]) == (201, "failed")
        assert answer.body["failure"] == {"code": "LIMIT", "message": "over its limit"}
        assert await attempts(front, answer.body["id"]) == [
            ("rail", "failed_over", "SYSTEM_BUSY"), ("second", "refused", "LIMIT"),
        ]  # fmt: skip
        front.rail.works("pay")
        again = await front.pay(key="k")
        assert (again.status, again.body["status"]) == (200, "failed"), "a payment that failed is over"
        assert len(front.asked("pay")) == 1


async def test_a_message_that_never_left_the_only_account_is_sent_by_the_janitor(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=NOT_SENT)
        front.others["second"].says(pay=NOT_SENT, query=NEVER_ARRIVED)
        payment_id = (await front.pay()).body["id"]
        assert await attempts(front, payment_id) == [("rail", "failed_over", "not_sent"), ("second", "unknown", None)]
        front.others["second"].works("pay")
        front.rail.works("pay")
        assert await front.later(5) == 1
        assert await attempts(front, payment_id) == [("rail", "failed_over", "not_sent"), ("second", "confirmed", None)]
        assert len(front.asked("pay")) == 1, "the janitor tries nobody else"


@pytest.mark.parametrize(("spent_s", "tried"), [(11.9, 1), (12.1, 0)])
async def test_no_other_account_is_tried_when_the_payer_has_waited_long_enough(
    database_url: str, tmp_path: Path, spent_s: float, tried: int
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        slow(front, spent_s, BUSY)
        answer = await front.pay()
        assert answer.body["status"] == ("succeeded" if tried else "failed")
        assert len(front.asked("pay", "second")) == tried


@pytest.mark.parametrize(("spent_s", "tried"), [(7.9, 1), (8.1, 0)])
async def test_a_payer_at_the_till_waits_less(database_url: str, tmp_path: Path, spent_s: float, tried: int) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        slow(front, spent_s, BUSY)
        answer = await front.scan()
        assert answer.body["status"] == ("succeeded" if tried else "failed")
        assert [order.auth_code for order in front.asked("pay", "second")] == [CODE] * tried


@pytest.mark.parametrize(("spent_s", "tried"), [(0.9, 1), (1.1, 0)])
async def test_a_payment_that_has_run_out_meanwhile_is_not_tried_elsewhere(
    database_url: str, tmp_path: Path, spent_s: float, tried: int
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        slow(front, spent_s, BUSY)
        front.others["second"].says(pay=Pending(QR))
        payment_id = (await front.pay(method={"type": "cashier"}, expires_in=60)).body["id"]
        front.clock.forward(59)
        begun = await front.hub.payments.attempt(front.book, payment_id, NewAttempt("page"))
        assert (begun.attempt.number, begun.attempt.status) == ((2, "pending") if tried else (1, "refused"))
        assert len(front.asked("pay", "second")) == tried


def slow(front: Front, spent_s: float, said: Outcome) -> None:
    """Make the first account's rail take its time over saying this."""

    def script(op: str, order: Any) -> Outcome:
        if op != "pay":
            return front.rail(op, order)
        front.clock.forward(spent_s)
        return said

    front.shop.channel.script = script


async def test_a_payment_is_tried_on_five_accounts_at_most(database_url: str, tmp_path: Path) -> None:
    more = {f"account-{n}": "other" for n in range(2, 9)}
    async with a_front(database_url, tmp_path, accounts=more) as front:
        front.rail.says(pay=BUSY)
        for rail in front.others.values():
            rail.says(pay=BUSY)
        payment = (await front.pay()).body
        assert (payment["status"], payment["attempt_count"]) == ("failed", MAX_FAILOVERS)
        found = await attempts(front, payment["id"])
        assert [account for account, _, _ in found] == ["rail", *(f"account-{n}" for n in range(2, 6))]
        assert len({one["reference"] for one in (await front.payment(payment["id"]))["attempts"]}) == MAX_FAILOVERS


async def test_a_named_rail_is_followed_by_its_own_accounts_alone(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other", "third": "scripted"}) as front:
        front.rail.says(pay=BUSY)
        payment = (await front.pay(method={"type": "qr", "channel": "scripted"})).body
        assert [account for account, _, _ in await attempts(front, payment["id"])] == ["rail", "third"]


async def test_a_payers_code_picks_the_rail_it_belongs_to(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        codes_of(front, "rail", "25", "26")
        codes_of(front, "second", "13")
        payment = (await front.scan()).body
        assert [account for account, _, _ in await attempts(front, payment["id"])] == ["second"]
        codes_of(front, "second", "62")
        refused = await front.scan("order-2")
        assert (refused.status, refused.code) == (422, "no_channel")
        named = await front.pay("order-3", method={"type": "barcode", "auth_code": CODE, "channel": "scripted"})
        assert (named.status, named.code) == (422, "no_channel"), "naming a rail makes the code no other"


def codes_of(front: Front, account: str, *prefixes: str) -> None:
    rail = front.shop.rails[account]
    rail.capabilities = replace(rail.capabilities, barcode_prefixes=frozenset(prefixes))


async def test_a_till_that_repeats_itself_takes_up_the_last_attempt(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=SILENCE, query=SILENCE)
        payment = (await front.scan(key="k")).body
        assert payment["status"] == "processing"
        front.others["second"].works("query")
        again = await front.scan(key="k")
        assert (again.status, again.body["status"], again.body["won_attempt"]) == (200, "succeeded", 2)
        assert len(front.asked("pay")) == 1


async def test_a_later_message_that_was_not_sent_says_nothing_of_the_first(database_url: str, tmp_path: Path) -> None:
    """The code went out once and nobody knows what became of it; that the second time it did not go out is no news."""
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        answers = iter([SILENCE, NOT_SENT, NOT_SENT])

        def script(op: str, order: Any) -> Outcome:
            return next(answers) if op == "pay" else NEVER_ARRIVED

        front.shop.channel.script = script
        payment = (await front.scan()).body
        assert payment["status"] == "processing"
        assert front.asked("pay", "second") == []
        front.shop.channel.script = front.rail
        await front.later(100)


async def test_a_fixed_share_that_a_dearer_account_cannot_bear_is_not_tried_there(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        front.rail.says(pay=BUSY)
        farm = await front.payee("farm")
        await front.hub.channel_admin.change(front.book, "second", terms=flat(500))
        front.clock.forward(2)
        payment = (await front.pay(split=[{"payee": farm, "amount": 9_600}])).body
        assert payment["status"] == "failed"
        assert front.asked("pay", "second") == []
        fits = (await front.pay("order-2", split=[{"payee": farm, "amount": 9_500}])).body
        assert (fits["status"], fits["won_attempt"]) == ("succeeded", 2)
        await front.share_out()
        split = (await front.payment(fits["id"]))["split"]
        assert (split["channel_fee_minor"], split["shares"][0]["amount_minor"]) == (500, 9_500)


async def test_the_shares_bear_the_fee_of_the_account_that_won(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        await front.hub.channel_admin.change(front.book, "second", terms=flat(100))
        front.clock.forward(2)
        farm = await front.payee("farm")
        front.rail.says(pay=BUSY)
        payment_id = await front.paid(split=[{"payee": farm, "remainder": 1}])
        await front.share_out()
        payment = await front.payment(payment_id)
        assert payment["channel_fee"] == 100
        assert [share["amount_minor"] for share in payment["split"]["shares"]] == [9_900]
        front.rail.works("pay")
        await front.refund(payment_id)
        assert await front.balances() == {}
        assert [order.payment_reference[-1] for order in front.asked("refund", "second")] == ["2"]


@pytest.mark.parametrize("dies", ["before the next attempt is recorded", "after it is recorded"])
async def test_a_process_that_dies_while_it_fails_over_leaves_one_attempt_for_the_janitor(
    database_url: str, tmp_path: Path, dies: str
) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        recorded = dies.startswith("after")
        front.rail.says(pay=BUSY, query=NEVER_ARRIVED)
        front.others["second"].says(query=NEVER_ARRIVED)
        put = front.hub.lanes.put

        async def dying(command: Any) -> Any:
            if isinstance(command, FailOver):
                if recorded:
                    await put(command)
                raise RuntimeError("kill -9")
            return await put(command)

        front.hub.lanes.put = dying  # type: ignore[method-assign]
        assert (await front.pay()).status == 500
        front.hub.lanes.put = put  # type: ignore[method-assign]
        front.rail.works("pay")
        assert await front.later(FIRST_ANSWER_S + 1) == 1
        payment = (await front.get("/v1/payments")).body["data"][0]
        assert payment["status"] == "succeeded"
        sent = len(front.asked("pay")), len(front.asked("pay", "second"))
        assert sent == ((1, 1) if recorded else (2, 0)), "sent again under the number that is recorded last"


async def test_a_failover_carried_out_twice_makes_one_attempt(database_url: str, tmp_path: Path) -> None:
    """As after a commit whose answer was lost."""
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        put, seen = front.hub.lanes.put, []

        async def doubtful(command: Any) -> Any:
            if isinstance(command, FailOver):
                seen.append(await put(command))
            found = await put(command)
            if isinstance(command, FailOver):
                seen.append(found)
            return found

        front.hub.lanes.put = doubtful  # type: ignore[method-assign]
        front.rail.says(pay=BUSY)
        payment_id = await front.paid()
        first, second = (begun.attempt for begun in seen)
        assert (first.number, first.channel_account) == (second.number, second.channel_account) == (2, "second")
        assert (first.is_fresh, second.is_fresh) == (True, False), "one cannot tell this from two who send"
        assert len(await attempts(front, payment_id)) == 2


async def test_a_payment_paid_meanwhile_is_not_tried_elsewhere(database_url: str, tmp_path: Path) -> None:
    """The rail says it did nothing, and its notice that it was paid has already come. The notice is signed too."""
    async with (
        a_front(database_url, tmp_path, accounts=TWO) as front,
        another_process(front, database_url, tmp_path) as other,
    ):
        put = front.hub.lanes.put

        async def slow_lane(command: Any) -> Any:
            if isinstance(command, FailOver):
                assert (await other.notice(front.asked("pay")[0].reference, 10_000)).status == 204
            return await put(command)

        front.hub.lanes.put = slow_lane  # type: ignore[method-assign]
        front.rail.says(pay=BUSY)
        answer = await front.pay()
        assert (answer.status, answer.code) == (409, "channel_contradicts_itself")
        payment = await front.payment(answer.body["payment"])
        assert (payment["status"], payment["attempt_count"]) == ("succeeded", 1)
        assert front.asked("pay", "second") == []


async def test_a_drained_account_takes_nothing_new_and_finishes_what_it_has(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        paid = await front.paid("order-2")
        front.rail.says(pay=SILENCE, query=SILENCE)
        waiting = (await front.pay()).body["id"]
        front.rail.works("pay", "query")
        await front.hub.channel_admin.set_state(front.book, "rail", "draining")
        front.clock.forward(2)
        third = (await front.pay("order-3")).body["id"]
        assert [account for account, _, _ in await attempts(front, third)] == ["second"]
        await front.later(60)
        assert (await front.payment(waiting))["status"] == "succeeded"
        assert (await front.refund(paid)).body["status"] == "succeeded"
        assert len(front.asked("refund")) == 1


async def test_whoever_chooses_hears_what_each_account_answered(database_url: str, tmp_path: Path) -> None:
    class Listening:
        """The usual order, and what was heard."""

        def __init__(self, usual: Any) -> None:
            self.usual, self.heard = usual, []
            self.excluded: list[frozenset[str]] = []

        async def choose(self, ask: RoutingRequest) -> Any:
            self.excluded.append(ask.exclude)
            return [Choice(c.ready, c.fee_minor, '{"why":"a test"}') for c in await self.usual.choose(ask)]

        def observe(self, account_id: str, *facts: Any) -> None:
            self.heard.append((account_id, facts[4], facts[6]))

    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        payments = front.hub.payments
        listening = Listening(payments._placing._routing)
        payments._placing._routing = payments._calls._routing = listening  # type: ignore[assignment]
        front.rail.says(pay=BUSY)
        payment_id = await front.paid()
        await front.refund(payment_id)
        assert listening.heard == [
            ("rail", "refused_retriable", "pay"), ("second", "confirmed", "pay"), ("second", "confirmed", "refund"),
        ]  # fmt: skip
        assert listening.excluded == [frozenset(), frozenset({"rail"})]
        for number in (1, 2):
            attempt = await front.attempt(payment_id, number)
            assert (attempt.decision, attempt.latency_ms) == ('{"why":"a test"}', 0)


@pytest.mark.parametrize(
    ("said", "may"),
    [
        (BUSY, True),
        (NOT_SENT, True),
        (SILENCE, False),
        (NEVER_ARRIVED, False),
        (Pending(), False),
        (Refused("NO"), False),
        (CLOSED, False),
        (confirmed("r", 1, None), False),  # type: ignore[arg-type]
    ],
)
def test_only_what_provably_did_nothing_may_be_tried_elsewhere(said: Outcome, may: bool) -> None:
    assert provably_did_nothing(said) is may


async def test_choosers_refuse_where_every_account_was_tried(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path, accounts=TWO) as front:
        ask = RoutingRequest(front.book, "auto", Method.QR, Money(1, "CNY"), None, None, None, front.clock.now())
        chooser = front.hub.payments._placing
        assert [choice.ready.account.id for choice in await chooser.choose(ask)] == ["rail", "second"]
        tried = ask._replace(exclude=frozenset({"rail"}))
        assert [choice.ready.account.id for choice in await chooser.choose(tried)] == ["second"]
        with pytest.raises(Rejected):
            await chooser.choose(ask._replace(exclude=frozenset({"rail", "second"})))


async def test_a_till_is_told_at_once_that_nothing_could_be_sent_and_nothing_was_charged(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=NOT_SENT, query=NOT_SENT)
        payment = (await front.scan()).body
        assert payment["status"] == "failed"
        assert payment["failure"]["code"] == "channel_unreachable"
        assert await attempts(front, payment["id"]) == [("rail", "refused", "channel_unreachable")]
        assert {order.reference for order in front.asked("pay")} == {front.asked("pay")[0].reference}
        assert await front.later(7_200) == 0, "nothing is open"


async def test_a_till_is_not_told_so_once_any_message_may_have_left(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=[NOT_SENT, SILENCE, NOT_SENT], query=NOT_SENT)
        payment = (await front.scan()).body
        assert payment["status"] == "processing"
        assert await attempts(front, payment["id"]) == [("rail", "unknown", None)]
        front.rail.works("query")
        await front.later(100)
        assert (await front.payment(payment["id"]))["status"] == "succeeded"


async def test_two_who_share_an_attempt_send_nothing_elsewhere_on_the_word_about_one_message(
    database_url: str, tmp_path: Path
) -> None:
    """Two phones at one cashier page, each at another process: the second waits for what the first's message comes to.

    Once that process must be taken to be gone the second repeats the message, and then a no says nothing any more.
    """
    accounts = {"second": "other", "third": "other"}
    async with (
        a_front(database_url, tmp_path, accounts=accounts) as front,
        another_process(front, database_url, tmp_path) as other,
    ):
        payment_id = (await front.pay(method={"type": "cashier"})).body["id"]
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=Pending({"type": "redirect", "url": "https://second.example"}), query=Pending())
        slow = other.gate()
        phone = NewAttempt("h5", '{"client_ip":"203.0.113.1"}')
        waiting = asyncio.create_task(other.hub.payments.attempt(other.book, payment_id, phone))
        await slow.arrived.wait()
        another_phone = phone._replace(details='{"client_ip":"203.0.113.2"}')
        with pytest.raises(Conflict) as waits:
            await front.hub.payments.attempt(front.book, payment_id, another_phone)
        assert waits.value.code == "request_in_progress"
        assert len(front.asked("pay")) == 1
        front.clock.forward(FIRST_ANSWER_S + 1)
        begun = await front.hub.payments.attempt(front.book, payment_id, another_phone)
        assert (begun.attempt.number, begun.attempt.status) == (1, "unknown")
        slow.open.set()
        assert (await waiting).payment.attempt_count == 1
        assert len(front.asked("pay")) == 2
        assert front.asked("pay", "second") == front.asked("pay", "third") == []
        assert await attempts(front, payment_id) == [("rail", "unknown", None)]
