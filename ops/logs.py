"""Logs: structured, one object a line; no bodies, no keys. Who reads them greps for a request id or an object's id.

Nothing here makes the event loop wait: lines are written by threads of their own, and what nobody reads is dropped and
counted. Nothing here draws local variables, in which secrets stand, and every line goes through the masks.
"""

import atexit
import logging
import os
import select
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from kernel import cards
from kernel.clock import rfc3339
from kernel.env import Env
from kernel.masking import masked, masking

FLUSH_S = 0.05
MOST_WAITING_BYTES = 2**20  # a few thousand lines, which is more than a reader that lives is ever behind
MOST_LINE = 16_384  # characters of one record, its traceback included
_PATIENCE_AT_END_S = 1.0

Mask = Callable[[str], str]

# Every line of every process goes through these, in this order; a mask takes any text and returns it fit to be read.
MASKS: list[Mask] = [masked, cards.masked]


def hide(secrets: Iterable[str]) -> None:
    """Have these very texts masked from now on: passwords this process was given."""
    MASKS.insert(0, masking(list(secrets)))


def fit_to_be_read(text: str) -> str:
    """Return the text through every mask. What a mask cannot cope with is not shown at all."""
    try:
        for mask in MASKS:
            text = mask(text)
    except Exception as error:
        return f"a line is not shown: a mask failed with {type(error).__name__}\n"
    return text


class Lines:
    """Writes lines to a descriptor, masked, from a thread of its own; who hands them over never waits.

    At most `most_bytes` wait. What comes on top is dropped and counted, and the count is written as soon as lines can
    be again. A descriptor whose reader has gone takes nothing any more: all is counted as dropped.
    """

    def __init__(self, descriptor: int, *, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self._descriptor = descriptor
        self._most = most_bytes
        self._waiting: deque[str] = deque()
        self._size = 0  # characters that wait or are being written
        self._untold = 0
        self._hurry = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self.dropped = 0
        self.on_dropped: Callable[[int], None] = lambda count: None
        self.told: Callable[[int], str] = lambda count: f"{count} lines were dropped: nobody read them\n"

    def write(self, line: str) -> None:
        """Take a line with its end; it is on its way within FLUSH_S."""
        with self._changed:
            if self._size + len(line) > self._most:
                self._drop(1)
                return
            self._size += len(line)
            self._waiting.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
            elif len(self._waiting) == 1:
                self._changed.notify_all()

    def flush(self, patience_s: float = _PATIENCE_AT_END_S) -> None:
        """Wait until all that waits is written, but not for a reader that does not read."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._size, patience_s)
            self._hurry = False

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._untold += count
        self.on_dropped(count)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                self._changed.wait_for(lambda: self._hurry, FLUSH_S)  # neighbours go in one call to the system
                lines = list(self._waiting)
                self._waiting.clear()
                untold, self._untold = self._untold, 0
            if untold:
                lines.append(self.told(untold))
            try:
                self._write("".join(map(fit_to_be_read, lines)).encode(errors="replace"))
                failed = False
            except OSError:  # nobody is there any more
                failed = True
            with self._changed:
                self._size -= sum(map(len, lines)) - (len(lines[-1]) if untold else 0)
                if failed:
                    self._drop(len(lines))
                self._changed.notify_all()

    def _write(self, raw: bytes) -> None:
        while raw:
            try:
                raw = raw[os.write(self._descriptor, raw[:65_536]) :]
            except BlockingIOError:  # somebody who shares the descriptor has made it so
                select.select([], [self._descriptor], [])


class AccessLog:
    """One line a request, as JSON."""

    def __init__(self, env: Env, descriptor: int) -> None:
        self.lines = Lines(descriptor)
        self.lines.told = lambda count: _told_as_json(env, count)

    def write(self, line: dict[str, Any]) -> None:
        """Take a line; it is on its way within FLUSH_S."""
        self.lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())

    def __enter__(self) -> "AccessLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.flush()


def _told_as_json(env: Env, count: int) -> str:
    line = {"at": rfc3339(env.now()), "event": "log lines were dropped: nobody read them", "count": count}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()


class _Handler(logging.Handler):
    """Hands every record, drawn, to the lines of standard error."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:  # a record that cannot be drawn costs its line and nothing else
            text = f"a record of {record.name}, line {record.lineno}, cannot be drawn: {type(error).__name__}"
        self.lines.write(f"{text if len(text) <= MOST_LINE else text[:MOST_LINE] + ' [cut]'}\n")

    def flush(self) -> None:
        self.lines.flush()


def _without_its_bytes(record: logging.LogRecord) -> bool:
    """Tell of a request that is no HTTP in one line: aiohttp would quote its bytes, and keys may be among them."""
    error = record.exc_info[1] if record.exc_info else None
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    malformed = next((one for one in chain if isinstance(one, (HttpProcessingError, RequestPayloadError))), None)
    if malformed is None:
        return True
    record.msg, record.args, record.exc_info, record.exc_text = "a request was not HTTP and was refused", (), None, None
    record.why = type(malformed).__name__
    record.levelno, record.levelname = logging.INFO, "INFO"
    return logging.getLogger().isEnabledFor(logging.INFO)


_errors = Lines(2)


def count_dropped(count: Callable[[int], None]) -> None:
    """Call this with how many lines of standard error were dropped, each time that some are; from any thread."""
    _errors.on_dropped = count


def configure(level: str, form: str, *, secrets: Iterable[str] = ()) -> None:
    """Send all logs of this process to standard error.

    form: `console` for eyes, `json` for machines. secrets: passwords that this process was given and never shows.
    """
    hide(secrets)
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
        plain = structlog.dev.plain_traceback  # without local variables, and in milliseconds
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    _errors.told = lambda count: f"{formatter.format(_told(count))}\n"
    handler = _Handler(_errors)
    handler.setFormatter(formatter)
    handler.addFilter(_without_its_bytes)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel("WARNING")
    logging.getLogger("asyncpg").setLevel("ERROR")  # its pools warn each time that they looked for the server in vain
    logging.captureWarnings(capture=True)
    sys.excepthook = _last_words


def _told(count: int) -> logging.LogRecord:
    facts = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "count": count}
    return logging.makeLogRecord({**facts, "msg": "log lines were dropped: nobody read them"})


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say masked what ends the process."""
    _errors.write("".join(traceback.format_exception(kind, error, trace)))
