"""That the bank's README is true: its client runs, and its tables name what there is."""

import asyncio
import re
import sys
from pathlib import Path

from aiohttp import web

from sandbox.bank import install
from sandbox.clock import Clock
from sandbox.context import SandboxContext, Tasks
from sandbox.faults import FaultRefused, Faults
from sandbox.store import Store
from tests.sandbox.bank.bank_client import ROOT, Sandbox, read_report

README = (ROOT / "sandbox/bank/README.md").read_text(encoding="utf-8")


async def test_the_readmes_client_is_paid(sandbox: Sandbox, tmp_path: Path) -> None:
    (client,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "client.py"
    script.write_text(client, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), sandbox.url), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    report, _, balance = output.rpartition(b"payee has ")
    assert read_report(report.strip()).lines == [("SHARE-1", "ACSC", None)]
    assert balance.strip() == b"2550"


async def test_the_readme_names_every_door_and_every_fault(tmp_path: Path) -> None:
    store = Store(tmp_path / "sandbox.db")
    ctx = SandboxContext(tmp_path, "http://127.0.0.1:1", store, Faults(store), Clock(), Tasks())
    app = web.Application()
    install(app, ctx)
    for resource in app.router.resources():
        path = resource.canonical.removeprefix("/bank")
        assert f"`{path}" in README or f" {path}" in README, resource.canonical
    try:
        ctx.faults.order("bank", "no such fault", {}, 1, {})
    except FaultRefused as refused:
        known = str(refused).rpartition("known there: ")[2].split(", ")
    assert len(known) >= 8
    assert [name for name in known if f"`{name}`" not in README] == []
    store.close()
