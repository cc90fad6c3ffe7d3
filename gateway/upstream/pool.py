"""Connections to one target, kept open between requests."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from gateway.errors import UpstreamError
from gateway.model import TargetStatus, Upstream
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.dialing import Dialer, bare

_MAX_IDLE = 256
_IDLE_LIMIT = 55.0  # seconds; many servers and balancers close at 60

# A request that may not be sent twice must not meet a connection that the upstream is just closing.
# Node.js closes after 5 idle seconds, which makes that an everyday race.
_FRESH = 1.0


class Pool:
    """Opens, lends and takes back connections to one target. ``close`` ends the idle ones.

    It is also the whole of an upstream with one target and no limit: what such an upstream has no
    use for (``lending.Lender`` says what) costs it nothing.

    Args:
        addresses_hold: Seconds between two looks at whether the target's name moved.
    """

    rehosts = False
    """Whether requests need the ``Host`` of the target that was chosen."""

    def __init__(
        self,
        upstream: Upstream,
        deadlines: Deadlines,
        dialer: Dialer,
        *,
        addresses_hold: float = 30.0,
    ) -> None:
        self.upstream = upstream
        self.total = upstream.timeouts.total
        self.deadlines = deadlines
        self._dialer = dialer
        self._addresses_hold = addresses_hold
        self._idle: deque[UpstreamConnection] = deque()
        self._open: set[UpstreamConnection] = set()
        self._outdated: set[UpstreamConnection] = set()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._refusing = False
        """Whether any connection that comes back may be unwanted: one test for several reasons."""
        self._refresher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look now and then whether the target's name means other addresses."""
        if self._dialer.named:
            self._refresher = self._loop.create_task(self._refresh_for_ever())

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

    async def lend(self, affinity: str, *, repeatable: bool) -> UpstreamConnection:
        """Return a new connection, where ``take`` had none.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: It could not be opened.
        """
        return await self.connect()

    async def connect(self) -> UpstreamConnection:
        """Open a connection.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: It could not be opened.
        """
        connection = await self._dialer.dial(self._make)
        if not connection.transport.is_closing():  # then nobody will tell us of its end
            self._open.add(connection)
        return connection

    async def instead(
        self, connection: UpstreamConnection, affinity: str
    ) -> UpstreamConnection | None:
        """Return a new connection for a request to which not a byte was answered.

        None where sending it again would not help: the upstream had its chance.
        """
        if not connection.died_unseen:
            return None
        self.give_back(connection)
        return await self.connect()

    def _make(self) -> UpstreamConnection:
        return UpstreamConnection(self.deadlines, self._lost)

    def give_back(self, connection: UpstreamConnection) -> None:
        """End a connection's exchange and keep it for the next one, where it can carry one."""
        if connection.end():
            self._keep(connection)

    def _keep(self, connection: UpstreamConnection) -> None:
        if len(self._idle) >= _MAX_IDLE or (self._refusing and self._unwanted(connection)):
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        connection.deadline = connection.idle_since + _IDLE_LIMIT
        self._idle.append(connection)

    def _unwanted(self, connection: UpstreamConnection) -> bool:
        return self._closed or connection in self._outdated

    def _lost(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        self._outdated.discard(connection)
        if not connection.busy:
            with suppress(ValueError):  # taken, and not yet begun
                self._idle.remove(connection)

    # --- where the target's name points ------------------------------------------------------

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._addresses_hold)
            if self._open:
                with suppress(OSError):  # nobody knows better: what there is goes on
                    await self.refresh()

    async def refresh(self) -> None:
        """Let go of connections to addresses that the target's name has no more.

        New connections find the new addresses by themselves; those in use end with their exchange.

        Raises:
            OSError: The name cannot be resolved now.
        """
        addresses = await self._dialer.addresses()
        for connection in list(self._open):
            peer = connection.transport.get_extra_info("peername")
            if peer is not None and bare(peer[0]) not in addresses:
                if connection in self._idle:
                    self._idle.remove(connection)
                    connection.abort()
                else:
                    self._outdated.add(connection)
        self._refusing = self._closed or bool(self._outdated)

    # --- what there is -----------------------------------------------------------------------

    def authority(self, connection: UpstreamConnection) -> bytes:
        """Return the ``Host`` of the target."""
        return self.upstream.target.authority.encode()

    def counts(self) -> tuple[int, int]:
        """Return how many connections are busy, and how many idle."""
        return len(self._open) - len(self._idle), len(self._idle)

    def waiting(self) -> int:
        """How many requests wait for a connection: none, where there is no limit."""
        return 0

    def targets(self) -> list[TargetStatus]:
        """Return how the targets stand: nothing, where one serves unconditionally."""
        return []

    async def problem(self) -> str | None:
        """Say why the target cannot be reached now; None if it can."""
        try:
            connection = self.take(repeatable=True) or await self.connect()
        except UpstreamError as error:
            return str(error)
        self._keep(connection)
        return None

    async def problems(self) -> tuple[list[str], bool]:
        """Say which targets cannot be used now and why, and whether one is left."""
        problem = await self.problem()
        return ([], True) if problem is None else ([problem], False)

    def close(self) -> None:
        """Close idle connections now, and those in use when they come back."""
        self._closed = self._refusing = True
        if self._refresher is not None:
            self._refresher.cancel()
        while self._idle:
            self._idle.pop().abort()
