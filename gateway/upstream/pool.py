"""Connections to one upstream, kept open between requests."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress

from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.model import Upstream
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines

_MAX_IDLE = 256
_IDLE_LIMIT = 55.0  # seconds; many servers and balancers close at 60

# A request that may not be sent twice must not meet a connection that the upstream is just closing.
# Node.js closes after 5 idle seconds, which makes that an everyday race.
_FRESH = 1.0


class Pool:
    """Opens, lends and takes back connections. ``close`` ends the idle ones."""

    def __init__(self, upstream: Upstream, deadlines: Deadlines) -> None:
        self.upstream = upstream
        self.deadlines = deadlines
        self._tls = ssl.create_default_context() if upstream.target.scheme == "https" else None
        self._idle: deque[UpstreamConnection] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.open = 0
        """Connections, idle and in use."""

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Return an idle connection, the one used last, or None.

        Args:
            repeatable: Whether the request may be sent again should the connection turn out dead.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport.is_closing():
                continue
            if not repeatable and connection.idle_since + _FRESH < self._loop.time():
                connection.abort()
                continue
            return connection
        return None

    async def connect(self) -> UpstreamConnection:
        """Open a connection.

        Raises:
            UpstreamUnreachable: Refused, no route, no such host, or TLS failed.
            UpstreamTimeout: Not within ``timeouts.connect``.
        """
        target = self.upstream.target
        limit = self.upstream.timeouts.connect
        try:
            async with asyncio.timeout(limit):
                if target.scheme == "unix":
                    _, connection = await self._loop.create_unix_connection(self._make, target.path)
                else:
                    _, connection = await self._loop.create_connection(
                        self._make,
                        target.host,
                        target.port,
                        ssl=self._tls,
                    )
        except TimeoutError as exc:
            raise UpstreamTimeout(
                f"upstream {self.upstream.name}: no connection within {limit:g} s"
            ) from exc
        except (OSError, UnicodeError) as exc:  # UnicodeError: a label IDNA cannot encode
            raise UpstreamUnreachable(f"upstream {self.upstream.name}: {exc}") from exc
        self.open += 1
        return connection

    def _make(self) -> UpstreamConnection:
        return UpstreamConnection(self.deadlines, self._lost)

    def give_back(self, connection: UpstreamConnection) -> None:
        """End a connection's exchange and keep it for the next one, where it can carry one."""
        if connection.end():
            self._keep(connection)

    def _keep(self, connection: UpstreamConnection) -> None:
        if self._closed or len(self._idle) >= _MAX_IDLE:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        connection.deadline = connection.idle_since + _IDLE_LIMIT
        self._idle.append(connection)

    def _lost(self, connection: UpstreamConnection) -> None:
        self.open -= 1
        if not connection.busy:
            with suppress(ValueError):  # taken, and not yet begun
                self._idle.remove(connection)

    def counts(self) -> tuple[int, int]:
        """Return how many connections are busy, and how many idle."""
        return self.open - len(self._idle), len(self._idle)

    async def problem(self) -> str | None:
        """Say why the upstream cannot be reached now; None if it can."""
        try:
            connection = await self.connect()
        except UpstreamError as error:
            return str(error)
        connection.abort()
        return None

    def close(self) -> None:
        """Close idle connections now, and those in use when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()
