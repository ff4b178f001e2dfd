"""Payments a bank's own files tell of: a transfer to one payment's account number, and its way back."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from channels import Method, Pending
from channels.banks import Entry
from gateway.payments.bank_credits import BankCredits
from kernel.money import Money
from ops.wiring import Hub
from tests.gateway.front import Front, a_front

POOL = "6200000000000000017"
TRANSFER = {"type": "transfer", "account": "6299000000000000421"}


def bank_credits_of(hub: Hub) -> BankCredits:
    return BankCredits(hub.payments, hub.pool)


def booking(front: Front, reference: str, minor: int, *, ref: str = "SBC1", end_to_end_id: str | None = None) -> Entry:
    now = front.clock.now()
    day = date(2026, 11, 24)
    return Entry(
        POOL, ref, end_to_end_id, Money(minor, "CNY"), day, creditor_ref=reference, accepted_at=now, remittance=""
    )


async def waiting(front: Front, method: str = "transfer") -> tuple[str, str]:
    """Return (payment id, reference) of a payment whose payer has still to pay."""
    rail = front.shop.channel
    rail.capabilities = replace(rail.capabilities, methods=rail.capabilities.methods | {Method.TRANSFER})
    front.rail.says(pay=Pending(next_action=TRANSFER))
    payment_id = (await front.pay(method={"type": method})).body["id"]
    return payment_id, front.asked("pay")[-1].reference


async def test_a_transfer_settles_its_payment_once_however_often_the_bank_tells(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        collected = bank_credits_of(front.hub)
        for _ in range(3):
            assert await collected.collected(front.book, booking(front, reference, 10_000)) == "rail"
        assert (await front.payment(payment_id))["status"] == "succeeded"
        assert (await front.events("payment.succeeded")) == ["payment.succeeded"]


async def test_a_transfer_of_another_amount_stays_with_the_rail_and_pays_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        account = await bank_credits_of(front.hub).collected(front.book, booking(front, reference, 9_999))
        assert account == "rail"  # its money is in custody; the daily proof finds that nothing of ours fits it
        assert (await front.payment(payment_id))["status"] == "requires_action"
        assert await front.balances() == {}


async def test_a_transfer_that_does_not_say_when_it_was_made_is_its_rails_all_the_same(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        told = replace(booking(front, reference, 10_000), accepted_at=None)
        assert await bank_credits_of(front.hub).collected(front.book, told) == "rail"
        assert (await front.payment(payment_id))["status"] == "requires_action"  # until the rail, asked, says when


async def test_a_transfer_for_nobody_of_this_book_belongs_to_no_channel(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        _, reference = await waiting(front)
        collected = bank_credits_of(front.hub)
        other_book = f"z{reference[reference.index('-') :]}"
        for strange in ("invoice 7", other_book, f"{reference[:-1]}2"):
            assert await collected.collected(front.book, booking(front, strange, 10_000)) is None


async def test_a_transfer_that_names_a_payment_of_another_rail_settles_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """A payer may write any reference: the same amount, sent under the number of an order that waits to be scanned."""
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front, "qr")
        assert await bank_credits_of(front.hub).collected(front.book, booking(front, reference, 10_000)) is None
        assert (await front.payment(payment_id))["status"] == "requires_action"
        assert await front.balances() == {}


async def test_money_sent_back_ends_its_refund_and_strange_returns_end_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        payment_id, reference = await waiting(front)
        collected = bank_credits_of(front.hub)
        await collected.collected(front.book, booking(front, reference, 10_000))
        front.rail.says(refund=Pending())
        refund = (await front.refund(payment_id, 4_000)).body
        number = front.asked("refund")[0].reference
        for name in ("", "1-nothing", reference):
            strange = booking(front, reference, -4_000, ref="SBR1", end_to_end_id=name)
            assert await collected.collected(front.book, strange) == "rail"
        assert (await front.payment(payment_id))["amount_refunding"] == 4_000
        back = booking(front, reference, -4_000, ref="SBR1", end_to_end_id=number)
        assert await collected.collected(front.book, back) == "rail"
        assert (await front.payment(payment_id))["amount_refunded"] == 4_000
        assert refund["status"] == "processing"
