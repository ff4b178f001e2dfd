"""Logs wait for nobody, show no secret, and draw no local variables, whatever their format."""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from ops.logs import Lines

Pipe = tuple[int, int]


@pytest.fixture
def small_pipe() -> Iterator[Pipe]:
    """A pipe that holds one page: (end to read, end to write)."""
    ends = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(end)


def read_until(descriptor: int, enough: Callable[[str], bool]) -> str:
    got = b""
    while not enough(got.decode(errors="ignore")):
        got += os.read(descriptor, 65_536)
    return got.decode()


def test_nobody_reads_and_nobody_waits(small_pipe: Pipe) -> None:
    lines = Lines(small_pipe[1], most_bytes=20_000)
    told: list[int] = []
    lines.on_dropped = told.append
    for number in range(5_000):
        lines.write(f"line {number:>20}\n")
    assert lines.dropped == sum(told) > 0
    # Somebody reads at last: every line was either written or counted.
    said = read_until(small_pipe[0], lambda text: "were dropped" in text)
    counted = re.search(r"(\d+) lines were dropped", said)
    assert counted is not None
    assert said.count("line  ") + int(counted[1]) == 5_000
    assert said.splitlines()[0].split() == ["line", "0"]


def test_a_flush_waits_for_a_reader_but_not_for_one_that_does_not_read(small_pipe: Pipe) -> None:
    lines = Lines(small_pipe[1])
    lines.write("first\n")
    lines.flush(60)
    assert os.read(small_pipe[0], 100) == b"first\n"
    for _ in range(1000):
        lines.write("x" * 99 + "\n")
    lines.flush(0.01)  # returns although most of it cannot be written


def test_a_reader_who_has_gone_costs_lines_and_nothing_else(small_pipe: Pipe) -> None:
    os.close(small_pipe[0])
    lines = Lines(small_pipe[1])
    lines.write("one\n")
    lines.flush(60)
    lines.write("two\n")
    lines.flush(60)
    assert lines.dropped >= 2


def test_a_descriptor_that_does_not_block_loses_nothing(small_pipe: Pipe) -> None:
    os.set_blocking(small_pipe[1], False)
    lines = Lines(small_pipe[1])
    for number in range(500):
        lines.write(f"line {number:>20}\n")
    said = read_until(small_pipe[0], lambda text: text.endswith(f"{499:>20}\n"))
    assert said.count("line ") == 500
    assert lines.dropped == 0


SPEAKER = """
import logging, sys
from aiohttp.http_exceptions import BadHttpMessage
from ops import logs

logs.configure("INFO", sys.argv[1], secrets=["given-password"])
log = logging.getLogger("speaker")

def fails(secret):
    local_variable = secret + secret
    raise ConnectionError("no answer from postgresql://sluice:" + secret + "@10.0.0.1/sluice")

try:
    fails("hush-hush")
except ConnectionError:
    log.exception("it failed", extra={"why": "Authorization: Bearer " + "k" * 40, "given": "a given-password b"})
log.error("plain", extra={"address": "redis://:hush-hush@host/0"})
try:
    raise BadHttpMessage("invalid header: b'Authori zation: Bea rer key-in-pieces-0123'")
except BadHttpMessage:
    logging.getLogger("aiohttp.server").exception("Error handling request from %s", "10.0.0.1")
try:
    try:
        raise BadHttpMessage("bad chunk: b'key-in-pieces-0123'")
    except BadHttpMessage as error:
        raise RuntimeError("the body: " + str(error)) from error
except RuntimeError:
    log.exception("a handler failed")
log.info("long", extra={"text": "y" * 100_000})
logging.getLogger("speaker").info("%d is no number", "wrong-argument")
import warnings
warnings.warn("secret=hush-hush")
raise ValueError("password='hush-hush'")
"""


@pytest.fixture(scope="module", params=["console", "json"])
def spoken(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What a process says that logs all kinds of trouble and dies of one: (format, standard error)."""
    done = subprocess.run(
        [sys.executable, "-c", SPEAKER, request.param], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    return request.param, done.stderr


def test_no_format_shows_a_secret(spoken: tuple[str, str]) -> None:
    _, said = spoken
    for secret in ("hush-hush", "given-password", "k" * 40, "key-in-pieces"):
        assert secret not in said
    assert "postgresql://sluice:…@10.0.0.1/sluice" in said
    assert "ValueError" in said


def test_no_format_draws_local_variables(spoken: tuple[str, str]) -> None:
    _, said = spoken
    assert "local_variable" not in said
    assert "ConnectionError" in said
    assert "locals" not in said


def test_a_request_that_is_no_http_is_one_line_without_its_bytes(spoken: tuple[str, str]) -> None:
    _, said = spoken
    found = [line for line in said.splitlines() if "was not HTTP" in line]
    assert len(found) == 2
    assert all("BadHttpMessage" in line and "Traceback" not in line for line in found)


def test_a_record_is_bounded_and_one_that_cannot_be_drawn_costs_itself_alone(spoken: tuple[str, str]) -> None:
    form, said = spoken
    assert max(map(len, said.splitlines())) < 17_000
    assert "cannot be drawn" in said
    if form == "json":
        records = [json.loads(line) for line in said.splitlines() if line.startswith("{") and "[cut]" not in line]
        assert {"it failed", "plain"} <= {record["event"] for record in records}
