"""`sluice bench` as a command: servers of its own, figures on the screen and in SLUICE_HOME/bench.json."""

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import typer

from ops import embedded, interrupts
from ops.settings import Settings
from ops.trials.bench import run as measure


def run(settings: Settings, *, seconds: float, rounds: int, output: Path | None) -> int:
    """Measure, print, write; return 1 when the books did not balance or a request was refused.

    output: the file of the figures, - to print them; None: bench.json in the home.
    """
    as_json = output == Path("-")
    said = (lambda line: None) if as_json else typer.echo
    figures = interrupts.run(_run(settings, seconds, rounds, said))
    target = settings.home / "bench.json" if output is None or as_json else output
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(json.dumps(figures) if as_json else page(figures, target))
    return 1 if figures["balance_mismatches"] or figures["unexpected_answers"] else 0


async def _run(settings: Settings, seconds: float, rounds: int, said: Any) -> dict[str, Any]:
    # Servers of the bench's own with the hub's settings: durable, and nothing else writes to them.
    home = settings.home / "bench-servers"
    async with (
        embedded.postgres(home, bin_folder=settings.pg_bin, user=settings.server_user) as postgres,
        embedded.valkey(home, program=settings.valkey_bin, user=settings.server_user) as valkey,
    ):
        assert postgres.pid is not None
        stopping = threading.Event()

        def say(line: str) -> None:
            if stopping.is_set():
                raise _Stopped
            said(line)

        work = asyncio.to_thread(
            measure.run, postgres.admin_socket_url, postgres.pid, valkey.url, seconds=seconds, rounds=rounds, say=say
        )
        measuring = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(measuring)
        except asyncio.CancelledError:
            stopping.set()  # after the stretch it is in it stops what it has started, before its database goes
            with contextlib.suppress(_Stopped):
                await measuring
            raise


class _Stopped(Exception):
    """Somebody pressed Ctrl-C."""


def page(f: dict[str, Any], target: Path) -> str:
    """Return the figures for people, each beside its floor."""

    few, hot, floor = f["at_32"], f["one_merchant"], f["hello_cpu_us"]

    def row(name: str, rps: float, cpu: str) -> str:
        return f"  {name:<18} {rps:>8.0f} req/s   {cpu}"

    def cpu(of: dict[str, Any], lane: str = "") -> str:
        hub, postgres = of[f"{lane}hub_cpu_us"], of[f"{lane}postgres_cpu_us"]
        return f"{hub:.1f} us hub + {postgres:.1f} us PostgreSQL = {hub + postgres:.1f} us"

    def beside(of: dict[str, Any]) -> str:
        return f"{of['worker_cpu_us']:.1f} us a payment in the worker's process, which is not in the above"

    return "\n".join(
        [
            f"a worker beside all of it; median of {f['rounds']} interleaved rounds",
            f"at 256 connections, {f['books']} merchants",
            row("bare handler", f["hello_rps"], f"{floor:.1f} us CPU a request (the floor)"),
            row("a whole payment", f["lane_rps"], cpu(f)),
            row("lane size 1", f["lane1_rps"], cpu(f, "lane1_")),
            f"  CPU, times the floor   {f['cpu_ratio']:.2f}   (goal: at most 6)",
            f"  the lane gains         {f['lane_speedup']:.2f} x the payments (goal: at least 12), "
            f"{f['lane_cpu_saved']:.2f} x less CPU",
            f"  commands a commit      {f['batch_size']}",
            f"  latency, saturated     p50 {f['p50_ms']:.1f} ms, p99 {f['p99_ms']:.1f} ms",
            f"  the worker             {beside(f)}",
            "at 256 connections, one merchant",
            row("bare handler", f["hello_rps"], f"{floor:.1f} us CPU a request (the floor)"),
            row("a whole payment", hot["lane_rps"], cpu(hot)),
            row("lane size 1", hot["lane1_rps"], cpu(hot, "lane1_")),
            f"  CPU, times the floor   {hot['cpu_ratio']:.2f}",
            f"  the lane gains         {hot['lane_speedup']:.2f} x the payments, "
            f"{hot['lane_cpu_saved']:.2f} x less CPU",
            f"  latency, saturated     p50 {hot['p50_ms']:.1f} ms, p99 {hot['p99_ms']:.1f} ms",
            f"  the worker             {beside(hot)}",
            f"at 32 connections, {f['books']} merchants",
            row("bare handler", few["hello_rps"], f"{few['hello_cpu_us']:.1f} us CPU a request (the floor)"),
            row("a whole payment", few["lane_rps"], cpu(few)),
            f"  CPU, times the floor   {few['cpu_ratio']:.2f}",
            f"  latency                p50 {few['p50_ms']:.1f} ms, p99 {few['p99_ms']:.1f} ms",
            f"books after the run: {f['balance_mismatches']} mismatches in {f['rows']['transfers']} transfers of "
            f"{f['rows']['payments']} payments",
            f"written to {target}",
        ]
    )
