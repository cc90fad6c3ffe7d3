"""The upstream's end of an upgraded connection: bytes, and no more HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines


class OtherEnd(Protocol):
    """Who is on the other end of a tunnel."""

    def write(self, data: bytes) -> None:
        """Take bytes."""

    def pause_reading(self) -> None:
        """Send no more for now."""

    def resume_reading(self) -> None:
        """Send again."""


class UpstreamTunnel(asyncio.Protocol):
    """Passes on what comes from the upstream, and takes what goes there.

    Args:
        idle: Seconds without a byte either way after which the connection is closed.
        closed: Is told, once, when the upstream closed.
    """

    def __init__(
        self,
        upstream: UpstreamConnection,
        other: OtherEnd,
        deadlines: Deadlines,
        *,
        idle: float,
        closed: Callable[[], None],
    ) -> None:
        self._upstream = upstream
        self._transport = upstream.transport
        self._other = other
        self._deadlines = deadlines
        self._closed = closed
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._lost = False
        self.deadline = self._loop.time() + idle
        deadlines.watch(self)

    def send(self, data: bytes) -> None:
        """Send bytes to the upstream."""
        if not self._transport.is_closing():
            self.deadline = self._loop.time() + self._idle
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Pass on bytes from the upstream."""
        self.deadline = self._loop.time() + self._idle
        self._other.write(data)

    def pause_writing(self) -> None:
        """Take no more from the other end: the upstream does not keep up."""
        self._other.pause_reading()

    def resume_writing(self) -> None:
        """Take more again."""
        if not self._lost:
            self._other.resume_reading()

    def pause_reading(self) -> None:
        """Read no more from the upstream: the other end does not keep up."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the other end, and whoever owns the connection."""
        if self._lost:
            return
        self._lost = True
        self._deadlines.forget(self)
        self._closed()
        self._upstream.connection_lost(exc)

    def expire(self) -> None:
        """Close: nothing has come for long."""
        self._transport.close()

    def close(self) -> None:
        """Close, after what was sent is on its way."""
        self._transport.close()
