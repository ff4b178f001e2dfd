"""What is known about a message after the network failed at each possible stage, against a real server on loopback."""

import asyncio
import gzip
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from channels import HttpTransport
from kernel.addresses import LOOPBACK
from kernel.env import NoAnswer, NotSent, Request, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRequest-Id: rail-7\r\n\r\nok"
SHORT_S, LONG_S = 0.3, 20.0
JSON = {"Accept": "application/json"}


@dataclass
class Server:
    """A server that speaks bytes: `answer` is called with each whole request and the writer."""

    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
    url: str = ""
    seen: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                request = head + await reader.readexactly(length)
                self.seen.append(request)
                self.asked.set()
                await self.answer(request, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(
    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    served = Server(answer)
    listening = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    served.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield served
    finally:
        listening.close()


@asynccontextmanager
async def dropping(stage: str) -> AsyncIterator[str]:
    """A server that reads so much of each request and then drops the connection."""

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage == "after the first byte":
            await reader.readexactly(1)
        elif stage == "after the headers":
            await reader.readuntil(b"\r\n\r\n")
        elif stage == "after the body":
            await reader.readuntil(b'"}')
        writer.transport.abort() if stage == "with a reset" else writer.close()

    listening = await asyncio.start_server(drop, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def says(raw: bytes, *, close: bool = True) -> Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if close:
            writer.close()

    return answer


async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def post(url: str, body: bytes = b'{"a":"b"}') -> Request:
    return Request("POST", url + "/v3/pay", JSON, body)


async def send(request: Request, timeout_s: float = LONG_S, **options: float) -> Response:
    async with HttpTransport(addresses=LOOPBACK, **options) as transport:  # type: ignore[arg-type]
        return await transport.send(request, timeout_s=timeout_s)


# ---- nothing left this host ------------------------------------------------------------------------------------------


async def free_port() -> int:
    listening = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port: int = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    return port


async def test_a_refused_connection_sent_nothing() -> None:
    with pytest.raises(NotSent):
        await send(post(f"http://127.0.0.1:{await free_port()}"))


async def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    with pytest.raises(NotSent):
        await send(post("http://no-such-host.invalid"))


async def test_a_name_that_cannot_be_one_sent_nothing() -> None:
    with pytest.raises(NotSent):
        await send(post("http://" + "a" * 70 + ".example"))


async def test_a_plain_server_behind_https_sent_nothing() -> None:
    read = b""

    async def answer_in_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        read += await reader.read(1000)
        writer.write(OK)
        writer.close()

    listening = await asyncio.start_server(answer_in_plain, "127.0.0.1", 0)
    with pytest.raises(NotSent):
        await send(post(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))
    listening.close()
    assert b"v3/pay" not in read


async def test_a_certificate_nobody_vouches_for_sent_nothing(tmp_path: Path) -> None:
    async with server(says(OK), tls=self_signed(tmp_path)) as stranger:
        with pytest.raises(NotSent):
            await send(post(stranger.url))
    assert stranger.seen == []


async def test_a_server_that_never_finishes_the_handshake_sent_nothing() -> None:
    async def accept_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(accept_and_wait, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for options in ({"connect_timeout_s": SHORT_S}, {"timeout_s": SHORT_S}):
        with pytest.raises(NotSent):
            await send(post(f"https://127.0.0.1:{port}"), **options)
    listening.close()


async def test_waiting_in_vain_for_a_free_connection_sent_nothing() -> None:
    """A channel that hangs holds its own connections and no message beyond them."""
    async with server(silent) as hanging, HttpTransport(addresses=LOOPBACK, per_host=1) as transport:
        transport._connect_timeout_s = LONG_S
        first = asyncio.create_task(transport.send(post(hanging.url), timeout_s=LONG_S))
        await hanging.asked.wait()
        transport._connect_timeout_s = SHORT_S
        with pytest.raises(NotSent):
            await transport.send(post(hanging.url), timeout_s=LONG_S)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert len(hanging.seen) == 1


# ---- it may have been read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage", ["at once", "with a reset", "after the first byte", "after the headers", "after the body"]
)
async def test_a_connection_dropped_at_any_stage_is_no_answer(stage: str) -> None:
    async with dropping(stage) as url:
        with pytest.raises(NoAnswer):
            await send(post(url))


BROKEN = {
    "half a status line": b"HTTP/1.",
    "no HTTP at all": b"SSH-2.0-OpenSSH\r\n\r\n",
    "half the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    "half the body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "a chunk of nonsense": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a length of nonsense": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\nok",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_answer_is_no_answer(what: str) -> None:
    async with server(says(BROKEN[what])) as broken:
        with pytest.raises(NoAnswer):
            await send(post(broken.url))
    assert len(broken.seen) == 1


async def what_a_timeout_means(url: str) -> type[Exception]:
    """Return how a message ends when its time is over; asked again with more of it where that was not even enough to
    connect, which a busy machine may need longer for.
    """
    ended: type[Exception] = NotSent
    for timeout_s in (SHORT_S, 10 * SHORT_S, LONG_S):
        with pytest.raises((NotSent, NoAnswer)) as failure:
            await send(post(url), timeout_s)
        ended = failure.type
        if ended is not NotSent:
            break
    return ended


async def test_silence_ends_with_the_timeout_and_is_no_answer() -> None:
    async with server(silent) as quiet:
        assert await what_a_timeout_means(quiet.url) is NoAnswer
    assert len(quiet.seen) == 1


async def test_an_answer_that_drips_ends_with_the_timeout() -> None:
    async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(2000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(drip) as dripping:
        assert await what_a_timeout_means(dripping.url) is NoAnswer


# ---- never twice -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_a_dropped_connection_swallowed_is_never_sent_again(method: str) -> None:
    """A kept-alive connection that the other side drops as we use it: by itself aiohttp would repeat a GET there."""
    answered = 0

    async def once_then_drop(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        if answered == 2:
            writer.close()
        else:
            writer.write(OK)
            await writer.drain()

    async with server(once_then_drop) as dying, HttpTransport(addresses=LOOPBACK) as transport:
        asked = Request(method, dying.url + "/v3/query", JSON, b'{"n":"1"}' if method == "POST" else b"")
        await transport.send(asked, timeout_s=LONG_S)
        with pytest.raises(NoAnswer):
            await transport.send(asked, timeout_s=LONG_S)
        assert len(dying.seen) == 2
        assert (await transport.send(asked, timeout_s=LONG_S)).body == b"ok"


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with server(says(OK)) as elsewhere:
        moved = b"HTTP/1.1 302 Found\r\nLocation: " + elsewhere.url.encode() + b"\r\nContent-Length: 0\r\n\r\n"
        async with server(says(moved)) as moving:
            answer = await send(post(moving.url))
    assert answer.status == 302
    assert elsewhere.seen == []


# ---- as it is --------------------------------------------------------------------------------------------------------


async def test_what_was_signed_is_what_travels() -> None:
    async with server(says(OK)) as listening:
        url = f"{listening.url}/v3/a%2Fb%7Cc/%41%e8%8c%b6?mchid=1&x=%20+%2B%7e"
        await send(Request("POST", url, {"Accept": "application/json", "User-Agent": "u"}, b'{ "a" : 1 }'))
    head, _, body = listening.seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v3/a%2Fb%7Cc/%41%e8%8c%b6?mchid=1&x=%20+%2B%7e HTTP/1.1\r\n")
    assert body == b'{ "a" : 1 }'
    names = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert names == {b"host", b"accept", b"user-agent", b"accept-encoding", b"content-length"}


async def test_an_answer_is_returned_as_the_bytes_that_came() -> None:
    """Signatures are over these bytes; and what nobody unpacks cannot explode."""
    bomb = gzip.compress(bytes(10 << 20))
    raw = b"HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\nX-Name: Value\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(says(raw + bomb)) as zipping:
        answer = await send(post(zipping.url))
    assert (answer.status, answer.headers["x-name"], answer.body) == (500, "Value", bomb)


async def test_an_empty_answer_has_an_empty_body() -> None:
    async with server(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as empty:
        assert (await send(post(empty.url))).body == b""


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_an_answer_beyond_the_limit_is_no_answer_and_is_not_read_to_its_end(announced: bool) -> None:
    written = 0

    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        length = b"Content-Length: 1000000000" if announced else b"Transfer-Encoding: chunked"
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000) if announced else b"186a0\r\n" + bytes(100_000) + b"\r\n")
            await writer.drain()
            written += 100_000

    async with server(flood) as flooding:
        with pytest.raises(NoAnswer, match=r"at most|longer"):
            await send(post(flooding.url), answer_limit=200_000)
    assert written < 50_000_000


async def test_a_file_may_be_longer_than_an_answer() -> None:
    big = bytes(3_000)
    async with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + big)) as serving:
        limits = {"answer_limit": 1000, "file_limit": 5000}
        with pytest.raises(NoAnswer):
            await send(Request("GET", serving.url + "/", {"Accept": "*/*"}), **limits)
        assert (await send(Request("GET", serving.url + "/", JSON, for_file=True), **limits)).body == big


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(says(OK)) as direct:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{await free_port()}")
        assert (await send(post(direct.url))).body == b"ok"


# ---- what is logged --------------------------------------------------------------------------------------------------


async def test_a_call_is_logged_without_anything_secret(caplog: pytest.LogCaptureFixture) -> None:
    secret = "s3cret"
    async with server(says(OK)) as listening:
        url = f"{listening.url}/v3/pay?token={secret}"
        request = Request("POST", url, {**JSON, "X-Signature": secret}, secret.encode())
        with caplog.at_level(logging.DEBUG):
            await send(request)
    record = next(record for record in caplog.records if record.name == "channels.http")
    facts = vars(record)
    assert (facts["method"], facts["path"], facts["status"], facts["rail_request_id"]) == (
        "POST",
        "/v3/pay",
        200,
        "rail-7",
    )
    assert facts["ms"] >= 0
    assert all(secret not in str(vars(record)) for record in caplog.records if record.name.startswith("channels"))


async def test_a_failed_call_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(NotSent):
        await send(post(f"http://127.0.0.1:{await free_port()}"))
    facts = vars(next(record for record in caplog.records if record.name == "channels.http"))
    assert facts["status"] == 0
    assert facts["failure"]


async def test_what_is_asked_all_the_time_is_logged_only_where_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with server(says(OK)) as listening:
            await send(Request("GET", listening.url, JSON, routine=True))
        assert [record for record in caplog.records if record.name == "channels.http"] == []
        with pytest.raises(NotSent):
            await send(Request("GET", f"http://127.0.0.1:{await free_port()}", JSON, routine=True))
    assert [record.message for record in caplog.records if record.name == "channels.http"] == ["called a channel"]


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
