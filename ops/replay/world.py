"""What a replay talks to, by HTTP alone: the hub's merchant API and the sandbox's control API.

Nothing is given up lightly: a hub that is being restarted is asked again with the same key, as a merchant would.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

PATIENCE_S = 90.0


class Refused(Exception):
    """The hub explicitly refused; `code` is its problem code."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.status = status
        self.code = str(body.get("code", status))
        self.body = body


class World:
    """The hub and the sandbox, as a merchant and its payers see them."""

    def __init__(self, session: aiohttp.ClientSession, hub_url: str, api_key: str, sandbox_url: str) -> None:
        self._session = session
        self._hub_url = hub_url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._sandbox_url = sandbox_url
        self.retries = 0

    async def hub(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> dict[str, Any]:
        """Call the merchant API; silence, 503 and "in progress" are asked again with the same key. Raises Refused."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        give_up_at = time.monotonic() + PATIENCE_S
        pause = 0.05
        while True:
            try:
                async with self._session.request(
                    method, self._hub_url + path, json=body, headers=headers, timeout=aiohttp.ClientTimeout(total=30)
                ) as answer:
                    found: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status < 300:
                        return found
                    if not found.get("retriable"):
                        raise Refused(answer.status, found)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                pass  # the same request with the same key is safe, whatever became of this one
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the hub did not answer {method} {path} for {PATIENCE_S:.0f} s")
            self.retries += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the sandbox's control API. Raises Refused."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                async with self._session.request(
                    method, self._sandbox_url + path, json=body, timeout=aiohttp.ClientTimeout(total=60)
                ) as answer:
                    found: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status < 300:
                        return found
                    raise Refused(answer.status, found)
            except (aiohttp.ClientError, TimeoutError, OSError):
                if time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(0.2)
