"""The near side of one process: its listeners, from the first connection to the last answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from gateway.config.config import Listener, ServerConfig
from gateway.server.accepting import Acceptor, PlainAcceptor, ProxiedAcceptor
from gateway.server.census import Census
from gateway.server.certificates import Certificates
from gateway.server.connection import Serve, Server
from gateway.server.listening import Sockets
from gateway.upstream.deadlines import Deadlines


class NearSide:
    """Accepts connections, and lets them end.

    Args:
        serve: Answers one request.
        trusted: Whether a peer, empty for a Unix socket, is a trusted proxy.
        worker: Which share of the sockets is this process's.
    """

    def __init__(
        self,
        server: ServerConfig,
        sockets: Sockets,
        *,
        worker: int,
        serve: Serve,
        trusted: Callable[[str], bool],
        deadlines: Deadlines,
    ) -> None:
        self._server = server
        self._sockets = sockets
        self._worker = worker
        self._serve = serve
        self._trusted = trusted
        self._deadlines = deadlines
        self._certificates = Certificates(server.tls) if server.tls else None
        self._watching: asyncio.Task[None] | None = None
        self._acceptors: list[Acceptor] = []
        self._near: list[Server] = []
        limits = server.limits
        self._census = Census(limits.connections, limits.connections_per_address)

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
            self._serve,
            self._deadlines,
            keepalive=server.keepalive_timeout,
            head_limit=server.header_timeout,
            secure=context is not None,
            census=self._census,
        )
        self._near.append(near)
        for listening in share:
            if listener.proxy_protocol:
                self._acceptors.append(
                    ProxiedAcceptor(
                        near,
                        listening,
                        context,
                        trusted=self._trusted,
                        limit=server.header_timeout,
                    )
                )
            else:
                plain = PlainAcceptor(near, listening, context, limit=server.header_timeout)
                await plain.start()
                self._acceptors.append(plain)

    def renew(self, server: ServerConfig) -> None:
        """Take a new configuration's certificates.

        Raises:
            OSError: They cannot be used; those of before stay.
        """
        if self._certificates is not None:
            self._certificates.use(server.tls)

    async def drain(self, limit: float) -> None:
        """Accept no more; let requests under way finish, for at most ``limit`` seconds."""
        if self._watching is not None:
            self._watching.cancel()
        acceptors, self._acceptors = self._acceptors, []
        await asyncio.gather(*(acceptor.stop() for acceptor in acceptors))
        tasks = [t for near in self._near for c in near.open if (t := c.finish()) is not None]
        if tasks and limit:
            await asyncio.wait(tasks, timeout=limit)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def urls(server: ServerConfig, sockets: Sockets) -> list[str]:
    """Return where a gateway listens; a port of 0 in the file is the real one here."""
    scheme = "https" if server.tls else "http"
    return [
        f"{scheme}://{opened.listener}" if opened.listener.host else str(opened.listener)
        for opened in sockets.public
    ]
