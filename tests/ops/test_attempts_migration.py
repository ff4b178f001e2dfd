"""Migration 0003: payments of before it keep what they were, and what was open goes on."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from channels.contract import Confirmed
from gateway.payments.invariants import INVARIANTS
from gateway.payments.record_outcome import RecordOutcome
from gateway.store import find_attempt, find_payment, find_refund
from kernel.ids import reference
from kernel.money import Money
from kernel.work import perform
from ops.migrate import MIGRATIONS, migrate

PAID, OPEN, LATE = (f"pay_{n:026x}" for n in (1, 2, 3))
AT = "2026-11-24T08:00:00Z"
OLD = f"""
INSERT INTO book VALUES (1, 2, decode(repeat('00', 32), 'hex'), 1, decode(repeat('00', 32), 'hex'), '{AT}');
INSERT INTO account VALUES (1, 'channel:rail:CNY', 'CNY', 'debit', true, 20000, 120, 0, 10000),
                           (1, 'merchant:CNY', 'CNY', 'credit', false, 120, 20000, 10000, 0);
INSERT INTO payment (book, id, merchant_order_id, amount_minor, currency, method, description, status, attempt_count,
    captured_minor, fee_minor, refunding_minor, refunded_minor, refund_count, created_at, updated_at, expires_at,
    business_date) VALUES
    (1, '{PAID}', '1', 10000, 'CNY', 'qr', 'tea', 'succeeded', 1, 10000, 60, 0, 0, 0, '{AT}', '{AT}', '{AT}',
     '2026-11-24'),
    (1, '{OPEN}', '2', 10000, 'CNY', 'barcode', 'tea', 'processing', 1, 0, 60, 0, 0, 0, '{AT}', '{AT}', '{AT}', NULL),
    (1, '{LATE}', '3', 10000, 'CNY', 'qr', 'tea', 'canceled', 1, 10000, 60, 10000, 0, 1, '{AT}', '{AT}', '{AT}',
     '2026-11-23');
INSERT INTO attempt (book, payment_id, number, channel_account, channel, fee_bp, status, channel_ref, created_at,
    updated_at, due_at) VALUES
    (1, '{PAID}', 1, 'rail', 'scripted', 60, 'confirmed', 'ch-1', '{AT}', '{AT}', NULL),
    (1, '{OPEN}', 1, 'rail', 'scripted', 60, 'unknown', NULL, '{AT}', '{AT}', '{AT}'),
    (1, '{LATE}', 1, 'rail', 'scripted', 60, 'late', 'ch-3', '{AT}', '{AT}', NULL);
INSERT INTO refund VALUES (1, 're_{LATE[4:]}', '{LATE}', 1, NULL, 10000, 'CNY', 60, '[]', 'late', 'processing', NULL,
    NULL, NULL, 0, '{AT}', '{AT}', '{AT}', NULL);
INSERT INTO transfer SELECT 1, p || ':1:captured', n, p, 'payment_captured', 'post', 'channel:rail:CNY', 'merchant:CNY',
    10000, 'CNY', NULL, '2026-11-24', '{AT}', decode(repeat('00', 32), 'hex')
FROM (VALUES (1, '{PAID}'), (2, '{LATE}')) AS v(n, p);
INSERT INTO transfer SELECT 1, id, n, posting, rule, step, debit, credit, minor, 'CNY', NULL, '2026-11-24', '{AT}',
    decode(repeat('00', 32), 'hex')
FROM (VALUES
    (3, '{PAID}:1:fee', '{PAID}:1', 'channel_fee', 'post', 'merchant:CNY', 'channel:rail:CNY', 60),
    (4, '{LATE}:1:fee', '{LATE}:1', 'channel_fee', 'post', 'merchant:CNY', 'channel:rail:CNY', 60),
    (5, 're_{LATE[4:]}:fee', 're_{LATE[4:]}', 'channel_fee_returned', 'post', 'channel:rail:CNY', 'merchant:CNY', 60),
    (6, 're_{LATE[4:]}:refund', 're_{LATE[4:]}', 'refund', 'hold', 'merchant:CNY', 'channel:rail:CNY', 10000)
) AS v(n, id, posting, rule, step, debit, credit, minor);
INSERT INTO hold VALUES (1, 're_{LATE[4:]}:refund', 'merchant:CNY', 'channel:rail:CNY', 10000, 'CNY', 'held', 0, NULL);
INSERT INTO event SELECT 1, 1, 'payment.succeeded', '{PAID}', '{{}}', '{AT}', decode(repeat('00', 32), 'hex');
"""


@pytest_asyncio.fixture(loop_scope="session")
async def empty_url(pg_server: Any) -> AsyncIterator[str]:
    """The address of a database without any schema."""
    await pg_server.admin.execute("create database sluice_one_attempt owner sluice")
    yield pg_server.url("sluice_one_attempt")
    await pg_server.admin.execute("drop database sluice_one_attempt with (force)")


async def test_payments_of_before_keep_their_fee_their_winner_and_their_day(empty_url: str, tmp_path: Path) -> None:
    before = sorted(MIGRATIONS.glob("000[12]_*.sql"))
    for file in before:
        shutil.copy(file, tmp_path)
    await asyncio.to_thread(migrate, empty_url, tmp_path)
    connection = await asyncpg.connect(empty_url)
    await connection.execute(OLD)
    await asyncio.to_thread(migrate, empty_url)

    for payment_id, captured, day in ((PAID, 10_000, date(2026, 11, 24)), (LATE, 10_000, date(2026, 11, 23))):
        payment = await find_payment(connection, 1, payment_id)
        attempt = await find_attempt(connection, 1, payment_id, 1)
        assert payment is not None
        assert attempt is not None
        assert (payment.won_attempt, payment.capture_manual, payment.due_at) == (1, False, None)
        assert (attempt.captured_minor, attempt.business_date, attempt.fee_minor) == (captured, day, 60)
        assert (attempt.method, attempt.authorized_minor, attempt.capture_minor) == ("qr", 0, 0)
    open_payment, open_attempt = await find_payment(connection, 1, OPEN), await find_attempt(connection, 1, OPEN, 1)
    assert open_payment is not None
    assert open_attempt is not None
    assert (open_payment.won_attempt, open_attempt.captured_minor, open_attempt.business_date) == (0, 0, None)
    assert (open_attempt.method, open_attempt.fee_minor) == ("barcode", 60)
    refund = await find_refund(connection, 1, f"re_{LATE[4:]}")
    assert refund is not None
    assert (refund.retry_count, refund.reference) == (0, reference(1, f"re_{LATE[4:]}"))
    assert {name: await check(connection) for name, check in INVARIANTS.items()} == {name: [] for name in INVARIANTS}

    now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    paid = Confirmed("ch-2", Money(10_000, "CNY"), now)
    async with connection.transaction():
        settle = RecordOutcome(1, OPEN, 1, paid, timedelta(seconds=5), f"re_{OPEN[4:]}")
        (settled,) = await perform(connection, [settle], now)
    assert (settled.payment.status, settled.payment.won_attempt, settled.attempt.captured_minor) == (
        "succeeded", 1, 10_000,
    )  # fmt: skip
    await connection.close()
