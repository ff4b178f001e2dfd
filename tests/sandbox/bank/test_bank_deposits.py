"""Money from outside the bank, as a channel of the same process announces it: Bank.credit, with the real store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.bank.errors import Refused
from sandbox.bank.service import Bank
from sandbox.clock import Clock
from sandbox.context import SandboxContext, Tasks
from sandbox.faults import FaultRefused, Faults
from sandbox.store import Store


@dataclass
class Scene:
    """A bank with one customer's pool account, and today's date there."""

    ctx: SandboxContext
    bank: Bank
    pool: str
    today: date

    def announce(self, amount_minor: int, **given: Any) -> None:
        with self.ctx.store.transaction() as tx:
            self.bank.credit(tx, **{**self.net(amount_minor), **given})

    def net(self, amount_minor: int) -> dict[str, Any]:
        return {
            "account": self.pool,
            "amount_minor": amount_minor,
            "end_to_end_id": "WX190000010920101201",
            "remittance": "WXPAY 1900000109 2010-12-01",
            "payer_name": "财付通",
            "book_on": self.today + timedelta(days=1),
            "mchid": "1900000109",
            "settled_date": self.today,
        }

    @property
    def balance(self) -> int:
        account = self.bank.find_account(self.pool)
        assert account is not None
        return account.balance_minor


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    store = Store(tmp_path / "sandbox.db")
    ctx = SandboxContext(tmp_path, "http://127.0.0.1:1", store, Faults(store), Clock(), Tasks(), 0.01)
    bank = await asyncio.to_thread(Bank, ctx)
    customer = (await bank.enrol("收单商户")).customer
    account, _ = await bank.open_account(customer, reference="pool", name="pool", currency="CNY", kind="pool")
    yield Scene(ctx, bank, account.number, bank.business_date)
    store.close()


async def test_a_net_waits_for_its_day_and_is_booked_when_the_day_before_is_closed(scene: Scene) -> None:
    scene.announce(12_34)
    assert scene.balance == 0
    await scene.bank.days.close_day(scene.today)
    assert scene.balance == 12_34


async def test_a_net_whose_day_has_come_is_booked_at_once(scene: Scene) -> None:
    await scene.bank.days.close_day(scene.today)
    scene.announce(12_34)
    assert scene.balance == 12_34


async def test_announcing_a_net_twice_books_it_once_before_and_after_its_day(scene: Scene) -> None:
    scene.announce(12_34)
    scene.announce(12_34)
    await scene.bank.days.close_day(scene.today)
    scene.announce(12_34)
    await scene.bank.days.close_day(scene.today + timedelta(days=1))
    assert scene.balance == 12_34


async def test_a_negative_net_is_drawn_even_below_zero(scene: Scene) -> None:
    scene.announce(-5_00, book_on=scene.today)
    assert scene.balance == -5_00


async def test_a_net_of_zero_leaves_no_entry(scene: Scene) -> None:
    scene.announce(0, book_on=scene.today)
    assert scene.ctx.store.all("SELECT * FROM bank_entry") == []


async def test_a_net_announced_in_a_transaction_that_fails_was_never_announced(scene: Scene) -> None:
    def announce_and_break() -> None:
        with scene.ctx.store.transaction() as tx:
            scene.bank.credit(tx, **{**scene.net(12_34), "book_on": scene.today})
            raise RuntimeError("the channel broke")

    with pytest.raises(RuntimeError, match="the channel broke"):
        announce_and_break()
    assert scene.balance == 0
    scene.announce(12_34, book_on=scene.today)
    assert scene.balance == 12_34


async def test_a_net_for_an_unknown_account_is_refused(scene: Scene) -> None:
    with pytest.raises(Refused, match="no account 0"):
        scene.announce(1, account="0")


@pytest.mark.parametrize(
    ("fault", "params", "booked"), [("deposit_missing", {}, 0), ("deposit_short", {"by_minor": 34}, 12_00)]
)
async def test_a_fault_ordered_before_the_booking_spoils_the_net_of_that_merchant_and_day_only(
    scene: Scene, fault: str, params: dict[str, int], booked: int
) -> None:
    scene.announce(12_34)
    scene.announce(50_00, mchid="1900000110", end_to_end_id="WX-OTHER-MERCHANT")
    scene.announce(70_00, settled_date=scene.today - timedelta(days=1), end_to_end_id="WX-OTHER-DAY")
    match = {"mchid": "1900000109", "date": scene.today.isoformat()}
    scene.ctx.faults.order("bank", fault, match, 1, params)
    await scene.bank.days.close_day(scene.today)
    assert scene.balance == 120_00 + booked
    assert [order.fired for order in scene.ctx.faults.listed()] == [1]


async def test_a_fault_with_nonsense_for_an_amount_is_refused_and_the_bank_goes_on(scene: Scene) -> None:
    with pytest.raises(FaultRefused, match="whole number"):
        scene.ctx.faults.order("bank", "deposit_short", {}, 1, {"by_minor": "much"})
    scene.announce(12_34, book_on=scene.today)
    assert scene.balance == 12_34


async def test_balances_are_always_the_sum_of_the_entries(scene: Scene) -> None:
    def unbalanced() -> list[str]:
        rows = scene.ctx.store.all(
            "SELECT number FROM bank_account WHERE balance_minor <> (SELECT coalesce(sum(CASE WHEN is_credit THEN"
            " amount_minor ELSE -amount_minor END), 0) FROM bank_entry WHERE account = number)"
        )
        return [row["number"] for row in rows]

    scene.announce(12_34, book_on=scene.today)
    scene.announce(-99, book_on=scene.today, end_to_end_id="WX-2")
    assert unbalanced() == []
    with scene.ctx.store.transaction() as tx:  # and the check bites
        tx.execute("UPDATE bank_account SET balance_minor = balance_minor + 1")
    assert unbalanced() == [scene.pool]
