"""What a gateway says of its own API: the OpenAPI document."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from gateway.door.admission import STRANGERS
from gateway.door.openapi import document
from gateway.door.pages import Page
from kernel.env import Env
from kernel.routes import Route

_KEPT = {"Cache-Control": "public, max-age=300"}


class Reference:
    """The pages that describe the routes. Nothing in them is a secret, so they need no key."""

    def __init__(self, routes: Sequence[Route[Any]], env: Env) -> None:
        self._routes = routes
        self._env = env
        self._made: asyncio.Task[bytes] | None = None

    def pages(self) -> Sequence[Page]:
        return [Page("GET", "/openapi.json", "openapi", self.openapi, head=True, who=STRANGERS)]

    async def openapi(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._document(), content_type="application/json", headers=_KEPT)

    async def _document(self) -> bytes:
        """Return the document, made when it is first asked for, off the event loop: it takes about 0.1 s."""
        if self._made is None:
            self._made = self._env.spawn("openapi", self._make())
        return await asyncio.shield(self._made)

    async def _make(self) -> bytes:
        return await self._env.offload(lambda: orjson.dumps(document(self._routes)))
