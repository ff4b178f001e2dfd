"""A real Valkey of our own (it speaks Redis), with its append-only file on."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from . import child
from .place import address_of, remembered_port, secret
from .programs import Program, find_valkey
from .server import Server

_SECRET = "valkey"


class Valkey(Server):
    """Valkey on 127.0.0.1, by password only."""

    name = "valkey"
    death_signal = signal.SIGTERM
    stop_steps = ((signal.SIGTERM, 30.0),)

    def __init__(
        self,
        home: Path,
        *,
        program: Path | None = None,
        user: str = "nobody",
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to run the Valkey of `home`; program: its valkey-server, None to look for one."""
        super().__init__(home, user=user, options=options)
        self._chosen = program
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """Where the hub connects, database 0."""
        return _url(secret(self.home, _SECRET), self.port)

    @property
    def program(self) -> Program:
        if self._program is None:
            raise RuntimeError("valkey was not started")
        return self._program

    def _prepare(self) -> None:
        self._program = find_valkey(self._chosen, account=self.account)
        self.place.private_folder(self.place.data)
        self._end_leftovers()

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "protected-mode": "yes",
            "requirepass": secret(self.home, _SECRET),
            "dir": f'"{self.place.data}"',
            "daemonize": "no",
            # Synced every second. Beside a slow disk what is written waits for the sync, two seconds at most: a killed
            # process can lose that. The relay copies it again from the database.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            **self.options,
        }
        # Through a pipe, so that the password is neither in a file nor in the process list. It fits the pipe's buffer.
        reading, writing = os.pipe()
        try:
            os.write(writing, "".join(f"{name} {value}\n" for name, value in settings.items()).encode())
            os.close(writing)
            return child.spawn(
                [self.program.path, "-"],
                account=self.account,
                death_signal=self.death_signal,
                env={"LC_ALL": "C", "TZ": "UTC"},
                stdin=reading,
                stdout=log,
                stderr=log,
            )
        finally:
            os.close(reading)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(f"AUTH {secret(self.home, _SECRET)}\r\nPING\r\n".encode())
                    return (await reader.readline(), await reader.readline()) == (b"+OK\r\n", b"+PONG\r\n")
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except (OSError, TimeoutError):
            return False

    @staticmethod
    def _is_ours(program: str) -> bool:
        return program.startswith(("valkey-", "redis-"))


@asynccontextmanager
async def valkey(
    home: Path,
    *,
    program: Path | None = None,
    user: str = "nobody",
    options: Mapping[str, str] | None = None,
) -> AsyncIterator[Valkey]:
    """Run the Valkey of `home` for as long as the context lasts.

    program, user, options: see Valkey.
    Raises AlreadyRunning, CannotStart.
    """
    server = Valkey(home, program=program, user=user, options=options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def valkey_url(home: Path) -> str | None:
    """Return where the Valkey of `home` is or would be, None if it was never started."""
    port = remembered_port(address_of(home, Valkey.name))
    return None if port is None else _url(secret(home, _SECRET, may_make=False), port)


def _url(password: str, port: int) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"
