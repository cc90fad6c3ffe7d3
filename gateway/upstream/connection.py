"""One connection to an upstream, and the exchange that is on it.

The parser is llhttp. A response's body goes to its sink from within ``data_received``, with no
task or queue between: back-pressure is ``pause_reading``, called by whoever owns the sink.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from gateway.errors import ClientTimeout, GatewayError, UpstreamProtocol, UpstreamTimeout
from gateway.rules.headers import ResponseKinds, without_nominated
from gateway.upstream.deadlines import NEVER, Deadlines

_MAX_HEAD = 256 * 1024
_KINDS = ResponseKinds()


class ResponseHead(NamedTuple):
    """The head of an upstream's answer."""

    status: int
    reason: bytes
    lines: list[bytes]
    """Fields to pass on, without line ends; those of framing and connection are left out."""
    cookies: list[bytes]
    """``Set-Cookie`` lines."""
    dated: bool
    """Whether ``Date`` is among the lines."""
    length: int | None
    """What ``Content-Length`` says; None where there is none or the body is chunked."""
    bodyless: bool
    """Whether the answer has no body whatever its fields say (HEAD, 204, 304, 101)."""


class _Tunnel(NamedTuple):
    """The other end of an upgraded connection."""

    send: Callable[[bytes], None]
    closed: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]


class UpstreamConnection(asyncio.Protocol):
    """Carries one exchange at a time.

    ``begin`` and ``send`` a request, await ``head``, write out ``take_body``; unless the answer is
    ``complete`` by then, ``stream_to`` a sink and await ``finished``. What goes wrong comes out of
    ``head`` or ``finished`` as an ``UpstreamError``.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_cookies",
        "_dated",
        "_deadlines",
        "_drained",
        "_head_bytes",
        "_idle_limit",
        "_is_head",
        "_keep",
        "_length",
        "_lines",
        "_loop",
        "_lost",
        "_on_interim",
        "_on_lost",
        "_parser",
        "_reading",
        "_reason",
        "_response",
        "_sink",
        "_tunnel",
        "_until_close",
        "_waiter",
        "busy",
        "complete",
        "deadline",
        "failure",
        "idle_since",
        "received",
        "tail",
        "transport",
        "used",
    )

    def __init__(self, deadlines: Deadlines, on_lost: Callable[[UpstreamConnection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines = deadlines
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.deadline = NEVER
        self.idle_since = 0.0
        self.used = False
        """Whether an exchange went over it before: it may have been closed since, unseen."""
        self.busy = False
        self._tunnel: _Tunnel | None = None
        self._drained: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._reading = True
        self._lost = False
        self._reset(is_head=False)

    def _reset(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self._forget_head()
        self._body: list[bytes] = []
        self._sink: Callable[[bytes], None] | None = None
        self._until_close = False
        self._keep = True
        self._head_bytes = 0
        self._on_interim: Callable[[ResponseHead], None] | None = None
        self._idle_limit = 60.0
        self.received = False
        """Whether a byte of the answer has come."""
        self.complete = False
        self.failure: GatewayError | None = None
        self.tail = b""
        """What followed the head of a 101 before ``join``."""

    def _forget_head(self) -> None:
        self._lines: list[bytes] = []
        self._cookies: list[bytes] = []
        self._dated = False
        self._length: int | None = None
        self._chunked = False
        self._connection = b""
        self._reason = b""
        self._response: ResponseHead | None = None

    # --- the exchange ------------------------------------------------------------------------

    def begin(
        self,
        request: bytes,
        *,
        is_head: bool,
        idle: float,
        on_interim: Callable[[ResponseHead], None] | None = None,
    ) -> None:
        """Send a request's head, with as much of its body as is there.

        Args:
            idle: Seconds that may pass between two pieces of the answer's body.
            on_interim: Called with the head of each 1xx answer but 100 and 101.
        """
        self._reset(is_head=is_head)
        self._idle_limit = idle
        self._on_interim = on_interim
        self.busy = True
        self.transport.write(request)

    async def head(self, limit: float) -> ResponseHead:
        """Wait for the head of the answer, at most ``limit`` seconds from the last thing sent."""
        if self._response is None and self.failure is None:
            self.deadline = self._loop.time() + limit
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._response is None:
            raise self.failure or UpstreamProtocol("no answer")
        self.deadline = self._loop.time() + self._idle_limit
        return self._response

    def take_body(self) -> bytes:
        """Return the part of the body that has come and was not taken yet."""
        body = self._body
        if not body:
            return b""
        self._body = []
        return body[0] if len(body) == 1 else b"".join(body)

    def stream_to(self, sink: Callable[[bytes], None]) -> None:
        """Hand the rest of the body to ``sink``, piece by piece as it comes."""
        self._sink = sink

    async def finished(self) -> None:
        """Wait until the whole answer has gone to the sink."""
        if not self.complete and self.failure is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.failure is not None:
            raise self.failure

    def join(
        self,
        send: Callable[[bytes], None],
        closed: Callable[[], None],
        *,
        idle: float,
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        """After a 101: hand every byte on.

        Args:
            send: Takes what comes from the upstream.
            closed: Is told when the upstream closed.
            idle: Seconds without a byte after which the connection is closed.
            pause: Is told when the upstream takes no more.
            resume: Is told when it takes more again.
        """
        self._tunnel = _Tunnel(send, closed, pause, resume)
        self._idle_limit = idle
        self.wait_at_most(idle)

    def spoil(self) -> None:
        """Let this exchange be the last one on the connection."""
        self._keep = False

    def end(self) -> bool:
        """End the exchange; return whether the connection can carry another one."""
        self.deadline = NEVER
        self.busy = False
        self._sink = self._on_interim = None
        if not self._reading:
            self.resume_reading()
        if (
            not self.complete
            or not self._keep
            or self.failure is not None
            or self._tunnel is not None
            or self.transport.is_closing()
        ):
            self.abort()
            return False
        self.used = True
        return True

    # --- towards the upstream ----------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send more of the request's body."""
        self.transport.write(data)

    async def drained(self) -> None:
        """Wait until the upstream has taken what was sent, at most ``idle`` seconds."""
        if self._drained is not None:
            self.wait_at_most(self._idle_limit)
            await self._drained

    def wait_at_most(self, seconds: float) -> None:
        """From now on, give the upstream this long for its next sign of life."""
        if self.busy and (self._tunnel is not None or not self.complete):
            self.deadline = self._loop.time() + seconds

    def wait_for_client(self) -> None:
        """Do not hold against the upstream that the client has more to send."""
        if self._response is None:
            self.deadline = NEVER

    def pause_writing(self) -> None:
        """Note that the upstream takes bytes more slowly than they come."""
        self._drained = self._loop.create_future()
        if self._tunnel is not None:
            self._tunnel.pause()

    def resume_writing(self) -> None:
        """Let those wait no longer who wait in ``drained``."""
        if self._tunnel is not None and self._drained is not None and not self._lost:
            self._tunnel.resume()
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # --- from the upstream -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self._deadlines.watch(self)

    def data_received(self, data: bytes) -> None:
        """Parse; hand on what is body; wake who waits for head or end."""
        if self._tunnel is not None:
            self.deadline = self._loop.time() + self._idle_limit
            self._tunnel.send(data)
            return
        if self.busy and self._response is not None and self._response.status == 101:
            self.tail += data  # upgraded, and whoever asked has not woken up yet
            return
        if not self.busy or self.complete:
            # Bytes that nobody asked for would be taken for the next request's answer.
            self._keep = False
            self.abort()
            return
        self.received = True
        if self._response is None:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self.fail(UpstreamProtocol("the head of the answer has no end"))
                return
        elif self.deadline != NEVER:
            self.deadline = self._loop.time() + self._idle_limit
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.tail = data[upgrade.args[0] :]
            self.complete = True
        except httptools.HttpParserError as error:
            self.fail(UpstreamProtocol(f"not HTTP: {error}"))
            return
        if self._is_head and self._response is not None and not self.complete:
            # The parser waits for a body that a HEAD's answer only describes.
            self._parser = httptools.HttpResponseParser(self)
            self.complete = True
        waiter = self._waiter
        if (
            waiter is not None
            and not waiter.done()
            and (self.complete or (self._response is not None and self._sink is None))
        ):
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is going on: a body that only a close ends is whole, anything else is not."""
        self._lost = True
        if self._tunnel is not None:
            self._tunnel.closed()
        elif self.busy and not self.complete:
            if self._until_close and self._response is not None and exc is None:
                self.complete = True
                self._keep = False
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(None)
            else:
                what = "in the middle of its answer" if self.received else "without an answer"
                self.fail(UpstreamProtocol(f"the upstream closed {what}"))
        self.resume_writing()
        self._deadlines.forget(self)
        self._on_lost(self)

    def pause_reading(self) -> None:
        """Stop reading: whoever takes the body cannot take more."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading:
            self._reading = True
            if self.busy and self.deadline != NEVER:
                self.deadline = self._loop.time() + self._idle_limit
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def expire(self) -> None:
        """Give up: the upstream took too long."""
        if not self.busy or self._tunnel is not None:
            self.abort()
        elif not self._reading:
            self.fail(ClientTimeout("the client did not take the answer in time"))
        elif self._response is None:
            self.fail(UpstreamTimeout("the upstream did not begin its answer in time"))
        else:
            self.fail(UpstreamTimeout("the upstream did not go on with its answer in time"))

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self.transport is not None and not self._lost:
            self.transport.abort()

    def fail(self, error: GatewayError) -> None:
        """End the exchange with an error, which ``head`` or ``finished`` raises."""
        if self.failure is None:
            self.failure = error
        self._keep = False
        self.abort()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- called by the parser ----------------------------------------------------------------

    def on_status(self, reason: bytes) -> None:
        """Note the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Sort a field; those after the body (trailers) are left out."""
        if self._response is not None:
            return
        kind = _KINDS[name]
        if kind == 0:  # measured: sorted here, a response costs 1 us less than in a walk of its own
            self._lines.append(b"%b: %b" % (name, value))
        elif kind == 5:
            self._length = int(value)
        elif kind == 6:
            self._dated = True
            self._lines.append(b"%b: %b" % (name, value))
        elif kind == 4:
            self._cookies.append(b"%b: %b" % (name, value))
        elif kind == 3:
            self._connection = self._connection + b"," + value if self._connection else value
        elif kind == 7:
            self._chunked = True

    def on_headers_complete(self) -> None:
        """Make the head of what was noted."""
        if self.complete:
            self._keep = False
            return
        parser = self._parser
        status = parser.get_status_code()
        length = None if self._chunked else self._length
        bodyless = self._is_head or status in (204, 304) or status < 200
        self._until_close = length is None and not self._chunked and not bodyless
        self._keep = parser.should_keep_alive() and not self._until_close
        if self._connection:
            self._lines = without_nominated(self._lines, self._connection)
        self._response = ResponseHead(
            status, self._reason, self._lines, self._cookies, self._dated, length, bodyless
        )

    def on_body(self, data: bytes) -> None:
        """Hand on a piece of the body."""
        if self._is_head:
            self._keep = False  # it sends a body where none may be
        elif self._sink is not None:
            self._sink(data)
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Note the end; forget a 1xx answer, and go on to the real one."""
        response = self._response
        if response is not None and response.status < 200 and response.status != 101:
            if self._on_interim is not None and response.status != 100:
                self._on_interim(response)
            self._forget_head()
            return
        self.complete = True
