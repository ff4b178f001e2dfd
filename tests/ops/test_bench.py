"""`sluice bench`, run short: what it measures are payments that were taken, with a worker beside that does its part."""

import asyncio
from pathlib import Path

import pytest

from ops.trials.bench import command, run
from tests.conftest import TestServer as PostgresServer


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_a_bench_takes_every_payment_with_a_worker_that_hears_of_each(
    pg_server: PostgresServer, redis_url: str, tmp_path: Path
) -> None:
    pid = pg_server.server.pid
    assert pid is not None
    said: list[str] = []
    figures = await asyncio.to_thread(
        run.run, pg_server.server.admin_url, pid, redis_url, seconds=1.0, rounds=1, say=said.append
    )
    assert (figures["unexpected_answers"], figures["balance_mismatches"]) == (0, 0), said
    assert 0 < figures["rows"]["succeeded"] == figures["rows"]["payments"]
    for part in (figures, figures["one_merchant"], figures["at_32"]):
        assert part["worker_cpu_us"] > 0
        assert part["cpu_ratio"] > 1
    page = command.page(figures, tmp_path / "bench.json")
    assert page.count("(the floor)") == 3, "each figure has its floor beside it"
