"""base64url without padding (RFC 4648 section 5): one spelling for the same bytes, and no other."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from binascii import a2b_base64

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# Everything outside the alphabet becomes what the strict decoder refuses.
_TO_STANDARD = bytes(
    b"+"[0]
    if octet == b"-"[0]
    else b"/"[0]
    if octet == b"_"[0]
    else octet
    if octet in _ALPHABET
    else b"!"[0]
    for octet in range(256)
)
_PADDING = (b"", None, b"==", b"=")
# The last character may carry spare bits, which no authentication covers: they are zero.
_LAST = {2: "AQgw", 3: "AEIMQUYcgkosw048"}


def encode(raw: bytes) -> str:
    """Return the text for some bytes."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes that a text stands for.

    Raises:
        ValueError: It is not what ``encode`` makes: another alphabet, padding, white space, a
            length that does not exist, or bits left over.
    """
    rest = len(text) % 4
    padding = _PADDING[rest]
    if padding is None or (rest and text[-1] not in _LAST[rest]):
        raise ValueError("not base64url, or another spelling of it")
    return a2b_base64(text.encode().translate(_TO_STANDARD) + padding, strict_mode=True)
