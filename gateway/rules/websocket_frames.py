"""Where the frames of a WebSocket begin and end, and the frame that says goodbye.

Nothing here reads what a frame carries: extensions may change that as they like, but not the
framing (RFC 6455 sections 5.2 and 5.8).
"""

from __future__ import annotations

_CLOSE = 0x8
_FIN = 0x80
_MASKED = 0x80
_LONGEST_HEAD = 14
_EXTENDED = {126: 2, 127: 8}
"""By what the seven bits of length say: the bytes of length that follow."""


class Frames:
    """Follows one direction of a WebSocket, in pieces of any size."""

    __slots__ = ("_head", "_left", "closing")

    def __init__(self) -> None:
        self._head = b""
        """The beginning of a frame's head, as long as the rest of it has not come."""
        self._left = 0
        """Bytes that are still to come of the frame under way."""
        self.closing = False
        """Whether a Close frame has begun: nothing follows it."""

    @property
    def between(self) -> bool:
        """Whether the last frame is whole and no other has begun."""
        return not self._left and not self._head

    def follow(self, data: bytes) -> None:
        """Note what has come."""
        size = len(data)
        left = self._left
        if left:
            if left >= size:
                self._left = left - size
                return
        elif not self._head and is_short_frame(data):
            return
        at = 0
        while at < size:
            at = self._step(data, at)

    def finish(self, data: bytes) -> int:
        """Note what has come up to the end of the frame under way; return how much of it that is.

        It is nothing if none is under way, and everything if that frame goes on.
        """
        at, size = 0, len(data)
        while at < size and not self.between:
            at = self._step(data, at)
        return at

    def _step(self, data: bytes, at: int) -> int:
        """Go on to the end of a frame's head or of what it carries; return where that is."""
        if self._left:
            step = min(self._left, len(data) - at)
            self._left -= step
            return at + step
        head = self._head + data[at : at + _LONGEST_HEAD]
        if len(head) < 2:
            self._head = head
            return len(data)
        length = head[1] & 0x7F
        end = 2 + _EXTENDED.get(length, 0)
        whole = end + 4 if head[1] & _MASKED else end
        if len(head) < whole:
            self._head = head
            return len(data)
        at += whole - len(self._head)
        self._head = b""
        self._left = int.from_bytes(head[2:end], "big") if length > 125 else length
        if head[0] & 0xF == _CLOSE:
            self.closing = True
        return at


def is_short_frame(data: bytes) -> bool:
    """Whether a piece between two frames is one whole frame of at most 125 bytes, and no Close."""
    size = len(data)
    return (
        size > 1
        and (data[1] == size - 2 < 126 or 128 <= data[1] == size + 122 < 254)
        and data[0] & 0xF != _CLOSE
    )


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """Return a Close frame.

    Args:
        code: As in RFC 6455 section 7.4.1.
        mask: Four random bytes for a frame to a server (section 5.3); empty for one to a client.
    """
    said = code.to_bytes(2, "big")
    if mask:
        masked = bytes(a ^ b for a, b in zip(said, mask, strict=False))
        return bytes([_FIN | _CLOSE, _MASKED | len(said)]) + mask + masked
    return bytes([_FIN | _CLOSE, len(said)]) + said
