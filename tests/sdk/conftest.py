"""One sandbox for all tests with third parties' libraries."""

import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def sandbox_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a sandbox that runs as a process of its own."""
    home = tmp_path_factory.mktemp("sandbox")
    command = [sys.executable, "-m", "sandbox", "--home", str(home), "--port", "0", "--time-scale", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("sandbox ready http://"), line
            yield line.split()[2]
        finally:
            process.terminate()
