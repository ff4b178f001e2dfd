"""The wire between the hub and a server, which a test can cut or tap at the worst moment."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from urllib.parse import urlsplit

_COMMIT = b"COMMIT;\0"


class Cut(Enum):
    """What happens on the wire when a COMMIT passes."""

    BEFORE_IT_ARRIVES = auto()  # the server never hears of it and rolls back
    AFTER_IT_IS_DONE = auto()  # the server commits; its answer is lost
    IT_ARRIVES_LATE = auto()  # the client is cut off first; the server gets the COMMIT when `late` is set


class Cable:
    """Forwards bytes to a server and back, and does as told to the next COMMITs that pass.

    passing: called with what a client sends, before the server has it.
    """

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self.passing: Callable[[bytes], Awaitable[None]] | None = None
        self.cuts: deque[Cut] = deque()
        self.cut_count = 0
        self.late = asyncio.Event()
        self.unplugged = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        """Where the hub connects instead."""
        return self._there._replace(netloc=self._there.netloc.rpartition(":")[0] + f":{self._port}").geturl()

    def unplug(self) -> None:
        """End every connection and take no new one, until `plug`."""
        self.unplugged = True
        for writer in self._writers:
            writer.close()

    def plug(self) -> None:
        self.unplugged = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.unplugged:
            writer.close()
            return
        assert self._there.hostname is not None
        assert self._there.port is not None
        from_server, to_server = await asyncio.open_connection(self._there.hostname, self._there.port)
        self._writers |= {writer, to_server}
        back = asyncio.create_task(_forward(from_server, writer))
        try:
            while data := await reader.read(1 << 16):
                if self.passing is not None:
                    await self.passing(data)
                if self.cuts and data.endswith(_COMMIT):
                    cut = self.cuts.popleft()
                    self.cut_count += 1
                    back.cancel()
                    await asyncio.wait([back])
                    if cut is not Cut.AFTER_IT_IS_DONE:
                        writer.close()
                    if cut is Cut.IT_ARRIVES_LATE:
                        await self.late.wait()
                    if cut is not Cut.BEFORE_IT_ARRIVES:
                        to_server.write(data)
                        await from_server.read(1)  # the answer begins: it is committed
                    return
                to_server.write(data)
                await to_server.drain()
        except ConnectionError:
            pass
        finally:
            back.cancel()
            for end in (writer, to_server):
                end.close()
                self._writers.discard(end)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cable(url: str) -> AsyncIterator[Cable]:
    """Lay a wire to a server."""
    wire = Cable(url)
    server = await asyncio.start_server(wire._serve, "127.0.0.1", 0)
    wire._port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.late.set()
        wire.unplug()
