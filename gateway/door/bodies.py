"""Reading what a caller sends after the head of a request."""

import asyncio

from aiohttp import web

from gateway.door.admission import CallerLeft, outside
from kernel.errors import Rejected

MAX_BODY = 256 * 1024
BODY_WAIT_S = 10


async def read_body(request: web.Request) -> bytes:
    """Return the body as it came. Raises Rejected, CallerLeft, TurnedAway.

    A body that calls itself compressed, or coded on its way otherwise than in chunks, is refused unread: what is
    signed, hashed and counted is what was sent.
    """
    if "Content-Encoding" in request.headers:
        raise Rejected("unsupported_content_encoding", "send the body uncompressed, without Content-Encoding")
    codings = request.headers.getall("Transfer-Encoding", ())
    if codings and [coding.strip().lower() for coding in codings] != ["chunked"]:
        raise Rejected("unsupported_content_encoding", "the only Transfer-Encoding that is taken is chunked, alone")
    try:
        if request.content.is_eof():  # as good as always: it came with its head, so there is nothing to wait for
            body = request.content.read_nowait()
            if len(body) > MAX_BODY:
                raise _too_large()
            return body
        with outside():
            async with asyncio.timeout(BODY_WAIT_S):
                return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except TimeoutError:
        raise Rejected("body_too_slow", f"the rest of the body did not arrive within {BODY_WAIT_S} s") from None
    except web.RequestPayloadError:  # aiohttp's error has the caller's bytes in it
        raise Rejected("malformed_request", "the body's chunks are malformed") from None
    except ConnectionError:  # not the database's: nothing else is waited for here
        raise CallerLeft("caller_left", "the connection ended before the body was complete; nothing was done") from None


def _too_large() -> Rejected:
    return Rejected("body_too_large", f"a body may have at most {MAX_BODY} bytes")
