"""The way out calls only what may be called, by whatever name it is given, and quotes no address when it fails."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from channels import HttpTransport
from kernel.addresses import PUBLIC, Addresses, read_places
from kernel.env import NoAnswer, NotSent, Request

WHISPER = "whisper-whisper"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Neighbour:
    """Something on this machine that no merchant may have us call: it counts who connects."""

    def __init__(self) -> None:
        self.port = 0
        self.connected = 0
        self.answer = OK

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def a_neighbour() -> AsyncIterator[Neighbour]:
    found = Neighbour()
    listening = await asyncio.start_server(found.meet, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listening.close()


async def call(url: str, addresses: Addresses) -> bytes:
    async with HttpTransport(addresses=addresses) as transport:
        return (await transport.send(Request("GET", url, {"Accept": "*/*"}), timeout_s=10)).body


def stands_for(monkeypatch: pytest.MonkeyPatch, *ips: str) -> list[str]:
    """Have every name stand for these addresses; return which names were looked up."""
    asked: list[str] = []

    async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (ip, port, 0, 0))
            if ":" in ip
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in ips
        ]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_neighbour_is_not_even_connected_to_however_it_is_spelt(scheme: str, host: str) -> None:
    async with a_neighbour() as neighbour:
        with pytest.raises(NotSent, match="AddressRefused"):
            await call(f"{scheme}://{host}:{neighbour.port}/", PUBLIC)
    assert neighbour.connected == 0


async def test_a_name_is_looked_up_and_not_called_where_one_of_its_addresses_is_a_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for ips in (("127.0.0.1",), ("9.9.9.9", "127.0.0.1"), ("::1",), ("fd00::1", "9.9.9.9"), ("169.254.169.254",)):
        asked = stands_for(monkeypatch, *ips)
        with pytest.raises(NotSent, match=r"rail\.example is not an address of the public internet"):
            await call("https://rail.example/", PUBLIC)
        assert asked == ["rail.example"]


async def test_what_a_name_stood_for_when_it_was_checked_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that says something else the second time it is asked is asked once."""
    async with a_neighbour() as neighbour:
        allowed = Addresses(read_places(f"http://rail.example:{neighbour.port}"))
        asked = stands_for(monkeypatch, "127.0.0.1")
        async with HttpTransport(addresses=allowed) as transport:
            request = Request("GET", f"http://rail.example:{neighbour.port}/", {"Accept": "*/*"})
            assert (await transport.send(request, timeout_s=10)).body == b"ok"
    assert (asked, neighbour.connected) == (["rail.example"], 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_the_operator_allows_is_called_at_its_port_alone(host: str) -> None:
    async with a_neighbour() as sandbox, a_neighbour() as neighbour:
        allowed = Addresses(read_places(f"127.0.0.1:{sandbox.port}"))
        assert await call(f"http://{host}:{sandbox.port}/", allowed) == b"ok"
        with pytest.raises(NotSent):
            await call(f"http://{host}:{neighbour.port}/", allowed)
    assert (sandbox.connected, neighbour.connected) == (1, 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://u:p@127.0.0.1:{}/",
        "ftp://127.0.0.1:{}/",
        "http://[::1",
        "//127.0.0.1:{}/",
        "",
        "unix:///run/x",
        "http://",
    ],
)
async def test_what_is_no_address_of_http_is_not_sent(url: str) -> None:
    async with a_neighbour() as neighbour:
        allowed = Addresses(read_places("loopback"))
        with pytest.raises(NotSent):
            await call(url.format(neighbour.port), allowed)
    assert neighbour.connected == 0


# ---- what is said of a failure ---------------------------------------------------------------------------------------

NOT_HTTP = [
    b"SSH-2.0-OpenSSH_" + WHISPER.encode() + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1 " + WHISPER.encode() + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + WHISPER.encode() + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + WHISPER.encode() + b"\r\n",
    b"",
]


@pytest.mark.parametrize("answer", NOT_HTTP)
async def test_an_answer_that_is_not_http_puts_neither_the_query_nor_itself_into_what_is_said(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_neighbour() as rail:
        rail.answer = answer
        with caplog.at_level(logging.DEBUG), pytest.raises(NoAnswer) as failure:
            await call(f"http://127.0.0.1:{rail.port}/token?secret={WHISPER}", Addresses(read_places("loopback")))
    assert rail.connected == 1
    quotes_nothing(failure.value, caplog)


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:1/token?secret={WHISPER}",  # refused
        f"https://no-such-host.invalid/token?secret={WHISPER}",  # not found
        f"https://[::1/token?secret={WHISPER}",  # no address
        f"https://user:{WHISPER}@127.0.0.1/",
        f"https://{WHISPER}:{WHISPER}/",
        f"{WHISPER}://rail.example/",
        f"http://10.0.0.1/?secret={WHISPER}",  # not called
        f"https://rail.example:{WHISPER}/",
        f"https://{'a' * 64}.example/?secret={WHISPER}",
    ],
)
async def test_a_failure_to_send_quotes_no_query_and_no_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(NotSent) as failure:
        await call(url, Addresses(read_places("loopback")))
    quotes_nothing(failure.value, caplog)


async def test_a_time_out_while_connecting_quotes_no_query(caplog: pytest.LogCaptureFixture) -> None:
    """aiohttp says then to what whole address it could not connect."""

    async def accept_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(accept_and_wait, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/token?secret={WHISPER}"
    with caplog.at_level(logging.DEBUG), pytest.raises(NotSent) as failure:
        async with HttpTransport(addresses=Addresses(read_places("loopback")), connect_timeout_s=0.2) as transport:
            await transport.send(Request("GET", url), timeout_s=10)
    listening.close()
    quotes_nothing(failure.value, caplog)


def quotes_nothing(failure: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    told = [str(failure), repr(failure), repr(failure.__cause__)]
    assert failure.__suppress_context__ or failure.__context__ is None, "a traceback would show what came before"
    told += [f"{vars(record)}" for record in caplog.records if record.name.startswith("channels")]
    assert len(told) > 3
    assert WHISPER not in str(told)
