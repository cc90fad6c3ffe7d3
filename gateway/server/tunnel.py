"""From a request and its 101 to a tunnel between the two connections, and back."""

from __future__ import annotations

from gateway.server.exchange import Exchange
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.tunnel import Tunnel


async def tunnel(
    exchange: Exchange, upstream: UpstreamConnection, head: bytes, deadlines: Deadlines
) -> None:
    """Answer with ``head`` and join the two connections until both have ended."""
    connection = exchange.connection
    client = connection.transport
    if client is None or client.is_closing():
        return
    client.write(head)
    joined = Tunnel(
        client,
        upstream.transport,
        deadlines,
        client_lost=connection.connection_lost,
        upstream_lost=upstream.connection_lost,
    )
    try:
        if first := connection.upgrade(joined.client, joined.end):
            joined.client.data_received(first)
        if upstream.tail:
            joined.upstream.data_received(upstream.tail)
        upstream.upgrade(joined.upstream)  # it may have closed since: that comes after its bytes
        await joined.ended
    finally:
        joined.release()
        exchange.bytes_in += joined.client.passed
        exchange.bytes_out += joined.upstream.passed
