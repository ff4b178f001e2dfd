"""The page on backup and restore, typed: a dump and the secrets, restored elsewhere, are the same hub."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.embedded.programs import find_postgres
from tests.conftest import TestServer as PostgresServer
from tests.docs.pages import ROOT, section_of
from tests.gateway.front import a_front, another_process


def typed(section: str) -> str:
    text = section_of((ROOT / "docs" / "backup.md").read_text("utf-8"), section)
    (block,) = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.mark.asyncio(loop_scope="session")
async def test_what_the_page_says_brings_everything_back(
    pg_server: PostgresServer, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    name = database_url.rpartition("/")[2] + "_restored"
    new_url, old_home, new_home = pg_server.url(name), tmp_path / "old", tmp_path / "new"
    await pg_server.admin.execute(f"create database {name} owner sluice")
    old_home.mkdir()
    programs = f"{find_postgres(None).path.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
        "PATH": programs,
        "BACKUP": str(tmp_path / "backup"),
        "SLUICE_HOME": str(old_home),
        "SLUICE_DATABASE_URL": database_url,
        "SLUICE_REDIS_URL": redis_url,
        "NEW_HOME": str(new_home),
        "NEW_DATABASE_URL": new_url,
    }

    def bash(script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        async with a_front(database_url, old_home) as front:
            paid = await front.paid()
            await asyncio.to_thread(bash, typed("Take a backup"))
            lost = await front.paid("after-the-backup")
            said = await asyncio.to_thread(bash, typed("Restore"))
            assert ", 0 broken" in said
            assert "nothing to apply" in said
            async with another_process(front, new_url, new_home) as restored:
                assert (await restored.payment(paid))["status"] == "succeeded"  # by the API key of before
                assert (await restored.get(f"/v1/payments/{lost}")).status == 404
                refund = await restored.refund(paid, key="after-the-restore")  # by the rail's sealed credentials
                assert refund.body["status"] == "succeeded", refund.body
                await restored.assert_books_hold()
    finally:
        await pg_server.admin.execute(f"drop database {name} with (force)")
