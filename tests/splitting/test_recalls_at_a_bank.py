"""Recalls 追回 at the simulated bank, a process of its own: answers that are lost, money once, and the days agree."""

from datetime import timedelta
from pathlib import Path

from kernel.db import acquire
from ops.cases import decide
from splitting import store
from splitting.recalls.commands import Asked, RecallLines, RecallWithdrawal
from splitting.recalls.rules import number_at_bank
from splitting.recalls.store import find
from splitting.tables import Instruction
from splitting.withdrawals.rules import reference
from tests.splitting.play_bank import a_round
from tests.splitting.test_files_set_aside import waiting
from tests.splitting.test_withdrawals_at_a_bank import Yard, a_yard, differences
from tests.splitting.town import BANK

ASKED = Asked("UPAY", "to the wrong payee", "ada")


async def stands(yard: Yard, about: str, status: str) -> None:
    """Have rounds done until a recall stands so."""

    async def is_so() -> bool:
        async with acquire(yard.town.front.hub.pool) as connection:
            row = await find(connection, yard.town.front.book, about)
        return row is not None and row.status == status

    await yard.until(is_so)


async def line_of(yard: Yard, settlement_id: str) -> Instruction:
    async with acquire(yard.town.front.hub.pool) as connection:
        found = await store.instructions(connection, yard.town.front.book, settlement_id)
    return next(line for line in found if line.payee_id == yard.payee.id)


async def test_withdrawals_are_recalled_before_they_leave_and_after_and_the_days_agree(
    database_url: str, tmp_path: Path
) -> None:
    async with a_yard(database_url, tmp_path) as yard:
        put, book = yard.town.put, yard.town.front.book
        waits, paid, kept, late = [await yard.ask(minor, f"w-{minor}") for minor in (2_000, 1_000, 500, 40)]
        for row in (waits, late):
            await yard.fault("line_waits", {"end_to_end_id": reference(book, row.id)})
        await yard.fault("recall_undecided", {"end_to_end_id": reference(book, late.id)})
        await yard.fault("recall_agreed", {"end_to_end_id": reference(book, paid.id)})
        for row in (waits, late):
            await yard.becomes(row, "sent")
        for row in (paid, kept):
            await yard.becomes(row, "paid")
        for fault, row in (("request_lost", waits), ("answer_lost", paid)):
            await yard.fault(fault, {"op": "upload", "message_id": number_at_bank(book, row.id, 1)})
        for row in (waits, paid, kept, late):
            await put(RecallWithdrawal(book, row.id, ASKED))
        await stands(yard, waits.id, "accepted")
        await stands(yard, paid.id, "accepted")
        await stands(yard, kept.id, "refused")
        await yard.becomes(paid, "returned")
        await stands(yard, late.id, "pending")
        await yard.control("/bank/waiting", {"end_to_end_id": reference(book, late.id)})
        await yard.becomes(late, "paid")
        await stands(yard, late.id, "overtaken")
        await yard.control("/bank/recalls", {"recall_id": number_at_bank(book, late.id, 1), "agrees": True})
        await yard.becomes(late, "returned")
        await stands(yard, late.id, "accepted")
        assert ((await yard.now(waits)).status, (await yard.now(waits)).reason) == ("refused", "recalled (UPAY)")
        assert [await yard.debits(row) for row in (waits, paid, kept)] == [[], [-1_000, 1_000], [-500]]
        assert await yard.has("withdrawable_minor", 9_940 - 500)
        day = (await yard.now(kept)).bank_date
        assert day is not None
        await yard.control("/bank/close-day", {"date": day.isoformat()})
        assert await differences(yard, day) == []


async def test_lines_are_recalled_before_they_are_paid_and_after_and_go_out_again_once_they_are_released(
    database_url: str, tmp_path: Path
) -> None:
    async with a_yard(database_url, tmp_path) as yard:
        hub, book, today = yard.town.front.hub, yard.town.front.book, yard.town.today
        settled = []
        pool = (await hub.banks.link(book, BANK)).pool_account
        more = {"account": pool, "amount_minor": 2 * 994, "end_to_end_id": "WX20261125"}
        await yard.control("/bank/deposits", more)
        await a_round(yard.bank_worker)
        for number, fault in enumerate(("line_waits", "recall_undecided"), 1):
            await yard.town.front.paid(f"more-{number}", 1_000, split=[{"payee": yard.payee.id, "remainder": 1}])
            await yard.town.front.share_out()
            account = {"creditor_account": yard.payee.bank_account or ""}
            if fault == "line_waits":
                await yard.fault(fault, account)
            day = today + timedelta(days=number)
            batch = await hub.banks.settle(
                book, BANK, day, "CNY", execution_date=day, not_before=yard.town.front.clock.now()
            )
            assert batch is not None
            line = await line_of(yard, batch.id)
            if fault == "recall_undecided":
                await yard.fault(fault, {"end_to_end_id": line.id})

                async def is_paid(batch_id: str = batch.id) -> bool:
                    return (await line_of(yard, batch_id)).status == "paid"

                await yard.until(is_paid)
            await yard.town.put(RecallLines(book, batch.id, [line.id], ASKED))
            settled.append((batch.id, line))
        (first, waited), (second, paid) = settled
        await stands(yard, waited.id, "accepted")
        assert (await line_of(yard, first)).status == "refused"
        await stands(yard, paid.id, "pending")
        await yard.control("/bank/recalls", {"recall_id": number_at_bank(book, paid.id, 1), "agrees": True})
        await stands(yard, paid.id, "accepted")

        async def is_back() -> bool:
            return (await line_of(yard, second)).status == "returned"

        await yard.until(is_back)
        assert (await line_of(yard, second)).return_reason == "FOCR"
        day = today + timedelta(days=3)
        assert await hub.banks.settle(
            book, BANK, day, "CNY", execution_date=day, not_before=yard.town.front.clock.now()
        ) is None, "both are held"  # fmt: skip
        for case in await waiting(yard.town):
            assert case.kind == "payout_recalled"
            await decide(hub, case.id, "release", by="Wang", note="the account is right")
        batch = await hub.banks.settle(
            book, BANK, day, "CNY", execution_date=day, not_before=yard.town.front.clock.now()
        )
        assert batch is not None
        assert batch.total_minor == waited.amount_minor + paid.amount_minor

        async def is_there() -> bool:
            return await yard.has("sub_account_minor", 9_940 + batch.total_minor)

        await yard.until(is_there)
        link = await hub.banks.link(book, BANK)
        there = await hub.banks.client(link).account(yard.payee.bank_account or "")
        assert there.balance_minor == 9_940 + batch.total_minor
