"""The near side of one process: its listeners, from the first connection to the last answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from gateway.config.config import Listener, ServerConfig
from gateway.server.accepting import Acceptor, LayeredAcceptor, PlainAcceptor
from gateway.server.census import Census
from gateway.server.certificates import Certificates
from gateway.server.connection import Handler, Server
from gateway.server.fields import KnownFields
from gateway.server.listening import Sockets
from gateway.server.turned_away import TurnedAway
from gateway.upstream.deadlines import Deadlines

_LAST_WORDS = 1.0
"""Seconds in which connections that were cancelled have to be gone."""


class NearSide:
    """Accepts connections, and lets them end.

    Args:
        handler: Answers requests.
        trusted: Whether a peer, empty for a Unix socket, is a trusted proxy.
        worker: Which share of the sockets is this process's.
        tell: Called with an event that the operator should know of, and its fields.
    """

    def __init__(
        self,
        server: ServerConfig,
        sockets: Sockets,
        *,
        worker: int,
        handler: Handler,
        trusted: Callable[[str], bool],
        deadlines: Deadlines,
        tell: Callable[..., None],
    ) -> None:
        self._server = server
        self._sockets = sockets
        self._worker = worker
        self._handler = handler
        self._known = KnownFields()
        self._trusted = trusted
        self._deadlines = deadlines
        self._certificates = Certificates(server.tls) if server.tls else None
        self._watching: asyncio.Task[None] | None = None
        self._acceptors: list[Acceptor] = []
        self._near: list[Server] = []
        limits = server.limits
        self.turned_away = TurnedAway(tell, asyncio.get_running_loop().call_later)
        self._census = Census(self.turned_away, limits.connections, limits.connections_per_address)

    async def open(self) -> None:
        """Begin to accept."""
        if self._certificates is not None:
            self._watching = asyncio.create_task(self._certificates.watch())
        for opened in self._sockets.public:
            await self._open(opened.listener, opened.shares[self._worker])

    async def _open(self, listener: Listener, share: Sequence[socket.socket]) -> None:
        context = None if self._certificates is None else self._certificates.context
        server = self._server
        near = Server(
            self._handler,
            self._deadlines,
            keepalive=server.keepalive_timeout,
            head_limit=server.header_timeout,
            secure=context is not None,
            census=self._census,
            known=self._known,
        )
        self._near.append(near)
        for listening in share:
            if listener.proxy_protocol or context is not None:
                self._acceptors.append(
                    LayeredAcceptor(
                        near,
                        listening,
                        context,
                        trusted=self._trusted if listener.proxy_protocol else None,
                        limit=server.header_timeout,
                        census=self._census,
                        turned_away=self.turned_away,
                    )
                )
            else:
                plain = PlainAcceptor(near, listening)
                await plain.start()
                self._acceptors.append(plain)

    def renew(self, server: ServerConfig) -> None:
        """Take a new configuration's certificates, and let go of what belongs to the old one.

        Raises:
            OSError: They cannot be used; those of before stay.
        """
        if self._certificates is not None:
            self._certificates.use(server.tls)
        self._known.clear()

    async def drain(self, limit: float) -> None:
        """Accept no more; let requests under way finish, for at most ``limit`` seconds."""
        if self._watching is not None:
            self._watching.cancel()
        acceptors, self._acceptors = self._acceptors, []
        await asyncio.gather(*(acceptor.stop() for acceptor in acceptors))
        ends = [end for near in self._near for c in list(near.open) if (end := c.finish())]
        if ends and limit:
            await asyncio.wait(ends, timeout=limit)
        for near in self._near:
            for connection in list(near.open):
                connection.cancel()
        if ends:
            await asyncio.wait(ends, timeout=_LAST_WORDS)


def urls(server: ServerConfig, sockets: Sockets) -> list[str]:
    """Return where a gateway listens; a port of 0 in the file is the real one here."""
    scheme = "https" if server.tls else "http"
    return [
        f"{scheme}://{opened.listener}" if opened.listener.host else str(opened.listener)
        for opened in sockets.public
    ]
