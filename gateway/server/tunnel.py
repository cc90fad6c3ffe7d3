"""From a request and its 101 to a tunnel between the two connections, and back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from gateway.server.exchange import Exchange
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.tunnel import Tunnel

_POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1
_FRAME = 0.5
"""Seconds that a frame has to come to its end when nobody would let the tunnel begin any more."""


async def tunnel(
    exchange: Exchange,
    upstream: UpstreamConnection,
    head: bytes,
    deadlines: Deadlines,
    *,
    listed: Callable[..., AbstractContextManager[object]],
) -> None:
    """Answer with ``head`` and join the two connections until both have ended.

    Args:
        listed: Lists what goes on: how it is ended, and how much was ``heard`` of the client.
    """
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
        with listed(
            lambda: joined.end(_POLICY_VIOLATION, frame=_FRAME),
            heard=lambda: joined.client.passed,
        ):
            await joined.ended
    finally:
        joined.release()
        exchange.bytes_in += joined.client.passed
        exchange.bytes_out += joined.upstream.passed
