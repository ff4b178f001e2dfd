"""The cable of a replay: cut it lets nobody through, and mended it is where it was."""

import asyncio
import socket
from urllib.parse import urlsplit

import pytest

from ops.trials.replay.rails import Cable


async def test_a_cut_cable_keeps_its_place_until_it_is_mended() -> None:
    """Meanwhile the kernel would give the port to any connection of this machine, and the day could not go on."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    far_end = await asyncio.start_server(echo, "127.0.0.1", 0)
    cable = Cable(*far_end.sockets[0].getsockname())
    place = urlsplit(await cable.lay())
    for _ in range(2):
        await cable.cut()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(place.hostname, place.port)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((place.hostname, place.port))
        await cable.mend()
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(b"tea!")
        assert await reader.readexactly(4) == b"tea!"
        writer.close()
    await cable.take_up()
    far_end.close()
