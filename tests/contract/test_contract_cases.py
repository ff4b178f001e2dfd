"""What a person decides about money that a rail leaves open, on every rail: the way on from there works at the rail."""

from datetime import timedelta
from pathlib import Path

import pytest

import cases
from channels import Confirmed, Method
from gateway.claims import Claims
from gateway.payments import unfinished
from gateway.payments.unwanted import about
from gateway.tables import Payment, Refund
from kernel.db import transaction
from kernel.errors import Conflict
from ops.cases import decide
from ops.trials.channel_call import call
from ops.wiring import Hub, hub
from tests.conftest import TestServer as PostgresServer
from tests.contract.plays import Play, plays
from tests.contract.tills import MINOR, Till, a_till, waiting

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def a_case(till: Till, kind: str, ident: str) -> str:
    """Open the case that days of asking would open; return its id."""
    opened: cases.Case = await till.hub.lanes.put(cases.OpenCase(till.book, kind, ident, MINOR, till.play.currency, {}))
    return opened.id


async def decided(objects: Hub, case_id: str, decision: str) -> None:
    await decide(objects, case_id, decision, by="Wang Fang", note="the rail's own page says so")


def claims(name: str) -> Claims:
    return Claims((f"i:{name}",), b"h" * 32)


async def paid(till: Till) -> Payment:
    payment = await till.pay(till.play.rail.main)
    await till.until("succeeded", lambda: till.payment(payment.id))
    return await till.payment(payment.id)


async def refund_of_part(till: Till, payment: Payment, fault: str) -> tuple[Refund, int]:
    """Ask for a refund whose message goes wrong like this; return it, and how much it is of."""
    match = {"merchant": till.play.other.merchant, "op": till.play.other.OPS.get("refund", "refund")}
    await till.play.other._set_fault(fault, match)
    minor = 234 if till.play.rail.capabilities.partial_refunds else MINOR
    refund, _ = await till.hub.payments.refund(
        till.book, payment.id, claims(payment.id), amount_minor=minor, reason="tea", merchant_refund_id=None
    )
    assert refund.status == "processing"
    return refund, minor


@plays(alone=True, way=lambda rail: ["retried", "asked-for-anew"])
async def test_a_refund_that_was_not_carried_out_is_asked_for_anew_and_paid_once(
    play: Play, rail_hub: Hub, way: str
) -> None:
    till = await a_till(play, rail_hub)
    payment = await paid(till)
    refund, minor = await refund_of_part(till, payment, "request_lost")
    await decided(rail_hub, await a_case(till, unfinished.REFUND, refund.id), "not_carried_out")
    assert (await till.refund(refund.id)).status == "failed"
    if way == "retried":
        await rail_hub.payments.retry_refund(till.book, refund.id, claims("again"))
    else:
        refund, _ = await rail_hub.payments.refund(
            till.book, payment.id, claims("anew"), amount_minor=minor, reason="tea", merchant_refund_id=None
        )
    await till.until("succeeded", lambda: till.refund(refund.id))
    reference = (await till.attempt(payment)).reference
    assert list((await play.other.charged(reference)).refunds.values()) == [minor]
    assert (await till.payment(payment.id)).refunded_minor == minor
    await till.assert_books_hold()


@plays(
    alone=True,
    when=lambda rail: not rail.capabilities.query_by_resend,
    decision=lambda rail: ["carried_out", "not_carried_out"],
)
async def test_a_refund_that_the_rail_has_paid_is_found_before_a_person_ends_it(
    play: Play, rail_hub: Hub, decision: str
) -> None:
    till = await a_till(play, rail_hub)
    payment = await paid(till)
    refund, minor = await refund_of_part(till, payment, "answer_lost")
    reference = (await till.attempt(payment)).reference
    case_id = await a_case(till, unfinished.REFUND, refund.id)
    order, ready, _ = await rail_hub.payments._refunding.order_of(refund)
    while not isinstance(await ready.client.refund_query(order), Confirmed):  # until the rail is done with it
        await play.env.sleep(0.02)
    with pytest.raises(Conflict, match="case_decided"):
        await decided(rail_hub, case_id, decision)
    assert (await till.refund(refund.id)).status == "succeeded"
    assert list((await play.other.charged(reference)).refunds.values()) == [minor]
    assert (await till.payment(payment.id)).refunded_minor == minor
    await till.assert_books_hold()


@plays(alone=True, when=lambda rail: rail.name == "wechat")
async def test_an_abnormal_refund_is_sent_on_at_the_rail_and_never_asked_for_anew(play: Play, rail_hub: Hub) -> None:
    till = await a_till(play, rail_hub)
    payment = await paid(till)
    await play.other.refund_fails((await till.attempt(payment)).reference)
    refund, _ = await rail_hub.payments.refund(
        till.book, payment.id, claims("back"), amount_minor=234, reason="tea", merchant_refund_id=None
    )
    while not await waiting(till):
        await rail_hub.janitor().once()
        await play.env.sleep(0.02)
    (case,) = await waiting(till)
    for _ in range(2):
        with pytest.raises(Conflict, match="refund_at_channel"):
            await decided(rail_hub, case.id, "not_carried_out")
    found = await till.refund(refund.id)
    told = {
        "reference": (await till.attempt(payment)).reference, "amount": str(MINOR),
        "refund_reference": found.reference, "refund_amount": "234", "refund_channel_ref": str(found.channel_ref),
    }  # fmt: skip
    assert (await call("wechat", "abnormal_refund", play.other.settings(), told, play.env)).exit_code == 0
    await decided(rail_hub, case.id, "sent_on")
    await till.until("succeeded", lambda: till.refund(refund.id))
    assert await waiting(till) == []
    assert list((await play.other.charged((await till.attempt(payment)).reference)).refunds.values()) == [234]
    await till.assert_books_hold()


@plays(method=lambda rail: rail.holds, way=lambda rail: ["captured", "voided"])
async def test_what_was_not_captured_is_captured_anew_or_voided_days_later(
    play: Play, rail_hub: Hub, pg_server: PostgresServer, rail_home: Path, method: Method, way: str
) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method, manual=True)
    await till.until("requires_capture", lambda: till.payment(payment.id))
    attempt = await till.attempt(payment)
    await play.other.fault("request_lost", "capture", attempt.reference)
    await rail_hub.payments.capture(till.book, payment.id, claims("capture"), amount_minor=None)
    case_id = await a_case(till, unfinished.CAPTURE, about(attempt))
    async with transaction(rail_hub.pool) as connection:  # as if it had been asked for days ago
        moved = "UPDATE attempt SET ending_at = ending_at - $2::interval WHERE payment_id = $1"
        await connection.execute(moved, payment.id, timedelta(days=3))
    url = pg_server.url("sluice_rails")
    async with hub(
        database_url=url, redis_url=None, home=rail_home, public_url="http://127.0.0.1:9", env=play.env
    ) as later:  # which remembers nothing of before
        await decided(later, case_id, "not_captured")
        after = Till(play, later, till.book)
        assert (await after.payment(payment.id)).status == "requires_capture"
        if way == "voided":
            assert (await later.payments.void(till.book, payment.id)).status == "canceled"
        else:
            await later.payments.capture(till.book, payment.id, claims("anew"), amount_minor=None)
            await after.until("succeeded", lambda: after.payment(payment.id))
    charged = await play.other.charged(attempt.reference)
    assert (charged.times, charged.minor) == ((1, MINOR) if way == "captured" else (0, 0))
    await till.assert_books_hold()
