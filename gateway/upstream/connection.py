"""One connection to an upstream, and the exchange that is on it.

The parser is llhttp. A response's body goes to its sink from within ``data_received``, with no
task or queue between: back-pressure is ``pause_reading``, called by whoever owns the sink.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from types import coroutine
from typing import cast

import httptools
import msgspec

from gateway.errors import ClientTimeout, GatewayError, UpstreamProtocol, UpstreamTimeout
from gateway.rules.headers import ResponseFields
from gateway.upstream.deadlines import NEVER, Deadlines

_MAX_HEAD = 256 * 1024
_MAX_QUIET = 1 << 20  # bytes without a piece of body among them; a read is 256 KiB at most
_MINOR_1 = ord("1")
_FIELDS = ResponseFields()


def _ignore(data: bytes) -> None:
    """Take bytes that nobody wants."""


class ResponseHead(msgspec.Struct, gc=False):
    """The head of an upstream's answer."""

    status: int
    start: bytes
    """The status line."""
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
    said: int
    """Of ``Kind.CACHING`` and ``Kind.VARY``, the bits of those that are among the lines."""
    control: tuple[bytes, ...] = ()
    """Lines that say what becomes of the session; they are not among the others."""


class UpstreamConnection(asyncio.Protocol):
    """Carries one exchange at a time.

    ``ask`` with a request's head and await ``answered``: then there is a ``response``, or a
    ``failure``. Write out ``take_body``; unless the answer is ``complete`` by then, ``stream_to`` a
    sink and await ``finished``. ``end`` ends the exchange in any case. Both waits are for driven
    coroutines (``upstream.driving``).

    Only what a whole answer, taken to its end, leaves behind is cleared before the next request;
    after anything else ``end`` closes the connection.
    """

    __slots__ = (
        "_body",
        "_deadlines",
        "_drained",
        "_head",
        "_idle_limit",
        "_is_head",
        "_keep",
        "_left",
        "_loop",
        "_lost",
        "_on_interim",
        "_on_lost",
        "_parser",
        "_quiet_bytes",
        "_reading",
        "_sink",
        "_until_close",
        "busy",
        "complete",
        "deadline",
        "failure",
        "idle_since",
        "received",
        "response",
        "tail",
        "transport",
        "used",
        "wake",
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
        self.received = False
        """Whether a byte of the answer has come."""
        self.response: ResponseHead | None = None
        self.complete = False
        """Whether the whole answer has come."""
        self.failure: GatewayError | None = None
        self.tail = b""
        """What followed the head of a 101 before ``upgrade``."""
        self._is_head = False
        self._head = b""
        """The bytes of the answer's head, as far as they have come."""
        self._body: list[bytes] = []
        self._quiet_bytes = 0
        """What has come since the last piece of body that is none: trailers, most likely."""
        self._left = 0
        """Bytes of a body whose length is known that are still to come, once it streams."""
        self._until_close = False
        self._keep = True
        self._idle_limit = 60.0
        self._sink: Callable[[bytes], None] | None = None
        self._on_interim: Callable[[ResponseHead], None] | None = None
        self.wake: Callable[[], None] | None = None
        """Called once when whoever waits in ``answered`` or ``finished`` can go on."""
        self._drained: asyncio.Future[None] | None = None
        self._reading = True
        self._lost = False

    # --- the exchange ------------------------------------------------------------------------

    def ask(
        self,
        request: bytes,
        limit: float,
        *,
        is_head: bool,
        on_interim: Callable[[ResponseHead], None] | None,
    ) -> None:
        """Send a request's head.

        Args:
            limit: Seconds that the upstream has to begin its answer.
            on_interim: Called with the head of each 1xx answer but 100 and 101.
        """
        self.busy = True
        self.received = self.complete = False
        self.response = None
        self._is_head = is_head
        self._head = b""
        self._on_interim = on_interim
        self.deadline = self._loop.time() + limit
        if self._lost:  # it closed between being taken and being asked
            self.fail(UpstreamProtocol("the upstream closed without an answer"))
        else:
            self.transport.write(request)

    @coroutine
    def answered(self) -> Generator[UpstreamConnection, None, None]:
        """Wait until there is a response or a failure."""
        if self.response is None and self.failure is None:
            yield self

    @property
    def died_unseen(self) -> bool:
        """Whether a kept connection failed before a byte of the answer came."""
        return self.used and not self.received and isinstance(self.failure, UpstreamProtocol)

    def field(self, name: bytes) -> bytes:
        """Return the value of a field of the answer's head, by lower-case name; or nothing."""
        for line in self._head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip()
        return b""

    def take_body(self) -> bytes:
        """Return the part of the body that has come and was not taken yet."""
        body = self._body
        if not body:
            return b""
        self._body = []
        return body[0] if len(body) == 1 else b"".join(body)

    def stream_to(self, sink: Callable[[bytes], None], *, idle: float, taken: int) -> None:
        """Hand the rest of the body to ``sink``, piece by piece as it comes.

        Args:
            idle: Seconds that may pass between two pieces.
            taken: Bytes that ``take_body`` has returned.
        """
        self._sink = sink
        self._idle_limit = idle
        self.deadline = self._loop.time() + idle
        response = self.response
        if response is not None and response.length is not None and not response.bodyless:
            self._left = response.length - taken

    @coroutine
    def finished(self) -> Generator[UpstreamConnection, None, None]:
        """Wait until the whole answer has gone to the sink.

        Raises:
            GatewayError: It ended before.
        """
        if not self.complete and self.failure is None:
            yield self
        if self.failure is not None:
            raise self.failure

    def upgrade(self, protocol: asyncio.Protocol) -> bytes:
        """After a 101, hand the connection over; return what has come already."""
        self._keep = False
        self.deadline = NEVER
        self.transport.set_protocol(protocol)
        if self._lost:
            protocol.connection_lost(None)
        return self.tail

    def spoil(self) -> None:
        """Let this exchange be the last one on the connection."""
        self._keep = False

    def end(self) -> bool:
        """End the exchange; return whether the connection can carry another one."""
        self.busy = False
        self._sink = self._on_interim = self.wake = None
        self._left = 0
        if not self._reading:
            self.resume_reading()
        if self.complete and self._keep and not self._body:
            self.used = True
            return True
        self.deadline = NEVER
        self.abort()
        return False

    # --- towards the upstream ----------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send more of the request's body; to an upstream that went, nothing."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        """Wait until the upstream has taken what was sent, within the limit set last."""
        if self._drained is not None:
            await self._drained

    def wait_at_most(self, seconds: float) -> None:
        """From now on, give the upstream this long for its next sign of life."""
        if self.busy and not self.complete:
            self.deadline = self._loop.time() + seconds

    def wait_for_client(self) -> None:
        """Do not hold against the upstream that the client has more to send."""
        if self.response is None:
            self.deadline = NEVER

    def pause_writing(self) -> None:
        """Note that the upstream takes bytes more slowly than they come."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let those wait no longer who wait in ``drained``."""
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
        if not self.busy or self.complete:
            self._unasked(data)
            return
        if self._left:
            self._more_of_length(data)
            return
        self.received = True
        if self.response is None:
            self._head = head = self._head + data if self._head else data
            if len(head) > _MAX_HEAD and b"\r\n\r\n" not in head[:_MAX_HEAD]:
                self.fail(UpstreamProtocol("the head of the answer has no end"))
                return
        else:
            self.deadline = self._loop.time() + self._idle_limit
            self._quiet_bytes += len(data)
            if self._quiet_bytes > _MAX_QUIET:
                self.fail(UpstreamProtocol("trailers without end"))
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.tail = data[upgrade.args[0] :]
            self.complete = True
        except httptools.HttpParserError as error:
            self.fail(UpstreamProtocol(f"not HTTP: {error}"))
            return
        if self.response is not None:
            if self._is_head and not self.complete:
                # The parser waits for a body that a HEAD's answer only describes.
                self._parser = httptools.HttpResponseParser(self)
                self.complete = True
            self._wake()

    def _more_of_length(self, data: bytes) -> None:
        """Hand on a body whose length is known: it has only to be counted."""
        self.deadline = self._loop.time() + self._idle_limit
        left = self._left - len(data)
        if left > 0:
            self._left = left
            self._sink(data)  # type: ignore[misc]
            return
        if left < 0:
            self._keep = False  # nobody asked for what follows
            data = data[:left]
        self._left = 0
        self._sink(data)  # type: ignore[misc]
        self._parser = httptools.HttpResponseParser(self)  # the other one waits for the body
        self.complete = True
        self._wake()

    def _wake(self) -> None:
        """Let whoever waits go on: here and now, so this is the last thing to do."""
        wake = self.wake
        if wake is not None and (self._sink is None or self.complete or self.failure is not None):
            self.wake = None
            wake()

    def _unasked(self, data: bytes) -> None:
        """Take bytes that belong to no answer."""
        if self.busy and self.response is not None and self.response.status == 101:
            self.tail += data  # upgraded, and whoever asked has not woken up yet
        else:
            # They would be taken for the next request's answer.
            self._keep = False
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is going on: a body that only a close ends is whole, anything else is not."""
        self._lost = True
        self.resume_writing()
        self._deadlines.forget(self)
        self._on_lost(self)
        if self.busy and not self.complete:
            if self._until_close and self.response is not None and exc is None:
                self.complete = True
                self._wake()
            else:
                what = "in the middle of its answer" if self.received else "without an answer"
                self.fail(UpstreamProtocol(f"the upstream closed {what}"))

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
        """Give up: somebody took too long."""
        if not self.busy:
            self.abort()
        elif not self._reading:
            self.fail(ClientTimeout("the client did not take the answer in time"))
        elif self.response is None:
            self.fail(UpstreamTimeout("the upstream did not begin its answer in time"))
        else:
            self.fail(UpstreamTimeout("the upstream did not go on with its answer in time"))

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if not self._lost:
            self.transport.abort()

    def fail(self, error: GatewayError) -> None:
        """End the exchange with an error."""
        if self.failure is None:
            self.failure = error
        self._keep = False
        self.abort()
        self._wake()

    # --- called by the parser ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Let go of a second answer: nobody asked for it, and the next request would get it."""
        if self.complete:
            self._keep = False
            self._sink = _ignore

    def on_headers_complete(self) -> None:
        """Make the head of what was noted."""
        if self.complete:  # a second answer to one request
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 100:
            raise ValueError("a status below 100")  # ends the exchange in `data_received`
        # The parser has checked every byte; the lines are taken as they are. Measured: 1.5 us less
        # than a callback for each field.
        come = self._head
        if come[:1] != b"H":  # the parser let empty lines in front pass
            come = come.lstrip(b"\r\n")
        end = come.find(b"\r\n\r\n")
        head = come[:end]
        fields = head.split(b"\r\n")
        start = fields.pop(0)
        lines, cookies, dated, length, chunked, said, control = _FIELDS.split(fields)
        bodyless = self._is_head or status in (204, 304) or status < 200
        self._until_close = until_close = length is None and not chunked and not bodyless
        self._keep = not until_close and parser.should_keep_alive()
        self._quiet_bytes = 0
        # After a 1xx there is another head to come.
        self._head = head if status >= 200 or status == 101 else come[end + 4 :]
        if start[7] != _MINOR_1:
            start = b"HTTP/1.1" + start[8:]
        self.response = ResponseHead(
            status, start, lines, cookies, dated, length, bodyless, said, control
        )

    def on_body(self, data: bytes) -> None:
        """Hand on a piece of the body."""
        self._quiet_bytes = 0
        if self._sink is not None:
            self._sink(data)
        elif self._is_head:
            self._keep = False  # it sends a body where none may be
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Note the end; forget a 1xx answer, and go on to the real one."""
        response = self.response
        if response is not None and response.status < 200 and response.status != 101:
            if self._on_interim is not None and response.status != 100:
                self._on_interim(response)
            self.response = None
            return
        self.complete = True
