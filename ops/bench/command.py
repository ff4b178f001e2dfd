"""`sluice bench` as a command: servers of its own, figures on the screen and in SLUICE_HOME/bench.json."""

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import typer

from ops import embedded, interrupts
from ops.bench import run as measure
from ops.settings import Settings


def run(settings: Settings, *, seconds: float, rounds: int, as_json: bool) -> int:
    """Measure, print, write; return 1 when the books did not balance or a request was refused."""
    said = (lambda line: None) if as_json else typer.echo
    figures = interrupts.run(_run(settings, seconds, rounds, said))
    target = settings.home / "bench.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(json.dumps(figures) if as_json else page(figures, target))
    return 1 if figures["balance_mismatches"] or figures["unexpected_answers"] else 0


async def _run(settings: Settings, seconds: float, rounds: int, said: Any) -> dict[str, Any]:
    # A server of the bench's own with the hub's settings: durable, and nothing else writes to it.
    home = settings.home / "bench-servers"
    async with embedded.postgres(home, bin_folder=settings.pg_bin, user=settings.server_user) as postgres:
        assert postgres.pid is not None
        stopping = threading.Event()

        def say(line: str) -> None:
            if stopping.is_set():
                raise _Stopped
            said(line)

        work = asyncio.to_thread(
            measure.run, postgres.admin_url, postgres.pid, None, seconds=seconds, rounds=rounds, say=say
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

    def row(name: str, rps: float, cpu: str, note: str = "") -> str:
        return f"  {name:<18} {rps:>8.0f} req/s   {cpu}{note}"

    def cpu(hub: float, postgres: float) -> str:
        return f"{hub:.1f} us hub + {postgres:.1f} us PostgreSQL = {hub + postgres:.1f} us"

    few, hot = f["at_32"], f["one_merchant"]
    return "\n".join(
        [
            f"at 256 connections, {f['books']} merchants, median of {f['rounds']} interleaved rounds",
            row("bare handler", f["hello_rps"], f"{f['hello_cpu_us']:.1f} us CPU a request", " (the floor)"),
            row("a whole payment", f["lane_rps"], cpu(f["hub_cpu_us"], f["postgres_cpu_us"])),
            row("lane size 1", f["lane1_rps"], cpu(f["lane1_hub_cpu_us"], f["lane1_postgres_cpu_us"])),
            f"  CPU, times the floor   {f['cpu_ratio']:.2f}   (goal: at most 6)",
            f"  the lane gains         {f['lane_speedup']:.2f} x the payments (goal: at least 12), "
            f"{f['lane_cpu_saved']:.2f} x less CPU",
            f"  with one hot merchant  {hot['lane_speedup']:.2f} x: {hot['lane_rps']:.0f} payments/s, "
            f"lane size 1 {hot['lane1_rps']:.0f}",
            f"  commands a commit      {f['batch_size']}",
            f"  latency, saturated     p50 {f['p50_ms']:.1f} ms, p99 {f['p99_ms']:.1f} ms",
            "at 32 connections",
            row("a whole payment", few["lane_rps"], cpu(few["hub_cpu_us"], few["postgres_cpu_us"])),
            f"  latency                p50 {few['p50_ms']:.1f} ms, p99 {few['p99_ms']:.1f} ms",
            f"books after the run: {f['balance_mismatches']} mismatches in {f['rows']['transfers']} transfers of "
            f"{f['rows']['payments']} payments",
            f"written to {target}",
        ]
    )
