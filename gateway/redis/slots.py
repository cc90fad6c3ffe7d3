"""The slots of a Redis Cluster: in which one a key lies, and where a server says it is.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from binascii import crc_hqx

from gateway.redis.link import Address, Command, Refused

SLOTS = 16384


def slot(command: Command) -> int:
    """Return the slot of the one key of a command."""
    key = command[3 if command[0] in ("EVALSHA", "EVAL") else 1]
    name = key if isinstance(key, bytes) else str(key).encode()
    opening = name.find(b"{")
    if opening >= 0:
        closing = name.find(b"}", opening)
        if closing > opening + 1:
            name = name[opening + 1 : closing]
    return crc_hqx(name, 0) % SLOTS


def redirection(answer: Refused) -> tuple[int, Address]:
    """Return the slot and the address in ``MOVED`` or ``ASK``."""
    _, at, address = str(answer).split(" ")
    host, _, port = address.rpartition(":")
    return int(at), (host, int(port))
