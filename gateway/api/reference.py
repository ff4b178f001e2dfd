"""What a gateway says of its own API: the OpenAPI document, and the same as a page for people."""

import asyncio
import gzip
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from gateway.api.reference_page import page, style_source
from gateway.door.admission import STRANGERS
from gateway.door.openapi import document
from gateway.door.pages import Page
from kernel.env import Env
from kernel.routes import Route

_KEPT = {"Cache-Control": "public, max-age=300", "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
_LED = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
_POLICY = (
    f"default-src 'none'; style-src {style_source()}; img-src data:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_WEIGHT = re.compile(r"[01](?:\.[0-9]{0,3})?", re.ASCII)


class _Packed(NamedTuple):
    """A text, and the same in a tenth of the bytes."""

    plain: bytes
    gzipped: bytes


class Reference:
    """The pages that describe the routes. Nothing in them is a secret, so they need no key."""

    def __init__(self, routes: Sequence[Route[Any]], env: Env) -> None:
        self._routes = routes
        self._env = env
        self._made: asyncio.Task[tuple[_Packed, _Packed]] | None = None

    def pages(self) -> Sequence[Page]:
        return [
            Page("GET", "/openapi.json", "openapi", self.openapi, head=True, who=STRANGERS),
            Page("GET", "/docs", "docs", self.docs, head=True, who=STRANGERS),
            Page("GET", "/docs/", "docs_elsewhere", self.elsewhere, head=True, who=STRANGERS),
            Page("GET", "/", "front_page", self.front_page, head=True, who=STRANGERS),
        ]

    async def openapi(self, request: web.Request) -> web.Response:
        document, _ = await self._both()
        return _answer(request, document, "application/json", {})

    async def docs(self, request: web.Request) -> web.Response:
        _, page = await self._both()
        return _answer(
            request, page, "text/html", {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        )

    async def elsewhere(self, _: web.Request) -> web.Response:
        """Lead from `/docs/` to the page, for good."""
        return web.Response(status=308, headers={**_LED, "Location": "/docs"})

    async def front_page(self, _: web.Request) -> web.Response:
        """Lead a person who opens the hub's bare address to the page; for now, as nothing else is there."""
        return web.Response(status=303, headers={**_LED, "Location": "/docs"})

    async def _both(self) -> tuple[_Packed, _Packed]:
        """Return the document and its page, made when first asked for, off the event loop: it takes about 0.5 s.

        Where that failed, whoever asks next has it tried again.
        """
        if self._made is None or (self._made.done() and (self._made.cancelled() or self._made.exception())):
            self._made = self._env.spawn("openapi", self._make())
        return await asyncio.shield(self._made)

    async def _make(self) -> tuple[_Packed, _Packed]:
        return await self._env.offload(self._made_now)

    def _made_now(self) -> tuple[_Packed, _Packed]:
        found = document(self._routes)
        return _packed(orjson.dumps(found)), _packed(page(found).encode())


def _packed(plain: bytes) -> _Packed:
    return _Packed(plain, gzip.compress(plain, mtime=0))


def _answer(request: web.Request, packed: _Packed, kind: str, headers: dict[str, str]) -> web.Response:
    accepted = ",".join(request.headers.getall("Accept-Encoding", ()))
    body, encoding = (packed.gzipped, {"Content-Encoding": "gzip"}) if takes_gzip(accepted) else (packed.plain, {})
    return web.Response(body=body, content_type=kind, charset="utf-8", headers={**_KEPT, **headers, **encoding})


def takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding takes gzip: named, or by *, and not with a weight of nothing (RFC 9110, 12.5.3).

    A weight that cannot be read takes nothing: the plain text suits everybody.
    """
    weights: dict[str, float] = {}
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        name, _, number = weight.strip().partition("=")
        value = float(number) if _WEIGHT.fullmatch(number) else 0.0
        weights[coding.strip()] = (value if name == "q" else 0.0) if weight else 1.0
    return next((weights[name] > 0 for name in ("gzip", "x-gzip", "*") if name in weights), False)
