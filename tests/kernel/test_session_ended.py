"""PostgreSQL ends a session that nobody was using: whoever takes its connection next is told that it is lost."""

import asyncio
import struct
from urllib.parse import urlsplit

import asyncpg
import pytest

from kernel.db import LOST, acquire, connect

_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"
FAREWELL = b"E" + struct.pack("!i", 4 + len(_FIELDS)) + _FIELDS  # what a dying backend writes before it closes


class Line:
    """One client's line to the server, on which a farewell can be said in the server's name."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._to_clients: list[asyncio.StreamWriter] = []
        self._dying: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._there.hostname is not None
        from_server, to_server = await asyncio.open_connection(self._there.hostname, self._there.port)
        self._to_clients.append(writer)
        await asyncio.gather(self._forward(reader, to_server), self._forward(from_server, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if writer not in self._dying:
                writer.write(data)
        writer.close()

    def url(self, port: int) -> str:
        return self._there._replace(netloc=self._there.netloc.rpartition(":")[0] + f":{port}").geturl()

    def say_farewell(self) -> None:
        """Say it to whoever came last; nothing follows, but the line is not closed yet."""
        self._dying.add(self._to_clients[-1])
        self._to_clients[-1].write(FAREWELL)


async def test_a_farewell_heard_before_the_line_is_closed_is_a_lost_connection(database_url: str) -> None:
    line = Line(database_url)
    async with (
        await asyncio.start_server(line.serve, "127.0.0.1", 0) as server,
        connect(line.url(server.sockets[0].getsockname()[1]), size=1, role=None) as pool,
    ):
        async with acquire(pool) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        line.say_farewell()
        await asyncio.sleep(0.2)  # asyncpg tells nobody that it has heard
        with pytest.raises(asyncpg.InternalClientError) as lost:
            async with acquire(pool) as connection:
                await connection.fetchval("SELECT 1")
        assert isinstance(lost.value, LOST)
        async with acquire(pool) as connection:  # and nobody is given that connection again
            assert await connection.fetchval("SELECT 1") == 1
