"""One client connection: its requests, one after the other, in a cycle of our own.

Nothing runs for a connection that is idle, and no parser waits there. A request is a coroutine
that is driven from here, without a task, as long as it waits for its upstream alone
(``upstream.driving``). What was measured stands in ``docs/performance.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.tcp_helpers import tcp_keepalive

from gateway.errors import ClientError, ClientTimeout
from gateway.server.census import Census
from gateway.server.fields import LARGEST, Fields, KnownFields, read_line
from gateway.server.reading import RequestReader
from gateway.server.sockets import is_gone, reset
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import NEVER, Deadlines
from gateway.upstream.driving import in_task

_WRITE_LIMIT = 60.0
"""Seconds that a client may leave answers unread before it is served no more."""
_LAST_MOMENT = 1.0
"""Seconds in which an idle client may still ask while the gateway drains."""
_GONE = 0.25
"""Seconds between looks at a client that has closed its sending side."""
_PARTING = 1.0
"""Seconds that a client has to read why it was not understood."""
_LINGER = 5.0
_LINGER_BYTES = 1 << 20
_GOING_AWAY = 1001  # RFC 6455 section 7.4.1

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(Protocol):
    """Answers requests."""

    def serve(
        self, connection: Connection, method: str, target: str, fields: Fields, body: StreamReader
    ) -> Coroutine[Any, None, bool]:
        """Answer a request; return whether the connection may carry another one.

        The coroutine is a driven one (``upstream.driving``). ConnectionError: the client is gone.
        """

    def malformed(self, connection: Connection, error: Exception) -> None:
        """Answer what is no request; nothing else will be answered after it."""


class Pausable(Protocol):
    """A source of bytes for the client."""

    def pause_reading(self) -> None:
        """Let no more come for now."""

    def resume_reading(self) -> None:
        """Let them come again."""


class Server:
    """Makes a ``Connection`` for each accepted socket, and knows those that are open.

    Args:
        keepalive: Seconds an idle connection stays open.
        head_limit: Seconds a client may take to send a request's head.
        census: Counts connections, for all listeners together.
        known: Header sections, for all listeners together.
    """

    def __init__(
        self,
        handler: Handler,
        deadlines: Deadlines,
        *,
        keepalive: float,
        head_limit: float,
        secure: bool,
        census: Census,
        known: KnownFields,
    ) -> None:
        self.handler = handler
        self.deadlines = deadlines
        self.keepalive = keepalive
        self.head_limit = head_limit
        self.secure = secure
        self.census = census
        self.known = known
        self.loop = asyncio.get_running_loop()
        self.open: set[Connection] = set()
        """The connections there are."""

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(self)

    def connection(self, source: str | None) -> Connection:
        """Make the protocol of a new connection, whose client a balancer has named, or not."""
        return Connection(self, source)


class Connection(RequestReader):
    """Reads requests from a client and has each of them answered, one after the other."""

    __slots__ = (
        "_awaited",
        "_broken",
        "_counted",
        "_end_tunnel",
        "_fields",
        "_finishing",
        "_gone",
        "_half_closed",
        "_running",
        "_server",
        "_source",
        "_task",
        "deadline",
        "peer",
        "secure",
        "upstream",
        "waiting_body",
    )

    def __init__(self, server: Server, source: str | None = None) -> None:
        super().__init__(server.loop)
        self._server = server
        self._source = source
        self._counted = False
        self._running: Coroutine[Any, None, bool] | None = None
        """What answers the request under way."""
        self._task: asyncio.Task[None] | None = None
        """What runs it, where it cannot be driven from here."""
        self._awaited: asyncio.Future[Any] | None = None
        """What it waits for, where that is no upstream."""
        self._fields: Fields | None = None
        """Those of the request under way."""
        self._broken = False
        """Whether what comes cannot be understood any more, or nobody wants it."""
        self._finishing = False
        self._half_closed = False
        self._end_tunnel: Callable[[int], None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self.secure = server.secure
        self.deadline = NEVER
        self.peer = ""
        """The peer's address; empty on a Unix socket."""
        self.upstream: Pausable | None = None
        """Whose bytes are being passed on: it is paused while this client takes no more."""
        self.waiting_body: StreamReader | None = None
        """The body that the request under way still waits for."""

    # --- the request cycle -------------------------------------------------------------------

    def proceed(self) -> None:
        """Run the request under way until it has to wait, and those that follow it."""
        while (running := self._running) is not None:
            try:
                waited = running.send(None)
            except StopIteration as end:
                again: bool = end.value
            except (ConnectionError, asyncio.CancelledError):
                again = False
            else:
                self._wait_for(running, waited)
                return
            if (
                again
                and self.body is EMPTY_PAYLOAD
                and not (self._held or self._mixed or self._paused or self._finishing)
            ):
                # The usual end, without the questions that follow. Measured: 0.5 us.
                self._running = self._fields = None
                self.deadline = self._loop.time() + self._server.keepalive
                return
            if not (self._over(again) and self._next()):
                return

    def _wait_for(self, running: Coroutine[Any, None, bool], waited: object) -> None:
        """Go on with the request when there is what it waits for."""
        if type(waited) is UpstreamConnection:
            waited.wake = self.proceed
        elif isinstance(waited, asyncio.Future):
            # As a task would, at a third of its price.
            waited._asyncio_future_blocking = False
            self._awaited = waited
            waited.add_done_callback(self._after_future)
        else:
            self._give_to_task(running, waited)

    def _over(self, again: bool) -> bool:
        """Clean up behind a request; return whether another one may come now."""
        self._running = self._fields = None
        body = self.body
        if self.transport is None:
            return False
        if body is not EMPTY_PAYLOAD:
            if not body.is_eof():
                self._task = self._loop.create_task(self._linger(body, last=not again))
                return False
            self.body = EMPTY_PAYLOAD
        if not again or self._upgraded:
            self.force_close()
            return False
        if self._paused:
            # Answers that nobody reads must not pile up: no request is served before.
            self.deadline = self._loop.time() + _WRITE_LIMIT
            return False
        return True

    def _next(self) -> bool:
        """Begin with a request that has come already, or wait for one; True: it has begun."""
        if self._held or self._mixed:
            begun = self._head_bytes
            try:
                request = self._parse(self._let_go(), self._server.known)
            except (HttpProcessingError, ClientError) as error:
                self._reject(error)
                return False
            if request is not None:
                self._begin(*request)
                return True
            if begun:
                return False
        if self._half_closed:
            self.force_close()
            return False
        server = self._server
        limit = server.head_limit if self._head_bytes else server.keepalive
        if self._finishing and not self._head_bytes:
            limit = _LAST_MOMENT  # an answer may have promised that there can be another one
        self.deadline = self._loop.time() + limit
        return False

    def _begin(self, method: str, target: str, fields: Fields, body: StreamReader) -> None:
        """Have a request answered by ``proceed``."""
        self.deadline = NEVER
        self._fields = fields
        self._running = self._server.handler.serve(self, method, target, fields, body)
        if self._held and body is not EMPTY_PAYLOAD:
            self._while_busy(self._let_go())
            self._balance()

    def _after_future(self, future: asyncio.Future[Any]) -> None:
        if future is self._awaited:
            self._awaited = None
            self.proceed()

    def _give_to_task(self, running: Coroutine[Any, None, bool], waited: object) -> None:
        self._task = self._loop.create_task(self._run(running, waited))

    async def _run(self, running: Coroutine[Any, None, bool], waited: object) -> None:
        again = False
        try:
            again = await in_task(running, waited)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            # Not from here: what is driven next must not take this task for its own.
            self._loop.call_soon(self._after_task, again)

    def _after_task(self, again: bool) -> None:
        self._task = None
        if self._over(again) and self._next():
            self.proceed()

    async def _linger(self, body: StreamReader, *, last: bool) -> None:
        """Read away a body that nobody wanted; close when there is too much of it.

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
                while left > 0 and not body.is_eof():
                    left -= len(await body.readany())
        except Exception:
            left = 0
        finally:
            self.body = EMPTY_PAYLOAD
            self._loop.call_soon(self._after_task, not last and left > 0 and body.is_eof())

    def finish(self) -> asyncio.Future[None] | None:
        """Let this be the last request; return what is done when the connection is closed.

        A client that is idle may be just about to ask: what comes within a moment is answered,
        with ``Connection: close``. A tunnel has no end of its own: both its sides are told.
        """
        if self.transport is None:
            return None
        self._finishing = True
        if self.idle and not self._head_bytes:
            self.deadline = self._loop.time() + _LAST_MOMENT
        if self._end_tunnel is not None:
            self._end_tunnel(_GOING_AWAY)
        if self._gone is None:
            self._gone = self._loop.create_future()
        return self._gone

    def cancel(self) -> None:
        """End what is under way, and the connection, at once."""
        self._stop()
        self.force_close()

    def _stop(self) -> None:
        """Cancel the request under way."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.cancel()  # as a task would: nobody will take what it comes to
        task, running = self._task, self._running
        if task is not None:
            if task is not asyncio.current_task(self._loop):
                task.cancel()
        elif running is not None and not running.cr_running:  # type: ignore[attr-defined]
            try:
                waited = running.throw(asyncio.CancelledError())
            except (StopIteration, ConnectionError, asyncio.CancelledError):
                self._running = None
            else:
                self._give_to_task(running, waited)  # cleaning up takes time

    def force_close(self) -> None:
        """Close the connection, after what was written is on its way."""
        self._broken = True
        transport, self.transport = self.transport, None
        self.deadline = NEVER
        if transport is not None:
            transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._running is None and self._task is None

    @property
    def closing(self) -> bool:
        """Whether the answer under way is the last one on this connection."""
        return self._finishing or self._broken or (self._half_closed and not self._held)

    # --- for the request under way -----------------------------------------------------------

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

    # --- called by the transport -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the peer and begin to serve, if there may be one more."""
        server = self._server
        peer = transport.get_extra_info("peername")
        if self._source is not None:
            self.peer = self._source
        elif isinstance(peer, tuple):
            self.peer = peer[0].removeprefix("::ffff:")
        if not server.census.enter(self.peer):
            self._broken = True
            cast(asyncio.Transport, transport).abort()
            return
        self._counted = True
        super().connection_made(transport)
        tcp_keepalive(cast(asyncio.Transport, transport))
        self.origin = f"{self.peer} {self.secure}"
        self.deadline = self._loop.time() + server.keepalive
        server.open.add(self)
        server.deadlines.watch(self)

    def data_received(self, data: bytes) -> None:
        """Take a request, a body, or what follows."""
        if self._running is not None or self._task is not None:
            self._while_busy(data)
            return
        server = self._server
        if self._parser is None and not self._held and len(data) <= LARGEST:
            end = data.find(b"\r\n")
            fields = server.known.find(self.origin, data[end:])
            line = None if fields is None else read_line(data, end)
            if line is not None and fields is not None and not (self._paused or self._broken):
                self.deadline = NEVER
                self._fields = fields
                self._running = server.handler.serve(self, *line, fields, EMPTY_PAYLOAD)
                self.proceed()
                return
        if self._broken:
            return
        self._held += data
        if self._paused:
            self._balance()
        elif self._next():
            self.proceed()

    def _while_busy(self, data: bytes) -> None:
        """Take bytes while a request is under way."""
        if self._broken:
            return
        try:
            self._take(data)
        except HttpProcessingError as error:
            self._reject(error)

    def _reject(self, error: Exception) -> None:
        """Read no further: tell who waits for a body, or the client, that something is wrong."""
        self._broken = True
        if self._running is not None:
            self.body.set_exception(ClientError("the body's framing is broken"))
            return
        self._head_bytes = 0
        self._parser = None
        self._server.handler.malformed(self, error)
        transport = self.transport
        if transport is not None and transport.can_write_eof():
            # Closing while more is coming in would make the kernel throw our answer away.
            transport.write_eof()
            self.deadline = self._loop.time() + _PARTING
        else:
            self.force_close()

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
        elif self.idle and not self._broken and self._next():
            self.proceed()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what is under way."""
        server = self._server
        if self._counted:
            self._counted = False
            server.census.leave(self.peer)
        server.open.discard(self)
        server.deadlines.forget(self)
        self._broken = True
        super().connection_lost(exc)
        self._stop()
        self._parser = None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def eof_received(self) -> bool:
        """Let a client that has closed only its sending side have the answer it waits for.

        One that is gone altogether looks the same until something is sent: an interim answer
        tells them apart. Once an answer has begun, whoever closes is taken to be gone. TLS knows
        no half-closed connections.

        Returns:
            Whether the connection stays.
        """
        if (
            self.idle
            or self._upgraded
            or self.upstream is not None
            or self.secure
            or not self.body.is_eof()
            or self.transport is None
        ):
            return False
        self._half_closed = True
        if self._fields is not None and self._fields.version == HttpVersion11:
            self.transport.write(_CONTINUE)
        self.deadline = self._loop.time() + _GONE
        return True

    def expire(self) -> None:
        """End a wait for the client that took too long."""
        if self._half_closed:
            if is_gone(self.transport):
                self.cancel()
            else:
                self.deadline = self._loop.time() + _GONE
        elif self._paused and self.upstream is None:
            self.cancel()
        elif self.waiting_body is not None:
            self.waiting_body.set_exception(TimeoutError())
        elif self._head_bytes:
            self._reject(ClientTimeout("the head did not come to its end"))
        else:
            self.cancel()

    def break_off(self) -> None:
        """End the connection so that the client cannot take a part of an answer for the whole."""
        transport = self.transport
        if transport is None:
            return
        self._broken = True
        reset(transport)

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
        if self._finishing:
            self._loop.call_soon(end, _GOING_AWAY)
        first = self._let_go()
        self._balance()
        return first
