"""What the operator reads: one JSON object a line, for events and for faults.

Nothing here takes anything out of a line again. Secrets stay out because nobody puts them in:
values of unknown types are never shown, frames come without their variables, and errors that quote
a request come without their text.
"""

from __future__ import annotations

import atexit
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import IO, Any

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from gateway.telemetry.lines import LineWriter

_QUOTES_THE_REQUEST = ("aiohttp.", "httptools.")
"""Parsers put the bytes they choke on into their message: maybe a cookie."""


def configure(stream: IO[Any]) -> LineWriter:
    """Send structlog's events, and those of the standard library's loggers, to this stream.

    Called once a process, by whoever starts it. Returns the writer, for the request log to share;
    closing it is a courtesy: a process that ends normally writes what waits.
    """
    writer = LineWriter(stream.fileno())
    atexit.register(writer.close)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            _describe_exception,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(writer),
        cache_logger_on_first_use=False,  # a cached logger would keep the stream of before
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge())
    return writer


class _Lines:
    """The end of structlog's chain."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def msg(self, line: bytes) -> None:
        self._writer.write(line)

    debug = info = warning = error = critical = exception = log = msg


class _Bridge(logging.Handler):
    """Brings what asyncio and aiohttp log into the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=error
        )


def _describe_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by ``exception``: what went wrong and where, one entry an exception."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple):
        found = found[1]
    elif found is True:
        found = sys.exception()
    if isinstance(found, BaseException):
        event["exception"] = [_description(error) for error in _chain(found)]
    return event


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what led to it, the latest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )


def _description(error: BaseException) -> dict[str, object]:
    kind = type(error)
    quotes = f"{kind.__module__}.".startswith(_QUOTES_THE_REQUEST)
    return {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": "" if quotes else str(error),
        "at": [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__, limit=-20)
        ],
    }


_encoder = msgspec.json.Encoder(enc_hook=lambda value: f"<{type(value).__name__}>")


def _render(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    first = {name: event.pop(name, None) for name in ("ts", "level", "event")}
    fields = {**first, **event}
    try:
        return _encoder.encode(fields) + b"\n"
    except UnicodeEncodeError:  # a lone surrogate: bytes that were no UTF-8
        return _encoder.encode(printable(fields)) + b"\n"


def printable(value: Any) -> Any:
    """Return the same with every string in it encodable: what is not becomes ``\\udcff``."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {printable(key): printable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [printable(item) for item in value]
        case _:
            return value
