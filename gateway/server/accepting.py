"""From a listening socket to connections that are served, with TLS and PROXY header on the way."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from gateway.rules.proxy_protocol import LONGEST, BadProxyHeader, read
from gateway.server.connection import Server
from gateway.server.listening import BACKLOG

log = structlog.get_logger()

_AT_ONCE = 64
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.5
_TO_BEGIN = 1.0
"""Seconds in which who was in the queue at the end has to say who they are."""


class Acceptor(Protocol):
    """Accepts connections on one socket until it has to stop."""

    async def stop(self) -> None:
        """Accept who waits in the queue, and then nobody; connections that were accepted stay.

        Who is in the queue is connected, as far as they know, and closing would reset them.
        """


class PlainAcceptor:
    """Accepts connections that begin with HTTP, or with TLS.

    Args:
        limit: Seconds a TLS handshake may take.
    """

    def __init__(
        self,
        near: Server,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        *,
        limit: float,
    ) -> None:
        self._near = near
        self._listening = listening
        self._context = context
        self._limit = None if context is None else limit
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        unix = self._listening.family == socket.AF_UNIX
        self._server = await (loop.create_unix_server if unix else loop.create_server)(
            self._near,
            sock=self._listening,
            ssl=self._context,
            backlog=BACKLOG,
            ssl_handshake_timeout=self._limit,
        )

    async def stop(self) -> None:
        """Accept who waits in the queue, and then nobody."""
        if self._server is None:
            return
        queue = self._listening.dup()
        self._server.close()
        self._server = None
        rest = _all(queue)
        queue.close()
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(
                loop.connect_accepted_socket(
                    self._near, each, ssl=self._context, ssl_handshake_timeout=self._limit
                )
                for each in rest
            ),
            return_exceptions=True,  # some are gone before they began
        )


def _all(listening: socket.socket) -> list[socket.socket]:
    """Return the connections in a queue."""
    accepted: list[socket.socket] = []
    with suppress(OSError):  # BlockingIOError: that was the last
        while len(accepted) < 2 * BACKLOG:
            each, _ = listening.accept()
            each.setblocking(False)
            accepted.append(each)
    return accepted


class ProxiedAcceptor:
    """Accepts connections of which those from trusted peers begin with a PROXY header.

    Others are served as what they are; one that sends such a header breaks HTTP and is closed.

    Args:
        trusted: Whether a peer, empty for a Unix socket, is a trusted proxy.
        limit: Seconds that the header may take, and after it a TLS handshake.
    """

    def __init__(
        self,
        near: Server,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        *,
        trusted: Callable[[str], bool],
        limit: float,
    ) -> None:
        self._near = near
        self._listening = listening
        self._context = context
        self._trusted = trusted
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    async def stop(self) -> None:
        """Accept who waits in the queue, and then nobody."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        while self._accept():
            pass
        self._listening.close()
        if self._opening:
            await asyncio.wait(self._opening, timeout=_TO_BEGIN)
        for task in self._opening:
            task.cancel()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> bool:
        """Accept some; return whether there may be more."""
        for _ in range(_AT_ONCE):
            try:
                accepted, address = self._listening.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _FULL:  # the connection stays in the queue, and would wake us
                    log.error("cannot accept", detail=error.strerror)
                    self._loop.remove_reader(self._listening)
                    self._pause = self._loop.call_later(_PAUSE, self._resume)
                    return False
                continue  # it was gone before we came
            accepted.setblocking(False)
            peer = address[0].removeprefix("::ffff:") if isinstance(address, tuple) else ""
            task = self._loop.create_task(self._open(accepted, peer))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, accepted: socket.socket, peer: str) -> None:
        """Read the header, if one is to come, and have the connection served."""
        try:
            source = None
            if self._trusted(peer):
                async with asyncio.timeout(self._limit):
                    source = await _source(accepted)
            await self._loop.connect_accepted_socket(
                partial(self._near.connection, source),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else self._limit,
            )
        except BadProxyHeader as error:
            log.warning("no PROXY header", peer=peer, detail=str(error))
            accepted.close()
        except (OSError, TimeoutError):
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise


async def _source(accepted: socket.socket) -> str | None:
    """Read the header, and not a byte of what follows; return the address that it names.

    Raises:
        BadProxyHeader: There is none.
        OSError: The connection ended.
    """
    held = b""
    while True:
        await _readable(accepted)
        seen = accepted.recv(LONGEST, socket.MSG_PEEK)
        if not seen:
            raise BadProxyHeader("the connection ended before its header did")
        header = read(held + seen)
        if header is not None:
            accepted.recv(header.length - len(held))
            return header.source
        held += accepted.recv(len(seen))  # all of it belongs to the header


async def _readable(accepted: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(accepted, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(accepted)
