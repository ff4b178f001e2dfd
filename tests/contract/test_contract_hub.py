"""The hub's whole life of a payment on every rail: each way to pay, second calls, holds, refunds, and what is left."""

import logging

import pytest

import ledger
from channels import Confirmed, Kind, Method
from channels.contract import RefundFee
from gateway.accounts.terms import FeeSchedule, Terms
from gateway.claims import Claims
from gateway.tables import Payment
from kernel.db import acquire, transaction
from kernel.env import Response
from kernel.errors import Conflict
from kernel.money import proportion
from ops.wiring import Hub
from reconciliation import DiscrepancyKind as DifferenceKind
from tests.contract.counterparties import SHOWN, Payer
from tests.contract.plays import Play, plays
from tests.contract.tills import MINOR, Till, a_till, waiting

pytestmark = pytest.mark.asyncio(loop_scope="session")


@plays(method=lambda rail: sorted(rail.methods))
async def test_a_payment_succeeds_once_and_goes_back_in_parts(play: Play, rail_hub: Hub, method: Method) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method)
    await till.until("succeeded", lambda: till.payment(payment.id))
    attempt = await till.attempt(payment)
    charged = await play.other.charged(attempt.reference)
    assert (charged.times, charged.minor) == (1, MINOR)
    assert (attempt.captured_minor, attempt.status) == (MINOR, "confirmed")
    parts = [234, None] if play.rail.capabilities.partial_refunds else [None]
    refunds = [await till.give_back(await till.payment(payment.id), part) for part in parts]
    charged = await play.other.charged(attempt.reference)
    assert charged.times == 1
    assert sum(charged.refunds.values()) == MINOR
    assert [refund.amount_minor for refund in refunds] == ([234, 1000] if len(parts) == 2 else [MINOR])
    await till.assert_books_hold()


@plays(
    alone=True,
    when=lambda rail: rail.capabilities.refund_fee is RefundFee.KEPT,
    agreed=lambda rail: [None, *RefundFee],
    real=lambda rail: list(RefundFee),
)
async def test_a_day_with_refunds_differs_from_its_bill_only_where_the_terms_say_another_refund_fee(
    play: Play, rail_hub: Hub, agreed: RefundFee | None, real: RefundFee
) -> None:
    wish = {"name": "tea", "fee_bp": 290, "fixed_fee_minor": 30, "refund_fee": real.value}
    play.other.account = await play.other.control("POST", f"/control/{play.rail.name}/merchants", wish)
    terms = Terms(fees=FeeSchedule(290, 30, refund_fee=agreed))
    till = await a_till(play, rail_hub, terms)
    payment = await till.pay(play.rail.main)
    await till.until("succeeded", lambda: till.payment(payment.id))
    refunds = [await till.give_back(await till.payment(payment.id), part) for part in (234, None)]
    await till.assert_books_hold()
    async with acquire(rail_hub.pool) as connection:
        standing = {one.name: one.balance for one in await ledger.store.balances(connection, till.book)}
    kept = (agreed or play.rail.capabilities.refund_fee) is RefundFee.KEPT
    fee = 66  # 290 basis points of 1234, and 30
    assert (await till.payment(payment.id)).fee_minor == fee
    returned = [refund.fee_returned_minor for refund in refunds]
    assert returned == [0, 0] if kept else sum(returned) == fee
    assert standing[f"channel:main:{play.currency}"] == (-fee if kept else 0)
    assert standing.get(f"refund_cost:{play.currency}", 0) == (fee if kept else 0)
    assert standing[f"merchant:{play.currency}"] == 0
    await play.other.close_day(play.today())
    run = await rail_hub.daily_proof().channel(till.book, "main", play.today(), currency=play.currency)
    found = [(one.kind, one.verdict.ours_minor, one.verdict.theirs_minor) for one in run.discrepancies]
    if kept == (real is RefundFee.KEPT):
        assert found == []
    else:
        parts = [-13, -53]  # of the fee, as refunds of 234 and of the other 1000 return it
        ours, theirs = ([0, 0], parts) if kept else (parts, [0, 0])
        assert sorted(found) == sorted((DifferenceKind.FEE_DIFFERS, *both) for both in zip(ours, theirs, strict=True))


@plays(alone=True, when=lambda rail: rail.capabilities.refunds_come_back)
async def test_a_refund_that_comes_back_is_undone_by_its_notice_and_agrees_with_the_bill(
    play: Play, rail_hub: Hub
) -> None:
    wish = {"name": "tea", "fee_bp": 60, "fixed_fee_minor": 0}
    play.other.account = await play.other.control("POST", f"/control/{play.rail.name}/merchants", wish)
    await play.other.register_notices(play.box.url)
    till = await a_till(play, rail_hub)
    payment = await till.pay(play.rail.main)
    await till.until("succeeded", lambda: till.payment(payment.id))
    await play.other.refund_fault("refund_comes_back")
    refund = await till.give_back(await till.payment(payment.id), 234)
    ready = await rail_hub.accounts.get(till.book, "main")
    while (await till.refund(refund.id)).status == "succeeded":
        notice = ready.client.channel.notice(await play.box.next(), now=play.env.now())
        if notice is not None:
            await rail_hub.payments.apply_notice(till.book, "main", notice)
    assert (await till.refund(refund.id)).failure_code
    assert (await till.payment(payment.id)).refunded_minor == 0
    await till.assert_books_hold()
    await play.other.close_day(play.today())
    run = await rail_hub.daily_proof().channel(till.book, "main", play.today(), currency=play.currency)
    assert [(one.kind, one.key.reference, one.verdict.detail) for one in run.discrepancies] == []
    assert sum(run.matched.values()) == 3


# Coupons that payers use, by who pays for them, and what is given back afterwards; None: all that is left.
BOUGHT: dict[str, tuple[list[tuple[int, str]], list[int | None]]] = {
    "the merchant's own": ([(100, "merchant")], []),
    "the merchant's own, all given back": ([(100, "merchant")], [None]),
    "the merchant's own, given back in parts": ([(333, "merchant")], [7, 401, None]),
    "the rail's": ([(200, "rail")], []),
    "the rail's, a part given back": ([(333, "rail")], [401]),
    "the merchant's, paid in beforehand": ([(200, "prepaid")], [500]),
    "one of each": ([(101, "merchant"), (57, "rail")], [401]),
    "one of each, all given back": ([(101, "merchant"), (57, "rail")], [401, 1, None]),
    "none": ([], [401]),
}


@plays(alone=True, when=lambda rail: rail.capabilities.merchant_coupons)
async def test_a_day_with_coupons_agrees_with_bill_and_deposit_to_the_cent(play: Play, rail_hub: Hub) -> None:
    """What stands due from the channel is what it pays out, whoever paid for the coupons and whatever went back."""
    till = await a_till(play, rail_hub)
    own = 0
    for what, (coupons, back) in BOUGHT.items():
        for minor, paid_by in coupons:
            await play.other.give_coupon(minor, play.other.PAID_BY.get(paid_by, paid_by))
        payment = await till.pay(play.rail.main)
        await till.until("succeeded", lambda payment=payment: till.payment(payment.id))  # type: ignore[misc]
        paid = await till.payment(payment.id)
        expected = sum(minor for minor, paid_by in coupons if paid_by == "merchant")
        assert (paid.captured_minor, paid.coupon_minor) == (MINOR, expected), what
        assert paid.fee_minor == proportion(MINOR - expected, 60, 10_000), what
        for part in back:
            refund = await till.give_back(await till.payment(payment.id), part)
            assert 0 <= refund.coupon_minor <= expected, what
        paid = await till.payment(payment.id)
        if None in back:
            assert (paid.refunded_minor, paid.coupon_returned_minor) == (MINOR, expected), what
        own += paid.coupon_minor - paid.coupon_returned_minor
    await till.assert_books_hold()
    async with acquire(rail_hub.pool) as connection:
        standing = {one.name: one.balance for one in await ledger.store.balances(connection, till.book)}
    assert standing[f"merchant_coupon:{play.currency}"] == own > 0
    closed = await play.other.control(
        "POST", f"/control/{play.rail.name}/close-day", {"merchant": play.other.merchant, "date": str(play.today())}
    )
    assert standing[f"channel:main:{play.currency}"] == closed["net"], "what we say is due is what the rail pays out"
    run = await rail_hub.daily_proof().channel(till.book, "main", play.today(), currency=play.currency)
    assert [(one.kind, one.key.reference, one.verdict.detail) for one in run.discrepancies] == []
    assert sum(run.matched.values()) == len(BOUGHT) + sum(len(back) for _, back in BOUGHT.values())


@plays(when=lambda rail: rail.capabilities.merchant_coupons, method=lambda rail: sorted(rail.methods))
async def test_a_coupon_is_told_of_whatever_the_way_to_pay_and_goes_back_with_all_of_it(
    play: Play, rail_hub: Hub, method: Method
) -> None:
    till = await a_till(play, rail_hub)
    await play.other.give_coupon(100, "merchant")
    payment = await till.pay(method)
    await till.until("succeeded", lambda: till.payment(payment.id))
    paid = await till.payment(payment.id)
    assert (paid.captured_minor, paid.coupon_minor) == (MINOR, 100)
    assert (await till.give_back(paid, None)).coupon_minor == 100
    async with acquire(rail_hub.pool) as connection:
        standing = {one.name: one.balance for one in await ledger.store.balances(connection, till.book)}
    assert not any(standing.values()), standing
    await till.assert_books_hold()


@plays(alone=True, when=lambda rail: rail.capabilities.merchant_coupons)
async def test_a_coupon_we_were_not_told_of_has_a_name_of_its_own_in_the_proof(play: Play, rail_hub: Hub) -> None:
    till = await a_till(play, rail_hub)
    await play.other.give_coupon(100, "merchant")
    payment = await till.pay(play.rail.main)
    await till.until("succeeded", lambda: till.payment(payment.id))
    attempt = await till.attempt(payment)

    async def told(minor: int) -> None:
        async with transaction(rail_hub.pool) as connection:
            await connection.execute("UPDATE attempt SET coupon_minor = $2 WHERE payment_id = $1", payment.id, minor)

    await told(0)  # as if no answer had named it
    await play.other.close_day(play.today())
    run = await rail_hub.daily_proof().channel(till.book, "main", play.today(), currency=play.currency)
    await told(100)  # the books of all plays are held against the journal
    found = [(one.kind, one.key.reference, one.verdict.difference_minor) for one in run.discrepancies]
    assert found == [(DifferenceKind.COUPON_DIFFERS, attempt.reference, 100)]


@plays(method=lambda rail: rail.holds)
async def test_reserved_money_is_captured_by_the_hub_in_part_or_whole(
    play: Play, rail_hub: Hub, method: Method
) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method, manual=True)
    await till.until("requires_capture", lambda: till.payment(payment.id))
    attempt = await till.attempt(payment)
    assert (await play.other.charged(attempt.reference)).times == 0
    part = 234 if play.rail.capabilities.partial_capture else MINOR
    captured, _ = await rail_hub.payments.capture(
        till.book, payment.id, Claims(("i:capture",), b"h" * 32), amount_minor=part
    )
    assert captured.status in ("processing", "succeeded")
    await till.until("succeeded", lambda: till.payment(payment.id))
    charged = await play.other.charged(attempt.reference)
    assert (charged.times, charged.minor) == (1, part)
    assert (await till.payment(payment.id)).captured_minor == part
    await till.give_back(await till.payment(payment.id), None)
    await till.assert_books_hold()


@plays(method=lambda rail: rail.holds, lost=lambda rail: ["answer_lost", "request_lost"])
async def test_a_capture_whose_message_is_lost_is_found_or_made_by_the_janitor(
    play: Play, rail_hub: Hub, method: Method, lost: str
) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method, manual=True)
    await till.until("requires_capture", lambda: till.payment(payment.id))
    attempt = await till.attempt(payment)
    await play.other.fault(lost, "capture", attempt.reference)
    part = 234 if play.rail.capabilities.partial_capture else MINOR
    await rail_hub.payments.capture(till.book, payment.id, Claims(("i:capture",), b"h" * 32), amount_minor=part)
    await till.until("succeeded", lambda: till.payment(payment.id))
    charged = await play.other.charged(attempt.reference)
    assert (charged.times, charged.minor) == (1, part)
    await till.assert_books_hold()


# A no that each rail has for reasons of the message's own: a signature, a right, a limit.
ITS_OWN = {
    "wechat": {"code": "SIGN_ERROR", "status": 401},
    "alipay": {"code": "ACQ.SELLER_BALANCE_NOT_ENOUGH"},
    "paypal": {"code": "REFUND_AMOUNT_EXCEEDED", "status": 422},
    "unionpay": {"code": "11"},
}


@plays(alone=True, when=lambda rail: rail.name in ITS_OWN)
async def test_a_refund_whose_answer_was_lost_is_paid_once_though_its_repetition_would_be_refused(
    play: Play, rail_hub: Hub
) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(play.rail.main)
    await till.until("succeeded", lambda: till.payment(payment.id))
    reference = (await till.attempt(payment)).reference
    match = {"merchant": play.other.merchant, "op": play.other.OPS.get("refund", "refund")}
    await play.other._set_fault("answer_lost", match)
    claims = Claims((f"i:{payment.id}",), b"h" * 32)
    refund, _ = await rail_hub.payments.refund(
        till.book, payment.id, claims, amount_minor=234, reason="tea", merchant_refund_id=None
    )
    assert refund.status == "processing"
    await play.other._set_fault("refuse", match, ITS_OWN[play.rail.name])  # type: ignore[arg-type]
    await till.until("succeeded", lambda: till.refund(refund.id))
    assert list((await play.other.charged(reference)).refunds.values()) == [234]
    assert (await till.payment(payment.id)).refunded_minor == 234
    await till.assert_books_hold()


@plays(method=lambda rail: rail.holds)
async def test_reserved_money_is_released_by_the_hub(play: Play, rail_hub: Hub, method: Method) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method, manual=True)
    await till.until("requires_capture", lambda: till.payment(payment.id))
    assert (await rail_hub.payments.void(till.book, payment.id)).status == "canceled"
    assert (await play.other.charged((await till.attempt(payment)).reference)).times == 0
    await till.assert_books_hold()


@plays(
    method=lambda rail: [method for method in rail.two_calls if method in SHOWN],
    lost=lambda rail: ["answer_lost", "request_lost"],
)
async def test_a_second_call_that_is_lost_is_found_or_made_by_the_janitor(
    play: Play, rail_hub: Hub, method: Method, lost: str
) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method)
    await play.other.fault(lost, "proceed", (await till.attempt(payment)).reference)
    await till.until("succeeded", lambda: till.payment(payment.id))
    charged = await play.other.charged((await till.attempt(payment)).reference)
    assert (charged.times, charged.minor) == (1, MINOR)
    await till.assert_books_hold()


# ---- what undoes, and arrives late -----------------------------------------------------------------------------------


async def undone_late(till: Till, op: str, payment: Payment) -> str:
    """Have the merchant close a payment, the message held up on its way; return what lets it arrive."""
    held = await till.play.other.hold_back(op, (await till.attempt(payment)).reference)
    with pytest.raises(Conflict, match=r"not_closed_yet|payment_ended"):
        await till.hub.payments.close(till.book, payment.id)
    return held


async def asked_once_more(till: Till, payment: Payment) -> None:
    """Let the janitor's time to ask about it come, and have it ask."""
    before = (await till.attempt(payment)).query_count
    for _ in range(5_000):
        if (await till.attempt(payment)).query_count > before:
            return
        await till.hub.janitor().once()
        await till.play.env.sleep(0.02)
    raise AssertionError(f"nobody asks about it: {await till.attempt(payment)}")


@plays(alone=True, when=lambda rail: Method.BARCODE in rail.methods)
async def test_a_success_that_a_late_reversal_takes_back_is_a_case(play: Play, rail_hub: Hub) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(Method.BARCODE, payer=Payer.ASKS)
    reference = (await till.attempt(payment)).reference
    held = await undone_late(till, "reverse", payment)
    await play.other.pay(reference)
    await till.until("succeeded", lambda: till.payment(payment.id))
    await asked_once_more(till, payment)
    assert await waiting(till) == []
    await play.other.let_through(held)
    assert sum((await play.other.charged(reference)).refunds.values()) == MINOR
    await asked_once_more(till, payment)
    (case,) = await waiting(till)
    assert (case.kind, case.about, case.amount_minor) == ("channel_contradicts_itself", f"{payment.id}:1", MINOR)
    assert (await till.payment(payment.id)).status == "succeeded"
    await till.assert_books_hold()


@plays(method=lambda rail: [rail.main] if rail.main in rail.closes else [])
async def test_a_success_that_a_late_closing_cannot_undo_stays_one(play: Play, rail_hub: Hub, method: Method) -> None:
    till = await a_till(play, rail_hub)
    payment = await till.pay(method)
    held = await undone_late(till, "close", payment)
    await till.until("succeeded", lambda: till.payment(payment.id))
    await play.other.let_through(held)
    await asked_once_more(till, payment)
    assert await waiting(till) == []
    assert (await till.attempt(payment)).due_at is not None, "and is asked about some more"
    assert (await till.attempt(payment)).status == "confirmed"
    await till.assert_books_hold()


# ---- what is told about others' orders -------------------------------------------------------------------------------


async def rows(objects: Hub, book: int) -> tuple[int, ...]:
    """Return how many rows a book has in which a notice can leave a trace."""
    tables = ("payment", "attempt", "refund", "event", "transfer", "hold", "account")
    counts = ", ".join(f"(SELECT count(*) FROM {table} WHERE book = $1)" for table in tables)
    async with acquire(objects.pool) as connection:
        row = await connection.fetchrow(f"SELECT {counts}", book)
    assert row is not None
    return tuple(row)


def counted(objects: Hub, rail: str, result: str) -> float:
    return objects.registry.get_sample_value("sluice_notices_total", {"channel": rail, "result": result}) or 0


@plays(alone=True, whose=lambda rail: ["another-systems", "another-hubs"])
async def test_a_notice_about_somebody_elses_order_is_acknowledged_and_does_nothing(
    play: Play, rail_hub: Hub, caplog: pytest.LogCaptureFixture, whose: str
) -> None:
    """Another system may share the account: refused, the rail repeats it for days, and may stop telling us anything."""
    till = await a_till(play, rail_hub)
    order = play.order(reference="so-10077" if whose == "another-systems" else None)
    order, outcome = await play.agreed(order)
    assert isinstance(outcome, Confirmed)
    messages = [(await play.notice())[1]]
    if play.other.REFUND_NOTICES:
        await play.sent_back(play.refund(order, 234))
        messages.append((await play.notice(Kind.REFUND))[1])
    before = await rows(rail_hub, till.book), counted(rail_hub, play.rail.name, "of_another_system")
    caplog.set_level(logging.INFO, logger="gateway.payments.notices")
    for message in messages:
        answer = await rail_hub.notices.receive(play.rail.name, till.book, "main", message)
        assert answer == play.client.channel.notice_accepted()
    now = await rows(rail_hub, till.book), counted(rail_hub, play.rail.name, "of_another_system")
    assert now == (before[0], before[1] + len(messages))
    told = [record.levelname for record in caplog.records if record.name == "gateway.payments.notices"]
    assert told == ["INFO"] * len(messages)


@plays(alone=True)
async def test_a_forged_notice_about_somebody_elses_order_is_not_acknowledged(play: Play, rail_hub: Hub) -> None:
    till = await a_till(play, rail_hub)
    await play.paid()
    _, message = await play.notice()
    altered = Response(message.status, message.headers, message.body.replace(b"1", b"2"))
    answer = await rail_hub.notices.receive(play.rail.name, till.book, "main", altered)
    assert answer != play.client.channel.notice_accepted()
    assert answer.status >= 400
