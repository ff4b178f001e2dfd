"""Migrations 0034 and 0035: what was set aside is a file like any, and a batch of before is sent as it was."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest_asyncio

import splitting
from cases.tables import case_id
from ops.migrate import MIGRATIONS, migrate
from splitting.banks.fates import SET_ASIDE, file_key

FILE = {
    "file_id": "camt.054-0", "type": "camt.054", "name": "0.xml", "business_date": "2026-11-24", "created_at": "",
    "sha256": "AB" * 32, "original_message_id": None, "original_file_id": None, "odd": False,
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def empty_url(pg_server: Any) -> AsyncIterator[str]:
    """The address of a database without any schema."""
    await pg_server.admin.execute("create database sluice_files_before owner sluice")
    yield pg_server.url("sluice_files_before")
    await pg_server.admin.execute("drop database sluice_files_before with (force)")


async def test_what_was_set_aside_before_is_a_file_like_any(empty_url: str, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        if path.name < "0034":
            shutil.copy(path, tmp_path)
    await asyncio.to_thread(migrate, empty_url, tmp_path)
    connection = await asyncpg.connect(empty_url)
    nothing = "decode(repeat('00', 32), 'hex')"
    await connection.execute(f"INSERT INTO book VALUES (1, 0, {nothing}, 0, {nothing}, now())")
    for name, status, decision in (("a", "open", None), ("b", "decided", "discard"), ("c", "decided", "gone")):
        facts = {"bank": "icbc", "file": {**FILE, "file_id": name}, "code": "not_xml", "why": "cut off"}
        about = f"icbc:{name}"
        await connection.execute(
            "INSERT INTO case_file (book, id, kind, about, facts, status, opened_at, opened_count, decision, "
            "decided_by, decided_at) VALUES (1, $1, $2, $3, $4, $5, now(), 1, $6, $7, $8)",
            case_id(1, SET_ASIDE, about), SET_ASIDE, about, orjson.dumps(facts).decode(), status, decision,
            decision and "Wang", None if decision is None else await connection.fetchval("SELECT now()"),
        )  # fmt: skip
    await connection.execute(
        "INSERT INTO settlement VALUES (1, 'stl_1', 'icbc', '2026-11-24', '2026-11-25', 'CNY', 'created', 1, 1, 1, 0, "
        "now(), now())"
    )
    for path in MIGRATIONS.glob("*.sql"):
        shutil.copy(path, tmp_path)
    await asyncio.to_thread(migrate, empty_url, tmp_path)
    found = {file.file_id: file for file in await splitting.store.bank_files(connection, 1)}
    assert {name: file.fate for name, file in found.items()} == {
        "a": "quarantined",
        "b": "discarded",
        "c": "applied",
    }
    assert {name: file.id for name, file in found.items()} == {
        name: file_key(1, "icbc", name, str(FILE["sha256"])) for name in found
    }
    assert (found["b"].fate_by, found["a"].sha256, found["a"].why) == ("Wang", None, "cut off")
    assert await splitting.store.bank_files_are_kept(connection) == []
    (batch,) = await splitting.store.settlements(connection, 1)
    assert (batch.written_as, batch.returned_minor, batch.debtor_name) == (0, 0, None)
    await connection.close()
