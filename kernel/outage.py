"""What we stand on goes away and comes back: one line for each, whoever noticed, however often."""

import asyncio
import logging
from typing import Any

_APART_S = 10.0  # what comes and goes faster than this is told of only so often


class Outage:
    """Whether one server is away, as this process sees it.

    Many notice the same outage: every request, every round of every worker. The first is logged, the others are
    counted, and the count stands in the line that says that it answers again.
    """

    def __init__(
        self,
        what: str,
        log: logging.Logger,
        *,
        level: int = logging.ERROR,
        gone: str = "does not answer",
        well: str = "answers again",
    ) -> None:
        """what: as it is called in the lines, "the database". level: of both lines. gone, well: what they say of it."""
        self._what = what
        self._gone, self._well = gone, well
        self._log = log
        self._level = level
        self._noticed = 0  # since it was last told to be well
        self._told = False
        self._told_at: float | None = None
        self._last_at: float | None = None

    def noticed_within(self, seconds: float) -> bool:
        """Tell whether somebody met it in the last so many seconds. Inside a running event loop."""
        return self._last_at is not None and asyncio.get_running_loop().time() - self._last_at < seconds

    @property
    def is_on(self) -> bool:
        return self._noticed > 0

    def away(self, why: BaseException | str) -> None:
        """Somebody was not answered. Inside a running event loop, whose clock says how long ago it was told last."""
        self._noticed += 1
        now = self._last_at = asyncio.get_running_loop().time()
        if self._told or (self._told_at is not None and now - self._told_at < _APART_S):
            return
        self._told, self._told_at = True, now
        self._say(f"{self._what} {self._gone}; this is said once, until it {self._well}", why=said(why))

    def back(self) -> None:
        """Somebody was answered; cheap where nothing was amiss."""
        if not self._noticed:
            return
        noticed, told = self._noticed, self._told
        self._noticed, self._told = 0, False
        if told:
            self._say(f"{self._what} {self._well}", noticed=noticed)

    def _say(self, line: str, **facts: Any) -> None:
        self._log.log(self._level, line, extra=facts)


def said(why: BaseException | str) -> str:
    """Return a reason on one line."""
    if isinstance(why, TimeoutError) and not str(why):
        why = "no answer in time"
    text = why if isinstance(why, str) else f"{type(why).__name__}: {why}".removesuffix(": ")
    return " ".join(text.split())[:300]
