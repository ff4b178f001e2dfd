"""The connections of a port: what aiohttp would answer by itself is a problem too, and who keeps us waiting is let go.

aiohttp answers in plain text, and logs the bytes, keys included, where a request cannot be read or fits no route; half
a head it waits for as long as for the next request, over an hour. And it makes two tasks' steps, a request and a
response of everything that comes; what the gate refuses is answered before that, from where it was read.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage

from gateway.door.responses import Prepared, problem
from kernel.errors import Unavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Unreadable = Callable[[web.BaseRequest, BaseException | None, int], web.Response]

HEAD_WAIT_S = 10.0  # for the rest of a head that has begun
IDLE_S = 75.0  # for the next request, or the first; longer than the usual minute of proxies, so that they close first
MOST_CONNECTIONS = 4096  # in one process; each costs some 20 kB
_LOOKED_AT = 64  # connections, for one that is quiet, before a new one is turned away
_SPARE_FILES = 200  # of the files a process may open: the database's, the rails', the logs


class Refusal(NamedTuple):
    """What the gate answers, and under which request's id."""

    answer: Prepared
    request_id: str


class Held(Protocol):
    """What the gate holds for a request that it lets in, until the handler comes to it and takes its own."""

    def give_back(self) -> None: ...


# (method, path as it came, headers) → what becomes of the request; None: the gate has no say in it
Gate = Callable[[str, str, Mapping[str, str]], Refusal | Held | None]

# app[GATE], where there is one: turns a request away before anything is done for it, routing included.
# app[OTHERWISE]: answers where no route fits. app[UNREADABLE]: answers what is no request, or escaped its handler.
GATE: web.AppKey[Gate] = web.AppKey("gate")
OTHERWISE: web.AppKey[Handler] = web.AppKey("otherwise")
UNREADABLE: web.AppKey[Unreadable] = web.AppKey("unreadable")


def _full() -> bytes:
    """Return what is written to a connection too many."""
    refusal = problem(Unavailable("too_many_connections", "the hub cannot hold more connections; nothing was done"), "")
    assert isinstance(refusal.body, bytes)
    head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(refusal.body)}\r\n\r\n".encode() + refusal.body


_FULL = _full()


class _Connection(web.RequestHandler):
    """One connection. Leans on what aiohttp calls private: tests/gateway/door/test_door.py sees where that changes."""

    __slots__ = ("_decided", "_head", "_server", "_unreadable")

    def __init__(self, server: "_Server", unreadable: Unreadable, **more: Any) -> None:
        super().__init__(server, **more)
        self._server, self._unreadable = server, unreadable
        self._head: asyncio.TimerHandle | None = None
        self._decided: Refusal | Held | None = None  # by the gate, of the request that its handler gets next

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
        before = self._request_count
        waiter, self._waiter = self._waiter, None  # so that aiohttp wakes nobody before the gate has looked
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if before if waiter is None else waiter.done():  # a request is being answered, or about to be
            return
        if self._messages:
            self._head_came()
            if not self._is_turned_away() and waiter is not None:  # None: nobody has begun to wait
                waiter.set_result(None)
        elif self._head is None and not self._force_close:
            self._head = self._loop.call_later(HEAD_WAIT_S, self._head_is_late, self._request_count)

    def _is_turned_away(self) -> bool:
        """Ask the gate about the request that has come; tell whether it has been answered here.

        Here is answered what is whole, its body too, and alone: nothing before it is unanswered, nothing of it is left
        to be taken for the next. Everything else goes to `decided`.
        """
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage):  # it cannot be read
            return False
        decided = self._server.gate(message.method, message.path, message.headers)
        if (
            not isinstance(decided, Refusal)
            or len(self._messages) > 1
            or not payload.is_eof()
            or message.should_close
            or message.upgrade
            or message.version != HttpVersion11
            or self.writing_paused
            or self._buffer_paused
            or self._parser is None
            or self.transport is None
        ):
            self._decided = decided
            return False
        self._messages.clear()
        self._parser.message_consumed()
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self.transport.write(decided.answer.written(decided.request_id))
        return True

    def decided(self, request: web.Request) -> Refusal | None:
        """Return how the gate refuses a request, now that its handler has come to it; None: it is let in."""
        decided, self._decided = self._decided, None
        if decided is None:
            decided = self._server.gate(request.method, request.raw_path, request.headers)
        if decided is None or isinstance(decided, Refusal):
            return decided
        decided.give_back()
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        decided, self._decided = self._decided, None
        if decided is not None and not isinstance(decided, Refusal):
            decided.give_back()
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

    def __init__(self, handler: Any, unreadable: Unreadable, gate: Gate, *, most: int, **more: Any) -> None:
        super().__init__(handler, **more)
        self._unreadable, self.gate = unreadable, gate
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
        otherwise, gate = self.app[OTHERWISE], self.app.get(GATE, lambda method, path, headers: None)

        async def handle(request: web.Request) -> web.StreamResponse:
            refusal = cast(_Connection, request.protocol).decided(request)
            if refusal is not None:
                return refusal.answer.response(refusal.request_id)
            try:
                return await work(request)
            except web.HTTPException:  # fits no route: the wrapper around every handler lets none pass
                return await otherwise(request)

        more = {name: value for name, value in self._kwargs.items() if name != "loop"}
        return _Server(
            handle,
            self.app[UNREADABLE],
            gate,
            most=_affordable(self._most),
            request_factory=plain.request_factory,
            **more,
        )


def _affordable(most: int) -> int:
    """Return how many connections the system lets this process hold, `most` at most; asks for as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else min(most, max(64, soft - _SPARE_FILES))
