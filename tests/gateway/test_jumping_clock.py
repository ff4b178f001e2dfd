"""A host's clock that jumps between a use case's look at it and the commit puts nothing off, and ends nothing early.

The lane takes its own moment and holds it against the database's, so that moment alone decides when what is recorded is
due. Here the clock is off whenever anybody looks at it, and right while a batch is committed.
"""

import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import cases
import gateway
import ledger
import splitting
import streams
from channels.contract import Pending, Refused
from gateway.payments.attempts import NewAttempt
from gateway.payments.schedule import FIRST_ANSWER, HOLD_S, REFUND_S, RETRY_S, UNDO_S
from gateway.store import find_link, find_refund
from gateway.tables import Refund, overpaid_refund_id
from kernel.db import acquire
from kernel.errors import Conflict
from kernel.lane import MAX_SKEW
from kernel.work import ClockDiffers
from splitting import LinkBank
from splitting.tables import BankLink
from tests.gateway.front import QR, SILENCE, Front, HandClock, a_front, an_order

BUSY = Refused("SYSTEM_BUSY", "try later", retriable=True)
NO = Refused("NOT_ENOUGH", "the merchant has no balance there")
CARD = {"type": "card", "token": "tok_1"}
CASHIER = {"type": "cashier"}
WALLET = NewAttempt("jsapi", '{"payer":"openid-1"}')


@pytest.fixture(params=[600, -600])
def off_s(request: pytest.FixtureRequest) -> float:
    """By how much the clock is off: ahead, or behind."""
    seconds: float = request.param
    return seconds


class Jumping(HandClock):
    """A host's clock that is so much ahead, or behind."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off


class Jumped(Front):
    """A shop whose host's clock is off at every look but those of its lane, which would write nothing by it."""

    clock: Jumping
    done: dict[str, Any]  # by command: what the last of its kind has made

    last_put: tuple[datetime, datetime]  # between which moments, by a clock that is right, the last batch was made

    def decided(self, moment: datetime) -> bool:
        """Tell whether a moment can be that of the last batch; by the host's clock, which is off, none can."""
        begun, ended = self.last_put
        return begun <= moment <= ended

    async def decided_at(self) -> datetime:
        """Return the moment of the last batch that wrote what a process may remember."""
        async with acquire(self.hub.pool) as connection:
            found: datetime = await connection.fetchval("SELECT recorded_at FROM book WHERE book = $1", self.book)
        return found

    async def change(self, statement: str) -> None:
        """Change what is stored behind the hub's back; it must not go by what it remembers of it."""
        async with acquire(self.hub.pool) as connection:
            await connection.execute(statement)
            await connection.execute("UPDATE book SET recorded_at = recorded_at + interval '1 us'")

    async def last(self, table: str) -> str:
        async with acquire(self.hub.pool) as connection:
            found: str = await connection.fetchval(f"SELECT max(id) FROM {table} WHERE book = $1", self.book)
        return found

    async def the_refund(self) -> Refund:
        async with acquire(self.hub.pool) as connection:
            found = await find_refund(connection, self.book, await self.last("refund"))
        assert found is not None
        return found

    @property
    def wait(self) -> timedelta:
        """How long after a first answer that decides nothing the rail is asked."""
        return timedelta(seconds=self.shop.channel.capabilities.query_schedule_s[0])


@asynccontextmanager
async def a_jumping_front(database_url: str, home: Path, off_s: float, **more: Any) -> AsyncIterator[Jumped]:
    clock, done = Jumping(off_s), {}
    async with a_front(database_url, home, clock=clock, max_skew=MAX_SKEW, **more) as front:
        front.__class__, put = Jumped, front.hub.lanes.put
        assert isinstance(front, Jumped)
        front.done = done

        async def between_two_jumps(command: Any, *, alone: bool = False) -> Any:
            off, clock.off = clock.off, timedelta(0)
            begun = clock.now()
            try:
                done[type(command).__name__] = await put(command, alone=alone)
            finally:
                front.last_put = (begun, clock.now())
                clock.off = off
            return done[type(command).__name__]

        front.hub.lanes.put = between_two_jumps  # type: ignore[method-assign]
        yield front


async def test_a_payment_is_asked_about_when_its_first_answer_must_have_come_and_then_by_the_schedule(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.rail.says(pay=SILENCE)
        payment_id = (await front.pay()).body["id"]
        attempt = front.done["CreatePayment"].attempt
        assert attempt.due_at == attempt.created_at + FIRST_ANSWER
        attempt = await front.attempt(payment_id)
        assert (attempt.status, attempt.due_at) == ("unknown", attempt.updated_at + front.wait)


async def test_a_payment_lasts_as_long_as_was_asked_for_and_is_asked_about_when_it_runs_out(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.hub.payments._recording.time_scale = 1000.0  # it runs out sooner than the schedule would ask
        front.rail.says(pay=SILENCE)
        payment = await front.stored((await front.pay(expires_in=60)).body["id"])
        assert payment.expires_at == payment.created_at + timedelta(seconds=60)
        assert (await front.attempt(payment.id)).due_at == payment.expires_at


@pytest.mark.parametrize("by", ["the merchant", "a link"])
async def test_a_payment_at_the_cashier_lasts_as_long_as_was_asked_for(
    database_url: str, tmp_path: Path, off_s: float, by: str
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        if by == "the merchant":
            await front.pay(method=CASHIER, expires_in=1_800)
        else:
            link = {"name": "counter", "description": "tea", "amount": 2_500, "currency": "CNY"}
            made = (await front.post("/v1/payment_links", link, key="link")).body
            async with acquire(front.hub.pool) as connection:
                found = await find_link(connection, front.book, made["id"])
            assert found is not None
            await front.hub.links().pay(found, 2_500, "0" * 32)
        payment = await front.stored(await front.last("payment"))
        assert payment.due_at == payment.expires_at == payment.created_at + timedelta(minutes=30)


async def test_what_a_payer_chose_is_asked_about_when_its_first_answer_must_have_come(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.rail.says(pay=Pending(QR))
        payment_id = (await front.pay(method=CASHIER)).body["id"]
        await front.hub.payments.attempt(front.book, payment_id, WALLET, channel="scripted")
        attempt = front.done["StartAttempt"].attempt
        assert attempt.due_at == attempt.created_at + FIRST_ANSWER


async def test_a_choice_that_another_process_just_sends_is_sent_by_no_second(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.rail.says(pay=Pending(QR))
        payment_id = (await front.pay(method=CASHIER)).body["id"]
        payments = front.hub.payments
        await payments.attempt(front.book, payment_id, WALLET, channel="scripted")
        await front.change("UPDATE attempt SET status = 'created', next_action = NULL")
        with pytest.raises(Conflict) as refused:
            await payments.attempt(front.book, payment_id, WALLET, channel="scripted")
        assert refused.value.code == "request_in_progress"
        assert len(front.asked("pay")) == 1
        await front.change("UPDATE attempt SET status = 'pending'")


async def test_a_payment_is_tried_elsewhere_while_it_lasts_and_asked_about_in_time(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s, accounts={"second": "other"}) as front:
        front.rail.says(pay=BUSY)
        front.others["second"].says(pay=SILENCE)
        await front.pay(expires_in=60)
        assert "FailOver" in front.done, "by this host's clock it had run out"
        attempt = front.done["FailOver"].attempt
        assert attempt.due_at == attempt.created_at + FIRST_ANSWER


async def test_an_order_that_was_not_closed_is_asked_about_by_the_schedule(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.rail.says(pay=Pending(QR), query=Pending(), close=SILENCE)
        payment_id = (await front.pay()).body["id"]
        assert (await front.post(f"/v1/payments/{payment_id}/close", key="close")).code == "not_closed_yet"
        attempt = await front.attempt(payment_id)
        assert attempt.undo_sent_at is not None
        assert attempt.due_at == attempt.updated_at + front.wait


async def test_whoever_claims_a_question_is_given_the_time_for_its_answer(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.hub.payments._recording.time_scale = 0.0  # everything is due at once
        front.rail.says(pay=SILENCE, refund=SILENCE)
        payment_id = (await front.pay()).body["id"]
        assert await front.hub.payments.take(await front.attempt(payment_id))
        assert (await front.attempt(payment_id)).due_at == await front.decided_at() + FIRST_ANSWER
        await front.notice(front.asked("pay")[0].reference, 10_000)
        await front.refund(payment_id)
        assert await front.hub.payments.take(await front.the_refund())
        claimed = await front.the_refund()
        assert claimed.due_at is not None
        assert front.decided(claimed.due_at - FIRST_ANSWER)
        front.rail.works("refund")


async def test_what_was_paid_although_its_rail_was_told_to_close_it_is_asked_about_by_the_schedule(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.rail.says(pay=Pending(QR), query=Pending(), close=SILENCE)
        payment_id = (await front.pay()).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close", key="close")
        await front.notice(front.asked("pay")[0].reference, 10_000)
        attempt = await front.attempt(payment_id)
        assert (attempt.status, attempt.due_at) == ("confirmed", attempt.updated_at)
        assert attempt.undo_sent_at is not None
        assert await front.hub.payments.take(attempt)
        assert (await front.attempt(payment_id)).due_at == attempt.undo_sent_at + timedelta(seconds=UNDO_S[0])


@pytest.mark.parametrize("over", [False, True])
async def test_an_order_is_closed_when_its_time_is_over_and_not_before(
    database_url: str, tmp_path: Path, off_s: float, over: bool
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.hub.payments._recording.time_scale = 0.0
        front.rail.says(pay=Pending(QR), query=Pending())
        payment_id = (await front.pay(expires_in=60)).body["id"]
        if over:
            await front.change("UPDATE payment SET expires_at = created_at")
        attempt = await front.attempt(payment_id)
        claimed_at = await front.hub.payments.take(attempt)
        assert claimed_at == await front.decided_at()
        payment = await front.hub.payments.follow_up(attempt, claimed_at)
        assert payment.status == ("expired" if over else "requires_action")
        assert len(front.asked("close")) == over


async def test_a_payment_that_ran_out_while_its_order_is_open_is_looked_at_again_in_time(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        front.rail.says(pay=Pending(QR))
        payment_id = (await front.pay(method=CASHIER)).body["id"]
        await front.hub.payments.attempt(front.book, payment_id, WALLET, channel="scripted")
        await front.change("UPDATE payment SET expires_at = created_at")
        payment = await front.hub.payments.end_if_run_out(await front.stored(payment_id))
        assert payment.due_at == await front.decided_at() + FIRST_ANSWER


@pytest.mark.parametrize("refused", [False, True])
async def test_a_capture_is_asked_about_when_its_first_answer_must_have_come_and_a_hold_is_looked_at_by_the_hour(
    database_url: str, tmp_path: Path, off_s: float, refused: bool
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:

        def holds(op: str, order: Any) -> Any:
            return (
                front.rail(op, order) if op in front.rail.answers else Pending(channel_ref="h", authorized=order.amount)
            )

        front.shop.channel.script = holds
        front.rail.says(capture=Refused("MAX_CAPTURE", "not so much") if refused else SILENCE)
        payment_id = (await front.post("/v1/payments", an_order(method=CARD, capture="manual"), key="p")).body["id"]
        attempt = await front.attempt(payment_id)
        assert (attempt.status, attempt.due_at) == ("authorized", attempt.updated_at + timedelta(seconds=HOLD_S))
        await front.post(f"/v1/payments/{payment_id}/capture", {"amount": 4_000}, key="c")
        attempt = front.done["StartCapture"][0].attempt
        assert attempt.due_at == attempt.updated_at + FIRST_ANSWER
        attempt = await front.attempt(payment_id)
        assert attempt.capture_minor == (0 if refused else 4_000)
        assert attempt.due_at == attempt.updated_at + (timedelta(seconds=HOLD_S) if refused else front.wait)


async def test_a_refund_and_its_retry_are_asked_about_when_their_first_answer_must_have_come(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        payment_id = await front.paid()
        front.rail.says(refund=[NO, SILENCE])
        await front.refund(payment_id)
        refund = front.done["CreateRefund"][0]
        assert refund.due_at == refund.created_at + FIRST_ANSWER
        assert (await front.post(f"/v1/refunds/{refund.id}/retry", key="r")).body["status"] == "processing"
        again = front.done["RetryRefund"][0]
        assert again.due_at == again.retried_at + FIRST_ANSWER
        refund = await front.the_refund()
        assert refund.due_at == refund.updated_at + timedelta(seconds=REFUND_S[0])


async def test_what_goes_back_by_itself_is_begun_again_by_the_schedule(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        payments = front.hub.payments
        front.rail.says(pay=Pending(QR), refund=[NO, SILENCE])
        payment_id = (await front.pay()).body["id"]
        await front.post(f"/v1/payments/{payment_id}/close", key="close")
        await front.notice(front.asked("pay")[0].reference, 10_000)
        refund = await front.the_refund()
        assert (refund.id, refund.due_at) == (overpaid_refund_id(payment_id, 1), refund.created_at)
        await payments.send_refund_once_more(refund)
        refund = await front.the_refund()
        assert (refund.status, refund.due_at) == ("failed", refund.updated_at + timedelta(seconds=RETRY_S[0]))
        front.rail.says(refund_query=SILENCE)
        await payments.retry_unwanted(refund)  # the rail does not say that it was not paid
        refund = await front.the_refund()
        assert refund.due_at == refund.updated_at + timedelta(seconds=RETRY_S[1])
        front.rail.works("refund_query")
        await front.change("UPDATE refund SET due_at = created_at")
        await payments.retry_unwanted(await front.the_refund())
        again = front.done["RetryUnwanted"]
        assert again.due_at == again.retried_at + FIRST_ANSWER


async def test_a_host_whose_clock_is_far_off_says_so_and_forgets_no_key(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        janitor = front.hub.janitor()
        assert "database's" in (await front.hub.checks().health()).wrong["clock"]
        await front.paid(key="k")
        front.clock.off = timedelta(days=9) * (1 if off_s > 0 else -1)
        assert await janitor.sweep() == 0
        await front.change("UPDATE claim SET created_at = created_at - interval '9 days'")
        assert await janitor.sweep() == 0
        front.clock.off = timedelta(0)
        assert await janitor.sweep() == 1
        assert "clock" not in (await front.hub.checks().health()).wrong


async def test_a_host_whose_clock_is_off_makes_no_merchant_and_no_key(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:

        async def made() -> Any:
            async with acquire(front.hub.pool) as connection:
                return tuple(await connection.fetchrow("SELECT (SELECT count(*) FROM book), count(*) FROM api_key"))

        before = await made()
        with pytest.raises(ClockDiffers):
            await front.hub.merchants.add("another shop", currencies=["CNY"])
        with pytest.raises(ClockDiffers):
            await front.hub.merchants.add_key(front.book, ["payments:read"], None)
        assert await made() == before
        front.clock.off = timedelta(0)
        await front.hub.merchants.add_key(front.book, ["payments:read"], timedelta(days=1))
        async with acquire(front.hub.pool) as connection:
            assert await connection.fetchval("SELECT max(expires_at - created_at) FROM api_key") == timedelta(days=1)


async def test_a_bank_is_asked_no_more_from_the_moment_at_which_that_was_said(
    database_url: str, tmp_path: Path, off_s: float
) -> None:
    async with a_jumping_front(database_url, tmp_path, off_s) as front:
        await front.hub.lanes.put(LinkBank(BankLink(front.book, "harbour", "6200", "{}", "{}")))
        ended = await front.hub.banks.end(front.book, "harbour")
        assert ended.ended_at is not None
        assert front.decided(ended.ended_at)
        assert (await front.hub.banks.end(front.book, "harbour")).ended_at == ended.ended_at


def commands() -> Iterator[type]:
    for package in (cases, gateway, ledger, splitting, streams):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for found in vars(import_module(module.name)).values():
                if (
                    isinstance(found, type)
                    and found.__module__ == module.name
                    and {"needs", "apply"} <= vars(found).keys()
                ):
                    yield found


# What a calendar says, and no clock: from when on a business date may be settled.
OF_A_CALENDAR = {"MakeSettlement.not_before"}


def test_no_command_carries_a_moment() -> None:
    """It would be of some host's clock, from before the commit."""
    found = list(commands())
    assert {"CreatePayment", "RecordRefundOutcome", "MakeSettlement", "OpenCase"} <= {
        command.__name__ for command in found
    }
    for command in found:
        for name, kind in get_type_hints(command).items():
            of_a_calendar = f"{command.__name__}.{name}" in OF_A_CALENDAR
            assert of_a_calendar or datetime not in (kind, *get_args(kind)), f"{command.__name__}.{name}"
