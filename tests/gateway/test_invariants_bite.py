"""Every invariant of payments is clean over an ordinary life, and finds each fault planted in it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from channels.contract import Confirmed, Dispute, DisputeStatus, Pending, Refused
from gateway.payments.invariants import INVARIANTS
from kernel.money import Money
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import QR, a_front
from tests.ops.daily import daily

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Names in a plant: {paid} was shared out and partly refunded, {open} waits for its payer, {giving_back} has a refund
# under way, {late} was paid after its close, {surplus} twice, {held} is reserved, {choosing} waits at the cashier,
# {coupon} was paid in part by the merchant's own coupon, {charged} was partly refunded and then charged back beyond
# what was left.
SECOND_CAPTURE = """
    CREATE TEMPORARY TABLE tried ON COMMIT DROP AS SELECT * FROM attempt WHERE payment_id = '{paid}';
    UPDATE tried SET number = 2;
    INSERT INTO attempt SELECT * FROM tried;
    CREATE TEMPORARY TABLE again ON COMMIT DROP AS SELECT * FROM transfer WHERE id = '{paid}:1:captured';
    UPDATE again SET id = '{paid}:2:captured', seq = seq + 1000;
    INSERT INTO transfer """
PLANTS = {
    "captures_match_the_journal": {
        "a capture of another amount": "UPDATE transfer SET amount_minor = 1 WHERE id = '{paid}:1:captured'",
        "a capture that is not in the journal": "DELETE FROM transfer WHERE id = '{late}:1:captured'",
        "a capture of an attempt nobody paid": "UPDATE attempt SET captured_minor = 1 WHERE payment_id = '{open}'",
        "a capture of no attempt": "DELETE FROM attempt WHERE payment_id = '{paid}'",
        "two captures that add up": SECOND_CAPTURE + "SELECT * FROM again; "
        "UPDATE transfer SET amount_minor = 1 WHERE id = '{paid}:2:captured'; "
        "UPDATE transfer SET amount_minor = amount_minor - 1 WHERE id = '{paid}:1:captured'",
    },
    "fees_match_the_journal": {
        "a fee of another amount": "UPDATE attempt SET fee_minor = 1 WHERE payment_id = '{paid}'",
        "a fee the payment does not know": "UPDATE payment SET fee_minor = 1 WHERE id = '{paid}'",
        "a fee that was not booked": "DELETE FROM transfer WHERE id = '{paid}:1:fee'",
        "a fee of what nobody paid": "CREATE TEMPORARY TABLE again ON COMMIT DROP AS SELECT * FROM transfer "
        "WHERE id = '{late}:1:fee'; UPDATE again SET id = '{open}:1:fee', seq = seq + 1000; "
        "INSERT INTO transfer SELECT * FROM again",
    },
    "refunds_match_the_journal": {
        "a refund that is called succeeded while its money is held": "UPDATE refund SET status = 'succeeded' "
        "WHERE payment_id = '{giving_back}'",
        "a refund that is called failed while its money is held": "UPDATE refund SET status = 'failed' "
        "WHERE payment_id = '{giving_back}'",
        "a refund that is called under way and is paid": "UPDATE refund SET status = 'processing' "
        "WHERE payment_id = '{paid}'",
        "a refund that is called failed and is paid": "UPDATE refund SET status = 'failed' WHERE payment_id = '{paid}'",
        "a refund that failed and is called succeeded": "UPDATE refund SET status = 'succeeded' "
        "WHERE payment_id = '{failed}'",
        "a refund that failed and is called under way": "UPDATE refund SET status = 'processing' "
        "WHERE payment_id = '{failed}'",
        "a refund of another amount": "UPDATE refund SET amount_minor = amount_minor + 1 WHERE payment_id = '{paid}'",
        "a hold of no refund": "DELETE FROM refund WHERE payment_id = '{giving_back}'",
        "a refund whose hold was let go": "UPDATE hold SET state = 'voided' WHERE id = (SELECT id || ':refund' "
        "FROM refund WHERE payment_id = '{giving_back}')",
        "a refund's return that was not booked": "INSERT INTO refund_return SELECT book, id, 0, amount_minor, 0, 0, "
        "current_date, current_date, 'x', NULL FROM refund WHERE payment_id = '{paid}'",
    },
    "refunded_fees_match_the_journal": {
        "a refund's fee that was not made good": "DELETE FROM transfer WHERE id = (SELECT id || ':fee' FROM refund "
        "WHERE payment_id = '{paid}')",
        "a refund's fee made good otherwise": "UPDATE transfer SET amount_minor = amount_minor + 1 "
        "WHERE id = (SELECT id || ':fee' FROM refund WHERE payment_id = '{paid}')",
        "a refund called failed whose fee is made good": "UPDATE refund SET status = 'failed' "
        "WHERE payment_id = '{giving_back}'",
    },
    "a_payment_is_paid_once": {
        "a capture the payment does not know": "UPDATE payment SET captured_minor = 0, refunding_minor = 0 "
        "WHERE id = '{giving_back}'",
        "a payment that calls itself captured": "UPDATE payment SET captured_minor = amount_minor, won_attempt = 1 "
        "WHERE id = '{open}'",
        "two captures, of two attempts": SECOND_CAPTURE + "SELECT * FROM again",
        "a winner whose money goes back": "UPDATE payment SET won_attempt = 1 WHERE id = '{surplus}'",
        "a success without a winner": "UPDATE attempt SET status = 'late' WHERE payment_id = '{paid}'",
        "a winner without a success": "UPDATE attempt SET status = 'confirmed' WHERE payment_id = '{late}'",
        "an attempt the payment does not know": "UPDATE payment SET attempt_count = 5 WHERE id = '{open}'",
    },
    "refunds_paid_beyond_are_booked": {
        "a number given back that nobody booked": "UPDATE refund SET retry_count = 1, paid_tries = 3 "
        "WHERE payment_id = '{paid}'",
        "one booked as given back that was not": "CREATE TEMPORARY TABLE again ON COMMIT DROP AS "
        "SELECT * FROM transfer WHERE id = '{paid}:1:captured'; "
        "UPDATE again SET seq = seq + 1000, rule = 'refund_beyond', "
        "id = (SELECT id FROM refund WHERE payment_id = '{paid}') || ':beyond'; "
        "INSERT INTO transfer SELECT * FROM again",
    },
    "unwanted_money_goes_back": {
        "money paid on top that stays": "DELETE FROM refund WHERE payment_id = '{surplus}'",
        "money paid on top of which a part stays": "UPDATE refund SET amount_minor = 1 WHERE payment_id = '{surplus}'",
        "money paid late that stays": "DELETE FROM refund WHERE payment_id = '{late}'",
        "a refund that failed and is nobody's": "UPDATE refund SET status = 'failed', due_at = NULL "
        "WHERE payment_id = '{surplus}'",
        "the same of money paid late": "UPDATE payment SET refunding_minor = 0 WHERE id = '{late}'; "
        "UPDATE refund SET status = 'failed', due_at = NULL WHERE payment_id = '{late}'",
        "a refund that was to be sent again and is not": "UPDATE refund SET status = 'failed', due_at = NULL "
        "WHERE payment_id = '{surplus}'; INSERT INTO case_file (book, id, kind, about, facts, status, opened_at, "
        "opened_count, decision, decided_by, decided_at) SELECT book, 'cas', 'refund_of_unwanted_money_failed', "
        "payment_id || ':' || attempt_number, '{{}}', 'decided', now(), 1, 'retry', 'Wang', now() FROM refund "
        "WHERE payment_id = '{surplus}'",
        "the winner's money given back instead": "UPDATE refund SET attempt_number = 2 WHERE payment_id = '{surplus}'",
    },
    "reserved_money_is_not_booked": {
        "a hold the channel does not have": "UPDATE attempt SET status = 'pending' WHERE payment_id = '{held}'",
        "a hold of another amount": "UPDATE attempt SET authorized_minor = 1 WHERE payment_id = '{held}'",
        "a hold of a payment that is called over": "UPDATE payment SET status = 'canceled' WHERE id = '{held}'",
        "a hold of nobody": "UPDATE payment SET won_attempt = 0 WHERE id = '{held}'",
        "a capture under way that nobody asked for": "UPDATE payment SET status = 'processing' WHERE id = '{held}'",
    },
    "chargebacks_match_the_journal": {
        "a chargeback of another amount": "UPDATE chargeback SET amount_minor = amount_minor - 1 "
        "WHERE payment_id = '{charged}'",
        "a chargeback that bears another part": "UPDATE chargeback SET covered_minor = covered_minor - 1 "
        "WHERE payment_id = '{charged}'",
        "a chargeback with another fee": "UPDATE chargeback SET fee_minor = fee_minor + 1 "
        "WHERE payment_id = '{charged}'",
        "a chargeback of which a fee is said to be back": "UPDATE chargeback SET fee_back_minor = 1 "
        "WHERE payment_id = '{charged}'",
        "a chargeback that is called won and nothing came back": "UPDATE chargeback SET status = 'won', "
        "ended_date = business_date WHERE payment_id = '{charged}'",
        "a chargeback that was not booked": "DELETE FROM transfer WHERE rule = 'chargeback' "
        "AND id IN (SELECT id || ':taken' FROM chargeback WHERE payment_id = '{charged}')",
        "what no payment bears was not booked": "DELETE FROM transfer WHERE rule = 'chargeback_beyond' "
        "AND id IN (SELECT id || ':beyond' FROM chargeback WHERE payment_id = '{charged}')",
        "a posting of no chargeback": "DELETE FROM chargeback WHERE payment_id = '{charged}'",
        "a chargeback its payment does not count": "UPDATE payment SET charged_back_minor = 0 WHERE id = '{charged}'",
        "a chargeback beyond the payment that nobody decides about": "DELETE FROM case_file "
        "WHERE kind = 'chargeback_beyond' AND about = (SELECT id FROM chargeback WHERE payment_id = '{charged}')",
    },
    "refunds_never_exceed_captures": {
        "more given back than was paid on top": "UPDATE refund SET amount_minor = amount_minor + 1 "
        "WHERE payment_id = '{surplus}'",
        "more given back than was captured": "ALTER TABLE payment "
        "DROP CONSTRAINT what_goes_back_never_exceeds_the_capture; "
        "UPDATE payment SET refunded_minor = refunded_minor + 10000 WHERE id = '{paid}'; "
        "UPDATE refund SET amount_minor = amount_minor + 10000 WHERE payment_id = '{paid}'",
        "a refund the payment does not count": "UPDATE payment SET refunded_minor = 0 WHERE id = '{paid}'",
        "a refund under way the payment does not count": "UPDATE payment SET refunding_minor = 0 "
        "WHERE id = '{giving_back}'",
        "a refund of another amount": "UPDATE refund SET amount_minor = amount_minor - 1 WHERE payment_id = '{paid}'",
        "a refund that is not there": "DELETE FROM refund WHERE payment_id = '{late}'",
        "a refund that failed and was counted": "UPDATE refund SET status = 'failed' WHERE payment_id = '{paid}'",
    },
    "every_open_row_is_owned": {
        "an open chargeback that no rail is asked about": "UPDATE chargeback SET due_at = NULL "
        "WHERE payment_id = '{charged}'",
        "an open payment nobody asks about": "UPDATE attempt SET due_at = NULL WHERE payment_id = '{open}'",
        "an ended one somebody asks about": "UPDATE attempt SET due_at = now() WHERE payment_id = '{paid}'",
        "one that may yet be undone and nobody asks about": "UPDATE attempt SET undo_sent_at = now() "
        "WHERE payment_id = '{paid}'",
        "a choice nobody waits for": "UPDATE payment SET due_at = NULL WHERE id = '{choosing}'",
        "an ended payment somebody waits for": "UPDATE payment SET due_at = now() WHERE id = '{paid}'",
        "a hold nobody looks after": "UPDATE attempt SET due_at = NULL WHERE payment_id = '{held}'",
        "an open refund nobody asks about": "UPDATE refund SET due_at = NULL WHERE payment_id = '{giving_back}'",
        "a merchant's failed refund that is begun again": "UPDATE refund SET status = 'failed', due_at = now() "
        "WHERE payment_id = '{paid}'",
        "an ended refund somebody asks about": "UPDATE refund SET due_at = now() WHERE payment_id = '{paid}'",
    },
    "succeeded_payments_have_their_event": {
        "a success nobody was told of": "DELETE FROM event WHERE subject = '{paid}' AND type = 'payment.succeeded'",
        "a success told twice": "CREATE TEMPORARY TABLE again ON COMMIT DROP AS SELECT * FROM event "
        "WHERE subject = '{paid}' AND type = 'payment.succeeded'; UPDATE again SET seq = seq + 1000; "
        "INSERT INTO event SELECT * FROM again",
        "a success that was told and is none": "UPDATE payment SET status = 'failed' WHERE id = '{paid}'",
        "a success made by hand": "UPDATE payment SET status = 'succeeded' WHERE id = '{open}'",
    },
    "shares_follow_the_refunds": {
        "a unit taken back too much": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{{0,2}}', "
        "to_jsonb((shares::jsonb #>> '{{0,2}}')::bigint + 1))::json WHERE payment_id = '{paid}'",
        "nothing taken back": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{{1,2}}', '0')::json "
        "WHERE payment_id = '{paid}'",
        "shares of a payment nobody paid": "UPDATE payment SET captured_minor = 0, refunded_minor = 0 "
        "WHERE id = '{paid}'",
        "taken back for no refund": "UPDATE payment SET refunded_minor = 0 WHERE id = '{paid}'",
        "taken back as if no coupon had paid": "UPDATE payment SET coupon_minor = 0 WHERE id = '{coupon}'",
    },
    "shares_never_exceed_what_arrives": {
        "a coupon nobody's share knows": "UPDATE payment SET coupon_minor = coupon_minor + 1 WHERE id = '{coupon}'",
        "a fee nobody's share knows": "UPDATE payment SET fee_minor = fee_minor + 1 WHERE id = '{coupon}'",
        "a unit promised too much": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{{0,1}}', "
        "to_jsonb((shares::jsonb #>> '{{0,1}}')::bigint + 1))::json WHERE payment_id = '{coupon}'",
    },
    "coupons_match_the_journal": {
        "a coupon that was not booked": "DELETE FROM transfer WHERE id = '{coupon}:1:coupon'",
        "a coupon of another amount": "UPDATE transfer SET amount_minor = 1 WHERE id = '{coupon}:1:coupon'",
        "a coupon the attempt does not know": "UPDATE attempt SET coupon_minor = 0 WHERE payment_id = '{coupon}'",
        "a coupon the payment does not know": "UPDATE payment SET coupon_minor = 0, coupon_returned_minor = 0 "
        "WHERE id = '{coupon}'",
        "a coupon given back that was not booked": "DELETE FROM transfer WHERE rule = 'merchant_coupon_back' "
        "AND '{coupon}' <> ''",
        "a coupon given back of another amount": "UPDATE refund SET coupon_minor = 7 WHERE payment_id = '{coupon}'",
        "a coupon given back that is not counted": "UPDATE payment SET coupon_returned_minor = 0 WHERE id = '{coupon}'",
        "a coupon nobody used": "UPDATE payment SET coupon_minor = 1 WHERE id = '{open}'",
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(
    pg_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple["asyncpg.Connection[asyncpg.Record]", dict[str, str]]]:
    """An ordinary life, and a connection that neither privilege nor trigger stops."""
    await pg_server.admin.execute("CREATE DATABASE sluice_payments_bite OWNER sluice TEMPLATE sluice_template")
    url, home = pg_server.url("sluice_payments_bite"), tmp_path_factory.mktemp("home")
    async with a_front(url, home, accounts={"second": "scripted"}) as front:
        farm, mill = await front.payee("farm"), await front.payee("mill")
        plan = [{"payee": farm, "basis_points": 3_000}, {"payee": mill, "remainder": 1}]
        names = {"paid": await front.paid("paid", 9_999, split=plan), "giving_back": await front.paid("giving-back")}
        await front.share_out()
        await front.refund(names["paid"], 1_234)
        names["charged"] = await front.paid("charged", 9_000, split=plan)
        await front.share_out()
        await front.refund(names["charged"], 4_000)
        attempt = await front.attempt(names["charged"])
        front.shop.channel.disputes["dp_1"] = Dispute(
            "dp_1", attempt.reference, attempt.channel_ref or "", DisputeStatus.OPENED, Money(8_000, "CNY"),
            Money(1_500, "CNY"), "fraudulent", front.clock.now(),
        )  # fmt: skip
        await front.notice("dp_1", 0, kind="chargeback")
        half_price = Confirmed("ch-coupon", Money(5_000, "CNY"), front.clock.now(), Money(2_500, "CNY"))
        front.rail.says(pay=half_price)
        names["coupon"] = await front.paid("coupon", 5_000, split=plan)
        await front.share_out()
        await front.refund(names["coupon"], 1_000)
        names["failed"] = await front.paid("failed", 5_000)
        front.rail.says(refund=Refused("NO"))
        await front.refund(names["failed"], 700)
        front.rail.says(pay=Pending(QR), refund=Pending(channel_ref="ch"))
        await front.refund(names["giving_back"], 500)
        names["open"] = (await front.pay("open")).body["id"]
        names["late"] = (await front.pay("late")).body["id"]
        await front.post(f"/v1/payments/{names['late']}/close")
        await front.notice(front.asked("pay")[-1].reference, 10_000)
        front.rail.says(pay=Refused("BUSY", retriable=True))
        names["surplus"] = await front.paid("surplus")
        await front.notice(front.asked("pay")[-1].reference, 10_000)
        for rail in (front.rail, front.others["second"]):  # the one that was busy may not be asked first
            rail.says(pay=Pending(authorized=Money(10_000, "CNY")))
        names["held"] = (await front.pay("held", method={"type": "page"}, capture="manual")).body["id"]
        names["choosing"] = (await front.pay("choosing", method={"type": "cashier"})).body["id"]
        url = pg_server.server.admin_url.rpartition("/")[0] + "/sluice_payments_bite"
        superuser = await asyncpg.connect(url)
        await superuser.execute("SET session_replication_role = replica")
        yield superuser, names
        await superuser.close()
    await pg_server.admin.execute("DROP DATABASE sluice_payments_bite WITH (FORCE)")


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, faults in PLANTS.items() for fault in faults])
async def test_an_invariant_finds_the_fault_it_is_there_for(
    scene: tuple["asyncpg.Connection[asyncpg.Record]", dict[str, str]], name: str, fault: str
) -> None:
    superuser, names = scene
    check = INVARIANTS[name]
    assert await check(superuser) == []
    planting = superuser.transaction()
    await planting.start()
    try:
        await superuser.execute(PLANTS[name][fault].format(**names))
        found = await check(superuser)
        assert sorted(await daily(superuser, name)) == sorted(found)
    finally:
        await planting.rollback()
    hurt = next(ident for ident in names.values() if ident in PLANTS[name][fault].format(**names))
    refund_of_it = (name == "every_open_row_is_owned" and "refund" in fault) or "given back" in fault
    refund_of_it = refund_of_it or name in ("refunds_match_the_journal", "chargebacks_match_the_journal")
    refund_of_it = refund_of_it or "chargeback" in fault
    assert found
    assert all(hurt in one for one in found) or refund_of_it


async def test_every_invariant_has_a_fault_planted_for_it() -> None:
    assert set(PLANTS) == set(INVARIANTS)
