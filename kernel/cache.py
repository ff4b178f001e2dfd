"""What every request asks of the database anew is looked up once a second; who asks meanwhile waits for that one.

Without the second half, hundreds of requests under way at the moment an answer grows old would each look it up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from kernel.env import Env

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

REMEMBER_S = 1.0
MOST = 10_000  # answers kept; beyond, all are forgotten


class Cache(Generic[K, V]):
    """Answers by key, each believed for REMEMBER_S from when it was asked for, and no longer."""

    def __init__(self, look_up: Callable[[K], Awaitable[V]], env: Env) -> None:
        """look_up: what it raises reaches everyone who waits for it, and is not remembered."""
        self._look_up = look_up
        self._env = env
        self._answers: dict[K, tuple[float, asyncio.Future[V]]] = {}  # monotonic: until when each is believed

    async def get(self, key: K) -> V:
        """Return what `look_up` says of the key, now or up to REMEMBER_S ago. Raises what it raises."""
        while True:
            now = self._env.clock.monotonic()
            known = self._answers.get(key)
            if known is None or known[0] <= now:
                return await self._ask(key, now)
            answer = known[1]
            if not answer.done():
                await asyncio.wait((answer,))
                if answer.cancelled():  # whoever looked it up has gone; somebody else must
                    continue
            return answer.result()

    def forget(self, key: K) -> None:
        """Look the key up anew at the next question, whatever is under way."""
        self._answers.pop(key, None)

    def __len__(self) -> int:
        """Return how many answers are kept or awaited."""
        return len(self._answers)

    async def _ask(self, key: K, now: float) -> V:
        if len(self._answers) >= MOST:
            self._answers.clear()
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        asked = self._answers[key] = (now + REMEMBER_S, answer)
        try:
            found = await self._look_up(key)
        except BaseException as error:
            if self._answers.get(key) is asked:
                del self._answers[key]
            if isinstance(error, asyncio.CancelledError):
                answer.cancel()
            else:
                answer.set_exception(error)
                answer.exception()  # there may be nobody else to hear it
            raise
        answer.set_result(found)
        return found
