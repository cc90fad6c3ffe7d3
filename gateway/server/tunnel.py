"""An upgraded connection: bytes both ways, untouched, no faster than either side takes them."""

from __future__ import annotations

import asyncio

from gateway.server.exchange import Exchange
from gateway.upstream.connection import UpstreamConnection

IDLE_LIMIT = 3600.0
"""Seconds without a byte either way after which a tunnel is closed."""


async def tunnel(exchange: Exchange, upstream: UpstreamConnection, head: bytes) -> None:
    """Answer with ``head`` and join the two connections until one of them ends."""
    connection = exchange.connection
    client = connection.transport
    if client is None:
        return
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def to_client(data: bytes) -> None:
        exchange.bytes_out += len(data)
        if connection.transport is not None:
            connection.transport.write(data)

    def to_upstream(data: bytes) -> None:
        exchange.bytes_in += len(data)
        upstream.wait_at_most(IDLE_LIMIT)
        upstream.transport.write(data)

    connection.upstream = upstream  # paused while the client takes no more
    upstream.join(
        to_client, end, idle=IDLE_LIMIT, pause=client.pause_reading, resume=client.resume_reading
    )
    client.write(head)
    connection.tunnel_to(to_upstream, end)
    try:
        await ended
    finally:
        connection.upstream = None
        if connection.transport is not None:
            connection.transport.close()
        upstream.transport.close()
