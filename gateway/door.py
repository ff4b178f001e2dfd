"""The connections of a port: what aiohttp would answer by itself is a problem too, and who keeps us waiting is let go.

aiohttp answers in plain text, and logs the bytes, keys included, where a request cannot be read or fits no route; half
a head it waits for as long as for the next request, over an hour.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from gateway.responses import problem
from kernel.errors import Unavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Gate = Callable[[web.Request], web.StreamResponse | None]
Unreadable = Callable[[web.BaseRequest, BaseException | None, int], web.Response]

HEAD_WAIT_S = 10.0  # for the rest of a head that has begun
IDLE_S = 75.0  # for the next request, or the first; longer than the usual minute of proxies, so that they close first
MOST_CONNECTIONS = 4096  # in one process; each costs some 20 kB
_LOOKED_AT = 64  # connections, for one that is quiet, before a new one is turned away
_SPARE_FILES = 200  # of the files a process may open: the database's, the rails', the logs

# app[GATE], where there is one: turns a request away before anything is done for it, routing included; None lets it in.
# app[OTHERWISE]: answers where no route fits. app[UNREADABLE]: answers what is no request, or escaped its handler.
GATE: web.AppKey[Gate] = web.AppKey("gate")
OTHERWISE: web.AppKey[Handler] = web.AppKey("otherwise")
UNREADABLE: web.AppKey[Unreadable] = web.AppKey("unreadable")


def _full() -> bytes:
    """Return what is written to a connection too many."""
    refusal = problem(Unavailable("too_many_connections", "the hub holds no more connections; nothing was done"), "")
    assert isinstance(refusal.body, bytes)
    head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(refusal.body)}\r\n\r\n".encode() + refusal.body


_FULL = _full()


class _Connection(web.RequestHandler):
    """One connection. Leans on what aiohttp calls private; tests/gateway/test_door.py notices where that changes."""

    __slots__ = ("_head", "_server", "_unreadable")

    def __init__(self, server: "_Server", unreadable: Unreadable, **more: Any) -> None:
        super().__init__(server, **more)
        self._server, self._unreadable = server, unreadable
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._server.connections_open) < self._server.most or self._server.made_room():
            super().connection_made(transport)
            self._server.by_use[self] = None
            return
        self._manager = None  # never the server's: there is nothing to finish when it ends
        self._force_close = True
        sending = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by conduct
        sending.write(_FULL)
        sending.close()

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is asked on it: no request is under way, and no whole head has come."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def give_way(self) -> None:
        """Close without an answer, for somebody who has something to ask."""
        transport = cast(asyncio.Transport, self.transport)
        transport.abort()  # not close: who does not read would stay until it has
        self.force_close()

    def data_received(self, data: bytes) -> None:
        self._server.used(self)
        super().data_received(data)
        waiter = self._waiter
        if waiter is None and self._request_count:  # a request is being answered
            return
        if (waiter is not None and waiter.done()) or self._messages or self._force_close:
            self._head_came()
        elif self._head is None:
            self._head = self._loop.call_later(HEAD_WAIT_S, self._head_is_late, self._request_count)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        self._server.by_use.pop(self, None)
        super().connection_lost(exc)

    def _head_came(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _head_is_late(self, count: int) -> None:
        self._head = None
        if self._request_count == count:
            self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what cannot be read. aiohttp's own words are not used: they quote what came, keys and all."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun; another cannot be given")
        response = self._unreadable(request, exc, status)
        response.force_close()
        return response


class _Server(web.Server):
    """Makes a connection for each that is accepted."""

    def __init__(self, handler: Any, unreadable: Unreadable, *, most: int, **more: Any) -> None:
        super().__init__(handler, **more)
        self._unreadable = unreadable
        self.most = most
        self.by_use: dict[
            _Connection, None
        ] = {}  # those that are open, the one on which something came last at the end

    @property
    def connections_open(self) -> dict[Any, Any]:
        return self._connections

    def used(self, connection: _Connection) -> None:
        """Note that something came on a connection."""
        if self.by_use.pop(connection, False) is None:
            self.by_use[connection] = None

    def made_room(self) -> bool:
        """Close the connection that has been quiet longest; tell whether there was one.

        Else whoever opens many and asks nothing keeps everybody out. One at work is passed over, and looked at last.
        """
        for _ in range(min(_LOOKED_AT, len(self.by_use))):
            oldest = next(iter(self.by_use))
            del self.by_use[oldest]
            if oldest.is_quiet:
                oldest.give_way()
                return True
            self.by_use[oldest] = None
        return False

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._unreadable, loop=self._loop, **self._kwargs)


class DoorRunner(web.AppRunner):
    """Serves an application that has OTHERWISE and UNREADABLE."""

    def __init__(self, app: web.Application, *, most: int = MOST_CONNECTIONS, **more: Any) -> None:
        """most: connections at a time. more: as for aiohttp's own runner."""
        # Encoded bodies are refused as they are, so nothing is unpacked on the way in.
        usual: dict[str, Any] = {"access_log": None, "auto_decompress": False, "keepalive_timeout": IDLE_S}
        super().__init__(app, **{**usual, **more})
        self._most = most

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        work: Handler = plain.request_handler
        otherwise, gate = self.app[OTHERWISE], self.app.get(GATE, lambda request: None)

        async def handle(request: web.Request) -> web.StreamResponse:
            turned_away = gate(request)
            if turned_away is not None:
                return turned_away
            try:
                return await work(request)
            except web.HTTPException:  # fits no route: the wrapper around every handler lets none pass
                return await otherwise(request)

        more = {name: value for name, value in self._kwargs.items() if name != "loop"}
        return _Server(
            handle, self.app[UNREADABLE], most=_affordable(self._most), request_factory=plain.request_factory, **more
        )


def _affordable(most: int) -> int:
    """Return how many connections the system lets this process hold, `most` at most; asks for as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else min(most, max(64, soft - _SPARE_FILES))
