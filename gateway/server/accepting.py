"""From a listening socket to connections that are served, with TLS and PROXY header on the way."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

import structlog

from gateway.rules.proxy_protocol import LONGEST, BadProxyHeader, read
from gateway.server.census import Census
from gateway.server.connection import Server
from gateway.server.listening import BACKLOG
from gateway.server.turned_away import TurnedAway, Why

log = structlog.get_logger()

_AT_ONCE = 64
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.5
_TO_BEGIN = 2.0
"""Seconds that who was in the queue at the end has for a PROXY header and a TLS handshake."""


class Acceptor(Protocol):
    """Accepts connections on one socket until it has to stop."""

    async def stop(self) -> None:
        """Accept who waits in the queue, and then nobody; connections that were accepted stay.

        Who is in the queue is connected, as far as they know, and closing would reset them.
        """


class PlainAcceptor:
    """Accepts connections that begin with HTTP."""

    def __init__(self, near: Server, listening: socket.socket) -> None:
        self._near = near
        self._listening = listening
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        unix = self._listening.family == socket.AF_UNIX
        self._server = await (loop.create_unix_server if unix else loop.create_server)(
            self._near, sock=self._listening, backlog=BACKLOG
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
            *(loop.connect_accepted_socket(self._near, each) for each in rest),
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


class LayeredAcceptor:
    """Accepts connections on which something comes before HTTP: a PROXY header, TLS, or both.

    They count from the moment they are accepted: who says nothing holds a place as well.

    With ``trusted``, connections from trusted peers begin with a PROXY header. Others are served
    as what they are; one that sends such a header breaks HTTP and is closed.

    Args:
        trusted: Whether a peer, empty for a Unix socket, is a trusted proxy. None: no headers.
        limit: Seconds that the header may take, and after it a TLS handshake.
    """

    def __init__(
        self,
        near: Server,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        *,
        trusted: Callable[[str], bool] | None,
        limit: float,
        census: Census,
        turned_away: TurnedAway,
    ) -> None:
        self._near = near
        self._listening = listening
        self._context = context
        self._trusted = trusted
        self._limit = limit
        self._census = census
        self._turned_away = turned_away
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
            headed = self._trusted is not None and self._trusted(peer)
            # All that a balancer passes on comes from its address: that says nothing yet.
            place = _Place(self._census, "" if headed else peer)
            if not place.taken:
                accepted.close()
                continue
            task = self._loop.create_task(self._open(accepted, peer, place, headed=headed))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return True

    async def _open(
        self, accepted: socket.socket, peer: str, place: _Place, *, headed: bool
    ) -> None:
        """Read the header, if one is to come, and have the connection served."""
        why = Why.PROXY_HEADER
        try:
            source = None
            if headed:
                async with asyncio.timeout(self._limit):
                    source = await _source(accepted)
                place.move(peer if source is None else source)
                if not place.taken:
                    accepted.close()
                    return
            why = Why.TLS_HANDSHAKE
            await self._loop.connect_accepted_socket(
                lambda: _Arriving(self._near, source, place),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else self._limit,
            )
        except (BadProxyHeader, OSError, TimeoutError) as error:
            accepted.close()
            detail = str(error) or "it took too long"
            self._turned_away.add(why, peer=peer, detail=detail)
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            place.leave()


class _Place:
    """A connection's place in the census while nobody serves it yet."""

    __slots__ = ("_address", "_census", "taken")

    def __init__(self, census: Census, address: str) -> None:
        self._census = census
        self._address = address
        self.taken = census.enter(address)

    def move(self, address: str) -> None:
        """Count for another address, if there is still a place."""
        self.leave()
        self._address = address
        self.taken = self._census.enter(address)

    def leave(self) -> None:
        """Count no more."""
        if self.taken:
            self.taken = False
            self._census.leave(self._address)


class _Arriving(asyncio.Protocol):
    """Makes way for the protocol of a connection when there is one: then that counts it."""

    def __init__(self, near: Server, source: str | None, place: _Place) -> None:
        self._near = near
        self._source = source
        self._place = place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand it over."""
        self._place.leave()
        connection = self._near.connection(self._source)
        cast(asyncio.Transport, transport).set_protocol(connection)
        connection.connection_made(transport)


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
