"""Reading what a page's form sends."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.door.bodies import read_body
from kernel.errors import Rejected

MAX_FORM = 16 * 1024


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form, of one given twice the first. Raises Rejected, CallerLeft."""
    if request.content_type != "application/x-www-form-urlencoded" or (request.content_length or 0) > MAX_FORM:
        raise Rejected("unsupported_media_type", "send a small form")
    raw = await read_body(request)
    if len(raw) > MAX_FORM:  # in chunks, a form does not say beforehand how long it is
        raise Rejected("unsupported_media_type", "send a small form")
    try:
        # Whatever charset is claimed: names and values of ours are ASCII, and a rail's own are not looked at.
        fields = parse_qsl(raw.rstrip().decode(), keep_blank_values=True)
    except ValueError:
        raise Rejected("invalid_request", "the form cannot be read") from None
    return dict(reversed(fields))
