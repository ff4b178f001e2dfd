"""A small hub to be run, hurt and stopped: `web` answers HTTP, `other` does not; argv: home, web's port, modes."""

import asyncio
import sys
from pathlib import Path

from ops.settings import Settings
from ops.supervisor import Child, Run, supervise

WEB = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("web has finished", flush=True), os._exit(0)))
print("secret seen" if "%2Fsockets:" in os.environ["SLUICE_DATABASE_URL"] else "no address", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
OTHER = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: (print("other has finished", flush=True), os._exit(0)))
print("other has begun", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn is deaf", flush=True)
time.sleep(600)
"""
CHATTY = """
import os, sys, time
for number in range(20_000):
    print(f"out {number:>90}", flush=True)
    print(f"err {number:>90}", file=sys.stderr, flush=True)
open(os.environ["SLUICE_HOME"] + "/all-said", "w").close()
time.sleep(600)
"""
BROKEN = "raise SystemExit('the till is missing')"


def children(port: str, modes: list[str]) -> list[Child]:
    python = [sys.executable, "-c"]
    address = f"http://127.0.0.1:{port}/"
    found = [
        Child("web", [*python, WEB, port], ready_url=address),
        Child("other", [*python, OTHER]),
    ]
    if "stubborn" in modes:
        found.append(Child("stubborn", [*python, STUBBORN]))
    if "chatty" in modes:
        found.append(Child("chatty", [*python, CHATTY]))
    if "broken" in modes:
        found.append(Child("broken", [*python, BROKEN], ready_url=address + "never"))
    if "unready" in modes:
        found.append(Child("unready", [*python, OTHER], ready_url=address + "never", ready_within_s=0.5))
    return found


def ready(run: Run) -> str:
    return f"READY {run.pid}"


if __name__ == "__main__":
    settings = Settings(home=Path(sys.argv[1]))
    sys.exit(asyncio.run(supervise(settings, children(sys.argv[2], sys.argv[3:]), on_ready=ready)))
