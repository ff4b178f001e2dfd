"""Whatever can go wrong around a hub, drawn from a seed: deaths, pauses, cuts, lost answers, lies, clocks that jump."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ops.trials.replay.rails import Cable, RailAccount
from ops.trials.replay.world import Refused, World
from tests.ops.trials.replay.running import REPOSITORY, RunningHub

# What a rail may answer to a message it has already carried out, for a reason of its own: status and code, by rail.
LIES: dict[str, list[dict[str, Any]]] = {
    "wechat": [
        {"code": "SIGN_ERROR", "status": 401},
        {"code": "NO_AUTH", "status": 403},
        {"code": "NOT_ENOUGH", "status": 403},
        {"code": "RULE_LIMIT", "status": 403},
        {"code": "PARAM_ERROR", "status": 400},
    ],
    "alipay": [
        {"code": "ACQ.SELLER_BALANCE_NOT_ENOUGH"},
        {"code": "isv.invalid-signature"},
        {"code": "ACQ.INVALID_PARAMETER"},
        {"code": "ACQ.TRADE_STATUS_ERROR"},
    ],
    "unionpay": [{"code": "38"}, {"code": "05"}, {"code": "34"}],
    "stripe": [{"code": "card_declined", "status": 402}, {"code": "charge_already_refunded", "status": 400}],
    "paypal": [{"code": "INSTRUMENT_DECLINED"}, {"code": "REFUND_FAILED_INSUFFICIENT_FUNDS"}],
    "bank_transfer": [{"code": "NOT_PERMITTED", "status": 403}],
}
MOVES = (
    "create",
    "refund",
    "capture",
    "proceed",
    "reverse",
    "close",
    "void",
)  # the messages that move money, or end it
LIE_IN_WAIT_S = 15.0  # a fault, for the message it is for


@dataclass
class SecondHost:
    """A second gateway and a second worker, on a host of their own: another clock, another line to the database."""

    hub: RunningHub
    clock: Path
    environment: dict[str, str]
    log: IO[bytes]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        argv = [sys.executable, "-m", "tests.simulation.off_clock", str(self.clock), name]
        self.processes[name] = subprocess.Popen(
            argv, env=self.environment, cwd=REPOSITORY, stdout=self.log, stderr=self.log
        )

    def revive(self) -> None:
        """Start again what has died, as a supervisor would."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.start(name)

    def off_by(self, seconds: float) -> None:
        self.clock.write_text(str(seconds))

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait()


@dataclass
class Nemesis:
    """Does one thing after another for as long as the storm lasts; leaves nothing broken behind."""

    hub: RunningHub
    second: SecondHost
    world: World
    accounts: Sequence[RailAccount]
    cables: Sequence[Cable]
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    _paused: list[int] = field(default_factory=list)
    _ordered: dict[str, float] = field(default_factory=dict)  # faults, by id: since when (monotonic)

    async def rage(self) -> None:
        """Do harm until cancelled, then make good."""
        harms: dict[Callable[[], Awaitable[str]], int] = {
            self._lose: 10,
            self._lie: 10,
            self._fail_a_refund: 3,
            self._disturb_notices: 4,
            self._kill: 3,
            self._pause: 3,
            self._cut: 3,
            self._jump: 3,
        }
        # Each once before any twice, so that a short storm has all of them; in the seed's order.
        first = self.rng.sample(list(harms), len(harms))
        try:
            while True:
                harm = first.pop() if first else self.rng.choices(list(harms), list(harms.values()))[0]
                self.done[await harm()] += 1
                self.second.revive()
                await self._forget_what_nobody_met()
                await asyncio.sleep(self.rng.uniform(0.1, 0.8))
        finally:
            await self._make_good()

    async def _make_good(self) -> None:
        for pid in self._paused:
            _signal(pid, signal.SIGCONT)
        self.second.off_by(0)
        for cable in self.cables:
            await cable.mend()
        self.second.revive()
        for fault in await self.world.faults():
            if fault["fired"] < fault["times"]:
                await self.world.forget_fault(fault["fault_id"])

    # ---- rails -------------------------------------------------------------------------------------------------------

    async def _order(
        self, account: RailAccount, fault: str, match: dict[str, Any], times: int = 1, **params: Any
    ) -> None:
        match = {"merchant": account.merchant, **match}
        ordered = await self.world.order_fault(account.channel, fault, match, params, times=times)
        self._ordered[str(ordered["fault_id"])] = time.monotonic()

    async def _forget_what_nobody_met(self) -> None:
        """Take back what has lain in wait for long: heaped up, it would fail every message of a rail for good."""
        for fault_id, at in list(self._ordered.items()):
            if time.monotonic() - at > LIE_IN_WAIT_S:
                del self._ordered[fault_id]
                with contextlib.suppress(Refused):  # it was met meanwhile
                    await self.world.control("DELETE", f"/control/faults/{fault_id}")

    async def _lose(self) -> str:
        """Lose a message or its answer, before or after it is carried out."""
        how = self.rng.choice(["request_lost", "answer_lost", "system_error", "system_error_after", "delay"])
        match = {"op": self.rng.choice(MOVES)} if self.rng.random() < 0.8 else {}
        more = {"ms": self.rng.randint(200, 4000)} if how == "delay" else {}
        await self._order(self.rng.choice(self.accounts), how, match, self.rng.randint(1, 2), **more)
        return how

    async def _lie(self) -> str:
        """Have a message carried out and its answer lost, and its repetition refused for a reason of its own."""
        account, op = self.rng.choice(self.accounts), self.rng.choice(("create", "refund", "refund", "capture"))
        silent = self.rng.choice(["answer_lost", "system_error_after", "request_lost"])
        await self._order(account, silent, {"op": op})
        if self.rng.random() < 0.5:
            await self._order(account, silent, {"op": "refund_query" if op == "refund" else "query"})
        for _ in range(self.rng.randint(1, 3)):
            await self._order(account, "refuse", {"op": op}, 1, **self.rng.choice(LIES[account.channel]))
        if self.rng.random() < 0.5:
            await self._order(account, "notice_delay", {}, 2, ms=self.rng.randint(500, 5000))
        return "repetition refused"

    async def _fail_a_refund(self) -> str:
        account = self.rng.choice(self.accounts)
        await self._order(account, "refund_abnormal" if account.channel == "wechat" else "refund_failed", {})
        return "refund failed"

    async def _disturb_notices(self) -> str:
        how = self.rng.choice(["notice_drop", "notice_duplicate", "notice_delay", "notice_forged", "notice_reordered"])
        more = {"ms": self.rng.randint(500, 6000)} if how == "notice_delay" else {}
        await self._order(self.rng.choice(self.accounts), how, {}, self.rng.randint(1, 4), **more)
        return how

    async def _cut(self) -> str:
        """Cut a line for a while: one to a rail, or the second host's to the database."""
        cable = self.rng.choice(self.cables)
        await cable.cut()
        await asyncio.sleep(self.rng.uniform(0.5, 4))
        await cable.mend()
        return "cut"

    # ---- processes ---------------------------------------------------------------------------------------------------

    def _pids(self) -> dict[str, int]:
        run = self.hub.run
        found = {process.name: process.pid for process in [*run.servers, *run.children] if process.pid is not None}
        return found | {f"second {name}": process.pid for name, process in self.second.processes.items()}

    async def _kill(self) -> str:
        pids = self._pids()
        name = self.rng.choice(sorted(set(pids) - {"sandbox"}))
        _signal(pids[name], signal.SIGKILL)
        return f"killed {name}"

    async def _pause(self) -> str:
        """Stop a process for a while; it wakes and goes on as if nothing had been."""
        pids = self._pids()
        name = self.rng.choice(sorted(pids))
        self._paused.append(pids[name])
        _signal(pids[name], signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(0.5, 5))
        _signal(pids[name], signal.SIGCONT)
        return "paused"

    async def _jump(self) -> str:
        self.second.off_by(self.rng.choice([-1, 1]) * self.rng.uniform(60, 600))
        await asyncio.sleep(self.rng.uniform(1, 5))
        self.second.off_by(0)
        return "clock jumped"


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it died of something else meanwhile
        os.kill(pid, number)
