"""Frames of a WebSocket, right and wrong ones: RFC 6455, section 5.2."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

COMPRESSED = 4
"""The reserved bit that permessage-deflate uses (RFC 7692)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame as it was received."""

    final: bool
    reserved: int
    opcode: int
    masked: bool
    payload: bytes

    @property
    def is_control(self) -> bool:
        return self.opcode >= CLOSE

    def breaks_the_rules(self, *, compression: bool, continues: bool) -> bool:
        """Whether a server may not send it.

        Args:
            compression: Whether messages may be compressed.
            continues: Whether a message has begun that is not complete.
        """
        if self.masked or self.opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return True
        begins = self.opcode in (TEXT, BINARY)
        if self.reserved and not (self.reserved == COMPRESSED and compression and begins):
            return True
        if self.is_control:
            return len(self.payload) > 125 or not self.final
        return begins == continues


def encode_head(*, opcode: int, final: bool, reserved: int, length: int, mask: bytes) -> bytes:
    """Return what precedes a masked payload of this length."""
    first = (0x80 if final else 0) | (reserved << 4) | opcode
    if length < 126:
        return struct.pack("!BB", first, 0x80 | length) + mask
    if length < 1 << 16:
        return struct.pack("!BBH", first, 0x80 | 126, length) + mask
    return struct.pack("!BBQ", first, 0x80 | 127, length) + mask


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return the payload with the mask applied, which also undoes it."""
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    both = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
    return both.to_bytes(size, "big")


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Return the next frame.

    Raises:
        asyncio.IncompleteReadError: The connection ended before.
    """
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    mask = await reader.readexactly(4) if second & 0x80 else b""
    return Frame(
        final=bool(first & 0x80),
        reserved=(first >> 4) & 7,
        opcode=first & 15,
        masked=bool(mask),
        payload=await reader.readexactly(length),
    )
