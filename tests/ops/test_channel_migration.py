"""Migration 0002: channel accounts of before it keep what they were, and go on working."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from gateway.accounts.terms import Terms
from gateway.store import every_channel_account
from ops.migrate import MIGRATIONS, migrate

OLD = """
INSERT INTO book VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'), now()),
                        (2, 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'), now());
INSERT INTO channel_account (book, id, channel, state, fee_bp, settings, created_at) VALUES
    (1, 'second', 'wechat', 'draining', 60, '{"private_key_file": "/keys/a.pem"}', '2026-11-02T00:00:00Z'),
    (1, 'first', 'wechat', 'enabled', 0, '{"b":  1,"a": "x"}', '2026-11-01T00:00:00Z'),
    (2, 'first', 'wechat', 'off', 10000, '{}', '2026-11-03T00:00:00Z');
"""


@pytest_asyncio.fixture(loop_scope="session")
async def empty_url(pg_server: Any) -> AsyncIterator[str]:
    """The address of a database without any schema."""
    await pg_server.admin.execute("create database sluice_before owner sluice")
    yield pg_server.url("sluice_before")
    await pg_server.admin.execute("drop database sluice_before with (force)")


async def test_rows_of_before_keep_their_rate_their_order_and_their_settings(empty_url: str, tmp_path: Path) -> None:
    first, second = sorted(MIGRATIONS.glob("000[12]_*.sql"))
    shutil.copy(first, tmp_path)
    await asyncio.to_thread(migrate, empty_url, tmp_path)
    connection = await asyncpg.connect(empty_url)
    await connection.execute(OLD)
    shutil.copy(second, tmp_path)
    await asyncio.to_thread(migrate, empty_url, tmp_path)
    rows = {(row.book, row.id): row for row in await every_channel_account(connection)}
    await connection.close()
    assert {key: Terms.parse(row.terms).fees.basis_points for key, row in rows.items()} == {
        (1, "first"): 0,
        (1, "second"): 60,
        (2, "first"): 10_000,
    }
    assert {key: row.position for key, row in rows.items()} == {(1, "first"): 0, (1, "second"): 1, (2, "first"): 0}
    assert {row.state for row in rows.values()} == {"draining", "enabled", "off"}
    assert json.loads(rows[1, "second"].settings) == {"private_key_file": "/keys/a.pem"}
    assert rows[1, "first"].settings == '{"b":  1,"a": "x"}'
    for row in rows.values():
        assert (row.sealed, row.version, row.credentials_version, row.updated_at) == (None, 1, 1, row.created_at)
