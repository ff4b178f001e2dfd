"""The way out of the host: one HTTP client for all channels, which says exactly what is known about each message.

It calls what kernel/addresses.py lets it call, whoever has named the address: a merchant, an operator, or a rail.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, BinaryIO, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from kernel.addresses import PUBLIC, Addresses, AddressRefused
from kernel.env import NoAnswer, NotSent, Request, Response

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
ANSWER_LIMIT = 1 << 20  # bytes; more is no answer about a payment, and whoever names an address could send it
FILE_LIMIT = 200 << 20  # bytes; for bills and statements, which are asked for one by one
PER_HOST = 100  # connections; a channel that hangs can hold no more than these
_HEADERS_LIMIT = 16 << 10


class HttpTransport:
    """Sends requests as they are and returns answers as they come; follows nothing, retries nothing, decodes nothing.

    NotSent is raised only where no connection was ever had for the message: an address that is not called, a name not
    found, refused, TLS failed, none free in time. From then on the other side may have read it: silence is NoAnswer.
    What is said of a failure quotes no address, for queries hold secrets, and nothing that the other side wrote.
    """

    def __init__(
        self,
        *,
        addresses: Addresses = PUBLIC,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        answer_limit: int = ANSWER_LIMIT,
        file_limit: int = FILE_LIMIT,
        per_host: int = PER_HOST,
    ) -> None:
        """Must be called in a running loop; close with aclose or `async with`."""
        self.addresses = addresses
        self._connect_timeout_s = connect_timeout_s
        self._answer_limit = answer_limit
        self._file_limit = file_limit
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_connected)
        trace.on_connection_reuseconn.append(_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=per_host, ttl_dns_cache=30, resolver=_Resolver(addresses)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # signatures are over the bytes that travelled, and so no bomb unfolds here
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            headers={"Accept-Encoding": "identity"},
            max_line_size=_HEADERS_LIMIT,
            max_field_size=_HEADERS_LIMIT,
            trace_configs=[trace],
        )
        # By itself aiohttp sends a GET again whose connection was cut: a rail that counts would count it twice.
        self._session._retry_connection = False

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """Send once and return the answer, whatever its status. Raises NotSent or NoAnswer.

        timeout_s: for everything together; connecting alone has a shorter one. An answer longer than the limit is no
        answer.
        """
        known = SimpleNamespace(connected=False)
        started = asyncio.get_running_loop().time()
        status, rail_id, failure, host, path = 0, "", "", "", ""
        try:
            url = URL(request.url, encoded=True)  # as signed: no letter of it may change
            host, path = url.host_port_subcomponent or "", url.raw_path
            self._check(url)
            response = await self._exchange(request, url, timeout_s, known)
            status, rail_id = response.status, response.headers.get("request-id", "")
            return response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            failure = _why(error)
            if known.connected:
                raise NoAnswer(failure) from None
            raise NotSent(failure) from None
        except NoAnswer as error:
            failure = str(error)
            raise
        finally:
            # Not logged: headers, bodies and queries; they hold signatures, payers' codes and keys.
            log.log(
                logging.DEBUG if request.routine and 0 < status < 400 else logging.INFO,
                "called a channel",
                extra={
                    "method": request.method,
                    "host": host,
                    "path": path,
                    "status": status,
                    "ms": round((asyncio.get_running_loop().time() - started) * 1000, 1),
                    "rail_request_id": rail_id,
                    "failure": failure,
                },
            )

    def _check(self, url: URL) -> None:
        """Raise AddressRefused for what is not called; of a literal address here, of a name when it is resolved.

        The parts that are looked at are those that are connected to: nothing is taken apart a second time.
        """
        if url.raw_user is not None or url.raw_password is not None:
            raise AddressRefused("an address with a user and a password is not called")
        self.addresses.check(url.scheme, url.raw_host or "", url.port or 0)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _exchange(self, request: Request, url: URL, timeout_s: float, known: SimpleNamespace) -> Response:
        with _sent(request) as sent:
            async with self._session.request(
                request.method,
                url,
                data=sent,
                headers=request.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(self._connect_timeout_s, timeout_s)),
                trace_request_ctx=known,
            ) as answer:
                body = await _read(answer, self._file_limit if request.for_file else self._answer_limit)
                return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)


@contextmanager
def _sent(request: Request) -> Iterator[bytes | BinaryIO | None]:
    """Give what is sent; a file is read beside the loop as it goes out."""
    if request.file is None:
        yield request.body or None
        return
    with request.file.open("rb") as opened:
        yield opened


class _Resolver(AbstractResolver):
    """Finds what a name stands for, and gives nothing that may not be called; what it gives is what is connected to."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._finder = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._finder.resolve(host, port, family)
        try:
            good = self._addresses.check_resolved(host, [one["host"] for one in found], port)
        except AddressRefused as refused:
            raise OSError(None, str(refused)) from None
        return [one for one in found if one["host"] in good]

    async def close(self) -> None:
        await self._finder.close()


def _why(error: Exception) -> str:
    """Say what went wrong. aiohttp's own texts quote whole addresses, and what the other side wrote."""
    name = type(error).__name__
    if isinstance(error, AddressRefused):
        return f"{name}: {error}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{name}: {error.host}:{error.port}: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{name}: {error.host}:{error.port}: {error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{name}: the answer is not HTTP ({error.status})"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    context.trace_request_ctx.connected = True


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body; raises NoAnswer when it is longer than `limit` bytes, without reading on."""
    announced = answer.content_length
    if announced is not None and announced > limit:
        answer.close()
        raise NoAnswer(f"an answer of {announced} bytes was announced, at most {limit} are read")
    if announced is not None:
        return await answer.read()
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            answer.close()
            raise NoAnswer(f"the answer is longer than {limit} bytes")
    return bytes(body)
