"""What a socket knows of its peer, beyond what its transport tells."""

from __future__ import annotations

import asyncio
import socket
import struct

_TCP_CLOSE = 7  # linux/tcp_states.h


def is_gone(transport: asyncio.Transport | None) -> bool:
    """Whether a peer that has closed its sending side has closed the other one, too."""
    sock = _tcp(transport)
    if sock is None:
        return transport is None  # on a Unix socket, writing fails at once
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE)


def reset(transport: asyncio.Transport) -> None:
    """Close so that the peer cannot take what has come for the whole.

    With a plain close, a body that only the close ends would look complete.
    """
    sock = _tcp(transport)
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _tcp(transport: asyncio.Transport | None) -> socket.socket | None:
    sock: socket.socket | None = None if transport is None else transport.get_extra_info("socket")
    return sock if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) else None
