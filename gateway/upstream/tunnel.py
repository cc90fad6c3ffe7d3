"""An upgraded connection: bytes both ways, untouched, no faster than either side takes them.

Of WebSockets it knows where frames begin and end: so it can say goodbye to both sides, between
two frames, when the gateway has to end what they would have gone on with.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from gateway.rules.websocket_frames import Frames, close_frame, is_short_frame
from gateway.upstream.deadlines import NEVER, Deadlines

GOING_AWAY = 1001
"""The code of a side that ends: RFC 6455 section 7.4.1."""
IDLE_LIMIT = 3600.0
"""Seconds without a byte either way after which a tunnel is closed."""
_LOOKS = 8
"""How often it is looked, in that time, whether something has come."""
_HALF_CLOSED = 10.0
"""The same, once one side has closed its sending side."""
_LINGER = 5.0
"""Seconds that one side has, after the other is gone, to take what was said last."""
_FRAME = 3.0
"""Seconds in which a frame has to come to its end when a tunnel does."""
_PARTING = 2.0
"""Seconds in which a client has to answer a goodbye."""

Lost = Callable[[Exception | None], None]


class Tunnel:
    """Two connections joined, until both have ended.

    The protocols of the connections are ``client`` and ``upstream``. What they hear of the
    connections' ends is told to whoever had them before, at last by ``release``.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        deadlines: Deadlines,
        *,
        client_lost: Lost,
        upstream_lost: Lost,
        idle: float = IDLE_LIMIT,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.time = loop.time
        self._idle = idle
        self._quiet_at = self.time() + idle
        """When it is idle for too long, unless something comes: looked at now and then."""
        self._seen = 0
        self.deadline = self.time() + idle / _LOOKS
        self.parting = False
        """Whether nothing is passed on any more but what belongs to the end."""
        self.released = False
        self.client = End(self, client, client_lost)
        self.upstream = End(self, upstream, upstream_lost)
        self.client.join(self.upstream)
        self.upstream.join(self.client)
        self._deadlines = deadlines
        deadlines.watch(self)

    def end(self, code: int, *, frame: float = _FRAME) -> None:
        """Say goodbye to both sides: between two frames, or not at all if none ends in time.

        Args:
            code: As in RFC 6455 section 7.4.1.
            frame: Seconds that the frame under way has to come to its end.
        """
        if self.parting:
            return
        client, upstream = self.client, self.upstream
        self._part(frame)
        if any(each.frames.closing or each.at_end for each in (client, upstream)):
            self.deadline = self.time() + _PARTING  # they have begun to say goodbye themselves
            return
        upstream.fall_silent(close_frame(code))
        client.fall_silent(close_frame(code, os.urandom(4)))

    def _part(self, seconds: float) -> None:
        self.parting = True
        self.client.plain = self.upstream.plain = False
        self.deadline = self.time() + seconds

    def told(self, end: End) -> None:
        """Note that one side was told goodbye."""
        if end is self.client:
            self.deadline = self.time() + _PARTING

    def half_closed(self, end: End) -> bool:
        """Note that one side will say no more; return whether its connection stays."""
        if self.parting or end.other.at_end or not end.transport.can_write_eof():
            end.plain = False
            end.other.transport.close()
            return False
        end.at_end = True
        self._idle = _HALF_CLOSED
        self._look()
        if end.other.transport.can_write_eof():
            end.other.transport.write_eof()
        return True

    def lost(self, end: End) -> None:
        """Note that one side's connection has ended: so will the other one."""
        other = end.other
        if other.gone:
            self.deadline = NEVER
            self._deadlines.forget(self)
            if not self.ended.done():
                self.ended.set_result(None)
            return
        if other.is_told:
            return  # it has until the deadline to answer
        self._part(_LINGER)
        if other is self.upstream or not other.transport.can_write_eof():
            other.transport.close()
        elif not other.transport.is_closing():
            # It may still be sending. Closing with bytes unread would make the kernel throw away
            # what it has not read yet.
            other.ignore()
            if not end.at_end:
                other.transport.write_eof()

    def expire(self) -> None:
        """Part: nothing has come for long. Or break off: somebody takes too long to part."""
        if self.parting:
            self.abort()
        elif self._seen != self.client.passed + self.upstream.passed:
            self._look()
        elif self.time() >= self._quiet_at:
            self.end(GOING_AWAY)
        else:
            self.deadline = self.time() + self._idle / _LOOKS

    def _look(self) -> None:
        """Note that something has come. Measured: 0.3 us a message less than deadlines for all."""
        self._seen = self.client.passed + self.upstream.passed
        self._quiet_at = self.time() + self._idle
        self.deadline = self.time() + self._idle / _LOOKS

    def abort(self) -> None:
        """Close both connections at once, whatever is on its way."""
        for end in (self.client, self.upstream):
            if not end.gone:
                end.transport.abort()

    def release(self) -> None:
        """Abort what is still there, and tell whoever had the connections how they ended."""
        if self.released:
            return
        self.abort()
        self.released = True
        for end in (self.client, self.upstream):
            if end.gone:
                end.tell_owner()


class End(asyncio.Protocol):
    """One of the two connections: what it says goes to the other one."""

    __slots__ = (
        "_error",
        "_farewell",
        "_ignored",
        "_on_lost",
        "_tunnel",
        "_write",
        "at_end",
        "frames",
        "gone",
        "is_told",
        "other",
        "passed",
        "plain",
        "transport",
    )

    other: End

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, on_lost: Lost) -> None:
        self._tunnel = tunnel
        self.transport = transport
        self._on_lost = on_lost
        self._error: Exception | None = None
        self._farewell = b""
        """What is to be said to the other side when the frame under way is whole."""
        self._ignored = False
        """Whether nothing that it says is passed on."""
        self.frames = Frames()
        """What it says."""
        self.passed = 0
        """Bytes of it that were passed on."""
        self.plain = False
        """Whether it stands between two frames, and nothing has to be thought of."""
        self.at_end = False
        """Whether it will say no more."""
        self.is_told = False
        """Whether it was told goodbye by the gateway."""
        self.gone = False

    def join(self, other: End) -> None:
        """Say who the other side is."""
        self.other = other
        self._write = other.transport.write

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self.plain and is_short_frame(data):
            self.passed += len(data)
            self._write(data)
        elif self._tunnel.parting:
            self._last_words(data)
        else:
            self.frames.follow(data)
            self._pass_on(data)
            self.plain = self.frames.between and not self.other.transport.is_closing()

    def _pass_on(self, data: bytes) -> None:
        transport = self.other.transport
        if not transport.is_closing():
            self.passed += len(data)
            transport.write(data)

    def pause_writing(self) -> None:
        """Take no more from the other side: this one does not keep up."""
        other = self.other
        if not (other._ignored or other.transport.is_closing()):
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Take more again."""
        self.other.read_on()

    def eof_received(self) -> bool:
        """Pass on that no more will come; return whether the connection stays."""
        return self._tunnel.half_closed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the tunnel end."""
        self.gone = True
        self._error = exc
        if self._tunnel.released:
            self.tell_owner()
        self._tunnel.lost(self)

    def tell_owner(self) -> None:
        """Tell whoever had the connection before that it has ended."""
        self._on_lost(self._error)

    # --- the end -----------------------------------------------------------------------------

    def fall_silent(self, farewell: bytes) -> None:
        """Pass on the frame under way, if there is one, then ``farewell``, and nothing after it."""
        if self.frames.between:
            self._take_leave(farewell)
        else:
            self._farewell = farewell

    def ignore(self) -> None:
        """Pass nothing on any more."""
        self._ignored = True
        self.read_on()  # or what it says last would not be heard

    def read_on(self) -> None:
        """Read, after a pause that there may have been."""
        if not (self.at_end or self.transport.is_closing()):
            self.transport.resume_reading()

    def _take_leave(self, farewell: bytes) -> None:
        self._farewell = b""
        self.ignore()
        other = self.other
        if not other.transport.is_closing():
            other.transport.write(farewell)
            other.is_told = True
            self._tunnel.told(other)
            other.close_if_parted()

    def _last_words(self, data: bytes) -> None:
        """Take bytes while the tunnel ends."""
        if self._farewell:
            end = self.frames.finish(data)
            self._pass_on(data[:end])
            if self.frames.closing:
                self._farewell = b""  # it was a farewell of its own
            elif self.frames.between:
                self._take_leave(self._farewell)
            data = data[end:]
        elif not self._ignored:
            self._pass_on(data)
        self.frames.follow(data)
        self.close_if_parted()

    def close_if_parted(self) -> None:
        """Close once both have said goodbye."""
        if self.is_told and self.frames.closing and self.frames.between:
            self.transport.close()
