"""What a replay talks to, by HTTP alone: the hub's merchant API and the sandbox's control API.

Nothing is given up lightly: a hub that is being restarted is asked again with the same key, as a merchant would.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from ops.trials.replay.patience import PATIENCE_S, Patience
from ops.trials.replay.witness import Witness


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
    """The hub and the sandbox, as a merchant and its payers see them.

    patience_s: how long one request is repeated, and how long whoever plays here waits for anything.
    """

    patience_s = PATIENCE_S

    def __init__(
        self,
        session: aiohttp.ClientSession,
        hub_url: str,
        api_key: str,
        sandbox_url: str,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.patience_s = patience_s
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

        Raises Refused, HubFailed, InVain.
        """
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        patience = Patience(f"the hub answers {method} {path}", self.patience_s)
        while True:
            try:
                status, found = await self._call(
                    method, self._hub_url + path, body, headers, timeout_s=min(30, self.patience_s)
                )
                if status < 300:
                    self.witness.saw(found)
                    return found
                if not found.get("retriable"):
                    if status >= 500:
                        raise HubFailed(f"{method} {path}: {status} {found.get('code')}: {found.get('detail')}")
                    raise Refused(status, found)
                said = f"it said last: {status} {found.get('code')}: {found.get('detail')}"
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                # The same request with the same key is safe, whatever became of this one.
                said = _silence(error)
            await patience.wait(said)
            self.retries += 1

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
        """Call the sandbox's control API. Raises Refused, InVain."""
        patience = Patience(f"the sandbox answers {method} {path}", self.patience_s)
        while True:
            try:
                status, found = await self._call(
                    method, self._sandbox_url + path, body, {}, timeout_s=min(60, self.patience_s)
                )
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                await patience.wait(_silence(error))
                continue
            if status < 300:
                return found
            raise Refused(status, found)

    async def order_fault(
        self,
        rail: str,
        fault: str,
        match: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        *,
        times: int = 1,
    ) -> dict[str, Any]:
        """Have the sandbox do wrong on a rail, where `match` fits, so many times; return the fault as it was ordered.

        Raises Refused.
        """
        body = {"fault": fault, "rail": rail, "match": match, "times": times, "params": params or {}}
        return await self.control("POST", "/control/faults", body)

    async def faults(self) -> list[dict[str, Any]]:
        """Return every fault that was ordered, with how often it was committed (`fired`)."""
        return list((await self.control("GET", "/control/faults"))["faults"])

    async def forget_fault(self, fault_id: str) -> None:
        """Have the sandbox do so no more. Raises Refused."""
        await self.control("DELETE", f"/control/faults/{fault_id}")

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


def _silence(error: Exception) -> str:
    """Say how a request came to no answer that can be read."""
    return f"no answer: {type(error).__name__} {error}".rstrip()
