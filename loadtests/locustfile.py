"""Merchants at work: order by QR code, the payer pays, the notice comes, look, refund a part. See README.md.

Judged when it ends: the exit code is 0 only if every threshold below held. Each may be changed for one run by the
environment variable of its name with LOAD_ in front.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from typing import Any

from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from locust.exception import StopUser

from loadtests.prepare import is_loopback

# ---- thresholds ------------------------------------------------------------------------------------------------------

FAILURE_RATIO = 0.0  # of all requests
PAYMENTS = 20  # that were made, paid, seen to be paid and refunded in part, at least
# Milliseconds that 95 of 100 requests stay below; for 20 users on two shared cores, with the sandbox on the same ones.
P95_MS = {
    "create": 1500,
    "until the notice": 3000,  # from the payer's payment until a query shows it
    "query": 750,
    "refund": 1500,
}
P95_FACTOR = 1.0  # LOAD_P95_FACTOR=0.5 halves them all

# ---- bounds ----------------------------------------------------------------------------------------------------------

MOST_USERS = 200
MOST_SECONDS = 600
NOTICE_WITHIN_S = 30.0
POLL_EVERY_S = 0.05


class Hub:
    """Where the load goes, and as whom."""

    def __init__(self) -> None:
        if "LOAD_API_KEY" in os.environ:
            found = {
                name: os.environ[f"LOAD_{name.upper()}"] for name in ("hub_url", "sandbox_url", "api_key", "mchid")
            }
        else:
            asked = [sys.executable, "-m", "loadtests.prepare"]
            done = subprocess.run(asked, stdout=subprocess.PIPE, check=False)
            if done.returncode != 0:
                sys.exit(done.returncode)
            found = json.loads(done.stdout)
        self.url, self.sandbox_url = found["hub_url"], found["sandbox_url"]
        self.headers = {"Authorization": f"Bearer {found['api_key']}"}
        self.mchid = found["mchid"]
        if not (is_loopback(self.url) and is_loopback(self.sandbox_url)):
            sys.exit(f"{self.url} and {self.sandbox_url}: load is put on this machine only")


class Done:
    """What has come of it so far."""

    payments = 0


@events.init.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Refuse a run without bounds; find or make the merchant."""
    options = environment.parsed_options
    if options is None or not options.headless or not options.run_time or not 0 < options.run_time <= MOST_SECONDS:
        sys.exit(f"run it with --headless and --run-time of at most {MOST_SECONDS}s")
    if not 0 < (options.num_users or 1) <= MOST_USERS:
        sys.exit(f"run it with --users from 1 to {MOST_USERS}")
    Merchant.hub = Hub()
    Merchant.host = Merchant.hub.url


class Merchant(FastHttpUser):
    """Sells one thing after the other, without a pause."""

    hub: Hub
    host = "http://127.0.0.1"
    wait_time = constant(0)
    connection_timeout = 10.0
    network_timeout = 30.0

    @task
    def sell(self) -> None:
        """Play one sale from the order to the refund."""
        amount = 100 + uuid.uuid4().int % 50_000
        payment = self._create(amount)
        self._pay(payment["next_action"]["code"])
        self._wait_for_the_notice(payment["id"])
        shown = self._call("GET", f"/v1/payments/{payment['id']}", name="query")
        self._must(shown["amount_captured"] == amount, "query", f"captured {shown['amount_captured']} of {amount}")
        refund = self._call(
            "POST", f"/v1/payments/{payment['id']}/refunds", {"amount": amount // 3}, name="refund", status=201
        )
        self._must(refund["amount"] == amount // 3, "refund", f"refunded {refund['amount']} of {amount // 3}")
        Done.payments += 1

    def _create(self, amount: int) -> dict[str, Any]:
        body = {
            "merchant_order_id": uuid.uuid4().hex,
            "amount": amount,
            "currency": "CNY",
            "method": {"type": "qr"},
            "description": "load test",
        }
        payment = self._call("POST", "/v1/payments", body, name="create", status=201)
        self._must(payment["status"] == "requires_action", "create", f"{payment['id']} is {payment['status']}")
        return payment

    def _pay(self, code: str) -> None:
        """Be the payer: scan the code."""
        with self.client.post(
            f"{self.hub.sandbox_url}/control/wechat/pay",
            json={"code_url": code},
            name="sandbox: the payer pays",
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text}")
                raise StopUser

    def _wait_for_the_notice(self, payment_id: str) -> None:
        started = time.perf_counter()
        status, seconds = "", 0.0
        while status != "succeeded" and seconds < NOTICE_WITHIN_S:
            time.sleep(POLL_EVERY_S)  # gevent's: the other users go on
            status = self._call("GET", f"/v1/payments/{payment_id}", name="poll")["status"]
            seconds = time.perf_counter() - started
        paid = status == "succeeded"
        self._report("until the notice", seconds, None if paid else f"{payment_id} is {status} after {seconds:.0f} s")

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, name: str, status: int = 200
    ) -> dict[str, Any]:
        """Call the merchant API; anything but the wanted status is a failure and ends this user."""
        headers = {**self.hub.headers, **({"Idempotency-Key": uuid.uuid4().hex} if body else {})}
        with self.client.request(method, path, json=body, headers=headers, name=name, catch_response=True) as answer:
            if answer.status_code != status:
                answer.failure(f"{answer.status_code}: {answer.text}")
                raise StopUser
            found: dict[str, Any] = answer.json()
            return found

    def _must(self, holds: bool, name: str, otherwise: str) -> None:
        """Count an answer that is wrong, though its status was right, as a failure."""
        if not holds:
            self._report(f"{name}: wrong answer", 0.0, otherwise)

    def _report(self, name: str, seconds: float, problem: str | None) -> None:
        """Add something that is no single request to the figures; a problem ends this user."""
        self.environment.events.request.fire(
            request_type="CHECK",
            name=name,
            response_time=1000 * seconds,
            response_length=0,
            exception=AssertionError(problem) if problem else None,
            context={},
        )
        if problem:
            raise StopUser


def judged(environment: Environment) -> list[str]:
    """Return every threshold that did not hold, in words."""
    stats = environment.stats
    wrong = []
    ratio, most = stats.total.fail_ratio, float(os.environ.get("LOAD_FAILURE_RATIO", FAILURE_RATIO))
    if ratio > most:
        wrong.append(f"{ratio:.2%} of the requests failed; {most:.2%} may")
    least = int(os.environ.get("LOAD_PAYMENTS", PAYMENTS))
    if Done.payments < least:
        wrong.append(f"{Done.payments} payments went all the way; {least} must")
    factor = float(os.environ.get("LOAD_P95_FACTOR", P95_FACTOR))
    for name, milliseconds in P95_MS.items():
        entries = [entry for (entry_name, _), entry in stats.entries.items() if entry_name == name]
        if not entries:
            wrong.append(f"{name}: never asked")
        for entry in entries:
            took = entry.get_response_time_percentile(0.95)
            if took > factor * milliseconds:
                wrong.append(f"{name}: p95 was {took:.0f} ms; at most {factor * milliseconds:.0f} ms are allowed")
    return wrong


@events.quitting.add_listener
def end(environment: Environment, **_: Any) -> None:
    """Say what did not hold and set the exit code."""
    wrong = judged(environment)
    for line in wrong:
        print(f"✘ {line}", file=sys.stderr)
    if not wrong:
        print(f"✔ {Done.payments} payments went all the way; every threshold held", file=sys.stderr)
    environment.process_exit_code = 1 if wrong else 0
