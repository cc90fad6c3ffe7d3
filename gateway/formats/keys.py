"""From ``session.secret`` to keys: another one for each purpose."""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_ID = 4
"""Bytes of what stands for a key in front of what it seals."""


def derive(secret: str, purpose: str) -> bytes:
    """Return 256 bits for one purpose alone; they tell nothing of those for another.

    Source: RFC 5869 (HKDF).
    """
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(
        secret.encode()
    )


def key_id(key: bytes) -> bytes:
    """Return what stands for a derived key in front of what it seals; it tells nothing of it."""
    return sha256(b"key id\x00" + key).digest()[:KEY_ID]
