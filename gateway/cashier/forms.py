"""Reading what a page's form sends."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from kernel.errors import Rejected

MAX_FORM = 16 * 1024
FORM_WAIT_S = 10


async def read_form(request: web.Request) -> Mapping[str, object]:
    """Return the fields of a form. Raises Rejected."""
    if request.content_type != "application/x-www-form-urlencoded" or (request.content_length or 0) > MAX_FORM:
        raise Rejected("unsupported_media_type", "this takes a small form")
    try:
        async with asyncio.timeout(FORM_WAIT_S):
            return await request.post()
    except TimeoutError:
        raise Rejected("body_too_slow", "the rest of the form did not come") from None
    except (ValueError, web.HTTPRequestEntityTooLarge):
        raise Rejected("invalid_request", "the form cannot be read") from None
