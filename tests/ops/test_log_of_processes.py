"""What gateway and worker say while nobody reads or the database is away: little, no password; SIGTERM is obeyed."""

import asyncio
import fcntl
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.kernel.cable import cable
from tests.ops.processes import Processes, a_pair, status


@pytest.mark.parametrize("log_format", ["console", "json"])
async def test_an_outage_is_one_line_a_process_and_shows_no_password(
    database_url: str, redis_url: str, tmp_path: Path, log_format: str
) -> None:
    async with a_pair(tmp_path, database_url, redis_url, log_format) as pair:
        pair.wire.unplug()
        url = f"http://127.0.0.1:{pair.port}/v1/payments"
        async with aiohttp.ClientSession() as client:

            async def ask(number: int) -> int:
                async with client.get(url, headers={"Authorization": f"Bearer sk_{number:043}"}) as answer:
                    return answer.status

            for batch in range(10):
                assert {await ask(10 * batch + number) for number in range(10)} == {503}
        await pair.until(lambda: pair.count("worker", "does not answer") >= 1)
        await asyncio.sleep(3)  # the worker's rounds go on in vain meanwhile
        pair.wire.plug()
        async with aiohttp.ClientSession() as client:
            while await ask_once(client, url) != 401:  # noqa: ASYNC110 — another process tells of nothing
                await asyncio.sleep(0.1)
        await pair.until(lambda: all(pair.count(name, "the database answers again") for name in ("gateway", "worker")))
        password = urlsplit(database_url).password
        assert password is not None
        for name in ("gateway", "worker"):
            said = pair.said(name)
            assert pair.count(name, "the database does not answer") == 1, said
            assert pair.count(name, "the database answers again") == 1, said
            assert password not in said
            assert "Traceback" not in said
            told = [line for line in said.splitlines() if '"event":"request"' not in line]
            assert len(told) < 8, said


async def ask_once(client: aiohttp.ClientSession, url: str) -> int:
    async with client.get(url, headers={"Authorization": "Bearer sk_nobody"}) as answer:
        return answer.status


async def test_sigterm_is_obeyed_while_the_database_is_away_silent_or_was_never_there(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with a_pair(tmp_path, database_url, redis_url, "json") as pair:
        silence, asked = asyncio.Event(), 0

        async def hang(data: bytes) -> None:
            nonlocal asked
            asked += 1
            await silence.wait()

        pair.wire.passing = hang  # every statement is sent, and no answer ever comes
        await pair.until(lambda: asked >= 2)
        for name in ("worker", "gateway"):
            pair.running[name].send_signal(signal.SIGTERM)
            assert await pair.ended(name) == 0
            # Begun while the database says nothing, and told to end before it has an answer.
            before = asked
            pair.start(name)
            await pair.until(lambda before=before: asked > before)  # type: ignore[misc]
            pair.running[name].send_signal(signal.SIGTERM)
            assert await pair.ended(name) == 0, pair.said(name)
        silence.set()
        pair.wire.unplug()
        assert await started_in_vain(pair, "worker") == 1
        assert pair.count("worker", "this process cannot work") == 1
        assert "Traceback" not in pair.said("worker") + pair.said("gateway")


async def started_in_vain(pair: Processes, name: str) -> int:
    pair.start(name)
    return await pair.ended(name)


async def test_a_gateway_whose_log_nobody_reads_goes_on_serving(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    async with cable(database_url) as wire, aiohttp.ClientSession() as client:
        pair = Processes(tmp_path, wire, redis_url, "console")
        gateway = pair.start("gateway", into=writing)
        os.close(writing)
        try:
            ready = f"http://127.0.0.1:{pair.ops_port}/ready"
            while await status(client, ready) != 200:  # noqa: ASYNC110 — another process tells of nothing
                await asyncio.sleep(0.1)
            url = f"http://127.0.0.1:{pair.port}/v1/payments"
            for _ in range(25):
                answers = await asyncio.gather(*(status(client, url) for _ in range(100)))
                assert set(answers) == {401}
            assert await status(client, ready) == 200
            gateway.send_signal(signal.SIGTERM)
            assert await pair.ended("gateway") == 0  # although most of what it has to say was never read
        finally:
            gateway.kill()
            gateway.wait()
            os.close(reading)
