"""One client connection: aiohttp's protocol and parser, with a request cycle of our own.

``web.Server``'s own cycle makes a task, a writer and a request object for each request. Here one
task serves a connection, and the parsed message goes to the pipeline as it is. What was measured
stands in ``docs/performance.md``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http import HttpRequestParser, HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, RequestPayloadError, _ErrInfo

from gateway.errors import ClientError, ClientTimeout, HeadTooLarge
from gateway.server.census import Census
from gateway.upstream.deadlines import NEVER, Deadlines

MAX_LINE = 16 * 1024
"""Bytes of a request target; more is 414."""
MAX_FIELD = 68 * 1024
"""Bytes of one header field: a cookie of 64 KiB and its name. More is 431."""
MAX_FIELDS = 128
MAX_HEAD = 192 * 1024
"""Bytes of a whole head; more is 431."""
_WRITE_LIMIT = 60.0
"""Seconds that a client may leave answers unread before it is served no more."""
_LAST_MOMENT = 1.0
"""Seconds in which an idle client may still ask while the gateway drains."""
_GONE = 0.25
"""Seconds between looks at a client that has closed its sending side."""
_LINGER = 5.0
_LINGER_BYTES = 1 << 20
_GOING_AWAY = 1001  # RFC 6455 section 7.4.1

_TCP_CLOSE = 7  # linux/tcp_states.h
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

UNREADABLE = ERROR
"""Stands for the message of a request that could not be read."""

Serve = Callable[["Connection", Any, StreamReader], Awaitable[bool]]


class Pausable(Protocol):
    """A source of bytes for the client."""

    def pause_reading(self) -> None:
        """Let no more come for now."""

    def resume_reading(self) -> None:
        """Let them come again."""


class Server(web.Server):
    """Makes a ``Connection`` for each accepted socket, and knows those that are open.

    Args:
        serve: Answers one request; returns whether the connection may carry another one.
        keepalive: Seconds an idle connection stays open.
        head_limit: Seconds a client may take to send a request's head.
        census: Counts connections, for all listeners together.
    """

    def __init__(
        self,
        serve: Serve,
        deadlines: Deadlines,
        *,
        keepalive: float,
        head_limit: float,
        secure: bool,
        census: Census,
    ) -> None:
        super().__init__(_unused, handler_cancellation=True)
        self.serve = serve
        self.deadlines = deadlines
        self.keepalive = keepalive
        self.head_limit = head_limit
        self.secure = secure
        self.census = census

    @property
    def open(self) -> list[Connection]:
        """The connections there are."""
        return [c for c in self.connections if isinstance(c, Connection)]

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return Connection(self, self._loop)

    def connection(self, source: str | None) -> web.RequestHandler:
        """Make the protocol of a new connection, whose client a balancer has named, or not."""
        return Connection(self, self._loop, source)


async def _unused(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("requests go to Server.serve")


class Connection(web.RequestHandler):
    """Reads requests from a client and has each of them answered."""

    __slots__ = (
        "_counted",
        "_end_tunnel",
        "_finishing",
        "_half_closed",
        "_head_bytes",
        "_head_limit",
        "_keepalive_limit",
        "_payload",
        "_server",
        "_source",
        "bulky",
        "deadline",
        "memo",
        "peer",
        "secure",
        "upstream",
        "waiting_body",
    )

    def __init__(
        self, server: Server, loop: asyncio.AbstractEventLoop, source: str | None = None
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=0,  # `deadline` watches instead
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
        )
        self._server = server
        self._keepalive_limit = server.keepalive
        self._head_limit = server.head_limit
        self._head_bytes = 0
        self._finishing = False
        self._half_closed = False
        self._counted = False
        self._source = source
        self._payload: StreamReader | None = None
        self._end_tunnel: Callable[[int], None] | None = None
        self.secure = server.secure
        self.deadline = NEVER
        self.peer = ""
        """The peer's address; empty on a Unix socket."""
        self.bulky = False
        """Whether the last head was too large to be kept."""
        self.memo: Any = None
        """What the pipeline remembers of this connection from one request to the next."""
        self.upstream: Pausable | None = None
        """Whose bytes are being passed on: it is paused while this client takes no more."""
        self.waiting_body: StreamReader | None = None
        """The body that the request under way still waits for."""

    def _new_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )

    # --- the request cycle -------------------------------------------------------------------

    async def start(self) -> None:
        """Serve requests until the connection ends."""
        messages, loop, serve = self._messages, self._loop, self._server.serve
        message: Any
        payload: Any
        try:
            while not self._force_close:
                if self._paused:
                    # Answers that nobody reads must not pile up: no request is served before.
                    self.deadline = loop.time() + _WRITE_LIMIT
                    await self._drain_helper()
                    self.deadline = NEVER
                if not messages:
                    if self._finishing or self._half_closed:
                        break
                    message = payload = self._payload = None  # 10,000 idle connections keep little
                    if self.bulky and not self._head_bytes:
                        self.bulky = False
                        self._parser = self._new_parser()  # it holds the last head until the next
                    limit = self._head_limit if self._head_bytes else self._keepalive_limit
                    self.deadline = loop.time() + limit
                    self._waiter = loop.create_future()
                    await self._waiter
                    self._waiter = None
                    self.deadline = NEVER
                message, self._payload = messages.popleft()
                payload = self._payload
                if self._parser is not None:
                    self._parser.message_consumed()
                if self._buffer_paused and len(messages) <= self._msg_queue_resume_size:
                    self._resume_reading_if_drained()
                again = await serve(self, message, payload)
                if not payload.is_eof() and not await self._linger(payload, last=not again):
                    break
                if not again or self._finishing:
                    break
        except ConnectionError:
            pass  # it went while an answer was on its way
        except asyncio.CancelledError:
            if self._waiter is None:  # else nothing is under way, and the wait came to its end
                raise
        finally:
            self._waiter = None
            self._server.deadlines.forget(self)
            if self.transport is not None:
                self.transport.close()

    async def _linger(self, payload: StreamReader, *, last: bool) -> bool:
        """Read away a body that nobody wanted; False when there is too much of it.

        Closing while bytes are still coming in makes the peer's kernel throw our answer away
        (RFC 9112 section 9.6).

        Args:
            last: Whether the connection ends with it: the client is told at once.
        """
        if last and self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        left = _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER):
                while left > 0 and not payload.is_eof():
                    left -= len(await payload.readany())
        except Exception:
            return False
        return left > 0

    def finish(self) -> asyncio.Task[None] | None:
        """Let this be the last request; return the task that serves it, if there is one.

        A client that is idle may be just about to ask: what comes within a moment is answered,
        with ``Connection: close``. A tunnel has no end of its own: both its sides are told.
        """
        self._finishing = True
        if self._waiter is not None and not self._head_bytes:
            self.deadline = self._loop.time() + _LAST_MOMENT
        if self._end_tunnel is not None:
            self._end_tunnel(_GOING_AWAY)
        return self._task_handler

    def take_from(self, source: Pausable) -> None:
        """Say whose bytes are passed on from now on; it is paused while the client is behind."""
        self.upstream = source
        if self._paused:
            source.pause_reading()

    def loop_time(self) -> float:
        """Return the event loop's time, by which ``deadline`` is set."""
        return self._loop.time()

    def rest(self) -> None:
        """Wait for the client no longer."""
        self.waiting_body = None
        self.deadline = NEVER

    @property
    def closing(self) -> bool:
        """Whether the answer under way is the last one on this connection."""
        return self._finishing or self._force_close or (self._half_closed and not self._messages)

    # --- called by the transport -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the peer and begin to serve, if there may be one more."""
        peer = transport.get_extra_info("peername")
        if self._source is not None:
            self.peer = self._source
        elif isinstance(peer, tuple):
            self.peer = peer[0].removeprefix("::ffff:")
        if not self._server.census.enter(self.peer):
            self._force_close = True
            transport.abort()  # type: ignore[attr-defined]
            return
        self._counted = True
        super().connection_made(transport)
        self._server.deadlines.watch(self)

    def data_received(self, data: bytes) -> None:
        """Parse; see to it that a head comes to its end."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._upgraded or self._force_close:
            self._data_while_busy(data)
            return
        # Nothing is under way: the short way through what aiohttp does here. Measured: 1 us.
        try:
            messages, self._upgraded, tail = self._parser.feed_data(data)  # type: ignore[union-attr]
        except HttpProcessingError as error:
            messages, tail = [(_ErrInfo(400, error, error.message), EMPTY_PAYLOAD)], b""
        if not messages:
            self._part_of_a_head(data)
            return
        self._head_bytes = 0
        self._messages.extend(messages)
        waiter.set_result(None)
        if self._upgraded:
            self._message_tail = tail
        if len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()

    def _data_while_busy(self, data: bytes) -> None:
        """Take a body, pipelined requests, or what follows a request for an upgrade."""
        whole = self._payload is None or self._payload.is_eof()
        waiting = len(self._messages)
        super().data_received(data)
        if len(self._messages) > waiting:
            self._head_bytes = 0
        elif whole and data and not self._upgraded:
            self._part_of_a_head(data)

    def _part_of_a_head(self, data: bytes) -> None:
        """Bound the time and the bytes that a head takes."""
        if not self._head_bytes and self._waiter is not None:
            self.deadline = self._loop.time() + self._head_limit
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self._refuse(HeadTooLarge(f"a head of more than {MAX_HEAD} bytes"))

    def pause_writing(self) -> None:
        """The client takes no more: neither do we."""
        super().pause_writing()
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        """The client takes more again."""
        super().resume_writing()
        if self.upstream is not None:
            self.upstream.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what is under way."""
        if self._counted:
            self._counted = False
            self._server.census.leave(self.peer)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a client that has closed only its sending side have the answer it waits for.

        One that is gone altogether looks the same until something is sent: an interim answer
        tells them apart. Once an answer has begun, whoever closes is taken to be gone. TLS knows
        no half-closed connections.

        Returns:
            Whether the connection stays.
        """
        if (
            self._waiter is not None
            or self._upgraded
            or self.upstream is not None
            or self.secure
            or self._payload is None
            or not self._payload.is_eof()
            or self.transport is None
        ):
            return False
        self._half_closed = True
        if getattr(self.memo, "version", None) == HttpVersion11:
            self.transport.write(_CONTINUE)
        self.deadline = self._loop.time() + _GONE
        return True

    def _is_gone(self) -> bool:
        """Tell whether a client that has closed its sending side has closed the other one, too."""
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return self.transport is None  # on a Unix socket, writing fails at once
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE)

    def expire(self) -> None:
        """End a wait for the client that took too long."""
        if self._half_closed:
            if self._is_gone():
                self.force_close()
            else:
                self.deadline = self._loop.time() + _GONE
        elif self._paused and self.upstream is None:
            self.force_close()
        elif self.waiting_body is not None:
            self.waiting_body.set_exception(TimeoutError())
        elif self._head_bytes:
            self._refuse(ClientTimeout("the head did not come to its end"))
        else:
            self.force_close()

    def _refuse(self, error: ClientError) -> None:
        """Have a head answered that will never be a request, and read no further."""
        self._head_bytes = 0
        self._pause_reading_for_buffer()
        self._messages.append((_ErrInfo(error.status, error, str(error)), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def break_off(self) -> None:
        """End the connection so that the client cannot take a part of an answer for the whole."""
        transport = self.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # With a plain close, a body that only the close ends would look complete.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._force_close = True
        transport.abort()

    # --- upgraded ----------------------------------------------------------------------------

    def upgrade(self, protocol: asyncio.Protocol, end: Callable[[int], None]) -> bytes:
        """After a 101, hand the connection over; return what has come already.

        Whoever has it then says by ``connection_lost`` when it is over.

        Args:
            end: Called with a WebSocket close code when the connection must come to its end.
        """
        if self.transport is not None:
            self.transport.set_protocol(protocol)
        self._end_tunnel = end
        if self._paused:
            protocol.pause_writing()
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        if self._finishing:
            self._loop.call_soon(end, _GOING_AWAY)
        tail, self._message_tail = self._message_tail, b""
        return tail


def is_request(message: object) -> bool:
    """Whether the parser understood a request; otherwise it left a note of what was wrong."""
    return type(message) is not _ErrInfo
