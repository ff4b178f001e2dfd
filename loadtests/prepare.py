"""Take a merchant on for a load test, the way an operator would: by `sluice …` and the sandbox's control API.

It imports nothing of the hub's. The hub is the one that runs in SLUICE_HOME (default: .sluice here); where it listens
stands in SLUICE_HOME/run.json. Prints one JSON object, which locustfile.py reads.
    python -m loadtests.prepare
"""

import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FEE_BP = 60


def is_loopback(url: str) -> bool:
    """Tell whether an address is of this machine and leads nowhere else."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send JSON to an address of this machine, past any proxy, and return the answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def sluice(*arguments: str) -> str:
    """Run a `sluice` command and return what it printed."""
    beside = Path(sys.executable).with_name("sluice")
    program = str(beside) if beside.exists() else shutil.which("sluice")
    if program is None:
        raise SystemExit("there is no `sluice` command here; `make test` or `pip install -e .` puts one in place")
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"sluice {' '.join(arguments[:2])} ended with exit code {done.returncode}")
    return done.stdout


def prepare() -> dict[str, str]:
    """Take a merchant on with a WeChat Pay account at the sandbox; return how it is reached."""
    home = Path(os.environ.get("SLUICE_HOME", ".sluice"))
    try:
        run = json.loads((home / "run.json").read_text())
    except (OSError, ValueError):
        raise SystemExit(f"no hub runs in {home.absolute()}; start it with `sluice up`, or set SLUICE_HOME") from None
    hub_url, sandbox_url = run["gateway_url"], run["sandbox_url"]
    if not (is_loopback(hub_url) and is_loopback(sandbox_url)):
        raise SystemExit(f"{hub_url} and {sandbox_url}: load is put on this machine only")
    merchant = json.loads(sluice("merchant", "add", "load test", "--json"))
    wechat = post(f"{sandbox_url}/control/wechat/merchants", {"name": "load test", "fee_bp": FEE_BP})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as credentials:
        json.dump({**wechat, "base_url": sandbox_url}, credentials)
        credentials.flush()
        arguments = ("--book", str(merchant["book"]), "--credentials", credentials.name, "--fee-bp", str(FEE_BP))
        sluice("channel", "add", "wechat", *arguments)
    return {
        "hub_url": hub_url,
        "sandbox_url": sandbox_url,
        "api_key": merchant["api_key"],
        "mchid": wechat["mchid"],
    }


if __name__ == "__main__":
    print(json.dumps(prepare()))
