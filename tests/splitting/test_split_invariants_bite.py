"""Every invariant of splits and settlements is clean over an ordinary day, and finds each fault planted in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import asyncpg
import pytest

from channels.contract import Refused
from channels.sharing import ReceiverKind
from ops.cases import decide
from splitting import INVARIANTS, RAILS, CreatePayee, Payee
from tests.conftest import TestServer as PostgresServer
from tests.ops.daily import daily
from tests.splitting import test_recalls, test_withdrawals
from tests.splitting.play_bank import a_town_with_a_bank, all_read
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.test_files_set_aside import waiting
from tests.splitting.town import BANK, DAY, FARM, MILL, PLATFORM, Town

PLANTS = {
    "split_plans_are_what_was_agreed_to": {
        "another document": "UPDATE split_plan_version SET written_out = jsonb_set(written_out::jsonb, "
        "'{lines,0,basis_points}', '51')::json WHERE version = 1",
        "another hash": "UPDATE split_plan_version SET hash = sha256('x') WHERE version = 1",
        "an active version that the plan does not name": "UPDATE split_plan SET active = NULL",
        "a version that the plan names and is not active": "UPDATE split_plan_version SET status = 'retired' "
        "WHERE status = 'active'",
        "a version that is not there": "DELETE FROM split_plan_version WHERE version = 2",
    },
    "splits_keep_a_version_that_was_active": {
        "a version that is gone": "DELETE FROM split_plan_version WHERE version = 1",
        "a payment shared out by a draft": "UPDATE split SET asked = replace(asked::text, '\"version\":1', "
        "'\"version\":2')::json",
    },
    "shares_sum_to_the_net": {
        "a unit too much": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{1,1}', '3001')::json",
        "a unit too little": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{1,1}', '2999')::json",
        "a share that is not there": "UPDATE split SET shares = (shares::jsonb - 1)::json",
        "no share at all": "UPDATE split SET shares = '[]'",
        "a coupon": "UPDATE split SET coupon_minor = 1",
        "another fee": "UPDATE split SET fee_minor = fee_minor + 1",
        "more taken back than given": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{1,2}', '3001')::json",
        "less than nothing taken back": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{1,2}', '-1')::json",
    },
    "shares_match_the_journal": {
        "a share of another amount": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{1,1}', '1')::json",
        "a share given back that was not": "UPDATE split SET shares = jsonb_set(shares::jsonb, '{1,2}', '1')::json",
        "a share that was not booked": "DELETE FROM transfer WHERE id LIKE 'pay_%:share:1'",
        "a share booked otherwise": "UPDATE transfer SET amount_minor = 1 WHERE id LIKE 'pay_%:share:1'",
        "a share given that nobody has": "UPDATE split SET shares = (shares::jsonb - 2)::json",
    },
    "instructions_match_the_journal": {
        "a line in transit that is called paid": f"UPDATE instruction SET status = 'paid' WHERE payee_id = '{MILL}'",
        "a line in transit called refused": f"UPDATE instruction SET status = 'refused' WHERE payee_id = '{MILL}'",
        "a paid line that is called refused": f"UPDATE instruction SET status = 'refused' WHERE payee_id = '{FARM}'",
        "a paid line that is in transit": f"UPDATE instruction SET status = 'in_transit' WHERE payee_id = '{FARM}'",
        "a line of another amount": f"UPDATE instruction SET amount_minor = 1 WHERE payee_id = '{FARM}'",
        "a line that is not there": f"DELETE FROM instruction WHERE payee_id = '{MILL}'",
        "a line that was not sent": "DELETE FROM transfer WHERE id LIKE '%:sent' AND debit LIKE 'payee:' || "
        f"'{MILL}' || ':%'",
        "a payment that was not booked": "DELETE FROM transfer WHERE rule = 'settlement_paid'",
        "a paid line that is called returned": f"UPDATE instruction SET status = 'returned', returned_on = "
        f"bank_date, returned_at = now() WHERE payee_id = '{FARM}'",
    },
    "batches_match_their_lines": {
        "a batch that is called finished": "UPDATE settlement SET status = 'finished'",
        "another total": "UPDATE settlement SET total_minor = total_minor + 1",
        "another count": "UPDATE settlement SET instruction_count = instruction_count + 1",
        "an open line too many": "UPDATE settlement SET open_count = open_count + 1",
        "a unit paid too much": "UPDATE settlement SET paid_minor = paid_minor + 1",
        "a line of another amount": f"UPDATE instruction SET amount_minor = 1 WHERE payee_id = '{FARM}'",
        "a line decided in silence": f"UPDATE instruction SET status = 'paid' WHERE payee_id = '{MILL}'",
        "a line that is not there": f"DELETE FROM instruction WHERE payee_id = '{MILL}'",
        "a unit come back too much": "UPDATE settlement SET returned_minor = returned_minor + 1",
    },
    "platform_holds_fees_alone": {
        "principal that is called a commission": "INSERT INTO transfer SELECT book, 'forged', seq + 1000, posting, "
        "'commission', step, debit, 'platform_fee:CNY', amount_minor, currency, hold_id, business_date, recorded_at, "
        f"hash FROM transfer WHERE rule = 'share' AND credit = 'payee:{MILL}:CNY'",
        "a share of a payee's that is called a commission": "UPDATE transfer SET rule = 'commission', "
        f"credit = 'platform_fee:CNY' WHERE rule = 'share' AND credit = 'payee:{MILL}:CNY'",
        "more than the split gives the platform": "UPDATE transfer SET amount_minor = 51 WHERE rule = 'commission'",
        "a commission of no payment": "UPDATE transfer SET id = 'again' WHERE rule = 'commission'",
        "a commission that was never taken, given again": "UPDATE transfer SET id = 're_1:again:0' "
        "WHERE rule = 'commission'",
        "a payment captured straight to the platform": "UPDATE transfer SET credit = 'platform_fee:CNY' "
        "WHERE rule = 'payment_captured' AND amount_minor = 10000 AND id LIKE "
        "(SELECT payment_id FROM split WHERE json_array_length(shares) = 3) || '%'",
        "a share in an account of the platform's": f"UPDATE transfer SET credit = 'payee:{PLATFORM}:CNY' "
        f"WHERE rule = 'share' AND credit = 'payee:{MILL}:CNY'",
        "a payee's payout into the platform's account": f"UPDATE transfer SET credit = 'sub_account:{PLATFORM}:CNY' "
        "WHERE rule = 'settlement_paid'",
        "a payee that becomes the platform's": "UPDATE payee SET kind = 'platform', fees_apart = true "
        f"WHERE id = '{MILL}'",
        "a refused payout of a payee's that goes to the platform": "UPDATE transfer SET rule = 'commission_refused', "
        "debit = 'in_transit:citybank:CNY', credit = 'platform_fee:CNY' WHERE rule = 'settlement_paid'",
    },
    "bank_files_are_kept": {
        "bytes that are not there": "DELETE FROM bank_file_content WHERE sha256 = (SELECT sha256 FROM bank_file "
        "WHERE file_id = 'camt.054-0')",
        "bytes of another length": "UPDATE bank_file SET size = size + 1 WHERE file_id = 'camt.054-0'",
        "a file quarantined in silence": "UPDATE bank_file SET fate = 'quarantined', code = 'c', why = 'w' "
        "WHERE file_id = 'camt.054-0'",
        "one whose case is closed": "UPDATE case_file SET status = 'decided', decision = 'gone', decided_by = 'x', "
        "decided_at = now() WHERE kind = 'bank_file_set_aside'",
    },
    "openings_are_asked_about": {
        "an account that is being opened, and no bank is asked": "UPDATE payee SET account_status = 'opening', "
        f"bank_account = NULL WHERE id = '{MILL}'",
        "a bank that is asked for an account that is open": "INSERT INTO account_opening SELECT book, id, 1, NULL, "
        f"now(), NULL FROM payee WHERE id = '{MILL}'",
    },
    "refused_batches_are_asked_about": {
        "a refused batch that nobody is asked about": "UPDATE settlement SET status = 'refused'",
    },
    "suspense_is_asked_about": {
        "money that nobody is asked about": "DELETE FROM case_file WHERE kind = 'money_in_suspense' AND "
        "status = 'open'",
    },
    "suspense_leaves_with_its_case": {
        "money that has left, and is asked about": "UPDATE case_file SET status = 'open' WHERE "
        "kind = 'money_in_suspense' AND status = 'decided'",
        "money that stays, and is asked about no more": "UPDATE case_file SET status = 'decided', decision = 'gone', "
        "decided_by = 'x', decided_at = now() WHERE "
        "kind = 'money_in_suspense' AND status = 'open'",
        "another amount": "UPDATE case_file SET amount_minor = 1 WHERE kind = 'money_in_suspense' AND status = 'open'",
        "a booking that is not there": "DELETE FROM transfer WHERE rule = 'unidentified_in' AND amount_minor = 7000",
    },
}

# Of what is sold after the others were looked for.
LATER = {
    "platform_holds_fees_alone": {
        "a frozen commission that brings more": "UPDATE transfer SET amount_minor = amount_minor + 1 "
        "WHERE id LIKE 'pay_%:frozen:1:0:released'",
        "principal released as a commission": "UPDATE transfer SET rule = 'commission', credit = 'platform_fee:CNY' "
        "WHERE id LIKE 'pay_%:frozen:0:0:released'",
    },
    "frozen_shares_are_held": {
        "a hold that is gone": "DELETE FROM hold WHERE id LIKE 'pay_%:frozen:0:0' AND state = 'held'",
        "a hold that stands though it was released": "UPDATE hold SET state = 'held', posted_minor = 0 "
        "WHERE id LIKE 'pay_%:frozen:0:0' AND state = 'posted'",
        "another sum": "UPDATE split SET frozen_minor = frozen_minor + 1 WHERE frozen_minor > 0",
        "a date that would be passed over": "UPDATE split SET release_on = NULL WHERE release_on IS NOT NULL",
    },
    "debts_match_the_journal": {
        "a debt of no taking back": "DELETE FROM transfer WHERE id = (SELECT transfer_id FROM payee_debt)",
        "a debt of more than was taken": "UPDATE payee_debt SET amount_minor = amount_minor + 1, "
        "owed_minor = owed_minor + 1",
    },
    "debts_cover_what_payees_lack": {
        "a debt that is gone": "DELETE FROM payee_debt",
        "an account that lacked more than its debts": "UPDATE payee_debt SET owed_minor = owed_minor + 1",
    },
}

_FIRST = "id = (SELECT min(id) FROM share_order)"
_PLANNED = "payment_id = (SELECT payment_id FROM share_order WHERE status = 'planned')"


def _put(table: str, column: str, place: str, value: str, where: str) -> str:
    """Return the statement that puts a value into a column's JSON."""
    return f"UPDATE {table} SET {column} = jsonb_set({column}::jsonb, '{{{place}}}', '{value}')::json WHERE {where}"


# Of what rails share out.
BY_RAIL = {
    "share_orders_match_the_journal": {
        "a part that was paid and is called closed": _put("share_order", "parts", "0,6", '"closed"', _FIRST),
        "a part of another amount": _put("share_order", "parts", "0,5", "1", _FIRST),
        "a part that is gone": f"UPDATE share_order SET parts = (parts::jsonb - 1)::json WHERE {_FIRST}",
        "a payment by the rail that was not booked": "DELETE FROM transfer WHERE id = (SELECT min(id) FROM transfer "
        "WHERE rule = 'share_paid_by_rail')",
        "a fetching-back that is called done": "UPDATE share_return SET status = 'done', done_on = '2100-06-01', "
        "due_at = NULL WHERE id = (SELECT min(id) FROM share_return WHERE status = 'refused')",
        "one that was booked and is called refused": "UPDATE share_return SET status = 'refused', done_on = NULL "
        "WHERE id = (SELECT min(id) FROM share_return WHERE status = 'done')",
        "more fetched back than is noted": _put("share_order", "parts", "0,7", "0", _FIRST),
        "an order that has ended with a part open": "UPDATE share_order SET status = 'finished', due_at = NULL "
        "WHERE status = 'planned'",
    },
    "at_rails_is_what_is_open": {
        "more in transit than is open": "UPDATE account SET credits = credits + 1 WHERE name LIKE 'rail_transit:%'",
        "a part that is open again": _put("share_order", "parts", "0,6", '"open"', _FIRST),
    },
    "shares_go_one_way": {
        "a share that was to go by bank": _put("split", "shares", "0,5", '""', _PLANNED),
        "more by the rail than the share is": _put("split", "shares", "0,1", "1", _PLANNED),
        "another payee's share": _put("share_order", "parts", "0,1", f'"{MILL}"', _PLANNED),
    },
    "open_fetchings_back_are_counted": {
        "a refund that would wait for nothing": f"UPDATE rail_payment SET returns_open = 1 WHERE {_PLANNED}",
    },
    "what_is_frozen_at_rails_is_released": {
        "a payment whose rest nothing releases": f"UPDATE rail_payment SET is_last = false WHERE {_PLANNED}",
        "an order that nobody counted": f"UPDATE rail_payment SET order_count = order_count + 1 WHERE {_PLANNED}",
    },
    "platform_holds_fees_alone": {
        "principal that is fetched back for the platform": "UPDATE transfer SET rule = 'commission_fetched_back', "
        "credit = 'platform_fee:CNY' WHERE rule = 'share_fetched_back'",
        "more fetched back than a commission": "UPDATE transfer SET amount_minor = amount_minor + 1 "
        "WHERE rule = 'commission_fetched_back'",
    },
}


async def _sold_by_a_plan(town: Town) -> None:
    """Sell once more, by the first version of a plan that is kept; a second is a draft."""
    front, document = town.front, {"version": 1, "lines": [{"name": "farm", "payee": FARM, "basis_points": 50}]}
    plans = front.hub.split_plans
    plan, row = await plans.make(front.book, name="tea", currency="CNY", document=document, maker="ada")
    await plans.activate(front.book, plan.id, 1, hash=row.hash, checker="bo")
    await plans.add(front.book, plan.id, document={**document, "base": "paid"}, maker="ada")
    await front.paid("by-a-plan", split_plan={"id": plan.id})


async def _sold_and_frozen(town: Town) -> None:
    """Sell twice, with the farm's share frozen until delivery or a date; the second one is delivered."""
    front = town.front
    lines = [
        {"name": "farm", "payee": FARM, "basis_points": 50},
        {"name": "hub", "payee": PLATFORM, "basis_points": 100},
    ]
    document = {"version": 1, "lines": lines, "release": [{"when": "delivery", "days": 90}]}
    await front.paid("frozen", split_plan={"document": document})
    delivered = await front.paid("delivered", split_plan={"document": document})
    await front.share_out()
    await front.hub.releases.deliver(front.book, delivered)


async def _shared_out_by_the_rail(town: Town) -> None:
    """Have the rail pay the farm and the platform; fetch one refund's part back and not another's; plan an order."""
    front = town.front
    for number, payee in enumerate((FARM, PLATFORM)):
        await front.hub.receivers.set(
            front.book, payee, "rail", kind=ReceiverKind.MERCHANT, account=f"190000000{number}", by="ada"
        )
    rails = front.hub.rail_worker()
    await rails.once()
    lines = [
        {"name": "farm", "payee": FARM, "basis_points": 50, "travels": "rail"},
        {"name": "hub", "payee": PLATFORM, "basis_points": 100, "travels": "rail"},
    ]
    plan = {"document": {"version": 1, "lines": lines}}
    for number in ("fetched", "kept"):
        payment = await front.paid(number, split_plan=plan)
        await front.share_out()
        front.clock.forward(60)
        await rails.once()
        if number == "kept":
            front.rail.says(give_back=Refused("BALANCE_NOT_ENOUGH", closed=True))
        await front.refund(payment)
        await rails.once()
    await front.paid("planned", 40_000, split_plan={"document": {"version": 1, "lines": lines[:1]}})
    await front.share_out()


async def _given_back_after_it_was_paid(town: Town) -> None:
    """Sell to a payee that nothing else is sold to, have it paid, and give all back."""
    front = town.front
    kiln = Payee(front.book, "pye_" + "3" * 26, "kiln", "supplier", "CNY", BANK, "6200333", front.clock.now())
    await front.hub.lanes.put(CreatePayee(kiln))
    payment = await front.paid("kiln", split=[{"payee": kiln.id, "remainder": 1}])
    await front.share_out()
    await town.settle(town.today + DAY)
    await front.refund(payment)


@pytest.mark.asyncio(loop_scope="session")
async def test_an_invariant_finds_each_fault_it_is_there_for(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()
        await _sold_by_a_plan(town)
        await town.settle(town.today)
        await town.decide(town.today, FARM, paid=True)
        strangers = (notice(entry(amount, ref=amount, end_to_end="WHO"), message=amount) for amount in ("70", "80"))
        bank.says("camt.054", *strangers, notice()[:-9])
        await all_read(town, bank, bank_worker)
        for _ in range(2):
            for case in await waiting(town):
                decision = {"booking_unidentified": "suspend", "money_in_suspense": "gone_back"}.get(case.kind)
                if decision and not (decision == "gone_back" and case.amount_minor == 7_000):
                    await decide(town.front.hub, case.id, decision, by="Wang", note="why")
        url = pg_server.server.admin_url.rpartition("/")[0] + "/" + database_url.rpartition("/")[2]
        superuser = await asyncpg.connect(url)
        await superuser.execute("SET session_replication_role = replica")
        await _each_is_found(superuser, PLANTS)
        await _sold_and_frozen(town)
        await _given_back_after_it_was_paid(town)
        await _each_is_found(superuser, LATER)
        rails = cast(dict[str, Any], RAILS)
        with patch.dict(rails, {town.front.shop.channel.name: RAILS["wechat"]}):
            await _shared_out_by_the_rail(town)
        await _each_is_found(superuser, BY_RAIL)
        await superuser.close()


async def _each_is_found(superuser: asyncpg.Connection, plants: Mapping[str, Mapping[str, str]]) -> None:
    for name, faults in plants.items():
        assert await INVARIANTS[name](superuser) == []
        for fault, plant in faults.items():
            planting = superuser.transaction()
            await planting.start()
            await superuser.execute(plant)
            found = await INVARIANTS[name](superuser)
            assert await daily(superuser, name) == found
            await planting.rollback()
            assert len(found) == 1, f"{name} does not see {fault}"


def test_every_invariant_has_a_fault_planted_for_it() -> None:
    assert {*PLANTS, *LATER, *BY_RAIL, *test_withdrawals.PLANTS, *test_recalls.PLANTS} == set(INVARIANTS)
