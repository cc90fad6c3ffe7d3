"""An upgraded connection: bytes both ways, untouched, no faster than either side takes them."""

from __future__ import annotations

import asyncio

from gateway.server.connection import Connection
from gateway.server.exchange import Exchange
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.tunnel import UpstreamTunnel

_LINGER = 2.0
IDLE_LIMIT = 3600.0
"""Seconds without a byte either way after which a tunnel is closed."""


async def tunnel(
    exchange: Exchange, upstream: UpstreamConnection, head: bytes, deadlines: Deadlines
) -> None:
    """Answer with ``head`` and join the two connections until one of them ends."""
    connection = exchange.connection
    client = connection.transport
    if client is None:
        return
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    far = UpstreamTunnel(
        upstream, _Client(exchange, client), deadlines, idle=IDLE_LIMIT, closed=end
    )

    def to_upstream(data: bytes) -> None:
        exchange.bytes_in += len(data)
        far.send(data)

    client.write(head)
    connection.take_from(far)
    if early := upstream.upgrade(far):
        far.data_received(early)
    connection.tunnel_to(to_upstream, end)
    try:
        await ended
        if connection.transport is not None:
            await _last_words(connection)
    finally:
        connection.upstream = None
        if connection.transport is not None:
            connection.transport.close()
        far.close()


async def _last_words(connection: Connection) -> None:
    """Let what the upstream said last reach a client that is still sending.

    Closing with bytes unread makes the kernel throw away what the client has not read yet.
    """
    transport = connection.transport
    if transport is not None and transport.can_write_eof():
        connection.let_fall()
        transport.write_eof()
        await asyncio.sleep(_LINGER)  # ended by the client's leaving


class _Client:
    """The client's end of a tunnel."""

    def __init__(self, exchange: Exchange, transport: asyncio.Transport) -> None:
        self._exchange = exchange
        self._transport = transport

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._exchange.bytes_out += len(data)
            self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
