"""Logs: structured, one object a line; no bodies, no keys. Who reads them greps for a request id or an object's id."""

import asyncio
import logging
import os
import sys
from types import TracebackType
from typing import Any

import orjson
import structlog

from kernel.cards import masked
from kernel.env import Env

FLUSH_S = 0.05


class AccessLog:
    """One line a request, written a twentieth of a second later with its neighbours' in one call to the system."""

    def __init__(self, env: Env, descriptor: int) -> None:
        self._env = env
        self._descriptor = descriptor
        self._lines: list[dict[str, Any]] = []

    def write(self, line: dict[str, Any]) -> None:
        """Take a line; it is on its way within FLUSH_S."""
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        lines, self._lines = self._lines, []
        if lines:
            os.write(self._descriptor, b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))

    def __enter__(self) -> "AccessLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()


def _without_cards(_: Any, __: str, line: Any) -> Any:
    """Hide card numbers in a line that is ready to be written, tracebacks included."""
    return masked(line) if isinstance(line, str) else line


def configure(level: str, form: str) -> None:
    """Send all logs of this process to standard error; form: `console` for eyes, `json` for machines."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if form == "json":
        last: list[Any] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda obj, **_: orjson.dumps(obj, default=str).decode()),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, _without_cards],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel("WARNING")
