"""What a replay talks to, by HTTP alone: the hub's merchant API and the sandbox's control API.

Nothing is given up lightly: a hub that is being restarted is asked again with the same key, as a merchant would.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from ops.replay.witness import Witness

# A channel may want a minute between two refunds of one order, and the janitor asks at its leisure.
PATIENCE_S = 240.0


class Refused(Exception):
    """The other side explicitly refused; `code` is its own."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail') or body.get('message')}")
        self.status = status
        self.code = str(body.get("code", status))
        self.body = body


class HubFailed(Exception):
    """The hub answered that something in it is wrong: neither a refusal nor a reason to ask again."""


class World:
    """The hub and the sandbox, as a merchant and its payers see them."""

    def __init__(self, session: aiohttp.ClientSession, hub_url: str, api_key: str, sandbox_url: str) -> None:
        self._session = session
        self._hub_url = hub_url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._sandbox_url = sandbox_url
        self.retries = 0
        self.witness = Witness()

    async def hub(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> dict[str, Any]:
        """Call the merchant API; silence, 503 and "in progress" are asked again with the same key.

        Raises Refused, HubFailed, TimeoutError.
        """
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        give_up_at = time.monotonic() + PATIENCE_S
        pause = 0.05
        while True:
            try:
                status, found = await self._call(method, self._hub_url + path, body, headers, timeout_s=30)
                if status < 300:
                    self.witness.saw(found)
                    return found
                if not found.get("retriable"):
                    if status >= 500:
                        raise HubFailed(f"{method} {path}: {status} {found.get('code')}: {found.get('detail')}")
                    raise Refused(status, found)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                pass  # the same request with the same key is safe, whatever became of this one
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the hub did not answer {method} {path} for {PATIENCE_S:.0f} s")
            self.retries += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def listed(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Yield every object of one of the merchant API's lists, page after page."""
        after = ""
        while True:
            page = await self.hub("GET", f"{path}?limit=100{after}")
            for found in page["data"]:
                yield found
            if not page["has_more"]:
                return
            after = f"&starting_after={page['data'][-1]['id']}"

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the sandbox's control API. Raises Refused."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, found = await self._call(method, self._sandbox_url + path, body, {}, timeout_s=60)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"the sandbox did not answer {method} {path} for {PATIENCE_S:.0f} s") from None
                await asyncio.sleep(0.2)
                continue
            if status < 300:
                return found
            raise Refused(status, found)

    async def browse(self, url: str, form: Mapping[str, str] | None) -> bool:
        """Open a page as a payer's browser does, posting `form` to it where there is one; False when it did not come.

        Raises Refused.
        """
        method = "GET" if form is None else "POST"
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with self._session.request(method, url, data=form, timeout=timeout, allow_redirects=False) as page:
                if page.status >= 400:
                    raise Refused(page.status, {"message": f"{method} {url}: {(await page.text())[:200]}"})
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    async def _call(
        self, method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str], *, timeout_s: float
    ) -> tuple[int, dict[str, Any]]:
        """Send once; raise ValueError where the answer is no JSON object."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._session.request(method, url, json=body, headers=headers, timeout=timeout) as answer:
            found = {} if answer.status == 204 else await answer.json(content_type=None)
            if not isinstance(found, dict):
                raise ValueError(f"{method} {url} answered {answer.status} without a JSON object")
            return answer.status, found
