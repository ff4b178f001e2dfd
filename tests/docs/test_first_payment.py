"""That the README's first payment can be made: every command it prints is typed, in a hub started for it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ops.supervisor import find_run
from tests.docs.pages import ROOT, section_of
from tests.ops.trials.replay.running import free_ports

PORTS = {"SLUICE_GATEWAY_PORT": "8400", "SLUICE_OPS_PORT": "8401", "SLUICE_SANDBOX_PORT": "8410"}


@pytest.fixture
def hub(home: Path) -> Iterator[Mapping[str, str]]:
    """Run `sluice up` on ports of its own; gives the environment in which a second shell reaches it."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, **ports, "SLUICE_HOME": str(home), "PATH": programs}
    # With the sandbox's clock ten times as fast a refund does not take its five seconds.
    started = subprocess.Popen(
        [sys.executable, "-m", "ops.cli", "up"],
        cwd=ROOT,
        env={**environment, "SLUICE_TIME_SCALE": "0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    log = home / "up.log"
    reader = subprocess.Popen(["cat"], stdin=started.stdout, stdout=log.open("wb"))
    try:
        give_up_at = time.monotonic() + 300
        while find_run(home) is None:
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
        yield environment
    finally:
        started.send_signal(signal.SIGTERM)
        assert started.wait(200) == 0
        reader.wait(100)


def shell_blocks() -> list[str]:
    section = section_of((ROOT / "README.md").read_text("utf-8"), "Take a payment in five minutes")
    return re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(480)  # longer than the commands themselves may take
def test_the_readmes_commands_take_a_payment_and_give_a_part_of_it_back(
    hub: Mapping[str, str], home: Path, tmp_path: Path
) -> None:
    blocks = shell_blocks()
    assert len(blocks) == 6
    script = "\n".join(blocks)
    # What differs from the reader's shell: the environment is entered already, and other ports are free.
    assert script.count(". .venv/bin/activate\n") == 1
    script = script.replace(". .venv/bin/activate\n", "")
    for name, port in PORTS.items():
        script = script.replace(f":{port}", f":{hub[name]}")
    (tmp_path / ".sluice").symlink_to(home)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{script}\necho "$MADE" > made.json'],
        cwd=tmp_path,
        env=hub,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = json.loads(next(line for line in done.stdout.splitlines() if '"seq"' in line))["data"]
    assert [event["type"] for event in events] == [
        "channel_account.added",
        "payment.created",
        "payment.requires_action",
        "payment.succeeded",
        "refund.created",
        "refund.succeeded",
    ]
    balances = json.loads(next(line for line in done.stdout.splitlines() if '"kind"' in line))["data"]
    # As the README reckons: 12.50 − 0.08 − 2.50 + 0.02.
    assert {row["account"]: row["balance"] for row in balances}["channel:main:CNY"] == 994
