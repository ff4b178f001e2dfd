"""The README's tables name what exists, all of it and nothing else."""

import re
from pathlib import Path

from sandbox_client import REPOSITORY, Sandbox

README = (Path(REPOSITORY) / "channels" / "sandbox" / "README.md").read_text()


def test_every_control_call_is_in_the_table(sandbox: Sandbox) -> None:
    offered = {call for call in sandbox.control("GET", "/info")["control"] if "/control/bank" not in call}
    written = set(re.findall(r"^\| `((?:GET|POST|PATCH|DELETE) [^`?]+)", README, re.MULTILINE))
    assert written == offered


def test_every_fault_is_in_the_table(sandbox: Sandbox) -> None:
    refusal = sandbox.control("POST", "/faults", {"rail": "wechat", "fault": "?"}, 400)
    offered = set(refusal["message"].split("known there: ")[1].split(", "))
    table = README.split("## Faults of rail")[1]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == offered
