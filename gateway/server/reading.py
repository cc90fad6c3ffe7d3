"""From a client's bytes to requests and their bodies, with aiohttp's C parser and streams."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from gateway.errors import ClientError, HeadTooLarge
from gateway.server.fields import MAX_LINE, Fields, KnownFields

MAX_FIELD = 68 * 1024
"""Bytes of one header field: a cookie of 64 KiB and its name. More is 431."""
MAX_FIELDS = 128
MAX_HEAD = 192 * 1024
"""Bytes of a whole head; more is 431."""
_READ_AHEAD = 64 * 1024
"""Bytes that may come, unasked, while a request is answered; then the client has to wait."""
_BODY_BUFFER = 64 * 1024
"""Bytes of a body that wait to be taken; twice as many, and the client has to wait."""

_END = b"\r\n\r\n"

Request = tuple[str, str, Fields, StreamReader]
"""Method, target, header section and body as the parser has them."""


class RequestReader(BaseProtocol):
    """The half of a connection that reads.

    The parser gets one head and nothing that follows, so that it can be thrown away afterwards: it
    is cheap to make, and an idle connection does not keep it. A body of known length is counted.
    Only what follows a chunked body is the parser's from then on, for it alone sees the end.
    """

    __slots__ = ("_body_left", "_edge", "_head_bytes", "_held", "_mixed", "body", "origin")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.body: StreamReader = EMPTY_PAYLOAD
        """Of the request under way."""
        self._body_left = 0
        """Bytes of it that are still to come, where its length is known."""
        self._held = b""
        """What came while a request was answered."""
        self._head_bytes = 0
        """How much has come of a head that is not whole."""
        self._edge = b""
        """The last bytes of such a head: its end may lie across two pieces."""
        self._mixed = False
        """Whether the parser may hold what follows a body."""
        self.origin = ""
        """What, besides its bytes, decides what a header section means."""

    def _parse(self, data: bytes, known: KnownFields) -> Request | None:
        """Return a request whose head has come; what follows it is held.

        Raises:
            HttpProcessingError: It is none.
            HeadTooLarge: Its head is too long.
        """
        parser = self._parser
        if parser is None:
            parser = self._parser = self._new_parser()
        elif self._mixed:
            parser.message_consumed()
        while True:
            end = len(data) if self._mixed else self._end_of_head(data)
            piece, rest = data[:end], data[end:]
            messages, self._upgraded, tail = parser.feed_data(piece)
            if messages:
                break
            self._head_bytes += len(piece)
            if self._head_bytes > MAX_HEAD:
                raise HeadTooLarge(f"a head of more than {MAX_HEAD} bytes")
            if not rest:
                self._balance()
                return None
            data = rest
        ((message, body),) = messages
        fields = Fields(message)
        if not (self._head_bytes or self._mixed):
            known.keep(self.origin, piece, fields, body)
        self._head_bytes = 0
        self._held = tail + rest
        self._balance()
        self.body = body
        self._mixed = self._mixed or fields.chunked
        if not self._mixed:
            self._parser = None
            if body is not EMPTY_PAYLOAD:
                self._body_left = int(fields.headers.get(hdrs.CONTENT_LENGTH, 0))
                if not self._body_left:  # CONNECT has a body without a length
                    body.feed_eof()
        return message.method, message.path, fields, body

    def _take(self, data: bytes) -> None:
        """Take bytes while a request is under way: its body, and what follows is held.

        Raises:
            HttpProcessingError: The body's framing is broken.
        """
        body = self.body
        if body.is_eof() or self._upgraded:
            self._held += data
            self._balance()
        elif self._parser is not None:
            self._parser.feed_data(data)
        else:
            left = self._body_left = self._body_left - len(data)
            if left < 0:
                data, self._held = data[:left], data[left:]
            body.feed_data(data)
            if left <= 0:
                body.feed_eof()

    def _balance(self) -> None:
        """Read no more for now where too much has come unasked; else read on."""
        full = len(self._held) >= _READ_AHEAD
        if full and not self._buffer_paused:
            self._pause_reading_for_buffer()
        elif self._buffer_paused and not full:
            self._resume_reading_for_buffer()

    def _let_go(self) -> bytes:
        """Return what was held."""
        held, self._held = self._held, b""
        return held

    def pause_reading(self) -> None:
        """Let no more of a body come for now."""
        self._reading_paused = True
        if self._parser is not None:
            self._parser.pause_reading()
        self._pause_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Let more of a body come."""
        self._reading_paused = False
        if resume_parser and self._parser is not None and not self.body.is_eof():
            self.data_received(b"")  # the parser may hold some of it
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def _new_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            self,
            self._loop,
            _BODY_BUFFER,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            payload_exception=ClientError,
            auto_decompress=False,
            max_msg_queue_size=1,
        )

    def _end_of_head(self, data: bytes) -> int:
        """Return where the head ends; the length of ``data`` if it does not yet."""
        edge = self._edge
        seen = edge + data if edge else data
        at = seen.find(_END)
        if at < 0:
            self._edge = seen[-3:]
            return len(data)
        self._edge = b""
        return at + len(_END) - len(edge)
